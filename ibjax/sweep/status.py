"""How far a run or a sweep is, read from its folder while it goes on or afterwards, by any process."""

import json
from pathlib import Path
from typing import NamedTuple

from ibjax.errors import InputError
from ibjax.plane.summary import Masked, masked
from ibjax.sweep import store as stores
from ibjax.sweep.groups import GROUPS, expected_seconds, read_failures, stored_groups
from ibjax.sweep.lock import Holder, holder
from ibjax.sweep.record import Record
from ibjax.sweep.times import load_times


class Status(NamedTuple):
    """How far a run is.

    Attributes:
        title: its title.
        finished: whether it is, measurements at its end included.
        chunks_done: chunks of replicas that are trained.
        chunks: how many there are.
        epochs_done: epochs that are trained and on disk, a mean over chunks.
        epochs: how many there will be.
        seconds: what -> seconds so far, over all sessions.
        left: seconds of training left at the pace of the last session; None where there is no pace yet.
        masked: replicas that are left out of means at the last measured snapshot; None before the first one.
        holder: who writes into the folder now, None if nobody does.
    """

    title: str
    finished: bool
    chunks_done: int
    chunks: int
    epochs_done: float
    epochs: int
    seconds: dict[str, float]
    left: float | None
    masked: Masked | None
    holder: Holder | None


def status(folder: str | Path) -> Status:
    """Read how far the run in a folder is. Nothing is written, and no writer is held up.

    Args:
        folder: the ``--out`` folder of a run.

    Raises:
        InputError: no run is there, or its store is damaged.

    Example:
        >>> status("runs/szt-deck").finished  # doctest: +SKIP
        True
    """
    folder = Path(folder)
    store = stores.reopen(folder, "r")
    finished = store.attrs["status"] == stores.FINISHED
    trained = [store.records.get(chunk, Record()).epochs for chunk in range(store.chunks)]
    if finished:
        trained = [store.epochs] * store.chunks
    times = load_times(folder)
    lost = None
    if finished or any(record.regions for record in store.records.values()):
        lost = masked(stores.open_run(folder))
    return Status(
        title=store.attrs["title"],
        finished=finished,
        chunks_done=sum(epochs == store.epochs for epochs in trained),
        chunks=store.chunks,
        epochs_done=sum(trained) / store.chunks,
        epochs=store.epochs,
        seconds=json.loads(store.attrs["seconds"]) if finished else times.seconds,
        left=0.0 if finished else times.left(store.epochs * store.chunks - sum(trained)),
        masked=lost,
        holder=holder(folder),
    )


class SweepStatus(NamedTuple):
    """How far a sweep is.

    Attributes:
        title: its title.
        groups: how many it has.
        finished: names of the groups that are.
        begun: name -> how far it is, of the groups that have begun and are not finished; while the sweep goes on, the
            last one runs.
        failed: name -> why, of the groups that could not be run, or whose store is damaged.
        left: seconds that it still takes, from the plan's times and what the finished groups took in truth; None where
            neither the plan nor a pace says.
        diverged: replicas of finished and begun groups that have diverged.
        dead: replicas of these that are stuck at chance.
        holder: who writes into the folder now, None if nobody does.
    """

    title: str
    groups: int
    finished: tuple[str, ...]
    begun: dict[str, Status]
    failed: dict[str, str]
    left: float | None
    diverged: int
    dead: int
    holder: Holder | None


def sweep_status(folder: str | Path) -> SweepStatus:
    """Read how far the sweep in a folder is. Nothing is written, and no writer is held up.

    Args:
        folder: the ``--out`` folder of a sweep.

    Raises:
        InputError: no sweep is there, or it is damaged.

    Example:
        >>> sweep_status("runs/szt-deck-sweep").finished  # doctest: +SKIP
        ('activation=tanh', 'activation=relu')
    """
    folder = Path(folder)
    _, groups, title = stored_groups(folder)
    names = [group.slug for group in groups]
    failed = {name: failure.message for name, failure in read_failures(folder).items()}
    found: dict[str, Status] = {}
    for name in names:
        if name not in failed and (folder / GROUPS / name / stores.RESULTS).exists():
            try:
                found[name] = status(folder / GROUPS / name)
            except InputError as error:
                failed[name] = str(error)
    lost = [one.masked for one in found.values() if one.masked is not None]
    return SweepStatus(
        title=title,
        groups=len(names),
        finished=tuple(name for name, one in found.items() if one.finished),
        begun={name: one for name, one in found.items() if not one.finished},
        failed=failed,
        left=_left(names, found, failed, expected_seconds(folder, names)),
        diverged=sum(one.diverged for one in lost),
        dead=sum(one.dead for one in lost),
        holder=holder(folder),
    )


def _left(
    names: list[str], found: dict[str, Status], failed: dict[str, str], expected: dict[str, float]
) -> float | None:
    """Seconds of the groups that are not finished: those begun by their own pace, the others by the plan's.

    The plan's times are scaled by what groups took of what was foreseen, as far as they have come.
    """
    took = foreseen = left = 0.0
    for name, one in found.items():
        took += sum(one.seconds.values())
        foreseen += expected[name] * one.epochs_done / one.epochs
        left += one.left or 0.0
    waiting = [name for name in names if name not in found and name not in failed]
    if not waiting:
        return None if any(one.left is None for one in found.values()) else left
    return left + took / foreseen * sum(expected[name] for name in waiting) if foreseen else None
