"""Convolution, pooling and local normalisation of images, as products and sums of shifted views."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer, he_normal, zeros
from jaxtyping import Array, Float

from ibjax.errors import InputError, choose

PATCHES_BELOW = 8
"""With fewer input channels the views are joined for one product; with more, a product of each is no slower and needs
less memory."""


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Rows before and after, so that ``ceil(size / stride)`` windows fit, the odd one after (TensorFlow's ``SAME``).

    Example:
        >>> same_padding(28, 3, 1), same_padding(28, 3, 2), same_padding(7, 2, 2)
        ((1, 1), (0, 1), (0, 1))
    """
    missing = max((-(-size // stride) - 1) * stride + window - size, 0)
    return missing // 2, missing - missing // 2


def shifted_views(
    x: Float[Array, "n h w c"], window: int, stride: int, fill: float = 0.0
) -> list[Float[Array, "n rows columns c"]]:
    """For each place in a window the image of what all windows see there, padded as `same_padding` says."""
    height, width = x.shape[1:3]
    pads = [same_padding(size, window, stride) for size in (height, width)]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    ends = [(-(-size // stride) - 1) * stride + 1 for size in (height, width)]
    return [x[:, i : i + ends[0] : stride, j : j + ends[1] : stride] for i in range(window) for j in range(window)]


def _products(
    x: Float[Array, "n h w in"], kernel: Float[Array, "k k in out"], stride: int
) -> Float[Array, "n rows columns out"]:
    """Convolution as matrix products."""
    window, _, channels, _ = kernel.shape
    views = shifted_views(x, window, stride)
    if channels < PATCHES_BELOW:
        return jnp.concatenate(views, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
    matrices = kernel.reshape(-1, *kernel.shape[2:])
    return functools.reduce(jnp.add, (view @ matrices[place] for place, view in enumerate(views)))


def _native(
    x: Float[Array, "n h w in"], kernel: Float[Array, "k k in out"], stride: int
) -> Float[Array, "n rows columns out"]:
    """XLA's convolution."""
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


CONVOLUTIONS: dict[str, Callable[[Array, Array, int], Array]] = {"products": _products, "native": _native}
"""Name -> (images, kernel, stride) -> images; both compute the same, to rounding.

``"products"`` sums matrix products of shifted views. ``"native"`` is XLA's own convolution, meant for accelerators: on
a CPU, inside a compiled training loop, a gradient step took 4 to 22 times as long with it, and vmap over replicas
makes it a grouped convolution, which is slower still.
"""


class Convolution(nnx.Module):
    """``sum_ij x[row s + i, column s + j] K_ij + b`` over a square window, zeros around the image.

    Args:
        channels_in: channels of the images.
        channels: channels of the result.
        window: width of the window.
        stride: its step s; the result has ceil(size / s) rows and columns.
        use_bias: whether there is a b.
        weights: initialiser of the kernel, of shape (window, window, channels_in, channels).
        biases: initialiser of b.
        convolution: a name of `CONVOLUTIONS`.
        rngs: Flax's random streams; ``params`` is used.

    Example:
        >>> layer = Convolution(3, 8, 5, stride=2, rngs=nnx.Rngs(0))
        >>> jax.eval_shape(layer, jnp.ones((4, 7, 6, 3))).shape
        (4, 4, 3, 8)
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        window: int,
        stride: int = 1,
        *,
        use_bias: bool = True,
        weights: Initializer = he_normal(),  # noqa: B008 - a pure function
        biases: Initializer = zeros,
        convolution: str = "products",
        rngs: nnx.Rngs,
    ):
        """Draw the kernel, then the bias."""
        if min(channels_in, channels, window, stride) < 1:
            raise InputError(
                f"channels, window and stride must be 1 or more, got {channels_in} -> {channels} channels, "
                f"window {window}, stride {stride}"
            )
        self.stride = stride
        self.convolve = CONVOLUTIONS[choose("convolution", convolution, CONVOLUTIONS)]
        self.kernel = nnx.Param(weights(rngs.params(), (window, window, channels_in, channels), jnp.float32))
        self.bias = nnx.Param(biases(rngs.params(), (channels,), jnp.float32)) if use_bias else None

    def __call__(self, x: Float[Array, "n h w in"]) -> Float[Array, "n rows columns out"]:
        """Apply the layer."""
        y = self.convolve(x, self.kernel[...], self.stride)
        return y if self.bias is None else y + self.bias[...]


def max_pool(x: Float[Array, "n h w c"], window: int, stride: int) -> Float[Array, "n rows columns c"]:
    """The largest value of each window, padded as `same_padding` says; values that tie share the gradient.

    Example:
        >>> max_pool(jnp.arange(9.0).reshape(1, 3, 3, 1), 2, 2)[0, :, :, 0]
        Array([[4., 5.],
               [7., 8.]], dtype=float32)
    """
    views = shifted_views(x, window, stride, fill=-jnp.inf)
    return functools.reduce(jnp.maximum, views)


def local_response_normalisation(
    x: Float[Array, "n h w c"], radius: int = 4, bias: float = 1.0, alpha: float = 0.001 / 9, beta: float = 0.75
) -> Float[Array, "n h w c"]:
    """``x_i / (bias + alpha sum_{|j-i| <= radius} x_j^2)^beta`` over channels i.

    The defaults are those of TensorFlow's CIFAR-10 tutorial.

    References:
        Krizhevsky, Sutskever & Hinton (2012), "ImageNet classification with deep convolutional neural networks", 3.3.
    """
    channels = x.shape[-1]
    squares = jnp.pad(jnp.square(x), ((0, 0), (0, 0), (0, 0), (radius, radius)))
    near = sum((squares[..., i : i + channels] for i in range(1, 2 * radius + 1)), start=squares[..., :channels])
    return x * (bias + alpha * near) ** -beta


def as_images(x: Float[Array, "n ..."], image: tuple[int, int, int]) -> Float[Array, "n h w c"]:
    """Images of the given shape, from images or from flat rows; any other shape raises `InputError`."""
    height, width, channels = image
    if x.shape[1:] not in ((height, width, channels), (height * width * channels,)):
        raise InputError(
            f"the network takes images of shape {tuple(image)}, flat or not, got inputs of shape {x.shape[1:]}: "
            "set image to the shape of the data"
        )
    return x.reshape(-1, height, width, channels)


def checked_image(image: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape of an image, (height, width, channels), if it is one."""
    if len(image) != 3 or min(image) < 1:
        raise InputError(f"image must be (height, width, channels), each 1 or more, got {tuple(image)}")
    return (image[0], image[1], image[2])


def flat(x: Float[Array, "n ..."]) -> Float[Array, "n units"]:
    """One row an image."""
    return x.reshape(len(x), -1)
