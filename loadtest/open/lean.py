"""Lean mode: taps prepared before the run. In each sale only STAN, amount and MAC are fresh.

Card and kernel have done their part once a terminal; the cryptogram is of that tap. A host that verifies cryptograms
refuses every sale but the first: lean mode is for hosts that do not, and for finding out what a switch takes.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

from loadtest.open.record import Record
from loadtest.open.tills import Till
from loadtest.people import ENTRIES, People, holder_of
from loadtest.verdict import FAILURES
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import Deframer
from switch.wire.mab import pos_mab
from switch.wire.transactions import APPROVED, BATCH_ITEMS_MAX, BY_NAME
from terminals.card.words import bcd
from terminals.device.chip import item_of, present
from terminals.device.dialogue import Line, plain, request_fields
from terminals.device.memory import Item, Memory
from terminals.drive import instant
from terminals.flow import Flow
from terminals.kernel.session import Presented

SALES_MAX: Final = BATCH_ITEMS_MAX - 9
"""Sales of one terminal in one run: a full batch is refused."""
VERIFY_EVERY: Final = 64
"""The MAC of one answer in so many is verified; of the others trace number and code are read."""
_READ: Final = (11, 39)
Frames: TypeAlias = Callable[[str, bytes], bytes]
"""A whole frame by STAN and amount (n12, packed)."""


def prepared(memory: Memory, line: Line, people: People, entry: str) -> Frames:
    """One tap (or stripe) of a terminal, done now: a function of STAN and amount that gives a whole frame.

    Raises RuntimeError for a card that does not go online.
    """
    card, hand = people.card()
    row = BY_NAME["sale"]
    try:
        if memory.reader is not None and hand is not None:
            request = memory.reader.request(row.processing_code, 1000, memory.merchant_name, 1, force_online=True)
            request = request._replace(e_cash=False, holder=card)
            flow: Flow[Presented] = present(memory.reader, ENTRIES[entry], request)
            shown = instant.run(flow, lambda body: None, holder_of(card, hand), hand)
            if shown.outcome != "online":
                raise RuntimeError(f"a prepared card does not go online: {shown.outcome} {shown.reason}")
            item, track, pin = item_of(memory, "sale", 0, shown), shown.track2, shown.pin or ""
        else:
            item, track, pin = Item("sale", memory.batch, "", 0, "021", card.pan, card.expiry), card.track2, card.pin
    finally:
        people.back(hand)

    def whole(stan: str, amount_minor: int) -> bytes:
        item.stan, item.amount_minor = stan, amount_minor
        fields = request_fields(memory, line, item, track, pin)
        return plain(line, row.mti, fields | {64: bytes(8)})

    return _template(whole, memory, line)


def _template(whole: Callable[[str, int], bytes], memory: Memory, line: Line) -> Frames:
    """Cut a body at STAN and amount: 3 us a frame in place of 20."""
    blank = whole("000000", 0)
    amount_at = _differs(blank, whole("000000", 999_999_999_999))
    stan_at = _differs(blank, whole("999999", 0))
    if amount_at > stan_at:
        raise ValueError("DE4 comes before DE11")
    first, second, third = blank[:amount_at], blank[amount_at + 6 : stan_at], blank[stan_at + 3 : -8]
    front = line.wrap(blank)[: -len(blank)]
    mac, packed = memory.pinpad.mac, bytes.fromhex

    def frame(stan: str, amount: bytes) -> bytes:
        body = first + amount + second + packed(stan) + third
        return front + body + mac(body)

    return frame


def _differs(one: bytes, other: bytes) -> int:
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=True)) if left != right)


class Lane(asyncio.Protocol):
    """One terminal's connection in lean mode: one request under way, its answer matched by trace number."""

    __slots__ = (
        "_deframer", "_frame", "_line", "_lines", "_transport", "intended", "left", "memory", "sent", "stan",
        "verified",
    )  # fmt: skip

    def __init__(self, lines: "Lines", memory: Memory, frame: Frames) -> None:
        self._lines = lines
        self._line = lines.line
        self._deframer = Deframer(lines.line.framing)
        self._frame = frame
        self._transport: asyncio.Transport | None = None
        self.memory = memory
        self.intended = self.sent = 0.0
        self.stan = ""
        self.left = SALES_MAX
        self.verified = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def go(self, intended: float, amount: bytes) -> None:
        """Send one sale of an amount (n12, packed)."""
        self.left -= 1
        self.intended = intended
        self.stan = self.memory.next_stan()
        frame = self._frame(self.stan, amount)
        self.sent = time.perf_counter()
        if self._transport is None:
            self._lines.ended(self, "", "unreachable")
            return
        self._transport.write(frame)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._deframer.feed(data):
                self._take(frame.body)
        except FrameError:
            self.lose()

    def _take(self, body: bytes) -> None:
        try:
            head = self._line.codec.peek(body, _READ)
        except DecodeError:
            return
        if not self.stan or head.get(11) != self.stan:
            return  # an answer that came after it was given up
        code = head.get(39, "")
        lines, why = self._lines, ""
        lines.verify += 1
        if code in FAILURES:
            why = code
        elif code in APPROVED and lines.verify % VERIFY_EVERY == 0:
            self.verified += 1
            if not self.memory.pinpad.verify(pos_mab(body), body[-8:]):
                why = "bad MAC"
        lines.ended(self, code, why)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.stan:
            self._lines.ended(self, "", "unreachable")

    def lose(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


class Lines:
    """All lanes of a run. A lane whose connection is lost is not used again; nor one that sold all it may."""

    def __init__(self, line: Line, record: Record, draw: random.Random, timeout_s: float) -> None:
        self.line = line
        self.in_flight = 0
        self.answered = 0
        self.unreachable = 0
        self.verify = 0
        self._record = record
        self._free: deque[Lane] = deque()
        self.lanes: list[Lane] = []
        self._timeout_s = timeout_s
        self._amounts = [bcd(draw.randint(100, 100_000)) for _ in range(4096)]
        self._sweeper: asyncio.Task[None] | None = None

    async def connect(self, tills: Sequence[Till], frames: Sequence[Frames], host: str, port: int) -> None:
        """A connection a terminal; the sign-in's own is closed."""
        loop = asyncio.get_running_loop()
        for till, frame in zip(tills, frames, strict=True):
            till.session.close()
            lane = Lane(self, till.memory, frame)
            await loop.create_connection(lambda lane=lane: lane, host, port)  # type: ignore[misc]
            self.lanes.append(lane)
            self._free.append(lane)
        self._sweeper = loop.create_task(self._sweep())

    def begin(self, intended: float) -> bool:
        """The lane that has been free longest sells."""
        if not self._free:
            return False
        lane = self._free.popleft()
        self.in_flight += 1
        lane.go(intended, self._amounts[lane.left & 4095])
        return True

    def follow(self, what: Any, intended: float) -> None:
        """Nothing follows a lean sale."""

    def ended(self, lane: Lane, code: str, why: str) -> None:
        """A lane has its answer, or will not get one."""
        done = time.perf_counter()
        lane.stan = ""
        self.in_flight -= 1
        if code:
            self.answered += 1
            if lane.left:
                self._free.append(lane)
        else:
            self.unreachable += 1
            if lane.left and why == "timed out":
                self._free.append(lane)
        self._record.answered("sale", lane.intended, lane.sent, done, code, code in APPROVED and not why, why)

    async def _sweep(self) -> None:
        """Give up what has waited too long; one look a while in place of a timer a sale."""
        while True:
            await asyncio.sleep(0.25)
            oldest = time.perf_counter() - self._timeout_s
            for lane in self.lanes:
                if lane.stan and lane.sent < oldest:
                    self.ended(lane, "", "timed out")

    def close(self) -> None:
        """Close every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for lane in self.lanes:
            lane.stan = ""
            lane.lose()
