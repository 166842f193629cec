"""Layers against the curve: closed forms, optimal encoders, what lies below, at the ends and above, and bad input."""

import functools

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import against_bound, curve, encoder_information, solve, transitions
from ibjax.datasets import szt
from ibjax.errors import InputError

ACCURACY = 1.5e-5
"""Nats: what the two bounds of the curve may differ by."""


@functools.cache
def random_problem(seed=5):
    joint = reference.random_table(9, 2, seed)
    return joint, curve(joint, [1.0, 2.0, 8.0])


def random_encoders(count, n, clusters, seed=0):
    """From nearly none to hard assignments."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, n, clusters)) * np.geomspace(0.1, 300, count)[:, None, None]
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def test_binary_symmetric_source():
    """A point of complexity X(b) and relevance Y(c) has exactly these betas, and gaps Y(b) - Y(c) and X(b) - X(c)."""
    p = 0.1
    betas = np.array([1.6, 1.8, 2.3, 3.5, 5.0])
    x, y = np.array([reference.binary_symmetric_solution(p, b) for b in betas]).T
    b, c = np.triu_indices(len(betas))[::-1]
    found = against_bound(curve(reference.binary_symmetric(p), [1.0, 2.0, 8.0]), x[b], y[c], tolerance=1e-3)
    np.testing.assert_allclose(found.beta_complexity, betas[b], rtol=1e-3)
    np.testing.assert_allclose(found.beta_relevance, betas[c], rtol=1e-3)
    np.testing.assert_allclose(found.gap, y[b] - y[c], atol=ACCURACY)
    np.testing.assert_allclose(found.lagrangian_gap, x[b] - x[c], atol=ACCURACY)
    assert not found.censored.any()
    assert not found.above.any()
    assert found.gap_kind == "certified"


@pytest.mark.parametrize("seed", [5, 6])
def test_an_optimal_encoder_has_its_own_beta(seed):
    joint, bound = random_problem(seed)
    for beta in (3.0, 7.3, 20.0):
        best = solve(joint, beta)
        information = encoder_information(joint, best.encoder)
        np.testing.assert_allclose(information, (best.complexity, best.relevance), atol=1e-12)
        found = against_bound(bound, *information)
        for name in ("beta_complexity", "beta_relevance", "beta_lagrangian"):
            np.testing.assert_allclose(getattr(found, name), beta, rtol=5e-3)
        assert 0 <= found.gap <= ACCURACY
        assert 0 <= found.lagrangian_gap <= ACCURACY


def test_noise_takes_an_optimal_encoder_below():
    joint, bound = random_problem()
    best = solve(joint, 8.0)
    noisy = np.stack([(1 - e) * best.encoder + e * best.marginal for e in (0.05, 0.2, 0.5)])
    found = against_bound(bound, *encoder_information(joint, noisy))
    assert (found.gap > 1e-3).all()
    assert (found.lagrangian_gap > found.gap).all()
    assert (found.beta_relevance < found.beta_complexity).all()
    # Mixing takes both away, so that the betas of more noise are smaller.
    assert (np.diff(found.beta_complexity) < 0).all()


@pytest.mark.slow
def test_the_lagrangian_gap_is_the_smallest_over_beta():
    joint, bound = random_problem()
    x, y = encoder_information(joint, random_encoders(20, 9, 4))
    found = against_bound(bound, x, y)
    dense = curve(joint, np.geomspace(1, 100, 800))
    lines = x[:, None] - dense.beta * y[:, None] - dense.lagrangian
    np.testing.assert_allclose(found.lagrangian_gap, lines.min(axis=1), atol=2e-4)
    inner = ~found.censored
    best = dense.beta[lines.argmin(axis=1)]
    np.testing.assert_allclose(found.beta_lagrangian[inner], best[inner], rtol=2e-2)
    # The other gap against both curves, found at other betas.
    assert (found.gap >= dense.lower(x) - y - 1e-9).all()
    np.testing.assert_allclose(found.gap, dense.upper(x) - y, atol=2e-4)


def test_no_encoder_is_above():
    joint, bound = random_problem()
    x, y = encoder_information(joint, random_encoders(300, 9, 6))
    found = against_bound(bound, x.reshape(50, 6), y.reshape(50, 6))
    assert found.gap.shape == found.lagrangian_gap.shape == found.above.shape == (50, 6)
    assert not found.above.any()
    assert found.gap.min() >= 0
    assert found.lagrangian_gap.min() >= 0
    # One by one, and in another order, they are what they are together.
    again = against_bound(found.curve, x[::-1], y[::-1])
    np.testing.assert_array_equal(again.curve.beta, found.curve.beta)
    for a, b in zip(again[:6], found[:6], strict=True):
        np.testing.assert_array_equal(a[::-1], b.ravel())
    one = against_bound(bound, x[100], y[100])
    np.testing.assert_allclose(one.gap, found.gap.ravel()[100], atol=ACCURACY)
    np.testing.assert_allclose(one.beta_complexity, found.beta_complexity.ravel()[100], rtol=5e-3)


@pytest.mark.parametrize("tolerance", [5e-3, 1e-3])
def test_every_beta_is_enclosed_as_closely_as_asked(tolerance):
    """By solutions on both sides of it, and the bounds of the curve agree."""
    _, bound = random_problem(7)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, bound.entropy, 30), rng.uniform(0, bound.information, 30)
    found = against_bound(bound, x, y, tolerance=tolerance)
    solved = found.curve
    for beta, values, points in (
        (found.beta_complexity, solved.complexity, x),
        (found.beta_relevance, solved.relevance, y),
    ):
        inner = np.isfinite(beta)
        assert inner.any()
        i = np.searchsorted(solved.beta, beta[inner], side="right") - 1
        assert (solved.beta[i + 1] / solved.beta[i] <= 1 + tolerance * (1 + 1e-5)).all()
        assert (values[i] <= points[inner] + 1e-6).all()
        assert (points[inner] <= values[i + 1] + 1e-6).all()
    inner = np.isfinite(found.beta_complexity)
    assert (solved.upper(x[inner]) - solved.lower(x[inner])).max() <= 1e-5


def test_all_of_the_input_is_censored():
    joint, bound = random_problem()
    found = against_bound(bound, *encoder_information(joint, np.eye(9)))
    assert found.censored
    assert np.isinf([found.beta_complexity, found.beta_relevance, found.beta_lagrangian]).all()
    np.testing.assert_allclose(found.gap, 0, atol=1e-12)
    assert 0 <= found.lagrangian_gap < bound.entropy
    assert found.beta_max == 100


def test_what_the_reduced_source_does_not_need_is_flat():
    """Inputs told apart that have the same p(y|x): more complexity, no more relevance, no beta."""
    p_x, p = random_problem()[0]
    twice = np.repeat(p_x, 2) / 2, np.repeat(p, 2, axis=0)
    bound = curve(twice, [1.0, 2.0, 8.0])
    x, y = encoder_information(twice, np.eye(18))
    np.testing.assert_allclose(x, bound.entropy + np.log(2), rtol=1e-12)
    found = against_bound(bound, x, y)
    assert np.isinf(found.beta_complexity)
    assert found.censored
    least = against_bound(bound, *encoder_information(twice, np.repeat(np.eye(9), 2, axis=0)))
    np.testing.assert_allclose(found.lagrangian_gap - least.lagrangian_gap, np.log(2), atol=1e-12)


def test_a_constant_layer_has_the_beta_of_the_first_transition():
    joint = reference.random_table(8, 2, 3)
    bound = curve(joint, [1.0, 2.0, 8.0])
    first = transitions(joint, [1.0, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0])[0].beta
    x, y = encoder_information(joint, np.ones((8, 1)))
    found = against_bound(bound, [x, 1e-9], [y, 0.0])
    np.testing.assert_allclose(found.gap, 0, atol=1e-8)
    np.testing.assert_allclose(found.lagrangian_gap, 0, atol=1e-8)
    np.testing.assert_allclose(found.beta_complexity, first, rtol=6e-3)
    np.testing.assert_allclose(found.beta_relevance, first, rtol=6e-3)
    assert not found.censored.any()


def test_ripples_below_the_first_transition_are_nothing():
    exact = curve(reference.binary_symmetric(0.1), [1.0, 1.2, 1.4, 2.0])
    ripples = np.array([0.0, 1e-13, 1e-8, 0.0])
    bound = exact._replace(complexity=exact.complexity + ripples, relevance=exact.relevance + 0.9 * ripples)
    found = against_bound(bound, 0.0, 0.0)
    np.testing.assert_allclose([found.beta_complexity, found.beta_relevance], 1 / 0.8**2, rtol=5e-3)


@pytest.mark.slow
def test_on_a_straight_line_all_have_its_beta():
    """A bit whose label is erased with probability e: I(T;Y) = (1 - e) I(X;T) up to X itself."""
    e = 0.25
    bound = curve(reference.table([0.5, 0.5], [[1 - e, 0, e], [0, 1 - e, e]]), [1.0, 5.0])
    x = np.array([0.1, 0.4, 0.69, np.log(2)])
    found = against_bound(bound, x, (1 - e) * x)
    np.testing.assert_allclose(found.beta_complexity[:3], 1 / (1 - e), rtol=5e-3)
    np.testing.assert_allclose(found.beta_relevance[:3], 1 / (1 - e), rtol=5e-3)
    np.testing.assert_allclose(found.gap, 0, atol=ACCURACY)
    np.testing.assert_array_equal(found.censored, [False, False, False, True])


def test_a_function_of_the_input():
    """The curve is min(I(X;T), H(Y)): slope 1 up to the corner, then none."""
    h = float(reference.binary_entropy(0.4))
    bound = curve((np.array([0.1, 0.2, 0.3, 0.4]), np.eye(2)[[0, 1, 0, 1]]), [0.9, 1.5, 4.0])
    found = against_bound(bound, [0.3, 0.3, h, 1.0], [0.3, 0.2, h, h])
    np.testing.assert_allclose(found.gap, [0, 0.1, 0, 0], atol=ACCURACY)
    np.testing.assert_allclose(found.lagrangian_gap, [0, 0.1, 0, 1.0 - h], atol=ACCURACY)
    np.testing.assert_allclose(found.beta_complexity, [1, 1, np.inf, np.inf], rtol=5e-3)
    np.testing.assert_array_equal(found.censored, [False, False, True, True])


def test_an_estimate_above_a_certified_curve_is_flagged():
    joint, bound = random_problem()
    best = solve(joint, 7.0)
    more = best.relevance + np.array([0.0, 1e-7, 1e-3, 0.05])
    found = against_bound(bound, np.full(4, best.complexity), more)
    np.testing.assert_array_equal(found.above, [False, False, True, True])
    np.testing.assert_allclose(found.gap, best.relevance - more, atol=ACCURACY)
    np.testing.assert_array_equal(
        against_bound(bound, np.full(4, best.complexity), more, slack=0.01).above, [False, False, False, True]
    )
    # More than I(X;Y) at any complexity, and more about Y than about X.
    assert against_bound(bound, [np.inf, 0.01], [bound.information + 0.01, 0.02]).above.all()
    assert (against_bound(bound, [1.0, 0.01], [bound.information + 0.01, 0.02]).lagrangian_gap < 0).all()
    # A search proves no estimate wrong.
    searched = bound._replace(gap_kind="searched", lanes=bound.lanes._replace(gap_kind="searched"))
    found = against_bound(searched, np.full(4, best.complexity), more)
    assert not found.above.any()
    assert found.gap_kind == "searched"
    assert found.gap[3] < -0.04


def test_beta_max_censors():
    joint, bound = random_problem()
    best = [solve(joint, beta) for beta in (3.0, 20.0)]
    found = against_bound(bound, [b.complexity for b in best], [b.relevance for b in best], beta_max=10.0)
    np.testing.assert_array_equal(found.censored, [False, True])
    np.testing.assert_array_equal(np.isinf(found.beta_complexity), [False, True])


def test_masked_and_negative_estimates():
    _, bound = random_problem()
    x, y = np.array([np.nan, 0.2, np.inf, -0.01, 0.3]), np.array([0.1, np.nan, 0.1, -0.02, -0.01])
    found = against_bound(bound, x, y)
    np.testing.assert_array_equal(np.isnan(found.gap), [True, True, False, False, False])
    np.testing.assert_array_equal(np.isnan(found.beta_complexity), [True, True, False, False, False])
    np.testing.assert_array_equal(found.censored, [False, False, True, False, False])
    np.testing.assert_allclose(found.gap[2], bound.information - 0.1)
    np.testing.assert_allclose(found.gap[3], 0.02, atol=1e-12)
    assert found.lagrangian_gap[2] == np.inf
    assert found.gap[4] > 0.01
    nothing = against_bound(bound, np.zeros((0, 3)), np.zeros((0, 3)))
    assert nothing.gap.shape == nothing.censored.shape == (0, 3)
    assert np.isnan(against_bound(bound, np.nan, np.nan).gap)


def test_smallest_and_independent_tables():
    half = np.full((2, 2), 0.25)
    found = against_bound(curve(half, [1.0, 2.0]), [0.0, 0.3], [0.0, 0.0])
    assert found.censored.all()
    np.testing.assert_allclose(found.gap, 0, atol=1e-12)
    np.testing.assert_allclose(found.lagrangian_gap, [0.0, 0.3], atol=1e-8)


def test_encoder_information():
    p_x, p = joint = reference.random_table(7, 3)
    p_x[2] = 0
    p_x /= p_x.sum()
    encoders = random_encoders(6, 7, 4).reshape(2, 3, 7, 4)
    encoders[:, :, 2] = np.nan  # of an input that never comes
    found = encoder_information(joint, encoders)
    assert found.complexity.shape == found.relevance.shape == (2, 3)
    rows = np.delete(np.arange(7), 2)
    for i in np.ndindex(2, 3):
        p_xt = p_x[rows, None] * encoders[i][rows]
        np.testing.assert_allclose(found.complexity[i], reference.information(p_xt), atol=1e-13)
        np.testing.assert_allclose(found.relevance[i], reference.information(p_xt.T @ p[rows]), atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.3, 8.0])
def test_the_twelve_bit_task(gamma):
    """Fifty epochs of six layers, encoders that are known to be optimal, and one without information."""
    joint = np.full(4096, 1 / 4096), np.asarray(szt(gamma=gamma).p_y_given_x, np.float64)
    bound = curve(joint)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1.1 * bound.entropy, (50, 6))
    y = bound.lower(x) * rng.uniform(0.5, 1, (50, 6))
    found = against_bound(bound, x, y)
    assert len(found.curve.beta) < 800
    assert not found.above.any()
    assert (found.gap >= 0).all()
    np.testing.assert_array_equal(np.isinf(found.beta_complexity), found.censored)
    betas = np.array([1.5, 2.0, 3.0])
    best = [solve(joint, beta) for beta in betas]
    found = against_bound(bound, [b.complexity for b in best], [b.relevance for b in best])
    np.testing.assert_allclose(found.beta_complexity, betas, rtol=5e-3)
    np.testing.assert_allclose(found.beta_relevance, betas, rtol=5e-3)
    first = transitions(joint, np.linspace(1, 1.5, 6))[0].beta
    np.testing.assert_allclose(against_bound(bound, 0.0, 0.0).beta_complexity, first, rtol=5e-3)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (([0.1, 0.2], [0.1]), {}, r"complexity has shape \(2,\) and relevance \(1,\)"),
        ((["a"], [0.1]), {}, "complexity must be an array of nats"),
        ((0.1, 0.1), {"beta_max": 1.0}, "beta_max is 1: it must be above 1"),
        ((0.1, 0.1), {"beta_max": np.inf}, "beta_max is inf"),
        ((0.1, 0.1), {"tolerance": 0.0}, "tolerance is 0"),
        ((0.1, 0.1), {"slack": -1.0}, "slack is -1"),
        ((0.1, 0.1), {"slack": np.nan}, "slack is nan"),
    ],
)
def test_bad_input(unchecked, arguments, settings, message):
    with pytest.raises(InputError, match=message):
        against_bound(random_problem()[1], *arguments, **settings)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (np.eye(3), r"shape \(\.\.\., 2, T\), one row an input, got \(3, 3\)"),
        (np.ones(2), "got"),
        ("layer", "encoder must be an array of probabilities, got str"),
        ([[0.5, 0.5], [0.5, 0.4]], r"encoder\[1\] sums to 0.9, not 1"),
        ([[[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [1.5, -0.5]]], r"encoder\[1, 1, 1\] is -0.5"),
        ([[0.5, 0.5], [np.nan, 0.5]], r"encoder\[1, 0\] is nan"),
    ],
)
def test_bad_encoders(unchecked, encoder, message):
    with pytest.raises(InputError, match=message):
        encoder_information(reference.binary_symmetric(0.1), encoder)
