"""Claims: every rule reaches every verdict, and never more often than it may."""

import json
import math

import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.plane import (
    Claim,
    Estimate,
    bootstrap_interval,
    claims_from_json,
    claims_table,
    claims_to_json,
    greater_than,
    is_preliminary,
    less_than,
    within,
)

INF, NAN = math.inf, math.nan
CLAIMS = [
    Claim("falls", "I(X;T) falls", "drop, bits", Estimate(2.1, 1.8, 2.4), greater_than(0.1)),
    Claim("early", "the peak is early", "epoch", Estimate(350.0, 310.0, INF), less_than(1000), preliminary=True),
    Claim("same", "they coincide", "log ratio", Estimate(0.0, NAN, NAN), within(0.1)),
]


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (greater_than(), 0.1, 0.5, "reproduced"),
        (greater_than(), -0.1, 0.5, "inconclusive"),
        (greater_than(), 0.0, 0.5, "inconclusive"),
        (greater_than(), -0.5, -0.1, "refuted"),
        (greater_than(), -0.5, 0.0, "refuted"),
        (greater_than(0.2), 0.1, 0.5, "inconclusive"),
        (greater_than(0.2), 0.3, INF, "reproduced"),
        (less_than(), -0.5, -0.1, "reproduced"),
        (less_than(), -0.5, 0.1, "inconclusive"),
        (less_than(), 0.1, 0.5, "refuted"),
        (less_than(1000), 310, INF, "inconclusive"),
        (within(0.1), -0.05, 0.09, "reproduced"),
        (within(0.1), -0.05, 0.1, "inconclusive"),
        (within(0.1), -0.5, 0.5, "inconclusive"),
        (within(0.1), 0.1, 0.5, "refuted"),
        (within(0.1), -0.5, -0.2, "refuted"),
        (within(0.1, 1.0), 0.95, 1.05, "reproduced"),
        (within(0.1, 1.0), 0.0, 0.05, "refuted"),
        (greater_than(), NAN, 0.5, "inconclusive"),
        (within(0.1), 0.0, NAN, "inconclusive"),
    ],
)
def test_verdicts(rule, low, high, verdict):
    assert rule.verdict(Estimate((low + high) / 2 if math.isfinite(high) else low, low, high)) == verdict


def test_an_unknown_value_is_inconclusive():
    assert greater_than().verdict(Estimate(NAN, 1.0, 2.0)) == "inconclusive"


@pytest.mark.parametrize(
    ("rule", "truth"), [(greater_than(), 0.0), (less_than(), 0.0), (within(0.8), 0.8)], ids=["greater", "less", "tost"]
)
def test_a_false_claim_is_rarely_reproduced(rule, truth):
    # At the edge of the rule, where it is hardest: 2.5 % of a 95 % interval.
    random = np.random.default_rng(0)
    found = [bootstrap_interval(np.mean, truth + random.normal(size=20), resamples=999) for _ in range(500)]
    assert np.mean([rule.verdict(f) == "reproduced" for f in found]) <= 0.05


def test_a_true_claim_is_reproduced_and_its_contrary_refuted():
    found = bootstrap_interval(np.mean, 1.0 + np.random.default_rng(0).normal(size=40))
    assert [rule.verdict(found) for rule in (greater_than(), less_than(), within(0.1))] == [
        "reproduced",
        "refuted",
        "refuted",
    ]


def test_the_smaller_run_is_preliminary():
    paper = {"replicas": 50, "epochs": 10_000}
    assert not is_preliminary({"replicas": 50, "epochs": 10_000, "layers": 1}, paper)
    assert not is_preliminary({"replicas": 100, "epochs": 20_000}, paper)
    assert is_preliminary({"replicas": 20, "epochs": 20_000}, paper)
    with pytest.raises(InputError, match="size must state epochs too"):
        is_preliminary({"replicas": 50}, paper)


def test_the_table_shows_preliminary_claims_last():
    rows = claims_table(CLAIMS)
    assert [row["claim"] for row in rows] == ["falls", "same", "early"]
    assert [row["verdict"] for row in rows] == ["reproduced", "inconclusive", "inconclusive"]
    assert [row["preliminary"] for row in rows] == [False, False, True]
    assert list(rows[0]) == [
        "claim", "statement", "statistic", "value", "low", "high", "rule", "verdict", "preliminary"
    ]  # fmt: skip
    assert (rows[0]["value"], rows[0]["low"], rows[0]["high"]) == (2.1, 1.8, 2.4)
    assert claims_table([]) == []


def test_json_and_back():
    text = claims_to_json(CLAIMS)
    back = claims_from_json(text)
    assert back[:2] == CLAIMS[:2]
    assert back[2]._replace(estimate=None) == CLAIMS[2]._replace(estimate=None)
    assert np.isnan(back[2].estimate[1:]).all()
    assert [row["verdict"] for row in json.loads(text)] == [claim.verdict for claim in CLAIMS]
    assert claims_to_json(back) == text
    assert claims_from_json(claims_to_json([])) == []


def test_numpy_numbers_are_written_too():
    claim = CLAIMS[0]._replace(estimate=Estimate(*np.float32([0.5, 0.25, 1.0])))
    assert claims_from_json(claims_to_json([claim]))[0].estimate == (0.5, 0.25, 1.0)


def test_an_edited_verdict_is_refused():
    text = claims_to_json(CLAIMS).replace("inconclusive", "reproduced", 1)
    with pytest.raises(InputError, match="'early' is stored as reproduced, but its interval and rule make it incon"):
        claims_from_json(text)


@pytest.mark.parametrize(
    "text", ["", "{}x", "3", '[{"name": "a"}]', '[{"verdict": "refuted", "estimate": {"value": 1}}]']
)
def test_text_that_is_no_claims_is_refused(text):
    with pytest.raises(InputError, match="not a list of claims"):
        claims_from_json(text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: greater_than(NAN), "bound must be finite, got nan"),
        (lambda: less_than(INF), "bound must be finite, got inf"),
        (lambda: within(0.0), "margin must be positive and finite, got 0"),
        (lambda: within(0.1, NAN), "target must be finite"),
        (lambda: claims_table([CLAIMS[0], CLAIMS[0]]), "'falls' occurs twice"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
