"""Many small problems at once: against solves one by one, and the parts against plain linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import optimality_gap, solve, solve_many
from ibjax.bottleneck.few_newton import few_newton, inverse
from ibjax.bottleneck.together import merged


def problems(count, n, labels, concentration=0.5):
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(n), size=count), rng.dirichlet(np.full(labels, concentration), size=(count, n))


def agree(count, n, labels, betas, tolerance):
    p_x, p = problems(count, n, labels)
    found = solve_many((p_x, p), betas, tolerance=tolerance)
    assert found.gap_kind == "searched"
    assert (found.status == 0).all()
    for i in range(count):
        assert (np.diff(found.complexity[i][np.argsort(betas)]) >= -1e-3).all()
        for j, beta in enumerate(betas):
            one = solve((p_x[i], p[i]), beta)
            np.testing.assert_allclose(found.lagrangian[i, j], one.lagrangian, atol=1e-6)
            # The gap is honest: it covers what a single solve gets below.
            assert found.lagrangian[i, j] - one.lagrangian <= found.gap[i, j] + 1e-9
            s, w = found.decoder[i, j], found.marginal[i, j]
            z = (w * np.exp(-beta * reference.kl(p[i], np.maximum(s, 1e-200)))).sum(axis=1)
            bound = optimality_gap(p_x[i], p[i], np.array([beta]), np.log(z)[None], s[None])
            assert bound.gap[0] <= 2 * tolerance + 1e-9


def test_they_are_as_good_as_one_by_one():
    agree(3, 10, 3, np.array([1.5, 20.0, 4.0]), 1e-7)


@pytest.mark.slow
def test_fifty_problems_are_as_good_as_one_by_one():
    agree(50, 64, 4, np.geomspace(1.2, 50, 5), 1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_inverses_and_least_pivots(size):
    half = np.random.default_rng(1).normal(size=(4, size, size + 2))
    blocks = half @ np.swapaxes(half, 1, 2)
    blocks[1] -= 2 * np.linalg.eigvalsh(blocks[1]).max() * np.eye(size)
    entries = [[jnp.asarray(blocks[:, i, j], jnp.float32) for j in range(size)] for i in range(size)]
    found, least = inverse(entries)
    np.testing.assert_allclose(np.moveaxis(np.array(found), 2, 0), np.linalg.inv(blocks), rtol=2e-3, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(least) > 0, [True, False, True, True])


def test_newton_ends_at_the_fixed_point_and_stops():
    """Close to a transition, where the iteration itself takes thousands of steps."""
    p_x, p = reference.binary_symmetric(0.1)
    p = np.repeat(p / 2, 2, axis=1)
    beta = 1.01 / 0.64
    complexity, relevance = reference.binary_symmetric_solution(0.1, beta)
    with jax.enable_x64(True):
        start = np.log([0.5, 0.5, 1e-300]), np.log(np.array([[0.3, 0.3, 0.2, 0.2], [0.2, 0.2, 0.3, 0.3], [0.25] * 4]))
        start[0][2] = -np.inf
        run = jax.jit(lambda steps, tolerance: few_newton(p_x, p, beta, *start, steps=steps, tolerance=tolerance))
        log_w, log_s, steps = run(60, 1e-13)
        assert 2 <= steps < 40
        assert log_w[2] == -np.inf
        z = np.exp(-beta * reference.kl(p, np.exp(log_s[:2]))) @ np.exp(log_w[:2])
        truth = complexity - beta * relevance + beta * (np.log(2) + 0.1 * np.log(0.1) + 0.9 * np.log(0.9))
        np.testing.assert_allclose(-p_x @ np.log(z), truth, atol=1e-11)
        assert run(3, 0.0)[2] == 3


def test_clusters_that_have_met_are_one():
    s = np.array([[0.2, 0.8], [0.7, 0.3], [0.2005, 0.7995], [0.7005, 0.2995], [0.4, 0.6]])
    w = np.array([0.1, 0.3, 0.2, 0.4, 1e-9])
    with jax.enable_x64(True):
        log_w, log_s = merged(jnp.log(w), jnp.log(s))
    there = np.isfinite(log_w)
    np.testing.assert_allclose(np.exp(log_w)[there], [0.7, 0.3], rtol=1e-8)
    np.testing.assert_allclose(
        np.exp(log_s)[there], [(w[[1, 3]] @ s[[1, 3]]) / 0.7, (w[[0, 2]] @ s[[0, 2]]) / 0.3], rtol=1e-8
    )
    assert np.isfinite(log_s).all()


def test_the_same_beta_twice_and_few_iterations():
    p_x, p = problems(2, 10, 3)
    twice = solve_many((p_x, p), [4.0, 4.0], tolerance=1e-7)
    np.testing.assert_allclose(twice.lagrangian[:, 0], twice.lagrangian[:, 1], atol=2e-7)
    few = solve_many((p_x, p), [4.0], tolerance=1e-12, max_iterations=1)
    assert (few.lagrangian >= twice.lagrangian[:, :1] - 1e-6).all()
