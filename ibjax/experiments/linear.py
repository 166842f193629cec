"""Linear networks that learn from a linear teacher: trained all together, every information exact at every snapshot."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ibjax.datasets import LinearTeacher, student_teacher
from ibjax.sweep.progress import progress_bar
from ibjax.training import snapshot_epochs

ArrayLike = Array | np.ndarray

product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Teacher(NamedTuple):
    """Settings of `ibjax.datasets.student_teacher`."""

    relevant: int
    irrelevant: int
    snr: float


class Student(NamedTuple):
    """How a student is made and trained.

    Attributes:
        samples: it learns from.
        batch_size: of its steps; None for all samples.
        hidden: units of its only hidden layer.
        epochs: passes over the samples.
        learning_rate: of gradient descent on the mean squared error, halved.
        scale: standard deviation of its initial weights.
        noise_variances: of the noise that is added to the hidden layer for the analysis alone, each in turn.
    """

    samples: int
    batch_size: int | None
    hidden: int
    epochs: int
    learning_rate: float
    scale: float
    noise_variances: tuple[float, ...]


class Measured(NamedTuple):
    """What is known of a student at every snapshot; informations in nats, an axis of noise variances last.

    Attributes:
        complexity: I(X;T), T = W X + noise.
        complexity_relevant: I(X_rel;T), of the inputs that the teacher uses.
        complexity_irrelevant: I(X_irr;T), of the others.
        relevance: I(T;Y).
        train_error: mean squared error of the samples.
        test_error: E |Y - Yhat|^2, exactly.
    """

    complexity: Float[ArrayLike, "..."]
    complexity_relevant: Float[ArrayLike, "..."]
    complexity_irrelevant: Float[ArrayLike, "..."]
    relevance: Float[ArrayLike, "..."]
    train_error: Float[ArrayLike, "..."]
    test_error: Float[ArrayLike, "..."]


def informations(
    weights: Float[Array, "hidden inputs"], teacher: LinearTeacher, noise_variance: Float[Array, ""] | float
) -> Measured:
    """The informations of T = W X + N(0, s2), X ~ N(0, 1/d), Y the teacher's; errors are left at 0.

    I(X;T) = 1/2 ln|W W^T / (d s2) + 1|. Of a part S of the inputs, I(X_S;T) = I(X;T) - I(X_c;T), c the others, since
    given X_S what is left of T's spread is that of X_c. I(T;Y) is `ibjax.estimators.gaussian_information`'s formula.

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", sections 3 and 5.
    """
    inputs = weights.shape[1]
    part = teacher.relevant

    def spread(columns: Array) -> Array:
        """1/2 ln|W W^T / (d s2) + 1| of some columns of W."""
        gram = product(columns, columns.T) / (inputs * noise_variance)
        return jnp.linalg.slogdet(gram + jnp.eye(len(gram), dtype=gram.dtype))[1] / 2

    total = spread(weights)
    # Given Y, the inputs are normal with covariance 1/d (1 - V^T (V V^T + d s^2)^-1 V), V the teacher.
    v = teacher.weights
    inner = product(v, v.T) + inputs * teacher.noise_variance * jnp.eye(len(v), dtype=v.dtype)
    through = product(weights, v.T)
    left = product(weights, weights.T) - product(through, jnp.linalg.solve(inner, through.T))
    given = jnp.linalg.slogdet(left / (inputs * noise_variance) + jnp.eye(len(weights), dtype=left.dtype))[1] / 2
    zero = jnp.zeros((), total.dtype)
    relevant, irrelevant = weights[:, :part], weights[:, part:]
    # With no irrelevant inputs there is nothing to lose.
    others = spread(irrelevant) if irrelevant.shape[1] else zero
    return Measured(
        complexity=total,
        complexity_relevant=total - others,
        complexity_irrelevant=total - spread(relevant),
        relevance=total - given,
        train_error=zero,
        test_error=zero,
    )


def train(
    student: Student, teacher: Teacher, keys: Key[Array, " replicas"], snapshots: int, *, title: str, progress: bool
) -> tuple[np.ndarray, Measured]:
    """Train one student a key, each of a teacher of its own, and measure it at log-spaced epochs.

    Args:
        student: its settings.
        teacher: settings of its teacher.
        keys: one a replica.
        snapshots: about how many.
        title: of the progress bar.
        progress: show it.

    Returns:
        Epochs of the snapshots, and arrays of shape (replicas, snapshots), informations (replicas, snapshots, noises).
    """
    epochs = snapshot_epochs(student.epochs, snapshots)
    state, found = _begin(student, teacher, keys), []
    with progress_bar(title, student.epochs, progress) as report:
        for done, epoch in zip(np.concatenate([[0], epochs[:-1]]), epochs, strict=True):
            state, measured = _advance(student, teacher, keys, state, jnp.int32(done), jnp.int32(epoch))
            found.append(jax.device_get(measured))
            report(int(epoch), None)
    return epochs, jax.tree.map(lambda *values: np.stack(values, axis=1), *found)


Weights = tuple[Float[Array, "*replicas hidden inputs"], Float[Array, "*replicas outputs hidden"]]


def _task(student: Student, teacher: Teacher, key: Array) -> tuple[LinearTeacher, Array, Array]:
    key_teacher, key_data, _ = jax.random.split(key, 3)
    task = student_teacher(teacher.relevant, teacher.irrelevant, snr=teacher.snr, key=key_teacher)
    return task, *task.sample(student.samples, key_data)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _begin(student: Student, teacher: Teacher, keys: Array) -> Weights:
    def one(key: Array) -> Weights:
        first, second = jax.random.split(jax.random.split(key, 3)[2])
        inputs = teacher.relevant + teacher.irrelevant
        return (
            student.scale * jax.random.normal(first, (student.hidden, inputs), jnp.float32),
            student.scale * jax.random.normal(second, (1, student.hidden), jnp.float32),
        )

    return jax.vmap(one)(keys)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _advance(
    student: Student, teacher: Teacher, keys: Array, weights: Weights, done: Array, until: Array
) -> tuple[Weights, Measured]:
    """Train from one epoch to another and measure."""
    size = student.batch_size or student.samples
    batches = student.samples // size

    def one(key: Array, weights: Weights) -> tuple[Weights, Measured]:
        task, x, y = _task(student, teacher, key)
        key_order = jax.random.fold_in(key, 0)

        def step(weights: Weights, batch: tuple[Array, Array]) -> tuple[Weights, None]:
            (first, second), (x, y) = weights, batch
            t = product(x, first.T)
            error = (product(t, second.T) - y) / len(x)
            down, back = product(error.T, t), product(second.T, product(error.T, x))
            return (first - student.learning_rate * back, second - student.learning_rate * down), None

        def epoch(number: Array, weights: Weights) -> Weights:
            if batches == 1:
                return step(weights, (x, y))[0]
            order = jax.random.permutation(jax.random.fold_in(key_order, number), student.samples)
            rows = order[: batches * size].reshape(batches, size)
            return jax.lax.scan(lambda w, r: step(w, (x[r], y[r])), weights, rows)[0]

        weights = jax.lax.fori_loop(done, until, epoch, weights)
        first, second = weights
        noise = jnp.asarray(student.noise_variances, first.dtype)
        found = jax.vmap(informations, in_axes=(None, None, 0))(first, task, noise)
        guess = product(second, first)
        error = jnp.mean((product(x, guess.T) - y) ** 2)
        return weights, found._replace(train_error=error, test_error=task.error(guess))

    return jax.vmap(one)(keys, weights)
