"""Several processes write the store that one would have, and stop together; a run goes on with another number."""

import contextlib
import os
import random
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import pytest

import ibjax
from ibjax.errors import InputError
from ibjax.sweep import plan, processes, run, runner, store, use_every_core

ROOT = Path(ibjax.__file__).parents[1]
SETTLED = 300
"""Seconds within which the others must have stopped; on an idle machine it takes about 31."""


def child(folder, address, count, index, changes, pause=0.0):
    """One of several processes that run the small study; ``pause`` seconds longer for every array that is written.

    It says when it has begun, and before and after a segment is written, with all that vouches for it.
    """
    use_every_core(1)
    plan.SEGMENT_STEPS = 6
    with contextlib.nullcontext() if count == 1 else processes.joined(address, count, index):
        study = runpy.run_path(str(Path(__file__).with_name("conftest.py")))["Small"]().study(**changes)
        write, save, put = runner._write, runner.save_state, store.Store._put

        def begin(*args):
            print("writing", flush=True)
            write(*args)

        def end(*args):
            save(*args)
            print("written", flush=True)

        def slowly(*args):
            time.sleep(pause)
            return put(*args)

        runner._write, runner.save_state = begin, end
        store.Store._put = slowly
        print("begun", flush=True)
        try:
            run(study, folder, resume=True, progress=False)
        except InputError as error:
            print(error, flush=True)
            raise SystemExit(2) from None


def start(folder, count, *changes, pause=0.0) -> list[subprocess.Popen]:
    """Start so many processes; ``changes`` of the study, one entry a process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        launched([], folder, address, count, index, changes[index] if changes else {}, pause) for index in range(count)
    ]


def launched(launcher: list[str], folder: Path, *arguments) -> subprocess.Popen:
    """A process that is `child`, or a launcher of several."""
    path = os.pathsep.join(map(str, (ROOT, Path(__file__).parents[1])))
    code = f"import runpy; runpy.run_path({__file__!r})['child']{(str(folder), *arguments)!r}"
    return subprocess.Popen(
        [*launcher, sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def ended(running) -> list[tuple[int, str, str]]:
    """(exit status, output, errors) of all."""
    said = [process.communicate(timeout=SETTLED) for process in running]
    return [(process.returncode, *texts) for process, texts in zip(running, said, strict=True)]


# What they agree on ----------------------------------------------------------------------------------------------


class Shelf:
    """The key-value store of JAX's distributed runtime, among threads."""

    def __init__(self):
        self.kept, self.changed = {}, threading.Condition()

    def key_value_set(self, key, value, allow_overwrite=False):
        with self.changed:
            assert allow_overwrite or key not in self.kept
            self.kept[key] = value
            self.changed.notify_all()

    def blocking_key_value_get(self, key, milliseconds):
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.kept, min(milliseconds, 20_000) / 1000):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED")
            return self.kept[key]

    def key_value_dir_get(self, key):
        return [(name, value) for name, value in self.kept.items() if name.startswith(key)]


@pytest.fixture
def three(monkeypatch):
    """Calls a function as three processes would; returns what they gave, exceptions too."""
    own, shelf = threading.local(), Shelf()
    monkeypatch.setattr(processes, "count", lambda: 3)
    monkeypatch.setattr(processes, "index", lambda: own.index)
    monkeypatch.setattr(processes, "_client", lambda: shelf)

    class Turns:
        def __next__(self):
            own.turn = getattr(own, "turn", 0) + 1
            return own.turn

    monkeypatch.setattr(processes, "_TURNS", Turns())

    def call(function):
        found = {}

        def one(index):
            own.index = index
            try:
                found[index] = function(index)
            except Exception as error:
                found[index] = error

        threads = [threading.Thread(target=one, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[index] for index in range(3)]

    return call


def test_everyone_hears_everyone_in_order(three):
    assert three(lambda i: [processes.gather(10 * i), processes.gather("again")]) == [[[0, 10, 20], ["again"] * 3]] * 3


def test_the_first_does_it_and_tells(three):
    done = []
    assert three(lambda i: processes.by_first(lambda: done.append(i) or {"a": [1]})) == [{"a": [1]}] * 3
    assert done == [0]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("wrong: do this"), InputError),
        (MemoryError("out of memory"), MemoryError),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED"), jax.errors.JaxRuntimeError),
        (KeyError("x"), RuntimeError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_fails_in_one_fails_in_all(error, kind, three):
    def fail_in_one(index):
        with processes.together():
            if index == 1:
                raise error

    found = three(fail_in_one)
    assert found[1] is error
    for other in (found[0], found[2]):
        assert type(other) is kind
        assert str(error) in str(other)


def test_work_is_dealt_out_whole(three):
    assert three(lambda i: list(processes.share(range(7)))) == [[0, 3, 6], [1, 4], [2, 5]]


def test_work_is_added_up(three):
    def add(index):
        tally = processes.Tally()
        tally.add(epochs=index, chunks=1)
        processes.gather(None)
        return tally.add(epochs=0)

    assert three(add) == [{"epochs": 3, "chunks": 3}] * 3


def test_different_settings_are_told(three):
    for found in three(lambda i: processes.agree("settings", i == 2)):
        assert str(found) == "process 2 has settings unlike process 0's: start all with the same arguments"


def test_who_waits_can_do_something_meanwhile(three):
    looks = []

    def late(index):
        if index == 1:
            time.sleep(1.3)
        return processes.gather(index, meanwhile=lambda: looks.append(index))

    assert three(late) == [[0, 1, 2]] * 3
    assert set(looks) >= {0, 2}


def test_one_process_needs_no_other():
    tally = processes.Tally()
    assert (tally.add(epochs=2), tally.add(epochs=3, masked=1)) == ({"epochs": 2}, {"epochs": 5, "masked": 1})
    assert (processes.gather("x"), processes.is_first()) == (["x"], True)
    with pytest.raises(KeyError), processes.together():
        raise KeyError


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (("localhost:1", None, None), "go together"),
        ((None, 2, 0), "go together"),
        (("localhost", 2, 0), "--coordinator must be host:port, got 'localhost'"),
        (("localhost:http", 2, 0), "--coordinator must be host:port"),
        (("localhost:1", 0, 0), "--processes must be 1 or more, got 0"),
        (("localhost:1", 2, 2), "--process-id must be from 0 to 1, got 2"),
        (("localhost:1", 2, -1), "--process-id must be from 0 to 1, got -1"),
    ],
)
def test_numbers_that_make_no_sense(told, message):
    with pytest.raises(InputError, match=message), processes.joined(*told):
        raise AssertionError


def test_several_processes_need_a_folder(small, monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(InputError, match="name a folder with out that all of them see"):
        run(small.default, progress=False)


# Real processes --------------------------------------------------------------------------------------------------


@pytest.mark.multiprocess
def test_two_processes_write_what_one_does(tmp_path, assert_same):
    found = ended(start(tmp_path / "run", 2))
    assert [status for status, _, _ in found] == [0, 0], found
    assert all("writing" in said for _, said, _ in found)
    assert_same(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize(
    ("launcher", "ready"),
    [
        ("mpirun --allow-run-as-root --oversubscribe -n 2", "mpirun --version"),
        ("srun --ntasks=2 --cpus-per-task=1 --kill-on-bad-exit=1", "scontrol ping"),
    ],
    ids=["Open MPI", "Slurm"],
)
def test_a_cluster_starts_the_processes(launcher, ready, tmp_path, assert_same):
    if not shutil.which(launcher.split()[0]) or subprocess.run(ready.split(), capture_output=True).returncode:
        pytest.skip(f"{launcher.split()[0]} is not here, or no cluster runs")
    ((status, said, errors),) = ended([launched(launcher.split(), tmp_path / "run", None, None, None, {})])
    assert status == 0, errors
    assert said.count("begun") == 2
    assert_same(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("count", [3, 4])
def test_more_processes_than_chunks(count, tmp_path, assert_same):
    assert [status for status, _, _ in ended(start(tmp_path / "run", count))] == [0] * count
    assert_same(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.multiprocess
def test_processes_of_different_studies_do_not_begin(tmp_path):
    for status, said, _ in ended(start(tmp_path / "run", 2, {}, {"seed": 4})):
        assert status == 2
        assert "process 1 has settings unlike process 0's" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize(("victim", "then"), [(1, 1), (0, 3)])
def test_a_process_that_dies_stops_the_others(victim, then, tmp_path, assert_same):
    folder = tmp_path / "run"
    started = start(folder, 2, pause=0.05)
    assert [started[victim].stdout.readline() for _ in range(2)] == ["begun\n", "writing\n"]
    started[victim].kill()
    # The other would have to wait for it at the end, however long.
    status, _, errors = ended(started)[1 - victim]
    assert status != 0
    lines = [line for line in errors.splitlines() if line.startswith("ibjax: ")]
    if victim:
        assert lines == [
            "ibjax: process 1 died, so process 0 stops: what was measured is kept, run again with --resume"
        ]
    else:  # JAX may be faster, with words of its own
        assert lines or "another task died" in errors
    assert [status for status, _, _ in ended(start(folder, then))] == [0] * then
    assert_same(folder)


KILLS = 15
PAUSE = 0.004
"""Seconds that every file takes longer: the writes then take about as long as what lies between them."""


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("count", [1, 2])
def test_fifteen_kills_at_random_times(count, tmp_path, assert_same):
    """Half of them while something is written; a killed run goes on and ends as one that nothing disturbed."""
    chance, folder = random.Random(count), tmp_path / "run"
    during: list[bool] = []  # of every kill: whether the victim was writing
    for _ in range(3 * KILLS):
        aimed = during.count(True) <= KILLS // 2
        started = start(folder, count, pause=PAUSE)
        victim = started[chance.randrange(count)]
        said = [victim.stdout.readline()]
        if aimed:  # at one of its writes
            writes = chance.randint(1, 2)
            while said[-1] and said.count("writing\n") < writes:
                said.append(victim.stdout.readline())
            time.sleep(chance.uniform(0, 30 * PAUSE))
        else:  # while it compiles, trains or writes
            time.sleep(chance.uniform(0, 4))
        killed = victim.poll() is None
        # All at once, as a machine that loses its power; a lone victim is another test's.
        for process in started:
            process.send_signal(signal.SIGKILL)
        rest = dict(zip(started, ended(started), strict=True))[victim][1]
        told = [line for line in "".join([*said, rest]).split() if line != "begun"]
        if killed:
            during.append(told[-1:] == ["writing"])
        if not killed or len(during) % 5 == 0:  # far enough: let it come to its end, and begin again
            assert [status for status, _, _ in ended(start(folder, count))] == [0] * count
            assert_same(folder)
            shutil.rmtree(folder)
        if len(during) >= KILLS and during.count(True) > KILLS // 2:
            break
    print(f"{len(during)} kills, {during.count(True)} of them during writes")
    assert len(during) >= KILLS
    assert during.count(True) > KILLS // 2
