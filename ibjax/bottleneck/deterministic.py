"""The deterministic bottleneck and the family between it and the bottleneck: H(T) in place of I(X;T)."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibjax.bottleneck.agglomerative import agglomerate, negative_entropy, xlogx
from ibjax.bottleneck.batch import TABLE, batched
from ibjax.bottleneck.blahut_arimoto import LOG_FLOOR, log_likelihood
from ibjax.bottleneck.lanes import Status, bounded_log
from ibjax.bottleneck.reduce import MERGE_TOLERANCE, Reduction, reduce
from ibjax.bottleneck.table import Table, as_betas, check_limits
from ibjax.errors import InputError
from ibjax.information import entropy, mutual_information

RESTARTS = 8
MAX_ITERATIONS = 20_000
TOLERANCE = 1e-13
"""Fall of the Lagrangian in one step, relative, below which a start has settled: close to the rounding of doubles."""
GAIN = 1e-12
"""Least fall of the Lagrangian, nats, for which clusters are merged or an input is moved: above rounding."""
MOST_RANDOM = 64
"""Most clusters of a random start; more come from the tree of mergers."""
CELLS = 2**20
"""Encoder probabilities of the starts that are settled at a time."""
SPARE = 8
"""Empty clusters that inputs may move to, besides as many as there are."""
SMALLEST = 16
"""Numbers of inputs and clusters are padded to powers of two, from this on, so that compiled programs repeat."""


class DeterministicBottleneck(NamedTuple):
    """An encoder of small H(T) - alpha H(T|X) - beta I(T;Y); nats, NumPy arrays in double precision.

    Of several problems every field is an array with their axes first, clusters filled up with zeros.

    Attributes:
        beta: the trade-off.
        alpha: 0 of the deterministic bottleneck, 1 of the bottleneck.
        entropy: H(T).
        complexity: I(X;T).
        relevance: I(T;Y).
        lagrangian: H(T) - alpha H(T|X) - beta I(T;Y).
        encoder: p(t|x) of the inputs of the table, shape (n, T); p(t) for inputs without mass.
        decoder: p(y|t), shape (T, |Y|).
        marginal: p(t), decreasing, shape (T,).
        starts: of so many the best is given.
        iterations: steps of all starts together.
        exact: whether no encoder is better, as for two labels at alpha = 0; else it is a local optimum.
        status: `Status.CONVERGED` if the best start has settled. It says nothing of other optima.
    """

    beta: float
    alpha: float
    entropy: float
    complexity: float
    relevance: float
    lagrangian: float
    encoder: np.ndarray
    decoder: np.ndarray
    marginal: np.ndarray
    starts: int
    iterations: int
    exact: bool
    status: Status


@batched(joint=TABLE, beta=0, alpha=0)
def deterministic(
    joint: Any,
    beta: Any,
    *,
    alpha: Any = 0.0,
    clusters: int | None = None,
    restarts: int = RESTARTS,
    key: Any = None,
    max_iterations: int = MAX_ITERATIONS,
    merge_tolerance: float = MERGE_TOLERANCE,
) -> DeterministicBottleneck:
    """Minimise H(T) - alpha H(T|X) - beta I(T;Y): exactly for two labels at alpha = 0, else locally from many starts.

    p(t|x) is proportional to exp([ln p(t) - beta KL(p(y|x) || p(y|t))] / alpha), then p(t) and p(y|t) of it. At alpha
    = 0 every input goes to the cluster of the largest ln p(t) - beta KL: a hard clustering, H(T) = I(X;T). Alpha = 1 is
    the bottleneck itself, but use `solve` for that: it leaves local optima and certifies what it finds.

    The problem is not convex and in general there is no certificate: the result is a local optimum, the best of
    ``starts``. They are one cluster, the best cut of the agglomerative tree, for alpha > 0 one cluster per distinct
    input, and random inputs as centres. Every one is settled, and then improved as long as something lowers the
    Lagrangian: the merger of two clusters, which the update does not find since it never empties a cluster that fits
    one input, and at alpha = 0 the move of one input to another cluster or a new one. So at alpha = 0 no merger and no
    single move improves the result. More restarts, or another key, may.

    Two labels at alpha = 0 are the exception: of any clusters, each takes the inputs of one interval of p(y|x), since
    ln p(t) - beta KL is linear in it up to a term that all clusters share. The best cuts are found by dynamic
    programming, in m^2 operations, and no encoder is better (``exact``), unless they are more than ``clusters``.

    Args:
        joint: see `ibjax.bottleneck.solve`; with leading axes several problems, one after the other.
        beta: positive; multiplies I(T;Y) in nats. One, or one for each problem of the leading axes.
        alpha: between 0 and 1, one or many.
        clusters: at most so many; None is one per distinct input.
        restarts: random starts.
        key: of the random starts, None is ``jax.random.key(0)``.
        max_iterations: of every start, between two mergers.
        merge_tolerance: see `ibjax.bottleneck.reduce`.

    Returns:
        The best found.

    Raises:
        InputError: the table or a setting is wrong, or the search has more than 16,384 distinct inputs.

    Example:
        >>> rows = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]])
        >>> found = deterministic((np.full(4, 0.25), rows), beta=5.0)
        >>> found.encoder.argmax(axis=1)
        array([1, 1, 0, 0])
        >>> f"{found.entropy:.4f} {found.complexity:.4f} {found.relevance:.4f}"
        '0.6931 0.6931 0.2704'

    References:
        Strouse & Schwab (2017), "The deterministic information bottleneck", equations 13 to 18 and 24 to 26.
        Slonim, Friedman & Tishby (2002), "Unsupervised document classification using sequential information
        maximization" (moves of single inputs).
    """
    beta = _checked(beta, alpha, restarts, max_iterations)
    reduction = reduce(joint, merge_tolerance)
    table = reduction.table
    limit = _limit(clusters, len(reduction.index), len(table.p_x))
    cuts = _intervals(table, beta) if alpha == 0 and table.p_y_given_x.shape[1] == 2 else None
    if cuts is not None and cuts.shape[1] <= limit:
        encoders, iterations, settled = [cuts], 0, np.ones(1, bool)
    else:
        cuts = None
        encoders, iterations, settled = _search(table, beta, alpha, limit, restarts, key, max_iterations)
    encoders = [_live(table, q) for q in encoders]
    values = [_measures(table, beta, alpha, q) for q in encoders]
    best = int(np.argmin([value[-1] for value in values]))
    q, (h, complexity, relevance, lagrangian) = encoders[best], values[best]
    marginal, decoder = _decoder(table, q)
    return DeterministicBottleneck(
        beta=beta,
        alpha=float(alpha),
        entropy=h,
        complexity=complexity,
        relevance=relevance,
        lagrangian=lagrangian,
        encoder=reduction.expand(q, marginal),
        decoder=decoder,
        marginal=marginal,
        starts=len(encoders),
        iterations=iterations,
        exact=cuts is not None,
        status=Status.CONVERGED if settled[best] else Status.MAX_ITERATIONS,
    )


def _intervals(table: Table, beta: float) -> np.ndarray:
    """The hard encoder of two labels that no other is better than; see `deterministic`."""
    order = np.argsort(table.p_y_given_x[:, 1], kind="stable")
    rows = table.p_x[:, None] * table.p_y_given_x
    before = np.concatenate([np.zeros((1, 2)), np.cumsum(rows[order], axis=0)])
    least, last = np.zeros(len(before)), np.zeros(len(before), np.int64)
    for i in range(1, len(before)):
        values = least[:i] + _cost(before[i] - before[:i], beta)
        last[i] = values.argmin()
        least[i] = values[last[i]]
    labels, i, t = np.empty(len(rows), np.int64), len(rows), 0
    while i:
        labels[order[last[i] : i]] = t
        i, t = last[i], t + 1
    return np.eye(t)[labels]


def _search(
    table: Table, beta: float, alpha: float, limit: int, restarts: int, key: Any, max_iterations: int
) -> tuple[list[np.ndarray], int, np.ndarray]:
    """Local optima from all starts, steps of all together, and which did settle."""
    weights, decoder = _starts(table, beta, alpha, limit, restarts, key)
    with jax.enable_x64(True):
        encoders, iterations, settled = _settle_all(table, beta, alpha, max_iterations, weights, decoder)
        open_ = list(range(len(encoders))) if alpha else []
        while open_:
            merged = [(i, _merged(table, beta, alpha, encoders[i])) for i in open_]
            better = {i: q for i, q in merged if q is not None}
            open_ = list(better)
            if open_:  # all of them again, so that one compiled program does
                encoders = [_live(table, better.get(i, q)) for i, q in enumerate(encoders)]
                weights, decoder = _stacked([_decoder(table, q) for q in encoders])
                encoders, more, settled = _settle_all(table, beta, alpha, max_iterations, weights, decoder)
                iterations += more
    if alpha == 0:
        encoders = [_move_and_merge(table, beta, q, limit) for q in encoders]
    return encoders, iterations, settled


class Settled(NamedTuple):
    """What `settle` ends with: ln p(t) (T,), ln p(y|t) (T, |Y|), the Lagrangian's bound, how many steps, whether done.

    The bound is the Lagrangian + beta I(X;Y) or more: -sum_x p(x) max_t [ln p(t) - beta KL] at alpha = 0, and with
    alpha times the logarithm of a sum of exponentials / alpha otherwise. It never rises.
    """

    log_weights: Float[Array, " T"]
    log_decoder: Float[Array, "T labels"]
    bound: Float[Array, ""]
    iterations: Int[Array, ""]
    status: Bool[Array, ""]


@functools.partial(jax.jit, static_argnames="hard")
def settle(
    p_x: Float[Any, " n"],
    p_y_given_x: Float[Any, "n labels"],
    beta: Any,
    alpha: Any,
    log_weights: Float[Any, " T"],
    log_decoder: Float[Any, "T labels"],
    *,
    hard: bool,
    steps: Any,
) -> Settled:
    """Iterate encoder and decoder in turn until the Lagrangian no longer falls. Pure: goes through jit and vmap.

    Args:
        p_x: probabilities of the inputs.
        p_y_given_x: conditional probabilities of the labels.
        beta: trade-off.
        alpha: above 0; not looked at if hard.
        log_weights: ln p(t) to start from; -inf for a cluster that is not there.
        log_decoder: ln p(y|t) to start from, finite.
        hard: alpha is 0: the largest takes all, the first of equals.
        steps: at most so many.

    Returns:
        The state that the last step leads to, and the bound of the one before.
    """

    def body(carry):
        weights, decoder, before, iteration, _ = carry
        score = scores(p_y_given_x, beta, weights, decoder)
        q = respond(score, alpha, hard)
        bound = -(p_x * log_normaliser(score, alpha, hard)).sum()
        new_weights = p_x @ q
        dead = new_weights <= 0
        new_decoder = jnp.matmul((p_x[:, None] * q).T, p_y_given_x, precision=jax.lax.Precision.HIGHEST)
        new_decoder = jnp.log(jnp.maximum(new_decoder / jnp.where(dead, 1.0, new_weights)[:, None], jnp.exp(LOG_FLOOR)))
        new_decoder = jnp.where(dead[:, None], decoder, jnp.maximum(new_decoder, LOG_FLOOR))
        done = before - bound <= TOLERANCE * (1 + abs(bound))
        return jnp.log(new_weights), new_decoder, bound, iteration + 1, done

    def unfinished(carry):
        return (carry[3] < steps) & ~carry[4]

    dtype = jnp.result_type(p_y_given_x)
    start = jnp.asarray(log_weights, dtype), jnp.asarray(log_decoder, dtype)
    inf, zero = jnp.full((), jnp.inf, dtype), jnp.zeros((), jnp.int32)
    return Settled(*jax.lax.while_loop(unfinished, body, (*start, inf, zero, jnp.zeros((), bool))))


def scores(p_y_given_x: Any, beta: Any, log_weights: Any, log_decoder: Any) -> Float[Array, "n T"]:
    """The score ln p(t) - beta KL(p(y|x) || p(y|t)) of every input and cluster."""
    return log_weights + log_likelihood(beta, p_y_given_x, log_decoder)


def respond(score: Any, alpha: Any, hard: bool) -> Float[Array, "n T"]:
    """Encoder p(t|x) of the scores."""
    if hard:
        return jax.nn.one_hot(jnp.argmax(score, axis=1), score.shape[1], dtype=score.dtype)
    return jax.nn.softmax(score / alpha, axis=1)


def log_normaliser(score: Any, alpha: Any, hard: bool) -> Float[Array, " n"]:
    """The largest score, or alpha times the logarithm of the sum of exponentials of score / alpha."""
    return score.max(axis=1) if hard else alpha * jax.nn.logsumexp(score / alpha, axis=1)


@functools.partial(jax.jit, static_argnames=("hard", "together"))
def _settle_starts(p_x, p, beta, alpha, log_weights, log_decoder, steps, hard: bool, together: int):
    def one(start):
        found = settle(p_x, p, beta, alpha, *start, hard=hard, steps=steps)
        score = scores(p, beta, found.log_weights, found.log_decoder)
        return respond(score, alpha, hard), found.iterations, found.status

    return jax.lax.map(one, (log_weights, log_decoder), batch_size=together)


def _settle_all(
    table: Table, beta: float, alpha: float, steps: int, weights: np.ndarray, decoder: np.ndarray
) -> tuple[list[np.ndarray], int, np.ndarray]:
    """Encoders that the starts settle to, steps of all together, and which did settle."""
    n = len(table.p_x)
    rows, columns = _padded(n), _padded(weights.shape[1])
    p_x = np.pad(table.p_x, (0, rows - n))
    p = np.concatenate([table.p_y_given_x, np.broadcast_to(table.p_y_given_x[-1], (rows - n, decoder.shape[2]))])
    missing = columns - weights.shape[1]
    log_decoder = bounded_log(decoder, -LOG_FLOOR)
    log_decoder = np.concatenate([log_decoder, np.repeat(log_decoder[:, :1], missing, axis=1)], axis=1)
    with np.errstate(divide="ignore"):
        log_weights = np.log(np.pad(weights, [(0, 0), (0, missing)]))
    together = max(min(CELLS // (rows * columns), len(weights)), 1)
    q, iterations, settled = _settle_starts(
        p_x, p, beta, alpha, log_weights, log_decoder, steps, hard=alpha == 0, together=together
    )
    return list(np.asarray(q)[:, :n]), int(iterations.sum()), np.asarray(settled)


def _padded(size: int) -> int:
    return max(SMALLEST, 1 << (size - 1).bit_length())


def _starts(
    table: Table, beta: float, alpha: float, limit: int, restarts: int, key: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and decoders to start from."""
    m = len(table.p_x)
    tree = agglomerate(Reduction(table, np.arange(m)))
    cut = 1 + int(np.argmin((tree.complexity - beta * tree.relevance)[:limit]))
    sizes = [1, cut] if alpha == 0 else [1, cut, limit]
    states = [_decoder(table, np.eye(size)[tree.labels(size)]) for size in sizes]
    if restarts and m > 1:
        keys = jax.random.key(0) if key is None else key
        noise = np.asarray(jax.random.gumbel(keys, (restarts, m), jnp.float32))
        most = min(limit, MOST_RANDOM)
        counts = np.geomspace(min(2, most), most, restarts).round().astype(int)
        for count, order in zip(counts, np.argsort(-(noise + np.log(table.p_x)), axis=1), strict=True):
            states.append((np.full(count, 1 / count), table.p_y_given_x[order[:count]]))
    return _stacked(states)


def _stacked(states: Any) -> tuple[np.ndarray, np.ndarray]:
    """States of different numbers of clusters in one array, weights 0 beyond."""
    width = max(len(w) for w, _ in states)
    weights = np.stack([np.pad(w, (0, width - len(w))) for w, _ in states])
    decoders = [np.concatenate([s, np.repeat(s[:1], width - len(s), axis=0)]) for _, s in states]
    return weights, np.stack(decoders)


def _live(table: Table, q: np.ndarray) -> np.ndarray:
    """The encoder without empty clusters, the heaviest first."""
    marginal = table.p_x @ q
    order = np.argsort(-marginal, kind="stable")
    return q[:, order[: int((marginal > 0).sum())]]


def _decoder(table: Table, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Marginal p(t) and p(y|t) of an encoder whose clusters all have mass."""
    joint = table.p_x[:, None] * q
    marginal = joint.sum(axis=0)
    return marginal, joint.T @ table.p_y_given_x / marginal[:, None]


def _measures(table: Table, beta: float, alpha: float, q: np.ndarray) -> tuple[float, float, float, float]:
    """H(T), I(X;T), I(T;Y) and the Lagrangian of an encoder; exactly 0 of one cluster."""
    if q.shape[1] == 1:
        return 0.0, 0.0, 0.0, 0.0
    marginal, _ = _decoder(table, q)
    h = float(entropy(marginal))
    conditional = float(table.p_x @ entropy(q))
    relevance = float(mutual_information((table.p_x[:, None] * q).T @ table.p_y_given_x))
    return h, h - conditional, relevance, h - alpha * conditional - beta * relevance


def _cost(joint: np.ndarray, beta: float) -> Any:
    """What rows p(t,y) add to H(T) - beta I(T;Y), up to a constant: beta p(t) H(Y|t) - p(t) ln p(t)."""
    return -beta * negative_entropy(joint, axis=-1) - xlogx(joint.sum(axis=-1))


def _merged(table: Table, beta: float, alpha: float, q: np.ndarray) -> np.ndarray | None:
    """The encoder after the merger that lowers the Lagrangian most, None if none does."""
    q = _live(table, q)
    if q.shape[1] == 1:
        return None
    joint = (table.p_x[:, None] * q).T @ table.p_y_given_x
    cost = _cost(joint, beta)
    change = np.stack([_cost(joint + row, beta) - cost for row in joint]) - cost[:, None]
    # H(T|X) falls by what told the two clusters apart.
    own = table.p_x @ xlogx(q)
    change += alpha * np.stack([table.p_x @ xlogx(both) for both in (q + column[:, None] for column in q.T)])
    change -= alpha * (own[:, None] + own)
    np.fill_diagonal(change, np.inf)
    i, j = np.unravel_index(change.argmin(), change.shape)
    if change[i, j] >= -GAIN:
        return None
    q[:, i] += q[:, j]
    return np.delete(q, j, axis=1)


def _move_and_merge(table: Table, beta: float, q: np.ndarray, limit: int) -> np.ndarray:
    """A hard encoder improved by mergers of two clusters and moves of one input until none helps."""
    rows = table.p_x[:, None] * table.p_y_given_x
    labels = _live(table, q).argmax(axis=1)
    while True:
        count = int(labels.max()) + 1
        slots = min(limit, 2 * count + SPARE)
        labels = _descend(rows, labels, slots, beta)
        used, labels = np.unique(labels, return_inverse=True)
        # With a slot left empty, no new cluster helps; else give it more.
        if len(used) < slots or slots == limit:
            return np.eye(len(used))[labels]


def _descend(rows: np.ndarray, labels: np.ndarray, slots: int, beta: float) -> np.ndarray:
    """Labels after the steepest mergers, and the steepest move where no merger helps, until neither does.

    What every merger and every move would change is kept, and renewed for the two clusters that are touched.
    """
    everyone = np.arange(len(labels))
    joint, cost = np.zeros((slots, rows.shape[1])), np.zeros(slots)
    merge, enter, leave = np.zeros((slots, slots)), np.empty((len(labels), slots)), np.empty(len(labels))

    def renew(clusters: Any) -> None:
        for t in clusters:
            members = labels == t
            joint[t] = rows[members].sum(axis=0)
            cost[t] = _cost(joint[t], beta)
            enter[:, t] = _cost(joint[t] + rows, beta) - cost[t]
            leave[members] = _cost(np.maximum(joint[t] - rows[members], 0.0), beta) - cost[t]
        for t in clusters:
            merge[t] = merge[:, t] = _cost(joint + joint[t], beta) - cost - cost[t]
            merge[t, t] = np.inf

    labels = labels.copy()
    renew(range(slots))
    while True:
        i, j = np.unravel_index(merge.argmin(), merge.shape)
        if merge[i, j] < -GAIN:
            labels[labels == j] = i
            renew((i, j))
            continue
        move = enter + leave[:, None]
        move[everyone, labels] = np.inf
        x, t = np.unravel_index(move.argmin(), move.shape)
        before = labels[x]
        if move[x, t] >= -GAIN:
            return labels
        labels[x] = t
        renew((before, t))


def _checked(beta: Any, alpha: Any, restarts: int, max_iterations: int) -> float:
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}: it must be between 0, the deterministic bottleneck, and 1, the bottleneck")
    if restarts < 0:
        raise InputError(f"restarts is {restarts}: it must be at least 0")
    check_limits(TOLERANCE, max_iterations)
    return float(as_betas(beta)[0])


def _limit(clusters: int | None, inputs: int, distinct: int) -> int:
    if clusters is None:
        return distinct
    if not 1 <= clusters <= inputs:
        raise InputError(f"clusters is {clusters}: it must be between 1 and the number of inputs, {inputs}")
    return min(clusters, distinct)
