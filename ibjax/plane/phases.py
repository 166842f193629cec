"""Phases of a path through the information plane: its start A, its peak C and its plateau E."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from ibjax.errors import InputError
from ibjax.plane.paths import (
    TIE,
    WIDEST,
    Parabolas,
    PhaseStatus,
    check_window,
    log_epochs,
    median_epochs,
    noise,
    parabolas,
    smooth,
    span,
    unimodal_error,
)
from ibjax.plane.resampling import Estimate, check_level

KNOTS = 4
"""Candidate places of a kink from one snapshot to the next."""
TOP = 1 / 3
"""Share of the drop, or of the rise, that the fit to the peak reaches down to."""
SHOULDER = 0.1
"""Share of the drop after which the fit to the fall begins."""
PLATEAU_CHANGE = 0.2
"""Share of the drop by which I(X;T) may still change after E."""
PLATEAU_SLOPE = 1 / 3
"""Share of the slope of the fall that may be left after E."""
LEAST = np.finfo(np.float64).tiny


class Phases(NamedTuple):
    """Boundaries of the phases of every path; arrays of shape (replicas, *layers) unless said otherwise.

    Attributes:
        start: epoch of A, the first snapshot.
        peak: epoch of C, the peak of I(X;T); NaN where ``peak_status`` is not ``FOUND``.
        plateau: epoch of E, where I(X;T) stops falling; NaN where ``plateau_status`` is not ``FOUND``.
        compresses: I(X;T) falls after its peak by more than noise.
        peak_status: `PhaseStatus` of C, as integers.
        plateau_status: `PhaseStatus` of E, as integers. ``UNREACHED`` is right-censored at the last epoch.
        complexity: smoothed I(X;T) at A, C and E, shape (replicas, *layers, 3); NaN where there is no such epoch.
        relevance: likewise I(T;Y).
        drop: I(X;T) at its smoothed peak minus its mean over the last window; NaN if masked or too short.
        noise: standard deviation of I(X;T) about a smooth path, median over snapshots.
        peak_interval: median over replicas of the epochs of C that were found and its bootstrap interval, each
            bound of shape (*layers).
        plateau_interval: likewise of E, over the replicas that compress; an unreached one counts as later than
            every epoch, so that the median, or a bound, may be inf.
    """

    start: Float[np.ndarray, "replicas *layers"]
    peak: Float[np.ndarray, "replicas *layers"]
    plateau: Float[np.ndarray, "replicas *layers"]
    compresses: Bool[np.ndarray, "replicas *layers"]
    peak_status: Int[np.ndarray, "replicas *layers"]
    plateau_status: Int[np.ndarray, "replicas *layers"]
    complexity: Float[np.ndarray, "replicas *layers 3"]
    relevance: Float[np.ndarray, "replicas *layers 3"]
    drop: Float[np.ndarray, "replicas *layers"]
    noise: Float[np.ndarray, "replicas *layers"]
    peak_interval: Estimate
    plateau_interval: Estimate


class _Path(NamedTuple):
    """What is found in one path; times are log(1 + epoch)."""

    peak: float = np.nan
    plateau: float = np.nan
    peak_status: int = PhaseStatus.MASKED
    plateau_status: int = PhaseStatus.MASKED
    drop: float = np.nan
    noise: float = np.nan


def phases(
    epochs: Num[np.ndarray, " snapshots"],
    complexity: Float[np.ndarray, "replicas *layers snapshots"],
    relevance: Float[np.ndarray, "replicas *layers snapshots"],
    *,
    window: int = 5,
    margin: float = 5.0,
    minimum_drop: float = 0.01,
    level: float = 0.95,
    seed: int = 0,
) -> Phases:
    r"""Find where I(X;T) of every layer and replica starts, peaks and settles, or that it does none of these.

    The time is t = log(1 + epoch), and e is the standard error of the difference between the window means at the peak
    and at the end, the larger of two. One is that of noise whose scale around either window and whose correlation from
    one snapshot to the next are told from the residuals of parabolas through 15 snapshots (see
    `ibjax.plane.paths.noise`). The other is sqrt(2) times the root mean square of the window means of what the best
    path that rises to the peak and then falls leaves unexplained.

    * *compresses*: the peak of the smoothed path exceeds the mean of the last window by more than margin e and
      minimum_drop.
    * *C* is the kink k of the least-squares fit a + b min(t - k, 0) + c max(t - k, 0) to the top of the peak: the
      snapshots around the smoothed peak down to a third of the drop, or of the rise where that is smaller. It is no
      number but a status where the path does not first rise by the same margin, or where values within 3 e (or
      minimum_drop) of the peak span more than a factor of ten in epochs.
    * *E* is the kink k of the least-squares fit a + b min(t, k) to the path from where a tenth of the drop is lost.
      It is reached if that fit is better than a straight line by the Bayesian information criterion,
      n log(R_line / R_kink) > 2 log n with R the squared residuals of n snapshots, if a window of snapshots follows
      it, and if the line through these is less than a third as steep as the fall and changes by less than 0.2 of the
      drop until the end.

    The median over replicas has a bootstrap interval; every layer has its own.

    Args:
        epochs: of the snapshots, increasing; log-spaced ones give every phase its share.
        complexity: I(X;T), replicas first and snapshots last, such as
            ``plane.complexity[0].transpose("replica", "layer", "snapshot").values``; any units. A path with a value
            that is not finite, in it or in relevance, is masked.
        relevance: I(T;Y), same shape.
        window: snapshots that are averaged, odd. 5 of 150 log-spaced ones are a fifth in epochs.
        margin: standard errors e that count as a change. The peak is the best of many windows, and e an estimate:
            this is what the rates below are for.
        minimum_drop: smallest drop or rise that counts whatever the noise, in the units of complexity.
        level: confidence of the intervals.
        seed: of the bootstrap.

    Returns:
        The boundaries in epochs. Where it fails: noise that lasts over many snapshots cannot be told from a path in
        one replica. Of 2,000 paths of each kind that only wander, of 30, 80, 120 and 150 snapshots, none are said to
        compress under white noise, at most 2 % under noise of a correlation of up to 0.7 from one snapshot to the
        next, and 8 % if its scale changes sevenfold as well. A larger correlation counts as 0.7: with 0.9 it is 8 %,
        and 37 % of random walks. Judge a layer by the share of its replicas, or raise ``margin``. C of a rounded and
        lopsided peak lies on its steeper side. A path that falls, rises again and falls has one peak, its highest.
        ``drop`` is the largest of many noisy values, and so too large by about the noise of a window. E has a bias of
        about a tenth of its spread from one replica to the next, which only many equal replicas bring out: with noise
        of a fifteenth of the drop, its 95 % interval holds the planted E in 0.95 of the cases for 20 replicas and in
        0.89 for 50; C keeps 0.94.

    Raises:
        InputError: arrays that do not fit or settings that make no sense.

    Example:
        >>> epochs = np.unique(np.geomspace(1, 10_000, 120).round())
        >>> t = np.log(epochs)
        >>> path = np.interp(t, np.log([1, 300, 3000, 10_000]), [6.0, 10.0, 7.0, 7.0])
        >>> found = phases(epochs, path[None], 0.1 * t[None])
        >>> bool(found.compresses[0]), float(round(found.peak[0], -1)), float(round(found.plateau[0], -1))
        (True, 300.0, 3000.0)
        >>> phases(epochs, t[None], t[None]).compresses
        array([False])

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information".
        Bai & Perron (1998), "Estimating and testing linear models with multiple structural changes", for kinks by
        least squares; Yao (1988), "Estimating the number of change-points via Schwarz' criterion".
    """
    check_window(window, margin)
    check_level(level)
    if minimum_drop < 0:
        raise InputError(f"minimum_drop must not be negative, got {minimum_drop}")
    time = log_epochs(epochs, complexity, relevance)
    complexity, relevance = complexity.astype(np.float64), relevance.astype(np.float64)
    finite = np.asarray(np.isfinite(complexity + relevance).all(axis=-1))
    shape = finite.shape
    windows = parabolas(time) if time.size >= 2 * window else None
    found = [
        _search(time, windows, complexity[place], window, margin, minimum_drop) if finite[place] else _Path()
        for place in np.ndindex(*shape)
    ]
    peak, plateau, peak_status, plateau_status, drop, sigma = (
        np.reshape(values, shape) for values in zip(*found, strict=True)
    )
    times = np.stack([np.where(finite, time[0], np.nan), peak, plateau], axis=-1)
    unreached = plateau_status == PhaseStatus.UNREACHED
    return Phases(
        start=np.where(finite, float(epochs[0]), np.nan),
        peak=np.expm1(peak),
        plateau=np.expm1(plateau),
        compresses=np.isin(plateau_status, (PhaseStatus.FOUND, PhaseStatus.UNREACHED)),
        peak_status=peak_status,
        plateau_status=plateau_status,
        complexity=_values_at(time, complexity, times, window),
        relevance=_values_at(time, relevance, times, window),
        drop=drop,
        noise=sigma,
        peak_interval=median_epochs(peak, level, seed),
        plateau_interval=median_epochs(np.where(unreached, np.inf, plateau), level, seed),
    )


def _search(
    time: np.ndarray, windows: Parabolas | None, path: np.ndarray, window: int, margin: float, minimum_drop: float
) -> _Path:
    """The boundaries of one path."""
    if windows is None:
        return _Path(peak_status=PhaseStatus.SHORT, plateau_status=PhaseStatus.SHORT)
    noisy, smoothed = noise(windows, path), smooth(path, window)
    sigma = float(np.median(noisy.sigma))
    half = window // 2
    top = half + int(np.argmax(smoothed[half : path.size - half]))
    errors = noisy.errors(np.full((path.size - window + 1, window), 1 / window))
    error = max(np.hypot(errors[top - half], errors[-1]), np.sqrt(2) * unimodal_error(path, top, window))
    least = max(margin * error, minimum_drop)
    drop = float(smoothed[top] - path[-window:].mean())
    if not drop > least:
        return _Path(np.nan, np.nan, PhaseStatus.NO_DROP, PhaseStatus.NO_DROP, drop, sigma)
    rise = float(smoothed[top] - min(path[0], smoothed[: top + 1].min()))
    ties = smoothed >= smoothed[top] - max(TIE * error, minimum_drop)
    if not rise > least:
        peak, status = np.nan, PhaseStatus.NO_RISE
    elif span(time, ties) > WIDEST:
        peak, status = np.nan, PhaseStatus.FLAT
    else:
        peak, status = _tent(time, path, smoothed, top, TOP * min(rise, drop), window), PhaseStatus.FOUND
    shoulder = np.flatnonzero(smoothed >= smoothed[top] - SHOULDER * drop)[-1]
    plateau = _plateau(time, path, time[shoulder], drop, window)
    reached = PhaseStatus.UNREACHED if np.isnan(plateau) else PhaseStatus.FOUND
    return _Path(peak, plateau, status, reached, drop, sigma)


def _tent(time: np.ndarray, path: np.ndarray, smoothed: np.ndarray, top: int, height: float, window: int) -> float:
    """The kink of two lines through the top of a peak, down to ``height`` below it."""
    below = np.flatnonzero(smoothed < smoothed[top] - height)
    low = max((below[below < top] + 1), default=0)
    high = min((below[below > top] - 1), default=path.size - 1)
    # A peak of few snapshots has at least a window of them.
    low, high = max(min(low, top - window // 2), 0), min(max(high, top + window // 2), path.size - 1)
    t, y = time[low : high + 1], path[low : high + 1]
    knots = _candidates(t[1:-1])
    shifted = t - knots[:, None]
    basis = np.stack([np.ones_like(shifted), np.minimum(shifted, 0), np.maximum(shifted, 0)], axis=-1)
    best = int(np.argmin(_residuals(basis, y)))
    return _crossing(t, y, knots, best, 1)


def _plateau(time: np.ndarray, path: np.ndarray, start: float, drop: float, window: int) -> float:
    """The kink from a falling line to a level, or NaN where the path still changes at its end."""
    after = time >= start
    t, y = time[after] - start, path[after]
    if t.size < window + 3:
        return np.nan
    knots = _candidates(t[1:-window])
    ramp = np.minimum(t, knots[:, None])
    kinked = _residuals(np.stack([np.ones_like(ramp), ramp], axis=-1), y)
    straight = _residuals(np.stack([np.ones_like(t), t], axis=-1)[None], y)[0]
    best = int(np.argmin(kinked))
    level = t >= knots[best]
    better = t.size * np.log(max(straight, LEAST) / max(kinked[best], LEAST)) > 2 * np.log(t.size)
    slope = abs(np.polyfit(t[level], y[level], 1)[0])
    fall = abs(np.polyfit(ramp[best], y, 1)[0])
    flat = slope < PLATEAU_SLOPE * fall and slope * (t[-1] - knots[best]) < PLATEAU_CHANGE * drop
    return start + _crossing(t, y, knots, best, 0) if better and flat else np.nan


def _crossing(t: np.ndarray, y: np.ndarray, knots: np.ndarray, best: int, degree: int) -> float:
    """Where the line before a kink crosses the line, or the level, after it, at most one candidate away.

    Between two snapshots that is the kink of least squares itself, without the grain of the candidates.
    """
    before = t < knots[best]
    if before.sum() < 2 or (~before).sum() < 2:
        return float(knots[best])
    slope, offset = np.polyfit(t[before], y[before], 1)
    *inclined, level = np.polyfit(t[~before], y[~before], degree)
    steeper = slope - (inclined[0] if inclined else 0.0)
    if steeper == 0:
        return float(knots[best])
    low, high = knots[max(best - 1, 0)], knots[min(best + 1, knots.size - 1)]
    return float(np.clip((level - offset) / steeper, low, high))


def _candidates(time: np.ndarray) -> np.ndarray:
    """Times from the first to the last, with a few between any two."""
    fine = np.arange(KNOTS * (time.size - 1) + 1) / KNOTS
    return np.interp(fine, np.arange(time.size), time)


def _residuals(basis: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared residuals of y after least squares on each basis, of shape (bases, snapshots, functions)."""
    q, _ = np.linalg.qr(basis)
    left = y - y.mean()
    left = left - np.einsum("ktf,kf->kt", q, np.einsum("ktf,t->kf", q, left))
    return (left**2).sum(axis=-1)


def _values_at(time: np.ndarray, paths: np.ndarray, times: np.ndarray, window: int) -> np.ndarray:
    """The smoothed paths at times A, C and E; A itself, which the path leaves fast, is not smoothed."""
    found = np.full(times.shape, np.nan)
    for place in np.argwhere(~np.isnan(times[..., 0])):
        path, here = paths[*place], times[*place]
        found[*place] = np.where(np.isnan(here), np.nan, np.interp(here, time, smooth(path, window)))
        found[*place, 0] = path[0]
    return found
