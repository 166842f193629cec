"""Measures of many variables: definitions, chain rules, known tables, and another package where it is installed."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from tables import tables

from ibjax.errors import InputError
from ibjax.information import (
    UNITS,
    conditional_entropy,
    conditional_mutual_information,
    dual_total_correlation,
    entropy,
    interaction_information,
    joint_entropy,
    kl_divergence,
    marginal,
    mutual_information,
    total_correlation,
)

LN2 = math.log(2)
SHAPE = (2, 3, 2)
SCALARS = [
    joint_entropy,
    conditional_entropy,
    conditional_mutual_information,
    interaction_information,
    total_correlation,
    dual_total_correlation,
]

XOR = np.zeros((2, 2, 2))
XOR[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 1 / 4
COPIES = np.zeros((2, 2, 2))
COPIES[[0, 1], [0, 1], [0, 1]] = 1 / 2
near = pytest.approx


def h(p, *axes):
    """Entropy of some variables, cell by cell."""
    mass = {}
    for index in np.ndindex(p.shape):
        key = tuple(index[i] for i in axes)
        mass[key] = mass.get(key, 0.0) + p[index]
    return -sum(m * math.log(m) for m in mass.values() if m > 0)


def test_marginal_keeps_the_order_of_its_axes():
    p = np.random.default_rng(0).dirichlet(np.ones(120)).reshape(2, 3, 4, 5)
    for axes in itertools.permutations(range(4), 2):
        found = marginal(p, axes)
        assert found.shape == tuple(p.shape[i] for i in axes)
        for i, j in np.ndindex(found.shape):
            np.testing.assert_allclose(found[i, j], p.take([i], axes[0]).take([j], axes[1]).sum(), rtol=1e-12)
    np.testing.assert_array_equal(marginal(p, (0, 1, 2, 3)), p)
    np.testing.assert_array_equal(marginal(p, -1), marginal(p, np.int64(3)))
    assert marginal(p, ()) == near(1)


@given(tables(SHAPE))
def test_measures_are_their_definitions(p):
    tight = {"abs": 1e-12}
    assert joint_entropy(p) == near(h(p, 0, 1, 2), **tight)
    assert joint_entropy(p, (2, 0)) == near(h(p, 0, 2), **tight)
    assert conditional_entropy(p, 1, (0, 2)) == near(h(p, 0, 1, 2) - h(p, 0, 2), **tight)
    assert conditional_entropy(p) == near(h(p, 0, 1) - h(p, 0), **tight)
    of_x_y = h(p, 0, 2) + h(p, 1, 2) - h(p, 0, 1, 2) - h(p, 2)
    assert conditional_mutual_information(p) == near(of_x_y, **tight)
    assert interaction_information(p) == near(of_x_y - h(p, 0) - h(p, 1) + h(p, 0, 1), **tight)
    assert total_correlation(p) == near(h(p, 0) + h(p, 1) + h(p, 2) - h(p, 0, 1, 2), **tight)
    pairs = h(p, 0, 1) + h(p, 0, 2) + h(p, 1, 2)
    assert dual_total_correlation(p) == near(pairs - 2 * h(p, 0, 1, 2), **tight)


@given(tables(SHAPE))
def test_chain_rules(p):
    tight = {"abs": 1e-12}
    chain = joint_entropy(p, 0) + conditional_entropy(p, 1, 0) + conditional_entropy(p, 2, (0, 1))
    assert joint_entropy(p) == near(chain, **tight)
    whole = conditional_mutual_information(p, (0, 1), 2, ())
    parts = conditional_mutual_information(p, 0, 2, ()) + conditional_mutual_information(p, 1, 2, 0)
    assert whole == near(parts, **tight)
    chain = conditional_mutual_information(p, 0, 1, ()) + conditional_mutual_information(p, (0, 1), 2, ())
    assert total_correlation(p) == near(chain, **tight)
    assert conditional_mutual_information(p, 0, 1, ()) == near(mutual_information(marginal(p, (0, 1))), **tight)


@given(tables(SHAPE))
def test_signs_bounds_and_symmetry(p):
    slack = 1e-12
    assert -slack <= conditional_entropy(p, 0, 1) <= joint_entropy(p, 0) + slack
    assert conditional_entropy(p, 0, (1, 2)) <= conditional_entropy(p, 0, 1) + slack
    conditional = conditional_mutual_information(p)
    assert -slack <= conditional <= min(conditional_entropy(p, 0, 2), conditional_entropy(p, 1, 2)) + slack
    assert conditional_mutual_information(p, 1, 0, 2) == near(conditional, abs=slack)
    total, dual = total_correlation(p), dual_total_correlation(p)
    assert -slack <= dual <= joint_entropy(p) + slack
    assert -slack <= total <= 2 * dual + slack  # n - 1 times
    product = marginal(p, 0)[:, None, None] * marginal(p, 1)[:, None] * marginal(p, 2)
    assert total == near(kl_divergence(p.ravel(), product.ravel()), abs=slack)
    for axes in itertools.permutations(range(3)):
        for measure in (joint_entropy, interaction_information, total_correlation, dual_total_correlation):
            assert measure(p.transpose(axes)) == near(measure(p), abs=slack)


@given(tables((2, 3)), tables((2, 2)))
def test_independent_parts_add(p, q):
    both = p[:, :, None, None] * q
    for measure in (joint_entropy, total_correlation, dual_total_correlation):
        assert measure(both) == near(measure(p) + measure(q), abs=1e-12)
    assert interaction_information(both) == near(0, abs=1e-12)
    assert conditional_mutual_information(both, 0, 1, (2, 3)) == near(mutual_information(p), abs=1e-12)


@given(tables((3, 2)))
def test_two_variables_have_one_information(p):
    for measure in (interaction_information, total_correlation, dual_total_correlation):
        assert measure(p) == near(mutual_information(p), abs=1e-12)


def test_known_tables_and_mcgills_sign():
    assert interaction_information(XOR, units="bits") == near(1)
    assert interaction_information(COPIES, units="bits") == near(-1)
    assert total_correlation(XOR, units="bits") == near(1)
    assert dual_total_correlation(XOR, units="bits") == near(2)
    assert total_correlation(COPIES, units="bits") == near(2)
    assert dual_total_correlation(COPIES, units="bits") == near(1)
    assert conditional_mutual_information(XOR, units="bits") == near(1)
    assert conditional_mutual_information(XOR, given=(), units="bits") == near(0, abs=1e-15)
    assert conditional_mutual_information(COPIES) == near(0, abs=1e-15)
    # Four variables of even parity: only all of them together are known.
    parity = np.zeros((2,) * 4)
    for bits in itertools.product(range(2), repeat=3):
        parity[(*bits, sum(bits) % 2)] = 1 / 8
    assert interaction_information(parity, units="bits") == near(1)
    assert total_correlation(parity, units="bits") == near(1)
    assert dual_total_correlation(parity, units="bits") == near(3)
    assert interaction_information(parity.sum(3)) == near(0, abs=1e-15)
    # One variable, and none.
    assert interaction_information(np.array([0.5, 0.5])) == near(-LN2)
    assert total_correlation(np.array([0.5, 0.5])) == dual_total_correlation(np.array([0.5, 0.5])) == 0
    assert joint_entropy(XOR, ()) == conditional_entropy(XOR, (), 0) == 0


@given(tables(SHAPE))
def test_an_added_variable_is_mcgills_recursion(p):
    """I(X;Y;Z;W) = I(X;Y;Z|W) - I(X;Y;Z)."""
    rng = np.random.default_rng(0)
    four = p[..., None] * rng.dirichlet(np.ones(2), size=SHAPE)
    p_w = marginal(four, 3)
    given_w = sum(w * interaction_information(four[..., i] / w) for i, w in enumerate(p_w) if w > 0)
    assert interaction_information(four) == near(given_w - interaction_information(p), abs=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("measure", SCALARS)
def test_units_jit_and_map(measure):
    p = np.random.default_rng(0).dirichlet(np.ones(12), size=4).reshape(4, *SHAPE)
    for unit, size in UNITS.items():
        assert measure(p[0], units=unit) * size == near(measure(p[0]), rel=1e-14)
    single = jnp.asarray(p, jnp.float32)
    mapped, jitted = jax.vmap(measure)(single), jax.jit(measure)
    for i in range(4):
        exact = measure(p[i])
        assert exact.dtype == np.float64
        for found in (mapped[i], jitted(single[i]), measure(single[i])):
            assert found.dtype == jnp.float32
            assert found == near(exact, abs=2e-6)
    assert np.isnan(jitted(single[0].at[1, 1, 1].set(jnp.nan)))


def test_small_probabilities_do_not_underflow():
    p = np.diag(np.array([1e-30, 1], np.float32))[..., None]
    assert conditional_mutual_information(p) == near(1e-30 * 30 * math.log(10), rel=1e-5)
    assert conditional_entropy(p) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: marginal(XOR, 3), "the table has no axis 3: it has 3 variables, counted from 0"),
        (lambda: joint_entropy(XOR, (0, -4)), "no axis -4"),
        (lambda: marginal(XOR, (1, 1)), "axis 1 is named twice"),
        (lambda: conditional_mutual_information(XOR, 0, 1, -2), "axis 1 is named twice"),
        (lambda: conditional_mutual_information(np.eye(2) / 2), "no axis 2"),
        (lambda: conditional_entropy(XOR, 0, 0), "axis 0 is named twice"),
        (lambda: total_correlation(XOR, units="bit"), "unknown unit 'bit'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_dit_agrees():
    dit = pytest.importorskip("dit")
    rng = np.random.default_rng(0)
    for shape in [(2, 3, 2), (2, 2, 3, 2)]:
        p = rng.dirichlet(np.full(math.prod(shape), 0.4)).reshape(shape)
        names = ["".join(map(str, index)) for index in np.ndindex(shape)]
        d = dit.Distribution(names, p.ravel().tolist())
        assert joint_entropy(p, units="bits") == near(dit.shannon.entropy(d), abs=1e-9)
        assert entropy(marginal(p, 1), units="bits") == near(dit.shannon.entropy(d, [1]), abs=1e-9)
        assert total_correlation(p, units="bits") == near(dit.multivariate.total_correlation(d), abs=1e-9)
        assert dual_total_correlation(p, units="bits") == near(dit.multivariate.dual_total_correlation(d), abs=1e-9)
        assert interaction_information(p, units="bits") == near(dit.multivariate.interaction_information(d), abs=1e-9)
        known = dit.multivariate.coinformation(d, [[0], [1]], [2])
        assert conditional_mutual_information(p, units="bits") == near(known, abs=1e-9)
