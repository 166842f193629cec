"""The information curve: the best I(T;Y) at every I(X;T), between a bound from below and one from above."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.batch import TABLE, batched
from ibjax.bottleneck.certificate import GapKind
from ibjax.bottleneck.labelled import labelled
from ibjax.bottleneck.lanes import Lanes
from ibjax.bottleneck.reduce import MERGE_TOLERANCE, Reduction, reduce
from ibjax.bottleneck.solve import TOLERANCE, IBSolution, checked_lanes, informations, solution
from ibjax.bottleneck.table import Table, as_betas, numbers
from ibjax.errors import InputError
from ibjax.information import entropy, mutual_information

POINT_TOLERANCE = 1e-6
"""Nats between the two bounds at a point that is asked for."""
WIDTH = 1e-3
"""Largest distance of the two bounds of a curve whose betas are chosen, as a share of I(X;Y)."""
LAST = 64.0
"""Largest of the betas that are chosen first: beyond it a curve is nearly flat."""
CLOSE = 0.01
"""Relative distance of the chosen betas on both sides of a transition."""
PASSES = 12
POINT_STEPS = 40
LARGEST = 1e6
"""No beta that is chosen is larger: there the slope of the curve is nothing."""


class CurvePoint(NamedTuple):
    """One point of the curve, nats.

    Attributes:
        complexity: I(X;T).
        relevance: I(T;Y) that is attained there, perhaps by time-sharing between two solutions.
        upper: no encoder of this complexity has more, where the gaps are certified.
        beta: slope of the curve is 1 / beta.
    """

    complexity: float
    relevance: float
    upper: float
    beta: float


class SideInformation(NamedTuple):
    """Boundary of Wyner's region: rates of two encoders, nats.

    Attributes:
        rate: R_X = I(X;T), of the encoder that sees X.
        lower: R_Y below which Y cannot be told; rigorous where the gaps are certified.
        upper: R_Y = H(Y|T) that is attained.
    """

    rate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class InformationCurve(NamedTuple):
    """Solutions at many betas, increasing, and the curve that they enclose; nats.

    Attributes:
        beta: shape (betas,), and so the arrays below.
        complexity: I(X;T).
        relevance: I(T;Y).
        lagrangian: I(X;T) - beta I(T;Y).
        free_energy: -sum_x p(x) ln Z(x).
        gap: of the lagrangian, see `IBSolution`.
        clusters: how many a solution has.
        iterations: evaluations of the fixed-point map.
        status: codes of `Status`.
        gap_kind: ``"certified"`` or ``"searched"``, of all. The upper curve is rigorous only if certified.
        information: I(X;Y), which no relevance exceeds.
        entropy: of the distinct inputs, above which complexity is wasted.
        lanes: the solutions themselves.
        reduction: the table.
    """

    beta: np.ndarray
    complexity: np.ndarray
    relevance: np.ndarray
    lagrangian: np.ndarray
    free_energy: np.ndarray
    gap: np.ndarray
    clusters: np.ndarray
    iterations: np.ndarray
    status: np.ndarray
    gap_kind: GapKind
    information: float
    entropy: float
    lanes: Lanes
    reduction: Reduction

    def solution(self, i: int) -> IBSolution:
        """The solution at beta i, with the encoder of all inputs."""
        return solution(self.reduction, self.lanes, i)

    def lower(self, complexity: Any) -> Any:
        """I(T;Y) that is attained with at most this I(X;T): the concave hull of the solutions.

        Between two solutions by time-sharing; the ends are no information and T = X.
        """
        x, y = self._hull()
        return np.interp(_not_negative("complexity", complexity), x, y)

    def upper(self, complexity: Any) -> Any:
        """I(T;Y) that no encoder of this I(X;T) exceeds; certified curves only, else what a search makes likely.

        From the dual: I(T;Y) <= I(X;Y) - max_beta [(F(beta) - gap - I(X;T)) / beta], and never above I(X;T).
        """
        r = _not_negative("complexity", complexity)
        lines = self.information + (r[..., None] - (self.free_energy - self.gap)) / self.beta
        return np.minimum(np.minimum(lines.min(axis=-1), self.information), r)

    def at_complexity(self, complexity: float) -> CurvePoint:
        """The point of given I(X;T), both bounds within 1e-6 nat: solves at further betas until they are.

        Args:
            complexity: nats, between 0 and the entropy of the distinct inputs; above it the curve is flat.

        Raises:
            InputError: it is negative or not finite.
        """
        complexity = float(_not_negative("complexity", complexity))
        curve = self
        for _ in range(POINT_STEPS):
            slope = curve._slope(complexity)
            if slope is None or float(curve.upper(complexity)) - float(curve.lower(complexity)) <= POINT_TOLERANCE:
                break
            curve = curve.refined([slope])
        lower, upper, beta = float(curve.lower(complexity)), float(curve.upper(complexity)), curve._slope(complexity)
        return CurvePoint(complexity, lower, max(lower, upper), np.inf if beta is None else beta)

    def at_relevance(self, relevance: float) -> CurvePoint:
        """The point of given I(T;Y): the least I(X;T) that attains it, to 1e-6 nat.

        Args:
            relevance: nats, between 0 and I(X;Y).

        Raises:
            InputError: no encoder has so much, or it is negative or not finite.
        """
        relevance = float(_not_negative("relevance", relevance))
        if relevance > self.information:
            raise InputError(f"relevance is {relevance:g} nat, more than I(X;Y) = {self.information:g}")
        curve, complexity = self, self._most(relevance)
        for _ in range(POINT_STEPS):
            least = max(float((curve.free_energy - curve.gap - curve.beta * (self.information - relevance)).max()), 0.0)
            slope = curve._slope(complexity)
            if slope is None or complexity - max(least, relevance) <= POINT_TOLERANCE:
                break
            curve = curve.refined([slope])
            complexity = curve._most(relevance)
        slope = curve._slope(complexity)
        return CurvePoint(complexity, relevance, max(relevance, float(curve.upper(complexity))), slope or np.inf)

    def _most(self, relevance: float) -> float:
        """The complexity at which time-sharing between the solutions attains a relevance."""
        x, y = self._hull()
        rising = np.concatenate([[True], np.diff(y) > 0])  # strictly, up to its largest value
        return float(np.interp(relevance, y[rising], x[rising]))

    def side_information(self, rate: Any = None) -> SideInformation:
        """The curve read as coding with side information: how few nats of Y suffice beside so many of X.

        One encoder sees n draws of X and sends n R_X nats, another sees those of Y and sends n R_Y; a decoder gets both
        and must tell Y, and Y alone, with vanishing error. It can exactly if for some p(t|x)

            R_X >= I(X;T)  and  R_Y >= H(Y|T) = H(Y) - I(T;Y),

        so that the smallest R_Y is H(Y) less the curve: H(Y) alone at R_X = 0, H(Y|X) once R_X reaches the entropy of
        the distinct inputs at the latest. T is what Y's description may take for known.

        Args:
            rate: R_X, nats, any shape. None is 0, the complexities of the solutions and the entropy of the inputs.

        Returns:
            The rates and the two bounds on the smallest R_Y, of one shape.

        Raises:
            InputError: a rate is negative or not finite.

        Example:
            >>> found = curve(np.array([[0.45, 0.05], [0.05, 0.45]]), [2.0]).side_information([0.0, 1.0])
            >>> found.upper.round(4), bool((found.upper - found.lower).max() < 1e-6)
            (array([0.6931, 0.3251]), True)

        References:
            Wyner (1975), "On source coding with side information at the decoder".
            Ahlswede & Korner (1975), "Source coding with side information and a converse for degraded broadcast
            channels".
        """
        r = _not_negative("rate", np.r_[0.0, self.complexity, self.entropy] if rate is None else rate)
        r = np.sort(r) if rate is None else r
        p_x, p = self.reduction.table
        total = float(entropy(p_x @ p))
        attained, bound = total - self.lower(r), total - self.upper(r)
        return SideInformation(r, np.minimum(bound, attained), attained)

    def refined(self, betas: Any) -> "InformationCurve":
        """The curve with solutions at further betas."""
        return _join(self, _curve(self.reduction, as_betas(betas)))

    def to_dataset(self) -> Any:
        """All of it as an `xarray.Dataset`: what figures are drawn from, and what can be stored.

        Returns:
            Along ``beta`` the arrays of this curve and ``upper``, the bound at their complexities. Along ``rate``,
            I(X;T) from 0 to H(X), ``lower_curve`` and ``upper_curve``. Along ``cluster``, at every beta in the order of
            ``position``, ``marginal``, ``decoder``, ``encoder`` of the distinct inputs (left out where it has more than
            2^22 entries) and ``parent``, the cluster with the nearest p(y|t) at the beta before. The position of a
            distribution of Y is p(y=1) for two labels, for more its first principal coordinate among the p(y|x).
            Informations are in nats; each array says its unit.
        """
        return labelled(self)

    def plot(self, **settings: Any) -> Any:
        """Draw the curve in bits; `ibjax.plotting.information_curve` explains the settings."""
        # The one import against the order of the rooms: a result knows its figure, nothing else here does.
        from ibjax.plotting import information_curve

        return information_curve(self, **settings)

    def _hull(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the attained region's upper boundary, from (0, 0) to (H(X), I(X;Y))."""
        x = np.concatenate([[0.0], self.complexity, [self.entropy]])
        y = np.concatenate([[0.0], self.relevance, [self.information]])
        order = np.lexsort((y, x))
        corners: list[tuple[float, float]] = []
        for point in zip(x[order], y[order], strict=True):
            while len(corners) > 1 and _turn(corners[-2], corners[-1], point) >= 0:
                corners.pop()
            corners.append(point)
        found = np.array(corners)
        return found[:, 0], np.maximum.accumulate(found[:, 1])

    def _slope(self, complexity: float) -> float | None:
        """Beta of the hull's segment at a complexity, None where the curve is flat."""
        x, y = self._hull()
        i = int(np.clip(np.searchsorted(x, complexity), 1, len(x) - 1))
        rise, run = y[i] - y[i - 1], x[i] - x[i - 1]
        if complexity > x[-1] or rise <= 0 or run >= LARGEST * rise:
            return None
        return float(max(run / rise, 1.0))


@batched(joint=TABLE, stack=False)
def curve(
    joint: Any,
    betas: Any = None,
    *,
    method: str = "auto",
    tolerance: float = TOLERANCE,
    max_iterations: int = 20_000,
    merge_tolerance: float = MERGE_TOLERANCE,
    progress: Callable[[InformationCurve], None] | None = None,
) -> InformationCurve:
    """Solve the bottleneck of a table at many betas: the information curve and its two bounds.

    The curve is R(I) = max I(T;Y) over p(t|x) with I(X;T) <= I; its slope is 1 / beta. What solutions attain is a bound
    from below, the certificate's dual value one from above.

    Args:
        joint: see `solve`; with leading axes several problems, one after the other. Where numbers suffice `solve_many`
            is faster.
        betas: trade-offs, in nats. None chooses them: from the slopes between the solutions so far, until the two
            bounds are nowhere more than I(X;Y) / 1000 apart, jumps included; and for two labels up to beta = 64 on both
            sides of every transition, at most 1 % apart. `transitions` locates them closer, at several times the cost.
        method: see `solve`.
        tolerance: of every gap, nats.
        max_iterations: see `solve`.
        merge_tolerance: see `reduce`.
        progress: called with the curve so far after every round of chosen betas.

    Returns:
        The curve, betas in increasing order; with leading axes an array of curves.

    Raises:
        InputError: the table, a beta or a setting is wrong.

    Example:
        >>> found = curve(np.array([[0.45, 0.05], [0.05, 0.45]]), [1.0, 2.0, 4.0])
        >>> found.complexity.round(3)
        array([0.   , 0.483, 0.686])
        >>> point = found.at_complexity(0.3)
        >>> point.upper - point.relevance < 1e-6
        True

    References:
        Witsenhausen & Wyner (1975), "A conditional entropy bound for a pair of discrete random variables".
        Gilad-Bachrach, Navot & Tishby (2003), "An information theoretic tradeoff between complexity and accuracy".
    """
    reduction = reduce(joint, merge_tolerance)
    settings = {"method": method, "tolerance": tolerance, "max_iterations": max_iterations}
    if betas is not None:
        return _curve(reduction, as_betas(betas), **settings)
    found = _curve(reduction, np.geomspace(1.0, LAST, 16), **settings)
    for _ in range(PASSES):
        if progress is not None:
            progress(found)
        more = np.concatenate([_chords(found), _changes(found)])
        if not len(more):
            break
        found = _join(found, _curve(reduction, more, **settings))
    return found


def _chords(found: InformationCurve) -> np.ndarray:
    """Slopes of the hull's segments under which the bounds are too far apart: there the next solutions help most."""
    x, y = found._hull()
    # Between two corners the distance is concave but for the corners of the upper curve: look at some places.
    places = x[:-1, None] + np.diff(x)[:, None] * np.linspace(0.1, 0.9, 9)
    wide = (found.upper(places) - found.lower(places)).max(axis=1) > WIDTH * found.information
    rise, run = np.diff(y), np.diff(x)
    wide &= (rise > 0) & (run < LARGEST * rise)
    slopes = np.maximum(run[wide] / rise[wide], 1.0)
    return slopes[~np.isclose(slopes[:, None], found.beta, rtol=1e-9, atol=0).any(axis=1)]


def _changes(found: InformationCurve) -> np.ndarray:
    """Betas halfway between neighbours that differ in the number of clusters and are not yet close, for two labels.

    Not beyond `LAST`, where light clusters come and go within the tolerance and move the curve by nothing.
    """
    if found.reduction.table.p_y_given_x.shape[1] > 2:
        return np.empty(0)
    low, high = found.beta[:-1], found.beta[1:]
    open_ = (np.diff(found.clusters) != 0) & (high > (1 + CLOSE) * low) & (high <= LAST)
    return np.sqrt(low[open_] * high[open_])


def _curve(
    reduction: Reduction,
    betas: np.ndarray,
    method: str = "auto",
    tolerance: float = TOLERANCE,
    max_iterations: int = 20_000,
) -> InformationCurve:
    table = reduction.table
    lanes = checked_lanes(table, np.sort(betas), method, tolerance, max_iterations)
    return _of_lanes(reduction, lanes, *informations(table, lanes))


def _of_lanes(reduction: Reduction, lanes: Lanes, complexity: np.ndarray, relevance: np.ndarray) -> InformationCurve:
    table = reduction.table
    return InformationCurve(
        beta=lanes.beta,
        complexity=complexity,
        relevance=relevance,
        lagrangian=complexity - lanes.beta * relevance,
        free_energy=-(lanes.log_z @ table.p_x),
        gap=lanes.gap,
        clusters=(lanes.marginal > 0).sum(axis=1),
        iterations=lanes.iterations,
        status=lanes.status,
        gap_kind=lanes.gap_kind,
        information=_information(table),
        entropy=float(entropy(table.p_x)),
        lanes=lanes,
        reduction=reduction,
    )


def _information(table: Table) -> float:
    return float(mutual_information(table.p_x[:, None] * table.p_y_given_x))


def _join(one: InformationCurve, other: InformationCurve) -> InformationCurve:
    """All solutions of both, sorted."""
    order = np.argsort(np.concatenate([one.beta, other.beta]), kind="stable")
    width = max(one.lanes.marginal.shape[1], other.lanes.marginal.shape[1])
    a, b = (curve.lanes.widened(width) for curve in (one, other))

    def both(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.concatenate([x, y])[order]

    lanes = Lanes(
        both(a.beta, b.beta),
        both(a.marginal, b.marginal),
        both(a.decoder, b.decoder),
        both(a.log_z, b.log_z),
        both(a.gap, b.gap),
        a.gap_kind,
        both(a.iterations, b.iterations),
        both(a.status, b.status),
    )
    return _of_lanes(one.reduction, lanes, both(one.complexity, other.complexity), both(one.relevance, other.relevance))


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Positive where the path turns left at b, so that b is no corner of the upper hull."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _not_negative(name: str, value: Any) -> np.ndarray:
    array = numbers(name, value, "nats")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise InputError(f"{name} must be at least 0 and finite, in nats, got {value}")
    return array
