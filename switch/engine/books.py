"""What the switch remembers: exchanges by every key they are asked for, terminals and their batches, numbers.

All of it is rebuilt from the journal's rows after a restart; nothing here is written anywhere itself.
"""

from collections.abc import Iterable
from typing import Any, Final

from switch.engine.line import Line
from switch.engine.share import WHOLE, Share
from switch.machine import Link
from switch.wire.framing import Frame
from switch.wire.transactions import APPROVED, BATCH_ITEMS_MAX, BY_NAME, Transaction

STAN_MAX: Final = 999_999
STAND_IN_MTI: Final = "0220"
"""A sale that the switch has approved for the own core is told to it as an advice."""


class Exchange:
    """One transaction's life, from the terminal's request to its end; the record every desk hands on.

    The PAN stands here only sealed under the HSM's storage key, truncated and as a keyed hash. `link`, `frame` and
    `request` (the terminal's fields) are kept only while an answer is owed, `line` is the one the request left over.
    `reversal` is "", "queued", "acked", "refused" (the other side would not take it) or "closed" (its day was over:
    nothing was sent, the terminal was told 25); the last two are settled by hand. `atc` is the chip's count (9F36,
    hexadecimal), `read` four digits of DE60 on the network: read capability, condition, no-PIN flag, application (""
    where no chip was read); `icc` what of DE55 must be told again. `stood_in`: the switch itself has approved it for
    the bank's own core. `refunded` and `added` are what later transactions gave back of it, or added
    to it (a tip, an adjustment, more on hold).
    """

    __slots__ = (
        "acquirer", "added", "amount", "atc", "auth_code", "batch", "card", "confirmed", "counterpart", "currency",
        "deadline", "entry_mode", "forwarder", "frame", "icc", "kind", "line", "link", "mcc", "mid", "net_stan",
        "net_time", "on_us", "original", "pan_hash", "pan_masked", "pan_sealed", "psn", "read", "receiver", "refunded",
        "request", "response_code", "reversal", "row", "rrn", "settlement_date", "stan", "state", "stood_in", "tid",
        "undone",
    )  # fmt: skip

    def __init__(self, kind: str, mid: str, tid: str, batch: str, stan: str) -> None:
        self.kind = kind
        self.row = BY_NAME[kind]
        self.mid = mid
        self.tid = tid
        self.batch = batch
        self.stan = stan
        self.amount = 0
        self.currency = "156"
        self.entry_mode = ""
        self.mcc = ""
        self.on_us = False
        self.counterpart = ""
        self.net_time = ""
        self.net_stan = ""
        self.acquirer = ""
        self.forwarder = ""
        self.receiver = ""
        self.rrn = ""
        self.response_code = ""
        self.auth_code = ""
        self.settlement_date = ""
        self.pan_sealed = b""
        self.pan_masked = ""
        self.pan_hash = ""
        self.card = ""
        self.psn = ""
        self.atc = ""
        self.read = ""
        self.icc = b""
        self.state = "sent"
        self.reversal = ""
        self.undone = False
        self.refunded = 0
        self.added = 0
        self.confirmed = False
        self.stood_in = False
        self.original: Exchange | None = None
        self.link: Link | None = None
        self.line: Line | None = None
        self.frame: Frame | None = None
        self.request: dict[int, Any] | None = None
        self.deadline = 0.0

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

    def __repr__(self) -> str:
        return f"Exchange({self.kind} {self.tid}/{self.batch}/{self.stan} {self.state} {self.response_code})"


class Terminal:
    """A terminal as the host knows it. `status` is "active" or "closed"; `batch` is the open one; `downloads` the
    version of each list it has fetched."""

    __slots__ = (
        "_batch", "batch_text", "downloads", "mcc", "merchant_name", "mid", "signed_in", "status", "suite", "tid",
        "uploaded",
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
        self.uploaded: dict[str, int] = {}
        self.downloads: dict[str, str] = {}

    @property
    def batch(self) -> int:
        return self._batch

    @batch.setter
    def batch(self, number: int) -> None:
        self._batch = number
        self.batch_text = f"{number:06d}"  # read four times a message, changed once a day (0.8 us)

    def next_batch(self) -> None:
        """Close the open batch; the terminal learns the new one when it signs in."""
        self.batch = self.batch % STAN_MAX + 1
        self.signed_in = False
        self.uploaded = {}


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
        self.by_chip: dict[tuple[str, str, str], Exchange] = {}
        self.load_sign = 0
        self.unknown_reversals: dict[tuple[str, str, str], None] = {}
        self.rrn_last = 0
        self.row_last = 0

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
        return f"{day_of_year:03d}{self._rrn_before + self.rrn_last:09d}"

    def next_row(self) -> int:
        self.row_last += 1
        return self.row_last

    def add(self, exchange: Exchange) -> None:
        self.exchanges[exchange.key] = exchange
        self.by_rrn[exchange.rrn] = exchange

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
        if earlier is not None and (earlier.approved or not earlier.response_code):
            return False
        self.by_chip[key] = exchange
        return True

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
