"""Chains of layers: the binary source can be refined, other chains lose, and what is no chain is refused."""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import against_bound, curve, encoder_information, solve, successive_refinement
from ibjax.errors import InputError

ACCURACY = 1.5e-5


def flip(q):
    return np.array([[1 - q, q], [q, 1 - q]])


def layer(joint, encoder):
    """p(t) and p(y|t)."""
    p_x, p = joint
    p_t = p_x @ encoder
    return p_t, (p_x[:, None] * encoder).T @ p / p_t[:, None]


def test_the_binary_symmetric_source_can_be_refined():
    """An optimal encoder of an optimal encoder of an optimal encoder: each on the curve of the one before."""
    source = reference.binary_symmetric(0.05)
    joint, encoders, best = source, [], []
    for beta in (4.0, 3.0, 2.5):
        best.append(solve(joint, beta))
        encoders.append(best[-1].encoder)
        joint = layer(joint, encoders[-1])
    found = successive_refinement(source, encoders)
    np.testing.assert_allclose(found.gap, 0, atol=ACCURACY)
    np.testing.assert_allclose(found.lagrangian_gap, 0, atol=ACCURACY)
    np.testing.assert_allclose(found.beta, (4.0, 3.0, 2.5), rtol=5e-3)
    np.testing.assert_allclose(found.complexity, [b.complexity for b in best], atol=1e-12)
    np.testing.assert_allclose(found.relevance, [b.relevance for b in best], atol=1e-12)
    assert found.gap_kind == "certified"
    # And all are on the curve of the source: it is successively refinable.
    x = [np.eye(2)]
    for encoder in encoders:
        x.append(x[-1] @ encoder)
    bound = against_bound(curve(source, [1.0, 2.0, 8.0]), *encoder_information(source, np.stack(x[1:])))
    np.testing.assert_allclose(bound.gap, 0, atol=ACCURACY)
    again = successive_refinement(source, x[1:], given="input")
    np.testing.assert_allclose(again.complexity, found.complexity, atol=1e-9)
    np.testing.assert_allclose(again.gap, found.gap, atol=ACCURACY)


def test_a_chain_that_loses():
    """The second layer throws together what says most different things: its loss is not the first one's."""
    p_x = np.array([0.3, 0.4, 0.3])
    p = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    wrong, right = np.eye(2)[[0, 1, 0]], np.eye(2)[[0, 1, 1]]
    found = successive_refinement((p_x, p), [np.eye(3), wrong])
    np.testing.assert_allclose(found.gap[0], 0, atol=1e-12)
    assert found.beta[0] == np.inf
    assert found.gap[1] > 0.1
    np.testing.assert_allclose(found.relevance[1], 0, atol=1e-12)
    better = successive_refinement((p_x, p), [np.eye(3), right])
    assert better.gap[1] < found.gap[1]
    # From another layer the same last one: all of the loss is the first layer's.
    moved = successive_refinement((p_x, p), [wrong, np.eye(2)])
    np.testing.assert_allclose(moved.gap[0], found.gap[1], atol=ACCURACY)
    np.testing.assert_allclose(moved.gap[1], 0, atol=1e-9)


def test_every_layer_is_against_the_table_of_the_one_before():
    p_x, p = joint = reference.random_table(6, 2, 1)
    rng = np.random.default_rng(0)
    chain = [rng.dirichlet(np.ones(4), size=6), rng.dirichlet(np.ones(3), size=4), rng.dirichlet(np.ones(2), size=3)]
    found = successive_refinement(joint, chain, beta_max=50.0)
    assert found.gap.shape == (3,)
    for k, encoder in enumerate(chain):
        bound = against_bound(curve(joint, [1.0, 3.0]), *encoder_information(joint, encoder), beta_max=50.0)
        np.testing.assert_allclose(found.gap[k], bound.gap, atol=ACCURACY)
        np.testing.assert_allclose(found.beta[k], bound.beta_complexity, rtol=1e-2)
        assert found.gap[k] > 1e-3
        joint = layer(joint, encoder)
    # The relevance is that of X too, for the layers are a chain.
    np.testing.assert_allclose(
        found.relevance[2], reference.information((p_x[:, None] * (chain[0] @ chain[1] @ chain[2])).T @ p)
    )
    inputs = [chain[0], chain[0] @ chain[1], chain[0] @ chain[1] @ chain[2]]
    again = successive_refinement((p_x, p), inputs, given="input", beta_max=50.0)
    np.testing.assert_allclose(again.complexity, found.complexity, atol=1e-9)
    np.testing.assert_allclose(again.relevance, found.relevance, atol=1e-9)


def test_hard_layers_from_the_input_with_units_that_are_never_used():
    joint = reference.random_table(6, 2, 1)
    first, second = np.eye(5)[[0, 0, 1, 2, 3, 3]], np.eye(3)[[0, 0, 0, 2, 2, 2]]
    found = successive_refinement(joint, [first, second], given="input")
    np.testing.assert_allclose(found.complexity[0], encoder_information(joint, first).complexity, rtol=1e-12)
    channel = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]])
    again = successive_refinement(joint, [first, channel])
    np.testing.assert_allclose(found.complexity, again.complexity, atol=1e-12)
    np.testing.assert_allclose(found.gap, again.gap, atol=ACCURACY)


def test_after_a_constant_layer_nothing_is_left():
    found = successive_refinement(reference.binary_symmetric(0.1), [np.ones((2, 1)), [[0.5, 0.5]], flip(0.1)])
    np.testing.assert_allclose(found.complexity[:2], 0, atol=1e-15)
    np.testing.assert_allclose(found.relevance, 0, atol=1e-15)
    np.testing.assert_allclose(found.gap, 0, atol=1e-8)
    assert np.isnan(found.beta[1])


@pytest.mark.parametrize(
    ("encoders", "settings", "message"),
    [
        ([], {}, "encoders is empty"),
        ([np.eye(2)], {"given": "x"}, "unknown given 'x'"),
        ([np.eye(2), np.eye(3)], {}, r"encoders\[1\] must be p\(t\|x\) of shape"),
        ([np.eye(2), [[0.5, 0.6], [0.5, 0.5]]], {}, r"encoders\[1\]\[0\] sums to 1.1"),
        ([np.eye(2)[None]], {}, r"encoders\[0\] has shape \(1, 2, 2\): give one matrix a layer"),
        ([np.ones((2, 1)), np.eye(2)], {"given": "input"}, r"encoders\[1\] is not made from encoders\[0\] alone"),
        ([flip(0.2), flip(0.1)], {"given": "input"}, r"encoders\[1\] is not made from encoders\[0\] alone"),
        ([np.full((2, 2), 0.5), np.full((2, 2), 0.5)], {"given": "input"}, "in several ways"),
    ],
)
def test_bad_input(unchecked, encoders, settings, message):
    with pytest.raises(InputError, match=message):
        successive_refinement(reference.binary_symmetric(0.1), encoders, **settings)
