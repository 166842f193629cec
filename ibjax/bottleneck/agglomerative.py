"""The agglomerative bottleneck: from every input by itself to one cluster, each time the merge that costs least."""

from typing import Any, NamedTuple

import numpy as np

from ibjax.bottleneck.batch import TABLE, batched
from ibjax.bottleneck.reduce import MERGE_TOLERANCE, Reduction, reduce
from ibjax.bottleneck.table import Table
from ibjax.errors import InputError
from ibjax.information import mutual_information

LARGEST = 2**14
"""Most distinct inputs: the losses of all pairs take 2 GB then."""
TINY = float(np.finfo(np.float64).tiny)
"""Stands for 0 in a logarithm that is multiplied by 0."""


class Agglomeration(NamedTuple):
    """A tree of hard clusterings of m distinct inputs; informations in nats.

    Attributes:
        linkage: the m - 1 merges as SciPy writes them, shape (m - 1, 4): the two clusters, the height, how many
            distinct inputs the new cluster has. Distinct input i is cluster i, merge k makes cluster m + k. The height
            is what has been lost of I(T;Y) up to and with this merge, so that it never falls.
        loss: of I(T;Y) by each merge alone, shape (m - 1,). It may fall from one merge to the next.
        complexity: I(X;T) = H(T) of 1, 2, ... m clusters, shape (m,).
        relevance: I(T;Y) of 1, 2, ... m clusters, shape (m,).
        reduction: the distinct inputs, and which of them every input of the table is.
    """

    linkage: np.ndarray
    loss: np.ndarray
    complexity: np.ndarray
    relevance: np.ndarray
    reduction: Reduction

    def labels(self, clusters: int) -> np.ndarray:
        """The cluster of every input of the table when there are so many, shape (n,); -1 for inputs without mass.

        Clusters are numbered in the order of their first distinct input, `Reduction.table`.

        Raises:
            InputError: there never are so many clusters.
        """
        m = len(self.complexity)
        if not 1 <= clusters <= m:
            raise InputError(f"clusters is {clusters}: this tree has between 1 and {m}")
        # Of every cluster the one that it ends in: later merges first.
        final = np.arange(2 * m - 1)
        for k in reversed(range(m - clusters)):
            final[self.linkage[k, :2].astype(np.int64)] = final[m + k]
        _, first, inverse = np.unique(final[:m], return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        return np.concatenate([rank[inverse], [-1]])[self.reduction.index]


@batched(joint=TABLE, stack=False)
def agglomerative(joint: Any, *, merge_tolerance: float = MERGE_TOLERANCE) -> Agglomeration:
    """Merge inputs pair by pair, always the two clusters whose merger loses least of I(T;Y).

    loss(t, u) = (p(t) + p(u)) JS(p(y|t), p(y|u)) = p(t) KL(p(y|t) || p(y|t,u)) + p(u) KL(p(y|u) || p(y|t,u)),

    which is by how much I(T;Y) falls. The tree needs no beta and no number of clusters. It is greedy: the clustering of
    a given size is a good one, not the best; `deterministic` improves it at a beta, `solve` finds the best soft one.

    Inputs with equal p(y|x) are merged first, which loses nothing. The losses of all pairs are kept, 8 m^2 bytes of m
    distinct inputs (134 MB of 4096). Every cluster remembers its cheapest partner; one whose partner has gone is looked
    at again only when its old loss, from then on a bound from below, is the least of all.

    Args:
        joint: see `ibjax.bottleneck.solve`; with leading axes several problems, one after the other.
        merge_tolerance: see `ibjax.bottleneck.reduce`; a larger one makes fewer distinct inputs.

    Returns:
        The tree. `scipy.cluster.hierarchy.dendrogram(found.linkage)` draws it, and the other functions there take it.
        With leading axes an array of trees, for they have sizes of their own.

    Raises:
        InputError: the table is wrong, or has more than 16,384 distinct inputs.

    Example:
        >>> rows = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]])
        >>> found = agglomerative((np.full(4, 0.25), rows))
        >>> found.labels(2)
        array([1, 1, 0, 0])
        >>> found.relevance.round(3)
        array([0.   , 0.27 , 0.275, 0.28 ])

    References:
        Slonim & Tishby (1999), "Agglomerative information bottleneck", equations 6 to 9.
        Muellner (2011), "Modern hierarchical, agglomerative clustering algorithms", section 3.1.
    """
    return agglomerate(reduce(joint, merge_tolerance))


def agglomerate(reduction: Reduction) -> Agglomeration:
    """The tree of a reduced table."""
    p_x, p = reduction.table
    if len(p_x) > LARGEST:
        raise InputError(
            f"the table has {len(p_x)} distinct inputs, more than {LARGEST}: give a larger merge_tolerance, so that "
            "inputs that are almost equal are one"
        )
    pairs, loss, mass = _merge_all(reduction.table)
    lost = np.cumsum(np.concatenate([[0.0], loss]))
    relevance = np.maximum(mutual_information(p_x[:, None] * p) - lost, 0.0)
    relevance[-1] = 0.0  # nothing but rounding
    return Agglomeration(
        linkage=_linkage(pairs, loss),
        loss=loss,
        complexity=_entropies(p_x, mass)[::-1],
        relevance=relevance[::-1],
        reduction=reduction,
    )


def _merge_all(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slots of the two clusters of every merger, what it loses, and the masses of both.

    The merged cluster takes the first slot, and the second is empty from then on.
    """
    joint = np.ascontiguousarray((table.p_x[:, None] * table.p_y_given_x).T)
    m = len(table.p_x)
    own = negative_entropy(joint)
    losses = np.empty((m, m))
    for i in range(m):
        losses[i] = _losses(joint, own, i, np.arange(m))
    np.fill_diagonal(losses, np.inf)
    partner = losses.argmin(axis=1)
    least = losses.min(axis=1)
    stale = np.zeros(m, bool)
    live = np.arange(m)
    pairs, loss, mass = np.empty((m - 1, 2), np.int64), np.empty(m - 1), np.empty((m - 1, 2))
    for k in range(m - 1):
        i = least.argmin()
        while stale[i]:
            partner[i] = losses[i].argmin()
            least[i], stale[i] = losses[i, partner[i]], False
            i = least.argmin()
        i, j = sorted((int(i), int(partner[i])))
        pairs[k], loss[k], mass[k] = (i, j), losses[i, j], joint[:, [i, j]].sum(axis=0)

        joint[:, i] += joint[:, j]
        own[i] = negative_entropy(joint[:, i])
        live = live[live != j]
        new = np.full(m, np.inf)
        new[live] = _losses(joint, own, i, live)
        new[i] = np.inf
        losses[i], losses[:, i], losses[:, j] = new, new, np.inf
        stale |= (partner == i) | (partner == j)
        nearer = new < least
        least[nearer], partner[nearer], stale[nearer] = new[nearer], i, False
        partner[i] = new.argmin()
        least[i], stale[i], least[j] = new[partner[i]], False, np.inf
    return pairs, loss, mass


def _losses(joint: np.ndarray, own: np.ndarray, i: int, others: np.ndarray) -> np.ndarray:
    """What the merger of one cluster with each of the others loses; rounding must not make it a gain."""
    merged = negative_entropy(joint[:, others] + joint[:, i, None])
    return np.maximum(own[others] + own[i] - merged, 0.0)


def negative_entropy(joint: Any, axis: int = 0) -> Any:
    """-p(t) H(Y|t) of rows p(t,y), labels along the axis; a merger loses that of both less that of their sum."""
    return xlogx(joint).sum(axis=axis) - xlogx(joint.sum(axis=axis))


def xlogx(x: Any) -> Any:
    """``x ln x``, 0 of 0: half the time of `xlogy`."""
    return x * np.log(np.maximum(x, TINY))


def _linkage(pairs: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Mergers of slots as SciPy's mergers of clusters."""
    m = len(pairs) + 1
    cluster, count = np.arange(m), np.ones(m, np.int64)
    linkage = np.empty((m - 1, 4))
    linkage[:, 2] = np.cumsum(loss)
    for k, (i, j) in enumerate(pairs):
        count[i] += count[j]
        linkage[k, :2], linkage[k, 3] = sorted((cluster[i], cluster[j])), count[i]
        cluster[i] = m + k
    return linkage


def _entropies(p_x: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """H(T) of m, m - 1, ... 1 clusters: a merger takes away what tells its two clusters apart."""
    falls = xlogx(mass.sum(axis=1)) - xlogx(mass).sum(axis=1)
    entropies = -xlogx(p_x).sum() - np.cumsum(np.concatenate([[0.0], falls]))
    entropies[-1] = 0.0
    return np.maximum(entropies, 0.0)
