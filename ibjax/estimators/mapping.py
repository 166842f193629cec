"""Many estimates in one call, in bounded memory."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ibjax.errors import InputError
from ibjax.estimators.base import Estimator, MIEstimate

MEMORY = 2**30
"""Bytes that the estimates in progress may take."""


def map(est: Estimator, xs: Any, ys: Any, key: Array | None = None, *, memory: int = MEMORY) -> MIEstimate:  # noqa: A001 - as in __init__
    """Estimate the information of every pair of sample sets, all in one compiled program.

    As many pairs as ``memory`` allows are estimated side by side (estimators that are wide by themselves, such as `KSG`
    on a CPU, take them one by one whatever it is); what one of them needs is asked of the compiler. The results are
    those of a loop.

    Args:
        est: an estimator.
        xs: samples (b, n, dx) or (b, n), or integer labels (b, n), of b pairs.
        ys: likewise.
        key: if given, pair i is estimated with ``jax.random.fold_in(key, i)``.
        memory: limit in bytes for what is in progress; the samples and results themselves come on top.

    Returns:
        An estimate whose leaves have a leading axis b. A pair that is not finite has the value NaN and its diagnostic
        ``non_finite``; the others are not affected.

    Raises:
        InputError: shapes that do not match, or what ``est`` refuses.

    Example:
        >>> from ibjax.estimators import KSG
        >>> xs, noise = jax.random.normal(jax.random.key(0), (2, 5, 300, 1))
        >>> map(KSG(), xs, xs + noise).value.shape
        (5,)
    """
    xs, ys = _batch("xs", xs), _batch("ys", ys)
    if xs.shape[:2] != ys.shape[:2]:
        raise InputError(f"xs and ys must agree in pairs and samples, got {xs.shape[:2]} and {ys.shape[:2]}")
    if not memory > 0:
        raise InputError(f"memory must be a positive number of bytes, got {memory}: {MEMORY} is the default")
    keys = None if key is None else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(xs.shape[0]))
    pairs = xs, ys, keys
    # What the compiler says is of one pair.
    single = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), pairs)
    analysis = _one.lower(est, single).compile().memory_analysis()
    each = analysis.temp_size_in_bytes + analysis.output_size_in_bytes if analysis else memory
    return _each(est, pairs, int(min(xs.shape[0], max(1, memory // max(1, each)))))


# Functions of the module, so that a second call with the same shapes compiles nothing.
@jax.jit
def _one(est: Estimator, pair: tuple[Array, Array, Array | None]) -> MIEstimate:
    return est(*pair)


@functools.partial(jax.jit, static_argnames="at_once")
def _each(est: Estimator, pairs: tuple[Array, Array, Array | None], at_once: int) -> MIEstimate:
    return jax.lax.map(lambda pair: est(*pair), pairs, batch_size=at_once)


def _batch(name: str, a: Any) -> Array:
    if not hasattr(a, "dtype"):
        a = np.asarray(a)
    if a.ndim not in (2, 3) or 0 in a.shape:
        raise InputError(f"{name} must have shape (pairs, n) or (pairs, n, columns), none of them 0, got {a.shape}")
    return jnp.asarray(a)
