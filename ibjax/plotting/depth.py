"""Networks of different depth: how soon they converge and what they gain late."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator, ScalarFormatter

from ibjax.plane import Estimate, LogLine
from ibjax.plane.summary import mean_interval, mean_path, surviving
from ibjax.plotting.style import (
    CEILING_COLOR,
    EPOCH_COLORS,
    TEST_COLOR,
    TRAIN_COLOR,
    epoch_axis,
    header,
    new_figure,
    style,
)

_LOOKS = ((TRAIN_COLOR, "o", "-"), (TEST_COLOR, "s", "--"))


@style()
def depth_figure(
    runs: Sequence[xr.Dataset],
    depths: Int[np.ndarray, " points"],
    medians: Mapping[str, Sequence[Estimate]],
    lines: Mapping[str, LogLine],
    gains: Float[np.ndarray, "points replicas"],
    mean_gains: Sequence[Estimate],
    *,
    margin: float,
    estimator: int | str = 0,
) -> Figure:
    """Draw networks of different depth.

    Args:
        runs: A run's labelled arrays for every depth, informations in nats.
        depths: Their numbers of hidden layers, increasing.
        medians: By name of a layer, the median epoch of its convergence at every depth; inf beyond the run.
        lines: Likewise, the power law through epochs + 1.
        gains: Test accuracy gained late by every replica; NaN where it is unknown.
        mean_gains: Their means with intervals, one a depth.
        margin: A gain within it counts as none.
        estimator: The estimator shown.

    Returns:
        Four panels: I(T;Y) of the output layer and the test accuracy against the epoch, a line a depth; the epochs of
        convergence against the number of layers with their power laws, an arrow where a median lies beyond the run; and
        the late gains, a point a replica.
    """
    figure = new_figure(10.4, 8.2)
    information, accuracy, epochs, gained = figure.subplots(2, 2).ravel()
    last = max(int(run["epoch"][-1]) for run in runs)
    colors = [EPOCH_COLORS(place / max(len(runs) - 1, 1)) for place in range(len(runs))]
    for run, color in zip(runs, colors, strict=True):
        path, kept = mean_path(run, estimator), surviving(run)
        information.plot(path["epoch"], path["relevance"].isel(layer=-1), color=color, lw=1.6)
        accuracy.plot(kept["epoch"], mean_interval(kept["test_accuracy"])[0], color=color, lw=1.6)
    for axes, text in ((information, "I(T;Y) of the output layer (bits)"), (accuracy, "test accuracy")):
        epoch_axis(axes, last)
        axes.set_ylabel(text)
        axes.grid(alpha=0.25, lw=0.6)
    information.set_ylim(bottom=0)
    for (name, found), (color, marker, ls) in zip(medians.items(), _LOOKS, strict=False):
        _convergence(epochs, depths, found, lines[name], last, f"by {name}", color, marker, ls)
    _depth_axis(epochs, depths, log=True)
    epochs.set(yscale="log", ylabel="median epoch of convergence + 1", ylim=(0.8, 1.6 * last))
    epochs.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    epochs.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    epochs.yaxis.set_minor_formatter(NullFormatter())
    epochs.grid(alpha=0.25, lw=0.6)
    epochs.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2, fontsize=8.5)
    _gains(gained, depths, gains, mean_gains, margin, colors)
    keys = [
        Line2D([], [], color=color, lw=2.5, label=f"{depth} hidden layer{'s' * (depth > 1)}")
        for depth, color in zip(depths.tolist(), colors, strict=True)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    first, deepest = (str(run.attrs["title"]) for run in (runs[0], runs[-1]))
    head = header(runs[0], estimator, notes=["bars: 95 % intervals over replicas"], width=120)
    figure.suptitle(head.replace(first, f"{first} to {deepest.split()[-1]}", 1), x=0.01, ha="left", fontsize=10)
    return figure


def _convergence(
    axes: Axes,
    depths: np.ndarray,
    medians: Sequence[Estimate],
    line: LogLine,
    last: int,
    name: str,
    color: str,
    marker: str,
    ls: str,
) -> None:
    shift = 0.985 if ls == "-" else 1.015  # side by side
    for depth, found in zip((depths * shift).tolist(), medians, strict=True):
        low, high = 1 + found.low, 1 + min(found.high, last)
        if np.isfinite(found.value):
            axes.plot(depth, 1 + found.value, marker, color=color, ms=7, mec="white", zorder=4)
            if np.isfinite([low, high]).all():
                axes.plot([depth, depth], [low, high], color=color, lw=1, zorder=3)
        elif np.isinf(found.value):
            axes.plot(depth, 1 + last, "^", color=color, mfc="none", ms=9, zorder=4)
    text = name
    if np.isfinite(line.slope.value):
        ends = depths[line.used][[0, -1]].astype(float)
        axes.plot(ends, np.exp(line.log_c) * ends**line.slope.value, color=color, ls=ls, lw=1.2)
        text += f": layers^{line.slope.value:.2f} [{line.slope.low:.2f}, {line.slope.high:.2f}]"
    axes.plot([], [], marker, ls=ls, color=color, mec="white", ms=7, label=text.replace("-", "\N{MINUS SIGN}"))


def _gains(
    axes: Axes,
    depths: np.ndarray,
    gains: np.ndarray,
    means: Sequence[Estimate],
    margin: float,
    colors: Sequence,
) -> None:
    axes.axhspan(-margin, margin, color=CEILING_COLOR, alpha=0.15, lw=0, label=f"no gain: within {margin:g}")
    for depth, own, mean, color in zip(depths.tolist(), gains, means, colors, strict=True):
        known = own[np.isfinite(own)]
        axes.plot(depth + np.linspace(-0.18, 0.18, known.size), known, "o", color=color, ms=4, alpha=0.7, mew=0)
        if np.isfinite(mean.value):
            axes.plot([depth - 0.3, depth + 0.3], [mean.value] * 2, color="black", lw=1.6)
        if np.isfinite([mean.low, mean.high]).all():
            axes.plot([depth, depth], [mean.low, mean.high], color="black", lw=1)
    axes.axhline(0, color=CEILING_COLOR, lw=0.8)
    _depth_axis(axes, depths, log=False)
    axes.set_ylabel("test accuracy at the end minus at C")
    axes.grid(alpha=0.25, lw=0.6, axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2, fontsize=8.5)


def _depth_axis(axes: Axes, depths: np.ndarray, *, log: bool) -> None:
    if log:
        axes.set_xscale("log")
        axes.set_xlim(depths[0] * 0.85, depths[-1] * 1.18)
    else:
        axes.set_xlim(depths[0] - 0.6, depths[-1] + 0.6)
    axes.xaxis.set_major_locator(FixedLocator(depths.tolist()))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("hidden layers")
