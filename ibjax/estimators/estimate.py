"""Mutual information of samples in one call, with units and an error bar."""

from typing import Any

from jaxtyping import Array

from ibjax.estimators.base import Estimator, MIEstimate
from ibjax.estimators.parse import parse
from ibjax.estimators.resample import standard_error


def mutual_information(
    x: Any,
    y: Any,
    method: str | Estimator = "ksg",
    *,
    units: str = "bits",
    error: str | None = "jackknife",
    key: Array | None = None,
) -> MIEstimate:
    """Estimate I(X;Y) of samples.

    Args:
        x: samples of shape (n, columns) or (n,), or integer labels (n,).
        y: likewise, n rows too.
        method: an estimator, or the name of one with its settings, as `ibjax.estimators.parse` reads it: ``"ksg"``,
            ``"ksg:k=5"``, ``"gaussian-copula"``, ``"plugin:correction=nsb"``. The default is right for up to about ten
            columns in all and for labels on one side; two sets of labels need ``"plugin"``.
        units: of the value, its error and the diagnostics that are informations: bits, nats or hartleys.
        error: how the standard error is found: ``"jackknife"``, ``"subsampling"``, ``"bootstrap"`` (both need a
            ``key``), or None for the estimator's own, if it has one.
        key: of random parts.

    Returns:
        The estimate; ``advice()`` says in words what calls for caution.

    Raises:
        InputError: an unknown name, or samples that make no sense, with the remedy.

    Example:
        >>> import numpy as np
        >>> x, noise = np.random.default_rng(0).normal(size=(2, 2000))
        >>> found = mutual_information(x, x + noise)
        >>> abs(float(found.value) - 0.5) < 3 * float(found.std_error) < 0.2
        True
    """
    estimator = parse(method) if isinstance(method, str) else method
    if error is None:
        return estimator(x, y, key).to(units)
    return standard_error(error, estimator, x, y, key).to(units)
