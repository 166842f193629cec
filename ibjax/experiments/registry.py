"""All experiments by name, and how any of them is run."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from ibjax.errors import InputError, choose
from ibjax.experiments import szt
from ibjax.sweep import Study
from ibjax.sweep import run as run_study


class Experiment(NamedTuple):
    """A study of the literature.

    Attributes:
        summary: what it shows, in one line.
        presets: name -> config; the first is the default.
        study: config -> the study to replicate.
    """

    summary: str
    presets: Mapping[str, Any]
    study: Callable[[Any], Study]


EXPERIMENTS: dict[str, Experiment] = {
    "szt": Experiment("the information plane of the 12-bit task (Shwartz-Ziv & Tishby 2017)", szt.PRESETS, szt.study),
}
"""Name -> experiment."""


def experiment_of(config: Any) -> str:
    """The name of the experiment that a config is of.

    Raises:
        InputError: it is no experiment's.
    """
    for name, experiment in EXPERIMENTS.items():
        if type(config) is type(next(iter(experiment.presets.values()))):
            return name
    raise InputError(f"{type(config).__name__} is no experiment's config: choose from {', '.join(EXPERIMENTS)}")


def study_of(config: Any) -> Study:
    """The study that a config describes.

    Raises:
        InputError: settings that make no sense; the message names the value and the remedy.
    """
    name = experiment_of(config)
    study = EXPERIMENTS[name].study(config)
    return dataclasses.replace(study, settings={"experiment": name, **dataclasses.asdict(config)})


def run(config: Any, out: str | Path | None = None, *, resume: bool = False, progress: bool = True) -> xr.Dataset:
    """Run an experiment; see `ibjax.sweep.run` for the arguments and the results.

    Example:
        >>> from ibjax.experiments import SZT
        >>> plane = run(SZT(replicas=2, epochs=2, batch_size=1024, widths=(12, 4, 2)), progress=False)
        >>> plane.complexity.dims
        ('estimator', 'replica', 'snapshot', 'layer')
    """
    return run_study(study_of(config), out, resume=resume, progress=progress)


def config_of(plane: xr.Dataset) -> Any:
    """The config that stored results were made from.

    Raises:
        InputError: they were not made by an experiment of this version.
    """
    stored = json.loads(plane.attrs["config"])
    if "experiment" not in stored:
        raise InputError("these results were made by a study of one's own: use ibjax.sweep.remeasure with it")
    preset = next(iter(EXPERIMENTS[choose("experiment", stored["experiment"], EXPERIMENTS)].presets.values()))
    names = {field.name for field in dataclasses.fields(preset)}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k in names}
    return dataclasses.replace(preset, **values)
