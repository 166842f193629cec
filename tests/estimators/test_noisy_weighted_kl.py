"""The noisy layer by weighted neighbours: the formula, closed forms, the guard and what it gains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.special import digamma, logsumexp

from ibjax.errors import InputError
from ibjax.estimators import NoisyKSG, NoisyWeightedKL, parse_layer
from ibjax.estimators.noisy_weighted_kl import _guarded
from ibjax.estimators.weighted_kl import weights

N, UNITS, K = 400, 5, 12


def normal(n=N, units=UNITS, seed=0):
    t = np.random.default_rng(seed).normal(size=(n, units)).astype(np.float32)
    return t, (t[:, 0] > 0).astype(int)


def reference(t, k):
    """Berrett et al. (2019), the entropy of rows from all distances of a tree."""
    n, units = t.shape
    radii = cKDTree(t.astype(np.float64)).query(t, k + 1, p=np.inf)[0][:, 1:]
    j = np.arange(1, k + 1)
    terms = units * np.log(2 * radii) - digamma(j) + digamma(n)
    return (terms @ weights(k, units)).mean()


def test_the_entropy_is_the_references():
    t, _ = normal()
    found, cautions = jax.jit(lambda t: _guarded(t, k=K))(t)
    assert float(found) == pytest.approx(reference(t, K), abs=1e-5)
    assert not any(cautions.values())


def test_normal_layers_have_a_closed_form_and_the_relevance_of_ksg():
    t, y = normal()
    found = NoisyWeightedKL(0.5, k=K).layer(t, y)
    assert float(found.complexity) == pytest.approx(UNITS / 2 * np.log(3), abs=0.3)
    assert found.relevance == NoisyKSG(0.5).layer(t, y).relevance


@pytest.mark.slow
def test_lanes_are_layers():
    t, y = normal()
    found = jax.vmap(lambda t: NoisyWeightedKL(k=K).layer(t, y))(jnp.stack([t, 2 * t]))
    assert found.complexity[0] == NoisyWeightedKL(k=K).layer(t, y).complexity
    assert found.complexity[1] > found.complexity[0]


def curve(n=N):
    """Rows on a line through the units, at random places."""
    place = np.random.default_rng(1).uniform(-1, 1, (n, 1)).astype(np.float32)
    return place * np.ones(UNITS, np.float32)


@pytest.mark.parametrize(
    ("t", "k", "caution"),
    [
        pytest.param(curve(), K, "no_density", id="little noise around a curve"),
        pytest.param(normal()[0], 1, "unstable_weights", id="weights that amplify the noise"),
        pytest.param(normal(10)[0], K, "unstable_weights", id="fewer rows than neighbours"),
    ],
)
def test_the_guard_takes_the_plain_entropy(t, k, caution):
    y = np.arange(len(t)) % 2
    found = NoisyWeightedKL(1e-8, k=k)
    plain = NoisyKSG(1e-8).layer(t, y)
    assert float(found.layer(t, y).complexity) == pytest.approx(float(plain.complexity), abs=1e-5)
    if len(t) > k:
        assert found(t, y).diagnostics[caution]


def test_layers_that_know_nothing_or_are_no_numbers():
    y = np.arange(N) % 2
    assert NoisyWeightedKL(k=K).layer(np.ones((N, UNITS), np.float32), y) == (0, 0)
    assert np.isnan(NoisyWeightedKL(k=K).layer(np.full((N, UNITS), np.nan, np.float32), y)).all()
    with pytest.raises(InputError, match="y must be integer labels for NoisyWeightedKL"):
        NoisyWeightedKL()(normal()[0], normal()[0])


def test_its_name_says_its_settings():
    assert str(parse_layer("noisy-weighted-kl:k=30")) == "noisy-weighted-kl:noise_variance=0.1,k=30,draws=1"


@pytest.mark.slow
def test_it_is_nearer_the_truth_than_plain_neighbours_in_tanh_layers_of_eight_units():
    """The truth by Monte Carlo: T is a mixture of normal densities about the activations of many inputs."""
    variance, rng = 0.1, np.random.default_rng(5)
    w = rng.normal(size=(6, 8)) * 3 / np.sqrt(6)

    def layer(n, rng):
        return np.tanh(rng.normal(size=(n, 6)) @ w)

    centres, at = layer(40_000, rng), layer(2000, rng)
    at = at + np.sqrt(variance) * rng.normal(size=at.shape)
    squares = (at**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * at @ centres.T
    logs = np.log(len(centres)) - logsumexp(-squares / (2 * variance), axis=1)
    truth = logs.mean() - 8 / 2  # h(T) - h(Z), without the constants that both have
    y = np.zeros(4000, int)
    for seed in range(3):
        t = layer(4000, np.random.default_rng(seed)).astype(np.float32)
        plain, weighted = (
            abs(float(kind(variance).layer(t, y).complexity) - truth) for kind in (NoisyKSG, NoisyWeightedKL)
        )
        assert weighted < 0.35
        assert weighted < plain
