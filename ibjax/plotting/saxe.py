"""Batches against the full batch, and kernel bounds with several noise variances."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ibjax.plane.summary import gradient_curves, mean_interval, mean_path, surviving
from ibjax.plotting.activations import complexity_panel, layer_curves
from ibjax.plotting.style import (
    CEILING_COLOR,
    epoch_axis,
    header,
    layer_label,
    layer_look,
    new_figure,
    style,
)

_BOUNDS = {"upper": "-", "lower": "--"}


@style()
def batch_gradient_figure(runs: Mapping[tuple[str, int | None], xr.Dataset], estimator: int | str) -> Figure:
    """Draw a row a network and batch size: I(X;T), the gradients' signal-to-noise ratio, and the losses.

    Args:
        runs: (activation, samples a step, None for all) -> labelled arrays of a run.
        estimator: convention of what I(X;T) is measured by.

    Returns:
        Means over replicas, bands their 95 % intervals; the signal-to-noise ratio is a geometric mean.
    """
    first = next(iter(runs.values()))
    figure = new_figure(10.0, 1.2 + 1.9 * len(runs))
    panels = figure.subplots(len(runs), 3, sharex=True, sharey="col", squeeze=False)
    for row, ((activation, size), run) in zip(panels, runs.items(), strict=True):
        complexity_panel(row[0], run, estimator)
        row[0].set_title(f"{activation}, {'full batch' if size is None else f'batches of {size}'}", fontsize=10)
        row[0].set_ylabel("I(X;T) (bits)")
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = xr.ufuncs.log(gradient_curves(run)["snr"].isel(layer=slice(-1)))
        signal = np.exp(logs.mean("replica", skipna=False).transpose("snapshot", "layer").values)
        layer_curves(row[1], surviving(run)["epoch"].values, signal, np.full(signal.shape, np.nan))
        row[1].set(yscale="log", ylabel="SNR of the gradients")
        for name, look in (("train_loss", "-"), ("test_loss", ":")):
            mean, half = mean_interval(surviving(run)[name])
            row[2].plot(mean["epoch"].values, mean.values, color="black", ls=look, lw=1.5)
            band = (mean - half).values, (mean + half).values
            row[2].fill_between(mean["epoch"].values, *band, color="black", alpha=0.2, lw=0)
        epoch_axis(row[2], int(run["epoch"][-1]))
        row[2].set(ylim=(0, None), ylabel="cross-entropy (nats)")
        row[2].grid(alpha=0.25, lw=0.6)
    for axes in panels[:-1].ravel():
        axes.set_xlabel("")
    hidden = range(first.sizes["layer"] - 1)
    handles = [Line2D([], [], color=layer_look(n)[0], label=layer_label(first, n)) for n in hidden]
    handles += [
        Line2D([], [], color=CEILING_COLOR, ls="--", lw=0.8, label="H(X)"),
        Line2D([], [], color="black", label="training loss"),
        Line2D([], [], color="black", ls=":", label="test loss"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2)
    title = header(first.assign_attrs(title=""), estimator, notes=["means and their 95 % intervals"], width=110).strip()
    figure.suptitle(f"12-bit task, batches against the full batch\n{title}", x=0.01, ha="left", fontsize=10)
    return figure


@style()
def noise_figure(runs: Mapping[str, xr.Dataset], bounds: Mapping[float, Mapping[str, str]]) -> Figure:
    """Draw I(X;T) against the epoch: a row an activation, a column a noise variance.

    Args:
        runs: activation -> labelled arrays of a run.
        bounds: noise variance -> ``upper`` and ``lower`` -> the estimator's convention.

    Returns:
        Solid lines are upper bounds, dashed ones lower bounds, means over replicas; bands are the 95 % intervals of the
        upper ones. The dashed grey line is the ceiling ln n; bounds at it say only that the noise is small.
    """
    first = next(iter(runs.values()))
    figure = new_figure(1.2 + 2.5 * max(len(bounds), 1), 1.3 + 2.4 * len(runs))
    panels = figure.subplots(len(runs), max(len(bounds), 1), sharex=True, sharey=True, squeeze=False)
    ceiling = np.log2(float(first.attrs["samples"]))
    for row, (activation, run) in zip(panels, runs.items(), strict=True):
        for axes, (variance, names) in zip(row, bounds.items(), strict=False):
            for bound, name in names.items():
                path = mean_path(run, name)
                mean, half = (path[key].values[:, :-1] for key in ("complexity", "complexity_half_width"))
                if bound == "upper":
                    layer_curves(axes, path["epoch"].values, mean, half)
                    continue
                for layer in range(mean.shape[1]):
                    axes.plot(path["epoch"].values, mean[:, layer], color=layer_look(layer)[0], ls="--", lw=1)
            axes.axhline(ceiling, color=CEILING_COLOR, lw=0.8, ls=":", zorder=0)
            axes.set_title(f"{activation}, noise variance {variance:g}", fontsize=9)
            epoch_axis(axes, int(run["epoch"][-1]))
            axes.set_ylim(0, 1.06 * ceiling)
        row[0].set_ylabel("I(X;T) (bits)")
    for axes in panels[:-1].ravel():
        axes.set_xlabel("")
    hidden = range(first.sizes["layer"] - 1)
    handles = [Line2D([], [], color=layer_look(n)[0], label=layer_label(first, n)) for n in hidden]
    handles += [Line2D([], [], color="black", ls=look, label=f"{name} bound") for name, look in _BOUNDS.items()]
    handles.append(Line2D([], [], color=CEILING_COLOR, ls=":", lw=0.8, label="log₂ n"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2)
    title = header(
        first.assign_attrs(title=""), notes=[f"{int(first.attrs['samples']):,} images measured", "means"], width=110
    )
    figure.suptitle(
        f"{first.attrs['title'].split(',')[0]}, I(X;T) of noisy layers\n{title.strip()}", x=0.01, ha="left", fontsize=10
    )
    return figure
