"""Measures a finished run again from its stored parameters, without training."""

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ibjax.errors import InputError
from ibjax.estimators import LayerEstimator
from ibjax.plane.measure import layer_information
from ibjax.plane.schema import VARIABLES
from ibjax.sweep import processes
from ibjax.sweep import store as stores
from ibjax.sweep.lock import hold
from ibjax.sweep.progress import LINES_EVERY, Show, progress_bar
from ibjax.sweep.stored import parameters_at
from ibjax.sweep.study import Study

_MEASURED = [name for name, variable in VARIABLES.items() if "estimator" in variable.dims]


def remeasure(
    study: Study, out: str | Path, estimators: Sequence[LayerEstimator], *, progress: bool = True
) -> xr.Dataset:
    """Measure a finished run by more estimators and add them to its results.

    Args:
        study: the study that the run was made from; its own estimators play no part.
        out: the folder of the run.
        estimators: what to measure by; one that the results already have is measured again.
        progress: show a progress bar.

    Returns:
        The results with the added estimators; see `ibjax.open`.

    Raises:
        InputError: the run is not finished, was made without stored parameters, or is another study's; or there are
            several processes.
    """
    folder = Path(out)
    if processes.count() > 1:
        raise InputError("measuring again is for one process: start it without the others")
    if not (folder / stores.RESULTS).exists():
        stores.reopen(folder)  # says so
    with stores.writing(folder), hold(folder):
        return _remeasure(study, folder, estimators, progress)


def _remeasure(study: Study, out: Path, estimators: Sequence[LayerEstimator], progress: bool) -> xr.Dataset:
    store = stores.reopen_finished(out)
    store.compare(study, but=("measure", "restarts"))
    known = json.loads(store.attrs["estimators"])
    added = [str(e) for e in estimators if str(e) not in known]
    if added:
        store.add_estimators(added)
    known += added
    for estimator in estimators:
        fill(study, store, [estimator], known.index(str(estimator)), range(study.chunks), progress=progress, again=True)
    return store.dataset()


def fill(
    study: Study,
    store: stores.Store,
    estimators: Sequence[LayerEstimator],
    place: int,
    chunks: Sequence[int],
    *,
    progress: Show,
    again: bool,
) -> None:
    """Measure these chunks by ``estimators`` and write them from ``place`` on along the estimator dimension.

    Those that have them are left alone, unless they are measured ``again``.
    """
    parts = [f"{name}[{place + i}]" for name in _MEASURED for i in range(len(estimators))]
    chunks = [chunk for chunk in chunks if again or not store.has(chunk, parts)]
    if not estimators or not chunks:
        return
    apply = study.functional.apply
    data = jax.device_put(study.data.measured)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def extent(params, data):
        layers = apply(params, jnp.asarray(data.x))[1]
        return [(t.min(), t.max()) for t in layers]

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, 0))
    def measure(params, data, spans):
        return layer_information(estimators, apply(params, jnp.asarray(data.x))[1], data, spans)

    names = ", ".join(map(str, estimators))
    total = len(chunks) * len(study.epochs)
    with progress_bar(f"measuring {names}", total, progress, unit="snapshots", every=LINES_EVERY) as report:
        for done, chunk in enumerate(chunks):
            replicas = store.replicas(chunk)
            store.forget(chunk, parts, training=False)
            spans = None
            if any(estimator.needs_span for estimator in estimators):
                ends = [jax.device_get(extent(p, data)) for p in _stored(study, store, replicas)]
                low, high = np.fmin.reduce(ends), np.fmax.reduce(ends)
                spans = [(low[layer, 0], high[layer, 1]) for layer in range(len(study.widths))]
            for row, params in enumerate(_stored(study, store, replicas)):
                found = jax.device_get(measure(params, data, spans))
                values = {name: np.moveaxis(v, 1, 0)[:, :, None] for name, v in found._asdict().items()}
                store.write(values, replicas, slice(row, row + 1), slice(place, place + len(estimators)))
                report(done * len(study.epochs) + row + 1, None)
            store.commit(chunk)


def _stored(study: Study, store: stores.Store, replicas: slice) -> Iterator[Any]:
    """The parameters of some replicas, one snapshot after the other."""
    for row in range(len(study.epochs)):
        yield parameters_at(study, store, replicas, row)
