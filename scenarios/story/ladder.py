"""The ladder of a story: who said what to whom, row by row, those of one transaction in one colour.

Commands to a card come by the dozen, so those that follow each other are one row, its lines all of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from scenarios.story.result import ACTORS, Passing

COLOURS: Final = 8
"""Transactions take turns in so many colours."""

ALWAYS: Final = ("terminal", "switch")
TIME, COLUMN, ROW, HEAD = 64, 142, 26, 30
LONGEST = 22
"""Characters that fit between two neighbouring columns."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One row of the drawing: `passing`, its `colour` (-1 without a transaction), its height `y`, from `x1` to `x2`
    (the same where something happened to one actor), and its `title` as far as it fits."""

    passing: Passing
    colour: int
    y: int
    x1: int
    x2: int
    title: str

    @property
    def middle(self) -> int:
        return (self.x1 + self.x2) // 2

    @property
    def path(self) -> str:
        """The arrow, line and head in one stroke."""
        back = -6 if self.x2 > self.x1 else 6
        return f"M{self.x1} {self.y}H{self.x2}m{back} -4l{-back} 4l{back} 4"


@dataclass(frozen=True, slots=True)
class Ladder:
    """A drawing in pixels: `columns` as (name, x), `rungs` from top to bottom."""

    width: int
    height: int
    columns: tuple[tuple[str, int], ...]
    rungs: tuple[Rung, ...]


def folded(passings: Iterable[Passing]) -> list[Passing]:
    """The passings, each run of APDUs of one transaction made one."""
    out: list[Passing] = []
    for (kind, _), group in groupby(passings, key=lambda one: (one.kind, one.trace)):
        them = list(group)
        if kind != "apdu" or len(them) == 1:
            out += them
            continue
        lines = [line for one in them for line in (one.title, *one.lines)]
        out.append(replace(them[0], src="terminal", dst="card", title=f"{len(them)} × APDU", lines=tuple(lines)))
    return out


def colours(passings: Iterable[Passing]) -> dict[str, int]:
    """A colour for each trace, in the order they come."""
    traces = dict.fromkeys(one.trace for one in passings if one.trace)
    return {trace: number % COLOURS for number, trace in enumerate(traces)}


def columns(passings: Sequence[Passing]) -> tuple[str, ...]:
    """The actors that have a part, terminal and switch in any case, in their order; strangers last."""
    seen = {*ALWAYS, *(one.src for one in passings), *(one.dst for one in passings)} - {""}
    return (*(name for name in ACTORS if name in seen), *sorted(seen - {*ACTORS}))


def draw(passings: Iterable[Passing]) -> Ladder:
    """The drawing of a story."""
    rows = folded(passings)
    names = columns(rows)
    place = {name: TIME + COLUMN // 2 + COLUMN * number for number, name in enumerate(names)}
    colour = colours(rows)
    rungs = []
    for number, one in enumerate(rows):
        x1, x2 = place.get(one.src, place["terminal"]), place.get(one.dst, place["terminal"])
        most = LONGEST * max(1, abs(x2 - x1) // COLUMN)
        title = one.title if len(one.title) <= most else one.title[: most - 1] + "…"
        rungs.append(Rung(one, colour.get(one.trace, -1), HEAD + ROW * (number + 1), x1, x2, title))
    height = HEAD + ROW * (len(rows) + 1)
    return Ladder(TIME + COLUMN * len(names), height, tuple(place.items()), tuple(rungs))


def told(passings: Iterable[Passing], lines: bool = False) -> str:
    """The ladder as text, a row a line; with `lines`, what each says below it, indented."""
    out = []
    for one in folded(passings):
        way = one.src if one.src == one.dst else f"{one.src} -> {one.dst}"
        out.append(f"{one.at_s:10.3f} s  {way:<28} {one.title}" + (f"  [{one.trace}]" if one.trace else ""))
        if lines:
            out += [f"{'':15}{line}" for line in one.lines]
    return "\n".join(out)
