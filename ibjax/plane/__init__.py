"""The information plane: what a training run and an estimator say about each other, and its summaries."""

from ibjax.plane.activations import from_activations, read_activations
from ibjax.plane.dead import DEAD_POLICIES, with_dead
from ibjax.plane.measure import layer_information
from ibjax.plane.schema import VARIABLES, make_plane
from ibjax.plane.summary import (
    GRADIENT_VARIANTS,
    Interval,
    gradient_curves,
    masked,
    mean_interval,
    mean_path,
    summary_table,
    surviving,
    violations,
)

__all__ = [
    "DEAD_POLICIES",
    "GRADIENT_VARIANTS",
    "VARIABLES",
    "Interval",
    "from_activations",
    "gradient_curves",
    "layer_information",
    "make_plane",
    "masked",
    "mean_interval",
    "mean_path",
    "read_activations",
    "summary_table",
    "surviving",
    "violations",
    "with_dead",
]
