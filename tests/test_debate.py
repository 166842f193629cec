"""The table of the debate: filled from claims, honest about what was not run."""

import pytest
from debate import BEGIN, END, QUESTIONS, debate, put_into

from ibjax.experiments import EXPERIMENTS
from ibjax.plane import Claim, Estimate, greater_than


def claim(name, value=0.8, early=False):
    return Claim(
        name, f"{name} holds", "szt: share", Estimate(value, value - 0.1, value + 0.1), greater_than(0.5), early
    )


def row(table, start):
    return next(line for line in table.splitlines() if line.startswith(f"| {start}"))


def test_answers_are_those_of_the_claims():
    found = {
        "szt": [claim("fitting"), claim("compression", 0.2, early=True), claim("relevance-kept", 0.5)],
        "random-labels": [claim("fits random labels mlp-1x512"), claim("fits random labels alexnet", 0.3),
                          claim("fits random labels with dropout alexnet", 0.1)],
    }  # fmt: skip
    table = debate(found)
    phases = row(table, "Training first fits")
    assert "fitting holds (share): 0.8 [0.7, 0.9], **reproduced**<br>" in phases
    assert "compression holds (share): 0.2 [0.1, 0.3], **refuted**†" in phases
    assert "relevance-kept holds (share): 0.5 [0.4, 0.6], **inconclusive**" in phases
    assert "not run" not in phases
    memory = row(table, "The same networks memorise")
    assert "0.3 to 0.8, **1 reproduced, 1 refuted**" in memory
    assert "did not judge 'keeps-more *'" in memory
    assert "not run: `szt-depth`" in row(table, "More layers")
    assert len(table.splitlines()) == len(QUESTIONS) + 4
    assert all(line.count("|") == 5 for line in table.splitlines()[: len(QUESTIONS) + 2])


def test_evidence_is_of_experiments_there_are():
    assert {name for question in QUESTIONS for name, _ in question.evidence} <= set(EXPERIMENTS)


def test_the_table_takes_its_place():
    page = f"before\n{BEGIN}\nold\n{END}\nafter"
    made = put_into(page, "new")
    assert made == f"before\n{BEGIN}\nnew\n{END}\nafter"
    assert put_into(made, "new") == made
    with pytest.raises(ValueError, match="no place"):
        put_into("a page", "new")
