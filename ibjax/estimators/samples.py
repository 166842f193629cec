"""Checks of samples before anything is compiled, and their one shape inside: (n, columns)."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError
from ibjax.information.checks import concrete


def as_samples(name: str, a: Any, *, at_least: int = 2) -> Float[Array, "n columns"]:
    """Return samples as floats of shape (n, columns); one column may come as (n,).

    Integers become floats of the caller's precision; float32 and float64 are kept.

    Raises:
        InputError: ``a`` is no array of numbers, has another shape, too few rows or no column, or a value that is not
            finite (inside a transformation values are not known: the estimate is NaN then).
    """
    a = as_given(name, a, at_least=at_least)
    if not jnp.issubdtype(a.dtype, jnp.floating):
        a = a.astype(jnp.result_type(float))
    return a[:, None] if a.ndim == 1 else a


def as_given(name: str, a: Any, *, at_least: int = 2) -> Array:
    """Return samples of whatever kind, numbers or labels, (n,) or (n, columns), as they are.

    Raises:
        InputError: as `as_samples`.
    """
    if not hasattr(a, "dtype"):
        a = np.asarray(a)
    if not (jnp.issubdtype(a.dtype, jnp.number) or a.dtype == bool) or jnp.issubdtype(a.dtype, jnp.complexfloating):
        raise InputError(f"{name} must be real numbers, got {a.dtype}: encode categories as integers")
    if a.ndim not in (1, 2):
        raise InputError(f"{name} must have shape (n,) or (n, columns), got {a.shape}: flatten further axes")
    if a.ndim == 2 and a.shape[1] == 0:
        raise InputError(f"{name} has no column")
    if a.shape[0] < at_least:
        raise InputError(f"{name} has {a.shape[0]} samples, {at_least} or more are needed")
    if concrete(a) and not np.isfinite(np.asarray(a)).all():
        row = int(np.argwhere(~np.isfinite(np.asarray(a)))[0][0])
        raise InputError(f"{name} has a value that is not finite in row {row}: remove or repair it")
    return jnp.asarray(_codes(a) if is_discrete(a) else a)


def _codes(a: Any) -> Any:
    """Labels that 32 bits hold: those that they do not are replaced by their ranks."""
    if not concrete(a) or a.dtype.itemsize < 8:
        return a
    values = np.asarray(a)
    if not values.size or (values.min() >= -(2**31) and values.max() < 2**31):
        return a
    return np.unique(values, return_inverse=True)[1].reshape(values.shape)


def is_count(a: Any) -> bool:
    """Whether a setting is a whole number above 0."""
    return isinstance(a, int | np.integer) and not isinstance(a, bool) and int(a) > 0


def positive(name: str, value: Any, remedy: str) -> None:
    """Raise `InputError` unless a setting is a positive number, where its value is known."""
    if concrete(value):
        a = np.asarray(value)
        if a.shape != () or a.dtype.kind not in "fiu" or not (np.isfinite(a) and a > 0):
            raise InputError(f"{name} must be a positive number, got {value!r}: {remedy}")


def is_discrete(a: Any) -> bool:
    """Whether an array holds labels: integers or truth values."""
    dtype = getattr(a, "dtype", None) or np.asarray(a).dtype
    return bool(jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.bool_))


def as_labels(name: str, a: Any, *, at_least: int = 1) -> Integer[Array, " n"]:
    """Return labels, any integers, of shape (n,).

    Raises:
        InputError: they are not integers or have another shape.
    """
    if not hasattr(a, "dtype"):
        a = np.asarray(a)
    if not is_discrete(a):
        raise InputError(f"{name} must be integer labels, got {a.dtype}: use {name}.astype(int) if they are classes")
    if a.ndim != 1 or a.shape[0] < at_least:
        raise InputError(f"{name} must have shape (n,) with n >= {at_least}, got {a.shape}")
    a = jnp.asarray(_codes(a))
    return a.astype(jnp.int32) if a.dtype == bool else a


def as_layer_labels(labels: Any) -> Array:
    """Return what a layer's relevance is measured by: integer labels (n,) or rows p(y|x).

    Raises:
        InputError: real numbers of shape (n,), which are neither.
    """
    labels = jnp.asarray(labels)
    if labels.ndim == 1 and not is_discrete(labels):
        raise InputError(f"labels must be integers or rows p(y|x), got {labels.dtype} of shape {labels.shape}")
    return labels


def as_variable(name: str, a: Any, *, at_least: int = 2) -> Float[Array, "n columns"] | Integer[Array, " n"]:
    """Return integers of shape (n,) as labels, and all else as samples of columns.

    Raises:
        InputError: as `as_labels` and `as_samples`.
    """
    if is_discrete(a) and np.ndim(a) == 1:
        return as_labels(name, a, at_least=at_least)
    return as_samples(name, a, at_least=at_least)


def as_columns(name: str, a: Any, *, at_least: int = 2) -> Float[Array, "n columns"]:
    """Return samples of an estimator that knows columns only.

    Raises:
        InputError: as `as_samples`; or integers of shape (n,), whose numbers mean nothing if they are labels.
    """
    if is_discrete(a) and np.ndim(a) == 1:
        raise InputError(f"{name} is integers, which are labels: use KSG, or {name}.astype(float) if they are numbers")
    return as_samples(name, a, at_least=at_least)


def same_length(**arrays: Array) -> int:
    """Return the common number of samples.

    Raises:
        InputError: the numbers differ.
    """
    lengths = {name: a.shape[0] for name, a in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"the numbers of samples differ: {', '.join(f'{k} has {v}' for k, v in lengths.items())}")
    return next(iter(lengths.values()))
