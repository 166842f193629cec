"""Statistics of the gradient over probe batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference

from ibjax.networks import MLP, functional
from ibjax.training import gradient_statistics, probe_batches


def fields(found):
    return [np.asarray(field) for field in (found.mean, found.std, found.batch_norm)]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_statistics_are_the_oracles(activation):
    rng = np.random.default_rng(0)
    net = functional(functools.partial(MLP, (5, 4, 3), activation))
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    params = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), shapes)
    x, y = rng.normal(size=(60, 5)).astype(np.float32), rng.integers(0, 3, 60)
    batches = rng.permutation(60)[:56].reshape(7, 8)

    def loss(params, rows):
        logits, _ = net.apply(params, jnp.asarray(x)[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(y)[rows]).mean()

    found = jax.jit(lambda params: gradient_statistics(lambda rows: jax.grad(loss)(params, rows), net.weights, batches))
    leaves = jax.tree.leaves(params)
    expected = reference.gradient_statistics(leaves[1::2], leaves[0::2], x, y, batches, activation)
    for one, other in zip(fields(found(params)), fields(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5)


def statistics_of(gradients, layers=lambda tree: ((tree["a"],), (tree["b"], tree["c"]))):
    """Statistics of gradients given as a table, one row a batch."""
    table = jax.tree.map(jnp.asarray, gradients)
    batches = np.arange(len(table["a"]))[:, None]
    return fields(gradient_statistics(lambda rows: jax.tree.map(lambda t: t[rows[0]], table), layers, batches))


def test_a_layer_is_all_its_arrays():
    rng = np.random.default_rng(1)
    g = {name: rng.normal(size=(6, *shape)) for name, shape in {"a": (2, 3), "b": (4,), "c": (5, 1)}.items()}
    mean, std, norm = statistics_of({name: table.astype(np.float32) for name, table in g.items()})
    for layer, names in enumerate([["a"], ["b", "c"]]):
        flat = np.concatenate([g[name].reshape(6, -1) for name in names], axis=1)
        assert mean[layer] == pytest.approx(np.linalg.norm(flat.mean(axis=0)), rel=1e-5)
        assert std[layer] == pytest.approx(np.sqrt(flat.var(axis=0).sum()), rel=1e-5)
        assert norm[layer] == pytest.approx(np.linalg.norm(flat, axis=1).mean(), rel=1e-5)


def test_equal_gradients_have_no_deviation():
    same = np.broadcast_to(np.float32([3, 4]), (5, 2))
    mean, std, norm = statistics_of({"a": same}, lambda tree: ((tree["a"],),))
    np.testing.assert_allclose([mean[0], std[0], norm[0]], [5, 0, 5], atol=1e-6)


def test_a_small_spread_about_a_large_mean():
    """The mean of squares minus the squared mean would be all rounding here."""
    spread = np.float32([-1, 1] * 20)[:, None] / 128
    mean, std, _ = statistics_of({"a": 1024 + spread}, lambda tree: ((tree["a"],),))
    assert mean[0] == pytest.approx(1024, rel=1e-6)
    assert std[0] == pytest.approx(1 / 128, rel=0.05)


def test_noise_has_the_floor_of_its_batches():
    noise = np.random.default_rng(2).normal(size=(51, 2000)).astype(np.float32)
    mean, std, _ = statistics_of({"a": noise}, lambda tree: ((tree["a"],),))
    assert mean[0] / std[0] == pytest.approx(51**-0.5, rel=0.1)


@pytest.mark.parametrize(
    ("samples", "shape"),
    [(2, (2, 1)), (10, (2, 5)), (127, (2, 63)), (128, (2, 64)), (191, (2, 64)), (192, (3, 64)), (3277, (51, 64))],
)
def test_probe_batches_are_a_partition(samples, shape):
    batches = probe_batches(samples)
    assert batches.shape == shape
    assert len(np.unique(batches)) == batches.size
    assert batches.min() >= 0
    assert batches.max() < samples


def test_probe_batches_are_always_the_same_shuffle():
    one = probe_batches(640)
    np.testing.assert_array_equal(one, probe_batches(640))
    # Sorted data would make its batches unlike each other: each batch covers the whole range.
    assert np.abs(one.mean(axis=1) - 319.5).max() < 5 * 640 / np.sqrt(12 * 64)
    assert (np.ptp(one, axis=1) > 500).all()
