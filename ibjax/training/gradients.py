"""Mean, deviation and signal-to-noise ratio of the gradient over minibatches at frozen weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

PROBE_SIZE = 64
"""Samples of a probe batch, whatever the training batch, so that full batch and minibatch runs compare."""


class GradientStatistics(NamedTuple):
    """Per layer, over B probe batches with weight gradients g_b (biases left out), L2 norms.

    Attributes:
        mean: ||(1/B) sum_b g_b||.
        std: sqrt of the sum over weights of the variance over batches (1/B).
        batch_norm: (1/B) sum_b ||g_b||.
    """

    mean: Float[Array, " layers"]
    std: Float[Array, " layers"]
    batch_norm: Float[Array, " layers"]


def probe_batches(samples: int) -> Int[np.ndarray, "batches size"]:
    """A fixed partition of the training set into batches of 64.

    The order is a fixed shuffle, the same for every run, because data may come sorted. The last ``samples mod
    64`` samples of it are in no batch. Fewer than 128 samples make two batches of half of them.

    Example:
        >>> probe_batches(3277).shape
        (51, 64)
    """
    size = PROBE_SIZE if samples >= 2 * PROBE_SIZE else max(1, samples // 2)
    count = max(samples // size, 1) if size == PROBE_SIZE else min(samples, 2)
    order = np.random.default_rng(0).permutation(samples)
    return order[: count * size].reshape(count, size)


def gradient_statistics(
    gradient: Callable[[Int[Array, " size"]], Any],
    weights: Callable[[Any], tuple[tuple[Array, ...], ...]],
    batches: Int[Array | np.ndarray, "batches size"],
) -> GradientStatistics:
    """Statistics of the weight gradients of every layer over the given batches.

    The signal-to-noise ratio mean / std has a noise floor of 1/sqrt(B): that is what it is for gradients with
    zero expectation.

    Args:
        gradient: indices of a batch -> gradient of its mean loss, a pytree like the parameters.
        weights: such a pytree -> the weight arrays of every layer.
        batches: sample indices, one row a batch.

    Returns:
        The norms, one a layer.

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 4 and equation 7.
    """
    layers = jax.eval_shape(lambda batch: weights(gradient(batch)), jax.ShapeDtypeStruct(batches.shape[1:], int))
    zero = jax.tree.map(lambda w: jnp.zeros(w.shape, w.dtype), layers)

    def accumulate(carry, batch):
        # Welford's update: one pass, memory of two gradients however many batches there are.
        count, mean, spread, norm = carry
        g = weights(gradient(batch))
        count = count + 1
        moved = jax.tree.map(lambda m, g: m + (g - m) / count, mean, g)
        spread = jax.tree.map(lambda s, m, new, g: s + (g - m) * (g - new), spread, mean, moved, g)
        return (count, moved, spread, norm + layer_norms(g)), None

    start = (jnp.zeros(()), zero, zero, jnp.zeros(len(layers)))
    (count, mean, spread, norm), _ = jax.lax.scan(accumulate, start, jnp.asarray(batches))
    deviation = jnp.stack([jnp.sqrt(sum(s.sum() for s in layer) / count) for layer in spread])
    return GradientStatistics(layer_norms(mean), deviation, norm / count)


def layer_norms(layers: tuple[tuple[Array, ...], ...]) -> Float[Array, " layers"]:
    """L2 norm of every layer's weight arrays taken together."""
    return jnp.stack([jnp.sqrt(sum(jnp.square(w).sum() for w in layer)) for layer in layers])
