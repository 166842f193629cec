"""Verdicts on planted paths, and a network of few bits whose information is that of its levels."""

import dataclasses
import json

import numpy as np
import pytest
import synthetic
import xarray as xr

from ibjax.errors import InputError
from ibjax.experiments import EXPERIMENTS, run
from ibjax.experiments.quantised import BINNINGS, PRESETS, QuantisedNetworks, claims, exact, figure
from ibjax.sweep import grid, joined


def planted(activation: str, bits: int, *, falls, rises: bool = True, replicas: int = 8) -> xr.Dataset:
    """A run of six layers; ``falls`` is (estimators, replicas, layers) of truth values, or what broadcasts to it."""
    names = (exact(bits), *BINNINGS)
    plane = synthetic.make_plane(replicas, 60, estimators=names)
    time = np.log10(1 + plane["epoch"].values)
    rise, fall = np.clip(time / 2, 0, 1), np.clip((time - 2.5) / 1, 0, 1)
    falls = np.broadcast_to(falls, (len(names), replicas, 6))[:, :, None, :]
    path = 4 + (3 * rise if rises else 0 * rise)[:, None] - 2 * fall[:, None] * falls
    noise = 0.001 * np.random.default_rng(bits).standard_normal(path.shape)
    relevance = np.broadcast_to(0.1 + (0.5 * rise if rises else 0 * rise)[:, None], path.shape)
    dims = plane["complexity"].dims
    config = {"activation": activation, "bits": bits, "replicas": replicas, "chunk_size": replicas}
    changed = plane.assign(
        complexity=(dims, (path + noise) * np.log(2)), relevance=(dims, (relevance + noise) * np.log(2))
    )
    widths = [str(name) for name in plane["layer_name"].values]
    return changed.assign_attrs(config=json.dumps(config), estimators=json.dumps(names), layer_names=json.dumps(widths))


def together(runs: dict[tuple[str, int], xr.Dataset]) -> xr.Dataset:
    """The runs as a sweep of activations and bits."""
    config = QuantisedNetworks()
    axes, groups = grid.expand(config, grid.Grid({"activation": ("tanh", "relu"), "bits": (4, 32)}))
    found = [(group, runs[group.settings["activation"], group.settings["bits"]]) for group in groups]
    return joined.join(axes, found, {}, {"title": "planted"}, None).load()


ALL, NONE = True, False
OUTPUT = np.arange(6) == 5
BINS = np.array([True, True, True, False])[:, None, None]
"""All estimators but the finest binning see a fall."""


@pytest.fixture(scope="module")
def verdicts():
    def judged(**runs) -> dict[str, str]:
        by_key = {_key(name): planted(*_key(name), **how) for name, how in runs.items()}
        return {claim.name: claim.verdict for claim in claims(together(by_key))}

    return judged


def _key(name: str) -> tuple[str, int]:
    return name.split("_")[0], int(name.split("_")[1])


def test_what_is_planted_is_reproduced(verdicts):
    found = verdicts(tanh_4={"falls": ALL}, relu_4={"falls": OUTPUT}, tanh_32={"falls": BINS}, relu_32={"falls": BINS})
    assert set(found.values()) == {"reproduced"}
    assert {"fitting, tanh, 4 bits", "output-compresses, relu, 4 bits", "hidden-depend, 4 bits"} < set(found)
    assert {"bins-decide, tanh", "bins-decide, relu"} < set(found)
    assert "hidden-depend, 32 bits" not in found


def test_what_is_not_there_is_refuted(verdicts):
    still = {"falls": NONE, "rises": False}
    found = verdicts(tanh_4=still, relu_4=still, tanh_32=still, relu_32=still)
    shares_to_a_tenth = {name for name in found if name.startswith(("hidden-depend", "bins-decide"))}
    assert {found[name] for name in set(found) - shares_to_a_tenth} == {"refuted"}
    # That eight networks agree does not settle what up to a third of the others may do.
    assert {found[name] for name in shares_to_a_tenth} == {"inconclusive"}


def test_what_replicas_disagree_on_is_inconclusive(verdicts):
    some = {"falls": (np.arange(8) < 4)[:, None]}
    found = verdicts(tanh_4=some, relu_4=some, tanh_32=some, relu_32=some)
    assert found["output-compresses, tanh, 4 bits"] == "inconclusive"
    assert found["hidden-depend, 4 bits"] == "inconclusive"


def test_one_run_is_judged_alone():
    found = claims(planted("tanh", 8, falls=ALL))
    assert [claim.name for claim in found] == ["fitting, tanh, 8 bits", "output-compresses, tanh, 8 bits"]
    assert all(claim.preliminary for claim in found)  # 8 replicas of 20


@pytest.mark.filterwarnings("error")
def test_the_figure_draws():
    runs = {(a, b): planted(a, b, falls=ALL) for a in ("tanh", "relu") for b in (4, 32)}
    drawn = figure(together(runs))
    drawn.canvas.draw()
    headings = [axes.get_title() for axes in drawn.axes if axes.get_visible()]
    assert headings == 2 * ["4 bits, exact", "32 bits, exact", *(f"32 bits, {n} bins" for n in (30, 100, 256))]


@pytest.mark.slow
def test_a_run_is_exact(tmp_path):
    config = QuantisedNetworks(
        replicas=2, epochs=1, widths=(12, 3, 2), chunk_size=2, measure=("binning:rule=bits",),
        activations=("tanh",), bit_widths=(2,), batch_size=1024,
    )  # fmt: skip
    found = run(config, tmp_path, progress=False).load()
    assert found["estimator"].values.tolist() == ["quantised:bits=2", "binning:rule=bits"]
    levels, floats = found["complexity"].isel(activation=0, bits=0).values
    np.testing.assert_allclose(levels, floats, atol=1e-5)  # its floats have the levels and no other values
    assert (levels <= np.log(4) * np.array([3, 2]) + 1e-5).all()
    assert len(claims(found)) == 2
    figure(found).canvas.draw()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bits", [0, 17, 31])
def test_bits_that_make_no_sense(bits):
    with pytest.raises(InputError, match=f"bits must be 1 to 16, or 32 for floats, got {bits}"):
        QuantisedNetworks(bits=bits)


def test_the_paper_s_settings():
    assert EXPERIMENTS["quantised"].presets is PRESETS
    paper = dataclasses.asdict(PRESETS["paper"])
    wanted = {"replicas": 20, "epochs": 8000, "batch_size": 256, "learning_rate": 1e-4, "optimizer": "adam"}
    assert {name: paper[name] for name in wanted} == wanted
