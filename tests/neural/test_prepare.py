"""Splits are disjoint, scores are normal and see training rows alone, labels are any integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ibjax.errors import InputError
from ibjax.neural.prepare import as_pair, one_hot, rank, scored, split


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


@pytest.mark.parametrize("scale", [1e-30, 1.0, 3e38])
def test_scores(scale):
    """Those of the training samples by SciPy's ranks, of others on the lines between."""
    rng = np.random.default_rng(0)
    x = rng.standard_cauchy((200, 3))
    x = (scale * x / np.abs(x).max()).astype(np.float32)
    x[:, 2] = np.round(x[:, 2] / scale * 1e3)  # ties
    y = np.full((200, 1), 0.1, np.float32)
    parts = split(jnp.asarray(x), jnp.asarray(y), jax.random.key(0), 0.3)
    done = scored(parts, (True, True))
    known = np.float64(parts.train[0])
    scores = stats.norm.ppf((stats.rankdata(known, axis=0) - 0.5) / len(known))
    np.testing.assert_allclose(done.train[0], scores, atol=1e-5)
    for part, before in zip(done, parts, strict=True):
        np.testing.assert_array_equal(part[1], 0)
        for j in range(3):
            order = np.argsort(known[:, j])
            between = np.interp(np.float64(before[0][:, j]), known[order, j], scores[order, j])
            np.testing.assert_allclose(part[0][:, j], between, atol=2e-3 if scale == 1e-30 else 1e-4)
    kept = scored(parts, (True, False))
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
