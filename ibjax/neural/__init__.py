"""Estimators that train or run networks: variational bounds and density models, one compiled run each; noisy layers."""

from ibjax.neural import bounds
from ibjax.neural.entropies import DifferenceOfEntropies
from ibjax.neural.noisy import NoisyInformation, NoisyNetwork
from ibjax.neural.variational import CRITICS, NWJ, SMILE, DonskerVaradhan, InfoNCE

__all__ = [
    "CRITICS",
    "NWJ",
    "SMILE",
    "DifferenceOfEntropies",
    "DonskerVaradhan",
    "InfoNCE",
    "NoisyInformation",
    "NoisyNetwork",
    "bounds",
]
