"""Networks of 4, 8 and 32 bits, whose information is exact: what is left of the two phases without bins."""

import dataclasses
import functools
import json
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ibjax.errors import InputError
from ibjax.estimators import parse_layer
from ibjax.experiments import szt
from ibjax.experiments.experiment import Experiment, Grid, preliminary, runs_of
from ibjax.experiments.paths import Paths, paths_of, per_replica, share_over_replicas
from ibjax.networks import QuantisedMLP
from ibjax.plane import Claim, Estimate, bootstrap_interval, bounded_mean, greater_than, phases, share
from ibjax.sweep import Study

BINNINGS = tuple(f"binning:bins={bins},range=run" for bins in (30, 100, 256))
ROOM, RISE, DEPENDS, FLIPS = 0.5, 0.05, 0.1, 0.1
"""Margins: bits below H(X), bits of a rise, a difference of shares of layers, a share of layers."""
WINDOW = 5
"""Snapshots that a path is averaged over before its highest value is taken."""


@dataclasses.dataclass(frozen=True)
class QuantisedNetworks(szt.SZT):
    """The networks of `SZT` that run on 2^bits levels, of weights and of activations, and those of floats.

    Levels span the values of a matrix, or of a layer over the inputs at hand, at every step and snapshot; see
    `ibjax.networks.QuantisedMLP`. Such a layer is a discrete variable: its I(X;T) is measured exactly, without bins. So
    is that of a layer of floats, whose 32 bits tell nearly all inputs apart. Beside it the same layers are binned over
    the range that they have in the whole run.

    The defaults are the public code's: Adam at 1e-4, batch 256, 8000 epochs, Glorot uniform weights, a stratified
    split. It rounds by moving averages of the ranges, which is not done here.

    References:
        Lorenzen, Igel & Nielsen (2022), "Information bottleneck: exact analysis of (quantized) neural networks".
    """

    replicas: int = 20
    """Initialisations of every network."""
    epochs: int = 8000
    """Passes over the training set."""
    batch_size: int | None = 256
    """Samples a step; None is the full batch."""
    optimizer: str = "adam"
    """One of sgd, momentum, adam, adamw."""
    learning_rate: float = 1e-4
    """Step size."""
    initializer: str = "lorenzen"
    """Initial weights as in the public code: one of idnns, ibsgd, lorenzen."""
    split: str = "stratified"
    """How the training share is drawn: random, stratified or first."""
    measure: tuple[str, ...] = BINNINGS
    """Estimators besides the exact one, which comes first."""
    bits: int = 32
    """Bits of one run: 1 to 16, or 32 for floats."""
    activations: tuple[str, ...] = ("tanh", "relu")
    """Activations to compare."""
    bit_widths: tuple[int, ...] = (4, 8, 32)
    """Bits to compare."""

    def __post_init__(self):
        """Check the settings."""
        super().__post_init__()
        for bits in (self.bits, *self.bit_widths):
            if bits != 32 and not 1 <= bits <= 16:
                raise InputError(f"bits must be 1 to 16, or 32 for floats, got {bits}")


PRESETS = {
    "paper": QuantisedNetworks(),
    # An eighth of the steps, four times as long.
    "quick": QuantisedNetworks(replicas=6, epochs=1000, learning_rate=4e-4, snapshots=80),
}
"""Named settings; the first is the default."""


def grid(config: QuantisedNetworks) -> Grid:
    """Every activation at every number of bits."""
    return {"activation": config.activations, "bits": config.bit_widths}


def exact(bits: int) -> str:
    """The estimator that is exact for a network of so many bits: by its levels, or by the bits of its floats."""
    return "binning:rule=bits" if bits == 32 else f"quantised:bits={bits}"


def study(config: QuantisedNetworks) -> Study:
    """The study of one activation at one number of bits."""
    made = szt.study(config)
    network = functools.partial(QuantisedMLP, config.widths, config.activation, config.initializer, config.bits)
    names = dict.fromkeys((exact(config.bits), *config.measure))
    return dataclasses.replace(
        made,
        network=network,
        estimators=tuple(map(parse_layer, names)),
        title=f"{made.title}, {config.bits} bits",
    )


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge by the exact information whether layers fit and compress, and by bins whether these would say so.

    Whether a layer compresses is decided by `ibjax.plane.phases`. Intervals are over replicas.

    * *fitting*, of every network: of a replica's layers whose I(X;T) is at first more than 0.5 bit below H(X), more
      than half rise by 0.05 bit, in I(X;T) and in I(T;Y), from the first snapshot to the highest mean of 5.
    * *output compresses*, of every network: in more than half of the replicas.
    * *hidden layers depend on the activation*, at every number of bits below 32: the share of hidden layers that
      compress is with tanh more than 0.1 above that with ReLU.
    * *bins decide*, of the networks of floats: of a replica's hidden layers, more than 0.1 compress by one of the
      binnings and not by another.
    """
    early = preliminary(found, PRESETS["paper"])
    runs = {}
    for _, run in runs_of(found):
        config = json.loads(run.attrs["config"])
        runs[config["activation"], int(config["bits"])] = run
    result, hidden = [], {}

    def add(name: str, statement: str, statistic: str, estimate: Any, bound: float) -> None:
        result.append(Claim(name, statement, statistic, estimate, greater_than(bound), early))

    for (activation, bits), run in runs.items():
        paths = paths_of(run, exact(bits))
        compresses = _compresses(paths)
        hidden[activation, bits] = compresses[:, :-1].mean(axis=1)
        where = f"{activation}, {bits} bits"
        add(
            f"fitting, {where}",
            "I(X;T) and I(T;Y) rise at first",
            f"share of layers with room that rise, {where}",
            share_over_replicas(_fitting(paths)),
            0.5,
        )
        add(
            f"output-compresses, {where}",
            "the output layer compresses",
            f"share of output layers that compress, {where}",
            share(compresses[:, -1]),
            0.5,
        )
    for bits in sorted({bits for _, bits in runs if bits < 32}):
        if ("tanh", bits) in hidden and ("relu", bits) in hidden:
            pair = (hidden["tanh", bits], hidden["relu", bits])
            add(
                f"hidden-depend, {bits} bits",
                "compression of hidden layers depends on the activation",
                f"share of hidden layers that compress, tanh minus ReLU, {bits} bits",
                _difference(*pair),
                DEPENDS,
            )
    for (activation, bits), run in runs.items():
        names = [name for name in run["estimator"].values.tolist() if name != exact(bits)]
        if bits == 32 and len(names) > 1:
            told = np.stack([_compresses(paths_of(run, name))[:, :-1] for name in names])
            add(
                f"bins-decide, {activation}",
                "the choice of bins alone decides whether hidden layers compress",
                f"share of hidden layers that compress by some of {len(names)} binnings only, {activation}",
                share_over_replicas((told.any(axis=0) & ~told.all(axis=0)).mean(axis=1)),
                FLIPS,
            )
    return result


def _compresses(paths: Paths) -> np.ndarray:
    return phases(paths.epochs, paths.complexity, paths.relevance).compresses


def _fitting(paths: Paths) -> np.ndarray:
    """Share of layers that rise in both, of those with room."""

    def rise(values: np.ndarray) -> np.ndarray:
        window = min(WINDOW, values.shape[-1])
        means = np.lib.stride_tricks.sliding_window_view(values, window, axis=-1).mean(axis=-1)
        return means.max(axis=-1) - values[..., 0]

    both = (rise(paths.complexity) > RISE) & (rise(paths.relevance) > RISE)
    room = paths.complexity[..., 0] < paths.source - ROOM
    return per_replica(np.nanmean, np.where(room, both, np.nan))


def _difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Difference of the mean shares of two networks; where neither varies, of their intervals at 0.975 each."""
    if np.ptp(first) > 0 or np.ptp(second) > 0:
        return bootstrap_interval(lambda a, b, axis=-1: a.mean(axis=axis) - b.mean(axis=axis), (first, second))
    one, other = (bounded_mean(values, level=0.975) for values in (first, second))
    return Estimate(one.value - other.value, one.low - other.high, one.high - other.low)


def figure(found: xr.Dataset) -> Figure:
    """Draw every layer's exact I(X;T) at every number of bits, and the binned one of the floats."""
    from ibjax.plotting import quantised_figure

    panels: dict[str, list[tuple[str, xr.Dataset, str]]] = {}
    for _, run in runs_of(found):
        config = json.loads(run.attrs["config"])
        bits, row = int(config["bits"]), panels.setdefault(config["activation"], [])
        row.append((f"{bits} bits, exact", run, exact(bits)))
        if bits == 32:
            names = [name for name in run["estimator"].values.tolist() if name != exact(bits)]
            row += [(f"{bits} bits, {_short(name)}", run, name) for name in names]
    return quantised_figure(panels)


def _short(name: str) -> str:
    """A binning in few words."""
    return f"{name.split('bins=')[1].split(',')[0]} bins" if "bins=" in name else name


EXPERIMENT = Experiment(
    "networks of 4, 8 and 32 bits, whose information is exact (Lorenzen et al. 2022)",
    PRESETS,
    claims,
    figure,
    study,
    grid=grid,
)
