"""The readable core: the printed equations, a free energy that never rises, jit, vmap and precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import blahut_arimoto
from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR


def start(n, labels, clusters, seed=0):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(clusters))), np.log(rng.dirichlet(np.ones(labels), size=clusters))


@pytest.mark.parametrize("beta", [0.5, 3.0, 40.0])
def test_steps_are_the_printed_equations(beta):
    p_x, p = reference.random_table(7, 3)
    log_w, log_s = start(7, 3, 4)
    w, s = np.exp(log_w), np.exp(log_s)
    with jax.enable_x64(True):
        for steps in (1, 2, 5):
            found = blahut_arimoto(p_x, p, beta, log_w, log_s, steps=steps)
            one, other = w, s
            for _ in range(steps):
                one, other, energy = reference.step(p_x, p, beta, one, other)
            np.testing.assert_allclose(np.exp(found.log_weights), one, atol=1e-13)
            np.testing.assert_allclose(np.exp(found.log_decoder), other, atol=1e-12)
            np.testing.assert_allclose(found.free_energy, energy, rtol=1e-13)
            assert found.iterations == steps


@pytest.mark.parametrize(("n", "labels"), [(2, 2), (12, 2), (12, 5)])
def test_the_free_energy_never_rises(n, labels):
    p_x, p = reference.random_table(n, labels, seed=3)
    p[0] = np.eye(labels)[0]
    log_w, log_s = start(n, labels, 4)
    with jax.enable_x64(True):
        for beta in (0.3, 1.5, 6.0, 100.0):
            energies = [float(blahut_arimoto(p_x, p, beta, log_w, log_s, steps=k).free_energy) for k in range(1, 30)]
            assert (np.diff(energies) <= 1e-13 * (1 + abs(energies[0]))).all()
            assert energies[0] - energies[-1] > 1e-4


@pytest.mark.parametrize("p", [0.05, 0.1, 0.3])
def test_binary_symmetric_source(p):
    p_x, rows = reference.binary_symmetric(p)
    with jax.enable_x64(True):
        for beta in (1.2 / (1 - 2 * p) ** 2, 2 / (1 - 2 * p) ** 2, 30.0):
            found = blahut_arimoto(p_x, rows, beta, np.log([0.5, 0.5]), np.log(rows), steps=20_000, tolerance=1e-15)
            joint = 0.5 * np.exp(found.log_decoder)
            _, expected = reference.binary_symmetric_solution(p, beta)
            np.testing.assert_allclose(reference.information(joint), expected, atol=2e-8)
            assert found.status
            assert found.iterations < 20_000


def test_the_critical_beta_is_in_nats():
    """Off by ln 2, as in published code, either side of 1 / (1 - 2p)^2 would come out wrong."""
    p_x, rows = reference.binary_symmetric(0.1)
    critical = 1 / 0.8**2
    with jax.enable_x64(True):
        for factor, informative in [(0.9, False), (1.1, True)]:
            found = blahut_arimoto(p_x, rows, factor * critical, np.log([0.5, 0.5]), np.log(rows), steps=3000)
            information = reference.information(0.5 * np.exp(found.log_decoder))
            assert (information > 0.05) == informative
            assert (information < 1e-10) != informative


def test_zeros_stay_zeros():
    p_x, rows = reference.binary_erasure(0.3)
    log_s = np.maximum(np.log(np.maximum(rows, 1e-300)), LOG_FLOOR)
    with jax.enable_x64(True):
        found = blahut_arimoto(p_x, rows, 8.0, np.log(p_x), log_s, steps=50)
        assert np.isfinite(found.free_energy)
        np.testing.assert_array_equal(np.exp(found.log_decoder)[[0, 2], [1, 0]] < 1e-200, True)
        # A cluster that is not there never comes.
        found = blahut_arimoto(p_x, rows, 8.0, np.array([*np.log([0.5, 0.5]), -np.inf]), log_s, steps=50)
        assert found.log_weights[2] == -np.inf
        np.testing.assert_allclose(np.exp(found.log_weights).sum(), 1, atol=1e-14)


def test_it_stops_and_says_so():
    p_x, p = reference.random_table(6, 2)
    args = p_x, p, 5.0, *start(6, 2, 3)
    with jax.enable_x64(True):
        few = blahut_arimoto(*args, steps=3, tolerance=1e-10)
        assert not few.status
        assert few.iterations == 3
        many = blahut_arimoto(*args, steps=5000, tolerance=1e-10)
        assert many.status
        assert 3 < many.iterations < 5000
        assert abs(many.residual) < 1e-10
        assert blahut_arimoto(*args, steps=5000).iterations == 5000


def test_vmap_jit_and_precision():
    p_x, p = reference.random_table(6, 3)
    log_w, log_s = start(6, 3, 4)
    betas = np.array([0.5, 2.0, 9.0])

    def run(beta):
        return blahut_arimoto(p_x, p, beta, log_w, log_s, steps=40)

    with jax.enable_x64(True):
        together = jax.jit(jax.vmap(run))(betas)
        for i, beta in enumerate(betas):
            for a, b in zip(run(beta), together, strict=True):
                np.testing.assert_allclose(b[i], a, atol=1e-11)
    arrays = [jnp.asarray(a, jnp.float32) for a in (p_x, p, log_w, log_s)]
    single = blahut_arimoto(arrays[0], arrays[1], 2.0, arrays[2], arrays[3], steps=40)
    assert single.free_energy.dtype == single.log_decoder.dtype == jnp.float32
    np.testing.assert_allclose(single.free_energy, together.free_energy[1], rtol=1e-5)


def test_not_finite_stays_visible():
    p_x, p = reference.random_table(6, 3)
    p[2, 1] = np.nan
    found = blahut_arimoto(p_x, p, 2.0, *start(6, 3, 4), steps=10, tolerance=1e-6)
    assert np.isnan(found.free_energy)
    assert not found.status
