"""Runs a study: chunks of replicas over all devices, segment by segment, each durable before the next begins."""

import contextlib
import functools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ibjax.errors import InputError
from ibjax.estimators import parse_layer
from ibjax.plane.measure import layer_information
from ibjax.plane.schema import VARIABLES
from ibjax.plane.summary import masked
from ibjax.sweep import store as stores
from ibjax.sweep.checkpoint import load_state, save_state
from ibjax.sweep.lock import hold
from ibjax.sweep.plan import Segment, plan
from ibjax.sweep.progress import progress_bar, say
from ibjax.sweep.record import Record
from ibjax.sweep.remeasure import fill
from ibjax.sweep.study import Study, replica_key
from ibjax.sweep.times import load_times, save_times
from ibjax.sweep.verify import repair
from ibjax.training import Slots, Snapshot, TrainingData, TrainState, init, segment

_REPLICAS = PartitionSpec("replica")
_EVERYWHERE = PartitionSpec()


def run(study: Study, out: str | Path | None = None, *, resume: bool = False, progress: bool = True) -> xr.Dataset:
    """Run a study on all devices and return its results.

    One program is compiled. Each device executes one chunk of replicas at a time; training, gradient statistics and
    information are computed in it, and only measurements leave it. With ``out``, every finished segment is on disk
    before the next begins, and a run that was killed goes on from there with ``resume``; its results are then
    bitwise those of an uninterrupted run, on any number of devices. What was damaged or lost since it was written is
    computed anew, the chunks of replicas that it belongs to and no others; see `ibjax.sweep.verify`.

    Args:
        study: what to run.
        out: folder for the results; None keeps them in memory.
        resume: go on with the run in ``out``; starts afresh where there is none.
        progress: show a progress bar.

    Returns:
        The results; see `ibjax.open`.

    Raises:
        InputError: ``out`` holds a run and ``resume`` is not set, or another run than this one; another process
            writes into it; or it cannot be written.

    Example:
        >>> import functools
        >>> from ibjax.datasets import split, szt
        >>> from ibjax.estimators import Binning
        >>> from ibjax.networks import MLP
        >>> from ibjax.training import TrainConfig
        >>> whole = szt()
        >>> data = TrainingData(*split(whole, 0.8, "random", jax.random.key(0)), whole)
        >>> net = functools.partial(MLP, (12, 4, 2))
        >>> study = Study(net, data, TrainConfig(epochs=3, batch_size=1024), (Binning(),), replicas=2)
        >>> plane = run(study, progress=False)
        >>> dict(plane.complexity.sizes)
        {'estimator': 1, 'replica': 2, 'snapshot': 4, 'layer': 2}
    """
    if out is None:
        return _run(study, None, resume, progress)
    folder = Path(out)
    with stores.writing(folder):
        stores.make_folder(folder)
        with hold(folder):
            return _run(study, folder, resume, progress)


def _run(study: Study, folder: Path | None, resume: bool, progress: bool) -> xr.Dataset:
    store = stores.open_or_create(study, folder, resume)
    if store.attrs["format"] < stores.FORMAT:
        return store.dataset()
    steps = -(-len(study.data.train) // (study.config.batch_size or len(study.data.train)))
    segments = plan(study.epochs, steps)
    damages = repair(store, len(study.inside))
    if damages:
        say(study.heading, f"{len(damages)} damaged or missing parts are computed anew", progress)
    elif store.attrs["status"] == stores.FINISHED:
        return store.dataset()
    chunks = _chunks(study, store, len(segments))
    waiting = [chunk for chunk in chunks if chunk.segments < len(segments)]
    times = load_times(folder)
    if waiting:
        program = Program(study, min(len(jax.devices()), len(waiting)))
        times = times.add(compiled=program.seconds)
        save_times(folder, times)
        total = study.config.epochs * study.chunks
        done = total - sum(study.config.epochs - _epoch(segments, chunk.segments) for chunk in waiting)
        with progress_bar(study.heading, study.config.epochs, progress) as report:
            while waiting:
                # One round: chunks that have come equally far, one a device.
                reached = max(chunk.segments for chunk in waiting)
                batch = [chunk for chunk in waiting if chunk.segments == reached][: program.devices]
                waiting = [chunk for chunk in waiting if chunk not in batch]
                for step in _round(study, program, store, batch, segments):
                    done += step.epochs
                    times = times.add(trained=step.trained, written=step.written, epochs=step.epochs)
                    save_times(folder, times)
                    report(done // study.chunks, step.accuracy)
    fill(study, store, study.after, len(study.inside), progress=progress, again=False)
    _fill_added(study, store, progress)
    store.note(
        status=stores.FINISHED,
        seconds={name: round(value, 3) for name, value in times.seconds.items()},
        masked=masked(store.dataset())._asdict(),
    )
    return store.dataset()


def _fill_added(study: Study, store: stores.Store, progress: bool) -> None:
    """Measure anew what `remeasure` had added to the results and is not whole."""
    for place, name in enumerate(json.loads(store.attrs["estimators"])[len(study.estimators) :], len(study.estimators)):
        fill(study, store, [parse_layer(name)], place, progress=progress, again=False)


class _Chunk(NamedTuple):
    """A chunk of replicas and how far it has come.

    Attributes:
        index: its number; it holds the replicas from ``index * study.chunk``.
        state: its saved state on the host, None before the first segment and after the last.
        segments: how many segments are done.
    """

    index: int
    state: Any
    segments: int


def _on_host(state: TrainState) -> TrainState:
    """The state as NumPy arrays, the key as plain integers."""
    return jax.device_get(state._replace(key=jax.random.key_data(state.key)))


def _chunks(study: Study, store: stores.Store, segments: int) -> list[_Chunk]:
    """All chunks, as far as they have come in the store's folder: what of them has no use there is removed."""
    folder = store.folder
    chunks = [_Chunk(index, None, 0) for index in range(study.chunks)]
    if folder is None:
        return chunks
    (folder / stores.STATES).mkdir(exist_ok=True)

    def begin(replicas):
        state = jax.vmap(lambda i: init(study.functional, study.config, replica_key(study.seed, i)))(replicas)
        return state._replace(key=jax.random.key_data(state.key))

    like = jax.eval_shape(begin, np.arange(study.chunk, dtype=np.int32))
    trained = [name for name, (_, place) in store.parts.items() if place is None or place < len(study.inside)]
    for index in range(study.chunks):
        record = store.records.get(index, Record())
        if record.segments == segments:
            chunks[index] = _Chunk(index, None, segments)
            continue
        with contextlib.suppress(InputError):
            state, reached = load_state(stores.state_file(folder, index), like)
            # A state without the data before it is worth nothing; data after it are written again.
            if reached <= record.segments:
                chunks[index] = _Chunk(index, state, reached)
        if not chunks[index].segments:
            store.forget(index, trained, training=True)
    return chunks


class Program:
    """The compiled computation of a study.

    Attributes:
        devices: how many; each executes one chunk of replicas.
        seconds: what compiling took.
    """

    def __init__(self, study: Study, devices: int):
        """Compile for so many of JAX's devices."""
        began = time.perf_counter()
        self.devices = devices
        mesh = jax.make_mesh((devices,), ("replica",), devices=jax.devices()[:devices], axis_types=(AxisType.Auto,))
        self.sharding = NamedSharding(mesh, _REPLICAS)
        self.data = jax.device_put(study.data, NamedSharding(mesh, _EVERYWHERE))
        net, config = study.functional, study.config
        measure = functools.partial(layer_information, study.inside) if study.inside else None

        def begin(replica):
            return init(net, config, replica_key(study.seed, replica))

        def go(state: TrainState, data: TrainingData, slots: Slots):
            return segment(net, config, data, state, slots, measure=measure, keep_parameters=study.keeps_parameters)

        # check_vma is off because a caller's own module may scan over constants.
        shard = functools.partial(jax.shard_map, mesh=mesh, out_specs=_REPLICAS, check_vma=False)
        mapped = shard(jax.vmap(go, in_axes=(0, None, None)), in_specs=(_REPLICAS, _EVERYWHERE, _EVERYWHERE))
        self._begin = jax.jit(shard(jax.vmap(begin), in_specs=_REPLICAS))
        state = jax.eval_shape(self._begin, np.zeros(devices * study.chunk, np.int32))
        state = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.sharding), state)
        slots = plan(np.array([0]), 1)[0].slots
        self._go = jax.jit(mapped, donate_argnums=0).lower(state, self.data, slots).compile()
        self.seconds = time.perf_counter() - began

    def begin(self, replicas: np.ndarray) -> TrainState:
        """Initial states of the replicas with these global ids."""
        return self._begin(jax.device_put(replicas.astype(np.int32), self.sharding))

    def put(self, states: list[TrainState]) -> TrainState:
        """Lay saved states of chunks side by side on the devices."""
        joined = jax.tree.map(lambda *parts: np.concatenate(parts), *states)
        joined = jax.device_put(joined, self.sharding)
        return joined._replace(key=jax.random.wrap_key_data(joined.key))

    @property
    def memory(self) -> int | None:
        """Bytes on one device by the compiler's own count, None where it has none."""
        found = self._go.memory_analysis()
        if found is None:
            return None
        used = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
        return used - found.alias_size_in_bytes

    def go(self, state: TrainState, slots: Slots) -> tuple[TrainState, Snapshot]:
        """Execute a segment; the state that was passed is gone afterwards."""
        return jax.block_until_ready(self._go(state, self.data, slots))


class _Step(NamedTuple):
    """What a segment did.

    Attributes:
        epochs: that it trained, added over chunks.
        accuracy: mean training accuracy at its last snapshot, None where it took none.
        trained: seconds of training.
        written: seconds of writing.
    """

    epochs: int
    accuracy: float | None
    trained: float
    written: float


def _round(
    study: Study, program: Program, store: stores.Store, batch: list[_Chunk], segments: list[Segment]
) -> Iterator[_Step]:
    """Train a batch of chunks from where they are to the end, each segment on the disk before it is told."""
    width, reached = study.chunk, batch[0].segments
    # Devices without a chunk of their own repeat the last one; its results are left out.
    lanes = batch + [batch[-1]] * (program.devices - len(batch))
    if reached:
        state = program.put([chunk.state for chunk in lanes])
    else:
        state = program.begin(np.concatenate([np.arange(c.index * width, (c.index + 1) * width) for c in lanes]))
    epoch = _epoch(segments, reached)
    for number, part in enumerate(segments[reached:], start=reached + 1):
        began = time.perf_counter()
        state, snapshots = program.go(state, part.slots)
        trained = time.perf_counter()
        accuracy = None
        if part.stop > part.first:
            snapshots = jax.device_get(snapshots)
            accuracy = float(snapshots.train_accuracy[:, part.slots.observe][:, -1].mean())
            for lane, chunk in enumerate(batch):
                _write(study, store, chunk, _lane(snapshots, lane, width), part)
        if store.folder is not None:
            host = _on_host(state)
            for lane, chunk in enumerate(batch):
                # Data, what vouches for them, and the state that goes on from there, in this order.
                store.commit(chunk.index, number, part.epoch)
                save_state(stores.state_file(store.folder, chunk.index), _lane(host, lane, width), number)
        yield _Step((part.epoch - epoch) * len(batch), accuracy, trained - began, time.perf_counter() - trained)
        epoch = part.epoch


def _epoch(segments: list[Segment], done: int) -> int:
    """The epoch after so many segments."""
    return segments[done - 1].epoch if done else 0


def _lane(tree: Any, lane: int, width: int) -> Any:
    """One chunk out of several that lie side by side."""
    return jax.tree.map(lambda a: a[lane * width : (lane + 1) * width], tree)


def _write(study: Study, store: stores.Store, chunk: _Chunk, snapshots: Snapshot, part: Segment) -> None:
    """Write one chunk's snapshots of a segment; padding beyond the last replica is dropped."""
    first = chunk.index * study.chunk
    replicas = slice(first, min(first + study.chunk, study.replicas))
    rows = slice(part.first, part.stop)
    snapshots = jax.tree.map(lambda a: a[: replicas.stop - first, part.slots.observe], snapshots)
    values = {name: getattr(snapshots, name) for name in VARIABLES if name in Snapshot._fields}
    with np.errstate(invalid="ignore", divide="ignore"):
        values["gradient_snr"] = snapshots.gradient_mean / snapshots.gradient_std
    if study.inside:
        # (replica, snapshot, estimator, layer) -> (estimator, replica, snapshot, layer)
        values |= {name: np.moveaxis(v, 2, 0) for name, v in snapshots.measured._asdict().items()}
    params = None
    if study.keeps_parameters:
        params = dict(zip(study.param_shapes, jax.tree.leaves(snapshots.params), strict=True))
    store.write(values, replicas, rows, slice(0, len(study.inside)), params)
