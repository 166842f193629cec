"""Trends over settings: rank correlations that every replica has by itself, and straight lines in logarithms."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num

from ibjax.errors import InputError, choose
from ibjax.plane.resampling import RESAMPLES, Estimate, bootstrap_interval, bounded_mean, check_level, spearman

FITS = ("vertical", "orthogonal")
"""Which distances a line makes small: those in y alone, or those from the line itself."""
LEAST_FOUND = 0.75
"""Share of the replicas that must have a number for a point to have a median that is worth one."""


class LogLine(NamedTuple):
    """A line log y = slope log x + log c through the medians over replicas.

    Attributes:
        slope: with its interval.
        correlation: Pearson's, of the logarithms of the medians, with its interval.
        misfit: largest distance of a median of y from the line, in octaves (log2), with its interval.
        log_c: log c, the intercept at x = 1.
        x: medians, one a point; NaN where a point has none, inf where it lies beyond the run.
        y: likewise.
        used: which points entered the fit.
    """

    slope: Estimate
    correlation: Estimate
    misfit: Estimate
    log_c: float
    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    used: Bool[np.ndarray, " points"]


def mean_rank_correlation(
    x: Num[np.ndarray, " points"],
    y: Num[np.ndarray, "points replicas"],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return the mean over replicas of Spearman's rank correlation of x with the replica's own y.

    For settings that every replica goes through, such as shares of the data: differences between replicas that
    shift all its values alike do not matter.

    Args:
        x: one setting a point.
        y: one value a point and replica. A NaN leaves the point out for that replica; inf is larger than every
            number, as of an event later than the last epoch, which all such points have in common.
        seed: of the resampling.
        level: confidence.

    Returns:
        The mean, in [-1, 1], and its interval over replicas, see `bounded_mean`. A replica with fewer than three points
        is left out; one whose y are all equal counts as 0.

    Raises:
        InputError: shapes that do not fit.

    Example:
        >>> shares = np.array([0.05, 0.45, 0.85])
        >>> mean_rank_correlation(shares, np.array([[0.5, 0.6], [0.8, 0.7], [0.9, 0.9]])).value
        1.0
    """
    x, y = _fitting(x, y)
    found = np.array([_spearman(x[known], own[known]) for own in y.T for known in [~np.isnan(own)]])
    return bounded_mean(found, -1.0, 1.0, seed=seed, level=level)


def depth_trend(values: Float[np.ndarray, "replicas layers"]) -> Float[np.ndarray, " replicas"]:
    """Return Spearman's rank correlation of each replica's values with the depth of their layers, ties at mean rank.

    Args:
        values: one a layer, in the order of the network. NaN leaves a layer out; inf is a right-censored value, above
            all that are known and tied with the other censored ones.

    Returns:
        From -1, falls at every layer, to 1. 0 where all are equal. NaN where all are censored, whose order is not
        known, and with fewer than 3 layers.

    Example:
        >>> depth_trend(np.array([[np.inf, np.inf, 5.0, 2.0], [1.0, 1.0, 1.0, 1.0]])).round(2)
        array([-0.95,  0.  ])
    """
    depth = np.arange(values.shape[1])
    known = ~np.isnan(values)
    return np.array(
        [
            math.nan if np.isinf(row[at]).all() else _spearman(depth[at], row[at])
            for row, at in zip(values.astype(np.float64), known, strict=True)
        ]
    )


def range_of_means(
    values: Num[np.ndarray, "points replicas"],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return the largest minus the smallest over points of the means over replicas.

    For claims that a setting hardly matters: with noise the range is too large, by about the standard error of a mean
    times a factor that grows with the points, and never too small.

    Args:
        values: one value a point and replica. A replica that is NaN somewhere is left out everywhere.
        seed: of the resampling.
        level: confidence.

    Returns:
        The range and its bootstrap interval over replicas, each drawn at all points together; all NaN for fewer than
        two points.

    Example:
        >>> range_of_means(np.array([[1.0, 2.0, 3.0], [1.5, 2.5, 3.5]])).value
        0.5
    """
    values = np.asarray(values, np.float64)
    whole = values[:, np.isfinite(values).all(axis=0)]
    if len(values) < 2:
        return Estimate(math.nan, math.nan, math.nan)

    def statistic(drawn: np.ndarray, axis: int = -1) -> Any:
        return np.ptp(whole[:, np.moveaxis(drawn, axis, -1).astype(int)].mean(axis=-1), axis=0)

    return bootstrap_interval(statistic, np.arange(whole.shape[1], dtype=np.float64), seed=seed, level=level)


def log_line(
    x: Num[np.ndarray, "points replicas"] | Num[np.ndarray, " points"],
    y: Num[np.ndarray, "points replicas"],
    *,
    fit: str = "vertical",
    seed: int = 0,
    level: float = 0.95,
) -> LogLine:
    r"""Fit a line in logarithms to the medians over replicas, one point a setting and all of equal weight.

    With a and b the centred logarithms of the medians of x and y, ``vertical`` has the slope sum ab / sum a^2 of
    least squares in y, for settings x that are known. ``orthogonal`` has the principal axis of the points,
    tan(atan2(2 sum ab, sum a^2 - sum b^2) / 2), for two measured quantities: exchanging them inverts the slope.

    Args:
        x: positive settings, one a point, or positive results, one a point and replica.
        y: positive results of every replica. NaN is a result that there is none of; inf is one beyond the run
            (right-censored), which counts as later than all others.
        fit: one of `FITS`.
        seed: of the resampling.
        level: confidence.

    Returns:
        The line. A point whose x or y is unknown or beyond the run for more than a quarter of the replicas is not
        used: its median would be that of the lucky ones. Fewer than two points have no line and fewer than three no
        correlation and no misfit: all NaN. Intervals are from replicas drawn with replacement, one draw for all
        points, which is right whether replica i of one setting is that of another or not. The misfit is a maximum
        over points and so too large by noise, never too small.

    Raises:
        InputError: shapes that do not fit, or values that are not positive.

    Example:
        >>> layers = np.array([1, 2, 4])
        >>> found = log_line(layers, 800 * layers[:, None] ** -1.5 * np.array([[0.9, 1.0, 1.1]]))
        >>> f"{found.slope.value:.2f}, misfit {found.misfit.value:.2f}"
        '-1.50, misfit 0.00'

    References:
        Pearson (1901), "On lines and planes of closest fit to systems of points in space", for ``orthogonal``.
    """
    choose("fit", fit, FITS)
    check_level(level)
    y = np.asarray(y, np.float64)
    x = np.asarray(x, np.float64)
    x = np.broadcast_to(x[:, None], y.shape) if x.ndim == 1 and y.ndim == 2 and len(x) == len(y) else x
    if x.ndim != 2 or x.shape != y.shape:
        raise InputError(f"x of shape {x.shape} and y of shape {y.shape} do not fit: give one row a point")
    for name, values in (("x", x), ("y", y)):
        if (values <= 0).any():
            raise InputError(f"{name} must be positive, and is not at index {np.argwhere(values <= 0)[0].tolist()}")
    used = np.asarray((np.isfinite(x) & np.isfinite(y)).sum(axis=1) >= max(LEAST_FOUND * y.shape[1], 1))
    logs = np.log(np.stack([x, y]))
    x_median, y_median = np.exp(_median(logs))
    logs = logs[:, used]
    nothing = Estimate(math.nan, math.nan, math.nan)
    if used.sum() < 2 or np.ptp(x_median[used]) == 0:
        return LogLine(nothing, nothing, nothing, math.nan, x_median, y_median, used)
    line = _line(_median(logs), fit)
    draws = RESAMPLES if y.shape[1] > 1 else 0  # one replica has no interval
    rows = np.random.default_rng(seed).integers(y.shape[1], size=(draws, y.shape[1]))
    drawn = _line(_median(logs[..., rows]), fit)
    found = {name: _percentiles(line[name], values, level) for name, values in drawn.items()}
    few = used.sum() < 3
    return LogLine(
        found["slope"],
        nothing if few else found["correlation"],
        nothing if few else found["misfit"],
        float(line["log_c"]),
        x_median,
        y_median,
        used,
    )


def _median(values: Float[np.ndarray, "*batch replicas"]) -> Any:
    """Median over the last axis, NaN left out, inf the largest; NumPy's own takes a hundred times as long."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.sum(~np.isnan(values), axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        middle = [np.take_along_axis(ordered, np.maximum(at, 0), -1)[..., 0] for at in ((count - 1) // 2, count // 2)]
        return (middle[0] + middle[1]) / 2


def _percentiles(value: Any, drawn: np.ndarray, level: float) -> Estimate:
    """A value with the middle ``level`` of what resampling makes of it; bounds are NaN where nothing was drawn."""
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return Estimate(float(value), math.nan, math.nan)
    return Estimate(float(value), *(float(b) for b in np.quantile(known, [(1 - level) / 2, (1 + level) / 2])))


def _line(logs: Float[np.ndarray, "2 points *draws"], fit: str) -> dict[str, Any]:
    """A line through points; those that are not finite are left out."""
    a, b = logs
    known = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(known, a, np.nan), np.where(known, b, np.nan)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        centre_a, centre_b = np.nanmean(a, axis=0), np.nanmean(b, axis=0)
        a, b = a - centre_a, b - centre_b
        aa, bb, ab = (np.nansum(p * q, axis=0) for p, q in ((a, a), (b, b), (a, b)))
        slope = ab / aa if fit == "vertical" else np.tan(np.arctan2(2 * ab, aa - bb) / 2)
        return {
            "slope": slope,
            "correlation": np.where(bb > 0, ab / np.sqrt(aa * bb), 0.0),
            "misfit": np.nanmax(np.abs(b - slope * a), axis=0) / np.log(2),
            "log_c": centre_b - slope * centre_a,
        }


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation of one replica; NaN for fewer than three points."""
    return math.nan if x.size < 3 else float(spearman(x, y))


def _fitting(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or y.ndim != 2 or len(y) != x.size:
        raise InputError(f"x of shape {x.shape} and y of shape {y.shape} do not fit: y needs one row a value of x")
    return x, y
