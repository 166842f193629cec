"""Many labels: the optimum by other means, its certificate, and tables that local optima abound in."""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import curve, solve, solve_many
from ibjax.bottleneck.lanes import FEW_LABELS


def spread(rows, labels):
    """The same information in more labels: each label is torn into equal parts."""
    return np.repeat(rows / labels, labels, axis=1)


@pytest.mark.parametrize("factor", [0.5, 0.99, 1.0001, 1.01, 1.1, 2.0, 20.0])
def test_a_closed_form_in_twelve_labels(factor):
    """Mrs Gerber's, next to the transition and far from it."""
    p_x, rows = reference.binary_symmetric(0.1)
    beta = factor / 0.64
    found = solve((p_x, spread(rows, 6)), beta)
    complexity, relevance = reference.binary_symmetric_solution(0.1, beta)
    assert found.gap <= 1e-9
    np.testing.assert_allclose(found.lagrangian, complexity - beta * relevance, atol=2e-9)
    assert len(found.marginal) == (1 if factor < 1 else 2)
    if factor < 1:
        assert found.complexity == 0


@pytest.mark.slow
def test_an_erased_bit_in_nine_labels_jumps():
    e = 0.25
    joint = np.array([0.5, 0.5]), spread(np.array([[1 - e, 0, e], [0, 1 - e, e]]), 3)
    below, above = solve(joint, 0.999 / (1 - e)), solve(joint, 1.001 / (1 - e))
    assert below.complexity == 0
    np.testing.assert_allclose([above.complexity, above.relevance], [np.log(2), (1 - e) * np.log(2)], atol=1e-9)


def test_a_function_of_the_input():
    p_x, rows = np.full(24, 1 / 24), np.eye(12)[np.arange(24) % 12]
    for beta in (1.1, 3.0, 100.0):
        found = solve((p_x, rows), beta)
        assert found.gap <= 1e-9
        np.testing.assert_allclose([found.complexity, found.relevance], [np.log(12), np.log(12)], atol=1e-9)
    assert solve((p_x, rows), 0.9).complexity == 0


@pytest.mark.slow
@pytest.mark.parametrize("beta", [2.0, 3.0, 4.0, 12.0])
def test_it_is_no_worse_than_plain_steps_from_every_input(beta):
    p_x, p = joint = reference.random_table(24, 10, concentration=0.3)
    found = solve(joint, beta)
    assert found.status == 0
    assert found.gap_kind == "searched"
    w, s = p_x, np.maximum(p, 1e-200)
    for _ in range(2000):
        w, s, energy = reference.step(p_x, p, beta, w, s)
        s, w = s[w > 1e-100], w[w > 1e-100]
    assert found.free_energy <= energy + 1e-9
    # The certificate on points of our own: rows, clusters, and mixtures of two rows.
    log_z = np.log(np.exp(-beta * reference.kl(p, found.decoder)) @ found.marginal)
    points = np.concatenate([p, found.decoder, (p[:, None] / 2 + p / 2).reshape(-1, 10)])
    assert reference.log_c(p_x, p, beta, log_z, np.maximum(points, 1e-200)).max() <= 2e-9


@pytest.mark.slow
def test_a_curve_is_what_the_solves_are():
    joint = reference.random_table(12, 10, concentration=0.3)
    betas = np.array([9.0, 1.5, 3.0])
    found = curve(joint, betas)
    for i, beta in enumerate(np.sort(betas)):
        one = solve(joint, beta)
        np.testing.assert_allclose(found.lagrangian[i], one.lagrangian, atol=2e-9)
        assert found.clusters[i] == len(one.marginal)
    assert (np.diff(found.complexity) >= -1e-6).all()


def test_relabelling():
    p_x, p = reference.random_table(12, 10, concentration=0.3)
    rng = np.random.default_rng(0)
    rows, labels = rng.permutation(12), rng.permutation(10)
    one, other = solve((p_x, p), 4.0), solve((p_x[rows], p[rows][:, labels]), 4.0)
    np.testing.assert_allclose(other.lagrangian, one.lagrangian, atol=2e-9)
    np.testing.assert_allclose(other.complexity, one.complexity, atol=1e-3)


def test_few_evaluations_are_reported_as_such():
    joint = reference.random_table(24, 10, concentration=0.3)
    found = solve(joint, 3.0, max_iterations=3, tolerance=1e-12)
    assert found.status == 1
    assert found.gap > 1e-12
    assert found.lagrangian >= solve(joint, 3.0).lagrangian - 1e-9


def test_the_method_is_chosen_by_the_labels():
    assert FEW_LABELS == 2
    kinds = [solve(reference.random_table(6, labels), 3.0).gap_kind for labels in (2, 3, 4)]
    assert kinds == ["certified", "certified", "searched"]


@pytest.mark.parametrize("steps", [1, 20_000])
def test_three_labels_are_certified_whether_solved_or_not(steps):
    p_x, p = reference.random_table(9, 3)
    found = solve((p_x, p), 5.0, max_iterations=steps)
    assert found.gap_kind == "certified"
    assert (found.status == 0) == (found.gap <= 1e-9) == (steps > 1)
    best = solve((p_x, p), 5.0, tolerance=1e-11)
    assert -1e-11 <= found.free_energy - best.free_energy <= found.gap


@pytest.mark.slow
def test_a_cluster_that_the_search_misses_is_found_by_the_certificate():
    """The ascents end at other peaks and leave 4e-5 nat; found among random tables."""
    rng = np.random.default_rng(1)
    for k in range(9):
        n, concentration = (8, 24, 64)[k % 3], (0.1, 0.3, 1.0, 3.0)[k % 4]
        p_x, p = rng.dirichlet(np.ones(n)), rng.dirichlet(np.full(3, concentration), size=n)
    found = solve((p_x, p), np.geomspace(1.1, 100, 25)[14])
    assert found.gap_kind == "certified"
    assert found.gap <= 1e-9


@pytest.mark.slow
def test_a_table_of_256_inputs_and_32_labels():
    """Next to the point where every input gets a cluster, the iteration alone ends 0.4 bit from the bound."""
    joint = np.random.default_rng(7).dirichlet(np.full(256 * 32, 0.3)).reshape(256, 32)
    found = curve(joint, [3.0, 4.0, 6.0, 6.5], tolerance=1e-8)
    assert (found.status == 0).all()
    assert found.complexity[0] == 0
    np.testing.assert_allclose(found.lagrangian[1:] / np.log(2), [-0.0100335, -0.5958475, -1.1219502], atol=2e-7)


def light_inputs(labels, few):
    """Sparse rows, and inputs of down to 4e-13."""
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.full(labels, 0.2), size=(40, 12))
    rows[rng.random(rows.shape) < 0.3] = 0
    rows[rows.sum(axis=2) == 0] = 1 / labels
    rows /= rows.sum(axis=2, keepdims=True)
    p_x = rng.dirichlet(np.full(12, 0.3), size=40)
    return p_x[few], rows[few]


@pytest.mark.parametrize("beta", [30.0, 300.0, 1500.0])
@pytest.mark.parametrize(("labels", "few"), [(2, [21, 22, 23, 38]), (4, [9, 10, 14])])
def test_an_input_however_light_has_a_cluster_where_its_label_is_impossible_without(labels, few, beta):
    p_x, rows = light_inputs(labels, few)
    found = solve_many((p_x, rows), [beta])
    assert (found.status == 0).all()
    z = found.marginal[:, 0, None] * np.exp(
        -beta * np.array([reference.kl(p, np.maximum(s[0], 1e-217)) for p, s in zip(rows, found.decoder, strict=True)])
    )
    np.testing.assert_allclose(-(p_x * np.log(z.sum(axis=2))).sum(axis=1), found.free_energy[:, 0], rtol=1e-9)
    # c(s) at the rows themselves, where something is missed if anywhere.
    kl = np.array([reference.kl(p, np.maximum(p, 1e-217)) for p in rows])
    c = (p_x / z.sum(axis=2))[:, None] @ np.exp(-beta * kl)
    assert c.max() <= 1 + 1e-8
