"""How much data: the planes of networks trained on 5, 45 and 85 % of the patterns, and what grows with the share."""

import dataclasses
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from ibjax.errors import InputError
from ibjax.experiments import szt
from ibjax.experiments.across import TREND, Point, is_early, points_of, side_by_side
from ibjax.experiments.experiment import Experiment
from ibjax.experiments.paths import curves_of, end_of, mean_over_replicas, median_over_replicas
from ibjax.plane import (
    Claim,
    greater_than,
    less_than,
    mean_rank_correlation,
    range_of_means,
    within,
)
from ibjax.plane.paths import smooth

FELL, KEPT, HARDLY = 0.05, 0.02, 0.5
"""Margins in bits: a fall that counts, one that does not, and a change of I(X;T) that does not, of its 12 bits."""
BEFORE = 2.0
"""Octaves before the fall that an early stop may lie and be just before it: a factor of four in epochs."""
SHOULDER = 0.1
"""Share of the fall after which it has begun."""
WINDOW = 5
"""Snapshots that a path is smoothed over, where its highest or lowest point is looked for."""
LAYERS = 2
"""How many hidden layers count as the last ones."""


@dataclasses.dataclass(frozen=True)
class SZTData(szt.SZT):
    """Training sets of different size for the networks of `SZT`, whose settings these are; ``fraction`` is swept.

    The sets are nested, and replica i starts from the same weights on all of them. The epochs are the same, so that
    few data mean few updates, as in the study.

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information", figures 3 and 6.
    """

    fractions: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 18))
    """Shares of the patterns that are trained on, the smallest and the largest are compared."""

    def __post_init__(self):
        """Check the shares; the grid and the split check the rest."""
        super().__post_init__()
        if len(self.fractions) < 2:
            raise InputError(f"fractions must name two shares or more, got {self.fractions}: for one use szt")


PRESETS = {
    "paper": SZTData(),
    "quick": SZTData(replicas=10, epochs=3000, fractions=(0.05, 0.15, 0.25, 0.45, 0.85)),
    # The code published with the paper: Adam and batches of 512 in a fixed order, of the first patterns.
    "idnns": SZTData(**dataclasses.asdict(szt.PRESETS["idnns"])),
}
"""Named settings; the first is the default."""


class Shares(NamedTuple):
    """What is found at every share, in bits; paths are means over the last two hidden layers.

    Attributes:
        points: the groups, by increasing share.
        fractions: their shares.
        path: I(T;Y) at every snapshot, mean over replicas.
        complexity: I(X;T) at the end.
        relevance: I(T;Y) at the end.
        fall: by how much I(T;Y) falls from its peak to the end.
        compression: by how much I(X;T) falls in the same time.
        onset: epoch at which a tenth of the fall of I(T;Y) is lost; NaN where it falls by less than 0.05 bit.
        stop_loss: epoch of the lowest test loss.
        stop_accuracy: epoch of the highest test accuracy.
    """

    points: list[Point]
    fractions: Float[np.ndarray, " points"]
    path: list[Float[np.ndarray, " snapshots"]]
    complexity: Float[np.ndarray, "points replicas"]
    relevance: Float[np.ndarray, "points replicas"]
    fall: Float[np.ndarray, "points replicas"]
    compression: Float[np.ndarray, "points replicas"]
    onset: Float[np.ndarray, "points replicas"]
    stop_loss: Float[np.ndarray, "points replicas"]
    stop_accuracy: Float[np.ndarray, "points replicas"]


def shares_of(found: xr.Dataset) -> Shares:
    """What is found at every share of the data."""
    points = sorted(points_of(found), key=lambda point: float(point.settings["fraction"]))
    paths, columns = zip(*(_one(point) for point in points), strict=True)
    tables = (side_by_side(points, list(column)) for column in zip(*columns, strict=True))
    return Shares(points, np.array([float(point.settings["fraction"]) for point in points]), list(paths), *tables)


def _one(point: Point) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The path of one share, and its numbers in the order of `Shares`."""
    hidden = slice(-1 - LAYERS, -1) if point.paths.relevance.shape[1] > LAYERS else slice(0, -1)
    epochs = point.paths.epochs.astype(np.float64)
    complexity, relevance = (part[:, hidden].mean(axis=1) for part in (point.paths.complexity, point.paths.relevance))
    at = _peak_of_the_others(relevance)
    rows = np.arange(len(at))
    changes = [smooth(path, WINDOW)[rows, at] - end_of(path) for path in (relevance, complexity)]
    loss, accuracy = (smooth(curves_of(point.run, f"test_{name}"), WINDOW) for name in ("loss", "accuracy"))
    known = np.isfinite(loss).all(axis=-1)
    stops = [np.where(known, epochs[np.nan_to_num(curve).argmin(axis=-1)], np.nan) for curve in (loss, -accuracy)]
    numbers = (end_of(complexity), end_of(relevance), *changes, _onset(epochs, relevance), *stops)
    return relevance.mean(axis=0), numbers


def _peak_of_the_others(path: Float[np.ndarray, "replicas snapshots"]) -> Int[np.ndarray, " replicas"]:
    """Snapshot at which the mean path of the other replicas is highest.

    A replica's own highest value is high by chance too, and would seem to fall where nothing does.
    """
    others = smooth(path.sum(axis=0) - path if len(path) > 1 else path, WINDOW)
    return others.argmax(axis=-1)


def _onset(epochs: np.ndarray, path: Float[np.ndarray, "replicas snapshots"]) -> np.ndarray:
    """Epoch of the last snapshot at which less than a tenth of the fall is lost."""
    smoothed = smooth(path, WINDOW)
    top = smoothed.max(axis=-1)
    drop = top - end_of(path)
    high = smoothed >= (top - SHOULDER * drop)[:, None]
    last = path.shape[-1] - 1 - np.flip(high, axis=-1).argmax(axis=-1)
    return np.where(drop > FELL, epochs[last], np.nan)


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge what the study says of the size of the training set.

    The last hidden layers are the last two, their mean; the end is the mean of the last 5 snapshots; information is
    in bits, of all patterns. Intervals are over replicas, which are initialisations of one nested draw of the data.

    * *I(T;Y) falls with little data*: at the smallest share, from its peak to the end, by more than 0.05 bit. A
      replica's peak is where the mean path of the others is highest, because the highest of noisy values always falls.
    * *during compression*: in the same time I(X;T) falls by more than 0.05 bit.
    * *I(T;Y) is kept with much data*: at the largest share it falls by less than 0.02 bit.
    * *early stop*: at the smallest share, the best stop (the lowest test loss, and apart from that the highest test
      accuracy, of curves smoothed over 5 snapshots) is just before I(T;Y) falls, which is where a tenth of the fall is
      lost: the median over replicas of log2(stop / fall), 1 added to both epochs, lies between -2 and 0, at most a
      factor of four before. Replicas that do not fall by 0.05 bit are left out. A best stop at the end of the run may
      be later still, which is after the fall all the same.
    * *more data, more I(T;Y)*: the rank correlation of a replica's final I(T;Y) with the share, mean over replicas, is
      greater than 0.5.
    * *I(X;T) hardly changes*: the largest minus the smallest over shares of the mean final I(X;T) is less than 0.5 bit,
      4 % of its ceiling. The mean is over replicas; noise makes this difference too large, never too small.
    """
    s = shares_of(found)
    early = is_early(found, PRESETS["paper"], len(PRESETS["paper"].fractions))
    little, much = (f"{100 * share:.3g} %" for share in s.fractions[[0, -1]])
    result = [
        Claim(
            "falls-with-little-data",
            f"with little data ({little}) I(T;Y) of the last hidden layers falls",
            "I(T;Y) at its peak minus at the end, bits",
            mean_over_replicas(s.fall[0]),
            greater_than(FELL),
            early,
        ),
        Claim(
            "during-compression",
            "while I(X;T) is compressed",
            "I(X;T) at the peak of I(T;Y) minus at the end, bits",
            mean_over_replicas(s.compression[0]),
            greater_than(FELL),
            early,
        ),
        Claim(
            "kept-with-much-data",
            f"with much data ({much}) I(T;Y) does not fall",
            "I(T;Y) at its peak minus at the end, bits",
            mean_over_replicas(s.fall[-1]),
            less_than(KEPT),
            early,
        ),
    ]
    for name, stop in (("loss", s.stop_loss[0]), ("accuracy", s.stop_accuracy[0])):
        result.append(
            Claim(
                f"early-stop-by-{name}",
                f"with little data the best early stop, by test {name}, is just before I(T;Y) falls",
                "log2 of stop / fall, median",
                median_over_replicas(np.log2((1 + stop) / (1 + s.onset[0]))),
                within(BEFORE / 2, -BEFORE / 2),
                early,
            )
        )
    return [
        *result,
        Claim(
            "more-data-more-relevance",
            "with more data the final I(T;Y) grows",
            "rank correlation of the final I(T;Y) with the share of the data",
            mean_rank_correlation(s.fractions, s.relevance),
            greater_than(TREND),
            early,
        ),
        Claim(
            "complexity-hardly-changes",
            "and the final I(X;T) hardly changes",
            "largest minus smallest mean final I(X;T) over the shares, bits",
            range_of_means(s.complexity),
            less_than(HARDLY),
            early,
        ),
    ]


def figure(found: xr.Dataset) -> Figure:
    """Draw the planes at three shares, the fall at the smallest one, and what all shares end at."""
    from ibjax.plotting import data_figure

    s = shares_of(found)
    places = {
        "best stop by test loss": median_over_replicas(s.stop_loss[0]),
        "best stop by test accuracy": median_over_replicas(s.stop_accuracy[0]),
        "I(T;Y) begins to fall": median_over_replicas(s.onset[0]),
    }
    return data_figure([point.run for point in s.points], s.fractions, s.path, places)


EXPERIMENT = Experiment(
    "the size of the training set: planes of 5 to 85 % of the patterns, early stopping, what the layers end at",
    PRESETS,
    claims,
    figure,
    szt.study,
    grid=lambda config: {"fraction": config.fractions},
)
