"""Fully connected networks of few bits, whose layers are discrete variables."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ibjax.errors import InputError
from ibjax.networks.mlp import MLP

LARGEST = 16
"""Bits whose levels float32 tells apart."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def straight_through(t: Float[Array, "..."], bits: int) -> Float[Array, "..."]:
    """Round to the nearest of 2^bits equally spaced levels from the smallest value to the largest.

    The levels are those of `ibjax.estimators.quantise`; the gradient is that of no rounding, since the true one is zero
    almost everywhere.

    Example:
        >>> t = jnp.array([0.0, 0.2, 0.9, 3.0])
        >>> straight_through(t, 2).tolist()
        [0.0, 0.0, 1.0, 3.0]
        >>> jax.grad(lambda t: straight_through(t, 2).sum())(t).tolist()
        [1.0, 1.0, 1.0, 1.0]

    References:
        Bengio, Leonard & Courville (2013), "Estimating or propagating gradients through stochastic neurons".
    """
    low, high = t.min(), t.max()
    step = (high - low) / (2**bits - 1)
    return low + step * jnp.round((t - low) / jnp.where(step > 0, step, 1))


@straight_through.defjvp
def _(bits, primals, tangents):
    return straight_through(primals[0], bits), tangents[0]


class QuantisedMLP(MLP):
    """An `MLP` that runs on 2^bits levels: of every weight matrix and of every layer's activations.

    The levels span the values that a matrix has, or that a layer has over the inputs given, so that they follow the
    network while it is trained. Biases are not rounded, and neither are the logits that the loss is of; the output
    distribution that is returned as the last layer is.

    Args:
        widths: as of `MLP`.
        activation: as of `MLP`.
        initializer: as of `MLP`.
        bits: 1 to 16, or 32 for the `MLP` itself.
        rngs: as of `MLP`.

    Raises:
        InputError: as `MLP`, or bits that make no sense.

    Example:
        >>> net = QuantisedMLP((12, 10, 2), bits=2, rngs=nnx.Rngs(0))
        >>> logits, layers = net(jax.random.normal(jax.random.key(0), (50, 12)))
        >>> len(jnp.unique(layers[0]))
        4

    References:
        Lorenzen, Igel & Nielsen (2022), "Information bottleneck: exact analysis of (quantized) neural networks".
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str = "tanh",
        initializer: str = "idnns",
        bits: int = 8,
        *,
        rngs: nnx.Rngs,
    ):
        """Draw the initial weights."""
        if bits != 32 and not 1 <= bits <= LARGEST:
            raise InputError(f"bits must be 1 to {LARGEST}, or 32 for no rounding, got {bits}")
        super().__init__(widths, activation, initializer, rngs=rngs)
        self.bits = bits

    def __call__(
        self, x: Float[Array, "batch features"]
    ) -> tuple[Float[Array, "batch classes"], tuple[Float[Array, "batch _"], ...]]:
        """Return the logits, and the rounded activations of every layer with the output distribution last."""
        if self.bits == 32:
            return super().__call__(x)
        h, activations = x.T, []
        *hidden, last = [
            (straight_through(layer.weight[...], self.bits), layer.bias[...][:, None]) for layer in self.layers
        ]
        for weight, bias in hidden:
            h = straight_through(self.activation(weight @ h + bias), self.bits)
            activations.append(h.T)
        logits = (last[0] @ h + last[1]).T
        return logits, (*activations, straight_through(jax.nn.softmax(logits), self.bits))
