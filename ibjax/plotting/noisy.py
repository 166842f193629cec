"""Information of networks with noise of their own, beside bins and clusters."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane.summary import BITS_PER_NAT
from ibjax.plotting.style import (
    CEILING_COLOR,
    epoch_axis,
    layer_label,
    layer_look,
    legend_columns,
    new_figure,
    style,
)


@style()
def noisy_figure(found: xr.Dataset) -> Figure:
    """Draw a column a noise: I(X;T), H(Bin(T)) and the spread within classes over that between them.

    Args:
        found: ``complexity``, ``complexity_bias`` and ``binned`` in nats and ``spread``, over ``noise``, ``replica``,
            ``snapshot`` and ``layer``.

    Returns:
        A figure in bits, medians over replicas; the band below I(X;T) is its estimated bias, the dashed line ln n.
    """
    noises = found["noise"].values.tolist()
    middle = found.median("replica")
    epochs, ceiling = found["epoch"].values, xr.ufuncs.log2(xr.DataArray(float(found.attrs["samples"]))).item()
    figure = new_figure(3.2 * len(noises) + 1.4, 7.0)
    grid = figure.subplots(3, len(noises), squeeze=False, sharey="row")
    for column, noise in enumerate(noises):
        part = middle.sel(noise=noise)
        for row, (name, scale) in enumerate((("complexity", BITS_PER_NAT), ("binned", BITS_PER_NAT), ("spread", 1.0))):
            axes = grid[row, column]
            for layer in range(found.sizes["layer"]):
                color, marker = layer_look(layer)
                curve = part[name].isel(layer=layer).values * scale
                every = (layer, max(len(epochs) // 5, 1))
                axes.plot(epochs, curve, color=color, marker=marker, ms=4, markevery=every, lw=1.4)
                if name == "complexity":
                    bias = part["complexity_bias"].isel(layer=layer).values * scale
                    axes.fill_between(epochs, curve - bias, curve, color=color, alpha=0.18, lw=0)
            if name == "spread":
                axes.set_yscale("log", base=2)
                axes.yaxis.set_major_formatter("{x:g}")
            else:
                axes.axhline(ceiling, color=CEILING_COLOR, lw=0.9, ls="--", zorder=0)
                axes.set_ylim(0, 1.08 * ceiling)
            epoch_axis(axes, int(epochs[-1]))
            axes.grid(alpha=0.25, lw=0.6)
            if row < 2:
                axes.set_xlabel("")
        grid[0, column].set_title(f"noise of {noise:g}", fontsize=10)
    for row, text in enumerate(
        ("I(X;T) (bits)", f"H(Bin(T)), {int(found.attrs['bins'])} bins\n(bits)", "spread within /\nbetween classes")
    ):
        grid[row, 0].set_ylabel(text)
    lines = [
        Line2D([], [], color=layer_look(n)[0], marker=layer_look(n)[1], ms=5, label=layer_label(found, n))
        for n in range(found.sizes["layer"])
    ]
    lines.append(Line2D([], [], color=CEILING_COLOR, ls="--", lw=0.9, label="ln n"))
    figure.legend(handles=lines, loc="outside lower center", ncols=legend_columns(len(lines), at_most=6))
    title = f"{found.attrs['title']}\nmedians of {found.sizes['replica']} networks; bands: estimated bias of I(X;T)"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure
