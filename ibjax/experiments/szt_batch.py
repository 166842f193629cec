"""How large a batch: where the gradients turn noisy and where I(X;T) peaks, from small batches to the full one."""

import dataclasses
import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from ibjax.experiments import szt
from ibjax.experiments.across import LAYERS, TREND, Point, is_early, points_of, side_by_side
from ibjax.experiments.experiment import Experiment
from ibjax.experiments.paths import curves_of, share_over_replicas
from ibjax.plane import (
    Claim,
    LogLine,
    greater_than,
    log_line,
    mean_rank_correlation,
    phases,
    snr_transition,
    within,
)

SLOPE, CORRELATION = 0.25, 0.9
"""Margins: distance of the slope from 1, correlation of the logarithms."""
WINDOW = 15
"""Snapshots that a slope of the signal-to-noise ratio is fitted to."""
PATTERNS = 4096
"""Of the task; a share of them is the full batch."""
TIMES = {"log-epoch": "log epoch", "epoch": "epoch"}
"""By which time the signal-to-noise ratio is derived."""


@dataclasses.dataclass(frozen=True)
class SZTBatch(szt.SZT):
    """Batches of different size for the networks of `SZT`, whose settings these are; ``batch_size`` is swept.

    The signal-to-noise ratio of the gradients is that of the same batches of 64 for all of them, see
    `ibjax.training.gradients`, at the weights of the end of an epoch. The learning rate is a tenth of that of `SZT`:
    with it batches of 64 turn noisy within ten epochs and batches of 16 within two or three, which is between the
    snapshots.

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information".
    """

    learning_rate: float = 0.005
    """Step size, the same for all batches."""
    batches: tuple[int | None, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048, None)
    """Samples a step; None is the full batch."""


PRESETS = {
    "paper": SZTBatch(),
    "quick": SZTBatch(replicas=8, epochs=1500, batches=(16, 64, 256, 1024)),
    # The code published with the paper: Adam and batches from 512 to all, in a fixed order, of the first patterns.
    "idnns": SZTBatch(**dataclasses.asdict(szt.PRESETS["idnns"]), batches=(512, 1024, 2048, None)),
}
"""Named settings; the first is the default."""


class Batches(NamedTuple):
    """What is found at every batch size.

    Attributes:
        points: the groups, by increasing batch size.
        sizes: their batch sizes; the full one is the size of the training set.
        peak: by name of a layer, the epoch of the peak of I(X;T); NaN where there is none.
        transition: by name of a layer and of a time, the epoch at which the SNR falls fastest; NaN likewise.
        line: likewise, the line through the medians of transition against peak, in logarithms.
    """

    points: list[Point]
    sizes: Float[np.ndarray, " points"]
    peak: dict[str, Float[np.ndarray, "points replicas"]]
    transition: dict[tuple[str, str], Float[np.ndarray, "points replicas"]]
    line: dict[tuple[str, str], LogLine]


def batches_of(found: xr.Dataset) -> Batches:
    """What is found at every batch size."""
    points = sorted(points_of(found), key=_size)
    peak, transition, line = {}, {}, {}
    for name, (layer, _) in LAYERS.items():
        places = [_places(point, layer) for point in points]
        peak[name], *by_time = (side_by_side(points, list(column)) for column in zip(*places, strict=True))
        for time, epoch in zip(TIMES, by_time, strict=True):
            transition[name, time] = epoch
            both = np.where(np.isnan(epoch), np.nan, peak[name]), np.where(np.isnan(peak[name]), np.nan, epoch)
            line[name, time] = log_line(*both, fit="orthogonal")
    return Batches(points, np.array([_size(point) for point in points]), peak, transition, line)


def _size(point: Point) -> float:
    """The batch size of a group; the training set's where it is the full batch."""
    config = json.loads(point.run.attrs["config"])
    return float(config["batch_size"] or round(config["fraction"] * PATTERNS))


def _places(point: Point, layer: int) -> tuple[np.ndarray, ...]:
    """Epochs of the peak of I(X;T) of a layer, and of its SNR transition by log epoch and by epoch."""
    epochs, paths = point.paths.epochs, (point.paths.complexity[:, layer], point.paths.relevance[:, layer])
    mean, std = (curves_of(point.run, f"gradient_{name}")[:, layer] for name in ("mean", "std"))
    found = snr_transition(epochs, mean, std, window=WINDOW)
    return phases(epochs, *paths).peak, found.by_log_epoch.epoch, found.by_epoch.epoch


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge what the study says of the batch size.

    The transition is where the signal-to-noise ratio of the gradients falls fastest, by log epoch and by epoch, from a
    line through 15 snapshots, see `ibjax.plane.snr_transition`; the peak is that of I(X;T), see `ibjax.plane.phases`.
    The source names no layer: the last hidden and the output layer are judged. What is not found, or lies beyond the
    run, is no number and is left out; one claim says how often that is so. Intervals are over replicas.

    * *found*: of a replica's batch sizes, more than half have both a peak and a transition by log epoch.
    * *later with the batch size*: the rank correlation of a replica's peak, and of its transition by either time, with
      the batch size, mean over replicas, is greater than 0.5. Replicas with fewer than three sizes are left out.
    * *transition against peak*: of log transition against log peak, medians over replicas, one point a batch size, the
      principal axis has a slope within 0.25 of 1 and the correlation is greater than 0.9. Batch sizes at which more
      than a quarter of the replicas lack one of the two are left out; fewer than three have no correlation.
    """
    b = batches_of(found)
    early = is_early(found, PRESETS["paper"], len(PRESETS["paper"].batches))
    return [claim for name, (_, text) in LAYERS.items() for claim in _of_layer(b, name, text, early)]


def _of_layer(b: Batches, name: str, text: str, early: bool) -> list[Claim]:
    """The claims about one layer."""

    def later(short: str, what: str, epoch: np.ndarray) -> Claim:
        return Claim(
            f"{short}-later-{name}",
            f"the larger the batch, the later {what}, {text}",
            "rank correlation of its epoch with the batch size",
            mean_rank_correlation(b.sizes, epoch),
            greater_than(TREND),
            early,
        )

    both = np.isfinite(b.peak[name]) & np.isfinite(b.transition[name, "log-epoch"])
    result = [
        Claim(
            f"found-{name}",
            f"the gradients' SNR has a transition and I(X;T) a peak, {text}",
            "share of batch sizes with both",
            share_over_replicas(both.mean(axis=0)),
            greater_than(0.5),
            early,
        ),
        later("peak", "I(X;T) peaks", b.peak[name]),
    ]
    for time, by in TIMES.items():
        line = b.line[name, time]
        result += [
            later(f"transition-by-{time}", f"the SNR transition, by {by}", b.transition[name, time]),
            Claim(
                f"slope-by-{time}-{name}",
                f"the SNR transition, by {by}, moves with the peak of I(X;T), {text}",
                "slope of log transition against log peak over batch sizes",
                line.slope,
                within(SLOPE, 1.0),
                early,
            ),
            Claim(
                f"correlation-by-{time}-{name}",
                f"and follows it, by {by}, {text}",
                "correlation of log transition and log peak over batch sizes",
                line.correlation,
                greater_than(CORRELATION),
                early,
            ),
        ]
    return result


def figure(found: xr.Dataset) -> Figure:
    """Draw SNR and I(X;T) of the output layer, and transition and peak against the batch size and each other."""
    from ibjax.plotting import batch_figure

    b = batches_of(found)
    places: dict[str, tuple[Any, ...]] = {
        text: (b.peak[name], b.transition[name, "log-epoch"], b.line[name, "log-epoch"])
        for name, (_, text) in LAYERS.items()
    }
    return batch_figure([point.run for point in b.points], b.sizes, places)


EXPERIMENT = Experiment(
    "the batch size: the gradients' transition and the peak of I(X;T), from batches of 16 to the full batch",
    PRESETS,
    claims,
    figure,
    szt.study,
    grid=lambda config: {"batch_size": config.batches},
)
