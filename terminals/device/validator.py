"""The bus validator (车载机): an offline reader at the gate, its memory, and its files to the operator's back office.

A card in the field pays when its last record has been read. Before that moment the validator refuses who must not pay
(blacklist, the same card too soon) and writes down what is about to happen; so a card torn away, or power lost, leaves
a doubt with the certificate in it. The next time such a card comes it is asked whether it paid (GET TRANS PROVE): if so
that tap stands and nothing is debited again. Source: terminal.md sections 3 and 8; practice.md, "Chip offline upload".
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from switch.wire import apdu
from switch.wire.errors import WireError
from terminals.device.taps import (
    FAULT,
    LIST,
    TAKEN,
    FileFault,
    Lists,
    Tap,
    TapFile,
    TapState,
    digest_of,
    read_lists,
    read_page,
    write_file,
)
from terminals.flow import Call, Cancelled, CardRemoved, Flow, HostUnreachable, TimedOut
from terminals.kernel import icc, select
from terminals.kernel import tap as contactless
from terminals.kernel.parameters import Parameters
from terminals.kernel.session import CONTACTLESS, REASONS, Ended, Kernel, Presented, Request, Session, exchange

READ_MS: Final = 300
"""How long a card may have to stay in the field (terminal.md section 8)."""
EXCHANGES_MAX: Final = 12
"""Commands in that time, at 25 ms each with the card's own work."""

TAPS_MAX: Final = 20_000
"""Taps a validator holds before it takes no more."""
DOUBTS_MAX: Final = 3
"""Torn taps a card is asked about: each costs a command."""
REPLY_S: Final = 20.0

WORDS: Final = REASONS | {
    "no_fare": ("没有票价", "no fare for this line"),
    "full": ("存储已满", "memory is full"),
    "torn": ("交易未完成", "torn away before the end"),
}
"""What a gate shows: a reason in Chinese and English."""

_YEAR_FIRST: Final = "%Y%m%d%H%M%S"
_NOTHING: Final = Request(0, "000101", "000000")


class Tapped(NamedTuple):
    """What the gate did. `reason` is a key of WORDS, "" when it opened; `tap` what was written down."""

    open: bool
    reason: str = ""
    amount_minor: int = 0
    balance_minor: int | None = None
    tap: Tap | None = None


class ValidatorMemory:
    """What a validator keeps over a loss of power.

    `intent` is the tap whose card is about to pay, `doubts` those of which nobody knows; `taps` the open file, `files`
    those that the back office has not taken yet. `recent` says when a card paid last.
    """

    __slots__ = (
        "doubts", "fares", "files", "intent", "line", "lists", "merchant_name", "mid", "next_file", "next_tap",
        "recent", "refused", "sequence", "taps", "taps_max", "tid", "zone",
    )  # fmt: skip

    def __init__(self, tid: str, mid: str, merchant_name: str, line: str, zone: str, lists: Lists) -> None:
        self.tid = tid
        self.mid = mid
        self.merchant_name = merchant_name
        self.line = line
        self.zone = zone
        self.taps_max = TAPS_MAX
        self.take(lists)
        self.intent: Tap | None = None
        self.doubts: list[Tap] = []
        self.recent: dict[str, datetime] = {}
        self.taps: list[Tap] = []
        self.files: list[TapFile] = []
        self.next_tap = self.next_file = 1
        self.sequence = 0
        self.refused = 0

    def take(self, lists: Lists) -> None:
        """Put lists in force, whole."""
        self.lists = lists
        self.fares = {(line, zone): minor for line, zone, minor in lists.fares}

    @property
    def fare(self) -> int | None:
        """The fare here, minor units; None where the table has none."""
        return self.fares.get((self.line, self.zone))

    @property
    def held(self) -> int:
        """Taps that are still here."""
        return len(self.taps) + sum(len(file.taps) for file in self.files)

    def wake(self, now: datetime) -> None:
        """What a loss of power left becomes a doubt; doubts that nobody came to clear up are listed."""
        if self.intent is not None:
            self._doubt(self.intent)
            self.intent = None
        again = timedelta(minutes=self.lists.again_minutes)
        self.recent = {card: when for card, when in self.recent.items() if timedelta(0) <= now - when < again}
        limit = (now - again).strftime(_YEAR_FIRST)
        for old in [tap for tap in self.doubts if tap.at < limit]:
            self._list(old)

    def consider(self, session: Session, now: datetime) -> str:
        """A card that is about to pay: why it must not, or "" with the tap written down."""
        reason = self.unwelcome(session.pan, _psn(session.values), now) if session.pan else ""
        if reason:
            return reason
        psn = _psn(session.values)
        if self.intent is not None and (self.intent.pan, self.intent.psn) != (session.pan, psn):
            self._doubt(self.intent)
        session.stamp()
        # The record with 9F74 may be lost with the card: what pays at a gate is electronic cash.
        data = icc.build(icc.OFFLINE, {"9F74": icc.E_CASH_CODE} | session.values | {"8A": b"Y1"})
        self.intent = self._tap(session.pan, psn, session.expiry, session.values["9F36"], data, now)
        return ""

    def unwelcome(self, pan: str, psn: str, now: datetime) -> str:
        """Why a card may not pass now: blacklist, or it has just paid."""
        if pan in self.lists.blacklist:
            return "exception_file"
        last = self.recent.get(f"{pan}-{psn}")
        minutes = timedelta(minutes=self.lists.again_minutes)
        return "too_soon" if last is not None and timedelta(0) <= now - last < minutes else ""

    def settle(self, presented: Presented, now: datetime) -> Tapped:
        """What became of a card that was in the field, written down."""
        intent, self.intent = self.intent, None
        told = Tapped(False, presented.reason, self.fare or 0, presented.balance_minor)
        if presented.outcome == "approved":
            psn, atc = presented.psn, presented.atc.to_bytes(2, "big")
            tap = self._tap(presented.pan, psn, presented.expiry, atc, presented.icc_data, now)
            # A card that names itself only in its records has paid before it could be refused.
            late = self.unwelcome(presented.pan, psn, now)
            if late:
                return told._replace(reason=late, tap=self._write(tap, "listed", late))
            return told._replace(open=True, reason="", tap=self.accept(tap, now))
        if intent is not None and presented.outcome == "declined":
            return told._replace(tap=self._write(intent, "listed", presented.reason))
        if intent is not None:
            # The sequence number may have come with a record, after the tap was written down.
            known = presented.psn if presented.pan == intent.pan else ""
            self._doubt(intent._replace(psn=intent.psn or known))
            return told._replace(reason="torn")
        self.refused += 1
        return told

    def accept(self, tap: Tap, now: datetime) -> Tap:
        """A tap that stands: the gate opens."""
        self.recent[f"{tap.pan}-{tap.psn}"] = now
        return self._write(tap, "paid", "")

    def close_file(self) -> TapFile | None:
        """Close the open file (by day, or when the bus comes in); None where nothing is in it."""
        if not self.taps:
            return None
        file = TapFile(self.tid, self.next_file, tuple(self.taps))
        # Moved in one stroke: a file is open or closed, never both.
        self.next_file, self.taps = self.next_file + 1, []
        self.files.append(file)
        return file

    def _tap(self, pan: str, psn: str, expiry: str, atc: bytes, data: bytes, now: datetime) -> Tap:
        at, fare, number = now.strftime(_YEAR_FIRST), self.fare or 0, int.from_bytes(atc, "big")
        return Tap(0, pan, psn, expiry, number, fare, at, self.line, self.zone, "paid", "", data)

    def _write(self, tap: Tap, state: TapState, reason: str) -> Tap:
        written = tap._replace(number=self.next_tap, state=state, reason=reason)
        self.next_tap += 1
        self.taps.append(written)
        return written

    def _doubt(self, tap: Tap) -> None:
        self.doubts.append(tap)
        if len(self.doubts) > DOUBTS_MAX:
            self._list(self.doubts[0])

    def _list(self, doubt: Tap) -> None:
        self.doubts.remove(doubt)
        self._write(doubt, "listed", "torn")

    def __repr__(self) -> str:
        return f"ValidatorMemory({self.tid} {self.line}/{self.zone}, {len(self.taps)} taps, {len(self.files)} files)"


def _psn(values: dict[str, bytes]) -> str:
    return values["5F34"].hex() if "5F34" in values else ""


def reader(parameters: Parameters, entropy: Callable[[int], bytes], serial: str = "00000001") -> Kernel:
    """The kernel of a gate: contactless, offline only, unattended, no PIN pad."""
    return Kernel(
        parameters, entropy, capabilities="0008C8", terminal_type=26, additional="6000003001", ttq="28000080",
        serial=serial,
    )  # fmt: skip


def tap(memory: ValidatorMemory, kernel: Kernel, now: datetime) -> Flow[Tapped]:
    """One card at the gate. Asks "tap_again" where it left too early."""
    memory.wake(now)
    if memory.fare is None:
        return Tapped(False, "no_fare")
    if memory.held >= memory.taps_max:
        return Tapped(False, "full")
    proven = yield from _proven(memory, kernel)
    if proven is not None:
        memory.doubts.remove(proven)
        return Tapped(True, "", proven.amount_minor, tap=memory.accept(proven, now))
    memory.sequence += 1
    kernel.before_paying = lambda session: memory.consider(session, now)
    date, time = now.strftime("%y%m%d"), now.strftime("%H%M%S")
    request = Request(memory.fare, date, time, merchant_name=memory.merchant_name, sequence=memory.sequence)
    presented = yield from contactless.tap(kernel, request)
    return memory.settle(presented, now)


def _proven(memory: ValidatorMemory, kernel: Kernel) -> Flow[Tap | None]:
    """The doubt that this card clears up: it has completed the tap whose certificate stands there."""
    if not memory.doubts:
        return None
    session = Session(kernel, _NOTHING, CONTACTLESS)
    try:
        for candidate in (yield from select.tap_candidates(kernel)):
            if (yield from select.open_application(session, candidate)) is None:
                continue
            for doubt in reversed(memory.doubts):
                data, sw = yield from exchange(apdu.get_trans_prove(doubt.atc.to_bytes(2, "big")))
                if sw == apdu.OK and data[-8:] == doubt.certificate:
                    return doubt
    except (CardRemoved, Cancelled, Ended, WireError):
        return None
    return None


# to the back office


class Delivered(NamedTuple):
    """Files the back office took, files left here; `reason` why it went no further: "timed out", "unreachable",
    "bad reply", "refused"."""

    taken: int
    left: int
    reason: str = ""


def deliver(memory: ValidatorMemory) -> Flow[Delivered]:
    """Send the closed files, oldest first, each until it was taken: a file goes from here only then."""
    taken = 0
    for file in list(memory.files):
        body = write_file(file)
        try:
            reply = yield Call(body, REPLY_S)
        except TimedOut:
            return Delivered(taken, len(memory.files), "timed out")
        except HostUnreachable:
            return Delivered(taken, len(memory.files), "unreachable")
        said = reply.decode("ascii", "replace").split("|")
        if said[:4] != [TAKEN, memory.tid, str(file.number), digest_of(body)]:
            return Delivered(taken, len(memory.files), "refused" if said[0] == FAULT else "bad reply")
        memory.files.remove(file)
        taken += 1
    return Delivered(taken, len(memory.files))


def download(memory: ValidatorMemory) -> Flow[str]:
    """Fetch the operator's lists, page by page; in force from the next tap on, when all of it has come.

    "" when these are the operator's now, else why not: "timed out", "unreachable", "bad reply".
    """
    entries: list[str] = []
    version = -1
    while True:
        try:
            reply = yield Call(f"{LIST}|{memory.tid}|{memory.lists.version}|{len(entries)}".encode(), REPLY_S)
            new, total, begin, page = read_page(reply)
        except TimedOut:
            return "timed out"
        except HostUnreachable:
            return "unreachable"
        except FileFault:
            return "bad reply"
        if new == memory.lists.version:
            return ""
        if begin == 0:
            version, entries = new, []
        if new != version or begin != len(entries) or (not page and total > len(entries)):
            return "bad reply"  # the lists changed meanwhile: from the start next time
        entries += page
        if len(entries) >= total:
            break
    try:
        memory.take(read_lists(version, entries))
    except FileFault:
        return "bad reply"
    return ""
