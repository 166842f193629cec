"""Intervals over replicas: as wide as they claim, of the right number, and honest about what they cannot say."""

import math

import numpy as np
import pytest
import scipy.stats

from ibjax.errors import InputError
from ibjax.plane import bootstrap_interval, bounded_mean, paired_difference, power_law, rank_correlation, share

LAYERS = np.arange(1, 7)


def epochs_of_layers(replicas, exponent=-1.5, sigma=0.3, seed=0):
    noise = np.random.default_rng(seed).normal(size=(LAYERS.size, replicas))
    return 800.0 * LAYERS[:, None] ** exponent * np.exp(sigma * noise)


def test_a_mean_of_many_has_students_interval():
    sample = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = bootstrap_interval(np.mean, sample)
    low, high = scipy.stats.t.interval(0.95, 399, sample.mean(), scipy.stats.sem(sample))
    assert found.value == sample.mean()
    np.testing.assert_allclose((found.low, found.high), (low, high), atol=0.02)


def test_a_mean_of_few_has_about_students_interval():
    sample = np.random.default_rng(1).normal(size=8)
    low, high = scipy.stats.t.interval(0.95, 7, sample.mean(), scipy.stats.sem(sample))
    expanded, plain = bootstrap_interval(np.mean, sample), bootstrap_interval(np.mean, sample, expand=False)
    assert 0.85 < (expanded.high - expanded.low) / (high - low) < 1.15
    assert plain.high - plain.low < 0.85 * (high - low)


def test_coverage_and_one_sided_errors_of_a_mean():
    random = np.random.default_rng(2)
    found = [bootstrap_interval(np.mean, random.normal(size=10), resamples=999) for _ in range(400)]
    assert np.mean([f.low <= 0 <= f.high for f in found]) >= 0.92
    assert np.mean([f.low > 0 for f in found]) <= 0.05


def test_a_seed_decides_and_masked_replicas_do_not_matter():
    sample = np.random.default_rng(0).normal(size=9)
    found = bootstrap_interval(np.mean, sample, seed=3)
    assert found == bootstrap_interval(np.mean, np.insert(sample, [0, 5], np.nan), seed=3)
    assert found != bootstrap_interval(np.mean, sample, seed=4)
    float32 = bootstrap_interval(np.mean, sample.astype(np.float32), seed=3)
    np.testing.assert_allclose(float32, found, rtol=2e-3)


@pytest.mark.parametrize("method", ["BCa", "percentile", "basic"])
def test_a_higher_level_is_wider(method):
    sample = np.random.default_rng(0).exponential(size=15)
    narrow, wide = (bootstrap_interval(np.mean, sample, level=level, method=method) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_no_replica_one_replica_and_equal_replicas():
    assert np.isnan(bootstrap_interval(np.mean, np.array([np.nan, np.nan]))).all()
    assert np.isnan(bootstrap_interval(np.mean, np.array([]))).all()
    one = bootstrap_interval(np.mean, np.array([2.0, np.nan]))
    assert one.value == 2.0
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert bootstrap_interval(np.mean, np.full(5, 2.0)) == (2.0, 2.0, 2.0)


def test_a_statistic_that_no_single_replica_moves_has_no_bca_interval():
    found = bootstrap_interval(np.median, np.array([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 5.0]))
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert bootstrap_interval(np.median, np.array([1.0, 2.0, 2.0, 2.0, 5.0]), method="percentile").low <= 2.0


def test_two_samples_apart_and_paired():
    random = np.random.default_rng(0)
    first = random.normal(size=30)
    second = first + 0.1 * random.normal(size=30)

    def difference(a, b, axis=-1):
        return a.mean(axis) - b.mean(axis)

    apart = bootstrap_interval(difference, (first, second))
    paired = bootstrap_interval(difference, (first, second), paired=True)
    assert apart.high - apart.low > 5 * (paired.high - paired.low)
    np.testing.assert_allclose(paired, paired_difference(first, second), atol=0.01)


def test_a_pair_with_a_masked_half_is_left_out():
    first, second = np.array([1.0, 2.0, np.nan, 4.0]), np.array([0.5, np.nan, 1.0, 3.0])
    assert paired_difference(first, second).value == 0.75


@pytest.mark.parametrize(("holds", "count"), [(0, 12), (5, 12), (12, 12), (1, 1)])
def test_a_share_has_the_exact_interval(holds, count):
    found = share(np.arange(count) < holds)
    beta = scipy.stats.beta.ppf
    assert found.value == holds / count
    assert found.low == pytest.approx(beta(0.025, holds, count - holds + 1) if holds else 0.0)
    assert found.high == pytest.approx(beta(0.975, holds + 1, count - holds) if holds < count else 1.0)


def test_a_share_of_nothing_is_unknown():
    assert np.isnan(share(np.zeros(0, bool))).all()


def test_rank_correlation_is_spearmans():
    random = np.random.default_rng(0)
    x = random.integers(0, 6, 40)
    y = x + random.normal(scale=2.0, size=40)
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert found.low < found.value < found.high <= 1
    assert rank_correlation(x, np.exp(y)).value == pytest.approx(found.value)
    assert rank_correlation(x, -y).value == pytest.approx(-found.value)
    assert rank_correlation(y, x).value == pytest.approx(found.value)
    assert rank_correlation(x, np.ones(40)).value == 0.0


def test_independent_ranks_rarely_correlate():
    random = np.random.default_rng(0)
    found = [rank_correlation(*random.normal(size=(2, 12))) for _ in range(60)]
    assert np.mean([f.low > 0 for f in found]) <= 0.1


@pytest.mark.parametrize("exponent", [-2.0, -0.5, 0.0, 1.0])
def test_planted_exponents_are_found(exponent):
    fit = power_law(LAYERS, epochs_of_layers(8, exponent))
    slope, intercept, *_ = scipy.stats.linregress(np.log(LAYERS), np.log(epochs_of_layers(8, exponent)).mean(axis=1))
    assert fit.exponent.value == pytest.approx(slope)
    assert fit.log_c == pytest.approx(intercept)
    assert fit.exponent.low <= exponent <= fit.exponent.high
    assert fit.exponent.high - fit.exponent.low < 0.4
    assert fit.used.all()


def test_a_clean_power_law_is_exact():
    fit = power_law(LAYERS, epochs_of_layers(3, sigma=0.0))
    np.testing.assert_allclose(fit.exponent, -1.5)
    assert fit.log_c == pytest.approx(np.log(800.0))
    assert fit.r_squared == pytest.approx(1.0)


def test_a_censored_point_is_left_out_whole():
    y = epochs_of_layers(6)
    censored = y.copy()
    censored[0, 2] = np.inf
    fit = power_law(LAYERS, censored)
    assert fit.used.tolist() == [False, True, True, True, True, True]
    assert fit.exponent == power_law(LAYERS[1:], y[1:]).exponent


def test_a_masked_replica_is_left_out_alone():
    y = epochs_of_layers(6)
    y[2, 1] = y[3, :] = np.nan
    fit = power_law(LAYERS, y)
    assert fit.used.tolist() == [True, True, True, False, True, True]
    assert np.isfinite(fit.exponent).all()


def test_one_replica_gives_a_slope_without_an_interval_and_one_point_none():
    fit = power_law(LAYERS, epochs_of_layers(1))
    assert math.isfinite(fit.exponent.value)
    assert math.isnan(fit.exponent.low)
    assert np.isnan(power_law(LAYERS[:1], epochs_of_layers(4)[:1]).exponent).all()


@pytest.mark.slow
def test_power_law_intervals_hold_the_truth_as_often_as_they_say():
    found = [power_law(LAYERS, epochs_of_layers(6, seed=seed)).exponent for seed in range(200)]
    assert np.mean([f.low <= -1.5 <= f.high for f in found]) >= 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval(np.mean, np.ones(3), level=0.0), "level must lie between 0 and 1, got 0"),
        (lambda: bootstrap_interval(np.mean, np.ones(3), method="percentiles"), "did you mean 'percentile'"),
        (lambda: bootstrap_interval(np.mean, np.array([1.0, np.inf])), "sample 0 is infinite at replica 1"),
        (lambda: bootstrap_interval(np.mean, (np.ones(3), np.ones(4)), paired=True), r"got \[3, 4\]"),
        (lambda: paired_difference(np.ones(3), np.ones(4)), r"shapes \(3,\) and \(4,\)"),
        (lambda: rank_correlation(np.ones((3, 1)), np.ones((3, 1))), "one value a replica"),
        (lambda: share(np.ones(3, bool), level=95), "level must lie between 0 and 1, got 95"),
        (lambda: power_law(np.array([0, 1]), np.ones((2, 3))), r"x must be positive, and is not at index \[0\]"),
        (lambda: power_law(np.array([1, 2]), np.array([[1.0], [-1.0]])), r"y must be positive.* \[1, 0\]"),
        (lambda: power_law(np.array([2, 2]), np.ones((2, 3))), "x is 2 at every point used"),
        (lambda: power_law(np.array([1, 2]), np.ones((3, 3))), "one row a value of x"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_replicas_that_agree_are_as_sure_as_their_share():
    everywhere = np.ones(20)
    assert bounded_mean(everywhere) == pytest.approx(share(everywhere > 0))
    assert bounded_mean(0 * everywhere) == pytest.approx(share(everywhere < 0))
    found = bounded_mean(np.append(np.full(10, -1.0), np.nan), -1.0, 1.0)
    agree = 0.025**0.1
    assert found == pytest.approx((-1.0, -1.0, 1 - 2 * agree))
    varied = np.random.default_rng(0).random(12)
    assert bounded_mean(varied) == bootstrap_interval(np.mean, varied)
    assert np.isnan(bounded_mean(np.array([np.nan]))).all()
    with pytest.raises(InputError, match=r"between 0 and 1, got -0\.2"):
        bounded_mean(np.array([0.5, -0.2]))


def test_agreement_covers_the_mean_of_rare_exceptions():
    # All but one network in twenty have every layer: ten that agree say little about the others.
    random, truth = np.random.default_rng(0), 0.95
    found = [bounded_mean((random.random(10) < truth).astype(float)) for _ in range(300)]
    assert np.mean([f.low <= truth <= f.high for f in found if f.value == 1]) == 1
