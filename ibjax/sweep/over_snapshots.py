"""A statistic of the layers at every snapshot of a finished run, from its stored parameters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.errors import InputError
from ibjax.sweep import store as stores
from ibjax.sweep.remeasure import _stored
from ibjax.sweep.study import Study


def over_snapshots(study: Study, folder: str | Path, statistic: Callable[[tuple[jax.Array, ...]], Any]) -> Any:
    """Compute a statistic of the activations of the measured data at every snapshot, without training.

    Args:
        study: the study that the run was made from.
        folder: of the run, finished and with stored parameters.
        statistic: maps the activations of one replica, one array (inputs, units) a layer, the output last, to what is
            wanted; it is compiled and vmapped over the replicas of a chunk, so that no activation is kept.

    Returns:
        What ``statistic`` returns with first axes replicas and snapshots, on the host.

    Raises:
        InputError: the run is not finished, or has no stored parameters.

    Example:
        >>> largest = over_snapshots(study, "runs/szt", lambda layers: abs(layers[0]).max())  # doctest: +SKIP
    """
    store = stores.reopen(Path(folder), "r")
    if store.attrs["status"] != stores.FINISHED:
        raise InputError(f"{folder} is not finished: run it again with --resume first")
    if store.params is None:
        raise InputError(f"{folder} has no stored parameters: make it with --keep-parameters")
    apply, x = study.functional.apply, jnp.asarray(study.data.measured.x)
    evaluate = jax.jit(jax.vmap(lambda params: statistic(tuple(apply(params, x)[1]))))
    chunks = []
    for chunk in range(study.chunks):
        rows = [jax.device_get(evaluate(params)) for params in _stored(study, store, store.replicas(chunk))]
        chunks.append(jax.tree.map(lambda *values: np.stack(values, axis=1), *rows))
    return jax.tree.map(lambda *values: np.concatenate(values), *chunks)
