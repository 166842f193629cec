"""Matrix-based Renyi information: against the papers' formulae, exact special cases and finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators import reference_matrix_renyi as reference

from ibjax.errors import InputError
from ibjax.estimators import ESTIMATORS, LayerEstimator, MatrixRenyi, matrix_entropy, parse
from ibjax.estimators.matrix_renyi import GRID

N = 40
ORDERS = (1.01, 2, 0.5)
LABELS = np.array([-7, 3, 3, 100])[np.arange(N) % 4]
DIGITS = {1.01: (1e-10, 2e-5), 2: (1e-10, 2e-5), 0.5: (1e-6, 2e-3)}
"""How close double and single precision come, by order: roots of small eigenvalues have half their digits."""
TRUTHS = ["non_finite", "constant", "saturated"]


def samples(columns=(2, 1), n=N, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns[0]))
    return x, 0.8 * x[:, :1] + 0.6 * rng.normal(size=(n, columns[1]))


def renyi(p, alpha):
    """The Renyi entropy of a distribution."""
    p = np.asarray(p)[np.asarray(p) > 0]
    return np.log((p**alpha).sum()) / (1 - alpha)


def value(x, y, **settings):
    with jax.enable_x64(True):
        return float(MatrixRenyi(**settings)(x, y).value)


# --- Against the formulae ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ORDERS)
def test_the_papers_formulae(alpha):
    double, single = DIGITS[alpha]
    x, y = samples()
    for bandwidth, sigmas in (("silverman", [reference.silverman(a) for a in (x, y)]), (0.8, (0.8, 0.8))):
        k, other = (reference.gaussian(a, sigma) for a, sigma in zip((x, y), sigmas, strict=True))
        expected = reference.information(k, other, alpha)
        assert expected > 0.2
        assert value(x, y, alpha=alpha, bandwidth=bandwidth) == pytest.approx(expected, abs=double)
        found = MatrixRenyi(alpha, bandwidth)(x.astype(np.float32), y.astype(np.float32))
        assert found.value.dtype == jnp.float32
        assert found.value == pytest.approx(expected, abs=single)
        assert found.diagnostics["entropy_x"] == pytest.approx(reference.entropy(k, alpha), abs=single)
        assert found.diagnostics["bandwidth_x"] == pytest.approx(sigmas[0], rel=1e-6)
        assert found.std_error is None


@pytest.mark.slow
def test_alignment():
    """To the kernel of the labels, whichever of x and y they are; a number in its place gives the same."""
    x, _ = samples((3, 1))
    labels = np.digitize(x[:, 0], [-0.4, 0.5])
    ideal = (labels[:, None] == labels) * 1.0
    sigma = reference.aligned(x, ideal, GRID)
    expected = reference.information(reference.gaussian(x, sigma), ideal, 1.01)
    assert GRID[5] < sigma / reference.aligned(x, ideal, [1.0]) < GRID[-5]
    for a, b in ((x, labels), (labels, x)):
        assert value(a, b, bandwidth="alignment") == pytest.approx(expected, abs=1e-10)
    assert value(x, labels, bandwidth=sigma) == pytest.approx(expected, abs=1e-10)
    found = MatrixRenyi(bandwidth="alignment").layer(jnp.asarray(x, jnp.float32), labels)
    assert found.relevance == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("alpha", ORDERS)
def test_labels_have_the_renyi_entropy_of_their_frequencies(alpha):
    """So the information of two sets of labels is that of a table."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 3, N), rng.integers(0, 2, N) * 5 - 2
    table = np.array([[((x == a) & (y == b)).mean() for b in (-2, 3)] for a in range(3)])
    expected = renyi(table.sum(1), alpha) + renyi(table.sum(0), alpha) - renyi(table.ravel(), alpha)
    assert value(x, y, alpha=alpha) == pytest.approx(expected, abs=1e-10)
    assert expected > 1e-3


def test_samples_far_apart_are_a_table_too():
    x = np.arange(N) % 3 * 1e3
    for alpha in ORDERS:
        expected = renyi(np.bincount(np.arange(N) % 3) / N, alpha)
        assert value(x, -x, alpha=alpha, bandwidth=1.0) == pytest.approx(expected, abs=1e-9)


def test_order_two_needs_no_eigenvalues():
    """The sum of squares and the spectrum agree, as do orders next to each other."""
    k = jnp.asarray(reference.gaussian(samples()[0], 1.0), jnp.float32)
    assert matrix_entropy(k, 2) == pytest.approx(reference.entropy(k, 2), abs=1e-5)
    assert matrix_entropy(k, 2) == pytest.approx(float(matrix_entropy(k, 2.0001)), abs=1e-3)
    text = jax.jit(matrix_entropy, static_argnums=1).lower(k, 2).as_text()
    assert "syev" not in text
    assert "syev" in jax.jit(matrix_entropy, static_argnums=1).lower(k, 3).as_text()


def test_close_to_order_one_is_the_entropy_of_the_spectrum():
    k = jnp.asarray(reference.gaussian(samples()[0], 1.0), jnp.float32)
    v = np.linalg.eigvalsh(np.asarray(k, np.float64) / N)
    v = v[v > 0]
    assert matrix_entropy(k, 1 + 1e-9) == pytest.approx(-(v * np.log(v)).sum(), abs=1e-5)


# --- Layers ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ORDERS)
def test_layer(alpha):
    """I(X;T) = S(T), as every input is a cell of its own; labels and rows that are certain agree."""
    t = samples((3, 1))[0].astype(np.float32)
    k = reference.gaussian(t, 1.5)
    ideal = (LABELS[:, None] == LABELS) * 1.0
    est = MatrixRenyi(alpha, 1.5)
    found = est.layer(t, LABELS)
    assert found.complexity == pytest.approx(reference.entropy(k, alpha), abs=DIGITS[alpha][1])
    assert found.complexity == pytest.approx(reference.information(k, np.eye(N), alpha), abs=DIGITS[alpha][1])
    assert found.relevance == pytest.approx(reference.information(k, ideal, alpha), abs=DIGITS[alpha][1])
    one_hot = (LABELS[:, None] == np.unique(LABELS)).astype(np.float32)
    np.testing.assert_allclose(est.layer(t, one_hot), found, rtol=1e-5)
    soft = np.random.default_rng(0).dirichlet(np.ones(3), N)
    overlap = np.sqrt(soft[:, None] * soft).sum(axis=2)
    expected = reference.information(k, overlap, alpha)
    assert est.layer(t, soft.astype(np.float32)).relevance == pytest.approx(expected, abs=DIGITS[alpha][1])
    assert found.relevance == pytest.approx(float(est(t, LABELS).value), abs=1e-6)


def test_layers_are_measured_inside_a_scan_over_replicas():
    t = np.stack([samples((3, 1), seed=s)[0] for s in range(4)]).astype(np.float32).reshape(2, 2, N, 3)
    one = functools.partial(MatrixRenyi().layer, labels=jnp.asarray(LABELS), classes=None, span=None)
    found = jax.jit(lambda t: jax.lax.map(jax.vmap(one), t))(t)
    for i in range(2):
        for j in range(2):
            for all_of, here in zip(found, one(t[i, j]), strict=True):
                assert all_of[i, j] == pytest.approx(float(here), abs=1e-5)
    assert isinstance(MatrixRenyi(), LayerEstimator)
    assert not MatrixRenyi().needs_span


# --- Gradients ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ORDERS)
@pytest.mark.parametrize("bandwidth", ["silverman", 0.9])
def test_gradients_are_finite_differences(alpha, bandwidth):
    """With two equal rows, so that eigenvalues are zero, and rows in pairs, so that they coincide."""
    with jax.enable_x64(True):
        x, y = (jnp.asarray(a) for a in samples(n=12))
        x, y = x.at[1].set(x[0]), y.at[1].set(y[0])
        if alpha < 1:  # there, the entropy has no derivative at eigenvalues of zero
            x, y = x.at[1].add(0.5), y.at[1].add(0.5)
        est = MatrixRenyi(alpha, bandwidth)
        direction = jnp.asarray(np.random.default_rng(1).normal(size=x.shape))

        def along(h):
            return est(x + h * direction, y).value

        found = (jax.grad(lambda x: est(x, y).value)(x) * direction).sum()
        assert abs(found) > 1e-3
        assert found == pytest.approx(float((along(1e-5) - along(-1e-5)) / 2e-5), rel=1e-5)


def test_gradients_where_eigenvalues_coincide():
    """All pairs of inputs are equally far apart: all eigenvalues but one are equal."""
    with jax.enable_x64(True):
        t = jnp.eye(6)
        direction = jnp.asarray(np.random.default_rng(1).normal(size=t.shape))

        def complexity(t):
            return MatrixRenyi(bandwidth=1.0).layer(t, jnp.arange(6)).complexity

        found = (jax.grad(complexity)(t) * direction).sum()
        steps = [float(complexity(t + h * direction)) for h in (1e-5, -1e-5)]
        assert abs(found) > 1e-3
        assert found == pytest.approx((steps[0] - steps[1]) / 2e-5, rel=1e-5)


@pytest.mark.slow
def test_gradients_in_single_precision_under_jit_and_vmap():
    x, y = (np.stack([samples(seed=s)[i] for s in range(2)]).astype(np.float32) for i in range(2))
    gradient = jax.grad(lambda x, y: MatrixRenyi(bandwidth=1.0)(x, y).value)
    batch = jax.jit(jax.vmap(gradient))(x, y)
    assert batch.dtype == jnp.float32
    with jax.enable_x64(True):
        for i in range(2):
            np.testing.assert_allclose(batch[i], gradient(jnp.asarray(x[i], jnp.float64), y[i]), atol=1e-5)


def test_a_number_as_bandwidth_has_a_gradient():
    x, y = samples()
    steps = [value(x, y, bandwidth=1 + h) for h in (1e-5, -1e-5)]
    found = jax.grad(lambda sigma: MatrixRenyi(bandwidth=sigma)(x, y).value)(1.0)
    assert found == pytest.approx((steps[0] - steps[1]) / 2e-5, rel=1e-3)


@pytest.mark.slow
def test_constant_samples_have_a_finite_gradient():
    y = samples()[1]
    for bandwidth in ("silverman", 1.0):
        gradient = jax.grad(lambda x, b=bandwidth: MatrixRenyi(bandwidth=b)(x, y).value)(jnp.ones((N, 2)))
        assert np.isfinite(gradient).all()


# --- Conformance -------------------------------------------------------------------------------------------


def test_what_changes_nothing():
    """Order of samples and columns, signs, shifts, exchange; the scale too under Silverman's rule."""
    x, y = samples()
    found = value(x, y)
    rows = np.random.default_rng(1).permutation(N)
    for one, other in [(x[rows], y[rows]), (x[:, ::-1], -y), (x + 1e3, y - 4), (1e6 * x, 1e-6 * y), (y, x)]:
        assert value(one, other) == pytest.approx(found, abs=1e-8)


@pytest.mark.slow
def test_dependence_is_more_than_independence():
    x, y = samples((1, 1), 200)
    rows = np.random.default_rng(1).permutation(200)
    for alpha in ORDERS:
        assert value(x, y, alpha=alpha) > value(x, y[rows], alpha=alpha) + 0.2
        assert 0 < value(x, y[rows], alpha=alpha) < 0.6


@pytest.mark.slow
def test_jit_vmap_map_and_a_plain_call_agree():
    x, y = (np.stack([samples(seed=s)[i] for s in range(2)]).astype(np.float32) for i in range(2))
    est = MatrixRenyi()
    forms = [jax.vmap(est)(x, y), jax.lax.map(lambda a: est(*a), (x, y))]
    for i in range(2):
        one = est(x[i], y[i])
        for other in (jax.jit(est)(x[i], y[i]), *(jax.tree.map(lambda a, i=i: a[i], form) for form in forms)):
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), one, other)


@pytest.mark.slow
def test_a_constant_carries_no_information():
    x, y = samples()
    for one, other in ((np.ones_like(x), y), (x, np.ones_like(y)), (np.ones_like(x), LABELS), (x, 0 * LABELS)):
        found = jax.jit(MatrixRenyi())(one, other)
        assert found.value == 0
        assert found.diagnostics["constant"]
        assert not found.diagnostics["saturated"]
    found = MatrixRenyi().layer(np.ones((N, 2), np.float32), LABELS)
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_duplicates_and_the_fewest_samples():
    x, y = samples()
    assert value(np.tile(x, (2, 1)), np.tile(y, (2, 1)), bandwidth=1.0) == pytest.approx(value(x, y, bandwidth=1.0))
    assert value(np.array([0.0, 9.0]), np.array([9.0, 0.0]), bandwidth=1.0) == pytest.approx(np.log(2))


def test_inside_jit_nan_is_nan():
    x, y = samples()
    x[3, 1] = np.inf
    found = jax.jit(MatrixRenyi())(x, y)
    assert np.isnan(found.value)
    assert found.diagnostics["non_finite"]
    assert np.isnan(MatrixRenyi().layer(x.astype(np.float32), LABELS)).all()
    found = jax.jit(lambda sigma: MatrixRenyi(bandwidth=sigma)(y, y))(-1.0)
    assert np.isnan(found.value)


@pytest.mark.slow
def test_diagnostics_and_precision():
    found = MatrixRenyi()(*samples((1, 1)))
    assert {name for name, a in found.diagnostics.items() if a.dtype == bool} == set(TRUTHS)
    assert found.advice() == []
    assert found.diagnostics["ceiling"] == pytest.approx(np.log(N))
    wide = MatrixRenyi()(*samples((20, 20)))
    assert wide.diagnostics["saturated"]
    assert not MatrixRenyi(bandwidth=6.0)(*samples((20, 20))).diagnostics["saturated"]
    x, y = (jnp.asarray(a, jnp.float16) for a in samples())
    assert MatrixRenyi()(x, y).value.dtype == jnp.float16
    with jax.enable_x64(True):
        assert MatrixRenyi()(*samples()).value.dtype == jnp.float64


# --- Settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "text"),
    [
        (MatrixRenyi(), "renyi:alpha=1.01,bandwidth=silverman"),
        (MatrixRenyi(2.0, "alignment"), "renyi:alpha=2.0,bandwidth=alignment"),
        (MatrixRenyi(0.5, 0.25), "renyi:alpha=0.5,bandwidth=0.25"),
    ],
)
def test_text_names_the_convention_and_is_read_back(estimator, text):
    assert str(estimator) == text
    assert parse(text) == estimator
    assert ESTIMATORS["renyi"] is MatrixRenyi


def test_settings_are_a_pytree():
    leaves, tree = jax.tree.flatten(MatrixRenyi(2.0, 0.5))
    assert leaves == [0.5]
    assert jax.tree.unflatten(tree, [0.7]) == MatrixRenyi(2.0, 0.7)
    leaves, tree = jax.tree.flatten(MatrixRenyi())
    assert leaves == []
    assert jax.tree.unflatten(tree, leaves) == MatrixRenyi()


X = np.arange(9.0)


@pytest.mark.parametrize(
    ("x", "y", "settings", "message"),
    [
        (X, X, {"alpha": 1}, "alpha must be positive and not 1, got 1"),
        (X, X, {"alpha": -2.0}, r"alpha must be positive and not 1, got -2\.0"),
        (X, X, {"alpha": np.nan}, "alpha must be positive and not 1, got nan"),
        (X, X, {"alpha": "2"}, "alpha must be a number, got '2'"),
        (X, X, {"bandwidth": "silvermann"}, "unknown bandwidth 'silvermann': did you mean 'silverman'"),
        (X, X, {"bandwidth": 0.0}, r"bandwidth must be a positive number, got 0\.0"),
        (X, X, {"bandwidth": "-1"}, r"bandwidth must be a positive number, got -1\.0"),
        (X, X, {"bandwidth": None}, "bandwidth must be a positive number, got None"),
        (X, X, {"bandwidth": "alignment"}, "'alignment' needs labels"),
        (X, X, {"limit": 8}, "x has 9 samples and limit is 8: .*set limit=9"),
        (X, X, {"limit": 8.0}, r"limit must be a positive whole number, got 8\.0"),
        (X, X[:8], {}, "the numbers of samples differ: x has 9, y has 8"),
        (X[:1], X[:1], {}, "x has 1 samples, 2 or more"),
        (X, np.r_[X[:8], np.nan], {}, "y has a value that is not finite in row 8"),
        (np.zeros((9, 0)), X, {}, "x has no column"),
        (np.array(list("abcdefghi")), X, {}, "x must be real numbers"),
    ],
)
def test_what_is_refused(x, y, settings, message, unchecked):
    with pytest.raises(InputError, match=message):
        MatrixRenyi(**settings)(x, y)


@pytest.mark.usefixtures("unchecked")
def test_layers_that_are_refused():
    with pytest.raises(InputError, match="the layer has 9 samples and limit is 4"):
        MatrixRenyi(limit=4).layer(X[:, None], np.arange(9))
    with pytest.raises(InputError, match="labels must be integers or rows"):
        MatrixRenyi().layer(X[:, None], X)
