"""The two phases of training and the transition between them: in the plane, in the gradients and in the weights."""

import dataclasses

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ibjax.experiments import szt
from ibjax.experiments.experiment import Experiment, preliminary
from ibjax.experiments.paths import curves_of, mean_over_replicas, paths_of, per_replica, share_over_replicas
from ibjax.plane import (
    Claim,
    Estimate,
    SNRTransition,
    bootstrap_interval,
    greater_than,
    growth_exponents,
    phases,
    snr_transition,
    within,
)
from ibjax.plane.paths import PhaseStatus
from ibjax.plane.summary import surviving

FACTOR, FLAT, EXPONENT = 2.0, 0.05, 0.25
"""Margins: a factor in epochs that counts as coinciding, nats of training loss, an exponent's distance."""
RESAMPLES = 300
"""Of the replicas, for the transition of all together: each takes a search."""
WINDOW = 15
"""Snapshots that a slope of the signal-to-noise ratio is fitted to."""


@dataclasses.dataclass(frozen=True)
class SZTPhases(szt.SZT):
    """Phases and transitions of the networks of `SZT`, whose settings these are.

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information", figure 4.
    """


PRESETS = {
    "paper": SZTPhases(),
    "quick": SZTPhases(replicas=10, epochs=3000),
    "idnns": SZTPhases(**dataclasses.asdict(szt.PRESETS["idnns"])),
}
"""Named settings; the first is the default."""


def _found(run: xr.Dataset):
    """Phases, transitions and exponents of a run."""
    paths = paths_of(run)
    searched = phases(paths.epochs, paths.complexity, paths.relevance)
    kept = surviving(run)
    updates = float(run.attrs["updates_per_epoch"])
    snr = snr_transition(
        paths.epochs,
        curves_of(kept, "gradient_mean"),
        curves_of(kept, "gradient_std"),
        updates_per_epoch=updates,
        window=WINDOW,
    )
    growth = growth_exponents(paths.epochs, curves_of(kept, "weight_distance"), searched.peak)
    return paths, searched, snr, growth


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge where the phases part, layer by layer, and whether gradients, loss and weights tell the same.

    C is the peak of I(X;T), see `ibjax.plane.phases`; the transition is where the signal-to-noise ratio of the
    gradients falls fastest, by epoch, by log epoch, and the logarithm of the ratio by that of the epoch, from a line
    through 15 snapshots, see `ibjax.plane.snr_transition`. What is not found, or lies beyond the run, is no number and
    is left out; claims of their own say how often that is so. Intervals are over replicas.

    * *peak found*, *transition found*: of a replica's layers, more than half.
    * *coincide*: the median over a replica's layers of log2(transition / C) lies within a factor of two of 0: the mean
      over replicas within (-1, 1).
    * *all networks together*: log2(transition / C) by both logarithms, each the median of the layers that have it, of
      the geometric mean of the ratio and of the mean path of I(X;T) over replicas, which are less noisy: within
      (-1, 1), the interval by drawing replicas anew.
    * *loss is constant*: from C, the median layer's, to the end, the training loss changes by less than 0.05 nat.
    * *drift* and *diffusion*: the distance of the weights from their start grows as epoch^a with a within 0.25 of 1
      before C, and within 0.25 of 1/2 after it; mean over layers.
    """
    paths, searched, snr, growth = _found(found)
    transitions = {"log epoch": snr.by_log_epoch, "epoch": snr.by_epoch, "both logarithms": snr.by_log_log}
    early = preliminary(found, PRESETS["paper"])
    measured = str(found["estimator"].values[0])
    loss = curves_of(found, "train_loss")
    peak = per_replica(np.nanmedian, searched.peak)
    at_peak = np.array([np.interp(at, paths.epochs, path) for at, path in zip(peak, loss, strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):
        octaves = {
            name: per_replica(np.nanmedian, np.log2(place.epoch / searched.peak)) for name, place in transitions.items()
        }
    result = [
        Claim(
            "peak-found",
            "I(X;T) rises to a peak and falls",
            f"{measured}: share of layers with a peak that is resolved",
            share_over_replicas((searched.peak_status == PhaseStatus.FOUND).mean(axis=-1)),
            greater_than(0.5),
            early,
        )
    ]
    for name, place in transitions.items():
        short = name.replace(" ", "-")
        result += [
            Claim(
                f"transition-found-by-{short}",
                f"the gradients' SNR has a transition, by {name}",
                f"share of layers with a steepest fall by {name}",
                share_over_replicas((place.status == PhaseStatus.FOUND).mean(axis=-1)),
                greater_than(0.5),
                early,
            ),
            Claim(
                f"coincide-by-{short}",
                f"the SNR transition, by {name}, and the peak of I(X;T) coincide",
                f"{measured}: log2 of transition / peak, median layer",
                mean_over_replicas(octaves[name]),
                within(np.log2(FACTOR)),
                early,
            ),
        ]
    return [
        *result,
        Claim(
            "coincide-together",
            "the SNR transition of all networks together, by both logarithms, and the peak of I(X;T) coincide",
            f"{measured}: log2 of transition / peak, each of the median layer",
            _octaves_together(found),
            within(np.log2(FACTOR)),
            early,
        ),
        Claim(
            "loss-constant",
            "the training loss is nearly constant after the transition",
            f"{measured}: change of the training loss from the peak of I(X;T) to the end, nats",
            mean_over_replicas(loss[:, -1] - at_peak),
            within(FLAT),
            early,
        ),
        Claim(
            "drift",
            "before the transition the weights drift",
            "exponent of the distance from the start, mean over layers",
            mean_over_replicas(per_replica(np.nanmean, growth.before)),
            within(EXPONENT, 1.0),
            early,
        ),
        Claim(
            "diffusion",
            "after the transition the weights diffuse",
            "exponent of the distance from the start, mean over layers",
            mean_over_replicas(per_replica(np.nanmean, growth.after)),
            within(EXPONENT, 0.5),
            early,
        ),
    ]


def _log_ratios(found: xr.Dataset) -> np.ndarray:
    """Logarithms of the gradients' SNR, (replicas, layers, snapshots)."""
    kept = surviving(found)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(curves_of(kept, "gradient_mean") / curves_of(kept, "gradient_std"))


def _transition_together(epochs: np.ndarray, log_ratios: np.ndarray) -> SNRTransition:
    """The transition of the geometric mean over replicas."""
    mean = np.exp(log_ratios.mean(axis=0, keepdims=True))
    return snr_transition(epochs, mean, np.ones_like(mean), window=WINDOW)


def _octaves_together(found: xr.Dataset) -> Estimate:
    """log2 of the transition of the mean ratio over the peak of mean I(X;T), of the layers that have them."""
    paths, log_ratios = paths_of(found), _log_ratios(found)

    def octaves(replicas: np.ndarray) -> float:
        drawn = replicas.astype(int)
        means = (a[drawn].mean(axis=0, keepdims=True) for a in (paths.complexity, paths.relevance))
        peak = phases(paths.epochs, *means).peak
        place = _transition_together(paths.epochs, log_ratios[drawn]).by_log_log.epoch
        late, early = (per_replica(np.nanmedian, epoch)[0] for epoch in (place, peak))
        return float(np.log2(late / early))

    replicas = np.arange(len(log_ratios), dtype=float)
    return bootstrap_interval(octaves, replicas, method="percentile", expand=False, resamples=RESAMPLES)


def figure(found: xr.Dataset) -> Figure:
    """Draw I(X;T), the gradients' SNR, and the distance of the weights with C and the transition, and C against it."""
    from ibjax.plotting import phase_figure

    paths, searched, snr, growth = _found(found)
    return phase_figure(found, searched, snr, _transition_together(paths.epochs, _log_ratios(found)), growth)


EXPERIMENT = Experiment(
    "the two phases: peak of I(X;T), transition of the gradients, drift and diffusion of the weights",
    PRESETS,
    claims,
    figure,
    szt.study,
)
