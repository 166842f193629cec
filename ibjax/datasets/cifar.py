"""CIFAR-10, from the files of its binary version."""

from pathlib import Path

import numpy as np

from ibjax.datasets.dataset import Dataset
from ibjax.datasets.files import check_sha256, read_bytes, read_members
from ibjax.datasets.images import images
from ibjax.datasets.sources import PARTS, SOURCES, find, places
from ibjax.errors import InputError, choose

ARCHIVE = "cifar-10-binary.tar.gz"
_BATCHES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
_UNPACKED = "cifar-10-batches-bin"
_PICKLED = ("cifar-10-batches-py", "cifar-10-python.tar.gz")
_ROW = 1 + 3 * 32 * 32
"""Bytes of an image: its label, then 32 x 32 red, green and blue values."""


def cifar10(folder: str | Path | None = None, split: str = "train", verify: bool = True) -> Dataset:
    """Photographs of ten kinds of things: 50,000 to train on, 10,000 to test, each 32 x 32 pixels in three colours.

    Args:
        folder: where the binary version is, ``cifar-10-binary.tar.gz`` or its files (``data_batch_1.bin`` and so on):
            itself, or in its ``cifar10``, ``cifar-10`` or ``cifar-10-batches-bin``. By default the folder that the
            variable IBJAX_DATA names; without either the archive is fetched once, to the user's cache (see
            `ibjax.datasets.fetch`). The archive is read where it lies, nothing is unpacked.
        split: ``"train"`` or ``"test"``.
        verify: whether the files must be the known ones, to the last bit. False takes any in that format.

    Returns:
        A `Dataset` with x of shape (n, 32, 32, 3) in [0, 1], which convolutions take (614 MB to train on); for an
        `MLP` use `ibjax.datasets.flatten`. Its I(X;Y) is None: of the images' distribution it is not known.

    Raises:
        InputError: a file is missing, truncated or not the known one; the archive has a member that climbs out of its
            folder or is a link or a device; or only the pickled Python version is there, which is never unpickled.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())  # with one image of one's own instead of the 10,000
        >>> _ = (folder / "test_batch.bin").write_bytes(bytes([7]) + bytes(3 * 32 * 32))
        >>> cifar10(folder, "test", verify=False).x.shape
        (1, 32, 32, 3)

    References:
        Krizhevsky (2009), "Learning multiple layers of features from tiny images".
    """
    names, source = _BATCHES[choose("split", split, PARTS)], SOURCES["cifar10"]
    contents = _read(places("cifar10", folder), names)
    for name, (path, content) in contents.items():
        if len(content) == 0 or len(content) % _ROW:
            raise InputError(
                f"{name} of {path} has {len(content)} bytes, no multiple of {_ROW}: it is truncated or not of "
                "CIFAR-10's binary version; delete it and fetch it again"
            )
        if verify:
            check_sha256(path, name, content, source.contents[name], source.title)
    rows = np.concatenate([np.frombuffer(content, np.uint8).reshape(-1, _ROW) for _, content in contents.values()])
    planes = rows[:, 1:].reshape(-1, 3, 32, 32)
    return images(planes.transpose(0, 2, 3, 1), rows[:, 0], f"{source.title} ({split})")


def _read(where: list[Path], names: tuple[str, ...]) -> dict[str, tuple[Path, bytes]]:
    """Path and content of every batch: of files if there is one, else of the archive."""
    folders = [place for root in where for place in (root / _UNPACKED, root)]
    if any((place / name).exists() for place in folders for name in names):
        paths = {name: find("cifar10", folders, [name]) for name in names}
        return {name: (path, read_bytes(path)) for name, path in paths.items()}
    pickled = [root / name for root in where for name in _PICKLED if (root / name).exists()]
    if pickled and not any((place / ARCHIVE).exists() for place in folders):
        raise InputError(
            f"{pickled[0]} is CIFAR-10's Python version, which is pickled: get its binary version {ARCHIVE}"
        )
    path = find("cifar10", folders, [ARCHIVE.removesuffix(".gz"), ARCHIVE])
    return {name: (path, content) for name, content in sorted(read_members(path, names).items())}
