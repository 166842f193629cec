"""Data that a network can be trained on, with its true I(X;Y) where that is known."""

from ibjax.datasets.archive import read_archive
from ibjax.datasets.dataset import Dataset, from_arrays, subset
from ibjax.datasets.splits import SPLITS, split
from ibjax.datasets.szt import GAMMA_CURVE, GAMMA_PAPER, THETA, szt, szt_orbits, szt_score

__all__ = [
    "GAMMA_CURVE",
    "GAMMA_PAPER",
    "SPLITS",
    "THETA",
    "Dataset",
    "from_arrays",
    "read_archive",
    "split",
    "subset",
    "szt",
    "szt_orbits",
    "szt_score",
]
