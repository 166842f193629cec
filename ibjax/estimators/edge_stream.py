"""EDGE of samples that arrive in parts and are not kept."""

import dataclasses
import typing
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Bool, Integer

from ibjax.errors import InputError
from ibjax.estimators import cells
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.edge_rank import (
    TABLE_BITS,
    as_estimate,
    bins_of,
    combine,
    counts_of_table,
    edges_of,
    interleave,
    levels_of,
)
from ibjax.estimators.samples import as_variable, same_length


class EDGEState(NamedTuple):
    """Counts of the samples so far.

    Attributes:
        x: of X's cells.
        y: of Y's cells.
        xy: of the pairs.
        n: number of samples, fewer than 2^31.
        finite: whether all were finite.
    """

    x: Integer[Array, " buckets"]
    y: Integer[Array, " buckets"]
    xy: Integer[Array, " buckets"]
    n: Integer[Array, ""]
    finite: Bool[Array, ""]


@typing.no_type_check  # transformations rebuild a pytree with leaves that are no arrays
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EDGEStream:
    """EDGE's default rule as three tables of counts, whose size does not depend on the number of samples.

    `init`, `update` and `estimate` are pure functions. Tables counted apart add up to those of all samples.

    The cells are fixed by a pilot sample (see `EDGE.stream`). Where the pilot is the whole sample the estimate
    is EDGE's own; where it is a random part of it the cells are nearly equally full, and the estimate nearly so. The
    tables are exact: bins are so many that every cell of the finest level has a bucket of its own, and the wider
    levels are sums of buckets. Only more columns (and bits of labels) than ``bits`` are hashed at random: then two
    occupied cells meet with probability 2^-bits, and of K of them about K^2 / 2^(bits + 1) pairs are merged.
    Labels that the pilot lacks share one extra cell.

    Attributes:
        x: where the bins of each column of X begin, as sortable integers, or the labels of X in order.
        y: the same of Y.
        resolved: whether each level tells all of the pilot's values apart.
        bits: each table has 2^bits buckets.

    Example:
        >>> import numpy as np
        >>> from ibjax.estimators import EDGE
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(4, 10_000)).astype(np.float32)
        >>> y = x + rng.normal(size=x.shape).astype(np.float32)
        >>> stream = EDGE().stream(x[0], y[0], n=x.size)
        >>> state = stream.init()
        >>> for part in zip(x, y, strict=True):
        ...     state = stream.update(state, *part)
        >>> int(state.n), bool(abs(stream.estimate(state).value - 0.5 * np.log(2)) < 0.03)
        (40000, True)

    References:
        Noshad, Zeng & Hero (2019), algorithm 1.
    """

    x: Integer[Array, "dx edges"] | Integer[Array, " x_labels"]
    y: Integer[Array, "dy edges"] | Integer[Array, " y_labels"]
    resolved: Bool[Array, " levels"]
    bits: int = dataclasses.field(default=TABLE_BITS, metadata={"static": True})

    def init(self) -> EDGEState:
        """Return the state before the first sample."""
        x, y, xy = (jnp.zeros(2**self.bits, jnp.int32) for _ in range(3))
        return EDGEState(x, y, xy, jnp.zeros((), jnp.int32), jnp.ones((), bool))

    def update(self, state: EDGEState, x: Any, y: Any) -> EDGEState:
        """Return the state after more samples of the pilot's variables, any number of them.

        Under ``jax.jit(stream.update, donate_argnums=0)`` the tables are updated in place.

        Raises:
            InputError: as EDGE does, or the samples are not of the pilot's kind.
        """
        x, y = as_variable("x", x, at_least=1), as_variable("y", y, at_least=1)
        same_length(x=x, y=y)
        for name, part, pilot in (("x", x, self.x), ("y", y, self.y)):
            found, wanted = _kind(part.T), _kind(pilot)
            if found != wanted:
                raise InputError(f"{name} has {found}, the pilot had {wanted}: pass the same variables")
        return _update(self, state, x, y)

    def estimate(self, state: EDGEState) -> MIEstimate:
        """Return EDGE's estimate from the samples so far."""
        return _estimate(self, state)


def stream_of(x: Array, y: Array, n: int, bits: int) -> EDGEStream:
    """The stream whose cells are those of a pilot of columns or labels."""
    alphabets = [jnp.unique(side) for side in (x, y) if side.ndim == 1]
    columns = sum(side.shape[1] for side in (x, y) if side.ndim == 2)
    levels = levels_of(n, columns, max(0, bits - sum(map(_label_bits, alphabets))))
    cuts, resolved = [], jnp.ones(levels, bool)
    with jax.enable_x64(True):
        for side in (x, y):
            if side.ndim == 1:
                cuts.append(alphabets.pop(0))
            else:
                edges = edges_of(side, levels)
                cuts.append(edges.starts)
                resolved &= edges.resolved
    return EDGEStream(x=cuts[0], y=cuts[1], resolved=resolved, bits=bits)


def _kind(cut: Array) -> str:
    """What a variable is, from its cut or the transpose of its samples."""
    return "labels" if cut.ndim == 1 else f"{cut.shape[0]} columns"


def _precision(starts: Integer[Array, "columns edges"]) -> jnp.dtype:
    """The pilot's precision, which its sortable integers tell."""
    return jnp.dtype(jnp.float64 if starts.dtype == jnp.int64 else jnp.float32)


def _label_bits(alphabet: Integer[Array, " labels"]) -> int:
    """Bits that number the labels, and one more for all that are not among them."""
    return alphabet.shape[0].bit_length()


def _codes(labels: Integer[Array, " n"], alphabet: Integer[Array, " labels"]) -> Integer[Array, " n"]:
    """Number of every label."""
    at = jnp.searchsorted(alphabet, labels)
    known = alphabet[jnp.minimum(at, alphabet.shape[0] - 1)] == labels
    return jnp.where(known, at, alphabet.shape[0]).astype(jnp.int64)


def _buckets(stream: EDGEStream, *variables: tuple[Array, Array]) -> Integer[Array, " n"]:
    """The bucket of every row of pairs (bins or codes, cut)."""
    levels = stream.resolved.shape[0]
    bins = [part for part, cut in variables if cut.ndim == 2]
    codes = [(part, _label_bits(cut)) for part, cut in variables if cut.ndim == 1]
    low = levels * sum(part.shape[1] for part in bins)
    if low + sum(size for _, size in codes) > stream.bits:
        return cells.pack_rows(*(part for part, _ in variables)) >> (cells.KEY_BITS - stream.bits)
    first = variables[0][0]
    key = interleave(jnp.concatenate(bins, axis=1), levels) if bins else jnp.zeros(first.shape[0], jnp.int32)
    for part, size in codes:
        key = key | (part << low)
        low += size
    return key


@jax.jit
@sequential_vmap
def _update(stream: EDGEStream, state: EDGEState, x: Array, y: Array) -> EDGEState:
    with jax.enable_x64(True):
        x_cut, y_cut = (
            (bins_of(side.astype(_precision(cut)), cut) if cut.ndim == 2 else _codes(side, cut), cut)
            for side, cut in ((x, stream.x), (y, stream.y))
        )
        return EDGEState(
            state.x.at[_buckets(stream, x_cut)].add(1),
            state.y.at[_buckets(stream, y_cut)].add(1),
            state.xy.at[_buckets(stream, x_cut, y_cut)].add(1),
            state.n + x.shape[0],
            state.finite & jnp.isfinite(x).all() & jnp.isfinite(y).all(),
        )


@jax.jit
@sequential_vmap
def _estimate(stream: EDGEStream, state: EDGEState) -> MIEstimate:
    columns = [cut.shape[0] if cut.ndim == 2 else 0 for cut in (stream.x, stream.y)]
    precisions = [_precision(cut) for cut in (stream.x, stream.y) if cut.ndim == 2]
    dtype = jnp.result_type(*precisions) if precisions else jnp.dtype(jnp.result_type(float))
    with jax.enable_x64(True):
        levels = stream.resolved.shape[0]
        counts = [
            counts_of_table(table, width, levels, equally_full=width == 1)
            for table, width in zip((state.x, state.y), columns, strict=True)
        ]
        constant = (counts[0].occupied[-1] == 1) | (counts[1].occupied[-1] == 1)
        counts.append(counts_of_table(state.xy, sum(columns), levels))
        value, diagnostics = combine(counts, state.n, stream.resolved, columns)
        return as_estimate(value, ~state.finite, constant, diagnostics, dtype)
