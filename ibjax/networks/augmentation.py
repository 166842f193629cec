"""Images shifted, mirrored, cropped and whitened on their way into a network."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from ibjax.errors import InputError


def shifted(
    x: Float[Array, "n h w c"], size: tuple[int, int], padding: int, key: Key[Array, ""]
) -> Float[Array, "n rows columns c"]:
    """Cut a part of the given size out of each image at a random place, zeros all around the image first.

    Example:
        >>> shifted(jnp.ones((2, 4, 4, 1)), (3, 3), 1, jax.random.key(0)).shape
        (2, 3, 3, 1)
    """
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    room = jnp.array([x.shape[1] - size[0] + 1, x.shape[2] - size[1] + 1])
    places = jax.random.randint(key, (len(x), 2), 0, room)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (*at, 0), (*size, x.shape[3])))(x, places)


def mirrored(x: Float[Array, "n h w c"], key: Key[Array, ""]) -> Float[Array, "n h w c"]:
    """Exchange left and right of each image with probability one half."""
    turned = jax.random.bernoulli(key, shape=(len(x), 1, 1, 1))
    return jnp.where(turned, x[:, :, ::-1], x)


def centred(x: Float[Array, "n h w c"], size: tuple[int, int]) -> Float[Array, "n rows columns c"]:
    """Cut the part of the given size out of the middle of each image."""
    top, left = ((large - small) // 2 for large, small in zip(x.shape[1:3], size, strict=True))
    return x[:, top : top + size[0], left : left + size[1]]


def whitened(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Give the values of each image mean 0 and variance 1; an image of one value becomes 0.

    As TensorFlow's ``per_image_standardization``, the deviation is taken as 1 / sqrt(values) at least.
    """
    x = x - x.mean(axis=(1, 2, 3), keepdims=True)
    values = x.shape[1] * x.shape[2] * x.shape[3]
    deviation = jnp.sqrt(jnp.square(x).mean(axis=(1, 2, 3), keepdims=True))
    return x / jnp.maximum(deviation, values**-0.5)


class Augmentation(nnx.Module):
    """What a network sees of its images: random parts of them in training, the middle in evaluation.

    Every training step draws anew, from the stream that dropout draws from.

    Args:
        size: rows and columns of the part.
        padding: rows and columns of zeros on every side of the image before a part is cut out in training.
        random: whether the part is a random one in training. Without, training sees what evaluation does.
        mirror: whether left and right are exchanged with probability one half in training.
        whiten: whether the values of each part get mean 0 and variance 1.
        rngs: Flax's random streams; ``dropout`` is used.

    Example:
        >>> middle = Augmentation((2, 2), random=True, rngs=nnx.Rngs(0))
        >>> middle.eval()
        >>> middle(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
        Array([[ 5.,  6.],
               [ 9., 10.]], dtype=float32)
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        padding: int = 0,
        random: bool = True,
        mirror: bool = False,
        whiten: bool = False,
        rngs: nnx.Rngs,
    ):
        """Keep the settings and, if anything is random, a stream."""
        if min(size) < 1 or padding < 0:
            raise InputError(f"size must be 1 or more and padding 0 or more, got {size} and {padding}")
        self.size, self.padding, self.random, self.mirror, self.whiten = size, padding, random, mirror, whiten
        self.deterministic = False  # Flax's train() and eval() set it
        self.stream = rngs.dropout.fork() if random or mirror else None

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n rows columns c"]:
        """Apply it."""
        if x.shape[1] < self.size[0] or x.shape[2] < self.size[1]:
            raise InputError(f"images of {x.shape[1]} x {x.shape[2]} pixels have no part of {self.size}: take less")
        if self.stream is not None and not self.deterministic:
            place, side = jax.random.split(self.stream())
            x = shifted(x, self.size, self.padding, place) if self.random else centred(x, self.size)
            x = mirrored(x, side) if self.mirror else x
        else:
            x = centred(x, self.size)
        return whitened(x) if self.whiten else x


@functools.cache
def augmented(kind: type[nnx.Module]) -> type[nnx.Module]:
    """A class of networks whose images come through an `Augmentation`; the network's own layers stay as they are.

    Args:
        kind: class of networks that take images. The result takes its arguments and ``augmentation``, the settings of
            an `Augmentation` by name. The network's own image is the part that is cut out, of the given size.

    Example:
        >>> from ibjax.networks import SmallAlexNet, functional
        >>> crops = functools.partial(augmented(SmallAlexNet), (28, 28, 3), augmentation={"size": (28, 28)})
        >>> functional(crops).widths((32, 32, 3))
        (12544, 3136, 384, 192, 10)
    """

    class Augmented(kind):
        def __init__(self, *args: Any, augmentation: Mapping[str, Any], rngs: nnx.Rngs, **settings: Any):
            make: Any = super().__init__
            make(*args, rngs=rngs, **settings)
            self.augmentation = Augmentation(**augmentation, rngs=rngs)

        def __call__(self, x: Float[Array, "n h w c"]) -> tuple[Array, tuple[Array, ...]]:
            return super().__call__(self.augmentation(x))

    return Augmented
