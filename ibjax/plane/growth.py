"""How the weights move away from their start: growth exponents before and after the transition."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

from ibjax.errors import InputError
from ibjax.plane.paths import log_epochs
from ibjax.plane.resampling import Estimate, bootstrap_interval, check_level

FEWEST = 4
"""Snapshots that a slope is taken from."""


class GrowthExponents(NamedTuple):
    """Slopes of log distance against log epoch; arrays of shape (replicas, *layers).

    Attributes:
        before: slope up to the transition; NaN where there is none, or too few snapshots.
        after: slope from the transition on.
        before_interval: mean over replicas and its bootstrap interval, each of shape (*layers).
        after_interval: likewise.
    """

    before: Float[np.ndarray, "replicas *layers"]
    after: Float[np.ndarray, "replicas *layers"]
    before_interval: Estimate
    after_interval: Estimate


def growth_exponents(
    epochs: Num[np.ndarray, " snapshots"],
    distance: Float[np.ndarray, "replicas *layers snapshots"],
    transition: Float[np.ndarray, "replicas *layers"],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> GrowthExponents:
    """Fit distance = c epoch^exponent before and after each replica's own transition.

    Least squares in logarithms. Drift, a steady direction, has exponent 1; diffusion, a random walk, has 1/2; a
    walk that is held back, as near a minimum, has less. The distance is from the start of training: after a long
    drift, a walk has to go as far again before its own exponent shows, and the slope seen just after the transition
    is lower than 1/2. A distance from the transition itself has no such past.

    Args:
        epochs: of the snapshots. Epoch 0 and snapshots at distance 0 have no logarithm and are left out.
        distance: norm of the weights minus the initial ones, replicas first and snapshots last.
        transition: epoch of each replica and layer's transition, such as ``Phases.peak``; NaN leaves it out.
        level: confidence of the intervals.
        seed: of the bootstrap.

    Returns:
        The exponents; NaN where fewer than 4 snapshots lie on a side, or a distance is not finite.

    Raises:
        InputError: arrays that do not fit, or a negative distance.

    Example:
        >>> epochs = np.arange(1001)
        >>> distance = np.where(epochs < 100, epochs, np.sqrt(100.0 * epochs))
        >>> found = growth_exponents(epochs, distance[None], np.array([100.0]))
        >>> f"{found.before[0]:.2f} {found.after[0]:.2f}"
        '1.00 0.50'

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information", for
        drift and diffusion. Hoffer et al. (2017), "Train longer,
        generalize better", for the growth of the distance from the start.
    """
    check_level(level)
    log_epochs(epochs, distance)
    if transition.shape != distance.shape[:-1]:
        raise InputError(
            f"transition of shape {transition.shape} must have one epoch for each of {distance.shape[:-1]}"
        )
    if (distance < 0).any():
        raise InputError(f"distance must not be negative, and is at index {np.argwhere(distance < 0)[0].tolist()}")
    before, after = np.full(transition.shape, np.nan), np.full(transition.shape, np.nan)
    for place in np.ndindex(*transition.shape):
        path, change = distance[place].astype(np.float64), transition[place]
        if np.isnan(change) or not np.isfinite(path).all():
            continue
        usable = (epochs > 0) & (path > 0)
        before[place] = _exponent(epochs, path, usable & (epochs <= change))
        after[place] = _exponent(epochs, path, usable & (epochs >= change))

    def interval(slopes: np.ndarray) -> Estimate:
        layers = slopes.shape[1:]
        found = [
            bootstrap_interval(np.mean, slopes[:, *layer], level=level, seed=seed) for layer in np.ndindex(*layers)
        ]
        return Estimate(*(np.reshape(values, layers) for values in zip(*found, strict=True)))

    return GrowthExponents(before, after, interval(before), interval(after))


def _exponent(epochs: np.ndarray, path: np.ndarray, where: np.ndarray) -> float:
    """Slope of log path against log epoch."""
    if where.sum() < FEWEST:
        return np.nan
    return float(np.polyfit(np.log(epochs[where]), np.log(path[where]), 1)[0])
