"""A chain of layers, each held against the best that could be made of the one before."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ibjax.bottleneck.certificate import GapKind
from ibjax.bottleneck.curve import curve
from ibjax.bottleneck.encoders import as_encoder, encoder_information
from ibjax.bottleneck.layers import BETA_MAX, SLACK, against_bound
from ibjax.bottleneck.table import as_table
from ibjax.errors import InputError, choose

GIVEN = ("before", "input")
CONSISTENT = 1e-6
"""How closely p(t_k+1|x) must be a mixture of p(t_k|x) to be made from it: the rounding of single precision."""
START = (1.0, 1.5, 2.0, 4.0, 8.0)
"""Betas of each layer's curve before those that its successor needs."""


class Refinement(NamedTuple):
    """Each layer against the curve of the one before; arrays over the layers, nats.

    Attributes:
        complexity: I(T_k-1;T_k), T_0 the input.
        relevance: I(T_k;Y).
        gap: relevance below the curve of p(t_k-1, y) at this complexity, see `LayerBound`.
        lagrangian_gap: the horizontal gap.
        beta: of that curve at this complexity; infinite where it is flat, NaN where the layer before tells nothing.
        gap_kind: ``"certified"`` or ``"searched"``.
    """

    complexity: np.ndarray
    relevance: np.ndarray
    gap: np.ndarray
    lagrangian_gap: np.ndarray
    beta: np.ndarray
    gap_kind: GapKind


def successive_refinement(
    joint: Any,
    encoders: Sequence[Any],
    *,
    given: Literal["before", "input"] = "before",
    beta_max: float = BETA_MAX,
    slack: float = SLACK,
) -> Refinement:
    """Ask of every layer of a chain X -> T_1 -> T_2 -> ... whether it is on the curve of the layer before.

    Layer k is an encoder of the "source" T_k-1, whose table with Y is p(t_k-1, y) = sum_x p(x, y) p(t_k-1|x). Its gap

        R_k-1(I(T_k-1;T_k)) - I(T_k;Y)

    is 0 if no other processing of T_k-1 at that complexity keeps more of Y: what is lost there, this layer lost, not an
    earlier one.

    A source is successively refinable if coarse descriptions can be sent first and refined later at no cost. For the
    bottleneck: if for betas b_1 > b_2 > ... one chain X -> T_1 -> T_2 -> ... exists in which each T_k is optimal for X
    at b_k, so that a network whose layers only forget can have all of its layers on the curve of X. The binary
    symmetric and the jointly Gaussian source are, tables in general are not. A gap here says where a chain loses;
    whether each layer is on the curve of X itself is the question of `against_bound`.

    Args:
        joint: of X and Y, see `ibjax.bottleneck.solve`.
        encoders: the first p(t_1|x), shape (n, T_1), and the others as ``given`` says.
        given: ``"before"``: p(t_k|t_k-1), shape (T_k-1, T_k). ``"input"``: p(t_k|x), shape (n, T_k), of which
            p(t_k|t_k-1) is found by solving p(t_k|x) = sum p(t_k|t_k-1) p(t_k-1|x): right for layers that are functions
            of their input, and wherever one solution exists.
        beta_max: see `against_bound`.
        slack: see `against_bound`.

    Returns:
        The layers' numbers.

    Raises:
        InputError: the table or an encoder is wrong; or, given the input, a layer is no function of the one before, or
            of several that differ.

    Example:
        >>> joint = np.array([[0.45, 0.05], [0.05, 0.45]])
        >>> flip = np.array([[0.9, 0.1], [0.1, 0.9]])
        >>> found = successive_refinement(joint, [flip, flip])
        >>> found.complexity.round(3), bool(abs(found.gap).max() < 1e-5)
        (array([0.368, 0.368]), True)

    References:
        Equitz & Cover (1991), "Successive refinement of information", theorem 2.
        Tian & Chen (2008), "Successive refinement for hypothesis testing and lossless one-helper problem".
    """
    choose("given", given, GIVEN)
    p_before, rows = table = as_table(joint)
    if not len(encoders):
        raise InputError("encoders is empty: give p(t|x) of at least one layer")
    if given == "input":
        encoders = _chain(table.p_x, [as_encoder(e, table.p_x, f"encoders[{k}]") for k, e in enumerate(encoders)])
    found: list[tuple[float, ...]] = []
    kind: GapKind = "certified"
    for k, channel in enumerate(encoders):
        p = as_encoder(channel, p_before, f"encoders[{k}]")
        if p.ndim != 2:
            raise InputError(f"encoders[{k}] has shape {p.shape}: give one matrix a layer")
        p_t = p_before @ p
        decoder = (p_before[:, None] * p).T @ rows / np.where(p_t > 0, p_t, 1.0)[:, None]
        if (p_before > 0).sum() < 2:
            found.append((0.0, 0.0, 0.0, 0.0, np.nan))
        else:
            complexity, relevance = encoder_information((p_before, rows), p)
            bound = against_bound(curve((p_before, rows), START), complexity, relevance, beta_max=beta_max, slack=slack)
            kind = "searched" if bound.gap_kind == "searched" else kind
            numbers = complexity, relevance, bound.gap, bound.lagrangian_gap, bound.beta_complexity
            found.append(tuple(float(a) for a in numbers))
        p_before, rows = p_t, np.where((p_t > 0)[:, None], decoder, p_before @ rows)
    complexity, relevance, gap, lagrangian_gap, beta = np.array(found).T
    return Refinement(complexity, relevance, gap, lagrangian_gap, beta, kind)


def _chain(p_x: np.ndarray, encoders: list[np.ndarray]) -> list[np.ndarray]:
    """p(t_1|x) and p(t_k|t_k-1) of layers that are given from the input."""
    channels = encoders[:1]
    mass = p_x > 0
    for k in range(1, len(encoders)):
        before, after = encoders[k - 1], encoders[k]
        used = p_x @ before > 0
        left = before[mass][:, used]
        solved, _, rank, _ = np.linalg.lstsq(left, after[mass], rcond=CONSISTENT)
        if rank < used.sum():
            raise InputError(
                f"encoders[{k}] can be made from encoders[{k - 1}] in several ways: give p(t_k|t_k-1), given='before'"
            )
        error = max(abs(left @ solved - after[mass]).max(), -solved.min())
        if error > CONSISTENT:
            raise InputError(
                f"encoders[{k}] is not made from encoders[{k - 1}] alone, off by {error:.2g}: give the layers in order "
                f"and without connections that skip one"
            )
        channel = np.broadcast_to(p_x @ after, (len(used), after.shape[1])).copy()
        channel[used] = np.maximum(solved, 0.0) / np.maximum(solved, 0.0).sum(axis=1, keepdims=True)
        channels.append(channel)
    return channels
