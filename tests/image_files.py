"""Tiny files in the formats of the public sets of images, for the tests of their readers."""

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibjax.datasets import sources
from ibjax.errors import InputError

DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(256, size=(6, 3, 2), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 1, 1, 4], np.uint8)
IMAGES_FILE, LABELS_FILE = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
PHOTOS = DRAW.integers(256, size=(2, 3073), dtype=np.uint8) % 10  # the labels, first, are classes


def idx(array: np.ndarray) -> bytes:
    """A file in the IDX format, as its page describes it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, form: str = "{}", packed: bool = False) -> None:
    """The two training files, their names in the given form."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((IMAGES_FILE, PIXELS), (LABELS_FILE, LABELS)):
        content = idx(array)
        (folder / form.format(name)).write_bytes(gzip.compress(content) if packed else content)


def tar(members: list[tuple[str, bytes] | tarfile.TarInfo]) -> bytes:
    """A gzip tar archive of files, or of members as they are."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                entry = tarfile.TarInfo(member[0])
                entry.size = len(member[1])
                archive.addfile(entry, io.BytesIO(member[1]))
    return stream.getvalue()


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, **changes) -> None:
    """Take other files for the known ones of a set."""
    monkeypatch.setitem(sources.SOURCES, name, sources.SOURCES[name]._replace(**changes))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def refused(*calls: Callable[[], Any], match: str) -> None:
    """Each of the calls must be refused, in one line that matches."""
    for call in calls:
        with pytest.raises(InputError, match=match) as caught:
            call()
        assert "\n" not in str(caught.value)


def read_or_refused(call: Callable[[], Any]) -> Any:
    """What a call returns, or None where it is refused in one line."""
    try:
        return call()
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    return None
