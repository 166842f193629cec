"""Binned information of 200 pairs of 4096 samples, 12 binary columns and 5 activations, in one call, milliseconds.

The peer in the same run is NumPy on packed rows. Run with ``python benchmarks/binned_samples.py``.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from timing import machine, median_seconds, row

from ibjax.estimators import Binning
from ibjax.sweep import use_every_core

PAIRS, N, BINS, LIMIT = 200, 4096, 30, 50


def packed(x: np.ndarray, y: np.ndarray) -> float:
    """Of one pair: rows of bins as one 64-bit number each, counted."""
    of_x = x.astype(np.int64) @ (2 ** np.arange(x.shape[1]))
    bins = np.clip(np.floor((y + 1) / 2 * BINS), 0, BINS - 1).astype(np.int64)
    of_y = bins @ (BINS ** np.arange(y.shape[1]))
    counts = [np.unique(keys, return_counts=True)[1] for keys in (of_x, of_y, of_x * BINS ** y.shape[1] + of_y)]
    sums = [(c * np.log(c)).sum() for c in counts]
    return float(np.log(len(x)) + (sums[2] - sums[0] - sums[1]) / len(x))


def main() -> None:
    use_every_core()
    print(machine())
    rng = np.random.default_rng(0)
    x = ((np.arange(4096)[:, None] >> np.arange(12)) & 1).astype(bool)
    x = np.broadcast_to(x, (PAIRS, N, 12)).copy()
    y = np.tanh(rng.normal(size=(PAIRS, N, 5))).astype(np.float32)
    count = max(d for d in range(1, len(jax.devices()) + 1) if PAIRS % d == 0)
    mesh = jax.make_mesh((count,), ("pair",), devices=jax.devices()[:count], axis_types=(AxisType.Auto,))
    spec = PartitionSpec("pair")
    estimate = jax.jit(
        jax.shard_map(jax.vmap(Binning(bins=BINS)), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    )
    placed = [jax.device_put(jnp.asarray(a), NamedSharding(mesh, spec)) for a in (x, y)]
    began = time.perf_counter()
    compiled = estimate.lower(*placed).compile()
    first = time.perf_counter() - began
    best = median_seconds(lambda: compiled(*placed))
    print(f"{PAIRS} pairs of {N} samples, 12 + 5 columns {'':9s} {'ms':>7s} {'ratio':>8s}")
    print(row(f"ibjax (compiled in {first:.1f} s)", best, 1e-3, best, LIMIT))
    print(
        row(
            "NumPy, packed rows",
            median_seconds(lambda: [packed(*pair) for pair in zip(x, y, strict=True)], 3),
            1e-3,
            best,
        )
    )
    print(f"first pair: {float(compiled(*placed).value[0]):.6f} and {packed(x[0], y[0]):.6f} nats")


if __name__ == "__main__":
    main()
