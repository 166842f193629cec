"""Estimators by layer: each layer by its own, each information by its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.datasets import from_arrays
from ibjax.errors import InputError
from ibjax.estimators import Binning, ByLayer, LayerEstimator
from ibjax.plane import layer_information

DRAW = np.random.default_rng(0)
LAYERS = [DRAW.uniform(-1, 1, (64, width)).astype(np.float32) for width in (2, 1, 1)]
DATA = from_arrays(LAYERS[0], (LAYERS[0][:, 0] > 0).astype(int))
COARSE, FINE, FINER = Binning(bins=2), Binning(bins=8), Binning(bins=30)


def measured(estimator):
    return jax.jit(lambda layers: layer_information([estimator], layers, DATA))(LAYERS)


def test_each_layer_has_its_own_estimators_and_deeper_ones_the_last():
    found = measured(ByLayer((COARSE, FINER), (FINE,)))
    plain = {estimator: measured(estimator) for estimator in (COARSE, FINE, FINER)}
    wanted = [plain[estimator].complexity[0, depth] for depth, estimator in enumerate((COARSE, FINER, FINER))]
    np.testing.assert_array_equal(found.complexity[0], wanted)
    np.testing.assert_array_equal(found.relevance, plain[FINE].relevance)
    assert (plain[COARSE].complexity < plain[FINER].complexity).all()  # so that a mix-up would show


def test_without_estimators_of_the_label_both_are_the_same():
    for found, wanted in zip(measured(ByLayer((FINE,))), measured(FINE), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_it_is_a_layer_estimator_with_a_name():
    assert isinstance(ByLayer((FINE,)), LayerEstimator)
    assert str(ByLayer((COARSE, FINE), (FINER,))) == f"by-layer:{COARSE};{FINE}|{FINER}"
    assert str(ByLayer((COARSE,), name="by hand")) == "by hand"
    t = jnp.asarray(LAYERS[0])
    first = ByLayer((COARSE, FINE)).layer(t, DATA.labels, classes=2)
    np.testing.assert_array_equal(first, COARSE.layer(t, DATA.labels, classes=2))


def test_the_span_is_needed_if_one_needs_it():
    spanned = Binning(range="run")
    assert not ByLayer((FINE,), (COARSE,)).needs_span
    assert ByLayer((FINE,), (spanned,)).needs_span
    assert ByLayer((FINE,), (spanned,)).at(3).needs_span


def test_no_estimator_is_refused():
    with pytest.raises(InputError, match="at least one"):
        ByLayer(()).checked()
