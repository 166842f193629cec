"""Information of 200 tables of 20 x 20 cells and 2000 samples by every correction, milliseconds.

The peer in the same run is infomeasure, table after table, which takes samples; ours from tables and from samples.
Run with ``python benchmarks/plugin.py``.
"""

import logging
import time

import infomeasure
import jax
import numpy as np
from timing import machine, median_seconds, row

from ibjax.estimators import CORRECTIONS, PlugIn

TABLES, CELLS, N, PEER_TABLES = 200, 20, 2000, 10
PEER = {
    "none": "discrete",
    "miller-madow": "miller_madow",
    "grassberger": "grassberger",
    "chao-shen": "chao_shen",
    "chao-wang-jost": "chao_wang_jost",
    "shrinkage": "shrink",
    "nsb": "nsb",
}
"""Correction -> infomeasure's name. Its "grassberger" is the estimator of 1988, and its "nsb" another integrand."""


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tables, and the samples that they count."""
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.full(CELLS**2, 0.4))
    tables = rng.multinomial(N, joint, size=TABLES)
    cells = np.stack([np.repeat(np.arange(CELLS**2), table) for table in tables])
    return tables.reshape(TABLES, CELLS, CELLS), cells // CELLS, cells % CELLS


def peer(approach: str, x: np.ndarray, y: np.ndarray) -> None:
    for one_x, one_y in zip(x, y, strict=True):
        infomeasure.mutual_information(one_x, one_y, approach=approach, base="e")


def main() -> None:
    logging.disable(logging.WARNING)
    print(machine())
    tables, x, y = data()
    print(f"{TABLES} tables of {CELLS} x {CELLS} cells, {N} samples each{'':4s} {'ms':>7s} {'ratio':>8s}")
    for correction in CORRECTIONS:
        estimator = PlugIn(correction)
        began = time.perf_counter()
        of_tables = jax.jit(estimator.table).lower(tables).compile()
        compiled = time.perf_counter() - began
        of_samples = jax.jit(jax.vmap(estimator))
        best = median_seconds(lambda of_tables=of_tables: of_tables(tables))
        print(row(f"{correction}, tables (compiled in {compiled:.1f} s)", best, 1e-3, best))
        seconds = median_seconds(lambda of_samples=of_samples: of_samples(x, y), 3)
        print(row(f"{correction}, samples", seconds, 1e-3, best))
        theirs, few = PEER[correction], (x[:PEER_TABLES], y[:PEER_TABLES])
        seconds = median_seconds(lambda theirs=theirs, few=few: peer(theirs, *few), 3) * TABLES / PEER_TABLES
        print(row(f"infomeasure {theirs}, samples", seconds, 1e-3, best))


if __name__ == "__main__":
    main()
