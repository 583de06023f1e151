"""What survives power-off: who the terminal is, its batch, its counter, and what it still owes the host.

A flow writes here before it yields the Call, so that wherever it is killed the next dialogue can put things right.
Card numbers stand in the items (a void by voucher number needs them) and never in a repr or an export.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from switch.clearing.schema import TERMINALS
from switch.wire.redact import mask_pan
from switch.wire.transactions import BATCH_ITEMS_MAX, BY_NAME, Transaction
from terminals.device.pinpad import PinPad

STAN_MAX: Final = 999_999


class Original(NamedTuple):
    """How an earlier transaction is named in DE61, 37 and 38. `date` is MMDD, "0000" where it is not known."""

    batch: str
    stan: str
    date: str = "0000"
    rrn: str = ""
    auth_code: str = ""


@dataclass(slots=True, repr=False)
class Item:
    """One transaction as the terminal saw it.

    `state` is "unknown" (no answer that could be trusted, yet), "approved" or "declined"; `reversal` is "none",
    "pending", "done" or "refused" (the host knows of no such original: 25). `undone` marks an approved item that a
    later void took back, or a pre-authorization that was completed; `added_minor` is what a tip, an adjustment or
    an additional pre-authorization added to it. `institutions` is DE44: issuer and acquirer, 11
    characters each.
    """

    kind: str
    batch: str
    stan: str
    amount_minor: int
    entry_mode: str
    pan: str
    expiry: str
    original: Original | None = None
    source: "Item | None" = None
    state: str = "unknown"
    reversal: str = "none"
    response_code: str = ""
    rrn: str = ""
    auth_code: str = ""
    date: str = ""
    time: str = ""
    settlement_date: str = ""
    institutions: str = ""
    undone: bool = False
    added_minor: int = 0

    @property
    def row(self) -> Transaction:
        """Its row of the transaction matrix."""
        return BY_NAME[self.kind]

    @property
    def total_minor(self) -> int:
        """Its amount with what was added to it: what a void takes back, what a completion is measured by."""
        return self.amount_minor + self.added_minor

    @property
    def with_pin(self) -> bool:
        """Whether the holder entered a PIN (third digit of DE22)."""
        return self.entry_mode[2:3] == "1"

    @property
    def counts(self) -> bool:
        """Whether it stands in the batch's totals: approved, not reversed, and of a kind that moves money."""
        return self.state == "approved" and self.reversal == "none" and self.row.sign != 0

    def name(self) -> Original:
        """This item as the original of a void, a refund or a completion."""
        return Original(self.batch, self.stan, self.date or "0000", self.rrn, self.auth_code)

    def __repr__(self) -> str:
        return f"Item({self.kind} {self.batch}/{self.stan} {self.state} {self.response_code} {mask_pan(self.pan)})"


@dataclass(slots=True)
class Pending:
    """What must reach the host before anything new: the reversal of `item`, or `item` itself again if it is an advice.

    `reason` is DE39 of the 0400; `tries` counts those sent since the request.
    """

    item: Item
    reason: str
    tries: int = 0

    @property
    def repeats(self) -> bool:
        """An advice is repeated until answered; everything else is reversed."""
        return not self.item.row.reversible


@dataclass(slots=True)
class Settling:
    """A settlement whose totals were answered: the batch is frozen until its end message stands.

    `result` is DE48's verdict ("1" balanced), `step` the message of the upload that comes next, `stan` its number once
    it has been sent (a repeat keeps it).
    """

    result: str
    step: int = 0
    stan: str = ""


class Totals(NamedTuple):
    """Amounts in minor units and counts of a batch: the holders paid, the holders were paid."""

    debit_minor: int
    debit_count: int
    credit_minor: int
    credit_count: int


class Memory:
    """One terminal's memory.

    `batch` is "" until the host has assigned one; `clock` is the host's (MMDD, hhmmss) when it was last heard.

    `parameters` are those of the last download, by code (`private_62.PARAMETER_WIDTHS`). `signature_with_pin` is the
    merchant's habit: whether a receipt asks for a signature although the PIN was entered.
    """

    __slots__ = (
        "batch", "clock", "closed", "items", "last", "mcc", "merchant_name", "mid", "parameters", "pending", "pinpad",
        "settling", "signature_with_pin", "signed_in", "stan", "suite", "tid",
    )  # fmt: skip

    def __init__(self, tid: str, mid: str, mcc: str, merchant_name: str, pinpad: PinPad) -> None:
        self.tid = tid
        self.mid = mid
        self.mcc = mcc
        self.merchant_name = merchant_name
        self.pinpad = pinpad
        self.suite = pinpad.suite
        self.batch = ""
        self.stan = 0
        self.signed_in = False
        self.clock = ("", "")
        self.pending: Pending | None = None
        self.settling: Settling | None = None
        self.items: list[Item] = []
        self.closed: list[Item] = []
        self.last: Item | None = None
        self.signature_with_pin = False
        self.parameters: dict[str, str] = {}

    def next_stan(self) -> str:
        """The next trace number, six digits; 999999 is followed by 000001."""
        self.stan = self.stan % STAN_MAX + 1
        return f"{self.stan:06d}"

    def open_batch(self, batch: str) -> None:
        """The batch the host assigned; items of an earlier one are closed, for the host has closed it."""
        if batch != self.batch:
            if self.batch:
                self.close_batch()
            self.batch = batch

    def close_batch(self) -> None:
        """The batch is settled: the next one comes with the next sign-in."""
        self.closed.extend(self.items)
        self.items = []
        self.settling = None
        self.batch = ""
        self.signed_in = False

    def totals(self) -> Totals:
        """The open batch, by the sign of each kind; what is reversed, declined or unknown does not count."""
        debit = debits = credit = credits_ = 0
        for item in self.items:
            sign = item.row.sign if item.counts else 0
            if sign > 0:
                debit, debits = debit + item.amount_minor, debits + 1
            elif sign < 0:
                credit, credits_ = credit + item.amount_minor, credits_ + 1
        return Totals(debit, debits, credit, credits_)

    @property
    def batch_full(self) -> bool:
        """Whether one more item could take the batch to the limit of its three-digit counts."""
        if len(self.items) < BATCH_ITEMS_MAX - 1:
            return False
        return sum(item.counts for item in self.items) >= BATCH_ITEMS_MAX - 1

    def undoable(self, *kinds: str) -> list[Item]:
        """Approved items of these kinds in the open batch that nothing has taken back yet."""
        return [item for item in self.items if item.kind in kinds and item.state == "approved" and not item.undone]

    def open_to(self, row: Transaction) -> list[Item]:
        """Approved items in the open batch that a transaction of this row may speak of."""
        items = self.undoable(*row.of)
        if row.effect == "debit" or (row.undoes and row.moves[1] != "held"):
            items = [item for item in items if not item.added_minor]  # a tip is added once, and not taken back
        return items

    def __repr__(self) -> str:
        owed = ", pending" if self.pending else ""
        return f"Memory({self.tid} batch {self.batch or '-'}, {len(self.items)} items{owed})"


def terminals_rows(memories: Iterable[Memory]) -> Iterable[tuple[Any, ...]]:
    """The rows of the TERMINALS table, numbered from 1."""
    number = 0
    for memory in memories:
        for item in (*memory.closed, *memory.items):
            number += 1
            original = item.original
            yield (
                number, memory.mid, memory.tid, item.batch, item.stan, item.kind, item.amount_minor, "156",
                item.entry_mode, mask_pan(item.pan), item.rrn, item.auth_code, item.response_code,
                item.settlement_date, item.state, item.reversal,
                original.batch if original else "", original.stan if original else "",
            )  # fmt: skip


def export(memories: Iterable[Memory], path: str | Path) -> int:
    """Write the terminals' own book to a fresh SQLite file; the number of rows. Raises apsw.Error."""
    connection = apsw.Connection(str(path))
    try:
        with connection:
            connection.execute(f"DROP TABLE IF EXISTS {TERMINALS.name}")
            connection.execute(TERMINALS.create())
            connection.executemany(TERMINALS.insert(), terminals_rows(memories))
        return connection.total_changes()
    finally:
        connection.close()
