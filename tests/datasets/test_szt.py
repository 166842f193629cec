"""The 12-bit task: its labels bit for bit, its symmetries and its information."""

import hashlib
from pathlib import Path

import jax
import numpy as np
import pytest

from ibjax.datasets import GAMMA_CURVE, GAMMA_PAPER, THETA, szt, szt_orbits, szt_score
from ibjax.errors import InputError
from ibjax.information import mutual_information

LN2 = np.log(2)
LABELS_SHA256 = "77732f16f85e91b49d3997196b56163b3bd362d8cf631468a8de3f986e88359f"
"""Of the public file's 4096 labels, one byte each, patterns in lexicographic order."""
SPLIT = Path(__file__).parents[2] / ".." / "shared" / "data" / "szt_split_80_20.npz"
POWERS = 2 ** np.arange(11, -1, -1)


@pytest.fixture(scope="module")
def hard():
    return szt()


@pytest.fixture(scope="module")
def symmetries():
    """All permutations of the bits that keep the scores of the 66 patterns with two set bits."""
    score = szt_score()
    pair = np.array([[score[POWERS[i] | POWERS[j]] for j in range(12)] for i in range(12)])
    found = []

    def extend(images):
        vertex = len(images)
        if vertex == 12:
            found.append(images)
            return
        for image in set(range(12)) - set(images):
            if all(pair[vertex, other] == pair[image, images[other]] for other in range(vertex)):
                extend([*images, image])

    extend([])
    return np.array(found)


def test_labels_are_the_public_ones(hard):
    assert hashlib.sha256(hard.y.astype(np.uint8).tobytes()).hexdigest() == LABELS_SHA256


def test_inputs_are_all_patterns_in_lexicographic_order(hard):
    assert hard.x.shape == (4096, 12)
    assert hard.x.dtype == np.float32
    np.testing.assert_array_equal(hard.x @ POWERS, np.arange(4096))
    assert set(np.unique(hard.x)) == {0, 1}


@pytest.mark.skipif(not SPLIT.exists(), reason="the published 80/20 split is not in ../shared/data")
def test_labels_are_those_of_the_published_split(hard):
    with np.load(SPLIT) as published:
        x = np.concatenate([published["X_train"], published["X_test"]])
        y = np.concatenate([published["y_train"], published["y_test"]])
    index = x.astype(int) @ POWERS
    assert sorted(index) == list(range(4096))
    np.testing.assert_array_equal(hard.y[index], y)


def test_the_threshold_lies_between_the_classes(hard):
    score = szt_score()
    assert score[hard.y == 0].max() == 119
    assert score[hard.y == 1].min() == 120
    assert THETA == 119.5


def test_score_of_few_bits():
    score = szt_score()
    assert score[0] == 0
    assert {int(score[power]) for power in POWERS} == {27}
    pairs = [int(score[POWERS[i] | POWERS[j]]) for i in range(12) for j in range(i)]
    # 30 edges, 6 pairs of antipodes, and the 30 other pairs.
    assert [pairs.count(56 - 8), pairs.count(56 - 12), pairs.count(56)] == [30, 6, 30]
    assert score[-1] == 26 * 12 + 12**2 - 8 * 30 - 12 * 6


def test_score_and_label_are_constant_on_64_orbits(hard):
    orbit, score = szt_orbits(), szt_score()
    assert orbit.shape == score.shape == (4096,)
    assert sorted(set(orbit)) == list(range(64))
    for number in range(64):
        assert len(set(score[orbit == number])) == 1
        assert len(set(hard.y[orbit == number])) == 1


def test_everything_is_invariant_under_the_icosahedron(hard, symmetries):
    assert len(symmetries) == 120  # of the icosahedron, reflections included
    patterns, score, orbit = hard.x.astype(np.int16), szt_score(), szt_orbits()
    for symmetry in symmetries:
        moved = patterns[:, symmetry] @ POWERS
        np.testing.assert_array_equal(score[moved], score)
        np.testing.assert_array_equal(orbit[moved], orbit)
        np.testing.assert_array_equal(hard.y[moved], hard.y)


def test_information_of_the_hard_labels(hard):
    assert hard.p_y_given_x is None
    assert hard.classes == 2
    assert hard.entropy_x / LN2 == pytest.approx(12, abs=1e-12)
    assert hard.y.sum() == 2118
    assert hard.mutual_information == hard.entropy_y
    assert hard.mutual_information / LN2 == pytest.approx(0.99916, abs=5e-6)


@pytest.mark.parametrize(("gamma", "bits"), [(GAMMA_PAPER, 0.989), (GAMMA_CURVE, 0.734)])
def test_information_of_the_soft_labels(gamma, bits):
    data = szt(gamma=gamma)
    assert data.mutual_information / LN2 == pytest.approx(bits, abs=5e-4)
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(-gamma * (szt_score() - 119.5)))
    np.testing.assert_allclose(data.p_y_given_x, np.stack([1 - p, p], axis=1), rtol=1e-9, atol=1e-15)
    direct = mutual_information(np.stack([1 - p, p], axis=1) / 4096)
    assert data.mutual_information == pytest.approx(direct, rel=1e-9)
    assert data.entropy_x / LN2 == pytest.approx(12, abs=1e-12)


def test_the_curve_gain_has_37_distinct_conditionals():
    p = np.sort(szt(gamma=GAMMA_CURVE).p_y_given_x[:, 1])
    assert 1 + (np.diff(p) > 1e-6).sum() == 37


def test_soft_labels_are_draws_from_their_distribution():
    one, again, other = szt(gamma=0.05), szt(gamma=0.05), szt(gamma=0.05, key=jax.random.key(7))
    np.testing.assert_array_equal(one.y, again.y)
    assert (one.y != other.y).any()
    for data in (one, other):
        p = data.p_y_given_x[:, 1]
        # Overall, and where the label is likely and unlikely: five deviations of a sum of Bernoulli draws.
        for rows in (p >= 0, p > 0.5, p <= 0.5):
            assert abs(data.y[rows].sum() - p[rows].sum()) < 5 * np.sqrt((p * (1 - p))[rows].sum())


def test_a_large_gain_gives_the_hard_labels(hard):
    data = szt(gamma=1e6)
    np.testing.assert_array_equal(data.y, hard.y)
    assert data.mutual_information == pytest.approx(hard.mutual_information, abs=1e-12)


def test_theta_moves_the_threshold():
    np.testing.assert_array_equal(szt(theta=100.5).y, szt_score() > 100.5)
    p = szt(gamma=0.3, theta=100.5).p_y_given_x[:, 1]
    np.testing.assert_array_equal(p > 0.5, szt_score() > 100.5)


@pytest.mark.parametrize("gamma", [0.0, -1.0, np.nan, np.inf])
def test_gain_must_be_positive(gamma):
    with pytest.raises(InputError, match=f"gamma must be positive and finite, got {gamma}: leave it out"):
        szt(gamma=gamma)


@pytest.mark.parametrize("theta", [np.nan, np.inf])
def test_threshold_must_be_finite(theta):
    with pytest.raises(InputError, match=rf"theta must be finite, got {theta}: .* 119\.5"):
        szt(theta=theta)
