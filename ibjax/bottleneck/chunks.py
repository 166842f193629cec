"""Lanes through one compiled program, some at a time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

CHUNK = 8
"""Lanes of one program: those of a chunk run as long as the slowest, so that neighbouring betas share one."""


def in_chunks(function: Callable[..., Any], *trees: Any, chunk: int = CHUNK) -> Any:
    """Apply a compiled function to lanes chunk by chunk; one compiled program for all, the last chunk padded.

    Args:
        function: of arrays with a leading axis of lanes.
        *trees: arrays, or trees of them, with a leading axis of lanes.
        chunk: lanes of one call.

    Returns:
        What the function returns, of all lanes, in NumPy.
    """
    lanes = len(jax.tree.leaves(trees)[0])
    pieces = []
    for begin in range(0, lanes, chunk):
        take = np.minimum(np.arange(begin, begin + chunk), lanes - 1)
        pieces.append(function(*jax.tree.map(lambda a, take=take: a[take], trees)))
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves])[:lanes], *pieces)
