"""What is told of a run that goes on: to another terminal, and line by line to a program."""

import io
import json
import time

import pytest
from rich.console import Console

from ibjax.errors import InputError
from ibjax.sweep import open_run, progress, status, store
from ibjax.sweep.lock import hold
from ibjax.sweep.progress import progress_bar, say, sweep_progress
from ibjax.sweep.times import Times, load_times, save_times


def test_a_finished_run(whole):
    found = status(whole)
    assert (found.finished, found.left, found.holder) == (True, 0.0, None)
    assert (found.chunks_done, found.chunks, found.epochs_done, found.epochs) == (3, 3, 4, 4)
    assert found.masked == (0, 0, 0, 4)
    assert found.seconds == json.loads(open_run(whole).attrs["seconds"])


def test_a_run_that_died_and_one_that_goes_on(begun):
    before = {path: path.stat().st_mtime_ns for path in begun.rglob("*")}
    found = status(str(begun))
    assert (found.finished, found.holder) == (False, None)
    assert (found.chunks_done, found.chunks) == (1, 3)
    assert found.epochs_done == pytest.approx((4 + 2 + 0) / 3)
    assert found.masked.pending == 3
    assert all(value > 0 for value in found.seconds.values())
    # Six of twelve epochs of chunks took what they took.
    assert found.left == pytest.approx(found.seconds["train"] + found.seconds["write"])
    assert {path: path.stat().st_mtime_ns for path in begun.rglob("*")} == before
    with hold(begun):
        assert status(begun).holder.pid > 0


def test_a_run_that_has_only_begun(small, tmp_path):
    store.open_or_create(small.default, tmp_path, resume=False)
    found = status(tmp_path)
    assert (found.chunks_done, found.epochs_done, found.masked, found.left) == (0, 0, None, None)
    with pytest.raises(InputError, match="holds no run"):
        status(tmp_path / "none")


def test_times_are_kept_and_damaged_ones_are_zero(tmp_path):
    (tmp_path / store.STATES).mkdir()
    none = load_times(tmp_path)
    assert none == load_times(None) == Times({"compile": 0, "train": 0, "write": 0})
    assert none.left(5) is None
    times = none.add(compiled=3).add(trained=2, written=1, epochs=6)
    assert times == Times({"compile": 3, "train": 2, "write": 1}, 6, 3)
    assert times.left(4) == 2
    save_times(tmp_path, times)
    # The pace is that of a session: a new one may have other devices.
    assert load_times(tmp_path) == times
    file = tmp_path / store.STATES / "times.json"
    for damage in ("", "{}", "[]", '{"seconds": {"compile": null}}'):
        file.write_text(damage)
        assert load_times(tmp_path) == none


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_without_a_terminal_a_segment_is_a_line_of_json(capsys, monkeypatch):
    clock = iter([0, 10, 20, 40])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with progress_bar("a [run]", 4, True) as report:
        report(1, None)
        report(2, 0.51234, masked=3)
        report(4, None)
    first, second, third = lines(capsys)
    told = {"title": "a [run]", "unit": "epochs", "total": 4}
    assert first == {**told, "done": 1, "seconds": 10, "left": None, "training_accuracy": None}
    assert second == {**told, "done": 2, "seconds": 20, "left": 20, "training_accuracy": 0.5123, "masked": 3}
    assert third == {**told, "done": 4, "seconds": 40, "left": 0, "training_accuracy": 0.5123}


def drawn(monkeypatch) -> Console:
    """What would be a terminal."""
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    return console


def test_a_terminal_has_a_bar_of_the_run_and_one_of_the_sweep(monkeypatch):
    console, clock = drawn(monkeypatch), iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with sweep_progress("a [sweep]", {"x": 1.0, "y": 3.0}, True) as groups:
        groups.begin("x")
        with progress_bar("a run", 4, groups) as report:
            report(2, 0.5, chunks_done=1, masked=2)
            groups.bars.refresh()  # which it does ten times a second
        assert groups.share == 0.125
        groups.end(masked=2)
        assert (groups.share, groups.facts["overall"]) == (0.25, 0.25)
        groups.begin("y")
        with progress_bar("a run", 4, groups) as report:
            report(4, 0.5)
            report(2, None)  # what is measured after the training goes from 0 again
        assert groups.share == 1.0
        groups.end(failure="it broke")
    shown = console.file.getvalue()
    for text in ("a [sweep]", "2/4 epochs, 1 chunks done, 2 masked, training accuracy 0.500", "group 2 of 2: y"):
        assert text in shown
    assert "1 failed, 2 replicas masked" in shown


def test_a_terminal_has_a_bar_of_a_run(monkeypatch):
    console = drawn(monkeypatch)
    with progress_bar("a [run]", 4, True) as report:
        report(1, None, masked=0)
        report(3, None, masked=1)
    assert "3/4 epochs, 1 masked" in console.file.getvalue()
    assert "a [run]" in console.file.getvalue()


def test_many_reports_are_fewer_lines(capsys):
    with progress_bar("many", 100, True, unit="snapshots", every=1000) as report:
        for done in range(101):
            report(done, None)
    assert [line["done"] for line in lines(capsys)] == [100]
    with progress_bar("none", 1, False) as report:
        report(1, None)
        say("none", "nothing", False)
    assert lines(capsys) == []


def test_a_note_is_a_sentence_or_a_line(capsys, monkeypatch):
    say("a run", "something", True)
    assert lines(capsys) == [{"title": "a run", "note": "something"}]

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    say("a run", "something", True)
    assert terminal.getvalue() == "a run: something\n"
