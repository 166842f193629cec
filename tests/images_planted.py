"""Tiny images in place of the public ones, and joined results of a sweep with planted values."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ibjax.datasets import Dataset
from ibjax.plane import make_plane
from ibjax.plane.schema import VARIABLES
from ibjax.sweep import Axis, Group
from ibjax.sweep.joined import join


def tiny_images(n: int = 40, shape: tuple[int, ...] = (6, 6, 1)) -> Callable[..., Dataset]:
    """A reader of images whose class is the row that is bright."""

    def read(folder: str | None, part: str) -> Dataset:
        rng = np.random.default_rng(part == "test")
        x, y = rng.random((n, *shape)).astype(np.float32), (np.arange(n) % 3).astype(np.int32)
        x[np.arange(n), y] += 1
        return Dataset(x / 2, y, None, None, 10, f"tiny ({part})")

    return read


def joined(
    fields: Mapping[str, Sequence[Any]],
    values: Callable[[dict[str, Any], np.random.Generator], Mapping[str, np.ndarray]],
    *,
    replicas: int,
    epochs: Sequence[int],
    widths: Sequence[int],
    config: Mapping[str, Any],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Results of a sweep; ``values`` gives a group's arrays, and those that it does not give are zeros."""
    axes = tuple(Axis(name, {name: tuple(choices)}) for name, choices in fields.items())
    rng, runs = np.random.default_rng(0), []
    sizes = {"estimator": 1, "replica": replicas, "snapshot": len(epochs), "layer": len(widths)}
    for index in np.ndindex(*map(len, axes)):
        settings = {name: choices[place] for (name, choices), place in zip(fields.items(), index, strict=True)}
        arrays = {name: np.zeros([sizes[dim] for dim in v.dims], v.dtype) for name, v in VARIABLES.items()}
        arrays["alive"] = np.ones_like(arrays["alive"])
        arrays |= {name: np.asarray(array, np.float32) for name, array in values(settings, rng).items()}
        stored = {"replicas": replicas, "chunk_size": replicas, **config, **settings}
        layers = [f"T{depth}" for depth in range(1, len(widths))] + ["output"]
        run = make_plane(
            arrays,
            epochs=list(epochs),
            widths=list(widths),
            estimators=["planted"],
            attrs={**attrs, "config": json.dumps(stored), "estimators": ["planted"], "layer_names": layers},
        )
        runs.append((Group(tuple(index), settings, None), run))
    return join(axes, runs, {}, {"title": "planted"}, None).load()
