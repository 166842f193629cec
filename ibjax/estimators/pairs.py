"""Reductions over all pairs of samples in bounded memory: no n x n matrix ever exists.

There are two forms with the same results. On a CPU and for few columns a loop over samples is fastest, each step one
fused pass over a vector as long as the sample set; elsewhere it is blocks of rows of the distance matrix.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Integer

WIDE = 32
"""Columns above which squared distances come from a matrix product."""
STEP = 8
"""Samples a step of the loop: fewer leave the arithmetic waiting for memory, more take longer to compile."""

LOG2_E = 1.4426950408889634

Terms = Callable[[Array, Any, Any, Any], Array]
"""(squared distances, what belongs to the row's sample, to the column's sample, parameters) -> what is reduced."""


def decay(distance: Float[Array, "..."], rate: Float[Array, ""]) -> Float[Array, "..."]:
    """Return exp(-rate * distance), both not negative: exactly 1 at 0, to the last digits in double precision.

    In single precision see `halved`.
    """
    return halved(rate * LOG2_E * distance) if distance.dtype == jnp.float32 else jnp.exp(-rate * distance)


def halved(power: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return 2^-power of what is not negative: exactly 1 at 0.

    In single precision it is 2^-r 2^-f with a polynomial for |f| <= 1/2, at most 2e-7 of its value off and three times
    as fast on a CPU as `jnp.exp2`; below 2^-126, or where the power is NaN, as the distance of what overflowed, it is
    2^-126.
    """
    if power.dtype != jnp.float32:
        return jnp.exp2(-power)
    # A comparison, not a minimum: it takes NaN (infinity minus infinity) to the farthest.
    power = jnp.where(power < 126, power, jnp.float32(126))
    whole = jax.lax.round(power, jax.lax.RoundingMethod.TO_NEAREST_EVEN)
    # The integer appears in the low bits of the sum. (Subtracting again would round as well, but XLA undoes that.)
    exponent = jax.lax.bitcast_convert_type(whole + jnp.float32(1.5 * 2**23), jnp.int32) << 23
    # The polynomial of least relative error whose value at 0 is 1.
    fraction = power - whole
    value = jnp.full_like(fraction, -0.001326472032815218)
    for c in (0.009671512991189957, -0.05550733953714371, 0.24022242426872253, -0.6931470036506653, 1.0):
        value = value * fraction + jnp.float32(c)
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(value, jnp.int32) - exponent, jnp.float32)


def centred(t: Float[Array, "n columns"]) -> Float[Array, "n columns"]:
    """Samples about their mean, where products of coordinates lose least; exactly 0 if all are equal."""
    t = t - t[0]
    return t - t.mean(axis=0)


def squared_distances(
    rows: Float[Array, "rows columns"], index: Integer[Array, " rows"], x: Float[Array, "columns n"]
) -> Float[Array, "rows n"]:
    """Squared Euclidean distances from some samples to all, never negative and exactly 0 from a sample to itself.

    Args:
        rows: the samples.
        index: which of all samples they are.
        x: all samples, one column a sample, so that a row of distances is read in order; `centred` if they are wide.

    Returns:
        Sums of squared differences. For more than `WIDE` columns |a|^2 + |b|^2 - 2ab, with an error of a few units
        in the last place of |a|^2 + |b|^2; what is smaller than that is 0, so that copies are at distance 0.
    """
    # Also of differences, because XLA may compute a sample twice and round it in two ways.
    nothing = index[:, None] == jnp.arange(x.shape[1])
    if x.shape[0] <= WIDE:
        distance = functools.reduce(operator.add, [(rows[:, i, None] - x[i]) ** 2 for i in range(x.shape[0])])
    else:
        squares = (rows * rows).sum(axis=1)[:, None] + (x * x).sum(axis=0)
        distance = squares - 2 * jnp.matmul(rows, x, precision="highest")
        nothing |= distance < 4 * jnp.finfo(x.dtype).eps * squares
    return jnp.where(nothing, jnp.zeros_like(distance), distance)


def by_rows(f: Callable[..., Any], block: int, *samples: Any) -> Any:
    """Apply ``f(index, *samples)``, whose results have one entry a sample, to blocks of samples one by one.

    Args:
        f: it sees the indices of some samples and their entries of ``samples``.
        block: at most so many at a time.
        *samples: pytrees of arrays with one entry a sample.
    """
    n = jax.tree.leaves(samples)[0].shape[0]
    blocks = -(-n // block)
    size = -(-n // blocks)

    def split(a: Array) -> Array:
        padding = jnp.broadcast_to(a[:1], (blocks * size - n, *a.shape[1:]))
        return jnp.concatenate([a, padding]).reshape(blocks, size, *a.shape[1:])

    found = jax.lax.map(lambda some: f(*some), jax.tree.map(split, (jnp.arange(n), *samples)))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], found)


def reduce_pairs(
    terms: Terms,
    fold: Literal["sums", "min"],
    t: Float[Array, "n columns"],
    of_row: Any,
    of_column: Any,
    parameters: Any,
    block: int,
) -> Inexact[Array, " n"]:
    """Sums or minimum over j of ``terms(|t_i - t_j|^2, of_row_i, of_column_j, parameters)``, for every i.

    Two sums come from one pass as the real and the imaginary part of complex ``terms``: as two arrays XLA would compute
    the distances, and whatever else they share, twice.

    Under `jax.vmap` the sample sets are taken one after the other, because one alone is as wide as a processor.

    Args:
        terms: a function of arrays that are broadcast against each other; it closes over no array.
        fold: what is done over j; ``"sums"`` of complex numbers, ``"min"`` of real ones.
        t: the samples.
        of_row: pytree of arrays with one entry a sample.
        of_column: the same.
        parameters: pytree of scalars.
        block: rows of the distance matrix in memory at a time, where rows are.
    """
    rows = functools.partial(_rows, terms, fold, block)
    loop = functools.partial(_loop, terms, fold)
    narrow = functools.partial(jax.lax.platform_dependent, cpu=loop, default=rows)
    form = jax.custom_batching.sequential_vmap(rows if t.shape[1] > WIDE else narrow)
    return form(t, of_row, of_column, parameters)


def _rows(terms: Terms, fold: str, block: int, t: Array, of_row: Any, of_column: Any, parameters: Any) -> Array:
    """The form for accelerators and for wide samples: blocks of rows of the distance matrix."""
    if t.shape[1] > WIDE:
        t = centred(t)
    x = t.T

    def some(index: Array, rows: Array, of_row: Any) -> Array:
        of_row = jax.tree.map(lambda a: a[:, None], of_row)
        values = terms(squared_distances(rows, index, x), of_row, of_column, parameters)
        return values.sum(axis=1) if fold == "sums" else values.min(axis=1)

    return by_rows(some, block, t, of_row)


def _loop(terms: Terms, fold: str, t: Array, of_row: Any, of_column: Any, parameters: Any) -> Array:
    """The form for a CPU: `STEP` samples j at a time against the vector of all i."""
    n, columns = t.shape
    x = t.T
    combine = operator.add if fold == "sums" else jnp.minimum

    def some(found: Array, first: Any, count: int) -> Array:
        xj = jax.lax.dynamic_slice_in_dim(x, first, count, axis=1)
        of_columns = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, count), of_column)
        values = []
        for j in range(count):
            distance = functools.reduce(operator.add, [(x[i] - xj[i, j]) ** 2 for i in range(columns)])
            values.append(terms(distance, of_row, jax.tree.map(lambda a, j=j: a[j], of_columns), parameters))
        return combine(found, functools.reduce(combine, values))

    # Made from x, so that it varies over a mesh as x does.
    found = x[0] * 0 + (0j if fold == "sums" else jnp.inf)
    steps, left = divmod(n, STEP)
    if steps:
        found = jax.lax.fori_loop(0, steps, lambda step, found: some(found, step * STEP, STEP), found)
    return some(found, steps * STEP, left) if left else found
