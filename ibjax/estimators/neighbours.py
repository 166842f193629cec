"""Nearest neighbours in the maximum norm: distances to the k-th and counts within them, the same on every path.

The estimators of Kraskov, Ross, Gao, Frenzel-Pompe and Kozachenko-Leonenko ask two questions of every row: how far is
its k-th neighbour, and how many rows lie nearer than that in a part of the columns. Both are answered by comparing
distances as they were rounded, |x_i - x_j| in the samples' own precision, so that the answer depends on no engine:

* `kth_distances` by blocks of all pairs, which keeps the smallest k + 1 distances of every row and sorts nothing; or,
  for many rows of few columns on a CPU, by SciPy's k-d tree on the host. The tree works in float64, and loses nothing:
  a difference of float32 numbers that is rounded to float64 and then to float32 is their float32 difference
  (Figueroa 1995: 53 >= 2 x 24 + 2 bits), and rounding keeps the order.
* `counts` by bisection of the sorted column if there is only one, with the distance itself as what is compared, else by
  blocks of all pairs.

What is smaller than the smallest normal number counts as zero, since hardware may flush it.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Bool, Float, Integer

from ibjax.errors import InputError, choose
from ibjax.estimators import cells
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.samples import is_count

ENGINES = ("auto", "brute", "tree")
BLOCK = 4096
"""Rows whose neighbours are looked for at once: 64 x 4096 float32 distances take 1 MB."""

_COLUMNS = 64
"""Candidates a step: so many distances that XLA stores them, rather than compute them anew for each minimum."""


# --- Settings ----------------------------------------------------------------------------------------------


def as_ks(k: Any) -> tuple[int, ...]:
    """Return ``k``, a number of neighbours or a tuple of them, as a tuple.

    Raises:
        InputError: it is neither, or one is not positive.

    Example:
        >>> as_ks(3), as_ks((1, 5))
        ((3,), (1, 5))
    """
    ks = k if isinstance(k, tuple) else (k,)
    if not ks or not all(is_count(one) for one in ks):
        raise InputError(f"k must be a positive whole number or a tuple of them, got {k!r}: 3 is a good choice")
    return tuple(int(one) for one in ks)


def check_search(engine: Any, block: Any) -> None:
    """Raise an `InputError` if these settings make no sense."""
    choose("engine", engine, ENGINES)
    if not is_count(block):
        raise InputError(f"block must be a positive whole number of rows, got {block!r}: {BLOCK} is a good choice")


# --- Questions ---------------------------------------------------------------------------------------------


def kth_distances(
    points: Float[Array, "n columns"],
    ks: tuple[int, ...],
    labels: Integer[Array, " n"] | None = None,
    *,
    engine: str = "auto",
    block: int = BLOCK,
) -> Float[Array, "k n"]:
    """Distance of every row to its k-th nearest other row, for each k of ``ks``.

    Args:
        points: finite rows.
        ks: each from 1 to n - 1.
        labels: if given, only rows of the same label are neighbours, and the last of them is the k-th where there are
            fewer; 0 where there is none.
        engine: ``"brute"`` compares all pairs, ``"tree"`` asks SciPy's tree on the host, ``"auto"`` chooses.
        block: rows that the brute engine looks at at once, which bounds its memory.

    Returns:
        The distances, in the precision of ``points``.

    Example:
        >>> kth_distances(jnp.array([[0.0], [1.0], [3.0]]), (1, 2)).tolist()
        [[1.0, 1.0, 2.0], [3.0, 2.0, 3.0]]
    """
    arrays = (points,) if labels is None else (points, cells.rank(labels))
    brute, tree = functools.partial(_brute_kth, ks=ks, block=block), functools.partial(_tree_kth, ks=ks)
    shapes = [(len(ks), points.shape[0])]
    return _by_engine(engine, points.shape, brute, tree, shapes, *arrays)[0]


def sides(
    parts: tuple[Float[Array, "n _"], ...],
    radii: Float[Array, "k n"],
    ks: tuple[int, ...],
    *,
    engine: str = "auto",
    block: int = BLOCK,
) -> tuple[Float[Array, "k n"], ...]:
    """Half the sides of the smallest box that holds all rows within a radius, one for each group of columns.

    Args:
        parts: the groups of columns; the distance of two rows is the largest of its parts.
        radii: `kth_distances` of all columns together.
        ks: what the radii are the distances to.
        engine: as of `kth_distances`.
        block: as of `kth_distances`.

    Returns:
        For each part the largest distance in it to a row that is within the radius in all columns, ties included.
    """
    columns = sum(part.shape[1] for part in parts)
    brute, tree = functools.partial(_brute_sides, block=block), functools.partial(_tree_sides, k=max(ks))
    return tuple(_by_engine(engine, (radii.shape[1], columns), brute, tree, [radii.shape] * len(parts), radii, *parts))


def counts(
    points: Float[Array, "n columns"], limits: Float[Array, "k n"], *, block: int = BLOCK
) -> Integer[Array, "k n"]:
    """How many rows, itself included, are nearer to each row than its limit: by ``<`` on the distances themselves.

    Args:
        points: the rows; one at infinity is near to none.
        limits: `limit` of a radius, hence positive.
        block: as of `kth_distances`.

    Example:
        >>> counts(jnp.array([[0.0], [1.0], [3.0]]), jnp.array([[1.0, 1.5, 9.0]])).tolist()
        [[1, 2, 3]]
    """
    return _sorted_counts(points[:, 0], limits) if points.shape[1] == 1 else _brute_counts(points, limits, block)


def limit(radius: Float[Array, "..."], *, closed: bool = False) -> Float[Array, "..."]:
    """What a distance must be less than to be inside a radius; inside a radius of zero is what is at zero.

    Args:
        radius: the radius.
        closed: whether what lies at the radius is inside too.
    """
    beyond = jnp.nextafter(radius, jnp.full_like(radius, jnp.inf)) if closed else radius
    return jnp.maximum(beyond, jnp.finfo(radius.dtype).tiny)


def is_zero(radius: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Whether a distance counts as zero."""
    return radius < jnp.finfo(radius.dtype).tiny


def copies(*columns: Float[Array, "n _"] | Integer[Array, " n"]) -> Integer[Array, " n"]:
    """How many rows equal each row, itself included; by sorting one column after the other.

    Example:
        >>> copies(jnp.array([[0.0, 1.0], [0.0, 2.0], [0.0, 1.0]])).tolist()
        [2, 1, 2]
    """
    n = columns[0].shape[0]
    with jax.enable_x64(True):
        keys = [cells.ordered_bits(c).T if jnp.issubdtype(c.dtype, jnp.floating) else c[None] for c in columns]

        def refine(group: Array, key: Array) -> tuple[Array, None]:
            return cells.rank(group.astype(jnp.int64) * n + cells.rank(key)), None

        keys = jnp.concatenate([key.astype(jnp.int64) for key in keys])
        group, _ = jax.lax.scan(refine, jnp.zeros(n, jnp.int32), keys)
    return jnp.zeros(n, jnp.int32).at[group].add(1)[group]


def copies_if(wanted: Bool[Array, ""], *columns: Array) -> Integer[Array, " n"]:
    """`copies`, or ones where they are not wanted."""
    return jax.lax.cond(wanted, copies, lambda *c: jnp.ones(c[0].shape[0], jnp.int32), *columns)


# --- What the estimators share -----------------------------------------------------------------------------


def repaired(*parts: Float[Array, "n _"]) -> tuple[list[Float[Array, "n _"]], Bool[Array, ""]]:
    """Return the parts in their common precision, float32 or more, with 0 for what is not finite; and if all is."""
    joint = jnp.concatenate(parts, axis=1)
    joint = joint.astype(jnp.promote_types(joint.dtype, jnp.float32))
    finite = jnp.isfinite(joint)
    return _split(jnp.where(finite, joint, 0), parts), finite.all()


def _split(joint: Array, parts: tuple[Array, ...]) -> list[Array]:
    """Columns of the parts, which the last axis of ``joint`` holds one after the other."""
    return jnp.split(joint, np.cumsum([part.shape[1] for part in parts])[:-1], axis=-1)


def digamma(n: int) -> Float[Array, " counts"]:
    """psi(0), ..., psi(n) in float64, to be looked up by a count; psi(0), which no sum needs, is 0."""
    return jnp.asarray(np.concatenate([[0.0], scipy.special.digamma(np.arange(1.0, n + 1))]))


def cautions(radius: Float[Array, " n"], *parts: Float[Array, "n _"]) -> tuple[Array, Array, Array]:
    """Look for what makes an estimate by neighbours worth little, without sorting anything.

    Args:
        radius: distance of the k-th neighbour in all parts together.
        parts: the groups of columns.

    Returns:
        For each part, whether all its rows are equal. Starved: whether the radius is, for most rows, more than half the
        distance to an unrelated row, the one n/2 places on, in one of the parts. Scaled: whether the scales of two
        columns that are not constant, by the mean difference of unrelated rows, differ by more than 100.
    """
    joint = jnp.concatenate(parts, axis=1)
    constant = jnp.stack([same.all() for same in _split((joint == joint[0]).all(axis=0), parts)])
    gap = jnp.abs(joint - jnp.roll(joint, len(joint) // 2, axis=0))
    wide = jnp.stack([2 * radius > of_part.max(axis=1) for of_part in _split(gap, parts)])
    scale = gap.mean(axis=0)
    scaled = scale.max() > 100 * jnp.where(scale > 0, scale, jnp.inf).min()
    return constant, (wide.mean(axis=1) > 0.5).any() & ~constant.any(), scaled


def reported(
    value: Float[Array, " k"],
    finite: Bool[Array, ""],
    diagnostics: dict[str, Array],
    k: int | tuple[int, ...],
    dtype: Any,
) -> MIEstimate:
    """Return the estimate in the caller's precision, NaN where the samples were not finite, one value for one k."""
    numbers = {"value": jnp.where(finite, value, jnp.nan)}
    numbers |= {name: a for name, a in diagnostics.items() if a.dtype != bool}
    numbers = {name: (a if isinstance(k, tuple) else a[0]).astype(dtype) for name, a in numbers.items()}
    return MIEstimate(numbers.pop("value"), None, {"non_finite": ~finite, **diagnostics, **numbers})


# --- Blocks of all pairs -----------------------------------------------------------------------------------


def _smaller(a: Array, b: Array) -> Array:
    """The minimum of numbers in one instruction; `jnp.minimum` takes three to carry NaN."""
    return jnp.where(a < b, a, b)


def _larger(a: Array, b: Array) -> Array:
    return jnp.where(a > b, a, b)


def _distances(candidates: Float[Array, "columns c"], queries: Float[Array, "columns q"]) -> Float[Array, "c q"]:
    return functools.reduce(_larger, [jnp.abs(q - c[:, None]) for q, c in zip(queries, candidates, strict=True)])


def _candidates(points: Float[Array, "n columns"], at_once: int) -> Float[Array, "columns m"]:
    """Columns as rows, filled up to whole steps with rows at infinity."""
    return jnp.pad(points.T, ((0, 0), (0, -points.shape[0] % at_once)), constant_values=jnp.inf)


def _step(candidates: Array, i: Array, at_once: int = _COLUMNS) -> Array:
    return jax.lax.dynamic_slice_in_dim(candidates, i * at_once, at_once, axis=-1)


def _by_blocks(find: Callable[..., tuple[Array, ...]], block: int, *queries: Array) -> tuple[Array, ...]:
    """Apply ``find`` to equal blocks of at most ``block`` queries, which are the last axis of all arrays."""
    n = queries[0].shape[-1]
    blocks = -(-n // block)
    size = -(-n // blocks)
    if blocks == 1:
        return find(*queries)

    def split(a: Array) -> Array:
        a = jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, blocks * size - n)])
        return jnp.moveaxis(a.reshape(*a.shape[:-1], blocks, size), -2, 0)

    found = jax.lax.map(lambda part: find(*part), tuple(map(split, queries)))
    return tuple(jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1)[..., :n] for a in found)


def _insert(minima: list[Array], distance: Array) -> list[Array]:
    """The smallest, in order, of what there was and one distance more; equal ones are kept."""
    others = [_smaller(_larger(distance, low), high) for low, high in itertools.pairwise(minima)]
    return [_smaller(distance, minima[0]), *others]


def _brute_kth(
    points: Array, labels: Array | None = None, *, ks: tuple[int, ...], block: int
) -> tuple[Float[Array, "k n"], ...]:
    kept = max(ks) + 1  # the nearest is the row itself
    # The program grows with the product of both, and few rows are not worth a long compilation.
    at_once = _COLUMNS if kept <= 4 and len(points) > 8 * _COLUMNS else _COLUMNS // 4
    candidates = _candidates(points, at_once)
    theirs = None if labels is None else jnp.pad(labels, (0, candidates.shape[1] - labels.shape[0]))

    def find(queries: Array, *own: Array) -> tuple[Array]:
        def step(i: Array, minima: list[Array]) -> list[Array]:
            distances = _distances(_step(candidates, i, at_once), queries)
            if theirs is not None:
                distances = jnp.where(_step(theirs, i, at_once)[:, None] == own[0], distances, jnp.inf)
            return functools.reduce(_insert, [distances[c] for c in range(at_once)], minima)

        start = [jnp.full(queries.shape[1], jnp.inf, points.dtype)] * kept
        minima = jnp.stack(jax.lax.fori_loop(0, candidates.shape[1] // at_once, step, start))
        if theirs is None:
            return (minima[np.array(ks)],)
        last = jnp.isfinite(minima).sum(axis=0) - 1
        return (jnp.take_along_axis(minima, jnp.minimum(np.array(ks)[:, None], last), axis=0),)

    return _by_blocks(find, block, points.T, *([] if labels is None else [labels]))


def _brute_counts(points: Array, limits: Array, block: int) -> Array:
    candidates = _candidates(points, _COLUMNS)

    def find(queries: Array, limits: Array) -> tuple[Array]:
        def step(i: Array, found: Array) -> Array:
            distances = _distances(_step(candidates, i), queries)
            return found + jnp.stack([(distances < limit).sum(axis=0, dtype=jnp.int32) for limit in limits])

        return (jax.lax.fori_loop(0, candidates.shape[1] // _COLUMNS, step, jnp.zeros(limits.shape, jnp.int32)),)

    return _by_blocks(find, block, points.T, limits)[0]


def _brute_sides(radii: Array, *parts: Array, block: int) -> tuple[Array, ...]:
    candidates = [_candidates(part, _COLUMNS) for part in parts]

    def find(radii: Array, *queries: Array) -> tuple[Array, ...]:
        def step(i: Array, found: tuple[Array, ...]) -> tuple[Array, ...]:
            each = [_distances(_step(c, i), q) for c, q in zip(candidates, queries, strict=True)]
            together = functools.reduce(_larger, each)
            return tuple(
                _larger(side, jnp.stack([jnp.where(together <= radius, d, 0).max(axis=0) for radius in radii]))
                for side, d in zip(found, each, strict=True)
            )

        start = (jnp.zeros_like(radii),) * len(parts)
        return jax.lax.fori_loop(0, candidates[0].shape[1] // _COLUMNS, step, start)

    return _by_blocks(find, block, radii, *(part.T for part in parts))


# --- One column, sorted ------------------------------------------------------------------------------------


def _sorted_counts(x: Float[Array, " n"], limits: Float[Array, "k n"]) -> Integer[Array, "k n"]:
    n = x.shape[0]
    bits = n.bit_length()
    ordered = jax.lax.bitcast_convert_type(cells.flip(jnp.sort(cells.ordered_bits(x))), x.dtype)
    ordered = jnp.pad(ordered, (0, 2**bits - n), constant_values=jnp.inf)

    def step(i: Array, edges: tuple[Array, Array]) -> tuple[Array, Array]:
        # Rounding keeps the order of differences, so what is inside is one run of the sorted column.
        half = 1 << (bits - 1 - i)
        low, high = edges
        at_low, at_high = (ordered.at[edge + half - 1].get(mode="promise_in_bounds") for edge in edges)
        return low + jnp.where(x - at_low >= limits, half, 0), high + jnp.where(at_high - x < limits, half, 0)

    zero = jnp.zeros(limits.shape, jnp.int32)
    low, high = jax.lax.fori_loop(0, bits, step, (zero, zero))
    return high - low


# --- SciPy's tree on the host ------------------------------------------------------------------------------


def _by_engine(
    engine: str,
    size: tuple[int, ...],
    brute: Callable[..., tuple[Array, ...]],
    host: Callable[..., list[np.ndarray]],
    shapes: Sequence[tuple[int, ...]],
    *arrays: Array,
) -> tuple[Array, ...]:
    """Call one of two functions of the arrays that answer the same, the second on the host."""
    dtype = arrays[0].dtype

    def tree(*arrays: Array) -> tuple[Array, ...]:
        # JAX may round the numbers that it hands to a callback to single precision, as the thread it is called in knows
        # nothing of a scoped `jax.enable_x64`.  It leaves their bits alone.
        def ask(*words: Any) -> list[np.ndarray]:
            given = [np.asarray(w).view(a.dtype).reshape(a.shape) for w, a in zip(words, arrays, strict=True)]
            return [
                np.ascontiguousarray(a).view(np.uint32).reshape(w.shape)
                for a, w in zip(host(*given), expected, strict=True)
            ]

        of_one = (2,) if dtype == jnp.float64 else ()
        expected = [jax.ShapeDtypeStruct((*shape, *of_one), jnp.uint32) for shape in shapes]
        words = [jax.lax.bitcast_convert_type(a, jnp.uint32) for a in arrays]
        found = jax.pure_callback(ask, expected, *words, vmap_method="sequential")
        return tuple(jax.lax.bitcast_convert_type(a, dtype) for a in found)

    if engine == "tree":
        return tree(*arrays)
    if engine == "brute" or not _tree_is_faster(*size):
        return brute(*arrays)
    return jax.lax.platform_dependent(*arrays, cpu=tree, default=brute)


def _tree_is_faster(n: int, columns: int) -> bool:
    """From about 1500 rows in 2 columns, 4000 in 4, 10,000 in 6 and 66,000 in 10, as measured on two cores."""
    return n > 600 * 1.6**columns


class _Found(NamedTuple):
    """Nearest rows as the tree found them, in float64.

    Attributes:
        distances: of every row to its nearest, itself the first.
        nearest: their indices in ``among``.
        among: the rows searched.
        tree: the tree over them.
    """

    distances: np.ndarray
    nearest: np.ndarray
    among: np.ndarray
    tree: Any


def _search(points: np.ndarray, orders: list[int]) -> _Found:
    """Find the nearest rows of those orders, counted from 1, which is the row itself."""
    # SciPy's spatial package takes a tenth of a second to import, and only large samples need it.
    from scipy.spatial import KDTree

    among, where = _thinned(points, max(orders))
    # Splitting cells in the middle and leaving them loose builds the tree in half the time; it is searched as fast.
    tree = KDTree(among, leafsize=12, balanced_tree=False, compact_nodes=False)
    # In the order of the tree, one search finds in the cache what the last one read.
    order = tree.indices
    distances, nearest = (np.empty((len(among), len(orders)), t) for t in (np.float64, np.intp))
    distances[order], nearest[order] = tree.query(among[order], k=orders, p=np.inf, workers=-1)
    return _Found(distances[where], nearest[where], among, tree)


def _thinned(points: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray | slice]:
    """Leave ``kept`` copies of rows that occur more often: as good, and a leaf of the tree is searched row by row.

    Returns:
        The rows left, and where in them each row is.
    """
    many = max(100, 2 * kept)
    ordered = np.sort(points, axis=0)
    if not (ordered[many:] == ordered[:-many]).any(axis=0).all():  # no row can occur so often
        return points, slice(None)
    rows, where, times = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    return np.concatenate([rows, np.repeat(rows, np.minimum(times, kept) - 1, axis=0)]), where.reshape(-1)


def _tree_kth(points: np.ndarray, labels: np.ndarray | None = None, *, ks: tuple[int, ...]) -> list[np.ndarray]:
    found = np.empty((len(ks), len(points)), points.dtype)
    for rows in _rows_by_label(labels, len(points)):
        orders = [min(k, len(rows) - 1) + 1 for k in ks]
        asked = sorted(set(orders))
        distances = _search(points[rows].astype(np.float64), asked).distances
        found[:, rows] = distances[:, [asked.index(order) for order in orders]].T
    return [found]


def _rows_by_label(labels: np.ndarray | None, n: int) -> list[np.ndarray]:
    if labels is None:
        return [np.arange(n)]
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _tree_sides(radii: np.ndarray, *parts: np.ndarray, k: int) -> list[np.ndarray]:
    n = radii.shape[1]
    # One more than asked for shows which rows have more at the same distance than the tree returned.
    found = _search(np.concatenate(parts, axis=1).astype(np.float64), list(range(1, min(k + 2, n) + 1)))
    among = np.split(found.among.astype(radii.dtype), np.cumsum([part.shape[1] for part in parts])[:-1], axis=1)
    distances = found.distances.astype(radii.dtype)
    result = [np.zeros_like(radii) for _ in parts]
    for part, rows, side in zip(parts, among, result, strict=True):
        each = np.abs(part[:, None] - rows[found.nearest]).max(axis=2)
        for of_k, radius in zip(side, radii, strict=True):
            of_k[:] = np.where(distances <= radius[:, None], each, 0).max(axis=1)

    largest = radii.max(axis=0)
    tied = np.flatnonzero((distances[:, -1] <= largest) & (largest > 0)) if n > k + 1 else []
    for i in tied:
        here = [part[i] for part in parts]
        inside = found.tree.query_ball_point(np.concatenate(here), _widest(largest[i]), p=np.inf)
        each = [np.abs(rows[inside] - own).max(axis=1) for rows, own in zip(among, here, strict=True)]
        together = np.max(each, axis=0)
        for of_part, side in zip(each, result, strict=True):
            side[:, i] = np.where(together <= radii[:, i, None], of_part, 0).max(axis=1)
    return result


def _widest(radius: np.floating) -> float:
    """Largest float64 that is rounded to at most the radius."""
    if radius.dtype == np.float64:
        return float(radius)
    between = (float(radius) + float(np.nextafter(radius, np.inf, dtype=radius.dtype))) / 2
    return between if radius.dtype.type(between) <= radius else float(np.nextafter(between, 0))


# --- One estimate at a time --------------------------------------------------------------------------------


def lane_by_lane(estimate: Callable[..., Any], block: int) -> Callable[..., Any]:
    """Return a function of arrays that `jax.vmap` maps, lane by lane, and that refuses to be differentiated.

    A search is wide already. On a CPU a batch of them runs one after the other, which is much faster than all at once;
    on an accelerator as many run together as have ``block`` rows. Counts are constant almost everywhere: a loss without
    a gradient would only mislead.

    Args:
        estimate: a function of arrays whose first has rows.
        block: number of rows to work on at once.
    """

    @jax.custom_batching.custom_vmap
    def mapped(*arrays: Array) -> Any:
        return estimate(*arrays)

    @mapped.def_vmap
    def _(lanes: int, batched: list[bool], *arrays: Array) -> tuple[Any, Any]:
        del lanes
        together = max(1, block // arrays[0].shape[-2])

        def over(one: Callable[..., Any], batch: int | None, *varying: Array) -> Any:
            def lane(own: tuple[Array, ...]) -> Any:
                rest = iter(own)
                return one(*(next(rest) if varies else a for a, varies in zip(arrays, batched, strict=True)))

            return jax.lax.map(lane, varying, batch_size=batch)

        out = jax.lax.platform_dependent(
            *(a for a, varies in zip(arrays, batched, strict=True) if varies),
            cpu=functools.partial(over, mapped, None),
            default=functools.partial(over, estimate, together),
        )
        return out, jax.tree.map(lambda _: True, out)

    @jax.custom_jvp
    def guarded(*arrays: Array) -> Any:
        return mapped(*arrays)

    @guarded.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        raise InputError(
            "estimates by nearest neighbours have no gradient: use Gaussian, KernelBounds or SoftBinning as a loss, or "
            "jax.lax.stop_gradient around the samples to measure only"
        )

    return guarded
