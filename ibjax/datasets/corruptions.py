"""Corrupted labels and pixels: what a network can fit that has nothing to learn from."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Array, Key

from ibjax.datasets.dataset import Dataset
from ibjax.errors import InputError, choose
from ibjax.information import mutual_information

CORRUPTIONS = ("none", "partial_labels", "random_labels", "shuffled_pixels", "random_pixels", "gaussian_pixels")
"""Names of the corruptions."""

_ROWS = 1000
"""Images whose pixels are moved at a time, which bounds the memory."""


def corrupt(data: Dataset, how: str, key: Key[Array, ""], share: float = 0.5) -> Dataset:
    """Corrupt the labels or the pixels of a data set.

    Args:
        data: the whole.
        how: ``"none"``, the data as they are;
            ``"partial_labels"``, every label with probability ``share`` replaced by a class drawn uniformly, which may
            be its own: of C classes share (1 - 1 / C) of the labels change;
            ``"random_labels"``, all of them;
            ``"shuffled_pixels"``, one permutation of the pixels for all images;
            ``"random_pixels"``, another permutation for each image;
            ``"gaussian_pixels"``, normal values with the mean and variance of all values of x, which leave [0, 1].
            Images (n, height, width, channels) keep the channels of a pixel together; of any other shape every value
            is a pixel, so flatten afterwards.
        key: randomness of the draw; the same key gives the same corruption. For the training and the test part take
            the same key to shuffle the pixels of both alike, and two keys for everything else.
        share: probability of a new label, 0 to 1; of ``"partial_labels"`` alone.

    Returns:
        The data, with the same shapes and types. Where p(y|x) is known it becomes (1 - share) p(y|x) + share / C and
        I(X;Y) follows; where only the labels are, the new ones are taken as the function of X that a network
        memorises, so that a known I(X;Y) becomes their entropy.

    Raises:
        InputError: ``how`` is unknown or ``share`` is no probability.

    Example:
        >>> from ibjax.datasets import szt
        >>> noisy = corrupt(szt(), "partial_labels", jax.random.key(0), share=0.2)
        >>> f"{np.mean(noisy.y != szt().y):.2f} changed"
        '0.10 changed'

    References:
        Zhang, Bengio, Hardt, Recht & Vinyals (2017), "Understanding deep learning requires rethinking generalization",
        section 2.1.
    """
    choose("corruption", how, CORRUPTIONS)
    if not 0 <= share <= 1:
        raise InputError(f"share must be from 0 to 1, got {share}: it is the probability of a new label")
    if how == "none" or len(data) == 0:
        return data
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    name = f"{data.name}, {how.replace('_', ' ')}"
    if how == "partial_labels":
        return _labels(data, share, draw, f"{name} {share:g}")
    if how == "random_labels":
        return _labels(data, 1.0, draw, name)
    x = np.asarray(data.x)
    pixels = x.reshape(len(x), -1, x.shape[-1] if x.ndim == 4 else 1)
    new = {"shuffled_pixels": _shuffled, "random_pixels": _random, "gaussian_pixels": _gaussian}[how](pixels, draw)
    return dataclasses.replace(data, x=new.reshape(x.shape), name=name)


def _labels(data: Dataset, share: float, draw: np.random.Generator, name: str) -> Dataset:
    new = draw.random(len(data)) < share
    y = np.where(new, draw.integers(data.classes, size=len(data)), np.asarray(data.y)).astype(np.int32)
    data = dataclasses.replace(data, y=y, name=name)
    if data.p_y_given_x is not None:
        p = (1 - share) * np.asarray(data.p_y_given_x, np.float64) + share / data.classes
        return dataclasses.replace(data, p_y_given_x=p, mutual_information=float(mutual_information(p / len(p))))
    known = None if data.mutual_information is None else data.entropy_y
    return dataclasses.replace(data, mutual_information=known)


def _shuffled(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return pixels[:, draw.permutation(pixels.shape[1])]


def _random(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    new = np.empty_like(pixels)
    for start in range(0, len(pixels), _ROWS):
        part = pixels[start : start + _ROWS]
        order = draw.permuted(np.broadcast_to(np.arange(part.shape[1]), part.shape[:2]), axis=1)
        new[start : start + _ROWS] = np.take_along_axis(part, order[:, :, None], axis=1)
    return new


def _gaussian(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    mean, deviation = pixels.mean(dtype=np.float64), pixels.std(dtype=np.float64)
    new = draw.standard_normal(pixels.shape, dtype=np.float32)
    new *= np.float32(deviation)
    new += np.float32(mean)
    return new
