"""The accelerated iteration: where Blahut-Arimoto ends, in fewer evaluations, and never uphill."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import squarem


def start(p_x, p, clusters=None, seed=0):
    """Clusters at the inputs, or at random."""
    if clusters is None:
        return np.log(p_x), np.log(np.maximum(p, 1e-200))
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(clusters))), np.log(rng.dirichlet(np.ones(p.shape[1]), size=clusters))


def run(p_x, p, beta, log_w, log_s, **settings):
    with jax.enable_x64(True):
        found = squarem(*(jnp.asarray(a, jnp.float64) for a in (p_x, p, beta, log_w, log_s)), **settings)
        return jax.tree.map(np.asarray, found)


def free_energy(p_x, p, beta, log_w, log_s):
    return reference.step(p_x, p, beta, np.exp(log_w), np.exp(log_s))[2]


@pytest.mark.parametrize("beta", [2.0, 6.0, 20.0])
def test_it_ends_where_the_plain_iteration_ends(beta):
    p_x, p = reference.random_table(20, 12)
    log_w, log_s = start(p_x, p)
    found = run(p_x, p, beta, log_w, log_s, steps=20_000, tolerance=1e-11)
    assert found.status
    assert found.residual <= 1e-11
    w, s = np.exp(log_w), np.exp(log_s)
    for _ in range(3000):
        w, s, energy = reference.step(p_x, p, beta, w, s)
        s, w = s[w > 1e-100], w[w > 1e-100]
    np.testing.assert_allclose(found.free_energy, energy, atol=1e-6)
    assert found.free_energy <= energy + 1e-11
    np.testing.assert_allclose(np.exp(found.log_weights).sum(), 1, atol=1e-12)
    np.testing.assert_allclose(np.exp(found.log_decoder).sum(axis=1), 1, atol=1e-12)


def test_the_free_energy_never_rises():
    p_x, p = reference.random_table(20, 12)
    state, before = start(p_x, p, 6), np.inf
    for _ in range(40):
        found = run(p_x, p, 5.0, *state, steps=3, tolerance=0.0)
        after = free_energy(p_x, p, 5.0, found.log_weights, found.log_decoder)
        assert after <= before + 1e-13
        assert after <= found.free_energy + 1e-13
        state, before = (found.log_weights, found.log_decoder), after


def test_few_evaluations_at_the_critical_beta():
    """Where plain steps stop altogether: thousands of them reach what these reach in dozens."""
    p_x, p = reference.binary_symmetric(0.1)
    found = run(p_x, p, 1.0 / 0.64, np.log([0.5, 0.5]), np.log([[0.6, 0.4], [0.4, 0.6]]), steps=60, tolerance=0.0)
    w, s = np.array([0.5, 0.5]), np.array([[0.6, 0.4], [0.4, 0.6]])
    for _ in range(int(found.iterations)):
        w, s, energy = reference.step(p_x, p, 1.0 / 0.64, w, s)
    truth = -(p_x * np.log(np.exp(-reference.kl(p, np.array([[0.5, 0.5]])) / 0.64)[:, 0])).sum()
    assert abs(found.free_energy - truth) < 0.1 * abs(energy - truth)


def test_clusters_that_are_not_there_stay_away():
    p_x, p = reference.random_table(10, 9)
    log_w, log_s = start(p_x, p, 4)
    more_w, more_s = np.concatenate([log_w, [-np.inf] * 3]), np.concatenate([log_s, log_s[:3]])
    one = run(p_x, p, 4.0, log_w, log_s, steps=30, tolerance=0.0)
    other = run(p_x, p, 4.0, more_w, more_s, steps=30, tolerance=0.0)
    assert (other.log_weights[4:] == -np.inf).all()
    np.testing.assert_allclose(other.log_weights[:4], one.log_weights, atol=1e-10)
    np.testing.assert_allclose(other.log_decoder[:4], one.log_decoder, atol=1e-8)


def test_jit_vmap_and_a_loop_agree():
    p_x, p = reference.random_table(10, 9)
    log_w, log_s = start(p_x, p, 4)
    betas = np.array([1.5, 4.0, 9.0])
    with jax.enable_x64(True):
        mapped = jax.vmap(lambda b: squarem(p_x, p, b, log_w, log_s, steps=60, tolerance=1e-7))(jnp.asarray(betas))
    for i, beta in enumerate(betas):
        one = run(p_x, p, beta, log_w, log_s, steps=60, tolerance=1e-7)
        np.testing.assert_allclose(mapped.free_energy[i], one.free_energy, atol=1e-12)
        assert mapped.iterations[i] == one.iterations
        with jax.disable_jit():
            eager = run(p_x, p, beta, log_w, log_s, steps=3, tolerance=1e-7)
        np.testing.assert_allclose(
            eager.log_weights, run(p_x, p, beta, log_w, log_s, steps=3, tolerance=1e-7).log_weights, atol=1e-12
        )


def test_permuted_inputs_and_labels():
    p_x, p = reference.random_table(10, 9)
    log_w, log_s = start(p_x, p, 4)
    rng = np.random.default_rng(1)
    rows, labels = rng.permutation(10), rng.permutation(9)
    one = run(p_x, p, 4.0, log_w, log_s, steps=30, tolerance=0.0)
    other = run(p_x[rows], p[rows][:, labels], 4.0, log_w, log_s[:, labels], steps=30, tolerance=0.0)
    np.testing.assert_allclose(other.free_energy, one.free_energy, atol=1e-12)
    np.testing.assert_allclose(other.log_weights, one.log_weights, atol=1e-9)


def test_single_precision_stays_and_gets_to_its_resolution():
    p_x, p = reference.random_table(20, 12)
    log_w, log_s = start(p_x, p)
    arrays = (jnp.asarray(a, jnp.float32) for a in (p_x, p, 6.0, log_w, np.maximum(log_s, -80)))
    found = squarem(*arrays, steps=3000, tolerance=1e-5)
    assert found.log_weights.dtype == found.log_decoder.dtype == found.free_energy.dtype == jnp.float32
    assert found.status
    double = run(p_x, p, 6.0, log_w, log_s, steps=20_000, tolerance=1e-11)
    np.testing.assert_allclose(found.free_energy, double.free_energy, atol=1e-4)


def test_nan_ends_as_nan():
    p_x, p = reference.random_table(10, 9)
    log_w, log_s = start(p_x, p, 4)
    found = run(p_x, np.where(p == p.max(), np.nan, p), 4.0, log_w, log_s, steps=9, tolerance=1e-7)
    assert not found.status
    assert found.iterations == 9
