"""The near side of a sandwich: terminals over sockets, every message of theirs told to the recorder."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from scenarios.sandwich.recorder import Recorder
from switch.wire.errors import FrameError
from switch.wire.framing import Deframer
from terminals.device.dialogue import Line
from terminals.drive.aio import Connection
from terminals.drive.pump import beside_host, pump_awaiting
from terminals.flow import Ask, Call, Flow, FlowError, HostUnreachable

T = TypeVar("T")


class _Overheard(Connection):
    """A terminal's connection whose every message is heard, also those nobody waits for."""

    __slots__ = ("_hears", "_tap", "_tid")

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop, tid: str, recorder: Recorder) -> None:
        super().__init__(line, loop)
        self._tid = tid
        self._hears = recorder
        self._tap = Deframer(line.framing)

    def data_received(self, data: bytes) -> None:
        at = self._loop.time()
        try:
            frames = self._tap.feed(data)
        except FrameError as error:
            self._hears.terminal_garbled(self._tid, str(error), at)
        else:
            for frame in frames:
                self._hears.terminal_receives(self._tid, frame.body, at)
        super().data_received(data)


class Session:
    """One terminal's kept connection to the switch under test. `unreachable` counts connections that were refused."""

    __slots__ = ("_address", "_connection", "_line", "_recorder", "_tid", "unreachable")

    def __init__(self, line: Line, address: tuple[str, int], tid: str, recorder: Recorder) -> None:
        self._line = line
        self._address = address
        self._tid = tid
        self._recorder = recorder
        self._connection: Connection | None = None
        self.unreachable = 0

    async def run(self, flow: Flow[T], holder: Callable[[Ask], Any]) -> T:
        """Run a dialogue to its end and give its result."""
        return await pump_awaiting(flow, self._call, lambda effect: beside_host(effect, holder))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _call(self, call: Call) -> bytes:
        loop = asyncio.get_running_loop()
        connection = self._connection
        if connection is None or not connection.open:
            connection = await self._connect(loop, call.timeout_s)
        self._recorder.terminal_sends(self._tid, call.body, loop.time())
        try:
            return await connection.call(call.body, call.timeout_s)
        except FlowError:
            self._recorder.terminal_gives_up(self._tid, loop.time())
            raise

    async def _connect(self, loop: asyncio.AbstractEventLoop, timeout_s: float) -> Connection:
        self.close()
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    lambda: _Overheard(self._line, loop, self._tid, self._recorder), *self._address
                )
        except OSError:
            self.unreachable += 1
            raise HostUnreachable from None
        self._connection = connection
        return connection
