"""When a run is looked at."""

import bisect

import numpy as np
from jaxtyping import Int


def snapshot_epochs(epochs: int, count: int) -> Int[np.ndarray, " snapshots"]:
    """Log-spaced epochs from 0 (before training) to the last, every early one among them.

    Args:
        epochs: the last epoch.
        count: about how many; fewer if there are not that many epochs.

    Returns:
        Increasing epochs, the first 0 and the last ``epochs``.

    Example:
        >>> [int(epoch) for epoch in snapshot_epochs(1000, 12)]
        [0, 1, 2, 4, 7, 12, 23, 43, 81, 152, 285, 534, 1000]
    """
    if count > epochs:
        return np.arange(epochs + 1)

    def spaced(points: int) -> np.ndarray:
        return np.unique(np.geomspace(1, epochs, points).round().astype(int))

    # Early epochs round to the same integer: take as many points as leave enough different ones.
    most = 2 * count
    while len(spaced(most)) < count - 1:
        most *= 2
    points = bisect.bisect_left(range(most), count - 1, lo=count, key=lambda p: len(spaced(p)))
    return np.concatenate([[0], spaced(points)])
