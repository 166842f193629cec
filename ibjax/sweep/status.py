"""How far a run is, read from its folder while it goes on or afterwards, by any process."""

import json
from pathlib import Path
from typing import NamedTuple

from ibjax.plane.summary import Masked, masked
from ibjax.sweep import store as stores
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
