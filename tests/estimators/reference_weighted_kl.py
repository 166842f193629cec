"""The weighted Kozachenko-Leonenko estimate, written from the paper: SciPy's tree, and weights to fifty digits."""

import math

import mpmath
import numpy as np
from scipy.spatial import KDTree
from scipy.special import digamma


def rows(k, columns):
    """Gamma(j + 2 l / d) / Gamma(j) for l = 0 .. floor(d / 4), one row an l, to fifty digits."""
    with mpmath.workdps(50):
        step = mpmath.mpf(2) / columns
        return mpmath.matrix(
            [[mpmath.gamma(j + step * i) / mpmath.gamma(j) for j in range(1, k + 1)] for i in range(columns // 4 + 1)]
        )


def weights(k, columns):
    """Shortest solution of rows @ w = (1, 0, ..., 0): rows^T (rows rows^T)^-1 (1, 0, ..., 0)."""
    with mpmath.workdps(50):
        a = rows(k, columns)
        right = mpmath.matrix([1] + [0] * (a.rows - 1))
        return np.array([float(w) for w in a.T * mpmath.lu_solve(a * a.T, right)])


def entropy(x, k):
    """In nats, in the maximum norm: the mean over rows of sum_j w_j [d ln(2 r_j) - psi(j)] + psi(n)."""
    n, d = x.shape
    distances = KDTree(x).query(x, k=k + 1, p=math.inf)[0][:, 1:]
    each = d * np.log(2 * distances) - digamma(np.arange(1, k + 1)) + digamma(n)
    return float((each @ weights(k, d)).mean())


def weighted_kl(x, y, k):
    """I(X;Y) = h(X) + h(Y) - h(X, Y)."""
    return entropy(x, k) + entropy(y, k) - entropy(np.column_stack([x, y]), k)
