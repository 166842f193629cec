"""Soft binning: a plain NumPy form, the hard bins it tends to, and gradients against finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.estimators import ADVICE, Binning, SoftBinning, parse

N = 60
SETTINGS = [SoftBinning(), SoftBinning(bins=4, softness=0.6), SoftBinning(bins=7, range="fixed", low=-1.5, high=2.0)]


def samples(n=N, seed=0, dtype=np.float64):
    """A column, a column that depends on it, and labels."""
    x, e = np.random.default_rng(seed).normal(size=(2, n))
    return x.astype(dtype), (0.8 * x + 0.6 * e).astype(dtype), np.array([-3, 10**6, 4])[np.digitize(x, [-0.5, 0.6])]


def memberships(est, x):
    low, high = (est.low, est.high) if est.range == "fixed" else (x.min(), x.max())
    width = (high - low) / est.bins
    a = np.exp(-np.square(x[:, None] - low - width * (np.arange(est.bins) + 0.5)) / (2 * (est.softness * width) ** 2))
    return a / a.sum(axis=1, keepdims=True)


def entropy(p):
    return -sum(v * np.log(v) for v in p.ravel() if v > 0)


def plain(est, x, y):
    """The definition, in NumPy: the information and its ceiling."""
    sides = [memberships(est, a) if a.dtype.kind == "f" else (a[:, None] == np.unique(a)) * 1.0 for a in (x, y)]
    table = sides[0].T @ sides[1] / len(x)
    entropies = [entropy(side.mean(axis=0)) for side in sides]
    ceiling = min(h - np.mean([entropy(row) for row in side]) for h, side in zip(entropies, sides, strict=True))
    return sum(entropies) - entropy(table), ceiling


@functools.cache
def gradient(labels=False):
    return jax.jit(jax.grad(lambda est, x, y: est(x, y).value, argnums=(0, 1) if labels else (0, 1, 2)))


# --- The value ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("est", SETTINGS)
def test_the_definition(est):
    x, y, labels = samples()
    with jax.enable_x64(True):
        for other in (y, labels):
            found = est(x, other)
            value, ceiling = plain(est, x, other)
            assert float(found.value) == pytest.approx(value, abs=1e-12)
            assert float(est(other, x).value) == pytest.approx(value, abs=1e-12)
            assert float(found.diagnostics["ceiling"]) == pytest.approx(ceiling, abs=1e-12)
            single = est(x.astype(np.float32), other if other is labels else other.astype(np.float32))
            assert single.value.dtype == jnp.float32
            assert float(single.value) == pytest.approx(value, abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fixed", "neuron"])
def test_hard_bins_are_the_limit(kind):
    x, y, labels = samples(500)
    hard = Binning(bins=6, range=kind, low=-1.5, high=1.5)
    with jax.enable_x64(True):
        for other in (y, labels):
            expected = float(hard(x, other).value)
            gaps = [abs(float(SoftBinning(6, s, kind, -1.5, 1.5)(x, other).value) - expected) for s in (0.5, 0.1, 1e-4)]
            assert gaps[0] > gaps[1] > gaps[2]
            assert gaps[2] < 1e-9


@pytest.mark.slow
def test_values_far_outside_are_in_the_outermost_bins():
    est = SoftBinning(5, 0.25, "fixed", -1.0, 1.0)
    y = np.tile([0, 1], 20)
    for far in (1.5, 1e4, 1e18):
        x = np.where(y == 1, far, -far).astype(np.float32)
        assert float(est(x, y).value) == pytest.approx(np.log(2), abs=2e-3)
        assert np.isfinite(jax.grad(lambda x: est(x, y).value)(x)).all()


@pytest.mark.slow
def test_information_is_between_0_and_the_ceiling():
    for seed in range(5):
        x, y, labels = samples(seed=seed, dtype=np.float32)
        for other in (x, y, labels):
            found = SoftBinning()(x, other)
            assert -1e-6 < found.value <= found.diagnostics["ceiling"] + 1e-6
    ceiling = SoftBinning()(x, x).diagnostics["ceiling"]
    assert SoftBinning(softness=1.0)(x, x).diagnostics["ceiling"] < ceiling < np.log(10)


def test_units_of_the_columns_are_nothing():
    x, y, _ = samples(dtype=np.float32)
    found = float(SoftBinning()(x, y).value)
    assert float(SoftBinning()(1000 * x + 7, -0.01 * y).value) == pytest.approx(found, abs=1e-4)
    assert float(SoftBinning()(x[:, None], y).value) == found


def test_diagnostics():
    x, y, _ = samples(dtype=np.float32)
    found = SoftBinning()(x, y)
    assert found.std_error is None
    assert found.diagnostics["undersampled"]
    assert set(found.diagnostics) - {"ceiling", "cells"} <= set(ADVICE)
    many = SoftBinning(bins=3)(*samples(1000, dtype=np.float32)[:2])
    assert not many.diagnostics["undersampled"]
    assert 3 < many.diagnostics["cells"] < 9


@pytest.mark.parametrize("est", [SoftBinning(), SoftBinning(range="fixed")])
def test_a_constant_carries_nothing_and_has_a_finite_gradient(est):
    x, y, labels = (jnp.asarray(a) for a in samples(dtype=np.float32))
    for pair in ((jnp.full_like(x, 3), y), (x, jnp.full_like(y, 3)), (x, jnp.full_like(labels, 3))):
        found = est(*pair)
        assert float(found.value) == 0
        assert found.diagnostics["constant"]
    assert np.isfinite(jax.grad(lambda x: est(x, y).value)(jnp.full_like(x, 3))).all()


def test_two_samples():
    assert float(SoftBinning(2, 0.01)(np.array([0.0, 1.0]), np.array([5.0, 3.0])).value) == pytest.approx(np.log(2))


# --- Gradients ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("est", SETTINGS)
def test_gradients_are_finite_differences(est):
    x, y, labels = samples()
    h = 1e-6
    with jax.enable_x64(True):
        value = jax.jit(lambda est, x, y: est(x, y).value)
        of_est, of_x, of_y = gradient()(est, x, y)
        of_x_by_label = gradient(labels=True)(est, x, labels)[1]
        inner = np.flatnonzero((x > x.min()) & (x < x.max()) & (y > y.min()) & (y < y.max()))  # the range stays
        for i in inner[:8]:
            e = h * (np.arange(N) == i)
            assert float(of_x[i]) == pytest.approx(
                float(value(est, x + e, y) - value(est, x - e, y)) / (2 * h), abs=1e-8
            )
            assert float(of_y[i]) == pytest.approx(
                float(value(est, x, y + e) - value(est, x, y - e)) / (2 * h), abs=1e-8
            )
            difference = float(value(est, x + e, labels) - value(est, x - e, labels)) / (2 * h)
            assert float(of_x_by_label[i]) == pytest.approx(difference, abs=1e-8)
        assert np.abs(of_x).max() > 1e-3
        up, down = (SoftBinning(est.bins, est.softness + d, est.range, est.low, est.high) for d in (h, -h))
        assert float(of_est.softness) == pytest.approx(float(value(up, x, y) - value(down, x, y)) / (2 * h), abs=1e-7)


def test_the_ends_of_the_own_range_are_held():
    """At the extremes too the gradient is that under the fixed range of the same ends."""
    x, y, _ = samples()
    with jax.enable_x64(True):
        fixed = SoftBinning(range="fixed", low=x.min(), high=x.max())
        y = np.interp(y, [y.min(), y.max()], [x.min(), x.max()])
        np.testing.assert_allclose(gradient()(SoftBinning(), x, y)[1], gradient()(fixed, x, y)[1], atol=1e-12)


@pytest.mark.slow
def test_it_is_a_loss():
    """Ascent makes a column tell labels that it did not tell."""
    y = np.tile([0, 1], N // 2)
    x = np.random.default_rng(0).normal(size=N).astype(np.float32)
    est = SoftBinning(bins=4, softness=0.5, range="fixed", low=-2.0, high=2.0)

    @jax.jit
    def ascend(x):
        return jax.lax.fori_loop(0, 200, lambda _, x: x + 5 * jax.grad(lambda x: est(x, y).value)(x), x)

    assert float(est(x, y).value) < 0.1
    assert float(est(ascend(x), y).value) > 0.5


# --- Transformations and bad input -------------------------------------------------------------------------


def test_settings_may_be_mapped():
    x, y, _ = samples(dtype=np.float32)
    softness = jnp.array([0.1, 0.4, -1.0])
    found = jax.jit(jax.vmap(lambda s: SoftBinning(softness=s)(x, y)))(softness)
    expected = [float(SoftBinning(softness=s)(x, y).value) for s in (0.1, 0.4)]
    np.testing.assert_allclose(found.value[:2], expected, atol=2e-6)
    assert np.isnan(found.value[2])
    np.testing.assert_array_equal(found.diagnostics["non_finite"], [False, False, True])


def test_it_has_a_name():
    assert parse("soft-binning:bins=5,softness=0.5,range=fixed,low=0") == SoftBinning(5, 0.5, "fixed", 0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 1}, "bins must be"),
        ({"bins": 4.0}, "bins must be"),
        ({"softness": 0.0}, "softness must be positive"),
        ({"softness": float("nan")}, "softness must be positive"),
        ({"range": "layer"}, "unknown binning range"),
        ({"low": 1.0}, "low < high"),
        ({"high": float("inf")}, "low < high"),
    ],
)
def test_settings_that_make_no_sense(unchecked, settings, message):
    x, y, _ = samples()
    with pytest.raises(InputError, match=message):
        SoftBinning(**settings)(x, y)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.array([1.0, np.nan, 2.0]), np.ones(3), "x has a value that is not finite in row 1"),
        (np.ones(3), np.ones(4), "numbers of samples differ"),
        (np.ones(1), np.ones(1), "x has 1 samples"),
        (np.ones((3, 2)), np.ones(3), "x has 2 columns, SoftBinning takes one"),
        (np.ones(3), np.ones((3, 0)), "y has no column"),
        (np.arange(3), np.arange(3), "both labels"),
        (np.array(["a", "b"]), np.ones(2), "x must be real numbers"),
        (np.ones((3, 1, 1)), np.ones(3), "x must have shape"),
    ],
)
def test_samples_that_make_no_sense(unchecked, x, y, message):
    with pytest.raises(InputError, match=message):
        SoftBinning()(x, y)
