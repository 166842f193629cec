"""Segments take every snapshot once and in order, and none is longer than an interruption may cost."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibjax.sweep.plan import SEGMENT_STEPS, SLOTS, plan
from ibjax.training import snapshot_epochs


def looks(segments) -> list[int]:
    """Epochs at which the segments look, one after the other."""
    found, epoch = [], 0
    for segment in segments:
        for epochs, observe in zip(*segment.slots, strict=True):
            epoch += int(epochs)
            if observe:
                found.append(epoch)
    return found


def used(segment) -> list[int]:
    """Epochs of the slots of a segment that are not padding."""
    slots = segment.slots
    last = np.flatnonzero((slots.epochs > 0) | slots.observe)[-1]
    return slots.epochs[: last + 1].tolist()


schedules = st.lists(st.integers(1, 400), max_size=50).map(lambda gaps: np.cumsum([0, *gaps]))
"""Epochs of snapshots, from 0."""
steps = st.integers(1, 200) | st.integers(201, 3 * SEGMENT_STEPS)
"""Optimiser steps of an epoch."""


@given(schedules, steps)
def test_segments_look_at_every_snapshot_once_and_in_order(epochs, steps_per_epoch):
    segments = plan(epochs, steps_per_epoch)
    assert looks(segments) == epochs.tolist()
    assert sum(int(s.slots.epochs.sum()) for s in segments) == epochs[-1]
    edges = [0, *(s.stop for s in segments)]
    assert [s.first for s in segments] == edges[:-1]
    assert edges[-1] == len(epochs)
    assert [s.stop - s.first for s in segments] == [s.slots.observe.sum() for s in segments]
    assert [s.epoch for s in segments] == np.cumsum([s.slots.epochs.sum() for s in segments]).tolist()


@given(schedules, steps)
def test_segments_keep_to_their_limits(epochs, steps_per_epoch):
    for segment in plan(epochs, steps_per_epoch):
        slots = segment.slots
        assert slots.epochs.shape == slots.observe.shape == (SLOTS,)
        assert (slots.epochs.dtype, slots.observe.dtype) == (np.int32, bool)
        assert slots.epochs.min() >= 0
        assert slots.epochs.sum() * steps_per_epoch <= max(SEGMENT_STEPS, steps_per_epoch)
        assert slots.epochs.any() or slots.observe.any()
        padding = slice(len(used(segment)), None)
        assert not slots.epochs[padding].any()
        assert not slots.observe[padding].any()


@given(schedules, steps)
def test_a_segment_ends_only_where_the_next_slot_does_not_fit(epochs, steps_per_epoch):
    segments = plan(epochs, steps_per_epoch)
    most = max(1, SEGMENT_STEPS // steps_per_epoch)
    for before, after in itertools.pairwise(segments):
        assert len(used(before)) == SLOTS or sum(used(before)) + used(after)[0] > most


def test_a_look_before_training_is_one_slot():
    (segment,) = plan(np.array([0]), 1)
    assert (segment.first, segment.stop, segment.epoch) == (0, 1, 0)
    assert segment.slots.epochs.tolist() == [0] * SLOTS
    assert segment.slots.observe.tolist() == [True] + [False] * (SLOTS - 1)


def test_a_long_gap_is_crossed_in_segments_without_a_look():
    segments = plan(np.array([0, 250]), SEGMENT_STEPS // 100)
    assert [s.slots.epochs.sum() for s in segments] == [100, 100, 50]
    assert [(s.first, s.stop) for s in segments] == [(0, 1), (1, 1), (1, 2)]
    assert [s.epoch for s in segments] == [100, 200, 250]


@pytest.mark.parametrize("steps_per_epoch", [SEGMENT_STEPS, SEGMENT_STEPS + 1, 100 * SEGMENT_STEPS])
def test_an_epoch_is_never_cut(steps_per_epoch):
    segments = plan(np.array([0, 1, 3]), steps_per_epoch)
    assert [s.slots.epochs.sum() for s in segments] == [1, 1, 1]
    assert looks(segments) == [0, 1, 3]


@pytest.mark.parametrize(("epochs", "samples", "batch"), [(10_000, 3277, 64), (8000, 3277, 512), (5, 3277, 3277)])
def test_the_studies_own_schedules(epochs, samples, batch):
    steps_per_epoch = -(-samples // batch)
    schedule = snapshot_epochs(epochs, 150)
    segments = plan(schedule, steps_per_epoch)
    assert looks(segments) == schedule.tolist()
    # Early snapshots share segments: no more than the steps and the slots ask for, twice over.
    assert len(segments) <= 2 * (1 + epochs * steps_per_epoch / SEGMENT_STEPS + len(schedule) / SLOTS)
