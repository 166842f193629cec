"""Measures every layer of a network by every estimator."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.datasets import Dataset
from ibjax.estimators import LayerEstimator, LayerInformation
from ibjax.estimators.base import Span
from ibjax.estimators.by_layer import ByLayer


def layer_information(
    estimators: Sequence[LayerEstimator],
    activations: Sequence[Float[Array, "n ..."]],
    data: Dataset,
    spans: Sequence[Span] | None = None,
) -> LayerInformation:
    """I(X;T) and I(T;Y) of every layer by every estimator.

    Args:
        estimators: the estimators.
        activations: one array a layer, its first axis the inputs; further axes are units.
        data: the inputs' data set, whose p(y|x), or else labels, Y is measured by.
        spans: each layer's range over the whole run, for estimators that need it.

    Returns:
        ``complexity`` and ``relevance`` in nats, each of shape (estimators, layers).
    """
    found = [
        (estimator.checked().at(depth) if isinstance(estimator, ByLayer) else estimator).layer(
            t.reshape(t.shape[0], -1),
            jnp.asarray(data.labels),
            classes=data.classes,
            span=spans[depth] if spans is not None else None,
        )
        for estimator in estimators
        for depth, t in enumerate(activations)
    ]
    stacked = jax.tree.map(lambda *values: jnp.stack(values), *found)
    return jax.tree.map(lambda a: a.reshape(len(estimators), len(activations)), stacked)
