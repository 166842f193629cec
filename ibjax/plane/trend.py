"""Whether numbers rise or fall along the layers: one rank correlation a replica."""

import numpy as np
from jaxtyping import Float

FEWEST = 3
"""Layers that an order is read from."""


def depth_trend(values: Float[np.ndarray, "replicas layers"]) -> Float[np.ndarray, " replicas"]:
    """Return Spearman's rank correlation of each replica's values with the depth of their layers, ties at mean rank.

    Args:
        values: one a layer, in the order of the network. NaN leaves a layer out; inf is a right-censored value, above
            all that are known and tied with the other censored ones.

    Returns:
        From -1, falls at every layer, to 1. 0 where all are equal. NaN where all are censored, whose order is not
        known, and with fewer than 3 layers.

    Example:
        >>> depth_trend(np.array([[np.inf, np.inf, 5.0, 2.0], [1.0, 1.0, 1.0, 1.0]])).round(2)
        array([-0.95,  0.  ])
    """
    from scipy import stats

    found = np.full(len(values), np.nan)
    for replica, row in enumerate(values):
        known = ~np.isnan(row)
        if known.sum() < FEWEST or np.isinf(row[known]).all():
            continue
        ranks = stats.rankdata(row[known])
        depth = np.arange(known.sum()) - (known.sum() - 1) / 2
        spread = np.sqrt(((ranks - ranks.mean()) ** 2).sum() * (depth**2).sum())
        found[replica] = (ranks - ranks.mean()) @ depth / spread if spread > 0 else 0.0
    return found
