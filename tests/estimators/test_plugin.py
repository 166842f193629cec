"""Information of discrete samples and tables: the formulas, what must hold whatever the numbers, and accuracy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators.reference_plugin import ENTROPIES, information, true_information

from ibjax.errors import InputError
from ibjax.estimators import ADVICE, CORRECTIONS, PlugIn, discrete_entropy
from ibjax.information import JointDistribution

N, SIZES = 60, (5, 4)
"""One shape for most tests, so that they share their programs."""


# Its programs take seconds to compile; what it gives is tested by itself.
QUICK = [pytest.param(name, marks=pytest.mark.slow) if name == "nsb" else name for name in CORRECTIONS]


def table_of(x, y, shape=SIZES):
    """Counts of pairs of symbols 0, 1, ..."""
    table = np.zeros(shape, int)
    np.add.at(table, (x, y), 1)
    return table


def dependent(n=N, sizes=SIZES, seed=0):
    """Samples of a dependent pair with symbols of unequal frequency."""
    rng = np.random.default_rng(seed)
    x = np.minimum(rng.geometric(0.4, n) - 1, sizes[0] - 1)
    y = np.where(rng.random(n) < 0.5, x % sizes[1], rng.integers(0, sizes[1], n))
    return x, y


def assert_same(one, other, atol=1e-6):
    assert set(one.diagnostics) == set(other.diagnostics)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


# --- The formulas ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correction", ENTROPIES)
def test_tables_and_samples_are_the_references(correction):
    x, y = dependent()
    table = table_of(x, y)
    expected = information(table, correction)
    with jax.enable_x64(True):
        np.testing.assert_allclose(PlugIn(correction).table(table).value, expected, rtol=1e-11)
        np.testing.assert_allclose(PlugIn(correction)(x, y).value, expected, rtol=1e-11)
        larger = PlugIn(correction, (7, 9))
        np.testing.assert_allclose(larger(x, y).value, information(table, correction, (7, 9)), rtol=1e-11)


@pytest.mark.slow
def test_nsb_is_the_references():
    pytest.importorskip("mpmath")
    x, y = dependent(12, (3, 2))
    table = table_of(x, y, (3, 2))
    with jax.enable_x64(True):
        estimator = PlugIn("nsb", (3, 2))
        np.testing.assert_allclose(estimator(x, y).value, information(table, "nsb"), rtol=1e-11)
        np.testing.assert_allclose(PlugIn("nsb").table(table).value, estimator(x, y).value, rtol=1e-11)


@pytest.mark.parametrize(
    ("correction", "theirs"),
    [
        ("none", "discrete"),
        ("miller-madow", "miller_madow"),
        ("chao-shen", "chao_shen"),
        ("chao-wang-jost", "chao_wang_jost"),
    ],
)
def test_infomeasure_agrees(correction, theirs):
    infomeasure = pytest.importorskip("infomeasure")
    x, y = dependent(300, seed=3)
    with jax.enable_x64(True):
        found = PlugIn(correction)(x, y).value
    np.testing.assert_allclose(found, infomeasure.mutual_information(x, y, approach=theirs, base="e"), rtol=1e-9)


def test_sklearn_agrees():
    metrics = pytest.importorskip("sklearn.metrics")
    x, y = dependent()
    with jax.enable_x64(True):
        np.testing.assert_allclose(PlugIn()(x, y).value, metrics.mutual_info_score(x, y), rtol=1e-12)


def test_values_by_hand():
    """Six samples in a 2 x 2 table, 2 1 / 1 2: every margin is 1/2."""
    table = np.array([[2, 1], [1, 2]])
    plain = 2 * np.log(2) + (4 * np.log(2 / 6) + 2 * np.log(1 / 6)) / 6
    with jax.enable_x64(True):

        def value(correction):
            return float(PlugIn(correction).table(table).value)

        assert value("none") == pytest.approx(plain, abs=1e-14)
        # m_x + m_y - m_xy - 1 = -1 over 2 n = 12.
        assert value("miller-madow") == pytest.approx(plain - 1 / 12, abs=1e-14)
        # sum p^2 = 10/36, distance 1/36, weight (26/36) / (5/36) > 1: the uniform table.
        assert value("shrinkage") == pytest.approx(0, abs=1e-14)


# --- Accuracy ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hundred():
    """Ten tables of 1000 samples in 100 x 100 cells, as in the survey of peers: (truth, tables)."""
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.full(10_000, 0.4)).reshape(100, 100)
    return true_information(joint), rng.multinomial(1000, joint.ravel(), size=10).reshape(10, 100, 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("correction", "low", "high"),
    [
        ("none", 1.4, 1.7),
        ("miller-madow", 1.1, 1.35),
        ("grassberger", 0.6, 0.8),
        ("chao-shen", 0.1, 0.35),
        ("chao-wang-jost", 0.15, 0.4),
        ("shrinkage", -0.8, -0.6),
        ("nsb", -0.1, 0.1),
    ],
)
def test_a_hundred_by_a_hundred_cells_and_a_thousand_samples(hundred, correction, low, high):
    """Peers measured 2.42, 2.09, 1.74 (Grassberger's of 1988), 1.04 and 1.10 on a table of 0.848 nats."""
    truth, tables = hundred
    assert 0.8 < truth < 0.9
    found = PlugIn(correction).table(tables)
    assert low < found.value.mean() - truth < high
    assert found.diagnostics["undersampled"].all()


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_many_samples_find_the_truth(correction):
    rng = np.random.default_rng(1)
    joint = rng.dirichlet(np.full(20, 1.0)).reshape(SIZES)
    found = PlugIn(correction).table(rng.multinomial(10**6, joint.ravel(), size=8).reshape(8, *SIZES))
    np.testing.assert_allclose(found.value, true_information(joint), atol=4e-3)
    assert not found.diagnostics["undersampled"].any()


@pytest.mark.parametrize("correction", QUICK)
def test_independent_samples(correction):
    """The plug-in's bias is (|X|-1)(|Y|-1) / 2n; the corrections leave a fraction of it, shrinkage more."""
    rng = np.random.default_rng(2)
    joint = np.outer(rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))).ravel()
    found = PlugIn(correction).table(rng.multinomial(200, joint, size=64).reshape(64, 6, 6)).value
    bias = 25 / 400
    if correction == "none":
        assert 0.6 * bias < found.mean() < 1.4 * bias
    else:
        assert abs(found.mean()) < (0.75 if correction == "shrinkage" else 0.5) * bias


# --- What holds whatever the numbers -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_symmetry_order_and_names(correction):
    x, y = dependent()
    estimate = PlugIn(correction)
    found = estimate(x, y)
    assert_same(estimate(y, x), found)
    rows = np.random.default_rng(3).permutation(N)
    assert_same(estimate(x[rows], y[rows]), found)
    names = np.array([-(2**31), 2**31 - 1, 7, 0, -1], np.int32)
    assert_same(estimate(names[x], y * 1000 - 5), found)
    assert_same(estimate.table(table_of(x, y)), found)
    assert_same(estimate.table(table_of(x, y)[::-1, ::-1]), found)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint32, np.int64, np.uint64, bool])
def test_symbols_of_any_type(dtype):
    x, y = dependent()
    x = x % 2
    found = PlugIn()(x.astype(dtype), y.astype(np.int16))
    assert_same(found, PlugIn()(x, y))
    assert found.value > 0.01


def test_symbols_that_differ_above_32_bits():
    """With 64-bit types switched off."""
    assert not jax.config.jax_enable_x64
    x, y = dependent()
    assert_same(PlugIn()((x.astype(np.int64) << 40) + 3, y), PlugIn()(x, y))
    assert not jax.config.jax_enable_x64


@pytest.mark.slow
def test_rows_are_symbols():
    x, y = dependent()
    columns = np.stack([x // 3, np.full(N, 9), x % 3], axis=1)
    assert_same(PlugIn()(columns, y[:, None]), PlugIn()(x, y))
    assert_same(PlugIn()(y, columns), PlugIn()(y, x))
    # No column alone is enough.
    assert PlugIn()(columns[:, :2], y).value < PlugIn()(x, y).value - 0.01


def test_many_samples():
    """Pairs of ranks need more than 32 bits above 46,340 samples."""
    n = 2**17
    x, y = np.arange(n) % 1024, np.arange(n) % 1024 // 2
    np.testing.assert_allclose(PlugIn()(x, y).value, np.log(512), rtol=1e-6)
    different = PlugIn()(np.arange(n), np.arange(n)[::-1])
    np.testing.assert_allclose(different.value, np.log(n), rtol=1e-6)
    assert different.diagnostics["cells"] == n


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_jit_vmap_and_map(correction):
    xs, ys = (np.stack(a) for a in zip(*(dependent(seed=seed) for seed in range(3)), strict=True))
    xs[1] = 3  # a constant among others
    estimator = PlugIn(correction)
    eager = [estimator(x, y) for x, y in zip(xs, ys, strict=True)]
    together = jax.jit(jax.vmap(estimator))(xs, ys)
    mapped = jax.lax.map(lambda pair: estimator(*pair), (jnp.asarray(xs), jnp.asarray(ys)))
    jitted, vmapped = jax.jit(estimator), jax.vmap(estimator)(xs, ys)
    assert together.value.dtype == jnp.float32
    for i, one in enumerate(eager):
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], together), one)
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], mapped), one)
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], vmapped), one)
        assert_same(jitted(xs[i], ys[i]), one)


@pytest.mark.slow
def test_batches_of_tables():
    tables = np.random.default_rng(0).poisson(2.0, (2, 3, *SIZES))
    for estimator in (PlugIn("nsb", block=2**15), PlugIn("grassberger", block=40)):
        found = estimator.table(tables)  # four and two at a time
        assert all(leaf.shape == (2, 3) for leaf in jax.tree.leaves(found))
        at_once = dataclasses.replace(estimator, block=2**20)
        assert_same(at_once.table(tables), found)
        assert_same(jax.tree.map(lambda leaf: leaf[1, 2], found), at_once.table(tables[1, 2]))
        assert_same(jax.vmap(at_once.table)(tables), found)


def test_double_precision_is_kept():
    x, y = dependent()
    with jax.enable_x64(True):
        found = PlugIn("grassberger")(x, y)
        assert found.value.dtype == found.diagnostics["ceiling"].dtype == jnp.float64
    single = PlugIn("grassberger")(x, y)
    assert single.value.dtype == single.diagnostics["ceiling"].dtype == jnp.float32
    assert abs(float(found.value) - float(single.value)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_a_constant_carries_no_information(correction):
    x, y = dependent()
    for alphabet in (None, (5, 6)):
        for pair in [(np.full(N, 3), y), (x, np.full(N, -1)), (np.zeros(N, int), np.zeros(N, int))]:
            found = PlugIn(correction, alphabet)(*pair)
            assert found.value == 0
            assert found.diagnostics["constant"]
    row = PlugIn(correction).table([[3, 2, 1], [0, 0, 0]])
    assert row.value == 0
    assert row.diagnostics["constant"]
    assert not PlugIn(correction)(x, y).diagnostics["constant"]


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_two_samples(correction):
    found = PlugIn(correction)(np.array([0, 1]), np.array([5, 9]))
    assert np.isfinite(found.value)
    assert found.diagnostics["cells"] == 2


def test_a_function_has_the_entropy_as_information():
    x, _ = dependent()
    counts = np.bincount(x)
    p = counts[counts > 0] / N
    np.testing.assert_allclose(PlugIn()(x, -7 * x).value, -(p * np.log(p)).sum(), rtol=1e-6)
    np.testing.assert_allclose(PlugIn()(x, x % 2).value, PlugIn()(x % 2, x % 2).value, rtol=1e-6)


def test_duplicated_samples_change_the_plug_in_not_at_all():
    x, y = dependent()
    np.testing.assert_allclose(PlugIn()(np.tile(x, 3), np.tile(y, 3)).value, PlugIn()(x, y).value, rtol=1e-6)


def test_diagnostics():
    x, y = dependent()
    found = PlugIn()(x, y)
    assert found.diagnostics["cells"] == (table_of(x, y) > 0).sum()
    np.testing.assert_allclose(found.diagnostics["ceiling"], np.log(4), rtol=1e-6)
    np.testing.assert_allclose(PlugIn(alphabet=(9, 6))(x, y).diagnostics["ceiling"], np.log(6), rtol=1e-6)
    assert set(found.diagnostics) - {"cells", "ceiling"} <= set(ADVICE)
    assert found.std_error is None
    assert any("fewer samples than occupied cells" in line for line in PlugIn().table([[1, 1], [1, 1]]).advice())


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_few_samples_a_cell_are_said(correction):
    """Five are enough for the corrections, eight for none, twenty for shrinkage."""
    enough = {"none": 8, "shrinkage": 20}.get(correction, 5)
    per_cell = np.array([4, 5, 7, 8, 19, 20])
    found = PlugIn(correction).table(np.ones((2, 2), int) * per_cell[:, None, None])
    np.testing.assert_array_equal(found.diagnostics["undersampled"], per_cell < enough)


# --- Bad input ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_what_is_no_table_is_nan_inside_a_transformation(correction):
    tables = jnp.array([[[2, 1], [0, 3]], [[2, -1], [0, 3]], [[0, 0], [0, 0]]])
    found = jax.jit(PlugIn(correction).table)(tables)
    np.testing.assert_array_equal(np.isnan(found.value), [False, True, True])
    np.testing.assert_array_equal(found.diagnostics["non_finite"], [False, True, True])


@pytest.mark.slow
def test_too_small_an_alphabet():
    x, y = dependent()
    estimator = PlugIn("shrinkage", (2, 4))
    assert np.isnan(jax.jit(estimator)(x, y).value)
    with pytest.raises(InputError, match=r"more symbols than the alphabet \(2, 4\) has"):
        estimator(x, y)
    with pytest.raises(InputError, match=r"more symbols than the alphabet \(2, 4\) has"):
        estimator.table(table_of(x, y))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.linspace(0, 1, N), "x must be integers, got float64: quantise, or use x.astype"),
        (np.full(N, np.nan), "x must be integers, got float64"),
        (np.array(["a"] * N), "x must be integers, got <U1"),
        (np.zeros((N, 0), int), "x has no column"),
        (np.zeros((N, 2, 2), int), r"x must have shape \(n,\) or \(n, columns\), got \(60, 2, 2\)"),
        (np.zeros((), int), r"x must have shape \(n,\) or \(n, columns\), got \(\)"),
        (np.zeros(N - 1, int), "numbers of samples differ: x has 59, y has 60"),
        (np.zeros(1, int), "x has 1 samples, 2 or more are needed"),
        (np.zeros(0, int), "x has 0 samples"),
    ],
)
def test_bad_samples(unchecked, x, message):
    with pytest.raises(InputError, match=message):
        PlugIn()(x, dependent()[1])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[0.25, 0.25], [0.25, 0.25]], "counts must be integers, got float64: numbers of samples, not prob"),
        ([[1, 2], [-3, 4]], r"counts must not be negative, got -3 at \(1, 0\)"),
        ([[0, 0], [0, 0]], "counts are all zero"),
        ([[[1, 0], [0, 1]], [[0, 0], [0, 0]]], r"counts of table \(1,\) are all zero"),
        ([1, 2, 3], r"counts must have shape \(..., \|X\|, \|Y\|\) without an empty axis, got \(3,\)"),
        (np.zeros((2, 0), int), r"without an empty axis, got \(2, 0\)"),
    ],
)
def test_bad_tables(unchecked, counts, message):
    with pytest.raises(InputError, match=message):
        PlugIn().table(counts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correction": "grassberg"}, "unknown correction 'grassberg': did you mean 'grassberger'"),
        ({"alphabet": (3, 0)}, r"alphabet must be two whole numbers of symbols, \(\|X\|, \|Y\|\), got \(3, 0\)"),
        ({"alphabet": (3,)}, "alphabet must be two whole numbers"),
        ({"alphabet": 3}, "alphabet must be two whole numbers"),
        ({"alphabet": (2.0, 2)}, "alphabet must be two whole numbers"),
        ({"block": 0}, "block must be a whole number of cells"),
        ({"block": 1e6}, "block must be a whole number of cells"),
    ],
)
def test_bad_settings(unchecked, change, message):
    estimator = dataclasses.replace(PlugIn(), **change)
    calls = [estimator.checked, functools.partial(estimator, *dependent()), lambda: estimator.table([[1, 2], [3, 4]])]
    for call in calls:
        with pytest.raises(InputError, match=message):
            call()


# --- Layers ------------------------------------------------------------------------------------------------


# Their formulas are tested above.
ALSO = [
    name if name in ("none", "chao-wang-jost") else pytest.param(name, marks=pytest.mark.slow) for name in CORRECTIONS
]


@pytest.mark.parametrize("correction", ALSO)
def test_a_layer_is_the_entropy_of_its_rows_and_what_they_say_of_labels(correction):
    x, y = dependent()
    first, second = np.divmod(x, 2)
    t = np.stack([0.1 * first - 0.3, 0.7 * second], axis=1).astype(np.float32)
    found = PlugIn(correction).layer(t, y, classes=SIZES[1])
    entropy = discrete_entropy(np.bincount(x, minlength=SIZES[0]), correction)
    assert float(found.complexity) == pytest.approx(float(entropy), abs=1e-6)
    assert float(found.relevance) == pytest.approx(float(PlugIn(correction)(x, y).value), abs=1e-6)
    of_integers = PlugIn(correction).layer(np.stack([first, second], axis=1), y)
    np.testing.assert_allclose(of_integers, found, atol=1e-6)


def test_a_layer_of_soft_labels_is_exact_and_has_no_correction():
    t = np.array([[0.0], [0.0], [1.0], [1.0]], np.float32)
    rows = np.array([[1, 0], [0.5, 0.5], [0, 1], [0, 1]], np.float32)
    found = PlugIn().layer(t, rows)
    joint = np.array([[0.375, 0.125], [0, 0.5]])
    np.testing.assert_allclose(found, [np.log(2), JointDistribution.from_table(joint).mutual_information()], atol=1e-6)
    with pytest.raises(InputError, match="draw integer labels"):
        PlugIn("nsb").layer(t, rows)


def test_layers_that_do_not_count():
    """NaN, and more symbols than the alphabet has: NaN; one symbol: nothing is known."""
    y = np.array([0, 1, 0, 1])
    for t in (np.array([[0.0], [1.0], [np.nan], [1.0]]), np.arange(4.0)[:, None]):
        assert np.isnan(PlugIn("shrinkage", alphabet=(3, 2)).layer(t.astype(np.float32), y)).all()
    assert PlugIn("miller-madow").layer(np.zeros((4, 2), np.float32), y) == (0, 0)


@pytest.mark.slow
def test_layers_are_mapped():
    x, y = dependent()
    layers = jnp.stack([jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)])[..., None]
    found = jax.vmap(lambda t: PlugIn("grassberger").layer(t, y))(layers)
    alone = [PlugIn("grassberger").layer(t, y) for t in layers]
    np.testing.assert_allclose(jnp.stack(found).T, np.array(alone), rtol=1e-6)
