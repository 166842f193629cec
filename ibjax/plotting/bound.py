"""Layers against the information curve of their task: where they end, their betas, and the bounds on their errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ibjax.plane.summary import BITS_PER_NAT
from ibjax.plotting.bottleneck import BEYOND_COLOR, CURVE_COLOR, TRANSITION_LOOK
from ibjax.plotting.style import CEILING_COLOR, layer_label, layer_look, legend_columns, new_figure, style

BETA_LOOKS = {
    "beta_complexity": ("at equal I(X;T)", "#882255", "s", -0.22),
    "beta_relevance": ("at equal I(T;Y)", "#000000", "o", 0.0),
    "beta_one_step": ("one-step encoder", "#009E73", "^", 0.22),
}
"""Words, colour, marker and place beside the layer of each definition of beta."""
CENSORED = 160.0
"""Where betas are drawn that are beyond the largest, 100."""
POINT_COLOR = "#000000"
MARK: dict[str, Any] = {"mec": "white", "mew": 0.5}

Row = tuple[Mapping[str, Any], xr.Dataset, Mapping[str, np.ndarray], Mapping[str, tuple[np.ndarray, np.ndarray]]]
"""Settings, a run's surviving replicas, errors and informations a replica, and bounds as curves."""


@style()
def bound_figure(rows: Sequence[Row]) -> Figure:
    """Draw what `ibjax.experiments.szt_bound` derives, a row of four panels a setting.

    Args:
        rows: The settings' runs, see `Row`; informations in nats.

    Returns:
        In each row: the information curve with every replica's layers, hard bins hollow and soft ones full; the betas
        of the layers by three definitions, those beyond 100 on a line of their own, with the curve's transitions; the
        held-out error against I(T;Y) of the last hidden layer and the least that Fano's bound allows; and the gap
        between held-out and training error against I(X;T) and the most that the bound allows.
    """
    figure = new_figure(17.0, 4.1 * len(rows) + 1.0)
    panels = figure.subplots(len(rows), 4, squeeze=False)
    for line, (settings, run, learnt, bounds) in zip(panels, rows, strict=True):
        plane, betas, errors, gaps = line
        _plane(plane, run)
        _betas(betas, run)
        _errors(errors, learnt, bounds["least_error"])
        _gaps(gaps, learnt, bounds["gap_bound"])
        plane.set_title(", ".join(f"{name} = {value:g}" for name, value in settings.items()), loc="left", fontsize=11)
    run = rows[0][1]
    looks = [layer_look(n) for n in range(run.sizes["layer"])]
    handles = [
        *(
            Line2D([], [], ls="", color=color, marker=marker, ms=7, label=layer_label(run, n), **MARK)
            for n, (color, marker) in enumerate(looks)
        ),
        Line2D([], [], ls="", color="black", marker="o", mfc="none", ms=7, label="hard bins"),
        Line2D([], [], ls="", color="black", marker="o", ms=7, label="soft bins"),
        Line2D([], [], color=CURVE_COLOR, lw=1.8, label="information curve"),
        Patch(color=BEYOND_COLOR, alpha=0.6, lw=0, label="beyond every encoder"),
        *(
            Line2D([], [], ls="", color=color, marker=marker, ms=7, label=f"β {words}", **MARK)
            for words, color, marker, _ in BETA_LOOKS.values()
        ),
        Line2D([], [], color=TRANSITION_LOOK["continuous"][0], lw=0.8, ls="--", label="transition of the curve"),
        Line2D([], [], color=CEILING_COLOR, lw=1.5, label="bound"),
        Line2D([], [], ls="", color=POINT_COLOR, marker="o", ms=7, label="a network, by its last hidden layer", **MARK),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(len(handles), at_most=8))
    counts = sorted({int(row[1].sizes["replica"]) for row in rows})
    networks = f"{' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} networks each"
    epoch = int(run["epoch"][-1])
    title = f"12-bit task, soft labels, layers {'-'.join(str(int(w)) for w in run['width'])} · {networks}"
    figure.suptitle(f"{title} · epoch {epoch:,}", x=0.01, ha="left", fontsize=11)
    return figure


def _plane(axes: Axes, run: xr.Dataset) -> None:
    rate, lower, upper = (run[f"curve_{name}"].values * BITS_PER_NAT for name in ("complexity", "lower", "upper"))
    x, y = (run[f"encoder_{name}"] * BITS_PER_NAT for name in ("complexity", "relevance"))
    right = max(float(x.max()), float(rate[-1])) * 1.06
    top = max(float(y.max()), float(upper.max())) * 1.1
    ends = np.append(rate, right)
    axes.fill_between(ends, np.append(upper, upper[-1]), top, color=BEYOND_COLOR, alpha=0.6, lw=0, zorder=0)
    axes.plot(ends, np.append(lower, lower[-1]), color=CURVE_COLOR, lw=1.8, zorder=2)
    for layer in range(run.sizes["layer"]):
        color, marker = layer_look(layer)
        hollow: dict[str, Any] = {"mfc": "none", "mec": color, "mew": 1.0}
        for kind, look in enumerate((hollow, MARK)):
            at = {"softness": kind, "layer": layer}
            axes.plot(x.isel(at).values, y.isel(at).values, ls="", color=color, marker=marker, ms=6, zorder=3, **look)
    low = float(y.min())
    axes.set(xlim=(0, right), ylim=(max(low - 0.25 * (top - low), 0.0), top))
    axes.set(xlabel="I(X;T) (bits)", ylabel="I(T;Y) (bits)")


def _betas(axes: Axes, run: xr.Dataset) -> None:
    color = TRANSITION_LOOK["continuous"][0]
    for beta in run["transition_beta"].values:
        if np.isfinite(beta):
            axes.axhline(beta, color=color, lw=0.8, ls="--", zorder=1)
    layers = np.arange(run.sizes["layer"])
    for name, (_, color, marker, aside) in BETA_LOOKS.items():
        values = run[name].isel(softness=1).transpose("replica", "layer").values
        drawn = np.where(np.isinf(values), CENSORED, values)
        spread = np.linspace(-0.07, 0.07, len(drawn)) if len(drawn) > 1 else np.zeros(1)
        for row, shift in zip(drawn, spread, strict=True):
            axes.plot(layers + aside + shift, row, ls="", color=color, marker=marker, ms=5, alpha=0.8, zorder=3, **MARK)
    axes.axhspan(125, 205, color=BEYOND_COLOR, alpha=0.6, lw=0, zorder=0)
    ticks = [1, 3, 10, 30, 100]
    axes.set(yscale="log", ylim=(0.8, 205), xlim=(-0.5, len(layers) - 0.5), ylabel="β of the layer")
    axes.yaxis.set_major_locator(FixedLocator([*ticks, CENSORED]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda beta, _: "> 100" if beta > 100 else f"{beta:g}"))
    axes.set_xticks(layers, [layer_label(run, n).replace(" ", "\n") for n in range(len(layers))])


def _errors(axes: Axes, learnt: Mapping[str, np.ndarray], bound: tuple[np.ndarray, np.ndarray]) -> None:
    told, least = bound[0] * BITS_PER_NAT, bound[1]
    axes.fill_between(told, 0, least, color=BEYOND_COLOR, alpha=0.6, lw=0)
    axes.plot(told, least, color=CEILING_COLOR, lw=1.5)
    axes.plot(learnt["relevance"] * BITS_PER_NAT, learnt["error"], ls="", color=POINT_COLOR, marker="o", ms=6, **MARK)
    most = max(float(np.nanmax(learnt["error"], initial=0.02)), 0.02)
    first = float(np.nanmin(learnt["relevance"], initial=told[-1] / BITS_PER_NAT)) * BITS_PER_NAT
    axes.set(xlim=(max(first - 0.3 * (told[-1] - first) - 0.02, 0.0), told[-1]), ylim=(0, 1.25 * most))
    axes.set(xlabel="I(T;Y) (bits)", ylabel="error on held-out patterns")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.text(0.02, 0.02, "below Fano's bound", transform=axes.transAxes, color=CEILING_COLOR, fontsize=9)


def _gaps(axes: Axes, learnt: Mapping[str, np.ndarray], bound: tuple[np.ndarray, np.ndarray]) -> None:
    kept, most = bound[0] * BITS_PER_NAT, bound[1]
    axes.fill_between(kept, most, 1, color=BEYOND_COLOR, alpha=0.6, lw=0)
    axes.plot(kept, most, color=CEILING_COLOR, lw=1.5)
    axes.axhline(0, color=CEILING_COLOR, lw=0.6)
    axes.plot(learnt["complexity"] * BITS_PER_NAT, learnt["gap"], ls="", color=POINT_COLOR, marker="o", ms=6, **MARK)
    low = min(float(np.nanmin(learnt["gap"], initial=0.0)), 0.0)
    high = max(float(np.nanmax(most)), float(np.nanmax(learnt["gap"], initial=0.02))) * 1.05
    axes.set(xlim=(0, kept[-1]), ylim=(low - 0.05 * (high - low), high))
    axes.set(xlabel="I(X;T) (bits)", ylabel="held-out minus training error")
    axes.text(0.02, 0.95, "beyond the bound", transform=axes.transAxes, color=CEILING_COLOR, fontsize=9, va="top")
