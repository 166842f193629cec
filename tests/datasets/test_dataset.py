"""The one type of every data set: what it says of itself, how it is checked and cut."""

import jax
import numpy as np
import pytest

from ibjax.datasets import Dataset, from_arrays, subset, szt
from ibjax.errors import InputError
from ibjax.information import mutual_information

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 2, 1, 0])
P = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0], [0.25, 0.5, 0.25], [1.0, 0.0, 0.0]])


def test_arrays_of_ones_own():
    data = from_arrays(X.astype(np.int64), Y.astype(np.uint8), name="mine")
    assert len(data) == 4
    assert data.x.dtype == np.float32
    assert data.y.dtype == np.int32
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)
    assert (data.name, data.classes, data.p_y_given_x, data.mutual_information) == ("mine", 3, None, None)


def test_what_a_data_set_says_of_itself():
    data = from_arrays(X, Y)
    assert data.labels is data.y
    np.testing.assert_allclose(data.p_y, [0.5, 0.25, 0.25])
    assert data.entropy_y == pytest.approx(1.5 * np.log(2))
    assert data.entropy_x == pytest.approx(np.log(4))


def test_what_it_says_where_the_distribution_is_known():
    data = from_arrays(X, Y, P)
    assert data.labels is data.p_y_given_x
    p_y = P.mean(axis=0)
    np.testing.assert_allclose(data.p_y, p_y)
    assert data.entropy_y == pytest.approx(-(p_y * np.log(p_y)).sum())
    h_y_given_x = -(P[P > 0] * np.log(P[P > 0])).sum() / 4
    assert data.mutual_information == pytest.approx(data.entropy_y - h_y_given_x, rel=1e-12)


def test_classes_come_from_the_distribution_where_it_is_known():
    wide = np.concatenate([P, np.zeros((4, 2))], axis=1)
    assert from_arrays(X, Y, wide).classes == 5
    assert from_arrays(X, np.zeros(4, int)).classes == 2  # a network needs two outputs


def test_images_keep_their_shape():
    assert from_arrays(np.zeros((4, 8, 8, 1)), Y).x.shape == (4, 8, 8, 1)


def test_jax_arrays_are_taken():
    data = from_arrays(jax.numpy.asarray(X), jax.numpy.asarray(Y))
    np.testing.assert_array_equal(data.x, X)


def test_a_data_set_is_a_pytree_of_its_arrays():
    data = from_arrays(X, Y, P, name="mine")
    leaves, tree = jax.tree.flatten(data)
    assert [leaf.shape for leaf in leaves] == [(4, 3), (4,), (4, 3)]
    again = jax.tree.unflatten(tree, leaves)
    assert (again.name, again.classes, again.mutual_information) == ("mine", 3, data.mutual_information)
    assert len(jax.tree.leaves(from_arrays(X, Y))) == 2


def test_a_data_set_goes_through_jit():
    data = from_arrays(X, Y, name="mine")

    @jax.jit
    def double(data):
        assert isinstance(data, Dataset)
        return jax.tree.map(lambda leaf: 2 * leaf, data), len(data), data.classes

    twice, n, classes = double(data)
    assert (n, classes, twice.name) == (4, 3, "mine")
    np.testing.assert_array_equal(twice.x, 2 * X)


def test_a_data_set_is_frozen():
    with pytest.raises(AttributeError):
        from_arrays(X, Y).name = "other"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "y", "p", "message"),
    [
        (X[:, 0], Y, None, r"x must be \(n, features\) .* got \(4,\) and \(4,\)"),
        (X, Y[:3], None, r"got \(4, 3\) and \(3,\)"),
        (X, Y[:, None], None, r"got \(4, 3\) and \(4, 1\)"),
        (X[:0], Y[:0], None, r"with n >= 1, got \(0, 3\)"),
        (X.astype(str), Y, None, "x must be numbers, got <U32: encode"),
        (X, Y.astype(float), None, r"labels y must be integers, got float64: use y\.astype\(int\)"),
        (X, np.array([0, 1, -3, 0]), None, "labels must count from 0, got -3 at row 2"),
        (np.where(X == 7, np.nan, X), Y, None, "x has a value that is not finite in row 2"),
        (np.where(X == 4, np.inf, X), Y, None, "x has a value that is not finite in row 1"),
        (X, Y, P[:3], r"p_y_given_x must be \(n, classes\) = \(4, 3 or more\), got \(3, 3\)"),
        (X, Y, P[:, :2], r"\(4, 3 or more\), got \(4, 2\)"),
        (X, Y, P[:, 0], r"\(4, 3 or more\), got \(4,\)"),
        (X, Y, P * [[1], [1], [1.01], [1]], "row 2 of p_y_given_x is no distribution: divide each row by its sum"),
        (X, Y, P + np.array([[0], [1], [0], [0]]) * [0.5, -0.5, 0], "row 1 of p_y_given_x is no distribution"),
        (X, Y, np.where(P == 1, np.nan, P), "p_y_given_x has a value that is not finite in row 1"),
    ],
)
def test_errors_name_the_offender(x, y, p, message):
    with pytest.raises(InputError, match=message):
        from_arrays(x, y, p)


def test_a_number_too_large_for_float32_is_an_error():
    with pytest.raises(InputError, match="row 1"):
        from_arrays(np.where(X == 4, 1e300, X), Y)


def test_subset_recomputes_the_information():
    data = from_arrays(X, Y, P)
    part = subset(data, np.array([3, 1]), "part")
    np.testing.assert_array_equal(part.x, X[[3, 1]])
    np.testing.assert_array_equal(part.y, Y[[3, 1]])
    np.testing.assert_array_equal(part.p_y_given_x, P[[3, 1]])
    assert part.mutual_information == pytest.approx(np.log(2))  # two inputs, each with its own sure label
    assert (part.name, part.classes) == ("part", 3)
    assert data.mutual_information == pytest.approx(mutual_information(P / 4))  # unchanged


def test_subset_of_sure_labels():
    part = subset(szt(), np.arange(2048), "half")
    p = szt().y[:2048].mean()
    assert part.mutual_information == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p), rel=1e-12)


def test_subset_knows_no_more_than_the_whole():
    assert subset(from_arrays(X, Y), np.array([0, 1]), "part").mutual_information is None


def test_an_empty_subset():
    for data in (szt(), from_arrays(X, Y, P)):
        part = subset(data, np.arange(0), "nothing")
        assert len(part) == 0
        assert part.mutual_information is None
        assert part.x.shape[1:] == data.x.shape[1:]
