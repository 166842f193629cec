"""Encoders of binned layers: hard ones are partitions, soft ones what their formula says."""

import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.bottleneck import encoder_information
from ibjax.errors import InputError
from ibjax.estimators import Binning
from ibjax.plane import binned_encoder


@pytest.fixture(scope="module")
def layer():
    return np.tanh(np.random.default_rng(0).normal(size=(60, 3))).astype(np.float32)


def test_hard_bins_have_the_information_of_the_estimator(layer):
    y = (layer[:, 0] > 0).astype(int)
    table = np.full(60, 1 / 60), np.eye(2)[y]
    wanted = Binning(bins=4).layer(jnp.asarray(layer), y)
    found = encoder_information(table, binned_encoder(layer, bins=4))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_soft_bins_are_a_softmax_over_the_cells_that_occur(layer):
    hard, soft = binned_encoder(layer, bins=5), binned_encoder(layer, bins=5, softness=0.4)
    width = 2 / 5
    cells = np.unique(np.clip(np.floor((layer.astype(float) + 1) / width), 0, 4), axis=0)
    centres = -1 + (cells + 0.5) * width
    assert soft.shape == hard.shape == (60, len(cells))
    wanted = np.exp([[-np.sum((h - c) ** 2) / (2 * (0.4 * width) ** 2) for c in centres] for h in layer.astype(float)])
    np.testing.assert_allclose(soft, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-12)


def test_without_noise_the_cell_is_its_own(layer):
    np.testing.assert_allclose(binned_encoder(layer, softness=1e-3), binned_encoder(layer), atol=1e-9)
    noisy = [
        encoder_information((np.full(60, 1 / 60), np.eye(60)), binned_encoder(layer, softness=s)) for s in (0.3, 3)
    ]
    assert noisy[0].complexity > noisy[1].complexity


def test_it_is_a_matter_of_rows(layer):
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_array_equal(binned_encoder(layer)[order], binned_encoder(layer[order]))
    beyond = binned_encoder(np.array([[-7.0], [1.0], [9.0]]), bins=2, softness=0.5)
    np.testing.assert_array_equal(beyond[1], beyond[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 1}, "bins must be 2 or more, got 1"),
        ({"low": 1.0}, "low < high, got 1.0 to 1.0"),
        ({"softness": -1.0}, "softness must be at least 0 and finite, in bin widths, got -1.0"),
        ({"softness": float("nan")}, "softness must be at least 0"),
    ],
)
def test_settings_that_make_no_sense(layer, settings, message):
    with pytest.raises(InputError, match=message):
        binned_encoder(layer, **settings)


def test_a_network_that_diverged():
    with pytest.raises(InputError, match=r"activation \[1, 0\] is not finite"):
        binned_encoder(np.array([[0.0], [np.nan]]))
