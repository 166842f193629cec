"""Memorising against learning: networks fit random labels and random pixels as they fit real ones."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Num
from matplotlib.figure import Figure

from ibjax.datasets import CORRUPTIONS, corrupt, subset
from ibjax.errors import InputError, choose
from ibjax.estimators import ByLayer, KernelBounds
from ibjax.experiments.compression import falls_of, runs_by
from ibjax.experiments.experiment import Experiment, Grid, preliminary
from ibjax.experiments.images import IMAGES, first_images, smaller
from ibjax.experiments.paths import curves_of, mean_over_replicas, paths_of
from ibjax.networks import ConvNet, SmallAlexNet, SmallInception, augmented, functional
from ibjax.plane import (
    Claim,
    Estimate,
    Rule,
    first_crossing,
    greater_than,
    less_than,
    mean_rank_correlation,
    paired_difference,
    share,
    surviving,
    within,
)
from ibjax.sweep import Study, data_key
from ibjax.training import TrainConfig, TrainingData

REGULARISERS = ("none", "weight_decay", "dropout", "augmentation")
TRUE, RANDOM, PARTIAL = "none", "random_labels", "partial_labels"
"""Corruptions that others are compared with, and the one that has a share."""
SIZE, ROOM = 28, 2
"""Pixels of a side that the networks take, and zeros around images that are no larger, which augmentation shifts."""
FITS, CHANCE, LEARNS, TIMES, BITS = 0.99, 0.05, 0.2, 4.0, 0.1
"""Margins: a share of the training images (the source's own least is 0.9934); shares of the test images; a factor of
epochs; bits of I(X;T)."""
SHARPNESS = 8.0
"""Mean squared distance of two images in a layer over twice the variance of the noise that its information has."""
EVALUATE = 100
"""Images whose activations are computed at a time: more take the convolutional networks longer on a CPU."""
CONVENTION = f"kernel by layer:bound=upper,variance=layer,noise_variance=units/{SHARPNESS:g}"


class Setting(NamedTuple):
    """A network of the source.

    Attributes:
        learning_rate: step size at the start.
        kind: its class.
        settings: what the class takes besides the image and the number of classes.
        title: its name in figures.
    """

    learning_rate: float
    kind: type[Any]
    settings: dict[str, Any]
    title: str


NETWORKS = {
    "inception": Setting(0.1, SmallInception, {}, "Inception"),
    "alexnet": Setting(0.01, SmallAlexNet, {}, "AlexNet"),
    "mlp-3x512": Setting(0.01, ConvNet, {"convolutions": (), "dense": (512, 512, 512)}, "MLP of 3 x 512"),
    "mlp-1x512": Setting(0.01, ConvNet, {"convolutions": (), "dense": (512,)}, "MLP of 1 x 512"),
}
"""Name -> setting."""


class Case(NamedTuple):
    """What is done to the data and to the training.

    Attributes:
        corruption: a name of `ibjax.datasets.CORRUPTIONS`.
        share: of the labels that are drawn anew.
        regulariser: a name of `REGULARISERS`.
    """

    corruption: str
    share: float
    regulariser: str


def parse_case(text: str) -> Case:
    """Read a case, ``CORRUPTION``, ``partial_labels=SHARE``, or either with ``+REGULARISER``.

    Raises:
        InputError: an unknown name, or a share that is none or not wanted.

    Example:
        >>> parse_case("partial_labels=0.4"), parse_case("random_labels+dropout").regulariser
        (Case(corruption='partial_labels', share=0.4, regulariser='none'), 'dropout')
    """
    what, _, regulariser = text.partition("+")
    corruption, _, number = what.partition("=")
    choose("corruption", corruption, CORRUPTIONS)
    choose("regulariser", regulariser or "none", REGULARISERS)
    if (corruption == PARTIAL) != bool(number):
        raise InputError(f"case {text!r}: partial_labels takes a share, as in partial_labels=0.4, and no other does")
    try:
        part = float(number or corruption == RANDOM)
    except ValueError:
        part = math.nan
    if not 0 <= part <= 1:
        raise InputError(f"case {text!r}: the share must be a number from 0 to 1")
    return Case(corruption, part, regulariser or "none")


@dataclasses.dataclass(frozen=True)
class RandomLabels:
    """The source's networks on images as they are, with random labels and with pixels that tell nothing.

    The networks take the middle 28 x 28 pixels, brought to mean 0 and variance 1 in every image; momentum 0.9, a step
    size of 0.1 (Inception) or 0.01 that falls by 0.95 every epoch, no regulariser. Labels and pixels of test images are
    corrupted as the training images' are, by another draw, but for the one permutation of ``shuffled_pixels``. Of the
    regularisers, augmentation takes a random part of each image, of images no larger than 28 x 28 with two zeros
    around them; the source names no constants of weight decay: 0.0001 is its public code's.

    Layers are measured on training images with the labels that were trained on, in the noise that
    `ibjax.estimators.KernelBounds` has in mind: its variance is in each unit the layer's own times an eighth of the
    number of units, so that images at the mean distance are told apart (exp(-8) is left of them) in a layer of any
    width and scale, and those that a layer has drawn together are not.

    References:
        Zhang, Bengio, Hardt, Recht & Vinyals (2017), "Understanding deep learning requires rethinking generalization",
        ICLR.
    """

    dataset: str = "cifar10"
    """Images: cifar10, fashion-mnist or mnist."""
    data: str | None = None
    """Folder of the images; None for that of IBJAX_DATA, else they are fetched."""
    train_images: int | None = None
    """Images to train on; None for all."""
    test_images: int | None = None
    """Images to test on; None for all."""
    measured_images: int = 2000
    """First so many of the training images, on which layers are measured."""
    replicas: int = 6
    """Networks of each kind and case: the fewest that settle what holds of most."""
    epochs: int = 150
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step."""
    decay: float = 0.95
    """What the step size is multiplied by after every epoch."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """Of the regulariser of that name: times the parameters is added to the gradient."""
    dropout: float = 0.5
    """Of the regulariser of that name: share of the last hidden units that a step leaves out."""
    networks: tuple[str, ...] = tuple(NETWORKS)
    """Networks to train: inception, alexnet, mlp-3x512, mlp-1x512."""
    network: str = "inception"
    """The network of one run; set by ``networks``."""
    cases: tuple[str, ...] = (
        TRUE,
        *(f"{PARTIAL}={part:g}" for part in (0.2, 0.4, 0.6, 0.8)),
        RANDOM,
        "shuffled_pixels",
        "random_pixels",
        "gaussian_pixels",
        *(f"{corruption}+{name}" for corruption in (TRUE, RANDOM) for name in REGULARISERS[1:]),
    )
    """What is done to data and training: CORRUPTION, partial_labels=SHARE, either with +REGULARISER."""
    case: str = TRUE
    """The case of one run; set by ``cases``."""
    convolution: str = "products"
    """How convolutions are computed; native is for accelerators."""
    snapshots: int = 60
    """About how many epochs are measured, log-spaced; a time to fit is known to one of them."""
    seed: int = 0
    """Seed of everything random."""
    chunk_size: int | None = 1
    """Networks that a device trains at a time."""

    def __post_init__(self):
        """Check what would fail late."""
        choose("dataset", self.dataset, IMAGES)
        for name in (*self.networks, self.network):
            choose("network", name, NETWORKS)
        for text in (*self.cases, self.case):
            parse_case(text)
        if not self.networks or not self.cases:
            raise InputError("networks and cases must each name at least one")
        if self.measured_images < 2:
            raise InputError(f"measured_images must be 2 or more, got {self.measured_images}")
        if not 0 < self.dropout < 1:
            raise InputError(f"dropout must lie between 0 and 1, got {self.dropout}: a case without it has none")
        if not self.weight_decay > 0:
            raise InputError(f"weight_decay must be positive, got {self.weight_decay}: a case without it has none")


QUICK = RandomLabels(
    dataset="mnist",
    train_images=512,
    test_images=1000,
    measured_images=256,
    replicas=6,
    epochs=60,
    batch_size=64,
    decay=0.98,
    networks=("mlp-3x512", "mlp-1x512"),
    cases=(
        TRUE,
        f"{PARTIAL}=0.4",
        RANDOM,
        "shuffled_pixels",
        "random_pixels",
        "gaussian_pixels",
        *(f"{RANDOM}+{name}" for name in REGULARISERS[1:]),
    ),
    snapshots=40,
    chunk_size=3,
)
PRESETS = {"paper": RandomLabels(), "quick": QUICK, "fashion": dataclasses.replace(QUICK, dataset="fashion-mnist")}
"""Named settings; the first is the default.

The quick ones train the fully connected networks on few images, about five minutes of two cores. The others take too
long for that: on one core of a busy server (AMD EPYC) an epoch of their 512 images takes 0.013 s for ``mlp-1x512``,
0.035 s for ``mlp-3x512``, 7 s for ``alexnet`` and 16 s for ``inception``, a look at a network 0.03, 0.08, 11 and about
30 s, so that a case of six networks takes 12 s, 30 s, an hour and a half and over three hours. With 128 images
(``train_images``), 100 to test, 64 measured, 8 snapshots and the case ``random_labels`` alone, an ``alexnet`` takes two
minutes of a core: it had all of them right after 60 epochs.
"""


def study(config: RandomLabels) -> Study:
    """The study of one network and case."""
    case, setting = parse_case(config.case), NETWORKS[config.network]
    key, other = jax.random.split(data_key(config.seed))
    if case.corruption == "shuffled_pixels":
        other = key  # one permutation for all images
    train, test = (
        corrupt(first_images(config.dataset, config.data, part, count), case.corruption, draw, case.share)
        for part, count, draw in (("train", config.train_images, key), ("test", config.test_images, other))
    )
    if config.measured_images > len(train):
        raise InputError(f"measured_images must be at most the {len(train)} trained on, got {config.measured_images}")
    image = train.x.shape[1:]
    size = (min(SIZE, image[0]), min(SIZE, image[1]))
    settings: dict[str, Any] = {**setting.settings, "classes": train.classes, "convolution": config.convolution}
    settings["dropout"] = config.dropout if case.regulariser == "dropout" else 0.0
    settings["augmentation"] = {
        "size": size,
        "padding": ROOM if size == image[:2] else 0,
        "random": case.regulariser == "augmentation",
        "whiten": True,
    }
    network: Any = functools.partial(augmented(setting.kind), (*size, image[2]), **settings)
    return Study(
        network=network,
        data=TrainingData(train, test, subset(train, np.arange(config.measured_images), train.name)),
        config=TrainConfig(
            epochs=config.epochs,
            batch_size=config.batch_size,
            optimizer="momentum_l2",
            learning_rate=setting.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay if case.regulariser == "weight_decay" else 0.0,
            snapshots=config.snapshots,
            evaluate_size=min(EVALUATE, config.measured_images),
            decay=config.decay,
        ),
        estimators=(estimator_of(functional(network).widths(image)),),
        replicas=config.replicas,
        seed=config.seed,
        chunk_size=config.chunk_size,
        title=f"{train.name.removesuffix(' (train)')}, {setting.title}",
    )


def estimator_of(widths: tuple[int, ...]) -> ByLayer:
    """Kernel bounds whose noise is as large, against the distances of images, in a layer of any width."""
    return ByLayer(
        tuple(KernelBounds(noise_variance=width / SHARPNESS, variance="layer") for width in widths), name=CONVENTION
    )


def grid(config: RandomLabels) -> Grid:
    """Every network with every case."""
    return {"network": config.networks, "case": config.cases}


class Fits(NamedTuple):
    """How one network does in one case; one value a replica that survived.

    Attributes:
        train: share of the training images that is right at the end.
        test: of the test images.
        epoch: first epoch looked at with 0.99 of the training images right; inf where there is none.
    """

    train: Float[np.ndarray, " replicas"]
    test: Float[np.ndarray, " replicas"]
    epoch: Float[np.ndarray, " replicas"]


def fits_of(run: xr.Dataset) -> Fits:
    """How the networks of a run fit."""
    train, test = (curves_of(run, f"{part}_accuracy") for part in ("train", "test"))
    found = first_crossing(surviving(run)["epoch"].values, train, FITS).epoch
    return Fits(train[:, -1], test[:, -1], np.where(np.isnan(found), np.inf, found))


def by_share(runs: dict[Case, xr.Dataset]) -> dict[float, xr.Dataset]:
    """Share of the labels that are random -> run, of those without a regulariser, in order."""
    found = {
        c.share: run for c, run in runs.items() if c.regulariser == "none" and c.corruption in (TRUE, PARTIAL, RANDOM)
    }
    return dict(sorted(found.items()))


def last_hidden(run: xr.Dataset) -> Float[np.ndarray, " replicas"]:
    """I(X;T) of the last hidden layer at the end, bits, one value a replica; NaN for those that did not survive."""
    return _spread(run, paths_of(run).complexity[:, -2, -1])


def _spread(run: xr.Dataset, values: Num[np.ndarray, " survivors"]) -> Float[np.ndarray, " replicas"]:
    """Values of the replicas that survived, at their places among all."""
    whole = np.full(run.sizes["replica"], np.nan)
    whole[surviving(run)["replica"].values] = values
    return whole


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge, for every network, whether it memorises, what that costs and what it does to the layers.

    Intervals are over networks. A network *fits* that has 0.99 of the training images right at the end: the source's
    own least is 0.9934. That it does so is true of it where more than half of the networks do, by the exact interval of
    a share.

    * *fits*: it fits the images as they are, random labels, shuffled, random and Gaussian pixels; and random labels
      with weight decay, with dropout, and with augmentation.
    * *nothing is learnt*: test accuracy from random labels and from Gaussian pixels is within 0.05 of chance.
    * *and yet it generalises*: from true labels it is higher than from random ones by more than 0.2.
    * *slower with corruption*: the rank correlation of the epoch at which a network first fits with the share of
      random labels is above 0, mean over replicas. *but not much*: random labels are fitted within four times as many
      epochs as true ones by more than half of the networks. Epochs at which the network is not looked at count as late
      as the next that is.
    * *corruption costs generalisation*: the rank correlation of the test accuracy with that share is below 0.
    * *memorising keeps more of X*: I(X;T) of the last hidden layer at the end is larger from random labels than from
      true ones by more than 0.1 bit. *learning compresses*, *memorising compresses*: it falls by more than 0.1 bit from
      its peak to the end, 0 where `ibjax.plane.phases` finds the fall within the noise.
    """
    paper = PRESETS["paper"]
    by_network: dict[str, dict[Case, xr.Dataset]] = {}
    for (network, text), run in runs_by(found, "network", "case").items():
        by_network.setdefault(network, {})[parse_case(text)] = run
    everything = [run for runs in by_network.values() for run in runs.values()]
    early = (
        len(everything) < len(paper.networks) * len(paper.cases)
        or preliminary(found, paper)
        or any(smaller(run, paper) for run in everything)
    )
    return [claim for name, runs in by_network.items() for claim in _of_network(name, runs, early)]


def _of_network(network: str, runs: dict[Case, xr.Dataset], early: bool) -> list[Claim]:
    result = []

    def add(name: str, statement: str, statistic: str, estimate: Estimate, rule: Rule) -> None:
        result.append(Claim(f"{name} {network}", statement, f"{network}: {statistic}", estimate, rule, early))

    fits = {case: fits_of(run) for case, run in runs.items() if run["alive"].isel(snapshot=-1).any()}
    for case, fit in fits.items():
        if case.corruption == PARTIAL or (case.regulariser != "none" and case.corruption != RANDOM):
            continue
        data = "true labels" if case.corruption == TRUE else case.corruption.replace("_", " ").replace("gauss", "Gauss")
        where = data if case.regulariser == "none" else f"{data} with {case.regulariser.replace('_', ' ')}"
        text = f"share of networks with {FITS:g} of the training images right, {where}"
        add(f"fits {where}", f"networks fit {where}", text, share(fit.train >= FITS), greater_than(0.5))
        if case.regulariser == "none" and case.corruption in (RANDOM, "gaussian_pixels"):
            excess = fit.test - 1 / 10
            text = f"test accuracy above chance, {where}"
            add(f"chance {where}", f"nothing is learnt from {where}", text, mean_over_replicas(excess), within(CHANCE))
    shares = {part: run for part, run in by_share(runs).items() if run["alive"].isel(snapshot=-1).any()}
    epochs, tests = (
        np.stack([_spread(run, getattr(fits_of(run), name)) for run in shares.values()]) if shares else np.empty((0, 0))
        for name in ("epoch", "test")
    )
    if len(shares) > 2:
        text = "rank correlation of the epoch of fitting with the share of random labels"
        add("slower", "the more labels are random, the longer fitting takes", text,
            mean_rank_correlation(np.array(list(shares)), epochs), greater_than(0.0))  # fmt: skip
        text = "rank correlation of the test accuracy with the share of random labels"
        add("costs", "the more labels are random, the less is learnt", text,
            mean_rank_correlation(np.array(list(shares)), tests), less_than(0.0))  # fmt: skip
    if not {0.0, 1.0} <= set(shares):
        return result
    text = "test accuracy, true labels less random ones"
    add("generalises", "the same network generalises from true labels", text,
        paired_difference(tests[0], tests[-1]), greater_than(LEARNS))  # fmt: skip
    known = ~np.isnan(epochs[0] + epochs[-1]) & np.isfinite(epochs[0])
    text = f"share of networks that fit random labels in {TIMES:g} times the epochs of true ones"
    add("not-much-slower", "random labels take only a few times as long", text,
        share(epochs[-1][known] <= TIMES * epochs[0][known]), greater_than(0.5))  # fmt: skip
    true, random = shares[0.0], shares[1.0]
    text = "I(X;T) of the last hidden layer at the end, bits, random labels less true ones"
    add("keeps-more", "memorising keeps more of X than learning", text,
        paired_difference(last_hidden(random), last_hidden(true)), greater_than(BITS))  # fmt: skip
    for name, run in (("learning", true), ("memorising", random)):
        text = f"fall of I(X;T) of the last hidden layer from its peak, bits, {name}"
        add(f"{name}-compresses", f"I(X;T) falls while {name}", text,
            mean_over_replicas(falls_of(run).fall[:, -1]), greater_than(BITS))  # fmt: skip
    return result


def figure(found: xr.Dataset) -> Figure:
    """Draw how networks fit, how long it takes and what it costs, the plane, and what regularisers change."""
    from ibjax.plotting import memorising_figure
    from ibjax.plotting.random_labels import Fit, FitRow

    rows: dict[str, dict[Case, xr.Dataset]] = {}
    for (network, text), run in runs_by(found, "network", "case").items():
        if run["alive"].isel(snapshot=-1).any():
            rows.setdefault(network, {})[parse_case(text)] = run
    if not rows:
        raise InputError("no network survived: train longer or take a smaller step size")
    made = []
    for network, runs in rows.items():
        plain = {case: run for case, run in runs.items() if case.regulariser == "none"}
        made.append(
            FitRow(
                title=f"{NETWORKS[network].title}, {next(iter(runs.values())).attrs['title'].split(',')[0]}",
                curves={case.corruption: run for case, run in plain.items() if case.corruption != PARTIAL},
                shares={part: Fit(*fits_of(run)) for part, run in by_share(runs).items()},
                regularised={
                    (case.corruption, case.regulariser): Fit(*fits_of(run))
                    for case, run in runs.items()
                    if case.corruption in (TRUE, RANDOM)
                },
            )
        )
    return memorising_figure(made)


EXPERIMENT = Experiment(
    "networks fit random labels and pixels: memorising against learning (Zhang et al. 2017)",
    PRESETS,
    claims,
    figure,
    study,
    grid=grid,
)
