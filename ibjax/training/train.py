"""The training loop: one network, one key; epochs and snapshots are one compiled computation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from ibjax.datasets import Dataset
from ibjax.networks import Functional, functional
from ibjax.networks.functional import Network, Params
from ibjax.training.config import Rates, TrainConfig, validate
from ibjax.training.gradients import gradient_statistics, layer_norms, probe_batches
from ibjax.training.optimizers import OPTIMIZERS
from ibjax.training.order import epoch_order
from ibjax.training.snapshots import snapshot_epochs

DEAD_AFTER = 1000
"""Epochs after which a network that still guesses the majority class counts as dead."""
DEAD_MARGIN = 0.03
"""How far above the majority rate its training accuracy may be."""
DROPOUT = 2**32 - 1
"""What is folded into a replica's key for dropout; no epoch is."""

Measure = Callable[[tuple[Array, ...], Dataset], Any]
"""(activations of every layer, the data they are of) -> any pytree of measurements."""


class TrainingData(NamedTuple):
    """What a network is trained, tested and measured on."""

    train: Dataset
    test: Dataset
    measured: Dataset


class TrainState(NamedTuple):
    """All that the next step needs.

    Attributes:
        params: the network's parameters.
        opt_state: the optimiser's state.
        start: the initial parameters, for the distance from them.
        epoch: epochs done.
        key: the replica's key; epoch e is shuffled by ``fold_in(key, e)``.
        learning_rate: step size.
    """

    params: Params
    opt_state: Any
    start: Params
    epoch: Int[Array, ""]
    key: Key[Array, ""]
    learning_rate: Float[Array, ""]


class Snapshot(NamedTuple):
    """A network at one epoch; ``[layers]`` fields have one entry a layer.

    Attributes:
        epoch: epochs done.
        train_loss: mean cross-entropy of the training set in nats.
        test_loss: of the test set; NaN where that is empty.
        train_accuracy: share of the training set that is right, 0 to 1.
        test_accuracy: of the test set; NaN where that is empty.
        gradient_mean: [layers] see `GradientStatistics`. The gradient is that of a training step: normalised by the
            batch's own statistics, with dropout. Losses, accuracies and activations are those of evaluation.
        gradient_std: [layers]
        gradient_batch_norm: [layers]
        weight_norm: [layers] L2 norm of the weights, biases left out.
        weight_distance: [layers] L2 norm of the weights minus the initial ones.
        alive: false once the network has diverged (a loss or weight is not finite), or after 1000 epochs
            while its training accuracy is within 0.03 of the majority rate.
        measured: what ``measure`` returned, None without it.
        params: the parameters, None unless they are kept.
    """

    epoch: Int[Array, "*snapshots"]
    train_loss: Float[Array, "*snapshots"]
    test_loss: Float[Array, "*snapshots"]
    train_accuracy: Float[Array, "*snapshots"]
    test_accuracy: Float[Array, "*snapshots"]
    gradient_mean: Float[Array, "*snapshots layers"]
    gradient_std: Float[Array, "*snapshots layers"]
    gradient_batch_norm: Float[Array, "*snapshots layers"]
    weight_norm: Float[Array, "*snapshots layers"]
    weight_distance: Float[Array, "*snapshots layers"]
    alive: Bool[Array, "*snapshots"]
    measured: Any
    params: Params | None


class Slots(NamedTuple):
    """Instructions of one segment: in slot k train ``epochs[k]`` epochs, then look if ``observe[k]``."""

    epochs: Int[Array | np.ndarray, " slots"]
    observe: Bool[Array | np.ndarray, " slots"]


def init(network: Functional, config: TrainConfig, key: Key[Array, ""]) -> TrainState:
    """The state before training: parameters from one half of the key, the order of epochs from the other."""
    key_init, key_order = jax.random.split(key)
    params = network.init(key_init)
    return TrainState(
        params=params,
        opt_state=OPTIMIZERS[config.optimizer](config).init(network.split(params)[0]),
        # A copy of its own: a donated state must not hold one buffer twice.
        start=jax.tree.map(jnp.copy, params),
        epoch=jnp.zeros((), jnp.int32),
        key=key_order,
        learning_rate=jnp.asarray(config.learning_rate, jnp.float32),
    )


def segment(
    network: Functional,
    config: TrainConfig,
    data: TrainingData,
    state: TrainState,
    slots: Slots,
    *,
    rates: Rates | None = None,
    measure: Measure | None = None,
    keep_parameters: bool = False,
) -> tuple[TrainState, Snapshot]:
    """Train and look, as the slots say.

    Args:
        network: the network.
        config: settings.
        data: training, test and measured data.
        state: where to go on from.
        slots: how far to go; their values are traced, only their number is fixed.
        rates: instead of the config's; may be traced.
        measure: applied to the activations of ``data.measured``.
        keep_parameters: whether snapshots hold the parameters.

    Returns:
        The state afterwards and a snapshot a slot; zeros in slots that do not observe.
    """

    def observe(state):
        return _observe(network, config, data, state, measure, keep_parameters)

    def skip(state):
        return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(observe, state))

    def slot(state, instruction):
        epochs, look = instruction
        state = jax.lax.fori_loop(0, epochs, lambda _, s: _epoch(network, config, rates, data.train, s), state)
        return state, jax.lax.cond(look, observe, skip, state)

    # TF32 would change losses and informations on an accelerator.
    with jax.default_matmul_precision("highest"):
        return jax.lax.scan(slot, state, Slots(*map(jnp.asarray, slots)))


def train(
    network: Network,
    config: TrainConfig,
    data: TrainingData,
    key: Key[Array, ""],
    *,
    learning_rate: Float[Array, ""] | float | None = None,
    measure: Measure | None = None,
    keep_parameters: bool = False,
) -> tuple[TrainState, Snapshot]:
    """Train one network from one key; a pure function, to be jitted and mapped by the caller.

    Args:
        network: makes the module; see `ibjax.networks.functional`.
        config: settings.
        data: training, test and measured data.
        key: initial weights and order of the samples.
        learning_rate: instead of the config's; may be traced.
        measure: applied to the activations of ``data.measured`` at every snapshot.
        keep_parameters: whether snapshots hold the parameters.

    Returns:
        The final state, and the snapshots at ``snapshot_epochs(config.epochs, config.snapshots)``, stacked along
        their first axis.

    Raises:
        InputError: settings that make no sense for the data.

    Example:
        >>> import functools
        >>> from ibjax.datasets import split, szt
        >>> from ibjax.networks import MLP
        >>> whole = szt()
        >>> data = TrainingData(*split(whole, 0.8, "random", jax.random.key(0)), whole)
        >>> net = functools.partial(MLP, (12, 10, 7, 5, 4, 3, 2))
        >>> run = functools.partial(train, net, TrainConfig(epochs=3, batch_size=512), data)
        >>> state, snapshots = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(1), 2))
        >>> snapshots.train_loss.shape, snapshots.gradient_std.shape
        ((2, 4), (2, 4, 6))
    """
    validate(config, len(data.train))
    net = functional(network)
    net.widths(data.train.x.shape[1:])  # complains where activations and weights do not match
    state = init(net, config, key)
    if learning_rate is not None:
        state = state._replace(learning_rate=jnp.asarray(learning_rate, jnp.float32))
    epochs = np.diff(snapshot_epochs(config.epochs, config.snapshots), prepend=0)
    slots = Slots(epochs, np.ones(len(epochs), bool))
    return segment(net, config, data, state, slots, measure=measure, keep_parameters=keep_parameters)


def _loss(
    network: Functional, moved: Params, statistics: Params, x: Array, y: Array, key: Key[Array, ""]
) -> tuple[Float[Array, ""], Params]:
    """Mean cross-entropy in nats of a batch as a training step sees it, and the running statistics after it."""
    logits, statistics = network.learn(network.join(moved, statistics), x, key)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), statistics


def _dropout_key(state: TrainState) -> Key[Array, ""]:
    """An epoch's key for dropout; each batch folds its first sample in, which is in no other batch."""
    return jax.random.fold_in(jax.random.fold_in(state.key, DROPOUT), state.epoch)


def _learning_rate(config: TrainConfig, state: TrainState) -> Float[Array, ""]:
    """The step size of an epoch, as far as it has decayed."""
    if config.decay == 1:
        return state.learning_rate
    times = state.epoch
    if config.decay_after is not None:
        times = jnp.sum(state.epoch >= jnp.asarray(config.decay_after, jnp.int32))
    return state.learning_rate * config.decay**times


def _epoch(
    network: Functional, config: TrainConfig, rates: Rates | None, train: Dataset, state: TrainState
) -> TrainState:
    """One pass over the training set."""
    n = len(train)
    size = config.batch_size or n
    optimizer = OPTIMIZERS[config.optimizer](rates or config)
    x, y = jnp.asarray(train.x), jnp.asarray(train.y)
    dropout = _dropout_key(state)
    rate = _learning_rate(config, state)

    def step(carry, rows):
        params, opt_state = carry
        moved, statistics = network.split(params)
        noise = jax.random.fold_in(dropout, rows[0])
        gradient, statistics = jax.grad(_loss, argnums=1, has_aux=True)(
            network, moved, statistics, x[rows], y[rows], noise
        )
        updates, opt_state = optimizer.update(gradient, opt_state, moved)
        updates = jax.tree.map(lambda u: rate * u, updates)
        return (network.join(optax.apply_updates(moved, updates), statistics), opt_state), None

    order = jnp.arange(n)
    if config.reshuffle and size < n:
        order = epoch_order(jax.random.fold_in(state.key, state.epoch), n)
    whole = n // size * size
    carry, _ = jax.lax.scan(step, (state.params, state.opt_state), order[:whole].reshape(-1, size))
    if whole < n:
        carry, _ = step(carry, order[whole:])
    return state._replace(params=carry[0], opt_state=carry[1], epoch=state.epoch + 1)


def _in_blocks(function: Callable[[Array], Any], x: Float[Array, "n ..."], size: int | None) -> Any:
    """``function(x)``, which treats rows apart, computed for so many rows at a time."""
    n = len(x)
    if size is None or size >= n:
        return function(x)
    whole = n // size * size
    found = jax.lax.map(function, x[:whole].reshape(-1, size, *x.shape[1:]))
    found = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), found)
    if whole == n:
        return found
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), found, function(x[whole:]))


def _observe(
    network: Functional,
    config: TrainConfig,
    data: TrainingData,
    state: TrainState,
    measure: Measure | None,
    keep_parameters: bool,
) -> Snapshot:
    """Look at the network without changing it."""
    params, size = state.params, config.evaluate_size
    moved, statistics = network.split(params)
    dropout = _dropout_key(state)

    def performance(part: Dataset):
        if not len(part):
            return jnp.full((), jnp.nan), jnp.full((), jnp.nan)
        logits = _in_blocks(lambda x: network.apply(params, x)[0], jnp.asarray(part.x), size)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(part.y))
        right = logits.argmax(axis=-1) == part.y
        return loss.mean(), right.mean()

    def gradient(rows):
        x, y = jnp.asarray(data.train.x)[rows], jnp.asarray(data.train.y)[rows]
        noise = jax.random.fold_in(dropout, rows[0])
        return jax.grad(_loss, argnums=1, has_aux=True)(network, moved, statistics, x, y, noise)[0]

    train_loss, train_accuracy = performance(data.train)
    test_loss, test_accuracy = performance(data.test)
    probe = gradient_statistics(gradient, network.weights, probe_batches(len(data.train)))
    weight_norm = layer_norms(network.weights(params))
    finite = jnp.isfinite(train_loss) & jnp.isfinite(weight_norm).all()
    labels = jnp.zeros(data.train.classes).at[data.train.y].add(1.0)
    guessing = train_accuracy <= labels.max() / len(data.train) + DEAD_MARGIN
    measured = None
    if measure is not None:
        activations = _in_blocks(lambda x: network.apply(params, x)[1], jnp.asarray(data.measured.x), size)
        measured = measure(activations, data.measured)
    return Snapshot(
        epoch=state.epoch,
        train_loss=train_loss,
        test_loss=test_loss,
        train_accuracy=train_accuracy,
        test_accuracy=test_accuracy,
        gradient_mean=probe.mean,
        gradient_std=probe.std,
        gradient_batch_norm=probe.batch_norm,
        weight_norm=weight_norm,
        weight_distance=layer_norms(network.weights(jax.tree.map(jnp.subtract, params, state.start))),
        alive=finite & ~(guessing & (state.epoch >= DEAD_AFTER)),
        measured=measured,
        params=params if keep_parameters else None,
    )
