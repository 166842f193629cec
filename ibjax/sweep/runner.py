"""Runs a study: chunks of replicas over all devices, each segment made durable while the next one is computed."""

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Key

from ibjax.errors import InputError
from ibjax.estimators import parse_layer
from ibjax.plane.measure import layer_information
from ibjax.plane.schema import VARIABLES
from ibjax.plane.summary import masked
from ibjax.sweep import processes
from ibjax.sweep import store as stores
from ibjax.sweep.checkpoint import load_state, save_state
from ibjax.sweep.lock import hold
from ibjax.sweep.plan import Segment, plan
from ibjax.sweep.programs import compile_ahead, compiled
from ibjax.sweep.progress import Show, progress_bar, say
from ibjax.sweep.record import Record
from ibjax.sweep.remeasure import fill
from ibjax.sweep.restart import parts_of, restart
from ibjax.sweep.study import PLACES, Study, replica_key, replica_keys
from ibjax.sweep.times import Times, load_times, save_times
from ibjax.sweep.verify import repair
from ibjax.training import Rates, Slots, Snapshot, TrainState, init, segment

_REPLICAS = PartitionSpec("replica")
_EVERYWHERE = PartitionSpec()


def run(study: Study, out: str | Path | None = None, *, resume: bool = False, progress: Show = True) -> xr.Dataset:
    """Run a study on all devices and return its results.

    One program is compiled. Each device executes one chunk of replicas at a time; training, gradient statistics and
    information are computed in it, and only measurements leave it. With ``out``, every finished segment is written
    while the next one is computed, and a run that was killed goes on from what is on disk with ``resume``; its results
    are then bitwise those of an uninterrupted run, on any number of devices. What was damaged or lost since it was
    written is computed anew, the chunks of replicas that it belongs to and no others; see `ibjax.sweep.verify`.

    Where `jax.distributed` has brought several processes together, all of them call this with the same arguments. The
    chunks are dealt out to them, each is computed and written by one, and the first process makes and finishes the
    store; the results are bitwise those of one process.

    Args:
        study: what to run.
        out: folder for the results, which all processes see; None keeps them in memory, of one process only.
        resume: go on with the run in ``out``; starts afresh where there is none.
        progress: show a progress bar, of the first process only; or where the sweep is that this is a group of.

    Returns:
        The results; see `ibjax.open`.

    Raises:
        InputError: ``out`` holds a run and ``resume`` is not set, or another run than this one; another process
            writes into it; it cannot be written; or the processes were started with different studies.

    Example:
        >>> import functools
        >>> from ibjax.datasets import split, szt
        >>> from ibjax.estimators import Binning
        >>> from ibjax.networks import MLP
        >>> from ibjax.training import TrainConfig, TrainingData
        >>> whole = szt()
        >>> data = TrainingData(*split(whole, 0.8, "random", jax.random.key(0)), whole)
        >>> net = functools.partial(MLP, (12, 4, 2))
        >>> study = Study(net, data, TrainConfig(epochs=3, batch_size=1024), (Binning(),), replicas=2)
        >>> plane = run(study, progress=False)
        >>> dict(plane.complexity.sizes)
        {'estimator': 1, 'replica': 2, 'snapshot': 4, 'layer': 2}
    """
    progress = progress if processes.is_first() else False
    if out is None:
        if processes.count() > 1:
            raise InputError("several processes have no memory in common: name a folder with out that all of them see")
        return _run(study, None, resume, progress)
    folder = Path(out)
    if processes.count() > 1:
        settings = {name: value for name, value in study.identity.items() if name not in PLACES}
        processes.agree("settings", json.loads(json.dumps(settings, default=str)))
    with contextlib.ExitStack() as held, stores.writing(folder):
        with processes.together(), stores.writing(folder):
            if processes.is_first():
                stores.make_folder(folder)
                held.enter_context(hold(folder))
        return _run(study, folder, resume, progress)


def _run(study: Study, folder: Path | None, resume: bool, progress: Show) -> xr.Dataset:
    steps = -(-len(study.data.train) // (study.config.batch_size or len(study.data.train)))
    segments = plan(study.epochs, steps)
    made: list[stores.Store] = []

    def prepare() -> list[int] | None:
        """Make or repair the store; returns the chunks that wait to be trained, None where all is done."""
        made.append(stores.open_or_create(study, folder, resume))
        store = made[0]
        if store.attrs["format"] < stores.FORMAT:
            return None
        damages = repair(store, len(study.inside))
        if damages:
            say(study.heading, f"{len(damages)} damaged or missing parts are computed anew", progress)
        elif store.attrs["status"] == stores.FINISHED:
            return None
        if folder is not None:
            (folder / stores.STATES).mkdir(exist_ok=True)
        records = [store.records.get(chunk, Record()) for chunk in range(study.chunks)]
        return [i for i, r in enumerate(records) if r.segments < len(segments) or r.restarts < study.restarts]

    waiting = processes.by_first(prepare)
    # Where another process made it, it is in a folder.
    store = made[0] if made else stores.reopen(Path(folder or ""), "r" if waiting is None else "r+")
    if waiting is None:
        return store.dataset()
    times = _train(study, store, segments, waiting, progress)
    store.load_records()  # of what the others trained
    with processes.together():
        mine = processes.share(range(study.chunks))
        fill(study, store, study.after, len(study.inside), mine, progress=progress, again=False)
        _fill_added(study, store, mine, progress)
    with processes.together():
        if processes.is_first():
            store.load_records()
            store.note(
                status=stores.FINISHED,
                seconds={name: round(value, 3) for name, value in times.seconds.items()},
                masked=masked(store.dataset())._asdict(),
                **({"restarts": study.restarts, "restarted": store.again} if study.restarts else {}),
            )
    return (store if processes.is_first() else stores.reopen(Path(folder or ""), "r")).dataset()


def _train(study: Study, store: stores.Store, segments: list[Segment], waiting: list[int], progress: Show) -> Times:
    """Train this process's share of the waiting chunks, and wait for the others; returns what it took so far."""
    folder, times = store.folder, load_times(store.folder)
    tally, done = processes.Tally(), 0
    # Chunks that are done: the first process counts them.
    trained = [chunk for chunk in range(study.chunks) if chunk not in waiting] if processes.is_first() else []
    lost = {chunk: store.masked(chunk) for chunk in trained}
    tally.add(epochs=study.config.epochs * len(trained), chunks=len(trained), masked=sum(lost.values()))
    with progress_bar(study.heading, study.config.epochs, progress) as report:

        def tell(epochs: int, accuracy: float | None, masked: Mapping[int, int] = {}, chunks: int = 0) -> int:
            """Say that so much more is done; returns how many epochs it are since the last time, of all."""
            nonlocal done
            more = sum(masked.values()) - sum(lost.get(chunk, 0) for chunk in masked)
            lost.update(masked)
            total = tally.add(epochs=epochs, chunks=chunks, masked=more)
            last, done = done, total["epochs"]
            if done != last:
                report(done // study.chunks, accuracy, chunks_done=total["chunks"], masked=total["masked"])
            return done - last

        with processes.together(meanwhile=lambda: tell(0, None)):
            left = _chunks(study, store, processes.share(waiting), len(segments))
            program = Program(study, min(len(jax.local_devices()), len(left))) if left else None
            if program is not None:
                times = times.add(compiled=program.seconds)
                _keep(folder, times)
            chosen = [chunk.index for chunk in left]
            begun = {chunk.index: store.masked(chunk.index) for chunk in left if chunk.segments}
            whole = sum(chunk.segments == len(segments) for chunk in left)
            tell(sum(_epoch(segments, chunk.segments) for chunk in left), None, begun, whole)
            left = [chunk for chunk in left if chunk.segments < len(segments)]
            if program is not None:
                for step in _steps(study, program, store, left, segments):
                    epochs = tell(step.epochs, step.accuracy, step.masked, step.chunks)
                    times = times.add(trained=step.trained, written=step.written, epochs=epochs)
                    _keep(folder, times)
            if program is not None and study.restarts:
                for index in chosen:
                    restart(study, program, store, index, segments, _parts)
        tell(0, None)  # what the others had not said yet
    return times


def _keep(folder: Path | None, times: Times) -> None:
    """Keep the times, of several processes those of the first."""
    if processes.is_first():
        save_times(folder, times)


def _fill_added(study: Study, store: stores.Store, chunks: Sequence[int], progress: Show) -> None:
    """Measure anew what `remeasure` had added to the results and is not whole."""
    for place, name in enumerate(json.loads(store.attrs["estimators"])[len(study.estimators) :], len(study.estimators)):
        fill(study, store, [parse_layer(name)], place, chunks, progress=progress, again=False)


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


def _chunks(study: Study, store: stores.Store, indices: Sequence[int], segments: int) -> list[_Chunk]:
    """These chunks, as far as they have come in the store's folder: what of them has no use there is removed."""
    folder = store.folder
    chunks = [_Chunk(index, None, 0) for index in indices]
    if folder is None or not chunks:
        return chunks

    def begin(replicas):
        state = jax.vmap(lambda i: init(study.functional, study.config, replica_key(study.seed, i)))(replicas)
        return state._replace(key=jax.random.key_data(state.key))

    like = jax.eval_shape(begin, np.arange(study.chunk, dtype=np.int32))
    trained = [name for name, (_, place) in store.parts.items() if place is None or place < len(study.inside)]
    for place, index in enumerate(indices):
        record = store.records.get(index, Record())
        if record.segments == segments:  # only restarts are left
            chunks[place] = _Chunk(index, None, segments)
            continue
        with contextlib.suppress(InputError):
            state, reached = load_state(stores.state_file(folder, index), like)
            # A state without the data before it is worth nothing; data after it are written again.
            if reached <= record.segments:
                chunks[place] = _Chunk(index, state, reached)
        if not chunks[place].segments:
            store.forget(index, trained, training=True)
    return chunks


class Program:
    """The compiled computation of a study.

    Attributes:
        devices: how many; each executes one chunk of replicas.
        seconds: what compiling took.
    """

    def __init__(self, study: Study, devices: int):
        """Compile for so many of this process's devices."""
        began = time.perf_counter()
        self.devices = devices
        # What may differ between studies that share a program is its arguments, also what a data set says of itself.
        self.seed, self.learning_rate, self.rates = study.seed, study.config.learning_rate, _rates(study)
        traced = _trace(study, devices)
        self.sharding, self.data = traced.sharding, traced.data
        self._begin, self._go = (compiled(program, traced.devices) for program in (traced.begin, traced.go))
        self.seconds = time.perf_counter() - began

    def begin(self, replicas: np.ndarray, attempt: int = 0) -> TrainState:
        """Initial states of the replicas with these global ids; from other keys at every attempt but the first, 0."""
        state = self._begin(jax.device_put(replica_keys(self.seed, replicas.astype(np.int32), attempt), self.sharding))
        rates = np.full(len(replicas), self.learning_rate, np.float32)
        return state._replace(learning_rate=jax.device_put(rates, self.sharding))

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
        return jax.block_until_ready(self._go(state, self.data, self.rates, slots))


class _Traced(NamedTuple):
    """What a `Program` is compiled from: the programs, the devices and their sharding, and the data on them."""

    begin: jax.stages.Lowered
    go: jax.stages.Lowered
    devices: list[jax.Device]
    sharding: NamedSharding
    data: list[Array]


def _rates(study: Study) -> Rates:
    return Rates(study.config.momentum, study.config.weight_decay)


def _trace(study: Study, devices: int) -> _Traced:
    own = jax.local_devices()[:devices]
    mesh = jax.make_mesh((devices,), ("replica",), devices=own, axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, _REPLICAS)
    net, config = study.functional, study.config
    measure = functools.partial(layer_information, study.inside) if study.inside else None
    leaves, of_data = jax.tree.flatten(study.data)
    data = jax.device_put(leaves, NamedSharding(mesh, _EVERYWHERE))

    def begin(key: Key[Array, ""]):
        return init(net, config, key)._replace(learning_rate=jnp.zeros((), jnp.float32))

    def go(state: TrainState, leaves: list[Array], rates: Rates, slots: Slots):
        data = jax.tree.unflatten(of_data, leaves)
        return segment(
            net, config, data, state, slots, rates=rates, measure=measure, keep_parameters=study.keeps_parameters
        )

    # check_vma is off because a caller's own module may scan over constants.
    shard = functools.partial(jax.shard_map, mesh=mesh, out_specs=_REPLICAS, check_vma=False)
    same = None, None, None
    mapped = shard(jax.vmap(go, in_axes=(0, *same)), in_specs=(_REPLICAS, *[_EVERYWHERE] * 3))
    keys = jax.ShapeDtypeStruct((devices * study.chunk,), jax.random.key(0).dtype, sharding=sharding)
    starting = jax.jit(shard(jax.vmap(begin), in_specs=_REPLICAS)).lower(keys)
    state = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), starting.out_info)
    slots = plan(np.array([0]), 1)[0].slots
    going = jax.jit(mapped, donate_argnums=0).lower(state, data, _rates(study), slots)
    return _Traced(starting, going, own, sharding, data)


def devices_for(study: Study) -> int:
    """Devices of this process that a study uses when all of it is still to be trained."""
    return min(len(jax.local_devices()), len(processes.share(range(study.chunks))))


def compile_for_later(study: Study) -> None:
    """Begin to compile a study's programs in a thread, so that `run` finds them; returns once they are traced."""
    if devices := devices_for(study):
        traced = _trace(study, devices)
        for program in (traced.begin, traced.go):
            compile_ahead(program, traced.devices)


class _Step(NamedTuple):
    """What a segment did.

    Attributes:
        epochs: that it trained, added over chunks.
        accuracy: mean training accuracy at its last snapshot, None where it took none.
        masked: chunk -> its replicas that are masked at that snapshot; empty where it took none.
        chunks: that are whole with it.
        trained: seconds of training.
        written: seconds that nothing was trained, for the segment was not yet on the disk.
    """

    epochs: int
    accuracy: float | None
    masked: dict[int, int]
    chunks: int
    trained: float
    written: float


def _steps(
    study: Study, program: Program, store: stores.Store, left: list[_Chunk], segments: list[Segment]
) -> Iterator[_Step]:
    """Train chunks from where they are to the end, each segment on the disk before it is told.

    A thread writes it while the next one is computed, and waits for nothing but the disk.
    """
    with ThreadPoolExecutor(1) as writer:
        writing: tuple[_Step, Future[None]] | None = None
        while left:
            # One round: chunks that have come equally far, one a device.
            reached = max(chunk.segments for chunk in left)
            batch = [chunk for chunk in left if chunk.segments == reached][: program.devices]
            left = [chunk for chunk in left if chunk not in batch]
            for step, save in _round(study, program, store, batch, segments):
                if writing:
                    yield _written(*writing)
                writing = step, writer.submit(save)
        if writing:
            yield _written(*writing)


def _round(
    study: Study, program: Program, store: stores.Store, batch: list[_Chunk], segments: list[Segment]
) -> Iterator[tuple[_Step, Callable[[], None]]]:
    """Train a batch of chunks that have come equally far through the segments left, and how to write each."""
    width, reached = study.chunk, batch[0].segments
    # Devices without a chunk of their own repeat the last one; its results are left out.
    lanes = batch + [batch[-1]] * (program.devices - len(batch))
    if reached:
        state = program.put([chunk.state for chunk in lanes])
    else:
        state = program.begin(np.concatenate([np.arange(c.index * width, (c.index + 1) * width) for c in lanes]))
    for number, part in enumerate(segments[reached:], start=reached + 1):
        began = time.perf_counter()
        state, snapshots = program.go(state, part.slots)
        trained = time.perf_counter() - began
        accuracy, masked = None, {}
        if part.stop > part.first:
            snapshots = jax.device_get(snapshots)
            accuracy = float(snapshots.train_accuracy[:, part.slots.observe][:, -1].mean())
            dead = ~snapshots.alive[:, part.slots.observe][:, -1]
            for lane, chunk in enumerate(batch):
                real = study.replicas - chunk.index * width  # the rest of the last chunk is padding
                masked[chunk.index] = int(_lane(dead, lane, width)[:real].sum())
        # The next segment takes the memory of the state.
        host = None if store.folder is None else jax.tree.map(np.copy, _on_host(state))
        whole = len(batch) * (number == len(segments))
        step = _Step(int(part.slots.epochs.sum()) * len(batch), accuracy, masked, whole, trained, 0.0)
        yield step, functools.partial(_save, study, store, batch, snapshots, host, part, number)


def _written(step: _Step, writing: Future[None]) -> _Step:
    """The step once it is on the disk, and how long that was waited for."""
    began = time.perf_counter()
    writing.result()
    return step._replace(written=time.perf_counter() - began)


def _save(
    study: Study,
    store: stores.Store,
    batch: list[_Chunk],
    snapshots: Snapshot,
    state: TrainState | None,
    part: Segment,
    number: int,
) -> None:
    """Write what a segment left on the host: data, what vouches for them, and the state that goes on from there."""
    width = study.chunk
    if part.stop > part.first:
        for lane, chunk in enumerate(batch):
            _write(study, store, chunk, _lane(snapshots, lane, width), part)
    if store.folder is not None:
        for lane, chunk in enumerate(batch):
            store.commit(chunk.index, number, part.epoch)
            save_state(stores.state_file(store.folder, chunk.index), _lane(state, lane, width), number)


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
    values, params = _values(study, jax.tree.map(lambda a: a[: replicas.stop - first], snapshots), part)
    store.write(values, replicas, slice(part.first, part.stop), slice(0, len(study.inside)), params)


def _parts(study: Study, snapshots: Snapshot, part: Segment) -> dict[str, np.ndarray]:
    """Snapshots of a segment by the names of the store's parts."""
    return parts_of(*_values(study, snapshots, part))


def _values(
    study: Study, snapshots: Snapshot, part: Segment
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """What a store keeps of a segment's snapshots: measurements, and parameters if they are kept."""
    snapshots = jax.tree.map(lambda a: a[:, part.slots.observe], snapshots)
    values = {name: getattr(snapshots, name) for name in VARIABLES if name in Snapshot._fields}
    with np.errstate(invalid="ignore", divide="ignore"):
        values["gradient_snr"] = snapshots.gradient_mean / snapshots.gradient_std
    if study.inside:
        # (replica, snapshot, estimator, layer) -> (estimator, replica, snapshot, layer)
        values |= {name: np.moveaxis(v, 2, 0) for name, v in snapshots.measured._asdict().items()}
    params = None
    if study.keeps_parameters:
        params = dict(zip(study.param_shapes, jax.tree.leaves(snapshots.params), strict=True))
    return values, params
