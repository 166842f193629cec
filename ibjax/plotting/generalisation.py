"""Generalisation gap of many networks against their compression and gradients, and effects of interventions."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane import Estimate
from ibjax.plotting.style import (
    CEILING_COLOR,
    LAYER_COLORS,
    LAYER_MARKERS,
    legend_columns,
    new_figure,
    style,
)


@style()
def generalisation_figure(points: xr.Dataset, effects: Mapping[str, tuple[Estimate, Estimate]], title: str) -> Figure:
    """Draw one point a network, and means with intervals of what interventions change.

    Args:
        points: ``compression`` in bits, log10 ``snr``, ``gap``, ``fraction`` and ``activation`` over ``network``.
        effects: Intervention -> change of compression in bits and of the gap.
        title: Of the figure.

    Returns:
        Four panels; colours are data shares, markers activations.
    """
    figure = new_figure(11.6, 4.2)
    compression, snr, *changes = figure.subplots(1, 4, width_ratios=(3, 3, 2.2, 2.2))
    shares = np.unique(points["fraction"].values).tolist()
    names = np.unique(points["activation"].values).tolist()
    for place, share in enumerate(shares):
        for look, name in enumerate(names):
            part = points.isel(network=np.flatnonzero((points["fraction"] == share) & (points["activation"] == name)))
            style_of = {"color": LAYER_COLORS[place], "ms": 5, "alpha": 0.75, "mec": "white", "mew": 0.4}
            compression.plot(part["compression"], part["gap"], LAYER_MARKERS[look], **style_of)
            snr.plot(part["snr"], part["gap"], LAYER_MARKERS[look], **style_of)
    compression.set(xlabel="compression (bits)", ylabel="training minus test accuracy")
    snr.set(xlabel="log₁₀ SNR of the gradients")
    snr.sharey(compression)
    snr.tick_params(labelleft=False)
    rows = np.arange(len(effects))[::-1]
    for which, (axes, text) in enumerate(
        zip(changes, ("change of compression\n(bits)", "change of the gap\n(share)"), strict=True)
    ):
        axes.axvline(0, color=CEILING_COLOR, lw=0.8, zorder=0)
        for row, pair in zip(rows, effects.values(), strict=True):
            value, low, high = pair[which]
            if np.isfinite([low, high]).all():
                axes.plot([low, high], [row, row], color="black", lw=1.6)
            axes.plot(value, row, "o", color="black", ms=6)
        axes.set(xlabel=text, ylim=(-0.6, max(len(effects), 1) - 0.4))
        axes.locator_params(axis="x", nbins=4)
        axes.set_yticks(rows, list(effects) if which == 0 else [""] * len(rows))
    for axes in (compression, snr, *changes):
        axes.grid(alpha=0.25, lw=0.6)
    handles = [
        Line2D([], [], ls="", marker="o", color=LAYER_COLORS[n], ms=7, label=f"{s:.0%} of the patterns")
        for n, s in enumerate(shares)
    ]
    handles += [
        Line2D([], [], ls="", marker=LAYER_MARKERS[n], color=CEILING_COLOR, ms=7, label=name)
        for n, name in enumerate(names)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(len(handles), at_most=8))
    figure.suptitle(f"{title}\nmeans and 95 % intervals of the changes", x=0.01, ha="left", fontsize=10)
    return figure
