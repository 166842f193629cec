"""Intervals of statistics over replicas: the bootstrap, paired differences, rank correlations and power laws."""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Bool, Num

from ibjax.errors import InputError, choose

METHODS = ("BCa", "percentile", "basic")
RESAMPLES = 9999
EQUAL = 1e-12
"""Relative differences of replicas that are rounding."""


class Estimate(NamedTuple):
    """A statistic over replicas and the bounds of its confidence interval.

    Attributes:
        value: the statistic of all replicas.
        low: lower bound; NaN where there is no interval, as of one replica.
        high: upper bound.
    """

    value: Any
    low: Any
    high: Any


class PowerLaw(NamedTuple):
    """A fit y = c x^exponent.

    Attributes:
        exponent: with its interval.
        log_c: log c, the intercept at x = 1.
        r_squared: share of the variance of the mean log y over x that the law explains.
        used: which x entered the fit.
    """

    exponent: Estimate
    log_c: float
    r_squared: float
    used: Bool[np.ndarray, " points"]


def bootstrap_interval(
    statistic: Callable[..., Any],
    samples: Num[np.ndarray, " replicas"] | tuple[Num[np.ndarray, " _"], ...],
    *,
    seed: int = 0,
    level: float = 0.95,
    paired: bool = False,
    method: str = "BCa",
    expand: bool = True,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Return a statistic over replicas with its bootstrap confidence interval.

    Replicas are drawn with replacement and the statistic is taken anew; the interval holds the middle ``level`` of
    these values, under ``BCa`` corrected for bias and skewness.

    Args:
        statistic: takes one array a sample and, if it can, ``axis``, like `numpy.mean`.
        samples: one value a replica, or several such samples. A NaN is a masked replica and is left out.
        seed: of the draws; the same seed gives the same interval.
        level: confidence.
        paired: replica i is the same one in all samples: it is drawn, and masked, in all of them together.
        method: ``BCa``, or ``percentile`` for statistics that a single replica cannot move smoothly, such as a
            median, or ``basic``.
        expand: ask the bootstrap for a higher level, as Student's t does of the normal distribution: with n replicas
            the 1 - a / 2 quantile z of the normal becomes sqrt(n / (n - 1)) t(1 - a / 2; n - 1). Without it the
            interval of a mean of ten normal values at 0.95 holds the truth 0.89 of the time, with it 0.95. Not for
            medians, whose bootstrap interval is wide enough.
        resamples: number of draws.

    Returns:
        The statistic and its bounds. The bounds are NaN for fewer than two replicas; they equal the value where
        all replicas are equal (for shares and correlations, which often are, take `share` or `bounded_mean`).

    Raises:
        InputError: a level or method that makes no sense, infinite values, or paired samples of different sizes.

    Example:
        >>> epochs = np.array([310.0, 350.0, 330.0, np.nan, 360.0, 345.0])
        >>> found = bootstrap_interval(np.mean, epochs)
        >>> bool(found.low < found.value == 339.0 < found.high)
        True

    References:
        Efron (1987), "Better bootstrap confidence intervals"; by `scipy.stats.bootstrap`. Hesterberg
        (2015), "What teachers should know about the bootstrap", for ``expand``.
    """
    from scipy import stats  # here and below, since it takes long to import

    choose("bootstrap method", method, METHODS)
    check_level(level)
    arrays = [np.asarray(s, np.float64) for s in (samples if isinstance(samples, tuple) else (samples,))]
    for position, array in enumerate(arrays):
        if np.isinf(array).any():
            where = int(np.argmax(np.isinf(array)))
            raise InputError(f"sample {position} is infinite at replica {where}: mask it with NaN or censor it")
    if paired:
        if len({array.size for array in arrays}) > 1:
            raise InputError(f"paired samples must have the same replicas, got {[array.size for array in arrays]}")
        kept = ~np.isnan(arrays).any(axis=0)
        arrays = [array[kept] for array in arrays]
    else:
        arrays = [array[~np.isnan(array)] for array in arrays]
    if min(array.size for array in arrays) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(statistic(*arrays))
    if min(array.size for array in arrays) < 2:
        return Estimate(value, math.nan, math.nan)
    if all(np.ptp(array) <= EQUAL * np.abs(array).max() for array in arrays):
        return Estimate(value, value, value)
    with warnings.catch_warnings():
        # A statistic that leaving out any one replica does not change has no BCa interval, and NaN says so.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.bootstrap(
            tuple(arrays),
            statistic,
            n_resamples=resamples,
            confidence_level=_expanded(level, [array.size for array in arrays], paired) if expand else level,
            method=method,
            paired=paired,
            random_state=np.random.default_rng(seed),
        )
    return Estimate(value, *(float(bound) for bound in found.confidence_interval))


def share(holds: Bool[np.ndarray, " replicas"], *, level: float = 0.95) -> Estimate:
    """Return the share of replicas of which something holds, with its exact (Clopper-Pearson) interval.

    A bootstrap would call the share certain where it holds of all replicas, or of none; this one does not: 1 out of
    5 replicas gives [0.01, 0.72] and 5 out of 5 gives [0.48, 1].

    Args:
        holds: one truth value a replica, masked replicas left out before.
        level: confidence, at least.

    Returns:
        The share and its bounds, all NaN without replicas.

    Example:
        >>> found = share(np.array([True] * 50))
        >>> f"{found.value:.2f} in [{found.low:.2f}, {found.high:.2f}]"
        '1.00 in [0.93, 1.00]'

    References:
        Clopper & Pearson (1934), "The use of confidence or fiducial limits"; by `scipy.stats.binomtest`.
    """
    from scipy import stats

    check_level(level)
    if not holds.size:
        return Estimate(math.nan, math.nan, math.nan)
    bounds = stats.binomtest(int(holds.sum()), holds.size).proportion_ci(level)
    return Estimate(float(holds.mean()), float(bounds.low), float(bounds.high))


def bounded_mean(
    values: Num[np.ndarray, " replicas"],
    low: float = 0.0,
    high: float = 1.0,
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return the mean over replicas of values that lie between two bounds, such as shares of layers, and its interval.

    Where replicas differ it is that of `bootstrap_interval`. Where all n have the same value c a bootstrap would be
    certain of it. But all that is known is that at least q = ((1 - level) / 2)^(1/n) of networks have it, by the
    exact interval of a `share`, and that the others are within the bounds: the interval is

        [q c + (1 - q) low, q c + (1 - q) high].

    Args:
        values: one a replica; a NaN leaves it out.
        low: the least that a value can be: 0 of a share, -1 of a correlation.
        high: the largest.
        seed: of the resampling.
        level: confidence.

    Raises:
        InputError: a value beyond the bounds.

    Example:
        >>> found = bounded_mean(np.full(20, 0.8))
        >>> f"{found.value:.2f} in [{found.low:.2f}, {found.high:.2f}]"
        '0.80 in [0.67, 0.83]'

    References:
        Clopper & Pearson (1934), "The use of confidence or fiducial limits", for q.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if ((known < low) | (known > high)).any():
        worst = known[np.argmax(np.maximum(low - known, known - high))]
        raise InputError(f"values must lie between {low:g} and {high:g}, got {worst:g}: use bootstrap_interval")
    if known.size == 0 or np.ptp(known) > EQUAL * (high - low):
        return bootstrap_interval(np.mean, known, seed=seed, level=level)
    check_level(level)
    mean = float(known.mean())
    agree = ((1 - level) / 2) ** (1 / known.size)
    return Estimate(mean, agree * mean + (1 - agree) * low, agree * mean + (1 - agree) * high)


def paired_difference(
    first: Num[np.ndarray, " replicas"],
    second: Num[np.ndarray, " replicas"],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return the mean of first - second over replicas, each compared with itself, and its interval.

    Args:
        first: one value a replica.
        second: the same replicas; one that is NaN in either is left out.
        seed: of the resampling.
        level: confidence.

    Example:
        >>> before, after = np.array([1.0, 2.0, 3.0]), np.array([0.8, 1.7, 2.9])
        >>> f"{paired_difference(before, after).value:.2f}"
        '0.20'
    """
    _same_size(first, second)
    return bootstrap_interval(np.mean, np.asarray(first, np.float64) - second, seed=seed, level=level)


def rank_correlation(
    x: Num[np.ndarray, " pairs"],
    y: Num[np.ndarray, " pairs"],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return Spearman's rank correlation of x and y, ties at their mean rank, and its interval over pairs.

    Args:
        x: one value a pair.
        y: likewise; a pair with a NaN is left out.
        seed: of the resampling.
        level: confidence.

    Returns:
        The correlation, in [-1, 1]; 0 where x or y is constant, which says that neither orders the other. The
        interval needs about ten pairs: with fewer it is too short.

    Example:
        >>> rank_correlation(np.array([1, 2, 3, 4]), np.array([10, 20, 25, 99])).value
        1.0
    """
    _same_size(x, y)
    return bootstrap_interval(spearman, (x, y), seed=seed, level=level, paired=True, method="percentile")


def power_law(
    x: Num[np.ndarray, " points"],
    y: Num[np.ndarray, "points replicas"],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> PowerLaw:
    """Fit y = c x^exponent by least squares in logarithms, with an interval from replicas resampled within each x.

    The line goes through the means over replicas of log y, one a point and all of equal weight.

    Args:
        x: positive settings, such as numbers of layers.
        y: positive results of every replica. NaN is a masked replica. inf is a right-censored one, and its whole
            x is left out: to leave out the replica alone would make the others look faster than they are.
        seed: of the resampling.
        level: confidence.

    Returns:
        The fit. The exponent is NaN with fewer than two points and its interval is NaN where some point has one
        replica only. The interval says how well the replicas fix the slope, not whether a power law is right:
        look at ``r_squared`` and at the figure.

    Raises:
        InputError: values that are not positive, or x that all are equal.

    Example:
        >>> layers = np.array([1, 2, 4])
        >>> fit = power_law(layers, 800.0 * layers[:, None] ** -1.5 * np.array([[0.9, 1.0, 1.1]]))
        >>> f"{fit.exponent.value:.2f}"
        '-1.50'
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or y.ndim != 2 or y.shape[0] != x.size:
        raise InputError(f"x of shape {x.shape} and y of shape {y.shape} do not fit: y needs one row a value of x")
    for name, values in (("x", x), ("y", y)):
        if (values <= 0).any():
            raise InputError(f"{name} must be positive, and is not at index {np.argwhere(values <= 0)[0].tolist()}")
    used = np.asarray(~np.isinf(y).any(axis=1) & ~np.isnan(y).all(axis=1))
    if used.sum() < 2:
        return PowerLaw(Estimate(math.nan, math.nan, math.nan), math.nan, math.nan, used)
    if np.ptp(x[used]) == 0:
        raise InputError(f"x is {x[used][0]:g} at every point used: a slope needs two different values")
    position, groups = np.log(x[used]), tuple(np.log(row[~np.isnan(row)]) for row in y[used])
    centred = position - position.mean()
    weights = centred / (centred**2).sum()

    def slope(*samples: np.ndarray, axis: int = -1) -> Any:
        return np.tensordot(weights, [sample.mean(axis) for sample in samples], axes=1)

    exponent = bootstrap_interval(slope, groups, seed=seed, level=level, method="BCa")
    means = np.array([group.mean() for group in groups])
    log_c = float(means.mean() - exponent.value * position.mean())
    left = means - log_c - exponent.value * position
    total = ((means - means.mean()) ** 2).sum()
    return PowerLaw(exponent, log_c, float(1 - (left**2).sum() / total) if total > 0 else math.nan, used)


def check_level(level: float) -> None:
    """Raise an `InputError` unless a confidence level lies between 0 and 1."""
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}")


def _expanded(level: float, sizes: list[int], paired: bool) -> float:
    """The level whose normal quantile is Student's, times sqrt(n / (n - 1)) for the smallest sample."""
    freedom = sizes[0] - 1 if paired else sum(sizes) - len(sizes)
    smallest = min(sizes)
    quantile = scipy.special.stdtrit(freedom, (1 + level) / 2) * math.sqrt(smallest / (smallest - 1))
    return float(1 - 2 * scipy.special.ndtr(-quantile))


def _same_size(x: np.ndarray, y: np.ndarray) -> None:
    if np.shape(x) != np.shape(y) or np.ndim(x) != 1:
        raise InputError(f"both must hold one value a replica, got shapes {np.shape(x)} and {np.shape(y)}")


def spearman(x: np.ndarray, y: np.ndarray, axis: int = -1) -> Any:
    """Pearson's correlation of the ranks, 0 where one of them is constant."""
    from scipy import stats

    a, b = (stats.rankdata(values, axis=axis) for values in (x, y))
    a, b = (ranks - ranks.mean(axis, keepdims=True) for ranks in (a, b))
    scale = np.sqrt((a**2).sum(axis) * (b**2).sum(axis))
    return (a * b).sum(axis) / np.where(scale > 0, scale, 1.0)
