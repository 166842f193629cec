"""KSG: 200 pairs, larger samples and a permutation test, each in one call, beside the peers that are installed.

Peers in the same run, pair after pair: npeet-plus and infomeasure. Run ``python benchmarks/nearest_neighbours.py``.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import machine, median_seconds, row

from ibjax import estimators
from ibjax.estimators import KSG, permutation_test

FEW = 5
"""Pairs that a peer is timed on, scaled up."""


def normal(pairs: int, n: int, dx: int, dy: int, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(pairs, n, dx))
    y = x[..., :1] + rng.normal(size=(pairs, n, dy))
    return x.astype(dtype), y.astype(dtype)


def peers() -> dict[str, Callable[[np.ndarray, np.ndarray], Any]]:
    found: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {}
    try:
        import npeet_plus

        found["npeet-plus"] = lambda x, y: npeet_plus.mi(x, y, k=3)
    except ImportError:
        print("npeet-plus is not installed")
    try:
        import infomeasure

        found["infomeasure"] = lambda x, y: infomeasure.mutual_information(
            x, y, approach="metric", k=3, noise_level=0, minkowski_p=np.inf
        )
    except ImportError:
        print("infomeasure is not installed")
    return found


def ours(name: str, function: Callable[..., Any], arguments: tuple[Any, ...], limit: float) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    first = time.perf_counter() - began
    seconds = median_seconds(lambda: function(*arguments), 5)
    print(row(f"ibjax {name} (first call {first:.1f} s)", seconds, 1, seconds, limit))
    return seconds


def theirs(x: np.ndarray, y: np.ndarray, times: float, best: float) -> None:
    for name, function in peers().items():
        seconds = median_seconds(lambda f=function: [f(a, b) for a, b in zip(x, y, strict=True)], 3) * times / len(x)
        print(row(name, seconds, 1, best))


def main() -> None:
    logging.disable(logging.WARNING)
    print(machine())
    print(f"{'':44s} {'s':>10s} {'ratio':>8s}")
    est = KSG()
    one = jax.jit(est)

    x, y = normal(200, 1000, 5, 1)
    mapped = jax.jit(jax.vmap(est))
    best = ours("200 x (n=1000, 5+1)", mapped, (jnp.asarray(x), jnp.asarray(y)), 0.45)
    theirs(x[:FEW], y[:FEW], 200, best)
    assert np.allclose(estimators.map(est, x[:3], y[:3]).value, mapped(x, y).value[:3], atol=1e-5)

    for n, dx, limits in ((5000, 5, (0.08, 0.15)), (100_000, 1, (0.15, 0.15))):
        x, y = normal(1, n, dx, dx)
        best = ours(f"n={n}, {dx}+{dx}, float32", one, (jnp.asarray(x[0]), jnp.asarray(y[0])), limits[0])
        with jax.enable_x64(True):
            x, y = normal(1, n, dx, dx, np.float64)
            ours(f"n={n}, {dx}+{dx}, float64", one, (jnp.asarray(x[0]), jnp.asarray(y[0])), limits[1])
        theirs(x, y, 1, best)

    x, y = normal(1, 1000, 1, 1)
    test = jax.jit(lambda x, y: permutation_test(est, x, y, jax.random.key(0), n=1000))
    best = ours("1000 shuffles, n=1000, 1+1", test, (jnp.asarray(x[0]), jnp.asarray(y[0])), 1.3)
    theirs(x, y, 1000, best)


if __name__ == "__main__":
    main()
