"""The csv of `accuracy.py` as a picture to read at a glance and as tables in Markdown.

Run with ``python benchmarks/accuracy_page.py``, which writes ``figures/accuracy.png`` and ``accuracy.md``.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from accuracy import ESTIMATORS, PATH, read
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from tasks import TASKS

FIGURE, PAGE = PATH.parent / "figures" / "accuracy.png", PATH.with_suffix(".md")
SIZES = (1000, 10_000)
"""Of the picture's panels; the tables have all that were measured."""
COLORS, SMALL, LARGE = matplotlib.colormaps["RdBu_r"], 0.03, 1.0
"""Blue is too low and red too high, which all eyes tell apart; linear within +- ``SMALL`` nat, full at ``LARGE``."""

COVERAGE = (
    "Share of repetitions whose 95 % error bar holds the mean of all repetitions, and of those whose bar holds the "
    'true value; "biased" instead of the latter where the bias is more than half the deviation.'
)

Row = dict[str, str]


class Grid(NamedTuple):
    """Tasks, the estimators that were tried on them, and the lines of one number of samples."""

    tasks: list[str]
    estimators: list[str]
    rows: dict[tuple[str, str], Row]


def grid(rows: list[Row], n: int, discrete: bool) -> Grid:
    """Return the lines of n samples of discrete tasks, or of all others; those of the most repetitions."""
    alike = sorted((row for row in rows if (row["kind"] == "discrete") == discrete), key=lambda row: int(row["seeds"]))
    return Grid(
        [name for name in TASKS if any(name == row["task"] for row in alike)],
        [name for name in ESTIMATORS if any(name == row["estimator"] for row in alike)],
        {(row["task"], row["estimator"]): row for row in alike if int(row["n"]) == n},
    )


# --- The picture -------------------------------------------------------------------------------------------


def panel(ax: Axes, shown: Grid, title: str) -> AxesImage:
    """Draw the bias of every estimator on every task; grey where it was not tried, a dash where it was skipped."""
    norm = SymLogNorm(SMALL, vmin=-LARGE, vmax=LARGE)
    bias = np.full((len(shown.tasks), len(shown.estimators)), np.nan)
    for i, task in enumerate(shown.tasks):
        for j, estimator in enumerate(shown.estimators):
            row = shown.rows.get((task, estimator))
            if row is None:
                continue
            bias[i, j] = float(row["bias"] or np.nan)
            text = "–" if np.isnan(bias[i, j]) else signed(bias[i, j])
            dark = not np.isnan(bias[i, j]) and abs(norm(bias[i, j]) - 0.5) > 0.3
            ax.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    image = ax.imshow(bias, cmap=COLORS.with_extremes(bad="#E8E8E8"), norm=norm, aspect="auto")
    ax.set_xticks(range(len(shown.estimators)), shown.estimators, rotation=40, ha="left", rotation_mode="anchor")
    truths = [f"{task}   {TASKS[task].truth:.2f}" for task in shown.tasks]
    ax.set_yticks(range(len(shown.tasks)), truths)
    ax.tick_params(length=0, labelsize=8.5, top=False, bottom=False, labeltop=True, labelbottom=False)
    ax.set_xticks(np.arange(0.5, bias.shape[1] - 1), minor=True)
    ax.set_yticks(np.arange(0.5, bias.shape[0] - 1), minor=True)
    ax.grid(which="minor", color="white", linewidth=1.2)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=10.5, pad=8)
    return image


def signed(value: float) -> str:
    """Return two digits after the point, and no sign of what rounds to nothing."""
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0"


def figure(rows: list[Row]) -> Figure:
    """Return the picture: numbers of samples side by side, tables of labels under everything else."""
    sizes = [n for n in SIZES if any(int(row["n"]) == n for row in rows)]
    kinds = [d for d in (False, True) if any((row["kind"] == "discrete") == d for row in rows)]
    grids = [[grid(rows, n, discrete) for n in sizes] for discrete in kinds]
    heights = [len(row[0].tasks) for row in grids]
    widest = max(len(row[0].estimators) for row in grids)
    fig = Figure(
        figsize=(2.4 + len(sizes) * (0.6 * widest + 0.3), 0.25 * sum(heights) + 1.4 * len(kinds) + 0.9),
        layout="constrained",
        facecolor="w",
    )
    axes = fig.subplots(len(kinds), len(sizes), squeeze=False, height_ratios=heights)
    image = None
    for of_kind, shown in zip(axes, grids, strict=True):
        for ax, n, one in zip(of_kind, sizes, shown, strict=True):
            seeds = " or ".join(sorted({row["seeds"] for row in one.rows.values()}, key=int)) or "no"
            image = panel(ax, one, f"n = {n:,}, mean of {seeds} repetitions")
        for ax in of_kind[1:]:
            ax.set_yticklabels([])
    fig.suptitle("Bias of estimates of mutual information, nats (beside each task: its true value)", fontsize=12)
    if image is not None:
        ticks = [-1, -0.3, -0.1, -0.03, 0, 0.03, 0.1, 0.3, 1]
        bar = fig.colorbar(image, ax=axes, location="bottom", extend="both", aspect=60, pad=0.02, ticks=ticks)
        bar.ax.set_xticklabels([f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks], fontsize=8)
        bar.ax.minorticks_off()
        bar.outline.set_visible(False)
    return fig


# --- The tables --------------------------------------------------------------------------------------------


def error(row: Row) -> str:
    """Return bias and deviation."""
    if row["skipped"]:
        return "skipped"
    return f"{signed(float(row['bias']))} ± {float(row['deviation']):.2f}"


def coverage(row: Row) -> str:
    """Return the coverage of the mean and of the truth; not of the truth where bias is over half the deviation."""
    if not row["coverage_of_mean"]:
        return ""
    biased = abs(float(row["bias"])) > float(row["deviation"]) / 2
    return f"{float(row['coverage_of_mean']):.2f}, " + (
        "biased" if biased else f"{float(row['coverage_of_truth']):.2f}"
    )


def table(shown: Grid, entry: Callable[[Row], str]) -> list[str]:
    """Return a table in Markdown of what ``entry`` makes of each line, without columns that are empty."""
    entries = {at: entry(row) for at, row in shown.rows.items()}
    used = [name for name in shown.estimators if any(entries.get((task, name)) for task in shown.tasks)]
    if not used:
        return []
    lines = [f"| task | truth | {' | '.join(used)} |", "|---|--:|" + "--:|" * len(used)]
    for task in shown.tasks:
        of_task = [entries.get((task, name), "") for name in used]
        if any(of_task):
            lines.append(f"| {task} | {TASKS[task].truth:.3f} | {' | '.join(of_task)} |")
    return [*lines, ""]


def page(rows: list[Row]) -> str:
    """Return the tables of all numbers of samples, and why lines were skipped."""
    lines = ["# Accuracy of the estimators", "", "Nats; the tasks are those of `benchmarks/tasks.py`.", ""]
    for n in sorted({int(row["n"]) for row in rows}, reverse=True):
        grids = [grid(rows, n, discrete) for discrete in (False, True)]
        lines += [f"## n = {n:,}: bias ± deviation", "", *(text for one in grids for text in table(one, error))]
        covered = [text for one in grids for text in table(one, coverage)]
        if covered:
            lines += [f"### n = {n:,}: coverage of the mean, and of the truth", "", COVERAGE, "", *covered]
    why = [f"* {row['task']}, {row['estimator']}, n = {row['n']}: {row['skipped']}" for row in rows if row["skipped"]]
    return "\n".join([*lines, *(["## Skipped", "", *why, ""] if why else [])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, default=PATH, help="what accuracy.py wrote")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args()
    # Tasks and estimators that are no more stay in the csv until someone takes them out.
    rows = [row for row in read(args.csv).values() if row["task"] in TASKS and row["estimator"] in ESTIMATORS]
    if not rows:
        raise SystemExit(f"nothing in {args.csv}: run accuracy.py first")
    figure(rows).savefig(args.figure, dpi=130)
    args.page.write_text(page(rows))
    print(f"wrote {args.figure} and {args.page}")


if __name__ == "__main__":
    main()
