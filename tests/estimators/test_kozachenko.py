"""Differential entropy by nearest neighbours: against its formula, another package and known truths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators.reference_ksg import entropy

from ibjax.errors import InputError
from ibjax.estimators import knn_entropy

N, KS = 150, (3, 1)


def samples(columns=2, n=N, seed=0):
    return np.random.default_rng(seed).standard_t(3, (n, columns))


measure = functools.partial(knn_entropy, k=KS, engine="brute")
jitted = jax.jit(measure)


def in_double(x, **settings):
    with jax.enable_x64(True):
        return np.asarray(measure(x, **settings).value)


@pytest.mark.parametrize("engine", ["brute", "tree"])
@pytest.mark.parametrize("columns", [1, 2])
def test_the_formula(columns, engine):
    x = samples(columns)
    np.testing.assert_allclose(in_double(x, engine=engine), [entropy(x, k) for k in KS], rtol=0, atol=1e-12)
    single = x.astype(np.float32)
    found = measure(single, engine=engine).value
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [entropy(single, k) for k in KS], rtol=3e-7)


@pytest.mark.parametrize("columns", [1, 2])
def test_infomeasure(columns):
    infomeasure = pytest.importorskip("infomeasure")
    x = samples(columns)
    theirs = infomeasure.entropy(x, approach="metric", k=3, noise_level=0, minkowski_p=np.inf, base="e")
    np.testing.assert_allclose(in_double(x)[0], theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng: 5 * rng.random((1000, 1)), np.log(5)),
        (lambda rng: rng.normal(size=(1000, 2)), np.log(2 * np.pi * np.e)),
        (lambda rng: rng.exponential(2.0, (1000, 1)), 1 + np.log(2)),
    ],
    ids=["uniform", "normal", "exponential"],
)
def test_known_truths(draw, truth):
    found = [knn_entropy(draw(np.random.default_rng(seed))).value for seed in range(6)]
    assert abs(np.mean(found) - truth) < 0.03 + 4 * np.std(found) / np.sqrt(6)


def test_units_shift_and_order():
    x = np.round(samples(2) * 2**20) / 2**20
    found = in_double(x)
    for other in (x[::-1], -x[:, ::-1], x + 16):
        np.testing.assert_allclose(in_double(other), found, rtol=0, atol=1e-12)
    np.testing.assert_allclose(in_double(x * 8), found + 2 * np.log(8), rtol=0, atol=1e-12)


def test_jit_vmap_and_a_plain_call_agree():
    x = np.stack([samples(seed=s) for s in range(2)]).astype(np.float32)
    batch = jax.vmap(measure)(x)
    for i, lane in enumerate(x):
        jax.tree.map(np.testing.assert_array_equal, measure(lane), jitted(lane))
        jax.tree.map(np.testing.assert_array_equal, measure(lane), jax.tree.map(lambda a, i=i: a[i], batch))


def test_atoms_have_no_density():
    x = samples()
    x[:5] = x[0]
    found = jitted(x)
    assert (found.value == -np.inf).all()
    assert found.diagnostics["deterministic"]
    assert not found.diagnostics["constant"]
    found = jitted(np.ones_like(x))
    assert (found.value == -np.inf).all()
    assert found.diagnostics["constant"]
    x[5] = np.nan
    found = jitted(x)
    assert np.isnan(found.value).all()
    assert found.diagnostics["non_finite"]


def test_diagnostics_and_precision():
    found = measure(samples())
    assert found.advice() == []
    assert all(a.dtype == bool for a in found.diagnostics.values())
    assert measure(samples() * [1, 1000]).diagnostics["scaled"]
    assert measure(samples(25)).diagnostics["starved"]
    assert measure(jnp.asarray(samples(), jnp.float16)).value.dtype == jnp.float16
    assert knn_entropy(np.arange(4)).value == pytest.approx(entropy(np.arange(4.0)), abs=1e-6)


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (np.arange(3.0), {}, "x has 3 samples, 4 or more are needed"),
        (np.array([0.0, 1, 2, np.inf]), {}, "x has a value that is not finite in row 3"),
        (np.zeros((9, 0)), {}, "x has no column"),
        (np.array(list("abcd")), {}, "x must be real numbers"),
        (np.arange(9.0), {"k": 3.0}, r"k must be a positive whole number or a tuple of them, got 3\.0"),
        (np.arange(9.0), {"engine": "auto "}, "unknown engine 'auto ': did you mean 'auto'"),
        (np.arange(9.0), {"block": 1.5}, r"block must be a positive whole number of rows, got 1\.5"),
    ],
)
def test_what_is_refused(x, settings, message, unchecked):
    with pytest.raises(InputError, match=message):
        knn_entropy(x, **settings)
