"""What all figures share: colours, the epoch axis, headers, ceilings.

Figures are plain `matplotlib.figure.Figure` objects and the settings hold inside `style` only, so that
importing or plotting selects no backend and changes no setting of the caller.
"""

import math
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ibjax.plane.summary import BITS_PER_NAT, surviving

# Seven of Okabe & Ito (2008), without their yellow, which is faint on white, and with their green last, which
# is near the colours of the epochs; then three of Paul Tol. Markers differ too: no figure needs colour alone.
LAYER_COLORS = (
    "#0072B2", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#009E73",
    "#999933", "#332288", "#882255",
)  # fmt: skip
LAYER_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
TRAIN_COLOR, TEST_COLOR, VIOLATION_COLOR, CEILING_COLOR = "#0072B2", "#D55E00", "#CC0000", "#666666"

PLANE_INCHES = (7.2, 5.8)
FEW_EPOCHS = 50
"""Epochs below which the powers of ten are too few ticks."""

# Without its palest yellow, which is faint on white.
EPOCH_COLORS = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.93, 256)), name="epochs")

_SETTINGS: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.hashsalt": "ibjax",
}


@contextmanager
def style() -> Iterator[None]:
    """Hold the house settings of matplotlib inside a ``with`` block; all are as before after it."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure, of a size in inches, that lays out its parts without overlap."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def layer_look(position: int) -> tuple[str, str]:
    """Return the colour and marker of a layer by its position, counted from 0; both repeat after ten.

    Example:
        >>> layer_look(0)
        ('#0072B2', 'o')
    """
    return LAYER_COLORS[position % len(LAYER_COLORS)], LAYER_MARKERS[position % len(LAYER_MARKERS)]


def layer_label(plane: xr.Dataset, position: int) -> str:
    """Return the name and width of a layer, as legends show it."""
    return f"{plane['layer_name'].values[position]} ({int(plane['width'].values[position])})"


def legend_columns(entries: int, at_most: int) -> int:
    """Return how many legend columns fill their rows evenly.

    Example:
        >>> legend_columns(7, at_most=6)
        4
    """
    return math.ceil(entries / math.ceil(entries / at_most))


def epoch_ticks(last: int) -> list[int]:
    """Return epoch 0 and the powers of ten up to ``last``; where these are few, twice and five times them too.

    Example:
        >>> epoch_ticks(2500), epoch_ticks(26)
        ([0, 1, 10, 100, 1000], [0, 1, 2, 5, 10, 20])
    """
    steps = (1, 2, 5) if last < FEW_EPOCHS else (1,)
    powers = range(int(math.log10(max(last, 1))) + 1)
    return [0, *(step * 10**power for power in powers for step in steps if step * 10**power <= max(last, 1))]


def epoch_norm(last: int) -> SymLogNorm:
    """Return the colour scale of epochs 0 to ``last``: logarithmic from 1 on, with room for epoch 0."""
    return SymLogNorm(linthresh=1.0, linscale=0.4, vmin=0.0, vmax=max(last, 1), base=10)


def _epoch_text(epoch, _=None) -> str:
    return f"{epoch:,.0f}" if epoch <= 10_000 else f"$10^{{{round(math.log10(epoch))}}}$"


def format_epochs(axis: Axis, last: int) -> None:
    """Put the ticks of `epoch_ticks` on an axis (also on a colour bar's)."""
    axis.set_major_locator(FixedLocator(epoch_ticks(last)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_epoch_text))


def epoch_axis(axes: Axes, last: int) -> None:
    """Make the x axis one of epochs, logarithmic from 1 on, with epoch 0 to the left of it."""
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    axes.set_xlim(0.0, max(last, 1))
    format_epochs(axes.xaxis, last)
    axes.set_xlabel("epoch")


def header(plane: xr.Dataset, estimator: int | str | None = None, *, notes: Iterable[str] = (), width: int = 80) -> str:
    """Return a figure's title: the run's own, then how many networks it shows and by which convention.

    Args:
        plane: A run's labelled arrays, before anything was left out.
        estimator: Position or convention string of the estimator shown; None where none is.
        notes: What else to say.
        width: Characters in a line.
    """
    kept = surviving(plane)
    shown, total = kept.sizes["replica"], plane.sizes["replica"]
    parts = [f"{shown} of {total} networks alive" if shown < total else f"{total} network{'s' * (total > 1)}"]
    if kept.sizes["snapshot"] < plane.sizes["snapshot"]:
        parts.append(f"unfinished: epoch {int(kept['epoch'][-1]):,} of {int(plane['epoch'][-1]):,}")
    if estimator is not None:
        parts.append(estimator if isinstance(estimator, str) else str(plane["estimator"].values[estimator]))
    parts.extend(notes)
    whole = (part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    texts = (str(plane.attrs.get("title", "")), " · ".join(whole))
    lines = [line for text in texts for line in textwrap.wrap(text, width, break_on_hyphens=False)]
    return "\n".join(line.removesuffix(" ·") for line in lines)


def frame_plane(axes: Axes, plane: xr.Dataset, bits: xr.Dataset) -> None:
    """Set the limits and names of the information plane and draw its ceilings.

    The ceilings are log2 n, which no plug-in estimate of I(X;T) from n samples exceeds, and what is known of
    the truth: I(X;T) <= H(X) and I(T;Y) <= I(X;Y) <= H(Y). Those close to each other share one label beyond
    the outermost, where no point should be; those far above all points and the lowest ceiling are left out.

    Args:
        axes: Where to draw.
        plane: A run's labelled arrays, for the ceilings in its attributes (nats).
        bits: ``complexity`` and ``relevance`` of all points, in bits.
    """
    samples = float(plane.attrs.get("samples", math.nan))
    nats = {name: float(plane.attrs.get(name, math.nan)) for name in ("entropy_x", "entropy_y", "information_xy")}
    for name, ceilings, room in (
        ("complexity", {"H(X)": nats["entropy_x"], "log₂ n": math.log(samples)}, 1.07),
        ("relevance", {"I(X;Y)": nats["information_xy"], "H(Y)": nats["entropy_y"]}, 1.10),
    ):
        values = bits[name].values
        known = {key: nat * BITS_PER_NAT for key, nat in ceilings.items() if math.isfinite(nat)}
        highest = max(float(np.nanmax(values, initial=0.0)), min(known.values(), default=0.0)) or 1.0
        lowest = float(np.nanmin(values, initial=0.0))
        limits = (lowest - 0.02 * highest, room * highest)
        horizontal = name == "relevance"
        (axes.set_ylim if horizontal else axes.set_xlim)(limits)
        groups: list[dict[str, float]] = []
        for key, value in sorted(known.items(), key=lambda item: item[1]):
            if value > limits[1]:
                continue
            (axes.axhline if horizontal else axes.axvline)(value, color=CEILING_COLOR, lw=0.8, ls="--", zorder=0)
            if groups and value - max(groups[-1].values()) < 0.05 * highest:
                groups[-1][key] = value
            else:
                groups.append({key: value})
        for group in groups:
            _label_ceiling(axes, group, horizontal=horizontal)
    axes.set_xlabel("I(X;T) (bits)")
    axes.set_ylabel("I(T;Y) (bits)")


def _label_ceiling(axes: Axes, group: dict[str, float], *, horizontal: bool) -> None:
    by_value: dict[str, list[str]] = {}
    for key, value in group.items():
        by_value.setdefault(f"{value:.2f}", []).append(key)
    text = ", ".join(f"{' = '.join(keys)} = {value}" for value, keys in by_value.items()) + " bits"
    edge = max(group.values())
    look = {"color": CEILING_COLOR, "fontsize": 8, "textcoords": "offset points"}
    if horizontal:
        at = axes.get_yaxis_transform()
        axes.annotate(text, (0.01, edge), xycoords=at, xytext=(0, 2), ha="left", va="bottom", **look)
    else:
        at = axes.get_xaxis_transform()
        axes.annotate(text, (edge, 0.02), xycoords=at, xytext=(3, 0), ha="left", va="bottom", rotation=90, **look)
