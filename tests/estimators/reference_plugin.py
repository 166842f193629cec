"""Discrete entropies and informations as their papers write them, in NumPy float64; NSB in mpmath."""

from collections import Counter

import numpy as np


def plug_in(counts, alphabet):
    p = counts[counts > 0] / counts.sum()
    return -(p * np.log(p)).sum()


def miller_madow(counts, alphabet):
    return plug_in(counts, alphabet) + ((counts > 0).sum() - 1) / (2 * counts.sum())


def grassberger(counts, alphabet):
    """Grassberger (2003): G by its recurrence."""
    g = {1: -np.euler_gamma - np.log(2)}
    for even in range(2, counts.max() + 1, 2):
        g[even] = (2 - np.euler_gamma - np.log(2)) if even == 2 else g[even - 2] + 2 / (even - 1)
        g[even + 1] = g[even]
    n = counts.sum()
    return np.log(n) - sum(c * g[c] for c in counts.tolist() if c > 0) / n


def chao_shen(counts, alphabet):
    n, singletons = counts.sum(), (counts == 1).sum()
    if singletons == n:
        singletons = n - 1
    p = (1 - singletons / n) * counts[counts > 0] / n
    return -(p * np.log(p) / (1 - (1 - p) ** n)).sum()


def chao_wang_jost(counts, alphabet):
    """Chao, Wang & Jost (2013), with the sums written out."""
    n, f1, f2 = counts.sum(), (counts == 1).sum(), (counts == 2).sum()
    entropy = sum(c / n * (1 / np.arange(c, n)).sum() for c in counts[counts > 0])
    if f1 == 0:
        return entropy
    a = 2 * f2 / ((n - 1) * f1 + 2 * f2) if f2 > 0 else 2 / ((n - 1) * (f1 - 1) + 2)
    # sum_{r >= n} (1 - a)^(r - n + 1) / r, to where its terms are below 1e-18.
    r = np.arange(n, n + int(np.ceil(45 / a)))
    return entropy + f1 / n * ((1 - a) ** (r - n + 1.0) / r).sum()


def shrunk(counts, alphabet):
    """Hausser & Strimmer (2009), section 2: the weight of the uniform distribution."""
    n, p = counts.sum(), counts / counts.sum()
    distance = ((p - 1 / alphabet) ** 2).sum() + (alphabet - len(counts)) / alphabet**2
    return 1.0 if distance < 1e-20 or n == 1 else min(1.0, (1 - (p**2).sum()) / ((n - 1) * distance))


def shrinkage(counts, alphabet):
    weight = shrunk(counts, alphabet)
    p = np.concatenate([counts / counts.sum(), np.zeros(int(alphabet) - len(counts))])
    p = weight / alphabet + (1 - weight) * p
    p = p[p > 0]
    return -(p * np.log(p)).sum()


def nsb(counts, alphabet, digits=18, nodes=200):
    """Nemenman, Shafee & Bialek (2002): direct formulas in ln beta, with digits to spare."""
    import mpmath as mp

    with mp.workdps(2 * digits):
        size, n, times = mp.mpf(int(alphabet)), int(counts.sum()), Counter(int(c) for c in counts if c > 0)

        def log_density(v):
            beta = mp.e**v
            likelihood = sum(t * (mp.loggamma(c + beta) - mp.loggamma(beta)) for c, t in times.items())
            likelihood += mp.loggamma(size * beta) - mp.loggamma(n + size * beta)
            prior = size * mp.polygamma(1, size * beta + 1) - mp.polygamma(1, beta + 1)
            return likelihood + mp.log(prior * beta)

        def entropy(v):
            beta = mp.e**v
            total = n + size * beta
            psi = sum(t * (c + beta) * mp.digamma(c + beta + 1) for c, t in times.items())
            psi += (size - sum(times.values())) * beta * mp.digamma(beta + 1)
            return mp.digamma(total + 1) - psi / total

        low, high = -mp.log(size) - 70, mp.log(n) + 70
        for _ in range(4):
            v = [low + (high - low) * i / 40 for i in range(41)]
            density = [log_density(u) for u in v]
            inside = [i for i, d in enumerate(density) if d > max(density) - digits * mp.log(10)]
            low, high = v[max(inside[0] - 1, 0)], v[min(inside[-1] + 1, 40)]
        v = [low + (high - low) * i / nodes for i in range(nodes + 1)]
        density = [log_density(u) for u in v]
        weight = [mp.e ** (d - max(density)) for d in density]
        return float(sum(w * entropy(u) for w, u in zip(weight, v, strict=True)) / sum(weight))


ENTROPIES = {
    "none": plug_in,
    "miller-madow": miller_madow,
    "grassberger": grassberger,
    "chao-shen": chao_shen,
    "chao-wang-jost": chao_wang_jost,
    "shrinkage": shrinkage,
}
"""All but NSB, whose oracle is slow: correction -> entropy of counts."""


def information(table, correction, alphabet=None):
    """I(X;Y) of one table of counts."""
    x, y = alphabet or table.shape
    parts = (table.sum(axis=1), x), (table.sum(axis=0), y), (table.ravel(), x * y)
    if correction == "shrinkage":
        weight = shrunk(table.ravel(), x * y)
        joint = np.full((x, y), weight / (x * y))
        joint[: table.shape[0], : table.shape[1]] += (1 - weight) * table / table.sum()
        return true_information(joint)
    of_x, of_y, of_both = ((nsb if correction == "nsb" else ENTROPIES[correction])(*part) for part in parts)
    return of_x + of_y - of_both


def true_information(joint):
    p = joint[joint > 0]
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))[joint > 0]
    return (p * np.log(p / independent)).sum()
