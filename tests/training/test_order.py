"""The order in which an epoch visits the training set."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.training import epoch_order


def orders(n, keys, seed=0):
    return np.asarray(jax.jit(jax.vmap(lambda key: epoch_order(key, n)))(jax.random.split(jax.random.key(seed), keys)))


@pytest.fixture(scope="module")
def many():
    """4000 orders of 100 samples, a number that is no power of two."""
    return orders(100, 4000)


@pytest.mark.parametrize("n", [1, 16, 17, 3277])
def test_an_order_visits_every_sample_once(n):
    for order in orders(n, 5):
        assert sorted(order) == list(range(n))


def test_an_order_is_of_ordinary_integers():
    assert epoch_order(jax.random.key(0), 5).dtype == jnp.int32
    assert not jax.config.jax_enable_x64
    with jax.enable_x64(True):
        assert epoch_order(jax.random.key(0), 5).dtype == jnp.int32
        np.testing.assert_array_equal(epoch_order(jax.random.key(0), 5), epoch_order(jax.random.key(0), 5))


@pytest.mark.parametrize(("n", "bound"), [(2, 19.5), (4, 64)])
def test_all_orders_are_equally_likely(n, bound):
    """Chi-square over the n! orders, at the 1e-5 quantile of its distribution."""
    every = list(itertools.permutations(range(n)))
    drawn = [tuple(order) for order in orders(n, 24_000, seed=1).tolist()]
    expected = len(drawn) / len(every)
    assert sum((drawn.count(order) - expected) ** 2 / expected for order in every) < bound


def test_every_sample_is_at_every_place(many):
    position = np.empty_like(many)
    np.put_along_axis(position, many, np.arange(100)[None], axis=1)
    error = np.sqrt((100**2 - 1) / 12 / 4000)  # of a mean place
    assert np.abs(position.mean(axis=0) - 49.5).max() < 5 * error
    assert np.abs(many.mean(axis=0) - 49.5).max() < 5 * error
    # Each sample is about 40 times at each place: no count is off by six deviations.
    counts = np.zeros((100, 100))
    np.add.at(counts, (np.arange(100)[None], many), 1)
    assert np.abs(counts - 40).max() < 6 * np.sqrt(40)


def test_place_and_neighbour_say_nothing_of_the_sample(many):
    place = np.broadcast_to(np.arange(100), many.shape)
    assert abs(np.corrcoef(place.ravel(), many.ravel())[0, 1]) < 5 / np.sqrt(4000 * 99)
    # Drawing without replacement makes neighbours a little unlike: -1/99.
    neighbours = np.corrcoef(many[:, :-1].ravel(), many[:, 1:].ravel())[0, 1]
    assert abs(neighbours + 1 / 99) < 5 / np.sqrt(4000 * 99)
    # Of two orders, one says nothing of the other.
    assert abs(np.corrcoef(many[:-1].ravel(), many[1:].ravel())[0, 1]) < 5 / np.sqrt(4000 * 99)


def test_every_epoch_has_another_order():
    key = jax.random.key(3)
    fold = jax.jit(jax.vmap(lambda epoch: epoch_order(jax.random.fold_in(key, epoch), 100)))
    assert len({tuple(order) for order in fold(jnp.arange(200)).tolist()}) == 200


def test_a_key_has_one_order(many):
    keys = jax.random.split(jax.random.key(0), 4000)
    for i in (0, 17, 3999):
        np.testing.assert_array_equal(epoch_order(keys[i], 100), many[i])
