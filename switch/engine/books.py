"""What the switch remembers: exchanges by every key they are asked for, terminals and their batches, numbers.

All of it is rebuilt from the journal's rows after a restart; nothing here is written anywhere itself.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from itertools import count
from sys import intern
from typing import Any, Final

from msgspec import Struct

from switch.engine.archive import Archive
from switch.engine.line import Line
from switch.engine.share import WHOLE, Share
from switch.machine import Link
from switch.wire.framing import Frame
from switch.wire.transactions import APPROVED, BATCH_ITEMS_MAX, BY_NAME, Transaction

STAN_MAX: Final = 999_999
STAND_IN_MTI: Final = "0220"
"""A sale that the switch has approved for the own core is told to it as an advice."""


_COLUMNS: Final = (
    "rrn", "amount", "currency", "entry_mode", "mcc", "net_time", "net_stan", "acquirer", "forwarder", "pan_sealed",
    "pan_masked", "pan_hash", "card", "psn", "atc", "read",
)  # fmt: skip
"""Columns of the journal that an exchange has under the same name, and that stay as they are."""
_ENDS: Final = frozenset(("answered", "refused", "delivered", "reversal_acked"))


class Exchange(Struct, gc=False, eq=False):
    """One transaction's life, from the terminal's request to its end; the record every desk hands on.

    The PAN stands here only sealed under the HSM's storage key, truncated and as a keyed hash. `link`, `frame` and
    `request` (the terminal's fields) are kept only while an answer is owed; instead of the last a request that went
    straight has `asked`, its kind and what was read of it. `line` is the one the request left over.
    `reversal` is "", "queued", "acked", "refused" (the other side would not take it) or "closed" (its day was over:
    nothing was sent, the terminal was told 25); the last two are settled by hand. `atc` is the chip's count (9F36,
    hexadecimal), `read` four digits of DE60 on the network: read capability, condition, no-PIN flag, application (""
    where no chip was read); `icc` what of DE55 must be told again. `stood_in`: the switch itself has approved it for
    the bank's own core. `refunded` and `added` are what later transactions gave back of it, or added
    to it (a tip, an adjustment, more on hold). `written` is the number of its last row.

    A Struct that the garbage collector passes over, as no exchange is part of a cycle: walking each with all its texts
    took 1.6 us an authorization, 40 ms at a time, and again when they were older.
    """

    kind: str
    row: Transaction
    mid: str
    tid: str
    batch: str
    stan: str
    amount: int = 0
    currency: str = "156"
    entry_mode: str = ""
    psn: str = ""
    mcc: str = ""
    rrn: str = ""
    pan_sealed: bytes = b""
    pan_masked: str = ""
    pan_hash: str = ""
    card: str = ""
    link: Link | None = None
    frame: Frame | None = None
    asked: tuple[Any, tuple[Any, ...]] | None = None
    request: dict[int, Any] | None = None
    counterpart: str = ""
    on_us: bool = False
    acquirer: str = ""
    forwarder: str = ""
    net_time: str = ""
    net_stan: str = ""
    line: Line | None = None
    deadline: float = 0.0
    receiver: str = ""
    response_code: str = ""
    auth_code: str = ""
    settlement_date: str = ""
    atc: str = ""
    read: str = ""
    icc: bytes = b""
    state: str = "sent"
    reversal: str = ""
    undone: bool = False
    refunded: int = 0
    added: int = 0
    confirmed: bool = False
    stood_in: bool = False
    original: "Exchange | None" = None
    written: int = 0

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Exchange":
        """An exchange as one of its journal rows tells it, without what other transactions have to do with it."""
        exchange = cls(row["kind"], BY_NAME[row["kind"]], row["mid"], row["tid"], row["batch"], row["stan"])
        for name in _COLUMNS:
            setattr(exchange, name, row[name])
        exchange.counterpart = row["link"]
        exchange.on_us = bool(row["on_us"])
        exchange.stood_in = row["net_mti"] == STAND_IN_MTI and not exchange.row.advice
        exchange.take(row)
        return exchange

    def take(self, row: Mapping[str, Any]) -> None:
        """What changes from row to row."""
        self.state, self.response_code, self.auth_code = row["state"], row["response_code"], row["auth_code"]
        self.settlement_date, self.receiver, self.written = row["settlement_date"], row["receiver"], row["number"]

    def let_go(self) -> None:
        """No answer is owed any more."""
        self.link = self.frame = self.request = self.asked = None

    @property
    def key(self) -> tuple[str, str, str]:
        """The terminal's key (a terminal belongs to one merchant, so DE42 adds nothing once it is admitted)."""
        return self.tid, self.batch, self.stan

    @property
    def net_key(self) -> tuple[str, str]:
        """The link's key: DE7 and DE11; DE32 and DE33 are the link's own institution."""
        return self.net_time, self.net_stan

    @property
    def net_mti(self) -> str:
        """The MTI it is told to the other side with."""
        return STAND_IN_MTI if self.stood_in else self.row.network_mti

    @property
    def approved(self) -> bool:
        return self.response_code in APPROVED

    @property
    def counts(self) -> bool:
        """Whether it stands in the terminal's batch: approved, not reversed, and no confirmation stands for it."""
        return self.approved and not self.reversal and not self.confirmed

    @property
    def owed(self) -> bool:
        """Whether somebody waits for its end, or is to be told of it."""
        return self.state in ("sent", "stored") or self.reversal == "queued"

    @property
    def plain(self) -> bool:
        """Whether its last row tells all there is to know of it."""
        told = self.state in _ENDS and self.reversal == ("acked" if self.state == "reversal_acked" else "")
        touched = self.refunded or self.added or self.undone or self.confirmed or self.original is not None
        return told and not touched and self.row.effect != "hold"

    def __repr__(self) -> str:
        return f"Exchange({self.kind} {self.tid}/{self.batch}/{self.stan} {self.state} {self.response_code})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("key", self.key), ("state", self.state)]  # a Struct's own shows all fields: `asked` has the track


class Terminal:
    """A terminal as the host knows it. `status` is "active" or "closed"; `batch` is the open one.

    There may be half a million: texts that many have alike are one object, and what few have is None until they do.
    """

    __slots__ = (
        "_batch", "_downloads", "_uploaded", "batch_text", "mcc", "merchant_name", "mid", "signed_in", "status",
        "suite", "tid",
    )  # fmt: skip

    def __init__(self, tid: str, mid: str, mcc: str, merchant_name: str, suite: str, status: str = "active") -> None:
        self.tid = tid
        self.mid = mid
        self.mcc = mcc
        self.merchant_name = merchant_name
        self.suite = suite
        self.status = status
        self.batch = 1
        self.signed_in = False
        self._uploaded: dict[str, int] | None = None
        self._downloads: dict[str, str] | None = None

    @property
    def batch(self) -> int:
        return self._batch

    @batch.setter
    def batch(self, number: int) -> None:
        self._batch = number
        self.batch_text = intern(f"{number:06d}")  # read four times a message, changed once a day (0.8 us)

    def fetched(self, requirement: str) -> str:
        """The version of a list that it has fetched, "" for none."""
        return "" if self._downloads is None else self._downloads.get(requirement, "")

    def fetch(self, requirement: str, version: str) -> None:
        """It has fetched a list."""
        self._downloads = {**(self._downloads or {}), requirement: version}

    @property
    def uploaded(self) -> dict[str, int]:
        """Amounts of the items of the open batch that it has uploaded, by STAN."""
        if self._uploaded is None:
            self._uploaded = {}
        return self._uploaded

    def next_batch(self) -> None:
        """Close the open batch; the terminal learns the new one when it signs in."""
        self.open_batch(self.batch % STAN_MAX + 1)
        self.signed_in = False

    def open_batch(self, number: int) -> None:
        """Another batch is open, and nothing of it uploaded."""
        self.batch = number
        self._uploaded = None


class Books:
    """Exchanges and terminals, with the numbers the switch gives out (RRN, row numbers)."""

    def __init__(self, terminals: Iterable[Terminal], share: Share = WHOLE) -> None:
        self.share = share
        self._rrn_before = share.rrn_before
        self.terminals = {terminal.tid: terminal for terminal in terminals}
        self.exchanges: dict[tuple[str, str, str], Exchange] = {}
        self.by_rrn: dict[str, Exchange] = {}
        self.by_auth: dict[tuple[str, str], Exchange] = {}
        self.batches: dict[tuple[str, str], list[Exchange]] = {}
        self.by_chip: dict[tuple[str, str, str], Exchange | tuple[str, str, str]] = {}
        self.load_sign = 0
        self.unknown_reversals: dict[tuple[str, str, str], None] = {}
        self.rrn_last = 0
        self.row_last = 0
        self.archive: Archive | None = None
        self._opened: defaultdict[str, list[Exchange]] = defaultdict(list)
        self._aging: list[tuple[int, int, Exchange]] = []
        self._order = count()
        self._spent: deque[tuple[int, tuple[str, str, str]]] = deque()

    def adopt(self, terminals: Iterable[Terminal]) -> None:
        """Take a new list of terminals, all at once: new ones open, changed ones keep their batch and keys.

        Those no longer listed are closed: what they have under way goes on, what they ask anew is answered 97.
        """
        gone = set(self.terminals)
        for fresh in terminals:
            known = self.terminals.setdefault(fresh.tid, fresh)
            gone.discard(fresh.tid)
            if known is not fresh:
                if known.suite != fresh.suite:
                    known.signed_in = False  # its keys are of the wrong kind now
                for name in ("mid", "mcc", "merchant_name", "suite", "status"):
                    setattr(known, name, getattr(fresh, name))
        for tid in gone:
            self.terminals[tid].status = "closed"

    def next_rrn(self, day_of_year: int) -> str:
        """DE37: day of the year (3) and a running count (9)."""
        self.rrn_last += 1
        # The thousand keeps the zeros in front: one number to write instead of two to format (0.3 us).
        return str((1000 + day_of_year) * 1_000_000_000 + self._rrn_before + self.rrn_last)[1:]

    def next_row(self) -> int:
        self.row_last += 1
        return self.row_last

    def add(self, exchange: Exchange) -> None:
        self.exchanges[exchange.tid, exchange.batch, exchange.stan] = exchange
        self.by_rrn[exchange.rrn] = exchange
        self._opened[exchange.tid].append(exchange)

    def find(self, key: tuple[str, str, str]) -> Exchange | None:
        """The exchange under a terminal's key, of a closed batch too."""
        exchange = self.exchanges.get(key)
        found = self.archive.take(key) if exchange is None and self.archive is not None else None
        if found is not None:
            row, closed_ms = found
            exchange = Exchange.of_row(row)
            exchange.reversal = "acked" if exchange.state == "reversal_acked" else ""
            self.exchanges[key] = self.by_rrn[exchange.rrn] = exchange
            heapq.heappush(self._aging, (closed_ms, next(self._order), exchange))
        return exchange

    def find_rrn(self, rrn: str) -> Exchange | None:
        """The exchange of an RRN, of a closed batch too."""
        exchange = self.by_rrn.get(rrn)
        if exchange is None and self.archive is not None:
            key = self.archive.key_of(rrn)
            if key is not None and key not in self.exchanges:
                return self.find(key)
        return exchange

    def close_batch(self, tid: str, at_ms: int, keep_ms: int) -> None:
        """A terminal's batch is closed: nothing of it can be repeated any more, only spoken of, for `keep_ms`
        (milliseconds; `at_ms` since the epoch). What its last row tells is read back from there when it is asked for;
        what was closed longer ago is forgotten."""
        for exchange in self._opened.pop(tid, ()):
            self.batches.pop((tid, exchange.batch), None)
            if self.archive is None or not exchange.plain:
                heapq.heappush(self._aging, (at_ms, next(self._order), exchange))
                continue
            self.archive.note(exchange.key, exchange.rrn, exchange.written, at_ms)
            self._drop(exchange)
            if exchange.row.chip == "offline" and exchange.approved:
                chip = (exchange.pan_hash, exchange.psn, exchange.atc)
                self.by_chip[chip] = exchange.key
                self._spent.append((at_ms, chip))
        self._forget(at_ms, keep_ms)

    def _forget(self, at_ms: int, keep_ms: int) -> None:
        before = at_ms - keep_ms
        while self._aging and self._aging[0][0] < before:
            _, order, exchange = heapq.heappop(self._aging)
            if exchange.owed:
                heapq.heappush(self._aging, (at_ms, order, exchange))
            else:
                self._drop(exchange)
        while self._spent and self._spent[0][0] < before:
            _, chip = self._spent.popleft()
            if isinstance(self.by_chip.get(chip), tuple):
                del self.by_chip[chip]
        if self.archive is not None:
            self.archive.forget(before)

    def _drop(self, exchange: Exchange) -> None:
        """Let go of an exchange under each key that it, and no newer one, stands under."""
        del self.by_rrn[exchange.rrn]
        if self.exchanges.get(exchange.key) is exchange:
            del self.exchanges[exchange.key]
        if self.by_auth.get((exchange.auth_code, exchange.pan_hash)) is exchange:
            del self.by_auth[exchange.auth_code, exchange.pan_hash]
        if self.by_chip.get((exchange.pan_hash, exchange.psn, exchange.atc)) is exchange:
            del self.by_chip[exchange.pan_hash, exchange.psn, exchange.atc]

    def settle_answer(self, exchange: Exchange) -> None:
        """File an exchange whose answer is known where later ones look for it, and apply what it undoes."""
        if not exchange.approved:
            return
        row = exchange.row
        if row.sign or row.chip == "load":
            self.batches.setdefault((exchange.tid, exchange.batch), []).append(exchange)
        if row.effect == "hold":
            self.by_auth[exchange.auth_code, exchange.pan_hash] = exchange
        self._touch(exchange, 1)

    def sign(self, row: Transaction) -> int:
        """What a kind does to a batch: its own sign, or what the profile says of loads (`load_sign`)."""
        if row.chip != "load":
            return row.sign
        return -self.load_sign if row.undoes else self.load_sign

    def spend(self, exchange: Exchange) -> bool:
        """Take a chip's offline sale by its card, card number and count; False where one was taken before, or is being
        asked about. One that was refused has used nothing up."""
        key = (exchange.pan_hash, exchange.psn, exchange.atc)
        earlier = self.by_chip.get(key)
        if isinstance(earlier, tuple) or (earlier is not None and (earlier.approved or not earlier.response_code)):
            return False
        self.by_chip[key] = exchange
        return True

    def uploaded_first(self, exchange: Exchange) -> Exchange | None:
        """The chip's offline sale that this upload repeats under another number."""
        first = self.by_chip.get((exchange.pan_hash, exchange.psn, exchange.atc))
        return self.find(first) if isinstance(first, tuple) else first

    def unsettle(self, exchange: Exchange) -> None:
        """Take back what `settle_answer` did, when the exchange itself is reversed."""
        if exchange.approved:
            self._touch(exchange, -1)

    def _touch(self, exchange: Exchange, way: int) -> None:
        """What an exchange does to its original, or (`way` -1) did."""
        original = exchange.original
        if original is None:
            return
        if exchange.row.confirms:
            original.confirmed = way > 0
            return
        match exchange.row.effect:
            case "credit":
                original.refunded += way * exchange.amount
            case "debit" | "hold_more":
                original.added += way * exchange.amount
            case "capture":
                original.undone = way > 0
            case "undo":
                original.undone = way > 0
                if original.row.effect == "capture" and original.original is not None:
                    original.original.undone = way < 0  # the pre-authorization stands again

    def totals(self, tid: str, batch: str) -> tuple[int, int, int, int]:
        """(debit minor, debit count, credit minor, credit count) of a batch: what counts, by the rows' sign."""
        debit = debits = credit = credits_ = 0
        for exchange in self.batches.get((tid, batch), ()):
            sign = self.sign(exchange.row)
            if not (exchange.counts and sign):
                continue
            if sign > 0:
                debit, debits = debit + exchange.amount, debits + 1
            else:
                credit, credits_ = credit + exchange.amount, credits_ + 1
        return debit, debits, credit, credits_

    def batch_full(self, tid: str, batch: str) -> bool:
        items = self.batches.get((tid, batch), ())
        return len(items) >= BATCH_ITEMS_MAX and sum(item.counts for item in items) >= BATCH_ITEMS_MAX
