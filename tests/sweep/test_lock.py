"""Two writers never share a folder, and one that has died is in nobody's way."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ibjax
from ibjax.errors import InputError
from ibjax.sweep import lock
from ibjax.sweep.lock import LOCK, Holder, hold, holder


def assert_one_line(raised, *parts):
    text = str(raised.value)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text


def test_the_second_is_told_who_the_first_is(tmp_path):
    with hold(tmp_path):
        with pytest.raises(InputError) as raised, hold(tmp_path):
            pass
        who = holder(tmp_path)
        assert who.pid == os.getpid()
        assert_one_line(raised, tmp_path, f"process {who.pid} on {who.host} since {who.since}", "another folder")
    assert holder(tmp_path) is None
    with hold(tmp_path):
        pass


def test_nothing_is_left_behind(tmp_path):
    with contextlib.suppress(ZeroDivisionError), hold(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_removed_meanwhile(tmp_path):
    (tmp_path / "run").mkdir()
    with hold(tmp_path / "run"):
        (tmp_path / "run" / LOCK).unlink()
        (tmp_path / "run").rmdir()


def test_a_holder_that_was_killed_is_in_nobody_s_way(tmp_path):
    program = f"""
import pathlib, runpy, sys, time
sys.path.insert(0, {str(Path(ibjax.__file__).parents[1])!r})
from ibjax.sweep.lock import hold
with hold(pathlib.Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert holder(tmp_path).pid == process.pid
        with pytest.raises(InputError, match=f"process {process.pid} on "), hold(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).exists()
    assert holder(tmp_path) is None
    with hold(tmp_path):
        assert holder(tmp_path).pid == os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"host": "h"}', "\xff"])
def test_a_holder_that_says_nothing_sensible(content, tmp_path):
    with hold(tmp_path):
        (tmp_path / LOCK).write_bytes(content.encode("latin1"))
        assert holder(tmp_path) == Holder("", 0, "")
        with pytest.raises(InputError, match="is being written by another process"), hold(tmp_path):
            pass


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_clocks_do_not_matter(since, tmp_path):
    (tmp_path / LOCK).write_text(json.dumps({"host": "elsewhere", "pid": os.getpid(), "since": since}))
    assert holder(tmp_path) is None
    with hold(tmp_path):
        assert holder(tmp_path).host != "elsewhere"


def test_whoever_asks_keeps_nobody_out(tmp_path):
    (tmp_path / LOCK).write_text("")
    asking = os.open(tmp_path / LOCK, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, [asking]).start()
    with hold(tmp_path):
        pass


def test_a_file_that_its_last_holder_removes_is_not_the_lock(tmp_path, monkeypatch):
    flock, calls = fcntl.flock, []

    def late(file, how):
        calls.append(how)
        if len(calls) == 1:  # the last holder goes between our opening the file and our locking it
            (tmp_path / LOCK).unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with hold(tmp_path):
        assert holder(tmp_path).pid == os.getpid()
    assert len(calls) == 3


def test_no_descriptor_is_lost(tmp_path):
    open_now = Path("/proc/self/fd")
    if not open_now.exists():
        pytest.skip("needs /proc")
    before = len(list(open_now.iterdir()))
    for _ in range(3):
        with hold(tmp_path):
            holder(tmp_path)
            with pytest.raises(InputError), hold(tmp_path):
                pass
    assert len(list(open_now.iterdir())) == before


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(code, tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError) as raised, hold(tmp_path):
        pass
    assert_one_line(raised, tmp_path, "has no locks", "choose a folder on a local disk")


def test_a_system_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.raises(InputError, match="this system has no flock"), hold(tmp_path):
        pass
    assert holder(tmp_path) is None
