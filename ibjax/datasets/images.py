"""Images as a data set: their pixels in [0, 1], their shape kept or flattened."""

import dataclasses

import numpy as np

from ibjax.datasets.dataset import Dataset
from ibjax.errors import InputError

CLASSES = 10
"""Classes of MNIST, Fashion-MNIST and CIFAR-10, in the training part and in the test part."""


def images(pixels: np.ndarray, labels: np.ndarray, name: str) -> Dataset:
    """A data set of images: bytes (n, height, width, channels) divided by 255, labels 0 to 9.

    Raises:
        InputError: no images, as many labels as images there are not, or a label is no class.
    """
    if len(pixels) != len(labels) or len(pixels) == 0:
        raise InputError(f"{name} has {len(pixels)} images and {len(labels)} labels: these files do not go together")
    if labels.max() >= CLASSES:
        row = int((labels >= CLASSES).argmax())
        raise InputError(f"{name} has the label {labels[row]} at row {row}: labels must be 0 to {CLASSES - 1}")
    # In the order of the axes, so that flattening copies nothing.
    x = np.divide(pixels, np.float32(255), order="C")
    return Dataset(x, labels.astype(np.int32), None, None, CLASSES, name)


def flatten(data: Dataset) -> Dataset:
    """The same data with inputs of shape (n, d), as `ibjax.networks.MLP` takes them; no pixel is copied.

    Images come as (n, height, width, channels), which convolutions take; their pixels flatten row by row, the
    channels of a pixel side by side.

    Example:
        >>> from ibjax.datasets import from_arrays
        >>> flatten(from_arrays(np.zeros((4, 28, 28, 1)), np.arange(4))).x.shape
        (4, 784)
    """
    return dataclasses.replace(data, x=data.x.reshape(len(data), int(np.prod(data.x.shape[1:]))))
