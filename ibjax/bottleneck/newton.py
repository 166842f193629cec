"""Newton's method for clusters, each step by conjugate gradients."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, fixed_point_map, log_likelihood
from ibjax.bottleneck.squarem import LIGHTEST

HIGHEST = jax.lax.Precision.HIGHEST
DAMPING = 1e-3
"""Of the first step, relative to the steps of Blahut-Arimoto."""
SMALLEST, MOST = 1e-10, 1e3
DYING = 0.1
"""Share of the slope that is added to the curvature of a cluster that loses weight, so that it fades in some steps."""
PRODUCTS = 40
"""Most products with the Hessian of one step."""
SOLVED = 1e-4
"""Fall of the squared residual at which a step is solved, far from the solution; close to it the square of that."""
BOUNDARY = 0.999
"""Of the way to the first weight of zero."""
NOISE = 4e-15
"""Rise of the free energy that is taken for rounding, relative."""


def newton(
    p_x: Float[Any, " n"],
    p_y_given_x: Float[Any, "n labels"],
    beta: Any,
    log_weights: Float[Any, " T"],
    log_decoder: Float[Any, "T labels"],
    *,
    steps: int,
    tolerance: Any,
) -> tuple[Float[Array, " T"], Float[Array, "T labels"], Int[Array, ""]]:
    """Damped Newton steps on (ln p(t), ln p(y|t)) that never raise the free energy, for the end of a solve.

    With r = p(t|x), g = beta (p(y|x) - p(y|t)), the Hessian of sum_t p(t) - sum_x p(x) ln Z(x) is F' diag(p) F + B: F
    has the rows (r, r g) of the inputs, and B, close to a solution, one block a cluster, beta p(t) (diag p(y|t) - beta
    Cov(p(y|x) | t)), positive if the cluster does not split. A product with it is two matrix products and no
    exponential, less than a step of Blahut-Arimoto; conjugate gradients, preconditioned by those steps, need some tens
    of them, for only the few directions that slow Blahut-Arimoto down have small eigenvalues.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels.
        beta: trade-off.
        log_weights: ln p(t); -inf for a cluster that is not there.
        log_decoder: ln p(y|t).
        steps: at most so many.
        tolerance: stop once no weights are better by more with the clusters where they are, nats.

    Returns:
        ln p(t) and ln p(y|t), after a last step of `blahut_arimoto`, and how many steps were made.
    """
    there = jnp.isfinite(log_weights)

    def body(carry):
        log_w, log_s, energy, damping, residual, step = carry
        w, s = jnp.exp(log_w), jnp.exp(log_s)
        r = jax.nn.softmax(log_w + log_likelihood(beta, p_y_given_x, log_s), axis=1)
        share = p_x[:, None] * r
        m = share.sum(axis=0)
        root = jnp.sqrt(s)  # positions are in the coordinates p(y|t)^1/2 d ln p(y|t)
        diagonal = damping * m + DYING * jnp.maximum(w - m, 0.0), (1 + damping) * beta * m[:, None]

        def pulled(c):
            """Sum over x of c(x,t) g(x,t,y)."""
            return beta * (jnp.matmul(c.T, p_y_given_x, precision=HIGHEST) - c.sum(axis=0)[:, None] * s) / root

        def product(v):
            scaled = v[1] / root
            g = beta * (jnp.matmul(p_y_given_x, scaled.T, precision=HIGHEST) - (s * scaled).sum(axis=1))
            u = (r * (v[0] + g)).sum(axis=1, keepdims=True)
            return (share * u).sum(axis=0) + diagonal[0] * v[0], pulled(share * (u - g)) + diagonal[1] * v[1]

        right = jnp.where(there, m - w, 0.0), pulled(share)
        change, move = _solved(product, (m + diagonal[0] + 1e-300, diagonal[1] + 1e-300), right)
        move = move / root

        # In ln w what fades fades fast; in w, up to the first that would vanish, mass moves far.
        length = jnp.minimum(1.0, BOUNDARY / jnp.maximum(-change.min(), 1e-30))
        trials = jnp.stack([log_w + jnp.clip(change, -10.0, 2.0), log_w + jnp.log1p(jnp.maximum(length * change, -1))])
        trials = jnp.where(there, jnp.maximum(jnp.nan_to_num(trials, nan=0.0, neginf=LIGHTEST), LIGHTEST), -jnp.inf)
        trials = jax.nn.log_softmax(trials, axis=1)
        moved = jnp.maximum(log_s + jnp.clip(jnp.stack([move, length * move]), -2.0, 2.0), LOG_FLOOR)
        moved = jnp.maximum(jax.nn.log_softmax(moved, axis=2), LOG_FLOOR)
        new_w, new_s, energies = jax.vmap(lambda a, b: fixed_point_map(p_x, p_y_given_x, beta, a, b))(trials, moved)
        best = jnp.argmin(jnp.where(jnp.isnan(energies), jnp.inf, energies))
        good = energies[best] <= energy + NOISE * (1 + jnp.abs(energy))  # False for NaN
        new_w = jnp.where(there, jnp.maximum(new_w[best], LIGHTEST), -jnp.inf)
        rest = jnp.where(there, new_w - trials[best], -jnp.inf).max()
        smaller, larger = jnp.maximum(damping * 0.1, SMALLEST), jnp.minimum(jnp.maximum(damping, 1e-5) * 10, MOST)
        return (
            jnp.where(good, new_w, log_w),
            jnp.where(good, new_s[best], log_s),
            jnp.where(good, energies[best], energy),
            jnp.where(good, smaller, larger),
            jnp.where(good, rest, residual),
            step + 1,
        )

    def unfinished(carry):
        *_, residual, step = carry
        return (step < steps) & (residual > tolerance / 4)

    inf = jnp.full((), jnp.inf, log_decoder.dtype)
    start = log_weights, log_decoder, inf, jnp.asarray(DAMPING, log_decoder.dtype), inf, jnp.zeros((), jnp.int32)
    log_w, log_s, _, _, _, made = jax.lax.while_loop(unfinished, body, start)
    log_w, log_s, _ = fixed_point_map(p_x, p_y_given_x, beta, log_w, log_s)
    return jnp.where(there, jnp.maximum(log_w, LIGHTEST), -jnp.inf), log_s, made


def _solved(product, scale, right):
    """Conjugate gradients, preconditioned by a scale, from 0; ends where the matrix curves downwards."""

    def dot(a, b):
        return sum((x * y).sum() for x, y in zip(a, b, strict=True))

    def unfinished(carry):
        *_, size, k = carry
        return (k < PRODUCTS) & (size > SOLVED * first * jnp.minimum(1.0, first))

    def body(carry):
        x, residual, direction, size, k = carry
        image = product(direction)
        curvature = dot(direction, image)
        up = curvature > 0
        step = jnp.where(up, size / jnp.where(up, curvature, 1.0), 0.0)
        x, residual = (
            jax.tree.map(lambda a, b, sign=sign: a + sign * step * b, old, new)
            for old, new, sign in ((x, direction, 1), (residual, image, -1))
        )
        scaled = jax.tree.map(jnp.divide, residual, scale)
        new = dot(residual, scaled)
        direction = jax.tree.map(lambda a, b: a + new / size * b, scaled, direction)
        return x, residual, direction, jnp.where(up, new, 0.0), k + 1

    start = jax.tree.map(jnp.divide, right, scale)
    first = dot(right, start)
    x, *_ = jax.lax.while_loop(unfinished, body, (jax.tree.map(jnp.zeros_like, right), right, start, first, 0))
    return x
