"""What a run has taken so far, over all its sessions."""

import json
from pathlib import Path
from typing import NamedTuple

from ibjax.sweep.store import STATES

TIMES = "times.json"
_NONE = {"compile": 0.0, "train": 0.0, "write": 0.0}


class Times(NamedTuple):
    """Seconds of all sessions, and the pace of the last one.

    Attributes:
        seconds: what -> seconds, sums over sessions.
        pace_epochs: epochs that the last session trained, added over chunks.
        pace_seconds: what it took for them.
    """

    seconds: dict[str, float]
    pace_epochs: int = 0
    pace_seconds: float = 0.0

    def add(self, *, compiled: float = 0.0, trained: float = 0.0, written: float = 0.0, epochs: int = 0) -> "Times":
        """The times after some more of each."""
        more = {"compile": compiled, "train": trained, "write": written}
        seconds = {name: value + more.get(name, 0.0) for name, value in self.seconds.items()}
        return Times(seconds, self.pace_epochs + epochs, self.pace_seconds + trained + written)

    def left(self, epochs: int) -> float | None:
        """Seconds that so many more epochs take at this pace; None where there is none yet."""
        return self.pace_seconds * epochs / self.pace_epochs if self.pace_epochs else None


def load_times(folder: Path | None) -> Times:
    """The times of a run so far; zeros where there are none or they cannot be read."""
    if folder is not None:
        try:
            stored = json.loads((folder / STATES / TIMES).read_bytes())
            seconds = {name: float(stored["seconds"][name]) for name in _NONE}
            return Times(seconds, int(stored["pace_epochs"]), float(stored["pace_seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
    return Times(dict(_NONE))


def save_times(folder: Path | None, times: Times) -> None:
    """Keep the times with the run: whole at any time, but not forced to the disk, for no result depends on them."""
    if folder is not None:
        aside = folder / STATES / (TIMES + ".part")
        aside.write_text(json.dumps(times._asdict()))
        aside.replace(folder / STATES / TIMES)
