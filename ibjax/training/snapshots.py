"""When a run is looked at."""

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
        [0, 1, 2, 4, 7, 14, 27, 52, 101, 194, 373, 720, 1000]
    """
    if count > epochs:
        return np.arange(epochs + 1)
    # Early epochs round to the same integer: draw more points until enough different ones are left.
    for points in range(count, 100 * count):
        chosen = np.unique(np.geomspace(1, epochs, points).round().astype(int))
        if len(chosen) >= count - 1:
            break
    return np.concatenate([[0], chosen])
