"""Differential entropy from distances to nearest neighbours (Kozachenko & Leonenko 1987)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.estimators import neighbours
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.samples import as_samples


def knn_entropy(
    x: Any, k: int | tuple[int, ...] = 3, *, engine: str = "auto", block: int = neighbours.BLOCK
) -> MIEstimate:
    """Estimate the differential entropy of samples with a density, in nats.

    With r_i the distance of row i to its k-th nearest other row in the maximum norm, and d columns,

        h(X) = psi(n) - psi(k) + d mean[ln(2 r_i)]

    It depends on the units of x: h(aX) = h(X) + d ln a, so it may be negative, and it is -infinity where the
    distribution has atoms. A difference of entropies is no good estimate of mutual information: their errors do not
    cancel as those within `KSG` do.

    Diagnostics, scalars: ``non_finite``: the value is NaN. ``constant``: all rows are equal, the value is -infinity.
    ``deterministic``: some rows have k copies, the value is -infinity. ``starved``, ``scaled``: as of `KSG`.

    Args:
        x: samples (n, columns) or (n,); integers are taken as numbers.
        k: number of neighbours, or a tuple of numbers, which cost little more than the largest of them.
        engine: as of `KSG`.
        block: as of `KSG`.

    Returns:
        An estimate whose ``value`` is the entropy in nats in the precision of x, of shape () or (number of ks,);
        ``std_error`` None.

    When it fails:
        Rounded or repeated values: add noise of the size of the rounding, or count them with `PlugIn`. Many columns:
        biased upwards, as the density is not flat over the k nearest rows.

    Raises:
        InputError: before anything is compiled: settings or samples that make no sense.

    Example:
        >>> x = 3 * jax.random.uniform(jax.random.key(0), 2000)
        >>> bool(abs(knn_entropy(x).value - jnp.log(3)) < 0.05)
        True

    References:
        Kraskov, Stoegbauer & Grassberger (2004), equation 20.
    """
    rows = max(neighbours.as_ks(k)) + 1
    neighbours.check_search(engine, block)
    return _estimate(as_samples("x", x, at_least=rows), k=k, engine=engine, block=block)


@functools.partial(jax.jit, static_argnames=("k", "engine", "block"))
def _estimate(x: Array, *, k: int | tuple[int, ...], engine: str, block: int) -> MIEstimate:
    estimate = functools.partial(_kozachenko_leonenko, k=k, engine=engine, block=block)
    return neighbours.lane_by_lane(estimate, block)(x)


def _kozachenko_leonenko(x: Float[Array, "n d"], *, k: int | tuple[int, ...], engine: str, block: int) -> MIEstimate:
    (n, d), ks, dtype = x.shape, neighbours.as_ks(k), x.dtype
    (x,), finite = neighbours.repaired(x)
    radii = neighbours.kth_distances(x, ks, engine=engine, block=block)
    zero = neighbours.is_zero(radii)
    constant, starved, scaled = neighbours.cautions(radii[-1], x)
    with jax.enable_x64(True):
        psi = neighbours.digamma(n)
        logs = jnp.where(zero, -jnp.inf, jnp.log(2 * radii.astype(jnp.float64)))
        value = psi[n] - psi[jnp.array(ks)] + d * logs.mean(axis=1)
        diagnostics = {
            "constant": constant[0],
            "deterministic": zero.any(),
            "starved": starved,
            "scaled": scaled,
        }
        return neighbours.reported(value, finite, diagnostics, k, dtype)
