"""Flax networks that return their logits and every layer's activations."""

from ibjax.networks.activations import ACTIVATIONS
from ibjax.networks.augmentation import Augmentation, augmented
from ibjax.networks.convolution import CONVOLUTIONS, Convolution, max_pool
from ibjax.networks.convolutional import ConvNet, edge_cnn, idnns_cnn
from ibjax.networks.functional import Functional, functional
from ibjax.networks.initializers import INITIALIZERS
from ibjax.networks.irevnet import IRevNet
from ibjax.networks.mlp import MLP
from ibjax.networks.scaled import scaled_mlp
from ibjax.networks.zhang import SmallAlexNet, SmallInception

__all__ = [
    "ACTIVATIONS",
    "CONVOLUTIONS",
    "INITIALIZERS",
    "MLP",
    "Augmentation",
    "ConvNet",
    "Convolution",
    "Functional",
    "IRevNet",
    "SmallAlexNet",
    "SmallInception",
    "augmented",
    "edge_cnn",
    "functional",
    "idnns_cnn",
    "max_pool",
    "scaled_mlp",
]
from ibjax.networks.quantised import QuantisedMLP

__all__ = ["ACTIVATIONS", "INITIALIZERS", "MLP", "Functional", "QuantisedMLP", "functional"]
