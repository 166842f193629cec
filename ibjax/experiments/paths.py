"""Paths of the layers through the plane as plain arrays, and statistics of them over replicas."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Num

from ibjax.plane import Estimate, bootstrap_interval, bounded_mean, surviving
from ibjax.plane.summary import BITS_PER_NAT, measured_bits

LAST = 5
"""Snapshots that the end of a path is the mean of."""


class Paths(NamedTuple):
    """What one estimator measured of the replicas that survived, in bits.

    Attributes:
        epochs: of the snapshots.
        complexity: I(X;T), shape (replicas, layers, snapshots).
        relevance: I(T;Y), same shape.
        source: H(X), the ceiling of I(X;T).
        ceiling: I(X;Y), the ceiling of I(T;Y).
    """

    epochs: Num[np.ndarray, " snapshots"]
    complexity: Float[np.ndarray, "replicas layers snapshots"]
    relevance: Float[np.ndarray, "replicas layers snapshots"]
    source: float
    ceiling: float


def paths_of(run: xr.Dataset, estimator: int | str = 0) -> Paths:
    """The paths of one run, replicas first and snapshots last.

    Args:
        run: labelled arrays of a run.
        estimator: position or convention of what measured them.
    """
    bits = measured_bits(run, estimator)
    order = ("replica", "layer", "snapshot")
    return Paths(
        bits["epoch"].values,
        *(bits[name].transpose(*order).values.astype(np.float64) for name in ("complexity", "relevance")),
        source=float(run.attrs["entropy_x"]) * BITS_PER_NAT,
        ceiling=float(run.attrs["information_xy"]) * BITS_PER_NAT,
    )


def curves_of(run: xr.Dataset, name: str) -> np.ndarray:
    """One variable of the replicas that survived, replicas first and snapshots last.

    Args:
        run: labelled arrays of a run.
        name: such as ``train_loss``, or ``weight_distance`` whose layers stand between.
    """
    values = surviving(run)[name]
    between = [str(dim) for dim in values.dims if dim not in ("replica", "snapshot")]
    return values.transpose("replica", *between, "snapshot").values.astype(np.float64)


def end_of(path: Float[np.ndarray, "*batch snapshots"]) -> Float[np.ndarray, "*batch"]:
    """Mean of the last `LAST` snapshots of a path."""
    return path[..., -LAST:].mean(axis=-1)


def per_replica(statistic: Callable[..., Any], values: Num[np.ndarray, "replicas *rest"]) -> np.ndarray:
    """A statistic of all that a replica has, NaN left out; NaN where it has nothing."""
    flat = values.reshape(len(values), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a row of NaN alone
        return statistic(flat, axis=1)


def mean_over_replicas(values: Num[np.ndarray, " replicas"]) -> Estimate:
    """Mean over replicas with its bootstrap interval; NaN leaves a replica out."""
    return bootstrap_interval(np.mean, values.astype(np.float64))


def share_over_replicas(values: Num[np.ndarray, " replicas"]) -> Estimate:
    """Mean over replicas of shares, as of layers; NaN leaves a replica out, and where all agree none is certain."""
    return bounded_mean(values)


def trend_over_replicas(values: Num[np.ndarray, " replicas"]) -> Estimate:
    """Mean over replicas of correlations, likewise."""
    return bounded_mean(values, -1.0, 1.0)


def median_over_replicas(values: Num[np.ndarray, " replicas"]) -> Estimate:
    """Median over replicas with its bootstrap interval; NaN leaves a replica out."""
    return bootstrap_interval(np.median, values.astype(np.float64), method="percentile", expand=False)
