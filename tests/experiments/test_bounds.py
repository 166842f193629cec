"""Bounds of learning theory: held against what they bound."""

import numpy as np
import pytest
from scipy.special import entr

from ibjax.experiments.bounds import finite_sample_bound, gap_bound, least_error
from ibjax.information import mutual_information


def test_the_least_error_inverts_the_binary_entropy():
    p = np.linspace(0, 0.5, 11)
    np.testing.assert_allclose(least_error(entr(p) + entr(1 - p)), p, atol=1e-7)
    np.testing.assert_array_equal(least_error([-0.1, 0.8, np.nan]), [0.0, 0.5, np.nan])


def test_no_decoder_gains_more_than_the_bound_on_its_sample():
    # Labels are coins, and the decoder knows them: error 1/2, on the sample far less.
    rng, m, cells = np.random.default_rng(0), 200, 16
    gaps = []
    for _ in range(300):
        t, y = rng.integers(cells, size=m), rng.integers(2, size=m)
        counts = np.zeros((cells, 2))
        np.add.at(counts, (t, y), 1)
        gaps.append(0.5 - counts.min(axis=1).sum() / m)
    bound = gap_bound(np.log(cells), m)
    assert np.mean(np.array(gaps) > bound) <= 0.05
    assert bound < 3 * np.mean(gaps)
    assert gap_bound(np.log(cells), 4 * m) == pytest.approx(bound / 2)


def test_the_finite_sample_bound_holds_and_shrinks():
    rng = np.random.default_rng(0)
    encoder = np.eye(2)[np.arange(8) % 2]
    joint = np.full((8, 2), 1 / 16)
    joint[::2] = [1 / 8, 0]
    truth = float(mutual_information(encoder.T @ joint))
    for m in (10**4, 10**6):
        counts = rng.multinomial(m, joint.ravel()).reshape(8, 2) / m
        table = encoder.T @ counts
        within = entr(table / table.sum(axis=0)).sum(axis=0)
        bound = finite_sample_bound(encoder, within, m)
        assert abs(float(mutual_information(table)) - truth) < bound
    assert bound < 0.2
    # By hand: of few samples both cells are as uncertain as can be, and labels' entropies are 0 and ln 2.
    a = 2 + np.sqrt(2 * np.log(4 / 0.05))
    labels = a * np.log(2) / np.sqrt(2) / np.sqrt(10)
    assert finite_sample_bound(encoder, np.array([0, np.log(2)]), 10) == pytest.approx(4 / np.e + labels)


def test_the_finite_sample_bound_leaves_room_for_labels_of_few_samples():
    # What the proof needs: frequencies of each of |Y| + 2 distributions near the probabilities, by a sqrt(2) less.
    rng, m, delta = np.random.default_rng(0), 50, 0.05
    a = 2 + np.sqrt(2 * np.log(4 / delta))
    for p in (np.full(64, 1 / 64), np.array([0.5, 0.5]), np.array([0.9, 0.1])):
        distance = np.linalg.norm(rng.multinomial(m, p, size=4000) / m - p, axis=1)
        assert np.mean(np.sqrt(2) * distance > a / np.sqrt(m)) <= delta / 4
