"""What a process and its workers say to each other, and connections that change hands: MessagePack over Unix sockets.

The pair keeps the bounds of messages (SOCK_SEQPACKET); a descriptor travels with the message it belongs to
(SCM_RIGHTS). Nothing waits here: what the other end has no room for stands in a queue.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

MESSAGE_MAX: Final = 1 << 18
TURN: Final = 64
"""Messages read before others have their turn."""

Heard = Callable[[dict[str, Any], socket.socket | None], None]


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a channel; the second is the worker's."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_MAX)
    return ends


class Channel:
    """One end: `heard` is given each message (with the connection that came with it), `ended` is called once when the
    other end is gone."""

    def __init__(
        self, end: socket.socket, loop: asyncio.AbstractEventLoop, heard: Heard, ended: Callable[[], None]
    ) -> None:
        self._end = end
        self._loop = loop
        self._heard = heard
        self._ended = ended
        self._queue: deque[tuple[bytes, socket.socket | None]] = deque()
        self._open = True
        loop.add_reader(end, self._read)

    def say(self, message: dict[str, Any], hand: socket.socket | None = None) -> None:
        """Send a message; a connection that goes with it is the other end's from now on."""
        if not self._open:
            _let_go(hand)
            return
        self._queue.append((msgspec.msgpack.encode(message), hand))
        if len(self._queue) == 1:
            self._write()

    def close(self) -> None:
        """Close this end; connections that were not handed over are closed."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        self._end.close()
        for _, hand in self._queue:
            _let_go(hand)
        self._queue.clear()

    def _write(self) -> None:
        while self._queue:
            data, hand = self._queue[0]
            try:
                socket.send_fds(self._end, [data], [hand.fileno()] if hand else [])
            except BlockingIOError:
                self._loop.add_writer(self._end, self._write)
                return
            except OSError:
                self._lost()
                return
            self._queue.popleft()
            _let_go(hand)
        self._loop.remove_writer(self._end)

    def _read(self) -> None:
        for _ in range(TURN):
            if not self._open:
                return
            try:
                data, descriptors, _, _ = socket.recv_fds(self._end, MESSAGE_MAX, 1)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._lost()
                return
            self._heard(msgspec.msgpack.decode(data), socket.socket(fileno=descriptors[0]) if descriptors else None)

    def _lost(self) -> None:
        if self._open:
            self.close()
            self._ended()


def _let_go(hand: socket.socket | None) -> None:
    if hand is not None:
        hand.close()
