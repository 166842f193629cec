"""Networks with noise of their own, whose I(X;T) is finite: does it fall, and is that clustering?"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Key
from matplotlib.figure import Figure

from ibjax.datasets import Dataset, split, szt
from ibjax.errors import InputError
from ibjax.estimators import Binning
from ibjax.experiments.experiment import Experiment, preliminary
from ibjax.experiments.paths import mean_over_replicas, per_replica
from ibjax.neural import NoisyNetwork
from ibjax.plane import Claim, greater_than, less_than
from ibjax.plane.resampling import spearman
from ibjax.plane.summary import BITS_PER_NAT
from ibjax.sweep import data_key
from ibjax.sweep.progress import progress_bar
from ibjax.sweep.study import replica_key
from ibjax.training import OPTIMIZERS, TrainConfig, epoch_order, snapshot_epochs

FALL, VARIES, TRACKS, ROUNDING = 0.1, 0.1, 0.5, 0.01
"""Margins: bits that count as a fall, bits that a layer must vary by to be ordered, a rank correlation, bits."""

Layers = list[tuple[Float[Array, "..."], Float[Array, "..."]]]


@dataclasses.dataclass(frozen=True)
class NoisyNetworks:
    """Tanh networks on the 12-bit task, trained and measured with Gaussian noise on every hidden layer.

    The noise is the network's: it is drawn anew for every sample and step in training, and information is that of the
    noisy layers, see `ibjax.neural.NoisyNetwork`. The source's settings: noise of 0.005, Adam at 4e-4, batch 256,
    10,000 epochs, weights and biases uniform within 1 / sqrt(fan in). It takes 1000 noise realisations an input; the
    default here is 16, as time grows with their square, and the bias that is left is stored and drawn. An epoch leaves
    out what is left of its last whole batch.

    References:
        Goldfeld, van den Berg, Greenewald, Melnyk, Nguyen, Kingsbury & Polyanskiy (2019), "Estimating information flow
        in deep neural networks".
    """

    replicas: int = 5
    """Initialisations at every noise."""
    epochs: int = 10_000
    """Passes over the training set."""
    batch_size: int = 256
    """Samples a step."""
    learning_rate: float = 4e-4
    """Step size of Adam."""
    widths: tuple[int, ...] = (12, 10, 7, 5, 4, 3, 2)
    """Units of every layer from the input to the output."""
    fraction: float = 0.8
    """Share of the patterns that is trained on."""
    noises: tuple[float, ...] = (0.005, 0.05, 0.2)
    """Standard deviations of the noise."""
    inputs: int = 4096
    """Patterns that information is measured on, all equally likely; fewer are drawn once for all."""
    samples: int = 16
    """Noise realisations of every input."""
    bins: int = 30
    """Bins on [-1, 1] of the noiseless layers, for comparison."""
    snapshots: int = 40
    """About how many epochs are measured."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self):
        """Check what would fail late."""
        if min(self.noises, default=0) <= 0:
            raise InputError(f"noises must be positive, got {self.noises}: without noise I(X;T) is infinite")
        if len(self.widths) < 3 or min(self.widths) < 1 or self.widths[0] != 12 or self.widths[-1] != 2:
            raise InputError(f"widths must be 12, those of a hidden layer or more, and 2, got {self.widths}")
        if not 2 <= self.inputs <= 4096:
            raise InputError(f"inputs must be 2 to 4096, got {self.inputs}")
        if min(self.replicas, self.epochs, self.samples) < 1 or self.snapshots < 2:
            raise InputError("replicas, epochs and samples must be 1 or more, snapshots 2 or more")
        if not 0.01 <= self.fraction < 1:
            raise InputError(f"fraction must be at least 0.01 and below 1, got {self.fraction}")
        if not 1 <= self.batch_size <= int(4096 * self.fraction):
            raise InputError(f"batch_size must be 1 to {int(4096 * self.fraction)}, got {self.batch_size}")


PRESETS = {
    "paper": NoisyNetworks(),
    # A twelfth of the epochs with five times the step.
    "quick": NoisyNetworks(replicas=4, epochs=800, learning_rate=2e-3, noises=(0.005, 0.1), inputs=256, snapshots=24),
}
"""Named settings; the first is the default."""


class Measured(NamedTuple):
    """What is known of a network at a snapshot; one number a hidden layer, but for the accuracies; nats."""

    complexity: Any
    complexity_error: Any
    complexity_bias: Any
    relevance: Any
    binned: Any
    spread: Any
    train_accuracy: Any
    test_accuracy: Any


class State(NamedTuple):
    """All that the next step needs."""

    layers: Layers
    optimizer: Any


def spread(t: Float[Array, "n units"], labels: Array | np.ndarray, classes: int) -> Float[Array, ""]:
    """Distance of points from their class's mean over that of the classes' means from the mean, both root mean squares.

    0 is one point a class; it is inf where the classes have one mean.
    """
    member = jax.nn.one_hot(labels, classes, dtype=t.dtype)
    size = jnp.maximum(member.sum(axis=0), 1)
    centres = member.T @ t / size[:, None]
    own = ((t - centres[labels]) ** 2).sum(axis=1).mean()
    between = ((centres[labels] - t.mean(axis=0)) ** 2).sum(axis=1).mean()
    return jnp.sqrt(own / between)


def compute(config: NoisyNetworks, progress: bool) -> xr.Dataset:
    """Train and measure the networks, one noise after the other."""
    key_split, key_inputs = jax.random.split(data_key(config.seed))
    whole = szt()
    train, test = split(whole, config.fraction, "random", key_split)
    chosen = np.sort(np.asarray(epoch_order(key_inputs, len(whole.x)))[: config.inputs])
    x, labels = whole.x[chosen], whole.y[chosen]
    epochs = snapshot_epochs(config.epochs, config.snapshots)
    keys = jax.vmap(lambda i: replica_key(config.seed, i))(np.arange(config.replicas))
    rows = []
    with jax.default_matmul_precision("highest"):
        for noise in config.noises:
            state, found = _begin(config, keys), []
            with progress_bar(f"noise of {noise:g}", config.epochs, progress) as report:
                for done, epoch in zip(np.concatenate([[0], epochs[:-1]]), epochs, strict=True):
                    state = _advance(config, train, noise, keys, state, int(done), int(epoch))
                    measured = _measure(config, train, test, x, labels, noise, keys, state.layers)
                    found.append(jax.device_get(measured))
                    report(int(epoch), float(found[-1].train_accuracy.mean()))
            rows.append(jax.tree.map(lambda *values: np.stack(values, axis=1), *found))
    arrays = jax.tree.map(lambda *values: np.stack(values), *rows)._asdict()
    dims = ("noise", "replica", "snapshot")
    about = {
        "complexity": "I(X;T) of the noisy layer",
        "complexity_error": "Monte-Carlo error of I(X;T)",
        "complexity_bias": "how far I(X;T) is about too high",
        "relevance": "I(T;Y) of the noisy layer",
        "binned": "H(Bin(T)) of the noiseless layer",
        "spread": "within-class over between-class spread of the noiseless layer",
    }
    variables = {}
    for name, values in arrays.items():
        layered = name in about
        units = "1" if name == "spread" or not layered else "nats"
        attrs = {"units": units, "long_name": about.get(name, name.replace("_", " "))}
        variables[name] = ((*dims, "layer") if layered else dims, values, attrs)
    hidden = config.widths[1:-1]
    coordinates = {
        "noise": list(config.noises),
        "replica": np.arange(config.replicas),
        "epoch": ("snapshot", epochs),
        "layer": np.arange(1, len(hidden) + 1),
        "width": ("layer", np.asarray(hidden)),
        "layer_name": ("layer", [f"T{depth}" for depth in range(1, len(hidden) + 1)]),
    }
    shape = "-".join(map(str, config.widths))
    title = f"12-bit task, tanh {shape} with noise in training, {config.inputs} inputs"
    attrs = {"title": title, "units": "nats", "samples": config.inputs, "bins": config.bins}
    return xr.Dataset(variables, coordinates, attrs)


def _forward(layers: Layers, x: Array, noise: Array | float, key: Array | None) -> tuple[Any, list[Any]]:
    """Logits and hidden layers, noiseless without a key."""
    hidden = []
    *inner, (weight, bias) = layers
    for depth, (w, b) in enumerate(inner):
        x = jnp.tanh(x @ w.T + b)
        if key is not None:
            x = x + noise * jax.random.normal(jax.random.fold_in(key, depth), x.shape, x.dtype)
        hidden.append(x)
    return x @ weight.T + bias, hidden


@functools.partial(jax.jit, static_argnums=0)
def _begin(config: NoisyNetworks, keys: Key[Array, " replicas"]) -> State:
    def one(key: Array) -> State:
        layers = []
        for depth, (fan_in, out) in enumerate(zip(config.widths[:-1], config.widths[1:], strict=True)):
            key_weight, key_bias = jax.random.split(jax.random.fold_in(key, depth))
            ends = {"minval": -(fan_in**-0.5), "maxval": fan_in**-0.5}
            weight = jax.random.uniform(key_weight, (out, fan_in), jnp.float32, **ends)
            layers.append((weight, jax.random.uniform(key_bias, (out,), jnp.float32, **ends)))
        return State(layers, OPTIMIZERS["adam"](TrainConfig()).init(layers))

    return jax.vmap(one)(keys)


def _advance(
    config: NoisyNetworks, train: Dataset, noise: float, keys: Array, state: State, done: int, until: int
) -> State:
    """Train from one epoch to another."""
    return _trained(config, jnp.asarray(train.x), jnp.asarray(train.y), noise, keys, state, done, until)


@functools.partial(jax.jit, static_argnums=0)
def _trained(config: NoisyNetworks, x, y, noise, keys, state, done, until) -> State:
    optimizer = OPTIMIZERS["adam"](TrainConfig())
    size = config.batch_size
    batches = len(x) // size

    def loss(layers: Layers, rows: Array, key: Array) -> Array:
        logs = jax.nn.log_softmax(_forward(layers, x[rows], noise, key)[0])
        return -jnp.take_along_axis(logs, y[rows][:, None], axis=1).mean()

    def one(key: Array, state: State) -> State:
        key_order, key_noise = jax.random.split(jax.random.fold_in(key, len(config.widths)))

        def step(state: State, batch: tuple[Array, Array]) -> tuple[State, None]:
            rows, key = batch
            updates, moments = optimizer.update(jax.grad(loss)(state.layers, rows, key), state.optimizer, state.layers)
            layers = jax.tree.map(lambda p, u: p + config.learning_rate * u, state.layers, updates)
            return State(layers, moments), None

        def epoch(number: Array, state: State) -> State:
            order = epoch_order(jax.random.fold_in(key_order, number), len(x))
            rows = order[: batches * size].reshape(batches, size)
            return jax.lax.scan(step, state, (rows, jax.random.split(jax.random.fold_in(key_noise, number), batches)))[
                0
            ]

        return jax.lax.fori_loop(done, until, epoch, state)

    return jax.vmap(one)(keys, state)


def _measure(
    config: NoisyNetworks,
    train: Dataset,
    test: Dataset,
    x: Array | np.ndarray,
    labels: Array | np.ndarray,
    noise: float,
    keys: Array,
    layers: Layers,
) -> Measured:
    parts = [jnp.asarray(a) for a in (train.x, train.y, test.x, test.y, x, labels)]
    return _measured(config, train.classes, *parts, noise, keys, layers)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measured(config, classes, train_x, train_y, test_x, test_y, x, labels, noise, keys, layers) -> Measured:
    def one(of_replica: tuple[Array, Layers]) -> Measured:
        key, layers = of_replica
        key_information, key_accuracy = jax.random.split(jax.random.fold_in(key, len(config.widths) + 1))
        network = NoisyNetwork(noise=noise, samples=config.samples)
        found = network(layers[:-1], x, key_information, labels)
        hidden = _forward(layers, x, noise, None)[1]
        bins = Binning(bins=config.bins)
        right = [
            (_forward(layers, a, noise, key_accuracy)[0].argmax(axis=-1) == b).mean()
            for a, b in ((train_x, train_y), (test_x, test_y))
        ]
        return Measured(
            found.complexity,
            found.std_error,
            found.bias,
            found.relevance,
            jnp.stack([bins.layer(t, labels, classes=classes).complexity for t in hidden]),
            jnp.stack([spread(t, labels, classes) for t in hidden]),
            *right,
        )

    return jax.lax.map(one, (keys, layers))  # one after the other: each is wide by itself


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge, at every noise, whether I(X;T) is finite, falls, falls with the binned entropy, and by clustering.

    Intervals are over replicas.

    * *finite*: I(X;T) is at no layer and snapshot more than 0.01 bit above ln n, n the inputs; what is no finite number
      counts as ln n above it.
    * *compression*: I(X;T) of the last hidden layer falls by more than 0.1 bit from its highest to the last snapshot.
    * *bins track it*: the rank correlation over snapshots of I(X;T) with the binned entropy of the same layer, mean
      over layers whose I(X;T) varies by more than 0.1 bit, is above 0.5.
    * *clustering*: from its highest to the last snapshot, the last hidden layer's within-class over between-class
      spread falls too: the log2 of its change is below 0.
    * *clustering tracks it*: from there on, over snapshots, the rank correlation of I(X;T) with that spread is above
      0.5. The last two are judged of replicas whose I(X;T) falls by more than 0.1 bit, and that have five snapshots.
    """
    early = preliminary(found, PRESETS["paper"])
    order = ("replica", "layer", "snapshot")
    result = []
    ceiling = np.log2(float(found.attrs["samples"]))
    for noise in found["noise"].values.tolist():
        part = found.sel(noise=noise)
        bits, binned, ratio = (
            part[name].transpose(*order).values.astype(np.float64) for name in ("complexity", "binned", "spread")
        )
        bits = bits * BITS_PER_NAT
        last, end = bits[:, -1], bits[:, -1, -1]
        peak = np.where(np.isnan(last), -np.inf, last).argmax(axis=1)
        fall = last[np.arange(len(last)), peak] - end
        varies = np.ptp(bits, axis=-1) > VARIES
        track = np.where(varies, spearman(bits, binned), np.nan)
        judged = {
            "finite": (
                "I(X;T) of a noisy layer is finite",
                "largest excess of I(X;T) over ln n, bits",
                np.where(np.isfinite(bits), bits - ceiling, ceiling).max(axis=(1, 2)),
                less_than(ROUNDING),
            ),
            "compression": (
                "I(X;T) of a noisy layer falls",
                "fall of I(X;T) of the last hidden layer from its highest to the end, bits",
                fall,
                greater_than(FALL),
            ),
            "bins-track": (
                "binned entropy follows I(X;T)",
                "rank correlation of I(X;T) and H(Bin(T)) over snapshots, mean over layers",
                per_replica(np.nanmean, track),
                greater_than(TRACKS),
            ),
            "clustering": (
                "compression is clustering: points of a class draw together",
                "log2 change of the within-class over between-class spread, last hidden layer",
                _clustering(ratio[:, -1], peak, fall),
                less_than(0.0),
            ),
            "clustering-tracks": (
                "I(X;T) follows the clustering",
                "rank correlation of I(X;T) and the spread after the peak, last hidden layer",
                _after(last, ratio[:, -1], peak, fall),
                greater_than(TRACKS),
            ),
        }
        where = f"noise {noise:g}"
        result += [
            Claim(f"{name}, {where}", statement, f"{statistic}, {where}", mean_over_replicas(values), rule, early)
            for name, (statement, statistic, values, rule) in judged.items()
        ]
    return result


def _clustering(ratio: np.ndarray, peak: np.ndarray, fall: np.ndarray) -> np.ndarray:
    """The log2 change of the spread from the peak on, NaN where nothing falls."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log2(ratio[:, -1] / ratio[np.arange(len(ratio)), peak])
    return np.where((fall > FALL) & np.isfinite(change), change, np.nan)


def _after(bits: np.ndarray, ratio: np.ndarray, peak: np.ndarray, fall: np.ndarray) -> np.ndarray:
    """Rank correlation from the peak on, NaN where nothing falls or little is left."""
    found = np.full(len(bits), np.nan)
    for row in range(len(bits)):
        x, y = bits[row, peak[row] :], ratio[row, peak[row] :]
        if fall[row] > FALL and x.size >= 5 and np.isfinite(x + y).all():
            found[row] = spearman(x, y)
    return found


def figure(found: xr.Dataset) -> Figure:
    """Draw I(X;T), the binned entropy and the spread of every hidden layer against the epoch."""
    from ibjax.plotting import noisy_figure

    return noisy_figure(found)


EXPERIMENT = Experiment(
    "networks with noise of their own: I(X;T) is finite, and compression is clustering (Goldfeld et al. 2019)",
    PRESETS,
    claims,
    figure,
    compute=compute,
)
