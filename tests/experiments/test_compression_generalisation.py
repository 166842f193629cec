"""Verdicts on planted networks, and one group that is trained."""

import dataclasses
import itertools
import json
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
import xarray as xr

from ibjax.datasets import subset
from ibjax.errors import InputError
from ibjax.experiments import CompressionGeneralisation, compression_generalisation, run, study_of, szt
from ibjax.experiments.compression_generalisation import (
    EARLY,
    INTERVENTIONS,
    claims,
    effects,
    figure,
    halves,
    networks,
)
from ibjax.sweep import grid, trained_parameters

REPLICAS, BINNING = 6, "binning:rule=width,width=0.07"
FRACTIONS = (0.1, 0.2, 0.4, 0.8)


def planted(group, *, sign: float, effect: float, seed: int) -> xr.Dataset:
    """Networks whose fall of I(X;T) moves with (sign -1) or against (1) their gap, or has nothing to do with it (0)."""
    config = group.config
    random = np.random.default_rng(seed)
    plane = synthetic.make_plane(REPLICAS, 60, 3, estimators=(BINNING,), noise=0.0)
    time = np.log10(1 + plane["epoch"].values)
    own = np.linspace(-1, 1, REPLICAS)
    base = 1 - config.fraction
    gap = 0.1 * base + 0.02 * own + {"label noise": 0.05, "weight decay": -0.02}.get(config.intervention, 0.0) * effect
    fall = 2 + sign * 10 * (gap - 0.1) if sign else 2 + random.permutation(own)
    if not sign:
        fall = np.full(REPLICAS, 2.0) + 0.1 * random.standard_normal(REPLICAS)
    fall = fall + {"weight decay": 1.0, "label noise": -1.0}.get(config.intervention, 0.0) * effect
    rise, drop = np.clip(time / 2, 0, 1), np.clip(time - 2.5, 0, 1)
    path = 6 + 3 * rise[None, :] - fall[:, None] * drop
    path = path[None, :, :, None] + 0.001 * random.standard_normal((1, REPLICAS, time.size, 3))
    snr = 10 ** (-1 + 20 * (gap - 0.1) * (sign != 0) + 0.05 * random.standard_normal(REPLICAS) * (sign == 0))
    ratio = snr[:, None] * (1 + 2 / (1 + (plane["epoch"].values / 300.0) ** 2))
    accuracy = np.ones((REPLICAS, time.size))
    curve, layered = ("replica", "snapshot"), ("replica", "snapshot", "layer")
    found = plane.assign(
        complexity=(plane["complexity"].dims, path * np.log(2)),
        train_accuracy=(curve, accuracy),
        test_accuracy=(curve, accuracy - gap[:, None]),
        early_stop=("replica", np.full(REPLICAS, float(np.abs(time - 2.0).argmin()))),
        gradient_mean=(layered, np.repeat(ratio[:, :, None], 3, axis=2)),
        gradient_std=(layered, np.ones((REPLICAS, time.size, 3))),
    )
    stored = {name: getattr(config, name) for name in ("activation", "widths", "fraction", "intervention")}
    stored |= {"replicas": REPLICAS, "chunk_size": REPLICAS}
    names = [str(name) for name in plane["layer_name"].values]
    attrs = {"config": json.dumps(stored), "estimators": json.dumps([BINNING]), "layer_names": json.dumps(names)}
    return found.assign_attrs(attrs, updates_per_epoch=5)


class Planted(NamedTuple):
    """Results whose runs are given, without the cost of joining them."""

    found: xr.Dataset
    runs: list[tuple[dict, xr.Dataset]]


def sweep(sign: float = 1.0, effect: float = 1.0) -> Planted:
    axes = {"activation": ["tanh"], "widths": [(12, 4, 2)], "fraction": FRACTIONS, "intervention": INTERVENTIONS}
    groups = grid.expand(CompressionGeneralisation(), grid.Grid(axes))[1]
    runs = [({}, planted(group, sign=sign, effect=effect, seed=n)) for n, group in enumerate(groups)]
    return Planted(runs[0][1], runs)


def of(planted: Planted, function, *arguments):
    with mock.patch.object(compression_generalisation, "runs_of", return_value=planted.runs):
        return function(planted.found, *arguments)


@pytest.fixture(scope="module")
def with_the_theory():
    return sweep(sign=-1.0)


def verdicts(found: Planted) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in of(found, claims)}


def test_a_planted_order_is_reproduced(with_the_theory):
    found = verdicts(with_the_theory)
    for where in ("all networks", "settings held fixed"):
        assert found[f"compression, {where}, {BINNING}"] == "reproduced"
        assert found[f"snr, {where}"] == "reproduced"
    assert found[f"full batch, compression, {BINNING}"] == found["full batch, gap"] == "reproduced"
    assert found[f"weight decay, compression, {BINNING}"] == found["weight decay, gap"] == "reproduced"
    assert found[f"label noise, compression, {BINNING}"] == found["label noise, gap"] == "reproduced"
    assert found[f"{EARLY}, compression, {BINNING}"] == found[f"{EARLY}, gap"] == "reproduced"


def test_the_opposite_order_is_refuted():
    found = verdicts(sweep(sign=1.0, effect=0.0))
    for where in ("all networks", "settings held fixed"):
        assert found[f"compression, {where}, {BINNING}"] == "refuted"
    assert found[f"weight decay, compression, {BINNING}"] == "refuted"
    assert found["label noise, gap"] == "refuted"


def test_no_order_is_not_reproduced():
    found = verdicts(sweep(sign=0.0))
    assert found[f"compression, settings held fixed, {BINNING}"] in ("inconclusive", "refuted")
    assert found["snr, settings held fixed"] in ("inconclusive", "refuted")


def test_networks_have_what_was_planted(with_the_theory):
    nets = of(with_the_theory, networks, BINNING)
    groups = len(FRACTIONS) * len(INTERVENTIONS)
    assert nets.gap.size == REPLICAS * (groups + len(FRACTIONS))  # and early stopping once for each without
    plain = (nets.intervention == "none") & (nets.fraction == 0.4) & (nets.activation == "tanh")
    gap = 0.06 + 0.02 * np.linspace(-1, 1, REPLICAS)
    np.testing.assert_allclose(nets.gap[plain], gap, atol=1e-5)
    np.testing.assert_allclose(nets.compression[plain], 2 - 10 * (gap - 0.1), atol=0.02)
    steps = 10 ** nets.transition[plain]
    assert ((steps > 5 * 150) & (steps < 5 * 600)).all()
    # A network differs from itself by the effect alone.
    changes = effects(nets)
    np.testing.assert_allclose(changes["label noise"][1], 0.05, atol=1e-5)
    assert changes[EARLY][0].value == pytest.approx(-nets.compression[nets.intervention == "none"].mean(), abs=0.05)


@pytest.mark.filterwarnings("error")
def test_the_figure_draws(with_the_theory):
    drawn = of(with_the_theory, figure)
    drawn.canvas.draw()
    compression, snr, *_ = drawn.axes
    total = len(FRACTIONS) * len(INTERVENTIONS) * REPLICAS
    for axes in (compression, snr):
        assert sum(len(line.get_xdata()) for line in axes.lines) == total


def test_interventions_change_what_they_say():
    base = CompressionGeneralisation(fraction=0.1, batch_size=64, epochs=10)
    made = {name: study_of(CompressionGeneralisation(fraction=0.1, batch_size=64, epochs=10, intervention=name))
            for name in INTERVENTIONS}  # fmt: skip
    plain = made["none"]
    assert (plain.config.batch_size, plain.config.epochs) == (64, 10)
    assert (made["full batch"].config.batch_size, made["full batch"].config.epochs) == (None, 10 * 7)  # of 410 samples
    assert made["weight decay"].config.optimizer == "adamw"
    assert made["weight decay"].config.weight_decay == base.weight_decay
    for one, other in itertools.pairwise(made.values()):
        np.testing.assert_array_equal(one.data.train.x, other.data.train.x)
    assert (made["label noise"].data.train.y != plain.data.train.y).any()


def test_validation_and_test_are_apart():
    base = CompressionGeneralisation(fraction=0.4)
    whole = szt.study(base).data.test
    validation, test = halves(whole, base.seed)
    rows = [
        set(map(bytes, np.asarray(part.x, np.uint8))) for part in (validation, test, whole, study_of(base).data.test)
    ]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == rows[2]
    assert rows[3] == rows[1]
    assert abs(len(validation) - len(test)) <= 1
    # Neither half is the even patterns.
    assert 0.4 < np.mean(np.asarray(validation.x)[:, -1]) < 0.6
    with pytest.raises(InputError, match="fewer than two patterns"):
        halves(subset(whole, np.arange(1), "one"), 0)


@pytest.mark.slow
def test_a_group_is_trained_and_judged(tmp_path):
    config = CompressionGeneralisation(
        replicas=2, epochs=2, batch_size=512, chunk_size=2, activations=("tanh",), shapes=((12, 3, 2),),
        fractions=(0.25,), interventions=("none",),
    )  # fmt: skip
    found = run(config, tmp_path, progress=False).load()
    assert dict(found.sizes)["intervention"] == 1
    assert len(networks(found, BINNING).gap) == 4
    # Early stopping is where the loss on the validation half is lowest, as recomputed here.
    own = dataclasses.replace(config, widths=(12, 3, 2), fraction=0.25)
    study, (validation, _) = study_of(own), halves(szt.study(own).data.test, own.seed)
    losses = []
    for snapshot in range(len(study.epochs)):
        folder = next((tmp_path / "groups").iterdir())
        losses.append([])
        for params in trained_parameters(study, folder, snapshot):
            logits = study.functional.apply(params, jnp.asarray(validation.x))[0]
            picked = jax.nn.log_softmax(logits)[np.arange(len(validation)), validation.y]
            losses[-1].append(-float(picked.mean()))
    np.testing.assert_array_equal(found["early_stop"].values.ravel(), np.argmin(losses, axis=0))
    assert all(claim.preliminary for claim in claims(found))
    figure(found).canvas.draw()


@pytest.mark.usefixtures("unchecked")
def test_settings_that_make_no_sense():
    with pytest.raises(InputError, match="unknown intervention 'full': "):
        CompressionGeneralisation(interventions=("full",))
    with pytest.raises(InputError, match=r"fractions must lie between 0 and 1, got .* a gap needs a test set"):
        CompressionGeneralisation(fractions=(0.5, 1.0))
