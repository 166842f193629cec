"""Trends over settings: planted orders and power laws are found, and nothing is found where there is nothing."""

import numpy as np
import pytest
from scipy import stats

from ibjax.errors import InputError
from ibjax.plane import bounded_mean, depth_trend, log_line, mean_rank_correlation, power_law, range_of_means

X = np.array([1.0, 2.0, 3.0, 5.0, 8.0, 13.0])


def replicas(exponent, sigma, *, count=20, seed=0):
    """Return y = 700 x^exponent times log-normal noise."""
    noise = np.random.default_rng(seed).normal(size=(X.size, count))
    return 700.0 * X[:, None] ** exponent * np.exp(sigma * noise)


def inside(estimate, truth):
    return estimate.low <= truth <= estimate.high


# Rank correlation of every replica --------------------------------------------------------------------------------


def test_a_replica_s_order_does_not_mind_the_others():
    y = X[:, None] + 100.0 * np.arange(6)
    assert mean_rank_correlation(X, y) == bounded_mean(np.ones(6), -1.0, 1.0)
    assert mean_rank_correlation(X, -y).value == -1.0


def test_it_is_the_mean_of_spearman_s():
    y = np.random.default_rng(0).normal(size=(X.size, 9)).round(0)  # with ties
    y[:, 0] = np.arange(X.size)
    wanted = np.mean([stats.spearmanr(X, own).statistic for own in y.T])
    found = mean_rank_correlation(X, y)
    assert found.value == pytest.approx(wanted)
    assert found.low < wanted < found.high


def test_what_lies_beyond_is_last_and_tied():
    y = np.array([[1.0, 5.0], [2.0, np.inf], [3.0, np.inf], [4.0, np.inf]])
    found = mean_rank_correlation(np.arange(1.0, 5.0), y)
    tied = stats.spearmanr([1, 2, 3, 4], [1, 2, 2, 2]).statistic
    assert found.value == pytest.approx((1 + tied) / 2)


def test_what_is_unknown_is_left_out():
    y = np.tile(X[:, None], (1, 3))
    y[2, 0] = np.nan
    y[:4, 1] = np.nan  # two points are no order
    found = mean_rank_correlation(X, y)
    assert found.value == 1.0
    assert np.isnan(mean_rank_correlation(X[:2], y[:2])).all()
    assert mean_rank_correlation(X, np.ones((6, 4))).value == 0.0


def test_noise_has_no_order():
    y = np.random.default_rng(3).normal(size=(X.size, 40))
    assert inside(mean_rank_correlation(X, y), 0.0)


# Range ------------------------------------------------------------------------------------------------------------


def test_the_range_is_that_of_the_means():
    random = np.random.default_rng(0)
    values = np.array([2.0, 2.4, 1.9])[:, None] + 0.1 * random.normal(size=(3, 40))
    found = range_of_means(values)
    assert found.value == pytest.approx(np.ptp(values.mean(axis=1)))
    assert inside(found, 0.5)
    assert found.high - found.low < 0.2
    lost = values.copy()
    lost[1, 7] = np.nan
    assert range_of_means(lost).value == pytest.approx(range_of_means(np.delete(values, 7, axis=1)).value)
    assert np.isnan(range_of_means(values[:1])).all()


# Lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-2.0, -0.5, 0.0, 1.0])
@pytest.mark.parametrize("fit", ["vertical", "orthogonal"])
def test_a_planted_exponent_is_found(exponent, fit):
    clean = log_line(X, replicas(exponent, 0.0), fit=fit)
    assert clean.slope.value == pytest.approx(exponent, abs=1e-9)
    assert clean.misfit.value < 1e-9
    assert np.exp(clean.log_c) == pytest.approx(700.0)
    noisy = log_line(X, replicas(exponent, 0.3), fit=fit)
    assert inside(noisy.slope, exponent)
    assert 0.05 < noisy.slope.high - noisy.slope.low < 0.5
    assert noisy.used.all()


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    held = [inside(log_line(X, replicas(-1.5, 0.4, count=10, seed=seed)).slope, -1.5) for seed in range(60)]
    assert 0.85 <= np.mean(held) <= 1.0


def test_it_agrees_with_the_fit_through_means():
    y = replicas(-1.2, 0.3, count=101)
    assert log_line(X, y).slope.value == pytest.approx(power_law(X, y).exponent.value, abs=0.05)


def test_two_measured_quantities_may_be_exchanged():
    x, y = replicas(1.0, 0.2, seed=1), replicas(0.8, 0.2, seed=2)
    one, other = log_line(x, y, fit="orthogonal"), log_line(y, x, fit="orthogonal")
    assert one.slope.value == pytest.approx(1 / other.slope.value)
    assert one.correlation.value == pytest.approx(other.correlation.value)
    assert inside(one.slope, 0.8)
    assert one.correlation.low > 0.9


def test_no_relation_has_no_correlation():
    random = np.random.default_rng(0)
    x, y = np.exp(random.normal(size=(2, 8, 30)))
    found = log_line(x, y, fit="orthogonal")
    assert inside(found.correlation, 0.0)
    assert log_line(X, np.ones((6, 5))).correlation.value == 0.0


def test_a_curve_that_is_no_power_law_has_a_misfit():
    y = np.where(X < 4, 1000.0, 100.0)[:, None] * np.exp(0.1 * np.random.default_rng(0).normal(size=(6, 15)))
    assert log_line(X, y).misfit.low > 0.5


def test_a_few_beyond_the_run_leave_the_median_and_many_drop_the_point():
    y = replicas(-1.0, 0.1)
    some = y.copy()
    some[0, np.argsort(y[0])[-4:]] = np.inf  # the latest fifth
    assert log_line(X, some).used.all()
    np.testing.assert_allclose(log_line(X, some).y, log_line(X, y).y)
    many = y.copy()
    many[0, :12] = np.inf
    found = log_line(X, many)
    assert found.used.tolist() == [False] + [True] * 5
    assert found.y[0] == np.inf
    assert inside(found.slope, -1.0)


def test_too_few_points():
    y = replicas(-1.0, 0.1)
    two = log_line(X[:2], y[:2])
    assert np.isfinite(two.slope).all()
    assert np.isnan([*two.correlation, *two.misfit]).all()
    one = log_line(X[:1], y[:1])
    assert np.isnan([*one.slope, *one.correlation, *one.misfit, one.log_c]).all()
    lost = np.full((3, 4), np.nan)
    assert np.isnan(log_line(X[:3], lost).slope).all()
    assert np.isnan(log_line(np.full(3, 2.0), y[:3]).slope).all()


def test_the_order_of_replicas_does_not_matter_much_and_the_seed_decides():
    y = replicas(-1.0, 0.3)
    assert log_line(X, y, seed=1).slope == log_line(X, y, seed=1).slope
    assert log_line(X, y, seed=1).slope.low != log_line(X, y, seed=2).slope.low
    assert log_line(X, y[:, ::-1]).slope.value == pytest.approx(log_line(X, y).slope.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_line(X, np.ones((5, 3))), r"x of shape \(6,\) and y of shape \(5, 3\) do not fit"),
        (lambda: log_line(X, np.ones(6)), "do not fit"),
        (lambda: log_line(-X, np.ones((6, 3))), r"x must be positive, and is not at index \[0, 0\]"),
        (lambda: log_line(X, np.zeros((6, 3))), r"y must be positive, and is not at index \[0, 0\]"),
        (lambda: log_line(X, np.ones((6, 3)), fit="diagonal"), "unknown fit 'diagonal'"),
        (lambda: log_line(X, np.ones((6, 3)), level=2.0), "level must lie between 0 and 1, got 2.0"),
        (lambda: mean_rank_correlation(X, np.ones((5, 3))), "y needs one row a value of x"),
    ],
)
def test_wrong_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_one_replica_has_no_interval():
    found = log_line(X, replicas(-1.0, 0.1, count=1))
    assert found.slope.value == pytest.approx(-1.0, abs=0.2)
    assert np.isnan([found.slope.low, found.slope.high]).all()


def test_a_trend_over_depth_is_spearman_s_correlation():
    values = np.random.default_rng(0).normal(size=(20, 6)).round(1)
    wanted = [stats.spearmanr(row, np.arange(6)).statistic for row in values]
    np.testing.assert_allclose(depth_trend(values), wanted)
    np.testing.assert_allclose(depth_trend(values[:, ::-1]), [-w for w in wanted])
    np.testing.assert_allclose(depth_trend(np.exp(values)), wanted)


def test_censored_values_are_above_all_and_tied():
    assert depth_trend(np.array([[np.inf, np.inf, 3.0, 2.0]])) == depth_trend(np.array([[9.0, 9.0, 3.0, 2.0]]))
    assert np.isnan(depth_trend(np.full((1, 4), np.inf)))
    assert depth_trend(np.ones((1, 4))) == 0


def test_a_layer_that_is_unknown_is_left_out():
    assert depth_trend(np.array([[4.0, np.nan, 3.0, 1.0]])) == pytest.approx(-1)
    assert np.isnan(depth_trend(np.array([[4.0, np.nan, np.nan, 1.0]])))
