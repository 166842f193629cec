"""The noisy layer from covariances: closed forms of linear networks, NumPy, other estimators as bounds, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.estimators import KernelBounds, NoisyGaussian, gaussian_information, gaussian_layer_information, parse_layer

NOISE = 0.3


def layer_of(n=400, units=3, seed=0, dtype=np.float64):
    """Activations whose columns depend on each other, three classes of unlike shapes, and rows p(y|x)."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([-5, 0, 7], n, p=[0.5, 0.3, 0.2])
    t = (
        rng.normal(size=(n, units)) @ rng.normal(size=(units, units)) * (1 + (labels == 7))[:, None]
        + labels[:, None] / 5
    )
    return t.astype(dtype), labels, rng.dirichlet(np.ones(4), n).astype(dtype)


def entropy(t, weights, noise):
    """1/2 ln|1 + S / s2| by NumPy."""
    signal = np.atleast_2d(np.cov(t.T, aweights=weights, ddof=0)) / noise
    return np.linalg.slogdet(np.eye(len(signal)) + signal)[1] / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_says_the_same(dtype):
    t, labels, rows = layer_of(dtype=dtype)
    whole = entropy(t, np.ones(len(t)), NOISE)
    by_class = sum((labels == y).mean() * entropy(t[labels == y], None, NOISE) for y in np.unique(labels))
    by_row = sum(p.mean() * entropy(t, p, NOISE) for p in rows.T)
    with jax.enable_x64(dtype == np.float64):
        found = [
            NoisyGaussian(NOISE).layer(t, y)
            for y in (labels, rows, np.eye(3, dtype=dtype)[np.searchsorted([-5, 0, 7], labels)])
        ]
        assert found[0].complexity.dtype == found[0].relevance.dtype == dtype
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose([one.complexity for one in found], whole, atol=tolerance)
    expected = [whole - by_class, whole - by_row, whole - by_class]
    np.testing.assert_allclose([one.relevance for one in found], expected, atol=tolerance)


def test_a_linear_network_has_the_closed_form():
    """Of inputs whose sample covariance is exactly the stated one."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 4))
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x.T, ddof=0)), (x - x.mean(0)).T).T  # covariance 1
    w, root = rng.normal(size=(3, 4)), rng.normal(size=(4, 4))
    with jax.enable_x64(True):
        found = NoisyGaussian(NOISE).layer(x @ root.T @ w.T, np.zeros(500, int))
        exact = gaussian_layer_information(w, root @ root.T, NOISE)
        assert float(found.complexity) == pytest.approx(float(exact), abs=1e-12)
        assert found.relevance == 0
        signal = w @ root @ root.T @ w.T
        channel = gaussian_information(root @ root.T, root @ root.T @ w.T, signal + NOISE * np.eye(3))
        assert float(found.complexity) == pytest.approx(float(channel), abs=1e-10)


def test_above_the_kernel_bounds():
    """A normal density of the same covariance has more entropy than any other: five points are far from normal."""
    t = np.repeat(np.array([-2.0, -1.0, 0.0, 1.5, 4.0]), 20)[:, None].astype(np.float32)
    labels = np.arange(100) % 2
    assert NoisyGaussian(0.01).layer(t, labels).complexity > np.log(5)
    assert KernelBounds(0.01).layer(t, labels).complexity == pytest.approx(np.log(5), abs=1e-3)


def test_gradients():
    t, labels, _ = layer_of(30)
    with jax.enable_x64(True):

        def loss(t):
            found = NoisyGaussian(NOISE).layer(t, labels)
            return found.complexity - 2 * found.relevance

        gradient = jax.jit(jax.grad(loss))(jnp.asarray(t))
        for i, j in [(0, 0), (7, 2), (29, 1)]:
            step = np.zeros_like(t)
            step[i, j] = 1e-5
            assert float(gradient[i, j]) == pytest.approx(float(loss(t + step) - loss(t - step)) / 2e-5, abs=1e-7)


def test_labels_unknown_in_a_program_and_what_carries_nothing():
    t, labels, _ = layer_of(60, dtype=np.float32)
    layer = jax.jit(lambda t, y: NoisyGaussian(NOISE).layer(t, y))
    np.testing.assert_allclose(layer(t, labels), NoisyGaussian(NOISE).layer(t, labels), atol=1e-6)
    assert layer(np.full_like(t, 0.1), labels) == (0, 0)
    bad = t.copy()
    bad[0, 0] = np.nan
    assert np.isnan(layer(bad, labels)).all()
    assert np.isnan(layer(bad, 0 * labels)).all()


def test_parse_and_bad_settings(unchecked):
    assert str(parse_layer("noisy-gaussian:noise_variance=0.5")) == "noisy-gaussian:noise_variance=0.5"
    with pytest.raises(InputError, match="noise_variance must be a positive number"):
        NoisyGaussian(0.0).checked()
    with pytest.raises(InputError, match="y must be integer labels for NoisyGaussian"):
        NoisyGaussian()(np.zeros((3, 1)), np.zeros(3))
