"""Settings of a training run."""

import dataclasses
import math
from typing import NamedTuple

from jaxtyping import Array, Float

from ibjax.errors import InputError, choose
from ibjax.training.optimizers import OPTIMIZERS


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How one network is trained and when it is looked at.

    Attributes:
        epochs: passes over the training set.
        batch_size: samples a step, None for the whole training set. Every sample is used once an epoch; when
            the batch size does not divide the training set, the last step of an epoch takes the
            remaining samples and averages over them alone.
        optimizer: a name of `ibjax.training.OPTIMIZERS`.
        learning_rate: step size; a traced value in the training state, so replicas may differ in it.
        momentum: of ``"momentum"`` and ``"momentum_l2"``; may be traced, see `Rates`.
        weight_decay: of ``"adamw"`` and ``"momentum_l2"``; may be traced.
        reshuffle: draw a new order every epoch; otherwise the data's own order, always.
        snapshots: about how many epochs to look at, log-spaced, every early epoch among them.
        evaluate_size: samples whose loss or activations are computed at a time when the network is looked at, None for
            all: a network of images needs much more memory for a sample than what is kept of it.
        decay: what the step size is multiplied by again and again; 1 leaves it alone.
        decay_after: epochs after which it is, such as (60, 120, 160); None for after every one.
    """

    epochs: int = 10_000
    batch_size: int | None = 64
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    reshuffle: bool = True
    snapshots: int = 150
    evaluate_size: int | None = None
    decay: float = 1.0
    decay_after: tuple[int, ...] | None = None


class Rates(NamedTuple):
    """Numbers of a training step that a program may take as arguments; the learning rate is in the training state.

    Attributes:
        momentum: instead of the config's.
        weight_decay: instead of the config's.
    """

    momentum: Float[Array, ""] | float
    weight_decay: Float[Array, ""] | float


def validate(config: TrainConfig, samples: int) -> TrainConfig:
    """Return the config if it makes sense for a training set of that many samples, else raise `InputError`."""
    choose("optimizer", config.optimizer, OPTIMIZERS)
    if config.epochs < 1:
        raise InputError(f"epochs must be 1 or more, got {config.epochs}")
    if config.snapshots < 2:
        raise InputError(f"snapshots must be 2 or more (the start and the end), got {config.snapshots}")
    if config.batch_size is not None and not 1 <= config.batch_size <= samples:
        raise InputError(
            f"batch_size must be from 1 to the {samples} training samples, got {config.batch_size}: "
            "None takes the full batch"
        )
    if config.evaluate_size is not None and config.evaluate_size < 1:
        raise InputError(f"evaluate_size must be 1 or more, got {config.evaluate_size}: None takes all samples at once")
    if not (math.isfinite(config.learning_rate) and config.learning_rate > 0):
        raise InputError(f"learning_rate must be positive and finite, got {config.learning_rate}")
    if not 0 < config.decay <= 1:
        raise InputError(f"decay must be above 0 and at most 1, got {config.decay}: 1 keeps the learning rate")
    if min(config.decay_after or (1,)) < 1:
        raise InputError(f"decay_after must be epochs from 1 on, got {config.decay_after}")
    if not 0 <= config.momentum < 1:
        raise InputError(f"momentum must be at least 0 and below 1, got {config.momentum}")
    if not (math.isfinite(config.weight_decay) and config.weight_decay >= 0):
        raise InputError(f"weight_decay must be 0 or more, got {config.weight_decay}")
    return config
