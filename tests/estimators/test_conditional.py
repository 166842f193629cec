"""Conditional mutual information by nearest neighbours: against its formula, another package and known truths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators.reference_ksg import conditional, ksg

from ibjax.errors import InputError
from ibjax.estimators import conditional_mutual_information

N, KS = 150, (3, 1)
KINDS = ["normal", "heavy", "rounded", "atoms", "copied"]


def samples(kind, n=N, seed=0, columns=(1, 2, 1)):
    """x and y that say something about each other, and about z."""
    rng = np.random.default_rng(seed)
    dx, dy, dz = columns
    z = rng.normal(size=(n, dz))
    x = z[:, :1] + rng.normal(size=(n, dx))
    y = z[:, :1] + x[:, :1] + rng.normal(size=(n, dy))
    match kind:
        case "heavy":
            x, y, z = (a / np.sqrt(rng.chisquare(1, (n, 1))) for a in (x, y, z))
        case "rounded":
            x, y, z = (np.round(2 * a) / 2 for a in (x, y, z))
        case "atoms":
            x, y, z = (np.sign(a) for a in (x, y, z))
        case "copied":
            rows = rng.integers(0, n // 3, n)
            x, y, z = (a[rows] for a in (x, y, z))
    return x, y, z


measure = functools.partial(conditional_mutual_information, k=KS, engine="brute")
jitted = jax.jit(measure)


def in_double(x, y, z, **settings):
    with jax.enable_x64(True):
        return np.asarray(measure(x, y, z, **settings).value)


@pytest.mark.parametrize("engine", ["brute", "tree"])
def test_the_papers_formula(engine):
    for kind in KINDS:
        given = samples(kind)
        expected = [conditional(*given, k) for k in KS]
        np.testing.assert_allclose(in_double(*given, engine=engine), expected, rtol=0, atol=1e-13, err_msg=kind)
        assert abs(expected[0]) > 0.02, kind
        if engine == "brute":
            single = [a.astype(np.float32) for a in given]
            found = measure(*single).value
            assert found.dtype == jnp.float32
            np.testing.assert_allclose(found, [conditional(*single, k) for k in KS], rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("kind", ["normal", "heavy"])
def test_infomeasure(kind):
    infomeasure = pytest.importorskip("infomeasure")
    x, y, z = samples(kind)
    theirs = infomeasure.conditional_mutual_information(
        x, y, cond=z, approach="ksg", k=3, noise_level=0, minkowski_p=np.inf, normalize=False, base="e"
    )
    np.testing.assert_allclose(in_double(x, y, z)[0], theirs, rtol=0, atol=1e-12)


def test_normal_samples():
    """y = z + strength x + e, x = z + f: I(X;Y|Z) = ln(1 + strength^2) / 2."""
    for strength in (0.0, 1.0):
        found = []
        for seed in range(6):
            z, e, f = np.random.default_rng(seed).normal(size=(3, 1000))
            found.append(conditional_mutual_information(z + f, z + strength * (z + f) + e, z).value)
        truth = np.log(1 + strength**2) / 2
        assert abs(np.mean(found) - truth) < 0.02 + 4 * np.std(found) / np.sqrt(6)
        assert 0 < np.std(found) < 0.05


def test_a_constant_condition_is_none():
    """The counts in z are all n then: what is left is the estimate without a condition."""
    x, y, _ = samples("normal")
    found = in_double(x, y, np.zeros((N, 1)))
    np.testing.assert_allclose(found, [ksg(x, y, k) for k in KS], rtol=0, atol=1e-13)


def test_what_changes_nothing():
    x, y, z = (np.round(a * 2**20) / 2**20 for a in samples("copied"))
    found = in_double(x, y, z)
    rows = np.random.default_rng(1).permutation(N)
    for other in [(y, x, z), (x[rows], y[rows], z[rows]), (-x, y[:, ::-1], z + 4), (x * 64, y * 64, z * 64)]:
        np.testing.assert_allclose(in_double(*other), found, rtol=0, atol=1e-13)


@pytest.mark.slow
def test_jit_vmap_and_a_plain_call_agree():
    batch = [np.stack(a).astype(np.float32) for a in zip(*(samples("normal", seed=s) for s in range(2)), strict=True)]
    together = jax.vmap(measure)(*batch)
    for i, lane in enumerate(zip(*batch, strict=True)):
        one = measure(*lane)
        jax.tree.map(np.testing.assert_array_equal, one, jitted(*lane))
        jax.tree.map(np.testing.assert_array_equal, one, jax.tree.map(lambda a, i=i: a[i], together))


def test_a_constant_says_nothing():
    x, y, z = samples("normal")
    for given in [(np.ones_like(x), y, z), (x, np.ones_like(y), z), (np.ones_like(x), np.zeros_like(y), z * 0)]:
        found = measure(*given)
        assert (found.value == 0).all()
        assert found.diagnostics["constant"]


def test_diagnostics():
    x, y, z = samples("normal")
    found = measure(x, y, z)
    assert found.value.shape == found.diagnostics["ceiling"].shape == (2,)
    assert {name for name, a in found.diagnostics.items() if a.dtype == bool and a} == {"starved"}
    assert measure(x, y, z * 1e4).diagnostics["scaled"]
    assert measure(x, np.repeat(x, 2, axis=1), z / 100).diagnostics["deterministic"]
    z, e, f = np.random.default_rng(0).normal(size=(3, 1000))
    found = conditional_mutual_information(z + f, z + e, z)
    assert found.advice() == []
    assert all(a.shape == () for a in found.diagnostics.values())


def test_what_is_not_finite_is_nan_inside_jit():
    for place in range(3):
        given = samples("normal")
        given[place][5] = np.nan
        found = jitted(*given)
        assert np.isnan(found.value).all()
        assert found.diagnostics["non_finite"]


def test_half_precision():
    found = measure(*(jnp.asarray(a, jnp.float16) for a in samples("normal")))
    assert found.value.dtype == found.diagnostics["ceiling"].dtype == jnp.float16


def test_the_fewest_samples():
    given = [a.astype(np.float32) for a in samples("normal", n=4)]
    assert conditional_mutual_information(*given).value == pytest.approx(conditional(*given), abs=1e-6)


GOOD = np.linspace(0, 1, 6)


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        (
            (GOOD, GOOD, np.arange(6)),
            {},
            r"z is integers, which are labels: use KSG, or z\.astype\(float\) if they are numbers",
        ),
        ((GOOD > 0.5, GOOD, GOOD), {}, "x is integers, which are labels"),
        ((GOOD, GOOD, GOOD[:5]), {}, "the numbers of samples differ: x has 6, y has 6, z has 5"),
        ((GOOD, GOOD, GOOD * np.nan), {}, "z has a value that is not finite in row 0"),
        ((GOOD[:3], GOOD[:3], GOOD[:3]), {}, "x has 3 samples, 4 or more are needed"),
        ((GOOD, np.zeros((6, 0)), GOOD), {}, "y has no column"),
        ((GOOD, GOOD, np.array(list("abcabc"))), {}, "z must be real numbers"),
        ((GOOD, GOOD, GOOD), {"k": 2.0}, r"k must be a positive whole number or a tuple of them, got 2\.0"),
        ((GOOD, GOOD, GOOD), {"engine": "tre"}, "unknown engine 'tre': did you mean 'tree'"),
        ((GOOD, GOOD, GOOD), {"block": -1}, "block must be a positive whole number of rows, got -1"),
    ],
)
def test_what_is_refused(given, settings, message, unchecked):
    with pytest.raises(InputError, match=message):
        conditional_mutual_information(*given, **settings)
