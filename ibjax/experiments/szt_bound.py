"""The layers of the 12-bit networks against the information curve of the very task, and the bounds on their errors."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.special import entr

from ibjax.bottleneck import InformationCurve, against_bound, curve, encoder_information, one_step_beta
from ibjax.bottleneck.layers import BETA_MAX
from ibjax.bottleneck.reduce import reduce
from ibjax.errors import InputError, choose
from ibjax.experiments import szt
from ibjax.experiments.bounds import finite_sample_bound, gap_bound, least_error
from ibjax.experiments.experiment import Experiment, Grid, preliminary, runs_of
from ibjax.experiments.paths import curves_of, mean_over_replicas, per_replica, share_over_replicas, trend_over_replicas
from ibjax.information import entropy, mutual_information
from ibjax.plane import (
    Claim,
    Estimate,
    binned_encoder,
    depth_trend,
    greater_than,
    less_than,
    rank_correlation,
    share,
    surviving,
)
from ibjax.plane.summary import BITS_PER_NAT
from ibjax.sweep import Study, stored_layers

BOUNDED = ("tanh", "softsign", "sigmoid")
"""Activations whose range the bins cover."""
HARD, SOFT = 0, 1
"""Places of the two encoders along their dimension, whose coordinate is the softness."""
POINTS, MOST_TRANSITIONS = 257, 32
"""Points of the stored curve, and room for its transitions."""
LAST, CLOSE, UNDONE = 64.0, 1e-3, 1e-2
"""Beta up to which transitions are looked for, the relative width of the interval that each is found in, and the
relative distance within which two changes that cancel are rounding."""
NEAR, BELOW, FALLS = 0.5, 0.05, -0.5
"""Margins: bits of the Lagrangian gap, bits of I(T;Y), a rank correlation."""
FEWEST = 10
"""Replicas that an interval of a correlation over replicas needs."""
HOLDS, HALF, HALF_OF_CHANCE = 0.9, 0.5, 0.25
"""Share of replicas that a bound must hold in, and what makes it worth knowing: parts of an error, an error."""
BETAS = {
    "complexity": ("beta_complexity", "of the curve at equal I(X;T)"),
    "relevance": ("beta_relevance", "of the curve at equal I(T;Y)"),
    "one-step": ("beta_one_step", "of the nearest one-step encoder"),
}


@dataclasses.dataclass(frozen=True)
class SZTBound(szt.SZT):
    """Layers against the information curve, on soft labels that are drawn from p(y|x).

    A deterministic layer has H(T|X) = 0, and a bottleneck's encoder has not, so that the layers' encoders are taken
    twice: hard bins, as the plane has them, and soft ones, see `ibjax.plane.binned_encoder`. I(X;T) and I(T;Y) of both
    are exact, of the table p(x) = 1/4096 and p(y|x) that the curve is of.

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information", section 3.5.
        Shamir, Sabato & Tishby (2010), "Learning and generalization with the information bottleneck".
    """

    gammas: tuple[float, ...] = (0.3, 8.0)
    """Gains of the soft labels: 0.3 gives a curve that bends, 8 is the paper's, nearly deterministic."""
    bins: int = 30
    """Bins of a unit, from -1 to 1, of the layers' encoders."""
    softness: float = 0.5
    """Standard deviation of the soft encoders' noise, in bins."""

    def __post_init__(self):
        """Check what the encoders need."""
        super().__post_init__()
        choose("activation with a range of -1 to 1", self.activation, BOUNDED)
        if self.measure_on != "all":
            raise InputError(f"measure_on must be 'all', the table that the curve is of, got {self.measure_on!r}")
        if len(self.widths) < 3:
            raise InputError(f"widths must name a hidden layer, got {self.widths}")
        if not self.gammas or min(self.gammas) <= 0 or not np.isfinite(self.gammas).all():
            raise InputError(f"gammas must name positive numbers, got {self.gammas}: 0.3 and 8 are the default")
        if self.bins < 2:
            raise InputError(f"bins must be 2 or more, got {self.bins}")
        if not (self.softness > 0 and np.isfinite(self.softness)):
            raise InputError(f"softness must be positive, in bins, got {self.softness}: 0.5 is the default")


PRESETS = {
    "paper": SZTBound(),
    "quick": SZTBound(replicas=10, epochs=1500, snapshots=60),
    # Adam, as in the public code; batches and the split of the paper's own text.
    "idnns": SZTBound(**dataclasses.asdict(szt.PRESETS["idnns"])),
}
"""Named settings; the first is the default."""


def study(config: SZTBound) -> Study:
    """The study of one gamma; it keeps the parameters, which the encoders are made from."""
    return szt.study(dataclasses.replace(config, keep_parameters=True))


def grid(config: SZTBound) -> Grid:
    """Over the gains of the labels."""
    return {"gamma": config.gammas}


def bifurcations(known: InformationCurve) -> tuple[InformationCurve, Float[np.ndarray, " transitions"]]:
    """Where the number of clusters changes up to beta 64, to a thousandth, and the curve with the betas that it took.

    A change that is undone within a hundredth is none: next to a transition two clusters may be one by rounding.
    `ibjax.bottleneck.transitions` finds them to seven digits and knows their kinds, by programs that take half a minute
    to compile.
    """
    while True:
        low, high = known.beta[:-1], known.beta[1:]
        changes = (np.diff(known.clusters) != 0) & (high <= LAST)
        wide = changes & (high > (1 + CLOSE) * low)
        if not wide.any():
            break
        known = known.refined(np.sqrt(low * high)[wide])
    found: list[tuple[float, int]] = []
    for at in np.flatnonzero(changes):
        beta, before, after = float(np.sqrt(low[at] * high[at])), int(known.clusters[at]), int(known.clusters[at + 1])
        if found and found[-1][1] == after and beta < (1 + UNDONE) * found[-1][0]:
            found.pop()
        else:
            found.append((beta, before))
    return known, np.array([beta for beta, _ in found])


class _Task:
    """A gamma's table with its curve, and the same table with equal p(y|x) merged, on which sums are short."""

    def __init__(self, data):
        """Solve the curve."""
        n = len(data)
        table = np.full(n, 1 / n), np.asarray(data.labels, np.float64)
        reduction = reduce(table)
        self.rows, self.entropy_y = table[1], float(entropy(table[0] @ table[1]))
        self.table = reduction.table
        self.mean = np.zeros((len(self.table.p_x), n))
        self.mean[reduction.index, np.arange(n)] = 1
        self.mean /= self.mean.sum(axis=1, keepdims=True)
        self.curve, self.transitions = bifurcations(curve(self.table))

    def measure(self, encoder: np.ndarray) -> tuple[float, float, float]:
        """I(X;T), I(T;Y) and the one-step beta of an encoder of all inputs."""
        complexity = float(entr(encoder.mean(axis=0)).sum() - entr(encoder).sum(axis=1).mean())
        # I(T;Y) and the divergence's derivative over beta are those of the merged inputs.
        merged = self.mean @ encoder
        relevance = float(encoder_information(self.table, merged).relevance)
        beta = one_step_beta(self.table, merged, direction="layer_to_bound", beta_max=BETA_MAX).beta
        return max(complexity, 0.0), relevance, float(beta)


def derive(config: SZTBound, folder: Path) -> xr.Dataset:
    """The curve of the task and, at the end of training, every layer's encoders, gaps, betas and errors.

    Informations in nats. Betas are infinite where the curve is flat, or beyond 100; of a network that diverged all is
    NaN.
    """
    run = study(config)
    task, data = _Task(run.data.measured), run.data
    at, held_out = patterns(data.train.x), patterns(data.test.x)
    shape = 2, config.replicas, len(run.widths)
    complexity, relevance, one_step = (np.full(shape, np.nan) for _ in range(3))
    errors, in_sample, bounds = (np.full(config.replicas, np.nan) for _ in range(3))
    for replica, layers in enumerate(stored_layers(run, folder, -1)):
        if not all(np.isfinite(t).all() for t in layers):
            continue
        for depth, t in enumerate(layers):
            for kind, softness in enumerate((0.0, config.softness)):
                encoder = binned_encoder(t, bins=config.bins, softness=softness)
                place = kind, replica, depth
                complexity[place], relevance[place], one_step[place] = task.measure(encoder)
                if kind == HARD and depth == len(layers) - 2:
                    counts = np.stack([encoder[at][np.asarray(data.train.y) == y].sum(axis=0) for y in (0, 1)])
                    in_sample[replica] = float(mutual_information(counts / counts.sum()))
                    within = entropy(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
                    bounds[replica] = finite_sample_bound(encoder, np.asarray(within), len(at))
        said = layers[-1].argmax(axis=1)
        errors[replica] = (1 - task.rows[np.arange(len(said)), said])[held_out].mean() if len(held_out) else np.nan
    bound = against_bound(task.curve, complexity, relevance)
    layered = ("softness", "replica", "layer")
    rate = np.linspace(0.0, bound.curve.entropy, POINTS)
    at_transition = np.full(MOST_TRANSITIONS, np.nan)
    at_transition[: len(task.transitions)] = task.transitions[:MOST_TRANSITIONS]
    nats, ratio = {"units": "nats"}, {"units": "1"}
    return xr.Dataset(
        {
            "encoder_complexity": (layered, complexity, nats),
            "encoder_relevance": (layered, relevance, nats),
            "gap": (layered, bound.gap, nats | {"long_name": "I(T;Y) below the curve at equal I(X;T)"}),
            "lagrangian_gap": (layered, bound.lagrangian_gap, nats),
            "beta_complexity": (layered, bound.beta_complexity, ratio),
            "beta_relevance": (layered, bound.beta_relevance, ratio),
            "beta_one_step": (layered, one_step, ratio),
            "curve_complexity": ("point", rate, nats),
            "curve_lower": ("point", bound.curve.lower(rate), nats),
            "curve_upper": ("point", bound.curve.upper(rate), nats),
            "transition_beta": ("transition", at_transition, ratio),
            "expected_error": ("replica", errors, ratio | {"long_name": "error on held-out patterns under p(y|x)"}),
            "sample_relevance": ("replica", in_sample, nats | {"long_name": "I(T;Y) of the training sample"}),
            "finite_sample_bound": ("replica", bounds, nats),
            "label_entropy": ((), task.entropy_y, nats),
            "training_samples": ((), float(len(at)), ratio),
        },
        {"softness": [0.0, config.softness]},
    )


def patterns(x: Any) -> np.ndarray:
    """Number of every pattern, which is its row in the whole."""
    return np.asarray(x, np.int64) @ (1 << np.arange(11, -1, -1))


def by_chance(betas: Float[np.ndarray, "replicas layers"], places: Float[np.ndarray, " transitions"]) -> np.ndarray:
    """Share of betas, log-uniform from the first transition to the last, that are as near to one as each beta is.

    By chance it is uniform, and its mean 1/2. NaN for a beta that is not between the two, and without two transitions.

    Args:
        betas: of the layers.
        places: betas of the transitions, increasing; NaN is none.

    Example:
        >>> by_chance(np.array([[1.0, 2.0, 4.0, 9.0]]), np.array([1.0, 4.0])).round(2)
        array([[ 0.,  1.,  0., nan]])
    """
    known = np.log(places[np.isfinite(places)])
    found = np.full(betas.shape, np.nan)
    if len(known) < 2:
        return found
    with np.errstate(divide="ignore"):
        x = np.log(betas)
    inside = (x >= known[0]) & (x <= known[-1])
    distance = abs(x[inside][:, None] - known).min(axis=1)
    # Between two transitions so many lie within the distance of either.
    steps = np.diff(known)
    found[inside] = np.minimum(2 * distance[:, None], steps).sum(axis=1) / steps.sum()
    return found


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge, for every gamma, where the layers are with respect to the curve and what follows for their errors.

    Unless said otherwise of the soft encoders at the end of training, all layers with the output; intervals over
    replicas.

    * *near the curve*: I(X;T) above the least that any encoder of the same I(T;Y) needs, which is the distance of the
      Lagrangian from its optimum at the layer's own beta, is less than 0.5 bit, mean over layers.
    * *not far below it*: I(T;Y) is less than 0.05 bit below the curve at equal I(X;T), mean over layers.
    * *beta falls with depth*: mean of each replica's rank correlation of beta with depth is below -0.5; betas beyond
      100 are censored and tied above the others, a replica without any other is left out. By three definitions: slope
      of the curve at equal I(X;T), at equal I(T;Y), and the beta whose one-step encoder q_beta(t|x) is nearest in
      E KL(p(t|x) || q_beta(t|x)).
    * *at the bifurcations*: betas at equal I(T;Y) lie nearer to the curve's transitions than log-uniform ones between
      the first and the last transition, see `by_chance`: mean below 1/2. Layers outside are left out.
    * Of the last hidden layer T with hard bins, m training samples, bounds that fail with probability 0.05. Each is
      judged twice: it *holds* in more than 90 % of replicas, by the exact interval of `ibjax.plane.share`, which 36
      replicas without exception are enough for and 10 are not; and it *informs*.
      - Fano: error on held-out patterns under p(y|x) >= h^-1(H(Y) - I(T;Y)). It informs if it is at least half of
        the error. The network reads T before binning, so that it can fail.
      - compression: |that error - training error| <= `gap_bound` of I(X;T). It informs if it is below 1/4, half of
        what chance errs.
      - finite sample: |I(T;Y) - I(T;Y) of the training sample| <= `finite_sample_bound`. It informs if it is below
        H(Y), which no difference exceeds.
    * *error follows I(T;Y)*: over ten replicas or more, rank correlation of that error with I(T;Y) is below 0, and that
      of the generalisation gap with I(X;T) above 0.
    """
    early = preliminary(found, PRESETS["paper"])
    return [claim for settings, run in runs_of(found) for claim in _judged(run, float(settings["gamma"]), early)]


def _judged(run: xr.Dataset, gamma: float, early: bool) -> Iterator[Claim]:
    layers = {name: of_layers(run, name) for name in ("gap", "lagrangian_gap", *(b for b, _ in BETAS.values()))}

    def claim(name: str, statement: str, statistic: str, estimate, rule) -> Claim:
        return Claim(f"{name}-{gamma:g}", f"gamma {gamma:g}: {statement}", statistic, estimate, rule, early)

    yield claim(
        "near-curve",
        "the layers end near the information curve",
        "Lagrangian gap, bits, mean over layers",
        mean_over_replicas(per_replica(np.nanmean, layers["lagrangian_gap"]) * BITS_PER_NAT),
        less_than(NEAR),
    )
    yield claim(
        "little-below",
        "the layers end little below the information curve",
        "I(T;Y) below the curve at equal I(X;T), bits, mean over layers",
        mean_over_replicas(per_replica(np.nanmean, layers["gap"]) * BITS_PER_NAT),
        less_than(BELOW),
    )
    for short, (name, words) in BETAS.items():
        yield claim(
            f"beta-falls-{short}",
            f"beta falls with depth, {words}",
            "rank correlation of beta with depth",
            trend_over_replicas(depth_trend(layers[name])),
            less_than(FALLS),
        )
    near = by_chance(layers["beta_relevance"], run["transition_beta"].values)
    yield claim(
        "at-bifurcations",
        "the layers' betas are near the curve's bifurcations",
        "share of random betas that are as near, mean over layers",
        share_over_replicas(per_replica(np.nanmean, near)),
        less_than(0.5),
    )
    learnt = learning_of(run)
    for short, words, holds, informs, text, rule in _bounds(learnt):
        yield claim(f"{short}-holds", f"{words} holds", "share of replicas", share(holds), greater_than(HOLDS))
        yield claim(
            f"{short}-informs", f"{words} says more than is known anyway", text, mean_over_replicas(informs), rule
        )
    yield claim(
        "error-follows",
        "networks whose last hidden layer tells more of Y err less",
        "rank correlation of the held-out error with I(T;Y)",
        _correlation(learnt["error"], learnt["relevance"]),
        less_than(0),
    )
    yield claim(
        "gap-follows",
        "networks whose last hidden layer keeps less of X generalise better",
        "rank correlation of the generalisation gap with I(X;T)",
        _correlation(learnt["gap"], learnt["complexity"]),
        greater_than(0),
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Rank correlation over replicas, without an interval where they are too few for one."""
    found = rank_correlation(x, y)
    return found if np.isfinite(x + y).sum() >= FEWEST else Estimate(found.value, np.nan, np.nan)


def _bounds(learnt: dict[str, np.ndarray]) -> Iterator[tuple]:
    """Of every bound: name, words, whether it holds, what is judged of its use, in words, and the rule."""
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(learnt["error"] > 0, learnt["least_error"] / learnt["error"], np.nan)
    gap, of_gap = abs(learnt["gap"]), learnt["gap_bound"]
    change, of_change = abs(learnt["relevance"] - learnt["sample_relevance"]), learnt["finite_sample_bound"]
    yield (
        "fano",
        "Fano's bound of the error by I(T;Y)",
        _truth(learnt["error"] - learnt["least_error"]),
        part,
        "bound as a share of the error",
        greater_than(HALF),
    )
    yield (
        "compression",
        "the bound of the generalisation gap by I(X;T)",
        _truth(of_gap - gap),
        of_gap,
        "bound, an error",
        less_than(HALF_OF_CHANCE),
    )
    yield (
        "finite-sample",
        "the finite-sample bound of I(T;Y)",
        _truth(of_change - change),
        of_change / learnt["label_entropy"],
        "bound as a share of H(Y)",
        less_than(1.0),
    )


def _truth(margin: np.ndarray) -> np.ndarray:
    """Of the margins that are known, whether they are not negative."""
    return margin[~np.isnan(margin)] >= 0


def of_layers(run: xr.Dataset, name: str, encoder: int = SOFT) -> np.ndarray:
    """A derived variable of the replicas that survived, (replicas, layers)."""
    return surviving(run)[name].isel(softness=encoder).transpose("replica", "layer").values.astype(np.float64)


def learning_of(run: xr.Dataset) -> dict[str, np.ndarray]:
    """Errors, informations of the last hidden layer and the bounds between them, one value a replica; nats."""
    kept = surviving(run)
    complexity, relevance = (of_layers(run, name, HARD)[:, -2] for name in ("encoder_complexity", "encoder_relevance"))
    error = kept["expected_error"].values.astype(np.float64)
    label_entropy, samples = float(kept["label_entropy"]), int(kept["training_samples"])
    return {
        "complexity": complexity,
        "relevance": relevance,
        "error": error,
        "gap": error - (1 - curves_of(run, "train_accuracy")[:, -1]),
        "least_error": least_error(label_entropy - relevance),
        "gap_bound": gap_bound(complexity, samples),
        "sample_relevance": kept["sample_relevance"].values,
        "finite_sample_bound": kept["finite_sample_bound"].values,
        "label_entropy": np.full(len(error), label_entropy),
    }


def figure(found: xr.Dataset) -> Figure:
    """Draw, a row a gamma, the plane with the curve and the layers, their betas, and both errors with their bounds."""
    from ibjax.plotting import bound_figure

    rows = []
    for settings, run in runs_of(found):
        learnt = learning_of(run)
        told = np.linspace(0.0, float(run["curve_upper"].max()), POINTS)
        kept = np.linspace(0.0, max(float(np.nanmax(learnt["complexity"], initial=1.0)) * 1.1, 1.0), POINTS)
        bounds = {
            "least_error": (told, least_error(float(run["label_entropy"]) - told)),
            "gap_bound": (kept, gap_bound(kept, int(run["training_samples"]))),
        }
        rows.append((settings, surviving(run), learnt, bounds))
    return bound_figure(rows)


EXPERIMENT = Experiment(
    "the layers against the information curve, their betas, and the bounds on their errors",
    PRESETS,
    claims,
    figure,
    study,
    grid,
    derive,
)
