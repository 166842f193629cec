"""The bound is above the truth on a fine grid, close to it, and zero at an optimum only."""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import optimality_gap

GRID = 1 / (1 + np.exp(-np.linspace(-45, 45, 60_001)))
BINARY = np.stack([1 - GRID, GRID], axis=1)


def random_lanes(p_x, p, betas, clusters=3, seed=0):
    """Clusters at random, their ln Z."""
    rng = np.random.default_rng(seed)
    decoder = rng.dirichlet(np.ones(p.shape[1]), size=(len(betas), clusters))
    weights = rng.dirichlet(np.ones(clusters), size=len(betas))
    z = [w @ np.exp(-beta * reference.kl(p, s)).T for w, s, beta in zip(weights, decoder, betas, strict=True)]
    return np.log(z), decoder


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("extreme", [False, True])
def test_the_bound_is_the_maximum(seed, extreme):
    p_x, p = reference.random_table(12, 2, seed, 0.5)
    if extreme:
        p[:3] = [[1, 0], [0, 1], [1 - 1e-9, 1e-9]]
    betas = np.array([0.3, 1.0, 2.0, 7.0, 40.0])
    log_z, decoder = random_lanes(p_x, p, betas, seed=seed)
    truths = [reference.log_c(p_x, p, beta, z, BINARY).max() for beta, z in zip(betas, log_z, strict=True)]
    assert min(truths) > 0  # no random clusters are optimal
    for tolerance in (1e-3, 1e-6, 1e-10):
        found = optimality_gap(p_x, p, betas, log_z, decoder, tolerance=tolerance)
        assert found.kind == "certified"
        for i, (beta, truth) in enumerate(zip(betas, truths, strict=True)):
            assert found.gap[i] >= truth - 1e-12
            assert found.gap[i] <= truth + tolerance + beta * 1e-6  # the grid's own error
            at_point = reference.log_c(p_x, p, beta, log_z[i], found.point[i : i + 1])[0]
            assert at_point >= found.gap[i] - 1.1 * tolerance - 1e-11


def test_a_narrow_peak_far_from_every_atom_is_found():
    """One rare input is served by nobody; its peak is narrower than any grid of a few dozen points."""
    beta = np.array([3000.0])
    p_x = np.array([0.499, 0.499, 0.002])
    p = np.array([[0.9, 0.1], [0.1, 0.9], [0.4127, 0.5873]])
    decoder = p[None, :2]
    log_z = -beta * reference.kl(p, decoder[0]).min(axis=1) + np.log([0.5, 0.5, 0.5])
    log_z = log_z[None]
    found = optimality_gap(p_x, p, beta, log_z, decoder)
    np.testing.assert_allclose(found.gap, np.log(0.002) - log_z[0, 2], rtol=1e-6)
    np.testing.assert_allclose(found.point[0], p[2], atol=1e-4)


def test_it_bounds_what_is_lost():
    """The free energy of a few clusters exceeds that of the optimum by at most the gap."""
    p_x, p = reference.random_table(10, 2)
    beta = 6.0
    w, s = np.full(2, 0.5), np.array([[0.8, 0.2], [0.2, 0.8]])
    best_w, best_s = p_x, p  # one cluster per input: enough for the optimum
    for _ in range(20_000):
        best_w, best_s, energy = reference.step(p_x, p, beta, best_w, best_s)
    log_z = np.log(w @ np.exp(-beta * reference.kl(p, s)).T)
    gap = optimality_gap(p_x, p, np.array([beta]), log_z[None], s[None]).gap[0]
    assert 0 < -p_x @ log_z - energy <= gap
    best_z = np.log(best_w @ np.exp(-beta * reference.kl(p, best_s)).T)
    assert optimality_gap(p_x, p, np.array([beta]), best_z[None], best_s[None]).gap[0] < 1e-8


def test_one_cluster_is_optimal_up_to_the_first_threshold():
    p_x, rows = reference.binary_symmetric(0.1)
    p_y = np.array([[0.5, 0.5]])
    betas = np.array([0.2, 1.0, 1.5, 1.5624, 1.6, 2.0])
    log_z = -betas[:, None] * reference.kl(rows, p_y)[:, 0]
    gap = optimality_gap(p_x, rows, betas, log_z, np.broadcast_to(p_y, (6, 1, 2))).gap
    assert (gap[:4] < 2e-10).all()
    assert (gap[4:] > 1e-6).all()


def climbed(p_x, p, beta, log_z):
    """Largest ln c on a grid and where ascents from it end: no more than the maximum, and close to it."""
    axes = np.stack(np.meshgrid(*(p.shape[1] - 1) * [np.linspace(0, 1, 15)]), axis=-1).reshape(-1, p.shape[1] - 1)
    s = np.concatenate([axes, 1 - axes.sum(axis=1, keepdims=True)], axis=1)
    s = np.concatenate([np.maximum(s[s[:, -1] > -1e-9], 0.0), p, (p[:, None] / 2 + p / 2).reshape(-1, p.shape[1])])
    values = []
    for _ in range(40):
        terms = np.log(p_x) - log_z - beta * reference.kl(p, np.maximum(s, 1e-300)).T
        weight = np.exp(terms - terms.max(axis=1, keepdims=True))
        values.append((terms.max(axis=1) + np.log(weight.sum(axis=1))).max())
        s = weight @ p / weight.sum(axis=1, keepdims=True)
    return max(values)


@pytest.mark.parametrize(("kind", "seed"), [("inside", 0), ("zeros", 0), ("zeros", 1), ("tiny", 0), ("tiny", 1)])
def test_the_bound_is_the_maximum_over_the_triangle(kind, seed):
    p_x, p = reference.random_table(10, 3, seed, 0.5)
    if kind == "zeros":
        p[:6] = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.99, 0.01], [1e-9, 0, 1 - 1e-9]]
    elif kind == "tiny":
        p = np.random.default_rng(seed).dirichlet(np.full(3, 0.05), size=10)
    betas = np.array([0.5, 1.0, 3.0, 20.0, 200.0])
    log_z, decoder = random_lanes(p_x, p, betas, seed=seed)
    truth = np.array([climbed(p_x, p, beta, z) for beta, z in zip(betas, log_z, strict=True)])
    for tolerance in (1e-3, 1e-6, 1e-10):
        found = optimality_gap(p_x, p, betas, log_z, decoder, tolerance=tolerance)
        assert found.kind == "certified"
        np.testing.assert_allclose(found.point.sum(axis=1), 1, atol=1e-12)
        assert (found.gap >= truth - 1e-12 * betas).all()
        assert (found.gap <= truth + 1.1 * tolerance + 1e-8).all()  # the ascents' own error
        points = np.maximum(found.point, 1e-300)
        at = [reference.log_c(p_x, p, b, z, s[None])[0] for b, z, s in zip(betas, log_z, points, strict=True)]
        assert (np.array(at) >= found.gap - 1.1 * tolerance - 1e-10).all()


def test_labels_without_mass_do_not_count():
    p_x, p = reference.random_table(8, 2)
    betas = np.array([2.0, 9.0])
    log_z, decoder = random_lanes(p_x, p, betas)
    two = optimality_gap(p_x, p, betas, log_z, decoder)
    four = [np.insert(a, [1, 2], 0.0, axis=-1) for a in (p, decoder)]
    found = optimality_gap(p_x, four[0], betas, log_z, four[1])
    assert found.kind == "certified"
    np.testing.assert_array_equal(found.gap, two.gap)
    np.testing.assert_array_equal(found.point, np.insert(two.point, [1, 2], 0.0, axis=1))


def test_a_narrow_peak_in_the_triangle_is_found():
    beta = np.array([1000.0])
    p_x = np.array([0.333, 0.333, 0.333, 0.001])
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.3127, 0.3873, 0.3]])
    decoder = p[None, :3]
    log_z = (-beta * reference.kl(p, decoder[0]).min(axis=1) + np.log(0.333))[None]
    found = optimality_gap(p_x, p, beta, log_z, decoder)
    np.testing.assert_allclose(found.gap, np.log(0.001) - log_z[0, 3], rtol=1e-6)
    np.testing.assert_allclose(found.point[0], p[3], atol=1e-4)


def test_more_labels_are_searched_and_the_search_is_a_lower_bound():
    p_x, p = reference.random_table(12, 4)
    betas = np.array([1.0, 3.0, 10.0])
    log_z, decoder = random_lanes(p_x, p, betas)
    found = optimality_gap(p_x, p, betas, log_z, decoder)
    assert found.kind == "searched"
    for i, beta in enumerate(betas):
        truth = climbed(p_x, p, beta, log_z[i])
        assert truth - 1e-6 <= found.gap[i] <= truth + 1e-6
