"""Gaussian informations by log-determinants and ranks by sorting, in NumPy float64."""

import numpy as np
from scipy import special, stats


def information(cov, dx):
    """I of the first dx columns and the others."""

    def log_det(a):
        return np.linalg.slogdet(a)[1]

    return (log_det(cov[:dx, :dx]) + log_det(cov[dx:, dx:]) - log_det(cov)) / 2


def bias(n, dx, dy):
    """Of the estimate from n samples: what E ln|S| adds to ln|cov|, dimension by dimension."""

    def psi(d):
        return sum(special.digamma((n - i) / 2) for i in range(1, d + 1))

    return (psi(dx) + psi(dy) - psi(dx + dy)) / 2


def estimate(x, y, corrected=True):
    cov = np.cov(np.concatenate([x, y], axis=1), rowvar=False)
    return information(cov, x.shape[1]) - (bias(len(x), x.shape[1], y.shape[1]) if corrected else 0)


def normal_scores(x):
    return stats.norm.ppf(stats.rankdata(x, axis=0) / (len(x) + 1))


def covariance(kind, dx, dy, rho=0.5):
    """Covariance of dx + dy columns: all pairs correlated, two pairs of x and y and no others, or any."""
    if kind == "dense":
        return np.full((dx + dy, dx + dy), rho) + (1 - rho) * np.eye(dx + dy)
    if kind == "sparse":
        cov = np.eye(dx + dy)
        for i in range(min(dx, dy, 2)):
            cov[i, dx + i] = cov[dx + i, i] = rho
        return cov
    a = np.random.default_rng(dx + dy).normal(size=(dx + dy, dx + dy + 2))
    return a @ a.T / (dx + dy)


def blocks(cov, dx):
    return cov[:dx, :dx], cov[:dx, dx:], cov[dx:, dx:]
