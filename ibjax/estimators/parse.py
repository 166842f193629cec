"""Estimators by name, for the command line and for stored results."""

import dataclasses
from typing import Any

from ibjax.errors import InputError, choose
from ibjax.estimators.binning import Binning

ESTIMATORS: dict[str, type[Binning]] = {"binning": Binning}
"""Name -> estimator."""


def parse(text: str) -> Binning:
    """Read an estimator written as ``name`` or ``name:setting=value,...``; the inverse of ``str``.

    Args:
        text: for example ``"binning"``, ``"binning:rule=width,width=0.07"`` or ``"binning:bins=100,range=layer"``.

    Returns:
        The estimator, with its settings checked.

    Raises:
        InputError: an unknown name or setting, or a value of the wrong type.

    Example:
        >>> str(parse("binning:bins=100,range=neuron"))
        'binning:bins=100,range=neuron'
    """
    name, _, rest = text.partition(":")
    kind = ESTIMATORS[choose("estimator", name, ESTIMATORS)]
    types = {field.name: type(field.default) for field in dataclasses.fields(kind)}
    settings: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        setting, _, value = item.partition("=")
        choose(f"setting of {name}", setting, types)
        try:
            settings[setting] = types[setting](value)
        except ValueError:
            wanted = "a whole number" if types[setting] is int else "a number"
            raise InputError(f"{setting} of {name} must be {wanted}, got {value!r}") from None
    return kind(**settings).checked()
