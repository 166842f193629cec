"""Growth exponents of planted drifts and of random walks."""

import numpy as np
import pytest
import scipy.stats

from ibjax.errors import InputError
from ibjax.plane import growth_exponents
from ibjax.training import snapshot_epochs

EPOCHS = snapshot_epochs(10_000, 120)


def planted(replicas, change, before=1.0, after=0.5, sigma=0.05, seed=0):
    time = EPOCHS / change
    clean = np.where(time < 1, time**before, np.maximum(time, 1e-9) ** after)
    return clean * np.exp(sigma * np.random.default_rng(seed).normal(size=(replicas, EPOCHS.size)))


@pytest.mark.parametrize(("before", "after"), [(1.0, 0.5), (0.5, 0.1), (1.0, 0.0)])
def test_planted_exponents_are_found(before, after):
    distance, change = planted(10, 300.0, before, after), np.full(10, 300.0)
    found = growth_exponents(EPOCHS, distance, change)
    assert found.before.shape == (10,)
    for interval, truth in ((found.before_interval, before), (found.after_interval, after)):
        assert interval.low - 0.01 <= truth <= interval.high + 0.01
        assert interval.high - interval.low < 0.1
    side = (EPOCHS > 0) & (EPOCHS <= 300)
    oracle = scipy.stats.linregress(np.log(EPOCHS[side]), np.log(distance[3, side])).slope
    assert found.before[3] == pytest.approx(oracle)


def test_a_random_walk_diffuses_and_a_steady_one_drifts():
    steps = np.random.default_rng(0).normal(size=(4, 1000, 200))
    walk, drift = np.cumsum(steps, axis=1), np.cumsum(0.1 * steps + 1.0, axis=1)
    epochs = np.arange(1, 1001)
    for path, exponent in ((walk, 0.5), (drift, 1.0)):
        found = growth_exponents(epochs, np.linalg.norm(path, axis=-1), np.full(4, 100.0))
        assert abs(found.before_interval.value - exponent) < 0.05
        assert abs(found.after_interval.value - exponent) < 0.05


def test_layers_scale_and_order_of_replicas():
    distance = np.stack([planted(6, 300.0), planted(6, 300.0, 0.6, 0.2)], axis=1)
    change = np.full((6, 2), 300.0)
    found, scaled = growth_exponents(EPOCHS, distance, change), growth_exponents(EPOCHS, 7 * distance, change)
    assert found.after_interval.low.shape == (2,)
    np.testing.assert_allclose(found.after, scaled.after, atol=1e-9)
    assert abs(found.before_interval.value[1] - 0.6) < 0.05
    turned = growth_exponents(EPOCHS, distance[::-1], change)
    np.testing.assert_array_equal(found.before, turned.before[::-1])


def test_censored_and_masked_replicas_are_left_out():
    distance, change = planted(5, 300.0), np.full(5, 300.0)
    distance[1, 50], change[2] = np.nan, np.nan
    found = growth_exponents(EPOCHS, distance, change)
    assert np.isnan(found.before).tolist() == [False, True, True, False, False]
    assert found.before_interval.value == pytest.approx(found.before[[0, 3, 4]].mean())


def test_too_few_snapshots_on_a_side():
    found = growth_exponents(EPOCHS, planted(1, 300.0), np.array([2.0]))
    assert np.isnan(found.before[0])
    assert np.isfinite(found.after[0])
    assert np.isnan(found.after_interval.low)


def test_single_precision_and_no_movement():
    found = growth_exponents(EPOCHS, planted(3, 300.0).astype(np.float32), np.full(3, 300.0))
    assert abs(found.after_interval.value - 0.5) < 0.05
    assert np.isnan(growth_exponents(EPOCHS, np.zeros((1, EPOCHS.size)), np.array([300.0])).before[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transition": np.ones(3)}, r"transition of shape \(3,\)"),
        ({"distance": -np.ones((2, 5))}, r"distance must not be negative, and is at index \[0, 0\]"),
        ({"distance": np.ones((2, 4))}, "does not fit 5 epochs"),
        ({"epochs": np.zeros(5)}, "at index 1"),
        ({"level": 0.0}, "level must lie"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(change, message):
    arguments = {"epochs": np.arange(5), "distance": np.ones((2, 5)), "transition": np.ones(2)} | change
    with pytest.raises(InputError, match=message):
        growth_exponents(**arguments)
