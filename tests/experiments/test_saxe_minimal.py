"""The one-unit network against integrals and samples."""

import numpy as np
import pytest
import scipy.special

from ibjax.errors import InputError
from ibjax.experiments import SaxeMinimal, run
from ibjax.experiments.saxe_minimal import binned_information, claims
from ibjax.networks import ACTIVATIONS


def by_hand(activation, weight, edges, points=200_001):
    """H of the bins by summing the normal density on a fine grid."""
    x = np.linspace(-9, 9, points)
    t = np.asarray(ACTIVATIONS[activation](weight * x), np.float64)
    p = np.exp(-(x**2) / 2)
    mass = np.bincount(np.searchsorted(edges[1:-1], t, side="right"), p / p.sum(), len(edges) - 1)
    mass = mass[mass > 0]
    return -(mass * np.log(mass)).sum()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("weight", [0.2, 3.0])
def test_the_information_is_the_integral(activation, weight):
    low, high = (-1.0, 1.0) if activation in ("tanh", "softsign") else (-0.3, 3.0)
    edges = np.linspace(low, high, 13) + 1e-4  # no edge on a flat part
    found = binned_information(activation, np.array([weight]), edges)
    assert found[0] == pytest.approx(by_hand(activation, weight, edges), abs=3e-4)


def test_tanh_by_its_formula():
    edges, weight = np.linspace(-1, 1, 31), 1.7
    p = np.diff(scipy.special.ndtr(np.r_[-np.inf, np.arctanh(edges[1:-1]), np.inf] / weight))
    assert binned_information("tanh", np.array([weight]), edges)[0] == pytest.approx(-(p * np.log(p)).sum(), rel=1e-12)


def test_bins_are_closed_below():
    # relu of half of all x is exactly 0, which is in the bin that begins there
    assert binned_information("relu", np.array([1.0]), np.array([-1.0, 0.0, 1e9]))[0] == pytest.approx(0.0, abs=1e-12)


def test_claims_can_fail():
    config = SaxeMinimal(activations=("tanh", "relu"), weights=20, largest_weight=0.5)
    found = {claim.name: claim.verdict for claim in claims(run(config, progress=False))}
    assert found["tanh"] == "refuted"  # not saturated yet
    assert found["one-bit"] == "refuted"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"activations": ("tahn",)}, "did you mean 'tanh'"),
        ({"bins": 1}, "bins must be 2"),
        ({"weights": 1}, "weights 2 or more"),
        ({"largest_weight": 0.0}, "largest_weight must be above"),
    ],
)
def test_settings_that_make_no_sense(changes, text):
    with pytest.raises(InputError, match=text):
        SaxeMinimal(**changes)
