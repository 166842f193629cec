"""Claims judged several times over: a table of verdicts beside the curves that they were judged by."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane import Claim
from ibjax.plane.summary import mean_path
from ibjax.plotting.style import epoch_axis, header, layer_label, layer_look, legend_columns, new_figure, style

VERDICTS = ("reproduced", "inconclusive", "refuted")
VERDICT_COLORS = ("#56B4E9", "#DDDDDD", "#D55E00")
VERDICT_SIGNS = ("✓", "?", "✗")


@style()
def verdict_figure(plane: xr.Dataset, judged: Mapping[str, Sequence[Claim]]) -> Figure:
    """Draw one row an estimator: its mean I(X;T) of every layer against the epoch, and its verdict on every claim.

    Args:
        plane: A run's labelled arrays, informations in nats.
        judged: Convention of an estimator -> the same claims in the same order.

    Returns:
        A figure; a tick, a question mark and a cross, on colours that the colour-blind tell apart, say reproduced,
        inconclusive and refuted.
    """
    names = list(judged)
    statements = [claim.name for claim in next(iter(judged.values()))]
    figure = new_figure(10.4, 1.8 + 0.62 * len(names))
    grid = figure.add_gridspec(len(names), 3, width_ratios=(3.0, 2.6, 3.4))
    table = figure.add_subplot(grid[:, 2])
    table.imshow(
        [[VERDICTS.index(claim.verdict) for claim in judged[name]] for name in names],
        cmap=ListedColormap(VERDICT_COLORS),
        vmin=-0.5,
        vmax=2.5,
        aspect="auto",
    )
    for row, name in enumerate(names):
        for column, claim in enumerate(judged[name]):
            table.text(column, row, VERDICT_SIGNS[VERDICTS.index(claim.verdict)], ha="center", va="center")
        path = mean_path(plane, name)["complexity"]
        label, curves = figure.add_subplot(grid[row, 0]), figure.add_subplot(grid[row, 1])
        label.axis("off")
        label.text(1.0, 0.5, name, ha="right", va="center", fontsize=9, transform=label.transAxes)
        for layer in range(path.sizes["layer"]):
            curves.plot(path["epoch"].values, path.isel(layer=layer).values, color=layer_look(layer)[0], lw=1.2)
        epoch_axis(curves, int(path["epoch"][-1]))
        curves.set_ylim(bottom=min(0.0, float(path.min())))
        curves.yaxis.set_major_locator(_two_ticks(float(path.max())))
        curves.tick_params(labelsize=7)
        if row < len(names) - 1:
            curves.set_xlabel("")
            curves.set_xticklabels([])
        if row == 0:
            curves.set_title("I(X;T) (bits)", fontsize=10)
    table.set_xticks(range(len(statements)), statements, rotation=30, ha="left", fontsize=9)
    table.xaxis.tick_top()
    table.set_yticks([])
    table.tick_params(length=0)
    table.spines[:].set_visible(False)
    table.set_xticks(np.arange(0.5, len(statements) - 1), minor=True)
    table.set_yticks(np.arange(0.5, len(names) - 1), minor=True)
    table.grid(which="minor", color="white", lw=2)
    layers = range(plane.sizes["layer"])
    handles = [Line2D([], [], color=layer_look(layer)[0], label=layer_label(plane, layer)) for layer in layers]
    look = {"ls": "", "marker": "s", "ms": 9}
    handles += [
        Line2D([], [], color=color, label=f"{sign} {name}", **look)
        for color, sign, name in zip(VERDICT_COLORS, VERDICT_SIGNS, VERDICTS, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(len(handles), at_most=5))
    figure.suptitle(header(plane, notes=["means over networks"], width=110), x=0.01, ha="left", fontsize=10)
    return figure


def _two_ticks(highest: float):
    from matplotlib.ticker import FixedLocator

    top = highest if highest < 1 else np.floor(highest)
    return FixedLocator([0.0, round(float(top), 1)])
