"""Convolutional networks."""

from collections.abc import Sequence

import jax
from flax import nnx
from jax.nn.initializers import Initializer, constant, he_normal, zeros
from jaxtyping import Array, Float

from ibjax.errors import InputError, choose
from ibjax.networks.activations import ACTIVATIONS
from ibjax.networks.convolution import Convolution, as_images, checked_image, flat, max_pool
from ibjax.networks.initializers import truncated_normal


class ConvNet(nnx.Module):
    """Convolutions, each with an optional max pooling, then fully connected layers and a softmax.

    A layer is measured where the next one takes it: after its activation function and its pooling.

    Replicas: in products, vmap and `jax.lax.map` over replicas took the same time on a CPU (31 and 30 ms a replica and
    step of the layers of `edge_cnn` with batches of 100, on two cores), and single replicas 27 ms. So a study whose
    replicas need much memory runs them in chunks of one without losing time. With ``"native"`` vmap took 194 ms,
    `jax.lax.map` and single replicas 124 ms.

    Args:
        image: (height, width, channels) of the inputs, which may come as images or as flat rows.
        convolutions: (window, channels, pool) of every convolution; pool 2 halves the image, 1 leaves it.
        dense: units of the fully connected layers.
        classes: units of the output layer.
        activation: a name of `ibjax.networks.ACTIVATIONS`, for all hidden layers.
        dropout: share of the last hidden layer's units that a training step leaves out; the measured
            activations are always whole.
        weights: initialiser of all weights; He et al.'s normal of deviation sqrt(2 / fan in) suits ReLU.
        biases: initialiser of all biases.
        convolution: a name of `ibjax.networks.CONVOLUTIONS`; ``"native"`` is for accelerators.
        rngs: Flax's random streams; ``params`` is used, and ``dropout``.

    Raises:
        InputError: a size below 1, no layer, an unknown name or a dropout that is not from 0 to below 1.

    Example:
        >>> import functools
        >>> from ibjax.networks import functional
        >>> net = functional(functools.partial(ConvNet, (8, 8, 1), ((3, 4, 1), (3, 6, 2)), (5,)))
        >>> net.widths((8, 8, 1)), net.widths((64,))
        ((256, 96, 5, 10), (256, 96, 5, 10))
    """

    def __init__(
        self,
        image: tuple[int, ...],
        convolutions: Sequence[tuple[int, int, int]],
        dense: Sequence[int],
        classes: int = 10,
        activation: str = "relu",
        *,
        dropout: float = 0.0,
        weights: Initializer = he_normal(),  # noqa: B008 - a pure function
        biases: Initializer = zeros,
        convolution: str = "products",
        rngs: nnx.Rngs,
    ):
        """Draw the initial weights."""
        self.image = checked_image(image)
        self.activation = ACTIVATIONS[choose("activation", activation, ACTIVATIONS)]
        self.pools = tuple(pool for _, _, pool in convolutions)
        if min((*dense, classes, *self.pools)) < 1:
            raise InputError(f"units, classes and pools must be 1 or more, got {tuple(dense)}, {classes}, {self.pools}")
        height, width, channels = self.image
        layers: list[nnx.Module] = []
        for window, channels_out, pool in convolutions:
            layers.append(
                Convolution(
                    channels, channels_out, window, weights=weights, biases=biases, convolution=convolution, rngs=rngs
                )
            )
            height, width, channels = -(-height // pool), -(-width // pool), channels_out
        units = height * width * channels
        for units_out in (*dense, classes):
            layers.append(nnx.Linear(units, units_out, kernel_init=weights, bias_init=biases, rngs=rngs))
            units = units_out
        self.layers = nnx.List(layers)
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, x: Float[Array, "n ..."]) -> tuple[Float[Array, "n classes"], tuple[Float[Array, "n _"], ...]]:
        """Return the logits, and the activations of every layer with the output distribution last."""
        h, activations = as_images(x, self.image), []
        layers = list(self.layers)
        for layer, pool in zip(layers, self.pools, strict=False):
            h = self.activation(layer(h))
            h = max_pool(h, pool, pool) if pool > 1 else h
            activations.append(flat(h))
        h = flat(h)
        for layer in layers[len(self.pools) : -1]:
            h = self.activation(layer(h))
            activations.append(h)
        logits = layers[-1](h if self.dropout is None else self.dropout(h))
        return logits, (*activations, jax.nn.softmax(logits))


def dropout_layer(rate: float, rngs: nnx.Rngs) -> nnx.Dropout | None:
    """Dropout of the given rate; none at all for rate 0, so that the network stays a pure function."""
    if not 0 <= rate < 1:
        raise InputError(f"dropout must be at least 0 and below 1, got {rate}")
    return nnx.Dropout(rate, rngs=rngs) if rate else None


def edge_cnn(image: tuple[int, ...] = (28, 28, 1), *, convolution: str = "products", rngs: nnx.Rngs) -> ConvNet:
    """The convolutional network of EDGE's public code: 205,098 parameters on MNIST.

    Convolutions 5x5x4, 3x3x8 and 3x3x16 with ReLU, the last two followed by 2x2 max pooling, 256 units and 10 classes;
    all weights and biases from a normal of deviation 0.1 cut off at two deviations. The public code has it for
    MNIST; for CIFAR-10, of which it has none, give ``image=(32, 32, 3)``: 266,738 parameters.

    Example:
        >>> from ibjax.networks import functional
        >>> functional(edge_cnn).widths((28, 28, 1))
        (3136, 1568, 784, 256, 10)

    References:
        Noshad, Zeng & Hero (2019), "Scalable mutual information estimation using dependence graphs", ICASSP.
    """
    normal = truncated_normal(0.1)
    convolutions = ((5, 4, 1), (3, 8, 2), (3, 16, 2))
    return ConvNet(image, convolutions, (256,), weights=normal, biases=normal, convolution=convolution, rngs=rngs)


def idnns_cnn(
    image: tuple[int, ...] = (28, 28, 1),
    *,
    dropout: float = 0.5,
    convolution: str = "products",
    rngs: nnx.Rngs,
) -> ConvNet:
    """The convolutional network of Shwartz-Ziv and Tishby's public code: 3,274,634 parameters on MNIST.

    Convolutions 5x5x32 and 5x5x64 with ReLU and 2x2 max pooling, 1024 units with dropout, 10 classes; weights from a
    normal of deviation 0.1 cut off at two deviations, biases 0.1. The rate of the dropout is the caller's there;
    one half is that of the TensorFlow tutorial the network is taken from.

    Example:
        >>> from ibjax.networks import functional
        >>> functional(idnns_cnn).widths((784,))
        (6272, 3136, 1024, 10)

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information".
    """
    return ConvNet(
        image,
        ((5, 32, 2), (5, 64, 2)),
        (1024,),
        dropout=dropout,
        weights=truncated_normal(0.1),
        biases=constant(0.1),
        convolution=convolution,
        rngs=rngs,
    )
