"""Cells of ranks, at all bandwidths from one key a sample: the default rule of EDGE."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ibjax.estimators import cells
from ibjax.estimators.base import MIEstimate

ALONE = 0.03
"""A bandwidth is trusted while at most this share of the samples is alone in its cell."""
COARSE = 0.1
"""A last halving of the bandwidth that adds more nats than this says that the cells are too wide."""
TABLE_BITS = 20
"""Bits of a sample's key: a table of 2^20 counts is 4 MB, and 2 columns have up to 1024 bins each."""


class Edges(NamedTuple):
    """Where the bins of the finest level begin, and which levels tell all different values of every column apart."""

    starts: Integer[Array, "columns edges"]
    resolved: Bool[Array, " levels"]


class Counts(NamedTuple):
    """What the estimate needs of the cells' counts c, at every level, coarse to fine.

    Attributes:
        sum: of c G(c), see `_grassberger`, or of c psi(c), see `_smooth`.
        occupied: cells with a sample.
        single: cells with one.
    """

    sum: Float[Array, "..."]
    occupied: Integer[Array, "..."]
    single: Integer[Array, "..."]


# --- Cells -------------------------------------------------------------------------------------------------


def levels_of(n: int, columns: int, bits: int = TABLE_BITS) -> int:
    """Number of levels, with 2, 4, 8, ... bins a column: at least four samples a bin, at most 2^bits cells."""
    return max(1, min(bits // max(1, columns), math.floor(math.log2(max(n, 8) / 4))))


def _sortable(side: Float[Array, "n columns"]) -> Integer[Array, "columns n"]:
    """Integers in the order of the values, one row a column."""
    return cells.ordered_bits(side.astype(jnp.promote_types(side.dtype, jnp.float32))).T


def edges_of(side: Float[Array, "n columns"], levels: int) -> Edges:
    """Edges of 2^levels bins of equally many samples, each column's own.

    A value's bin is floor(bins * r / n) of its mid-rank r, half the number of smaller plus that of smaller or equal
    values; bin j starts at the smallest value with r >= j n / bins.
    """
    n, bins = side.shape[0], 2**levels
    j = np.arange(1, bins)

    def of_column(values: Array) -> Edges:
        ordered = jnp.sort(values)
        last = jnp.iinfo(ordered.dtype).max  # no finite value has this pattern
        here = ordered[j * n // bins]
        below, up_to = (jnp.searchsorted(ordered, here, side=end).astype(jnp.int64) for end in ("left", "right"))
        above = jnp.where(up_to < n, ordered[jnp.minimum(up_to, n - 1)], last)
        starts = jnp.where((below + up_to) * bins >= 2 * j * n, here, above)
        values_apart = 1 + (ordered[1:] != ordered[:-1]).sum()
        bins_in_use = []
        for level in range(1, levels + 1):
            every = 2 ** (levels - level)
            start = jnp.concatenate([ordered[:1], starts[every - 1 :: every]])
            bins_in_use.append(1 + ((start[1:] != start[:-1]) & (start[1:] != last)).sum())
        return Edges(starts, jnp.stack(bins_in_use) == values_apart)

    found = jax.lax.map(of_column, _sortable(side))
    return Edges(found.starts, found.resolved.all(axis=0))


def bins_of(side: Float[Array, "n columns"], starts: Integer[Array, "columns edges"]) -> Integer[Array, "n columns"]:
    """Bin of every value, at the finest level; without its last bit it is that of a level coarser."""
    # Comparing with each of a few edges is far faster than a search, and with each of many far slower.
    method = "compare_all" if starts.shape[1] < 16 else "scan"

    def of_column(column: tuple[Array, Array]) -> Array:
        return jnp.searchsorted(*column, side="right", method=method).astype(jnp.int32)

    return jax.lax.map(of_column, (starts, _sortable(side))).T


def interleave(indices: Integer[Array, "n columns"], levels: int) -> Integer[Array, " n"]:
    """One key a row, the highest bit of each column first: without its last ``columns`` bits, it is a level coarser."""
    columns = indices.shape[1]
    key = jnp.zeros(indices.shape[0], jnp.int32 if columns * levels < 32 else jnp.int64)
    for bit in reversed(range(levels)):
        for column in range(columns):
            key = (key << 1) | ((indices[:, column] >> bit) & 1)
    return key


# --- Counts ------------------------------------------------------------------------------------------------


def _grassberger(c: Integer[Array, "..."]) -> Float[Array, "..."]:
    """Return c G(c), of which Grassberger's entropy is ln n - (1/n) sum c G(c), for counts that chance made.

    G(1) = -gamma - ln 2, G(2) = G(1) + 2, G(c + 2) = G(c) + 2 / (c + 1) for even c, and G(c) = G(c - 1) for odd
    c > 1; from 32 on by its asymptotic series, right to 1e-12.
    """
    few = -np.euler_gamma - np.log(2) + np.cumsum([0, *(2 / np.arange(1, 31, 2))])
    even = jnp.maximum(c & ~1, 2).astype(jnp.float64)
    u = 1 / (even * even)
    series = jnp.log(even) + u * (1 / 6 - u * (7 / 60 - u * (31 / 126)))
    return c * jnp.where(c < 32, jnp.asarray(few)[jnp.minimum(c >> 1, 15)], series)


def _smooth(c: Integer[Array, "..."]) -> Float[Array, "..."]:
    """Return c psi(c), which is c G(c) without its jumps between even and odd counts.

    Equally full bins all have the same count, and the jumps would not average out. psi(1) = -gamma, psi(c + 1) =
    psi(c) + 1 / c; from 32 on by its asymptotic series, right to 1e-13.
    """
    few = -np.euler_gamma + np.cumsum([0, 0, *(1 / np.arange(1, 31))])
    real = jnp.maximum(c, 1).astype(jnp.float64)
    u = 1 / (real * real)
    series = jnp.log(real) - 0.5 / real - u * (1 / 12 - u * (1 / 120 - u * (1 / 252)))
    return c * jnp.where(c < 32, jnp.asarray(few)[jnp.minimum(c, 31)], series)


def _counts(c: Integer[Array, "..."], *, equally_full: bool) -> Counts:
    """Of one level's counts, among which there may be zeros."""
    local = _smooth if equally_full else _grassberger
    return Counts(local(c).sum(), (c > 0).sum(), (c == 1).sum())


def counts_of_table(
    table: Integer[Array, " cells"], columns: int, levels: int, *, equally_full: bool = False
) -> Counts:
    """Counts of a table whose index is an interleaved key, anything else in its high bits."""
    found = [_counts(table, equally_full=equally_full)]
    for _ in range(levels - 1):
        table = table.reshape(-1, 2**columns).sum(axis=1)
        found.append(_counts(table, equally_full=equally_full))
    return Counts(*(jnp.stack(leaves) for leaves in zip(*reversed(found), strict=True)))


def counts_of(parts: Sequence[Array], levels: int) -> Counts:
    """Counts of rows of bins (n, columns), of labels (n,), or of both."""
    n = parts[0].shape[0]
    bins = [part for part in parts if part.ndim == 2]
    labels = [part for part in parts if part.ndim == 1]
    columns = sum(part.shape[1] for part in bins)
    equally_full = columns == 1 and not labels
    if len(labels) == 2 or columns > TABLE_BITS:  # one level
        key = cells.pack_rows(*parts)
    else:
        bits = columns * levels
        key = interleave(jnp.concatenate(bins, axis=1), levels) if bins else jnp.zeros(n, jnp.int32)
        if not labels and 2**bits <= 8 * n:
            table = jnp.zeros(2**bits, jnp.int32).at[key].add(1)
            return counts_of_table(table, columns, levels, equally_full=equally_full)
        for label in labels:
            key = (cells.pack(label[:, None], None, bits) << bits) | key
    ordered = jnp.sort(key)
    shifts = columns * jnp.arange(levels - 1, -1, -1, dtype=key.dtype)
    return jax.lax.map(lambda shift: _counts(cells.run_lengths(ordered >> shift), equally_full=equally_full), shifts)


# --- Estimate ----------------------------------------------------------------------------------------------


def choose_level(
    information: Float[Array, " levels"], alone: Float[Array, " levels"], resolved: Bool[Array, " levels"]
) -> tuple[Integer[Array, ""], Float[Array, ""]]:
    """The finest trusted level, and the first-order extrapolation of its information to cells of no width."""
    # The share of lonely samples grows with each halving, so the trusted levels come first.
    level = jnp.maximum((alone <= ALONE).sum() - 1, 0)
    step = information[level] - information[jnp.maximum(level - 1, 0)]
    return level, jnp.where(resolved[level], 0.0, step)


def combine(
    counts: Sequence[Counts], n: Array | int, resolved: Bool[Array, " levels"], columns: Sequence[int]
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The estimate in nats and its diagnostics.

    Args:
        counts: of X's cells, of Y's and of the pairs.
        n: number of samples.
        resolved: whether each level tells all different values apart.
        columns: of X and of Y; labels have none.
    """
    x, y, xy = counts
    n = jnp.asarray(n, jnp.float64)
    one_cell = (x.occupied == 1) | (y.occupied == 1)
    information = jnp.where(one_cell, 0.0, jnp.log(n) + (xy.sum - x.sum - y.sum) / n)
    alone = xy.single / n
    level, step = choose_level(information, alone, resolved)
    diagnostics = {"undersampled": alone[level] > ALONE, "alone": alone[level]}
    if any(columns):
        finest, coarse = level == resolved.shape[0] - 1, step > COARSE
        function = xy.occupied == jnp.maximum(x.occupied, y.occupied)
        diagnostics |= {
            "starved": ~resolved[level] & ((level < 2) | (coarse & ~finest)),
            "saturated": coarse & finest,
            "deterministic": all(columns) & function[level] & ~one_cell[level],
            "bins": 2 ** (level + 1),
            "step": step,
        }
    return information[level] + step, diagnostics


def as_estimate(
    value: Array, non_finite: Array, constant: Array, diagnostics: dict[str, Array], dtype: jnp.dtype
) -> MIEstimate:
    """An estimate in the caller's precision; NaN of samples that are not finite, 0 of a constant."""
    value = jnp.where(non_finite, jnp.nan, jnp.where(constant, 0.0, value))
    found = {"non_finite": non_finite, "constant": constant, **diagnostics}
    found = {k: v.astype(dtype) if jnp.issubdtype(v.dtype, jnp.floating) else v for k, v in found.items()}
    return MIEstimate(value.astype(dtype), None, found)


def _bins_or_labels(side: Array, levels: int) -> tuple[Array, Bool[Array, " levels"]]:
    """Bins of columns or labels as they are, and the levels that tell all different values apart."""
    if side.ndim == 1:
        return side, jnp.ones(levels, bool)
    edges = edges_of(side, levels)
    return bins_of(side, edges.starts), edges.resolved


def rank(x: Array, y: Array) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The rule on two variables, columns (n, d) or labels (n,)."""
    columns = [side.shape[1] if side.ndim == 2 else 0 for side in (x, y)]
    levels = levels_of(x.shape[0], sum(columns)) if any(columns) else 1
    (x, x_resolved), (y, y_resolved) = _bins_or_labels(x, levels), _bins_or_labels(y, levels)
    counts = [counts_of(parts, levels) for parts in ([x], [y], [x, y])]
    return combine(counts, x.shape[0], x_resolved & y_resolved, columns)


def rank_layer(t: Float[Array, "n units"], labels: Array) -> tuple[Array, Array]:
    """I(X;T) at a bandwidth that the shape of ``t`` alone decides, lest it jumps in training; and I(T;Y)."""
    n, units = t.shape
    fixed = max(1, round(math.log2(n) / (2 * units)))
    levels = max(levels_of(n, units), fixed)
    bins, resolved = _bins_or_labels(t, levels)

    def at(level: int) -> Array:
        return bins >> (levels - level)

    complexity = cells.information(at(fixed), jnp.zeros(n, jnp.int32), sizes=2**fixed, classes=1).complexity
    if labels.ndim == 1:
        counts = [counts_of(parts, levels) for parts in ([bins], [labels], [bins, labels])]
        return complexity, combine(counts, n, resolved, [units, 0])[0]
    rows = labels.astype(jnp.float64)
    information = jnp.stack([_of_rows(cells.pack(at(k), 2**k), rows) for k in range(1, levels + 1)])
    # As if each sample had its likeliest label: a finer level than that of such labels has nothing to average over.
    alone = counts_of([bins, jax.lax.argmax(labels, 1, jnp.int32)], levels).single / n
    level, step = choose_level(information, alone, resolved)
    return complexity, information[level] + step


def _of_rows(keys: Integer[Array, " n"], rows: Float[Array, "n classes"]) -> Float[Array, ""]:
    """I(T;Y) in nats of cells and rows p(y|x), less the bias of a mean of few rows.

    The mean row of a cell of c samples has the variance s2 / c, s2 that of its rows, which adds s2 / (2 c p(y|t)) to
    the information of class y; of certain labels, where s2 = p (1 - p), it is the correction of Miller (1955).
    """
    n = keys.shape[0]
    cell = cells.rank(keys)
    size = jnp.zeros((n, 1)).at[cell, 0].add(1.0)
    mass, square = (jnp.zeros(rows.shape).at[cell].add(a) for a in (rows, rows**2))

    def divergence_and_bias(p: Array, square: Array, size: Array | int, expected: Array) -> Array:
        spread = jnp.maximum(square / size - p**2, 0) * size / jnp.maximum(size - 1, 1)
        seen = jnp.where(p > 0, p, 1.0)
        return (size * p * jnp.log(seen / jnp.where(p > 0, expected, 1.0)) - spread / seen / 2).sum() / n

    overall = rows.mean(axis=0, keepdims=True)
    filled = jnp.maximum(size, 1)
    of_cells = divergence_and_bias(mass / filled, square, filled, overall)
    return of_cells - divergence_and_bias(overall, (rows**2).sum(axis=0, keepdims=True), n, overall)
