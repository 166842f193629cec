"""Quantised activations (Lorenzen, Igel & Nielsen 2022), whose information is finite and known exactly."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ibjax.errors import InputError
from ibjax.estimators.samples import concrete, is_count

LARGEST = 16
"""Bits whose levels float32 tells apart with room to spare."""


def quantise(t: Any, bits: int = 8, low: Any = None, high: Any = None) -> Float[Array, "..."]:
    """Round activations to the nearest of 2^bits equally spaced levels from ``low`` to ``high``, both of them levels.

    With step = (high - low) / (2^bits - 1) the result is low + step * round((t - low) / step), within the two ends.

    A quantised layer is a discrete variable, so its information needs no bins of its own: it is that of the values
    themselves, ``Binning(rule="bits").layer(quantise(t), labels)``, I(X;T) = H(T) and I(T;Y) = H(T) - H(T|Y) over the
    inputs, exact for any range and number of bits. ``Binning(bins=2**bits, range="layer")`` of quantised activations
    counts the same cells up to 11 bits (beyond, rounding in float32 may merge neighbouring levels); of activations that
    are not quantised it does not, as its bins are equally wide and the levels' outermost are half as wide.

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
        >>> from ibjax.estimators import Binning
        >>> found = Binning(rule="bits").layer(quantise(jnp.array([[0.0], [0.2], [0.9], [3.0]]), bits=2), np.arange(4))
        >>> f"{found.complexity / np.log(2):.4f} bits"
        '1.5000 bits'

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
