"""Rank correlation over networks that come in groups of the same settings."""

import math

import numpy as np
from jaxtyping import Integer, Num

from ibjax.errors import InputError
from ibjax.plane.resampling import Estimate, check_level, spearman

RESAMPLES = 999


def clustered_rank_correlation(
    x: Num[np.ndarray, " pairs"],
    y: Num[np.ndarray, " pairs"],
    cluster: Integer[np.ndarray, " pairs"],
    *,
    within: bool = False,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return Spearman's rank correlation of x and y, with an interval over clusters of pairs.

    Whole clusters are drawn with replacement, because networks of the same settings are no independent evidence of what
    settings do. The interval holds the middle ``level`` of the correlations of 999 draws.

    Args:
        x: one value a pair.
        y: likewise; a pair with a NaN is left out.
        cluster: which cluster the pair is of, any integers.
        within: correlate deviations from the cluster's means: what is left when the settings are held fixed.
        seed: of the draws.
        level: confidence.

    Returns:
        The correlation, see `rank_correlation`. Its bounds are NaN with fewer than two clusters, and too close with
        fewer than about ten.

    Raises:
        InputError: arrays of different shapes, infinite values, or a level that makes no sense.

    Example:
        Settings order x and y alike, networks of the same settings against that:

        >>> cluster = np.repeat(np.arange(20), 5)
        >>> own = np.tile(np.arange(5.0), 20)
        >>> x, y = 10.0 * cluster + own, 10.0 * cluster - own
        >>> round(float(clustered_rank_correlation(x, y, cluster).value), 1)
        1.0
        >>> round(float(clustered_rank_correlation(x, y, cluster, within=True).value), 2)
        -1.0

    References:
        Davison & Hinkley (1997), "Bootstrap methods and their application", section 3.8.
    """
    check_level(level)
    if not np.shape(x) == np.shape(y) == np.shape(cluster) or np.ndim(x) != 1:
        raise InputError(f"all must hold one value a pair, got {np.shape(x)}, {np.shape(y)} and {np.shape(cluster)}")
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if np.isinf(x).any() or np.isinf(y).any():
        raise InputError(f"pair {int(np.argmax(np.isinf(x) | np.isinf(y)))} is infinite: mask it with NaN")
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    _, cluster = np.unique(cluster[known], return_inverse=True)
    if not x.size:
        return Estimate(math.nan, math.nan, math.nan)
    count = int(cluster.max()) + 1
    if within:
        size = np.bincount(cluster)
        x, y = (values - (np.bincount(cluster, values) / size)[cluster] for values in (x, y))
    value = float(spearman(x, y))
    if count < 2:
        return Estimate(value, math.nan, math.nan)
    members = [np.flatnonzero(cluster == c) for c in range(count)]
    random, drawn = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        rows = np.concatenate([members[c] for c in random.integers(count, size=count)])
        drawn.append(spearman(x[rows], y[rows]))
    tail = (1 - level) / 2
    return Estimate(value, *(float(bound) for bound in np.quantile(drawn, [tail, 1 - tail])))
