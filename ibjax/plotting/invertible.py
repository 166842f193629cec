"""Invertible networks: what is lost, what is learnt, and images between images."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane.summary import mean_interval, surviving
from ibjax.plotting.style import CEILING_COLOR, epoch_axis, layer_look, new_figure, style

FORMS = ("i-RevNet", "twin that loses information")
_LOOKS = ("-", "--")


@style()
def invertible_figure(exact: xr.Dataset, twin: xr.Dataset) -> Figure:
    """Draw an i-RevNet beside its twin.

    Args:
        exact: a run's labelled arrays (nats), and over replica and depth ``reconstruction_error``, ``contraction`` and
            ``probe_accuracy``; ``decoded``, images (pair, step, row, column, channel) in [0, 1].
        twin: the same of the twin, without the first and the last.

    Returns:
        Test accuracy against the epoch; by depth the largest error of a pixel of images computed back, I(X;T) of the
        layers before the classifier, the distance within classes over that of all, and the accuracy of a linear probe;
        images on the lines between the codes of two. Means over networks, bands their 95 % intervals; depth 0 is
        the image.
    """
    runs = [surviving(run) for run in (exact, twin)]
    pairs, steps = exact["decoded"].shape[:2]
    figure = new_figure(10.4, 6.4 + 0.95 * pairs)
    halves: Any = figure.subfigures(2, 1, height_ratios=(6.4, 0.4 + 0.95 * pairs))
    above, below = halves
    (accuracy, error, information), (contraction, probe, legend) = above.subplots(2, 3)
    for place, run in enumerate(runs):
        _band(accuracy, run["epoch"].values, run["test_accuracy"], place)
        for axes, name in ((contraction, "contraction"), (probe, "probe_accuracy")):
            _band(axes, np.arange(run.sizes["depth"]), run[name], place)
        hidden = run["complexity"].isel(estimator=0, snapshot=-1, layer=slice(None, -1))
        _band(information, np.arange(1, hidden.sizes["layer"] + 1), hidden, place)
    tried = np.flatnonzero(np.isfinite(runs[0]["reconstruction_error"].values).all(axis=0))
    errors = runs[0]["reconstruction_error"].isel(depth=tried[tried > 0])
    for row in errors.transpose("replica", "depth").values:
        # Rounding may lose nothing at all, which a logarithmic axis cannot show.
        error.plot(tried[tried > 0], np.maximum(row, 1e-17), color=layer_look(0)[0], marker="o", ms=3, lw=1, alpha=0.7)
    for level, text in ((0.5 / 255, "half a grey level"), (float(np.finfo(np.float32).eps), "float32 epsilon")):
        error.axhline(level, color=CEILING_COLOR, lw=0.8, ls="--")
        error.annotate(text, (0.02, level), xycoords=error.get_yaxis_transform(), xytext=(0, 2),
                       textcoords="offset points", color=CEILING_COLOR, fontsize=8)  # fmt: skip
    error.set(yscale="log", ylabel="largest error of a pixel in [0, 1]", ylim=(5e-18, 1e-1))
    epoch_axis(accuracy, int(runs[0]["epoch"].values[-1]))
    accuracy.set_ylabel("test accuracy")
    samples = float(exact.attrs["samples"])
    information.axhline(np.log(samples), color=CEILING_COLOR, lw=0.8, ls=":")
    information.annotate(
        f"ln {samples:.0f} = {np.log(samples):.2f} nats", (0.02, np.log(samples)),
        xycoords=information.get_yaxis_transform(), xytext=(0, 3), textcoords="offset points",
        color=CEILING_COLOR, fontsize=8,
    )  # fmt: skip
    information.set(ylabel="I(X;T), bits of the floats (nats)", ylim=(0, 1.15 * np.log(samples)))
    contraction.set_ylabel("distance within classes / of all")
    probe.set_ylabel("accuracy of a linear probe")
    for axes in (error, information, contraction, probe):
        axes.set_xlabel("depth (blocks)")
        axes.set_xlim(0, exact.sizes["depth"] - 1)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (accuracy, error, information, contraction, probe):
        axes.grid(alpha=0.25, lw=0.6)
    legend.set_axis_off()
    handles = [
        Line2D([], [], color=layer_look(place)[0], ls=_LOOKS[place], label=name) for place, name in enumerate(FORMS)
    ]
    legend.legend(handles=handles, loc="center left", title="mean over networks, 95 % interval", alignment="left")
    _images(below, exact["decoded"].values, pairs, steps)
    counts = " and ".join(str(run.sizes["replica"]) for run in runs)
    figure.suptitle(f"{exact.attrs['title']}, and its twin\n{counts} networks", x=0.01, ha="left", fontsize=10)
    return figure


def _images(below, decoded: np.ndarray, pairs: int, steps: int) -> None:
    panels = below.subplots(pairs, steps, squeeze=False)
    below.suptitle("images decoded on the line between the last codes of two test images", fontsize=9)
    grey = decoded.shape[-1] == 1
    for row, images in zip(panels, decoded, strict=True):
        for axes, image in zip(row, images, strict=True):
            axes.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=1)
            axes.set_axis_off()
    for place, share in enumerate(np.linspace(0, 1, steps)):
        panels[0, place].set_title(f"{share:.0%}", fontsize=8)


def _band(axes: Axes, x: np.ndarray, values: xr.DataArray, place: int) -> None:
    """Mean over replicas and its band."""
    mean, half = (part.values for part in mean_interval(values))
    color = layer_look(place)[0]
    axes.plot(x, mean, color=color, ls=_LOOKS[place], lw=1.6, marker=layer_look(place)[1], ms=3)
    if np.isfinite(half).any():
        axes.fill_between(x, mean - half, mean + half, color=color, alpha=0.2, lw=0)
