"""Newton's method for clusters of few labels in small problems: all blocks in closed form, so that lanes run as one."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, fixed_point_map, log_likelihood
from ibjax.bottleneck.newton import BOUNDARY, DAMPING, DYING, HIGHEST, MOST, NOISE, SMALLEST
from ibjax.bottleneck.squarem import LIGHTEST

SOFT = 1e-6
"""Share of its largest curvature below which a cluster is taken for unstable."""
COLUMNS = 33
"""Right-hand sides of one factorisation."""


def inverse(blocks: list[list[Any]]) -> tuple[list[list[Any]], Any]:
    """Inverses of symmetric blocks by Gauss and Jordan, and their least pivots, positive where a block is definite.

    Entries are arrays with one element a block.
    """
    size, least = len(blocks), jnp.inf
    for i in range(size):
        least = jnp.minimum(least, blocks[i][i])
        pivot = 1 / blocks[i][i]
        row = [pivot if j == i else blocks[i][j] * pivot for j in range(size)]
        blocks = [
            row
            if k == i
            else [-blocks[k][i] * row[j] if j == i else blocks[k][j] - blocks[k][i] * row[j] for j in range(size)]
            for k in range(size)
        ]
    return blocks, least


def _halfway(k: Array, right: Array) -> tuple[Array, Array]:
    """The Cholesky factor L of k, and (L^-1 right)', from factorisations of k bordered by some columns at a time.

    A library's solves with many right-hand sides start threads, and wait for them longer than the work takes.
    """
    n, found = len(k), []
    for begin in range(0, right.shape[1], COLUMNS):
        columns = right[:, begin : begin + COLUMNS]
        corner = jnp.matmul(columns.T, columns, precision=HIGHEST) + jnp.eye(columns.shape[1])
        factor = jnp.linalg.cholesky(jnp.block([[k, columns], [columns.T, corner]]), symmetrize_input=False)
        found.append(factor[n:, :n])
    return factor[:n, :n], jnp.concatenate(found)


def few_newton(
    p_x: Float[Any, " n"],
    p_y_given_x: Float[Any, "n labels"],
    beta: Any,
    log_weights: Float[Any, " T"],
    log_decoder: Float[Any, "T labels"],
    *,
    steps: Any,
    tolerance: Any,
) -> tuple[Float[Array, " T"], Float[Array, "T labels"], Int[Array, ""]]:
    """`newton`, until a step leaves nothing to gain, with every block of a cluster inverted in closed form.

    A cluster whose block is not positive definite, because it is about to split or to meet another, takes the step of
    Blahut-Arimoto in its place instead, so that one such does not hold up the others.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels; the code grows with their square.
        beta: trade-off.
        log_weights: ln p(t); -inf for a cluster that is not there.
        log_decoder: ln p(y|t).
        steps: at most so many.
        tolerance: of the fall of the free energy and of what the step of Blahut-Arimoto after Newton's moves ln p(t).

    Returns:
        ln p(t), ln p(y|t), and the steps taken.
    """
    there = jnp.isfinite(log_weights)
    n, labels = len(p_x), range(p_y_given_x.shape[1])

    def unfinished(carry):
        _, _, _, _, step, residual = carry
        return (step < steps) & ~(residual <= tolerance)

    def body(carry):
        log_w, log_s, energy, damping, step, _ = carry
        w, s = jnp.exp(log_w), jnp.exp(log_s)
        r = jax.nn.softmax(log_w + log_likelihood(beta, p_y_given_x, log_s), axis=1)
        share = p_x[:, None] * r
        m = share.sum(axis=0)
        alive = m > 0
        # Coordinates p(y|t)^1/2 d ln p(y|t), turned so that the first, along p(y|t)^1/2, is left out. One array a
        # label: the clusters are what the processor's vectors run along.
        root = jnp.sqrt(s).T
        g = [beta * (p_y_given_x[:, i : i + 1] - s[:, i]) / root[i] for i in labels]
        turned = g[0] / (1 + root[0])
        g = [g[i] - root[i] * turned for i in labels[1:]]
        half = jnp.sqrt(p_x)[:, None]
        scaled = [half * r * slope for slope in g]
        gradient = [-(share * slope).sum(axis=0) for slope in g]
        size = jnp.where(alive, beta * m, 1.0)
        spread = [[jnp.where(alive, (share * a * b).sum(axis=0), 0.0) for a in g] for b in g]
        block = [
            [(1 + damping) * size * (i == j) - entry for j, entry in enumerate(row)] for i, row in enumerate(spread)
        ]
        inverses, least = inverse(block)
        # A cluster that is about to split, or two about to meet: theirs is the step of Blahut-Arimoto.
        plain = ~(least > SOFT * size)
        inverses = [
            [jnp.where(plain, (i == j) / size, entry) for j, entry in enumerate(row)] for i, row in enumerate(inverses)
        ]

        def solve_blocks(v):
            return [sum(a * b for a, b in zip(row, v, strict=True)) for row in inverses]

        bent = jnp.concatenate(solve_blocks(scaled), axis=1)
        scaled = jnp.concatenate(scaled, axis=1)
        k = jnp.eye(n) + jnp.matmul(scaled, bent.T, precision=HIGHEST)
        rows = half * r
        first = jnp.matmul(bent, jnp.concatenate(gradient), precision=HIGHEST)
        right = jnp.concatenate([rows, first[:, None]], axis=1)
        factor, v = _halfway(k, right)
        matrix = jnp.matmul(v, v.T, precision=HIGHEST)
        curvature = DYING * jnp.maximum(w - m, 0.0) + damping * m + 1e-14
        small = jnp.linalg.cholesky(matrix[:-1, :-1] + jnp.diag(jnp.where(alive, curvature, 1.0)))
        pull = jnp.where(alive, m - w + matrix[:-1, -1], 0.0)
        change = jax.scipy.linalg.cho_solve((small, True), pull)
        # K^-1 (F_z B^-1 (gradient + F_z' r change)): F_z B^-1 F_z' is K - 1.
        along = jnp.matmul(rows, change, precision=HIGHEST)
        inner = v[-1] - jnp.matmul(change, v[:-1], precision=HIGHEST)
        back = along + jax.scipy.linalg.solve_triangular(factor, inner, lower=True, trans=1)
        pulled = jnp.matmul(along - back, scaled, precision=HIGHEST).reshape(len(g), -1)
        move = [-a for a in solve_blocks([a + b for a, b in zip(gradient, pulled, strict=True)])]
        inner = sum(root[i + 1] * a for i, a in enumerate(move))
        turned = inner / (1 + root[0])
        move = jnp.stack([-inner / root[0], *(a / root[i + 1] - turned for i, a in enumerate(move))], axis=1)

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
        # How far the last step of Blahut-Arimoto moved what Newton's left.
        weight = jnp.where(there, new_w - trials[best], -jnp.inf).max()
        fall = energy - energies[best]
        residual = jnp.where(good, jnp.maximum(weight, jnp.where(jnp.isfinite(fall), fall, jnp.inf)), jnp.inf)
        return (
            jnp.where(good, new_w, log_w),
            jnp.where(good, new_s[best], log_s),
            jnp.where(good, energies[best], energy),
            jnp.where(good, smaller, larger),
            step + 1,
            residual,
        )

    inf = jnp.full((), jnp.inf, log_decoder.dtype)
    start = log_weights, log_decoder, inf, jnp.asarray(DAMPING, log_decoder.dtype), jnp.zeros((), jnp.int32), inf
    log_w, log_s, _, _, step, _ = jax.lax.while_loop(unfinished, body, start)
    return log_w, log_s, step
