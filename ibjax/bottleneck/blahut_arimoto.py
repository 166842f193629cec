"""The readable core: Blahut-Arimoto for the information bottleneck, on the decoder, in matmul form and log domain."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Bool, Float, Int

LOG_FLOOR = -500.0
"""Logarithm of a decoder's probability of 0: finite, so that 0 times it is 0, and nothing to the exponential."""


class BlahutArimoto(NamedTuple):
    """What the iteration ends with, in the precision of the table.

    Attributes:
        log_weights: ln p(t), shape (T,).
        log_decoder: ln p(y|t), shape (T, |Y|).
        free_energy: -sum_x p(x) ln Z(x) of the state before the last step, nats.
        residual: ln max_t p'(t) / p(t), nats: with these decoders no weights are better by more.
        iterations: evaluations of the fixed-point map.
        status: whether it stopped before ``steps``.
    """

    log_weights: Float[Array, " T"]
    log_decoder: Float[Array, "T labels"]
    free_energy: Float[Array, ""]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]
    status: Bool[Array, ""]


def floored_log(decoder: Any) -> Any:
    """Logarithm of probabilities of labels, no less than `LOG_FLOOR`."""
    return jnp.maximum(jnp.log(decoder), LOG_FLOOR)


def log_likelihood(beta: Any, p_y_given_x: Any, log_decoder: Any) -> Float[Array, "n T"]:
    """``-beta KL(p(y|x) || p(y|t))`` of every input and cluster: one matrix product."""
    entropy = -xlogy(p_y_given_x, p_y_given_x).sum(axis=-1)
    product = jnp.matmul(p_y_given_x, log_decoder.T, precision=jax.lax.Precision.HIGHEST)
    return beta * jnp.minimum(entropy[:, None] + product, 0.0)


def evaluated(p_x: Any, p_y_given_x: Any, beta: Any, log_weights: Any, log_decoder: Any):
    """p(t|x) = p(t) exp(-beta KL) / Z(x) of the state given, and what follows from it.

    Returns:
        p(t|x), shape (n, T); ln Z(x); and the new p(t) and, below it, p(y,t), shape (1 + |Y|, T).
    """
    joint = log_weights + log_likelihood(beta, p_y_given_x, log_decoder)
    # One exponential an entry, and no other passes over the entries than for their sums: it is what a step costs.
    largest = joint.max(axis=1)
    share = jnp.exp(joint - largest[:, None])
    z = share.sum(axis=1)
    scaled = (p_x / z) * jnp.concatenate([jnp.ones_like(p_y_given_x[:, :1]), p_y_given_x], axis=1).T
    total = jnp.matmul(scaled, share, precision=jax.lax.Precision.HIGHEST)
    return share / z[:, None], largest + jnp.log(z), total


def fixed_point_map(p_x: Any, p_y_given_x: Any, beta: Any, log_weights: Any, log_decoder: Any):
    """One step: p(t|x) = p(t) exp(-beta KL) / Z(x), then p(t) and p(y|t) of it. It never raises the free energy.

    Returns:
        ln p(t), ln p(y|t) and the free energy -sum_x p(x) ln Z(x) of the state given.
    """
    _, log_z, total = evaluated(p_x, p_y_given_x, beta, log_weights, log_decoder)
    weights = total[0]
    dead = weights <= 0
    decoder = total[1:].T / jnp.where(dead, 1.0, weights)[:, None]
    log_decoder = jnp.maximum(jnp.where(dead[:, None], log_decoder, jnp.log(decoder)), LOG_FLOOR)
    return jnp.where(dead, -jnp.inf, jnp.log(weights)), log_decoder, -(p_x * log_z).sum()


@jax.jit
def blahut_arimoto(
    p_x: Float[Any, " n"],
    p_y_given_x: Float[Any, "n labels"],
    beta: Any,
    log_weights: Float[Any, " T"],
    log_decoder: Float[Any, "T labels"],
    *,
    steps: Any,
    tolerance: Any = 0.0,
) -> BlahutArimoto:
    """Iterate the self-consistent equations of the information bottleneck from a given start.

    p(t|x) = p(t) exp(-beta KL(p(y|x) || p(y|t))) / Z(x); p(t) = sum_x p(x) p(t|x); p(y|t) = sum_x p(y|x) p(x|t).

    The state is the decoder with its weights: T (1 + |Y|) numbers, whatever the number of inputs. The free energy
    -sum_x p(x) ln Z(x) never rises. It is pure and goes through ``jit`` and ``vmap``: over betas, over restarts, over
    problems of one size.

    Convergence is linear and stops altogether at a transition, where an eigenvalue of the map passes one; and a start
    with too few or badly placed clusters ends in a local optimum. Only the certificate tells: use `solve`, which
    checks it, and whose ``method="auto"`` takes neither.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels; rows sum to one.
        beta: trade-off, at least 0; multiplies I(T;Y) in nats.
        log_weights: ln p(t) to start from; -inf for a cluster that is not there.
        log_decoder: ln p(y|t) to start from, finite (take `LOG_FLOOR` for 0).
        steps: at most so many evaluations of the map.
        tolerance: stop once the free energy falls by less and the weights' own bound ln max_t p'(t) / p(t) is
            below it, nats. 0 runs all steps.

    Returns:
        The state reached and how.

    Example:
        >>> p = jnp.array([[0.9, 0.1], [0.1, 0.9]])
        >>> found = blahut_arimoto(jnp.full(2, 0.5), p, 2.0, jnp.log(jnp.full(2, 0.5)), jnp.log(p), steps=500)
        >>> f"{found.log_decoder[0, 0]:.3f}"
        '-0.155'

    References:
        Tishby, Pereira & Bialek (1999), "The information bottleneck method", theorems 4 and 5.
        Blahut (1972), "Computation of channel capacity and rate-distortion functions".
    """
    step = functools.partial(fixed_point_map, p_x, p_y_given_x, beta)
    dtype = jnp.result_type(p_y_given_x)

    def unfinished(carry):
        _, _, _, _, iteration, done = carry
        return (iteration < steps) & ~done

    def body(carry):
        weights, decoder, before, _, iteration, _ = carry
        new_weights, new_decoder, energy = step(weights, decoder)
        alive = jnp.isfinite(weights)
        residual = jnp.where(alive, new_weights - jnp.where(alive, weights, 0.0), -jnp.inf).max()
        done = (tolerance > 0) & (before - energy < tolerance) & (residual < tolerance)
        return new_weights, new_decoder, energy, residual, iteration + 1, done

    inf = jnp.full((), jnp.inf, dtype)
    start = jnp.asarray(log_weights, dtype), jnp.asarray(log_decoder, dtype)
    weights, decoder, energy, residual, iterations, done = jax.lax.while_loop(
        unfinished, body, (*start, inf, inf, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    )
    return BlahutArimoto(weights, decoder, energy, residual, iterations, done)
