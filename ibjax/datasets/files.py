"""Bytes of a file, plain or compressed, and of the members of an archive; nothing is unpacked to disk or unpickled."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from ibjax.errors import InputError

MOST_BYTES = 1 << 30
"""No file or member of the public sets is, unpacked, a tenth as long; what is longer is refused, not kept in memory."""

_DAMAGE = (EOFError, OSError, zlib.error)
"""What a damaged or truncated gzip stream raises."""


def read_bytes(path: Path) -> bytes:
    """Return a file's content, unpacked if it is gzip: the first bytes tell, not the name.

    Raises:
        InputError: the file is missing, no regular file, damaged, or holds more than `MOST_BYTES`.
    """
    with _open(path) as file:
        try:
            content = file.read(MOST_BYTES + 1)
        except _DAMAGE as error:
            raise InputError(f"{path} is truncated or damaged ({error}): delete it and fetch it again") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} holds more than {MOST_BYTES >> 20} MiB: it is none of the files that are read here")
    return content


def read_members(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Return the named files of a tar archive, plain or gzip, whatever folder of it they are in.

    Nothing is written. An archive with a member that would climb out of the folder it is unpacked in, or that is
    neither file nor folder (a link, a device), was not made by an honest hand: none of it is taken.

    Raises:
        InputError: as `read_bytes`; or the archive is hostile, lacks a member or has it twice.
    """
    found: dict[str, bytes] = {}
    with _open(path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for member in archive:
                    _refuse_hostile(path, member)
                    name = PurePosixPath(member.name).name
                    if not member.isfile() or name not in names:
                        continue
                    if name in found:
                        raise InputError(f"{path} has {name} twice: delete it and fetch it again")
                    found[name] = _content(archive, member)
            while file.read(1 << 20):  # to the end, where gzip's checksum is
                pass
        except InputError:
            raise
        # A header's numbers and texts may be anything.
        except (*_DAMAGE, tarfile.TarError, ValueError, OverflowError) as error:
            raise InputError(
                f"{path} is truncated, damaged or no tar archive ({error}): delete it and fetch it again"
            ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(
            f"{path} has no member {missing[0]}: it is another archive, or truncated; delete it and fetch it again"
        )
    return found


def check_sha256(path: Path, name: str, content: bytes, known: str, title: str) -> None:
    """Raise an `InputError` unless the content is the known one, to the last bit."""
    found = hashlib.sha256(content).hexdigest()
    if found != known:
        raise InputError(
            f"{path} is not {title}'s {name} (sha256 {found[:12]}..., not {known[:12]}...): delete it and fetch "
            "it again, or pass verify=False if it is a file of your own in that format"
        )


def _open(path: Path) -> io.BufferedIOBase:
    if not path.is_file():  # a pipe or a device would never end
        raise InputError(f"{path} is no file" if path.exists() else f"{path} does not exist")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return gzip.open(path) if packed else path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MOST_BYTES:
        raise ValueError(f"{member.name!r} claims {member.size} bytes")
    stream = archive.extractfile(member)
    content = stream.read() if stream else b""
    if len(content) != member.size:
        raise EOFError(f"{member.name!r} ends early")
    return content


def _refuse_hostile(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"{path} has a member {member.name!r} outside its folder: do not unpack it, delete it")
    if not (member.isfile() or member.isdir()):
        raise InputError(f"{path} has a member {member.name!r} that is a link or a device: delete it")
