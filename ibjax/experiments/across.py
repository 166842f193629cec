"""What the experiments that are sweeps share: their groups side by side, replica by replica."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Num

from ibjax.errors import InputError
from ibjax.experiments.experiment import preliminary, runs_of
from ibjax.experiments.paths import Paths, paths_of
from ibjax.plane import surviving

TREND = 0.5
"""Rank correlation beyond which results rise, or fall, with a setting: most pairs are in order."""
LAYERS = {"hidden": (-2, "the last hidden layer"), "output": (-1, "the output layer")}
"""Layers that are judged where a study does not name one: position, and name."""


class Point(NamedTuple):
    """One group of a sweep.

    Attributes:
        settings: its values of the grid's fields.
        run: its results.
        paths: of the replicas that survived, in bits.
        replicas: their numbers.
    """

    settings: dict[str, Any]
    run: xr.Dataset
    paths: Paths
    replicas: Num[np.ndarray, " survivors"]


def points_of(found: xr.Dataset) -> list[Point]:
    """The groups in results in which some replica survived.

    Raises:
        InputError: there is none.
    """
    points = []
    for settings, run in runs_of(found):
        try:
            kept = surviving(run)["replica"].values
        except InputError:  # nothing learnt here, which `ibjax show` says
            continue
        points.append(Point(settings, run, paths_of(run), kept))
    if not points:
        raise InputError("no replica survived in any group: lower the learning rate or train longer")
    return points


def side_by_side(points: list[Point], values: list[np.ndarray]) -> Float[np.ndarray, "points replicas"]:
    """One value a survivor of every group as one table; NaN for replicas that did not survive."""
    table = np.full((len(points), max(point.run.sizes["replica"] for point in points)), np.nan)
    for row, point, own in zip(table, points, values, strict=True):
        row[point.replicas] = own
    return table


def is_early(found: xr.Dataset, paper: Any, groups: int) -> bool:
    """Whether results are smaller than a config's: in replicas, in epochs or in groups."""
    return len(runs_of(found)) < groups or preliminary(found, paper)
