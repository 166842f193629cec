"""Invertible networks generalise: i-RevNets lose nothing of their images before the classifier, and a twin does."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from ibjax.datasets import Dataset, subset
from ibjax.errors import InputError
from ibjax.estimators import parse_layer
from ibjax.experiments.experiment import Experiment, preliminary
from ibjax.experiments.images import first_images, smaller
from ibjax.experiments.paths import mean_over_replicas, per_replica, share_over_replicas, trend_over_replicas
from ibjax.networks import IRevNet, augmented
from ibjax.plane import Claim, depth_trend, greater_than, less_than, paired_difference, within
from ibjax.sweep import Study, groups_of, trained_parameters
from ibjax.training import TrainConfig, TrainingData

FLOAT_LEVEL, SAME_INFORMATION, LEARNS, SAME_ACCURACY = 1e-4, 1e-3, 0.8, 0.02
"""Margins: of a pixel in [0, 1], a fortieth of a grey level; nats; share of the test images, and between the forms."""
RIDGE = 1e-3
"""Penalty of the linear probe, as a share of the mean squared length of the codes."""
BLOCK = 64
"""Images whose codes of all layers are held at a time."""
INVERTED = 9
"""Layers at most that images are computed back from: every one needs a program of its own."""
OVERFLOW = 1e6
"""Error of an inverse that overflows; an error that is NaN was not asked for."""
PAIRS, STEPS = 3, 7
"""Pairs of images between which codes are interpolated, and points of each line, its ends included."""


@dataclasses.dataclass(frozen=True)
class Invertible:
    """An i-RevNet on images, and a twin of the same parameters that cannot be inverted.

    The twin rectifies every sum, as residual networks do, and takes the mean of each square of pixels where the
    i-RevNet moves them into channels, see `ibjax.networks.IRevNet`. Images are brought to mean 0 and variance 1 in each
    channel. Information is measured by the exact bits of the floats on test images that all differ.

    The optimiser's momentum lasts through all epochs; the public code made a new one every epoch.

    References:
        Jacobsen, Smeulders & Oyallon (2018), "i-RevNet: deep invertible networks", ICLR; the settings are those of its
        public code for CIFAR-10.
    """

    dataset: str = "cifar10"
    """Images: cifar10, fashion-mnist or mnist."""
    data: str | None = None
    """Folder of the images; None for that of IBJAX_DATA, else they are fetched."""
    train_images: int | None = None
    """Images to train on; None for all."""
    test_images: int | None = None
    """Images to test on; None for all."""
    measured_images: int = 500
    """First so many of the test images, on which layers are measured and which are computed back."""
    probe_images: int = 2000
    """First so many of the training images, from which linear probes learn."""
    replicas: int = 5
    """Networks of either form."""
    epochs: int = 200
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 0.1
    """Step size of SGD at the start."""
    decay: float = 0.2
    """What the step size is multiplied by."""
    decay_after: tuple[int, ...] = (60, 120, 160)
    """Epochs after which it is."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 5e-4
    """Times the parameters is added to the gradient."""
    dropout: float = 0.1
    """Share of the units within a block that a step leaves out."""
    padding: int = 4
    """Zeros around an image, of which a random part of the image's size is trained on; 0 for none."""
    mirror: bool = True
    """Exchange left and right at random in training."""
    blocks: tuple[int, ...] = (18, 18, 18)
    """Blocks of every stage."""
    strides: tuple[int, ...] = (1, 2, 2)
    """Of the first block of every stage."""
    channels: tuple[int, ...] = (16, 64, 256)
    """Channels of either half after every stage."""
    initial: int = 1
    """Pixels that are moved into channels before the first block, 1 for none."""
    invertible: bool = True
    """The form of a single run; see forms."""
    forms: tuple[bool, ...] = (True, False)
    """Forms that are trained: the invertible one and its twin."""
    convolution: str = "products"
    """How convolutions are computed; native is for accelerators."""
    measure: tuple[str, ...] = ("binning:rule=bits",)
    """What I(X;T) and I(T;Y) are measured by."""
    snapshots: int = 12
    """About how many epochs are looked at."""
    seed: int = 0
    """Seed of everything random."""
    chunk_size: int | None = 1
    """Networks that a device trains at a time."""

    def __post_init__(self):
        """Check what would fail late."""
        if min(self.measured_images, self.probe_images) < 2:
            raise InputError(
                f"measured_images and probe_images must be 2 or more, got {self.measured_images} and "
                f"{self.probe_images}"
            )
        if self.padding < 0:
            raise InputError(f"padding must be 0 or more, got {self.padding}")


QUICK = Invertible(
    dataset="mnist",
    train_images=2000,
    test_images=1000,
    measured_images=300,
    probe_images=300,
    replicas=4,
    epochs=10,
    batch_size=100,
    decay_after=(6, 8),
    dropout=0.0,
    padding=0,
    mirror=False,
    blocks=(2, 2),
    strides=(1, 2),
    channels=(8, 32),
    initial=2,
    snapshots=8,
)
PRESETS = {"paper": Invertible(), "quick": QUICK, "fashion": dataclasses.replace(QUICK, dataset="fashion-mnist")}
"""Named settings; the first is the default. The quick ones have few small blocks, few images and few epochs."""


class Images(NamedTuple):
    """The images of a run, and how their pixels were made of mean 0 and variance 1.

    Attributes:
        parts: to train on, to test and to measure on.
        mean: of each channel of the training images.
        deviation: likewise.
    """

    parts: TrainingData
    mean: Float[np.ndarray, " channels"]
    deviation: Float[np.ndarray, " channels"]


def images(config: Invertible) -> Images:
    """Read the images of a config."""
    train = first_images(config.dataset, config.data, "train", config.train_images)
    test = first_images(config.dataset, config.data, "test", config.test_images)
    for name, count, part in (("measured", config.measured_images, test), ("probe", config.probe_images, train)):
        if count > len(part):
            raise InputError(f"{name}_images must be at most the {len(part)} of {part.name}, got {count}")
    x = np.asarray(train.x)
    mean, deviation = (part.astype(np.float32) for part in (x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))))
    deviation = np.where(deviation > 0, deviation, np.float32(1))

    def normal(part: Dataset) -> Dataset:
        return dataclasses.replace(part, x=(np.asarray(part.x) - mean) / deviation)

    train, test = normal(train), normal(test)
    # ln n is the information of n images that differ.
    shown = np.asarray(test.x)[: config.measured_images]
    _, rows = np.unique(shown.reshape(len(shown), -1), axis=0, return_index=True)
    measured = subset(test, np.sort(rows), f"{test.name}, {len(rows)} different")
    return Images(TrainingData(train, test, measured), mean, deviation)


def study(config: Invertible) -> Study:
    """The study that a config describes, of one form."""
    return _study(config, images(config).parts)


def _study(config: Invertible, parts: TrainingData) -> Study:
    image = parts.train.x.shape[1:]
    settings: dict[str, Any] = {
        "strides": config.strides,
        "channels": config.channels,
        "initial": config.initial,
        "dropout": config.dropout,
        "invertible": config.invertible,
        "convolution": config.convolution,
    }
    kind: Any = IRevNet
    if config.padding or config.mirror:
        kind = augmented(IRevNet)
        settings["augmentation"] = {"size": image[:2], "padding": config.padding, "mirror": config.mirror}
    form = "i-RevNet" if config.invertible else "twin of an i-RevNet"
    return Study(
        network=functools.partial(kind, image, config.blocks, **settings),
        data=parts,
        config=TrainConfig(
            epochs=config.epochs,
            batch_size=config.batch_size,
            optimizer="momentum_l2",
            learning_rate=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            snapshots=config.snapshots,
            evaluate_size=100,
            decay=config.decay,
            decay_after=config.decay_after,
        ),
        estimators=tuple(map(parse_layer, config.measure)),
        replicas=config.replicas,
        seed=config.seed,
        chunk_size=config.chunk_size,
        keep_parameters=True,
        title=f"{form} of {'-'.join(map(str, config.blocks))} blocks on {parts.train.name.removesuffix(' (train)')}",
    )


def grid(config: Invertible) -> dict[str, tuple[bool, ...]]:
    """Both forms."""
    return {"invertible": config.forms}


def derive(config: Invertible, folder: Path) -> xr.Dataset:
    """Compute images back, and the geometry of the codes by depth, at the end of training.

    Returns:
        Over replicas and depth, 0 for the image itself and then the blocks: ``contraction``, the mean distance of two
        images of one class over that of any two, and ``probe_accuracy``, the share of the measured images that a ridge
        regression of the classes on the codes of the training images gets right. Of the invertible form also
        ``reconstruction_error``, the largest error of any pixel, in [0, 1], of images computed back from a layer (NaN
        at layers that were not tried), and ``decoded``, images (pairs, steps, rows, columns, channels) of the first
        network on the lines between the last codes of two images.
    """
    found = images(config)
    run = _study(config, found.parts)
    measured, train = found.parts.measured, found.parts.train
    learnt = subset(train, np.arange(config.probe_images), train.name)
    both = jnp.concatenate([jnp.asarray(learnt.x), jnp.asarray(measured.x)])
    labels = np.concatenate([learnt.y, measured.y])
    rows: dict[str, list[np.ndarray]] = {"contraction": [], "probe_accuracy": [], "reconstruction_error": []}
    decoded = None
    for params in trained_parameters(run, folder):
        products = inner_products(run, params, both)
        seen = len(learnt)
        rows["contraction"].append(np.array([contraction(p[seen:, seen:], labels[seen:]) for p in products]))
        rows["probe_accuracy"].append(np.array([probe(p, labels, seen) for p in products]))
        if config.invertible:
            rows["reconstruction_error"].append(_errors(run, params, measured, found.deviation))
            decoded = _between(run, params, measured) if decoded is None else decoded
    over = ("replica", "depth")
    result: dict[str, Any] = {
        name: (over, np.stack(values).astype(np.float32)) for name, values in rows.items() if values
    }
    if decoded is not None:
        pixels = np.clip(decoded * found.deviation + found.mean, 0, 1)
        result["decoded"] = (("pair", "step", "row", "column", "channel"), pixels.astype(np.float32))
    return xr.Dataset(result)


def inner_products(run: Study, params: Any, x: Float[Array, "n h w c"]) -> Float[np.ndarray, "depths n n"]:
    """Inner products of the codes of all pairs of images, of the images themselves and of every layer but the output.

    So many images at a time that the codes of all layers need little memory; what is left is as large as the images
    are many.
    """
    hidden = len(run.widths) - 1

    def codes(x: Array) -> tuple[Array, ...]:
        return (x.reshape(len(x), -1), *run.functional.apply(params, x)[1][:hidden])

    n = len(x)
    size = min(BLOCK, n)
    padded = jnp.concatenate([x, jnp.broadcast_to(x[:1], (-n % size, *x.shape[1:]))]).reshape(-1, size, *x.shape[1:])

    @jax.jit
    def strip(block: Array) -> Array:
        """Products of some images with all."""
        left = codes(block)

        def against(other: Array) -> Array:
            return jnp.stack([a @ b.T for a, b in zip(left, codes(other), strict=True)])

        found = jax.lax.map(against, padded)
        return jnp.moveaxis(found, 0, 2).reshape(hidden + 1, size, -1)

    with jax.default_matmul_precision("highest"):
        strips = [np.asarray(strip(block), np.float64) for block in padded]
    return np.concatenate(strips, axis=1)[:, :n, :n]


def contraction(products: Float[np.ndarray, "n n"], y: Int[np.ndarray, " n"]) -> float:
    """Mean distance of two images of one class over the mean distance of any two; NaN without two of a class.

    Example:
        >>> points = np.array([[0.0], [1.0], [10.0], [11.0]])
        >>> f"{contraction(points @ points.T, np.array([0, 0, 1, 1])):.3f}"
        '0.143'
    """
    squares = np.diag(products)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0))
    first, second = np.triu_indices(len(y), 1)
    same, apart = y[first] == y[second], distance[first, second]
    if not same.any() or not apart.any():
        return float("nan")
    return float(apart[same].mean() / apart.mean())


def probe(products: Float[np.ndarray, "n n"], y: Int[np.ndarray, " n"], seen: int) -> float:
    """Share of the images from ``seen`` on that a ridge regression of the classes on the codes before gets right.

    The regression is solved in its dual form, by the inner products alone, of codes less their mean over what is seen.
    """
    to_seen = products[:, :seen]
    centred = to_seen - to_seen[:seen].mean(axis=0) - to_seen.mean(axis=1, keepdims=True) + to_seen[:seen].mean()
    targets = (y[:seen, None] == np.arange(y.max() + 1)).astype(np.float64)
    mean = targets.mean(axis=0)
    kernel = centred[:seen]
    penalty = RIDGE * max(np.trace(kernel) / seen, np.finfo(np.float64).tiny)
    dual = np.linalg.solve(kernel + penalty * np.eye(seen), targets - mean)
    return float(((centred[seen:] @ dual + mean).argmax(axis=1) == y[seen:]).mean())


def _errors(run: Study, params: Any, measured: Dataset, deviation: np.ndarray) -> np.ndarray:
    """Largest error of a pixel of images computed back, by depth, in double precision from the same parameters.

    Trained blocks may be steep: four of the quick preset magnify what single precision rounds by 10^6, to 0.03 of a
    pixel's range, where double precision leaves 10^-10. That is rounding, and nothing that the network has lost.
    """
    inverse = run.functional.inverse
    assert inverse is not None
    hidden = len(run.widths) - 1
    errors = np.full(hidden + 1, np.nan)
    errors[0] = 0.0
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params)
        x = jnp.asarray(measured.x, jnp.float64)
        blocks = [x[start : start + BLOCK] for start in range(0, len(x), BLOCK)]
        for layer in np.unique(np.linspace(0, hidden - 1, INVERTED).round().astype(int)).tolist():

            @jax.jit
            def error(block: Array, layer: int = layer) -> Array:
                code = run.functional.apply(params, block)[1][layer]
                return jnp.abs((inverse(params, code, layer) - block) * deviation).max()

            worst = np.max([error(block) for block in blocks])
            errors[layer + 1] = worst if worst < OVERFLOW else OVERFLOW  # also what is not a number
    return errors


def _between(run: Study, params: Any, measured: Dataset) -> np.ndarray:
    """Images on the lines between the last codes of two images of different classes."""
    inverse = run.functional.inverse
    assert inverse is not None
    x, y = np.asarray(measured.x), np.asarray(measured.y)
    pairs: list[tuple[int, int]] = []
    for first in range(len(y)):
        used = {row for pair in pairs for row in pair}
        other = next((row for row in range(first + 1, len(y)) if y[row] != y[first] and row not in used), None)
        if first not in used and other is not None:
            pairs.append((first, other))
        if len(pairs) == PAIRS:
            break
    share = np.linspace(0, 1, STEPS, dtype=np.float32)[:, None]

    @jax.jit
    def decode(ends: Array) -> Array:
        code = run.functional.apply(params, ends)[1][len(run.widths) - 2]
        return inverse(params, (1 - share) * code[0] + share * code[1])

    with jax.default_matmul_precision("highest"):
        return np.stack([np.asarray(decode(jnp.asarray(x[list(pair)]))) for pair in pairs])


def _forms(found: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """The results of the invertible form and of its twin."""
    runs = {settings["invertible"]: run for settings, run in groups_of(found)}
    return runs[True], runs[False]


def _last(run: xr.Dataset, name: str) -> np.ndarray:
    """A variable at the end, NaN for replicas that did not survive."""
    end = run.isel(snapshot=-1)
    return np.where(end["alive"].values, end[name].values, np.nan).astype(np.float64)


def _lost(run: xr.Dataset) -> np.ndarray:
    """Most that any layer but the output falls short of ln n at any snapshot, nats."""
    hidden = run["complexity"].isel(estimator=0, layer=slice(None, -1))
    lost = float(run.attrs["entropy_x"]) - hidden.min(("snapshot", "layer")).values
    return np.where(run["alive"].isel(snapshot=-1).values, lost, np.nan)


def _by_depth(run: xr.Dataset, name: str) -> np.ndarray:
    """A derived array, replicas first, NaN for replicas that did not survive."""
    alive = run["alive"].isel(snapshot=-1).values
    return np.where(alive[:, None], run[name].transpose("replica", "depth").values, np.nan).astype(np.float64)


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge whether nothing is lost and the network generalises all the same; intervals are over networks.

    * *inverts*: the largest error of any pixel of any image that is computed back, from the layer where it is largest,
      is below 1e-4 of the range of a pixel, a fortieth of a grey level, in double precision: it tells what is lost from
      what single precision rounds.
    * *keeps all information*: H(X) = ln n less I(X;T) by the exact bits of the activations, at the snapshot and layer
      before the classifier where it is least, is within 0.001 nat of 0.
    * *learns*: test accuracy above 0.8.
    * *no worse than the twin*: test accuracy less that of the twin that started from the same weights is within 0.02
      of 0.
    * *classes contract*, *classes separate*: the rank correlation over depth, from the image to the last block, of
      the distance within classes over that of all is below 0, and that of the accuracy of a linear probe above 0.
    """
    exact, twin = _forms(found)
    early = preliminary(found, PRESETS["paper"]) or smaller(exact, PRESETS["paper"])
    worst = per_replica(np.nanmax, _by_depth(exact, "reconstruction_error"))
    accuracy = _last(exact, "test_accuracy")
    return [
        Claim(
            "inverts",
            "images are computed back from every layer before the classifier",
            "largest error of a pixel in [0, 1], from the worst layer",
            mean_over_replicas(worst),
            less_than(FLOAT_LEVEL),
            early,
        ),
        Claim(
            "keeps-all-information",
            "no layer loses information about the image",
            "ln n - I(X;T) by the bits of the floats, least layer and snapshot, nats",
            mean_over_replicas(_lost(exact)),
            within(SAME_INFORMATION),
            early,
        ),
        Claim(
            "learns",
            "the invertible network generalises",
            "test accuracy",
            share_over_replicas(accuracy),
            greater_than(LEARNS),
            early,
        ),
        Claim(
            "no-worse-than-the-twin",
            "no loss of information is needed to generalise",
            "test accuracy less that of the twin that loses information",
            paired_difference(accuracy, _last(twin, "test_accuracy")),
            within(SAME_ACCURACY),
            early,
        ),
        Claim(
            "classes-contract",
            "the distances within classes contract with depth",
            "rank correlation with depth of the distance within classes over that of all",
            trend_over_replicas(depth_trend(_by_depth(exact, "contraction"))),
            less_than(),
            early,
        ),
        Claim(
            "classes-separate",
            "a linear probe gets better with depth",
            "rank correlation with depth of the accuracy of a linear probe",
            trend_over_replicas(depth_trend(_by_depth(exact, "probe_accuracy"))),
            greater_than(),
            early,
        ),
    ]


def figure(found: xr.Dataset) -> Figure:
    """Draw accuracy, reconstruction error, information and the geometry of the codes, and images between images."""
    from ibjax.plotting import invertible_figure

    return invertible_figure(*_forms(found))


EXPERIMENT = Experiment(
    "invertible networks: nothing of the image is lost and they generalise as a twin does that loses it",
    PRESETS,
    claims,
    figure,
    study,
    grid=grid,
    derive=derive,
)
