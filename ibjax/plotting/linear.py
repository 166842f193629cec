"""Linear students: exact informations and errors against the epoch."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane.summary import BITS_PER_NAT, mean_interval
from ibjax.plotting.style import epoch_axis, layer_look, new_figure, style

_STYLES = ("-", "--", ":", "-.")


@style()
def linear_figure(found: xr.Dataset) -> Figure:
    """Draw I(X;T) and the errors against the epoch, a column a number of samples and batch size.

    Args:
        found: ``complexity`` (nats), ``train_error`` and ``test_error`` over samples, batch, replica, snapshot and
            noise_variance.

    Returns:
        Two rows of panels: I(X;T) as a share of its largest, a line a noise variance, so that a fall can be seen
        whatever the size; and the errors. Means over replicas, bands their 95 % intervals.
    """
    settings = [(s, b) for s in found["samples"].values.tolist() for b in found["batch"].values.tolist()]
    figure = new_figure(1.2 + 2.7 * len(settings), 5.6)
    panels = figure.subplots(2, len(settings), sharex=True, sharey="row", squeeze=False)
    noises = found["noise_variance"].values.tolist()
    for column, (samples, batch) in enumerate(settings):
        one = found.sel(samples=samples, batch=batch)
        upper, lower = panels[:, column]
        for place, noise in enumerate(noises):
            values = one["complexity"].sel(noise_variance=noise)
            _line(upper, values / values.mean("replica").max(), layer_look(place)[0], "-")
        for name, color, look in (("train_error", "black", "-"), ("test_error", "black", "--")):
            _line(lower, one[name], color, look)
        upper.set_title(f"{samples} samples, {'all' if batch == 'full' else batch} a step", fontsize=10)
        upper.set_xlabel("")
    panels[0, 0].set_ylabel("I(X;T), share of its largest")
    panels[1, 0].set_ylabel("squared error")
    for axes in panels[0]:
        axes.set_xlabel("")
    handles = [
        Line2D([], [], color=layer_look(place)[0], label=f"noise variance {noise:g}")
        for place, noise in enumerate(noises)
    ]
    handles += [
        Line2D([], [], color="black", label="training error"),
        Line2D([], [], color="black", ls="--", label="test error"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    _title(figure, found)
    return figure


@style()
def irrelevant_figure(found: xr.Dataset) -> Figure:
    """Draw the informations on all, relevant and irrelevant inputs: a row a scale of the initial weights.

    Args:
        found: ``complexity``, ``complexity_relevant``, ``complexity_irrelevant`` (nats), ``train_error`` and
            ``test_error`` over scale, replica, snapshot and noise_variance.

    Returns:
        A column of panels a noise variance, in bits, and one of the errors. Means over replicas, bands their 95 %
        intervals.
    """
    scales, noises = found["scale"].values.tolist(), found["noise_variance"].values.tolist()
    figure = new_figure(1.2 + 2.6 * (len(noises) + 1), 0.9 + 2.7 * len(scales))
    panels = figure.subplots(len(scales), len(noises) + 1, sharex=True, squeeze=False)
    parts = {
        "complexity": "I(X;T)",
        "complexity_relevant": "I(relevant X;T)",
        "complexity_irrelevant": "I(irrelevant X;T)",
    }
    for row, scale in zip(panels, scales, strict=True):
        one = found.sel(scale=scale)
        for axes, noise in zip(row, noises, strict=False):
            for place, name in enumerate(parts):
                values = one[name].sel(noise_variance=noise) * BITS_PER_NAT
                _line(axes, values, layer_look(place)[0], _STYLES[place])
            axes.set_title(f"weights {scale:g}, noise variance {noise:g}", fontsize=9)
            axes.set_ylim(bottom=0)
        row[0].set_ylabel("information (bits)")
        for name, color, look in (("train_error", "black", "-"), ("test_error", "black", "--")):
            _line(row[-1], one[name], color, look)
        row[-1].set_title("squared error", fontsize=9)
        row[-1].set_ylim(bottom=0)
    for axes in panels[:-1].ravel():
        axes.set_xlabel("")
    handles = [
        Line2D([], [], color=layer_look(place)[0], ls=_STYLES[place], label=text)
        for place, text in enumerate(parts.values())
    ]
    handles += [
        Line2D([], [], color="black", label="training error"),
        Line2D([], [], color="black", ls="--", label="test error"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    _title(figure, found)
    return figure


def _line(axes: Axes, values: xr.DataArray, color: str, look: str) -> None:
    """Mean over replicas and its band against the epoch."""
    epochs = values["epoch"].values
    mean, half = (part.values for part in mean_interval(values))
    axes.plot(epochs, mean, color=color, ls=look, lw=1.6)
    if np.isfinite(half).any():
        axes.fill_between(epochs, mean - half, mean + half, color=color, alpha=0.2, lw=0)
    epoch_axis(axes, int(epochs[-1]))
    axes.grid(alpha=0.25, lw=0.6)


def _title(figure: Figure, found: xr.Dataset) -> None:
    count = found.sizes["replica"]
    band = ", band: 95 % interval of the mean" if count > 1 else ""
    text = f"{found.attrs['title']}\n{count} network{'s' * (count > 1)}{band}"
    figure.suptitle(text, x=0.01, ha="left", fontsize=10)
