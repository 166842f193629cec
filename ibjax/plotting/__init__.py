"""Figures of an information plane: labelled arrays in, matplotlib axes and figures out; computes nothing."""

from ibjax.plotting.animation import animate, save_all
from ibjax.plotting.information import information_plane, snapshot_panel
from ibjax.plotting.style import style
from ibjax.plotting.training import gradient_figure, training_curves

__all__ = [
    "animate",
    "gradient_figure",
    "information_plane",
    "save_all",
    "snapshot_panel",
    "style",
    "training_curves",
]
