"""What is claimed of the batch size, on planted paths and in one small run."""

import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from planted import groups, planted_run, planted_sweep

from ibjax.experiments import EXPERIMENTS, SZTBatch, run
from ibjax.experiments.szt_batch import batches_of, claims, figure
from ibjax.training import snapshot_epochs

CONFIG = SZTBatch(replicas=14, epochs=10_000, batches=(16, 64, 256, None), widths=(12, 4, 2))
EPOCHS = snapshot_epochs(CONFIG.epochs, CONFIG.snapshots)
TIME = np.log1p(EPOCHS)


def planted(*, exponent=0.6, slope=1.0, spread=0.05, lost=(), seed=0):
    """Return a sweep whose transition comes with the peak of I(X;T), both later with the batch size.

    Args:
        exponent: of the batch size, in the epoch of the peak, which is 30 for batches of 16.
        slope: of the log transition against the log peak, equal at epoch 100.
        spread: of the log epochs over replicas.
        lost: places along the batch sizes where the gradients have no transition.
        seed: of the noise.
    """
    random = np.random.default_rng(seed)
    runs = []
    for place, (config, size) in enumerate(zip(groups(CONFIG), (16, 64, 256, 3277), strict=True)):
        peak = 30.0 * (size / 16) ** exponent * np.exp(spread * random.normal(size=config.replicas))
        at = np.log1p(100.0 * (peak / 100.0) ** slope * np.exp(spread * random.normal(size=config.replicas)))[:, None]
        far = (TIME - np.log1p(peak)[:, None])[..., None] * np.ones(2)
        complexity = 8.0 - np.where(far < 0, -1.5, 1.0) * far
        snr = 0.3 + 2.0 / (1 + np.exp((TIME - at) / 0.25)) * (place not in lost)
        noise = 1 + 0.005 * random.normal(size=(config.replicas, TIME.size))
        runs.append(
            planted_run(
                config,
                {
                    "complexity": complexity + 0.01 * random.normal(size=complexity.shape),
                    "gradient_mean": (snr * noise)[..., None],
                    "gradient_std": np.ones(1),
                },
            )
        )
    return planted_sweep(CONFIG, runs)


def by_name(found):
    return {claim.name: claim for claim in claims(found)}


def test_what_the_study_says_is_reproduced_where_it_is_so():
    found = by_name(planted())
    assert {name for name, claim in found.items() if claim.verdict != "reproduced"} <= {
        # By epoch an S in log epochs falls fastest before its middle.
        "slope-by-epoch-hidden",
        "slope-by-epoch-output",
    }
    assert found["slope-by-log-epoch-output"].estimate.value == pytest.approx(1.0, abs=0.06)
    assert found["peak-later-output"].estimate.value == 1.0
    places = batches_of(planted(spread=0.0))
    assert places.sizes.tolist() == [16, 64, 256, 3277]
    np.testing.assert_allclose(
        places.peak["output"], (30 * (places.sizes / 16) ** 0.6)[:, None] * np.ones(14), rtol=0.1
    )
    np.testing.assert_allclose(places.transition["output", "log-epoch"], places.peak["output"], rtol=0.15)


def test_what_is_not_so_is_refuted():
    found = by_name(planted(exponent=-0.4, slope=0.4, spread=0.02))
    assert found["peak-later-output"].verdict == "refuted"
    assert found["transition-by-log-epoch-later-output"].verdict == "refuted"
    assert found["slope-by-log-epoch-output"].verdict == "refuted"
    assert found["found-output"].verdict == "reproduced"


def test_noise_is_inconclusive():
    found = by_name(planted(exponent=0.15, spread=0.5))
    for name in ("slope-by-log-epoch-output", "correlation-by-log-epoch-output"):
        assert found[name].verdict == "inconclusive"


def test_sizes_without_a_transition_are_left_out_and_counted():
    found = batches_of(planted(lost=(3,)))
    assert np.isnan(found.transition["output", "log-epoch"][3]).all()
    assert found.line["output", "log-epoch"].used.tolist() == [True, True, True, False]
    none = by_name(planted(lost=(0, 1, 2, 3)))
    assert none["found-output"].verdict == "refuted"
    assert none["slope-by-log-epoch-output"].verdict == "inconclusive"
    assert none["transition-by-epoch-later-output"].verdict == "inconclusive"


def test_the_presets_are_the_study_s():
    presets = EXPERIMENTS["szt-batch"].presets
    assert (presets["paper"].replicas, presets["paper"].epochs) == (50, 10_000)
    assert (presets["paper"].batches[0], presets["paper"].batches[-1]) == (16, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_small_run_is_judged_and_drawn(tmp_path):
    config = dataclasses.replace(CONFIG, replicas=2, epochs=2, batches=(None,), widths=(12, 3, 2), chunk_size=2)
    found = run(config, tmp_path, progress=False)
    assert dict(found.sizes)["batch_size"] == 1
    assert {claim.verdict for claim in claims(found.load())} <= {"reproduced", "refuted", "inconclusive"}
    assert batches_of(found).sizes.tolist() == [3277]
    for results in (found, planted(lost=(3,))):
        FigureCanvasAgg(figure(results)).draw()
