"""Noise of planted paths, of known scale and correlation, and what else the searches share."""

import numpy as np
import pytest
from synthetic import lasting_noise

from ibjax.plane import PhaseStatus
from ibjax.plane.paths import CORRELATIONS, Noise, noise, parabolas, smooth, unimodal_error
from ibjax.training import snapshot_epochs

EPOCHS = snapshot_epochs(10_000, 150)
TIME = np.log1p(EPOCHS)
WINDOWS = parabolas(TIME)
ROUNDING = np.finfo(np.float32).eps


def tent():
    """Return a path with three kinks, of a height of 4."""
    return np.interp(TIME, np.log1p([0.0, 20.0, 300.0, 3000.0, 1e5]), [6.0, 6.5, 10.0, 7.0, 7.0])


@pytest.mark.parametrize("count", [150, 80])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5, 0.7])
def test_noise_has_its_scale_and_correlation(count, correlation):
    time = np.log1p(snapshot_epochs(10_000, count))
    windows = parabolas(time)
    path = 3 / (1 + np.exp(5 - time)) + 0.3 * lasting_noise((200, time.size), correlation)
    found = [noise(windows, row) for row in path]
    assert abs(np.median([one.correlation for one in found]) - correlation) < 0.06
    assert abs(np.median([one.sigma.mean() for one in found]) / 0.3 - 1) < 0.15


def test_a_smooth_path_has_the_noise_of_its_rounding():
    # A line, a parabola and a constant leave nothing.
    for path in (3 * TIME + 1, 5 - TIME**2, np.full_like(TIME, 7.123)):
        np.testing.assert_allclose(noise(WINDOWS, path).sigma, ROUNDING * np.abs(path).max(), rtol=1e-6)
    assert (noise(WINDOWS, 0 * TIME).sigma < 1e-100).all()


def test_kinks_and_jumps_are_no_noise():
    random = np.random.default_rng(0)
    for path in (tent(), np.where(TIME > 4, 50.0, 0.0), np.where(np.abs(TIME - 5) < 0.1, 50.0, 0.0)):
        found = [noise(WINDOWS, path + 0.3 * random.normal(size=TIME.size)) for _ in range(40)]
        assert abs(np.median([one.sigma for one in found]) / 0.3 - 1) < 0.2
        assert np.median([one.correlation for one in found]) < 0.2


def test_the_scale_of_noise_may_change():
    scale = np.exp(np.linspace(2.0, 0.0, TIME.size))
    found = np.median([noise(WINDOWS, scale * row).sigma for row in lasting_noise((100, TIME.size), 0.4)], axis=0)
    middle = slice(30, -30)
    np.testing.assert_allclose(found[middle], scale[middle], rtol=0.15)
    assert found[0] > 3 * found[-1]


@pytest.mark.parametrize("count", [150, 9])
def test_what_a_parabola_leaves_of_lasting_noise(count):
    # In closed form for one window: the residuals of np.polyfit, which are linear in the noise.
    time = TIME[:count]
    windows, size = parabolas(time), min(count, 15)
    t = time[-size:] - time[-size:].mean()
    rest = np.eye(size) - np.stack([np.polyval(np.polyfit(t, unit, 2), t) for unit in np.eye(size)], axis=-1)
    for place in (0, 40, 70):
        covariance = CORRELATIONS[place] ** np.abs(np.subtract.outer(range(size), range(size)))
        left = rest @ covariance @ rest.T
        assert windows.squares[-1, place] == pytest.approx(np.trace(left))
        assert windows.products[-1, place] == pytest.approx(np.trace(left, 1))
    assert (np.diff(windows.products / windows.squares) > 0).all()


def test_errors_are_those_of_lasting_noise():
    # Against the spread of what they are the errors of: slopes and means over windows of 15 and of 5.
    path = lasting_noise((4000, TIME.size), 0.6, seed=1)
    known = Noise(np.full(TIME.size, 1.0), 0.6)
    t = np.arange(15) - 7.0
    for weights in (t / (t**2).sum(), np.full(5, 0.2)):
        rows = np.lib.stride_tricks.sliding_window_view(path, weights.size, axis=-1) @ weights
        errors = known.errors(np.broadcast_to(weights, (rows.shape[1], weights.size)))
        np.testing.assert_allclose(errors, rows.std(axis=0), rtol=0.06)
    assert Noise(known.sigma, 0.0).errors(np.full((146, 5), 0.2)) == pytest.approx(1 / np.sqrt(5))


def test_smoothing_is_a_moving_mean():
    path = np.random.default_rng(0).normal(size=(2, 9))
    plain = [[row[max(i - 2, 0) : i + 3].mean() for i in range(9)] for row in path]
    np.testing.assert_allclose(smooth(path, 5), plain)


def test_what_is_not_unimodal_is_an_error():
    assert unimodal_error(tent(), int(tent().argmax()), 5) < 1e-12
    wiggle = np.sin(3 * TIME)
    assert unimodal_error(wiggle, int(wiggle.argmax()), 5) > 0.3


def test_every_status_says_what_to_do():
    assert len({status.advice for status in PhaseStatus}) == len(PhaseStatus)
