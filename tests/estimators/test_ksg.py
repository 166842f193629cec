"""Mutual information by nearest neighbours: against the papers' formulae, two other packages and known truths."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators.reference_ksg import ksg, ross

from ibjax.errors import InputError
from ibjax.estimators import KSG, MIEstimate
from ibjax.estimators.ksg import _kraskov, _ross

N, COLUMNS = 150, (2, 1)
"""One shape for most tests, as a program takes a second to compile: y is sorted, x is searched."""
KS = (3, 1)
KINDS = ["normal", "heavy", "rounded", "atoms", "mixed", "copied", "function"]
FLAGS = ["non_finite", "constant", "deterministic", "starved", "scaled"]


def samples(kind, columns=COLUMNS, n=N, seed=0):
    """x and y that say something about each other."""
    rng = np.random.default_rng(seed)
    dx, dy = columns
    x = rng.normal(size=(n, dx))
    y = 0.7 * x[:, :1] + rng.normal(size=(n, dy))
    match kind:
        case "heavy":
            scale = np.sqrt(rng.chisquare(1, (n, 1)))
            x, y = x / scale, y / scale
        case "rounded":
            x, y = np.round(2 * x) / 2, np.round(2 * y) / 2
        case "atoms":
            x, y = np.sign(x), np.sign(y)
        case "mixed":  # both continuous, or one or both of them at zero
            x, y = np.where(rng.random((n, 1)) < 0.5, 0, x), np.where(rng.random((n, 1)) < 0.5, 0, y)
        case "copied":
            rows = rng.integers(0, n // 3, n)
            x, y = x[rows], y[rows]
        case "function":
            y = np.tanh(x[:, :1]) * np.ones(dy)
    return x, y


def correlated(rho, n, seed=0):
    """Standard normal x and y of that correlation, and their mutual information."""
    rng = np.random.default_rng(seed)
    x, e = rng.normal(size=(2, n))
    return x, rho * x + np.sqrt(1 - rho**2) * e, -0.5 * np.log(1 - rho**2)


def measure(x, y, variant=1, engine="brute"):
    """The estimate in single precision, by the one program of this shape."""
    return KSG(k=KS, variant=variant, engine=engine)(x, y)


def in_double(x, y, variant=1, engine="brute"):
    """The values in double precision."""
    with jax.enable_x64(True):
        return np.asarray(measure(x, y, variant, engine).value)


# A program that takes arrays it cannot look into.
jitted = jax.jit(KSG(k=KS, engine="brute"))


# --- Against the formulae ----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["brute", "tree"])
@pytest.mark.parametrize("variant", [1, 2])
def test_the_papers_formulae(variant, engine):
    for kind in KINDS:
        x, y = samples(kind)
        found = in_double(x, y, variant, engine)
        np.testing.assert_allclose(found, [ksg(x, y, k, variant) for k in KS], rtol=0, atol=1e-13, err_msg=kind)
        # The case is not an empty one.
        assert abs(found[0]) > 0.03, kind


@pytest.mark.slow
@pytest.mark.parametrize("columns", [(1, 1), (2, 3)])
def test_the_papers_formulae_in_other_shapes(columns):
    """No marginal or both of one column; the shape (n,) is that of one."""
    x, y = samples("mixed", columns)
    expected = [ksg(x, y, k) for k in KS]
    np.testing.assert_allclose(in_double(x, y), expected, rtol=0, atol=1e-13)
    if columns == (1, 1):
        np.testing.assert_allclose(in_double(x[:, 0], y[:, 0]), expected, rtol=0, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "engine"), [(1, "brute"), (2, "tree")])
def test_the_papers_formulae_in_single_precision(variant, engine):
    """Counts are exact for distances rounded to single precision, so the value is right to its last digits."""
    for kind in KINDS:
        x, y = (a.astype(np.float32) for a in samples(kind))
        found = measure(x, y, variant, engine).value
        assert found.dtype == jnp.float32
        expected = [ksg(x, y, k, variant) for k in KS]
        np.testing.assert_allclose(found, expected, rtol=3e-7, atol=3e-7, err_msg=kind)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["brute", "tree"])
def test_labels(engine):
    """Labels of one row, of fewer than k and of many; x may be the labels."""
    for kind in ("normal", "rounded", "mixed"):
        x, _ = samples(kind)
        labels = np.digitize(x[:, 0] + 0.5 * np.random.default_rng(1).normal(size=N), [-1, 0.3])
        labels[:6] = 10, 11, 11, 12, 12, 12
        found = in_double(x, labels, engine=engine)
        np.testing.assert_allclose(found, [ross(x, labels, k) for k in KS], rtol=0, atol=1e-13)
        assert found[0] > 0.2
        np.testing.assert_array_equal(in_double(labels, x, engine=engine), found)


@pytest.mark.parametrize("kind", ["normal", "heavy", "function"])
def test_infomeasure(kind):
    infomeasure = pytest.importorskip("infomeasure")
    x, y = samples(kind)
    for k, found in zip(KS, in_double(x, y), strict=True):
        theirs = infomeasure.mutual_information(
            x, y, approach="ksg", k=k, noise_level=0, minkowski_p=np.inf, normalize=False, base="e"
        )
        np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-12)


def test_scikit_learn():
    """Its public function adds noise and clips at 0, so the two functions it is made of are called."""
    internals = pytest.importorskip("sklearn.feature_selection._mutual_info")
    for kind in ("normal", "heavy"):
        x, y = (a[:, 0] / a[:, 0].std() for a in samples(kind))
        np.testing.assert_allclose(in_double(x, y)[0], internals._compute_mi_cc(x, y, 3), rtol=0, atol=1e-13)
        labels = np.digitize(y, [-0.5, 0.5])
        labels[3] = 9
        np.testing.assert_allclose(in_double(x, labels)[0], internals._compute_mi_cd(x, labels, 3), rtol=0, atol=1e-13)


def test_the_boundary_is_not_counted():
    """Radii of 1e6 from which 1e-15 cannot be taken, and distances that are all of a few values."""
    for x, y in [(1e6 * a for a in samples("heavy")), samples("rounded")]:
        strict = in_double(x, y)[0]
        assert strict == pytest.approx(ksg(x, y), abs=1e-13)
        x, y = x[::-1], y[::-1]
        assert strict == pytest.approx(in_double(x, y)[0], abs=1e-13)


# --- Known truths ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("variant", [1, 2])
def test_normal_samples(variant):
    """Over eight samples the mean is within four of its standard errors, and a hundredth of a nat of bias."""
    for rho in (0.0, 0.75, -0.95):
        truth = correlated(rho, 2)[2]
        found = np.array([KSG(variant=variant)(*correlated(rho, 1000, seed)[:2]).value for seed in range(8)])
        assert abs(found.mean() - truth) < 0.01 + 4 * found.std() / np.sqrt(8)
        assert 0 < found.std() < 0.08


def test_atoms_are_measured_as_a_table():
    """All samples are duplicated: what is left of the estimate is that of a table of counts."""
    rng = np.random.default_rng(0)
    table = np.array([[0.3, 0.1, 0.0], [0.05, 0.25, 0.3]])
    cell = rng.choice(6, 1000, p=table.ravel())
    truth = (table * np.log(np.where(table, table, 1) / table.sum(0) / table.sum(1, keepdims=True))).sum()
    found = KSG()(cell // 3 * 1.0, cell % 3 * 1.0)
    assert found.value == pytest.approx(truth, abs=0.05)
    assert found.diagnostics["deterministic"]


def test_atoms_and_densities():
    """x is uniform on 5 integers and y on [x, x + 2] (Gao et al. 2017): ln 5 - 4/5 ln 2."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 1000)
    y = x + rng.uniform(0, 2, 1000)
    truth = np.log(5) - 0.8 * np.log(2)
    assert KSG()(x * 1.0, y).value == pytest.approx(truth, abs=0.08)
    assert KSG()(x, y).value == pytest.approx(truth, abs=0.08)


def test_a_function_reaches_the_ceiling():
    x = np.random.default_rng(0).normal(size=(N, 1))
    for variant, engine, less in ((1, "brute", 0), (2, "tree", 1 / 3)):
        found = measure(np.tile(x, (1, 2)), x, variant, engine)
        np.testing.assert_allclose(found.value, found.diagnostics["ceiling"], rtol=1e-6)
        assert found.value[0] == pytest.approx(5.00730 - 0.92278 - less, abs=1e-4)  # psi(150) - psi(3)
        assert found.diagnostics["deterministic"]
        assert "Y is a function of X" in found.advice()[0]


def test_labels_have_their_entropy_as_ceiling():
    x = np.random.default_rng(0).permutation(N)
    labels = (x >= N // 3).astype(int) + (x >= 2 * N // 3)
    found = measure(np.column_stack([x / N + 9 * labels, x / N]), labels)
    np.testing.assert_allclose(found.diagnostics["ceiling"], np.log(3), atol=0.02)
    np.testing.assert_allclose(found.value, found.diagnostics["ceiling"], rtol=1e-6)
    assert not found.diagnostics["deterministic"]


# --- Conformance -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("variant", [1, 2])
def test_what_changes_nothing(variant):
    """Order of samples and columns, signs, shifts and one scale for all (in powers of two), exchange of x and y."""
    for kind in ("normal", "rounded", "mixed"):
        x, y = (np.round(a * 2**20) / 2**20 for a in samples(kind))
        found = in_double(x, y, variant)
        rows = np.random.default_rng(1).permutation(N)
        for one, other in [(x[rows], y[rows]), (x[:, ::-1], -y), (x + 8, y - 4), (x * 1024, y * 1024)]:
            np.testing.assert_allclose(in_double(one, other, variant), found, rtol=0, atol=1e-13)
        np.testing.assert_allclose(in_double(y, x, variant), found, rtol=0, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [False, True])
def test_jit_vmap_map_and_a_plain_call_agree(labels):
    x, y = (np.stack(a).astype(np.float32) for a in zip(*(samples("mixed", seed=s) for s in range(2)), strict=True))
    if labels:
        y = (y[..., 0] > 0).astype(np.int32)
    est = KSG(k=KS, engine="brute")
    forms = [jax.vmap(est)(x, y), *([] if labels else [jax.lax.map(lambda a: est(*a), (x, y))])]
    for i in range(2):
        one = est(x[i], y[i])
        for other in (jitted(x[i], y[i]), *(jax.tree.map(lambda a, i=i: a[i], form) for form in forms)):
            jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [False, True])
def test_the_accelerators_form_of_a_batch(labels):
    """There several lanes are searched at once: the plain function, batched."""
    kinds = [samples(kind, n=40) for kind in ("normal", "mixed", "heavy")]
    x, y = (np.stack(a).astype(np.float32) for a in zip(*kinds, strict=True))
    plain, formula = (_ross, ross) if labels else (_kraskov, functools.partial(ksg, variant=2))
    if labels:
        y = (y[..., 0] > 0).astype(int)
    found = jax.jit(jax.vmap(functools.partial(plain, settings=KSG(variant=2, engine="brute", block=16))))(x, y).value
    np.testing.assert_allclose(found, [formula(*a) for a in zip(x, y, strict=True)], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_engines_give_the_same_estimate_of_a_large_sample():
    """Large enough for the tree to be chosen."""
    x, y, truth = correlated(0.75, 2000)
    found = [KSG(engine=engine)(x, y).value for engine in ("auto", "brute")]
    assert found[0] == found[1]
    assert found[0] == pytest.approx(truth, abs=0.05)


@pytest.mark.slow
def test_a_search_on_the_host_inside_a_batch():
    """More searches than a thread pool has threads, in one program, and in the samples' own precision."""
    lanes = [samples("heavy", seed=seed) for seed in range(8)]
    with jax.enable_x64(True):
        found = jax.vmap(KSG(engine="tree"))(*(jnp.stack(a) for a in zip(*lanes, strict=True))).value
    np.testing.assert_allclose(found, [ksg(*lane) for lane in lanes], rtol=0, atol=1e-13)


@pytest.mark.slow
def test_half_precision_is_measured_in_single():
    x, y = (jnp.asarray(a, jnp.bfloat16) for a in samples("normal"))
    labels = (y[:, 0] > 0).astype(jnp.int32)
    for half, single in [(y, y.astype(jnp.float32)), (labels, labels)]:
        found = measure(x, half)
        assert found.value.dtype == found.diagnostics["ceiling"].dtype == jnp.bfloat16
        np.testing.assert_array_equal(found.value, measure(x.astype(jnp.float32), single).value.astype(jnp.bfloat16))


def test_precision_is_kept():
    with jax.enable_x64(True):
        x, y = (jnp.asarray(a) for a in samples("normal"))
        for other in (y, (y[:, 0] > 0).astype(jnp.int64)):
            found = measure(x, other)
            assert found.value.dtype == found.diagnostics["ceiling"].dtype == jnp.float64
            assert all(found.diagnostics[name].dtype == bool for name in FLAGS)
        assert measure(x.astype(jnp.float32), y).value.dtype == jnp.float64
    found = measure(*samples("normal"))
    assert found.value.dtype == found.diagnostics["ceiling"].dtype == jnp.float32
    assert not jax.config.jax_enable_x64
    assert jnp.arange(3).dtype == jnp.int32


@pytest.mark.parametrize(("variant", "engine"), [(1, "brute"), (2, "tree")])
def test_a_constant_says_nothing(variant, engine):
    x, y = samples("rounded")
    for one, other in [(x, np.full((N, 1), 3.0)), (np.zeros((N, 2)), y), (np.ones((N, 2)), np.ones((N, 1)))]:
        found = measure(one, other, variant, engine)
        assert (found.value == 0).all()
        assert found.diagnostics["constant"]
        assert not found.diagnostics["deterministic"]
        assert any("constant" in line for line in found.advice())
    # A constant column of several is no obstacle.
    found = measure(np.column_stack([y, np.full(N, 5.0)]), y, variant, engine)
    assert (found.value > 0.5).all()
    assert not found.diagnostics["constant"]


def test_constant_labels_say_nothing():
    x, _ = samples("normal")
    for one, labels in [(x, np.full(N, 7)), (np.ones((N, 2)), np.arange(N) % 2)]:
        found = measure(one, labels)
        assert (found.value == 0).all()
        assert found.diagnostics["constant"]


@pytest.mark.slow
def test_the_fewest_samples():
    """n = k + 1: every other row is a neighbour."""
    x, y = (a.astype(np.float32) for a in samples("normal", n=4))
    assert KSG()(x, y).value == pytest.approx(ksg(x, y), abs=1e-6)
    assert KSG()(x, np.array([0, 0, 1, 1])).value == pytest.approx(ross(x, [0, 0, 1, 1]), abs=1e-6)
    assert KSG(k=1, variant=2)(x[:2], y[:2]).value == pytest.approx(ksg(x[:2], y[:2], 1, 2), abs=1e-6)


def test_labels_are_any_integers_and_truth_values():
    x, y = samples("normal")
    labels = np.digitize(y[:, 0], [-0.5, 0.5]).astype(np.int32)
    found = measure(x, labels).value
    for alphabet in (np.array([-7, 0, 3], np.int32), np.array([-(2**31), 2**31 - 1, 12], np.int32)):
        np.testing.assert_array_equal(measure(x, alphabet[labels]).value, found)
    np.testing.assert_array_equal(measure(x, np.array([-128, 127, 0], np.int8)[labels]).value, found)
    two = measure(x, labels == 1).value
    np.testing.assert_array_equal(two, measure(x, (labels == 1).astype(np.int32)).value)


@pytest.mark.slow
def test_what_is_not_finite_is_nan_inside_jit():
    for program in (jitted, jax.jit(KSG(k=KS, engine="tree"))):
        for bad in (np.nan, np.inf, -np.inf):
            for place in (0, 1):
                given = samples("normal")
                given[place][17, 0] = bad
                found = program(*given)
                assert np.isnan(found.value).all()
                assert found.diagnostics["non_finite"]
    x, _ = samples("normal")
    assert np.isfinite(jitted(x, np.arange(N) % 2).value).all()
    x[17, 0] = np.nan
    assert np.isnan(jitted(x, np.arange(N) % 2).value).all()


def test_labels_that_all_differ_are_nan_inside_jit():
    x, _ = samples("normal")
    assert np.isnan(jitted(x, np.arange(N)).value).all()


@pytest.mark.slow
def test_one_k_gives_scalars():
    x, y = samples("mixed")
    several = measure(x, y)
    assert several.value.shape == several.diagnostics["ceiling"].shape == (2,)
    for k, value, ceiling in zip(KS, several.value, several.diagnostics["ceiling"], strict=True):
        one = KSG(k=k, engine="brute")(x, y)
        assert one.value == value
        assert one.diagnostics["ceiling"] == ceiling
        assert all(a.shape == () for a in one.diagnostics.values())


def test_it_is_a_pytree_of_no_leaves():
    est = KSG(k=(1, 2), variant=2)
    assert jax.tree.leaves(est) == []
    assert jax.tree.map(lambda a: a, est) == est
    assert hash(est) == hash(KSG(k=(1, 2), variant=2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        est.k = 3
    found = KSG()(*samples("normal", n=4))
    assert isinstance(found, MIEstimate)
    assert found.std_error is None


def test_no_gradient_rather_than_zero():
    x, y = samples("normal", n=4)
    with pytest.raises(InputError, match="no gradient"):
        jax.grad(lambda x: KSG()(x, y).value)(jnp.asarray(x))


# --- Diagnostics -------------------------------------------------------------------------------------------


def sparse(columns, n, seed):
    """Two pairs of columns of correlation 0.8 among independent ones: 1.02 nats."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n, columns))
    y[:, :2] = 0.8 * x[:, :2] + 0.6 * y[:, :2]
    return x, y


@pytest.mark.slow
def test_starved_in_many_dimensions():
    estimate = KSG()
    for seed in range(3):
        assert estimate(*sparse(25, 500, seed)).diagnostics["starved"]
        x, y = sparse(2, 1000, seed)
        assert not estimate(x, y).diagnostics["starved"]
        assert not estimate(x[:, 0], y[:, 0]).diagnostics["starved"]


def test_scales_that_differ():
    x, y = samples("normal")
    assert not measure(x * [1, 30], y).diagnostics["scaled"]
    assert measure(x * [1, 300], y).diagnostics["scaled"]
    assert measure(x, y / 1000).diagnostics["scaled"]
    # A constant column has no scale.
    assert not measure(x * [1, 0], y).diagnostics["scaled"]


def test_ordinary_samples_call_for_no_caution():
    x, y, _ = correlated(0.75, 1000)
    assert KSG()(x, y).advice() == []
    assert KSG()(np.round(x, 2), y).advice() == []


# --- What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 3.0}, r"k must be a positive whole number or a tuple of them, got 3\.0: 3 is"),
        ({"k": 0}, "k must be a positive whole number or a tuple of them, got 0"),
        ({"k": ()}, "k must be a positive whole number"),
        ({"variant": 3}, "variant must be 1 or 2, got 3"),
        ({"variant": True}, "variant must be 1 or 2, got True"),
        ({"variant": 1.0}, r"variant must be 1 or 2, got 1\.0"),
        ({"engine": "brut"}, "unknown engine 'brut': did you mean 'brute'"),
        ({"block": 0}, "block must be a positive whole number of rows, got 0"),
    ],
)
def test_settings_are_checked(change, message, unchecked):
    est = dataclasses.replace(KSG(), **change)
    for call in (est.checked, lambda: est(*samples("normal"))):
        with pytest.raises(InputError, match=message):
            call()


GOOD = np.linspace(0, 1, 6)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.array([0, 1, np.nan, 3, 4, 5]), GOOD, "x has a value that is not finite in row 2: remove"),
        (GOOD, np.array([0, 1, 3, 4, 5, np.inf]), "y has a value that is not finite in row 5"),
        (GOOD, GOOD[:5], "the numbers of samples differ: x has 6, y has 5"),
        (GOOD[:3], GOOD[:3], "x has 3 samples, 4 or more are needed"),
        (GOOD[:0], GOOD, "x has 0 samples, 4 or more are needed"),
        (GOOD, np.zeros((6, 0)), "y has no column"),
        (np.zeros((6, 2, 2)), GOOD, r"x must have shape \(n,\) or \(n, columns\), got \(6, 2, 2\): flatten"),
        (GOOD, np.array(list("aabbcc")), "y must be real numbers, got <U1: encode categories as integers"),
        (GOOD, GOOD + 1j, "y must be real numbers, got complex128"),
        (np.arange(6) % 2, np.arange(6) % 3, "x and y are both integer labels: use PlugIn, or give numbers as floats"),
        (GOOD, np.arange(6), "no label of y occurs twice: give y as floats if these are numbers"),
        (np.arange(6), GOOD, "no label of x occurs twice"),
        (GOOD, np.arange(5) % 2, "the numbers of samples differ: x has 6, y has 5"),
        (GOOD[:3], np.array([0, 0, 1]), "x has 3 samples, 4 or more are needed"),
        (GOOD, np.zeros((6, 0), int), "y has no column"),
        (GOOD, np.zeros(0, int), r"y must have shape \(n,\) with n >= 1, got \(0,\)"),
    ],
)
def test_samples_are_checked(x, y, message, unchecked):
    with pytest.raises(InputError, match=message):
        KSG()(x, y)


def test_integers_in_columns_are_numbers():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (N, 2))
    y = x[:, :1] + rng.normal(size=(N, 1))
    np.testing.assert_array_equal(measure(x, y).value, measure(x.astype(np.float32), y).value)
