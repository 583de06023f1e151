"""Many short dialogues side by side, each on a connection of its own, on one epoll: for storms.

No task, future or timer is made for a dialogue: a connection is a small object, the kernel's list says which can go on,
and one deadline for all stands in a queue. A dialogue here asks the host and nobody else. Where the host is on loopback
the connections leave from many of its addresses, for each has only so many ports, and one that was used rests a minute.
"""

import errno
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from switch.wire.errors import FrameError
from switch.wire.framing import Deframer
from terminals.device.dialogue import Line, Outcome
from terminals.drive.replies import Waited, fits, waited_for
from terminals.flow import Call, Flow, FlowError, HostUnreachable, TimedOut

Dialogue: TypeAlias = tuple[Any, Flow[Outcome]]
"""What a dialogue is known by, and its flow."""

_RECEIVE: Final = 8192
_EVENTS: Final = 1024
_WAIT_S: Final = 0.05
_UNDER_WAY: Final = (0, errno.EINPROGRESS)
_TAKEN: Final = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
_TRIES: Final = 64
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Sources:
    """The places connections leave from: each address in turn, one port of all of them after another.

    None: the system chooses. `used` counts those given out, `taken` those that somebody else had.
    """

    def __init__(self, addresses: tuple[str, ...], first_port: int, last_port: int) -> None:
        self.addresses = addresses
        self.used = self.taken = 0
        self._first, self._count = first_port, last_port - first_port + 1

    @classmethod
    def loopback(cls, addresses: int, ports: tuple[int, int]) -> "Sources":
        """So many addresses from 127.0.0.2 on."""
        chosen = tuple(f"127.0.{(n + 2) // 256}.{(n + 2) % 256}" for n in range(addresses))
        return cls(chosen, *ports)

    def place(self) -> tuple[str, int]:
        """The next place to leave from."""
        turn, which = divmod(self.used, len(self.addresses))
        self.used += 1
        return self.addresses[which], self._first + turn % self._count


class _One:
    """A dialogue under way."""

    __slots__ = ("began", "deadline", "deframer", "flow", "key", "left", "sock", "waited")

    def __init__(self, key: Any, flow: Flow[Outcome], deframer: Deframer) -> None:
        self.key = key
        self.flow = flow
        self.deframer = deframer
        self.sock: socket.socket | None = None
        self.left = b""
        self.waited: Waited = ("", None)
        self.began = self.deadline = 0.0


class Crowd:
    """Up to `at_once` dialogues at a time with the host at `address`.

    `ended(key, outcome, seconds)` is told of each end; `go_on()` is asked between two turns, and ends the run with
    False. `connections` counts those made, `most` those that were open at a time.
    """

    def __init__(
        self,
        line: Line,
        address: tuple[str, int],
        sources: Sources,
        at_once: int,
        ended: Callable[[Any, Outcome, float], None],
        go_on: Callable[[], bool],
    ) -> None:
        self.line = line
        self._address = address
        self._family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        self._sources = sources
        self._at_once = at_once
        self._ended = ended
        self._more = go_on
        self._epoll = select.epoll()
        self._open: dict[int, _One] = {}
        self._deadlines: deque[tuple[float, _One]] = deque()
        self.connections = self.most = 0

    def run(self, dialogue: Callable[[], Dialogue | None]) -> None:
        """Run dialogues until `dialogue` has no more and all have ended, or `go_on` says that it is enough."""
        try:
            while self._more():
                while len(self._open) < self._at_once and (start := dialogue()) is not None:
                    self._start(*start)
                if not self._open:
                    break
                self.most = max(self.most, len(self._open))
                for number, _ in self._epoll.poll(_WAIT_S, _EVENTS):
                    one = self._open.get(number)
                    if one is not None:
                        self._go_on(one)
                self._expire()
        finally:
            for one in list(self._open.values()):
                self._close(one)
                one.flow.close()
            self._epoll.close()

    def _start(self, key: Any, flow: Flow[Outcome]) -> None:
        one = _One(key, flow, Deframer(self.line.framing))
        one.began = time.monotonic()
        self._resume(one, None, None)

    def _resume(self, one: _One, reply: bytes | None, error: FlowError | None) -> None:
        """Give a flow what it waited for, and send what it asks next; no connection but the first is made."""
        while True:
            try:
                effect = one.flow.send(reply) if error is None else one.flow.throw(error)
            except StopIteration as end:
                self._close(one)
                self._ended(one.key, end.value, time.monotonic() - one.began)
                return
            if not isinstance(effect, Call):
                raise TypeError(f"nobody is there to answer a {type(effect).__name__}")
            one.waited = waited_for(self.line, effect.body)
            one.left = self.line.wrap(effect.body)
            one.deadline = time.monotonic() + effect.timeout_s
            self._deadlines.append((one.deadline, one))
            try:
                if one.sock is None:
                    self._connect(one)
                self._send(one)
                return
            except OSError:
                self._close(one)
                reply, error = None, HostUnreachable()

    def _connect(self, one: _One) -> None:
        sources = self._sources
        for _ in range(_TRIES if sources.addresses else 1):
            sock = one.sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            number = self._leave(sock)
            if number in _UNDER_WAY:
                self._epoll.register(sock.fileno(), _OUT)
                self._open[sock.fileno()] = one
                self.connections += 1
                return
            sock.close()
            one.sock = None
            if number not in _TAKEN:
                break
            sources.taken += 1
        raise OSError(number, "cannot connect")

    def _leave(self, sock: socket.socket) -> int:
        """Set out from the next place; the system's number for how that went."""
        if self._sources.addresses:
            # A port that rests after a connection to somebody else does not rest for us.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(self._sources.place())
            except OSError as error:
                return error.errno or errno.EINVAL
        return sock.connect_ex(self._address)

    def _send(self, one: _One) -> None:
        """Write what is left of the request; a connection that is not there yet is waited for."""
        assert one.sock is not None
        try:
            one.left = one.left[one.sock.send(one.left) :]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
        self._epoll.modify(one.sock.fileno(), _OUT if one.left else _IN)

    def _go_on(self, one: _One) -> None:
        assert one.sock is not None
        try:
            if one.left:
                self._send(one)
                return
            data = one.sock.recv(_RECEIVE)
            if not data:
                raise ConnectionResetError
            frames = one.deframer.feed(data)
        except BlockingIOError:
            return
        except (OSError, FrameError):
            self._close(one)
            self._resume(one, None, HostUnreachable())
            return
        for frame in frames:
            if fits(self.line, frame.body, one.waited):
                self._resume(one, frame.body, None)
                return

    def _expire(self) -> None:
        """End the calls whose time is up. They all have about the same, so the oldest come first."""
        now, deadlines = time.monotonic(), self._deadlines
        while deadlines and (deadlines[0][0] <= now or deadlines[0][1].sock is None):
            deadline, one = deadlines.popleft()
            if one.sock is not None and one.deadline == deadline:
                self._close(one)
                self._resume(one, None, TimedOut())

    def _close(self, one: _One) -> None:
        if one.sock is not None:
            self._open.pop(one.sock.fileno(), None)
            one.sock.close()
            one.sock = None
