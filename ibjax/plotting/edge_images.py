"""EDGE on image networks: what it says of the hidden layers by each of its bandwidths."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from ibjax.plane.summary import mean_interval
from ibjax.plotting.style import CEILING_COLOR, epoch_axis, layer_look, new_figure, style

FEW = 5
"""Networks below which each is drawn in place of an interval."""


class EdgeRow(NamedTuple):
    """One network; informations in bits, of its hidden layers.

    Attributes:
        title: names it.
        samples: images that it was measured on.
        replicas: how many of it.
        widths: units of the hidden layers.
        epochs: of the snapshots.
        tuned: I(X;T) by a bandwidth for every layer.
        relevance: I(T;Y) likewise.
        ranked: I(X;T) by the default rule.
        published: I(X;T) at the end in the source; None where it has none.
        gammas: factors of the bandwidth, each for all layers.
        own_gammas: the source's own, one a layer.
        lost: mean I(X;T) lost from the peak to the end: by ``own_gammas``, by the default rule, by each of ``gammas``.
    """

    title: str
    samples: int
    replicas: int
    widths: tuple[int, ...]
    epochs: Num[np.ndarray, " snapshots"]
    tuned: Float[np.ndarray, "replicas layers snapshots"]
    relevance: Float[np.ndarray, "replicas layers snapshots"]
    ranked: Float[np.ndarray, "replicas layers snapshots"]
    published: tuple[float, ...] | None
    gammas: tuple[float, ...]
    own_gammas: tuple[float, ...]
    lost: Float[np.ndarray, "layers settings"]


@style()
def edge_figure(rows: Sequence[EdgeRow]) -> Figure:
    """Draw one row of panels a network.

    Args:
        rows: the networks.

    Returns:
        I(X;T) by the bandwidths that were tuned by layer, with the published ends as open marks; I(X;T) by the
        default rule; I(T;Y); and what each layer loses of I(X;T) after its peak against a bandwidth that is the same
        for all layers, where large marks have the layer's own. Means over networks, bands their 95 % intervals; of
        fewer than five networks, whose intervals say little, each is a thin line.
    """
    figure = new_figure(12.6, 1.5 + 2.7 * len(rows))
    figure.set_layout_engine("constrained", w_pad=0.1)  # labels of one panel off the curves of the one before
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        many = f"{row.replicas} network{'s' * (row.replicas > 1)}"
        part.suptitle(f"{row.title} · {many} · {row.samples:,} images", x=0.01, ha="left", fontsize=10)
        tuned, ranked, relevance, lost = part.subplots(1, 4, width_ratios=(1, 1, 1, 1.1))
        _curves(tuned, row, row.tuned, "I(X;T) (bits)", np.log2(row.samples))
        _curves(ranked, row, row.ranked, "I(X;T) (bits)", np.log2(row.samples))
        _curves(relevance, row, row.relevance, "I(T;Y) (bits)", None)
        top = 1.08 * max(np.log2(row.samples), float(np.nanmax(row.tuned)), float(np.nanmax(row.ranked)))
        for axes in (tuned, ranked):
            axes.set_ylim(0, top)
        relevance.set_ylim(0, 1.08 * float(np.nanmax(row.relevance)))
        for layer, end in enumerate(row.published or ()):
            color, marker = layer_look(layer)
            look = {"mfc": "none", "mec": color, "ms": 8, "mew": 1.5, "clip_on": False, "zorder": 5}
            tuned.plot(row.epochs[-1], end, marker, **look)
        _against_gamma(lost, row)
        for axes, name in (
            (tuned, "bandwidths tuned by layer"),
            (ranked, "default rule, rank"),
            (relevance, "bandwidths tuned by layer"),
            (lost, "one bandwidth for all layers"),
        ):
            axes.set_title(name, fontsize=9)
    handles = [
        Line2D([], [], color=color, marker=marker, mec="white", label=f"hidden layer {layer + 1}")
        for layer in range(max(len(row.widths) for row in rows))
        for color, marker in [layer_look(layer)]
    ]
    handles.append(Line2D([], [], color=CEILING_COLOR, ls="--", label="log₂ n, the most that n images can tell"))
    if any(row.published for row in rows):
        handles.append(Line2D([], [], ls="", marker="o", mfc="none", mec="black", ms=8, label="published end"))
    handles.append(Line2D([], [], ls="", marker="o", color="black", ms=10, label="the layer's own γ"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _curves(axes: Axes, row: EdgeRow, values: np.ndarray, name: str, ceiling: float | None) -> None:
    """A line a layer against the epoch, with its band."""
    for layer in range(values.shape[1]):
        color, _ = layer_look(layer)
        mean, half = (p.values for p in mean_interval(xr.DataArray(values[:, layer], dims=("replica", "snapshot"))))
        axes.plot(row.epochs, mean, color=color, lw=1.6)
        if len(values) >= FEW:
            axes.fill_between(row.epochs, mean - half, mean + half, color=color, alpha=0.2, lw=0)
        elif len(values) > 1:
            axes.plot(row.epochs, values[:, layer].T, color=color, lw=0.6, alpha=0.5)
    if ceiling is not None:
        axes.axhline(ceiling, color=CEILING_COLOR, ls="--", lw=0.8, zorder=0)
    epoch_axis(axes, int(row.epochs[-1]))
    axes.set_ylabel(name)
    axes.grid(alpha=0.25, lw=0.6)


def _against_gamma(axes: Axes, row: EdgeRow) -> None:
    """What is lost against the bandwidth's factor, the default rule at the side."""
    order = np.argsort(row.gammas)
    gammas = np.array(row.gammas)[order]
    aside = 2 * max(*row.gammas, *row.own_gammas)
    for layer, lost in enumerate(row.lost):
        color, marker = layer_look(layer)
        axes.plot(gammas, lost[2:][order], color=color, marker=marker, ms=4, lw=1.2)
        own = row.own_gammas[min(layer, len(row.own_gammas) - 1)]
        axes.plot(own, lost[0], marker, color=color, ms=10, mec="white", zorder=4)
        axes.plot(aside, lost[1], marker, color=color, ms=6, mec="white")
    axes.axhline(0, color=CEILING_COLOR, lw=0.8, zorder=0)
    axes.set_xscale("log", base=2)
    low = min(*row.gammas, *row.own_gammas) / 1.3
    axes.set_xlim(low, aside * 1.3)
    ticks = sorted({*row.gammas, 1.0})
    axes.xaxis.set_major_locator(FixedLocator([*ticks, aside]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([*(f"{tick:g}" for tick in ticks), "rank"])
    axes.set_xlabel("γ, factor of the bandwidth")
    axes.set_ylabel("I(X;T) lost after its peak (bits)")
    axes.grid(alpha=0.25, lw=0.6)
