"""Rate-distortion and capacity: closed forms, the gap as a bound, zeros and infinities, bad input."""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import Status, channel_capacity, rate_distortion
from ibjax.errors import InputError


def capacity(channel, **settings):
    found = channel_capacity(channel, **settings)
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.input.sum(), 1, atol=1e-12)
    assert (found.input >= 0).all()
    return found


def rate(p_x, distortion, **settings):
    found = rate_distortion(p_x, distortion, **settings)
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.channel.sum(axis=1), 1, atol=1e-12)
    return found


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5])
def test_hamming_distortion(p):
    p_x = [1 - p, p]
    for d in (1e-6, 0.01, 0.9 * p):
        found = rate(p_x, 1 - np.eye(2), target=d)
        np.testing.assert_allclose(found.rate, reference.binary_entropy(p) - reference.binary_entropy(d), atol=1e-9)
        np.testing.assert_allclose(found.slope, np.log(1 / d - 1), rtol=1e-4)
        np.testing.assert_allclose(found.distortion, d)
    nothing = rate(p_x, 1 - np.eye(2), target=p)
    assert nothing.rate == 0
    np.testing.assert_allclose(nothing.distortion, p)


def test_hamming_distortion_of_many_symbols():
    m, d = 7, 0.2
    found = rate(np.full(m, 1 / m), 1 - np.eye(m), target=d)
    np.testing.assert_allclose(found.rate, np.log(m) - reference.binary_entropy(d) - d * np.log(m - 1), atol=1e-9)
    np.testing.assert_allclose(found.reproduction, 1 / m, atol=1e-6)


@pytest.mark.parametrize("slope", [1.0, 5.0, 50.0])
def test_a_gaussian_on_a_grid(slope):
    """R = 1/2 ln(var / D) and D = 1 / 2 slope, up to the grid and its ends."""
    x = np.linspace(-4, 4, 201)
    p_x = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    found = rate(p_x, (x[:, None] - x) ** 2, slope=slope)
    assert found.gap < 1e-9 * np.log(2)
    np.testing.assert_allclose(found.distortion, 0.5 / slope, rtol=1e-4)
    np.testing.assert_allclose(found.rate, 0.5 * np.log(2 * slope), atol=1e-3)
    # What is returned is what the channel has.
    np.testing.assert_allclose(found.rate, reference.information(p_x[:, None] * found.channel), atol=1e-8)


def test_the_gap_bounds_what_is_lost():
    rng = np.random.default_rng(0)
    p_x, d = rng.dirichlet(np.ones(20)), rng.exponential(size=(20, 30))
    best = rate(p_x, d, slope=3.0)
    for steps in (1, 2, 4):
        found = rate_distortion(p_x, d, slope=3.0, max_iterations=steps)
        assert found.status is Status.MAX_ITERATIONS
        excess = (found.rate + 3 * found.distortion) - (best.rate + 3 * best.distortion)
        assert -1e-9 <= excess <= found.gap + 1e-9
    # Blahut's iteration, as printed.
    q = np.full(30, 1 / 30)
    for _ in range(20_000):
        z = np.exp(-3 * d) @ q
        q = q * ((p_x / z) @ np.exp(-3 * d))
    np.testing.assert_allclose(best.rate + 3 * best.distortion, -p_x @ np.log(np.exp(-3 * d) @ q), atol=1e-6)


def test_symbols_without_mass_and_forbidden_reproductions():
    d = np.array([[0.0, 1.0, np.inf], [1.0, 0.0, np.inf], [np.inf, np.inf, np.inf]])
    found = rate([0.5, 0.5, 0.0], d, slope=2.0)
    expected = rate([0.5, 0.5], 1 - np.eye(2), slope=2.0)
    np.testing.assert_allclose([found.rate, found.distortion], [expected.rate, expected.distortion], atol=1e-8)
    assert found.reproduction[2] < 1e-9


@pytest.mark.parametrize("p", [0.01, 0.11, 0.4])
def test_channels_of_the_books(p):
    h = reference.binary_entropy(p)
    symmetric = capacity([[1 - p, p], [p, 1 - p]])
    np.testing.assert_allclose(symmetric.capacity, np.log(2) - h, atol=1e-9)
    np.testing.assert_allclose(symmetric.input, 0.5, atol=1e-4)
    erasure = capacity([[1 - p, 0, p], [0, 1 - p, p]])
    np.testing.assert_allclose(erasure.capacity, (1 - p) * np.log(2), atol=1e-9)
    z = capacity([[1, 0], [p, 1 - p]])
    np.testing.assert_allclose(z.capacity, np.log1p((1 - p) * p ** (p / (1 - p))), atol=1e-9)


def test_capacity_is_the_information_of_its_input_and_no_other_has_more():
    rng = np.random.default_rng(1)
    channel = rng.dirichlet(np.full(12, 0.3), size=10)
    channel[3] = channel[4]  # a repeated input
    found = capacity(channel)
    np.testing.assert_allclose(found.capacity, reference.information(found.input[:, None] * channel), atol=1e-9)
    for _ in range(200):
        other = rng.dirichlet(np.ones(10))
        assert reference.information(other[:, None] * channel) < found.capacity + found.gap
    order = rng.permutation(10)
    np.testing.assert_allclose(capacity(channel[order]).capacity, found.capacity, atol=1e-9)


def test_costs():
    """A noiseless channel: p(x) is proportional to exp(-slope cost)."""
    costs, slope = np.array([0.0, 1.0, 3.0]), 0.7
    found = capacity(np.eye(3), cost=costs, slope=slope)
    expected = np.exp(-slope * costs) / np.exp(-slope * costs).sum()
    np.testing.assert_allclose(found.input, expected, atol=1e-5)
    np.testing.assert_allclose(found.cost, expected @ costs, atol=1e-4)
    np.testing.assert_allclose(found.capacity - slope * found.cost, np.log(np.exp(-slope * costs).sum()), atol=1e-9)
    np.testing.assert_allclose(capacity(np.eye(3), cost=costs).capacity, np.log(3), atol=1e-9)


def test_a_useless_channel():
    assert capacity(np.tile([0.2, 0.8], (4, 1))).capacity < 1e-9


HAMMING = 1 - np.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rate_distortion([0.5, 0.5], HAMMING), "give either slope or target"),
        (lambda: rate_distortion([0.5, 0.5], HAMMING, slope=1.0, target=0.1), "give either slope or target"),
        (lambda: rate_distortion([0.5, 0.5], HAMMING, slope=0.0), "slope is 0.0: it must be positive"),
        (lambda: rate_distortion([0.5, 0.5], HAMMING + 1, target=0.5), "target is 0.5, below 1"),
        (lambda: rate_distortion([0.5, 0.5], HAMMING, target=-0.5), "target is -0.5, below 0"),
        (lambda: rate_distortion([0.5, 0.4], HAMMING, slope=1.0), "p_x sums to 0.9, not 1"),
        (lambda: rate_distortion([0.5, np.nan], HAMMING, slope=1.0), r"p_x\[1\] is nan"),
        (lambda: rate_distortion(np.ones(3) / 3, HAMMING, slope=1.0), "p_x has 3 symbols and distortion 2 rows"),
        (lambda: rate_distortion([0.5, 0.5], -HAMMING, slope=1.0), r"distortion\[\(0, 1\)\] is -1"),
        (lambda: rate_distortion([0.5, 0.5], [[0.0, 1.0], [np.inf, np.inf]], slope=1.0), "no finite value in row 1"),
        (lambda: channel_capacity([[0.5, 0.5], [0.5, 0.4]]), r"p_y_given_x\[1\] sums to 0.9"),
        (
            lambda: rate_distortion([0.5, 0.5], HAMMING, slope=1.0, tolerance=0.0),
            "tolerance is 0.0: it must be positive",
        ),
        (lambda: channel_capacity(np.eye(2), max_iterations=0), "max_iterations is 0: it must be a whole number"),
        (lambda: channel_capacity([["a", "b"]]), "p_y_given_x must be an array of numbers"),
        (lambda: channel_capacity([0.5, 0.5]), "p_y_given_x must be a matrix"),
        (lambda: channel_capacity(np.eye(2), cost=[1.0]), "cost must hold 2 finite numbers"),
        (lambda: channel_capacity(np.eye(2), slope=-1.0), "slope is -1.0"),
    ],
)
def test_bad_input(unchecked, call, message):
    with pytest.raises(InputError, match=message):
        call()


# --- Several problems ----------------------------------------------------------------------------------------


def test_problems_of_leading_axes_are_solved_one_by_one():
    rng = np.random.default_rng(7)
    p_x, d = rng.dirichlet(np.ones(4), (2, 3)), rng.random((3, 4, 5))
    slopes = np.array([[1.0], [4.0]])
    found = rate_distortion(p_x, d, slope=slopes)
    assert found.rate.shape == (2, 3)
    assert found.channel.shape == (2, 3, 4, 5)
    one = rate_distortion(p_x[1, 2], d[2], slope=4.0)
    for name, value in one._asdict().items():
        np.testing.assert_array_equal(getattr(found, name)[1, 2], value, err_msg=name)
    channels, costs = rng.dirichlet(np.ones(3), (6, 4)), rng.random(4)
    found = channel_capacity(channels, cost=costs, slope=0.1)
    for i, channel in enumerate(channels):
        one = channel_capacity(channel, cost=costs, slope=0.1)
        assert found.capacity[i] == one.capacity
        np.testing.assert_array_equal(found.input[i], one.input)
    assert (found.status == Status.CONVERGED).all()


def test_a_wrong_problem_is_named():
    channels = np.array([np.eye(2), [[0.5, 0.6], [0, 1]]])
    with pytest.raises(InputError, match=r"problem 1: p_y_given_x\[0\] sums to 1.1"):
        channel_capacity(channels)
    with pytest.raises(InputError, match="leading axes must fit each other"):
        rate_distortion(np.full((2, 3), 1 / 3), np.ones((4, 3, 3)), slope=1.0)
    with pytest.raises(InputError, match="there is no problem"):
        channel_capacity(np.ones((0, 2, 2)))
