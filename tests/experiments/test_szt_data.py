"""What is claimed of the size of the training set, on planted paths and in one small run."""

import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from planted import groups, planted_run, planted_sweep

from ibjax.errors import InputError
from ibjax.experiments import EXPERIMENTS, SZTData, run
from ibjax.experiments.szt_data import claims, figure, shares_of
from ibjax.training import snapshot_epochs

CONFIG = SZTData(replicas=15, epochs=3000, snapshots=100, fractions=(0.05, 0.25, 0.45, 0.85), widths=(12, 5, 4, 3, 2))
TIME = np.log1p(snapshot_epochs(CONFIG.epochs, CONFIG.snapshots))


def bump(rise, top, end):
    """Rise by epoch 100 to ``top``, stay to epoch 400 and be at ``end`` from epoch 2000."""
    return np.interp(TIME, np.log1p([0, 100, 400, 2000]), [rise, top, top, end])


def planted(*, fall=0.3, stop=200, grow=0.1, spread=0.1, noise=0.01, seed=0):
    """Return a sweep in which I(T;Y) falls by ``fall`` at the smallest share, and by less with more data.

    Args:
        fall: of I(T;Y) in bits.
        stop: epoch of the lowest test loss and of the highest accuracy.
        grow: of the final I(T;Y) from one share to the next.
        spread: of the final I(X;T), likewise.
        noise: of replicas in bits.
        seed: of the noise.
    """
    random = np.random.default_rng(seed)
    runs = []
    for place, config in enumerate(groups(CONFIG)):
        end = 0.4 + grow * place
        falls = bump(0.1, end + (fall if place == 0 else 0.0), end)
        compresses = bump(5.0, 8.0, 4.0 + spread * place)
        own = noise * random.normal(size=(2, config.replicas, TIME.size, 4))
        far = np.abs(TIME - np.log1p(stop))[None, :]
        runs.append(
            planted_run(
                config,
                {
                    "relevance": falls[:, None] + own[0],
                    "complexity": compresses[:, None] + own[1],
                    "test_loss": 0.3 + 0.1 * far + 0.1 * own[0, ..., 0],
                    "test_accuracy": 0.9 - 0.05 * far + 0.1 * own[1, ..., 0],
                },
            )
        )
    return planted_sweep(CONFIG, runs)


def verdicts(found):
    return {claim.name: claim.verdict for claim in claims(found)}


def test_what_the_study_says_is_reproduced_where_it_is_so():
    found = planted()
    assert set(verdicts(found).values()) == {"reproduced"}
    assert all(claim.preliminary for claim in claims(found))
    by_name = {claim.name: claim.estimate.value for claim in claims(found)}
    assert by_name["falls-with-little-data"] == pytest.approx(0.3, abs=0.02)
    assert by_name["during-compression"] == pytest.approx(4.0, abs=0.1)
    assert by_name["complexity-hardly-changes"] == pytest.approx(0.3, abs=0.02)
    # A tenth of the fall, in log epochs, from 400 to 2000.
    onset = np.exp(0.9 * np.log(401) + 0.1 * np.log(2001))
    assert by_name["early-stop-by-loss"] == pytest.approx(np.log2(201 / onset), abs=0.25)


def test_what_is_not_so_is_refuted():
    found = verdicts(planted(fall=0.0, grow=-0.1, spread=0.5))
    assert found["falls-with-little-data"] == found["more-data-more-relevance"] == "refuted"
    assert found["complexity-hardly-changes"] == "refuted"
    assert found["during-compression"] == found["kept-with-much-data"] == "reproduced"
    # Nothing falls, so that nothing can be before it.
    assert found["early-stop-by-loss"] == "inconclusive"


@pytest.mark.parametrize("stop", [20, 1500])
def test_a_stop_long_before_or_after_the_fall_is_refuted(stop):
    found = verdicts(planted(stop=stop))
    assert found["early-stop-by-loss"] == found["early-stop-by-accuracy"] == "refuted"


def test_noise_is_inconclusive_and_does_not_pass_for_a_fall():
    found = claims(planted(fall=0.05, spread=0.17, noise=0.1))
    by_name = {claim.name: claim for claim in found}
    assert by_name["falls-with-little-data"].verdict == "inconclusive"
    assert by_name["complexity-hardly-changes"].verdict == "inconclusive"
    # The highest of a hundred noisy snapshots is 0.2 bit above the others, and no replica is judged by its own.
    noisy = shares_of(planted(fall=0.0, noise=0.1)).fall
    assert abs(noisy.mean()) < 0.02


def test_replicas_that_are_lost_are_lost_at_that_share_alone():
    found = planted()
    found["alive"][1, 3] = False
    table = shares_of(found).relevance
    assert np.isnan(table[1, 3])
    assert np.isfinite(np.delete(table.ravel(), 18)).all()
    assert verdicts(found)["more-data-more-relevance"] == "reproduced"


def test_a_single_share_is_no_sweep():
    with pytest.raises(InputError, match="fractions must name two shares or more"):
        SZTData(fractions=(0.5,))


def test_the_presets_are_the_study_s():
    presets = EXPERIMENTS["szt-data"].presets
    assert (presets["paper"].replicas, presets["paper"].epochs) == (50, 10_000)
    assert {0.05, 0.45, 0.85} <= set(presets["paper"].fractions)
    assert presets["idnns"].optimizer == "adam"


@pytest.mark.filterwarnings("error")
def test_a_small_run_is_judged_and_drawn(tmp_path):
    # Two shares that come to the same patterns, so that one program is compiled.
    config = dataclasses.replace(
        CONFIG, replicas=2, epochs=2, batch_size=1024, fractions=(0.3, 0.3001), widths=(12, 3, 2), chunk_size=2
    )
    found = run(config, tmp_path, progress=False)
    assert dict(found.sizes)["fraction"] == 2
    assert {claim.verdict for claim in claims(found.load())} <= {"reproduced", "refuted", "inconclusive"}
    for results in (found, planted()):
        FigureCanvasAgg(figure(results)).draw()
