"""Sweeps over the settings of an experiment: a config with lists in place of values, and the file that holds one."""

import dataclasses
import json
import sys
import tomllib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from ibjax.errors import InputError, choose
from ibjax.experiments.registry import EXPERIMENTS, experiment_of, study_of
from ibjax.sweep import Grid, Study, Sweep, expand, run_groups
from ibjax.sweep.grid import LIMIT

_TABLES = ("experiment", "preset", "replicas", "settings", "grid", "zip")


class SweepFile(NamedTuple):
    """What a sweep's file holds.

    Attributes:
        experiment: its name.
        preset: the name of the preset that the config starts from.
        config: the preset with the file's settings.
        grid: values of its fields.
    """

    experiment: str
    preset: str
    config: Any
    grid: Grid


def make_sweep(config: Any, grid: Grid, *, limit: int = LIMIT, restarts: int = 0) -> Sweep:
    """The sweep of an experiment's config over a grid.

    Args:
        config: an experiment's config, for what the grid does not name.
        grid: values of its fields, besides those that the experiment sweeps by itself.
        limit: so many groups at most.
        restarts: so many times a network that is stuck at chance is trained again, see `ibjax.sweep.Study`.

    Raises:
        InputError: the grid or one of its values makes no sense, see `ibjax.sweep.expand`.
    """
    name = experiment_of(config)
    own = EXPERIMENTS[name].grid(config)
    for field in own:
        if getattr(config, field) != getattr(EXPERIMENTS[name].default, field) and field not in grid.product:
            raise InputError(f"{name} sweeps {field} by itself: give its values, see `ibjax run {name} --help`")
    axes, groups = expand(config, Grid({**own, **grid.product}, grid.zips), limit=limit)
    varied = {field for axis in axes for field in axis.values}
    # The chunk size may change when a sweep is resumed; every group's run keeps its own.
    base = {k: v for k, v in dataclasses.asdict(config).items() if k not in varied | {"chunk_size"}}
    again = {"restarts": restarts} if restarts else {}
    identity = {"experiment": name, **json.loads(json.dumps(base, default=str)), **again}

    def study(config: Any) -> Study:
        return dataclasses.replace(study_of(config), restarts=restarts)

    return Sweep(axes, groups, study, identity, f"{name}: {' x '.join(axis.name for axis in axes)}")


def run_sweep(
    config: Any,
    grid: Grid | Mapping[str, Sequence[Any]],
    out: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool = True,
    limit: int = LIMIT,
) -> xr.Dataset:
    """Run an experiment at every combination of a grid's values, each with all its replicas.

    ``ibjax.sweep(...)``, the room `ibjax.sweep` called, does the same.

    Args:
        config: the experiment's config; what the grid does not name stays as it is there.
        grid: values of its fields, see `ibjax.sweep.Grid`; or its product alone, field -> values.
        out: folder for the results; None keeps them in memory.
        resume: go on with the sweep in ``out``; starts afresh where there is none.
        progress: show a progress bar for every group.
        limit: so many groups at most.

    Returns:
        The results with a dimension for every axis of the grid, see `ibjax.sweep.open_sweep`. A group that could not be
        run is NaN, and the coordinate ``failure`` says why.

    Raises:
        InputError: the grid makes no sense, ``out`` holds something else, or no group could be run.

    Example:
        >>> from ibjax.experiments import SZT
        >>> base = SZT(replicas=2, epochs=2, batch_size=1024, widths=(12, 4, 2))
        >>> found = run_sweep(base, {"learning_rate": [0.05, 0.2]}, progress=False)
        >>> dict(found.complexity.sizes)
        {'learning_rate': 2, 'estimator': 1, 'replica': 2, 'snapshot': 3, 'layer': 2}
    """
    grid = Grid(grid) if isinstance(grid, Mapping) else grid
    return run_groups(make_sweep(config, grid, limit=limit), out, resume=resume, progress=progress)[0]


class _Called(types.ModuleType):
    """The room `ibjax.sweep` as a verb. It knows no experiment; this one, which every config comes with, lends it."""

    def __call__(self, *args: Any, **settings: Any) -> xr.Dataset:
        """Run an experiment over a grid of settings, see `run_sweep`."""
        return run_sweep(*args, **settings)


sys.modules["ibjax.sweep"].__class__ = _Called


def read_sweep(file: str | Path) -> SweepFile:
    """Read a sweep from a TOML file.

    ::

        experiment = "szt"                # see `ibjax list`
        preset = "deck"                   # optional: the first of the experiment
        replicas = 50                     # optional: as under [settings]

        [settings]                        # optional: fields of the config, the same in all groups
        epochs = 2000

        [grid]                            # every value with every value of the others
        activation = ["tanh", "relu"]
        widths = [[12, 10, 7, 5, 4, 3, 2], [12, 4, 2]]

        [[zip]]                           # values that go together; as many tables as you like
        batch_size = [64, 512]
        learning_rate = [0.05, 0.2]

    TOML has no null: the string "none" stands for None in a field that may be None.

    Args:
        file: its path.

    Raises:
        InputError: no such file, not TOML, an unknown table, experiment, preset or field, or values of a wrong type.
    """
    path = Path(file)
    try:
        stored = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: name an experiment or a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}".replace("\n", " ")) from error
    for name in stored:
        choose(f"entry of {path}", name, _TABLES)
    if "experiment" not in stored:
        raise InputError(f'{path} names no experiment: add a line such as experiment = "{next(iter(EXPERIMENTS))}"')
    name = choose("experiment", str(stored["experiment"]), EXPERIMENTS)
    presets = EXPERIMENTS[name].presets
    preset = choose(f"preset of {name}", str(stored.get("preset", next(iter(presets)))), presets)
    settings = dict(_table(path, "settings", stored.get("settings", {})))
    if "replicas" in stored:
        settings["replicas"] = stored["replicas"]
    config = presets[preset]
    if settings:
        # A grid of one value each: checked by the same rules.
        ((_, _, config),) = expand(config, Grid({field: [value] for field, value in settings.items()}))[1]
    zips = stored.get("zip", [])
    if not isinstance(zips, list):
        raise InputError(f"{path}: write [[zip]], with two brackets, because there may be several")
    grid = Grid(
        _table(path, "grid", stored.get("grid", {})),
        [_table(path, "zip", table) for table in zips],
    )
    return SweepFile(name, preset, config, grid)


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {name} must be a table of field = value, got {value!r}")
    return value
