"""Claims of the plane on runs whose answer is planted, and what conducts an experiment."""

import json
import math

import numpy as np
import pytest
import xarray as xr
from synthetic import epochs_of, make_plane

import ibjax
from ibjax.errors import InputError
from ibjax.experiments import EXPERIMENTS, SZT, SaxeMinimal, SZTPhases, claims_markdown, draw, interval, judge, run, szt
from ibjax.experiments.conduct import experiment_in
from ibjax.experiments.experiment import preliminary
from ibjax.plane import Estimate, claims_from_json


def planted(rise=3.0, fall=4.0, lost=0.0, peak=100, spread=0.05, replicas=6, layers=3, last=3000) -> xr.Dataset:
    """Layers that rise by ``rise`` bits until an epoch, then fall by ``fall``, while I(T;Y) loses ``lost``."""
    random = np.random.default_rng(0)
    plane = make_plane(replicas=replicas, snapshots=60, layers=layers, noise=0.0)
    epochs = epochs_of(60, last)
    time, at = np.log1p(epochs), math.log1p(peak)
    up, down = np.clip(time / at, 0, 1), np.clip((time - at) / (time[-1] - at), 0, 1)
    depth = np.arange(layers)
    complexity = 7.0 - depth + rise * up[:, None] - fall * down[:, None]
    relevance = 0.9 - 0.05 * depth - 0.5 + 0.5 * up[:, None] - lost * down[:, None]
    own = spread * random.standard_normal((replicas, 1, 1))
    shape = (1, replicas, len(epochs), layers)
    plane = plane.isel(snapshot=np.arange(len(epochs)) % plane.sizes["snapshot"]).assign_coords(
        epoch=("snapshot", epochs)
    )
    dims = ("estimator", "replica", "snapshot", "layer")
    return plane.assign(
        complexity=(dims, np.broadcast_to((complexity + own) * math.log(2), shape)),
        relevance=(dims, np.broadcast_to((relevance + 0.01 * own) * math.log(2), shape)),
    )


def verdicts(plane: xr.Dataset) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in szt.claims(plane)}


def test_a_plane_that_does_what_the_study_says():
    found = verdicts(planted())
    assert found == dict.fromkeys(found, "reproduced")
    assert set(found) == {"similar-paths", "fitting", "fitting-fast", "compression", "relevance-kept", "order"}


@pytest.mark.parametrize(
    ("changes", "refuted"),
    [
        ({"rise": 0.0, "peak": 30}, "fitting"),
        ({"peak": 2000}, "fitting-fast"),
        ({"fall": -1.0}, "compression"),
        ({"lost": 0.3}, "relevance-kept"),
    ],
    ids=lambda value: str(value),
)
def test_a_plane_that_does_not(changes, refuted):
    assert verdicts(planted(**changes))[refuted] == "refuted"


def test_paths_that_differ_are_not_similar():
    plane = planted()
    apart = xr.DataArray(np.tile([-3.0, 3.0], 3) * math.log(2), dims="replica")
    assert verdicts(plane.assign(complexity=plane["complexity"] + apart))["similar-paths"] == "refuted"


def test_an_order_that_is_broken():
    plane = planted()
    assert verdicts(plane.isel(layer=slice(None, None, -1)))["order"] == "refuted"


def test_one_replica_decides_nothing():
    assert set(verdicts(planted(replicas=1)).values()) == {"inconclusive"}


def test_less_than_the_paper_is_preliminary():
    plane = planted(replicas=50, last=10_000)
    assert not preliminary(plane, SZT())
    assert preliminary(plane.isel(replica=slice(49)), SZT())
    assert preliminary(planted(replicas=50, last=9_999), SZT())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny run of szt-phases."""
    out = tmp_path_factory.mktemp("phases") / "run"
    run(SZTPhases(replicas=2, epochs=4, batch_size=2048, widths=(12, 3, 2), chunk_size=2), out, progress=False)
    return out


def test_judge_writes_what_it_finds(folder):
    found = judge(folder)
    assert all(claim.preliminary for claim in found)
    stored = claims_from_json((folder / "claims.json").read_text())
    assert [claim.name for claim in stored] == [claim.name for claim in found]
    assert experiment_in(folder) == "szt-phases"


def test_draw_names_the_experiment(folder, tmp_path):
    paths = draw(folder, tmp_path)
    assert [path.name for path in paths] == ["szt-phases.png", "szt-phases.svg"]
    assert all(path.stat().st_size > 5000 for path in paths)


@pytest.mark.slow
def test_a_sweep_over_other_settings_has_no_claims(tmp_path):
    from ibjax.sweep import Grid

    base = SZT(replicas=2, epochs=1, batch_size=2048, widths=(12, 2))
    ibjax.run_sweep(base, Grid({"seed": [0, 1]}), tmp_path / "sweep", progress=False)
    with pytest.raises(InputError, match="is a sweep: name one of the runs"):
        judge(tmp_path / "sweep")


def test_what_is_computed_is_kept_and_taken_again(tmp_path):
    config = SaxeMinimal(activations=("tanh", "relu"), weights=5)
    found = run(config, tmp_path / "one", progress=False)
    assert found.identical(ibjax.open(tmp_path / "one"))
    assert json.loads(found.attrs["config"])["experiment"] == "saxe-minimal"
    again = run(config, tmp_path / "one", resume=True, progress=False)
    assert again.identical(found)
    with pytest.raises(InputError, match="--resume"):
        run(config, tmp_path / "one", progress=False)
    with pytest.raises(InputError, match="weights 5 -> 6"):
        run(SaxeMinimal(activations=("tanh", "relu"), weights=6), tmp_path / "one", resume=True, progress=False)
    assert {claim.verdict for claim in judge(tmp_path / "one")} == {"reproduced"}
    (tmp_path / "one" / "table.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run(config, tmp_path / "one", resume=True, progress=False)


def test_what_is_computed_has_no_networks_to_train_again():
    with pytest.raises(InputError, match="leave restarts out"):
        run(SaxeMinimal(weights=2), restarts=1, progress=False)


def test_every_claim_of_a_plane_names_what_measured_it():
    assert all(claim.statistic.startswith("binning:bins=30,low=-1,high=1: ") for claim in szt.claims(planted()))


def test_a_table_is_not_put_over_a_run(folder):
    with pytest.raises(InputError, match="holds a run"):
        run(SaxeMinimal(weights=2), folder, resume=True, progress=False)


def test_markdown_sets_preliminary_claims_apart():
    early = szt.claims(planted())
    text = claims_markdown([("szt", early), ("other", [claim._replace(preliminary=False) for claim in early])])
    first, second = text.split("**Preliminary")
    assert "| other |" in first
    assert "| szt |" not in first
    assert "| szt |" in second
    assert interval(early[0]) in text


def test_an_interval_without_width_is_none():
    claim = szt.claims(planted())[0]
    shown = [interval(claim._replace(estimate=Estimate(0.0, 0.0, high))) for high in (0.25, 0.0, np.nan)]
    assert shown == ["0 [0, 0.25]", "0, no spread", "0 [0, nan]"]
    unknown = [interval(claim._replace(estimate=Estimate(value, np.nan, np.nan))) for value in (1.5, np.nan)]
    assert unknown == ["1.5, no interval", "undefined"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_its_presets_and_a_rule_in_words(name):
    experiment = EXPERIMENTS[name]
    assert {"paper", "quick"} <= set(experiment.presets)
    assert len({type(config) for config in experiment.presets.values()}) == 1
    assert (experiment.study is None) != (experiment.compute is None)
    assert "*" in (experiment.claims.__doc__ or "") or "rules" in (experiment.claims.__doc__ or "")
