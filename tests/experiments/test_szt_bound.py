"""Layers against the curve: verdicts on planted layers, one tiny run, and the figure of both."""

import dataclasses
import json

import numpy as np
import pytest
import synthetic
from scipy.special import entr
from scipy.stats import kstest

from ibjax.bottleneck import curve, transitions
from ibjax.datasets import szt
from ibjax.errors import InputError
from ibjax.experiments import SZTBound, judge, run
from ibjax.experiments.experiment import runs_of
from ibjax.experiments.szt_bound import EXPERIMENT, PRESETS, bifurcations, by_chance, of_layers, study
from ibjax.sweep.grid import Axis, Group
from ibjax.sweep.joined import join

BIT = np.log(2)
DEPTH = np.arange(6)
TINY = SZTBound(replicas=2, epochs=2, batch_size=1024, widths=(12, 2, 2, 2), snapshots=3, gammas=(8.0,))


def planted(replicas=40, *, near=0.1, below=0.01, betas=40 / 2.0**DEPTH, error=0.1, least=0.5, gap=0.01, bound=0.5):
    """Results of one gamma whose layers are so far from the curve, with these betas, errors and bounds; bits."""
    rng = np.random.default_rng(0)
    plane = synthetic.make_plane(replicas, 10, noise=0.3)
    own = rng.random(replicas)
    errors = error * (1 + 0.1 * own)
    shape = 2, replicas, 6
    kept = np.broadcast_to((11 - 1.5 * DEPTH) * BIT, shape) + 0.1 * own[:, None]
    # The last hidden layer forces a share `least` of the error.
    forced = entr(least * errors) + entr(1 - least * errors)
    told = np.broadcast_to(BIT - forced[:, None], shape)
    noise = 1 + 0.01 * rng.standard_normal(shape)
    rate = np.linspace(0, 12 * BIT, 257)
    best = BIT * (1 - np.exp(-rate))
    layered = ("softness", "replica", "layer")
    derived = {
        "encoder_complexity": (layered, kept),
        "encoder_relevance": (layered, told),
        "lagrangian_gap": (layered, near * BIT * noise),
        "gap": (layered, below * BIT * noise),
        **{f"beta_{name}": (layered, betas * noise) for name in ("complexity", "relevance", "one_step")},
        "curve_complexity": (("point",), rate),
        "curve_lower": (("point",), best),
        "curve_upper": (("point",), best),
        "transition_beta": (("transition",), np.array([1.0, 2.5, 5.0, 10.0, 20.0, 45.0, np.nan])),
        "expected_error": (("replica",), errors),
        "sample_relevance": (("replica",), told[0, :, -2] + 0.01),
        "finite_sample_bound": (("replica",), np.full(replicas, bound * BIT)),
        "label_entropy": ((), BIT),
        "training_samples": ((), 3277.0),
    }
    accuracy = 1 - errors + gap * (1 + own)
    plane["train_accuracy"] = ("replica", "snapshot"), np.repeat(accuracy[:, None], plane.sizes["snapshot"], axis=1)
    size = {"replicas": replicas, "chunk_size": replicas}
    plane.attrs |= {
        "config": json.dumps(size),
        "estimators": json.dumps([synthetic.BINNING]),
        "layer_names": json.dumps(plane["layer_name"].values.tolist()),
    }
    found = join([Axis("gamma", {"gamma": (0.3,)})], [(Group((0,), {"gamma": 0.3}, None), plane)], {}, {}, None).load()
    parts = {name: (("gamma", *dims), np.asarray(values)[None]) for name, (dims, values) in derived.items()}
    return found.assign(parts).assign_coords(softness=[0.0, 0.5])


def verdicts(found):
    return {claim.name.removesuffix("-0.3"): claim.verdict for claim in EXPERIMENT.claims(found)}


TRUE = planted()
FALSE = planted(near=0.7, below=0.2, betas=1.25 * 2.0**DEPTH, least=1.5, gap=0.3, bound=0.001)
USELESS = planted(betas=np.array([30.0, 14.1, 7.07, 3.5, 1.58, 1.58]), least=0.2, bound=3.0)
FALLS = {f"beta-falls-{by}" for by in ("complexity", "relevance", "one-step")}


def test_true_claims_are_reproduced():
    found = EXPERIMENT.claims(TRUE)
    assert {claim.name for claim in found if claim.verdict != "reproduced"} == set()
    assert all(claim.preliminary for claim in found)  # 40 replicas, where the study has 50
    # The docstring's margins.
    rules = {claim.name.removesuffix("-0.3"): claim.rule for claim in found}
    assert (rules["near-curve"].high, rules["little-below"].high) == (0.5, 0.05)
    assert (rules["beta-falls-relevance"].high, rules["fano-holds"].low) == (-0.5, 0.9)


def test_false_claims_are_refuted():
    found = verdicts(FALSE)
    wrong = {"near-curve", "little-below", *FALLS, "fano-holds", "compression-holds", "finite-sample-holds"}
    assert {name for name in wrong if found[name] != "refuted"} == set()
    assert found["finite-sample-informs"] == "reproduced"


def test_bounds_that_hold_and_say_little_are_told_apart():
    found = verdicts(USELESS)
    assert {found[name] for name in ("at-bifurcations", "fano-informs", "finite-sample-informs")} == {"refuted"}
    assert {found[name] for name in ("fano-holds", "finite-sample-holds")} == {"reproduced"}


def test_what_is_not_known_is_inconclusive():
    found = verdicts(planted(5, betas=np.full(6, np.inf)))
    assert {found[name] for name in (*FALLS, "at-bifurcations", "fano-holds")} == {"inconclusive"}


def test_nearness_is_uniform_by_chance():
    rng = np.random.default_rng(0)
    places = np.array([1.0, 1.5, 8.0, 64.0])
    found = by_chance(np.exp(rng.uniform(0, np.log(64), (200, 50))), places)
    assert kstest(found.ravel(), "uniform").pvalue > 0.01
    assert np.isnan(by_chance(np.array([[0.5, 65.0, np.inf, np.nan]]), places)).all()
    assert np.isnan(by_chance(np.array([[2.0]]), np.array([1.0, np.nan]))).all()


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.3, 8.0])
def test_bifurcations_are_the_transitions(gamma):
    data = szt(gamma=gamma)
    table = np.full(4096, 1 / 4096), np.asarray(data.p_y_given_x)
    known = [one.beta for one in transitions(table)]
    np.testing.assert_allclose(bifurcations(curve(table))[1], known, rtol=2e-3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("szt-bound")
    return folder, run(TINY, folder, progress=False).load()


@pytest.mark.slow
def test_a_tiny_run(tiny):
    folder, found = tiny
    assert found.sizes["gamma"] == 1
    [(settings, plane)] = runs_of(found)
    assert settings == {"gamma": 8.0}
    assert plane.attrs["title"].startswith("12-bit task, gamma 8")
    # Hard encoders are what the plane's estimator measured.
    for name in ("complexity", "relevance"):
        measured = plane[name].isel(estimator=0, snapshot=-1).transpose("replica", "layer").values
        np.testing.assert_allclose(of_layers(plane, f"encoder_{name}", 0), measured, atol=2e-5)
    assert (of_layers(plane, "encoder_complexity", 1) < of_layers(plane, "encoder_complexity", 0)).all()
    for kind in (0, 1):
        assert (of_layers(plane, "gap", kind) > -1e-6).all()
        assert (of_layers(plane, "lagrangian_gap", kind) > 0).all()
        assert (of_layers(plane, "beta_relevance", kind) >= 1).all()
    assert (plane["curve_upper"] >= plane["curve_lower"] - 1e-9).all()
    assert plane["label_entropy"] == pytest.approx(BIT, abs=1e-3)
    # Errors under p(y|x) and those of the labels that were drawn differ by the draw alone.
    drawn = 1 - plane["test_accuracy"].isel(snapshot=-1).values
    np.testing.assert_allclose(plane["expected_error"], drawn, atol=0.03)
    assert [claim.name for claim in judge(folder)] == [claim.name for claim in EXPERIMENT.claims(found)]
    again = run(TINY, folder, resume=True, progress=False)
    np.testing.assert_array_equal(again["beta_one_step"], found["beta_one_step"])


def test_figures_draw(tiny, tmp_path):
    for name, found in (("planted", TRUE), ("tiny", tiny[1])):
        figure = EXPERIMENT.figure(found)
        figure.savefig(tmp_path / f"{name}.png", dpi=40)
        assert [axes.get_ylabel() for axes in figure.axes] == [
            "I(T;Y) (bits)", "β of the layer", "error on held-out patterns", "held-out minus training error",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "relu"}, "unknown activation with a range of -1 to 1 'relu'"),
        ({"measure_on": "test"}, "measure_on must be 'all', the table that the curve is of, got 'test'"),
        ({"widths": (12, 2)}, r"widths must name a hidden layer, got \(12, 2\)"),
        ({"gammas": ()}, r"gammas must name positive numbers, got \(\)"),
        ({"gammas": (0.3, -1.0)}, r"gammas must name positive numbers, got \(0.3, -1.0\)"),
        ({"bins": 1}, "bins must be 2 or more, got 1"),
        ({"softness": 0.0}, "softness must be positive, in bins, got 0.0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(InputError, match=message) as raised:
        SZTBound(**changes)
    assert "\n" not in str(raised.value)


def test_the_presets():
    assert next(iter(PRESETS)) == "paper"
    assert (PRESETS["paper"].replicas, PRESETS["paper"].epochs, PRESETS["paper"].gammas) == (50, 10_000, (0.3, 8.0))
    assert study(dataclasses.replace(TINY, gamma=8.0)).keeps_parameters
