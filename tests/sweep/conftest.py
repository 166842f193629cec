"""A tiny run that several files damage, interrupt and join: made once, copied for every test."""

import contextlib
import functools
import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from ibjax.datasets import from_arrays, split
from ibjax.estimators import Binning
from ibjax.networks import MLP
from ibjax.sweep import Study, plan, run, runner, store
from ibjax.training import TrainConfig, TrainingData


class Killed(BaseException):
    """What a test throws where the process dies."""


class Small:
    """A tiny network on 48 points, five replicas in chunks of two, four epochs in two segments; one compiled program.

    Attributes:
        trained: first replicas of the chunks that were begun from the start, in order.
    """

    def __init__(self):
        x = np.random.default_rng(0).normal(size=(48, 4))
        whole = from_arrays(x, (x[:, 0] + x[:, 1] > 0).astype(int))
        self.data = TrainingData(*split(whole, 0.75, "first", jax.random.key(0)), whole)
        self.programs, self.trained = {}, []
        self.compile = runner.Program
        self.default = self.study()

    def study(self, **changes) -> Study:
        settings = {
            "network": functools.partial(MLP, (4, 3, 2)),
            "data": self.data,
            "config": TrainConfig(epochs=4, batch_size=12, snapshots=4),
            "estimators": (Binning(bins=8),),
            "replicas": 5,
            "seed": 3,
            "chunk_size": 2,
            "keep_parameters": True,
            "settings": {"learning_rate": 0.05},  # instead of a digest of the network, which takes its time
        }
        return Study(**(settings | changes))

    def program(self, study, devices):
        """The program for a study, compiled once whatever its replicas."""
        key = json.dumps({**study.identity, "replicas": 0}), study.keeps_parameters, devices
        if key not in self.programs:
            self.programs[key] = self.compile(study, devices)
            begin = self.programs[key].begin
            self.programs[key].begin = lambda replicas: (self.trained.append(int(replicas[0])), begin(replicas))[1]
        return self.programs[key]

    def run(self, folder, study=None, **settings):
        return run(study or self.default, folder, progress=False, **settings)

    def contents(self, folder) -> dict[str, bytes]:
        """What the results and parameters are, file by file; but for attributes, which tell of times."""
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for top in (store.RESULTS, store.PARAMETERS)
            for path in sorted((folder / top).rglob("*"))
            if path.is_file() and path.parent.name != store.RESULTS
        }

    def killed(self, folder, owner, name, call):
        """Run or resume until the process dies in place of the call-th call of a function."""
        function, calls = getattr(owner, name), 0

        def counted(*args, **settings):
            nonlocal calls
            calls += 1
            if calls == call:
                raise Killed
            return function(*args, **settings)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, counted)
            with pytest.raises(Killed):
                self.run(folder, resume=True)

    @contextlib.contextmanager
    def patched(self):
        """One device, short segments, no program compiled twice, and no waiting for the disk."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax, "local_devices", jax.devices()[:1].copy)
            patch.setattr(plan, "SEGMENT_STEPS", 6)
            patch.setattr(runner, "Program", self.program)
            patch.setattr(os, "fsync", lambda handle: None)
            yield self


@pytest.fixture(scope="session")
def made() -> Small:
    return Small()


@pytest.fixture(scope="module")
def small(made):
    """Makes the runs."""
    with made.patched():
        yield made


@pytest.fixture(scope="session")
def whole(made, tmp_path_factory) -> Path:
    """Folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with made.patched():
        made.run(folder)
    return folder


@pytest.fixture(scope="session")
def part(made, tmp_path_factory) -> Path:
    """Folder of a run that died when one chunk was done and the next was half way."""
    folder = tmp_path_factory.mktemp("part") / "run"
    with made.patched():
        made.killed(folder, store.Store, "write", 4)
    return folder


@pytest.fixture
def folder(whole, tmp_path, small) -> Path:
    """A copy of the whole run, to be damaged; nothing is trained yet."""
    small.trained.clear()
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def begun(part, tmp_path, small) -> Path:
    """A copy of the run that died; nothing is trained yet."""
    small.trained.clear()
    return Path(shutil.copytree(part, tmp_path / "begun"))


@pytest.fixture
def assert_same(whole, small):
    """That a folder holds the whole run, bit for bit."""

    def same(found):
        assert small.contents(found) == small.contents(whole)
        # As text, because NaN is not NaN.
        attrs = [{k: str(v) for k, v in store.reopen(path, "r").attrs.items()} for path in (found, whole)]
        assert attrs[0] | {"seconds": ""} == attrs[1] | {"seconds": ""}

    return same
