"""What replication costs: many replicas against few, two processes against one, storing, resuming and opening.

Every measurement is a process of its own, so that its peak memory and CPU time are its own; those that are compared
take turns. The numbers to reach:

* 5,000 replicas of the 12-bit task, 100 epochs, binned information at about 20 snapshots: time per replica at most
  15 % above that of 50 replicas, memory under `LIMIT_GIB`, and no more in the second half of the run than in the first.
* Two processes of one core each are 1.8 times as fast as one process of one core. What the machine allows, two runs at
  once that know nothing of each other, stands beside it.
* Storing takes less than 2 % of the run, by the time that nothing is trained and by a run in memory; resuming less than
  10 s, besides the one segment that an interruption costs; opening 10,000 replicas x 150 snapshots x 6 layers less
  than 1 s.

Ratios of CPU time stand beside those of wall time: they are what a machine that does other work as well can tell. On
an accelerator the first of them is all that is measured. Run with ``python benchmarks/replication.py``; ``--replicas``
and ``--epochs`` make it smaller.
"""

import argparse
import dataclasses
import functools
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

FEW, EPOCHS, SNAPSHOTS, TURNS = 50, 100, 20, 3
SHARED = 400
"""Replicas that processes share, and that are stored or not: so many that beginning and end count for little."""
LIMIT_GIB = 1.5
STORED = {"replicas": 10_000, "snapshots": 150, "layers": 6}


def study(replicas: int, epochs: int) -> Any:
    """The 12-bit task with about `SNAPSHOTS` looks."""
    from ibjax.experiments import SZT, study_of

    return study_of(SZT(replicas=replicas, epochs=epochs, snapshots=SNAPSHOTS))


# What the processes do -------------------------------------------------------------------------------------------


class Memory(threading.Thread):
    """Resident memory over time, GiB."""

    def __init__(self) -> None:
        """Measure nothing yet."""
        super().__init__(daemon=True)
        self.seen: list[float] = []

    def run(self) -> None:
        """Look again and again."""
        page = os.sysconf("SC_PAGE_SIZE")
        while True:
            self.seen.append(int(Path("/proc/self/statm").read_text().split()[1]) * page / 2**30)
            time.sleep(0.05)


def run_once(folder: str, replicas: int, epochs: int, cores: int = 0, processes: int = 1, index: int = 0) -> dict:
    """A run, in one process or in one of several; ``cores`` 0 leaves it all, an empty ``folder`` is none."""
    if cores:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[index * cores : (index + 1) * cores]))
    from ibjax.sweep import use_every_core

    use_every_core(cores or None)
    if processes == 1:
        return _run(folder, replicas, epochs)
    from ibjax.sweep.processes import joined

    with joined(f"127.0.0.1:{Path(folder).with_suffix('.port').read_text()}", processes, index):
        return _run(folder, replicas, epochs)


def _run(folder: str, replicas: int, epochs: int) -> dict:
    from ibjax.sweep import run, runner

    made, begun = study(replicas, epochs), []
    compiled, ended, go = [], [], runner.Program.go

    def first(self, state, slots):
        if not begun:
            begun.append(time.perf_counter())
            compiled.append((self.seconds, _cpu(), len(memory.seen)))
            print("trains", flush=True)
        trained = go(self, state, slots)
        ended.append(len(memory.seen))
        return trained

    memory = Memory()
    memory.start()
    runner.Program.go = first
    start = time.perf_counter()
    plane = run(made, folder or None, resume=bool(folder), progress=False)
    wall, cpu = time.perf_counter() - begun[0], _cpu() - compiled[0][1]
    training = memory.seen[compiled[0][2] : ended[-1]]
    half = len(training) // 2
    return {
        "wall": wall,
        "cpu": cpu,
        "before": begun[0] - start,
        "compile": compiled[0][0],
        "seconds": json.loads(plane.attrs["seconds"]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "halves": [max(training[:half]), max(training[half:])],
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say_machine() -> dict:
    import jax
    from timing import machine

    return {"text": machine(), "cpu": jax.default_backend() == "cpu"}


def store_many(folder: str) -> dict:
    """Write a finished store of many replicas without training them."""
    import numpy as np

    from ibjax.plane.schema import VARIABLES
    from ibjax.sweep import store
    from ibjax.sweep.record import Record, Region

    made = dataclasses.replace(study(STORED["replicas"], 10_000), settings={})
    target = store.create(
        Path(folder),
        epochs=np.arange(STORED["snapshots"]),
        widths=made.widths,
        replicas=made.replicas,
        chunk=made.chunk,
        estimators=["binning"],
        attrs={"title": "many", "config": made.identity, "seed": 0},
    )
    chance = np.random.default_rng(0)
    for name in VARIABLES:
        array = target.arrays[name]
        array[...] = chance.random(array.shape, np.float32).astype(array.dtype)
    (Path(folder) / store.STATES).mkdir()
    regions = {part: (Region(0, STORED["snapshots"], 0),) for part in target.parts}
    for chunk in range(target.chunks):
        target.records[chunk] = Record(1, STORED["snapshots"], regions)
        target.commit(chunk)
    target.note(status=store.FINISHED, seconds={})
    return {}


def open_many(folder: str) -> dict:
    """Open it, for the first time in this process and again."""
    import ibjax
    import ibjax.sweep  # what importing takes is not what opening does

    wall, cpu, sizes = [], [], {}
    for _ in range(TURNS):
        began = time.perf_counter(), _cpu()
        sizes = dict(ibjax.open(folder).sizes)
        wall.append(time.perf_counter() - began[0])
        cpu.append(_cpu() - began[1])
    return {"wall": wall, "cpu": cpu, "sizes": sizes}


# Measurements ----------------------------------------------------------------------------------------------------


def start(call: str, *arguments: Any) -> subprocess.Popen:
    """A process that makes a call and prints what comes of it."""
    code = f"import replication, json; print(json.dumps(replication.{call}(*{arguments!r})), flush=True)"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )


def result(process: subprocess.Popen) -> dict:
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a measurement failed with status {process.returncode}")
    return json.loads(said.splitlines()[-1])


def verdict(name: str, value: float, limit: float, *, least: bool = False) -> str:
    """A line: the value and whether it meets its limit."""
    met = value >= limit if least else value <= limit
    return f"{name:76s} {value:9.3f}   {'at least' if least else 'limit'} {limit:g}: {'met' if met else 'MISSED'}"


def replicas_many(folder: Path, many: int, epochs: int) -> None:
    """Many replicas against few, in turns."""
    few, large = [], []
    for turn in range(TURNS):
        few.append(result(start("run_once", str(folder / f"few-{turn}"), FEW, epochs)))
        if not turn:
            large.append(result(start("run_once", str(folder / "many"), many, epochs)))
    for name, ran, replicas in (("few", few, FEW), ("many", large, many)):
        wall, cpu = (statistics.median(one[key] for one in ran) for key in ("wall", "cpu"))
        print(
            f"{replicas} replicas, {epochs} epochs: {1e3 * wall / replicas:.2f} ms wall and {1e3 * cpu / replicas:.2f} "
            f"ms CPU a replica; compiled in {ran[0]['compile']:.1f} s; peak {max(one['peak'] for one in ran):.2f} GiB"
            f" ({name})"
        )
    for key in ("wall", "cpu"):
        one, other = (statistics.median(one[key] for one in ran) for ran in (few, large))
        print(verdict(f"{key} time a replica, {many} against {FEW}", other / many / (one / FEW), 1.15))
    (ran,) = large
    print(verdict("peak memory, GiB", ran["peak"], LIMIT_GIB))
    print(
        verdict(
            "memory of the second half of the run over that of the first", ran["halves"][1] / ran["halves"][0], 1.05
        )
    )
    seconds = ran["seconds"]
    print(verdict("storing, share of the run", seconds["write"] / (seconds["write"] + seconds["train"]), 0.02))


def storing(folder: Path, epochs: int) -> None:
    """A run that is stored against one in memory, in turns."""
    ran = [
        [result(start("run_once", where, SHARED, epochs)) for where in (str(folder / f"s{turn}"), "")]
        for turn in range(TURNS)
    ]
    for key in ("wall", "cpu"):
        stored, kept = (statistics.median(one[key] for one in each) for each in zip(*ran, strict=True))
        print(verdict(f"storing, {key} time of {SHARED} replicas over that in memory, less 1", stored / kept - 1, 0.02))


def processes_two(folder: Path, epochs: int) -> None:
    """Two processes of one core each against one, in turns, and two that are not one run."""
    one, two, apart = [], [], []
    for turn in range(TURNS):
        one.append(result(start("run_once", str(folder / f"one-{turn}"), SHARED, epochs, 1)))
        both = folder / f"two-{turn}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            both.with_suffix(".port").write_text(str(free.getsockname()[1]))
        started = [start("run_once", str(both), SHARED, epochs, 1, 2, index) for index in range(2)]
        two.append([result(process) for process in started])
        alone = str(folder / f"apart-{turn}-")
        started = [start("run_once", alone + str(i), SHARED // 2, epochs, 1, 1, i) for i in range(2)]
        apart.append([result(process) for process in started])

    def gained(runs: list[list[dict]]) -> tuple[float, float]:
        wall, cpu = (statistics.median(run[key] for run in one) for key in ("wall", "cpu"))
        slower = statistics.median(max(run["wall"] for run in pair) for pair in runs)
        return wall / slower, 2 * cpu / statistics.median(sum(run["cpu"] for run in pair) for pair in runs)

    wall, cpu = gained(two)
    print(verdict("two processes of one core against one, by wall time", wall, 1.8, least=True))
    print(verdict("the same by CPU time", cpu, 1.8, least=True))
    print(
        f"two runs of half the replicas at once, by wall and CPU time: {gained(apart)[0]:.3f}, {gained(apart)[1]:.3f}"
    )


def resuming(folder: Path, epochs: int) -> None:
    """A run is killed; from its start to the first step of the one that goes on."""
    process = start("run_once", str(folder / "resumed"), FEW, epochs)
    assert process.stdout is not None
    while process.stdout.readline() != "trains\n":
        pass
    while not list((folder / "resumed" / "state").glob("*.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = result(start("run_once", str(folder / "resumed"), FEW, epochs))
    print(verdict(f"resuming, seconds, of which {found['compile']:.1f} compile", found["before"], 10))


def opening(folder: Path) -> None:
    result(start("store_many", str(folder / "stored")))
    found = result(start("open_many", str(folder / "stored")))
    sizes = " x ".join(str(found["sizes"][name]) for name in ("replica", "snapshot", "layer"))
    for key in ("wall", "cpu"):
        print(verdict(f"opening {sizes}, {key} seconds, the first time", found[key][0], 1))
        print(verdict(f"opening it again, {key} seconds", min(found[key]), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=5000, help="how many are many")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()
    said = result(start("say_machine"))
    print(said["text"], f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        parts = [functools.partial(replicas_many, many=args.replicas)]
        if said["cpu"]:
            parts += [storing, processes_two, resuming]
        for part in parts:
            part(Path(name), epochs=args.epochs)
            sys.stdout.flush()
        if said["cpu"]:
            opening(Path(name))


if __name__ == "__main__":
    main()
