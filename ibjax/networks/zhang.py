"""The two convolutional networks that learn random labels (Zhang et al. 2017)."""

import jax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array, Float

from ibjax.errors import InputError
from ibjax.networks.convolution import (
    Convolution,
    as_images,
    checked_image,
    flat,
    local_response_normalisation,
    max_pool,
)
from ibjax.networks.convolutional import dropout_layer

INCEPTION = ((32, 32), (32, 48), 80, (112, 48), (96, 64), (80, 80), (48, 96), 96, (176, 160), (176, 160))
"""Channels of the modules after the first convolution: (1x1, 3x3) of an inception, one number of a downsampling."""


class ConvModule(nnx.Module):
    """Convolution, batch normalisation (unless left out), ReLU."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        window: int,
        stride: int = 1,
        *,
        batch_norm: bool,
        convolution: str,
        rngs: nnx.Rngs,
    ):
        """Draw the kernel; the normalisation has no scale and no shift."""
        self.convolution = Convolution(channels_in, channels, window, stride, convolution=convolution, rngs=rngs)
        self.norm = (
            nnx.BatchNorm(channels, momentum=0.9, use_bias=False, use_scale=False, rngs=rngs) if batch_norm else None
        )

    def __call__(self, x: Float[Array, "n h w in"]) -> Float[Array, "n rows columns out"]:
        """Apply the module."""
        h = self.convolution(x)
        return jax.nn.relu(h if self.norm is None else self.norm(h))


class InceptionModule(nnx.Module):
    """A 1x1 and a 3x3 `ConvModule` side by side."""

    def __init__(self, channels_in: int, narrow: int, wide: int, **settings):
        """Draw both kernels."""
        self.narrow = ConvModule(channels_in, narrow, 1, **settings)
        self.wide = ConvModule(channels_in, wide, 3, **settings)

    def __call__(self, x: Float[Array, "n h w in"]) -> Float[Array, "n h w out"]:
        """Join the channels of both."""
        return jnp.concatenate([self.narrow(x), self.wide(x)], axis=-1)


class DownsampleModule(nnx.Module):
    """A 3x3 `ConvModule` and a 3x3 max pooling side by side, both of stride 2."""

    def __init__(self, channels_in: int, channels: int, **settings):
        """Draw the kernel."""
        self.module = ConvModule(channels_in, channels, 3, 2, **settings)

    def __call__(self, x: Float[Array, "n h w in"]) -> Float[Array, "n rows columns out"]:
        """Join the channels of both."""
        return jnp.concatenate([self.module(x), max_pool(x, 3, 2)], axis=-1)


class SmallInception(nnx.Module):
    """Zhang et al.'s Inception for 28x28 crops of CIFAR-10: 1,649,402 parameters.

    A 3x3 convolution of 96 channels; inceptions 32+32, 32+48; downsampling 80; inceptions 112+48, 96+64, 80+80,
    48+96; downsampling 96; inceptions 176+160, 176+160; the mean over the 7x7 image; 10 classes. These sizes are the
    paper's figure 3. Its table's number of parameters comes out if every convolution has a bias and the batch
    normalisation neither scale nor shift: then it is the same with and without normalisation, as in the table.
    The paper does not say how weights start: here by He et al.'s normal of deviation sqrt(2 / fan in).

    Its layers are the first convolution, the ten modules and the output distribution.

    Args:
        image: (height, width, channels) of the inputs, which may come as images or as flat rows.
        classes: units of the output layer.
        batch_norm: whether there is normalisation; without it this is the table's "Inception w/o BatchNorm".
        dropout: share of the units before the output layer that a training step leaves out.
        convolution: a name of `ibjax.networks.CONVOLUTIONS`; ``"native"`` is for accelerators.
        rngs: Flax's random streams; ``params`` is used, and ``dropout``.

    Example:
        >>> from ibjax.networks import functional
        >>> functional(SmallInception).widths((28, 28, 3))[:3]
        (75264, 50176, 62720)

    References:
        Zhang, Bengio, Hardt, Recht & Vinyals (2017), "Understanding deep learning requires rethinking
        generalization", figure 3 and table 1.
    """

    def __init__(
        self,
        image: tuple[int, ...] = (28, 28, 3),
        classes: int = 10,
        *,
        batch_norm: bool = True,
        dropout: float = 0.0,
        convolution: str = "products",
        rngs: nnx.Rngs,
    ):
        """Draw the initial weights."""
        self.image = checked_image(image)
        settings = {"batch_norm": batch_norm, "convolution": convolution, "rngs": rngs}
        modules: list[nnx.Module] = [ConvModule(self.image[2], 96, 3, **settings)]
        channels = 96
        for module in INCEPTION:
            if isinstance(module, int):
                modules.append(DownsampleModule(channels, module, **settings))
                channels += module
            else:
                modules.append(InceptionModule(channels, *module, **settings))
                channels = sum(module)
        self.layers = nnx.List(modules)
        self.output = nnx.Linear(channels, classes, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, x: Float[Array, "n ..."]) -> tuple[Float[Array, "n classes"], tuple[Float[Array, "n _"], ...]]:
        """Return the logits, and the activations of every layer with the output distribution last."""
        h, activations = as_images(x, self.image), []
        for layer in self.layers:
            h = layer(h)
            activations.append(flat(h))
        h = h.mean(axis=(1, 2))
        logits = self.output(h if self.dropout is None else self.dropout(h))
        return logits, (*activations, jax.nn.softmax(logits))


class SmallAlexNet(nnx.Module):
    """Zhang et al.'s AlexNet for 28x28 crops of CIFAR-10: 1,387,786 parameters.

    Twice a 5x5 convolution with ReLU, 3x3 max pooling of stride 2 and local response normalisation; 384 and 192 units
    with ReLU; 10 classes. The paper gives these; that the convolutions have 64 channels and that images are padded so
    that they shrink 28, 14, 7 is from TensorFlow's CIFAR-10 tutorial, which it follows, and gives the number of
    parameters of the paper's table. The constants of the normalisation are the tutorial's too. Weights start by He et
    al.'s normal of deviation sqrt(2 / fan in).

    Args:
        image: (height, width, channels) of the inputs, which may come as images or as flat rows.
        classes: units of the output layer.
        dropout: share of the last hidden layer's units that a training step leaves out.
        convolution: a name of `ibjax.networks.CONVOLUTIONS`; ``"native"`` is for accelerators.
        rngs: Flax's random streams; ``params`` is used, and ``dropout``.

    Example:
        >>> from ibjax.networks import functional
        >>> functional(SmallAlexNet).widths((28, 28, 3))
        (12544, 3136, 384, 192, 10)

    References:
        Zhang, Bengio, Hardt, Recht & Vinyals (2017), "Understanding deep learning requires rethinking
        generalization", appendix A and table 1.
    """

    def __init__(
        self,
        image: tuple[int, ...] = (28, 28, 3),
        classes: int = 10,
        *,
        dropout: float = 0.0,
        convolution: str = "products",
        rngs: nnx.Rngs,
    ):
        """Draw the initial weights."""
        self.image = checked_image(image)
        height, width, channels = self.image
        units = 64 * -(-height // 4) * -(-width // 4)
        if classes < 1:
            raise InputError(f"classes must be 1 or more, got {classes}")
        he = nnx.initializers.he_normal()
        self.convolutions = nnx.List(Convolution(c, 64, 5, convolution=convolution, rngs=rngs) for c in (channels, 64))
        self.dense = nnx.List(
            nnx.Linear(i, o, kernel_init=he, rngs=rngs) for i, o in ((units, 384), (384, 192), (192, classes))
        )
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, x: Float[Array, "n ..."]) -> tuple[Float[Array, "n classes"], tuple[Float[Array, "n _"], ...]]:
        """Return the logits, and the activations of every layer with the output distribution last."""
        h, activations = as_images(x, self.image), []
        for convolution in self.convolutions:
            h = local_response_normalisation(max_pool(jax.nn.relu(convolution(h)), 3, 2))
            activations.append(flat(h))
        h = flat(h)
        for dense in list(self.dense)[:-1]:
            h = jax.nn.relu(dense(h))
            activations.append(h)
        logits = self.dense[-1](h if self.dropout is None else self.dropout(h))
        return logits, (*activations, jax.nn.softmax(logits))
