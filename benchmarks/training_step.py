"""Training alone: microseconds per replica and step, 50 networks 12-10-7-5-4-3-2 at batch 64, on all cores.

Peers in the same run: a plain NumPy step (the tests' reference, batched over replicas), and PyTorch where it is
installed: its usual loop over replicas on one core, and `torch.func.vmap` over replicas. Run with
``python benchmarks/training_step.py``.
"""

import functools
import importlib.util
import itertools
import sys
import time
from pathlib import Path

import jax
import numpy as np
from timing import machine, median_seconds, row

from ibjax.experiments import SZT, study_of
from ibjax.sweep import use_every_core
from ibjax.sweep.plan import SLOTS
from ibjax.sweep.runner import Program
from ibjax.training import Slots

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

REPLICAS, BATCH, LIMIT = 50, 64, 6.0


def ours(epochs: int = 100) -> tuple[float, float]:
    """Seconds per replica and step, and seconds to compile."""
    study = study_of(SZT(replicas=REPLICAS, batch_size=BATCH))
    program = Program(study, min(len(jax.devices()), study.chunks))
    state = program.begin(np.arange(study.chunks * study.chunk))

    def go(count: int):
        nonlocal state
        state, _ = program.go(state, Slots(np.array([count] + [0] * (SLOTS - 1), np.int32), np.zeros(SLOTS, bool)))
        return state.epoch

    seconds = median_seconds(lambda: go(epochs))
    return seconds / epochs / REPLICAS / (len(study.data.train) / BATCH), program.seconds


def numpy_step() -> float:
    """Seconds per replica and step of the reference's batched NumPy training."""
    import reference

    from ibjax.datasets import szt

    data = szt()
    run = functools.partial(
        reference.train_and_measure, data.x, data.y, replicas=REPLICAS, batch_size=BATCH, learning_rate=0.05
    )
    # The difference takes away what measuring costs.
    began = time.perf_counter()
    run(epochs=[0])
    measuring = time.perf_counter() - began
    began = time.perf_counter()
    run(epochs=[60])
    return (time.perf_counter() - began - measuring) / 60 / REPLICAS / (3277 / BATCH)


def torch_steps() -> dict[str, float]:
    """Seconds per replica and step of PyTorch."""
    import torch

    widths = (12, 10, 7, 5, 4, 3, 2)
    x = torch.randint(0, 2, (BATCH, widths[0])).float()
    y = torch.randint(0, 2, (BATCH,))

    def network():
        layers = []
        for i, o in itertools.pairwise(widths[:-1]):
            layers += [torch.nn.Linear(i, o), torch.nn.Tanh()]
        return torch.nn.Sequential(*layers, torch.nn.Linear(widths[-2], widths[-1]))

    torch.set_num_threads(1)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)

    def loop():
        for _ in range(50):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()

    found = {"PyTorch, loop over replicas (one core)": median_seconds(loop, 5) / 50}
    torch.set_num_threads(torch.get_num_threads())
    params, _ = torch.func.stack_module_state([network() for _ in range(REPLICAS)])
    params = {name: value.detach() for name, value in params.items()}

    def loss(p, x, y):
        return torch.nn.functional.cross_entropy(torch.func.functional_call(net, p, (x,)), y)

    step = torch.func.vmap(torch.func.grad(loss))
    xs, ys = x.expand(REPLICAS, -1, -1), y.expand(REPLICAS, -1)

    def mapped():
        for _ in range(10):
            for name, g in step(params, xs, ys).items():
                params[name] -= 0.05 * g

    found["PyTorch, torch.func.vmap over replicas"] = median_seconds(mapped, 5) / 10 / REPLICAS
    return found


def main() -> None:
    use_every_core()
    print(machine())
    best, compiled = ours()
    print(f"compiled in {compiled:.1f} s; {REPLICAS} replicas, batch {BATCH}, shuffling included in ours and NumPy's")
    print(f"{'':44s} {'us/step':>10s} {'ratio':>8s}")
    print(row("ibjax", best, 1e-6, best, LIMIT))
    peers = {"NumPy, batched over replicas": numpy_step()}
    if importlib.util.find_spec("torch"):
        peers |= torch_steps()
    for name, seconds in peers.items():
        print(row(name, seconds, 1e-6, best))


if __name__ == "__main__":
    main()
