"""Solutions: closed forms, limits, bounds, symmetries, and what happens to bad input."""

import jax
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import METHODS, Status, local_threshold, solve
from ibjax.datasets import szt
from ibjax.errors import InputError


def check(found, joint, tolerance=1e-9):
    """What holds of every solution."""
    p_x, p = joint
    mass = p_x > 0
    n, clusters = found.encoder.shape
    assert n == len(p_x)
    assert found.decoder.shape == (clusters, p.shape[1])
    np.testing.assert_allclose(found.encoder.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(found.decoder.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(found.marginal, p_x @ found.encoder, atol=1e-12)
    joint_xt = p_x[:, None] * found.encoder
    joint_ty = joint_xt[mass].T @ p[mass]
    np.testing.assert_allclose(joint_ty, found.marginal[:, None] * found.decoder, atol=1e-12)
    np.testing.assert_allclose(found.complexity, reference.information(joint_xt), atol=1e-12)
    np.testing.assert_allclose(found.relevance, reference.information(joint_ty), atol=1e-12)
    np.testing.assert_allclose(found.lagrangian, found.complexity - found.beta * found.relevance, atol=1e-12)
    information = reference.information(p_x[mass, None] * p[mass])
    assert -1e-14 <= found.relevance <= min(found.complexity, information) + 1e-12
    assert found.lagrangian + found.beta * information <= found.free_energy + 1e-11 * (1 + found.beta)
    assert found.status is Status.CONVERGED
    assert found.gap <= tolerance
    assert found.raise_for_status() is found
    assert found.gap_kind == ("certified" if p.shape[1] <= 3 else "searched")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [0.1, 0.3])
def test_binary_symmetric_source(p, method):
    joint = reference.binary_symmetric(p)
    for factor in (0.5, 0.99, 1.1, 2.0, 20.0):
        beta = factor / (1 - 2 * p) ** 2
        found = solve(joint, beta, method=method)
        check(found, joint)
        complexity, relevance = reference.binary_symmetric_solution(p, beta)
        assert abs(found.lagrangian - (complexity - beta * relevance)) < 1e-9
        np.testing.assert_allclose([found.complexity, found.relevance], [complexity, relevance], atol=1e-5)


@pytest.mark.parametrize("factor", [1.0001, 1.001, 1.01])
def test_just_above_the_critical_beta(factor):
    joint, beta = reference.binary_symmetric(0.1), factor / 0.8**2
    found = solve(joint, beta, tolerance=1e-12)
    complexity, relevance = reference.binary_symmetric_solution(0.1, beta)
    assert found.gap < 1e-12
    np.testing.assert_allclose(found.lagrangian, complexity - beta * relevance, atol=1e-12)
    np.testing.assert_allclose(found.complexity, complexity, rtol=1e-3)
    assert len(found.marginal) == 2


def test_the_critical_beta_is_in_nats():
    for p in (0.05, 0.1, 0.2):
        joint, critical = reference.binary_symmetric(p), 1 / (1 - 2 * p) ** 2
        assert solve(joint, 0.999 * critical).complexity == 0
        assert solve(joint, 1.01 * critical).complexity > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_an_erased_input(method):
    """Seen through an erasure, two of three inputs know the bit."""
    e = 0.25
    joint = reference.binary_erasure(e)
    check(solve(joint, 0.99, method=method), joint)
    assert solve(joint, 0.99, method=method).complexity < 1e-15  # nothing but rounding
    found = solve(joint, 30.0, method=method)
    check(found, joint)
    np.testing.assert_allclose(found.relevance, (1 - e) * np.log(2), atol=1e-6)


def test_erasure_of_the_source_is_a_jump():
    """X a fair bit, Y its erasure: I(T;Y) = (1 - e) I(X;T), so that all comes at beta = 1 / (1 - e)."""
    e = 0.25
    joint = reference.table([0.5, 0.5], [[1 - e, 0, e], [0, 1 - e, e]])
    below, above = solve(joint, 0.999 / (1 - e)), solve(joint, 1.001 / (1 - e))
    assert below.complexity < 1e-9
    np.testing.assert_allclose([above.complexity, above.relevance], [np.log(2), (1 - e) * np.log(2)], atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_function_of_the_input(method):
    """Y = f(X): above beta = 1 the solution is f itself."""
    p_x = np.array([0.1, 0.2, 0.3, 0.4])
    rows = np.eye(2)[[0, 1, 0, 1]]
    for beta in (1.1, 2.0, 50.0):
        found = solve((p_x, rows), beta, method=method)
        check(found, (p_x, rows))
        h = reference.binary_entropy(0.4)
        np.testing.assert_allclose([found.complexity, found.relevance], [h, h], atol=1e-9)
    assert solve((p_x, rows), 0.9, method=method).complexity < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("labels", [2, 3, 5])
@pytest.mark.parametrize("beta", [0.7, 1.5, 4.0, 15.0])
def test_both_methods_agree_on_random_tables(labels, beta):
    joint = reference.random_table(9, labels, seed=labels)
    fast = solve(joint, beta)
    slow = solve(joint, beta, method="blahut-arimoto", max_iterations=200_000)
    check(fast, joint)
    np.testing.assert_allclose(fast.lagrangian, slow.lagrangian, atol=2e-9)
    assert fast.lagrangian <= slow.lagrangian + 1e-9


@pytest.mark.parametrize("labels", [2, 3])
def test_the_limits_of_beta(labels):
    p_x, p = joint = reference.random_table(8, labels)
    found = solve(joint, 1e-6)
    check(found, joint)
    assert found.complexity == found.relevance == 0
    assert found.encoder.shape == (8, 1)
    found = solve(joint, 1e5, tolerance=1e-7)
    check(found, joint, 1e-7)
    np.testing.assert_allclose(found.relevance, reference.information(p_x[:, None] * p), atol=1e-6)
    np.testing.assert_allclose(found.complexity, -(p_x * np.log(p_x)).sum(), atol=1e-3)


def test_relabelling():
    p_x, p = reference.random_table(8, 3, seed=1)
    found = solve((p_x, p), 5.0)
    rows, labels = np.random.default_rng(0).permutation(8), np.array([2, 0, 1])
    other = solve((p_x[rows], p[rows][:, labels]), 5.0)
    np.testing.assert_allclose(other.lagrangian, found.lagrangian, atol=1e-9)
    np.testing.assert_allclose(other.complexity, found.complexity, atol=1e-4)
    order = [np.abs(other.decoder - d[labels]).sum(axis=1).argmin() for d in found.decoder]
    np.testing.assert_allclose(other.encoder[:, order], found.encoder[rows], atol=1e-3)


def test_equal_rows_and_inputs_without_mass_change_nothing():
    p_x, p = reference.random_table(6, 2)
    found = solve((p_x, p), 6.0)
    wide_x = np.concatenate([p_x * 0.25, [0.0], p_x * 0.75])
    wide = np.concatenate([p, [[np.nan, np.nan]], p])
    other = solve((wide_x, wide), 6.0)
    check(other, (wide_x, wide))
    np.testing.assert_allclose(other.lagrangian, found.lagrangian, atol=1e-12)
    np.testing.assert_allclose(other.encoder[:6], other.encoder[7:], atol=0)
    np.testing.assert_allclose(other.encoder[6], other.marginal, atol=1e-15)


@pytest.mark.parametrize("method", [pytest.param("auto", marks=pytest.mark.slow), "blahut-arimoto"])
def test_blocks_split_one_level_after_the_other(method):
    joint = reference.ultrametric_blocks()
    np.testing.assert_allclose(local_threshold(joint), 1 / 0.9**2, rtol=1e-12)
    for beta, count in [(1.2, 1), (1.5, 2), (2.0, 2), (4.0, 4), (6.0, 4), (12.0, 8), (50.0, 8)]:
        found = solve(joint, beta, method=method)
        check(found, joint)
        # The simple method keeps copies of a cluster.
        copies = found.decoder.round(3)
        assert len(np.unique(copies, axis=0)) == count
        assert method != "auto" or len(copies) == count
        if count == 1:
            assert found.complexity < 1e-9
        elif count == 2:
            # The two halves: a binary symmetric source of eigenvalue 0.9.
            half = found.encoder @ (copies[:, :4].sum(axis=1) > 0.5)
            assert abs(half[:4] - half[0]).max() < 1e-6
            expected = reference.binary_symmetric_solution(0.05, beta)
            np.testing.assert_allclose([found.complexity, found.relevance], expected, atol=1e-6)
        else:
            assert found.complexity > np.log(count / 2)


@pytest.mark.parametrize("gamma", [0.3, 8.0])
def test_the_twelve_bit_task(gamma):
    joint = np.full(4096, 1 / 4096), np.asarray(szt(gamma=gamma).p_y_given_x, np.float64)
    for beta in (1.4, 3.0, 20.0):
        found = solve(joint, beta)
        check(found, joint)
        slow = solve(joint, beta, method="blahut-arimoto", max_iterations=100_000)
        np.testing.assert_allclose(found.lagrangian, slow.lagrangian, atol=2e-9)


def test_the_setting_of_the_user_stays():
    joint = reference.random_table(5, 2)
    before = jax.config.jax_enable_x64
    one = solve(joint, 4.0)
    assert jax.config.jax_enable_x64 == before
    with jax.enable_x64(not before):
        other = solve(joint, 4.0)
    assert one.lagrangian == other.lagrangian


def test_what_does_not_converge_says_so():
    joint = reference.binary_symmetric(0.1)
    found = solve(joint, 1.57, method="blahut-arimoto", max_iterations=1)
    assert found.status is Status.MAX_ITERATIONS
    assert found.gap > 1e-9
    with pytest.raises(
        RuntimeError, match=r"beta = 1\.57, gap .*: the gap is above the tolerance: allow more iterations"
    ):
        found.raise_for_status()


@pytest.mark.parametrize(
    ("beta", "settings", "message"),
    [
        (0.0, {}, r"beta\[0\] is 0: it must be positive and finite"),
        (-1.0, {}, r"beta\[0\] is -1"),
        (np.inf, {}, r"beta\[0\] is inf"),
        (np.nan, {}, r"beta\[0\] is nan"),
        (np.array([1.0, 2.0]), {}, "beta must be one number"),
        (2.0, {"method": "blahut"}, "unknown method 'blahut': did you mean 'blahut-arimoto'"),
        (2.0, {"tolerance": 0.0}, "tolerance is 0.0: it must be positive"),
        (2.0, {"max_iterations": 0}, "max_iterations is 0"),
        (2.0, {"max_iterations": 3.5}, "max_iterations is 3.5: it must be a whole number"),
        ("two", {}, "beta must be an array of numbers, got str"),
    ],
)
def test_bad_settings(unchecked, beta, settings, message):
    with pytest.raises(InputError, match=message):
        solve(reference.random_table(4, 2), beta, **settings)
