"""The benchmark's true values, each against a computation of another kind, and its samplers.

Where the densities p are known, the mean of ln p(x,y) / p(x) p(y) over a task's own samples is its information: within
3 standard errors of the mean if sampler, density and true value are of one distribution.
"""

import numpy as np
import pytest
import tasks
from scipy import integrate, linalg, special, stats
from tasks import TASKS

N = 40_000

CZYZ = {
    "normal-1+1": 0.413,
    "half-cube-1+1": 0.413,
    "wiggly-1+1": 0.413,
    "bimodal-1+1": 0.413,
    "swiss-roll-2+1": 0.413,
    "uniform-noise-0.1": 1.709,
    "uniform-noise-0.75": 0.333,
    "student-1+1": 0.224,
    "asinh-student-1+1": 0.224,
    "student-2+2": 0.193,
    "normal-dense-3+3": 0.413,
    "normal-dense-5+5": 0.593,
    "normal-dense-25+25": 1.292,
    "normal-sparse-5+5": 1.022,
    "normal-sparse-25+25": 1.022,
    "half-cube-sparse-5+5": 1.022,
    "spiral-sparse-3+3": 1.022,
    "spiral-sparse-5+5": 1.022,
}
"""True values of the tasks of Czyz et al. (2023), as their public code prints them."""

MAPPED = {
    "half-cube-1+1": "normal-1+1",
    "wiggly-1+1": "normal-1+1",
    "bimodal-1+1": "normal-1+1",
    "swiss-roll-2+1": "normal-1+1",
    "asinh-student-1+1": "student-1+1",
    "half-cube-sparse-5+5": "normal-sparse-5+5",
    "spiral-sparse-5+5": "normal-sparse-5+5",
}
"""Task -> the one that it is an invertible map of."""

NORMALS = {
    "normal-1+1": (1, 0.75, None),
    "normal-dense-3+3": (3, 0.5, None),
    "normal-dense-5+5": (5, 0.5, None),
    "normal-dense-10+10": (10, 0.5, None),
    "normal-dense-25+25": (25, 0.5, None),
    "normal-strong-2+2": (2, 0.99, 2),
    "normal-sparse-5+5": (5, 0.8, 2),
    "normal-sparse-25+25": (25, 0.8, 2),
}
STUDENTS = {"student-1+1": (1, 0.0, 1, 1), "student-2+2": (2, 0.0, 2, 2), "student-sparse-5+5": (5, 0.8, 2, 3)}
"""Columns of x and of y, correlation, correlated pairs (all columns if None), and the degrees of freedom."""


def covariance(d, rho, correlated):
    if correlated is None:
        return np.where(np.eye(2 * d, dtype=bool), 1.0, rho)
    link = np.diag(np.where(np.arange(d) < correlated, rho, 0.0))
    return np.block([[np.eye(d), link], [link, np.eye(d)]])


def log_ratio(joint, x, y):
    """Of a distribution of SciPy's whose margins are of its family: ``joint(which columns)``."""
    d = x.shape[1]
    both = np.concatenate([x, y], axis=1)
    return joint(slice(None)).logpdf(both) - joint(slice(d)).logpdf(x) - joint(slice(d, None)).logpdf(y)


def normal_ratio(x, y, *settings):
    cov = covariance(*settings)
    return log_ratio(lambda at: stats.multivariate_normal(cov=cov[at, at]), x, y)


def student_ratio(x, y, d, rho, correlated, dof):
    cov = covariance(d, rho, correlated)
    return log_ratio(lambda at: stats.multivariate_t(shape=cov[at, at], df=dof), x, y)


def noise_ratio(x, y, e):
    """p(y|x) is 1 / 2e and p(y) the share of [y - e, y + e] that lies in [0, 1], over 2e."""
    inside = np.minimum(y + e, 1) - np.maximum(y - e, 0)
    assert (np.abs(y - x) <= e).all()
    return -np.log(inside[:, 0])


def class_ratio(x, y, means, shares):
    log_p = np.stack([stats.norm.logpdf(x - np.array(mean)).sum(axis=1) for mean in means], axis=1)
    return log_p[np.arange(len(y)), y] - special.logsumexp(log_p, b=shares, axis=1)


def poisson_ratio(x, y, p):
    """A Poisson variable whose mean is exponential is geometric."""
    given = (1 - p) * stats.poisson.pmf(y, x) + p * (y == 0)
    return np.log(given / ((1 - p) * stats.geom.pmf(y + 1, 0.5) + p * (y == 0)))[:, 0]


def stairs_ratio(x, y, steps):
    """p(y|x) is 1/2 on [x, x + 2], so p(y) counts the x that may have it."""
    from_x = y - np.arange(steps)
    assert ((y >= x) & (y <= x + 2)).all()
    return np.log(steps / ((from_x >= 0) & (from_x <= 2)).sum(axis=1))


RATIOS = {
    **{name: (normal_ratio, settings) for name, settings in NORMALS.items()},
    **{name: (student_ratio, settings) for name, settings in STUDENTS.items()},
    "uniform-noise-0.1": (noise_ratio, (0.1,)),
    "uniform-noise-0.75": (noise_ratio, (0.75,)),
    "classes-4-of-2": (class_ratio, ([(0, 0), (2, 0), (0, 3), (2, 2)], [0.4, 0.3, 0.2, 0.1])),
    "classes-2-of-10": (class_ratio, ([[-0.4] * 10, [0.4] * 10], [0.5, 0.5])),
    "zero-inflated-poisson": (poisson_ratio, (0.15,)),
    "stairs-5": (stairs_ratio, (5,)),
}
"""Task -> ln p(x,y) / p(x) p(y) of its samples, and the distribution's settings."""

INDEPENDENT = [name for name in TASKS if name.startswith("independent")]
TABLES = [name for name in TASKS if name.startswith("table")]


def test_every_true_value_is_checked():
    """Also that no two tasks have one name, and that there are enough."""
    checked = set(RATIOS) | set(MAPPED) | {"spiral-sparse-3+3"} | set(INDEPENDENT) | set(TABLES)
    assert checked == set(TASKS)
    assert len(TASKS) == len(tasks._tasks()) >= 22


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_samples(task):
    """Their shapes and types; the generator decides them, and no two draws are equal."""
    x, y = task.sample(np.random.default_rng(3), 50)
    for side, d, labels in ((x, task.dx, task.kind == "discrete"), (y, task.dy, task.labelled)):
        assert side.shape == ((50,) if labels else (50, d))
        assert side.dtype == (np.int64 if labels else np.float64)
        assert np.isfinite(side).all()
    rng = np.random.default_rng(3)
    again, later = task.sample(rng, 50), task.sample(rng, 50)
    np.testing.assert_array_equal(again[0], x)
    np.testing.assert_array_equal(again[1], y)
    assert (later[0] != x).any()
    assert (later[1] != y).any()
    repeats = [len(np.unique(side, axis=0)) < 50 for side in (x, y)]
    assert sum(repeats) == {"continuous": 0, "mixed": 1, "discrete": 2}[task.kind]


@pytest.mark.parametrize("name", RATIOS)
def test_mean_log_ratio_of_densities(name):
    ratio, settings = RATIOS[name]
    found = ratio(*TASKS[name].sample(np.random.default_rng(1), N), *settings)
    error = found.std() / np.sqrt(N)
    assert abs(found.mean() - TASKS[name].truth) < 3 * error + 1e-12
    assert error < 0.02


@pytest.mark.parametrize("name", TABLES)
def test_mean_log_ratio_of_counts(name):
    """The information of a large sample's table, less Miller's bias, without a look at the probabilities."""
    n = 1_000_000
    x, y = TASKS[name].sample(np.random.default_rng(1), n)
    counts = np.zeros((x.max() + 1, y.max() + 1))
    np.add.at(counts, (x, y), 1)
    assert counts.shape == tuple(2 * [int(name.rsplit("x")[-1])])
    ratio = np.log(np.maximum(counts, 1) * n / (counts.sum(axis=1, keepdims=True) * counts.sum(axis=0)))
    mean = (counts * ratio).sum() / n
    error = np.sqrt((counts * (ratio - mean) ** 2).sum()) / n
    bias = ((counts > 0).sum() - sum(counts.shape) + 1) / (2 * n)
    assert abs(mean - bias - TASKS[name].truth) < 3 * error
    assert error < 0.002


@pytest.mark.parametrize("name", NORMALS)
def test_canonical_correlations(name):
    d, *settings = NORMALS[name]
    cov = covariance(d, *settings)
    rho = linalg.svdvals(linalg.inv(linalg.sqrtm(cov[:d, :d])) @ cov[:d, d:] @ linalg.inv(linalg.sqrtm(cov[d:, d:])))
    np.testing.assert_allclose(TASKS[name].truth, -np.log1p(-(rho**2)).sum() / 2, rtol=1e-9)


@pytest.mark.parametrize("name", STUDENTS)
def test_entropies_of_student(name):
    d, *settings, dof = STUDENTS[name]
    cov = covariance(d, *settings)
    x, y, both = (
        stats.multivariate_t(shape=cov[at, at], df=dof).entropy() for at in (slice(d), slice(d, None), slice(None))
    )
    np.testing.assert_allclose(TASKS[name].truth, x + y - both, rtol=1e-9)


def test_published_values():
    for name, truth in CZYZ.items():
        assert round(TASKS[name].truth, 3) == truth, name


def test_two_classes_by_adaptive_quadrature():
    distance = 0.8 * np.sqrt(10)

    def density(x):
        return (stats.norm.pdf(x) + stats.norm.pdf(x - distance)) / 2

    entropy = integrate.quad(lambda x: -special.xlogy(density(x), density(x)), -12, 12 + distance, epsabs=1e-12)[0]
    np.testing.assert_allclose(TASKS["classes-2-of-10"].truth, entropy - stats.norm.entropy(), atol=1e-10)


def test_classes_in_the_limits():
    """Far apart a class is known; on a square, the two halves of a class are independent."""
    far = tasks.class_information(50 * np.eye(3), np.array([0.5, 0.25, 0.25]))
    np.testing.assert_allclose(far, 1.5 * np.log(2), atol=1e-10)
    square = np.array([[0, 0, 7], [0, 3, 7], [3, 0, 7], [3, 3, 7.0]])
    side = tasks.class_information(np.array([[0.0], [3.0]]), np.full(2, 0.5))
    np.testing.assert_allclose(tasks.class_information(square, np.full(4, 0.25)), 2 * side, atol=1e-10)


def test_inflated_poisson():
    """Gao et al. (2017), section 5: (2 ln 2 - gamma - sum ln k / 2^k)(1 - p), exact at p = 0 and a bound above it."""
    k = np.arange(1, 100)
    published = 2 * np.log(2) - np.euler_gamma - (np.log(k) / 2.0**k).sum()
    np.testing.assert_allclose(tasks.inflated_poisson_information(0.0), published, atol=1e-12)
    assert round(published, 4) == 0.3012

    def given(x):
        c, p = np.arange(150), 0.15
        q, total = ((1 - p) * pmf + p * (c == 0) for pmf in (stats.poisson.pmf(c, x), 0.5 ** (c + 1)))
        return np.exp(-x) * special.rel_entr(q, total).sum()

    exact = integrate.quad(given, 0, 60, limit=200)[0]
    np.testing.assert_allclose(TASKS["zero-inflated-poisson"].truth, exact, atol=1e-8)
    assert exact < 0.85 * published - 0.02


def test_stairs_published():
    assert round(TASKS["stairs-5"].truth, 4) == round(np.log(5) - 0.8 * np.log(2), 4) == 1.0549


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent(name):
    """Zero, and no column of x goes with one of y: not its value, nor its size."""
    assert TASKS[name].truth == 0
    n = 10_000
    x, y = (side.reshape(n, -1) for side in TASKS[name].sample(np.random.default_rng(1), n))
    for a, b in ((x, y), (np.abs(x), np.abs(y))):
        ranks = stats.rankdata(np.concatenate([a, b], axis=1), axis=0)
        across = np.corrcoef(ranks, rowvar=False)[: x.shape[1], x.shape[1] :]
        assert np.abs(across).max() < 4 / np.sqrt(n)


# --- Maps --------------------------------------------------------------------------------------------------


def pair(name, n=2000):
    return TASKS[name].sample(np.random.default_rng(2), n)


@pytest.mark.parametrize("name", MAPPED)
def test_maps_keep_the_information(name):
    assert TASKS[name].truth == TASKS[MAPPED[name]].truth > 0.2


@pytest.mark.parametrize("name", ["half-cube-1+1", "half-cube-sparse-5+5"])
def test_half_cube(name):
    for mapped, original in zip(pair(name), pair(MAPPED[name]), strict=True):
        np.testing.assert_allclose(np.sign(mapped) * np.abs(mapped) ** (2 / 3), original, atol=1e-12)


def test_asinh():
    for mapped, original in zip(pair("asinh-student-1+1"), pair("student-1+1"), strict=True):
        np.testing.assert_allclose(np.sinh(mapped), original, rtol=1e-12)


def test_wiggly():
    for rise, mapped, original in zip(
        (tasks.wiggly_x, tasks.wiggly_y), pair("wiggly-1+1"), pair("normal-1+1"), strict=True
    ):
        np.testing.assert_array_equal(mapped, rise(original))
        assert np.diff(rise(np.linspace(-30, 30, 100_000))).min() > 1e-5


def test_bimodal():
    """The mixtures of Czyz et al., at the normal's quantiles, into the tails."""
    for (low, high, share), mapped, original in zip(
        [(0, 5, 0.3), (-1, 3, 0.5)], pair("bimodal-1+1"), pair("normal-1+1"), strict=True
    ):
        quantile = share * stats.norm.cdf(mapped - low) + (1 - share) * stats.norm.cdf(mapped - high)
        np.testing.assert_allclose(quantile, stats.norm.cdf(original), atol=1e-6)
        tails = tasks.bimodal(low, high, share)(np.linspace(-8, 8, 1000))
        assert np.diff(tails).min() > 1e-3


def test_swiss_roll():
    (x, y), (x0, y0) = pair("swiss-roll-2+1"), pair("normal-1+1")
    t = 21 * np.hypot(*x.T)
    np.testing.assert_allclose(t, 1.5 * np.pi * (1 + 2 * stats.norm.cdf(x0[:, 0])), rtol=1e-12)
    np.testing.assert_allclose(x[:, 1] / t * 21, np.sin(t), atol=1e-12)
    np.testing.assert_allclose(stats.norm.ppf(y), y0, atol=1e-9)


@pytest.mark.parametrize("d", [3, 5])
def test_spiral(d):
    """Its rows are exp(A |x|^2 / d) x with an antisymmetric A, which is undone by the same with -A."""
    original = tasks.normal("", covariance(d, 0.8, 2)).sample(np.random.default_rng(2), 200)
    for first, rows, wanted in zip((0, 1), pair(f"spiral-sparse-{d}+{d}", 200), original, strict=True):
        turn = np.zeros((d, d))
        turn[first, first + 1], turn[first + 1, first] = 1, -1
        undone = np.stack([linalg.expm(-turn * (row @ row) / d) @ row for row in rows])
        np.testing.assert_allclose(undone, wanted, atol=1e-10)
        assert np.abs(rows - wanted).max() > 1
    assert TASKS[f"spiral-sparse-{d}+{d}"].truth == tasks.normal_information(covariance(d, 0.8, 2))
