"""Does compression, or noise of the gradients, go with generalisation? Hundreds of networks, and interventions."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ibjax.datasets import Dataset, split
from ibjax.errors import InputError, choose
from ibjax.experiments import szt
from ibjax.experiments.experiment import Experiment, Grid, preliminary, runs_of
from ibjax.experiments.paths import curves_of, end_of, paths_of, per_replica
from ibjax.plane import (
    Claim,
    Estimate,
    clustered_rank_correlation,
    greater_than,
    less_than,
    paired_difference,
    phases,
    snr_transition,
    within,
)
from ibjax.plane.summary import surviving
from ibjax.sweep import Study, data_key, over_snapshots

INTERVENTIONS = ("none", "full batch", "weight decay", "label noise")
EARLY = "early stopping"
"""No training of its own: the networks without intervention, at their lowest validation loss."""
LAYERS, WINDOW = 2, 15
"""Last hidden layers whose compression counts; snapshots of a slope."""
GOES, BITS, GAP = 0.1, 0.25, 0.01
"""Margins: a rank correlation, bits of compression, a share of samples."""


@dataclasses.dataclass(frozen=True)
class CompressionGeneralisation(szt.SZT):
    """Networks of the 12-bit task of several activations, widths and data shares, each with and without interventions.

    Replica i starts from the same weights and learns from the same patterns whatever the intervention: ``full batch``
    makes as many steps on all samples; ``weight decay`` is that of adamw; ``label noise`` draws the labels of a softer
    task; early stopping looks at the networks without intervention at their lowest validation loss. Of the patterns
    that are not trained on, one half, drawn by the seed, is for validation, and the gap is measured by the other.

    The studies named below have settings of their own; these are a common ground for all of their questions.
    Bins are 0.07 wide without bounds, for activations that have none, or 30 over the layer's range at the moment.

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information", for the claim.
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", against it. Chelombiev, Houghton &
        O'Donnell (2019), "Adaptive estimators show information compression in deep neural networks", for weight decay.
    """

    replicas: int = 4
    """Initialisations of every group of settings."""
    epochs: int = 5000
    """Passes over the training set; more of the full batch, for as many steps."""
    batch_size: int | None = 64
    """Samples a step."""
    optimizer: str = "adam"
    """One of sgd, momentum, adam, adamw."""
    learning_rate: float = 1e-3
    """Step size."""
    weight_decay: float = 0.1
    """Of the intervention, per step and unit of the step size."""
    noise_gain: float = 0.3
    """Gain gamma of the intervention ``label noise``; I(X;Y) is 0.73 bit at 0.3."""
    measure: tuple[str, ...] = ("binning:rule=width,width=0.07", "binning:bins=30,range=layer")
    """Estimators that compression is judged by, each for itself."""
    intervention: str = "none"
    """One of none, full batch, weight decay, label noise."""
    activations: tuple[str, ...] = ("tanh", "relu", "softsign")
    """Activations to train."""
    shapes: tuple[tuple[int, ...], ...] = ((12, 10, 7, 5, 4, 3, 2), (12, 20, 14, 10, 8, 6, 2), (12, 8, 4, 2))
    """Widths to train."""
    fractions: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    """Shares of the patterns to train on, below 1."""
    interventions: tuple[str, ...] = INTERVENTIONS
    """What to compare with none."""

    def __post_init__(self):
        """Check the settings."""
        super().__post_init__()
        for name in (self.intervention, *self.interventions):
            choose("intervention", name, INTERVENTIONS)
        if not all(0 < fraction < 1 for fraction in self.fractions):
            raise InputError(f"fractions must lie between 0 and 1, got {self.fractions}: a gap needs a test set")


PRESETS = {
    "paper": CompressionGeneralisation(),
    "quick": CompressionGeneralisation(
        replicas=8,
        epochs=1000,
        batch_size=256,
        snapshots=60,
        activations=("tanh", "relu"),
        shapes=((12, 10, 7, 5, 4, 3, 2),),
        fractions=(0.1, 0.4),
    ),
}
"""Named settings; the first is the default: 576 networks. The quick one trains 128."""


def grid(config: CompressionGeneralisation) -> Grid:
    """Every activation, width and share with every intervention."""
    return {
        "activation": config.activations,
        "widths": config.shapes,
        "fraction": config.fractions,
        "intervention": config.interventions,
    }


def study(config: CompressionGeneralisation) -> Study:
    """The study of one group of settings; networks without intervention keep the parameters, for early stopping."""
    made = _whole(config)
    _, test = halves(made.data.test, config.seed)
    return dataclasses.replace(made, data=made.data._replace(test=test))


def halves(held_out: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """The patterns that are not trained on, parted at random: for validation, and for the test.

    Raises:
        InputError: there are fewer than two.
    """
    if len(held_out) < 2:
        raise InputError("fractions leave fewer than two patterns, for validation and for the test: lower them")
    return split(held_out, 0.5, "random", jax.random.fold_in(data_key(seed), 2))


def derive(config: CompressionGeneralisation, folder: Path) -> xr.Dataset:
    """Snapshot with the lowest loss on the validation half, of networks without intervention; NaN of all others."""
    stop = np.full(config.replicas, np.nan)
    if config.intervention == "none":
        validation, _ = halves(_whole(config).data.test, config.seed)
        run, y = study(config), jnp.asarray(validation.y)

        def loss(layers: tuple[jax.Array, ...]) -> jax.Array:
            right = layers[-1][jnp.arange(len(y)), y]
            return -jnp.log(jnp.maximum(right, jnp.finfo(right.dtype).tiny)).mean()

        run = dataclasses.replace(run, data=run.data._replace(measured=validation))
        losses = over_snapshots(run, folder, loss)
        known = np.isfinite(losses).all(axis=1)
        stop[known] = losses[known].argmin(axis=1)
    about = {"units": "1", "long_name": "snapshot of the lowest validation loss"}
    return xr.Dataset({"early_stop": ("replica", stop, about)})


def _whole(config: CompressionGeneralisation) -> Study:
    """The study of one group, with all patterns that are not trained on as the test set."""
    changes: dict[str, Any] = {"keep_parameters": config.keep_parameters or config.intervention == "none"}
    if config.intervention == "full batch":
        samples = len(szt.study(config).data.train)
        steps = -(-samples // (config.batch_size or samples))
        changes |= {"batch_size": None, "epochs": config.epochs * steps}
    elif config.intervention == "weight decay":
        changes |= {"optimizer": "adamw"}
    elif config.intervention == "label noise":
        changes |= {"gamma": config.noise_gain}
    return szt.study(dataclasses.replace(config, **changes))


class Networks(NamedTuple):
    """One value a network that survived.

    Attributes:
        setting: number of its activation, widths and share.
        activation: its name.
        fraction: share of the patterns that it learned from.
        intervention: what was done to it.
        replica: its id; equal ones of a setting began alike.
        compression: of the last two hidden layers, mean fall of I(X;T) from its peak to the end, bits.
        gap: training minus test accuracy at the end.
        snr: log10 of the gradients' signal-to-noise ratio at the end, mean over layers.
        transition: log10 of the steps until it falls fastest by log epoch, median over layers; NaN where it does not.
    """

    setting: np.ndarray
    activation: np.ndarray
    fraction: np.ndarray
    intervention: np.ndarray
    replica: np.ndarray
    compression: np.ndarray
    gap: np.ndarray
    snr: np.ndarray
    transition: np.ndarray


def networks(found: xr.Dataset, estimator: str) -> Networks:
    """All networks, and once more those without intervention as early stopping leaves them.

    Args:
        found: results of the experiment.
        estimator: convention that compression is measured by.
    """
    settings: dict[tuple, int] = {}
    parts = []
    for _, run in runs_of(found):
        config = json.loads(run.attrs["config"])
        place = (config["activation"], tuple(config["widths"]), config["fraction"])
        number = settings.setdefault(place, len(settings))
        kept, paths = surviving(run), paths_of(run, estimator)
        gap = curves_of(run, "train_accuracy") - curves_of(run, "test_accuracy")
        mean, std = curves_of(run, "gradient_mean"), curves_of(run, "gradient_std")
        updates = float(run.attrs["updates_per_epoch"])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = end_of(np.log10(mean / np.where(std > 0, std, np.nan)))
            steps = snr_transition(paths.epochs, mean, std, updates_per_epoch=updates, window=WINDOW)
            transition = np.log10(per_replica(np.nanmedian, steps.by_log_epoch.update))
        snr = per_replica(np.nanmean, np.where(np.isfinite(ratio), ratio, np.nan))
        hidden = paths.complexity[:, :-1][:, -LAYERS:]
        drop = phases(paths.epochs, hidden, paths.relevance[:, :-1][:, -LAYERS:]).drop.clip(0).mean(axis=-1)
        same = (number, config["activation"], config["fraction"])
        replicas = kept["replica"].values
        parts.append(_part((*same, config["intervention"]), replicas, drop, end_of(gap), snr, transition))
        if config["intervention"] == "none":
            best = kept["early_stop"].values.astype(int)
            fallen = np.maximum.accumulate(hidden, axis=-1) - hidden
            rows, unknown = np.arange(len(gap)), np.full(len(gap), np.nan)
            early = fallen[rows, :, best].mean(axis=-1)
            parts.append(_part((*same, EARLY), replicas, early, gap[rows, best], unknown, unknown))
    return Networks(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _part(same: tuple, replicas: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Columns of `Networks`: what all networks of a run have in common, their ids, and their own values."""
    return (*(np.full(len(replicas), value) for value in same), replicas, *values)


def effects(nets: Networks) -> dict[str, tuple[Estimate, Estimate]]:
    """Intervention -> its mean effect on compression and on the gap, each network compared with itself without."""
    result = {}
    keys = list(zip(nets.setting.tolist(), nets.replica.tolist(), strict=True))
    plain = {keys[i]: i for i in np.flatnonzero(nets.intervention == "none")}
    for name in (*INTERVENTIONS[1:], EARLY):
        pairs = [(i, plain[keys[i]]) for i in np.flatnonzero(nets.intervention == name) if keys[i] in plain]
        if pairs:
            changed, without = np.array(pairs).T
            result[name] = (
                paired_difference(nets.compression[changed], nets.compression[without]),
                paired_difference(nets.gap[changed], nets.gap[without]),
            )
    return result


EXPECTED = {
    "full batch": ("compression needs no noise of the gradients", within(BITS), within(GAP)),
    "weight decay": ("weight decay adds compression and generalisation", greater_than(BITS), less_than(0.0)),
    "label noise": ("noisy labels cost generalisation, and compression with it", less_than(0.0), greater_than(GAP)),
    EARLY: ("stopping early generalises as well without compression", less_than(-BITS), less_than(GAP)),
}
"""Intervention -> what is said of it, the rule for bits of compression and that for the gap."""


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge whether compression and SNR order networks by their generalisation gap, and what interventions do to both.

    The gap is training minus test accuracy at the end, the mean of 5 snapshots; early stopping ends at the lowest loss
    on patterns of which neither is measured. Compression is the mean fall of I(X;T)
    of the last two hidden layers from its smoothed peak to the end, by each estimator. Rank correlations are over all
    trained networks, and once more of deviations from the means of networks of equal settings; their intervals are over
    settings, an intervention counting as one. A correlation below 0.1 is taken for none.

    * *compression*: its rank correlation with the gap is below -0.1: who compresses more generalises better.
    * *snr*: that of the signal-to-noise ratio at the end is above 0.1: who ends in more noise generalises better.
    * *transition*: that of the step at which it falls fastest is above 0.1: who gets there earlier generalises better.
    * effects, as means of differences of a network from itself without intervention: *full batch* changes compression
      by less than 0.25 bit and the gap by less than 0.01, up or down; *weight decay* adds more than 0.25 bit, and the
      gap falls; *label noise* takes compression, and adds more than 0.01 to the gap; *early stopping* has more than
      0.25 bit less, and adds less than 0.01 to the gap. Intervals are over networks.
    """
    early = preliminary(found, PRESETS["paper"])
    result: list[Claim] = []
    estimators = found["estimator"].values.tolist()
    for position, estimator in enumerate(estimators):
        nets = networks(found, estimator)
        trained = nets.intervention != EARLY
        group = np.unique(np.char.add(nets.setting.astype(str), nets.intervention.astype(str)), return_inverse=True)[1]
        judged = {"compression": (nets.compression, less_than(-GOES), f"compression by {estimator}")}
        if position == 0:
            judged["snr"] = (nets.snr, greater_than(GOES), "log SNR at the end")
            judged["transition"] = (nets.transition, greater_than(GOES), "step of the SNR transition")
        for name, (values, rule, text) in judged.items():
            for fixed in (False, True):
                where = "settings held fixed" if fixed else "all networks"
                label = f"{name}, {where}" + (f", {estimator}" if name == "compression" else "")
                correlation = clustered_rank_correlation(
                    values[trained], nets.gap[trained], group[trained], within=fixed
                )
                statement = "orders networks by how well they generalise"
                result.append(
                    Claim(
                        label,
                        f"{name} {statement}",
                        f"rank correlation of {text} and the gap, {where}",
                        correlation,
                        rule,
                        early,
                    )
                )
        for name, (compression, gap) in effects(nets).items():
            statement, rule, rule_of_gap = EXPECTED[name]
            bits = f"change of compression, bits, by {estimator}"
            result.append(Claim(f"{name}, compression, {estimator}", statement, bits, compression, rule, early))
            if position == 0:
                share = "change of training minus test accuracy"
                result.append(Claim(f"{name}, gap", statement, share, gap, rule_of_gap, early))
    return result


def figure(found: xr.Dataset) -> Figure:
    """Draw the gap against compression and SNR, a point a network, and the effects of the interventions."""
    from ibjax.plotting import generalisation_figure

    estimator = str(found["estimator"].values[0])
    nets = networks(found, estimator)
    trained = nets.intervention != EARLY
    points = xr.Dataset({name: ("network", values[trained]) for name, values in nets._asdict().items()})
    title = f"12-bit task, {trained.sum()} networks, compression by {estimator}"
    return generalisation_figure(points, effects(nets), title)


EXPERIMENT = Experiment(
    "hundreds of networks: do compression and the gradients' SNR go with generalisation?",
    PRESETS,
    claims,
    figure,
    study,
    grid=grid,
    derive=derive,
)
