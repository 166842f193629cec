"""Batches of problems: leading axes of the arguments, and results with these axes first."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ibjax.errors import InputError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
TABLE = -1
"""Axes of a table: two of p(x,y); of a pair p(x), p(y|x) one and two."""


def batched(*, stack: bool = True, **axes: int) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Let a function of one problem take leading axes: the problems are solved one by one, with one compiled program.

    Args:
        stack: return what the function returns with an array in every field: fields of different sizes are filled up
            with 0, a text is that of all. Else an array of results, for those that have methods or sizes of their own.
        **axes: how many axes an argument has for one problem, or `TABLE`. Leading axes are broadcast.

    Returns:
        A decorator. With leading axes the function raises an `InputError` also if they do not fit each other, and
        names the index of a wrong problem.
    """

    def decorate(solve: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        signature = inspect.signature(solve)
        of_one: Callable[..., Result] = solve

        @functools.wraps(solve)
        def solve_all(*args: Arguments.args, **settings: Arguments.kwargs) -> Any:
            given = signature.bind(*args, **settings).arguments
            named = {name: (given[name], n) for name, n in axes.items() if given.get(name) is not None}
            leading, problems = split(named)
            if not leading:
                return solve(*args, **settings)
            found = np.empty(leading, object)
            for index, problem in problems:
                with naming(index):
                    found[index] = of_one(**{**given, **problem})
            return _stacked(found) if stack else found

        return solve_all

    return decorate


def split(given: dict[str, tuple[Any, int]]) -> tuple[tuple[int, ...], Iterator[tuple[tuple[int, ...], dict]]]:
    """Leading axes of arguments, and every problem with its index.

    Args:
        given: by name the argument and how many axes it has for one problem.

    Raises:
        InputError: the leading axes do not fit each other, or one of them is empty; or an argument is no array.
    """
    arrays = {name: _arrays(name, value, axes) for name, (value, axes) in given.items()}
    shapes = {name: [a.shape[: max(a.ndim - n, 0)] for a, n in part] for name, part in arrays.items()}
    try:
        leading = np.broadcast_shapes(*(shape for many in shapes.values() for shape in many))
    except ValueError:
        listed = ", ".join(f"{name} {' and '.join(map(str, many))}" for name, many in shapes.items())
        raise InputError(f"leading axes must fit each other, got {listed}") from None
    if 0 in leading:
        raise InputError(f"there is no problem: the leading axes are {leading}")

    def one(index: tuple[int, ...]) -> dict[str, Any]:
        found = {}
        for name, many in arrays.items():
            spread = [np.broadcast_to(a, leading + a.shape[a.ndim - min(n, a.ndim) :])[index] for a, n in many]
            found[name] = tuple(spread) if len(spread) > 1 else spread[0]
        return found

    return leading, ((index, one(index)) for index in np.ndindex(*leading))


def _arrays(name: str, value: Any, axes: int) -> list[tuple[np.ndarray, int]]:
    """Arrays of an argument, and how many axes they have for one problem."""
    if axes == TABLE and hasattr(value, "p_x") and hasattr(value, "p_y_given_x"):
        value = value.p_x, value.p_y_given_x
    try:
        if axes != TABLE:
            return [(np.asarray(value), axes)]
        if isinstance(value, (tuple, list)) and len(value) == 2 and np.ndim(value[0]) < np.ndim(value[1]):
            return [(np.asarray(part), n) for part, n in zip(value, (1, 2), strict=True)]
        return [(np.asarray(value), 2)]
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of numbers, rows of one length") from None


@contextlib.contextmanager
def naming(index: tuple[int, ...]) -> Iterator[None]:
    """Say of an `InputError` which problem of several it is about."""
    try:
        yield
    except InputError as error:
        if not index:
            raise
        raise InputError(f"problem {index if len(index) > 1 else index[0]}: {error}") from None


def _stacked(found: np.ndarray) -> Any:
    """One result of an array of results."""
    fields: list[Any] = []
    for values in zip(*found.flat, strict=True):
        if isinstance(values[0], str):
            fields.append(values[0])
            continue
        arrays = [np.asarray(value) for value in values]
        if arrays[0].ndim:
            size = np.max([a.shape for a in arrays], axis=0)
            arrays = [np.pad(a, [(0, most - n) for most, n in zip(size, a.shape, strict=True)]) for a in arrays]
        fields.append(np.stack(arrays).reshape(found.shape + arrays[0].shape))
    return type(found.flat[0])(*fields)
