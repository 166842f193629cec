"""Bounds of score matrices: hand-written references, closed forms, weights, standard errors, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from ibjax.neural import bounds

BOUNDS = (bounds.info_nce, bounds.nwj, bounds.donsker_varadhan, bounds.smile, bounds.jensen_shannon)
CLIP = 5.0


def name(bound):
    return bound.__name__


def reference(bound, s):
    """Loops over pairs."""
    n = len(s)
    pairs = [s[i, i] for i in range(n)]
    others = np.array([s[i, j] for i in range(n) for j in range(n) if i != j])
    if bound is bounds.info_nce:
        return np.mean([s[i, i] - logsumexp(s[i]) + np.log(n) for i in range(n)])
    if bound is bounds.nwj:
        return np.mean(pairs) + 1 - np.exp(others).mean()
    if bound is bounds.donsker_varadhan:
        return np.mean(pairs) - np.log(np.exp(others).mean())
    if bound is bounds.smile:
        return np.mean(pairs) - np.log(np.exp(np.clip(others, -CLIP, CLIP)).mean())
    return np.mean(-np.log1p(np.exp(-np.array(pairs)))) - np.log1p(np.exp(others)).mean()


def scores(n, seed=0, spread=2.0):
    return np.random.default_rng(seed).normal(size=(n, n)) * spread


def ratio_scores(rng, n, rho):
    """Log density ratio of every pair of n samples of two normals of correlation rho."""
    x = rng.normal(size=n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
    quadratic = rho**2 * (x[:, None] ** 2 + y**2) - 2 * rho * x[:, None] * y
    return -0.5 * np.log1p(-(rho**2)) - quadratic / (2 * (1 - rho**2))


@pytest.mark.parametrize("bound", BOUNDS, ids=name)
@pytest.mark.parametrize("n", [2, 17])
def test_the_reference(bound, n):
    s, of = scores(n, spread=4), jax.jit(bound)
    with jax.enable_x64(True):
        expected = reference(bound, s)
        np.testing.assert_allclose(of(s), expected, rtol=1e-10)
        np.testing.assert_allclose(of(s, np.full(n, 1 / n)), expected, rtol=1e-10)
    single = of(s.astype(np.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5)


@pytest.mark.parametrize("bound", BOUNDS, ids=name)
def test_order_and_zero(bound):
    s, of = jnp.asarray(scores(9)), jax.jit(bound)
    rows = np.random.default_rng(1).permutation(9)
    np.testing.assert_allclose(of(s[rows][:, rows]), of(s), rtol=1e-5)
    zero = of(jnp.zeros((9, 9)))
    np.testing.assert_allclose(zero, -2 * np.log(2) if bound is bounds.jensen_shannon else 0, atol=1e-6)


def test_constants_that_change_nothing():
    """InfoNCE does not see what depends on x alone, Donsker-Varadhan no constant; the others see both."""
    s, of_x = jnp.asarray(scores(6, spread=4)), jnp.arange(6.0)[:, None]
    for bound in BOUNDS:
        of = jax.jit(bound)
        moved = abs(of(s + 0.5) - of(s)) > 1e-3
        assert moved == (bound in (bounds.nwj, bounds.smile, bounds.jensen_shannon))
        assert (abs(of(s + of_x) - of(s)) > 1e-3) == (bound is not bounds.info_nce)


@pytest.mark.parametrize("bound", [bounds.info_nce, bounds.nwj, bounds.donsker_varadhan], ids=name)
def test_the_best_critic_attains_the_information(bound):
    rho, rng = 0.8, np.random.default_rng(0)
    truth = -0.5 * np.log1p(-(rho**2))
    of = jax.jit(bound)
    values = [float(of(jnp.asarray(ratio_scores(rng, 400, rho), jnp.float32))) for _ in range(60)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - truth) < 4 * error + 0.01
    # A worse one does not: less, by many errors.
    worse = [float(of(jnp.asarray(0.5 * ratio_scores(rng, 400, rho), jnp.float32))) for _ in range(60)]
    assert np.mean(worse) < truth - 0.03


def test_the_ceiling():
    far = jnp.eye(8) * 1e3
    np.testing.assert_allclose(bounds.info_nce(far), np.log(8), rtol=1e-6)
    assert bounds.donsker_varadhan(far) > 900
    with jax.enable_x64(True):
        s = scores(8, spread=30)
        assert bounds.info_nce(jnp.asarray(s)) <= np.log(8)
        # What the ceiling takes: with each pair's own score left out of its sum there is none.
        without = np.mean([s[i, i] - logsumexp(np.delete(s[i], i)) + np.log(7) for i in range(8)])
        np.testing.assert_allclose(bounds.saturation(jnp.asarray(s)), without - bounds.info_nce(jnp.asarray(s)))
    np.testing.assert_allclose(bounds.saturation(jnp.zeros((8, 8))), 0, atol=1e-6)
    np.testing.assert_allclose(bounds.saturation(far), 1000 + np.log(7 / 8) - np.log(7), rtol=1e-5)


def test_large_scores_do_not_overflow():
    s = jnp.asarray(scores(6) * 1e3, jnp.float32)
    for bound in (bounds.info_nce, bounds.donsker_varadhan, bounds.smile, bounds.jensen_shannon):
        value, gradient = jax.jit(jax.value_and_grad(bound))(s)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_clipping():
    s = jnp.asarray(scores(7, spread=6))
    np.testing.assert_allclose(bounds.smile(s, clip=np.inf), bounds.donsker_varadhan(s), rtol=1e-6)
    np.testing.assert_allclose(bounds.smile(s, clip=0.0), jnp.diagonal(s).mean(), rtol=1e-6)


@pytest.mark.parametrize("bound", BOUNDS, ids=name)
def test_a_sample_of_weight_0_is_not_there(bound):
    s = scores(6)
    with jax.enable_x64(True):
        weights = jnp.array([0.2, 0.2, 0.2, 0.0, 0.2, 0.2])
        rest = np.delete(np.delete(s, 3, 0), 3, 1)
        np.testing.assert_allclose(bound(jnp.asarray(s), weights), reference(bound, rest), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("bound", BOUNDS, ids=name)
def test_the_standard_error_is_the_deviation(bound):
    rng = np.random.default_rng(3)
    many = jnp.asarray(np.stack([ratio_scores(rng, 200, 0.6) for _ in range(400)]), jnp.float32)
    values, errors = jax.jit(jax.vmap(lambda s: (bound(s), bounds.standard_error(bound, s))))(many)
    np.testing.assert_allclose(np.sqrt((errors**2).mean()), values.std(), rtol=0.15)


@pytest.mark.parametrize("bound", BOUNDS, ids=name)
def test_gradients(bound):
    s, step = scores(4), 1e-6
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(bound))(s)
        for i, j in np.ndindex(4, 4):
            d = np.zeros((4, 4))
            d[i, j] = step
            slope = (reference(bound, s + d) - reference(bound, s - d)) / (2 * step)
            np.testing.assert_allclose(gradient[i, j], slope, atol=1e-8)


def test_the_largest_share():
    s = scores(6)
    others = np.exp(s) * (1 - np.eye(6))
    expected = max(others.sum(axis=0).max(), others.sum(axis=1).max()) / others.sum()
    np.testing.assert_allclose(bounds.largest_share(jnp.asarray(s)), expected, rtol=1e-5)
    s[4, 2] = 200.0  # no exponential overflows
    np.testing.assert_allclose(bounds.largest_share(jnp.asarray(s)), 1, rtol=1e-5)


def test_the_moving_average():
    s = jnp.asarray(scores(5))
    others = np.exp(s)[~np.eye(5, dtype=bool)]
    (loss, log_average), gradient = jax.value_and_grad(bounds.donsker_varadhan_loss, has_aux=True)(
        s, jnp.log(3.0), jnp.asarray(0.25)
    )
    average = 0.75 * 3 + 0.25 * others.mean()
    np.testing.assert_allclose(log_average, np.log(average), rtol=1e-5)
    expected = np.exp(s) / 20 / average * (1 - np.eye(5)) - np.eye(5) / 5
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)
    assert np.isfinite(loss)
