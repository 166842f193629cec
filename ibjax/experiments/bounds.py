"""What learning theory says of a layer: errors that its information forces, and those that it rules out."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import entr

DELTA = 0.05
"""Probability that a bound may fail with."""


def least_error(entropy_y_given_t: Any) -> Any:
    """Error that no decoder of T falls below, for two labels: the p <= 1/2 of binary entropy H(Y|T).

    Args:
        entropy_y_given_t: H(Y|T) = H(Y) - I(T;Y), nats, any shape; below 0 counts as 0, above ln 2 as that.

    Returns:
        Probabilities of the same shape, NaN where the entropy is.

    Example:
        >>> f"{least_error(0.325083):.4f}"
        '0.1000'

    References:
        Fano (1961), "Transmission of information"; with two labels it is the inverse of the binary entropy.
    """

    def invert(h: float) -> float:
        if math.isnan(h) or h <= 0:
            return h if math.isnan(h) else 0.0
        if h >= math.log(2):
            return 0.5
        root: Any = brentq(lambda p: entr(p) + entr(1 - p) - h, 0.0, 0.5)
        return float(root)

    return np.vectorize(invert, otypes=[float])(entropy_y_given_t)


def gap_bound(complexity: Any, samples: int, *, delta: float = DELTA) -> Any:
    """Bound of |error - training error| with a decoder of T: sqrt((K ln 2 + ln(2 / delta)) / (2 m)), K = exp I(X;T).

    Hoeffding's inequality over the 2^K decoders of K cells, both signs of the difference. That exp I(X;T) cells matter
    is the asymptotic equipartition that the sources argue with, and that T does not depend on the sample is assumed:
    with all cells of a T that is fixed beforehand the bound is a theorem, here it is what is tested. The constants are
    Hoeffding's: where the argument is written as error^2 < (2^I(X;T) + log(1 / delta)) / (2 m), the logarithm of 2 that
    turns 2^K decoders into nats is dropped, and one sign is counted.

    Args:
        complexity: I(X;T), nats, any shape.
        samples: m.
        delta: probability that it may fail with.

    Example:
        >>> f"{gap_bound(0.0, 3277):.3f} {gap_bound(5 * np.log(2), 3277):.3f}"
        '0.026 0.063'

    References:
        Shamir, Sabato & Tishby (2010), "Learning and generalization with the information bottleneck".
        Tishby & Zaslavsky (2015), "Deep learning and the information bottleneck principle", for K = 2^I(X;T).
    """
    return np.sqrt((np.exp(complexity) * math.log(2) + math.log(2 / delta)) / (2 * samples))


def finite_sample_bound(encoder: Float[np.ndarray, "n cells"], entropies: Float[np.ndarray, " labels"], samples: int):
    """Bound of |I(T;Y) - that of the sample's empirical table|, for all encoders at once, nats.

        2 sum_t f(a ||p(t|.) - b_t|| / sqrt(m)) + a ||H(T|.) - c|| / sqrt(m),   a = 2 + sqrt(2 ln((|Y| + 2) / delta)),

    f(z) = -z ln z up to 1/e and 1/e beyond, norms over inputs and over labels, b_t and c the means, which make the
    norms smallest. It holds for encoders that were learnt from the sample too.

    The printed theorem has sqrt(C ln(|Y| / delta)), "C a small constant", in place of a. This is the explicit form, as
    in its proof and in Tishby's slides of it: a / sqrt(m) bounds the Euclidean distance of a sample's frequencies from
    the probabilities, for |Y| + 2 distributions at once: p(x), p(y) and every p(x|y). It is generous. The distance is
    below (1 + sqrt(ln((|Y| + 2) / delta))) / sqrt(m) by McDiarmid's inequality, so that a leaves room for a factor of
    sqrt(2), which the p(x|y) need that are estimated from the samples of one of two labels only.

    Args:
        encoder: p(t|x).
        entropies: empirical H(T|y) of every label, nats.
        samples: m.

    Example:
        >>> f"{finite_sample_bound(np.eye(2), np.zeros(2), 10**6):.3f}"
        '0.079'

    References:
        Shamir, Sabato & Tishby (2010), "Learning and generalization with the information bottleneck", the theorem on
        all encoders at once.
    """
    a = 2 + math.sqrt(2 * math.log((len(entropies) + 2) / DELTA))
    z = a * np.sqrt(((encoder - encoder.mean(axis=0)) ** 2).sum(axis=0) / samples)
    f = np.where(z < 1 / math.e, entr(np.minimum(z, 1 / math.e)), 1 / math.e)
    return float(2 * f.sum() + a * np.linalg.norm(entropies - entropies.mean()) / math.sqrt(samples))
