"""The search for a cluster that is missed, for few labels: ascents of c that end with steps of Newton's method."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, floored_log, log_likelihood
from ibjax.bottleneck.curvature import blocks, factors, product, spread_about

ASCENTS, SINGLE, DOUBLE = 6, 4, 2
"""From every place: ascents and steps of Newton's method in single precision, then these steps in double."""
SPLITS = (0.3, -0.3, 0.03, -0.03)
"""Distances from the least stable cluster, as shares of the way to a zero."""
LIMIT = 3.0
"""Largest change of a logarithm in a step."""
LARGEST = 80.0
"""Of the exponents: far from a solution c overflows."""
INSIDE = 1e-3
"""Share of p(y) in every start: an ascent does not leave a face of the simplex."""
SMALLEST = 1e-30
"""Stands for a probability of 0 in a denominator."""


class Peaks(NamedTuple):
    """Where the ascents ended.

    Attributes:
        values: ln c, shape (places,).
        points: ln s, shape (places, |Y|).
    """

    values: Float[Array, " places"]
    points: Float[Array, "places labels"]


def peaks(
    p_x: Float[Any, " n"],
    p_y_given_x: Float[Any, "n labels"],
    beta: Any,
    log_weights: Float[Any, " T"],
    log_decoder: Float[Any, "T labels"],
    log_z: Float[Any, " n"],
) -> Peaks:
    """Climb c(s), see `ibjax.bottleneck.certificate.optimality_gap`, from every p(y|x).

    Some ascents ``s <- sum_x a(x) p(y|x) / sum_x a(x)``, a(x) the terms of c, are followed by steps of Newton's method
    on ln c, and by an ascent after a step that has not climbed. So it is from places beside the least stable cluster:
    at a solution a cluster is a peak of c, but if it wants to split it is a saddle. Single precision says where the
    peaks are, up to its rounding, and c is flat there; how high they are is computed in double precision.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels.
        beta: trade-off.
        log_weights: ln p(t) of a solution; -inf for a cluster that is not there.
        log_decoder: ln p(y|t).
        log_z: ln Z(x).
    """
    p, log_ratio = p_y_given_x, jnp.log(p_x) - log_z
    p_s, beta_s, ratio_s = (jnp.asarray(a, jnp.float32) for a in (p, beta, log_ratio))
    clusters = (jnp.asarray(a, jnp.float32) for a in (log_weights, log_decoder, log_z))
    p_y = (jnp.asarray(p_x, jnp.float32)[:, None] * p_s).sum(axis=0)
    log_s = floored_log(((1 - INSIDE) * p_s + INSIDE * p_y).T)
    for _ in range(ASCENTS):
        log_s = _ascended(p_s, *_terms(p_s, beta_s, ratio_s, log_s))
    beside = _beside(jnp.asarray(p_x, jnp.float32), p_s, beta_s, *clusters)
    places, _ = _climbed(p_s, beta_s, ratio_s, jnp.concatenate([log_s, beside], axis=1), SINGLE)
    places = jax.nn.log_softmax(places.astype(log_ratio.dtype), axis=0)
    points, values = _climbed(p, beta, log_ratio, places, DOUBLE)
    return Peaks(values, points.T)


def _terms(p, beta, log_ratio, log_s):
    """The terms of c at places s, shape (|Y|, places) as throughout, and c."""
    term = jnp.exp(jnp.minimum(log_ratio[:, None] + log_likelihood(beta, p, log_s.T), LARGEST))
    return term, term.sum(axis=0)


def _ascended(p, term, c):
    return floored_log(jnp.matmul(p.T, term, precision=jax.lax.Precision.HIGHEST) / c)


def _climbed(p, beta, log_ratio, log_s, steps):
    """The best of the places where c was computed, one a step from each start, and ln c there."""
    p_s, beta_s, ones = (jnp.asarray(a, jnp.float32) for a in (p, beta, jnp.ones(log_s.shape[1])))

    def step(_, carry):
        *old, climbs = carry
        _, value, ascent, newton = old
        here = jnp.where(climbs, newton, ascent)
        term, c = _terms(p, beta, log_ratio, here)
        climbs = jnp.log(c) >= value  # False for NaN
        ascent = _ascended(p, term, c)
        # The direction needs no more than single precision.
        s, mean = jnp.exp(here), jnp.exp(ascent)
        slope, share, s, mean = (a.astype(jnp.float32) for a in (beta * (mean - s), term / c, s, mean))
        root = jnp.sqrt(jnp.maximum(s, SMALLEST))
        unit = root[:, None] * root
        factor, _ = factors(beta_s * ones, beta_s**2 * spread_about(share, p_s, mean) / unit, ones, unit)
        move = product(jnp.swapaxes(factor, 0, 1), product(factor, slope / root))
        move = jnp.clip(move / root - (move * root).sum(axis=0), -LIMIT, LIMIT)
        newton = jnp.maximum(jax.nn.log_softmax(here + move, axis=0), LOG_FLOOR)
        new = here, jnp.log(c), ascent, newton
        return *(jnp.where(climbs, a, b) for a, b in zip(new, old, strict=True)), climbs

    start = log_s, jnp.full(log_s.shape[1], -jnp.inf, log_s.dtype), log_s, log_s, jnp.ones(log_s.shape[1], bool)
    log_s, value, *_ = jax.lax.fori_loop(0, steps, step, start)
    return log_s, value


def _beside(p_x, p_y_given_x, beta, log_weights, log_decoder, log_z):
    """Places on both sides of the least stable cluster, where c curves upwards: next to it no ascent ends.

    A cluster that is stable is left, to its peak, by no ascent.
    """
    share = jnp.exp(log_weights + (jnp.log(p_x) - log_z)[:, None] + log_likelihood(beta, p_y_given_x, log_decoder))
    mass, s = share.sum(axis=0), jnp.maximum(jnp.exp(log_decoder).T, SMALLEST)
    found = blocks(beta, s, mass, spread_about(share, p_y_given_x, s), 0.0, mass)
    least = jnp.argmax(jnp.where(found.stable | (mass <= 0), -jnp.inf, found.instability))
    s = s[:, least]
    direction = found.direction[:, least] * jnp.sqrt(s)
    reach = direction / jnp.maximum(abs(direction / s).max(), SMALLEST)
    return floored_log(jnp.maximum(s[:, None] + jnp.array(SPLITS, s.dtype) * reach[:, None], 0.0))
