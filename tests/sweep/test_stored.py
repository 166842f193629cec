"""Activations of stored parameters are those of the network, replica by replica."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.sweep import over_snapshots, stored_layers, trained_parameters


def test_they_are_the_network_s(small, whole):
    study = small.study()
    first, last = (list(stored_layers(study, whole, snapshot)) for snapshot in (0, -1))
    assert len(first) == len(last) == 5
    assert [t.shape for t in first[0]] == [(48, 3), (48, 2)]
    assert any((a[0] != b[0]).any() for a, b in zip(first, last, strict=True))
    means = list(stored_layers(study, whole, -1, lambda layers, x: (layers[0].mean(), x.sum())))
    np.testing.assert_allclose([float(m[0]) for m in means], [t[0].mean() for t in last], rtol=1e-5)
    assert float(means[0][1]) == pytest.approx(float(jnp.sum(small.data.measured.x)), abs=1e-3)
    assert isinstance(jax.tree.leaves(last[0])[0], np.ndarray)


def test_snapshots_that_are_not_there(small, whole):
    with pytest.raises(InputError, match="snapshot must be from -5 to 4, got 5"):
        next(stored_layers(small.study(), whole, 5))


def test_parameters_and_statistics_are_those_of_the_layers(small, whole):
    study = small.study()
    layers = list(stored_layers(study, whole, -1))
    x = jnp.asarray(study.data.measured.x)
    for params, own in zip(trained_parameters(study, whole), layers, strict=True):
        for found, wanted in zip(study.functional.apply(params, x)[1], own, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    largest = over_snapshots(study, whole, lambda layers: layers[0].max())
    assert largest.shape == (5, len(study.epochs))
    np.testing.assert_allclose(largest[:, -1], [t[0].max() for t in layers], rtol=1e-5)
    with pytest.raises(InputError, match="snapshot must be from"):
        next(trained_parameters(study, whole, -9))
