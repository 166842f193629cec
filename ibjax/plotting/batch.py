"""Networks trained with batches of different size: where their gradients turn noisy and where I(X;T) peaks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from ibjax.plane import LogLine
from ibjax.plane.summary import gradient_curves, mean_path
from ibjax.plotting.style import (
    CEILING_COLOR,
    EPOCH_COLORS,
    TEST_COLOR,
    TRAIN_COLOR,
    epoch_axis,
    header,
    legend_columns,
    new_figure,
    style,
)

_COLORS = (TRAIN_COLOR, TEST_COLOR)
_PEAK, _TRANSITION = "o", "v"

Places = tuple[Float[np.ndarray, "points replicas"], Float[np.ndarray, "points replicas"], LogLine]


@style()
def batch_figure(
    runs: Sequence[xr.Dataset],
    sizes: Float[np.ndarray, " points"],
    places: Mapping[str, Places],
    *,
    estimator: int | str = 0,
) -> Figure:
    """Draw networks trained with batches of different size.

    Args:
        runs: A run's labelled arrays for every batch size, informations in nats.
        sizes: The batch sizes, increasing.
        places: By name of a layer, the epochs of the peak of I(X;T) and of the transition of the gradients, NaN where
            there is none, and the line of the one against the other; at most two layers.
        estimator: The estimator shown.

    Returns:
        Four panels: the geometric mean over replicas of the SNR of the output layer's gradients, and its mean I(X;T),
        a line a batch size; the epochs of peak and transition, a point a replica, and their medians against the batch
        size; and the medians against one another, with a band of a factor of two about equality.
    """
    figure = new_figure(10.4, 8.2)
    ratio, information, against_size, against_peak = figure.subplots(2, 2).ravel()
    last = max(int(run["epoch"][-1]) for run in runs)
    colors = [EPOCH_COLORS(place / max(len(runs) - 1, 1)) for place in range(len(runs))]
    for run, color in zip(runs, colors, strict=True):
        path, curve = mean_path(run, estimator), gradient_curves(run)["snr"].isel(layer=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            signal = xr.ufuncs.exp(xr.ufuncs.log(curve).mean("replica", skipna=False))
        ratio.plot(curve["epoch"], signal, color=color, lw=1.5)
        information.plot(path["epoch"], path["complexity"].isel(layer=-1), color=color, lw=1.5)
    for axes in (ratio, information):
        epoch_axis(axes, last)
        axes.grid(alpha=0.25, lw=0.6)
    ratio.set(yscale="log", ylabel="SNR of the gradients, output layer")
    _plain_log(ratio.yaxis)
    information.set_ylabel("I(X;T) of the output layer (bits)")
    information.set_ylim(bottom=0)
    for (peak, transition, line), color in zip(places.values(), _COLORS, strict=False):
        _against_size(against_size, sizes, peak, transition, color)
        _against_peak(against_peak, line, color)
    _finish(against_size, against_peak, sizes, places, last)
    keys = [
        Line2D([], [], color=color, lw=2.5, label=f"batch {size:,.0f}")
        for size, color in zip(sizes, colors, strict=True)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=legend_columns(len(keys), at_most=7))
    figure.suptitle(
        header(runs[0], estimator, notes=["medians over replicas"], width=120), x=0.01, ha="left", fontsize=10
    )
    return figure


def _against_size(axes: Axes, sizes: np.ndarray, peak: np.ndarray, transition: np.ndarray, color: str) -> None:
    """Replicas as dots, their medians joined; a little aside, so that the layers do not cover one another."""
    aside = 0.94 if color == _COLORS[0] else 1.06
    for epochs, marker, ls in ((peak, _PEAK, "-"), (transition, _TRANSITION, "--")):
        axes.plot(sizes * aside, epochs, marker, color=color, ms=3, alpha=0.4, mew=0)
        known = np.isfinite(epochs).any(axis=1)
        medians = [np.median(row[np.isfinite(row)]) for row in epochs[known]]
        axes.plot(sizes[known] * aside, medians, marker=marker, ls=ls, color=color, ms=7, mec="white", lw=1.2)


def _against_peak(axes: Axes, line: LogLine, color: str) -> None:
    known = np.isfinite(line.x) & np.isfinite(line.y)
    for where, fill in ((known & line.used, color), (known & ~line.used, "white")):
        axes.plot(line.x[where], line.y[where], "D", color=color, mfc=fill, ms=7, zorder=4)
    if np.isfinite(line.slope.value):
        ends = np.sort(line.x[line.used])[[0, -1]]
        axes.plot(ends, np.exp(line.log_c) * ends**line.slope.value, color=color, lw=1.3)


def _finish(against_size: Axes, against_peak: Axes, sizes: np.ndarray, places: Mapping[str, Places], last: int) -> None:
    """Axes, the band of equality and the legends."""
    against_size.set(xscale="log", yscale="log", xlabel="batch size", ylabel="epoch", ylim=(0.8, 1.2 * last))
    against_size.xaxis.set_major_locator(FixedLocator(sizes.tolist()))
    against_size.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    against_size.xaxis.set_minor_locator(NullLocator())
    against_size.tick_params(axis="x", labelsize=8)
    layers = [
        Line2D([], [], color=color, marker=marker, ls=ls, mec="white", ms=7, label=f"{what}, {name}")
        for name, color in zip(places, _COLORS, strict=False)
        for marker, ls, what in ((_PEAK, "-", "peak of I(X;T)"), (_TRANSITION, "--", "SNR transition"))
    ]
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.1, 1.0), "borderaxespad": 0.2, "fontsize": 8.5}
    against_size.legend(handles=layers, ncols=2, **above)
    found = [np.concatenate([line.x, line.y]) for _, _, line in places.values()]
    known = np.concatenate(found)[np.isfinite(np.concatenate(found))]
    ends = np.array([known.min() / 1.6, known.max() * 1.6]) if known.size else np.array([1.0, 100.0])
    against_peak.plot(ends, ends, color=CEILING_COLOR, lw=1, zorder=0)
    against_peak.fill_between(ends, ends / 2, ends * 2, color=CEILING_COLOR, alpha=0.15, lw=0, zorder=0)
    against_peak.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    against_peak.set_xlabel("peak of I(X;T) (epoch)")
    against_peak.set_ylabel("SNR transition by log epoch (epoch)")
    keys = [Line2D([], [], color=CEILING_COLOR, lw=6, alpha=0.3, label="within a factor of two")]
    for (name, (_, _, line)), color in zip(places.items(), _COLORS, strict=False):
        slope = line.slope
        text = f"slope {slope.value:.2f} [{slope.low:.2f}, {slope.high:.2f}]"
        text = text if np.isfinite(slope.value) else "no slope"
        keys.append(Line2D([], [], color=color, marker="D", ms=6, label=f"{name}: {text}"))
    against_peak.legend(handles=keys, **above)
    for axis in (against_size.yaxis, against_peak.xaxis, against_peak.yaxis):
        _plain_log(axis)
    for axes in (against_size, against_peak):
        axes.grid(alpha=0.25, lw=0.6)


def _plain_log(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
