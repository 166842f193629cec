"""Clusters that are one: those that have met, and pairs that are better as one."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.bottleneck.blahut_arimoto import floored_log, log_likelihood

HIGHEST = jax.lax.Precision.HIGHEST
NOISE = 4e-15
"""Rise of the free energy that is taken for rounding; in single precision it must fall by more than rounding."""


def merged(
    p_x: Float[Any, " n"],
    p_y_given_x: Float[Any, "n labels"],
    beta: Any,
    log_weights: Float[Any, " T"],
    log_decoder: Float[Any, "T labels"],
    distance: Any,
) -> tuple[Float[Array, " T"], Float[Array, "T labels"]]:
    """Put one cluster in the place of several; what is free gets the weight 0.

    Clusters near a heavier one join it, whatever that costs: the search gives back what is missed. Of the others each
    two that are nearest to each other are tried as one, and are one if that does not raise the free energy: two that
    will meet do so slowly, but are worse apart on all the way.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels.
        beta: trade-off.
        log_weights: ln p(t); -inf for a cluster that is not there.
        log_decoder: ln p(y|t).
        distance: at which clusters have met, in widths of exp(-beta KL); at 0 none have, and none are tried.

    Returns:
        ln p(t) and ln p(y|t).
    """
    return _pairs_merged(p_x, p_y_given_x, beta, *_joined(beta, log_weights, log_decoder, distance), distance)


def _overlap(log_decoder):
    """Bhattacharyya's coefficient of every two clusters."""
    root = jnp.exp(log_decoder / 2)
    return jnp.matmul(root, root.T, precision=HIGHEST)


def _joined(beta, log_weights, log_decoder, distance):
    there = jnp.isfinite(log_weights)
    near = (8 * beta * (1 - _overlap(log_decoder)) < distance**2) & there | jnp.eye(len(there), dtype=bool)
    leader = jnp.argmax(jnp.where(near, log_weights, -jnp.inf), axis=1)
    leader = leader[leader]
    leader = leader[leader]
    member = (leader == jnp.arange(len(there))[:, None]) & there
    weights, decoder = jnp.exp(log_weights), jnp.exp(log_decoder)
    total = jnp.matmul(member.astype(weights.dtype), weights[:, None] * decoder, precision=HIGHEST)
    mass = total.sum(axis=1)
    several = member.sum(axis=1) > 1
    mean = floored_log(total / jnp.where(mass > 0, mass, 1.0)[:, None])
    new = jnp.where(several, jnp.log(jnp.where(mass > 0, mass, 1.0)), log_weights)
    return jnp.where(member.any(axis=1), new, -jnp.inf), jnp.where(several[:, None], mean, log_decoder)


def _pairs_merged(p_x, p_y_given_x, beta, log_weights, log_decoder, distance):
    there, index = jnp.isfinite(log_weights), jnp.arange(len(log_weights))
    overlap = jnp.where(there[:, None] & there & (index != index[:, None]), _overlap(log_decoder), -1.0)
    other = jnp.argmax(overlap, axis=1)
    pair = (other[other] == index) & (overlap.max(axis=1) > 0)
    first = pair & (index < other)
    parts = jnp.exp(log_weights)[:, None] * jnp.exp(log_decoder)
    both = parts + parts[other]
    mass = both.sum(axis=1)
    log_mass = jnp.log(jnp.where(first, mass, 1.0))
    mean = floored_log(both / jnp.where(first, mass, 1.0)[:, None])
    joint = log_weights[:, None] + log_likelihood(beta, p_y_given_x, log_decoder).T
    largest = joint.max(axis=0)
    share, new = (
        jnp.exp(joint - largest),
        jnp.exp(log_mass[:, None] + log_likelihood(beta, p_y_given_x, mean).T - largest),
    )
    change = (new - share - share[other]) / share.sum(axis=0)
    rise = -(jnp.log1p(jnp.maximum(change, -1 + NOISE)) * p_x).sum(axis=1)
    noise = NOISE if rise.dtype == jnp.float64 else -8 * float(jnp.finfo(rise.dtype).eps)
    one = first & (rise <= noise) & (distance > 0)
    gone = pair & ~first & one[other]
    log_weights = jnp.where(one, log_mass, jnp.where(gone, -jnp.inf, log_weights))
    return log_weights, jnp.where(one[:, None], mean, log_decoder)
