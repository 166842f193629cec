"""Linear students of a linear teacher: their information is exact, with and without overfitting."""

import dataclasses

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ibjax.errors import InputError
from ibjax.experiments.experiment import Experiment, preliminary
from ibjax.experiments.linear import Student, Teacher, train
from ibjax.experiments.paths import mean_over_replicas
from ibjax.plane import Claim, greater_than, less_than
from ibjax.sweep.study import replica_key

COMPRESSES, OVERFITS, GENERALISES = 0.02, 1.1, 0.9
"""Margins: share of the peak that is lost, test error at the end over its smallest, and over the error at the start."""


@dataclasses.dataclass(frozen=True)
class SaxeLinear:
    """A student with one hidden layer of 100 linear units learns Y = W X + noise from P samples, several P.

    The inputs are N(0, 1/100) in 100 dimensions, the teacher's weights N(0, 1), the noise as large as the signal.
    T = W1 X + N(0, s2), the noise for the analysis alone; the source takes s2 = 1. P = 100, the number of inputs,
    overfits the most; with ten times as many the student generalises. Plain gradient descent on all samples, and on
    batches of 5 as the source has it for the overfitting student.

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 3, figures 3 and 4.
    """

    replicas: int = 50
    """Students, each with a teacher of its own."""
    samples: tuple[int, ...] = (100, 1000)
    """P, samples to learn from."""
    batch_sizes: tuple[int | None, ...] = (None, 5)
    """Samples a step; None is all of them."""
    epochs: int = 2000
    """Passes over the samples."""
    learning_rate: float = 0.5
    """Step size on all samples; a tenth of it on batches."""
    inputs: int = 100
    """Dimensions of X."""
    hidden: int = 100
    """Units of the hidden layer."""
    snr: float = 1.0
    """Variance of the teacher's weights over that of its noise."""
    scale: float = 0.1
    """Standard deviation of the student's initial weights."""
    noise_variances: tuple[float, ...] = (1.0, 0.1, 0.01)
    """Variances of the analysis noise."""
    snapshots: int = 60
    """About how many epochs are measured."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self):
        """Check what would fail late."""
        if min(self.noise_variances, default=0) <= 0:
            raise InputError(
                f"noise_variances must be positive, got {self.noise_variances}: without noise I is infinite"
            )
        if min(self.samples, default=0) < 2 or self.replicas < 1 or self.epochs < 1:
            raise InputError("samples must be 2 or more, replicas and epochs 1 or more")
        for size in self.batch_sizes:
            if size is not None and not 1 <= size <= min(self.samples):
                raise InputError(f"a batch has 1 to {min(self.samples)} samples, got {size}")


PRESETS = {"paper": SaxeLinear(), "quick": SaxeLinear(replicas=8, epochs=400, snapshots=40)}
"""Named settings; the first is the default."""


def compute(config: SaxeLinear, progress: bool) -> xr.Dataset:
    """Train the students and measure them."""
    keys = jax.vmap(lambda i: replica_key(config.seed, i))(np.arange(config.replicas))
    epochs, rows = np.zeros(0), []
    for samples in config.samples:
        for size in config.batch_sizes:
            rate = config.learning_rate if size is None else config.learning_rate / 10
            student = Student(
                samples, size, config.hidden, config.epochs, rate, config.scale, tuple(config.noise_variances)
            )
            teacher = Teacher(config.inputs, 0, config.snr)
            title = f"{samples} samples, {size or 'all'} a step"
            epochs, found = train(student, teacher, keys, config.snapshots, title=title, progress=progress)
            rows.append(found)
    shape = len(config.samples), len(config.batch_sizes)

    def whole(name: str) -> np.ndarray:
        values = np.stack([getattr(row, name) for row in rows])
        return values.reshape(*shape, *values.shape[1:])

    grid = ("samples", "batch", "replica", "snapshot")
    return xr.Dataset(
        {
            "complexity": ((*grid, "noise_variance"), whole("complexity"), {"units": "nats", "long_name": "I(X;T)"}),
            "relevance": ((*grid, "noise_variance"), whole("relevance"), {"units": "nats", "long_name": "I(T;Y)"}),
            "train_error": (grid, whole("train_error"), {"long_name": "mean squared error of the samples"}),
            "test_error": (grid, whole("test_error"), {"long_name": "expected squared error"}),
        },
        {
            "samples": list(config.samples),
            "batch": ["full" if size is None else str(size) for size in config.batch_sizes],
            "noise_variance": list(config.noise_variances),
            "epoch": ("snapshot", epochs),
        },
        {"title": f"linear student and teacher, {config.inputs}-{config.hidden}-1"},
    )


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge compression and generalisation of every student, means over replicas.

    * *no compression*, for every number of samples, batch size and noise variance: I(X;T) loses less than 2 % of its
      peak until the end.
    * *generalises*: at the end the test error is below 0.9 of that at the start. Judged for the most samples.
    * *overfits*: at the end the test error is above 1.1 times its smallest. Judged for the fewest samples.

    Together: generalisation without compression, and overfitting without it.
    """
    early = preliminary(found, PRESETS["paper"])
    result = []
    lost = 1 - found["complexity"].isel(snapshot=-1) / found["complexity"].max("snapshot")
    error = found["test_error"]
    last, first, least = error.isel(snapshot=-1), error.isel(snapshot=0), error.min("snapshot")
    most, fewest = int(found["samples"].max()), int(found["samples"].min())
    for batch in found["batch"].values.tolist():
        for samples in found["samples"].values.tolist():
            where = {"samples": samples, "batch": batch}
            name = f"{samples} samples, {'all' if batch == 'full' else batch} a step"
            for noise in found["noise_variance"].values.tolist():
                value = mean_over_replicas(lost.sel(**where, noise_variance=noise).values)
                statistic = f"{name}: share of the peak of I(X;T) that is lost, noise variance {noise:g}"
                title = "linear networks do not compress"
                result.append(
                    Claim(f"no-compression {name} {noise:g}", title, statistic, value, less_than(COMPRESSES), early)
                )
        for samples, statement, ratio, rule in (
            (most, "with many samples they generalise", last / first, less_than(GENERALISES)),
            (fewest, "with as many samples as inputs they overfit", last / least, greater_than(OVERFITS)),
        ):
            value = mean_over_replicas(ratio.sel(samples=samples, batch=batch).values)
            over = "at the start" if samples == most else "at its smallest"
            name = f"{samples} samples, {'all' if batch == 'full' else batch} a step"
            result.append(
                Claim(
                    f"{statement} {name}",
                    statement,
                    f"{name}: test error at the end over that {over}",
                    value,
                    rule,
                    early,
                )
            )
    return result


def figure(found: xr.Dataset) -> Figure:
    """Draw information, training and test error against the epoch for every student."""
    from ibjax.plotting import linear_figure

    return linear_figure(found)


EXPERIMENT = Experiment(
    "linear students of a linear teacher, exact information: no compression, with and without overfitting",
    PRESETS,
    claims,
    figure,
    compute=compute,
)
