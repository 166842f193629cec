"""Convex programs over the simplex by a primal-dual interior point: the core of rate-distortion and capacity."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Int

TO_BOUNDARY = 0.99
"""Share of the way to the first variable of zero."""
FLAT = 1e-14
"""Curvature added to every coordinate, relative to the largest: repeated columns leave none."""


class Simplex(NamedTuple):
    """A point of the simplex and its dual bound.

    Attributes:
        q: probabilities, shape (m,).
        value: of the objective at q.
        gap: value exceeds the minimum by at most this.
        iterations: Newton steps.
        status: whether the gap is within the tolerance.
    """

    q: Float[Array, " m"]
    value: Float[Array, ""]
    gap: Float[Array, ""]
    iterations: Int[Array, ""]
    status: Bool[Array, ""]


def minimise_on_simplex(
    objective: Callable[[Array], tuple[Array, Array, Array]], start: Array, tolerance: Array, max_iterations: Array
) -> Simplex:
    """Minimise a convex function over the simplex, with Mehrotra's predictor and corrector.

    The optimum is f'(q) + nu - s = 0, q s = 0, sum q = 1, s >= 0. Both steps of an iteration share one Cholesky factor
    of diag(q)^1/2 f'' diag(q)^1/2 + diag(q s / q) in the variables scaled by q^1/2, which stays well conditioned as
    variables vanish. By convexity the value exceeds the minimum by at most q f'(q) - min f'(q), the gap returned.

    Args:
        objective: q -> (value, gradient, hessian), shapes (), (m,), (m, m).
        start: positive probabilities.
        tolerance: of the gap.
        max_iterations: Newton steps.

    References:
        Mehrotra (1992), "On the implementation of a primal-dual interior point method".
    """
    m = start.shape[0]

    def bound(q):
        value, gradient, _ = objective(q / q.sum())
        return value, (q / q.sum() * gradient).sum() - gradient.min()

    def unfinished(carry):
        _, _, _, best, iteration = carry
        return (iteration < max_iterations) & ~(best[2] <= tolerance) & jnp.isfinite(best[1])

    def body(carry):
        q, s, nu, best, iteration = carry
        _, gradient, hessian = objective(q)
        mu = (q * s).mean()
        root = jnp.sqrt(q)
        matrix = root[:, None] * hessian * root + jnp.diag(s)
        matrix = matrix + FLAT * jnp.diagonal(matrix).max() * jnp.eye(m)
        factor = jnp.linalg.cholesky(matrix), True
        stationarity, feasibility = gradient + nu - s, q.sum() - 1

        def right(target):
            return root * (-stationarity + (target - q * s) / q)

        def direction(target, solved, ones):
            """Of f'' dq + dnu - ds = -stationarity, sum dq = -feasibility, s dq + q ds = target - q s."""
            dnu = ((root * solved).sum() + feasibility) / (root * ones).sum()
            dq = root * (solved - dnu * ones)
            return dq, (target - q * s - s * dq) / q, dnu

        zero = jnp.zeros_like(q)
        solved, ones = cho_solve(factor, jnp.stack([right(zero), root], axis=1)).T
        dq, ds, _ = direction(zero, solved, ones)
        a, b = _length(q, dq), _length(s, ds)
        after = ((q + a * dq) * (s + b * ds)).mean()
        target = (after / mu) ** 3 * mu - dq * ds
        dq, ds, dnu = direction(target, cho_solve(factor, right(target)), ones)
        step = TO_BOUNDARY * jnp.minimum(_length(q, dq), _length(s, ds))
        q, s, nu = q + step * dq, s + step * ds, nu + step * dnu
        value, gap = bound(q)
        better = gap < best[2]
        best = jax.tree.map(lambda x, y: jnp.where(better, x, y), (q / q.sum(), value, gap), best)
        finite = jnp.isfinite(q).all() & jnp.isfinite(s).all()
        # Stop where rounding has the last word; the best so far is what counts.
        iteration = jnp.where(finite, iteration + 1, max_iterations)
        return q, s, nu, best, iteration

    value, gradient, _ = objective(start)
    nu = -(start * gradient).sum()
    s = jnp.maximum(gradient + nu, 0.1 * jnp.abs(gradient + nu).max() + 1e-8)
    first = start, value, (start * gradient).sum() - gradient.min()
    carry = start, s, nu, first, jnp.zeros((), jnp.int32)
    _, _, _, (q, value, gap), iteration = jax.lax.while_loop(unfinished, body, carry)
    return Simplex(q, value, gap, iteration, gap <= tolerance)


def _length(x: Array, dx: Array) -> Array:
    """Largest step up to 1 / TO_BOUNDARY that leaves x positive."""
    return jnp.minimum(1 / TO_BOUNDARY, jnp.where(dx < 0, -x / jnp.where(dx < 0, dx, 1.0), jnp.inf).min())
