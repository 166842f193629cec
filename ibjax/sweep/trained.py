"""Stored parameters of a finished run, for what is computed from a network itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ibjax.errors import InputError
from ibjax.sweep import store as stores
from ibjax.sweep.study import Study


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
    store = stores.reopen(Path(folder), "r")
    if store.attrs["status"] != stores.FINISHED:
        raise InputError(f"{folder} is not finished: run it again with --resume first")
    if store.params is None:
        raise InputError(f"{folder} has no stored parameters: make it with --keep-parameters")
    count = len(study.epochs)
    if not -count <= snapshot < count:
        raise InputError(f"snapshot must be from {-count} to {count - 1}, got {snapshot}")
    tree = jax.tree.structure(jax.eval_shape(study.functional.init, jax.random.key(0)))
    for replica in range(study.replicas):
        with stores.intact(store.folder):
            leaves = [np.asarray(store.params[name][replica, snapshot % count]) for name in study.param_shapes]
        yield jax.tree.unflatten(tree, leaves)
