"""Figures of information planes and the bottleneck: labelled arrays in, matplotlib axes out; computes nothing."""

from ibjax.plotting.activations import activation_figure
from ibjax.plotting.animation import animate, save_all, save_figure
from ibjax.plotting.batch import batch_figure
from ibjax.plotting.bottleneck import cluster_tree, encoder_heatmap, information_curve, save_curve
from ibjax.plotting.bound import bound_figure
from ibjax.plotting.data import data_figure
from ibjax.plotting.depth import depth_figure
from ibjax.plotting.edge_images import edge_figure
from ibjax.plotting.generalisation import generalisation_figure
from ibjax.plotting.information import information_plane, plane_figure, snapshot_panel
from ibjax.plotting.invertible import invertible_figure
from ibjax.plotting.linear import irrelevant_figure, linear_figure
from ibjax.plotting.markov import markov_figure
from ibjax.plotting.minimal import weight_figure
from ibjax.plotting.noisy import noisy_figure
from ibjax.plotting.phases import phase_figure
from ibjax.plotting.quantised import quantised_figure
from ibjax.plotting.random_labels import memorising_figure
from ibjax.plotting.saxe import batch_gradient_figure, noise_figure
from ibjax.plotting.style import style
from ibjax.plotting.training import gradient_figure, training_curves
from ibjax.plotting.verdicts import verdict_figure

__all__ = [
    "activation_figure",
    "animate",
    "batch_figure",
    "batch_gradient_figure",
    "bound_figure",
    "cluster_tree",
    "data_figure",
    "depth_figure",
    "edge_figure",
    "encoder_heatmap",
    "generalisation_figure",
    "gradient_figure",
    "information_curve",
    "information_plane",
    "invertible_figure",
    "irrelevant_figure",
    "linear_figure",
    "markov_figure",
    "memorising_figure",
    "noise_figure",
    "noisy_figure",
    "phase_figure",
    "plane_figure",
    "quantised_figure",
    "save_all",
    "save_curve",
    "save_figure",
    "snapshot_panel",
    "style",
    "training_curves",
    "verdict_figure",
    "weight_figure",
]
