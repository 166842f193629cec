"""Corrupted labels and pixels: what changes, how much, and what stays."""

import dataclasses

import jax
import numpy as np
import pytest

from ibjax.datasets import CORRUPTIONS, corrupt, flatten, from_arrays, subset, szt
from ibjax.errors import InputError

N, CLASSES = 2500, 5
KEY = jax.random.key(0)
DRAW = np.random.default_rng(1)
# Every value differs, and the mean from row to row of an image.
IMAGES = from_arrays(DRAW.random((N, 4, 3, 2)).cumsum(axis=1) / 4, np.arange(N) % CLASSES, name="toy")
LABELS = ("partial_labels", "random_labels")
PIXELS = ("shuffled_pixels", "random_pixels", "gaussian_pixels")


def by_pixel(x):
    """(n, pixels, channels) as a set: each image's pixels in the order of their first channel."""
    pixels = x.reshape(len(x), -1, x.shape[-1])
    return np.take_along_axis(pixels, pixels[:, :, :1].argsort(axis=1), axis=1)


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_shapes_types_and_the_rest_stay(how):
    found = corrupt(IMAGES, how, KEY)
    assert (found.x.shape, found.x.dtype, found.y.shape, found.y.dtype) == ((N, 4, 3, 2), np.float32, (N,), np.int32)
    assert (found.classes, found.mutual_information) == (CLASSES, None)
    assert found.name == {"none": "toy", "partial_labels": "toy, partial labels 0.5"}.get(
        how, f"toy, {how.replace('_', ' ')}"
    )
    assert np.array_equal(found.x, IMAGES.x) == (how not in PIXELS)
    assert np.array_equal(found.y, IMAGES.y) == (how not in LABELS)
    assert np.isfinite(found.x).all()


@pytest.mark.parametrize("how", CORRUPTIONS[1:])
def test_the_key_decides(how):
    first, again, other = (corrupt(IMAGES, how, jax.random.key(seed)) for seed in (3, 3, 4))
    same = jax.tree.map(np.array_equal, first, again)
    assert all(jax.tree.leaves(same))
    assert not (np.array_equal(first.x, other.x) and np.array_equal(first.y, other.y))


def test_the_data_given_are_left_alone():
    x, y = IMAGES.x.copy(), IMAGES.y.copy()
    for how in CORRUPTIONS:
        corrupt(IMAGES, how, KEY)
    np.testing.assert_array_equal(IMAGES.x, x)
    np.testing.assert_array_equal(IMAGES.y, y)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_labels_that_change(share):
    found = corrupt(IMAGES, "partial_labels", KEY, share)
    expected = share * (1 - 1 / CLASSES)
    slack = 4 * np.sqrt(expected * (1 - expected) / N)
    assert abs((found.y != IMAGES.y).mean() - expected) <= slack
    changed = found.y[found.y != IMAGES.y]
    counts = np.bincount(changed, minlength=CLASSES)
    assert (abs(counts - len(changed) / CLASSES) <= 4 * np.sqrt(len(changed)) + 1e-9).all()


def test_random_labels_know_nothing_of_the_images():
    found = corrupt(IMAGES, "random_labels", KEY)
    joint = np.zeros((CLASSES, CLASSES))
    np.add.at(joint, (IMAGES.y, found.y), 1)
    statistic = ((joint - N / CLASSES**2) ** 2 / (N / CLASSES**2)).sum()
    assert statistic < 60  # chi squared of at most 24 degrees of freedom; a share of 0.9 gives over 8000


def test_shuffled_pixels_are_one_permutation_for_all():
    found = corrupt(IMAGES, "shuffled_pixels", KEY)
    index = dataclasses.replace(IMAGES, x=np.arange(24, dtype=np.float32).reshape(1, 4, 3, 2), y=np.zeros(1, np.int32))
    order = corrupt(index, "shuffled_pixels", KEY).x.reshape(12, 2)  # the same key, other images
    np.testing.assert_array_equal(order[:, 0] + 1, order[:, 1])  # channels keep together
    np.testing.assert_array_equal(found.x.reshape(N, 24), IMAGES.x.reshape(N, 24)[:, order.reshape(-1).astype(int)])


def test_random_pixels_are_another_permutation_an_image():
    found = corrupt(IMAGES, "random_pixels", KEY)
    np.testing.assert_array_equal(by_pixel(found.x), by_pixel(IMAGES.x))
    np.testing.assert_array_equal(found.y, IMAGES.y)
    same = dataclasses.replace(
        IMAGES, x=np.broadcast_to(np.arange(24.0, dtype=np.float32).reshape(4, 3, 2), IMAGES.x.shape)
    )
    orders = corrupt(same, "random_pixels", KEY).x.reshape(N, 12, 2)[:, :, 0] / 2
    assert len(np.unique(orders, axis=0)) == N
    # Every pixel goes everywhere equally often.
    for place in range(12):
        counts = np.bincount(orders[:, place].astype(int), minlength=12)
        assert (abs(counts - N / 12) < 5 * np.sqrt(N / 12)).all()


def test_gaussian_pixels_have_the_moments_of_the_images():
    found = corrupt(IMAGES, "gaussian_pixels", KEY)
    x = IMAGES.x.astype(np.float64)
    assert found.x.mean(dtype=np.float64) == pytest.approx(x.mean(), abs=5 * x.std() / np.sqrt(x.size))
    assert found.x.std(dtype=np.float64) == pytest.approx(x.std(), rel=5 / np.sqrt(2 * x.size))
    z = (found.x - x.mean()) / x.std()
    assert (abs(z) < 1.959964).mean() == pytest.approx(0.95, abs=0.005)
    assert abs(np.corrcoef(z.reshape(N, -1)[:, 0], x.reshape(N, -1)[:, 0])[0, 1]) < 0.08


def test_flat_data_have_a_pixel_a_column():
    flat = flatten(IMAGES)
    found = corrupt(flat, "shuffled_pixels", KEY)
    column = [int(np.flatnonzero((flat.x == column[:, None]).all(axis=0))[0]) for column in found.x.T]
    assert sorted(column) == list(range(24))
    assert column != sorted(column)


def test_a_known_distribution_is_mixed():
    data = szt(gamma=0.3)
    found = corrupt(data, "partial_labels", KEY, 0.4)
    mixed = 0.6 * data.p_y_given_x + 0.2
    np.testing.assert_allclose(found.p_y_given_x, mixed, rtol=1e-12)
    p_y = mixed.mean(axis=0)
    known = (mixed * np.log(mixed)).sum() / 4096 - (p_y * np.log(p_y)).sum()
    assert found.mutual_information == pytest.approx(known, rel=1e-9)
    assert corrupt(data, "random_labels", KEY).mutual_information == pytest.approx(0, abs=1e-12)
    assert corrupt(data, "random_pixels", KEY).mutual_information == data.mutual_information


def test_sure_labels_become_a_function_to_memorise():
    found = corrupt(szt(), "random_labels", KEY)
    assert found.p_y_given_x is None
    assert found.mutual_information == pytest.approx(found.entropy_y)
    assert found.mutual_information != szt().mutual_information


def test_the_smallest_data():
    one = from_arrays(np.array([[0.5]]), np.array([1]))
    for how in CORRUPTIONS:
        found = corrupt(one, how, KEY)
        assert found.x.shape == (1, 1)
        assert found.x[0, 0] == 0.5  # a single value has no deviation and no other place
        assert found.y[0] in (0, 1)
        assert len(corrupt(subset(szt(gamma=0.3), np.arange(0), "no test part"), how, KEY)) == 0


def test_errors_name_the_setting():
    with pytest.raises(InputError, match="unknown corruption 'random_label': did you mean 'random_labels'"):
        corrupt(IMAGES, "random_label", KEY)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="share must be from 0 to 1, got"):
            corrupt(IMAGES, "partial_labels", KEY, share)
