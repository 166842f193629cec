"""Quantised activations (Lorenzen, Igel & Nielsen 2022), whose information is finite and known exactly."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError
from ibjax.estimators.base import LayerInformation, MIEstimate, Span
from ibjax.estimators.binning import Binning
from ibjax.estimators.samples import as_variable, concrete, is_count

LARGEST = 16
"""Bits whose levels float32 tells apart with room to spare."""


def quantise(t: Any, bits: int = 8, low: Any = None, high: Any = None) -> Float[Array, "..."]:
    """Round activations to the nearest of 2^bits equally spaced levels from ``low`` to ``high``, both of them levels.

    With step = (high - low) / (2^bits - 1) the result is low + step * round((t - low) / step), within the two ends.

    A quantised layer is a discrete variable, so its information needs no bins of its own: it is that of the values
    themselves, which `Quantised` measures, exact for any range and number of bits. ``Binning(bins=2**bits,
    range="layer")`` of quantised activations counts the same cells up to 11 bits (beyond, rounding in float32 may merge
    neighbouring levels); of activations that are not quantised it does not, as its bins are equally wide and the
    levels' outermost are half as wide.

    Gradients are zero almost everywhere; to train through it use ``t + jax.lax.stop_gradient(quantise(t) - t)``.

    Args:
        t: activations of one layer, of any shape.
        bits: 1 to 16; 8 is the paper's.
        low: lowest level; None is the smallest value of the layer, as in the paper. To compare networks take 0 for
            ReLU and -1 for tanh.
        high: highest level; None is the largest value.

    Returns:
        The levels, in the precision of ``t`` (float32 if they are integers); NaN where ``t`` is. A layer of one value
        stays as it is.

    Raises:
        InputError: bits that make no sense, an empty range, or no activations.

    Example:
        >>> quantise(jnp.array([0.0, 0.2, 0.9, 3.0]), bits=2).tolist()
        [0.0, 0.0, 1.0, 3.0]

    References:
        Lorenzen, Igel & Nielsen (2022), "Information bottleneck: exact analysis of (quantized) neural networks",
        section 3. Jacob et al. (2018), "Quantization and training of neural networks for efficient
        integer-arithmetic-only inference", equation 12.
    """
    if not is_count(bits) or bits > LARGEST:
        raise InputError(f"bits must be a whole number from 1 to {LARGEST}, got {bits!r}: 8 is usual")
    t = jnp.asarray(t)
    if t.size == 0 or not jnp.issubdtype(t.dtype, jnp.number) or jnp.issubdtype(t.dtype, jnp.complexfloating):
        raise InputError(f"t must be real activations, got {t.dtype} of shape {t.shape}")
    if not jnp.issubdtype(t.dtype, jnp.floating):
        t = t.astype(jnp.result_type(float))
    for name, end in (("low", low), ("high", high)):
        if end is not None and concrete(end) and not (np.ndim(end) == 0 and np.isfinite(end)):
            raise InputError(f"{name} must be a finite number, got {end!r}")
    if low is not None and high is not None and concrete(low) and concrete(high) and not low < high:
        raise InputError(f"the range must have low < high, got {low} to {high}")
    low = t.min() if low is None else jnp.asarray(low, t.dtype)
    high = t.max() if high is None else jnp.asarray(high, t.dtype)
    step = (high - low) / (2**bits - 1)
    level = jnp.round((t - low) / jnp.where(step > 0, step, 1))
    return low + step * jnp.clip(level, 0, 2**bits - 1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantised:
    """The exact information of a quantised layer: I(X;T) = H(T) and I(T;Y) = H(T) - H(T|Y), T = `quantise` of t.

    A quantised layer is a discrete variable, so there is nothing to estimate and no bin to choose, if the network runs
    with these levels. Of a network that was not quantised it is one more binning, its outermost bins half as wide.

    Attributes:
        bits: 1 to 16; 8 is the paper's.
        low: lowest level, None for the smallest activation of the layer.
        high: highest level, None for the largest.

    Raises:
        InputError: from `checked`, a call and `layer`: as `quantise`.

    Example:
        >>> found = Quantised(bits=2).layer(jnp.array([[0.0], [0.2], [0.9], [3.0]]), np.arange(4))
        >>> f"{found.complexity / np.log(2):.4f} bits"
        '1.5000 bits'

    References:
        Lorenzen, Igel & Nielsen (2022), "Information bottleneck: exact analysis of (quantized) neural networks".
    """

    bits: int = dataclasses.field(default=8, metadata={"static": True})
    low: Any = None
    high: Any = None

    @property
    def needs_span(self) -> bool:
        """Whether the range of the whole run is needed: it is not."""
        return False

    def checked(self) -> "Quantised":
        """Return self if its settings make sense, else raise `InputError`."""
        quantise(jnp.zeros(1), self.bits, self.low, self.high)
        return self

    def __str__(self) -> str:
        """Name and convention, as `ibjax.estimators.parse` reads it; ends of the range are for Python only."""
        return f"quantised:bits={self.bits}"

    def __call__(self, x: Any, y: Any, key: Array | None = None) -> MIEstimate:
        """Return I(X;Y) of rows, each variable quantised over its own range unless it is labels; see `Binning`."""

        def levels(name: str, a: Any) -> Array:
            a = as_variable(name, a)
            return quantise(a, self.bits, self.low, self.high) if a.ndim == 2 else a

        return Binning(rule="bits")(levels("x", x), levels("y", y), key)

    def layer(
        self,
        t: Float[Array | np.ndarray, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) and I(T;Y) in nats of activations; see `ibjax.estimators.LayerEstimator`."""
        del span
        t = quantise(t, self.bits, self.low, self.high)
        return Binning(rule="bits").layer(t, labels, classes=classes)
