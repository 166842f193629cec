"""Information of Gaussian variables: exact from covariances, and estimated from samples or their ranks."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float
from scipy import special

from ibjax.errors import InputError
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.samples import as_columns, concrete, positive, same_length

HIGHEST = jax.lax.Precision.HIGHEST
"""Accelerators multiply in less than float32 by default, which changes a log-determinant."""

SAMPLE_SLACK = 8.0
"""How much more rounding leaves behind in products of samples than in a covariance that is given.

In trials with 20 to 100,000 samples, a column that was a linear function of others left up to 25 eps, whatever n.
"""


def gaussian_information(
    cov_xx: Float[Any, "dx dx"], cov_xy: Float[Any, "dx dy"], cov_yy: Float[Any, "dy dy"]
) -> Float[Array, ""]:
    """Exact information of jointly Gaussian variables, in nats: I(X;Y) = 1/2 ln(|cov_xx| |cov_yy| / |cov|).

    Computed from Cholesky factors as -1/2 ln|1 - C C^T|, C the whitened ``cov_xy``, whose singular values are the
    canonical correlations rho_i: I = -1/2 sum ln(1 - rho_i^2). It has gradients, and no scale of a variable matters.

    Args:
        cov_xx: covariance of X, symmetric.
        cov_xy: covariance of X and Y.
        cov_yy: covariance of Y, symmetric.

    Returns:
        Nats, in the precision of the arguments; use double precision above about 5 nats.

        Columns of X that are constant or a linear function of earlier ones add nothing, and so for Y: a singular
        ``cov_xx`` or ``cov_yy`` is no error. If a linear function of X determines one of Y, the information is
        infinite, and +inf is returned (to the precision: 1 - rho^2 below 4 (dx + dy) eps). NaN inside a
        transformation if the matrix of all is no covariance (not positive semidefinite) or not finite.

    Raises:
        InputError: the shapes do not belong together, or known values are not finite or no covariance.

    Example:
        >>> rho = 0.6
        >>> found = gaussian_information(jnp.array([[4.0]]), jnp.array([[2 * rho]]), jnp.array([[1.0]]))
        >>> f"{found:.6f}", f"{-0.5 * np.log(1 - rho**2):.6f}"
        ('0.223144', '0.223144')

    References:
        Kullback (1959), "Information theory and statistics", chapter 9.
        Cover & Thomas (2006), "Elements of information theory", theorem 8.4.1.
    """
    covariances = {"cov_xx": cov_xx, "cov_xy": cov_xy, "cov_yy": cov_yy}
    shapes = [jnp.shape(cov) for cov in covariances.values()]
    if any(len(shape) != 2 or 0 in shape for shape in shapes):
        raise InputError(
            f"covariances must be matrices, got shapes {', '.join(map(str, shapes))}: use vmap for a batch"
        )
    if shapes[0] != 2 * shapes[1][:1] or shapes[2] != 2 * shapes[1][1:]:
        raise InputError(f"covariances must be (dx, dx), (dx, dy), (dy, dy), got {', '.join(map(str, shapes))}")
    for name, cov in covariances.items():
        if concrete(cov) and not np.isfinite(np.asarray(cov)).all():
            raise InputError(f"{name} has a value that is not finite: remove the samples or columns it comes from")
    xx, xy, yy = (jnp.asarray(cov) for cov in (cov_xx, cov_xy, cov_yy))
    dtype = jnp.promote_types(jnp.result_type(xx, xy, yy), jnp.float32)
    found = _information(xx.astype(dtype), xy.astype(dtype), yy.astype(dtype)).information
    if concrete(found) and jnp.isnan(found):
        raise InputError("the matrix of all covariances is not positive semidefinite: take them from the same samples")
    return found


def gaussian_layer_information(
    weights: Float[Any, "units inputs"], cov_x: Float[Any, "inputs inputs"], noise_variance: Any
) -> Float[Array, ""]:
    """Exact I(X;T) of a linear layer T = W X + noise with Gaussian X, in nats: 1/2 ln|1 + W cov_x W^T / s^2|.

    For I(T;Y) with a Gaussian Y use `gaussian_information` with the covariances W cov_x W^T + s^2, W cov_xy and cov_yy.

    Args:
        weights: W; of a deep linear network the product of its layers' weights.
        cov_x: covariance of the input; it may be singular.
        noise_variance: s^2 > 0 of each unit. Without noise the information is infinite, so every number depends on
            s^2; Saxe et al. take 1.

    Returns:
        Nats, in the precision of the arguments.

    Raises:
        InputError: the noise variance is not positive (NaN inside a transformation), or the shapes differ.

    Example:
        >>> w = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> f"{gaussian_layer_information(w, jnp.eye(2), 1.0):.6f}"
        '1.039721'

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 3.
    """
    if jnp.ndim(weights) != 2 or jnp.shape(cov_x) != 2 * jnp.shape(weights)[1:]:
        raise InputError(
            f"weights must be (units, inputs) and cov_x (inputs, inputs), got {jnp.shape(weights)}, {jnp.shape(cov_x)}"
        )
    if concrete(noise_variance) and not noise_variance > 0:
        raise InputError(f"noise_variance must be positive, got {noise_variance}: without noise I(X;T) is infinite")
    weights, cov_x = jnp.asarray(weights), jnp.asarray(cov_x)
    signal = jnp.linalg.multi_dot([weights, cov_x, weights.T], precision=HIGHEST) / noise_variance
    factor = jnp.linalg.cholesky(jnp.eye(len(weights), dtype=signal.dtype) + signal)
    return jnp.where(noise_variance > 0, jnp.log(jnp.diagonal(factor)).sum(), jnp.nan)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Information of variables that are jointly Gaussian, from the covariances of the samples.

    I = 1/2 ln(|S_xx| |S_yy| / |S|) - b. The determinant of a sample covariance has a mean of its own: with nu = n - 1,
    E ln|S| = ln|cov| + d ln(2 / nu) + sum_{i<d} psi((nu - i) / 2), so that the bias is, whatever the covariance,

        b = 1/2 [sum_{i<dx} + sum_{i<dy} - sum_{i<dx+dy}] psi((nu - i) / 2)   (about dx dy / 2n),

    and the corrected estimate has no bias at all for Gaussian samples. It may be negative. Dividing by n or n - 1
    makes no difference.

    It is right for Gaussian variables in any dimension and for n as small as dx + dy + 1. Of others it measures the
    linear dependence alone, which can be more or less than the information: see `GaussianCopula` for margins that are
    not normal, `ibjax.estimators.KSG` for dependence without correlation and for labels.

    The standard error is that of Gaussian samples, [(sum rho_i^2 - dx dy / nu)_+ / nu + v]^(1/2), with the squared
    canonical correlations of the samples, the first term the large-sample variance and v the exact one for
    independent variables. In simulations with 1+1 to 25+25 columns and n from 4 (dx + dy) its mean was within 10 % of
    the estimate's deviation, and a third above it for independent variables in 1+1 dimensions.

    The value has gradients with respect to the samples.

    Diagnostics:
        constant: x or y is constant: the value is 0. A column that is constant, or a linear function of earlier
            ones, among others that are not is left out.
        deterministic: a linear function of x determines one of y, to the precision of the samples: the value is +inf
            and the standard error NaN. In single precision that is so above about 5.8 nats in one dimension, in double
            precision above 16.
        non_finite: a sample is not finite: the value is NaN.

    Attributes:
        bias_correction: whether b is taken off. False is the maximum-likelihood estimate.

    Raises:
        InputError: from a call: samples that are no finite numbers, integer labels, numbers of samples that differ, or
            no more samples than columns.

    Example:
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 1000, 3))
        >>> found = Gaussian()(x, x + 2 * noise)
        >>> abs(found.value - 1.5 * np.log(1.25)) < 2 * found.std_error
        Array(True, dtype=bool)

    References:
        Goodman (1963), "The distribution of the determinant of a complex Wishart distributed matrix".
        Misra, Singh & Demchuk (2005), "Estimation of the entropy of a multivariate normal distribution".
        Anderson (2003), "An introduction to multivariate statistical analysis", sections 7.5 and 12.4.
    """

    bias_correction: bool = dataclasses.field(default=True, metadata={"static": True})

    def checked(self):
        """Return self if its setting makes sense, else raise `InputError`."""
        if not isinstance(self.bias_correction, bool):
            raise InputError(f"bias_correction must be True or False, got {self.bias_correction!r}")
        return self

    def __call__(self, x: Any, y: Any, key: Any = None) -> MIEstimate:
        """Estimate I(X;Y).

        Args:
            x: samples of shape (n,) or (n, dx), n > dx + dy.
            y: likewise.
            key: not used.

        Returns:
            The estimate and its standard error, in the precision of the samples.
        """
        del key
        x, y = self.checked()._transformed(*_samples(x, y))
        return _of_samples(x, y, self.bias_correction)

    def _transformed(self, x: Array, y: Array) -> tuple[Array, Array]:
        """What the covariances are taken of."""
        return x, y


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GaussianCopula(Gaussian):
    """Information of variables whose copula is Gaussian: `Gaussian` of the normal scores of the ranks.

    Each column becomes Phi^-1(rank / (n + 1)), Phi the normal distribution's function. That changes no column's
    order, hence not the information, so that any margins are allowed: heavy tails, skew, different scales. For other
    copulas the value is a lower bound, up to the errors of the samples.

    Equal values get the mean of their ranks (published code breaks ties by their place in the file, which makes a
    constant column informative). Many ties leave scores that are not normal, and a value that is too small for
    discrete data: use `ibjax.estimators.PlugIn` for those.

    It measures no layer of a network: a deterministic layer has a finite I(X;T) only with noise of a stated size, and
    ranks have no size. `ibjax.estimators.NoisyGaussian` measures layers.

    The bias correction is that of `Gaussian`. It is not exact here: ranks pull strong correlations in, so that the
    estimate is low by 0.09 nat at rho = 0.95 and n = 50, by 0.002 at rho = 0.8 and n = 1000. The standard error
    is that of `Gaussian` too: normal scores lose nothing in large samples.

    A rank does not change with a value, so the gradient is 0. As a loss take ``smoothing``, with which the rank of x_i
    is 1/2 + sum_j Phi((x_i - x_j) / h), h the smoothing times the column's standard deviation: a function of the values
    with gradients, that tends to the rank as the smoothing goes to 0. It costs n^2 a column, and heavy tails matter
    again as far as h reaches.

    Diagnostics, Raises: as `Gaussian`.

    Attributes:
        bias_correction: whether the bias of a Gaussian estimate is taken off.
        smoothing: width of the smoothed ranks in standard deviations, 0.1 is a good one; None for ranks.

    Example:
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 1000))
        >>> y = x + 2 * noise
        >>> GaussianCopula()(x, y).value == GaussianCopula()(jnp.exp(x), y**3).value
        Array(True, dtype=bool)

    References:
        Ince et al. (2017), "A statistical framework for neuroimaging data analysis based on mutual information
        estimated via a Gaussian copula".
        Klaassen & Wellner (1997), "Efficient estimation in the bivariate normal copula model".
    """

    smoothing: Array | float | None = None

    def checked(self):
        """Return self if its settings make sense, else raise `InputError`."""
        super().checked()
        if self.smoothing is not None:
            positive("smoothing", self.smoothing, "0.1 is a good one, None takes ranks")
        return self

    def _transformed(self, x: Array, y: Array) -> tuple[Array, Array]:
        finite = jnp.isfinite(x).all() & jnp.isfinite(y).all()
        smoothing = self.smoothing
        scores = normal_scores if smoothing is None else functools.partial(smooth_scores, smoothing=smoothing)
        return jnp.where(finite, scores(x), jnp.nan), jnp.where(finite, scores(y), jnp.nan)


@jax.jit
def normal_scores(x: Float[Array, "n columns"]) -> Float[Array, "n columns"]:
    """``Phi^-1(rank / (n + 1))`` of every column, equal values with the mean of their ranks."""

    def scores(column):
        ordered = jnp.sort(column)
        twice = jnp.searchsorted(ordered, column, side="left") + jnp.searchsorted(ordered, column, side="right") + 1
        return ndtri(twice.astype(x.dtype) / (2 * (x.shape[0] + 1)))

    return jax.vmap(scores, in_axes=1, out_axes=1)(x)


@jax.jit
def smooth_scores(x: Float[Array, "n columns"], smoothing: Any) -> Float[Array, "n columns"]:
    """`normal_scores` of ranks that grow smoothly with the values; see `GaussianCopula`."""
    x = _standardised(x) * jnp.sqrt(jnp.asarray(len(x), x.dtype)) / smoothing

    def scores(row: Array) -> Array:
        return ndtri((0.5 + ndtr(row - x).sum(axis=0)) / (len(x) + 1))

    # A row at a time would be slow, all rows at once large.
    return jax.lax.map(jax.checkpoint(scores), x, batch_size=min(len(x), 256))


def _samples(x: Any, y: Any) -> tuple[Array, Array]:
    x, y = as_columns("x", x), as_columns("y", y)
    n, columns = same_length(x=x, y=y), x.shape[1] + y.shape[1]
    if n <= columns:
        raise InputError(f"x and y have {columns} columns and {n} samples, more samples than columns are needed")
    dtype = jnp.promote_types(jnp.promote_types(x.dtype, y.dtype), jnp.float32)
    return x.astype(dtype), y.astype(dtype)


@functools.partial(jax.jit, static_argnums=2)
def _of_samples(x: Array, y: Array, bias_correction: bool) -> MIEstimate:
    (n, dx), dy = x.shape, y.shape[1]
    finite = jnp.isfinite(x).all() & jnp.isfinite(y).all()
    constant = (x == x[0]).all() | (y == y[0]).all()
    x, y = _standardised(x), _standardised(y)
    product = functools.partial(jnp.matmul, precision=HIGHEST)
    found = _information(product(x.T, x), product(x.T, y), product(y.T, y), slack=SAMPLE_SLACK)

    rank = found.rank_x, found.rank_y
    value = found.information
    if bias_correction:
        value = value - _table(special.digamma, n - 1, dx, dy, x.dtype)[rank] / 2
    null = -_table(functools.partial(special.polygamma, 1), n - 1, dx, dy, x.dtype)[rank] / 4
    squares = jax.lax.stop_gradient(found.squares) - (rank[0] * rank[1]).astype(x.dtype) / (n - 1)
    error = jnp.sqrt(jnp.maximum(squares, 0) / (n - 1) + null)
    infinite = jnp.isposinf(found.information)
    return MIEstimate(
        jnp.where(finite, jnp.where(constant, 0.0, value), jnp.nan),
        jnp.where(finite & ~infinite, jnp.where(constant, 0.0, error), jnp.nan),
        {"non_finite": ~finite, "constant": constant, "deterministic": finite & ~constant & infinite},
    )


def _table(psi: Any, nu: int, dx: int, dy: int, dtype: Any) -> Array:
    """``[sum_{i<p} + sum_{i<q} - sum_{i<p+q}] psi((nu - i) / 2)`` for p <= dx and q <= dy, in double precision."""
    sums = np.concatenate([[0.0], np.cumsum(psi((nu - np.arange(dx + dy)) / 2))])
    p, q = np.ogrid[: dx + 1, : dy + 1]
    return jnp.asarray(sums[p] + sums[q] - sums[p + q], dtype)


def _standardised(x: Array) -> Array:
    """Centred columns of unit sum of squares; exactly zero where a column is constant."""
    largest = jnp.abs(x).max(axis=0)
    x = x / jnp.where(largest > 0, largest, 1.0)  # no sum overflows
    centred = jnp.where((x != x[0]).any(axis=0), x - x.mean(axis=0), 0.0)
    length = (centred**2).sum(axis=0)
    return centred / jnp.sqrt(jnp.where(length > 0, length, 1.0))


class _Information(NamedTuple):
    information: Array
    squares: Array
    """Sum of the squared canonical correlations."""
    rank_x: Array
    rank_y: Array


@functools.partial(jax.jit, static_argnames="slack")
def _information(cov_xx: Array, cov_xy: Array, cov_yy: Array, slack: float = 1.0) -> _Information:
    """The information and what its error depends on; what is within ``4 slack (dx + dy) eps`` of zero is zero."""
    if cov_xy.shape[0] > cov_xy.shape[1]:
        found = _information(cov_yy, cov_xy.T, cov_xx, slack)
        return found._replace(rank_x=found.rank_y, rank_y=found.rank_x)
    tolerance = 4 * slack * sum(cov_xy.shape) * float(jnp.finfo(cov_xy.dtype).eps)
    x, y = (_whitener(cov, tolerance) for cov in (cov_xx, cov_yy))
    whitened = y.apply(x.apply(cov_xy).T).T
    square = jnp.matmul(whitened, whitened.T, precision=HIGHEST)
    rest = _whitener(jnp.eye(len(square), dtype=square.dtype) - square, tolerance, scale=False)
    information = jnp.where(rest.kept.all(), -jnp.log(jnp.diagonal(rest.factor)).sum(), jnp.inf)
    valid = x.valid & y.valid & rest.valid & jnp.isfinite(cov_xy).all()
    return _Information(jnp.where(valid, information, jnp.nan), jnp.trace(square), x.kept.sum(), y.kept.sum())


class _Whitener(NamedTuple):
    factor: Array
    """Cholesky factor of the correlations, those of columns left out replaced by the unit matrix's."""
    deviation: Array
    kept: Array
    """Which columns are no linear function of earlier ones."""
    valid: Array

    def apply(self, cov: Array) -> Array:
        """Covariances of the whitened variable; zero for columns left out."""
        cov = jnp.where(self.kept[:, None], cov / self.deviation[:, None], 0.0)
        return solve_triangular(self.factor, cov, lower=True)


def _whitener(cov: Array, tolerance: float, *, scale: bool = True) -> _Whitener:
    variance = jnp.diagonal(cov)
    deviation = jnp.sqrt(jnp.where(variance > 0, variance, 1.0)) if scale else jnp.ones_like(variance)
    correlation = cov / deviation / deviation[:, None]
    kept, valid = _independent(jax.lax.stop_gradient(correlation), tolerance)
    eye = jnp.eye(len(cov), dtype=cov.dtype)
    both = kept & kept[:, None]
    return _Whitener(jnp.linalg.cholesky(jnp.where(both, correlation, eye)), deviation, kept, valid)


def _independent(matrix: Array, tolerance: float) -> tuple[Array, Array]:
    """Which columns of a positive semidefinite matrix earlier ones do not determine, and whether it is one.

    Cholesky's factorisation, leaving out the columns whose pivot is within the tolerance of zero.
    """

    def step(j, carry):
        factor, pivots = carry
        column = matrix[:, j] - jnp.matmul(factor, factor[j], precision=HIGHEST)
        pivot = column[j]
        keep = pivot > tolerance
        column = jnp.where(keep, column / jnp.sqrt(jnp.where(keep, pivot, 1.0)), 0.0)
        return factor.at[:, j].set(column), pivots.at[j].set(pivot)

    start = jnp.zeros_like(matrix), jnp.zeros_like(matrix[0])
    _, pivots = jax.lax.fori_loop(0, len(matrix), step, start)
    # Beyond what rounding explains, a negative pivot means that the matrix is no covariance.
    return pivots > tolerance, (pivots > -100 * tolerance).all() & jnp.isfinite(matrix).all()
