"""Orders along the layers, with ties and censored values."""

import numpy as np
import pytest
import scipy.stats

from ibjax.plane import depth_trend


def test_it_is_spearman_s_correlation_with_depth():
    values = np.random.default_rng(0).normal(size=(20, 6)).round(1)
    wanted = [scipy.stats.spearmanr(row, np.arange(6)).statistic for row in values]
    np.testing.assert_allclose(depth_trend(values), wanted)
    np.testing.assert_allclose(depth_trend(values[:, ::-1]), [-w for w in wanted])
    np.testing.assert_allclose(depth_trend(np.exp(values)), wanted)


def test_censored_values_are_above_all_and_tied():
    assert depth_trend(np.array([[np.inf, np.inf, 3.0, 2.0]])) == depth_trend(np.array([[9.0, 9.0, 3.0, 2.0]]))
    assert np.isnan(depth_trend(np.full((1, 4), np.inf)))
    assert depth_trend(np.ones((1, 4))) == 0


def test_a_layer_that_is_unknown_is_left_out():
    assert depth_trend(np.array([[4.0, np.nan, 3.0, 1.0]])) == pytest.approx(-1)
    assert np.isnan(depth_trend(np.array([[4.0, np.nan, np.nan, 1.0]])))
