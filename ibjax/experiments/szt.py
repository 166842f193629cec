"""Opening the black box: fifty networks on the 12-bit task, every layer at every stage of training."""

import dataclasses
import functools
import math

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ibjax.datasets import THETA, split, szt
from ibjax.errors import InputError, choose
from ibjax.estimators import parse_layer
from ibjax.experiments.experiment import Experiment, preliminary
from ibjax.experiments.paths import Paths, end_of, mean_over_replicas, paths_of, per_replica, share_over_replicas
from ibjax.networks import ACTIVATIONS, INITIALIZERS, MLP
from ibjax.plane import Claim, Estimate, PhaseStatus, Rule, greater_than, less_than, phases, share
from ibjax.sweep import Study, data_key
from ibjax.training import TrainConfig, TrainingData

MEASURE_ON = ("all", "train", "test")


@dataclasses.dataclass(frozen=True)
class SZT:
    """The information plane of the 12-bit task.

    The defaults are the preset ``deck``: 12-10-7-5-4-3-2 tanh networks, SGD with batch 64 for 10,000 epochs, 50
    initialisations. It trains on a random 80 % and measures on all 4096 patterns (the slide says 4096 training
    samples, which is the number of all patterns). No source gives its learning rate: of the grid that
    `benchmarks/learning_rate.py` tries, 0.05 has the lowest mean training loss after 10,000 epochs, and was chosen
    by that alone.

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information".
    """

    replicas: int = 50
    """Initialisations; replica i is the same whatever their number, up to rounding."""
    epochs: int = 10_000
    """Passes over the training set."""
    batch_size: int | None = 64
    """Samples a step; None is the full batch. A ragged last batch is a smaller step of its own."""
    optimizer: str = "sgd"
    """One of sgd, momentum, adam, adamw."""
    learning_rate: float = 0.05
    """Step size."""
    momentum: float = 0.9
    """Momentum of the optimiser of that name."""
    weight_decay: float = 1e-4
    """Weight decay of adamw."""
    reshuffle: bool = True
    """Draw a new order of the samples every epoch."""
    widths: tuple[int, ...] = (12, 10, 7, 5, 4, 3, 2)
    """Units of every layer from the input to the output."""
    activation: str = "tanh"
    """One of tanh, relu, linear, softsign, softplus, sigmoid, leaky_relu, elu, swish."""
    initializer: str = "idnns"
    """Initial weights as in the public code: one of idnns, ibsgd, lorenzen."""
    fraction: float = 0.8
    """Share of the patterns that is trained on, 0.01 to 1."""
    split: str = "random"
    """How that share is drawn: random, stratified or first (the first patterns in lexicographic order)."""
    gamma: float | None = None
    """Gain of soft labels p(y|x); None keeps the hard ones, 8 gives 0.99 bit, 0.3 gives 0.734 bit."""
    theta: float = THETA
    """Threshold on the score of a pattern."""
    measure: tuple[str, ...] = ("binning:bins=30",)
    """Estimators of the layers' information, each name:setting=value,..."""
    measure_on: str = "all"
    """Patterns that information is measured on: all, train or test."""
    snapshots: int = 150
    """About how many epochs are measured, log-spaced, every early one among them."""
    keep_parameters: bool = False
    """Store the parameters at every snapshot, so that `ibjax measure` can measure again without training."""
    chunk_size: int | None = None
    """Replicas that one device executes at a time; None for half of them, at most 25."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self):
        """Check the names; the study checks the rest."""
        choose("activation", self.activation, ACTIVATIONS)
        choose("initializer", self.initializer, INITIALIZERS)
        choose("measure_on", self.measure_on, MEASURE_ON)
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise InputError(f"widths must name input and output, each 1 or more, got {self.widths}")
        if self.widths[0] != 12 or self.widths[-1] != 2:
            raise InputError(f"widths must begin with the 12 bits and end with the 2 classes, got {self.widths}")
        if self.gamma is not None and not math.isfinite(self.gamma):
            raise InputError(f"gamma must be finite, got {self.gamma}: None keeps the hard labels")


PRESETS: dict[str, SZT] = {
    # The slides of the study; see the class.
    "deck": SZT(),
    "paper": SZT(),
    "quick": SZT(replicas=10, epochs=3000),
    # The code published with the paper: Adam, batches in a fixed order, the first 80 % of the patterns, and its
    # 30 edges. Its figures were made with 5 to 40 repeats and batches of 512 to 4096.
    "idnns": SZT(
        replicas=40,
        epochs=8000,
        batch_size=512,
        optimizer="adam",
        learning_rate=4e-4,
        reshuffle=False,
        split="first",
        measure=("binning:bins=30,rule=idnns",),
    ),
    # Saxe et al. (2018): Adam, batch 256, bins 0.07 wide without bounds.
    "ibsgd": SZT(
        batch_size=256,
        optimizer="adam",
        learning_rate=4e-4,
        initializer="ibsgd",
        measure=("binning:rule=width,width=0.07",),
    ),
    # Lorenzen et al. (2022): Adam, batch 256, a stratified split, bins over the range of the whole run.
    "lorenzen": SZT(
        epochs=8000,
        batch_size=256,
        optimizer="adam",
        learning_rate=1e-4,
        initializer="lorenzen",
        split="stratified",
        measure=tuple(f"binning:bins={bins},range=run" for bins in (30, 100, 256)),
    ),
}
"""Named settings of the literature; the first is the default."""


def study(config: SZT) -> Study:
    """The study that a config describes: the task drawn, split and joined to the network."""
    key_split, key_labels = jax.random.split(data_key(config.seed))
    whole = szt(gamma=config.gamma, theta=config.theta, key=key_labels)
    train, test = split(whole, config.fraction, config.split, key_split)
    fields = (
        "epochs",
        "batch_size",
        "optimizer",
        "learning_rate",
        "momentum",
        "weight_decay",
        "reshuffle",
        "snapshots",
    )
    return Study(
        network=functools.partial(MLP, config.widths, config.activation, config.initializer),
        data=TrainingData(train, test, {"all": whole, "train": train, "test": test}[config.measure_on]),
        config=TrainConfig(**{name: getattr(config, name) for name in fields}),
        estimators=tuple(map(parse_layer, config.measure)),
        replicas=config.replicas,
        seed=config.seed,
        chunk_size=config.chunk_size,
        keep_parameters=config.keep_parameters,
        title=f"{whole.name}, {config.activation} {'-'.join(map(str, config.widths))}",
    )


SIMILAR, ROOM, RISE, KEPT, FAST, ROUNDING, MOSTLY = 0.1, 0.5, 0.05, -0.02, 0.1, 0.01, 0.95
"""Margins of the claims: a tenth of the plane; bits below H(X), of a rise, of I(T;Y); a tenth of the epochs; bits; a
share of layers and snapshots."""


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge what the study says of the plane, by the first estimator; the rules are those of `plane_claims`."""
    return plane_claims(found, 0, early=preliminary(found, PRESETS["paper"]))


def plane_claims(run: xr.Dataset, estimator: int | str, *, early: bool) -> list[Claim]:
    """Judge what the study says of the plane, as one estimator measured it.

    Intervals are over replicas; A is the first snapshot, C the peak of I(X;T).

    * *similar paths*: root mean square distance of a replica's layers from the mean of the other replicas', each
      coordinate as a share of its ceiling H(X) or I(X;Y), is less than 0.1: a tenth of the plane.
    * *fitting*: of a replica's layers that can rise, whose I(X;T) is at A more than 0.5 bit below H(X), most rise until
      C by 0.05 bit both in I(X;T) and in I(T;Y).
    * *fitting is fast*: C, the median over these layers, comes within a tenth of the epochs, in most replicas; where
      there is no peak it is beyond them, and one whose epoch is not resolved is left out.
    * *compression*: most layers compress, see `ibjax.plane.phases`.
    * *relevance is kept*: from C to the end, the mean of the last 5 snapshots, the mean change of I(T;Y) of layers that
      compress is above -0.02 bit.
    * *order of layers*: in most replicas, the data-processing inequality holds, to 0.01 bit, for more than 95 % of the
      layers and snapshots, in I(X;T) and in I(T;Y).

    Args:
        run: labelled arrays of a run.
        estimator: position or convention of what measured it.
        early: whether the verdicts are preliminary.
    """
    paths = paths_of(run, estimator)
    searched = phases(paths.epochs, paths.complexity, paths.relevance)
    rise = np.stack([part[..., 1] - part[..., 0] for part in (searched.complexity, searched.relevance)])
    fell = np.where(searched.compresses, end_of(paths.relevance) - searched.relevance[..., 1], np.nan)
    can_rise = searched.complexity[..., 0] < paths.source - ROOM
    none = np.isin(searched.peak_status, (PhaseStatus.NO_DROP, PhaseStatus.NO_RISE))
    peak = np.where(can_rise, np.where(none, np.inf, searched.peak), np.nan)
    both = np.where(can_rise, (np.nan_to_num(rise) > RISE).all(axis=0), np.nan)
    median_peak = per_replica(np.nanmedian, peak)
    fast = median_peak[~np.isnan(median_peak)] <= FAST * paths.epochs[-1]
    convention = estimator if isinstance(estimator, str) else run["estimator"].values[estimator]
    ordered = np.concatenate([_ordered(paths.complexity, paths.source), _ordered(paths.relevance, paths.ceiling)], -1)

    def claim(name: str, statement: str, statistic: str, values: np.ndarray | Estimate, rule: Rule) -> Claim:
        estimate = values if isinstance(values, Estimate) else mean_over_replicas(values)
        return Claim(name, statement, f"{convention}: {statistic}", estimate, rule, early)

    return [
        claim(
            "similar-paths",
            "all initialisations follow a similar path",
            "rms distance from the mean of the others, share of the plane",
            _distance(paths),
            less_than(SIMILAR),
        ),
        claim(
            "fitting",
            "at first I(X;T) and I(T;Y) both rise",
            "share of layers with room to rise whose both rise by 0.05 bit until the peak of I(X;T)",
            share_over_replicas(per_replica(np.nanmean, both)),
            greater_than(0.5),
        ),
        claim(
            "fitting-fast",
            "fitting takes a small part of training",
            "share of replicas whose median layer peaks within a tenth of the epochs",
            share(fast),
            greater_than(0.5),
        ),
        claim(
            "compression",
            "then I(X;T) falls",
            "share of layers that compress",
            share_over_replicas(searched.compresses.mean(axis=-1)),
            greater_than(0.5),
        ),
        claim(
            "relevance-kept",
            "while I(T;Y) does not fall",
            "change of I(T;Y) from the peak of I(X;T) to the end, bits, layers that compress",
            per_replica(np.nanmean, fell),
            greater_than(KEPT),
        ),
        claim(
            "order",
            "the data-processing order of the layers holds",
            "share of replicas of whose layers and snapshots 95 % keep it to 0.01 bit",
            share(ordered.mean(axis=(1, 2)) > MOSTLY),
            greater_than(0.5),
        ),
    ]


def _distance(paths: Paths) -> np.ndarray:
    """Distance of each replica from the mean of the others, as a share of the plane."""
    replicas = len(paths.complexity)
    squares = [
        ((values - values.mean(axis=0)) * replicas / max(replicas - 1, 1) / ceiling) ** 2
        for values, ceiling in ((paths.complexity, paths.source), (paths.relevance, paths.ceiling))
    ]
    return np.sqrt(np.mean(squares, axis=(0, 2, 3)))


def _ordered(values: np.ndarray, source: float) -> np.ndarray:
    """Whether each layer has no more than the one before it, the first no more than the source."""
    before = np.concatenate([np.full_like(values[:, :1], source), values[:, :-1]], axis=1)
    return values <= before + ROUNDING


def figure(found: xr.Dataset) -> Figure:
    """Draw the plane at the start, at epoch 400 and at the end, as the study's second figure, and the paths beneath."""
    from ibjax.plotting import plane_figure

    paths = paths_of(found)
    searched = phases(paths.epochs, paths.complexity, paths.relevance)
    return plane_figure(found, np.where(searched.compresses, searched.peak, np.nan))


EXPERIMENT = Experiment(
    "the information plane of the 12-bit task (Shwartz-Ziv & Tishby 2017)", PRESETS, claims, figure, study
)
