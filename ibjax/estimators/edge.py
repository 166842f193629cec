"""EDGE: mutual information from hashed cells of several widths, linear in the number of samples."""

import dataclasses
import math
import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Bool, Float, Integer

from ibjax.errors import InputError, choose
from ibjax.estimators import cells
from ibjax.estimators.base import LayerInformation, MIEstimate, Span
from ibjax.estimators.edge_rank import TABLE_BITS, as_estimate, rank, rank_layer
from ibjax.estimators.edge_stream import EDGEStream, stream_of
from ibjax.estimators.samples import as_layer_labels, as_variable, concrete, is_count, same_length

EDGE_RULES = ("rank", "published", "code")
LOWEST_LOCAL = 0.001
"""Lower clip of the public code's local terms, bits."""
BIAS = 0.05
"""Nats of upward bias from which on the cells of the other rules count as too empty."""
CODE_SEED = 3334
"""Seed of the public code's projections and query points."""


@typing.no_type_check  # transformations rebuild a pytree with leaves that are no arrays
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Projected:
    """What the rule ``"code"`` makes of a first variable whatever gamma is, see `EDGE.project`.

    Attributes:
        columns: the variable on its random directions, in float64, or labels.
        bandwidths: of each direction, before gamma.
        width: columns that the variable had: the second one's random numbers are drawn after as many.
    """

    columns: Float[Array, "n directions"] | Integer[Array, " n"]
    bandwidths: Float[Array, "..."]
    width: int = dataclasses.field(metadata={"static": True})


@typing.no_type_check  # transformations rebuild a pytree with leaves that are no arrays
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EDGE:
    """Ensemble dependency graph estimator: the information of hashed cells, from several bandwidths eps.

    I(eps) = sum over occupied pairs of cells (i, j) of (N_ij / n) ln [N_ij n / (N_i M_j)], where a variable's cell is
    floor((x + b) / eps) in each column. Wide cells blur the dependence (bias of order eps, downwards), narrow ones are
    empty (bias of order 1 / (n eps^d), upwards); the rules differ in how they choose and combine bandwidths. Counts are
    exact: a row's cells are packed in one key, and keys are sorted or looked up in a table.

    Rules:
        ``"rank"``: columns are replaced by their ranks, so that strictly increasing maps of a column change nothing and
            heavy tails do no harm. eps = 1/2, 1/4, 1/8, ... of the ranks; entropies by Grassberger (2003), nearly
            unbiased down to two samples a cell; of these the finest eps at which at most 3 % of the samples are
            alone in their joint cell (a new sample falls in an occupied cell with probability 0.97, by Good
            and Turing), with the next wider as 2 I(eps) - I(2 eps): the weights of an ensemble t = (1, 2) that cancel
            the bias of first order in eps.
        ``"published"``: Noshad et al. (2019), eps(t) = t n^(-1/(2d)) in the data's own units, d the number of
            continuous columns, t = 1 .. 3; sum_t w(t) I(eps(t)) with the shortest w that has sum w = 1 and sum
            w t^i = 0 for i = 1 .. d. b = 0, or uniform in [0, eps) from a ``key``. At n = 20,000 its cells are
            too empty even in 1+1 dimensions: 0.2 to 0.3 nat too much on normal columns. For comparison only.
        ``"code"``: the public implementation, version 4.2.0, which made the published information planes: columns
            are projected at random on at most log2(n / 10) directions; eps = 3 d gamma x the mean distance to the
            k-th neighbour of 500 of the samples (or 3 d gamma x ``epsilon``); the median over ``members`` bandwidths
            eps .. 1.1 eps, shifted in equal steps, of the mean local term log2 [...] clipped to [0.001, U]; then once
            more with gamma 2^(-sqrt(2 I) + 1 / (2 I)). Equal to that code to rounding. gamma decides the
            answer: published curves chose it by layer.

    Integer arguments of shape (n,) are labels: each is a cell of its own under every rule. Discrete columns need
    nothing special under ``"rank"``: equal values share a cell, and where the cells tell all values of all columns
    apart nothing is extrapolated.

    Accuracy of ``"rank"`` in 1+1 dimensions at n = 20,000: within 0.06 nat on smooth, kinked, heavy-tailed and mixed
    densities of up to 3 nats, within 0.02 of zero on independent samples; at n = 1000 within 0.2 and 0.1. Cells
    fill slowly with dimension: d columns in all have about (n / 4)^(1/d) bins each. 5+1 columns at n = 100,000
    have 4, which hold a smooth dependence to 0.1 nat and miss a fine one altogether; ``diagnostics["starved"]`` says
    so: use fewer columns, `KSG` up to about ten, or `GaussianCopula`. With columns so many that even two bins each
    are too empty, ``diagnostics["undersampled"]`` is set: the estimate may be whole nats too large, as those of
    the other rules are wherever they set it.

    Layers: each x is a cell of its own, as the public code's use on networks intends, so I(X;T) = H(cells of T) is a
    statement about a bandwidth, at most ln n: under ``"rank"`` 2^max(1, round(log2(n) / (2d))) bins for each of d
    units, under ``"published"`` eps(1), under ``"code"`` the rule itself (at most U bits). The public demonstrations
    hash X too, with a gamma of 0.2: so coarsely at first that I is far less, which makes the second gamma larger and
    results up to 1.5 bits smaller; to do as they do give X and T as two variables and ``x_gamma``. I(T;Y) is the
    rule's estimate with labels as cells; rows p(y|x) enter as fractional counts, with a correction of the kind of
    Miller's (1955) in place of Grassberger's.

    Not differentiable: a small change of a sample changes no count, and gradients are zero. Under `jax.vmap` estimates
    run one after the other, which is as fast on a CPU as side by side and needs the memory of one.

    Attributes:
        rule: one of the rules above.
        members: bandwidths of ``"published"`` (2d if that is more) and of ``"code"``.
        gamma: factor of the bandwidths of ``"code"``: about 1 for continuous columns, 0.001 for discrete ones.
        U: largest local term of ``"code"``, in bits as there; less than log2(n) it may cap the answer.
        epsilon: bandwidth of ``"code"`` in standard deviations of its projections; 0 takes the neighbours' distances.
        x_gamma: factor of ``"code"`` for the first variable; None for ``gamma``. A layer's inputs have none.

    Raises:
        InputError: from a call outside transformations and from `checked`: an unknown rule, settings that are not
            positive, samples that are not finite, empty or of different lengths.

    Example:
        >>> x, noise = np.random.default_rng(0).normal(size=(2, 20_000)).astype(np.float32)
        >>> found = EDGE()(x, x + noise)
        >>> abs(float(found.value) - 0.5 * math.log(2)) < 0.03, found.advice()
        (True, [])

    References:
        Noshad, Zeng & Hero (2019), "Scalable mutual information estimation using dependence graphs", sections 2-4;
        Grassberger (2003), "Entropy estimates from insufficient samplings"; Good (1953), "The population
        frequencies of species and the estimation of population parameters"; Miller (1955), "Note on the bias of
        information estimates".
    """

    rule: str = dataclasses.field(default="rank", metadata={"static": True})
    members: int = dataclasses.field(default=10, metadata={"static": True})
    gamma: Array | float = 1.0
    U: Array | float = 10.0
    epsilon: Array | float = 0.0
    x_gamma: Array | float | None = None

    @property
    def needs_span(self) -> bool:
        """Whether the range of the whole run is needed: never."""
        return False

    def checked(self) -> "EDGE":
        """Return self if its settings make sense, else raise `InputError`."""
        choose("EDGE rule", self.rule, EDGE_RULES)
        if not is_count(self.members):
            raise InputError(f"members must be a whole number of 1 or more, got {self.members!r}: 10 is usual")
        for name, low, usual in (
            ("gamma", 0.0, "1 is usual"),
            ("x_gamma", 0.0, "None takes gamma"),
            ("U", LOWEST_LOCAL, "10 is usual"),
        ):
            value = getattr(self, name)
            if value is not None and concrete(value) and not (np.isfinite(value) and value > low):
                raise InputError(f"{name} must be finite and more than {low:g}, got {value}: {usual}")
        if concrete(self.epsilon) and not (np.isfinite(self.epsilon) and self.epsilon >= 0):
            raise InputError(f"epsilon must be finite and not negative, got {self.epsilon}: 0 chooses it by neighbours")
        return self

    def __str__(self) -> str:
        """Name and convention, as `ibjax.estimators.parse` reads it."""
        match self.rule:
            case "rank":
                return "edge:rule=rank"
            case "published":
                return f"edge:rule=published,members={self.members}"
        text = f"edge:rule=code,members={self.members},gamma={self.gamma:g},U={self.U:g},epsilon={self.epsilon:g}"
        return text if self.x_gamma is None else f"{text},x_gamma={self.x_gamma:g}"

    def __call__(self, x: Any, y: Any, key: Any = None) -> MIEstimate:
        """Return I(X;Y) in nats.

        Args:
            x: samples (n, dx) or (n,), or integer labels (n,); or what `project` made of them.
            y: samples or labels.
            key: random shifts of the cells of ``"published"``; not used by the other rules.

        Returns:
            ``value`` in nats, below 0 at times where the variables are independent; no ``std_error``, since the
            bandwidths differ by bias, not by chance; and diagnostics: ``non_finite``, ``constant``, ``undersampled``;
            under ``"rank"`` also ``starved``, ``saturated``, ``deterministic``, the share ``alone`` of samples
            alone in their joint cell, the ``bins`` a column and the ``step``, what the last halving of the bandwidth
            added in nats; under the other rules the plug-in's upward ``bias`` in nats, as Miller (1955) estimates
            it, and under ``"code"`` ``saturated``.
        """
        self.checked()
        if isinstance(x, Projected):
            self._projects()
            y = as_variable("y", y)
            same_length(x=x.columns, y=y)
            with jax.enable_x64(True):
                return _estimate(self, x, jax.lax.stop_gradient(y), key)
        x, y = as_variable("x", x), as_variable("y", y)
        same_length(x=x, y=y)
        return _estimate(self, *jax.lax.stop_gradient((x, y)), key)

    def project(self, x: Any) -> Projected:
        """Return what the rule ``"code"`` makes of a first variable, for calls with many second ones.

        Of the settings it depends on ``epsilon`` alone. It is most of the work where x has many columns; and where x is
        a constant of a compiled computation, as the images that a network sees are, the compiler would do this work
        itself, and slowly: of 10,000 images it takes 26 s, without them 1.4 s.

        Args:
            x: samples (n, dx) or (n,), or integer labels (n,).

        Raises:
            InputError: as a call; or the rule is not ``"code"``: the others project nothing.
        """
        self.checked()._projects()
        x = as_variable("x", x)
        with jax.enable_x64(True):
            return _first(jax.lax.stop_gradient(x), self.epsilon)

    def _projects(self) -> None:
        if self.rule != "code":
            raise InputError(f"rule {self.rule!r} projects nothing: give it the samples, or use rule='code'")

    def layer(
        self,
        t: Float[Array, "n units"],
        labels: Integer[Array | np.ndarray, " n"] | Float[Array | np.ndarray, "n classes"],
        *,
        classes: int | None = None,
        span: Span | None = None,
    ) -> LayerInformation:
        """Return I(X;T) and I(T;Y) in nats of activations ``t``; see `ibjax.estimators.LayerEstimator`."""
        del classes, span
        return _layer(self, *jax.lax.stop_gradient((t, as_layer_labels(labels))))

    def stream(self, x: Any, y: Any, *, n: int | None = None, bits: int = TABLE_BITS) -> EDGEStream:
        """Return this estimator for samples that arrive in parts, its cells fixed by a pilot sample.

        Args:
            x: pilot samples or labels, as in a call; their quantiles are the cells' edges. Ten samples for each bin
                fix them well.
            y: likewise.
            n: samples that are expected in all, which set the finest bandwidth; None takes the pilot's number.
            bits: each of the three tables has 2^bits counts of four bytes.

        Returns:
            The stream, see `EDGEStream`; `EDGEStream.update` counts the pilot too if it is passed again.

        Raises:
            InputError: as a call; or the rule is not ``"rank"``: the cells of the others have no bounds.
        """
        self.checked()
        if self.rule != "rank":
            raise InputError(f"rule {self.rule!r} cannot stream, its cells have no bounds: use rule='rank'")
        for name, value, high in (("bits", bits, 30), ("n", n, 2**31 - 1)):
            if value is not None and not (type(value) is int and 1 <= value <= high):
                raise InputError(f"{name} must be a whole number from 1 to {high}, got {value!r}")
        x, y = as_variable("x", x), as_variable("y", y)
        pilot = same_length(x=x, y=y)
        return stream_of(x, y, n or pilot, bits)


@jax.jit
@sequential_vmap
def _estimate(estimator: EDGE, x: Array | Projected, y: Array, key: Array | None) -> MIEstimate:
    floats = [side.dtype for side in (x, y) if not isinstance(side, Projected) and side.ndim == 2]
    dtype = jnp.dtype(jnp.result_type(*floats) if floats else jnp.result_type(float))
    with jax.enable_x64(True):
        if isinstance(x, Projected):
            value, diagnostics = _code(x, y, estimator)
            x = x.columns
        elif estimator.rule == "rank":
            value, diagnostics = rank(x, y)
        elif estimator.rule == "published":
            value, diagnostics = _published(x, y, key, estimator.members)
        else:
            value, diagnostics = _code(_first(x, estimator.epsilon), y, estimator)
        return as_estimate(value, ~_finite(x, y), _constant(x) | _constant(y), diagnostics, dtype)


@jax.jit
@sequential_vmap
def _layer(estimator: EDGE, t: Array, labels: Array) -> LayerInformation:
    with jax.enable_x64(True):
        match estimator.rule:
            case "rank":
                found = rank_layer(t, labels)
            case "published":
                found = _published_layer(t, labels, estimator.members)
            case _:
                found = _code_layer(t, labels, estimator)
        # Clipped from below, the public code's local terms make something of nothing.
        found = [jnp.where(_constant(t), 0.0, value) for value in found]
        return LayerInformation(*(jnp.where(_finite(t, labels), value, jnp.nan).astype(t.dtype) for value in found))


def _finite(*sides: Array) -> Bool[Array, ""]:
    return jnp.stack([jnp.isfinite(side).all() for side in sides]).all()


def _constant(side: Array) -> Bool[Array, ""]:
    return (side == side[0]).all()


def _width(side: Array) -> int:
    """Number of continuous columns: labels have none."""
    return side.shape[1] if side.ndim == 2 else 0


def _floors(side: Array, eps: Array, shift: Array | float = 0.0) -> Integer[Array, "n ..."]:
    """floor(x / eps + shift) of columns, labels as they are."""
    return side if side.ndim == 1 else jnp.floor(side / eps + shift).astype(jnp.int64)


# --- The published rule ------------------------------------------------------------------------------------


def ensemble_weights(t: Float[np.ndarray, " members"], d: int) -> Float[np.ndarray, " members"]:
    """Return the shortest weights w with sum w = 1 and sum w t^i = 0 for i = 1 .. d.

    They say that sum w p(t) = p(0) for every polynomial p of degree d or less. Asked of polynomials p_k that are
    orthonormal on the points, w = sum_k p_k(0) p_k(t), which is well conditioned for any d.

    Args:
        t: bandwidths, more than d of them.
        d: powers of the bandwidth in the bias that is to vanish.

    Returns:
        The weights, in float64.
    """
    low, high = t.min(), t.max()
    points = (2 * np.append(t, 0.0) - low - high) / (high - low)
    powers = np.polynomial.legendre.legvander(points, d)
    orthonormal, triangle = np.linalg.qr(powers[:-1])
    return orthonormal @ np.linalg.solve(triangle.T, powers[-1])


def _bandwidths(members: int, n: int, d: int) -> tuple[Float[Array, " members"], Float[Array, " members"]]:
    """eps(t) = t n^(-1/(2d)) for t = 1 .. 3, and the weights."""
    if d == 0:
        return jnp.ones(1), jnp.ones(1)
    t = np.linspace(1, 3, max(members, 2 * d))
    return jnp.asarray(t * n ** (-1 / (2 * d))), jnp.asarray(ensemble_weights(t, d))


def _published(x: Array, y: Array, key: Array | None, members: int) -> tuple[Array, dict[str, Array]]:
    """The rule on two variables."""
    n, (dx, dy) = x.shape[0], (_width(x), _width(y))
    eps, weights = _bandwidths(members, n, dx + dy)
    shape = (eps.shape[0], dx + dy)
    shifts = jnp.zeros(shape) if key is None else jax.random.uniform(key, shape, jnp.float32)

    def plug_in(member: tuple[Array, Array]) -> tuple[Array, Array]:
        eps, shift = member
        x_cells, y_cells = _floors(x, eps, shift[:dx]), _floors(y, eps, shift[dx:])
        counts = [
            cells.run_lengths(jnp.sort(cells.pack_rows(*parts))).astype(jnp.float64)
            for parts in ([x_cells], [y_cells], [x_cells, y_cells])
        ]
        x_sum, y_sum, xy_sum = (jax.scipy.special.xlogy(c, c).sum() for c in counts)
        return jnp.log(n) + (xy_sum - x_sum - y_sum) / n, _plug_in_bias(n, *((c > 0).sum() for c in counts))

    information, bias = jax.lax.map(plug_in, (eps, shifts))
    bias = (weights * bias).sum()
    return (weights * information).sum(), {"undersampled": bias > BIAS, "bias": bias}


def _plug_in_bias(n: int, x: Array, y: Array, xy: Array) -> Array:
    """Upward bias of the plug-in with so many occupied cells, by Miller (1955)."""
    return (xy - x - y + 1) / (2 * n)


def _published_layer(t: Array, labels: Array, members: int) -> tuple[Array, Array]:
    """The rule on a layer; I(X;T) at eps(1), for it has no limit that weights could extrapolate to."""
    eps, weights = _bandwidths(members, *t.shape)
    found = jax.lax.map(lambda one: cells.information(_floors(t, one), labels, sizes=None, classes=None), eps)
    return found.complexity[0], (weights * found.relevance).sum()


# --- The public code's rule --------------------------------------------------------------------------------


def _projections(widths: list[int], n: int) -> list[Float[np.ndarray, "columns directions"]]:
    """Standard normal matrices, one a variable, drawn as the public code draws them."""
    draw = np.random.RandomState(CODE_SEED).standard_normal
    return [draw((width, max(1, min(width, math.floor(math.log2(n / 10)))))) for width in widths]


def _projected(side: Array, normal: np.ndarray) -> Array:
    """Columns over their standard deviations, on the random directions; labels as they are."""
    if side.ndim == 1:
        return side
    side = side.astype(jnp.float64)
    deviation = side.std(axis=0)
    scale = jnp.where(deviation < 1e-4, 1.0, deviation) * math.sqrt(side.shape[1])
    return jnp.matmul(side, jnp.asarray(normal) / scale[:, None], precision="highest")


def _neighbour_distances(side: Float[Array, "n d"]) -> Float[Array, " d"]:
    """Mean distance of 500 samples to their k-th neighbour in each column, themselves the first."""
    n, d = side.shape
    k = max(1, math.floor(0.43 * n ** (2 / 3 + 0.17 * d / (d + 1)) * math.exp(-1 / max(1e4, d**4))))
    queries = np.random.RandomState(CODE_SEED).randint(0, n, 500)

    def of_column(values: Array) -> Array:
        ordered, at = jnp.sort(values), values[queries]
        # The k nearest lie in a row, which starts where the value after it is no nearer than its first.
        first = jnp.searchsorted(ordered[: n - k] + ordered[k:], 2 * at)
        return jnp.maximum(at - ordered[first], ordered[first + k - 1] - at).mean()

    return jax.lax.map(of_column, side.T)


def _code_bandwidths(side: Array, epsilon: Array | float) -> Array:
    """Bandwidth of each projected column before gamma."""
    if side.ndim == 1:
        return jnp.zeros(())
    near = jnp.where(jnp.asarray(epsilon) > 0, epsilon, _neighbour_distances(side) + 1e-4)
    return near * (3 * side.shape[1])


def _holds(keys: Integer[Array, " n"]) -> Integer[Array, " n"]:
    """How many samples each sample's cell holds."""
    cell = cells.rank(keys)
    return jnp.zeros(keys.shape[0], jnp.int64).at[cell].add(1)[cell]


def _ratios(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """The ratio p(x,y) / p(x) p(y) of each sample's cells, its weight in the mean, and the bias of their mean."""
    n = x.shape[0]
    x, y, xy = (_holds(cells.pack_rows(*parts)) for parts in ([x], [y], [x, y]))
    return xy * n / (x * y), jnp.full(n, 1 / n), _plug_in_bias(n, *((1 / holds).sum() for holds in (x, y, xy)))


def _soft_ratios(labels: Float[Array, "n classes"], t: Array) -> tuple[Array, Array, Array]:
    """The same of each cell and class where the first variable comes as rows p(y|x), without the bias."""
    keys = cells.pack_rows(t)
    cell = cells.rank(keys)
    mass = jnp.zeros(labels.shape).at[cell].add(labels.astype(jnp.float64)) / labels.shape[0]
    expected = mass.sum(axis=1, keepdims=True) * mass.sum(axis=0, keepdims=True)
    return jnp.where(mass > 0, mass / jnp.where(mass > 0, expected, 1.0), 1.0), mass, jnp.zeros(())


def _first(x: Array, epsilon: Array | float) -> Projected:
    """The first of two variables."""
    width = max(1, _width(x))
    columns = _projected(x, *_projections([width], x.shape[0]))
    return Projected(columns, _code_bandwidths(columns, epsilon), width)


def _code(first: Projected | Array, y: Array, estimator: EDGE) -> tuple[Array, dict[str, Array]]:
    """The rule on two variables, the first projected, or a label given as rows p(y|x)."""
    soft = not isinstance(first, Projected)
    x, x_width, width = (first, jnp.zeros(()), 1) if soft else (first.columns, first.bandwidths, first.width)
    y = _projected(y, _projections([width, max(1, _width(y))], y.shape[0])[1])
    y_width = _code_bandwidths(y, estimator.epsilon)
    if estimator.x_gamma is not None:
        x_width = x_width * (jnp.asarray(estimator.x_gamma) / estimator.gamma)  # `of_member` multiplies by gamma
    U = jnp.asarray(estimator.U, jnp.float64)

    def of_member(member: tuple[Array, Array]) -> tuple[Array, Array]:
        scale, shift = member
        y_cells = _floors(y, y_width * scale, shift)
        ratio, weight, bias = _soft_ratios(x, y_cells) if soft else _ratios(_floors(x, x_width * scale, shift), y_cells)
        return (weight * jnp.clip(jnp.log2(ratio), LOWEST_LOCAL, U)).sum(), bias

    def median(gamma: Array) -> tuple[Array, Array]:
        factors = jnp.linspace(1.0, 1.1, estimator.members)
        shifts = jnp.arange(estimator.members) / estimator.members
        found, bias = jax.lax.map(of_member, (gamma * factors, shifts))
        return jnp.median(found), jnp.median(bias)

    gamma = jnp.asarray(estimator.gamma, jnp.float64)
    first, _ = median(gamma)
    bits, bias = median(gamma * 2.0 ** (-jnp.sqrt(2 * first) + 0.5 / first))
    return bits * math.log(2), {"undersampled": bias > BIAS, "bias": bias, "saturated": bits > 0.9 * U}


def _code_layer(t: Array, labels: Array, estimator: EDGE) -> tuple[Array, Array]:
    """The rule on a layer, every x a cell of its own."""
    complexity, _ = _code(_first(jnp.arange(t.shape[0]), estimator.epsilon), t, estimator)
    relevance, _ = _code(labels if labels.ndim == 2 else _first(labels, estimator.epsilon), t, estimator)
    return complexity, relevance
