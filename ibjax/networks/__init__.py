"""Flax networks that return their logits and every layer's activations."""

from ibjax.networks.activations import ACTIVATIONS
from ibjax.networks.functional import Functional, functional
from ibjax.networks.initializers import INITIALIZERS
from ibjax.networks.mlp import MLP

__all__ = ["ACTIVATIONS", "INITIALIZERS", "MLP", "Functional", "functional"]
