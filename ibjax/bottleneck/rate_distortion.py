"""Rate-distortion and channel capacity: convex, so solved to a stated gap by an interior point."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from scipy.optimize import brentq

from ibjax.bottleneck.batch import batched
from ibjax.bottleneck.interior_point import Simplex, minimise_on_simplex
from ibjax.bottleneck.lanes import Status
from ibjax.bottleneck.table import SLACK, check_limits, numbers
from ibjax.errors import InputError

TOLERANCE = 1e-10
"""Of the gap, nats."""
MAX_ITERATIONS = 100
NEGLIGIBLE = 1e-40
"""Likelihoods that are taken for 0: the products of four are denormal numbers, a hundred times as slow."""
LARGEST_SLOPE = 1e8
"""Relative to the range of the distortions: beyond, all but the nearest reproductions are out of reach."""


class RateDistortion(NamedTuple):
    """A point of the rate-distortion curve, nats; of several problems every field is an array with their axes first.

    Attributes:
        rate: I(X;Y').
        distortion: E d(X, Y').
        slope: s, minus the slope of the curve.
        gap: rate + slope * distortion exceeds the minimum by at most this.
        reproduction: q(y), shape (m,).
        channel: q(y|x), shape (n, m).
        iterations: Newton steps, of all slopes tried.
        status: `Status.CONVERGED` or why not.
    """

    rate: float
    distortion: float
    slope: float
    gap: float
    reproduction: np.ndarray
    channel: np.ndarray
    iterations: int
    status: Status


class ChannelCapacity(NamedTuple):
    """The capacity of a channel, nats; of several problems every field is an array with their axes first.

    Attributes:
        capacity: I(X;Y) of the input; with a slope, of the best trade-off with the cost.
        input: p(x) that attains it, shape (n,).
        cost: E cost(X), 0 without costs.
        gap: capacity - slope * cost is below the maximum by at most this.
        iterations: Newton steps.
        status: `Status.CONVERGED` or why not.
    """

    capacity: float
    input: np.ndarray
    cost: float
    gap: float
    iterations: int
    status: Status


@batched(p_x=1, distortion=2, slope=0, target=0)
def rate_distortion(
    p_x: Any,
    distortion: Any,
    *,
    slope: Any = None,
    target: Any = None,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> RateDistortion:
    """Rate-distortion function of a discrete source at a slope or at a distortion.

    R(D) = min I(X;Y') over q(y|x) with E d(X,Y') <= D. At slope s,

        min I(X;Y') + s E d = min_q -sum_x p(x) ln sum_y q(y) exp(-s d(x,y)),

    which is convex in q: a primal-dual interior point takes some ten to thirty Newton steps, whatever the slope, where
    the Blahut-Arimoto iteration stalls as reproductions lose their mass.

    Args:
        p_x: probabilities of the source, shape (..., n).
        distortion: d(x, y) >= 0, shape (..., n, m); infinite where y may not stand for x.
        slope: s > 0, nats per unit of distortion; one, or one for each problem of the leading axes.
        target: D, instead of the slope, which is then searched for.
        tolerance: of the gap, nats.
        max_iterations: Newton steps of one slope.

    Returns:
        Rate and distortion. With a target in a straight part of the curve the channel is that of one of its ends, while
        rate and distortion are those of time-sharing.

    Raises:
        InputError: not exactly one of slope and target is given, or one of the arguments is out of range.

    Example:
        >>> hamming = 1.0 - np.eye(2)
        >>> found = rate_distortion([0.5, 0.5], hamming, target=0.1)
        >>> f"{found.rate / np.log(2):.6f}"  # 1 - h(0.1) bit
        '0.531004'

    References:
        Blahut (1972), "Computation of channel capacity and rate-distortion functions", theorems 5 and 6.
        Mehrotra (1992), "On the implementation of a primal-dual interior point method".
    """
    check_limits(tolerance, max_iterations)
    p, d = _distribution("p_x", p_x), _matrix("distortion", distortion)
    if len(d) != len(p):
        raise InputError(f"p_x has {len(p)} symbols and distortion {len(d)} rows: one row for every symbol")
    if np.isnan(d).any() or (d < 0).any():
        row, column = (int(i) for i in np.argwhere(~(d >= 0))[0])
        raise InputError(f"distortion[({row}, {column})] is {d[row, column]:g}: it must be at least 0")
    if (slope is None) == (target is None):
        raise InputError("give either slope or target: a slope in nats per distortion, or a distortion")
    mass = p > 0
    least = d[mass].min(axis=1)
    if np.isinf(least).any():
        row = int(np.flatnonzero(mass)[np.argmax(np.isinf(least))])
        raise InputError(f"distortion has no finite value in row {row}: every symbol needs a reproduction")
    solve = functools.partial(_at_slope, p[mass], d[mass], tolerance=tolerance, max_iterations=max_iterations)
    if slope is not None:
        if not 0 < slope < np.inf:
            raise InputError(f"slope is {slope}: it must be positive and finite")
        found, total = solve(float(slope)), None
    else:
        found, total = _at_target(solve, p[mass], d[mass], float(target or 0.0))
    channel = np.broadcast_to(found.reproduction, d.shape).copy()
    channel[mass] = found.channel
    return found._replace(channel=channel, iterations=total or found.iterations)


@batched(p_y_given_x=2, cost=1, slope=0)
def channel_capacity(
    p_y_given_x: Any,
    *,
    cost: Any = None,
    slope: Any = 0.0,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> ChannelCapacity:
    """Capacity of a discrete memoryless channel, with the input that attains it.

    C = max_p I(X;Y), or max_p I(X;Y) - slope E cost(X). Concave in p; the gap is max_x D(x) - sum_x p(x) D(x) with
    D(x) = KL(p(y|x) || p(y)) - slope cost(x), nats.

    Args:
        p_y_given_x: the channel, shape (..., n, m), rows sum to one.
        cost: of every input, shape (..., n).
        slope: nats per unit of cost, at least 0; one, or one for each problem of the leading axes.
        tolerance: of the gap, nats.
        max_iterations: Newton steps.

    Returns:
        The capacity and its input.

    Raises:
        InputError: the channel's rows are no distributions, or the costs do not fit.

    Example:
        >>> found = channel_capacity([[0.9, 0.1], [0.1, 0.9]])
        >>> f"{found.capacity / np.log(2):.6f}"  # 1 - h(0.1) bit
        '0.531004'

    References:
        Blahut (1972), "Computation of channel capacity and rate-distortion functions", theorems 1 and 2.
    """
    check_limits(tolerance, max_iterations)
    channel = np.stack(
        [_distribution(f"p_y_given_x[{i}]", row) for i, row in enumerate(_matrix("p_y_given_x", p_y_given_x))]
    )
    costs = np.zeros(len(channel)) if cost is None else numbers("cost", cost, "numbers")
    if costs.shape != channel.shape[:1] or not np.isfinite(costs).all():
        raise InputError(f"cost must hold {len(channel)} finite numbers, one for every input, got shape {costs.shape}")
    if not 0 <= slope < np.inf:
        raise InputError(f"slope is {slope}: it must be at least 0 and finite")
    used = channel.sum(axis=0) > 0
    with jax.enable_x64(True):
        q, value, gap, iterations, done = jax.tree.map(
            np.asarray,
            _capacity(jnp.asarray(channel[:, used]), jnp.asarray(float(slope) * costs), tolerance, max_iterations),
        )
    spent = float(q @ costs)
    return ChannelCapacity(
        -float(value) + slope * spent, q, spent, max(float(gap), 0.0), int(iterations), _status(done, value)
    )


@jax.jit
def _rate(p_x, likelihood, tolerance, max_iterations) -> Simplex:
    def objective(q):
        z = likelihood @ q
        ratio = likelihood / z[:, None]
        weighted = p_x[:, None] * ratio
        return -(p_x * jnp.log(z)).sum(), -weighted.sum(axis=0), weighted.T @ ratio

    # Start with every symbol's mass at its nearest reproduction, and a little everywhere.
    nearest = likelihood.argmax(axis=1)
    m = likelihood.shape[1]
    start = 0.5 * jnp.zeros(m).at[nearest].add(p_x) + 0.5 / m
    return minimise_on_simplex(objective, start / start.sum(), tolerance, max_iterations)


@jax.jit
def _capacity(channel, costs, tolerance, max_iterations) -> Simplex:
    negative_entropy = xlogy(channel, channel).sum(axis=1)

    def objective(q):
        r = q @ channel
        divergence = negative_entropy - channel @ jnp.log(r) - costs
        return -(q * divergence).sum(), 1 - divergence, (channel / r) @ channel.T

    n = channel.shape[0]
    return minimise_on_simplex(objective, jnp.full(n, 1 / n), tolerance, max_iterations)


def _at_slope(p, d, slope, *, tolerance, max_iterations) -> RateDistortion:
    least = d.min(axis=1)
    likelihood = np.exp(-slope * (d - least[:, None]))
    likelihood[likelihood < NEGLIGIBLE] = 0.0
    with jax.enable_x64(True):
        q, value, gap, iterations, done = jax.tree.map(
            np.asarray, _rate(jnp.asarray(p), jnp.asarray(likelihood), tolerance, max_iterations)
        )
    channel = likelihood * q
    channel /= channel.sum(axis=1, keepdims=True)
    found = float((p[:, None] * np.where(channel > 0, channel * np.where(channel > 0, d, 0.0), 0.0)).sum())
    total = float(value) + slope * float(p @ least)
    return RateDistortion(
        max(total - slope * found, 0.0),
        found,
        slope,
        max(float(gap), 0.0),
        q,
        channel,
        int(iterations),
        _status(done, value),
    )


def _at_target(solve, p, d, target: float) -> tuple[RateDistortion, int]:
    """Search the slope; rate and distortion on its supporting line, which is exact in straight parts too."""
    finite = np.where(np.isinf(d), np.nanmax(np.where(np.isinf(d), np.nan, d)) * 1e6 + 1e6, d)
    smallest, largest = float(p @ d.min(axis=1)), float((p @ finite).min())
    if not smallest <= target < np.inf:
        raise InputError(f"target is {target:g}, below {smallest:g}: no code has less distortion")
    if target >= largest:
        best = int((p @ finite).argmin())
        q = np.eye(d.shape[1])[best]
        return RateDistortion(0.0, largest, 0.0, 0.0, q, np.tile(q, (len(p), 1)), 0, Status.CONVERGED), 0
    total = 0
    seen: dict[float, RateDistortion] = {}

    def excess(log_slope: float) -> float:
        nonlocal total
        found = solve(float(np.exp(log_slope)))
        total += found.iterations
        seen[log_slope] = found
        return found.distortion - target

    scale = largest - smallest
    low, high = np.log(1e-3 / scale), np.log(10 / scale)
    while excess(low) < 0:
        low -= 3
    while excess(high) > 0 and np.exp(high) * scale < LARGEST_SLOPE:
        high += 2
    if seen[high].distortion - target <= 0:
        high = brentq(excess, low, high, xtol=1e-8, rtol=1e-12)
    found = seen.get(high) or solve(float(np.exp(high)))
    rate = found.rate + found.slope * (found.distortion - target)
    return found._replace(rate=max(rate, 0.0), distortion=target), total


def _status(done: np.ndarray, value: np.ndarray) -> Status:
    if not np.isfinite(value):
        return Status.NOT_FINITE
    return Status.CONVERGED if done else Status.MAX_ITERATIONS


def _matrix(name: str, value: Any) -> np.ndarray:
    array = numbers(name, value, "numbers")
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name} must be a matrix, got shape {array.shape}")
    return array


def _distribution(name: str, value: Any) -> np.ndarray:
    p = numbers(name, value)
    if p.ndim != 1 or p.size == 0:
        raise InputError(f"{name} must be a list of probabilities, got shape {p.shape}")
    wrong = ~(np.isfinite(p) & (p >= 0))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(f"{name}[{i}] is {p[i]:g}: a probability is at least 0 and finite")
    if abs(p.sum() - 1) > SLACK:
        raise InputError(f"{name} sums to {p.sum():.6g}, not 1: normalise it")
    return p / p.sum()
