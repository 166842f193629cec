"""MNIST and Fashion-MNIST: files in the IDX format, whole, damaged and hostile."""

import gzip
import os
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from image_files import (
    IMAGES_FILE,
    LABELS,
    LABELS_FILE,
    PIXELS,
    idx,
    pretend,
    read_or_refused,
    refused,
    sha256,
    write_mnist,
)

from ibjax.datasets import fashion_mnist, files, flatten, mnist, subset
from ibjax.datasets.mnist import parse_idx


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch):
    monkeypatch.delenv("IBJAX_DATA", raising=False)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["{}", "{}.gz", "mnist-{}", "MNIST/raw/{}", "mnist/{}"])
def test_images_and_labels_are_read(tmp_path, form, packed):
    write_mnist((tmp_path / form).parent, Path(form).name, packed)
    data = mnist(tmp_path, verify=False)
    assert (data.x.shape, data.x.dtype, data.y.dtype) == ((6, 3, 2, 1), np.float32, np.int32)
    np.testing.assert_array_equal(data.x[..., 0], PIXELS.astype(np.float32) / 255)
    np.testing.assert_array_equal(data.y, LABELS)
    assert (data.name, data.classes, data.p_y_given_x, data.mutual_information) == ("MNIST (train)", 10, None, None)


def test_a_dot_in_the_name(tmp_path):
    for name, array in (("train-images.idx3-ubyte", PIXELS), ("train-labels.idx1-ubyte", LABELS)):
        (tmp_path / name).write_bytes(idx(array))
    assert len(mnist(str(tmp_path), verify=False)) == 6


def test_the_folder_of_the_environment(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setenv("IBJAX_DATA", str(tmp_path))
    assert len(mnist(verify=False)) == 6
    monkeypatch.setenv("IBJAX_DATA", str(tmp_path / "none"))
    refused(mnist, match=r"none \(from IBJAX_DATA\) does not exist")
    assert len(mnist(tmp_path, verify=False)) == 6  # the argument goes first


def test_sets_that_share_a_folder(tmp_path):
    write_mnist(tmp_path)
    write_mnist(tmp_path / "fashion-mnist")
    (tmp_path / "fashion-mnist" / LABELS_FILE).write_bytes(idx(LABELS[::-1]))
    np.testing.assert_array_equal(mnist(tmp_path, verify=False).y, LABELS)
    np.testing.assert_array_equal(fashion_mnist(tmp_path, verify=False).y, LABELS[::-1])
    write_mnist(tmp_path / "flat")
    write_mnist(tmp_path / "flat", "fashion-mnist-{}")
    (tmp_path / "flat" / f"fashion-mnist-{LABELS_FILE}").write_bytes(idx(LABELS[::-1]))
    np.testing.assert_array_equal(fashion_mnist(tmp_path / "flat", verify=False).y, LABELS[::-1])


def test_only_the_known_files_are_taken(tmp_path, monkeypatch):
    write_mnist(tmp_path, packed=True)  # what is known is the content, however it is packed
    refused(
        lambda: mnist(tmp_path),
        lambda: fashion_mnist(tmp_path),
        match=r"is not (Fashion-)?MNIST's train-images-idx3-ubyte \(sha256 .*verify=False",
    )
    known = {IMAGES_FILE: sha256(idx(PIXELS)), LABELS_FILE: sha256(idx(LABELS))}
    pretend(monkeypatch, "mnist", contents=known)
    assert len(mnist(tmp_path)) == 6
    pretend(monkeypatch, "mnist", contents=known | {LABELS_FILE: "0" * 64})
    refused(lambda: mnist(tmp_path), match="train-labels-idx1-ubyte")


def test_what_is_missing_is_named_with_the_remedy(tmp_path):
    remedy = r'nor has .*mnist: put it there, or call ibjax\.datasets\.fetch\("mnist", folder\)'
    refused(lambda: mnist(tmp_path), match=f"has no file train-images-idx3-ubyte of MNIST, {remedy}")
    (tmp_path / IMAGES_FILE).write_bytes(idx(PIXELS))
    refused(lambda: mnist(tmp_path, verify=False), match=f"has no file train-labels-idx1-ubyte of MNIST, {remedy}")
    refused(lambda: mnist(tmp_path, "tset"), match="unknown split 'tset': did you mean 'test'")
    refused(lambda: mnist(tmp_path / "none"), match="folder of the data .*none does not exist")
    (tmp_path / "file").touch()
    refused(lambda: mnist(tmp_path / "file"), match="folder of the data .*file is a file: name the folder")


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS, LABELS[:5], r"MNIST \(train\) has 6 images and 5 labels"),
        (PIXELS[:0], LABELS[:0], "has 0 images and 0 labels"),
        (PIXELS, np.array([1, 2, 3, 10, 4, 200], np.uint8), "has the label 10 at row 3: labels must be 0 to 9"),
    ],
)
def test_files_that_do_not_go_together(tmp_path, pixels, labels, message):
    (tmp_path / IMAGES_FILE).write_bytes(idx(pixels))
    (tmp_path / LABELS_FILE).write_bytes(idx(labels))
    refused(lambda: mnist(tmp_path, verify=False), match=message)


def test_another_kind_of_file(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / IMAGES_FILE).write_bytes(idx(LABELS))
    refused(
        lambda: mnist(tmp_path, verify=False), match="has the magic number 0x00000801, not 0x00000803 of an IDX file"
    )
    (tmp_path / IMAGES_FILE).write_bytes(b"<!DOCTYPE html>")
    refused(lambda: mnist(tmp_path, verify=False), match="magic number 0x3c21444f")
    (tmp_path / IMAGES_FILE).write_bytes(idx(PIXELS) + b"\0")
    refused(lambda: mnist(tmp_path, verify=False), match="is too long: its header says 6 x 3 x 2 bytes, it has 37")
    (tmp_path / IMAGES_FILE).unlink()
    (tmp_path / IMAGES_FILE).mkdir()
    refused(lambda: mnist(tmp_path, verify=False), match="is no file")
    (tmp_path / IMAGES_FILE).rmdir()
    os.mkfifo(tmp_path / IMAGES_FILE)  # would never end
    refused(lambda: mnist(tmp_path, verify=False), match="is no file")


def test_a_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    write_mnist(tmp_path)
    (tmp_path / IMAGES_FILE).write_bytes(gzip.compress(bytes((1 << 20) + 1)))
    refused(lambda: mnist(tmp_path, verify=False), match="holds more than 1 MiB")


@pytest.mark.parametrize("packed", [False, True])
def test_every_truncation_is_refused(tmp_path, packed):
    write_mnist(tmp_path, packed=packed)
    path = tmp_path / IMAGES_FILE
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(lambda: mnist(tmp_path, verify=False), match="is truncated|magic number")


@hypothesis.given(st.data())
def test_a_damaged_header_is_refused_or_read_as_it_says(data):
    whole = bytearray(idx(PIXELS))
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, 8 * 16 - 1))
        whole[bit // 8] ^= 1 << bit % 8
    found = read_or_refused(lambda: parse_idx(bytes(whole), 3, "file"))
    if found is not None:  # other lengths of the same product
        assert whole[:4] == idx(PIXELS)[:4]
        assert found.tobytes() == PIXELS.tobytes()


@hypothesis.given(st.binary(max_size=64))
def test_any_bytes_are_refused_or_an_array(content):
    found = read_or_refused(lambda: parse_idx(content, 1, "file"))
    assert found is None or idx(found) == content


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.integers(0, 8 * 40 - 1))
def test_a_flipped_bit_of_a_packed_file_is_found(tmp_path, bit):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / LABELS_FILE
    whole = bytearray(path.read_bytes())
    whole[bit // 8 % len(whole)] ^= 1 << bit % 8
    path.write_bytes(whole)
    data = read_or_refused(lambda: mnist(tmp_path, verify=False))
    if data is not None:  # the time and the system in the header mean nothing
        np.testing.assert_array_equal(data.y, LABELS)


def test_flat_images_are_those_pixels_and_no_copy(tmp_path):
    write_mnist(tmp_path)
    data = mnist(tmp_path, verify=False)
    flat = flatten(data)
    np.testing.assert_array_equal(flat.x, data.x.reshape(6, 6))
    assert np.shares_memory(flat.x, data.x)
    assert (flat.name, flat.classes) == (data.name, 10)
    np.testing.assert_array_equal(flat.y, data.y)
    assert flatten(flat).x.shape == (6, 6)
    assert flatten(subset(data, np.arange(0), "nothing")).x.shape == (0, 6)
    assert jax.jit(lambda d: flatten(d).x)(data).shape == (6, 6)
