"""The one type of every data set."""

import dataclasses
import typing

import jax
import numpy as np
from jaxtyping import Array, Float, Integer, Num, Shaped

from ibjax.errors import InputError
from ibjax.information import entropy, mutual_information


@typing.no_type_check  # transformations rebuild a pytree with leaves that are no arrays
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Equally likely inputs X and their labels Y.

    Build one with `from_arrays`, which checks it; the constructor does not, because a pytree is rebuilt
    with tracers inside every transformation.

    Attributes:
        x: inputs, shape (n, ...), float32; each row has probability 1/n.
        y: labels, shape (n,), integers 0 .. classes - 1.
        p_y_given_x: the labels' distribution at each input, shape (n, classes); None where a label is all
            that is known of its input.
        mutual_information: the true I(X;Y) in nats, None where it is not known.
        classes: size of the label's alphabet.
        name: a word for titles and stores.
    """

    x: Float[Array | np.ndarray, "n ..."]
    y: Integer[Array | np.ndarray, " n"]
    p_y_given_x: Float[Array | np.ndarray, "n classes"] | None = None
    mutual_information: float | None = dataclasses.field(default=None, metadata={"static": True})
    classes: int = dataclasses.field(default=2, metadata={"static": True})
    name: str = dataclasses.field(default="data", metadata={"static": True})

    def __len__(self) -> int:
        """Number of inputs."""
        return self.x.shape[0]

    @property
    def labels(self) -> Array | np.ndarray:
        """What Y is measured by: rows p(y|x) where known, else the integer labels."""
        return self.y if self.p_y_given_x is None else self.p_y_given_x

    @property
    def p_y(self) -> np.ndarray:
        """Distribution of the labels, shape (classes,): of p(y|x) where known, else of the labels."""
        if self.p_y_given_x is not None:
            return np.asarray(self.p_y_given_x, np.float64).sum(axis=0) / max(len(self), 1)
        return np.bincount(np.asarray(self.y), minlength=self.classes) / max(len(self), 1)

    @property
    def entropy_x(self) -> float:
        """H(X) = ln n in nats: the rows are taken as distinct and equally likely."""
        return float(np.log(len(self)))

    @property
    def entropy_y(self) -> float:
        """H(Y) in nats."""
        return float(entropy(self.p_y))


def from_arrays(
    x: Shaped[Array | np.ndarray, "n ..."],
    y: Shaped[Array | np.ndarray, " n"],
    p_y_given_x: Num[Array | np.ndarray, "n classes"] | None = None,
    name: str = "data",
) -> Dataset:
    """Make a data set of one's own arrays, checked.

    Args:
        x: inputs, shape (n, ...), finite numbers; kept as float32.
        y: labels, shape (n,), integers from 0.
        p_y_given_x: the labels' distribution at each input if it is known, rows that sum to one. Then
            I(X;Y) is computed from it with p(x) = 1/n.
        name: a word for titles and stores.

    Returns:
        A `Dataset`; ``mutual_information`` is None unless ``p_y_given_x`` is given.

    Raises:
        InputError: shapes that do not match, labels that are not integers from 0, values that are not
            finite or rows that do not sum to one; the message names the first offending row.

    Example:
        >>> data = from_arrays(np.eye(4), np.array([0, 1, 1, 0]), name="toy")
        >>> len(data), data.classes, f"{data.entropy_y / np.log(2):.6f}"
        (4, 2, '1.000000')
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim < 2 or y.shape != x.shape[:1] or len(x) == 0:
        raise InputError(f"x must be (n, features) and y (n,) with n >= 1, got {x.shape} and {y.shape}")
    _real("x", x)
    if not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"labels y must be integers, got {y.dtype}: use y.astype(int) if they are classes")
    if y.min() < 0:
        raise InputError(f"labels must count from 0, got {y.min()} at row {y.argmin()}")
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    _finite("x", x)
    classes = int(y.max()) + 1
    information = None
    if p_y_given_x is not None:
        _real("p_y_given_x", np.asarray(p_y_given_x))
        p_y_given_x = np.asarray(p_y_given_x, np.float64)
        if p_y_given_x.ndim != 2 or p_y_given_x.shape[0] != len(x) or p_y_given_x.shape[1] < classes:
            raise InputError(
                f"p_y_given_x must be (n, classes) = ({len(x)}, {classes} or more), got {p_y_given_x.shape}"
            )
        _finite("p_y_given_x", p_y_given_x)
        wrong = (p_y_given_x < 0).any(axis=1) | (abs(p_y_given_x.sum(axis=1) - 1) > 1e-6)
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(f"row {row} of p_y_given_x is no distribution: divide each row by its sum")
        classes = p_y_given_x.shape[1]
        information = float(mutual_information(p_y_given_x / len(x)))
    return Dataset(x, y.astype(np.int32), p_y_given_x, information, max(classes, 2), name)


def subset(data: Dataset, rows: Integer[np.ndarray, " m"], name: str) -> Dataset:
    """Return some rows of a data set; I(X;Y) is that of the rows kept.

    Example:
        >>> from ibjax.datasets import szt
        >>> half = subset(szt(), np.arange(2048), "half")
        >>> len(half), f"{half.mutual_information / np.log(2):.4f}"
        (2048, '0.9761')
    """
    p = None if data.p_y_given_x is None else np.asarray(data.p_y_given_x)[rows]
    part = dataclasses.replace(data, x=np.asarray(data.x)[rows], y=np.asarray(data.y)[rows], p_y_given_x=p, name=name)
    if data.mutual_information is None or len(rows) == 0:
        return dataclasses.replace(part, mutual_information=None)
    # A known I(X;Y) without p(y|x) means labels that are a function of X: then I(X;Y) = H(Y).
    known = part.entropy_y if p is None else float(mutual_information(p.astype(np.float64) / len(rows)))
    return dataclasses.replace(part, mutual_information=known)


def _real(name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must be numbers, got {array.dtype}: encode categories first")


def _finite(name: str, array: np.ndarray) -> None:
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if bad.any():
        raise InputError(f"{name} has a value that is not finite in row {int(bad.argmax())}: remove or repair it")
