"""Leading axes: the loop of single problems, one result or an array of results, and errors that name the problem."""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import agglomerative, curve, deterministic, gaussian, squared
from ibjax.errors import InputError


def same(found, one, index):
    """A problem of a result of arrays is the result of that problem, filled up with zeros."""
    for name, value in one._asdict().items():
        field = getattr(found, name)
        if isinstance(value, str):
            assert field == value
            continue
        full, value = field[index], np.asarray(value)
        np.testing.assert_array_equal(full[tuple(slice(n) for n in value.shape)], value, err_msg=name)
        assert np.count_nonzero(full) == np.count_nonzero(value), name


@pytest.fixture
def pair():
    p_x, p = (np.stack(a) for a in zip(*(reference.random_table(5, 2, seed) for seed in range(4)), strict=True))
    return p_x.reshape(2, 2, 5), p.reshape(2, 2, 5, 2)


def test_one_result_of_all_problems(pair):
    p_x, p = pair
    found = deterministic((p_x, p), 6.0)
    assert found.complexity.shape == (2, 2)
    assert found.encoder.shape[:3] == (2, 2, 5)
    for index in np.ndindex(2, 2):
        same(found, deterministic((p_x[index], p[index]), 6.0), index)
    # The table in place of the pair, and p(x) that all share.
    np.testing.assert_allclose(deterministic(p_x[..., None] * p, 6.0).lagrangian, found.lagrangian, atol=1e-9)
    shared = deterministic((p_x[0, 0], p[0]), 6.0)
    same(shared, deterministic((p_x[0, 0], p[0, 1]), 6.0), 1)


def test_one_result_of_all_problems_and_all_trade_offs(pair):
    p_x, p = pair[0][0], pair[1][0]
    found = squared((p_x, p), [0.05, 0.3])
    assert found.complexity.shape == found.status.shape == (2, 2)
    for i in range(2):
        same(found, squared((p_x[i], p[i]), [0.05, 0.3]), i)


def test_problems_are_broadcast_against_betas(pair):
    p_x, p = pair
    betas = np.array([1.5, 3.0, 30.0])
    found = deterministic((p_x[0, :, None], p[0, :, None]), betas)
    assert found.beta.shape == (2, 3)
    for index in np.ndindex(2, 3):
        same(found, deterministic((p_x[0, index[0]], p[0, index[0]]), betas[index[1]]), index)
    assert deterministic((p_x[0, 0], p[0, 0]), betas).status.shape == (3,)


def test_gaussian_problems():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 5, 7))
    cov = a @ np.swapaxes(a, 1, 2)
    blocks = cov[:, :3, :3], cov[:, :3, 3:], cov[:, 3:, 3:]
    betas = np.array([[2.0], [40.0]])
    found = gaussian(*blocks, betas)
    assert found.projection.shape[:2] == (2, 3)
    for index in np.ndindex(2, 3):
        same(found, gaussian(*(b[index[1]] for b in blocks), betas[index[0], 0]), index)


def test_results_with_sizes_of_their_own_are_an_array_of_them(pair):
    p_x, p = pair[0][0], pair[1][0].copy()
    p[1, 0] = p[1, 3]
    trees = agglomerative((p_x, p))
    assert [len(tree.complexity) for tree in trees] == [5, 4]
    curves = curve((p_x, p), [2.0, 6.0])
    assert curves.shape == trees.shape == (2,)
    for i in range(2):
        np.testing.assert_array_equal(trees[i].labels(3), agglomerative((p_x[i], p[i])).labels(3))
        one = curve((p_x[i], p[i]), [2.0, 6.0])
        np.testing.assert_array_equal(curves[i].complexity, one.complexity)
        assert curves[i].at_complexity(0.01) == one.at_complexity(0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, p: agglomerative((x, -p)), r"problem \(0, 0\): p_y_given_x\[\(0, 0\)\] is -"),
        (lambda x, p: curve((x[0], np.where(p[0] == p[0, 1, 2, 1], 0, p[0])), 2.0), "problem 1: p_y_given_x sums to"),
        (
            lambda x, p: squared((x[:1].repeat(3, 0), p), 2.0),
            r"leading axes must fit each other, got joint \(3, 2\) and",
        ),
        (lambda x, p: deterministic((x, p), [1.0, -2.0]), r"problem \(0, 1\): beta\[0\] is -2"),
        (lambda x, p: deterministic((x[:, :0], p[:, :0]), 2.0), r"there is no problem: the leading axes are \(2, 0\)"),
        (lambda x, p: gaussian(np.eye(2), np.zeros((3, 2, 1)), np.eye(1), [1.0, 0.0, 2.0]), "problem 1: beta is 0.0"),
        (lambda x, p: curve([[0.5, 0.2], [0.3]]), "joint must be an array of numbers, rows of one length"),
    ],
)
def test_bad_input(unchecked, pair, call, message):
    with pytest.raises(InputError, match=message):
        call(*pair)
