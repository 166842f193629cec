"""Density models q(y|x): one column of y after the other, or a classifier for labels."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from ibjax.networks import MLP
from ibjax.neural.critics import ACTIVATION, silence

DENSITIES: dict[str, Callable[[Array], Array]] = {
    "gaussian": lambda z: -0.5 * (z**2 + jnp.log(2 * jnp.pi)),
    "logistic": lambda z: -z - 2 * jax.nn.softplus(-z),
}
"""Name -> log density at z = (y - location) / scale, without the scale."""


class Columns(nnx.Module):
    """``ln q(y|x) = sum_j ln q(y_j | x, y_1 .. y_{j-1})``, Gaussians or logistics by a network.

    One network gives location and scale of every column: it sees x, the columns of y before the j-th, and j.

    Args:
        columns: of x and of y.
        hidden: units of the hidden layers.
        density: a name of `DENSITIES`.
        rngs: Flax's random streams; ``params`` is used.

    Example:
        >>> model = Columns((3, 2), (16,), "gaussian", rngs=nnx.Rngs(0))
        >>> used = jnp.ones(2, bool)
        >>> [f"{v:.4f}" for v in model(jnp.ones((2, 3)), jnp.zeros((2, 2)), used)]  # at first normal: -ln(2 pi)
        ['-1.8379', '-1.8379']
    """

    def __init__(self, columns: tuple[int, int], hidden: Sequence[int], density: str, *, rngs: nnx.Rngs):
        """Draw the initial weights."""
        dx, dy = columns
        self.network = silence(MLP((dx + 2 * dy, *hidden, 2), ACTIVATION, "lorenzen", rngs=rngs))
        self.density = density

    def __call__(
        self, x: Float[Array, "n dx"], y: Float[Array, "n dy"], used: Bool[Array, " dy"]
    ) -> Float[Array, " n"]:
        """Log density of every sample, of the columns that are ``used``: a constant one has none."""
        dy = y.shape[1]

        def seen(j):
            before = jnp.where(jnp.arange(dy) < j, y, 0)
            which = jnp.broadcast_to(jax.nn.one_hot(j, dy, dtype=y.dtype), y.shape)
            return jnp.concatenate([x, before, which], axis=1)

        inputs = jax.vmap(seen)(jnp.arange(dy))
        output = self.network(inputs.reshape(-1, inputs.shape[-1]))[0].reshape(dy, -1, 2)
        location, log_scale = output[..., 0], output[..., 1]
        z = (y.T - location) * jnp.exp(-log_scale)
        return jnp.where(used[:, None], DENSITIES[self.density](z) - log_scale, 0).sum(axis=0)


class Classifier(nnx.Module):
    """``ln q(y|x)`` of classes, y one-hot: the softmax of ``log_prior`` plus a network's output.

    So it starts at the prior, and never predicts a class whose prior is 0.

    Args:
        columns: of x, and the number of classes.
        hidden: units of the hidden layers.
        rngs: Flax's random streams; ``params`` is used.

    Example:
        >>> model = Classifier((3, 2), (16,), rngs=nnx.Rngs(0))
        >>> log_p = model(jnp.ones((2, 3)), jnp.eye(2), jnp.log(jnp.array([0.25, 0.75])))
        >>> [f"{p:.3f}" for p in jnp.exp(log_p)]
        ['0.250', '0.750']
    """

    def __init__(self, columns: tuple[int, int], hidden: Sequence[int], *, rngs: nnx.Rngs):
        """Draw the initial weights."""
        self.network = silence(MLP((columns[0], *hidden, columns[1]), ACTIVATION, "lorenzen", rngs=rngs))

    def __call__(
        self, x: Float[Array, "n dx"], y: Float[Array, "n classes"], log_prior: Float[Array, " classes"]
    ) -> Float[Array, " n"]:
        """Log probability of every sample's class."""
        return of_class(jax.nn.log_softmax(self.network(x)[0] + log_prior), y)


def of_class(log_p: Float[Array, "*n classes"], y: Float[Array, "n classes"]) -> Float[Array, " n"]:
    """Entry of each sample's class; others may be -inf."""
    return jnp.where(y > 0, log_p, 0).sum(axis=1)
