"""EDGE on up to a million samples of 5 + 1 columns: seconds and peak memory by n, and a plot that shows the line.

Run with ``python benchmarks/edge.py``; writes ``benchmarks/figures/edge.png``.
"""

import resource
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from timing import machine, median_seconds, row

from ibjax.estimators import EDGE

SIZES = (10_000, 31_623, 100_000, 316_228, 1_000_000)
LIMIT = 1.0
FIGURE = Path(__file__).parent / "figures" / "edge.png"


def main() -> None:
    print(machine())
    print(f"{'5 + 1 columns':44s} {'s':>10s} {'ratio':>8s}")
    estimate = jax.jit(EDGE())
    seconds = []
    rng = np.random.default_rng(0)
    for n in SIZES:
        x = rng.normal(size=(n, 5)).astype(np.float32)
        y = x[:, :1] + rng.normal(size=(n, 1)).astype(np.float32)
        x, y = jnp.asarray(x), jnp.asarray(y)
        began = time.perf_counter()
        found = jax.block_until_ready(estimate(x, y))
        first = time.perf_counter() - began
        seconds.append(median_seconds(lambda x=x, y=y: estimate(x, y), 3))
        limit = LIMIT if n == SIZES[-1] else None
        print(
            row(f"n={n} (first call {first:.1f} s), {float(found.value):.3f} nats", seconds[-1], 1, seconds[0], limit)
        )
    slope = np.polyfit(np.log(SIZES), np.log(seconds), 1)[0]
    print(f"exponent of n: {slope:.2f}; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")

    figure, axes = plt.subplots(figsize=(4.5, 3.2), layout="constrained")
    axes.loglog(SIZES, seconds, "o-", color="#0072B2", label=f"measured, exponent {slope:.2f}")
    line = [seconds[-1] * n / SIZES[-1] for n in SIZES]
    axes.loglog(SIZES, line, "--", color="#D55E00", label="linear in n")
    axes.set(xlabel="samples n", ylabel="seconds an estimate", title="EDGE, 5 + 1 columns")
    axes.legend(frameon=False)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=150)


if __name__ == "__main__":
    main()
