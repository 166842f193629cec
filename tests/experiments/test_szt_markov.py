"""The chain of layers: verdicts on planted errors, probes of known tasks, one tiny run, and the figure of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic

from ibjax.errors import InputError
from ibjax.experiments import SZTMarkov, judge, run
from ibjax.experiments.szt_markov import EXPERIMENT, PRESETS, channels, probe
from ibjax.plane import binned_encoder

STAGES = np.arange(7)
TINY = SZTMarkov(replicas=2, epochs=2, batch_size=1024, widths=(12, 2, 2, 2), snapshots=3, probes=2, bins=6, refined=1)


def planted(replicas=14, *, first=0.4 + 0.01 * STAGES, last=0.15 - 0.02 * STAGES, gap=0.001, deeper=False):
    """A run with these errors of probes at its start and end, and this gap of the chain in bits."""
    rng = np.random.default_rng(0)
    plane = synthetic.make_plane(replicas, 10, noise=0.1)
    if deeper:  # the layers the other way round
        plane["complexity"] = plane["complexity"].copy(data=plane["complexity"].values[..., ::-1])
    error = np.linspace(first, last, 3) + 0.001 * rng.standard_normal((replicas, 3, 7))
    chain = gap * np.log(2) * (1 + 0.1 * rng.random((replicas, 6)))
    chain[replicas // 2 :] = np.nan
    chained = {f"chain_{name}": (("replica", "layer"), chain) for name in ("complexity", "gap", "lagrangian_gap")}
    return plane.assign(chained).assign(
        probe_error=(("replica", "probe", "stage"), error),
        probe_epoch=(("probe",), plane["epoch"].values[[0, 5, -1]]),
        least_error=((), 0.001),
    )


TRUE = planted()


def verdicts(found):
    return {claim.name: claim.verdict for claim in EXPERIMENT.claims(found)}


def test_true_claims_are_reproduced():
    found = EXPERIMENT.claims(TRUE)
    assert {claim.verdict for claim in found} == {"reproduced"}
    assert all(claim.preliminary for claim in found)
    assert {claim.name: claim.rule.low for claim in found}["encoder-takes-over"] == 0.02
    assert {claim.name: claim.rule.high for claim in found}["refinement"] == 0.02


def test_false_claims_are_refuted():
    harder = 0.15 + 0.02 * STAGES
    found = verdicts(planted(first=harder, last=harder, gap=0.1, deeper=True))
    assert set(found.values()) == {"refuted"}


def test_what_is_not_known_is_inconclusive():
    found = verdicts(planted(1))
    assert {found[name] for name in ("encoder-takes-over", "by-training", "refinement")} == {"inconclusive"}
    unsure = verdicts(planted(3, last=np.full(7, 0.13) - 0.02 * (STAGES == 5)))
    assert unsure["encoder-takes-over"] == "inconclusive"


def test_a_probe_is_least_squares():
    rng = np.random.default_rng(0)
    h = rng.normal(size=(300, 4)).astype(np.float32) * [1, 10, 0.1, 1] + [0, 5, 0, 1]
    p = 1 / (1 + np.exp(-3 * (h[:, 0] + h[:, 3] - 1)))
    y = rng.random(300) < p
    train, test = np.arange(200), np.arange(200, 300)
    rows = np.stack([1 - p, p], axis=1).astype(np.float32)
    signs = 2.0 * y[train] - 1
    measure = jax.jit(lambda units: probe(units, jnp.asarray(signs, jnp.float32), jnp.asarray(rows), train, test))
    found = measure(h.astype(np.float32))
    design = np.column_stack([h, np.ones(300)])
    weights = np.linalg.lstsq(design[train], signs, rcond=None)[0]
    said = (design[test] @ weights > 0).astype(int)
    assert float(found) == pytest.approx(1 - rows[test, said].mean(), abs=1e-6)
    # Copies and constants change nothing; units that say nothing leave the majority.
    more = np.column_stack([h, h[:, 0], np.full(300, 3.0)]).astype(np.float32)
    assert float(measure(more)) == pytest.approx(float(found), abs=1e-6)
    nothing = measure(np.ones((300, 4), np.float32))
    assert float(nothing) == pytest.approx(rows[test, int(signs.mean() <= 0)].mean(), abs=1e-6)


def test_channels_of_functions_are_the_chain_itself():
    rng = np.random.default_rng(0)
    first = rng.integers(6, size=64)
    encoders = [np.eye(6)[first], np.eye(3)[first // 2]]
    made = channels(encoders)
    np.testing.assert_allclose(made[0] @ made[1], encoders[1])
    mixed = channels([binned_encoder(rng.random((64, 1)), bins=4), binned_encoder(rng.random((64, 1)), bins=4)])
    np.testing.assert_allclose(mixed[1].sum(axis=1), 1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("szt-markov")
    return folder, run(TINY, folder, progress=False).load()


@pytest.mark.slow
def test_a_tiny_run(tiny):
    folder, found = tiny
    assert found["probe_error"].dims == ("replica", "probe", "stage")
    assert found["probe_error"].shape == (2, 2, 4)
    assert found["probe_epoch"].values.tolist() == [0, 2]
    error = found["probe_error"].values
    assert (error[:, :, 0] == error[0, 0, 0]).all()  # X is the same to all
    assert 0.05 < error[0, 0, 0] < 0.2
    assert (error >= float(found["least_error"])).all()
    assert found["chain_gap"].notnull().values.tolist() == [[True] * 3, [False] * 3]
    assert (found["chain_gap"][0] > -1e-6).all()
    assert "config" in found.attrs
    assert [claim.name for claim in judge(folder)] == [claim.name for claim in EXPERIMENT.claims(found)]


def test_figures_draw(tiny, tmp_path):
    for name, found in (("planted", TRUE), ("tiny", tiny[1])):
        figure = EXPERIMENT.figure(found)
        figure.savefig(tmp_path / f"{name}.png", dpi=40)
        assert [axes.get_ylabel() for axes in figure.axes[:2]] == [
            "I(X;T) (bits)",
            "error of a linear probe, test patterns",
        ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "relu"}, "unknown activation with a range of -1 to 1 'relu'"),
        ({"gamma": None}, "gamma must be a number: hard labels have a curve without a bend"),
        ({"measure_on": "train"}, "measure_on must be 'all', the table that the curves are of, got 'train'"),
        ({"widths": (12, 2)}, r"widths must name a hidden layer, got \(12, 2\)"),
        ({"fraction": 1.0}, "fraction must leave test patterns for the probes"),
        ({"probes": 1}, "probes must be 2 or more, got 1"),
        ({"refined": -1}, "refined must be 0 or more, got -1"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(InputError, match=message) as raised:
        SZTMarkov(**changes)
    assert "\n" not in str(raised.value)


def test_the_presets():
    assert next(iter(PRESETS)) == "paper"
    assert (PRESETS["paper"].replicas, PRESETS["paper"].epochs, PRESETS["idnns"].gamma) == (50, 10_000, 8.0)
