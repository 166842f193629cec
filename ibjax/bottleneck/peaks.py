"""The search for a cluster that is missed, for few labels: ascents of c that end with steps of Newton's method."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, log_likelihood
from ibjax.bottleneck.curvature import blocks, spread_about

ASCENTS = 6
"""From every input."""
STARTS, STEPS = 40, 6
"""Of them, how many go on by Newton's method, and how many steps."""
SPLITS = (0.3, -0.3, 0.03, -0.03)
"""Distances from the least stable cluster, as shares of the way to a zero."""
LIMIT = 3.0
"""Largest change of a logarithm in a step."""
EPS, ROUNDING, SURE = 2e-16, 1e-12, 1e6


class Peaks(NamedTuple):
    """What the search found.

    Attributes:
        value: the largest ln c of all that were seen.
        points: ln s of the places where ascents ended, shape (places, |Y|).
    """

    value: Float[Array, ""]
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

    After some ascents ``s <- sum_x a(x) p(y|x) / sum_x a(x)``, a(x) the terms of c, those that by their pace will end
    highest go on by Newton's method on ln c, each step no worse than an ascent. So do places beside the least stable
    cluster: at a solution a cluster is a peak of c, but if it wants to split it is a saddle.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels.
        beta: trade-off.
        log_weights: ln p(t) of a solution; -inf for a cluster that is not there.
        log_decoder: ln p(y|t).
        log_z: ln Z(x).
    """
    log_ratio = jnp.log(p_x) - log_z
    floor = jnp.exp(LOG_FLOOR)

    def terms(log_s):
        return jnp.exp(log_ratio[:, None] + log_likelihood(beta, p_y_given_x, log_s))

    def climbed(share):
        return jnp.log(jnp.maximum(share.T @ p_y_given_x, floor))

    log_s, values = jnp.log(jnp.maximum(p_y_given_x, floor)), []
    for _ in range(ASCENTS):
        term = terms(log_s)
        c = term.sum(axis=0)
        log_s = climbed(term / c)
        values.append(jnp.log(c))
    before, gain = values[-2] - values[-3], values[-1] - values[-2]
    pace = jnp.clip(gain / jnp.where(before > 0, before, 1.0), 0.0, 0.98)
    # What is above 1 already goes first; what has arrived where a cluster is keeps no place.
    hope = jnp.where(values[-1] > ROUNDING, SURE + values[-1], values[-1] + gain / (1 - pace))
    hope = jnp.where((gain > EPS) | (hope > SURE), hope, -jnp.inf)
    _, best = jax.lax.top_k(hope, min(STARTS, len(hope)))
    places = jnp.concatenate([log_s[best], _beside(p_x, p_y_given_x, beta, log_weights, log_decoder, log_z)])
    ones = jnp.ones(len(places))

    def step(_, carry):
        log_s, _ = carry
        term = terms(log_s)
        share = term / term.sum(axis=0)
        s = jnp.exp(log_s).T
        mean = p_y_given_x.T @ share
        root = blocks(beta, s, ones, spread_about(share, p_y_given_x, mean), 0.0, ones).root
        slope = beta * (mean - s) / jnp.sqrt(s)
        move = (root * (root * slope).sum(axis=1)[:, None]).sum(axis=0)
        move = move / jnp.sqrt(s) - (move * jnp.sqrt(s)).sum(axis=0)
        far = jax.nn.log_softmax(log_s + jnp.clip(move.T, -LIMIT, LIMIT), axis=1)
        both = jnp.concatenate([jnp.maximum(far, LOG_FLOOR), jnp.log(jnp.maximum(mean.T, floor))])
        value = jnp.log(terms(both).sum(axis=0)).reshape(2, -1)
        good = value[0] >= value[1]
        return jnp.where(good[:, None], *jnp.split(both, 2)), jnp.where(good, *value)

    points, value = jax.lax.fori_loop(0, STEPS, step, (places, jnp.full(len(places), -jnp.inf)))
    return Peaks(jnp.maximum(value.max(), values[-1].max()), points)


def _beside(p_x, p_y_given_x, beta, log_weights, log_decoder, log_z):
    """Places on both sides of the least stable cluster, where c curves upwards: next to it no ascent ends.

    A cluster that is stable is left, to its peak, by no ascent.
    """
    share = jnp.exp(log_weights + (jnp.log(p_x) - log_z)[:, None] + log_likelihood(beta, p_y_given_x, log_decoder))
    mass, s = share.sum(axis=0), jnp.exp(log_decoder).T
    found = blocks(beta, s, mass, spread_about(share, p_y_given_x, s), 0.0, mass)
    least = jnp.argmax(jnp.where(found.stable | (mass <= 0), -jnp.inf, found.instability))
    s = s[:, least]
    direction = found.direction[:, least] * jnp.sqrt(s)
    reach = direction / jnp.maximum(abs(direction / s).max(), 1e-300)
    sides = s + jnp.array(SPLITS)[:, None] * reach
    return jnp.log(jnp.maximum(sides, jnp.exp(LOG_FLOOR)))
