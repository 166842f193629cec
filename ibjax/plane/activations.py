"""The information plane of activations that were recorded elsewhere."""

import re
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Integer, Num

from ibjax.datasets import from_arrays, read_archive
from ibjax.errors import InputError
from ibjax.estimators import Binning, LayerEstimator
from ibjax.plane.measure import layer_information
from ibjax.plane.schema import make_plane


def from_activations(
    activations: Sequence[Num[Array | np.ndarray, "..."]],
    y: Integer[Array | np.ndarray, " n"],
    *,
    estimators: Sequence[LayerEstimator] | None = None,
    p_y_given_x: Float[Array | np.ndarray, "n classes"] | None = None,
    epochs: Sequence[int] | np.ndarray | None = None,
    title: str = "recorded activations",
) -> xr.Dataset:
    """Measure the layers of a network that any framework has run.

    Args:
        activations: one array a layer, in the order of the network: (n, units) for one epoch or (epochs, n, units)
            for many. Row i of each belongs to input i.
        y: labels of the n inputs, integers from 0.
        estimators: what to measure by. By default 30 bins over each layer's own range, because the range of
            another framework's activations is not known.
        p_y_given_x: the labels' distribution at each input, where it is known; Y is then measured by it.
        epochs: when the activations were recorded; by default 0, 1, 2, ...
        title: for figures.

    Returns:
        An information plane as `ibjax.open` returns it, of one replica, in nats. It has neither losses nor
        gradients.

    Raises:
        InputError: shapes that do not match, a value that is not finite or labels that are not integers.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(100, 3))
        >>> plane = from_activations([np.tanh(x), np.tanh(x[:, :1])], (x[:, 0] > 0).astype(int))
        >>> plane.complexity.shape
        (1, 1, 1, 2)
    """
    if not len(activations):
        raise InputError("no activations: give one array a layer")
    layers = [np.asarray(t) for t in activations]
    layers = [t[None] if t.ndim == 2 else t for t in layers]
    for depth, t in enumerate(layers, start=1):
        if t.ndim != 3 or t.shape[:2] != layers[0].shape[:2] or 0 in t.shape:
            raise InputError(
                f"layer {depth} has shape {np.shape(activations[depth - 1])}: every layer must be (n, units) or "
                f"(epochs, n, units), with the same epochs and n"
            )
        if t.dtype.kind not in "biuf":
            raise InputError(f"layer {depth} must be real numbers, got {t.dtype}")
        with np.errstate(over="ignore"):
            layers[depth - 1] = t = t.astype(np.float32)
        if not np.isfinite(t).all():
            epoch, row, _ = np.argwhere(~np.isfinite(t))[0]
            raise InputError(f"layer {depth} has a value that is not finite at epoch {epoch}, row {row}")
    count, n = layers[0].shape[:2]
    times = np.arange(count) if epochs is None else np.asarray(epochs)
    if times.shape != (count,) or times.dtype.kind not in "iu" or times[0] < 0 or (np.diff(times) <= 0).any():
        raise InputError(f"epochs must be {count} increasing whole numbers from 0, one a recording, got {epochs}")
    data = from_arrays(np.zeros((n, 1)), np.asarray(y), p_y_given_x, name=title)
    chosen = tuple(estimators) if estimators else (Binning(range="layer"),)
    spans = [(t.min(), t.max()) for t in layers]
    measure = jax.jit(lambda ts: layer_information(chosen, ts, data, spans))
    found = [jax.device_get(measure([t[row] for t in layers])) for row in range(count)]
    arrays = {name: np.stack([getattr(f, name) for f in found], axis=1)[:, None] for name in found[0]._fields}
    arrays["alive"] = np.ones((1, count), bool)
    return make_plane(
        arrays,
        epochs=times.tolist(),
        widths=[t.shape[2] for t in layers],
        estimators=[str(estimator) for estimator in chosen],
        attrs={
            "title": title,
            "config": {},
            "units": "nats",
            "samples": n,
            "entropy_x": data.entropy_x,
            "entropy_y": data.entropy_y,
            "information_xy": float("nan") if data.mutual_information is None else data.mutual_information,
        },
    )


def read_activations(path: str | Path) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Read recorded activations from a NumPy archive; nothing in it is unpickled.

    Args:
        path: an ``.npz`` file with arrays ``t1``, ``t2``, ... (one a layer), ``y``, and optionally ``epochs`` and
            ``p_y_given_x``.

    Returns:
        The layers in order, and the other arrays by name.

    Raises:
        InputError: the file is missing, damaged or lacks ``t1`` or ``y``.
    """
    arrays = read_archive(path, "t1=..., t2=..., y=...")
    names = sorted((name for name in arrays if re.fullmatch(r"t\d+", name)), key=lambda name: int(name[1:]))
    if not names or "y" not in arrays:
        raise InputError(f"{path} must hold t1, t2, ... and y, it has {', '.join(arrays) or 'nothing'}")
    if names != [f"t{depth}" for depth in range(1, len(names) + 1)]:
        raise InputError(f"{path} must number its layers t1, t2, ... without gaps, it has {', '.join(names)}")
    return [arrays.pop(name) for name in names], arrays
