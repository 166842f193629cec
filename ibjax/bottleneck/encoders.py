"""Encoders p(t|x) that are given rather than solved for: checked, and what they keep and tell."""

from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.table import SLACK, as_table, numbers
from ibjax.errors import InputError
from ibjax.information import mutual_information


class EncoderInformation(NamedTuple):
    """What an encoder keeps of X and tells of Y, nats; arrays of the encoder's leading axes.

    Attributes:
        complexity: I(X;T).
        relevance: I(T;Y).
    """

    complexity: np.ndarray
    relevance: np.ndarray


def as_encoder(encoder: Any, p_x: np.ndarray, name: str = "encoder") -> np.ndarray:
    """Return p(t|x), shape (..., n, T), checked and normalised exactly; rows without mass become p(t).

    Raises:
        InputError: it has not one row for every input, or a row with mass is no distribution.
    """
    p = numbers(name, encoder)
    if p.ndim < 2 or p.shape[-2] != len(p_x) or 0 in p.shape:
        raise InputError(f"{name} must be p(t|x) of shape (..., {len(p_x)}, T), one row an input, got {p.shape}")
    mass = p_x > 0
    rows = p[..., mass, :]
    where = np.flatnonzero(mass)
    wrong = ~(np.isfinite(rows) & (rows >= 0))
    if wrong.any():
        *batch, row, t = (int(i) for i in np.unravel_index(np.argmax(wrong), rows.shape))
        index = ", ".join(map(str, (*batch, where[row], t)))
        raise InputError(f"{name}[{index}] is {rows[*batch, row, t]:g}: a probability is at least 0 and finite")
    sums = rows.sum(axis=-1, keepdims=True)
    wrong = ~(abs(sums - 1) <= SLACK)
    if wrong.any():
        *batch, row, _ = (int(i) for i in np.unravel_index(np.argmax(wrong), sums.shape))
        index = ", ".join(map(str, (*batch, where[row])))
        raise InputError(f"{name}[{index}] sums to {sums[*batch, row, 0]:.6g}, not 1: normalise every row over t")
    rows = rows / sums
    full = np.empty_like(p)
    full[..., mass, :] = rows
    full[..., ~mass, :] = (p_x[mass] @ rows)[..., None, :]
    return full


def encoder_information(joint: Any, encoder: Any) -> EncoderInformation:
    """I(X;T) and I(T;Y) of encoders p(t|x), exactly, from the table and nothing else.

    Args:
        joint: see `ibjax.bottleneck.solve`.
        encoder: p(t|x), shape (..., n, T): of layers of one width, or of one. A layer that is a function of its input
            has one 1 in every row.

    Returns:
        Both, nats.

    Raises:
        InputError: the table or an encoder is wrong.

    Example:
        >>> found = encoder_information(np.array([[0.45, 0.05], [0.05, 0.45]]), np.eye(2))
        >>> f"{found.complexity:.4f} {found.relevance:.4f}"
        '0.6931 0.3681'
    """
    p_x, p = as_table(joint)
    p_xt = p_x[:, None] * as_encoder(encoder, p_x)
    complexity, relevance = mutual_information(p_xt), mutual_information(np.swapaxes(p_xt, -1, -2) @ p)
    return EncoderInformation(*(np.maximum(np.asarray(a), 0.0) for a in (complexity, relevance)))
