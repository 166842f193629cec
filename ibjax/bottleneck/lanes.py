"""Solves one reduced table at many betas: chunks of lanes through one compiled program, certified on the host."""

import enum
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, blahut_arimoto, log_likelihood
from ibjax.bottleneck.certificate import Gap, GapKind, largest_log_odds, log_odds, optimality_gap
from ibjax.bottleneck.chunks import in_chunks
from ibjax.bottleneck.insertion import (
    Atoms,
    Problem,
    insertion,
    polish,
)
from ibjax.bottleneck.many_labels import solve_many_labels
from ibjax.bottleneck.many_lanes import fits, solve_many_lanes
from ibjax.bottleneck.table import Table
from ibjax.information import entropy

METHODS = ("auto", "blahut-arimoto")
"""Names that `solve` takes."""
FEW_LABELS = 2
"""With more, `solve_many_labels` is faster: Newton's method has clusters times labels unknowns."""
SIZES = (16, 64, 256, 1024)
"""Numbers of inputs that programs are compiled for: smaller tables are padded with inputs without mass."""
SLOTS = 16
"""Clusters that a lane starts with room for; doubled where they do not suffice."""
GRID = 64
"""Candidate clusters between the outermost inputs, for two labels."""
ROUNDS = 40
RESTARTS = 6
"""How often a lane that the certificate refuses is improved again with the cluster that it misses."""
REACH = 300.0
"""Largest -ln Z(x) of a start: far from underflow."""
BLOCK = 200
"""Steps of Blahut-Arimoto between two certificates."""
NEAR = 0.05
"""L1 distance below which two clusters are tried as one once all is solved."""
LIGHT = 1e-7
"""Weight below which a cluster is tried away once all is solved."""


class Status(enum.IntEnum):
    """How a solve ended."""

    CONVERGED = 0
    MAX_ITERATIONS = 1
    NOT_FINITE = 2

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return {
            0: "the gap is within the tolerance",
            1: "the gap is above the tolerance: allow more iterations, ask for a larger tolerance or change the method",
            2: "a number is not finite: beta is too large for double precision, take a smaller one",
        }[int(self)]


class Lanes(NamedTuple):
    """Solutions of one table at many betas, in the order of the betas: NumPy arrays.

    Attributes:
        beta: shape (lanes,).
        marginal: weights of the clusters, decreasing, 0 beyond the last; shape (lanes, T).
        decoder: p(y|t), that of the first cluster where there is none; shape (lanes, T, |Y|).
        log_z: ln Z(x), shape (lanes, n).
        gap: nats, shape (lanes,).
        gap_kind: of all.
        iterations: shape (lanes,).
        status: codes of `Status`, shape (lanes,).
    """

    beta: np.ndarray
    marginal: np.ndarray
    decoder: np.ndarray
    log_z: np.ndarray
    gap: np.ndarray
    gap_kind: GapKind
    iterations: np.ndarray
    status: np.ndarray

    def take(self, index: Any) -> "Lanes":
        """Some of the lanes."""
        beta, marginal, decoder, log_z, gap, kind, iterations, status = self
        return Lanes(
            beta[index],
            marginal[index],
            decoder[index],
            log_z[index],
            gap[index],
            kind,
            iterations[index],
            status[index],
        )

    def widened(self, clusters: int) -> "Lanes":
        """The same with room for so many clusters."""
        missing = clusters - self.marginal.shape[1]
        repeats = np.repeat(self.decoder[:, :1], missing, axis=1)
        return self._replace(
            marginal=np.pad(self.marginal, [(0, 0), (0, missing)]),
            decoder=np.concatenate([self.decoder, repeats], axis=1),
        )


class _State(NamedTuple):
    """What is known of every lane while it is worked on; ``logits`` as in `Atoms`."""

    weights: np.ndarray
    logits: np.ndarray
    iterations: np.ndarray
    gap: np.ndarray
    point: np.ndarray
    log_z: np.ndarray


def solve_lanes(
    table: Table,
    beta: np.ndarray,
    *,
    method: str = "auto",
    tolerance: float,
    max_iterations: int,
    longest: int = 0,
) -> Lanes:
    """Solve a reduced table at every beta, see `ibjax.bottleneck.solve`; for ``longest`` see `solve_many_labels`."""
    order = np.argsort(beta, kind="stable")
    back = np.argsort(order, kind="stable")
    with jax.enable_x64(True):
        few = table.p_y_given_x.shape[1] <= FEW_LABELS
        if method == "auto" and not few:
            one = Table(*(a[None] for a in table))
            lanes = _many_labels(one, np.zeros(len(beta), np.int32), beta[order], tolerance, max_iterations, longest)
        else:
            run = _insertion if method == "auto" else _blahut_arimoto
            lanes = run(table, beta[order], tolerance, max_iterations)
    return lanes.take(back)


def solve_tables(
    tables: Table, problem: np.ndarray, beta: np.ndarray, *, method: str, tolerance: float, max_iterations: int
) -> Lanes:
    """Solve lanes of many tables, stacked and padded with inputs without mass, see `solve_many_labels`."""
    if method == "auto" and tables.p_y_given_x.shape[2] > FEW_LABELS:
        with jax.enable_x64(True):
            return _many_labels(tables, problem, beta, tolerance, max_iterations)
    pieces = []
    for i, (p_x, p) in enumerate(zip(*tables, strict=True)):
        mass = p_x > 0
        settings = {"method": method, "tolerance": tolerance, "max_iterations": max_iterations}
        found = solve_lanes(Table(p_x[mass], p[mass]), beta[problem == i], **settings)
        pieces.append(found._replace(log_z=np.pad(found.log_z, [(0, 0), (0, (~mass).sum())])))
    slots = max(piece.marginal.shape[1] for piece in pieces)
    pieces = [piece.widened(slots) for piece in pieces]
    kind = pieces[0].gap_kind
    back = np.argsort(np.concatenate([np.flatnonzero(problem == i) for i in range(len(pieces))]), kind="stable")
    columns = [field for field in Lanes._fields if field != "gap_kind"]
    return Lanes(
        **{name: np.concatenate([getattr(piece, name) for piece in pieces])[back] for name in columns}, gap_kind=kind
    )


def make_problem(table: Table, limit: float) -> Problem:
    """Arrays of a table for the compiled program, padded with inputs without mass so that sizes repeat."""
    p_x, p = table
    n = len(p_x)
    padded = next(size for size in SIZES if size >= n) if n <= SIZES[-1] else -(-n // SIZES[-1]) * SIZES[-1]
    rows = np.concatenate([p, np.broadcast_to(p[-1], (padded - n, p.shape[1]))])
    if p.shape[1] == 2:
        logits = log_odds(rows, limit)
        grid = np.concatenate([np.linspace(logits.min(), logits.max(), GRID), logits])
        candidates = np.stack([-np.logaddexp(0, grid), -np.logaddexp(0, -grid)], axis=1)
    else:
        candidates = bounded_log(rows, limit)
    arrays = np.concatenate([p_x, np.zeros(padded - n)]), rows, entropy(rows), candidates
    return Problem(*(jnp.asarray(a, jnp.float64) for a in arrays))


def bounded_log(p: np.ndarray, limit: float) -> np.ndarray:
    """Logarithms of p with zeros at e^-limit, normalised again."""
    floored = np.maximum(p, np.exp(-limit))
    return np.log(floored / floored.sum(axis=-1, keepdims=True))


@jax.jit
def _run_chunk(problem: Problem, tolerance, limit, beta, atoms: Atoms, extra):
    def lane(beta, atoms, extra):
        return insertion(problem, beta, atoms, extra, tolerance, limit, rounds=ROUNDS)

    return jax.vmap(lane)(beta, atoms, extra)


@jax.jit
def _polish_chunk(problem: Problem, limit, beta, weights, logits):
    return jax.vmap(lambda b, w, z: polish(problem, b, w, z, limit))(beta, weights, logits)


def polish_lanes(problem: Problem, limit: float, beta: np.ndarray, weights: np.ndarray, logits: np.ndarray) -> Any:
    """`polish` of every lane, in NumPy."""
    return in_chunks(functools.partial(_polish_chunk, problem, limit), beta, weights, logits)


def log_partition(table: Table, beta: np.ndarray, weights: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Logarithms of Z(x) of every lane, shape (lanes, n), on the host."""
    log_s = host_log_decoder(logits)
    exponent = beta[:, None, None] * np.minimum(
        entropy(table.p_y_given_x)[:, None] + table.p_y_given_x @ np.swapaxes(log_s, 1, 2), 0.0
    )
    exponent = np.where(weights[:, None] > 0, exponent, -np.inf)
    largest = exponent.max(axis=2)
    return largest + np.log((weights[:, None] * np.exp(exponent - largest[:, :, None])).sum(axis=2))


def host_log_decoder(logits: np.ndarray) -> np.ndarray:
    """`log_decoder` in NumPy."""
    full = np.concatenate([np.zeros_like(logits[..., :1]), logits], axis=-1)
    full = full - full.max(axis=-1, keepdims=True)
    return full - np.log(np.exp(full).sum(axis=-1, keepdims=True))


def certify(table: Table, beta: np.ndarray, weights: np.ndarray, logits: np.ndarray, tolerance: float):
    """Logarithms of Z(x), and the gap, of every lane."""
    log_z = log_partition(table, beta, weights, logits)
    heaviest = np.take_along_axis(logits, weights.argmax(axis=1)[:, None, None], axis=1)
    decoder = np.exp(host_log_decoder(np.where((weights > 0)[:, :, None], logits, heaviest)))
    return log_z, optimality_gap(table.p_x, table.p_y_given_x, beta, log_z, decoder, tolerance=tolerance)


def _start(table: Table, beta: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """One cluster at p(y), and inputs' rows farthest from all so far until none is out of reach."""
    p_x, p = table
    conditional = entropy(p)
    centres = [p_x @ p]
    farthest = None
    while True:
        log_s = bounded_log(np.stack(centres[-1:]), limit)[0]
        distance = -conditional - p @ log_s
        farthest = distance if farthest is None else np.minimum(farthest, distance)
        if beta.max() * farthest.max() <= REACH or len(centres) > len(p):
            break
        centres.append(p[farthest.argmax()])
    slots = max(SLOTS, len(centres) + 3)
    log_s = bounded_log(np.stack(centres), limit)
    weights, logits = np.zeros((len(beta), slots)), np.zeros((len(beta), slots, p.shape[1] - 1))
    weights[:, : len(centres)] = 1 / len(centres)
    logits[:, : len(centres)] = log_s[:, 1:] - log_s[:, :1]
    return weights, logits


def _insertion(table: Table, beta: np.ndarray, tolerance: float, max_iterations: int) -> Lanes:
    limit = largest_log_odds(float(beta.max()))
    problem = make_problem(table, limit)
    weights, logits = _start(table, beta, limit)
    lanes, labels = len(beta), table.p_y_given_x.shape[1]
    iterations = np.zeros(lanes, np.int32)
    gap = np.full(lanes, np.inf)
    log_z = np.zeros((lanes, len(table.p_x)))
    extra = np.broadcast_to(bounded_log(table.p_x @ table.p_y_given_x, limit), (lanes, 1, labels)).copy()
    open_ = np.arange(lanes)
    kind: GapKind = "searched"
    target = tolerance / 2
    for _ in range(RESTARTS):
        run = functools.partial(_run_chunk, problem, target, limit)
        slots = weights.shape[1]
        start = Atoms(
            weights[open_],
            logits[open_],
            np.zeros(len(open_)),
            iterations[open_],
            np.zeros(len(open_), bool),
        )
        found = in_chunks(run, beta[open_], start, extra[open_])
        weights[open_], logits[open_], iterations[open_] = found.weights, found.logits, found.iterations
        log_z[open_], bound = certify(table, beta[open_], found.weights, found.logits, tolerance / 10)
        gap[open_], kind = bound.gap, bound.kind
        extra[open_, 0] = bounded_log(bound.point, limit)
        if found.full.any() and slots < len(table.p_x) + 4:
            grow = [(0, 0), (0, min(slots, len(table.p_x) + 4 - slots))]
            weights, logits = np.pad(weights, grow), np.pad(logits, [*grow, (0, 0)])
        open_ = open_[~(gap[open_] <= tolerance) & (iterations[open_] < max_iterations)]
        if not len(open_):
            break
        target = target / 2
    state = _State(weights, logits, iterations, gap, extra[:, 0], log_z)
    state = _simplify(table, problem, beta, state, limit, tolerance)
    decoder = np.exp(host_log_decoder(state.logits))
    return _finish(beta, state.weights, decoder, state.log_z, state.gap, kind, state.iterations, tolerance)


def _simplify(table: Table, problem: Problem, beta, state: _State, limit: float, tolerance: float) -> _State:
    """Try close clusters as one and light ones away, all at once; keep what is as good and stable."""
    weights, logits = state.weights.copy(), state.logits.copy()
    s = np.exp(host_log_decoder(logits))
    for lane in range(len(beta)):
        w, z = weights[lane], logits[lane]
        w[w < LIGHT] = 0.0
        live = np.flatnonzero(w)
        live = live[np.argsort(-w[live], kind="stable")]
        for a, i in enumerate(live):
            for j in live[a + 1 :]:
                if w[i] > 0 and w[j] > 0 and abs(s[lane, i] - s[lane, j]).sum() < NEAR:
                    z[i] = (w[i] * z[i] + w[j] * z[j]) / (w[i] + w[j])
                    w[i], w[j] = w[i] + w[j], 0.0
        w /= w.sum()
    changed = np.flatnonzero(((weights > 0) != (state.weights > 0)).any(axis=1))
    if not len(changed):
        return state
    few, z, instability = polish_lanes(problem, limit, beta[changed], weights[changed], logits[changed])
    log_z, bound = certify(table, beta[changed], few, z, tolerance / 10)
    good = (bound.gap <= np.maximum(state.gap[changed], tolerance / 2)) & (instability <= 1 + 1e-6)
    take = changed[good]
    new = _State(*(a.copy() for a in state))
    for array, value in zip((new.weights, new.logits, new.gap, new.log_z), (few, z, bound.gap, log_z), strict=True):
        array[take] = value[good]
    return new


def _finish(
    beta: np.ndarray,
    weights: np.ndarray,
    decoder: np.ndarray,
    log_z: np.ndarray,
    gap: np.ndarray,
    kind: GapKind,
    iterations: np.ndarray,
    tolerance: float,
) -> Lanes:
    order = np.argsort(-weights, axis=1, kind="stable")
    order = order[:, : max(int((weights > 0).sum(axis=1).max()), 1)]
    weights = np.take_along_axis(weights, order, axis=1)
    decoder = np.take_along_axis(decoder, order[:, :, None], axis=1)
    decoder = np.where((weights > 0)[:, :, None], decoder, decoder[:, :1])
    finite = np.isfinite(gap) & np.isfinite(weights).all(axis=1)
    status = np.where(finite, np.where(gap <= tolerance, 0, 1), 2)
    return Lanes(beta, weights, decoder, log_z, gap, kind, iterations, status)


def _many_labels(
    tables: Table, problem: np.ndarray, beta: np.ndarray, tolerance: float, max_iterations: int, longest: int = 0
) -> Lanes:
    _, inputs, labels = tables.p_y_given_x.shape
    if len(tables.p_x) > 1 and fits(inputs, labels, beta):
        found = solve_many_lanes(tables, problem, beta, tolerance, max_iterations)
    else:
        found = solve_many_labels(tables, problem, beta, tolerance, max_iterations, longest)
    slots = max(len(c.log_weights) for c in found.clusters)
    log_weights = np.full((len(beta), slots), -np.inf)
    log_s = np.zeros((len(beta), slots, labels))
    for lane, clusters in enumerate(found.clusters):
        used = len(clusters.log_weights)
        log_weights[lane, :used], log_s[lane, :used] = clusters
    decoder = _normalised(log_s)
    return _finish(
        beta, np.exp(log_weights), decoder, found.log_z, found.gap, found.gap_kind, found.iterations, tolerance
    )


def _blahut_arimoto(table: Table, beta: np.ndarray, tolerance: float, max_iterations: int) -> Lanes:
    """One cluster per input to start from, so that none is missing; blocks of steps until the certificate agrees."""
    limit = -LOG_FLOOR
    p_x, p = (jnp.asarray(a) for a in table)
    log_weights = np.broadcast_to(np.log(table.p_x), (len(beta), len(table.p_x))).copy()
    log_s = np.broadcast_to(bounded_log(table.p_y_given_x, limit), (len(beta), *table.p_y_given_x.shape)).copy()
    iterations, gap = np.zeros(len(beta), np.int32), np.full(len(beta), np.inf)
    log_z = np.zeros((len(beta), len(table.p_x)))
    kind: GapKind = "searched"
    run = functools.partial(_ba_chunk, p_x, p)
    open_ = np.arange(len(beta))
    while len(open_):
        log_weights[open_], log_s[open_], count = in_chunks(run, beta[open_], log_weights[open_], log_s[open_])
        iterations[open_] += count
        log_z[open_] = np.asarray(_ba_partition(p_x, p, beta[open_], log_weights[open_], log_s[open_]))
        bound: Gap = optimality_gap(
            table.p_x, table.p_y_given_x, beta[open_], log_z[open_], np.exp(log_s[open_]), tolerance=tolerance / 10
        )
        gap[open_], kind = bound.gap, bound.kind
        open_ = open_[~(gap[open_] <= tolerance) & (iterations[open_] + BLOCK <= max_iterations)]
    return _finish(beta, np.exp(log_weights), _normalised(log_s), log_z, gap, kind, iterations, tolerance)


def _normalised(log_s: np.ndarray) -> np.ndarray:
    decoder = np.exp(log_s)
    return decoder / decoder.sum(axis=-1, keepdims=True)


@jax.jit
def _ba_chunk(p_x, p, beta, log_weights, log_s):
    def lane(beta, log_weights, log_s):
        found = blahut_arimoto(p_x, p, beta, log_weights, log_s, steps=BLOCK)
        return found.log_weights, found.log_decoder, found.iterations

    return jax.vmap(lane)(beta, log_weights, log_s)


@jax.jit
def _ba_partition(p_x, p, beta, log_weights, log_s):
    return jax.vmap(lambda b, w, s: jax.scipy.special.logsumexp(w + log_likelihood(b, p, s), axis=1))(
        beta, log_weights, log_s
    )
