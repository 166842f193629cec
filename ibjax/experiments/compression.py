"""How much of I(X;T) the hidden layers of a run lose after its peak, and what else is asked of that fall."""

import json
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Num

from ibjax.experiments.experiment import runs_of
from ibjax.experiments.paths import LAST, end_of, paths_of
from ibjax.plane import PhaseStatus, phases
from ibjax.plane.resampling import spearman

FITTED = "binning:bins=30,range=run"
"""30 bins over all that a layer shows in its run, whatever its activation."""


class Falls(NamedTuple):
    """The hidden layers of the replicas that survived, in bits and epochs.

    Attributes:
        epochs: of the snapshots.
        complexity: I(X;T), shape (replicas, hidden layers, snapshots).
        fall: from the peak of I(X;T) to the mean of the last 5 snapshots, 0 where it is within the noise (see
            `ibjax.plane.phases`), shape (replicas, hidden layers).
        rise: from the first snapshot to the peak.
        peak: epoch of the peak; NaN where it is not resolved or nothing falls.
    """

    epochs: Num[np.ndarray, " snapshots"]
    complexity: Float[np.ndarray, "replicas layers snapshots"]
    fall: Float[np.ndarray, "replicas layers"]
    rise: Float[np.ndarray, "replicas layers"]
    peak: Float[np.ndarray, "replicas layers"]


def falls_of(run: xr.Dataset, estimator: int | str = 0) -> Falls:
    """Find peak and fall of I(X;T) of every hidden layer; the output, which is a softmax, is left out.

    Args:
        run: labelled arrays of a run.
        estimator: position or convention of what measured it.
    """
    paths = paths_of(run, estimator)
    complexity, relevance = paths.complexity[:, :-1], paths.relevance[:, :-1]
    found = phases(paths.epochs, complexity, relevance, window=LAST)
    last = end_of(complexity)
    resolved = found.compresses & (found.peak_status == PhaseStatus.FOUND)
    return Falls(
        epochs=paths.epochs,
        complexity=complexity,
        fall=np.where(np.isnan(found.drop), np.nan, np.where(found.compresses, found.drop, 0.0)),
        rise=found.drop + last - complexity[..., 0],
        peak=np.where(resolved, found.peak, np.nan),
    )


def fitted(run: xr.Dataset) -> int | str:
    """The estimator that activations are compared by: `FITTED`, or the first of a run without it."""
    return FITTED if FITTED in run["estimator"].values.tolist() else 0


def runs_by(found: xr.Dataset, *fields: str) -> dict[tuple, xr.Dataset]:
    """The runs in results by values of their configs' fields, as a sweep over these has them.

    Args:
        found: results of a sweep or of one of its groups.
        fields: of the config.
    """
    runs = [run for _, run in runs_of(found)]
    return {tuple(json.loads(run.attrs["config"])[name] for name in fields): run for run in runs}


def rank_trend(
    x: Num[np.ndarray, " snapshots"], y: Num[np.ndarray, " snapshots"], where: Bool[np.ndarray, " snapshots"]
) -> float:
    """Spearman's correlation of two paths over some of their snapshots; NaN where one is constant or too few are left.

    Example:
        >>> rank_trend(np.array([9, 1, 2, 3]), np.array([0, 8, 6, 1]), np.array([False, True, True, True]))
        -1.0
    """
    if where.sum() < 3 or np.ptp(x[where]) == 0 or np.ptp(y[where]) == 0:
        return float("nan")
    return float(spearman(x[where], y[where]))
