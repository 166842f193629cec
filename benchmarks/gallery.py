"""Writes the gallery: the figure and the verdicts of every experiment whose results lie in a folder.

    python benchmarks/gallery.py runs/all-quick

reads ``runs/all-quick/NAME`` for every experiment there is, and further runs of it in ``NAME.ANYTHING``, and writes
their sections of ``gallery.md`` beside this file and their figures in ``figures``; other sections stay as they are.
With ``--debate`` it writes the table of the debate too (see `debate.py`), into the README. What is in the repository
was made from runs at the sizes that its commands say.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from debate import debate, put_into

import ibjax
from ibjax.estimators import parse_layer
from ibjax.experiments import EXPERIMENTS, claims_markdown, judge
from ibjax.experiments.conduct import experiment_in
from ibjax.plane import Claim

HERE = Path(__file__).parent
DOTS = 90
"""An inch, of the figures: a page shows them small."""
LONG = 20
"""Claims beyond which a table is folded away."""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder with one folder of results an experiment, named as it is")
    parser.add_argument("--debate", action="store_true", help="write the table of the debate, from these runs alone")
    args = parser.parse_args()
    runs = args.runs
    page = HERE / "gallery.md"
    sections = sections_of(page.read_text()) if page.exists() else {}
    found = {}
    for folder in sorted(runs.iterdir()):
        if _experiment(folder.name) in EXPERIMENTS and experiment_in(folder) == _experiment(folder.name):
            found[folder.name] = judge(folder)
            sections[folder.name] = section(folder, found[folder.name])
    order = list(EXPERIMENTS)
    names = sorted(sections, key=lambda name: (order.index(_experiment(name)), name))
    page.write_text("\n".join(["# What reproduces", "", _PREFACE, *(sections[name] for name in names)]))
    if args.debate:
        readme = HERE.parent / "README.md"
        own = {name: claims for name, claims in found.items() if name in EXPERIMENTS}
        readme.write_text(put_into(readme.read_text(), debate(own)))


def _experiment(name: str) -> str:
    """Of a folder or a section."""
    return name.partition(".")[0]


def sections_of(page: str) -> dict[str, str]:
    """The sections of a page by their experiments."""
    return {text.partition("\n")[0]: f"## {text}" for text in page.split("\n## ")[1:]}


def section(folder: Path, claims: Sequence[Claim]) -> str:
    """Draw a run's figure and write its section."""
    name = _experiment(folder.name)
    experiment = EXPERIMENTS[name]
    figure = experiment.figure(ibjax.open(folder).load())
    figure.savefig(HERE / "figures" / f"{folder.name}.png", dpi=DOTS)
    table = claims_markdown([(name, claims)])
    if len(claims) > LONG:
        table = f"<details><summary>{len(claims)} claims</summary>\n\n{table}\n</details>\n"
    title = f"{experiment.summary[0].upper()}{experiment.summary[1:]}."
    image = f"![{experiment.summary}](figures/{folder.name}.png)"
    return "\n".join(
        [f"## {folder.name}", "", title, "", "```bash", command(name, folder), "```", "", image, "", table]
    )


_PREFACE = """\
Every claim has a statistic, its 95 % interval over networks, and a rule that stands in the experiment's docstring
(`help(ibjax.experiments.EXPERIMENTS["szt"].claims)`): *reproduced* where the interval lies within the rule, *refuted*
where it lies outside, *inconclusive* where it does neither. *No spread* stands where all networks gave the same number:
of n alike at least 0.025^(1/n) of all are, with 95 % confidence (0.69 for 10, 0.93 for 50), and how far the others lie
is not known. Made by `benchmarks/gallery.py` from the commands shown.
"""


def command(name: str, folder: Path) -> str:
    """The command that makes the results in a folder: the nearest preset and what differs from it."""
    stored, experiment = config_in(folder), EXPERIMENTS[name]
    # What an experiment sweeps over differs from run to run, and the chunk size has a default of its own.
    swept = experiment.grid(experiment.default)
    left_out = {*swept, "chunk_size"}
    if "measure" in stored and not swept:  # some may have been added to a finished run
        known = ibjax.open(folder)["estimator"].values.tolist()
        added = [one for one in known if one not in stored["measure"]]
        stored = {**stored, "measure": in_order([*stored["measure"], *added])}
    changes = {
        preset: [f for f, v in plain(config).items() if f not in left_out and stored.get(f, v) != v]
        for preset, config in experiment.presets.items()
    }
    nearest = min(changes, key=lambda preset: len(changes[preset]))
    words = [f"ibjax run {name} --preset {nearest}"]
    for field in changes[nearest]:
        text = stored[field]
        words.append(f"--{field.replace('_', '-')} {' '.join(map(str, text)) if isinstance(text, list) else text}")
    return " ".join(words)


def plain(config: Any) -> dict[str, Any]:
    """A config's fields as results have them: lists for tuples, estimators by their full names, those of a run last."""
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    if "measure" in fields:
        fields["measure"] = in_order(fields["measure"])
    return fields


def in_order(measure: Sequence[str]) -> list[str]:
    """Estimators by their full names, those of a whole run last."""
    return list(map(str, sorted(map(parse_layer, measure), key=lambda one: one.needs_span)))


def config_in(folder: Path) -> dict[str, Any]:
    """The settings that results were made from."""
    found = ibjax.open(folder)
    if "axes" in found.attrs:
        attrs = json.loads(found["run_attributes"].values[found["finished"].values][0])
        return dict(json.loads(attrs["config"]))
    return dict(json.loads(found.attrs["config"]))


if __name__ == "__main__":
    main()
