"""Compression without stochasticity: full-batch gradient descent, and a network that cannot compress."""

import dataclasses

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from ibjax.errors import InputError, choose
from ibjax.experiments import szt
from ibjax.experiments.compression import FITTED, falls_of, fitted, runs_by
from ibjax.experiments.experiment import Experiment, Grid, preliminary
from ibjax.experiments.paths import curves_of, mean_over_replicas, paths_of, per_replica, share_over_replicas
from ibjax.networks import ACTIVATIONS
from ibjax.plane import (
    Claim,
    PhaseStatus,
    greater_than,
    less_than,
    paired_difference,
    snr_transition,
    surviving,
    within,
)
from ibjax.sweep import Study

FALL, SAME = 0.1, 0.5
"""Margins: bits of I(X;T) that count as a fall, and that two falls may differ by."""
WINDOW = 15
"""Snapshots that a slope of the signal-to-noise ratio is fitted to."""


@dataclasses.dataclass(frozen=True)
class SaxeFullBatch(szt.SZT):
    """The 12-bit networks of the preset ``ibsgd``, trained on batches and on all samples at once.

    Replica i has the same initial weights under both. An epoch on all samples is one step, and 13 on batches of 256:
    the full batch takes a step size ``factor`` times as large, so that both get about as far in an epoch. No factor
    makes their losses equal all along, because Adam's steps shrink where gradients are noisy: with 13 both fit within
    the same hundred epochs, and then the full batch is ahead. Planes are compared at equal training losses, therefore.
    Linear networks, which cannot saturate, stand for the source's linear chain of one unit a layer.

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 4, figure 5, appendix I.
    """

    batch_size: int | None = 256
    optimizer: str = "adam"
    learning_rate: float = 4e-4
    initializer: str = "ibsgd"
    measure: tuple[str, ...] = (FITTED, "binning:bins=30,range=layer")
    activations: tuple[str, ...] = ("tanh", "relu", "linear")
    """Names of the hidden layers' activations."""
    batch_sizes: tuple[int | None, ...] = (256, None)
    """Samples a step, None for all; one of each kind."""
    factor: float = 13.0
    """Step size on the full batch over ``learning_rate``: the batches of 256 in an epoch of the source."""

    def __post_init__(self):
        """Check the settings that are swept over."""
        super().__post_init__()
        for name in self.activations:
            choose("activation", name, ACTIVATIONS)
        if not self.activations:
            raise InputError("activations is empty: name at least one")
        if len(self.batch_sizes) != 2 or self.batch_sizes.count(None) != 1:
            raise InputError(f"batch_sizes must name one size and None, the full batch, got {self.batch_sizes}")
        if not (self.factor > 0 and np.isfinite(self.factor)):
            raise InputError(f"factor must be positive and finite, got {self.factor}: 13 is the batches in an epoch")
        if len(self.widths) < 3:
            raise InputError(f"widths must name a hidden layer, got {self.widths}")


PRESETS = {
    "paper": SaxeFullBatch(),
    "quick": SaxeFullBatch(replicas=10, epochs=3000, snapshots=80),
}
"""Named settings; the first is the default."""


def study(config: SaxeFullBatch) -> Study:
    """The study of one activation and batch size."""
    rate = config.learning_rate * (config.factor if config.batch_size is None else 1.0)
    made = szt.study(dataclasses.replace(config, learning_rate=rate))
    return dataclasses.replace(made, title=f"{made.title}, {config.batch_size or 'all'} samples a step")


def grid(config: SaxeFullBatch) -> Grid:
    """Over activations and batch sizes."""
    return {"activation": config.activations, "batch_size": config.batch_sizes}


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge whether compression needs stochastic gradients, and whether their transition needs compression.

    All of hidden layers by 30 bins over the run, intervals over replicas; a *fall* is that of I(X;T) from its peak to
    the mean of the last 5 snapshots, 0 where `ibjax.plane.phases` finds it within the noise, mean over layers.

    * *same*: of the same initial weights, what I(X;T) has lost of its highest value when the training loss first is as
      low as both get, on batches less on the full batch, lies within 0.5 bit of 0, for every activation, over replicas
      that survive both.
    * *compresses on the full batch* (tanh): the fall is greater than 0.1 bit; *does not* (all others): less than 0.1.
    * *linear does not compress*, *has a transition all the same*: on batches the fall of linear networks is less than
      0.1 bit, and more than half of their layers have a steepest fall of the gradients' signal-to-noise ratio by log
      epoch, from a line through 15 snapshots (see `ibjax.plane.snr_transition`).
    """
    early = preliminary(found, PRESETS["paper"])
    runs = runs_by(found, "activation", "batch_size")
    result = []

    def claim(name: str, statement: str, statistic: str, estimate, rule) -> None:
        result.append(Claim(name, statement, statistic, estimate, rule, early))

    for activation in dict.fromkeys(activation for activation, _ in runs):
        own = {size: run for (name, size), run in runs.items() if name == activation}
        falls = {
            "full" if size is None else "batches": per_replica(np.nanmean, falls_of(run, fitted(run)).fall)
            for size, run in own.items()
        }
        text = f"{activation}: fall of I(X;T), bits, mean over hidden layers"
        if len(own) == 2:
            full, batches = own.pop(None), next(iter(own.values()))
            claim(
                f"same {activation}",
                "the plane is the same without stochasticity",
                f"{text}, at equal training losses, on batches less on the full batch",
                paired_difference(*lost_at_equal_losses(batches, full)),
                within(SAME),
            )
        if "full" in falls and activation != "linear":
            compresses = activation in ("tanh", "softsign", "sigmoid")
            claim(
                f"full-batch {activation}",
                f"{activation} {'compresses' if compresses else 'does not compress'} on the full batch",
                f"{text}, on the full batch",
                mean_over_replicas(falls["full"]),
                greater_than(FALL) if compresses else less_than(FALL),
            )
        if "batches" in falls and activation == "linear":
            claim(
                "linear",
                "linear networks do not compress",
                f"{text}, on batches",
                mean_over_replicas(falls["batches"]),
                less_than(FALL),
            )
            run = next(run for (name, size), run in runs.items() if name == "linear" and size is not None)
            parts = (curves_of(run, name)[:, :-1] for name in ("gradient_mean", "gradient_std"))
            place = snr_transition(falls_of(run, fitted(run)).epochs, *parts, window=WINDOW).by_log_epoch
            claim(
                "linear-transition",
                "the gradients' SNR has a transition where nothing can compress",
                "linear: share of hidden layers with a steepest fall by log epoch, on batches",
                share_over_replicas((place.status == PhaseStatus.FOUND).mean(axis=-1)),
                greater_than(0.5),
            )
    return result


def lost_at_equal_losses(
    first: xr.Dataset, second: xr.Dataset
) -> tuple[Float[np.ndarray, " replicas"], Float[np.ndarray, " replicas"]]:
    """What I(X;T) has lost when two trainings of the same initial weights are equally far.

    Args:
        first: labelled arrays of a run.
        second: of another with the same replicas.

    Returns:
        For either run and each replica that survives both: the highest I(X;T) until the training loss is as low as the
        higher one of both runs' lowest, less that at this snapshot, in bits, mean over hidden layers.
    """
    kept = [surviving(run)["replica"].values for run in (first, second)]
    both = np.intersect1d(kept[0], kept[1])
    parts = []
    for run, replicas in zip((first, second), kept, strict=True):
        rows = np.isin(replicas, both)
        low = np.minimum.accumulate(curves_of(run, "train_loss")[rows], axis=-1)
        parts.append((low, paths_of(run, fitted(run)).complexity[rows, :-1]))
    target = np.maximum(*(low[:, -1] for low, _ in parts))
    lost = []
    for low, bits in parts:
        at = (low <= target[:, None]).argmax(axis=-1)[:, None, None]
        highest = np.maximum.accumulate(bits, axis=-1)
        lost.append(np.take_along_axis(highest - bits, at, axis=-1)[..., 0].mean(axis=-1))
    return lost[0], lost[1]


def figure(found: xr.Dataset) -> Figure:
    """Draw I(X;T) on batches and on the full batch, the gradients' signal-to-noise ratio and the losses."""
    from ibjax.plotting import batch_gradient_figure

    runs = runs_by(found, "activation", "batch_size")
    return batch_gradient_figure(runs, fitted(next(iter(runs.values()))))


EXPERIMENT = Experiment(
    "compression without stochasticity: full-batch gradient descent against batches (Saxe et al. 2018)",
    PRESETS,
    claims,
    figure,
    study,
    grid=grid,
)
