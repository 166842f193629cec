"""Whatever happens to a run's files is named, computed anew and nothing else with it, bit for bit."""

import errno
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.estimators import Binning
from ibjax.sweep import open_run, remeasure, runner, store, verify, vouched
from ibjax.sweep.lock import hold
from ibjax.sweep.record import Record, Region, load_record, save_record


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b"")


DAMAGES = [cut, flip, empty, Path.unlink]


def files(folder, part):
    """The files of an array, first replicas first."""
    group = store.PARAMETERS if part.startswith("parameters/") else store.RESULTS
    name = part.removeprefix("parameters/").partition("[")[0]
    return sorted(path for path in (folder / group / name / "c").rglob("*") if path.is_file())


def states(folder):
    return sorted(path.name for path in (folder / store.STATES).iterdir())


# What is named ---------------------------------------------------------------------------------------------------


def test_what_is_whole_is_whole(whole, part):
    assert verify(whole) == ()
    assert verify(str(part)) == ()


def test_damage_of_every_array_is_named(folder):
    for part, damage in zip(store.reopen(folder, "r").parts, itertools.cycle(DAMAGES), strict=False):
        file = files(folder, part)[-1]
        content = file.read_bytes()
        damage(file)
        found = verify(folder)
        assert {(d.part, d.first_replica, d.last_replica) for d in found} == {(part, 4, 4)}, (part, damage)
        assert {d.what.split()[0] for d in found} == {"missing" if damage is Path.unlink else "damaged"}
        snapshots = [(d.first_snapshot, d.last_snapshot) for d in found]
        # Parameters have a file a snapshot: the segment that has it is named.
        assert snapshots == ([(3, 4)] if part.startswith("parameters/") else [(0, 2), (3, 4)])
        assert str(found[0]).startswith(f"{part}, replicas 4-4, snapshots {snapshots[0][0]}-{snapshots[0][1]}: ")
        assert "\n" not in str(found[0])
        file.write_bytes(content)
    assert verify(folder) == ()


def test_a_file_in_another_s_place_is_named(folder):
    first, second, _ = files(folder, "test_loss")
    shutil.copy(second, first)
    assert open_run(folder)["test_loss"].notnull().all()
    damages = verify(folder)
    assert [(d.part, d.first_replica, d.what) for d in damages] == [
        ("test_loss", 0, "damaged (not the values that were written)")
    ] * 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named(damage, folder):
    damage(folder / store.STATES / "chunk-00001.json")
    assert [d[:3] for d in verify(folder)] == [("record", 2, 3)]


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
def test_a_damaged_state_is_named_where_it_is_needed(damage, begun, folder):
    damage(begun / store.STATES / "chunk-00001.npz")
    damage(folder / store.STATES / "chunk-00001.npz")
    (found,) = verify(begun)
    assert found[:3] == ("state", 2, 3)
    assert verify(folder) == ()


def change(folder, name, value):
    """Change an attribute of the results behind the store's back."""
    file = folder / store.RESULTS / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"][name] = value
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(("name", "value"), [("title", "another"), ("samples", 49), ("checksums", "{"), ("more", 1)])
def test_damaged_attributes_are_named_and_the_run_is_not_gone_on_with(name, value, small, folder):
    change(folder, name, value)
    (found,) = (damage for damage in verify(folder) if damage.part == "attributes")
    assert (found.first_replica, found.last_replica, found.what) == (0, 4, "damaged (not as they were written)")
    with pytest.raises(InputError, match=r"the attributes of .*results.zarr are damaged .*: bring back its zarr.json"):
        small.run(folder, resume=True)
    assert small.trained == []


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["epoch", "width", "replica"])
def test_damaged_coordinates_are_named_and_written_again(name, damage, small, folder, assert_same):
    damage(folder / store.RESULTS / name / "c/0")
    assert [damage.part for damage in verify(folder)] == ["coordinates"]
    small.run(folder, resume=True)
    assert small.trained == []
    assert verify(folder) == ()
    assert_same(folder)


def test_a_store_without_checksums_of_its_attributes(small, folder, assert_same):
    """An older ibjax wrote none."""
    group = store.reopen(folder).group
    assert vouched(folder)
    del group.attrs["checksums"]
    change(folder, "title", "older")
    assert (verify(folder), vouched(folder)) == ((), False)
    assert open_run(folder).attrs["title"] == "older"
    small.run(folder, resume=True)
    assert not vouched(folder)


def test_a_record_comes_back_or_not_at_all(tmp_path):
    path = tmp_path / "record.json"
    record = Record(2, 4, {"a": (Region(0, 2, 7), Region(2, 3, 2**32 - 1)), "b[0]": ()})
    save_record(path, record)
    assert load_record(path) == record
    content = path.read_bytes()
    for place in range(len(content)):
        for changed in (content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
            path.write_bytes(changed)
            assert load_record(path) in (None, record)
    path.write_text('{"crc32": 0}')
    assert load_record(path) is None
    assert load_record(tmp_path / "none.json") is None


def test_a_record_knows_what_it_covers():
    record = Record().add("a", Region(0, 2, 1)).add("a", Region(3, 5, 1))
    assert record.covers("a", 2)
    assert not record.covers("a", 3)
    assert not record.covers("b", 1)
    record = record.add("a", Region(2, 4, 2))
    assert record.regions["a"] == (Region(0, 2, 1), Region(2, 4, 2))
    assert record.covers("a", 4)
    assert not record.covers("a", 5)


# What is opened --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["complexity", "train_loss", "alive"])
def test_lost_results_are_not_opened_as_nan(name, folder, begun):
    for run in (folder, begun):
        lost = files(run, name)[0]
        lost.unlink()
        with pytest.raises(InputError) as raised:
            open_run(run)
        text = str(raised.value)
        assert "\n" not in text
        assert str(lost) in text
        assert "is missing" in text
        assert "--resume" in text


def test_lost_results_without_their_record_are_not_opened(folder):
    (folder / store.STATES / "chunk-00000.json").unlink()
    open_run(folder)
    files(folder, "train_loss")[0].unlink()
    with pytest.raises(InputError, match="is missing"):
        open_run(folder)


# What is computed anew -------------------------------------------------------------------------------------------


def resumed(small, folder, study=None):
    """Resume, and the names of the files that were not touched."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    small.run(folder, study, resume=True)
    return {str(p.relative_to(folder)) for p, when in before.items() if p.exists() and p.stat().st_mtime_ns == when}


@pytest.mark.parametrize(
    ("part", "damage"), [("complexity[0]", flip), ("gradient_snr", Path.unlink), ("parameters/layers.0.weight", cut)]
)
def test_a_damaged_chunk_is_trained_again_and_no_other(part, damage, small, folder, assert_same):
    place = 1 if part.startswith("complexity") else 0  # of the replicas in a chunk's key
    damage(next(file for file in files(folder, part) if str(file).partition("/c/")[2].split("/")[place] == "1"))
    untouched = resumed(small, folder)
    assert small.trained == [2]
    assert_same(folder)
    assert verify(folder) == ()
    for chunk, same in ((0, True), (1, False), (2, True)):
        assert (f"results.zarr/train_loss/c/{chunk}/0" in untouched) is same
        assert (f"parameters.zarr/layers.1.weight/c/{chunk}/2/0/0" in untouched) is same


@pytest.mark.slow
def test_what_was_measured_afterwards_is_measured_again_and_no_more(small, tmp_path):
    study = small.study(estimators=(Binning(bins=6, range="run"), Binning(bins=8)), replicas=3)
    small.run(tmp_path, study)
    remeasure(study, tmp_path, [Binning(bins=5)], progress=False)
    wanted = small.contents(tmp_path)
    assert verify(tmp_path) == ()
    # Of the one that waits for the end, and of the one that was added: nothing is trained.
    small.trained.clear()
    flip(tmp_path / "results.zarr/relevance/c/1/0/0/0")
    (tmp_path / "results.zarr/complexity/c/2/1/0/0").unlink()
    assert {(d.part, d.first_replica) for d in verify(tmp_path)} == {("relevance[1]", 0), ("complexity[2]", 2)}
    untouched = resumed(small, tmp_path, study)
    assert small.trained == []
    assert small.contents(tmp_path) == wanted
    assert not {f"results.zarr/{name}" for name in ("relevance/c/1/0/0/0", "complexity/c/2/1/0/0")} & untouched
    assert {f"results.zarr/relevance/c/{key}/0/0" for key in ("0/0", "0/1", "1/1", "2/0")} <= untouched
    # One is trained again: what was measured afterwards stays, because it is whole.
    flip(tmp_path / "results.zarr/relevance/c/0/1/0/0")
    untouched = resumed(small, tmp_path, study)
    assert small.trained == [2]
    assert small.contents(tmp_path) == wanted
    assert {f"results.zarr/relevance/c/{key}/0/0" for key in ("0/0", "1/0", "1/1", "2/0", "2/1")} <= untouched


def test_chunks_without_a_record_are_trained_again(small, folder, assert_same):
    (folder / store.STATES / "chunk-00000.json").unlink()
    cut(folder / store.STATES / "chunk-00002.json")
    small.run(folder, resume=True)
    assert small.trained == [0, 4]
    assert_same(folder)


@pytest.mark.parametrize("damage", [cut, Path.unlink])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_chunk_of_a_damaged_state_starts_afresh(damage, small, begun, assert_same):
    damage(begun / store.STATES / "chunk-00001.npz")
    small.run(begun, resume=True)
    assert small.trained == [2, 4]
    assert_same(begun)


def test_a_state_that_is_whole_is_gone_on_from(small, begun, assert_same):
    small.run(begun, resume=True)
    assert small.trained == [4]
    assert_same(begun)


def test_a_state_ahead_of_the_record_is_not_gone_on_from(small, begun, assert_same):
    record = store.record_file(begun, 1)
    save_record(record, Record())
    small.run(begun, resume=True)
    assert small.trained == [2, 4]
    assert_same(begun)


@pytest.mark.parametrize(
    ("owner", "name", "call", "trained"),
    [(store.Store, "commit", 2, [0, 2, 4]), (store.Store, "commit", 3, [4]), (runner, "save_state", 4, [2, 4])],
)
def test_a_death_between_data_record_and_state(owner, name, call, trained, small, tmp_path, assert_same):
    small.killed(tmp_path / "run", owner, name, call)
    assert verify(tmp_path / "run") == ()
    small.trained.clear()
    small.run(tmp_path / "run", resume=True)
    assert small.trained[-1] == 4
    assert_same(tmp_path / "run")


@pytest.mark.parametrize("call", [1, 2])
def test_a_death_while_damage_is_removed(call, small, folder, assert_same):
    flip(files(folder, "alive")[0])
    flip(files(folder, "alive")[1])
    small.killed(folder, store.Store, "forget", call)
    small.run(folder, resume=True)
    assert_same(folder)


def test_leftovers_of_zarr_are_removed(small, begun, assert_same):
    (begun / "results.zarr/alive/c/0/0.abc.partial").write_bytes(b"half")
    small.run(begun, resume=True)
    assert_same(begun)


# Times -----------------------------------------------------------------------------------------------------------


def test_seconds_are_sums_over_sessions(small, begun):
    before = json.loads((begun / store.STATES / "times.json").read_text())["seconds"]
    small.run(begun, resume=True)
    after = json.loads(store.reopen(begun, "r").attrs["seconds"])
    program = small.program(small.default, 1)
    assert before["compile"] == program.seconds
    assert after["compile"] == pytest.approx(2 * program.seconds, abs=1e-3)
    assert all(after[name] > before[name] > 0 for name in ("train", "write"))


# Disks, versions, others -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "what"), [(errno.ENOSPC, "data"), (errno.EROFS, "data"), (errno.EACCES, "state")])
def test_a_disk_that_takes_no_more(code, what, small, begun, assert_same, monkeypatch):
    def fail(*args, **settings):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(*{"data": (store.Store, "write"), "state": (runner, "save_state")}[what], fail)
        with pytest.raises(InputError) as raised:
            small.run(begun, resume=True)
    text = str(raised.value)
    assert "\n" not in text
    for words in (str(begun), os.strerror(code), "--resume", "what was measured is kept"):
        assert words in text
    assert verify(begun) == ()
    small.run(begun, resume=True)
    assert_same(begun)


def test_a_folder_that_is_written_is_only_read(small, folder):
    with hold(folder):
        with pytest.raises(InputError, match="is being written by process"):
            small.run(folder, resume=True)
        with pytest.raises(InputError, match="is being written by process"):
            remeasure(small.default, folder, [Binning(bins=5)], progress=False)
        assert open_run(folder)["complexity"].notnull().all()
        assert verify(folder) == ()


def test_a_store_without_records(small, folder, begun):
    for run in (folder, begun):
        shutil.rmtree(run / store.STATES)
        store.reopen(run).note(format=1)
        with pytest.raises(InputError, match="has layout 1, which has no checksums"):
            verify(run)
        open_run(run)
    assert small.run(folder, resume=True)["complexity"].notnull().all()
    with pytest.raises(InputError, match="was begun by an older ibjax: run again into a new folder"):
        small.run(begun, resume=True)


def test_no_run_is_no_damage(small, tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        verify(tmp_path)
    with pytest.raises(InputError, match="holds no run"):
        remeasure(small.default, tmp_path, [Binning()], progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_state_folder_has_one_state_a_chunk(folder):
    assert states(folder) == [
        *(f"chunk-0000{chunk}.{kind}" for chunk in range(3) for kind in ("json", "npz")),
        "times.json",
    ]
    assert np.all([path.suffix != ".part" for path in folder.rglob("*")])
