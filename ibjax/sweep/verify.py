"""Whether all that a run has measured is on disk as it was written, and what has to be computed anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr

from ibjax.errors import InputError
from ibjax.sweep import store as stores
from ibjax.sweep.checkpoint import what_is_wrong
from ibjax.sweep.record import Region, checksum

STATE = "state"
RECORD = "record"


class Damage(NamedTuple):
    """Something of a run that is not as it was written.

    Attributes:
        part: the variable, with the place of the estimator as in ``complexity[0]``; ``parameters/NAME``; ``state``,
            from which training goes on; ``record``, the checksums; ``attributes``, which say what run it is; or
            ``coordinates``.
        first_replica: the first replica of the chunk that it belongs to.
        last_replica: the last one.
        first_snapshot: the first snapshot.
        last_snapshot: the last one.
        what: ``missing``, or ``damaged`` with the reason.
    """

    part: str
    first_replica: int
    last_replica: int
    first_snapshot: int
    last_snapshot: int
    what: str

    def __str__(self) -> str:
        """In one line."""
        replicas = f"replicas {self.first_replica}-{self.last_replica}"
        return f"{self.part}, {replicas}, snapshots {self.first_snapshot}-{self.last_snapshot}: {self.what}"


def verify(folder: str | Path) -> tuple[Damage, ...]:
    """Read everything that a run has stored and compare it with the checksums that were kept when it was written.

    Replicas that are still to be trained are no damage. A run that is being written can be verified too: what is
    written meanwhile may or may not be looked at.

    Args:
        folder: the ``--out`` folder of a run.

    Returns:
        What is damaged or missing, empty if all is whole. `ibjax.sweep.run` with ``resume`` computes it anew, the
        chunks of replicas that it belongs to and no others; but not attributes, without which it is no known run.

    Raises:
        InputError: no run is there, its metadata cannot be read, or it is of a version without checksums.

    Example:
        >>> verify("runs/szt-deck")  # doctest: +SKIP
        ()
    """
    store = stores.reopen(Path(folder), "r")
    if store.attrs["format"] < stores.FORMAT:
        raise InputError(f"{folder} has layout {store.attrs['format']}, which has no checksums: run again to have them")
    last = store.arrays["train_loss"].shape[0] - 1
    wrong = store.damaged_metadata()
    metadata = [Damage(part, 0, last, 0, store.snapshots - 1, what) for part, what in wrong.items()]
    states = stores.COORDINATES not in wrong  # the epochs say which states are needed
    return (*metadata, *(damage for chunk in range(store.chunks) for damage in examine(store, chunk, states=states)))


def vouched(folder: str | Path) -> bool:
    """Whether `verify` can tell damage of a run's attributes and coordinates; those of an older ibjax have no checksum.

    Raises:
        InputError: no run is there, or its metadata cannot be read.
    """
    return stores.reopen(Path(folder), "r").has_checksums


def repair(store: stores.Store, inside: int) -> list[Damage]:
    """Remove what is damaged, and what belongs to a chunk that has to be trained again, so that it is computed anew.

    Args:
        store: open for writing.
        inside: how many estimators are measured in training; others are measured again from stored parameters.

    Returns:
        What was damaged.
    """
    after = {name for name, (_, place) in store.parts.items() if place is not None and place >= inside}
    found = {chunk: list(examine(store, chunk, states=False)) for chunk in range(store.chunks)}
    found = {chunk: damages for chunk, damages in found.items() if damages}
    if found and store.attrs["status"] == stores.FINISHED:
        store.note(status=stores.UNFINISHED)
    for chunk, damages in found.items():
        names = {damage.part for damage in damages}
        if names <= after:
            store.forget(chunk, sorted(names), training=False)
        else:
            # What was measured afterwards, and is whole, stays: the same parameters will come again.
            store.forget(chunk, sorted((store.parts.keys() - after) | (names & after)), training=True)
    return [damage for damages in found.values() for damage in damages]


def examine(store: stores.Store, chunk: int, *, states: bool) -> Iterator[Damage]:
    """Find the damages of one chunk, of its training state too if ``states`` and it will be needed."""
    replicas = store.replicas(chunk)
    record = store.records.get(chunk)
    finished = store.attrs["status"] == stores.FINISHED

    def damage(part, what, first=0, stop=store.snapshots):
        return Damage(part, replicas.start, replicas.stop - 1, first, stop - 1, what)

    if record is None:
        # Where the run is not finished, nothing of this chunk has been promised.
        if finished:
            yield damage(RECORD, "missing or damaged")
        return
    for part in store.parts:
        for region, what in _compare(store, part, chunk, record.regions.get(part, ())):
            yield damage(part, what, region.first, region.stop)
        if finished and not record.covers(part, store.snapshots):
            yield damage(part, "missing")
    if states and record.segments and record.epochs < store.epochs and store.folder is not None:
        what = what_is_wrong(stores.state_file(store.folder, chunk))
        if what:
            yield damage(STATE, what)


def _compare(store: stores.Store, part: str, chunk: int, regions: tuple[Region, ...]) -> Iterator[tuple[Region, str]]:
    """The regions of a part that are not as recorded, and why."""
    # Parameters have a file a snapshot, all others one for all snapshots, which is read once.
    together = [regions] if not part.startswith("parameters/") else [(region,) for region in regions]
    for group in filter(None, together):
        first, stop = min(region.first for region in group), max(region.stop for region in group)
        values, what = _read(store, part, chunk, slice(first, stop))
        for region in group:
            if values is None:
                yield region, what
            elif checksum(values[:, region.first - first : region.stop - first]) != region.crc:
                yield region, "damaged (not the values that were written)"


def _read(store: stores.Store, part: str, chunk: int, snapshots: slice) -> tuple[np.ndarray | None, str]:
    """Values, or None and why they cannot be read."""
    if not all(file.exists() for file in store.files(part, chunk, snapshots)):
        return None, "missing"
    try:
        return store.read(part, chunk, snapshots), ""
    except (ValueError, RuntimeError, OSError, zarr.errors.BaseZarrError) as error:
        return None, f"damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
