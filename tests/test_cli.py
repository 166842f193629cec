"""What a person types and reads: every command, and one line for everything that can be wrong."""

import contextlib
import errno
import io
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import ibjax
from ibjax.cli import main
from ibjax.datasets import SPLITS
from ibjax.errors import InputError
from ibjax.estimators import ESTIMATORS, RANGES, RULES
from ibjax.experiments import EXPERIMENTS, SZT, study_of
from ibjax.networks import ACTIVATIONS, INITIALIZERS
from ibjax.plane import summary_table
from ibjax.sweep import plan, runner, store, use_every_core
from ibjax.training import OPTIMIZERS

SMALL = ["--replicas", "3", "--epochs", "4", "--batch-size", "2048", "--widths", "12", "3", "2", "--keep-parameters"]
"""Four epochs of two steps each; two chunks of replicas."""


class Answer(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


def ask(*args, encoding="utf-8") -> Answer:
    """Run a command line in this process; its output goes where a pipe's would."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as stop:  # after --help
            status = stop.code or 0
    return Answer(status, *(stream.buffer.getvalue().decode(encoding) for stream in (out, err)))


def run_small(out, *more) -> Answer:
    return ask("run", "szt", *SMALL, "--no-figures", "--out", out, *more)


def assert_complaint(answer, *parts, status=2):
    """One line that says who complains, about what, and what to do."""
    (line,) = answer.err.splitlines()
    assert line.startswith("ibjax: ")
    for part in parts:
        assert str(part) in line
    assert answer.status == status


@pytest.fixture(scope="module", autouse=True)
def cores():
    """The numbers of devices asked for: JAX is in use, so its devices cannot be changed.

    Segments are two epochs long, and a program is compiled once.
    """
    asked, compiled = [], {}
    compile_ = runner.Program

    def once(study, devices):
        key = json.dumps(study.identity), study.keeps_parameters, devices
        if key not in compiled:
            compiled[key] = compile_(study, devices)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Program", once)
        patch.setattr(ibjax.sweep, "use_every_core", asked.append)
        patch.setattr(plan, "SEGMENT_STEPS", 4)
        patch.setenv("COLUMNS", "100")
        yield asked


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Answer]:
    """A run that nothing interrupted: its folder, and what its command said."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, run_small(folder)


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """Recorded activations of two epochs."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("recording") / "mine.npz"
    np.savez(path, t1=rng.normal(size=(2, 50, 3)), t2=rng.normal(size=(2, 50, 1)), y=rng.integers(0, 2, 50))
    return path


# What it says ----------------------------------------------------------------------------------------------------


def test_version():
    assert ask("--version") == (0, f"ibjax {ibjax.__version__}\n", "")


def test_list_names_all_that_can_be_named():
    answer = ask("list")
    assert answer.status == 0
    assert answer.err == ""
    words = answer.out.replace(",", " ").replace(":", " ").split()
    for names in (ESTIMATORS, RULES, RANGES, ACTIVATIONS, INITIALIZERS, OPTIMIZERS, SPLITS, EXPERIMENTS):
        assert set(names) <= set(words)
    for experiment in EXPERIMENTS.values():
        assert experiment.summary in answer.out
        assert set(experiment.presets) <= set(words)


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ([], ["list", "run", "sweep", "show", "plot", "plane", "measure"]),
        (["list"], ["usage: ibjax list"]),
        (["run"], ["experiment"]),
        (["run", "szt"], ["--preset", *EXPERIMENTS["szt"].presets, "--replicas", "50", "--resume", "--out", "--seed"]),
        (["run", "szt", "--preset", "idnns"], ["--replicas", "40", "now idnns"]),
        (["run", "szt", "--preset=lorenzen"], ["now lorenzen"]),
        (["show"], ["PATH", "--estimator"]),
        (["plot"], ["PATH", "--out"]),
        (["plane"], ["PATH", "--measure", "t1, t2"]),
        (["measure"], ["PATH", "--measure"]),
        (["curve"], ["PATH", "--out", "--betas", "--tolerance", "--counts", "--no-transitions"]),
    ],
    ids=" ".join,
)
def test_help(args, wanted):
    answer = ask(*args, "--help")
    assert answer.status == 0
    assert answer.err == ""
    assert "usage: ibjax" in answer.out
    for words in wanted:
        assert words in answer.out


def test_run_says_what_it_found(finished):
    folder, answer = finished
    assert answer.status == 0
    said = [json.loads(line) for line in answer.err.splitlines()]
    assert [line["done"] for line in said] == sorted(line["done"] for line in said)
    assert {(line["title"], line["total"], line["unit"]) for line in said} == {
        ("12-bit task, tanh 12-3-2", 4, "epochs")
    }
    assert (said[-1]["done"], said[-1]["left"]) == (4, 0)
    assert 0 < said[-1]["training_accuracy"] < 1
    for words in ("12-bit task, tanh 12-3-2", "binning:bins=30,low=-1,high=1", "3 replicas", "0 diverged", "T1"):
        assert words in answer.out
    assert "epoch 4 of 4" in " ".join(answer.out.split())
    plane = ibjax.open(folder)
    assert plane.attrs["status"] == "finished"
    assert dict(plane.sizes) == {"estimator": 1, "replica": 3, "snapshot": 5, "layer": 2}
    assert sorted(path.name for path in folder.iterdir()) == ["claims.json", "parameters.zarr", "results.zarr", "state"]


def test_show_prints_the_summary_s_numbers(finished):
    folder, said = finished
    answer = ask("show", folder)
    assert (answer.status, answer.err) == (0, "")
    assert said.out.startswith(answer.out)
    for row in summary_table(ibjax.open(folder)):
        for interval in (row.complexity_first, row.complexity_last, row.relevance_peak, row.compression):
            assert f"{interval.mean:.3f} ±" in answer.out


def test_run_asks_for_devices(finished, cores, tmp_path):
    assert cores[0] is None
    assert run_small(finished[0], "--devices", "3", "--resume").status == 0
    assert cores[-1] == 3


def test_a_preset_sets_the_defaults(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("ibjax.cli._conduct", lambda config, *args: seen.append((config, args)))
    monkeypatch.chdir(tmp_path)
    assert ask("run", "szt", "--preset", "idnns", "--replicas", "7", "--no-figures").status == 0
    assert ask("run", "szt", "--seed", "5", "--gamma", "0.3", "--batch-size", "None", "--no-figures").status == 0
    assert ask("run", "szt", "--preset=ibsgd", "--measure", "binning", "binning:rule=bits", "--no-figures").status == 0
    (first, (out, *_)), (second, (default_out, *_)), (third, (_, options, alone)) = seen
    assert (options.resume, options.figures, options.restarts, alone) == (False, False, 0, True)
    idnns = EXPERIMENTS["szt"].presets["idnns"]
    assert (first.replicas, first.optimizer, first.split) == (7, idnns.optimizer, idnns.split)
    assert out == Path("runs/szt-idnns")
    assert default_out == Path("runs/szt-deck")
    assert second == SZT(seed=5, gamma=0.3, batch_size=None)
    assert third.measure == ("binning", "binning:rule=bits")
    assert third.initializer == "ibsgd"


@pytest.fixture
def drawn(monkeypatch):
    """What is to be drawn, in place of figures: (run, folder)."""
    calls = []

    def save_all(plane, folder):
        calls.append((plane, folder))
        return [folder / "plane.png", folder / "plane.svg"]

    monkeypatch.setattr("ibjax.plotting.save_all", save_all)
    return calls


def test_run_draws_its_figures(finished, drawn):
    folder, said = finished
    answer = ask("run", "szt", *SMALL, "--out", folder, "--resume")
    assert answer == (0, said.out, f"4 figures in {folder / 'figures'}\n")
    ((plane, where),) = drawn
    assert where == folder / "figures"
    assert plane.identical(ibjax.open(folder))


def test_plot_draws_figures_and_says_where(finished, tmp_path):
    answer = ask("plot", finished[0], "--out", tmp_path / "drawn")
    assert answer.status == 0
    figures = {path.name: path.stat().st_size for path in (tmp_path / "drawn").iterdir()}
    assert set(figures) >= {"plane.png", "plane.svg", "plane.gif", "training.png", "gradients.png"}
    assert min(figures.values()) > 5000
    assert f"{len(figures)} figures in {tmp_path / 'drawn'}" in answer.out + answer.err


def test_plot_draws_into_the_run_s_folder(finished, drawn):
    assert ask("plot", finished[0]).status == 0
    assert [where for _, where in drawn] == [finished[0] / "figures"]


def test_plane_measures_a_recording(recording, drawn, tmp_path):
    answer = ask("plane", recording, "--measure", "binning:bins=4,range=layer", "--out", tmp_path / "drawn")
    assert answer.status == 0
    assert "mine" in answer.out
    assert "binning:bins=4,range=layer" in answer.out
    assert "epoch 1 of 1" in " ".join(answer.out.split())
    ((plane, where),) = drawn
    assert where == tmp_path / "drawn"
    assert plane["complexity"].shape == (1, 1, 2, 2)
    assert f"2 figures in {where}" in answer.out + answer.err


def test_measure_adds_an_estimator_and_shows_it(folder):
    answer = ask("measure", folder, "--measure", "binning:bins=10")
    assert answer.status == 0
    plane = ibjax.open(folder)
    assert plane["estimator"].values.tolist() == ["binning:bins=30,low=-1,high=1", "binning:bins=10,low=-1,high=1"]
    assert plane["complexity"].notnull().all()
    shown = ask("show", folder, "--estimator", "1")
    assert "estimator 1: binning:bins=10" in shown.out
    for row in summary_table(plane, 1):
        assert f"{row.complexity_last.mean:.3f} ±" in shown.out
        assert f"{row.complexity_last.mean:.3f} ±" in answer.out


def test_all_replicas_lost(tmp_path):
    answer = run_small(tmp_path, "--learning-rate", "1e30")
    assert answer.status == 2
    complaint = answer.err.splitlines()[-1]
    assert complaint.startswith("ibjax: all 3 replicas are masked: none is alive at epoch 4")
    assert "lower the learning rate" in complaint
    assert ibjax.open(tmp_path).attrs["status"] == "finished"


# What is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("shwo", ["shwo", "show", "measure"]),
        ("run", ["experiment", "ibjax list"]),
        ("run --preset deck", ["needs an experiment first", "szt"]),
        ("run sz", ["unknown experiment 'sz': did you mean 'szt'? Choose from szt"]),
        (
            "run szt --preset dekc",
            ["unknown preset of szt 'dekc': did you mean 'deck'? Choose from deck, paper, quick"],
        ),
        ("run szt --preset=", ["unknown preset of szt ''", "Choose from deck"]),
        ("run szt --preset", ["--preset needs a value"]),
        (
            "run szt --epochs many",
            ["ibjax: --epochs takes INT, not 'many': Passes over the training set (default: 10000)"],
        ),
        (
            "run edge-mnist --images mnist",
            ["ibjax: --images takes {None}|INT, not 'mnist': Train on the first so many"],
        ),
        ("run szt --activation tahn", ["unknown activation 'tahn': did you mean 'tanh'? Choose from tanh, relu"]),
        ("run szt --optimizer adan", ["unknown optimizer 'adan': did you mean 'adam'? Choose from sgd"]),
        ("run szt --initializer glorot", ["unknown initializer 'glorot'", "Choose from idnns, ibsgd, lorenzen"]),
        ("run szt --split stratifed", ["unknown split 'stratifed': did you mean 'stratified'? Choose from random"]),
        ("run szt --measure-on tset", ["unknown measure_on 'tset': did you mean 'test'? Choose from all"]),
        ("run szt --measure bining", ["unknown estimator 'bining': did you mean 'binning'? Choose from"]),
        ("run szt --measure binning:bin=3", ["unknown setting of binning 'bin': did you mean 'bins'? Choose from"]),
        ("run szt --measure binning:rule=bit", ["unknown binning rule 'bit': did you mean 'bits'? Choose from"]),
        ("run szt --measure binning:range=rum", ["unknown binning range 'rum': did you mean 'run'? Choose from"]),
        ("run szt --measure binning:bins=many", ["bins of binning must be a whole number, got 'many'"]),
        ("run szt --measure binning:bins=1", ["bins must be a whole number of 2 or more, got 1"]),
        ("run szt --measure binning:low=1,high=0", ["must have low < high, got 1.0 to 0.0"]),
        ("run szt --measure binning:rule=width,width=0", ["width must be positive, got 0.0"]),
        ("run szt --measure", ["measure needs at least one estimator, for example 'binning'"]),
        ("run szt --measure binning binning:bins=30", ["an estimator is named twice: binning:bins=30"]),
        ("run szt --epoch 5", ["--epoch", "--epochs", "--help"]),
        ("run szt --nonsense 5", ["--nonsense", "--help"]),
        ("run szt extra", ["extra", "--help"]),
        ("run szt --epochs five", ["--epochs", "'five'", "--help"]),
        ("run szt --epochs 5.5", ["--epochs", "'5.5'", "--help"]),
        ("run szt --epochs", ["--epochs", "--help"]),
        ("run szt --epochs 0", ["epochs must be 1 or more, got 0"]),
        ("run szt --learning-rate fast", ["--learning-rate", "'fast'", "--help"]),
        ("run szt --learning-rate -1", ["learning_rate must be positive and finite, got -1.0"]),
        ("run szt --learning-rate nan", ["learning_rate must be positive and finite, got nan"]),
        ("run szt --momentum 1", ["momentum must be at least 0 and below 1, got 1.0"]),
        ("run szt --weight-decay -1", ["weight_decay must be 0 or more, got -1.0"]),
        ("run szt --batch-size 5000", ["batch_size", "3277 training samples, got 5000: None takes the full batch"]),
        ("run szt --batch-size 0", ["batch_size must be from 1", "got 0"]),
        ("run szt --batch-size all", ["--batch-size", "'all'", "None"]),
        ("run szt --fraction 0", ["fraction must be from 0.01 to 1, got 0.0"]),
        ("run szt --fraction 2", ["fraction must be from 0.01 to 1, got 2.0"]),
        ("run szt --fraction nan", ["fraction must be from 0.01 to 1, got nan"]),
        ("run szt --fraction 1 --measure-on test", ["the test set is empty, lower fraction or measure on all"]),
        ("run szt --widths 12", ["widths must name input and output, each 1 or more, got (12,)"]),
        ("run szt --widths 12 0 2", ["widths must name input and output, each 1 or more, got (12, 0, 2)"]),
        ("run szt --widths 12 4 3", ["begin with the 12 bits and end with the 2 classes, got (12, 4, 3)"]),
        ("run szt --widths 10 4 2", ["begin with the 12 bits and end with the 2 classes, got (10, 4, 2)"]),
        ("run szt --gamma -1", ["gamma must be positive and finite, got -1.0: leave it out for hard labels"]),
        ("run szt --gamma 0", ["gamma must be positive and finite, got 0.0: leave it out for hard labels"]),
        ("run szt --gamma nan", ["gamma must be finite, got nan: None keeps the hard labels"]),
        ("run szt --theta inf", ["theta must be finite, got inf: the public labels have 119.5"]),
        ("run szt --replicas 0", ["replicas must be 1 or more, got 0"]),
        ("run szt --chunk-size 0", ["chunk_size must be 1 or more, got 0"]),
        ("run szt --snapshots 1", ["snapshots must be 2 or more (the start and the end), got 1"]),
        ("run szt --seed -1", ["seed must be from 0", "got -1"]),
        ("run szt --seed 9223372036854775808", ["seed must be from 0", "got 9223372036854775808"]),
        ("run szt --seed 99999999999999999999", ["seed must be from 0", "got 99999999999999999999"]),
        ("show", ["PATH", "ibjax show --help"]),
        ("show nowhere", ["nowhere holds no run (results.zarr is missing)", "ibjax run"]),
        ("plot nowhere", ["nowhere holds no run (results.zarr is missing)", "ibjax run"]),
        ("measure nowhere --measure binning", ["nowhere holds no run (results.zarr is missing)", "ibjax run"]),
        ("measure nowhere", ["--measure", "ibjax measure --help"]),
        ("plane nowhere.npz", ["nowhere.npz does not exist", "numpy.savez"]),
        ("plane", ["PATH", "ibjax plane --help"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_input_is_one_line(args, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = ask(*args.split(" "))
    assert_complaint(answer, *parts)
    assert answer.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("devices", [0, -1])
def test_a_number_of_devices_that_makes_no_sense(devices):
    with pytest.raises(InputError, match=f"devices must be 1 or more, got {devices}"):
        use_every_core(devices)


def test_no_command_is_a_question():
    answer = ask()
    assert answer.status == 2
    for command in ("list", "run", "show", "plot", "plane", "measure"):
        assert command in answer.err


def test_wrong_input_about_a_run(folder, tmp_path):
    assert_complaint(ask("show", folder, "--estimator", "1"), "got 1", "from 0 to 0", "binning:bins=30")
    assert_complaint(ask("show", folder, "--estimator", "-1"), "got -1", "from 0 to 0")
    assert_complaint(ask("measure", folder, "--measure", "bining"), "'bining'", "did you mean 'binning'?")
    (tmp_path / "file").write_text("")
    assert_complaint(ask("show", tmp_path / "file"), tmp_path / "file", "holds no run")


def test_measure_without_an_estimator(folder):
    assert_complaint(ask("measure", folder, "--measure"), "measure needs at least one estimator, for example 'binning'")


def test_measure_without_parameters(tmp_path):
    study = study_of(SZT(replicas=1, epochs=1, batch_size=2048, widths=(12, 2)))
    made = store.open_or_create(study, tmp_path, resume=False)
    assert_complaint(ask("measure", tmp_path, "--measure", "binning"), tmp_path, "is not finished", "--resume")
    made.note(status=store.FINISHED)
    assert_complaint(ask("measure", tmp_path, "--measure", "binning"), tmp_path, "is missing", "--resume")


def test_nothing_is_measured_yet(tmp_path):
    store.open_or_create(study_of(SZT(replicas=1)), tmp_path, resume=False)
    for command in ("show", "plot"):
        assert_complaint(ask(command, tmp_path), "no snapshot has been measured yet")


def test_a_folder_that_holds_a_run(finished):
    folder, _ = finished
    assert_complaint(run_small(folder), folder, "already holds a run", "--resume", "choose another folder")
    other = run_small(folder, "--resume", "--learning-rate", "0.1", "--seed", "1")
    assert_complaint(other, folder, "learning_rate 0.05 -> 0.1", "seed 0 -> 1", "choose another folder")


def test_out_is_a_file(tmp_path):
    (tmp_path / "file").write_text("kept")
    assert_complaint(run_small(tmp_path / "file"), tmp_path / "file", "is a file", "name a folder")
    assert (tmp_path / "file").read_text() == "kept"


def test_out_is_below_a_file(tmp_path):
    (tmp_path / "file").write_text("kept")
    assert_complaint(run_small(tmp_path / "file" / "run"), tmp_path / "file", "folder")


def test_figures_cannot_go_into_a_file(folder, tmp_path):
    (tmp_path / "file").write_text("kept")
    assert_complaint(ask("plot", folder, "--out", tmp_path / "file"), tmp_path / "file", "folder")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_must_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert_complaint(run_small(tmp_path / "run"), tmp_path / "run", "Permission denied", "folder")
    finally:
        tmp_path.chmod(0o700)


def flip(folder, name):
    """Change one byte of the measurements."""
    file = next(path for path in sorted((folder / store.RESULTS / name / "c").rglob("*")) if path.is_file())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("command", ["show", "plot", "measure"])
def test_damaged_results_are_one_line(command, folder):
    flip(folder, "complexity")
    answer = {
        "show": lambda: ask("show", folder),
        "plot": lambda: ask("plot", folder),
        "measure": lambda: ask("measure", folder, "--measure", "binning:bins=10"),
    }[command]()
    progress, complaint = answer.err.splitlines()[:-1], answer.err.splitlines()[-1]
    assert_complaint(answer._replace(err=complaint), folder, "damaged")
    assert all(json.loads(line)["title"].startswith("measuring") for line in progress)
    assert len(progress) <= (command == "measure")


def test_verify_names_what_is_damaged_and_resume_repairs_it(finished, folder):
    assert ask("verify", folder) == (0, "whole\n", "")
    flip(folder, "complexity")
    answer = ask("verify", folder)
    assert (answer.status, answer.err) == (1, "")
    first, last = answer.out.splitlines()[0], answer.out.splitlines()[-1]
    assert first.startswith("complexity[0], replicas 0-1, snapshots 0-2: damaged")
    assert last.endswith("damaged or missing: run again with --resume")
    repaired = run_small(folder, "--resume")
    assert (repaired.status, repaired.out) == (0, finished[1].out)
    assert "computed anew" in json.loads(repaired.err.splitlines()[0])["note"]
    assert ask("verify", folder).status == 0


def test_status_of_a_finished_run(finished):
    answer = ask("status", finished[0])
    assert (answer.status, answer.err) == (0, "")
    said = answer.out.splitlines()
    assert said[0] == "12-bit task, tanh 12-3-2: finished"
    assert said[1] == "2 of 2 chunks of replicas, epoch 4 of 4"
    assert said[2].endswith("), 0 s left")
    assert said[3:] == ["masked at epoch 4: 0 diverged, 0 dead", "nobody writes into it now"]


def test_merge_says_what_it_made(finished, folder, tmp_path):
    answer = ask("merge", finished[0], folder, "--out", tmp_path / "both")
    assert (answer.status, answer.out) == (0, "")
    assert " ".join(answer.err.split()) == f"2 runs in {tmp_path / 'both'}, finished: 3 replicas"
    assert finished[1].out.startswith(ask("show", tmp_path / "both").out)
    assert_complaint(ask("merge", folder, "--out", tmp_path / "one"), "two folders or more")
    assert_complaint(ask("merge", folder, finished[0], "--out", folder), "is not empty")


def test_damaged_parameters_are_one_line(folder):
    for file in (folder / store.PARAMETERS / "layers.0.weight" / "c").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-3])
    assert_complaint(ask("measure", folder, "--measure", "binning:bins=10"), folder, "damaged")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_recordings_that_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    assert_complaint(ask("plane", tmp_path / "text.npz"), "text.npz is no NumPy .npz archive", "numpy.savez")
    np.savez(tmp_path / "less.npz", t1=np.zeros((3, 1)))
    assert_complaint(ask("plane", tmp_path / "less.npz"), "less.npz must hold t1, t2, ... and y, it has t1")
    np.savez(tmp_path / "short.npz", t1=np.zeros((3, 1)), y=np.zeros(2, int))
    assert_complaint(ask("plane", tmp_path / "short.npz"), "y", "(2,)")
    np.savez(tmp_path / "epochs.npz", t1=np.zeros((1, 3, 1)), y=np.zeros(3, int), epochs=np.array(["first"]))
    assert_complaint(ask("plane", tmp_path / "epochs.npz"), "epochs must be", "first")


def test_a_stream_that_takes_no_more_than_ascii(finished):
    folder, _ = finished
    answer = ask("show", folder, encoding="ascii")
    assert answer.status == 0
    assert "I(X;T)" in answer.out
    complaint = ask("run", "szt", "--epochs", "five", encoding="ascii")
    assert_complaint(complaint, "'five'")
    assert "---" not in complaint.err


# What goes wrong on the way --------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch):
    """Let the store's third write, that of the second segment, raise an error."""

    def fail(error):
        calls, write = [], store.Store.write

        def failing_write(*args):
            calls.append(None)
            if len(calls) == 3:
                raise error
            return write(*args)

        monkeypatch.setattr(store.Store, "write", failing_write)

    return fail


def assert_goes_on(out, finished):
    """What was measured before is kept, can be shown, and the run can be finished, bit for bit."""
    whole, part = ibjax.open(finished[0]), ibjax.open(out)
    assert part.attrs["status"] == "unfinished"
    np.testing.assert_array_equal(part["complexity"][:, :, :3], whole["complexity"][:, :, :3])
    assert part["complexity"][:, :, 3:].isnull().all()
    shown = ask("show", out)
    assert shown.status == 0
    assert "epoch 2 of 4" in " ".join(shown.out.split())
    resumed = run_small(out, "--resume")
    assert resumed.status == 0
    assert resumed.out == finished[1].out
    found = ibjax.open(out)
    for name in whole.data_vars:
        assert found[name].values.tobytes() == whole[name].values.tobytes()


def test_interrupted(finished, failing, tmp_path, monkeypatch):
    with monkeypatch.context():
        failing(KeyboardInterrupt())
        answer = run_small(tmp_path / "run")
    monkeypatch.undo()
    assert answer.status == 130
    assert answer.err.splitlines()[-1] == (
        f"ibjax: interrupted: what was measured is in {tmp_path / 'run'}, add --resume to go on"
    )
    assert "Traceback" not in answer.err
    assert_goes_on(tmp_path / "run", finished)


def test_what_was_measured_is_damaged_before_it_goes_on(finished, failing, tmp_path, monkeypatch):
    failing(KeyboardInterrupt())
    run_small(tmp_path / "run")
    monkeypatch.undo()
    flip(tmp_path / "run", "complexity")
    answer = run_small(tmp_path / "run", "--resume")
    assert (answer.status, answer.out) == (0, finished[1].out)


def test_interrupted_elsewhere(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("ibjax.open", interrupt, raising=False)
    assert_complaint(ask("show", "anything"), "interrupted", status=130)


def test_the_disk_is_full(finished, failing, tmp_path, monkeypatch):
    failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    answer = run_small(tmp_path / "run")
    monkeypatch.undo()
    assert answer.status == 2
    complaint = answer.err.splitlines()[-1]
    assert complaint.startswith("ibjax: ")
    assert os.strerror(errno.ENOSPC) in complaint
    assert "Traceback" not in answer.err
    assert_goes_on(tmp_path / "run", finished)
    # And it names where, and the remedy.
    assert str(tmp_path / "run") in complaint
    assert "--resume" in complaint


# --- estimate ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    file = tmp_path_factory.mktemp("samples") / "samples.npz"
    x, noise = np.random.default_rng(0).normal(size=(2, 300))
    np.savez(file, x=x, y=x + noise, label=(x > 0).astype(int), flat=np.ones(300), words=np.array(["a"] * 300))
    return file


def test_estimate_says_what_it_found_and_how(samples):
    answer = ask("estimate", samples, "--method", "gaussian", "--units", "nats", "--permutations", "19")
    with np.load(samples) as file:
        found = ibjax.mutual_information(file["x"], file["y"], "gaussian", units="nats")
    first, second, third = answer.out.splitlines()
    assert first == f"I(x;y) = {found.value:.4f} ± {found.std_error:.4f} nats"
    assert second == "gaussian, 300 samples, 1 + 1 columns"
    assert third == "p = 0.05 of independence, by 19 re-orderings of y"
    assert (answer.status, answer.err) == (0, "")


def test_estimate_of_labels_and_cautions(samples):
    answer = ask("estimate", samples, "--y", "flat", "--error", "none", "--method", "gaussian")
    assert "I(x;flat) = 0.0000" in answer.out
    assert "caution: a variable is constant" in answer.out
    answer = ask("estimate", samples, "--x", "label", "--y", "label", "--method", "plugin", "--error", "none")
    assert answer.out.startswith("I(label;label) = 0.9")
    assert "±" not in answer.out


def test_estimate_of_what_cannot_be(samples, tmp_path):
    assert_complaint(
        ask("estimate", samples, "--y", "z"), "no array z, only x, y, label, flat, words: name one with --y"
    )
    assert_complaint(
        ask("estimate", samples, "--y", "words"), "y must be real numbers", "encode categories as integers"
    )
    assert_complaint(ask("estimate", samples, "--method", "kgs"), "did you mean 'ksg'")
    assert_complaint(ask("estimate", samples, "--method", "plugin"), "x must be integers")
    assert_complaint(ask("estimate", samples, "--permutations", "-1"), "n must be a positive whole number")
    assert_complaint(ask("estimate", tmp_path / "no.npz"), "no.npz does not exist", "numpy.savez(path, x=..., y=...)")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object), y=np.ones(1))
    assert_complaint(ask("estimate", tmp_path / "objects.npz"), "is no NumPy .npz archive of plain arrays")


# --- curve -------------------------------------------------------------------------------------------------


SYMMETRIC = np.array([[0.45, 0.05], [0.05, 0.45]])


@pytest.fixture
def table(tmp_path):
    """The file of a binary symmetric source."""
    np.save(tmp_path / "table.npy", SYMMETRIC)
    return tmp_path / "table.npy"


def read_curve(folder):
    return np.genfromtxt(folder / "curve.csv", delimiter=",", names=True)


def test_curve_says_what_it_found_and_draws_it(table, tmp_path):
    answer = ask("curve", table, "--out", tmp_path / "new" / "out")
    assert answer.status == 0
    out = tmp_path / "new" / "out"
    stored = read_curve(out)
    words = " ".join(answer.out.split())
    assert "2 inputs, 2 distinct, 2 labels; I(X;Y) = 0.5310 bits, H(X) = 1.0000 bits" in words
    assert "1.5625 1 to 2 continuous" in words
    assert "certified" in words
    assert "caution" not in words
    said = [line for line in answer.err.splitlines() if not line.startswith("solving table.npy: ")]
    assert said == [f"{stored.size} solutions in {out / 'curve.csv'}", f"6 figures in {out}"]
    names = {f"{name}.{kind}" for name in ("curve", "tree", "encoder") for kind in ("png", "svg")}
    assert {path.name for path in out.iterdir()} == {"curve.csv", *names}
    found = ibjax.bottleneck.curve(SYMMETRIC, stored["beta"])
    for column in ("complexity", "relevance", "lagrangian"):
        np.testing.assert_allclose(stored[f"{column}_nats"], getattr(found, column), atol=1e-8)
    assert (stored["gap_nats"] <= 1e-9).all()
    assert (stored["relevance_nats"] <= stored["upper_nats"] + 1e-9).all()
    # A solution just below and just above the transition at 1 / 0.8^2.
    assert np.sort(abs(stored["beta"] - 1.5625))[1] < 1e-3
    assert set(stored["clusters"][abs(stored["beta"] - 1.5625) < 2e-3]) == {1, 2}


@pytest.mark.parametrize("name", ["counts.csv", "counts.npy", "pair.npz"])
def test_curve_reads_counts_and_pairs(name, tmp_path):
    file = tmp_path / name
    if name == "counts.csv":
        np.savetxt(file, SYMMETRIC * 100, delimiter=",")
    elif name == "counts.npy":
        np.save(file, np.array([[45, 5], [5, 45]]))
    else:
        np.savez(file, p_x=[0.5, 0.5], p_y_given_x=SYMMETRIC * 2)
    counts = () if name == "pair.npz" else ("--counts",)
    answer = ask("curve", file, "--out", tmp_path / "out", "--betas", 3, 2, "--no-figures", "--no-transitions", *counts)
    assert answer.status == 0
    assert "continuous" not in answer.out
    stored = read_curve(tmp_path / "out")
    np.testing.assert_array_equal(stored["beta"], [2, 3])
    np.testing.assert_allclose(stored["complexity_nats"][1], 0.6578, atol=1e-4)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["curve.csv"]


def test_curve_says_how_far_it_is_where_there_is_no_terminal(table, tmp_path, monkeypatch):
    monkeypatch.setattr("ibjax.sweep.progress.LINES_EVERY", -1.0)
    answer = ask("curve", table, "--out", tmp_path / "out", "--no-figures")
    *said, last = answer.err.splitlines()
    assert last.endswith("curve.csv")
    assert said[0] == "solving table.npy: 16 betas"
    assert said[-1].startswith("solving table.npy: 1 transitions, the last at ")


@pytest.mark.slow
def test_curve_of_more_labels_has_transitions_and_no_proof(tmp_path):
    np.save(tmp_path / "erasure.npy", [[0.375, 0, 0.0625, 0.0625], [0, 0.375, 0.0625, 0.0625]])
    answer = ask("curve", tmp_path / "erasure.npy", "--out", tmp_path / "out", "--betas", 1.5, "--no-figures")
    assert answer.status == 0
    assert "searched: likely, not proven" in answer.out
    assert "1 to 2" in answer.out
    np.testing.assert_allclose(read_curve(tmp_path / "out")["relevance_nats"], 0.75 * np.log(2), atol=1e-9)


def test_curve_that_does_not_converge_says_so(table, tmp_path):
    settings = ("--betas", 2, 3, "--tolerance", 1e-300, "--no-figures", "--no-transitions")
    answer = ask("curve", table, "--out", tmp_path / "out", *settings)
    assert answer.status == 0
    assert "caution: 2 of 2 did not converge, first beta 2.0000: the gap is above the tolerance" in " ".join(
        answer.out.split()
    )
    np.testing.assert_array_equal(read_curve(tmp_path / "out")["status"], 1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ([[45, 5], [5, 45]], ["table.npy sums to 100, not to 1: add --counts if it counts observations"]),
        ([[0.5, 0.5]], ["X has one symbol"]),
        ([[0.5], [0.5]], ["Y has one symbol"]),
        ([[0.5, np.nan], [0.25, 0.25]], ["[(0, 1)] is nan"]),
        ([[0.75, -0.25], [0.25, 0.25]], ["[(0, 1)] is -0.25"]),
        (np.full((2, 2, 2), 0.125), ["table.npy must hold a table of shape (|X|, |Y|), it has shape (2, 2, 2)"]),
        ([0.5, 0.5], ["it has shape (2,)"]),
        (np.zeros((0, 2)), ["table", "empty"]),
        ([["a", "b"], ["c", "d"]], ["table.npy must hold real numbers, it has <U1"]),
        ([[0.5j, 0.5], [0, 0]], ["it has complex128"]),
        (np.array([[{}]], object), ["table.npy is no table of plain numbers", "numpy.save"]),
    ],
    ids=lambda value: "",
)
def test_tables_that_are_refused(content, parts, tmp_path):
    np.save(tmp_path / "table.npy", content)
    answer = ask("curve", tmp_path / "table.npy", "--out", tmp_path / "out")
    assert_complaint(answer, *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("unchecked")
def test_curve_of_what_cannot_be(table, tmp_path):
    out = tmp_path / "out"
    assert_complaint(ask("curve", tmp_path / "no.npy"), "no.npy does not exist", "numpy.save")
    (tmp_path / "text.npy").write_text("hello")
    assert_complaint(ask("curve", tmp_path / "text.npy"), "text.npy is no table of plain numbers")
    (tmp_path / "words.csv").write_text("x,y\n0.5,0.5\n")
    assert_complaint(ask("curve", tmp_path / "words.csv"), "words.csv is no table of plain numbers")
    (tmp_path / "empty.csv").write_text("")
    assert_complaint(ask("curve", tmp_path / "empty.csv"), "empty.csv is no table of plain numbers")
    (tmp_path / "table.txt").write_text("")
    assert_complaint(ask("curve", tmp_path / "table.txt"), "table.txt must be .npy, .csv or .npz")
    np.savez(tmp_path / "one.npz", p=SYMMETRIC)
    (tmp_path / "archive.npy").write_bytes((tmp_path / "one.npz").read_bytes())
    assert_complaint(ask("curve", tmp_path / "archive.npy"), "archive.npy is an archive, not an array")
    assert_complaint(ask("curve", tmp_path / "one.npz"), "one.npz must hold p_x and p_y_given_x, it has p")
    np.savez(tmp_path / "pair.npz", p_x=[0.5, 0.5], p_y_given_x=SYMMETRIC * 2)
    assert_complaint(ask("curve", tmp_path / "pair.npz", "--counts"), "--counts is for a table")
    np.savez(tmp_path / "rows.npz", p_x=[0.5, 0.5], p_y_given_x=SYMMETRIC)
    assert_complaint(ask("curve", tmp_path / "rows.npz"), "p_y_given_x sums to 0.5 in row 0")
    np.save(tmp_path / "none.npy", np.zeros((2, 2)))
    assert_complaint(ask("curve", tmp_path / "none.npy", "--counts"), "counts sum to 0")
    assert_complaint(ask("curve", table, "--betas", "-1", "--out", out), "beta[0] is -1")
    assert_complaint(ask("curve", table, "--betas", "two", "--out", out), "--betas", "'two'")
    assert_complaint(ask("curve", table, "--tolerance", "0", "--out", out), "tolerance is 0.0: it must be positive")
    assert_complaint(ask("curve", table, "--out", table), table, "is a file: name a folder with --out")
    assert not out.exists()


# --- sweep ---------------------------------------------------------------------------------------------------


def sweep_small(out, *more) -> Answer:
    return ask("sweep", "szt", *SMALL, "--out", out, *more)


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> tuple[Path, Answer]:
    """A sweep of two groups, one of which cannot be run."""
    folder = tmp_path_factory.mktemp("swept") / "out"
    return folder, sweep_small(folder, "--zip", "batch_size=2048,4000", "seed=0,1", "--no-probe")


def test_sweep_help_explains_grids():
    answer = ask("sweep", "szt", "--preset", "idnns", "--help")
    assert (answer.status, answer.err) == (0, "")
    for words in (
        "usage: ibjax sweep szt",
        "--grid",
        "--zip",
        "--dry-run",
        "--resume",
        "--dead",
        "--replicas",
        "now idnns",
    ):
        assert words in answer.out
    assert "usage: ibjax sweep" in ask("sweep", "--help").out


def test_sweep_tells_its_plan_and_what_failed(swept, finished):
    folder, answer = swept
    assert answer.status == 1
    said = " ".join(answer.out.split())
    assert "2 groups, 1 compilations; 2 devices" in said
    assert "time unknown" in said
    assert "caution: batch_size=4000,seed=1 cannot be run: batch_size must be from 1 to the 3277" in said
    assert "szt: batch_size_seed" in said
    assert "caution: batch_size=4000, seed=1 has no results: batch_size must be" in said
    lines = [json.loads(line) for line in answer.err.splitlines()]
    begun = [(line["group"], line["groups"], line["name"]) for line in lines if "done" not in line and "group" in line]
    assert begun == [(1, 2, "batch_size=2048,seed=0"), (2, 2, "batch_size=4000,seed=1")]
    plan = json.loads((folder / "plan.json").read_text())
    assert [bool(group["problem"]) for group in plan["groups"]] == [False, True]
    found = ibjax.open(folder)
    assert found["finished"].values.tolist() == [True, False]
    run = ibjax.open(finished[0])
    np.testing.assert_array_equal(found["complexity"].values[0], run["complexity"].values)
    np.testing.assert_array_equal(ibjax.sweep.select(found, seed=0)["train_loss"].values, run["train_loss"].values)


def test_a_sweep_is_shown_and_its_runs_too(swept):
    folder, said = swept
    answer = ask("show", folder)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out in said.out
    assert "T1" in ask("show", folder / "groups" / "batch_size=2048,seed=0").out
    assert "restarted" not in answer.out
    told = ask("status", folder)
    assert (told.status, told.err) == (0, "")
    for words in (
        "2 groups: 1 finished, 0 begun, 1 failed, 0 to come",
        "masked: 0 diverged, 0 dead",
        "batch_size=4000,seed=1 failed: batch_size must be",
        "nobody writes into it now",
    ):
        assert words in told.out
    assert_complaint(ask("plot", folder), "is a sweep", folder / "groups")
    assert_complaint(ask("measure", folder, "--measure", "binning:bins=9"), "is a sweep")


def test_sweep_goes_on_and_overwrites_nothing(swept):
    folder, _ = swept
    grid = ["--zip", "batch_size=2048,4000", "seed=0,1"]
    assert_complaint(sweep_small(folder, *grid), "already holds a sweep", "--resume")
    again = sweep_small(folder, *grid, "--resume", "--dead", "keep")
    assert again.status == 1
    assert "compilations" not in again.out  # its plan is kept
    assert "count as the others" in again.out
    assert_complaint(sweep_small(folder, *grid, "--resume", "--theta", "60"), "holds another sweep", "-> 60.0")


def test_a_dry_run_writes_nothing(tmp_path):
    (tmp_path / "mine.toml").write_text('experiment = "szt"\nreplicas = 9\ngrid.learning_rate = [0.1, 0.2]\n')
    args = "--grid", "activation=tanh,relu", "widths=12 3 2; 12 2", "--grid=seed=1", "--dry-run", "--no-probe"
    answer = ask("sweep", tmp_path / "mine.toml", *args, "--out", tmp_path / "out")
    assert (answer.status, answer.err) == (0, "")
    assert "8 groups, 3 compilations" in answer.out  # without a hidden layer there is no activation
    assert "(12, 3, 2)" in answer.out
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ([], ["sweep needs an experiment or a TOML file", "szt"]),
        (["stz"], ["unknown experiment 'stz'", "did you mean 'szt'"]),
        (["no.toml"], ["no.toml does not exist"]),
        (["szt"], ["the grid is empty"]),
        (["szt", "--grid"], ["--grid needs a field and its values"]),
        (["szt", "--grid", "seed"], ["'seed' names no values"]),
        (["szt", "--grid", "batch_siz=1"], ["did you mean 'batch_size'"]),
        (["szt", "--grid", "seed=1", "--grid", "seed=2"], ["names seed more than once"]),
        (["szt", "--grid", "seed=1", "--zip", "seed=2"], ["names seed more than once"]),
        (["szt", "--grid", "activation=tahn"], ["group activation=tahn", "did you mean 'tanh'"]),
        (["szt", "--grid", "seed=1,2,3", "--limit", "2"], ["3 groups", "the limit is 2"]),
        (["szt", "--preset", "deck2", "--grid", "seed=1"], ["did you mean 'deck'"]),
        (["szt", "--grid", "seed=1", "--epoch", "3"], ["--epoch"]),
        (["szt", "--grid", "batch_size=5000", "--dry-run"], ["no group of the sweep can be run", "5000"]),
    ],
    ids=" ".join,
)
def test_sweeps_that_are_refused(args, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_complaint(ask("sweep", *args), *parts)
    assert list(tmp_path.iterdir()) == []
