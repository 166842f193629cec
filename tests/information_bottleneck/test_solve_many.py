"""Batches of problems: the loop of single solves, as arrays."""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import solve, solve_many
from ibjax.errors import InputError


def problems(labels, count=4, n=8):
    """Of unequal size once they are reduced."""
    made = [reference.random_table(n, labels, seed) for seed in range(count)]
    p_x, p = (np.stack(a) for a in zip(*made, strict=True))
    p[0, 0] = p[0, 1]
    p_x[1, 2], p_x[1, 3] = 0.0, p_x[1, 2] + p_x[1, 3]
    return p_x, p


@pytest.mark.parametrize(("labels", "method"), [(2, "auto"), (4, "auto"), (3, "blahut-arimoto")])
def test_it_is_the_loop_of_single_solves(labels, method):
    p_x, p = problems(labels)
    betas = np.array([8.0, 0.5, 3.0])
    tolerance = 1e-8 if method == "auto" else 1e-4
    settings = {"method": method, "tolerance": tolerance, "max_iterations": 100_000}
    found = solve_many((p_x, p), betas, **settings)
    assert found.gap_kind == ("searched" if labels == 4 else "certified")
    assert found.complexity.shape == found.status.shape == (4, 3)
    assert found.decoder.shape == (*found.marginal.shape, labels)
    assert (found.status == 0).all()
    assert (found.gap <= tolerance).all()
    np.testing.assert_allclose(found.marginal.sum(axis=-1), 1, atol=1e-12)
    for i in range(4):
        for j, beta in enumerate(betas):
            one = solve((p_x[i], p[i]), beta, **settings)
            np.testing.assert_allclose(found.lagrangian[i, j], one.lagrangian, atol=2 * tolerance)
            np.testing.assert_allclose(found.free_energy[i, j], one.free_energy, atol=2 * tolerance)
            np.testing.assert_allclose(found.complexity[i, j], one.complexity, atol=1e-3 if method == "auto" else 0.1)
            assert found.clusters[i, j] == len(one.marginal) or method != "auto"
            w, s = found.marginal[i, j], found.decoder[i, j]
            z = (w * np.exp(-beta * reference.kl(p[i], np.maximum(s, 1e-200)))).sum(axis=1)
            np.testing.assert_allclose(-p_x[i] @ np.log(z), found.free_energy[i, j], atol=1e-9)


def test_leading_axes_and_both_kinds_of_input():
    p_x, p = problems(3)
    pair = solve_many((p_x.reshape(2, 2, 8), p.reshape(2, 2, 8, 3)), [4.0])
    table = solve_many((p_x[:, :, None] * p).reshape(2, 2, 8, 3), 4.0)
    assert pair.complexity.shape == (2, 2, 1)
    np.testing.assert_allclose(table.lagrangian, pair.lagrangian, atol=2e-9)
    single = solve_many((p_x[3], p[3]), [4.0])
    assert single.complexity.shape == (1,)
    np.testing.assert_allclose(single.lagrangian, pair.lagrangian[1, 1], atol=2e-9)


def test_the_order_of_problems_and_betas_does_not_matter():
    p_x, p = problems(3)
    one = solve_many((p_x, p), [1.0, 4.0])
    other = solve_many((p_x[::-1], p[::-1]), [4.0, 1.0])
    np.testing.assert_allclose(other.lagrangian[::-1, ::-1], one.lagrangian, atol=2e-9)


@pytest.mark.parametrize(
    ("change", "betas", "settings", "message"),
    [
        (lambda a: a[0, 0], 2.0, {}, r"a table must be p\(x,y\) of shape \(n, \|Y\|\)"),
        (lambda a: a[:0], 2.0, {}, "there is no problem"),
        (lambda a: 2 * a, 2.0, {}, "problem 0: the probabilities sum to 2, not 1"),
        (
            lambda a: np.where(np.arange(4)[:, None, None] == 2, -a, a),
            2.0,
            {},
            r"problem 2: the table\[\(0, 0\)\] is -",
        ),
        (lambda a: a, [2.0, 0.0], {}, r"beta\[1\] is 0"),
        (lambda a: a, 2.0, {"method": "best"}, "unknown method 'best'"),
        (lambda a: a, 2.0, {"tolerance": -1.0}, "tolerance is -1.0"),
    ],
)
def test_bad_input(unchecked, change, betas, settings, message):
    p_x, p = problems(3)
    with pytest.raises(InputError, match=message):
        solve_many(change(p_x[:, :, None] * p), betas, **settings)
