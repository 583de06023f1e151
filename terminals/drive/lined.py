"""A terminal's way to its host over a line of some kind: dialled, by radio, leased. What it takes is slept here."""

import asyncio
import time
from typing import Any

from terminals.census import LineProfile
from terminals.device.dialogue import Line
from terminals.drive.aio import Observer, Session
from terminals.flow import Call, TimedOut


class LinedSession(Session):
    """As `Session`; a connection takes what the line takes to dial, a message what it takes to carry. What is observed
    is the whole of it, as at the terminal."""

    __slots__ = ("_seen", "over")

    def __init__(
        self, line: Line, host: str, port: int, over: LineProfile, *, observe: Observer | None = None, **more: Any
    ) -> None:
        super().__init__(line, host, port, kept=over.kept, **more)
        self.over = over
        self._seen = observe

    async def _call(self, call: Call) -> bytes:
        began = time.perf_counter()
        reply: bytes | None = None
        try:
            dials = 0.0 if self.connected else self.over.connect_s
            up = dials + self.over.takes_s(len(self.line.wrap(call.body)))
            if up >= call.timeout_s:
                await asyncio.sleep(call.timeout_s)
                raise TimedOut
            await asyncio.sleep(up)
            reply = await super()._call(call._replace(timeout_s=call.timeout_s - up))
            await asyncio.sleep(self.over.takes_s(len(self.line.wrap(reply))))
            return reply
        finally:
            if self._seen is not None:
                self._seen(call.body, time.perf_counter() - began, reply)
