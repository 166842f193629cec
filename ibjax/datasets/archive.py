"""Arrays from a NumPy archive; nothing in it is unpickled."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ibjax.errors import InputError


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
        OSError, ValueError, EOFError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        # NumPy's own words recommend to unpickle.
        raise InputError(f"{path} is no NumPy .npz archive of plain arrays: make it with numpy.savez") from error
