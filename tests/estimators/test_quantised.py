"""Quantised activations: against NumPy, and exact information by the estimators that exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import binned_information, entropy_of_rows

from ibjax.errors import InputError
from ibjax.estimators import Binning, Quantised, parse_layer, quantise

T = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
LABELS = (T.sum(axis=1) > 0).astype(int)


def by_numpy(t, bits, low, high):
    levels = low + (high - low) * np.arange(2**bits) / (2**bits - 1)
    return np.abs(np.asarray(t, float)[..., None] - levels).argmin(axis=-1)


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize(("low", "high"), [(None, None), (-1.0, 1.0), (0.0, None)])
def test_nearest_levels(bits, low, high):
    found = quantise(T, bits, low, high)
    assert found.dtype == jnp.float32
    low, high = T.min() if low is None else low, T.max() if high is None else high
    index = by_numpy(T, bits, float(low), float(high))
    np.testing.assert_allclose(found, low + (high - low) * index / (2**bits - 1), atol=1e-6)
    assert len(np.unique(found)) <= 2**bits


def test_quantising_again_changes_nothing():
    once = quantise(T, 4)
    np.testing.assert_array_equal(by_numpy(quantise(once, 4), 4, T.min(), T.max()), by_numpy(once, 4, T.min(), T.max()))


@pytest.mark.slow
@pytest.mark.parametrize("bits", [1, 5, 8, 11])
@pytest.mark.parametrize(("low", "high"), [(None, None), (-3.0, 2.0), (-50.0, 50.0)])
def test_the_information_is_that_of_two_existing_rules(bits, low, high):
    """Of the values themselves and of 2^bits bins over the layer's range, whichever levels are used."""
    t = quantise(T, bits, low, high)
    index = by_numpy(T, bits, *(float(t) for t in (T.min() if low is None else low, T.max() if high is None else high)))
    expected = binned_information(index, LABELS)
    for est in (Binning(rule="bits"), Binning(bins=2**bits, range="layer")):
        np.testing.assert_allclose(est.layer(t, jnp.asarray(LABELS)), expected, atol=1e-6)


def test_sixteen_bits_are_exact_by_value():
    assert len(np.unique(quantise(np.linspace(0, 1, 2**16, dtype=np.float32), 16))) == 2**16


def test_bins_of_activations_that_are_not_quantised_are_others():
    own = Binning(bins=4, range="layer").layer(jnp.asarray(T), jnp.asarray(LABELS)).complexity
    found = Binning(rule="bits").layer(quantise(T, 2), jnp.asarray(LABELS)).complexity
    assert found == pytest.approx(entropy_of_rows(by_numpy(T, 2, T.min(), T.max())), abs=1e-6)
    assert abs(own - found) > 0.05


def test_jit_vmap_and_precision():
    batch = np.stack([T, 3 * T])
    found = jax.jit(jax.vmap(quantise))(batch)
    for one, t in zip(found, batch, strict=True):
        np.testing.assert_allclose(one, quantise(t), rtol=1e-6, atol=1e-6)
    assert quantise(jnp.asarray(T, jnp.float16)).dtype == jnp.float16
    assert quantise(np.arange(5), 1).tolist() == [0, 0, 0, 4, 4]
    with jax.enable_x64(True):
        assert quantise(T.astype(float)).dtype == jnp.float64


def test_constant_and_not_finite():
    np.testing.assert_array_equal(quantise(np.full((3, 2), 0.7, np.float32)), np.float32(0.7))
    t = T.copy()
    t[0, 0] = np.nan
    assert np.isnan(quantise(t, low=-1, high=1)[0, 0])
    assert np.isnan(Binning(rule="bits").layer(quantise(t), jnp.asarray(LABELS))).all()


@pytest.mark.parametrize(
    ("t", "settings", "message"),
    [
        (T, {"bits": 0}, "bits must be a whole number from 1 to 16, got 0"),
        (T, {"bits": 17}, "bits must be a whole number from 1 to 16, got 17"),
        (T, {"bits": 2.0}, r"bits must be a whole number from 1 to 16, got 2\.0"),
        (T, {"low": 1.0, "high": 1.0}, r"low < high, got 1\.0 to 1\.0"),
        (T, {"low": np.nan}, "low must be a finite number, got nan"),
        (T, {"high": [1.0, 2.0]}, "high must be a finite number"),
        (T[:0], {}, "t must be real activations, got float32 of shape"),
        (T * 1j, {}, "t must be real activations, got complex64"),
    ],
)
def test_what_is_refused(t, settings, message, unchecked):
    with pytest.raises(InputError, match=message):
        quantise(t, **settings)


def test_the_estimator_measures_the_levels():
    for settings in ({"bits": 3}, {"bits": 2, "low": -1.0, "high": 1.0}):
        found = Quantised(**settings).layer(T, LABELS)
        levels = np.asarray(quantise(T, **settings))
        _, which = np.unique(levels, axis=0, return_inverse=True)
        expected = entropy_of_rows(which[:, None]), binned_relevance(which)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert float(Quantised(**settings)(T, LABELS).value) == pytest.approx(expected[1], rel=1e-6)
    assert str(parse_layer("quantised:bits=4")) == "quantised:bits=4"


def binned_relevance(which):
    rows = which[:, None]
    return entropy_of_rows(rows) + entropy_of_rows(LABELS[:, None]) - entropy_of_rows(np.c_[rows, LABELS])


def test_settings_of_the_estimator(unchecked):
    for settings in ({"bits": 0}, {"low": 1.0, "high": 0.0}):
        with pytest.raises(InputError):
            Quantised(**settings).checked()
