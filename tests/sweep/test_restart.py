"""Replicas that are stuck at chance are trained again from other keys, whatever happens meanwhile."""

import functools
import json
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ibjax
from ibjax.errors import InputError
from ibjax.plane import masked, with_dead
from ibjax.sweep import plan, run, runner, verify
from ibjax.sweep.study import replica_key
from ibjax.training import train

RESTARTS = 2
SHARE = 0.6
"""Of the networks below that never learn; others may fail by chance."""


class Lazy(nnx.Module):
    """A network of which some draw zeros and a gate that keeps them."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.read_in = nnx.Linear(4, 3, rngs=rngs)
        self.read_out = nnx.Linear(3, 2, rngs=rngs)
        gate = jnp.where(jax.random.uniform(rngs.params()) < SHARE, 0.0, 1.0)
        for layer in (self.read_in, self.read_out):
            layer.kernel[...] *= gate

    def __call__(self, x):
        hidden = jax.nn.relu(self.read_in(x))
        logits = self.read_out(hidden)
        return logits, (hidden, jax.nn.softmax(logits))


@pytest.fixture(scope="module", autouse=True)
def programs(made):
    compiled, compile_ = {}, runner.Program

    def once(study, devices):
        if (study.network, study.estimators, devices) not in compiled:
            compiled[study.network, study.estimators, devices] = compile_(study, devices)
        return compiled[study.network, study.estimators, devices]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["ibjax.training.train"], "DEAD_AFTER", 2)
        patch.setattr(plan, "SEGMENT_STEPS", 6)
        patch.setattr(runner, "Program", once)
        yield


NETWORK = functools.partial(Lazy)


@pytest.fixture(scope="module")
def study(made):
    return functools.partial(made.study, network=NETWORK, replicas=7, chunk_size=3)


@pytest.fixture(scope="module")
def once(study):
    return run(study(), progress=False).load()


@pytest.fixture(scope="module")
def again(study, tmp_path_factory):
    """A run whose dead replicas were trained again, and its folder."""
    folder = tmp_path_factory.mktemp("again") / "run"
    calls, fsync = [], os.fsync
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: (calls.append(handle), fsync(handle)))
        plane = run(study(restarts=RESTARTS), folder, progress=False).load()
    return plane, folder, len(calls)


@pytest.fixture(scope="module")
def alone(study):
    """(alive at the end, training losses) of every attempt of every replica, each trained by itself."""
    one = study()

    def trained(replica, attempt):
        key = replica_key(one.seed, replica)
        key = jax.lax.cond(attempt > 0, lambda: jax.random.fold_in(key, attempt), lambda: key)
        snapshots = train(one.network, one.config, one.data, key)[1]
        return snapshots.alive[-1], snapshots.train_loss

    every = jax.vmap(jax.vmap(trained, (None, 0)), (0, None))
    return jax.tree.map(np.asarray, jax.jit(every)(np.arange(7), np.arange(RESTARTS + 1)))


@pytest.fixture(scope="module")
def attempts(alone) -> list[int]:
    """Which attempt each replica's values are to be of: the first that lives, or else the last."""
    return [int(np.argmax(alive)) if alive.any() else RESTARTS for alive in alone[0]]


def assert_same(found, wanted):
    for name in wanted.variables:
        assert found[name].values.tobytes() == wanted[name].values.tobytes(), name
    untimed = [{k: str(v) for k, v in plane.attrs.items() if k != "seconds"} for plane in (found, wanted)]
    assert untimed[0] == untimed[1]


def test_the_test_has_what_it_needs(once, alone, attempts):
    assert once["alive"].values[:, -1].tolist() == alone[0][:, 0].tolist()
    assert {0, 1} <= set(attempts)


def test_the_dead_are_trained_again(once, alone, again, attempts):
    plane, folder, _ = again
    told = json.loads(plane.attrs["restarted"])
    assert told == {str(replica): attempt for replica, attempt in enumerate(attempts) if attempt}
    chosen = np.arange(7), np.array(attempts)
    assert plane["alive"].values[:, -1].tolist() == alone[0][chosen].tolist()
    np.testing.assert_allclose(plane["train_loss"].values, alone[1][chosen], rtol=1e-4)
    assert masked(plane).dead < masked(once).dead
    assert verify(folder) == ()


def test_the_living_stay_as_they_are(once, again, attempts):
    plane, _, _ = again
    kept = np.flatnonzero(np.array(attempts) == 0)
    assert len(kept)
    for name in ("train_loss", "complexity", "gradient_mean"):
        one, other = (p[name].isel(replica=kept).values for p in (once, plane))
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("devices", [2])
def test_results_do_not_depend_on_devices_or_the_folder(devices, study, again, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", jax.devices()[:devices].copy)
    assert_same(run(study(restarts=RESTARTS), progress=False), again[0])


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_run_killed_meanwhile_goes_on_bitwise(share, study, again, tmp_path):
    plane, _, syncs = again
    left = [int(share * syncs)]

    class Killed(BaseException):
        pass

    def dies(handle):
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", dies)
        with pytest.raises(Killed):
            run(study(restarts=RESTARTS), tmp_path, progress=False)
    assert_same(run(study(restarts=RESTARTS), tmp_path, resume=True, progress=False), plane)
    assert verify(tmp_path) == ()


def test_a_run_without_restarts_is_another_run(study, again):
    with pytest.raises(InputError, match=r"holds another run .*restarts 2 -> None"):
        run(study(), again[1], resume=True, progress=False)
    with pytest.raises(InputError, match="restarts must be 0 or more, got -1"):
        study(restarts=-1)


def test_the_policy_says_how_many(once, again, attempts):
    _, folder, _ = again
    count = sum(attempt > 0 for attempt in attempts)
    assert with_dead(ibjax.open(folder), "restart").attrs["dead_policy"].endswith(f" of 7, {count} trained again")
    with pytest.raises(InputError, match="made without restarts: run again with --restarts 3"):
        with_dead(once, "restart")
