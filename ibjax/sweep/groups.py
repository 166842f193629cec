"""Runs the groups of a grid one after the other, each a run of its own, and joins what they measured."""

import contextlib
import dataclasses
import functools
import itertools
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import xarray as xr
import zarr

from ibjax.errors import InputError
from ibjax.sweep import processes
from ibjax.sweep import store as stores
from ibjax.sweep.checkpoint import durable
from ibjax.sweep.devices import cores
from ibjax.sweep.grid import Axis, Group
from ibjax.sweep.joined import join, labelled
from ibjax.sweep.lock import hold
from ibjax.sweep.progress import Groups, Show, sweep_progress
from ibjax.sweep.runner import compile_for_later, run
from ibjax.sweep.store import GROUPS, SWEEP
from ibjax.sweep.study import Study, differing
from ibjax.sweep.tables import TABLE, open_table

FAILURES = "failures.json"
PLAN = "plan.json"
SWEEP_FORMAT = 1
"""Version of the layout; a sweep of a newer one is refused."""


class Sweep(NamedTuple):
    """A grid and what its groups are.

    Attributes:
        axes: the dimensions.
        groups: the groups, see `ibjax.sweep.expand`.
        study: a group's config -> its study.
        identity: what the sweep was made from besides, as plain values; stored, and compared when it is resumed.
        title: for figures.
    """

    axes: tuple[Axis, ...]
    groups: Sequence[Group]
    study: Callable[[Any], Study]
    identity: Mapping[str, Any]
    title: str


class Failure(NamedTuple):
    """Why a group has no results.

    Attributes:
        message: one line, with the remedy.
        memory: whether it did not fit in memory.
    """

    message: str
    memory: bool = False


def run_groups(
    sweep: Sweep,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool = True,
) -> tuple[xr.Dataset, dict[str, Failure]]:
    """Run every group of a sweep and join the results.

    Each group is a run in ``out/groups/NAME`` with a store, checkpoints and resumption of its own. The joined
    results in ``out/results.zarr`` are written from these at the end: the groups are what is safe against a kill,
    the joined store can be made from them at any time and is complete or not there. It doubles the disk that the
    measurements take; parameters stay with the groups.

    A group that cannot be made, does not fit in memory or is damaged is left out and reported; the others go on.
    With ``resume`` finished groups stay as they are, and one that did not fit is tried again, with another
    ``chunk_size`` from the start; groups that have begun keep the chunk size they began with.

    Args:
        sweep: what to run.
        out: folder for the results, which all processes see; None keeps them in memory, of one process only.
        resume: go on with the sweep in ``out``; starts afresh where there is none.
        progress: show a progress bar for every group and one over all of them.

    Returns:
        The joined results, see `open_sweep`, and the folder name -> failure of groups without results.

    Raises:
        InputError: ``out`` holds something else, cannot be written, or another process writes into it; or no group has
            results.
    """
    if out is None:
        return _run_all(sweep, None, progress)
    folder = Path(out)
    with contextlib.ExitStack() as held, stores.writing(folder):
        with processes.together():
            if processes.is_first():
                prepare(sweep, folder, resume)
                held.enter_context(hold(folder))
                # It is written anew at the end: until then the groups are what is true.
                shutil.rmtree(folder / stores.RESULTS, ignore_errors=True)
        return _run_all(sweep, folder, progress and processes.is_first())


def _run_all(sweep: Sweep, folder: Path | None, progress: bool) -> tuple[xr.Dataset, dict[str, Failure]]:
    """Run the groups one after the other and join them."""
    owner = folder if processes.is_first() else None
    failures: dict[str, Failure] = {} if owner is None else read_failures(owner)
    runs: list[tuple[Group, xr.Dataset]] = []
    weights = expected_seconds(folder, [group.slug for group in sweep.groups])
    with sweep_progress(sweep.title, weights, progress) as show:
        for group, following in itertools.zip_longest(sweep.groups, sweep.groups[1:]):
            if following is not None:
                _expect(sweep, following, folder)
            if isinstance(show, Groups):
                show.begin(group.slug)
            found = _run_group(sweep, group, folder, failures.pop(group.slug, None), show)
            if isinstance(found, Failure):
                failures[group.slug] = found
            else:
                runs.append((group, found))
            if isinstance(show, Groups):
                if isinstance(found, Failure):
                    show.end(failure=found.message)
                else:
                    lost = json.loads(found.attrs.get("masked", "{}"))
                    show.end(masked=lost.get("diverged", 0) + lost.get("dead", 0))
            if owner is not None:
                write_json(owner / FAILURES, {slug: failure._asdict() for slug, failure in failures.items()})
    if not runs:
        slug, failure = next(iter(failures.items()))
        raise InputError(f"no group of the sweep could be run; {slug}: {failure.message}")
    joined = None
    with processes.together():
        if processes.is_first():
            path = None if folder is None else folder / stores.RESULTS
            joined = join(sweep.axes, runs, _by_place(sweep.groups, failures), {"title": sweep.title}, path)
    return open_sweep(folder or "") if joined is None else joined, failures


def open_sweep(folder: str | Path) -> xr.Dataset:
    """Open the results of a sweep, finished or not, as an `xarray.Dataset`.

    One dimension a grid axis, on top of those of a run (see `ibjax.open`); a zip is one dimension with a coordinate
    for each of its fields. Coordinates over the grid: ``finished``; ``failure``, one line, empty for none;
    ``diverged`` and ``dead``, the replicas that means leave out; ``run_attributes``, JSON. Where a group has fewer
    snapshots, layers or replicas than another the rest is padding, see `select`. The results of a sweep that came
    to its end are read when they are used, and plain ``xarray.open_zarr(folder / "results.zarr")`` gives the same;
    of any other the finished groups are read into memory.

    Args:
        folder: the ``--out`` folder of a sweep.

    Raises:
        InputError: no sweep is there, none of its groups is finished, or it is damaged or of a newer version.
    """
    folder = Path(folder)
    axes, groups, title = stored_groups(folder)
    path = folder / stores.RESULTS
    if path.exists():
        try:
            return labelled(zarr.open_group(str(path), mode="r"))
        except (OSError, KeyError, ValueError, zarr.errors.BaseZarrError) as error:
            raise InputError(
                f"{path} is damaged ({error}): delete it and run again with --resume, which writes it anew"
            ) from error
    runs = []
    for group in groups:
        if (folder / GROUPS / group.slug / stores.RESULTS).exists():
            plane = stores.open_run(folder / GROUPS / group.slug)
            if plane.attrs["status"] == stores.FINISHED:
                runs.append((group, plane))
    if not runs:
        raise InputError(f"no group of {folder} is finished yet: each is a run of its own in {folder / GROUPS}")
    return join(axes, runs, _by_place(groups, read_failures(folder)), {"title": title}, None)


def stored_groups(folder: str | Path) -> tuple[tuple[Axis, ...], list[Group], str]:
    """The axes of the sweep in a folder, its groups, without their configs, and its title.

    Raises:
        InputError: no sweep is there, or it is damaged or of a newer version.
    """
    stored = _stored(Path(folder))
    axes = tuple(Axis(name, {k: tuple(map(_tuple, v)) for k, v in values.items()}) for name, values in stored["axes"])
    groups = []
    for index in itertools.product(*(range(len(axis)) for axis in axes)):
        settings = {k: v[place] for axis, place in zip(axes, index, strict=True) for k, v in axis.values.items()}
        groups.append(Group(index, settings, None))
    return axes, groups, stored["title"]


def open_results(folder: str | Path) -> xr.Dataset:
    """Open the results of a run, a sweep or an experiment that computes: see `open_run`, `open_sweep`, `open_table`.

    Args:
        folder: the ``--out`` folder.

    Raises:
        InputError: nothing is there, or it is damaged or of a newer version.
    """
    if (Path(folder) / TABLE).exists():
        return open_table(folder)
    return open_sweep(folder) if (Path(folder) / SWEEP).exists() else stores.open_run(folder)


def read_failures(folder: Path) -> dict[str, Failure]:
    """Folder name -> failure of the groups that could not be run, as far as the sweep has come."""
    if not (folder / FAILURES).exists():
        return {}
    return {slug: Failure(**failure) for slug, failure in _read_json(folder / FAILURES).items()}


def expected_seconds(folder: Path | None, groups: Sequence[str]) -> dict[str, float]:
    """Folder name -> seconds that the plan foresees for the group; all 1 where the folder has none with times."""
    planned = {}
    if folder is not None and (folder / PLAN).exists():
        planned = {group["folder"]: group["seconds"] for group in _read_json(folder / PLAN)["groups"]}
    known = [seconds for seconds in planned.values() if seconds]
    usual = sum(known) / len(known) if known else 1.0
    return {name: planned.get(name) or usual for name in groups}


def write_json(path: Path, value: Any) -> None:
    """Write a value for people and programs to read: aside, to disk, then renamed over the old."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(value, indent=2) + "\n")
    durable(aside)
    aside.replace(path)
    durable(path)


def prepare(sweep: Sweep, folder: Path, resume: bool) -> None:
    """Make the folder of a sweep, or see that it holds this one; `run_groups` does so by itself.

    Raises:
        InputError: the folder holds a sweep and ``resume`` is not set, or it holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder for the results")
    axes = [(axis.name, axis.values) for axis in sweep.axes]
    described = {"format": SWEEP_FORMAT, "title": sweep.title, "axes": axes, "identity": dict(sweep.identity)}
    described = json.loads(json.dumps(described))
    if (folder / stores.RESULTS).exists() and not (folder / SWEEP).exists():
        raise InputError(f"{folder} holds a run, not a sweep: choose another folder")
    kept = (folder / stores.RESULTS).exists() or any((folder / GROUPS).glob("*"))
    if (folder / SWEEP).exists() and kept:
        if not resume:
            raise InputError(f"{folder} already holds a sweep: add --resume to go on with it, or choose another folder")
        stored = _stored(folder)
        old = {**dict(stored["axes"]), **stored["identity"]}
        new = {**dict(described["axes"]), **described["identity"]}
        if words := differing(old, new):
            raise InputError(f"{folder} holds another sweep ({words}): choose another folder")
        return
    # Nothing that is lost: a sweep none of whose groups could begin may be corrected and run again.
    (folder / FAILURES).unlink(missing_ok=True)
    (folder / GROUPS).mkdir(parents=True, exist_ok=True)
    write_json(folder / SWEEP, described)


def _expect(sweep: Sweep, group: Group, folder: Path | None) -> None:
    """Begin to compile what a group needs, while another one runs; one that has begun waits for its turn.

    Only where there are cores to spare: on two, both of which train, it gained nothing.
    """
    spare = cores() > max(2, len(jax.local_devices()))
    if spare and (folder is None or not (folder / GROUPS / group.slug).exists()):
        # Of what hinders it the group speaks when it is run.
        with contextlib.suppress(InputError, jax.errors.JaxRuntimeError, MemoryError):
            compile_for_later(sweep.study(group.config))


def _run_group(
    sweep: Sweep, group: Group, folder: Path | None, failed: Failure | None, progress: Show
) -> xr.Dataset | Failure:
    """A group's results, or why there are none."""
    place = None if folder is None else folder / GROUPS / group.slug
    chunk = 1
    try:
        study = sweep.study(group.config)
        if place is not None:
            begun = processes.by_first(functools.partial(_begun, place, study, failed))
            study = dataclasses.replace(study, chunk_size=begun or study.chunk_size)
        chunk = study.chunk
        return run(study, place, resume=True, progress=progress)
    except InputError as error:
        return Failure(str(error))
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        text = str(error).strip().split("\n")[0] or "out of memory"
    if "RESOURCE_EXHAUSTED" not in text and text != "out of memory":
        return Failure(f"XLA refused it: {text}")
    if chunk == 1:
        return Failure(
            f"not even one replica fits in memory ({text}): measure fewer samples or estimators", memory=True
        )
    advice = f"run again with --resume --chunk-size {chunk // 2}"
    return Failure(f"{chunk} replicas at a time do not fit in memory ({text}): {advice}", memory=True)


def _begun(place: Path, study: Study, failed: Failure | None) -> int | None:
    """The chunk size that a group has begun with and keeps, None if it is still to begin."""
    if not (place / stores.RESULTS).exists():
        return None
    begun = json.loads(stores.reopen(place, "r").attrs["config"])["chunk_size"]
    if failed is not None and failed.memory and begun != study.chunk:
        shutil.rmtree(place)  # it never fitted: nothing to keep
        return None
    return begun


def _by_place(groups: Sequence[Group], failures: Mapping[str, Failure]) -> dict[tuple[int, ...], str]:
    return {group.index: failures[group.slug].message for group in groups if group.slug in failures}


def _stored(folder: Path) -> dict[str, Any]:
    """What a folder says of its sweep."""
    if not (folder / SWEEP).exists():
        raise InputError(f"{folder} holds no sweep ({SWEEP} is missing): check the folder")
    stored = _read_json(folder / SWEEP)
    layout = stored.get("format")
    if not isinstance(layout, int) or not {"title", "axes", "identity"} <= set(stored):
        raise InputError(f"{folder / SWEEP} is damaged: run again into a new folder")
    if layout > SWEEP_FORMAT:
        raise InputError(f"{folder} has layout {layout}, this ibjax reads up to {SWEEP_FORMAT}: update ibjax")
    return stored


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): run again into a new folder") from error


def _tuple(value: Any) -> Any:
    """JSON has lists where a config has tuples."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
