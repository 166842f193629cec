"""Estimators that train networks themselves: variational bounds and density models, one compiled run an estimate."""

from ibjax.neural import bounds
from ibjax.neural.entropies import DifferenceOfEntropies
from ibjax.neural.variational import CRITICS, NWJ, SMILE, DonskerVaradhan, InfoNCE

__all__ = ["CRITICS", "NWJ", "SMILE", "DifferenceOfEntropies", "DonskerVaradhan", "InfoNCE", "bounds"]
