"""Replicas that are stuck at chance, trained again from another key."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ibjax.plane.schema import VARIABLES
from ibjax.sweep import store as stores
from ibjax.sweep.plan import Segment
from ibjax.sweep.record import Record
from ibjax.sweep.study import Study
from ibjax.training import Snapshot

Values = Callable[[Study, Snapshot, Segment], dict[str, np.ndarray]]
"""(study, snapshots of some replicas, the segment that took them) -> name of a stored part -> its values."""


def dead_of(store: stores.Store, chunk: int) -> np.ndarray:
    """Global ids of a chunk's replicas that are stuck at chance at the last snapshot; diverged ones are not."""
    last = slice(store.snapshots - 1, store.snapshots)
    alive, loss, norm = (store.read(name, chunk, last)[:, 0] for name in ("alive", "train_loss", "weight_norm"))
    finite = np.isfinite(loss) & np.isfinite(norm).all(axis=-1)
    return np.flatnonzero(~alive & finite) + store.replicas(chunk).start


def restart(
    study: Study, program: Any, store: stores.Store, chunk: int, segments: list[Segment], values: Values
) -> None:
    """Train a chunk's dead replicas again until none is left or ``study.restarts`` attempts are made.

    Attempt a of replica i starts from ``fold_in(replica's key, a)``. The dead ones of a chunk are executed together by
    the chunk's own program, its places filled by repeating them, so that nothing depends on devices or processes. An
    attempt's values are kept in memory, and written in place of the dead ones' when it has come to its end. If the run
    dies while they are written, the chunk is trained anew.
    """
    record = store.records.get(chunk, Record())
    again = dict(record.again)
    for attempt in range(record.restarts + 1, study.restarts + 1):
        ids = dead_of(store, chunk)
        if not len(ids):
            break
        state = program.begin(np.tile(np.resize(ids, study.chunk), program.devices), attempt)
        found: list[Mapping[str, np.ndarray]] = []
        for part in segments:
            state, snapshots = program.go(state, part.slots)
            if part.stop > part.first:
                found.append(values(study, _head(jax.device_get(snapshots), len(ids)), part))
        again |= {str(i): attempt for i in ids.tolist()}
        store.settle(chunk, 0, record.again, segments=0, epochs=0)
        rows = ids - store.replicas(chunk).start
        for name in found[0]:
            whole = store.read(name, chunk)
            # Memory of attempts at one time: all snapshots of the dead ones of one chunk.
            whole[rows] = np.concatenate([part[name] for part in found], axis=1)
            store.put(name, chunk, slice(0, store.snapshots), whole)
        store.settle(chunk, attempt, again, segments=len(segments), epochs=segments[-1].epoch)
    store.settle(chunk, study.restarts, again)


def _head(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda a: a[:count], tree)


def parts_of(values: Mapping[str, np.ndarray], params: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """Measurements by the names that the store's parts have, each (replica, snapshot, ...)."""
    found: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if "estimator" in VARIABLES[name].dims:
            found |= {f"{name}[{place}]": row for place, row in enumerate(value)}
        else:
            found[name] = value
    return found | {f"parameters/{name}": value for name, value in (params or {}).items()}
