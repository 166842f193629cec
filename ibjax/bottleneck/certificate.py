"""How far a solution can be from the best of all: the gap of the dual problem, certified or searched."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, log_likelihood
from ibjax.bottleneck.triangle import largest_on_triangle

GapKind = Literal["certified", "searched"]
MOST_LABELS = 3
"""Labels in use up to which the gap is certified."""
CELLS = 16
"""Intervals between the outermost logits that the bisection starts from, besides those around the atoms."""
CORE = 0.05
"""Half-width in log-odds at beta = 1 of the interval about each atom: a bound that is centred on a peak is tight."""
MAX_BISECTIONS = 60
EPS = float(np.finfo(np.float64).eps)
CLIMBS = (4, 1), (8, 4), (20, 16), (60, 64)
"""Ascents of c by the multi-start search, and the share of the starts that makes them, one of so many."""
FEWEST = 32
"""So many starts, where there are so many, make all ascents but the last."""
LONGEST, HOPE = 3000, 10.0
"""Most ascents of a thorough search; multiple of what geometric convergence leaves that an ascent may still rise."""
PEAKS = 8
"""Starts that make the last ascents, at least."""


class Gap(NamedTuple):
    """A bound on what is lost, for every lane.

    Attributes:
        gap: the free energy is at most so far above its minimum, nats; shape (lanes,).
        kind: ``"certified"`` (a bound, rounding included) or ``"searched"`` (the largest that was found).
        point: p(y) of the cluster that is missed most, shape (lanes, |Y|): where c is largest.
    """

    gap: np.ndarray
    kind: GapKind
    point: np.ndarray


def optimality_gap(
    p_x: np.ndarray,
    p_y_given_x: np.ndarray,
    beta: np.ndarray,
    log_z: np.ndarray,
    decoder: np.ndarray,
    *,
    tolerance: float = 1e-10,
) -> Gap:
    """Bound the distance of -sum_x p(x) ln Z(x) from the smallest free energy of any number of clusters.

    c(s) = sum_x p(x) / Z(x) exp(-beta KL(p(y|x) || s)), and gap = max(ln max_s c(s), 0) over all distributions s of Y.

    The bottleneck is rate-distortion with every distribution of Y as a reproduction and KL as the distortion, which is
    convex: Z is a dual variable, and dividing it by max c makes it feasible. A solution is optimal exactly if c <= 1
    everywhere; a point with c > 1 is a cluster that would lower the free energy.

    For two labels and for three the maximum is bounded rigorously, see `_certified` and `largest_on_triangle`; labels
    without mass do not count. For more it is searched: climbed from every input's p(y|x) and from every cluster, with
    no proof that no peak was missed.

    Args:
        p_x: shape (n,), positive.
        p_y_given_x: shape (n, |Y|).
        beta: shape (lanes,).
        log_z: ln Z(x) of every lane, shape (lanes, n).
        decoder: p(y|t) of every lane, shape (lanes, T, |Y|): where to look first. Dead clusters repeat a live one.
        tolerance: how closely the maximum is bounded, nats; certified gaps exceed the true maximum by at most this.

    Returns:
        The gap, its kind, and the point.

    References:
        Csiszar (1974), "On the computation of rate-distortion functions", theorem 1.
        Gilad-Bachrach, Navot & Tishby (2003), "An information theoretic tradeoff between complexity and accuracy".
        Harremoes & Tishby (2007), "The information bottleneck revisited or how to choose a good distortion measure".
    """
    if certifiable(p_x, p_y_given_x):
        used = p_x @ p_y_given_x > 0
        p, s = p_y_given_x[:, used], decoder[..., used]
        if used.sum() == 2:
            found = _certified(p_x, p, beta, log_z, s, tolerance)
        else:
            bound, point = largest_on_triangle(p_x, p, beta, log_z, largest_log_odds(beta.max()), tolerance)
            found = Gap(np.maximum(bound, 0.0), "certified", point)
        return found._replace(point=np.insert(found.point, np.flatnonzero(~used) - np.arange((~used).sum()), 0, axis=1))
    with jax.enable_x64(True):
        value, point = _search_lanes(*(jnp.asarray(a, jnp.float64) for a in (p_x, p_y_given_x, beta, log_z, decoder)))
    return Gap(np.maximum(np.asarray(value), 0.0), "searched", np.exp(np.asarray(point)))


@jax.jit
def _search_lanes(p_x, p_y_given_x, *lanes):
    """The highest peak that `search` finds, lane after lane."""
    return jax.lax.map(lambda lane: jax.tree.map(lambda a: a[0], search(p_x, p_y_given_x, *lane, LONGEST)), lanes)


def certifiable(p_x: np.ndarray, p_y_given_x: np.ndarray) -> bool:
    """Whether few enough labels have mass."""
    return int((p_x @ p_y_given_x > 0).sum()) <= MOST_LABELS


def log_odds(p: Any, largest: float) -> Any:
    """Log-odds ln p / (1 - p) of the second column of p, clipped."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p[..., 1]) - np.log(p[..., 0]), -largest, largest)


def largest_log_odds(beta: float) -> float:
    """Log-odds beyond which nothing changes in double precision: beta e^-z is below its resolution."""
    return 37.0 + float(np.log(max(beta, 1.0)))


def _certified(p_x, p_y_given_x, beta, log_z, decoder, tolerance) -> Gap:
    """Branch and bound over z = ln s / (1 - s), all lanes in one work list.

    With u = p(y=1|x) and a(x) = p(x) / Z(x) exp(beta H(Y|x)), c(z) = sum_x a(x) exp(beta (u z - ln(1 + e^z))), so that

        (ln c)''(z) = beta^2 Var_q(u) - beta s (1 - s),   q(x) proportional to a(x) exp(beta u z).

    The variance changes by at most exp(beta (max u - min u) h) over a distance h, since |third moment| <= range x
    variance, and is never above range^2 / 4; s (1 - s) is smallest at an end. This bounds the second derivative on an
    interval, and with value and slope in the middle the maximum. Outside the outermost logits of p(y|x) every term
    falls. An interval whose bound exceeds the best value found by more than the tolerance is halved.
    """
    lanes = len(beta)
    limit = largest_log_odds(beta.max())
    logits = log_odds(p_y_given_x, limit)
    u, spread = p_y_given_x[:, 1], np.ptp(p_y_given_x[:, 1])
    with np.errstate(divide="ignore"):
        entropy = -np.where(p_y_given_x > 0, p_y_given_x * np.log(np.where(p_y_given_x > 0, p_y_given_x, 1)), 0).sum(1)
    log_a = np.log(p_x) - log_z + beta[:, None] * entropy
    low, high = logits.min(), logits.max()
    rounding = 8 * EPS * (1 + abs(log_z).max(axis=1) + beta * (1 + max(-low, high)))

    # Start from a uniform partition with an interval of its own about every atom.
    atoms = np.clip(log_odds(decoder, limit), low, high)
    core = CORE / np.sqrt(np.maximum(beta, 1.0))[:, None]
    edges = np.sort(
        np.concatenate(
            [
                np.broadcast_to(np.linspace(low, high, CELLS + 1), (lanes, CELLS + 1)),
                np.clip(atoms - core, low, high),
                np.clip(atoms + core, low, high),
            ],
            axis=1,
        )
    )
    left, right = edges[:, :-1].ravel(), edges[:, 1:].ravel()
    lane = np.repeat(np.arange(lanes), edges.shape[1] - 1)
    wide = right > left
    lane, left, right = lane[wide], left[wide], right[wide]

    best, where, proved = np.full(lanes, -np.inf), np.zeros(lanes), np.full(lanes, -np.inf)
    for _ in range(MAX_BISECTIONS):
        middle, half = (left + right) / 2, (right - left) / 2
        value, slope, variance = _log_c(log_a, u, beta, lane, middle)
        s_left, s_right = (1 / (1 + np.exp(-z)) for z in (left, right))
        b = beta[lane]
        sech = np.minimum(s_left * (1 - s_left), s_right * (1 - s_right))
        most = np.minimum(variance * np.exp(np.minimum(b * spread * half, 700.0)), spread**2 / 4)
        curvature = b**2 * most - b * sech
        inside = (curvature < 0) & (abs(slope) < -curvature * half)
        rise = np.where(
            inside,
            slope**2 / np.where(inside, -2 * curvature, 1.0),
            abs(slope) * half + curvature * half**2 / 2,
        )
        bound = value + np.maximum(rise, 0.0)
        order = np.argsort(value, kind="stable")  # the last write of a lane is its largest value
        top = np.full(lanes, -np.inf)
        top[lane[order]], at = value[order], np.zeros(lanes)
        at[lane[order]] = middle[order]
        where, best = np.where(top > best, at, where), np.maximum(best, top)
        open_ = bound > np.maximum(best, 0.0)[lane] + tolerance
        np.maximum.at(proved, lane[~open_], bound[~open_])
        if not open_.any():
            break
        lane, left, middle, right = lane[open_], left[open_], middle[open_], right[open_]
        lane, left, right = np.tile(lane, 2), np.concatenate([left, middle]), np.concatenate([middle, right])
    else:
        np.maximum.at(proved, lane[open_ := np.ones(len(lane), bool)], np.inf)
    s = 1 / (1 + np.exp(-where))
    return Gap(np.maximum(proved, 0.0) + rounding, "certified", np.stack([1 / (1 + np.exp(where)), s], axis=1))


def _log_c(log_a, u, beta, lane, z):
    """The logarithm of c, its derivative and Var_q(u) at points z of the lanes."""
    b = beta[lane]
    exponent = log_a[lane] + (b * z)[:, None] * u
    largest = exponent.max(axis=1)
    weight = np.exp(exponent - largest[:, None])
    total = weight.sum(axis=1)
    mean = weight @ u / total
    variance = np.maximum(weight @ u**2 / total - mean**2, 0.0) + 4 * EPS
    softplus = np.logaddexp(0.0, z)
    return largest + np.log(total) - b * softplus, b * (mean - 1 / (1 + np.exp(-z))), variance


@jax.jit
def search(
    p_x: Any, p_y_given_x: Any, beta: Any, log_z: Any, decoder: Any, longest: Any = 0
) -> tuple[jax.Array, jax.Array]:
    """Peaks of ln c that ascents ``s <- sum_x a(x) p(y|x) / sum_x a(x)`` reach, a(x) the terms of c.

    An ascent never lowers c. They start from every p(y|x) and every cluster: a cluster is a stationary point of c, but
    perhaps a saddle. The starts that are high or still rising fast go on, for most end where a cluster is, at c = 1.

    Args:
        p_x: shape (n,).
        p_y_given_x: shape (n, |Y|).
        beta: the trade-off of one lane.
        log_z: ln Z(x), shape (n,).
        decoder: p(y|t), shape (T, |Y|).
        longest: so many ascents more at most, of the starts that are left and may yet rise above 1: next to a
            transition, where the peak of the cluster that is missed is flat, hundreds.

    Returns:
        ln c in decreasing order, and ln s, of the places where the last ascents began or ended; the first is the
        largest ln c of all that were seen.
    """
    log_ratio = jnp.log(p_x) - log_z

    def terms(log_s):
        return log_ratio[:, None] + log_likelihood(beta, p_y_given_x, log_s)

    def climb(_, carry):
        log_s, value, _ = carry
        exponent = terms(log_s)
        new = logsumexp(exponent, axis=0)
        s = jnp.matmul(jnp.exp(exponent - new).T, p_y_given_x, precision=jax.lax.Precision.HIGHEST)
        return jnp.maximum(jnp.log(jnp.maximum(s, jnp.exp(LOG_FLOOR))), LOG_FLOOR), new, new - value

    start = jnp.concatenate([p_y_given_x, decoder])
    log_s = jnp.maximum(jnp.log(jnp.maximum(start, jnp.exp(LOG_FLOOR))), LOG_FLOOR)
    total, last = len(start), CLIMBS[-1][0]
    seen = []
    for climbs, share in CLIMBS:
        size = min(total, max(total // share, PEAKS if climbs == last else FEWEST))
        if seen:
            log_s, value, gain = seen[-1]
            # What has arrived, as most clusters have, is seen and keeps no place.
            hope = jnp.where(gain > EPS, jnp.nan_to_num(value + last * gain, nan=jnp.inf), -jnp.inf)
            _, best = jax.lax.top_k(hope, size)
            log_s = log_s[best]
        value = jnp.full(size, -jnp.inf, log_s.dtype)
        log_s, _, gain = jax.lax.fori_loop(0, climbs, climb, (log_s, value, value))
        seen.append((log_s, logsumexp(terms(log_s), axis=0), gain))
    # The peak of a cluster that is about to be born is flat: what may yet rise above 1 by its pace goes on.
    log_s, value, gain = seen[-1]

    def rises(carry):
        _, value, gain, pace, step = carry
        return (step < longest) & ((gain > EPS) & (value + HOPE * gain / (1 - pace) > 0)).any()

    def go_on(carry):
        log_s, value, before, _, step = carry
        log_s, value, gain = climb(0, (log_s, value, before))
        return log_s, value, gain, jnp.clip(gain / jnp.where(before > 0, before, 1.0), 0.0, 0.999), step + 1

    log_s, *_ = climb(0, (log_s, value, gain))
    log_s, *_ = jax.lax.while_loop(rises, go_on, (log_s, value, gain, jnp.full_like(gain, 0.999), 0))
    seen.append((log_s, logsumexp(terms(log_s), axis=0), gain))
    # Those that stopped early count as they are.
    places, values = (jnp.concatenate([stage[i] for stage in seen]) for i in (0, 1))
    value, best = jax.lax.top_k(jnp.nan_to_num(values, nan=jnp.inf), min(total, FEWEST))
    return value, places[best]
