"""Blahut-Arimoto for many labels: each two steps extrapolated, and kept only if that does not raise the free energy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, fixed_point_map

LIGHTEST = -80.0
"""Smallest ln p(t) of a cluster that is still there: it carries nothing, and grows again where it is missed."""
FIRST_CAP = 4.0
"""Largest first step length; it is four times as large after every step that reached it and was kept."""
NOISE = 4e-15
"""Rise of the free energy that is taken for rounding, relative, in double precision."""


class Squarem(NamedTuple):
    """What the iteration ends with, in the precision of the table.

    Attributes:
        log_weights: ln p(t), -inf where there was no cluster to start with; shape (T,).
        log_decoder: ln p(y|t), shape (T, |Y|).
        free_energy: -sum_x p(x) ln Z(x) of the state before the last step, nats.
        residual: ln max_t c(p(y|t)) of that state, nats: with these decoders no weights are better by more; or, if it
            is more, what a step of the last cycle lowered the free energy by.
        iterations: evaluations of the fixed-point map.
        status: whether the residual is within the tolerance.
    """

    log_weights: Float[Array, " T"]
    log_decoder: Float[Array, "T labels"]
    free_energy: Float[Array, ""]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]
    status: Bool[Array, ""]


@jax.jit
def squarem(
    p_x: Float[Any, " n"],
    p_y_given_x: Float[Any, "n labels"],
    beta: Any,
    log_weights: Float[Any, " T"],
    log_decoder: Float[Any, "T labels"],
    *,
    steps: Any,
    tolerance: Any,
) -> Squarem:
    """Solve the self-consistent equations with the clusters given, by squared extrapolation.

    A cycle maps x0 -> x1 -> x2 and, with r = x1 - x0, v = x2 - 2 x1 + x0 and a = max(1, |r| / |v|), maps
    x0 + 2 a r + a^2 v. The result is kept if the free energy there is not above that of x1, else x2 is; so the free
    energy never rises from cycle to cycle. The state x is (ln p(t), ln p(y|t)), in which what fades fades linearly,
    and the norm is Fisher's, |r|^2 = sum_t p(t) [r_t^2 + sum_y p(y|t) r_ty^2], so that clusters without weight do not
    set the step. With a = 1 a cycle is three steps of `blahut_arimoto`.

    It converges to the best position of these clusters, perhaps a local one, and adds none: see `solve`. It is pure
    and goes through ``jit`` and ``vmap``; single precision resolves residuals to about 1e-6 nat.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels; rows sum to one.
        beta: trade-off, at least 0; multiplies I(T;Y) in nats.
        log_weights: ln p(t) to start from; -inf for a cluster that is not there.
        log_decoder: ln p(y|t) to start from, finite.
        steps: at most so many evaluations of the map, rounded up to a multiple of three.
        tolerance: stop once the residual is at most this, nats.

    Returns:
        The state reached and how.

    Example:
        >>> p = jnp.array([[0.9, 0.1], [0.1, 0.9]])
        >>> start = jnp.log(jnp.full(2, 0.5)), jnp.log(p)
        >>> found = squarem(jnp.full(2, 0.5), p, 1.57, *start, steps=300, tolerance=1e-6)
        >>> bool(found.status), f"{found.free_energy:.4f}"
        (True, '0.5778')

    References:
        Varadhan & Roland (2008), "Simple and globally convergent methods for accelerating the convergence of any EM
        algorithm", scheme S3.
    """
    dtype = jnp.result_type(p_y_given_x)
    there = jnp.isfinite(jnp.asarray(log_weights))
    noise = NOISE * float(jnp.finfo(dtype).eps) / float(jnp.finfo(jnp.float64).eps)

    def step(w, s):
        new_w, new_s, energy = fixed_point_map(p_x, p_y_given_x, beta, w, s)
        new_w = jnp.where(there, jnp.maximum(new_w, LIGHTEST), -jnp.inf)
        return new_w, new_s, energy, jnp.where(there, new_w - w, -jnp.inf).max()

    def difference(a, b):
        return jnp.where(there, a - b, 0.0)

    def cycle(carry):
        w0, s0, cap, _, _, iterations = carry
        w1, s1, first_energy, _ = step(w0, s0)
        w2, s2, near_energy, residual = step(w1, s1)
        rw, rs = difference(w1, w0), s1 - s0
        vw, vs = difference(w2, w1) - rw, s2 - s1 - rs
        weight, label = jnp.exp(w2), jnp.exp(s2)
        size = (weight * (rw**2 + (label * rs**2).sum(axis=1))).sum()
        change = (weight * (vw**2 + (label * vs**2).sum(axis=1))).sum()
        a = jnp.clip(jnp.sqrt(size / jnp.maximum(change, jnp.finfo(dtype).tiny)), 1.0, cap)
        w = jnp.clip(jnp.where(there, w0, 0.0) + 2 * a * rw + a**2 * vw, LIGHTEST, 0.0)
        s = jnp.clip(s0 + 2 * a * rs + a**2 * vs, LOG_FLOOR, 0.0)
        w = jax.nn.log_softmax(jnp.where(there, w, -jnp.inf))
        s = jnp.maximum(jax.nn.log_softmax(s, axis=1), LOG_FLOOR)
        w3, s3, far_energy, far_residual = step(w, s)
        good = far_energy <= near_energy + noise * (1 + jnp.abs(near_energy))  # False for NaN
        w, s, energy, residual = jax.tree.map(
            lambda far, near: jnp.where(good, far, near),
            (w3, s3, far_energy, far_residual),
            (w2, s2, near_energy, residual),
        )
        residual = jnp.maximum(residual, first_energy - near_energy)
        limited = a >= cap
        cap = jnp.where(limited & good, 4 * cap, jnp.where(limited & ~good, cap / 4, cap))
        return w, s, jnp.where(cap > 1, cap, FIRST_CAP).astype(dtype), energy, residual, iterations + 3

    def unfinished(carry):
        _, _, _, _, residual, iterations = carry
        return (iterations < steps) & ~(residual <= tolerance)

    inf = jnp.full((), jnp.inf, dtype)
    start = jnp.asarray(log_weights, dtype), jnp.asarray(log_decoder, dtype)
    w, s, _, energy, residual, iterations = jax.lax.while_loop(
        unfinished, cycle, (*start, jnp.asarray(FIRST_CAP, dtype), inf, inf, jnp.zeros((), jnp.int32))
    )
    return Squarem(w, s, energy, residual, iterations, residual <= tolerance)
