"""The kernel bounds as a reader would write them: entropies of mixtures in NumPy, in double precision."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp


def squared_distances(t):
    t = np.asarray(t, np.float64)
    return ((t[:, None] - t[None]) ** 2).sum(axis=-1)


def mixture_entropy(t, weights, variance, bound):
    """Bound on the entropy of sum_i w_i N(t_i, variance): Kullback-Leibler above, Bhattacharyya below."""
    d = np.shape(t)[1]
    if bound == "lower":  # the upper one at four times the variance, and what that changes in a component's entropy
        return mixture_entropy(t, weights, 4 * variance, "upper") + d / 2 * np.log(1 / 4)
    log_density = logsumexp(-squared_distances(t) / (2 * variance), axis=1, b=weights[None])
    log_density -= d / 2 * np.log(2 * np.pi * variance)
    return d / 2 - (weights * log_density).sum()


def kernel_bounds(t, labels, variance, bound="upper"):
    """I(X;T) and I(T;Y) from integer labels or rows p(y|x)."""
    n, d = np.shape(t)
    rows = np.asarray(labels, np.float64)
    if rows.ndim == 1:
        rows = (np.asarray(labels)[:, None] == np.unique(labels)).astype(np.float64)
    entropy = mixture_entropy(t, np.full(n, 1 / n), variance, bound)
    noise = d / 2 * (np.log(2 * np.pi * variance) + 1)
    mass = rows.sum(axis=0)
    inside = sum(
        m / n * mixture_entropy(t, row / m, variance, bound) for row, m in zip(rows.T, mass, strict=True) if m > 0
    )
    return entropy - noise, entropy - inside


def leave_one_out_likelihood(t, variance):
    """Mean log-likelihood of every sample under the kernel density of those that differ from it, up to a constant."""
    distance = squared_distances(t)
    terms = np.where(distance > 0, -distance / (2 * variance), -np.inf)
    return logsumexp(terms, axis=1).mean() - np.shape(t)[1] / 2 * np.log(variance)


def likelihood_variance(t):
    """The variance of largest leave-one-out likelihood: a fine grid, then Brent's method."""
    logs = np.linspace(-14, 4, 300) + np.log(np.var(t))
    best = int(np.argmax([leave_one_out_likelihood(t, np.exp(u)) for u in logs]))
    found = minimize_scalar(
        lambda u: -leave_one_out_likelihood(t, np.exp(u)), bracket=logs[best - 1 : best + 2], tol=1e-10
    )
    return np.exp(found.x)


def layer_variance(t):
    """Mean squared deviation from the mean, per unit."""
    return np.var(np.asarray(t, np.float64), axis=0).mean()
