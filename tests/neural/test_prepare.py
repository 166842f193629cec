"""Splits are disjoint, standardisation can be inverted and sees training rows alone, labels are any integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.neural.prepare import as_pair, one_hot, rank, split, standardised


@pytest.mark.parametrize(
    ("n", "held_out", "sizes"), [(20, 0.3, (14, 3, 3)), (500, 0.3, (350, 75, 75)), (21, 0.01, (17, 2, 2))]
)
def test_splits_share_the_samples_out(n, held_out, sizes):
    x = jnp.arange(n, dtype=jnp.float32)[:, None]
    parts = split(x, 2 * x, jax.random.key(0), held_out)
    assert tuple(len(a) for a, _ in parts) == sizes
    everything = np.concatenate([a for a, _ in parts])[:, 0]
    np.testing.assert_array_equal(np.sort(everything), np.arange(n))
    assert (everything != np.arange(n)).any()
    for a, b in parts:
        np.testing.assert_array_equal(b, 2 * a)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_standardisation(scale):
    rng = np.random.default_rng(0)
    x = (scale * (rng.normal(size=(200, 3)) * [1, 10, 0.1] + [0, 5, -1])).astype(np.float32)
    y = np.full((200, 1), 0.1, np.float32)
    parts = split(jnp.asarray(x), jnp.asarray(y), jax.random.key(0), 0.3)
    done = standardised(parts, (True, True))
    np.testing.assert_allclose(done.train[0].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(done.train[0].std(axis=0), 1, rtol=1e-4)
    for part, before in zip(done, parts, strict=True):
        np.testing.assert_array_equal(part[1], 0)
        # The same map everywhere, that of the training rows.
        train = np.float64(parts.train[0])
        np.testing.assert_allclose(part[0], (np.float64(before[0]) - train.mean(0)) / train.std(0), atol=1e-4)
    kept = standardised(parts, (True, False))
    np.testing.assert_array_equal(kept.test[1], parts.test[1])


def test_labels():
    labels = np.array([7, -3, 7, 2_000_000_000, 0, -3])
    np.testing.assert_array_equal(rank(jnp.asarray(labels)), np.unique(labels, return_inverse=True)[1])
    rows = one_hot(jnp.asarray(labels), 5, jnp.float32)
    np.testing.assert_array_equal(rows, np.eye(5)[np.unique(labels, return_inverse=True)[1]])
    np.testing.assert_array_equal(rank(jnp.zeros(4, int)), 0)


def test_pairs(unchecked):
    x, labels = np.zeros((30, 2)), np.arange(30)
    a, b = as_pair(x.astype(np.float16), labels, 30)
    assert a.dtype == jnp.float32
    assert b.shape == (30,)
    with pytest.raises(InputError, match="y has 30 different labels and classes is 29: raise classes"):
        as_pair(x, labels, 29)
    with pytest.raises(InputError, match="x has 30 different labels"):
        as_pair(labels, x, 4)
