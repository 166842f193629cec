"""What is claimed of the number of layers, on planted paths and in one small run."""

import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from planted import groups, planted_run, planted_sweep

from ibjax.errors import InputError
from ibjax.experiments import EXPERIMENTS, SZTDepth, run
from ibjax.experiments.szt_depth import HIDDEN, claims, depths_of, figure
from ibjax.training import snapshot_epochs

CONFIG = SZTDepth(replicas=10, epochs=3000, snapshots=100, depths=(1, 2, 3, 6))
EPOCHS = snapshot_epochs(CONFIG.epochs, CONFIG.snapshots)
TIME = np.log1p(EPOCHS)
PEAK = 100


def planted(
    *,
    exponent=-1.0,
    slowest=1000,
    gains=(0.0, 0.0, 0.02, 0.05),
    spread=0.1,
    luck=0.002,
    stuck=0,
    learn_late=False,
    seed=0,
):
    """Return a sweep of networks that converge at slowest layers^exponent.

    Args:
        exponent: of the number of layers.
        slowest: epochs of one layer; the others follow.
        gains: of the test accuracy from epoch 100 to the end, by depth.
        spread: of the log epochs, over replicas.
        luck: standard deviation over replicas of the gain.
        stuck: replicas at every depth whose test accuracy stays below 0.9.
        learn_late: the test accuracy is below 0.9 before a network converges.
        seed: of the noise.
    """
    random = np.random.default_rng(seed)
    runs = []
    for depth, gain, config in zip(CONFIG.depths, gains, groups(CONFIG), strict=True):
        when = slowest * depth**exponent * np.exp(spread * random.normal(size=config.replicas))
        # A jump: all at 0.2 before and at 0.95 from then on.
        relevance = np.where(when[:, None] <= EPOCHS, 0.95, 0.2)[..., None] * np.ones(depth + 1)
        complexity = np.interp(TIME, np.log1p([0, PEAK, 1500]), [4.0, 8.0, 3.0])[:, None] - 0.2 * np.arange(depth + 1)
        gained = gain + luck * random.normal(size=config.replicas)
        accuracy = np.stack([np.interp(TIME, np.log1p([0, PEAK, 1500]), [0.91, 0.93, 0.93 + own]) for own in gained])
        if learn_late:
            accuracy = np.where(when[:, None] <= EPOCHS, accuracy, 0.6)
        accuracy[:stuck] = 0.6
        arrays = {"relevance": relevance, "complexity": complexity, "test_accuracy": accuracy}
        runs.append(planted_run(config, arrays))
    return planted_sweep(CONFIG, runs)


def by_name(found):
    return {claim.name: claim for claim in claims(found)}


def test_what_the_study_says_is_reproduced_where_it_is_so():
    found = by_name(planted())
    assert {claim.verdict for claim in found.values()} == {"reproduced"}
    assert found["exponent-output"].estimate.value == pytest.approx(-1.0, abs=0.1)
    assert found["deepest-sooner-hidden"].estimate.value == pytest.approx(1 / 6, abs=0.05)
    assert found["gain-when-deep"].estimate.value == pytest.approx(0.05, abs=0.005)
    assert found["no-gain-with-one-layer"].estimate.value == pytest.approx(0.0, abs=0.005)


def test_what_is_not_so_is_refuted():
    found = by_name(planted(exponent=0.8, slowest=100, gains=(0.05, 0.05, 0.0, 0.0)))
    for name in ("fewer-epochs", "deepest-sooner", "exponent"):
        assert found[f"{name}-output"].verdict == "refuted"
    assert found["no-gain-with-one-layer"].verdict == found["gain-when-deep"].verdict == "refuted"
    assert found["power-law-output"].verdict == "reproduced"


def test_noise_is_inconclusive():
    found = by_name(planted(exponent=-0.3, slowest=300, spread=1.0, gains=(0.01, 0.0, 0.0, 0.01), luck=0.01))
    for name in ("exponent-output", "no-gain-with-one-layer", "gain-when-deep"):
        assert found[name].verdict == "inconclusive"


def test_networks_that_do_not_get_there_are_no_numbers():
    # The accuracy of two in ten is too low: they are censored, and the medians move by two ranks.
    some = depths_of(planted(stuck=2))
    assert np.isinf(some.epoch["output"][:, :2]).all()
    assert np.isfinite(some.epoch["output"][:, 2:]).all()
    assert all(np.isfinite(median.value) for median in some.medians["output"])
    # Of nine in ten: no median and no law.
    most = planted(stuck=9)
    assert all(np.isinf(median.value) for median in depths_of(most).medians["output"])
    found = by_name(most)
    assert np.isnan(found["exponent-output"].estimate.value)
    assert np.isnan(found["deepest-sooner-output"].estimate.value)
    assert found["exponent-output"].verdict == found["deepest-sooner-output"].verdict == "inconclusive"


def test_a_shallow_network_beyond_the_run_leaves_a_bound():
    # One layer takes twice the run; six a third of it.
    found = by_name(planted(slowest=6000, learn_late=True))
    ratio = found["deepest-sooner-output"].estimate
    assert ratio.value == pytest.approx(1000 / 3000, rel=0.1)
    assert ratio.low == 0.0
    assert found["deepest-sooner-output"].verdict == "reproduced"
    assert depths_of(planted(slowest=6000, learn_late=True)).line["output"].used.tolist() == [False, False, True, True]


def test_depths_that_there_are_no_widths_for():
    with pytest.raises(InputError, match="depths must be from 1 to 6, got 7"):
        SZTDepth(depths=(1, 7))


def test_the_presets_are_the_study_s():
    presets = EXPERIMENTS["szt-depth"].presets
    assert (presets["paper"].replicas, presets["paper"].epochs) == (50, 10_000)
    assert [group.widths for group in groups(presets["paper"])] == [(12, *HIDDEN[depth], 2) for depth in range(1, 7)]


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_small_run_is_judged_and_drawn(tmp_path):
    config = dataclasses.replace(CONFIG, replicas=2, epochs=2, batch_size=1024, depths=(1,), chunk_size=2)
    found = run(config, tmp_path, progress=False)
    assert found["widths"].values.tolist() == ["12-10-2"]
    assert {claim.verdict for claim in claims(found.load())} <= {"reproduced", "refuted", "inconclusive"}
    for results in (found, planted(slowest=6000, learn_late=True)):
        FigureCanvasAgg(figure(results)).draw()
