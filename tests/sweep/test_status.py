"""What is told of a run that goes on: to another terminal, and line by line to a program."""

import io
import json
import time

import pytest

from ibjax.errors import InputError
from ibjax.sweep import open_run, progress, status, store
from ibjax.sweep.lock import hold
from ibjax.sweep.progress import progress_bar, say
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
        report(2, 0.51234)
        report(4, None)
    first, second, third = lines(capsys)
    told = {"title": "a [run]", "unit": "epochs", "total": 4}
    assert first == {**told, "done": 1, "seconds": 10, "left": None, "training_accuracy": None}
    assert second == {**told, "done": 2, "seconds": 20, "left": 20, "training_accuracy": 0.5123}
    assert third == {**told, "done": 4, "seconds": 40, "left": 0, "training_accuracy": 0.5123}


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
