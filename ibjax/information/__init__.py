"""Information of distributions: exact numbers from tables, never from samples."""

from ibjax.information.measures import entropy, kl_divergence, mutual_information
from ibjax.information.units import UNITS, convert

__all__ = ["UNITS", "convert", "entropy", "kl_divergence", "mutual_information"]
