"""The real images, read from IBJAX_DATA or the data beside a checkout: skipped where they are not."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from ibjax.datasets import cifar10, corrupt, fashion_mnist, flatten, mnist
from ibjax.errors import InputError

FOLDERS = (os.environ.get("IBJAX_DATA"), Path(__file__).parents[3] / "shared" / "data")


def real(load, split):
    """A real set, checked against its known hashes."""
    for folder in FOLDERS:
        if folder and Path(folder).is_dir():
            try:
                return load(folder, split)
            except InputError as error:
                if "has no file" not in str(error):
                    raise
    return pytest.skip("needs the real images: name their folder in IBJAX_DATA")


MNIST_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.mark.parametrize(
    ("split", "mean", "first"), [("train", 0.1306604762738429, 5), ("test", 0.13251460584233699, 7)]
)
def test_mnist(split, mean, first):
    data = real(mnist, split)
    assert data.x.shape == (sum(MNIST_COUNTS[split]), 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(data.y), MNIST_COUNTS[split])
    assert data.x.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-6)
    assert data.y[0] == first
    assert (data.x.min(), data.x.max()) == (0, 1)
    # Upright: the digit one is taller than wide.
    ones = data.x[data.y == 1, ..., 0].mean(axis=0)
    assert (ones.max(axis=1) > 0.1).sum() > (ones.max(axis=0) > 0.1).sum()


@pytest.mark.parametrize("split", ["train", "test"])
def test_fashion_mnist(split):
    data = real(fashion_mnist, split)
    n = {"train": 60_000, "test": 10_000}[split]
    assert data.x.shape == (n, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(data.y), [n // 10] * 10)
    assert data.x.mean(dtype=np.float64) == pytest.approx({"train": 0.28604, "test": 0.28685}[split], abs=1e-5)


@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar10(split):
    data = real(cifar10, split)
    n = {"train": 50_000, "test": 10_000}[split]
    assert data.x.shape == (n, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(data.y), [n // 10] * 10)
    if split == "train":
        np.testing.assert_allclose(data.x.mean(axis=(0, 1, 2), dtype=np.float64), [0.4914, 0.4822, 0.4465], atol=1e-4)


def test_random_pixels_of_real_images_keep_their_values():
    data = real(mnist, "test")
    found = corrupt(data, "random_pixels", jax.random.key(0))
    np.testing.assert_array_equal(np.sort(flatten(found).x), np.sort(flatten(data).x))
    assert (found.x != data.x).any(axis=(1, 2, 3)).all()
