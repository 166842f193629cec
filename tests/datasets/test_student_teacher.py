"""The Gaussian student-teacher task: its samples, its exact information and its exact error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.datasets import LinearTeacher, student_teacher
from ibjax.errors import InputError
from ibjax.estimators import gaussian_information, gaussian_layer_information

KEY = jax.random.key(5)
TEACHER = student_teacher(relevant=6, irrelevant=4, outputs=2, snr=4.0, key=KEY)


def information(cov_x, cov_xy, cov_y):
    """1/2 ln(|cov_x| |cov_y| / |cov|) in double precision."""
    cov_x, cov_xy, cov_y = (np.asarray(cov, np.float64) for cov in (cov_x, cov_xy, cov_y))
    whole = np.block([[cov_x, cov_xy], [cov_xy.T, cov_y]])
    return (np.linalg.slogdet(cov_x)[1] + np.linalg.slogdet(cov_y)[1] - np.linalg.slogdet(whole)[1]) / 2


def test_the_teacher_uses_the_relevant_inputs_alone():
    assert (TEACHER.weights.shape, TEACHER.weights.dtype, TEACHER.relevant) == ((2, 10), np.float32, 6)
    assert (TEACHER.weights[:, 6:] == 0).all()
    assert (TEACHER.weights[:, :6] != 0).all()
    assert float(TEACHER.noise_variance) == 0.25


def test_the_defaults_are_the_papers():
    teacher = student_teacher()
    assert (teacher.weights.shape, float(teacher.noise_variance)) == ((1, 100), 1.0)
    assert float((teacher.weights**2).mean()) == pytest.approx(1, abs=0.6)
    weights = student_teacher(relevant=20_000).weights
    assert float(weights.mean()) == pytest.approx(0, abs=0.03)
    assert float(weights.var()) == pytest.approx(1, abs=0.05)


def test_samples_have_the_covariances_that_are_stated():
    n = 200_000
    x, y = TEACHER.sample(n, jax.random.key(1))
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((n, 10), (n, 2), np.float32, np.float32)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    np.testing.assert_allclose(x.T @ x / n, TEACHER.cov_x, atol=0.002)
    np.testing.assert_allclose(x.T @ y / n, TEACHER.cov_xy, atol=0.004)
    np.testing.assert_allclose(y.T @ y / n, TEACHER.cov_y, atol=0.01)
    noise = y - x @ np.asarray(TEACHER.weights, np.float64).T
    np.testing.assert_allclose(noise.T @ noise / n, 0.25 * np.eye(2), atol=0.004)


def test_samples_are_decided_by_their_key():
    first, again, other = (TEACHER.sample(50, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[1], again[1])
    assert not (np.asarray(first[0]) == np.asarray(other[0])).any()


def test_the_information_is_the_gaussian_formulas():
    known = information(TEACHER.cov_x, TEACHER.cov_xy, TEACHER.cov_y)
    assert float(TEACHER.mutual_information) == pytest.approx(known, rel=1e-5)
    found = gaussian_information(TEACHER.cov_x, TEACHER.cov_xy, TEACHER.cov_y)
    assert float(found) == pytest.approx(known, rel=1e-5)
    one = student_teacher(snr=0.5)  # a single output: 1/2 ln(1 + |w|^2 / (d s^2))
    square = float((np.asarray(one.weights, np.float64) ** 2).sum())
    assert float(one.mutual_information) == pytest.approx(np.log1p(square / 100 * 0.5) / 2, rel=1e-5)


def test_irrelevant_inputs_know_nothing():
    cov = jnp.asarray(TEACHER.cov_x), jnp.asarray(TEACHER.cov_xy)
    relevant = information(cov[0][:6, :6], cov[1][:6], TEACHER.cov_y)
    irrelevant = information(cov[0][6:, 6:], cov[1][6:], TEACHER.cov_y)
    assert relevant == pytest.approx(float(TEACHER.mutual_information), rel=1e-5)
    assert irrelevant == pytest.approx(0, abs=1e-9)


def test_information_on_a_part_of_the_inputs_is_the_difference_that_is_stated():
    student = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    cov_t = student @ np.asarray(TEACHER.cov_x) @ student.T + 0.7 * np.eye(3)
    known = information(np.eye(6) / 10, student[:, :6].T / 10, cov_t)
    whole = gaussian_layer_information(student, TEACHER.cov_x, 0.7)
    rest = gaussian_layer_information(student[:, 6:], TEACHER.cov_x[6:, 6:], 0.7)
    assert float(whole - rest) == pytest.approx(known, rel=1e-4)


def test_the_error_of_a_student():
    assert float(TEACHER.error(TEACHER.weights)) == pytest.approx(2 * 0.25)
    student = np.random.default_rng(1).normal(size=(2, 10)).astype(np.float32)
    x, y = TEACHER.sample(200_000, jax.random.key(3))
    losses = ((np.asarray(y) - np.asarray(x) @ student.T) ** 2).sum(axis=1)
    assert float(TEACHER.error(student)) == pytest.approx(losses.mean(), abs=5 * losses.std() / np.sqrt(len(losses)))


def test_teachers_are_mapped_and_compiled():
    def draw(key):
        teacher = student_teacher(relevant=3, irrelevant=1, key=key)
        assert isinstance(teacher, LinearTeacher)
        return teacher.mutual_information, teacher.sample(4, key), teacher

    keys = jax.random.split(KEY, 3)
    mapped = jax.jit(jax.vmap(draw))(keys)
    for i in range(3):
        information, samples, _ = draw(keys[i])
        np.testing.assert_allclose(mapped[0][i], information, rtol=1e-5)
        for whole, one in zip(mapped[1], samples, strict=True):
            np.testing.assert_allclose(whole[i], one, rtol=1e-5, atol=1e-6)
    assert mapped[2].relevant == 3


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relevant": 0}, "relevant must be 1 or more, got 0"),
        ({"irrelevant": -1}, "irrelevant must be 0 or more, got -1"),
        ({"outputs": 0}, "outputs must be 1 or more, got 0"),
        ({"snr": 0.0}, "snr must be positive and finite, got 0.0"),
        ({"snr": float("inf")}, r"got inf: without noise I\(X;Y\) is infinite"),
        ({"snr": float("nan")}, "got nan"),
    ],
)
def test_errors_name_the_setting(settings, message):
    with pytest.raises(InputError, match=message):
        student_teacher(**settings)
