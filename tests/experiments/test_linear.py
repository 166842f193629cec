"""Linear students against formulas in NumPy, and the claims about them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from ibjax.datasets import student_teacher
from ibjax.errors import InputError
from ibjax.experiments import SaxeIrrelevant, SaxeLinear, draw, run, saxe_irrelevant, saxe_linear
from ibjax.experiments.linear import Student, Teacher, informations, train

SMALL = {"replicas": 3, "epochs": 6, "hidden": 4, "snapshots": 4, "noise_variances": (1.0, 0.01)}


def gaussian_information(cov: np.ndarray, first: list[int], second: list[int]) -> float:
    """I(A;B) of a joint normal distribution from its covariance."""

    def log(part: list[int]) -> float:
        return np.linalg.slogdet(cov[np.ix_(part, part)])[1]

    return (log(first) + log(second) - log([*first, *second])) / 2


@pytest.mark.parametrize("noise", [1.0, 0.01])
def test_informations_are_those_of_the_joint_covariance(noise):
    task = student_teacher(relevant=3, irrelevant=4, snr=2.0, key=jax.random.key(1))
    weights = np.asarray(jax.random.normal(jax.random.key(2), (5, 7)), np.float64)
    found = informations(jnp.asarray(weights, jnp.float32), task, noise)
    v, d = np.asarray(task.weights, np.float64), 7
    down = np.concatenate([np.eye(d), weights, v])  # X, T, Y as functions of X
    cov = down @ down.T / d + np.diag([0.0] * d + [noise] * 5 + [float(task.noise_variance)])
    x, t, y = list(range(7)), list(range(7, 12)), [12]
    for name, first in (("complexity", x), ("complexity_irrelevant", x[3:]), ("complexity_relevant", x[:3])):
        assert float(getattr(found, name)) == pytest.approx(gaussian_information(cov, first, t), rel=2e-4)
    assert float(found.relevance) == pytest.approx(gaussian_information(cov, t, y), rel=2e-3)


def test_without_irrelevant_inputs_all_information_is_relevant():
    found = informations(jnp.ones((2, 3)), student_teacher(3, 0), 1.0)
    assert float(found.complexity_relevant) == float(found.complexity)
    assert float(found.complexity_irrelevant) == 0.0


def test_training_is_gradient_descent():
    student, keys = Student(20, None, 3, 2, 0.3, 0.5, (1.0,)), jax.random.split(jax.random.key(0), 2)
    epochs, found = train(student, Teacher(4, 0, 1.0), keys, 10, title="", progress=False)
    assert epochs.tolist() == [0, 1, 2]
    key_teacher, key_data, key_weights = jax.random.split(keys[1], 3)
    x, y = (np.asarray(a, np.float64) for a in student_teacher(4, key=key_teacher).sample(20, key_data))
    one, two = jax.random.split(key_weights)
    first = 0.5 * np.asarray(jax.random.normal(one, (3, 4)), np.float64)
    second = 0.5 * np.asarray(jax.random.normal(two, (1, 3)), np.float64)
    errors = []
    for _ in range(3):
        left = x @ first.T @ second.T - y
        errors.append((left**2).mean())
        first, second = first - 0.3 * second.T @ left.T @ x / 20, second - 0.3 * left.T @ x @ first.T / 20
    np.testing.assert_allclose(found.train_error[1], errors, rtol=1e-4)


def test_a_replica_is_its_id():
    alone, more = (
        run(SaxeLinear(**SMALL | {"replicas": n}, samples=(8,), batch_sizes=(None,)), progress=False) for n in (1, 3)
    )
    np.testing.assert_allclose(alone["train_error"].values, more["train_error"].values[:, :, :1], rtol=1e-5)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny runs of both experiments."""
    out = tmp_path_factory.mktemp("linear")
    run(SaxeLinear(**SMALL, samples=(8, 20), batch_sizes=(None, 4)), out / "linear", progress=False)
    config = SaxeIrrelevant(**SMALL, samples=10, batch_size=None, relevant=3, irrelevant=4, scales=(0.1, 0.01))
    run(config, out / "irrelevant", progress=False)
    return out


def test_both_are_drawn(folders, tmp_path):
    for name in ("linear", "irrelevant"):
        assert all(path.stat().st_size > 5000 for path in draw(folders / name, tmp_path))


def table(values: np.ndarray, error: np.ndarray) -> xr.Dataset:
    """saxe-linear's results of four replicas, equal but for a little."""
    own = 1 + 1e-3 * np.arange(4)[:, None]
    shape = ("samples", "batch", "replica", "snapshot")
    information = (values * own)[None, None, :, :, None] * np.ones((2, 1, 1, 1, 1))
    errors = (error * own)[None, None] * np.ones((2, 1, 1, 1))
    return xr.Dataset(
        {
            "complexity": ((*shape, "noise_variance"), information),
            "test_error": (shape, errors),
            "train_error": (shape, errors),
        },
        {"samples": [10, 100], "batch": ["full"], "noise_variance": [1.0], "epoch": ("snapshot", [0, 1, 2])},
    )


def test_linear_claims_can_go_both_ways():
    up, down = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
    falling, rising = np.array([2.0, 1.0, 0.9]), np.array([2.0, 1.0, 3.0])

    def verdict(*of: np.ndarray) -> list[str]:
        return [claim.verdict for claim in saxe_linear.claims(table(*of))]

    # no compression of both, generalises, overfits
    assert verdict(up, falling) == ["reproduced", "reproduced", "reproduced", "refuted"]
    assert verdict(down, rising) == ["refuted", "refuted", "refuted", "reproduced"]


def test_irrelevant_claims_can_go_both_ways():
    def results(irrelevant, total):
        own = 1 + 1e-3 * np.arange(4)[:, None]
        dims = ("scale", "replica", "snapshot")
        return xr.Dataset(
            {
                name: ((*dims, "noise_variance"), (np.array(values) * own)[None, :, :, None])
                for name, values in (("complexity_irrelevant", irrelevant), ("complexity", total))
            }
            | {"train_error": (dims, (np.array([1.0, 0.5, 0.1, 0.05]) * own)[None])},
            {"scale": [0.1], "noise_variance": [1.0], "epoch": ("snapshot", [0, 1, 2, 3])},
        )

    def verdicts(*of):
        return [claim.verdict for claim in saxe_irrelevant.claims(results(*of))]

    assert verdicts([1.0, 2.0, 1.2, 1.1], [3.0, 4.0, 5.0, 6.0]) == ["reproduced"] * 3
    assert verdicts([1.0, 2.0, 1.95, 1.0], [3.0, 4.0, 5.0, 2.0]) == ["reproduced", "refuted", "refuted"]
    assert verdicts([1.0, 2.0, 2.1, 2.2], [3.0, 4.0, 5.0, 6.0]) == ["refuted", "reproduced", "inconclusive"]


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        (SaxeLinear, {"noise_variances": (0.0,)}, "without noise I is infinite"),
        (SaxeLinear, {"samples": (1,)}, "samples must be 2"),
        (SaxeLinear, {"batch_sizes": (0,)}, "a batch has 1 to"),
        (SaxeIrrelevant, {"noise_variances": (-1.0,)}, "without noise I is infinite"),
        (SaxeIrrelevant, {"irrelevant": 0}, "see saxe-linear"),
        (SaxeIrrelevant, {"scales": (0.0,)}, "from 0 nothing is learned"),
        (SaxeIrrelevant, {"batch_size": 10_000}, "batch_size must be 1 to"),
        (SaxeIrrelevant, {"epochs": 0}, "epochs 1 or more"),
    ],
)
def test_settings_that_make_no_sense(kind, changes, text):
    with pytest.raises(InputError, match=text):
        kind(**changes)
