"""A test of independence by any estimator of mutual information."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.errors import InputError
from ibjax.estimators.base import Estimator
from ibjax.estimators.resample import at_once
from ibjax.estimators.samples import as_given, is_count, same_length


class PermutationTest(NamedTuple):
    """What shuffling says about an estimate.

    Attributes:
        value: the estimate of I(X;Y), in nats.
        p_value: share of shuffles, the identity counted as one, whose estimate is at least that.
        null: the estimates of the shuffles, in nats, along the first axis. Their mean is the bias at independence.
    """

    value: Float[Array, "..."]
    p_value: Float[Array, "..."]
    null: Float[Array, "n ..."]


def permutation_test(est: Estimator, x: Any, y: Any, key: Array, *, n: int = 1000) -> PermutationTest:
    """Test whether X and Y are independent, by the estimates of n random re-orderings of y.

    If they are, (x, y) and (x, y re-ordered) have the same distribution, so p = (1 + #{I_i >= I}) / (n + 1) is at most
    alpha with probability alpha, for any estimator and any number of samples. The smallest possible p is 1 / (n + 1).
    All n + 1 estimates are one compiled program. It does not hold for a time series, whose samples depend on each
    other.

    Args:
        est: an estimator.
        x: samples or labels, as ``est`` takes them.
        y: likewise; its rows are re-ordered.
        key: of the re-orderings, and handed to ``est``.
        n: number of re-orderings.

    Returns:
        The estimate, its p-value and the null distribution.

    Raises:
        InputError: as ``est``; or ``n`` is no positive whole number.

    Example:
        >>> from ibjax.estimators import KSG
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 200))
        >>> found = permutation_test(KSG(), x, x + noise, jax.random.key(1), n=99)
        >>> f"{found.p_value:.2f}"
        '0.01'

    References:
        Phipson & Smyth (2010), "Permutation P-values should never be zero".
    """
    if not is_count(n):
        raise InputError(f"n must be a positive whole number of re-orderings, got {n!r}: 1000 is usual")
    x, y = as_given("x", x), as_given("y", y)
    same_length(x=x, y=y)
    return _test(est, x, y, jax.random.split(key, n))


@jax.jit
def _test(est: Estimator, x: Array, y: Array, keys: Array) -> PermutationTest:
    value = est(x, y, keys[0]).value

    def shuffled(key: Array) -> Array:
        return est(x, jax.random.permutation(key, y), key).value

    null = jax.lax.map(shuffled, keys, batch_size=at_once(x.shape[0]))
    # Equal tables may be summed in another order, so that rounding must not decide.
    tolerance = 16 * jnp.finfo(value.dtype).eps * jnp.maximum(jnp.abs(value), 1)
    p_value = (1 + (null >= value - tolerance).sum(axis=0)) / (1 + keys.shape[0])
    return PermutationTest(value, jnp.where(jnp.isnan(value), jnp.nan, p_value).astype(value.dtype), null)
