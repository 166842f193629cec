"""The solver for thousands of lanes of small tables: what `many_labels` does, in few programs for all lanes."""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.bottleneck.blahut_arimoto import evaluated, log_likelihood
from ibjax.bottleneck.chunks import in_chunks
from ibjax.bottleneck.dense_newton import dense_newton
from ibjax.bottleneck.insertion import fading
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
CHUNK, FEWEST, CHUNKS = 32, 4, 8
"""Most lanes that are worked on at once and fewest, and chunks of them in a call: a call costs a third of a
millisecond, much of it of the one thread at a time that Python runs."""
SLOTS, NEWTON_SLOTS, SEARCH_SLOTS = 512, 256, 1024
"""Clusters of all its lanes, between: about what the caches hold. The arrays of Newton's method are larger, and its
lanes take different numbers of steps; the search's are smaller."""
SIZES = (4, 16, 32, 48, 96)
"""Numbers of clusters that programs are compiled for, besides that of the start and the most."""
EVALUATIONS, PASSES = 9, 2
"""Steps of the iteration before clusters are merged, and how often that is done."""
NEWTON_STEPS, LOOKS, MOST_LOOKS = 4, 2, 6
"""Steps of Newton's method between two looks at who is done, looks in a stage, and most of them before a search."""
PART, STAGE, THREADS = 2500, 256, 4
"""Lanes that a thread solves together, the same on every machine; fewest that start a stage at once; and threads of a
core, which mostly wait for what they have started, so that no core waits while another one sorts."""
STALLED, SMALL = 0.5, 1e-6
"""Share of a residual this small that is left after a look: where so much is, a cluster is missed next to two that
share their inputs, and the search sees it sooner."""
MET = 0.3, 0.1, 0.0
"""Distances at which clusters have met, in widths of exp(-beta KL), in the first rounds: two that stay apart are seldom
so near, and what that loses is given back. Then none are merged: what is inserted must first settle."""
LEAST = 1e-5
"""Weight that a missed cluster gets at least: it must not be taken for one that has faded."""
ROUNDS = 6
"""Most searches of a lane: all but the last are followed by another try with the clusters that are missed."""


def fits(inputs: int, labels: int, beta: np.ndarray) -> bool:
    """Whether `solve_many_lanes` is the faster one for lanes of these betas."""
    small = inputs <= MOST_INPUTS and labels <= MOST_LABELS
    return small and len(beta) >= FEWEST_LANES and float(beta.max()) <= LARGEST_BETA


def solve_many_lanes(
    tables: Table, problem: np.ndarray, beta: np.ndarray, tolerance: float, max_iterations: int
) -> Solved:
    """Solve reduced tables at many betas, in double precision.

    As in `solve_many_labels` a problem starts, at its highest beta, with a cluster at every p(y|x) and one at p(y); the
    other betas start from the clusters of the next higher one. After a few steps of the iteration the clusters that
    have met, and pairs that are better as one, are merged: most of what there is to merge. Newton's method with the
    Hessian built does the rest in some five steps, and the search inserts what is missed. Lanes with as many clusters,
    up to a size, share a program, and every core has problems of its own. What only has to come close is done in
    single precision: the first steps, the merging, and the search up to its last two steps. The few lanes that are
    left in the end, next to transitions, are handed to `solve_many_labels`.

    Args:
        tables: p(x) and p(y|x), see `solve_many_labels`.
        problem: which table a lane is of, shape (lanes,).
        beta: shape (lanes,).
        tolerance: of the gap, nats.
        max_iterations: evaluations of the map; the last round may exceed it.
    """
    compiled, arrays = _Compiled(), tuple(jnp.asarray(a) for a in tables)
    # What is set for a while holds in this thread alone.
    double, device = jnp.result_type(float) == jnp.float64, jnp.zeros(()).device

    def run(lanes: np.ndarray) -> _Work:
        with jax.enable_x64(double), jax.default_device(device):
            work = _Work(compiled, tables, arrays, problem[lanes], beta[lanes], tolerance, max_iterations)
            work.solve()
        return work

    part = problem % max(min(len(beta) // PART, len(tables.p_x)), 1)
    order = np.argsort(part, kind="stable")
    _, parts = _grouped(part[order], order)
    with ThreadPoolExecutor(THREADS * (os.cpu_count() or 1)) as pool:
        try:
            works = list(pool.map(run, parts))
        except BaseException:  # of one thread, or Ctrl-C: the others must not go on to their ends
            compiled.stopped = True
            raise
    back = np.argsort(order)
    log_z, gap, iterations = (
        np.concatenate([getattr(work, name) for work in works])[back] for name in ("log_z", "gap", "iterations")
    )
    clusters = [each for work in works for each in work.clusters()]
    clusters = [clusters[i] for i in back]
    failed = np.flatnonzero((gap > tolerance) & (iterations < max_iterations))
    if len(failed):
        again = solve_many_labels(
            tables, problem[failed], beta[failed], tolerance, max_iterations, start=[clusters[i] for i in failed]
        )
        for k, i in enumerate(failed):
            clusters[i] = again.clusters[k]
        log_z[failed], gap[failed] = again.log_z, again.gap
        iterations[failed] += again.iterations
    return Solved(clusters, log_z, gap, "searched", iterations)


class _Compiled:
    """Programs that are compiled: of two threads with one that is not, the second waits."""

    def __init__(self) -> None:
        self.known, self.locks, self.stopped = set(), {}, False

    def run(self, key: Any, call: Callable[[], Any]) -> Any:
        if self.stopped:
            raise RuntimeError("another thread has failed")
        if key not in self.known:
            with self.locks.setdefault(key, threading.Lock()):
                if key not in self.known:
                    result = call()
                    self.known.add(key)
                    return result
        return call()


class _Work:
    """Clusters of the lanes of a part, by weight, in arrays with room for the most."""

    def __init__(
        self,
        compiled: _Compiled,
        tables: Table,
        arrays: tuple[jax.Array, ...],
        problem: np.ndarray,
        beta: np.ndarray,
        tolerance: float,
        max_iterations: int,
    ) -> None:
        lanes, (inputs, labels) = len(beta), tables.p_y_given_x.shape[1:]
        self.compiled, self.tables = compiled, arrays
        self.problem, self.beta, self.tolerance, self.max_iterations = problem, beta, tolerance, max_iterations
        self.log_weights = np.full((lanes, inputs + 1 + INSERTIONS), -np.inf)
        self.log_decoder = np.zeros((*self.log_weights.shape, labels))
        self.log_z, self.residual, self.gap = np.zeros((lanes, inputs)), np.full(lanes, np.inf), np.full(lanes, np.inf)
        self.iterations, self.rounds, self.looks = (np.zeros(lanes, np.int64) for _ in range(3))
        order = np.argsort(problem, kind="stable")
        for i, these in zip(*_grouped(problem[order], order), strict=True):
            one, every, threshold = starts(Table(*(a[i] for a in tables)))
            low = beta[these] < threshold
            for chosen, (log_weights, log_decoder) in ((low, one), (~low, every)):
                used = len(log_weights)
                self.log_weights[these[chosen], :used] = log_weights
                self.log_decoder[these[chosen], :used] = log_decoder
        self.used = np.isfinite(self.log_weights).sum(axis=1)

    def solve(self) -> None:
        """Stage after stage; what one leaves undone goes on with the next."""
        stages = self.stages()
        fresh = unsettled = np.arange(0)
        while stages or len(fresh) or len(unsettled):
            if stages:
                new, before = stages.pop(0)
                self.follow(new, before)
                fresh = np.concatenate([fresh, new])
            self.merge(fresh)
            settled, unsettled = self.newton(np.concatenate([fresh, unsettled]))
            fresh = self.search(settled)

    def stages(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Lanes of about as many stages as there are betas, and the next higher beta's lane in the stage before, or -1.

        Small parts have fewer stages, and several lanes of a problem start one.
        """
        order = np.lexsort((-self.beta, self.problem))
        _, chains = _grouped(self.problem[order], order)
        stages = max(min(len(order) // STAGE, max(map(len, chains))), 1)
        place = np.concatenate([np.arange(len(chain)) for chain in chains]) % stages
        before = np.where(place > 0, np.roll(order, 1), -1)
        return [(order[place == k], before[place == k]) for k in range(stages)]

    def each(self, program: Any, lanes: np.ndarray) -> Iterator[tuple[np.ndarray, tuple]]:
        """Some lanes and what a program returns of them; those with about as many clusters share a call."""
        start, most = self.log_z.shape[1] + 1, self.log_weights.shape[1]
        # The search takes as long whatever the number of clusters, and long to compile.
        sizes = np.array([most] if program is _search_chunk else [*(n for n in SIZES if n < start), start, most])
        lanes = lanes[np.argsort(-self.used[lanes], kind="stable")]
        groups: dict[int, list[np.ndarray]] = {}
        while len(lanes):
            slots = int(sizes[np.searchsorted(sizes, self.used[lanes[0]])])
            groups.setdefault(slots, []).append(lanes[: _chunk(program, slots)])
            lanes = lanes[_chunk(program, slots) :]
        for slots, chunks in groups.items():
            these = np.concatenate(chunks)
            # All lanes of a chunk run as long as the slowest.
            these = these[np.argsort(self.residual[these], kind="stable")]
            run = functools.partial(program, self.tables, self.tolerance)
            clusters = self.log_weights[these, :slots], self.log_decoder[these, :slots], self.log_z[these]
            met = np.array(MET)[np.minimum(self.rounds[these], len(MET) - 1)]
            arguments = np.arange(len(these)), self.problem[these], self.beta[these], met, *clusters
            call = functools.partial(in_chunks, run, *arguments, chunk=CHUNKS * _chunk(program, slots))
            yield these, self.compiled.run((program, slots), call)

    def clusters(self) -> list[Clusters]:
        """Those of every lane."""
        return [
            Clusters(log_weights[:used], log_decoder[:used])
            for log_weights, log_decoder, used in zip(self.log_weights, self.log_decoder, self.used, strict=True)
        ]

    def put(self, lanes: np.ndarray, log_weights: np.ndarray, log_decoder: np.ndarray) -> None:
        """Take new clusters."""
        slots, order = log_weights.shape[1], np.argsort(-log_weights, axis=1, kind="stable")
        self.log_weights[lanes, :slots] = np.take_along_axis(log_weights, order, axis=1)
        self.log_weights[lanes, slots:] = -np.inf
        self.log_decoder[lanes, :slots] = np.take_along_axis(log_decoder, order[:, :, None], axis=1)
        self.used[lanes] = np.isfinite(log_weights).sum(axis=1)

    def follow(self, lanes: np.ndarray, before: np.ndarray) -> None:
        """Start lanes that may have several clusters from those of the lanes before."""
        takes = (before >= 0) & (self.used[lanes] > 1) & (self.used[before] > 0)
        for a in (self.log_weights, self.log_decoder, self.used):
            a[lanes[takes]] = a[before[takes]]

    def merge(self, lanes: np.ndarray) -> None:
        """A few steps of the iteration, and one cluster for those that are the same."""
        for _ in range(PASSES):
            before = self.used[lanes]
            for these, (*clusters, made) in self.each(_merge_chunk, lanes):
                self.put(these, *clusters)
                self.iterations[these] += made
            lanes = lanes[(self.used[lanes] < before) & (self.iterations[lanes] < self.max_iterations)]

    def newton(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bring clusters to their best place: lanes where they are, or will not get there, and the others."""
        settled = []
        for _ in range(LOOKS):
            before, residual_before = self.used[lanes], self.residual[lanes]
            for these, (*clusters, log_z, worst, made) in self.each(_newton_chunk, lanes):
                self.put(these, *clusters)
                self.log_z[these], self.residual[these] = log_z, worst
                self.iterations[these] += made + 1
            self.looks[lanes] += 1
            residual = self.residual[lanes]
            stalled = (residual <= SMALL) & (residual > STALLED * residual_before)
            there = (self.used[lanes] == before) & ((residual <= self.tolerance / 2) | stalled)
            there |= (self.looks[lanes] >= MOST_LOOKS) | (self.iterations[lanes] >= self.max_iterations)
            settled.append(lanes[there])
            lanes = lanes[~there]
        return np.concatenate(settled), lanes

    def search(self, lanes: np.ndarray) -> np.ndarray:
        """Bound the gap, and insert what is missed: lanes where something is, and that are not given up."""
        refused = []
        self.rounds[lanes] += 1
        self.looks[lanes] = 0
        for these, (value, weights, points) in self.each(_search_chunk, lanes):
            gap = np.maximum(np.maximum(value, self.residual[these]), 0.0)
            # Where ln Z(x) is not a number no place is a peak, and there is nothing to go on with.
            self.gap[these] = np.where(np.isfinite(value), gap, np.nan)
            left = (self.gap[these] > self.tolerance) & (self.iterations[these] < self.max_iterations)
            self.insert(these[left], weights[left], points[left])
            self.residual[these[left]] = np.inf
            refused.append(these[left & (self.rounds[these] < ROUNDS)])
        return np.concatenate([lanes[:0], *refused])

    def insert(self, lanes: np.ndarray, weights: np.ndarray, points: np.ndarray) -> None:
        """Add clusters, heaviest first; those of weight 0 are none."""
        used = np.minimum(self.used[lanes], self.log_weights.shape[1] - INSERTIONS)
        places = lanes[:, None], used[:, None] + np.arange(INSERTIONS)
        with np.errstate(divide="ignore"):
            self.log_weights[lanes] += np.log1p(-np.minimum(weights.sum(axis=1), 1 - 1e-12))[:, None]
            self.log_weights[places] = np.log(weights)
        self.log_decoder[places] = points
        self.used[lanes] = used + (weights > 0).sum(axis=1)


def _chunk(program: Any, slots: int) -> int:
    room = {_newton_chunk: NEWTON_SLOTS, _search_chunk: SEARCH_SLOTS}.get(program, SLOTS)
    return int(np.clip(room // slots, FEWEST, CHUNK))


def _grouped(sorted_: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    keys, first = np.unique(sorted_, return_index=True)
    return keys, np.split(values, first[1:])


def _program(function: Callable[..., Any]) -> Any:
    """Compile a function of the lanes of a chunk as one of those of up to `CHUNKS`, chunk after chunk.

    Before the arrays comes the number of every lane, counted on from one to the next. `in_chunks` repeats the last lane
    to fill a call: chunks of nothing else are left out.
    """

    # Handing parts of a program to other threads costs a tenth of the time where all are busy.
    @functools.partial(jax.jit, compiler_options={"xla_cpu_multi_thread_eigen": False})
    @functools.wraps(function)
    def run(tables, tolerance, number, *arrays):
        size = len(number) // CHUNKS
        used = (number[-1] - number[0]) // size + 1
        chunks = tuple(a.reshape(CHUNKS, size, *a.shape[1:]) for a in arrays)

        def one(k):
            return function(tables, tolerance, *(a[k] for a in chunks))

        def step(k, results):
            return jax.tree.map(lambda a, new: a.at[k].set(new), results, one(k))

        start = jax.tree.map(lambda a: jnp.zeros((CHUNKS, *a.shape), a.dtype), jax.eval_shape(one, 0))
        results = jax.lax.fori_loop(0, used, step, start)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), results)

    return run


@_program
def _merge_chunk(tables, tolerance, problem, beta, met, log_weights, log_decoder, log_z):
    """In single precision: what is merged too much, the search gives back."""

    def lane(problem, beta, met, log_weights, log_decoder):
        p_x, p = (a[problem] for a in tables)
        found = squarem(p_x, p, beta, log_weights, log_decoder, steps=EVALUATIONS, tolerance=tolerance / 4)
        return *merged(p_x, p, beta, _without_light(p_x, found.log_weights), found.log_decoder, met), found.iterations

    tables, *rest = jax.tree.map(lambda a: a.astype(jnp.float32), (tables, beta, met, log_weights, log_decoder))
    return jax.vmap(lane)(problem, *rest)


@_program
def _newton_chunk(tables, tolerance, problem, beta, met, log_weights, log_decoder, log_z):
    def lane(problem, beta, met, log_weights, log_decoder):
        p_x, p = (a[problem] for a in tables)
        start = p_x, p, beta, log_weights, log_decoder
        log_w, log_s, made = dense_newton(*start, steps=NEWTON_STEPS, tolerance=tolerance)
        log_w = _without_light(p_x, log_w)
        less_w, less_s = merged(*(a.astype(jnp.float32) for a in (p_x, p, beta, log_w, log_s, met)))
        fewer = jnp.isfinite(less_w).sum() < jnp.isfinite(log_w).sum()
        log_w = jnp.where(fewer, jax.nn.log_softmax(less_w.astype(log_w.dtype)), log_w)
        log_s = jnp.where(fewer, jax.nn.log_softmax(less_s.astype(log_s.dtype), axis=1), log_s)
        _, log_z, total = evaluated(p_x, p, beta, log_w, log_s)
        c = jnp.where(jnp.isfinite(log_w), jnp.log(total[0]) - log_w, -jnp.inf)
        return log_w, log_s, log_z, c.max(), made

    return jax.vmap(lane)(problem, beta, met, log_weights, log_decoder)


def _without_light(p_x, log_weights):
    return jnp.where(log_weights >= jnp.log(fading(p_x, LIGHT)), log_weights, -jnp.inf)


@_program
def _search_chunk(tables, tolerance, problem, beta, met, log_weights, log_decoder, log_z):
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
