"""The squared bottleneck: I(X;T)^2 in the objective, so that every point of a straight curve can be asked for."""

from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.batch import TABLE, batched
from ibjax.bottleneck.certificate import GapKind, certifiable
from ibjax.bottleneck.lanes import METHODS, Status
from ibjax.bottleneck.reduce import MERGE_TOLERANCE, Reduction, reduce
from ibjax.bottleneck.solve import IBSolution, checked_lanes, solution
from ibjax.bottleneck.table import as_betas, check_limits
from ibjax.errors import InputError, choose
from ibjax.information import entropy, mutual_information

TOLERANCE = 1e-9
"""Of the gap, square nats."""
ROUNDS = 40
CLOSE = 1e-13
"""Relative distance of two betas that are one in double precision, or nearly."""


class SquaredBottleneck(NamedTuple):
    """Solutions of the squared bottleneck, in the shape of b, (k,) or (); NumPy, nats.

    Of several problems every field is an array with their axes first, clusters filled up with zeros.

    Attributes:
        b: the trade-off.
        complexity: I(X;T).
        relevance: I(T;Y).
        lagrangian: I(X;T)^2 - b I(T;Y), square nats.
        gap: the lagrangian is at most so far above the smallest of all encoders.
        gap_kind: ``"certified"``, a bound, or ``"searched"``, see `IBSolution`.
        beta: b / (2 I(X;T)), where the bottleneck's curve has this point.
        encoder: p(t|x) of the inputs of the table, columns of zeros beyond the last cluster; shape (k, n, T).
        decoder: p(y|t), p(y) beyond the last cluster; shape (k, T, |Y|).
        marginal: p(t), shape (k, T).
        iterations: evaluations of the fixed-point map or its derivative.
        status: codes of `Status`.
    """

    b: Any
    complexity: Any
    relevance: Any
    lagrangian: Any
    gap: Any
    gap_kind: GapKind
    beta: Any
    encoder: np.ndarray
    decoder: np.ndarray
    marginal: np.ndarray
    iterations: Any
    status: Any


class _Point(NamedTuple):
    """A solution of the bottleneck at beta: a point of the curve with its encoder of the distinct inputs."""

    beta: float
    complexity: float
    relevance: float
    encoder: np.ndarray


class _Search(NamedTuple):
    """What is known for one b.

    Attributes:
        b: the trade-off.
        low: the point of the largest beta with 2 beta I(X;T) < b.
        high: that of the smallest beta with 2 beta I(X;T) >= b.
        bound: the lagrangian is at least this.
        iterations: of all solves.
    """

    b: float
    low: _Point
    high: _Point
    bound: float
    iterations: int

    def share(self) -> float:
        """How much of ``high``, in time-sharing with ``low``, makes the lagrangian smallest."""
        run, rise = self.high.complexity - self.low.complexity, self.high.relevance - self.low.relevance
        if run <= 0:
            return float(rise > 0)
        return float(np.clip((self.b * rise / (2 * run) - self.low.complexity) / run, 0.0, 1.0))

    def point(self) -> tuple[float, float]:
        """I(X;T) and I(T;Y) of the best time-sharing."""
        share, low, high = self.share(), self.low, self.high
        return (
            low.complexity + share * (high.complexity - low.complexity),
            low.relevance + share * (high.relevance - low.relevance),
        )

    def gap(self) -> float:
        complexity, relevance = self.point()
        return complexity**2 - self.b * relevance - self.bound

    def betas(self) -> list[float]:
        """Where to solve next: the slope at the best point so far, and where a parabola through the ends has its root.

        On a straight piece of the curve the first is its slope, and the next solution proves it; where the curve bends
        the second converges faster.
        """
        complexity, _ = self.point()
        found = [self.b / (2 * complexity)]
        low, high = self.low, self.high
        run = high.complexity - low.complexity
        if run > 0:
            # The slope 1 / beta between the ends as a straight line, and where it is 2 I / b.
            bend = (1 / high.beta - 1 / low.beta) / run
            found.append(self.b * (2 / self.b - bend) / (2 * (1 / low.beta - bend * low.complexity)))
        inside = [beta for beta in found if low.beta * (1 + CLOSE) < beta < high.beta * (1 - CLOSE)]
        return inside if len(inside) < 2 or abs(inside[0] - inside[1]) > CLOSE * inside[0] else inside[:1]


@batched(joint=TABLE)
def squared(
    joint: Any,
    b: Any,
    *,
    method: str = "auto",
    tolerance: float = TOLERANCE,
    max_iterations: int = 20_000,
    merge_tolerance: float = MERGE_TOLERANCE,
) -> SquaredBottleneck:
    """Minimise I(X;T)^2 - b I(T;Y) over all encoders p(t|x), and bound how far the result is from the minimum.

    Where the curve of I(T;Y) against I(X;T) is straight, as it is of a label that is a function of the input, one beta
    of I(X;T) - beta I(T;Y) gives all its points and any other beta none. The square makes the objective strictly convex
    along the curve, so that every b has a point of its own and the points are in the order of b. With Y = f(X), I(X;T)
    = I(T;Y) = b / 2 up to b = 2 H(Y), and H(Y) from there on.

    The point is where the curve has the slope 1 / beta = 2 I(X;T) / b. This root is bracketed from one cluster and T =
    X on, with certified solutions of the bottleneck at ever closer betas. Between the last two the encoder shares time:
    T is a cluster of the one with a probability that does not depend on X, and else of the other. On the straight
    curve of Y = f(X) that is Y, erased with a probability. From any beta, with L(beta) a bound from below on
    I(X;T) - beta I(T;Y),

        I(X;T)^2 - b I(T;Y) >= b L(beta) / beta - (b / 2 beta)^2,

    and the largest of these gives the gap.

    Args:
        joint: see `ibjax.bottleneck.solve`; with leading axes several problems, one after the other.
        b: positive, in nats; a number or a list of k numbers.
        method: see `ibjax.bottleneck.solve`.
        tolerance: of the gap, square nats.
        max_iterations: of every solve, see `ibjax.bottleneck.solve`.
        merge_tolerance: see `ibjax.bottleneck.reduce`.

    Returns:
        The solutions, in the order of b.

    Raises:
        InputError: the table, a b or a setting is wrong.

    Example:
        >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> found = squared((np.full(4, 0.25), rows), [0.5, 1.0, 2.0])
        >>> found.complexity.round(4)
        array([0.25  , 0.5   , 0.6931])
        >>> found.encoder[0].round(3)  # erased with probability 0.639
        array([[0.639, 0.   , 0.361],
               [0.639, 0.   , 0.361],
               [0.639, 0.361, 0.   ],
               [0.639, 0.361, 0.   ]])

    References:
        Kolchinsky, Tracey & Van Kuyk (2019), "Caveats for information bottleneck in deterministic scenarios",
        equation 8 and section 5.
    """
    bs = _checked(b, method, tolerance, max_iterations)
    reduction = reduce(joint, merge_tolerance)
    table = reduction.table
    m = len(table.p_x)
    information = float(mutual_information(table.p_x[:, None] * table.p_y_given_x)) if m > 1 else 0.0
    largest = float(entropy(table.p_x)) if m > 1 else 0.0
    one = _Point(1.0, 0.0, 0.0, np.ones((m, 1)))
    all_ = _Point(np.inf, largest, information, np.eye(m))
    # Nothing exceeds I(X;T) or I(X;Y): two bounds to start from.
    searches = [_Search(x, one, all_, max(-(x**2) / 4, -x * information), 0) for x in bs.tolist()]
    # L(beta) counts b / beta = 2 I(X;T) times.
    inner = tolerance / (4 * max(largest, 1.0))
    for _ in range(ROUNDS):
        wanted = [(i, beta) for i, s in enumerate(searches) if s.gap() > tolerance for beta in s.betas()]
        if not wanted:
            break
        betas = np.array([beta for _, beta in wanted])
        lanes = checked_lanes(table, betas, method, inner, max_iterations)
        for lane, (i, _) in enumerate(wanted):
            searches[i] = _narrowed(searches[i], solution(_itself(reduction), lanes, lane), information)
    return _result(reduction, searches, np.ndim(b) == 0, tolerance)


def _checked(b: Any, method: str, tolerance: float, max_iterations: int) -> np.ndarray:
    """The trade-offs, after a look at the settings: of some b nothing is solved, and nothing else would look."""
    choose("method", method, METHODS)
    check_limits(tolerance, max_iterations, "square nats")
    try:
        return as_betas(b)
    except InputError as error:
        raise InputError(str(error).replace("beta", "b")) from None


def _itself(reduction: Reduction) -> Reduction:
    """The distinct inputs as the inputs."""
    return Reduction(reduction.table, np.arange(len(reduction.table.p_x)))


def _narrowed(search: _Search, found: IBSolution, information: float) -> _Search:
    """With the solution at one more beta."""
    b, beta = search.b, found.beta
    least = found.free_energy - found.gap - beta * information
    search = search._replace(
        bound=max(search.bound, b * least / beta - (b / (2 * beta)) ** 2),
        iterations=search.iterations + found.iterations,
    )
    point = _Point(beta, found.complexity, found.relevance, found.encoder)
    if 2 * beta * found.complexity < b:
        return search._replace(low=point) if beta > search.low.beta else search
    return search._replace(high=point) if beta < search.high.beta else search


def _result(reduction: Reduction, searches: list[_Search], scalar: bool, tolerance: float) -> SquaredBottleneck:
    table = reduction.table
    encoders = [_shared(search) for search in searches]
    width = max(q.shape[1] for q in encoders)
    encoder = np.stack([np.pad(q, [(0, 0), (0, width - q.shape[1])]) for q in encoders])
    marginal = table.p_x @ encoder
    dead = marginal == 0
    decoder = np.swapaxes(table.p_x[:, None] * encoder, 1, 2) @ table.p_y_given_x
    decoder = np.where(
        dead[:, :, None], table.p_x @ table.p_y_given_x, decoder / np.where(dead, 1.0, marginal)[..., None]
    )
    b = np.array([search.b for search in searches])
    complexity, relevance = np.array([search.point() for search in searches]).T
    gap = np.maximum([search.gap() for search in searches], 0.0)
    fields = {
        "b": b,
        "complexity": complexity,
        "relevance": relevance,
        "lagrangian": complexity**2 - b * relevance,
        "gap": gap,
        "beta": np.where(complexity > 0, b / (2 * np.where(complexity > 0, complexity, 1.0)), np.inf),
        "encoder": np.stack([reduction.expand(q, w) for q, w in zip(encoder, marginal, strict=True)]),
        "decoder": decoder,
        "marginal": marginal,
        "iterations": np.array([search.iterations for search in searches]),
        "status": np.where(gap <= tolerance, Status.CONVERGED, Status.MAX_ITERATIONS),
    }
    kind: GapKind = "certified" if certifiable(*table) else "searched"
    return SquaredBottleneck(gap_kind=kind, **{name: a[0] if scalar else a for name, a in fields.items()})


def _shared(search: _Search) -> np.ndarray:
    """Encoder of the distinct inputs that shares time between the two ends."""
    share = search.share()
    if share in (0.0, 1.0):
        return (search.low, search.high)[int(share)].encoder
    return np.concatenate([(1 - share) * search.low.encoder, share * search.high.encoder], axis=1)
