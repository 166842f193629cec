"""The dataset of a curve: the clusters in order, where they come from, and both bounds."""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import Table, curve, labelled
from ibjax.bottleneck.labelled import positions


@pytest.fixture(scope="module")
def found():
    return curve(reference.random_table(9, 2, 5), [1.0, 2.0, 4.0, 8.0, 30.0])


def test_clusters_are_the_solutions_in_the_order_of_their_positions(found):
    data = found.to_dataset()
    inverse = [int(np.flatnonzero(found.reduction.index == row)[0]) for row in range(data.sizes["x"])]
    for i in range(len(found.beta)):
        solution, count = found.solution(i), int(found.clusters[i])
        order = np.argsort(solution.decoder[:, 1])
        np.testing.assert_allclose(data.marginal[i, :count], solution.marginal[order], atol=1e-12)
        np.testing.assert_allclose(data.decoder[i, :count], solution.decoder[order], atol=1e-12)
        np.testing.assert_allclose(data.encoder[i, :, :count], solution.encoder[inverse][:, order], atol=1e-12)
        np.testing.assert_array_equal(data.position[i, :count], data.decoder[i, :count, 1])
        assert (np.diff(data.position[i, :count]) > 0).all()
        assert (data.marginal[i, count:] == 0).all()
        assert (data.encoder[i, :, count:] == 0).all()
        assert data.decoder[i, count:].isnull().all()
        assert (data.parent[i, count:] == -1).all()
    np.testing.assert_allclose(data.encoder.sum("cluster"), 1, atol=1e-12)
    np.testing.assert_array_equal(data.p_x, found.reduction.table.p_x)
    np.testing.assert_array_equal(data.input_position, found.reduction.table.p_y_given_x[:, 1])


def test_a_cluster_comes_from_the_nearest_before(found):
    data = found.to_dataset()
    assert (data.parent[0] == -1).all()
    for i in range(1, len(found.beta)):
        for t in range(int(found.clusters[i])):
            distances = [
                abs(data.decoder.values[i, t] - data.decoder.values[i - 1, s]).sum()
                for s in range(int(found.clusters[i - 1]))
            ]
            assert data.parent[i, t] == np.argmin(distances)


def test_both_bounds_at_every_rate(found):
    data = found.to_dataset()
    assert data.rate[0] == 0
    assert data.rate[-1] == found.entropy
    assert (np.diff(data.rate) > 0).all()
    np.testing.assert_array_equal(data.lower_curve, found.lower(data.rate.values))
    np.testing.assert_array_equal(data.upper_curve, found.upper(data.rate.values))
    # The corners of the attained curve are among the rates: straight between them.
    np.testing.assert_allclose(np.interp(found.complexity, data.rate, data.lower_curve), found.lower(found.complexity))


def test_every_array_says_its_unit_and_what_it_is(found):
    data = found.to_dataset()
    for name, array in data.data_vars.items():
        assert array.units in ("nats", "1"), name
        assert array.long_name, name
    assert data.attrs == {
        "gap_kind": "certified",
        "information": found.information,
        "entropy": found.entropy,
        "position": "p(y=1)",
    }


def test_an_encoder_that_is_too_large_is_left_out(found, monkeypatch):
    cells = found.to_dataset().encoder.size
    monkeypatch.setattr(labelled, "MOST_CELLS", cells)
    assert "encoder" in found.to_dataset()
    monkeypatch.setattr(labelled, "MOST_CELLS", cells - 1)
    data = found.to_dataset()
    assert "encoder" not in data
    assert "decoder" in data


def test_the_first_principal_coordinate_of_many_labels():
    p_x, p = np.random.default_rng(0).dirichlet(np.ones(12)), np.random.default_rng(1).dirichlet(np.ones(4), 12)
    found = positions(Table(p_x, p), p)
    centred = p - p_x @ p
    _, _, directions = np.linalg.svd(np.sqrt(p_x)[:, None] * centred)
    sign = np.sign(directions[0][abs(directions[0]).argmax()])
    np.testing.assert_allclose(found, sign * centred @ directions[0], atol=1e-12)
    # No other axis has the inputs farther apart, and their mean is at 0.
    others = centred @ np.random.default_rng(2).normal(size=(4, 50))
    others /= np.linalg.norm(np.random.default_rng(2).normal(size=(4, 50)), axis=0)
    assert (p_x @ found**2 >= p_x @ others**2 - 1e-12).all()
    assert abs(p_x @ found) < 1e-12
    np.testing.assert_allclose(positions(Table(p_x, p), p[:, None]), found[:, None])
