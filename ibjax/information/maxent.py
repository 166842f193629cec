"""The distribution of maximum entropy under moment constraints."""

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError
from ibjax.information.checks import as_numbers, check_finite, check_not_negative, concrete


class MaximumEntropyStatus(enum.IntEnum):
    """How a search for the distribution of maximum entropy ended."""

    CONVERGED = 0
    INFEASIBLE = 1
    STEPS = 2
    NOT_FINITE = 3


ADVICE = {
    MaximumEntropyStatus.INFEASIBLE: "no distribution on the prior's support has these means: they must be an average "
    "of the rows of features there",
    MaximumEntropyStatus.STEPS: "not converged: raise steps or tolerance; means at the edge of what the features allow "
    "need infinite multipliers, so leave out symbols that cannot occur with them",
    MaximumEntropyStatus.NOT_FINITE: "a value is NaN or infinite, or the prior is negative or 0 everywhere: repair it",
}
"""Status -> what it means and what to change."""


class MaximumEntropy(NamedTuple):
    """The distribution closest to a prior measure that has given means.

    Attributes:
        p: the distribution, shape (n,); NaN unless a solution was found.
        multipliers: lambda, one a feature. Where features depend on each other, the smallest of those that give p.
        log_partition: ln Z in nats.
        divergence: ``KL(p || prior) = lambda . means - ln Z`` in nats: minus the entropy if the prior is 1 everywhere.
        residual: largest |E f - mean|, in units of the feature's largest distance from its mean.
        steps: Newton steps taken.
        status: a `MaximumEntropyStatus`.
    """

    p: Float[Any, " n"]
    multipliers: Float[Any, " k"]
    log_partition: Float[Any, ""]
    divergence: Float[Any, ""]
    residual: Float[Any, ""]
    steps: Integer[Any, ""]
    status: Integer[Any, ""]

    def raise_for_status(self) -> "MaximumEntropy":
        """Return self if it converged.

        Raises:
            InputError: it did not; the message says what to change.
        """
        status = MaximumEntropyStatus(int(self.status))
        if status != MaximumEntropyStatus.CONVERGED:
            raise InputError(ADVICE[status])
        return self


def maximum_entropy(
    prior: Any, features: Any, means: Any, *, tolerance: float = 1e-12, steps: int = 200
) -> MaximumEntropy:
    """The distribution of maximum entropy relative to a prior measure, under moment constraints.

    It minimises ``KL(p || prior)`` subject to ``sum_x p(x) features(x) = means`` and has the form

        p(x) = prior(x) exp(lambda . features(x)) / Z.

    The multipliers minimise the convex dual ln Z - lambda . means, by Newton steps that are shortened where they go
    too far: of the step, its halves down to an eighth, and the length ln(1 + r) / r that is known to lower the dual, r
    the range of the step's change of ln p, the best is taken. Minus the dual is at most KL(p || prior), hence at most
    -ln of the smallest prior probability: where it is more, no distribution has the means, which is so proved.

    Everything is computed in double precision, whatever JAX's setting, and may be jitted and vmapped. It has no
    gradients in reverse mode; that of the divergence with respect to the means is the multipliers.

    Args:
        prior: a measure, shape (n,), not negative, not all 0. Its total does not matter to p: ones give the
            distribution of maximum entropy, counts of states (binomial coefficients) those of statistical mechanics.
        features: f(x), shape (n, k), or (n,) for one feature.
        means: E f, shape (k,), or a number for one feature.
        tolerance: residual that counts as converged, in the units of `MaximumEntropy.residual`; the default is a few
            thousand roundings.
        steps: most Newton steps. In trials moments inside took 4 to 36. On the edge of what is possible p vanishes on
            some symbols and multipliers are infinite: p is there to the tolerance after 20 to 140.

    Returns:
        The distribution, its multipliers and a status: of NumPy arrays as float64 arrays on the host, otherwise as JAX
        arrays in the precision of the arguments.

    Raises:
        InputError: shapes that do not match; a value that is not finite; a negative or empty prior; means that no
            distribution on the prior's support has. Inside a transformation the status says so and p is NaN.

    Example:
        >>> dice = maximum_entropy(np.ones(6), np.arange(1, 7), 4.5)  # Jaynes' die, which shows 4.5 on average
        >>> dice.p.round(5).tolist()
        [0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749]

    References:
        Jaynes (1957), "Information theory and statistical mechanics", section 2.
        Csiszár (1975), "I-divergence geometry of probability distributions", theorem 3.1.
        Sun & Tran-Dinh (2019), "Generalized self-concordant functions: a recipe for Newton-type methods".
    """
    given = prior, features, means = (
        as_numbers("prior", prior),
        as_numbers("features", features),
        as_numbers("means", means),
    )
    features = features[:, None] if features.ndim == 1 else features
    means = means[None] if means.ndim == 0 else means
    _check(prior, features, means, tolerance)
    on_host = not any(isinstance(a, jax.Array) for a in given)
    dtype = np.float64 if on_host else jnp.result_type(float, *(a.dtype for a in given if isinstance(a, jax.Array)))
    with jax.enable_x64(True):
        arrays = (jnp.asarray(a).astype(jnp.float64) for a in (prior, features, means))
        found = _solve(*arrays, jnp.float64(tolerance), jnp.int32(steps))
        found = jax.tree.map(lambda a: a.astype(dtype) if a.dtype == jnp.float64 else a, found)
        if on_host and concrete(found.status):
            found = jax.tree.map(np.asarray, found)
    if concrete(found.status) and found.status == MaximumEntropyStatus.INFEASIBLE:
        raise InputError(ADVICE[MaximumEntropyStatus.INFEASIBLE])
    return found


def _check(prior: Any, features: Any, means: Any, tolerance: float) -> None:
    if prior.ndim != 1 or features.ndim != 2 or features.shape[:1] != prior.shape or means.shape != features.shape[1:]:
        raise InputError(
            "prior must be (n,), features (n, k) and means (k,), "
            f"got {prior.shape}, {features.shape} and {means.shape}: use vmap for a batch"
        )
    if 0 in features.shape:
        raise InputError(f"features have shape {features.shape}: one symbol and one feature are needed at least")
    check_not_negative("prior", prior)
    check_finite("features", features)
    check_finite("means", means)
    if not concrete(prior, features, means):
        return
    support = np.asarray(prior) > 0
    if not support.any():
        raise InputError("the prior is 0 everywhere: one symbol needs mass at least")
    seen = np.asarray(features, np.float64)[support]
    for i, mean in enumerate(np.asarray(means, np.float64)):
        low, high = seen[:, i].min(), seen[:, i].max()
        rounding = tolerance * max(abs(low - mean), abs(high - mean))
        if not low - rounding <= mean <= high + rounding:
            raise InputError(
                f"means[{i}] is {mean:g}, outside [{low:g}, {high:g}], what feature {i} can have on average"
            )


class _State(NamedTuple):
    u: Array  # multipliers in whitened coordinates
    gradient: Array  # of the dual: the mean of these coordinates
    residual: Array
    steps: Array
    status: Array


Status = MaximumEntropyStatus
RUNNING = -1
"""Status inside the loop."""


@jax.jit
def _solve(prior: Array, features: Array, means: Array, tolerance: Array, steps: Array) -> MaximumEntropy:
    prior = jnp.where((prior >= 0).all(), prior, jnp.nan)
    support = prior > 0
    log_prior = jnp.log(prior)
    log_total = jax.nn.logsumexp(log_prior)
    log_prior = log_prior - log_total
    lowest = jnp.where(support, log_prior, 0).min()

    # Coordinates y in which the symbols have mean square 1 about the means in every direction, so that units do not
    # matter. Directions in which no symbol moves (of features that depend on each other) are left out.
    y = jnp.where(support[:, None], features - means, 0)
    scale = abs(y).max(axis=0)
    scale = jnp.where(scale == 0, 1, scale)
    y = y / scale
    left, size, right = jnp.linalg.svd(y, full_matrices=False)
    kept = size > size[0] * jnp.finfo(y.dtype).eps * max(y.shape)
    root = jnp.sqrt(support.sum())
    y = jnp.where(kept, left, 0) * root
    to_multipliers = (right.T * jnp.where(kept, root / jnp.where(kept, size, 1), 0)) / scale[:, None]

    def dual(u):
        return jax.nn.logsumexp(log_prior + y @ u)

    def distribution(u):
        return jax.nn.softmax(log_prior + y @ u)

    def judged(u, taken, residual_before):
        gradient = distribution(u) @ y
        residual = abs((gradient * size / root) @ right).max()
        reached = residual <= tolerance
        # Once it is reached, one step more doubles the digits.
        done = (reached & (residual_before <= tolerance)) | (taken >= steps)
        status = jnp.where(done, jnp.where(reached, Status.CONVERGED, Status.STEPS), RUNNING)
        status = jnp.where(~reached & (dual(u) < lowest - 1e-6), Status.INFEASIBLE, status)
        status = jnp.where(jnp.isfinite(residual), status, Status.NOT_FINITE)
        return _State(u, gradient, residual, taken, status.astype(jnp.int32))

    def newton(state):
        p = distribution(state.u)
        centred = y - state.gradient
        # The smallest multiple of 1 that keeps the step finite where p has no spread; it vanishes at the solution.
        ridge = 1e-3 * jnp.linalg.norm(state.gradient) + jnp.finfo(y.dtype).tiny
        hessian = (centred.T * p) @ centred + ridge * jnp.eye(y.shape[1])
        step = -jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(hessian), state.gradient)
        change = jnp.where(support, y @ step, 0)
        spread = change.max() - change.min()
        safe = jnp.log1p(spread) / jnp.where(spread == 0, 1, spread)
        lengths = jnp.array([1, 0.5, 0.25, 0.125, 0]).at[-1].set(safe)
        values = jax.vmap(lambda t: dual(state.u + t * step))(lengths)
        best = jnp.where(values == values.min(), lengths, 0).max()
        # Close to the solution the dual is flat to rounding, and the safe length almost 1.
        length = jnp.where(spread < 0.01, safe, best)
        return judged(state.u + length * step, state.steps + 1, state.residual)

    start = judged(jnp.zeros(y.shape[1]), jnp.int32(0), jnp.inf)
    end = jax.lax.while_loop(lambda state: state.status == RUNNING, newton, start)

    multipliers = to_multipliers @ end.u
    divergence = -dual(end.u) - log_total
    found = (distribution(end.u), multipliers, multipliers @ means - divergence, divergence)
    usable = (end.status == Status.CONVERGED) | (end.status == Status.STEPS)
    p, multipliers, log_partition, divergence = (jnp.where(usable, a, jnp.nan) for a in found)
    return MaximumEntropy(p, multipliers, log_partition, divergence, end.residual, end.steps, end.status)
