"""What every benchmark shares: medians of blocked calls, and the machine they were measured on."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax


def machine() -> str:
    """Processor, cores and versions, for the first line of every table."""
    cpu = platform.processor() or "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    packages = ", ".join(f"{name} {version(name)}" for name in ("ibjax", "jax", "flax", "numpy"))
    return f"{cpu}, {os.cpu_count()} cores, {len(jax.devices())} JAX devices ({jax.default_backend()}); {packages}"


def median_seconds(function: Callable[[], Any], repeats: int = 7) -> float:
    """Median wall time of a call, after one that is not counted; waits for JAX's results."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def row(name: str, seconds: float, unit: float, best: float, limit: float | None = None) -> str:
    """One line of a table: time in units, the ratio to ours, and whether a stated limit is met."""
    verdict = "" if limit is None else f"   limit {limit:g}: {'met' if seconds / unit <= limit else 'MISSED'}"
    return f"{name:44s} {seconds / unit:10.2f} {seconds / best:8.1f} x{verdict}"
