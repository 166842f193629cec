"""What a person sees while a run goes on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, float | None], None]
"""(how much is done, training accuracy now if it was measured) -> None."""

LINES_EVERY = 10.0
"""Seconds between lines where there is no terminal for a bar."""


@contextmanager
def progress_bar(title: str, total: int, show: bool, unit: str = "epochs") -> Iterator[Report]:
    """Show a bar on standard error; where that is no terminal, a line every ten seconds.

    Args:
        title: what is done.
        total: how much there is to do, epochs or snapshots.
        show: nothing is shown if false.
        unit: what is counted.
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
    last, shown = time.monotonic(), ""

    def line(done: int, accuracy: float | None) -> None:
        nonlocal last, shown
        shown = shown if accuracy is None else f", training accuracy {accuracy:.3f}"
        if done == total or time.monotonic() - last > LINES_EVERY:
            last = time.monotonic()
            console.print(f"{title}: {done}/{total} {unit}{shown}", highlight=False)

    yield line
