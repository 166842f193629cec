"""What the search for phases and the search for transitions share: noise, smoothing and how a search ended."""

import enum

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Float, Num, Shaped

from ibjax.errors import InputError
from ibjax.plane.resampling import Estimate, bootstrap_interval

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal variable over the median of its absolute value."""
TIE = 3.0
"""Standard errors within which two smoothed values count as equal."""
WIDEST = np.log(10.0)
"""Log epochs that equal values may span before a place counts as flat: a factor of ten."""
BEYOND = 1e9
"""Stands for a right-censored log epoch in a median; anything averaged with it stays beyond every epoch."""


class PhaseStatus(enum.IntEnum):
    """How the search for a boundary in one path ended."""

    FOUND = 0
    NO_DROP = 1
    NO_RISE = 2
    FLAT = 3
    EDGE = 4
    UNREACHED = 5
    SHORT = 6
    MASKED = 7

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return {
            0: "found",
            1: "the path does not fall by more than its noise: there is no transition, or the run ends before it",
            2: "the path does not rise before it falls: its peak is at or before the first snapshot",
            3: "equal values span more than a factor of ten in epochs: average replicas or take more snapshots",
            4: "the steepest place is at the first or the last window: train longer or take more snapshots",
            5: "the path is still changing at the last snapshot: train longer",
            6: "too few snapshots: take at least two windows of them",
            7: "a value is not finite: the replica diverged or was not measured",
        }[int(self)]


def log_epochs(
    epochs: Num[np.ndarray, " snapshots"], *paths: Shaped[np.ndarray, "..."]
) -> Float[np.ndarray, " snapshots"]:
    """Check what a search is given and return log(1 + epoch), the time that every search works in.

    The 1 keeps epoch 0, the network before training, at a finite place.

    Raises:
        InputError: epochs that do not increase from 0 or more, or paths that do not fit them or one another.
    """
    if epochs.ndim != 1 or not epochs.size or epochs[0] < 0 or not (np.diff(epochs) > 0).all():
        wrong = 0 if epochs.ndim != 1 or not epochs.size or epochs[0] < 0 else int(np.argmin(np.diff(epochs) > 0)) + 1
        raise InputError(f"epochs must increase from 0 or more, and do not at index {wrong}: give one a snapshot")
    for path in paths:
        if path.ndim < 2 or path.shape[-1] != epochs.size or path.shape != paths[0].shape:
            raise InputError(
                f"a path of shape {path.shape} does not fit {epochs.size} epochs: all must be of one shape, replicas "
                "first and snapshots last"
            )
    return np.log1p(epochs.astype(np.float64))


def check_window(window: int, margin: float) -> None:
    """Raise an `InputError` unless a window can be centred and a margin is positive."""
    if window < 3 or window % 2 == 0:
        raise InputError(f"window must be odd and at least 3 snapshots, got {window}")
    if not margin > 0:
        raise InputError(f"margin must be a positive number of standard errors, got {margin}")


def noise(time: Float[np.ndarray, " snapshots"], path: Float[np.ndarray, " snapshots"]) -> float:
    """Standard deviation of the snapshots about a smooth path, from what neighbours do not explain.

    With r the distance of a snapshot from the line through its two neighbours, whose variance is
    s^2 (1 + w^2 + (1 - w)^2) at weights w and 1 - w of the neighbours, s = 1.4826 median |r| / sqrt(...). The
    median keeps kinks and jumps out; noise that lasts over several snapshots is not seen. It is never less than what
    the single precision that paths are stored in rounds, or a constant path would have none and its rounding a trend.
    """
    weight = (time[1:-1] - time[:-2]) / (time[2:] - time[:-2])
    r = path[1:-1] - (1 - weight) * path[:-2] - weight * path[2:]
    found = MAD_TO_SIGMA * float(np.median(np.abs(r) / np.sqrt(1 + weight**2 + (1 - weight) ** 2)))
    return max(found, float(np.finfo(np.float32).eps * np.abs(path).max()))


def smooth(path: Float[np.ndarray, "*batch snapshots"], window: int) -> Float[np.ndarray, "*batch snapshots"]:
    """Mean over the centred window of snapshots, of which the ends have only a part."""
    count = path.shape[-1]
    low = np.maximum(np.arange(count) - window // 2, 0)
    high = np.minimum(np.arange(count) + window // 2 + 1, count)
    total = np.concatenate([np.zeros((*path.shape[:-1], 1)), np.cumsum(path, axis=-1)], axis=-1)
    return (total[..., high] - total[..., low]) / (high - low)


def unimodal_error(path: Float[np.ndarray, " snapshots"], top: int, window: int) -> float:
    """Standard error of a window's mean, from what a path that rises to ``top`` and then falls does not explain.

    Root mean square of the window means of the residuals of the least-squares monotone fits before and after top.
    Unlike what neighbours do not explain, it sees noise that lasts over several snapshots.
    """
    before = scipy.optimize.isotonic_regression(path[: top + 1]).x
    after = scipy.optimize.isotonic_regression(path[top:], increasing=False).x
    left = path - np.concatenate([before[:-1], after])
    means = np.lib.stride_tricks.sliding_window_view(left, window).mean(axis=-1)
    return float(np.sqrt((means**2).mean()))


def span(time: Float[np.ndarray, " snapshots"], where: Bool[np.ndarray, " snapshots"]) -> float:
    """Log epochs from the first to the last marked snapshot."""
    marked = time[where]
    return float(marked[-1] - marked[0])


def median_epoch(log_epoch: Float[np.ndarray, " replicas"], level: float, seed: int) -> Estimate:
    """Median of epochs over replicas with its percentile-bootstrap interval.

    Args:
        log_epoch: log(1 + epoch); NaN leaves a replica out, inf is an epoch beyond the last one.
        level: of the interval.
        seed: of the resampling; the order of the replicas does not matter.

    Returns:
        Epochs; inf where the median, or a bound of it, lies beyond the last epoch.
    """
    known = np.sort(log_epoch[~np.isnan(log_epoch)])
    known[np.isinf(known)] = BEYOND
    found = bootstrap_interval(np.median, known, level=level, seed=seed, method="percentile", expand=False)
    return Estimate(*(np.inf if value > BEYOND / 4 else float(np.expm1(value)) for value in found))


def median_epochs(log_epoch: Float[np.ndarray, "replicas *layers"], level: float, seed: int) -> Estimate:
    """`median_epoch` of every layer."""
    layers = log_epoch.shape[1:]
    found = [median_epoch(log_epoch[:, *layer], level, seed) for layer in np.ndindex(*layers)]
    return Estimate(*(np.reshape(values, layers) for values in zip(*found, strict=True)))
