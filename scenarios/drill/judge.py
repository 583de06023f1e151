"""What a drill left behind, in money: transactions lost and doubled, by the books joined key by key.

With our own switch the three books are joined as `shoudan clearing reconcile` does, and the judge of the seeded world
reads its journal row by row. Beside it, and alone for somebody else's switch, whose journal we cannot read, terminals
and issuers are joined with arithmetic of its own.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from scenarios.world.host import Host
from scenarios.world.judge import Judge, Violation
from switch.app.clearing import read_rows, reconcile_files
from switch.clearing.books import Row, postings
from switch.clearing.schema import LEDGER, SWITCH_TABLES, TERMINALS
from switch.wire.transactions import BY_NAME

SHOWN: Final = 20


@dataclass(slots=True)
class Verdict:
    """`lost`: approved at a terminal, money that was not moved. `doubled`: money moved that no receipt stands for, or
    more than once. `open`: differences without a loser yet. `cash` is what the machines' cash book
    came to, `causes` counts all differences, `shown` holds the first of them."""

    transactions: int = 0
    lost: int = 0
    doubled: int = 0
    open: int = 0
    suspicious: int = 0
    cash: dict[str, Any] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def found(self, side: str, cause: str, entry: dict[str, Any]) -> None:
        """One difference: `side` is who lacks the money, "" nobody yet."""
        if side in ("acquirer", "merchant"):
            self.lost += 1
        elif side == "holder":
            self.doubled += 1
        else:
            self.open += 1
        self.causes[cause] = self.causes.get(cause, 0) + 1
        if len(self.shown) < SHOWN:
            self.shown.append(entry)

    @property
    def clean(self) -> bool:
        """Nothing is wrong, and there was something to be wrong."""
        return self.transactions > 0 and not (self.lost or self.doubled or self.open)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def judge(journal: Path | None, ledgers: list[Path], terminals: Path) -> Verdict:
    """Join the books that stand in these files. Raises typer.BadParameter for what is no book."""
    ledger = [row for path in ledgers for row in read_rows(path, LEDGER)]
    verdict = two_books(read_rows(terminals, TERMINALS), ledger)
    if journal is None:
        return verdict
    joined = reconcile_files(journal, ledgers, terminals)
    for violation in journal_rules(journal):
        verdict.found("", f"{violation.invariant} of the journal", violation._asdict())
    known = {entry["rrn"] for entry in verdict.shown if entry.get("rrn")}
    verdict.suspicious = len(joined.suspicious)
    verdict.cash = joined.cash.as_dict() if joined.cash is not None else {}
    for one in joined.breaks:
        if not one.rrn or one.rrn not in known:
            verdict.found(one.short, one.cause, one.as_dict())
    return verdict


class _Bench:
    """What the world's judge wants of a world: here is none, so whatever may have been done to a line was done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.spoilt: set[bytes] = set()
        self.fired = Counter(("partial", "echo", "flip"))

    def reached(self, what: str) -> None:
        """Nobody counts rare branches here."""


NOT_WITHOUT_WIRE: Final = frozenset(("I20",))
"""Invariants that the world's judge can only see on the wire."""


def journal_rules(journal: Path) -> list[Violation]:
    """What the world's judge finds in a journal, row by row: numbers, order of states, keys, amounts, dates."""
    bench = Judge(_Bench())
    rows = [
        (row["number"], table.name, tuple(row.values())) for table in SWITCH_TABLES for row in read_rows(journal, table)
    ]
    rows.sort(key=lambda one: int(one[0]))
    bench.durable(cast(Host, SimpleNamespace(name="switch")), [(table, row) for _, table, row in rows])
    return [one for one in bench.violations if one.invariant not in NOT_WITHOUT_WIRE]


def two_books(terminals: Iterable[Row], ledger: Iterable[Row]) -> Verdict:
    """Terminals and issuers, joined by merchant, terminal and RRN."""
    verdict = Verdict()
    moved: dict[tuple[str, str, str], list[Any]] = {}
    for posting in postings(ledger).values():
        row = posting.first
        if row is None:
            continue
        sums = moved.setdefault((row["mid"], row["tid"], row["rrn"]), [0, 0, 0, row["kind"]])
        sums[0] += posting.posted
        sums[1] += posting.held
        sums[2] += bool(posting.posted or posting.held)
    rows = [row for row in terminals if row["kind"] in BY_NAME and BY_NAME[row["kind"]].amount]
    verdict.transactions = len(rows)
    again = [row for row in rows if BY_NAME[row["kind"]].confirms and row["state"] == "approved"]
    again = [row for row in again if not moved.get((row["mid"], row["tid"], row["rrn"]), [0])[0]]
    told = {(row["mid"], row["tid"], row["batch"], row["stan"]) for row in again}
    told |= {(row["mid"], row["tid"], row["original_batch"], row["original_stan"]) for row in again}
    for row in rows:
        if (row["mid"], row["tid"], row["batch"], row["stan"]) in told:
            continue
        key = (row["mid"], row["tid"], row["rrn"])
        stands = row["state"] == "approved" and row["reversal"] == "none"
        sums = moved.pop(key, [0, 0, 0, ""]) if row["rrn"] else [0, 0, 0, ""]
        _compare(verdict, row, stands, sums)
    for row in again:  # a confirmation stands for a request of which its terminal may never have heard the number
        _compare(verdict, row, True, moved.pop(_told_of(row, moved), [0, 0, 0, ""]))
    for (mid, tid, rrn), sums in moved.items():
        if sums[0] or sums[1]:
            entry = {"mid": mid, "tid": tid, "rrn": rrn, "kind": sums[3], "posted": sums[0], "held": sums[1]}
            side = "holder" if sums[0] >= 0 else "acquirer"
            verdict.found(side, "moved, and no terminal knows of it", entry)
    return verdict


def _told_of(row: Row, moved: Mapping[tuple[str, str, str], list[Any]]) -> tuple[str, str, str]:
    """Where the issuers have what a confirmation tells again: at the same terminal, of the kind and sum it is of."""
    kind = BY_NAME[row["kind"]]
    for key, sums in moved.items():
        if key[:2] == (row["mid"], row["tid"]) and sums[3] in kind.of and sums[0] == row["amount"] * kind.moves[0]:
            return key
    return row["mid"], row["tid"], row["rrn"]


def _compare(verdict: Verdict, row: Row, stands: bool, sums: list[Any]) -> None:
    """One transaction of a terminal against what the issuers moved for it."""
    factor, column = BY_NAME[row["kind"]].moves
    want = row["amount"] * factor if stands else 0
    got = sums[1] if column == "held" else sums[0]
    if got == want and (not want or sums[2] == 1):
        return
    entry = {
        "mid": row["mid"], "tid": row["tid"], "rrn": row["rrn"], "kind": row["kind"], "batch": row["batch"],
        "stan": row["stan"], "amount": row["amount"], "moved": got, "should_be": want,
    }  # fmt: skip
    if sums[2] > 1:
        verdict.found("holder", "moved more than once", entry)
    elif got < want:
        verdict.found("acquirer", "approved at the terminal, not moved", entry)
    else:
        verdict.found("holder", "moved, and not approved at the terminal", entry)
