"""Whether the peak of I(X;T) and the transition of the gradients coincide, on runs whose answer is planted."""

import numpy as np
import pytest
from planted import planted_run

from ibjax.experiments import SZTPhases, szt_phases
from ibjax.training import snapshot_epochs

CONFIG = SZTPhases(replicas=10, epochs=10_000, widths=(12, 3, 3, 2))


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(szt_phases, "RESAMPLES", 40)


def judged(transition, noise=0.3, peak=100.0):
    """Verdict and octaves, by name, where the SNR falls to a hundredth by both logarithms at its transition."""
    rng = np.random.default_rng(0)
    time = np.log1p(snapshot_epochs(CONFIG.epochs, CONFIG.snapshots))[None, :, None]
    shape = CONFIG.replicas, time.shape[1], 3
    from_peak = time - np.log1p(peak)
    complexity = 8 - np.where(from_peak < 0, 1.0, 1.5) * np.abs(from_peak) + 0.02 * rng.normal(size=shape)
    fall = np.log(100) / (1 + np.exp(-4 * (time - np.log1p(transition))))
    snr = np.exp(noise * rng.normal(size=shape) - fall)
    run = planted_run(CONFIG, {"complexity": complexity, "gradient_mean": snr, "weight_distance": np.exp(time)})
    return {claim.name: (str(claim.verdict), claim.estimate.value) for claim in szt_phases.claims(run)}


@pytest.mark.parametrize(("transition", "octaves", "verdict"), [(120, 0.26, "reproduced"), (1500, 3.9, "refuted")])
def test_whether_they_coincide(transition, octaves, verdict):
    found = judged(transition)
    for name in ("coincide-together", "coincide-by-both-logarithms"):
        assert found[name][0] == verdict
        assert found[name][1] == pytest.approx(octaves, abs=0.3)


def test_many_networks_show_what_one_does_not():
    found = judged(1500, noise=0.9)
    assert found["transition-found-by-both-logarithms"][1] < 0.5
    assert found["coincide-together"] == ("refuted", pytest.approx(3.9, abs=0.5))


def test_where_there_is_no_transition_nothing_is_said():
    assert judged(1e9)["coincide-together"][0] == "inconclusive"
