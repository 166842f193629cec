"""Planes of networks trained on shares of the data, and what grows with the share."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from ibjax.plane import Estimate
from ibjax.plane.summary import mean_path
from ibjax.plotting.style import (
    EPOCH_COLORS,
    epoch_axis,
    frame_plane,
    header,
    layer_label,
    layer_look,
    legend_columns,
    new_figure,
    style,
)

_PLACES = ("--", ":", "-")
_MOST = 3


@style()
def data_figure(
    runs: Sequence[xr.Dataset],
    fractions: Float[np.ndarray, " points"],
    relevance: Sequence[Float[np.ndarray, " snapshots"]],
    places: Mapping[str, Estimate],
    *,
    estimator: int | str = 0,
) -> Figure:
    """Draw networks trained on different shares of the data.

    Args:
        runs: A run's labelled arrays for every share, informations in nats.
        fractions: The shares, increasing.
        relevance: I(T;Y) of the last hidden layers at every snapshot of each run, in bits.
        places: Epochs to mark, of the smallest share, with their intervals; at most three.
        estimator: The estimator shown.

    Returns:
        Above, mean paths through the plane at three shares, from the hollow markers to the full ones. Below, I(T;Y) of
        the last hidden layers against the epoch, a line a share, and both informations of every layer at the last
        epoch against the share, with 95 % intervals over replicas.
    """
    figure = new_figure(11.4, 7.8)
    above, below = figure.subplots(2, 3)
    paths = [mean_path(run, estimator) for run in runs]
    shown = sorted({0, int(np.abs(fractions - 0.45).argmin()), len(runs) - 1})
    for axes in above[len(shown) :]:
        axes.set_axis_off()
    for axes, place in zip(above, shown, strict=False):
        _plane(axes, runs[place], paths[place])
        axes.set_title(f"{_percent(fractions[place])} of the patterns", fontsize=10, loc="left")
    _falls(below[0], [path["epoch"].values for path in paths], fractions, relevance, places)
    for axes, name, text in ((below[1], "relevance", "I(T;Y)"), (below[2], "complexity", "I(X;T)")):
        for layer in range(paths[0].sizes["layer"]):
            color, marker = layer_look(layer)
            ends = [path[[name, f"{name}_half_width"]].isel(layer=layer, snapshot=-1) for path in paths]
            means, widths = ([float(end[part]) for end in ends] for part in (name, f"{name}_half_width"))
            known = np.isfinite(widths)
            axes.plot(fractions, means, color=color, marker=marker, ms=5, mec="white", mew=0.5, lw=1.2)
            if known.any():
                axes.errorbar(
                    fractions[known],
                    np.array(means)[known],
                    np.array(widths)[known],
                    ls="",
                    color=color,
                    elinewidth=1,
                    capsize=2,
                )
        axes.set(xlabel="share of the patterns trained on", ylabel=f"{text} at the end (bits)", xlim=(0, 1))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25, lw=0.6)
    lines = [
        Line2D([], [], color=layer_look(n)[0], marker=layer_look(n)[1], mec="white", label=layer_label(runs[0], n))
        for n in range(paths[0].sizes["layer"])
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=legend_columns(len(lines), at_most=7))
    figure.suptitle(
        header(runs[0], estimator, notes=[f"{len(runs)} shares", "bars: 95 % intervals over replicas"], width=125),
        x=0.01,
        ha="left",
        fontsize=10,
    )
    return figure


def _plane(axes: Axes, run: xr.Dataset, path: xr.Dataset) -> None:
    for layer in range(path.sizes["layer"]):
        color, marker = layer_look(layer)
        x, y = (path[name].values[:, layer] for name in ("complexity", "relevance"))
        axes.plot(x, y, color=color, lw=1.8)
        axes.plot(x[0], y[0], marker, color=color, mfc="white", ms=5)
        axes.plot(x[-1], y[-1], marker, color=color, mec="white", ms=8, zorder=4)
    frame_plane(axes, run, path)


def _falls(
    axes: Axes,
    epochs: Sequence[np.ndarray],
    fractions: np.ndarray,
    relevance: Sequence[np.ndarray],
    places: Mapping[str, Estimate],
) -> None:
    """I(T;Y) against the epoch, a line a share, the smallest one's places marked."""
    marked = np.unique(np.linspace(0, len(fractions) - 1, _MOST + 1).round().astype(int))
    for place, (at, path, share) in enumerate(zip(epochs, relevance, fractions, strict=True)):
        color = EPOCH_COLORS(place / max(len(fractions) - 1, 1))
        axes.plot(at, path, color=color, lw=1.6, label=_percent(share) if place in marked else None)
    for (name, found), ls in zip(places.items(), _PLACES, strict=False):
        if np.isfinite(found.value):
            axes.axvline(found.value, color=EPOCH_COLORS(0.0), ls=ls, lw=1, label=f"{_percent(fractions[0])}: {name}")
    epoch_axis(axes, int(max(at[-1] for at in epochs)))
    axes.set_ylabel("I(T;Y) of the last hidden layers (bits)")
    axes.set_ylim(0, None)
    axes.grid(alpha=0.25, lw=0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=2, fontsize=8, borderaxespad=0.2, columnspacing=1.0)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
