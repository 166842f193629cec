"""Thousands of lanes at once: what lane after lane finds, and the parts that make it fast."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference
from information_bottleneck.test_many_labels import light_inputs
from information_bottleneck.test_solve_many import problems

from ibjax.bottleneck import many_lanes, solve_many
from ibjax.bottleneck.curvature import blocks, spread_about
from ibjax.bottleneck.dense_newton import dense_newton, solve_positive
from ibjax.bottleneck.merging import merged
from ibjax.bottleneck.newton import newton
from ibjax.bottleneck.peaks import peaks
from ibjax.bottleneck.squarem import squarem

steps, dense_steps = (jax.jit(method, static_argnames="steps") for method in (newton, dense_newton))
climb, merge = jax.jit(peaks), jax.jit(merged)
BETAS = np.array([8.0, 0.5, 3.0, 25.0])


@pytest.fixture
def always(monkeypatch):
    """Few lanes as if they were many."""
    monkeypatch.setattr(many_lanes, "FEWEST_LANES", 1)
    monkeypatch.setattr(many_lanes, "CHUNK", 4)
    monkeypatch.setattr(many_lanes, "SIZES", ())
    handed = []
    whole = many_lanes.solve_many_labels
    monkeypatch.setattr(
        many_lanes, "solve_many_labels", lambda *args, **kw: handed.append(len(args[1])) or whole(*args, **kw)
    )
    return handed


def test_it_is_what_lane_after_lane_finds(always):
    p_x, p = problems(4)
    p = np.where((p < 0.1) & (np.arange(4) < 2)[:, None, None], 0.0, p)  # two tables with zeros
    p /= p.sum(axis=2, keepdims=True)
    found = solve_many((p_x, p), BETAS)
    assert (found.status == 0).all()
    assert sum(always) <= 2  # of 16: the rest it solves itself
    many_lanes.FEWEST_LANES = 1000
    one = solve_many((p_x, p), BETAS)
    np.testing.assert_allclose(found.free_energy, one.free_energy, atol=2e-9)
    np.testing.assert_allclose(found.complexity, one.complexity, atol=1e-3)
    assert (found.clusters == one.clusters).mean() > 0.8
    for i, j in np.ndindex(4, len(BETAS)):
        w, s = found.marginal[i, j], found.decoder[i, j]
        z = (w * np.exp(-BETAS[j] * reference.kl(p[i], np.maximum(s, 1e-200)))).sum(axis=1)
        np.testing.assert_allclose(-p_x[i] @ np.log(z), found.free_energy[i, j], atol=1e-9)


def test_light_inputs_are_no_matter(always):
    p_x, p = light_inputs(4, [9, 10, 14])
    found = solve_many((p_x, p), [30.0, 300.0, 1500.0])
    assert (found.status == 0).all()
    assert sum(always) <= 1
    many_lanes.FEWEST_LANES = 1000
    np.testing.assert_allclose(
        found.free_energy, solve_many((p_x, p), [30.0, 300.0, 1500.0]).free_energy, atol=2e-9, rtol=1e-9
    )


def test_few_evaluations_are_reported_as_such(always):
    p_x, p = problems(4)
    found = solve_many((p_x, p), BETAS, max_iterations=5, tolerance=1e-13)
    assert (found.status == 1).any()
    np.testing.assert_array_equal(found.status == 0, found.gap <= 1e-13)
    for i, j in np.ndindex(4, len(BETAS)):
        z = found.marginal[i, j] * np.exp(-BETAS[j] * reference.kl(p[i], np.maximum(found.decoder[i, j], 1e-200)))
        np.testing.assert_allclose(-p_x[i] @ np.log(z.sum(axis=1)), found.free_energy[i, j], atol=1e-9)
    assert always == []


def test_an_interrupt_ends_all_threads(always, monkeypatch):
    monkeypatch.setattr(many_lanes, "PART", 1)
    solve, all_run, ended = many_lanes._Work.solve, threading.Barrier(4), []

    def interrupted(work):
        all_run.wait()
        if 0 in work.problem:
            raise KeyboardInterrupt
        while not work.compiled.stopped:
            time.sleep(0.01)
        try:
            solve(work)
        except RuntimeError as error:
            ended.append(str(error))
            raise

    monkeypatch.setattr(many_lanes._Work, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve_many(problems(4), BETAS)
    assert ended == ["another thread has failed"] * 3


def test_a_lane_that_is_not_a_number_says_so(always, monkeypatch):
    newton = many_lanes._Work.newton

    def broken(work, lanes):
        result = newton(work, lanes)
        this = (work.problem == 1) & (work.beta == 3.0)
        work.log_z[this], work.log_weights[this], work.used[this] = np.nan, -np.inf, 0
        return result

    monkeypatch.setattr(many_lanes._Work, "newton", broken)
    found = solve_many(problems(4), BETAS)
    bad = np.zeros((4, 4), bool)
    bad[1, list(BETAS).index(3.0)] = True
    np.testing.assert_array_equal(found.status, np.where(bad, 2, 0))
    assert np.isnan(found.gap[bad]).all()


def test_it_is_chosen_for_many_lanes_of_small_tables():
    many = np.full(20_000, 5.0)
    assert many_lanes.fits(64, 4, many)
    assert not many_lanes.fits(64, 4, many[:100])
    assert not many_lanes.fits(64, 32, many)
    assert not many_lanes.fits(256, 4, many)
    assert not many_lanes.fits(64, 4, 1e6 * many)


@pytest.mark.parametrize("n", [1, 5, 16, 17, 40])
def test_positive_equations(n):
    rng = np.random.default_rng(n)
    root = rng.normal(size=(3, n, n))
    matrix, right = root @ np.swapaxes(root, 1, 2) + 0.1 * np.eye(n), rng.normal(size=(3, n))
    with jax.enable_x64(True):
        found = jax.vmap(solve_positive)(jnp.asarray(matrix), jnp.asarray(right))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right[..., None])[..., 0], rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_of_a_cluster_without_two_labels(dtype):
    """Their product is below the smallest number."""
    least = np.sqrt(np.finfo(dtype).tiny) / 10
    decoder = np.array([[0.6, 0.4, least, least]], dtype).T
    share, p = np.array([[0.5], [0.5]], dtype), np.array([[0.7, 0.3, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]], dtype)
    with jax.enable_x64(dtype == np.float64):
        spread = spread_about(*(jnp.asarray(a) for a in (share, p, decoder)))
        found = blocks(3.0, jnp.asarray(decoder), jnp.ones(1, dtype), spread, 0.0, jnp.ones(1, dtype))
    assert found.root.dtype == dtype
    assert all(np.isfinite(np.asarray(a)).all() for a in found)
    np.testing.assert_allclose(found.instability, 3.0 * 0.01 * (1 / 0.6 + 1 / 0.4), rtol=1e-3)


def test_blocks_are_inverted_and_their_sign_is_seen():
    rng = np.random.default_rng(0)
    decoder = rng.dirichlet(np.full(4, 2.0), size=2).T
    unit = np.sqrt(decoder[:, None] * decoder)
    spread = np.zeros((4, 4, 2))
    for t, size in enumerate((0.5, 2.0)):  # the second wants to split
        direction = rng.normal(size=4)
        direction -= direction @ np.sqrt(decoder[:, t]) * np.sqrt(decoder[:, t])
        direction /= np.linalg.norm(direction)
        spread[:, :, t] = size / 3.0 * np.outer(direction, direction) * unit[:, :, t]
    with jax.enable_x64(True):
        found = blocks(3.0, jnp.asarray(decoder), jnp.ones(2), jnp.asarray(spread), 0.0, jnp.full(2, 0.1))
    assert list(np.asarray(found.stable)) == [True, False]
    np.testing.assert_allclose(found.instability, [0.5, 2.0], rtol=1e-6)
    block = 3.0 * np.eye(4) - 9.0 * spread[:, :, 0] / unit[:, :, 0] + (0.1 - 3.0) * unit[:, :, 0]
    root = np.asarray(found.root)[:, :, 0]
    np.testing.assert_allclose(root @ block @ root.T, np.eye(4), atol=1e-10)
    assert np.isfinite(np.asarray(found.root)).all()


def test_clusters_that_have_met_are_one_and_others_stay():
    p_x, p = reference.table([0.5, 0.5], [[0.9, 0.05, 0.05], [0.05, 0.05, 0.9]])
    places = np.array([p[0], p[0] + [1e-4, -1e-4, 0], p[1], p[1], p[1]])
    weights = np.array([0.3, 0.2, 0.2, 0.3, 0.0])
    with jax.enable_x64(True), np.errstate(divide="ignore"):
        log_w, log_s = merge(p_x, p, 20.0, jnp.log(weights), jnp.log(places), 0.3)
        kept, _ = merge(p_x, p, 20.0, jnp.log(weights), jnp.log(places), 0.0)
    np.testing.assert_allclose(np.exp(log_w), [0.5, 0, 0, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(np.exp(np.asarray(log_s)[[0, 3], 0]), [p[0, 0] + 4e-5, p[1, 0]], atol=1e-9)
    np.testing.assert_allclose(np.exp(kept), weights, atol=1e-12)


def test_a_pair_is_one_if_that_is_better():
    # Below the threshold of a symmetric source two clusters apart are worse than one between them, above it better.
    p_x, p = reference.table([0.5, 0.5], [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]])
    middle, apart = p.mean(axis=0), 0.02 * (p[0] - p[1])
    start = jnp.log(jnp.full(2, 0.5)), jnp.log(np.stack([middle + apart, middle - apart]))
    threshold = 1 / (0.9 * (0.5 / 0.9) ** 2)
    with jax.enable_x64(True):
        counts = [int(np.isfinite(merge(p_x, p, factor * threshold, *start, 1e-6)[0]).sum()) for factor in (0.9, 1.3)]
    assert counts == [1, 2]


@pytest.mark.parametrize("clusters", [3, 12])  # as many equations as numbers of the clusters, and as inputs
def test_the_hessian_built_or_multiplied_with_leads_to_the_same_place(clusters):
    p_x, p = reference.random_table(20, 4)
    order = np.argsort(-p_x)[:clusters]
    with jax.enable_x64(True):
        start = np.log(p_x[order] / p_x[order].sum()), np.log(p[order])
        found = squarem(p_x, p, 7.0, *(jnp.asarray(a) for a in start), steps=120, tolerance=0.0)
        clusters = found.log_weights, found.log_decoder
        one, other = (method(p_x, p, 7.0, *clusters, steps=40, tolerance=1e-12) for method in (steps, dense_steps))
        energies = [reference.step(p_x, p, 7.0, *(np.exp(np.asarray(a)) for a in x[:2]))[2] for x in (one, other)]
    np.testing.assert_allclose(energies[1], energies[0], atol=1e-11)


def test_clusters_in_single_precision_whose_weights_do_not_sum_to_one_are_a_start():
    # Their free energy is lower than any that can be reached.
    p_x, p = reference.random_table(20, 4)
    with jax.enable_x64(True):
        start = jnp.log(p_x * (1 + 1e-6)), jnp.log(p)
        log_w, log_s, _ = dense_steps(p_x, p, 7.0, *start, steps=60, tolerance=1e-12)
        after = reference.step(p_x, p, 7.0, np.exp(np.asarray(log_w)), np.exp(np.asarray(log_s)))
    np.testing.assert_allclose(np.exp(log_w).sum(), 1, atol=1e-12)
    heavy = np.asarray(log_w) > np.log(1e-7)
    np.testing.assert_allclose(after[0][heavy], np.exp(log_w)[heavy], rtol=1e-6)


def test_the_numbers_do_not_depend_on_the_cores(always, monkeypatch):
    monkeypatch.setattr(many_lanes, "PART", 4)
    monkeypatch.setattr(many_lanes, "STAGE", 1)  # every beta starts from the next higher one
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(many_lanes.os, "cpu_count", lambda cores=cores: cores)
        found.append(solve_many(problems(4), BETAS))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (found[0].status == 0).all()
    assert (np.diff(found[0].relevance[:, np.argsort(BETAS)], axis=1) >= -1e-9).all()


def test_merging_in_single_precision_leaves_clusters_apart():
    p_x, p = reference.random_table(12, 4)
    single = (jnp.asarray(a, jnp.float32) for a in (p_x, p, 20.0, np.log(p_x), np.log(p)))
    with jax.enable_x64(True):
        found, log_s = merge(*single, 0.01)
    assert found.dtype == log_s.dtype == jnp.float32
    assert np.isfinite(found).sum() >= 8
    assert np.isfinite(np.asarray(log_s)).all()


def test_the_search_finds_the_cluster_that_was_taken_away():
    p_x, p = reference.random_table(30, 4)
    with jax.enable_x64(True):
        whole = solve_many((p_x[None], p[None]), [8.0])
        w, s = whole.marginal[0, 0], whole.decoder[0, 0]
        used = w > 0
        w, s = w[used], s[used]
        for gone in (None, len(w) // 2):
            keep = np.arange(len(w)) != gone
            start = jnp.log(w[keep] / w[keep].sum()), jnp.log(s[keep])
            log_w, log_s, _ = steps(p_x, p, 8.0, *start, steps=60, tolerance=1e-13)
            z = (np.exp(np.asarray(log_w)) * np.exp(-8.0 * reference.kl(p, np.exp(np.asarray(log_s))))).sum(axis=1)
            found = climb(p_x, p, 8.0, log_w, log_s, jnp.log(z))
            if gone is None:
                assert float(found.values.max()) < 1e-9
            else:
                c = (p_x / z)[:, None] * np.exp(-8.0 * reference.kl(p, np.exp(np.asarray(found.points))))
                np.testing.assert_allclose(np.log(c.sum(axis=0)).max(), found.values.max(), atol=1e-6)
                assert float(found.values.max()) > 1e-4
