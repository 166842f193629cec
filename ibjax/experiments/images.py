"""Public images as the studies take them: so many to train on and so many to test."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from ibjax.datasets import Dataset, cifar10, fashion_mnist, mnist, subset
from ibjax.errors import InputError, choose

IMAGES: dict[str, Callable[..., Dataset]] = {"cifar10": cifar10, "fashion-mnist": fashion_mnist, "mnist": mnist}
"""Name -> reader of a folder and a part."""


def first_images(name: str, folder: str | None, split: str, count: int | None) -> Dataset:
    """The first images of one part of a public data set, whose order is a mixed one.

    Args:
        name: a name of `IMAGES`.
        folder: where its files are; None for that of IBJAX_DATA, else they are fetched.
        split: ``"train"`` or ``"test"``.
        count: how many; None for all.

    Raises:
        InputError: an unknown name, more images than there are, or none.
    """
    whole = IMAGES[choose("dataset", name, IMAGES)](folder, split)
    if count is None:
        return whole
    if not 1 <= count <= len(whole):
        raise InputError(f"{whole.name} has {len(whole)} images, {count} are asked for: take 1 to {len(whole)}")
    return subset(whole, np.arange(count), whole.name)


def smaller(run: xr.Dataset, paper: Any) -> bool:
    """Whether a run has other images than a config asks for, or not all of them."""
    stored = json.loads(run.attrs["config"])
    return any(stored[name] != getattr(paper, name) for name in ("dataset", "train_images", "test_images"))
