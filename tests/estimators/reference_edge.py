"""EDGE in plain NumPy, written from the definitions: dictionaries of cells, loops over bandwidths, no JAX.

`published` is the estimator of Noshad, Zeng & Hero (2019) with weights from a dense solve; `code` the rule of the
public implementation, version 4.2.0; `rank` the package's default.  Every information is in nats.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

Array = NDArray[Any]

# --- Cells -------------------------------------------------------------------------------------------------


def counts_of(x_cells: Array, y_cells: Array) -> tuple[Counter, Counter, Counter]:
    """Counts of the cells of X, of Y and of both; each argument has one row of integers a sample."""
    x, y = ([tuple(row) for row in as_columns(part).tolist()] for part in (x_cells, y_cells))
    return Counter(x), Counter(y), Counter(zip(x, y, strict=True))


def plug_in(x_cells: Array, y_cells: Array) -> float:
    """Mutual information of the empirical distribution of cells."""
    n = len(x_cells)
    x, y, xy = counts_of(x_cells, y_cells)
    return sum(c / n * np.log(c * n / (x[a] * y[b])) for (a, b), c in xy.items())


def grassberger(counts: ArrayLike) -> Array:
    """G(c) of Grassberger (2003)."""
    c = np.asarray(counts, dtype=np.float64)
    return digamma(c) + 0.5 * (-1.0) ** c * (digamma((c + 1) / 2) - digamma(c / 2))


def entropy(counts: Counter, function: Any = grassberger) -> float:
    """ln n - (1/n) sum c G(c) of cells with these counts."""
    c = np.array(list(counts.values()))
    return float(np.log(c.sum()) - (c * function(c)).sum() / c.sum())


def as_columns(a: ArrayLike) -> Array:
    """Samples of shape (n, columns)."""
    a = np.asarray(a)
    return a[:, None] if a.ndim == 1 else a


# --- The default rule --------------------------------------------------------------------------------------


def rank_cells(column: Array, bins: int) -> Array:
    """floor(bins * r / n) of every value's mid-rank r: half the number of smaller and of smaller or equal values."""
    column = np.asarray(column)
    twice = np.array([(column < v).sum() + (column <= v).sum() for v in column])
    return twice * bins // (2 * len(column))


def rank_levels(n: int, columns: int) -> int:
    """Number of bandwidths: bins a column are 2, 4, ..., 2^levels."""
    return max(1, min(20 // columns, int(np.log2(n / 4)))) if n >= 8 else 1


def rank(x: ArrayLike, y: ArrayLike, x_labels: bool = False, y_labels: bool = False) -> float:
    """The default rule: Grassberger's entropies of rank cells, finest trusted bandwidth, extrapolated."""
    x, y = as_columns(x), as_columns(y)
    n, columns = len(x), x.shape[1] * (not x_labels) + y.shape[1] * (not y_labels)
    if columns == 0:
        a, b, ab = counts_of(x, y)
        return entropy(a) + entropy(b) - entropy(ab)
    found, resolved = [], []
    for level in range(1, rank_levels(n, columns) + 1):
        sides, pure, functions = [], True, []
        for side, labels in ((x, x_labels), (y, y_labels)):
            # One column's bins are equally full by construction; other counts are made by chance.
            functions.append(digamma if side.shape[1] == 1 and not labels else grassberger)
            if labels:
                sides.append(side)
                continue
            cells = np.stack([rank_cells(column, 2**level) for column in side.T], axis=1)
            pure &= all(len(set(c)) == len(set(v)) for c, v in zip(cells.T, side.T, strict=True))
            sides.append(cells)
        a, b, ab = counts_of(*sides)
        if level > 1 and sum(c == 1 for c in ab.values()) / n > 0.03:
            break
        one_cell = len(a) == 1 or len(b) == 1
        found.append(0.0 if one_cell else entropy(a, functions[0]) + entropy(b, functions[1]) - entropy(ab))
        resolved.append(pure)
    if len(found) == 1 or resolved[-1]:
        return found[-1]
    return 2 * found[-1] - found[-2]


# --- The published rule ------------------------------------------------------------------------------------


def published_weights(t: ArrayLike, d: int) -> Array:
    """The shortest w with sum w = 1 and sum w t^i = 0 for i = 1 .. d."""
    t = np.asarray(t, dtype=np.float64)
    powers = np.stack([t**i for i in range(d + 1)])
    return np.linalg.lstsq(powers, np.eye(d + 1)[0], rcond=None)[0]


def published(x: ArrayLike, y: ArrayLike, t: ArrayLike, y_labels: bool = False) -> float:
    """sum_j w_j I(floor(x / eps_j); floor(y / eps_j)) with eps_j = t_j n^(-1/(2d))."""
    x, y = as_columns(x).astype(np.float64), as_columns(y)
    d = x.shape[1] + y.shape[1] * (not y_labels)
    total = 0.0
    for weight, one in zip(published_weights(t, d), t, strict=True):
        eps = one * len(x) ** (-1 / (2 * d))
        total += weight * plug_in(np.floor(x / eps), y if y_labels else np.floor(y.astype(np.float64) / eps))
    return float(total)


# --- The public code's rule --------------------------------------------------------------------------------


def code(
    x: ArrayLike,
    y: ArrayLike,
    gamma: float = 1.0,
    U: float = 10.0,
    epsilon: float = 0.0,
    members: int = 10,
    x_labels: bool = False,
    x_gamma: float | None = None,
) -> float:
    """Median of clipped local informations, bandwidths from neighbours, and once more with a rescaled bandwidth."""
    x, y = as_columns(x).astype(np.float64), as_columns(y).astype(np.float64)
    n = len(x)
    stream = np.random.RandomState(3334)
    sides = []
    for side in (x, y):
        width = side.shape[1]
        kept = max(1, min(width, int(np.floor(np.log2(n / 10)))))
        deviation = side.std(axis=0)
        deviation[deviation < 1e-4] = 1
        sides.append(side @ (stream.standard_normal((width, kept)) / (deviation[:, None] * np.sqrt(width))))

    def scale(side: Array) -> Array:
        d = side.shape[1]
        if epsilon > 0:
            return np.full(d, epsilon * 3 * d)
        k = max(1, int(np.floor(0.43 * n ** (2 / 3 + 0.17 * d / (d + 1)) * np.exp(-1 / max(1e4, d**4)))))
        queries = np.random.RandomState(3334).randint(0, n, 500)
        distance = np.abs(side[queries, None, :] - side[None, :, :])
        return (np.sort(distance, axis=1)[:, k - 1].mean(axis=0) + 1e-4) * 3 * d

    scales = [scale(side) for side in sides]
    shares = (1.0 if x_gamma is None else x_gamma / gamma, 1.0)

    def median(gamma: float) -> float:
        found = []
        for j, factor in enumerate(np.linspace(1, 1.1, members)):
            cells = []
            for side, eps, labels, share in zip(sides, scales, (x_labels, False), shares, strict=True):
                width = eps * gamma * factor * share
                cells.append(side if labels else np.floor((side + j / members * width) / width))
            a, b, ab = counts_of(*cells)
            local = [c * np.clip(np.log2(c * n / (a[i] * b[j])), 0.001, U) for (i, j), c in ab.items()]
            found.append(sum(local) / n)
        return float(np.median(found))

    first = median(gamma)
    return median(gamma * 2 ** (-np.sqrt(2 * first) + 0.5 / first)) * np.log(2)
