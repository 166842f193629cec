"""The bottleneck of a table at one trade-off, with the certificate of its optimality."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.certificate import GapKind
from ibjax.bottleneck.lanes import METHODS, Lanes, Status, solve_lanes
from ibjax.bottleneck.reduce import MERGE_TOLERANCE, Reduction, reduce
from ibjax.bottleneck.table import Table, as_betas, check_limits
from ibjax.errors import InputError, choose
from ibjax.information import entropy, mutual_information

TOLERANCE = 1e-9
"""Of the gap, nats: below what any estimate of a layer's information resolves, above the rounding of doubles."""

ENTRIES = 1 << 18
"""Encoder probabilities that are computed at a time."""
TINY = float(np.finfo(np.float64).tiny)
"""Stands for 0 in a logarithm."""


class IBSolution(NamedTuple):
    """A solution of the information bottleneck at one beta; informations in nats, NumPy arrays in double precision.

    Attributes:
        beta: the trade-off.
        complexity: I(X;T).
        relevance: I(T;Y).
        lagrangian: I(X;T) - beta I(T;Y).
        free_energy: -sum_x p(x) ln Z(x); at the optimum lagrangian + beta I(X;Y), and never below it.
        gap: the lagrangian is at most so far above the smallest of all encoders, of any number of clusters.
        gap_kind: ``"certified"``, a bound, or ``"searched"``, the largest that a search found.
        encoder: p(t|x) of the inputs of the table, shape (n, T); p(t) for inputs without mass.
        decoder: p(y|t), shape (T, |Y|).
        marginal: p(t), decreasing, shape (T,).
        iterations: evaluations of the fixed-point map or its derivative.
        status: `Status.CONVERGED` or why not.
    """

    beta: float
    complexity: float
    relevance: float
    lagrangian: float
    free_energy: float
    gap: float
    gap_kind: GapKind
    encoder: np.ndarray
    decoder: np.ndarray
    marginal: np.ndarray
    iterations: int
    status: Status

    def raise_for_status(self) -> "IBSolution":
        """Return the solution, or raise a RuntimeError with advice if it has not converged."""
        if self.status != Status.CONVERGED:
            raise RuntimeError(f"beta = {self.beta:g}, gap {self.gap:.3g} nat: {self.status.advice}")
        return self


def solve(
    joint: Any,
    beta: float,
    *,
    method: str = "auto",
    tolerance: float = TOLERANCE,
    max_iterations: int = 20_000,
    merge_tolerance: float = MERGE_TOLERANCE,
) -> IBSolution:
    """Minimise I(X;T) - beta I(T;Y) over all encoders p(t|x), and bound how far the result is from the minimum.

    Inputs with equal p(y|x) are merged first, which loses nothing. What is missing is told by the certificate: where
    c(s) = sum_x p(x) / Z(x) exp(-beta KL(p(y|x) || s)) > 1 a cluster s lowers the free energy.

    * ``"auto"``, two labels: starts from one cluster, inserts those that are missing, and settles them with
      Newton's method on (p(t), p(y|t)). It leaves local optima and does not slow down at transitions.
    * ``"auto"``, more labels: starts from one cluster per distinct input and iterates the self-consistent equations
      with squared extrapolation (`squarem`); drops the clusters that meet or fade, inserts those that are missing, and
      finishes the lanes that are slow, next to a transition, with Newton's method.
    * ``"blahut-arimoto"`` iterates the equations from one cluster per distinct input: simple, slow next to a
      transition, and it inserts nothing.

    For two labels and three the gap is a bound. For more it is that of a search: a small one is evidence, no proof.

    Args:
        joint: a table of p(x,y), a pair p(x), p(y|x), or an object with the attributes ``p_x`` and ``p_y_given_x``.
        beta: positive; multiplies I(T;Y) in nats. At or below 1 the solution is one cluster.
        method: ``"auto"`` or ``"blahut-arimoto"``.
        tolerance: of the gap, nats.
        max_iterations: evaluations of the fixed-point map; the last round may exceed it.
        merge_tolerance: see `reduce`.

    Returns:
        The best found, converged or not: ``raise_for_status()`` tells.

    Raises:
        InputError: the table, beta or a setting is wrong.

    Example:
        >>> found = solve(np.array([[0.45, 0.05], [0.05, 0.45]]), beta=3.0)
        >>> f"{found.complexity:.4f} {found.relevance:.4f} {found.gap_kind}", found.gap < 1e-9
        ('0.6578 0.3581 certified', True)

    References:
        Tishby, Pereira & Bialek (1999), "The information bottleneck method".
        Harremoes & Tishby (2007), "The information bottleneck revisited or how to choose a good distortion measure".
    """
    if np.ndim(beta) != 0:
        raise InputError(f"beta must be one number, got shape {np.shape(beta)}: use curve for many")
    reduction = reduce(joint, merge_tolerance)
    lanes = checked_lanes(reduction.table, as_betas(beta), method, tolerance, max_iterations)
    return solution(reduction, lanes, 0)


def checked_lanes(table: Table, betas: np.ndarray, method: str, tolerance: float, max_iterations: int) -> Lanes:
    """`solve_lanes` after a look at the settings."""
    check_settings(method, tolerance, max_iterations)
    return solve_lanes(table, betas, method=method, tolerance=tolerance, max_iterations=max_iterations)


def check_settings(method: str, tolerance: float, max_iterations: int) -> None:
    """Raise an `InputError` if a setting is wrong."""
    choose("method", method, METHODS)
    check_limits(tolerance, max_iterations)


def log_encoder(p_y_given_x: np.ndarray, lanes: Lanes) -> np.ndarray:
    """Logarithms of p(t|x), shape (lanes, n, T); those of clusters without mass are no larger than -700 or so.

    Args:
        p_y_given_x: of all lanes, shape (n, |Y|), or of each, shape (lanes, n, |Y|).
        lanes: the solutions.
    """
    log_w, log_s = (np.log(np.maximum(a, TINY)) for a in (lanes.marginal, lanes.decoder))
    exponent = np.minimum(entropy(p_y_given_x)[..., None] + p_y_given_x @ np.swapaxes(log_s, 1, 2), 0.0)
    joint = log_w[:, None] + lanes.beta[:, None, None] * exponent
    joint -= joint.max(axis=2, keepdims=True)
    return joint - np.log(np.exp(joint).sum(axis=2, keepdims=True))


def encoder(table: Table, lanes: Lanes, i: int) -> tuple[np.ndarray, np.ndarray]:
    """p(t|x) of the distinct inputs and p(x) p(t|x), of lane i without its empty clusters."""
    one = lanes.take(slice(i, i + 1))
    live = one.marginal[0] > 0
    one = one._replace(marginal=one.marginal[:, live], decoder=one.decoder[:, live])
    p_t_given_x = np.exp(log_encoder(table.p_y_given_x, one)[0])
    return p_t_given_x, table.p_x[:, None] * p_t_given_x


def informations(table: Table, lanes: Lanes, problem: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """I(X;T) and I(T;Y) of every lane, of its encoder and so attainable whatever the gap.

    Args:
        table: of all lanes; or stacked tables.
        lanes: the solutions.
        problem: which of the stacked tables a lane is of.
    """
    clusters = (lanes.marginal > 0).sum(axis=1)
    values = np.zeros((2, len(clusters)))
    # Rounding must not make one cluster informative.
    several = np.flatnonzero(clusters > 1)
    several = several[np.argsort(clusters[several], kind="stable")]
    size = max(ENTRIES // (table.p_x.shape[-1] * lanes.marginal.shape[1]), 1)

    def fill(these: np.ndarray) -> None:
        used = clusters[these].max()
        p_x, p = table if problem is None else (a[problem[these]] for a in table)
        some = lanes.take(these)
        log_q = log_encoder(p, some._replace(marginal=some.marginal[:, :used], decoder=some.decoder[:, :used]))
        joint = p_x[..., None] * np.exp(log_q)
        log_t = np.log(np.maximum(joint.sum(axis=1, keepdims=True), TINY))
        values[0, these] = (joint * (log_q - log_t)).sum(axis=(1, 2))
        values[1, these] = mutual_information(np.swapaxes(joint, 1, 2) @ p)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, [several[i : i + size] for i in range(0, len(several), size)]):
            pass
    return tuple(np.maximum(values, 0.0))


def solution(reduction: Reduction, lanes: Lanes, i: int) -> IBSolution:
    """Lane i, with the encoder of the original inputs."""
    table = reduction.table
    one = lanes.take(slice(i, i + 1))
    p_t_given_x, joint = encoder(table, one, 0)
    complexity, relevance = (float(value[0]) for value in informations(table, one))
    marginal = joint.sum(axis=0)
    return IBSolution(
        beta=float(one.beta[0]),
        complexity=complexity,
        relevance=relevance,
        lagrangian=complexity - float(one.beta[0]) * relevance,
        free_energy=-float(table.p_x @ one.log_z[0]),
        gap=float(one.gap[0]),
        gap_kind=one.gap_kind,
        encoder=reduction.expand(p_t_given_x, marginal),
        decoder=joint.T @ table.p_y_given_x / marginal[:, None],
        marginal=marginal,
        iterations=int(one.iterations[0]),
        status=Status(int(one.status[0])),
    )
