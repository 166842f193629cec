"""The labelled arrays of an information plane: one table of variables for runs, files and figures."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr


class Variable(NamedTuple):
    """Dimensions, unit and meaning of one stored array."""

    dims: tuple[str, ...]
    units: str
    long_name: str
    dtype: str = "float32"


_RUN = ("replica", "snapshot")
_LAYER = (*_RUN, "layer")
_PLANE = ("estimator", *_LAYER)

VARIABLES: dict[str, Variable] = {
    "complexity": Variable(_PLANE, "nats", "I(X;T)"),
    "relevance": Variable(_PLANE, "nats", "I(T;Y)"),
    "train_loss": Variable(_RUN, "nats", "cross-entropy of the training set"),
    "test_loss": Variable(_RUN, "nats", "cross-entropy of the test set"),
    "train_accuracy": Variable(_RUN, "1", "share of the training set that is right"),
    "test_accuracy": Variable(_RUN, "1", "share of the test set that is right"),
    "gradient_mean": Variable(_LAYER, "nats", "norm of the mean weight gradient over the probe batches"),
    "gradient_std": Variable(
        _LAYER, "nats", "root of the summed variances of the weight gradient over the probe batches"
    ),
    "gradient_snr": Variable(_LAYER, "1", "gradient_mean / gradient_std"),
    "gradient_batch_norm": Variable(_LAYER, "nats", "mean norm of the weight gradient over the probe batches"),
    "weight_norm": Variable(_LAYER, "1", "norm of the weights"),
    "weight_distance": Variable(_LAYER, "1", "norm of the weights minus the initial weights"),
    "alive": Variable(_RUN, "1", "neither diverged nor stuck at the majority class", "bool"),
}
"""Name -> what it is. A measurement that has not been made is NaN, and ``alive`` is then false."""


def coordinates(
    epochs: Sequence[int], widths: Sequence[int], replicas: int, estimators: Sequence[str | int]
) -> dict[str, Any]:
    """Labels of every dimension: the last layer is the output, the others T1, T2, ..."""
    names = [f"T{depth}" for depth in range(1, len(widths))] + ["output"]
    return {
        "estimator": list(estimators),
        "replica": np.arange(replicas),
        "epoch": ("snapshot", np.asarray(epochs), {"long_name": "epochs of training done"}),
        "layer": np.arange(1, len(widths) + 1),
        "width": ("layer", np.asarray(widths), {"long_name": "units of the layer"}),
        "layer_name": ("layer", names),
    }


def make_plane(
    arrays: Mapping[str, np.ndarray],
    *,
    epochs: Sequence[int],
    widths: Sequence[int],
    estimators: Sequence[str],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Label arrays of the shapes in `VARIABLES`; ``attrs`` that are not plain become JSON."""
    variables = {
        name: xr.Variable(v.dims, arrays[name], {"units": v.units, "long_name": v.long_name})
        for name, v in VARIABLES.items()
        if name in arrays
    }
    replicas = arrays["complexity"].shape[1]
    return xr.Dataset(variables, coordinates(epochs, widths, replicas, estimators), plain(attrs))


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as numbers and strings; anything else as JSON."""
    return {
        name: value if isinstance(value, (str, int, float)) else json.dumps(value, default=str)
        for name, value in attrs.items()
    }
