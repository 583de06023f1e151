"""On asyncio: one connection a terminal, kept between dialogues or made for each.

A reply that comes after its request was given up must not answer the next one: each reply's MTI and DE11 are compared
with what is waited for, and what does not fit is counted and dropped.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar, cast

from switch.wire.errors import FrameError
from switch.wire.framing import Deframer, PosHeader
from terminals.device.dialogue import Line
from terminals.drive.pump import Reader, beside_host, pump_awaiting
from terminals.drive.replies import Waited, fits, waited_for
from terminals.flow import (
    Apdu,
    Ask,
    Call,
    Flow,
    FlowError,
    HostUnreachable,
    PowerOff,
    TimedOut,
    Wait,
)

T = TypeVar("T")

Holder: TypeAlias = Callable[[Ask], Any | Awaitable[Any]]
"""The person at the terminal: an Ask to its answer, at once or awaited; may raise Cancelled."""

Observer: TypeAlias = Callable[[bytes, float, bytes | None], None]
"""Told of every Call: the request's body, the seconds it took, the reply's body or None."""


class Connection(asyncio.Protocol):
    """One connection to the host, with at most one request under way."""

    __slots__ = (
        "_deadline", "_deframer", "_header", "_line", "_loop", "_reply", "_timer", "_transport", "_waited", "stale",
    )  # fmt: skip

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        self._loop = loop
        self._deframer = Deframer(line.framing)
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[bytes] | None = None
        self._waited: Waited = ("", None)
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._header = b""
        self.stale = 0

    @property
    def requirement(self) -> str:
        """What the header of the last answer asks the terminal to do (its sixth digit), "0" for nothing."""
        return PosHeader.parse(self._header).processing if self._header else "0"

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses of it

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._deframer.feed(data)
        except FrameError:
            self.close()
            return
        for frame in frames:
            reply = self._reply
            if reply is None or reply.done() or not fits(self._line, frame.body, self._waited):
                self.stale += 1
            else:
                self._header = frame.header or self._header
                reply.set_result(frame.body)
        if self._deframer.error is not None:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._disarm()
        self.fail(HostUnreachable())

    async def call(self, body: bytes, timeout_s: float) -> bytes:
        """Send one request and wait for its reply. TimedOut, HostUnreachable; PowerOff through `fail`."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise HostUnreachable
        self._waited = waited_for(self._line, body)
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._reply = reply
        self._arm(timeout_s)
        try:
            transport.write(self._line.wrap(body))
            return await reply
        finally:
            self._reply = None

    def _arm(self, timeout_s: float) -> None:
        """One timer a connection, moved on when it runs out: a request costs it nothing (asyncio.timeout: 4.5 us)."""
        self._deadline = self._loop.time() + timeout_s
        if self._timer is not None and self._timer.when() > self._deadline:
            self._disarm()
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._reply is None or self._reply.done():
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        else:
            self._reply.set_exception(TimedOut())

    def fail(self, error: FlowError) -> None:
        """End the call under way with this error."""
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    def close(self) -> None:
        """Close at once; a call under way ends as HostUnreachable."""
        self._disarm()
        if self._transport is not None:
            self._transport.abort()


class Session:
    """A terminal's way to its host. One dialogue at a time.

    `kept`: the connection stays between dialogues and is made again when it was lost; else each dialogue has its own.
    `stale` counts replies that nobody waited for, `connects` the connections made.
    """

    __slots__ = ("_connection", "_host", "_observe", "_off", "_port", "_stale", "_tls", "connects", "kept", "line")

    def __init__(
        self,
        line: Line,
        host: str,
        port: int,
        *,
        kept: bool = True,
        observe: Observer | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.line = line
        self._tls = tls
        self.kept = kept
        self.connects = 0
        self._host = host
        self._port = port
        self._observe = observe
        self._connection: Connection | None = None
        self._off = False
        self._stale = 0

    @property
    def stale(self) -> int:
        return self._stale + (self._connection.stale if self._connection is not None else 0)

    @property
    def connected(self) -> bool:
        """Whether the next call has a connection already."""
        return self._connection is not None and self._connection.open

    @property
    def requirement(self) -> str:
        """What the host asks the terminal to do (`download.DOWNLOADS`), "0" for nothing. Of a kept connection only."""
        return self._connection.requirement if self._connection is not None else "0"

    async def run(self, flow: Flow[T], holder: Holder, reader: Reader | None = None) -> T:
        """Run a dialogue to its end and give its result. PowerOff, and what else the flow does not deal with, come out.

        Cancelling the task leaves the terminal as a loss of power would.
        """
        self._off = False

        def beside(effect: Ask | Wait | Apdu) -> Any:
            answer = beside_host(effect, holder)
            return self._unless_off(answer) if isinstance(answer, Awaitable) else answer

        try:
            return await pump_awaiting(flow, self._call, beside, reader)
        finally:
            if not self.kept:
                self.close()

    def power_off(self) -> None:
        """Cut the power: the connection is gone, the dialogue under way ends with PowerOff at its yield."""
        self._off = True
        if self._connection is not None:
            self._connection.fail(PowerOff())
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._stale += self._connection.stale
            self._connection.close()
            self._connection = None

    async def _unless_off(self, awaited: Awaitable[Any]) -> Any:
        answer = await awaited
        if self._off:
            raise PowerOff
        return answer

    async def _call(self, call: Call) -> bytes:
        started = time.perf_counter()  # the loop's own clock counts whole milliseconds on uvloop
        reply: bytes | None = None
        try:
            connection = self._connection
            if connection is None or not connection.open:
                connection = await self._connect(call.timeout_s)
            reply = await connection.call(call.body, call.timeout_s - (time.perf_counter() - started))
            if self._off:
                raise PowerOff
            return reply
        finally:
            if self._observe is not None:
                self._observe(call.body, time.perf_counter() - started, reply)

    async def _connect(self, timeout_s: float) -> Connection:
        self.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self.line, loop), self._host, self._port, ssl=self._tls
                )
        except OSError:  # TimeoutError is one of them
            raise HostUnreachable from None
        self.connects += 1
        if self._off:
            connection.close()
            raise PowerOff
        self._connection = connection
        return connection
