"""Matrix-based Renyi information in a few lines of NumPy, from the papers' formulae."""

import numpy as np


def gaussian(x, sigma):
    """exp(-|x_i - x_j|^2 / 2 sigma^2)."""
    x = np.asarray(x, np.float64)
    return np.exp(-((x[:, None] - x) ** 2).sum(axis=2) / (2 * sigma**2))


def silverman(x):
    """Silverman (1986), equation 4.14, with the root of the mean variance as scale."""
    n, d = x.shape
    return np.sqrt(np.var(x, axis=0, ddof=1).mean()) * (4 / (d + 2)) ** (1 / (d + 4)) * n ** (-1 / (d + 4))


def aligned(x, ideal, factors):
    """The multiple of the mean distance whose kernel has the largest cosine with the ideal one."""
    mean = np.sqrt(((x[:, None] - x) ** 2).sum(axis=2)).mean()
    kernels = [gaussian(x, factor * mean) for factor in factors]
    cosine = [(k * ideal).sum() / np.linalg.norm(k) / np.linalg.norm(ideal) for k in kernels]
    return factors[int(np.argmax(cosine))] * mean


def entropy(k, alpha):
    """1/(1 - alpha) ln tr(A^alpha), A = K / tr(K)."""
    values = np.linalg.eigvalsh(k / np.trace(k))
    return float(np.log((values[values > 0] ** alpha).sum()) / (1 - alpha))


def information(k, other, alpha):
    """S(A) + S(B) - S(A o B / tr(A o B))."""
    return entropy(k, alpha) + entropy(other, alpha) - entropy(k * other, alpha)
