"""The finisher: at the optimum of the clusters to rounding, downhill from anywhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck.newton import newton
from ibjax.bottleneck.squarem import squarem


@functools.partial(jax.jit, static_argnames="steps")
def counted(p_x, p, beta, log_w, log_s, steps, tolerance):
    return newton(p_x, p, beta, log_w, log_s, steps=steps, tolerance=tolerance)


def run(p_x, p, beta, log_w, log_s, steps=10):
    return counted(p_x, p, beta, log_w, log_s, steps, 0.0)[:2]


def near(p_x, p, beta, clusters, steps=60):
    """Clusters after some steps of the iteration, with room for two more."""
    order = np.argsort(-p_x)[:clusters]
    log_w = np.concatenate([np.log(p_x[order] / p_x[order].sum()), [-np.inf, -np.inf]])
    log_s = np.log(np.maximum(np.concatenate([p[order], p[:2]]), 1e-100))
    found = squarem(p_x, p, beta, jnp.asarray(log_w), jnp.asarray(log_s), steps=steps, tolerance=0.0)
    return found.log_weights, found.log_decoder


@pytest.mark.parametrize("seed", [0, 2, 3])  # with seed 1 a cluster would rather split, which slows it
def test_a_few_steps_reach_a_fixed_point(seed):
    p_x, p = reference.random_table(20, 4, seed)
    with jax.enable_x64(True):
        start = near(p_x, p, 7.0, 5)
        log_w, log_s = (np.asarray(a) for a in run(p_x, p, 7.0, *start, steps=30))
        few = run(p_x, p, 7.0, *start)
    w, s = np.exp(log_w[:5]), np.exp(log_s[:5])
    new_w, new_s, energy = reference.step(p_x, p, 7.0, w, s)
    np.testing.assert_allclose(new_w, w, atol=1e-10)
    np.testing.assert_allclose(new_s[w > 1e-9], s[w > 1e-9], atol=1e-9)
    assert (log_w[5:] == -np.inf).all()
    before = reference.step(p_x, p, 7.0, *(np.exp(np.asarray(a)[:5]) for a in few))[2]
    assert energy <= before + 1e-13


def test_it_stops_once_no_weights_are_better_by_more():
    p_x, p = reference.random_table(20, 4)
    with jax.enable_x64(True):
        start = near(p_x, p, 7.0, 5, steps=9)
        found = [counted(p_x, p, 7.0, *start, 10, tolerance) for tolerance in (1e-3, 1e-9)]
    steps = [int(made) for *_, made in found]
    assert steps[0] < steps[1] < 10
    for (log_w, log_s, _), tolerance in zip(found, (1e-3, 1e-9), strict=True):
        there = np.isfinite(log_w)
        w, s = np.exp(log_w[there]), np.exp(log_s[there])
        assert (np.log(reference.step(p_x, p, 7.0, w, s)[0]) - np.log(w)).max() <= tolerance


def test_it_never_goes_uphill_from_anywhere():
    rng = np.random.default_rng(0)
    p_x, p = reference.random_table(12, 5)
    for _ in range(5):
        w, s = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(5), size=6)
        before = reference.step(p_x, p, 6.0, w, s)[2]
        for steps in (1, 3):
            with jax.enable_x64(True):
                log_w, log_s = run(p_x, p, 6.0, jnp.log(w), jnp.log(s), steps=steps)
            after = reference.step(p_x, p, 6.0, np.exp(log_w), np.exp(log_s))[2]
            assert after <= before + 1e-12


def test_inputs_without_mass_change_nothing():
    p_x, p = reference.random_table(12, 5)
    with jax.enable_x64(True):
        start = near(p_x, p, 7.0, 5)
        one = run(p_x, p, 7.0, *start)
        other = run(np.concatenate([p_x, [0.0, 0.0]]), np.concatenate([p, p[:2]]), 7.0, *start)
    np.testing.assert_allclose(other[0], one[0], atol=1e-9)
    np.testing.assert_allclose(np.exp(other[1]), np.exp(one[1]), atol=1e-9)
