"""The bare servers a switch is compared with, on uvloop: an echo, and a relay to a host and back.

    python -m loadtest.bench.bare echo PORT [CERT KEY]
    python -m loadtest.bench.bare relay PORT HOST_PORT

Neither knows a message: the echo sends back what comes, the relay puts four bytes in front that tell the connection.
"""

import asyncio
import ssl
import sys
from typing import cast

import uvloop

BACKLOG = 4096


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.Transport, transport).write

    def data_received(self, data: bytes) -> None:
        self._write(data)


class Lane(asyncio.Protocol):
    """One client of the relay: its frames go up the line behind the lane's number."""

    def __init__(self, line: "Line") -> None:
        self._line = line
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._number = self._line.enter(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 2:
            stop = at + 2 + (data[at] << 8 | data[at + 1])
            if stop > end:
                break
            self._line.up(self._number + data[at:stop])
            at = stop
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.leave(self._number)


class Line(asyncio.Protocol):
    """The relay's connection to its host."""

    def __init__(self) -> None:
        self._lanes: dict[bytes, asyncio.Transport] = {}
        self._last = 0
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.up = cast(asyncio.Transport, transport).write

    def enter(self, transport: asyncio.Transport) -> bytes:
        """Take a client in; its number on the line."""
        self._last += 1
        number = self._last.to_bytes(4, "big")
        self._lanes[number] = transport
        return number

    def leave(self, number: bytes) -> None:
        self._lanes.pop(number, None)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end, lanes = 0, len(data), self._lanes
        while end - at >= 6:
            stop = at + 6 + (data[at + 4] << 8 | data[at + 5])
            if stop > end:
                break
            lane = lanes.get(data[at : at + 4])
            if lane is not None:
                lane.write(data[at + 4 : stop])
            at = stop
        self._rest = data[at:]


async def serve(kind: str, port: int, rest: list[str]) -> None:
    """Listen until the process is ended."""
    loop = asyncio.get_running_loop()
    secured: ssl.SSLContext | None = None
    if kind == "relay":
        _, line = await loop.create_connection(Line, "127.0.0.1", int(rest[0]))
        server = await loop.create_server(lambda: Lane(line), "127.0.0.1", port, backlog=BACKLOG)
    else:
        if rest:
            secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            secured.load_cert_chain(rest[0], rest[1])
        server = await loop.create_server(Echo, "127.0.0.1", port, backlog=BACKLOG, ssl=secured)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
