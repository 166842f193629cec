"""The information plane: paths of the layers over the epochs, and the whole ensemble at a few of them."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from ibjax.plane.summary import mean_path, measured_bits, violations
from ibjax.plotting.style import (
    EPOCH_COLORS,
    PLANE_INCHES,
    VIOLATION_COLOR,
    epoch_axis,
    epoch_norm,
    format_epochs,
    frame_plane,
    header,
    layer_label,
    layer_look,
    legend_columns,
    new_figure,
    style,
)


@style()
def information_plane(plane: xr.Dataset, *, estimator: int | str = 0, axes: Axes | None = None) -> Axes:
    """Draw each layer's mean path through the information plane, coloured by epoch, over all replicas' dots.

    The colour of a layer's line, and the shape of the hollow marker where it starts and of the full one where
    it ends, tell it from the others; the dots on the line are the snapshots, coloured by epoch. Red rings
    mark means that break the data-processing inequality, see `ibjax.plane.summary.violations`; the legend
    counts them, also when there are none.

    Args:
        plane: A run's labelled arrays, informations in nats.
        estimator: Position in the run, or convention string, of the estimator to show.
        axes: Where to draw; a new figure by default.

    Returns:
        The axes, in bits; ``axes.figure.savefig(path)`` writes them.

    Raises:
        InputError: The run has no such estimator, or no replica survived.
    """
    bits, path, broken = (make(plane, estimator) for make in (measured_bits, mean_path, violations))
    if axes is None:
        axes = new_figure(*PLANE_INCHES).add_subplot()
    epochs, last = path["epoch"].values, int(path["epoch"][-1])
    colors = {"cmap": EPOCH_COLORS, "norm": epoch_norm(last)}

    if bits.sizes["replica"] > 1:
        cloud = bits["complexity"]
        axes.scatter(
            cloud.values.ravel(),
            bits["relevance"].values.ravel(),
            c=np.broadcast_to(epochs[:, None], cloud.shape).ravel(),
            s=5,
            alpha=float(np.clip(2500 / cloud.size, 0.07, 0.35)),
            linewidths=0,
            zorder=1,
            rasterized=True,
            **colors,
        )
    for layer in range(path.sizes["layer"]):
        color, marker = layer_look(layer)
        x, y = path["complexity"].values[:, layer], path["relevance"].values[:, layer]
        axes.plot(x, y, color=color, lw=3.2, solid_joinstyle="round", zorder=2)
        axes.scatter(x, y, c=epochs, s=4, linewidths=0, zorder=3, **colors)
        end = {"marker": marker, "zorder": 5, "linewidths": 1.2}
        axes.scatter(x[0], y[0], s=30, facecolors="white", edgecolors=color, **end)
        label = layer_label(plane, layer)
        axes.scatter(x[-1], y[-1], s=90, color=color, edgecolors="white", label=label, **end)
    wrong = (broken["complexity"] | broken["relevance"]).values
    snapshot, _ = np.nonzero(wrong)
    axes.scatter(
        path["complexity"].values[wrong],
        path["relevance"].values[wrong],
        s=np.where(snapshot == epochs.size - 1, 170, 30),
        facecolors="none",
        edgecolors=VIOLATION_COLOR,
        linewidths=0.7,
        zorder=6,
    )

    frame_plane(axes, plane, bits)
    axes.set_title(header(plane, estimator), loc="left", fontsize=10)
    bar = axes.figure.colorbar(ScalarMappable(**colors), ax=axes, label="epoch", pad=0.02)
    format_epochs(bar.ax.yaxis, last)
    handles, labels = axes.get_legend_handles_labels()
    handles.append(Line2D([], [], ls="", marker="o", mfc="none", mec=VIOLATION_COLOR))
    labels.append(f"data-processing violations: {wrong.sum()} of {wrong.size}")
    below = axes.transAxes + ScaledTranslation(0, -0.5, axes.figure.dpi_scale_trans)  # inches
    axes.legend(
        handles,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=below,
        ncols=3,
        handletextpad=0.2,
        columnspacing=1.2,
    )
    return axes


def snapshots_to_show(epochs: np.ndarray, wanted: Sequence[int] | None = None) -> list[int]:
    """Return positions of the measured epochs nearest to the wanted ones, in order and without repetition.

    Args:
        epochs: The measured epochs, ascending.
        wanted: Epochs; by default the first, one on the way and the last. The one on the way is 400, where
            Shwartz-Ziv & Tishby 2017 stop, or the square root of the last epoch in runs too short for it.

    Example:
        >>> snapshots_to_show(np.array([0, 1, 10, 100, 380, 1000, 10000]))
        [0, 4, 6]
    """
    if wanted is None:
        last = int(epochs[-1])
        wanted = [0, 400 if last > 800 else round(last**0.5), last]
    return sorted({int(np.abs(epochs - epoch).argmin()) for epoch in wanted})


@style()
def snapshot_panel(plane: xr.Dataset, *, epochs: Sequence[int] | None = None, estimator: int | str = 0) -> Figure:
    """Draw every replica and layer in the information plane at a few epochs, side by side on the same axes.

    Args:
        plane: A run's labelled arrays, informations in nats.
        epochs: Epochs to show, each replaced by the nearest measured one; see `snapshots_to_show`.
        estimator: Position in the run, or convention string, of the estimator to show.

    Returns:
        A figure with one panel an epoch, in bits.

    Raises:
        InputError: The run has no such estimator, or no replica survived.
    """
    bits = measured_bits(plane, estimator)
    measured = bits["epoch"].values
    shown = snapshots_to_show(measured, epochs)
    figure = new_figure(1.2 + 3.3 * len(shown), 4.2)
    panels = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, snapshot in zip(panels, shown, strict=True):
        _snapshot(axes, plane, bits, snapshot)
        axes.label_outer()
    figure.suptitle(header(plane, estimator, width=45 * len(shown)), x=0.01, ha="left", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    columns = legend_columns(len(labels), at_most=2 + 2 * len(shown))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handletextpad=0.2)
    return figure


def _snapshot(axes: Axes, plane: xr.Dataset, bits: xr.Dataset, snapshot: int) -> None:
    """Draw every replica and layer at one snapshot."""
    for layer in range(bits.sizes["layer"]):
        color, marker = layer_look(layer)
        at = bits.isel(snapshot=snapshot, layer=layer)
        axes.scatter(
            at["complexity"].values,
            at["relevance"].values,
            color=color,
            marker=marker,
            s=22,
            alpha=0.75,
            edgecolors="white",
            linewidths=0.4,
            label=layer_label(plane, layer),
        )
    frame_plane(axes, plane, bits)
    axes.set_title(f"epoch {int(bits['epoch'].values[snapshot]):,}", fontsize=10)


@style()
def plane_figure(plane: xr.Dataset, peaks: Float[np.ndarray, "replicas layers"], *, estimator: int | str = 0) -> Figure:
    """Draw the plane as the study's figure has it, and beside it what claims are judged by: paths over the epochs.

    Args:
        plane: A run's labelled arrays, informations in nats.
        peaks: Epoch at which I(X;T) peaks, of the replicas that survived, NaN where it has no peak; see
            `ibjax.plane.phases`.
        estimator: Position in the run, or convention string, of the estimator to show.

    Returns:
        Above, every replica and layer in the plane at the start, on the way and at the end, see `snapshots_to_show`.
        Below, I(X;T) and I(T;Y) of every layer in bits against the epoch: the mean over replicas and the range that
        holds the middle nine tenths of them. Marks stand at the median peak of layers of which most have one, and the
        last panel says of how many replicas each layer has.

    Raises:
        InputError: The run has no such estimator, or no replica survived.
    """
    bits = measured_bits(plane, estimator).transpose("replica", "layer", "snapshot")
    epochs = bits["epoch"].values
    shown = snapshots_to_show(epochs)
    figure = new_figure(1.2 + 3.3 * max(len(shown), 3), 7.6)
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    tops = above.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, snapshot in zip(tops, shown, strict=True):
        _snapshot(axes, plane, bits, snapshot)
        axes.label_outer()
    rising, telling, counts = below.subplots(1, 3, width_ratios=(3, 3, 2))
    found = np.isfinite(peaks)
    for axes, name, text in ((rising, "complexity", "I(X;T) (bits)"), (telling, "relevance", "I(T;Y) (bits)")):
        for layer in range(bits.sizes["layer"]):
            color, marker = layer_look(layer)
            paths = bits[name].isel(layer=layer).values
            mean = paths.mean(axis=0)
            axes.plot(epochs, mean, color=color, lw=1.5)
            axes.fill_between(epochs, *np.quantile(paths, (0.05, 0.95), axis=0), color=color, alpha=0.15, lw=0)
            if found[:, layer].mean() > 0.5:
                at = np.median(peaks[found[:, layer], layer])
                axes.plot(at, np.interp(at, epochs, mean), marker, color=color, ms=8, mec="white", zorder=5)
        epoch_axis(axes, int(epochs[-1]))
        axes.set(ylabel=text, ylim=(0, None))
        axes.grid(alpha=0.25, lw=0.6)
    places = np.arange(bits.sizes["layer"])
    counts.bar(places, found.mean(axis=0), color=[layer_look(n)[0] for n in range(places.size)])
    counts.set(ylim=(0, 1), ylabel="share with a peak of I(X;T)")
    counts.set_xticks(
        places, [layer_label(plane, n).split(" ")[0] for n in range(places.size)], rotation=45, ha="right"
    )
    figure.suptitle(header(plane, estimator, width=120), x=0.01, ha="left", fontsize=10)
    handles, labels = tops[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=legend_columns(len(labels), at_most=8))
    return figure
