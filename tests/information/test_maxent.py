"""Maximum entropy: closed forms, the conditions of a minimum, an independent minimiser, and moments that cannot be."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from ibjax.errors import InputError
from ibjax.information import MaximumEntropyStatus, entropy, kl_divergence, maximum_entropy

FACES = np.arange(1, 7)
CONVERGED, INFEASIBLE, STEPS, NOT_FINITE = MaximumEntropyStatus


def check(found, prior, features, means):
    """The conditions under which a distribution is the one: its form, its moments, and a dual without a gap."""
    prior, features = np.asarray(prior, float), np.asarray(features, float).reshape(len(prior), -1)
    means = np.atleast_1d(means)
    assert found.status == CONVERGED
    assert found.p.sum() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(found.p @ features, means, atol=1e-12 * (1 + abs(features).max()))
    with np.errstate(under="ignore"):
        form = prior * np.exp(features @ found.multipliers - found.log_partition)
    np.testing.assert_allclose(found.p, form, rtol=1e-9, atol=1e-13)
    assert found.divergence == pytest.approx(found.multipliers @ means - found.log_partition, rel=1e-9, abs=1e-9)
    assert found.divergence == pytest.approx(kl_divergence(found.p, prior), rel=1e-11, abs=1e-11)


def test_jaynes_die():
    """Brandeis lectures (1962): a die that shows 4.5 on average."""
    found = maximum_entropy(np.ones(6), FACES, 4.5)
    check(found, np.ones(6), FACES, 4.5)
    np.testing.assert_allclose(found.p, [0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749], atol=5e-6)
    assert -found.divergence == pytest.approx(1.61358, abs=5e-6)
    # Its root by another way.
    growth = optimize.brentq(
        lambda g: (FACES * np.exp(g * FACES)).sum() / np.exp(g * FACES).sum() - 4.5, 0, 1, xtol=1e-14
    )
    np.testing.assert_allclose(found.multipliers, [growth], rtol=1e-12)


def test_no_news_is_the_prior():
    np.testing.assert_allclose(maximum_entropy(np.ones(6), FACES, 3.5).p, 1 / 6, rtol=1e-15)
    prior = np.random.default_rng(0).dirichlet(np.ones(9))
    features = np.random.default_rng(1).normal(size=(9, 3))
    found = maximum_entropy(prior, features, prior @ features)
    np.testing.assert_allclose(found.p, prior, rtol=1e-13)
    np.testing.assert_allclose(found.multipliers, 0, atol=1e-13)
    assert found.divergence == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("mean", [0.5, 4.0, 30.0])
def test_geometric(mean):
    """A given mean of 0, 1, 2, ...; the support ends where nothing is left."""
    n = np.arange(5000)
    found = maximum_entropy(np.ones(5000), n, mean)
    np.testing.assert_allclose(found.p, stats.geom.pmf(n + 1, 1 / (1 + mean)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.multipliers, [math.log(mean / (1 + mean))], rtol=1e-10)


@pytest.mark.parametrize("theta", [0.01, 0.3, 0.9])
def test_binomial_is_the_geometric_of_counted_states(theta):
    k = np.arange(41)
    states = special.comb(40, k)
    found = maximum_entropy(states, k, 40 * theta)
    check(found, states, k, 40 * theta)
    np.testing.assert_allclose(found.p, stats.binom.pmf(k, 40, theta), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.multipliers, [special.logit(theta)], rtol=1e-12)


def test_poisson_of_its_measure():
    k = np.arange(60)
    found = maximum_entropy(1 / special.factorial(k), k, 3.0)
    np.testing.assert_allclose(found.p, stats.poisson.pmf(k, 3.0), rtol=1e-9, atol=1e-14)
    assert found.log_partition == pytest.approx(3.0, rel=1e-12)


def test_discretised_normal():
    x = np.linspace(-12, 14, 2001)
    features = np.stack([x, x**2], axis=1)
    found = maximum_entropy(np.full(2001, x[1] - x[0]), features, [1.0, 1.0 + 0.7**2])
    np.testing.assert_allclose(found.multipliers, [1 / 0.49, -0.5 / 0.49], rtol=1e-9)
    np.testing.assert_allclose(found.p / (x[1] - x[0]), stats.norm.pdf(x, 1, 0.7), atol=1e-10)
    assert -found.divergence == pytest.approx(stats.norm.entropy(1, 0.7), abs=1e-10)


def test_given_marginals_make_variables_independent():
    p_x, p_y = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.4])
    cells = list(itertools.product(range(3), range(2)))
    features = np.array([[*np.eye(3)[i], *np.eye(2)[j]] for i, j in cells])  # five that depend on each other
    found = maximum_entropy(np.ones(6), features, np.concatenate([p_x, p_y]))
    np.testing.assert_allclose(found.p.reshape(3, 2), np.outer(p_x, p_y), rtol=1e-12)


def moments(seed, n, k, spread=1.0):
    rng = np.random.default_rng(seed)
    prior, features = rng.dirichlet(np.ones(n)), rng.normal(size=(n, k))
    return prior, features, rng.dirichlet(np.full(n, spread)) @ features


@pytest.mark.slow
@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([(5, 1), (9, 3), (30, 6)]), st.sampled_from([0.1, 1.0]))
def test_random_moments_meet_the_conditions(seed, shape, spread):
    prior, features, means = moments(seed, *shape, spread)
    found = maximum_entropy(prior, features, means)
    check(found, prior, features, means)
    # Pythagoras (Csiszár): every q with these means is farther from the prior, by exactly KL(q || p).
    q = np.random.default_rng(seed).dirichlet(np.full(shape[0], 1.0))
    there = maximum_entropy(q, features, means).p
    if found.p.min() > 1e-6:
        total = kl_divergence(there, found.p) + kl_divergence(found.p, prior)
        assert kl_divergence(there, prior) == pytest.approx(total, rel=1e-8, abs=1e-8)


def test_another_minimiser_agrees():
    prior, features, means = moments(3, 8, 2)
    found = maximum_entropy(prior, features, means)
    other = optimize.minimize(
        lambda p: kl_divergence(p, prior),
        prior,
        method="SLSQP",
        bounds=[(1e-9, 1)] * 8,
        constraints=[{"type": "eq", "fun": lambda p: np.append(p @ features - means, p.sum() - 1)}],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found.p, other.x, atol=1e-6)
    assert found.divergence <= other.fun + 1e-10


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_units_order_and_total_do_not_matter(seed):
    prior, features, means = moments(seed, 9, 3)
    found = maximum_entropy(prior, features, means)
    scale, shift = np.array([1e-9, 1.0, 1e7]), np.array([0.0, -3.0, 1e8])
    scaled = maximum_entropy(1e-200 * prior, features * scale + shift, means * scale + shift)
    np.testing.assert_allclose(scaled.p, found.p, rtol=1e-5)
    np.testing.assert_allclose(scaled.multipliers * scale, found.multipliers, rtol=1e-5, atol=1e-6)
    order = np.random.default_rng(seed).permutation(9)
    np.testing.assert_allclose(maximum_entropy(prior[order], features[order], means).p, found.p[order], rtol=1e-9)
    twice = np.concatenate([prior, prior]) / 2, np.concatenate([features, features])
    np.testing.assert_allclose(maximum_entropy(*twice, means).p[:9] * 2, found.p, rtol=1e-9)


def test_dependent_and_constant_features():
    prior, features, means = moments(0, 9, 2)
    found = maximum_entropy(prior, features, means)
    extra = np.stack([*features.T, features @ [2.0, -1.0] + 3, np.full(9, 7.0)], axis=1)
    more = maximum_entropy(prior, extra, np.append(means, [means @ [2.0, -1.0] + 3, 7.0]))
    np.testing.assert_allclose(more.p, found.p, rtol=1e-11)
    check(more, prior, extra, np.append(means, [means @ [2.0, -1.0] + 3, 7.0]))
    with pytest.raises(InputError, match="no distribution on the prior's support has these means"):
        maximum_entropy(prior, extra, np.append(means, [means @ [2.0, -1.0] + 3.01, 7.0]))


def test_symbols_without_mass_stay_without():
    found = maximum_entropy([1, 0, 1, 1, 0], [1, 2, 3, 5, np.pi], 2.5)
    assert found.p[1] == found.p[4] == 0
    check(found, [1, 0, 1, 1, 0], [1, 2, 3, 5, np.pi], 2.5)
    one = maximum_entropy([0, 3.0, 0], [1, 2, 3], 2)
    np.testing.assert_array_equal(one.p, [0, 1, 0])
    assert one.divergence == pytest.approx(-math.log(3))


def test_a_prior_of_any_scale():
    found = maximum_entropy([1, 1e-300, 1e-300], [1, 2, 3], 2.5)
    check(found, [1, 1e-300, 1e-300], [1, 2, 3], 2.5)
    np.testing.assert_allclose(
        maximum_entropy(np.full(6, 1e308), FACES, 4.5).p, maximum_entropy(np.ones(6), FACES, 4.5).p
    )


def test_the_edge_is_reached_to_the_tolerance():
    for n in (6, 3000):
        found = maximum_entropy(np.ones(n), np.arange(n), n - 1)
        assert found.status == CONVERGED
        np.testing.assert_allclose(found.p, np.eye(n)[-1], atol=1e-8)
    # An edge of a square: independent of the other side.
    square = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    found = maximum_entropy(np.ones(4), square, [1.0, 0.25])
    np.testing.assert_allclose(found.p, [0, 0, 0.75, 0.25], atol=1e-11)
    # What rounding puts beyond the edge is on it.
    assert maximum_entropy(np.ones(6), FACES, np.nextafter(6, 7)).status == CONVERGED


def test_moments_inside_every_range_may_still_be_impossible():
    triangle = np.array([[0, 0], [0, 1], [1, 0.0]])
    assert maximum_entropy(np.ones(3), triangle, [0.6, 0.4]).status == CONVERGED
    with pytest.raises(InputError, match="no distribution on the prior's support has these means"):
        maximum_entropy(np.ones(3), triangle, [0.6, 0.401])
    traced = jax.jit(maximum_entropy)(np.ones(3), triangle, np.array([0.6, 0.401]))
    assert traced.status == INFEASIBLE
    assert np.isnan(traced.p).all()
    with pytest.raises(InputError, match="no distribution on the prior's support"):
        traced.raise_for_status()


def test_few_steps_are_a_status():
    found = maximum_entropy(np.ones(6), FACES, 4.5, steps=1)
    assert found.status == STEPS
    assert found.steps == 1
    assert found.residual > 1e-12
    assert np.isfinite(found.p).all()
    with pytest.raises(InputError, match="not converged: raise steps or tolerance"):
        found.raise_for_status()
    done = maximum_entropy(np.ones(6), FACES, 4.5)
    assert done.raise_for_status() is done
    assert maximum_entropy(np.ones(6), FACES, 4.5, tolerance=1.0).status == CONVERGED


def test_precision_and_place():
    host = maximum_entropy(np.ones(6, np.float32), FACES, 4.5)
    assert all(isinstance(a, np.ndarray) for a in host)
    assert host.p.dtype == host.multipliers.dtype == np.float64
    device = maximum_entropy(jnp.ones(6), FACES, 4.5)
    assert device.p.dtype == device.divergence.dtype == jnp.float32
    np.testing.assert_allclose(device.p, host.p, rtol=1e-7)
    with jax.enable_x64(True):
        double = jax.jit(maximum_entropy)(np.ones(6), FACES, 4.5)
        assert double.p.dtype == jnp.float64
        np.testing.assert_allclose(double.p, host.p, rtol=1e-14)
    assert jnp.ones(1).dtype == jnp.float32


def test_jit_and_map():
    cases = [moments(seed, 9, 3) for seed in range(4)]
    cases[1] = (*cases[1][:2], cases[1][1].max(axis=0) + 1)  # cannot be
    stacked = [np.stack(a) for a in zip(*cases, strict=True)]
    mapped = jax.jit(jax.vmap(maximum_entropy))(*stacked)
    assert mapped.status.tolist() == [CONVERGED, INFEASIBLE, CONVERGED, CONVERGED]
    for i in (0, 2, 3):
        exact = maximum_entropy(*cases[i])
        np.testing.assert_allclose(mapped.p[i], exact.p, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(jax.jit(maximum_entropy)(*cases[i]).p, mapped.p[i], rtol=1e-5, atol=1e-7)
        assert abs(mapped.steps[i] - exact.steps) <= 1
    # Means alone: a die of every average.
    averages = jnp.linspace(1.5, 5.5, 9)
    dice = jax.vmap(lambda mean: maximum_entropy(np.ones(6), FACES, mean))(averages)
    np.testing.assert_allclose(dice.p @ FACES, averages, rtol=1e-6)
    np.testing.assert_allclose(entropy(dice.p), -dice.divergence, rtol=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        ([1, np.nan, 1], [1, 2, 3], 2.0),
        ([1, -1, 1], [1, 2, 3], 2.0),
        ([0, 0, 0], [1, 2, 3], 2.0),
        ([1, 1, 1], [1, np.inf, 3], 2.0),
        ([1, 1, 1], [1, 2, 3], np.nan),
    ],
)
def test_bad_values_are_nan_inside(bad):
    bad = [np.array(a, float) for a in bad]
    with pytest.raises(InputError):
        maximum_entropy(*bad)
    found = jax.jit(maximum_entropy)(*bad)
    assert found.status == NOT_FINITE
    assert np.isnan(found.p).all()
    with pytest.raises(InputError, match="a value is NaN or infinite"):
        found.raise_for_status()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((np.ones(6), FACES, 6.5), r"means\[0\] is 6.5, outside \[1, 6\], what feature 0 can have on average"),
        (([1, 1, 0], [1, 2, 3], 2.5), r"outside \[1, 2\]"),
        ((np.ones(3), np.eye(3), [0.2, 1.2, 0]), r"means\[1\] is 1.2, outside \[0, 1\]"),
        (([1, -1e-9], [1, 2], 1.5), r"prior\[1\] is -1e-09: no mass is negative"),
        (([1, 1], [[1, 2], [3, np.nan]], [1, 2]), r"features\[1, 1\] is nan"),
        (([1, 1], [1, 2], np.inf), r"means\[0\] is inf"),
        (([0, 0], [1, 2], 1.5), "the prior is 0 everywhere"),
        (([], [], 1.5), r"features have shape \(0, 1\)"),
        (([1, 1], np.zeros((2, 0)), []), r"features have shape \(2, 0\)"),
        ((np.ones((2, 2)), [1, 2], 1.5), r"prior must be \(n,\).* use vmap for a batch"),
        (([1, 1], [1, 2, 3], 1.5), r"got \(2,\), \(3, 1\) and \(1,\)"),
        (([1, 1], [1, 2], [1.5, 2]), r"got \(2,\), \(2, 1\) and \(2,\)"),
        ((["a", "b"], [1, 2], 1.5), "prior must be real numbers"),
        (([1, 1], [1j, 2], 1.5), "features must be real numbers"),
    ],
)
def test_bad_input(args, message):
    with pytest.raises(InputError, match=message):
        maximum_entropy(*args)
