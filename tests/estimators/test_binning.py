"""Binned information: every rule against a plain NumPy oracle, and what must hold whatever the numbers."""

import dataclasses
import functools
from typing import NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import (
    binned_information,
    binned_information_soft,
    bins_fixed,
    bins_float_bits,
    bins_idnns,
    bins_quantile,
    bins_range,
    bins_width,
)

from ibjax.errors import InputError
from ibjax.estimators import ESTIMATORS, RANGES, RULES, Binning, LayerInformation, cells, parse

N, UNITS, CLASSES = 40, 2, 3
"""One shape for most tests: a program compiles in a second, so they share a few."""
SPAN = (-1.5, 2.5)


def bins_net_input(t):
    """The source's edges, in double precision: those beyond 19 are 1, so that a saturated unit is above them all."""
    return np.digitize(t, np.tanh(np.linspace(-50, 50, 401)))


RULE_CASES = {
    "uniform-fixed": (Binning(), lambda t: bins_fixed(t, 30, -1, 1)),
    "uniform-other": (Binning(bins=7, low=-0.5, high=2.0), lambda t: bins_fixed(t, 7, -0.5, 2.0)),
    "uniform-neuron": (Binning(bins=30, range="neuron"), lambda t: bins_range(t, 30, "neuron")),
    "uniform-layer": (Binning(bins=30, range="layer"), lambda t: bins_range(t, 30, "layer")),
    "uniform-run": (Binning(bins=30, range="run"), lambda t: bins_fixed(t, 30, *SPAN)),
    "width": (Binning(rule="width", width=0.07), lambda t: bins_width(t, 0.07)),
    "quantile": (Binning(bins=7, rule="quantile"), lambda t: bins_quantile(t, 7)),
    "bits": (Binning(rule="bits"), bins_float_bits),
    "idnns": (Binning(rule="idnns"), bins_idnns),
    "net-input": (Binning(bins=400, rule="net-input"), bins_net_input),
}
"""Name -> (estimator, the oracle's bins)."""


EVERY_FORM = ("uniform-fixed", "bits")
"""An exact and a hashed key, measured with labels in every form; the others with integers of known range."""


class Measured(NamedTuple):
    """The same layer measured with its labels in three forms that must agree, and with uncertain labels."""

    known_classes: LayerInformation
    any_labels: LayerInformation | None = None
    one_hot: LayerInformation | None = None
    soft: LayerInformation | None = None


def measure(estimator, every_form, t, y, soft):
    span = tuple(jnp.asarray(end, t.dtype) for end in SPAN) if estimator.needs_span else None
    found = Measured(estimator.layer(t, y, classes=CLASSES, span=span))
    if not every_form:
        return found
    return found._replace(
        any_labels=estimator.layer(t, y, span=span),
        one_hot=estimator.layer(t, jax.nn.one_hot(y, CLASSES, dtype=t.dtype), span=span),
        soft=estimator.layer(t, soft, span=span),
    )


def measure_of(name):
    """The function to compile for a named case."""
    return functools.partial(measure, RULE_CASES[name][0], name in EVERY_FORM)


@functools.cache
def compiled(name):
    """One program a case and shape, shared by all tests."""
    return jax.jit(measure_of(name))


def assert_oracle(found, indices, y, soft, atol=3e-6):
    """All forms in which the layer was measured are right."""
    expected = binned_information(indices, y)
    for form in found[:3]:
        if form is not None:
            assert_near(form, expected, atol)
    if found.soft is not None:
        assert_near(found.soft, binned_information_soft(indices, soft), atol)


def assert_equal_informations(one, other, atol=3e-7):
    """Two measurements agree to rounding."""
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert_near(a, b, atol)


def off_the_edges(indices, low, high, bins, rng):
    """Values in the middle four fifths of their bins, where float32 and float64 cannot disagree."""
    inside = rng.uniform(0.1, 0.9, np.shape(indices))
    return (low + (indices + inside) * (high - low) / bins).astype(np.float32)


def uniform_bins_of(name):
    """(low, high, bins) of values that lie off this estimator's edges."""
    match name:
        case "uniform-other":
            return -0.5, 2.0, 7
        case "uniform-run":
            return *SPAN, 30
        case "width":
            return -14 * 0.07, 14 * 0.07, 28
    return -1, 1, 30


def activations(name, kind, n=N, units=UNITS, seed=0):
    """Activations of one kind, off the edges of the estimator of that name."""
    rng = np.random.default_rng(seed)
    low, high, bins = uniform_bins_of(name)
    index = rng.integers(0, bins, (n, units))
    if kind == "relu":
        index = np.maximum(index, bins // 2)
    if kind == "few":
        index = rng.choice([0, bins // 2, bins - 1], (n, units))
    t = off_the_edges(index, low, high, bins, rng)
    match kind:
        case "relu":  # exactly zero where the unit is off
            zero = np.float32(off_the_edges(bins // 2, low, high, bins, rng) if name == "width" else 0.0)
            t = np.where(index == bins // 2, zero, t)
        case "saturated":  # tanh in float32
            t = np.where(rng.random((n, units)) < 0.4, np.float32(1), t)
            t = np.where(rng.random((n, units)) < 0.3, np.float32(-1), t)
        case "constant":
            t[:, 0] = t[0, 0]
            t[:, 1:] = t[0, 0]
        case "one constant unit":
            t[:, 1] = t[0, 1]
        case "duplicates" | "few":
            t = t[rng.integers(0, n // 8, n)]
    if name in ("uniform-neuron", "uniform-layer"):
        # The range is the sample's own: give it its ends, and keep constant units constant.
        for unit in range(units):
            if np.ptp(t[:, unit]) > 0 or (name == "uniform-layer" and kind != "constant"):
                t[:2, unit] = low, high
    return t


def labels(n=N, seed=1):
    """Integer labels of unequal classes, and rows p(y|x) with zeros among them."""
    rng = np.random.default_rng(seed)
    y = rng.choice(CLASSES, n, p=[0.5, 0.3, 0.2]).astype(np.int32)
    soft = rng.dirichlet(np.full(CLASSES, 0.4), n).astype(np.float32)
    soft[rng.random(soft.shape) < 0.2] = 0
    soft[soft.sum(axis=1) == 0] = np.eye(CLASSES)[0]
    return y, soft / soft.sum(axis=1, keepdims=True)


def assert_near(found, expected, atol=3e-6):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=atol)


# --- Against the oracle ------------------------------------------------------------------------------------


KINDS = ["tanh", "relu", "saturated", "constant", "one constant unit", "duplicates", "few"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RULE_CASES)
def test_every_rule_is_the_oracles(name, kind):
    bins = RULE_CASES[name][1]
    t, (y, soft) = activations(name, kind), labels()
    found = compiled(name)(t, y, soft)
    assert_oracle(found, bins(t), y, soft)
    # The case is not an empty one.
    assert (found.known_classes.complexity > 0.1) == (kind != "constant")


@pytest.mark.parametrize("name", RULE_CASES)
def test_one_class(name):
    bins = RULE_CASES[name][1]
    t, y = activations(name, "tanh", seed=5), np.ones(N, np.int32)
    found = compiled(name)(t, y, np.eye(CLASSES, dtype=np.float32)[y])
    for form in found:
        if form is not None:
            assert_near(form, (binned_information(bins(t), y)[0], 0))


@pytest.mark.parametrize("name", ["uniform-neuron", "quantile"])
def test_one_unit(name):
    t, (y, soft) = activations(name, "duplicates", units=1), labels()
    assert_oracle(compiled(name)(t, y, soft), RULE_CASES[name][1](t), y, soft)


def test_width_has_no_bounds():
    rng = np.random.default_rng(2)
    t = off_the_edges(rng.integers(-500, 1000, (N, UNITS)), 0, 0.07, 1, rng)
    t[::5] = -0.4 * 0.07  # below zero is another bin than above
    t[1::5] = 0.4 * 0.07
    y, soft = labels()
    assert_oracle(compiled("width")(t, y, soft), bins_width(t, 0.07), y, soft)


def test_width_keeps_large_values_apart():
    t = np.array([[2e8], [4e8], [-4e8], [3e12]], np.float32)
    found = Binning(rule="width").layer(jnp.asarray(t), jnp.array([0, 0, 1, 1]))
    assert_near(found, (np.log(4), np.log(2)))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_ranges_of_any_size(scale):
    t = np.array([[-1.0], [0.1], [0.5], [3.0]], np.float32) * np.float32(scale)
    found = Binning(bins=10, range="neuron").layer(jnp.asarray(t), jnp.array([0, 0, 1, 1]))
    assert_near(found, (np.log(4), np.log(2)))


def test_saturation_is_counted_as_each_rule_says():
    """At +1 the uniform rule has one bin with the values below, the original code a symbol of its own."""
    t = np.array([[1.0], [0.99], [-1.0], [-0.99]], np.float32)
    y = jnp.arange(4)
    assert_near(Binning().layer(jnp.asarray(t), y).complexity, np.log(2))
    assert_near(Binning(rule="idnns").layer(jnp.asarray(t), y).complexity, 1.5 * np.log(2))
    assert_near(Binning(rule="bits").layer(jnp.asarray(t), y).complexity, np.log(4))


def test_saturation_takes_no_bins_of_the_net_input_away():
    z = np.arange(-8.25, 8.5, 0.5, np.float32)
    t = jnp.tanh(z)[:, None]
    assert_near(Binning(bins=200, rule="net-input").layer(t, jnp.zeros(z.size, int)).complexity, np.log(z.size))
    assert Binning(bins=200).layer(t, jnp.zeros(z.size, int)).complexity < 0.7 * np.log(z.size)
    # Beyond what a float tells from 1, and beyond 1: the last bin.
    far = jnp.array([[1.0], [2.0], [-1.0], [-3.0]])
    assert_near(Binning(bins=200, rule="net-input").layer(far, jnp.arange(4)).complexity, np.log(2))


def test_values_beyond_the_range():
    t = jnp.array([[7.0], [0.99], [-9.0], [-0.99]], jnp.float32)
    ends, both_sides = jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 0, 2])
    assert_near(Binning().layer(t, ends), (np.log(2), np.log(2)))
    # The original code's lookup: below -1 and above 1 are one symbol, so that label 0 is certain there.
    assert_near(Binning(rule="idnns").layer(t, both_sides), (1.5 * np.log(2), 1.5 * np.log(2)))


def test_a_run_is_measured_over_its_own_span():
    t, y = jnp.array([[0.0], [0.3], [0.6], [0.9]]), jnp.array([0, 0, 1, 1])
    estimator = Binning(bins=2, range="run")
    assert estimator.needs_span
    ends = lambda *values: tuple(jnp.array(value, jnp.float32) for value in values)  # noqa: E731
    assert_near(estimator.layer(t, y, span=ends(0, 1)), (np.log(2), np.log(2)))
    assert_near(estimator.layer(t, y, span=ends(0, 10)), (0, 0))
    assert_near(estimator.layer(jnp.full_like(t, 0.5), y, span=ends(0.5, 0.5)), (0, 0))
    with pytest.raises(InputError, match="needs the span of the whole run"):
        estimator.layer(t, y)
    assert not any(Binning(rule=rule, range="run").needs_span for rule in RULES if rule != "uniform")


# --- Keys --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twelve_units():
    return jax.jit(Binning().layer, static_argnames="classes")


@pytest.mark.parametrize("column", [0, 5, 11])
def test_twelve_units_of_thirty_bins_differ_in_any_column(twelve_units, column):
    rng = np.random.default_rng(column)
    index = np.full((64, 12), 29)
    index[:32, column] = rng.permutation(30)[rng.integers(0, 30, 32)]
    index[32:, :] = 0
    index[32:, column] = rng.integers(0, 30, 32)
    t = off_the_edges(index, -1, 1, 30, rng)
    y = rng.integers(0, 2, 64)
    expected = binned_information(bins_fixed(t, 30, -1, 1), y)
    assert_near(twelve_units(t, y), expected)
    assert_near(twelve_units(t, y, classes=2), expected)


def test_many_columns_are_hashed():
    rng = np.random.default_rng(0)
    index = rng.integers(0, 30, (N, 40))[rng.integers(0, N // 2, N)]
    index[::3] = index[0]
    index[::3, 39] = np.arange(len(index[::3])) % 3  # rows that differ in their last column only
    t = off_the_edges(index, -1, 1, 30, rng)
    y, soft = labels()
    assert_oracle(compiled("uniform-fixed")(t, y, soft), index, y, soft)


SIZES = [(2, 62), (2, 63), (2, 64), (8, 21), (30, 12), (127, 9), (1024, 6), (65536, 3), (7, 1)]


@pytest.mark.parametrize("spare", [0, 1, 4])
@pytest.mark.parametrize(("size", "columns"), [*SIZES, (None, 5)])
def test_keys_are_equal_exactly_for_equal_rows(size, columns, spare):
    rng = np.random.default_rng(columns)
    top = 2**31 if size is None else size
    index = rng.integers(-top if size is None else 0, top, (200, columns))
    index[0], index[1] = 0, top - 1
    # Neighbours of the extreme rows in each column: they would meet first if a digit had too few bits.
    for row in range(2, min(columns, 90) + 2):
        index[row] = index[row % 2]
        index[row, row - 2] = [1, top - 2][row % 2]
    index[150:] = index[:50]
    rows = [tuple(row) for row in index]
    with jax.enable_x64(True):
        keys = np.asarray(cells.pack(jnp.asarray(index, jnp.int32), size, spare))
    assert keys.dtype == np.int64
    assert keys.min() >= 0
    assert int(keys.max()) < 2 ** (63 - spare)
    assert len(set(keys)) == len(set(rows)) == len(set(zip(keys, rows, strict=True)))


def test_the_order_of_columns_matters():
    t = off_the_edges(np.array([[0, 29], [29, 0], [0, 29], [29, 29]]), -1, 1, 30, np.random.default_rng(0))
    for units in (t, np.tile(t, (1, 20))):
        assert_near(Binning().layer(jnp.asarray(units), jnp.arange(4)).complexity, 1.5 * np.log(2))


# --- Labels ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def any_labels():
    return jax.jit(Binning().layer)


@pytest.mark.parametrize(
    "alphabet",
    [
        np.array([-7, 0, 3], np.int32),
        np.array([-(2**31), 2**31 - 1, 12], np.int32),
        np.array([-128, 127, 0], np.int8),
    ],
    ids=lambda a: f"{a.dtype}:{a[0]}",
)
def test_labels_are_any_integers(any_labels, alphabet):
    t = activations("uniform-fixed", "duplicates")
    y, _ = labels()
    found = any_labels(t, alphabet[y])
    assert_near(found, binned_information(bins_fixed(t, 30, -1, 1), y))


@pytest.mark.parametrize("classes", [1, 4, 5, 1000])
def test_more_classes_may_be_stated_than_occur(classes):
    t = activations("uniform-fixed", "duplicates")
    y = np.random.default_rng(0).integers(0, classes, N)
    y[:2] = 0, classes - 1
    found = Binning().layer(jnp.asarray(t), jnp.asarray(y), classes=classes)
    assert_near(found, binned_information(bins_fixed(t, 30, -1, 1), y))


def test_many_samples_with_labels_of_no_stated_range():
    """More than 2^16 samples: pairs of a cell and a label no longer fit 32 bits."""
    n = 2**17
    t, y = jnp.linspace(-1, 1, n)[:, None], jnp.arange(n) % 2
    found = jax.jit(Binning(rule="bits").layer)(t, y)
    assert_near(found, (np.log(n), np.log(2)))


# --- Precision and transformations -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["uniform-fixed", "quantile"])
def test_jit_equals_eager(name):
    t, (y, soft) = activations(name, "saturated"), labels()
    eager = measure_of(name)(jnp.asarray(t), jnp.asarray(y), jnp.asarray(soft))
    assert_equal_informations(compiled(name)(t, y, soft), eager)


@pytest.mark.parametrize("name", ["uniform-neuron", "bits"])
def test_vmap_equals_a_loop(name):
    t = np.stack([activations(name, kind, seed=seed) for seed, kind in enumerate(KINDS)])
    y, soft = labels()
    together = jax.jit(jax.vmap(measure_of(name), in_axes=(0, None, None)))(t, y, soft)
    for i in range(len(KINDS)):
        assert_equal_informations(jax.tree.map(lambda leaf, i=i: leaf[i], together), compiled(name)(t[i], y, soft))


def test_labels_may_be_mapped_too():
    t, (y, _) = activations("uniform-fixed", "few"), labels()
    ys = np.stack([y, np.roll(y, 7), np.zeros_like(y)])
    found = jax.jit(jax.vmap(lambda y: Binning().layer(jnp.asarray(t), y, classes=CLASSES)))(ys)
    for i in range(3):
        assert_near([v[i] for v in found], binned_information(bins_fixed(t, 30, -1, 1), ys[i]))


@pytest.mark.parametrize("name", ["uniform-neuron", "uniform-fixed"])
def test_double_precision(name):
    t = activations(name, "few").astype(np.float64)
    y, soft = labels()
    soft = soft.astype(np.float64) / soft.astype(np.float64).sum(axis=1, keepdims=True)
    with jax.enable_x64(True):
        found = jax.jit(measure_of(name))(t, y, soft)
    assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(found))
    assert_oracle(found, RULE_CASES[name][1](t), y, soft, atol=1e-13)


@pytest.mark.parametrize("rule", ["bits", "quantile"])
def test_double_precision_tells_apart_what_single_does_not(rule):
    t = 0.5 + np.array([[0.0], [1.0], [2.0], [-1.0]]) * 1e-14
    estimator = Binning(rule=rule, bins=4)
    with jax.enable_x64(True):
        assert_near(estimator.layer(jnp.asarray(t), jnp.arange(4)).complexity, np.log(4), atol=1e-13)
        single = jnp.asarray(t, jnp.float32)
        assert_near(estimator.layer(single, jnp.arange(4)).complexity, 0, atol=0)


def test_the_users_precision_is_left_as_it_is(twelve_units):
    """Keys of 63 bits with 64-bit types switched off, and no trace of them afterwards."""
    assert not jax.config.jax_enable_x64
    # Rows that differ in the highest digit alone: 30^11 is far beyond 32 bits.
    index = np.zeros((64, 12), int)
    index[:, 0] = np.arange(64) % 30
    t = off_the_edges(index, -1, 1, 30, np.random.default_rng(0))
    y = np.arange(64) % 2

    @jax.jit
    def around(t, y):
        found = Binning().layer(t, y, classes=2)
        return found, jnp.arange(3), jnp.asarray(1.0) + 1

    found, integers, number = around(t, y)
    assert_near(found, binned_information(index, y))
    assert_near(twelve_units(t, y), binned_information(index, y))
    assert [v.dtype for v in (*found, integers, number)] == [jnp.float32, jnp.float32, jnp.int32, jnp.float32]
    assert not jax.config.jax_enable_x64
    assert jnp.arange(3).dtype == jnp.int32
    with jax.enable_x64(True):
        twelve_units(t, y)
        assert jax.config.jax_enable_x64


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", RULE_CASES)
def test_what_is_not_finite_is_no_information(name, bad):
    t, (y, soft) = activations(name, "tanh"), labels()
    t[17, 1] = bad
    assert all(np.isnan(leaf) for leaf in jax.tree.leaves(compiled(name)(t, y, soft)))


@pytest.mark.parametrize("name", ["quantile", "bits"])
def test_one_sample(name):
    one = np.array([[0.3, -0.2]], np.float32), np.array([1], np.int32), np.array([[0.2, 0.5, 0.3]], np.float32)
    for leaf in jax.tree.leaves(compiled(name)(*one)):
        assert_near(leaf, 0, atol=1e-7)


# --- Invariances -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULE_CASES)
def test_the_order_of_samples_and_units_is_nothing(name):
    t, (y, soft) = activations(name, "duplicates"), labels()
    rows = np.random.default_rng(3).permutation(N)
    found = compiled(name)(t, y, soft)
    assert_equal_informations(found, compiled(name)(t[rows], y[rows], soft[rows]))
    assert_equal_informations(found, compiled(name)(t[:, ::-1], y, soft))


def test_the_names_of_exact_values_are_nothing():
    """Under "bits" any one-to-one map of each unit's values leaves the information as it is."""
    rng = np.random.default_rng(4)
    t, (y, soft) = activations("bits", "few"), labels()
    renamed = np.empty_like(t)
    for unit in range(UNITS):
        values, where = np.unique(t[:, unit], return_inverse=True)
        renamed[:, unit] = rng.permutation(rng.normal(size=len(values)).astype(np.float32) * 1e3)[where]
    found = compiled("bits")(t, y, soft)
    assert_equal_informations(found, compiled("bits")(renamed, y, soft))
    assert 0.1 < found.known_classes.complexity < np.log(N) - 0.1


@pytest.mark.parametrize("name", ["bits", "quantile", "width", "uniform-fixed", "uniform-neuron"])
def test_both_zeros_are_one_value(name):
    t, (y, soft) = np.zeros((N, UNITS), np.float32), labels()
    t[::2] = -0.0
    assert_near(compiled(name)(t, y, soft).known_classes, (0, 0), atol=1e-7)


# --- Properties --------------------------------------------------------------------------------------------


def layers(elements):
    return hnp.arrays(np.float32, (N, UNITS), elements=elements)


free_layers = layers(st.floats(-1.25, 1.25, width=32, allow_subnormal=False))
tied_layers = layers(st.sampled_from([-1, -0.7, -0.1, 0.0, 0.4, 1]))
some_labels = hnp.arrays(np.int32, N, elements=st.integers(0, CLASSES - 1))


def noisy(y):
    """Rows p(y|x) of labels that are right with probability 0.8."""
    return (np.eye(CLASSES)[y] * 0.7 + 0.1).astype(np.float32)


@hypothesis.settings(max_examples=50)
@pytest.mark.parametrize("name", ["uniform-fixed", "quantile", "bits"])
@given(t=free_layers | tied_layers, y=some_labels)
def test_bounds(name, t, y):
    """0 <= I(T;Y) <= min(I(X;T), H(Y)) and I(X;T) <= ln n."""
    found = compiled(name)(t, y, noisy(y))
    counts = np.bincount(y)
    p = counts[counts > 0] / N
    h_y = -(p * np.log(p)).sum()
    for form in found:
        if form is not None:
            assert -1e-6 <= form.relevance <= min(form.complexity, h_y) + 1e-6
            assert form.complexity <= np.log(N) + 1e-6
    if found.soft is not None:  # noise on the labels loses information
        assert found.soft.relevance <= found.one_hot.relevance + 1e-6


@pytest.fixture(scope="module", params=["uniform", "quantile"])
def nested_bins(request):
    """A layer's information in 2, 4 and 8 bins, each of which divides the one before."""

    @jax.jit
    def measure_all(t, y):
        found = [Binning(bins=bins, rule=request.param).layer(t, y, classes=CLASSES) for bins in (2, 4, 8)]
        return jnp.array(found)

    return measure_all


@hypothesis.settings(max_examples=50)
@given(t=free_layers | tied_layers, y=some_labels)
def test_finer_bins_never_lower_the_information(nested_bins, t, y):
    assert (np.diff(nested_bins(t, y), axis=0) >= -1e-6).all()


@hypothesis.settings(max_examples=50)
@given(index=hnp.arrays(np.int64, (N, UNITS), elements=st.integers(0, 29)), y=some_labels)
def test_any_partition_is_the_oracles(index, y):
    t = off_the_edges(index, -1, 1, 30, np.random.default_rng(0))
    assert_oracle(compiled("uniform-fixed")(t, y, noisy(y)), index, y, noisy(y))


@hypothesis.settings(max_examples=50)
@given(t=layers(st.floats(width=32, allow_subnormal=False)), y=some_labels)
def test_any_floats_are_nan_or_the_oracles(t, y):
    found = compiled("bits")(t, y, noisy(y))
    if np.isfinite(t).all():
        assert_oracle(found, bins_float_bits(t), y, noisy(y))
    else:
        assert np.isnan(np.array(found)).all()


# --- Settings and their text -------------------------------------------------------------------------------


def test_defaults_are_the_studies():
    assert Binning() == Binning(bins=30, rule="uniform", range="fixed", low=-1.0, high=1.0)
    assert parse("binning") == Binning()
    assert ESTIMATORS["binning"] is Binning


@pytest.mark.parametrize(
    ("estimator", "text"),
    [
        (Binning(), "binning:bins=30,low=-1,high=1"),
        (Binning(bins=100, range="layer"), "binning:bins=100,range=layer"),
        (Binning(bins=100, range="run"), "binning:bins=100,range=run"),
        (Binning(rule="width", width=0.5), "binning:rule=width,width=0.5"),
        (Binning(bins=8, rule="quantile"), "binning:bins=8,rule=quantile"),
        (Binning(rule="bits"), "binning:rule=bits"),
        (Binning(rule="idnns"), "binning:bins=30,rule=idnns"),
        (Binning(bins=1000, rule="net-input"), "binning:bins=1000,rule=net-input"),
    ],
)
def test_text_names_the_convention(estimator, text):
    assert str(estimator) == text
    assert parse(text) == estimator


numbers = st.floats(-1e6, 1e6).map(float)


@given(st.integers(2, 10**6), st.sampled_from(RULES), st.sampled_from(RANGES), numbers, numbers, st.floats(1e-6, 1e6))
def test_text_is_read_back_as_the_same_estimator(bins, rule, over, one, other, width):
    hypothesis.assume(one != other)
    low, high = sorted([one, other])
    estimator = Binning(bins=bins, rule=rule, range=over, low=low, high=high, width=width).checked()
    again = parse(str(estimator))
    # The settings that this rule uses; the text leaves the others out.
    used = {
        "uniform": ["bins", "range"] + (["low", "high"] if over == "fixed" else []),
        "width": ["width"],
        "bits": [],
    }.get(rule, ["bins"])
    for field in ["rule", *used]:
        assert getattr(again, field) == getattr(estimator, field), field


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "uniforn"}, "unknown binning rule 'uniforn': did you mean 'uniform'"),
        ({"range": "neurons"}, "unknown binning range 'neurons': did you mean 'neuron'"),
        ({"bins": 1}, "bins must be a whole number of 2 or more, got 1: 30"),
        ({"low": 1.0}, r"low < high, got 1\.0 to 1\.0"),
        ({"high": np.inf}, r"low < high, got -1\.0 to inf"),
        ({"low": np.nan}, r"low < high, got nan to 1\.0"),
        ({"width": 0.0}, r"width must be positive, got 0\.0: 0\.07"),
        ({"width": np.nan}, "width must be positive, got nan"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(Binning(), **change).checked()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bining", "unknown estimator 'bining': did you mean 'binning'"),
        ("", "unknown estimator ''"),
        ("binning:bin=3", "unknown setting of binning 'bin': did you mean 'bins'"),
        ("binning:bins", "bins of binning must be a whole number, got ''"),
        ("binning:bins=2.5", r"bins of binning must be a whole number, got '2\.5'"),
        ("binning:width=wide", "width of binning must be a number, got 'wide'"),
        ("binning:bins=1", "bins must be a whole number of 2 or more, got 1"),
        ("binning:rule=widht", "unknown binning rule 'widht': did you mean 'width'"),
        ("binning:low=2", r"low < high, got 2\.0 to 1\.0"),
    ],
)
def test_text_is_checked(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)
