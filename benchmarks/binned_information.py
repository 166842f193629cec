"""Binned information of one snapshot: 50 replicas x 6 layers x 4096 inputs, milliseconds on all cores.

Peers in the same run: `numpy.unique` over rows, as the public codes do it, and rows packed by NumPy into one 64-bit
integer. Run with ``python benchmarks/binned_information.py``.
"""

import functools
import time

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from timing import machine, median_seconds, row

from ibjax.datasets import szt
from ibjax.estimators import LayerEstimator, parse
from ibjax.plane import layer_information
from ibjax.sweep import use_every_core

REPLICAS, WIDTHS, LIMIT = 50, (10, 7, 5, 4, 3, 2), 35.0
RULES = ("binning", "binning:rule=width", "binning:rule=bits", "binning:rule=quantile", "binning:rule=idnns")


def activations() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.tanh(rng.normal(size=(REPLICAS, 4096, width))).astype(np.float32) for width in WIDTHS]


def ours(layers: list[np.ndarray], estimator: LayerEstimator) -> tuple[float, float]:
    """Seconds a snapshot, and seconds to compile."""
    count = max(d for d in range(1, len(jax.devices()) + 1) if REPLICAS % d == 0)
    mesh = jax.make_mesh((count,), ("replica",), devices=jax.devices()[:count], axis_types=(AxisType.Auto,))
    spec = PartitionSpec("replica")
    data = szt()
    measure = jax.vmap(functools.partial(layer_information, [estimator], data=data))
    measure = jax.jit(jax.shard_map(measure, mesh=mesh, in_specs=(spec,), out_specs=spec, check_vma=False))
    layers = jax.device_put(layers, NamedSharding(mesh, spec))
    began = time.perf_counter()
    compiled = measure.lower(layers).compile()
    seconds = time.perf_counter() - began
    return median_seconds(lambda: compiled(layers)), seconds


def entropy(counts: np.ndarray) -> float:
    p = counts / counts.sum()
    return -(p * np.log(p)).sum()


def numpy_rows(layers: list[np.ndarray], y: np.ndarray, pack: bool) -> None:
    for t in layers:
        for one in t:
            index = np.clip(np.floor((one + 1) * 15), 0, 29).astype(np.int64)
            rows = np.concatenate([index, y[:, None]], axis=1)
            if pack:
                key = index @ (30 ** np.arange(index.shape[1]))
                parts = [np.unique(key, return_counts=True)[1], np.unique(2 * key + y, return_counts=True)[1]]
            else:
                parts = [np.unique(r, axis=0, return_counts=True)[1] for r in (index, rows)]
            for counts in parts:
                entropy(counts)


def main() -> None:
    use_every_core()
    print(machine())
    layers, y = activations(), np.asarray(szt().y).astype(np.int64)
    print(f"{REPLICAS} replicas x {len(WIDTHS)} layers x 4096 inputs{'':19s} {'ms':>7s} {'ratio':>8s}")
    best = 0.0
    for text in RULES:
        seconds, compiled = ours(layers, parse(text))
        best = best or seconds
        print(
            row(
                f"ibjax {text} (compiled in {compiled:.1f} s)",
                seconds,
                1e-3,
                best,
                LIMIT if text == "binning" else None,
            )
        )
    few = [t[:5] for t in layers]
    for name, pack in (("NumPy, rows packed in 64 bits", True), ("NumPy, unique rows", False)):
        print(row(name, median_seconds(lambda pack=pack: numpy_rows(few, y, pack), 3) * REPLICAS / 5, 1e-3, best))


if __name__ == "__main__":
    main()
