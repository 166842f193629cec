"""The fast solver for few labels: insert the clusters that the certificate misses, and polish with Newton's method."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

HIGHEST = jax.lax.Precision.HIGHEST
INSERTIONS = 3
"""Clusters that a round may add."""
EM_STEPS = 3
"""Steps of Blahut-Arimoto after an insertion: they settle the weights before Newton's method."""
NEWTON_STEPS = 6
MERGES = 3
"""Pairs of clusters that a round tries to merge."""
DEAD = 1e-12
"""Weight below which a cluster is dropped, see `fading`: what it carried is far below the resolution of F."""
SHARE = 0.1
"""Of the lightest input: no cluster as heavy is dropped."""
DYING = 0.1
"""Share of the slope that is added to the curvature of a cluster that loses weight, so that it fades in some steps."""
SPLITS = (1.0, 0.8, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003, 0.001, 0.0003)
"""Distances at which the least stable cluster is looked at from both sides, as shares of the way to the boundary."""
NOISE = 4e-15
"""Rise of the free energy that is taken for rounding, relative."""
BOUNDARY = 0.999
"""Of the way to the first weight of zero."""
FLAT = 1e-13
"""Curvature added to every coordinate."""
DAMPING = 1e-3
"""Of the first Newton step, relative to the steps of Blahut-Arimoto."""
POLISH_STEPS = 12
POWER_STEPS = 8


class Problem(NamedTuple):
    """One reduced problem: p(x) (n,), p(y|x) (n, |Y|), H(Y|x) (n,), and ln s of candidate clusters (m, |Y|)."""

    p_x: Array
    p_y_given_x: Array
    entropy: Array
    candidates: Array


class Atoms(NamedTuple):
    """Clusters of one lane.

    Attributes:
        weights: p(t), 0 where there is no cluster; shape (T,).
        logits: ln p(y|t) / p(0|t) for y >= 1; shape (T, |Y| - 1).
        excess: ln max c that the search of the last round found, nats: not a bound.
        iterations: evaluations of the map or of its derivative.
        full: whether a cluster was left out because all T were in use.
    """

    weights: Float[Any, " T"]
    logits: Float[Any, "T coordinates"]
    excess: Float[Any, ""]
    iterations: Int[Any, ""]
    full: Bool[Any, ""]


def log_decoder(logits: Array) -> Array:
    """Logarithms of p(y|t) of the logits."""
    return jax.nn.log_softmax(jnp.concatenate([jnp.zeros_like(logits[..., :1]), logits], axis=-1), axis=-1)


def _bounded(logits: Array, limit: Array) -> Array:
    """Logits with every label within the limit of the most probable one."""
    full = jnp.concatenate([jnp.zeros_like(logits[..., :1]), logits], axis=-1)
    full = jnp.maximum(full, full.max(axis=-1, keepdims=True) - limit)
    return full[..., 1:] - full[..., :1]


def _likelihood(problem: Problem, beta: Array, log_s: Array) -> Array:
    """exp(-beta KL(p(y|x) || s)) of shape (n, clusters)."""
    exponent = problem.entropy[:, None] + jnp.matmul(problem.p_y_given_x, log_s.T, precision=HIGHEST)
    return jnp.exp(beta * jnp.minimum(exponent, 0.0))


def partition(problem: Problem, beta: Array, weights: Array, logits: Array) -> Array:
    """The logarithm of Z(x), without underflow."""
    exponent = problem.entropy[:, None] + jnp.matmul(problem.p_y_given_x, log_decoder(logits).T, precision=HIGHEST)
    exponent = beta * jnp.minimum(exponent, 0.0)
    return jax.scipy.special.logsumexp(exponent, axis=1, b=weights)


def _floored(z: Array) -> Array:
    """Z(x), of an input that all clusters are too far from the smallest number: the next insertion is for it."""
    return jnp.maximum(z, jnp.finfo(z.dtype).tiny)


def fading(p_x: Any, limit: float) -> Array:
    """Weight below which a cluster has faded: the limit, or a share of the lightest input if that is less.

    Next to a label that is impossible, a large beta makes it dear to be without the cluster of an input however light.

    Args:
        p_x: shape (..., n), 0 for inputs that are not there.
        limit: for inputs that are not light.
    """
    return jnp.minimum(limit, SHARE * jnp.where(p_x > 0, p_x, 1.0).min(axis=-1))


def _free_energy(problem: Problem, beta: Array, weights: Array, logits: Array) -> Array:
    return -(problem.p_x * partition(problem, beta, weights, logits)).sum()


def _em_step(problem: Problem, beta: Array, limit: Array, weights: Array, logits: Array) -> tuple[Array, Array]:
    joint = weights * _likelihood(problem, beta, log_decoder(logits))
    share = (problem.p_x / _floored(joint.sum(axis=1)))[:, None] * joint
    weights = share.sum(axis=0)
    decoder = jnp.matmul(share.T, problem.p_y_given_x, precision=HIGHEST)
    log_s = jnp.log(jnp.maximum(decoder, jnp.finfo(decoder.dtype).tiny))
    moved = _bounded(log_s[:, 1:] - log_s[:, :1], limit)
    return weights, jnp.where((weights > 0)[:, None], moved, logits)


def _newton_step(problem: Problem, beta: Array, limit: Array, carry: tuple) -> tuple:
    """One damped Newton step on (ln w, logits); kept if it does not raise the free energy, else damped more.

    With r = p(t|x), g = d ln f / d logits = beta (p(y|x) - p(y|t)) and m = sum_x p(x) r, of sum_t w_t - sum p ln Z:
    gradient (w - m, -sum p r g); Hessian sum_x p (r, r g)(r, r g)^T minus, cluster by cluster, sum p r g in the mixed
    block, sum p r g g^T - m beta (diag s - s s^T) in that of the logits.
    """
    weights, logits, damping, before = carry
    clusters, coordinates = logits.shape
    log_s = log_decoder(logits)
    s = jnp.exp(log_s)[:, 1:]
    joint = weights * _likelihood(problem, beta, log_s)
    r = joint / _floored(joint.sum(axis=1, keepdims=True))
    share = problem.p_x[:, None] * r
    m = share.sum(axis=0)
    g = beta * (problem.p_y_given_x[:, None, 1:] - s)
    slopes = r[:, :, None] * g
    features = jnp.concatenate([r, slopes.reshape(len(r), -1)], axis=1)
    hessian = jnp.matmul(features.T * problem.p_x, features, precision=HIGHEST)

    mean_g = jnp.einsum("nt,ntk->tk", share, g, precision=HIGHEST)
    outer = jnp.einsum("nt,ntk,ntl->tkl", share, g, g, precision=HIGHEST)
    fisher = beta * m[:, None, None] * (jax.vmap(jnp.diag)(s) - s[:, :, None] * s[:, None, :])
    alive = weights > 0
    t = jnp.arange(clusters)
    z = clusters + t[:, None] * coordinates + jnp.arange(coordinates)
    hessian = hessian.at[t, t].add(DYING * jnp.maximum(weights - m, 0.0) + jnp.where(alive, damping * m, 1.0))
    hessian = hessian.at[t[:, None], z].add(-mean_g).at[z, t[:, None]].add(-mean_g)
    scale = jnp.where(alive[:, None, None], fisher, jnp.eye(coordinates))
    hessian = hessian.at[z[:, :, None], z[:, None, :]].add(fisher - outer + damping * scale)
    # Logits at the limit of the range have no curvature left.
    hessian = hessian + FLAT * jnp.eye(len(hessian))
    gradient = jnp.concatenate([weights - m, -mean_g.reshape(-1)])

    factor = jnp.linalg.cholesky(hessian)
    step = -jax.scipy.linalg.cho_solve((factor, True), gradient)
    # In ln w what fades fades fast; in w, up to the first that would vanish, mass moves far where F is almost linear.
    change, move = step[:clusters], step[clusters:].reshape(logits.shape)
    length = jnp.minimum(1.0, BOUNDARY / jnp.maximum(-change.min(), 1e-30))
    trials = jnp.stack([weights * jnp.exp(jnp.clip(change, -10.0, 2.0)), weights * (1 + length * change)])
    trials = trials / trials.sum(axis=1, keepdims=True)
    moved = _bounded(logits + jnp.clip(jnp.stack([move, length * move]), -2.0, 2.0), limit)
    energies = jax.vmap(lambda w, z: _free_energy(problem, beta, w, z))(trials, moved)
    best = jnp.argmin(jnp.where(jnp.isnan(energies), jnp.inf, energies))
    new_weights, new_logits, after = trials[best], moved[best], energies[best]
    good = after <= before + NOISE * (1 + jnp.abs(before))  # False for NaN
    weights, logits = jnp.where(good, new_weights, weights), jnp.where(good, new_logits, logits)
    damping = jnp.where(good, jnp.maximum(damping * 0.1, 1e-12), jnp.minimum(jnp.maximum(damping, 1e-6) * 10, 1e3))
    return weights, logits, damping, jnp.where(good, after, before)


def insertion_weight(p_x: Any, ratio: Any) -> Array:
    """Weight of a new cluster by a Newton step, (c - 1) / sum_x p(x) (ratio - 1)^2; squares of far misses overflow.

    Args:
        p_x: shape (n,).
        ratio: exp(-beta KL(p(y|x) || s)) / Z(x), shape (n,).
    """
    scale = jnp.maximum(ratio.max(), 1.0)
    change = (ratio - 1) / scale
    square = jnp.maximum((p_x * change**2).sum(), jnp.finfo(change.dtype).tiny)
    return jnp.clip((p_x * change).sum() / square / scale, 0.0, 0.5)


def _insert(problem: Problem, beta: Array, weights: Array, logits: Array, likelihood: Array, candidates: Array):
    """Add the candidate with the largest c, then the next given the first, by Newton steps in their weight."""

    def insert(carry, _):
        weights, logits, z, full = carry
        c = jnp.matmul(likelihood.T, problem.p_x / z, precision=HIGHEST)
        best = jnp.argmax(c)
        weight = insertion_weight(problem.p_x, likelihood[:, best] / z)
        slot = jnp.argmin(weights)
        free = weights[slot] <= 0
        wanted = c[best] > 1 + 1e-13
        weight = jnp.where(wanted & free, weight, 0.0)
        z = (1 - weight) * z + weight * likelihood[:, best]
        logit = candidates[best, 1:] - candidates[best, :1][0]
        weights = jnp.where(weight > 0, (weights * (1 - weight)).at[slot].set(weight), weights)
        logits = jnp.where(weight > 0, logits.at[slot].set(logit), logits)
        return (weights, logits, z, full | (wanted & ~free)), None

    z = _floored(jnp.exp(partition(problem, beta, weights, logits)))
    (weights, logits, _, full), _ = jax.lax.scan(insert, (weights, logits, z, jnp.zeros((), bool)), None, INSERTIONS)
    return weights, logits, full


def _merge(problem: Problem, beta: Array, carry: tuple) -> tuple:
    """Replace the closest two clusters by their mean if that does not raise the free energy."""
    weights, logits, tried, before = carry
    alive = weights > 0
    s = jnp.exp(log_decoder(logits))
    distance = jnp.abs(s[:, None] - s[None]).sum(axis=-1)
    allowed = alive[:, None] & alive[None] & ~tried & ~jnp.eye(len(weights), dtype=bool)
    flat = jnp.argmin(jnp.where(allowed, distance, jnp.inf))
    i, j = flat // len(weights), flat % len(weights)
    both = weights[i] + weights[j]
    mean = (weights[i] * logits[i] + weights[j] * logits[j]) / both
    new_weights, new_logits = weights.at[i].set(both).at[j].set(0.0), logits.at[i].set(mean)
    after = _free_energy(problem, beta, new_weights, new_logits)
    good = allowed.any() & (after <= before + NOISE * (1 + jnp.abs(before)) / 10)
    tried = tried.at[i, j].set(True).at[j, i].set(True)
    return (
        jnp.where(good, new_weights, weights),
        jnp.where(good, new_logits, logits),
        tried,
        jnp.where(good, after, before),
    )


def _instability(problem: Problem, beta: Array, weights: Array, logits: Array) -> tuple[Array, Array]:
    """Of every cluster the largest eigenvalue of beta Cov(p(y|x) | t) / sqrt(p(y|t) p(y'|t)), and its direction.

    The direction is one of p(y|t). Above 1, c curves upwards there and the cluster splits (Rose 1998, for the
    distortion of the bottleneck).
    """
    log_s = log_decoder(logits)
    s = jnp.exp(log_s)
    joint = weights * _likelihood(problem, beta, log_s)
    share = problem.p_x[:, None] * joint / _floored(joint.sum(axis=1, keepdims=True))
    m = share.sum(axis=0)
    q = share / jnp.where(m > 0, m, 1.0)
    centred = problem.p_y_given_x[:, None] - s
    cov = jnp.einsum("nt,nty,ntz->tyz", q, centred, centred, precision=HIGHEST)
    root = jnp.sqrt(jnp.maximum(s, 1e-30))
    matrix = beta * cov / (root[:, :, None] * root[:, None])
    vector = jnp.cos(1.0 + jnp.arange(s.shape[1])) * jnp.ones_like(s)
    for _ in range(1 if s.shape[1] == 2 else POWER_STEPS):
        vector = jnp.einsum("tyz,tz->ty", matrix, vector, precision=HIGHEST)
        vector = vector / jnp.maximum(jnp.linalg.norm(vector, axis=1, keepdims=True), 1e-30)
    value = jnp.einsum("ty,tyz,tz->t", vector, matrix, vector, precision=HIGHEST)
    return jnp.where(weights > 0, value, 0.0), vector * root


def _split(
    problem: Problem, beta: Array, limit: Array, weights: Array, logits: Array
) -> tuple[Array, Array, Array, Array]:
    """Split the cluster where c curves upwards most, along the direction in which it does, if that is an advantage.

    Insertion alone is slow there: the gain is of second order in the distance, and the cluster between fades slowly.

    Returns:
        Weights and logits, with two halves in the place of the cluster if their best distance lowers the free energy;
        ln of the places looked at, on both sides, and their likelihoods.
    """
    value, vector = _instability(problem, beta, weights, logits)
    least = jnp.argmax(value)
    log_s = log_decoder(logits)
    s = jnp.exp(log_s[least])
    reach = vector[least] / jnp.maximum(jnp.abs(vector[least] / s).max(), 1e-30)
    shares = jnp.array([*SPLITS, *(-d for d in SPLITS)])
    points = jnp.log(jnp.maximum(s + shares[:, None] * reach, jnp.exp(-limit)))
    likelihood = _likelihood(problem, beta, points)

    half = len(SPLITS)
    z = _floored(jnp.exp(partition(problem, beta, weights, logits)))
    change = (likelihood[:, :half] + likelihood[:, half:]) / 2 - _likelihood(problem, beta, log_s[least][None])
    gain = (problem.p_x[:, None] * jnp.log1p(weights[least] * change / z[:, None])).sum(axis=0)
    best, slot = jnp.argmax(gain), jnp.argmin(weights)
    good = (gain[best] > NOISE) & (weights[slot] <= 0) & (value[least] > 1)
    pair = points[:, 1:] - points[:, :1]
    new_weights = weights.at[jnp.array([least, slot])].set(weights[least] / 2)
    new_logits = logits.at[least].set(pair[best]).at[slot].set(pair[best + half])
    return jnp.where(good, new_weights, weights), jnp.where(good, new_logits, logits), points, likelihood


def polish(problem: Problem, beta: Array, weights: Array, logits: Array, limit: Array) -> tuple[Array, Array, Array]:
    """Solve with the clusters given, none added: one step of Blahut-Arimoto, then Newton's.

    Returns:
        The weights, the logits, and the largest instability of a cluster: above 1, it wants to split.
    """
    weights, logits = _em_step(problem, beta, limit, weights, logits)
    energy = _free_energy(problem, beta, weights, logits)
    start = weights, logits, jnp.asarray(DAMPING, beta.dtype), energy
    weights, logits, _, _ = jax.lax.fori_loop(
        0, POLISH_STEPS, lambda _, carry: _newton_step(problem, beta, limit, carry), start
    )
    weights = jnp.where(weights < fading(problem.p_x, DEAD), 0.0, weights)
    return weights / weights.sum(), logits, _instability(problem, beta, weights, logits)[0].max()


@functools.partial(jax.jit, static_argnames="rounds")
def insertion(
    problem: Problem, beta: Array, atoms: Atoms, extra: Array, tolerance: Array, limit: Array, *, rounds: int
) -> Atoms:
    """Improve one lane until no candidate has ln c above the tolerance, or for so many rounds.

    Args:
        problem: the reduced problem.
        beta: the trade-off.
        atoms: where to start.
        extra: ln s of further candidates, shape (e, |Y|): what the certificate found.
        tolerance: nats.
        limit: largest distance of two logits.
        rounds: of search, insertion, Blahut-Arimoto, Newton, pruning and merging.

    Returns:
        The clusters reached.
    """
    fixed = jnp.concatenate([problem.candidates, extra])
    fixed_likelihood = _likelihood(problem, beta, fixed)

    def unfinished(carry):
        atoms, _, turn = carry
        return (turn < rounds) & ~(atoms.excess <= tolerance) & ~atoms.full

    def body(carry):
        atoms, damping, turn = carry
        weights, logits = atoms.weights, atoms.logits
        new_weights, new_logits, places, likelihood = _split(problem, beta, limit, weights, logits)
        likelihood = jnp.concatenate([fixed_likelihood, likelihood], axis=1)
        candidates = jnp.concatenate([fixed, places])
        ratio = problem.p_x / _floored(jnp.exp(partition(problem, beta, weights, logits)))
        own = jnp.matmul(_likelihood(problem, beta, log_decoder(logits)).T, ratio, precision=HIGHEST)
        c = jnp.matmul(likelihood.T, ratio, precision=HIGHEST).max()
        excess = jnp.log(jnp.maximum(c, jnp.where(weights > 0, own, 0.0).max()))
        split = (new_weights != weights).any()
        inserted, placed, full = _insert(problem, beta, weights, logits, likelihood, candidates)
        # One at a time: next to the halves of a split, c is above 1 only until they have settled.
        new_weights = jnp.where(split, new_weights, inserted)
        new_logits = jnp.where(split, new_logits, placed)
        full = full & ~split
        done = excess <= tolerance

        new_weights, new_logits = jax.lax.fori_loop(
            0, EM_STEPS, lambda _, carry: _em_step(problem, beta, limit, *carry), (new_weights, new_logits)
        )
        energy = _free_energy(problem, beta, new_weights, new_logits)
        start = new_weights, new_logits, damping, energy
        new_weights, new_logits, new_damping, energy = jax.lax.fori_loop(
            0, NEWTON_STEPS, lambda _, carry: _newton_step(problem, beta, limit, carry), start
        )
        new_weights = jnp.where(new_weights < fading(problem.p_x, DEAD), 0.0, new_weights)
        start = new_weights, new_logits, jnp.zeros(2 * new_weights.shape, bool), energy
        new_weights, new_logits, _, _ = jax.lax.fori_loop(
            0, MERGES, lambda _, carry: _merge(problem, beta, carry), start
        )
        steps = 1 + EM_STEPS + NEWTON_STEPS
        new = Atoms(
            new_weights / new_weights.sum(),
            new_logits,
            excess,
            atoms.iterations + steps,
            full,
        )
        kept = Atoms(weights, logits, excess, atoms.iterations + 1, jnp.zeros((), bool))
        atoms = jax.tree.map(lambda a, b: jnp.where(done, a, b), kept, new)
        return atoms, jnp.minimum(new_damping, DAMPING), turn + 1

    start = atoms._replace(excess=jnp.full((), jnp.inf, beta.dtype), full=jnp.zeros((), bool))
    atoms, _, _ = jax.lax.while_loop(
        unfinished, body, (start, jnp.asarray(DAMPING, beta.dtype), jnp.zeros((), jnp.int32))
    )
    return atoms
