"""The squared bottleneck: closed forms, time-sharing where the curve is straight, and a gap that holds."""

import jax
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import curve, squared
from ibjax.errors import InputError


def check(found, joint, tolerance=1e-9):
    """What holds of every result with a list of b."""
    p_x, p = joint
    mass = p_x > 0
    for i, b in enumerate(found.b):
        q = found.encoder[i]
        np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(found.marginal[i], p_x @ q, atol=1e-12)
        np.testing.assert_allclose(found.decoder[i].sum(axis=1), 1, atol=1e-12)
        joint_xt = p_x[:, None] * q
        joint_ty = joint_xt[mass].T @ p[mass]
        np.testing.assert_allclose(joint_ty, found.marginal[i][:, None] * found.decoder[i], atol=1e-12)
        live = found.marginal[i] > 0
        np.testing.assert_allclose(found.complexity[i], reference.information(joint_xt[:, live]), atol=1e-12)
        np.testing.assert_allclose(found.relevance[i], reference.information(joint_ty[live]), atol=1e-12)
        np.testing.assert_allclose(found.lagrangian[i], found.complexity[i] ** 2 - b * found.relevance[i], atol=1e-13)
        np.testing.assert_allclose(2 * found.beta[i] * found.complexity[i], b, rtol=1e-13)
    assert (found.status == 0).all()
    assert (found.gap >= 0).all()
    assert (found.gap <= tolerance).all()


def test_a_function_of_the_input():
    """32 inputs, 4 labels: I(X;T) = b / 2, Y with erasures, up to b = 2 H(Y), and Y itself from there on."""
    rng = np.random.default_rng(0)
    p_x, f = rng.dirichlet(np.ones(32)), rng.permutation(np.arange(32) % 4)
    joint = p_x, np.eye(4)[f]
    p_y = p_x @ joint[1]
    h = -(p_y * np.log(p_y)).sum()
    bs = np.array([1e-3, 0.3, 1.0, 2 * h - 1e-3, 2 * h, 2 * h + 0.1, 20.0])
    # Y itself is one cluster per distinct input, which the simple method starts from.
    found = squared(joint, bs, method="blahut-arimoto")
    check(found, joint)
    np.testing.assert_allclose(found.complexity, np.minimum(bs / 2, h), atol=1e-12)
    np.testing.assert_allclose(found.relevance, np.minimum(bs / 2, h), atol=1e-12)
    np.testing.assert_allclose(found.beta, np.maximum(bs / (2 * h), 1), rtol=1e-12)
    # The encoder at b = 1: lost with the same probability everywhere, else the label.
    q = found.encoder[2]
    lost = 1 - 0.5 / h
    np.testing.assert_allclose(q[:, 0], lost, atol=1e-12)
    np.testing.assert_allclose(np.sort(q, axis=1)[:, -2:].sum(axis=1), 1, atol=1e-12)
    assert len({tuple(row) for row in q.round(12)}) == 4


@pytest.mark.parametrize("p", [0.1, 0.3])
def test_binary_symmetric_source(p):
    """Mrs Gerber's curve on a fine grid of the noise q."""
    joint = reference.binary_symmetric(p)
    bs = np.array([0.01, 0.1, 0.5, 1.0, 2.0, 5.0])
    found = squared(joint, bs)
    check(found, joint)
    q = np.linspace(1e-9, 0.5, 400_001)
    complexity = np.log(2) - reference.binary_entropy(q)
    relevance = np.log(2) - reference.binary_entropy(p + q - 2 * p * q)
    values = complexity**2 - bs[:, None] * relevance
    np.testing.assert_allclose(found.lagrangian, values.min(axis=1), atol=2e-9)
    np.testing.assert_allclose(found.complexity, complexity[values.argmin(axis=1)], atol=1e-4)
    assert found.gap_kind == "certified"
    # The slope there is 1 / beta.
    for i, beta in enumerate(found.beta):
        np.testing.assert_allclose(found.complexity[i], reference.binary_symmetric_solution(p, beta)[0], atol=2e-3)


def test_a_jump_is_shared():
    """The erasure of a fair bit: a straight curve of slope 1 - e."""
    e = 0.25
    joint = reference.table([0.5, 0.5], [[1 - e, 0, e], [0, 1 - e, e]])
    bs = np.array([0.1, 1.0, 1.8, 1.9])
    found = squared(joint, bs, method="blahut-arimoto")
    check(found, joint)
    expected = np.minimum(bs * (1 - e) / 2, np.log(2))
    np.testing.assert_allclose(found.complexity, expected, atol=1e-9)
    np.testing.assert_allclose(found.relevance, (1 - e) * expected, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_gap_holds_against_the_curve(seed):
    joint = reference.random_table(9, 2, seed)
    bs = np.array([0.05, 0.4, 1.0, 3.0, 30.0])
    found = squared(joint, bs)
    check(found, joint)
    whole = curve(joint)
    grid = np.linspace(0, whole.entropy, 20_001)
    attained = (grid**2 - bs[:, None] * whole.lower(grid)).min(axis=1)
    bound = (grid**2 - bs[:, None] * whole.upper(grid)).min(axis=1)
    assert (found.lagrangian <= attained + found.gap + 1e-12).all()
    # No closer than the grid's own error.
    assert (found.lagrangian >= bound - 1e-6).all()
    # A loose tolerance is kept too.
    loose = squared(joint, bs, tolerance=1e-3)
    check(loose, joint, 1e-3)
    assert (loose.lagrangian - loose.gap <= found.lagrangian + 1e-12).all()
    assert (loose.lagrangian >= found.lagrangian - found.gap).all()
    assert loose.iterations.sum() < found.iterations.sum()


def test_points_are_in_the_order_of_b_and_alone_the_same():
    joint = reference.random_table(9, 2)
    bs = np.array([3.0, 0.2, 1.0])
    found = squared(joint, bs)
    assert (np.diff(found.complexity[[1, 2, 0]]) > 0).all()
    for i, b in enumerate(bs):
        one = squared(joint, b)
        assert np.ndim(one.b) == np.ndim(one.gap) == 0
        assert one.encoder.ndim == 2
        np.testing.assert_allclose(one.lagrangian, found.lagrangian[i], atol=2e-9)
        np.testing.assert_allclose(one.complexity, found.complexity[i], atol=1e-4)


def test_relabelling_equal_rows_and_inputs_without_mass():
    p_x, p = reference.random_table(6, 2)
    found = squared((p_x, p), 1.0)
    order = np.random.default_rng(0).permutation(6)
    other = squared((p_x[order], p[order][:, ::-1]), 1.0)
    np.testing.assert_allclose(other.lagrangian, found.lagrangian, atol=2e-9)
    wide = np.concatenate([p_x / 4, [0.0], 3 * p_x / 4]), np.concatenate([p, [[np.nan, np.nan]], p])
    other = squared(wide, [1.0])
    check(other, wide)
    np.testing.assert_allclose(other.lagrangian[0], found.lagrangian, atol=1e-12)
    np.testing.assert_array_equal(other.encoder[0, :6], other.encoder[0, 7:])
    np.testing.assert_allclose(other.encoder[0, 6], other.marginal[0], atol=1e-15)


def test_independent_variables_have_nothing():
    for joint in (np.full((3, 2), 1 / 6), np.outer([0.2, 0.8], [0.3, 0.7])):
        found = squared(joint, [0.1, 5.0])
        assert (found.complexity == 0).all()
        assert (found.relevance == 0).all()
        assert (found.beta == np.inf).all()
        np.testing.assert_array_equal(found.encoder, 1.0)


def test_the_setting_of_the_user_stays():
    joint = reference.random_table(5, 2)
    before = jax.config.jax_enable_x64
    one = squared(joint, 2.0)
    assert jax.config.jax_enable_x64 == before
    with jax.enable_x64(not before):
        assert squared(joint, 2.0).lagrangian == one.lagrangian


def test_what_does_not_converge_says_so():
    found = squared(reference.binary_symmetric(0.1), [0.1], method="blahut-arimoto", max_iterations=1)
    assert found.status[0] == 1
    assert found.gap[0] > 1e-9


@pytest.mark.parametrize(
    ("b", "settings", "message"),
    [
        (0.0, {}, r"^b\[0\] is 0: it must be positive and finite"),
        ([1.0, -2.0], {}, r"^b\[1\] is -2"),
        (np.nan, {}, r"^b\[0\] is nan"),
        ([], {}, "^b must be a number or a list"),
        (np.ones((2, 2)), {}, r"^b must be a number or a list of them, got shape \(2, 2\)"),
        (2.0, {"method": "newton"}, "unknown method 'newton'"),
        (2.0, {"tolerance": 0.0}, "tolerance is 0.0: it must be positive"),
        (2.0, {"tolerance": np.nan}, "tolerance is nan: it must be positive"),
        (2.0, {"max_iterations": 0}, "max_iterations is 0"),
        (0.1, {"max_iterations": 0}, "max_iterations is 0"),
    ],
)
def test_bad_settings(unchecked, b, settings, message):
    with pytest.raises(InputError, match=message):
        squared(reference.random_table(4, 2), b, **settings)
    with pytest.raises(InputError, match=r"the table\[\(0, 1\)\] is -0.1"):
        squared(np.array([[0.5, -0.1], [0.3, 0.3]]), 1.0)
