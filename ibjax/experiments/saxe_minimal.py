"""The smallest network that compresses: one normal input, one weight, one unit, binned."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from ibjax.errors import InputError, choose
from ibjax.experiments.experiment import Experiment
from ibjax.information import entropy
from ibjax.networks import ACTIVATIONS
from ibjax.plane import Claim, Estimate, greater_than, less_than, within
from ibjax.plane.summary import BITS_PER_NAT

LIMITS = {"tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
"""Ranges of the activations that have one."""
TURN = {"swish": -1.2784645427610738}
"""Where an activation that first falls begins to rise; the others never fall."""
SPREAD = 3.0
"""Standard deviations of the net input, at the largest weight, that the bins of an unbounded activation span."""
NEVER_FALL = ("relu", "linear", "softplus", "leaky_relu", "elu", "swish")
FALL, ONE_BIT = 0.1, 0.2
"""Margins: bits that count as a fall, bits from 1 bit."""
_FAR = 1e6


@dataclasses.dataclass(frozen=True)
class SaxeMinimal:
    """X ~ N(0, 1), h = f(w X), T = the bin of h: I(X;T) = H(T) exactly, for every activation f and weight w.

    The bins are equal and closed below. They span the activation's range where it has one ([-1, 1] of tanh and
    softsign, [0, 1] of the sigmoid), else from f(-3 w) to f(3 w) at the largest weight w, as bins over all that is
    seen in training do; values beyond fall in the first or last bin.

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 2 and figure 2.
    """

    activations: tuple[str, ...] = tuple(ACTIVATIONS)
    """Names of the activations."""
    bins: int = 30
    """Number of bins."""
    largest_weight: float = 100.0
    """Weights go from 0.01 to this, log-spaced."""
    weights: int = 200
    """How many weights."""

    def __post_init__(self):
        """Check the settings."""
        for name in self.activations:
            choose("activation", name, ACTIVATIONS)
        if self.bins < 2:
            raise InputError(f"bins must be 2 or more, got {self.bins}")
        if not (0.01 < self.largest_weight < math.inf) or self.weights < 2:
            raise InputError("largest_weight must be above 0.01 and finite, and weights 2 or more")


PRESETS = {"paper": SaxeMinimal(), "quick": SaxeMinimal(weights=60)}
"""Named settings; the first is the default."""


def binned_information(
    activation: str, weights: Float[np.ndarray, " weights"], edges: Float[np.ndarray, " edges"]
) -> Float[np.ndarray, " weights"]:
    """I(X;T) in nats of T = the bin of f(w X), X ~ N(0, 1).

    P(f(w X) < e) is the normal probability of the set where f(z) < e, an interval of z = w X: up to a point where f
    never falls, and between two points where it has a minimum.

    Args:
        activation: name of f.
        weights: w, positive.
        edges: of the bins, increasing; the first bin takes all below, the last all above.
    """
    inner = edges[1:-1]
    turn = TURN.get(activation, -_FAR)
    upper = _solve(activation, inner, turn, _FAR)
    below = scipy.special.ndtr(upper / weights[:, None])
    if activation in TURN:
        # On the falling side f(z) < e above the point where it crosses e; nothing where e is below the minimum.
        lower = np.minimum(_solve(activation, inner, turn, -_FAR), upper)
        below -= scipy.special.ndtr(lower / weights[:, None])
        below = np.where(upper > turn, below, 0.0)
    cumulative = np.concatenate([np.zeros((len(weights), 1)), below, np.ones((len(weights), 1))], axis=1)
    return np.asarray(entropy(np.diff(cumulative, axis=1).clip(0.0)))


def _solve(activation: str, values: np.ndarray, start: float, end: float) -> np.ndarray:
    """The end of the part, from ``start`` on towards ``end``, where f(z) < value; ``start`` where there is none."""
    with jax.enable_x64(True):
        f = jax.jit(ACTIVATIONS[activation])
        inside, outside = np.full(values.shape, start), np.full(values.shape, end)
        for _ in range(120):
            middle = (inside + outside) / 2
            less = np.asarray(f(middle)) < values
            inside, outside = np.where(less, middle, inside), np.where(less, outside, middle)
    return inside


def compute(config: SaxeMinimal, progress: bool) -> xr.Dataset:
    """I(X;T) of every activation and weight."""
    weights = np.geomspace(0.01, config.largest_weight, config.weights)
    edges = {name: _edges(name, config) for name in config.activations}
    found = [binned_information(name, weights, edges[name]) for name in config.activations]
    about = {"units": "nats", "long_name": "I(X;T)"}
    return xr.Dataset(
        {
            "complexity": (("activation", "weight"), np.stack(found), about),
            "edge": (("activation", "border"), np.stack(list(edges.values())), {"long_name": "borders of the bins"}),
        },
        {"activation": list(config.activations), "weight": weights},
        {"title": f"one normal input, one weight, one unit, {config.bins} bins"},
    )


def _edges(activation: str, config: SaxeMinimal) -> np.ndarray:
    reach = SPREAD * config.largest_weight
    with jax.enable_x64(True):
        low, high = LIMITS.get(activation) or np.asarray(ACTIVATIONS[activation](jnp.asarray([-reach, reach])))
    return np.linspace(low, high, config.bins + 1)


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge whether information falls as the weight grows; exact numbers, so that intervals have no width.

    * *tanh, softsign, sigmoid*: I(X;T) falls from its peak to the largest weight by more than 0.1 bit, and tanh ends
      within 0.2 bit of 1 bit: the sign of X.
    * *relu, linear, softplus and the others without two bounds*: it falls by less than 0.1 bit.
    """
    bits = found["complexity"] * BITS_PER_NAT
    fall = bits.max("weight") - bits.isel(weight=-1)
    result = []
    for name in found["activation"].values.tolist():
        value = float(fall.sel(activation=name))
        rule = less_than(FALL) if name in NEVER_FALL else greater_than(FALL)
        statement = f"{name} {'does not compress' if name in NEVER_FALL else 'compresses'} as the weight grows"
        statistic = "fall of I(X;T) from its peak to the largest weight, bits"
        result.append(Claim(name, statement, statistic, Estimate(value, value, value), rule))
    if "tanh" in found["activation"].values:
        end = float(bits.sel(activation="tanh").isel(weight=-1))
        statement = "a saturated tanh keeps the sign of X"
        rule = within(ONE_BIT, 1.0)
        result.append(Claim("one-bit", statement, "I(X;T) at the largest weight, bits", Estimate(end, end, end), rule))
    return result


def figure(found: xr.Dataset) -> Figure:
    """Draw I(X;T) against the weight for every activation."""
    from ibjax.plotting import weight_figure

    return weight_figure(found)


EXPERIMENT = Experiment(
    "one input, one weight, one unit: exact I(X;T) of the binned unit against the weight (Saxe et al. 2018)",
    PRESETS,
    claims,
    figure,
    compute=compute,
)
