"""How ln c and the free energy curve about every cluster: one block of |Y| x |Y| a cluster, inverted."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

HIGHEST = jax.lax.Precision.HIGHEST
POWERS = 4
"""Squarings of a block: the trace of its 16th power bounds the largest eigenvalue within 9 % for four labels."""
MARGIN = 0.01
"""Smallest curvature that is left to a block which curves the wrong way, relative to a step of Blahut-Arimoto."""
SMALLEST = 1e-9
"""Pivot below which rounding has the word; some roundings, in single precision."""


class Blocks(NamedTuple):
    """Blocks of all clusters; the coordinates of a move are p(y|t)^1/2 d ln p(y|t).

    Attributes:
        root: C with C B C' = 1, shape (|Y|, |Y|, T), B the block, made positive.
        stable: whether it was; shape (T,). If not, and without damping, the cluster wants to split.
        instability: a bound on the largest eigenvalue of beta Cov(p(y|x) | t) / sqrt(p(y|t) p(y'|t)), nearly reached;
            shape (T,).
        direction: the eigenvector, nearly, not scaled; shape (|Y|, T).
    """

    root: Float[Array, "labels labels T"]
    stable: Bool[Array, " T"]
    instability: Float[Array, " T"]
    direction: Float[Array, "labels T"]


def spread_about(share, p_y_given_x, place):
    """Sum over x of share(x,t) (p(y|x) - s(y,t)) (p(y'|x) - s(y',t)), about s of shape (|Y|, T): (|Y|, |Y|, T)."""
    labels = p_y_given_x.shape[1]
    pairs = (p_y_given_x[:, :, None] * p_y_given_x[:, None]).reshape(-1, labels**2)
    second, first = (jnp.matmul(a.T, share, precision=HIGHEST) for a in (pairs, p_y_given_x))
    second = second.reshape(labels, labels, -1)
    return second - first[:, None] * place - place[:, None] * first + share.sum(axis=0) * place[:, None] * place


def blocks(beta, decoder, mass, spread, damping, along) -> Blocks:
    """Roots of mass [beta (1 + damping) 1 - beta^2 spread] with another curvature along the root of p(y|t).

    The clusters are the last axis throughout, along which the processor works.

    Args:
        beta: trade-off.
        decoder: p(y|t), shape (|Y|, T).
        mass: p(t), shape (T,).
        spread: of p(x,t) about p(y|t), see `spread_about`.
        damping: added to the curvature of a step of Blahut-Arimoto, relative.
        along: curvature along p(y|t)^1/2, where ln p(t) is counted; shape (T,).
    """
    root, tiny = jnp.sqrt(decoder), 1e3 * jnp.finfo(decoder.dtype).tiny
    unit = root[:, None] * root  # the product of two small p(y|t) would be 0
    scaled = beta * spread / unit
    power, logarithm = scaled / (mass + tiny), 0.0
    for k in range(POWERS):
        size = abs(jnp.trace(power)) + tiny  # of one input alone rounding is left, of any sign
        power, logarithm = power / size, logarithm + jnp.log(size) / 2**k
        power = product(power, power)
    instability = jnp.exp(logarithm + jnp.log(abs(jnp.trace(power)) + tiny) / 2**POWERS)
    largest = jnp.argmax(jnp.einsum("aat->at", power), axis=0)
    direction = jnp.take_along_axis(power, largest[None, None], axis=1)[:, 0]
    # A block that curves the wrong way takes shorter steps, no longer than those of Blahut-Arimoto.
    scale = beta * mass * (1 + damping) + tiny
    _, stable = factors(scale, beta * scaled, along, unit)
    excess = jnp.where(stable, 0.0, jnp.maximum(instability - 1 - damping, 0.0) + MARGIN)
    root, _ = factors(scale + beta * mass * excess, beta * scaled, along, unit)
    return Blocks(root, stable, instability, direction)


def product(a, b):
    """The matrix products of a, shape (i, |Y|, T), with b, shape (|Y|, j, T), or with vectors, shape (|Y|, T).

    Written out, for the processor is slow at sums over an axis that is not the last.
    """
    rows = a if b.ndim == 2 else a[:, :, None]
    return sum((rows[:, k] * b[k] for k in range(1, len(b))), start=rows[:, 0] * b[0])


def factors(scale, spread, along, unit):
    """C with C B C' = 1 by elimination, B = scale (1 - unit) - spread + along unit, and whether B is positive.

    A pivot that is not positive is taken for the scale.
    """
    labels, smallest = len(unit), max(SMALLEST, 8 * float(jnp.finfo(unit.dtype).eps))
    one = jnp.eye(labels, dtype=unit.dtype)[:, :, None]
    block = scale * one - spread + (along - scale) * unit
    root = jnp.broadcast_to(one, block.shape)
    row, pivots = jnp.arange(labels)[:, None], []
    for k in range(labels):
        pivots.append(block[k, k])
        pivot = jnp.where(pivots[k] > smallest * scale, pivots[k], scale)
        factor = jnp.where(row > k, block[:, k] / pivot, 0.0)
        block, root = block - factor[:, None] * block[k], root - factor[:, None] * root[k]
    pivot = jnp.stack(pivots)
    good = pivot > smallest * scale
    return root / jnp.sqrt(jnp.where(good, pivot, scale))[:, None], good.all(axis=0)
