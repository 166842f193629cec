"""Activations of a finished run from its stored parameters, without training."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.errors import InputError
from ibjax.sweep import store as stores
from ibjax.sweep.remeasure import stored_parameters
from ibjax.sweep.study import Study


def stored_layers(
    study: Study, folder: str | Path, snapshot: int, of: Callable[..., Any] | None = None
) -> Iterator[Any]:
    """Yield what every layer of each replica says of all measured inputs, one replica after the other.

    Args:
        study: the study that the run was made from.
        folder: of the run, finished and with stored parameters.
        snapshot: which; -1 is the last.
        of: maps (layers, inputs) of one replica to what is wanted, compiled and vmapped over the replicas of a chunk;
            None for the activations themselves.

    Yields:
        What ``of`` returns, on the host; by default a tuple of one array a layer, (inputs, units), the output last.

    Raises:
        InputError: the run is not finished, has no stored parameters or no such snapshot.

    Example:
        >>> first, *_ = stored_layers(study, "runs/szt", -1)  # doctest: +SKIP
    """
    store = stores.reopen(Path(folder), "r")
    if store.attrs["status"] != stores.FINISHED:
        raise InputError(f"{folder} is not finished: run it again with --resume first")
    if store.params is None:
        raise InputError(f"{folder} has no stored parameters: make it with --keep-parameters")
    count = len(study.epochs)
    if not -count <= snapshot < count:
        raise InputError(f"snapshot must be from {-count} to {count - 1}, got {snapshot}")
    apply, x = study.functional.apply, jnp.asarray(study.data.measured.x)

    @jax.jit
    @jax.vmap
    def evaluate(params):
        layers = tuple(apply(params, x)[1])
        return layers if of is None else of(layers, x)

    for chunk in range(study.chunks):
        replicas = store.replicas(chunk)
        found = jax.device_get(evaluate(stored_parameters(study, store, replicas, snapshot % count)))
        for place in range(replicas.stop - replicas.start):
            yield jax.tree.map(lambda a, place=place: np.asarray(a[place]), found)
