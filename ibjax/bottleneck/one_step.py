"""The beta at which one step of the bottleneck's equations changes a layer least (Shwartz-Ziv & Tishby, 2017)."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq

from ibjax.bottleneck.encoders import as_encoder
from ibjax.bottleneck.layers import BETA_MAX
from ibjax.bottleneck.reduce import reduce
from ibjax.bottleneck.table import Table, as_table
from ibjax.errors import InputError, choose
from ibjax.information.measures import xlogy

Direction = Literal["bound_to_layer", "layer_to_bound"]
DIRECTIONS = ("bound_to_layer", "layer_to_bound")
PRECISION = 1e-10
"""Of beta, relative."""
SMALLEST = 1e-3
"""Where the search for beta begins; a layer below it is closer to p(t) than to any bottleneck."""
GRID = 32
"""Betas at which the divergence that is not convex is looked at first."""
UNREACHABLE = 1e100
"""Divergence of a cluster that lacks a label of the input: its square is finite, and its exponential 0."""
CELLS = 2**16
"""Cells of p(t|x) that are worked on at once: half a megabyte an array, so that all stay in the cache."""
EPS = float(np.finfo(np.float64).eps)


class OneStep(NamedTuple):
    """The nearest one-step encoder of each layer; arrays of the encoder's leading axes.

    Attributes:
        beta: where the divergence is smallest; infinite where censored, NaN where T tells nothing of Y, 0 where no
            positive beta is nearer than the smallest.
        divergence: there, nats; at ``beta_max`` where censored. 0 for an encoder that solves the equations.
        censored: the divergence still falls at ``beta_max``, or has stopped to fall by rounding.
    """

    beta: np.ndarray
    divergence: np.ndarray
    censored: np.ndarray


def one_step_beta(
    joint: Any, encoder: Any, *, direction: Direction = "bound_to_layer", beta_max: float = BETA_MAX
) -> OneStep:
    """Find the beta whose one-step bottleneck encoder is nearest to a layer's encoder p(t|x).

    With p(t) and p(y|t) those of the layer, the bottleneck's equation for the encoder gives, without iterating,

        q_b(t|x) = p(t) exp(-b KL(p(y|x) || p(y|t))) / Z_b(x),

    and beta minimises one of two divergences over b between 0.001 and ``beta_max``:

    * ``"bound_to_layer"``: sum_x p(x) KL(q_b(.|x) || p(.|x)), as published. It is infinite unless p(t|x) > 0 wherever
      q_b is, so that the layer must be noisy, and it may have several minima: the lowest is found from a grid.
    * ``"layer_to_bound"``: sum_x p(x) KL(p(.|x) || q_b(.|x)). Finite for a layer that is a function of its input too,
      and convex in b, for it equals I(X;T) + b (I(X;Y) - I(T;Y)) + sum_x p(x) ln Z_b(x): one minimum. It is what one
      step of Blahut-Arimoto takes off the lagrangian, and so never above the layer's `LayerBound.lagrangian_gap`.

    Both are 0 at the b of an optimal encoder, and of any other that solves this equation though not optimal. Elsewhere
    they differ: say which one a figure shows.
    Where p(t|x) is hard and every input has the nearest cluster, as where T = X, a larger b is always nearer: censored.

    Args:
        joint: see `ibjax.bottleneck.solve`.
        encoder: p(t|x), shape (..., n, T): layers of one width are done one after another.
        direction: which divergence.
        beta_max: above 0.001.

    Returns:
        Beta, to 1e-10 relative as far as rounding allows, the divergence, and whether beta is censored.

    Raises:
        InputError: the table, an encoder or a setting is wrong, or ``"bound_to_layer"`` meets a probability of 0.

    Example:
        >>> from ibjax.bottleneck import solve
        >>> joint = np.array([[0.45, 0.05], [0.05, 0.45]])
        >>> found = one_step_beta(joint, solve(joint, beta=3.0).encoder)
        >>> f"{found.beta:.4f} {found.divergence:.4f}"
        '3.0000 0.0000'

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information".
        Tishby, Pereira & Bialek (1999), "The information bottleneck method", theorem 4.
    """
    choose("direction", direction, DIRECTIONS)
    if not SMALLEST < beta_max < np.inf:
        raise InputError(f"beta_max is {beta_max:g}: it must be above {SMALLEST:g} and finite")
    table = as_table(joint)
    p = as_encoder(encoder, table.p_x)
    if direction == "bound_to_layer":
        mass = table.p_x > 0
        zero = (p == 0) & mass[:, None] & ((table.p_x @ p) > 0)[..., None, :]
        if zero.any():
            index = ", ".join(str(int(i)) for i in np.unravel_index(np.argmax(zero), p.shape))
            raise InputError(
                f"encoder[{index}] is 0, so that the divergence is infinite: add the layer's noise, or take "
                f"direction='layer_to_bound'"
            )
    layers = [_fit(_layer(table, one), direction, float(beta_max)) for one in p.reshape(-1, *p.shape[-2:])]
    beta, divergence = (np.array(a).reshape(p.shape[:-2]) for a in zip(*layers, strict=True))
    return OneStep(beta, divergence, np.asarray(np.isposinf(beta)))


class _Layer(NamedTuple):
    """Sufficient for both divergences: inputs of equal p(y|x) and clusters of equal p(y|t) are one.

    Attributes:
        p_x: shape (m,).
        log_p_t: shape (k,).
        relative: KL(p(y|x) || p(y|t)), `UNREACHABLE` where a label is missing; shape (m, k).
        p_t_given_x: shape (m, k).
        log_ratio: mean of ln p(t) / p(t|x) over what was merged; shape (m, k).
        complexity: I(X;T) before merging.
        lost: I(X;Y) - I(T;Y).
    """

    p_x: np.ndarray
    log_p_t: np.ndarray
    relative: np.ndarray
    p_t_given_x: np.ndarray
    log_ratio: np.ndarray
    complexity: float
    lost: float


def _layer(table: Table, encoder: np.ndarray) -> _Layer:
    mass, used = table.p_x > 0, (table.p_x @ encoder) > 0
    p_x, rows = table.p_x[mass], table.p_y_given_x[mass]
    encoder = encoder[mass][:, used]
    p_t = p_x @ encoder
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(p_t) - np.log(encoder)
    complexity = -float(p_x @ np.where(encoder > 0, encoder * np.where(encoder > 0, log_ratio, 0.0), 0.0).sum(axis=1))
    decoder = (p_x[:, None] * encoder).T @ rows / p_t[:, None]
    # Sums over the clusters of a group and means over its inputs; of ln p(t) / p(t|x), means over both.
    x, t = _Groups.of(p_x, rows), _Groups.of(p_t, decoder)
    p_t_given_x = t.sums(x.means(encoder), axis=1)
    ratio = t.means(x.means(log_ratio), axis=1) if np.isfinite(log_ratio).all() else np.zeros_like(p_t_given_x)
    relative = _relative(x.means(rows), t.means(decoder))
    lost = float(x.weight @ (p_t_given_x * relative).sum(axis=1))
    return _Layer(x.weight, np.log(t.weight), relative, p_t_given_x, ratio, complexity, lost)


class _Groups(NamedTuple):
    """Rows that are equal, made one.

    Attributes:
        order: rows of one group next to each other.
        starts: where each group begins.
        p: of the rows, in order.
        weight: of the groups.
    """

    order: np.ndarray
    starts: np.ndarray
    p: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, p: np.ndarray, rows: np.ndarray) -> "_Groups":
        index = reduce((p / p.sum(), rows)).index if len(p) > 1 else np.zeros(1, int)
        order = np.argsort(index, kind="stable")
        starts = np.flatnonzero(np.diff(index[order], prepend=-1))
        return cls(order, starts, p[order], np.add.reduceat(p[order], starts))

    def sums(self, a: np.ndarray, axis: int = 0) -> np.ndarray:
        return np.add.reduceat(np.take(a, self.order, axis=axis), self.starts, axis=axis)

    def means(self, a: np.ndarray, axis: int = 0) -> np.ndarray:
        p, weight = (w[:, None] if axis == 0 else w for w in (self.p, self.weight))
        return np.add.reduceat(p * np.take(a, self.order, axis=axis), self.starts, axis=axis) / weight


def _relative(rows: np.ndarray, decoder: np.ndarray) -> np.ndarray:
    """KL of every row from every cluster; `UNREACHABLE` where the cluster lacks one of its labels."""
    negative_entropy = xlogy(rows, rows).sum(axis=1)
    cross = rows @ np.log(np.where(decoder > 0, decoder, 1.0)).T
    missing = (rows > 0).astype(float) @ (decoder == 0).T > 0
    return np.where(missing, UNREACHABLE, np.maximum(negative_entropy[:, None] - cross, 0.0))


class _Divergence(NamedTuple):
    """A divergence at one b, its derivative, and how much of that is rounding."""

    value: float
    slope: float
    rounding: float


def _bound_to_layer(layer: _Layer, b: float) -> _Divergence:
    """sum_x p(x) (E_q[ln p(t)/p(t|x) - b KL] - ln Z), and its derivative sum_x p(x) (b Var_q(KL) - Cov_q(KL, ln))."""
    value = slope = size = 0.0
    for p_x, q, log_z, d, part in _blocks(layer, b):
        ratio = layer.log_ratio[part]
        mean_d, mean_ratio = _means(q, d), _means(q, ratio)
        value += p_x @ (mean_ratio - b * mean_d - log_z)
        slope += p_x @ (_means(q * (d - mean_d[:, None]), b * d - ratio))
        size += p_x @ (abs(mean_ratio) + b * mean_d + abs(log_z))
    return _Divergence(float(value), float(slope), 16 * EPS * float(size))


def _layer_to_bound(layer: _Layer, b: float) -> _Divergence:
    """I(X;T) + b (I(X;Y) - I(T;Y)) + sum_x p(x) ln Z, and its derivative I(X;Y) - I(T;Y) - sum_x p(x) E_q[KL]."""
    log_z = mean = 0.0
    for p_x, q, z, d, _ in _blocks(layer, b):
        log_z += p_x @ z
        mean += p_x @ _means(q, d)
    return _Divergence(
        float(layer.complexity + b * layer.lost + log_z), float(layer.lost - mean), 16 * EPS * float(layer.lost + mean)
    )


def _blocks(layer: _Layer, b: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, slice]]:
    """Of some inputs at a time p(x), q_b(t|x), ln Z_b(x), KL(p(y|x) || p(y|t)) and which they are."""
    rows = max(CELLS // len(layer.log_p_t), 1)
    for i in range(0, len(layer.p_x), rows):
        part = slice(i, i + rows)
        d = layer.relative[part]
        exponent = layer.log_p_t - b * d
        largest = exponent.max(axis=1)
        q = np.exp(exponent - largest[:, None])
        z = q.sum(axis=1)
        q /= z[:, None]
        yield layer.p_x[part], q, largest + np.log(z), d, part


def _means(q: np.ndarray, a: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", q, a)


def _fit(layer: _Layer, direction: Direction, beta_max: float) -> tuple[float, float]:
    """Beta and the divergence of one layer."""
    at = functools.partial(_bound_to_layer if direction == "bound_to_layer" else _layer_to_bound, layer)
    if len(layer.log_p_t) == 1:
        return np.nan, max(at(1.0).value, 0.0)
    if direction == "bound_to_layer":
        low, high = _valley(at, SMALLEST, beta_max)
    else:
        low, high = SMALLEST, beta_max
    last = at(high)
    if high == beta_max and last.slope <= last.rounding:
        return np.inf, max(last.value, 0.0)
    if at(low).slope >= 0:
        return 0.0, max(at(low).value, 0.0)
    # In ln b, where the slopes of divergences bend less.
    root = brentq(lambda z: at(float(np.exp(z))).slope, np.log(low), np.log(high), xtol=PRECISION, rtol=4 * EPS)
    beta = float(np.exp(root))
    return beta, max(at(beta).value, 0.0)


def _valley(at: Callable[[float], _Divergence], low: float, high: float) -> tuple[float, float]:
    """Interval about the lowest minimum on a grid, at whose ends the divergence falls and rises."""
    grid = np.geomspace(low, high, GRID)
    grid[0], grid[-1] = low, high
    found = [at(float(b)) for b in grid]
    values = np.array([f.value for f in found])
    i = int(values.argmin())
    # What is no lower than at the end, but for rounding, has run away to it.
    if values[-1] <= values[i] + found[-1].rounding:
        i = len(grid) - 1
    if i == len(grid) - 1 and found[i].slope <= found[i].rounding:
        return float(grid[i - 1]), float(grid[i])
    if i == 0 and found[0].slope >= 0:
        return low, float(grid[1])
    left, right = (i, i + 1) if found[i].slope < 0 else (i - 1, i)
    low, high = float(grid[left]), float(grid[right])
    if found[left].slope < 0 <= found[right].slope or high - low <= PRECISION * high:
        return low, high
    return _valley(at, low, high)
