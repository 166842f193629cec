"""A run's labelled arrays without a run: layers that fit, then compress, with known constants; noise that lasts."""

import json
import math

import numpy as np
import xarray as xr

BINNING = "binning:bins=30,low=-1,high=1"
WIDTHS = (10, 7, 5, 4, 3, 2, 2, 2, 2, 2)


def epochs_of(snapshots: int, last: int = 10_000) -> np.ndarray:
    """Return epoch 0 and then at most ``snapshots - 1`` distinct, log-spaced epochs up to ``last``."""
    return np.unique(np.r_[0, np.geomspace(1, last, snapshots - 1).round()]).astype(int)


def lasting_noise(shape: tuple[int, ...], correlation: float, seed: int = 0) -> np.ndarray:
    """Stationary normal noise of variance 1 and this correlation from one snapshot, the last axis, to the next."""
    path = np.random.default_rng(seed).normal(size=shape)
    for step in range(1, shape[-1]):
        path[..., step] = correlation * path[..., step - 1] + np.sqrt(1 - correlation**2) * path[..., step]
    return path


def make_plane(
    replicas: int = 5,
    snapshots: int = 40,
    layers: int = 6,
    estimators: tuple[str, ...] = (BINNING,),
    *,
    measured: int | None = None,
    diverged: tuple[int, ...] = (),
    test_set: bool = True,
    noise: float = 1.0,
    seed: int = 0,
) -> xr.Dataset:
    """Return a plausible run: 12 input bits, 1 label bit, fitted by about epoch 300 and compressed after.

    Args:
        replicas: Number of networks.
        snapshots: Number of snapshots asked for (rounded epochs that coincide are merged).
        layers: 1 to 10.
        estimators: Convention strings; each reads the same paths a little lower than the one before.
        measured: Snapshots that an unfinished run got to; all by default.
        diverged: Replicas that become NaN and dead halfway.
        test_set: False for a run without test samples (NaN test curves).
        noise: Scale of the differences between replicas; 0 makes all the same.
        seed: Of those differences.
    """
    random = np.random.default_rng(seed)
    epoch = epochs_of(snapshots)
    shape = (replicas, epoch.size, layers)
    depth = np.arange(layers) / max(layers, 2)
    time = np.log10(1.0 + epoch)[None, :, None]
    own = noise * random.standard_normal((replicas, 1, layers))
    jitter = noise * random.standard_normal(shape)

    fitted = 1.0 / (1.0 + np.exp(-3.0 * (time - 1.8 + 0.15 * own)))
    compressed = 1.0 / (1.0 + np.exp(-4.0 * (time - 3.1 + 0.1 * own)))
    start, top, end = 11.8 * (1 - depth) ** 1.4, 11.9 - 2.5 * depth, 11.6 - 9.5 * depth**0.8
    complexity = start + (top - start) * fitted + (end - top) * compressed + 0.25 * own + 0.1 * jitter
    relevance = (0.99 - 0.85 * depth) + (0.85 * depth - 0.02) * fitted + 0.05 * own * (1 - 0.7 * fitted)
    complexity, relevance = np.clip(complexity, 0.0, 12.0), np.clip(relevance, 0.0, 0.99)
    lower = np.array([1.0 - 0.1 * position for position in range(len(estimators))])[:, None, None, None]

    learnt = fitted.mean(-1)
    train_loss = 0.69 * (1 - learnt) + 0.01
    accuracy = 0.5 + 0.49 * learnt
    signal = 0.3 * (1 - depth) * np.exp(-1.5 * (fitted + 0.6 * compressed) + 0.1 * jitter)
    spread = 0.1 * (1 + 2 * fitted) * np.exp(0.1 * own)
    gradient = np.sqrt(signal**2 + spread**2 / 16)  # pure noise is left once the signal is gone
    curve, layered = ("replica", "snapshot"), ("replica", "snapshot", "layer")
    variables = {
        "complexity": (("estimator", *layered), complexity * math.log(2) * lower),
        "relevance": (("estimator", *layered), relevance * math.log(2) * lower),
        "train_loss": (curve, train_loss),
        "test_loss": (curve, train_loss * 1.2 + 0.02 if test_set else np.full(shape[:2], np.nan)),
        "train_accuracy": (curve, accuracy),
        "test_accuracy": (curve, accuracy - 0.02 if test_set else np.full(shape[:2], np.nan)),
        "gradient_mean": (layered, gradient),
        "gradient_std": (layered, spread),
        "gradient_snr": (layered, gradient / spread),
        "gradient_batch_norm": (layered, np.sqrt(gradient**2 + spread**2)),
        "weight_norm": (layered, 3.0 + fitted),
        "weight_distance": (layered, 4.0 * fitted),
    }
    plane = xr.Dataset(
        {name: (dims, values.astype(np.float32)) for name, (dims, values) in variables.items()},
        coords={
            "estimator": list(estimators),
            "replica": np.arange(replicas),
            "epoch": ("snapshot", epoch),
            "layer": np.arange(1, layers + 1),
            "width": ("layer", np.array(WIDTHS[:layers])),
            "layer_name": ("layer", [*(f"T{number}" for number in range(1, layers)), "output"]),
        },
        attrs={
            "units": "nats",
            "samples": 4096,
            "entropy_x": 12 * math.log(2),
            "entropy_y": math.log(2),
            "information_xy": 0.99 * math.log(2),
            "probe_batches": 16,
            "title": "12-bit task, tanh 12-10-7-5-4-3-2",
            "config": json.dumps({"seed": seed}),
        },
    )
    alive = np.ones(shape[:2], bool)
    alive[list(diverged), epoch.size // 2 :] = False
    alive[:, measured if measured is not None else epoch.size :] = False
    filled = plane.where(xr.DataArray(alive, dims=curve))
    return filled.transpose(..., "replica", "snapshot", "layer").assign(alive=(curve, alive))
