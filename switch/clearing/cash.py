"""The fourth book: the cash of the machines, joined with what was booked for it.

Two equations must hold. By machine and denomination, between two counts: loaded + deposited - dispensed - retracted -
rejected = counted. By transaction: what a withdrawal debited is what was dispensed for it and what its error record
(差错) says is missing; what a deposit credited are the notes that went in. See docs/atm.md, "The cash book".
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from switch.clearing.books import Key, Row
from switch.clearing.reconcile import Break
from switch.wire.transactions import BY_NAME

_SIGNS: Final = {"loaded": 1, "deposited": 1, "dispensed": -1, "retracted": -1, "rejected": -1}


@dataclass(slots=True)
class CashBook:
    """The machines' cash, in minor units, and where it differs from the other books.

    `difference_minor` is the sum of what each count missed or found too much; `reversals` are withdrawals of which
    nothing came out, `confirmations` deposits that stand by their confirmation.
    """

    machines: int = 0
    amounts: Counter[str] = field(default_factory=Counter)
    difference_minor: int = 0
    error_records: Counter[str] = field(default_factory=Counter)
    error_minor: int = 0
    reversals: int = 0
    confirmations: int = 0
    retained: int = 0
    breaks: list[Break] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For machines: the `cash` part of a result."""
        return {
            "machines": self.machines,
            **{f"{event}_minor": self.amounts[event] for event in (*_SIGNS, "counted")},
            "difference_minor": self.difference_minor,
            "error_records": self.error_records.total(),
            "error_records_by_cause": dict(self.error_records),
            "error_records_minor": self.error_minor,
            "reversals": self.reversals,
            "confirmations": self.confirmations,
            "retained_cards": self.retained,
            "breaks": len(self.breaks),
        }


def join_cash(cash: Sequence[Row], errors: Sequence[Row], terminals: Iterable[Row], retained: int = 0) -> CashBook:
    """Join the cash book with the terminals' own: `cash` in the order of its numbers."""
    book = CashBook(retained=retained)
    book.machines = len({(row["mid"], row["tid"]) for row in cash})
    _machines(book, cash)
    out: Counter[Key] = Counter()
    inside: Counter[Key] = Counter()
    for row in cash:
        if row["event"] in ("dispensed", "deposited"):
            side = out if row["event"] == "dispensed" else inside
            side[_key(row)] += row["denomination_minor"] * row["notes"]
    missing: Counter[Key] = Counter()
    for row in errors:
        book.error_records[row["cause"]] += 1
        book.error_minor += row["difference_minor"]
        missing[_key(row)] += row["difference_minor"]
        if row["state"] == "open":
            _found(book, row, _key(row), "its error record is open: the machine was never counted", 0)
        if row["difference_minor"] != row["approved_minor"] - row["dispensed_minor"]:
            _found(book, row, _key(row), "its error record does not add up", row["difference_minor"])
    _transactions(book, list(terminals), out, inside, missing)
    return book


def _key(row: Row) -> Key:
    return Key(row["mid"], row["tid"], row["batch"], row["stan"])


def _found(book: CashBook, row: Row, key: Key, cause: str, amount: int, short: str = "", kind: str = "cash") -> None:
    book.breaks.append(Break("cash", str(key), row.get("rrn", ""), kind, cause, abs(amount), short))


# by machine and denomination


def _machines(book: CashBook, cash: Sequence[Row]) -> None:
    inside: dict[tuple[str, str, int], int] = {}
    last: dict[tuple[str, str, int], Row] = {}
    for row in cash:
        where = (row["mid"], row["tid"], row["denomination_minor"])
        book.amounts[row["event"]] += row["denomination_minor"] * row["notes"]
        last[where] = row
        if row["event"] in _SIGNS:
            inside[where] = inside.get(where, 0) + _SIGNS[row["event"]] * row["notes"]
        elif row["event"] == "counted":
            _counted(book, row, inside.pop(where, 0))
        else:
            _found(book, row, _key(row), f"unknown event {row['event']!r}", 0)
    for where, notes in inside.items():
        amount = notes * where[2]
        book.difference_minor += abs(amount)
        _found(book, last[where], _key(last[where]), f"{notes} notes of {_yuan(where[2])} never counted", amount)


def _counted(book: CashBook, row: Row, expected: int) -> None:
    difference = row["notes"] - expected
    if not difference:
        return
    amount = difference * row["denomination_minor"]
    book.difference_minor += abs(amount)
    cause = (
        f"counted {row['notes']} notes of {_yuan(row['denomination_minor'])}, the book says {expected} "
        f"(period ending in row {row['number']})"
    )
    machine = f"{row['mid']}/{row['tid']}"
    short = "holder" if difference > 0 else "acquirer"
    book.breaks.append(Break("cash", machine, "", "cash", cause, abs(amount), short))


def _yuan(minor: int) -> str:
    return f"{minor / 100:g}"


# by transaction


def _transactions(
    book: CashBook, terminals: list[Row], out: Counter[Key], inside: Counter[Key], missing: Counter[Key]
) -> None:
    rows = {_key(row): row for row in terminals if row["kind"] in BY_NAME and BY_NAME[row["kind"]].cash}
    booked: Counter[Key] = Counter()
    for key, row in rows.items():
        kind = BY_NAME[row["kind"]]
        if row["state"] != "approved":
            continue
        if kind.cash == "out":
            booked[key] += row["amount"] if row["reversal"] != "done" else 0
            book.reversals += row["reversal"] == "done"
        elif kind.confirms:
            booked[key._replace(batch=row["original_batch"], stan=row["original_stan"])] += row["amount"]
            book.confirmations += 1
        else:
            booked[key] += row["amount"]
    for key in {**booked, **out, **inside, **missing}:
        own = rows.get(key)
        if own is None:
            _found(book, {}, key, "moved notes for no transaction of its terminal", out[key] + inside[key])
        elif BY_NAME[own["kind"]].cash == "out":
            _withdrawal(book, own, key, booked[key], out[key], missing[key])
        elif inside[key] != booked[key] + missing[key]:
            cause = f"{_yuan(inside[key])} went in, {_yuan(booked[key])} booked, error record {_yuan(missing[key])}"
            short = "holder" if inside[key] > booked[key] + missing[key] else "acquirer"
            _found(book, own, key, cause, inside[key] - booked[key] - missing[key], short, own["kind"])


def _withdrawal(book: CashBook, row: Row, key: Key, booked: int, dispensed: int, missing: int) -> None:
    difference = booked - dispensed - missing
    if not difference:
        return
    cause = f"{_yuan(booked)} debited, {_yuan(dispensed)} dispensed, error record {_yuan(missing)}"
    short = "holder" if difference > 0 else "acquirer"
    _found(book, row, key, cause, difference, short, row["kind"])
