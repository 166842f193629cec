"""Every estimator against every property that an estimate of information should have, in one table."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.estimators import (
    EDGE,
    ESTIMATORS,
    KSG,
    Binning,
    Gaussian,
    GaussianCopula,
    KernelBounds,
    MatrixRenyi,
    NoisyGaussian,
    NoisyKSG,
    NoisyWeightedKL,
    PlugIn,
    Quantised,
    SoftBinning,
    WeightedKL,
)

N = 120
RHO = 0.8


class Case(NamedTuple):
    """An estimator and what is true of it.

    Attributes:
        est: the estimator.
        x: kind of X, columns or labels.
        y: kind of Y.
        symmetric: whether I(X;Y) and I(Y;X) are the same number.
        truth: whether it aims at Shannon's information of the samples, and within how many nats it is at N samples.
        zero: within how many nats of 0 it is on independent samples.
        reflects: whether x -> -x changes nothing.
        noise: nats that the estimator's own draws make of difference.
    """

    est: object
    x: str = "columns"
    y: str = "columns"
    symmetric: bool = True
    truth: float | None = 0.2
    zero: float = 0.12
    reflects: bool = True
    noise: float = 2e-5


CASES = {
    "binning": Case(Binning(bins=4, range="neuron"), truth=None),
    "edge": Case(EDGE(), truth=0.3, zero=0.2),
    "gaussian": Case(Gaussian()),
    "gaussian-copula": Case(GaussianCopula()),
    "kernel": Case(KernelBounds(0.3), y="labels", symmetric=False, truth=None),
    "ksg": Case(KSG()),
    "ksg, variant 2": Case(KSG(k=4, variant=2)),
    "ksg of labels": Case(KSG(), y="labels", truth=None),
    "noisy-gaussian": Case(NoisyGaussian(0.01), y="labels", symmetric=False, truth=None),
    "noisy-ksg": Case(NoisyKSG(0.01), y="labels", symmetric=False, truth=None, noise=0.1),
    "noisy-weighted-kl": Case(NoisyWeightedKL(0.01), y="labels", symmetric=False, truth=None, noise=0.1),
    "plugin": Case(PlugIn("chao-shen"), x="labels", y="labels", truth=None),
    "quantised": Case(Quantised(bits=2), truth=None),
    "renyi": Case(MatrixRenyi(alpha=2.0), truth=None, zero=0.5),
    "soft-binning": Case(SoftBinning(bins=4), truth=None),
    "soft-binning of labels": Case(SoftBinning(bins=4), y="labels", truth=None),
    "weighted-kl": Case(WeightedKL(k=5), truth=0.3, zero=0.3),
}


def test_the_table_is_complete():
    assert {type(case.est) for case in CASES.values()} == set(ESTIMATORS.values())


def samples(case, seed=0, rho=RHO, dtype=np.float32):
    """N pairs of correlated normal numbers, or their signs and thirds as labels."""
    x, e = np.random.default_rng(seed).normal(size=(2, N))
    y = rho * x + np.sqrt(1 - rho**2) * e
    kinds = {"columns": lambda a: a.astype(dtype), "labels": lambda a: (a > -0.4).astype(np.int32) + (a > 0.4)}
    return kinds[case.x](x), kinds[case.y](y)


@functools.cache
def compiled(name):
    return jax.jit(CASES[name].est)


def value(name, x, y):
    return float(compiled(name)(x, y).value)


# They compile two estimators, the second to fall back to; their own tests say the same.
SLOW = {"noisy-weighted-kl", "weighted-kl"}


def cases(true_of=lambda case: True):
    """Run a test for the cases of which something is true."""
    names = [name for name, case in CASES.items() if true_of(case)]
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]
    )


every = cases()


@every
def test_the_order_of_samples_is_nothing(name):
    x, y = samples(CASES[name])
    order = np.random.default_rng(1).permutation(N)
    assert value(name, x[order], y[order]) == pytest.approx(value(name, x, y), abs=CASES[name].noise)


@cases(lambda case: case.symmetric)
def test_symmetry(name):
    x, y = samples(CASES[name])
    if CASES[name].x == CASES[name].y:
        assert value(name, y, x) == pytest.approx(value(name, x, y), abs=2e-5)
    else:
        assert float(CASES[name].est(y, x).value) == pytest.approx(value(name, x, y), abs=2e-5)


@every
def test_independent_samples_carry_nothing(name):
    found = np.mean([value(name, *samples(CASES[name], seed, rho=0.0)) for seed in range(5)])
    assert abs(found) < CASES[name].zero


@every
def test_dependence_is_seen(name):
    assert value(name, *samples(CASES[name])) > 0.15 + value(name, *samples(CASES[name], rho=0.0))


@cases(lambda case: case.truth)
def test_the_truth_of_normal_samples(name):
    found = np.mean([value(name, *samples(CASES[name], seed)) for seed in range(5)])
    assert abs(found - -0.5 * np.log(1 - RHO**2)) < CASES[name].truth


@cases(lambda case: case.x == "columns")
def test_a_reflection_is_nothing(name):
    x, y = samples(CASES[name])
    tolerance = 0.1 if name == "binning" else CASES[name].noise  # a value on an edge changes its bin
    assert value(name, -x, y) == pytest.approx(value(name, x, y), abs=tolerance)


@every
def test_compiled_or_not(name):
    x, y = samples(CASES[name])
    assert value(name, x, y) == pytest.approx(float(CASES[name].est(x, y).value), abs=1e-6)


@every
def test_many_at_once(name):
    pairs = [samples(CASES[name], seed) for seed in range(3)]
    xs, ys = (np.stack(of) for of in zip(*pairs, strict=True))
    expected = [value(name, x, y) for x, y in pairs]
    np.testing.assert_allclose(jax.jit(jax.vmap(CASES[name].est))(xs, ys).value, expected, atol=1e-5)


@pytest.mark.slow
@every
def test_precision_is_kept(name):
    case = CASES[name]
    x, y = samples(case)
    assert compiled(name)(x, y).value.dtype == jnp.float32
    with jax.enable_x64(True):
        found = case.est(*samples(case, dtype=np.float64)).value
    assert found.dtype == jnp.float64
    assert float(found) == pytest.approx(value(name, x, y), abs=1e-3 if name != "binning" else 0.1)


@every
def test_a_constant_is_no_error(name):
    x, y = samples(CASES[name])
    for pair in ((np.full_like(x, 3), y), (x, np.full_like(y, 3))):
        found = compiled(name)(*pair)
        assert float(found.value) == 0
        assert found.diagnostics["constant"]


@every
def test_duplicated_samples_give_a_number(name):
    x, y = samples(CASES[name])
    found = compiled(name)(np.repeat(x[: N // 4], 4), np.repeat(y[: N // 4], 4))
    assert np.isfinite(found.value)


@cases(lambda case: "columns" in (case.x, case.y))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_nan_with_a_status(name, bad):
    x, y = samples(CASES[name])
    found = compiled(name)(np.where(np.arange(N) == 7, np.float32(bad), x), y)
    assert np.isnan(found.value)
    assert found.diagnostics["non_finite"]


@cases(lambda case: case.y == "labels")
def test_labels_are_any_integers(name):
    x, y = samples(CASES[name])
    for other in (y - 7, np.array([5, -(2**31), 2**31 - 1])[y], (10 * y).astype(np.int8), y.astype(np.uint16)):
        assert float(CASES[name].est(x, other).value) == pytest.approx(value(name, x, y), abs=1e-6)
