"""Where the number of clusters changes along beta, and how."""

import collections
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR
from ibjax.bottleneck.certificate import LONGEST, largest_log_odds
from ibjax.bottleneck.lanes import (
    SLOTS,
    Lanes,
    bounded_log,
    certify,
    make_problem,
    polish_lanes,
    solve_lanes,
)
from ibjax.bottleneck.many_labels import Clusters, follow
from ibjax.bottleneck.reduce import MERGE_TOLERANCE, reduce
from ibjax.bottleneck.solve import informations
from ibjax.bottleneck.table import Table, as_betas

PRECISION = 1e-7
"""Relative width of the interval of beta that a transition is found in."""
STABLE = 1e-9
"""Excess over 1 of a cluster's instability that is taken for rounding."""
TOLERANCE = 1e-10
"""Of the gap, nats, at which the clusters from below are still taken for optimal."""
ASIDE = 1e-5, 1e-4
"""Relative distances of beta at which the complexity is compared on both sides."""
BEYOND = 1e-3
"""Relative distance at which the clusters above are taken if the solution at the last of these has not settled."""
GONE = 1e-9
"""Weight of a cluster that is none any more."""
MOST = 100


class Transition(NamedTuple):
    """A change in the number of clusters.

    Attributes:
        beta: where.
        kind: ``"continuous"``, or ``"jump"`` if the complexity is not continuous there.
        before: clusters below.
        after: clusters above.
    """

    beta: float
    kind: Literal["continuous", "jump"]
    before: int
    after: int


def local_threshold(joint: Any) -> float:
    """Beta at which one cluster becomes unstable, 1 / sigma_2^2: no bound on the first transition but from above.

    sigma_2 is the second singular value of p(x,y) / sqrt(p(x) p(y)), the maximal correlation of X and Y.

    Args:
        joint: see `ibjax.bottleneck.solve`.

    Returns:
        The threshold, infinite for independent X and Y.

    Example:
        >>> f"{local_threshold(np.array([[0.45, 0.05], [0.05, 0.45]])):.4f}"
        '1.5625'
    """
    p_x, p = reduce(joint).table
    if len(p_x) == 1:
        return np.inf
    p_y = p_x @ p
    used = p_y > 0
    sigma = np.linalg.svd(np.sqrt(p_x)[:, None] * p[:, used] / np.sqrt(p_y[used]), compute_uv=False)
    return float(1 / sigma[1] ** 2) if sigma[1] > 1e-12 else np.inf


def transitions(
    joint: Any,
    betas: Any = None,
    *,
    merge_tolerance: float = MERGE_TOLERANCE,
    progress: Callable[[Sequence[Transition]], None] | None = None,
) -> tuple[Transition, ...]:
    """Find the betas where the number of clusters of the optimal solution changes, to 1e-6 relative.

    Between two neighbouring betas whose solutions differ in number, the clusters of the lower one are followed upwards
    with none added: they stop being optimal where one of them becomes unstable (it splits), where c reaches 1 at
    another place (a cluster is born, or all jump), or where one loses all its weight. That beta is found by bisection.

    What happens twice between two neighbouring betas, one cluster more and one less, is not seen: give closer ones.
    With many labels and clusters some are so light or so close to each other that solutions with and without them are
    alike within the tolerance, so that a number may be one off; for more than three labels that c is nowhere above 1
    is searched and not certified. A transition takes some tenths of a second there, a 64 x 4 table some 50 of them.

    Args:
        joint: see `ibjax.bottleneck.solve`.
        betas: between which to look, increasing. None is 60 from 1 to 64.
        merge_tolerance: see `ibjax.bottleneck.reduce`.
        progress: called with those so far after every one.

    Returns:
        The transitions in increasing order of beta, the first 100 at most.

    Raises:
        InputError: the table or the betas are wrong.

    Example:
        >>> [first] = transitions(np.array([[0.45, 0.05], [0.05, 0.45]]))
        >>> f"{first.beta:.5f} {first.kind} {first.before} {first.after}"
        '1.56250 continuous 1 2'

    References:
        Rose (1998), "Deterministic annealing for clustering, compression, classification, regression".
        Wu, Fischer, Chuang & Tegmark (2019), "Learnability for the information bottleneck".
    """
    table = reduce(joint, merge_tolerance).table
    grid = np.geomspace(1.0, 64.0, 60) if betas is None else np.sort(as_betas(betas))
    found: list[Transition] = []
    solved = _solve(table, grid)
    # The lowest first: a table of many inputs and labels can have hundreds.
    open_ = collections.deque((solved.take([i]), solved.take([i + 1])) for i in range(len(grid) - 1))
    for _ in range(2 * MOST + len(open_)):
        if not open_ or len(found) == MOST:
            break
        low, high = open_.popleft()
        before = _clusters(low)
        if before == _clusters(high):
            continue
        left, right = _follow(table, low, float(high.beta[0]))
        middle = (left + right) / 2
        sides = _solve(table, middle * np.array([1 - ASIDE[1], 1 - ASIDE[0], 1 + ASIDE[0], 1 + ASIDE[1], 1 + BEYOND]))
        complexity, _ = informations(table, sides)
        near, far = complexity[2] - complexity[1], complexity[3] - complexity[0]
        # A jump is as high next to it; what is continuous shrinks with the distance, by 10 or so.
        kind: Literal["continuous", "jump"] = "jump" if near > max(0.6 * far, 1e-4) else "continuous"
        above = sides.take([3 if sides.status[3] == 0 else 4])
        # With the same number it was none: the clusters could not be followed, and others of that number can.
        if kind == "jump" or _clusters(above) != before:
            found.append(Transition(middle, kind, before, _clusters(above)))
            if progress is not None:
                progress(found)
        if float(above.beta[0]) < float(high.beta[0]):
            open_.appendleft((above, high))
    return tuple(found)


def _solve(table: Table, betas: np.ndarray) -> Lanes:
    return solve_lanes(table, betas, method="auto", tolerance=TOLERANCE, max_iterations=20_000, longest=LONGEST)


def _clusters(lane: Lanes) -> int:
    return int((lane.marginal[0] > 0).sum())


def _follow(table: Table, low: Lanes, high: float) -> tuple[float, float]:
    """Interval in which the clusters of a lane stop being optimal, with none added."""
    left, right = float(low.beta[0]), high
    live = low.marginal[0] > 0
    weights, decoder = low.marginal[0][live], low.decoder[0][live]
    with jax.enable_x64(True):
        two = decoder.shape[1] == 2
        optimal = _two_labels(table, weights, decoder, right) if two else _many_labels(table, weights, decoder)
        while right - left > PRECISION * right:
            middle = (left + right) / 2
            left, right = (middle, right) if optimal(middle) else (left, middle)
    return left, right


def _two_labels(table: Table, weights: np.ndarray, decoder: np.ndarray, high: float) -> Callable[[float], bool]:
    """Whether the clusters are optimal at a beta; goes on from where they last were."""
    limit, count = largest_log_odds(high), len(weights)
    problem = make_problem(table, limit)
    slots = max(SLOTS, count)
    log_s = bounded_log(decoder, limit)
    state = np.zeros((1, slots)), np.zeros((1, slots, 1))
    state[0][0, :count], state[1][0, :count] = weights, log_s[:, 1:] - log_s[:, :1]

    def optimal(beta: float) -> bool:
        nonlocal state
        w, z, instability = polish_lanes(problem, limit, np.array([beta]), *state)
        _, bound = certify(table, np.array([beta]), w, z, TOLERANCE / 10)
        good = (w > GONE).sum() == count and instability[0] <= 1 + STABLE and bound.gap[0] <= TOLERANCE
        state = (w, z) if good else state
        return bool(good)

    return optimal


def _many_labels(table: Table, weights: np.ndarray, decoder: np.ndarray) -> Callable[[float], bool]:
    """Likewise."""
    clusters = Clusters(np.log(weights), np.maximum(np.log(np.maximum(decoder, np.exp(LOG_FLOOR))), LOG_FLOOR))

    def optimal(beta: float) -> bool:
        nonlocal clusters
        found = follow(table, clusters, beta, TOLERANCE)
        same = (np.exp(found.clusters.log_weights) > GONE).all()
        good = same and found.instability <= 1 + STABLE and found.gap <= TOLERANCE
        clusters = found.clusters if good else clusters
        return bool(good)

    return optimal
