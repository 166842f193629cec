"""Flax modules as pure functions of their parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array

Params = Any
"""A pytree of parameters."""


class Pure(NamedTuple):
    """A module without its state.

    Attributes:
        init: key -> initial parameters.
        apply: (parameters, *inputs) -> what the module returns.
    """

    init: Callable[[Array], Params]
    apply: Callable[..., Array]


def pure(module: Callable[..., nnx.Module], dtype: Any) -> Pure:
    """Turn a module, made by ``module(rngs=...)``, into functions of parameters of the given precision."""
    graph, _ = nnx.split(nnx.eval_shape(lambda: module(rngs=nnx.Rngs(0))))

    def init(key):
        return jax.tree.map(lambda leaf: leaf.astype(dtype), nnx.state(module(rngs=nnx.Rngs(params=key))))

    def apply(params, *inputs):
        return nnx.merge(graph, params)(*inputs)

    return Pure(init, apply)
