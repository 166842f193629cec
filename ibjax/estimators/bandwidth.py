"""The width of a Gaussian kernel density by maximum leave-one-out likelihood."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.estimators.pairs import by_rows, centred, decay, reduce_pairs, squared_distances

GRID = 10
"""Variances at which the likelihood is looked at before its largest value is enclosed."""
BISECTIONS = 24
"""Halvings of the enclosure, which has two steps of the grid at first: what is left is rounding."""


class _Likelihood(NamedTuple):
    """Leave-one-out likelihood at one variance.

    Attributes:
        value: mean log-likelihood, without its term in ln s2.
        spread: for every sample the mean squared distance to the others, weighted by the kernel.
        weight: for every sample the sum of these weights, the nearest one's being 1.
    """

    value: Float[Array, ""]
    spread: Float[Array, " n"]
    weight: Float[Array, " n"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def likelihood_variance(t: Float[Array, "n columns"], block: int) -> Float[Array, ""]:
    """Return the variance s2 of largest leave-one-out likelihood of the Gaussian kernel density of ``t``.

    It maximises::

        l(s2) = (1/n) sum_i ln sum_{j: t_j != t_i} exp(-D_ij / (2 s2)) - (d/2) ln s2,      D_ij = |t_i - t_j|^2

    Copies of a sample are left out with it, for with them the density grows without bound as s2 -> 0. Where l is
    stationary, d s2 is the mean of D_ij under the kernel's own weights: so all its maxima lie between the mean squared
    distance of nearest neighbours and the largest of any pair, divided by d. The largest on a grid over this range is
    refined by halving with the sign of the derivative.

    Differentiable in reverse mode, by the implicit function theorem. It fails, like every choice by likelihood, on
    samples in a few tight groups, whose variance is that inside the groups, and on heavy tails, where single distant
    samples widen the kernel of all: state the variance then.

    Args:
        t: samples, of a size whose squares can be computed.
        block: rows of the distance matrix in memory at a time.

    Returns:
        The variance per column, in squared units of ``t``; 0 if all samples are equal.

    References:
        Duin (1976), "On the choice of smoothing parameters for Parzen estimators of probability density functions",
        IEEE Transactions on Computers C-25:1175.
    """
    return _maximum(centred(t), block)[0]


def _maximum(t: Array, block: int) -> tuple[Array, Array]:
    """The variance, and every sample's squared distance to its nearest neighbour that is no copy."""
    d = t.shape[1]
    nearest = reduce_pairs(_if_apart, "min", t, None, None, _rounding(t), block)
    constant = ~jnp.isfinite(nearest).all()
    nearest = jnp.where(jnp.isfinite(nearest), nearest, 0)

    def at(log_variance: Array) -> tuple[Array, Array]:
        """The likelihood, and whether it still rises."""
        found = _likelihood(t, nearest, jnp.exp(-log_variance) / 2, block)
        return found.value - d / 2 * log_variance, jnp.log(found.spread.mean() / d) > log_variance

    # No pair is farther apart than twice the largest distance from the mean.
    low, high = (jnp.log(jnp.where(constant, 1, s) / d) for s in (nearest.mean(), 4 * (t * t).sum(axis=1).max()))
    step = (high - low) / (GRID - 1)
    values, _ = jax.lax.map(at, low + step * jnp.arange(GRID, dtype=t.dtype))
    best = low + step * jnp.argmax(values)

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (ends[0] + ends[1]) / 2
        rises = at(middle)[1]
        return jnp.where(rises, middle, ends[0]), jnp.where(rises, ends[1], middle)

    ends = jnp.maximum(best - step, low), jnp.minimum(best + step, high)
    ends = jax.lax.fori_loop(0, BISECTIONS, halve, ends)
    return jnp.where(constant, 0, jnp.exp((ends[0] + ends[1]) / 2)), nearest


def _likelihood(t: Array, nearest: Array, rate: Array, block: int) -> _Likelihood:
    """The likelihood at ``rate`` = 1 / (2 s2)."""
    sums = reduce_pairs(_weights_and_moments, "sums", t, nearest, None, (rate, _rounding(t)), block)
    weight = jnp.where(sums.real > 0, sums.real, 1)
    return _Likelihood((jnp.log(weight) - rate * nearest).mean(), sums.imag / weight, weight)


def _rounding(t: Array) -> Array:
    """Largest squared distance that is only rounding: what is not farther away is a copy."""
    return t.shape[1] * (8 * jnp.finfo(t.dtype).eps * jnp.abs(t).max()) ** 2


def _if_apart(distance: Array, row: None, column: None, rounding: Array) -> Array:
    return jnp.where(distance > rounding, distance, jnp.inf)


def _weights_and_moments(distance: Array, nearest: Array, column: None, parameters: tuple[Array, Array]) -> Array:
    weight = _weight(distance, nearest, *parameters)
    return jax.lax.complex(weight, weight * distance)


def _weight(distance: Array, nearest: Array, rate: Array, rounding: Array) -> Array:
    """Kernel relative to that of the nearest sample, 0 of copies."""
    return jnp.where(distance > rounding, decay(distance - nearest, rate), jnp.zeros_like(distance))


def _forward(t: Array, block: int) -> tuple[Array, tuple[Array, Array, Array]]:
    t = centred(t)
    variance, nearest = _maximum(t, block)
    return variance, (t, variance, nearest)


def _backward(block: int, saved: tuple[Array, Array, Array], cotangent: Array) -> tuple[Array]:
    """From F(s2, t) = mean spread - d s2 = 0: ds2/dt = -(dF/dt) / (dF/ds2)."""

    @jax.custom_batching.sequential_vmap
    def gradient(t: Array, variance: Array, nearest: Array) -> Array:
        n, d = t.shape
        rate, rounding = 1 / (2 * jnp.where(variance > 0, variance, 1)), _rounding(t)
        at = _likelihood(t, nearest, rate, block)
        x = t.T
        ones_and_t = jnp.concatenate([jnp.ones_like(t[:, :1]), t], axis=1)

        def some(index: Array, rows: Array, *of_rows: Array) -> tuple[Array, Array]:
            distance = squared_distances(rows, index, x)

            def slope(nearest: Array, spread: Array, weight: Array) -> tuple[Array, Array]:
                """Normalised weights, and the derivative of the spread by each distance."""
                p = _weight(distance, nearest, rate, rounding) / weight
                return p, p * (1 - rate * (distance - spread))

            p, of_row = slope(*(a[:, None] for a in of_rows))
            of_both = of_row + slope(nearest, at.spread, at.weight)[1]
            sums = jnp.matmul(of_both, ones_and_t, precision="highest")
            variance_of_distance = (p * (distance - of_rows[1][:, None]) ** 2).sum(axis=1)
            return 2 * (rows * sums[:, :1] - sums[:, 1:]) / n, variance_of_distance

        by_t, variance_of_distance = by_rows(some, block, t, nearest, at.spread, at.weight)
        by_variance = 2 * rate**2 * variance_of_distance.mean() - d
        return jnp.where(variance > 0, -by_t / by_variance, jnp.zeros_like(by_t))

    return (cotangent * gradient(*saved),)


likelihood_variance.defvjp(_forward, _backward)
