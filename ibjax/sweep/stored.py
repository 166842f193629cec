"""Networks of a finished run from its stored parameters: what is computed of them without training."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.errors import InputError
from ibjax.sweep import store as stores
from ibjax.sweep.study import Study


def parameters_at(study: Study, store: stores.Store, replicas: slice, row: int) -> Any:
    """The parameters of some replicas at one snapshot, each leaf with a first axis of replicas."""
    tree = jax.tree.structure(jax.eval_shape(study.functional.init, jax.random.key(0)))
    with stores.intact(store.folder):
        leaves = [(store.params or {})[name][replicas, row] for name in study.param_shapes]
    return jax.tree.unflatten(tree, leaves)


def trained_parameters(study: Study, folder: str | Path, snapshot: int = -1) -> Iterator[Any]:
    """Yield the parameters of each replica at a snapshot, as ``study.functional`` takes them.

    Args:
        study: the study that the run was made from.
        folder: of the run, finished and with stored parameters.
        snapshot: which; -1 is the last.

    Raises:
        InputError: the run is not finished, has no stored parameters or no such snapshot.

    Example:
        >>> first, *_ = trained_parameters(study, "runs/szt")  # doctest: +SKIP
    """
    for whole, count in _chunks(study, folder, snapshot, lambda params: params):
        for place in range(count):
            yield jax.tree.map(lambda a, place=place: jnp.asarray(a[place]), whole)


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
    evaluate = _evaluated(study, lambda layers, x: layers if of is None else of(layers, x))
    for found, count in _chunks(study, folder, snapshot, evaluate):
        for place in range(count):
            yield jax.tree.map(lambda a, place=place: np.asarray(a[place]), found)


def over_snapshots(study: Study, folder: str | Path, statistic: Callable[[tuple[jax.Array, ...]], Any]) -> Any:
    """Compute a statistic of the activations of the measured data at every snapshot.

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
    evaluate = _evaluated(study, lambda layers, x: statistic(layers))
    rows = []
    for snapshot in range(len(study.epochs)):
        chunks = [found for found, _ in _chunks(study, folder, snapshot, evaluate)]
        rows.append(jax.tree.map(lambda *values: np.concatenate(values), *chunks))
    return jax.tree.map(lambda *values: np.stack(values, axis=1), *rows)


def _evaluated(study: Study, of: Callable[[tuple[jax.Array, ...], jax.Array], Any]) -> Callable[[Any], Any]:
    """Compiled: parameters of the replicas of a chunk -> what ``of`` makes of their layers and the inputs."""
    apply, x = study.functional.apply, jnp.asarray(study.data.measured.x)
    return jax.jit(jax.vmap(lambda params: of(tuple(apply(params, x)[1]), x)))


def _chunks(
    study: Study, folder: str | Path, snapshot: int, evaluate: Callable[[Any], Any]
) -> Iterator[tuple[Any, int]]:
    """What is made of the parameters of every chunk at a snapshot, on the host, and how many replicas it has."""
    store = stores.reopen_finished(Path(folder), "r")
    count = len(study.epochs)
    if not -count <= snapshot < count:
        raise InputError(f"snapshot must be from {-count} to {count - 1}, got {snapshot}")
    for chunk in range(study.chunks):
        replicas = store.replicas(chunk)
        found = evaluate(parameters_at(study, store, replicas, snapshot % count))
        yield jax.device_get(found), replicas.stop - replicas.start
