"""Mutual information by counting nearest neighbours (Kraskov, Stoegbauer & Grassberger 2004; Ross 2014; Gao 2017)."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError
from ibjax.estimators import neighbours
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.samples import as_labels, as_samples, concrete, is_discrete, same_length


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KSG:
    """Mutual information of continuous, mixed or labelled samples from distances to nearest neighbours, in nats.

    With d_i the distance of row i to its k-th nearest other row in the maximum norm over all columns of x and y, and
    n_x, n_y the numbers of other rows nearer to it than d_i in x alone and in y alone,

        I(X;Y) = psi(k) + psi(n) - mean[psi(n_x + 1) + psi(n_y + 1)]                    (variant 1)
        I(X;Y) = psi(k) - 1/k + psi(n) - mean[psi(n_x) + psi(n_y)]                      (variant 2)

    where variant 2 counts in x and in y up to the sides of the smallest box about row i that holds its neighbours, the
    sides included. "Nearer" is ``<`` on the distances as they are rounded, which matters: codes that take a small
    number off d_i, or count what is at d_i, are up to 0.1 nat off.

    Duplicates (Gao et al. 2017): where d_i = 0, row i contributes psi(c) + psi(n) - psi(c_x) - psi(c_y) with c, c_x and
    c_y the numbers of rows, itself included, that equal it in all columns, in x and in y. So samples of atoms, or of
    atoms and densities mixed, are measured too, and for continuous samples nothing changes.

    Labels (Ross 2014): integers of shape (n,) are classes, whose difference is not a distance. If y is labels, d_i is
    the distance in x to the k-th row of the same label, or to the last if there are fewer, n_y the number of these
    others; rows whose label occurs once are left out. Counts that are numbers must be given as floats. ``variant``
    plays no part then.

    Nothing is rescaled and no noise is added. The maximum norm compares columns, so give them comparable scales: x and
    y may be scaled separately without changing the true value, and ``diagnostics["scaled"]`` says when they should be.

    There is no ``layer``: a deterministic layer of continuous units has infinite I(X;T), of which this estimator would
    report its ceiling, whatever the network. For the information plane add noise of stated variance (`NoisyKSG`,
    `KernelBounds`) or bins (`Binning`); I(T;Y) alone is ``KSG()(t, labels)``.

    Diagnostics, scalars unless said otherwise:
        ``non_finite``: the value is NaN.
        ``constant``: x or y is constant, the value is 0.
        ``deterministic``: some rows have k copies, or the value is above 3/4 of the ceiling, as it is where Y is a
            function of X; not for labels, whose information is finite.
        ``starved``: for more than half of all rows the k-th neighbour is farther than half the distance, in x or in y,
            to the row n/2 places on. The estimate then looks at half of the sample at once, and is much too low.
        ``scaled``: the scales of two columns, by the mean difference of rows n/2 places apart, differ by more than 100.
        ``ceiling``: the largest value the estimator can take: psi(n) - psi(k), less 1/k for variant 2, the mean of
            psi(n) - psi(n_y + 1) for labels. One for each k.

    Attributes:
        k: number of neighbours, or a tuple of numbers, which cost little more than the largest of them and give the
            value one entry each. 3 has little bias; more have less variance. The bias grows with k where the density
            changes.
        variant: 1 or 2. 1 has less variance, 2 less bias in many dimensions and for strong dependence.
        engine: ``"auto"`` chooses by size: all pairs of rows, in blocks, for up to some thousands of samples, in many
            columns and on accelerators; SciPy's tree on the host for many samples in few columns on a CPU. ``"brute"``
            and ``"tree"`` insist. The numbers are the same.
        block: rows whose neighbours are looked for at once, which bounds the memory to about ``300 * block`` bytes (and
            the rows worked on at once when a batch is mapped on an accelerator, where 65,536 or more keeps it busy).

    When it fails:
        * Strong dependence: the value cannot be above ln n - psi(k); 5 nats need tens of thousands of samples.
        * Many dimensions: biased towards 0 (0.2 for 1.0 nat in 25 + 25 columns at n = 10,000); see ``starved``. Reduce
          them first, or use `GaussianCopula`.
        * Heavy tails: too low as well; transform each column by ranks or asinh, which leaves the true value as it is.

    Raises:
        InputError: from a call, before anything is compiled: settings or samples that make no sense, x and y both
            labels (use `PlugIn`), or no label that occurs twice.

    Example:
        >>> x, e = np.random.default_rng(0).normal(size=(2, 1000))
        >>> found = KSG()(x, 0.75 * x + np.sqrt(1 - 0.75**2) * e)
        >>> bool(abs(found.value - -0.5 * np.log(1 - 0.75**2)) < 0.05)
        True
        >>> found.advice()
        []
        >>> KSG(k=(3, 5, 10))(x, x > 0).value.shape
        (3,)

    References:
        Kraskov, Stoegbauer & Grassberger (2004), equations 8 and 9. Gao, Kannan, Oh & Viswanath (2017), algorithm 1,
        here with psi(n) for ln n, so that it agrees with Kraskov's. Ross (2014), equation 2.
    """

    k: int | tuple[int, ...] = dataclasses.field(default=3, metadata={"static": True})
    variant: int = dataclasses.field(default=1, metadata={"static": True})
    engine: str = dataclasses.field(default="auto", metadata={"static": True})
    block: int = dataclasses.field(default=neighbours.BLOCK, metadata={"static": True})

    def checked(self) -> "KSG":
        """Return self if its settings make sense, else raise `InputError`."""
        neighbours.as_ks(self.k)
        neighbours.check_search(self.engine, self.block)
        if self.variant not in (1, 2) or isinstance(self.variant, bool | float):
            raise InputError(f"variant must be 1 or 2, got {self.variant!r}")
        return self

    def __call__(self, x: Any, y: Any, key: Array | None = None) -> MIEstimate:
        """Return the estimate for n pairs of rows.

        Args:
            x: samples (n, columns) or (n,), or integer labels (n,).
            y: samples, or integer labels if x is not.
            key: not used, nothing is random.

        Returns:
            ``value`` in nats in the precision of the samples, of shape () or (number of ks,); ``std_error`` None.
        """
        del key
        rows = max(neighbours.as_ks(self.checked().k)) + 1
        labels = [is_discrete(a) and np.ndim(a) == 1 for a in (x, y)]
        if all(labels):
            raise InputError("x and y are both integer labels: use PlugIn, or give numbers as floats")
        if any(labels):
            (name, classes), (other, points) = (("x", x), ("y", y)) if labels[0] else (("y", y), ("x", x))
            classes, points = as_labels(name, classes), as_samples(other, points, at_least=rows)
            same_length(**{other: points, name: classes})
            if concrete(classes) and np.unique(np.asarray(classes), return_counts=True)[1].max() == 1:
                raise InputError(f"no label of {name} occurs twice: give {name} as floats if these are numbers")
            return _estimate_labelled(points, classes, self)
        x, y = as_samples("x", x, at_least=rows), as_samples("y", y, at_least=rows)
        same_length(x=x, y=y)
        return _estimate(x, y, self)


@functools.partial(jax.jit, static_argnames="settings")
def _estimate(x: Array, y: Array, settings: KSG) -> MIEstimate:
    return neighbours.lane_by_lane(functools.partial(_kraskov, settings=settings), settings.block)(x, y)


@functools.partial(jax.jit, static_argnames="settings")
def _estimate_labelled(x: Array, labels: Array, settings: KSG) -> MIEstimate:
    return neighbours.lane_by_lane(functools.partial(_ross, settings=settings), settings.block)(x, labels)


def _kraskov(x: Float[Array, "n dx"], y: Float[Array, "n dy"], *, settings: KSG) -> MIEstimate:
    """Kraskov's estimate of two sets of columns; see `KSG`."""
    n, ks, dtype = x.shape[0], neighbours.as_ks(settings.k), jnp.result_type(x, y)
    search = {"engine": settings.engine, "block": settings.block}
    (x, y), finite = neighbours.repaired(x, y)
    joint = jnp.concatenate([x, y], axis=1)
    radii = neighbours.kth_distances(joint, ks, **search)
    if settings.variant == 1:
        limits = [neighbours.limit(radii)] * 2
    else:
        limits = [neighbours.limit(side, closed=True) for side in neighbours.sides((x, y), radii, ks, **search)]
    nx, ny = (neighbours.counts(a, at, block=settings.block) for a, at in zip((x, y), limits, strict=True))
    zero = neighbours.is_zero(radii)
    equal = neighbours.copies_if(zero.any(), joint)
    constant, starved, scaled = neighbours.cautions(radii[-1], x, y)
    with jax.enable_x64(True):
        psi = neighbours.digamma(n)
        k = jnp.array(ks)[:, None]
        # Both counts include row i, which those of the second variant's closed box must not.
        edge = int(settings.variant == 2)
        own = jnp.where(zero, psi[equal], psi[k] - edge / k)
        itself = jnp.where(zero, 0, edge)
        value = (own + psi[n] - psi[nx - itself] - psi[ny - itself]).mean(axis=1)
        ceiling = (psi[n] - psi[k] - edge / k)[:, 0]
        value = jnp.where(constant.any(), 0.0, value)
        diagnostics = {
            "constant": constant.any(),
            "deterministic": ~constant.any() & (zero.any() | (value > 0.75 * ceiling).any()),
            "starved": starved,
            "scaled": scaled,
            "ceiling": ceiling,
        }
        return neighbours.reported(value, finite, diagnostics, settings.k, dtype)


def _ross(x: Float[Array, "n dx"], labels: Integer[Array, " n"], *, settings: KSG) -> MIEstimate:
    """Ross's estimate of columns and labels; see `KSG`."""
    n, ks, dtype = x.shape[0], neighbours.as_ks(settings.k), x.dtype
    (x,), finite = neighbours.repaired(x)
    size = neighbours.copies(labels)
    kept = size > 1
    radii = neighbours.kth_distances(x, ks, labels, engine=settings.engine, block=settings.block)
    inside = neighbours.counts(jnp.where(kept[:, None], x, jnp.inf), neighbours.limit(radii), block=settings.block)
    zero = neighbours.is_zero(radii) & kept
    equal = neighbours.copies_if(zero.any(), x, labels)
    constant, starved, scaled = neighbours.cautions(radii[-1], x)
    constant = constant[0] | (size == n).all()
    with jax.enable_x64(True):
        psi = neighbours.digamma(n)
        total = kept.sum()
        own = jnp.where(zero, psi[equal], psi[jnp.minimum(jnp.array(ks)[:, None], size - 1)])
        ceiling = jnp.where(kept, psi[total] - psi[size], 0.0).sum() / total
        value = jnp.where(kept, own - psi[inside], 0.0).sum(axis=1) / total + ceiling
        diagnostics = {
            "constant": constant,
            "deterministic": jnp.zeros((), bool),
            "starved": starved,
            "scaled": scaled,
            "ceiling": jnp.full_like(value, ceiling),
        }
        return neighbours.reported(jnp.where(constant, 0.0, value), finite, diagnostics, settings.k, dtype)
