"""What survives power-off: who the terminal is, its batch, its counter, and what it still owes the host.

A flow writes here before it yields the Call, so that wherever it is killed the next dialogue can put things right.
Card numbers stand in the items (a void by voucher number needs them) and never in a repr or an export.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from switch.clearing.schema import TERMINALS, Table
from switch.wire.redact import mask_pan
from switch.wire.transactions import BATCH_ITEMS_MAX, BY_NAME, Transaction
from terminals.device.pinpad import PinPad
from terminals.device.reader import Reader

STAN_MAX: Final = 999_999
READS_STRIPE: Final = "2"
"""DE60.4 of a terminal that reads no chips."""


class Original(NamedTuple):
    """How an earlier transaction is named in DE61, 37 and 38. `date` is MMDD, "0000" where it is not known."""

    batch: str
    stan: str
    date: str = "0000"
    rrn: str = ""
    auth_code: str = ""
    tid: str = ""


@dataclass(slots=True, repr=False)
class Chip:
    """What a transaction keeps of its chip.

    `pan` and `psn` (three digits) are the chip's own: a load from another card has that one's number. `data` is DE55 of
    the request, after its completion that of the batch upload; `reversal` that of an 0400. `certificate` names the
    cryptogram `ac`: TC, ARQC, AAC. `arc` is Y1, Z1, Y3, Z3 where the card decided and no host. `balance_minor` is what
    the card told of its electronic cash. `read` is, for a tap that may be torn, what was read of the card so far.
    """

    pan: str
    psn: str
    atc: int
    aid: str
    label: str
    data: bytes
    reversal: bytes = b""
    certificate: str = ""
    ac: str = ""
    tvr: int = 0
    tsi: int = 0
    arc: str = ""
    e_cash: bool = False
    no_pin: bool = False
    signature: bool = False
    arpc_failed: bool = False
    balance_minor: int | None = None
    read: dict[str, bytes] | None = None

    def __repr__(self) -> str:
        return f"Chip({mask_pan(self.pan)} {self.atc} {self.certificate} {self.arc})"


@dataclass(slots=True, repr=False)
class Item:
    """One transaction as the terminal saw it.

    `state` is "unknown" (no answer that could be trusted, yet), "approved" or "declined", and "offline" for a chip's
    own approval until the host has its certificate; `reversal` is "none", "pending", "done" or "refused" (the host
    knows of no such original: 25). `undone` marks an approved item that a later void took back, or a pre-authorization
    that was completed; `added_minor` is what a tip, an adjustment or an additional pre-authorization added to it.
    `institutions` is DE44: issuer and acquirer, 11 characters each. `condition` is DE60.5: "2" after a chip that could
    not be read.
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
    chip: Chip | None = None
    condition: str = "0"

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


@dataclass(slots=True, repr=False)
class Notice:
    """A script result notice (0620) the host has not answered: of which transaction, its DE55, its number."""

    item: Item
    data: bytes
    batch: str
    stan: str
    tries: int = 0

    def __repr__(self) -> str:
        return f"Notice({self.batch}/{self.stan} of {self.item!r})"


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

    Of chips: `reader` is what reads them, None where nothing does; `notices` are script results not told yet; `offline`
    what chips decided and the host does not know yet, `refused` what it would not take; `torn` are taps of cards that
    left before their end, `doubts` loads of which nobody knows whether the card has them, and certificates that are
    not claimed.
    """

    __slots__ = (
        "batch", "clock", "closed", "doubts", "items", "last", "mcc", "merchant_name", "mid", "notices", "offline",
        "parameters", "pending", "pinpad", "reader", "refused", "settling", "signature_with_pin", "signed_in", "stan",
        "suite", "tid", "torn",
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
        self.reader: Reader | None = None
        self.notices: list[Notice] = []
        self.offline: list[Item] = []
        self.refused: list[Item] = []
        self.doubts: list[Item] = []
        self.torn: list[Item] = []

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
        """The batch is settled: the next one comes with the next sign-in, and what no host knows goes into it."""
        held = {id(item) for item in self.offline}
        for item in self.items:
            if id(item) not in held:
                self.closed.append(item)
                if item.chip is not None:
                    item.chip.data = b""  # uploaded with its batch
        self.items = list(self.offline)
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
        """Whether one more item could take the batch to the limit of its three-digit counts, all that chips approved
        offline uploaded: the host refuses a certificate for a batch that is full."""
        if len(self.items) < BATCH_ITEMS_MAX - 1:
            return False
        return sum(item.counts or item.state == "offline" for item in self.items) >= BATCH_ITEMS_MAX - 1

    @property
    def reads(self) -> str:
        """DE60.4: what this terminal can read."""
        return READS_STRIPE if self.reader is None else self.reader.capability

    @property
    def owes(self) -> bool:
        """Whether something must reach the host before anything new: a script result, a reversal, an advice."""
        return self.pending is not None or bool(self.notices)

    def spent(self, pan: str) -> int:
        """What the same card paid offline in the open batch, minor units: the log the floor limit is measured with."""
        return sum(item.amount_minor for item in self.offline if item.pan == pan and item.state == "offline")

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
    return write_tables(path, ((TERMINALS, terminals_rows(memories)),))


def write_tables(path: str | Path, tables: Iterable[tuple[Table, Iterable[tuple[Any, ...]]]]) -> int:
    """Write tables anew into a SQLite file, all or none of them; the number of rows. Raises apsw.Error."""
    connection = apsw.Connection(str(path))
    try:
        with connection:
            for table, rows in tables:
                connection.execute(f"DROP TABLE IF EXISTS {table.name}")
                connection.execute(table.create())
                connection.executemany(table.insert(), rows)
        return connection.total_changes()
    finally:
        connection.close()
