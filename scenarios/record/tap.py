"""A proxy that changes nothing: what passes between terminals and a host is told to whoever listens, byte for byte."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, TypeAlias

CHUNK: Final = 65_536
CONNECT_S: Final = 10.0

Hears: TypeAlias = Callable[[float, int, str, bytes, str], None]
"""Seconds on the loop's clock, connection, way ("up" to the host), bytes, event ("begin", "end", "" with bytes)."""


class Tap:
    """Listens for terminals and stands before one host. `hears` is called for all that passes, before it goes on."""

    def __init__(self, host: str, port: int, hears: Hears) -> None:
        self._to = (host, port)
        self._hears = hears
        self._count = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.unreachable = 0

    async def listen(self, host: str, port: int) -> int:
        """Begin; the port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=CHUNK)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop, and let go of every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection(*self._to, limit=CHUNK)
        except OSError:
            self.unreachable += 1
            writer.close()
            return
        self._count += 1
        number, clock = self._count, asyncio.get_running_loop().time
        self._hears(clock(), number, "", b"", "begin")
        try:
            await asyncio.gather(
                self._carry(number, "up", reader, far_writer), self._carry(number, "down", far_reader, writer)
            )
        except asyncio.CancelledError:
            pass  # we are closing
        finally:
            writer.close()
            far_writer.close()
            self._hears(clock(), number, "", b"", "end")

    async def _carry(self, number: int, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                self._hears(clock(), number, way, data, "")
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()
