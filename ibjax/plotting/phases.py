"""Phases of training: peak and plateau of I(X;T), transition of the gradients, and how far the weights move."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane import GrowthExponents, Phases, SNRTransition
from ibjax.plane.summary import gradient_curves, mean_path, surviving
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

_PEAK, _PLATEAU, _BY_LOG_LOG, _BY_LOG, _BY_EPOCH = "o", "s", "D", "v", "1"


@style()
def phase_figure(
    plane: xr.Dataset,
    phases: Phases,
    snr: SNRTransition,
    together: SNRTransition,
    growth: GrowthExponents,
    *,
    estimator: int | str = 0,
) -> Figure:
    """Draw what `ibjax.plane.phases`, `snr_transition` and `growth_exponents` found of a run.

    Args:
        plane: A run's labelled arrays, informations in nats.
        phases: Of its surviving replicas, layers in order.
        snr: Likewise.
        together: Of the geometric mean over replicas.
        growth: Likewise.
        estimator: The estimator that the phases are of.

    Returns:
        Four panels: mean I(X;T) in bits with the median C and E of each layer; the geometric mean of the gradients'
        SNR with the transitions of this mean; the mean distance of the weights from their start; and, a point a replica
        and layer, the transition by both logarithms against C with a band of a factor of two about equality, and how
        many have both. Places that were not found are not drawn.
    """
    path, kept, ratio = mean_path(plane, estimator), surviving(plane), gradient_curves(plane)["snr"]
    epochs, last = path["epoch"].values, int(path["epoch"][-1])
    figure = new_figure(10.4, 8.2)
    information, gradients, weights, against = figure.subplots(2, 2).ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = xr.ufuncs.exp(xr.ufuncs.log(ratio).mean("replica", skipna=False))
    distance = kept["weight_distance"].mean("replica").where(kept["epoch"] > 0)  # it is 0 at the start
    for layer in range(path.sizes["layer"]):
        color, marker = layer_look(layer)
        for axes, curve in ((information, path["complexity"]), (gradients, signal), (weights, distance)):
            axes.plot(epochs, curve.isel(layer=layer).values, color=color, lw=1.5)
        for axes, curve, place, shape in (
            (information, path["complexity"], phases.peak_interval, _PEAK),
            (information, path["complexity"], phases.plateau_interval, _PLATEAU),
            (gradients, signal, together.by_log_epoch.interval, _BY_LOG),
            (gradients, signal, together.by_log_log.interval, _BY_LOG_LOG),
            (gradients, signal, together.by_epoch.interval, _BY_EPOCH),
            (weights, distance, phases.peak_interval, _PEAK),
        ):
            at = float(place.value[layer])
            if np.isfinite(at):
                height = np.interp(at, epochs, curve.isel(layer=layer).values)
                axes.plot(at, height, shape, color=color, ms=8, mec=color if shape == _BY_EPOCH else "white", zorder=5)
        x, y = phases.peak[:, layer], snr.by_log_log.epoch[:, layer]
        against.plot(x, y, marker, color=color, ms=5, alpha=0.75, mec="white", mew=0.4)
    for axes in (information, gradients, weights):
        epoch_axis(axes, last)
        axes.grid(alpha=0.25, lw=0.6)
    information.set_ylabel("I(X;T) (bits)")
    gradients.set(yscale="log", ylabel="signal-to-noise ratio of the gradients")
    weights.set(yscale="log", ylabel="distance of the weights from their start")
    _slopes(weights, growth)
    _equality(against, last)
    both = np.isfinite(phases.peak) & np.isfinite(snr.by_log_log.epoch)
    text = f"{both.sum()} of {both.size} layers of networks have both"
    against.text(0.02, 0.98, text, transform=against.transAxes, ha="left", va="top", fontsize=9)
    _keys(information, {_PEAK: "C, the peak", _PLATEAU: "E, the plateau"})
    _keys(gradients, {_BY_LOG_LOG: "steepest fall by both logarithms", _BY_LOG: "by log epoch", _BY_EPOCH: "by epoch"})
    lines = [
        Line2D([], [], color=layer_look(n)[0], marker=layer_look(n)[1], mec="white", label=layer_label(plane, n))
        for n in range(path.sizes["layer"])
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=legend_columns(len(lines), at_most=7))
    updates = int(plane.attrs["updates_per_epoch"])
    notes = ["medians over replicas", f"{updates} update{'s' * (updates > 1)} an epoch"]
    figure.suptitle(header(plane, estimator, notes=notes, width=120), x=0.01, ha="left", fontsize=10)
    return figure


def _slopes(axes: Axes, growth: GrowthExponents) -> None:
    """Say the mean exponents over layers, with the range of the layers."""
    lines = []
    for name, part in (("before C", growth.before_interval.value), ("after C", growth.after_interval.value)):
        known = part[np.isfinite(part)]
        if known.size:
            lines.append(f"exponent {name}: {known.mean():.2f} (layers {known.min():.2f} to {known.max():.2f})")
    text = "\n".join([*lines, "drift has 1, diffusion 1/2"])
    axes.text(0.98, 0.03, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=9)


def _equality(axes: Axes, last: int) -> None:
    ends = np.array([1.0, max(last, 2)])
    axes.plot(ends, ends, color=CEILING_COLOR, lw=1)
    axes.fill_between(ends, ends / 2, ends * 2, color=CEILING_COLOR, alpha=0.15, lw=0, label="within a factor of two")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="C, the peak of I(X;T) (epoch)")
    axes.set_ylabel("transition of the SNR by both logarithms (epoch)")
    axes.legend(loc="lower right")


def _keys(axes: Axes, names: dict[str, str]) -> None:
    handles = [
        Line2D(
            [],
            [],
            ls="",
            marker=marker,
            color="black",
            ms=7,
            mec="black" if marker == _BY_EPOCH else "white",
            label=name,
        )
        for marker, name in names.items()
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
