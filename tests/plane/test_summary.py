"""The numbers of figures and tables, on runs whose answers are known."""

import math

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from synthetic import BINNING, make_plane

from ibjax.errors import InputError
from ibjax.plane.summary import (
    GRADIENT_VARIANTS,
    Interval,
    gradient_curves,
    mean_interval,
    mean_path,
    measured_bits,
    summary_table,
    surviving,
    violations,
)

LN2 = math.log(2)


def plane_of(complexity, relevance) -> xr.Dataset:
    """Return a run with these informations in bits, of shape (replica, snapshot, layer), at epochs 0, 1, 2, ..."""
    complexity, relevance = np.asarray(complexity, np.float32), np.asarray(relevance, np.float32)
    replicas, snapshots, layers = complexity.shape
    plane = make_plane(replicas, 40, layers).isel(snapshot=slice(snapshots))
    dims = ("estimator", "replica", "snapshot", "layer")
    return plane.assign(complexity=(dims, complexity[None] * LN2), relevance=(dims, relevance[None] * LN2))


def test_surviving_leaves_out_dead_replicas_and_unmeasured_snapshots():
    plane = make_plane(6, 30, measured=20, diverged=(1, 4))
    kept = surviving(plane)
    assert plane.sizes["snapshot"] // 2 < 20 < plane.sizes["snapshot"]
    assert kept["replica"].values.tolist() == [0, 2, 3, 5]
    assert kept["epoch"].values.tolist() == plane["epoch"].values[:20].tolist()
    assert not kept[["complexity", "train_loss", "gradient_mean"]].isnull().to_array().any()


def test_surviving_keeps_who_diverges_only_later_than_the_run_got():
    assert surviving(make_plane(4, 30, measured=5, diverged=(1,))).sizes["replica"] == 4


def test_surviving_twice_is_surviving_once():
    once = surviving(make_plane(5, 20, diverged=(2,)))
    xr.testing.assert_identical(surviving(once), once)


def test_a_diverged_snapshot_with_an_accuracy_is_a_measured_one():
    plane = make_plane(2, 20, diverged=(0, 1))
    plane["train_accuracy"] = plane["train_accuracy"].fillna(0.5)
    with pytest.raises(InputError, match=r"all 2 replicas are masked: none is alive at epoch 10000"):
        surviving(plane)


def test_nothing_measured_is_an_error_that_says_so():
    with pytest.raises(InputError, match="no snapshot has been measured"):
        surviving(make_plane(3, 10, measured=0))


def test_mean_interval_is_students():
    values = np.random.default_rng(0).normal(3.0, 2.0, (7, 4))
    mean, half_width = mean_interval(xr.DataArray(values.astype(np.float32), dims=("replica", "layer")))
    low, high = scipy.stats.t.interval(0.95, 6, values.mean(0), scipy.stats.sem(values, axis=0))
    assert mean.dims == half_width.dims == ("layer",)
    np.testing.assert_allclose(mean - half_width, low, rtol=1e-5)
    np.testing.assert_allclose(mean + half_width, high, rtol=1e-5)


def test_one_replica_has_a_mean_without_an_interval():
    mean, half_width = mean_interval(xr.DataArray([[2.0, 4.0]], dims=("replica", "layer")))
    assert mean.values.tolist() == [2.0, 4.0]
    assert np.isnan(half_width.values).all()


def test_a_nan_is_not_averaged_away():
    mean, half_width = mean_interval(xr.DataArray([1.0, np.nan, 3.0], dims="replica"))
    assert np.isnan(mean)
    assert np.isnan(half_width)


def test_mean_path_is_in_bits_over_the_living_only():
    complexity = [[[3.0, 1.0], [4.0, 2.0]], [[5.0, 2.0], [6.0, 4.0]], [[99.0, 99.0], [99.0, 99.0]]]
    plane = plane_of(complexity, np.ones((3, 2, 2)))
    plane["alive"].values[2, 1] = False
    path = mean_path(plane)
    np.testing.assert_allclose(path["complexity"], [[4.0, 1.5], [5.0, 3.0]], rtol=1e-6)
    np.testing.assert_allclose(path["relevance"], 1.0, rtol=1e-6)
    students = scipy.stats.t.ppf(0.975, 1)
    np.testing.assert_allclose(path["complexity_half_width"], students * np.array([[1, 0.5], [1, 1]]), rtol=1e-6)
    assert path["complexity"].dims == ("snapshot", "layer")
    assert path["layer_name"].values.tolist() == ["T1", "output"]


def test_an_estimator_goes_by_position_or_name():
    plane = make_plane(3, 10, estimators=(BINNING, "kernel:variance=0.1"))
    xr.testing.assert_identical(mean_path(plane, "kernel:variance=0.1"), mean_path(plane, 1))
    assert (measured_bits(plane, 1)["complexity"] < measured_bits(plane, 0)["complexity"]).all()
    with pytest.raises(InputError, match=r"did you mean 'kernel:variance=0\.1'"):
        mean_path(plane, "kernel:variance=0.2")
    with pytest.raises(InputError, match="estimator 2 does not exist: the run has 2"):
        mean_path(plane, 2)


def test_violations_mark_the_later_layer():
    complexity = [[[12.5, 8.0, 8.5], [11.0, 9.0, 8.0]], [[12.5, 8.0, 7.9], [11.0, 9.0, 9.5]]]
    relevance = [[[0.9, 0.8, 0.7], [0.5, 0.6, 0.6]], [[0.9, 0.8, 0.7], [1.2, 0.6, 0.6]]]
    found = violations(plane_of(complexity, relevance))
    # T1 beats H(X) = 12 at first; the output beats T2 on average at first, in one replica each time.
    assert found["complexity"].values.tolist() == [[True, False, True], [False, False, False]]
    assert found["complexity_fraction"].values.tolist() == [[1.0, 0.0, 0.5], [0.0, 0.0, 0.5]]
    # I(X;Y) = 0.99; T2 beats T1 in one replica, not on average; an equal value is no violation.
    assert found["relevance"].values.tolist() == [[False, False, False], [False, False, False]]
    assert found["relevance_fraction"].values.tolist() == [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]]


def test_violations_allow_rounding_and_unknown_truths():
    plane = plane_of([[[11.0, 11.0005]]], [[[5.0, 0.5]]])
    plane.attrs.update(entropy_x=math.nan, information_xy=math.nan)
    found = violations(plane)
    assert not found["complexity"].any()
    assert not found["relevance"].any()
    assert violations(plane, tolerance_bits=1e-4)["complexity"].values.tolist() == [[False, True]]


def test_summary_table_takes_each_replica_at_its_own_peak():
    complexity = np.zeros((3, 6, 1))
    complexity[0, :, 0] = [1, 2, 9, 4, 3, 2]
    complexity[1, :, 0] = [1, 2, 3, 4, 8, 3]
    complexity[2, :, 0] = [1, 2, 3, 4, 5, 7]
    relevance = np.arange(18.0).reshape(3, 6, 1)
    (row,) = summary_table(plane_of(complexity, relevance))
    students = scipy.stats.t.ppf(0.975, 2) / math.sqrt(3)

    def close(interval: Interval, values: list[float]) -> bool:
        expected = np.mean(values), students * np.std(values, ddof=1)
        return np.allclose(interval, expected, rtol=1e-5, atol=1e-6)

    assert (row.name, row.width) == ("output", 10)
    assert close(row.complexity_first, [1, 1, 1])
    assert close(row.complexity_peak, [9, 8, 7])
    assert close(row.complexity_last, [2, 3, 7])
    assert close(row.compression, [7, 5, 0])
    assert close(row.relevance_first, [0, 6, 12])
    assert close(row.relevance_peak, [2, 10, 17])
    assert close(row.relevance_last, [5, 11, 17])
    assert row.peak_epoch == 4.0


def test_summary_table_of_an_unfinished_run_ends_where_the_run_did():
    plane = make_plane(4, 40, measured=12)
    last = measured_bits(plane)["complexity"].isel(snapshot=11).mean("replica")
    rows = summary_table(plane)
    assert [row.name for row in rows] == ["T1", "T2", "T3", "T4", "T5", "output"]
    np.testing.assert_allclose([row.complexity_last.mean for row in rows], last)


@pytest.mark.parametrize(
    ("variant", "mean", "std", "snr", "floor"),
    [
        ("ratio", [3, 8], [4, 5], [3 / 4, 8 / 5], 1 / 4),
        ("normalised", [3 / 2, 8 / 10], [4 / 2, 5 / 10], [3 / 4, 8 / 5], 1 / 4),
        ("deck", [6, 20], [4, 5], [6 / 4, 20 / 5], 1),
        ("idnns", [3, 11], [2, 3], [9 / 4, 9 / 4 + 64 / 5], math.nan),
    ],
)
def test_gradient_variants_by_hand(variant, mean, std, snr, floor):
    plane = make_plane(2, 10, 2)
    stored = {"gradient_mean": [3, 8], "gradient_std": [4, 5], "gradient_batch_norm": [6, 20], "weight_norm": [2, 10]}
    for name, values in stored.items():
        plane[name] = plane[name] * 0 + xr.DataArray(np.float32(values), dims="layer")
    curves = gradient_curves(plane, variant)
    for name, values in (("mean", mean), ("std", std), ("snr", snr)):
        assert curves[name].dims == ("replica", "snapshot", "layer")
        np.testing.assert_allclose(curves[name], np.broadcast_to(values, curves[name].shape), rtol=1e-6)
    assert curves.attrs["noise_floor"] == pytest.approx(floor, nan_ok=True)


@pytest.mark.parametrize("variant", ["ratio", "normalised", "deck"])
def test_gradients_without_signal_lie_on_the_noise_floor(variant):
    batches, weights = 16, 5000
    gradient = np.random.default_rng(1).normal(size=(batches, weights))
    plane = make_plane(1, 10, 1)
    plane.attrs["probe_batches"] = batches
    stored = {
        "gradient_mean": np.linalg.norm(gradient.mean(0)),
        "gradient_std": np.sqrt(gradient.var(0).sum()),
        "gradient_batch_norm": np.linalg.norm(gradient, axis=1).mean(),
    }
    for name, value in stored.items():
        plane[name] = plane[name] * 0 + np.float32(value)
    curves = gradient_curves(plane, variant)
    np.testing.assert_allclose(curves["snr"], curves.attrs["noise_floor"], rtol=0.06)


def test_a_gradient_that_does_not_vary_has_no_ratio():
    plane = make_plane(2, 10, 2)
    plane["gradient_std"] = plane["gradient_std"] * 0
    for variant in GRADIENT_VARIANTS:
        assert gradient_curves(plane, variant)["snr"].isnull().all()


def test_an_unknown_variant_is_named():
    with pytest.raises(InputError, match="did you mean 'ratio'"):
        gradient_curves(make_plane(1, 10), "ration")
