"""A chunk's training state on disk: one file, replaced as a whole, nothing unpickled."""

import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ibjax.errors import InputError


def durable(path: Path) -> None:
    """Force a file, and the folder entry that names it, onto the disk."""
    for target in (path, path.parent):
        handle = os.open(target, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save_state(path: Path, state: Any, segments: int) -> None:
    """Write a state (NumPy leaves) and how many segments are done: aside, to disk, then renamed over the old."""
    aside = path.with_suffix(".part")
    with aside.open("wb") as file:
        np.savez(file, segments=segments, **{f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves(state))})
    durable(aside)
    aside.replace(path)
    durable(path)


def load_state(path: Path, like: Any) -> tuple[Any, int]:
    """Read a state with the structure, shapes and dtypes of ``like``, and the number of segments done.

    Raises:
        InputError: the file is damaged or belongs to another network.
    """
    leaves, tree = jax.tree.flatten(like)
    try:
        with np.load(path, allow_pickle=False) as file:
            loaded = [file[f"leaf{i}"] for i in range(len(leaves))]
            segments = int(file["segments"])
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged ({error}): delete it and run again with --resume to train its replicas anew"
        ) from error
    for old, new in zip(leaves, loaded, strict=True):
        if old.shape != new.shape or old.dtype != new.dtype:
            raise InputError(f"{path} holds another network's state: choose another output folder")
    return jax.tree.unflatten(tree, loaded), segments
