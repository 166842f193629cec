"""Estimators by nearest neighbours as their papers state them, in plain NumPy: all distances at once, row by row."""

import numpy as np
from scipy.special import digamma


def distances(a):
    """All distances in the maximum norm, in the precision of the rows."""
    a = np.asarray(a)
    a = a.reshape(len(a), -1)
    return np.abs(a[:, None, :] - a[None, :, :]).max(axis=2)


def kth_distance(d, k):
    """Distance of every row to its k-th nearest other row."""
    d = d.copy()
    np.fill_diagonal(d, np.inf)
    return np.sort(d, axis=1)[:, k - 1]


def ksg(x, y, k=3, variant=1):
    """Kraskov et al. (2004), equations 8 and 9; Gao et al. (2017) for rows whose k-th distance is 0."""
    dx, dy = distances(x), distances(y)
    joint = np.maximum(dx, dy)
    n = len(joint)
    local = []
    for i, radius in enumerate(kth_distance(joint, k)):
        others = np.arange(n) != i
        if radius == 0:
            c, cx, cy = ((d[i] == 0).sum() for d in (joint, dx, dy))
            local.append(digamma(c) - digamma(cx) - digamma(cy))
        elif variant == 1:
            nx, ny = ((d[i, others] < radius).sum() for d in (dx, dy))
            local.append(digamma(k) - digamma(nx + 1) - digamma(ny + 1))
        else:
            near = joint[i] <= radius
            nx, ny = ((d[i, others] <= d[i, near].max()).sum() for d in (dx, dy))
            local.append(digamma(k) - 1 / k - digamma(nx) - digamma(ny))
    return np.mean(local) + digamma(n)


def ross(x, labels, k=3):
    """Ross (2014), equation 2, for a label of each row; labels that occur once are left out."""
    x, labels = np.asarray(x), np.asarray(labels)
    _, where, times = np.unique(labels, return_inverse=True, return_counts=True)
    kept = times[where] > 1
    d, labels = distances(x)[np.ix_(kept, kept)], labels[kept]
    n = len(labels)
    local = []
    for i in range(n):
        same = np.flatnonzero(labels == labels[i])
        nearest = np.sort(d[i, same[same != i]])
        k_i = min(k, len(nearest))
        radius = nearest[k_i - 1]
        if radius == 0:
            k_i, inside = (d[i, same] == 0).sum(), (d[i] == 0).sum()
        else:
            inside = (d[i] < radius).sum()
        local.append(digamma(k_i) - digamma(len(same)) - digamma(inside))
    return np.mean(local) + digamma(n)


def conditional(x, y, z, k=3):
    """Frenzel & Pompe (2007); Mesner & Shalizi (2020) for rows whose k-th distance is 0."""
    dx, dy, dz = distances(x), distances(y), distances(z)
    dxz, dyz = np.maximum(dx, dz), np.maximum(dy, dz)
    joint = np.maximum(dxz, dy)
    local = []
    for i, radius in enumerate(kth_distance(joint, k)):
        if radius == 0:
            c, cxz, cyz, cz = ((d[i] == 0).sum() for d in (joint, dxz, dyz, dz))
        else:
            c, cxz, cyz, cz = k, *((d[i] < radius).sum() for d in (dxz, dyz, dz))
        local.append(digamma(c) - digamma(cxz) - digamma(cyz) + digamma(cz))
    return np.mean(local)


def entropy(x, k=3):
    """Kozachenko & Leonenko (1987) in the maximum norm."""
    x = np.asarray(x)
    x = x.reshape(len(x), -1)
    n, columns = x.shape
    radius = kth_distance(distances(x), k).astype(float)
    return digamma(n) - digamma(k) + columns * np.log(2 * radius).mean()
