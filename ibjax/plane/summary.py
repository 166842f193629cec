"""The numbers behind every figure and table of an information plane: means, intervals, peaks, violations.

Every function takes the labelled arrays that a run stores (an `xarray.Dataset` with the dimensions
``estimator``, ``replica``, ``snapshot`` and ``layer``; informations in nats) and leaves out what was not
measured or did not survive, see `surviving`. Informations come out in bits, losses and gradients as stored.
"""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from ibjax.errors import InputError, choose

BITS_PER_NAT = 1.0 / math.log(2.0)
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean over replicas with the half width of its 95 % interval (nan for one replica)."""

    mean: float
    half_width: float


class Masked(NamedTuple):
    """Replicas that are left out of every mean.

    Attributes:
        diverged: A loss or weight is not finite.
        dead: Still at the majority rate after the epochs that the run's ``dead_rule`` names.
        pending: Not yet measured as far as the others; only in an unfinished run.
        epoch: The last measured epoch, which they are counted at.
    """

    diverged: int
    dead: int
    pending: int
    epoch: int


class LayerSummary(NamedTuple):
    """What one layer did in training: informations in bits, mean and 95 % half width over replicas.

    Attributes:
        name: The layer's name, such as ``T1`` or ``output``.
        width: Its number of units.
        complexity_first: I(X;T) at the first snapshot.
        relevance_first: I(T;Y) at the first snapshot.
        complexity_peak: I(X;T) at its peak, each replica at its own.
        relevance_peak: I(T;Y) at that same snapshot, where I(X;T) peaks.
        complexity_last: I(X;T) at the last measured snapshot.
        relevance_last: I(T;Y) at the last measured snapshot.
        compression: Peak minus last I(X;T), taken per replica; never negative, and 0 without compression.
        peak_epoch: Median over replicas of the epoch of the peak.
    """

    name: str
    width: int
    complexity_first: Interval
    relevance_first: Interval
    complexity_peak: Interval
    relevance_peak: Interval
    complexity_last: Interval
    relevance_last: Interval
    compression: Interval
    peak_epoch: float


class GradientVariant(NamedTuple):
    """How one study turns weight gradients g into curves; ⟨⟩ is a mean over the probe batches.

    Attributes:
        source: Who defined it.
        mean: Formula of the mean curve.
        std: Formula of the standard-deviation curve.
        snr: Formula of the signal-to-noise curve.
    """

    source: str
    mean: str
    std: str
    snr: str


GRADIENT_VARIANTS = {
    "ratio": GradientVariant("Saxe et al. 2018", "‖⟨g⟩‖", "√Σ var g", "‖⟨g⟩‖ / √Σ var g"),
    "normalised": GradientVariant("Shwartz-Ziv & Tishby 2017", "‖⟨g⟩‖ / ‖W‖", "√Σ var g / ‖W‖", "‖⟨g⟩‖ / √Σ var g"),
    "deck": GradientVariant("mean of norms over STD", "⟨‖g‖⟩", "√Σ var g", "⟨‖g‖⟩ / √Σ var g"),
    "idnns": GradientVariant("IDNNs code, summed over layers ≤ T", "Σ m, m = ‖⟨g⟩‖", "√Σ s, s = √Σ var g", "Σ m² / s"),
}


def surviving(plane: xr.Dataset) -> xr.Dataset:
    """Return the part of a run that may be averaged: measured snapshots of replicas that stayed alive.

    A snapshot counts as measured when some replica has an information, loss or accuracy there (not NaN); an
    unfinished run ends in snapshots without any. A replica survives when it is alive at the last measured
    snapshot: a diverged or dead one is left out of every snapshot, since averages over different replicas
    at different epochs are no path. Applying this twice changes nothing.

    Args:
        plane: A run's labelled arrays.

    Returns:
        The same variables with fewer replicas and snapshots.

    Raises:
        InputError: No snapshot was measured, or no replica is alive at the last measured one.

    Example:
        >>> losses = [[1.0, 0.5, np.nan], [1.0, np.nan, np.nan]]
        >>> plane = xr.Dataset(
        ...     {"train_loss": (("replica", "snapshot"), losses),
        ...      "alive": (("replica", "snapshot"), [[True, True, False], [True, False, False]])},
        ...     {"epoch": ("snapshot", [0, 1, 2])})
        >>> dict(surviving(plane).sizes)
        {'replica': 1, 'snapshot': 2}
    """
    measured = _measured(plane)
    last = _last(measured)
    alive = plane["alive"].isel(snapshot=last).values.astype(bool)
    if not alive.any():
        raise InputError(
            f"all {alive.size} replicas are masked: none is alive at epoch {int(plane['epoch'][last])}, "
            "the last one measured; lower the learning rate or change the initialisation"
        )
    return plane.isel(replica=np.flatnonzero(alive), snapshot=np.flatnonzero(measured.any(axis=0)))


def masked(plane: xr.Dataset) -> Masked:
    """Return how many replicas `surviving` leaves out, and why, at the last measured snapshot.

    Args:
        plane: A run's labelled arrays.

    Raises:
        InputError: No snapshot was measured.
    """
    measured = _measured(plane)
    last = _last(measured)
    now = plane.isel(snapshot=last)
    lost = measured[:, last] & ~now["alive"].values
    finite = np.ones(lost.shape, bool)
    if "train_loss" in plane:
        finite = np.isfinite(now["train_loss"].values) & np.isfinite(now["weight_norm"].values).all(axis=-1)
    return Masked(
        diverged=int((lost & ~finite).sum()),
        dead=int((lost & finite).sum()),
        pending=int((~measured[:, last]).sum()),
        epoch=int(plane["epoch"][last]),
    )


def _measured(plane: xr.Dataset) -> np.ndarray:
    """Whether a replica has any information, loss or accuracy at a snapshot: bool (replica, snapshot)."""
    measured = np.zeros((plane.sizes["replica"], plane.sizes["snapshot"]), bool)
    for name in ("complexity", "train_loss", "train_accuracy"):
        if name in plane:
            known = plane[name].notnull()
            measured |= known.any([d for d in known.dims if d not in ("replica", "snapshot")]).values
    return measured


def _last(measured: np.ndarray) -> int:
    """The last snapshot at which any replica was measured."""
    if not measured.any():
        raise InputError("no snapshot has been measured yet: let the run go past its first segment")
    return int(np.flatnonzero(measured.any(axis=0))[-1])


def mean_interval(array: xr.DataArray, dim: str = "replica") -> tuple[xr.DataArray, xr.DataArray]:
    """Return the mean over ``dim`` and the half width of its Student-t 95 % confidence interval.

    With n values of standard deviation s (n - 1 in its denominator), the half width is
    t(0.975; n - 1) s / sqrt(n). One NaN among the values makes both results NaN: mask it first, see
    `surviving`.

    Args:
        array: Values, any units.
        dim: The dimension of independent repetitions.

    Returns:
        Mean and half width in the array's units, without ``dim``. The half width of one value is NaN.

    Example:
        >>> mean, half_width = mean_interval(xr.DataArray([1.0, 2.0, 3.0], dims="replica"))
        >>> print(f"{float(mean):.2f} +- {float(half_width):.2f}")
        2.00 +- 2.48
    """
    values = array.astype(np.float64)
    count = values.sizes[dim]
    mean = values.mean(dim, skipna=False)
    if count < 2:
        return mean, xr.full_like(mean, np.nan)
    quantile = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2))
    return mean, values.std(dim, ddof=1, skipna=False) * (quantile / math.sqrt(count))


def measured_bits(plane: xr.Dataset, estimator: int | str = 0) -> xr.Dataset:
    """Return ``complexity`` and ``relevance`` of the surviving replicas in bits, for one estimator.

    Args:
        plane: A run's labelled arrays, informations in nats.
        estimator: Its position in the run, or its convention string.

    Returns:
        ``complexity`` and ``relevance`` of shape (replica, snapshot, layer), in bits.

    Raises:
        InputError: The run has no such estimator, or nothing survived.
    """
    names = [str(name) for name in plane["estimator"].values]
    if isinstance(estimator, str):
        position = names.index(choose("estimator", estimator, names))
    elif 0 <= estimator < len(names):
        position = estimator
    else:
        raise InputError(f"estimator {estimator} does not exist: the run has {len(names)}, counted from 0")
    nats = surviving(plane)[["complexity", "relevance"]].isel(estimator=position)
    bits = nats.astype(np.float64).transpose("replica", "snapshot", "layer") * BITS_PER_NAT
    return bits.assign_attrs(units="bits")


def mean_path(plane: xr.Dataset, estimator: int | str = 0) -> xr.Dataset:
    """Return every layer's path through the information plane, averaged over the surviving replicas.

    Args:
        plane: A run's labelled arrays, informations in nats.
        estimator: Its position in the run, or its convention string.

    Returns:
        ``complexity`` and ``relevance`` with ``complexity_half_width`` and ``relevance_half_width`` (95 %
        interval over replicas), of shape (snapshot, layer), in bits.
    """
    bits = measured_bits(plane, estimator)
    path = {}
    for name in ("complexity", "relevance"):
        path[name], path[f"{name}_half_width"] = mean_interval(bits[name])
    return xr.Dataset(path, attrs={"units": "bits"})


def violations(plane: xr.Dataset, estimator: int | str = 0, tolerance_bits: float = 1e-3) -> xr.Dataset:
    """Return where a layer knows more than the layer before it, which no true information can do.

    The layers form a Markov chain Y - X - T1 - T2 - ..., so the data-processing inequality orders
    H(X) >= I(X;T1) >= I(X;T2) >= ... and I(X;Y) >= I(T1;Y) >= I(T2;Y) >= .... An estimate that breaks it is
    wrong in at least one of the two layers; the later one is marked. The first layer is compared with H(X)
    and I(X;Y), and never marked where these are unknown (NaN).

    Args:
        plane: A run's labelled arrays, informations in nats.
        estimator: Its position in the run, or its convention string.
        tolerance_bits: Excess that counts as rounding, in bits.

    Returns:
        ``complexity`` and ``relevance``, bool of shape (snapshot, layer): does the mean path violate? And
        ``complexity_fraction`` and ``relevance_fraction`` of the same shape: the share of replicas that do,
        between 0 and 1.
    """
    bits = measured_bits(plane, estimator)
    sources = {"complexity": "entropy_x", "relevance": "information_xy"}
    found = {}
    for name, source in sources.items():
        ceiling = float(plane.attrs.get(source, math.nan)) * BITS_PER_NAT
        excess = bits[name] - bits[name].shift(layer=1, fill_value=ceiling)
        found[name] = excess.mean("replica", skipna=False) > tolerance_bits
        found[f"{name}_fraction"] = (excess > tolerance_bits).mean("replica")
    return xr.Dataset(found)


def summary_table(plane: xr.Dataset, estimator: int | str = 0) -> list[LayerSummary]:
    """Return one row a layer: informations at the first snapshot, at the peak of I(X;T) and at the last.

    The peak is each replica's own highest I(X;T) over the snapshots. A peak at the last snapshot gives a
    compression of 0. Since a maximum of noisy values is biased upwards, so is the compression: compare it
    with its half width and with the scatter of neighbouring snapshots.

    Args:
        plane: A run's labelled arrays, informations in nats.
        estimator: Its position in the run, or its convention string.

    Returns:
        `LayerSummary` rows in bits, first layer first.
    """
    bits = measured_bits(plane, estimator)
    complexity, relevance = bits["complexity"], bits["relevance"]
    peak = complexity.argmax("snapshot", skipna=False)
    top = complexity.isel(snapshot=peak)
    columns = {
        "complexity_first": complexity.isel(snapshot=0),
        "relevance_first": relevance.isel(snapshot=0),
        "complexity_peak": top,
        "relevance_peak": relevance.isel(snapshot=peak),
        "complexity_last": complexity.isel(snapshot=-1),
        "relevance_last": relevance.isel(snapshot=-1),
        "compression": top - complexity.isel(snapshot=-1),
    }
    intervals = {name: [part.values for part in mean_interval(values)] for name, values in columns.items()}
    epochs = bits["epoch"].values[peak.transpose("replica", "layer").values]
    return [
        LayerSummary(
            name=str(bits["layer_name"].values[layer]),
            width=int(bits["width"].values[layer]),
            peak_epoch=float(np.median(epochs[:, layer])),
            **{
                name: Interval(float(mean[layer]), float(half_width[layer]))
                for name, (mean, half_width) in intervals.items()
            },
        )
        for layer in range(bits.sizes["layer"])
    ]


def gradient_curves(plane: xr.Dataset, variant: str = "ratio") -> xr.Dataset:
    r"""Return the gradients' mean, spread and signal-to-noise ratio per layer, as one of the studies has it.

    Over the probe batches b = 1..B of a snapshot, with the weight gradient g_b of one layer:
    m = \|mean_b g_b\|, s = sqrt(sum over weights of var_b g_b), a = mean_b \|g_b\|, w = \|W\|.

    ============  ==============  =============  ==================  =====================================
    variant       mean            std            snr                 snr of pure noise
    ============  ==============  =============  ==================  =====================================
    ratio         m               s              m / s               1 / sqrt(B)   (Saxe et al. 2018)
    normalised    m / w           s / w          m / s               1 / sqrt(B)   (Shwartz-Ziv & Tishby 2017)
    deck          a               s              a / s               about 1
    idnns         sum m           sqrt(sum s)    sum (m^2 / s)       unknown: it has the gradient's units
    ============  ==============  =============  ==================  =====================================

    ``idnns`` repeats the plot of the code published with Shwartz-Ziv & Tishby 2017: curve l sums over the
    layers up to l, and the square root of the standard deviation is taken once more.

    Args:
        plane: A run's labelled arrays.
        variant: A key of `GRADIENT_VARIANTS`.

    Returns:
        ``mean``, ``std`` and ``snr`` of the surviving replicas, of shape (replica, snapshot, layer); ``snr``
        is NaN where the spread is zero. Attributes: ``noise_floor`` of ``snr`` (NaN if unknown) and
        ``variant``. Units: nats (the loss) per unit of weight; ``snr`` has none except under ``idnns``.
    """
    choose("gradient variant", variant, GRADIENT_VARIANTS)
    kept = surviving(plane)
    mean, std, norm, weight = (
        kept[name].astype(np.float64).transpose("replica", "snapshot", "layer")
        for name in ("gradient_mean", "gradient_std", "gradient_batch_norm", "weight_norm")
    )
    spread, weight = std.where(std > 0), weight.where(weight > 0)
    floor = 1.0 / math.sqrt(kept.attrs["probe_batches"])
    if variant == "ratio":
        curves = {"mean": mean, "std": std, "snr": mean / spread}
    elif variant == "normalised":
        curves = {"mean": mean / weight, "std": std / weight, "snr": mean / spread}
    elif variant == "deck":
        curves, floor = {"mean": norm, "std": std, "snr": norm / spread}, 1.0
    else:
        floor = math.nan
        curves = {
            "mean": mean.cumsum("layer", skipna=False),
            "std": np.sqrt(std.cumsum("layer", skipna=False)),
            "snr": (mean**2 / spread).cumsum("layer", skipna=False),
        }
    return xr.Dataset(curves, attrs={"noise_floor": floor, "variant": variant})
