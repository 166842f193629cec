"""The main job as a user runs it: wall time, compile time and peak memory of `ibjax run szt`, each in its own process.

Runs the small job (5 replicas, 300 epochs) and jobs of 50 replicas at growing numbers of epochs, to show that memory
does not grow with them; ``--full`` adds the 10,000 epochs of the study. Run with
``python benchmarks/main_job.py [--full]``.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import machine

import ibjax


def job(folder: Path, replicas: int, epochs: int) -> tuple[float, float]:
    """Wall seconds, and peak memory in GiB of the largest process so far."""
    command = [sys.executable, "-m", "ibjax", "run", "szt", "--out", str(folder)]
    began = time.perf_counter()
    subprocess.run([*command, "--replicas", str(replicas), "--epochs", str(epochs)], check=True, capture_output=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return time.perf_counter() - began, peak / 2**20 if sys.platform != "darwin" else peak / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="add 50 replicas x 10,000 epochs")
    args = parser.parse_args()
    print(machine())
    print("replicas  epochs   wall s  compile s   train s   write s  peak GiB   limits")
    sizes = [(5, 300, "30 s"), (50, 100, ""), (50, 1000, "1.5 GiB")] + [
        (50, 10_000, "240 s, 15 s, 1.5 GiB")
    ] * args.full
    with tempfile.TemporaryDirectory() as folder:
        for replicas, epochs, limits in sizes:
            out = Path(folder) / f"{replicas}-{epochs}"
            wall, peak = job(out, replicas, epochs)
            part = json.loads(ibjax.open(out).attrs["seconds"])
            print(
                f"{replicas:8d} {epochs:7d} {wall:8.1f} {part['compile']:10.1f} {part['train']:9.1f} "
                f"{part['write']:9.1f} {peak:9.2f}   {limits}",
                flush=True,
            )


if __name__ == "__main__":
    main()
