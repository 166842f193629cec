"""I(X;T) of networks with different activations, and what saturation has to do with it."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane.summary import mean_interval, mean_path, surviving
from ibjax.plotting.style import CEILING_COLOR, epoch_axis, header, layer_label, layer_look, new_figure, style

_STYLES = ("-", "--", ":", "-.")


def layer_curves(axes: Axes, epochs: np.ndarray, mean: np.ndarray, half: np.ndarray) -> None:
    """Draw a line a layer against the epoch with its band.

    Args:
        axes: where.
        epochs: of the snapshots.
        mean: shape (snapshots, layers).
        half: half widths of the bands; NaN for none.
    """
    for layer in range(mean.shape[1]):
        color = layer_look(layer)[0]
        axes.plot(epochs, mean[:, layer], color=color, lw=1.5)
        if np.isfinite(half[:, layer]).any():
            band = mean[:, layer] - half[:, layer], mean[:, layer] + half[:, layer]
            axes.fill_between(epochs, *band, color=color, alpha=0.2, lw=0)
    epoch_axis(axes, int(epochs[-1]))
    axes.grid(alpha=0.25, lw=0.6)


def complexity_panel(axes: Axes, run: xr.Dataset, estimator: int | str) -> None:
    """Draw the mean I(X;T) of the hidden layers in bits with its band, below the ceiling H(X).

    Args:
        axes: where.
        run: labelled arrays of a run.
        estimator: whose.
    """
    path = mean_path(run, estimator)
    parts = (path[name].values[:, :-1] for name in ("complexity", "complexity_half_width"))
    layer_curves(axes, path["epoch"].values, *parts)
    ceiling = float(run.attrs["entropy_x"]) / np.log(2)
    axes.axhline(ceiling, color=CEILING_COLOR, lw=0.8, ls="--", zorder=0)
    axes.set_ylim(0, 1.06 * ceiling)


@style()
def activation_figure(
    activations: Mapping[str, xr.Dataset],
    scales: Mapping[float, xr.Dataset],
    second: Mapping[str, np.ndarray] | None,
    estimator: int | str,
) -> Figure:
    """Draw what each activation does to I(X;T), by which estimators tanh compresses, and how it saturates.

    Args:
        activations: name -> labelled arrays of a run.
        scales: scale of the initial weights -> the run of tanh with it.
        second: ``speed``, ``share`` and ``gradient`` of the second phase of tanh, one value a replica; None where they
            are not known.
        estimator: convention that activations are compared by.

    Returns:
        Three rows of panels. Above, I(X;T) of every activation by that estimator; then I(X;T) of tanh by the
        others; below, of tanh, the saturated share, the norm of the weights, I(X;T) at every scale of the initial
        weights, mean over hidden layers, and the speed of the second phase against the saturated share and against
        the gradients. Means over replicas, bands their 95 % intervals.
    """
    tanh = activations.get("tanh")
    first = next(iter(activations.values()))
    others = [] if tanh is None else [name for name in tanh["estimator"].values.tolist() if name != estimator]
    columns = max(len(activations), len(others), 1 if tanh is None else 5)
    rows = 1 if tanh is None else 3
    figure = new_figure(1.0 + 2.55 * columns, 1.5 + 2.45 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.ravel():
        axes.set_visible(False)
    for axes, (name, run) in zip(panels[0], activations.items(), strict=False):
        axes.set_visible(True)
        complexity_panel(axes, run, estimator)
        axes.set_title(name, fontsize=10)
    panels[0, 0].set_ylabel("I(X;T) (bits)")
    if tanh is not None:
        for axes, name in zip(panels[1], others, strict=False):
            axes.set_visible(True)
            complexity_panel(axes, tanh, name)
            axes.set_title(f"tanh, {name.removeprefix('binning:')}", fontsize=9)
        panels[1, 0].set_ylabel("I(X;T) (bits)")
        _saturation_row(panels[2], tanh, scales, second, estimator)
    hidden = range(first.sizes["layer"] - 1)
    handles = [Line2D([], [], color=layer_look(n)[0], label=layer_label(first, n)) for n in hidden]
    handles.append(Line2D([], [], color=CEILING_COLOR, ls="--", lw=0.8, label="H(X)"))
    if tanh is not None:
        handles += [
            Line2D([], [], color="black", ls=_STYLES[n % len(_STYLES)], label=f"initial weights x {scale:g}")
            for n, scale in enumerate(scales)
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    title = header(first.assign_attrs(title=""), estimator, notes=["means and their 95 % intervals"], width=150).strip()
    figure.suptitle(f"12-bit task, networks that differ in the activation\n{title}", x=0.01, ha="left", fontsize=10)
    return figure


def _saturation_row(
    panels: np.ndarray,
    tanh: xr.Dataset,
    scales: Mapping[float, xr.Dataset],
    second: Mapping[str, np.ndarray] | None,
    estimator: int | str,
) -> None:
    kept = surviving(tanh)
    if "saturated_share" in tanh:
        limit = float(tanh["threshold"][0])
        share = kept["saturated_share"].isel(threshold=0, layer=slice(-1))
        _layers(panels[0], share, f"share of |t| > {limit:g}")
        panels[0].set_ylim(0, 1)
    _layers(panels[1], kept["weight_norm"].isel(layer=slice(-1)), "norm of the weights")
    panels[2].set_visible(True)
    for place, run in enumerate(scales.values()):
        path = mean_path(run, estimator)["complexity"].isel(layer=slice(-1)).mean("layer")
        panels[2].plot(path["epoch"].values, path.values, color="black", ls=_STYLES[place % len(_STYLES)], lw=1.5)
    epoch_axis(panels[2], int(tanh["epoch"][-1]))
    panels[2].set_ylabel("mean I(X;T) (bits)")
    panels[2].grid(alpha=0.25, lw=0.6)
    if second is None:
        return
    for axes, name, text in (
        (panels[3], "share", "saturated share after peak"),
        (panels[4], "gradient", "gradient norm after peak"),
    ):
        axes.set_visible(True)
        axes.plot(second[name], second["speed"], "o", color="#0072B2", ms=5, mec="white", mew=0.5)
        axes.set(xlabel=text, ylabel="fall (bits a decade)")
        axes.grid(alpha=0.25, lw=0.6)


def _layers(axes: Axes, values: xr.DataArray, text: str) -> None:
    axes.set_visible(True)
    mean, half = (part.transpose("snapshot", "layer").values for part in mean_interval(values))
    layer_curves(axes, values["epoch"].values, mean, half)
    axes.set_ylabel(text)
