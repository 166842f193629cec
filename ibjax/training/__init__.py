"""Training one network from one key, as pure functions; replicas are the caller's vmap."""

from ibjax.training.config import Rates, TrainConfig, validate
from ibjax.training.gradients import GradientStatistics, gradient_statistics, probe_batches
from ibjax.training.optimizers import OPTIMIZERS
from ibjax.training.order import epoch_order
from ibjax.training.snapshots import snapshot_epochs
from ibjax.training.train import Slots, Snapshot, TrainingData, TrainState, init, segment, train

__all__ = [
    "OPTIMIZERS",
    "GradientStatistics",
    "Rates",
    "Slots",
    "Snapshot",
    "TrainConfig",
    "TrainState",
    "TrainingData",
    "epoch_order",
    "gradient_statistics",
    "init",
    "probe_batches",
    "segment",
    "snapshot_epochs",
    "train",
    "validate",
]
