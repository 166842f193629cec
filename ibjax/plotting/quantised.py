"""Paths of networks of few bits beside those of their bins."""

from collections.abc import Mapping, Sequence

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from ibjax.plane.summary import BITS_PER_NAT, mean_path
from ibjax.plotting.style import (
    CEILING_COLOR,
    epoch_axis,
    header,
    layer_label,
    layer_look,
    legend_columns,
    new_figure,
    style,
)

Panel = tuple[str, xr.Dataset, str]
"""Heading, a run's labelled arrays and the convention that is drawn."""


@style()
def quantised_figure(panels: Mapping[str, Sequence[Panel]]) -> Figure:
    """Draw mean I(X;T) of every layer against the epoch with its 95 % interval, a panel a network and estimator.

    Args:
        panels: Name of a row -> its panels.

    Returns:
        A figure in bits; the dashed line is H(X).
    """
    columns = max(len(row) for row in panels.values())
    figure = new_figure(max(2.2 * columns + 1.0, 7.2), 2.5 * len(panels) + 1.2)
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(wspace=0.04)  # the last tick of a panel is long
    grid = figure.subplots(len(panels), columns, squeeze=False, sharey=True)
    plane = next(iter(panels.values()))[0][1]
    for place, (name, row) in enumerate(panels.items()):
        for axes in grid[place, len(row) :]:
            axes.set_visible(False)
        for axes, (heading, run, convention) in zip(grid[place], row, strict=False):
            path = mean_path(run, convention)
            epochs = path["epoch"].values
            for layer in range(path.sizes["layer"]):
                color, marker = layer_look(layer)
                mean = path["complexity"].isel(layer=layer).values
                half = path["complexity_half_width"].isel(layer=layer).values
                every = max(len(epochs) // 5, 1)
                axes.plot(epochs, mean, color=color, marker=marker, ms=4, markevery=(2 * layer, every), lw=1.3)
                axes.fill_between(epochs, mean - half, mean + half, color=color, alpha=0.18, lw=0)
            axes.axhline(float(run.attrs["entropy_x"]) * BITS_PER_NAT, color=CEILING_COLOR, lw=0.8, ls="--", zorder=0)
            epoch_axis(axes, int(epochs[-1]))
            axes.tick_params(labelsize=8)
            axes.set_ylim(0, 1.08 * float(run.attrs["entropy_x"]) * BITS_PER_NAT)
            axes.grid(alpha=0.25, lw=0.6)
            axes.set_title(heading, fontsize=9)
            if place < len(panels) - 1:
                axes.set_xlabel("")
        grid[place, 0].set_ylabel(f"{name}\nI(X;T) (bits)")
    lines = [
        Line2D([], [], color=layer_look(n)[0], marker=layer_look(n)[1], ms=5, label=layer_label(plane, n))
        for n in range(plane.sizes["layer"])
    ]
    lines.append(Line2D([], [], color=CEILING_COLOR, ls="--", lw=0.8, label="H(X)"))
    figure.legend(handles=lines, loc="outside lower center", ncols=legend_columns(len(lines), at_most=7))
    title = header(plane.assign_attrs(title=_common(panels)), notes=["means, 95 % intervals"], width=110)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure


def _common(panels: Mapping[str, Sequence[Panel]]) -> str:
    """What all titles begin with."""
    titles = [str(run.attrs.get("title", "")).split(", ") for row in panels.values() for _, run, _ in row]
    return ", ".join(part for part, *others in zip(*titles, strict=False) if all(part == other for other in others))
