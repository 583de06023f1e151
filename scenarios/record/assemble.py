"""Pieces of connections to exchanges: bytes into frames, frames into messages, answers put to their requests.

Streams: an exchange leaves as soon as it is whole and all before it are; what stays is what is still open.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from scenarios.doctor.shape import diagnose
from scenarios.record.match import Reply, key_for, why_no_match
from scenarios.record.safe import Safe
from scenarios.record.story import Exchange
from switch.wire.codec import Codec
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import Deframer, Frame, Framing
from switch.wire.message import Message
from switch.wire.transactions import reply_mti

OPEN_MAX: Final = 20_000
STRAYS: Final = 256


@dataclass(slots=True)
class Tally:
    """What a recording met: messages, exchanges, those without an answer, and everything that was not a message."""

    messages: int = 0
    exchanges: int = 0
    unanswered: int = 0
    strays: int = 0
    unreadable: int = 0
    foreign: int = 0
    gaps: int = 0
    cut: bool = False
    by_mti: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Open:
    exchange: Exchange
    key: tuple[Any, ...]
    done: bool = False


class Assembler:
    """Takes bytes of connections (`feed`) or whole frames (`frame`) and gives exchanges in the order of their requests.

    `framing` None: found out from each connection's first bytes. `patience_s`: how long a request waits, on the
    recording's own clock."""

    def __init__(self, safe: Safe, codec: Codec, framing: Framing | None, patience_s: float = 60.0) -> None:
        self.tally = Tally()
        self._safe = safe
        self._codec = codec
        self._framing = framing
        self._patience_s = patience_s
        self._key = key_for(safe.dialect)
        self._cutters: dict[tuple[int, str], Deframer | bytes | None] = {}
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._waiting: dict[tuple[Any, ...], list[_Open]] = {}
        self._strays: deque[Reply] = deque(maxlen=STRAYS)
        self._count = 0

    def feed(self, at: float, connection: int, way: str, data: bytes) -> Iterator[Exchange]:
        """Bytes of a connection's direction."""
        cutter = self._cutters.get((connection, way), b"")
        if isinstance(cutter, bytes):
            data = cutter + data
            framing = self._framing or self._found(data)
            if framing is None:
                self._cutters[connection, way] = data[:4096]
                return
            cutter = self._cutters[connection, way] = Deframer(framing)
        if cutter is None:
            return  # its place was lost
        try:
            frames = cutter.feed(data)
        except FrameError as error:
            frames = []
            self._cutters[connection, way] = None
            self._bad(f"connection {connection} {way}: {error}; the rest of it is not read")
        for frame in frames:
            yield from self.frame(at, connection, way, frame)

    def _found(self, data: bytes) -> Framing | None:
        one = diagnose(data)
        if one is None or not one.sure or one.shape.dialect != self._safe.dialect or one.shape.length == "none":
            return None
        return one.shape.framing()

    def frame(self, at: float, connection: int, way: str, frame: Frame) -> Iterator[Exchange]:
        """One message."""
        try:
            message = self._codec.decode(frame.body)
        except DecodeError as error:
            self._bad(f"a message cannot be read: {error}")
            return
        self.tally.messages += 1
        self.tally.by_mti[message.mti] += 1
        if int(message.mti[2]) % 2:
            self._answer(at, connection, message, frame.header)
        else:
            self._request(at, connection, way, message, frame.header)
        yield from self._ready(at)

    def event(self, at: float, connection: int, what: str) -> Iterator[Exchange]:
        """A connection ended, lost bytes, or the capture is cut."""
        if what == "gap":
            self.tally.gaps += 1
            for way in ("up", "down"):
                if isinstance(self._cutters.get((connection, way)), Deframer):
                    self._cutters[connection, way] = b""  # begin anew behind the gap
        elif what == "cut":
            self.tally.cut = True
        elif what == "end":
            for one in self._open.values():
                if one.exchange.connection == connection and not one.done:
                    self._unanswered(one)
            for way in ("up", "down"):
                left = self._cutters.pop((connection, way), None)
                if isinstance(left, bytes) and left:
                    self._bad(f"connection {connection} {way}: {len(left)} bytes that are no message")
                elif isinstance(left, Deframer) and left.pending:
                    self._bad(f"connection {connection} {way}: ends within a message")
        yield from self._ready(at)

    def end(self) -> Iterator[Exchange]:
        """Nothing more comes: what is open has no answer."""
        for one in self._open.values():
            if not one.done:
                self._unanswered(one)
        yield from self._ready(float("inf"))

    def foreign(self) -> None:
        """A line that holds no message."""
        self.tally.foreign += 1

    def _bad(self, note: str) -> None:
        self.tally.unreadable += 1
        if len(self.tally.notes) < STRAYS:
            self.tally.notes[note] += 1

    def _request(self, at: float, connection: int, way: str, message: Message, header: bytes) -> None:
        self._count += 1
        notes: list[str] = []
        told = self._safe.request(message, header, notes)
        key = self._key_of(connection, reply_mti(message.mti), message)
        one = _Open(Exchange(self._count, at, connection, way, told, notes=notes), key)
        self._open[self._count] = one
        self._waiting.setdefault(key, []).append(one)

    def _key_of(self, connection: int, mti: str, message: Message) -> tuple[Any, ...]:
        return (connection, mti, *(message.get(de) for de in self._key))

    def _answer(self, at: float, connection: int, message: Message, header: bytes) -> None:
        key = self._key_of(connection, message.mti, message)
        waiting = self._waiting.get(key, [])
        one = waiting[0] if waiting else self._loosely(connection, message)
        if one is None or at - one.exchange.at > self._patience_s:
            self.tally.strays += 1
            self._strays.append(Reply(message.mti, {de: message.get(de, "") for de in self._key}, at))
            return
        exchange = one.exchange
        exchange.reply = self._safe.reply(message, header, exchange.notes)
        exchange.took_s = at - exchange.at
        self._close(one)

    def _loosely(self, connection: int, message: Message) -> _Open | None:
        """The one request of this connection that lacks what the answer has (an echo test has no trace number)."""
        for one in self._open.values():
            fields = one.exchange.request.fields
            same = one.key[:2] == (connection, message.mti)
            if not one.done and same and all(de not in fields or message.get(de) == fields[de] for de in self._key):
                return one
        return None

    def _close(self, one: _Open) -> None:
        one.done = True
        self._safe.settle(one.exchange.request, one.exchange.reply)
        waiting = self._waiting[one.key]
        waiting.remove(one)
        if not waiting:
            del self._waiting[one.key]

    def _unanswered(self, one: _Open) -> None:
        exchange = one.exchange
        self._close(one)
        self.tally.unanswered += 1
        found = why_no_match(exchange.request.mti, exchange.request.fields, self._strays, self._key, exchange.at)
        exchange.why = found.sentences()

    def _ready(self, now: float) -> Iterator[Exchange]:
        while self._open:
            number, one = next(iter(self._open.items()))
            if not one.done:
                if now - one.exchange.at <= self._patience_s and len(self._open) < OPEN_MAX:
                    return
                self._unanswered(one)
            del self._open[number]
            self.tally.exchanges += 1
            self.tally.notes.update(one.exchange.notes[:4])
            yield one.exchange
