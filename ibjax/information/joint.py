"""The joint distribution of two or more variables, checked once, and every measure of it."""

import dataclasses
import math
import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ibjax.errors import InputError
from ibjax.information import measures, multivariate
from ibjax.information.checks import as_numbers, as_table, check_not_negative, concrete, normalised
from ibjax.information.measures import Table
from ibjax.information.multivariate import Axes, marginal

MAX_CELLS = 2**28
"""Most cells of a table that samples are counted in: 2 GB."""


@typing.no_type_check  # transformations rebuild a pytree with leaves that are no arrays
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class JointDistribution:
    """A table of probabilities p(x, y), or of more variables, one axis a variable.

    Build one with `from_table`, `from_counts`, `from_samples` or `from_conditional`, which check it; the constructor
    does not, because a pytree is rebuilt with tracers inside every transformation. X is the variable of axis 0, Y that
    of axis 1; in a table of more variables the others are summed out where they are not named.

    A NumPy table stays on the host in its own precision, a JAX array stays one. Inside `jax.jit` a NumPy table is in
    JAX's default precision, as any argument. For a batch of distributions use `jax.vmap`.

    Symbols without mass are allowed. What is not defined of them, p(y|x) where p(x) = 0, is taken to be p(y): a
    distribution, and a symbol that never occurs tells nothing.

    Attributes:
        table: probabilities, shape (|X|, |Y|, ...), summing to one.

    Example:
        >>> joint = JointDistribution.from_counts([[45, 5], [10, 40]])
        >>> f"{joint.mutual_information(units='bits'):.4f} of {joint.entropy(1, units='bits'):.4f} bits"
        '0.3973 of 0.9928 bits'
    """

    table: Float[Array | np.ndarray, "..."]

    @classmethod
    def from_table(cls, p: Any) -> "JointDistribution":
        """Take a table of probabilities.

        Args:
            p: shape (|X|, |Y|) or with more axes, not negative, summing to one. What the sum is off by rounding
                (1e-6, or half the digits of a lower precision) is divided out.

        Returns:
            The distribution; all NaN if the table is wrong and traced, so that its values cannot be checked now.

        Raises:
            InputError: fewer than two axes, no cell, a value that is negative or not finite, or another sum.

        Example:
            >>> JointDistribution.from_table([[0.5, 0.0], [0.25, 0.25]]).p_x
            array([0.5, 0.5])
        """
        p = as_table("p", p)
        return cls(normalised("p", p, tuple(range(p.ndim)), "divide it by its sum, or use from_counts if it counts"))

    @classmethod
    def from_counts(cls, counts: Any) -> "JointDistribution":
        """Take how often each combination of symbols occurs, p = counts / their sum: the plug-in estimate.

        The information of this table exceeds that of the source it was drawn from, by about (|X|-1)(|Y|-1) / 2n nats:
        to estimate use `ibjax.estimators.PlugIn(...).table(counts)`.

        Args:
            counts: shape (|X|, |Y|) or with more axes; any weights that are not negative.

        Returns:
            The distribution, in double precision of NumPy integers; NaN as in `from_table`.

        Raises:
            InputError: fewer than two axes, no cell, a value that is negative or not finite, or nothing counted.

        Example:
            >>> JointDistribution.from_counts([[1, 0], [1, 2]]).table
            array([[0.25, 0.  ],
                   [0.25, 0.5 ]])
        """
        counts = as_table("counts", counts)
        check_not_negative("counts", counts)
        xp = counts.__array_namespace__()
        total = counts.sum()
        if concrete(total) and not 0 < total < np.inf:
            raise InputError(f"counts sum to {total}: one observation is needed at least, and a sum that is finite")
        return cls(xp.where((counts >= 0).all(), counts, xp.nan) / total)

    @classmethod
    def from_samples(cls, x: Any, y: Any, *more: Any) -> "JointDistribution":
        """Count samples: the table of how often each combination of labels was seen, over n.

        Args:
            x: labels, shape (n,), any integers.
            y: likewise.
            more: further variables.

        Returns:
            The distribution in float64. Its symbols are the labels that were seen, in rising order, so that axis 0
            belongs to ``np.unique(x)``.

        Raises:
            InputError: labels that are not integers or not of shape (n,), numbers of samples that differ, none at all,
                or more than 2^28 combinations of labels; labels inside a transformation, which does not know how many
                symbols there will be.

        Example:
            >>> JointDistribution.from_samples([7, -1, 7, 7], [0, 1, 1, 1]).table
            array([[0.  , 0.25],
                   [0.25, 0.5 ]])
        """
        names = ["x", "y", *(f"variable {i}" for i in range(2, 2 + len(more)))]
        variables = [_labels(name, a) for name, a in zip(names, (x, y, *more), strict=True)]
        lengths = [len(a) for a in variables]
        if len(set(lengths)) > 1 or lengths[0] == 0:
            raise InputError(f"variables need one length, 1 or more, got {lengths}: give each sample every variable")
        symbols, codes = zip(*(np.unique(a, return_inverse=True) for a in variables), strict=True)
        shape = tuple(map(len, symbols))
        if math.prod(shape) > MAX_CELLS:
            raise InputError(f"a table of {' x '.join(map(str, shape))} is too large: use ibjax.estimators.PlugIn")
        cells = np.ravel_multi_index(codes, shape)
        return cls(np.bincount(cells, minlength=math.prod(shape)).reshape(shape) / len(cells))

    @classmethod
    def from_conditional(cls, p_x: Any, p_y_given_x: Any) -> "JointDistribution":
        """Take a source and a channel: p(x, y) = p(x) p(y|x).

        Args:
            p_x: shape (|X|,), not negative, summing to one.
            p_y_given_x: shape (|X|, |Y|), each row a distribution; with more axes (|X|, |Y|, ...), a joint distribution
                of the others at each x. Rows without mass, p(x) = 0, may be anything, NaN of 0/0 too.

        Returns:
            The distribution; NaN as in `from_table`.

        Raises:
            InputError: shapes that do not match, or p_x or a row that is no distribution.

        Example:
            >>> JointDistribution.from_conditional([0.5, 0.5], [[0.5, 0.5], [0.0, 1.0]]).table
            array([[0.25, 0.25],
                   [0.  , 0.5 ]])
        """
        p_x, rows = as_numbers("p_x", p_x), as_table("p_y_given_x", p_y_given_x)
        if p_x.shape != rows.shape[:1]:
            raise InputError(f"p_x must be (|X|,) and p_y_given_x (|X|, |Y|), got {p_x.shape} and {rows.shape}")
        p_x = normalised("p_x", p_x, (0,), "divide it by its sum")
        xp = jnp if isinstance(p_x, jax.Array) else rows.__array_namespace__()
        weights = p_x.reshape(-1, *[1] * (rows.ndim - 1))
        # A row without mass becomes uniform, whatever it was.
        rows = xp.where(weights == 0, 1 / math.prod(rows.shape[1:]), rows)
        return cls(weights * normalised("p_y_given_x", rows, tuple(range(1, rows.ndim)), "divide each row by its sum"))

    @property
    def p_x(self) -> Table:
        """Distribution of X, shape (|X|,)."""
        return marginal(self.table, 0)

    @property
    def p_y(self) -> Table:
        """Distribution of Y, shape (|Y|,)."""
        return marginal(self.table, 1)

    @property
    def p_y_given_x(self) -> Table:
        """Rows p(y|x), shape (|X|, |Y|); p(y) where p(x) = 0."""
        return _conditional(marginal(self.table, (0, 1)))

    @property
    def p_x_given_y(self) -> Table:
        """Rows p(x|y), shape (|Y|, |X|): row y is a distribution of X; p(x) where p(y) = 0."""
        return _conditional(marginal(self.table, (1, 0)))

    def entropy(self, axes: Axes | None = None, *, units: str = "nats") -> Any:
        """Entropy of some variables, of all together by default: ``entropy(0)`` is H(X), ``entropy()`` H(X,Y).

        See `ibjax.information.joint_entropy`.
        """
        return multivariate.joint_entropy(self.table, axes, units=units)

    def conditional_entropy(self, axes: Axes = 1, given: Axes = 0, *, units: str = "nats") -> Any:
        """Entropy of some variables once others are known, by default H(Y|X).

        See `ibjax.information.conditional_entropy`.
        """
        return multivariate.conditional_entropy(self.table, axes, given, units=units)

    def mutual_information(self, x: Axes = 0, y: Axes = 1, given: Axes = (), *, units: str = "nats") -> Any:
        """Information that variables share, I(X;Y) or, once others are known, I(X;Y|Z).

        See `ibjax.information.conditional_mutual_information`.
        """
        return multivariate.conditional_mutual_information(self.table, x, y, given, units=units)

    def self_information(self, *, units: str = "nats") -> Table:
        """Self-information of each cell, -ln p(x, y), of the table's shape; infinite where p is 0."""
        return measures.self_information(self.table, units=units)

    def cross_entropy(self, other: "JointDistribution", *, units: str = "nats") -> Any:
        """Cross-entropy with another distribution of the same variables; see `ibjax.information.cross_entropy`."""
        return measures.cross_entropy(*_alike(self.table, other.table), units=units)

    def kl_divergence(self, other: "JointDistribution", *, units: str = "nats") -> Any:
        """Divergence KL(self || other) of the same variables; see `ibjax.information.kl_divergence`."""
        return measures.kl_divergence(*_alike(self.table, other.table), units=units)


def _conditional(p: Table) -> Any:
    """Rows divided by their sums; a row without mass becomes the sum of all."""
    xp = p.__array_namespace__()
    mass = p.sum(axis=1, keepdims=True)
    rows = p / xp.where(mass == 0, xp.ones_like(mass), mass)
    return xp.where(mass == 0, p.sum(axis=0, keepdims=True), rows)


def _alike(p: Table, q: Table) -> tuple[Any, Any]:
    if p.shape != q.shape:
        raise InputError(f"distributions of the same variables have one shape, got {p.shape} and {q.shape}")
    return p.reshape(-1), q.reshape(-1)


def _labels(name: str, a: Any) -> np.ndarray:
    if not concrete(a):
        raise InputError(f"{name} is traced, and the number of its symbols unknown: count outside, or use from_counts")
    a = np.asarray(a)
    if a.ndim != 1:
        raise InputError(f"{name} must be labels of shape (n,), got {a.shape}: number the rows with np.unique first")
    if a.dtype.kind not in "biu" and a.size:
        raise InputError(f"{name} must be integer labels, got {a.dtype}: use {name}.astype(int) if they are classes")
    return a
