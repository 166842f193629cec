"""The Gaussian student-teacher task: a linear teacher with noise, of which every information is exact."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ibjax.errors import InputError


@typing.no_type_check  # transformations rebuild a pytree with leaves that are no arrays
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LinearTeacher:
    """Y = W X + noise with X ~ N(0, 1/d) in d inputs and noise of variance s^2; see `student_teacher`.

    X and Y are jointly Gaussian, and so are they with any linear student T = V X + N(0, v). From the covariances
    here `ibjax.estimators.gaussian_information` and `gaussian_layer_information` give every information exactly:
    I(X;T) from V and ``cov_x``; I(T;Y) from V cov_x V^T + v, V cov_xy and ``cov_y``. Of a part S of the inputs, the
    others being c, I(X_S;T) is I(X;T) less the I(X_c;T) that the columns V_c and ``cov_x`` of c alone give, since the
    inputs are independent.

    Attributes:
        weights: W, the teacher, shape (outputs, inputs); zero on the irrelevant inputs, which come last.
        noise_variance: s^2 of each output.
        relevant: how many inputs are relevant, the first.
    """

    weights: Float[Array, "outputs inputs"]
    noise_variance: Float[Array, ""]
    relevant: int = dataclasses.field(metadata={"static": True})

    @property
    def cov_x(self) -> Float[Array, "inputs inputs"]:
        """Covariance of the inputs, 1/d times the identity."""
        return jnp.eye(self.weights.shape[1], dtype=self.weights.dtype) / self.weights.shape[1]

    @property
    def cov_xy(self) -> Float[Array, "inputs outputs"]:
        """Covariance of inputs and outputs, W^T / d."""
        return self.weights.T / self.weights.shape[1]

    @property
    def cov_y(self) -> Float[Array, "outputs outputs"]:
        """Covariance of the outputs, W W^T / d + s^2."""
        product = jnp.matmul(self.weights, self.weights.T, precision=jax.lax.Precision.HIGHEST)
        return product / self.weights.shape[1] + self.noise_variance * jnp.eye(len(self.weights), dtype=product.dtype)

    @property
    def mutual_information(self) -> Float[Array, ""]:
        """The true I(X;Y) = 1/2 ln|1 + W W^T / (d s^2)| in nats, all of it about the relevant inputs."""
        return jnp.linalg.slogdet(self.cov_y / self.noise_variance)[1] / 2

    def sample(self, samples: int, key: Key[Array, ""]) -> tuple[Float[Array, "n inputs"], Float[Array, "n outputs"]]:
        """Draw inputs and outputs; other keys give other sets of the same task, to train or to test on."""
        key_x, key_noise = jax.random.split(key)
        outputs, inputs = self.weights.shape
        x = jax.random.normal(key_x, (samples, inputs), jnp.float32) / np.sqrt(inputs).astype(np.float32)
        noise = jax.random.normal(key_noise, (samples, outputs), jnp.float32) * jnp.sqrt(self.noise_variance)
        return x, jnp.matmul(x, self.weights.T, precision=jax.lax.Precision.HIGHEST) + noise

    def error(self, student: Float[Array, "outputs inputs"]) -> Float[Array, ""]:
        """The exact generalisation error of a linear student V: E |Y - V X|^2 = |W - V|^2 / d + outputs s^2."""
        outputs, inputs = self.weights.shape
        return jnp.sum((self.weights - student) ** 2) / inputs + outputs * self.noise_variance


def student_teacher(
    relevant: int = 100, irrelevant: int = 0, outputs: int = 1, snr: float = 1.0, key: Key[Array, ""] | None = None
) -> LinearTeacher:
    """Draw a teacher: weights N(0, 1) on the relevant inputs, 0 on the irrelevant ones, noise of variance 1 / snr.

    The inputs are N(0, 1/d) with d = relevant + irrelevant, so that without irrelevant ones the signal of an output
    has variance 1 on average; with them relevant / d.

    Args:
        relevant: inputs that the teacher uses. Saxe et al. take 100; with irrelevant ones, 30.
        irrelevant: inputs that it does not. Saxe et al. take 0 or 70.
        outputs: of the teacher.
        snr: variance of the weights over the noise's. Saxe et al. take 1.
        key: randomness of the weights; by default ``jax.random.key(0)``.

    Returns:
        The teacher; ``sample`` draws data, and its covariances give exact informations.

    Raises:
        InputError: no relevant input or no output, a negative number of irrelevant ones, or ``snr`` is not positive
            and finite (without noise I(X;Y) is infinite).

    Example:
        >>> teacher = student_teacher(relevant=30, irrelevant=70)
        >>> x, y = teacher.sample(100, jax.random.key(1))
        >>> x.shape, y.shape
        ((100, 100), (100, 1))
        >>> from ibjax.estimators import gaussian_information
        >>> exact = gaussian_information(teacher.cov_x, teacher.cov_xy, teacher.cov_y)
        >>> bool(abs(exact - teacher.mutual_information) < 1e-6)
        True

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning", sections 3 and 5.
        Advani & Saxe (2017), "High-dimensional dynamics of generalization error in neural networks".
    """
    for name, value, least in (("relevant", relevant, 1), ("irrelevant", irrelevant, 0), ("outputs", outputs, 1)):
        if value < least:
            raise InputError(f"{name} must be {least} or more, got {value}")
    if not (np.isfinite(snr) and snr > 0):
        raise InputError(f"snr must be positive and finite, got {snr}: without noise I(X;Y) is infinite")
    drawn = jax.random.normal(jax.random.key(0) if key is None else key, (outputs, relevant), jnp.float32)
    return LinearTeacher(jnp.pad(drawn, ((0, 0), (0, irrelevant))), jnp.asarray(1 / snr, jnp.float32), relevant)
