"""What a person, or a program, sees while a run goes on."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, float | None], None]
"""(how much is done, training accuracy now if it was measured) -> None."""

LINES_EVERY = 10.0
"""Seconds between lines about what is reported many times a second, where there is no terminal for a bar."""


@contextmanager
def progress_bar(title: str, total: int, show: bool, unit: str = "epochs", every: float = 0.0) -> Iterator[Report]:
    """Show a bar on standard error; where that is no terminal, one line of JSON a report.

    A line has ``title``, ``unit``, ``done``, ``total``, ``seconds`` since the start, ``left`` (seconds; null before the
    first progress) and ``training_accuracy`` (null until it was measured).

    Args:
        title: what is done.
        total: how much there is to do, epochs or snapshots.
        show: nothing is shown if false.
        unit: what is counted.
        every: seconds between lines at least, but for the last.
    """
    if not show:
        yield lambda done, accuracy: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}{task.fields[accuracy]}"),
        TimeElapsedColumn(),
        TextColumn("<"),
        TimeRemainingColumn(),
    )
    if console.is_terminal:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total, unit=unit, accuracy="")

            def update(done: int, accuracy: float | None) -> None:
                if accuracy is not None:
                    bar.update(task, accuracy=f"  training accuracy {accuracy:.3f}")
                bar.update(task, completed=done)

            yield update
        return
    began = last = time.monotonic()
    known, start = None, None

    def line(done: int, accuracy: float | None) -> None:
        nonlocal last, known, start
        known = known if accuracy is None else round(accuracy, 4)
        now = time.monotonic()
        start = start or (done, now)
        pace = (now - start[1]) / (done - start[0]) if done > start[0] else None
        if done == total or now - last >= every:
            last = now
            left = 0.0 if done == total else pace and round(pace * (total - done), 1)
            _tell(
                title=title,
                unit=unit,
                done=done,
                total=total,
                seconds=round(now - began, 1),
                left=left,
                training_accuracy=known,
            )

    yield line


def say(title: str, what: str, show: bool) -> None:
    """Tell something once on standard error: a sentence, or where that is no terminal a line of JSON."""
    if not show:
        return
    if sys.stderr.isatty():
        print(f"{title}: {what}", file=sys.stderr)
    else:
        _tell(title=title, note=what)


def _tell(**facts: object) -> None:
    print(json.dumps(facts), file=sys.stderr, flush=True)
