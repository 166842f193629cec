"""The information plane as an animation, and all figures of a run at once."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ibjax.plane.summary import mean_path, measured_bits
from ibjax.plotting.information import information_plane, snapshot_panel
from ibjax.plotting.style import (
    LAYER_COLORS,
    PLANE_INCHES,
    frame_plane,
    header,
    layer_label,
    layer_look,
    legend_columns,
    new_figure,
    style,
)
from ibjax.plotting.training import gradient_figure, training_curves


@style()
def animate(plane: xr.Dataset, path: str | Path, *, estimator: int | str = 0, frames: int = 60, fps: int = 12) -> Path:
    """Write a GIF of all replicas and layers moving through the information plane, mean paths behind them.

    Only what moves is drawn anew in each frame, which is why this takes seconds.

    Args:
        plane: A run's labelled arrays, informations in nats.
        path: Of the file to write.
        estimator: Position in the run, or convention string, of the estimator to show.
        frames: At most this many of the measured snapshots, evenly spread over them.
        fps: Frames a second; the last one stays for two seconds.

    Returns:
        The path written.

    Raises:
        InputError: The run has no such estimator, or no replica survived.
    """
    bits, means = measured_bits(plane, estimator), mean_path(plane, estimator)
    figure = new_figure(6.4, 5.2)
    figure.set_dpi(100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    frame_plane(axes, plane, bits)
    axes.set_title(header(plane, estimator, width=66), loc="left", fontsize=9)
    clock = axes.text(0.9, 0.03, "", ha="right", transform=axes.transAxes, fontsize=12, animated=True)
    trails, points = [], []
    for layer in range(bits.sizes["layer"]):
        color, marker = layer_look(layer)
        trails += axes.plot([], [], color=color, lw=1.2, animated=True)
        look = {"color": color, "marker": marker, "s": 20, "edgecolors": "white", "linewidths": 0.4}
        points.append(axes.scatter([], [], **look, animated=True))
        axes.scatter([], [], **look, label=layer_label(plane, layer))
    figure.legend(loc="outside lower center", ncols=legend_columns(len(points), at_most=6), handletextpad=0.2)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)

    count = bits.sizes["snapshot"]
    positions = np.stack([bits["complexity"].values, bits["relevance"].values], axis=-1)
    trail = np.stack([means["complexity"].values, means["relevance"].values], axis=-1)
    images = []
    for snapshot in np.unique(np.linspace(0, count - 1, min(frames, count)).round().astype(int)):
        canvas.restore_region(still)
        clock.set_text(f"epoch {int(bits['epoch'].values[snapshot]):,}")
        for layer, (line, cloud) in enumerate(zip(trails, points, strict=True)):
            line.set_data(trail[: snapshot + 1, layer].T)
            cloud.set_offsets(positions[:, snapshot, layer])
        for artist in (*trails, *points, clock):
            axes.draw_artist(artist)
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))

    palette = _palette(bits.sizes["layer"])
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    path = Path(path)
    durations = [round(1000 / fps)] * (len(indexed) - 1) + [2000]
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=durations, loop=0)
    return path


def _palette(layers: int) -> Image.Image:
    """Return greys and each layer's colour in four strengths; a fitted palette would merge layers."""
    greys = np.linspace(0, 255, 24)[:, None].repeat(3, axis=1)
    colors = 255 * np.array([to_rgb(layer_look(layer)[0]) for layer in range(min(layers, len(LAYER_COLORS)))])
    levels = [255 - strength * (255 - colors) for strength in (1.0, 0.75, 0.5, 0.25)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([greys, *levels]).round().astype(int).ravel().tolist())
    return palette


@style()
def save_all(plane: xr.Dataset, folder: str | Path, *, progress: Callable[[Path], None] | None = None) -> list[Path]:
    """Write every figure of a run: the plane, its snapshots, training and gradient curves, an animation.

    The figures are ``plane``, ``snapshots``, ``training`` and ``gradients``, each as PNG (200 dots an inch)
    and SVG, and ``plane.gif``; they show the first estimator. Recorded activations, which come without losses
    and gradients, have no ``training`` and ``gradients``. A run with several estimators gets one more
    PNG for each, ``plane-<its convention>.png``.

    Args:
        plane: A run's labelled arrays, informations in nats.
        folder: Where to write; made if missing.
        progress: Called with the path of each file once it is written.

    Returns:
        The paths written, in that order.

    Raises:
        InputError: No replica survived.
    """
    plane = plane.compute()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def done(path: Path) -> None:
        written.append(path)
        if progress is not None:
            progress(path)

    figures: dict[str, Callable[[], Figure]] = {
        "plane": lambda: _plane_figure(plane, 0),
        "snapshots": lambda: snapshot_panel(plane),
    }
    if "train_loss" in plane:
        figures["training"] = lambda: training_curves(plane)
    if "gradient_mean" in plane:
        figures["gradients"] = lambda: gradient_figure(plane)
    for name, draw in figures.items():
        for path in save_figure(draw(), folder, name):
            done(path)
    done(animate(plane, folder / "plane.gif"))
    if plane.sizes["estimator"] > 1:
        for position, name in enumerate(plane["estimator"].values):
            path = folder / f"plane-{slug(str(name))}.png"
            _plane_figure(plane, position).savefig(path, dpi=200)
            done(path)
    return written


@style()
def save_figure(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as PNG (200 dots an inch) and as SVG, and return the paths.

    Args:
        figure: What to write.
        folder: Where to; made if missing.
        name: Of the files, without suffix.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, dpi, metadata in (("png", 200, None), ("svg", 120, {"Date": None})):
        paths.append(folder / f"{name}.{suffix}")
        figure.savefig(paths[-1], dpi=dpi, metadata=metadata)
    return paths


def slug(convention: str) -> str:
    """Return an estimator's convention as a part of a file name that keeps its signs and numbers.

    Example:
        >>> slug("binning:bins=30,low=-1,high=1")
        'binning-bins=30-low=-1-high=1'
    """
    return re.sub(r"[^A-Za-z0-9.=_-]+", "-", convention).strip("-")


def _plane_figure(plane: xr.Dataset, estimator: int) -> Figure:
    figure = new_figure(*PLANE_INCHES)
    information_plane(plane, estimator=estimator, axes=figure.add_subplot())
    return figure
