"""The load: raw sockets under one epoll, in this process, beside the issuer host and the relay's host.

Closed loop: each connection sends its next request when the last is answered. Open loop: requests leave by a schedule,
and an answer's latency counts from the instant its request was meant to leave.
"""

import contextlib
import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

from loadtest.bench.process import BenchFailed

Source = Callable[[], bytes]
"""Gives the next frame of a connection."""

READ: Final = select.EPOLLIN
_RECEIVE: Final = 4096
SILENCE_S: Final = 10.0
"""A server that answers nobody for so long is stuck."""


class Poll:
    """One epoll and a function a descriptor."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}

    def add(self, number: int, handler: Callable[[int], None], events: int = READ) -> None:
        """Call `handler` with the descriptor whenever it is ready."""
        self.handlers[number] = handler
        self._poll.register(number, events)

    def drop(self, number: int) -> None:
        del self.handlers[number]
        self._poll.unregister(number)

    def turn(self, wait_s: float = 0.05) -> None:
        """Wait for something and deal with all of it."""
        handlers = self.handlers
        for number, _ in self._poll.poll(wait_s, 512):
            handlers[number](number)

    def drain(self, outstanding: Callable[[], int]) -> None:
        """Go on until nothing is outstanding. BenchFailed when that never comes."""
        end = time.monotonic() + SILENCE_S
        while outstanding():
            self.turn()
            if time.monotonic() > end:
                raise BenchFailed(f"{outstanding()} requests are unanswered after {SILENCE_S:g} s")


class Kept:
    """Connections that stay, each with at most one request under way.

    `mark` is where a good answer holds `good` (None: every answer of the right length is good). `answered` and
    `refused` count; a wrong answer is refused. With `paused` nobody sends on.
    """

    def __init__(self, poll: Poll, port: int, sources: list[Source], tls: ssl.SSLContext | None = None) -> None:
        self._poll = poll
        self.sources: dict[int, Source] = {}
        self.sockets: dict[int, socket.socket] = {}
        self._parts: dict[int, bytes] = {}
        self.mark: slice | None = None
        self.good = b""
        self.answered = self.refused = self.outstanding = 0
        self.paused = True
        for source in sources:
            line = socket.create_connection(("127.0.0.1", port), 10.0)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                line = tls.wrap_socket(line, server_hostname="127.0.0.1")
            line.setblocking(False)
            self.sockets[line.fileno()] = line
            self.sources[line.fileno()] = source
            poll.add(line.fileno(), self._readable_tls() if tls is not None else self._readable())

    def _readable(self) -> Callable[[int], None]:
        """Read one answer and send the next request: two system calls, no objects of ours in between."""
        read, write, sources = os.read, os.write, self.sources

        def readable(number: int) -> None:
            data = read(number, _RECEIVE)
            if len(data) < 2 or len(data) != 2 + (data[0] << 8 | data[1]):
                data = self._whole(number, data)
                if not data:
                    return
            self.answered += 1
            if self.mark is not None and data[self.mark] != self.good:
                self.refused += 1
            if self.paused:
                self.outstanding -= 1
            else:
                write(number, sources[number]())

        return readable

    def _readable_tls(self) -> Callable[[int], None]:
        sockets, sources = self.sockets, self.sources

        def readable(number: int) -> None:
            line = sockets[number]
            try:
                data = line.recv(_RECEIVE)
            except ssl.SSLWantReadError:
                return  # a session ticket
            data = self._whole(number, data)
            if not data:
                return
            self.answered += 1
            if self.mark is not None and data[self.mark] != self.good:
                self.refused += 1
            if self.paused:
                self.outstanding -= 1
            else:
                line.send(sources[number]())

        return readable

    def _whole(self, number: int, data: bytes) -> bytes:
        """An answer that came in parts, once it is whole. BenchFailed for a connection that was closed."""
        if not data:
            raise BenchFailed("the server closed a connection")
        data = self._parts.pop(number, b"") + data
        if len(data) >= 2 and len(data) >= 2 + (data[0] << 8 | data[1]):
            return data
        self._parts[number] = data
        return b""

    def go(self) -> None:
        """Every connection sends, and goes on sending."""
        self.paused = False
        for number, source in self.sources.items():
            self.sockets[number].send(source())
            self.outstanding += 1

    def stop(self) -> None:
        """Nobody sends on; return when the last answer is there. BenchFailed when it never comes."""
        self.paused = True
        self._poll.drain(lambda: self.outstanding)

    def close(self) -> None:
        for number, line in self.sockets.items():
            self._poll.drop(number)
            line.close()
        self.sockets.clear()

    def paced(self, rate: float, seconds: float) -> list[float]:
        """Open loop: latencies in seconds, from the instant each request was meant to leave.

        A request whose turn has come while all connections are busy waits for one, and its clock runs.
        """
        clock, read, write = time.perf_counter, os.read, os.write
        idle, due, meant = list(self.sources), deque[float](), dict[int, float]()
        latencies: list[float] = []
        kept = {number: self._poll.handlers[number] for number in self.sources}

        def readable(number: int) -> None:
            data = read(number, _RECEIVE)
            if len(data) < 2 or len(data) != 2 + (data[0] << 8 | data[1]):
                data = self._whole(number, data)
                if not data:
                    return
            latencies.append(clock() - meant.pop(number))
            if self.mark is not None and data[self.mark] != self.good:
                self.refused += 1
            idle.append(number)

        self._poll.handlers.update(dict.fromkeys(self.sources, readable))
        began = clock()
        total, sent = int(rate * seconds), 0
        while len(latencies) < total:
            now = clock()
            while sent + len(due) < total and began + (sent + len(due)) / rate <= now:
                due.append(began + (sent + len(due)) / rate)
            while due and idle:
                number = idle.pop()
                meant[number] = due.popleft()
                write(number, self.sources[number]())
                sent += 1
            self._poll.turn(0)
            if now - began > seconds + SILENCE_S:
                raise BenchFailed(f"{total - len(latencies)} requests are unanswered after {SILENCE_S:g} s")
        self._poll.handlers.update(kept)
        return latencies


class Fleeting:
    """A connection for each request: made, used once, closed by us. Same counters and commands as `Kept`.

    Connections come from many loopback addresses in turn: each has ports for 28,000 a minute.
    """

    def __init__(self, poll: Poll, port: int, sources: list[Source]) -> None:
        self._poll = poll
        self._address = ("127.0.0.1", port)
        self._sources = sources
        self._lines: dict[int, tuple[socket.socket, Source]] = {}
        self._made = count()
        self.mark: slice | None = None
        self.good = b""
        self.answered = self.refused = 0
        self.paused = True

    def _open(self, source: Source) -> None:
        line = socket.socket()
        line.setblocking(False)
        made = next(self._made)
        line.bind((f"127.0.{made // 250 % 8}.{1 + made % 250}", 0))
        with contextlib.suppress(BlockingIOError):
            line.connect(self._address)
        self._lines[line.fileno()] = line, source
        self._poll.add(line.fileno(), self._writable, select.EPOLLOUT)

    def _writable(self, number: int) -> None:
        line, source = self._lines[number]
        line.send(source())
        self._poll.drop(number)
        self._poll.add(number, self._readable)

    def _readable(self, number: int) -> None:
        line, source = self._lines.pop(number)
        data = line.recv(_RECEIVE)
        self._poll.drop(number)
        line.close()
        self.answered += 1
        if self.mark is not None and data[self.mark] != self.good:
            self.refused += 1
        if not self.paused:
            self._open(source)

    def go(self) -> None:
        """Every source opens its connection, and the next when that one was answered."""
        self.paused = False
        for source in self._sources:
            self._open(source)

    def stop(self) -> None:
        """Nobody opens another; return when the last answer is there. BenchFailed when it never comes."""
        self.paused = True
        self._poll.drain(lambda: len(self._lines))

    def close(self) -> None:
        pass
