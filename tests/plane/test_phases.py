"""Phases of planted paths: found where they are, and not where they are not."""

import numpy as np
import pytest
from synthetic import lasting_noise, make_plane

from ibjax.errors import InputError
from ibjax.plane import PhaseStatus, phases, surviving
from ibjax.training import snapshot_epochs

EPOCHS = snapshot_epochs(10_000, 150)
TIME = np.log1p(EPOCHS)


def planted(replicas, sigma, *, peak=300.0, plateau=3000.0, spread=0.0, seed=0, epochs=EPOCHS):
    """Return paths that rise to ``peak``, fall to ``plateau`` and stay, straight in log(1 + epoch); drop 3."""
    random = np.random.default_rng(seed)
    shift = spread * random.normal(size=(replicas, 1))
    knots = np.log1p([0.0, 20.0, peak, plateau, 1e5]) + shift * np.array([0, 0, 1, 1, 0])
    clean = np.stack([np.interp(np.log1p(epochs), row, [6.0, 6.5, 10.0, 7.0, 7.0]) for row in knots])
    return clean + sigma * random.normal(size=clean.shape)


def found_in(path, **settings):
    """Return the phases of one path or of several, the relevance being of no matter."""
    path = np.atleast_2d(path)
    return phases(EPOCHS, path, np.zeros_like(path), **settings)


def inside(estimate, truth):
    return estimate.low <= truth <= estimate.high


def test_a_clean_path_gives_its_boundaries_exactly():
    found = found_in(planted(2, 0.0))
    assert found.compresses.all()
    np.testing.assert_allclose(found.start, 0.0)
    np.testing.assert_allclose(found.peak, 300.0, rtol=1e-3)
    np.testing.assert_allclose(found.plateau, 3000.0, rtol=1e-3)
    np.testing.assert_allclose(found.drop, 3.0, rtol=0.05)


@pytest.mark.parametrize(("peak", "plateau"), [(40, 200), (100, 600), (300, 3000), (1000, 4000)])
def test_boundaries_are_found_under_noise(peak, plateau):
    found = found_in(planted(12, 0.1, peak=peak, plateau=plateau))
    assert found.compresses.all()
    assert (found.peak_status == PhaseStatus.FOUND).all()
    assert abs(np.log(found.peak_interval.value / peak)) < 0.05
    assert abs(np.log(found.plateau_interval.value / plateau)) < 0.05
    np.testing.assert_allclose(found.noise, 0.1, rtol=0.6)


def test_values_at_the_boundaries():
    complexity = planted(3, 0.01)
    relevance = np.broadcast_to(0.1 * TIME, complexity.shape)
    found = phases(EPOCHS, complexity, relevance)
    np.testing.assert_allclose(found.complexity, [[6.0, 10.0, 7.0]] * 3, atol=0.2)
    np.testing.assert_allclose(found.relevance, [0.1 * np.log1p([0.0, 300.0, 3000.0])] * 3, atol=0.01)


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.5])
@pytest.mark.parametrize(
    "path",
    [TIME, np.minimum(TIME, 5.0), 0 * TIME, np.full_like(TIME, 12 * np.log(2)), 1 / (1 + np.exp(4 - TIME))],
    ids=["rise", "saturates", "flat", "ceiling", "sigmoid"],
)
def test_without_a_transition_there_is_no_number(path, sigma):
    noisy = path + sigma * np.random.default_rng(1).normal(size=(40, path.size))
    found = found_in(noisy)
    assert not found.compresses.any()
    assert np.isnan(found.peak).all()
    assert np.isnan(found.plateau).all()
    assert (found.peak_status == PhaseStatus.NO_DROP).all()
    assert (found.plateau_status == PhaseStatus.NO_DROP).all()
    assert np.isnan(np.stack([found.peak_interval, found.plateau_interval])).all()
    assert np.isnan(found.complexity[:, 1:]).all()
    np.testing.assert_array_equal(found.complexity[:, 0], noisy[:, 0])


@pytest.mark.parametrize("snapshots", [12, 25, 60])
def test_few_snapshots_of_noise_do_not_compress(snapshots):
    epochs = snapshot_epochs(10_000, snapshots)
    random = np.random.default_rng(2)
    for trend in (0.0, 1.0):
        path = trend * np.log1p(epochs) + random.normal(size=(400, epochs.size))
        assert phases(epochs, path, path).compresses.mean() < 0.02


@pytest.mark.parametrize("snapshots", [30, 80, 150])
def test_noise_that_lasts_rarely_passes_for_a_compression(snapshots):
    epochs = snapshot_epochs(10_000, snapshots)
    path = lasting_noise((300, epochs.size), 0.7)
    assert phases(epochs, path, path).compresses.mean() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("snapshots", [30, 80, 120, 150])
def test_of_paths_that_wander_as_many_compress_as_is_said(snapshots):
    epochs = snapshot_epochs(10_000, snapshots)
    louder = np.exp(np.linspace(0.0, 2.0, epochs.size))
    for correlation, scale, most in ((0.5, 1, 0.02), (0.7, 1, 0.04), (0.7, louder, 0.1), (0.9, 1, 0.13)):
        path = scale * lasting_noise((1000, epochs.size), correlation)
        assert phases(epochs, path, path).compresses.mean() < most


def test_a_compression_is_found_under_noise_that_lasts():
    found = found_in(planted(40, 0.0) + 0.3 * lasting_noise((40, EPOCHS.size), 0.7))
    assert found.compresses.mean() > 0.9
    assert abs(np.log(found.peak_interval.value / 300)) < 0.2


def test_a_path_that_still_falls_is_censored():
    for sigma in (0.0, 0.1):
        found = found_in(planted(10, sigma, plateau=1e4))
        assert found.compresses.all()
        assert (found.peak_status == PhaseStatus.FOUND).all()
        assert (found.plateau_status == PhaseStatus.UNREACHED).all()
        assert np.isnan(found.plateau).all()
        assert np.isinf(found.plateau_interval.value)


def test_a_fall_that_only_slows_down_is_no_plateau():
    path = np.interp(TIME, np.log1p([0, 100, 1000, 10_000]), [5.0, 10.0, 8.0, 7.0])
    found = found_in(path + 0.02 * np.random.default_rng(0).normal(size=(5, TIME.size)))
    assert (found.plateau_status == PhaseStatus.UNREACHED).all()


def test_some_unreached_plateaus_push_the_median_up():
    late = found_in(np.concatenate([planted(6, 0.05), planted(3, 0.05, plateau=1e4)]))
    assert late.plateau_interval.value > found_in(planted(6, 0.05)).plateau_interval.low
    assert np.isfinite(late.plateau_interval.value)
    assert np.isinf(late.plateau_interval.high)


def test_a_path_that_only_falls_has_no_peak_but_a_plateau():
    path = 10.0 - 3.0 / (1.0 + np.exp(-(TIME - np.log(300)) / 0.3))
    found = found_in(path + 0.05 * np.random.default_rng(0).normal(size=(8, TIME.size)))
    assert found.compresses.all()
    assert (found.peak_status == PhaseStatus.NO_RISE).all()
    assert np.isnan(found.peak).all()
    assert ((found.plateau > 400) & (found.plateau < 900)).all()


def test_a_flat_top_has_no_peak_but_a_plateau():
    path = np.interp(TIME, np.log1p([0, 10, 1000, 3000, 10_000]), [5.0, 10.0, 10.0, 7.0, 7.0])
    for sigma in (0.0, 0.05):
        found = found_in(path + sigma * np.random.default_rng(0).normal(size=(8, TIME.size)))
        assert found.compresses.all()
        assert (found.peak_status == PhaseStatus.FLAT).all()
        np.testing.assert_allclose(found.plateau, 3000, rtol=0.05)


def test_a_dip_that_is_made_good_again_is_no_compression():
    assert not found_in(np.interp(TIME, np.log1p([0, 100, 1000, 5000]), [5.0, 9.0, 7.0, 9.5])).compresses.any()


def test_the_smallest_drop_is_in_the_units_given():
    small = np.interp(TIME, np.log1p([0, 100, 1000, 10_000]), [1.0, 2.0, 1.95, 1.95])
    assert found_in(small).compresses.all()
    assert not found_in(small, minimum_drop=0.1).compresses.any()


def test_masked_replicas_change_nothing_for_the_others():
    path = planted(8, 0.1)
    with_dead = np.concatenate([path[:3], np.full((1, TIME.size), np.nan), path[3:], path[:1]])
    with_dead[-1, 70] = np.inf
    found, alone = found_in(with_dead), found_in(path)
    dead = np.isin(np.arange(10), (3, 9))
    np.testing.assert_array_equal(found.peak_status == PhaseStatus.MASKED, dead)
    np.testing.assert_array_equal(found.plateau_status == PhaseStatus.MASKED, dead)
    assert not found.compresses[dead].any()
    assert np.isnan(found.start[dead]).all()
    assert np.isnan(found.complexity[dead]).all()
    np.testing.assert_array_equal(found.peak[~dead], alone.peak)
    assert found.peak_interval == alone.peak_interval
    assert found.plateau_interval == alone.plateau_interval


def test_a_relevance_that_is_not_finite_masks_the_path():
    path = planted(2, 0.1)
    relevance = np.zeros_like(path)
    relevance[1, -1] = np.nan
    assert phases(EPOCHS, path, relevance).peak_status.tolist() == [PhaseStatus.FOUND, PhaseStatus.MASKED]


def test_one_replica_has_boundaries_without_an_interval():
    found = found_in(planted(1, 0.1))
    assert abs(found.peak_interval.value - 300) < 40
    assert np.isnan(found.peak_interval.low)
    assert np.isnan(found.plateau_interval.high)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_too_few_snapshots_are_said_to_be(count):
    path = np.linspace(1.0, 0.0, count)[None]
    found = phases(np.arange(count), path, path)
    assert found.peak_status.tolist() == found.plateau_status.tolist() == [PhaseStatus.SHORT]
    assert not found.compresses.any()
    assert found.complexity[0, 0] == 1.0


def test_layers_are_searched_each_by_itself():
    first, second = planted(5, 0.1, seed=1), planted(5, 0.1, peak=100, plateau=600, seed=2)
    both = found_in(np.stack([first, second], axis=1))
    for layer, alone in enumerate((found_in(first), found_in(second))):
        np.testing.assert_array_equal(both.peak[:, layer], alone.peak)
        np.testing.assert_array_equal(both.plateau[:, layer], alone.plateau)
        np.testing.assert_array_equal(np.stack(both.peak_interval)[:, layer], np.stack(alone.peak_interval))


def test_a_stored_run_goes_in_as_it_is():
    plane = surviving(make_plane(6, 150, diverged=(2,), noise=0.3))
    paths = [plane[name][0].transpose("replica", "layer", "snapshot").values for name in ("complexity", "relevance")]
    found = phases(plane["epoch"].values, *paths)
    # The first layer hardly compresses; the others do, and the deeper ones are at their peak near epoch 300.
    assert found.compresses.shape == (5, 6)
    assert found.compresses[:, 1:].all()
    assert ((found.peak_interval.value[2:] > 100) & (found.peak_interval.value[2:] < 700)).all()
    assert (found.plateau_interval.value[2:] > found.peak_interval.value[2:]).all()
    assert (found.relevance[:, 2:, 1] > found.relevance[:, 2:, 0]).all()


def test_the_order_of_replicas_and_the_units_do_not_matter():
    path, order = planted(7, 0.1, spread=0.3), np.random.default_rng(0).permutation(7)
    found, shuffled = found_in(path), found_in(path[order])
    np.testing.assert_array_equal(found.peak[order], shuffled.peak)
    assert found.peak_interval == shuffled.peak_interval
    assert found.plateau_interval == shuffled.plateau_interval
    bits = found_in(path / np.log(2))
    np.testing.assert_allclose(bits.peak, found.peak, rtol=1e-9)
    np.testing.assert_allclose(bits.drop, found.drop / np.log(2))


def test_single_precision_and_equal_replicas():
    path = planted(1, 0.1).astype(np.float32)
    found = found_in(np.repeat(path, 4, axis=0))
    assert found.peak_interval.low == found.peak_interval.high
    np.testing.assert_allclose(found.peak, found_in(path.astype(np.float64)).peak[0], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "spread"), [(0.05, 0.0), (0.2, 0.0), (0.2, 0.3)])
def test_intervals_hold_the_truth_as_often_as_they_say(sigma, spread):
    runs = [found_in(planted(12, sigma, spread=spread, seed=seed)) for seed in range(200)]
    assert np.mean([inside(run.peak_interval, 300) for run in runs]) >= 0.9
    assert np.mean([inside(run.plateau_interval, 3000) for run in runs]) >= 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": np.array([0, 2, 2, 3])}, "epochs must increase from 0 or more, and do not at index 2"),
        ({"epochs": np.array([-1, 2, 3, 4])}, "at index 0"),
        ({"epochs": np.arange(3)}, r"path of shape \(2, 4\) does not fit 3 epochs"),
        ({"complexity": np.zeros(4)}, "replicas first"),
        ({"relevance": np.zeros((3, 4))}, r"path of shape \(3, 4\)"),
        ({"window": 4}, "window must be odd and at least 3 snapshots, got 4"),
        ({"margin": 0.0}, "margin must be a positive"),
        ({"minimum_drop": -1.0}, "minimum_drop must not be negative"),
        ({"level": 1.0}, "level must lie between 0 and 1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(change, message):
    arguments = {"epochs": np.arange(4), "complexity": np.zeros((2, 4)), "relevance": np.zeros((2, 4))} | change
    with pytest.raises(InputError, match=message):
        phases(**arguments)
