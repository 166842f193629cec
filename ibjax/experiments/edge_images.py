"""ReLU networks that are said to compress images by EDGE: do they, and by which of its bandwidths?"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Integer
from matplotlib.figure import Figure

from ibjax.datasets import Dataset, cifar10, flatten, mnist, subset
from ibjax.errors import InputError, choose
from ibjax.estimators import EDGE, ByLayer, LayerEstimator, LayerInformation
from ibjax.estimators.base import Span
from ibjax.estimators.edge import Projected
from ibjax.experiments.experiment import Experiment, Grid, runs_of
from ibjax.experiments.paths import Paths, mean_over_replicas, paths_of, per_replica
from ibjax.networks import MLP
from ibjax.networks.convolutional import edge_cnn
from ibjax.plane import Claim, Estimate, Rule, greater_than, masked, share, surviving, within
from ibjax.sweep import Study
from ibjax.training import TrainConfig, TrainingData
from ibjax.training.train import DEAD_MARGIN

LOSES, KEPT, SAME, NEAR = 0.1, -0.05, 0.25, 0.5
"""Bits: of I(X;T) that count as lost, of I(T;Y) that may be, between bandwidths, from a published end."""
LAST = 5
"""Most snapshots that the end of a path is the mean of."""
HIDDEN = (1024, 20, 20, 20)
"""Hidden units of the fully connected networks."""
CAP, LABEL_CAP, LABEL_WIDTH, IMAGE_GAMMA = 20.0, 10.0, 0.2, 0.2
"""The public code's U for I(X;T) and for I(T;Y), bits, its epsilon for the latter, and its gamma for the images."""
EVALUATE = 100
"""Images whose activations are computed at a time: 500 take the convolutional network twice as long on a CPU."""


class Setting(NamedTuple):
    """How the public code trains and measures one network.

    Attributes:
        batch_size: images a step.
        iterations: steps.
        gammas: factor of the bandwidth for I(X;T), one a hidden layer.
        label_gammas: likewise for I(T;Y).
        activation: of the fully connected networks; None for the convolutional one.
        ends: I(X;T) at the end on MNIST, bits, mean of 23 networks in its stored results; None where it has none.
    """

    batch_size: int
    iterations: int
    gammas: tuple[float, ...]
    label_gammas: tuple[float, ...]
    activation: str | None = None
    ends: tuple[float, ...] | None = None


class OfImages(NamedTuple):
    """I(X;T) as the public code has it, the images in cells too: `EDGE` of two variables.

    Attributes:
        estimator: with a gamma for the layer and one for the images.
        images: those that are measured, projected: with a program's constants alone the compiler would do it.
    """

    estimator: EDGE
    images: Projected

    @property
    def needs_span(self) -> bool:
        """Whether the range of the whole run is needed: never."""
        return False

    def layer(
        self,
        t: Float[Array, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) in nats; of I(T;Y) it says nothing, NaN."""
        del labels, classes, span
        found = self.estimator(self.images, t).value.astype(t.dtype)
        return LayerInformation(found, jnp.full_like(found, jnp.nan))

    def __str__(self) -> str:
        """The convention."""
        return f"{self.estimator},images hashed"


_MLP = Setting(128, 12_000, (0.8, 1.0, 1.2, 1.3), (0.4, 0.5, 0.6, 0.8))
NETWORKS = {
    "cnn": Setting(100, 12_000, (0.8, 1.0, 1.2, 1.4), (0.2, 0.3, 0.34, 0.52), ends=(12.28, 10.47, 7.07, 5.01)),
    "mlp-tanh": _MLP._replace(activation="tanh", ends=(13.05, 8.20, 6.98, 6.09)),
    "mlp-relu": _MLP._replace(activation="relu"),
}
"""Name -> setting."""


@dataclasses.dataclass(frozen=True)
class EdgeMNIST:
    """Networks on MNIST, measured by EDGE on the first 10,000 training images.

    ``cnn`` is `ibjax.networks.convolutional.edge_cnn`, with ReLU: batches of 100, 12,000 steps. ``mlp-tanh`` and
    ``mlp-relu`` are 784-1024-20-20-20-10: batches of 128, 12,000 steps. All weights start from a normal of deviation
    0.1 cut off at two deviations, and Adam takes steps of 0.003. The public code has a bandwidth factor gamma of its
    own for every layer; it measures at chosen steps, and at each it takes a step on the measured images besides. Here
    networks are measured before training and after every epoch, so that a peak within the first epoch is not seen and
    what is lost after it is understated.

    Every network is measured by the public code's rule with its own gammas, by EDGE's default rule ``rank``, and
    by the public code's rule with one gamma for all layers, for several. By that rule the images are hashed too, with
    a gamma of 0.2, as its demonstrations do: it matters, see `ibjax.estimators.EDGE`. ``rank`` has every image in a
    cell of its own.

    Two settings are not those of the demonstration's script. It says 20,000 steps, but its stored results have as many
    looks as its schedule makes in 12,000. And it says a gamma of 1.8 for the last hidden layer, by which two networks
    give 0.5 and 1.2 bits at the start, 4.3 after 100 steps and one 4.1 at the end, where the stored curve has 6.6, 6.1
    and 6.1; with 1.3 it is about 6.9, 6.2 and 6.3. The other layers come out by the script's own: that network ends at
    12.9, 8.3 and 6.8 bits, the stored one at 13.1, 8.2 and 7.0. With each image in a cell of its own it would be 13.3,
    8.9 and 7.7. Trained and measured as here, twelve ``mlp-tanh`` end at 13.05, 8.11, 6.99 and 6.36 bits on average.

    References:
        Noshad, Zeng & Hero (2019), "Scalable mutual information estimation using dependence graphs", ICASSP.
    """

    replicas: int = 23
    """Initialisations of each network."""
    networks: tuple[str, ...] = tuple(NETWORKS)
    """Networks to train: cnn, mlp-tanh, mlp-relu."""
    network: str = "cnn"
    """The network of one run; set by ``networks``."""
    iterations: int | None = None
    """Steps of training, rounded up to whole epochs; None for the network's own."""
    images: int | None = None
    """Train on the first so many training images; None for all."""
    measured: int = 10_000
    """Measure on the first so many of these. Cells are fewer with fewer images: ends are published for 10,000."""
    gammas: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Factors of the bandwidth that are tried for all layers alike."""
    members: int = 10
    """Bandwidths of the public code's ensemble."""
    learning_rate: float = 0.003
    """Step size of Adam."""
    snapshots: int = 100
    """About how many epochs are measured, log-spaced; all of them if there are fewer."""
    data: str | None = None
    """Folder of the images; None for that in IBJAX_DATA, or else they are fetched."""
    keep_parameters: bool = False
    """Store the parameters at every snapshot."""
    chunk_size: int | None = 1
    """Replicas that one device executes at a time: more need more memory and save no time."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self):
        """Check what would fail late."""
        for name in (*self.networks, self.network):
            choose("network", name, NETWORKS)
        if not self.networks:
            raise InputError(f"networks must name one or more of {', '.join(NETWORKS)}")
        for name in ("iterations", "images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be 1 or more, got {value}: None takes the study's own")
        if self.measured < 20:
            raise InputError(f"measured must be 20 images or more, got {self.measured}: EDGE needs 10 for a direction")
        if not self.gammas:
            raise InputError("gammas must have one or more factors to compare with, for example 1")


@dataclasses.dataclass(frozen=True)
class EdgeCIFAR10(EdgeMNIST):
    """The networks of `EdgeMNIST`, whose settings these are, on CIFAR-10.

    The source has no such study: its networks take the larger images as they are, with all else unchanged, and its
    bandwidth factors were not tuned for them. No end is published. After 600 steps on 10,000 images the convolutional
    networks have a training accuracy of 0.6, and three of four fully connected ones are at chance.
    """


MNIST_PRESETS = {
    "paper": EdgeMNIST(),
    # Six networks are the fewest that settle what holds of most.
    "quick": EdgeMNIST(replicas=6, iterations=600, images=10_000, measured=2000, gammas=(1.0,), members=5),
}
"""Named settings; the first is the default."""
CIFAR10_PRESETS = {
    "paper": EdgeCIFAR10(),
    # Larger images take 2.4 times as long; and in so few steps the fully connected networks learn nothing.
    "quick": EdgeCIFAR10(**{**dataclasses.asdict(MNIST_PRESETS["quick"]), "networks": ("cnn",)}),
}
"""Named settings; the first is the default."""
_LOAD: dict[type, Callable[..., Dataset]] = {EdgeMNIST: mnist, EdgeCIFAR10: cifar10}


def estimators_of(config: EdgeMNIST, measured: Dataset) -> tuple[LayerEstimator, ...]:
    """What a network is measured by: the public code's bandwidths, the default rule, one bandwidth for all layers."""
    setting = NETWORKS[config.network]
    code = functools.partial(EDGE, "code", config.members)
    own, label = ("/".join(f"{gamma:g}" for gamma in part) for part in (setting.gammas, setting.label_gammas))
    images = code().project(np.asarray(measured.x, np.float32).reshape(len(measured), -1))

    def hashed(gamma: float) -> OfImages:
        return OfImages(code(gamma, CAP, x_gamma=IMAGE_GAMMA).checked(), images)

    by_label = tuple(code(gamma, LABEL_CAP, LABEL_WIDTH) for gamma in setting.label_gammas)
    by_layer = ByLayer(
        tuple(map(hashed, setting.gammas)),
        by_label,
        f"edge by layer:rule=code,members={config.members},gamma={own},U={CAP:g},x_gamma={IMAGE_GAMMA:g};"
        f"I(T,Y) gamma={label},U={LABEL_CAP:g},epsilon={LABEL_WIDTH:g}",
    )
    common = (ByLayer((hashed(gamma),), by_label, str(hashed(gamma))) for gamma in config.gammas)
    return (by_layer, EDGE(), *common)


def study(config: EdgeMNIST) -> Study:
    """The study of one network."""
    setting, load = NETWORKS[config.network], _LOAD[type(config)]
    train, test = (load(config.data, split) for split in ("train", "test"))
    shape = train.x.shape[1:]
    if setting.activation is not None:
        train, test = flatten(train), flatten(test)
        widths = (math.prod(shape), *HIDDEN, train.classes)
        network: Any = functools.partial(MLP, widths, setting.activation, "edge")
        title = f"{setting.activation} {'-'.join(map(str, widths))}"
    else:
        network, title = functools.partial(edge_cnn, shape), "ReLU convolutional network"
    train, test = first(train, config.images), first(test, config.images)
    measured = first(train, config.measured)
    if len(measured) < config.measured:
        raise InputError(
            f"measured must be at most the {len(train)} images that are trained on, got {config.measured}: lower it"
            + ("" if config.images is None else ", or raise images")
        )
    size = min(setting.batch_size, len(train))
    epochs = math.ceil((config.iterations or setting.iterations) / math.ceil(len(train) / size))
    return Study(
        network=network,
        data=TrainingData(train, test, measured),
        config=TrainConfig(
            epochs=epochs,
            batch_size=size,
            optimizer="adam",
            learning_rate=config.learning_rate,
            snapshots=config.snapshots,
            evaluate_size=EVALUATE,
        ),
        estimators=estimators_of(config, measured),
        replicas=config.replicas,
        seed=config.seed,
        chunk_size=config.chunk_size,
        keep_parameters=config.keep_parameters,
        title=f"{measured.name}, {title}",
    )


def first(data: Dataset, count: int | None) -> Dataset:
    """The first so many images, or as many as there are; all for None."""
    return data if count is None or count >= len(data) else subset(data, np.arange(count), data.name)


def grid(config: EdgeMNIST) -> Grid:
    """A run a network."""
    return {"network": config.networks}


class Change(NamedTuple):
    """What the hidden layers of every replica do from the peak of I(X;T) to the end, in bits.

    Attributes:
        lost: I(X;T) at its peak minus at the end.
        relevance: I(T;Y) at the end minus at that peak.
        ends: I(X;T) at the end.
    """

    lost: Float[np.ndarray, "replicas layers"]
    relevance: Float[np.ndarray, "replicas layers"]
    ends: Float[np.ndarray, "replicas layers"]


def change_of(paths: Paths) -> Change:
    """What is lost after the peak, which is where the mean of the other replicas has it.

    The largest of many noisy values is too large; at a place that others have chosen it is not, but rather too small
    where nothing but noise tells the places apart. A single replica has its own peak.
    """
    complexity, relevance = (part[:, :-1] for part in (paths.complexity, paths.relevance))
    replicas, snapshots = len(complexity), complexity.shape[-1]
    others = (complexity.sum(axis=0) - complexity) / (replicas - 1) if replicas > 1 else complexity
    peak = others.argmax(axis=-1, keepdims=True)
    last = min(LAST, math.ceil(snapshots / 4))
    (high, ends), (at_peak, kept) = (
        (np.take_along_axis(part, peak, -1)[..., 0], part[..., -last:].mean(axis=-1))
        for part in (complexity, relevance)
    )
    return Change(high - ends, kept - at_peak, ends)


def _config(run: xr.Dataset) -> dict[str, Any]:
    return json.loads(run.attrs["config"])


def _names(run: xr.Dataset) -> list[str]:
    """Of the estimators: by layer, the default rule, and the others as gammas."""
    return ["its own gamma for every layer", "rule rank", *(f"gamma {gamma:g}" for gamma in _config(run)["gammas"])]


def _early(found: xr.Dataset) -> bool:
    """Whether results are smaller than the study: in networks, replicas, steps, or images."""
    runs = [run for _, run in runs_of(found)]

    def is_small(run: xr.Dataset) -> bool:
        config = _config(run)
        steps = masked(run).epoch * float(run.attrs["updates_per_epoch"])
        return (
            run.sizes["replica"] < EdgeMNIST.replicas
            or steps < NETWORKS[config["network"]].iterations
            or config["images"] is not None
            or float(run.attrs["samples"]) < EdgeMNIST.measured
        )

    return len(runs) < len(NETWORKS) or any(map(is_small, runs))


def _learnt(found: xr.Dataset) -> Iterator[xr.Dataset]:
    """The runs with the networks that have learnt, of runs where there are any."""
    for _, run in runs_of(found):
        end = run.isel(snapshot=-1)
        learnt = end["alive"] & (end["train_accuracy"] > 1 / int(run["width"][-1]) + DEAD_MARGIN)
        if learnt.any():
            yield run.isel(replica=np.flatnonzero(learnt))


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge each network by each setting of EDGE, hidden layers only; intervals are over replicas that have learnt.

    Replicas whose training accuracy is at chance at the end, 1 / classes and 0.03, are left out: what their layers
    lose tells nothing of learning.

    The peak of I(X;T) of a layer is where the mean of the other replicas has it, and the end the mean of the last
    quarter of the snapshots, of 5 at most. A single replica has no interval, and settles nothing.

    * *compression*: more than half of a replica's hidden layers lose more than 0.1 bit of I(X;T) from peak to end, in
      more than half of the replicas (exact interval of a share); by the public code's own gammas, by the default rule,
      and by every gamma for all layers.
    * *relevance is kept*: from that peak to the end, the mean change of I(T;Y) of layers that lose so much is above
      -0.05 bit; by the public code's own gammas.
    * *bandwidths do not decide*: what is lost, mean of the hidden layers, by the public code's own gammas and by each
      of the other settings differ by less than 0.25 bit, replica by replica.
    * *published ends*: I(X;T) at the end, by the public code's own gammas, is within 0.5 bit of that of its stored
      results; on MNIST, of networks that have one, and if the 10,000 images are measured.
    """
    early, result = _early(found), []
    for run in _learnt(found):
        network, names = _config(run)["network"], _names(run)

        def add(name: str, statement: str, statistic: str, found: Estimate, rule: Rule, network: str = network) -> None:
            result.append(Claim(f"{name} {network}", statement, f"{network}: {statistic}", found, rule, early))

        changes = [change_of(paths_of(run, place)) for place in range(len(names))]
        for name, change in zip(names, changes, strict=True):
            most = (change.lost > LOSES).mean(axis=-1) > 0.5
            text = f"share of networks most of whose hidden layers lose {LOSES:g} bit of I(X;T), {name}"
            add(f"compression by {name}", "I(X;T) falls after its peak", text, share(most), greater_than(0.5))
        tuned = changes[0]
        kept = per_replica(np.nanmean, np.where(tuned.lost > LOSES, tuned.relevance, np.nan))
        text = "change of I(T;Y) from the peak of I(X;T) to the end, bits, layers that compress"
        add("relevance-kept", "while I(T;Y) does not fall", text, mean_over_replicas(kept), greater_than(KEPT))
        for name, change in zip(names[1:], changes[1:], strict=True):
            text = f"I(X;T) lost by its own gammas minus by {name}, bits, mean of the hidden layers"
            difference = mean_over_replicas((tuned.lost - change.lost).mean(axis=-1))
            add(f"bandwidth {name}", "the bandwidth does not decide what is lost", text, difference, within(SAME))
        ends = NETWORKS[network].ends
        if ends is not None and _config(run)["experiment"] == "edge-mnist" and run.attrs["samples"] == 10_000:
            for layer, published in enumerate(ends):
                text = f"I(X;T) of layer {layer + 1} at the end, bits"
                end = mean_over_replicas(tuned.ends[:, layer])
                add(f"end of layer {layer + 1}", "the published end comes out", text, end, within(NEAR, published))
    if not result:
        raise InputError("no network has learnt: lower learning_rate or take more iterations")
    return result


def figure(found: xr.Dataset) -> Figure:
    """Draw the hidden layers by the public code's gammas, by the default rule, and what is lost against gamma."""
    from ibjax.plotting import edge_figure
    from ibjax.plotting.edge_images import EdgeRow

    rows = []
    for run in _learnt(found):
        config, names = _config(run), _names(run)
        setting = NETWORKS[config["network"]]
        paths = [paths_of(run, place) for place in range(len(names))]
        lost = [change_of(one).lost for one in paths]
        published = setting.ends if config["experiment"] == "edge-mnist" and run.attrs["samples"] == 10_000 else None
        rows.append(
            EdgeRow(
                title=str(run.attrs["title"]),
                samples=int(run.attrs["samples"]),
                replicas=surviving(run).sizes["replica"],
                widths=tuple(run["width"].values.tolist()[:-1]),
                epochs=paths[0].epochs,
                tuned=paths[0].complexity[:, :-1],
                relevance=paths[0].relevance[:, :-1],
                ranked=paths[1].complexity[:, :-1],
                published=published,
                gammas=tuple(config["gammas"]),
                own_gammas=setting.gammas,
                lost=np.stack(lost, axis=-1).mean(axis=0),
            )
        )
    if not rows:
        raise InputError("no network has learnt: lower learning_rate or take more iterations")
    return edge_figure(rows)


def _experiment(presets: dict[str, Any], images: str) -> Experiment:
    summary = f"do ReLU networks compress {images} by EDGE, and do its bandwidths decide (Noshad et al. 2019)"
    return Experiment(summary, presets, claims, figure, study, grid=grid)


MNIST = _experiment(MNIST_PRESETS, "MNIST")
CIFAR10 = _experiment(CIFAR10_PRESETS, "CIFAR-10")
