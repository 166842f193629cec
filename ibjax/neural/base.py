"""What the variational estimators have in common: settings, checks, and the way from samples to an estimate."""

import abc
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ibjax.errors import InputError
from ibjax.estimators import MIEstimate
from ibjax.estimators.samples import is_count, is_discrete, positive
from ibjax.neural.batching import one_by_one_on_cpu
from ibjax.neural.prepare import Split, as_pair, constant, one_hot, rank, split
from ibjax.neural.train import Fitted, Objective, fit


class Measured(NamedTuple):
    """What a trained network says about the test samples."""

    value: Float[Array, ""]
    std_error: Float[Array, ""]
    diagnostics: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Variational(abc.ABC):
    """Settings of training, and the call, of every estimator that trains a network; see `InfoNCE` for their meaning."""

    hidden: tuple[int, ...] = dataclasses.field(default=(64, 64), metadata={"static": True})
    steps: int = dataclasses.field(default=600, metadata={"static": True})
    batch_size: int = dataclasses.field(default=256, metadata={"static": True})
    learning_rate: Array | float = 1e-3
    held_out: float = dataclasses.field(default=0.3, metadata={"static": True})
    classes: int = dataclasses.field(default=32, metadata={"static": True})

    def checked(self) -> "Variational":
        """Return self if its settings make sense, else raise `InputError`."""
        if not (isinstance(self.hidden, tuple) and self.hidden and all(is_count(units) for units in self.hidden)):
            raise InputError(f"hidden must be a tuple of whole numbers of 1 or more, got {self.hidden!r}: try (64, 64)")
        for name, least in (("steps", 1), ("batch_size", 2), ("classes", 2)):
            count(name, getattr(self, name), least)
        positive("learning_rate", self.learning_rate, "1e-3 is the default")
        if not (isinstance(self.held_out, float) and 0 < self.held_out <= 0.8):
            raise InputError(f"held_out must be a share above 0 and up to 0.8, got {self.held_out!r}: try 0.3")
        return self

    def __call__(self, x: Any, y: Any, key: Any = None) -> MIEstimate:
        """Train, stop and estimate I(X;Y).

        Args:
            x: samples of shape (n,) or (n, dx), n >= 20, or integer labels of shape (n,).
            y: likewise.
            key: randomness of the split, the initial parameters and the batches: it must be given.

        Returns:
            The estimate from the test samples and its standard error, in the precision of the samples. See the class
            for the diagnostics.

        Raises:
            InputError: settings or samples that make no sense, or no key.
        """
        self.checked()
        x, y = as_pair(x, y, self.classes)
        return _estimate(self, x, y, as_key(key))

    @abc.abstractmethod
    def _measure(self, parts: Split, labels: tuple[bool, bool], key: Array) -> Measured:
        """Train on the first two parts and measure the third."""

    def _fit(self, objective: Objective, parts: Split, key: Array) -> Fitted:
        return fit(
            objective,
            parts.train,
            parts.validation,
            key,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )


def count(name: str, value: Any, least: int) -> None:
    """Raise `InputError` unless a setting is a whole number and large enough."""
    if not is_count(value) or value < least:
        raise InputError(f"{name} must be a whole number of {least} or more, got {value!r}")


def as_key(key: Any) -> Array:
    """Return a key of JAX's new kind.

    Raises:
        InputError: it is none.
    """
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    if dtype == jnp.uint32 and np.shape(key) == (2,):  # of jax.random.PRNGKey
        return jax.random.wrap_key_data(jnp.asarray(key))
    given = "None" if key is None else f"{type(key).__name__}"
    raise InputError(f"key must be a random key, got {given}: training draws at random, pass key=jax.random.key(0)")


@jax.jit
def _estimate(estimator: Variational, x: Array, y: Array, key: Array) -> MIEstimate:
    labels = is_discrete(x), is_discrete(y)
    dtype = next((a.dtype for a in (x, y) if not is_discrete(a)), jnp.result_type(float))
    finite, too_many = jnp.ones((), bool), jnp.zeros((), bool)
    for a in (x, y):
        if is_discrete(a):
            too_many |= rank(a).max() >= estimator.classes
        else:
            finite &= jnp.isfinite(a).all()
    nothing = constant(x) | constant(y)

    # Learning rates of any precision: the arrays of a scan must keep theirs.
    settings, tree = jax.tree.flatten(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), estimator))

    def one(settings: list[Array], x: Array, y: Array, key: Array) -> Measured:
        estimator = jax.tree.unflatten(tree, settings)
        x, y = (one_hot(a, estimator.classes, dtype) if is_discrete(a) else a for a in (x, y))
        key_split, key_fit = jax.random.split(key)
        with jax.default_matmul_precision("highest"):
            return estimator._measure(split(x, y, key_split, estimator.held_out), labels, key_fit)

    found = one_by_one_on_cpu(one)(settings, x, y, key)
    known = finite & ~too_many
    diagnostics = {"constant": nothing, "non_finite": ~finite, **found.diagnostics}
    if any(labels):
        diagnostics["too_many_classes"] = too_many
    diagnostics = {
        name: value & known & ~nothing if value.dtype == bool and name in found.diagnostics else value
        for name, value in diagnostics.items()
    }
    value, std_error = (jnp.where(known, jnp.where(nothing, 0, v), jnp.nan) for v in (found.value, found.std_error))
    return MIEstimate(value, std_error, diagnostics)
