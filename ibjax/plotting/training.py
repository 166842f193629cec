"""Curves of training: loss and accuracy, and the gradients of every layer."""

import math

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane.summary import GRADIENT_VARIANTS, gradient_curves, mean_interval, surviving
from ibjax.plotting.style import (
    CEILING_COLOR,
    TEST_COLOR,
    TRAIN_COLOR,
    epoch_axis,
    header,
    layer_label,
    layer_look,
    legend_columns,
    new_figure,
    style,
)

# Above the axes, where no curve can be.
_ABOVE = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 2, "borderaxespad": 0.2}


def _curve(
    axes: Axes,
    values: xr.DataArray,
    *,
    color: str,
    label: str = "",
    ls: str = "-",
    band: bool = False,
    log: bool = False,
) -> None:
    """Draw a mean over replicas against the epoch, with its 95 % interval if asked for.

    A single snapshot is a point, hollow if not solid. With ``log`` mean and interval are taken of the logarithm, as a
    logarithmic axis wants it: an interval of the plain mean may reach below zero.
    """
    epochs, back = values["epoch"].values, np.exp if log else np.asarray
    with np.errstate(divide="ignore", invalid="ignore"):  # a gradient of exactly zero
        mean, half_width = (part.values for part in mean_interval(values.pipe(np.log) if log else values))
    axes.plot(epochs, back(mean), color=color, label=label, ls=ls, lw=1.5)
    if mean.size == 1:
        axes.plot(epochs, back(mean), "o", mec=color, mfc=color if ls == "-" else "white", clip_on=False, zorder=3)
    if band and np.isfinite(half_width).any():
        axes.fill_between(epochs, back(mean - half_width), back(mean + half_width), color=color, alpha=0.2, lw=0)


@style()
def training_curves(plane: xr.Dataset) -> Figure:
    """Draw loss and accuracy against the epoch, of the train and the test samples.

    Lines are means over the surviving replicas, bands their 95 % intervals. A run without test samples
    shows the train curves alone.

    Args:
        plane: A run's labelled arrays.

    Returns:
        A figure of two panels: loss in nats, accuracy between 0 and 1.

    Raises:
        InputError: No replica survived.
    """
    kept = surviving(plane)
    figure = new_figure(9.0, 3.9)
    panels = figure.subplots(1, 2)
    for axes, quantity, unit in zip(panels, ("loss", "accuracy"), (" (nats)", ""), strict=True):
        for part, color, ls in (("train", TRAIN_COLOR, "-"), ("test", TEST_COLOR, "--")):
            values = kept[f"{part}_{quantity}"]
            if np.isfinite(values.values).any():
                _curve(axes, values, color=color, label=part, ls=ls, band=True)
        epoch_axis(axes, int(kept["epoch"][-1]))
        axes.set_ylabel(f"{quantity}{unit}")
        axes.grid(alpha=0.25, lw=0.6)
        axes.legend(**_ABOVE)
    panels[0].set_ylim(bottom=0.0)
    figure.suptitle(header(plane, notes=_band_note(kept), width=100), x=0.01, ha="left", fontsize=10)
    return figure


@style()
def gradient_figure(plane: xr.Dataset, *, variant: str = "ratio") -> Figure:
    """Draw every layer's gradient mean and spread against the epoch, and their signal-to-noise ratio.

    Lines are geometric means over the surviving replicas; the band of the ratio is their 95 % interval.

    Args:
        plane: A run's labelled arrays.
        variant: Whose formulas to use, see `ibjax.plane.summary.gradient_curves`.

    Returns:
        A figure of two panels on logarithmic axes; the right one has a line where gradients without any
        signal would be, if that is known.

    Raises:
        InputError: The variant is unknown, or no replica survived.
    """
    curves = gradient_curves(plane, variant)
    formula, floor = GRADIENT_VARIANTS[variant], curves.attrs["noise_floor"]
    figure = new_figure(9.6, 4.8)
    norms, ratio = figure.subplots(1, 2)
    layers = range(curves.sizes["layer"])
    for layer in layers:
        color, _ = layer_look(layer)
        one = curves.isel(layer=layer)
        _curve(norms, one["mean"], color=color, log=True)
        _curve(norms, one["std"], color=color, ls=":", log=True)
        _curve(ratio, one["snr"], color=color, band=True, log=True)
    for axes in (norms, ratio):
        epoch_axis(axes, int(curves["epoch"][-1]))
        axes.set_yscale("log", nonpositive="mask")
        axes.grid(alpha=0.25, lw=0.6)
    units = {"normalised": "", "idnns": " (mean: nats, std: √nats)"}.get(variant, " (nats)")
    norms.set_ylabel(f"weight gradient{units}")
    ratio.set_ylabel("signal-to-noise ratio (nats)" if variant == "idnns" else "signal-to-noise ratio")
    kinds = [
        Line2D([], [], color="black", label=f"mean: {formula.mean}"),
        Line2D([], [], color="black", ls=":", label=f"std: {formula.std}"),
    ]
    norms.legend(handles=kinds, **_ABOVE)
    noise = [Line2D([], [], color="black", label=f"SNR: {formula.snr}")]
    if math.isfinite(floor):
        look = {"color": CEILING_COLOR, "ls": "--", "lw": 1.2}
        ratio.axhline(floor, **look)
        noise.append(Line2D([], [], **look, label=f"pure noise: {floor:.3g}"))
    ratio.legend(handles=noise, **_ABOVE)
    look = [Line2D([], [], color=layer_look(layer)[0], label=layer_label(plane, layer)) for layer in layers]
    figure.legend(handles=look, loc="outside lower center", ncols=legend_columns(len(layers), at_most=7))
    notes = [f"{formula.source}, over {int(plane.attrs['probe_batches'])} batches a snapshot"]
    notes += _band_note(curves, "geometric mean")
    figure.suptitle(header(plane, notes=notes, width=110), x=0.01, ha="left", fontsize=10)
    return figure


def _band_note(kept: xr.Dataset, of: str = "mean") -> list[str]:
    return [f"band: 95 % interval of the {of}"] if kept.sizes["replica"] > 1 else []
