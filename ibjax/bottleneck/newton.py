"""Newton's method for clusters of many labels: blocks of the clusters, and one matrix as large as the inputs."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, fixed_point_map, log_likelihood
from ibjax.bottleneck.squarem import LIGHTEST

HIGHEST = jax.lax.Precision.HIGHEST
DAMPING = 1e-3
"""Of the first step, relative to the steps of Blahut-Arimoto."""
SMALLEST, MOST = 1e-10, 1e3
DYING = 0.1
"""Share of the slope that is added to the curvature of a cluster that loses weight, so that it fades in some steps."""
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
) -> tuple[Float[Array, " T"], Float[Array, "T labels"]]:
    """Damped Newton steps on (ln p(t), ln p(y|t)) that never raise the free energy, for the end of a solve.

    With r = p(t|x), g = beta (p(y|x) - p(y|t)), the Hessian of sum_t p(t) - sum_x p(x) ln Z(x) is F' diag(p) F + B: F
    has the rows (r, r g) of the inputs, and B, close to a solution, one block a cluster, beta p(t) (diag p(y|t) - beta
    Cov(p(y|x) | t)), positive if the cluster does not split. The clusters' positions are eliminated through
    K = diag(1 / p) + F_z B^-1 F_z', as large as the inputs, and the weights solve r' K^-1 r. So a step costs about as
    much as n / 2 of Blahut-Arimoto, whatever the number of unknowns, and it does not slow down next to a transition.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels.
        beta: trade-off.
        log_weights: ln p(t); -inf for a cluster that is not there.
        log_decoder: ln p(y|t).
        steps: how many.

    Returns:
        ln p(t) and ln p(y|t), after a last step of `blahut_arimoto`.
    """
    there = jnp.isfinite(log_weights)

    def body(_, carry):
        log_w, log_s, energy, damping = carry
        w, s = jnp.exp(log_w), jnp.exp(log_s)
        joint = log_w + log_likelihood(beta, p_y_given_x, log_s)
        r = jax.nn.softmax(joint, axis=1)
        share = p_x[:, None] * r
        m = share.sum(axis=0)
        alive = m > 0
        root = jnp.sqrt(s)
        slopes = r[:, :, None] * (beta * (p_y_given_x[:, None] - s) / root)  # in the coordinates p(y|t)^1/2 d ln p(y|t)
        spread = jnp.einsum("nt,nty,ntz->tyz", p_x[:, None] / jnp.maximum(r, 1e-300), slopes, slopes, precision=HIGHEST)
        eye = jnp.eye(s.shape[1])
        size = jnp.where(alive, beta * m, 1.0)[:, None, None]
        block = (1 + damping) * size * eye - jnp.where(alive[:, None, None], spread, 0.0)
        factor = jnp.linalg.cholesky(block)
        gradient = -jnp.einsum("n,nty->ty", p_x, slopes, precision=HIGHEST)

        flat = slopes.reshape(len(p_x), -1)
        half = jax.scipy.linalg.solve_triangular(factor, jnp.moveaxis(slopes, 0, 2), lower=True)  # B^-1/2 F'
        half = half.reshape(-1, len(p_x))
        k = jnp.diag(1 / jnp.maximum(p_x, 1e-200)) + jnp.matmul(half.T, half, precision=HIGHEST)
        k_factor = jnp.linalg.cholesky(k), True

        def solve_blocks(v):
            return jax.scipy.linalg.cho_solve((factor, True), v[:, :, None])[:, :, 0]

        bent = jnp.matmul(flat, solve_blocks(gradient).reshape(-1), precision=HIGHEST)
        solved = jax.scipy.linalg.cho_solve(k_factor, jnp.concatenate([r, bent[:, None]], axis=1))
        matrix = jnp.matmul(r.T, solved[:, :-1], precision=HIGHEST)
        curvature = DYING * jnp.maximum(w - m, 0.0) + damping * m + 1e-14
        matrix = matrix + jnp.diag(jnp.where(alive, curvature, 1.0))
        right = m - w + jnp.matmul(r.T, solved[:, -1], precision=HIGHEST)
        change = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix), True), jnp.where(alive, right, 0.0))
        pull = jnp.matmul(flat.T, p_x * jnp.matmul(r, change, precision=HIGHEST), precision=HIGHEST)
        v = gradient + pull.reshape(gradient.shape)
        bent = jnp.matmul(flat, solve_blocks(v).reshape(-1), precision=HIGHEST)
        back = jnp.matmul(flat.T, jax.scipy.linalg.cho_solve(k_factor, bent), precision=HIGHEST).reshape(v.shape)
        move = -solve_blocks(v - back) / root

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
        smaller, larger = jnp.maximum(damping * 0.1, SMALLEST), jnp.minimum(jnp.maximum(damping, 1e-5) * 10, MOST)
        return (
            jnp.where(good, new_w, log_w),
            jnp.where(good, new_s[best], log_s),
            jnp.where(good, energies[best], energy),
            jnp.where(good, smaller, larger),
        )

    energy = jnp.full((), jnp.inf, log_decoder.dtype)
    start = log_weights, log_decoder, energy, jnp.asarray(DAMPING, log_decoder.dtype)
    log_w, log_s, _, _ = jax.lax.fori_loop(0, steps, body, start)
    log_w, log_s, _ = fixed_point_map(p_x, p_y_given_x, beta, log_w, log_s)
    return jnp.where(there, jnp.maximum(log_w, LIGHTEST), -jnp.inf), log_s
