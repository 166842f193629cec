"""Binned information of a deterministic layer: exact, once the bins are stated."""

import dataclasses
import functools
import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError, choose
from ibjax.estimators import cells
from ibjax.estimators.base import LayerInformation, MIEstimate, Span
from ibjax.estimators.samples import as_given, as_layer_labels, concrete, is_count, is_discrete, same_length

RULES = ("uniform", "width", "quantile", "bits", "idnns", "net-input")
RANGES = ("fixed", "neuron", "layer", "run")
SAMPLES_PER_CELL = 8
"""Samples that each occupied cell of the plug-in's joint table calls for: below it is off by 0.1 nat or more."""
REACH = 50.0
"""Net inputs that the bins of ``"net-input"`` reach to on either side, as in Saxe et al."""


@typing.no_type_check  # transformations rebuild a pytree with leaves that are no arrays
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Binning:
    """Information of the binned layer: I(X;T) = H(bin(T)) and I(T;Y) = H(bin(T)) - H(bin(T) | Y), in nats.

    A deterministic layer of continuous units has infinite or constant I(X;T); what is reported here is that
    of its bins, so the number means nothing without the rule. It is at most ln n for n inputs.

    Rules:
        ``"uniform"``: ``bins`` equal bins, each closed below, over the ``range``. The last is closed on both
            sides, so that a unit saturated at the top shares a bin with its neighbours; values outside a
            fixed range fall in the first or last bin.
        ``"width"``: floor(t / width) without bounds, for units that have none (ReLU).
        ``"quantile"``: each unit's own quantiles, about equally many inputs a bin; equal values share a bin.
        ``"bits"``: the exact bit pattern of the float; 0.0, -0.0 and what XLA flushes to 0 are one value.
        ``"idnns"``: the original code's: ``bins`` *edges* from -1 to 1 and ``numpy.digitize``, hence bins - 1
            bins and one more symbol for exactly 1 (a tanh saturated in float32) that values above 1 and below
            -1 share. Saturated units thereby get a symbol at the top and none at the bottom, which adds up to
            0.3 bit at the output.
        ``"net-input"``: for tanh, ``bins`` equal bins of the net input artanh(t) from -50 to 50, which are edges
            tanh(-50), ..., tanh(50) of t: saturation takes no bins away. What a float cannot tell from -1 or 1, in
            single precision net inputs beyond 9, falls in the first or last bin, as do values outside [-1, 1].

    Ranges of ``"uniform"``:
        ``"fixed"``: from ``low`` to ``high``. ``"neuron"``, ``"layer"``: smallest to largest value over the
            inputs, of each unit or of the layer, at the moment of measurement. ``"run"``: of the layer over
            all snapshots of its run, which is known only afterwards: the snapshots' parameters are kept and
            measured at the end. A range of zero width is one bin.

    A row of bin indices is packed in one 63-bit key: exactly while it fits (twelve units of 30 bins), else by
    a hash that confuses any two of 4096 rows with probability 2e-12; see `ibjax.estimators.cells.pack`.

    Attributes:
        bins: number of bins (of edges for ``"idnns"``); 30 is the studies' choice.
        rule: one of the rules above.
        range: one of the ranges above.
        low: lower end of the fixed range; -1 is tanh's.
        high: upper end of the fixed range.
        width: bin width of ``"width"``; 0.07 is that of Saxe et al.

    Raises:
        InputError: from `checked`, which `layer` calls: an unknown rule or range, fewer than 2 bins, an empty range
            or a width that is not positive.

    Example:
        >>> t = jnp.array([[-0.9], [-0.8], [0.1], [0.9]])
        >>> found = Binning(bins=2).layer(t, jnp.array([0, 0, 1, 1]))
        >>> [f"{v / np.log(2):.6f}" for v in found]
        ['1.000000', '1.000000']

    References:
        Shwartz-Ziv & Tishby (2017), section 3.2; Saxe et al. (2018), section 2 and appendix B.
    """

    bins: int = dataclasses.field(default=30, metadata={"static": True})
    rule: str = dataclasses.field(default="uniform", metadata={"static": True})
    range: str = dataclasses.field(default="fixed", metadata={"static": True})
    low: Array | float = -1.0
    high: Array | float = 1.0
    width: Array | float = 0.07

    @property
    def needs_span(self) -> bool:
        """Whether the range of the whole run is needed."""
        return self.rule == "uniform" and self.range == "run"

    def checked(self) -> "Binning":
        """Return self if its settings make sense, else raise `InputError`."""
        choose("binning rule", self.rule, RULES)
        choose("binning range", self.range, RANGES)
        if not is_count(self.bins) or self.bins < 2:
            raise InputError(f"bins must be a whole number of 2 or more, got {self.bins!r}: 30 is the studies' choice")
        known = [float(value) for value in (self.low, self.high) if concrete(value)]
        if not np.isfinite(known).all() or (len(known) == 2 and not self.low < self.high):
            raise InputError(f"the range must have low < high, got {self.low} to {self.high}")
        if concrete(self.width) and not (np.isfinite(self.width) and self.width > 0):
            raise InputError(f"width must be positive, got {self.width}: 0.07 is Saxe et al.'s")
        return self

    def __str__(self) -> str:
        """Name and convention, as `ibjax.estimators.parse` reads it."""
        match self.rule, self.range:
            case "uniform", "fixed":
                return f"binning:bins={self.bins},low={_plain(self.low)},high={_plain(self.high)}"
            case "uniform", over:
                return f"binning:bins={self.bins},range={over}"
            case "width", _:
                return f"binning:rule=width,width={_plain(self.width)}"
            case "bits", _:
                return "binning:rule=bits"
            case rule, _:
                return f"binning:bins={self.bins},rule={rule}"

    def __call__(self, x: Any, y: Any, key: Any = None) -> MIEstimate:
        """Return the information of the binned variables, I(bin(X); bin(Y)), of the table of their counts.

        It is at most I(X;Y) in the limit of many samples, and biased upwards by about ``bias`` where they are few:
        `ibjax.estimators.PlugIn` has corrections.

        Args:
            x: samples (n, dx) or (n,), whose columns are binned; integers and truth values of either shape are cells of
                their own.
            y: likewise.
            key: not used.

        Returns:
            ``value`` in nats, never negative but for rounding, and no standard error. Diagnostics: ``non_finite``;
            ``constant``, all samples of x or of y are in one cell; ``undersampled``, fewer than 8 samples for an
            occupied pair of cells; the number ``cells`` of these; the upward ``bias`` in nats by Miller (1955); under a
            fixed range the share ``outside`` of values that it does not cover, and ``clipped`` if that is over a
            hundredth.

        Raises:
            InputError: settings or samples that make no sense; a range of the whole run, which samples do not have.
        """
        del key
        if self.checked().needs_span:
            raise InputError("range='run' is for layers: use range='neuron' for samples")
        x, y = as_given("x", x), as_given("y", y)
        same_length(x=x, y=y)
        return _estimate(self, x, y)

    def layer(
        self,
        t: Float[Array, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) and I(T;Y) in nats of activations ``t``; see `ibjax.estimators.LayerEstimator`."""
        self.checked()
        if self.needs_span and span is None:
            raise InputError("range='run' needs the span of the whole run: keep the parameters and measure afterwards")
        with jax.enable_x64(True):
            indices, sizes = self._indices(t, span)
            found = cells.information(indices, as_layer_labels(labels), sizes=sizes, classes=classes)
            finite = jnp.isfinite(t).all()
            return LayerInformation(*(jnp.where(finite, v, jnp.nan).astype(t.dtype) for v in found))

    def _indices(self, t: Array, span: Span | None) -> tuple[Array, int | None]:
        """Bin index of every activation, and the number of different indices where it is bounded."""
        match self.rule:
            case "width":
                return jnp.floor(t / jnp.asarray(self.width, t.dtype)).astype(jnp.int64), None
            case "bits":
                return cells.ordered_bits(t), None
            case "idnns":
                edges = jnp.linspace(-1.0, 1.0, self.bins, dtype=t.dtype)
                index = jnp.searchsorted(edges, t, side="right", method="compare_all").astype(jnp.int32) - 1
                return jnp.where(index < 0, self.bins - 1, index), self.bins
            case "net-input":
                low, high = (jnp.asarray(end, t.dtype) for end in (-REACH, REACH))
                return _uniform(jnp.arctanh(jnp.clip(t, -1, 1)), self.bins, low, high), self.bins
            case "quantile":
                n = t.shape[0]
                ranks = -(-np.arange(1, self.bins) * n // self.bins) - 1
                keys = cells.ordered_bits(t)
                edges = jnp.sort(keys, axis=0)[np.maximum(ranks, 0)]
                count = functools.partial(jnp.searchsorted, method="compare_all")
                return jax.vmap(count, in_axes=1, out_axes=1)(edges, keys).astype(jnp.int32), self.bins
        return _uniform(t, self.bins, *self._ends(t, span)), self.bins

    def _ends(self, t: Array, span: Span | None) -> tuple[Array, Array]:
        match self.range:
            case "neuron":
                return t.min(axis=0), t.max(axis=0)
            case "layer":
                return t.min(), t.max()
            case "run" if span is not None:
                return jnp.asarray(span[0]), jnp.asarray(span[1])
        return jnp.asarray(self.low, t.dtype), jnp.asarray(self.high, t.dtype)


@jax.jit
def _estimate(estimator: Binning, x: Array, y: Array) -> MIEstimate:
    n = x.shape[0]
    x, y = (a if a.ndim == 2 else a[:, None] for a in (x, y))
    columns = [a for a in (x, y) if not is_discrete(a)]
    dtype = jnp.result_type(*columns) if columns else jnp.result_type(float)
    with jax.enable_x64(True):
        (x_cells, x_size), (y_cells, y_size) = (_cells(estimator, a) for a in (x, y))
        found = cells.table(x_cells, x_size, y_cells, y_size)
        finite = jnp.array([jnp.isfinite(a).all() for a in columns]).all()
        constant = (found.occupied_x == 1) | (found.occupied_y == 1)
        value = jnp.where(finite, jnp.where(constant, 0.0, found.information), jnp.nan)
        diagnostics = {
            "non_finite": ~finite,
            "constant": constant,
            "undersampled": n < SAMPLES_PER_CELL * found.occupied,
            "cells": found.occupied.astype(jnp.int32),
            "bias": ((found.occupied - found.occupied_x - found.occupied_y + 1.0) / (2 * n)).astype(dtype),
        }
        if estimator.rule == "uniform" and estimator.range == "fixed" and columns:
            inside = [((a >= estimator.low) & (a <= estimator.high)).mean() for a in columns]
            outside = 1 - jnp.stack(inside).min()
            diagnostics |= {"outside": outside.astype(dtype), "clipped": outside > 0.01}
        return MIEstimate(value.astype(dtype), None, diagnostics)


def _cells(estimator: Binning, a: Array) -> tuple[Array, int | None]:
    """Cell of every value, and the number of different cells where it is bounded."""
    if not is_discrete(a):
        return estimator._indices(a, None)
    return (a.astype(jnp.int32), 2) if a.dtype == bool else (a, None)


def _plain(number: Array | float) -> str:
    """All digits of a number, and no more than it takes to read it back."""
    return repr(float(number)).removesuffix(".0")


def _uniform(t: Array, bins: int, low: Array, high: Array) -> Array:
    width = jnp.where(high > low, high - low, jnp.ones_like(high))
    return jnp.clip(jnp.floor((t - low) / width * bins), 0, bins - 1).astype(jnp.int32)
