"""Lanes through one compiled program, some at a time."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 8
"""Lanes of one program: those of a chunk run as long as the slowest, so that neighbouring betas share one."""


def in_chunks(function: Callable[..., Any], *trees: Any, chunk: int = CHUNK, side_by_side: bool = False) -> Any:
    """Apply a compiled function to lanes chunk by chunk; one compiled program for all, the last chunk padded.

    One chunk after another, or several side by side: small programs keep one core busy and little more. But two that
    factorise matrices with LAPACK, from two threads, can wait for each other's share of the cores for ever.

    Args:
        function: of arrays with a leading axis of lanes.
        *trees: arrays, or trees of them, with a leading axis of lanes.
        chunk: lanes of one call.
        side_by_side: run as many chunks at a time as there are cores; only for programs without LAPACK.

    Returns:
        What the function returns, of all lanes, in NumPy.
    """
    lanes = len(jax.tree.leaves(trees)[0])
    begins = range(0, lanes, chunk)
    # What is set for a while holds in this thread alone.
    double, device = jnp.result_type(float) == jnp.float64, jnp.zeros(()).device

    def piece(begin: int) -> Any:
        take = np.minimum(np.arange(begin, begin + chunk), lanes - 1)
        return function(*jax.tree.map(lambda a: a[take], trees))

    def alone(begin: int) -> Any:
        with jax.enable_x64(double), jax.default_device(device):
            return jax.block_until_ready(piece(begin))

    if side_by_side:
        # Two threads would both compile; the first chunk is compiled alone.
        first = alone(0)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pieces = [first, *pool.map(alone, begins[1:])]
    else:
        pieces = [piece(begin) for begin in begins]
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves])[:lanes], *pieces)
