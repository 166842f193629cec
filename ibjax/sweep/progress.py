"""What a person, or a program, sees while a run or a sweep goes on."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

LINES_EVERY = 10.0
"""Seconds between lines about what is reported many times a second, where there is no terminal for a bar."""


@runtime_checkable
class Report(Protocol):
    """Called as work goes on."""

    def __call__(self, done: int, accuracy: float | None, **counts: int) -> None:
        """Tell how much is done, the training accuracy now if it was measured, and what else is counted."""
        ...


class Groups:
    """Where a sweep is: a bar over all groups, and what a line of JSON says of them.

    The share of the sweep that is done counts groups by their weights, the one that runs in part.
    """

    def __init__(self, title: str, weights: Mapping[str, float], bars: Progress | None):
        """Begin before the first group.

        Args:
            title: of the sweep.
            weights: group -> about how long it takes, in any unit.
            bars: where to draw; None writes lines of JSON.
        """
        self.title, self.weights, self.bars = title, dict(weights), bars
        self.name, self.number, self.failed, self.masked = "", 0, 0, 0
        self._done, self._part, self._pace = 0.0, 0.0, _Pace()
        self._task = None if bars is None else _add(bars, title)

    def begin(self, name: str) -> None:
        """Say that a group begins."""
        self.name, self.number = name, self.number + 1
        if self.bars is None:
            _tell(title=self.title, **self.facts)
        self._draw()

    def reach(self, part: float) -> None:
        """Say how much of the group is done, 0 to 1; what comes after its training, from 0 again, does not count."""
        self._part = max(self._part, part)
        self._pace.at(self.share)
        self._draw()

    def end(self, failure: str = "", masked: int = 0) -> None:
        """Say that the group has its results, and how many replicas are masked in them, or why it has none."""
        self._done, self._part = self._done + self.weights[self.name], 0.0
        self.masked += masked
        if failure:
            self.failed += 1
            say(f"{self.title}, {self.name}", failure, True)
        self._draw()

    @property
    def share(self) -> float:
        """Of the sweep, 0 to 1."""
        running = self._part * self.weights[self.name] if self.name else 0.0
        return (self._done + running) / sum(self.weights.values())

    @property
    def facts(self) -> dict[str, object]:
        """What a line of JSON says of the sweep."""
        return {
            "group": self.number,
            "groups": len(self.weights),
            "name": self.name,
            "groups_failed": self.failed,
            "overall": round(self.share, 4),
            "overall_left": _rounded(self._pace.left(self.share, 1.0)),
        }

    def _draw(self) -> None:
        if self.bars is None or self._task is None:
            return
        counts = {"failed": self.failed, "replicas masked": self.masked}
        words = [f"group {self.number} of {len(self.weights)}: {self.name}"]
        words += [f"{count} {what}" for what, count in counts.items() if count]
        text, left = escape(", ".join(words)), _clock(self._pace.left(self.share, 1.0))
        self.bars.update(self._task, completed=self.share, total=1.0, text=text, left=left)


Show = bool | Groups
"""Whether progress is shown; of a group, with the sweep that it belongs to."""


@contextmanager
def sweep_progress(title: str, weights: Mapping[str, float], show: bool) -> Iterator[Show]:
    """Show where a sweep is while the context lasts; what it gives is passed on to the groups' own bars.

    Args:
        title: of the sweep.
        weights: group -> about how long it takes, in any unit.
        show: nothing is shown if false.
    """
    if not show:
        yield False
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Groups(title, weights, None)
        return
    with Progress(*_columns(), console=console) as bars:
        yield Groups(title, weights, bars)


@contextmanager
def progress_bar(title: str, total: int, show: Show, unit: str = "epochs", every: float = 0.0) -> Iterator[Report]:
    """Show a bar on standard error; where that is no terminal, one line of JSON a report.

    A line has ``title``, ``unit``, ``done``, ``total``, ``seconds`` since the start, ``left`` (seconds; null before the
    first progress), ``training_accuracy`` (null until it was measured) and what else is counted; of a group, also
    ``group`` (its number from 1), ``groups``, its ``name``, ``groups_failed``, ``overall`` (the share of the sweep
    that is done) and ``overall_left`` (seconds).

    Args:
        title: what is done.
        total: how much there is to do, epochs or snapshots.
        show: nothing is shown if false.
        unit: what is counted.
        every: seconds between lines at least, but for the last.
    """
    if show is False:
        yield lambda done, accuracy, **counts: None
        return
    groups = show if isinstance(show, Groups) else None
    bars = None if groups is None else groups.bars
    if bars is not None:
        task = _add(bars, title)
        yield _bar(bars, task, total, unit, groups)
        bars.remove_task(task)
        return
    console = Console(stderr=True)
    if groups is None and console.is_terminal:
        with Progress(*_columns(), console=console) as own:
            yield _bar(own, _add(own, title), total, unit, None)
        return
    yield _lines(title, total, unit, every, groups)


def say(title: str, what: str, show: Show) -> None:
    """Tell something once on standard error: a sentence, or where that is no terminal a line of JSON."""
    if show is False:
        return
    if sys.stderr.isatty():
        print(f"{title}: {what}", file=sys.stderr)
    else:
        _tell(title=title, note=what)


class _Pace:
    """Seconds that are left, at the pace since the first report."""

    def __init__(self) -> None:
        """Begin before it."""
        self.start: tuple[float, float] | None = None
        self.now = 0.0

    def at(self, done: float) -> None:
        """Say how much is done now."""
        self.now = time.monotonic()
        self.start = self.start or (done, self.now)

    def left(self, done: float, total: float) -> float | None:
        """Seconds until all is; None before there was any progress."""
        if done >= total:
            return 0.0
        if self.start is None or done <= self.start[0]:
            return None
        return (self.now - self.start[1]) / (done - self.start[0]) * (total - done)


def _bar(bars: Progress, task: Any, total: int, unit: str, groups: Groups | None) -> Report:
    """Reports that draw a bar."""
    pace, known = _Pace(), ""

    def update(done: int, accuracy: float | None, **counts: int) -> None:
        nonlocal known
        pace.at(done)
        known = known if accuracy is None else f", training accuracy {accuracy:.3f}"
        more = "".join(f", {count} {name.replace('_', ' ')}" for name, count in counts.items())
        text, left = f"{done}/{total} {unit}{more}{known}", _clock(pace.left(done, total))
        bars.update(task, completed=done, total=total, text=text, left=left)
        if groups is not None:
            groups.reach(done / total)

    return update


def _lines(title: str, total: int, unit: str, every: float, groups: Groups | None) -> Report:
    """Reports that write lines of JSON."""
    pace, began, known = _Pace(), time.monotonic(), None
    last = began

    def line(done: int, accuracy: float | None, **counts: int) -> None:
        nonlocal last, known
        known = known if accuracy is None else round(accuracy, 4)
        pace.at(done)
        if groups is not None:
            groups.reach(done / total)
        if done < total and pace.now - last < every:
            return
        last = pace.now
        _tell(
            title=title,
            unit=unit,
            done=done,
            total=total,
            seconds=round(pace.now - began, 1),
            left=_rounded(pace.left(done, total)),
            training_accuracy=known,
            **counts,
            **({} if groups is None else groups.facts),
        )

    return line


def _columns() -> tuple[Any, ...]:
    field = "{task.fields[%s]}"
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(field % "text"),
        TimeElapsedColumn(),
        TextColumn(field % "left"),
    )


def _add(bars: Progress, title: str) -> Any:
    return bars.add_task(escape(title), total=None, text="", left="")


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"< {minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _tell(**facts: object) -> None:
    print(json.dumps(facts), file=sys.stderr, flush=True)
