"""When a run is looked at."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibjax.training import snapshot_epochs

# Where there are nearly as many snapshots as epochs the search is long: see the test of that case.
settings = st.tuples(st.integers(1, 20_000), st.integers(2, 200))


@given(settings)
def test_epochs_increase_from_the_start_to_the_end(setting):
    epochs, count = setting
    chosen = snapshot_epochs(epochs, count)
    assert chosen[0] == 0
    assert chosen[-1] == epochs
    assert (np.diff(chosen) > 0).all()
    assert np.issubdtype(chosen.dtype, np.integer)


@given(settings)
def test_there_are_about_as_many_as_asked_for(setting):
    epochs, count = setting
    assert min(count, epochs + 1) <= len(snapshot_epochs(epochs, count)) <= count + 2


@given(settings)
def test_early_epochs_are_all_there_and_late_ones_log_spaced(setting):
    epochs, count = setting
    hypothesis.assume(count <= epochs)
    chosen = snapshot_epochs(epochs, count)
    # With count points in all, neighbours may be apart by this factor, and by 1 for rounding.
    ratio = epochs ** (1 / max(count - 2, 1))
    assert (np.diff(chosen) <= chosen[:-1] * (ratio - 1) + 1.5)[1:].all()
    every = int(min(1 / (ratio - 1), epochs)) if ratio > 1 else epochs
    np.testing.assert_array_equal(chosen[: every + 1], np.arange(every + 1))


def test_the_studies_run():
    chosen = snapshot_epochs(10_000, 150)
    assert len(chosen) in (150, 151)
    np.testing.assert_array_equal(chosen[:21], np.arange(21))
    late = chosen[chosen > 100]
    np.testing.assert_allclose(late[1:] / late[:-1], (late[1:] / late[:-1]).mean(), rtol=0.01)


@pytest.mark.parametrize(("epochs", "count"), [(1, 2), (2, 2), (3, 4), (5, 50), (20, 21)])
def test_short_runs(epochs, count):
    expected = np.arange(epochs + 1) if count > epochs else [0, 1, epochs]
    np.testing.assert_array_equal(snapshot_epochs(epochs, count), expected)


@pytest.mark.parametrize(("epochs", "count"), [(40, 40), (40, 39), (300, 300), (300, 290)])
def test_nearly_every_epoch(epochs, count):
    chosen = snapshot_epochs(epochs, count)
    assert count <= len(chosen) <= epochs + 1
    assert (np.diff(chosen) > 0).all()
    assert (chosen[0], chosen[-1]) == (0, epochs)
