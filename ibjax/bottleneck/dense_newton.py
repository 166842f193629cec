"""Newton's method for clusters of few labels and inputs: the Hessian is built, and each step solved with Cholesky."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, evaluated, fixed_point_map
from ibjax.bottleneck.curvature import blocks, product, spread_about
from ibjax.bottleneck.newton import DAMPING, DYING, MOST, NOISE, SMALLEST
from ibjax.bottleneck.squarem import LIGHTEST

WEIGHTS = 1e-6
"""Least damping of the weights: those of clusters that share all their inputs are not determined."""
ZERO = 1e-20
"""Probabilities of a label below it are left to Blahut-Arimoto: next to zero the square root of p(y|t) is no scale."""


def dense_newton(
    p_x: Float[Any, " n"],
    p_y_given_x: Float[Any, "n labels"],
    beta: Any,
    log_weights: Float[Any, " T"],
    log_decoder: Float[Any, "T labels"],
    *,
    steps: int,
    tolerance: Any,
) -> tuple[Float[Array, " T"], Float[Array, "T labels"], Int[Array, ""]]:
    """Damped Newton steps as in `ibjax.bottleneck.newton`, which has the Hessian F' diag(p) F + B.

    With the blocks of B inverted there are as many equations left as inputs, or as numbers of the clusters if these
    are fewer. Every step is followed by one of `blahut_arimoto`, and undone if both raise the free energy.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels.
        beta: trade-off.
        log_weights: ln p(t); -inf for a cluster that is not there.
        log_decoder: ln p(y|t).
        steps: at most so many.
        tolerance: stop once no weights are better by more with the clusters where they are, nats.

    Returns:
        ln p(t) and ln p(y|t), and how many steps were made.
    """
    there = jnp.isfinite(log_weights)

    def state(log_w, log_s):
        encoder, log_z, total = evaluated(p_x, p_y_given_x, beta, log_w, log_s)
        residual = jnp.where(there, jnp.log(total[0]) - log_w, -jnp.inf).max()
        return log_w, log_s, encoder, total, -(p_x * log_z).sum(), residual

    def body(carry):
        old, damping, step = carry
        log_w, log_s, encoder, total, energy, residual = old
        along = jnp.maximum(damping, jnp.minimum(WEIGHTS, 0.1 * residual))
        change, move = _step(p_x, p_y_given_x, beta, jnp.exp(log_w), jnp.exp(log_s).T, encoder, total, damping, along)
        # What fades, fades in ln p(t): in p(t) the first to reach zero would hold up the others.
        change = jnp.clip(jnp.where(change > 0, jnp.log1p(change), change), -10.0, 2.0)
        log_w = jnp.where(there, jnp.maximum(log_w + jnp.nan_to_num(change), LIGHTEST), -jnp.inf)
        log_s = jnp.maximum(log_s + jnp.clip(move.T, -2.0, 2.0), LOG_FLOOR)
        moved = jax.nn.log_softmax(log_w), jnp.maximum(jax.nn.log_softmax(log_s, axis=1), LOG_FLOOR)
        log_w, log_s, _ = fixed_point_map(p_x, p_y_given_x, beta, *moved)
        new = state(jnp.where(there, jnp.maximum(log_w, LIGHTEST), -jnp.inf), log_s)
        good = new[4] <= energy + NOISE * (1 + jnp.abs(energy))  # False for NaN
        smaller, larger = jnp.maximum(damping * 0.1, SMALLEST), jnp.minimum(jnp.maximum(damping, 1e-5) * 10, MOST)
        kept = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)
        return kept, jnp.where(good, smaller, larger), step + 1

    def unfinished(carry):
        (*_, residual), _, step = carry
        return (step < steps) & (residual > tolerance / 4)

    # Weights that sum to more than one would lower the free energy, and no step could be as good.
    first = jax.nn.log_softmax(log_weights), jax.nn.log_softmax(log_decoder, axis=1)
    start = state(first[0], jnp.maximum(first[1], LOG_FLOOR))
    damping = jnp.clip(start[-1], SMALLEST, DAMPING)
    (log_w, log_s, *_), _, made = jax.lax.while_loop(unfinished, body, (start, damping, jnp.zeros((), jnp.int32)))
    return log_w, log_s, made


def _step(p_x, p_y_given_x, beta, w, s, encoder, total, damping, along):
    """Changes of ln p(t), shape (T,), and of ln p(y|t), shape (|Y|, T), as is s.

    A block that curves the wrong way is made positive. With p(t|x) (g + p(y|t)^1/2) for the change of a weight and the
    move of a cluster together the rows of F have as many entries as there are labels and clusters, and so have the
    blocks.
    """
    (labels, clusters), mass = s.shape, total[0]
    s = jnp.maximum(s, ZERO)
    root = jnp.sqrt(s)
    right = (mass - w) * root + beta * (total[1:] - mass * s) / root
    along = along * mass + DYING * jnp.maximum(w - mass, 0.0)
    spread = spread_about(p_x[:, None] * encoder, p_y_given_x, s)
    c = blocks(beta, s, mass, spread, damping, along).root
    # C (g + p(y|t)^1/2) is linear in p(y|x): the rows sum to one.
    linear = beta * c / root + (1 - beta) * product(c, root)[:, None]
    rows = (p_y_given_x @ jnp.moveaxis(linear, 1, 0).reshape(labels, -1)).reshape(-1, labels, clusters)
    rows = (rows * (jnp.sqrt(p_x)[:, None] * encoder)[:, None]).reshape(-1, labels * clusters)
    scaled = product(c, right).reshape(-1)
    if len(scaled) <= len(rows):
        solution = solve_positive(jnp.eye(len(scaled)) + rows.T @ rows, scaled)
    else:
        solution = scaled - rows.T @ solve_positive(jnp.eye(len(rows)) + rows @ rows.T, rows @ scaled)
    step = product(jnp.swapaxes(c, 0, 1), solution.reshape(labels, clusters))
    change = (step * root).sum(axis=0)
    return change, (step - change * root) / root


def solve_positive(matrix: Float[Array, "n n"], right: Float[Array, " n"]) -> Float[Array, " n"]:
    """Solve A x = b, A symmetric and positive definite.

    On the processor the matrices of a batch are taken one by one. LAPACK's programs of JAX share a batch among the
    threads of the program that calls them and wait for them, so that two programs at once can wait for ever; a single
    matrix stays where it is.
    """
    return jax.lax.platform_dependent(matrix, right, cpu=_one_by_one, default=_solved)


def _solved(matrix, right):
    return cho_solve(cho_factor(matrix, lower=True), right)


_one_by_one = jax.custom_batching.sequential_vmap(_solved)
