"""One's own arrays in an .npz file: whole, damaged and incomplete."""

import io
import zipfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from image_files import read_or_refused, refused

from ibjax.datasets import from_file

X, Y = np.arange(6.0).reshape(3, 2), np.array([0, 2, 1])
P = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0], [0.25, 0.5, 0.25]])


def packed(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def test_arrays_of_ones_own(tmp_path):
    np.savez(tmp_path / "mine.npz", x=X.astype(np.uint8), y=Y.astype(np.uint8), other=np.eye(2))
    data = from_file(tmp_path / "mine.npz")
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)
    assert (data.x.dtype, data.name, data.classes, data.mutual_information) == (np.float32, "mine", 3, None)
    assert from_file(str(tmp_path / "mine.npz"), name="toy").name == "toy"


def test_a_known_distribution(tmp_path):
    np.savez(tmp_path / "mine.npz", x=X, y=Y, p_y_given_x=P)
    data = from_file(tmp_path / "mine.npz")
    p_y = P.mean(axis=0)
    p = P[P > 0]
    known = -(p_y * np.log(p_y)).sum() + (p * np.log(p)).sum() / 3
    assert data.mutual_information == pytest.approx(known, rel=1e-12)


def test_parts_have_the_classes_of_both(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, x_train=X, y_train=np.array([0, 5, 1]), x_test=X[:2], y_test=Y[:2])
    train, test = from_file(file, "train"), from_file(file, "test")
    assert (len(train), len(test), train.classes, test.classes) == (3, 2, 6, 6)
    np.testing.assert_array_equal(test.y, Y[:2])
    np.savez(file, x_train=X, y_train=Y)
    assert from_file(file, "train").classes == 3
    refused(lambda: from_file(file, "test"), match="has no array x_test, only x_train, y_train")
    refused(lambda: from_file(file, "valid"), match="unknown split 'valid'")
    refused(lambda: from_file(file), match="has no array x, only")


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_such_file(tmp_path):
    file = tmp_path / "mine.npz"
    refused(lambda: from_file(file), match=r"does not exist: save one with numpy\.savez\(path, x=\.\.\., y=\.\.\.\)")
    np.savez(file, x=np.array([{}]), y=Y)
    refused(lambda: from_file(file), match="no NumPy .npz archive of plain arrays")
    np.savez(file, x=X, y=Y[:2])
    refused(lambda: from_file(file), match=r"got \(3, 2\) and \(2,\)")
    np.savez(file, x=X, y=Y + 0.5)
    refused(lambda: from_file(file), match="labels y must be integers")


def test_an_array_that_claims_more_than_the_memory(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    refused(lambda: from_file(tmp_path / "mine.npz"), match="no NumPy .npz archive")


def test_every_truncation_is_refused(tmp_path):
    file, whole = tmp_path / "mine.npz", packed(x=X, y=Y)
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        refused(lambda: from_file(file), match="no NumPy .npz archive")


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.data())
def test_a_damaged_file_is_refused_or_a_data_set(tmp_path, data):
    whole = bytearray(packed(x=X, y=Y))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "mine.npz").write_bytes(whole)
    found = read_or_refused(lambda: from_file(tmp_path / "mine.npz"))
    if found is not None:  # what is not read, or does not matter, was hit; the checksums guard the rest
        np.testing.assert_array_equal(found.x, X)
        np.testing.assert_array_equal(found.y, Y)
