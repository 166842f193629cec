"""What processing can keep: the data-processing inequality, sufficient and minimal sufficient statistics."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ibjax.errors import InputError
from ibjax.information.checks import as_table, concrete, normalised
from ibjax.information.joint import JointDistribution
from ibjax.information.measures import mutual_information, xlogy

ROWS = "divide each row by its sum"


class DataProcessing(NamedTuple):
    """Information before and after a channel.

    Attributes:
        before: I(X;Y) in nats.
        after: I(X;Z) in nats.
        holds: whether after <= before, up to rounding.
    """

    before: Float[Any, ""]
    after: Float[Any, ""]
    holds: Bool[Any, ""]


def data_processing(joint: JointDistribution, channel: Any, axis: int = 1) -> DataProcessing:
    """Check the data-processing inequality of a chain X - Y - Z: ``I(X;Z) <= I(X;Y)``.

    With exact arithmetic it always holds; where it does not, the table or the channel is wrong (NaN, say) or the
    channel read more than Y.

    Args:
        joint: p(x, y), two variables.
        channel: rows p(z|y), shape (|Y|, |Z|), that sum to one.
        axis: the variable that the channel reads. With 0 it is X, so that an encoder p(t|x) gives I(T;Y) <= I(X;Y).

    Returns:
        Both informations and whether the inequality holds.

    Raises:
        InputError: a table of more variables, shapes that do not match, or a row that is no distribution.

    Example:
        >>> noise = np.array([[0.9, 0.1], [0.1, 0.9]])
        >>> found = data_processing(JointDistribution.from_table(noise / 2), noise)
        >>> f"{found.before:.4f} {found.after:.4f} {found.holds}"
        '0.3681 0.2218 True'

    References:
        Cover & Thomas (2006), "Elements of information theory", theorem 2.8.1.
    """
    table = _two(joint)
    if axis not in (0, 1):
        raise InputError(f"axis must be 0 (the channel reads X) or 1 (Y), got {axis}")
    table = table if axis == 1 else table.T
    channel = as_table("channel", channel)
    if channel.ndim != 2 or channel.shape[0] != table.shape[1]:
        raise InputError(f"channel must have one row for each of {table.shape[1]} symbols, got shape {channel.shape}")
    after = mutual_information(_matmul(table, normalised("channel", channel, (1,), ROWS)))
    before = mutual_information(table)
    return DataProcessing(before, after, after <= before + _rounding(table))


def is_sufficient(family: Any, statistic: Any, tolerance: float | None = None) -> Any:
    """Whether a statistic T(x) keeps all that X tells of theta: ``I(theta;X) - I(theta;T) = I(theta;X|T) = 0``.

    That is so if, and only if, p(x|theta) = g(T(x), theta) h(x) (Fisher and Neyman), whatever the distribution of
    theta, as long as no theta has probability 0.

    Args:
        family: a `JointDistribution` p(theta, x), or an array of rows p(x|theta), shape (|theta|, |X|), which are then
            taken as equally likely.
        statistic: T(x) at each x, shape (|X|,), any integers; for a real statistic
            ``np.unique(t, return_inverse=True)[1]``. Distinct values are told apart exactly.
        tolerance: most information in nats that may be lost. The default is rounding, a few eps of the precision.
            Errors of the probabilities themselves do no harm: what is lost is quadratic in them.

    Returns:
        A truth value; False of tables with NaN.

    Raises:
        InputError: shapes that do not match, labels that are not integers, or rows that are no distributions.

    Example:
        >>> p = np.array([0.2, 0.5, 0.7])[:, None]
        >>> heads = np.array([0, 1, 1, 2])  # of the sequences 00, 01, 10, 11
        >>> family = p**heads * (1 - p) ** (2 - heads)
        >>> bool(is_sufficient(family, heads)), bool(is_sufficient(family, heads > 0))
        (True, False)

    References:
        Fisher (1922), "On the mathematical foundations of theoretical statistics", section 4.
        Kullback & Leibler (1951), "On information and sufficiency", section 4.
        Cover & Thomas (2006), "Elements of information theory", section 2.9.
    """
    table = _table(family)
    if not hasattr(statistic, "dtype"):
        statistic = np.asarray(statistic)
    if not (jnp.issubdtype(statistic.dtype, jnp.integer) or statistic.dtype == bool):
        raise InputError(f"statistic must be integers, got {statistic.dtype}: number its values with np.unique")
    if statistic.shape != table.shape[1:]:
        raise InputError(f"statistic must be one value for each x, ({table.shape[1]},), got {statistic.shape}")
    group = _numbered(statistic)
    merged = _sums(table, group)
    p_x, p_t = table.sum(axis=0), merged.sum(axis=0)
    lost = (
        xlogy(table, table) + xlogy(table, p_t[None, group]) - xlogy(table, merged[:, group]) - xlogy(table, p_x[None])
    )
    return lost.sum() <= (_rounding(table) if tolerance is None else tolerance)


def minimal_sufficient(family: Any, tolerance: float | None = None) -> Integer[np.ndarray, " x"]:
    """The minimal sufficient statistic: the partition of X into symbols with the same likelihood ratios.

    T(x) = T(x') if, and only if, p(x|theta) / p(x'|theta) is the same for all theta: if p(theta|x) = p(theta|x').
    Every sufficient statistic determines T. It is computed on the host, in double precision.

    Args:
        family: a `JointDistribution` p(theta, x), or an array of rows p(x|theta); the distribution of theta does not
            matter as long as no theta has probability 0.
        tolerance: the relative difference of ratios that is taken as rounding: a probability may be small. The default
            is sqrt(eps), half the digits of the precision; joining such symbols costs about eps nats. Each symbol joins
            the first group to whose first symbol it is this close.

    Returns:
        T(x), shape (|X|,), numbered from 0 in order of appearance. Symbols that never occur are in group 0.

    Raises:
        InputError: a table of more variables, rows that are no distributions, or a traced table.

    Example:
        >>> p = np.array([0.2, 0.5, 0.7])[:, None]
        >>> heads = np.array([0, 1, 1, 2])  # of the sequences 00, 01, 10, 11
        >>> minimal_sufficient(p**heads * (1 - p) ** (2 - heads))
        array([0, 1, 1, 2])

    References:
        Lehmann & Scheffé (1950), "Completeness, similar regions, and unbiased estimation, part 1".
    """
    table = _table(family)
    if not concrete(table):
        raise InputError("the family is traced, and a partition is made of known values: compute it outside")
    tolerance = float(jnp.finfo(table.dtype).eps) ** 0.5 if tolerance is None else tolerance
    p = np.asarray(table, np.float64)
    mass = p.sum(axis=0)
    posterior = (p / np.where(mass > 0, mass, 1)).T
    group = np.where(mass > 0, -1, 0)
    count = 0
    while (group < 0).any():
        first = posterior[np.argmax(group < 0)]
        near = (abs(posterior - first) <= tolerance * np.maximum(posterior, first)).all(axis=1)
        group[near & (group < 0)] = count
        count += 1
    return group


def _two(joint: JointDistribution) -> Any:
    if joint.table.ndim != 2:
        raise InputError(f"the table must have two variables, got shape {joint.table.shape}: reshape or use marginal")
    return joint.table


def _table(family: Any) -> Any:
    """The table p(theta, x) of a joint distribution or of rows p(x|theta)."""
    if isinstance(family, JointDistribution):
        return _two(family)
    rows = as_table("family", family)
    return _two(JointDistribution(normalised("family", rows, tuple(range(1, rows.ndim)), ROWS) / len(rows)))


def _rounding(table: Any) -> float:
    """What sums of the table's p ln p may be off."""
    return 8 * float(jnp.finfo(table.dtype).eps) * (1 + float(np.log(table.size)))


def _numbered(labels: Any) -> Any:
    """Equal numbers below their length for equal labels: how many labels are smaller."""
    xp = labels.__array_namespace__()
    return xp.searchsorted(xp.sort(labels), labels)


def _sums(table: Any, group: Any) -> Any:
    """Columns of a group added up, as many columns as before."""
    if isinstance(table, jax.Array) or isinstance(group, jax.Array):
        return jnp.zeros_like(table).at[:, group].add(table)
    merged = np.zeros_like(table)
    np.add.at(merged.T, group, table.T)
    return merged


def _matmul(a: Any, b: Any) -> Array | np.ndarray:
    """A product in full precision: accelerators multiply in less than float32 by default."""
    if isinstance(a, jax.Array) or isinstance(b, jax.Array):
        return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    return a @ b
