"""A grid is every combination and nothing else; its joined results are those of the groups' own runs."""

import contextlib
import dataclasses
import functools
import json
import shutil
import threading
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import ibjax
from ibjax.datasets import from_arrays, split
from ibjax.errors import InputError
from ibjax.estimators import Binning
from ibjax.networks import scaled_mlp
from ibjax.plane import VARIABLES, summary_table
from ibjax.sweep import (
    Grid,
    Study,
    Sweep,
    costs,
    expand,
    failures_of,
    forecast,
    groups,
    groups_of,
    open_sweep,
    parse_values,
    processes,
    run_groups,
    runner,
    select,
    share_programs,
    status,
    store,
    sweep_status,
    verify_sweep,
)
from ibjax.sweep.costs import program_key
from ibjax.sweep.groups import read_failures
from ibjax.sweep.lock import hold
from ibjax.sweep.programs import compile_ahead, compiled
from ibjax.sweep.record import load_record, save_record
from ibjax.training import TrainState


@dataclasses.dataclass(frozen=True)
class Config:
    """Fields of every kind."""

    rate: float = 0.5
    epochs: int = 2
    batch_size: int | None = 24
    activation: str = "tanh"
    widths: tuple[int, ...] = (4, 3, 2)
    measure: tuple[str, ...] = ("8",)
    reshuffle: bool = True
    mode: Literal["a", "b"] = "a"
    note: str | None = None
    replicas: int = 3
    chunk_size: int | None = 2
    seed: int = 0
    optimizer: str = "sgd"
    momentum: float = 0.5
    weight_decay: float = 0.1
    scale: float = 1.0
    noise: float = 0.0

    def __post_init__(self):
        if self.epochs < 0:
            raise InputError(f"epochs must be 0 or more, got {self.epochs}")


def study_of(config: Config) -> Study:
    """A tiny network on 96 points."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(96, 4))
    whole = from_arrays(x, (x[:, 0] + x[:, 1] > config.noise * chance.normal(size=96)).astype(int), name=str(config))
    training = ibjax.training.TrainConfig(
        config.epochs,
        config.batch_size,
        config.optimizer,
        config.rate,
        config.momentum,
        config.weight_decay,
        config.reshuffle,
        snapshots=5,
    )
    return Study(
        functools.partial(scaled_mlp, config.scale, config.widths, config.activation, "ibsgd"),
        ibjax.training.TrainingData(*split(whole, 0.75, "first", jax.random.key(0)), whole),
        training,
        tuple(Binning(bins=int(bins)) for bins in config.measure),
        replicas=config.replicas,
        seed=config.seed,
        chunk_size=config.chunk_size,
        settings=dataclasses.asdict(config),
    )


def sweep_of(grid: Grid, config: Config | None = None, study=study_of) -> Sweep:
    base = config or Config()
    axes, groups = expand(base, grid)
    varied = {name for axis in axes for name in axis.values} | {"chunk_size"}
    identity = {k: v for k, v in dataclasses.asdict(base).items() if k not in varied}
    return Sweep(axes, groups, study, json.loads(json.dumps(identity)), "a test")


PROGRAM = runner.Program
RATES = Grid({"rate": [0.5, 0.05]})
DEEPER = Grid(
    {"rate": [0.5, 0.05]},
    [{"widths": [[4, 3, 2], [4, 3, 3, 2]], "epochs": [2, 3], "measure": [["8"], ["8", "6"]], "replicas": [3, 2]}],
)
"""Groups that differ in everything that can be padded: layers, snapshots, estimators and replicas."""


def complaint(call, *args, **settings) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **settings)
    (line,) = str(caught.value).splitlines()
    return line


# Grids -----------------------------------------------------------------------------------------------------------


def test_a_product_is_every_combination_once():
    axes, groups = expand(Config(), Grid({"rate": [0.1, 1], "batch_size": [8, None], "activation": ["relu"]}))
    assert [axis.name for axis in axes] == ["rate", "batch_size", "activation"]
    assert [len(axis) for axis in axes] == [2, 2, 1]
    found = [(g.config.rate, g.config.batch_size, g.config.activation) for g in groups]
    assert found == [(0.1, 8, "relu"), (0.1, None, "relu"), (1.0, 8, "relu"), (1.0, None, "relu")]
    assert [group.index for group in groups] == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]
    assert all(group.config.epochs == Config().epochs for group in groups)
    assert type(groups[-1].config.rate) is float


def test_a_zip_is_one_axis_and_multiplies_the_others():
    axes, groups = expand(
        Config(), Grid({"seed": [1, 2]}, [{"rate": [0.1, 0.2], "epochs": [3, 4]}, {"reshuffle": [False]}])
    )
    assert [axis.name for axis in axes] == ["seed", "rate_epochs", "reshuffle"]
    found = [(g.config.seed, g.config.rate, g.config.epochs, g.config.reshuffle) for g in groups]
    assert found == [(s, r, e, False) for s in (1, 2) for r, e in ((0.1, 3), (0.2, 4))]
    assert groups[1].settings == {"seed": 1, "rate": 0.2, "epochs": 4, "reshuffle": False}


def test_a_zip_may_repeat_a_value_but_not_a_pair():
    _, groups = expand(Config(), Grid(zips=[{"rate": [0.1, 0.1], "epochs": [3, 4]}]))
    assert [group.config.epochs for group in groups] == [3, 4]
    line = complaint(expand, Config(), Grid(zips=[{"rate": [0.1, 0.1], "epochs": [3, 3]}]))
    assert "rate=0.1, epochs=3 twice, at places 0 and 1" in line


def test_lists_become_tuples_and_none_may_be_spelt():
    _, groups = expand(Config(), Grid({"widths": [[4, 2], (4, 3, 2)], "batch_size": ["none", 8], "note": ["none"]}))
    assert {group.config.widths for group in groups} == {(4, 2), (4, 3, 2)}
    assert {group.config.batch_size for group in groups} == {None, 8}
    assert {group.config.note for group in groups} == {"none"}  # a word, where words are allowed


@pytest.mark.parametrize(
    ("grid", "parts"),
    [
        ((), ["the grid is empty"]),
        (({"rat": [1]},), ["unknown field 'rat'", "did you mean 'rate'"]),
        (({"rate": []},), ["rate has no values"]),
        (({"rate": 0.1},), ["rate needs a list", "0.1"]),
        (({"activation": "tanh"},), ["activation needs a list", "'tanh'"]),
        (({"rate": [1, 1.0]},), ["rate=1.0 twice, at places 0 and 1"]),
        (({"rate": [0.1, "x"]},), ["rate takes float, got 'x' at place 1"]),
        (({"epochs": [1.5]},), ["epochs takes int, got 1.5"]),
        (({"epochs": [True]},), ["epochs takes int, got True"]),
        (({"epochs": [None]},), ["epochs takes int, got None"]),
        (({"epochs": ["none"]},), ["epochs takes int, got 'none'"]),
        (({"batch_size": [0.5]},), ["batch_size takes int or None, got 0.5"]),
        (({"widths": [[4, "a"]]},), ["widths takes tuple[int, ...]"]),
        (({"widths": [4, 2]},), ["widths takes tuple[int, ...], got 4"]),
        (({"mode": ["c"]},), ["mode takes", "'a', 'b'", "got 'c'"]),
        (({"rate": [1]}, [{"rate": [2]}]), ["names rate more than once"]),
        (({}, [{"rate": [1, 2], "epochs": [1]}]), ["rate has 2, epochs has 1"]),
        (({"epochs": [1, -1], "rate": [0.1]},), ["group epochs=-1, rate=0.1: epochs must be 0 or more"]),
    ],
)
def test_a_bad_grid_is_one_line(grid, parts, unchecked):
    line = complaint(expand, Config(), Grid(*grid))
    for part in parts:
        assert part in line


def test_a_huge_grid_is_refused_before_it_is_made():
    seeds = range(1000)
    assert "1,000,000 groups (seed 1000 x replicas 1000), the limit is 1,000" in complaint(
        expand, Config(), Grid({"seed": list(seeds), "replicas": [i + 1 for i in seeds]})
    )
    assert len(expand(Config(), Grid({"seed": list(seeds)}))[1]) == 1000
    assert "the limit is 999" in complaint(expand, Config(), Grid({"seed": list(seeds)}), limit=999)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rate=0.1, 1", ("rate", (0.1, 1.0))),
        ("epochs = 3", ("epochs", (3,))),
        ("batch_size=8,None", ("batch_size", (8, None))),
        ("activation=tanh,relu", ("activation", ("tanh", "relu"))),
        ("reshuffle=true,False", ("reshuffle", (True, False))),
        ("widths=4 2; 4 3 2", ("widths", ((4, 2), (4, 3, 2)))),
        ("measure=a:b=1,c=2 d; e", ("measure", (("a:b=1,c=2", "d"), ("e",)))),
        ("mode=a,b", ("mode", ("a", "b"))),
        ("note=x,none", ("note", ("x", None))),
        ("rate=", ("rate", ())),  # refused by expand
    ],
)
def test_what_is_typed_is_read(text, wanted):
    assert parse_values(Config(), text) == wanted


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("rate", "names no values"),
        ("rats=1", "did you mean 'rate'"),
        ("rate=fast", "rate takes float, got 'fast'"),
        ("epochs=1.5", "epochs takes int, got '1.5'"),
        ("reshuffle=1", "reshuffle takes bool, got '1'"),
        ("widths=4 x", "widths takes tuple[int, ...], got '4 x'"),
        ("mode=c", "got 'c'"),
    ],
)
def test_what_cannot_be_read_is_one_line(text, part):
    assert part in complaint(parse_values, Config(), text)


def test_every_group_has_a_folder_of_its_own():
    notes = ["a/b", "a_b", "a b", "..", "é", "x" * 150, "x" * 151, "none", "None"]
    _, groups = expand(Config(), Grid({"note": notes}))
    slugs = [group.slug for group in groups]
    assert len(set(slugs)) == len(notes)
    assert all(len(slug) < 120 and "/" not in slug and slug.isascii() and slug.startswith("note=") for slug in slugs)
    (group,) = expand(Config(), Grid({"widths": [[4, 2]], "rate": [0.5]}))[1]
    assert group.slug == "widths=4-2,rate=0.5"


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Every program is compiled once."""
    compiled = {}

    def once(study, devices):
        key = json.dumps(study.identity), devices
        if key not in compiled:
            compiled[key] = PROGRAM(study, devices)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Program", once)
        patch.setattr(groups, "compile_for_later", lambda study: None)
        yield


# Results ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep in a folder that nothing interrupted."""
    folder = tmp_path_factory.mktemp("swept") / "out"
    found, failures = run_groups(sweep_of(DEEPER), folder, progress=False)
    assert failures == {}
    return folder, found.load()


@pytest.fixture
def folder(swept, tmp_path):
    """A copy of it."""
    return shutil.copytree(swept[0], tmp_path / "out")


def test_dimensions_and_coordinates(swept):
    _, found = swept
    sizes = {"rate": 2, "widths_epochs_measure_replicas": 2, "estimator": 2, "replica": 3, "snapshot": 4, "layer": 3}
    assert dict(found.sizes) == sizes
    assert found["rate"].values.tolist() == [0.5, 0.05]
    assert found["widths"].values.tolist() == ["4-3-2", "4-3-3-2"]
    assert found["epochs"].values.tolist() == [2, 3]
    assert set(found.data_vars) == set(VARIABLES)
    assert found["epoch"].sel(rate=0.5).values.tolist() == [[0, 1, 2, -1], [0, 1, 2, 3]]
    assert found["width"].sel(rate=0.05).values.tolist() == [[3, 2, 0], [3, 3, 2]]
    assert found["layer_name"].sel(rate=0.05).values.tolist() == [["T1", "output", ""], ["T1", "T2", "output"]]
    assert found["finished"].values.all()
    assert not found["dead"].values.any()
    assert not found["diverged"].values.any()


def test_what_a_group_lacks_is_nan_and_not_alive(swept):
    _, found = swept
    small = found.isel(widths_epochs_measure_replicas=0)
    assert small["complexity"].isel(snapshot=3).isnull().all()
    assert small["complexity"].isel(layer=2).isnull().all()
    assert small["complexity"].isel(estimator=1).isnull().all()
    assert not small["alive"].isel(snapshot=3).any()
    rest = small.isel(snapshot=slice(3), layer=slice(2), estimator=[0])
    assert all(rest[name].notnull().all() for name in rest.data_vars)
    assert found.isel(widths_epochs_measure_replicas=1, replica=2)["complexity"].isnull().all()


def test_every_group_is_its_own_run(swept):
    folder, found = swept
    sweep = sweep_of(DEEPER)
    shown = list(groups_of(found))
    assert len(shown) == len(sweep.groups) == 4
    for group, (settings, plane) in zip(sweep.groups, shown, strict=True):
        assert plane.identical(ibjax.open(folder / "groups" / group.slug).load())
        assert settings["rate"] == group.settings["rate"]
        assert settings["epochs"] == group.settings["epochs"]
        layers = ["T1", "T2", "output"] if len(group.config.widths) == 4 else ["T1", "output"]
        assert [row.name for row in summary_table(plane)] == layers
        assert json.loads(plane.attrs["config"])["widths"] == list(group.config.widths)
    assert not np.array_equal(shown[0][1]["train_loss"].values, shown[2][1]["train_loss"].values)


def test_plain_xarray_reads_the_same(swept):
    folder, found = swept
    assert xr.open_zarr(folder / "results.zarr", consolidated=False).load().identical(found)
    assert ibjax.open(folder).load().identical(found)


def test_groups_that_agree_keep_the_form_of_a_run_in_memory_too(swept):
    found, _ = run_groups(sweep_of(RATES), progress=False)
    assert found["epoch"].dims == ("snapshot",)
    assert found["width"].dims == found["layer_name"].dims == ("layer",)
    part = found["complexity"].sel(rate=0.05)
    wanted = swept[1]["complexity"].sel(rate=0.05).isel(widths_epochs_measure_replicas=0)
    np.testing.assert_array_equal(part.values, wanted.isel(estimator=[0], snapshot=slice(3), layer=slice(2)).values)


def test_select_finds_one_group_by_its_settings(swept):
    _, found = swept
    by_number, by_tuple = select(found, rate=0.05, epochs=3), select(found, rate=0.05, widths=(4, 3, 3, 2))
    assert by_number.identical(by_tuple)
    assert json.loads(by_number.attrs["config"])["rate"] == 0.05
    assert "unknown field of this grid 'rat'" in complaint(select, found, rat=0.05)
    assert "rate has no value 0.1: choose from 0.5, 0.05" in complaint(select, found, rate=0.1)
    assert "2 groups have these settings, one is wanted" in complaint(select, found, rate=0.05)
    assert "0 groups" in complaint(select, found, rate=0.05, epochs=3, replicas=3)


# Interruptions ---------------------------------------------------------------------------------------------------


def test_an_interrupted_sweep_goes_on(swept, tmp_path, monkeypatch):
    def stop(config):
        if config.rate == 0.05:
            raise KeyboardInterrupt
        return study_of(config)

    monkeypatch.setattr(groups, "cores", lambda: 1)  # the second group is not thought of before its turn
    with pytest.raises(KeyboardInterrupt):
        run_groups(sweep_of(RATES, study=stop), tmp_path, resume=True, progress=False)
    half = open_sweep(tmp_path)
    assert (sweep_status(tmp_path).finished, sweep_status(tmp_path).begun) == (("rate=0.5",), {})
    assert half["finished"].values.tolist() == [True, False]
    wanted = swept[1]["train_loss"].isel(widths_epochs_measure_replicas=0, snapshot=slice(3)).values
    np.testing.assert_array_equal(half["train_loss"].values[0], wanted[0])
    assert half["train_loss"].isel(rate=1).isnull().all()
    assert "the group has no results yet" in complaint(select, half, rate=0.05)
    begun = []
    programs = runner.Program
    monkeypatch.setattr(runner, "Program", lambda *args: begun.append(args) or programs(*args))
    whole, failures = run_groups(sweep_of(RATES), tmp_path, resume=True, progress=False)
    assert (len(begun), failures) == (1, {})
    np.testing.assert_array_equal(whole["train_loss"].values, wanted)


def test_two_sweeps_into_one_folder(tmp_path):
    with hold(tmp_path):
        said = complaint(run_groups, sweep_of(RATES), tmp_path, progress=False)
    assert "is being written by process" in said


def test_the_joined_results_are_made_from_the_groups(swept, folder):
    shutil.rmtree(folder / "results.zarr")
    (folder / "results.zarr.part").mkdir()  # by a sweep that was killed while it wrote
    assert open_sweep(folder).identical(swept[1])
    again, _ = run_groups(sweep_of(DEEPER), folder, resume=True, progress=False)
    assert again.load().identical(swept[1])
    assert not (folder / "results.zarr.part").exists()


def test_nothing_is_overwritten(swept, folder):
    assert "already holds a sweep: add --resume" in complaint(run_groups, sweep_of(DEEPER), folder, progress=False)
    other = sweep_of(Grid({"rate": [0.5, 0.07]}, DEEPER.zips), Config(batch_size=12))
    line = complaint(run_groups, other, folder, resume=True, progress=False)
    assert "batch_size 24 -> 12" in line
    assert "0.05" in line
    assert "0.07" in line
    for refused in (lambda: runner.run(study_of(Config()), folder, resume=True), lambda: ibjax.sweep.open_run(folder)):
        assert "holds a sweep, not a run" in complaint(refused)
    group = next((folder / "groups").iterdir())
    assert "holds a run, not a sweep" in complaint(run_groups, other, group, resume=True, progress=False)
    (folder / "file").touch()
    assert "is a file" in complaint(run_groups, other, folder / "file", progress=False)
    assert open_sweep(folder).load().identical(swept[1])


def test_damage_is_one_line(folder, tmp_path):
    assert "holds no sweep" in complaint(open_sweep, tmp_path)
    (folder / "results.zarr" / "zarr.json").write_text("{")
    assert "delete it and run again with --resume" in complaint(open_sweep, folder)
    shutil.rmtree(folder / "results.zarr")
    shutil.rmtree(folder / "groups")
    assert "no group of" in complaint(open_sweep, folder)
    stored = json.loads((folder / "sweep.json").read_text())
    for text, part in (
        (json.dumps({**stored, "format": 99}), "has layout 99, this ibjax reads up to 1: update ibjax"),
        (json.dumps({"format": 1}), "is damaged"),
        (json.dumps({**stored, "format": None}), "is damaged"),
        ("[1]", "is damaged"),
        ("{", "is damaged"),
    ):
        (folder / "sweep.json").write_text(text)
        assert part in complaint(open_sweep, folder)


def test_damage_of_a_sweep_is_named_and_computed_anew(swept, folder):
    assert verify_sweep(folder) == ()
    name = sweep_of(DEEPER).groups[2].slug
    for file in ("complexity/c/1/0/0/0/0/0", "train_loss/c/0/1/0/0", "zarr.json"):
        content = (folder / "results.zarr" / file).read_bytes()
        (folder / "results.zarr" / file).write_bytes(content[: len(content) // 2])
        (line,) = verify_sweep(folder)
        assert line.startswith("results.zarr")
        assert "damaged" in line
        (folder / "results.zarr" / file).write_bytes(content)
    shutil.copy(folder / "results.zarr/train_loss/c/0/1/0/0", folder / "results.zarr/train_loss/c/1/0/0/0")
    assert verify_sweep(folder) == (f"results.zarr, {name}, train_loss: not what the group has",)
    (folder / "groups" / name / "results.zarr/train_loss/c/1/0").unlink()
    (line,) = verify_sweep(folder)
    assert line == f"{name}: train_loss, replicas 2-2, snapshots 0-2: missing"
    again, _ = run_groups(sweep_of(DEEPER), folder, resume=True, progress=False)
    assert verify_sweep(folder) == ()
    for field in VARIABLES:
        assert again[field].values.tobytes() == swept[1][field].values.tobytes()


def test_how_far_a_sweep_is(folder):
    names = [group.slug for group in sweep_of(DEEPER).groups]
    found = sweep_status(folder)
    assert (found.groups, found.finished, found.begun, found.failed) == (4, tuple(names), {}, {})
    assert (found.left, found.diverged, found.dead, found.holder) == (0, 0, 0, None)
    # One is half way, one has not begun, one is damaged.
    begun, damaged, missing = (folder / "groups" / name for name in names[:3])
    store.reopen(begun).note(status=store.UNFINISHED)
    file = store.record_file(begun, 1)
    save_record(file, load_record(file)._replace(epochs=1))
    (damaged / "results.zarr" / "zarr.json").write_text("{")
    shutil.rmtree(missing)
    seconds = [{"folder": name, "seconds": 10 * (place + 1)} for place, name in enumerate(names)]
    (folder / "plan.json").write_text(json.dumps({"groups": seconds}))
    found = sweep_status(folder)
    assert (found.finished, list(found.begun), list(found.failed)) == ((names[3],), names[:1], names[1:2])
    assert "is damaged" in found.failed[names[1]]
    # Foreseen were the last group's 40 seconds, and 7.5 for 1.5 of the first one's 2 epochs.
    took = sum(sum(status(folder / "groups" / name).seconds.values()) for name in (names[0], names[3]))
    assert found.begun[names[0]].epochs_done == 1.5
    assert found.left == pytest.approx(found.begun[names[0]].left + 30 * took / (40 + 7.5))
    with hold(folder):
        assert sweep_status(folder).holder.pid > 0


def test_lines_tell_of_the_sweep(tmp_path, capsys):
    grid = Grid({"rate": [0.5, 0.05], "batch_size": [24, 1000]})
    run_groups(sweep_of(grid), tmp_path)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["groups"] for line in said if "groups" in line} == {4}
    begun = {line["group"]: line["name"] for line in said if "groups" in line}
    assert list(begun.items()) == [(i + 1, group.slug) for i, group in enumerate(sweep_of(grid).groups)]
    overall = [line["overall"] for line in said if "groups" in line]
    assert overall == sorted(overall)
    assert (overall[0], overall[-1]) == (0.0, 0.75)  # the last group fails at once
    assert [line["groups_failed"] for line in said if "group" in line][-1] == 1
    assert [line["note"][:10] for line in said if "note" in line] == ["batch_size"] * 2
    ended = [line for line in said if line.get("done") == 2]
    assert [(line["chunks_done"], line["masked"], line["total"]) for line in ended] == [(2, 0, 2)] * len(ended)
    assert {line["group"] for line in ended} == {1, 3}


# Groups that fail ------------------------------------------------------------------------------------------------


def test_a_group_that_makes_no_sense_stops_alone(swept, tmp_path):
    grid = Grid({"batch_size": [24, 1000]})
    found, failures = run_groups(sweep_of(grid), tmp_path, progress=False)
    (failure,) = failures.values()
    assert "batch_size must be from 1 to the 72 training samples, got 1000" in failure.message
    assert not failure.memory
    assert read_failures(tmp_path) == failures
    assert found["finished"].values.tolist() == [True, False]
    assert found["failure"].values.tolist() == ["", failure.message]
    assert list(failures_of(found)) == [({"batch_size": 1000}, failure.message)]
    assert failure.message in complaint(select, found, batch_size=1000)
    wanted = swept[1]["train_loss"].isel(rate=0, widths_epochs_measure_replicas=0, snapshot=slice(3))
    np.testing.assert_array_equal(found["train_loss"].isel(batch_size=0).values, wanted.values)


def test_a_sweep_of_which_no_group_began_is_corrected_without_resuming(tmp_path):
    said = complaint(run_groups, sweep_of(Grid({"batch_size": [1000]})), tmp_path, progress=False)
    assert "no group of the sweep could be run; batch_size=1000: batch_size must" in said
    _, failures = run_groups(sweep_of(Grid({"batch_size": [24]})), tmp_path, progress=False)
    assert (failures, read_failures(tmp_path)) == ({}, {})
    assert "already holds a sweep" in complaint(run_groups, sweep_of(RATES), tmp_path, progress=False)


def test_a_group_that_does_not_fit_is_tried_again_with_other_chunks(tmp_path, monkeypatch):
    programs = runner.Program

    def small(study, devices):
        if study.chunk > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes.\nmore of it")
        return programs(study, devices)

    monkeypatch.setattr(runner, "Program", small)
    large = sweep_of(RATES, Config(chunk_size=3))
    complaint(run_groups, large, tmp_path, progress=False)
    failures = read_failures(tmp_path)
    assert list(failures) == ["rate=0.5", "rate=0.05"]
    for failure in failures.values():
        assert failure.memory
        assert failure.message.startswith("3 replicas at a time do not fit in memory (RESOURCE_EXHAUSTED: Out of mem")
        assert failure.message.endswith("run again with --resume --chunk-size 1")
    found, failures = run_groups(sweep_of(RATES), tmp_path, resume=True, progress=False)
    assert failures == read_failures(tmp_path) == {}
    assert found["finished"].values.all()
    again, _ = run_groups(large, tmp_path, resume=True, progress=False)  # what is finished stays as it was
    assert [json.loads(plane.attrs["config"])["chunk_size"] for _, plane in groups_of(again)] == [2, 2]
    assert again.identical(found)


def test_a_damaged_group_stops_alone(folder):
    names = [group.slug for group in sweep_of(DEEPER).groups]
    (folder / "groups" / names[1] / "results.zarr" / "zarr.json").write_text("{")
    found, failures = run_groups(sweep_of(DEEPER), folder, resume=True, progress=False)
    assert list(failures) == [names[1]]
    assert "is damaged" in failures[names[1]].message
    assert found["finished"].values.tolist() == [[True, False], [True, True]]
    shutil.rmtree(folder / "groups" / names[1])
    found, failures = run_groups(sweep_of(DEEPER), folder, resume=True, progress=False)
    assert failures == {}
    assert found["finished"].values.all()


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no"), "not even one replica fits"),
        (jax.errors.JaxRuntimeError("INTERNAL: what"), "XLA refused it: INTERNAL: what"),
        (MemoryError(), "not even one replica fits in memory (out of memory)"),
    ],
)
def test_why_a_group_failed_is_told(error, part, monkeypatch):
    def fail(study, devices):
        raise error

    monkeypatch.setattr(runner, "Program", fail)
    line = complaint(run_groups, sweep_of(RATES, Config(chunk_size=1)), progress=False)
    assert part in line


# The plan --------------------------------------------------------------------------------------------------------


def lowered(config: Config) -> str:
    """The program of a study, in XLA's words."""
    texts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "compiled", lambda program, devices: texts.append(program.as_text()))
        PROGRAM(study_of(config), 1)
    return texts[-1]


ARGUMENTS = {
    "rate": [0.5, 0.05],
    "momentum": [0.5, 0.9],
    "weight_decay": [0.1, 0.01],
    "seed": [0, 1],
    "scale": [1.0, 2.0],
    "noise": [0.0, 1.0],
    "epochs": [2, 9],
}
"""What programs take as arguments."""


def test_programs_with_the_same_key_are_the_same():
    base = Config(optimizer="momentum_l2")
    arguments = dataclasses.replace(base, **{name: values[1] for name, values in ARGUMENTS.items()})
    assert program_key(study_of(base)) == program_key(study_of(arguments))
    assert lowered(base) == lowered(arguments)


def test_groups_that_differ_in_arguments_share_one_program(monkeypatch):
    """And a group's numbers are those of a run whose program is compiled for it alone."""
    counted, compile_ = [], jax.stages.Lowered.compile

    def count(self, *args, **settings):
        counted.append("begin" if isinstance(self.out_info, TrainState) else "go")
        return compile_(self, *args, **settings)

    monkeypatch.setattr(runner, "Program", PROGRAM)
    monkeypatch.setattr(jax.stages.Lowered, "compile", count)
    monkeypatch.setattr("ibjax.sweep.programs._KEPT", {})
    # The first two differ in the learning rate alone.
    table = {name: [first, first, other] for name, (first, other) in ARGUMENTS.items()}
    sweep = sweep_of(Grid(zips=[table | {"rate": [0.5, 0.05, 0.1]}]), Config(optimizer="momentum_l2", replicas=2))
    assert forecast(sweep, probe=False).programs == 1
    found = run_groups(sweep, progress=False)[0]
    assert counted == ["begin", "go", "begin"]  # other initial weights need another program to begin with
    monkeypatch.setattr("ibjax.sweep.programs._KEPT", {})
    last = sweep.groups[-1]
    alone = runner.run(study_of(last.config), progress=False)
    for name in ("train_loss", "weight_distance", "complexity"):
        assert select(found, rate=0.1)[name].values.tobytes() == alone[name].values.tobytes()
    losses = found["train_loss"].isel(snapshot=1).values.reshape(3, -1)
    assert len(np.unique(losses, axis=0)) == 3


def test_a_group_is_compiled_while_the_one_before_it_runs(monkeypatch):
    """By another thread, where there is a core for it; what that finds out is told at the group's turn."""
    threads, compile_ = [], jax.stages.Lowered.compile

    def watched(self, *args, **settings):
        if not isinstance(self.out_info, TrainState):
            threads.append(threading.current_thread().name.split("_")[0])
        return compile_(self, *args, **settings)

    def refused(study):
        runner.compile_for_later(study)
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    monkeypatch.setattr(runner, "Program", PROGRAM)
    monkeypatch.setattr(groups, "compile_for_later", refused)
    monkeypatch.setattr(jax.stages.Lowered, "compile", watched)
    monkeypatch.setattr(jax, "local_devices", jax.devices()[:1].copy)
    sweep = sweep_of(Grid({"widths": [[4, 3, 2], [4, 2, 2]]}), Config(replicas=1, epochs=1))
    found = []
    for cores in (3, 2):
        monkeypatch.setattr("ibjax.sweep.programs._KEPT", {})
        monkeypatch.setattr(groups, "cores", lambda cores=cores: cores)
        found.append(run_groups(sweep, progress=False)[0])
    assert sorted(threads[:2]) == ["MainThread", "ibjax-compiler"]
    assert threads[2:] == ["MainThread", "MainThread"]
    for name in ("train_loss", "complexity"):
        assert found[0][name].values.tobytes() == found[1][name].values.tobytes()


def test_what_hindered_compiling_ahead_is_raised_where_the_program_is_asked_for(monkeypatch):
    monkeypatch.setattr("ibjax.sweep.programs._KEPT", {})
    program = jax.jit(lambda x: x + 1).lower(0.0)

    def full(self):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    with monkeypatch.context() as patch:
        patch.setattr(jax.stages.Lowered, "compile", full)
        compile_ahead(program, jax.devices()[:1])
        with pytest.raises(jax.errors.JaxRuntimeError):
            compiled(program, jax.devices()[:1])
    assert compiled(program, jax.devices()[:1])(1.0) == 2  # and it is not kept


def test_programs_with_other_constants_are_not_shared(monkeypatch):
    monkeypatch.setattr("ibjax.sweep.programs._KEPT", {})
    for constant in (np.arange(2000.0), np.arange(2000.0) + np.eye(2000)[1500], jnp.arange(2000.0)[::-1]):
        program = jax.jit(lambda x, constant=constant: x + jnp.asarray(constant, jnp.float32)).lower(jnp.zeros(2000))
        again = [compiled(program, jax.devices()[:1])(jnp.zeros(2000)) for _ in range(2)]
        np.testing.assert_array_equal(again, [constant] * 2)


def test_programs_that_call_python_are_not_shared(monkeypatch):
    monkeypatch.setattr("ibjax.sweep.programs._KEPT", {})
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    for number in (1.0, 2.0):
        program = jax.jit(lambda x, n=number: x + jax.pure_callback(lambda: np.float32(n), shape)).lower(0.0)
        assert compiled(program, jax.devices()[:1])(0.0) == number


def test_so_many_programs_are_kept(monkeypatch):
    kept = {}
    monkeypatch.setattr("ibjax.sweep.programs._KEPT", kept)
    monkeypatch.setattr("ibjax.sweep.programs.MOST", 2)
    lower = [jax.jit(lambda x, n=n: x + n).lower(0.0) for n in range(3)]
    first, second, _ = (compiled(program, jax.devices()[:1]) for program in lower[:2] + lower[:1])
    assert list(kept.values()) == [second, first]
    compiled(lower[2], jax.devices()[:1])
    assert second not in kept.values()
    assert first in kept.values()


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 12},
        {"widths": (4, 2)},
        {"activation": "relu"},
        {"measure": ("9",)},
        {"chunk_size": 1},
        {"reshuffle": False},
    ],
    ids=str,
)
def test_programs_that_differ_have_other_keys(changes):
    assert program_key(study_of(Config())) != program_key(study_of(dataclasses.replace(Config(), **changes)))


def test_a_forecast_counts():
    grid = Grid({"rate": [0.5, 0.05], "batch_size": [24, 12, 1000]})
    found = forecast(sweep_of(grid), probe=False)
    assert [group.program for group in found.groups] == [0, 1, None, 0, 1, None]
    assert [bool(group.problem) for group in found.groups] == [False, False, True] * 2
    assert found.programs == 2
    assert {group.chunks for group in found.groups if not group.problem} == {2}
    assert found.devices == 2
    assert found.seconds is found.compile_seconds is None
    good = found.groups[0]
    assert found.disk == 4 * good.disk > 0
    assert found.memory >= good.memory > 0
    assert json.loads(json.dumps(found.plain()))["groups"][0]["settings"] == {"rate": "0.5", "batch_size": "24"}
    more = forecast(sweep_of(Grid({"replicas": [6]})), probe=False).groups[0]
    assert (more.disk, more.chunks, more.memory) == (2 * good.disk, 3, good.memory)
    assert "no group of the sweep can be run" in complaint(forecast, sweep_of(Grid({"batch_size": [1000]})))


def test_a_forecast_counts_the_devices_of_all_processes(monkeypatch):
    many = study_of(Config(replicas=80))  # 40 chunks
    probe = costs._Probe(compiling=0.0, epoch=1.0, snapshot=0.0, memory=None)
    sweep, own = sweep_of(Grid({"replicas": [80]})), len(jax.local_devices())
    assert (forecast(sweep, probe=False).devices, costs._seconds(many, many, probe)) == (own, 2 * 40 / own)
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert (forecast(sweep, probe=False).devices, costs._seconds(many, many, probe)) == (2 * own, 40 / own)


def test_a_probe_adds_times(monkeypatch):
    monkeypatch.setattr("ibjax.sweep.costs.PROBE_SECONDS", 0.01)
    found = forecast(sweep_of(Grid({"rate": [0.5, 0.05], "replicas": [3, 300]})))
    few, many = found.groups[:2]
    assert few.seconds >= 0
    assert many.seconds == pytest.approx(150 / 4 * few.seconds * 2 / 2, rel=1)  # rounds of four devices against one
    assert found.compile_seconds > 0
    assert found.seconds >= found.programs * found.compile_seconds
    assert found.programs == 2  # two chunks on two devices, 150 on four
    assert few.memory > 0


def test_shared_programs_leave_no_setting_behind(monkeypatch):
    name = "jax_compilation_cache_dir"
    before = jax.config.values[name]
    try:
        jax.config.update(name, "/mine")
        with share_programs():
            assert jax.config.values[name] == "/mine"
        jax.config.update(name, None)
        with contextlib.suppress(KeyError), share_programs():
            assert jax.config.values[name] is not None
            raise KeyError
        assert jax.config.values[name] is None
    finally:
        jax.config.update(name, before)
