"""What stories cover: which rules of the book have one that passed, and which requests were made, how, with what end.

A rule counts as covered when a story that names it has passed; a story that fails proves nothing.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scenarios.story.requirements import Requirements, Rule
from scenarios.story.result import Cell, Run, StoryResult, Verdict
from switch.wire.transactions import ROWS


@dataclass(frozen=True, slots=True)
class Coverage:
    """`stories` of each rule by its id (those of the book in their order, then any others); `cells` how many stories
    reached each; `untouched` the transactions of the matrix that no story asked for."""

    requirements: Requirements
    stories: dict[str, list[StoryResult]]
    cells: Counter[Cell]
    untouched: tuple[str, ...]

    @property
    def proven(self) -> list[Rule]:
        """Rules with a story that passed."""
        return [rule for rule in self.requirements.rules.values() if self.passed(rule.id)]

    @property
    def bare(self) -> list[Rule]:
        """Rules without any story."""
        return [rule for rule in self.requirements.rules.values() if not self.stories[rule.id]]

    @property
    def unknown(self) -> list[str]:
        """Rules that stories name and the book does not know."""
        return [rule for rule in self.stories if rule not in self.requirements.rules]

    @property
    def percent(self) -> float:
        """Share of the rules that are proven; 100 of none."""
        rules = len(self.requirements.rules)
        return 100 * len(self.proven) / rules if rules else 100.0

    def passed(self, rule: str) -> bool:
        """Whether a story of this rule has passed."""
        return any(story.verdict is Verdict.PASSED for story in self.stories.get(rule, ()))

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "rules": len(self.requirements.rules),
            "proven": len(self.proven),
            "percent": round(self.percent, 2),
            "without_story": [rule.id for rule in self.bare],
            "unknown": self.unknown,
            "by_rule": {
                rule: {story.id: str(story.verdict) for story in stories} for rule, stories in self.stories.items()
            },
            "cells": [{**cell._asdict(), "stories": count} for cell, count in sorted(self.cells.items())],
            "untouched": list(self.untouched),
        }


def coverage(run: Run, requirements: Requirements) -> Coverage:
    """What the stories of a run cover."""
    stories: dict[str, list[StoryResult]] = {rule: [] for rule in requirements.rules}
    cells: Counter[Cell] = Counter()
    for story in run.stories:
        for rule in dict.fromkeys(story.rules):
            stories.setdefault(rule, []).append(story)
        cells.update(set(story.cells))
    return Coverage(requirements, stories, cells, _untouched(cells))


def _untouched(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Rows of the matrix whose MTI and processing code nobody asked for; a notice has those of what it speaks of."""
    seen = {(cell.mti, cell.processing_code) for cell in cells}
    asked = {mti for mti, _ in seen}
    return tuple(
        row.name
        for row in ROWS
        if (row.mti, row.processing_code) not in seen and (row.processing_code or row.mti not in asked)
    )
