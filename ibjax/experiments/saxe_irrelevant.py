"""Task-irrelevant inputs: a linear student forgets them while it learns, and its total information rises."""

import dataclasses

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ibjax.errors import InputError
from ibjax.experiments.experiment import Experiment, preliminary
from ibjax.experiments.linear import Measured, Student, Teacher, train
from ibjax.experiments.paths import mean_over_replicas
from ibjax.plane import Claim, greater_than
from ibjax.sweep.study import replica_key

FALLS, FITTED = 0.01, 0.9
"""Margins: share of a peak, or of a start, that counts as a change; share of the fall of the training error."""


@dataclasses.dataclass(frozen=True)
class SaxeIrrelevant:
    """A linear student with 30 inputs that the teacher uses and 70 that it does not.

    The source does not state its training settings; these are those of a public re-implementation, with its batch of
    5 samples, at which 3000 epochs take long; ``quick`` steps on all samples. A direction of the hidden layer that is
    not trained keeps what its random weights tell of all inputs, and hides what the trained one forgets: hence two
    scales of the initial weights.

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 5 and figure 6.
    """

    replicas: int = 20
    """Students, each with a teacher of its own."""
    relevant: int = 30
    """Inputs that the teacher uses."""
    irrelevant: int = 70
    """Inputs that it does not."""
    samples: int = 1000
    """Samples to learn from."""
    batch_size: int | None = 5
    """Samples a step; None is all of them."""
    epochs: int = 3000
    """Passes over the samples."""
    learning_rate: float = 0.05
    """Step size."""
    hidden: int = 100
    """Units of the hidden layer."""
    snr: float = 5.0
    """Variance of the teacher's weights over that of its noise."""
    scales: tuple[float, ...] = (0.03, 0.001)
    """Standard deviations of the student's initial weights: the re-implementation's, and one too small to matter."""
    noise_variances: tuple[float, ...] = (1.0, 0.01, 0.0001)
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
        if min(self.scales, default=0) <= 0:
            raise InputError(f"scales must be positive, got {self.scales}: from 0 nothing is learned")
        if self.irrelevant < 1:
            raise InputError(f"irrelevant must be 1 or more, got {self.irrelevant}: see saxe-linear for none")
        if self.samples < 2 or self.replicas < 1 or self.epochs < 1:
            raise InputError("samples must be 2 or more, replicas and epochs 1 or more")
        if self.batch_size is not None and not 1 <= self.batch_size <= self.samples:
            raise InputError(f"batch_size must be 1 to {self.samples}, got {self.batch_size}")


PRESETS = {
    "paper": SaxeIrrelevant(),
    "quick": SaxeIrrelevant(replicas=8, epochs=600, batch_size=None, learning_rate=0.5, snapshots=40),
}
"""Named settings; the first is the default."""


def compute(config: SaxeIrrelevant, progress: bool) -> xr.Dataset:
    """Train the students and measure them."""
    keys = jax.vmap(lambda i: replica_key(config.seed, i))(np.arange(config.replicas))
    teacher = Teacher(config.relevant, config.irrelevant, config.snr)
    epochs, rows = np.zeros(0), []
    for scale in config.scales:
        student = Student(
            config.samples,
            config.batch_size,
            config.hidden,
            config.epochs,
            config.learning_rate,
            scale,
            tuple(config.noise_variances),
        )
        title = f"initial weights of {scale:g}"
        epochs, found = train(student, teacher, keys, config.snapshots, title=title, progress=progress)
        rows.append(found)
    measured = Measured(*(np.stack(values) for values in zip(*rows, strict=True)))
    dims = ("scale", "replica", "snapshot")
    names = {
        "complexity": "I(X;T)",
        "complexity_relevant": "I(X_rel;T)",
        "complexity_irrelevant": "I(X_irr;T)",
        "relevance": "I(T;Y)",
    }
    information = {
        name: ((*dims, "noise_variance"), getattr(measured, name), {"units": "nats", "long_name": text})
        for name, text in names.items()
    }
    errors = {
        "train_error": (dims, measured.train_error, {"long_name": "mean squared error of the samples"}),
        "test_error": (dims, measured.test_error, {"long_name": "expected squared error"}),
    }
    return xr.Dataset(
        information | errors,
        {
            "scale": list(config.scales),
            "noise_variance": list(config.noise_variances),
            "epoch": ("snapshot", epochs),
        },
        {"title": f"linear student, {config.relevant} relevant and {config.irrelevant} irrelevant inputs"},
    )


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge what the source sees, for every scale and variance of the analysis noise and as means over replicas.

    * *irrelevant falls*: I(X_irr;T) loses more than 1 % of its peak until the end.
    * *total rises*: I(X;T) is at the end more than 1 % above its start.
    * *at the same time as fitting*: of what I(X_irr;T) loses after its peak, more than half is lost before the training
      error has made 90 % of its own way. Judged where it falls at all.
    """
    early = preliminary(found, PRESETS["paper"])
    order, result = ("replica", "snapshot"), []
    for scale in found["scale"].values.tolist():
        error = found["train_error"].sel(scale=scale).transpose(*order).values
        fitted = ((error[:, :1] - error) >= FITTED * (error[:, :1] - error[:, -1:])).argmax(axis=1)
        for noise in found["noise_variance"].values.tolist():
            irrelevant, total = (
                found[name].sel(scale=scale, noise_variance=noise).transpose(*order).values
                for name in ("complexity_irrelevant", "complexity")
            )
            peak, at = irrelevant.max(axis=1), irrelevant.argmax(axis=1)
            fall = peak - irrelevant[:, -1]
            by_then = peak - irrelevant[np.arange(len(at)), np.maximum(fitted, at)]
            judged = {
                "irrelevant": (
                    "information on irrelevant inputs falls",
                    "share of its peak that I(X_irr;T) loses",
                    fall / peak,
                    greater_than(FALLS),
                ),
                "total": (
                    "while the total information rises",
                    "I(X;T) at the end over its start",
                    total[:, -1] / total[:, 0],
                    greater_than(1 + FALLS),
                ),
                "together": (
                    "at the same time as fitting",
                    "share of the fall before the training error has made 90 % of its way",
                    np.where(fall > FALLS * peak, by_then / np.where(fall > 0, fall, 1.0), np.nan),
                    greater_than(0.5),
                ),
            }
            where = f"initial weights {scale:g}, noise variance {noise:g}"
            result += [
                Claim(f"{name}, {where}", statement, f"{statistic}, {where}", mean_over_replicas(values), rule, early)
                for name, (statement, statistic, values, rule) in judged.items()
            ]
    return result


def figure(found: xr.Dataset) -> Figure:
    """Draw the informations on all, the relevant and the irrelevant inputs and the errors against the epoch."""
    from ibjax.plotting import irrelevant_figure

    return irrelevant_figure(found)


EXPERIMENT = Experiment(
    "a linear student with relevant and irrelevant inputs: what it forgets while it learns (Saxe et al. 2018)",
    PRESETS,
    claims,
    figure,
    compute=compute,
)
