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


def test_bad_input(unchecked):
    with pytest.raises(InputError, match="Y has 3 labels: transitions are located for two"):
        transitions(reference.random_table(4, 3))
    with pytest.raises(InputError, match=r"beta\[0\] is -1"):
        transitions(reference.binary_symmetric(0.1), [-1.0, 2.0])


def test_independent_variables_have_none():
    joint = np.outer([0.3, 0.7], [0.5, 0.5])
    assert local_threshold(joint) == np.inf
