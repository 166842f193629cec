"""Modules with batch statistics and dropout as pure functions, and how they are trained."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ibjax.datasets import from_arrays
from ibjax.networks import functional
from ibjax.training import TrainConfig, TrainingData, probe_batches, train

RNG = np.random.default_rng(0)
N, FEATURES, KEPT = 12, 4, 0.9
X = RNG.normal(size=(N, FEATURES)).astype(np.float32)
Y = np.arange(N) % 3
DATA = TrainingData(*[from_arrays(X, Y)] * 3)
KEY = jax.random.key(0)


class Normalised(nnx.Module):
    """Batch normalisation of the inputs, then a linear layer."""

    def __init__(self, *, rngs):
        self.norm = nnx.BatchNorm(FEATURES, momentum=KEPT, rngs=rngs)
        self.output = nnx.Linear(FEATURES, 3, rngs=rngs)

    def __call__(self, x):
        logits = self.output(self.norm(x))
        return logits, (jax.nn.softmax(logits),)


class Dropping(nnx.Module):
    """Half of the hidden units are left out in training."""

    def __init__(self, *, rngs):
        self.hidden = nnx.Linear(FEATURES, 50, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.output = nnx.Linear(50, 3, rngs=rngs)

    def __call__(self, x):
        h = self.hidden(x)
        logits = self.output(self.drop(h))
        return logits, (h, jax.nn.softmax(logits))


@pytest.fixture(scope="module")
def normalised():
    net = functional(Normalised)
    return net, jax.jit(net.init)(KEY)


def arrays(params):
    return {name: np.asarray(params["norm"][name][...], np.float64) for name in ("mean", "var", "scale", "bias")} | {
        name: np.asarray(params["output"][name][...], np.float64) for name in ("kernel",)
    }


def forward(a, x, mean, var):
    return ((x - mean) / np.sqrt(var + 1e-5) * a["scale"] + a["bias"]) @ a["kernel"]


def test_training_normalises_by_the_batch_and_evaluation_by_what_it_keeps(normalised):
    net, params = normalised
    a = arrays(params)
    mean, var = X.mean(axis=0, dtype=np.float64), X.var(axis=0, dtype=np.float64)
    logits, statistics = jax.jit(net.learn)(params, X, KEY)
    np.testing.assert_allclose(logits, forward(a, X, mean, var), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(net.apply)(params, X)[0], forward(a, X, 0, 1), rtol=1e-4, atol=1e-5)
    after = net.join(net.split(params)[0], statistics)
    np.testing.assert_allclose(after["norm"]["mean"][...], (1 - KEPT) * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(after["norm"]["var"][...], KEPT + (1 - KEPT) * var, rtol=1e-4)


def test_what_is_split_is_joined_again(normalised):
    net, params = normalised
    moved, statistics = net.split(params)
    assert {leaf.shape for leaf in jax.tree.leaves(statistics)} == {(FEATURES,)}
    assert len(jax.tree.leaves(moved)) == 4
    again = net.join(moved, statistics)
    assert jax.tree.structure(again) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_learning_leaves_its_arguments_alone(normalised):
    net, params = normalised
    net.learn(params, X, KEY)
    np.testing.assert_array_equal(params["norm"]["mean"][...], 0)


def test_steps_are_those_of_the_oracle(normalised):
    """Momentum with weight decay, on parameters and not on statistics, for three full batches."""
    net, _ = normalised
    config = TrainConfig(epochs=3, batch_size=None, optimizer="momentum_l2", learning_rate=0.1, weight_decay=0.05)
    state, snapshots = jax.jit(functools.partial(train, Normalised, config, DATA))(KEY)
    params = net.init(jax.random.split(KEY)[0])
    moved, statistics = net.split(params)
    velocity = jax.tree.map(jnp.zeros_like, moved)

    @jax.jit
    def step(moved, statistics, velocity):
        def loss(moved):
            logits, after = net.learn(net.join(moved, statistics), X, KEY)
            return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean(), after

        slope, statistics = jax.grad(loss, has_aux=True)(moved)
        velocity = jax.tree.map(lambda v, g, p: 0.9 * v + g + 0.05 * p, velocity, slope, moved)
        return jax.tree.map(lambda p, v: p - 0.1 * v, moved, velocity), statistics, velocity

    for _ in range(3):
        moved, statistics, velocity = step(moved, statistics, velocity)
    expected = net.join(moved, statistics)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.params["norm"]["mean"][...], (1 - KEPT**3) * X.mean(axis=0), rtol=1e-4, atol=1e-6)
    loss = optax.softmax_cross_entropy_with_integer_labels(net.apply(expected, X)[0], Y).mean()
    assert float(snapshots.train_loss[-1]) == pytest.approx(float(loss), rel=1e-5)
    assert snapshots.gradient_mean.shape[-1] == 1


@pytest.mark.parametrize("size", [5, 4, 100])
def test_evaluation_in_blocks_changes_nothing(size):
    def measure(activations, _):
        return activations[-1]

    config = TrainConfig(epochs=1, batch_size=None, snapshots=2)
    whole, parts = (
        jax.jit(functools.partial(train, Normalised, c, DATA, measure=measure))(KEY)[1]
        for c in (config, dataclasses.replace(config, evaluate_size=size))
    )
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_dropout_leaves_units_out_in_training_only():
    net = functional(Dropping)
    learn, apply = jax.jit(net.learn), jax.jit(net.apply)
    params = jax.jit(net.init)(KEY)
    assert not jax.tree.leaves(net.split(params)[1])
    draws = jnp.stack([learn(params, X, jax.random.key(seed))[0] for seed in range(200)])
    np.testing.assert_array_equal(draws[0], learn(params, X, jax.random.key(0))[0])
    assert float(draws.std(axis=0).min()) > 0.05
    error = 5 * draws.std(axis=0) / np.sqrt(len(draws))
    assert (abs(draws.mean(axis=0) - apply(params, X)[0]) < error).all()


def test_dropout_differs_between_epochs_and_replicas_and_repeats_with_the_key():
    """At learning rate 0, all that changes between snapshots is the noise of the gradient."""
    config = TrainConfig(epochs=2, batch_size=None, snapshots=3)
    run = jax.jit(functools.partial(train, Dropping, config, DATA, learning_rate=0.0))
    one, again = (run(jax.random.key(1))[1] for _ in range(2))
    np.testing.assert_array_equal(one.gradient_mean, again.gradient_mean)
    assert len(np.unique(one.gradient_mean[:, 0])) == len(one.epoch)
    np.testing.assert_array_equal(one.train_loss, one.train_loss[0])


def test_the_gradient_that_is_looked_at_is_that_of_training(normalised):
    net, _ = normalised
    config = TrainConfig(epochs=1, batch_size=None, snapshots=2)
    found = jax.jit(functools.partial(train, Normalised, config, DATA))(KEY)[1].gradient_mean[0]
    moved, statistics = net.split(net.init(jax.random.split(KEY)[0]))

    def loss(moved, rows):
        logits, _ = net.learn(net.join(moved, statistics), X[rows], KEY)
        return optax.softmax_cross_entropy_with_integer_labels(logits, Y[rows]).mean()

    slopes = [net.weights(jax.grad(loss)(moved, rows))[0][0] for rows in probe_batches(N)]
    np.testing.assert_allclose(found[0], np.linalg.norm(np.mean(slopes, axis=0)), rtol=1e-4)
