"""CIFAR-10's binary version: its files and its archive, whole, damaged and hostile."""

import io
import os
import tarfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from image_files import PHOTOS, pretend, read_or_refused, refused, sha256, tar

from ibjax.datasets import cifar10, files

ARCHIVE = "cifar-10-binary.tar.gz"
TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]


def batch(i: int) -> np.ndarray:
    """Rows of batch i, each batch another; i = 0 is the test set."""
    return (PHOTOS + np.uint8(i)) % 10


FILES = {name: batch(i).tobytes() for i, name in enumerate(["test_batch.bin", *TRAIN])}
INNER = "cifar-10-batches-bin"
# As published: a folder, other files, and batches in no order.
WHOLE = [(f"{INNER}/readme.html", b"text"), *((f"{INNER}/{name}", FILES[name]) for name in reversed(FILES))]


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch):
    monkeypatch.delenv("IBJAX_DATA", raising=False)


def write_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


def write_archive(folder, members=WHOLE):
    (folder / ARCHIVE).write_bytes(tar(members))


@pytest.mark.parametrize("where", [".", INNER, "cifar10", f"cifar10/{INNER}", "cifar-10", "archive"])
def test_images_and_labels_are_read(tmp_path, where):
    if where == "archive":
        write_archive(tmp_path)
    else:
        write_files(tmp_path / where)
    for split, rows in (("test", batch(0)), ("train", np.concatenate([batch(i) for i in range(1, 6)]))):
        data = cifar10(tmp_path, split, verify=False)
        assert (data.x.shape, data.x.dtype, data.y.dtype) == ((len(rows), 32, 32, 3), np.float32, np.int32)
        np.testing.assert_array_equal(data.y, rows[:, 0])
        assert (data.name, data.classes, data.mutual_information) == (f"CIFAR-10 ({split})", 10, None)
        # The page: first 1024 red values in row-major order, then green, then blue.
        for image, row in zip(data.x, rows, strict=True):
            for place, column, channel in [(0, 0, 0), (0, 1, 0), (1, 0, 1), (31, 31, 2), (5, 7, 1)]:
                assert image[place, column, channel] == np.float32(row[1 + 1024 * channel + 32 * place + column]) / 255
        assert data.x.flags.c_contiguous  # else flattening would copy


def test_a_plain_tar_archive(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar", "w") as archive:
        for name, content in WHOLE:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    assert len(cifar10(tmp_path, verify=False)) == 10


def test_only_the_known_images_are_taken(tmp_path, monkeypatch):
    write_archive(tmp_path)
    refused(lambda: cifar10(tmp_path), match=r"is not CIFAR-10's data_batch_1\.bin \(sha256 .*verify=False")
    known = {name: sha256(content) for name, content in FILES.items()}
    pretend(monkeypatch, "cifar10", contents=known)
    assert len(cifar10(tmp_path)) == 10
    pretend(monkeypatch, "cifar10", contents=known | {"data_batch_4.bin": "0" * 64})
    refused(lambda: cifar10(tmp_path), match=r"data_batch_4\.bin")
    assert len(cifar10(tmp_path, "test")) == 2


def test_what_is_missing_is_named(tmp_path):
    refused(lambda: cifar10(tmp_path), match=r'has no file cifar-10-binary\.tar\.gz .*fetch\("cifar10", folder\)')
    refused(lambda: cifar10(tmp_path, "all"), match="unknown split 'all'")
    write_archive(tmp_path, WHOLE[:-1])  # without the test batch
    refused(lambda: cifar10(tmp_path, "test"), match=r"has no member test_batch\.bin")
    write_files(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    refused(lambda: cifar10(tmp_path), match=r"has no file data_batch_3\.bin of CIFAR-10")


@pytest.mark.parametrize("name", ["cifar-10-batches-py", "cifar-10-python.tar.gz"])
def test_pickles_are_left_alone(tmp_path, name):
    (tmp_path / name).mkdir()
    refused(lambda: cifar10(tmp_path), match="Python version, which is pickled: get its binary version")
    write_archive(tmp_path)
    assert len(cifar10(tmp_path, verify=False)) == 10


def test_files_of_another_length(tmp_path):
    write_files(tmp_path)
    for content in (b"", FILES["test_batch.bin"][:-1], bytes(3074 * 5)):
        (tmp_path / "test_batch.bin").write_bytes(content)
        refused(
            lambda: cifar10(tmp_path, "test", verify=False), match=rf"has {len(content)} bytes, no multiple of 3073"
        )
    (tmp_path / "test_batch.bin").write_bytes(bytes([11]) + bytes(3072))
    refused(lambda: cifar10(tmp_path, "test", verify=False), match="has the label 11 at row 0")


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../data_batch_1.bin", b"x"), "outside its folder: do not unpack it"),
        ((f"{INNER}/../../evil", b"x"), "outside its folder"),
        (("/etc/evil", b"x"), "outside its folder"),
        (special(f"{INNER}/data_batch_1.bin", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (special("other", tarfile.SYMTYPE, "../.."), "is a link or a device"),
        (special("other", tarfile.LNKTYPE, f"{INNER}/test_batch.bin"), "is a link or a device"),
        (special("other", tarfile.CHRTYPE), "is a link or a device"),
        (special("other", tarfile.BLKTYPE), "is a link or a device"),
        (special("other", tarfile.FIFOTYPE), "is a link or a device"),
        ((f"other/{TRAIN[0]}", FILES[TRAIN[0]]), r"has data_batch_1\.bin twice"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_hostile_archives_are_refused_whole(tmp_path, monkeypatch, member, message, first):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    write_archive(home, [member, *WHOLE] if first else [*WHOLE, member])
    refused(lambda: cifar10(home, verify=False), match=message)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["home", ARCHIVE]  # nothing was written


def test_a_member_that_claims_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 6000)
    write_archive(tmp_path, [("two\nlines/data_batch_1.bin", FILES[TRAIN[0]])])
    refused(lambda: cifar10(tmp_path, verify=False), match="claims 6146 bytes")


def test_what_is_no_archive(tmp_path):
    for content in (b"", b"<!DOCTYPE html>" * 100, bytes(1024)):
        (tmp_path / ARCHIVE).write_bytes(content)
        refused(lambda: cifar10(tmp_path, verify=False), match="no tar archive|has no member")
    (tmp_path / ARCHIVE).unlink()
    os.mkfifo(tmp_path / ARCHIVE)
    refused(lambda: cifar10(tmp_path, verify=False), match="is no file")


def small_archive() -> bytes:
    """An archive of one image, alike everywhere, so short that every truncation can be tried."""
    return tar([(f"{INNER}/test_batch.bin", bytes([1]) + bytes(3072))])


def test_every_truncation_is_refused(tmp_path):
    whole = small_archive()
    (tmp_path / ARCHIVE).write_bytes(whole)
    assert len(cifar10(tmp_path, "test", verify=False)) == 1
    for length in range(len(whole)):
        (tmp_path / ARCHIVE).write_bytes(whole[:length])
        refused(lambda: cifar10(tmp_path, "test", verify=False), match="truncated")


def test_every_truncation_of_a_plain_archive_is_refused_or_complete(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("test_batch.bin")
        entry.size = 3073
        archive.addfile(entry, io.BytesIO(bytes([1]) + bytes(3072)))
    whole = stream.getvalue()
    for length in range(0, 512 + 3073 + 600, 31):
        (tmp_path / "cifar-10-binary.tar").write_bytes(whole[:length])
        if length < 512 + 3073:
            refused(lambda: cifar10(tmp_path, "test", verify=False), match="truncated")
        else:
            found = read_or_refused(lambda: cifar10(tmp_path, "test", verify=False))
            assert found is None or len(found) == 1


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.lists(st.integers(0, 8 * 512 - 1), min_size=1, max_size=4))
def test_a_damaged_member_header_is_refused_or_harmless(tmp_path, bits):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("test_batch.bin")
        entry.size = 3073
        archive.addfile(entry, io.BytesIO(bytes([1]) + bytes(3072)))
    whole = bytearray(stream.getvalue())
    for bit in bits:
        whole[bit // 8] ^= 1 << bit % 8
    whole[148:156] = b"%06o\0 " % (sum(whole[:148]) + sum(whole[156:512]) + 8 * 32)  # with a checksum that is right
    (tmp_path / "cifar-10-binary.tar").write_bytes(whole)
    found = read_or_refused(lambda: cifar10(tmp_path, "test", verify=False))
    assert found is None or found.x.shape == (1, 32, 32, 3)
