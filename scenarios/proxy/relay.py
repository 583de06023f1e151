"""The proxy itself: it listens, connects on, and carries frames both ways through the faults in force.

Each direction of a connection is a reader that decides what becomes of a frame and a writer that decides when: order
within a direction is kept but for `swap`. Chance comes from the seed, the connection's number and its direction, so the
same frames on the same connections meet the same faults.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from scenarios.proxy.faults import DIRECTIONS, SWAP_WAIT_S, Active, Direction, flipped
from scenarios.proxy.frames import Cutter
from switch.wire.framing import Framing

HELD_MAX: Final = 1 << 20
"""Bytes held for one direction before its sender is read no further."""
CHUNK: Final = 65_536
CONNECT_S: Final = 10.0
BACKLOG: Final = 4096


@dataclass(slots=True)
class Counts:
    """What went through one direction; `unframed` are bytes that were no frames."""

    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    swallowed: int = 0
    unframed: int = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Numbers:
    """What the proxy did since its start."""

    accepted: int = 0
    refused: int = 0
    unreachable: int = 0
    resets: int = 0
    by_direction: dict[str, Counts] = field(default_factory=lambda: {one: Counts() for one in DIRECTIONS})


class Proxy:
    """Carries connections from where it listens to `host`:`port`. `framing` None: bytes are not cut into frames."""

    def __init__(self, host: str, port: int, framing: Framing | None, seed: int) -> None:
        self.active = Active()
        self.numbers = Numbers()
        self.framing = framing
        self._to = (host, port)
        self._seed = seed
        self._server: asyncio.Server | None = None
        self._closing = False
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> int:
        """Begin to listen; the port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=CHUNK, backlog=BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._open)

    def cut(self) -> int:
        """Reset every open connection, both sides; how many."""
        mine = list(self._open)
        for one in mine:
            one.reset()
        return len(mine)

    async def close(self) -> None:
        """Stop listening and let go of everything."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def as_dict(self) -> dict[str, Any]:
        """Its figures, for JSON."""
        numbers = self.numbers
        return {
            "connections": {
                "accepted": numbers.accepted, "open": self.connections, "refused": numbers.refused,
                "unreachable": numbers.unreachable, "reset": numbers.resets,
            },
            **{one: numbers.by_direction[one].as_dict() for one in DIRECTIONS},
            "faults": self.active.fired(),
        }  # fmt: skip

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        refusals = list(self.active.of("refuse", "up"))
        if refusals:
            self.numbers.refused += 1
            refusals[0].fired["up"] += 1
            _abort(writer)
            return
        self.numbers.accepted += 1
        number = self.numbers.accepted
        try:
            async with asyncio.timeout(CONNECT_S):
                there = await asyncio.open_connection(*self._to, limit=CHUNK)
        except OSError:
            self.numbers.unreachable += 1
            _abort(writer)
            return
        one = _Connection(self, number, (reader, writer), there)
        self._open.add(one)
        try:
            await one.run()
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._open.discard(one)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """One connection and its two directions."""

    def __init__(self, proxy: Proxy, number: int, near: Ends, far: Ends) -> None:
        self._proxy = proxy
        self._writers = (near[1], far[1])
        seed = proxy._seed
        self._ways = (
            _Way(proxy, "up", near[0], far[1], random.Random(f"{seed}/{number}/up"), self.reset),
            _Way(proxy, "down", far[0], near[1], random.Random(f"{seed}/{number}/down"), self.reset),
        )

    async def run(self) -> None:
        try:
            await asyncio.gather(*(part for way in self._ways for part in (way.read(), way.write())))
        finally:
            for writer in self._writers:
                writer.close()  # what is written still goes out

    def reset(self) -> None:
        """Both sides see a reset."""
        self._proxy.numbers.resets += 1
        for way in self._ways:
            way.stop()
        for writer in self._writers:
            _abort(writer)


class _Way:
    """One direction: what becomes of each frame, and when it is written."""

    def __init__(
        self, proxy: Proxy, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        draw: random.Random, reset: Any,
    ) -> None:  # fmt: skip
        self._active = proxy.active
        self._counts = proxy.numbers.by_direction[direction]
        self._direction = direction
        self._reader = reader
        self._writer = writer
        self._draw = draw
        self._reset = reset
        self._cutter = Cutter(proxy.framing)
        self._prefix = proxy.framing.prefix_size if proxy.framing else 0
        self._queue: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._last_due = 0.0
        self._swapped: bytes | None = None
        self._swap_timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = self._stopped = False

    # what becomes of frames

    async def read(self) -> None:
        """Until the sender ends."""
        with contextlib.suppress(OSError):
            while not self._stopped and (data := await self._reader.read(CHUNK)):
                self._counts.bytes_in += len(data)
                for frame in self._cutter.feed(data):
                    self._meet(frame)
                if self._cutter.lost:
                    self._counts.unframed += len(data)
                while self._held > HELD_MAX and not self._stopped:
                    self._room.clear()
                    await self._room.wait()
        if rest := self._cutter.end():
            self._pass(rest)
        self._release()
        self._ended = True
        self._changed.set()

    def _meet(self, frame: bytes) -> None:
        """One frame meets the faults in force."""
        counts, direction, draw = self._counts, self._direction, self._draw
        counts.frames_in += 1
        times = 1
        for fault in list(self._active.faults.values()):
            if fault.kind not in _SINGLE or not fault.strikes(direction, draw):
                continue
            match fault.kind:
                case "drop":
                    return
                case "reset":
                    self._reset()
                    return
                case "duplicate":
                    times = int(fault.values["times"])
                case "flip":
                    frame = flipped(frame, self._prefix, int(fault.values["bits"]), draw)
                case "swap" if self._swapped is None:
                    self._swapped = frame
                    self._swap_timer = asyncio.get_running_loop().call_later(SWAP_WAIT_S, self._release)
                    return
        for _ in range(times):
            self._pass(frame)
        self._release()

    def _release(self) -> None:
        """The frame that was held back for another to overtake it goes on."""
        if self._swap_timer is not None:
            self._swap_timer.cancel()
            self._swap_timer = None
        if self._swapped is not None:
            frame, self._swapped = self._swapped, None
            self._pass(frame)

    def _pass(self, frame: bytes) -> None:
        due = asyncio.get_running_loop().time()
        for fault in self._active.of("latency", self._direction):
            fault.fired[self._direction] += 1
            due += (fault.values["ms"] + fault.values["jitter"] * self._draw.random()) / 1000
        self._last_due = max(due, self._last_due)
        self._queue.append((self._last_due, frame))
        self._held += len(frame)
        self._changed.set()

    # when they are written

    async def write(self) -> None:
        """Until everything is written after the sender's end."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while not self._stopped:
                if not self._queue:
                    if self._ended:
                        if not list(self._active.of("blackhole", self._direction)) and self._writer.can_write_eof():
                            self._writer.write_eof()
                        return
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                due, frame = self._queue[0]
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                    continue
                self._queue.popleft()
                await self._deliver(frame)
                self._held -= len(frame)
                self._room.set()

    async def _deliver(self, frame: bytes) -> None:
        direction, active, writer = self._direction, self._active, self._writer
        for hole in active.of("blackhole", direction):
            hole.fired[direction] += 1
            self._counts.swallowed += 1
            return
        pieces = [(0.0, frame)]
        for fault in active.of("slice", direction):
            fault.fired[direction] += 1
            size = int(fault.values["bytes"])
            pause = fault.values["ms"] / 1000
            pieces = [(pause if at else 0.0, frame[at : at + size]) for at in range(0, len(frame), size)]
        for fault in active.of("bandwidth", direction):
            fault.fired[direction] += 1
            pieces = [(pause + len(piece) / fault.values["bps"], piece) for pause, piece in pieces]
        for pause, piece in pieces:
            if pause:
                await asyncio.sleep(pause)
            writer.write(piece)
            await writer.drain()
        self._counts.frames_out += 1
        self._counts.bytes_out += len(frame)

    def stop(self) -> None:
        """Write nothing more."""
        self._stopped = True
        self._queue.clear()
        self._changed.set()
        self._room.set()


_SINGLE: Final = frozenset(("drop", "duplicate", "swap", "flip", "reset"))


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, not with a friendly end."""
    sock = None if writer.is_closing() else writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError, ValueError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
