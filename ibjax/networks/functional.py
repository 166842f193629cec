"""A Flax module as pure functions of its parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, Key

from ibjax.errors import InputError

Network = Callable[..., nnx.Module]
"""``network(rngs=nnx.Rngs(...))`` makes the module: a module class, or a `functools.partial` of one."""

Params = Any
"""A pytree of parameters."""


class Functional(NamedTuple):
    """A network without its state.

    Attributes:
        init: key -> initial parameters.
        apply: (parameters, x) -> (logits, activations of every layer).
        weights: a pytree like the parameters -> for every layer a tuple of its weight arrays (two or more
            dimensions, so no bias).
        widths: units of every layer for an input of the given shape; features of x -> tuple of ints.
    """

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Float[Array, "batch ..."]], tuple[Array, tuple[Array, ...]]]
    weights: Callable[[Params], tuple[tuple[Array, ...], ...]]
    widths: Callable[[tuple[int, ...]], tuple[int, ...]]


def functional(network: Network) -> Functional:
    """Turn a Flax NNX module into pure functions, for one's own modules as well as for `MLP`.

    The module is called as ``module(x)`` with x of shape (batch, features) and returns ``(logits, activations)``,
    one activation of shape (batch, ...) for each submodule that has weights, in the order in which the
    module's attributes are set; the last is the output distribution.

    Args:
        network: called as ``network(rngs=nnx.Rngs(params=key))``.

    Returns:
        The pure functions.

    Raises:
        InputError: the module has state other than parameters (batch statistics, dropout), or no weights.

    Example:
        >>> import functools
        >>> from ibjax.networks import MLP
        >>> net = functional(functools.partial(MLP, (12, 10, 2)))
        >>> params = net.init(jax.random.key(0))
        >>> [w[0].shape for w in net.weights(params)]
        [(10, 12), (2, 10)]
    """
    order: list[str] = []

    def build():
        module = network(rngs=nnx.Rngs(0))
        order.extend(vars(module))  # as set by the author; Flax sorts names when it rebuilds a module
        return module

    module = nnx.eval_shape(build)  # abstract: no weights are drawn here
    graph, _, other = nnx.split(module, nnx.Param, ...)
    if jax.tree.leaves(other):
        kinds = sorted({type(v).__name__ for _, v in nnx.to_flat_state(other)})
        raise InputError(
            f"the network has {', '.join(kinds)}: only modules whose whole state is nnx.Param can be trained"
        )
    groups = _weight_groups(module, order)
    if not groups:
        raise InputError("the network has no submodule with weights of two or more dimensions")

    def init(key):
        return nnx.split(network(rngs=nnx.Rngs(params=key)), nnx.Param)[1]

    def apply(params, x):
        return nnx.merge(graph, params)(x)

    def weights(params):
        flat = dict(nnx.to_flat_state(params))
        return tuple(tuple(flat[path][...] for path in group) for group in groups)

    def widths(features):
        params = jax.eval_shape(init, jax.random.key(0))
        _, activations = jax.eval_shape(apply, params, jax.ShapeDtypeStruct((1, *features), "float32"))
        if len(activations) != len(groups):
            raise InputError(
                f"the network returns {len(activations)} activations for {len(groups)} submodules with weights: "
                "return one for each, the output distribution last"
            )
        return tuple(int(a.size) for a in activations)

    return Functional(init, apply, weights, widths)


def _weight_groups(module: nnx.Module, order: list[str]) -> list[list[tuple]]:
    """Paths of the weight arrays, one group for each submodule, in the order in which attributes were set."""
    found: dict[tuple, list[tuple]] = {}
    flat = nnx.to_flat_state(nnx.state(module, nnx.Param))
    for path, param in sorted(flat, key=lambda item: order.index(str(item[0][0]))):
        if param.ndim >= 2:
            depth = 2 if len(path) > 1 and isinstance(path[1], int) else 1
            found.setdefault(path[:depth], []).append(path)
    return list(found.values())
