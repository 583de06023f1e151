"""Operator rules (挡板规则): how the other side is made to misbehave, so that the switch can be seen to cope."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from switch.issuer.request import Request

Action: TypeAlias = Literal["delay", "silence", "code", "disconnect", "silence_after_posting"]


class RuleError(ValueError):
    """A rule that cannot be read; the message names its place and key."""


class Rule(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What a rule matches (every condition given must hold) and what then happens, at each `every`-th match.

    `bin` is the beginning of the card number; amounts are minor units, both ends of a range included; `kind` is a row
    of the transaction matrix or "reversal". A rule without `kind` leaves advice and reversals alone.

    delay                  decided at once, answered `delay_s` seconds later
    silence                never reached the issuer, no answer
    silence_after_posting  decided and posted, no answer
    code                   refused with `code`; of advice and reversals nothing is remembered, a repeat counts anew
    disconnect             the line is cut before anything is decided
    """

    action: Action
    name: str = ""
    bin: str = ""
    amount_minor: int | None = None
    amount_min_minor: int | None = None
    amount_max_minor: int | None = None
    mcc: str = ""
    kind: str = ""
    tid: str = ""
    every: int = 1
    delay_s: float = 0.0
    code: str = ""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError("every is at least 1")
        if self.action == "delay" and not self.delay_s > 0:
            raise ValueError("a delay has delay_s above 0")
        if self.action == "code" and (len(self.code) != 2 or self.code == "00"):
            raise ValueError("a code has two characters and is not an approval")

    def matches(self, request: Request) -> bool:
        """Whether the conditions hold, whatever `every` says."""
        amount = request.amount_minor
        return (
            (("reversal" if request.reversal else request.kind) == self.kind if self.kind else not request.advice)
            and request.pan.startswith(self.bin)
            and (self.amount_minor is None or amount == self.amount_minor)
            and (self.amount_min_minor is None or amount >= self.amount_min_minor)
            and (self.amount_max_minor is None or amount <= self.amount_max_minor)
            and (not self.mcc or request.mcc == self.mcc)
            and (not self.tid or request.tid == self.tid)
        )


def read_rules(rows: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Rules from plain dicts. Raises RuleError with the rule's number (from 1) for anything unknown or unfit."""
    rules = []
    for number, row in enumerate(rows, 1):
        try:
            rules.append(msgspec.convert(dict(row), Rule))
        except msgspec.ValidationError as error:
            raise RuleError(f"rule {number}: {error}") from None
    return tuple(rules)


class RuleBook:
    """Rules with their counts: the first rule that matches and is due wins; those before it have counted the match."""

    __slots__ = ("fired", "rules", "seen")

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self.seen = [0] * len(self.rules)
        self.fired = 0

    def take(self, request: Request) -> Rule | None:
        """The rule that this request falls under, None if none is due."""
        for place, rule in enumerate(self.rules):
            if rule.matches(request):
                self.seen[place] += 1
                if self.seen[place] % rule.every == 0:
                    self.fired += 1
                    return rule
        return None
