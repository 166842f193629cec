"""Labelled arrays that were computed as a whole, kept in a folder as runs and sweeps are."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from ibjax.errors import InputError
from ibjax.plane.schema import plain
from ibjax.sweep import processes
from ibjax.sweep import store as stores
from ibjax.sweep.checkpoint import durable
from ibjax.sweep.lock import hold
from ibjax.sweep.study import differing

TABLE = "table.json"
"""What the arrays were made from; its presence tells such a folder from a run's."""


def keep_table(
    make: Callable[[], xr.Dataset], identity: Mapping[str, Any], folder: str | Path, *, resume: bool = False
) -> xr.Dataset:
    """Compute labelled arrays and keep them in a folder, or open those that it has.

    Args:
        make: computes them.
        identity: all that they depend on, as plain values.
        folder: where to.
        resume: take what is in the folder if it was made from the same; computes where there is nothing.

    Returns:
        The arrays; the attribute ``config`` has the identity as JSON.

    Raises:
        InputError: the folder holds something else, or the same and ``resume`` is not set.
    """
    folder = Path(folder)
    with processes.together():
        if processes.is_first():
            _keep(make, identity, folder, resume)
    return open_table(folder)


def _keep(make: Callable[[], xr.Dataset], identity: Mapping[str, Any], folder: Path, resume: bool) -> None:
    """Compute the arrays and write them, unless they are there."""
    config = json.loads(json.dumps(dict(identity), default=str))
    with stores.writing(folder):
        stores.make_folder(folder)
        with hold(folder):
            if (folder / TABLE).exists():
                _compare(folder, config, resume)
                return
            if (folder / stores.RESULTS).exists():
                raise InputError(f"{folder} holds a run: choose another folder")
            found = make()
            found = found.assign_attrs(plain({**found.attrs, "config": config, "status": stores.FINISHED}))
            # Zarr has a lasting form for text of any length only.
            found = found.assign({k: v.astype(object) for k, v in found.variables.items() if v.dtype.kind == "U"})
            aside = folder / (stores.RESULTS + ".part")
            shutil.rmtree(aside, ignore_errors=True)
            found.to_zarr(aside, mode="w", consolidated=False)
            aside.replace(folder / stores.RESULTS)
            (folder / TABLE).write_text(json.dumps(config, indent=2) + "\n")
            durable(folder / TABLE)


def open_table(folder: str | Path) -> xr.Dataset:
    """Open arrays that `keep_table` has kept; they are read when they are used."""
    path = Path(folder) / stores.RESULTS
    try:
        return xr.open_zarr(path, consolidated=False)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): delete {folder} and compute it again") from error


def _compare(folder: Path, config: Mapping[str, Any], resume: bool) -> None:
    if not resume:
        raise InputError(f"{folder} already holds results: add --resume to take them, or choose another folder")
    try:
        stored = dict(json.loads((folder / TABLE).read_text()))
    except ValueError as error:
        raise InputError(f"{folder / TABLE} is damaged ({error}): delete {folder} and compute it again") from error
    if words := differing(stored, config, but=()):
        raise InputError(f"{folder} holds other results ({words}): choose another folder")
