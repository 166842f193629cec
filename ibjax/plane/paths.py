"""What the search for phases and the search for transitions share: noise, smoothing and how a search ended."""

import enum
from typing import NamedTuple

import numpy as np
import scipy.ndimage
import scipy.optimize
from jaxtyping import Bool, Float, Num, Shaped

from ibjax.errors import InputError
from ibjax.plane.resampling import Estimate, bootstrap_interval

SPAN = 15
"""Snapshots that a parabola is fitted to, to tell noise from a path: 15 of 150 log-spaced ones are a factor of two."""
NEAR = SPAN + SPAN // 2
"""Windows to either side whose noise counts as that of a snapshot."""
KINK = 3.0
"""Squared residuals, over those of the windows around, that are more than noise."""
CORRELATIONS = np.linspace(0.0, 0.7, 71)
"""Correlations from one snapshot to the next that are told apart; what is larger counts as the largest.

What stays after noise that lasts longer is as smooth as a path is, and a path that falls would be taken for it."""
TIE = 3.0
"""Standard errors within which two smoothed values count as equal."""
WIDEST = np.log(10.0)
"""Log epochs that equal values may span before a place counts as flat: a factor of ten."""
BEYOND = 1e9
"""Stands for a right-censored log epoch in a median; anything averaged with it stays beyond every epoch."""


class PhaseStatus(enum.IntEnum):
    """How the search for a boundary in one path ended."""

    FOUND = 0
    NO_DROP = 1
    NO_RISE = 2
    FLAT = 3
    EDGE = 4
    UNREACHED = 5
    SHORT = 6
    MASKED = 7

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return {
            0: "found",
            1: "the path does not fall by more than its noise: there is none, the run ends before it, or one path is "
            "too noisy to show it",
            2: "the path does not rise before it falls: its peak is at or before the first snapshot",
            3: "equal values span more than a factor of ten in epochs: average replicas or take more snapshots",
            4: "the steepest place is at the first or the last window: train longer or take more snapshots",
            5: "the path is still changing at the last snapshot: train longer",
            6: "too few snapshots: take at least two windows of them",
            7: "a value is not finite: the replica diverged or was not measured",
        }[int(self)]


def log_epochs(
    epochs: Num[np.ndarray, " snapshots"], *paths: Shaped[np.ndarray, "..."]
) -> Float[np.ndarray, " snapshots"]:
    """Check what a search is given and return log(1 + epoch), the time that every search works in.

    The 1 keeps epoch 0, the network before training, at a finite place.

    Raises:
        InputError: epochs that do not increase from 0 or more, or paths that do not fit them or one another.
    """
    if epochs.ndim != 1 or not epochs.size or epochs[0] < 0 or not (np.diff(epochs) > 0).all():
        wrong = 0 if epochs.ndim != 1 or not epochs.size or epochs[0] < 0 else int(np.argmin(np.diff(epochs) > 0)) + 1
        raise InputError(f"epochs must increase from 0 or more, and do not at index {wrong}: give one a snapshot")
    for path in paths:
        if path.ndim < 2 or path.shape[-1] != epochs.size or path.shape != paths[0].shape:
            raise InputError(
                f"a path of shape {path.shape} does not fit {epochs.size} epochs: all must be of one shape, replicas "
                "first and snapshots last"
            )
    return np.log1p(epochs.astype(np.float64))


def check_window(window: int, margin: float) -> None:
    """Raise an `InputError` unless a window can be centred and a margin is positive."""
    if window < 3 or window % 2 == 0:
        raise InputError(f"window must be odd and at least 3 snapshots, got {window}")
    if not margin > 0:
        raise InputError(f"margin must be a positive number of standard errors, got {margin}")


class Parabolas(NamedTuple):
    """Windows of `SPAN` snapshots, all that there are, and what a parabola through one leaves of it.

    Attributes:
        left: what a window is multiplied by to get its residuals.
        squares: sum of squared residuals that noise of variance 1 leaves, for every one of `CORRELATIONS`.
        products: likewise the sum of products of neighbouring residuals.
    """

    left: Float[np.ndarray, "windows span span"]
    squares: Float[np.ndarray, "windows correlations"]
    products: Float[np.ndarray, "windows correlations"]


class Noise(NamedTuple):
    """Noise of a path: s_i of snapshot i and a correlation r^|i - j| of snapshots i and j.

    Attributes:
        sigma: standard deviation s_i of every snapshot.
        correlation: r, from one snapshot to the next; at most the largest of `CORRELATIONS`.
    """

    sigma: Float[np.ndarray, " snapshots"]
    correlation: float

    def errors(self, weights: Float[np.ndarray, "windows window"]) -> Float[np.ndarray, " windows"]:
        """Standard errors of weighted sums over every window: the root of s^2 w' R w, s that of the central snapshot.

        Args:
            weights: w, a row for each window of snapshots, of which there are snapshots - window + 1.
        """
        count, window = weights.shape
        centres = self.sigma[window // 2 :][:count]
        return centres * np.sqrt(np.einsum("ni,ij,nj->n", weights, _correlated(self.correlation, window), weights))


def parabolas(time: Float[np.ndarray, " snapshots"]) -> Parabolas:
    """The windows that `noise` is told from, for four snapshots or more.

    A parabola's residuals of noise y with the covariance R, R_ij = r^|i - j|, are M y with M the projection on what
    no parabola reaches. Their squares sum to trace(M R) on average, and products of neighbours to trace(M L M R), with
    L the matrix that shifts by one: residuals are less correlated than the noise is, and by how much is known.
    """
    window = min(SPAN, time.size - (time.size + 1) % 2)
    t = np.lib.stride_tricks.sliding_window_view(time, window)
    t = (t - t.mean(axis=-1, keepdims=True)) / np.ptp(t, axis=-1, keepdims=True)
    q, _ = np.linalg.qr(t[..., None] ** np.arange(3))
    left = np.eye(window) - q @ q.mT
    by_lag = [_along_diagonals(matrix) for matrix in (left, left[..., :-1] @ left[..., 1:, :])]
    powers = CORRELATIONS ** np.arange(window)[:, None]
    return Parabolas(left, *(sums @ powers for sums in by_lag))


def noise(windows: Parabolas, path: Float[np.ndarray, " snapshots"]) -> Noise:
    """Noise of the snapshots about a smooth path, with its scale that changes and its correlation.

    Of the residuals of the parabolas through all windows of `SPAN` snapshots, the sum of products of neighbours over
    that of squares grows with the correlation r of the noise, which it tells therefore. Windows with more than `KINK`
    times the squares around them are left out. The variance s^2 of a window is the sum of its squares over
    trace(M R), what noise of variance 1 leaves of it, and that of a snapshot is the median over the `NEAR` windows to
    either side, over (1 - 2 / (9 n))^3, a median over its mean at n = trace(M R)^2 / trace(M R M R) degrees of
    freedom. So kinks and jumps of the path, which a minority of windows see, count for little.

    s is never less than what the single precision that paths are stored in rounds, or a constant path would have none
    and its rounding a trend. What lasts longer than a window is not seen, and a negative r counts as 0.

    References:
        Cochrane & Orcutt (1949), "Application of least squares regression to relationships containing auto-correlated
        error terms", for r from residuals. Satterthwaite (1946) and Wilson & Hilferty (1931) for n and the median.
    """
    count, window = windows.left.shape[:2]
    rounding = max(float(np.finfo(np.float32).eps * np.abs(path).max()) ** 2, np.finfo(np.float64).tiny)
    rows = np.lib.stride_tricks.sliding_window_view(path, window)
    # A parabola has a constant part; without it large values cost no precision.
    left = np.einsum("nij,nj->ni", windows.left, rows - rows.mean(axis=-1, keepdims=True))
    squares = np.maximum((left**2).sum(axis=-1), rounding)
    products = (left[:, 1:] * left[:, :-1]).sum(axis=-1)
    around = _median_nearby(squares)
    kept = squares <= KINK * around
    ratio = products[kept].sum() / squares[kept].sum()
    ratios = (around[kept] @ windows.products[kept]) / (around[kept] @ windows.squares[kept])
    chosen = min(int((ratios < ratio).sum()), CORRELATIONS.size - 1)
    r = float(CORRELATIONS[chosen])
    expected = windows.squares[:, chosen]
    mixed = windows.left @ _correlated(r, window)
    freedom = expected**2 / np.einsum("nij,nji->n", mixed, mixed)
    variance = _median_nearby(squares / (expected * (1 - 2 / (9 * freedom)) ** 3))
    centres = np.clip(np.arange(path.size) - window // 2, 0, count - 1)
    return Noise(np.sqrt(np.maximum(variance, rounding))[centres], r)


def _correlated(r: float, window: int) -> np.ndarray:
    """Correlations r^|i - j|."""
    steps = np.arange(window)
    return r ** np.abs(steps - steps[:, None])


def _along_diagonals(matrices: np.ndarray) -> np.ndarray:
    """Sums of entries i, j of matrices by |i - j|."""
    size = matrices.shape[-1]
    below, above = ([matrices.diagonal(sign * lag, -2, -1).sum(axis=-1) for lag in range(size)] for sign in (-1, 1))
    return np.stack([above[0], *(a + b for a, b in zip(above[1:], below[1:], strict=True))], axis=-1)


def _median_nearby(values: np.ndarray) -> np.ndarray:
    """Median of the values up to `NEAR` places away; the ends have that of the first, or last, full row of them."""
    near = min(NEAR, (values.size - 1) // 2)
    places = np.clip(np.arange(values.size), near, values.size - 1 - near)
    return scipy.ndimage.median_filter(values, 2 * near + 1)[places]


def smooth(path: Float[np.ndarray, "*batch snapshots"], window: int) -> Float[np.ndarray, "*batch snapshots"]:
    """Mean over the centred window of snapshots, of which the ends have only a part."""
    count = path.shape[-1]
    low = np.maximum(np.arange(count) - window // 2, 0)
    high = np.minimum(np.arange(count) + window // 2 + 1, count)
    total = np.concatenate([np.zeros((*path.shape[:-1], 1)), np.cumsum(path, axis=-1)], axis=-1)
    return (total[..., high] - total[..., low]) / (high - low)


def unimodal_error(path: Float[np.ndarray, " snapshots"], top: int, window: int) -> float:
    """Standard error of a window's mean, from what a path that rises to ``top`` and then falls does not explain.

    Root mean square of the window means of the residuals of the least-squares monotone fits before and after top.
    Unlike `noise`, it sees what lasts longer than `SPAN` snapshots, as long as it is not monotone.
    """
    before = scipy.optimize.isotonic_regression(path[: top + 1]).x
    after = scipy.optimize.isotonic_regression(path[top:], increasing=False).x
    left = path - np.concatenate([before[:-1], after])
    means = np.lib.stride_tricks.sliding_window_view(left, window).mean(axis=-1)
    return float(np.sqrt((means**2).mean()))


def span(time: Float[np.ndarray, " snapshots"], where: Bool[np.ndarray, " snapshots"]) -> float:
    """Log epochs from the first to the last marked snapshot."""
    marked = time[where]
    return float(marked[-1] - marked[0])


def median_epoch(log_epoch: Float[np.ndarray, " replicas"], level: float, seed: int) -> Estimate:
    """Median of epochs over replicas with its percentile-bootstrap interval.

    Args:
        log_epoch: log(1 + epoch); NaN leaves a replica out, inf is an epoch beyond the last one.
        level: of the interval.
        seed: of the resampling; the order of the replicas does not matter.

    Returns:
        Epochs; inf where the median, or a bound of it, lies beyond the last epoch.
    """
    known = np.sort(log_epoch[~np.isnan(log_epoch)])
    known[np.isinf(known)] = BEYOND
    found = bootstrap_interval(np.median, known, level=level, seed=seed, method="percentile", expand=False)
    return Estimate(*(np.inf if value > BEYOND / 4 else float(np.expm1(value)) for value in found))


def median_epochs(log_epoch: Float[np.ndarray, "replicas *layers"], level: float, seed: int) -> Estimate:
    """`median_epoch` of every layer."""
    layers = log_epoch.shape[1:]
    found = [median_epoch(log_epoch[:, *layer], level, seed) for layer in np.ndindex(*layers)]
    return Estimate(*(np.reshape(values, layers) for values in zip(*found, strict=True)))
