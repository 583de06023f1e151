"""The inspection of a fleet: every terminal's checks, its defects, and the shares beside the country's."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from scenarios.inspection.checks import CHECKS, Check, Seen, applies
from scenarios.inspection.fleet import ATM, CRS, POS, Inspected, Stand
from switch.wire.roster import CONTACT, CONTACTLESS

BENCHMARK: Final[Mapping[str, Mapping[str, float]]] = {
    POS: {CONTACT: 0.999, CONTACTLESS: 0.550}, "machine": {CONTACT: 0.990, CONTACTLESS: 0.412},
}  # fmt: skip
"""Shares of the country's terminals that accepted chips, 2015: POS, and machines (ATM and CRS)."""
ACCEPTS: Final = {
    CONTACT: ("contact", "withdrawal"), CONTACTLESS: ("field", "withdrawal-field", "fare"),
    "e-cash": ("e-cash", "quick", "fare"), "sm": ("sm", "fare-sm"),
}  # fmt: skip
"""By which checks a terminal is said to accept something: one passed is enough."""

Results = dict[str, Seen]


class Defect(NamedTuple):
    """One thing one terminal does wrong."""

    terminal: Inspected
    check: Check
    seen: Seen


class Row(NamedTuple):
    """A group of terminals: how many there are, how many accept what, defects and terminals that have one."""

    name: str
    terminals: int
    accept: dict[str, int]
    defects: int
    defective: int

    def share(self, what: str) -> float:
        """The part of the group that accepts something, 0 to 1."""
        return self.accept[what] / self.terminals if self.terminals else 0.0


@dataclass(frozen=True)
class Inspection:
    """What was found. Groups are in the order of their names; `kinds` has "pos" and "machine" beside validators."""

    terminals: list[Inspected]
    results: list[Results]
    defects: list[Defect]
    date: str

    def by(self, key: Callable[[Inspected], str]) -> list[Row]:
        """Terminals grouped by something."""
        groups: dict[str, list[int]] = {}
        for place, terminal in enumerate(self.terminals):
            groups.setdefault(key(terminal) or "-", []).append(place)
        wrong: dict[str, int] = {}
        for defect in self.defects:
            wrong[defect.terminal.tid] = wrong.get(defect.terminal.tid, 0) + 1
        return [self._row(name, groups[name], wrong) for name in sorted(groups)]

    def _row(self, name: str, places: list[int], wrong: Mapping[str, int]) -> Row:
        accept = {
            what: sum(any(check in self.results[n] and self.results[n][check].ok for check in checks) for n in places)
            for what, checks in ACCEPTS.items()
        }
        counts = [wrong.get(self.terminals[n].tid, 0) for n in places]
        return Row(name, len(places), accept, sum(counts), sum(count > 0 for count in counts))

    @property
    def kinds(self) -> list[Row]:
        """POS, machines and validators."""
        return self.by(lambda terminal: _class(terminal.stand.kind))

    def as_dict(self) -> dict[str, Any]:
        """Everything for `--json`."""
        return {
            "terminals": len(self.terminals),
            "defects": len(self.defects),
            "date": self.date,
            "benchmark": BENCHMARK,
            "kinds": _rows(self.kinds),
            "models": _rows(self.by(lambda terminal: terminal.model)),
            "topologies": _rows(self.by(lambda terminal: terminal.topology)),
            "districts": _rows(self.by(lambda terminal: terminal.district)),
            "found": [
                {
                    "tid": one.terminal.tid, "line": one.terminal.line, "model": one.terminal.model,
                    "district": one.terminal.district, "topology": one.terminal.topology, "check": one.check.name,
                    "rule": one.check.rule, "zh": one.check.zh, "en": one.check.en, "evidence": one.seen.en,
                }
                for one in self.defects
            ],
        }  # fmt: skip


def _class(kind: str) -> str:
    return "machine" if kind in (ATM, CRS) else kind


def _rows(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [{**row._asdict(), "shares": {what: round(row.share(what), 4) for what in row.accept}} for row in rows]


def inspect(terminals: list[Inspected], date: str, seen: Callable[[int], None] = lambda count: None) -> Inspection:
    """Inspect a fleet on a day (YYMMDD). `seen` is told how many terminals are done."""
    known: dict[tuple[Stand, str], Results] = {}
    results: list[Results] = []
    defects: list[Defect] = []
    checks = {check.name: check for check in CHECKS}
    for count, terminal in enumerate(terminals, 1):
        like = terminal.stand, terminal.suite
        if like not in known:
            known[like] = _visit(*like, date)
        found = known[like]
        results.append(found)
        defects += [Defect(terminal, checks[name], one) for name, one in found.items() if not one.ok]
        seen(count)
    return Inspection(terminals, results, defects, date)


def _visit(stand: Stand, suite: str, date: str) -> Results:
    """All checks a terminal must pass, but those whose ground another has shown to be missing."""
    found: Results = {}
    missing: set[str] = set()
    for check in CHECKS:
        if not applies(check, stand, suite):
            continue
        if missing.isdisjoint(check.after):
            found[check.name] = check.make(stand, date)
        if check.name not in found or not found[check.name].ok:
            missing.add(check.name)
    return found
