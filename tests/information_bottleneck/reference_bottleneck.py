"""Closed forms and readable NumPy versions that the bottleneck is held against. Nats."""

import numpy as np
from scipy.optimize import brentq


def binary_entropy(p):
    return -sum(np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0) for q in (np.asarray(p), 1 - np.asarray(p)))


def table(p_x, rows):
    return np.asarray(p_x, float), np.asarray(rows, float)


def binary_symmetric(p):
    """X a fair bit, Y its copy flipped with probability p."""
    return table([0.5, 0.5], [[1 - p, p], [p, 1 - p]])


def binary_symmetric_solution(p, beta):
    """(I(X;T), I(T;Y)) of Wyner and Ziv's curve at slope 1 / beta (Mrs Gerber's lemma); T is X flipped with q."""
    if beta * (1 - 2 * p) ** 2 <= 1:
        return 0.0, 0.0

    def noise(q):
        return p + q - 2 * p * q

    def slope(z):
        return beta * (1 - 2 * p) * np.log(1 / noise(1 / (1 + np.exp(z))) - 1) - z

    q = 1 / (1 + np.exp(brentq(slope, 1e-6, 700, xtol=1e-15, rtol=1e-14)))
    return np.log(2) - binary_entropy(q), np.log(2) - binary_entropy(noise(q))


def binary_erasure(e):
    """A fair bit Y seen through an erasure: X is 0, 1 or lost with probability e; here the input is what was seen."""
    return table([(1 - e) / 2, e, (1 - e) / 2], [[1, 0], [0.5, 0.5], [0, 1]])


def ultrametric_blocks(eigenvalues=(0.9, 0.6, 0.3)):
    """Eight inputs and labels in blocks of four in blocks of two: a symmetric channel whose eigenvectors are Haar's."""
    rows = np.full((8, 8), 1 / 8)
    for eigenvalue, size in zip(eigenvalues, (8, 4, 2), strict=True):
        sign = np.where(np.arange(8) // (size // 2) % 2, -1, 1)
        same = np.arange(8) // size == np.arange(8)[:, None] // size
        rows += eigenvalue / size * np.where(same, sign * sign[:, None], 0)
    return table(np.full(8, 1 / 8), rows)


def random_table(n, labels, seed=0, concentration=0.5):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n)), rng.dirichlet(np.full(labels, concentration), size=n)


def kl(p, s):
    """Of every row of p and of s."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = p[:, None] * (np.log(p[:, None]) - np.log(s[None]))
    return np.where(p[:, None] > 0, terms, 0).sum(axis=-1)


def step(p_x, p, beta, w, s):
    """The self-consistent equations as printed, and the free energy of the state given."""
    joint = w * np.exp(-beta * kl(p, s))
    z = joint.sum(axis=1)
    encoder = joint / z[:, None]
    new_w = p_x @ encoder
    return new_w, (p_x[:, None] * encoder).T @ p / new_w[:, None], -p_x @ np.log(z)


def log_c(p_x, p, beta, log_z, points):
    """ln c(s) at the points."""
    with np.errstate(divide="ignore"):
        return np.log((p_x * np.exp(-log_z)) @ np.exp(-beta * kl(p, points)))


def information(joint):
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    mass = joint > 0
    return (joint[mass] * np.log(joint[mass] / independent[mass])).sum()
