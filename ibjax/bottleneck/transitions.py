"""Where the number of clusters changes along beta, and how."""

from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from ibjax.bottleneck.certificate import largest_log_odds
from ibjax.bottleneck.lanes import (
    SLOTS,
    Lanes,
    bounded_log,
    certify,
    make_problem,
    polish_lanes,
    solve_lanes,
)
from ibjax.bottleneck.reduce import MERGE_TOLERANCE, reduce
from ibjax.bottleneck.solve import informations
from ibjax.bottleneck.table import Table, as_betas
from ibjax.errors import InputError

PRECISION = 1e-7
"""Relative width of the interval of beta that a transition is found in."""
STABLE = 1e-9
"""Excess over 1 of a cluster's instability that is taken for rounding."""
TOLERANCE = 1e-10
"""Of the gap, nats, at which the clusters from below are still taken for optimal."""
ASIDE = 1e-5, 1e-4
"""Relative distances of beta at which the complexity is compared on both sides."""
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


def transitions(joint: Any, betas: Any = None, *, merge_tolerance: float = MERGE_TOLERANCE) -> tuple[Transition, ...]:
    """Find the betas where the number of clusters of the optimal solution changes, to 1e-6 relative.

    Between two neighbouring betas whose solutions differ in number, the clusters of the lower one are followed upwards
    with none added: they stop being optimal where one of them becomes unstable (it splits), where c reaches 1 at
    another place (a cluster is born, or all jump), or where one loses all its weight. That beta is found by bisection.

    Two labels only: with more, light clusters come and go within the tolerance. There `local_threshold` is exact for
    the loss of stability of one cluster, and the ``clusters`` of a curve show between which betas others come
    in. What happens twice between two neighbouring betas, one cluster more and one less, is not seen: give closer ones.

    Args:
        joint: see `ibjax.bottleneck.solve`.
        betas: between which to look, increasing. None is 60 from 1 to 64.
        merge_tolerance: see `ibjax.bottleneck.reduce`.

    Returns:
        The transitions in increasing order of beta.

    Raises:
        InputError: the table or the betas are wrong, or there are more than two labels.

    Example:
        >>> [first] = transitions(np.array([[0.45, 0.05], [0.05, 0.45]]))
        >>> f"{first.beta:.5f} {first.kind} {first.before} {first.after}"
        '1.56250 continuous 1 2'

    References:
        Rose (1998), "Deterministic annealing for clustering, compression, classification, regression".
        Wu, Fischer, Chuang & Tegmark (2019), "Learnability for the information bottleneck".
    """
    table = reduce(joint, merge_tolerance).table
    if table.p_y_given_x.shape[1] != 2:
        raise InputError(
            f"Y has {table.p_y_given_x.shape[1]} labels: transitions are located for two; "
            "see local_threshold, and the clusters of a curve"
        )
    grid = np.geomspace(1.0, 64.0, 60) if betas is None else np.sort(as_betas(betas))
    found: list[Transition] = []
    solved = _solve(table, grid)
    open_ = [(solved.take([i]), solved.take([i + 1])) for i in range(len(grid) - 1)]
    while open_ and len(found) < MOST:
        low, high = open_.pop()
        before, after = _clusters(low), _clusters(high)
        if before == after:
            continue
        left, right = _follow(table, low, float(high.beta[0]))
        middle = (left + right) / 2
        sides = _solve(table, middle * np.array([1 - ASIDE[1], 1 - ASIDE[0], 1 + ASIDE[0], 1 + ASIDE[1]]))
        complexity, _ = informations(table, sides)
        near, far = complexity[2] - complexity[1], complexity[3] - complexity[0]
        # A jump is as high next to it; what is continuous shrinks with the distance, by 10 or so.
        kind: Literal["continuous", "jump"] = "jump" if near > max(0.6 * far, 1e-4) else "continuous"
        above = sides.take([3])
        found.append(Transition(middle, kind, before, _clusters(above)))
        if float(above.beta[0]) < float(high.beta[0]):
            open_.append((above, high))
    return tuple(sorted(found))


def _solve(table: Table, betas: np.ndarray) -> Lanes:
    return solve_lanes(table, betas, method="auto", tolerance=TOLERANCE, max_iterations=20_000)


def _clusters(lane: Lanes) -> int:
    return int((lane.marginal[0] > 0).sum())


def _follow(table: Table, low: Lanes, high: float) -> tuple[float, float]:
    """Interval in which the clusters of a lane stop being optimal, with none added."""
    left, right = float(low.beta[0]), high
    limit = largest_log_odds(right)
    live = low.marginal[0] > 0
    slots = max(SLOTS, len(live))
    weights, logits = np.zeros((1, slots)), np.zeros((1, slots, 1))
    weights[0, : live.sum()] = low.marginal[0][live]
    log_s = bounded_log(low.decoder[0][live], limit)
    logits[0, : live.sum()] = log_s[:, 1:] - log_s[:, :1]
    with jax.enable_x64(True):
        problem = make_problem(table, limit)
        while right - left > PRECISION * right:
            middle = np.array([(left + right) / 2])
            w, z, instability = polish_lanes(problem, limit, middle, weights, logits)
            _, bound = certify(table, middle, w, z, TOLERANCE / 10)
            same = (w > 1e-9).sum() == live.sum()
            if same and instability[0] <= 1 + STABLE and bound.gap[0] <= TOLERANCE:
                left, weights, logits = float(middle[0]), w, z
            else:
                right = float(middle[0])
    return left, right
