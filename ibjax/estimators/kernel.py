"""Pairwise bounds on the information of a layer with Gaussian noise (Kolchinsky & Tracey 2017)."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ibjax.errors import InputError, choose
from ibjax.estimators.bandwidth import likelihood_variance
from ibjax.estimators.base import LayerInformation, MIEstimate, Span
from ibjax.estimators.pairs import LOG2_E, by_rows, centred, decay, halved, reduce_pairs, squared_distances
from ibjax.estimators.samples import as_labels, as_layer_labels, as_samples, is_count, positive, same_length

BOUNDS = ("upper", "lower")
VARIANCES = ("absolute", "layer", "likelihood")
SATURATED = 0.95
"""Share of ln n above which I(X;T) is called saturated."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KernelBounds:
    """Bounds on I(X;T) of the noisy layer T = t + Z, Z normal with variance s2 in every unit, and I(T;Y) by class.

    X is uniform on the n inputs, so T is a mixture of n Gaussians. With the squared distances D_ij = |t_i - t_j|^2::

        I(X;T) <= -(1/n) sum_i ln[ (1/n) sum_j exp(-D_ij / (2 s2)) ]     bound="upper", Kullback-Leibler
        I(X;T) >= -(1/n) sum_i ln[ (1/n) sum_j exp(-D_ij / (8 s2)) ]     bound="lower", Bhattacharyya

    I(T;Y) = H(T) - sum_c p(c) H(T | Y=c) uses the same bound for H(T) and inside every class; rows p(y|x) weigh the
    inputs of a class. A difference of two bounds is no bound: on which side of I(T;Y) it lies is not known.

    The noise is the analyst's, not the network's: without it I(X;T) of a deterministic layer is infinite or constant,
    and with it the number means nothing without s2. Both bounds are at most ln n, and close to it once s2 is small
    against the distances between activations, in wide layers above all ("saturated"): raise the noise then, or choose
    it by ``variance``. Estimates with different s2 are not comparable, those of the layers of one network included.

    Variances:
        ``"absolute"``: s2 = ``noise_variance``, as Saxe et al. have it. Layers whose activations grow (ReLU) seem to
            gain information by growing.
        ``"layer"``: s2 = ``noise_variance`` times the layer's mean squared deviation from its mean, per unit: the
            information does not depend on the scale of the layer, and the noise adapts as it trains.
        ``"likelihood"``: s2 of largest leave-one-out likelihood of the layer's kernel density, which follows the
            density of the samples and shrinks as n grows; ``noise_variance`` plays no part. It costs over thirty
            times as much. See `ibjax.estimators.bandwidth.likelihood_variance`.

    It takes n^2 distances of time and ``block`` times n numbers of memory, and is differentiable in the activations
    and the noise variance (reverse mode), so that it can be a loss. Values are right to 3e-6 in single precision (1e-5
    for layers of more than 32 units) and to the last digits in double.

    Attributes:
        noise_variance: s2, in squared units of the activations, or relative to the layer's; 0.1 is that of Saxe et
            al., who chose it to resemble binning.
        bound: one of the bounds above; both together enclose I(X;T).
        variance: how s2 is chosen, see above.
        block: rows of the distance matrix that are in memory at a time.

    Raises:
        InputError: from `checked`, a call and `ibjax.estimators.parse`: an unknown bound or variance, or a noise
            variance or block that is not positive.

    Example:
        Two inputs far apart and two that the noise confuses:

        >>> t = jnp.array([[0.0], [9.0], [18.0], [18.0]])
        >>> found = KernelBounds().layer(t, jnp.array([0, 0, 1, 1]))
        >>> [round(float(v / jnp.log(2)), 5) for v in found]
        [1.5, 1.0]

    References:
        Kolchinsky & Tracey (2017), "Estimating mixture entropy with pairwise distances", Entropy 19:361, sections 3.2
        and 3.3; Saxe et al. (2018), "On the information bottleneck theory of deep learning", appendix C.
    """

    noise_variance: Array | float = 0.1
    bound: str = dataclasses.field(default="upper", metadata={"static": True})
    variance: str = dataclasses.field(default="absolute", metadata={"static": True})
    block: int = dataclasses.field(default=512, metadata={"static": True})

    @property
    def needs_span(self) -> bool:
        """Whether the range of the whole run is needed: it is not."""
        return False

    def checked(self) -> "KernelBounds":
        """Return self if its settings make sense, else raise `InputError`."""
        choose("bound", self.bound, BOUNDS)
        choose("variance", self.variance, VARIANCES)
        if not is_count(self.block):
            raise InputError(f"block must be a whole number of 1 or more, got {self.block!r}: 512 rows are the default")
        positive("noise_variance", self.noise_variance, "0.1 is Saxe et al.'s")
        return self

    def __str__(self) -> str:
        """Name and convention, as `ibjax.estimators.parse` reads it."""
        noise = "" if self.variance == "likelihood" else f"noise_variance={float(self.noise_variance)},"
        choice = "" if self.variance == "absolute" else f"variance={self.variance},"
        return f"kernel:{noise}{choice}bound={self.bound}"

    def __call__(self, x: Any, y: Any, key: Any = None) -> MIEstimate:
        """Return the estimate of I(X;Y), in nats, of noisy samples ``x`` and their classes ``y``.

        It is the ``relevance`` of `layer`, with T = ``x`` + noise.

        Args:
            x: samples, of shape (n, columns) or (n,), n >= 2.
            y: integer labels of shape (n,).
            key: not used.

        Returns:
            The value, at most the labels' entropy. Diagnostics: ``complexity``, the bound on I(X;T); its ``ceiling``
            ln n; ``saturated`` if it is within 5 % of that; the ``noise_variance`` that was used; ``constant`` if the
            samples or the labels are; ``non_finite``.

        Raises:
            InputError: settings, samples or labels that make no sense, or ``y`` not discrete.
        """
        self.checked()
        x = as_samples("x", x)
        if jnp.issubdtype(getattr(y, "dtype", None) or np.asarray(y).dtype, jnp.floating):
            raise InputError("y must be integer labels for KernelBounds, which measures by class: use KSG for real y")
        y = as_labels("y", y)
        same_length(x=x, y=y)
        return _estimate(self, x, y)

    def layer(
        self,
        t: Float[Array | np.ndarray, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) and I(T;Y) in nats of activations ``t``; see `ibjax.estimators.LayerEstimator`."""
        t, labels = jnp.asarray(t), as_layer_labels(labels)
        found = _measure(self, t, labels)
        return LayerInformation(found.complexity.astype(t.dtype), found.relevance.astype(t.dtype))


class _Measured(NamedTuple):
    """What is known of a layer, in single or double precision."""

    complexity: Float[Array, ""]
    relevance: Float[Array, ""]
    variance: Float[Array, ""]
    finite: Bool[Array, ""]
    constant: Bool[Array, ""]


@jax.jit
def _estimate(estimator: KernelBounds, x: Array, y: Array) -> MIEstimate:
    found = _measure(estimator, x, y)
    ceiling = jnp.log(jnp.asarray(x.shape[0], x.dtype))
    diagnostics = {
        "ceiling": ceiling,
        "complexity": found.complexity.astype(x.dtype),
        "constant": found.constant,
        "noise_variance": found.variance.astype(x.dtype),
        "non_finite": ~found.finite,
        "saturated": found.complexity > SATURATED * ceiling,
    }
    return MIEstimate(found.relevance.astype(x.dtype), None, diagnostics)


@jax.jit
def _measure(estimator: KernelBounds, t: Array, y: Array) -> _Measured:
    n = t.shape[0]
    t = t.astype(jnp.promote_types(t.dtype, jnp.float32))
    noise = jnp.asarray(estimator.noise_variance, t.dtype)
    finite = jnp.isfinite(t).all() & jnp.isfinite(noise) & (noise > 0)
    # Nothing is known then, whatever rounding says.
    constant, one_label = (t == t[0]).all(), (y == y[0]).all()

    t, variance, unit = _scaled(estimator, t, noise)
    width = jnp.where(variance > 0, variance, 1) * (2 if estimator.bound == "upper" else 8)
    total, own = kernel_sums(t, y, 1 / width, estimator.block)
    entropy = -jnp.log(total / n).mean()
    if y.ndim == 1:
        inside = -jnp.log(own / _class_sizes(y).astype(t.dtype)).mean()
    else:
        p = y.astype(t.dtype)
        inside = -(p * jnp.log(jnp.where(p > 0, own / p.sum(axis=0), 1))).sum() / n

    complexity = jnp.where(constant, 0, entropy)
    relevance = jnp.where(constant | one_label, 0, entropy - inside)
    return _Measured(
        jnp.where(finite, complexity, jnp.nan),
        jnp.where(finite, relevance, jnp.nan),
        variance * unit**2,
        finite,
        constant | one_label,
    )


def _scaled(estimator: KernelBounds, t: Array, noise: Array) -> tuple[Array, Array, Array]:
    """Samples in a unit in which they can be squared, the noise variance in it, and the unit."""
    if estimator.variance == "absolute":
        return t, noise, jnp.ones((), t.dtype)
    # The information does not depend on the unit, so its derivative need not either.
    unit = jax.lax.stop_gradient(jnp.abs(centred(t)).max())
    t = t / jnp.where(unit > 0, unit, 1)
    if estimator.variance == "layer":
        return t, noise * (centred(t) ** 2).mean(), unit
    return t, likelihood_variance(t, estimator.block), unit


def _class_sizes(labels: Integer[Array, " n"]) -> Integer[Array, " n"]:
    """How many samples have each sample's label."""
    ordered = jnp.sort(labels)
    return jnp.searchsorted(ordered, labels, side="right") - jnp.searchsorted(ordered, labels)


class KernelSums(NamedTuple):
    """Sums over j of the kernel K_ij = exp(-rate |t_i - t_j|^2).

    Attributes:
        total: of all j.
        own: of the j of the same label; or for rows p(y|x) of K_ij p(y|x_j), one column a class.
    """

    total: Float[Array, " n"]
    own: Float[Array, " n"] | Float[Array, "n classes"]


def kernel_sums(
    t: Float[Array, "n columns"],
    y: Integer[Array, " n"] | Float[Array, "n classes"],
    rate: Float[Array, ""],
    block: int,
) -> KernelSums:
    """Return the sums of the kernel over all samples and by class, from one pass over all pairs.

    Differentiable in reverse mode with respect to ``t``, ``rate`` and rows p(y|x), by another pass in bounded memory.

    Args:
        t: samples.
        y: integer labels, or rows p(y|x).
        rate: of the kernel's decay.
        block: rows of the kernel in memory at a time.
    """
    # So that all of it varies over a mesh as the samples do, and the derivatives may.
    nothing = t[0, 0] * 0
    return _sums(t, y if y.ndim == 1 else y.astype(t.dtype) + nothing, rate + nothing, block)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _sums(t: Array, y: Array, rate: Array, block: int) -> KernelSums:
    if y.ndim == 1:
        # Scaled once: a product less for every pair.
        sums = reduce_pairs(_same_label, "sums", t * jnp.sqrt(rate * LOG2_E), y, y, (), block)
        return KernelSums(sums.real, sums.imag)

    @jax.custom_batching.sequential_vmap
    def weighted(t: Array, y: Array, rate: Array) -> KernelSums:
        t = centred(t)
        ones_and_y = jnp.concatenate([jnp.ones_like(t[:, :1]), y], axis=1)
        x = t.T

        def some(index: Array, rows: Array) -> Array:
            return _product(decay(squared_distances(rows, index, x), rate), ones_and_y)

        sums = by_rows(some, block, t)
        return KernelSums(sums[:, 0], sums[:, 1:])

    return weighted(t, y, rate)


def _same_label(distance: Array, label: Array, other: Array, _: tuple[()]) -> Array:
    kernel = halved(distance)
    return jax.lax.complex(kernel, jnp.where(label == other, kernel, jnp.zeros_like(kernel)))


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def _forward(t: Array, y: Array, rate: Array, block: int) -> tuple[KernelSums, tuple[Array, Array, Array]]:
    return _sums(t, y, rate, block), (t, y, rate)


def _backward(
    block: int, saved: tuple[Array, Array, Array], cotangent: KernelSums
) -> tuple[Array, Array | None, Array]:
    """With L the loss and w_ij = dL/dK_ij + dL/dK_ji: dL/dt_i = -2 rate sum_j w_ij K_ij (t_i - t_j)."""

    @jax.custom_batching.sequential_vmap
    def gradient(t: Array, y: Array, rate: Array, total: Array, own: Array) -> tuple[Array, Array, Array]:
        t = centred(t)
        ones_and_t = jnp.concatenate([jnp.ones_like(t[:, :1]), t], axis=1)
        x = t.T

        def some(index: Array, rows: Array, y_rows: Array, total_rows: Array, own_rows: Array) -> tuple[Array, Array]:
            kernel = decay(squared_distances(rows, index, x), rate)
            if y.ndim == 1:
                by_class = jnp.where(y_rows[:, None] == y, own_rows[:, None] + own, jnp.zeros_like(kernel))
                of_y = y_rows
            else:
                by_class = _product(own_rows, y.T) + _product(y_rows, own.T)
                of_y = _product(kernel, own)
            sums = _product(kernel * (total_rows[:, None] + total + by_class), ones_and_t)
            return -2 * rate * (rows * sums[:, :1] - sums[:, 1:]), of_y

        of_t, of_y = by_rows(some, block, t, y, total, own)
        # K depends on the product of the rate and t^2 alone, so rate d/drate = (t/2) d/dt.
        return of_t, of_y, (t * of_t).sum() / (2 * rate)

    of_t, of_y, of_rate = gradient(*saved, *cotangent)
    return of_t, None if saved[1].ndim == 1 else of_y, of_rate


_sums.defvjp(_forward, _backward)
