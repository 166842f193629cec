"""What a chunk of replicas has on disk: written after the data it vouches for, before the state that goes on."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ibjax.sweep.checkpoint import replace_whole


class Region(NamedTuple):
    """Some snapshots of all replicas of a chunk in one array.

    Attributes:
        first: the first snapshot.
        stop: the snapshot after the last one.
        crc: CRC-32 of the values, `checksum`.
    """

    first: int
    stop: int
    crc: int


class Record(NamedTuple):
    """What is on disk of a chunk.

    Checksums are of values, not of files: a file holds all snapshots of an array, is written anew by every segment, and
    is still right for the earlier ones when a run dies between that and the next record.

    Attributes:
        segments: training segments that are done.
        epochs: epochs that they trained.
        regions: name of an array -> its regions; see `ibjax.sweep.store.Store.parts` for the names.
        restarts: attempts at its dead replicas that are made, or that were not needed.
        again: id of a replica, as JSON has it -> the attempt that its values are of, if they are not the first.
    """

    segments: int = 0
    epochs: int = 0
    regions: Mapping[str, tuple[Region, ...]] = {}
    restarts: int = 0
    again: Mapping[str, int] = {}

    def add(self, name: str, region: Region) -> "Record":
        """The record with a region in place of those it overlaps."""
        apart = [r for r in self.regions.get(name, ()) if r.stop <= region.first or r.first >= region.stop]
        return self._replace(regions={**self.regions, name: tuple(sorted([*apart, region]))})

    def covers(self, name: str, snapshots: int) -> bool:
        """Whether the array has its first so many snapshots."""
        reached = 0
        for region in self.regions.get(name, ()):
            reached = region.stop if region.first <= reached else reached
        return reached >= snapshots


def checksum(values: np.ndarray) -> int:
    """CRC-32 of the values' bytes in C order, little-endian."""
    return zlib.crc32(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())


def save_record(path: Path, record: Record) -> None:
    """Write a record as JSON with a checksum of its own, in place of the old one."""
    plain = _canonical({**record._asdict(), "regions": {name: list(r) for name, r in record.regions.items()}})
    replace_whole(path, f'{{"crc32": {zlib.crc32(plain)}, "record": {plain.decode()}}}\n'.encode())


def load_record(path: Path) -> Record | None:
    """Read a record; None if there is none or it is damaged."""
    try:
        file = json.loads(path.read_bytes())
        stored = file["record"]
        if zlib.crc32(_canonical(stored)) != file["crc32"]:
            return None
        regions = {name: tuple(Region(*r) for r in listed) for name, listed in stored["regions"].items()}
        restarts, again = stored.get("restarts", 0), stored.get("again", {})  # an older ibjax made none
        return Record(stored["segments"], stored["epochs"], regions, restarts, again)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _canonical(record: Mapping) -> bytes:
    return json.dumps(record, sort_keys=True).encode()
