"""Joint distributions: how they are made, what is refused, and that every measure is its definition."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import channels, tables

from ibjax.errors import InputError
from ibjax.information import UNITS, JointDistribution, entropy, kl_divergence, mutual_information

LN2 = math.log(2)
NOISY = np.array([[0.45, 0.05], [0.1, 0.4]])


def test_from_table_keeps_what_it_is_given():
    joint = JointDistribution.from_table(NOISY)
    assert type(joint.table) is np.ndarray
    assert joint.table.dtype == np.float64
    np.testing.assert_array_equal(joint.table, NOISY)
    np.testing.assert_array_equal(JointDistribution.from_table(NOISY.tolist()).table, NOISY)
    single = JointDistribution.from_table(NOISY.astype(np.float32))
    assert type(single.table) is np.ndarray
    assert single.table.dtype == np.float32
    device = JointDistribution.from_table(jnp.asarray(NOISY, jnp.bfloat16))
    assert isinstance(device.table, jax.Array)
    assert device.table.dtype == jnp.bfloat16
    whole = JointDistribution.from_table(np.array([[1, 0], [0, 0]]))
    assert whole.table.dtype == np.float64


def test_rounding_of_the_sum_is_divided_out():
    joint = JointDistribution.from_table(NOISY * (1 + 5e-7))
    assert joint.table.sum() == pytest.approx(1, abs=1e-15)
    single = np.random.default_rng(0).dirichlet(np.ones(4096 * 32)).reshape(4096, 32).astype(np.float32)
    assert JointDistribution.from_table(jnp.asarray(single)).table.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("library", [np, jnp])
def test_from_counts(library):
    joint = JointDistribution.from_counts(library.array([[3, 0], [0, 1]]))
    np.testing.assert_array_equal(joint.table, [[0.75, 0], [0, 0.25]])
    assert joint.table.dtype == (np.float64 if library is np else jnp.float32)
    np.testing.assert_array_equal(JointDistribution.from_counts(library.array([[1.5, 0.5]])).table, [[0.75, 0.25]])


@given(st.lists(st.tuples(*[st.integers(-3, 3)] * 2), min_size=1, max_size=40), st.randoms())
def test_from_samples_counts(pairs, random):
    x, y = np.array(pairs).T
    joint = JointDistribution.from_samples(10**12 * x, y)
    for i, a in enumerate(np.unique(x)):
        for j, b in enumerate(np.unique(y)):
            assert joint.table[i, j] == pairs.count((a, b)) / len(pairs)
    random.shuffle(pairs)
    again = JointDistribution.from_samples(*np.array(pairs).T)
    np.testing.assert_array_equal(again.table, joint.table)
    assert JointDistribution.from_samples(y, x).mutual_information() == pytest.approx(
        joint.mutual_information(), abs=1e-12
    )


def test_from_samples_of_any_labels():
    big = np.array([2**63, 0, 2**63], np.uint64)
    joint = JointDistribution.from_samples(big, [True, False, True])
    np.testing.assert_allclose(joint.table, [[1 / 3, 0], [0, 2 / 3]])
    assert JointDistribution.from_samples([5], [7]).table.shape == (1, 1)
    assert JointDistribution.from_samples([5, 5, 5], [7, 8, 9]).mutual_information() == 0
    three = JointDistribution.from_samples(jnp.array([0, 1, 0, 1]), [0, 0, 1, 1], [0, 1, 1, 0])
    assert three.table.shape == (2, 2, 2)
    assert three.mutual_information(given=2) == pytest.approx(LN2)


@given(tables((3,)), channels(3, 4))
def test_from_conditional_is_undone(p_x, rows):
    joint = JointDistribution.from_conditional(p_x, rows)
    np.testing.assert_allclose(joint.p_x, p_x, atol=1e-15)
    np.testing.assert_allclose(joint.p_y_given_x[p_x > 0], rows[p_x > 0], atol=1e-14)
    np.testing.assert_allclose(joint.p_y_given_x[p_x == 0], np.broadcast_to(joint.p_y, (np.sum(p_x == 0), 4)))
    np.testing.assert_allclose(joint.p_y, p_x @ rows, atol=1e-15)


@pytest.mark.parametrize("library", [np, jnp])
def test_rows_without_mass_may_be_anything(library):
    rows = library.array([[0.25, 0.75], [math.nan, 3.0]])
    joint = JointDistribution.from_conditional(library.array([1.0, 0.0]), rows)
    np.testing.assert_array_equal(joint.table, [[0.25, 0.75], [0, 0]])


def test_from_conditional_of_more_variables_and_mixed_libraries():
    rng = np.random.default_rng(0)
    p_x, rows = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4), size=3).reshape(3, 2, 2)
    joint = JointDistribution.from_conditional(p_x, rows)
    np.testing.assert_allclose(joint.table, p_x[:, None, None] * rows, rtol=1e-14)
    for pair in [(jnp.asarray(p_x), rows), (p_x, jnp.asarray(rows))]:
        mixed = JointDistribution.from_conditional(*pair)
        assert mixed.table.dtype == jnp.float32
        np.testing.assert_allclose(mixed.table, joint.table, rtol=1e-6)


@given(tables((4, 3)))
def test_conditionals_are_distributions(p):
    joint = JointDistribution.from_table(p)
    for rows, weights, others in [
        (joint.p_y_given_x, joint.p_x, joint.p_y),
        (joint.p_x_given_y, joint.p_y, joint.p_x),
    ]:
        assert rows.shape == (len(weights), len(others))
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-14)
        np.testing.assert_allclose(weights @ rows, others, atol=1e-14)
        for row in rows[weights == 0]:
            np.testing.assert_array_equal(row, others)
    np.testing.assert_allclose(joint.p_x_given_y * joint.p_y[:, None], p.T, atol=1e-15)


@given(tables((4, 3)))
def test_measures_obey_the_identities(p):
    joint = JointDistribution.from_table(p)
    h_x, h_y, h_xy = joint.entropy(0), joint.entropy(1), joint.entropy()
    information = joint.mutual_information()
    near = {"abs": 1e-12}
    assert h_xy == pytest.approx(h_x + joint.conditional_entropy(), **near)
    assert h_xy == pytest.approx(h_y + joint.conditional_entropy(0, 1), **near)
    assert information == pytest.approx(h_y - joint.conditional_entropy(), **near)
    assert information == pytest.approx(joint.mutual_information(1, 0), **near)
    assert information == pytest.approx(mutual_information(joint.table), **near)
    assert information == pytest.approx(
        joint.kl_divergence(JointDistribution.from_table(np.outer(joint.p_x, joint.p_y))), **near
    )
    # The same from the conditionals: symbols without mass have no say.
    assert information == pytest.approx(
        joint.p_x @ np.array([kl_divergence(row, joint.p_y) for row in joint.p_y_given_x]), **near
    )
    assert -1e-12 <= information <= min(h_x, h_y) + 1e-12
    assert joint.cross_entropy(joint) == pytest.approx(h_xy, **near)
    mass = p > 0
    assert (p[mass] * joint.self_information()[mass]).sum() == pytest.approx(h_xy, **near)


@given(tables((3, 3)), tables((3, 3)))
def test_relabelling_changes_nothing(p, q):
    a, b = JointDistribution.from_table(p), JointDistribution.from_table(q)
    turned = [JointDistribution.from_table(t[[2, 0, 1]][:, [1, 0, 2]]) for t in (p, q)]
    assert turned[0].mutual_information() == pytest.approx(a.mutual_information(), abs=1e-12)
    expected = a.kl_divergence(b)
    assert expected >= -1e-12
    assert turned[0].kl_divergence(turned[1]) == pytest.approx(expected, abs=1e-12)


def test_known_channels():
    noise = 0.11
    h = entropy(np.array([noise, 1 - noise]))
    symmetric = JointDistribution.from_conditional([0.5, 0.5], [[1 - noise, noise], [noise, 1 - noise]])
    assert symmetric.mutual_information(units="bits") == pytest.approx(1 - h / LN2, rel=1e-14)
    erasure = JointDistribution.from_conditional([0.5, 0.5], [[0.7, 0.3, 0], [0, 0.3, 0.7]])
    assert erasure.mutual_information(units="bits") == pytest.approx(0.7, rel=1e-14)
    assert erasure.conditional_entropy(0, 1, units="bits") == pytest.approx(0.3, rel=1e-14)
    independent = JointDistribution.from_table(np.outer([0.3, 0.7], [0.2, 0.5, 0.3]))
    assert abs(independent.mutual_information()) < 1e-15
    # Equal rows and constant columns are nothing special.
    assert JointDistribution.from_counts([[2, 2, 0], [2, 2, 0]]).mutual_information() == pytest.approx(0, abs=1e-15)
    assert JointDistribution.from_counts([[3], [5]]).mutual_information() == 0


@pytest.mark.parametrize("name", ["entropy", "conditional_entropy", "mutual_information", "self_information"])
def test_units(name):
    joint = JointDistribution.from_table(NOISY)
    for unit, size in UNITS.items():
        np.testing.assert_allclose(getattr(joint, name)(units=unit) * size, getattr(joint, name)(), rtol=1e-15)
    other = JointDistribution.from_table(NOISY.T)
    for pair in ("cross_entropy", "kl_divergence"):
        assert getattr(joint, pair)(other, units="bits") * LN2 == pytest.approx(getattr(joint, pair)(other))


def everything(joint):
    return [
        joint.table,
        joint.p_x,
        joint.p_y,
        joint.p_y_given_x,
        joint.p_x_given_y,
        joint.entropy(),
        joint.entropy((1, 0)),
        joint.entropy(0),
        joint.conditional_entropy(),
        joint.mutual_information(),
        joint.self_information(),
        joint.cross_entropy(joint),
        joint.kl_divergence(joint),
    ]


def test_it_is_a_pytree_that_jits_and_maps():
    p = np.random.default_rng(0).dirichlet(np.ones(12), size=5).reshape(5, 4, 3)
    p[1, 2] = p[2, :, 0] = 0
    p /= p.sum(axis=(1, 2), keepdims=True)
    assert len(jax.tree.leaves(JointDistribution(p))) == 1
    single = p.astype(np.float32)
    mapped = jax.jit(jax.vmap(lambda table: everything(JointDistribution.from_table(table))))(single)
    through = jax.vmap(everything)(JointDistribution(single))
    for i in range(5):
        exact = everything(JointDistribution.from_table(p[i]))
        eager = everything(JointDistribution.from_table(jnp.asarray(single[i])))
        jitted = jax.jit(everything)(JointDistribution.from_table(single[i]))
        for j, truth in enumerate(exact):
            assert eager[j].dtype == jitted[j].dtype == jnp.float32
            for found in (mapped[j][i], through[j][i], eager[j], jitted[j]):
                np.testing.assert_allclose(found, truth, atol=3e-6)


def test_a_table_may_be_written_with_traced_numbers():
    def information(noise):
        return JointDistribution.from_table([[0.5 - noise, noise], [noise, 0.5 - noise]]).mutual_information()

    exact = JointDistribution.from_table([[0.4, 0.1], [0.1, 0.4]]).mutual_information()
    value, slope = jax.jit(jax.value_and_grad(information))(0.1)
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    np.testing.assert_allclose(slope, 2 * math.log(0.1 / 0.4), rtol=1e-5)


@pytest.mark.slow
def test_double_precision_is_kept():
    joint = JointDistribution.from_table(NOISY)
    assert all(a.dtype == np.float64 for a in everything(joint))
    with jax.enable_x64(True):
        device = JointDistribution.from_table(jnp.asarray(NOISY))
        for a, b in zip(everything(device), everything(joint), strict=True):
            assert a.dtype == jnp.float64
            np.testing.assert_allclose(a, b, atol=1e-15)


@pytest.mark.parametrize(
    ("make", "args"),
    [
        ("from_table", ([[0.5, math.nan], [0.25, 0.25]],)),
        ("from_table", ([[0.5, 0.75], [-0.25, 0.0]],)),
        ("from_table", ([[3.0, 1.0], [0.0, 0.0]],)),
        ("from_counts", ([[1.0, math.nan]],)),
        ("from_counts", ([[2.0, -1.0]],)),
        ("from_counts", ([[0.0, 0.0]],)),
        ("from_conditional", ([0.5, 0.6], [[0.5, 0.5], [0.5, 0.5]])),
        ("from_conditional", ([0.5, 0.5], [[0.5, 0.6], [0.5, 0.5]])),
    ],
)
def test_bad_values_are_errors_outside_and_nan_inside(make, args):
    args = [np.array(a) for a in args]
    make = getattr(JointDistribution, make)
    with pytest.raises(InputError):
        make(*args)
    found = jax.jit(make)(*args)
    assert np.isnan(found.table).any()
    assert np.isnan(found.mutual_information())
    assert np.isnan(found.p_y_given_x).any()


OVERLAP = JointDistribution.from_table(NOISY)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: JointDistribution.from_table([[0.5, -0.1], [0.3, 0.3]]), r"p\[0, 1\] is -0.1: no mass is negative"),
        (lambda: JointDistribution.from_table([[0.5, 0.5], [0, np.nan]]), r"p\[1, 1\] is nan: remove or repair it"),
        (lambda: JointDistribution.from_table([[0.5, 0.5], [0, np.inf]]), r"p\[1, 1\] is inf"),
        (lambda: JointDistribution.from_table(jnp.ones((2, 2))), "p sums to 4, not to 1: divide it by its sum, or use"),
        (lambda: JointDistribution.from_table([[45, 5], [10, 40]]), "sums to 100, .* from_counts if it counts"),
        (lambda: JointDistribution.from_table(np.zeros((2, 0))), r"none of them empty, got shape \(2, 0\)"),
        (lambda: JointDistribution.from_table([]), r"one axis a variable, two or more, .*\(0,\)"),
        (lambda: JointDistribution.from_table([0.5, 0.5]), r"two or more, .* got shape \(2,\)"),
        (lambda: JointDistribution.from_table(1.0), r"got shape \(\)"),
        (lambda: JointDistribution.from_table([[0.5, 0.5], [1]]), "give every row the same length"),
        (lambda: JointDistribution.from_table([["a", "b"]]), "p must be real numbers"),
        (lambda: JointDistribution.from_table([[1j, 0]]), "p must be real numbers, got complex128"),
        (lambda: JointDistribution.from_counts([[1, 2], [3, -4]]), r"counts\[1, 1\] is -4.0: no mass is negative"),
        (lambda: JointDistribution.from_counts([[0, 0]]), "counts sum to 0.0: one observation is needed"),
        (lambda: JointDistribution.from_counts(np.zeros((0, 3))), r"got shape \(0, 3\)"),
        (lambda: JointDistribution.from_samples([], []), r"one length, 1 or more, got \[0, 0\]"),
        (lambda: JointDistribution.from_samples([1, 2], [1]), r"one length, 1 or more, got \[2, 1\]"),
        (lambda: JointDistribution.from_samples([0.5, 1.0], [1, 2]), "x must be integer labels, got float64"),
        (lambda: JointDistribution.from_samples([1, 2], [1, 2], [1.0, 2]), "variable 2 must be integer labels"),
        (lambda: JointDistribution.from_samples([[1], [2]], [1, 2]), r"x must be labels of shape \(n,\), got \(2, 1\)"),
        (lambda: JointDistribution.from_samples(np.arange(20_000), np.arange(20_000)), "20000 x 20000 is too large"),
        (lambda: jax.jit(JointDistribution.from_samples)([1, 2], [1, 2]), "x is traced"),
        (lambda: jax.jit(JointDistribution.from_samples)(np.ones(2, int), np.ones(2, int)), "x is traced"),
        (lambda: JointDistribution.from_conditional([0.5, 0.4], np.eye(2)), "p_x sums to 0.9, not to 1"),
        (
            lambda: JointDistribution.from_conditional([0.5, 0.5], [[0.5, 0.5], [0.5, 0.4]]),
            r"p_y_given_x\[1\] sums to 0.9, not to 1: divide each row by its sum",
        ),
        (lambda: JointDistribution.from_conditional([1.0], np.eye(2)), r"p_x must be \(\|X\|,\) .* got \(1,\) and"),
        (lambda: JointDistribution.from_conditional([0.5, 0.5], [1, 1]), r"p_y_given_x must have one axis a variable"),
        (lambda: OVERLAP.mutual_information(0, 0), "axis 0 is named twice"),
        (lambda: OVERLAP.entropy(2), "the table has no axis 2: it has 2 variables"),
        (
            lambda: OVERLAP.kl_divergence(JointDistribution.from_table([[1, 0]])),
            r"one shape, got \(2, 2\) and \(1, 2\)",
        ),
        (lambda: OVERLAP.entropy(units="bit"), "unknown unit 'bit'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
