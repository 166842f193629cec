"""Convolution, pooling and local normalisation against loops over pixels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks.reference_convolution import convolve, windows

from ibjax.errors import InputError
from ibjax.networks import CONVOLUTIONS, Convolution, max_pool
from ibjax.networks.convolution import PATCHES_BELOW, as_images, checked_image, local_response_normalisation

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize(
    ("shape", "window", "stride", "channels"),
    [
        ((7, 6), 3, 1, 2),
        ((7, 6), 3, 2, PATCHES_BELOW),
        ((5, 4), 5, 1, 1),
        ((4, 4), 2, 2, PATCHES_BELOW),
        ((3, 3), 1, 1, 9),
    ],
)
def test_convolution_is_the_loop(name, shape, window, stride, channels):
    x = RNG.normal(size=(2, *shape, channels)).astype(np.float32)
    kernel = RNG.normal(size=(window, window, channels, 3)).astype(np.float32)
    found = jax.jit(CONVOLUTIONS[name], static_argnums=2)(x, kernel, stride)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, convolve(x, kernel, stride), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [2, PATCHES_BELOW])
def test_both_convolutions_have_one_gradient(channels):
    x = RNG.normal(size=(2, 5, 4, channels)).astype(np.float32)
    kernel = RNG.normal(size=(3, 3, channels, 3)).astype(np.float32)
    slopes = [
        jax.jit(jax.grad(lambda x, k, f=f: jnp.sin(f(x, k, 2)).sum(), (0, 1)))(x, kernel) for f in CONVOLUTIONS.values()
    ]
    for a, b in zip(*slopes, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_layer_adds_its_bias_and_may_have_none():
    x = jnp.asarray(RNG.normal(size=(2, 4, 4, 2)), jnp.float32)
    layer = Convolution(2, 3, 3, biases=nnx.initializers.constant(0.5), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(layer(x), convolve(x, layer.kernel[...], 1) + 0.5, rtol=1e-5, atol=1e-5)
    bare = Convolution(2, 3, 3, use_bias=False, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(bare(x), layer(x) - 0.5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("shape", "window", "stride"), [((7, 6), 3, 2), ((4, 6), 2, 2), ((5, 5), 2, 2)])
def test_max_pool_is_the_loop(shape, window, stride):
    x = jnp.asarray(RNG.normal(size=(2, *shape, 3)) - 5, jnp.float32)  # all below the zero that is no part of the image
    expected = [[v.max(axis=(1, 2)) for v in row] for row in windows(np.asarray(x), window, stride, -np.inf)]
    np.testing.assert_array_equal(max_pool(x, window, stride), np.stack([np.stack(row, 1) for row in expected], 1))


def test_the_gradient_of_a_pool_is_shared_by_ties_and_finite():
    slopes = jax.grad(lambda x: max_pool(x, 2, 2).sum())(jnp.ones((1, 3, 3, 1)))
    assert np.isfinite(slopes).all()
    assert float(slopes.sum()) == 4


def test_local_response_normalisation_is_the_loop():
    x = RNG.normal(size=(2, 2, 2, 11)).astype(np.float32) * 30
    expected = np.empty_like(x)
    for i in range(11):
        near = np.square(x[..., max(0, i - 4) : i + 5], dtype=np.float64).sum(axis=-1)
        expected[..., i] = x[..., i] / (1 + 0.001 / 9 * near) ** 0.75
    np.testing.assert_allclose(local_response_normalisation(jnp.asarray(x)), expected, rtol=1e-5)


def test_vmap_over_kernels_is_the_loop_over_them():
    x = RNG.normal(size=(2, 5, 4, 2)).astype(np.float32)
    kernels = RNG.normal(size=(3, 3, 3, 2, 4)).astype(np.float32)
    convolution = functools.partial(CONVOLUTIONS["products"], stride=1)
    mapped = jax.jit(jax.vmap(convolution, (None, 0)))(x, kernels)
    for found, kernel in zip(mapped, kernels, strict=True):
        np.testing.assert_allclose(found, convolve(x, kernel, 1), rtol=1e-5, atol=1e-5)


def test_nan_stays_where_the_windows_see_it():
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 0, 0] = np.nan
    found = np.asarray(CONVOLUTIONS["products"](jnp.asarray(x), jnp.ones((3, 3, 1, 1)), 1))[0, :, :, 0]
    assert np.isnan(found[:2, :2]).all()
    assert np.isnan(found).sum() == 4


def test_images_may_be_flat():
    x = jnp.arange(24.0).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(as_images(x.reshape(2, 12), (3, 2, 2)), x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Convolution(2, 0, 3, rngs=nnx.Rngs(0)), "must be 1 or more, got 2 -> 0 channels, window 3, stride 1"),
        (lambda: Convolution(2, 2, 3, convolution="natve", rngs=nnx.Rngs(0)), "'natve': did you mean 'native'"),
        (lambda: as_images(jnp.zeros((2, 13)), (3, 2, 2)), r"shape \(3, 2, 2\), flat or not, got .*\(13,\)"),
        (lambda: as_images(jnp.zeros((2, 2, 3, 2)), (3, 2, 2)), "set image to the shape of the data"),
        (lambda: checked_image((28, 28)), r"image must be \(height, width, channels\), each 1 or more, got \(28, 28\)"),
        (lambda: checked_image((28, 0, 1)), r"got \(28, 0, 1\)"),
    ],
)
def test_wrong_settings_and_images(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
