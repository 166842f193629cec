"""Several processes that run one study together: what they agree on, and what becomes of them when one dies.

The engine is `jax.distributed`: it brings the processes together, and its key-value store carries the few words that
they exchange. No array is ever sent: each chunk of replicas is computed and written by one process.
"""

import contextlib
import ctypes
import itertools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from ibjax.errors import InputError

PULSE_SECONDS = 1.0
"""Seconds between two signs of life of a process."""
SILENT_SECONDS = 30.0
"""A process that gave no sign of life for so long is dead."""
HEARTBEAT_SECONDS = 60
"""After so long JAX itself ends all processes; it says so in many lines, so that the above comes first."""
LOST, INTERRUPTED = 3, 130
"""Exit status of a process that stops because another one did, or because it was told to."""
M_ARENA_MAX, HEAPS = -8, 256
"""glibc's name for the most heaps that the threads of a process have, and so many."""
_LONGEST = 24 * 3600 * 1000
_TURNS = itertools.count()
"""Numbers of the exchanges of this process: all processes make the same ones in the same order."""


def count() -> int:
    """How many processes there are."""
    return jax.process_count()


def index() -> int:
    """Which of them this one is, from 0."""
    return jax.process_index()


def is_first() -> bool:
    """Whether this is the process that owns the folder, draws the progress and prints."""
    return index() == 0


def gather(value: Any, meanwhile: Callable[[], object] | None = None) -> list[Any]:
    """What every process says, in their order; returns when all have said it.

    Args:
        value: as JSON has it.
        meanwhile: called about once a second while others are awaited.
    """
    if count() == 1:
        return [value]
    turn, client = next(_TURNS), _client()
    client.key_value_set(f"ibjax/said/{turn}/{index()}", json.dumps(value))
    return [json.loads(_await(client, f"ibjax/said/{turn}/{i}", meanwhile)) for i in range(count())]


@contextlib.contextmanager
def together(meanwhile: Callable[[], object] | None = None) -> Iterator[None]:
    """What all processes do, each its part; it ends when all have ended it, and fails in all if it fails in one."""
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    outcomes = gather(None if failure is None else [_kind(failure), str(failure)], meanwhile)
    if failure is not None:
        raise failure
    for process, outcome in enumerate(outcomes):
        if outcome is not None:
            kind, message = outcome
            raise _KINDS[kind](message if kind == "input" else f"process {process}: {message}")


def by_first(do: Callable[[], Any]) -> Any:
    """Let the first process do something while the others wait, and tell all what came of it, as JSON has it."""
    found = None
    with together():
        if is_first():
            found = do()
    return gather(found)[0]


def share(items: Sequence[int]) -> Sequence[int]:
    """This process's part of what is dealt out to all."""
    return items[index() :: count()]


def agree(what: str, value: Any) -> None:
    """See that all processes were started with the same.

    Raises:
        InputError: in all of them, if one differs from the first.
    """
    said = gather(value)
    for process, other in enumerate(said):
        if other != said[0]:
            raise InputError(f"process {process} has {what} unlike process 0's: start all with the same arguments")


class Tally:
    """How much all processes have done, as far as they have said; each makes one at the same point of its way."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.key, self.own = f"ibjax/done/{next(_TURNS)}/", Counter[str]()

    def add(self, **more: int) -> Counter[str]:
        """Say that this process has done so much more, of each name; returns what all have done."""
        self.own.update(more)
        if count() == 1:
            return self.own.copy()
        client, total = _client(), Counter[str]()
        client.key_value_set(f"{self.key}{index()}", json.dumps(self.own), allow_overwrite=True)
        for _, text in client.key_value_dir_get(self.key):
            total.update(json.loads(text))
        return total


@contextlib.contextmanager
def joined(coordinator: str | None, processes: int | None, process: int | None) -> Iterator[None]:
    """Be one of several processes while the context lasts; it must be entered before JAX is used.

    For programs, like the command line: a thread watches the others, and when one of them dies or fails this one says
    so in one line and ends with status `LOST` wherever it is. What was measured is on the disk.

    Args:
        coordinator: host:port on which the first process listens; None where the cluster says it (Slurm, Open MPI).
        processes: how many there are; None as before.
        process: which one this is, from 0; None as before.

    Raises:
        InputError: numbers that make no sense, no cluster that JAX knows, or the others did not come.

    Example:
        >>> with joined("localhost:1234", 2, 0):  # doctest: +SKIP
        ...     ibjax.run(ibjax.experiments.SZT(), "runs/szt")
    """
    _check(coordinator, processes, process)
    # The threads that carry words between processes take all heaps that glibc gives a process of one core, and those
    # that train then share one with others: 12 % slower.
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)
    # JAX would keep SIGTERM for itself, which is how a cluster stops a job.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except (RuntimeError, ValueError) as error:
        why = str(error).strip().split("\n")[0]
        remedy = (
            "pass --coordinator HOST:PORT --processes N --process-id I" if coordinator is None else "start them all"
        )
        raise InputError(f"the processes did not come together ({why}): {remedy}") from error
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(over,), name="ibjax-watch", daemon=True)
    watch.start()
    try:
        yield
    except (Exception, SystemExit):  # all have it, or this process had the last word
        _part(over, watch)
        raise
    except BaseException:  # interrupted: the others do not know, and are in the middle of something
        over.set()
        watch.join()
        _stop(_client(), f"process {_me()} was interrupted")
        _leave(f"process {_me()} was interrupted: what was measured is kept, run again with --resume", INTERRUPTED)
    _part(over, watch)


def _part(over: threading.Event, watch: threading.Thread) -> None:
    """Wait for all to come to their end, under watch, and let go of them."""
    _client().wait_at_barrier("ibjax/end", _LONGEST)
    over.set()
    watch.join()
    jax.distributed.shutdown()


def _check(coordinator: str | None, processes: int | None, process: int | None) -> None:
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given) and not all(given):
        raise InputError("--coordinator, --processes and --process-id go together: give all three, or --distributed")
    if coordinator is None or processes is None or process is None:
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--coordinator must be host:port, got {coordinator!r}")
    if processes < 1:
        raise InputError(f"--processes must be 1 or more, got {processes}")
    if not 0 <= process < processes:
        raise InputError(f"--process-id must be from 0 to {processes - 1}, got {process}")


def _watch(over: threading.Event) -> None:
    """Give signs of life and look for those of the others, until it is over or one is missed."""
    client, me, everyone = _client(), _me(), _state().num_processes
    heard = dict.fromkeys(range(everyone), ("", time.monotonic()))
    for beat in itertools.count():
        try:
            client.key_value_set(f"ibjax/pulse/{me}", str(beat), allow_overwrite=True)
            for key, text in client.key_value_dir_get("ibjax/pulse/"):
                process = int(key.rpartition("/")[2])
                if text != heard[process][0]:
                    heard[process] = text, time.monotonic()
            silent = [i for i, (_, since) in heard.items() if time.monotonic() - since > SILENT_SECONDS]
            if silent:
                _stop(client, f"process {silent[0]} died")
            why = _said_within(client, "ibjax/stop", PULSE_SECONDS)
        except jax.errors.JaxRuntimeError:
            # The first process holds the key-value store.  JAX ends this one at any moment, so no detours.
            why = "process 0 died"
        if over.is_set():
            return
        if why:
            _leave(f"{why}, so process {me} stops: what was measured is kept, run again with --resume", LOST)


def _leave(why: str, status: int) -> None:
    """End this process whatever it is doing."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"ibjax: {why}\n".encode())
    if _me() == 0:
        # The others read why from the store that ends with this process.
        time.sleep(3 * PULSE_SECONDS)
    os._exit(status)


def _stop(client: Any, why: str) -> None:
    """Tell all processes to stop; the first reason stands."""
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        client.key_value_set("ibjax/stop", why)


def _said_within(client: Any, key: str, seconds: float) -> str:
    """What is said under a key, empty if nothing comes within so many seconds."""
    try:
        return client.blocking_key_value_get(key, round(1000 * seconds))
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" in str(error):
            return ""
        raise


def _await(client: Any, key: str, meanwhile: Callable[[], object] | None) -> str:
    """What is said under a key, however long it takes."""
    if meanwhile is None:
        return client.blocking_key_value_get(key, _LONGEST)
    while True:
        said = _said_within(client, key, 1.0)
        if said:
            return said
        meanwhile()


def _state() -> Any:
    """JAX's own record of the processes; the key-value store that it holds has no public name yet."""
    from jax._src import distributed  # here, so that a JAX without it still runs one process

    return distributed.global_state


def _client() -> Any:
    client = _state().client
    if client is None:
        raise InputError("there are several processes, which jax.distributed.initialize() has not brought together")
    return client


def _me() -> int:
    return _state().process_id


_KINDS: dict[str, type[Exception]] = {
    "input": InputError,
    "memory": MemoryError,
    "device": jax.errors.JaxRuntimeError,
    "other": RuntimeError,
}
"""What another process's failure becomes in this one."""


def _kind(error: Exception) -> str:
    found = [kind for kind, made in _KINDS.items() if isinstance(error, made)]
    return found[0] if found else "other"
