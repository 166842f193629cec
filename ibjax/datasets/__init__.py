"""Data that a network can be trained on, with its true I(X;Y) where that is known."""

from ibjax.datasets.archive import from_file, read_archive
from ibjax.datasets.cifar import cifar10
from ibjax.datasets.corruptions import CORRUPTIONS, corrupt
from ibjax.datasets.dataset import Dataset, from_arrays, subset
from ibjax.datasets.images import flatten
from ibjax.datasets.mnist import fashion_mnist, mnist
from ibjax.datasets.sources import SOURCES, fetch
from ibjax.datasets.splits import SPLITS, split
from ibjax.datasets.student_teacher import LinearTeacher, student_teacher
from ibjax.datasets.szt import GAMMA_CURVE, GAMMA_PAPER, THETA, szt, szt_orbits, szt_score

__all__ = [
    "CORRUPTIONS",
    "GAMMA_CURVE",
    "GAMMA_PAPER",
    "SOURCES",
    "SPLITS",
    "THETA",
    "Dataset",
    "LinearTeacher",
    "cifar10",
    "corrupt",
    "fashion_mnist",
    "fetch",
    "flatten",
    "from_arrays",
    "from_file",
    "mnist",
    "read_archive",
    "split",
    "student_teacher",
    "subset",
    "szt",
    "szt_orbits",
    "szt_score",
]
