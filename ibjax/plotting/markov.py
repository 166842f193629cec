"""The chain of layers: what each keeps of X and tells of Y, how hard it is to decode, and what each step loses."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane.summary import BITS_PER_NAT, mean_path, surviving
from ibjax.plotting.style import (
    CEILING_COLOR,
    EPOCH_COLORS,
    epoch_norm,
    format_epochs,
    header,
    layer_look,
    new_figure,
    style,
)

SOURCE = "entropy_x", "information_xy"
"""What X keeps of itself and tells of Y."""
KEPT_COLOR, TOLD_COLOR = "#0072B2", "#D55E00"


@style()
def markov_figure(plane: xr.Dataset, *, estimator: int | str = 0) -> Figure:
    """Draw a run to which `ibjax.experiments.szt_markov` has added probes and its chain.

    Args:
        plane: The run's labelled arrays, informations in nats.
        estimator: Of I(X;T) and I(T;Y).

    Returns:
        Four panels: mean I(X;T) and, on a scale of its own, I(T;Y) along the layers, at the start dashed and at the
        end; the mean error of a linear probe on each at several epochs, with that of the best decoder of X; a point a
        network, that error against I(X;T) at the end; and how far I(T;Y) is below the curve of the layer before.
    """
    kept, path = surviving(plane), mean_path(plane, estimator)
    last = int(kept["epoch"][-1])
    names = ["X", *map(str, kept["layer_name"].values)]
    figure = new_figure(11.0, 8.4)
    information, probes, against, chain = figure.subplots(2, 2).ravel()
    _information(information, path, *(float(plane.attrs[name]) * BITS_PER_NAT for name in SOURCE))

    norm, error = epoch_norm(last), kept["probe_error"].mean("replica")
    for place, epoch in enumerate(kept["probe_epoch"].values):
        curve = error.isel(probe=place).values
        probes.plot(np.arange(len(names)), curve, color=EPOCH_COLORS(norm(epoch)), marker="o", ms=5)
    least = float(kept["least_error"])
    probes.axhline(least, color=CEILING_COLOR, lw=0.8, ls="--")
    at = probes.get_yaxis_transform()
    note = {"color": CEILING_COLOR, "fontsize": 8, "textcoords": "offset points"}
    probes.annotate("best decoder of X", (0.01, least), xycoords=at, xytext=(0, 3), **note)
    probes.set(ylabel="error of a linear probe, test patterns", ylim=(0, None))
    bar = figure.colorbar(ScalarMappable(norm, EPOCH_COLORS), ax=probes, label="epoch")
    format_epochs(bar.ax.yaxis, last)

    end = kept["probe_error"].isel(probe=-1)
    complexity = kept["complexity"].isel(snapshot=-1)
    complexity = (
        complexity.sel(estimator=estimator) if isinstance(estimator, str) else complexity.isel(estimator=estimator)
    )
    handles = []
    for layer in range(kept.sizes["layer"]):
        color, marker = layer_look(layer)
        x = complexity.isel(layer=layer).values * BITS_PER_NAT
        look: dict[str, Any] = {"ls": "", "color": color, "marker": marker, "ms": 6, "mec": "white", "mew": 0.4}
        against.plot(x, end.isel(stage=layer + 1).values, alpha=0.85, **look)
        handles.append(Line2D([], [], label=names[layer + 1], **look))
        gaps = kept["chain_gap"].isel(layer=layer).dropna("replica").values * BITS_PER_NAT
        spread = np.linspace(-0.15, 0.15, len(gaps)) if len(gaps) > 1 else np.zeros(1)
        chain.plot(layer + spread, gaps, **look)
    against.set(xlabel="I(X;T) (bits)", ylabel=f"error of a linear probe, epoch {last:,}", ylim=(0, None))
    chain.set(ylabel="I(T;Y) below the curve\nof the layer before (bits)")
    chain.set_ylim(min(chain.get_ylim()[0], 0.0), max(chain.get_ylim()[1], 0.01))
    chain.axhline(0, color=CEILING_COLOR, lw=0.8)
    for axes, first in ((information, 0), (probes, 0), (chain, 1)):
        axes.set_xticks(np.arange(len(names) - first), names[first:])
        axes.set_xlim(-0.4, len(names) - first - 0.6)
    for axes in (probes, against, chain):
        axes.grid(alpha=0.25, lw=0.6)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.suptitle(header(plane, estimator, width=110), x=0.01, ha="left", fontsize=10)
    return figure


def _information(axes: Axes, path: xr.Dataset, entropy: float, ceiling: float) -> None:
    """I(X;T) on the left scale and I(T;Y) on the right one, from those of X on; first snapshot dashed."""
    other = axes.twinx()
    other.spines["right"].set_visible(True)
    looks: tuple[tuple[int, dict[str, Any]], ...] = ((0, {"ls": "--", "alpha": 0.6}), (-1, {"ls": "-"}))
    for snapshot, look in looks:
        now = path.isel(snapshot=snapshot)
        axes.plot([entropy, *now["complexity"].values], color=KEPT_COLOR, marker="o", ms=5, **look)
        other.plot([ceiling, *now["relevance"].values], color=TOLD_COLOR, marker="s", ms=5, **look)
    for side, name, color in ((axes, "I(X;T) (bits)", KEPT_COLOR), (other, "I(T;Y) (bits)", TOLD_COLOR)):
        side.set_ylim(0, None)
        side.set_ylabel(name, color=color)
        side.tick_params(axis="y", colors=color)
    lines = [Line2D([], [], color="black", ls=ls, label=label) for ls, label in (("--", "first epoch"), ("-", "last"))]
    axes.legend(handles=lines, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
