"""A chunk's training state on disk: one file, replaced as a whole, nothing unpickled."""

import os
import zipfile
import zlib
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
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            same = len(file.files) == len(leaves) + 1
            loaded = [file[f"leaf{i}"] for i in range(len(leaves))]
            segments = int(file["segments"])
    except (KeyError, ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} is damaged ({error}): delete it and run again with --resume to train its replicas anew"
        ) from error
    if not same or any(o.shape != n.shape or o.dtype != n.dtype for o, n in zip(leaves, loaded, strict=True)):
        raise InputError(f"{path} holds another network's state: choose another output folder")
    return jax.tree.unflatten(tree, loaded), segments
