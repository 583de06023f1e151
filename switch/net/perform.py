"""Runs a machine over sockets and a disk: the one place where what machines ask for is done.

Order is everything here: a Send that names a row leaves only when that row is durable, rows of many messages become
durable in one commit, and after any storage error nothing leaves at all.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from switch.machine import Arm, Close, Link, Machine, Now, Out, Post, Send
from switch.net.disk import Disk, StorageFailed
from switch.net.link import LinkProtocol
from switch.wire.errors import FrameError
from switch.wire.framing import Frame, Framing

log = logging.getLogger("shoudan")

COMMIT_DELAY_S = 0.002
"""While busy, rows wait this long for company: one fsync then carries a batch. Idle, a commit is immediate."""

BUSY_ROWS = 8


class Performer:
    """Machine, loop and disk, and the links between them.

    `failed` is called once when the disk can no longer be trusted; by then all links are closed.
    """

    def __init__(
        self,
        machine: Machine,
        disk: Disk,
        loop: asyncio.AbstractEventLoop,
        failed: Callable[[Exception], None],
    ) -> None:
        self.machine = machine
        self.disk = disk
        self.loop = loop
        self.connections_refused = 0
        self._failed = failed
        self._links: dict[Link, LinkProtocol] = {}
        self._waiting: deque[Send] = deque()
        self._out: Out = []
        self._generation = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._commit: asyncio.Handle | None = None
        self._last_batch = 0
        self._dead = False

    @property
    def connections(self) -> int:
        return len(self._links)

    @property
    def connections_opened(self) -> int:
        """Since the start, counterparts' lines among them."""
        return self._generation

    def protocol(
        self,
        framing: Framing,
        frame_s: float,
        name: str = "",
        idle_s: float = 0.0,
        keep_alive_s: float = 0.0,
        *,
        place: int = 0,
        way: str = "both",
    ) -> LinkProtocol:
        """A new connection's protocol, with a Link of its own."""
        self._generation += 1
        link = Link(self._generation, name, place=place, way=way)
        return LinkProtocol(self, framing, link, frame_s, idle_s, keep_alive_s)

    def now(self) -> Now:
        return Now(self.loop.time(), time.time())

    # what links tell

    def connected(self, protocol: LinkProtocol) -> None:
        if self._dead:
            protocol.close()
            return
        self._links[protocol.link] = protocol
        self.machine.link_up(protocol.link, self.now(), self._out)
        self._drain()

    def frames(self, protocol: LinkProtocol, frames: list[Frame]) -> None:
        if self._dead:
            return
        now, receive, out, link = self.now(), self.machine.receive, self._out, protocol.link
        for frame in frames:
            receive(link, frame, now, out)
        self._drain()

    def bad_bytes(self, protocol: LinkProtocol, error: FrameError) -> None:
        if not self._dead:
            self.machine.receive_bad(protocol.link, error, self.now(), self._out)
            self._drain()

    def disconnected(self, protocol: LinkProtocol) -> None:
        if self._links.pop(protocol.link, None) is not None and not self._dead:
            self.machine.link_down(protocol.link, self.now(), self._out)
            self._drain()

    def call(self, act: Callable[[Now, Out], object]) -> object:
        """Do something to the machine from outside (a control command, recovery), then what it asks for."""
        result = act(self.now(), self._out)
        self._drain()
        return result

    # what machines ask

    def _drain(self) -> None:
        out = self._out
        durable = self.disk.durable
        for effect in out:
            if isinstance(effect, Send):
                if effect.after > durable:
                    self._waiting.append(effect)
                else:
                    self._write(effect)
            elif isinstance(effect, Post):
                self.disk.add(*effect)
            elif isinstance(effect, Arm):
                self._arm(effect.at)
            else:
                self._close(effect)
        out.clear()
        if self._commit is None and self.disk.pending:
            if self._last_batch > BUSY_ROWS:
                self._commit = self.loop.call_later(COMMIT_DELAY_S, self._commit_now)
            else:
                self._commit = self.loop.call_soon(self._commit_now)

    def _write(self, send: Send) -> None:
        protocol = self._links.get(send.link)
        if protocol is None or send.link.closed:
            return
        protocol.write(protocol.framing.wrap(send.body, send.header, send.tpdu))

    def _close(self, close: Close) -> None:
        protocol = self._links.get(close.link)
        if protocol is not None:
            log.debug("closing %r: %s", close.link, close.reason)
            protocol.close()

    def _commit_now(self) -> None:
        self._commit = None
        if self._dead:
            return
        self._last_batch = self.disk.pending
        try:
            durable = self.disk.commit()
        except StorageFailed as error:
            self._stop(error)
            return
        except Exception as error:  # a row that no store can hold: what is durable is no better known
            self._stop(error)
            raise
        waiting = self._waiting
        while waiting and waiting[0].after <= durable:
            self._write(waiting.popleft())

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._dead:
            self.machine.tick(self.now(), self._out)
            self._drain()

    # ends

    def flush(self) -> None:
        """Commit what is pending now, and send what waited for it."""
        if self._commit is not None:
            self._commit.cancel()
        if self.disk.pending:
            self._commit_now()
        self._commit = None

    def _stop(self, error: Exception) -> None:
        """Fail-stop: the process ends, and the recovered journal decides what was stored."""
        self._dead = True
        self._waiting.clear()
        self.close_all()
        self._failed(error)

    def close_all(self) -> None:
        for protocol in list(self._links.values()):
            protocol.close()
