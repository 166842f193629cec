"""Conditional mutual information by counting nearest neighbours (Frenzel & Pompe 2007)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.estimators import neighbours
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.samples import as_columns, same_length


def conditional_mutual_information(
    x: Any,
    y: Any,
    z: Any,
    k: int | tuple[int, ...] = 3,
    *,
    engine: str = "auto",
    block: int = neighbours.BLOCK,
) -> MIEstimate:
    """Estimate what x and y say about each other that z does not, from distances to nearest neighbours, in nats.

    With d_i the distance of row i to its k-th nearest other row in the maximum norm over all columns of x, y and z, and
    n_xz, n_yz, n_z the numbers of other rows nearer to it than d_i in those columns alone,

        I(X;Y|Z) = psi(k) - mean[psi(n_xz + 1) + psi(n_yz + 1) - psi(n_z + 1)]

    "Nearer" is ``<``. Where d_i = 0, row i contributes psi(c) - psi(c_xz) - psi(c_yz) + psi(c_z), where the c are the
    numbers of rows, itself included, that equal it in all columns and in those. Nothing is rescaled.

    Diagnostics, scalars unless said otherwise: ``non_finite``: the value is NaN. ``constant``: x or y is constant, the
    value is 0 (a constant z is no condition). ``deterministic``: some rows have k copies, or the ``ceiling``, the mean
    of psi(n_z + 1) - psi(k), one for each k, is above 1 nat and the value above 3/4 of it. ``starved``, ``scaled``: as
    of `KSG`, over x, y and z.

    Args:
        x: samples (n, columns) or (n,).
        y: samples.
        z: samples of the condition.
        k: number of neighbours, or a tuple of numbers, which cost little more than the largest of them.
        engine: as of `KSG`.
        block: as of `KSG`.

    Returns:
        ``value`` in nats in the precision of the samples, of shape () or (number of ks,); ``std_error`` None.

    When it fails:
        The bias towards 0 grows with the columns of z faster than that of `KSG`: all three are in one search, and few
        rows remain near in z. Reduce z to few columns first.

    Raises:
        InputError: before anything is compiled: settings or samples that make no sense, or integers of shape (n,),
            which elsewhere are labels: give numbers as floats, and for a labelled condition average `KSG` over its
            classes.

    Example:
        >>> z, e, f = jax.random.normal(jax.random.key(0), (3, 1000))
        >>> found = conditional_mutual_information(z + e, z + f, z)
        >>> abs(float(found.value)) < 0.05
        True

    References:
        Frenzel & Pompe (2007). Mesner & Shalizi (2020), algorithm 1, for duplicates.
    """
    rows = max(neighbours.as_ks(k)) + 1
    neighbours.check_search(engine, block)
    arrays = {name: as_columns(name, a, at_least=rows) for name, a in {"x": x, "y": y, "z": z}.items()}
    same_length(**arrays)
    return _estimate(*arrays.values(), k=k, engine=engine, block=block)


@functools.partial(jax.jit, static_argnames=("k", "engine", "block"))
def _estimate(x: Array, y: Array, z: Array, *, k: int | tuple[int, ...], engine: str, block: int) -> MIEstimate:
    estimate = functools.partial(_frenzel_pompe, k=k, engine=engine, block=block)
    return neighbours.lane_by_lane(estimate, block)(x, y, z)


def _frenzel_pompe(
    x: Float[Array, "n dx"],
    y: Float[Array, "n dy"],
    z: Float[Array, "n dz"],
    *,
    k: int | tuple[int, ...],
    engine: str,
    block: int,
) -> MIEstimate:
    ks, dtype = neighbours.as_ks(k), jnp.result_type(x, y, z)
    (x, y, z), finite = neighbours.repaired(x, y, z)
    joint, xz, yz = (jnp.concatenate(parts, axis=1) for parts in ((x, y, z), (x, z), (y, z)))
    radii = neighbours.kth_distances(joint, ks, engine=engine, block=block)
    nxz, nyz, nz = (neighbours.counts(a, neighbours.limit(radii), block=block) for a in (xz, yz, z))
    zero = neighbours.is_zero(radii)
    equal = neighbours.copies_if(zero.any(), joint)
    constant, starved, scaled = neighbours.cautions(radii[-1], x, y, z)
    constant = constant[:2].any()
    with jax.enable_x64(True):
        psi = neighbours.digamma(len(x))
        of_k = psi[jnp.array(ks)][:, None]
        value = (jnp.where(zero, psi[equal], of_k) - psi[nxz] - psi[nyz] + psi[nz]).mean(axis=1)
        ceiling = (psi[nz] - of_k).mean(axis=1)
        value = jnp.where(constant, 0.0, value)
        diagnostics = {
            "constant": constant,
            "deterministic": ~constant & (zero.any() | ((value > 0.75 * ceiling) & (ceiling > 1)).any()),
            "starved": starved,
            "scaled": scaled,
            "ceiling": ceiling,
        }
        return neighbours.reported(value, finite, diagnostics, k, dtype)
