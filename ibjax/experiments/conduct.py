"""Runs an experiment, keeps its results in a folder, and draws and judges them."""

import dataclasses
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

from ibjax.errors import InputError, choose
from ibjax.experiments.registry import EXPERIMENTS, experiment_of, study_of
from ibjax.experiments.sweeps import make_sweep
from ibjax.plane import Claim, claims_to_json
from ibjax.sweep import Grid, open_results, processes, run_groups
from ibjax.sweep import run as run_study
from ibjax.sweep.groups import GROUPS, SWEEP
from ibjax.sweep.store import RESULTS
from ibjax.sweep.tables import keep_table

CLAIMS = "claims.json"


def run(
    config: Any, out: str | Path | None = None, *, resume: bool = False, restarts: int = 0, progress: bool = True
) -> xr.Dataset:
    """Run an experiment.

    Args:
        config: one of its presets, or its class with other settings.
        out: folder for the results; None keeps them in memory.
        resume: go on with what is in ``out``; starts afresh where there is nothing.
        restarts: so many times a network that is stuck at chance is trained again, see `ibjax.sweep.Study`; not of an
            experiment that computes.
        progress: show progress bars.

    Returns:
        The results of its run, see `ibjax.sweep.run`, or of its sweep, see `ibjax.sweep.open_sweep`, and what the
        experiment adds to them; or the arrays that it computes.

    Raises:
        InputError: settings that make no sense, or a folder that holds something else.

    Example:
        >>> from ibjax.experiments import SZT
        >>> plane = run(SZT(replicas=2, epochs=2, batch_size=1024, widths=(12, 4, 2)), progress=False)
        >>> plane.complexity.dims
        ('estimator', 'replica', 'snapshot', 'layer')
    """
    name = experiment_of(config)
    experiment = EXPERIMENTS[name]
    if (compute := experiment.compute) is not None:
        if restarts:
            raise InputError(f"{name} has no networks of the engine to train again: leave restarts out")
        if out is None:
            return compute(config, progress)
        identity = {"experiment": name, **dataclasses.asdict(config)}
        return keep_table(lambda: compute(config, progress), identity, out, resume=resume)
    if out is None and experiment.derive is not None:
        with tempfile.TemporaryDirectory() as folder:
            return run(config, folder, restarts=restarts, progress=progress).load()
    if experiment.grid(config):
        sweep = make_sweep(config, Grid({}), restarts=restarts)
        found, failures = run_groups(sweep, out, resume=resume, progress=progress)
        if failures:
            slug, failure = next(iter(failures.items()))
            raise InputError(f"{len(failures)} groups could not be run; {slug}: {failure.message}")
    else:
        study = dataclasses.replace(study_of(config), restarts=restarts)
        found = run_study(study, out, resume=resume, progress=progress)
    if experiment.derive is None:
        return found
    assert out is not None
    with processes.together():
        if processes.is_first():
            _add(_derived(config, Path(out)), Path(out) / RESULTS)
    return open_results(out)


def _add(derived: xr.Dataset, path: Path) -> None:
    """Write arrays beside those of the results, whose attributes stay, and name their coordinates among the others."""
    group = zarr.open_group(str(path), mode="r+")
    attrs = dict(group.attrs)
    derived.drop_attrs(deep=False).to_zarr(path, mode="a", consolidated=False)
    if "coordinates" in attrs:
        names = dict.fromkeys([*str(attrs["coordinates"]).split(), *map(str, derived.coords)])
        attrs["coordinates"] = " ".join(names)
    zarr.open_group(str(path), mode="r+").attrs.put(attrs)


def _derived(config: Any, folder: Path) -> xr.Dataset:
    """What an experiment adds to its results, with the dimensions of its grid."""
    experiment = EXPERIMENTS[experiment_of(config)]
    assert experiment.derive is not None
    if not experiment.grid(config):
        return experiment.derive(config, folder)
    sweep = make_sweep(config, Grid({}))
    parts = [
        experiment.derive(group.config, folder / GROUPS / group.slug).expand_dims(
            {axis.name: [place] for axis, place in zip(sweep.axes, group.index, strict=True)}
        )
        for group in sweep.groups
    ]
    whole = xr.merge(parts, join="outer", compat="no_conflicts", combine_attrs="drop_conflicts")
    return whole.drop_vars([axis.name for axis in sweep.axes])  # their own coordinates are in the results already


def experiment_in(folder: str | Path) -> str:
    """The name of the experiment whose results a folder holds.

    Raises:
        InputError: there are none, those of a study of one's own, or those of a sweep over more than the experiment's
            own settings.
    """
    found = open_results(folder)
    is_sweep = (Path(folder) / SWEEP).exists()
    attrs = json.loads(found["run_attributes"].values[found["finished"].values][0]) if is_sweep else found.attrs
    stored = json.loads(attrs["config"])
    if "experiment" not in stored:
        raise InputError(f"{folder} holds a study of one's own: claims and figures are made by experiments")
    name = choose("experiment", stored["experiment"], EXPERIMENTS)
    experiment = EXPERIMENTS[name]
    if is_sweep and set(json.loads(found.attrs["fields"])) != set(experiment.grid(experiment.default)):
        raise InputError(f"{folder} is a sweep: name one of the runs in {Path(folder) / GROUPS}")
    return name


def judge(folder: str | Path) -> list[Claim]:
    """Judge an experiment's claims by the results in a folder, and write them there as ``claims.json``.

    Args:
        folder: of a finished run or sweep of an experiment.

    Raises:
        InputError: the folder holds no experiment's results.
    """
    claims = EXPERIMENTS[experiment_in(folder)].claims(open_results(folder).load())
    (Path(folder) / CLAIMS).write_text(claims_to_json(claims) + "\n")
    return claims


def draw(folder: str | Path, out: str | Path | None = None) -> list[Path]:
    """Draw an experiment's figure from the results in a folder, as PNG and SVG.

    Args:
        folder: of a finished run or sweep of an experiment.
        out: where to; by default ``figures`` in the folder.

    Returns:
        The paths written.
    """
    from ibjax.plotting import save_figure

    name = experiment_in(folder)
    return save_figure(
        EXPERIMENTS[name].figure(open_results(folder).load()), Path(out or Path(folder) / "figures"), name
    )


def claims_markdown(found: Sequence[tuple[str, Sequence[Claim]]]) -> str:
    """Write claims as a table for a page, those of less than the source's size apart.

    Args:
        found: name of an experiment and its claims.
    """
    lines: list[str] = []
    for title, early in (("", False), ("Preliminary: fewer replicas or epochs than the study's", True)):
        rows = [(name, claim) for name, claims in found for claim in claims if claim.preliminary == early]
        if not rows:
            continue
        lines += [f"**{title}**", ""] if title else []
        lines += [
            "| experiment | claim | statistic | found, 95 % interval | rule | verdict |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {c.statement} | {c.statistic} | {interval(c)} | {c.rule.text} | {c.verdict} |"
            for name, c in rows
        ]
        lines.append("")
    return "\n".join(lines)


def interval(claim: Claim) -> str:
    """A claim's statistic and its bounds, in as many digits as are worth reading.

    Where the bounds coincide the replicas were alike, and the bootstrap knows nothing of those that may differ: this is
    said instead of an interval without width. Of n alike, at least 0.025^(1/n) of all are, at 0.95 (see
    `ibjax.plane.share`), but how far the rest lie is unknown, unless the statistic has bounds
    (`ibjax.plane.bounded_mean`). Of one replica there are no bounds, of none there is nothing.
    """
    value, low, high = (f"{number:.3g}" for number in claim.estimate)
    if math.isnan(claim.estimate.low):
        return "undefined" if math.isnan(claim.estimate.value) else f"{value}, no interval"
    return f"{value}, no spread" if claim.estimate.low == claim.estimate.high else f"{value} [{low}, {high}]"
