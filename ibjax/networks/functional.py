"""A Flax module as pure functions of its parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from ibjax.errors import InputError

Network = Callable[..., nnx.Module]
"""``network(rngs=nnx.Rngs(...))`` makes the module: a module class, or a `functools.partial` of one."""

Params = Any
"""A pytree of parameters."""

STATE = (nnx.Param, nnx.BatchStat)
"""What of a module a trained network keeps."""


class Functional(NamedTuple):
    """A network without its state.

    Its parameters are all that a trained network is: beside what the optimiser moves they hold the running
    statistics of batch normalisation, where there is any.

    Attributes:
        init: key -> initial parameters.
        apply: (parameters, x) -> (logits, activations of every layer), in evaluation: normalised by the running
            statistics, without dropout.
        weights: a pytree like the parameters -> for every layer a tuple of its weight arrays (two or more
            dimensions, so no bias).
        widths: units of every layer for an input of the given shape; features of x -> tuple of ints.
        learn: (parameters, x, key) -> (logits, new running statistics), as in a training step: normalised by the
            batch's own statistics, with dropout drawn from the key.
        split: parameters -> (what the optimiser moves, running statistics); the latter may be empty.
        join: (what the optimiser moves, running statistics) -> parameters.
        inverse: (parameters, activations of a layer, layer=-1) -> x, in evaluation; None unless the module has a method
            ``inverse``, as `ibjax.networks.IRevNet` has.
    """

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Float[Array, "batch ..."]], tuple[Array, tuple[Array, ...]]]
    weights: Callable[[Params], tuple[tuple[Array, ...], ...]]
    widths: Callable[[tuple[int, ...]], tuple[int, ...]]
    learn: Callable[[Params, Float[Array, "batch ..."], Key[Array, ""]], tuple[Array, Params]]
    split: Callable[[Params], tuple[Params, Params]]
    join: Callable[[Params, Params], Params]
    inverse: Callable[..., Array] | None


def functional(network: Network) -> Functional:
    """Turn a Flax NNX module into pure functions, for one's own modules as well as for `MLP`.

    The module is called as ``module(x)`` with x of shape (batch, features) and returns ``(logits, activations)``,
    one activation of shape (batch, ...) for each submodule that has weights, in the order in which the
    module's attributes are set; the last is the output distribution. Its ``nnx.BatchNorm`` and ``nnx.Dropout`` do in
    training and in evaluation what Flax's ``train()`` and ``eval()`` make them do.

    Args:
        network: called as ``network(rngs=nnx.Rngs(params=key))``.

    Returns:
        The pure functions.

    Raises:
        InputError: the module has state other than parameters, batch statistics and the keys of dropout, or no weights.

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
    module.train()
    training_graph = nnx.split(module, STATE, ...)[0]
    module.eval()
    graph, _, streams, other = nnx.split(module, STATE, nnx.RngState, ...)
    if jax.tree.leaves(other):
        kinds = sorted({type(v).__name__ for _, v in nnx.to_flat_state(other)})
        raise InputError(
            f"the network has {', '.join(kinds)}: only modules whose whole state is nnx.Param, nnx.BatchStat and "
            "the keys of nnx.Dropout can be trained"
        )
    groups = _weight_groups(module, order)
    if not groups:
        raise InputError("the network has no submodule with weights of two or more dimensions")

    random = bool(jax.tree.leaves(streams))

    def init(key):
        # Flax asks for a key for dropout when it makes a module; what it is does not matter, see `_keys`.
        rngs = nnx.Rngs(0, params=key) if random else nnx.Rngs(params=key)
        return nnx.split(network(rngs=rngs), STATE, ...)[1]

    def evaluated(params) -> Any:
        return nnx.merge(graph, params, _keys(streams, jax.random.key(0))) if random else nnx.merge(graph, params)

    def apply(params, x):
        return evaluated(params)(x)

    def learn(params, x, key):
        # Flax lets a module change only what was made under the same trace, and jax.grad may have begun one since.
        fresh = jax.tree.map(lambda leaf: leaf, params)
        states = (fresh, _keys(streams, key)) if random else (fresh,)
        module = nnx.merge(training_graph, *states)
        logits, _ = module(x)
        return logits, nnx.state(module, nnx.BatchStat)

    def split(params):
        moved, statistics = nnx.split_state(params, nnx.Param, nnx.BatchStat)
        return moved, statistics

    def inverse(params, code, layer=-1):
        # F must be the same function both ways: TF32 would make it a coarse one.
        with jax.default_matmul_precision("highest"):
            return evaluated(params).inverse(code, layer)

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

    return Functional(
        init, apply, weights, widths, learn, split, nnx.merge_state, inverse if hasattr(module, "inverse") else None
    )


def _keys(streams: Any, key: Key[Array, ""]) -> Any:
    """States of the module's random streams, all of them from one key."""
    leaves, tree = jax.tree.flatten(streams)
    fresh = [
        jax.random.fold_in(key, number)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else jnp.zeros((), leaf.dtype)
        for number, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, fresh)


def _weight_groups(module: nnx.Module, order: list[str]) -> list[list[tuple]]:
    """Paths of the weight arrays, one group for each submodule, in the order in which attributes were set."""
    found: dict[tuple, list[tuple]] = {}
    flat = nnx.to_flat_state(nnx.state(module, nnx.Param))
    for path, param in sorted(flat, key=lambda item: order.index(str(item[0][0]))):
        if param.ndim >= 2:
            depth = 2 if len(path) > 1 and isinstance(path[1], int) else 1
            found.setdefault(path[:depth], []).append(path)
    return list(found.values())
