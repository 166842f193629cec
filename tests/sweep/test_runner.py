"""A study's results do not depend on where it is stored, on devices or on interruptions."""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from flax import nnx
from reference import binned_information_soft, bins_fixed

import ibjax
from ibjax.datasets import from_arrays, split, subset
from ibjax.errors import InputError
from ibjax.estimators import Binning
from ibjax.networks import MLP
from ibjax.plane import layer_information, masked, surviving
from ibjax.sweep import Study, data_key, plan, remeasure, run, runner, store, use_every_core
from ibjax.sweep.study import CHUNK, replica_key
from ibjax.training import TrainConfig, TrainingData, train

SAMPLES, FEATURES, WIDTHS = 96, 4, (4, 3, 2)
SEGMENT_STEPS = 9
"""Three epochs of the study below: its twelve are several segments, some of them without a snapshot."""


def points(p_y_given_x: bool = False) -> TrainingData:
    """96 points, labelled by the sign of a sum or by a probability that grows with it; three quarters train."""
    x = np.random.default_rng(0).normal(size=(SAMPLES, FEATURES))
    score = x[:, 0] + x[:, 1]
    p = 1 / (1 + np.exp(-2 * score))
    whole = from_arrays(x, (score > 0).astype(int), np.stack([1 - p, p], axis=1) if p_y_given_x else None)
    return TrainingData(*split(whole, 0.75, "first", jax.random.key(0)), whole)


def small_study(**changes) -> Study:
    """A tiny network, twelve epochs, five replicas in chunks of two: the last chunk is padded."""
    settings = {
        "network": functools.partial(MLP, WIDTHS),
        "data": points(),
        "config": TrainConfig(epochs=12, batch_size=24, learning_rate=0.5, snapshots=7),
        "estimators": (Binning(bins=8),),
        "replicas": 5,
        "seed": 3,
        "chunk_size": 2,
    }
    settings |= changes
    if callable(settings["data"]):  # a test's parameters are made before JAX may be used
        settings["data"] = settings["data"]()
    return Study(**settings)


def measured_study(**changes) -> Study:
    """The same with soft labels and two estimators, one of which has to wait for the end of the run."""
    estimators = (Binning(bins=6, range="run"), Binning(bins=8))
    return small_study(**{"data": points(p_y_given_x=True), "estimators": estimators} | changes)


def assert_same(found, wanted, replicas=slice(None)):
    """Bit for bit, NaN and the sign of zero included."""
    assert set(found.variables) == set(wanted.variables)
    for name in wanted.variables:
        one, other = found[name], wanted[name]
        if "replica" in other.dims:
            one, other = one.isel(replica=replicas), other.isel(replica=replicas)
        assert one.dims == other.dims
        assert one.dtype == other.dtype
        assert one.values.tobytes() == other.values.tobytes(), name
    if isinstance(replicas, slice):
        # As text, because NaN is not NaN.
        untimed = [{k: str(v) for k, v in plane.attrs.items() if k != "seconds"} for plane in (found, wanted)]
        assert untimed[0] == untimed[1]


def parameters(folder) -> dict[str, np.ndarray]:
    return {name: array[:] for name, array in zarr.open_group(str(folder / "parameters.zarr"), mode="r").arrays()}


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Short segments, and every program compiled once: (study, devices) -> program."""
    compiled = {}
    compile_ = runner.Program

    def once(study, devices):
        if (study, devices) not in compiled:
            compiled[study, devices] = compile_(study, devices)
        return compiled[study, devices]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SEGMENT_STEPS", SEGMENT_STEPS)
        patch.setattr(runner, "Program", once)
        yield compiled


@pytest.fixture(scope="module")
def study():
    return small_study()


@pytest.fixture(scope="module")
def plane(study):
    """The uninterrupted run in memory, a chunk a device."""
    return run(study, progress=False).load()


@pytest.fixture
def on(monkeypatch):
    """Let the runner see so many of the devices."""
    every = jax.devices()
    return lambda devices: monkeypatch.setattr(jax, "local_devices", lambda: every[:devices])


class Killed(BaseException):
    """What a test throws where the process dies."""


def die_at(patch, owner, name, call, counts=lambda *args: True):
    """Let the process die instead of the call-th call of a function; returns the counter of its calls."""
    function, calls = getattr(owner, name), itertools.count(1)

    def counted(*args, **settings):
        if counts(*args) and next(calls) == call:
            raise Killed
        return function(*args, **settings)

    patch.setattr(owner, name, counted)
    return calls


def run_until(call, study, folder, owner=os, name="fsync", counts=lambda *args: True):
    """Run or resume a study until the process dies at the call-th call of a function, by default of `os.fsync`."""
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, owner, name, call, counts)
        with pytest.raises(Killed):
            run(study, folder, resume=True, progress=False)


class Stored:
    """A run in a folder that nothing interrupted, and how often it forced a file to the disk."""

    def __init__(self, study, folder):
        with pytest.MonkeyPatch.context() as patch:
            calls = die_at(patch, os, "fsync", -1)
            self.plane = run(study, folder, progress=False).load()
        self.folder, self.syncs = folder, next(calls) - 1


@pytest.fixture(scope="module")
def stored(study, tmp_path_factory):
    return Stored(study, tmp_path_factory.mktemp("stored") / "run")


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    """A run that keeps its parameters and measures one estimator at its end."""
    study = measured_study()
    return study, Stored(study, tmp_path_factory.mktemp("soft") / "run")


# Where it runs ---------------------------------------------------------------------------------------------------


def test_a_run_has_all_that_it_promises(plane, study):
    assert dict(plane.sizes) == {"estimator": 1, "replica": 5, "snapshot": len(study.epochs), "layer": 2}
    assert plane["epoch"].values.tolist() == study.epochs.tolist()
    assert plane["estimator"].values.tolist() == [str(estimator) for estimator in study.estimators]
    assert plane["layer_name"].values.tolist() == ["T1", "output"]
    assert plane["width"].values.tolist() == list(WIDTHS[1:])
    assert all(plane[name].notnull().all() for name in plane.data_vars)
    assert plane["alive"].values.all()
    assert (plane["train_loss"].values[:, -1] < plane["train_loss"].values[:, 0]).all()
    assert len(np.unique(plane["train_loss"].values[:, 0])) == 5
    ratio = plane["gradient_mean"] / plane["gradient_std"]
    np.testing.assert_array_equal(plane["gradient_snr"].values, ratio.values)


def test_memory_and_folder_agree(plane, stored):
    assert_same(stored.plane, plane)


def test_memory_stays_in_memory(study, plane, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert_same(run(study, progress=False), plane)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("devices", [1, 2])
def test_results_do_not_depend_on_devices(devices, study, plane, programs, on):
    on(devices)
    assert_same(run(study, progress=False), plane)
    # Three chunks are no work for a fourth device.
    assert {wide for of, wide in programs if of is study} >= {devices, 3}


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_a_replica_does_not_depend_on_how_many_there_are(replicas, plane):
    found = run(small_study(replicas=replicas), progress=False)
    assert found.sizes["replica"] == replicas
    assert_same(found, plane, replicas=np.arange(replicas))


def test_a_replica_is_one_call_of_train(study, plane):
    def one(replica):
        measure = functools.partial(layer_information, study.estimators)
        return train(study.network, study.config, study.data, replica_key(study.seed, replica), measure=measure)

    chosen = np.array([0, 3, 4])
    _, snapshots = jax.jit(jax.vmap(one))(chosen)
    for name in ("train_loss", "test_loss", "gradient_mean", "gradient_std", "weight_norm", "weight_distance"):
        wanted = plane[name].isel(replica=chosen).values
        np.testing.assert_allclose(getattr(snapshots, name), wanted, rtol=1e-4, atol=1e-6, err_msg=name)
    # Rounding can move a point across the edge of a bin.
    for name in ("complexity", "relevance"):
        wanted = plane[name].isel(estimator=0, replica=chosen).values
        np.testing.assert_allclose(getattr(snapshots.measured, name)[:, :, 0], wanted, atol=0.05, err_msg=name)


@pytest.mark.parametrize(
    ("replicas", "chunk_size", "chunk", "chunks"),
    [(1, None, 1, 1), (2, None, 1, 2), (5, None, 3, 2), (49, None, CHUNK, 2), (200, None, CHUNK, 8), (5, 7, 7, 1)],
)
def test_the_chunk_depends_on_the_study_alone(replicas, chunk_size, chunk, chunks):
    study = small_study(replicas=replicas, chunk_size=chunk_size)
    assert (study.chunk, study.chunks) == (chunk, chunks)


def test_the_study_is_worth_interrupting(study):
    segments = plan.plan(study.epochs, 3)
    assert len(segments) >= 4
    assert any(part.first == part.stop for part in segments)
    assert study.chunks == 3


# Interruptions ---------------------------------------------------------------------------------------------------

# Of the first segment and chunk: the first array, its folder, the last array's folder, the record and the state, each
# aside and in place, and the next segment's first array.  Then all over the run.
STAGES = {
    "first array": lambda syncs: 1,
    "its folder": lambda syncs: 2,
    "last array": lambda syncs: 26,
    "record aside": lambda syncs: 27,
    "record in place": lambda syncs: 28,
    "state aside": lambda syncs: 29,
    "state in place": lambda syncs: 30,
    "next segment": lambda syncs: 31,
    "a third": lambda syncs: syncs // 3,
    "half the chunks": lambda syncs: syncs // 2,
    "two thirds": lambda syncs: 2 * syncs // 3,
    "last state": lambda syncs: syncs - 2,  # then the attributes, which are in place already
}


@pytest.mark.parametrize(
    ("stage", "before", "after"),
    [*((stage, 1, 2) for stage in STAGES), *((stage, 2, 3) for stage in ("state aside", "half the chunks"))],
)
def test_an_interrupted_run_goes_on_bitwise(stage, before, after, study, stored, on, tmp_path):
    on(before)
    run_until(STAGES[stage](stored.syncs), study, tmp_path)
    assert_only_holes(ibjax.open(tmp_path), stored.plane)
    on(after)
    assert_same(run(study, tmp_path, resume=True, progress=False), stored.plane)


def assert_only_holes(found, wanted):
    """An unfinished run holds what the finished one will, or nothing."""
    assert found.attrs["status"] == "unfinished"
    for name in ("complexity", "train_loss", "gradient_mean"):
        hole = found[name].isnull().values
        assert (hole | (found[name].values == wanted[name].values)).all()


def test_a_run_that_is_killed_again_and_again_goes_on(study, stored, on, tmp_path):
    for devices in itertools.count(1):
        assert devices < 30
        on(1 + devices % 3)
        try:
            run_until(75, study, tmp_path)
        except pytest.fail.Exception:  # it was not killed any more
            break
    assert devices > 3
    assert_same(ibjax.open(tmp_path), stored.plane)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_run_killed_at_a_checkpoint_s_renaming_goes_on(call, study, stored, tmp_path):
    run_until(call, study, tmp_path, Path, "replace", lambda path, target: path.suffix == ".part")
    assert_same(run(study, tmp_path, resume=True, progress=False), stored.plane)


@pytest.mark.parametrize("call", [1, 2, 14, 18])
def test_a_run_killed_while_its_store_is_made_starts_afresh(call, study, stored, tmp_path):
    run_until(call, study, tmp_path, zarr.Group, "create_array")
    assert not (tmp_path / store.RESULTS).exists()
    found = run(study, tmp_path, progress=False)  # no resume: there is no run yet
    assert_same(found, stored.plane)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.zarr", "state"]


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_run_killed_while_it_measures_at_its_end_goes_on(share, soft, tmp_path):
    study, uninterrupted = soft
    # The end writes two arrays for each chunk and snapshot, each a file and its folder.
    end = 2 * 2 * study.chunks * len(study.epochs)
    run_until(uninterrupted.syncs - end + 1 + int(share * end), study, tmp_path)
    assert ibjax.open(tmp_path).attrs["status"] == "unfinished"
    assert_same(run(study, tmp_path, resume=True, progress=False), uninterrupted.plane)
    for name, array in parameters(uninterrupted.folder).items():
        assert parameters(tmp_path)[name].tobytes() == array.tobytes()


def test_a_finished_run_is_not_run_again(study, stored, monkeypatch):
    def refuse(*args):
        raise AssertionError("compiled")

    monkeypatch.setattr(runner, "Program", refuse)
    assert_same(run(study, stored.folder, resume=True, progress=False), stored.plane)


def test_a_folder_that_holds_a_run_is_not_overwritten(study, stored):
    with pytest.raises(InputError, match="already holds a run: add --resume to go on with it, or choose another"):
        run(study, stored.folder, progress=False)
    assert_same(ibjax.open(stored.folder), stored.plane)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replicas": 6}, "replicas 5 -> 6"),
        ({"seed": 4}, "seed 3 -> 4"),
        ({"chunk_size": 3}, "chunk_size 2 -> 3"),
        ({"estimators": (Binning(bins=9),)}, "measure .*bins=8.* -> .*bins=9"),
        ({"config": TrainConfig(epochs=12, batch_size=24, learning_rate=0.4, snapshots=7)}, "learning_rate 0.5 -> 0.4"),
        ({"network": functools.partial(MLP, (4, 5, 2))}, r"layer_widths \[3, 2\] -> \[5, 2\]"),
        ({"data": lambda: points(p_y_given_x=True)}, "data_sha256"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_run_is_not_gone_on_with(changes, message, stored):
    with pytest.raises(InputError, match=f"holds another run .*{message}.*: choose another folder"):
        run(small_study(**changes), stored.folder, resume=True, progress=False)
    assert_same(ibjax.open(stored.folder), stored.plane)


def test_another_network_of_the_same_widths_is_another_run(stored):
    other = small_study(network=functools.partial(MLP, WIDTHS, "relu"))
    with pytest.raises(InputError, match="another run"):
        run(other, stored.folder, resume=True, progress=False)


def test_settings_that_are_not_plain_can_be_resumed(tmp_path):
    study = small_study(settings={"from": Path("here"), "gain": np.float32(0.5)}, replicas=1)
    first = run(study, tmp_path, progress=False).load()
    assert_same(run(study, tmp_path, resume=True, progress=False), first)


def test_where_the_data_are_plays_no_part_but_what_they_are(study, tmp_path):
    here, there = (small_study(settings={"data": place}, replicas=1) for place in ("here", "there"))
    first = run(here, tmp_path, progress=False).load()
    found = run(there, tmp_path, resume=True, progress=False)
    assert json.loads(ibjax.open(tmp_path).attrs["config"])["data"] == "there"
    assert_same(found.assign_attrs({name: first.attrs[name] for name in ("config", "checksums")}), first)
    other = small_study(settings={"data": "here"}, replicas=1, data=points(p_y_given_x=True))
    with pytest.raises(InputError, match=r"holds another run \(data_sha256 [^;]*\): choose another folder"):
        run(other, tmp_path, resume=True, progress=False)


@pytest.mark.parametrize("seed", [3, 9], ids=["the same run", "another run"])
def test_what_a_removed_run_left_behind_plays_no_part(seed, stored, study, tmp_path):
    run(small_study(seed=seed), tmp_path, progress=False)
    shutil.rmtree(tmp_path / store.RESULTS)
    assert_same(run(study, tmp_path, progress=False), stored.plane)


def child(folder, devices):
    """Resume the small study in a process of its own that takes its time from one array to the next."""
    use_every_core(devices)
    at_once = store.Store._put
    first = itertools.count()

    def slowly(*args):
        if next(first) == 0:
            print("writing", flush=True)
        time.sleep(0.002)
        return at_once(*args)

    store.Store._put = slowly
    plan.SEGMENT_STEPS = SEGMENT_STEPS
    run(small_study(), folder, resume=True, progress=False)
    print(len(jax.devices()), "devices", flush=True)


def test_a_process_killed_at_random_goes_on_bitwise(stored, tmp_path):
    chance = random.Random(0)
    folder = tmp_path / "run"
    for attempt in itertools.count():
        call = f"import runpy; runpy.run_path({__file__!r})['child']({str(folder)!r}, {1 + attempt % 2})"
        path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(ibjax.__file__).parents[1])])
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", call],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        with process:
            said = process.stdout.readline()
            if attempt < 2 and said == "writing\n":
                time.sleep(chance.uniform(0.02, 0.35))
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL
                continue
            assert process.wait() == 0
            break
    assert ibjax.open(folder).attrs["status"] == "finished"
    assert_same(ibjax.open(folder), stored.plane)


# Diverged and dead replicas --------------------------------------------------------------------------------------


class Fragile(nnx.Module):
    """A network of one's own: some replicas draw weights that overflow, and some draw zeros, if ``broken``."""

    def __init__(self, broken: bool, *, rngs: nnx.Rngs):
        # In the order of the layers, which is not that of the alphabet.
        self.read_in = nnx.Linear(FEATURES, 3, rngs=rngs)
        self.a_read_out = nnx.Linear(3, 2, rngs=rngs)
        if broken:
            draw = jax.random.uniform(rngs.params())
            factor = jnp.where(draw < 0.3, 1e38, jnp.where(draw < 0.6, 0.0, 1.0))
            for layer in (self.read_in, self.a_read_out):
                layer.kernel[...] *= factor

    def __call__(self, x):
        hidden = jax.nn.relu(self.read_in(x))
        logits = self.a_read_out(hidden)
        return logits, (hidden, jax.nn.softmax(logits))


@pytest.fixture(scope="module")
def fragile():
    """Runs with broken replicas, without, and with a learning rate that is too large; dead is who is after 5 epochs."""
    config = small_study().config
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["ibjax.training.train"], "DEAD_AFTER", 5)
        return [
            run(
                small_study(network=functools.partial(Fragile, broken), replicas=8, config=chosen), progress=False
            ).load()
            for broken, chosen in (
                (True, config),
                (False, config),
                (False, dataclasses.replace(config, learning_rate=1e30)),
            )
        ]


def fates() -> np.ndarray:
    """What becomes of the replicas of the broken run: their own draws, made again."""

    def draw(replica):
        rngs = nnx.Rngs(params=jax.random.split(replica_key(3, replica))[0])
        Fragile(False, rngs=rngs)
        return jax.random.uniform(rngs.params())

    return np.array([draw(replica) for replica in range(8)])


def test_a_network_of_one_s_own_is_measured_layer_by_layer(fragile):
    _, healthy, _ = fragile
    assert healthy["width"].values.tolist() == [3, 2]
    assert healthy["alive"].values.all()
    assert (healthy["weight_norm"].values > 0).all()


def test_a_lost_replica_leaves_the_others_alone(fragile):
    broken, healthy, _ = fragile
    draws = fates()
    diverged, dead, kept = np.flatnonzero(draws < 0.3), np.flatnonzero((draws >= 0.3) & (draws < 0.6)), draws >= 0.6
    assert len(diverged)
    assert len(dead)
    assert kept.sum() >= 2
    assert_same(broken, healthy, replicas=np.flatnonzero(kept))
    assert broken["alive"].values[:, -1].tolist() == kept.tolist()
    assert np.isnan(broken["complexity"].values[:, diverged]).any()
    assert not np.isnan(broken["complexity"].values[:, dead]).any()
    found = masked(broken)
    assert found == (len(diverged), len(dead), 0, 12)
    assert surviving(broken)["replica"].values.tolist() == np.flatnonzero(kept).tolist()


def test_a_replica_is_dead_only_after_its_time(fragile):
    broken, _, _ = fragile
    dead = np.flatnonzero((fates() >= 0.3) & (fates() < 0.6))
    alive = broken["alive"].values[dead]
    assert (alive == (broken["epoch"].values < 5)).all()


def test_a_learning_rate_that_is_too_large_is_no_crash(fragile):
    _, _, plane = fragile
    assert plane["alive"].values[:, 0].all()
    assert masked(plane) == (8, 0, 0, 12)
    with pytest.raises(InputError, match=r"all 8 replicas are masked.*epoch 12.*lower the learning rate"):
        surviving(plane)


# What is measured ------------------------------------------------------------------------------------------------


def activations(study, folder) -> list[np.ndarray]:
    """Of every layer, from the stored parameters: (replica, snapshot, n, units)."""
    tree = jax.tree.structure(jax.eval_shape(study.functional.init, jax.random.key(0)))
    kept = parameters(folder)
    params = jax.tree.unflatten(tree, [kept[name] for name in study.param_shapes])
    apply = jax.vmap(jax.vmap(lambda p: study.functional.apply(p, jnp.asarray(study.data.measured.x))[1]))
    return [np.asarray(t) for t in jax.jit(apply)(params)]


def oracle(layers, p_y_given_x, indices) -> np.ndarray:
    """(complexity or relevance, replica, snapshot, layer) by plain NumPy; ``indices``: (layer, replica, t) -> bins."""
    found = [
        [
            [binned_information_soft(indices(depth, replica, t), p_y_given_x) for depth, t in enumerate(row)]
            for row in zip(*(t[replica] for t in layers), strict=True)
        ]
        for replica in range(len(layers[0]))
    ]
    return np.moveaxis(np.array(found), -1, 0)


def test_several_estimators_of_soft_labels_agree_with_numpy(soft):
    study, stored = soft
    plane, layers = stored.plane, activations(study, stored.folder)
    p = study.data.measured.p_y_given_x
    # Inside the run first, the one over the whole run last.
    names = ["binning:bins=8,low=-1,high=1", "binning:bins=6,range=run"]
    assert plane["estimator"].values.tolist() == names

    def over_the_run(depth, replica, t):
        low, high = layers[depth][replica].min(), layers[depth][replica].max()
        return np.minimum(np.floor((t - low) * (6 / (high - low))), 5)

    rules = (lambda d, r, t: bins_fixed(t, 8, -1, 1), over_the_run)
    for estimator, rule in enumerate(rules):
        for name, wanted in zip(("complexity", "relevance"), oracle(layers, p, rule), strict=True):
            found = plane[name].isel(estimator=estimator).values
            np.testing.assert_allclose(found, wanted, atol=2e-6, err_msg=f"{name} by {names[estimator]}")
    ceiling = study.data.measured.mutual_information
    assert plane.attrs["information_xy"] == ceiling
    assert (plane["relevance"].values <= ceiling + 1e-6).all()
    assert (plane["relevance"].values > 0.1 * ceiling).any()


def test_measuring_again_gives_the_same(soft, tmp_path):
    study, stored = soft
    shutil.copytree(stored.folder, tmp_path / "run")
    again = remeasure(study, tmp_path / "run", study.estimators, progress=False)
    assert again["estimator"].values.tolist() == stored.plane["estimator"].values.tolist()
    for name in ("complexity", "relevance"):
        np.testing.assert_allclose(again[name].values, stored.plane[name].values, atol=1e-6)
    assert again["train_loss"].equals(stored.plane["train_loss"])


def test_measuring_by_one_more(soft, tmp_path):
    study, stored = soft
    shutil.copytree(stored.folder, tmp_path / "run")
    remeasure(study, tmp_path / "run", [Binning(bins=5)], progress=False)
    more = ibjax.open(tmp_path / "run")
    assert more["estimator"].values.tolist() == [*stored.plane["estimator"].values, "binning:bins=5,low=-1,high=1"]
    layers = activations(study, stored.folder)
    wanted = oracle(layers, study.data.measured.p_y_given_x, lambda d, r, t: bins_fixed(t, 5, -1, 1))
    for name, values in zip(("complexity", "relevance"), wanted, strict=True):
        np.testing.assert_allclose(more[name].values[2], values, atol=2e-6)
        np.testing.assert_array_equal(more[name].values[:2], stored.plane[name].values)


def test_measuring_again_killed_half_way(soft, tmp_path):
    study, stored = soft
    folder = tmp_path / "run"
    shutil.copytree(stored.folder, folder)
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        die_at(patch, os, "fsync", 5)
        remeasure(study, folder, [Binning(bins=5)], progress=False)
    remeasure(study, folder, [Binning(bins=5)], progress=False)
    assert ibjax.open(folder)["complexity"].notnull().all()
    # And while room for it is made: what had been measured can still be gone on with.
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        die_at(patch, store.Store, "note", 1)
        remeasure(study, folder, [Binning(bins=4)], progress=False)
    with pytest.raises(InputError, match=r"is damaged .*`ibjax measure` repairs it"):
        ibjax.open(folder)
    found = remeasure(study, folder, [Binning(bins=4)], progress=False)
    assert found["estimator"].values.tolist()[-1] == "binning:bins=4,low=-1,high=1"
    assert found["complexity"].notnull().all()


def test_what_cannot_be_measured_again(study, stored, soft, tmp_path):
    with pytest.raises(InputError, match="has no stored parameters: make it with --keep-parameters"):
        remeasure(study, stored.folder, [Binning()], progress=False)
    with pytest.raises(InputError, match="holds no run"):
        remeasure(study, tmp_path, [Binning()], progress=False)
    measured, _ = soft
    run_until(100, measured, tmp_path)
    with pytest.raises(InputError, match="is not finished: run it again with --resume first"):
        remeasure(measured, tmp_path, [Binning()], progress=False)


def test_a_replica_without_a_range_is_no_warning():
    network = functools.partial(Fragile, True)
    plane = run(small_study(network=network, replicas=8, estimators=(Binning(range="run"),)), progress=False)
    finite = plane["complexity"].notnull().all(["estimator", "snapshot", "layer"]).values
    assert finite.tolist() == (fates() >= 0.3).tolist()


@pytest.mark.parametrize(
    "changes",
    [{"data": points}, {"replicas": 4}, {"network": functools.partial(MLP, (4, 5, 2))}],
    ids=["data", "replicas", "network"],
)
def test_another_study_s_run_is_not_measured(changes, soft, tmp_path):
    _, stored = soft
    shutil.copytree(stored.folder, tmp_path / "run")
    with pytest.raises(InputError):
        remeasure(measured_study(**changes), tmp_path / "run", [Binning(bins=5)], progress=False)


def test_parameters_of_a_removed_run_are_not_measured(study, soft, tmp_path):
    _, with_parameters = soft
    shutil.copytree(with_parameters.folder / store.PARAMETERS, tmp_path / store.PARAMETERS)
    run(study, tmp_path, progress=False)
    with pytest.raises(InputError, match="has no stored parameters"):
        remeasure(study, tmp_path, [Binning(bins=5)], progress=False)


# Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replicas": 0}, "replicas must be 1 or more, got 0"),
        ({"seed": -1}, r"seed must be from 0 to 2\^32 - 1, got -1"),
        ({"seed": 2**63}, r"seed must be from 0 to 2\^32 - 1, got 9223372036854775808"),
        ({"chunk_size": 0}, "chunk_size must be 1 or more, got 0"),
        ({"estimators": ()}, "measure needs at least one estimator, for example 'binning'"),
        ({"estimators": (Binning(), Binning(bins=30))}, "an estimator is named twice: binning:bins=30"),
        ({"config": TrainConfig(batch_size=73)}, "batch_size must be from 1 to the 72 training samples, got 73"),
        ({"network": functools.partial(MLP, (5, 2))}, r"the network does not take inputs of shape \(4,\)"),
        ({"network": functools.partial(MLP, (4, 3))}, "the network has 3 outputs and the labels 2 classes"),
    ],
    ids=str,
)
def test_studies_that_make_no_sense(changes, message):
    with pytest.raises(InputError, match=message) as raised:
        small_study(**changes)
    assert "\n" not in str(raised.value)


def part(data, rows):
    return subset(data, np.arange(rows), "part")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d._replace(measured=part(d.measured, 0)), "nothing to measure on: the test set is empty"),
        (lambda d: d._replace(train=part(d.train, 1)), "the training set needs 2 samples or more"),
        (lambda d: d._replace(test=from_arrays(np.ones((3, 5)), np.zeros(3, int))), "test"),
        (lambda d: d._replace(measured=from_arrays(np.ones((3, 5)), np.zeros(3, int))), "measured"),
        (lambda d: d._replace(test=from_arrays(np.ones((3, 4)), np.array([0, 1, 2]))), "test"),
    ],
    ids=["nothing measured", "one sample", "test features", "measured features", "test classes"],
)
def test_data_that_make_no_sense(change, message):
    config = TrainConfig(epochs=2, batch_size=None)
    with pytest.raises(InputError, match=message):
        small_study(data=change(points()), config=config)


def test_a_test_set_may_be_empty():
    data = points()
    assert small_study(data=data._replace(test=part(data.test, 0))).widths == WIDTHS[1:]


@pytest.mark.parametrize("seed", [2**31, 2**32, 2**32 + 1, 2**63 - 1])
def test_large_seeds_are_refused_or_seeds_of_their_own(seed):
    with contextlib.suppress(InputError):
        small_study(seed=seed)
        for low in (0, 1, 2**32 - 1):
            for key in (data_key, lambda s: replica_key(s, 0)):
                assert key(seed) != key(low)


def test_an_unfinished_run_has_its_settings_and_no_times(study, tmp_path):
    run_until(40, study, tmp_path)
    attrs = ibjax.open(tmp_path).attrs
    assert "seconds" not in attrs
    assert json.loads(attrs["config"])["learning_rate"] == 0.5
