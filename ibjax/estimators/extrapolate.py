"""Extrapolation of an estimate to infinitely many samples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ibjax.errors import InputError
from ibjax.estimators.base import Estimator, MIEstimate
from ibjax.estimators.resample import all_but_one_group, at_once
from ibjax.estimators.samples import as_given, same_length

PARTS = (1, 2, 4)
"""Numbers of disjoint parts that the samples are divided into."""
GROUPS = 10
"""Of the jackknife of the extrapolated value."""
_SMALLEST = 4 * PARTS[-1] * GROUPS


def extrapolate(est: Estimator, x: Any, y: Any, key: Array) -> MIEstimate:
    """Estimate I(X;Y) at n, n/2 and n/4 samples and extend the line in 1/n to 1/n = 0.

    With I_m the mean estimate of m disjoint random parts of n/m samples, the value is the intercept a of the
    least-squares line I_m = a + b m / n over m = 1, 2, 4, which is I_1 + (I_2 - I_4) / 2. It removes a bias of order
    1/n, which the plug-in has (`Binning`, `PlugIn`) once it has several samples a cell. A bias that falls more slowly,
    as that of `KSG` in many columns, shrinks only.

    Args:
        est: an estimator.
        x: samples or labels of n rows, as ``est`` takes them.
        y: likewise.
        key: of the random parts, and handed to ``est``.

    Returns:
        The intercept, its standard error by a jackknife over the whole extrapolation (so it is larger than that of
        the estimate itself), and the diagnostics of the estimate from all samples, with ``shift``, the intercept less
        that estimate, in nats, and ``nonlinear``: the parabola through the three points ends elsewhere than the line,
        by more than two standard errors and a hundredth of a nat. Then the value is not to be trusted: take more
        samples.

    Raises:
        InputError: as ``est``, of a quarter too; or fewer than 160 samples.

    Example:
        >>> from ibjax.estimators import Binning
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 2000))
        >>> plain = Binning(bins=10, low=0.0)(x, y)
        >>> found = extrapolate(Binning(bins=10, low=0.0), x, y, jax.random.key(1))
        >>> abs(float(found.value)) < 2 * float(found.std_error) < float(plain.value)
        True

    References:
        Strong et al. (1998), "Entropy and information in neural spike trains"; Holmes & Nemenman (2019), "Estimation
        of mutual information for real-valued data with error bars and controlled bias".
    """
    x, y = as_given("x", x), as_given("y", y)
    n = same_length(x=x, y=y)
    if n < _SMALLEST:
        raise InputError(f"x and y have {n} samples, {_SMALLEST} or more are needed to extrapolate")
    if key is None:
        raise InputError("key is missing, random parts are drawn: pass key=jax.random.key(0)")
    return _extrapolate(est, x, y, key)


def _weights(degree: int) -> Float[np.ndarray, " parts"]:
    """What each I_m counts in the intercept of the polynomial that is fitted by least squares."""
    return np.linalg.pinv(np.vander(PARTS, degree + 1, increasing=True))[0]


@jax.jit
def _extrapolate(est: Estimator, x: Array, y: Array, key: Array) -> MIEstimate:
    order = jax.random.permutation(key, x.shape[0])
    found = est(x, y, key)

    def means(whole: Array, rows: Array) -> Array:
        """The mean estimate of each number of parts, that of one part being known."""
        each = [whole]
        for parts in PARTS[1:]:
            size = rows.shape[0] // parts
            split = rows[: parts * size].reshape(parts, size)
            values = jax.lax.map(lambda part: est(x[part], y[part], key).value, split, batch_size=at_once(size))
            each.append(values.mean(axis=0))
        return jnp.stack(each)

    def without(kept: Array) -> Array:
        rows = order[kept]
        return means(est(x[rows], y[rows], key).value, rows)

    at_n = means(found.value, order)
    deleted = jax.lax.map(without, all_but_one_group(x.shape[0], GROUPS))
    line, parabola = (jnp.asarray(_weights(degree), at_n.dtype) for degree in (1, 2))
    value = jnp.tensordot(line, at_n, 1)
    replicates = jnp.tensordot(deleted, line, ((1,), (0,)))
    error = jnp.sqrt((GROUPS - 1) * replicates.var(axis=0))
    bend = jnp.abs(jnp.tensordot(parabola, at_n, 1) - value)
    diagnostics = found.diagnostics | {"shift": value - found.value, "nonlinear": bend > jnp.maximum(2 * error, 0.01)}
    return MIEstimate(value, error, diagnostics)
