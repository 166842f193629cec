"""The search for neighbours: every path gives NumPy's numbers to the last bit, ties and duplicates included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators.reference_ksg import distances

from ibjax.errors import InputError
from ibjax.estimators import neighbours
from ibjax.estimators.neighbours import as_ks, check_search, copies, counts, kth_distances, limit, sides

N, COLUMNS, KS = 150, 3, (1, 4)
KINDS = ["normal", "heavy", "rounded", "crowds", "equal", "far"]
DTYPES = [np.float32, np.float64]
PATHS = {
    "brute": {"engine": "brute"},
    "blocks": {"engine": "brute", "block": 47},  # 4 of 38 rows, two too many
    "tree": {"engine": "tree"},
}


def points(kind, dtype, n=N, columns=COLUMNS, seed=0):
    """Rows of one kind; those of float32 have ties that float64 has not."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, columns))
    match kind:
        case "heavy":
            a = rng.standard_t(1, (n, columns)) ** 3
        case "rounded":
            a = np.round(2 * a) / 2
        case "crowds":
            a[rng.random(n) < 0.8] = a[0]
        case "equal":
            a[:] = a[0]
        case "far":  # differences have few digits left
            a = a * 1e-4 + 1000
    return a.astype(dtype)


@functools.cache
def compiled(path):
    """Radii, counts in all columns and in one, and sides."""
    search = PATHS[path]

    @jax.jit
    def ask(a):
        radii = kth_distances(a, KS, **search)
        block = search.get("block", neighbours.BLOCK)
        inside = [counts(part, limit(radii), block=block) for part in (a, a[:, :1])]
        return radii, *inside, *sides((a[:, :2], a[:, 2:]), radii, KS, **search)

    return ask


def answers(a):
    """The same in NumPy."""
    d = distances(a)
    radii = np.sort(d, axis=1)[:, KS].T
    inside = [[np.where(r > 0, e < r, e == 0).sum(axis=1) for r in radii[..., None]] for e in (d, distances(a[:, :1]))]
    near = d <= radii[..., None]
    return radii, *inside, *(np.where(near, distances(part), 0).max(axis=2) for part in (a[:, :2], a[:, 2:]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", PATHS)
def test_every_path_gives_the_same_numbers(path, dtype):
    with jax.enable_x64(dtype == np.float64):
        for kind in KINDS:
            a = points(kind, dtype)
            found = compiled(path)(a)
            assert found[0].dtype == dtype
            for name, one, expected in zip(["radii", "all", "one", "side", "side"], found, answers(a), strict=True):
                np.testing.assert_array_equal(np.asarray(one), expected, err_msg=f"{name} of {kind}")


@pytest.mark.parametrize("path", PATHS)
def test_neighbours_of_the_same_label(path):
    """Labels of one row, of fewer rows than k and of many."""
    rng = np.random.default_rng(1)
    labels = rng.choice([-7, 5, 2**31 - 1], N).astype(np.int32)
    labels[:6] = 1, 2, 2, 3, 3, 3
    same = labels[:, None] == labels
    search = jax.jit(lambda a, labels: kth_distances(a, KS, labels, **PATHS[path]))
    for kind in ("normal", "rounded", "crowds"):
        a = points(kind, np.float32)
        d = np.sort(np.where(same, distances(a), np.inf), axis=1)
        expected = [np.take_along_axis(d, np.minimum(k, same.sum(1) - 1)[:, None], 1)[:, 0] for k in KS]
        np.testing.assert_array_equal(np.asarray(search(a, labels)), expected)


def test_wide_labels_reach_the_host_whole():
    """Labels of 64 bits that agree in their low 32."""
    with jax.enable_x64(True):
        a, labels = jnp.arange(4.0)[:, None], jnp.array([1, 2**32 + 1, 1, 2**32 + 1])
        assert kth_distances(a, (1,), labels, engine="tree").tolist() == [[2, 2, 2, 2]]


def test_the_tree_on_the_host_is_asked_for_large_samples_in_few_columns():
    def program(n, columns):
        return str(jax.make_jaxpr(functools.partial(kth_distances, ks=(3,)))(jnp.zeros((n, columns))))

    assert "pure_callback" in program(5000, 2)
    assert "pure_callback" not in program(1000, 2)
    assert "pure_callback" not in program(5000, 10)


def test_many_columns_take_few_candidates_a_step():
    """More minima and larger samples have other steps: 64 candidates, or 16."""
    a = points("normal", np.float32, n=530)
    d = np.sort(distances(a), axis=1)
    for k in (3, 6):
        np.testing.assert_array_equal(kth_distances(jnp.asarray(a), (k,), engine="brute")[0], d[:, k])


def test_the_tree_of_many_copies_is_thinned():
    """A leaf of equal rows would be searched row by row: nine tenths of these are two rows."""
    a = points("normal", np.float32, n=1000)
    a[:400], a[400:900] = a[0], a[900]
    rows, where = neighbours._thinned(a, kept=5)
    assert len(rows) == 99 + 2 * 5
    np.testing.assert_array_equal(rows[where], a)
    a = jnp.asarray(a)
    radii = kth_distances(a, (3,), engine="tree")
    np.testing.assert_array_equal(radii, np.sort(distances(a), axis=1)[:, [3]].T)
    found = sides((a[:, :2], a[:, 2:]), radii, (3,), engine="tree")
    near = distances(a) <= np.asarray(radii).T
    for side, part in zip(found, (a[:, :2], a[:, 2:]), strict=True):
        np.testing.assert_array_equal(side[0], np.where(near, distances(part), 0).max(axis=1))


def test_single_precision_ties_on_the_host():
    """The widest float64 that is rounded to a float32 radius, on both sides of a half."""
    for radius in np.float32([1.0, 1 + 2**-23, 0.1, 3e-38]):
        widest = neighbours._widest(radius)
        assert np.float32(widest) == radius
        assert np.float32(np.nextafter(widest, np.inf)) > radius
    assert neighbours._widest(np.float64(0.1)) == 0.1


@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_of_one_column_of_any_length(dtype):
    rng = np.random.default_rng(0)
    count = jax.jit(lambda a, radii: counts(a, limit(radii)))
    with jax.enable_x64(dtype == np.float64):
        for n in (2, 7, 8):
            for a in (rng.normal(size=n), np.round(rng.normal(size=n)), np.full(n, -0.0), rng.standard_t(1, n) * 1e20):
                a = a.astype(dtype)
                radii = np.stack([np.zeros(n), np.abs(rng.normal(size=n)), np.abs(a - a[0])]).astype(dtype)
                expected = [np.where(r > 0, distances(a) < r, distances(a) == 0).sum(1) for r in radii[..., None]]
                np.testing.assert_array_equal(count(a[:, None], radii), expected)


def test_rows_at_infinity_are_near_to_none():
    a = jnp.array([[0.0], [1.0], [jnp.inf], [jnp.inf]])
    for rows in (a, jnp.concatenate([a, a], axis=1)):
        assert counts(rows, jnp.full((1, 4), 10.0))[0].tolist()[:2] == [2, 2]


@pytest.mark.parametrize("kind", ["rounded", "crowds", "far"])
def test_copies(kind):
    a, labels = points(kind, np.float32), np.random.default_rng(2).integers(-3, 3, N)
    a[:5], a[5:10] = 0.0, -0.0
    for columns in ((a,), (a, labels), (labels,)):
        rows = np.concatenate([c.reshape(N, -1) for c in columns], axis=1)
        expected = (rows[:, None] == rows).all(axis=2).sum(axis=1)
        np.testing.assert_array_equal(copies(*(jnp.asarray(c) for c in columns)), expected)


def test_the_smallest_numbers_count_as_zero():
    """Hardware may flush them, so no path may tell them from zero."""
    a = jnp.asarray(np.array([[0.0], [1e-39], [2.0], [3.5]], np.float32))
    for engine in ("brute", "tree"):
        radii = kth_distances(a, (1,), engine=engine)
        assert neighbours.is_zero(radii)[0].tolist() == [True, True, False, False]
        assert counts(a, limit(radii))[0].tolist() == [2, 2, 1, 1]


# --- One estimate at a time --------------------------------------------------------------------------------


def largest_gap(a, b):
    return {"gap": jnp.abs(a - b).max(), "rows": jnp.array(a.shape[0])}


def test_a_batch_is_mapped():
    mapped = neighbours.lane_by_lane(largest_gap, block=8)
    rng = np.random.default_rng(0)
    a, b = jnp.asarray(rng.normal(size=(2, 3, 5, 2))), jnp.asarray(rng.normal(size=(5, 2)))
    np.testing.assert_allclose(mapped(a[0, 0], b)["gap"], largest_gap(a[0, 0], b)["gap"])
    one = jax.vmap(mapped, (0, None))(a[0], b)
    two = jax.vmap(jax.vmap(mapped, (0, None)), (0, None))(a, b)
    other = jax.vmap(mapped, (None, 0))(b, a[1])
    expected = np.abs(np.asarray(a - b)).max(axis=(2, 3))
    np.testing.assert_allclose(one["gap"], expected[0])
    np.testing.assert_allclose(two["gap"], expected)
    np.testing.assert_allclose(other["gap"], expected[1])
    assert one["rows"].tolist() == [5, 5, 5]


def test_a_batch_is_mapped_lane_by_lane_on_a_cpu_and_in_blocks_elsewhere():
    """Only the branch of this machine is compiled; both are in the program."""
    mapped = neighbours.lane_by_lane(largest_gap, block=10)
    text = str(jax.make_jaxpr(jax.vmap(mapped, (0, None)))(jnp.zeros((6, 5, 2)), jnp.zeros((5, 2))))
    assert "platform_index" in text
    assert "f32[3,2,5,2]" in text  # three steps of two lanes
    compiled = jax.jit(jax.vmap(mapped, (0, None))).lower(jnp.zeros((6, 5, 2)), jnp.zeros((5, 2))).as_text()
    assert "tensor<3x2x5x2xf32>" not in compiled


def test_derivatives_are_refused():
    mapped = neighbours.lane_by_lane(lambda a: a.sum(), block=8)
    with pytest.raises(InputError, match="no gradient: use Gaussian, KernelBounds"):
        jax.grad(mapped)(jnp.ones(3))
    measured = jax.grad(lambda a: (a**2).sum() + mapped(jax.lax.stop_gradient(a)))
    np.testing.assert_allclose(measured(jnp.ones(3)), 2)


# --- Settings ----------------------------------------------------------------------------------------------


def test_ks():
    assert as_ks(3) == (3,)
    assert as_ks((4, 1)) == (4, 1)
    assert as_ks(np.int64(2)) == (2,)


@pytest.mark.parametrize("k", [3.0, 0, -1, True, "3", None, (), (1, 2.0), (1, 0), [3], np.array([3])], ids=repr)
def test_ks_are_whole_numbers(k, unchecked):
    with pytest.raises(InputError, match=r"k must be a positive whole number or a tuple of them, got .*: 3 is"):
        as_ks(k)


def test_settings_of_the_search(unchecked):
    check_search("auto", 1)
    with pytest.raises(InputError, match="unknown engine 'brut': did you mean 'brute'"):
        check_search("brut", 1)
    for block in (0, 2.0, None):
        with pytest.raises(InputError, match=r"block must be a positive whole number of rows, got .*: 4096 is"):
            check_search("auto", block)
