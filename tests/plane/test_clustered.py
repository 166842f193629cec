"""A rank correlation over clusters finds what was planted, and is not sure of few clusters."""

import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.plane import clustered_rank_correlation, rank_correlation


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_it_is_spearman_s(random):
    x, y = random.standard_normal((2, 60))
    found = clustered_rank_correlation(x, y, np.repeat(np.arange(20), 3))
    assert found.value == pytest.approx(rank_correlation(x, y).value)
    assert found.low < found.value < found.high


def test_clusters_of_equal_members_count_as_one_pair_each(random):
    """Repeating every pair ten times says nothing new: the interval stays, where pairs alone would shrink it."""
    x, y = random.standard_normal((2, 25))
    once = clustered_rank_correlation(x, y, np.arange(25))
    ten = clustered_rank_correlation(np.repeat(x, 10), np.repeat(y, 10), np.repeat(np.arange(25), 10))
    np.testing.assert_allclose(ten, once, atol=0.02)
    alone = rank_correlation(np.repeat(x, 10), np.repeat(y, 10))
    assert alone.high - alone.low < 0.5 * (ten.high - ten.low)


def test_between_and_within_are_told_apart(random):
    cluster = np.repeat(np.arange(30), 4)
    between, own = np.repeat(random.standard_normal(30), 4), random.standard_normal(120)
    x, y = 10 * between + own, 10 * between - own
    assert clustered_rank_correlation(x, y, cluster).low > 0.8
    assert clustered_rank_correlation(x, y, cluster, within=True).high < -0.99


@pytest.mark.slow
def test_the_interval_keeps_its_level(random):
    covered = 0
    for trial in range(40):
        cluster = np.repeat(np.arange(30), 3)
        x, y = (np.repeat(random.standard_normal(30), 3) + 0.5 * random.standard_normal(90) for _ in range(2))
        found = clustered_rank_correlation(x, y, cluster, seed=trial)
        covered += found.low < 0 < found.high
    assert covered >= 34


def test_order_labels_and_missing_pairs_do_not_matter(random):
    x, y = random.standard_normal((2, 40))
    cluster = np.repeat(np.arange(10), 4)
    found = clustered_rank_correlation(x, y, cluster)
    assert clustered_rank_correlation(x, y, 7 * cluster - 30) == found
    longer = [np.append(a, extra) for a, extra in ((x, np.nan), (y, 1.0), (cluster, 3))]
    assert clustered_rank_correlation(*longer) == found
    assert clustered_rank_correlation(x, y, cluster, within=True, seed=3).value == pytest.approx(
        clustered_rank_correlation(x[::-1], y[::-1], cluster[::-1], within=True).value
    )


def test_one_cluster_and_none():
    found = clustered_rank_correlation(np.arange(4.0), np.arange(4.0), np.zeros(4, int))
    assert found.value == pytest.approx(1)
    assert np.isnan([found.low, found.high]).all()
    nothing = clustered_rank_correlation(np.full(3, np.nan), np.arange(3.0), np.arange(3))
    assert np.isnan(nothing).all()
    constant = clustered_rank_correlation(np.zeros(6), np.arange(6.0), np.arange(6))
    assert constant == (0, 0, 0)


@pytest.mark.usefixtures("unchecked")
def test_what_makes_no_sense():
    with pytest.raises(InputError, match="all must hold one value a pair"):
        clustered_rank_correlation(np.zeros(3), np.zeros(3), np.zeros(2, int))
    with pytest.raises(InputError, match="pair 1 is infinite: mask it with NaN"):
        clustered_rank_correlation(np.array([0.0, np.inf]), np.zeros(2), np.arange(2))
    with pytest.raises(InputError, match="level must lie between 0 and 1, got 1"):
        clustered_rank_correlation(np.zeros(2), np.zeros(2), np.arange(2), level=1)
