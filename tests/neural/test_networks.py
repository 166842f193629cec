"""Critics score pairs, densities integrate to one, both start where independence is; all are pure functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ibjax.neural.critics import Concatenated, Separable
from ibjax.neural.densities import Classifier, Columns
from ibjax.neural.pure import Pure, pure

CRITICS = [functools.partial(Separable, (3, 2), (8, 8), 4), functools.partial(Concatenated, (3, 2), (8,))]
USED = jnp.ones(2, bool)
RNG = np.random.default_rng(0)
X, Y = (jnp.asarray(RNG.normal(size=(n, d)), jnp.float32) for n, d in ((37, 3), (21, 2)))


def made(module, dtype=jnp.float32):
    """The module's functions, compiled."""
    network = pure(module, dtype)
    return Pure(jax.jit(network.init), jax.jit(network.apply))


def shaken(network, seed=1, scale=0.5):
    """Parameters away from the zeros of the start."""
    params = network.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(tree, [a + scale * rng.normal(size=a.shape).astype(a.dtype) for a in leaves])


@pytest.mark.parametrize("critic", CRITICS, ids=["separable", "concatenated"])
def test_critics_score_every_pair(critic):
    network = made(critic)
    np.testing.assert_array_equal(network.apply(network.init(jax.random.key(0)), X, Y), np.zeros((37, 21)))
    params = shaken(network)
    scores = network.apply(params, X, Y)
    assert scores.shape == (37, 21)
    assert scores.std() > 0.1
    for i, j in [(0, 0), (36, 20), (17, 3)]:
        alone = network.apply(params, X[i : i + 1], Y[j : j + 1])
        np.testing.assert_allclose(alone[0, 0], scores[i, j], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_the_two_critics_are():
    separable = Separable((3, 2), (8,), 4, rngs=nnx.Rngs(0))
    separable.g.layers[-1].weight[...] = jnp.ones((4, 8))
    np.testing.assert_allclose(separable(X, Y), separable.f(X)[0] @ separable.g(Y)[0].T, rtol=1e-5)
    joint = Concatenated((3, 2), (8,), rngs=nnx.Rngs(0))
    joint.h.layers[-1].weight[...] = jnp.ones((1, 8))
    expected = joint.h(jnp.concatenate([X[:21], Y], axis=1))[0][:, 0]
    np.testing.assert_allclose(jnp.diagonal(joint(X[:21], Y)), expected, rtol=1e-5)


@pytest.mark.parametrize("critic", CRITICS, ids=["separable", "concatenated"])
def test_critics_have_gradients_and_keep_the_precision(critic):
    """The first step moves something, so zeros are no trap."""
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            network = made(critic, dtype)
            params = network.init(jax.random.key(0))
            assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
            x, y = X.astype(dtype), Y.astype(dtype)
            assert network.apply(params, x, y).dtype == dtype

            def of(params, x=x, y=y, network=network):
                return network.apply(params, x[:21], y).trace()

            assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(jax.jit(jax.grad(of))(params))) > 0.1


def test_keys_draw_the_parameters():
    network = made(CRITICS[0])
    first, same, other = (jax.tree.leaves(network.init(jax.random.key(seed))) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("density", ["gaussian", "logistic"])
def test_densities_integrate_to_one(density):
    network = made(functools.partial(Columns, (3, 2), (8,), density))
    params = shaken(network, scale=0.3)
    side = np.linspace(-40, 40, 801)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2), jnp.float32)
    for x in X[:2]:
        log_p = network.apply(params, jnp.broadcast_to(x, (len(grid), 3)), grid, USED)
        np.testing.assert_allclose(np.exp(log_p).sum() * (side[1] - side[0]) ** 2, 1, atol=2e-3)
    assert network.apply(params, X[:21], Y, USED).std() > 0.1


def test_densities_start_as_standard():
    for density, of in [
        ("gaussian", lambda y: -(y**2) / 2 - np.log(2 * np.pi) / 2),
        ("logistic", lambda y: -y - 2 * np.log1p(np.exp(-y))),
    ]:
        network = made(functools.partial(Columns, (3, 2), (8,), density))
        found = network.apply(network.init(jax.random.key(0)), X[:21], Y, USED)
        np.testing.assert_allclose(found, of(np.asarray(Y, float)).sum(axis=1), rtol=1e-5)


def test_columns_are_given_only_earlier_ones():
    """ln q(y) has a slope of mixed second derivatives in (y_1, y_2), and the first factor none in y_2."""
    network = made(functools.partial(Columns, (1, 2), (8,), "gaussian"))
    params = shaken(network)
    x = jnp.zeros((1, 1))

    def of(y1, y2):
        return network.apply(params, x, jnp.stack([y1, y2])[None], USED)[0]

    # Integrating y_2 out leaves a density of y_1 that is the first Gaussian: it must not depend on y_2's grid.
    side = jnp.linspace(-30, 30, 3001)
    marginal = jax.jit(jax.vmap(lambda a: jax.nn.logsumexp(jax.vmap(lambda b: of(a, b))(side))))(jnp.linspace(-1, 1, 5))
    second = jnp.diff(marginal, 2)
    np.testing.assert_allclose(second, second[0], rtol=1e-2)  # a Gaussian's logarithm is a parabola
    mixed = jax.jit(jax.grad(lambda b: jax.grad(of)(0.3, b)))(0.2)
    assert abs(mixed) > 1e-3


def test_columns_without_a_density():
    network = made(functools.partial(Columns, (3, 2), (8,), "gaussian"))
    params = shaken(network)
    first = network.apply(params, X[:21], Y, jnp.array([True, False]))
    np.testing.assert_array_equal(first, network.apply(params, X[:21], Y.at[:, 1].set(0), jnp.array([True, False])))
    second = network.apply(params, X[:21], Y, jnp.array([False, True]))
    np.testing.assert_allclose(first + second, network.apply(params, X[:21], Y, USED), rtol=1e-5)


def test_classes():
    network = made(functools.partial(Classifier, (3, 4), (8,)))
    log_prior = jnp.log(jnp.array([0.2, 0.5, 0.3, 0.0]))
    params, x = network.init(jax.random.key(0)), X[:3]
    np.testing.assert_allclose(network.apply(params, x, jnp.eye(4)[:3], log_prior), log_prior[:3], rtol=1e-5)
    params = shaken(network)
    log_p = jnp.stack([network.apply(params, x, jnp.eye(4)[jnp.full(3, c)], log_prior) for c in range(4)])
    np.testing.assert_allclose(jnp.exp(log_p).sum(axis=0), 1, rtol=1e-5)
    assert log_p.std(axis=1)[:3].min() > 0.01
    np.testing.assert_array_equal(log_p[3], -np.inf)
    gradient = jax.jit(jax.grad(lambda p: network.apply(p, x, jnp.eye(4)[:3], log_prior).sum()))(params)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
