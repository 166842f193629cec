"""Where the signal-to-noise ratio of the gradients falls fastest: the transition from drift to diffusion."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from ibjax.errors import InputError
from ibjax.plane.paths import (
    TIE,
    WIDEST,
    Noise,
    PhaseStatus,
    check_window,
    log_epochs,
    median_epochs,
    noise,
    parabolas,
    span,
)
from ibjax.plane.resampling import Estimate, check_level


class SteepestFall(NamedTuple):
    """Where a path falls fastest; arrays of shape (replicas, *layers).

    Attributes:
        epoch: the centre of the steepest window, between snapshots by the parabola through three slopes; NaN where
            ``status`` is not ``FOUND``.
        update: the same in steps of the optimiser.
        status: `PhaseStatus` as integers.
        slope: the most negative slope; NaN if masked or too short.
        interval: median over replicas of the epochs that were found and its bootstrap interval, each bound of
            shape (*layers).
    """

    epoch: Float[np.ndarray, "replicas *layers"]
    update: Float[np.ndarray, "replicas *layers"]
    status: Int[np.ndarray, "replicas *layers"]
    slope: Float[np.ndarray, "replicas *layers"]
    interval: Estimate


class SNRTransition(NamedTuple):
    """The steepest fall of the signal-to-noise ratio.

    Attributes:
        by_epoch: argmin of d SNR / d epoch.
        by_log_epoch: argmin of d SNR / d log(1 + epoch).
        by_log_log: argmin of d log SNR / d log(1 + epoch), the steepest place of a figure with two logarithmic axes, as
            the published one has. A path that is not positive is masked.
    """

    by_epoch: SteepestFall
    by_log_epoch: SteepestFall
    by_log_log: SteepestFall


def snr_transition(
    epochs: Num[np.ndarray, " snapshots"],
    mean: Float[np.ndarray, "replicas *layers snapshots"],
    std: Float[np.ndarray, "replicas *layers snapshots"],
    *,
    updates_per_epoch: float = 1.0,
    window: int = 15,
    margin: float = 5.0,
    level: float = 0.95,
    seed: int = 0,
) -> SNRTransition:
    """Find where SNR = mean / std of the gradients falls fastest, by epoch, by log epoch and by both logarithms.

    The slope at a snapshot is that of the least-squares line through the centred window of snapshots, in epochs or
    in log(1 + epoch), of the SNR or of its logarithm; where a window would not be full there is none. With the weights
    w_i = t_i / sum t^2 of its snapshots, t their centred times, its standard error is
    s sqrt(sum_ij w_i r^|i - j| w_j), where s is the noise there and r its correlation from one snapshot to the next,
    both from the residuals of parabolas through 15 snapshots (see `ibjax.plane.paths.noise`). The smallest slope counts
    if it is negative by more than margin standard errors, is neither the first nor the last, and if the slopes within 3
    standard errors of a difference from it span no more than a factor of ten in epochs.

    The places differ whatever the network does: a curve that falls linearly in log epoch falls fastest by epoch at its
    very beginning, where the first is then ``EDGE``, and by both logarithms at its end. Report all. Noise that is
    proportional to the SNR, as that of gradients nearly is, has one scale in the logarithm alone, which therefore shows
    a fall to nearly zero that the others do not see.

    Args:
        epochs: of the snapshots, increasing.
        mean: norm of the mean gradient, replicas first and snapshots last.
        std: its standard deviation, same shape. A path with a zero here, or a value that is not finite, is masked.
        updates_per_epoch: steps of the optimiser in an epoch, ceil(samples / batch size).
        window: snapshots of a slope, odd. Slopes need more smoothing than values: 15 of 150 log-spaced ones are a
            factor of two in epochs, which is what the place is known to at best.
        margin: standard errors that a slope must have to count. It is the smallest of many, and its error is an
            estimate: this is what the rates below are for.
        level: confidence of the intervals.
        seed: of the bootstrap.

    Returns:
        The transitions. Where there is none, one is found all the same, by either time and at the defaults, in
        2,000 paths of each kind and of 30, 80, 120 and 150 snapshots: never under white noise, in at most 1 % under
        noise of a correlation of up to 0.7, in 4 % if its scale changes sevenfold as well, and in 5 % of those that
        fall steadily in log epoch. A larger correlation counts as 0.7: with 0.9 it is 4 %, and 9 % of random walks.
        A fall as 1 / (1 + (epoch / 300)^3) is found by log epoch under noise of a fifteenth of it in 0.99, 0.54 and
        0.48 of the paths with a correlation of 0, 0.5 and 0.7, and under half that noise in all, without bias and a
        third of an octave or less around its place. What is not found may be there: one network's gradients are often
        noisier than that.

    Raises:
        InputError: arrays that do not fit or settings that make no sense.

    Example:
        >>> epochs = np.unique(np.geomspace(1, 10_000, 120).round())
        >>> snr = 0.3 + 3 / (1 + (epochs / 300) ** 2)
        >>> found = snr_transition(epochs, snr[None], np.ones((1, epochs.size)), updates_per_epoch=52)
        >>> bool(270 < found.by_log_epoch.epoch[0] < 330), bool(100 < found.by_epoch.epoch[0] < 230)
        (True, True)
        >>> bool(found.by_log_epoch.update[0] == 52 * found.by_log_epoch.epoch[0])
        True

    References:
        Shwartz-Ziv & Tishby (2017), "Opening the black box of deep neural networks via information".
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", for mean / std of a layer.
    """
    check_window(window, margin)
    check_level(level)
    if not updates_per_epoch > 0:
        raise InputError(f"updates_per_epoch must be positive, got {updates_per_epoch}")
    log_time = log_epochs(epochs, mean, std)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = mean.astype(np.float64) / std
        log_snr = np.log(snr)
    shape = snr.shape[:-1]
    windows = parabolas(log_time) if epochs.size >= 2 * window else None

    def noises(paths: np.ndarray) -> dict[tuple[int, ...], Noise]:
        if windows is None:
            return {}
        return {place: noise(windows, paths[place]) for place in np.ndindex(*shape) if np.isfinite(paths[place]).all()}

    def steepest(time: np.ndarray, paths: np.ndarray, known: dict[tuple[int, ...], Noise]) -> SteepestFall:
        found = [
            _search(time, log_time, paths[place], known.get(place), window, margin) for place in np.ndindex(*shape)
        ]
        places, slopes, statuses = (np.reshape(values, shape) for values in zip(*found, strict=True))
        here = np.expm1(places)
        return SteepestFall(
            epoch=here,
            update=here * updates_per_epoch,
            status=statuses,
            slope=slopes,
            interval=median_epochs(places, level, seed),
        )

    of_snr = noises(snr)
    return SNRTransition(
        steepest(epochs.astype(np.float64), snr, of_snr),
        steepest(log_time, snr, of_snr),
        steepest(log_time, log_snr, noises(log_snr)),
    )


def _search(
    time: np.ndarray, log_time: np.ndarray, path: np.ndarray, noisy: Noise | None, window: int, margin: float
) -> tuple[float, float, int]:
    """The log epoch of the steepest fall of one path, its slope and how the search ended."""
    if not np.isfinite(path).all():
        return np.nan, np.nan, PhaseStatus.MASKED
    if noisy is None:
        return np.nan, np.nan, PhaseStatus.SHORT
    t = np.lib.stride_tricks.sliding_window_view(time, window)
    t = t - t.mean(axis=-1, keepdims=True)
    weights = t / (t**2).sum(axis=-1, keepdims=True)
    slopes = (weights * np.lib.stride_tricks.sliding_window_view(path, window)).sum(axis=-1)
    errors = noisy.errors(weights)
    best = int(np.argmin(slopes))
    slope, half = float(slopes[best]), window // 2
    ties = slopes - slope <= TIE * np.sqrt(errors**2 + errors[best] ** 2)
    if not -slope > margin * errors[best]:
        return np.nan, slope, PhaseStatus.NO_DROP
    if best in (0, slopes.size - 1):
        return np.nan, slope, PhaseStatus.EDGE
    if span(log_time[half : path.size - half], ties) > WIDEST:
        return np.nan, slope, PhaseStatus.FLAT
    # The vertex of the parabola through three slopes is free of the grain of the snapshots.
    near, around = log_time[best + half - 1 : best + half + 2], slopes[best - 1 : best + 2]
    bend, tilt, _ = np.polyfit(near - near[1], around, 2)
    shift = -tilt / (2 * bend) if bend > 0 else 0.0
    return float(np.clip(near[1] + shift, near[0], near[2])), slope, PhaseStatus.FOUND
