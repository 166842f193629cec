"""The information bottleneck in pictures: the curve and its bounds, the soft clustering, the tree of clusters."""

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ibjax.bottleneck import InformationCurve, Transition
from ibjax.errors import InputError
from ibjax.plane.summary import BITS_PER_NAT
from ibjax.plotting.style import CEILING_COLOR, PLANE_INCHES, layer_look, new_figure, style

CURVE_COLOR, CLUSTER_COLOR, BEYOND_COLOR = "#0072B2", "#0072B2", "#D9D9D9"
TRANSITION_LOOK = {"continuous": ("#D55E00", "o"), "jump": ("#CC79A7", "D")}
"""Colour and marker of each kind of transition."""
VISIBLE = 5e-3
"""Width of the bracket, as a share of the axis, below which it is a line."""
PANELS = 6
"""Most betas whose encoder is shown, unless more are asked for."""
ROOM_ABOVE = 1.14
"""Height of the axes in units of I(X;Y): the region beyond the bound is to be seen as one."""
LINE_OF_TEXT = 0.052
"""Height of a transition's label as a share of the axes."""
FEW, APART, ASIDE = 6, 0.07, 0.7
"""Of more transitions those near the last one, as a share of the axes, have no label; where labels begin at most."""


@style()
def information_curve(
    curve: InformationCurve | xr.Dataset,
    transitions: Sequence[Transition] = (),
    layers: Mapping[str, tuple[Any, Any]] | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw the information curve: the best I(T;Y) at every I(X;T), in bits.

    The line is what solutions attain (dots; time-sharing between them), the band above it reaches up to the bound and
    is drawn where it is wider than a line, and what lies above the bound is grey: no encoder is there. If the gaps
    were searched rather than certified, the legend says so.

    Args:
        curve: an `ibjax.bottleneck.InformationCurve` or its ``to_dataset()``.
        transitions: from `ibjax.bottleneck.transitions`; marked by kind, between the solutions on both sides, and
            labelled with their beta. Those beyond the largest beta are left out. If the betas are far apart, solve near
            transitions too: ``curve.refined([t.beta * side for t in transitions for side in (0.9999, 1.0001)])``.
        layers: name -> (I(X;T), I(T;Y)) in nats, numbers or arrays over epochs, which are drawn as a path that ends at
            the full marker.
        axes: where to draw; a new figure by default.

    Returns:
        The axes, in bits; ``axes.figure.savefig(path)`` writes them.

    Raises:
        InputError: a layer has no pair of finite numbers, or two arrays that differ in length.

    Example:
        >>> from ibjax.bottleneck import curve
        >>> axes = information_curve(curve(np.array([[0.45, 0.05], [0.05, 0.45]]), [1.0, 1.6, 2.0, 4.0, 20.0]))
        >>> axes.get_xlabel(), axes.get_ylabel()
        ('I(X;T) (bits)', 'I(T;Y) (bits)')
    """
    data = _labelled(curve)
    if axes is None:
        axes = new_figure(*PLANE_INCHES).add_subplot()
    rate, lower, upper = (data[name].values * BITS_PER_NAT for name in ("rate", "lower_curve", "upper_curve"))
    paths = {name: _path(name, *pair) for name, pair in (layers or {}).items()}
    information, entropy = (float(data.attrs[name]) * BITS_PER_NAT for name in ("information", "entropy"))
    measured = np.concatenate([np.zeros((2, 1)), *paths.values()], axis=1)
    left, bottom = np.nanmin(measured, axis=1)  # an estimate may be negative
    right, top = np.nanmax(measured, axis=1, initial=0.0)
    right, top = max(entropy, float(right)) * 1.06, max(information, float(top)) * ROOM_ABOVE
    handles: list[Artist] = []

    beyond = np.append(rate, right), np.append(upper, upper[-1])
    axes.fill_between(*beyond, top, color=BEYOND_COLOR, alpha=0.6, lw=0, zorder=0)
    wide = upper - lower > VISIBLE * top
    if wide.any():
        # One place more on each side, so that the band ends in a point.
        wide = wide | np.append(wide[1:], False) | np.insert(wide[:-1], 0, False)
        axes.fill_between(rate, lower, upper, where=wide, color=CURVE_COLOR, alpha=0.25, lw=0, zorder=1)
    axes.plot(np.append(rate, right), np.append(lower, lower[-1]), color=CURVE_COLOR, lw=1.8, zorder=2)
    solved = data["complexity"].values * BITS_PER_NAT, data["relevance"].values * BITS_PER_NAT
    axes.scatter(*solved, s=12, color=CURVE_COLOR, linewidths=0, zorder=3, clip_on=False)
    handles.append(Line2D([], [], color=CURVE_COLOR, lw=1.8, marker="o", ms=3.5, label="attained (dots: solutions)"))
    if wide.any():
        handles.append(Patch(color=CURVE_COLOR, alpha=0.25, lw=0, label="up to the bound"))
    certified = "certified" if data.attrs["gap_kind"] == "certified" else "searched, not proven"
    handles.append(Patch(color=BEYOND_COLOR, alpha=0.6, lw=0, label=f"beyond every encoder ({certified})"))

    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="I(X;T) (bits)", ylabel="I(T;Y) (bits)")
    look = {"color": CEILING_COLOR, "lw": 0.8, "ls": "--", "zorder": 1}
    axes.axhline(information, **look)
    axes.axvline(entropy, **look)
    text = {"color": CEILING_COLOR, "fontsize": 8, "textcoords": "offset points"}
    above = f"I(X;Y) = {information:.3g} bits"
    axes.annotate(above, (left, information), xytext=(4, 3), ha="left", va="bottom", **text)
    beside = f"H(X) = {entropy:.3g} bits, equal p(y|x) merged"
    axes.annotate(beside, (entropy, bottom), xytext=(-2, 4), ha="right", va="bottom", rotation=90, **text)

    handles += _mark_transitions(axes, data, transitions)
    for position, (name, (x, y)) in enumerate(paths.items()):
        color, marker = layer_look(position + 3)  # the first are the curve's and the transitions'
        axes.plot(x, y, color=color, lw=1.2, zorder=4)
        axes.scatter(x[-1], y[-1], s=60, color=color, marker=marker, edgecolors="white", linewidths=0.8, zorder=6)
        handles.append(Line2D([], [], color=color, marker=marker, label=name))
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.3)
    return axes


def _path(name: str, complexity: Any, relevance: Any) -> np.ndarray:
    """A layer's points in bits, shape (2, epochs)."""
    x, y = (np.atleast_1d(np.asarray(values, np.float64)) for values in (complexity, relevance))
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"layer {name} must have a I(X;T) and a I(T;Y) an epoch, got shapes {x.shape} and {y.shape}")
    if not np.isfinite(x + y).any():
        raise InputError(f"layer {name} has no point that is finite: leave it out")
    return np.stack([x, y]) * BITS_PER_NAT


def _mark_transitions(axes: Axes, data: xr.Dataset, transitions: Sequence[Transition]) -> list[Line2D]:
    """Draw each transition and its label, labels one below the other to the right of the curve; return a legend."""
    # Without information at beta = 1, always.
    beta = np.insert(data["beta"].values, 0, min(1.0, float(data["beta"][0])))
    points = np.zeros((2, len(beta)))
    points[:, 1:] = [data[name].values * BITS_PER_NAT for name in ("complexity", "relevance")]
    marks = []
    for one in sorted(transitions):
        after = int(np.searchsorted(beta, one.beta))
        if not 0 < after < len(beta):
            continue
        ends = points[:, after - 1 : after + 1].T
        if one.kind == "continuous":
            # One cluster knows nothing, up to the transition.
            share = 0.0 if one.before == 1 else (one.beta - beta[after - 1]) / (beta[after] - beta[after - 1])
            ends = (1 - share) * ends[:1] + share * ends[1:]
        marks.append((one, ends))
    to_share = axes.transData + axes.transAxes.inverted()
    labelled, last = set(), -math.inf
    for one, ends in marks:
        across, _ = to_share.transform(ends.mean(axis=0))
        if len(marks) <= FEW or across - last >= APART:
            labelled.add(one)
            last = across
    ceiling = math.inf
    for one, ends in reversed(marks):
        color, marker = TRANSITION_LOOK[one.kind]
        axes.plot(*ends.T, color=color, marker=marker, ms=6, mec="white", mew=0.6, lw=2.5, zorder=5, clip_on=False)
        if one not in labelled:
            continue
        middle = ends.mean(axis=0)
        across, up = to_share.transform(middle)
        below = max(min(up - 0.09, ceiling - LINE_OF_TEXT), 0.02)
        if below > ceiling - LINE_OF_TEXT:  # no room for more labels
            continue
        ceiling = below
        beside = across + 0.05 <= ASIDE  # else the point is above its label, and a line from the side would cross it
        axes.annotate(
            f"β = {one.beta:.4g}, {one.before} → {one.after} clusters",
            tuple(middle),
            xytext=(min(across + 0.05, ASIDE), below),
            textcoords="axes fraction",
            color=color,
            fontsize=8,
            va="center",
            bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.8, "lw": 0},  # over layers' paths
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 0.6,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0, 0.5) if beside else (0.5, 1),
            },
            zorder=7,
        )
    kinds = collections.Counter(one.kind for one, _ in marks)
    return [
        Line2D([], [], ls="", color=color, marker=marker, mec="white", ms=7, label=_counted(kinds[kind], kind))
        for kind, (color, marker) in TRANSITION_LOOK.items()
        if kind in kinds
    ]


def _counted(count: int, kind: str) -> str:
    return f"{kind} transition" if count == 1 else f"{count} {kind} transitions"


@style()
def encoder_heatmap(curve: InformationCurve | xr.Dataset, betas: Sequence[float] | None = None) -> Figure:
    """Draw the soft clustering p(t|x) at a few betas, one panel each.

    Rows are the distinct inputs, clusters the columns, both in the order of ``position``: p(y=1|x) and p(y=1|t) for two
    labels, the first principal coordinate of p(y|x) for more.

    Args:
        curve: an `ibjax.bottleneck.InformationCurve` or its ``to_dataset()``.
        betas: which to show, each replaced by the nearest that was solved. By default up to six, spread evenly over the
            complexity.

    Returns:
        A figure.

    Raises:
        InputError: the dataset has no encoder, because it was too large.

    Example:
        >>> from ibjax.bottleneck import curve
        >>> found = curve(np.array([[0.45, 0.05], [0.05, 0.45]]), [1.0, 1.6, 2.0, 4.0])
        >>> encoder_heatmap(found, betas=[2.0]).axes[0].get_title().splitlines()
        ['β = 2', 'I(X;T) = 0.70 bits']
    """
    data = _labelled(curve)
    if "encoder" not in data:
        raise InputError("the dataset has no encoder, it would have been too large: solve at fewer betas")
    shown = _betas_to_show(data, betas)
    inputs = data["input_position"].values
    order = np.argsort(inputs, kind="stable")
    figure = new_figure(1.9 + 1.7 * len(shown), 4.4)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    colors = {"cmap": "Blues", "norm": Normalize(0.0, 1.0)}
    for axes, i in zip(panels, shown, strict=True):
        at = data.isel(beta=i)
        count = int(at["clusters"])
        axes.imshow(
            at["encoder"].values[order, :count],
            aspect="auto",
            origin="lower",
            interpolation="nearest",
            extent=(-0.5, count - 0.5, -0.5, len(order) - 0.5),
            **colors,
        )
        beta, complexity = float(at["beta"]), float(at["complexity"]) * BITS_PER_NAT
        axes.set_title(f"β = {beta:.4g}\nI(X;T) = {complexity:.2f} bits", fontsize=9)
        ticks = np.unique(np.linspace(0, count - 1, min(count, 4)).round().astype(int))
        axes.set_xticks(ticks, [f"{at['position'].values[t]:.2g}" for t in ticks], rotation=90, fontsize=8)
        for side in ("right", "top"):
            axes.spines[side].set_visible(True)
    rows = np.unique(np.linspace(0, len(order) - 1, min(len(order), 7)).round().astype(int))
    panels[0].set_yticks(rows, [f"{inputs[order[row]]:.2g}" for row in rows], fontsize=8)
    label = "p(y=1|{})" if data.attrs["position"] == "p(y=1)" else "principal coordinate of p(y|{})"
    panels[0].set_ylabel(f"inputs, by {label.format('x')}")
    figure.supxlabel(f"clusters, by {label.format('t')}", fontsize=10)
    figure.colorbar(ScalarMappable(**colors), ax=panels, label="p(t|x)", pad=0.02)
    return figure


def _betas_to_show(data: xr.Dataset, betas: Sequence[float] | None) -> list[int]:
    """Places of the solutions nearest to the betas, or to complexities evenly up to the largest."""
    if betas is not None:
        return sorted({int(abs(data["beta"].values - wanted).argmin()) for wanted in betas})
    places = np.flatnonzero(data["clusters"].values > 1)
    if not len(places):
        return [data.sizes["beta"] - 1]
    complexity = data["complexity"].values[places]
    step, shown = complexity.max() / PANELS, []
    for wanted in step * np.arange(1, PANELS + 1):
        nearest = int(abs(complexity - wanted).argmin())
        if not shown or complexity[nearest] - complexity[shown[-1]] > step / 4:
            shown.append(nearest)
    return places[shown].tolist()


@style()
def cluster_tree(
    curve: InformationCurve | xr.Dataset, transitions: Sequence[Transition] = (), axes: Axes | None = None
) -> Axes:
    """Draw the clusters' places against beta: the tree of their splits.

    A dot is a cluster, its area is p(t), and its line comes from the cluster with the nearest p(y|t) at the beta
    before. The place is p(y=1|t) for two labels and the first principal coordinate for more; small ticks at the right
    are the inputs' own, where the clusters go.

    Args:
        curve: an `ibjax.bottleneck.InformationCurve` or its ``to_dataset()``.
        transitions: drawn as vertical lines.
        axes: where to draw; a new figure by default.

    Returns:
        The axes.

    Example:
        >>> from ibjax.bottleneck import curve
        >>> axes = cluster_tree(curve(np.array([[0.45, 0.05], [0.05, 0.45]]), [1.0, 1.6, 2.0, 4.0, 20.0]))
        >>> axes.get_ylabel()
        'p(y=1|t)'
    """
    data = _labelled(curve)
    if axes is None:
        axes = new_figure(*PLANE_INCHES).add_subplot()
    beta, place, weight = (data[name].values for name in ("beta", "position", "marginal"))
    step, cluster = np.nonzero(data["parent"].values >= 0)
    parent = data["parent"].values[step, cluster]
    starts = np.stack([beta[step - 1], place[step - 1, parent]], axis=1)
    ends = np.stack([beta[step], place[step, cluster]], axis=1)
    width = 0.5 + 5.0 * np.minimum(weight[step, cluster], weight[step - 1, parent])
    axes.add_collection(
        LineCollection(
            list(np.stack([starts, ends], axis=1)), colors=CLUSTER_COLOR, linewidths=width, alpha=0.45, zorder=2
        )
    )
    step, cluster = np.nonzero(weight > 0)
    area = 3.0 + 90.0 * weight[step, cluster]
    axes.scatter(beta[step], place[step, cluster], s=area, color=CLUSTER_COLOR, linewidths=0, zorder=3)
    inputs = data["input_position"].values
    spread = max(float(np.ptp(inputs)), 1e-9)
    axes.set_ylim(inputs.min() - 0.05 * spread, inputs.max() + 0.05 * spread)
    axes.set_xscale("log")
    axes.set_xlim(beta[0] / 1.03, beta[-1] * 1.06)
    axes.plot(np.ones_like(inputs), inputs, ls="", marker=0, ms=7, color="black", mew=0.8, zorder=4, clip_on=False,
              transform=axes.get_yaxis_transform())  # fmt: skip
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("β")
    axes.set_ylabel("p(y=1|t)" if data.attrs["position"] == "p(y=1)" else "first principal coordinate of p(y|t)")
    handles = [
        Line2D([], [], ls="", marker="o", color=CLUSTER_COLOR, mew=0, ms=7, label="cluster, area p(t)"),
        Line2D([], [], ls="", marker=0, color="black", ms=7, label="inputs"),
    ]
    for kind, (color, _) in TRANSITION_LOOK.items():
        at = [one.beta for one in transitions if one.kind == kind and beta[0] <= one.beta <= beta[-1]]
        for value in at:
            axes.axvline(value, color=color, lw=0.9, ls="--" if kind == "continuous" else "-", zorder=1)
        if at:
            look = {"color": color, "lw": 0.9, "ls": "--" if kind == "continuous" else "-"}
            handles.append(Line2D([], [], **look, label=f"{kind} transition"))
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(handles), borderaxespad=0.3)
    return axes


def save_curve(
    curve: InformationCurve | xr.Dataset,
    folder: str | Path,
    *,
    transitions: Sequence[Transition] = (),
    progress: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write ``curve``, ``tree`` and ``encoder``, each as PNG (200 dots an inch) and SVG.

    Args:
        curve: an `ibjax.bottleneck.InformationCurve` or its ``to_dataset()``.
        folder: where to write; made if missing.
        transitions: see `information_curve`.
        progress: called with the path of each file once it is written.

    Returns:
        The paths written; without ``encoder`` if the dataset has none.
    """
    data = _labelled(curve)
    figures: dict[str, Callable[[], Any]] = {
        "curve": lambda: information_curve(data, transitions).figure,
        "tree": lambda: cluster_tree(data, transitions).figure,
    }
    if "encoder" in data:
        figures["encoder"] = lambda: encoder_heatmap(data)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with style():
        for name, draw in figures.items():
            figure = draw()
            for suffix, dpi, metadata in (("png", 200, None), ("svg", 120, {"Date": None})):
                written.append(folder / f"{name}.{suffix}")
                figure.savefig(written[-1], dpi=dpi, metadata=metadata)
                if progress is not None:
                    progress(written[-1])
    return written


def _labelled(curve: InformationCurve | xr.Dataset) -> xr.Dataset:
    return curve if isinstance(curve, xr.Dataset) else curve.to_dataset()
