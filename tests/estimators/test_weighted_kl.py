"""The weighted Kozachenko-Leonenko estimate: against the paper's formulae, known truths, and its own error bar."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from estimators import reference_weighted_kl as reference
from scipy import spatial

from ibjax.errors import InputError
from ibjax.estimators import KSG, MIEstimate, WeightedKL
from ibjax.estimators.weighted_kl import NOISE_LIMIT, _weighted, dimension, noise, weights

N, K, COLUMNS = 90, 6, (2, 3)
"""One shape for most tests, as a program takes seconds to compile; five columns have an equation beside the sum."""
FLAGS = ["non_finite", "constant", "unstable_weights", "deterministic", "no_density", "starved", "scaled"]


def sparse(columns, n, seed=0, pairs=2, rho=0.8):
    """Standard normal columns of which some pairs are correlated, and their mutual information."""
    rng = np.random.default_rng(seed)
    dx, dy = columns
    x, y = rng.normal(size=(n, dx)), rng.normal(size=(n, dy))
    y[:, :pairs] = rho * x[:, :pairs] + np.sqrt(1 - rho**2) * y[:, :pairs]
    return x, y, -0.5 * pairs * np.log(1 - rho**2)


def samples(seed=0):
    return sparse(COLUMNS, N, seed)[:2]


def bar(found):
    """The standard error, which there always is."""
    assert found.std_error is not None
    return float(found.std_error)


measure = WeightedKL(k=K)
# A program that takes arrays it cannot look into.
jitted = jax.jit(measure)


def in_double(x, y, est=measure):
    with jax.enable_x64(True):
        found = est(x, y)
        return float(found.value), bar(found)


# --- Weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 5, 20, 60])
@pytest.mark.parametrize("columns", [1, 3, 4, 5, 7, 8, 10, 15, 20, 33])
def test_the_weights_satisfy_their_equations(k, columns):
    """To the last digits of their largest terms, whatever cancels; and no solution is shorter."""
    w = weights(k, columns)
    if columns // 4 >= k:
        assert np.isinf(w).all()
        return
    a = reference.rows(k, columns)
    with mpmath.workdps(50):
        for i in range(a.rows):
            terms = [a[i, j] * mpmath.mpf(float(w[j])) for j in range(k)]
            assert abs(mpmath.fsum(terms) - (i == 0)) < 1e-14 * mpmath.fsum(map(abs, terms))
    if columns <= 10:
        np.testing.assert_allclose(w, reference.weights(k, columns), rtol=0, atol=1e-9 * np.abs(w).max())


def test_few_columns_have_equal_weights():
    np.testing.assert_allclose(weights(7, 3), np.full(7, 1 / 7), rtol=1e-15)


def test_the_noise_of_weights():
    """Volumes that uniform samples cut off are sums of exponential variables."""
    for columns in (2, 5, 10):
        w = weights(20, columns)
        logs = np.log(np.cumsum(np.random.default_rng(0).exponential(size=(50_000, 20)), axis=1))
        assert noise(w, 100) == pytest.approx((logs @ w).std() / 10, rel=0.02)
    assert noise(weights(5, 20), 100) == np.inf


# --- Against the formulae ----------------------------------------------------------------------------------


def raw(x, y, k=K, engine="tree"):
    """The estimate in double precision without its guard, whose programs take seconds to compile."""
    with jax.enable_x64(True):
        x, y = jnp.asarray(x, jnp.float64), jnp.asarray(y, jnp.float64)
        return float(jax.jit(functools.partial(_weighted, settings=WeightedKL(k=k, engine=engine)))(x, y).value)


@pytest.mark.slow
def test_the_papers_formulae():
    x, y = samples()
    expected = reference.weighted_kl(x, y, K)
    assert abs(expected) > 0.3
    assert in_double(x, y)[0] == pytest.approx(expected, abs=1e-12)
    x, y = x.astype(np.float32), y.astype(np.float32)
    found = measure(x, y)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(found[:2]))
    assert found.value == pytest.approx(reference.weighted_kl(x.astype(float), y.astype(float), K), abs=3e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "k", "engine"), [((2, 3), K, "brute"), ((1, 1), 3, "tree"), ((4, 1), 10, "auto"), ((4, 4), 30, "tree")]
)
def test_the_papers_formulae_in_other_shapes(columns, k, engine):
    x, y, _ = sparse(columns, 400, pairs=1)
    assert raw(x, y, k, engine) == pytest.approx(reference.weighted_kl(x, y, k), abs=1e-11)


# --- Known truths ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_five_and_five_columns():
    """Where Kraskov's estimate is too low by a quarter of a nat."""
    errors = []
    for seed in range(5):
        x, y, truth = sparse((5, 5), 5000, seed)
        found = WeightedKL()(x, y)
        assert not found.diagnostics["unstable_weights"]
        errors.append(found.value - truth)
    assert abs(np.mean(errors)) < 0.12
    assert KSG()(x, y).value - truth < -0.2


def check_error_bars(est, columns, n, times, pairs=2):
    """Over repetitions: the mean error bar is within a fifth of the deviation, give or take three of its errors."""
    found = [est(*sparse(columns, n, seed, pairs)[:2]) for seed in range(times)]
    truth = sparse(columns, 2, 0, pairs)[2]
    values, errors = np.array([one.value for one in found]), np.array([bar(one) for one in found])
    assert abs(np.sqrt((errors**2).mean()) / values.std() - 1) < 0.2 + 3 / np.sqrt(2 * times)
    assert abs(values.mean() - truth) < 0.15 + 3 * values.std() / np.sqrt(times)
    assert errors.std() < 0.25 * errors.mean()


@pytest.mark.slow
def test_error_bars_are_honest():
    check_error_bars(measure, COLUMNS, N, 40)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [(1, 1), (3, 3)])
def test_error_bars_are_honest_in_larger_samples(columns):
    check_error_bars(WeightedKL(), columns, 1000, 60, pairs=1)


@pytest.mark.slow
def test_independent_samples():
    found = np.array([measure(*sparse(COLUMNS, N, seed, rho=0)[:2]).value for seed in range(20)])
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(20) + 0.02


# --- The guard ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_exploding_weights_fall_back():
    """The value is Kraskov's in full, and there is an error bar."""
    x, y, _ = sparse((10, 10), N)
    found = WeightedKL()(x, y)
    assert found.diagnostics["unstable_weights"]
    assert found.value == pytest.approx(float(KSG(k=3)(x, y).value), abs=1e-6)
    assert 0 < bar(found) < 0.3
    assert any("KSG is used" in text for text in found.advice())
    assert found.diagnostics["weight_norm"] > 1000


def test_the_guard_depends_on_rows_and_columns():
    allowed = [[noise(weights(20, d), n) <= NOISE_LIMIT for d in (3, 10, 20)] for n in (50, 5000)]
    assert allowed == [[True, False, False], [True, True, False]]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["x", "both"])
def test_duplicated_rows_fall_back(part):
    x, y = samples()
    x[:2] = x[2]
    if part == "both":
        y[:2] = y[2]
    found = jitted(x, y)
    assert found.value == pytest.approx(float(KSG(k=3)(x, y).value), abs=1e-6)
    assert found.diagnostics["deterministic"]
    assert not found.diagnostics["unstable_weights"]
    assert 0 < bar(found) < 1


def test_samples_on_a_curve_fall_back():
    x, y = samples()
    x[:, 1] = np.sin(3 * x[:, 0])
    found = jitted(x, y)
    assert found.diagnostics["no_density"]
    assert found.value == pytest.approx(float(KSG(k=3)(x, y).value), abs=1e-6)
    assert 0 < bar(found) < 1


@pytest.mark.parametrize("columns", [1, 2, 5, 10])
def test_the_dimension_is_found(columns):
    """Of a linear image of normal columns in more columns, by SciPy's distances; in ten, 15 % low at most."""
    rng = np.random.default_rng(columns)
    rows = rng.normal(size=(2000, columns)) @ rng.normal(size=(columns, columns + 2))
    distances, _ = spatial.KDTree(rows).query(rows, 3, p=np.inf)
    found = float(dimension(jnp.asarray(distances[:, 1]), jnp.asarray(distances[:, 2])))
    assert columns * (0.98 - 0.017 * columns) < found < columns * (1 + 3 / np.sqrt(2000))


# --- Conformance -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_changes_nothing():
    """Order of samples and columns, signs, shifts and scales (in powers of two), exchange of x and y."""
    x, y = (np.round(a * 2**20) / 2**20 for a in samples())
    found = in_double(x, y)[0]
    rows = np.random.default_rng(1).permutation(N)
    for one, other in [(x[rows], y[rows]), (x[:, ::-1], -y), (x + 8, y - 4), (x * 1024, y * 1024)]:
        assert in_double(one, other)[0] == pytest.approx(found, abs=1e-12)
    assert in_double(y, x)[0] == pytest.approx(found, abs=1e-12)


@pytest.mark.slow
def test_the_key_is_of_the_error_bar():
    x, y = samples()
    found = [measure(x, y, key) for key in (None, None, jax.random.key(1))]
    assert found[0].value == found[1].value == found[2].value
    assert bar(found[0]) == bar(found[1]) != bar(found[2])


@pytest.mark.slow
def test_jit_vmap_map_and_a_plain_call_agree():
    x, y = (np.stack(a).astype(np.float32) for a in zip(*(samples(seed=s) for s in range(2)), strict=True))
    y[1, :2] = y[1, 2]  # one lane falls back
    x[1, :2] = x[1, 2]
    forms = [jax.vmap(measure)(x, y), jax.lax.map(lambda a: measure(*a), (x, y))]
    for i in range(2):
        one = measure(x[i], y[i])
        for other in (jitted(x[i], y[i]), *(jax.tree.map(lambda a, i=i: a[i], form) for form in forms)):
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), one, other)


def test_a_constant_column_carries_no_information():
    x, y = samples()
    for one, other in ((np.ones_like(x), y), (x, np.ones_like(y)), (np.ones_like(x), np.ones_like(y))):
        found = jitted(one, other)
        assert found.value == found.std_error == 0
        assert found.diagnostics["constant"]
        assert not found.diagnostics["deterministic"]


def test_a_function():
    x, _ = samples()
    assert measure(x, x[:, [0, 1, 0]]).diagnostics["deterministic"]


def test_inside_jit_nan_is_nan():
    x, y = samples()
    x[3, 1] = np.nan
    found = jitted(x, y)
    assert np.isnan(found.value)
    assert np.isnan(found.std_error)
    assert found.diagnostics["non_finite"]


@pytest.mark.slow
def test_diagnostics_and_precision():
    found = measure(*samples())
    assert isinstance(found, MIEstimate)
    assert {name for name, a in found.diagnostics.items() if a.dtype == bool} == set(FLAGS)
    assert not any(found.diagnostics[name] for name in FLAGS)
    assert all(a.shape == () for a in jax.tree.leaves(found))
    x, y = samples()
    assert measure(x * [1, 1000], y).diagnostics["scaled"]
    assert measure(jnp.asarray(x, jnp.float16), jnp.asarray(y, jnp.float16)).value.dtype == jnp.float16


@pytest.mark.slow
def test_the_fewest_samples():
    x, y, _ = sparse((1, 1), 8, pairs=1)
    found = WeightedKL(k=3)(x[:, 0], y[:, 0])
    assert found.value == pytest.approx(reference.weighted_kl(x, y, 3), abs=1e-5)
    assert np.isfinite(bar(found))


def test_no_gradient():
    x, y = samples()
    with pytest.raises(InputError, match="no gradient"):
        jax.grad(lambda a: measure(a, y).value)(x)


@pytest.mark.parametrize(
    ("x", "y", "settings", "message"),
    [
        (np.arange(41.0), np.arange(41.0), {}, "x has 41 samples, 42 or more are needed"),
        (np.arange(50.0), np.arange(51.0), {}, "the numbers of samples differ: x has 50, y has 51"),
        (np.arange(50.0), np.r_[np.arange(49.0), np.inf], {}, "y has a value that is not finite in row 49"),
        (np.zeros((50, 0)), np.arange(50.0), {}, "x has no column"),
        (np.array([]), np.array([]), {}, "x has 0 samples"),
        (np.array(list("ab") * 25), np.arange(50.0), {}, "x must be real numbers"),
        (np.arange(50.0), np.arange(50) % 2, {}, "y is integers, which are labels: use KSG"),
        (np.arange(50) % 2 == 0, np.arange(50.0), {}, "x is integers, which are labels"),
        (np.arange(50.0), np.arange(50.0), {"k": 3.0}, r"k must be a positive whole number, got 3\.0"),
        (np.arange(50.0), np.arange(50.0), {"k": (3, 4)}, "k must be a positive whole number"),
        (np.arange(50.0), np.arange(50.0), {"k": 0}, "k must be a positive whole number"),
        (np.arange(50.0), np.arange(50.0), {"engine": "tre"}, "unknown engine 'tre': did you mean 'tree'"),
        (np.arange(50.0), np.arange(50.0), {"block": 1.5}, r"block must be a positive whole number of rows, got 1\.5"),
    ],
)
def test_what_is_refused(x, y, settings, message, unchecked):
    with pytest.raises(InputError, match=message):
        WeightedKL(**settings)(x, y)
