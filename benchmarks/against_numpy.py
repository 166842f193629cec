"""Does ibjax find the same information curves as an independent plain NumPy experiment?

The program takes a saved ibjax run of the 12-bit task (tanh, gradient descent, 30 equal bins on [-1, 1]),
repeats its setting with `train_and_measure` of tests/reference.py, which shares no code and no random numbers
with ibjax, and compares the replica means of I(X;T) and I(T;Y) in every layer at a few epochs.  It prints
both means with 95 % t-intervals, their difference with the 95 % interval of Welch, the p-value of Welch's
t-test, and whether Holm's correction over all cells at the level 0.05 finds a difference:

    python benchmarks/against_numpy.py DIR --replicas 8 --epochs 0 10 100 1000 3000

An epoch that the run did not save is replaced by the nearest one that it did.  "same" means that no
difference was found; the interval of the difference says how large one could have gone unseen.  The exit
status is 1 if any cell differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import reference  # pyrefly: ignore[missing-import]

QUANTITIES = {"complexity": "I(X;T)", "relevance": "I(T;Y)"}
# The training keeps float32, so spreads and differences (nats) below this are rounding, not chance.
ROUNDING = 1e-5


class Cell(NamedTuple):
    """One comparison: two means with the half widths of their 95 % intervals, and their difference."""

    mean_a: float
    half_a: float
    mean_b: float
    half_b: float
    low: float
    high: float
    p: float


def compare(a: np.ndarray, b: np.ndarray) -> Cell:
    """Compare the means of two samples with Welch's t-test.

    Two samples without spread (a layer that keeps all inputs apart in every replica) leave nothing to test:
    they are the same if their means are equal up to rounding.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    half_a, half_b = (s.std(ddof=1) / np.sqrt(len(s)) * scipy.stats.t.ppf(0.975, len(s) - 1) for s in (a, b))
    difference = a.mean() - b.mean()
    if max(np.ptp(a), np.ptp(b)) < ROUNDING:
        p = 1.0 if abs(difference) < ROUNDING else 0.0
        return Cell(a.mean(), half_a, b.mean(), half_b, difference, difference, p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one sample may have no spread; Welch allows that
        test = scipy.stats.ttest_ind(a, b, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return Cell(a.mean(), half_a, b.mean(), half_b, low, high, float(test.pvalue))


def holm(p: Sequence[float], level: float = 0.05) -> list[bool]:
    """Holm's step-down test: which null hypotheses are rejected, all of them together at the given level."""
    rejected = [False] * len(p)
    for done, i in enumerate(np.argsort(p)):
        if p[i] > level / (len(p) - done):
            break
        rejected[i] = True
    return rejected


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="a saved ibjax run")
    parser.add_argument("--replicas", type=int, default=8, help="networks to train in NumPy (default 8)")
    parser.add_argument("--epochs", type=int, nargs="+", default=[0, 10, 100, 1000, 3000])
    parser.add_argument("--estimator", help="the coordinate of the 30 equal bins (default: the first)")
    parser.add_argument("--hidden", type=int, nargs="+", default=[10, 7, 5, 4, 3], help="hidden widths")
    parser.add_argument("--seed", type=int, default=0, help="seed of the NumPy experiment")
    arguments = parser.parse_args()
    if arguments.replicas < 2:
        parser.error("an interval needs at least 2 replicas")
    return arguments


def nearest_snapshots(saved: np.ndarray, wanted: Sequence[int]) -> list[int]:
    """Positions of the saved epochs nearest to the wanted ones, in order and without repetition."""
    return sorted({int(np.abs(saved - epoch).argmin()) for epoch in wanted})


def in_nats(variable: Any) -> np.ndarray:
    """The values of a variable of the run; the attribute `units` says if they are bits."""
    return variable.values * (np.log(2) if variable.attrs.get("units") in ("bit", "bits") else 1.0)


def main() -> int:
    """Run the comparison and print the table; the result is the exit status."""
    arguments = parse_arguments()

    import ibjax

    run = ibjax.open(arguments.directory)
    config = json.loads(run.attrs["config"])
    for key, value in {"optimizer": "sgd", "activation": "tanh"}.items():
        if config.get(key, value) != value:
            sys.exit(f"the NumPy experiment has {key} {value!r}; the run has {config[key]!r}")
    estimator = arguments.estimator
    chosen = run.isel(estimator=0) if estimator is None else run.sel(estimator=estimator)
    snapshots = nearest_snapshots(run["epoch"].values, arguments.epochs)
    epochs = [int(run["epoch"].values[snapshot]) for snapshot in snapshots]
    chosen = chosen.isel(snapshot=snapshots).transpose("replica", "snapshot", "layer", ...)
    ours = {name: in_nats(chosen[name]) for name in QUANTITIES}
    layers = len(arguments.hidden) + 1
    if ours["complexity"].shape[2] != layers:
        sys.exit(f"the run has {ours['complexity'].shape[2]} layers, the NumPy experiment {layers}")
    if len(ours["complexity"]) < 2:
        sys.exit("the run has one replica; an interval needs at least 2")

    task = ibjax.datasets.szt()
    x, y = np.asarray(task.x), np.asarray(task.y)
    setting = {key: config[key] for key in ("batch_size", "learning_rate", "fraction")}
    start = time.perf_counter()
    theirs = reference.train_and_measure(
        x,
        y,
        replicas=arguments.replicas,
        epochs=epochs,
        hidden=arguments.hidden,
        seed=arguments.seed,
        **setting,
    )
    seconds = time.perf_counter() - start

    keys = list(itertools.product(range(len(epochs)), range(layers), QUANTITIES))
    cells = [compare(ours[name][:, s, i], getattr(theirs, name)[:, s, i]) for s, i, name in keys]
    differs = holm([cell.p for cell in cells])

    print(f"setting    {', '.join(f'{key} {value}' for key, value in setting.items())}")
    if "estimator" in chosen.coords:
        print(f"estimator  {chosen['estimator'].item()}")
    print(f"replicas   {len(ours['complexity'])} ibjax, {arguments.replicas} NumPy ({seconds:.1f} s)")
    accuracy = ", ".join(f"{mean:.4f}" for mean in theirs.train_accuracy.mean(axis=0))
    print(f"NumPy mean training accuracy at epochs {', '.join(map(str, epochs))}: {accuracy}")
    print("all information in nats, +- and brackets are 95 % intervals\n")
    header = f"{'epoch':>6} {'layer':>5} {'':6}  {'ibjax':>16}  {'NumPy':>16}  {'difference':>26}"
    print(f"{header}  {'p':>7}  Holm")
    for (s, i, name), cell, different in zip(keys, cells, differs, strict=True):
        ibjax_mean = f"{cell.mean_a:.4f} +- {cell.half_a:.4f}"
        numpy_mean = f"{cell.mean_b:.4f} +- {cell.half_b:.4f}"
        difference = f"{cell.mean_a - cell.mean_b:+.4f} [{cell.low:+.4f}, {cell.high:+.4f}]"
        row = f"{epochs[s]:6d} {i + 1:5d} {QUANTITIES[name]:6}  {ibjax_mean:>16}  {numpy_mean:>16}"
        print(f"{row}  {difference:>26}  {cell.p:7.4f}  {'DIFFERS' if different else 'same'}")
    print(f"\n{sum(differs)} of {len(cells)} cells differ; the smallest p is {min(c.p for c in cells):.2g}")
    return int(any(differs))


if __name__ == "__main__":
    sys.exit(main())
