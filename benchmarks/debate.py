"""The debate on the theory in one table: who says what, who denies it, and what the experiments find.

`benchmarks/gallery.py` fills it from finished runs, and puts it into the README between ``BEGIN`` and ``END``.
"""

import fnmatch
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ibjax.experiments import interval
from ibjax.plane import Claim

BEGIN, END = "<!-- the debate: made by benchmarks/gallery.py -->", "<!-- end of the debate -->"
SZT, SAXE = "Shwartz-Ziv & Tishby 2017", "Saxe et al. 2018"
EARLY = "†"
"""Stands at what was found by less than the study's size."""


class Question(NamedTuple):
    """One matter of the debate.

    Attributes:
        claim: what is said.
        made: by whom.
        denied: by whom; empty for nobody.
        evidence: experiment and patterns of its claims' names, as `fnmatch` has them, in the order of the answer.
    """

    claim: str
    made: str
    denied: str
    evidence: tuple[tuple[str, str], ...]


QUESTIONS = (
    Question(
        "Training first fits, then compresses: I(X;T) falls while I(T;Y) does not",
        SZT,
        SAXE,
        (("szt", "fitting"), ("szt", "compression"), ("szt", "relevance-kept")),
    ),
    Question(
        "Compression does not hang on how information is measured",
        SZT,
        f"{SAXE}; Lorenzen et al. 2022",
        (("szt-bins", "compression by *"), ("quantised", "bins-decide, *"), ("quantised", "output-compresses, *")),
    ),
    Question(
        "It does not hang on the activation: ReLU networks compress too",
        f"{SZT}; Noshad et al. 2019",
        SAXE,
        (
            ("saxe-activations", "tanh by binning:bins=30,range=run"),
            ("saxe-activations", "relu by binning:bins=30,range=run"),
            ("saxe-mnist", "relu by kernel:noise_variance=0.1,bound=upper"),
            ("edge-mnist", "compression by its own gamma for every layer mlp-relu"),
            ("edge-mnist", "compression by rule rank mlp-relu"),
        ),
    ),
    Question(
        "It is driven by the noise of stochastic gradients, which turn from drift to diffusion where it begins",
        SZT,
        SAXE,
        (
            ("szt-phases", "coincide-together"),
            ("szt-phases", "diffusion"),
            ("szt-batch", "peak-later-hidden"),
            ("saxe-full-batch", "full-batch tanh"),
            ("saxe-full-batch", "linear-transition"),
        ),
    ),
    Question(
        "Networks that compress more generalise better",
        SZT,
        f"{SAXE}; Chelombiev et al. 2019",
        (
            ("compression-generalisation", "compression, settings held fixed, *"),
            ("saxe-linear", "no-compression *"),
            ("saxe-linear", "with many samples they generalise *"),
        ),
    ),
    Question(
        "With little data the compression costs I(T;Y), and one should stop before",
        SZT,
        "",
        (("szt-data", "falls-with-little-data"), ("szt-data", "early-stop-by-loss")),
    ),
    Question(
        "More layers converge sooner",
        SZT,
        "",
        (("szt-depth", "fewer-epochs-hidden"), ("szt-depth", "exponent-hidden")),
    ),
    Question(
        "Layers end near the information curve, in the order of their betas",
        SZT,
        "",
        (("szt-bound", "near-curve-8"), ("szt-bound", "little-below-8"), ("szt-bound", "beta-falls-relevance-8")),
    ),
    Question(
        "Information about irrelevant inputs is compressed all the same, at the time of fitting",
        SAXE,
        "",
        (("saxe-irrelevant", "irrelevant, *"), ("saxe-irrelevant", "together, *")),
    ),
    Question(
        "With noise in the network I(X;T) is finite and falls, and the fall is clustering",
        "Goldfeld et al. 2019",
        "",
        (("noisy-network", "compression, *"), ("noisy-network", "clustering, *")),
    ),
    Question(
        "One must lose information about the input to generalise",
        "read into the theory",
        "Jacobsen et al. 2018",
        (("irevnet", "keeps-all-information"), ("irevnet", "learns"), ("irevnet", "no-worse-than-the-twin")),
    ),
    Question(
        "The same networks memorise random labels",
        "Zhang et al. 2017",
        "",
        (("random-labels", "fits random labels [!w]*"), ("random-labels", "keeps-more *")),
    ),
)


def debate(found: Mapping[str, Sequence[Claim]]) -> str:
    """The table in Markdown.

    Args:
        found: experiment -> its judged claims. Those that are missing have not been run, and the table says so.
    """
    lines = ["| claim | made by | denied by | what ibjax finds, 95 % interval, verdict |", "|---|---|---|---|"]
    for question in QUESTIONS:
        answers = [_answer(experiment, pattern, found.get(experiment)) for experiment, pattern in question.evidence]
        known = [answer for answer in answers if answer]
        missing = [name for name in dict.fromkeys(name for name, _ in question.evidence) if name not in found]
        if missing:
            known.append(f"not run: {', '.join(f'`{name}`' for name in missing)}")
        lines.append(f"| {question.claim} | {question.made} | {question.denied or '-'} | {'<br>'.join(known)} |")
    lines += [
        "",
        f"{EARLY} by fewer networks, epochs or images than the study's. Verdicts are on the statement before them.",
    ]
    return "\n".join(lines)


def _answer(experiment: str, pattern: str, claims: Sequence[Claim] | None) -> str:
    """What an experiment finds, in a line; empty where it was not run."""
    if claims is None:
        return ""
    matching = [claim for claim in claims if fnmatch.fnmatchcase(claim.name, pattern)]
    if not matching:
        return f"`{experiment}` did not judge {pattern!r}"
    first = matching[0]
    mark = EARLY if any(claim.preliminary for claim in matching) else ""
    said = f"`{experiment}`: {first.statement} ({first.statistic.rpartition(': ')[2]})"
    if len(matching) == 1:
        return f"{said}: {interval(first)}, **{first.verdict}**{mark}"
    counts = Counter(claim.verdict for claim in matching)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    values = sorted(float(claim.estimate.value) for claim in matching)
    return f"{said}: {values[0]:.3g} to {values[-1]:.3g}, **{verdicts}**{mark}"


def put_into(page: str, table: str) -> str:
    """A page with the table between its two lines.

    Raises:
        ValueError: the page does not have both.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no place for the table: it needs the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"
