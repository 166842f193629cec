"""A chunk's training state on disk: one file, replaced as a whole, nothing unpickled."""

import io
import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ibjax.errors import InputError

_UNREADABLE = (KeyError, ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


AT_ONCE = 8
"""Files that are forced to the disk at the same time: most of it is waiting."""


def durable(*paths: Path) -> None:
    """Force files, and the folder entries that name them, onto the disk."""
    wanted = {*paths, *(path.parent for path in paths)}
    if wanted:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(_sync, wanted))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file aside, force it to the disk and rename it over the old one: there is a whole one at any time."""
    aside = path.with_suffix(".part")
    aside.write_bytes(content)
    _sync(aside)
    aside.replace(path)
    _sync(path.parent)


def save_state(path: Path, state: Any, segments: int) -> None:
    """Write a state (NumPy leaves) and how many segments are done; the last one is the only one that is kept."""
    content = io.BytesIO()
    np.savez(content, segments=segments, **{f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves(state))})
    replace_whole(path, content.getvalue())


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
    except _UNREADABLE as error:
        raise InputError(f"{path} is damaged ({error}): run again with --resume to train its replicas anew") from error
    if not same or any(o.shape != n.shape or o.dtype != n.dtype for o, n in zip(leaves, loaded, strict=True)):
        raise InputError(f"{path} holds another network's state: choose another output folder")
    return jax.tree.unflatten(tree, loaded), segments


def what_is_wrong(path: Path) -> str:
    """Read a state whatever its structure: empty if it can be read, else why not."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            for name in file.files:
                file[name]
    except FileNotFoundError:
        return "missing"
    except _UNREADABLE as error:
        return f"damaged ({error})"
    return ""
