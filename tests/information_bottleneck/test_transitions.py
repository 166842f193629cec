"""Transitions: known thresholds to 1e-6, both kinds, and solutions on either side that have the clusters named."""

import itertools

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import local_threshold, solve, transitions
from ibjax.datasets import szt
from ibjax.errors import InputError


@pytest.mark.parametrize("p", [0.05, 0.1, 0.2])
def test_binary_symmetric_source(p):
    joint, critical = reference.binary_symmetric(p), 1 / (1 - 2 * p) ** 2
    [found] = transitions(joint)
    np.testing.assert_allclose(found.beta, critical, rtol=1e-6)
    assert found[1:] == ("continuous", 1, 2)
    np.testing.assert_allclose(local_threshold(joint), critical, rtol=1e-12)


def test_a_function_of_the_input_jumps():
    joint = np.array([0.1, 0.2, 0.3, 0.4]), np.eye(2)[[0, 1, 0, 1]]
    [found] = transitions(joint, [0.5, 3.0, 1.5])
    np.testing.assert_allclose(found.beta, 1, rtol=1e-6)
    assert found[1:] == ("jump", 1, 2)


def test_an_erased_input():
    """By hand: 1 / (1 - e); and at beta = 2 two clusters p(y|t) = (a, 1 - a) with a (1 - a) = e / 2 have c(1/2) = 1.

    There c(1/2) = (1 - e) / 2 / (a^2 + (1 - a)^2) + e / (4 a (1 - a)), and a^2 + (1 - a)^2 = 1 - e.
    """
    e = 0.4
    first, second = transitions(reference.binary_erasure(e))
    np.testing.assert_allclose([first.beta, second.beta], [1 / (1 - e), 2.0], rtol=1e-6)
    assert [first.after, second.before, second.after] == [2, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.3, 8.0])
def test_clusters_on_both_sides(gamma):
    joint = np.full(4096, 1 / 4096), np.asarray(szt(gamma=gamma).p_y_given_x, np.float64)
    found = transitions(joint)
    assert len(found) >= 3
    # The global threshold comes before the local one.
    assert found[0].beta < local_threshold(joint) * (1 - 1e-6)
    for one, other in itertools.pairwise(found):
        assert one.beta < other.beta
        assert one.after == other.before
    for transition in found[:3]:
        below = solve(joint, transition.beta * (1 - 1e-4), tolerance=1e-10)
        above = solve(joint, transition.beta * (1 + 1e-3), tolerance=1e-10)
        assert [len(below.marginal), len(above.marginal)] == [transition.before, transition.after]


def test_a_label_told_by_a_coin_changes_nothing():
    """Y and a coin that knows nothing of X: four labels with the bottleneck of two, which is certified."""
    p_x, p = np.array([0.2, 0.3, 0.1, 0.4]), np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.05, 0.95]])
    betas = np.geomspace(1, 20, 30)
    two, four = transitions((p_x, p), betas), transitions((p_x, np.hstack([0.3 * p, 0.7 * p])), betas)
    assert len(two) >= 2
    np.testing.assert_allclose([one.beta for one in four], [one.beta for one in two], rtol=1e-6)
    assert [one[1:] for one in four] == [one[1:] for one in two]


@pytest.mark.parametrize("e", [0.05, 0.2])
def test_a_symmetric_source_of_three_jumps_before_it_is_unstable(e):
    """As the Potts model of three states does; with two labels it is continuous."""
    joint = (np.full((3, 3), e) + np.eye(3) * (1 - 3 * e)) / 3
    [found] = transitions(joint, np.geomspace(1, 16, 25))
    assert found[1:] == ("jump", 1, 3)
    assert found.beta < 0.995 * local_threshold(joint) == pytest.approx(0.995 / (1 - 3 * e) ** 2)
    # One cluster and three, p(t|x) = a or (1 - a) / 2, are equally good there.
    a = np.linspace(0.34, 0.9999, 100_000)
    encoder = np.stack([a, (1 - a) / 2, (1 - a) / 2])
    decoder = np.stack([(1 - 3 * e) * encoder[0] + e, *[(1 - 3 * e) * encoder[1] + e] * 2])

    def information(p):
        return np.log(3) + (p * np.log(p)).sum(axis=0)

    lagrangian = information(encoder) - found.beta * information(decoder)
    assert abs(lagrangian.min()) < 1e-8
    assert a[lagrangian.argmin()] > 0.4


def test_inputs_that_are_known_are_born_with_no_weight():
    """By hand, three labels and an erasure: a cluster at one input alone has c > 1 from -ln p(x) / ln 3 on."""
    e = 0.4
    joint = np.append(np.full(3, (1 - e) / 3), e), np.vstack([np.eye(3), np.full((1, 3), 1 / 3)])
    found = transitions(joint, np.geomspace(1, 1.6, 12))[0]
    np.testing.assert_allclose(found.beta, np.log(5) / np.log(3), rtol=1e-6)
    assert found[1:] == ("continuous", 1, 4)


@pytest.mark.slow
def test_many_clusters_of_three_labels():
    rng, seen = np.random.default_rng(0), []
    joint = rng.dirichlet(np.ones(16)), rng.dirichlet(np.full(3, 0.5), size=16)
    found = transitions(joint, progress=lambda so_far: seen.append(len(so_far)))
    assert seen == list(range(1, len(found) + 1))
    assert [found[0].before, found[-1].after] == [1, 15]
    for one, other in itertools.pairwise(found):
        assert one.beta < other.beta
        assert one.after == other.before
    for transition in found[::4]:
        below = solve(joint, transition.beta * (1 - 1e-4), tolerance=1e-10)
        above = solve(joint, transition.beta * (1 + 1e-4), tolerance=1e-10)
        assert [len(below.marginal), len(above.marginal)] == [transition.before, transition.after]


def test_bad_input(unchecked):
    with pytest.raises(InputError, match=r"beta\[0\] is -1"):
        transitions(reference.binary_symmetric(0.1), [-1.0, 2.0])


def test_independent_variables_have_none():
    joint = np.outer([0.3, 0.7], [0.5, 0.5])
    assert local_threshold(joint) == np.inf
