"""First crossings and medians of epochs that were not all seen."""

import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.plane import censored_median, first_crossing

EPOCHS = np.array([0, 1, 2, 4, 8])
# Weeks of remission of 42 children, of treatment and placebo; negative ones are censored (Freireich et al. 1963).
TREATED = np.array([6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35])
PLACEBO = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23])


def median_of(weeks, **settings):
    return censored_median(np.where(weeks > 0, weeks, np.nan), np.abs(weeks).astype(float), **settings)


def test_the_first_snapshot_that_reaches_the_level():
    path = np.array([[0.0, 0.5, 0.4, 0.6, 0.9], [0.9, 0.1, 0.1, 0.1, 0.1], [0.0, 0.1, 0.2, 0.3, 0.4]])
    found = first_crossing(EPOCHS, path, 0.5)
    np.testing.assert_array_equal(found.epoch, [1, 0, np.nan])
    np.testing.assert_array_equal(found.censored, [False, False, True])
    np.testing.assert_array_equal(found.last, [8, 8, 8])


def test_down_is_up_turned_over():
    path = np.random.default_rng(0).normal(size=(6, 3, 5))
    up, down = first_crossing(EPOCHS, path, 0.7), first_crossing(EPOCHS, -path, -0.7, direction="down")
    np.testing.assert_array_equal(up.epoch, down.epoch)
    assert up.epoch.shape == (6, 3)
    assert up.censored.any()
    assert not up.censored.all()


def test_to_stay_is_later_than_to_touch():
    path = np.array([[0.0, 0.5, 0.4, 0.6, 0.9], [0.6, 0.6, 0.6, 0.6, 0.1]])
    np.testing.assert_array_equal(first_crossing(EPOCHS, path, 0.5, stay=True).epoch, [4, np.nan])


def test_only_snapshots_that_qualify_count():
    path, accuracy = np.ones((2, 5)), np.array([[0.5, 0.6, 0.95, 0.8, 0.99], [0.5] * 5])
    np.testing.assert_array_equal(first_crossing(EPOCHS, path, 1.0, where=accuracy >= 0.9).epoch, [2, np.nan])
    np.testing.assert_array_equal(
        first_crossing(EPOCHS, path, 1.0, where=accuracy >= 0.9, stay=True).epoch, [8, np.nan]
    )


def test_a_masked_path_is_not_a_censored_one():
    found = first_crossing(EPOCHS, np.array([[1.0, 1.0, np.nan, 1.0, 1.0], [1.0] * 5]), 0.5)
    np.testing.assert_array_equal(found.epoch, [np.nan, 0])
    np.testing.assert_array_equal(found.last, [np.nan, 8])
    assert not found.censored.any()
    assert censored_median(found.epoch, found.last).value == 0


def test_the_textbook_medians():
    # SAS, PROC LIFETEST with the same log-log limits: 23 (13, .) and 8 (4, 11).
    assert median_of(TREATED) == (23.0, 13.0, np.inf)
    assert median_of(PLACEBO) == (8.0, 4.0, 11.0)


def test_survival_by_hand():
    # S falls to 4/5, stays at the censored 20, falls to 4/5 * 2/3 = 0.53 and to 0.53 / 2.
    assert median_of(np.array([10, -20, 30, 40, -50])).value == 40.0


def test_the_order_does_not_matter_and_masked_replicas_neither():
    order = np.random.default_rng(0).permutation(TREATED.size)
    assert median_of(TREATED[order]) == median_of(TREATED)
    epoch = np.append(np.where(TREATED > 0, TREATED, np.nan), np.nan)
    assert censored_median(epoch, np.append(np.abs(TREATED), np.nan)) == median_of(TREATED)


def test_a_higher_level_is_wider():
    assert median_of(PLACEBO, level=0.5).low >= median_of(PLACEBO).low
    assert median_of(PLACEBO, level=0.5).high < median_of(PLACEBO).high


def test_all_censored_none_left_and_one():
    assert median_of(np.array([-5, -5, -7]))[0] == np.inf
    assert np.isnan(censored_median(np.full(2, np.nan), np.full(2, np.nan))).all()
    assert np.isnan(censored_median(np.zeros(0), np.zeros(0))).all()
    assert median_of(np.array([5])).value == 5.0


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(0)
    held = []
    for _ in range(200):
        epoch = 300 * np.exp(0.5 * random.normal(size=20))
        found = censored_median(np.where(epoch > 450, np.nan, epoch), np.full(20, 450.0))
        held.append(found.low <= 300 <= found.high)
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: first_crossing(EPOCHS, np.ones((1, 5)), 0.5, direction="upp"), "did you mean 'up'"),
        (lambda: first_crossing(EPOCHS, np.ones((1, 5)), np.nan), "level must be a number"),
        (lambda: first_crossing(EPOCHS, np.ones((1, 4)), 0.5), "does not fit 5 epochs"),
        (lambda: first_crossing(EPOCHS, np.ones((1, 5)), 0.5, where=np.ones((2, 5), bool)), "does not fit"),
        (lambda: censored_median(np.array([1.0, 9.0]), np.array([5.0, 5.0])), "replica 1 has its event after"),
        (lambda: censored_median(np.ones(2), np.ones(3)), r"shape \(2,\) and last of shape \(3,\)"),
        (lambda: censored_median(np.ones(2), np.ones(2), level=2), "level must lie between"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
