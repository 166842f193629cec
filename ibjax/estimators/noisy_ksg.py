"""Information of a layer with Gaussian noise, by nearest neighbours."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError
from ibjax.estimators import neighbours
from ibjax.estimators.base import LayerInformation, MIEstimate, Span
from ibjax.estimators.kozachenko import knn_entropy
from ibjax.estimators.ksg import KSG
from ibjax.estimators.samples import (
    as_labels,
    as_layer_labels,
    as_samples,
    is_count,
    is_discrete,
    positive,
    same_length,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyKSG:
    """I(X;T) and I(T;Y) of the noisy layer T = t + Z, Z normal with variance s2 in every unit, by nearest neighbours.

    `KSG` alone cannot measure the information of a deterministic layer, which is infinite. With noise of stated
    variance it is finite, and all that needs an estimate is one entropy::

        I(X;T) = h(T) - (units / 2) ln(2 pi e s2)        h(T) by `knn_entropy`
        I(T;Y) by `KSG` of the noisy activations and labels (Ross 2014)

    The inputs are taken as a sample of X: I(X;T) is that of all inputs there could be, and may exceed the ln n that
    n inputs can tell apart. If the n inputs are all that there are, as in the 12-bit task, take several ``draws`` of
    the noise, above ``k``, so that the neighbours of a point are found in its own input's noise where that is small.

    The noise is the analyst's, not the network's: the number means nothing without s2, and estimates of different s2
    are not comparable. `KernelBounds` bounds the same I(X;T) without drawing anything; its bounds are close to each
    other for few units and small noise, and this estimate lies between them for enough samples.

    Rows p(y|x) have their labels drawn, one for each draw of the noise.

    Nothing is differentiable, as in `KSG`. Cost: n draws and their nearest neighbours, n^2 on accelerators.

    Attributes:
        noise_variance: s2, in squared units of the activations; 0.1 as of `KernelBounds`.
        k: number of neighbours.
        draws: of the noise for each input.

    When it fails: many units. The entropy of 10 units from 4096 points is off by a nat and more, which the difference
    does not cancel; see `KSG` on dimensions.

    Raises:
        InputError: from `checked` and a call: settings or samples that make no sense.

    Example:
        A layer whose inputs are normal with variance 1: I(X;T) = 1/2 ln(1 + 1 / s2).

        >>> t = jax.random.normal(jax.random.key(0), (4000, 1))
        >>> found = NoisyKSG(noise_variance=0.25).layer(t, np.asarray(t[:, 0] > 0).astype(int))
        >>> bool(abs(found.complexity - 0.5 * np.log(5)) < 0.05)
        True

    References:
        Kraskov, Stoegbauer & Grassberger (2004), equation 20; Ross (2014), equation 2. The noise is that of Saxe et al.
        (2018), "On the information bottleneck theory of deep learning", appendix C.
    """

    noise_variance: Array | float = 0.1
    k: int = dataclasses.field(default=3, metadata={"static": True})
    draws: int = dataclasses.field(default=1, metadata={"static": True})

    _name: ClassVar[str] = "noisy-ksg"

    @property
    def needs_span(self) -> bool:
        """Whether the range of the whole run is needed: it is not."""
        return False

    def checked(self):
        """Return self if its settings make sense, else raise `InputError`."""
        if not isinstance(self.k, int):
            raise InputError(f"k must be one whole number for a layer, got {self.k!r}: 3 is usual")
        neighbours.as_ks(self.k)
        if not is_count(self.draws):
            raise InputError(f"draws must be a whole number of 1 or more, got {self.draws!r}")
        positive("noise_variance", self.noise_variance, "without noise I(X;T) is infinite")
        return self

    def __str__(self) -> str:
        """Name and convention, as `ibjax.estimators.parse` reads it."""
        return f"{self._name}:noise_variance={float(self.noise_variance)},k={self.k},draws={self.draws}"

    def __call__(self, x: Any, y: Any, key: Array | None = None) -> MIEstimate:
        """Return the estimate of I(X;Y), in nats, of samples ``x`` with the noise added and their classes ``y``.

        It is the ``relevance`` of `layer`, with T = ``x`` + noise.

        Args:
            x: samples, of shape (n, columns) or (n,).
            y: integer labels of shape (n,).
            key: of the noise, by default ``jax.random.key(0)``.

        Returns:
            As of `KSG`, with ``complexity`` and its ``saturated``, above 95 % of ln n, added to the diagnostics.
        """
        x = as_samples("x", x, at_least=max(neighbours.as_ks(self.checked().k)) + 1)
        if not is_discrete(y):
            raise InputError(
                f"y must be integer labels for {type(self).__name__}, which measures by class: use KSG for real y"
            )
        y = as_labels("y", y)
        ceiling = jnp.log(jnp.asarray(same_length(x=x, y=y), x.dtype))
        entropy, found = _noisy(self, x, y, jax.random.key(0) if key is None else key)
        diagnostics = found.diagnostics | {"complexity": entropy, "saturated": entropy > 0.95 * ceiling}
        return found._replace(diagnostics=diagnostics)

    def layer(
        self,
        t: Float[Array | np.ndarray, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) and I(T;Y) in nats of activations; see `ibjax.estimators.LayerEstimator`.

        The noise is the same at every call, so that what changes from epoch to epoch is the layer.
        """
        del classes, span
        t, labels = jnp.asarray(t), as_layer_labels(labels)
        complexity, found = _noisy(self, t, labels, jax.random.key(0))
        return LayerInformation(complexity, found.value)

    def _entropy_and_relevance(self, t: Array, labels: Array) -> tuple[Array, MIEstimate]:
        """h(T) and I(T;Y) of noisy activations."""
        return knn_entropy(t, self.k).value, KSG(self.k)(t, labels)


@jax.jit
def _noisy(settings: NoisyKSG, t: Array, labels: Array, key: Array) -> tuple[Array, MIEstimate]:
    units = t.shape[1]
    constant, one_label = (t == t[0]).all(), (labels == labels[0]).all()
    of_noise, of_labels = jax.random.split(key)
    t, labels = (jnp.repeat(a, settings.draws, axis=0) for a in (t, labels))
    variance = jnp.asarray(settings.noise_variance, t.dtype)
    t = t + jnp.sqrt(variance) * jax.random.normal(of_noise, t.shape, jnp.float32).astype(t.dtype)
    if labels.ndim == 2:
        labels = jax.random.categorical(of_labels, jnp.log(labels.astype(jnp.float32)))
    entropy, found = settings._entropy_and_relevance(t, labels)
    complexity = jnp.where(constant, 0, entropy - units / 2 * jnp.log(2 * jnp.pi * jnp.e * variance))
    constant |= one_label
    value = jnp.where(constant & ~jnp.isnan(entropy), 0, found.value)
    return complexity, MIEstimate(value, None, found.diagnostics | {"constant": constant})
