"""Noisy networks: numerical integration in one unit, plain NumPy in several, and the laws of information."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ibjax.errors import InputError
from ibjax.networks import MLP, functional
from ibjax.neural.noisy import NoisyNetwork

KEY = jax.random.key(0)
IDENTITY = [(np.eye(1, dtype=np.float32), np.zeros(1, np.float32))]
TWO = [(np.array([[1.5]], np.float32), np.array([0.2], np.float32)), (np.array([[-2.0]], np.float32), np.zeros(1))]
X = np.array([[-1.0], [-0.3], [0.1], [0.4], [1.2], [2.0]], np.float32)
Y = np.array([7, 7, -2, -2, 7, -2])

MLP_322 = functional(functools.partial(MLP, (3, 3, 2, 2)))


def normal(t, s, noise):
    return np.exp(-((t - s) ** 2) / (2 * noise**2)) / np.sqrt(2 * np.pi) / noise


def information(conditional, step, y=None):
    """I of a density on a grid, one row p(t|x) for each of the equally likely x; or by class."""
    if y is not None:
        weights = np.unique(y, return_counts=True)[1] / len(y)
        conditional = np.stack([conditional[y == c].mean(axis=0) for c in np.unique(y)])
    else:
        weights = np.full(len(conditional), 1 / len(conditional))
    density = weights @ conditional
    ratio = np.log(np.maximum(conditional, 1e-300) / np.maximum(density, 1e-300))
    return float(weights @ (conditional * ratio).sum(axis=1) * step)


def integrated(layers, x, noise, f, y=None):
    """I(X;T_l) of layers of one unit, by integration over every T_l in turn."""
    grid, step = np.linspace(-6, 6, 2401, retstep=True)
    (w, b), *rest = [(float(np.ravel(w)[0]), float(np.ravel(b)[0])) for w, b in layers]
    conditional = normal(grid, f(w * x + b), noise)
    found = [information(conditional, step, y)]
    for w, b in rest:
        conditional = conditional @ normal(grid[None], f(w * grid[:, None] + b), noise) * step
        found.append(information(conditional, step, y))
    return np.array(found)


def plain(layers, x, y, noise, m, seed=0):
    """Sample propagation as the paper has it, in NumPy, with the entropies apart: I(X;T_l) and I(T_l;Y)."""
    rng, found = np.random.default_rng(seed), []

    def entropy(centres):
        d = centres.shape[1]
        points = centres + noise * rng.normal(size=centres.shape)
        squares = ((points[:, None] - centres) ** 2).sum(axis=2)
        return -np.log(np.exp(-squares / (2 * noise**2)).mean(axis=1) / (2 * np.pi * noise**2) ** (d / 2)).mean()

    t = np.repeat(x[:, None], m, axis=1).astype(float)
    for depth, (w, b) in enumerate(layers):
        s = np.tanh(t @ np.asarray(w, float).T + b)
        d = s.shape[2]
        exact = d / 2 * np.log(2 * np.pi * np.e * noise**2)
        inside = exact if depth == 0 else np.mean([entropy(of_x) for of_x in s])
        total = entropy(s.reshape(-1, d))
        by_class = sum((y == c).mean() * entropy(s[y == c].reshape(-1, d)) for c in np.unique(y))
        found.append((total - inside, total - by_class))
        t = s + noise * rng.normal(size=s.shape)
    return np.array(found).T


@functools.cache
def measured(noise):
    """Tests share the few programs that this file has time to compile."""
    return NoisyNetwork(noise, 400)(TWO, X, KEY, Y)


@functools.cache
def many(noise, m=40, keys=1000):
    return jax.vmap(lambda key: NoisyNetwork(noise, m)(TWO, X, key, Y))(jax.random.split(KEY, keys))


# --- Known truth -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.2, 0.5, 1.0])
def test_the_channel_of_two_inputs(noise):
    """+-1 through Gaussian noise, by integration."""
    found = NoisyNetwork(noise, 8000, "linear")(IDENTITY, np.array([-1.0, 1.0], np.float32), KEY)
    truth = integrated(IDENTITY, np.array([[-1.0], [1.0]]), noise, lambda s: s)[0]
    assert abs(found.complexity[0] - truth) < 4 * found.std_error[0] + 1e-4
    assert found.std_error[0] < 0.006
    assert found.bias[0] == 0


def test_normal_inputs_through_a_linear_layer():
    """Close to 1/2 ln(1 + w^2 / noise^2), and equal to the integral for the grid that X is on."""
    x = np.sqrt(2) * jax.scipy.special.erfinv(np.linspace(-1, 1, 102)[1:-1, None])
    layer = [(np.array([[0.8]], np.float32), np.array([0.3], np.float32))]
    found = NoisyNetwork(0.4, 200, "linear")(layer, x, KEY)
    truth = integrated(layer, np.asarray(x), 0.4, lambda s: s)[0]
    assert abs(found.complexity[0] - truth) < 4 * found.std_error[0]
    assert truth == pytest.approx(0.5 * np.log(1 + 0.8**2 / 0.4**2), abs=0.05)


@pytest.mark.parametrize("noise", [0.15, 0.4, 1.0])
def test_two_layers_are_those_of_brute_force(noise):
    found, truth = measured(noise), integrated(TWO, X, noise, np.tanh)
    np.testing.assert_array_less(np.abs(found.complexity - truth), 4 * found.std_error + found.bias + 1e-4)
    np.testing.assert_array_less(
        np.abs(found.relevance - integrated(TWO, X, noise, np.tanh, Y)),
        4 * found.relevance_error + found.bias + 1e-4,
    )
    assert found.std_error.max() < 0.02
    assert found.bias.max() < 0.02


@pytest.mark.slow
def test_the_bias_is_as_stated():
    """The mean over many keys is too high by the mean of ``bias``."""
    found = many(0.4)
    excess = np.asarray(found.complexity).mean(axis=0) - integrated(TWO, X, 0.4, np.tanh)
    assert abs(excess[0]) < 1.5e-3
    assert excess[1] == pytest.approx(float(found.bias[:, 1].mean()), rel=0.35)
    assert 0.006 < excess[1] < 0.013


def test_the_error_is_the_deviation():
    found = many(0.4)
    np.testing.assert_allclose(found.std_error.mean(axis=0), found.complexity.std(axis=0), rtol=0.2)
    np.testing.assert_allclose(found.relevance_error.mean(axis=0), found.relevance.std(axis=0), rtol=0.2)


X3 = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
Y3 = np.array([0, 0, 0, 1, 1, 1, 2, 2])


def test_several_units_are_those_of_the_plain_form():
    params = MLP_322.init(jax.random.key(3))
    layers = [(np.asarray(w), np.zeros(len(w), np.float32)) for (w,) in MLP_322.weights(params)[:-1]]
    found, of_pairs = (NoisyNetwork(0.5, 100)(p, X3, KEY, Y3) for p in (params, layers))
    assert found.complexity.shape == (2,)  # the output layer is left out
    np.testing.assert_array_equal(found.complexity, of_pairs.complexity)
    complexity, relevance = np.mean([plain(layers, X3, Y3, 0.5, 100, seed) for seed in range(4)], axis=0)
    np.testing.assert_allclose(found.complexity, complexity, atol=0.06)
    np.testing.assert_allclose(found.relevance, relevance, atol=0.06)


# --- Laws --------------------------------------------------------------------------------------------------


def test_inputs_far_apart_and_equal_ones():
    far = NoisyNetwork(0.1, 400)(TWO, np.where(Y == 7, -2, 2).astype(np.float32)[:, None], KEY, Y)
    np.testing.assert_allclose(far.complexity, np.log(2), atol=0.01)
    np.testing.assert_allclose(far.relevance, np.log(2), atol=1e-5)
    assert far.ceiling == pytest.approx(np.log(6))
    equal = NoisyNetwork(0.1, 400)(TWO, np.full_like(X, 0.7), KEY, Y)
    assert abs(equal.complexity[0]) < 1e-6
    assert abs(equal.complexity[1]) < 0.02


def test_classes_of_one_input_each_are_the_inputs():
    found = NoisyNetwork(0.4, 400)(TWO, X, KEY, np.arange(6))
    np.testing.assert_allclose(found.relevance, found.complexity, atol=1e-6)
    one_class = NoisyNetwork(0.4, 400)(TWO, X, KEY, np.full(6, 9))
    np.testing.assert_allclose(one_class.relevance, 0, atol=1e-6)


@pytest.mark.parametrize("noise", [0.2, 0.5, 1.0])
def test_nothing_is_gained_on_the_way(noise):
    for seed in range(4):
        params = MLP_322.init(jax.random.key(seed))
        found = NoisyNetwork(noise, 100)(params, X3, KEY, Y3)
        slack = 3 * found.std_error.sum() + max(found.bias[1], 0)
        assert found.complexity[1] < found.complexity[0] + slack
        assert found.relevance[1] < found.relevance[0] + slack
        assert (found.relevance < found.complexity).all()


def test_more_noise_tells_less():
    found = [measured(noise) for noise in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)]
    for less, more in itertools.pairwise(found):
        assert (more.complexity < less.complexity + 3 * more.std_error + more.bias).all()
    assert found[0].complexity[0] > 1.5 > 0.2 > found[-1].complexity[0]


def test_the_order_of_inputs_is_nothing():
    order = np.array([3, 0, 5, 1, 4, 2])
    found, other = measured(0.4), NoisyNetwork(0.4, 400)(TWO, X[order], KEY, Y[order])
    np.testing.assert_array_less(np.abs(found.complexity - other.complexity), 5 * found.std_error)
    renamed = NoisyNetwork(0.4, 400)(TWO, X, KEY, np.where(Y == 7, -(2**31), 2**31 - 1))
    np.testing.assert_allclose(renamed.relevance, found.relevance, atol=1e-6)


@pytest.mark.slow
def test_many_units_do_not_underflow():
    """In 300 units a point's own Gaussian is e^-150, which single precision does not hold."""
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(300, 3)), np.zeros(300)), (rng.normal(size=(40, 300)) / 17, np.zeros(40))]
    layers = jax.tree.map(np.float32, layers)
    found = NoisyNetwork(0.5, 10)(layers, rng.normal(size=(4, 3)).astype(np.float32), KEY)
    np.testing.assert_allclose(found.complexity, np.log(4), atol=1e-3)
    assert 0.01 < found.bias[1] < 0.5


# --- Transformations ---------------------------------------------------------------------------------------


def test_blocks_change_nothing():
    one, other = measured(0.4), NoisyNetwork(0.4, 400, block=1000)(TWO, X, KEY, Y)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=5e-6), one, other)


@pytest.mark.slow
def test_compiled_or_not_and_many_replicas():
    network, keys = NoisyNetwork(0.5, 100), jax.random.split(KEY, 3)
    replicas = jax.vmap(MLP_322.init)(keys)
    assert isinstance(replicas, nnx.State)
    together = jax.jit(jax.vmap(lambda params, key: network(params, X3, key, Y3)))(replicas, keys)
    for i in range(3):
        alone = network(jax.tree.map(lambda a, i=i: a[i], replicas), X3, keys[i], Y3)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=5e-6), together, alone)


def test_precision_is_kept():
    with jax.enable_x64(True):
        double = NoisyNetwork(0.4, 400)(jax.tree.map(np.float64, TWO), X.astype(np.float64), KEY, Y)
    single = measured(0.4)
    assert all(a.dtype == jnp.float64 for a in double[:-1])
    assert all(a.dtype == jnp.float32 for a in single[:-1])
    np.testing.assert_array_less(np.abs(np.subtract(double.complexity, single.complexity)), 5 * single.std_error)


def test_one_input_and_one_sample_have_no_error():
    found = NoisyNetwork(0.4, 1)(TWO, X[:1], KEY)
    np.testing.assert_array_equal(found.complexity, 0)
    assert np.isnan(found.std_error).all()
    assert np.isnan(found.bias[1])
    assert found.relevance is None


# --- Bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": 0.0}, "noise must be a positive"),
        ({"noise": -1.0}, "noise must be a positive"),
        ({"noise": np.nan}, "noise must be a positive"),
        ({"noise": np.ones(2)}, "noise must be a positive"),
        ({"samples": 0}, "samples must be a whole"),
        ({"samples": 2.0}, "samples must be a whole"),
        ({"block": 0}, "block must be a whole"),
        ({"activation": "tahn"}, "did you mean 'tanh'"),
    ],
)
def test_settings_that_make_no_sense(unchecked, settings, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(NoisyNetwork(), **settings)(TWO, X, KEY)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.where(X > 1, np.nan, X)}, "x has a value that is not finite in row 4"),
        ({"x": np.zeros((0, 1))}, "x has 0 samples"),
        ({"x": np.zeros((4, 2))}, r"hidden layer 1 has a weight of shape \(1, 1\)"),
        ({"x": np.array(["a", "b"])}, "x must be real numbers"),
        ({"labels": Y[:4]}, "numbers of samples differ"),
        ({"labels": Y.astype(float)}, "labels must be integer"),
        ({"params": []}, "no hidden layer"),
        ({"params": np.ones((2, 2))}, "pairs"),
        ({"params": [np.ones((1, 1))]}, "pairs"),
        ({"params": [(np.ones((1, 1)), np.ones(2))]}, "hidden layer 1"),
        ({"params": [*TWO, (np.ones((3, 2)), np.ones(3))]}, "hidden layer 3"),
        ({"params": [(np.full((1, 1), np.inf), np.ones(1))]}, "weight of hidden layer 1 has a value that is not"),
        ({"params": nnx.State({"layers": {"a": nnx.Param(jnp.ones((2, 2)))}})}, "no hidden layer|not those of an MLP"),
    ],
)
def test_inputs_that_make_no_sense(unchecked, changed, message):
    with pytest.raises(InputError, match=message):
        NoisyNetwork()(**{"params": TWO, "x": X, "key": KEY, "labels": Y} | changed)


def test_what_is_not_finite_inside_a_transformation_is_nan():
    measure = jax.jit(lambda noise, x, w: NoisyNetwork(noise, 5)([(w, np.zeros(1, np.float32))], x, KEY, Y))
    weight = np.ones((1, 1), np.float32)
    for noise, x, w in [
        (0.4, np.where(X > 1, np.float32(np.nan), X), weight),
        (0.4, X, np.full_like(weight, np.inf)),
        (0.0, X, weight),
        (-1.0, X, weight),
    ]:
        found = measure(noise, x, w)
        assert found.non_finite
        assert np.isnan(found.complexity).all()
        assert np.isnan(found.relevance).all()
    assert not measure(0.4, X, weight).non_finite
