"""Fully connected networks whose initial weights are larger or smaller than an initializer's."""

from collections.abc import Sequence

from flax import nnx

from ibjax.networks.mlp import MLP


def scaled_mlp(scale: float, widths: Sequence[int], activation: str, initializer: str, *, rngs: nnx.Rngs) -> MLP:
    """An `MLP` whose initial weights are ``scale`` times those of the initializer.

    Args:
        scale: the factor.
        widths: as in `MLP`, like the others.
        activation: of the hidden layers.
        initializer: whose weights are scaled.
        rngs: Flax's random streams.

    Example:
        >>> one, two = (scaled_mlp(s, (12, 4, 2), "tanh", "ibsgd", rngs=nnx.Rngs(0)) for s in (1.0, 2.0))
        >>> bool((two.layers[0].weight[...] == 2 * one.layers[0].weight[...]).all())
        True
    """
    network = MLP(widths, activation, initializer, rngs=rngs)
    for layer in network.layers:
        layer.weight[...] = scale * layer.weight[...]
    return network
