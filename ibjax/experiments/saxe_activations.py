"""Compression depends on the activation: tanh compresses in bins, ReLU does not, and saturation explains it."""

import dataclasses
import functools
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ibjax.errors import InputError, choose
from ibjax.experiments import szt
from ibjax.experiments.compression import FITTED, Falls, falls_of, fitted, rank_trend, runs_by
from ibjax.experiments.experiment import Experiment, Grid, preliminary
from ibjax.experiments.paths import curves_of, mean_over_replicas, per_replica, trend_over_replicas
from ibjax.networks import ACTIVATIONS, scaled_mlp
from ibjax.plane import Claim, greater_than, less_than, rank_correlation
from ibjax.sweep import Study, over_snapshots

NET_INPUT = "rule=net-input"
ESTIMATORS = (
    FITTED,
    "binning:bins=100,range=run",
    "binning:bins=30,range=layer",
    "binning:rule=width,width=0.07",
    "binning:rule=bits",
    f"binning:bins=1000,{NET_INPUT}",
)
SATURATING = ("tanh", "softsign", "sigmoid")
"""Activations between two bounds."""
FALL, SATURATES, TRACKS, GROWS = 0.1, 0.1, -0.5, 0.5
"""Margins: bits of I(X;T) that count as a fall, a share of the activations, rank correlations over snapshots."""
PUBLISHED = 1.0
"""Scale of the initial weights in the source."""


@dataclasses.dataclass(frozen=True)
class SaxeActivations(szt.SZT):
    """The 12-bit networks of the preset ``ibsgd`` with several activations and scales of the initial weights.

    Measured by bins over all that a layer shows in its run, 30 and 100 of them; over what it shows at the moment; 0.07
    wide; by the bits of the floats; and, for tanh, by bins that are uniform in the net input (edges
    tanh(linspace(-50, 50, 1001)), 0.1 apart; in single precision net inputs beyond 9 share a bin).

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", section 2 and appendices A and B.
    """

    batch_size: int | None = 256
    optimizer: str = "adam"
    learning_rate: float = 4e-4
    initializer: str = "ibsgd"
    measure: tuple[str, ...] = ESTIMATORS
    activations: tuple[str, ...] = ("tanh", "relu", "softplus", "linear", "softsign")
    """Names of the hidden layers' activations."""
    scale: float = PUBLISHED
    """Factor on the initial weights of the public code."""
    scales: tuple[float, ...] = (PUBLISHED, 0.5, 2.0)
    """Factors that are compared; activations are judged at 1, or at the first where 1 is not among them."""
    thresholds: tuple[float, ...] = (0.9, 0.99)
    """A unit of a bounded activation is saturated where it is larger than this in size; the first is judged.

    At 0.9 tanh has a fifth of its slope left.
    """

    def __post_init__(self):
        """Check the settings that are swept over."""
        super().__post_init__()
        for name in self.activations:
            choose("activation", name, ACTIVATIONS)
        for name, values in (("activations", self.activations), ("scales", self.scales)):
            if not values:
                raise InputError(f"{name} is empty: name at least one")
        for value in (self.scale, *self.scales):
            if not (value > 0 and math.isfinite(value)):
                raise InputError(f"scales must be positive and finite, got {value}: 1 is the public code's")
        for value in self.thresholds:
            if not 0 < value < 1:
                raise InputError(f"thresholds must lie between 0 and 1, the bound of tanh, got {value}")
        if not self.thresholds:
            raise InputError("thresholds is empty: 0.9 is the default")
        if len(self.widths) < 3:
            raise InputError(f"widths must name a hidden layer, got {self.widths}")


PRESETS = {
    "paper": SaxeActivations(),
    "quick": SaxeActivations(replicas=10, epochs=3000, snapshots=80, scales=(PUBLISHED, 2.0)),
}
"""Named settings; the first is the default."""


def study(config: SaxeActivations) -> Study:
    """The study of one activation and scale; it keeps the parameters, which saturation is computed from."""
    measure = tuple(m for m in config.measure if NET_INPUT not in m or config.activation == "tanh")
    made = szt.study(dataclasses.replace(config, measure=measure, keep_parameters=True))
    network = functools.partial(scaled_mlp, config.scale, config.widths, config.activation, config.initializer)
    return dataclasses.replace(made, network=network, title=f"{made.title}, initial weights x {config.scale:g}")


def grid(config: SaxeActivations) -> Grid:
    """Over activations and scales."""
    return {"activation": config.activations, "scale": config.scales}


def derive(config: SaxeActivations, folder: Path) -> xr.Dataset:
    """The saturated share: of a hidden layer's activations on all patterns, those larger than each threshold in size.

    NaN for activations without two bounds of -1 and 1, and for the output.
    """
    run = study(config)
    shape = config.replicas, len(run.epochs), len(run.widths), len(config.thresholds)
    share = np.full(shape, np.nan, np.float32)
    if config.activation in ("tanh", "softsign"):
        limits = jnp.asarray(config.thresholds)

        def beyond(layers):
            return jnp.stack([(abs(t)[..., None] > limits).mean(axis=(0, 1)) for t in layers[:-1]])

        share[:, :, :-1] = over_snapshots(run, folder, beyond)
    dims = ("replica", "snapshot", "layer", "threshold")
    about = {"units": "1", "long_name": "share of the activations beyond the threshold"}
    return xr.Dataset({"saturated_share": (dims, share, about)}, {"threshold": list(config.thresholds)})


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge which activations compress, by every estimator, and whether saturation is why.

    All of hidden layers; intervals over replicas. A *fall* is that of I(X;T) from its peak to the mean of the last 5
    snapshots, 0 where `ibjax.plane.phases` finds it within the noise, mean over a replica's layers. At the public
    code's initial weights:

    * *compresses* (tanh, softsign, sigmoid: between two bounds): by bins of the activation the fall is greater than
      0.1 bit.
    * *does not compress* (all others): it is less than 0.1 bit.
    * *vanishes*: for tanh, by bins uniform in the net input and by the bits of the floats, the fall is less than 0.1
      bit.
    * *saturates*: for tanh, the share of activations beyond the first threshold grows from the start to the end by more
      than 0.1 of all.
    * *falls as it saturates*: over the snapshots from a layer's peak on, the rank correlation of I(X;T) with the
      saturated share is below -0.5, mean over the layers whose peak is found, by 30 bins over the run.
    * *weights*: over a replica's snapshots, the rank correlation of the saturated share with the norm of the weights,
      means over layers, is above 0.5.
    * *speed*: over tanh replicas, the rank correlation of the second phase's speed, the fall in bits a decade of epochs
      from the peak to the end, with the saturated share (above 0), and with the gradients' norm (above 0), both means
      from the peak on, that of the gradients of logarithms; means over the layers whose peak is found.

    And over all scales of the initial weights:

    * *scale*: over tanh replicas, the rank correlation of the scale with the rise of I(X;T) from the start to its peak
      is below 0: large weights begin saturated, and have nothing left to gain.

    What is not found is no number and is left out.
    """
    early = preliminary(found, PRESETS["paper"])
    runs = runs_by(found, "activation", "scale")
    scales = [scale for _, scale in runs]
    base = PUBLISHED if PUBLISHED in scales else scales[0]
    result = []
    for activation, run in ((a, run) for (a, scale), run in runs.items() if scale == base):
        for name in run["estimator"].values.tolist():
            exact = "rule=bits" in name or NET_INPUT in name
            if exact and activation != "tanh":
                continue
            if exact:
                statement, rule = "what tanh compresses in bins is there in the net input", less_than(FALL)
            elif activation in SATURATING:
                statement, rule = f"{activation} compresses", greater_than(FALL)
            else:
                statement, rule = f"{activation} does not compress", less_than(FALL)
            value = mean_over_replicas(per_replica(np.nanmean, falls_of(run, name).fall))
            statistic = f"{name}: fall of I(X;T), bits, mean over hidden layers"
            result.append(Claim(f"{activation} by {name}", statement, statistic, value, rule, early))
    if ("tanh", base) in runs and "saturated_share" in runs["tanh", base]:
        result += _saturation(runs["tanh", base], early)
    tanh = {scale: run for (activation, scale), run in runs.items() if activation == "tanh"}
    if len(tanh) > 1:
        rises = {scale: per_replica(np.nanmean, falls_of(run, fitted(run)).rise) for scale, run in tanh.items()}
        factors = np.concatenate([np.full(len(rise), scale) for scale, rise in rises.items()])
        result.append(
            Claim(
                "scale",
                "with larger initial weights there is less to rise before compression",
                "rank correlation of the scale with the rise of I(X;T) to its peak, tanh",
                rank_correlation(factors, np.concatenate(list(rises.values()))),
                less_than(0.0),
                early,
            )
        )
    return result


def _saturation(run: xr.Dataset, early: bool) -> list[Claim]:
    """Whether tanh compresses because it saturates."""
    falls, share = falls_of(run, fitted(run)), saturated_of(run)
    first = f"|t| > {float(run['threshold'][0]):g}"
    norms = curves_of(run, "weight_norm")[:, :-1].mean(axis=1)
    grows = np.array(
        [rank_trend(*pair, np.ones(norms.shape[1], bool)) for pair in zip(share.mean(1), norms, strict=True)]
    )
    tracks = np.full(falls.peak.shape, np.nan)
    for place in np.argwhere(np.isfinite(falls.peak)):
        at = tuple(place)
        tracks[at] = rank_trend(share[at], falls.complexity[at], falls.epochs >= falls.peak[at])
    second = second_phase(run, falls, share)

    def claim(name: str, statement: str, statistic: str, estimate, rule) -> Claim:
        return Claim(name, statement, statistic, estimate, rule, early)

    return [
        claim(
            "saturates",
            "tanh units saturate in training",
            f"share of activations with {first} at the end, less that at the start",
            mean_over_replicas((share[..., -1] - share[..., 0]).mean(axis=1)),
            greater_than(SATURATES),
        ),
        claim(
            "falls-as-it-saturates",
            "I(X;T) of tanh falls as its units saturate",
            f"rank correlation of I(X;T) with the share of {first} from the peak on",
            trend_over_replicas(per_replica(np.nanmean, tracks)),
            less_than(TRACKS),
        ),
        claim(
            "weights",
            "tanh units saturate as the weights grow",
            f"rank correlation of the share of {first} with the norm of the weights",
            trend_over_replicas(grows),
            greater_than(GROWS),
        ),
        claim(
            "speed-saturation",
            "the more saturated, the faster is the second phase",
            f"rank correlation over replicas of bits a decade with the share of {first}",
            rank_correlation(second["share"], second["speed"]),
            greater_than(0.0),
        ),
        claim(
            "speed-gradient",
            "the larger the gradients, the faster is the second phase",
            "rank correlation over replicas of bits a decade with the gradients' norm",
            rank_correlation(second["gradient"], second["speed"]),
            greater_than(0.0),
        ),
    ]


def saturated_of(run: xr.Dataset) -> np.ndarray:
    """The share of hidden activations beyond the first threshold, (replicas, hidden layers, snapshots)."""
    return curves_of(run.isel(threshold=0), "saturated_share")[:, :-1]


def second_phase(run: xr.Dataset, falls: Falls, share: np.ndarray) -> dict[str, np.ndarray]:
    """Of each replica's second phase, from the peak of I(X;T) on: its speed, saturated share and gradients.

    Args:
        run: labelled arrays of a run.
        falls: of it.
        share: saturated, see `saturated_of`.

    Returns:
        ``speed`` in bits a decade of epochs; ``share``; ``gradient``, the geometric mean of the norm. Means over the
        layers whose peak is found; NaN where none is.
    """
    norm = curves_of(run, "gradient_batch_norm")[:, :-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        decades = np.log10((1 + falls.epochs[-1]) / (1 + falls.peak))
        speed = np.where(decades > 0, falls.fall / decades, np.nan)
        after = falls.epochs >= falls.peak[..., None]
        shares, logs = (per_path(values, after) for values in (share, np.log10(np.where(norm > 0, norm, np.nan))))
    return {
        "speed": per_replica(np.nanmean, speed),
        "share": per_replica(np.nanmean, shares),
        "gradient": 10 ** per_replica(np.nanmean, logs),
    }


def per_path(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean of every path over some of its snapshots, NaN left out; NaN where there are none."""
    kept = np.where(where, values, np.nan)
    return per_replica(np.nanmean, kept.reshape(-1, kept.shape[-1])).reshape(kept.shape[:-1])


def figure(found: xr.Dataset) -> Figure:
    """Draw I(X;T) of every activation, of tanh by every estimator, and how tanh saturates."""
    from ibjax.plotting import activation_figure

    runs = runs_by(found, "activation", "scale")
    scales = [scale for _, scale in runs]
    base = PUBLISHED if PUBLISHED in scales else scales[0]
    tanh = runs.get(("tanh", base))
    second = None
    if tanh is not None and "saturated_share" in tanh:
        second = second_phase(tanh, falls_of(tanh, fitted(tanh)), saturated_of(tanh))
    return activation_figure(
        {activation: run for (activation, scale), run in runs.items() if scale == base},
        {scale: run for (activation, scale), run in runs.items() if activation == "tanh"},
        second,
        fitted(next(iter(runs.values()))),
    )


EXPERIMENT = Experiment(
    "which activations compress, and whether saturation explains it (Saxe et al. 2018)",
    PRESETS,
    claims,
    figure,
    study,
    grid=grid,
    derive=derive,
)
