"""Exact information of a partition: rows of bin indices -> one sortable key a row -> run lengths.

All integer work is 64 bits wide whatever the caller's own setting, under a scoped `jax.enable_x64`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ibjax.estimators.base import LayerInformation

KEY_BITS = 63
"""A key is a non-negative 64-bit integer."""


def pack(indices: Integer[Array, "n columns"], sizes: int | None, spare_bits: int = 0) -> Integer[Array, " n"]:
    """Turn each row of indices into one key of ``63 - spare_bits`` bits; equal rows get equal keys.

    Args:
        indices: one row of integers a sample.
        sizes: every index lies in 0 .. sizes - 1; None if no bound is known.
        spare_bits: low bits that the caller wants to add to the key.

    Returns:
        int64 keys. Exact (different rows get different keys) while ``columns * log2(sizes)`` fits the key's
        bits: twelve columns of 30 bins do, with a bit to spare for the label. Otherwise a hash of b = 63 -
        spare_bits bits: the probability that any two of n different rows meet is about n^2 / 2^(b+1), for 4096
        rows and a binary label 2e-12.
    """
    columns = indices.shape[1]
    bits = KEY_BITS - spare_bits
    if sizes is not None and columns * math.log2(sizes) <= bits:
        return _radix(indices, sizes)
    return _hash(indices, bits)


def pack_rows(*parts: Integer[Array, "n ..."]) -> Integer[Array, " n"]:
    """Hash each row of several arrays of integers of no known bound to one key of 63 bits; see `pack`."""
    columns = [part.reshape(part.shape[0], -1).astype(jnp.int64) for part in parts]
    return pack(jnp.concatenate(columns, axis=1), None)


def ordered_bits(t: Float[Array, "..."]) -> Integer[Array, "..."]:
    """Integers in the order of the floats, -0.0 equal to 0.0; XLA sorts them five times faster than floats."""
    integer = jnp.dtype(f"int{8 * t.dtype.itemsize}")
    return flip(jax.lax.bitcast_convert_type(jnp.where(t == 0, jnp.zeros_like(t), t), integer))


def flip(bits: Integer[Array, "..."]) -> Integer[Array, "..."]:
    """Turn the order of negative floats' bits round; its own inverse."""
    return bits ^ ((bits >> (jnp.iinfo(bits.dtype).bits - 1)) & jnp.iinfo(bits.dtype).max)


def rank(a: Integer[Array, " n"]) -> Integer[Array, " n"]:
    """Number of smaller entries: equal for equal ones."""
    return jnp.searchsorted(jnp.sort(a), a).astype(jnp.int32)


def _radix(indices: Array, size: int) -> Array:
    """Mixed-radix number of each row; columns are grouped so that most products are 32 bits wide."""
    per_word = max(1, int(31 // max(1.0, math.log2(size))))
    key = jnp.zeros(indices.shape[0], jnp.int64)
    for first in range(0, indices.shape[1], per_word):
        group = indices[:, first : first + per_word].astype(jnp.uint32)
        word = jnp.zeros(indices.shape[0], jnp.uint32)
        for column in range(group.shape[1]):
            word = word * jnp.uint32(size) + group[:, column]
        key = key * size ** group.shape[1] + word.astype(jnp.int64)
    return key


def _hash(indices: Array, bits: int) -> Array:
    """Chained 64-bit finaliser (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators")."""

    def mix(key, word):
        key = (key ^ word) + jnp.uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> 30)) * jnp.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> 27)) * jnp.uint64(0x94D049BB133111EB)
        return key ^ (key >> 31), None

    words = indices.astype(jnp.int64).astype(jnp.uint64).T
    key, _ = jax.lax.scan(mix, jnp.zeros(indices.shape[0], jnp.uint64), words)
    return (key >> (64 - bits)).astype(jnp.int64)


def run_lengths(sorted_keys: Integer[Array, " n"]) -> Integer[Array, " n"]:
    """Length of every run of equal keys, at the run's last place; 0 at the others.

    As many numbers as keys, so that the number of different keys need not be known when compiling.
    """
    n = sorted_keys.shape[0]
    position = jnp.arange(n, dtype=jnp.int32)
    change = sorted_keys[1:] != sorted_keys[:-1]
    edge = jnp.ones(1, bool)
    start = jnp.where(jnp.concatenate([edge, change]), position, 0)
    # Faster here than lax.cummax by a fifth of the whole measurement.
    start = jax.lax.associative_scan(jnp.maximum, start)
    return jnp.where(jnp.concatenate([change, edge]), position - start + 1, 0)


def _sum_c_log_c(sorted_keys: Integer[Array, " n"]) -> Float[Array, ""]:
    """Sum of c ln c over the runs of equal keys, c the length of a run."""
    return _c_log_c(sorted_keys.shape[0])[run_lengths(sorted_keys)].sum()


def _c_log_c(n: int) -> Float[Array, " counts"]:
    """Values of c ln c for c = 0 .. n, to be looked up by a count."""
    count = jnp.arange(n + 1, dtype=jnp.float64)
    return count * jnp.log(jnp.maximum(count, 1.0))


class Table(NamedTuple):
    """What the joint table of two partitions of the same n samples holds.

    Attributes:
        information: I(X;Y) in nats of the empirical table, float64.
        occupied_x: number of different cells of X.
        occupied_y: of Y.
        occupied: of pairs of both.
    """

    information: Float[Array, ""]
    occupied_x: Integer[Array, ""]
    occupied_y: Integer[Array, ""]
    occupied: Integer[Array, ""]


def table(x: Integer[Array, "n dx"], x_size: int | None, y: Integer[Array, "n dy"], y_size: int | None) -> Table:
    """Return the plug-in information of the cells that are the distinct rows of ``x`` and of ``y``.

    I(X;Y) = ln n + (1/n) [sum c_xy ln c_xy - sum c_x ln c_x - sum c_y ln c_y] from the counts c. Pairs of rows whose
    keys do not fit one key together are told apart by a hash; see `pack`.

    Args:
        x: integers.
        x_size: the indices of ``x`` lie in 0 .. x_size - 1, None if no bound is known.
        y: integers.
        y_size: the same of ``y``.
    """
    n = x.shape[0]
    of_x, of_y = pack(x, x_size), pack(y, y_size)
    bits_x, bits_y = (
        math.inf if size is None else math.ceil(a.shape[1] * math.log2(size)) for a, size in ((x, x_size), (y, y_size))
    )
    if bits_x + bits_y > KEY_BITS:
        both = jnp.sort(_hash(jnp.stack([of_x, of_y], axis=1), KEY_BITS))
        counts = [run_lengths(jnp.sort(of_x)), run_lengths(jnp.sort(of_y)), run_lengths(both)]
    else:
        # One sort serves the pairs and what is in the high bits; the other is the one that few numbers count.
        swap = bits_x < bits_y
        high, low, bits = (of_y, of_x, bits_x) if swap else (of_x, of_y, bits_y)
        both = jnp.sort((high << bits) | low)
        of_high = run_lengths(both >> bits)
        of_low = jnp.zeros(2**bits, jnp.int32).at[low].add(1) if 2**bits <= 8 * n else run_lengths(jnp.sort(low))
        counts = [*((of_low, of_high) if swap else (of_high, of_low)), run_lengths(both)]
    sums_x, sums_y, sums = (_c_log_c(n)[c].sum() for c in counts)
    return Table(jnp.log(n) + (sums - sums_x - sums_y) / n, *((c > 0).sum() for c in counts))


def information(
    indices: Integer[Array, "n columns"],
    labels: Integer[Array, " n"] | Float[Array, "n classes"],
    *,
    sizes: int | None,
    classes: int | None,
) -> LayerInformation:
    """Return I(X;T) and I(T;Y) in nats (float64) of a layer T whose cells are the distinct rows of ``indices``.

    X is uniform on the n rows and T a function of it, so I(X;T) = H(T) = ln n - (1/n) sum_t c_t ln c_t over
    the cells' counts c_t, and I(T;Y) = H(Y) - H(Y|T) from the counts of (cell, label), or from the mean of the
    rows p(y|x) in each cell.
    """
    n = indices.shape[0]
    if labels.ndim == 1 and classes is not None:
        # One sort serves both: the label sits in the low bits of the key.
        label_bits = max(1, math.ceil(math.log2(classes)))
        keys = (pack(indices, sizes, label_bits) << label_bits) | labels.astype(jnp.int64)
        keys = jnp.sort(keys)
        cells, pairs = _sum_c_log_c(keys >> label_bits), _sum_c_log_c(keys)
        per_class = jnp.zeros(classes, jnp.float64).at[labels].add(1.0)
        ones = jax.scipy.special.xlogy(per_class, per_class).sum()
        return LayerInformation(jnp.log(n) - cells / n, jnp.log(n) + (pairs - cells - ones) / n)
    keys = pack(indices, sizes)
    ordered = jnp.sort(keys)
    cell = jnp.searchsorted(ordered, keys).astype(jnp.int64)
    cells = _sum_c_log_c(ordered)
    if labels.ndim == 1:
        ordered_labels = jnp.sort(labels)
        pairs = _sum_c_log_c(jnp.sort(cell * n + jnp.searchsorted(ordered_labels, labels)))
        ones = _sum_c_log_c(ordered_labels)
        return LayerInformation(jnp.log(n) - cells / n, jnp.log(n) + (pairs - cells - ones) / n)
    # I(T;Y) = sum_t sum_y p(t,y) ln [p(t,y) / p(t) p(y)], times n.
    mass = jnp.zeros(labels.shape, jnp.float64).at[cell].add(labels.astype(jnp.float64))
    size = mass.sum(axis=1, keepdims=True)
    total = mass.sum(axis=0, keepdims=True)
    ratio = jnp.where(mass > 0, mass * n / jnp.where(mass > 0, size * total, 1.0), 1.0)
    return LayerInformation(jnp.log(n) - cells / n, (mass * jnp.log(ratio)).sum() / n)
