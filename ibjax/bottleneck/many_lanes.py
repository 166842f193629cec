"""The solver for thousands of lanes of small tables: what `many_labels` does, in few programs for all lanes."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.bottleneck.blahut_arimoto import evaluated, log_likelihood
from ibjax.bottleneck.chunks import in_chunks
from ibjax.bottleneck.dense_newton import dense_newton
from ibjax.bottleneck.many_labels import (
    INSERTIONS,
    LIGHT,
    Clusters,
    Solved,
    insertion_weights,
    solve_many_labels,
    starts,
)
from ibjax.bottleneck.merging import merged
from ibjax.bottleneck.peaks import peaks
from ibjax.bottleneck.squarem import squarem
from ibjax.bottleneck.table import Table

FEWEST_LANES = 10_000
"""Compiling the programs takes as long as some thousand lanes take `many_labels`."""
MOST_INPUTS, MOST_LABELS = 128, 8
"""Above these building the Hessian takes longer than multiplying with it."""
LARGEST_BETA = 1e4
"""Above it single precision does not tell clusters apart."""
CHUNK, FEWEST, SLOTS = 32, 4, 512
"""Most lanes of a program and fewest, and clusters of all its lanes between: about what the caches hold."""
SIZES = (4, 8, 16, 32, 48, 96)
"""Numbers of clusters that programs are compiled for, besides that of the start and the most."""
EVALUATIONS, PASSES = 6, 4
"""Steps of the iteration before clusters are merged, and how often that is done."""
NEWTON_STEPS, NEWTON_PASSES = 4, 6
"""Steps of Newton's method between two looks at who is done, and most of these looks."""
MET = 0.3, 0.1
"""Distances at which clusters have met, in widths of exp(-beta KL), in the first rounds: two that stay apart are seldom
so near, and what that loses is given back. Then none are merged: what is inserted must first settle."""
LEAST = 1e-5
"""Weight that a missed cluster gets at least: it must not be taken for one that has faded."""
ROUNDS = 6
"""How often a lane that the search refuses is improved again with the clusters that it misses."""


def fits(inputs: int, labels: int, beta: np.ndarray) -> bool:
    """Whether `solve_many_lanes` is the faster one for lanes of these betas."""
    small = inputs <= MOST_INPUTS and labels <= MOST_LABELS
    return small and len(beta) >= FEWEST_LANES and float(beta.max()) <= LARGEST_BETA


def solve_many_lanes(
    tables: Table, problem: np.ndarray, beta: np.ndarray, tolerance: float, max_iterations: int
) -> Solved:
    """Solve reduced tables at many betas, in double precision.

    As in `solve_many_labels` a lane starts with a cluster at every p(y|x) and one at p(y). After a few steps of the
    iteration the clusters that have met, and pairs that are better as one, are merged: most of what there is to merge.
    Newton's method with the Hessian built does the rest in some five steps, and the search inserts what is missed.
    Lanes with as many clusters, up to a size, share a program, and every core runs one. What only has to come close is
    done in single precision: the first steps, the merging, and the search up to its last two steps. The few lanes that
    are left in the end, next to transitions, are handed to `solve_many_labels`.

    Args:
        tables: p(x) and p(y|x), see `solve_many_labels`.
        problem: which table a lane is of, shape (lanes,).
        beta: shape (lanes,).
        tolerance: of the gap, nats.
        max_iterations: evaluations of the map; the last round may exceed it.
    """
    lanes = len(beta)
    work = _Work(tables, problem, beta, tolerance)
    gap, open_ = np.full(lanes, np.inf), np.arange(lanes)
    for k in range(ROUNDS):
        work.settle(open_, max_iterations, MET[k] if k < len(MET) else 0.0)
        for these, (value, weights, points) in work.each(_search_chunk, open_):
            gap[these] = np.maximum(np.maximum(value, work.residual[these]), 0.0)
            left = ~(gap[these] <= tolerance) & (work.iterations[these] < max_iterations)
            work.insert(these[left], weights[left], points[left])
        open_ = open_[~(gap[open_] <= tolerance) & (work.iterations[open_] < max_iterations)]
        if not len(open_):
            break
    clusters = [
        Clusters(log_weights[:used], log_decoder[:used])
        for log_weights, log_decoder, used in zip(work.log_weights, work.log_decoder, work.used, strict=True)
    ]
    failed = np.flatnonzero(~(gap <= tolerance) & (work.iterations < max_iterations))
    if len(failed):
        again = solve_many_labels(
            tables, problem[failed], beta[failed], tolerance, max_iterations, start=[clusters[i] for i in failed]
        )
        for k, i in enumerate(failed):
            clusters[i] = again.clusters[k]
        work.log_z[failed], gap[failed] = again.log_z, again.gap
        work.iterations[failed] += again.iterations
    return Solved(clusters, work.log_z, gap, "searched", work.iterations)


class _Work:
    """Clusters of all lanes, by weight, in arrays with room for the most."""

    def __init__(self, tables: Table, problem: np.ndarray, beta: np.ndarray, tolerance: float) -> None:
        lanes, (inputs, labels) = len(beta), tables.p_y_given_x.shape[1:]
        self.tables = tuple(jnp.asarray(a) for a in tables)
        self.problem, self.beta, self.tolerance = problem, beta, tolerance
        self.log_weights = np.full((lanes, inputs + 1 + INSERTIONS), -np.inf)
        self.log_decoder = np.zeros((*self.log_weights.shape, labels))
        self.log_z, self.residual = np.zeros((lanes, inputs)), np.full(lanes, np.inf)
        self.iterations = np.zeros(lanes, np.int64)
        order = np.argsort(problem, kind="stable")
        for i, these in zip(*_grouped(problem[order], order), strict=True):
            one, every, threshold = starts(Table(*(a[i] for a in tables)))
            low = beta[these] < threshold
            for chosen, (log_weights, log_decoder) in ((low, one), (~low, every)):
                used = len(log_weights)
                self.log_weights[these[chosen], :used] = log_weights
                self.log_decoder[these[chosen], :used] = log_decoder
        self.used = np.isfinite(self.log_weights).sum(axis=1)

    def each(self, program: Any, lanes: np.ndarray, *settings: float) -> Iterator[tuple[np.ndarray, tuple]]:
        """Some lanes and what a program returns of them; those with about as many clusters share a call."""
        start, most = self.log_z.shape[1] + 1, self.log_weights.shape[1]
        # The search takes as long whatever the number of clusters, and long to compile.
        sizes = np.array([most] if program is _search_chunk else [*(n for n in SIZES if n < start), start, most])
        lanes = lanes[np.argsort(-self.used[lanes], kind="stable")]
        # The first of every few sets their size, so that all chunks of a size but the last are full.
        size = np.repeat(sizes[np.searchsorted(sizes, self.used[lanes[::CHUNK]])], CHUNK)[: len(lanes)]
        for slots in np.unique(size)[::-1]:
            these = lanes[size == slots]
            run = functools.partial(program, self.tables, self.tolerance, *settings)
            chunk = int(np.clip(SLOTS // slots, FEWEST, CHUNK))
            clusters = self.log_weights[these, :slots], self.log_decoder[these, :slots], self.log_z[these]
            arguments = self.problem[these], self.beta[these], *clusters
            yield these, in_chunks(run, *arguments, chunk=chunk, side_by_side=True)

    def put(self, lanes: np.ndarray, log_weights: np.ndarray, log_decoder: np.ndarray) -> None:
        """Take new clusters."""
        slots = log_weights.shape[1]
        self.log_weights[lanes] = -np.inf
        self.log_weights[lanes, :slots], self.log_decoder[lanes, :slots] = log_weights, log_decoder
        self.used[lanes] = np.isfinite(log_weights).sum(axis=1)

    def settle(self, lanes: np.ndarray, max_iterations: int, met: float) -> None:
        """Bring clusters to their best place, with one for those that are the same."""
        open_ = lanes
        for _ in range(PASSES):
            before = self.used[open_]
            for these, (*clusters, made) in self.each(_merge_chunk, open_, met):
                self.put(these, *clusters)
                self.iterations[these] += made
            open_ = open_[(self.used[open_] < before) & (self.iterations[open_] < max_iterations)]
            if not len(open_):
                break
        open_ = lanes
        for _ in range(NEWTON_PASSES):
            before = self.used[open_]
            for these, (*clusters, log_z, residual, made) in self.each(_newton_chunk, open_, met):
                self.put(these, *clusters)
                self.log_z[these], self.residual[these] = log_z, residual
                self.iterations[these] += made + 1
            open_ = open_[(self.used[open_] < before) | ~(self.residual[open_] <= self.tolerance / 2)]
            open_ = open_[self.iterations[open_] < max_iterations]
            if not len(open_):
                break

    def insert(self, lanes: np.ndarray, weights: np.ndarray, points: np.ndarray) -> None:
        """Add clusters, heaviest first; those of weight 0 are none."""
        used = np.minimum(self.used[lanes], self.log_weights.shape[1] - INSERTIONS)
        places = lanes[:, None], used[:, None] + np.arange(INSERTIONS)
        with np.errstate(divide="ignore"):
            self.log_weights[lanes] += np.log1p(-np.minimum(weights.sum(axis=1), 1 - 1e-12))[:, None]
            self.log_weights[places] = np.log(weights)
        self.log_decoder[places] = points
        self.used[lanes] = used + (weights > 0).sum(axis=1)


def _grouped(sorted_: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    keys, first = np.unique(sorted_, return_index=True)
    return keys, np.split(values, first[1:])


@jax.jit
def _merge_chunk(tables, tolerance, met, problem, beta, log_weights, log_decoder, log_z):
    """In single precision: what is merged too much, the search gives back."""

    def lane(problem, beta, log_weights, log_decoder):
        p_x, p = (a[problem] for a in tables)
        found = squarem(p_x, p, beta, log_weights, log_decoder, steps=EVALUATIONS, tolerance=tolerance / 4)
        return *merged(p_x, p, beta, _without_light(found.log_weights), found.log_decoder, met), found.iterations

    tables, *rest = jax.tree.map(lambda a: a.astype(jnp.float32), (tables, beta, log_weights, log_decoder))
    return jax.vmap(lane)(problem, *rest)


@jax.jit
def _newton_chunk(tables, tolerance, met, problem, beta, log_weights, log_decoder, log_z):
    def lane(problem, beta, log_weights, log_decoder):
        p_x, p = (a[problem] for a in tables)
        start = p_x, p, beta, log_weights, log_decoder
        log_w, log_s, made = dense_newton(*start, steps=NEWTON_STEPS, tolerance=tolerance)
        log_w = _without_light(log_w)
        less_w, less_s = merged(*(a.astype(jnp.float32) for a in (p_x, p, beta, log_w, log_s, met)))
        fewer, order = jnp.isfinite(less_w).sum() < jnp.isfinite(log_w).sum(), jnp.argsort(-log_w)
        log_w = jnp.where(fewer, jax.nn.log_softmax(less_w.astype(log_w.dtype)), log_w[order])
        log_s = jnp.where(fewer, jax.nn.log_softmax(less_s.astype(log_s.dtype), axis=1), log_s[order])
        _, log_z, total = evaluated(p_x, p, beta, log_w, log_s)
        c = jnp.where(jnp.isfinite(log_w), jnp.log(total[0]) - log_w, -jnp.inf)
        return log_w, log_s, log_z, c.max(), made

    return jax.vmap(lane)(problem, beta, log_weights, log_decoder)


def _without_light(log_weights):
    return jnp.where(log_weights >= np.log(LIGHT), log_weights, -jnp.inf)


@jax.jit
def _search_chunk(tables, tolerance, problem, beta, log_weights, log_decoder, log_z):
    """The largest ln c, and clusters to insert with their weights."""

    def lane(problem, beta, log_weights, log_decoder, log_z):
        p_x, p = (a[problem] for a in tables)
        found = peaks(p_x, p, beta, log_weights, log_decoder, log_z)
        # How much of each is inserted need not be exact.
        weights, indices = _insertions(*(a.astype(jnp.float32) for a in (p_x, p, beta, found.points, log_z)))
        weights = jnp.zeros(len(found.points)).at[indices].add(weights)
        missed = (found.values > tolerance) & ((weights > 0) | (found.values == found.values.max()))
        weights = jnp.where(missed, jnp.maximum(weights, LEAST), 0.0)
        weights, indices = jax.lax.top_k(weights, INSERTIONS)
        return found.values.max(), weights, found.points[indices]

    return jax.vmap(lane)(problem, beta, log_weights, log_decoder, log_z)


def _insertions(p_x, p, beta, points, log_z):
    return insertion_weights(p_x, jnp.exp(log_likelihood(beta, p, points) - log_z[:, None]))
