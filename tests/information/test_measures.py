"""Exact measures of tables, in both array libraries."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from tables import tables

from ibjax.errors import InputError
from ibjax.information import (
    UNITS,
    convert,
    cross_entropy,
    entropy,
    kl_divergence,
    mutual_information,
    self_information,
)

LN2 = math.log(2)


def test_entropy_of_known_distributions():
    assert entropy(np.array([0.5, 0.25, 0.125, 0.125])) == pytest.approx(1.75 * LN2, rel=1e-15)
    assert entropy(np.full(4096, 1 / 4096)) == pytest.approx(12 * LN2, rel=1e-14)
    assert entropy(np.array([0.0, 1.0, 0.0])) == 0
    assert entropy(np.array([0.11, 0.89])) == pytest.approx(-0.11 * math.log(0.11) - 0.89 * math.log(0.89), rel=1e-14)


def test_entropy_takes_an_axis():
    p = np.array([[0.5, 1.0], [0.5, 0.0]])
    np.testing.assert_allclose(entropy(p, axis=0), [LN2, 0], atol=1e-15)
    np.testing.assert_allclose(entropy(p[None] / 1.0, axis=1), [[LN2, 0]], atol=1e-15)


def test_kl_of_known_distributions():
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    assert kl_divergence(p, q) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), rel=1e-14)
    assert kl_divergence(q, p) == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5), rel=1e-14)
    assert kl_divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(LN2)


@pytest.mark.parametrize("library", [np, jnp])
def test_kl_is_infinite_where_only_q_is_zero(library):
    assert kl_divergence(library.array([0.5, 0.5]), library.array([1.0, 0.0])) == math.inf
    assert kl_divergence(library.array([1.0, 0.0]), library.array([1.0, 0.0])) == 0


def test_mutual_information_of_known_tables():
    assert mutual_information(np.eye(8) / 8) == pytest.approx(3 * LN2, rel=1e-14)
    assert mutual_information(np.outer([0.3, 0.7], [0.2, 0.5, 0.3])) == pytest.approx(0, abs=1e-15)
    # A binary symmetric channel that errs with probability 0.11, used with equal inputs.
    channel = np.array([[0.89, 0.11], [0.11, 0.89]]) / 2
    assert mutual_information(channel) == pytest.approx(LN2 - entropy(np.array([0.11, 0.89])), rel=1e-13)


@given(tables((4, 3)))
def test_mutual_information_is_its_definition(joint):
    p_x, p_y = joint.sum(1), joint.sum(0)
    total = 0.0
    for i, j in itertools.product(range(4), range(3)):
        if joint[i, j] > 0:
            total += joint[i, j] * math.log(joint[i, j] / (p_x[i] * p_y[j]))
    assert mutual_information(joint) == pytest.approx(total, abs=1e-12)


@given(tables((4, 3)))
def test_identities(joint):
    information = mutual_information(joint)
    h_x, h_y, h_xy = entropy(joint.sum(1)), entropy(joint.sum(0)), entropy(joint.ravel())
    assert information == pytest.approx(h_x + h_y - h_xy, abs=1e-12)
    assert mutual_information(joint.T) == pytest.approx(information, abs=1e-12)
    assert -1e-12 <= information <= min(h_x, h_y) + 1e-12
    assert h_xy <= math.log(12) + 1e-12


@given(tables((4, 3)))
def test_merging_symbols_loses_information(joint):
    merged = np.stack([joint[0] + joint[1], joint[2], joint[3]])
    assert mutual_information(merged) <= mutual_information(joint) + 1e-12


@given(tables((5,)), tables((5,)))
def test_kl_is_not_negative_and_zero_only_for_equals(p, q):
    assert kl_divergence(p, q) >= -1e-12
    assert kl_divergence(p, p) == pytest.approx(0, abs=1e-15)
    if np.abs(p - q).max() > 1e-3:
        assert kl_divergence(p, q) >= 1e-7  # Pinsker: at least half the squared L1 distance


def test_leading_axes_are_a_batch():
    tables = np.random.default_rng(0).dirichlet(np.ones(12), size=(2, 5)).reshape(2, 5, 4, 3)
    found = mutual_information(tables)
    assert found.shape == (2, 5)
    for i, j in np.ndindex(2, 5):
        assert found[i, j] == pytest.approx(mutual_information(tables[i, j]), rel=1e-13)


def test_jax_and_numpy_agree_each_in_its_precision():
    joint = np.random.default_rng(1).dirichlet(np.ones(12)).reshape(4, 3)
    joint[0] = 0
    joint /= joint.sum()
    single = jnp.asarray(joint, jnp.float32)
    assert mutual_information(joint).dtype == np.float64
    assert mutual_information(single).dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(mutual_information)(single), mutual_information(joint), atol=2e-7)
    np.testing.assert_allclose(jax.jit(entropy)(single[1]), entropy(joint[1]), atol=2e-7)


def test_gradients_are_finite_at_zeros():
    slope = jax.grad(lambda p: entropy(p))(jnp.array([0.0, 0.25, 0.75]))
    np.testing.assert_allclose(slope[1:], -1 - np.log([0.25, 0.75]), rtol=1e-6)
    assert np.isfinite(slope).all()


@given(tables((5,)), tables((5,)))
def test_entropies_of_one_and_two_distributions(p, q):
    surprise = self_information(p)
    assert np.isinf(surprise[p == 0]).all()
    assert entropy(p) == pytest.approx((p * np.where(p > 0, surprise, 0)).sum(), abs=1e-12)
    assert 0 <= entropy(p) <= math.log(5) + 1e-12
    assert cross_entropy(p, p) == pytest.approx(entropy(p), abs=1e-15)
    total = entropy(p) + kl_divergence(p, q)
    assert cross_entropy(p, q) == pytest.approx(total, abs=1e-12)
    assert cross_entropy(p, q) >= entropy(p) - 1e-12  # Gibbs


@given(tables((3,)), tables((4,)), tables((3,)), tables((4,)))
def test_independent_parts_add(p, q, r, s):
    assert entropy(np.outer(p, q).ravel()) == pytest.approx(entropy(p) + entropy(q), abs=1e-12)
    total = kl_divergence(p, r) + kl_divergence(q, s)
    assert kl_divergence(np.outer(p, q).ravel(), np.outer(r, s).ravel()) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("library", [np, jnp])
def test_nan_is_not_hidden(library):
    bad = library.array([[0.5, math.nan], [0.25, 0.25]])
    for measure in (entropy, mutual_information, lambda p: kl_divergence(p, p), self_information):
        assert library.isnan(measure(bad)).any()


@pytest.mark.parametrize("library", [np, jnp])
def test_small_marginals_do_not_underflow(library):
    small = library.array([[1e-30, 0], [0, 1]], library.float32)
    assert mutual_information(small) == pytest.approx(1e-30 * 30 * math.log(10), rel=1e-5)


def test_libraries_mix():
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    for pair in [(jnp.asarray(p), q), (p, jnp.asarray(q))]:
        assert kl_divergence(*pair) == pytest.approx(kl_divergence(p, q), rel=1e-6)
    assert jax.jit(lambda q: kl_divergence(p, q))(q) == pytest.approx(kl_divergence(p, q), rel=1e-6)


def test_every_measure_takes_units():
    joint = np.array([[0.4, 0.1], [0.2, 0.3]])
    p, q = joint
    for measure, args in [
        (self_information, (p,)),
        (entropy, (p,)),
        (cross_entropy, (p, q)),
        (kl_divergence, (p, q)),
        (mutual_information, (joint,)),
    ]:
        for unit, size in UNITS.items():
            np.testing.assert_allclose(measure(*args, units=unit) * size, measure(*args), rtol=1e-15)
        with pytest.raises(InputError, match="unknown unit"):
            measure(*args, units="bit")


def test_units():
    assert convert(math.log(8)) == pytest.approx(3)
    assert convert(math.log(1000), units="hartleys") == pytest.approx(3)
    assert convert(1.5, units="nats") == 1.5
    np.testing.assert_allclose(convert(np.array([LN2, 2 * LN2])), [1, 2])
    assert set(UNITS) == {"nats", "bits", "hartleys"}
    with pytest.raises(InputError, match="unknown unit 'bit': did you mean 'bits'"):
        convert(1.0, units="bit")
