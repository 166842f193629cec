"""Shannon's measures of discrete distributions, for NumPy (float64) and JAX arrays alike."""

from typing import Any

import jax
import numpy as np

from ibjax.information.units import convert

Table = np.ndarray | jax.Array
"""A table of probabilities; computed in the array library and precision that it comes in."""


def xlogy(x: Table, y: Table) -> Any:
    """``x ln y`` with ``0 ln y = 0`` even where ``y`` is 0; NaN where ``x`` is NaN."""
    xp = (y if isinstance(y, jax.Array) else x).__array_namespace__()
    empty = x <= 0  # false of NaN
    return xp.where(empty, xp.zeros_like(x), x * xp.log(xp.where(empty, xp.ones_like(y), y)))


def self_information(p: Table, *, units: str = "nats") -> Any:
    """Self-information of each symbol, ``-ln p_i``: infinite where ``p`` is 0. Its mean is the entropy.

    Args:
        p: probabilities, of any shape.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The self-information, of the shape of ``p``.

    Example:
        >>> self_information(np.array([0.5, 0.25, 0.25]), units="bits").tolist()
        [1.0, 2.0, 2.0]

    References:
        Cover & Thomas (2006), "Elements of information theory", section 2.1.
    """
    xp = p.__array_namespace__()
    with np.errstate(divide="ignore"):
        return convert(0.0 - xp.log(p), units=units)


def entropy(p: Table, axis: int = -1, *, units: str = "nats") -> Any:
    """Entropy of a distribution, ``H(p) = -sum_i p_i ln p_i``.

    Args:
        p: probabilities that sum to one along ``axis``; zeros are allowed.
        axis: the axis of the alphabet.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The entropy, of the shape of ``p`` without ``axis``.

    Example:
        >>> float(entropy(np.array([0.5, 0.25, 0.25]), units="bits"))
        1.5

    References:
        Shannon (1948), "A mathematical theory of communication", section 6.
    """
    return convert(0.0 - xlogy(p, p).sum(axis=axis), units=units)


def cross_entropy(p: Table, q: Table, axis: int = -1, *, units: str = "nats") -> Any:
    """Cross-entropy, ``-sum_i p_i ln q_i = H(p) + KL(p || q)``: the mean self-information under a wrong ``q``.

    Args:
        p: probabilities along ``axis``.
        q: probabilities along ``axis``; the result is infinite where ``q`` is 0 and ``p`` is not.
        axis: the axis of the alphabet.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The cross-entropy, at least H(p) up to rounding.

    Example:
        >>> float(cross_entropy(np.array([0.5, 0.5]), np.array([0.25, 0.75]), units="bits").round(6))
        1.207519

    References:
        Cover & Thomas (2006), "Elements of information theory", theorem 5.4.3.
    """
    with np.errstate(divide="ignore"):
        return convert(0.0 - xlogy(p, q).sum(axis=axis), units=units)


def kl_divergence(p: Table, q: Table, axis: int = -1, *, units: str = "nats") -> Any:
    """Kullback-Leibler divergence, ``KL(p || q) = sum_i p_i ln(p_i / q_i)``.

    Args:
        p: probabilities along ``axis``.
        q: probabilities along ``axis``; the divergence is infinite where ``q`` is 0 and ``p`` is not.
        axis: the axis of the alphabet.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The divergence, at least 0 up to rounding.

    Example:
        >>> float(kl_divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5]), units="bits"))
        1.0

    References:
        Kullback & Leibler (1951), "On information and sufficiency", equation 2.4.
    """
    with np.errstate(divide="ignore"):
        return convert((xlogy(p, p) - xlogy(p, q)).sum(axis=axis), units=units)


def mutual_information(joint: Table, *, units: str = "nats") -> Any:
    """Mutual information of a joint table, ``I(X;Y) = KL(p(x,y) || p(x) p(y))``.

    Args:
        joint: probabilities of shape (..., |X|, |Y|) that sum to one over the last two axes.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The information, of shape (...).

    Example:
        >>> float(mutual_information(np.eye(4) / 4, units="bits"))
        2.0

    References:
        Cover & Thomas (2006), "Elements of information theory", equation 2.28.
    """
    # Logarithms one by one: the product of two small marginals may underflow.
    p_x, p_y = joint.sum(axis=-1, keepdims=True), joint.sum(axis=-2, keepdims=True)
    terms = xlogy(joint, joint) - xlogy(joint, p_x) - xlogy(joint, p_y)
    return convert(terms.sum(axis=(-2, -1)), units=units)
