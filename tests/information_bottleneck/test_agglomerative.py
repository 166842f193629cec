"""The tree: the cheapest of all mergers at every step, what it costs, and blocks that are known."""

import itertools
import sys

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference
from scipy.cluster import hierarchy

from ibjax.bottleneck import agglomerative, deterministic
from ibjax.errors import InputError


def relevance(joint, labels):
    """I(T;Y) of a hard clustering, from scratch."""
    return reference.information(np.stack([joint[labels == t].sum(axis=0) for t in np.unique(labels)]))


def divergence(a, b):
    """Jensen-Shannon divergence of two rows p(t,y), weighted by their masses, times the sum of these."""
    mixture = (a + b) / (a + b).sum()
    return sum(row.sum() * reference.kl(row[None] / row.sum(), mixture[None])[0, 0] for row in (a, b))


def check(found, joint):
    """What holds of every tree."""
    m, n = len(found.complexity), len(joint)
    assert found.linkage.shape == (m - 1, 4)
    if m > 1:
        assert hierarchy.is_valid_linkage(found.linkage)
        assert hierarchy.is_monotonic(found.linkage)
    for k in range(1, m + 1):
        labels = found.labels(k)
        assert labels.shape == (n,)
        assert set(labels[joint.sum(axis=1) > 0]) == set(range(k))
        mass = np.bincount(labels[labels >= 0], joint.sum(axis=1)[labels >= 0])
        np.testing.assert_allclose(found.complexity[k - 1], -(mass * np.log(mass)).sum(), atol=1e-13)
        live = labels >= 0
        np.testing.assert_allclose(found.relevance[k - 1], relevance(joint[live], labels[live]), atol=1e-13)
    np.testing.assert_allclose(found.loss, np.diff(found.relevance)[::-1], atol=1e-14)
    np.testing.assert_allclose(found.linkage[:, 2], found.relevance[-1] - found.relevance[::-1][1:], atol=1e-14)
    assert found.complexity[0] == found.relevance[0] == 0
    assert (found.loss >= 0).all()


@pytest.mark.parametrize(("n", "labels"), [(2, 2), (7, 2), (9, 4), (25, 3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_merger_is_the_cheapest_of_all(n, labels, seed):
    p_x, p = reference.random_table(n, labels, seed)
    joint = p_x[:, None] * p
    found = agglomerative(joint)
    check(found, joint)
    for k in range(n, 1, -1):
        before, after = found.labels(k), found.labels(k - 1)
        rows = np.stack([joint[before == t].sum(axis=0) for t in range(k)])
        cheapest = min(divergence(a, b) for a, b in itertools.combinations(rows, 2))
        loss = relevance(joint, before) - relevance(joint, after)
        np.testing.assert_allclose([loss, found.loss[n - k]], cheapest, atol=1e-13)
        # Every cluster is in one of the next level.
        assert len(np.unique(np.stack([before, after]), axis=1).T) == k


def test_blocks_come_out_as_they_are():
    p_x, rows = reference.ultrametric_blocks()
    order = np.random.default_rng(0).permutation(8)
    found = agglomerative((p_x, rows[order]))
    check(found, p_x[:, None] * rows[order])
    for clusters in (1, 2, 4, 8):
        blocks = order // (8 // clusters)
        pairs = np.unique(np.stack([blocks, found.labels(clusters)]), axis=1)
        assert pairs.shape[1] == clusters
    # The four pairs cost the same, then the two fours.
    np.testing.assert_allclose(found.loss[:4], found.loss[0], atol=1e-14)
    np.testing.assert_allclose(found.loss[4:6], found.loss[4], atol=1e-14)
    assert found.loss[0] < found.loss[4] < found.loss[6]


def test_scipy_cuts_and_draws_the_tree():
    joint = np.random.default_rng(3).dirichlet(np.ones(60)).reshape(20, 3)
    found = agglomerative(joint)
    order = found.reduction.index
    for clusters in (2, 5, 19):
        cut = hierarchy.fcluster(found.linkage, clusters, "maxclust")[order]
        assert np.unique(np.stack([cut, found.labels(clusters)]), axis=1).shape[1] == clusters
    assert sorted(hierarchy.dendrogram(found.linkage, no_plot=True)["leaves"]) == list(range(20))


def test_the_order_of_inputs_and_labels_is_nothing():
    p_x, p = reference.random_table(12, 3)
    found = agglomerative((p_x, p))
    order = np.random.default_rng(0).permutation(12)
    other = agglomerative((p_x[order], p[order][:, [2, 0, 1]]))
    np.testing.assert_allclose(other.relevance, found.relevance, atol=1e-14)
    np.testing.assert_allclose(other.complexity, found.complexity, atol=1e-14)
    for k in (3, 7):
        both = np.unique(np.stack([found.labels(k)[order], other.labels(k)]), axis=1)
        assert both.shape[1] == k


def test_equal_rows_and_inputs_without_mass():
    p_x, p = reference.random_table(6, 2)
    found = agglomerative((p_x, p))
    wide = np.concatenate([p_x / 4, [0.0], 3 * p_x / 4]), np.concatenate([p, [[np.nan, np.nan]], p])
    other = agglomerative(wide)
    np.testing.assert_allclose(other.linkage, found.linkage, atol=1e-14)
    labels = other.labels(3)
    np.testing.assert_array_equal(labels[:6], labels[7:])
    np.testing.assert_array_equal(labels[:6], found.labels(3))
    assert labels[6] == -1


def test_labels_that_never_occur_together():
    """Y = f(X) with zeros in every row: nothing is lost until clusters of different labels are merged."""
    joint = np.kron(np.eye(3), np.full((2, 1), 1 / 6))
    found = agglomerative(joint)
    check(found, joint)
    np.testing.assert_allclose(found.relevance, [0, np.log(3) - 2 / 3 * np.log(2), np.log(3)], atol=1e-14)
    np.testing.assert_array_equal(found.labels(3)[::2], found.labels(3)[1::2])


def test_one_distinct_input():
    found = agglomerative(np.full((3, 2), 1 / 6))
    check(found, np.full((3, 2), 1 / 6))
    np.testing.assert_array_equal(found.labels(1), [0, 0, 0])


@pytest.mark.parametrize("clusters", [0, 5, -1])
def test_numbers_of_clusters_that_never_are(clusters):
    found = agglomerative(reference.random_table(4, 2))
    with pytest.raises(InputError, match=rf"clusters is {clusters}: this tree has between 1 and 4"):
        found.labels(clusters)


def test_bad_tables(unchecked, monkeypatch):
    with pytest.raises(InputError, match=r"the table\[\(0, 1\)\] is -0.1"):
        agglomerative(np.array([[0.5, -0.1], [0.3, 0.3]]))
    monkeypatch.setattr(sys.modules[agglomerative.__module__], "LARGEST", 5)
    assert len(agglomerative(reference.random_table(5, 2)).loss) == 4
    with pytest.raises(InputError, match=r"6 distinct inputs, more than 5: give a larger merge_tolerance"):
        agglomerative(reference.random_table(6, 2))
    with pytest.raises(InputError, match="6 distinct inputs, more than 5"):
        deterministic(reference.random_table(6, 3), 2.0)


@pytest.mark.slow
def test_a_thousand_inputs():
    p_x, p = reference.random_table(1000, 5)
    joint = p_x[:, None] * p
    found = agglomerative(joint)
    for k in (1, 2, 30, 500, 1000):
        np.testing.assert_allclose(found.relevance[k - 1], relevance(joint, found.labels(k)), atol=1e-12)
