"""Standard errors for any estimator: jackknife, subsampling, and a bootstrap that draws no sample twice."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer

from ibjax.errors import InputError, choose
from ibjax.estimators.base import Estimator, MIEstimate
from ibjax.estimators.samples import as_given, is_count, same_length

ERRORS = ("jackknife", "subsampling", "bootstrap")
ROWS_AT_ONCE = 2**16
"""Rows of replicates that are worked on together: few samples are not worth a step of their own."""


def jackknife(est: Estimator, x: Any, y: Any, key: Array | None = None, *, groups: int = 20) -> MIEstimate:
    """Return the estimate with its standard error by the jackknife that deletes a group of samples at a time.

    With G groups, which are every G-th sample, and I_g the estimate without group g,

        std_error^2 = (G - 1) / G sum_g (I_g - mean I)^2

    It needs no randomness and the least repetitions. It is the error of the estimate about its own mean: a bias, which
    the estimators of this package state each for itself, is no part of it. Samples must be independent: thin out a time
    series first. An estimator that jumps, such as `EDGE`, which chooses among a few bandwidths, gets an error that is
    far too large: use `subsampling` or `bootstrap` then.

    Args:
        est: an estimator.
        x: samples or labels of n rows, as ``est`` takes them.
        y: likewise.
        key: handed to ``est``.
        groups: G, from 2 to n; the error itself has a relative error of about 1 / sqrt(2 G).

    Returns:
        The estimate from all samples, its ``std_error`` replaced. All G + 1 estimates are one compiled program.

    Raises:
        InputError: as ``est``; or ``groups`` is no number of groups.

    Example:
        >>> from ibjax.estimators import Gaussian
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 1000))
        >>> found, own = jackknife(Gaussian(), x, x + noise), Gaussian()(x, x + noise)
        >>> abs(float(found.std_error / own.std_error) - 1) < 0.5
        True

    References:
        Shao & Wu (1989), "A general theory for jackknife variance estimation", section 2.
    """
    x, y, n = _checked(x, y)
    if not is_count(groups) or not 2 <= groups <= n:
        raise InputError(f"groups must be a whole number from 2 to {n}, the samples, got {groups!r}: 20 is usual")
    return _with_error(est, x, y, key, all_but_one_group(n, groups), (groups - 1) / groups)


def subsampling(est: Estimator, x: Any, y: Any, key: Array, *, parts: int = 10) -> MIEstimate:
    """Return the estimate with its standard error from the estimates of disjoint parts of the samples.

    The variance of an estimate falls as 1/n, so that of all samples is that of the m parts' estimates over m. Of the
    three errors it asks least of the estimator, which is not required to be smooth, and costs least; but it needs
    so many samples that a part of n / m is enough for one estimate.

    Args:
        est: an estimator.
        x: samples or labels of n rows, as ``est`` takes them.
        y: likewise.
        key: of the random parts.
        parts: m; the error itself has a relative error of about 1 / sqrt(2 m).

    Returns:
        The estimate from all samples, its ``std_error`` replaced.

    Raises:
        InputError: as ``est``, of a part too; or ``parts`` is no number of parts.

    Example:
        >>> from ibjax.estimators import KSG
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 1000))
        >>> 0.01 < float(subsampling(KSG(), x, x + noise, jax.random.key(1)).std_error) < 0.1
        True

    References:
        Holmes & Nemenman (2019), "Estimation of mutual information for real-valued data with error bars and controlled
        bias", section II.C; Politis & Romano (1994), "Large sample confidence regions based on subsamples".
    """
    x, y, n = _checked(x, y)
    if not is_count(parts) or not 2 <= parts <= n // 2:
        raise InputError(f"parts must be a whole number from 2 to {n // 2}, got {parts!r}: 10 is usual")
    size = n // parts
    rows = jax.random.permutation(_given(key), n)[: parts * size].reshape(parts, size)
    return _with_error(est, x, y, key, rows, size / n / (parts - 1))


def bootstrap(est: Estimator, x: Any, y: Any, key: Array, *, repetitions: int = 100) -> MIEstimate:
    """Return the estimate with its standard error by a bootstrap whose weights are 0 and 2.

    The usual bootstrap draws samples with replacement, and its copies look like atoms to every estimator that measures
    distances or counts cells: `KSG` is off by half a nat and more. Any exchangeable weights of mean and variance 1 will
    do, so each repetition takes half the samples, drawn without replacement: the deviation of these estimates is the
    error.

    Args:
        est: an estimator.
        x: samples or labels of n rows, as ``est`` takes them.
        y: likewise.
        key: of the random halves.
        repetitions: the error itself has a relative error of about 1 / sqrt(2 repetitions).

    Returns:
        The estimate from all samples, its ``std_error`` replaced.

    Raises:
        InputError: as ``est``, of a half too; or fewer than 2 ``repetitions``.

    Example:
        >>> from ibjax.estimators import KSG
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 500))
        >>> 0.01 < float(bootstrap(KSG(), x, x + noise, jax.random.key(1)).std_error) < 0.1
        True

    References:
        Praestgaard & Wellner (1993), "Exchangeably weighted bootstraps of the general empirical process", example 3.5.
    """
    x, y, n = _checked(x, y)
    if not is_count(repetitions) or repetitions < 2:
        raise InputError(f"repetitions must be a whole number of 2 or more, got {repetitions!r}: 100 is usual")
    half = n // 2
    draw = functools.partial(jax.random.permutation, x=n)
    rows = jax.vmap(draw)(jax.random.split(_given(key), repetitions))[:, :half]
    return _with_error(est, x, y, key, rows, half / (n - half) / (repetitions - 1))


def standard_error(method: str, est: Estimator, x: Any, y: Any, key: Array | None) -> MIEstimate:
    """Return the estimate with its standard error by one of `ERRORS`."""
    choose("error", method, ERRORS)
    if method == "jackknife":
        return jackknife(est, x, y, key)
    return (subsampling if method == "subsampling" else bootstrap)(est, x, y, _given(key))


def _given(key: Array | None) -> Array:
    if key is None:
        raise InputError("key is missing, random parts are drawn: pass key=jax.random.key(0)")
    return key


def _checked(x: Any, y: Any) -> tuple[Array, Array, int]:
    x, y = as_given("x", x), as_given("y", y)
    return x, y, same_length(x=x, y=y)


def all_but_one_group(n: int, groups: int) -> Integer[np.ndarray, "groups kept"]:
    """Rows that are left when every ``groups``-th is deleted; what is over of n is never deleted."""
    of_row = np.where(np.arange(n) < n - n % groups, np.arange(n) % groups, -1)
    return np.stack([np.flatnonzero(of_row != group) for group in range(groups)])


@jax.jit
def _with_error(est: Estimator, x: Array, y: Array, key: Array | None, rows: Array, factor: Array) -> MIEstimate:
    """The estimate, and sqrt(factor sum_r (I_r - mean I)^2) over the estimates of some rows each."""
    found = est(x, y, key)
    values = jax.lax.map(lambda kept: est(x[kept], y[kept], key).value, rows, batch_size=at_once(rows.shape[1]))
    squares = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return found._replace(std_error=jnp.sqrt(factor * squares).astype(found.value.dtype))


def at_once(n: int) -> int:
    """How many estimates of n samples to work on together."""
    return max(1, ROWS_AT_ONCE // n)
