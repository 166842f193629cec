"""Bias, deviation and coverage of every estimator on the tasks of `tasks.py`, one line of a csv each.

All repetitions of a task are one compiled call, in double precision or, where networks are trained, in single. Lines
are appended as they come: stop it when you like, a second run goes on where the first stopped. Run with

    python benchmarks/accuracy.py [--tasks 'normal-*' ...] [--estimators ksg-3 ...] [--sizes 1000 ...] [--seeds 20]

and then ``python benchmarks/accuracy_page.py`` for a figure and tables.
"""

import argparse
import csv
import fnmatch
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tasks import TASKS, Task
from timing import machine

from ibjax.estimators import (
    CORRECTIONS,
    EDGE,
    KSG,
    Binning,
    Gaussian,
    GaussianCopula,
    KernelBounds,
    MatrixRenyi,
    MIEstimate,
    PlugIn,
    SoftBinning,
    WeightedKL,
    jackknife,
    subsampling,
)
from ibjax.neural import NWJ, SMILE, DifferenceOfEntropies, DonskerVaradhan, InfoNCE
from ibjax.neural.base import Variational

Estimate = Callable[..., MIEstimate]

SIZES, SEEDS, TIME_LIMIT = (1000, 5000, 10_000), 20, 300.0
PATH = Path(__file__).with_name("accuracy.csv")
COLUMNS = (
    "task", "kind", "dx", "dy", "truth", "n", "estimator", "seeds", "mean", "bias", "deviation", "std_error",
    "coverage_of_mean", "coverage_of_truth", "seconds", "skipped",
)  # fmt: skip
"""Of the csv. ``std_error`` is the mean of the error bars, ``coverage_of_...`` the share of repetitions whose value
+- 1.96 standard errors holds the mean of all repetitions, or the truth; all are empty where there is no error bar.
``seconds`` are those of one estimate, compiled. ``skipped`` says why there are no numbers."""


class Entry(NamedTuple):
    """An estimator, the tasks that it is meant for, and the most samples that it takes in reasonable time."""

    estimator: Estimate
    meant: Callable[[Task], bool]
    most: float = np.inf


def continuous(task: Task) -> bool:
    return task.kind == "continuous"


def not_discrete(task: Task) -> bool:
    return task.kind != "discrete"


def few_columns(task: Task) -> bool:
    """Ten bins in each of more columns would leave every sample alone."""
    return not_discrete(task) and task.dx + task.dy <= 4


def one_column(task: Task) -> bool:
    return not_discrete(task) and task.dx == task.dy == 1


def by_class(task: Task) -> bool:
    return not_discrete(task) and task.labelled


def discrete(task: Task) -> bool:
    return task.kind == "discrete"


ESTIMATORS: dict[str, Entry] = {
    "binning-10": Entry(Binning(bins=10, range="neuron"), few_columns),
    "ksg-3": Entry(KSG(k=3), not_discrete),
    "ksg-10": Entry(KSG(k=10), not_discrete),
    "weighted-kl": Entry(WeightedKL(), continuous),
    "edge": Entry(EDGE(), lambda task: True),
    "gaussian": Entry(Gaussian(), continuous),
    "gaussian-copula": Entry(GaussianCopula(), continuous),
    "info-nce": Entry(InfoNCE(), not_discrete),
    "nwj": Entry(NWJ(), not_discrete),
    "donsker-varadhan": Entry(DonskerVaradhan(), not_discrete),
    "smile": Entry(SMILE(), not_discrete),
    "difference-of-entropies": Entry(DifferenceOfEntropies(), continuous),
    "soft-binning-10": Entry(SoftBinning(bins=10), one_column),
    "renyi": Entry(MatrixRenyi(), continuous, most=1000),  # n^3
    "kernel-upper": Entry(KernelBounds(), by_class),
    "kernel-lower": Entry(KernelBounds(bound="lower"), by_class),
    **{f"plugin-{correction}": Entry(PlugIn(correction), discrete) for correction in CORRECTIONS},
}
"""Name in the csv -> estimator. A new one is one line here."""


def error_of(estimator: Estimate) -> Estimate:
    """Return an estimator with an error bar: its own, or else that which suits it.

    Subsampling costs a tenth of the estimate where pairs of samples are compared, and does not mind jumps; a part of a
    table has too few samples a cell, so that tables take the jackknife.
    """
    if isinstance(estimator, Gaussian | GaussianCopula | WeightedKL | Variational):
        return estimator
    if isinstance(estimator, PlugIn):
        return lambda x, y, key: jackknife(estimator, x, y, key)
    return lambda x, y, key: subsampling(estimator, x, y, key)


class Cell(NamedTuple):
    """What one line of the csv is about, all of it that decides the numbers."""

    task: str
    n: int
    estimator: str
    seeds: int


def measure(cell: Cell) -> dict[str, Any]:
    """Return the numbers of a line of the csv."""
    task, estimator = TASKS[cell.task], ESTIMATORS[cell.estimator].estimator
    estimate, double = error_of(estimator), not isinstance(estimator, Variational)
    samples = [task.sample(np.random.default_rng([seed, cell.n]), cell.n) for seed in range(cell.seeds)]
    x, y = (np.stack(side) for side in zip(*samples, strict=True))
    keys = jax.random.split(jax.random.key(0), cell.seeds)
    with jax.enable_x64(double):
        if not double:
            x, y = (a.astype(np.float32) if a.dtype == float else a for a in (x, y))
        every = jax.jit(lambda *all_of: jax.lax.map(lambda one: estimate(one[0], one[1], key=one[2])[:2], all_of))
        compiled = every.lower(x, y, keys).compile()
        began = time.perf_counter()
        value, error = jax.block_until_ready(compiled(x, y, keys))
        seconds = (time.perf_counter() - began) / cell.seeds
    numbers = summary(np.asarray(value, float), None if error is None else np.asarray(error, float), task.truth)
    return {**numbers, "seconds": seconds}


def summary(value: np.ndarray, error: np.ndarray | None, truth: float) -> dict[str, float]:
    """Return what repetitions say of an estimator; see `COLUMNS`."""
    mean = value.mean()
    numbers = {"mean": mean, "bias": mean - truth, "deviation": value.std(ddof=1) if len(value) > 1 else np.nan}
    if error is not None:
        numbers["std_error"] = error.mean()
        numbers["coverage_of_mean"] = (np.abs(value - mean) <= 1.96 * error).mean()
        numbers["coverage_of_truth"] = (np.abs(value - truth) <= 1.96 * error).mean()
    return numbers


class Worker:
    """A process that measures, since a compiled call cannot be stopped from within."""

    def __init__(self, time_limit: float) -> None:
        """Take the seconds that a cell may have, compilation included."""
        self.time_limit = time_limit
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        # Control-C is for the process that writes.
        self._pool = context.Pool(1, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))

    def __enter__(self) -> "Worker":
        """Return the worker."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the process."""
        self._pool.terminate()

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Return a cell's numbers, or why it has none."""
        try:
            return self._pool.apply_async(measure, (cell,)).get(self.time_limit)
        except multiprocessing.TimeoutError:
            self._pool.terminate()
            self._start()
            return {"skipped": f"over {self.time_limit:g} s"}
        except Exception as error:
            return {"skipped": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}


# --- The csv -----------------------------------------------------------------------------------------------


def cell_of(row: dict[str, str]) -> Cell:
    return Cell(row["task"], int(row["n"]), row["estimator"], int(row["seeds"]))


def read(path: Path) -> dict[Cell, dict[str, str]]:
    """Return the lines of a csv by cell, the last of each; nothing if there is no file."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {cell_of(row): row for row in csv.DictReader(file)}


def append(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Add lines, and the names of the columns to an empty file."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})


def drop_torn_line(path: Path) -> None:
    """Take off the end of a file what an interrupted run left of a line."""
    text = path.read_bytes() if path.exists() else b""
    if not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])


def line(cell: Cell, numbers: dict[str, Any]) -> dict[str, Any]:
    """Return a line of the csv."""
    task = TASKS[cell.task]
    about = {"kind": task.kind, "dx": task.dx, "dy": task.dy, "truth": task.truth}
    return {**cell._asdict(), **about, **numbers}


# --- The command -------------------------------------------------------------------------------------------


def selected(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that a pattern fits, in their own order; a pattern that fits none is an error."""
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise SystemExit(f"nothing is called {pattern}, only {', '.join(names)}")
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def cells(tasks: Sequence[str], estimators: Sequence[str], sizes: Sequence[int], seeds: int) -> list[Cell]:
    """Return what there is to measure, small samples first."""
    return [
        Cell(task, n, estimator, seeds)
        for n in sorted(sizes)
        for task in tasks
        for estimator in estimators
        if ESTIMATORS[estimator].meant(TASKS[task]) and n <= ESTIMATORS[estimator].most
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["*"], metavar="PATTERN", help="names or shell patterns")
    parser.add_argument("--estimators", nargs="+", default=["*"], metavar="PATTERN", help="names or shell patterns")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="N", help="numbers of samples")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="repetitions")
    parser.add_argument("--time-limit", type=float, default=TIME_LIMIT, help="seconds for a line, all repetitions")
    parser.add_argument("--retry", action="store_true", help="try again what was skipped")
    parser.add_argument("--out", type=Path, default=PATH, help="the csv")
    args = parser.parse_args()

    drop_torn_line(args.out)
    known = read(args.out)
    wanted = cells(
        selected(list(TASKS), args.tasks), selected(list(ESTIMATORS), args.estimators), args.sizes, args.seeds
    )
    missing = [cell for cell in wanted if cell not in known or (args.retry and known[cell]["skipped"])]
    print(machine())
    bar = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*bar) as progress, Worker(args.time_limit) as worker:
        all_of_it = progress.add_task("", total=len(wanted), completed=len(wanted) - len(missing))
        for cell in missing:
            progress.update(all_of_it, description=f"{cell.task} {cell.estimator} n={cell.n}")
            numbers = worker.measure(cell)
            if "skipped" in numbers:
                progress.print(f"{cell.task} {cell.estimator} n={cell.n} skipped: {numbers['skipped']}")
            append(args.out, [line(cell, numbers)])
            progress.advance(all_of_it)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("interrupted: the same command goes on from here") from None
