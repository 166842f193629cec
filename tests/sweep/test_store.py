"""What is on disk: whole or refused, readable without ibjax, and never another run's."""

import functools
import gc
import json
import os
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr
import zarr

import ibjax
from ibjax.datasets import from_arrays, split
from ibjax.errors import InputError
from ibjax.estimators import Binning
from ibjax.networks import MLP
from ibjax.plane import VARIABLES, summary_table
from ibjax.sweep import Study, open_run, plan, remeasure, run, store
from ibjax.sweep.checkpoint import load_state, save_state
from ibjax.training import TrainConfig, TrainingData

NAMES = ["binning:bins=8,low=-1,high=1"]


def small_study(**changes) -> Study:
    """A tiny network on 96 points, four epochs, five replicas in chunks of two."""
    x = np.random.default_rng(0).normal(size=(96, 4))
    whole = from_arrays(x, (x[:, 0] + x[:, 1] > 0).astype(int))
    settings = {
        "network": functools.partial(MLP, (4, 3, 2)),
        "data": TrainingData(*split(whole, 0.75, "first", jax.random.key(0)), whole),
        "config": TrainConfig(epochs=4, batch_size=24),
        "estimators": (Binning(bins=8),),
        "replicas": 5,
        "seed": 3,
        "chunk_size": 2,
        "keep_parameters": True,
        "title": "ninety-six points",
    }
    return Study(**(settings | changes))


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """One program for all, and segments of two epochs: two a chunk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "local_devices", jax.devices()[:1].copy)
        patch.setattr(plan, "SEGMENT_STEPS", 6)
        yield


@pytest.fixture(scope="module")
def study():
    return small_study()


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    """Folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(study, folder, progress=False)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="module")
def unfinished(study, tmp_path_factory):
    """Folder of a run that was stopped when two chunks of three were done."""
    folder = tmp_path_factory.mktemp("unfinished") / "run"
    calls = 0
    save = store.Store.write

    def stop(*args):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        save(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.Store, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            run(study, folder, progress=False)
    return folder


def attributes(folder, change):
    """Change the attributes of a run's results."""
    file = folder / store.RESULTS / "zarr.json"
    document = json.loads(file.read_text())
    change(document["attributes"])
    file.write_text(json.dumps(document))


def chunk_files(folder, name):
    return sorted(path for path in (folder / store.RESULTS / name / "c").rglob("*") if path.is_file())


def assert_one_line(raised, *parts):
    """An error says what it is about in one line."""
    text = str(raised.value)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text


# A healthy store -------------------------------------------------------------------------------------------------


def test_attributes(finished, study):
    attrs = open_run(finished).attrs
    data = study.data.measured
    assert attrs["title"] == "ninety-six points"
    assert attrs["units"] == "nats"
    assert attrs["seed"] == 3
    assert attrs["samples"] == 96
    assert attrs["entropy_x"] == pytest.approx(np.log(96))
    assert attrs["entropy_y"] == pytest.approx(data.entropy_y)
    assert np.isnan(attrs["information_xy"])
    assert attrs["probe_batches"] == 2
    assert attrs["status"] == "finished"
    assert attrs["format"] == store.FORMAT
    assert "1000 epochs" in attrs["dead_rule"]
    assert json.loads(attrs["estimators"]) == NAMES
    assert json.loads(attrs["layer_names"]) == ["T1", "output"]
    versions = json.loads(attrs["versions"])
    assert versions == {name: version(name) for name in ("ibjax", "jax", "flax", "optax", "numpy")}
    assert versions["ibjax"] == ibjax.__version__
    seconds = json.loads(attrs["seconds"])
    assert set(seconds) >= {"compile", "train", "write"}
    assert min(seconds.values()) >= 0
    config = json.loads(attrs["config"])
    assert config["measure"] == NAMES
    assert (config["epochs"], config["learning_rate"], config["replicas"], config["chunk_size"]) == (4, 0.05, 5, 2)


def test_information_between_input_and_label_where_it_is_known(tmp_path):
    p = np.repeat([[0.9, 0.1], [0.2, 0.8]], 20, axis=0)
    whole = from_arrays(np.random.default_rng(0).normal(size=(40, 4)), p.argmax(axis=1), p)
    study = small_study(data=TrainingData(whole, whole, whole), config=TrainConfig(batch_size=None))
    made = store.open_or_create(study, tmp_path, resume=False)
    assert made.attrs["information_xy"] == whole.mutual_information
    assert made.attrs["entropy_y"] == pytest.approx(whole.entropy_y)


def test_variables_have_units_and_names(finished):
    plane = open_run(finished)
    assert set(plane.data_vars) == set(VARIABLES)
    for name, wanted in VARIABLES.items():
        found = plane[name]
        assert (found.dims, str(found.dtype)) == (wanted.dims, wanted.dtype)
        assert (found.attrs["units"], found.attrs["long_name"]) == (wanted.units, wanted.long_name)


def test_plain_xarray_opens_it(finished):
    plain = xr.open_zarr(finished / "results.zarr", consolidated=False)
    labelled = open_run(finished)
    for name in ("estimator", "replica", "layer", "epoch", "width"):
        assert plain[name].dtype == np.int64, name
    assert plain["replica"].values.tolist() == [0, 1, 2, 3, 4]
    assert plain["layer"].values.tolist() == [1, 2]
    assert plain["width"].values.tolist() == [3, 2]
    assert plain["epoch"].values.tolist() == [0, 1, 2, 3, 4]
    assert plain["epoch"].dims == ("snapshot",)
    assert plain["estimator"].values.tolist() == [0]
    for name in VARIABLES:
        np.testing.assert_array_equal(plain[name].values, labelled[name].values)


def test_nothing_is_pickled(finished):
    files = [path for path in finished.rglob("*") if path.is_file()]
    states = [path for path in files if path.suffix == ".npz"]
    assert len(states) == 3
    for path in states:
        with np.load(path, allow_pickle=False) as state:
            assert all(state[name].dtype.kind in "iuf" for name in state.files)
    for path in files:
        assert path.suffix in (".npz", ".json", "")
        if path.name == "zarr.json":
            codecs = [codec["name"] for codec in json.loads(path.read_text()).get("codecs", [])]
            assert set(codecs) <= {"bytes", "zstd", "crc32c"}


def test_a_chunk_of_replicas_is_a_chunk_of_every_array(finished):
    assert zarr.open_array(finished / "results.zarr/complexity").chunks == (1, 2, 5, 2)
    assert zarr.open_array(finished / "results.zarr/train_loss").chunks == (2, 5)
    weights = zarr.open_group(finished / "parameters.zarr")["layers.0.weight"]
    assert weights.shape == (5, 5, 3, 4)
    assert weights.chunks == (2, 1, 3, 4)


def test_no_temporary_file_is_left(finished):
    assert sorted(path.name for path in finished.iterdir()) == ["parameters.zarr", "results.zarr", "state"]
    assert not [path for path in finished.rglob("*") if "part" in path.suffix or path.name.startswith(".")]


def test_ibjax_opens_a_run_by_either_kind_of_path(finished):
    xr.testing.assert_identical(ibjax.open(finished), open_run(finished))
    xr.testing.assert_identical(open_run(str(finished)), open_run(finished))


def test_an_unfinished_run_opens(unfinished, finished):
    plane, whole = open_run(unfinished), open_run(finished)
    assert plane.attrs["status"] == "unfinished"
    # Two chunks are done; the third waits for its last array.
    np.testing.assert_array_equal(plane["complexity"][:, :4], whole["complexity"][:, :4])
    assert plane["complexity"][:, 4].isnull().all()
    assert not plane["alive"][4].any()


# A damaged store -------------------------------------------------------------------------------------------------


DAMAGED = (ValueError, OSError, RuntimeError)
"""What reading a damaged chunk may raise."""


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty])
@pytest.mark.parametrize("name", ["complexity", "train_loss", "alive"])
def test_a_damaged_chunk_is_an_error_and_no_number(name, damage, folder):
    damage(chunk_files(folder, name)[0])
    with pytest.raises(DAMAGED, match=r"\S"):
        open_run(folder)[name].load()


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_chunk_is_an_error_for_a_summary(damage, folder):
    damage(chunk_files(folder, "complexity")[-1])
    with pytest.raises(DAMAGED, match=r"\S"):
        summary_table(open_run(folder))


def test_a_flipped_byte_anywhere_is_no_wrong_number(folder, finished):
    file = chunk_files(folder, "complexity")[0]
    content = file.read_bytes()
    plane, whole = open_run(folder)["complexity"], open_run(finished)["complexity"]
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(DAMAGED, match=r"\S"):
            plane.compute()
    # The other chunks are whole.
    np.testing.assert_array_equal(plane[:, 2:], whole[:, 2:])


def test_a_damaged_parameter_is_an_error(folder, study):
    for file in (folder / "parameters.zarr/layers.0.weight/c").rglob("*"):
        if file.is_file():
            flip(file)
    with pytest.raises(DAMAGED, match=r"\S"):
        remeasure(study, folder, [Binning(bins=5)], progress=False)


def test_a_folder_without_a_run(tmp_path):
    for folder in (tmp_path, tmp_path / "missing", str(tmp_path)):
        with pytest.raises(InputError) as raised:
            open_run(folder)
        assert_one_line(raised, folder, "holds no run (results.zarr is missing)", "ibjax run")


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(InputError, match=r"notes\.txt holds no run"):
        open_run(tmp_path / "notes.txt")


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink], ids=["cut", "empty", "missing"])
@pytest.mark.parametrize("opening", ["open", "resume"])
def test_damaged_metadata(opening, damage, folder, study):
    damage(folder / "results.zarr" / "zarr.json")
    with pytest.raises(InputError, match="is damaged") as raised:
        open_run(folder) if opening == "open" else run(study, folder, resume=True, progress=False)
    assert_one_line(raised, folder, "run again into a new folder")


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink], ids=["cut", "empty", "missing"])
def test_damaged_metadata_of_an_array(damage, folder):
    damage(folder / "results.zarr" / "relevance" / "zarr.json")
    with pytest.raises(InputError) as raised:
        open_run(folder)
    assert_one_line(raised, folder, "run again into a new folder")


@pytest.mark.parametrize("name", ["epoch", "width"])
@pytest.mark.parametrize("opening", ["open", "resume"])
def test_a_missing_coordinate(opening, name, folder, study):
    shutil.rmtree(folder / "results.zarr" / name)
    with pytest.raises(InputError) as raised:
        open_run(folder) if opening == "open" else run(study, folder, resume=True, progress=False)
    assert_one_line(raised, folder, name)


@pytest.mark.parametrize("name", ["format", "layer_names", "estimators"])
def test_missing_attributes(name, folder):
    attributes(folder, lambda attrs: attrs.pop(name))
    with pytest.raises(InputError, match="is damaged") as raised:
        open_run(folder)
    assert_one_line(raised, folder, name)


def test_a_store_of_a_newer_version(folder, study):
    attributes(folder, lambda attrs: attrs.update(format=store.FORMAT + 1))
    for opening in (lambda: open_run(folder), lambda: run(study, folder, resume=True, progress=False)):
        with pytest.raises(InputError) as raised:
            opening()
        assert_one_line(raised, folder, f"has layout {store.FORMAT + 1}", f"reads up to {store.FORMAT}", "update ibjax")


def test_the_output_is_a_file(study, tmp_path):
    (tmp_path / "file").write_text("")
    for resume in (False, True):
        with pytest.raises(InputError, match="is a file: name a folder for the results"):
            run(study, tmp_path / "file", resume=resume, progress=False)


# A store that was never whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
def test_what_a_kill_during_creation_leaves_is_replaced(resume, study, finished, tmp_path):
    left = tmp_path / "results.zarr.part"
    shutil.copytree(finished / "results.zarr", left)
    (left / "complexity" / "zarr.json").unlink()
    (left / "of no use").write_text("")
    shutil.copytree(finished / "parameters.zarr", tmp_path / "parameters.zarr")
    made = store.open_or_create(study, tmp_path, resume)
    assert made.attrs["status"] == "unfinished"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parameters.zarr", "results.zarr"]
    assert not list(tmp_path.rglob("of no use"))
    plane = open_run(tmp_path)
    assert plane["complexity"].isnull().all()
    assert not plane["alive"].any()
    # The weights that an earlier run had stored are gone.
    assert not zarr.open_group(tmp_path / "parameters.zarr")["layers.0.weight"][:].any()


def test_other_files_in_the_folder_stay(study, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    store.open_or_create(study, tmp_path, resume=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_parents_of_the_folder_are_made(study, tmp_path):
    store.open_or_create(study, tmp_path / "a" / "b", resume=False)
    assert open_run(tmp_path / "a" / "b").attrs["status"] == "unfinished"


# The state of a chunk --------------------------------------------------------------------------------------------

NUMPY_LEAVES_IT_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
STATE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": (np.array([1, 2], np.int32), np.uint32([7]))}
LIKE = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), STATE)


@pytest.fixture(scope="module")
def state_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state.npz"
    save_state(path, STATE, 5)
    return path.read_bytes()


def assert_state(found):
    state, segments = found
    assert segments == 5
    jax.tree.map(np.testing.assert_array_equal, state, STATE)


def test_a_state_comes_back(tmp_path):
    save_state(tmp_path / "state.npz", {**STATE, "a": 2 * STATE["a"]}, 4)
    save_state(tmp_path / "state.npz", STATE, 5)
    assert_state(load_state(tmp_path / "state.npz", LIKE))
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def test_a_state_is_forced_to_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    replace, fsync = Path.replace, os.fsync
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append(f"rename {self.name}"), replace(self, to))[1])
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), fsync(handle))[1])
    save_state(tmp_path / "state.npz", STATE, 5)
    assert done[0] == "sync"
    assert done.count("rename state.part") == 1
    assert "sync" in done[done.index("rename state.part") + 1 :]


@NUMPY_LEAVES_IT_OPEN
@pytest.mark.parametrize("damage", [0x01, 0xFF, "cut"])
def test_a_damaged_state_is_named_with_the_remedy(damage, state_bytes, tmp_path):
    path = tmp_path / "state.npz"
    for place in range(len(state_bytes)):
        content = bytearray(state_bytes)
        if damage == "cut":
            del content[place:]
        else:
            content[place] ^= damage
        path.write_bytes(content)
        complaint = ""
        try:
            assert_state(load_state(path, LIKE))  # some bytes, such as dates, mean nothing
        except InputError as error:
            complaint = str(error)
        except Exception as error:
            pytest.fail(f"byte {place}: {error!r}")
        assert complaint or damage != "cut", place
        if complaint:
            assert "\n" not in complaint, place
            assert str(path) in complaint, place
            assert "run again with --resume to train its replicas anew" in complaint, place


def test_a_damaged_state_is_closed(state_bytes, tmp_path):
    (tmp_path / "state.npz").write_bytes(state_bytes[:-30])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InputError):
            load_state(tmp_path / "state.npz", LIKE)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_a_pickled_state_is_refused(tmp_path):
    np.savez(tmp_path / "state.npz", leaf0=np.array([None]), leaf1=STATE["b"][0], leaf2=STATE["b"][1], segments=5)
    with pytest.raises(InputError, match=r"is damaged .*run again with --resume"):
        load_state(tmp_path / "state.npz", LIKE)


@pytest.mark.parametrize(
    "other",
    [
        {**STATE, "a": np.zeros((2, 4), np.float32)},
        {**STATE, "a": np.zeros((2, 3), np.float64)},
        {**STATE, "c": np.zeros(3)},
    ],
    ids=["shape", "dtype", "one more"],
)
def test_a_state_of_another_network(other, tmp_path):
    save_state(tmp_path / "state.npz", other, 5)
    with pytest.raises(InputError, match=r"holds another network's state: choose another output folder"):
        load_state(tmp_path / "state.npz", LIKE)


def test_a_state_that_lacks_something(tmp_path):
    save_state(tmp_path / "state.npz", {"a": STATE["a"]}, 5)
    with pytest.raises(InputError) as raised:
        load_state(tmp_path / "state.npz", LIKE)
    assert_one_line(raised, tmp_path / "state.npz")


@NUMPY_LEAVES_IT_OPEN
def test_the_remedy_for_a_damaged_state_works(unfinished, study, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(unfinished, folder)
    cut(folder / "state" / "chunk-00001.npz")
    found = run(study, folder, resume=True, progress=False)
    for name in VARIABLES:
        np.testing.assert_array_equal(found[name], open_run(finished)[name])
