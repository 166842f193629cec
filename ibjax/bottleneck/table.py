"""The tables that this room takes: checked once, on the host, in double precision."""

from typing import Any, NamedTuple

import numpy as np

from ibjax.errors import InputError

SLACK = 1e-6
"""How far a sum of probabilities may be from one: float32 tables of a few thousand entries pass and are normalised."""

NEGLIGIBLE = 1e-30
"""Probability of an input below which it has no mass: it carries no information that rounding would leave."""


class Table(NamedTuple):
    """p(x), shape (n,), and p(y|x), shape (n, |Y|): NumPy arrays in double precision."""

    p_x: np.ndarray
    p_y_given_x: np.ndarray


def as_table(joint: Any) -> Table:
    """Return p(x) and p(y|x) of whatever holds them, checked and normalised exactly.

    Args:
        joint: a table of p(x,y), shape (n, |Y|); or a pair of p(x), shape (n,), and p(y|x), shape (n, |Y|); or an
            object with the attributes ``p_x`` and ``p_y_given_x``. Rows without mass (below 1e-30) may hold anything.

    Returns:
        The table. The conditional of a row without mass is p(y).

    Raises:
        InputError: a value is negative or not finite, sums are not one, shapes differ, or X or Y has one symbol.

    Example:
        >>> as_table(np.array([[0.4, 0.1], [0.1, 0.4]])).p_y_given_x
        array([[0.8, 0.2],
               [0.2, 0.8]])
    """
    if hasattr(joint, "p_x") and hasattr(joint, "p_y_given_x"):
        joint = (joint.p_x, joint.p_y_given_x)
    if isinstance(joint, (tuple, list)) and len(joint) == 2 and np.ndim(joint[0]) == 1 and np.ndim(joint[1]) == 2:
        p_x, conditional = (numbers(name, a) for name, a in zip(("p_x", "p_y_given_x"), joint, strict=True))
    else:
        table = numbers("the table", joint)
        if table.ndim != 2:
            raise InputError(
                f"a table must be p(x,y) of shape (n, |Y|) or the pair p(x), p(y|x), got shape {table.shape}"
            )
        _not_negative("the table", table)
        p_x = table.sum(axis=1)
        conditional = table / np.where(p_x > 0, p_x, 1.0)[:, None]
    if conditional.shape[:1] != p_x.shape:
        raise InputError(f"p_x has {len(p_x)} inputs and p_y_given_x {len(conditional)}: they must be the same inputs")
    _not_negative("p_x", p_x)
    total = p_x.sum()
    if not abs(total - 1) <= SLACK:
        raise InputError(f"the probabilities sum to {total:.6g}, not 1: normalise them; of counts, divide by the total")
    p_x = np.where(p_x < NEGLIGIBLE, 0.0, p_x)
    mass = p_x > 0
    _not_negative("p_y_given_x", conditional, mass)
    sums = conditional.sum(axis=1)
    wrong = mass & ~(abs(sums - 1) <= SLACK)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"p_y_given_x sums to {sums[row]:.6g} in row {row}, not 1: normalise every row")
    conditional = conditional / np.where(mass, sums, 1.0)[:, None]
    p_x = p_x / total
    p_y = p_x[mass] @ conditional[mass]
    if mass.sum() < 2:
        raise InputError("X has one symbol with mass: there is nothing to compress, give a table with two or more")
    if (p_y > 0).sum() < 2:
        raise InputError("Y has one symbol with mass: there is nothing to tell, give a table with two or more")
    return Table(p_x, np.where(mass[:, None], conditional, p_y))


def as_betas(beta: Any) -> np.ndarray:
    """Return trade-offs as a one-dimensional array, or raise an `InputError` that names the wrong one."""
    betas = np.atleast_1d(numbers("beta", beta, "numbers"))
    if betas.ndim != 1 or betas.size == 0:
        raise InputError(f"beta must be a number or a list of them, got shape {np.shape(beta)}")
    wrong = ~(np.isfinite(betas) & (betas > 0))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(f"beta[{i}] is {betas[i]:g}: it must be positive and finite; it multiplies I(T;Y) in nats")
    return betas


def numbers(name: str, value: Any, kind: str = "probabilities") -> np.ndarray:
    """Return an array in double precision, or raise an `InputError`."""
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of {kind}, got {type(value).__name__}") from None


def check_limits(tolerance: Any, max_iterations: Any, units: str = "nats") -> None:
    """Raise an `InputError` if the tolerance of an iteration, or the number of its steps, makes no sense."""
    if not 0 < tolerance < np.inf:
        raise InputError(f"tolerance is {tolerance}: it must be positive, in {units}")
    if not isinstance(max_iterations, int | np.integer) or max_iterations < 1:
        raise InputError(f"max_iterations is {max_iterations}: it must be a whole number, at least 1")


def _not_negative(name: str, value: np.ndarray, rows: np.ndarray | None = None) -> None:
    wrong = ~(np.isfinite(value) & (value >= 0))
    if rows is not None:
        wrong &= rows[:, None]
    if value.size == 0:
        raise InputError(f"{name} is empty: give it at least two inputs and two labels")
    if wrong.any():
        index = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), value.shape))
        where = index[0] if len(index) == 1 else index
        raise InputError(f"{name}[{where}] is {value[index]:g}: a probability is at least 0 and finite")
