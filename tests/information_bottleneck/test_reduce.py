"""Reduction loses nothing and finds its way back; tables are looked at before anything else."""

import types

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import as_table, reduce
from ibjax.datasets import szt
from ibjax.errors import InputError
from ibjax.information import mutual_information


def information(table):
    return mutual_information(table.p_x[:, None] * table.p_y_given_x)


def test_equal_rows_are_merged_and_come_back():
    _, rows = reference.random_table(5, 3)
    copies = np.array([0, 3, 3, 1, 4, 0, 2, 3])
    mass = np.random.default_rng(1).dirichlet(np.ones(8))
    small = reduce((mass, rows[copies]))
    assert small.table.p_x.shape == (5,)
    np.testing.assert_allclose(small.table.p_y_given_x[small.index], rows[copies], atol=1e-15)
    np.testing.assert_allclose(np.bincount(small.index, mass), small.table.p_x, atol=1e-15)
    np.testing.assert_allclose(information(small.table), information(as_table((mass, rows[copies]))), atol=1e-14)
    encoder = np.random.default_rng(2).dirichlet(np.ones(2), size=5)
    np.testing.assert_array_equal(small.expand(encoder, np.full(2, 0.5)), encoder[small.index])


def test_the_tolerance_is_what_is_merged():
    rows = np.array([[0.5, 0.5], [0.5 + 1e-6, 0.5 - 1e-6], [0.5 + 3e-6, 0.5 - 3e-6], [0.9, 0.1]])
    counts = [len(reduce((np.full(4, 0.25), rows), tolerance).table.p_x) for tolerance in (0, 1e-7, 1.5e-6, 2.5e-6)]
    assert counts == [4, 4, 3, 2]
    # Rows that differ in one column only are not equal.
    rows = np.array([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5]])
    assert len(reduce((np.full(3, 1 / 3), rows)).table.p_x) == 3


def test_inputs_without_mass_are_dropped_whatever_they_hold():
    p_x, rows = reference.random_table(4, 2)
    wide = np.insert(p_x, 2, 0.0), np.insert(rows, 2, [np.nan, -3.0], axis=0)
    small = reduce(wide)
    expected = reduce((p_x, rows))
    for a, b in zip(small.table, expected.table, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)
    assert small.index[2] == -1
    marginal = np.array([0.3, 0.7])
    np.testing.assert_array_equal(small.expand(np.eye(2)[[0, 1, 0, 1]], marginal)[2], marginal)


def test_the_order_of_inputs_is_nothing():
    p_x, rows = reference.random_table(9, 3)
    shuffled = np.random.default_rng(0).permutation(9)
    one, other = reduce((p_x, rows)), reduce((p_x[shuffled], rows[shuffled]))
    for a, b in zip(one.table, other.table, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15)
    np.testing.assert_array_equal(one.index[shuffled], other.index)


@pytest.mark.parametrize(("gamma", "most"), [(0.3, 64), (8.0, 64)])
def test_the_twelve_bit_task_has_few_rows(gamma, most):
    rows = np.asarray(szt(gamma=gamma).p_y_given_x, np.float64)
    small = reduce((np.full(4096, 1 / 4096), rows))
    assert 2 <= len(small.table.p_x) <= most
    np.testing.assert_allclose(small.table.p_y_given_x[small.index], rows, atol=1e-10)


def test_whatever_holds_a_table():
    p_x, rows = reference.random_table(4, 3)
    holder = types.SimpleNamespace(p_x=p_x, p_y_given_x=rows)
    for joint in [(p_x, rows), [p_x, rows], holder, p_x[:, None] * rows, (p_x.tolist(), rows.tolist())]:
        found = as_table(joint)
        np.testing.assert_allclose(found.p_x, p_x, atol=1e-15)
        np.testing.assert_allclose(found.p_y_given_x, rows, atol=1e-15)
    single = as_table((p_x.astype(np.float32), rows.astype(np.float32)))
    np.testing.assert_allclose(single.p_y_given_x.sum(axis=1), 1, atol=1e-15)
    np.testing.assert_allclose(single.p_x.sum(), 1, atol=1e-15)


GOOD = np.array([[0.4, 0.1], [0.1, 0.4]])


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        (np.array([[0.5, -0.1], [0.3, 0.3]]), r"the table\[\(0, 1\)\] is -0.1"),
        (np.array([[0.5, np.nan], [0.3, 0.3]]), r"the table\[\(0, 1\)\] is nan"),
        (100 * GOOD, "sum to 100, not 1: normalise them; of counts, divide by the total"),
        (np.zeros((0, 2)), "empty"),
        (np.array([[0.4, 0.6]]), "X has one symbol"),
        (np.array([[0.4, 0.6], [0.0, 0.0]]), "X has one symbol"),
        (np.array([[0.4], [0.6]]), "Y has one symbol"),
        (np.array([[0.4, 0.0], [0.6, 0.0]]), "Y has one symbol"),
        (np.full((2, 2, 2), 0.125), r"got shape \(2, 2, 2\)"),
        ((np.full(3, 1 / 3), 2 * GOOD), "p_x has 3 inputs and p_y_given_x 2"),
        ((np.full(2, 0.5), GOOD), "sums to 0.5 in row 0, not 1: normalise every row"),
        ((np.array([0.5, 0.6]), 2 * GOOD), "sum to 1.1, not 1"),
        ((np.array([1.5, -0.5]), 2 * GOOD), r"p_x\[1\] is -0.5"),
        ((np.full(2, 0.5), np.array([[0.5, 0.5], [1.5, -0.5]])), r"p_y_given_x\[\(1, 1\)\] is -0.5"),
        ("a table", "the table must be an array of probabilities, got str"),
    ],
)
def test_bad_tables(unchecked, joint, message):
    with pytest.raises(InputError, match=message):
        reduce(joint)
