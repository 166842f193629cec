"""The chain Y - X - T1 - ... - Yhat: what every layer keeps and tells, and how hard it is to decode."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from ibjax.bottleneck import successive_refinement
from ibjax.errors import InputError, choose
from ibjax.experiments import szt
from ibjax.experiments.experiment import Experiment, preliminary
from ibjax.experiments.paths import mean_over_replicas, paths_of, per_replica, trend_over_replicas
from ibjax.experiments.szt_bound import BOUNDED, patterns
from ibjax.plane import Claim, Estimate, binned_encoder, bounded_mean, depth_trend, greater_than, less_than, surviving
from ibjax.plane.summary import BITS_PER_NAT
from ibjax.sweep import Study, stored_layers

RIDGE = 1e-4
"""Of a unit's variance: settles units that are copies of each other, and moves no other probe."""
FLOOR = 1e-6
"""Standard deviation below which a unit is constant: it says nothing, at the precision of its values."""
FALLS, EASIER, LEARNT, LOST = -0.5, 0.02, 0.02, 0.02
"""Margins: a rank correlation, an error by a probe, twice, and bits of I(T;Y)."""


@dataclasses.dataclass(frozen=True)
class SZTMarkov(szt.SZT):
    """Information and difficulty along the layers, on labels drawn from p(y|x) at the paper's gain.

    A decoder is a linear probe: least squares of the labels, as -1 and 1, on the units of one layer at the training
    patterns, and its sign at the test patterns. How often that errs is how much a simple decoder has left to do.

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information". Alain & Bengio
        (2016), "Understanding intermediate layers using linear classifier probes".
    """

    gamma: float | None = 8.0
    """Gain of the soft labels; without one the information curve has no bend."""
    probes: int = 6
    """Snapshots that are probed, from the first to the last, about log-spaced."""
    bins: int = 30
    """Bins of a unit, from -1 to 1, of the layers' encoders."""
    refined: int = 10
    """Replicas, the first ones, whose layers are held against the curve of the layer before, which takes seconds."""

    def __post_init__(self):
        """Check what probes and encoders need."""
        super().__post_init__()
        choose("activation with a range of -1 to 1", self.activation, BOUNDED)
        if self.gamma is None:
            raise InputError("gamma must be a number: hard labels have a curve without a bend, 8 is the paper's gain")
        if self.measure_on != "all":
            raise InputError(f"measure_on must be 'all', the table that the curves are of, got {self.measure_on!r}")
        if len(self.widths) < 3:
            raise InputError(f"widths must name a hidden layer, got {self.widths}")
        if self.fraction == 1:
            raise InputError("fraction must leave test patterns for the probes: 0.8 leaves a fifth")
        for name, least in (("probes", 2), ("bins", 2), ("refined", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be {least} or more, got {getattr(self, name)}")


PRESETS = {
    "paper": SZTMarkov(),
    "quick": SZTMarkov(replicas=10, epochs=1500, snapshots=60, refined=4),
    # Adam, batches and split as in the public code.
    "idnns": SZTMarkov(**dataclasses.asdict(dataclasses.replace(szt.PRESETS["idnns"], gamma=8.0))),
}
"""Named settings; the first is the default."""


def study(config: SZTMarkov) -> Study:
    """The study of `SZT`; it keeps the parameters, which probes and encoders are made from."""
    return szt.study(dataclasses.replace(config, keep_parameters=True))


def probe(
    units: Float[Array, "n units"],
    signs: Float[Array, " train"],
    p_y_given_x: Float[Array, "n 2"],
    train: Any,
    test: Any,
) -> Float[Array, ""]:
    """Error of a linear probe under p(y|x).

    Least squares of the signs on the standardised units and a constant, at the training rows; a prediction is the sign
    of the fit.

    Args:
        units: of all inputs.
        signs: labels of the training rows, -1 or 1.
        p_y_given_x: of all inputs.
        train: numbers of the training rows.
        test: of the rows that the error is the mean over.

    Example:
        >>> x = jnp.linspace(-1, 1, 9)[:, None]
        >>> p = jnp.stack([x[:, 0] <= 0.1, x[:, 0] > 0.1], 1).astype(float)
        >>> float(probe(x, jnp.where(x[::2, 0] > 0.1, 1.0, -1.0), p, np.arange(0, 9, 2), np.arange(1, 9, 2)))
        0.0
    """
    seen = units[train]
    centre, spread = seen.mean(axis=0), seen.std(axis=0)
    scale = jnp.where(spread > FLOOR, 1 / jnp.where(spread > FLOOR, spread, 1.0), 0.0)
    a, middle = (seen - centre) * scale, signs.mean()
    gram = a.T @ a / a.shape[0] + RIDGE * jnp.eye(a.shape[1], dtype=a.dtype)
    weights = jnp.linalg.solve(gram, a.T @ (signs - middle) / a.shape[0])
    one = (units[test] - centre) * scale @ weights + middle > 0
    return jnp.where(one, p_y_given_x[test, 0], p_y_given_x[test, 1]).mean()


def derive(config: SZTMarkov, folder: Path) -> xr.Dataset:
    """Errors of probes on the input and every layer at some snapshots, and the chain of the last one.

    Informations in nats; NaN for replicas beyond `SZTMarkov.refined` and for a network that diverged.
    """
    run = study(config)
    data, count = run.data, len(run.epochs)
    rows = np.asarray(data.measured.labels, np.float64)
    train, test = (patterns(part.x) for part in (data.train, data.test))
    signs, p = jnp.asarray(2.0 * np.asarray(data.train.y) - 1, jnp.float32), jnp.asarray(rows, jnp.float32)

    def errors(layers, x):
        return jnp.stack([probe(t, signs, p, train, test) for t in (x, *layers)])

    places = np.unique(np.linspace(0, count - 1, config.probes).round().astype(int))
    found = np.stack([np.stack(list(stored_layers(run, folder, int(at), errors))) for at in places], axis=1)
    chain = np.full((3, config.replicas, len(run.widths)), np.nan)
    table = np.full(len(rows), 1 / len(rows)), rows
    for replica, layers in zip(range(config.refined), stored_layers(run, folder, -1), strict=False):
        if all(np.isfinite(t).all() for t in layers):
            refined = successive_refinement(table, channels([binned_encoder(t, bins=config.bins) for t in layers]))
            chain[:, replica] = refined.complexity, refined.gap, refined.lagrangian_gap
    nats, layered = {"units": "nats"}, ("replica", "layer")
    least = np.minimum(rows[:, 0], rows[:, 1])[test].mean()
    return xr.Dataset(
        {
            "probe_error": (("replica", "probe", "stage"), found, {"units": "1", "long_name": "error of a probe"}),
            "probe_epoch": (("probe",), run.epochs[places], {"units": "1"}),
            "least_error": ((), float(least), {"units": "1", "long_name": "error of the best decoder of X"}),
            "chain_complexity": (layered, chain[0], nats | {"long_name": "I(T before;T)"}),
            "chain_gap": (layered, chain[1], nats | {"long_name": "I(T;Y) below the curve of the layer before"}),
            "chain_lagrangian_gap": (layered, chain[2], nats),
        }
    )


def channels(encoders: list[np.ndarray]) -> list[np.ndarray]:
    """p(t_1|x), p(t_2|t_1), ...: a Markov chain with the encoders' joint laws of neighbours.

    Bins make layers functions of X but not of each other: that t_k is drawn from its law given t_k-1 alone is the
    chain's assumption, and what it loses of Y counts as the layer's.

    Args:
        encoders: p(t_k|x) of equally likely inputs, hard.
    """
    made = encoders[:1]
    for before, after in itertools.pairwise(encoders):
        made.append(before.T @ after / before.sum(axis=0)[:, None])
    return made


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge whether complexity moves from the decoder to the encoder along the layers.

    The decoder's difficulty is the error of a linear probe, see `SZTMarkov`; its stages are X, every hidden layer and
    the output. At the end of training unless said otherwise, intervals over replicas.

    * *decoding gets easier*: mean of each replica's rank correlation of the probe's error with depth is below -0.5.
    * *encoding gets shorter*: likewise of I(X;T), bins as in the plane, T1 to the output.
    * *the encoder takes over*: a probe on X errs by more than 0.02 more often than one on the last hidden layer.
    * *by training*: a probe on the last hidden layer errs by more than 0.02 less often than at the start.
    * *the order is learnt*: the rank correlation of the probe's error with depth is lower by more than 0.5 than at the
      start.
    * *successive refinement*: I(T_k;Y) is less than 0.02 bit below the curve of the layer before at the same
      I(T_k-1;T_k), mean over layers, hard bins made a Markov chain.
    """
    early = preliminary(found, PRESETS["paper"])
    kept = surviving(found)
    error = kept["probe_error"].transpose("replica", "probe", "stage").values.astype(np.float64)
    first, last = error[:, 0], error[:, -1]
    gap = kept["chain_gap"].transpose("replica", "layer").values * BITS_PER_NAT

    def claim(name: str, statement: str, statistic: str, values: np.ndarray | Estimate, rule) -> Claim:
        estimate = values if isinstance(values, Estimate) else mean_over_replicas(values)
        return Claim(name, statement, statistic, estimate, rule, early)

    return [
        claim(
            "decoding-easier",
            "the deeper the layer, the easier it is to decode",
            "rank correlation of a linear probe's error with depth",
            trend_over_replicas(depth_trend(last)),
            less_than(FALLS),
        ),
        claim(
            "encoding-shorter",
            "the deeper the layer, the less it keeps of X",
            "rank correlation of I(X;T) with depth",
            trend_over_replicas(depth_trend(paths_of(found).complexity[..., -1])),
            less_than(FALLS),
        ),
        claim(
            "encoder-takes-over",
            "the hidden layers do what a decoder of X would have to",
            "error of a probe on X less that on the last hidden layer",
            last[:, 0] - last[:, -2],
            greater_than(EASIER),
        ),
        claim(
            "by-training",
            "training makes the last hidden layer easy to decode",
            "change of the error of a probe on the last hidden layer from the start to the end",
            last[:, -2] - first[:, -2],
            less_than(-LEARNT),
        ),
        claim(
            "order-learnt",
            "the layers have this order by training, not by themselves",
            "change of the rank correlation of a probe's error with depth from the start to the end",
            bounded_mean(depth_trend(last) - depth_trend(first), -2.0, 2.0),
            less_than(FALLS),
        ),
        claim(
            "refinement",
            "the layers refine successively: each is near the curve of the one before",
            "I(T;Y) below the curve of the layer before, bits, mean over layers",
            per_replica(np.nanmean, gap),
            less_than(LOST),
        ),
    ]


def figure(found: xr.Dataset) -> Figure:
    """Draw both informations and the probes' errors along the layers, one against the other, and the chain's losses."""
    from ibjax.plotting import markov_figure

    return markov_figure(found)


EXPERIMENT = Experiment(
    "the chain of layers: what each keeps and tells, and how hard it is to decode",
    PRESETS,
    claims,
    figure,
    study,
    derive=derive,
)
