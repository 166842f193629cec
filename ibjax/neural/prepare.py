"""From samples to what a network is trained, stopped and judged on."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Bool, Float, Integer

from ibjax.errors import InputError
from ibjax.estimators.samples import as_variable, concrete, is_discrete, same_length
from ibjax.neural.train import Samples
from ibjax.training import epoch_order

AT_LEAST = 20
"""Fewer samples cannot be split in three."""


class Split(NamedTuple):
    """Disjoint samples: for the gradients, for the stopping, for the estimate."""

    train: Samples
    validation: Samples
    test: Samples


def as_pair(x: Any, y: Any, classes: int) -> tuple[Array, Array]:
    """Return samples of one length, floats of shape (n, columns) or labels of shape (n,).

    Raises:
        InputError: as `ibjax.estimators.samples.as_variable`, and for more than ``classes`` different labels.
    """
    x, y = as_variable("x", x, at_least=AT_LEAST), as_variable("y", y, at_least=AT_LEAST)
    same_length(x=x, y=y)
    for name, a in (("x", x), ("y", y)):
        if is_discrete(a) and concrete(a) and (found := len(np.unique(np.asarray(a)))) > classes:
            raise InputError(f"{name} has {found} different labels and classes is {classes}: raise classes")
    dtype = jnp.result_type(*(a for a in (x, y) if not is_discrete(a)), jnp.float32)
    x, y = (a if is_discrete(a) else a.astype(dtype) for a in (x, y))
    return x, y


def one_hot(labels: Integer[Array, " n"], classes: int, dtype: Any) -> Float[Array, "n classes"]:
    """One-hot rows of any integers, by their rank among the values that occur.

    Example:
        >>> one_hot(jnp.array([7, -3, 7]), 2, jnp.float32)
        Array([[0., 1.],
               [1., 0.],
               [0., 1.]], dtype=float32)
    """
    return jax.nn.one_hot(rank(labels), classes, dtype=dtype)


def rank(labels: Integer[Array, " n"]) -> Integer[Array, " n"]:
    """How many different values are smaller than each label."""
    ordered = jnp.sort(labels)
    new = jnp.concatenate([jnp.zeros(1, bool), ordered[1:] != ordered[:-1]])
    return jnp.cumsum(new.astype(jnp.int32))[jnp.searchsorted(ordered, labels)]


def constant(a: Array) -> Bool[Array, ""]:
    """Whether all samples are equal."""
    return (a == a[0]).all()


def split(x: Float[Array, "n dx"], y: Float[Array, "n dy"], key: Array, held_out: float) -> Split:
    """Share out shuffled samples: half of ``held_out`` for validation, the other half for the test."""
    n = len(x)
    order = epoch_order(key, n)
    x, y = x[order], y[order]
    test = max(2, round(n * held_out / 2))
    train = n - 2 * test
    parts = slice(train), slice(train, n - test), slice(n - test, n)
    return Split(*((x[part], y[part]) for part in parts))


def scored(parts: Split, columns: tuple[bool, bool]) -> Split:
    """Columns as normal scores of their ranks among the training samples, of x and y where ``columns`` says so.

    A training sample of mid-rank r among n becomes the normal quantile of (r - 1/2) / n, what lies between two of them
    becomes the line between, and what lies outside the nearest. Networks see no tails, whatever the samples' were; and
    since an increasing map of a column leaves its ranks, the information is the same and the estimate hardly moves.
    Columns that are constant in training, of which nothing can be learned, become 0 everywhere.
    """

    def column(known: Float[Array, " n"], new: Float[Array, " m"]) -> Float[Array, " m"]:
        known = jnp.sort(known)
        n = len(known)
        below, upto = (jnp.searchsorted(known, known, side=side) for side in ("left", "right"))
        scores = ndtri((below + upto).astype(known.dtype) / (2 * n))
        upper = jnp.searchsorted(known, new).clip(1, n - 1)
        low, high = known[upper - 1], known[upper]
        share = jnp.where(high > low, (new / 2 - low / 2) / jnp.where(high > low, high / 2 - low / 2, 1), 1).clip(0, 1)
        return (1 - share) * scores[upper - 1] + share * scores[upper]

    def apply(pair: Samples) -> Samples:
        x, y = (
            jax.vmap(column, 1, 1)(known, new) if wanted else new
            for known, new, wanted in zip(parts.train, pair, columns, strict=True)
        )
        return x, y

    return Split(*map(apply, parts))
