"""Lossless reduction: inputs that say the same of Y are one input."""

from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.table import Table, as_table

MERGE_TOLERANCE = 1e-12
"""Probabilities closer than this are one: well above rounding, and it moves no information by more than about that."""


class Reduction(NamedTuple):
    """A table with distinct rows of p(y|x), and the way back.

    Attributes:
        table: p(x) and p(y|x) of the m distinct rows that have mass.
        index: for every original input its row in ``table``, -1 where it has no mass; shape (n,).
    """

    table: Table
    index: np.ndarray

    def expand(self, encoder: np.ndarray, marginal: np.ndarray) -> np.ndarray:
        """Encoder p(t|x) of the original inputs from that of the rows, shape (n, |T|).

        Args:
            encoder: p(t|row), shape (m, |T|).
            marginal: p(t), given to the inputs that have no mass, of which nothing else is known.
        """
        return np.concatenate([encoder, marginal[None]])[self.index]


def reduce(joint: Any, tolerance: float = MERGE_TOLERANCE) -> Reduction:
    """Merge the inputs whose p(y|x) are equal and drop those without mass.

    The bottleneck depends on the law of p(y|x) alone, so that an optimal encoder treats such inputs alike and
    I(X;T), I(T;Y) and the whole curve stay what they are. The 12-bit task goes from 4096 inputs to at most 64.

    Args:
        joint: a table, see `as_table`.
        tolerance: two values of one column are equal if no gap between neighbouring values from one to the other
            exceeds it. 0 merges identical rows only.

    Returns:
        The distinct rows, each the mean of its inputs weighted by p(x), in increasing order, and the map back.

    Example:
        >>> small = reduce((np.full(4, 0.25), np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.2, 0.8]])))
        >>> small.table.p_x, small.index
        (array([0.5, 0.5]), array([1, 0, 1, 0]))
    """
    p_x, conditional = as_table(joint)
    mass = p_x > 0
    p, rows = p_x[mass], conditional[mass]
    order = np.argsort(rows, axis=0, kind="stable")
    steps = np.diff(np.take_along_axis(rows, order, axis=0), axis=0, prepend=rows.min(axis=0, keepdims=True))
    labels = np.empty(rows.shape, np.int64)
    np.put_along_axis(labels, order, np.cumsum(steps > tolerance, axis=0), axis=0)
    _, inverse = np.unique(labels, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    merged = np.bincount(inverse, p)
    means = np.stack([np.bincount(inverse, p * column) for column in rows.T], axis=1) / merged[:, None]
    index = np.full(len(p_x), -1)
    index[mass] = inverse
    return Reduction(Table(merged, means), index)
