"""Checks of tables before anything is computed: what is traced has no values to check yet."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.errors import InputError


def concrete(*arrays: Any) -> bool:
    """Whether all arrays, or lists of numbers, have values now, rather than inside a transformation."""
    return not any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(arrays))


def as_numbers(name: str, a: Any) -> Any:
    """Return a JAX array as it is and anything else as a NumPy array; integers become floats.

    Raises:
        InputError: ``a`` is no array of real numbers.
    """
    if not isinstance(a, jax.Array):
        try:
            a = np.asarray(a) if concrete(a) else jnp.asarray(a)
        except ValueError as error:
            raise InputError(f"{name} must be an array of numbers: give every row the same length") from error
    real = jnp.issubdtype(a.dtype, jnp.floating)
    if not (real or jnp.issubdtype(a.dtype, jnp.integer) or a.dtype == bool):
        raise InputError(f"{name} must be real numbers, got {a.dtype}: count or encode categories first")
    return a if real else a.astype(jnp.result_type(float) if isinstance(a, jax.Array) else np.float64)


def as_table(name: str, a: Any) -> Any:
    """Return numbers with one axis a variable.

    Raises:
        InputError: fewer than two axes, or an empty one.
    """
    a = as_numbers(name, a)
    if a.ndim < 2 or 0 in a.shape:
        raise InputError(f"{name} must have one axis a variable, two or more, none of them empty, got shape {a.shape}")
    return a


def check_finite(name: str, a: Any) -> None:
    """Raise if a known value is not finite.

    Raises:
        InputError: with the index of the first such value.
    """
    if concrete(a):
        _raise_at(name, a, ~np.isfinite(np.asarray(a)), "remove or repair it")


def check_not_negative(name: str, a: Any) -> None:
    """Raise if a known value is not finite or negative.

    Raises:
        InputError: with the index of the first such value.
    """
    check_finite(name, a)
    if concrete(a):
        _raise_at(name, a, np.asarray(a) < 0, "no mass is negative; set it to 0 if it is rounding")


def normalised(name: str, p: Any, axes: tuple[int, ...], remedy: str) -> Any:
    """Return probabilities divided by their sums along the axes; the other axes count the distributions.

    Raises:
        InputError: with the index of the first value that is negative or not finite, or of the first distribution whose
            sum is not 1 to 1e-6 or half the digits of a lower precision. What is traced is NaN then.
    """
    check_not_negative(name, p)
    xp = p.__array_namespace__()
    total = p.sum(axis=axes, keepdims=True)
    right = (p >= 0).all(axis=axes, keepdims=True) & (abs(total - 1) <= max(1e-6, float(jnp.finfo(p.dtype).eps) ** 0.5))
    if concrete(right) and not np.asarray(right).all():
        first = int(np.argmin(np.asarray(right).reshape(-1)))
        row = f"[{first}]" if len(axes) < p.ndim else ""
        raise InputError(f"{name}{row} sums to {np.asarray(total).reshape(-1)[first]:.6g}, not to 1: {remedy}")
    return xp.where(right, p / total, xp.nan)


def _raise_at(name: str, a: Any, wrong: np.ndarray, remedy: str) -> None:
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise InputError(f"{name}[{', '.join(map(str, index))}] is {np.asarray(a)[index]}: {remedy}")
