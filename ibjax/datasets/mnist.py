"""MNIST and Fashion-MNIST, from files in the IDX format."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ibjax.datasets.dataset import Dataset
from ibjax.datasets.files import check_sha256, read_bytes
from ibjax.datasets.images import images
from ibjax.datasets.sources import PARTS, SOURCES, find, places
from ibjax.errors import InputError, choose

_PREFIX = {"train": "train", "test": "t10k"}


def mnist(folder: str | Path | None = None, split: str = "train", verify: bool = True) -> Dataset:
    """The handwritten digits: 60,000 images to train on, 10,000 to test, each 28 x 28 grey values.

    Args:
        folder: where the IDX files are (``train-images-idx3-ubyte`` and so on, plain or gzip, ``mnist-`` may stand
            before the name): itself, or in its ``mnist`` or ``MNIST/raw``. By default the folder that the variable
            IBJAX_DATA names; without either the files are fetched once, to the user's cache (see
            `ibjax.datasets.fetch`).
        split: ``"train"`` or ``"test"``.
        verify: whether the files must be the known ones, to the last bit. False takes any in that format: a part
            of MNIST, or images of one's own with labels 0 to 9.

    Returns:
        A `Dataset` with x of shape (n, 28, 28, 1) in [0, 1], which convolutions take; for an `MLP` use
        `ibjax.datasets.flatten`. Its I(X;Y) is None: of the images' distribution it is not known.

    Raises:
        InputError: a file is missing, truncated, of another kind (the magic number tells) or not the known one.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())  # with two images of one's own instead of the 60,000
        >>> header = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28])
        >>> _ = (folder / "train-images-idx3-ubyte").write_bytes(header + bytes(2 * 28 * 28))
        >>> _ = (folder / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 1]))
        >>> mnist(folder, verify=False).x.shape
        (2, 28, 28, 1)

    References:
        LeCun, Bottou, Bengio & Haffner (1998), "Gradient-based learning applied to document recognition".
    """
    return _load("mnist", folder, split, verify)


def fashion_mnist(folder: str | Path | None = None, split: str = "train", verify: bool = True) -> Dataset:
    """Articles of clothing in the form of MNIST: 60,000 images to train on, 10,000 to test, each 28 x 28 grey values.

    Args:
        folder: as in `mnist`; the files have the same names, so next to MNIST's they belong into ``fashion-mnist`` or
            ``FashionMNIST/raw``, or have ``fashion-mnist-`` before their names.
        split: ``"train"`` or ``"test"``.
        verify: as in `mnist`; it is what tells MNIST's files from these.

    Returns:
        A `Dataset` as of `mnist`.

    Raises:
        InputError: as `mnist`.

    Example:
        >>> fashion_mnist("/data", "tset")
        Traceback (most recent call last):
            ...
        ibjax.errors.InputError: unknown split 'tset': did you mean 'test'? Choose from train, test

    References:
        Xiao, Rasul & Vollgraf (2017), "Fashion-MNIST: a novel image dataset for benchmarking machine learning
        algorithms".
    """
    return _load("fashion-mnist", folder, split, verify)


def _load(name: str, folder: str | Path | None, split: str, verify: bool) -> Dataset:
    prefix, where = _PREFIX[choose("split", split, PARTS)], places(name, folder)
    source, arrays = SOURCES[name], []
    for kind, axes in (("images", 3), ("labels", 1)):
        file = f"{prefix}-{kind}-idx{axes}-ubyte"
        dotted = f"{prefix}-{kind}.idx{axes}-ubyte"
        # Some archives write a dot; the name of the set stands before where sets share a folder.
        names = [spelling + ending for spelling in (dotted, f"{name}-{file}", file) for ending in (".gz", "")]
        path = find(name, where, names)
        content = read_bytes(path)
        arrays.append(parse_idx(content, axes, path))
        if verify:  # after the format, whose faults say more
            check_sha256(path, file, content, source.contents[file], source.title)
    pixels, labels = arrays
    return images(pixels[..., None], labels, f"{source.title} ({split})")


def parse_idx(content: bytes, axes: int, path: str | Path) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in an IDX file: magic number 0x0000 08 ``axes``, each length in four bytes, the values.

    Args:
        content: the file, unpacked.
        axes: how many the array must have: 3 for images, 1 for labels.
        path: its name, for the messages.

    Raises:
        InputError: the magic number is another, or the length is not what the header says.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), 1, "labels")
        array([7, 9], dtype=uint8)
    """
    magic, start = bytes([0, 0, 8, axes]), 4 + 4 * axes
    if content[:4] != magic[: len(content)]:
        raise InputError(
            f"{path} has the magic number 0x{content[:4].hex()}, not 0x{magic.hex()} of an IDX file of bytes with "
            f"{axes} axes: is it another file?"
        )
    if len(content) < start:
        raise InputError(
            f"{path} is truncated: it ends within its header, after {len(content)} bytes; delete it and fetch it again"
        )
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", axes, 4))
    if len(content) - start != math.prod(shape):
        state = "is truncated" if len(content) - start < math.prod(shape) else "is too long"
        raise InputError(
            f"{path} {state}: its header says {' x '.join(map(str, shape))} bytes, it has {len(content) - start}; "
            "delete it and fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
