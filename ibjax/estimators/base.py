"""What every estimator of a layer's information has in common."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Integer

Span = tuple[Float[Array | np.floating, ""], Float[Array | np.floating, ""]]
"""Smallest and largest activation, for an estimator whose bins cover a whole run."""


class LayerInformation(NamedTuple):
    """A layer's point in the information plane, in nats.

    Attributes:
        complexity: I(X;T).
        relevance: I(T;Y).
    """

    complexity: Float[Array, ""]
    relevance: Float[Array, ""]


@runtime_checkable
class LayerEstimator(Protocol):
    """An estimator that can be measured inside a compiled training run."""

    @property
    def needs_span(self) -> bool:
        """Whether `layer` wants the range of the layer over the whole run."""
        ...

    def layer(
        self,
        t: Float[Array, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) and I(T;Y) of activations ``t`` of n equally likely inputs.

        Args:
            t: activations, one row an input.
            labels: integer labels, or rows p(y|x).
            classes: if given, integer labels are known to lie in 0 .. classes - 1, which is faster.
            span: the range of the layer over the whole run, where ``needs_span``.

        Returns:
            The two informations in nats; NaN where an activation is not finite.
        """
        ...

    def __str__(self) -> str:
        """The estimator and its convention, in the form that `ibjax.estimators.parse` reads."""
        ...
