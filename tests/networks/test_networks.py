"""Networks: what they compute, how they start, and what one's own Flax module must look like."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from reference import mlp_forward

from ibjax.errors import InputError
from ibjax.networks import ACTIVATIONS, INITIALIZERS, MLP, functional

WIDTHS = (6, 5, 4, 3)
TRUNCATED = 0.87962566
"""Deviation of a standard normal that is cut off at two deviations."""


def random_parameters(params, seed=0):
    """Parameters of the same shapes, biases not zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape) / 2, p.dtype), params)


def weights_and_biases(params):
    """An MLP's arrays, layer by layer; within a layer the bias comes first by name."""
    leaves = jax.tree.leaves(params)
    weights, biases = leaves[1::2], leaves[0::2]
    assert all(w.shape == (len(b), w.shape[1]) for w, b in zip(weights, biases, strict=True))
    return weights, biases


@pytest.fixture(scope="module")
def small():
    """An MLP and a compiled initialiser."""
    net = functional(functools.partial(MLP, WIDTHS))
    return net._replace(init=jax.jit(net.init))


@pytest.fixture(scope="module")
def own():
    """A module of one's own and its parameters."""
    net = functional(Own)
    return net, jax.jit(net.init)(jax.random.key(3))


# --- The multilayer perceptron -----------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_forward_is_the_oracles(activation, small):
    net = functional(functools.partial(MLP, WIDTHS, activation))
    params = random_parameters(small.init(jax.random.key(0)))
    x = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    logits, layers = jax.jit(net.apply)(params, x)
    expected_logits, expected_layers = mlp_forward(*weights_and_biases(params), x, activation)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-5, atol=1e-6)
    assert [t.shape for t in layers] == [(7, 5), (7, 4), (7, 3)]
    for found, expected in zip(layers, expected_layers, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert all(t.dtype == jnp.float32 for t in (logits, *layers))


def test_a_linear_mlp_is_affine(small):
    net = functional(functools.partial(MLP, WIDTHS, "linear"))
    params = random_parameters(small.init(jax.random.key(0)))
    x, y = np.random.default_rng(1).normal(size=(2, 7, 6)).astype(np.float32)
    apply = jax.jit(net.apply)
    means = apply(params, (x + y) / 2)
    for mean, one, other in zip(means[1][:-1], apply(params, x)[1], apply(params, y)[1], strict=False):
        np.testing.assert_allclose(mean, (one + other) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(means[0], (apply(params, x)[0] + apply(params, y)[0]) / 2, rtol=1e-4, atol=1e-5)


def test_last_activation_is_a_distribution(small):
    logits, layers = small.apply(random_parameters(small.init(jax.random.key(0))), jnp.ones((7, 6)) * 30)
    np.testing.assert_allclose(layers[-1].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(layers[-1].argmax(axis=1), logits.argmax(axis=1))


FORMULAS = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "softplus": lambda z: np.logaddexp(z, 0),
    "sigmoid": lambda z: (1 + np.tanh(z / 2)) / 2,
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "swish": lambda z: z * (1 + np.tanh(z / 2)) / 2,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_finite_and_right(name):
    z = np.array([-1e4, -80, -3, -0.5, 0, 0.5, 3, 80, 1e4])
    found = ACTIVATIONS[name](jnp.asarray(z, jnp.float32))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, FORMULAS[name](z), rtol=1e-5, atol=1e-6)
    slopes = jax.vmap(jax.grad(ACTIVATIONS[name]))(jnp.asarray(z, jnp.float32))
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_mlp_applies_the_named_activation(name):
    net = MLP((2, 3, 2), name, rngs=nnx.Rngs(0))
    x = np.array([[0.5, -1.0], [2.0, 1.0]], np.float32)
    weight, bias = net.layers[0].weight[...], net.layers[0].bias[...]
    hidden = net(jnp.asarray(x))[1][0]
    np.testing.assert_allclose(hidden, FORMULAS[name](x @ np.asarray(weight).T + bias), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((12,),), r"each 1 or more, got \(12,\)"),
        (((12, 0, 2),), r"each 1 or more, got \(12, 0, 2\)"),
        (((12, 2), "tan"), "unknown activation 'tan': did you mean 'tanh'"),
        (((12, 2), "tanh", "ibsdg"), "unknown initializer 'ibsdg': did you mean 'ibsgd'"),
    ],
)
def test_an_mlp_checks_its_settings(arguments, message):
    with pytest.raises(InputError, match=message):
        MLP(*arguments, rngs=nnx.Rngs(0))


# --- Initial weights ---------------------------------------------------------------------------------------


def assert_truncated_normal(w, deviation):
    """Moments within five standard errors, bounds exactly; both ends come near."""
    w = np.asarray(w, np.float64)
    assert np.abs(w).max() <= 2 * deviation * (1 + 1e-6)
    assert w.max() > 1.9 * deviation
    assert w.min() < -1.9 * deviation
    assert abs(w.mean()) < 5 * TRUNCATED * deviation / np.sqrt(w.size)
    assert w.std() == pytest.approx(TRUNCATED * deviation, rel=5 * 0.6 / np.sqrt(w.size))


def assert_glorot(w):
    """Uniform between the limits +- sqrt(6 / (fan in + fan out))."""
    w = np.asarray(w, np.float64)
    limit = np.sqrt(6 / sum(w.shape))
    assert np.abs(w).max() <= limit * (1 + 1e-6)
    assert w.max() > 0.99 * limit
    assert w.min() < -0.99 * limit
    assert abs(w.mean()) < 5 * limit / np.sqrt(3 * w.size)
    assert w.std() == pytest.approx(limit / np.sqrt(3), rel=5 * 0.5 / np.sqrt(w.size))


@pytest.fixture(scope="module")
def initial():
    """Weight matrices of a wide network by the initialiser's name; no two layers have one shape."""
    found = {}
    for name in INITIALIZERS:
        net = functional(functools.partial(MLP, (400, 150, 100), "tanh", name))
        params = jax.jit(net.init)(jax.random.key(5))
        assert all(not bias.any() for bias in weights_and_biases(params)[1])
        found[name] = [w for (w,) in net.weights(params)]
    return found


def test_idnns_weights_scale_with_the_fan_in(initial):
    for w, fan_in in zip(initial["idnns"], (400, 150), strict=True):
        assert_truncated_normal(w, fan_in**-0.5)


def test_ibsgd_weights_scale_with_the_own_width(initial):
    hidden, output = initial["ibsgd"]
    assert_truncated_normal(hidden, 150**-0.5)
    assert_glorot(output)


def test_edge_weights_have_one_scale(initial):
    for w in initial["edge"]:
        assert_truncated_normal(w, 0.1)


def test_lorenzen_weights_are_glorot_uniform(initial):
    for w in initial["lorenzen"]:
        assert_glorot(w)


def test_layers_are_drawn_independently():
    net = functional(functools.partial(MLP, (50, 50, 50)))
    first, second = (np.asarray(w).ravel() for (w,) in net.weights(jax.jit(net.init)(jax.random.key(0))))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(2500)


def test_the_key_decides(small):
    one, again, other = (small.init(jax.random.key(seed)) for seed in (1, 1, 2))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), one, again)))
    assert all(bool((a != b).any()) for (a,), (b,) in zip(small.weights(one), small.weights(other), strict=True))


# --- One's own modules -------------------------------------------------------------------------------------


class Own(nnx.Module):
    """Layers whose names are not in alphabetical order, a bias-free one among them."""

    def __init__(self, *, rngs):
        self.zeta = nnx.Linear(6, 5, rngs=rngs)
        self.alpha = nnx.Linear(5, 4, use_bias=False, rngs=rngs)
        self.middle = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        first = jnp.tanh(self.zeta(x))
        second = jax.nn.relu(self.alpha(first))
        logits = self.middle(second)
        return logits, (first, second, jax.nn.softmax(logits))


class Deep(nnx.Module):
    """A list of more than ten layers: their order is that of numbers, not of digits."""

    def __init__(self, *, rngs):
        self.hidden = nnx.List(nnx.Linear(6 + i, 7 + i, rngs=rngs) for i in range(12))
        self.a_last = nnx.Linear(18, 2, rngs=rngs)

    def __call__(self, x):
        layers = []
        for layer in self.hidden:
            x = jnp.tanh(layer(x))
            layers.append(x)
        logits = self.a_last(x)
        return logits, (*layers, jax.nn.softmax(logits))


class Convolution(nnx.Module):
    """Activations with more than two dimensions."""

    def __init__(self, *, rngs):
        self.kernel = nnx.Conv(1, 3, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(4 * 4 * 3, 2, rngs=rngs)

    def __call__(self, x):
        image = jax.nn.relu(self.kernel(x))
        logits = self.dense(image.reshape(len(x), -1))
        return logits, (image, jax.nn.softmax(logits))


class Block(nnx.Module):
    """Two weight arrays that make one layer, and a bare parameter."""

    def __init__(self, *, rngs):
        self.query = nnx.Linear(6, 4, rngs=rngs)
        self.key = nnx.Linear(6, 4, rngs=rngs)

    def __call__(self, x):
        return self.query(x) * self.key(x)


class Blocks(nnx.Module):
    def __init__(self, *, rngs):
        self.block = Block(rngs=rngs)
        self.a_matrix = nnx.Param(jax.random.normal(rngs.params(), (4, 2)))

    def __call__(self, x):
        hidden = self.block(x)
        logits = hidden @ self.a_matrix[...]
        return logits, (hidden, jax.nn.softmax(logits))


@pytest.mark.parametrize(
    ("module", "features", "shapes", "widths"),
    [
        (functools.partial(MLP, WIDTHS), (6,), [[(5, 6)], [(4, 5)], [(3, 4)]], (5, 4, 3)),
        (Own, (6,), [[(6, 5)], [(5, 4)], [(4, 3)]], (5, 4, 3)),
        (Deep, (6,), [[(6 + i, 7 + i)] for i in range(12)] + [[(18, 2)]], (*range(7, 19), 2)),
        (Convolution, (4, 4, 1), [[(3, 3, 1, 3)], [(48, 2)]], (48, 2)),
        (Blocks, (6,), [[(6, 4), (6, 4)], [(4, 2)]], (4, 2)),
    ],
)
def test_weights_come_in_the_order_of_the_attributes(module, features, shapes, widths):
    net = functional(module)
    weights = jax.eval_shape(lambda key: net.weights(net.init(key)), jax.random.key(0))
    assert [[w.shape for w in layer] for layer in weights] == shapes
    assert net.widths(features) == widths


def test_weights_are_those_of_the_named_layers(own):
    net, params = own
    for (w,), name in zip(net.weights(params), ["zeta", "alpha", "middle"], strict=True):
        np.testing.assert_array_equal(w, params[name]["kernel"][...])


def test_weights_reads_any_tree_like_the_parameters(own):
    net, params = own
    doubled = net.weights(jax.tree.map(lambda p: 2 * p, params))
    for (twice,), (once,) in zip(doubled, net.weights(params), strict=True):
        np.testing.assert_array_equal(twice, 2 * once)


def test_functional_is_the_module_without_state(own):
    net, params = own
    module = Own(rngs=nnx.Rngs(params=jax.random.key(3)))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 6)), jnp.float32)
    logits, layers = net.apply(params, x)
    expected_logits, expected_layers = module(x)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-6, atol=1e-7)
    for found, expected in zip(layers, expected_layers, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_own_modules_can_be_mapped_and_differentiated(own):
    net, params = own
    two = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    x = jnp.ones((3, 6))
    gradients = jax.jit(jax.vmap(jax.grad(lambda params: net.apply(params, x)[0].sum())))(two)
    assert [w.shape for (w,) in net.weights(gradients)] == [(2, 6, 5), (2, 5, 4), (2, 4, 3)]
    # The logits' sum over three samples has slope 3 in each bias of the last layer.
    np.testing.assert_allclose(gradients["middle"]["bias"][...], 3)


class WithCache(Own):
    def __init__(self, *, rngs):
        super().__init__(rngs=rngs)
        self.memory = nnx.Cache(jnp.zeros(3))


class WithoutWeights(nnx.Module):
    def __init__(self, *, rngs):
        self.scale = nnx.Param(jnp.ones(3))

    def __call__(self, x):
        return x, (x,)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            WithCache,
            r"the network has Cache: only modules whose whole state is nnx\.Param, nnx\.BatchStat and the keys",
        ),
        (WithoutWeights, "no submodule with weights of two or more dimensions"),
    ],
)
def test_modules_that_cannot_be_trained(module, message):
    with pytest.raises(InputError, match=message):
        functional(module)


class Forgetful(Own):
    def __call__(self, x):
        logits, layers = super().__call__(x)
        return logits, layers[1:]


def test_one_activation_a_layer():
    net = functional(Forgetful)
    with pytest.raises(InputError, match="returns 2 activations for 3 submodules with weights: return one for each"):
        net.widths((6,))


def test_making_a_network_draws_no_numbers():
    drawn = []

    class Watched(Own):
        def __init__(self, *, rngs):
            super().__init__(rngs=rngs)
            drawn.append(isinstance(self.zeta.kernel[...], jax.core.Tracer))

    functional(Watched)
    assert drawn == [True]
