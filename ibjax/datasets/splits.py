"""Splits of a data set into a training and a test part."""

import jax
import numpy as np
from jaxtyping import Array, Key

from ibjax.datasets.dataset import Dataset, subset
from ibjax.errors import InputError, choose

SPLITS = ("random", "stratified", "first")
"""Names of the ways to split."""


def split(data: Dataset, fraction: float, how: str, key: Key[Array, ""]) -> tuple[Dataset, Dataset]:
    """Split a data set into (train, test), with ``round(fraction n)`` training rows.

    Args:
        data: the whole.
        fraction: share of the training part, 0.01 to 1; with 1 the test part is empty.
        how: ``"random"``; ``"stratified"``, every class in its share of the whole (largest remainders);
            or ``"first"``, the first rows in the order they have. The last is the quirk of the original
            IDNNs code: on the 12-bit task in its lexicographic order p(y=1) is then 0.44 in the training
            part and 0.84 in the test part.
        key: randomness of the draw; the same key gives the same split.

    Returns:
        The training part and the test part. Random parts are in random order.

    Raises:
        InputError: the fraction is out of range or leaves no training row, or ``how`` is unknown.

    Example:
        >>> from ibjax.datasets import szt
        >>> train, test = split(szt(), 0.8, "random", jax.random.key(0))
        >>> len(train), len(test)
        (3277, 819)
    """
    choose("split", how, SPLITS)
    if not 0.01 <= fraction <= 1.0:
        raise InputError(f"fraction must be from 0.01 to 1, got {fraction}: 0.8 trains on 80 %")
    n = len(data)
    size = round(fraction * n)
    if size == 0:
        raise InputError(f"fraction {fraction} of {n} rows leaves no training row: raise it")
    order = np.arange(n)
    if how != "first":
        order = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(n)
    if how == "stratified":
        order = _stratify(np.asarray(data.y), order, size)
    return (
        subset(data, order[:size], f"{data.name} (train)"),
        subset(data, order[size:], f"{data.name} (test)"),
    )


def _stratify(y: np.ndarray, order: np.ndarray, size: int) -> np.ndarray:
    """Reorder so that the first ``size`` rows hold each class in its share, by largest remainders."""
    share = np.bincount(y) * (size / len(y))
    quota = np.floor(share).astype(int)
    for label in np.argsort(quota - share, kind="stable")[: size - quota.sum()]:
        quota[label] += 1
    rank = np.empty(len(y), int)
    for label, count in enumerate(np.bincount(y)):
        rank[order[y[order] == label]] = np.arange(count)
    chosen = rank[order] < quota[y[order]]
    return np.concatenate([order[chosen], order[~chosen]])
