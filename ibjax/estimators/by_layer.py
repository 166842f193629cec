"""An estimator whose settings differ from layer to layer, and between I(X;T) and I(T;Y)."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.errors import InputError
from ibjax.estimators.base import LayerEstimator, LayerInformation, Span


class Both(NamedTuple):
    """An estimator of I(X;T) and another of I(T;Y), for one layer.

    Attributes:
        complexity: measures I(X;T).
        relevance: measures I(T;Y).
    """

    complexity: LayerEstimator
    relevance: LayerEstimator

    @property
    def needs_span(self) -> bool:
        """Whether one of them needs the range of the whole run."""
        return self.complexity.needs_span or self.relevance.needs_span

    def layer(
        self,
        t: Float[Array, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) by the first and I(T;Y) by the second; see `ibjax.estimators.LayerEstimator`."""
        first, second = (part.layer(t, labels, classes=classes, span=span) for part in self)
        return LayerInformation(first.complexity, second.relevance)


@dataclasses.dataclass(frozen=True)
class ByLayer:
    """Estimators by layer: the first layer of a network is measured by the first pair, and so on.

    For studies that tuned their estimator by hand for every layer. What is measured so is no single quantity: where
    bandwidths grow with depth, information falls with depth for that reason alone, so compare it with one setting for
    all layers.

    Attributes:
        complexity: estimators of I(X;T), one a layer; deeper layers take the last.
        relevance: of I(T;Y), likewise; empty for the same as ``complexity``.
        name: says the convention in stored results; empty for all estimators' own names.

    Raises:
        InputError: from `checked`: no estimator at all.

    Example:
        >>> from ibjax.estimators import Binning
        >>> wide = ByLayer((Binning(bins=30), Binning(bins=10)))
        >>> str(wide.at(0).complexity), str(wide.at(7).complexity)
        ('binning:bins=30,low=-1,high=1', 'binning:bins=10,low=-1,high=1')
    """

    complexity: tuple[LayerEstimator, ...]
    relevance: tuple[LayerEstimator, ...] = ()
    name: str = ""

    def checked(self) -> "ByLayer":
        """Return self if there is an estimator, else raise `InputError`."""
        if not self.complexity:
            raise InputError("by layer needs at least one estimator of I(X;T), for example Binning()")
        return self

    @property
    def needs_span(self) -> bool:
        """Whether one of them needs the range of the whole run."""
        return any(estimator.needs_span for estimator in (*self.complexity, *self.relevance))

    def at(self, depth: int) -> Both:
        """The estimators of a layer, counted from 0."""
        relevance = self.relevance or self.complexity
        return Both(*(part[min(depth, len(part) - 1)] for part in (self.complexity, relevance)))

    def layer(
        self,
        t: Float[Array, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Measure a layer of no known depth, as the first."""
        return self.at(0).layer(t, labels, classes=classes, span=span)

    def __str__(self) -> str:
        """The name, or those of all its estimators."""
        if self.name:
            return self.name
        parts = [";".join(map(str, part)) for part in (self.complexity, self.relevance) if part]
        return f"by-layer:{'|'.join(parts)}"
