"""Gaussian information: closed forms, unbiasedness, singular covariances, gradients, and what ranks keep."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators import reference_gaussian as reference

from ibjax.errors import InputError
from ibjax.estimators import ADVICE, Gaussian, GaussianCopula, gaussian_information, gaussian_layer_information
from ibjax.estimators.gaussian import normal_scores

BOTH = [Gaussian(), GaussianCopula()]


def name(estimator):
    return type(estimator).__name__


def samples(n, dx, dy, kind="dense", seed=0, rho=0.5, size=()):
    """Of the reference's covariance, in float64: arrays of shape (*size, n, dx) and (*size, n, dy)."""
    factor = np.linalg.cholesky(reference.covariance(kind, dx, dy, rho))
    z = np.random.default_rng(seed).normal(size=(*size, n, dx + dy)) @ factor.T
    return z[..., :dx], z[..., dx:]


def assert_same(one, other, atol=1e-5):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@jax.jit
def information(cov_xx, cov_xy, cov_yy):
    return gaussian_information(cov_xx, cov_xy, cov_yy)


# --- From covariances --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (1, 5), (3, 2), (10, 10), (25, 25)])
def test_covariances_have_the_references_information(dx, dy):
    for kind in ("dense", "sparse", "random"):
        cov = reference.covariance(kind, dx, dy)
        expected = reference.information(cov, dx)
        with jax.enable_x64(True):
            np.testing.assert_allclose(information(*reference.blocks(cov, dx)), expected, rtol=1e-9, atol=1e-13)
        single = information(*(part.astype(np.float32) for part in reference.blocks(cov, dx)))
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, expected, rtol=2e-3 if kind == "random" else 2e-5, atol=2e-6)


@pytest.mark.parametrize("rho", [0.0, 1e-4, 0.3, -0.9, 0.9999, 0.9999999])
def test_two_normals(rho):
    """I = -ln(1 - rho^2) / 2, whatever the scales."""
    with jax.enable_x64(True):
        for sx, sy in [(1.0, 1.0), (1e-8, 1e6), (1e5, 3e-3)]:
            cov = np.array([[sx**2]]), np.array([[rho * sx * sy]]), np.array([[sy**2]])
            np.testing.assert_allclose(information(*cov), -np.log1p(-(rho**2)) / 2, rtol=1e-8, atol=1e-15)


def test_dense_normals_have_a_closed_form():
    """Pairs of equal correlation rho: |cov| = (1 - rho)^(d-1) (1 + (d-1) rho)."""

    def log_det(d, rho):
        return (d - 1) * np.log1p(-rho) + np.log1p((d - 1) * rho)

    for d in (1, 5, 25):
        cov = reference.covariance("dense", d, d, 0.5)
        expected = log_det(d, 0.5) - log_det(2 * d, 0.5) / 2
        np.testing.assert_allclose(gaussian_information(*reference.blocks(cov, d)), expected, rtol=1e-5)


def test_symmetry_and_linear_maps_of_covariances():
    cov, rng = reference.covariance("random", 3, 4), np.random.default_rng(0)
    with jax.enable_x64(True):
        xx, xy, yy = reference.blocks(cov, 3)
        expected = information(xx, xy, yy)
        np.testing.assert_allclose(information(yy, xy.T, xx), expected, rtol=1e-10)
        a, b = rng.normal(size=(3, 3)), rng.normal(size=(4, 4))
        np.testing.assert_allclose(information(a @ xx @ a.T, a @ xy @ b.T, b @ yy @ b.T), expected, rtol=1e-9)


def test_a_batch_of_covariances():
    covs = np.stack([reference.covariance("dense", 2, 3, rho) for rho in (0.1, 0.5, 0.9)])
    parts = covs[:, :2, :2], covs[:, :2, 2:], covs[:, 2:, 2:]
    expected = [reference.information(cov, 2) for cov in covs]
    np.testing.assert_allclose(jax.jit(jax.vmap(gaussian_information))(*parts), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(gaussian_information)(*parts), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("x64", [False, True])
def test_columns_that_repeat_others_add_nothing(x64):
    rng = np.random.default_rng(0)
    cov = reference.covariance("random", 3, 2)
    mix = np.concatenate([np.eye(3), np.zeros((1, 3)), [[0, 1, 0]], rng.normal(size=(2, 3))])  # 0, a copy, sums
    xx, xy, yy = reference.blocks(cov, 3)
    with jax.enable_x64(x64):
        expected = information(xx, xy, yy)
        wide = information(mix @ xx @ mix.T, mix @ xy, yy)
        np.testing.assert_allclose(wide, expected, rtol=1e-8 if x64 else 1e-3)
        np.testing.assert_allclose(information(yy, (mix @ xy).T, mix @ xx @ mix.T), wide, rtol=1e-6)
        # All of them constant.
        assert information(np.zeros((2, 2)), np.zeros((2, 2)), yy) == 0


def test_a_function_has_infinite_information():
    cov = np.array([[2.0, 0.5], [0.5, 1.0]])
    a = np.array([[1.0, -2.0]])
    for x64 in (False, True):
        with jax.enable_x64(x64):
            assert information(cov, cov, cov) == np.inf
            assert information(cov, cov @ a.T, a @ cov @ a.T) == np.inf
    with jax.enable_x64(True):
        assert 12 < information(cov, cov @ a.T, a @ cov @ a.T + 1e-11) < 15


@pytest.mark.parametrize(
    "cov",
    [
        [[1, 0.2, 0], [0.2, 1, 1.3], [0, 1.3, 1]],  # a correlation of 1.3
        [[1, 2, 0], [2, 1, 0], [0, 0, 1]],
        [[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0.8, 0.8], [0.8, 1, -0.8], [0.8, -0.8, 1]],  # each pair possible, not all three
    ],
)
def test_what_is_no_covariance_is_an_error_and_nan_inside_a_transformation(cov):
    with pytest.raises(InputError, match="not positive semidefinite: take them from the same samples"):
        gaussian_information(*reference.blocks(np.array(cov, float), 2))
    assert np.isnan(information(*reference.blocks(np.array(cov, float), 2)))
    assert np.isnan(information(*reference.blocks(np.array(cov, float)[::-1, ::-1], 1)))


def test_not_finite_is_nan_inside_a_transformation():
    cov = reference.covariance("dense", 2, 2)
    assert np.isfinite(information(*reference.blocks(cov, 2)))
    for where in [(0, 0), (1, 0), (1, 2), (3, 3)]:
        for bad in (np.nan, np.inf):
            broken = cov.copy()
            broken[where] = bad
            assert np.isnan(information(*reference.blocks(broken, 2)))


def finite_differences(function, a, step=1e-6):
    gradient = np.zeros(a.shape)
    for index in np.ndindex(*a.shape):
        d = np.zeros(a.shape)
        d[index] = step
        gradient[index] = (function(a + d) - function(a - d)) / (2 * step)
    return gradient


@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (2, 3), (3, 2)])
def test_gradients_of_covariances(dx, dy):
    """With respect to a square root, so that every step leaves a covariance."""
    a = np.random.default_rng(0).normal(size=(dx + dy, dx + dy + 1))

    @jax.jit
    def of(a):
        cov = a @ a.T
        return gaussian_information(cov[:dx, :dx], cov[:dx, dx:], cov[dx:, dx:])

    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(of))(a)
        np.testing.assert_allclose(gradient, finite_differences(of, a), rtol=1e-6, atol=1e-8)
        assert np.abs(gradient).max() > 0.1


def test_gradients_are_finite_where_columns_repeat():
    cov = jnp.asarray(reference.covariance("random", 3, 2))
    mix = jnp.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])

    def of(mix):
        return gaussian_information(mix @ cov[:3, :3] @ mix.T, mix @ cov[:3, 3:], cov[3:, 3:])

    assert np.isfinite(jax.jit(jax.grad(of))(mix)).all()


# --- Linear networks ---------------------------------------------------------------------------------------


def test_a_linear_layer():
    rng = np.random.default_rng(0)
    w, noise = rng.normal(size=(3, 5)), 0.3
    cov_x = reference.covariance("random", 3, 2)
    cov_t = w @ cov_x @ w.T + noise * np.eye(3)
    expected = np.linalg.slogdet(cov_t)[1] / 2 - 3 * np.log(noise) / 2
    with jax.enable_x64(True):
        of = jax.jit(lambda w: gaussian_layer_information(w, cov_x, noise))
        np.testing.assert_allclose(of(w), expected, rtol=1e-12)
        np.testing.assert_allclose(information(cov_x, cov_x @ w.T, cov_t), expected, rtol=1e-9)
        np.testing.assert_allclose(jax.grad(of)(jnp.asarray(w)), finite_differences(of, w), rtol=1e-6, atol=1e-8)
    of = jax.vmap(gaussian_layer_information, in_axes=(0, None, None))
    together = of(jnp.stack([w, 2 * w]), jnp.asarray(cov_x), noise)
    np.testing.assert_allclose(together[0], expected, rtol=1e-5)
    assert together[1] > together[0]


def test_a_layer_without_noise(unchecked):
    for noise in (0, -1.0, np.nan):
        with pytest.raises(InputError, match="noise_variance must be positive"):
            gaussian_layer_information(np.eye(2), np.eye(2), noise)
        of = jax.jit(lambda noise: gaussian_layer_information(jnp.eye(2), jnp.eye(2), noise))
        assert np.isnan(of(noise))
    with pytest.raises(InputError, match=r"weights must be \(units, inputs\)"):
        gaussian_layer_information(np.ones((2, 3)), np.eye(2), 1.0)


# --- From samples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "dx", "dy"), [(3, 1, 1), (40, 2, 3), (30, 3, 2), (60, 10, 10)])
@pytest.mark.parametrize("corrected", [True, False])
def test_samples_have_the_references_information(n, dx, dy, corrected):
    x, y = samples(n, dx, dy, "random")
    with jax.enable_x64(True):
        found = Gaussian(corrected)(x, y).value
        np.testing.assert_allclose(found, reference.estimate(x, y, corrected), rtol=1e-9, atol=1e-11)
        scores = [reference.normal_scores(a) for a in (x, y)]
        found = GaussianCopula(corrected)(x, y).value
        np.testing.assert_allclose(found, reference.estimate(*scores, corrected), rtol=1e-9, atol=1e-11)


REPEATS = 2000


@functools.cache
def repeated(copula, n, dx, dy, kind, rho):
    """Estimates and standard errors of many sample sets."""
    x, y = samples(n, dx, dy, kind, seed=5, rho=rho, size=(REPEATS,))
    found = jax.jit(jax.vmap(GaussianCopula() if copula else Gaussian()))(x.astype(np.float32), y.astype(np.float32))
    return np.asarray(found.value), np.asarray(found.std_error)


SMALL = [(4, 1, 1, "dense", 0.5), (20, 1, 1, "dense", 0.0), (12, 3, 3, "dense", 0.5), (60, 10, 10, "dense", 0.0)]
LARGER = [(60, 10, 10, "dense", 0.0), (120, 5, 5, "sparse", 0.7), (500, 1, 1, "dense", 0.6), (100, 5, 5, "dense", 0.3)]


@pytest.mark.parametrize("case", SMALL)
def test_the_corrected_estimate_is_unbiased(case):
    n, dx, dy, kind, rho = case
    value, _ = repeated(False, *case)
    truth = reference.information(reference.covariance(kind, dx, dy, rho), dx)
    error = value.std() / np.sqrt(REPEATS)
    assert abs(value.mean() - truth) < 4 * error
    # The test can tell: what is taken off is many such errors.
    assert reference.bias(n, dx, dy) > 8 * error


@pytest.mark.slow
@pytest.mark.parametrize("copula", [False, True])
@pytest.mark.parametrize("case", LARGER)
def test_the_standard_error_is_the_deviation(copula, case):
    value, error = repeated(copula, *case)
    np.testing.assert_allclose(np.sqrt((error**2).mean()), value.std(), rtol=0.12)


def test_the_copulas_bias_is_small_in_large_samples():
    for rho, bound in [(0.0, 5e-4), (0.6, 4e-3)]:
        value, _ = repeated(True, 500, 1, 1, "dense", rho)
        assert abs(value.mean() + np.log1p(-(rho**2)) / 2) < bound


@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (5, 5), (25, 25)])
@pytest.mark.parametrize("estimator", BOTH, ids=name)
def test_known_truth(estimator, dx, dy):
    x, y = samples(10_000, dx, dy)
    truth = reference.information(reference.covariance("dense", dx, dy), dx)
    found = estimator(x, y)
    assert abs(found.value - truth) < 3 * found.std_error + 0.005
    assert found.std_error < 0.03


@pytest.mark.parametrize("estimator", BOTH, ids=name)
def test_symmetry_order_and_affine_maps(estimator):
    x, y = samples(200, 2, 3)
    with jax.enable_x64(True):
        found = estimator(x, y)
        assert_same(estimator(y, x), found, 1e-12)
        rows = np.random.default_rng(1).permutation(200)
        assert_same(estimator(x[rows], y[rows]), found, 1e-12)
        assert_same(estimator(x * [1e-6, 1e5] + [3, -1e5], -y), found, 1e-8)
        if type(estimator) is Gaussian:
            rng = np.random.default_rng(2)
            assert_same(estimator(x @ rng.normal(size=(2, 2)), y @ rng.normal(size=(3, 3)) + 7), found, 1e-9)
        else:
            assert_same(estimator(np.sinh(3 * x), np.arctan(y)), found, 1e-12)


def test_ranks():
    """Equal values share the mean of their ranks, whatever their order; zeros of both signs are equal."""
    x = np.array([3.0, 1.0, 3.0, -7.0, 3.0, 1.0, 0.0, -0.0])[:, None]
    with jax.enable_x64(True):
        np.testing.assert_allclose(normal_scores(jnp.asarray(x)), reference.normal_scores(x), atol=1e-12)
    many = np.random.default_rng(0).integers(0, 9, (500, 2)).astype(np.float32)
    np.testing.assert_allclose(normal_scores(jnp.asarray(many)), reference.normal_scores(many), atol=2e-6)


def test_heavy_tails_are_nothing_to_ranks():
    """The covariance's estimate is useless, the ranks' is that of the normal."""
    x, y = samples(2000, 1, 1, rho=0.75)
    truth = -np.log1p(-(0.75**2)) / 2
    warped = np.sinh(4 * x), y
    assert abs(GaussianCopula()(*warped).value - truth) < 0.05
    assert abs(Gaussian()(*warped).value - truth) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("estimator", BOTH, ids=name)
def test_jit_vmap_and_map(estimator):
    xs, ys = samples(40, 2, 3, size=(3,))
    xs[1] = 4.0  # a constant among others
    eager = [estimator(x, y) for x, y in zip(xs, ys, strict=True)]
    together, vmapped = jax.jit(jax.vmap(estimator))(xs, ys), jax.vmap(estimator)(xs, ys)
    mapped = jax.lax.map(lambda pair: estimator(*pair), (jnp.asarray(xs), jnp.asarray(ys)))
    jitted = jax.jit(estimator)
    for i, one in enumerate(eager):
        for batch in (together, vmapped, mapped):
            assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], batch), one)
        assert_same(jitted(xs[i], ys[i]), one)
    assert eager[1].value == 0


@pytest.mark.slow
@pytest.mark.parametrize("estimator", BOTH, ids=name)
def test_precision_is_kept(estimator):
    x, y = samples(100, 2, 2)
    single = estimator(x.astype(np.float32), y.astype(np.float32))
    with jax.enable_x64(True):
        double = estimator(x, y)
        assert double.value.dtype == double.std_error.dtype == jnp.float64
        kept = estimator(x.astype(np.float32), y.astype(np.float32))
        assert kept.value.dtype == kept.std_error.dtype == jnp.float32
    assert single.value.dtype == single.std_error.dtype == jnp.float32
    np.testing.assert_allclose(single.value, double.value, atol=1e-5)


@pytest.mark.parametrize("estimator", BOTH, ids=name)
def test_constants_and_copies(estimator):
    x, y = samples(200, 2, 2)
    found = estimator(x, y)
    assert not any(found.diagnostics.values())
    for pair in [(np.full((200, 2), 0.1), y), (x, np.full((200, 2), 1e9)), (np.zeros((200, 2)), np.zeros((200, 2)))]:
        constant = estimator(*pair)
        assert constant.value == constant.std_error == 0
        assert constant.diagnostics["constant"]
        assert not constant.diagnostics["deterministic"]
    wide = estimator(np.concatenate([x, np.full((200, 1), 0.1), x[:, :1]], axis=1), y)
    assert not wide.diagnostics["constant"]
    assert_same(wide, found, 2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", BOTH, ids=name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_function_is_infinite(estimator, dtype):
    x, y = (a.astype(dtype) for a in samples(300, 2, 1))
    with jax.enable_x64(dtype is np.float64):
        for pair in [(x, x), (x, -3 * x[:, 1:] + 100), (np.concatenate([x, y], axis=1), y), (x, x[:, ::-1])]:
            found = estimator(*pair)
            assert found.value == np.inf
            assert np.isnan(found.std_error)
            assert found.diagnostics["deterministic"]
        assert set(found.diagnostics) <= set(ADVICE)
        assert any("infinite" in line for line in found.advice())


def test_sums_of_columns_are_functions():
    x, _ = samples(300, 3, 1)
    with jax.enable_x64(True):
        assert Gaussian()(x, x @ [1.0, -2.0, 0.5]).value == np.inf
        assert np.isfinite(GaussianCopula()(x, x @ [1.0, -2.0, 0.5]).value)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_values_of_any_size(scale):
    x, y = (a.astype(np.float32) for a in samples(100, 1, 1))
    np.testing.assert_allclose(Gaussian()(x * np.float32(scale), y).value, Gaussian()(x, y).value, atol=1e-5)


@pytest.mark.parametrize("estimator", BOTH, ids=name)
def test_as_few_samples_as_can_be(estimator, unchecked):
    x, y = samples(6, 2, 3)
    found = estimator(x, y)
    assert np.isfinite(found.value)
    assert np.isfinite(found.std_error)
    with pytest.raises(InputError, match="x and y have 5 columns and 5 samples, more samples than columns"):
        estimator(x[:5], y[:5])


def test_integers_are_numbers():
    x, y = samples(100, 1, 1)
    x = np.round(4 * x).astype(int)
    assert_same(Gaussian()(x, y), Gaussian()(x.astype(np.float32), y.astype(np.float32)))


def test_gradients_of_samples():
    x, y = samples(12, 2, 2)
    of = jax.jit(lambda x: Gaussian()(x, y).value)
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(of))(x)
        np.testing.assert_allclose(gradient, finite_differences(of, x), rtol=1e-6, atol=1e-8)
        assert np.abs(gradient).max() > 0.01
        # A step along it raises the information.
        assert of(x + 0.1 * np.asarray(gradient)) > of(x) + 1e-3
        assert np.isfinite(jax.jit(jax.grad(of))(np.ones_like(x))).all()
        copula = jax.jit(jax.grad(lambda x: GaussianCopula()(x, y).value))(x)
        np.testing.assert_array_equal(copula, 0)


def test_smoothed_ranks_have_gradients():
    x, y = samples(12, 2, 2)
    of = jax.jit(lambda x: GaussianCopula(smoothing=0.3)(x, y).value)
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(of))(x)
        np.testing.assert_allclose(gradient, finite_differences(of, x), rtol=1e-6, atol=1e-8)
        assert of(x + 0.1 * np.asarray(gradient)) > of(x) + 1e-3
        # A column that is constant has the score 0 and nothing to climb.
        assert np.isfinite(jax.jit(jax.grad(of))(np.ones_like(x))).all()


def test_smoothed_ranks_tend_to_ranks():
    x, y = samples(300, 1, 1)  # more than one block of rows
    ranks = GaussianCopula()(x, y)
    assert_same(GaussianCopula(smoothing=1e-5)(x, y), ranks)
    assert abs(GaussianCopula(smoothing=0.1)(x, y).value - ranks.value) < 0.02


@pytest.mark.parametrize("smoothing", [0.0, -1.0, np.nan])
def test_a_smoothing_that_makes_no_sense(smoothing):
    with pytest.raises(InputError, match="smoothing must be"):
        GaussianCopula(smoothing=smoothing)(*samples(20, 1, 1))


@pytest.mark.parametrize("estimator", BOTH, ids=name)
def test_not_finite_is_nan_inside_a_transformation_of_samples(estimator):
    x, y = (a.astype(np.float32) for a in samples(30, 2, 1))
    x[7, 1] = np.inf
    found = jax.jit(estimator)(x, y)
    assert np.isnan(found.value)
    assert np.isnan(found.std_error)
    assert found.diagnostics["non_finite"]


@pytest.mark.parametrize("estimator", BOTH, ids=name)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((30, 2), np.nan), "x has a value that is not finite in row 0"),
        (np.array(["a"] * 30), "x must be real numbers"),
        (np.arange(30) % 2, "x is integers, which are labels: use KSG, or x.astype"),
        (np.zeros((30, 0)), "x has no column"),
        (np.zeros((30, 2, 2)), r"x must have shape \(n,\) or \(n, columns\)"),
        (np.zeros(29), "numbers of samples differ: x has 29, y has 30"),
        (np.zeros((0, 1)), "x has 0 samples"),
    ],
)
def test_bad_samples(unchecked, estimator, x, message):
    with pytest.raises(InputError, match=message):
        estimator(x, samples(30, 1, 1)[1])


@pytest.mark.parametrize(
    ("xx", "xy", "yy", "message"),
    [
        (np.eye(2), np.zeros((2, 3)), np.eye(2), r"covariances must be \(dx, dx\), \(dx, dy\), \(dy, dy\)"),
        (np.ones((2, 3)), np.zeros((2, 3)), np.eye(3), r"covariances must be \(dx, dx\)"),
        (1.0, 0.5, 1.0, r"covariances must be matrices, got shapes \(\), \(\), \(\)"),
        (np.eye(0), np.zeros((0, 1)), np.eye(1), "covariances must be matrices"),
        (np.eye(2), np.full((2, 1), np.nan), np.eye(1), "cov_xy has a value that is not finite"),
    ],
)
def test_bad_covariances(unchecked, xx, xy, yy, message):
    with pytest.raises(InputError, match=message):
        gaussian_information(xx, xy, yy)
