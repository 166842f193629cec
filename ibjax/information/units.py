"""Units of information: nats inside, bits and hartleys at the edge."""

import math

from ibjax.errors import choose

UNITS = {"nats": 1.0, "bits": math.log(2.0), "hartleys": math.log(10.0)}
"""Name of a unit -> its size in nats."""


def convert(value, *, units: str = "bits"):
    """Return an information given in nats in other ``units``.

    Args:
        value: a number or array, in nats.
        units: ``"bits"``, ``"nats"`` or ``"hartleys"``.

    Returns:
        The same information in ``units``, of the type of ``value``.

    Raises:
        InputError: the unit is unknown.

    Example:
        >>> round(convert(math.log(8.0)), 12)
        3.0
    """
    return value / UNITS[choose("unit", units, UNITS)]
