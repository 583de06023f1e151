"""A replay over sockets: a connection a terminal, at the recorded pace or scaled, or one message after another."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from scenarios.record.compare import MUST_DIFFER, Difference
from scenarios.record.match import POS_KEY, Reply
from scenarios.record.play import Clock, Played, Player
from scenarios.record.story import Exchange
from switch.wire.errors import DecodeError, FrameError, WireError
from switch.wire.framing import Deframer
from switch.wire.message import Message
from switch.wire.transactions import reply_mti
from terminals.device.dialogue import Line

UNDER_WAY_MAX: Final = 1000
SHOWN: Final = 200
STRAYS: Final = 64
_BEIJING_S: Final = 8 * 3600


@dataclass(slots=True)
class Result:
    """What a replay came to. `differences` holds the first SHOWN of them, each with the number of its exchange."""

    sent: int = 0
    answered: int = 0
    same: int = 0
    different: int = 0
    unanswered: int = 0
    unanswered_then: int = 0
    left_out: int = 0
    sign_ins: int = 0
    seconds: float = 0.0
    by_field: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    differences: list[dict[str, Any]] = field(default_factory=list)
    no_match: list[dict[str, Any]] = field(default_factory=list)

    @property
    def agreed(self) -> bool:
        """Whether everything answered as recorded."""
        return not self.different and not self.unanswered

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "agreed": self.agreed, "sent": self.sent, "answered": self.answered, "same": self.same,
            "different": self.different, "unanswered": self.unanswered, "unanswered_then": self.unanswered_then,
            "left_out": self.left_out, "sign_ins": self.sign_ins, "seconds": round(self.seconds, 3),
            "by_field": dict(self.by_field), "notes": dict(self.notes), "differences": self.differences,
            "no_match": self.no_match,
            "declared": {f"DE{de}": why for de, why in MUST_DIFFER.items()},
        }  # fmt: skip

    def file(self, played: Played, found: list[Difference]) -> None:
        """An answer came: what differs."""
        self.answered += 1
        if not found:
            self.same += 1
            return
        self.different += 1
        for one in found:
            self.by_field["MTI" if one.de == 0 else f"DE{one.de}"] += 1
        if len(self.differences) < SHOWN:
            exchange = played.exchange
            self.differences.append(
                {"n": exchange.n, "mti": exchange.request.mti, "tid": played.tid, "what": [str(one) for one in found]}
            )


class _Unanswered(Exception):
    """No answer in time, or no connection."""


class _Peer:
    """One terminal's connection: whoever waits for a key gets its answer, all else is a stray."""

    def __init__(self, line: Line, address: tuple[str, int], strays: deque[Reply]) -> None:
        self._line = line
        self._address = address
        self._strays = strays
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[tuple[Any, ...], asyncio.Future[bytes]] = {}

    async def ask(self, mti: str, fields: dict[int, Any], body: bytes, timeout_s: float) -> bytes:
        """The body of the answer. Raises _Unanswered."""
        loop = asyncio.get_running_loop()
        wanted = (reply_mti(mti), *((de, fields[de]) for de in POS_KEY if de in fields))
        future: asyncio.Future[bytes] = loop.create_future()
        try:
            async with asyncio.timeout(timeout_s):
                writer = await self._connected()
                self._waiting[wanted] = future
                writer.write(self._line.wrap(body))
                await writer.drain()
                return await future
        except (OSError, FrameError):
            raise _Unanswered from None
        finally:
            self._waiting.pop(wanted, None)

    async def _connected(self) -> asyncio.StreamWriter:
        if self._writer is None or self._writer.is_closing():
            reader, self._writer = await asyncio.open_connection(*self._address)
            self._reading = asyncio.get_running_loop().create_task(self._read(reader, self._writer))
        return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        deframer = Deframer(self._line.framing)
        try:
            while data := await reader.read(65_536):
                for frame in deframer.feed(data):
                    self._take(frame.body)
        except (OSError, FrameError):
            pass
        finally:
            writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(_Unanswered())

    def _take(self, body: bytes) -> None:
        try:
            message: Message = self._line.codec.decode(body)
        except DecodeError:
            message = Message("0000", {})
        for wanted, future in self._waiting.items():
            asked = wanted[0] == message.mti and all(message.get(de) == value for de, value in wanted[1:])
            if asked and not future.done():
                future.set_result(body)
                return
        self._strays.append(Reply(message.mti, {de: message.get(de, "") for de in POS_KEY}, time.monotonic()))

    async def close(self) -> None:
        """Let go."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        if self._writer is not None:
            self._writer.close()


class Replay:
    """Plays exchanges against a host. `pace` 1 is as recorded, 2 twice as fast, 0 one message after another without
    waiting; a request that was answered then waits `timeout_s` now, another one `silence_s`."""

    def __init__(
        self, player: Player, line: Line, address: tuple[str, int], pace: float = 1.0, timeout_s: float = 15.0,
        silence_s: float = 1.0,
    ) -> None:  # fmt: skip
        self.result = Result()
        self._player = player
        self._line = line
        self._address = address
        self._pace = pace
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._peers: dict[str, _Peer] = {}
        self._strays: deque[Reply] = deque(maxlen=STRAYS)
        self._turns: dict[str, asyncio.Lock] = {}

    async def run(self, exchanges: Iterable[Exchange]) -> Result:
        """Until the last has its answer. Reads no further ahead than what is under way."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        room = asyncio.Semaphore(UNDER_WAY_MAX)
        tasks: set[asyncio.Task[None]] = set()
        try:
            for exchange in exchanges:
                if exchange.way != "up":
                    self.result.left_out += 1
                    continue
                if not self._pace:
                    await self._play(exchange)
                    continue
                wait = start + exchange.at / self._pace - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                await room.acquire()
                task = loop.create_task(self._in_turn(exchange, room))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            for peer in self._peers.values():
                await peer.close()
        self.result.seconds = loop.time() - start
        return self.result

    async def _in_turn(self, exchange: Exchange, room: asyncio.Semaphore) -> None:
        turn = self._turns.setdefault(str(exchange.request.fields.get(41, "")), asyncio.Lock())
        try:
            async with turn:
                await self._play(exchange)
        finally:
            room.release()

    async def _play(self, exchange: Exchange) -> None:
        result, player = self.result, self._player
        tid = str(exchange.request.fields.get(41, ""))
        peer = self._peers.get(tid)
        if peer is None:
            peer = self._peers[tid] = _Peer(self._line, self._address, self._strays)
        await self._signed_in(exchange, peer)
        try:
            played = player.request(exchange, _clock())
        except WireError as error:
            result.left_out += 1
            result.notes[f"{exchange.request.mti}: cannot be sent: {error}"] += 1
            return
        result.sent += 1
        patience = self._timeout_s if exchange.reply is not None else self._silence_s
        at = time.monotonic()
        try:
            body = await peer.ask(exchange.request.mti, played.fields, played.body, patience)
        except _Unanswered:
            self._silent(played, at)
        else:
            _, found = player.reply(played, body)
            if exchange.reply is None:
                found = [Difference(0, "no answer", "an answer"), *found]
            result.file(played, found)
        for note in played.notes:
            result.notes[note] += 1

    async def _signed_in(self, exchange: Exchange, peer: _Peer) -> None:
        body = self._player.sign_in(exchange)
        if body is None:
            return
        self.result.sign_ins += 1
        fields = self._line.codec.decode(body).fields
        answer: bytes | None = None
        with contextlib.suppress(_Unanswered):
            answer = await peer.ask("0800", fields, body, self._timeout_s)
        if fault := self._player.signed_in(exchange, answer):
            self.result.notes[fault] += 1

    def _silent(self, played: Played, at: float) -> None:
        result = self.result
        if played.exchange.reply is None:
            result.unanswered_then += 1
            return
        result.unanswered += 1
        if len(result.no_match) < SHOWN:
            why = self._player.no_match(played, list(self._strays), at)
            result.no_match.append({"n": played.exchange.n, "tid": played.tid, "why": why})


def _clock() -> Clock:
    now = time.gmtime(time.time() + _BEIJING_S)
    return Clock(time.strftime("%y%m%d", now), time.strftime("%H%M%S", now))
