"""How a run is cut into segments that one compiled program executes one after the other."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ibjax.training import Slots

SLOTS = 16
"""Slots of a segment; early snapshots are an epoch apart, and so share a segment."""
SEGMENT_STEPS = 10_000
"""Optimiser steps of a segment at most: what an interruption can cost."""


class Segment(NamedTuple):
    """One call of the compiled program.

    Attributes:
        slots: its instructions, padded to `SLOTS`.
        first: index of the first snapshot that it takes.
        stop: index after the last snapshot that it takes; equal to ``first`` where it takes none.
        epoch: epochs done after it.
    """

    slots: Slots
    first: int
    stop: int
    epoch: int


def plan(epochs: Int[np.ndarray, " snapshots"], steps_per_epoch: int) -> list[Segment]:
    """Cut the way from epoch 0 through all snapshots into segments.

    Args:
        epochs: the snapshots' epochs, increasing.
        steps_per_epoch: optimiser steps of an epoch.

    Returns:
        Segments of at most `SLOTS` slots and about `SEGMENT_STEPS` steps, but at least one epoch.
    """
    most = max(1, SEGMENT_STEPS // steps_per_epoch)
    steps = []  # (epochs to train, whether to look)
    for gap in np.diff(epochs, prepend=0):
        whole, rest = divmod(int(gap), most)
        parts = [most] * whole + ([rest] if rest or not whole else [])
        steps += [(part, index == len(parts) - 1) for index, part in enumerate(parts)]
    segments: list[Segment] = []
    taken = done = 0
    while steps:
        group = [steps.pop(0)]
        while steps and len(group) < SLOTS and sum(e for e, _ in group) + steps[0][0] <= most:
            group.append(steps.pop(0))
        padded = group + [(0, False)] * (SLOTS - len(group))
        slots = Slots(np.array([e for e, _ in padded], np.int32), np.array([look for _, look in padded]))
        first, taken, done = taken, taken + int(slots.observe.sum()), done + int(slots.epochs.sum())
        segments.append(Segment(slots, first, taken, done))
    return segments
