"""Many small problems at the same betas: all at one beta together, from the largest down."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, log_likelihood
from ibjax.bottleneck.chunks import in_chunks
from ibjax.bottleneck.few_newton import few_newton, inverse
from ibjax.bottleneck.many_labels import (
    HEAVIEST,
    NOISE,
    Clusters,
    Solved,
    halved,
    joined,
    missing,
    simplified,
    solve_many_labels,
    split,
    starts,
)
from ibjax.bottleneck.squarem import squarem
from ibjax.bottleneck.table import Table

HIGHEST = jax.lax.Precision.HIGHEST
SLOTS = 8, 16, 32, 48
"""Numbers of clusters that programs are compiled for; more are a multiple of the second."""
LANES = 16
"""Lanes of one program: more do not fit the caches."""
EVALUATIONS = 15
"""Of the map before Newton's method: what meets or fades on the way down in beta is close by then."""
NEWTON_STEPS = 6
ROUNDS = 10
"""How often a lane that the search refuses is improved again here, before it is left to `solve_many_labels`."""
MET = 1e-2
"""Euclidean distance below which two clusters have met; what that loses, the search gives back."""
LIGHT, FADED = 1e-7, 1e-12
"""Weights below which a cluster is dropped before and after Newton's method."""
CLIMBS, ASCENTS, LAST = 2, 2, 4
"""Ascents of ln c from every input, plain ones and Newton's, and Newton's from the places that are chosen then. With
none of Newton's before the choice, peaks of up to ln c = 0.2 were missed."""
TOPS, FORESIGHT = 16, 2
"""Places from which the last stage starts, and how many of the last gain their choice expects."""


def merged(log_weights, log_decoder):
    """Clusters without the light ones, those that have met as one, the heaviest first."""
    w = jnp.exp(log_weights)
    w = jnp.where(w < LIGHT, 0.0, w)
    order = jnp.argsort(-w)
    w, s = w[order], jnp.exp(log_decoder[order])
    square = (s**2).sum(axis=1)
    near = square[:, None] + square - 2 * jnp.matmul(s, s.T, precision=HIGHEST) < MET**2
    # The heaviest that is near, if it is near no heavier one itself.
    first = jnp.argmax(near | jnp.eye(len(w), dtype=bool), axis=1)
    leader = jnp.where(first[first] == first, first, jnp.arange(len(w)))
    belongs = (leader == jnp.arange(len(w))[:, None]) & (w > 0)
    shares = belongs * w
    total = shares.sum(axis=1)
    s = jnp.matmul(shares, s, precision=HIGHEST) / jnp.maximum(total, 1e-300)[:, None]
    alive = total > 0
    log_s = jnp.where(alive[:, None], jnp.log(jnp.maximum(s, jnp.exp(LOG_FLOOR))), log_decoder[order])
    return jnp.where(alive, jnp.log(total / total.sum()), -jnp.inf), log_s


def inspect(p_x, p, beta, log_z, log_weights, log_decoder):
    """Climb ln c from every input, and from both sides of the least stable cluster.

    An ascent of `search` is a step of length one in the coordinates s^1/2 d ln s; the last are Newton's where ln c is
    concave and that gets higher.

    Returns:
        The largest ln c; weights and places of the clusters that are missing; and as `split`.
    """
    log_ratio = jnp.log(p_x) - log_z

    def terms(log_s):
        exponent = log_ratio[:, None] + log_likelihood(beta, p, log_s)
        value = logsumexp(exponent, axis=0)
        return value, jnp.exp(exponent - value)

    def logarithm(s):
        return jnp.log(jnp.maximum(s, jnp.exp(LOG_FLOOR)))

    def climb(_, carry):
        log_s, value, _ = carry
        new, q = terms(log_s)
        return logarithm(jnp.matmul(q.T, p, precision=HIGHEST)), new, new - value

    def ascend(_, carry):
        log_s, before, _ = carry
        _, q = terms(log_s)
        trials = jnp.stack([_ascent(p, beta, log_s, q), logarithm(jnp.matmul(q.T, p, precision=HIGHEST))])
        values, _ = jax.vmap(terms)(trials)
        better = values[0] >= values[1]  # False for NaN
        value = jnp.where(better, values[0], values[1])
        return jnp.where(better[:, None], trials[0], trials[1]), value, value - before

    log_s = logarithm(p)
    value = jnp.full(len(p), -jnp.inf, log_s.dtype)
    log_s, value, _ = jax.lax.fori_loop(0, CLIMBS, climb, (log_s, value, value))
    log_s, value, gain = jax.lax.fori_loop(0, ASCENTS, ascend, (log_s, value, value))
    value = jnp.where(p_x > 0, value, -jnp.inf)
    order = jnp.argsort(-(value + FORESIGHT * jnp.where(p_x > 0, gain, 0.0)))[:TOPS]
    heaviest = jnp.argsort(-log_weights)[:HEAVIEST]
    weights, decoder = jnp.exp(log_weights[heaviest]), jnp.exp(log_decoder[heaviest])
    split_gain, least, places = split(p_x, p, beta, log_z, weights, decoder)
    begin = jnp.concatenate([log_s[order], logarithm(places.reshape(-1, p.shape[1]))])
    low = jnp.full(len(begin), -jnp.inf, log_s.dtype)
    end, high, _ = jax.lax.fori_loop(0, LAST, ascend, (begin, low, low))
    # Those that stopped early count as they are.
    log_s, value = jnp.concatenate([end, log_s]), jnp.concatenate([high, value])
    weight, indices = missing(p_x, jnp.exp(log_likelihood(beta, p, log_s) - log_z[:, None]))
    best = jnp.argmax(split_gain)
    return value.max(), weight, log_s[indices], split_gain[best], heaviest[least], logarithm(places[:, best])


def _ascent(p, beta, log_s, q):
    """Newton's step up ln c from every place, NaN or anything where it is not concave."""
    labels = range(p.shape[1])
    root = jnp.exp(log_s / 2).T
    g = [(p[:, i : i + 1] - root[i] ** 2) / root[i] for i in labels]
    turned = g[0] / (1 + root[0])
    g = [g[i] - root[i] * turned for i in labels[1:]]
    mean = [(q * a).sum(axis=0) for a in g]
    block = [
        [1.0 * (i == j) - beta * ((q * a * b).sum(axis=0) - mean[i] * mean[j]) for j, b in enumerate(g)]
        for i, a in enumerate(g)
    ]
    inverses, _ = inverse(block)
    move = [sum(a * b for a, b in zip(row, mean, strict=True)) for row in inverses]
    inner = sum(root[i + 1] * a for i, a in enumerate(move))
    turned = inner / (1 + root[0])
    move = jnp.stack([-inner / root[0], *(a / root[i + 1] - turned for i, a in enumerate(move))], axis=1)
    return jnp.maximum(jax.nn.log_softmax(log_s + jnp.clip(move, -2.0, 2.0), axis=1), LOG_FLOOR)


@jax.jit
def _solve_chunk(tolerance, p_x, p, beta, log_weights, log_decoder):
    def lane(p_x, p, beta, log_weights, log_decoder):
        found = squarem(p_x, p, beta, log_weights, log_decoder, steps=EVALUATIONS, tolerance=tolerance / 4)
        log_w, log_s = merged(found.log_weights, found.log_decoder)
        log_w, log_s, steps = few_newton(p_x, p, beta, log_w, log_s, steps=NEWTON_STEPS, tolerance=tolerance / 4)
        log_w = jnp.where(log_w < jnp.log(FADED), -jnp.inf, log_w)
        log_w = log_w - logsumexp(log_w)
        likelihood = log_likelihood(beta, p, log_s)
        log_z = logsumexp(log_w + likelihood, axis=1)
        c = logsumexp(likelihood + (jnp.log(p_x) - log_z)[:, None], axis=0)
        residual = jnp.where(jnp.isfinite(log_w), c, -jnp.inf).max()
        seen = inspect(p_x, p, beta, log_z, log_w, log_s)
        return _Found(log_w, log_s, log_z, residual, found.iterations + steps, *seen)

    return jax.vmap(lane)(p_x, p, beta, log_weights, log_decoder)


class _Found(NamedTuple):
    """What a round ends with: clusters, ln Z(x), ln max_t c(p(y|t)), evaluations, and what `inspect` returns."""

    log_weights: Any
    log_decoder: Any
    log_z: Any
    residual: Any
    iterations: Any
    highest: Any
    weights: Any
    points: Any
    gain: Any
    least: Any
    halves: Any


def solve_together(
    tables: Table, problem: np.ndarray, beta: np.ndarray, tolerance: float, max_iterations: int
) -> Solved:
    """`solve_many_labels` for small tables of few labels, in double precision.

    All lanes of one beta have about as many clusters and take as long, so that they share a program; and what was
    found at the beta above is close: some clusters meet or fade from there, and Newton's method settles the rest in
    a few steps. Lanes that this does not solve go on as in `solve_many_labels`.
    """
    lanes, inputs = len(beta), tables.p_x.shape[1]
    ones, every, threshold = zip(*(starts(Table(*table)) for table in zip(*tables, strict=True)), strict=True)
    # Without the one at p(y).
    state = [Clusters(c.log_weights[1:] + np.log(2), c.log_decoder[1:]) for c in every]
    solved = Solved(
        [every[i] for i in problem], np.zeros((lanes, inputs)), np.full(lanes, np.inf), np.zeros(lanes, int)
    )
    for b in np.unique(beta)[::-1]:
        every_lane = open_ = np.flatnonzero(beta == b)
        begin = [ones[k] if b < threshold[k] else state[k] for k in problem[open_]]
        for _ in range(ROUNDS):
            refused, begin = _round(tables, problem, beta, solved, open_, begin, tolerance)
            go_on = solved.iterations[open_[refused]] < max_iterations
            open_, begin = open_[refused][go_on], [c for c, on in zip(begin, go_on, strict=True) if on]
            if not len(open_):
                break
        _tidy(tables, problem, beta, solved, every_lane, tolerance)
        for i in every_lane:
            state[problem[i]] = solved.clusters[i]
    open_ = np.flatnonzero(~(solved.gap <= tolerance) & (solved.iterations < max_iterations))
    if len(open_):
        start = [solved.clusters[i] for i in open_]
        rest = solve_many_labels(tables, problem[open_], beta[open_], tolerance, max_iterations, start)
        for k, i in enumerate(open_):
            solved.clusters[i] = rest.clusters[k]
        solved.log_z[open_], solved.gap[open_] = rest.log_z, rest.gap
        solved.iterations[open_] += rest.iterations
    return solved


def _tidy(tables: Table, problem: np.ndarray, beta: np.ndarray, solved: Solved, lanes: np.ndarray, tolerance: float):
    """Take solutions with fewer clusters, in place, where they are as good."""
    fewer = [simplified(solved.clusters[i], MET) for i in lanes]
    changed = [k for k, i in enumerate(lanes) if len(fewer[k].log_weights) < len(solved.clusters[i].log_weights)]
    if not changed:
        return
    these = lanes[changed]
    new = Solved(list(solved.clusters), solved.log_z.copy(), solved.gap.copy(), solved.iterations)
    _round(tables, problem, beta, new, these, [fewer[k] for k in changed], tolerance)
    for i in these[new.gap[these] <= np.maximum(solved.gap[these], tolerance / 2)]:
        solved.clusters[i], solved.log_z[i], solved.gap[i] = new.clusters[i], new.log_z[i], new.gap[i]


def _round(
    tables: Table,
    problem: np.ndarray,
    beta: np.ndarray,
    solved: Solved,
    lanes: np.ndarray,
    begin: list[Clusters],
    tolerance: float,
) -> tuple[np.ndarray, list[Clusters]]:
    """Solve some lanes, in place, from the clusters given.

    Returns:
        Which of them the search refuses, and what these go on with: clusters with those that are missed.
    """
    largest = max(len(c.log_weights) for c in begin)
    slots = next((size for size in SLOTS if size >= largest), -(-largest // SLOTS[1]) * SLOTS[1])
    log_weights = np.full((len(lanes), slots), -np.inf)
    log_decoder = np.zeros((len(lanes), slots, tables.p_y_given_x.shape[2]))
    for k, (log_w, log_s) in enumerate(begin):
        log_weights[k, : len(log_w)], log_decoder[k, : len(log_w)] = log_w, log_s
        log_decoder[k, len(log_w) :] = log_s[0]
    run = functools.partial(_solve_chunk, tolerance)
    which = problem[lanes]
    arrays = tables.p_x[which], tables.p_y_given_x[which], beta[lanes], log_weights, log_decoder
    found = _Found(*in_chunks(run, *arrays, chunk=LANES))
    gap = np.maximum(np.maximum(found.highest, found.residual), 0.0)
    solved.log_z[lanes], solved.gap[lanes] = found.log_z, gap
    solved.iterations[lanes] += found.iterations
    refused, more = np.flatnonzero(~(gap <= tolerance)), []
    for k, i in enumerate(lanes):
        live = np.flatnonzero(np.isfinite(found.log_weights[k]))
        solved.clusters[i] = Clusters(found.log_weights[k][live], found.log_decoder[k][live])
    for k in refused:
        now = solved.clusters[lanes[k]]
        if found.gain[k] > NOISE:
            live = np.flatnonzero(np.isfinite(found.log_weights[k]))
            now = halved(now, int(np.searchsorted(live, found.least[k])), found.halves[k])
        elif gap[k] > 2 * found.residual[k]:
            now = joined(now, found.weights[k], found.points[k])
        more.append(now)
    return refused, more
