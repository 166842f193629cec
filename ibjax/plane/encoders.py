"""A layer's encoder p(t|x): its bins, hard or with the analyst's noise."""

import math

import numpy as np
from jaxtyping import Float, Num

from ibjax.errors import InputError


def binned_encoder(
    activations: Num[np.ndarray, "n units"],
    *,
    bins: int = 30,
    low: float = -1.0,
    high: float = 1.0,
    softness: float = 0.0,
) -> Float[np.ndarray, "n cells"]:
    """Return p(t|x) of a layer whose units are binned, T the cells that occur.

    A deterministic layer has H(T|X) = 0: its encoder is one 1 a row. With softness, cells of bin centres c_t and bins
    of width w have memberships

        p(t|x) = softmax_t[ -||h(x) - c_t||^2 / (2 (softness w)^2) ],

    about what Gaussian noise of ``softness`` bins on every unit does, as `ibjax.estimators.SoftBinning` has it of one
    column. Noise is the analyst's choice and changes every number that is made of p(t|x): state it.

    Args:
        activations: h(x), one row an input.
        bins: equal bins of each unit from ``low`` to ``high``; what is outside is in the first or last.
        low: lower end; -1 is tanh's.
        high: upper end.
        softness: standard deviation in bin widths; 0 for hard bins.

    Returns:
        The encoder, rows that sum to 1, cells in the lexicographic order of their bins.

    Raises:
        InputError: settings that make no sense, or activations that are not finite.

    Example:
        >>> binned_encoder(np.array([[-0.9], [-0.8], [0.9]]), bins=2)
        array([[1., 0.],
               [1., 0.],
               [0., 1.]])

    References:
        Shwartz-Ziv & Tishby (2017), section 3.2, for the bins. Ustinova & Lempitsky (2016), for soft ones.
    """
    if bins < 2:
        raise InputError(f"bins must be 2 or more, got {bins}")
    if not low < high or not math.isfinite(high - low):
        raise InputError(f"the range must have low < high, got {low} to {high}")
    if not (softness >= 0 and math.isfinite(softness)):
        raise InputError(f"softness must be at least 0 and finite, in bin widths, got {softness}")
    h = np.asarray(activations, np.float64)
    if not np.isfinite(h).all():
        raise InputError(f"activation {np.argwhere(~np.isfinite(h))[0].tolist()} is not finite: leave the network out")
    width = (high - low) / bins
    index = np.clip(np.floor((h - low) / width), 0, bins - 1).astype(np.int64)
    cells, of = np.unique(index, axis=0, return_inverse=True)
    of = of.reshape(-1)
    if softness == 0:
        p = np.zeros((len(h), len(cells)))
        p[np.arange(len(h)), of] = 1.0
        return p
    # The noise of a value outside the range is that of a value at its end.
    inside, centres = np.clip(h, low, high), low + (cells + 0.5) * width
    scale = 1 / (math.sqrt(2) * softness * width)
    a, b = inside * scale, centres * scale
    p = 2 * a @ b.T - (b**2).sum(axis=1)  # less ||a||^2, which no softmax sees
    p -= p.max(axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    return p
