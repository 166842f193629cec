"""When a path first gets somewhere, and the median of such epochs over replicas that may not have got there."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num

from ibjax.errors import InputError, choose
from ibjax.plane.paths import log_epochs
from ibjax.plane.resampling import Estimate, check_level

DIRECTIONS = ("up", "down")


class Crossing(NamedTuple):
    """First epochs at which a level was reached; arrays of shape (replicas, *layers).

    Attributes:
        epoch: of the first such snapshot; NaN where there is none.
        last: the last epoch looked at; NaN for a masked path.
        censored: the level was not reached by ``last``: the epoch is later than that (right-censored).
    """

    epoch: np.ndarray
    last: np.ndarray
    censored: np.ndarray


def first_crossing(
    epochs: Num[np.ndarray, " snapshots"],
    path: Num[np.ndarray, "replicas *layers snapshots"],
    level: float,
    *,
    direction: str = "up",
    where: Bool[np.ndarray, "replicas *layers snapshots"] | None = None,
    stay: bool = False,
) -> Crossing:
    """Find the first snapshot whose value is at least ``level``, or at most it.

    Args:
        epochs: of the snapshots, increasing.
        path: replicas first and snapshots last. One with a value that is not finite is masked.
        level: in the units of path.
        direction: ``"up"`` for values of at least the level, ``"down"`` for at most.
        where: snapshots that qualify, such as those of a test accuracy of at least 0.9; by default all.
        stay: ask for the first snapshot from which on all reach the level, and qualify, to the end.

    Returns:
        The crossings. An epoch is known to one snapshot: the crossing lies after the snapshot before it.

    Raises:
        InputError: arrays that do not fit, or an unknown direction.

    Example:
        Within 0.05 of the final value:

        >>> path = np.array([[0.0, 0.5, 0.93, 0.97, 1.0]])
        >>> epochs = np.array([0, 1, 2, 4, 8])
        >>> first_crossing(epochs, np.abs(path - path[:, -1:]), 0.05, direction="down").epoch
        array([4.])
    """
    choose("direction", direction, DIRECTIONS)
    if np.isnan(level):
        raise InputError("level must be a number, got nan")
    log_epochs(epochs, path, *([] if where is None else [where]))
    finite = np.isfinite(path).all(axis=-1)
    reached = path >= level if direction == "up" else path <= level
    if where is not None:
        reached = reached & where
    if stay:
        reached = np.flip(np.logical_and.accumulate(np.flip(reached, -1), axis=-1), -1)
    ever = finite & reached.any(axis=-1)
    return Crossing(
        epoch=np.where(ever, epochs[reached.argmax(axis=-1)].astype(np.float64), np.nan),
        last=np.where(finite, float(epochs[-1]), np.nan),
        censored=np.asarray(finite & ~ever),
    )


def censored_median(
    epoch: Num[np.ndarray, " replicas"],
    last: Num[np.ndarray, " replicas"],
    *,
    level: float = 0.95,
) -> Estimate:
    """Return the median of right-censored epochs, by Kaplan and Meier, with its interval.

    The median is the first epoch at which S, the estimated share of replicas that have not arrived, is at most a
    half; its bounds are the first epochs at which the bounds of S (log-log, Greenwood's variance) are.

    Args:
        epoch: of the event; NaN where it has not happened by ``last``.
        last: the last epoch looked at; NaN leaves a masked replica out.
        level: confidence.

    Returns:
        The median and its bounds; inf where S, or its bound, stays above a half: more than that is not known
        about a late event. All NaN without replicas. For fewer than about six replicas the bounds are rough.

    Raises:
        InputError: shapes that differ, or an event after the last epoch.

    Example:
        >>> found = censored_median(np.array([10, 20, 30, 40, np.nan]), np.full(5, 100.0))
        >>> found.value
        30.0

    References:
        Kaplan & Meier (1958), "Nonparametric estimation from incomplete observations"; Brookmeyer & Crowley
        (1982), "A confidence interval for the median survival time"; S by `scipy.stats.ecdf`.
    """
    from scipy import stats  # takes long to import

    check_level(level)
    epoch, last = np.asarray(epoch, np.float64), np.asarray(last, np.float64)
    if epoch.shape != last.shape or epoch.ndim != 1:
        raise InputError(f"epoch of shape {epoch.shape} and last of shape {last.shape} must hold one value a replica")
    if (late := epoch > last).any():
        raise InputError(f"replica {int(np.argmax(late))} has its event after the last epoch looked at: check last")
    known = ~np.isnan(last)
    censored = np.isnan(epoch[known])
    times = np.where(censored, last[known], epoch[known])
    if not times.size:
        return Estimate(np.nan, np.nan, np.nan)
    survival = stats.ecdf(stats.CensoredData.right_censored(times, censored)).sf

    def first(shares: np.ndarray) -> float:
        below = np.flatnonzero(shares <= 0.5)
        return float(survival.quantiles[below[0]]) if below.size else np.inf

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # where S is 0 or 1 its bounds are NaN: no crossing
        bounds = survival.confidence_interval(level, method="log-log")
    low, high = (np.where(survival.probabilities <= 0, 0.0, b.probabilities) for b in (bounds.low, bounds.high))
    return Estimate(first(survival.probabilities), first(low), first(high))
