"""Kernel bounds: against a NumPy reference, closed forms and finite differences, and what any estimator must do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators.reference_kernel import (
    kernel_bounds,
    layer_variance,
    leave_one_out_likelihood,
    likelihood_variance,
    squared_distances,
)
from jax.sharding import AxisType, PartitionSpec
from scipy.integrate import quad

from ibjax.datasets import from_arrays
from ibjax.errors import InputError
from ibjax.estimators import (
    BOUNDS,
    ESTIMATORS,
    VARIANCES,
    Binning,
    KernelBounds,
    LayerEstimator,
    bandwidth,
    pairs,
    parse,
)
from ibjax.networks import MLP, functional
from ibjax.sweep import Study, run
from ibjax.sweep.study import replica_key
from ibjax.training import TrainConfig, TrainingData, train

N, UNITS, CLASSES = 64, 3, 3
"""One shape for most tests: a program compiles in a second, so they share a few."""
NOISE = 0.1
WIDE_UNITS = pairs.WIDE + 8


def labels(n=N, seed=0, dtype=np.float32):
    """Integer labels of unequal classes, and rows p(y|x) with zeros among them."""
    rng = np.random.default_rng(seed)
    y = rng.choice(CLASSES, n, p=[0.5, 0.3, 0.2]).astype(np.int32)
    soft = rng.dirichlet(np.full(CLASSES, 0.4), n) + np.eye(CLASSES)[y]
    soft[rng.random(soft.shape) < 0.2] = 0
    soft[soft.sum(axis=1) == 0] = np.eye(CLASSES)[0]
    return y, (soft / soft.sum(axis=1, keepdims=True)).astype(dtype)


def activations(n=N, units=UNITS, seed=0, dtype=np.float32):
    """Activations that tell something of the labels of the same seed."""
    noise = np.random.default_rng(seed + 1000).normal(size=(n, units))
    return np.tanh(0.8 * noise + 0.8 * (labels(n, seed)[0] - 0.5)[:, None]).astype(dtype)


def noise_for(units):
    """A noise variance that tells neither all samples of so many units apart nor none."""
    return NOISE * max(1, units / UNITS)


@jax.jit
def layer(estimator, t, y):
    """One program a shape, type and static setting, shared by all tests."""
    return estimator.layer(t, y)


def assert_near(found, expected, atol=3e-6):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=atol)


# --- Against the reference ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("units", "bound"), [(1, "upper"), (UNITS, "upper"), (UNITS, "lower"), (WIDE_UNITS, "lower")])
def test_single_precision(units, bound):
    t, (y, soft) = activations(units=units), labels()
    noise = noise_for(units) / (1 if bound == "upper" else 4)
    for form in (y, soft):
        expected = kernel_bounds(t, form, noise, bound)
        assert_near(layer(KernelBounds(noise, bound=bound), t, form), expected, 1e-5 if units > pairs.WIDE else 3e-6)
        assert 0.03 < expected[1] < expected[0] - 0.1 < np.log(N) - 0.15


@pytest.mark.slow
@pytest.mark.parametrize(("units", "block"), [(UNITS, 24), (WIDE_UNITS, 24), (WIDE_UNITS, 512)])
def test_double_precision_to_the_last_digits(units, block):
    t, (y, soft) = activations(units=units, dtype=np.float64), labels(dtype=np.float64)
    noise = noise_for(units)
    for form in (y, soft):
        with jax.enable_x64(True):
            found = layer(KernelBounds(noise, block=block), t, form)
        assert all(value.dtype == jnp.float64 for value in found)
        assert_near(found, kernel_bounds(t, form, noise), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 61])
def test_any_number_of_samples(n):
    t, (y, soft) = activations(n, 2), labels(n)
    for form in (y, soft):
        assert_near(layer(KernelBounds(block=7), t, form), kernel_bounds(t, form, NOISE))


def test_integers_are_one_hot_rows():
    t, (y, _) = activations(), labels()
    assert_near(layer(KernelBounds(), t, np.eye(5, dtype=np.float32)[y]), layer(KernelBounds(), t, y))


@pytest.mark.parametrize("offset", [1, 64])
def test_a_large_offset_costs_nothing(offset):
    """Distances are differences, not |a|^2 + |b|^2 - 2ab; the samples can hold the offset exactly."""
    t, (y, _) = np.round(activations() * 2**10) / 2**10, labels()
    assert_near(layer(KernelBounds(1e-3), (t + offset).astype(np.float32), y), kernel_bounds(t, y, 1e-3))


def test_wide_distances_are_never_negative_and_zero_between_copies():
    t = activations(units=200)
    t[1::3] = t[0]
    x = pairs.centred(jnp.asarray(t + 3)).T
    found = np.asarray(jax.jit(pairs.squared_distances)(x.T[:10], jnp.arange(10), x))
    assert (found >= 0).all()
    expected = squared_distances(t)[:10]
    assert ((found == 0) == (expected == 0)).all()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("fold", ["sums", "min"])
def test_both_forms_of_a_reduction_agree(fold):
    """The loop is the CPU's, the rows are an accelerator's."""
    t, (y, _) = activations(), labels()
    terms = {
        "sums": lambda distance, i, j, a: jax.lax.complex(distance * a, distance * (i == j)),
        "min": lambda distance, i, j, a: distance + a * (i == j),
    }[fold]
    distance, same = squared_distances(t), y[:, None] == y
    expected = (distance * (0.7 + 1j * same)).sum(axis=1) if fold == "sums" else (distance + 0.7 * same).min(axis=1)
    for form in (functools.partial(pairs._loop, terms, fold), functools.partial(pairs._rows, terms, fold, 24)):
        np.testing.assert_allclose(jax.jit(form)(t, y, y, jnp.float32(0.7)), expected, rtol=1e-5)


def test_the_exponential():
    distance = np.linspace(0, 130, 100_001, dtype=np.float32) * np.float32(np.log(2))
    decay = jax.jit(pairs.decay)
    found = np.asarray(decay(distance, jnp.float32(1)))
    expected = np.exp(-distance.astype(np.float64))
    relative = np.abs(found / expected - 1)
    assert found[0] == 1
    assert relative[distance < 0.5].max() < 4e-7
    # The argument's own rounding is multiplied by the argument.
    assert relative[expected > 2.0**-125].max() < 1.5e-5
    assert (found[expected < 2.0**-127] == 2.0**-126).all()
    assert decay(jnp.array([np.inf, np.nan], jnp.float32), jnp.float32(3)).tolist() == [2.0**-126] * 2
    assert decay(jnp.array([0, 3e38], jnp.float32), jnp.float32(0)).tolist() == [1, 1]


# --- Known truth -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [0.1, 0.5, 1.0, 2.0])
def test_the_bounds_enclose_the_information_of_a_noisy_bit(gap):
    far = gap / 0.3

    def integrand(z):
        density = (np.exp(-(z**2) / 2) + np.exp(-((z - far) ** 2) / 2)) / np.sqrt(8 * np.pi)
        return -density * np.log(density * np.sqrt(2 * np.pi * np.e))

    truth = quad(integrand, -15, 15 + far, limit=400)[0]
    t, y = np.array([[0.0], [gap]], np.float32), np.array([0, 1])
    lower, upper = (layer(KernelBounds(0.09, bound=bound), t, y) for bound in ("lower", "upper"))
    for value, rate in ((upper, 1 / 2), (lower, 1 / 8)):
        assert_near(value, [np.log(2) - np.log1p(np.exp(-rate * far**2))] * 2)
    assert lower.complexity < truth < upper.complexity


@pytest.mark.parametrize("bound", BOUNDS)
def test_normal_samples(bound):
    """For a normal t of variance v: (1/2) ln(1 + v/s) + v / 2(v + s) a unit, s = s2 above and 4 s2 below."""
    t = np.random.default_rng(0).normal(size=(8000, 1)).astype(np.float32)
    s = 0.1 if bound == "upper" else 0.4
    found = layer(KernelBounds(0.1, bound=bound), t, np.zeros(8000, np.int32))
    assert_near(found.complexity, 0.5 * np.log(1 + 1 / s) + 1 / (2 * (1 + s)), 0.02)
    truth = 0.5 * np.log(1 + 1 / 0.1)
    assert found.complexity > truth if bound == "upper" else found.complexity < truth


@pytest.mark.parametrize("bound", BOUNDS)
def test_clusters_far_apart_are_symbols(bound):
    """Both bounds are exact: I(X;T) is the entropy of the clusters, I(T;Y) that of their table with the labels."""
    table = np.array([[4, 0, 8], [2, 6, 4]])
    cluster, y = np.repeat(np.indices(table.shape).reshape(2, -1), table.ravel(), axis=1)
    t = np.stack([9.0 * cluster, -20.0 * cluster], axis=1).astype(np.float32)

    def entropy(counts):
        p = counts[counts > 0] / table.sum()
        return -(p * np.log(p)).sum()

    h = entropy(table.sum(axis=1))
    assert_near(layer(KernelBounds(bound=bound), t, y), (h, h + entropy(table.sum(axis=0)) - entropy(table)))


def test_independent_labels_carry_nothing():
    """Every activation has every label equally often."""
    t, y = np.tile(activations(20), (3, 1)), np.repeat(np.arange(3), 20)
    assert_near(layer(KernelBounds(), t, y).relevance, 0)


@pytest.mark.parametrize("seed", range(5))
def test_order_of_the_bounds(seed):
    t, (y, _) = activations(seed=seed), labels(seed=seed)
    p = np.bincount(y) / N
    upper, lower = (layer(KernelBounds(bound=bound), t, y) for bound in ("upper", "lower"))
    assert 0 < lower.complexity < upper.complexity < np.log(N)
    for found in (upper, lower):
        assert found.relevance < min(found.complexity, -(p * np.log(p)).sum())
    noisier = [layer(KernelBounds(noise), t, y).complexity for noise in (0.01, 0.1, 1.0, 10.0)]
    assert (np.diff(noisier) < 0).all()
    # Uncertain labels are harder to tell.
    blurred = np.eye(CLASSES, dtype=np.float32)[y] * 0.5 + np.float32(0.5 / CLASSES)
    assert 0 < layer(KernelBounds(), t, blurred).relevance < upper.relevance


# --- The noise variance ------------------------------------------------------------------------------------


def test_the_noise_of_a_layer_is_relative_to_its_spread():
    t, (y, _) = activations() * 3 + 1, labels()
    found = KernelBounds(0.05, variance="layer")(t, y)
    noise = 0.05 * layer_variance(t)
    assert_near(found.diagnostics["noise_variance"], noise, 1e-6)
    assert_near((found.diagnostics["complexity"], found.value), kernel_bounds(t, y, noise))


@pytest.mark.slow
@pytest.mark.parametrize("units", [UNITS, WIDE_UNITS])
def test_the_likelihood_s_variance(units):
    t, (y, _) = 3 * activations(units=units, dtype=np.float64), labels()
    with jax.enable_x64(True):
        found = KernelBounds(variance="likelihood")(t, y)
    noise = likelihood_variance(t)
    assert found.diagnostics["noise_variance"].dtype == jnp.float64
    np.testing.assert_allclose(found.diagnostics["noise_variance"], noise, rtol=1e-6)
    assert_near((found.diagnostics["complexity"], found.value), kernel_bounds(t, y, noise), 1e-5)


variance_of = jax.jit(bandwidth.likelihood_variance, static_argnums=1)


def test_the_largest_of_several_maxima():
    """Pairs on a line: one maximum is at the distance in a pair, a lower one at that between pairs."""
    t = np.repeat(np.arange(N // 2), 2)[:, None] + 1e-3 * np.random.default_rng(0).normal(size=(N, 1))
    logs = np.linspace(-20, 6, 300)
    heights = np.array([leave_one_out_likelihood(t.astype(np.float32), np.exp(u)) for u in logs])
    inside = heights[1:-1]
    maxima = logs[1:-1][(inside > heights[:-2]) & (inside > heights[2:])]
    assert (np.round(maxima) == [-14, 2]).all()
    np.testing.assert_allclose(np.log(variance_of(t.astype(np.float32), 512)), maxima[0], atol=0.1)


def test_distant_samples():
    t = activations()
    t[:5] *= 30
    np.testing.assert_allclose(variance_of(t, 512), likelihood_variance(t), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("units", [UNITS, WIDE_UNITS])
def test_copies_do_not_shrink_the_likelihood_s_variance(units):
    t = activations(N // 2, units)
    twice = np.concatenate([t, t, t[:1]])
    expected = likelihood_variance(twice)
    assert expected > 1e-3
    np.testing.assert_allclose(variance_of(twice, 512), expected, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("variance", ["layer", "likelihood"])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e18])
def test_chosen_noise_makes_the_unit_of_measurement_nothing(variance, scale):
    t, (y, _) = activations(), labels()
    estimator = KernelBounds(variance=variance)
    assert_near(layer(estimator, t * np.float32(scale), y), layer(estimator, t, y), 2e-4)


# --- Invariances -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", [*VARIANCES[:2], pytest.param(VARIANCES[2], marks=pytest.mark.slow)])
def test_isometries_and_the_order_of_samples_are_nothing(variance):
    t, (y, soft) = activations(), labels()
    rng = np.random.default_rng(3)
    rows = rng.permutation(N)
    turned = t @ np.linalg.qr(rng.normal(size=(UNITS, UNITS)))[0].astype(np.float32) + np.float32(0.3)
    estimator = KernelBounds(variance=variance)
    for form in (y, soft) if variance == "absolute" else (y,):
        expected = layer(estimator, t, form)
        assert_near(layer(estimator, t[rows], form[rows]), expected, 1e-4)
        assert_near(layer(estimator, turned, form), expected, 1e-4)


ALPHABETS = [
    np.array([-7, 0, 3], np.int32),
    np.array([-(2**31), 2**31 - 1, 12], np.int32),
    np.array([-128, 127, 0], np.int8),
    np.array([0, 255, 7], np.uint8),
]


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=lambda a: f"{a.dtype}:{a[0]}")
def test_labels_are_any_integers(alphabet):
    t, (y, _) = activations(), labels()
    assert_near(layer(KernelBounds(), t, alphabet[y]), kernel_bounds(t, y, NOISE))


def test_labels_may_be_truth_values():
    t, (y, _) = activations(), labels()
    assert_near(KernelBounds()(t, y > 0).value, kernel_bounds(t, y > 0, NOISE)[1])


# --- Transformations and types -----------------------------------------------------------------------------


@pytest.mark.slow
def test_jit_equals_eager():
    t, (y, soft) = activations(), labels()
    for form in (y, soft):
        assert_near(layer(KernelBounds(), t, form), KernelBounds().layer(t, form), 1e-6)
    with jax.disable_jit():
        assert_near(KernelBounds().layer(t[:9], soft[:9]), kernel_bounds(t[:9], soft[:9], NOISE))


def many(count=3):
    t = np.stack([activations(seed=seed) for seed in range(count)])
    y, soft = zip(*(labels(seed=seed) for seed in range(count)), strict=True)
    return t, np.stack(y), np.stack(soft)


@pytest.mark.parametrize("variance", [*VARIANCES[:2], pytest.param(VARIANCES[2], marks=pytest.mark.slow)])
def test_vmap_equals_a_loop(variance):
    t, y, _ = many()
    estimator = KernelBounds(variance=variance)
    expected = [layer(estimator, *one) for one in zip(t, y, strict=True)]
    assert_near(np.transpose(jax.jit(jax.vmap(estimator.layer))(t, y)), expected, 1e-6)


def test_map_equals_a_loop():
    t, y, soft = many()
    for form in (y, soft):
        expected = [layer(KernelBounds(), *one) for one in zip(t, form, strict=True)]
        found = jax.jit(lambda sets: jax.lax.map(lambda pair: KernelBounds().layer(*pair), sets))((t, form))
        assert_near(np.transpose(found), expected, 1e-6)


@pytest.mark.slow
def test_anything_may_be_mapped():
    t, y, soft = many()
    noises = np.array([0.01, 0.1, 1.0], np.float32)

    def measure(noise, t, y):
        return KernelBounds(noise).layer(t, y)

    by_labels = jax.jit(jax.vmap(measure, (None, None, 0)))(NOISE, t[0], soft)
    by_samples = jax.jit(jax.vmap(measure, (None, 0, None)))(NOISE, t, soft[0])
    by_noise_and_samples = jax.jit(jax.vmap(jax.vmap(measure, (0, None, None)), (None, 0, None)))(noises, t, y[0])
    for i in range(3):
        assert_near([value[i] for value in by_labels], kernel_bounds(t[0], soft[i], NOISE))
        assert_near([value[i] for value in by_samples], kernel_bounds(t[i], soft[0], NOISE))
        for j in range(3):
            assert_near([value[i, j] for value in by_noise_and_samples], kernel_bounds(t[i], y[0], noises[j]))


@pytest.mark.slow
def test_sample_sets_may_be_shared_out_over_devices():
    """Under the checks of what varies over the mesh, gradients included, with labels of each set and of all."""
    t, y, soft = (a[:2] for a in many())
    mesh = jax.make_mesh((2,), ("set",), devices=jax.devices()[:2], axis_types=(AxisType.Auto,))
    shared = functools.partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("set"), out_specs=PartitionSpec("set"))
    slope = jax.value_and_grad(functools.partial(loss, noise=NOISE))
    of_each = jax.jit(shared(jax.vmap(lambda t, y: slope(t, y=y))))(t, y)
    of_all = jax.jit(shared(jax.vmap(lambda t: slope(t, y=jnp.asarray(soft[0])))))(t)
    for (values, slopes), form in ((of_each, y[1]), (of_all, soft[0])):
        assert_near(values[1], loss(jnp.asarray(t[1]), NOISE, jnp.asarray(form)), 1e-5)
        assert_near(slopes[1], single_slope(t[1], np.float32(NOISE), form)[0], 1e-6)


def test_types_are_kept():
    t, (y, _) = activations(), labels()
    estimator = KernelBounds()
    found = estimator(t, y)
    numbers = {name for name, value in found.diagnostics.items() if value.dtype != bool}
    assert numbers == {"ceiling", "complexity", "noise_variance"}
    assert {found.value.dtype, *(found.diagnostics[name].dtype for name in numbers)} == {jnp.dtype("float32")}
    assert not jax.config.jax_enable_x64
    with jax.enable_x64(True):
        double = estimator(t.astype(np.float64), y)
    assert {double.value.dtype, *(double.diagnostics[name].dtype for name in numbers)} == {jnp.dtype("float64")}
    assert_near(double.value, found.value, 1e-4)


def test_half_precision_is_computed_in_single():
    t, (y, _) = activations().astype(np.float16), labels()
    found = layer(KernelBounds(), t, y)
    assert [value.dtype for value in found] == [jnp.float16] * 2
    assert_near(found, kernel_bounds(t, y, NOISE), 2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("units", "soft"), [(2, False), (2, True), (WIDE_UNITS, False)])
def test_memory_grows_with_n_alone(units, soft):
    """Neither the estimate nor its gradient holds n x n numbers, on a CPU or with an accelerator's form."""
    n, block = 16384, 64
    t = jax.ShapeDtypeStruct((n, units), np.float32)
    y = jax.ShapeDtypeStruct((n, 2), np.float32) if soft else jax.ShapeDtypeStruct((n,), np.int32)
    estimator = KernelBounds(block=block)
    slope = jax.value_and_grad(lambda t, y: sum(estimator.layer(t, y)))
    used = jax.jit(slope).lower(t, y).compile().memory_analysis().temp_size_in_bytes
    assert used < 6 * 4 * block * n + 40 * n * units


# --- Gradients ---------------------------------------------------------------------------------------------


def loss(t, noise, y, variance="absolute", bound="upper"):
    """Any function of both informations, with unequal derivatives."""
    complexity, relevance = KernelBounds(noise, bound=bound, variance=variance).layer(t, y)
    return complexity**2 - 3 * relevance


single_slope = jax.jit(jax.grad(loss, argnums=(0, 1)))

GRADIENTS = [
    *((variance, "upper", UNITS, "y") for variance in VARIANCES),
    ("absolute", "lower", UNITS, "soft"),
    ("absolute", "upper", WIDE_UNITS, "y"),
    ("layer", "lower", WIDE_UNITS, "soft"),
    ("likelihood", "upper", WIDE_UNITS, "y"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("variance", "bound", "units", "form"), GRADIENTS)
def test_gradients_are_finite_differences(variance, bound, units, form):
    t, (y, soft) = 2 * activations(units=units, dtype=np.float64), labels(dtype=np.float64)
    noise = 4 * noise_for(units) / (1 if variance == "absolute" else 2)
    chosen = y if form == "y" else soft
    rng = np.random.default_rng(5)
    by_t, by_noise, step = rng.normal(size=t.shape), rng.normal(), 1e-5
    with jax.enable_x64(True):
        at = functools.partial(loss, y=chosen, variance=variance, bound=bound)
        at = jax.jit(jax.value_and_grad(at, argnums=(0, 1)))
        _, (slope_t, slope_noise) = at(t, noise)
        forward, _ = at(t + step * by_t, noise + step * by_noise)
        backward, _ = at(t - step * by_t, noise - step * by_noise)
    found = (np.asarray(slope_t) * by_t).sum() + float(slope_noise) * by_noise
    expected = float(forward - backward) / (2 * step)
    assert abs(expected) > 1e-3
    # The likelihood's maximum is found to seven digits.
    np.testing.assert_allclose(found, expected, rtol=1e-2 if variance == "likelihood" else 1e-5)
    assert (float(slope_noise) == 0) == (variance == "likelihood")


def test_gradients_by_the_rows_of_labels():
    t, (_, soft) = activations(dtype=np.float64), labels(dtype=np.float64)
    soft = soft / 2 + 1 / 6  # inside the simplex
    direction, step = np.random.default_rng(5).normal(size=soft.shape), 1e-6
    with jax.enable_x64(True):
        value = jax.jit(lambda soft: KernelBounds().layer(t, soft).relevance)
        found = float((jax.grad(value)(soft) * direction).sum())
        expected = float(value(soft + step * direction) - value(soft - step * direction)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_gradients_in_single_precision_are_those_in_double():
    t, (y, _) = activations(), labels()
    single = single_slope(t, np.float32(NOISE), y)
    with jax.enable_x64(True):
        double = single_slope(t.astype(np.float64), float(np.float32(NOISE)), y)
    for one, other in zip(single, double, strict=True):
        assert_near(one, other, 1e-5 * np.abs(other).max())


@pytest.mark.slow
def test_gradients_under_vmap_are_those_of_a_loop():
    t, y, _ = many()
    together = jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(0, None, 0)))(t, np.float32(NOISE), y)
    through = jax.jit(jax.grad(lambda t: jax.vmap(loss, in_axes=(0, None, 0))(t, NOISE, y).sum()))(t)
    for i in range(len(t)):
        expected = single_slope(t[i], np.float32(NOISE), y[i])
        assert_near(together[0][i], expected[0], 1e-6)
        assert_near(together[1][i], expected[1], 1e-4)
        assert_near(through[i], expected[0], 1e-6)


@pytest.mark.parametrize("variance", ["absolute", "likelihood"])
def test_gradients_where_samples_coincide(variance):
    y, _ = labels()
    slope = jax.jit(jax.grad(functools.partial(loss, noise=NOISE, y=y, variance=variance)))
    assert (slope(np.full((N, UNITS), 0.3, np.float32)) == 0).all()
    assert np.isfinite(slope(activations()[np.arange(N) % 20])).all()


def test_it_can_be_a_loss():
    """Ascending the relevance draws the classes apart."""
    t, (y, _) = activations(), labels()
    slope = jax.jit(jax.value_and_grad(lambda t: KernelBounds().layer(t, y).relevance))
    values = []
    for _ in range(20):
        value, gradient = slope(t)
        values.append(float(value))
        t = t + 2 * gradient
    assert (np.diff(values) > 0).all()
    assert values[-1] > values[0] + 0.2


# --- Degenerate samples ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variance", "units"),
    [("absolute", UNITS), ("layer", WIDE_UNITS), ("likelihood", UNITS), ("likelihood", WIDE_UNITS)],
)
def test_constant_samples_carry_nothing(variance, units):
    y, _ = labels()
    found = KernelBounds(variance=variance)(np.full((N, units), 0.3, np.float32), y)
    assert found.value == 0
    assert found.diagnostics["complexity"] == 0
    assert found.diagnostics["constant"]
    assert not found.diagnostics["saturated"]
    assert found.diagnostics["noise_variance"] == (np.float32(0.1) if variance == "absolute" else 0)
    assert found.advice() == ["a variable is constant: it carries no information, the estimate is 0"]


def test_one_label_carries_nothing():
    found = KernelBounds()(activations(), np.full(N, 4))
    assert found.value == 0
    assert found.diagnostics["constant"]
    assert found.diagnostics["complexity"] > 1


def test_a_constant_unit_changes_nothing():
    t, (y, _) = activations(), labels()
    more = np.concatenate([t, np.full((N, 1), 0.7, np.float32)], axis=1)
    assert_near(layer(KernelBounds(), more, y), layer(KernelBounds(), t, y))


def test_two_samples():
    x, y = np.array([0.0, 0.5], np.float32), np.array([3, 9])
    assert_near(KernelBounds()(x, y).value, np.log(2) - np.log1p(np.exp(-0.25 / 0.2)))
    # Each is the other's only neighbour.
    assert_near(variance_of(x[:, None], 512), 0.25)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("units", [UNITS, WIDE_UNITS])
def test_what_is_not_finite_is_no_information(units, bad):
    t, (y, soft) = activations(units=units), labels()
    t[17, 1] = bad
    for form in (y, soft):
        assert np.isnan(layer(KernelBounds(), t, form)).all()


def test_what_is_not_finite_in_a_transformation_is_reported():
    t, (y, _) = activations(), labels()
    t[17, 1] = np.nan
    found = jax.jit(KernelBounds())(t, y)
    assert np.isnan(found.value)
    assert np.isnan(found.diagnostics["complexity"])
    assert found.diagnostics["non_finite"]
    assert not found.diagnostics["saturated"]
    for variance in VARIANCES:
        assert np.isnan(layer(KernelBounds(variance=variance), t, y)).all()


@pytest.mark.parametrize("noise", [0.0, -1.0, np.nan, np.inf])
def test_noise_that_makes_no_sense_in_a_transformation_is_no_information(noise):
    t, (y, _) = activations(), labels()
    assert np.isnan(layer(KernelBounds(noise), t, y)).all()


@pytest.mark.parametrize("units", [UNITS, WIDE_UNITS])
def test_huge_samples_are_far_apart(units):
    """Their squares are infinite, and in wide layers the differences of squares are not even that."""
    t, (y, _) = activations(units=units) * np.float32(3e25), labels()
    p = np.bincount(y) / N
    assert_near(layer(KernelBounds(), t, y), (np.log(N), -(p * np.log(p)).sum()))


# --- A call ------------------------------------------------------------------------------------------------


def test_a_call_is_the_layer_s_relevance():
    t, (y, _) = activations(), labels()
    found = KernelBounds()(t, y)
    expected = layer(KernelBounds(), t, y)
    assert found.std_error is None
    assert_near((found.diagnostics["complexity"], found.value), expected, 1e-6)
    assert_near(found.diagnostics["ceiling"], np.log(N))
    assert_near(found.diagnostics["noise_variance"], 0.1, 1e-7)
    assert found.advice() == []
    assert_near(KernelBounds()(t[:, 0], y.tolist()).value, kernel_bounds(t[:, :1], y, NOISE)[1])
    assert_near(KernelBounds()(np.arange(N), y).value, kernel_bounds(np.arange(N)[:, None], y, NOISE)[1])


def test_saturation_is_reported():
    t, (y, _) = activations(), labels()
    found = KernelBounds(1e-4)(t, y)
    assert found.diagnostics["complexity"] > 0.95 * np.log(N)
    assert found.diagnostics["saturated"]
    assert "ceiling" in found.advice()[0]
    assert not KernelBounds(0.1)(t, y).diagnostics["saturated"]


T, Y = activations(), labels()[0]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (T, Y.astype(np.float32), "y must be integer labels for KernelBounds.*use KSG"),
        (T, T, "y must be integer labels for KernelBounds.*use KSG"),
        (T, [0.5] * N, "y must be integer labels for KernelBounds.*use KSG"),
        (T, Y[:-1], "numbers of samples differ: x has 64, y has 63"),
        (T, Y[:, None], "y must have shape"),
        (T, np.array(["a"] * N), "y must be integer labels, got <U1"),
        (np.array(["a"] * N), Y, "x must be real numbers, got <U1"),
        (T[:1], Y[:1], "x has 1 samples, 2 or more"),
        (T[:0], Y[:0], "x has 0 samples"),
        (T[:, :0], Y, "x has no column"),
        (np.where(np.arange(N)[:, None] == 5, np.nan, T), Y, "x has a value that is not finite in row 5"),
        (np.where(np.arange(N)[:, None] == 7, np.inf, T), Y, "x has a value that is not finite in row 7"),
        (T * 1j, Y, "x must be real numbers"),
        (T[None], Y, "x must have shape"),
    ],
)
def test_samples_are_checked_before_anything_is_compiled(x, y, message, monkeypatch):
    monkeypatch.setattr("ibjax.estimators.kernel._estimate", None)
    with pytest.raises(InputError, match=message) as raised:
        KernelBounds()(x, y)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("unchecked")
def test_labels_of_a_layer_are_checked():
    with pytest.raises(InputError, match="labels must be integers or rows"):
        KernelBounds().layer(T, Y.astype(np.float32))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_variance": 0.0}, r"noise_variance must be a positive number, got 0\.0: 0\.1 is"),
        ({"noise_variance": -1}, "noise_variance must be a positive number, got -1"),
        ({"noise_variance": np.nan}, "noise_variance must be a positive number, got nan"),
        ({"noise_variance": np.inf}, "noise_variance must be a positive number, got inf"),
        ({"noise_variance": "0.1"}, "noise_variance must be a positive number"),
        ({"noise_variance": np.ones(2)}, "noise_variance must be a positive number"),
        ({"bound": "uper"}, "unknown bound 'uper': did you mean 'upper'"),
        ({"variance": "layers"}, "unknown variance 'layers': did you mean 'layer'"),
        ({"block": 0}, "block must be a whole number of 1 or more, got 0"),
        ({"block": 2.0}, r"block must be a whole number of 1 or more, got 2\.0"),
        ({"block": True}, "block must be a whole number"),
    ],
)
def test_settings_are_checked(settings, message):
    estimator = KernelBounds(**settings)
    with pytest.raises(InputError, match=message):
        estimator.checked()
    with pytest.raises(InputError, match=message):
        estimator(T, Y)


# --- Settings as text and as a pytree, and in training -----------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "text"),
    [
        (KernelBounds(), "kernel:noise_variance=0.1,bound=upper"),
        (KernelBounds(1e-3, bound="lower"), "kernel:noise_variance=0.001,bound=lower"),
        (KernelBounds(1 / 3, variance="layer"), f"kernel:noise_variance={1 / 3},variance=layer,bound=upper"),
        (KernelBounds(variance="likelihood"), "kernel:variance=likelihood,bound=upper"),
    ],
)
def test_text_names_the_convention_and_is_read_back(estimator, text):
    assert str(estimator) == text
    assert parse(text) == estimator


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernel:variances=3", "unknown setting of kernel 'variances': did you mean 'variance'"),
        ("kernel:noise_variance=much", "noise_variance of kernel must be a number, got 'much'"),
        ("kernel:noise_variance=0", "noise_variance must be a positive number"),
        ("kernel:block=2.5", "block of kernel must be a whole number"),
        ("kernel:bound=low", "unknown bound 'low'"),
    ],
)
def test_text_is_checked(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_every_setting_can_be_written():
    assert parse("kernel") == KernelBounds()
    assert parse("kernel:block=64,noise_variance=2").block == 64
    assert ESTIMATORS["kernel"] is KernelBounds


def test_settings_are_a_pytree():
    leaves, tree = jax.tree.flatten(KernelBounds(0.2, bound="lower"))
    assert leaves == [0.2]
    assert jax.tree.unflatten(tree, [0.5]) == KernelBounds(0.5, bound="lower")
    assert isinstance(KernelBounds(), LayerEstimator)
    assert not KernelBounds().needs_span


def test_another_noise_compiles_nothing():
    t, (y, _) = activations(), labels()
    layer(KernelBounds(0.1), t, y)
    programs = layer._cache_size()
    for noise in (0.2, 0.3):
        layer(KernelBounds(noise), t, y)
    assert layer._cache_size() == programs


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_it_is_measured_inside_training():
    """Replicas are shared out and mapped, snapshots scanned and conditional: the numbers are the reference's."""
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    whole = from_arrays(x, (x[:, 0] > 0).astype(int))
    data = TrainingData(whole, whole, whole)
    config = TrainConfig(epochs=2, batch_size=20, learning_rate=0.5, snapshots=3)
    net = functools.partial(MLP, (4, 2))
    estimators = (KernelBounds(0.05, bound="lower"), KernelBounds(variance="layer"), Binning(bins=8))
    found = run(Study(net, data, config, estimators, replicas=3, chunk_size=2), progress=False)
    assert found["estimator"].values.tolist() == [str(estimator) for estimator in estimators]
    _, snapshots = jax.jit(functools.partial(train, net, config, data, keep_parameters=True))(replica_key(0, 2))
    for row in range(len(found["epoch"])):
        params = jax.tree.map(lambda a, row=row: a[row], snapshots.params)
        for depth, t in enumerate(functional(net).apply(params, jnp.asarray(x))[1]):
            for which, noise in enumerate((0.05, 0.1 * layer_variance(t))):
                expected = kernel_bounds(t, whole.labels, noise, estimators[which].bound)
                at = {"estimator": which, "replica": 2, "snapshot": row, "layer": depth}
                assert_near([found[name].isel(at) for name in ("complexity", "relevance")], expected, 1e-4)
