"""Information of a layer with Gaussian noise, as if its activations were normal."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError
from ibjax.estimators.base import LayerInformation, MIEstimate, Span
from ibjax.estimators.samples import (
    as_labels,
    as_layer_labels,
    as_samples,
    concrete,
    is_discrete,
    positive,
    same_length,
)

HIGHEST = jax.lax.Precision.HIGHEST


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyGaussian:
    """I(X;T) and I(T;Y) of the noisy layer T = t + Z, Z normal with variance s2 in every unit, from covariances.

    With S the covariance of the activations t and S_y that of class y alone::

        I(X;T) = 1/2 ln|1 + S / s2|
        I(T;Y) = 1/2 ln|1 + S / s2| - 1/2 sum_y p(y) ln|1 + S_y / s2|

    Exact where t is normal, as in a linear network of normal inputs, and for the second where t is normal in each class
    too. Otherwise the first is an upper bound on the information of the inputs that the activations are a sample of,
    as no density of the same covariance has more entropy; the second, a difference of two such, is no bound, and may
    exceed the entropy of the labels.

    The noise is the analyst's, not the network's: the number means nothing without s2, and estimates of different s2
    are not comparable. `KernelBounds` and `NoisyKSG` measure the same quantity without taking t for normal; this one
    costs n units^2 a class and has gradients with respect to t.

    Covariances are those of the samples, divided by n: the inputs are taken for all there are. Of a sample of n from
    many, S is a little small along directions that units^2 parameters fit, so take n well above the units.

    Attributes:
        noise_variance: s2, in squared units of the activations; 0.1 as of `KernelBounds`.

    Raises:
        InputError: from `checked` and a call: settings or samples that make no sense.

    Example:
        A layer whose inputs are normal with variance 1: I(X;T) = 1/2 ln(1 + 1 / s2).

        >>> t = jax.random.normal(jax.random.key(0), (4000, 1))
        >>> found = NoisyGaussian(noise_variance=0.25).layer(t, np.asarray(t[:, 0] > 0).astype(int))
        >>> bool(abs(found.complexity - 0.5 * np.log(5)) < 0.05)
        True

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 3.
        Cover & Thomas (2006), "Elements of information theory", theorem 8.6.5, of the bound.
    """

    noise_variance: Array | float = 0.1

    @property
    def needs_span(self) -> bool:
        """Whether the range of the whole run is needed: it is not."""
        return False

    def checked(self) -> "NoisyGaussian":
        """Return self if its setting makes sense, else raise `InputError`."""
        positive("noise_variance", self.noise_variance, "without noise I(X;T) is infinite")
        return self

    def __str__(self) -> str:
        """Name and convention, as `ibjax.estimators.parse` reads it."""
        return f"noisy-gaussian:noise_variance={float(self.noise_variance)}"

    def __call__(self, x: Any, y: Any, key: Any = None) -> MIEstimate:
        """Return the estimate of I(X;Y), in nats, of samples ``x`` with the noise added and their classes ``y``.

        It is the ``relevance`` of `layer`, with T = ``x`` + noise.

        Args:
            x: samples, of shape (n, columns) or (n,), n >= 2.
            y: integer labels of shape (n,).
            key: not used.

        Returns:
            The value. Diagnostics: ``complexity``, of I(X;T); ``constant`` if the samples or the labels are;
            ``non_finite``.
        """
        del key
        x = as_samples("x", x)
        if not is_discrete(y):
            raise InputError("y must be integer labels for NoisyGaussian, which measures by class: use Gaussian")
        y = as_labels("y", y)
        same_length(x=x, y=y)
        found = self.checked().layer(x, y)
        diagnostics = {
            "complexity": found.complexity,
            "constant": (x == x[0]).all() | (y == y[0]).all(),
            "non_finite": ~jnp.isfinite(x).all(),
        }
        return MIEstimate(found.relevance, None, diagnostics)

    def layer(
        self,
        t: Float[Array | np.ndarray, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) and I(T;Y) in nats of activations; see `ibjax.estimators.LayerEstimator`.

        Inside a transformation pass ``classes``: where labels are not known each sample may be a class of its own, and
        the work and the memory are n times as large.
        """
        del span
        t, labels = jnp.asarray(t), as_layer_labels(labels)
        found = _measure(self, t, labels if labels.ndim == 2 else _rows(labels, classes))
        return LayerInformation(found.complexity.astype(t.dtype), found.relevance.astype(t.dtype))


def _rows(labels: Array, classes: int | None) -> Array:
    """Integer labels as rows p(y|x)."""
    if classes is None:
        found, labels = jnp.unique(labels, size=None if concrete(labels) else len(labels), return_inverse=True)
        classes = len(found)
    return jax.nn.one_hot(labels, classes)


@jax.jit
def _measure(settings: NoisyGaussian, t: Array, p: Array) -> LayerInformation:
    t = t.astype(jnp.promote_types(t.dtype, jnp.float32))
    variance = jnp.asarray(settings.noise_variance, t.dtype)
    p = p.astype(t.dtype)
    varies = (t != t[0]).any(axis=0)
    t = jnp.where(varies, t - t.mean(axis=0), 0) / jnp.sqrt(variance)

    def entropy(weights: Array) -> Array:
        """1/2 ln|1 + S / s2| of inputs with these weights, the entropy above that of the noise."""
        share = weights / jnp.maximum(weights.sum(), jnp.finfo(t.dtype).tiny)
        centred = t - jnp.matmul(share, t, precision=HIGHEST)
        signal = jnp.matmul(centred.T * share, centred, precision=HIGHEST)
        factor = jnp.linalg.cholesky(jnp.eye(t.shape[1], dtype=t.dtype) + signal)
        return jnp.log(jnp.diagonal(factor)).sum()

    complexity = entropy(jnp.ones_like(t[:, 0]))
    inside = p.mean(axis=0) @ jax.lax.map(entropy, p.T)
    one_label = (p == p[0]).all() & jnp.isfinite(complexity)
    return LayerInformation(complexity, jnp.where(one_label, 0, complexity - inside))
