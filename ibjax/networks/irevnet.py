"""Fully invertible networks (Jacobsen et al. 2018), and a twin that is not."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn.initializers import Initializer, variance_scaling
from jaxtyping import Array, Float

from ibjax.errors import InputError, choose
from ibjax.networks.convolution import Convolution, as_images, checked_image, flat
from ibjax.networks.convolutional import dropout_layer

LAYERS = ("blocks", "stages")
BOTTLENECK = 4
"""Channels of a block's output for one of its bottleneck."""

Halves = tuple[Float[Array, "n _ _ _"], Float[Array, "n _ _ _"]]
"""The two halves of the channels that blocks take and return."""


def space_to_depth(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n rows columns channels"]:
    """Move each square of ``factor`` x ``factor`` pixels into the channels, a bijection.

    Example:
        >>> space_to_depth(jnp.arange(4.0).reshape(1, 2, 2, 1), 2)
        Array([[[[0., 1., 2., 3.]]]], dtype=float32)
    """
    n, height, width, channels = x.shape
    x = x.reshape(n, height // factor, factor, width // factor, factor, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // factor, width // factor, factor**2 * channels)


def depth_to_space(x: Float[Array, "n rows columns channels"], factor: int) -> Float[Array, "n h w c"]:
    """The inverse of `space_to_depth`."""
    n, rows, columns, channels = x.shape
    x = x.reshape(n, rows, columns, factor, factor, channels // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows * factor, columns * factor, channels // factor**2)


def average_to_depth(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n rows columns channels"]:
    """The mean of each square, as often as `space_to_depth` has channels for it: of four numbers three are lost."""
    means = space_to_depth(x, factor).reshape(len(x), x.shape[1] // factor, x.shape[2] // factor, factor**2, -1)
    means = means.mean(axis=3)
    return jnp.concatenate([means] * factor**2, axis=-1)


class Block(nnx.Module):
    """``(x1, x2) -> (S(x2), S(x1) + F(x2))`` with S moving pixels into channels where the stride is above 1.

    F is normalisation and ReLU (not in the network's first block), a 3x3 convolution with the stride, then twice
    normalisation, ReLU and a 3x3 convolution; the bottleneck has a quarter of the channels. No convolution has a bias.
    """

    def __init__(
        self,
        halves: tuple[int, int],
        channels: int,
        stride: int,
        *,
        first: bool,
        dropout: float,
        invertible: bool,
        convolution: str,
        rngs: nnx.Rngs,
    ):
        """Draw the kernels; ``halves`` are the channels of x1 and x2, ``channels`` of either half of the result."""
        self.halves, self.channels, self.stride, self.invertible = halves, channels, stride, invertible
        self.padded = 2 * channels - stride**2 * sum(halves)  # zero channels that are added: the block is injective
        if self.padded < 0 or (stride > 1 and (self.padded or halves[0] != halves[1])):
            raise InputError(
                f"a block of stride {stride} cannot make 2 x {channels} channels of {halves[0]} + {halves[1]}: "
                "stride 1 makes as many or more, stride 2 exactly four times as many, of equal halves"
            )
        inner, seen = max(1, channels // BOTTLENECK), channels if stride == 1 else halves[1]
        norm = [None if first else batch_norm(seen, rngs), batch_norm(inner, rngs), batch_norm(inner, rngs)]
        sizes = ((seen, inner, stride), (inner, inner, 1), (inner, channels, 1))
        self.norms = nnx.List(norm)
        self.convolutions = nnx.List(
            Convolution(i, o, 3, s, use_bias=False, weights=TORCH, convolution=convolution, rngs=rngs)
            for i, o, s in sizes
        )
        self.dropout = dropout_layer(dropout, rngs)

    def residual(self, x: Float[Array, "n h w c"]) -> Float[Array, "n rows columns channels"]:
        """F of half the channels."""
        for step, (norm, convolution) in enumerate(zip(self.norms, self.convolutions, strict=True)):
            if step == 2 and self.dropout is not None:
                x = self.dropout(x)
            if norm is not None:
                x = jax.nn.relu(norm(x))
            x = convolution(x)
        return x

    def __call__(self, x: Halves) -> Halves:
        """Apply the block."""
        if self.padded:
            whole = jnp.pad(jnp.concatenate(x, axis=-1), ((0, 0), (0, 0), (0, 0), (0, self.padded)))
            x = _split(whole, whole.shape[-1] // 2)
        added = self.residual(x[1])
        if not self.invertible:
            x1, x2 = (average_to_depth(half, self.stride) for half in x)
            return x2, jax.nn.relu(x1 + added)
        x1, x2 = (space_to_depth(half, self.stride) for half in x)
        return x2, x1 + added

    def inverse(self, y: Halves) -> Halves:
        """What the block was applied to, by the same F."""
        x2 = depth_to_space(y[0], self.stride)
        x1 = depth_to_space(y[1] - self.residual(x2), self.stride)
        if not self.padded:
            return x1, x2
        return _split(jnp.concatenate([x1, x2], axis=-1)[..., : sum(self.halves)], self.halves[0])


class IRevNet(nnx.Module):
    """A network that loses nothing before its classifier: images are computed back from any of its layers.

    A block takes the channels in two halves and maps ``(x1, x2)`` to ``(S(x2), S(x1) + F(x2))``, which is undone by
    ``x2 = S^-1(y1), x1 = S^-1(y2 - F(x2))`` with the same F: no inverse of F is needed, and there are no other
    parameters. The classifier is normalisation, ReLU, the mean over the image and a linear layer.

    The layers are the blocks' outputs, both halves together, and the output distribution. A layer never has fewer
    units than the image has numbers, and different images have different activations up to rounding.

    ``inverse`` is exact, to rounding, where F is a fixed function: in evaluation, which is how `functional` applies
    a network. In training F depends on the batch's own statistics. Rounding grows with the slopes of F, so a network
    whose activations explode is hard to invert; look at the reconstruction error.

    Args:
        image: (height, width, channels) of the inputs, which may come as images or as flat rows. Sizes that the strides
            do not divide are padded with zeros below and on the right, and cut off again by the inverse.
        blocks: number of blocks of every stage.
        strides: of the first block of every stage, 1 or 2. Stride 2 makes a quarter of the pixels and four times
            the channels.
        channels: of either half after every stage. If the first stage has stride 1 they may be more than the image
            has, which is filled up with zeros: the network is injective. None for as many as there are: the network is
            bijective, if the image's sizes are multiples of all strides.
        classes: units of the output layer.
        initial: pixels moved into channels before the first block, 1 for none. The number of channels must be even then
            for the bijective form, as with images of three channels and 2 here.
        dropout: share of the units within F that a training step leaves out.
        layers: what counts as a layer, ``"blocks"``, or ``"stages"``, which are few and need less memory.
        invertible: False makes the twin of the same parameters: every sum is rectified, as in a residual network, and
            every square of pixels that a stride moves into channels is replaced by its mean. Of the bijective form
            the twin surely loses something; of the injective form it may not, as there is room to spare.
        convolution: a name of `ibjax.networks.CONVOLUTIONS`; ``"native"`` is for accelerators.
        rngs: Flax's random streams; ``params`` is used, and ``dropout``.

    Raises:
        InputError: stages whose channels do not fit, unequal numbers of stages, or a size below 1.

    Example:
        >>> from functools import partial
        >>> from ibjax.networks import functional
        >>> net = functional(partial(IRevNet, (5, 6, 1), (1, 2), (1, 2), (4, 16), classes=3))
        >>> net.widths((5, 6, 1))
        (288, 288, 288, 3)
        >>> params, x = jax.jit(net.init)(jax.random.key(0)), jax.random.normal(jax.random.key(1), (2, 5, 6, 1))
        >>> _, layers = jax.jit(net.apply)(params, x)
        >>> bool(abs(jax.jit(net.inverse)(params, layers[-2]) - x).max() < 1e-5)
        True

    References:
        Jacobsen, Smeulders & Oyallon (2018), "i-RevNet: deep invertible networks", ICLR, section 3. The defaults are
        its public code's for CIFAR-10, with PyTorch's initial weights, uniform to 1 / sqrt(fan in).
    """

    def __init__(
        self,
        image: tuple[int, ...] = (32, 32, 3),
        blocks: Sequence[int] = (18, 18, 18),
        strides: Sequence[int] = (1, 2, 2),
        channels: Sequence[int] | None = (16, 64, 256),
        classes: int = 10,
        *,
        initial: int = 1,
        dropout: float = 0.0,
        layers: str = "blocks",
        invertible: bool = True,
        convolution: str = "products",
        rngs: nnx.Rngs,
    ):
        """Draw the initial weights."""
        self.image = checked_image(image)
        self.initial, self.invertible = initial, invertible
        choose("layers", layers, LAYERS)
        if min((*blocks, classes, initial)) < 1 or not set(strides) <= {1, 2}:
            raise InputError(
                f"blocks, classes and initial must be 1 or more and strides 1 or 2, got {tuple(blocks)}, {classes}, "
                f"{initial} and {tuple(strides)}"
            )
        total = self.image[2] * initial**2
        self.halves = (total // 2, total - total // 2)
        if channels is None:
            channels = [int(c) for c in self.halves[0] * np.cumprod(np.square(strides))]
            if total % 2:
                raise InputError(f"{total} channels cannot be halved: set initial to 2, or give channels to fill up to")
        if not len(blocks) == len(strides) == len(channels) > 0:
            raise InputError(
                f"blocks, strides and channels must have one entry a stage, got {len(blocks)}, {len(strides)} and "
                f"{len(channels)}"
            )
        # All rows and columns, so that every stride divides them.
        multiple = initial * int(np.prod(strides))
        self.padded = tuple(-(-size // multiple) * multiple for size in self.image[:2])

        halves, stages = self.halves, []
        for count, stride, width in zip(blocks, strides, channels, strict=True):
            stage = []
            for number in range(count):
                first = not stages and not stage
                stage.append(
                    Block(
                        halves,
                        width,
                        1 if number else stride,
                        first=first,
                        dropout=dropout,
                        invertible=invertible,
                        convolution=convolution,
                        rngs=rngs,
                    )
                )
                halves = (width, width)
            stages.append(stage)
        groups = stages if layers == "stages" else [[block] for stage in stages for block in stage]
        self.layers = nnx.List(nnx.List(group) for group in groups)
        self.norm = batch_norm(2 * channels[-1], rngs)
        self.output = nnx.Linear(2 * channels[-1], classes, kernel_init=TORCH, rngs=rngs)

    def __call__(self, x: Float[Array, "n ..."]) -> tuple[Float[Array, "n classes"], tuple[Float[Array, "n _"], ...]]:
        """Return the logits, and the activations of every layer with the output distribution last."""
        x = as_images(x, self.image)
        below, right = (large - size for large, size in zip(self.padded, self.image[:2], strict=True))
        x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))
        x = (space_to_depth if self.invertible else average_to_depth)(x, self.initial)
        halves, activations = _split(x, self.halves[0]), []
        for layer in self.layers:
            for block in layer:
                halves = block(halves)
            activations.append(flat(jnp.concatenate(halves, axis=-1)))
        h = jax.nn.relu(self.norm(jnp.concatenate(halves, axis=-1)))
        logits = self.output(h.mean(axis=(1, 2)))
        return logits, (*activations, jax.nn.softmax(logits))

    def inverse(self, code: Float[Array, "n units"], layer: int = -1) -> Float[Array, "n h w c"]:
        """The images whose activations at a layer of blocks these are; any code of that size will do.

        Args:
            code: activations, one row an image.
            layer: which layer they are of, from 0; -1 is the last before the classifier.

        Returns:
            Images of the shape in the settings.

        Raises:
            InputError: the twin that cannot be inverted, a layer that there is not, or a code of another size.
        """
        if not self.invertible:
            raise InputError("this is the twin that cannot be inverted: set invertible to True")
        count = len(self.layers)
        if not -count <= layer < count:
            raise InputError(f"layer must be from {-count} to {count - 1}, got {layer}: the classifier has no inverse")
        undone = [block for group in list(self.layers)[: layer % count + 1] for block in group]
        stride = self.initial * int(np.prod([block.stride for block in undone]))
        shape = (self.padded[0] // stride, self.padded[1] // stride)
        channels = 2 * undone[-1].channels
        if code.shape[1:] != (shape[0] * shape[1] * channels,):
            raise InputError(
                f"a code of layer {layer} has {shape[0] * shape[1] * channels} units an image, got {code.shape[1:]}"
            )
        halves = _split(code.reshape(-1, *shape, channels), channels // 2)
        for block in reversed(undone):
            halves = block.inverse(halves)
        x = depth_to_space(jnp.concatenate(halves, axis=-1), self.initial)
        return x[:, : self.image[0], : self.image[1]]


TORCH: Initializer = variance_scaling(1 / 3, "fan_in", "uniform")
"""PyTorch's initial weights: uniform between +- 1 / sqrt(fan in)."""


def batch_norm(channels: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Batch normalisation with scale and shift, whose running statistics keep nine tenths at every step."""
    return nnx.BatchNorm(channels, momentum=0.9, rngs=rngs)


def _split(x: Float[Array, "n h w c"], channels: int) -> Halves:
    return x[..., :channels], x[..., channels:]
