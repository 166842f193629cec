"""Data processing and sufficiency, against the factorisation of Fisher and Neyman on parametric families."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tables import channels, tables

from ibjax.errors import InputError
from ibjax.information import (
    JointDistribution,
    data_processing,
    is_sufficient,
    minimal_sufficient,
    mutual_information,
)


@given(tables((3, 4)), channels(4, 3))
def test_processing_never_adds(p, channel):
    joint = JointDistribution.from_table(p)
    found = data_processing(joint, channel)
    assert found.holds
    assert found.before == pytest.approx(mutual_information(p), abs=1e-15)
    assert found.after == pytest.approx(mutual_information(p @ channel), abs=1e-12)
    # The same chain read from its other end.
    other = data_processing(JointDistribution.from_table(p.T), channel, axis=0)
    assert other == pytest.approx(found, abs=1e-15)


@given(tables((4, 3)), channels(4, 2))
def test_an_encoder_reads_x(p, encoder):
    found = data_processing(JointDistribution.from_table(p), encoder, axis=0)
    assert found.after == pytest.approx(mutual_information(encoder.T @ p), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 2), (16, 16), (64, 500)])
@pytest.mark.parametrize("library", [np, jnp])
def test_equality_is_no_violation(library, shape, dtype):
    """A channel that loses nothing leaves only rounding."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for _ in range(5):
            p = rng.dirichlet(np.full(math.prod(shape), 0.3)).reshape(shape).astype(dtype)
            joint = JointDistribution.from_table(library.asarray(p))
            shuffled = data_processing(joint, library.eye(shape[1], dtype=dtype)[rng.permutation(shape[1])])
            assert shuffled.holds
            assert shuffled.after.dtype == dtype
            assert abs(shuffled.after - shuffled.before) < 10 * np.finfo(dtype).eps * (1 + shuffled.before)


def test_known_chain_and_ends():
    joint = JointDistribution.from_table(np.eye(4) / 4)
    found = data_processing(joint, np.repeat(np.eye(2), 2, axis=0))
    assert found.before == pytest.approx(2 * math.log(2))
    assert found.after == pytest.approx(math.log(2))
    assert data_processing(joint, np.ones((4, 1))).after == 0


def test_a_wrong_table_is_found():
    wrong = jax.jit(data_processing)(JointDistribution.from_table(np.full((2, 2), 0.25)), jnp.array([[1, 0], [2, 2.0]]))
    assert not wrong.holds


def test_processing_jits_and_maps():
    p = np.random.default_rng(0).dirichlet(np.ones(12), size=3).reshape(3, 3, 4)
    channel = np.array([[0.5, 0.5], [1, 0], [0, 1], [0.2, 0.8]])
    mapped = jax.jit(jax.vmap(data_processing, (0, None)))(JointDistribution(p), channel)
    for i in range(3):
        exact = data_processing(JointDistribution(p[i]), channel)
        assert exact.after.dtype == np.float64
        np.testing.assert_allclose(mapped.after[i], exact.after, atol=1e-6)
        assert mapped.holds[i]


# Families p(x|theta), rows, with statistics that are known to be sufficient or not.

BITS = np.array(list(itertools.product(range(2), repeat=6)))
HEADS = BITS.sum(axis=1)


def bernoulli(thetas=(0.1, 0.35, 0.5, 0.9)):
    """Six tosses of one coin."""
    theta = np.array(thetas)[:, None]
    return theta**HEADS * (1 - theta) ** (6 - HEADS)


COUNTS = np.array(list(itertools.product(range(6), repeat=2)))


def poisson():
    """Two counts below 6 of one rate."""
    one = np.stack([stats.poisson.pmf(COUNTS, rate).prod(axis=1) for rate in (0.3, 1.0, 2.5)])
    return one / one.sum(axis=1, keepdims=True)


def markov():
    """Six tosses, each the one before with probability theta: first toss and number of changes are sufficient."""
    changes = abs(np.diff(BITS, axis=1)).sum(axis=1)
    return np.stack([0.5 * theta ** (5 - changes) * (1 - theta) ** changes for theta in (0.2, 0.5, 0.7)])


def uniform():
    """Two draws of 1 .. theta: the maximum is sufficient; supports differ."""
    most = COUNTS.max(axis=1)
    return np.stack([(most < theta) / theta**2 for theta in (2, 3, 6)])


def factorises(family, statistic):
    """Fisher and Neyman: within a value of T every row is a multiple, common to all theta, of one function of x."""
    for value in np.unique(statistic):
        block = family[:, statistic == value]
        if np.linalg.matrix_rank(block, tol=1e-9 * max(block.max(), 1e-300)) > 1:
            return False
    return True


STATISTICS = [
    (bernoulli, HEADS, True),
    (bernoulli, np.arange(64), True),
    (bernoulli, -7 * HEADS + 10**9, True),
    (bernoulli, 2 * HEADS + BITS[:, 0], True),
    (bernoulli, HEADS // 2, False),
    (bernoulli, BITS[:, 0], False),
    (bernoulli, np.zeros(64, int), False),
    (bernoulli, BITS @ [1, 1, 1, 1, 1, 2], False),
    (poisson, COUNTS.sum(axis=1), True),
    (poisson, COUNTS.max(axis=1), False),
    (poisson, COUNTS[:, 0], False),
    (markov, abs(np.diff(BITS, axis=1)).sum(axis=1), True),
    (markov, HEADS, False),
    (uniform, COUNTS.max(axis=1), True),
    (uniform, COUNTS.sum(axis=1), False),
]


@pytest.mark.parametrize(("family", "statistic", "sufficient"), STATISTICS)
def test_sufficiency_is_fisher_and_neymans(family, statistic, sufficient):
    rows = family()
    assert factorises(rows, statistic) == sufficient
    assert is_sufficient(rows, statistic) == sufficient
    assert jax.jit(is_sufficient)(rows.astype(np.float32), statistic) == sufficient
    # Whatever the distribution of theta, and with I(theta;T) = I(theta;X).
    prior = np.random.default_rng(0).dirichlet(np.ones(len(rows)))
    joint = JointDistribution.from_conditional(prior, rows)
    assert is_sufficient(joint, statistic) == sufficient
    merged = np.stack([joint.table[:, statistic == value].sum(axis=1) for value in np.unique(statistic)], axis=1)
    lost = joint.mutual_information() - mutual_information(merged)
    assert (lost < 1e-13) == sufficient
    assert is_sufficient(joint, statistic, tolerance=lost + 1e-13)
    # Every sufficient statistic determines the minimal one.
    minimal = minimal_sufficient(joint)
    determined = all(len(set(minimal[statistic == value])) == 1 for value in np.unique(statistic))
    assert determined == sufficient


def as_partition(labels):
    return {tuple(np.flatnonzero(labels == value)) for value in np.unique(labels)}


@pytest.mark.parametrize(
    ("family", "statistic"),
    [
        (bernoulli, HEADS),
        (poisson, COUNTS.sum(axis=1)),
        (markov, abs(np.diff(BITS, axis=1)).sum(axis=1)),
        (uniform, np.searchsorted([2, 3], COUNTS.max(axis=1), side="right")),
    ],
)
def test_the_minimal_statistic_is_the_textbooks(family, statistic):
    rows = family()
    found = minimal_sufficient(rows)
    assert as_partition(found) == as_partition(statistic)
    assert is_sufficient(rows, found)
    assert list(dict.fromkeys(found)) == list(range(found.max() + 1))
    single = minimal_sufficient(jnp.asarray(rows, jnp.float32))
    assert as_partition(single) == as_partition(statistic)
    order = np.random.default_rng(1).permutation(rows.shape[1])
    assert as_partition(minimal_sufficient(rows[:, order])) == as_partition(found[order])


def test_families_of_few_members():
    assert len(as_partition(minimal_sufficient(bernoulli((0.3, 0.7))))) == 7
    assert (minimal_sufficient(bernoulli((0.4, 0.4))) == 0).all()
    assert (minimal_sufficient(bernoulli((0.4,))) == 0).all()


def test_small_ratios_count():
    """Posteriors of 1e-48 and 1e-46 are told apart, as they must be of a longer sequence."""
    heads = np.arange(51)
    rows = np.stack([stats.binom.pmf(heads, 50, theta) for theta in (0.1, 0.9)])
    np.testing.assert_array_equal(minimal_sufficient(rows), heads)


@given(tables((3, 4)), st.data())
def test_a_symbol_split_in_proportion_is_joined_again(p, data):
    share = data.draw(st.floats(0.05, 0.95))
    split = np.concatenate([p[:, :3], p[:, 3:] * share, p[:, 3:] * (1 - share)], axis=1)
    joint = JointDistribution.from_table(split)
    labels = minimal_sufficient(joint)
    assert is_sufficient(joint, labels)
    if p[:, 3].any():
        assert labels[3] == labels[4]
    joined = np.stack([split[:, labels == t].sum(axis=1) for t in range(labels.max() + 1)], axis=1)
    assert mutual_information(joined) == pytest.approx(mutual_information(p), abs=1e-12)
    np.testing.assert_array_equal(minimal_sufficient(JointDistribution.from_table(joined)), range(joined.shape[1]))


def test_symbols_that_never_occur_do_not_matter():
    rows = np.array([[0.0, 0.5, 0.0, 0.5], [0.0, 0.2, 0.0, 0.8]])
    np.testing.assert_array_equal(minimal_sufficient(rows), [0, 0, 0, 1])
    assert is_sufficient(rows, [5, 5, 3, 3])


def test_sufficiency_maps_and_is_false_of_nan():
    rows = bernoulli()
    statistics = np.stack([HEADS, HEADS // 2, -HEADS])
    found = jax.jit(jax.vmap(is_sufficient, (None, 0)))(rows.astype(np.float32), statistics)
    np.testing.assert_array_equal(found, [True, False, True])
    mixed = jax.vmap(lambda statistic: is_sufficient(rows, statistic))(statistics)  # the family stays on the host
    np.testing.assert_array_equal(mixed, found)
    rows[1, 3] = np.nan
    assert not jax.jit(is_sufficient)(rows, HEADS)


HALF = np.full((2, 2), 0.25)
JOINT = JointDistribution.from_table(HALF)
CUBE = JointDistribution(np.full((2, 2, 2), 1 / 8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: data_processing(JOINT, np.eye(3)),
            r"channel must have one row for each of 2 symbols, got shape \(3, 3\)",
        ),
        (lambda: data_processing(JOINT, [[0.5, 0.5], [0.5, 0.6]]), r"channel\[1\] sums to 1.1, not to 1"),
        (lambda: data_processing(JOINT, np.eye(2), axis=2), "axis must be 0 .* or 1 .*, got 2"),
        (lambda: data_processing(CUBE, np.eye(2)), r"two variables, got shape \(2, 2, 2\)"),
        (lambda: is_sufficient(CUBE, [0, 1]), r"two variables, got shape \(2, 2, 2\)"),
        (lambda: is_sufficient(HALF, [0, 1]), r"family\[0\] sums to 0.5"),
        (lambda: is_sufficient(JOINT, [0.5, 1]), "statistic must be integers, got float64"),
        (lambda: is_sufficient(JOINT, [0, 1, 1]), r"one value for each x, \(2,\), got \(3,\)"),
        (lambda: minimal_sufficient([0.5, 0.5]), "one axis a variable, two or more"),
        (lambda: minimal_sufficient([]), "one axis a variable, two or more"),
        (lambda: jax.jit(minimal_sufficient)(np.eye(2)), "the family is traced"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
