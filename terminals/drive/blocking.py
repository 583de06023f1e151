"""On a plain blocking socket: for threads, greenlets and the command line."""

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from switch.wire.errors import FrameError
from switch.wire.framing import Deframer
from terminals.device.dialogue import Line
from terminals.drive.pump import Reader, no_card, pump
from terminals.drive.replies import Waited, fits, waited_for
from terminals.flow import Ask, Call, Flow, FlowEffect, HostUnreachable, TimedOut, Wait

T = TypeVar("T")

Holder: TypeAlias = Callable[[Ask], Any]
"""The person at the terminal: an Ask to its answer; may raise Cancelled."""

Observer: TypeAlias = Callable[[bytes, float, bytes | None], None]
"""Told of every Call: the request's body, the seconds it took, the reply's body or None."""

_RECEIVE = 8192
_STATE, _ESTABLISHED = getattr(socket, "TCP_INFO", 0), b"\x01"
"""What Linux tells of a connection begins with its state. To look at that costs a greenlet less than to try whether
there is something to read (0.97 of one of Locust's taps)."""


class Session:
    """A terminal's way to its host, with the same promises as `aio.Session`: `kept`, `stale`, `connects`.

    `meanwhile` is called when a request has left, before its answer is looked for.
    """

    __slots__ = (
        "_address", "_deframer", "_meanwhile", "_observe", "_socket", "_tls", "connects", "kept", "line", "stale",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        host: str,
        port: int,
        *,
        kept: bool = True,
        observe: Observer | None = None,
        tls: ssl.SSLContext | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        self.line = line
        self._tls = tls
        self._meanwhile = meanwhile
        self.kept = kept
        self.connects = 0
        self.stale = 0
        self._address = (host, port)
        self._observe = observe
        self._socket: socket.socket | None = None
        self._deframer = Deframer(line.framing)

    def run(self, flow: Flow[T], holder: Holder, reader: Reader = no_card) -> T:
        """Run a dialogue to its end and give its result; what the flow does not deal with comes out."""

        def perform(effect: FlowEffect) -> Any:
            if isinstance(effect, Call):
                return self._call(effect)
            if isinstance(effect, Ask):
                return holder(effect)
            return time.sleep(effect.seconds) if isinstance(effect, Wait) else None

        try:
            return pump(flow, perform, reader)
        finally:
            if not self.kept:
                self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _call(self, call: Call) -> bytes:
        started = time.monotonic()
        reply: bytes | None = None
        try:
            reply = self._exchange(call.body, started + call.timeout_s)
            return reply
        except TimeoutError:
            raise TimedOut from None
        except (OSError, FrameError):
            self.close()
            raise HostUnreachable from None
        finally:
            if self._observe is not None:
                self._observe(call.body, time.monotonic() - started, reply)

    def _exchange(self, body: bytes, deadline: float) -> bytes:
        waited = waited_for(self.line, body)
        connection = self._connected(deadline)
        try:
            connection.settimeout(_left(deadline))
            frame = self.line.wrap(body)
            sent = connection.send(frame)
            if sent < len(frame):
                connection.sendall(frame[sent:])
        except TimeoutError:
            raise ConnectionAbortedError from None  # a part of a frame may have left: this stream is spoilt
        self._meanwhile()
        while True:
            data = connection.recv(_RECEIVE)
            if not data:
                raise ConnectionResetError
            reply = self._pick(data, waited)
            if reply is not None:
                return reply
            connection.settimeout(_left(deadline))

    def _pick(self, data: bytes, waited: Waited) -> bytes | None:
        """The reply that is waited for, out of what just arrived; the rest is stale."""
        reply: bytes | None = None
        for frame in self._deframer.feed(data):
            if reply is None and fits(self.line, frame.body, waited):
                reply = frame.body
            else:
                self.stale += 1
        return reply

    def _connected(self, deadline: float) -> socket.socket:
        if self._socket is not None and _dropped(self._socket):
            self.close()
        if self._socket is None:
            try:
                self._socket = socket.create_connection(self._address, _left(deadline))
            except TimeoutError:
                raise ConnectionRefusedError from None  # nothing was sent
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self._socket = self._tls.wrap_socket(self._socket, server_hostname=self._address[0])
            self._deframer = Deframer(self.line.framing)
            self.connects += 1
        return self._socket


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _dropped(connection: socket.socket) -> bool:
    """Whether the host closed the kept connection meanwhile; where the system does not tell a connection's state, under
    TLS only the next call can."""
    if _STATE:
        return connection.getsockopt(socket.IPPROTO_TCP, _STATE, 1) != _ESTABLISHED
    if isinstance(connection, ssl.SSLSocket):
        return False
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
