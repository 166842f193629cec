"""Invertible networks: images come back from every layer, at any size, and from no layer of the twin."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ibjax.datasets import from_arrays
from ibjax.errors import InputError
from ibjax.networks import IRevNet, functional
from ibjax.networks.irevnet import average_to_depth, depth_to_space, space_to_depth
from ibjax.training import TrainConfig, TrainingData, train

RNG = np.random.default_rng(0)
N = 5
INJECTIVE = functools.partial(IRevNet, (5, 7, 3), (2, 1), (1, 2), (4, 16), 3)  # odd sizes, odd channels
BIJECTIVE = functools.partial(IRevNet, (4, 2, 8), (1, 2), (2, 1), None, 3)
MOVED = functools.partial(IRevNet, (4, 4, 2), (1, 1), (1, 1), None, 3, initial=2)
FORMS = {"injective": INJECTIVE, "bijective": BIJECTIVE, "moved": MOVED}


@functools.cache
def compiled(network):
    found = functional(network)
    inverse = jax.jit(found.inverse, static_argnums=2) if found.inverse else None
    return found._replace(init=jax.jit(found.init), apply=jax.jit(found.apply), inverse=inverse)


def images(network, n=N):
    return jnp.asarray(RNG.normal(size=(n, *network.args[0])), jnp.float32)


def random_state(network, seed=0):
    """Initial weights, and scales, shifts and statistics that are neither zero nor one; most units are alive."""
    net, rng = compiled(network), np.random.default_rng(seed)
    moved, statistics = net.split(net.init(jax.random.key(seed)))
    moved = jax.tree.map(lambda p: p + rng.uniform(-0.1, 0.3, size=p.shape).astype(np.float32), moved)
    statistics = jax.tree.map(lambda p: p + rng.uniform(0, 1, size=p.shape).astype(np.float32), statistics)
    return net.join(moved, statistics)


@pytest.mark.parametrize("form", FORMS)
def test_images_come_back_from_the_code(form):
    net, x = compiled(FORMS[form]), images(FORMS[form])
    params = random_state(FORMS[form])
    _, layers = net.apply(params, x)
    np.testing.assert_allclose(net.inverse(params, layers[-2]), x, rtol=0, atol=5e-6)
    # The blocks do something: as they would not, had all of their units died.
    without = jax.tree.map(jnp.zeros_like, params)
    assert float(abs(layers[-2] - net.apply(without, x)[1][-2]).max()) > 0.1


def test_images_come_back_from_every_layer():
    net, x = compiled(INJECTIVE), images(INJECTIVE)
    params = random_state(INJECTIVE)
    _, layers = net.apply(params, x)
    assert len(layers) == 4
    for depth in range(3):
        np.testing.assert_allclose(net.inverse(params, layers[depth], depth), x, rtol=0, atol=5e-6)
        np.testing.assert_array_equal(
            net.inverse(params, layers[depth], depth - 3), net.inverse(params, layers[depth], depth)
        )


def test_stages_are_the_last_blocks_of_each():
    net, x = compiled(functools.partial(INJECTIVE, layers="stages")), images(INJECTIVE)
    blocks = compiled(INJECTIVE)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    params = random_state(INJECTIVE)
    same = jax.tree.unflatten(jax.tree.structure(shapes), jax.tree.leaves(params))
    for stage, block in zip(net.apply(same, x)[1], blocks.apply(params, x)[1][1:], strict=True):
        np.testing.assert_allclose(stage, block, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.inverse(same, net.apply(same, x)[1][0], 0), x, rtol=0, atol=5e-6)


def test_the_bijective_form_takes_any_code():
    net = compiled(BIJECTIVE)
    params = random_state(BIJECTIVE)
    assert set(net.widths((4, 2, 8))[:-1]) == {4 * 2 * 8}
    code = jnp.asarray(RNG.normal(size=(N, 64)), jnp.float32)
    np.testing.assert_allclose(net.apply(params, net.inverse(params, code))[1][-2], code, rtol=0, atol=5e-6)


def test_a_block_is_the_formula():
    network = functools.partial(IRevNet, (2, 2, 2), (1,), (1,), None, 3)
    net, x = compiled(network), images(network)
    params = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0)))
    # F is zero: the halves change places.
    np.testing.assert_array_equal(net.apply(params, x)[1][0], x[..., ::-1].reshape(N, -1))


def test_inverse_in_training_would_be_another_function():
    net, x = compiled(BIJECTIVE), images(BIJECTIVE)
    params = random_state(BIJECTIVE)
    learnt, statistics = net.learn(params, x, jax.random.key(0))
    assert float(abs(learnt - net.apply(params, x)[0]).max()) > 1e-3
    moved = net.join(net.split(params)[0], statistics)
    code = net.apply(params, x)[1][-2]
    assert float(abs(net.inverse(moved, code) - x).max()) > 1e-3


@pytest.mark.slow
def test_trained_weights_invert():
    y = np.arange(24) % 3
    x = RNG.normal(size=(24, 5, 7, 3)) * 0.3
    x[np.arange(24), y] += 1
    data = from_arrays(x, y)
    config = TrainConfig(epochs=8, batch_size=8, optimizer="momentum_l2", learning_rate=0.1, snapshots=2)
    state, snapshots = jax.jit(functools.partial(train, INJECTIVE, config, TrainingData(data, data, data)))(
        jax.random.key(0)
    )
    assert snapshots.train_loss[-1] < snapshots.train_loss[0]
    net = compiled(INJECTIVE)
    code = net.apply(state.params, data.x)[1][-2]
    np.testing.assert_allclose(net.inverse(state.params, code), data.x, rtol=0, atol=2e-5)


def test_the_twin_has_the_same_parameters_and_loses_something():
    twin_of = functools.partial(IRevNet, (4, 4, 2), (1,), (2,), None, 3)
    twin = functools.partial(twin_of, invertible=False)
    shapes = [jax.eval_shape(functional(n).init, jax.random.key(0)) for n in (twin_of, twin)]
    assert jax.tree.map(lambda a: a.shape, shapes[0]) == jax.tree.map(lambda a: a.shape, shapes[1])
    net, x = compiled(twin), images(twin)
    params = net.init(jax.random.key(0))
    other = x.at[:, ::2, :, 0].add(0.5).at[:, 1::2, :, 0].add(-0.5)  # the means of its squares are the same
    np.testing.assert_allclose(net.apply(params, other)[1][0], net.apply(params, x)[1][0], rtol=0, atol=1e-5)
    invertible = compiled(twin_of)
    assert float(abs(invertible.apply(params, other)[1][0] - invertible.apply(params, x)[1][0]).max()) > 0.4
    with pytest.raises(InputError, match="the twin that cannot be inverted"):
        net.inverse(params, net.apply(params, x)[1][0])


def test_pixels_move_and_come_back():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    moved = space_to_depth(x, 2)
    assert moved.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(moved[0, 0, 0], x[0, :2, :2].reshape(-1))
    np.testing.assert_array_equal(depth_to_space(moved, 2), x)
    np.testing.assert_array_equal(average_to_depth(x, 2)[0, 0, 0], jnp.tile(x[0, :2, :2].mean(axis=(0, 1)), 4))
    np.testing.assert_array_equal(average_to_depth(x, 1), x)


def test_dropout_is_drawn_from_the_key_in_training_only():
    network = functools.partial(BIJECTIVE, dropout=0.5)
    net, x = compiled(network), images(network)
    learn = jax.jit(net.learn)
    params = net.init(jax.random.key(0))
    one, again, other = (learn(params, x, jax.random.key(seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert float(abs(one - other).max()) > 1e-5
    code = net.apply(params, x)[1][-2]
    np.testing.assert_allclose(net.inverse(params, code), x, rtol=0, atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"channels": None, "initial": 2}])
def test_the_published_depth_inverts(settings):
    network = functools.partial(IRevNet, (32, 32, 3), **settings)
    net, x = compiled(network), images(network, 2)
    params = net.init(jax.random.key(0))
    np.testing.assert_allclose(net.inverse(params, net.apply(params, x)[1][-2]), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image": (4, 4)}, r"image must be \(height, width, channels\)"),
        ({"channels": None}, "3 channels cannot be halved: set initial to 2"),
        ({"blocks": (1, 1)}, "one entry a stage, got 2, 3 and 3"),
        ({"blocks": (0, 1, 1)}, r"must be 1 or more and strides 1 or 2, got \(0, 1, 1\)"),
        ({"strides": (1, 3, 2)}, r"strides 1 or 2.*\(1, 3, 2\)"),
        ({"channels": (1, 4, 16)}, r"stride 1 cannot make 2 x 1 channels of 1 \+ 2"),
        ({"channels": (4, 17, 64)}, r"stride 2 cannot make 2 x 17 channels of 4 \+ 4.*exactly four times"),
        ({"layers": "stage"}, "unknown layers 'stage': did you mean 'stages'"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=message):
        nnx.eval_shape(
            lambda: IRevNet(
                **{"image": (4, 4, 3), "blocks": (1, 1, 1), "channels": (4, 16, 64)} | settings, rngs=nnx.Rngs(0)
            )
        )


def test_wrong_codes_and_layers():
    net = compiled(BIJECTIVE)
    params = net.init(jax.random.key(0))
    with pytest.raises(InputError, match=r"a code of layer -1 has 64 units an image, got \(63,\)"):
        net.inverse(params, jnp.zeros((2, 63)))
    with pytest.raises(InputError, match="layer must be from -3 to 2, got 3: the classifier has no inverse"):
        net.inverse(params, jnp.zeros((2, 64)), 3)


def test_nan_in_one_image_stays_in_it():
    net, x = compiled(BIJECTIVE), images(BIJECTIVE)
    params = random_state(BIJECTIVE)
    code = net.apply(params, x.at[0, 0, 0, 0].set(jnp.nan))[1][-2]
    back = np.asarray(net.inverse(params, code))
    assert np.isnan(back[0]).any()
    assert np.isfinite(back[1:]).all()
