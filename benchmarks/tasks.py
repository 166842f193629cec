"""Tasks of known mutual information, for the accuracy of estimators.

Every true value is computed here, by a closed form or by a sum or quadrature that is exact to rounding. Maps of x alone
and of y alone that have an inverse leave it unchanged, which makes hard tasks of easy ones. Many tasks are those of
Czyz et al. (2023) with their settings, so that the numbers compare.

References:
    Arellano-Valle, Contreras-Reyes & Genton (2013), "Shannon entropy and mutual information for multivariate
    skew-elliptical distributions".
    Czyz, Grabowski, Vogt, Beerenwinkel & Marx (2023), "Beyond normal: on the evaluation of mutual information
    estimators".
    Gao, Kannan, Oh & Viswanath (2017), "Estimating mutual information for discrete-continuous mixtures".
    Trefethen & Weideman (2014), "The exponentially convergent trapezoidal rule".
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import special

Samples = tuple[np.ndarray, np.ndarray]
Map = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Task:
    """Two variables whose mutual information is known.

    Attributes:
        name: what it is, and the numbers of columns where there are several such tasks.
        sample: draws n independent pairs: float64 of shape (n, columns), or int64 labels (n,). Labels are y, and x too
            if the task is discrete.
        truth: I(X;Y) in nats.
        kind: ``"continuous"``; ``"mixed"``, one variable has atoms and the other a density; ``"discrete"``, both are
            labels.
        dx: columns of x; 1 for labels.
        dy: columns of y.
        labelled: whether y is a class, not a number.
    """

    name: str
    sample: Callable[[np.random.Generator, int], Samples]
    truth: float
    kind: Literal["continuous", "mixed", "discrete"]
    dx: int
    dy: int
    labelled: bool = False


# --- Normal and Student ------------------------------------------------------------------------------------


def dense(d: int, rho: float = 0.5) -> np.ndarray:
    """Covariance of d + d columns, every two of them correlated."""
    return np.full((2 * d, 2 * d), rho) + (1 - rho) * np.eye(2 * d)


def pairs(d: int, rho: float = 0.8) -> np.ndarray:
    """Covariance of d + d columns, of which the first two of x are correlated with the first two of y, one with one."""
    cov = np.eye(2 * d)
    for i in range(min(d, 2)):
        cov[i, d + i] = cov[d + i, i] = rho
    return cov


def normal_information(cov: np.ndarray) -> float:
    """1/2 ln(|cov_xx| |cov_yy| / |cov|) of x and y with equally many columns."""
    d = len(cov) // 2
    return float(sum(s * np.linalg.slogdet(a)[1] for s, a in ((1, cov[:d, :d]), (1, cov[d:, d:]), (-1, cov))) / 2)


def student_information(cov: np.ndarray, dof: float) -> float:
    """Of Student's distribution: the normal's, and what the common scale adds even to columns without correlation.

    That is f(dof) + f(dof + dx + dy) - f(dof + dx) - f(dof + dy) with f(v) = ln Gamma(v/2) - (v/2) psi(v/2), by
    Arellano-Valle et al. (2013).
    """
    d = len(cov) // 2
    half = np.array([dof, dof + 2 * d, dof + d, dof + d]) / 2
    tails = special.gammaln(half) - half * special.digamma(half)
    return normal_information(cov) + float(tails @ [1, 1, -1, -1])


def normal(name: str, cov: np.ndarray) -> Task:
    """Task of a normal distribution of this covariance."""
    d, factor = len(cov) // 2, np.linalg.cholesky(cov)

    def sample(rng: np.random.Generator, n: int) -> Samples:
        z = rng.normal(size=(n, 2 * d)) @ factor.T
        return z[:, :d], z[:, d:]

    return Task(name, sample, normal_information(cov), "continuous", d, d)


def student(name: str, cov: np.ndarray, dof: float) -> Task:
    """Task of a Student distribution: a normal one over a random scale that x and y share."""
    base = normal(name, cov)

    def sample(rng: np.random.Generator, n: int) -> Samples:
        x, y = base.sample(rng, n)
        scale = np.sqrt(rng.chisquare(dof, size=(n, 1)) / dof)
        return x / scale, y / scale

    return dataclasses.replace(base, sample=sample, truth=student_information(cov, dof))


# --- Invertible maps ---------------------------------------------------------------------------------------


def mapped(name: str, task: Task, x_map: Map, y_map: Map) -> Task:
    """Task of x and y each mapped by a function with an inverse: the information stays."""

    def sample(rng: np.random.Generator, n: int) -> Samples:
        x, y = task.sample(rng, n)
        return x_map(x), y_map(y)

    x, y = sample(np.random.default_rng(0), 1)
    return dataclasses.replace(task, name=name, sample=sample, dx=x.shape[1], dy=y.shape[1])


def half_cube(x: np.ndarray) -> np.ndarray:
    """Sign(x) |x|^(3/2), which lengthens the tails."""
    return x * np.sqrt(np.abs(x))


def spiral(first: int) -> Map:
    """Rotation of the columns ``first`` and the next by |x|^2 / d, which keeps |x| and so has an inverse."""

    def turned(x: np.ndarray) -> np.ndarray:
        angle = (x**2).sum(axis=1) / x.shape[1]
        z = np.exp(-1j * angle) * (x[:, first] + 1j * x[:, first + 1])
        out = x.copy()
        out[:, first], out[:, first + 1] = z.real, z.imag
        return out

    return turned


def wiggly_x(x: np.ndarray) -> np.ndarray:
    """A slope between 0.1 and 1.9."""
    return x + 0.4 * np.sin(x) + 0.2 * np.sin(1.7 * x + 1) + 0.03 * np.sin(3.3 * x - 2.5)


def wiggly_y(y: np.ndarray) -> np.ndarray:
    """A slope between 0.5 and 1.5."""
    return y - 0.4 * np.sin(0.4 * y) + 0.17 * np.sin(1.3 * y + 3.5) + 0.02 * np.sin(4.3 * y - 2.5)


def bimodal(low: float, high: float, share: float) -> Map:
    """A normal column to the mixture ``share`` N(low, 1) + (1 - share) N(high, 1), by their quantiles.

    Read from a table by straight lines: whatever that leaves out, the map rises strictly.
    """
    values = np.linspace(low - 9, high + 9, 20_001)
    below = share * special.ndtr(values - low) + (1 - share) * special.ndtr(values - high)
    above = share * special.ndtr(low - values) + (1 - share) * special.ndtr(high - values)
    scores = np.where(below < 0.5, special.ndtri(below), -special.ndtri(above))
    return lambda x: np.interp(x, scores, values)


def swiss_roll(x: np.ndarray) -> np.ndarray:
    """A normal column to a spiral of two turns in the plane, evenly in the angle."""
    t = 1.5 * np.pi * (1 + 2 * special.ndtr(x))
    return np.concatenate([t * np.cos(t), t * np.sin(t)], axis=1) / 21


# --- Others with densities ---------------------------------------------------------------------------------


def uniform_noise(name: str, half_width: float) -> Task:
    """Task y = x + u, x uniform on [0, 1] and u on [-e, e]: e - ln 2e for e <= 1/2, else 1 / 4e (Czyz et al. 2023)."""
    e = half_width

    def sample(rng: np.random.Generator, n: int) -> Samples:
        x = rng.uniform(size=(n, 1))
        return x, x + rng.uniform(-e, e, size=(n, 1))

    return Task(name, sample, float(e - np.log(2 * e)) if e <= 0.5 else 1 / (4 * e), "continuous", 1, 1)


def class_information(means: np.ndarray, shares: np.ndarray) -> float:
    """Of a class and a unit normal about the class's mean: the mixture's entropy less the normal's.

    Across the plane that holds the means the normals are alike, so it is integrated within. The trapezoidal rule errs
    by less than 1e-12 for steps of 1/8 (Trefethen & Weideman 2014).
    """
    step, reach = 0.125, 9.0
    centred = means - means.mean(axis=0)
    rank = np.linalg.matrix_rank(centred)
    at = centred @ np.linalg.svd(centred)[2][:rank].T
    axes = [np.arange(a.min() - reach, a.max() + reach, step) for a in at.T]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)[..., None, :]
    log_normal = -((grid - at) ** 2).sum(axis=-1) / 2 - rank / 2 * np.log(2 * np.pi)
    log_density = special.logsumexp(log_normal, axis=-1, b=shares)
    entropy = -(np.exp(log_density) * log_density).sum() * step**rank
    return float(entropy - rank / 2 * np.log(2 * np.pi * np.e))


def classes(name: str, means: np.ndarray, shares: np.ndarray) -> Task:
    """Task of a class y and x normal about the class's mean, in units of its deviation."""

    def sample(rng: np.random.Generator, n: int) -> Samples:
        y = rng.choice(len(shares), size=n, p=shares)
        return means[y] + rng.normal(size=(n, means.shape[1])), y

    return Task(name, sample, class_information(means, shares), "mixed", means.shape[1], 1, True)


def inflated_poisson_information(p: float) -> float:
    """Of x exponential, and y = 0 with probability p and else Poisson with mean x.

    y is c > 0 with probability (1 - p) 2^-(c + 1), and then x a gamma variable of shape c + 1 and rate 2, so that the
    mean of ln p(y|x) is a sum; at y = 0 it is an integral over exp(-x), which is uniform. Gao et al. (2017) have
    (1 - p) I for it, I the information at p = 0: 0.256 nat where the value is 0.230. Theirs is an upper bound, which
    would be reached if one saw which zeros are the Poisson's.
    """
    c = np.arange(1, 100)
    share = (1 - p) * 2.0 ** -(c + 1)
    share_of_0 = p + (1 - p) / 2
    log_poisson = c * (special.digamma(c + 1) - np.log(2)) - (c + 1) / 2 - special.gammaln(c + 1)
    mean = share @ (np.log(1 - p) + log_poisson)
    mean_of_0 = (p**2 - 1 - 2 * special.xlogy(p**2, p)) / (4 * (1 - p))
    return float(mean + mean_of_0 - special.xlogy(share, share).sum() - special.xlogy(share_of_0, share_of_0))


def inflated_poisson(name: str, p: float) -> Task:
    """Task of a positive number and a count with extra zeros; the count is a number, not a label."""

    def sample(rng: np.random.Generator, n: int) -> Samples:
        x = rng.exponential(size=(n, 1))
        return x, np.where(rng.uniform(size=(n, 1)) < p, 0.0, rng.poisson(x))

    return Task(name, sample, inflated_poisson_information(p), "mixed", 1, 1)


def stairs(name: str, steps: int) -> Task:
    """Task of a number x of m ``steps`` and y uniform on [x, x + 2]: ln m - (m - 1) / m ln 2 (Gao et al. 2017)."""

    def sample(rng: np.random.Generator, n: int) -> Samples:
        x = rng.integers(steps, size=(n, 1)).astype(float)
        return x, x + rng.uniform(0, 2, size=(n, 1))

    return Task(name, sample, float(np.log(steps) - (steps - 1) / steps * np.log(2)), "mixed", 1, 1)


# --- Tables and independence -------------------------------------------------------------------------------


def table(name: str, p: np.ndarray) -> Task:
    """Task of two labels with the joint probabilities p."""

    def sample(rng: np.random.Generator, n: int) -> Samples:
        x, y = np.divmod(rng.choice(p.size, size=n, p=p.ravel()), p.shape[1])
        return x, y

    truth = special.rel_entr(p, p.sum(axis=1, keepdims=True) * p.sum(axis=0)).sum()
    return Task(name, sample, float(truth), "discrete", 1, 1, True)


def random_table(symbols: int, concentration: float = 0.4) -> np.ndarray:
    """Joint probabilities of two variables of so many symbols, always the same: Dirichlet, far from uniform."""
    return np.random.default_rng(symbols).dirichlet(np.full(symbols**2, concentration)).reshape(symbols, symbols)


def independent(name: str, task: Task) -> Task:
    """Task of the x of one draw and the y of another."""

    def sample(rng: np.random.Generator, n: int) -> Samples:
        return task.sample(rng, n)[0], task.sample(rng, n)[1]

    return dataclasses.replace(task, name=name, sample=sample, truth=0.0)


def _tasks() -> list[Task]:
    two = normal("normal-1+1", dense(1, 0.75))
    cauchy = student("student-1+1", dense(1, 0.0), dof=1)
    sparse = {d: normal(f"normal-sparse-{d}+{d}", pairs(d)) for d in (3, 5, 25)}
    corners = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [2.0, 2.0]])
    return [
        two,
        mapped("half-cube-1+1", two, half_cube, half_cube),
        mapped("wiggly-1+1", two, wiggly_x, wiggly_y),
        mapped("bimodal-1+1", two, bimodal(0, 5, 0.3), bimodal(-1, 3, 0.5)),
        mapped("swiss-roll-2+1", two, swiss_roll, special.ndtr),
        uniform_noise("uniform-noise-0.1", 0.1),
        uniform_noise("uniform-noise-0.75", 0.75),
        cauchy,
        mapped("asinh-student-1+1", cauchy, np.arcsinh, np.arcsinh),
        student("student-2+2", dense(2, 0.0), dof=2),
        student("student-sparse-5+5", pairs(5), dof=3),
        normal("normal-strong-2+2", pairs(2, 0.99)),
        *(normal(f"normal-dense-{d}+{d}", dense(d)) for d in (3, 5, 10, 25)),
        *(sparse[d] for d in (5, 25)),
        mapped("half-cube-sparse-5+5", sparse[5], half_cube, half_cube),
        mapped("spiral-sparse-3+3", sparse[3], spiral(0), spiral(1)),
        mapped("spiral-sparse-5+5", sparse[5], spiral(0), spiral(1)),
        independent("independent-normal-1+1", two),
        independent("independent-student-1+1", cauchy),
        independent("independent-normal-10+10", normal("", dense(10))),
        classes("classes-4-of-2", corners, np.array([0.4, 0.3, 0.2, 0.1])),
        classes("classes-2-of-10", np.outer([-0.4, 0.4], np.ones(10)), np.array([0.5, 0.5])),
        inflated_poisson("zero-inflated-poisson", 0.15),
        stairs("stairs-5", 5),
        table("table-10x10", random_table(10)),
        table("table-100x100", random_table(100)),
        independent("independent-table-20x20", table("", random_table(20))),
    ]


TASKS: dict[str, Task] = {task.name: task for task in _tasks()}
"""Name -> task: in one dimension first, then in more, independent, mixed and discrete ones."""
