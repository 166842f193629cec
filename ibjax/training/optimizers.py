"""Optax optimisers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import optax

if TYPE_CHECKING:
    from ibjax.training.config import Rates, TrainConfig

OPTIMIZERS: dict[str, Callable[[TrainConfig | Rates], optax.GradientTransformation]] = {
    "sgd": lambda _: optax.sgd(1.0),
    "momentum": lambda config: optax.sgd(1.0, momentum=config.momentum),
    "adam": lambda _: optax.adam(1.0),
    "adamw": lambda config: optax.adamw(1.0, weight_decay=config.weight_decay),
    "momentum_l2": lambda config: optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.sgd(1.0, momentum=config.momentum)
    ),
}
"""Name -> (momentum and weight decay) -> optimiser with a learning rate of one.

All five scale their final update by the learning rate, so the step multiplies by the one in the training state,
which may be traced.

``"momentum_l2"`` adds ``weight_decay`` times the parameters to the gradient, as PyTorch's SGD does, for the studies
of images; ``"adamw"`` decays apart from the gradient.
"""
