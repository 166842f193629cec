"""Layers of a network against the information curve: how far below it they are, and which beta they would have."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.certificate import GapKind
from ibjax.bottleneck.curve import InformationCurve
from ibjax.bottleneck.table import numbers
from ibjax.errors import InputError

BETA_MAX = 100.0
"""Slopes below 1 / 100 are hard to tell from none: an estimate's error is larger than what they add."""
SLOPE_TOLERANCE = 5e-3
"""Relative width of the interval of beta that a slope is found in: less than the estimates of layers determine."""
SLACK = 1e-6
"""Nats that a point may be off by rounding, in single precision too."""
GAP_TOLERANCE = 1e-5
"""Nats between the two bounds of the curve at every point: a hundredth of what estimates resolve."""
NOTHING = 1e-6
"""Nats below which information is none: solutions just below the first transition may have some by rounding."""
GUESSES = 4
"""Rounds that trust the interpolation; from then on every second one halves the interval."""
ROUNDS = 30
BLOCK = 2**12
"""Points that are compared with every beta at once: 64 MB at 2000 betas."""


class LayerBound(NamedTuple):
    """Layers against the curve: arrays of the layers' shape, nats; NaN where a layer's information is.

    Attributes:
        gap: I(T;Y) below the upper curve at the same I(X;T), see `InformationCurve.upper`. Negative above it.
        lagrangian_gap: I(X;T) above the least that any encoder of the same I(T;Y) needs, the horizontal gap; at the
            same time the smallest distance, over beta, of the layer's lagrangian from the optimal one.
        beta_complexity: of the curve at the same I(X;T), where its slope is 1 / beta.
        beta_relevance: of the curve at the same I(T;Y).
        censored: a beta is beyond ``beta_max``, and infinite here.
        above: above the upper curve by more than the slack, so that the estimate is wrong. False throughout if the
            curve is searched, which proves no point wrong.
        gap_kind: of the curve.
        beta_max: where slopes end.
        curve: the curve with the solutions that were added; further calls with it have less to solve.
    """

    gap: np.ndarray
    lagrangian_gap: np.ndarray
    beta_complexity: np.ndarray
    beta_relevance: np.ndarray
    censored: np.ndarray
    above: np.ndarray
    gap_kind: GapKind
    beta_max: float
    curve: InformationCurve

    @property
    def beta_lagrangian(self) -> np.ndarray:
        """Beta at which the layer's lagrangian is nearest to the optimum: by duality that at the same I(T;Y)."""
        return self.beta_relevance


def against_bound(
    curve: InformationCurve,
    complexity: Any,
    relevance: Any,
    *,
    beta_max: float = BETA_MAX,
    tolerance: float = SLOPE_TOLERANCE,
    slack: float = SLACK,
) -> LayerBound:
    """Compare measured layers (I(X;T), I(T;Y)) with the best that any encoder could do.

    With R(r) the largest I(T;Y) at I(X;T) = r and L*(b) the smallest lagrangian at beta = b,

        gap = R(I(X;T)) - I(T;Y),    lagrangian_gap = min over b <= beta_max of [I(X;T) - b I(T;Y) - L*(b)].

    The second is a supporting line's distance. L* is concave with derivative -I(T;Y) of the optimum, so that the
    minimum is at the optimum of the layer's own I(T;Y) and is the horizontal gap I(X;T) - R^-1(I(T;Y)). R and L* are
    those of the certificate's dual: both gaps are then bounds from above, at most 1e-5 nat above the true ones where
    beta is not censored, and never negative for a true encoder. The two betas agree on the curve; below it that at
    equal relevance is the smaller. Where R has a corner, beta is the largest of its slopes.

    From what complexity on the curve is flat, beta says nothing: there, at I(T;Y) = I(X;Y) and wherever the slope is
    below 1 / beta_max, beta is infinite and the layer ``censored``. A layer without information has the beta at which
    the curve leaves 0.

    Give the curve of the very table that the layers were measured on: with n samples, of their empirical p(x,y). A
    layer above a certified curve is an error of its estimate (bins, bias, another table), not a discovery.

    Args:
        curve: of `ibjax.bottleneck.curve`, at any betas. It is solved at further ones: hundreds of layers take
            hundreds, but no more than ln(beta_max) / tolerance of them, however many layers there are.
        complexity: I(X;T), nats, any shape, for example (epochs, layers). May be infinite. Below 0, as some estimates
            are, the curve is looked up at 0.
        relevance: I(T;Y), nats, of the same shape.
        beta_max: above 1.
        tolerance: relative width of the interval in which a beta is found; within it beta is interpolated. With more
            than eight labels a solution takes seconds: ask for 0.05 there.
        slack: nats, by how much a point may exceed the curve by error of the estimate, and within which of its end
            the curve counts as flat. The default is rounding: give an estimate's error bar to flag what exceeds it.

    Returns:
        The gaps, betas and flags.

    Raises:
        InputError: shapes differ, or a setting is wrong.

    Example:
        >>> from ibjax.bottleneck import curve, solve
        >>> joint = np.array([[0.45, 0.05], [0.05, 0.45]])
        >>> best = solve(joint, beta=3.0)
        >>> found = against_bound(curve(joint), [best.complexity, 0.5, 2.0], [best.relevance, 0.2, 0.3])
        >>> found.gap.round(3), found.beta_complexity.round(2), found.censored
        (array([0.   , 0.091, 0.068]), array([3.  , 2.04,  inf]), array([False, False,  True]))

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information".
        Witsenhausen & Wyner (1975), "A conditional entropy bound for a pair of discrete random variables".
    """
    x, y = numbers("complexity", complexity, "nats"), numbers("relevance", relevance, "nats")
    if x.shape != y.shape:
        raise InputError(f"complexity has shape {x.shape} and relevance {y.shape}: give both of every layer")
    if not 1 < beta_max < np.inf:
        raise InputError(f"beta_max is {beta_max:g}: it must be above 1 and finite; the curve's slope is below 1")
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance is {tolerance:g}: it must be between 0 and 1, relative to beta")
    if not 0 <= slack < np.inf:
        raise InputError(f"slack is {slack:g}: it must be at least 0 and finite, in nats")
    known = ~(np.isnan(x) | np.isnan(y) | np.isneginf(x)).ravel()
    # The curve is flat beyond its end, and has no point below 0.
    r = np.clip(x.ravel()[known], 0.0, curve.entropy)
    info = np.clip(y.ravel()[known], 0.0, curve.information)

    ends = np.setdiff1d([1.0, float(beta_max)], curve.beta)
    curve = curve.refined(ends) if len(ends) else curve
    curve = _bracketed(curve, r, info, float(beta_max), tolerance, slack)
    curve = _tightened(curve, r, info, float(beta_max))
    betas = [_slopes(curve, coordinate, points, float(beta_max), slack) for coordinate, points in _both(r, info)]

    vertical = _in_blocks(curve.upper, r) - y.ravel()[known]
    beyond = np.maximum(y.ravel()[known] - curve.information, 0.0)
    horizontal = x.ravel()[known] - _in_blocks(lambda part: _least(curve, part, float(beta_max)), info)
    above = (vertical < -slack) & (curve.gap_kind == "certified")
    # What exceeds I(X;Y) has no complexity at all: the line at beta_max goes on.
    horizontal = horizontal - beta_max * beyond

    def full(values: np.ndarray, missing: Any) -> np.ndarray:
        result = np.full(x.size, missing)
        result[known] = values
        return result.reshape(x.shape)

    return LayerBound(
        gap=full(vertical, np.nan),
        lagrangian_gap=full(horizontal, np.nan),
        beta_complexity=full(betas[0], np.nan),
        beta_relevance=full(betas[1], np.nan),
        censored=full(np.isinf(betas[0]) | np.isinf(betas[1]), False),
        above=full(above, False),
        gap_kind=curve.gap_kind,
        beta_max=float(beta_max),
        curve=curve,
    )


def _both(complexity: np.ndarray, relevance: np.ndarray) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    return ("complexity", complexity), ("relevance", relevance)


class _Bracket(NamedTuple):
    """Neighbouring solutions about every point, and the slope between: arrays over the points."""

    low: np.ndarray
    high: np.ndarray
    guess: np.ndarray
    inside: np.ndarray


def _bracket(curve: InformationCurve, coordinate: str, points: np.ndarray, beta_max: float, slack: float) -> _Bracket:
    """Betas of the last solution at or below each point and of the first above, and beta interpolated between.

    Points within the slack of the solution at ``beta_max`` are not inside.
    """
    used = curve.beta <= beta_max
    beta, x, y = curve.beta[used], curve.complexity[used], curve.relevance[used]
    along = np.maximum.accumulate(x if coordinate == "complexity" else y)  # gaps leave ripples
    inside = points < along[-1] - slack
    points = np.maximum(points, NOTHING)
    i = np.clip(np.searchsorted(along, points, side="right") - 1, 0, max(len(beta) - 2, 0))
    j = np.minimum(i + 1, len(beta) - 1)
    low, high = beta[i], beta[j]
    run, rise = x[j] - x[i], y[j] - y[i]
    length = along[j] - along[i]
    share = np.clip((points - along[i]) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    # The slope over complexity is 1 / beta, that over relevance beta. Its values at both ends and its mean, which is
    # the chord's slope, make a parabola; where the curve is straight, the chord is the slope.
    with np.errstate(divide="ignore", invalid="ignore"):
        if coordinate == "complexity":
            first, last, mean = 1 / low, 1 / high, rise / run
        else:
            first, last, mean = low, high, run / rise
        mean = np.clip(np.where(np.isfinite(mean), mean, (first + last) / 2), *np.sort([first, last], axis=0))
        # Below the first transition beta is not that of the curve's beginning: take the straight line's.
        first = np.where(along[i] <= NOTHING, 2 * mean - last, first)
        slope = first + (last - first) * share + 6 * (mean - (first + last) / 2) * share * (1 - share)
        guess = 1 / slope if coordinate == "complexity" else slope
    return _Bracket(low, high, np.clip(np.where(slope > 0, guess, low), low, high), inside)


def _slopes(curve: InformationCurve, coordinate: str, points: np.ndarray, beta_max: float, slack: float) -> np.ndarray:
    found = _bracket(curve, coordinate, points, beta_max, slack)
    return np.where(found.inside, found.guess, np.inf)


def _bracketed(
    curve: InformationCurve, r: np.ndarray, info: np.ndarray, beta_max: float, tolerance: float, slack: float
) -> InformationCurve:
    """The curve with solutions about the beta of every point, no further apart than the tolerance.

    New betas are powers of 1 + tolerance, so that points which are near each other share them.
    """
    step = np.log1p(tolerance)
    for k in range(ROUNDS):
        more = []
        for coordinate, points in _both(r, info):
            found = _bracket(curve, coordinate, points, beta_max, slack)
            wide = found.inside & (np.log(found.high / found.low) > step * (1 + 1e-6))
            low, high, guess = found.low[wide], found.high[wide], found.guess[wide]
            if k >= GUESSES and k % 2:
                guess = np.sqrt(low * high)
            # Away from the ends, so that one of the two powers about it is new.
            log_guess = np.clip(np.log(guess), np.log(low) + step / 2, np.log(high) - step / 2)
            power = np.floor(log_guess / step)
            for beta in (np.exp(step * power), np.exp(step * (power + 1))):
                more.append(beta[(low < beta) & (beta < high)])
        new = np.unique(np.concatenate(more))
        new = new[~_contained(new, curve.beta)]
        if not len(new):
            break
        curve = curve.refined(new)
    return curve


def _tightened(curve: InformationCurve, r: np.ndarray, info: np.ndarray, beta_max: float) -> InformationCurve:
    """The curve with solutions at the slopes of its chords, until its two bounds agree at every point."""
    for _ in range(ROUNDS):
        x, y = curve._hull()
        rising = np.concatenate([[True], np.diff(y) > 0])
        attained = np.interp(info, y[rising], x[rising])
        vertical = _in_blocks(curve.upper, r) - curve.lower(r)
        horizontal = attained - _in_blocks(lambda part, curve=curve: _least(curve, part, beta_max), info)
        wide = np.concatenate([r[vertical > GAP_TOLERANCE], attained[horizontal > GAP_TOLERANCE]])
        i = np.unique(np.clip(np.searchsorted(x, wide), 1, len(x) - 1))
        rise, run = y[i] - y[i - 1], x[i] - x[i - 1]
        steep = (rise > 0) & (run <= beta_max * rise)
        new = np.unique(np.maximum(run[steep] / rise[steep], 1.0))
        new = new[~_contained(new, curve.beta)]
        if not len(new):
            break
        curve = curve.refined(new)
    return curve


def _least(curve: InformationCurve, relevance: np.ndarray, beta_max: float) -> np.ndarray:
    """I(X;T) that every encoder of this I(T;Y) exceeds: max_beta [F(beta) - gap - beta (I(X;Y) - I(T;Y))]."""
    used = curve.beta <= beta_max
    beta, dual = curve.beta[used], (curve.free_energy - curve.gap)[used]
    lines = dual - beta * (curve.information - relevance[:, None])
    return np.maximum(lines.max(axis=1), relevance)


def _contained(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether each value is one of the known, which increase, up to rounding."""
    near = np.searchsorted(known, values)
    pairs = known[np.clip(np.stack([near - 1, near]), 0, len(known) - 1)]
    return np.asarray(np.any(abs(pairs - values) <= 1e-9 * values, axis=0))


def _in_blocks(function: Callable[[np.ndarray], np.ndarray], points: np.ndarray) -> np.ndarray:
    blocks = [function(points[i : i + BLOCK]) for i in range(0, len(points), BLOCK)]
    return np.concatenate(blocks) if blocks else np.zeros(0)
