"""The information bottleneck against its targets: time apart from compilation, and the gap that was certified.

Run with ``python benchmarks/bottleneck_curve.py``. Where other programs share the cores, set OPENBLAS_NUM_THREADS=1:
the factorisations of rate-distortion and capacity otherwise wait for their threads. One step of the usual code, a
tensor of divergences in NumPy, is timed beside it; so are embo and dit where they are installed, at one beta of a small
random table, and scaled up to all.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import machine, median_seconds, row

from ibjax.bottleneck import (
    Table,
    agglomerative,
    channel_capacity,
    curve,
    deterministic,
    rate_distortion,
    solve,
    squared,
    transitions,
)
from ibjax.datasets import szt
from ibjax.information import mutual_information

BIT = np.log(2)


def timed(
    name: str,
    function: Callable[[], Any],
    limit: float | None = None,
    gap: Callable[[Any], float] | None = None,
    repeats: int = 7,
) -> None:
    began = time.perf_counter()
    found = function()
    first = time.perf_counter() - began
    seconds = median_seconds(function, repeats)
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


def peers(table: Table, betas: np.ndarray, ours: float) -> None:
    """One beta of each peer as it comes, but for embo's unit of beta and dit's first start, times the betas.

    embo: three starts of up to 100 steps, and again with a stop that gets it to its optimum. dit: one start of up to
    100 steps, of the 250 that it takes by default.
    """
    p_x, p = table
    beta = float(betas[len(betas) // 2])
    best = solve(table, beta).lagrangian

    def report(name: str, run: Callable[[], tuple[float, float]]) -> None:
        began = time.perf_counter()
        complexity, relevance = run()
        seconds = (time.perf_counter() - began) * len(betas)
        above = complexity - beta * relevance - best
        print(row(f"{name}, 1 beta x {len(betas)}", seconds, 1e-3, ours), f"  {above / BIT:.1e} bit above ours")

    with np.errstate(all="ignore"):  # embo sets this for the whole process
        if importlib.util.find_spec("embo"):
            from embo.core import InformationBottleneck

            def embo(iterations: int, rtol: float) -> tuple[float, float]:
                arrays = p_x, p_x @ p, np.ascontiguousarray(p.T)
                found = InformationBottleneck.beta_iter(1, beta * BIT, *arrays, len(p_x), 3, iterations, rtol)
                return found[0] * BIT, found[1] * BIT

            report("embo", lambda: embo(100, 1e-3))
            report("embo, tight stop", lambda: embo(100_000, 1e-12))
        if importlib.util.find_spec("dit"):
            from dit.divergences.pmf import relative_entropy
            from dit.rate_distortion.blahut_arimoto import _blahut_arimoto

            def distortion(p_x: np.ndarray, q: np.ndarray) -> np.ndarray:
                s = (p_x[:, None] * q).T @ p / (p_x @ q)[:, None]
                return np.array([[relative_entropy(a, b) for b in s] for a in p])

            def dit() -> tuple[float, float]:
                start = np.random.default_rng(0).dirichlet(np.ones(len(p_x)), size=len(p_x))
                _, joint = _blahut_arimoto(p_x, beta, start, distortion)
                return float(mutual_information(joint)), float(mutual_information(joint.T @ p))

            report("dit, 1 start", dit)


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
    small = Table(rng.dirichlet(np.ones(64)), rng.dirichlet(np.ones(2), size=64))
    timed("random 64 x 2, 100 betas", lambda: curve(small, betas, tolerance=1e-8 * BIT), None, lambda f: f.gap.max())
    seconds = median_seconds(lambda: curve(small, betas, tolerance=1e-8 * BIT))
    peers(small, betas, seconds)
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
    joint = np.random.default_rng(0).dirichlet(np.ones(256)), np.random.default_rng(1).dirichlet(np.ones(2), size=256)
    timed("squared, random 256 x 2, 20 values of b", lambda: squared(joint, np.geomspace(0.01, 10, 20)))
    timed("deterministic, exact, random 256 x 2, beta 20", lambda: deterministic(joint, 20.0))
    wide = joint[0], np.random.default_rng(1).dirichlet(np.ones(10), size=256)
    timed("deterministic, search, random 256 x 10, beta 8", lambda: deterministic(wide, 8.0), repeats=3)
    for n in (256, 1024, 4096):
        rng = np.random.default_rng(0)
        joint = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(2), size=n)
        timed(f"agglomerative, random {n} x 2", lambda joint=joint: agglomerative(joint), repeats=3)
    channel = np.random.default_rng(0).dirichlet(np.ones(256), size=256)
    timed(
        "capacity, random 256 x 256",
        lambda: channel_capacity(channel, tolerance=1e-9 * BIT),
        100,
        lambda found: found.gap,
    )


if __name__ == "__main__":
    main()
