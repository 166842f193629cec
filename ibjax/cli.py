"""The command line: config in, library call, file out."""

import contextlib
import dataclasses
import functools
import io
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import ibjax
from ibjax.errors import InputError, choose

_NOT_WHOLE = 1
_INTERRUPTED = 130
_WRONG = 2
_FAILED = 1
_SHOWN = 40
"""Groups of a sweep that are printed."""
_NUMBERS = 50
"""Characters that the columns of numbers take in a table of a sweep's groups."""
_OF_A_KIND = re.compile(
    r"^Error parsing (--[\w-]+): .*('[^']*')[^']*? Argument helptext: \1 (\S.*?) (?=[A-Z][a-z])(.*?)\.? "
    r"\(default: (.*?)\)(?=;)"
)
"""What tyro says of a value that is not of an option's kind, with all that it has tried."""
_ALL = "all"
"""Stands for every experiment."""


@dataclasses.dataclass(frozen=True)
class ProcessOptions:
    """Which of several processes this one is; results do not depend on it."""

    coordinator: str | None = None
    """host:port on which the first of several processes listens; the same for all of them."""
    processes: int | None = None
    """How many processes run this together, each on a share of the chunks, in a folder that all of them see."""
    process_id: int | None = None
    """Which of them this one is, from 0."""
    distributed: bool = False
    """Be one of the processes that Slurm or Open MPI has started, which says the three above."""


@dataclasses.dataclass(frozen=True)
class RunOptions(ProcessOptions):
    """Where an experiment's results go."""

    out: Path | None = None
    """Folder for the results and figures; by default runs/EXPERIMENT-PRESET."""
    resume: bool = False
    """Go on with the run in that folder, which must have the same settings."""
    restarts: int = 0
    """Train networks that are stuck at chance again, from another key, so many times at most."""
    figures: bool = True
    """Draw the figures at the end."""
    devices: int | None = None
    """Host devices to use; None takes one a core. Results do not depend on it."""


@dataclasses.dataclass(frozen=True)
class SweepOptions(ProcessOptions):
    """What a sweep does besides the experiment's settings."""

    out: Path | None = None
    """Folder for the results; by default runs/EXPERIMENT-PRESET-sweep, or runs/NAME of a file."""
    resume: bool = False
    """Go on with the sweep in that folder, which must have the same settings and grid."""
    dry_run: bool = False
    """Print the plan and stop."""
    probe: bool = True
    """Compile the first group and train it for a moment, to foresee times."""
    limit: int = 1000
    """Groups at most."""
    dead: Literal["mask", "keep"] = "mask"
    """Whether networks stuck at chance count in the means that are printed; what is stored has all."""
    restarts: int = 0
    """Train networks that are stuck at chance again, from another key, so many times at most."""
    devices: int | None = None
    """Host devices to use; None takes one a core. Results do not depend on it."""


def list_() -> None:
    """List experiments and presets, estimators, and what the settings may name."""
    from ibjax.datasets import SPLITS
    from ibjax.estimators import ESTIMATORS, RANGES, RULES
    from ibjax.experiments import EXPERIMENTS
    from ibjax.networks import ACTIVATIONS, INITIALIZERS
    from ibjax.training import OPTIMIZERS

    console = Console(soft_wrap=True)
    for name, experiment in EXPERIMENTS.items():
        console.print(f"[bold]{name}[/]  {experiment.summary}\n    presets: {', '.join(experiment.presets)}")
    for what, names in {
        "estimators": ESTIMATORS,
        "binning rules": RULES,
        "binning ranges": RANGES,
        "activations": ACTIVATIONS,
        "initializers": INITIALIZERS,
        "optimizers": OPTIMIZERS,
        "splits": SPLITS,
    }.items():
        console.print(f"{what}: {', '.join(names)}", highlight=False)


def run(experiment: tyro.conf.Positional[str]) -> None:
    """Run an experiment; `ibjax run EXPERIMENT --help` explains its presets and settings.

    Args:
        experiment: its name, see `ibjax list`, or all.
    """
    _run([experiment])


def sweep(experiment: tyro.conf.Positional[str]) -> None:
    """Run an experiment over a grid of settings; `ibjax sweep EXPERIMENT --help` explains.

    Args:
        experiment: its name, see `ibjax list`, or a TOML file with a grid.
    """
    _sweep([experiment])


def show(folder: tyro.conf.Positional[Path], estimator: int = 0) -> None:
    """Print a run, finished or not: every layer at the first, the peak and the last epoch, and its compression.

    Of a sweep, one line a group; of what an experiment computed, one line an array.

    Args:
        folder: folder of results.
        estimator: which of its estimators, counted from 0.
    """
    _print_results(folder, estimator)


def claims(folder: tyro.conf.Positional[Path]) -> None:
    """Judge the claims of an experiment by its results, print the verdicts and write claims.json.

    Args:
        folder: folder of a finished run or sweep of an experiment.
    """
    from ibjax.experiments import judge

    with _writing(folder):
        _print_claims(judge(folder))


def status(folder: tyro.conf.Positional[Path]) -> None:
    """Print how far a run or a sweep is, whether it goes on now, and how long it still takes.

    Args:
        folder: folder of a run or a sweep, finished or not.
    """
    from ibjax.sweep import status

    if _is_sweep(folder):
        _print_sweep_status(folder)
        return
    found, console = status(folder), Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(found.title)}[/]: {'finished' if found.finished else 'not finished'}")
    console.print(_reached(found))
    took = ", ".join(f"{name} {value:.0f}" for name, value in found.seconds.items())
    left = "unknown" if found.left is None else f"{found.left:.0f}"
    console.print(f"{sum(found.seconds.values()):.0f} s so far ({took}), {left} s left")
    if found.masked is not None:
        lost = found.masked
        console.print(f"masked at epoch {lost.epoch}: {lost.diverged} diverged, {lost.dead} dead")
    console.print(f"written by {found.holder}" if found.holder else "nobody writes into it now")


def _reached(found: Any) -> str:
    """How far a run is, in words."""
    return f"{found.chunks_done} of {found.chunks} chunks of replicas, epoch {found.epochs_done:.0f} of {found.epochs}"


def _print_sweep_status(folder: Path) -> None:
    """How far a sweep is, and the groups that are neither finished nor still to come."""
    from ibjax.sweep import sweep_status

    found, console = sweep_status(folder), Console(highlight=False, soft_wrap=True)
    whole = len(found.finished) == found.groups
    console.print(f"[bold]{escape(found.title)}[/]: {'finished' if whole else 'not finished'}")
    waiting = found.groups - len(found.finished) - len(found.begun) - len(found.failed)
    console.print(
        f"{found.groups} groups: {len(found.finished)} finished, {len(found.begun)} begun, {len(found.failed)} failed, "
        f"{waiting} to come; {_duration(found.left)} left"
    )
    console.print(f"masked: {found.diverged} diverged, {found.dead} dead")
    for name, run in found.begun.items():
        running = "runs" if run.holder else "waits for --resume"
        console.print(f"{escape(name)} {running}: {_reached(run)}, {_duration(run.left)} left")
    for name, message in found.failed.items():
        console.print(f"{escape(name)} failed: {escape(message)}")
    console.print(f"written by {found.holder}" if found.holder else "nobody writes into it now")


def verify(folder: tyro.conf.Positional[Path]) -> int:
    """Read all that a run or a sweep has stored, and name what is damaged or missing; the exit status is then 1.

    Args:
        folder: folder of a run or a sweep, finished or not.
    """
    from ibjax.sweep import verify, verify_sweep, vouched

    whole = "whole"
    if _is_sweep(folder):
        found = verify_sweep(folder)
    else:
        found = verify(folder)
        whole += "" if vouched(folder) else "; no checksum of attributes and coordinates: made by an older ibjax"
    console = Console(highlight=False, soft_wrap=True)
    for damage in found:
        console.print(escape(str(damage)))
    console.print(f"{len(found)} damaged or missing: run again with --resume" if found else whole)
    return _NOT_WHOLE if found else 0


def merge(folders: tyro.conf.Positional[tuple[Path, ...]], out: Path) -> None:
    """Join runs of the same study, of which each has some of the replicas, into one.

    Args:
        folders: folders of the runs; they are only read.
        out: folder for the result.
    """
    from ibjax.sweep import merge

    found = merge(folders, out)
    Console(stderr=True).print(
        f"{len(folders)} runs in {out}, {found.attrs['status']}: {found.sizes['replica']} replicas", highlight=False
    )


def plot(folder: tyro.conf.Positional[Path], out: Path | None = None) -> None:
    """Draw the figures of a run, finished or not, or the one of an experiment that is a sweep.

    Args:
        folder: folder of a run, or of an experiment's sweep.
        out: folder for the figures; by default FOLDER/figures.
    """
    _draw_folder(folder, out or folder / "figures")


def plane(
    file: tyro.conf.Positional[Path],
    out: Path = Path("plane"),
    measure: tuple[str, ...] = ("binning:range=layer",),
) -> None:
    """Measure and draw activations that were recorded elsewhere.

    Args:
        file: an .npz file with arrays t1, t2, ... of shape (n, units) or (epochs, n, units), labels y, and if you like
            epochs and p_y_given_x.
        out: folder for the figures.
        measure: estimators, each name:setting=value,...
    """
    from ibjax.estimators import parse_layer
    from ibjax.plane import from_activations, read_activations

    layers, arrays = read_activations(file)
    found = from_activations(
        layers,
        arrays["y"],
        estimators=[parse_layer(text) for text in measure],
        p_y_given_x=arrays.get("p_y_given_x"),
        epochs=arrays.get("epochs"),
        title=file.stem,
    )
    _print_summary(found)
    _draw(found, out)


def measure(folder: tyro.conf.Positional[Path], measure: tuple[str, ...]) -> None:
    """Measure a finished run by more estimators, without training; it must have been made with --keep-parameters.

    Args:
        folder: folder of the run.
        measure: estimators, each name:setting=value,...
    """
    from ibjax.estimators import parse_layer
    from ibjax.experiments.registry import config_of, study_of
    from ibjax.sweep import remeasure

    if not measure:
        raise InputError("measure needs at least one estimator, for example 'binning'")
    estimators = [parse_layer(text) for text in measure]
    remeasure(study_of(config_of(_open_run(folder))), folder, estimators)
    found = _read(folder)
    names = found["estimator"].values.tolist()
    for estimator in estimators:
        _print_summary(found, names.index(str(estimator)))


def estimate(
    file: tyro.conf.Positional[Path],
    method: str = "ksg",
    units: Literal["bits", "nats", "hartleys"] = "bits",
    error: Literal["jackknife", "subsampling", "bootstrap", "none"] = "jackknife",
    permutations: int = 0,
    x: str = "x",
    y: str = "y",
    seed: int = 0,
) -> None:
    """Estimate the mutual information of two arrays of samples.

    Args:
        file: an .npz file with the samples, arrays of shape (n,) or (n, columns); integers of shape (n,) are labels.
        method: an estimator, name:setting=value,...; see `ibjax list`.
        units: of what is printed.
        error: how the standard error is found; none takes the estimator's own, if it has one.
        permutations: re-orderings of a test of independence, 0 for none.
        x: name of the first array.
        y: name of the second array.
        seed: of random parts and re-orderings.
    """
    import jax

    from ibjax.estimators import mutual_information, parse, permutation_test

    of_x, of_y = _read_samples(file, (x, y))
    key, estimator = jax.random.key(seed), parse(method)
    found = mutual_information(of_x, of_y, estimator, units=units, error=None if error == "none" else error, key=key)
    console = Console(highlight=False)
    bar = "" if found.std_error is None else f" ± {float(found.std_error):.4f}"
    console.print(f"I({x};{y}) = [bold]{float(found.value):.4f}[/]{bar} {units}")
    console.print(f"{method}, {len(of_x)} samples, {of_x[0].size} + {of_y[0].size} columns")
    if permutations:
        test = permutation_test(estimator, of_x, of_y, key, n=permutations)
        console.print(f"p = {float(test.p_value):.4g} of independence, by {permutations} re-orderings of {y}")
    for text in found.advice():
        console.print(f"caution: {escape(text)}")


def curve(
    table: tyro.conf.Positional[Path],
    out: Path = Path("curve"),
    betas: tuple[float, ...] = (),
    tolerance: float = 1e-9,
    counts: bool = False,
    transitions: bool = True,
    figures: bool = True,
) -> None:
    """Solve the information bottleneck of a table at many betas, with bounds, and draw the curve.

    Args:
        table: p(x,y) as .npy or .csv, a row an input and a column a label; or .npz with arrays p_x and p_y_given_x.
        out: folder for curve.csv and the figures.
        betas: trade-offs, beta multiplies I(T;Y) in nats; none chooses them from the transitions and the bounds.
        tolerance: nats that each Lagrangian may be above the smallest possible.
        counts: the table counts observations: divide it by its sum.
        transitions: locate where the number of clusters changes, up to beta 64; with many labels and inputs this takes
            minutes.
        figures: draw the curve, the tree of clusters and the encoders.
    """
    from ibjax import bottleneck

    joint = _read_table(table, counts)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name a folder with --out")
    settings: dict[str, Any] = {"tolerance": tolerance}
    found_transitions: tuple[Any, ...] = ()
    with _working(f"solving {table.name}") as say:
        if betas:
            found = bottleneck.curve(joint, betas, **settings)
        else:
            found = bottleneck.curve(joint, progress=lambda so_far: say(f"{len(so_far.beta)} betas"), **settings)
        if transitions:
            say("locating transitions")
            found_transitions = bottleneck.transitions(
                joint, progress=lambda so_far: say(f"{len(so_far)} transitions, the last at {so_far[-1].beta:.4g}")
            )
            if not betas:
                # Close to each on both sides, where the figures are to show a step.
                sides = [one.beta * side for one in found_transitions for side in (1 - 1e-4, 1 + 1e-4)]
                found = bottleneck.curve(joint, np.concatenate([found.beta, sides]), **settings)
    out.mkdir(parents=True, exist_ok=True)
    _write_curve(found, out / "curve.csv")
    _print_curve(found, found_transitions, table.name)
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"{len(found.beta)} solutions in {out / 'curve.csv'}", highlight=False)
    if figures:
        from ibjax.plotting import save_curve

        paths = save_curve(found, out, transitions=found_transitions)
        console.print(f"{len(paths)} figures in {out}", highlight=False)


def _run(args: Sequence[str]) -> None:
    """Run an experiment: ``ibjax run NAME [--preset P] [settings]``."""
    from ibjax.experiments import EXPERIMENTS
    from ibjax.sweep import use_every_core

    if not args or args[0].startswith("-"):
        raise InputError(f"run needs an experiment first: choose from {', '.join(EXPERIMENTS)} (see `ibjax list`)")
    name, *rest = args
    if name == _ALL:
        _run_all(rest)
        return
    experiment = EXPERIMENTS[choose("experiment", name, (*EXPERIMENTS, _ALL))]
    preset, rest = _take(rest, "--preset", next(iter(experiment.presets)))
    default = experiment.presets[choose(f"preset of {name}", preset, experiment.presets)]
    kind: Any = type(default)

    def job(
        options: Annotated[RunOptions, tyro.conf.OmitArgPrefixes] = RunOptions(),
        config: Annotated[kind, tyro.conf.OmitArgPrefixes] = default,
    ) -> tuple[RunOptions, Any]:
        return options, config

    presets = ", ".join(experiment.presets)
    description = f"{experiment.summary}. --preset names the defaults below: {presets}; now {preset}."
    options, config = _parse(tyro.cli, rest, f=job, prog=f"ibjax run {name}", description=description)
    use_every_core(options.devices)  # before JAX is used
    with _processes(options) as first:
        _conduct(config, options.out or Path("runs") / f"{name}-{preset}", options, first)


def _run_all(args: Sequence[str]) -> None:
    """Run every experiment: ``ibjax run all [--preset quick]``."""
    from ibjax.experiments import EXPERIMENTS, claims_markdown
    from ibjax.sweep import use_every_core

    preset, rest = _take(list(args), "--preset", "quick")
    description = f"Every experiment at preset {preset}, and one table of their claims."
    options = _parse(tyro.cli, rest, f=RunOptions, prog=f"ibjax run {_ALL}", description=description)
    configs = {name: experiment.presets.get(preset) for name, experiment in EXPERIMENTS.items()}
    if lacking := [name for name, config in configs.items() if config is None]:
        raise InputError(f"{', '.join(lacking)} have no preset {preset!r}: take quick or paper, which all have")
    use_every_core(options.devices)  # before JAX is used
    out = options.out or Path("runs") / f"{_ALL}-{preset}"
    console, found = Console(stderr=True, soft_wrap=True), []
    with _processes(options) as first:
        for number, (name, config) in enumerate(configs.items(), start=1):
            if first:
                console.print(f"{number} of {len(configs)}: {name}", highlight=False)
            found.append((name, _conduct(config, out / name, options, first)))
        if first:
            with _writing(out):
                (out / "claims.md").write_text(claims_markdown(found))
            console.print(f"all claims are in {out / 'claims.md'}", highlight=False)


def _conduct(config: Any, out: Path, options: RunOptions, first: bool) -> Sequence[Any]:
    """Run an experiment; the first process prints what it found, draws it, and returns its claims."""
    from ibjax.experiments import judge
    from ibjax.experiments import run as run_experiment

    with _writing(out):
        run_experiment(config, out, resume=options.resume, restarts=options.restarts)
        if not first:
            return []
        claims = judge(out)
    _print_results(out)
    _print_claims(claims)
    if options.figures:
        with _writing(out):
            _draw_folder(out, out / "figures")
    return claims


def _sweep(args: Sequence[str]) -> int:
    """Run a sweep: ``ibjax sweep NAME|FILE --grid field=value,value [settings]``; returns the exit status."""
    from ibjax.experiments import EXPERIMENTS, make_sweep, read_sweep
    from ibjax.sweep import Grid, parse_values, use_every_core

    if not args or args[0].startswith("-"):
        raise InputError(f"sweep needs an experiment or a TOML file first: choose from {', '.join(EXPERIMENTS)}")
    name, *rest = args
    product: dict[str, Any] = {}
    zips: list[Any] = []
    if name.endswith(".toml"):
        name, preset, default, grid = read_sweep(args[0])
        product, zips = dict(grid.product), list(grid.zips)
        standard = Path("runs") / Path(args[0]).stem
    else:
        presets = EXPERIMENTS[choose("experiment", name, EXPERIMENTS)].presets
        preset, rest = _take(rest, "--preset", next(iter(presets)))
        default = presets[choose(f"preset of {name}", preset, presets)]
        standard = Path("runs") / f"{name}-{preset}-sweep"
    tables, rest = _take_lists(rest, "--grid")
    for field, values in (parse_values(default, text) for table in tables for text in table):
        if field in product:
            raise InputError(f"the grid names {field} more than once: put all its values in one list")
        product[field] = values
    tables, rest = _take_lists(rest, "--zip")
    zips += [dict(parse_values(default, text) for text in table) for table in tables]
    kind: Any = type(default)

    def job(
        options: Annotated[SweepOptions, tyro.conf.OmitArgPrefixes] = SweepOptions(),
        config: Annotated[kind, tyro.conf.OmitArgPrefixes] = default,
    ) -> tuple[SweepOptions, Any]:
        return options, config

    description = (
        f"{EXPERIMENTS[name].summary}, at every combination of a grid's values. --grid FIELD=VALUE,VALUE ... names "
        "values of the settings below; --zip FIELD=VALUE,VALUE FIELD=VALUE,VALUE values that go together; both may be "
        "repeated. Where a value is a list, ; parts values and spaces part items: --grid 'widths=12 4 2; 12 2'. "
        f"--preset names the defaults below, now {preset}."
    )
    options, config = _parse(tyro.cli, rest, f=job, prog=f"ibjax sweep {args[0]}", description=description)
    found = make_sweep(config, Grid(product, zips), limit=options.limit, restarts=options.restarts)
    use_every_core(options.devices)  # before JAX is used
    out = options.out or standard
    with _processes(options) as first:
        return _run_sweep(found, out, options, first)


def _run_sweep(sweep: Any, out: Path, options: SweepOptions, first: bool) -> int:
    """Plan and run a sweep, print what came of it; of several processes the first does all but the running."""
    from ibjax.sweep import forecast, prepare, processes, run_groups, share_programs
    from ibjax.sweep.groups import PLAN, write_json

    with share_programs():
        with processes.together(), _writing(out):
            if first and not options.dry_run:
                prepare(sweep, out, options.resume)
            if first and (options.dry_run or not (out / PLAN).exists()):
                plan = forecast(sweep, probe=options.probe)
                _print_plan(plan)
                if not options.dry_run:
                    write_json(out / PLAN, plan.plain())
        if options.dry_run:
            return 0
        with _writing(out):
            joined, failures = run_groups(sweep, out, resume=True)
    if first:
        _print_sweep(joined, options.dead)
    return _FAILED if failures else 0


@contextlib.contextmanager
def _processes(options: ProcessOptions) -> Iterator[bool]:
    """Join the other processes, if there are any; says whether this is the first, which prints."""
    from ibjax.sweep import processes

    told = options.coordinator, options.processes, options.process_id
    if not options.distributed and told == (None, None, None):
        yield True
        return
    with processes.joined(*told):
        yield processes.is_first()


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say what an interruption or a full disk leaves, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: what was measured is in {out}, add --resume to go on") from None
    except OSError as error:
        why = error.strerror or error
        raise InputError(
            f"cannot write to {out} ({why}): choose another folder, or free space there and go on with --resume; "
            "what was measured is kept"
        ) from error


def _take_lists(args: list[str], flag: str) -> tuple[list[list[str]], list[str]]:
    """Take every ``flag value value ...`` or ``flag=value value ...`` out of the arguments."""
    taken: list[list[str]] = []
    rest: list[str] = []
    into = rest
    for text in args:
        if text == flag or text.startswith(f"{flag}="):
            into = [] if text == flag else [text.removeprefix(f"{flag}=")]
            taken.append(into)
        elif text.startswith("-"):
            into = rest
            rest.append(text)
        else:
            into.append(text)
    if any(not values for values in taken):
        raise InputError(f"{flag} needs a field and its values, for example {flag} activation=tanh,relu")
    return taken, rest


def _take(args: list[str], flag: str, default: str) -> tuple[str, list[str]]:
    """Take ``flag value`` or ``flag=value`` out of the arguments."""
    for place, text in enumerate(args):
        if text == flag:
            if place + 1 == len(args):
                raise InputError(f"{flag} needs a value")
            return args[place + 1], args[:place] + args[place + 2 :]
        if text.startswith(f"{flag}="):
            return text.removeprefix(f"{flag}="), args[:place] + args[place + 1 :]
    return default, args


def _later(command: Callable[..., int | None]) -> Callable[..., Callable[[], int | None]]:
    """A command that is parsed now and called afterwards, when errors are shown as they come."""

    @functools.wraps(command)
    def parsed(*args: Any, **settings: Any) -> Callable[[], int | None]:
        return functools.partial(command, *args, **settings)

    return parsed


def _parse(parser: Callable[..., Any], args: Sequence[str], **settings: Any) -> Any:
    """Call one of tyro's parsers, its boxed complaint turned into one line."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return parser(args=list(args), **settings)
    except SystemExit as stop:
        if not stop.code:
            raise
        lines = [line.strip("│| ") for line in complaint.getvalue().splitlines()]
        # Without the box, which is of + and - where the terminal has no better.
        said = [line for line in lines if line and line[0] not in "╭╰─+" and not line.startswith("---")]
        text = " ".join(said).removeprefix("Error parsing config: ")
        text = text.replace(" For full helptext", "; for full helptext")
        raise InputError(_OF_A_KIND.sub(r"\1 takes \3, not \2: \4 (default: \5)", text)) from None


def _read_samples(file: Path, names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of an .npz file."""
    from ibjax.datasets import read_archive

    stored = read_archive(file, "x=..., y=...")
    for name, option in zip(names, ("--x", "--y"), strict=True):
        if name not in stored:
            raise InputError(f"{file} has no array {name}, only {', '.join(stored) or 'none'}: name one with {option}")
    return stored[names[0]], stored[names[1]]


def _read_table(file: Path, counts: bool) -> Any:
    """p(x,y), or the pair p(x), p(y|x); that it is one is checked where it is used, but for its sum."""
    from ibjax.datasets import read_archive
    from ibjax.information import JointDistribution

    if file.suffix == ".npz":
        stored = read_archive(file, "p_x=..., p_y_given_x=...")
        if not {"p_x", "p_y_given_x"} <= set(stored):
            raise InputError(
                f"{file} must hold p_x and p_y_given_x, it has {', '.join(stored) or 'nothing'}: save p(x,y) as .npy"
            )
        if counts:
            raise InputError(f"{file} holds p_x and p_y_given_x: --counts is for a table, save that as .npy")
        return stored["p_x"], stored["p_y_given_x"]
    try:
        if file.suffix == ".npy":
            table = np.load(file, allow_pickle=False)
        elif file.suffix == ".csv":
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of an empty file
                table = np.loadtxt(file, delimiter=",", ndmin=2)
        else:
            raise InputError(f"{file} must be .npy, .csv or .npz: save p(x,y) with numpy.save")
    except FileNotFoundError as error:
        raise InputError(f"{file} does not exist: save p(x,y) with numpy.save") from error
    except InputError:
        raise
    except (ValueError, EOFError, UserWarning) as error:
        # NumPy's own words recommend to unpickle.
        raise InputError(f"{file} is no table of plain numbers: save p(x,y) with numpy.save") from error
    if not isinstance(table, np.ndarray):
        raise InputError(f"{file} is an archive, not an array: name it .npz and let it hold p_x and p_y_given_x")
    if table.dtype.kind not in "biuf":
        raise InputError(f"{file} must hold real numbers, it has {table.dtype}: save p(x,y) as floats")
    if table.ndim != 2:
        raise InputError(
            f"{file} must hold a table of shape (|X|, |Y|), it has shape {table.shape}: sum the others out"
        )
    if counts:
        return JointDistribution.from_counts(table).table
    total = table.sum()
    if 0 < total < np.inf and abs(total - 1) > 1e-6 and (table >= 0).all():
        raise InputError(f"{file} sums to {total:.6g}, not to 1: add --counts if it counts observations")
    return table


@contextlib.contextmanager
def _working(title: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is done: a line that changes; where there is no terminal, one every ten seconds."""
    from ibjax.sweep.progress import LINES_EVERY

    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    last = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task(title)

        def say(what: str) -> None:
            nonlocal last
            display.update(task, description=f"{title}: {what}")
            if not console.is_terminal and time.monotonic() - last > LINES_EVERY:
                last = time.monotonic()
                console.print(f"{title}: {what}", highlight=False)

        yield say


def _write_curve(found: Any, file: Path) -> None:
    """One line a solution; nats, as the column names say."""
    upper = found.upper(found.complexity)
    columns = {
        "beta": found.beta,
        "complexity_nats": found.complexity,
        "relevance_nats": found.relevance,
        "upper_nats": upper,
        "lagrangian_nats": found.lagrangian,
        "gap_nats": found.gap,
        "clusters": found.clusters,
        "iterations": found.iterations,
        "status": found.status,
    }
    lines = zip(*(values.tolist() for values in columns.values()), strict=True)
    text = "\n".join([",".join(columns), *(",".join(map(repr, line)) for line in lines)])
    file.write_text(text + "\n")


def _print_curve(found: Any, transitions: Sequence[Any], title: str) -> None:
    """A table of a few points and of the transitions, in bits, and what they are worth."""
    from ibjax.information import convert

    console = Console(highlight=False)
    console.print(f"[bold]{escape(title)}[/]")
    inputs, labels = found.reduction.table.p_y_given_x.shape
    console.print(
        f"{len(found.reduction.index)} inputs, {inputs} distinct, {labels} labels; "
        f"I(X;Y) = {convert(found.information):.4f} bits, H(X) = {convert(found.entropy):.4f} bits of the distinct"
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("beta", "I(X;T) bits", "I(T;Y) bits", "bound bits", "clusters"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("transition")
    rows: list[tuple[float, tuple[str, ...]]] = []
    shown = np.unique(np.linspace(0, len(found.beta) - 1, 8).round().astype(int))
    upper = found.upper(found.complexity)
    for i in shown:
        numbers = (f"{convert(values[i]):.4f}" for values in (found.complexity, found.relevance, upper))
        beta = float(found.beta[i])
        rows.append((beta, (f"{beta:.4f}", *numbers, str(found.clusters[i]), "")))
    for one in transitions:
        change = f"{one.before} to {one.after}"
        rows.append((one.beta, (f"{one.beta:.4f}", "", "", "", change, one.kind)))
    for _, row in sorted(rows):
        table.add_row(*row)
    console.print(table)
    worst = int(np.argmax(found.gap))
    console.print(
        f"largest gap {convert(found.gap[worst]):.2g} bits at beta {found.beta[worst]:.4f}, {found.gap_kind}"
        + ("" if found.gap_kind == "certified" else ": likely, not proven")
    )
    lost = found.status != 0
    if lost.any():
        first = int(np.argmax(lost))
        advice = found.solution(first).status.advice
        console.print(
            f"caution: {lost.sum()} of {lost.size} did not converge, first beta {found.beta[first]:.4f}: {advice}"
        )


def _print_summary(found: Any, estimator: int = 0) -> None:
    """A table that a person reads: means and 95 % half widths over replicas, in bits."""
    from ibjax.plane import Interval, masked, summary_table

    names = [str(name) for name in found["estimator"].values]
    if not 0 <= estimator < len(names):
        raise InputError(f"estimator must be from 0 to {len(names) - 1}, got {estimator}: {', '.join(names)}")
    lost = masked(found)
    replicas = found.sizes["replica"]
    console = Console()
    console.print(f"[bold]{escape(found.attrs['title'])}[/]", highlight=False)
    console.print(
        f"estimator {estimator}: {names[estimator]}; {replicas} replicas, masked: {lost.diverged} diverged, "
        f"{lost.dead} dead{f', {lost.pending} not there yet' if lost.pending else ''}; "
        f"epoch {lost.epoch} of {found['epoch'].values[-1]}{_restarted(found)}",
        highlight=False,
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("layer", "bits"):
        table.add_column(heading, no_wrap=True, min_width=6)
    for heading in ("first", "at the peak", "epoch", "last", "compression"):
        table.add_column(heading, justify="right", no_wrap=True)

    def cell(interval: Interval) -> str:
        digits = 3 if interval.half_width < 1 else 2
        return f"{interval.mean:.3f} ±{interval.half_width:.{digits}f}".replace("±0.", "±.")

    for row in summary_table(found, estimator):
        first, peak, last = map(cell, (row.complexity_first, row.complexity_peak, row.complexity_last))
        table.add_row(row.name, "I(X;T)", first, peak, f"{row.peak_epoch:.0f}", last, cell(row.compression))
        first, peak, last = map(cell, (row.relevance_first, row.relevance_peak, row.relevance_last))
        table.add_row("", "I(T;Y)", first, peak, "", last, "")
    console.print(table)
    console.print("mean ± 95 % half width over replicas; the peak is that of I(X;T)")


def _restarted(found: Any) -> str:
    """How many replicas were trained again, in words; nothing where none was to be."""
    if "restarts" not in found.attrs:
        return ""
    again = len(json.loads(found.attrs["restarted"]))
    return f"; {again} stuck at chance were trained again, up to {found.attrs['restarts']} times each"


def _read(folder: Path) -> Any:
    """The results of a run, all of them, so that damage shows here."""
    from ibjax.sweep.store import intact

    with intact(folder):
        return _open_run(folder).load()


def _is_sweep(folder: Path) -> bool:
    from ibjax.sweep.groups import SWEEP

    return (folder / SWEEP).exists()


def _is_table(folder: Path) -> bool:
    from ibjax.sweep.tables import TABLE

    return (folder / TABLE).exists()


def _print_results(folder: Path, estimator: int = 0) -> None:
    """What a folder holds: a run, a sweep, or arrays that an experiment computed."""
    if _is_sweep(folder):
        _print_sweep(ibjax.open(folder), "mask")
    elif _is_table(folder):
        _print_table(ibjax.open(folder))
    else:
        _print_summary(_read(folder), estimator)


def _print_table(found: Any) -> None:
    """A line a variable: its dimensions, what it is, and its range."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(found.attrs.get('title', ''))}[/]")
    for name, values in found.data_vars.items():
        over = " x ".join(f"{dim} {size}" for dim, size in values.sizes.items())
        about = ", ".join(values.attrs[key] for key in ("long_name", "units") if key in values.attrs)
        low, high = float(values.min()), float(values.max())
        console.print(escape(f"{name} ({over}): {about}; {low:.4g} to {high:.4g}"))


def _open_run(folder: Path) -> Any:
    if _is_sweep(folder):
        raise InputError(f"{folder} is a sweep: name one of the runs in {folder / 'groups'}")
    return ibjax.open(folder)


def _print_plan(plan: Any) -> None:
    """What a sweep will take, a line a group."""
    console = Console(highlight=False)
    fields = list(plan.groups[0].settings)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    cells = _setting_columns(table, fields, console.width)
    for heading in ("replicas", "chunks", "program", "memory", "disk", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in plan.groups[:_SHOWN]:
        words = cells(group.settings)
        if group.problem:
            table.add_row(*words, "-", "-", "-", "-", "-", "-")
            continue
        numbers = (group.replicas, group.chunks, group.program + 1)
        table.add_row(*words, *map(str, numbers), _size(group.memory), _size(group.disk), _duration(group.seconds))
    console.print(table)
    if len(plan.groups) > _SHOWN:
        console.print(f"and {len(plan.groups) - _SHOWN} more groups")
    compiling = "" if plan.compile_seconds is None else f" of about {_duration(plan.compile_seconds)} each"
    console.print(
        f"{len(plan.groups)} groups, {plan.programs} compilations{compiling}; {plan.devices} devices, up to "
        f"{_size(plan.memory)} of memory on each; {_size(plan.disk)} of disk before compression; "
        f"time {_duration(plan.seconds)}"
    )
    for group in plan.groups:
        if group.problem:
            console.print(f"caution: {escape(group.folder)} cannot be run: {escape(group.problem)}")


def _setting_columns(table: Table, fields: Iterable[str], width: int) -> Callable[[Mapping[str, Any]], list[str]]:
    """Add a column a setting of a sweep, or where that is too wide one for all; returns what gives a row's cells."""
    if sum(len(field) + 1 for field in fields) + _NUMBERS > width:
        table.add_column("settings", overflow="fold")
        return _all_settings
    for field in fields:
        table.add_column(field, overflow="fold", min_width=len(field))
    return lambda settings: [escape(str(value)) for value in settings.values()]


def _all_settings(settings: Mapping[str, Any]) -> list[str]:
    return [escape("\n".join(f"{name}={value}" for name, value in settings.items()))]


def _print_sweep(found: Any, dead: str) -> None:
    """A line a group: what became of its replicas, its accuracy and its last layers."""
    from ibjax.plane import masked, mean_interval, surviving, with_dead
    from ibjax.sweep import failures_of, groups_of

    console = Console(highlight=False)
    console.print(f"[bold]{escape(found.attrs['title'])}[/]")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown, again, words = 0, False, _all_settings
    for settings, run in groups_of(found):
        if not shown:
            words = _setting_columns(table, settings, console.width)
            again = "restarts" in run.attrs
            for heading in ("replicas", *["restarted"] * again, "diverged", "dead"):
                table.add_column(heading, justify="right")
            for heading in ("training accuracy", "test accuracy"):
                table.add_column(heading, justify="right", min_width=12)
        shown += 1
        if shown > _SHOWN:
            continue
        lost = masked(run)
        cells = ["-", "-"]
        with contextlib.suppress(InputError):  # no replica is left
            kept = surviving(with_dead(run, dead))
            for place, name in enumerate(("train_accuracy", "test_accuracy")):
                mean, half = mean_interval(kept[name].isel(snapshot=-1))
                cells[place] = f"{float(mean):.3f} ±{float(half):.3f}"
        counts = [run.sizes["replica"], lost.diverged, lost.dead]
        if again:
            counts.insert(1, len(json.loads(run.attrs["restarted"])))
        table.add_row(*words(settings), *map(str, counts), *cells)
    console.print(table)
    if shown > _SHOWN:
        console.print(f"and {shown - _SHOWN} more groups")
    kept_or_not = "are left out" if dead == "mask" else "count as the others, diverged ones are left out"
    console.print(f"mean ± 95 % half width over replicas at the last epoch; dead ones {kept_or_not}")
    for settings, failure in failures_of(found):
        where = ", ".join(f"{name}={value}" for name, value in settings.items())
        console.print(f"caution: {escape(where)} has no results: {escape(failure)}")


def _print_claims(claims: Sequence[Any]) -> None:
    """A row a claim; those of a run smaller than the study's apart."""
    from ibjax.experiments import interval

    colors = {"reproduced": "green", "refuted": "red", "inconclusive": "yellow"}
    console = Console(highlight=False)
    for early in (False, True):
        rows = [claim for claim in claims if claim.preliminary == early]
        if not rows:
            continue
        title = "preliminary: fewer replicas or epochs than the study's" if early else None
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
        table.add_column("claim", ratio=4)
        table.add_column("statistic", ratio=5, overflow="fold")
        table.add_column("found, 95 % interval", ratio=3)
        table.add_column("rule", ratio=2)
        table.add_column("verdict", no_wrap=True)
        for claim in rows:
            verdict = f"[{colors[claim.verdict]}]{claim.verdict}[/]"
            table.add_row(claim.statement, claim.statistic, escape(interval(claim)), claim.rule.text, verdict)
        console.print(table)


def _size(bytes_: float) -> str:
    """In the unit that makes it a small number."""
    for unit in ("B", "kB", "MB", "GB"):
        if bytes_ < 1000:
            return f"{bytes_:.3g} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.3g} TB"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _draw(found: Any, folder: Path) -> None:
    from ibjax.plotting import save_all

    _say_drawn(save_all(found, folder), folder)


def _draw_folder(folder: Path, out: Path) -> None:
    """Draw all figures of a run, and the experiment's own once it is finished."""
    from ibjax.experiments import draw
    from ibjax.plotting import save_all

    paths = []
    if not (_is_sweep(folder) or _is_table(folder)):
        found = _read(folder)
        paths += save_all(found, out)
        if found.attrs["status"] != "finished" or "experiment" not in json.loads(found.attrs["config"]):
            _say_drawn(paths, out)
            return
    _say_drawn([*paths, *draw(folder, out)], out)


def _say_drawn(paths: Sequence[Path], folder: Path) -> None:
    Console(stderr=True).print(f"{len(paths)} figures in {folder}", highlight=False)


_COMMANDS: dict[str, Callable[..., int | None]] = {
    "list": list_,
    "run": run,
    "sweep": sweep,
    "show": show,
    "claims": claims,
    "status": status,
    "verify": verify,
    "merge": merge,
    "plot": plot,
    "plane": plane,
    "measure": measure,
    "estimate": estimate,
    "curve": curve,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    It is 0, 1 of `verify` or where groups of a sweep failed, 2 for wrong input, 130 when interrupted.
    """
    args = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ± gets a ?
    try:
        if args[:1] == ["--version"]:
            print(f"ibjax {ibjax.__version__}")
        elif args[:1] == ["run"] and args[1:2] not in (["-h"], ["--help"]):
            # Apart from the other commands, because the experiment and its preset decide the settings' defaults.
            _run(args[1:])
        elif args[:1] == ["sweep"] and args[1:2] not in (["-h"], ["--help"]):
            return _sweep(args[1:])
        else:
            about = "The information bottleneck of deep learning, measured."
            commands = {name: _later(command) for name, command in _COMMANDS.items()}
            parser = tyro.extras.subcommand_cli_from_dict
            return _parse(parser, args, subcommands=commands, prog="ibjax", description=about)() or 0
    except InputError as error:
        return _complain(str(error), _WRONG)
    except OSError as error:
        return _complain(f"{error.filename or 'a file'}: {error.strerror or error}: choose another folder", _WRONG)
    except KeyboardInterrupt as stop:
        return _complain(str(stop) or "interrupted", _INTERRUPTED)
    return 0


def _complain(text: str, status: int) -> int:
    Console(stderr=True, soft_wrap=True).print(f"[bold red]ibjax:[/] {escape(' '.join(text.split()))}", highlight=False)
    return status
