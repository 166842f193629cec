"""Measures of tables of many variables: one axis a variable, in NumPy or JAX. For a batch of tables use `jax.vmap`."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ibjax.errors import InputError
from ibjax.information.measures import Table, entropy, xlogy
from ibjax.information.units import convert

Axes = int | np.integer | Sequence[int]
"""A variable by its axis, or several that are taken together as one."""


def marginal(table: Table, axes: Axes) -> Any:
    """Distribution of some of the variables, in the order in which they are named.

    Args:
        table: probabilities, one axis a variable.
        axes: the variables to keep.

    Returns:
        The table of these variables, the others summed out.

    Raises:
        InputError: an axis that the table does not have, or one named twice.

    Example:
        >>> marginal(np.arange(8.0).reshape(2, 2, 2) / 28, (2, 0)) * 28
        array([[ 2., 10.],
               [ 4., 12.]])
    """
    (kept,) = _variables(table, axes)
    others = tuple(i for i in range(table.ndim) if i not in kept)
    return table.sum(axis=others).transpose([sorted(kept).index(i) for i in kept])


def joint_entropy(table: Table, axes: Axes | None = None, *, units: str = "nats") -> Any:
    """Entropy of several variables together, ``H(A) = -sum p(a) ln p(a)``.

    Args:
        table: probabilities, one axis a variable.
        axes: the variables A, all of them by default.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The entropy, a scalar; 0 of no variable.

    Raises:
        InputError: an axis that the table does not have, or one named twice.

    Example:
        >>> coins = np.full((2, 2, 2), 1 / 8)
        >>> float(joint_entropy(coins, units="bits")), float(joint_entropy(coins, (0, 2), units="bits"))
        (3.0, 2.0)

    References:
        Cover & Thomas (2006), "Elements of information theory", equation 2.8.
    """
    kept = table if axes is None else marginal(table, axes)
    return entropy(kept.reshape(-1), units=units)


def conditional_entropy(table: Table, axes: Axes = 1, given: Axes = 0, *, units: str = "nats") -> Any:
    """Entropy of variables once others are known, ``H(A|B) = -sum p(a,b) ln(p(a,b) / p(b))``; by default H(Y|X).

    Args:
        table: probabilities, one axis a variable.
        axes: the variables A.
        given: the variables B; none is the entropy of A.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The entropy, a scalar between 0 and H(A).

    Raises:
        InputError: an axis that the table does not have, or one named twice.

    Example:
        >>> noisy = np.array([[0.5, 0.0], [0.25, 0.25]])
        >>> float(conditional_entropy(noisy, units="bits"))
        0.5

    References:
        Cover & Thomas (2006), "Elements of information theory", equation 2.10.
    """
    p = _grouped(table, axes, given)
    terms = xlogy(p, p.sum(axis=0, keepdims=True)) - xlogy(p, p)
    return convert(terms.sum(), units=units)


def conditional_mutual_information(
    table: Table, x: Axes = 0, y: Axes = 1, given: Axes = 2, *, units: str = "nats"
) -> Any:
    """Information that two variables share once others are known.

    ``I(X;Y|Z) = sum p(x,y,z) ln(p(x,y,z) p(z) / (p(x,z) p(y,z)))``

    Args:
        table: probabilities, one axis a variable.
        x: the variables X.
        y: the variables Y.
        given: the variables Z; none, ``()``, gives I(X;Y).
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The information, a scalar, at least 0 up to rounding. It may be more or less than I(X;Y).

    Raises:
        InputError: an axis that the table does not have, or one named twice.

    Example:
        >>> xor = np.zeros((2, 2, 2))
        >>> xor[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 1 / 4
        >>> f"{conditional_mutual_information(xor, units='bits'):.6f}"
        '1.000000'

    References:
        Cover & Thomas (2006), "Elements of information theory", equation 2.60.
    """
    p = _grouped(table, x, y, given)
    p_xz, p_yz, p_z = p.sum(axis=1, keepdims=True), p.sum(axis=0, keepdims=True), p.sum(axis=(0, 1), keepdims=True)
    return convert((xlogy(p, p) + xlogy(p, p_z) - xlogy(p, p_xz) - xlogy(p, p_yz)).sum(), units=units)


def interaction_information(table: Table, *, units: str = "nats") -> Any:
    """McGill's interaction information of all variables of a table.

    ``I(X;Y;Z) = I(X;Y|Z) - I(X;Y)``, and so on for each further variable:
    ``-sum over subsets S of the n variables of (-1)^(n - |S|) H(S)``.

    The sign is McGill's: positive where the third variable reveals what the other two share (1 bit of z = x xor y),
    negative where all share the same (-1 bit of three copies of a coin). The co-information has the opposite sign for
    an odd number of variables. Two variables have I(X;Y), one has -H(X).

    Args:
        table: probabilities, one axis a variable; the work doubles with each variable.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The interaction information, a scalar of either sign.

    Example:
        >>> copies = np.zeros((2, 2, 2))
        >>> copies[[0, 1], [0, 1], [0, 1]] = 1 / 2
        >>> f"{interaction_information(copies, units='bits'):.6f}"
        '-1.000000'

    References:
        McGill (1954), "Multivariate information transmission".
    """
    n = table.ndim
    subsets = (s for size in range(1, n + 1) for s in itertools.combinations(range(n), size))
    return convert(sum(-((-1) ** (n - len(s))) * joint_entropy(table, s) for s in subsets), units=units)


def total_correlation(table: Table, *, units: str = "nats") -> Any:
    """Watanabe's total correlation, ``sum_i H(X_i) - H(X_1, ..., X_n)``.

    It is the divergence from the product of the marginals: 0 if, and only if, all variables are independent.

    Args:
        table: probabilities, one axis a variable.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The total correlation, a scalar, at least 0 up to rounding; of two variables I(X;Y).

    Example:
        >>> copies = np.zeros((2, 2, 2))
        >>> copies[[0, 1], [0, 1], [0, 1]] = 1 / 2
        >>> f"{total_correlation(copies, units='bits'):.6f}"
        '2.000000'

    References:
        Watanabe (1960), "Information theoretical analysis of multivariate correlation".
    """
    return convert(sum(joint_entropy(table, i) for i in range(table.ndim)) - joint_entropy(table), units=units)


def dual_total_correlation(table: Table, *, units: str = "nats") -> Any:
    """Han's dual total correlation, ``H(X_1, ..., X_n) - sum_i H(X_i | all others)``.

    Args:
        table: probabilities, one axis a variable.
        units: of the result, "nats", "bits" or "hartleys".

    Returns:
        The dual total correlation, a scalar, at least 0 up to rounding; of two variables I(X;Y).

    Example:
        >>> copies = np.zeros((2, 2, 2))
        >>> copies[[0, 1], [0, 1], [0, 1]] = 1 / 2
        >>> f"{dual_total_correlation(copies, units='bits'):.6f}"
        '1.000000'

    References:
        Han (1975), "Linear dependence structure of the entropy space".
    """
    others = [tuple(j for j in range(table.ndim) if j != i) for i in range(table.ndim)]
    alone = sum(conditional_entropy(table, i, rest) for i, rest in enumerate(others))
    return convert(joint_entropy(table) - alone, units=units)


def _grouped(table: Table, *groups: Axes) -> Any:
    """The table of the groups: each becomes one variable, all further variables are summed out."""
    named = _variables(table, *groups)
    p = marginal(table, [i for group in named for i in group])
    shape = [math.prod(table.shape[i] for i in group) for group in named]
    return p.reshape(shape)


def _variables(table: Table, *groups: Axes) -> list[tuple[int, ...]]:
    """The groups' axes, counted from 0."""
    named = [(group,) if isinstance(group, int | np.integer) else tuple(group) for group in groups]
    for i in itertools.chain(*named):
        if not -table.ndim <= i < table.ndim:
            raise InputError(f"the table has no axis {i}: it has {table.ndim} variables, counted from 0")
    counted = [tuple(int(i) % table.ndim for i in group) for group in named]
    for i, j in itertools.pairwise(sorted(itertools.chain(*counted))):
        if i == j:
            raise InputError(f"axis {i} is named twice: name each variable once")
    return counted
