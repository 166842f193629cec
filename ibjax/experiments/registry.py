"""All experiments by name, and what a config or stored results belong to."""

import dataclasses
import json
from typing import Any

import xarray as xr

from ibjax.errors import InputError, choose
from ibjax.experiments import (
    compression_generalisation,
    edge_images,
    irevnet,
    noisy_network,
    quantised,
    random_labels,
    saxe_activations,
    saxe_full_batch,
    saxe_irrelevant,
    saxe_linear,
    saxe_minimal,
    saxe_mnist,
    szt,
    szt_batch,
    szt_bins,
    szt_bound,
    szt_data,
    szt_depth,
    szt_markov,
    szt_phases,
)
from ibjax.experiments.experiment import Experiment
from ibjax.sweep import Study

EXPERIMENTS: dict[str, Experiment] = {
    "szt": szt.EXPERIMENT,
    "szt-bins": szt_bins.EXPERIMENT,
    "szt-batch": szt_batch.EXPERIMENT,
    "szt-data": szt_data.EXPERIMENT,
    "szt-depth": szt_depth.EXPERIMENT,
    "szt-bound": szt_bound.EXPERIMENT,
    "szt-markov": szt_markov.EXPERIMENT,
    "szt-phases": szt_phases.EXPERIMENT,
    "saxe-activations": saxe_activations.EXPERIMENT,
    "saxe-full-batch": saxe_full_batch.EXPERIMENT,
    "saxe-mnist": saxe_mnist.EXPERIMENT,
    "saxe-minimal": saxe_minimal.EXPERIMENT,
    "saxe-linear": saxe_linear.EXPERIMENT,
    "saxe-irrelevant": saxe_irrelevant.EXPERIMENT,
    "irevnet": irevnet.EXPERIMENT,
    "noisy-network": noisy_network.EXPERIMENT,
    "quantised": quantised.EXPERIMENT,
    "random-labels": random_labels.EXPERIMENT,
    "compression-generalisation": compression_generalisation.EXPERIMENT,
    "edge-mnist": edge_images.MNIST,
    "edge-cifar10": edge_images.CIFAR10,
}
"""Name -> experiment."""


def experiment_of(config: Any) -> str:
    """The name of the experiment that a config is of.

    Raises:
        InputError: it is no experiment's.
    """
    for name, experiment in EXPERIMENTS.items():
        if type(config) is type(experiment.default):
            return name
    raise InputError(f"{type(config).__name__} is no experiment's config: choose from {', '.join(EXPERIMENTS)}")


def study_of(config: Any) -> Study:
    """The study that a config describes; of an experiment with a grid, one group's.

    Raises:
        InputError: settings that make no sense; the message names the value and the remedy.
    """
    name = experiment_of(config)
    make = EXPERIMENTS[name].study
    if make is None:
        raise InputError(f"{name} trains no network of its own: it is computed, see `ibjax run {name} --help`")
    return dataclasses.replace(make(config), settings={"experiment": name, **dataclasses.asdict(config)})


def config_of(plane: xr.Dataset) -> Any:
    """The config that stored results of a run were made from.

    Raises:
        InputError: they were not made by an experiment of this version.
    """
    stored = json.loads(plane.attrs["config"])
    if "experiment" not in stored:
        raise InputError("these results were made by a study of one's own: use ibjax.sweep.remeasure with it")
    preset = EXPERIMENTS[choose("experiment", stored["experiment"], EXPERIMENTS)].default
    names = {field.name for field in dataclasses.fields(preset)}
    return dataclasses.replace(preset, **{k: _tuple(v) for k, v in stored.items() if k in names})


def _tuple(value: Any) -> Any:
    """JSON has lists where a config has tuples."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
