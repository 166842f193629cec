"""Errors, tests and extrapolation of any estimator, held against closed forms, loops and simulations."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.estimators import (
    ERRORS,
    KSG,
    Binning,
    Estimator,
    Gaussian,
    MIEstimate,
    PlugIn,
    bootstrap,
    extrapolate,
    jackknife,
    permutation_test,
    subsampling,
)
from ibjax.estimators.resample import all_but_one_group, standard_error

KEY = jax.random.key(0)


@jax.tree_util.register_static
class Mean:
    """Not an information: an estimator whose error and limit are known, mean(x y) + 3 / n."""

    def __call__(self, x, y, key=None):
        return MIEstimate((x * y).mean() + 3 / x.shape[0], None, {})


def normal(n, seed=0, rho=0.6):
    x, e = np.random.default_rng(seed).normal(size=(2, n)).astype(np.float32)
    return x, rho * x + np.sqrt(1 - rho**2).astype(np.float32) * e


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x, _ = normal(200)
    found = jackknife(Mean(), x, np.ones_like(x), groups=200)
    np.testing.assert_allclose(found.std_error, x.std(ddof=1) / np.sqrt(200), rtol=1e-4)
    np.testing.assert_allclose(found.value, x.mean() + 3 / 200, rtol=1e-5)


def test_the_jackknife_is_a_loop():
    x, y = normal(101)
    values = [float(Gaussian()(x[kept], y[kept]).value) for kept in all_but_one_group(101, 4)]
    found = jackknife(Gaussian(), x, y, groups=4)
    np.testing.assert_allclose(found.std_error, np.sqrt(3 * np.var(values)), rtol=1e-4)
    assert found.value == Gaussian()(x, y).value


def test_each_row_is_deleted_once_but_for_those_over():
    kept = all_but_one_group(11, 3)
    assert kept.shape == (3, 8)
    deleted = [sorted(set(range(11)) - set(row)) for row in kept.tolist()]
    assert sorted(itertools.chain(*deleted)) == list(range(9))


@pytest.mark.parametrize("method", ERRORS)
def test_errors_are_the_deviation_over_repetitions(method):
    """Within what 20 repetitions of an error of relative error 0.2 and 300 of the estimate can say."""
    est, n = Gaussian(), 200
    many = np.stack([normal(n, seed) for seed in range(300)])
    actual = float(jax.jit(jax.vmap(lambda p: est(p[0], p[1]).value))(many).std())
    errors = [float(standard_error(method, est, *many[i], jax.random.key(i)).std_error) for i in range(20)]
    assert 0.8 < np.mean(errors) / actual < 1.25


def test_no_error_draws_a_sample_twice():
    """KSG of a usual bootstrap is off by half a nat, for copies look like atoms."""
    x, y = normal(400)
    value = float(KSG()(x, y).value)
    rows = np.random.default_rng(0).integers(0, 400, 400)
    assert KSG()(x[rows], y[rows]).value - value > 0.4
    for error in (bootstrap(KSG(), x, y, KEY), subsampling(KSG(), x, y, KEY), jackknife(KSG(), x, y)):
        assert 0.01 < float(error.std_error) < 0.15


@pytest.mark.slow
def test_several_values_have_an_error_each():
    x, y = normal(200)
    found = jackknife(KSG(k=(3, 5)), x, y, groups=5)
    assert found.value.shape == found.std_error.shape == (2,)
    np.testing.assert_allclose(found.std_error[0], jackknife(KSG(), x, y, groups=5).std_error, rtol=1e-5)


@pytest.mark.slow
def test_labels_and_rows_of_symbols():
    x = np.random.default_rng(0).integers(0, 3, (300, 2))
    found = jackknife(PlugIn(), x, x[:, 0])
    assert float(found.std_error) < 0.02
    np.testing.assert_allclose(found.value, PlugIn()(x, x[:, 0]).value)


@pytest.mark.slow
def test_a_permutation_test_counts():
    x, y = normal(60, rho=0.3)
    found = permutation_test(Gaussian(), x, y, KEY, n=49)
    at_least = int((np.asarray(found.null) >= float(found.value)).sum())
    np.testing.assert_allclose(found.p_value, (1 + at_least) / 50, rtol=1e-6)
    orders = [jax.random.permutation(key, 60) for key in jax.random.split(KEY, 49)[:2]]
    np.testing.assert_allclose(found.null[:2], [Gaussian()(x, y[order]).value for order in orders], atol=1e-6)


@pytest.mark.slow
def test_p_values_of_independent_samples_are_uniform():
    values = [
        float(permutation_test(Gaussian(), normal(40, s)[0], normal(40, s + 999)[0], jax.random.key(s), n=19).p_value)
        for s in range(200)
    ]
    assert abs(np.mean(np.array(values) <= 0.05) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 200)
    assert abs(np.mean(values) - 0.525) < 4 * 0.29 / np.sqrt(200)


@pytest.mark.slow
def test_equal_tables_are_ties_whatever_the_rounding():
    """All re-orderings of one odd sample give one of two tables: p is 1, not what rounding makes of it."""
    x, y = np.arange(50) == 7, np.arange(50) == 9
    found = permutation_test(PlugIn(), x.astype(int), y.astype(int), KEY, n=200)
    assert float(found.p_value) == 1


@pytest.mark.slow
def test_a_function_is_never_reached_by_a_shuffle():
    x, _ = normal(200)
    assert float(permutation_test(KSG(), x, x, KEY, n=99).p_value) == pytest.approx(0.01)


def test_extrapolation_takes_off_a_bias_of_order_one_over_n():
    x, _ = normal(800)
    found = extrapolate(Mean(), x, np.ones_like(x), KEY)
    np.testing.assert_allclose(found.value, x.mean(), atol=1e-5)
    np.testing.assert_allclose(found.diagnostics["shift"], -3 / 800, atol=1e-5)
    assert not found.diagnostics["nonlinear"]
    assert 0.5 < float(found.std_error) / (x.std() / np.sqrt(800)) < 1.6


@pytest.mark.slow
def test_extrapolation_of_too_few_samples_a_cell_says_so():
    x, y = np.random.default_rng(0).integers(0, 40, (2, 400))
    assert extrapolate(PlugIn(), x, y, KEY).diagnostics["nonlinear"]
    x, y = np.random.default_rng(0).integers(0, 3, (2, 2000))
    found = extrapolate(PlugIn(), x, y, KEY)
    assert not found.diagnostics["nonlinear"]
    assert abs(float(found.value)) < 3 * float(found.std_error)


@pytest.mark.slow
def test_samples_that_are_not_finite_have_no_error_inside_a_transformation():
    x, y = normal(200)
    for function in (jackknife, functools.partial(bootstrap, key=KEY, repetitions=3)):
        found = jax.jit(functools.partial(function, Gaussian()))(jnp.asarray(x).at[3].set(jnp.nan), y)
        assert np.isnan(found.value)
        assert np.isnan(found.std_error)
    assert np.isnan(
        jax.jit(lambda x: permutation_test(Gaussian(), x, y, KEY, n=3))(jnp.asarray(x).at[3].set(jnp.nan)).p_value
    )


def test_estimators_are_estimators():
    assert all(isinstance(est, Estimator) for est in (KSG(), Binning(), PlugIn(), Gaussian()))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: jackknife(KSG(), x, y, groups=1), "groups must be a whole number from 2 to 200"),
        (lambda x, y: jackknife(KSG(), x, y, groups=2.0), "groups must be a whole number"),
        (lambda x, y: jackknife(KSG(), x, y[:-1]), "numbers of samples differ"),
        (lambda x, y: jackknife(KSG(), x[:4], y[:4], groups=2), "x has 2 samples, 4 or more"),
        (lambda x, y: jackknife(KSG(), np.where(x > 0, x, np.nan), y), "x has a value that is not finite in row"),
        (lambda x, y: subsampling(KSG(), x, y, None), "key is missing"),
        (lambda x, y: subsampling(KSG(), x, y, KEY, parts=101), "parts must be a whole number from 2 to 100"),
        (lambda x, y: bootstrap(KSG(), x, y, None), "key is missing"),
        (lambda x, y: bootstrap(KSG(), x, y, KEY, repetitions=1), "repetitions must be"),
        (lambda x, y: permutation_test(KSG(), x, y, KEY, n=0), "n must be a positive whole number"),
        (lambda x, y: extrapolate(KSG(), x[:100], y[:100], KEY), "have 100 samples, 160 or more"),
        (lambda x, y: extrapolate(KSG(), x, y, None), "key is missing"),
        (lambda x, y: standard_error("jacknife", KSG(), x, y, KEY), "did you mean 'jackknife'"),
        (lambda x, y: jackknife(KSG(), list("ab") * 100, y), "x must be real numbers"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(InputError, match=message):
        call(*normal(200))
