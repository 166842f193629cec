"""The 12-bit task of Shwartz-Ziv & Tishby (2017), made from its exact rule.

The twelve bits sit on the vertices of an icosahedron. With w set bits, e pairs of set bits joined by an edge
and c pairs of set antipodes, the score is f(x) = 26 w + w^2 - 8 e - 12 c, and the public label is 1 where
f(x) > 119.5. The score is constant on the 64 orbits given by w and the numbers of set pairs at each of the
three distances. It reproduces every label of the public file; the paper's own f is not public.
"""

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from ibjax.datasets.dataset import Dataset, from_arrays
from ibjax.errors import InputError

GAMMA_PAPER = 8.0
"""Gain with the paper's I(X;Y) of 0.99 bit; its information curve is nearly that of a deterministic task."""
GAMMA_CURVE = 0.3
"""Gain with I(X;Y) = 0.734 bit, 37 p(y|x) that differ by more than 1e-6 and an information curve that bends."""
THETA = 119.5
"""Threshold halfway between the largest score with label 0 (119) and the smallest with label 1 (120)."""

_NEIGHBOURS = (
    (2, 4, 6, 7, 8), (5, 6, 8, 9, 10), (0, 6, 7, 10, 11), (4, 5, 7, 9, 11), (0, 3, 5, 7, 8), (1, 3, 4, 8, 9),
    (0, 1, 2, 8, 10), (0, 2, 3, 4, 11), (0, 1, 4, 5, 6), (1, 3, 5, 10, 11), (1, 2, 6, 9, 11), (2, 3, 7, 9, 10),
)  # fmt: skip
_ANTIPODES = (9, 7, 5, 6, 10, 2, 3, 1, 11, 0, 4, 8)


def _patterns() -> Int[np.ndarray, "4096 12"]:
    """All 12-bit patterns in lexicographic order, most significant bit first."""
    return (np.arange(4096)[:, None] >> np.arange(11, -1, -1)) & 1


def _pair_counts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Set bits w, set edges e and set antipodal pairs c of every pattern, each (4096,)."""
    x = _patterns()
    edges = np.zeros((12, 12), int)
    for vertex, neighbours in enumerate(_NEIGHBOURS):
        edges[vertex, list(neighbours)] = 1
    antipodes = np.eye(12, dtype=int)[list(_ANTIPODES)]
    # Each pair is counted from both of its ends.
    return x.sum(axis=1), ((x @ edges) * x).sum(axis=1) // 2, ((x @ antipodes) * x).sum(axis=1) // 2


def szt_score() -> Int[np.ndarray, "4096"]:
    """The score f(x) = 26 w + w^2 - 8 e - 12 c of every pattern.

    Example:
        >>> int(szt_score().max())
        160
    """
    w, e, c = _pair_counts()
    return 26 * w + w**2 - 8 * e - 12 * c


def szt_orbits() -> Int[np.ndarray, "4096"]:
    """The orbit, 0 to 63, of every pattern: its set bits and its set pairs at each distance.

    Example:
        >>> len(np.unique(szt_orbits()))
        64
    """
    return np.unique(np.stack(_pair_counts(), axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def szt(gamma: float | None = None, theta: float = THETA, key: Key[Array, ""] | None = None) -> Dataset:
    """The 4096 equally likely 12-bit patterns and their labels.

    Without ``gamma`` the labels are the public ones, a function of X: y = 1 where f(x) > theta, so
    I(X;Y) = H(Y) = 0.99916 bit. With it they are soft, p(y=1|x) = 1 / (1 + exp(-gamma (f(x) - theta))), and
    ``y`` is one draw from it for every pattern.

    Args:
        gamma: gain of the sigmoid; `GAMMA_PAPER` (8) or `GAMMA_CURVE` (0.3), or any positive number.
        theta: threshold on the score.
        key: randomness of the soft labels' draw; by default ``jax.random.key(0)``.

    Returns:
        A `Dataset` of 4096 rows; inputs are 0 or 1 as in the public codes, which do not standardise.

    Raises:
        InputError: ``gamma`` is not a positive number or ``theta`` is not finite.

    Example:
        >>> data = szt()
        >>> data.x.shape, int(data.y.sum()), f"{data.mutual_information / np.log(2):.5f} bit"
        ((4096, 12), 2118, '0.99916 bit')
        >>> f"{szt(gamma=GAMMA_CURVE).mutual_information / np.log(2):.3f} bit"
        '0.734 bit'

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information",
        section 3.1 and equation 10.
    """
    if not np.isfinite(theta):
        raise InputError(f"theta must be finite, got {theta}: the public labels have {THETA}")
    if gamma is None:
        y = (szt_score() > theta).astype(int)
        hard = from_arrays(_patterns(), y, name="12-bit task")
        return Dataset(hard.x, hard.y, None, hard.entropy_y, 2, hard.name)
    if not (np.isfinite(gamma) and gamma > 0):
        raise InputError(f"gamma must be positive and finite, got {gamma}: leave it out for hard labels")
    p = 0.5 * (1 + np.tanh(0.5 * gamma * (szt_score() - theta)))
    uniform = jax.random.uniform(jax.random.key(0) if key is None else key, (4096,))
    y = (np.asarray(uniform) < p).astype(int)
    return from_arrays(_patterns(), y, np.stack([1 - p, p], axis=1), name=f"12-bit task, gamma {gamma:g}")
