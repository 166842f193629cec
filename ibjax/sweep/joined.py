"""The groups of a sweep as one labelled array: a dimension a grid axis, on top of those of a run."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from ibjax.errors import InputError, choose
from ibjax.plane import masked
from ibjax.plane.schema import VARIABLES, coordinates, plain
from ibjax.sweep.grid import Axis, Group, label

_ASIDE = ".part"
_PADDING = {"epoch": -1, "width": 0, "layer_name": ""}
"""Coordinates of the snapshots and layers, and what stands where a group has fewer of them than another."""
_CODECS = (ZstdCodec(level=1), Crc32cCodec())

Runs = Sequence[tuple[Group, xr.Dataset]]
Coordinates = dict[str, tuple[tuple[str, ...], np.ndarray]]


def join(
    axes: Sequence[Axis],
    runs: Runs,
    failures: Mapping[tuple[int, ...], str],
    attrs: Mapping[str, Any],
    path: Path | None,
) -> xr.Dataset:
    """Write the results of groups side by side, one group after the other, so that memory stays that of one.

    Groups are aligned from the outside: estimators by name, replicas by id, snapshots by number, and layers by their
    depth from the input. Where one has fewer than another, measurements are NaN, ``alive`` is false, ``epoch`` -1,
    ``width`` 0 and ``layer_name`` empty. These three keep the form that a run has while all groups agree in them, and
    have the grid's dimensions too once they differ.

    Args:
        axes: the dimensions of the grid.
        runs: the groups that have results, one or more, and these.
        failures: place of a group -> why it has none.
        attrs: attributes of the whole.
        path: where to write, put in place as a whole at the end; None for memory.
    """
    estimators = list(dict.fromkeys(str(name) for _, run in runs for name in run["estimator"].values))
    sizes = {dim: max(run.sizes[dim] for _, run in runs) for dim in ("replica", "snapshot", "layer")}
    sizes["estimator"] = len(estimators)
    group = _empty(axes, runs, sizes, path)
    for place, run in runs:
        _fill(group, place.index, run.copy(), estimators)  # a copy, because what is read stays in memory
    found: Coordinates = {
        "estimator": (("estimator",), np.array(estimators, object)),
        "replica": (("replica",), np.arange(sizes["replica"])),
        "layer": (("layer",), np.arange(1, sizes["layer"] + 1)),
    }
    for axis in axes:
        found |= {name: ((axis.name,), _axis_labels(values)) for name, values in axis.values.items()}
    found |= _over_the_grid(axes, runs, failures)
    for name, padding in _PADDING.items():
        found[name] = _shared_or_padded(axes, runs, name, padding)
    for name, (dims, values) in found.items():
        text = values.dtype == object
        array = group.create_array(
            name, shape=values.shape, chunks="auto", dtype=str if text else values.dtype, dimension_names=dims
        )
        array[...] = values
    names = {"axes": [axis.name for axis in axes], "fields": [field for axis in axes for field in axis.values]}
    group.update_attributes(
        plain({**attrs, **names, "units": "nats"})
        # Which are coordinates: the word of the CF conventions, that plain xarray goes by.
        | {"coordinates": " ".join(found)}
    )
    if path is None:
        return labelled(group)
    if path.exists():
        shutil.rmtree(path)
    path.with_name(path.name + _ASIDE).replace(path)
    return labelled(zarr.open_group(str(path), mode="r"))


def labelled(group: zarr.Group) -> xr.Dataset:
    """A joined store as plain xarray reads it, when it is used."""
    return xr.open_zarr(group.store, consolidated=False)


def select(sweep: xr.Dataset, **settings: Any) -> xr.Dataset:
    """One group of a sweep as a run has it, without padding: what `ibjax.plane` and `ibjax.plotting` take.

    Args:
        sweep: results of a sweep.
        settings: field -> value of the config, as many as it takes to leave one group.

    Returns:
        What `ibjax.open` returns for the group's own folder.

    Raises:
        InputError: an unknown field or value, more than one group left, or one without results.

    Example:
        >>> plane = select(ibjax.open("runs/szt"), activation="relu", batch_size=64)  # doctest: +SKIP
    """
    fields = _fields(sweep)
    left = {name: np.ones(sweep.sizes[name], bool) for name in _axes(sweep)}
    for name, value in settings.items():
        column = sweep[choose("field of this grid", name, fields)]
        match = np.array([one == value or str(one) == label(value) for one in column.values.tolist()])
        if not match.any():
            raise InputError(f"{name} has no value {value!r}: choose from {', '.join(map(str, column.values))}")
        left[str(column.dims[0])] &= match
    if any(match.sum() != 1 for match in left.values()):
        count = int(np.prod([match.sum() for match in left.values()]))
        raise InputError(f"{count} groups have these settings, one is wanted: set {', '.join(fields)}")
    part = sweep.isel({name: int(match.argmax()) for name, match in left.items()})
    if not part["finished"]:
        raise InputError(f"the group has no results yet: {part['failure'].item() or 'its run is not finished'}")
    return _as_run(part)


def groups_of(sweep: xr.Dataset) -> Iterator[tuple[dict[str, Any], xr.Dataset]]:
    """Every group that has results: its values of the grid's fields, and its results as `select` gives them."""
    for part in _parts(sweep, sweep["finished"].values):
        yield _settings(part), _as_run(part)


def failures_of(sweep: xr.Dataset) -> Iterator[tuple[dict[str, Any], str]]:
    """Every group that could not be run: its values of the grid's fields, and why, in one line."""
    for part in _parts(sweep, sweep["failure"].values != ""):
        yield _settings(part), part["failure"].item()


def _parts(sweep: xr.Dataset, which: np.ndarray) -> Iterator[xr.Dataset]:
    for index in np.argwhere(which):
        yield sweep.isel(dict(zip(_axes(sweep), index.tolist(), strict=True)))


def _settings(part: xr.Dataset) -> dict[str, Any]:
    return {name: part[name].item() for name in _fields(part)}


def _axes(sweep: xr.Dataset) -> list[str]:
    return json.loads(sweep.attrs["axes"])


def _fields(sweep: xr.Dataset) -> list[str]:
    return json.loads(sweep.attrs["fields"])


def _as_run(part: xr.Dataset) -> xr.Dataset:
    """A group, its padding and its coordinates of the grid taken off."""
    attrs = json.loads(part["run_attributes"].item())
    names, widths = json.loads(attrs["estimators"]), json.loads(attrs["layer_names"])
    estimators = part["estimator"].values.tolist()
    sizes = {
        "estimator": [estimators.index(name) for name in names],
        "replica": slice(json.loads(attrs["config"])["replicas"]),
        "snapshot": slice(int((part["epoch"] != _PADDING["epoch"]).sum())),
        "layer": slice(len(widths)),
    }
    own = part.isel(sizes).reset_coords(drop=True).drop_vars(("estimator", "replica", "layer"))
    labels = coordinates(
        part["epoch"].values[sizes["snapshot"]].tolist(),
        part["width"].values[sizes["layer"]].tolist(),
        own.sizes["replica"],
        names,
    )
    run = own.assign_coords(labels)
    run.attrs = attrs
    return run


def _empty(axes: Sequence[Axis], runs: Runs, sizes: Mapping[str, int], path: Path | None) -> zarr.Group:
    """Arrays of the right shapes, all padding; a chunk holds replicas of one group, as in its own run."""
    if path is None:
        group = zarr.create_group(zarr.storage.MemoryStore(), zarr_format=3)
    else:
        aside = path.with_name(path.name + _ASIDE)
        if aside.exists():  # by a sweep that was killed while it wrote
            shutil.rmtree(aside)
        group = zarr.create_group(str(aside), zarr_format=3)
    chunk = max(json.loads(run.attrs["config"])["chunk_size"] for _, run in runs)
    pieces = {**sizes, "estimator": 1, "replica": min(chunk, sizes["replica"])}
    for name, v in VARIABLES.items():
        group.create_array(
            name,
            shape=(*map(len, axes), *(sizes[dim] for dim in v.dims)),
            chunks=(*(1 for _ in axes), *(max(1, pieces[dim]) for dim in v.dims)),
            dtype=v.dtype,
            fill_value=False if v.dtype == "bool" else float("nan"),
            compressors=_CODECS,
            dimension_names=(*(axis.name for axis in axes), *v.dims),
            attributes={"units": v.units, "long_name": v.long_name},
        )
    return group


def _fill(group: zarr.Group, index: tuple[int, ...], run: xr.Dataset, estimators: list[str]) -> None:
    """Write one group's measurements to its place."""
    rows = [estimators.index(str(name)) for name in run["estimator"].values]
    for name, v in VARIABLES.items():
        values, array = run[name].values, group[name]
        assert isinstance(array, zarr.Array)
        region = tuple(slice(run.sizes[dim]) for dim in v.dims if dim != "estimator")
        if "estimator" in v.dims:
            for row, part in zip(rows, values, strict=True):
                array[(*index, row, *region)] = part
        else:
            array[(*index, *region)] = values


def _over_the_grid(axes: Sequence[Axis], runs: Runs, failures: Mapping[tuple[int, ...], str]) -> Coordinates:
    """What every group has one of."""
    shape, dims = tuple(map(len, axes)), tuple(axis.name for axis in axes)
    found = {
        "finished": np.zeros(shape, bool),
        "failure": np.full(shape, "", object),
        "diverged": np.zeros(shape, np.int64),
        "dead": np.zeros(shape, np.int64),
        "run_attributes": np.full(shape, "", object),
    }
    for index, message in failures.items():
        found["failure"][index] = message
    for group, run in runs:
        lost = masked(run.copy())
        found["finished"][group.index] = True
        found["diverged"][group.index], found["dead"][group.index] = lost.diverged, lost.dead
        found["run_attributes"][group.index] = json.dumps(run.attrs)
    return {name: (dims, values) for name, values in found.items()}


def _shared_or_padded(axes: Sequence[Axis], runs: Runs, name: str, padding: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """A coordinate as a run has it if all groups agree, else over the grid."""
    dim = "snapshot" if name == "epoch" else "layer"
    columns = [run[name].values.tolist() for _, run in runs]
    dtype = object if isinstance(padding, str) else np.int64
    if all(column == columns[0] for column in columns):
        return (dim,), np.array(columns[0], dtype)
    whole = np.full((*map(len, axes), max(map(len, columns))), padding, dtype)
    for (group, _), column in zip(runs, columns, strict=True):
        whole[(*group.index, slice(len(column)))] = column
    return (*(axis.name for axis in axes), dim), whole


def _axis_labels(values: tuple[Any, ...]) -> np.ndarray:
    """Numbers as numbers if all are, anything else as words."""
    if all(type(value) is type(values[0]) for value in values) and isinstance(values[0], (bool, int, float)):
        return np.array(values)
    return np.array([label(value) for value in values], object)
