"""Batches of problems: a result of arrays in place of one of numbers."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from ibjax.errors import InputError

Result = TypeVar("Result", bound=tuple[Any, ...])


def each(solve: Callable[..., Result], **problem: tuple[Any, int]) -> Result:
    """Solve the problems of leading axes one by one, all with one compiled program since their shapes are one.

    Args:
        solve: of one problem, by keywords.
        **problem: by name the argument, which may be None, and how many axes it has for one problem. Leading axes are
            broadcast against each other.

    Returns:
        What ``solve`` returns; with leading axes an array of that shape for every field.

    Raises:
        InputError: as ``solve``, with the index of the problem; or the leading axes do not fit each other.
    """
    given = {name: (np.asarray(a), axes) for name, (a, axes) in problem.items() if a is not None}
    leading = {name: a.shape[: max(a.ndim - axes, 0)] for name, (a, axes) in given.items()}
    try:
        batch = np.broadcast_shapes(*leading.values())
    except ValueError:
        shapes = ", ".join(f"{name} {shape}" for name, shape in leading.items())
        raise InputError(f"leading axes must fit each other, got {shapes}") from None
    if not batch:
        return solve(**{name: a for name, (a, _) in problem.items()})
    spread = {
        name: np.broadcast_to(a, batch + a.shape[len(leading[name]) :]) if leading[name] else a
        for name, (a, _) in given.items()
    }
    found = []
    for index in np.ndindex(*batch):
        one = {name: a[index] if leading[name] else a for name, a in spread.items()}
        try:
            found.append(solve(**one))
        except InputError as error:
            raise InputError(f"problem {index if len(index) > 1 else index[0]}: {error}") from None
    if not found:
        raise InputError(f"there is no problem: the leading axes are {batch}")
    fields = (np.stack([np.asarray(value) for value in values]) for values in zip(*found, strict=True))
    return cast(Result, type(found[0])(*(field.reshape(batch + field.shape[1:]) for field in fields)))
