"""Sweeps with planted paths, for experiments that judge them: joined as a run joins its own groups."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ibjax.experiments import make_sweep
from ibjax.plane.schema import VARIABLES, make_plane
from ibjax.sweep import Grid
from ibjax.sweep.joined import join
from ibjax.training import snapshot_epochs

BINNING = "binning:bins=30,low=-1,high=1"


def planted_run(config: Any, arrays: Mapping[str, np.ndarray], **attrs: Any) -> xr.Dataset:
    """Return a run of a config with the arrays given, informations in bits; what is not given is 1.

    Args:
        config: of an experiment: sizes and epochs are its own.
        arrays: name -> values that broadcast to (replicas, snapshots) or (replicas, snapshots, layers).
        attrs: attributes besides those that a run has.
    """
    widths = config.widths[1:]
    epochs = snapshot_epochs(config.epochs, config.snapshots)
    sizes = {"estimator": 1, "replica": config.replicas, "snapshot": epochs.size, "layer": len(widths)}
    whole = {}
    for name, variable in VARIABLES.items():
        values = np.broadcast_to(arrays.get(name, 1.0), [sizes[dim] for dim in variable.dims if dim != "estimator"])
        if "estimator" in variable.dims:
            values = values[None] * np.log(2)
        whole[name] = values.astype(variable.dtype)
    names = [*(f"T{number}" for number in range(1, len(widths))), "output"]
    size = round(config.fraction * 4096)
    known = {
        "entropy_x": 12 * np.log(2), "entropy_y": np.log(2), "information_xy": np.log(2), "samples": 4096,
        "probe_batches": 51, "updates_per_epoch": -(-size // (config.batch_size or size)),
        "title": f"12-bit task, tanh {'-'.join(map(str, config.widths))}", "estimators": [BINNING],
        "layer_names": names, "config": json.dumps({"replicas": config.replicas, "chunk_size": config.replicas,
        "batch_size": config.batch_size, "fraction": config.fraction}),
    }  # fmt: skip
    return make_plane(whole, epochs=epochs.tolist(), widths=widths, estimators=[BINNING], attrs={**known, **attrs})


def planted_sweep(config: Any, runs: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the results of an experiment's sweep whose groups measured these runs, in memory."""
    sweep = make_sweep(config, Grid({}))
    attrs = {"title": sweep.title, "config": json.dumps(sweep.identity)}
    return join(sweep.axes, list(zip(sweep.groups, runs, strict=True)), {}, attrs, None).load()


def groups(config: Any) -> list[Any]:
    """Return the config of every group."""
    return [group.config for group in make_sweep(config, Grid({})).groups]
