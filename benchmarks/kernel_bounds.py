"""Kernel bounds of 200 layers of 4096 inputs x 5 units, I(X;T) and I(T;Y), in one call on all cores.

Peers in the same run, each on a few layers and scaled up, compute the same two numbers: the formula as a naive jitted
broadcast, and NumPy with SciPy's logsumexp, as the public code does it. Run with
``python benchmarks/kernel_bounds.py``.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy.special import logsumexp
from timing import machine, median_seconds, row

from ibjax.estimators import parse
from ibjax.sweep import use_every_core

COUNT, N, UNITS, CLASSES, LIMIT = 200, 4096, 5, 2, 0.8
NOISE = 0.1


def sharded(function: Callable[[Any], Any], layers: np.ndarray) -> tuple[float, float]:
    """Seconds for all layers, shared out over the devices, and seconds to compile."""
    count = max(d for d in range(1, len(jax.devices()) + 1) if len(layers) % d == 0)
    mesh = jax.make_mesh((count,), ("layer",), devices=jax.devices()[:count], axis_types=(AxisType.Auto,))
    spec = PartitionSpec("layer")
    mapped = jax.jit(jax.shard_map(jax.vmap(function), mesh=mesh, in_specs=spec, out_specs=spec))
    placed = jax.device_put(layers, NamedSharding(mesh, spec))
    began = time.perf_counter()
    compiled = mapped.lower(placed).compile()
    seconds = time.perf_counter() - began
    return median_seconds(lambda: compiled(placed)), seconds


def naive(t: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    distance = ((t[:, None] - t[None]) ** 2).sum(axis=-1)
    exponent = -distance / (2 * NOISE)
    entropy = jnp.log(N) - jax.nn.logsumexp(exponent, axis=1).mean()
    same = y[:, None] == y
    inside = jax.nn.logsumexp(jnp.where(same, exponent, -jnp.inf), axis=1) - jnp.log(same.sum(axis=1))
    return entropy, entropy + inside.mean()


def by_numpy(t: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    def entropy(t: np.ndarray) -> float:
        squares = (t**2).sum(axis=1)
        distance = squares[:, None] + squares - 2 * t @ t.T
        return float(np.log(len(t)) - logsumexp(-distance / (2 * NOISE), axis=1).mean())

    whole = entropy(t)
    return whole, whole - sum((y == c).mean() * entropy(t[y == c]) for c in range(CLASSES))


def main() -> None:
    use_every_core()
    print(machine())
    rng = np.random.default_rng(0)
    layers = np.tanh(rng.normal(size=(COUNT, N, UNITS))).astype(np.float32)
    y = jnp.asarray(rng.integers(0, CLASSES, N))
    p_y_given_x = jax.nn.one_hot(y, CLASSES) * 0.8 + 0.1
    kernel, likelihood = parse("kernel"), parse("kernel:variance=likelihood")
    print(f"{COUNT} x {N} inputs x {UNITS} units, the last ones scaled from fewer {'':3s} {'s':>7s} {'ratio':>8s}")
    cases: dict[str, tuple[Callable[[Any], Any], int]] = {
        "ibjax kernel": (lambda t: kernel.layer(t, y), COUNT),
        "ibjax kernel, rows p(y|x)": (lambda t: kernel.layer(t, p_y_given_x), 20),
        "ibjax kernel, gradient": (jax.value_and_grad(lambda t: kernel.layer(t, y).relevance), 20),
        "ibjax kernel:variance=likelihood": (lambda t: likelihood.layer(t, y), 4),
        "naive jitted JAX": (lambda t: naive(t, y), 4),
    }
    best = None
    for name, (function, count) in cases.items():
        seconds, compiled = sharded(function, layers[:count])
        seconds *= COUNT / count
        best = best or seconds
        print(row(f"{name} (compiled in {compiled:.1f} s)", seconds, 1, best, LIMIT if count == COUNT else None))
    first, labels = layers[0].astype(np.float64), np.asarray(y)
    seconds = median_seconds(lambda: by_numpy(first, labels), 3) * COUNT
    print(row("NumPy, SciPy logsumexp", seconds, 1, best or seconds))
    for name, (one, other) in {
        "ibjax": kernel.layer(jnp.asarray(layers[0]), y),
        "naive": naive(jnp.asarray(layers[0]), y),
        "NumPy": by_numpy(first, labels),
    }.items():
        print(f"{name}: {float(one):.6f} and {float(other):.6f} nats of the first layer")


if __name__ == "__main__":
    main()
