"""The closed form: one dimension by hand, the encoder's own informations, thresholds, and the discrete solver."""

import numpy as np
import pytest

from ibjax.bottleneck import gaussian, solve
from ibjax.errors import InputError
from ibjax.estimators import gaussian_information, gaussian_layer_information


def covariances(dx, dy, seed=0):
    a = np.random.default_rng(seed).normal(size=(dx + dy, dx + dy + 2))
    cov = a @ a.T
    return cov[:dx, :dx], cov[:dx, dx:], cov[dx:, dx:]


@pytest.mark.parametrize("rho", [0.3, 0.8, -0.95])
def test_one_dimension(rho):
    """I(T;Y) = -1/2 ln(1 - rho^2 (1 - e^-2I(X;T))), the curve of a Gaussian channel."""
    for beta in (0.5, 0.99 / rho**2, 1.01 / rho**2, 10 / rho**2):
        found = gaussian([[4.0]], [[2 * rho]], [[1.0]], beta)
        np.testing.assert_allclose(found.thresholds, [1 / rho**2])
        assert (found.complexity > 0) == (beta > 1 / rho**2)
        expected = -0.5 * np.log1p(-(rho**2) * -np.expm1(-2 * found.complexity))
        np.testing.assert_allclose(found.relevance, expected, atol=1e-14)
        assert found.projection.shape == (int(beta > 1 / rho**2), 1)


@pytest.mark.slow
@pytest.mark.parametrize(("dx", "dy"), [(1, 3), (3, 1), (4, 3)])
def test_the_projection_has_these_informations(dx, dy):
    xx, xy, yy = covariances(dx, dy)
    for beta in (3.0, 30.0, 1000.0):
        found = gaussian(xx, xy, yy, beta)
        a = found.projection
        if not len(a):
            assert found.complexity == found.relevance == 0
            continue
        tt = a @ xx @ a.T + np.eye(len(a))
        complexity = gaussian_layer_information(a.astype(np.float32), xx.astype(np.float32), 1.0)
        np.testing.assert_allclose(found.complexity, complexity, rtol=1e-4)
        np.testing.assert_allclose(found.relevance, gaussian_information(tt, a @ xy, yy), rtol=1e-3)
        np.testing.assert_allclose(found.lagrangian, found.complexity - beta * found.relevance)
    assert len(gaussian(xx, xy, yy, 1e6).projection) == min(dx, dy)


def test_no_projection_is_better():
    xx, xy, yy = covariances(2, 2)
    beta = 6.0
    best = gaussian(xx, xy, yy, beta)
    rng = np.random.default_rng(0)
    for _ in range(200):
        a = best.projection + 0.3 * rng.normal(size=best.projection.shape)
        tt = a @ xx @ a.T + np.eye(len(a))
        left = np.linalg.slogdet(tt)[1] / 2
        given_y = tt - a @ xy @ np.linalg.solve(yy, xy.T @ a.T)
        lagrangian = left - beta * (left - np.linalg.slogdet(given_y)[1] / 2)
        assert best.lagrangian <= lagrangian + 1e-12


def test_linear_maps_change_nothing():
    xx, xy, yy = covariances(3, 2)
    found = gaussian(xx, xy, yy, 8.0)
    a, b = np.random.default_rng(1).normal(size=(3, 3)), np.diag([5.0, -0.1])
    other = gaussian(a @ xx @ a.T, a @ xy @ b.T, b @ yy @ b.T, 8.0)
    np.testing.assert_allclose(other.thresholds, found.thresholds, rtol=1e-9)
    np.testing.assert_allclose([other.complexity, other.relevance], [found.complexity, found.relevance], atol=1e-10)


def test_a_grid_of_the_plane_comes_close():
    """The sign of Y hides little: a discrete source from a Gaussian one is solved below the Gaussian curve."""
    rho, n = 0.8, 24
    edges = np.linspace(-3.5, 3.5, n)
    density = np.exp(-(edges[:, None] ** 2 - 2 * rho * edges[:, None] * edges + edges**2) / (2 * (1 - rho**2)))
    table = density / density.sum()
    binary = np.stack([table[:, : n // 2].sum(axis=1), table[:, n // 2 :].sum(axis=1)], axis=1)
    found = solve(binary, 4.0)
    curve_there = -0.5 * np.log1p(-(rho**2) * -np.expm1(-2 * found.complexity))
    assert 0.5 * curve_there < found.relevance < curve_there


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([[1.0]], [[0.5]], [[1.0]], 0.0), "beta is 0.0: it must be positive"),
        (([[1.0]], [[0.5]], [[1.0]], np.inf), "beta is inf"),
        (([[1.0]], [[1.0]], [[1.0]], 2.0), "a canonical correlation is 1: I"),
        (([[0.0]], [[0.0]], [[1.0]], 2.0), "cov_xx is not positive definite"),
        (([[1.0]], [[0.5]], [[np.nan]], 2.0), "cov_yy has a value that is not finite"),
        (([[1.0, 0.5], [0.2, 1.0]], [[0.1], [0.1]], [[1.0]], 2.0), "cov_xx is not symmetric"),
        ((np.eye(2), [[0.5]], [[1.0]], 2.0), r"covariances must be \(dx, dx\)"),
    ],
)
def test_bad_input(unchecked, args, message):
    with pytest.raises(InputError, match=message):
        gaussian(*args)
