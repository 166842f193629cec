"""Entropy of counts, with the corrections of the field for samples that are few."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, xlogy
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError, choose
from ibjax.estimators import nsb
from ibjax.estimators.samples import concrete, is_count, is_discrete

CORRECTIONS = ("none", "miller-madow", "grassberger", "chao-shen", "chao-wang-jost", "shrinkage", "nsb")

BLOCK = 2**20
"""Cells of a batch of tables that are worked on at a time."""
QUADRATURE_NODES = 256
"""Of the integral of ``"chao-wang-jost"``: thirteen digits for all samples up to 10^9."""
CELLS_AT_LEAST = {"chao-wang-jost": QUADRATURE_NODES, "nsb": nsb.NODES * nsb.COUNTS_AT_A_TIME}
"""Cells that a table takes the memory of, however small it is."""


def discrete_entropy(
    counts: Any, correction: str = "none", *, alphabet: int | None = None, block: int = BLOCK
) -> Float[Array, "..."]:
    """Entropy, in nats, of the distribution that n samples with these counts were drawn from.

    With c_i the counts, n their sum, m the number of cells that are not empty, K the alphabet and p_i = c_i / n:

    ``"none"``: -sum p_i ln p_i; biased downwards by about (m - 1) / 2n and more.
    ``"miller-madow"``: (m - 1) / 2n is added.
    ``"grassberger"``: ln n - (1/n) sum c_i G(c_i), G(c) = psi(c) + (-1)^c [psi((c+1)/2) - psi(c/2)] / 2, which is
        psi(floor(c/2) + 1/2) + ln 2. This is the estimator of 2003, not the one of 1988 with (-1)^c / (c + 1).
    ``"chao-shen"``: -sum q_i ln q_i / [1 - (1 - q_i)^n] with q_i = C p_i and the coverage C = 1 - f1 / n; f1 cells have
        one sample. Where all have one, f1 = n - 1 is taken, or the estimate would be infinite.
    ``"chao-wang-jost"``: sum p_i [psi(n) - psi(c_i)] + (f1/n) sum_{r>=n} (1-A)^(r-n+1) / r, the last being the unseen
        cells' share, with A = 2 f2 / [(n-1) f1 + 2 f2], or 2 / [(n-1) (f1-1) + 2] if no cell has two samples (f2 = 0).
    ``"shrinkage"``: the entropy of s/K + (1-s) p_i over all K cells, with the James-Stein intensity
        s = (1 - sum p_i^2) / [(n-1) sum (p_i - 1/K)^2] between 0 and 1. Draws the estimate to ln K: it is right for
        nearly uniform distributions only.
    ``"nsb"``: posterior mean under a prior that is nearly flat in the entropy; see `ibjax.estimators.nsb`.

    Only the last two depend on the alphabet.

    Args:
        counts: integers of shape (..., cells); zeros are cells without a sample. A batch is computed in one program.
        correction: one of `CORRECTIONS`. "chao-wang-jost" and "nsb" are the most accurate when samples are few.
        alphabet: K, how many symbols there could be; as many as there are cells if None.
        block: how many cells of a batch are worked on at a time, which bounds the memory to about 100 bytes a cell.

    Returns:
        Nats, of shape (...) and of JAX's default precision; computed in double precision. NaN inside a transformation
        where a count is negative, all are zero, or more cells have samples than the alphabet has symbols.

    Raises:
        InputError: the counts are not integers, one is negative, there is none, or a setting is wrong.

    When it fails: none is unbiased for every distribution, and no correction sees symbols that are rare beyond n. A
        large difference between "chao-wang-jost" and "nsb" says that n is too small for either.

    Example:
        >>> counts = jnp.array([[4, 2, 1, 1], [8, 0, 0, 0]])
        >>> [f"{h / np.log(2):.3f}" for h in discrete_entropy(counts)]
        ['1.750', '0.000']
        >>> [f"{h / np.log(2):.3f}" for h in discrete_entropy(counts, "miller-madow")]
        ['2.021', '0.000']

    References:
        Miller (1955), "Note on the bias of information estimates".
        Grassberger (2003), "Entropy estimates from insufficient samplings".
        Chao & Shen (2003), "Nonparametric estimation of Shannon's index of diversity when there are unseen species".
        Chao, Wang & Jost (2013), "Entropy and the species accumulation curve".
        Hausser & Strimmer (2009), "Entropy inference and the James-Stein estimator", section 2.
        Nemenman, Shafee & Bialek (2002), "Entropy and inference, revisited".
    """
    choose("correction", correction, CORRECTIONS)
    if alphabet is not None and not is_count(alphabet):
        raise InputError(f"alphabet must be a whole number of symbols, got {alphabet}: None takes the number of cells")
    check_block(block)
    dtype = jnp.result_type(float)
    with jax.enable_x64(True):
        counts = as_counts("counts", counts, axes=1)
        if alphabet is not None and concrete(counts) and int((counts > 0).sum(axis=-1).max()) > alphabet:
            raise InputError(f"more cells have samples than the alphabet of {alphabet} has symbols")
        size = jnp.asarray(counts.shape[-1] if alphabet is None else alphabet, jnp.float64)
        return _entropies(counts, size, correction, block, dtype)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _entropies(counts, alphabet, correction, block, dtype):
    def one(counts):
        valid = (counts >= 0).all() & (counts.sum() > 0) & ((counts > 0).sum() <= alphabet)
        return jnp.where(valid, corrected_entropy(counts, alphabet, correction), jnp.nan)

    return over_batch(one, counts, axes=1, correction=correction, block=block).astype(dtype)


def as_counts(name: str, counts: Any, *, axes: int) -> Integer[Array, "..."]:
    """Return counts as 64-bit integers, the last ``axes`` axes a table; call it under ``jax.enable_x64``.

    Raises:
        InputError: they are not integers or have no cell; a count is negative or a table has no sample (inside a
            transformation values are not known: the estimate is NaN then).
    """
    if not hasattr(counts, "dtype"):
        counts = np.asarray(counts)
    if not is_discrete(counts) or counts.dtype == bool:
        raise InputError(f"{name} must be integers, got {counts.dtype}: numbers of samples, not probabilities")
    if counts.ndim < axes or 0 in counts.shape:
        wanted = "(..., cells)" if axes == 1 else "(..., |X|, |Y|)"
        raise InputError(f"{name} must have shape {wanted} without an empty axis, got {counts.shape}")
    if concrete(counts):
        values = np.asarray(counts)
        if (values < 0).any():
            where = tuple(int(i) for i in np.argwhere(values < 0)[0])
            raise InputError(f"{name} must not be negative, got {values[where]} at {where}")
        empty = values.max(axis=tuple(range(-axes, 0))) == 0
        if empty.any():
            which = f" of table {tuple(int(i) for i in np.argwhere(empty)[0])}" if empty.ndim else ""
            raise InputError(f"{name}{which} are all zero: there is no sample to estimate from")
    return jnp.asarray(counts).astype(jnp.int64)


def check_block(block: Any) -> None:
    """Raise if ``block`` is no number of cells."""
    if not is_count(block):
        raise InputError(f"block must be a whole number of cells, 1 or more, got {block}: the default is 2**20")


def over_batch(function: Callable[[Array], Any], tables: Array, *, axes: int, correction: str, block: int) -> Any:
    """Map over all but the last ``axes`` axes, so many tables at a time that they take about ``block`` cells."""
    batch = tables.shape[: tables.ndim - axes]
    tables = tables.reshape(-1, *tables.shape[tables.ndim - axes :])
    at_a_time = max(1, block // max(tables[0].size, CELLS_AT_LEAST.get(correction, 1)))
    if tables.shape[0] <= at_a_time:
        found = jax.vmap(function)(tables)
    else:
        found = jax.lax.map(function, tables, batch_size=at_a_time)
    return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), found)


def corrected_entropy(counts: Integer[Array, " cells"], alphabet: Array, correction: str) -> Float[Array, ""]:
    """One entropy in float64, see `discrete_entropy`; zeros may fill up the counts, ``alphabet`` is K.

    Call it under ``jax.enable_x64``. Finite for all counts that are not negative and not all zero.
    """
    if correction == "nsb":
        return nsb.nsb_entropy(counts, alphabet)
    if correction == "shrinkage":
        return shrunk_entropy(counts, alphabet, shrinkage_intensity(counts, alphabet))
    c = counts.astype(jnp.float64)
    n = c.sum()
    match correction:
        case "grassberger":
            return jnp.log(n) - jnp.where(c > 0, c * (digamma(jnp.floor(c / 2) + 0.5) + jnp.log(2.0)), 0.0).sum() / n
        case "chao-shen":
            return _chao_shen(c, n)
        case "chao-wang-jost":
            return _chao_wang_jost(c, n)
    entropy = jnp.log(n) - xlogy(c, c).sum() / n
    return entropy + ((c > 0).sum() - 1) / (2 * n) if correction == "miller-madow" else entropy


def _chao_shen(c, n):
    singletons = (c == 1).sum()
    coverage = 1 - jnp.where(singletons == n, n - 1, singletons) / n
    q = jnp.where(c > 0, coverage * c / n, 1.0)
    seen = -jnp.expm1(n * jnp.log1p(-q))
    return -(q * jnp.log(q) / seen).sum()


def _chao_wang_jost(c, n):
    f1, f2 = (c == 1).sum(), (c == 2).sum()
    with_doubles = 2 * f2 / jnp.maximum((n - 1) * f1 + 2 * f2, 1)
    a = jnp.where(f2 > 0, with_doubles, 2 / ((n - 1) * jnp.maximum(f1 - 1, 0) + 2))
    seen = jnp.where(c > 0, c * (digamma(n) - digamma(jnp.maximum(c, 1.0))), 0.0).sum() / n
    return seen + jnp.where(f1 > 0, f1 / n * _unseen(jnp.where(f1 > 0, a, 1.0), n), 0.0)


def _unseen(a, n):
    """``sum_{r>=n} (1-a)^(r-n+1) / r`` as (1-a) int_0^inf exp(-n s) / [1 - (1-a) exp(-s)] ds, the integral over ln s.

    The published form, (1-a)^(1-n) [-ln a - sum_{r<n} (1-a)^r / r], takes n terms and cancels to nothing.
    """
    v = jnp.linspace(jnp.log(a) - 40.0, jnp.log(45.0 / n), QUADRATURE_NODES)
    s = jnp.exp(v)
    return (1 - a) * (s * jnp.exp(-n * s) / (a * jnp.exp(-s) - jnp.expm1(-s))).sum() * (v[1] - v[0])


def shrinkage_intensity(counts: Integer[Array, " cells"], alphabet: Array) -> Float[Array, ""]:
    """James-Stein weight of the uniform distribution, between 0 and 1; 1 for a single sample."""
    c = counts.astype(jnp.float64)
    n = c.sum()
    squares = (c**2).sum() / n**2
    distance = squares - 1 / alphabet
    # The counts are integers: closer than this, they are uniform.
    known = (distance > 1e-14 * squares) & (n > 1)
    return jnp.where(known, jnp.clip((1 - squares) / jnp.where(known, (n - 1) * distance, 1.0), 0.0, 1.0), 1.0)


def shrunk_entropy(counts: Integer[Array, " cells"], alphabet: Array, intensity: Array) -> Float[Array, ""]:
    """Entropy of ``intensity / K + (1 - intensity) c / n`` over all K symbols, those without a sample too."""
    c = counts.astype(jnp.float64)
    uniform = intensity / alphabet
    p = jnp.where(c > 0, uniform + (1 - intensity) * c / c.sum(), 0.0)
    return -xlogy(p, p).sum() - (alphabet - (c > 0).sum()) * xlogy(uniform, uniform)
