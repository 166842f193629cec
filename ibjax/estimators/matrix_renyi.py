"""Matrix-based Renyi information (Sanchez Giraldo, Rao & Principe 2015; Yu et al. 2019): spectra of kernel matrices."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ibjax.errors import InputError, choose
from ibjax.estimators.base import LayerInformation, MIEstimate, Span
from ibjax.estimators.pairs import centred, squared_distances
from ibjax.estimators.samples import as_layer_labels, as_variable, is_count, positive, same_length

BANDWIDTHS = ("silverman", "alignment")
GRID = tuple(np.geomspace(0.1, 10, 75).tolist())
"""Bandwidths that ``"alignment"`` tries, in mean distances: the range and number of Wickstrom et al. (2019)."""

SATURATED = 0.95
"""Share of ln n above which the joint kernel matrix is nearly the identity, whatever the samples."""


@dataclasses.dataclass(frozen=True)
class MatrixRenyi:
    """Matrix-based Renyi information of order alpha, in nats. It is **not Shannon's**, and no estimate of it.

    With K_ij = exp(-|x_i - x_j|^2 / 2 sigma^2), L the same for y, A = K/n, B = L/n and o the product entry by entry,

        S(A) = 1/(1 - alpha) ln tr(A^alpha),           I(X;Y) = S(A) + S(B) - S(A o B / tr(A o B)).

    S is a functional of the Gram matrix with the axioms of an entropy, between 0 (all samples equal) and ln n (all far
    apart). It needs no density, but its value is set by the bandwidth: as sigma shrinks every S tends to ln n, as it
    grows to 0, and it does not converge to Shannon's information as n grows. Compare values of one bandwidth rule, one
    alpha and one n only.

    A Gaussian kernel of several columns is the product of theirs, so this is the multivariate form of Yu et al. too.
    Integer labels (n,) have the ideal kernel, 1 for equal and 0 for different labels: S is then exactly the Renyi
    entropy of their frequencies. Rows p(y|x) in `layer` have sum_y sqrt(p(y|x_i) p(y|x_j)), the same where they are
    certain.

    `layer`: every input is a cell of its own, so its kernel is the identity, and I(X;T) = S(T).

    Bandwidth, for x and y each:
        ``"silverman"``: s [4 / ((d + 2) n)]^(1/(d + 4)), s^2 the mean variance of the d columns.
        ``"alignment"``: of 75 multiples (0.1 to 10) of the mean distance that with the largest <K, L> / |K| |L|, L
            the kernel of the labels, which it needs. Gradients take it as fixed.
        a number: sigma itself, in units of the samples.

    Cost: eigenvalues of n x n matrices, in double precision: O(n^3) time and a few times n^2 numbers of memory, which
    nothing avoids, for each lane of a batch (`jax.lax.map` holds one at a time). Order 2 needs none, as tr(A^2) is the
    sum of squares.

    Differentiable in the samples, with d tr(A^alpha) = alpha tr(A^(alpha - 1) dA), which is well defined where
    eigenvalues coincide. (The eigenvalues themselves have no derivative there.) Below order 1 the slope is infinite
    where an eigenvalue is 0, as of duplicated samples, and rounding of small ones matters: single precision is right
    to about 0.001 there, elsewhere to 1e-5.

    Diagnostics, scalars:
        ``non_finite``: the value is NaN.
        ``constant``: x or y is constant, the value is 0.
        ``saturated``: the joint entropy is above 0.95 ln n: hardly any two samples are similar, so the value is
            S(A) + S(B) - ln n and says nothing of dependence. Take a larger bandwidth or fewer columns.
        ``ceiling``: ln n.
        ``entropy_x``, ``entropy_y``: S(A) and S(B).
        ``bandwidth_x``, ``bandwidth_y``: sigma, 0 for labels.

    Attributes:
        alpha: order, positive and not 1. 1.01 is the studies', to resemble Shannon's.
        bandwidth: see above.
        limit: largest n that is accepted, so that a mistake does not fill the memory.

    When it fails:
        * Several columns: Silverman's bandwidth is much smaller than the distances there, and from 3 + 3 normal columns
          on the entropy saturates. Take a number near the mean distance, or ``"alignment"``.
        * Independent samples: the value is not 0. For normal columns, 1 + 1 and n = 300 it is 0.20, and 0.10 at 1000.
          Subtract that of shuffled samples.

    Raises:
        InputError: from `checked`, a call and `layer`: settings or samples that make no sense, more than ``limit``
            samples, or ``"alignment"`` without labels.

    Example:
        >>> x = jnp.array([0.0, 0.0, 9.0, 9.0])
        >>> found = MatrixRenyi(bandwidth=0.5)(x, jnp.array([0, 0, 1, 1]))
        >>> f"{found.value:.5f}", f"{np.log(2):.5f}"
        ('0.69315', '0.69315')

    References:
        Sanchez Giraldo, Rao & Principe (2015), equations 7, 9 and 10. Yu, Sanchez Giraldo, Jenssen & Principe (2019),
        "Multivariate extension of matrix-based Renyi's alpha-order entropy functional". Wickstrom et al. (2019),
        "Information plane analysis of deep neural networks via matrix-based Renyi's entropy and tensor kernels",
        equation 10. Silverman (1986), equation 4.14. Jebara, Kondor & Howard (2004), section 3.1 (rows p(y|x)).
    """

    alpha: float = 1.01
    bandwidth: Any = "silverman"
    limit: int = 4096

    @property
    def needs_span(self) -> bool:
        """Whether the range of the whole run is needed: it is not."""
        return False

    def checked(self) -> "MatrixRenyi":
        """Return self if its settings make sense, else raise `InputError`; a number given as text becomes one."""
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, int | float | np.number):
            raise InputError(f"alpha must be a number, got {self.alpha!r}: 1.01 is the studies' choice")
        if not (np.isfinite(self.alpha) and self.alpha > 0 and self.alpha != 1):
            raise InputError(f"alpha must be positive and not 1, got {self.alpha}: 1.01 is the studies' choice")
        if not is_count(self.limit):
            raise InputError(f"limit must be a positive whole number, got {self.limit!r}: 4096 samples are the default")
        if isinstance(self.bandwidth, str):
            if self.bandwidth in BANDWIDTHS:
                return self
            try:
                return dataclasses.replace(self, bandwidth=float(self.bandwidth)).checked()
            except InputError:
                raise
            except ValueError:
                choose("bandwidth", self.bandwidth, (*BANDWIDTHS, "a number"))
        positive("bandwidth", self.bandwidth, "or take 'silverman'")
        return self

    def __str__(self) -> str:
        """Name and convention, as `ibjax.estimators.parse` reads it."""
        width = self.bandwidth if isinstance(self.bandwidth, str) else float(self.bandwidth)
        return f"renyi:alpha={float(self.alpha)},bandwidth={width}"

    def __call__(self, x: Any, y: Any, key: Any = None) -> MIEstimate:
        """Return I(X;Y) of n pairs of rows; ``std_error`` is None.

        Args:
            x: samples (n, columns) or (n,), or integer labels (n,).
            y: likewise.
            key: not used, nothing is random.
        """
        del key
        settings = self.checked()
        x, y = as_variable("x", x), as_variable("y", y)
        settings._check_number("x", same_length(x=x, y=y))
        if settings.bandwidth == "alignment" and x.ndim == 2 and y.ndim == 2:
            raise InputError("bandwidth 'alignment' needs labels: give y as integers (n,), or use 'silverman'")
        return _estimate(settings, x, y)

    def layer(
        self,
        t: Float[Array | np.ndarray, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) = S(T) and I(T;Y) in nats of activations; see `ibjax.estimators.LayerEstimator`."""
        del classes, span
        t, labels = jnp.asarray(t), as_layer_labels(labels)
        settings = self.checked()
        settings._check_number("the layer", t.shape[0])
        return _layer(settings, t, labels)

    def _check_number(self, name: str, n: int) -> None:
        if n > self.limit:
            raise InputError(
                f"{name} has {n} samples and limit is {self.limit}: kernel matrices take n^2 memory and n^3 time, take "
                f"{self.limit} samples at random or set limit={n}"
            )


def _flatten(e: MatrixRenyi) -> tuple[tuple[Any], tuple[Any, ...]]:
    """A number is a leaf, so that another one compiles nothing; the name of a rule cannot be one."""
    named = isinstance(e.bandwidth, str)
    return (None if named else e.bandwidth,), (e.alpha, e.bandwidth if named else None, e.limit)


def _unflatten(static: tuple[Any, ...], leaves: tuple[Any]) -> MatrixRenyi:
    alpha, rule, limit = static
    return MatrixRenyi(alpha, leaves[0] if rule is None else rule, limit)


jax.tree_util.register_pytree_node(MatrixRenyi, _flatten, _unflatten)


# --- Estimates ---------------------------------------------------------------------------------------------


@jax.jit
def _estimate(settings: MatrixRenyi, x: Array, y: Array) -> MIEstimate:
    columns = [a.dtype for a in (x, y) if a.ndim == 2]
    dtype = jnp.result_type(*columns) if columns else jnp.result_type(float)
    of_labels = next((_similarity(a, dtype) for a in (y, x) if a.ndim == 1), None)
    of_x, of_y = (_kernel(settings, a, of_labels, dtype) for a in (x, y))
    s_x, s_y, s_both = (
        matrix_entropy(a, settings.alpha) for a in (of_x.matrix, of_y.matrix, of_x.matrix * of_y.matrix)
    )
    ceiling = jnp.log(jnp.asarray(x.shape[0], s_both.dtype))
    constant, finite = of_x.constant | of_y.constant, of_x.finite & of_y.finite
    numbers = {
        "ceiling": ceiling,
        "entropy_x": jnp.where(finite, s_x, jnp.nan),
        "entropy_y": jnp.where(finite, s_y, jnp.nan),
        "bandwidth_x": of_x.sigma,
        "bandwidth_y": of_y.sigma,
    }
    diagnostics = {
        "non_finite": ~finite,
        "constant": constant,
        "saturated": ~constant & (s_both > SATURATED * ceiling),
        **{name: jax.lax.stop_gradient(a).astype(dtype) for name, a in numbers.items()},
    }
    value = jnp.where(finite, jnp.where(constant, 0, s_x + s_y - s_both), jnp.nan)
    return MIEstimate(value.astype(dtype), None, diagnostics)


@jax.jit
def _layer(settings: MatrixRenyi, t: Array, labels: Array) -> LayerInformation:
    of_labels = _similarity(labels, t.dtype)
    k = _kernel(settings, t, of_labels, t.dtype)
    s_t, s_y, s_both = (matrix_entropy(a, settings.alpha) for a in (k.matrix, of_labels, k.matrix * of_labels))
    found = (s_t, jnp.where(k.constant, 0, s_t + s_y - s_both))
    return LayerInformation(*(jnp.where(k.finite, a, jnp.nan).astype(t.dtype) for a in found))


# --- Kernels -----------------------------------------------------------------------------------------------


class _Kernel(NamedTuple):
    """A Gram matrix with ones on its diagonal, its bandwidth, and what its samples are like."""

    matrix: Float[Array, "n n"]
    sigma: Float[Array, ""]
    constant: Bool[Array, ""]
    finite: Bool[Array, ""]


def _kernel(settings: MatrixRenyi, a: Array, of_labels: Array | None, dtype: Any) -> _Kernel:
    """The Gaussian kernel of samples, or the ideal kernel of labels."""
    constant = (a == a[0]).all()
    if a.ndim == 1:
        return _Kernel(_similarity(a, dtype), jnp.zeros((), dtype), constant, jnp.ones((), bool))
    a = a.astype(jnp.promote_types(a.dtype, jnp.float32))
    finite = jnp.isfinite(a).all()
    a = jnp.where(jnp.isfinite(a), a, 0)
    distance = _squared_distances(a)
    match settings.bandwidth:
        case "silverman":
            sigma = _silverman(a)
        case "alignment":
            assert of_labels is not None, "checked by the callers"
            sigma = _aligned(distance, of_labels.astype(a.dtype))
        case number:
            sigma = jnp.asarray(number, a.dtype)
            finite &= sigma > 0  # not known before, inside a transformation
    sigma = jnp.where(sigma > 0, sigma, 1)
    return _Kernel(jnp.exp(-0.5 * distance / sigma**2), sigma, constant, finite)


def _similarity(labels: Array, dtype: Any) -> Float[Array, "n n"]:
    """1 for equal labels and 0 for others; or of rows p(y|x) sum_y sqrt(p(y|x_i) p(y|x_j))."""
    dtype = jnp.promote_types(dtype, jnp.float32)
    if labels.ndim == 1:
        return (labels[:, None] == labels).astype(dtype)
    root = jnp.sqrt(labels.astype(dtype))
    overlap = jnp.matmul(root, root.T, precision="highest")
    # Exactly 1 for an input with itself, whatever its row sums to.
    size = jnp.sqrt(jnp.diagonal(overlap))
    return jnp.where(jnp.eye(len(labels), dtype=bool), 1, overlap / (size[:, None] * size))


def _silverman(a: Float[Array, "n d"]) -> Float[Array, ""]:
    n, d = a.shape
    variance = (centred(a) ** 2).sum() / ((n - 1) * d)
    # The root has no derivative at 0, and a constant sample needs none.
    root = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    return jnp.where(variance > 0, root, 0) * (4 / ((d + 2) * n)) ** (1 / (d + 4))


def _aligned(distance: Float[Array, "n n"], ideal: Float[Array, "n n"]) -> Float[Array, ""]:
    """The bandwidth of the grid whose kernel is most like the ideal one."""
    distance, ideal = jax.lax.stop_gradient((distance, ideal))
    grid = jnp.asarray(GRID, distance.dtype) * jnp.sqrt(distance).mean()

    def alignment(sigma: Array) -> Array:
        k = jnp.exp(-0.5 * distance / jnp.where(sigma > 0, sigma, 1) ** 2)
        return (k * ideal).sum() / jnp.sqrt((k * k).sum())

    return grid[jnp.argmax(jax.lax.map(alignment, grid))]


@jax.custom_vjp
def _squared_distances(a: Float[Array, "n d"]) -> Float[Array, "n n"]:
    a = centred(a)
    return squared_distances(a, jnp.arange(len(a)), a.T)


def _squared_forward(a: Array) -> tuple[Array, Array]:
    return _squared_distances(a), a


def _squared_backward(a: Array, g: Array) -> tuple[Array]:
    """sum_ij g_ij |a_i - a_j|^2 has the derivative 2 sum_j (g_ij + g_ji) (a_i - a_j)."""
    a, g = centred(a), g + g.T
    return (2 * (g.sum(axis=1)[:, None] * a - jnp.matmul(g, a, precision="highest")),)


_squared_distances.defvjp(_squared_forward, _squared_backward)


# --- Entropy -----------------------------------------------------------------------------------------------


def matrix_entropy(kernel: Float[Array, "n n"], alpha: float) -> Float[Array, ""]:
    """S(A) = 1/(1 - alpha) ln tr(A^alpha) in nats of A = kernel / n, positive semidefinite with ones on its diagonal.

    Args:
        kernel: a Gram matrix; differentiable in it.
        alpha: order, positive and not 1.

    Example:
        >>> f"{matrix_entropy(jnp.eye(4), 1.01):.5f}", f"{np.log(4):.5f}"
        ('1.38629', '1.38629')
    """
    if alpha == 2:
        return -jnp.log((kernel**2).mean())
    return _spectral_entropy(kernel, alpha)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spectral_entropy(kernel: Array, alpha: float) -> Array:
    @jax.custom_batching.sequential_vmap
    def value(kernel: Array) -> Array:
        with jax.enable_x64(True):
            return _of_spectrum(jnp.linalg.eigvalsh(_in_double(kernel)), alpha).astype(kernel.dtype)

    return value(kernel)


def _entropy_forward(kernel: Array, alpha: float) -> tuple[Array, Array]:
    @jax.custom_batching.sequential_vmap
    def value_and_derivative(kernel: Array) -> tuple[Array, Array]:
        with jax.enable_x64(True):
            n = len(kernel)
            values, vectors = jnp.linalg.eigh(_in_double(kernel))
            entropy = _of_spectrum(values, alpha)
            power = jnp.where(_seen(values), values, jnp.finfo(values.dtype).eps) ** (alpha - 1)
            slope = alpha / ((1 - alpha) * jnp.exp((1 - alpha) * entropy) * n)
            derivative = slope * jnp.matmul(vectors * power, vectors.T, precision="highest")
            return entropy.astype(kernel.dtype), derivative.astype(kernel.dtype)

    return value_and_derivative(kernel)


def _entropy_backward(alpha: float, derivative: Array, g: Array) -> tuple[Array]:
    del alpha
    return (g * derivative,)


_spectral_entropy.defvjp(_entropy_forward, _entropy_backward)


def _in_double(kernel: Array) -> Float[Array, "n n"]:
    """A = K / n. Close to order 1, rounding is multiplied by 1 / |1 - alpha|."""
    return kernel.astype(jnp.float64) / len(kernel)


def _seen(values: Float[Array, " n"]) -> Bool[Array, " n"]:
    """Which eigenvalues are more than rounding leaves of 0."""
    return values > len(values) * jnp.finfo(values.dtype).eps


def _of_spectrum(values: Float[Array, " n"], alpha: float) -> Float[Array, ""]:
    """Their sum is 1, so ln sum v^alpha = ln(1 + sum v (v^(alpha - 1) - 1)), which keeps its digits near order 1."""
    seen = _seen(values)
    excess = jnp.where(seen, values * jnp.expm1((alpha - 1) * jnp.log(jnp.where(seen, values, 1))), -values).sum()
    return jnp.log1p(excess) / (1 - alpha)
