"""The noisy layer by nearest neighbours: closed forms, the kernel bounds, and its settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.estimators import KSG, KernelBounds, NoisyKSG, knn_entropy, parse_layer


def test_normal_layers_have_a_closed_form():
    t = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32) * [1.0, 2.0]
    found = NoisyKSG(0.5, k=5).layer(t, (t[:, 0] > 0).astype(int))
    assert float(found.complexity) == pytest.approx(0.5 * np.log(3) + 0.5 * np.log(9), abs=0.08)


def test_between_the_kernel_bounds_where_all_inputs_are_given():
    """With several draws for each of the n inputs, X is uniform on them, as the bounds have it."""
    t = np.linspace(-1, 1, 60)[:, None].astype(np.float32)
    labels = (t[:, 0] > 0).astype(int)
    upper, lower = (KernelBounds(1e-3, bound=bound).layer(t, labels).complexity for bound in ("upper", "lower"))
    found = NoisyKSG(1e-3, k=4, draws=40).layer(t, labels)
    assert lower - 0.05 < found.complexity < upper + 0.05
    assert float(found.relevance) == pytest.approx(np.log(2), abs=0.1)


@pytest.mark.slow
def test_it_is_an_entropy_less_the_noise_and_an_estimate_of_labels():
    t = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    labels = (t[:, 0] > 0).astype(int)
    noisy = t + np.sqrt(np.float32(0.1)) * jax.random.normal(jax.random.split(jax.random.key(0))[0], t.shape)
    found = NoisyKSG().layer(t, labels)
    of_noise = 1.5 * np.log(2 * np.pi * np.e * 0.1)
    assert float(found.complexity) == pytest.approx(float(knn_entropy(noisy).value) - of_noise, abs=1e-4)
    assert float(found.relevance) == pytest.approx(float(KSG()(noisy, labels).value), abs=1e-5)


def test_rows_have_their_labels_drawn():
    t = np.random.default_rng(2).normal(size=(300, 1)).astype(np.float32)
    labels = (t[:, 0] > 0).astype(int)
    certain = NoisyKSG(0.01).layer(t, np.eye(2, dtype=np.float32)[labels])
    assert float(certain.relevance) == pytest.approx(float(NoisyKSG(0.01).layer(t, labels).relevance), abs=1e-6)
    nothing = NoisyKSG(0.01, draws=4).layer(t, np.full((300, 2), 0.5, np.float32))
    assert abs(nothing.relevance) < 0.08


def test_the_key_is_that_of_the_noise():
    x = np.random.default_rng(3).normal(size=(100, 1)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    first, again, other = (NoisyKSG()(x, y, jax.random.key(seed)).value for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert NoisyKSG()(x, y).value == NoisyKSG().layer(x, y).relevance


def test_the_noise_compiles_nothing_new():
    t, labels = jnp.arange(30.0)[:, None], jnp.arange(30) % 2
    layer = jax.jit(lambda estimator: estimator.layer(t, labels))
    for noise in (0.1, 0.2):
        layer(NoisyKSG(noise))
    assert layer._cache_size() == 1


def test_a_constant_layer_has_nothing():
    found = NoisyKSG().layer(jnp.ones((50, 2)), jnp.arange(50) % 2)
    assert found == (0, 0)
    assert np.isnan(NoisyKSG().layer(jnp.full((50, 2), jnp.nan), jnp.arange(50) % 2)).all()


def test_its_name_says_its_settings():
    assert str(parse_layer("noisy-ksg:noise_variance=0.2,draws=3")) == "noisy-ksg:noise_variance=0.2,k=3,draws=3"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k"),
        ({"k": (1, 2)}, "one whole number"),
        ({"draws": 0}, "draws must be"),
        ({"noise_variance": 0.0}, "positive"),
        ({"noise_variance": float("nan")}, "positive"),
    ],
)
def test_wrong_settings(settings, message, unchecked):
    with pytest.raises(InputError, match=message):
        NoisyKSG(**settings).checked()


def test_wrong_samples(unchecked):
    with pytest.raises(InputError, match="use KSG for real y"):
        NoisyKSG()(np.arange(9.0), np.arange(9.0))
    with pytest.raises(InputError, match="4 or more"):
        NoisyKSG()(np.arange(3.0), np.arange(3))
