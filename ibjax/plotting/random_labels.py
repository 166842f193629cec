"""Memorising against learning: how networks fit, how long it takes, and the plane."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane.summary import mean_interval, mean_path, surviving
from ibjax.plotting.style import TEST_COLOR, TRAIN_COLOR, epoch_axis, layer_label, layer_look, new_figure, style

LOOKS = {
    "none": ("true labels", "#0072B2", "-"),
    "random_labels": ("random labels", "#D55E00", "--"),
    "shuffled_pixels": ("shuffled pixels", "#009E73", "-."),
    "random_pixels": ("random pixels", "#CC79A7", ":"),
    "gaussian_pixels": ("Gaussian pixels", "#000000", (0, (5, 1, 1, 1, 1, 1))),
}
"""Corruption -> words, colour and line."""


class Fit(NamedTuple):
    """One value a network.

    Attributes:
        train: share of the training images that is right at the end.
        test: of the test images.
        epoch: of fitting; inf where it is not reached.
    """

    train: Float[np.ndarray, " replicas"]
    test: Float[np.ndarray, " replicas"]
    epoch: Float[np.ndarray, " replicas"]


class FitRow(NamedTuple):
    """One network.

    Attributes:
        title: names it and its images.
        curves: corruption -> labelled arrays of a run, without regularisers.
        shares: share of random labels -> how they were fitted, in order.
        regularised: (corruption, regulariser) -> likewise, of true and of random labels.
    """

    title: str
    curves: Mapping[str, xr.Dataset]
    shares: Mapping[float, Fit]
    regularised: Mapping[tuple[str, str], Fit]


@style()
def memorising_figure(rows: Sequence[FitRow]) -> Figure:
    """Draw a row of four panels a network.

    Args:
        rows: the networks.

    Returns:
        Training accuracy against the epoch, means over networks with their 95 % intervals; the epoch at which each
        network fits, and its test error, against the share of random labels, those that do not fit left out; the plane
        of the hidden layers from true (full line) and from random labels (dashed), means over networks, the mark at
        the end; and the accuracy on training and test images of every network without and with regularisers.
    """
    figure = new_figure(14.0, 1.2 + 3.5 * len(rows))
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        counts = sorted({int(surviving(run).sizes["replica"]) for run in row.curves.values()})
        many = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
        part.suptitle(f"{row.title} · {many} networks each", x=0.01, ha="left", fontsize=10)
        curves, times, plane, bars = part.subplots(1, 4, width_ratios=(1.1, 1, 1, 1.1))
        _curves(curves, row.curves)
        _times(times, row.shares)
        _plane(plane, row.curves)
        _bars(bars, row.regularised)
    return figure


def _curves(axes: Axes, curves: Mapping[str, xr.Dataset]) -> None:
    last = 1
    for corruption, run in curves.items():
        words, color, line = LOOKS[corruption]
        mean, half = (part.values for part in mean_interval(surviving(run)["train_accuracy"]))
        epochs = surviving(run)["epoch"].values
        axes.plot(epochs, mean, color=color, ls=line, lw=1.6, label=words)
        axes.fill_between(epochs, mean - half, mean + half, color=color, alpha=0.15, lw=0)
        last = max(last, int(epochs[-1]))
    epoch_axis(axes, last)
    axes.set(ylim=(0, 1.03), ylabel="training accuracy")
    axes.grid(alpha=0.25, lw=0.6)
    axes.legend(loc="lower right")


def _times(axes: Axes, shares: Mapping[float, Fit]) -> None:
    error = axes.twinx()
    error.spines["right"].set_visible(True)
    for place, (part, fit) in enumerate(shares.items()):
        fitted = fit.epoch[np.isfinite(fit.epoch)]
        wide = np.linspace(-0.012, 0.012, len(fitted)) if len(fitted) > 1 else np.zeros(len(fitted))
        axes.plot(part + wide, fitted, "o", color=TRAIN_COLOR, ms=5, mec="white", mew=0.5)
        if len(fitted) < len(fit.epoch):
            axes.annotate(f"{len(fit.epoch) - len(fitted)} do not", (part, 1), xycoords=("data", "axes fraction"),
                          ha="center", va="top", fontsize=8, color=TRAIN_COLOR)  # fmt: skip
        error.plot(np.full(len(fit.test), part), 1 - fit.test, "^", color=TEST_COLOR, ms=5, mec="white", mew=0.5)
        if place == 0:
            axes.plot([], [], "o", color=TRAIN_COLOR, label="epoch of fitting")
            axes.plot([], [], "^", color=TEST_COLOR, label="test error")
    axes.set(xlim=(-0.06, 1.06), ylim=(0, None), xlabel="share of random labels")
    axes.set_ylabel("epoch with 0.99 of the training images right", color=TRAIN_COLOR)
    error.set_ylim(0, 1.03)
    error.set_ylabel("test error", color=TEST_COLOR)
    axes.grid(alpha=0.25, lw=0.6)


def _plane(axes: Axes, curves: Mapping[str, xr.Dataset]) -> None:
    handles: list[Line2D] = []
    for corruption in ("none", "random_labels"):
        if corruption not in curves:
            continue
        run, (words, _, line) = curves[corruption], LOOKS[corruption]
        path = mean_path(run, 0)
        hidden = range(run.sizes["layer"] - 1)
        for layer in hidden:
            color, marker = layer_look(layer)
            x, y = (path[name].values[:, layer] for name in ("complexity", "relevance"))
            axes.plot(x, y, color=color, ls=line, lw=1.4)
            axes.plot(x[-1], y[-1], marker, color=color, ms=7, mec="white")
        if not handles:
            handles = [Line2D([], [], color=layer_look(n)[0], label=layer_label(run, n)) for n in hidden]
        handles.append(Line2D([], [], color="black", ls=line, label=words))
    axes.set(xlabel="I(X;T) of the noisy layer (bits)", ylabel="I(T;Y) (bits)")
    axes.grid(alpha=0.25, lw=0.6)
    if len(handles) < 8:
        axes.legend(handles=handles, loc="best")


def _bars(axes: Axes, regularised: Mapping[tuple[str, str], Fit]) -> None:
    names = []
    for place, ((corruption, regulariser), fit) in enumerate(regularised.items()):
        for values, color, marker, aside in ((fit.train, TRAIN_COLOR, "o", -0.12), (fit.test, TEST_COLOR, "^", 0.12)):
            wide = np.linspace(-0.06, 0.06, len(values)) if len(values) > 1 else np.zeros(len(values))
            axes.plot(place + aside + wide, values, marker, color=color, ms=5, mec="white", mew=0.5)
        words = LOOKS[corruption][0]
        names.append(words if regulariser == "none" else f"{words},\n{regulariser.replace('_', ' ')}")
    axes.plot([], [], "o", color=TRAIN_COLOR, label="training images")
    axes.plot([], [], "^", color=TEST_COLOR, label="test images")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axes.set(ylim=(0, 1.03), xlim=(-0.5, len(names) - 0.5), ylabel="share that is right at the end")
    axes.grid(alpha=0.25, lw=0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
