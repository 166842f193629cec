"""The alpha family: every partition tried, the printed equations, the two ends, and no step upwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import Status, agglomerative, deterministic, solve
from ibjax.bottleneck.deterministic import settle
from ibjax.errors import InputError


def entropy(p):
    p = np.asarray(p)
    return -(p[p > 0] * np.log(p[p > 0])).sum()


def lagrangian(joint, q, beta, alpha=0.0):
    """H(T) - alpha H(T|X) - beta I(T;Y) from scratch."""
    p_x, p = joint
    conditional = sum(mass * entropy(row) for mass, row in zip(p_x, q, strict=True))
    return entropy(p_x @ q) - alpha * conditional - beta * reference.information((p_x[:, None] * q).T @ p)


def partitions(n):
    """Labels of every partition of n things."""
    rows = [[0]]
    for _ in range(n - 1):
        rows = [[*row, t] for row in rows for t in range(max(row) + 2)]
    return [np.array(row) for row in rows]


def check(found, joint):
    """What holds of every result."""
    p_x, p = joint
    mass = p_x > 0
    q = found.encoder
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(found.marginal, p_x @ q, atol=1e-12)
    assert (np.diff(found.marginal) <= 1e-15).all()
    joint_ty = (p_x[:, None] * q)[mass].T @ p[mass]
    np.testing.assert_allclose(found.marginal[:, None] * found.decoder, joint_ty, atol=1e-12)
    np.testing.assert_allclose(found.entropy, entropy(found.marginal), atol=1e-12)
    np.testing.assert_allclose(found.complexity, reference.information(p_x[:, None] * q), atol=1e-12)
    np.testing.assert_allclose(found.relevance, reference.information(joint_ty), atol=1e-12)
    expected = found.entropy - found.alpha * (found.entropy - found.complexity) - found.beta * found.relevance
    np.testing.assert_allclose(found.lagrangian, expected, atol=1e-12)
    assert found.lagrangian <= 0  # one cluster is always compared
    assert found.status is Status.CONVERGED
    if found.alpha == 0:
        np.testing.assert_array_equal(np.sort(q[mass], axis=1)[:, :-1], 0)
        np.testing.assert_array_equal(q[mass].max(axis=1), 1)
        np.testing.assert_allclose(found.entropy, found.complexity, atol=1e-15)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all_partitions(seed, labels):
    joint = reference.random_table(7, labels, seed)
    encoders = [np.eye(label.max() + 1)[label] for label in partitions(7)]
    assert len(encoders) == 877
    for beta in (0.8, 2.0, 5.0, 40.0):
        found = deterministic(joint, beta)
        check(found, joint)
        best = min(lagrangian(joint, q, beta) for q in encoders)
        np.testing.assert_allclose(found.lagrangian, best, atol=1e-12)
        assert found.exact == (labels == 2)


@pytest.mark.parametrize(("seed", "beta"), [(0, 8.0), (2, 5.0), (3, 20.0), (4, 8.0), (5, 100.0)])
def test_a_label_told_in_two_ways_changes_nothing(seed, beta):
    """With the second label split at random there are three, and the search has to find what is exact for two.

    The first two tables are such that it ends higher without mergers, the third without moves.
    """
    p_x, p = reference.random_table(24, 2, seed)
    exact = deterministic((p_x, p), beta)
    check(exact, (p_x, p))
    assert exact.exact
    split = p_x, np.stack([p[:, 0], 0.3 * p[:, 1], 0.7 * p[:, 1]], axis=1)
    found = deterministic(split, beta)
    check(found, split)
    assert not found.exact
    np.testing.assert_allclose(found.lagrangian, exact.lagrangian, atol=1e-12)
    few = deterministic((p_x, p), beta, clusters=2)
    assert few.exact == (len(exact.marginal) <= 2)
    assert few.lagrangian >= exact.lagrangian - 1e-12


def test_the_best_of_all_partitions_into_two():
    joint = reference.random_table(7, 3, 2)
    found = deterministic(joint, 40.0, clusters=2)
    check(found, joint)
    encoders = [np.eye(label.max() + 1)[label] for label in partitions(7) if label.max() < 2]
    np.testing.assert_allclose(found.lagrangian, min(lagrangian(joint, q, 40.0) for q in encoders), atol=1e-12)
    assert found.encoder.shape == (7, 2)
    assert deterministic(joint, 40.0, clusters=1).lagrangian == 0


@pytest.mark.slow
@pytest.mark.parametrize("beta", [1.5, 4.0, 15.0])
def test_alpha_one_is_the_bottleneck(beta):
    joint = reference.random_table(9, 2, seed=1)
    found, certified = deterministic(joint, beta, alpha=1.0), solve(joint, beta)
    check(found, joint)
    np.testing.assert_allclose(found.lagrangian, certified.lagrangian, atol=1e-9)
    np.testing.assert_allclose(found.complexity, certified.complexity, atol=1e-4)


def test_between_the_two():
    """H(T|X) counts ever more, so that the least Lagrangian falls with alpha; a small alpha is almost hard."""
    joint = reference.random_table(9, 2, seed=4)
    alphas = (0.0, 1e-3, 0.1, 0.3, 0.7, 1.0)
    for beta in (6.0, 20.0):
        found = [deterministic(joint, beta, alpha=alpha) for alpha in alphas]
        for one in found:
            check(one, joint)
        values = np.array([one.lagrangian for one in found])
        assert (np.diff(values) <= 1e-9).all()
        assert values[-1] < values[0] - 1e-3
        np.testing.assert_allclose(values[1], values[0], atol=1e-3)


@pytest.mark.parametrize(("labels", "seed", "beta"), [(3, 2, 20.0), (3, 4, 5.0), (2, 0, 8.0)])
def test_no_merger_and_no_move_is_better(labels, seed, beta):
    """The first two are tables where the search ends higher without moves; the last is exact."""
    joint = reference.random_table(24, labels, seed)
    found = deterministic(joint, beta)
    check(found, joint)
    count = len(found.marginal)
    q = np.pad(found.encoder, [(0, 0), (0, 1)])  # with a new cluster
    np.testing.assert_allclose(lagrangian(joint, found.encoder, beta), found.lagrangian, atol=1e-12)
    for i in range(count):
        for j in range(i):
            merged = np.delete(q, i, axis=1)
            merged[:, j] += q[:, i]
            assert lagrangian(joint, merged[:, :-1], beta) >= found.lagrangian - 1e-11
    for x in range(24):
        for t in range(count + 1):
            moved = q.copy()
            moved[x] = np.eye(count + 1)[t]
            moved = moved[:, joint[0] @ moved > 0]
            assert lagrangian(joint, moved, beta) >= found.lagrangian - 1e-11
    # So it is no worse than any cut of the tree of mergers.
    tree = agglomerative(joint)
    assert found.lagrangian <= (tree.complexity - beta * tree.relevance).min() + 1e-12


@pytest.mark.parametrize(("seed", "alpha"), [(0, 0.05), (0, 0.3), (1, 0.3)])
def test_no_soft_merger_is_better(seed, alpha):
    """Tables of which the update alone ends higher."""
    joint, beta = reference.random_table(16, 3, seed), 12.0
    found = deterministic(joint, beta, alpha=alpha)
    check(found, joint)
    for i in range(len(found.marginal)):
        for j in range(i):
            merged = np.delete(found.encoder, i, axis=1)
            merged[:, j] += found.encoder[:, i]
            assert lagrangian(joint, merged, beta, alpha) >= found.lagrangian - 1e-11
    # The optimum at alpha = 0 is an encoder here too, only worse.
    assert found.lagrangian <= deterministic(joint, beta).lagrangian + 1e-9


def start(joint, clusters, seed=0):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(clusters))), np.log(rng.dirichlet(np.ones(joint[1].shape[1]), size=clusters))


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_steps_are_the_printed_equations_and_never_rise(alpha):
    """The first printed with argmax, and of the others ln p(t) - beta KL over alpha."""
    joint = reference.random_table(8, 3)
    log_w, log_s = start(joint, 5)
    w, s = np.exp(log_w), np.exp(log_s)
    beta, bounds, values = 6.0, [], []
    with jax.enable_x64(True):
        for steps in range(1, 8):
            found = settle(*joint, beta, alpha, log_w, log_s, hard=alpha == 0, steps=steps)
            with np.errstate(divide="ignore"):
                score = np.log(w) - beta * reference.kl(joint[1], s)
            if alpha == 0:
                q = np.eye(5)[score.argmax(axis=1)]
            else:
                q = np.exp((score - score.max(axis=1, keepdims=True)) / alpha)
                q /= q.sum(axis=1, keepdims=True)
            w = joint[0] @ q
            live = w > 0
            s[live] = ((joint[0][:, None] * q).T @ joint[1])[live] / w[live, None]
            np.testing.assert_allclose(np.exp(found.log_weights), w, atol=1e-12)
            np.testing.assert_allclose(np.exp(found.log_decoder), s, atol=1e-12)
            bounds.append(float(found.bound))
            values.append(lagrangian(joint, q[:, live], beta, alpha))
            if found.status:
                break
            assert found.iterations == steps
    information = reference.information(joint[0][:, None] * joint[1])
    assert (np.diff(bounds) <= 1e-12).all()
    assert (np.diff(values) <= 1e-12).all()
    assert values[0] - values[-1] > 1e-4
    # The bound is one: of the state before, and so between the values before and after the step.
    assert (np.array(values) + beta * information <= np.array(bounds) + 1e-12).all()
    assert (np.array(values[:-1]) + beta * information >= np.array(bounds[1:]) - 1e-12).all()


@pytest.mark.parametrize("hard", [True, False])
def test_vmap_jit_and_precision(hard):
    joint = reference.random_table(8, 3)
    starts = [start(joint, 4, seed) for seed in range(3)]

    def run(log_w, log_s):
        return settle(*joint, 5.0, 0.5, log_w, log_s, hard=hard, steps=40)

    with jax.enable_x64(True):
        together = jax.jit(jax.vmap(run))(*map(np.stack, zip(*starts, strict=True)))
        for i, one in enumerate(starts):
            for a, b in zip(run(*one), together, strict=True):
                np.testing.assert_allclose(b[i], a, atol=1e-10)
    arrays = [jnp.asarray(a, jnp.float32) for a in (*joint, *starts[0])]
    single = settle(*arrays[:2], 5.0, 0.5, *arrays[2:], hard=hard, steps=40)
    assert single.bound.dtype == single.log_decoder.dtype == jnp.float32
    np.testing.assert_allclose(single.bound, together.bound[0], rtol=1e-5)


@pytest.mark.parametrize("hard", [True, False])
def test_not_finite_stays_visible(hard):
    p_x, p = joint = reference.random_table(6, 3)
    log_w, log_s = start(joint, 4)
    p[2, 1] = np.nan
    found = settle(p_x, p, 2.0, 0.5, log_w, log_s, hard=hard, steps=10)
    assert np.isnan(found.bound)
    assert not found.status


def test_relabelling_equal_rows_and_inputs_without_mass():
    p_x, p = reference.random_table(7, 3, seed=2)
    order = np.random.default_rng(0).permutation(7)
    wide = np.concatenate([p_x / 4, [0.0], 3 * p_x / 4]), np.concatenate([p, np.full((1, 3), np.nan), p])
    for alpha in (0.0, 0.5):
        found = deterministic((p_x, p), 6.0, alpha=alpha)
        other = deterministic((p_x[order], p[order][:, [2, 0, 1]]), 6.0, alpha=alpha)
        np.testing.assert_allclose(other.lagrangian, found.lagrangian, atol=1e-9)
        other = deterministic(wide, 6.0, alpha=alpha)
        check(other, wide)
        np.testing.assert_allclose(other.lagrangian, found.lagrangian, atol=1e-9)
        np.testing.assert_array_equal(other.encoder[:7], other.encoder[8:])
        np.testing.assert_allclose(other.encoder[7], other.marginal, atol=1e-15)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_known_answers(alpha):
    """Nothing to tell, nothing worth telling, and a function of the input."""
    independent = deterministic(np.full((3, 2), 1 / 6), 50.0, alpha=alpha)
    assert independent.encoder.shape == (3, 1)
    assert independent.entropy == independent.complexity == independent.relevance == independent.lagrangian == 0
    joint = np.array([0.1, 0.2, 0.3, 0.4]), np.eye(2)[[0, 1, 0, 1]]
    assert deterministic(joint, 0.9, alpha=alpha).lagrangian == 0
    found = deterministic(joint, 3.0, alpha=alpha)
    check(found, joint)
    np.testing.assert_allclose(found.relevance, reference.binary_entropy(0.4), atol=1e-12)
    np.testing.assert_array_equal(found.encoder.argmax(axis=1) == found.encoder[0].argmax(), [True, False, True, False])
    smallest = deterministic(reference.binary_symmetric(0.1), 100.0, alpha=alpha)
    np.testing.assert_allclose(smallest.relevance, np.log(2) - reference.binary_entropy(0.1), atol=1e-9)


def test_blocks():
    joint = reference.ultrametric_blocks()
    counts = [len(deterministic(joint, beta).marginal) for beta in (1.2, 2.0, 5.0, 50.0)]
    assert counts == [1, 2, 4, 8]


def test_keys_and_restarts():
    joint = reference.random_table(7, 3, seed=3)
    one, same = (deterministic(joint, 5.0, key=jax.random.key(0)) for _ in range(2))
    assert one.lagrangian == same.lagrangian == deterministic(joint, 5.0).lagrangian
    np.testing.assert_array_equal(one.encoder, same.encoder)
    assert one.starts == 10
    few = deterministic(joint, 5.0, restarts=0)
    assert few.starts == 2
    check(few, joint)
    assert one.lagrangian <= few.lagrangian
    short = deterministic(joint, 5.0, alpha=1.0, max_iterations=1)
    assert short.status is Status.MAX_ITERATIONS


def test_the_setting_of_the_user_stays():
    joint = reference.random_table(7, 3)
    before = jax.config.jax_enable_x64
    one = deterministic(joint, 4.0)
    assert jax.config.jax_enable_x64 == before
    with jax.enable_x64(not before):
        assert deterministic(joint, 4.0).lagrangian == one.lagrangian


@pytest.mark.parametrize(
    ("beta", "settings", "message"),
    [
        (0.0, {}, r"beta\[0\] is 0: it must be positive and finite"),
        (np.inf, {}, r"beta\[0\] is inf"),
        (2.0, {"alpha": -0.1}, "alpha is -0.1: it must be between 0"),
        (2.0, {"alpha": 1.1}, "alpha is 1.1"),
        (2.0, {"alpha": np.nan}, "alpha is nan"),
        (2.0, {"clusters": 0}, "clusters is 0: it must be between 1 and the number of inputs, 4"),
        (2.0, {"clusters": 5}, "clusters is 5"),
        (2.0, {"restarts": -1}, "restarts is -1"),
        (2.0, {"max_iterations": 0}, "max_iterations is 0"),
    ],
)
def test_bad_settings(unchecked, beta, settings, message):
    with pytest.raises(InputError, match=message):
        deterministic(reference.random_table(4, 2), beta, **settings)
    with pytest.raises(InputError, match=r"the table\[\(0, 1\)\] is -0.1"):
        deterministic(np.array([[0.5, -0.1], [0.3, 0.3]]), 1.0)
