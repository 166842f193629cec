"""What a study of the literature is: settings with names, what they make, what is claimed and how it looks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from matplotlib.figure import Figure

from ibjax.plane import Claim, is_preliminary, masked
from ibjax.sweep import Study, groups_of

Grid = Mapping[str, Sequence[Any]]
"""Field of a config -> the values that it is swept over."""


def one_run(config: Any) -> Grid:
    """The grid of an experiment that is a single run: none."""
    return {}


class Experiment(NamedTuple):
    """A study of the literature.

    Attributes:
        summary: what it shows, in one line.
        presets: name -> config, all of one class that no other experiment has; the first is the default, ``paper``
            the size below which verdicts are preliminary.
        claims: results -> what the study claims, judged by rules that the docstring states.
        figure: results -> the study's figure.
        study: config -> the study to replicate; None where ``compute`` does it all.
        grid: config -> the values that its fields are swept over; empty for a single run.
        derive: (config, folder of a finished run) -> arrays to add to its results, computed from the parameters that it
            stores; their dimensions are those of a run or ones of their own. None for nothing.
        compute: (config, whether to show progress) -> all results as labelled arrays, for what is no training run of
            the engine; None where there is a study.
    """

    summary: str
    presets: Mapping[str, Any]
    claims: Callable[[xr.Dataset], list[Claim]]
    figure: Callable[[xr.Dataset], Figure]
    study: Callable[[Any], Study] | None = None
    grid: Callable[[Any], Grid] = one_run
    derive: Callable[[Any, Path], xr.Dataset] | None = None
    compute: Callable[[Any, bool], xr.Dataset] | None = None

    @property
    def default(self) -> Any:
        """The config of the first preset."""
        return next(iter(self.presets.values()))


def runs_of(found: xr.Dataset) -> list[tuple[dict[str, Any], xr.Dataset]]:
    """The runs in results: those of a sweep with their values of the grid's fields, a single run with none."""
    return list(groups_of(found)) if "axes" in found.attrs else [({}, found)]


def preliminary(found: xr.Dataset, paper: Any) -> bool:
    """Whether results have fewer replicas or epochs than a config asks for, in any run of them.

    Example:
        >>> from ibjax.experiments import SZT, run
        >>> found = run(SZT(replicas=2, epochs=2, batch_size=1024, widths=(12, 4, 2)), progress=False)
        >>> preliminary(found, SZT())
        True
    """
    paper_size = {"replicas": paper.replicas, "epochs": paper.epochs}

    def trained(run: xr.Dataset) -> int:
        return masked(run).epoch if "alive" in run else int(run["epoch"].max())

    return any(
        is_preliminary({"replicas": run.sizes["replica"], "epochs": trained(run)}, paper_size)
        for _, run in runs_of(found)
    )
