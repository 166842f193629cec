"""Curves: closed forms between the bounds, concavity, jumps, points to 1e-6 nat, and what is not allowed."""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import curve, solve, transitions
from ibjax.datasets import szt
from ibjax.errors import InputError


def gerber(p, complexity):
    """The binary symmetric curve (Mrs Gerber's lemma), nats."""
    grid = np.linspace(0, 0.5, 200_001)
    entropy = reference.binary_entropy(grid)
    q = np.interp(np.log(2) - complexity, entropy, grid)
    return np.log(2) - reference.binary_entropy(p + q - 2 * p * q)


def places(found, n=200):
    return np.linspace(0, 1.2 * found.entropy, n)


def check(found):
    r = places(found)
    lower, upper = found.lower(r), found.upper(r)
    assert (lower <= upper + 1e-8).all()
    assert (upper <= found.information + 1e-15).all()
    assert (np.diff(lower) >= 0).all()
    assert (np.diff(lower, 2) <= 1e-12).all()
    assert (found.lower(found.complexity) >= found.relevance - 1e-12).all()
    assert (np.diff(found.beta) >= 0).all()
    # Complexity and relevance rise with beta, as far as the gaps tell.
    assert (np.diff(found.complexity) > -1e-4).all()
    assert (np.diff(found.relevance) > -1e-4).all()
    assert (found.status == 0).all()


def test_binary_symmetric_source():
    found = curve(reference.binary_symmetric(0.1))
    check(found)
    r = np.linspace(0, np.log(2), 100)
    truth = gerber(0.1, r)
    assert (found.lower(r) <= truth + 1e-9).all()
    assert (truth <= found.upper(r) + 1e-9).all()
    assert (found.upper(r) - found.lower(r)).max() < 1.1e-3 * found.information


@pytest.mark.parametrize("complexity", [0.01, 0.2, 0.5, 0.69])
def test_a_point_of_the_curve_both_ways(complexity):
    found = curve(reference.binary_symmetric(0.1), [1.0, 2.0, 8.0])
    point = found.at_complexity(complexity)
    truth = gerber(0.1, complexity)
    assert point.relevance - 1e-9 <= truth <= point.upper + 1e-9
    assert point.upper - point.relevance <= 1e-6
    back = found.at_relevance(truth)
    assert abs(back.complexity - complexity) < 3e-6 * max(1, point.beta)


def test_a_jump_is_a_straight_line():
    e = 0.25
    found = curve(reference.table([0.5, 0.5], [[1 - e, 0, e], [0, 1 - e, e]]), [1.0, 1.3, 1.4, 5.0])
    check(found)
    r = np.linspace(0, np.log(2), 50)
    np.testing.assert_allclose(found.lower(r), (1 - e) * r, atol=1e-12)
    point = found.at_complexity(0.3)
    np.testing.assert_allclose([point.relevance, point.upper], (1 - e) * 0.3, atol=1e-6)
    np.testing.assert_allclose(point.beta, 1 / (1 - e), rtol=1e-9)


def test_a_function_of_the_input_is_piecewise_linear():
    found = curve((np.array([0.1, 0.2, 0.3, 0.4]), np.eye(2)[[0, 1, 0, 1]]), [0.9, 1.5, 4.0])
    h = float(reference.binary_entropy(0.4))
    np.testing.assert_allclose(found.lower(places(found)), np.minimum(places(found), h), atol=1e-9)
    np.testing.assert_allclose(found.upper(places(found)), np.minimum(places(found), h), atol=1e-8)


def test_ends():
    joint = reference.random_table(6, 2)
    found = curve(joint, [1.0, 3.0])
    assert found.at_complexity(0).relevance == found.lower(0) == found.upper(0) == 0
    beyond = found.at_complexity(2 * found.entropy)
    np.testing.assert_allclose([beyond.relevance, beyond.upper], found.information, atol=1e-12)
    assert beyond.beta == np.inf
    assert found.at_relevance(0).complexity == 0
    np.testing.assert_allclose(found.at_relevance(found.information).relevance, found.information)


def the_task(gamma):
    return np.full(4096, 1 / 4096), np.asarray(szt(gamma=gamma).p_y_given_x)


@pytest.mark.parametrize(
    "joint", [reference.random_table(9, 2, 3), pytest.param(the_task(0.3), marks=pytest.mark.slow)]
)
def test_chosen_betas_enclose_the_curve(joint):
    found = curve(joint)
    check(found)
    r = places(found, 500)
    assert (found.upper(r) - found.lower(r)).max() < 1.5e-3 * found.information


@pytest.mark.parametrize("joint", [reference.binary_symmetric(0.1), reference.random_table(9, 2, 3)])
def test_chosen_betas_are_close_to_every_transition_on_both_sides(joint):
    found, calls = curve(joint), []
    expected = [t.beta for t in transitions(joint)]
    assert expected
    for beta in expected:
        above = np.searchsorted(found.beta, beta)
        assert found.beta[above] / found.beta[above - 1] < 1.02
    again = curve(joint, progress=calls.append)
    np.testing.assert_array_equal(again.beta, found.beta)
    assert [len(so_far.beta) for so_far in calls] == sorted({len(so_far.beta) for so_far in calls})
    np.testing.assert_array_equal(calls[-1].beta, found.beta)


def test_lanes_are_solutions():
    joint = reference.random_table(9, 2, 5)
    betas = np.array([30.0, 0.5, 2.0, 7.0, 2.0])
    found = curve(joint, betas)
    check(found)
    np.testing.assert_array_equal(found.beta, np.sort(betas))
    for i, beta in enumerate(found.beta):
        one, lane = solve(joint, beta), found.solution(i)
        np.testing.assert_allclose(found.lagrangian[i], one.lagrangian, atol=1e-9)
        np.testing.assert_allclose(lane.complexity, found.complexity[i], atol=1e-12)
        assert lane.encoder.shape == (9, found.clusters[i])
    more = found.refined([4.0, 100.0])
    check(more)
    np.testing.assert_array_equal(more.beta, np.sort([*betas, 4.0, 100.0]))
    np.testing.assert_allclose(more.solution(6).complexity, more.complexity[6], atol=1e-12)


@pytest.mark.parametrize("gamma", [0.3, 8.0])
def test_a_hundred_betas_of_the_twelve_bit_task(gamma):
    rows = np.asarray(szt(gamma=gamma).p_y_given_x, np.float64)
    found = curve((np.full(4096, 1 / 4096), rows), np.geomspace(1.2, 50, 100), tolerance=1e-8 * np.log(2))
    check(found)
    assert found.gap_kind == "certified"
    assert found.gap.max() <= 1e-8 * np.log(2)
    assert found.clusters.max() <= 9


def test_dataset():
    found = curve(reference.binary_symmetric(0.1), [1.0, 2.0, 8.0])
    data = found.to_dataset()
    np.testing.assert_array_equal(data.beta, found.beta)
    np.testing.assert_array_equal(data.complexity, found.complexity)
    assert data.complexity.units == "nats"
    assert data.gap_kind == "certified"
    assert (data.relevance <= data.upper + 1e-9).all()


def test_side_information():
    """Wyner's region of the binary symmetric source: R_Y = h(p * q) at R_X = ln 2 - h(q)."""
    p = 0.1
    found = curve(reference.binary_symmetric(p))
    q = np.linspace(0, 0.5, 30)
    rate = np.log(2) - reference.binary_entropy(q)
    truth = reference.binary_entropy(p + q - 2 * p * q)
    side = found.side_information(rate.reshape(5, 6))
    assert side.lower.shape == side.upper.shape == (5, 6)
    assert (side.lower.ravel() <= truth + 1e-9).all()
    assert (truth <= side.upper.ravel() + 1e-9).all()
    assert (side.upper - side.lower).max() < 1.1e-3 * found.information


@pytest.mark.slow
def test_ends_of_side_information():
    p_x, p = reference.random_table(6, 3)
    found = curve((p_x, p), [1.0, 3.0])
    side = found.side_information()
    h_y = -(p_x @ p * np.log(p_x @ p)).sum()
    assert (np.diff(side.rate) >= 0).all()
    assert (np.diff(side.upper) <= 1e-12).all()
    np.testing.assert_allclose([side.lower[0], side.upper[0]], h_y, rtol=1e-12)
    np.testing.assert_allclose([side.lower[-1], side.upper[-1]], -(p_x[:, None] * p * np.log(p)).sum(), rtol=1e-9)
    np.testing.assert_allclose(found.side_information(1e3).upper, h_y - found.information, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, j: curve(j, []), "beta must be a number or a list"),
        (lambda c, j: curve(j, [1.0, -2.0]), r"beta\[1\] is -2"),
        (lambda c, j: curve(j, [1.0], method="newton"), "unknown method 'newton'"),
        (lambda c, j: c.at_complexity(-0.1), "complexity must be at least 0"),
        (lambda c, j: c.at_complexity(np.nan), "complexity must be at least 0"),
        (lambda c, j: c.side_information([0.1, -0.1]), "rate must be at least 0"),
        (lambda c, j: c.at_relevance(5.0), r"relevance is 5 nat, more than I\(X;Y\)"),
    ],
)
def test_bad_input(unchecked, call, message):
    joint = reference.binary_symmetric(0.1)
    found = curve(joint, [2.0])
    with pytest.raises(InputError, match=message):
        call(found, joint)
