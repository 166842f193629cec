"""The one exception that a wrong setting, file or array raises."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A setting, file or array is wrong; the message is one line that names it and the remedy."""


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is one of ``known``, else raise an `InputError` that suggests the nearest.

    Example:
        >>> choose("activation", "tanh", ["tanh", "relu"])
        'tanh'
        >>> choose("activation", "tahn", ["tanh", "relu"])
        Traceback (most recent call last):
            ...
        ibjax.errors.InputError: unknown activation 'tahn': did you mean 'tanh'? Choose from tanh, relu
    """
    names = list(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"unknown {kind} {name!r}: {hint}Choose from {', '.join(names)}")
