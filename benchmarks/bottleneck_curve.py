"""The information bottleneck against its targets: time apart from compilation, and the gap that was certified.

Run with ``python benchmarks/bottleneck_curve.py``. Where other programs share the cores, set OPENBLAS_NUM_THREADS=1:
the factorisations of rate-distortion and capacity otherwise wait for their threads. One step of the usual code, a
tensor of divergences in NumPy, is timed beside it.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import machine, median_seconds, row

from ibjax.bottleneck import channel_capacity, curve, rate_distortion, solve, transitions
from ibjax.datasets import szt

BIT = np.log(2)


def timed(
    name: str, function: Callable[[], Any], limit: float | None = None, gap: Callable[[Any], float] | None = None
) -> None:
    began = time.perf_counter()
    found = function()
    first = time.perf_counter() - began
    seconds = median_seconds(function)
    proved = "" if gap is None else f", gap {gap(found) / BIT:.1e} bit"
    print(row(name, seconds, 1e-3, seconds, limit), f"  first call {first:.1f} s{proved}")


def reference_blahut_arimoto(p_x: np.ndarray, p: np.ndarray, beta: float, steps: int) -> None:
    """What is in use elsewhere: one cluster per input, a tensor of divergences, in NumPy."""
    w, s = p_x.copy(), p.copy()
    for _ in range(steps):
        relative = (p[:, None] * (np.log(p[:, None]) - np.log(s))).sum(axis=-1)
        joint = w * np.exp(-beta * relative)
        encoder = joint / joint.sum(axis=1, keepdims=True)
        w = p_x @ encoder
        s = (p_x[:, None] * encoder).T @ p / w[:, None]


def main() -> None:
    print(machine())
    print(f"{'':44s} {'ms':>10s}")
    betas = np.geomspace(1.2, 50, 100)
    for gamma in (0.3, 8.0):
        task = np.full(4096, 1 / 4096), np.asarray(szt(gamma=gamma).p_y_given_x, np.float64)
        timed(
            f"12-bit task, gamma {gamma:g}, 100 betas",
            lambda task=task: curve(task, betas, tolerance=1e-8 * BIT),
            250,
            lambda found: found.gap.max(),
        )
        timed(f"12-bit task, gamma {gamma:g}, all transitions", lambda task=task: transitions(task))
    rng = np.random.default_rng(0)
    p_x, p = rng.dirichlet(np.ones(512)), rng.dirichlet(np.ones(2), size=512)
    seconds = median_seconds(lambda: reference_blahut_arimoto(p_x, p, 5.0, 1), 3)
    print(row("a NumPy step with the tensor, 512 x 2 x 512", seconds, 1e-3, seconds))

    symmetric = np.array([[0.45, 0.05], [0.05, 0.45]])
    beta = 1.0001 / 0.64
    timed("binary symmetric, 1.0001 x critical", lambda: solve(symmetric, beta), 50, lambda found: found.gap)
    print(f"{'':44s} {solve(symmetric, beta).iterations} evaluations (limit 50)")

    x = np.linspace(-4, 4, 201)
    source = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    squares = (x[:, None] - x) ** 2
    for slope in (1.0, 5.0, 50.0):
        timed(
            f"rate-distortion, Gaussian, slope {slope:g}",
            lambda slope=slope: rate_distortion(source, squares, slope=slope, tolerance=1e-9 * BIT),
            50,
            lambda found: found.gap,
        )
    channel = np.random.default_rng(0).dirichlet(np.ones(256), size=256)
    timed(
        "capacity, random 256 x 256",
        lambda: channel_capacity(channel, tolerance=1e-9 * BIT),
        100,
        lambda found: found.gap,
    )


if __name__ == "__main__":
    main()
