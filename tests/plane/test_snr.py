"""The steepest fall of a signal-to-noise ratio whose formula is known."""

import numpy as np
import pytest
from synthetic import lasting_noise

from ibjax.errors import InputError
from ibjax.plane import PhaseStatus, snr_transition
from ibjax.training import snapshot_epochs

EPOCHS = snapshot_epochs(10_000, 150)


def gradients(replicas, sigma=0.0, *, middle=300.0, power=3.0, seed=0):
    """Return mean and std whose ratio is 0.3 + 2 / (1 + (epoch / middle)^power) plus noise."""
    random = np.random.default_rng(seed)
    snr = 0.3 + 2 / (1 + (EPOCHS / middle) ** power)
    std = np.exp(random.normal(size=(replicas, EPOCHS.size)))
    return (snr + sigma * random.normal(size=std.shape)) * std, std


@pytest.mark.parametrize("middle", [50, 300, 1500])
def test_the_places_of_a_clean_curve(middle):
    # d^2 SNR / d (log epoch)^2 = 0 at the middle; d^2 SNR / d epoch^2 = 0 at middle ((p - 1) / (p + 1))^(1 / p).
    # d^2 log SNR / d (log epoch)^2 = 0 where (epoch / middle)^p is the root of the SNR's first over its last value.
    found = snr_transition(EPOCHS, *gradients(2, middle=middle), updates_per_epoch=52)
    np.testing.assert_allclose(found.by_log_log.epoch, middle * (2.3 / 0.3) ** (1 / 6), rtol=0.04)
    np.testing.assert_allclose(found.by_log_epoch.epoch, middle, rtol=0.03)
    np.testing.assert_allclose(found.by_epoch.epoch, middle * 0.5 ** (1 / 3), rtol=0.06)
    np.testing.assert_allclose(found.by_log_epoch.update, 52 * found.by_log_epoch.epoch)
    assert (found.by_epoch.status == PhaseStatus.FOUND).all()
    assert (found.by_epoch.slope < 0).all()


def test_slopes_are_those_of_least_squares():
    mean, std = gradients(1, 0.05)
    slopes = [
        np.polyfit(np.log1p(EPOCHS[i : i + 15]), (mean / std)[0, i : i + 15], 1)[0] for i in range(EPOCHS.size - 14)
    ]
    assert snr_transition(EPOCHS, mean, std).by_log_epoch.slope[0] == pytest.approx(min(slopes))


def test_noise_in_proportion_to_the_ratio_hides_its_fall_but_from_logarithms():
    random = np.random.default_rng(1)
    snr = np.exp(-4 / (1 + (300 / (1 + EPOCHS)) ** 3) + 0.3 * random.normal(size=(40, EPOCHS.size)))
    found = snr_transition(EPOCHS, snr, np.ones_like(snr))
    shares = [(place.status == PhaseStatus.FOUND).mean() for place in (found.by_log_log, found.by_log_epoch)]
    assert shares[0] > 0.9
    assert shares[1] < 0.5
    np.testing.assert_allclose(np.nanmedian(found.by_log_log.epoch), 300, rtol=0.1)


def test_intervals_hold_the_truth_as_often_as_they_say():
    found = [snr_transition(EPOCHS, *gradients(8, 0.05, seed=seed)).by_log_epoch.interval for seed in range(120)]
    assert np.mean([f.low <= 300 <= f.high for f in found]) >= 0.88


def test_noise_without_a_fall_has_no_transition():
    random = np.random.default_rng(0)
    std = np.ones((50, EPOCHS.size))
    for trend in (0.0, 0.2):
        snr = 1.0 + trend * np.log1p(EPOCHS) + 0.1 * random.normal(size=std.shape)
        found = snr_transition(EPOCHS, snr, std)
        for place in found:
            assert (place.status == PhaseStatus.NO_DROP).all()
            assert np.isnan(place.epoch).all()
            assert np.isnan(place.update).all()
            assert np.isnan(np.stack(place.interval)).all()


def falsely_found(snapshots, path):
    """Return the shares of paths with a transition, by log epoch, by epoch, and of logarithms like the path."""
    epochs = snapshot_epochs(10_000, snapshots)
    found = snr_transition(epochs, path, np.ones_like(path))
    logs = snr_transition(epochs, np.exp(path), np.ones_like(path))
    places = found.by_log_epoch, found.by_epoch, logs.by_log_log
    return [(place.status == PhaseStatus.FOUND).mean() for place in places]


@pytest.mark.parametrize("snapshots", [80, 150])
@pytest.mark.parametrize("correlation", [0.5, 0.7])
def test_noise_that_lasts_has_no_transition(snapshots, correlation):
    path = 1 + 0.1 * lasting_noise((300, snapshot_epochs(10_000, snapshots).size), correlation)
    assert max(falsely_found(snapshots, path)) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("snapshots", [30, 80, 120, 150])
def test_without_a_transition_as_many_are_found_as_is_said(snapshots):
    time = np.log1p(snapshot_epochs(10_000, snapshots))
    quieter = np.exp(np.linspace(0.0, -2.0, time.size))
    for correlation, scale, trend, most in (
        (0.0, 1, 0.0, 0.01),
        (0.5, 1, 0.0, 0.02),
        (0.7, 1, 0.0, 0.03),
        (0.7, quieter, 0.0, 0.06),
        (0.7, quieter[::-1], 0.0, 0.06),
        (0.7, 1, -0.2, 0.08),
        (0.9, 1, 0.0, 0.08),
    ):
        path = 3 + trend * time + 0.1 * scale * lasting_noise((1000, time.size), correlation)
        assert max(falsely_found(snapshots, path)) < most


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.7])
def test_a_clear_fall_is_found_under_noise_that_lasts(correlation):
    snr, std = gradients(60)
    snr = snr / std + 2 / 30 * lasting_noise(snr.shape, correlation)
    found = snr_transition(EPOCHS, snr, np.ones_like(snr)).by_log_epoch
    assert (found.status == PhaseStatus.FOUND).mean() > 0.95
    octaves = np.log2(found.epoch / 300)
    assert abs(np.nanmedian(octaves)) < 0.1
    assert np.nanstd(octaves) < 0.3


def test_a_fall_within_a_few_snapshots_is_found():
    snr = np.where(EPOCHS < 300, 3.0, 1.0) + 0.05 * lasting_noise((30, EPOCHS.size), 0.3)
    found = snr_transition(EPOCHS, snr, np.ones_like(snr)).by_log_epoch
    assert (found.status == PhaseStatus.FOUND).all()
    np.testing.assert_allclose(found.epoch, 300, rtol=0.1)


def test_noise_is_that_of_its_time():
    # A clean fall before noise a tenth as high as it; and early noise before a quiet end, which is no fall.
    random = np.random.default_rng(0)
    snr = 0.3 + 2 / (1 + (EPOCHS / 30) ** 4) + np.where(EPOCHS > 300, 0.2, 0.01) * random.normal(size=(40, EPOCHS.size))
    found = snr_transition(EPOCHS, snr, np.ones_like(snr)).by_log_epoch
    assert (found.status == PhaseStatus.FOUND).mean() > 0.9
    np.testing.assert_allclose(np.nanmedian(found.epoch), 30, rtol=0.1)
    snr = 1 + np.where(EPOCHS < 100, 0.3, 0.003) * random.normal(size=(200, EPOCHS.size))
    assert max(falsely_found(150, snr)) < 0.05


def test_a_constant_ratio_has_no_transition():
    # Not even by the rounding of its slopes, nor by noise whose size is that of the ratio's own spread.
    std = np.ones((40, EPOCHS.size))
    random = np.random.default_rng(0)
    lasting = np.exp(0.3 * random.normal(size=std.shape))
    of_few = np.sqrt(random.chisquare(20, size=std.shape) / 20)
    for ratio in (0.3, 1.0, 7.123, lasting, of_few):
        for place in snr_transition(EPOCHS, ratio * std, std):
            assert np.isin(place.status, (PhaseStatus.NO_DROP, PhaseStatus.EDGE)).mean() > 0.95


def test_a_fall_at_the_edge_is_censored():
    std = np.ones((1, EPOCHS.size))
    early = snr_transition(EPOCHS, (2.0 - 0.2 * np.log1p(EPOCHS))[None], std).by_epoch
    late = snr_transition(EPOCHS, (2.0 - (EPOCHS / 1e4) ** 2)[None], std).by_log_epoch
    assert early.status == late.status == [PhaseStatus.EDGE]
    assert np.isnan([early.epoch, late.epoch]).all()


def test_a_steady_fall_has_no_steepest_place():
    snr = 2.0 - 0.2 * np.log1p(EPOCHS) + 0.01 * np.random.default_rng(0).normal(size=(20, EPOCHS.size))
    status = snr_transition(EPOCHS, snr, np.ones_like(snr)).by_log_epoch.status
    assert np.isin(status, (PhaseStatus.FLAT, PhaseStatus.EDGE)).all()


def test_masked_replicas_layers_and_scale():
    mean, std = gradients(6, 0.05)
    alone = snr_transition(EPOCHS, mean, std)
    mean, std = np.stack([mean, 3 * mean], axis=1), np.stack([std, 3 * std], axis=1)
    mean[2, 0, 5] = np.nan
    std[4, 1, 7] = 0.0
    found = snr_transition(EPOCHS, mean, std).by_log_epoch
    assert (found.status == PhaseStatus.MASKED).sum() == 2
    assert found.status[2, 0] == found.status[4, 1] == PhaseStatus.MASKED
    np.testing.assert_allclose(found.epoch[[0, 1, 3, 4, 5], 0], alone.by_log_epoch.epoch[[0, 1, 3, 4, 5]])
    assert found.interval.low.shape == (2,)


def test_one_replica_and_two_snapshots():
    one = snr_transition(EPOCHS, *gradients(1)).by_log_epoch
    assert abs(one.interval.value / 300 - 1) < 0.03
    assert np.isnan(one.interval.low)
    short = snr_transition(np.array([0, 1]), np.ones((1, 2)), np.ones((1, 2)))
    assert short.by_epoch.status == short.by_log_epoch.status == [PhaseStatus.SHORT]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 2}, "window must be odd"),
        ({"margin": -1.0}, "margin must be a positive"),
        ({"updates_per_epoch": 0.0}, "updates_per_epoch must be positive, got 0"),
        ({"std": np.ones((2, 4))}, r"path of shape \(2, 4\)"),
        ({"epochs": np.arange(5)[::-1]}, "epochs must increase"),
        ({"level": 1.5}, "level must lie"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(change, message):
    arguments = {"epochs": np.arange(5), "mean": np.ones((2, 5)), "std": np.ones((2, 5))} | change
    with pytest.raises(InputError, match=message):
        snr_transition(**arguments)
