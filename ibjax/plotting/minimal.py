"""Information of one binned unit against its weight."""

import xarray as xr
from matplotlib.figure import Figure

from ibjax.plane.summary import BITS_PER_NAT
from ibjax.plotting.style import CEILING_COLOR, layer_look, new_figure, style


@style()
def weight_figure(found: xr.Dataset) -> Figure:
    """Draw I(X;T) against the weight, a line an activation.

    Args:
        found: ``complexity`` in nats over the coordinates ``activation`` and ``weight``, and ``border`` whose size
            tells the number of bins.

    Returns:
        A figure of one panel, in bits, solid for activations between two bounds and dashed for the others.
    """
    figure = new_figure(7.2, 4.4)
    axes = figure.add_subplot()
    for place, name in enumerate(found["activation"].values.tolist()):
        bounded = name in ("tanh", "softsign", "sigmoid")
        values = found["complexity"].isel(activation=place) * BITS_PER_NAT
        look = {
            "color": layer_look(place)[0],
            "ls": "-" if bounded else "--",
            "lw": 1.8,
            "marker": layer_look(place)[1],
            "markevery": (4 * place, 40),
            "ms": 5,
        }
        axes.plot(found["weight"].values, values.values, label=name, **look)
    axes.axhline(1.0, color=CEILING_COLOR, lw=1.0, ls=":", zorder=0, label="1 bit: the sign of X")
    axes.set(xscale="log", xlabel="weight", ylabel="I(X;T) (bits)", ylim=(0, None))
    axes.margins(x=0)
    axes.grid(alpha=0.25, lw=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title(str(found.attrs["title"]), loc="left", fontsize=10)
    return figure
