"""Convolutional networks: their sizes, what they compute, and that they train."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks.reference_convolution import convolve, windows

from ibjax.datasets import from_arrays
from ibjax.errors import InputError
from ibjax.networks import MLP, ConvNet, SmallAlexNet, SmallInception, edge_cnn, functional, idnns_cnn
from ibjax.networks.zhang import DownsampleModule, InceptionModule
from ibjax.training import TrainConfig, TrainingData, train

RNG = np.random.default_rng(0)
IMAGE = (6, 5, 2)
small = functools.partial(ConvNet, IMAGE, ((3, 3, 1), (3, 4, 2)), (5,), classes=3)


def count(network):
    """Numbers that are trained."""
    net = functional(network)
    moved, _ = jax.eval_shape(lambda key: net.split(net.init(key)), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(moved))


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (SmallInception, 1_649_402),
        (functools.partial(SmallInception, batch_norm=False), 1_649_402),
        (SmallAlexNet, 1_387_786),
        (functools.partial(MLP, (2352, 512, 512, 512, 10), "relu"), 1_735_178),
        (functools.partial(MLP, (2352, 512, 10), "relu"), 1_209_866),
        (edge_cnn, 205_098),
        (functools.partial(edge_cnn, (32, 32, 3)), 266_738),
        (idnns_cnn, 3_274_634),
        (functools.partial(idnns_cnn, dropout=0.0), 3_274_634),
    ],
)
def test_numbers_of_parameters(network, parameters):
    assert count(network) == parameters


@pytest.mark.parametrize(
    ("network", "features", "widths"),
    [
        (SmallInception, (2352,), [28**2 * c for c in (96, 64, 80)] + [14**2 * c for c in (160, 160, 160, 160, 144)]
         + [7**2 * c for c in (240, 336, 336)] + [10]),
        (SmallAlexNet, (28, 28, 3), [14**2 * 64, 7**2 * 64, 384, 192, 10]),
        (edge_cnn, (784,), [28**2 * 4, 14**2 * 8, 7**2 * 16, 256, 10]),
        (idnns_cnn, (28, 28, 1), [14**2 * 32, 7**2 * 64, 1024, 10]),
        (functools.partial(ConvNet, (5, 5, 1), ((3, 2, 2), (3, 2, 2)), ()), (25,), [18, 8, 10]),
    ],
)  # fmt: skip
def test_every_layer_is_returned(network, features, widths):
    assert functional(network).widths(features) == tuple(widths)


@pytest.fixture(scope="module")
def net():
    """A small network, its compiled functions and parameters with biases that are not zero."""
    found = functional(small)
    found = found._replace(apply=jax.jit(found.apply), learn=jax.jit(found.learn))
    params = jax.tree.map(
        lambda p: jnp.asarray(RNG.normal(size=p.shape) / 3, p.dtype), jax.eval_shape(found.init, jax.random.key(0))
    )
    return found, params


def test_forward_is_the_loop(net):
    network, params = net
    x = RNG.normal(size=(4, *IMAGE)).astype(np.float32)
    logits, layers = network.apply(params, x)
    parts = [{k: np.asarray(v[...], np.float64) for k, v in params["layers"][i].items()} for i in range(4)]
    first = np.maximum(convolve(x, parts[0]["kernel"], 1) + parts[0]["bias"], 0)
    second = np.maximum(convolve(first, parts[1]["kernel"], 1) + parts[1]["bias"], 0)
    second = [[v.max(axis=(1, 2)) for v in row] for row in windows(second, 2, 2, -np.inf)]
    second = np.stack([np.stack(row, 1) for row in second], 1).reshape(4, -1)
    third = np.maximum(second @ parts[2]["kernel"] + parts[2]["bias"], 0)
    expected = third @ parts[3]["kernel"] + parts[3]["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    for found, wanted in zip(layers, (first.reshape(4, -1), second, third), strict=False):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layers[-1], jax.nn.softmax(expected), rtol=1e-4, atol=1e-6)


def test_flat_images_and_permuted_ones(net):
    network, params = net
    x = RNG.normal(size=(4, *IMAGE)).astype(np.float32)
    logits = network.apply(params, x)[0]
    np.testing.assert_array_equal(network.apply(params, x.reshape(4, -1))[0], logits)
    np.testing.assert_allclose(network.apply(params, x[::-1])[0], logits[::-1], rtol=1e-5, atol=1e-6)


def test_without_dropout_training_and_evaluation_are_the_same(net):
    network, params = net
    x = RNG.normal(size=(4, *IMAGE)).astype(np.float32)
    logits, statistics = network.learn(params, x, jax.random.key(0))
    assert not jax.tree.leaves(statistics)
    np.testing.assert_allclose(logits, network.apply(params, x)[0], rtol=1e-6)


def test_public_codes_start_from_a_cut_normal():
    edge = functional(functools.partial(edge_cnn, (8, 8, 1)))
    params = jax.jit(edge.init)(jax.random.key(0))
    for leaf in jax.tree.leaves(params):
        assert 0 < float(abs(leaf).max()) <= 0.2 * (1 + 1e-6)
    kernel = np.asarray(params["layers"][3]["kernel"][...])
    assert kernel.std() == pytest.approx(0.1 * 0.87962566, rel=0.04)
    idnns = functional(functools.partial(idnns_cnn, (4, 4, 1)))
    params = jax.jit(idnns.init)(jax.random.key(0))
    assert all((params["layers"][i]["bias"][...] == 0.1).all() for i in range(4))
    kernel = np.asarray(params["layers"][1]["kernel"][...])
    assert kernel.std() == pytest.approx(0.1 * 0.87962566, rel=0.02)


def test_an_inception_joins_and_a_downsampling_halves():
    x = jnp.asarray(RNG.normal(size=(2, 5, 5, 3)), jnp.float32)
    settings = {"batch_norm": False, "convolution": "products", "rngs": nnx.Rngs(0)}
    inception = InceptionModule(3, 2, 4, **settings)
    np.testing.assert_array_equal(inception(x)[..., :2], inception.narrow(x))
    np.testing.assert_array_equal(inception(x)[..., 2:], inception.wide(x))
    down = DownsampleModule(3, 4, **settings)
    assert down(x).shape == (2, 3, 3, 7)
    assert float(down(x)[0, 0, 0, 4:].max()) == float(x[0, :2, :2].max())


# --- Training ----------------------------------------------------------------------------------------------


def tiny(image, seed, n=32, classes=3):
    """Images whose class is which third of the rows is bright."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = 0.1 * rng.normal(size=(n, *image))
    for c in range(classes):
        x[y == c, 2 * c : 2 * c + 2] += 1
    return from_arrays(x, y)


DATA = TrainingData(tiny(IMAGE, 0), tiny(IMAGE, 1, 12), tiny(IMAGE, 2, 10))
CONFIG = TrainConfig(epochs=12, batch_size=None, optimizer="momentum_l2", learning_rate=0.1, snapshots=2)


def run(key):
    return train(small, CONFIG, DATA, key)[1]


def test_replicas_train():
    found = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 2))
    assert (found.train_loss[:, -1] < found.train_loss[:, 0] / 2).all()
    assert found.gradient_mean.shape == (2, *found.epoch.shape[1:], 4)


@pytest.mark.slow
def test_replicas_train_alike_mapped_or_in_turn():
    keys = jax.random.split(jax.random.key(0), 2)
    wide = jax.jit(jax.vmap(run))(keys)
    turn = jax.jit(lambda keys: jax.lax.map(run, keys))(keys)
    for a, b in zip(jax.tree.leaves(wide), jax.tree.leaves(turn), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("network", [SmallInception, SmallAlexNet, functools.partial(edge_cnn, (28, 28, 3))])
def test_the_published_networks_train_a_few_steps(network):
    images = from_arrays(RNG.normal(size=(20, 28, 28, 3)), np.arange(20) % 10)
    config = TrainConfig(epochs=3, batch_size=10, learning_rate=0.01, snapshots=2, evaluate_size=10)
    state, snapshots = jax.jit(functools.partial(train, network, config, TrainingData(images, images, images)))(
        jax.random.key(0)
    )
    assert np.isfinite(snapshots.train_loss).all()
    assert snapshots.weight_distance[-1].min() > 0
    assert int(state.epoch) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda **s: ConvNet((6, 6), (), (), **s), r"image must be \(height, width, channels\)"),
        (lambda **s: ConvNet(IMAGE, ((3, 2, 0),), (), **s), "pools must be 1 or more"),
        (lambda **s: ConvNet(IMAGE, (), (0,), **s), r"units, classes and pools must be 1 or more, got \(0,\)"),
        (lambda **s: ConvNet(IMAGE, (), (), activation="rleu", **s), "unknown activation 'rleu': did you mean 'relu'"),
        (lambda **s: ConvNet(IMAGE, (), (), dropout=1.0, **s), "dropout must be at least 0 and below 1, got 1.0"),
        (lambda **s: SmallAlexNet(classes=0, **s), "classes must be 1 or more, got 0"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong(rngs=nnx.Rngs(0))
