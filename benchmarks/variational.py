"""Variational estimates of 100 sets of 5000 samples in 5+5 dimensions, 1 nat, all trained in one call on all cores.

The peer in the same run is a PyTorch loop of one SMILE on one core, with the same networks, batches, steps and looks
at the validation samples. Run with ``python benchmarks/variational.py``.
"""

import itertools
import math
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from timing import machine, row

from ibjax.neural import NWJ, SMILE, DifferenceOfEntropies, DonskerVaradhan, InfoNCE
from ibjax.neural.base import Variational
from ibjax.neural.train import CHECK_EVERY
from ibjax.sweep import use_every_core

COUNT, N, D, INFORMATION, LIMIT = 100, 5000, 5, 1.0, 60
CASES: list[tuple[Variational, int]] = [
    (InfoNCE(), COUNT),
    (NWJ(), 10),
    (DonskerVaradhan(), 10),
    (SMILE(), 10),
    (DifferenceOfEntropies(), 10),
]
"""Estimator, and of how many sets; all but the first are scaled up."""


def data(pairs: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians of which a few pairs of columns are correlated."""
    x, y = np.random.default_rng(0).normal(size=(2, COUNT, N, D)).astype(np.float32)
    rho = math.sqrt(-math.expm1(-2 * INFORMATION / pairs))
    y[..., :pairs] = rho * x[..., :pairs] + math.sqrt(1 - rho**2) * y[..., :pairs]
    return x, y


def measured(estimator: Variational, x: np.ndarray, y: np.ndarray) -> tuple[float, float, Any]:
    """Seconds to run and to compile, and the estimates."""
    count = max(d for d in range(1, len(jax.devices()) + 1) if len(x) % d == 0)
    mesh = jax.make_mesh((count,), ("replica",), devices=jax.devices()[:count], axis_types=(AxisType.Auto,))
    spec = PartitionSpec("replica")
    mapped = jax.jit(jax.shard_map(jax.vmap(estimator), mesh=mesh, in_specs=spec, out_specs=spec))
    placed = jax.device_put((x, y, jax.random.split(jax.random.key(0), len(x))), NamedSharding(mesh, spec))
    began = time.perf_counter()
    run = mapped.lower(*placed).compile()
    compiled = time.perf_counter() - began
    began = time.perf_counter()
    found = jax.block_until_ready(run(*placed))
    return time.perf_counter() - began, compiled, found


def torch_smile(x: np.ndarray, y: np.ndarray, config: SMILE) -> tuple[float, float]:
    """Seconds and estimate of one training loop."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)  # two threads wait for each other longer than they work

    def network() -> torch.nn.Module:
        sizes = (D, *config.hidden)
        layers = [m for i, o in itertools.pairwise(sizes) for m in (torch.nn.Linear(i, o), torch.nn.SiLU())]
        return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], config.embedding))

    began = time.perf_counter()
    test = round(N * config.held_out / 2)
    order = torch.randperm(N)
    parts = order[: N - 2 * test], order[N - 2 * test : N - test], order[N - test :]
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)
    f, g = network(), network()
    optimizer = torch.optim.Adam([*f.parameters(), *g.parameters()], lr=float(config.learning_rate))
    softplus = torch.nn.functional.softplus

    def scores(rows: Any) -> Any:
        return f(xs[rows]) @ g(ys[rows]).T

    def off_diagonal(s: Any) -> Any:
        n = len(s)  # after the first entry, the diagonal is every (n+1)-th
        return s.flatten()[1:].view(n - 1, n + 1)[:, :-1].flatten()

    def objective(s: Any) -> Any:
        return -softplus(-s.diagonal()).mean() - softplus(off_diagonal(s)).mean()

    best, value = -math.inf, 0.0
    for step in range(config.steps):
        rows = parts[0][torch.randperm(len(parts[0]))[: config.batch_size]]
        optimizer.zero_grad()
        (-objective(scores(rows))).backward()
        optimizer.step()
        if (step + 1) % CHECK_EVERY == 0:
            with torch.no_grad():
                now = float(objective(scores(parts[1])))
                if now > best:
                    s, clip = scores(parts[2]), float(config.clip)
                    others = off_diagonal(s).clamp(-clip, clip)
                    best = now
                    value = float(s.diagonal().mean() - torch.logsumexp(others, 0) + math.log(len(others)))
    return time.perf_counter() - began, value


def main() -> None:
    use_every_core()
    print(machine())
    x, y = data()
    print(f"{COUNT} x {N} samples, {D}+{D} dimensions, {INFORMATION:g} nat {'':8s} {'s':>7s} {'ratio':>8s}")
    best = 0.0
    for estimator, count in CASES:
        seconds, compiled, found = measured(estimator, x[:count], y[:count])
        best = best or seconds
        scaled = seconds * COUNT / count
        label = f"{type(estimator).__name__} (compiled in {compiled:.1f} s)"
        print(row(label, scaled, 1, best, LIMIT if count == COUNT else None))
        off, error = np.asarray(found.value) - INFORMATION, np.asarray(found.std_error)
        print(
            f"    {seconds / count:.2f} s each; off by {off.mean():+.3f} on average, deviation {off.std():.3f}, "
            f"standard error {error.mean():.3f}, diverged {int(found.diagnostics['diverged'].sum())}"
        )
    try:
        seconds, value = torch_smile(x[0], y[0], SMILE())
    except ImportError:
        print("PyTorch is not installed")
        return
    print(row("PyTorch loop, SMILE, one core", seconds * COUNT, 1, best))
    print(f"    {seconds:.2f} s each; off by {value - INFORMATION:+.3f}")


if __name__ == "__main__":
    main()
