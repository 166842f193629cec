"""The solver for many labels: a cluster at every input, accelerated, and those inserted that a search finds missing."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, log_likelihood
from ibjax.bottleneck.certificate import Gap, GapKind, certifiable, optimality_gap, search
from ibjax.bottleneck.chunks import in_chunks
from ibjax.bottleneck.insertion import fading, insertion_weight
from ibjax.bottleneck.newton import newton
from ibjax.bottleneck.squarem import squarem
from ibjax.bottleneck.table import Table
from ibjax.information import entropy

HIGHEST = jax.lax.Precision.HIGHEST
ROUNDS = 30
"""How often a lane that the search refuses is improved again with the clusters that it misses."""
INSERTIONS = 8
"""Clusters that a round may add."""
LOOSE, FIRST = 1e-4, 60
"""Residual, nats, or else evaluations, at which clusters that have met are taken for one: most are in place by then."""
MET = 1e-2
"""Euclidean distance below which two clusters have met; what that loses, the search gives back."""
LIGHT = 1e-7
"""Weight below which a cluster has faded, see `ibjax.bottleneck.insertion.fading`."""
STEPS = 60
"""Evaluations that a lane gets beyond the limit to settle without its faded clusters once all is solved."""
BLOCK = 30
"""Evaluations between two looks at who is done, where lanes share a program."""
NEWTON_STEPS = 10
"""Steps of Newton's method for a lane that the iteration has not finished."""
FOLLOW_STEPS = 30
"""Most of these steps to another beta."""
NEWTON_LIMIT = 1 << 24
"""Inputs times clusters times labels above which the iteration goes on alone, for Newton's steps would be long."""
SLOTS = (16, 32, 64, 256, 1024)
"""Numbers of clusters that programs are compiled for, besides that of the start; more are a multiple of the last."""
HEAVIEST = 16
"""Clusters that the search starts from besides the inputs."""
SPLITS = (0.8, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Distances at which the search starts on both sides of the least stable cluster, as shares of the way to a zero."""
POWER_STEPS = 16
NOISE = 4e-15
"""Fall of the free energy that is taken for rounding."""
LARGEST = 1 << 16
"""Entries of the encoders of one chunk: about what the caches hold. Larger problems run lane by lane."""


class Clusters(NamedTuple):
    """What a lane has: ln p(t), shape (T,), and ln p(y|t), shape (T, |Y|)."""

    log_weights: np.ndarray
    log_decoder: np.ndarray


class Solved(NamedTuple):
    """Solutions of many lanes.

    Attributes:
        clusters: of every lane.
        log_z: ln Z(x), shape (lanes, n).
        gap: nats, shape (lanes,).
        gap_kind: of all.
        iterations: shape (lanes,).
    """

    clusters: list[Clusters]
    log_z: np.ndarray
    gap: np.ndarray
    gap_kind: GapKind
    iterations: np.ndarray


def solve_many_labels(
    tables: Table,
    problem: np.ndarray,
    beta: np.ndarray,
    tolerance: float,
    max_iterations: int,
    longest: int = 0,
    start: list[Clusters] | None = None,
) -> Solved:
    """Solve reduced tables at many betas, in double precision.

    A lane starts with a cluster at every p(y|x) and one at p(y): so many suffice, and few local optima are left. Below
    the thresholds under which one cluster can be optimal it starts with that one alone. The clusters that meet or fade
    are dropped on the way, which makes the rest fast, and the search inserts those that were dropped too early. What
    the iteration does not finish, next to transitions, Newton's method does. Of one table with three labels the gaps
    that the search finds small are certified, and what it has missed is inserted too; in a batch that would take most
    of the time.

    Args:
        tables: p(x), shape (problems, n), and p(y|x), shape (problems, n, |Y|), of distinct rows; shorter tables are
            padded with inputs without mass.
        problem: which table a lane is of, shape (lanes,).
        beta: shape (lanes,).
        tolerance: of the gap, nats.
        max_iterations: evaluations of the map; the last round may exceed it.
        longest: see `ibjax.bottleneck.certificate.search`.
        start: clusters of every lane that are solutions but for a few.
    """
    lanes, inputs = len(beta), tables.p_x.shape[1]
    state = _State(
        start or _start(tables, problem, beta),
        np.zeros((lanes, inputs)),
        np.full(lanes, np.inf),
        np.zeros(lanes, np.int64),
    )
    clusters, gap = state.clusters, np.full(lanes, np.inf)
    p_x, p = (jnp.asarray(a) for a in tables)
    certified = len(tables.p_x) == 1 and certifiable(tables.p_x[0], tables.p_y_given_x[0])
    faded = np.asarray(fading(p_x, LIGHT))[problem]
    work = _Work(p_x, p, problem, beta, faded, max_iterations, certified, longest)
    many = np.flatnonzero([start is None and len(c.log_weights) > 1 for c in clusters])
    first = work._replace(max_iterations=min(FIRST, max_iterations))
    _improve(first, state, many, max(LOOSE, tolerance / 2), False)
    for i in many:
        clusters[i] = _simplified(clusters[i], MET, faded[i])
    open_, target = np.arange(lanes), tolerance / 2
    for _ in range(ROUNDS):
        _improve(work, state, open_, target)
        found = _inspect(work, state, open_, tolerance)
        gap[open_] = found.gap
        left = ~(found.gap <= tolerance) & (state.iterations[open_] < max_iterations)
        split = left & (found.gain > NOISE)
        for k in np.flatnonzero(split):
            clusters[open_[k]] = _halved(clusters[open_[k]], int(found.least[k]), found.halves[k])
        # One at a time: next to the halves of a split c is above 1 only until they have settled, and clusters that have
        # not settled hide what is missing.
        for k in np.flatnonzero(left & ~split & (found.gap > 2 * state.residual[open_])):
            i = open_[k]
            clusters[i] = _joined(clusters[i], found.weights[k], found.points[k], faded[i])
        open_, target = open_[left], max(target / 2, tolerance / 16)
        if not len(open_):
            break
    if certified and len(open_):
        gap[open_] = _certify(work, state, open_, tolerance).gap
    return _tidy(work, state, gap, tolerance)


class Followed(NamedTuple):
    """Clusters at another beta.

    Attributes:
        clusters: none more than before.
        instability: of the least stable: above 1 it wants to split.
        gap: nats.
    """

    clusters: Clusters
    instability: float
    gap: float


def follow(table: Table, clusters: Clusters, beta: float, tolerance: float) -> Followed:
    """Take clusters to a beta nearby, in double precision: none is added, and one that is not needed fades.

    Args:
        table: p(x) and p(y|x) of distinct rows.
        clusters: solution at a beta nearby.
        beta: where to.
        tolerance: of the gap, nats.
    """
    p_x, p = table
    used = len(clusters.log_weights)
    ((_, log_weights, log_decoder),) = _by_size([clusters], len(p_x), np.zeros(1, np.int64))
    arguments = p_x, p, beta, log_weights[0], log_decoder[0], tolerance
    found = _follow_lane(*(jnp.asarray(a, jnp.float64) for a in arguments))
    log_weights, log_decoder, log_z, residual, q = (np.asarray(a) for a in found)
    new, q = Clusters(log_weights[:used], log_decoder[:used]), q[:, :used]
    decoder = np.exp(new.log_decoder)
    # The largest eigenvalues of beta Cov(p(y|x) | t) / sqrt(p(y|t) p(y'|t)), as in `insertion`.
    scaled = (p - decoder[:, None]) / np.sqrt(np.maximum(decoder[:, None], np.exp(LOG_FLOOR)))  # (T, n, |Y|)
    values = np.linalg.eigvalsh(beta * np.swapaxes(scaled * q.T[:, :, None], 1, 2) @ scaled)[:, -1]
    bound = optimality_gap(
        p_x, p, np.array([beta]), log_z[None], decoder[None, _heaviest(new)], tolerance=tolerance / 10
    )
    live = np.exp(new.log_weights) >= fading(p_x, LIGHT)
    return Followed(new, float(values[live].max()), max(float(bound.gap[0]), float(residual)))


@jax.jit
def _follow_lane(p_x, p, beta, log_weights, log_decoder, tolerance):
    """The clusters, ln Z(x), ln max_t c(p(y|t)), and p(x|t) of every cluster, shape (n, T)."""
    *clusters, _ = newton(p_x, p, beta, log_weights, log_decoder, steps=FOLLOW_STEPS, tolerance=tolerance)
    log_z, residual = _end(p_x, p, beta, *clusters)
    q = jax.nn.softmax(log_likelihood(beta, p, clusters[1]) + (jnp.log(p_x) - log_z)[:, None], axis=0)
    return *clusters, log_z, residual, q


class _Work(NamedTuple):
    """All tables, stacked; of every lane its table, beta, and the weight below which its clusters have faded."""

    p_x: jax.Array
    p_y_given_x: jax.Array
    problem: np.ndarray
    beta: np.ndarray
    light: np.ndarray
    max_iterations: int
    certified: bool
    longest: int


def _start(tables: Table, problem: np.ndarray, beta: np.ndarray) -> list[Clusters]:
    one, every, threshold = zip(*(starts(Table(*table)) for table in zip(*tables, strict=True)), strict=True)
    return [one[i] if b < threshold[i] else every[i] for i, b in zip(problem, beta, strict=True)]


def starts(table: Table) -> tuple[Clusters, Clusters, float]:
    """One cluster, one at every input besides, and a beta above which the first is not optimal."""
    mass = table.p_x > 0
    p_x, p = table.p_x[mass], table.p_y_given_x[mass]
    p_y = p_x @ p
    log_p_y = _log(p_y[None])
    # A cluster at one input alone has c > 1 above the first, and one cluster splits above the second.
    with np.errstate(divide="ignore"):
        alone = (-np.log(p_x) / np.maximum(-entropy(p) - p @ log_p_y[0], 0.0)).min()
    used = p_y > 0
    sigma = np.linalg.svd(np.sqrt(p_x)[:, None] * p[:, used] / np.sqrt(p_y[used]), compute_uv=False)
    threshold = min(alone, 1 / max(sigma[1:2].sum(), 1e-30) ** 2)
    weights = np.log(np.concatenate([[0.5], p_x / 2]))
    return Clusters(np.zeros(1), log_p_y), Clusters(weights, np.concatenate([log_p_y, _log(p)])), threshold


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(p, np.exp(LOG_FLOOR)))


def _slots(clusters: Clusters, inputs: int) -> int:
    used = len(clusters.log_weights)
    sizes = sorted((*SLOTS, -(-(inputs + 1) // SLOTS[0]) * SLOTS[0]))
    return next((size for size in sizes if size >= used), -(-used // SLOTS[-1]) * SLOTS[-1])


def _by_size(clusters: list[Clusters], inputs: int, lanes: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Lanes with as many slots, in their order, and their clusters in these slots."""
    slots = np.array([_slots(clusters[i], inputs) for i in lanes], np.int64)
    for size in np.unique(slots):
        these = lanes[slots == size]
        log_weights = np.full((len(these), size), -np.inf)
        log_decoder = np.zeros((len(these), size, clusters[0].log_decoder.shape[1]))
        for k, i in enumerate(these):
            used = len(clusters[i].log_weights)
            log_weights[k, :used] = clusters[i].log_weights
            log_decoder[k, :used] = clusters[i].log_decoder
            log_decoder[k, used:] = clusters[i].log_decoder[0]
        yield these, log_weights, log_decoder


class _State(NamedTuple):
    """All lanes while they are worked on: what `Solved` says, and ln max_t c(p(y|t)), shape (lanes,)."""

    clusters: list[Clusters]
    log_z: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray


def _improve(work: _Work, state: _State, lanes: np.ndarray, tolerance: float, finish: bool = True) -> None:
    """Iterate some of the lanes, in place, and finish those that are slow by Newton's method."""
    inputs, labels = work.p_y_given_x.shape[1:]
    for these, log_weights, log_decoder in _by_size(state.clusters, inputs, lanes):
        size = log_weights.shape[1]
        entries = inputs * size * labels
        finish = finish and entries <= NEWTON_LIMIT
        allowed = np.maximum(work.max_iterations - state.iterations[these], 1)
        steps = np.minimum(allowed, max(2 * inputs, 90)) if finish else allowed
        run = functools.partial(_squarem_chunk, (work.p_x, work.p_y_given_x), tolerance)
        chunk = _chunk(inputs * size)
        problem, beta = work.problem[these], work.beta[these]
        count, open_ = np.zeros(len(these), np.int64), np.arange(len(these))
        while len(open_):
            # A chunk runs as long as its slowest lane: those that are done leave it from time to time.
            block = steps[open_] - count[open_] if chunk == 1 else np.minimum(steps[open_] - count[open_], BLOCK)
            arrays = problem[open_], beta[open_], log_weights[open_], log_decoder[open_], block
            found = in_chunks(run, *arrays, chunk=chunk)
            log_weights[open_], log_decoder[open_] = found[:2]
            state.log_z[these[open_]], state.residual[these[open_]] = found[2:4]
            count[open_] += found[4]
            open_ = open_[~(state.residual[these[open_]] <= tolerance) & (count[open_] < steps[open_])]
        state.iterations[these] += count
        slow = np.flatnonzero(~(state.residual[these] <= tolerance) & (count < allowed))
        if finish and len(slow):
            run = functools.partial(_newton_chunk, (work.p_x, work.p_y_given_x), tolerance)
            arrays = problem[slow], beta[slow], log_weights[slow], log_decoder[slow]
            found = in_chunks(run, *arrays, chunk=_chunk(entries))
            log_weights[slow], log_decoder[slow], state.log_z[these[slow]], state.residual[these[slow]] = found[:4]
            state.iterations[these[slow]] += found[4] + 1
        for k, i in enumerate(these):
            used = len(state.clusters[i].log_weights)
            state.clusters[i] = Clusters(log_weights[k, :used], log_decoder[k, :used])


def _chunk(entries: int) -> int:
    return int(np.clip(LARGEST // entries, 1, 16))


@jax.jit
def _squarem_chunk(tables, tolerance, problem, beta, log_weights, log_decoder, steps):
    def lane(problem, beta, log_weights, log_decoder, steps):
        p_x, p = (a[problem] for a in tables)
        found = squarem(p_x, p, beta, log_weights, log_decoder, steps=steps, tolerance=tolerance)
        end = _end(p_x, p, beta, found.log_weights, found.log_decoder)
        return found.log_weights, found.log_decoder, *end, found.iterations

    return _map(lane, problem, beta, log_weights, log_decoder, steps)


@jax.jit
def _newton_chunk(tables, tolerance, problem, beta, log_weights, log_decoder):
    def lane(problem, beta, log_weights, log_decoder):
        p_x, p = (a[problem] for a in tables)
        clusters = log_weights, log_decoder
        *clusters, made = newton(p_x, p, beta, *clusters, steps=NEWTON_STEPS, tolerance=tolerance)
        return *clusters, *_end(p_x, p, beta, *clusters), made

    return _map(lane, problem, beta, log_weights, log_decoder)


def _end(p_x, p, beta, log_weights, log_decoder):
    """The logarithms of Z(x), and of c at the cluster where it is largest."""
    likelihood = log_likelihood(beta, p, log_decoder)
    log_z = logsumexp(log_weights + likelihood, axis=1)
    return log_z, logsumexp(likelihood + (jnp.log(p_x) - log_z)[:, None], axis=0).max()


def _map(lane, *arrays):
    """Of one lane alone, without the price of a batch."""
    if len(arrays[0]) == 1:
        return jax.tree.map(lambda a: a[None], lane(*(a[0] for a in arrays)))
    return jax.vmap(lane)(*arrays)


class _Inspected(NamedTuple):
    """What the search found.

    Attributes:
        gap: shape (lanes,).
        weights: that clusters to insert should get, or 0; shape (lanes, INSERTIONS).
        points: ln p(y) of them, shape (lanes, INSERTIONS, |Y|).
        gain: what splitting a cluster lowers the free energy by, shape (lanes,).
        least: that cluster.
        halves: ln p(y) of the two, shape (lanes, 2, |Y|).
    """

    gap: np.ndarray
    weights: np.ndarray
    points: np.ndarray
    gain: np.ndarray
    least: np.ndarray
    halves: np.ndarray


def _inspect(work: _Work, state: _State, lanes: np.ndarray, tolerance: float) -> _Inspected:
    order = np.stack([_heaviest(state.clusters[i]) for i in lanes])
    weights = np.stack([np.exp(state.clusters[i].log_weights[o]) for i, o in zip(lanes, order, strict=True)])
    decoder = np.stack([np.exp(state.clusters[i].log_decoder[o]) for i, o in zip(lanes, order, strict=True)])
    run = functools.partial(_inspect_chunk, (work.p_x, work.p_y_given_x), work.longest)
    arrays = work.problem[lanes], work.beta[lanes], state.log_z[lanes], weights, decoder
    excess, missing, points, gain, least, halves = in_chunks(run, *arrays, chunk=_chunk(work.p_x.shape[1] ** 2))
    gap = np.maximum(np.maximum(excess, state.residual[lanes]), 0.0)
    small = np.flatnonzero(gap <= tolerance)
    if work.certified and len(small):
        bound = _certify(work, state, lanes[small], tolerance)
        gap[small] = bound.gap
        p_x, p = np.asarray(work.p_x[0]), np.asarray(work.p_y_given_x[0])
        for k, point in zip(small, _log(bound.point), strict=True):
            if gap[k] > tolerance:  # the search has missed a cluster
                likelihood = np.asarray(log_likelihood(work.beta[lanes[k]], p, point[None]))[:, 0]
                change = np.exp(likelihood - state.log_z[lanes[k]]) - 1
                missing[k], points[k, 0], gain[k] = 0.0, point, 0.0
                missing[k, 0] = np.clip(p_x @ change / (p_x @ change**2), 0.0, 0.5)
    return _Inspected(gap, missing, points, gain, order[np.arange(len(lanes)), least], halves)


def _certify(work: _Work, state: _State, lanes: np.ndarray, tolerance: float) -> Gap:
    p_x, p = np.asarray(work.p_x[0]), np.asarray(work.p_y_given_x[0])
    decoder = np.stack([np.exp(state.clusters[i].log_decoder[_heaviest(state.clusters[i])]) for i in lanes])
    return optimality_gap(p_x, p, work.beta[lanes], state.log_z[lanes], decoder, tolerance=tolerance / 10)


def _heaviest(clusters: Clusters) -> np.ndarray:
    order = np.argsort(-clusters.log_weights, kind="stable")
    return np.resize(order[:HEAVIEST], HEAVIEST)


@jax.jit
def _inspect_chunk(tables, longest, problem, beta, log_z, weights, decoder):
    def lane(problem, beta, log_z, weights, decoder):
        p_x, p = (a[problem] for a in tables)
        gain, least, places = _split(p_x, p, beta, log_z, weights, decoder)
        starts = jnp.concatenate([decoder, places.reshape(-1, p.shape[1])])
        value, points = search(p_x, p, beta, log_z, starts, longest)
        ratio = jnp.exp(log_likelihood(beta, p, points) - log_z[:, None])
        missing, indices = insertion_weights(p_x, ratio)
        best = jnp.argmax(gain)
        halves = jnp.maximum(jnp.log(places[:, best]), LOG_FLOOR)
        return value[0], missing, points[indices], gain[best], least, halves

    return _map(lane, problem, beta, log_z, weights, decoder)


def _split(p_x, p, beta, log_z, weights, decoder):
    """Places on both sides of the least stable cluster, along the direction in which c curves upwards there.

    Next to a transition the ascents are slow, and those from the inputs do not get near the halves of a cluster that
    splits; and the cluster between two halves fades slowly. The direction is the first eigenvector of
    beta Cov(p(y|x) | t) / sqrt(p(y|t) p(y'|t)).

    Returns:
        What two halves at every distance lower the free energy by, the cluster, and the places, (2, distances, |Y|).
    """
    s = jnp.maximum(decoder, jnp.exp(LOG_FLOOR))
    exponent = log_likelihood(beta, p, jnp.log(s)) + (jnp.log(p_x) - log_z)[:, None]
    q = jax.nn.softmax(exponent, axis=0)
    root = jnp.sqrt(s)

    def multiply(vector):
        along = jnp.matmul(p, (vector / root).T, precision=HIGHEST) - (root * vector).sum(axis=1)
        return beta * (jnp.matmul((q * along).T, p, precision=HIGHEST) - (q * along).sum(axis=0)[:, None] * s) / root

    def power(_, carry):
        vector, _ = carry
        new = multiply(vector)
        norm = jnp.linalg.norm(new, axis=1, keepdims=True)
        return new / jnp.maximum(norm, 1e-30), norm[:, 0]

    vector = jnp.cos(1.0 + jnp.arange(s.shape[1])) * jnp.ones_like(s)
    vector, value = jax.lax.fori_loop(0, POWER_STEPS, power, (vector, vector[:, 0]))
    least = jnp.argmax(value)
    direction = vector[least] * root[least]
    reach = direction / jnp.maximum(jnp.abs(direction / s[least]).max(), 1e-30)
    away = jnp.array(SPLITS)[:, None] * reach
    places = jnp.maximum(s[least] + jnp.stack([away, -away]), 0.0)
    near = log_likelihood(beta, p, jnp.log(s[least])[None]) - log_z[:, None]
    far = [log_likelihood(beta, p, jnp.maximum(jnp.log(side), LOG_FLOOR)) - log_z[:, None] for side in places]
    change = (jnp.exp(far[0]) + jnp.exp(far[1])) / 2 - jnp.exp(near)
    gain = (p_x[:, None] * jnp.log1p(weights[least] * change)).sum(axis=0)
    return jnp.where(value[least] > 1, gain, 0.0), least, places


def insertion_weights(p_x, ratio):
    """Weights of the candidate with the largest c, of the next given the first, and so on, by Newton steps.

    Args:
        p_x: shape (n,).
        ratio: exp(-beta KL(p(y|x) || s)) / Z(x) of every candidate, shape (n, candidates).
    """

    def insert(z, _):
        c = jnp.matmul(p_x / z, ratio, precision=HIGHEST)
        best = jnp.argmax(c)
        weight = insertion_weight(p_x, ratio[:, best] / z)
        return (1 - weight) * z + weight * ratio[:, best], (weight, best)

    _, (weights, indices) = jax.lax.scan(insert, jnp.ones_like(p_x), None, INSERTIONS)
    # What comes later takes its share from those before.
    later = jnp.cumprod((1 - weights)[::-1])[::-1]
    return weights * jnp.concatenate([later[1:], jnp.ones(1)]), indices


def _halved(clusters: Clusters, least: int, halves: np.ndarray) -> Clusters:
    """Clusters with two halves in the place of one."""
    log_weights, log_decoder = clusters.log_weights.copy(), clusters.log_decoder.copy()
    log_weights[least] -= np.log(2)
    log_decoder[least] = halves[0]
    return Clusters(np.append(log_weights, log_weights[least]), np.concatenate([log_decoder, halves[1:]]))


def _joined(clusters: Clusters, weights: np.ndarray, points: np.ndarray, light: float) -> Clusters:
    """Clusters with those that are missed; what has faded makes room."""
    new = weights > 0
    clusters = _simplified(clusters, 0.0, light)
    with np.errstate(divide="ignore"):
        kept = clusters.log_weights + np.log1p(-min(weights.sum(), 1 - 1e-12))
        log_weights = np.concatenate([kept, np.log(weights[new])])
    return Clusters(log_weights, np.concatenate([clusters.log_decoder, points[new]]))


def _simplified(clusters: Clusters, distance: float, light: float) -> Clusters:
    """Clusters without those that are light, and with one in the place of those nearer than a distance."""
    w, log_s = np.exp(clusters.log_weights), clusters.log_decoder
    heavy = w >= light
    if not heavy.any():  # what is not finite
        return clusters
    w, log_s = w[heavy], log_s[heavy]
    order = np.argsort(-w, kind="stable")
    w, log_s = w[order], log_s[order]
    s = np.exp(log_s)
    square = (s**2).sum(axis=1)
    near = square[:, None] + square - 2 * s @ s.T < distance**2
    near = np.triu(near, 1)
    for i in np.flatnonzero(near.any(axis=1)):
        if w[i] == 0:
            continue
        group = np.flatnonzero(near[i] & (w > 0))
        share = np.concatenate([[w[i]], w[group]])
        both = share.sum()
        log_s[i] = _log(share @ np.concatenate([s[i : i + 1], s[group]]) / both)
        w[i], w[group] = both, 0.0
    kept = w > 0
    return Clusters(np.log(w[kept] / w.sum()), log_s[kept])


def _tidy(work: _Work, state: _State, gap: np.ndarray, tolerance: float) -> Solved:
    """Solutions with fewer clusters, where they are as good."""
    fewer = [_simplified(c, MET, light) for c, light in zip(state.clusters, work.light, strict=True)]
    kind: GapKind = "certified" if work.certified else "searched"
    solved = Solved(state.clusters, state.log_z, gap, kind, state.iterations)
    changed = np.flatnonzero(
        [len(a.log_weights) < len(b.log_weights) for a, b in zip(fewer, state.clusters, strict=True)]
    )
    if not len(changed):
        return solved
    new = _State(fewer, state.log_z.copy(), state.residual.copy(), state.iterations.copy())
    more = work._replace(max_iterations=work.max_iterations + STEPS)
    _improve(more, new, changed, tolerance / 4)
    found = _inspect(more, new, changed, tolerance)
    for k in np.flatnonzero(found.gap <= np.maximum(gap[changed], tolerance / 2)):
        i = changed[k]
        solved.clusters[i], solved.log_z[i] = fewer[i], new.log_z[i]
        solved.gap[i], solved.iterations[i] = found.gap[k], new.iterations[i]
    return solved
