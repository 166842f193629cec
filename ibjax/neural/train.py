"""The one trainer of this room: stochastic gradients, and the parameters of the best validation score."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ibjax.neural.pure import Params
from ibjax.training import epoch_order

CHECK_EVERY = 20
"""Steps between two looks at the validation samples."""

Samples = tuple[Float[Array, "_ dx"], Float[Array, "_ dy"]]


class Objective(NamedTuple):
    """What is trained, and what says when it is best.

    Attributes:
        init: key -> initial parameters.
        loss: (parameters, memory, x, y) -> (loss of a batch, new memory).
        score: (parameters, x, y) -> score of held-out samples, the higher the better.
        memory: what the loss carries from step to step, at first.
    """

    init: Callable[[Array], Params]
    loss: Callable[[Params, Any, Array, Array], tuple[Array, Any]]
    score: Callable[[Params, Array, Array], Array]
    memory: Any = ()


class Fitted(NamedTuple):
    """Parameters of the best validation score.

    Attributes:
        params: the parameters; the initial ones if no later score was finite and better.
        score: their validation score.
        step: steps after which they were seen.
        diverged: whether a loss was not finite.
        unfinished: whether they are those of the last look.
    """

    params: Params
    score: Float[Array, ""]
    step: Int[Array, ""]
    diverged: Bool[Array, ""]
    unfinished: Bool[Array, ""]


def fit(
    objective: Objective,
    train: Samples,
    validation: Samples,
    key: Array,
    *,
    steps: int,
    batch_size: int,
    learning_rate: Any,
) -> Fitted:
    """Train by Adam and keep the parameters of the best validation score, all in one scan.

    Args:
        objective: what is trained.
        train: the samples that gradients see.
        validation: the samples that stopping sees.
        key: randomness of the initial parameters and of the batches.
        steps: number of steps, rounded up to whole rounds of `CHECK_EVERY`.
        batch_size: samples a step, without repetition; all where there are fewer.
        learning_rate: Adam's.

    Returns:
        The best parameters, those before the first step among them.
    """
    n = train[0].shape[0]
    batch_size, every = min(batch_size, n), min(CHECK_EVERY, steps)
    rounds = -(-steps // every)
    optimizer = optax.adam(learning_rate)
    key_init, key_order = jax.random.split(key)
    start = objective.init(key_init)

    def step(carry, rows):
        params, state, memory = carry
        x, y = (a[rows] for a in train)
        (loss, memory), gradient = jax.value_and_grad(objective.loss, has_aux=True)(params, memory, x, y)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state, memory), jnp.isfinite(loss)

    def check(carry, i):
        training, best = carry
        order = epoch_order(jax.random.fold_in(key_order, i), n)
        # A fresh order a round, from its start again where the round is longer: a batch never holds a sample twice.
        rows = order[jnp.arange(every * batch_size) % n].reshape(every, batch_size)
        training, finite = jax.lax.scan(step, training, rows)
        score = objective.score(training[0], *validation)
        now = Fitted(training[0], score, (i + 1) * every, best.diverged | ~finite.all(), i + 1 == rounds)
        better = jnp.isfinite(score) & (score > best.score)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), now, best)
        return (training, best._replace(diverged=now.diverged)), None

    no = jnp.zeros((), bool)
    best = Fitted(start, objective.score(start, *validation), jnp.zeros((), jnp.int32), no, no)
    carry = (start, optimizer.init(start), objective.memory), best
    # Over a mesh, what a scan carries must vary from the start as it will: with the samples, the key and the settings.
    varies = train[0][0, 0] + train[1][0, 0] + learning_rate + jax.tree.leaves(start)[-1].ravel()[0] > 0
    carry = jax.tree.map(lambda a: jnp.where(varies, a, a), carry)
    (_, best), _ = jax.lax.scan(check, carry, jnp.arange(rounds, dtype=jnp.int32))
    return best
