"""Claims of a study and their verdicts: a rule stated beforehand, an interval over replicas, nothing else."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, SupportsFloat

from ibjax.errors import InputError
from ibjax.plane.resampling import Estimate

Verdict = Literal["reproduced", "refuted", "inconclusive"]
COLUMNS = ("claim", "statement", "statistic", "value", "low", "high", "rule", "verdict", "preliminary")


class Rule(NamedTuple):
    """What a claim says about a number: that the truth lies between ``low`` and ``high``, both excluded.

    Make one by `greater_than`, `less_than` or `within`.

    Attributes:
        text: the rule in words.
        low: -inf for no bound.
        high: inf for no bound.
    """

    text: str
    low: float
    high: float

    def verdict(self, estimate: Estimate) -> Verdict:
        """Judge an interval: wholly within the rule, wholly outside, or neither.

        Where the claim is false this says "reproduced" with probability at most (1 - level) / 2, as far as the
        interval keeps its level. An interval with a NaN is inconclusive.
        """
        if any(math.isnan(bound) for bound in estimate):
            return "inconclusive"
        above = self.low == -math.inf or self.low < estimate.low
        below = self.high == math.inf or estimate.high < self.high
        if above and below:
            return "reproduced"
        if estimate.high <= self.low or estimate.low >= self.high:
            return "refuted"
        return "inconclusive"


def greater_than(bound: float = 0.0) -> Rule:
    """Claim that a number is greater than ``bound``.

    Example:
        >>> greater_than().verdict(Estimate(0.3, 0.1, 0.5))
        'reproduced'
        >>> greater_than().verdict(Estimate(0.3, -0.1, 0.7))
        'inconclusive'
    """
    _check_number("bound", bound)
    return Rule(f"greater than {bound:g}", bound, math.inf)


def less_than(bound: float = 0.0) -> Rule:
    """Claim that a number is less than ``bound``.

    Example:
        >>> less_than().verdict(Estimate(0.3, 0.1, 0.5))
        'refuted'
    """
    _check_number("bound", bound)
    return Rule(f"less than {bound:g}", -math.inf, bound)


def within(margin: float, target: float = 0.0) -> Rule:
    """Claim that a number equals ``target`` as far as matters: what words like similar, near and hardly mean.

    |truth - target| < margin, by two one-sided tests: the interval must lie within the margin. That an interval
    contains the target is no evidence for it.

    Args:
        margin: the smallest difference that would matter, stated before the run.
        target: 0 for a difference, 1 for a ratio, ...

    Example:
        >>> within(0.1).verdict(Estimate(0.02, -0.04, 0.08))
        'reproduced'
        >>> within(0.1).verdict(Estimate(0.02, -0.4, 0.5))
        'inconclusive'

    References:
        Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power approach". A 95 %
        interval makes each test one at 2.5 %.
    """
    _check_number("target", target)
    if not (margin > 0 and math.isfinite(margin)):
        raise InputError(f"margin must be positive and finite, got {margin}: state the difference that matters")
    return Rule(f"within {margin:g} of {target:g}", target - margin, target + margin)


class Claim(NamedTuple):
    """One claim, what was found and what follows.

    Attributes:
        name: short and unique in its study.
        statement: the claim in words, as the source makes it.
        statistic: which number is judged, with its units.
        estimate: that number with its interval over replicas.
        rule: what the claim says about it.
        preliminary: the run was smaller than the source's, see `is_preliminary`.
    """

    name: str
    statement: str
    statistic: str
    estimate: Estimate
    rule: Rule
    preliminary: bool = False

    @property
    def verdict(self) -> Verdict:
        """What the rule makes of the interval."""
        return self.rule.verdict(self.estimate)


def is_preliminary(size: Mapping[str, float], paper: Mapping[str, float]) -> bool:
    """Whether a run is smaller than the source's in anything that the source states.

    Args:
        size: what was run, such as ``{"replicas": 20, "epochs": 3000}``.
        paper: what the source ran.

    Raises:
        InputError: the run does not say how large it is in something that the source states.

    Example:
        >>> is_preliminary({"replicas": 50, "epochs": 3000}, {"replicas": 50, "epochs": 10_000})
        True
    """
    if missing := [name for name in paper if name not in size]:
        raise InputError(f"size must state {', '.join(missing)} too, which the source does")
    return any(size[name] < needed for name, needed in paper.items())


def claims_table(claims: Iterable[Claim]) -> list[dict[str, Any]]:
    """Return one flat row a claim, preliminary ones last.

    Args:
        claims: the claims.

    Returns:
        Rows with the keys claim, statement, statistic, value, low, high, rule, verdict and preliminary, which a
        `rich` table prints, `xarray` or pandas take as columns and `json` writes.

    Raises:
        InputError: two claims of one name.

    Example:
        >>> claim = Claim("compression", "I(X;T) falls", "drop, bits", Estimate(2.1, 1.8, 2.4), greater_than(0.1))
        >>> row = claims_table([claim])[0]
        >>> row["rule"], row["verdict"]
        ('greater than 0.1', 'reproduced')
    """
    found = sorted(claims, key=lambda claim: claim.preliminary)
    names = [claim.name for claim in found]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"claims must have names of their own, {repeated[0]!r} occurs twice")
    return [
        dict(
            zip(
                COLUMNS,
                (c.name, c.statement, c.statistic, *c.estimate, c.rule.text, c.verdict, c.preliminary),
                strict=True,
            )
        )
        for c in found
    ]


def claims_to_json(claims: Iterable[Claim]) -> str:
    """Write claims as JSON, with their verdicts for other readers; nan and inf become strings."""
    rows = [
        {
            **claim._asdict(),
            "estimate": {name: _plain(value) for name, value in claim.estimate._asdict().items()},
            "rule": {"text": claim.rule.text, "low": _plain(claim.rule.low), "high": _plain(claim.rule.high)},
            "preliminary": bool(claim.preliminary),
            "verdict": claim.verdict,
        }
        for claim in claims
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def claims_from_json(text: str) -> list[Claim]:
    """Read what `claims_to_json` wrote.

    Raises:
        InputError: text that is no list of claims, or a verdict that does not follow from its interval and rule.

    Example:
        >>> claim = Claim("peak", "C is reached", "epoch", Estimate(350.0, 310.0, math.inf), less_than(10_000))
        >>> claims_from_json(claims_to_json([claim])) == [claim]
        True
    """
    claims = []
    try:
        for row in json.loads(text):
            verdict = row.pop("verdict")
            estimate = Estimate(**{name: float(value) for name, value in row.pop("estimate").items()})
            rule = row.pop("rule")
            claim = Claim(**row, estimate=estimate, rule=Rule(rule["text"], float(rule["low"]), float(rule["high"])))
            if claim.verdict != verdict:
                raise InputError(
                    f"claim {claim.name!r} is stored as {verdict}, but its interval and rule make it {claim.verdict}: "
                    "evaluate it again"
                )
            claims.append(claim)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not a list of claims as claims_to_json writes it: {error!r}") from None
    return claims


def _plain(value: SupportsFloat) -> float | str:
    value = float(value)
    return value if math.isfinite(value) else str(value)


def _check_number(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise InputError(f"{name} must be finite, got {value}")
