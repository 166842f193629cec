"""Joins the stores of one study that several machines have each run a part of."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ibjax.errors import InputError
from ibjax.plane.summary import masked
from ibjax.sweep import store as stores
from ibjax.sweep.checkpoint import replace_whole
from ibjax.sweep.lock import hold, holder
from ibjax.sweep.study import PLACES, differing
from ibjax.sweep.times import Times, load_times, save_times
from ibjax.sweep.verify import examine

_MADE_ANEW = ("estimators", "layer_names", "format", "status", "seconds", "masked")
"""Attributes that are not copied."""
_OF_A_MACHINE = ("versions", "python", "device")


def merge(folders: Sequence[str | Path], out: str | Path) -> xr.Dataset:
    """Join stores of the same study into one that a single run would have made.

    The stores may differ in how many replicas they ask for and in the chunks of replicas that they have come to. Of
    every chunk the one that has come furthest is taken, its training state too, so that an unfinished result goes on
    with ``resume``. Everything is read and checked first; chunks that several stores have must agree bit for bit.

    Args:
        folders: ``--out`` folders of runs; they are only read.
        out: a folder for the result, which must not hold a run.

    Returns:
        The results; see `ibjax.open`.

    Raises:
        InputError: a store is of another study, damaged, being written, or of another version; chunks that should be
            the same differ; or ``out`` is taken.

    Example:
        >>> merge(["runs/first", "runs/second"], "runs/both")  # doctest: +SKIP
    """
    out, paths = Path(out), [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise InputError(f"merge needs two folders or more, got {len(paths)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already and is not empty: choose another folder for the result")
    parts = [_open(path) for path in paths]
    config = _common_config(parts)
    _check_alike(parts)
    sources = [_source(parts, chunk, config["replicas"]) for chunk in range(-(-config["replicas"] // parts[0].width))]
    aside = out.with_name(out.name + ".part")
    with stores.writing(out):
        shutil.rmtree(aside, ignore_errors=True)  # of a merge that was killed
        stores.make_folder(aside)
        with hold(aside):
            _fill(parts, sources, aside, config)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    return stores.open_run(out)


def _open(folder: Path) -> stores.Store:
    store = stores.reopen(folder, "r")
    if store.attrs["format"] != stores.FORMAT:
        raise InputError(f"{folder} has layout {store.attrs['format']}, which has no checksums: it cannot be merged")
    who = holder(folder)
    if who is not None:
        raise InputError(f"{folder} is being written by {who}: wait for it or stop it")
    for chunk in range(store.chunks):
        for damage in examine(store, chunk, states=True):
            raise InputError(f"{folder} is not whole ({damage}): run it again with --resume first")
    return store


def _common_config(parts: Sequence[stores.Store]) -> dict[str, Any]:
    """The config of all stores, with the most replicas."""
    first, *others = [json.loads(store.attrs["config"]) for store in parts]
    for store, other in zip(parts[1:], others, strict=True):
        if words := differing(first, other, ("replicas", *PLACES)):
            raise InputError(f"{parts[0].folder} and {store.folder} are different studies ({words})")
    return {**first, "replicas": max(config["replicas"] for config in (first, *others))}


def _check_alike(parts: Sequence[stores.Store]) -> None:
    """That what their configs do not say is alike: estimators that were added, and whether parameters are kept."""
    for store in parts[1:]:
        one, other = (json.loads(s.attrs["estimators"]) for s in (parts[0], store))
        if one != other:
            raise InputError(
                f"{parts[0].folder} is measured by {', '.join(one)} and {store.folder} by {', '.join(other)}: "
                "measure both by the same with `ibjax measure`, in the same order"
            )
        if (parts[0].params is None) != (store.params is None):
            raise InputError(f"only one of {parts[0].folder} and {store.folder} keeps its parameters")


def _source(parts: Sequence[stores.Store], chunk: int, replicas: int) -> stores.Store | None:
    """The store that has most of a chunk, None if no one has any; the others must agree with it."""
    having = [store for store in parts if chunk < store.chunks and chunk in store.records]
    # The last chunk of a store of fewer replicas lacks some: it is of no use, unless another store has it.
    last = min((chunk + 1) * parts[0].width, replicas)
    whole = [store for store in having if store.replicas(chunk).stop == last]
    if not whole:
        return None
    best = max(whole, key=lambda store: (store.has(chunk, list(store.parts)), store.records[chunk].segments))
    for other in having:
        _check_same(best, other, chunk)
    return best


def _fill(
    parts: Sequence[stores.Store], sources: Sequence[stores.Store | None], folder: Path, config: dict[str, Any]
) -> None:
    """Write the joined store."""
    widest = max(parts, key=lambda store: store.arrays["train_loss"].shape[0])
    attrs = {**parts[0].attrs, "config": config}
    attrs = {name: value for name, value in attrs.items() if name not in _MADE_ANEW}
    machines = [{name: store.attrs[name] for name in _OF_A_MACHINE} for store in parts]
    if any(machine != machines[0] for machine in machines):
        attrs["merged_from"] = machines
    params = None
    if widest.params is not None:
        params = {name: np.empty(array.shape[2:], array.dtype) for name, array in widest.params.items()}
    joined = stores.create(
        folder,
        epochs=np.asarray(widest.arrays["epoch"][:]),
        widths=np.asarray(widest.arrays["width"][:]).tolist(),
        replicas=config["replicas"],
        chunk=widest.width,
        estimators=json.loads(widest.attrs["estimators"]),
        attrs=attrs,
        params=params,
    )
    (folder / stores.STATES).mkdir(exist_ok=True)
    for chunk, source in enumerate(sources):
        if source is not None:
            _copy(source, joined, chunk)
    times = [load_times(store.folder) for store in parts]
    seconds = {name: sum(t.seconds[name] for t in times) for name in times[0].seconds}
    save_times(folder, Times(seconds))
    if all(joined.has(chunk, list(joined.parts)) for chunk in range(joined.chunks)):
        joined.note(
            status=stores.FINISHED,
            seconds={name: round(value, 3) for name, value in seconds.items()},
            masked=masked(joined.dataset())._asdict(),
        )


def _copy(source: stores.Store, joined: stores.Store, chunk: int) -> None:
    """Copy a chunk, and the state that its training goes on from."""
    record = source.records[chunk]
    for name, regions in record.regions.items():
        snapshots = slice(0, max((region.stop for region in regions), default=0))
        joined.put(name, chunk, snapshots, source.read(name, chunk, snapshots))
    joined.settle(chunk, record.restarts, record.again)
    joined.commit(chunk, record.segments, record.epochs)
    state = stores.state_file(_folder(source), chunk)
    if state.exists():
        replace_whole(stores.state_file(_folder(joined), chunk), state.read_bytes())


def _check_same(one: stores.Store, other: stores.Store, chunk: int) -> None:
    """Complain unless two stores have the same values of a chunk wherever both have any."""
    if one is other:
        return
    common = min(one.replicas(chunk).stop, other.replicas(chunk).stop) - one.replicas(chunk).start
    start = one.replicas(chunk).start
    for name in one.records[chunk].regions.keys() & other.records[chunk].regions.keys():
        reached = [max(r.stop for r in store.records[chunk].regions[name]) for store in (one, other)]
        values = [store.read(name, chunk, slice(0, min(reached)))[:common] for store in (one, other)]
        if values[0].tobytes() != values[1].tobytes():
            raise InputError(
                f"{name} of replicas {start}-{start + common - 1} differs between {one.folder} and {other.folder}, "
                "which should be the same bits: merge runs of one version on one kind of device, or leave one out"
            )


def _folder(store: stores.Store) -> Path:
    assert store.folder is not None
    return store.folder
