"""The trainer: it finds an optimum, keeps the best it saw, survives divergence, and uses batches without repetition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.neural.train import Objective, fit

N = 50
X = jnp.arange(N, dtype=jnp.float32)[:, None]
DATA = (X, X)


def run(loss, score, start=0.0, memory=(), steps=100, batch_size=8, learning_rate=0.1, train=DATA):
    objective = Objective(lambda key: jnp.asarray(start, jnp.float32), loss, score, memory)
    return jax.jit(
        lambda key: fit(objective, train, DATA, key, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    )(jax.random.key(0))


def towards(goal):
    return lambda p, memory, x, y: ((p - goal) ** 2, memory)


def test_an_optimum_is_found():
    found = run(towards(3.0), lambda p, x, y: -((p - 3) ** 2), steps=400)
    assert abs(found.params - 3) < 0.05
    np.testing.assert_allclose(found.score, -((found.params - 3) ** 2))
    assert not found.diverged


def test_the_best_is_kept_and_not_the_last():
    """Training walks to 10; validation is best at 2."""
    found = run(towards(10.0), lambda p, x, y: -jnp.abs(p - 2), steps=200)
    assert abs(found.params - 2) < 1.1  # looks are 20 steps apart, of at most 0.1 each
    assert found.step in (20, 40)
    assert not found.unfinished


def test_the_start_is_kept_where_nothing_is_better():
    found = run(towards(10.0), lambda p, x, y: -p)
    assert found.params == found.step == 0
    found = run(towards(10.0), lambda p, x, y: p * 0)  # as good is not better
    assert found.step == 0


@pytest.mark.parametrize(("steps", "rounded"), [(1, 1), (7, 7), (20, 20), (50, 60)])
def test_the_last_look_and_the_number_of_steps(steps, rounded):
    found = run(towards(100.0), lambda p, x, y: p, steps=steps)
    assert found.step == rounded
    assert found.unfinished
    assert abs(found.params - 0.1 * rounded) < 0.02 * rounded  # Adam's steps are as long as its rate


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_divergence(bad):
    def loss(p, memory, x, y):
        return jnp.where(p > 3.0, bad, 1.0) * (p - 10) ** 2, memory

    found = run(loss, lambda p, x, y: p, steps=200)
    assert found.diverged
    assert np.isfinite(found.params)
    assert 1.9 < found.params <= 3.2
    assert not run(towards(3.0), lambda p, x, y: p).diverged


def test_a_score_that_is_not_finite_is_never_the_best():
    found = run(towards(10.0), lambda p, x, y: jnp.where(p > 3.0, jnp.inf, p), steps=200)
    assert 1.9 < found.params <= 3.0
    found = run(towards(10.0), lambda p, x, y: jnp.where(p == 0, -jnp.inf, -p), steps=60)
    assert found.step == 20


@pytest.mark.parametrize(("batch_size", "used"), [(8, 8), (50, 50), (400, 50)])
def test_batches(batch_size, used):
    """No sample twice in a batch, and all about as often."""
    seen = []

    def spying(p, memory, x, y):
        assert x.shape == (used, 1)
        jax.debug.callback(seen.append, x[:, 0])
        return ((x - y) ** 2).mean() - p, memory

    jax.block_until_ready(run(spying, lambda p, x, y: p, batch_size=batch_size))
    jax.effects_barrier()
    counts = np.array([np.bincount(np.asarray(rows, int), minlength=N) for rows in seen])
    assert counts.shape == (100, N)
    assert counts.max() == 1
    assert counts.sum() == 100 * used
    assert counts.sum(axis=0).min() > 0.5 * counts.sum(axis=0).mean()
