"""One writer a folder: a lock of the operating system, which lets go of it when its holder dies."""

import contextlib
import datetime
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ibjax.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = "lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_TRIES, _PAUSE = 5, 0.02
"""How often, and seconds between: whoever asks for the holder has the lock for an instant."""


class Holder(NamedTuple):
    """Who writes into a folder.

    Attributes:
        host: name of its machine; empty where it has not said so yet.
        pid: its process there.
        since: when it began by its own clock, ISO 8601 in UTC; for people, nothing is decided by it.
    """

    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        """In words."""
        return f"process {self.pid} on {self.host} since {self.since}" if self.host else "another process"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Be the only one who writes into an existing folder.

    The kernel holds the lock (``flock`` on the file ``lock``), not the file: a process that was killed leaves the file
    behind and the lock free. Readers do not ask for it. NFS from Linux 2.6.12 on passes it to the server, which frees
    it when the client is gone; a file system without locks, and Windows, are refused.

    Raises:
        InputError: another process, or another thread, holds it; or there are no locks here.
    """
    file = _take(folder)
    try:
        yield
    finally:
        # Removed while it is held: whoever opened this file before finds below that it is no longer the one.
        (folder / LOCK).unlink(missing_ok=True)
        os.close(file)


def holder(folder: Path) -> Holder | None:
    """Who holds the lock of a folder now; None if nobody does."""
    if fcntl is None:
        return None
    try:
        file = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(file)
    finally:
        os.close(file)
    return None


def _take(folder: Path) -> int:
    """A file descriptor that holds the lock."""
    if fcntl is None:
        raise InputError("this system has no flock, which keeps two runs out of one folder: use Linux, macOS or WSL")
    path, tries = folder / LOCK, 0
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(file).st_ino:
                said = Holder(socket.gethostname(), os.getpid(), _now())
                os.ftruncate(file, 0)
                os.write(file, json.dumps(said._asdict()).encode())
                return file
        except BlockingIOError:
            tries += 1
            if tries == _TRIES:
                who = _read(file)
                os.close(file)
                raise InputError(
                    f"{folder} is being written by {who}: wait for it or stop it, or choose another folder"
                ) from None
        except OSError as error:
            os.close(file)
            if error.errno in _NO_LOCKS:
                raise InputError(
                    f"the file system of {folder} has no locks ({error.strerror}): choose a folder on a local disk"
                ) from error
            raise
        # Asked for by someone at this instant, or removed by its last holder since it was opened.
        os.close(file)
        time.sleep(_PAUSE)


def _read(file: int) -> Holder:
    """What the holder wrote, as far as it has."""
    try:
        said = json.loads(os.pread(file, 4096, 0))
        return Holder(str(said["host"]), int(said["pid"]), str(said["since"]))
    except (ValueError, KeyError, TypeError):
        return Holder("", 0, "")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
