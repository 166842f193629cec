"""Mutual information from three entropies by nearest neighbours whose leading biases cancel (Berrett et al. 2019)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Bool, Float, Integer

from ibjax.errors import InputError
from ibjax.estimators import ksg, neighbours
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.ksg import KSG
from ibjax.estimators.samples import as_columns, is_count, same_length

FALLBACK_K = 3
NOISE_LIMIT = 0.3
"""Largest standard error, in nats, that weights may cause; see `WeightedKL`."""

BLOCKS = 8
"""Parts of a split behind the standard error: fewer give too few differences, and more are too small."""

THIN = 0.75
"""Share of its columns below which the dimension of samples says that they have no density; see `dimension`."""

_DIFFERENCES = 28
"""Differences between parts, over all splits: their mean square root is right to 1 / sqrt(2 * 28) = 13 %."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class WeightedKL:
    """Mutual information of continuous samples with little bias in up to ten columns, and its error, in nats.

    With r_ij the distance of row i to its j-th nearest other row in the maximum norm, among d columns, and weights w_j,

        h = mean_i sum_j w_j [d ln(2 r_ij) - psi(j)] + psi(n),            I(X;Y) = h(X) + h(Y) - h(X, Y),

    each entropy with the shortest weights for its own number of columns that satisfy, with L = floor(d / 4),

        sum_j w_j = 1,      sum_j w_j Gamma(j + 2 l / d) / Gamma(j) = 0,   l = 1 .. L.

    The bias of the j-th distance is a series in (j/n)^(2l/d) whose coefficients depend on the density, not on j, so
    such weights remove its leading terms, whatever the norm. The paper's is Euclidean; the maximum norm is as accurate
    (in 5 + 5 normal columns at n = 5000 the deviations are 0.13 and 0.14), the search for neighbours is built on it,
    and the volumes of its balls cancel. Below 4 columns all weights are 1/k.

    It has far less bias than `KSG` where neighbours are far apart, from about 3 + 3 columns, and more variance: see
    ``std_error``. In fewer columns use `KSG`.

    Standard error: the rows are split at random into 8 parts, several times over; the estimates of the parts differ as
    independent samples of n/8 rows do, and the variance of the whole is 1/8 of theirs. The variance of the local terms,
    the usual choice, is 10 to 30 % too small in its root, as neighbours share neighbours, and the jackknife's 20 to
    50 % too large; this one was 14 % too small to 17 % too large in trials with 1 + 1 to 10 + 10 columns, n = 100 to
    5000. A single one varies by 14 %. The bias is not in it.

    Guard: `KSG` with k = 3 is returned, with its standard error found in the same way, where

    * ``unstable_weights``: the weights alone cause an error above 0.3 nat. sum_j w_j ln(r_ij^d) has the variance
      sum_jl w_j w_l psi'(max(j, l)) where the density is flat, so this is known from n, k and the numbers of columns:
      with k = 20, 5 + 5 columns need n = 423 and 6 + 6 need 8800. In normal columns the root mean square error was
      below KSG's on this side of the limit (0.23 against 0.43 in 5 + 5 at n = 1000), and above it beyond (1.0 against
      0.5 in 6 + 6); at 10 + 10 it is of tens of nats;
    * rows are duplicated, in x, in y or in both: a distance is zero and has no logarithm. ``deterministic`` says so;
    * ``no_density``: x, y or both lie on a curve or surface, by their `dimension`: below 3/4 of their columns, by more
      than two of its standard errors. The d ln r_ij of the formula are then of the wrong d. A spiral of two columns was
      2.75 nats off without this guard, KSG 0.00.

    Diagnostics, scalars:
        ``non_finite``: the value is NaN.
        ``constant``: x or y is constant, the value is 0.
        ``unstable_weights``: as above.
        ``deterministic``: rows are duplicated, or the value is above 3/4 [psi(n) - psi(k)], as it is where Y is a
            function of X.
        ``no_density``: as above.
        ``starved``: as of `KSG`, but with the first neighbour, unless KSG is used; ``scaled``: as of `KSG`.
        ``weight_norm``: the largest length of the three vectors of weights; infinite where the equations have no
            solution.

    Attributes:
        k: number of neighbours. 20 keeps the weights short; more have less variance (about 1/sqrt(k)) and a larger bias
            of higher order. At least floor(d / 4) + 1 are needed.
        engine: as of `KSG`, but ``"auto"`` always takes the tree on a CPU: with 20 neighbours it is as fast as all
            pairs in 10 columns at n = 5000, faster in fewer, and compiles in a fraction of the time.
        block: as of `KSG`; memory is about ``4 * (k + 64) * block`` bytes and ``12 * k * n``.

    When it fails:
        * Samples close to a surface of nearly as many columns (9 of 10, say), which ``no_density`` does not see.
        * Densities with sharp edges (uniform ones): the series of the bias has other powers, and some of it is left.
        * 1 to 3 columns a side: no bias of the marginals is removed, so at small n prefer `KSG`.
        * Strong dependence or heavy tails: as `KSG`, though less; ``starved`` says so.

    Raises:
        InputError: from a call, before anything is compiled: settings or samples that make no sense, integer labels
            (use `KSG`), or fewer than 2 (k + 1) rows, which cannot be split.

    Example:
        >>> x, e = np.random.default_rng(0).normal(size=(2, 1000, 2))
        >>> found = WeightedKL()(x, 0.75 * x + np.sqrt(1 - 0.75**2) * e)
        >>> abs(float(found.value) - -np.log(1 - 0.75**2)) < 3 * float(found.std_error) < 0.3
        True

    References:
        Berrett, Samworth & Yuan (2019), "Efficient multivariate entropy estimation via k-nearest neighbour distances",
        equations 3 and 4. Kozachenko & Leonenko (1987). Facco, d'Errico, Rodriguez & Laio (2017), "Estimating the
        intrinsic dimension of datasets by a minimal neighborhood information", of the dimension.
    """

    k: int = dataclasses.field(default=20, metadata={"static": True})
    engine: str = dataclasses.field(default="auto", metadata={"static": True})
    block: int = dataclasses.field(default=neighbours.BLOCK, metadata={"static": True})

    def checked(self) -> "WeightedKL":
        """Return self if its settings make sense, else raise `InputError`."""
        if not is_count(self.k):
            raise InputError(f"k must be a positive whole number, got {self.k!r}: 20 is a good choice")
        neighbours.check_search(self.engine, self.block)
        return self

    def __call__(self, x: Any, y: Any, key: Array | None = None) -> MIEstimate:
        """Return the estimate for n pairs of rows.

        Args:
            x: samples (n, columns) or (n,); integers are taken as numbers if they have columns.
            y: likewise.
            key: of the random splits behind ``std_error``; without one they are always the same.

        Returns:
            ``value`` and ``std_error`` in nats, in the precision of the samples.
        """
        rows = 2 * self.checked()._smallest
        x, y = as_columns("x", x, at_least=rows), as_columns("y", y, at_least=rows)
        same_length(x=x, y=y)
        return _estimate(x, y, jax.random.key(0) if key is None else key, self)

    @property
    def _smallest(self) -> int:
        """Rows that a part of a split must have."""
        return max(self.k, FALLBACK_K) + 1


def weights(k: int, columns: int) -> np.ndarray:
    """Shortest weights of k neighbours that cancel the leading biases in this many columns; see `WeightedKL`.

    They are 1 / |u|^2 times the part u of (1, ..., 1) that is orthogonal to the other equations' rows, which a QR
    factorisation gives to the last digits, however close to each other those rows are.

    Returns:
        float64 (k,); infinite where there are more equations than weights.

    Example:
        >>> weights(4, 3).tolist()
        [0.25, 0.25, 0.25, 0.25]
        >>> w, j = weights(4, 4), np.arange(1, 5)  # Gamma(j + 1/2) / Gamma(j) for l = 1
        >>> f"{abs(w @ (scipy.special.gamma(j + 0.5) / scipy.special.gamma(j))):.6f}"
        '0.000000'
    """
    j, order = np.arange(1.0, k + 1), np.arange(1, columns // 4 + 1)
    if len(order) >= k:
        return np.full(k, np.inf)
    rows = scipy.special.poch(j, 2 * order[:, None] / columns)
    q = np.linalg.qr((rows / np.linalg.norm(rows, axis=1, keepdims=True)).T)[0]
    u = np.ones(k)
    for _ in range(2):  # once more, as rounding leaves some of a long projection behind
        u -= q @ (q.T @ u)
    return u / u.sum()


def noise(w: np.ndarray, n: int) -> float:
    """Standard error in nats that weights cause where the density is flat: sqrt(w' C w / n), C_jl = psi'(max(j, l)).

    The volumes that n uniform rows cut off are sums of j exponential variables, and the logarithms of two such sums
    have the covariance psi' of the longer.
    """
    if not np.isfinite(w).all():
        return np.inf
    # sum_jl w_j w_l psi'(max(j, l)), by the larger of the two.
    below = np.cumsum(w)
    variance = (scipy.special.polygamma(1, np.arange(1, len(w) + 1)) * (below**2 - (below - w) ** 2)).sum()
    return float(np.sqrt(max(variance, 0.0) / n))


def dimension(nearest: Float[Array, "... n"], second: Float[Array, "... n"]) -> Float[Array, "..."]:
    """Dimension of samples by the distances to their two nearest neighbours: ``n / sum_i ln(r_i2 / r_i1)``.

    Where n rows have a density on a surface of d dimensions, ``ln(r_i2 / r_i1)`` are exponential of mean 1 / d in any
    norm. The standard error is d / sqrt(n); in many dimensions it is too small, 17 of 20 normal columns at n = 5000.

    Example:
        >>> f"{dimension(jnp.array([1.0, 1.0]), jnp.exp(jnp.array([0.5, 0.5]))):.1f}"
        '2.0'

    References:
        Facco et al. (2017), equation 4, by maximum likelihood.
    """
    smallest = jnp.finfo(nearest.dtype).tiny
    logs = jnp.log(jnp.maximum(second, smallest)) - jnp.log(jnp.maximum(nearest, smallest))
    return 1 / jnp.maximum(logs.mean(axis=-1), smallest)


def is_thin(radii: Float[Array, "... k n"], columns: int | Integer[Array, "..."]) -> Bool[Array, "..."]:
    """Whether samples have too few dimensions for their columns, by their neighbours; see `WeightedKL`.

    The answer is no where the second neighbour is not known.
    """
    *batch, k, n = radii.shape
    if k < 2:
        return jnp.zeros(batch, bool)
    return dimension(radii[..., 0, :], radii[..., 1, :]) * (1 + 2 / np.sqrt(n)) < THIN * columns


@functools.partial(jax.jit, static_argnames="settings")
def _estimate(x: Array, y: Array, key: Array, settings: WeightedKL) -> MIEstimate:
    n = x.shape[0]
    parts = min(BLOCKS, n // settings._smallest)
    splits = -(-_DIFFERENCES // (parts - 1))
    order = jax.vmap(lambda one: jax.random.permutation(one, n))(jax.random.split(key, splits))
    rows = order[:, : n // parts * parts].reshape(splits, parts, -1)
    return neighbours.lane_by_lane(functools.partial(_guarded, settings=settings), settings.block)(x, y, rows)


def _guarded(
    x: Float[Array, "n dx"], y: Float[Array, "n dy"], rows: Integer[Array, "splits parts m"], *, settings: WeightedKL
) -> MIEstimate:
    """The weighted estimate where it can be trusted, else Kraskov's."""
    n, dtype = x.shape[0], jnp.result_type(x, y)
    (x, y), finite = neighbours.repaired(x, y)
    of_each = [weights(settings.k, d) for d in (x.shape[1], y.shape[1], x.shape[1] + y.shape[1])]
    unstable = max(noise(w, n) for w in of_each) > NOISE_LIMIT
    # Their inner functions, as one that sets its own batching rule cannot be in a branch that is batched.
    by_weights = functools.partial(_weighted, settings=settings)
    by_ksg = functools.partial(ksg._kraskov, settings=KSG(FALLBACK_K, engine=settings.engine, block=settings.block))

    def error(estimate: Callable[[Array, Array], MIEstimate]) -> Float[Array, ""]:
        """Root of the mean variance between the parts of a split, which is that of the whole times their number."""
        found = jax.lax.map(lambda part: estimate(x[part], y[part]).value, rows.reshape(-1, rows.shape[2]))
        return jnp.sqrt(found.reshape(rows.shape[:2]).var(axis=1, ddof=1).mean() / rows.shape[1])

    if unstable:
        (value, _, found), std_error = by_ksg(x, y), error(by_ksg)
    else:
        (value, _, found) = by_weights(x, y)
        value, std_error = jax.lax.cond(
            found["ties"] | found["no_density"],
            lambda: (by_ksg(x, y).value, error(by_ksg)),
            lambda: (value, error(by_weights)),
        )
    constant = found["constant"]
    value, std_error = (jnp.where(finite, jnp.where(constant, 0, a), jnp.nan) for a in (value, std_error))
    diagnostics = {
        "non_finite": ~finite,
        "constant": constant,
        "unstable_weights": jnp.asarray(unstable),
        "deterministic": found["deterministic"],
        "no_density": found.get("no_density", jnp.zeros((), bool)) & finite & ~constant,
        "starved": found["starved"],
        "scaled": found["scaled"],
        "weight_norm": jnp.asarray(max(np.linalg.norm(w) for w in of_each), dtype),
    }
    return MIEstimate(value.astype(dtype), std_error.astype(dtype), diagnostics)


def _weighted(x: Float[Array, "n dx"], y: Float[Array, "n dy"], *, settings: WeightedKL) -> MIEstimate:
    """h(X) + h(Y) - h(X, Y) of finite rows; without meaning where there are ``ties``."""
    (n, dx), dy, k = x.shape, y.shape[1], settings.k
    radii = _radii(x, y, settings)
    ties = neighbours.is_zero(radii).any()
    thin = is_thin(radii, jnp.array([dx, dy, dx + dy])).any() & ~ties
    constant, starved, scaled = neighbours.cautions(radii[2, 0], x, y)
    with jax.enable_x64(True):
        psi = neighbours.digamma(n)
        logs = jnp.log(jnp.maximum(radii, jnp.finfo(radii.dtype).tiny).astype(jnp.float64)).mean(axis=2)
        terms = jnp.array([dx, dy, dx + dy])[:, None] * logs - psi[1 : k + 1]
        signed = np.stack([weights(k, dx), weights(k, dy), -weights(k, dx + dy)])
        value = (signed * terms).sum() + psi[n]
        strong = value > 0.75 * (psi[n] - psi[k])
    return MIEstimate(
        value.astype(x.dtype),
        None,
        {
            "constant": constant.any(),
            "deterministic": ~constant.any() & (ties | strong),
            "no_density": thin,
            "starved": starved,
            "scaled": scaled,
            "ties": ties,
        },
    )


def _radii(x: Float[Array, "n dx"], y: Float[Array, "n dy"], settings: WeightedKL) -> Float[Array, "3 k n"]:
    """Distances to the 1st .. k-th neighbour in x, in y and in both.

    Columns of zeros change no distance and make one program of the three, which takes seconds to compile.
    """
    spaces = jnp.stack([jnp.concatenate(pair, axis=1) for pair in ((x, 0 * y), (0 * x, y), (x, y))])
    ks = tuple(range(1, settings.k + 1))

    def search(spaces: Array, engine: str) -> Array:
        find = functools.partial(neighbours.kth_distances, ks=ks, engine=engine, block=settings.block)
        return jax.lax.map(find, spaces)

    if settings.engine != "auto":
        return search(spaces, settings.engine)
    # So many neighbours make a tree the faster choice for fewer rows than one neighbour does.
    return jax.lax.platform_dependent(
        spaces, cpu=functools.partial(search, engine="tree"), default=functools.partial(search, engine="brute")
    )
