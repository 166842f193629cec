"""Arrays from a NumPy archive; nothing in it is unpickled."""

import dataclasses
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ibjax.datasets.dataset import Dataset, from_arrays
from ibjax.datasets.sources import PARTS
from ibjax.errors import InputError, choose


def read_archive(path: str | Path, example: str) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file by name.

    Args:
        path: the file.
        example: arguments of `numpy.savez` that would make one, for the error messages.

    Raises:
        InputError: the file is missing or damaged, or holds objects or a single array.
    """
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: save one with numpy.savez(path, {example})") from error
    except (
        OSError, ValueError, EOFError, TypeError, AttributeError, RuntimeError, MemoryError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        # NumPy's own words recommend to unpickle.
        raise InputError(f"{path} is no NumPy .npz archive of plain arrays: make it with numpy.savez") from error


def from_file(path: str | Path, split: str | None = None, name: str | None = None) -> Dataset:
    """Make a data set of one's own arrays in an ``.npz`` file, checked as `ibjax.datasets.from_arrays` does.

    Args:
        path: the file, with arrays ``x`` (n, ...) and ``y`` (n,), and ``p_y_given_x`` (n, classes) if that is known.
            They are kept as they are: divide bytes of images by 255 before they are saved.
        split: ``"train"`` or ``"test"`` takes ``x_train``, ``y_train`` and so on instead; the classes are then those of
            both parts.
        name: a word for titles and stores, by default the file's name.

    Returns:
        The data set.

    Raises:
        InputError: the file is missing or damaged, lacks an array, or `ibjax.datasets.from_arrays` refuses one.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "mine.npz")
        >>> np.savez(path, x=np.eye(4), y=np.array([0, 1, 1, 0]))
        >>> data = from_file(path)
        >>> data.x.shape, data.name
        ((4, 4), 'mine')
    """
    ending = "" if split is None else f"_{choose('split', split, PARTS)}"
    arrays = read_archive(path, f"x{ending}=..., y{ending}=...")
    for wanted in (f"x{ending}", f"y{ending}"):
        if wanted not in arrays:
            raise InputError(
                f"{path} has no array {wanted}, only {', '.join(arrays) or 'none'}: save it with that name"
            )
    p = arrays.get(f"p_y_given_x{ending}")
    data = from_arrays(arrays[f"x{ending}"], arrays[f"y{ending}"], p, name or Path(path).stem)
    others = (arrays.get(f"y_{part}") for part in PARTS if split is not None)
    top = max((int(y.max()) for y in others if y is not None and y.size and y.dtype.kind in "iu"), default=0)
    return data if p is not None else dataclasses.replace(data, classes=max(data.classes, top + 1))
