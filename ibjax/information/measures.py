"""Shannon's measures of discrete distributions, for NumPy (float64) and JAX arrays alike."""

from typing import Any

import jax
import numpy as np

Table = np.ndarray | jax.Array
"""A table of probabilities; computed in the array library and precision that it comes in."""


def _xlogy(x: Table, y: Table) -> Any:
    """``x ln y`` with ``0 ln y = 0`` even where ``y`` is 0."""
    xp = x.__array_namespace__()
    return xp.where(x > 0, x * xp.log(xp.where(x > 0, y, xp.ones_like(y))), xp.zeros_like(x))


def entropy(p: Table, axis: int = -1) -> Any:
    """Entropy of a distribution in nats, ``H(p) = -sum_i p_i ln p_i``.

    Args:
        p: probabilities that sum to one along ``axis``; zeros are allowed.
        axis: the axis of the alphabet.

    Returns:
        The entropy in nats, of the shape of ``p`` without ``axis``.

    Example:
        >>> float(entropy(np.array([0.5, 0.25, 0.25])) / np.log(2))
        1.5

    References:
        Shannon (1948), "A mathematical theory of communication", section 6.
    """
    return 0.0 - _xlogy(p, p).sum(axis=axis)


def kl_divergence(p: Table, q: Table, axis: int = -1) -> Any:
    """Kullback-Leibler divergence in nats, ``KL(p || q) = sum_i p_i ln(p_i / q_i)``.

    Args:
        p: probabilities along ``axis``.
        q: probabilities along ``axis``; the divergence is infinite where ``q`` is 0 and ``p`` is not.
        axis: the axis of the alphabet.

    Returns:
        The divergence in nats, at least 0 up to rounding.

    Example:
        >>> float(kl_divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) / np.log(2))
        1.0

    References:
        Kullback & Leibler (1951), "On information and sufficiency", equation 2.4.
    """
    with np.errstate(divide="ignore"):
        return (_xlogy(p, p) - _xlogy(p, q)).sum(axis=axis)


def mutual_information(joint: Table) -> Any:
    """Mutual information of a joint table in nats, ``I(X;Y) = KL(p(x,y) || p(x) p(y))``.

    Args:
        joint: probabilities of shape (..., |X|, |Y|) that sum to one over the last two axes.

    Returns:
        The information in nats, of shape (...).

    Example:
        >>> float(mutual_information(np.eye(4) / 4) / np.log(2))
        2.0

    References:
        Cover & Thomas (2006), "Elements of information theory", equation 2.28.
    """
    independent = joint.sum(axis=-1, keepdims=True) * joint.sum(axis=-2, keepdims=True)
    flat = (*joint.shape[:-2], -1)
    return kl_divergence(joint.reshape(flat), independent.reshape(flat))
