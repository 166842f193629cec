"""The information bottleneck of jointly Gaussian variables, in closed form."""

from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.batch import batched
from ibjax.bottleneck.table import numbers
from ibjax.errors import InputError


class GaussianBottleneck(NamedTuple):
    """The optimal T = A X + noise of unit covariance; informations in nats.

    Of several problems every field is an array with their axes first, directions not in use filled up with zeros.

    Attributes:
        beta: the trade-off.
        complexity: I(X;T).
        relevance: I(T;Y).
        lagrangian: I(X;T) - beta I(T;Y).
        projection: A, one row for every direction in use, shape (rank, dx).
        thresholds: betas at which the directions come in, 1 / rho_i^2, increasing; infinite where rho_i = 0.
    """

    beta: float
    complexity: float
    relevance: float
    lagrangian: float
    projection: np.ndarray
    thresholds: np.ndarray


@batched(cov_xx=2, cov_xy=2, cov_yy=2, beta=0)
def gaussian(cov_xx: Any, cov_xy: Any, cov_yy: Any, beta: Any) -> GaussianBottleneck:
    """Solve the bottleneck of jointly Gaussian X and Y: project on the canonical directions, with noise.

    With lambda_i = 1 - rho_i^2, rho_i the canonical correlations, direction i is in use above beta_i = 1 / rho_i^2:

        I(X;T) = 1/2 sum ln((beta - 1) (1 - lambda_i) / lambda_i),   I(T;Y) = I(X;T) - 1/2 sum ln(beta (1 - lambda_i)),

    sums over beta_i < beta. Rows of A are alpha_i v_i, v_i the left eigenvectors of cov_x|y cov_xx^-1 and alpha_i^2 =
    (beta (1 - lambda_i) - 1) / (lambda_i v_i cov_xx v_i). No other encoder is better, Gaussian or not.

    Args:
        cov_xx: covariance of X, shape (..., dx, dx), positive definite.
        cov_xy: covariance of X and Y, shape (..., dx, dy).
        cov_yy: covariance of Y, shape (..., dy, dy), positive definite.
        beta: positive; multiplies I(T;Y) in nats. One, or one for each problem of the leading axes.

    Returns:
        The solution.

    Raises:
        InputError: shapes do not fit, a covariance is not positive definite (drop columns that are constant or a
            function of others), a correlation is 1 (I(X;Y) is infinite), or beta is not positive.

    Example:
        >>> found = gaussian([[1.0]], [[0.8]], [[1.0]], beta=4.0)
        >>> f"{found.complexity:.4f} {found.relevance:.4f}", found.thresholds.round(4)
        ('0.8370 0.3670', array([1.5625]))

    References:
        Chechik, Globerson, Tishby & Weiss (2005), "Information bottleneck for Gaussian variables", theorem 3.1.
        Globerson & Tishby (2004), "On the optimality of the Gaussian information bottleneck curve".
    """
    xx, xy, yy = (np.atleast_2d(numbers("covariances", a, "numbers")) for a in (cov_xx, cov_xy, cov_yy))
    if xx.shape != 2 * xy.shape[:1] or yy.shape != 2 * xy.shape[1:]:
        raise InputError(
            f"covariances must be (dx, dx), (dx, dy), (dy, dy), got {np.shape(cov_xx)}, {np.shape(cov_xy)}, "
            f"{np.shape(cov_yy)}"
        )
    if not 0 < beta < np.inf:
        raise InputError(f"beta is {beta}: it must be positive and finite")
    roots = [_root(name, cov) for name, cov in (("cov_xx", xx), ("cov_yy", yy))]
    whitened = np.linalg.solve(roots[0], np.linalg.solve(roots[1], xy.T).T)
    left, rho, _ = np.linalg.svd(whitened)
    if not rho.max() < 1 - 1e-12:
        raise InputError(f"a canonical correlation is {rho.max():.6g}: I(X;Y) is infinite, add noise to X or Y")
    squares = np.zeros(len(xx))
    squares[: len(rho)] = rho**2
    with np.errstate(divide="ignore"):
        thresholds = 1 / squares
    used = beta * squares > 1
    square = squares[used]
    complexity = 0.5 * float(np.log((beta - 1) * square / (1 - square)).sum())
    relevance = complexity - 0.5 * float(np.log(beta * square).sum())
    # v_i cov_xx v_i = 1 for the rows v_i of left^T root^-1.
    directions = np.linalg.solve(roots[0].T, left[:, used]).T
    projection = np.sqrt((beta * square - 1) / (1 - square))[:, None] * directions
    return GaussianBottleneck(
        float(beta), complexity, relevance, complexity - float(beta) * relevance, projection, thresholds
    )


def _root(name: str, cov: np.ndarray) -> np.ndarray:
    if not np.isfinite(cov).all():
        raise InputError(f"{name} has a value that is not finite")
    if not np.allclose(cov, cov.T, rtol=1e-9, atol=1e-12):
        raise InputError(f"{name} is not symmetric: a covariance is")
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        raise InputError(f"{name} is not positive definite: drop columns that are functions of others") from None
