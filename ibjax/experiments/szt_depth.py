"""How many layers: one to six hidden layers, how soon they converge, and what the noise of training adds."""

import dataclasses
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from ibjax.errors import InputError
from ibjax.experiments import szt
from ibjax.experiments.across import LAYERS, TREND, Point, is_early, points_of, side_by_side
from ibjax.experiments.experiment import Experiment
from ibjax.experiments.paths import curves_of, end_of, mean_over_replicas, per_replica
from ibjax.plane import (
    Claim,
    Estimate,
    LogLine,
    censored_median,
    first_crossing,
    greater_than,
    less_than,
    log_line,
    phases,
    rank_correlation,
    share,
    within,
)
from ibjax.plane.paths import smooth

HIDDEN: dict[int, tuple[int, ...]] = {
    1: (10,),
    2: (10, 7),
    3: (10, 7, 5),
    4: (10, 7, 5, 4),
    5: (10, 7, 5, 4, 3),
    6: (10, 7, 5, 4, 4, 3),
}
"""Hidden layers -> their widths, as in the public code."""
NEAR, RIGHT = 0.05, 0.9
"""Bits from the final I(T;Y) and test accuracy from which a network has converged."""
SOONER, MISFIT, GAIN = 1.0, 1.0, 0.01
"""Margins: a ratio of epochs, octaves from a power law, test accuracy that counts as a gain."""
DEEP = 5
"""Hidden layers from which a network is deep."""
WINDOW = 5
"""Snapshots that the test accuracy is smoothed over."""


@dataclasses.dataclass(frozen=True)
class SZTDepth(szt.SZT):
    """Networks of one to six hidden layers on the task of `SZT`, whose settings these are; ``widths`` is swept.

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information", figure 5.
    """

    depths: tuple[int, ...] = tuple(HIDDEN)
    """Numbers of hidden layers, 1 to 6, of widths 10, 7, 5, 4, 3 from the first (six: 10, 7, 5, 4, 4, 3)."""

    def __post_init__(self):
        """Check the depths; the grid checks the rest."""
        super().__post_init__()
        if wrong := [depth for depth in self.depths if depth not in HIDDEN]:
            raise InputError(f"depths must be from 1 to {max(HIDDEN)}, got {wrong[0]}: sweep widths of szt for others")


PRESETS = {
    "paper": SZTDepth(),
    "quick": SZTDepth(replicas=10, epochs=1500),
    # The code published with the paper: Adam and batches of 512 in a fixed order, of the first patterns.
    "idnns": SZTDepth(**dataclasses.asdict(szt.PRESETS["idnns"])),
}
"""Named settings; the first is the default."""


class Depths(NamedTuple):
    """What is found at every depth.

    Attributes:
        points: the groups, by increasing depth.
        depths: their numbers of hidden layers.
        epoch: by name of a layer, the epoch of convergence; inf where it lies beyond the run, NaN for the masked.
        medians: likewise, the median over replicas at every depth.
        line: likewise, the power law through the medians.
        peak: epoch of the peak C of I(X;T), median over the layers that have one; NaN where none has.
        gain: test accuracy at the end minus at C.
        last: last epoch.
    """

    points: list[Point]
    depths: Int[np.ndarray, " points"]
    epoch: dict[str, Float[np.ndarray, "points replicas"]]
    medians: dict[str, list[Estimate]]
    line: dict[str, LogLine]
    peak: Float[np.ndarray, "points replicas"]
    gain: Float[np.ndarray, "points replicas"]
    last: float


def depths_of(found: xr.Dataset) -> Depths:
    """What is found at every depth."""
    points = sorted(points_of(found), key=lambda point: point.paths.relevance.shape[1])
    depths = np.array([point.paths.relevance.shape[1] - 1 for point in points])
    last = min(float(point.paths.epochs[-1]) for point in points)
    epoch, medians, line = {}, {}, {}
    for name, (layer, _) in LAYERS.items():
        found_in = [_converged(point, layer) for point in points]
        epoch[name] = side_by_side(points, [np.where(np.isnan(own), np.inf, own) for own in found_in])
        medians[name] = [censored_median(own, np.full(own.shape, last)) for own in found_in]
        # Epochs count from 1 here: a network may be there before training, and has no logarithm at 0.
        line[name] = log_line(depths, 1 + epoch[name])
    changes = [_gain(point) for point in points]
    peak, gain = (side_by_side(points, list(column)) for column in zip(*changes, strict=True))
    return Depths(points, depths, epoch, medians, line, peak, gain, last)


def _converged(point: Point, layer: int) -> np.ndarray:
    """Epoch at which a layer of each survivor has converged; NaN where it has not by the end."""
    path = point.paths.relevance[:, layer]
    right = curves_of(point.run, "test_accuracy") >= RIGHT
    distance = np.abs(path - end_of(path)[:, None])
    return first_crossing(point.paths.epochs, distance, NEAR, direction="down", where=right).epoch


def _gain(point: Point) -> tuple[np.ndarray, np.ndarray]:
    """C of each survivor, and what its test accuracy gains after it."""
    epochs = point.paths.epochs
    peak = per_replica(np.nanmedian, phases(epochs, point.paths.complexity, point.paths.relevance).peak)
    accuracy = curves_of(point.run, "test_accuracy")
    smoothed = smooth(accuracy, WINDOW)
    at_peak = [np.interp(np.log1p(at), np.log1p(epochs), own) for at, own in zip(peak, smoothed, strict=True)]
    return peak, end_of(accuracy) - np.array(at_peak)


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge what the study says of the number of layers.

    A network has converged at the first snapshot at which I(T;Y) of a layer is within 0.05 bit of its final value, the
    mean of the last 5 snapshots, and at which the test accuracy is 0.9 or more. One that has not by the end of the run
    is right-censored: later than all others, and no number. The source does not say of which layer; both are judged,
    the last hidden layer, whose ten units tell nearly all of Y before training where it is the only one, and the
    output layer, which all depths have alike. Intervals are over replicas.

    * *more layers, fewer epochs*: the rank correlation of the epoch with the number of hidden layers, over all
      networks, censored ones last and tied, is less than -0.5; and the ratio of the median epochs (Kaplan-Meier) of the
      deepest and the shallowest networks is less than 1. Its bounds are the ratios of the medians' bounds, so that its
      level is higher than theirs. A median of the shallowest beyond the run counts as the last epoch, which makes the
      ratio too large; one of the deepest leaves none.
    * *power law*: epochs + 1 = c layers^a through the medians over replicas: a, the slope in logarithms, is less than
      0; and no median is further from the law than a factor of two, 1 octave. Depths at which more than a quarter of
      the networks are censored are left out; fewer than three leave no misfit.
    * *gain by noise*: what the test accuracy, smoothed over 5 snapshots, gains from C to the end: within 0.01 of 0 with
      one hidden layer, where the study finds none; greater than 0.01 with five and six. C is the peak of I(X;T), see
      `ibjax.plane.phases`, the median over the layers that have one: it parts the phases at every depth, which the
      gradients of a single network are too noisy for. Networks without C are left out; one claim says how often it is
      found.
    """
    d = depths_of(found)
    early = is_early(found, PRESETS["paper"], len(PRESETS["paper"].depths))
    result = []
    for name, (_, text) in LAYERS.items():
        result += _sooner(d, name, text, early)
    deep, shallow = d.depths >= DEEP, d.depths == 1
    fewest = d.peak[np.isfinite(d.peak).mean(axis=1).argmin()]
    return [
        *result,
        Claim(
            "peak-found",
            "I(X;T) rises to a peak and falls, at every depth",
            "share of networks in which some layer has a peak, at the depth with the fewest",
            share(np.isfinite(fewest)),
            greater_than(0.5),
            early,
        ),
        Claim(
            "no-gain-with-one-layer",
            "with one hidden layer the noise-driven gain in generalisation is absent",
            "test accuracy at the end minus at C, one hidden layer",
            mean_over_replicas(d.gain[shallow].ravel()),
            within(GAIN),
            early,
        ),
        Claim(
            "gain-when-deep",
            "with five and six hidden layers it is there",
            "test accuracy at the end minus at C, five and six hidden layers",
            mean_over_replicas(d.gain[deep].ravel()),
            greater_than(GAIN),
            early,
        ),
    ]


def _sooner(d: Depths, name: str, text: str, early: bool) -> list[Claim]:
    """The claims about the epochs of convergence, by one layer."""
    epoch = d.epoch[name]
    known = ~np.isnan(epoch)
    layers = np.broadcast_to(d.depths[:, None], epoch.shape)
    return [
        Claim(
            f"fewer-epochs-{name}",
            f"the more layers, the fewer epochs to converge, by {text}",
            "rank correlation of the epoch of convergence with the number of hidden layers",
            rank_correlation(layers[known], np.minimum(epoch[known], 2 * d.last)),
            less_than(-TREND),
            early,
        ),
        Claim(
            f"deepest-sooner-{name}",
            f"the deepest networks converge sooner than the shallowest, by {text}",
            "ratio of the median epochs of convergence, deepest / shallowest",
            _ratio(d.medians[name][-1], d.medians[name][0], d.last),
            less_than(SOONER),
            early,
        ),
        Claim(
            f"exponent-{name}",
            f"the epochs fall with a power of the number of layers, by {text}",
            "exponent of the number of hidden layers",
            d.line[name].slope,
            less_than(0.0),
            early,
        ),
        Claim(
            f"power-law-{name}",
            f"and a power law it is, by {text}",
            "largest distance of a median from it, octaves",
            d.line[name].misfit,
            less_than(MISFIT),
            early,
        ),
    ]


def _ratio(deep: Estimate, shallow: Estimate, last: float) -> Estimate:
    """Ratio of two medians that may lie beyond the run; epochs count from 1."""
    if np.isinf(deep.value) or np.isnan([deep.value, shallow.value]).any():
        return Estimate(np.nan, np.nan, np.nan)
    value, low = (1 + min(bound, last) for bound in (shallow.value, shallow.low))
    return Estimate((1 + deep.value) / value, (1 + deep.low) / (1 + shallow.high), (1 + deep.high) / low)


def figure(found: xr.Dataset) -> Figure:
    """Draw I(T;Y) and test accuracy of all depths, the epochs of convergence with their law, and the gain by noise."""
    from ibjax.plotting import depth_figure

    d = depths_of(found)
    return depth_figure(
        [point.run for point in d.points],
        d.depths,
        {text: d.medians[name] for name, (_, text) in LAYERS.items()},
        {text: d.line[name] for name, (_, text) in LAYERS.items()},
        d.gain,
        [mean_over_replicas(row) for row in d.gain],
        margin=GAIN,
    )


EXPERIMENT = Experiment(
    "the number of layers: one to six hidden layers, epochs to converge, what training adds after the transition",
    PRESETS,
    claims,
    figure,
    szt.study,
    grid=lambda config: {"widths": [(12, *HIDDEN[depth], 2) for depth in config.depths]},
)
