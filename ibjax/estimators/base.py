"""What every estimator of a layer's information has in common."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Integer

from ibjax.information import convert

Span = tuple[Float[Array | np.floating, ""], Float[Array | np.floating, ""]]
"""Smallest and largest activation, for an estimator whose bins cover a whole run."""


@runtime_checkable
class Estimator(Protocol):
    """An estimator of mutual information from samples: a frozen config that is a pytree."""

    def __call__(self, x: Any, y: Any, key: Array | None = None) -> "MIEstimate":
        """Return the estimate of I(X;Y) in nats from rows of samples or labels."""
        ...


class MIEstimate(NamedTuple):
    """An estimate of mutual information and how far to trust it.

    Attributes:
        value: I(X;Y) in nats; may be negative where the estimator can be. NaN inside a transformation whose samples are
            not finite.
        std_error: its standard error in nats, None where the estimator has none of its own
            (`jackknife`, `subsampling` and `bootstrap` give one to any).
        diagnostics: by name, truth values that call for caution (see `ADVICE`) and numbers such as the ceiling ln n.
    """

    value: Float[Array, "..."]
    std_error: Float[Array, "..."] | None
    diagnostics: dict[str, Array]

    def to(self, units: str) -> "MIEstimate":
        """Return the estimate, its error and its diagnostics that are informations in bits, nats or hartleys."""
        error = None if self.std_error is None else convert(self.std_error, units=units)
        diagnostics = {k: convert(v, units=units) if k in IN_NATS else v for k, v in self.diagnostics.items()}
        return MIEstimate(convert(self.value, units=units), error, diagnostics)

    def advice(self) -> list[str]:
        """What to do about every caution that is set, in words; of a single estimate, outside transformations."""
        return [text for name, text in ADVICE.items() if name in self.diagnostics and bool(self.diagnostics[name])]


IN_NATS = frozenset({"bias", "ceiling", "complexity", "shift", "step"})
"""Diagnostics that are informations."""

ADVICE: dict[str, str] = {
    "non_finite": "a sample is not finite: the estimate is NaN, repair the samples",
    "constant": "a variable is constant: it carries no information, the estimate is 0",
    "deterministic": "samples are duplicated or Y is a function of X: for continuous variables the true value is "
    "infinite, quantise or add noise of stated variance",
    "starved": "too few samples for this many dimensions: the estimate is biased towards 0, reduce dimensions first or "
    "use GaussianCopula",
    "no_density": "the samples lie on a curve or surface and have no density: KSG is used, or reduce dimensions first",
    "undersampled": "fewer samples than occupied cells call for: the plug-in is biased upwards, use another correction",
    "saturated": "the estimate is close to the estimator's ceiling: the true value may be larger",
    "unstable_weights": "the ensemble's weights are large: their variance exceeds the bias they remove, KSG is used",
    "clipped": "more than a hundredth of the values lie outside the bins: widen low and high or use range='neuron'",
    "nonlinear": "the estimate does not approach its limit as a line in 1/n: take more samples before extrapolating",
    "scaled": "columns have very different scales: nearest neighbours see only the largest, standardise first",
    "diverged": "training met a loss that is not finite: the best finite parameters are kept, lower learning_rate",
    "too_many_classes": "there are more labels than classes: the estimate is NaN, raise classes",
    "dominated": "a mean of exponentials hangs on a single sample: do not trust value or error bar, use InfoNCE",
    "unfinished": "the network was still improving at its last step: raise steps",
}
"""Name of a diagnostic truth value -> what it means and what to change."""


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
