"""Binned information with soft edges: differentiable in the samples, so that it can be a loss."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ibjax.errors import InputError, choose
from ibjax.estimators import cells
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.binning import SAMPLES_PER_CELL
from ibjax.estimators.samples import as_variable, concrete, is_count, is_discrete, same_length

RANGES = ("fixed", "neuron")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SoftBinning:
    """Information of two binned columns, or of a binned column and labels, with gradients.

    A value belongs to all bins, to the near ones more. With centres c_k of ``bins`` equal bins over the range, their
    width w and s = ``softness`` w::

        a_ik = softmax_k[ -(x_i - c_k)^2 / (2 s^2) ],   p_kl = (1/n) sum_i a_ik b_il,
        I = sum_kl p_kl ln[ p_kl / (p_k p_l) ].

    Labels are their own bins, b_il = 1 where y_i is l. It is the plug-in information of a noisy bin number K, where the
    noise is the analyst's: K - X - Y - L, so that it is at most I(X;Y) but for the bias of few samples. Soft edges lose
    information: at most ``ceiling`` is left, about ln ``bins`` minus the entropy of a value's memberships. As
    ``softness`` goes to 0 the value tends to that of `ibjax.estimators.Binning` with the same bins and range, and its
    gradient to 0 except near edges: a loss wants 0.25 or more. Bins and softness change the number: state them.

    It has gradients with respect to the samples, ``softness``, ``low`` and ``high``. Those through a column's own range
    are stopped, so that a step moves samples among bins and never the bins: under ``range="neuron"`` the derivative is
    that at a range that stays. A layer of several units has a table that is empty almost everywhere: measure its units
    one by one, or use `ibjax.estimators.KernelBounds` or `ibjax.estimators.MatrixRenyi`.

    Time and memory are n ``bins`` and, for the products, n ``bins``^2 of time; no n x n array.

    Attributes:
        bins: number of bins of each column; 10 resolve a bit or two from a thousand samples.
        softness: s in bin widths; at 0.25 a value at a centre is 99.9 % in its bin, at an edge half in each.
        range: ``"neuron"``, from each column's smallest to its largest value, or ``"fixed"``, from ``low`` to ``high``;
            values outside belong to the first or last bin.
        low: lower end of the fixed range; -1 is tanh's.
        high: upper end of the fixed range.

    Raises:
        InputError: from `checked` and a call: fewer than 2 bins, softness that is not positive, an empty range; samples
            that are no finite numbers or differ in number, several columns, labels on both sides.

    Example:
        A loss that moves x towards what tells y:

        >>> y = jnp.tile(jnp.array([0, 1]), 50)
        >>> x = jnp.linspace(-1, 1, 100) + 0.2 * y
        >>> measure = SoftBinning(bins=5)
        >>> step = jax.grad(lambda x: measure(x, y).value)(x)
        >>> measure(x + 50 * step, y).value > measure(x, y).value
        Array(True, dtype=bool)

    References:
        Ustinova & Lempitsky (2016), "Learning deep embeddings with histogram loss", NeurIPS (soft assignment to bins).
    """

    bins: int = dataclasses.field(default=10, metadata={"static": True})
    softness: Array | float = 0.25
    range: str = dataclasses.field(default="neuron", metadata={"static": True})
    low: Array | float = -1.0
    high: Array | float = 1.0

    def checked(self) -> "SoftBinning":
        """Return self if its settings make sense, else raise `InputError`."""
        choose("binning range", self.range, RANGES)
        if not is_count(self.bins) or self.bins < 2:
            raise InputError(f"bins must be a whole number of 2 or more, got {self.bins!r}: 10 is the default")
        if concrete(self.softness) and not (np.isfinite(self.softness) and self.softness > 0):
            raise InputError(f"softness must be positive, got {self.softness}: use Binning for hard edges")
        known = [float(value) for value in (self.low, self.high) if concrete(value)]
        if not np.isfinite(known).all() or (len(known) == 2 and not self.low < self.high):
            raise InputError(f"the range must have low < high, got {self.low} to {self.high}")
        return self

    def __call__(self, x: Any, y: Any, key: Any = None) -> MIEstimate:
        """Return the information of the softly binned variables.

        Args:
            x: samples of one column, (n,) or (n, 1), or integer labels (n,).
            y: likewise; labels on one side at most.
            key: not used.

        Returns:
            ``value`` in nats, never negative but for rounding, and no standard error. Diagnostics: ``non_finite``, a
            sample is not, or a traced setting makes no sense (NaN); ``constant``, one side is (0); ``undersampled``,
            fewer than 8 samples for every cell that is in use, whose number ``cells`` is e to the joint entropy;
            ``ceiling``, the smaller information between a variable and its own bin number, which no dependence exceeds.
        """
        del key
        self.checked()
        x, y = as_variable("x", x), as_variable("y", y)
        same_length(x=x, y=y)
        if x.ndim == 1 and y.ndim == 1:
            raise InputError("x and y are both labels: use PlugIn, or x.astype(float) if they are numbers")
        for name, a in (("x", x), ("y", y)):
            if a.ndim == 2 and a.shape[1] != 1:
                raise InputError(f"{name} has {a.shape[1]} columns, SoftBinning takes one: use KernelBounds")
        return _estimate(self, x, y)


@jax.jit
def _estimate(estimator: SoftBinning, x: Array, y: Array) -> MIEstimate:
    columns = [a for a in (x, y) if a.ndim == 2]
    dtype = jnp.promote_types(jnp.result_type(*columns), jnp.float32)
    x, y = (a[:, 0].astype(dtype) if a.ndim == 2 else a for a in (x, y))
    sensible = jnp.isfinite(estimator.softness) & (estimator.softness > 0) & (estimator.low < estimator.high)
    finite = jnp.stack([sensible, *(jnp.isfinite(a).all() for a in (x, y))]).all()
    constant = (x == x[0]).all() | (y == y[0]).all()

    if is_discrete(x):
        x, y = y, x  # the information is symmetric
    a = _memberships(estimator, x)
    if is_discrete(y):
        # A row of the table for each of at most n labels.
        table = jax.ops.segment_sum(a, cells.rank(y), num_segments=len(y)) / len(y)
        spread = jnp.zeros((), dtype)
    else:
        b = _memberships(estimator, y)
        table = jnp.matmul(b.T, a, precision="highest") / len(y)
        spread = -_p_log(b, b).sum(axis=1).mean()

    p_y, p_x = table.sum(axis=1), table.sum(axis=0)
    value = (_p_log(table, table) - _p_log(table, p_y[:, None]) - _p_log(table, p_x)).sum()
    # What a variable says of its own bin number: H(K) - H(K|X).
    ceilings = -_p_log(p_x, p_x).sum() + _p_log(a, a).sum(axis=1).mean(), -_p_log(p_y, p_y).sum() - spread
    used = jnp.exp(-_p_log(table, table).sum())
    return MIEstimate(
        jnp.where(finite, jnp.where(constant, 0.0, value), jnp.nan),
        None,
        {
            "non_finite": ~finite,
            "constant": constant,
            "undersampled": len(y) < SAMPLES_PER_CELL * used,
            "cells": used,
            "ceiling": jnp.minimum(*ceilings),
        },
    )


def _memberships(estimator: SoftBinning, x: Float[Array, " n"]) -> Float[Array, "n bins"]:
    """Shares of every value in the bins, which sum to 1."""
    if estimator.range == "fixed":
        low, high = jnp.asarray(estimator.low, x.dtype), jnp.asarray(estimator.high, x.dtype)
    else:
        low, high = jax.lax.stop_gradient((x.min(), x.max()))
    width = jnp.where(high > low, (high - low) / estimator.bins, 1.0)
    centres = jnp.arange(estimator.bins, dtype=x.dtype) - (estimator.bins - 1) / 2
    # In bin widths from the middle of the range, where x -> -x is exact.
    place = (x - (low + high) / 2) / width
    nearest = centres[jnp.clip(jnp.floor(place + estimator.bins / 2), 0, estimator.bins - 1).astype(jnp.int32)]
    # Squared distances less that to the nearest bin, which softmax does not see: no digits are lost far outside.
    beyond, step = (place - nearest)[:, None], centres - nearest[:, None]
    return jax.nn.softmax((beyond * step - step**2 / 2) / jnp.asarray(estimator.softness, x.dtype) ** 2)


def _p_log(p: Array, q: Array) -> Array:
    """``p ln q``, and 0 with derivative 0 where p underflowed."""
    return p * jnp.log(jnp.where(p > 0, q, 1.0))
