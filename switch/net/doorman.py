"""Takes connections for several workers: looks at the first frame, and hands the socket to whom it belongs to.

Nothing is read: the first frame is looked at where the system holds it (MSG_PEEK), so the worker's own reading begins
with the first byte. A frame that comes in parts is waited for by its length (SO_RCVLOWAT), so each part costs nothing.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from switch.net.listen import BACKLOG, TERMINAL_RECEIVE_BYTES, CannotListen, connections_max, watch_peer
from switch.wire.errors import FrameError
from switch.wire.framing import Frame, Framing

TURN: Final = 256
"""Connections taken before others have their turn."""
SWEEP_S: Final = 1.0


class Doorman:
    """`owner` says whose a first frame is, `hand` gives the socket away.

    What is no frame goes to worker 0, which counts it and hangs up as on everybody. Who says nothing for `patience_s`
    is let go. `waiting` are the connections that have not said enough yet, `handed` counts those given away, `cut` and
    `refused` those let go and turned away for want of descriptors.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        framing: Framing,
        owner: Callable[[Frame], int],
        hand: Callable[[int, socket.socket], None],
        patience_s: float,
    ) -> None:
        self.handed = self.cut = self.refused = 0
        self._loop = loop
        self._framing = framing
        self._owner = owner
        self._hand = hand
        self._patience_s = patience_s
        self._most = connections_max()
        self._waiting: dict[socket.socket, float] = {}
        self._listeners: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def open(self, host: str, port: int) -> None:
        """Listen. Raises CannotListen."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(family, kind, protocol)
            self._listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            watch_peer(listener, TERMINAL_RECEIVE_BYTES)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise CannotListen(f"{host}:{port}: {error.strerror or error}") from None
        self._loop.add_reader(listener, self._accept, listener)
        self._sweep()

    def close(self) -> None:
        """Take nobody any more; those who have not spoken are let go."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        for sock in list(self._waiting):
            self._drop(sock)
        if self._timer is not None:
            self._timer.cancel()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(TURN):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor left
                self._loop.remove_reader(listener)
                self._loop.call_later(SWEEP_S, self._again, listener)
                return
            if len(self._waiting) >= self._most:
                self.refused += 1
                sock.close()
                continue
            sock.setblocking(False)
            self._waiting[sock] = self._loop.time() + self._patience_s
            self._loop.add_reader(sock, self._look, sock, 0)

    def _again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _look(self, sock: socket.socket, awaited: int) -> None:
        """Something is there, of a first frame of `awaited` bytes (0: not known yet)."""
        framing = self._framing
        try:
            seen = sock.recv(framing.prefix_size + framing.frame_max, socket.MSG_PEEK)
            whole = framing.first_size(seen)
            frame = framing.unwrap(seen[:whole]) if framing.prefix_size < whole <= len(seen) else None
        except FrameError:
            self._give(sock, 0)
            return
        except OSError:
            seen, whole, frame = b"", 0, None
        if frame is not None:
            self._give(sock, self._owner(frame))
        elif not seen or len(seen) < awaited:  # woken before so much was there: the peer has ended
            self._drop(sock)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, whole)
            self._loop.add_reader(sock, self._look, sock, whole)

    def _give(self, sock: socket.socket, worker: int) -> None:
        self._loop.remove_reader(sock)
        del self._waiting[sock]
        self.handed += 1
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._hand(worker, sock)

    def _drop(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock)
        del self._waiting[sock]
        sock.close()

    def _sweep(self) -> None:
        now = self._loop.time()
        for sock, until in list(self._waiting.items()):  # in the order they came, so the rest is younger
            if until > now:
                break
            self.cut += 1
            self._drop(sock)
        self._timer = self._loop.call_later(SWEEP_S, self._sweep)
