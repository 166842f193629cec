"""Training and test parts: their sizes, their rows and the quirk of the first 80 %."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibjax.datasets import SPLITS, from_arrays, split, szt
from ibjax.errors import InputError

KEY = jax.random.key(3)


def numbered(y):
    """A data set whose one feature is the row's number."""
    y = np.asarray(y)
    return from_arrays(np.arange(len(y))[:, None], y, name="numbered")


def rows(part):
    return part.x[:, 0].astype(int)


@pytest.fixture(scope="module")
def whole():
    return szt()


@pytest.mark.parametrize("how", SPLITS)
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.3, 0.5, 0.8, 0.85, 0.99, 1.0])
def test_sizes(whole, how, fraction):
    train, test = split(whole, fraction, how, KEY)
    assert len(train) == round(fraction * 4096)
    assert len(train) + len(test) == 4096


@pytest.mark.parametrize("how", SPLITS)
def test_the_studies_sizes(whole, how):
    assert [len(part) for part in split(whole, 0.8, how, KEY)] == [3277, 819]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 1), st.sampled_from(SPLITS))
def test_parts_are_disjoint_and_complete(y, fraction, how):
    data = numbered(y)
    if round(fraction * len(y)) == 0:
        with pytest.raises(InputError, match="leaves no training row"):
            split(data, fraction, how, KEY)
        return
    train, test = split(data, fraction, how, KEY)
    assert sorted([*rows(train), *rows(test)]) == list(range(len(y)))
    for part in (train, test):
        np.testing.assert_array_equal(part.y, data.y[rows(part)])


@given(st.lists(st.integers(0, 4), min_size=2, max_size=200), st.floats(0.01, 1))
def test_stratified_parts_hold_each_class_in_its_share(y, fraction):
    data = numbered(y)
    size = round(fraction * len(y))
    if size == 0:
        return
    train, _ = split(data, fraction, "stratified", KEY)
    share = np.bincount(data.y, minlength=5) * size / len(y)
    assert np.abs(np.bincount(train.y, minlength=5) - share).max() < 1


def test_stratified_on_the_12_bit_task(whole):
    for fraction in (0.01, 0.3, 0.8):
        train, _ = split(whole, fraction, "stratified", KEY)
        assert abs(train.y.sum() - 2118 * len(train) / 4096) < 1


def test_first_keeps_the_order_and_biases_the_classes(whole):
    train, test = split(whole, 0.8, "first", KEY)
    np.testing.assert_array_equal(train.x, whole.x[:3277])
    np.testing.assert_array_equal(test.x, whole.x[3277:])
    assert train.p_y[1] == pytest.approx(0.437, abs=5e-4)
    assert test.p_y[1] == pytest.approx(0.836, abs=5e-4)


@pytest.mark.parametrize("how", ["random", "stratified"])
def test_the_key_decides(how):
    data = numbered(np.arange(300) % 3)
    one, again = split(data, 0.5, how, KEY), split(data, 0.5, how, jax.random.key(3))
    other = split(data, 0.5, how, jax.random.key(4))
    for a, b, c in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        assert set(rows(a)) != set(rows(c))


@pytest.mark.parametrize("how", ["random", "stratified"])
def test_every_row_is_equally_likely_to_train(how):
    # 400 splits of 40 rows, half of each class: a row trains in 200 +- 10 of them.
    data = numbered([0, 1] * 20)
    trained = np.zeros(40)
    position = np.zeros(40)
    for key in jax.random.split(jax.random.key(0), 400):
        train, _ = split(data, 0.5, how, key)
        trained[rows(train)] += 1
        position[rows(train)] += np.arange(20)
    assert np.abs(trained - 200).max() < 45
    # Parts are in random order: a row's mean position is 9.5 +- 0.41.
    assert np.abs(position / trained - 9.5).max() < 1.9


def test_parts_know_their_information(whole):
    train, test = split(whole, 0.8, "first", KEY)
    for part in (train, test):
        p = part.y.mean()
        assert part.mutual_information == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p), rel=1e-6)
    assert (train.name, test.name) == ("12-bit task (train)", "12-bit task (test)")


def test_soft_rows_go_with_their_inputs():
    data = szt(gamma=0.3)
    train, _ = split(data, 0.3, "random", KEY)
    index = (train.x @ 2 ** np.arange(11, -1, -1)).astype(int)
    np.testing.assert_array_equal(train.p_y_given_x, data.p_y_given_x[index])


def test_all_rows_can_train(whole):
    train, test = split(whole, 1.0, "random", KEY)
    assert (len(train), len(test)) == (4096, 0)
    assert test.mutual_information is None


@pytest.mark.parametrize("fraction", [0.0, 0.009, 1.001, -0.8, 80, np.nan])
def test_fraction_out_of_range(whole, fraction):
    with pytest.raises(InputError, match=rf"from 0\.01 to 1, got {fraction}: 0\.8 trains on 80 %"):
        split(whole, fraction, "random", KEY)


def test_fraction_that_leaves_nothing():
    with pytest.raises(InputError, match=r"fraction 0\.1 of 4 rows leaves no training row: raise it"):
        split(numbered([0, 1, 0, 1]), 0.1, "random", KEY)


def test_unknown_way():
    with pytest.raises(InputError, match="unknown split 'ramdom': did you mean 'random'"):
        split(numbered([0, 1, 0, 1]), 0.5, "ramdom", KEY)
