"""What a sweep will take, before it is begun: programs, chunks, memory, disk and time."""

import dataclasses
import json
import math
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from ibjax.errors import InputError
from ibjax.plane.schema import VARIABLES
from ibjax.sweep import processes, runner
from ibjax.sweep.groups import Sweep
from ibjax.sweep.plan import SLOTS
from ibjax.sweep.study import Study
from ibjax.training import Slots, init

PROBE_SECONDS = 2.0
"""About how long the probe trains."""
_COPIES = 6
"""Copies of the largest activations that a training step and a measurement hold at a time, by experience."""


class GroupForecast(NamedTuple):
    """What one group will take.

    Attributes:
        folder: its name.
        settings: its values of the grid's fields, as words.
        replicas: how many.
        chunks: parts that one device executes at a time.
        program: number of the compiled program that it needs, from 0; equal numbers share one.
        memory: bytes on one device; exact for the probed group, otherwise estimated.
        disk: bytes of its store before compression, and of its saved states.
        seconds: to run it, without compiling; None without a probe.
        problem: why it cannot be run, empty if it can.
    """

    folder: str
    settings: dict[str, str]
    replicas: int = 0
    chunks: int = 0
    program: int | None = None
    memory: int = 0
    disk: int = 0
    seconds: float | None = None
    problem: str = ""


class Forecast(NamedTuple):
    """What a sweep will take.

    Attributes:
        groups: one entry a group.
        devices: how many will be used, of all processes.
        programs: compilations.
        compile_seconds: of one program, measured by the probe; None without one.
        memory: bytes on one device, of the largest group.
        disk: bytes of all groups.
        seconds: of all groups and compilations; None without a probe.
    """

    groups: tuple[GroupForecast, ...]
    devices: int
    programs: int
    compile_seconds: float | None
    memory: int
    disk: int
    seconds: float | None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**self._asdict(), "groups": [group._asdict() for group in self.groups]}


class _Probe(NamedTuple):
    """What was measured on one group.

    Attributes:
        compiling: seconds.
        epoch: seconds for one epoch of one round: as many chunks as devices, side by side.
        snapshot: seconds for one snapshot of one round.
        memory: bytes of the program on one device; None where the device does not say.
    """

    compiling: float
    epoch: float
    snapshot: float
    memory: int | None


def forecast(sweep: Sweep, *, probe: bool = True) -> Forecast:
    """Foresee what a sweep takes, training no group.

    The probe compiles the first group's program and trains it for about two seconds. Other groups' times follow from
    its time for an epoch and for a snapshot, in proportion to training samples x weights and to measured
    samples x units x estimators. That is right for groups that differ in what costs nothing (activation, learning rate,
    seed), and rough otherwise: small batches take longer than their arithmetic, and estimators differ. The memory of
    the probed group is the compiler's own number; others are estimated from the sizes of their arrays.

    Args:
        sweep: what is to be run.
        probe: compile and train the first group for a moment; without it there are no times.

    Raises:
        InputError: no group can be run; the message is the first group's.
    """
    found, studies, programs = [], [], {}
    for group in sweep.groups:
        words = {name: str(value) for name, value in group.settings.items()}
        try:
            study = sweep.study(group.config)
        except InputError as error:
            found.append(GroupForecast(group.slug, words, problem=str(error)))
            continue
        number = programs.setdefault(program_key(study), len(programs))
        entry = GroupForecast(group.slug, words, study.replicas, study.chunks, number, _memory(study), _disk(study))
        found.append(entry)
        studies.append((len(found) - 1, study))
    if not studies:
        raise InputError(f"no group of the sweep can be run; {found[0].folder}: {found[0].problem}")
    compiling = None
    if probe:
        first, measured = studies[0][1], _probe(studies[0][1])
        compiling = measured.compiling
        for place, study in studies:
            memory = found[place].memory
            if measured.memory is not None:
                memory = round(memory * measured.memory / _memory(first))
            found[place] = found[place]._replace(seconds=_seconds(study, first, measured), memory=memory)
    seconds = [group.seconds for group in found if group.seconds is not None]
    return Forecast(
        groups=tuple(found),
        devices=max(min(processes.count() * len(jax.local_devices()), study.chunks) for _, study in studies),
        programs=len(programs),
        compile_seconds=compiling,
        memory=max(group.memory for group in found),
        disk=sum(group.disk for group in found),
        seconds=None if compiling is None else sum(seconds) + compiling * len(programs),
    )


def program_key(study: Study) -> str:
    """What a study's compiled program depends on: studies with equal keys share one, see `ibjax.sweep.programs`.

    The learning rate, momentum, weight decay, seed, initial weights, number of epochs and data of the same shapes are
    its arguments. Nothing is trained or compiled for the key, and the network alone is traced.
    """
    net = study.functional
    params, key = jax.eval_shape(net.init, jax.random.key(0)), jax.random.key(0)
    x = jax.ShapeDtypeStruct((1, *study.data.train.x.shape[1:]), "float32")
    networks = [jax.make_jaxpr(net.apply)(params, x), jax.make_jaxpr(net.learn)(params, x, key)]
    arguments = {"learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "epochs": 1, "snapshots": 2}
    parts = (
        *networks,
        [np.asarray(constant).tobytes() for network in networks for constant in network.consts],
        dataclasses.replace(study.config, **arguments),
        [([leaf.shape for leaf in jax.tree.leaves(part)], part.classes) for part in study.data],
        study.inside,
        study.keeps_parameters,
        study.chunk,
        runner.devices_for(study),
    )
    return json.dumps([str(part) for part in parts])


def _weights(study: Study) -> int:
    return sum(math.prod(leaf.shape) for leaf in study.param_shapes.values())


def _state(study: Study) -> int:
    """Bytes of one replica's training state."""
    state = jax.eval_shape(lambda: init(study.functional, study.config, jax.random.key(0)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state._replace(key=None)))


def _snapshot(study: Study) -> int:
    """Bytes that one replica leaves at a snapshot."""
    sizes = {"estimator": len(study.estimators), "replica": 1, "snapshot": 1, "layer": len(study.widths)}
    bytes_ = sum(math.prod(sizes[dim] for dim in v.dims) * np.dtype(v.dtype).itemsize for v in VARIABLES.values())
    return bytes_ + study.keeps_parameters * 4 * _weights(study)


def _memory(study: Study) -> int:
    """Bytes of a program on one device: the data, and for every replica its state, snapshots and activations."""
    data = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tuple(study.data)))
    samples = max(len(study.data.train), len(study.data.measured))
    replica = 2 * _state(study) + SLOTS * _snapshot(study) + _COPIES * 4 * samples * max(study.widths)
    return data + study.chunk * replica


def _disk(study: Study) -> int:
    """Bytes of a group: measurements twice, in its run and in the joined results; its parameters and its states."""
    parameters = study.keeps_parameters * 4 * _weights(study)
    measured = _snapshot(study) - parameters
    return study.replicas * (len(study.epochs) * (2 * measured + parameters) + _state(study))


def _probe(study: Study) -> _Probe:
    """Compile a study's program and train it for a moment."""
    program = runner.Program(study, runner.devices_for(study))
    state = program.begin(np.arange(program.devices * study.chunk) % study.replicas)

    def timed(epochs: int, looks: int) -> float:
        nonlocal state
        epoch, observe = np.zeros(SLOTS, np.int32), np.zeros(SLOTS, bool)
        epoch[0], observe[:looks] = epochs, True
        began = time.perf_counter()
        state, _ = program.go(state, Slots(epoch, observe))
        return time.perf_counter() - began

    timed(1, 1)  # the first call sets buffers up
    idle = timed(0, 0)
    epochs, training = 1, timed(1, 0) - idle
    while training < PROBE_SECONDS / 4 and epochs < study.config.epochs:
        epochs = min(4 * epochs, study.config.epochs)
        training = timed(epochs, 0) - idle
    looks = min(4, SLOTS)
    looking = max(timed(0, looks) - idle, 0.0)
    return _Probe(program.seconds, max(training, 0.0) / epochs, looking / looks, program.memory)


def _seconds(study: Study, first: Study, probe: _Probe) -> float:
    """Seconds of a study, in proportion to those of the probed one."""

    def training(s: Study) -> int:
        return s.chunk * len(s.data.train) * _weights(s)

    def looking(s: Study) -> int:
        return s.chunk * len(s.data.measured) * sum(s.widths) * max(1, len(s.estimators))

    # No process has more chunks than the first, which foresees.
    rounds = math.ceil(len(processes.share(range(study.chunks))) / runner.devices_for(study))
    epochs = study.config.epochs * probe.epoch * training(study) / training(first)
    snapshots = len(study.epochs) * probe.snapshot * looking(study) / looking(first)
    return rounds * (epochs + snapshots)
