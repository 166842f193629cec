"""The bottleneck of many labels and of many problems: time apart from compilation, and the gap that was searched.

The large table is 256 x 32, all entries from one Dirichlet distribution with parameter 0.3 (seed 7): its local
threshold is 6.16, and a cluster at one input alone pays from beta = 3.13 on. "Best known" is a run at a tolerance of
1e-10 nat, made here. Run with ``python benchmarks/bottleneck_many.py``. Where other programs share the cores, set
OPENBLAS_NUM_THREADS=1. A step of the usual code, a tensor of divergences in NumPy, is timed beside it.
"""

import time

import numpy as np
from bottleneck_curve import reference_blahut_arimoto, timed
from timing import machine, median_seconds, row

from ibjax.bottleneck import curve, solve, solve_many

BIT = np.log(2)
PROBLEMS = 1000


def main() -> None:
    print(machine())
    print(f"{'':44s} {'ms':>10s}")
    table = np.random.default_rng(7).dirichlet(np.full(256 * 32, 0.3)).reshape(256, 32)
    for beta in (4.0, 6.0, 6.5):
        timed(
            f"256 x 32, beta {beta:g}, gap below 1e-5 bit",
            lambda beta=beta: solve(table, beta, tolerance=1e-5 * BIT),
            5000,
            lambda found: found.gap,
        )
    betas = np.geomspace(1.2, 50, 100)
    best = curve(table, betas, tolerance=1e-10)
    timed(
        "256 x 32, 100 betas",
        lambda: curve(table, betas, tolerance=1e-6 * BIT),
        3000,
        lambda found: found.gap.max(),
    )
    found = curve(table, betas, tolerance=1e-6 * BIT)
    print(f"{'':44s} above the best known by at most {(found.lagrangian - best.lagrangian).max() / BIT:.1e} bit")
    p_x = table.sum(axis=1)
    p = np.maximum(table / p_x[:, None], 1e-200)
    seconds = median_seconds(lambda: reference_blahut_arimoto(p_x, p, 5.0, 1), 3)
    print(row("a NumPy step with the tensor, 256 x 32 x 256", seconds, 1e-3, seconds))

    rng = np.random.default_rng(0)
    joints = rng.dirichlet(np.ones(64), size=PROBLEMS), rng.dirichlet(np.full(4, 0.5), size=(PROBLEMS, 64))
    few = np.geomspace(1.2, 50, 20)
    for tolerance in (1e-9, 1e-6):
        solve_many(joints, few, tolerance=tolerance)
        began = time.perf_counter()
        batch = solve_many(joints, few, tolerance=tolerance)
        seconds = time.perf_counter() - began
        name = f"1000 of 64 x 4, 20 betas, gap {tolerance:g} nat"
        print(row(name, seconds, 1e-3, seconds, 10_000), f"  largest gap {batch.gap.max() / BIT:.1e} bit")


if __name__ == "__main__":
    main()
