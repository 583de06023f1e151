"""Operator rules of a story: those of `switch.issuer.rules`, with an end after so many times."""

from collections.abc import Iterable
from typing import Any

from scenarios.story.casting import Troupe
from scenarios.story.shape import Block
from switch.issuer.request import Request
from switch.issuer.rules import Rule, RuleBook, read_rules


class Once(RuleBook):
    """A rule book some of whose rules end after so many times (0: never)."""

    __slots__ = ("_left",)

    def __init__(self, rules: Iterable[Rule], times: Iterable[int]) -> None:
        super().__init__(rules)
        self._left = list(times)

    def take(self, request: Request) -> Rule | None:
        """The rule that this request falls under, while it lasts."""
        for place, rule in enumerate(self.rules):
            if self._left[place] < 0 or not rule.matches(request):
                continue
            self.seen[place] += 1
            if self.seen[place] % rule.every == 0:
                self.fired += 1
                if self._left[place]:
                    self._left[place] = self._left[place] - 1 or -1
                return rule
        return None


def host_rules(blocks: Iterable[Block], troupe: Troupe) -> Once:
    """Rules as the story writes them. KeyError for a card or terminal that is not in the cast."""
    rows, times = [], []
    for block in blocks:
        row: dict[str, Any] = {"action": block["action"].replace("-", "_")}
        for key, name in (
            ("code", "code"),
            ("delay", "delay_s"),
            ("bin", "bin"),
            ("amount", "amount_minor"),
            ("every", "every"),
        ):
            if key in block:
                row[name] = block[key]
        if "kind" in block:
            row["kind"] = block["kind"].replace("-", "_")
        if "card" in block:
            row["bin"] = troupe.holders[block["card"]].card.pan
        if "at" in block:
            row["tid"] = troupe.tills[block["at"]].terminal.tid
        rows.append(row)
        times.append(block.get("times", 0))
    return Once(read_rules(rows), times)
