"""Many problems at many trade-offs in one call."""

from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.batch import TABLE, naming, split
from ibjax.bottleneck.certificate import GapKind
from ibjax.bottleneck.lanes import solve_tables
from ibjax.bottleneck.reduce import MERGE_TOLERANCE, reduce
from ibjax.bottleneck.solve import TOLERANCE, check_settings, informations
from ibjax.bottleneck.table import Table, as_betas


class Solutions(NamedTuple):
    """Solutions of a batch of problems, each at every beta; nats, NumPy arrays in double precision.

    Attributes:
        beta: shape (betas,), in the order given.
        complexity: I(X;T), shape (..., betas), and so the arrays below.
        relevance: I(T;Y).
        lagrangian: I(X;T) - beta I(T;Y).
        free_energy: -sum_x p(x) ln Z(x).
        gap: of the lagrangian, see `IBSolution`.
        clusters: how many a solution has.
        iterations: evaluations of the fixed-point map or its derivative.
        status: codes of `Status`.
        gap_kind: ``"certified"`` or ``"searched"``, of all.
        marginal: p(t), decreasing, 0 beyond the last; shape (..., betas, T).
        decoder: p(y|t), that of the first cluster beyond the last; shape (..., betas, T, |Y|).
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
    marginal: np.ndarray
    decoder: np.ndarray


def solve_many(
    joints: Any,
    betas: Any,
    *,
    method: str = "auto",
    tolerance: float = TOLERANCE,
    max_iterations: int = 20_000,
    merge_tolerance: float = MERGE_TOLERANCE,
) -> Solutions:
    """Solve a batch of problems, each at every beta: what `solve` finds, as arrays.

    Every problem is reduced by itself, so that none has the same inputs as another; hence arrays of numbers, and not
    an `InformationCurve`, which holds one table, one entropy and one hull.

    With three labels or more and ``"auto"`` the lanes of all problems run together, problems padded to the largest.
    From 10,000 lanes on, of at most 128 inputs and 8 labels and betas to 10,000, every core solves problems of its
    own: a millisecond a lane of 64 x 4 on two, after a minute of compiling. Two labels, and
    ``"blahut-arimoto"``, are solved problem after problem. Gaps are certified of the latter, for at most three labels,
    and else searched: `curve` certifies those of three labels, at some ten milliseconds each.

    Args:
        joints: tables of p(x,y), shape (..., n, |Y|), or a pair of p(x), shape (..., n), and p(y|x), shape
            (..., n, |Y|), leading axes broadcast.
        betas: positive; multiply I(T;Y) in nats.
        method: see `solve`, and so the settings below.
        tolerance: of the gap, nats.
        max_iterations: evaluations of the fixed-point map.
        merge_tolerance: see `reduce`.

    Returns:
        The best found, converged or not: look at ``status``.

    Raises:
        InputError: a table, a beta or a setting is wrong; the message names the problem.

    Example:
        >>> tables = np.array([[[0.4, 0.1], [0.1, 0.4]], [[0.45, 0.05], [0.05, 0.45]]])
        >>> solve_many(tables, [1.0, 3.0]).complexity.round(3)
        array([[0.   , 0.156],
               [0.   , 0.658]])
    """
    beta = as_betas(betas)
    check_settings(method, tolerance, max_iterations)
    leading, problems = split({"joints": (joints, TABLE)})
    tables = []
    for index, problem in problems:
        with naming(index):
            tables.append(reduce(problem["joints"], merge_tolerance).table)
    padded = _padded(tables)
    which, each = np.repeat(np.arange(len(tables), dtype=np.int32), len(beta)), np.tile(beta, len(tables))
    # Neighbours in beta take about as long, whatever the problem.
    order = np.argsort(each, kind="stable")
    back = np.argsort(order, kind="stable")
    lanes = solve_tables(
        padded, which[order], each[order], method=method, tolerance=tolerance, max_iterations=max_iterations
    ).take(back)
    complexity, relevance = informations(padded, lanes, which)
    free_energy = -(lanes.log_z * padded.p_x[which]).sum(axis=1)

    def shaped(values: np.ndarray) -> np.ndarray:
        return values.reshape(*leading, len(beta), *values.shape[1:])

    return Solutions(
        beta=beta,
        complexity=shaped(complexity),
        relevance=shaped(relevance),
        lagrangian=shaped(complexity - each * relevance),
        free_energy=shaped(free_energy),
        gap=shaped(lanes.gap),
        clusters=shaped((lanes.marginal > 0).sum(axis=1)),
        iterations=shaped(lanes.iterations),
        status=shaped(lanes.status),
        gap_kind=lanes.gap_kind,
        marginal=shaped(lanes.marginal),
        decoder=shaped(lanes.decoder),
    )


def _padded(tables: list[Table]) -> Table:
    """Tables as arrays, the shorter ones with inputs without mass."""
    most = max(len(table.p_x) for table in tables)
    p_x = np.stack([np.pad(table.p_x, (0, most - len(table.p_x))) for table in tables])
    p = np.stack([np.pad(table.p_y_given_x, [(0, most - len(table.p_x)), (0, 0)], mode="edge") for table in tables])
    return Table(p_x, p)
