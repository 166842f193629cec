"""The largest c of three labels, bounded rigorously: branch and bound over the triangle of their distributions."""

from typing import NamedTuple

import numpy as np

from ibjax.information import entropy

GRID = 8
"""Cells along each side of each third of the triangle to begin with."""
MOST = 1 << 20
"""Cells that are open at once; beyond it their own bounds are what is proved."""
ENTRIES = 1 << 18
"""Cells times inputs of one block: about what the caches hold."""
NEGLIGIBLE = -60.0
"""Logarithm of a share of c that adds less than rounding, whatever the number of inputs."""
EPS = float(np.finfo(np.float64).eps)


class Largest(NamedTuple):
    """Of every lane ln c at most, and the distribution where the largest value was seen, shape (lanes, 3)."""

    bound: np.ndarray
    point: np.ndarray


class _Cells(NamedTuple):
    """Rectangles in z_i = ln s_i / s_0: the lane of each, the middle and half the sides, shape (cells, 2)."""

    lane: np.ndarray
    middle: np.ndarray
    half: np.ndarray

    def take(self, index: np.ndarray | slice) -> "_Cells":
        return _Cells(*(a[index] for a in self))

    def halved(self, axis: np.ndarray) -> "_Cells":
        """Two cells for each, cut across an axis."""
        step = np.where(np.arange(2) == axis[:, None], self.half / 2, 0.0)
        return _Cells(
            np.tile(self.lane, 2),
            np.concatenate([self.middle - step, self.middle + step]),
            np.tile(self.half - step, (2, 1)),
        )


def largest_on_triangle(
    p_x: np.ndarray, p_y_given_x: np.ndarray, beta: np.ndarray, log_z: np.ndarray, limit: float, tolerance: float
) -> Largest:
    """Bound ln c(s) = ln sum_x a(x) exp(beta sum_y p(y|x) ln s_y), a(x) = p(x) / Z(x) exp(beta H(Y|x)), over all s.

    The triangle is cut into three, one for each label that is the most probable: s_0, with z_i = ln s_i / s_0 <= 0. A
    rectangle with the middle z, where q(x) is proportional to the terms of c, is bounded in two ways:

    * Second order. In a distance d the shares q and s change by factors of at most exp(beta osc_x sum_y p(y|x) d_y) and
      exp(osc_y d_y), osc the largest difference. Hence the Hessian beta^2 Cov_q(p(y|x)) - beta (diag s - s s') is
      at most that with these factors, and the maximum of the parabola bounds ln c: tight at a peak, for small cells.
    * Tangents. Every term is log-concave in z, so that it is at most a(x) exp(tangent); their sum is convex and largest
      at a corner. It holds for cells of any size, such as those far out where a label has vanished.

    A cell whose bounds exceed the best value found by more than the tolerance is cut in two, across the side along
    which the tangents rise more.

    Args:
        p_x: shape (n,), positive.
        p_y_given_x: shape (n, 3); every label has mass.
        beta: shape (lanes,).
        log_z: ln Z(x), shape (lanes, n).
        limit: ratios beyond e^-limit change nothing in double precision.
        tolerance: nats, by which the bound may exceed the maximum, if that is above 0.
    """
    lanes = len(beta)
    best, proved, point = np.full(lanes, -np.inf), np.full(lanes, -np.inf), np.zeros((lanes, 3))
    log_a = np.log(p_x) - log_z + beta[:, None] * entropy(p_y_given_x)
    block = max(ENTRIES // len(p_x), 1)
    for first in range(3):
        order = np.roll(np.arange(3), -first)
        u = p_y_given_x[:, order[1:]]
        cells = _first(p_y_given_x[:, order], limit, lanes)
        while True:
            wanted = np.maximum(best, 0.0) + tolerance
            pieces = [
                _bounded(log_a, u, beta, cells.take(slice(i, i + block)), wanted)
                for i in range(0, len(cells.lane), block)
            ]
            value, bound, axis = (np.concatenate(part) for part in zip(*pieces, strict=True))
            rising = np.argsort(value, kind="stable")  # the last write of a lane is its largest value
            top, at = np.full(lanes, -np.inf), np.zeros((lanes, 2))
            top[cells.lane[rising]], at[cells.lane[rising]] = value[rising], cells.middle[rising]
            s = np.exp(np.concatenate([np.zeros((lanes, 1)), at], axis=1))[:, np.argsort(order)]
            point = np.where((top > best)[:, None], s / s.sum(axis=1, keepdims=True), point)
            best = np.maximum(best, top)
            open_ = bound > np.maximum(best, 0.0)[cells.lane] + tolerance
            if not open_.any() or open_.sum() > MOST:
                np.maximum.at(proved, cells.lane, bound)
                break
            np.maximum.at(proved, cells.lane[~open_], bound[~open_])
            cells = cells.take(open_).halved(axis[open_])
    size = 1 + abs(log_z).max(axis=1) + beta * (1 + limit)
    return Largest(proved + 8 * EPS * size, point)


def _first(p: np.ndarray, limit: float, lanes: int) -> _Cells:
    """Cells that cover where s_0 is largest, as far out as a p(y|x): a maximum is a mixture of these."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(p[:, 1:]) - np.log(p[:, :1])  # NaN where neither occurs: such an input sets no ratio
    low = np.clip(np.nanmin(ratio, axis=0), -limit, 0.0)
    half = -low / (2 * GRID)
    steps = 2 * np.stack(np.meshgrid(*2 * [np.arange(GRID)], indexing="ij"), axis=-1).reshape(-1, 2) + 1
    middle = low + half * steps
    many = lanes * len(middle)
    return _Cells(np.repeat(np.arange(lanes), len(middle)), np.tile(middle, (lanes, 1)), np.tile(half, (many, 1)))


def _bounded(
    log_a: np.ndarray, u: np.ndarray, beta: np.ndarray, cells: _Cells, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every cell ln c in the middle, its bound, and the axis to cut across where that is more than wanted."""
    lane, z, half = cells
    b = beta[lane]
    exponent = log_a[lane] + b[:, None] * (z @ u.T)
    largest = exponent.max(axis=1)
    share = np.exp(exponent - largest[:, None])
    total = share.sum(axis=1)
    ratio = np.exp(z)
    all_ = 1 + ratio.sum(axis=1)
    s, s_0 = ratio / all_[:, None], 1 / all_
    value = largest + np.log(total) - b * np.log(all_)

    mean = share @ u / total[:, None]
    variance = np.maximum(share @ u**2 / total[:, None] - mean**2, 0.0) + 4 * EPS
    covariance = share @ u.prod(axis=1) / total - mean.prod(axis=1)
    grown = b**2 * np.exp(np.minimum(b * (half @ np.ptp(u, axis=0)), 700.0 - 2 * np.log(b)))
    shrunk = b * np.exp(-half.sum(axis=1))
    diagonal = grown[:, None] * variance - shrunk[:, None] * s * (s_0[:, None] + s[:, ::-1])
    across = grown * covariance + shrunk * s.prod(axis=1)
    bound = value + _most(b[:, None] * (mean - s), diagonal, across, half)

    axis = np.zeros(len(lane), np.int64)
    open_ = np.flatnonzero(bound > wanted[lane])
    slope = b[open_, None, None] * (u - s[open_, None]) * half[open_, None]
    far = (exponent[open_] - largest[open_, None]) + abs(slope).sum(axis=2) < NEGLIGIBLE
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is cut
        rise = np.exp(np.where(far[:, :, None], 0.0, slope))
        one, two = (np.stack([rise[:, :, i], 1 / rise[:, :, i]]) for i in (0, 1))
        ends = [(share[open_] * side).sum(axis=2).max(axis=0) for side in (one, two)]
        corners = np.einsum("nx,anx,bnx->abn", share[open_], one, two).max(axis=(0, 1))
        highest = np.nan_to_num(corners, nan=np.inf)
        axis[open_] = np.argmax(np.nan_to_num(ends, nan=np.inf), axis=0)
    bound[open_] = np.minimum(bound[open_], value[open_] + np.log(highest / total[open_]))
    return value, bound, axis


def _most(gradient: np.ndarray, diagonal: np.ndarray, across: np.ndarray, half: np.ndarray) -> np.ndarray:
    """No less than a parabola's maximum over a rectangle: that over the one around it along its axes."""
    middle, difference = diagonal.sum(axis=1) / 2, (diagonal[:, 0] - diagonal[:, 1]) / 2
    radius, angle = np.hypot(difference, across), np.arctan2(across, difference) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    rise = np.zeros(len(half))
    for curvature, direction in ((middle + radius, (cos, sin)), (middle - radius, (-sin, cos))):
        reach = abs(direction[0]) * half[:, 0] + abs(direction[1]) * half[:, 1]
        slope = abs(direction[0] * gradient[:, 0] + direction[1] * gradient[:, 1])
        inside = slope < -curvature * reach
        at_end = slope * reach + curvature * reach**2 / 2
        rise += np.where(inside, slope**2 / np.where(inside, -2 * curvature, 1.0), at_end)
    return rise
