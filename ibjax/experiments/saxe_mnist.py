"""Compression on real images, by kernel bounds with several noise variances, tanh against ReLU."""

import dataclasses
import functools

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ibjax.datasets import Dataset, fashion_mnist, flatten, mnist, subset
from ibjax.errors import InputError, choose
from ibjax.estimators import parse_layer
from ibjax.experiments.compression import falls_of, runs_by
from ibjax.experiments.experiment import Experiment, Grid, preliminary
from ibjax.experiments.paths import mean_over_replicas, per_replica
from ibjax.networks import ACTIVATIONS, INITIALIZERS, MLP
from ibjax.plane import Claim, greater_than, less_than, paired_difference
from ibjax.sweep import Study
from ibjax.training import TrainConfig, TrainingData

IMAGES = {"mnist": mnist, "fashion-mnist": fashion_mnist}
"""Name -> reader."""
VARIANCES = (0.1, 0.001, 0.01, 1.0)
"""Of the analysis noise; the first is the source's, who chose it to resemble binning, the second its notebook's."""
SATURATING = ("tanh", "softsign", "sigmoid")
FALL, MATTERS = 0.1, 1.0
"""Margins: bits of I(X;T) that count as a fall, bits by which the noise changes I(X;T)."""


@dataclasses.dataclass(frozen=True)
class SaxeMNIST:
    """784-1024-20-20-20-10 networks on handwritten digits, I(X;T) of the test images with noise on the layers.

    Plain stochastic gradient descent, Glorot's uniform initial weights, pixels in [0, 1]. The noise is the analyst's:
    without it I(X;T) is ln n, and with it the number means nothing without its variance, so that several are shown.

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 2, figure 1.
    """

    replicas: int = 5
    """Initialisations of each activation."""
    epochs: int = 10_000
    """Passes over the training images."""
    batch_size: int | None = 128
    """Images a step; None is all."""
    optimizer: str = "sgd"
    """One of sgd, momentum, adam, adamw."""
    learning_rate: float = 1e-3
    """Step size."""
    widths: tuple[int, ...] = (784, 1024, 20, 20, 20, 10)
    """Units of every layer from the input to the output."""
    activation: str = "tanh"
    """Of the hidden layers."""
    activations: tuple[str, ...] = ("tanh", "relu")
    """Activations that are compared."""
    initializer: str = "lorenzen"
    """Initial weights: lorenzen is Glorot's uniform distribution, Keras's default."""
    measure: tuple[str, ...] = tuple(
        f"kernel:noise_variance={variance:g},bound={bound}" for bound in ("upper", "lower") for variance in VARIANCES
    )
    """Estimators of the layers' information, each name:setting=value,..."""
    images: str = "mnist"
    """Which: mnist or fashion-mnist."""
    data: str | None = None
    """Folder of the images; None for the one that IBJAX_DATA names, else they are fetched once."""
    training_images: int | None = None
    """The first so many of the training images; None for all 60,000."""
    measured_images: int | None = None
    """The first so many of the test images; None for all 10,000."""
    snapshots: int = 150
    """About how many epochs are measured, log-spaced, every early one among them."""
    chunk_size: int | None = 1
    """Replicas that one device executes at a time; None for half of them, at most 25."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self):
        """Check the names; the study checks the rest."""
        for name in (self.activation, *self.activations):
            choose("activation", name, ACTIVATIONS)
        choose("initializer", self.initializer, INITIALIZERS)
        choose("images", self.images, IMAGES)
        if not self.activations:
            raise InputError("activations is empty: name at least one")
        if len(self.widths) < 3 or self.widths[0] != 784 or self.widths[-1] != 10 or min(self.widths) < 1:
            raise InputError(
                f"widths must go from the 784 pixels over a hidden layer to the 10 classes, got {self.widths}"
            )
        for name in ("training_images", "measured_images"):
            count = getattr(self, name)
            if count is not None and count < 2:
                raise InputError(f"{name} must be 2 or more, got {count}: None takes all")


PRESETS = {
    "paper": SaxeMNIST(),
    # Fewer images and steps 200 times as long: 200 epochs of 50 steps go as far as 4300 of the source's.
    "quick": SaxeMNIST(
        replicas=3, epochs=200, learning_rate=0.2, training_images=6400, measured_images=1000, snapshots=24
    ),
}
"""Named settings; the first is the default."""


def first_images(data: Dataset, count: int | None) -> Dataset:
    """The first so many images of a data set, flattened; all of them for None or where there are no more."""
    flat = flatten(data)
    return flat if count is None or count >= len(flat) else subset(flat, np.arange(count), data.name)


def study(config: SaxeMNIST) -> Study:
    """The study of one activation: the images read and joined to the network."""
    read = IMAGES[config.images]
    train, test = read(config.data, "train"), read(config.data, "test")
    train, test = first_images(train, config.training_images), first_images(test, config.measured_images)
    return Study(
        network=functools.partial(MLP, config.widths, config.activation, config.initializer),
        data=TrainingData(train, test, test),
        config=TrainConfig(
            epochs=config.epochs,
            batch_size=config.batch_size,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            snapshots=config.snapshots,
        ),
        estimators=tuple(map(parse_layer, config.measure)),
        replicas=config.replicas,
        seed=config.seed,
        chunk_size=config.chunk_size,
        title=f"{test.name}, {config.activation} {'-'.join(map(str, config.widths))}",
    )


def grid(config: SaxeMNIST) -> Grid:
    """Over activations."""
    return {"activation": config.activations}


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge which activation compresses, for every bound and noise variance, and whether the variance matters.

    All of hidden layers, intervals over replicas. A *fall* is that of I(X;T) from its peak to the mean of the last 5
    snapshots, 0 where `ibjax.plane.phases` finds it within the noise, mean over layers. For every estimator:

    * *tanh compresses*: the fall is greater than 0.1 bit.
    * *ReLU does not* (nor any other without two bounds): it is less than 0.1 bit.

    And for every activation and bound:

    * *the noise matters*: I(X;T) at the end, mean over layers, is by more than 1 bit larger with the smallest noise
      variance than with the largest, in the same network.
    """
    early = preliminary(found, PRESETS["paper"]) or _fewer_images(found)
    result = []
    for (activation,), run in runs_by(found, "activation").items():
        saturating = activation in SATURATING
        ends: dict[str, dict[float, np.ndarray]] = {}
        for name in run["estimator"].values.tolist():
            falls = falls_of(run, name)
            statement = f"{activation} {'compresses' if saturating else 'does not compress'}"
            statistic = f"{name}: fall of I(X;T), bits, mean over hidden layers"
            value = mean_over_replicas(per_replica(np.nanmean, falls.fall))
            rule = greater_than(FALL) if saturating else less_than(FALL)
            result.append(Claim(f"{activation} by {name}", statement, statistic, value, rule, early))
            estimator = parse_layer(name)
            if hasattr(estimator, "noise_variance") and hasattr(estimator, "bound"):
                last = falls.complexity[..., -1].mean(axis=-1)
                ends.setdefault(estimator.bound, {})[float(estimator.noise_variance)] = last
        for bound, by_variance in ends.items():
            least, most = min(by_variance), max(by_variance)
            if least == most:
                continue
            value = paired_difference(by_variance[least], by_variance[most])
            statement = f"what I(X;T) of {activation} is depends on the noise variance"
            statistic = f"{bound} bound: I(X;T) at the end, bits, noise {least:g} less noise {most:g}"
            result.append(
                Claim(f"noise {activation} {bound}", statement, statistic, value, greater_than(MATTERS), early)
            )
    return result


def _fewer_images(found: xr.Dataset) -> bool:
    """Whether fewer images were measured or trained on than the study has."""
    runs = runs_by(found, "activation", "training_images", "measured_images")
    return any(count is not None for _, *counts in runs for count in counts)


def figure(found: xr.Dataset) -> Figure:
    """Draw I(X;T) between its bounds for every activation and noise variance."""
    from ibjax.plotting import noise_figure

    bounds: dict[float, dict[str, str]] = {}
    runs = {activation: run for (activation,), run in runs_by(found, "activation").items()}
    for name in next(iter(runs.values()))["estimator"].values.tolist():
        estimator = parse_layer(name)
        if hasattr(estimator, "noise_variance") and hasattr(estimator, "bound"):
            bounds.setdefault(float(estimator.noise_variance), {})[estimator.bound] = name
    return noise_figure(runs, dict(sorted(bounds.items())))


EXPERIMENT = Experiment(
    "compression on handwritten digits, by kernel bounds with several noise variances (Saxe et al. 2018)",
    PRESETS,
    claims,
    figure,
    study,
    grid=grid,
)
