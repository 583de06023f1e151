"""Runs a machine over sockets and a disk: the one place where what machines ask for is done.

Order is everything here: a Send that names a row leaves only when that row is durable, rows of many messages become
durable in one commit, and after any storage error nothing leaves at all.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from switch.machine import REPLACED, Arm, Close, Link, Machine, Now, Out, Post, Send
from switch.net.disk import Disk, StorageFailed
from switch.net.link import LinkProtocol
from switch.net.stranger import Strangers
from switch.wire.errors import FrameError
from switch.wire.framing import Frame, Framing

if TYPE_CHECKING:
    from switch.net.metrics import LoopLag

log = logging.getLogger("shoudan")

COMMIT_DELAY_S = 0.016
COMMIT_ROWS = 1024
"""The most that a row waits for company, and the most that a commit carries, while there is no end of messages."""

SLOW_COMMIT_S = 0.1
SLOW_HELD_S = 1.0
"""A commit that took longer than the first is told to the machine as lateness for as long as the second."""


class Performer:
    """Machine, loop and disk, and the links between them.

    `failed` is called once when the disk can no longer be trusted; by then all links are closed. `cut` counts the
    connections this side ended by why (frame, idle, sign_in, pressure, replaced, gone), `held` how often a peer was not
    read from because it said too much at once; `connections_max` is what the descriptor limit allows. `lag`, where
    there is one, and slow commits are told to the machine (`Now.late`).
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
        self.connections_max = 0
        self.cut: Counter[str] = Counter()
        self.held = 0
        self.lag: LoopLag | None = None
        self._slow_s = self._slow_until = 0.0
        self._failed = failed
        self._links: dict[Link, LinkProtocol] = {}
        self._waiting: deque[Send] = deque()
        self._out: Out = []
        self._generation = 0
        self._turned_away = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._commit: asyncio.Handle | None = None
        self._now = Now(-1.0, 0.0)
        self._seen = 0
        self._commit_by = 0.0
        self._gathered: dict[LinkProtocol, list[bytes]] = {}
        self._dead = False

    @property
    def connections(self) -> int:
        return len(self._links)

    @property
    def connections_opened(self) -> int:
        """Since the start, counterparts' lines among them."""
        return self._generation - self._turned_away

    def protocol(
        self,
        framing: Framing,
        frame_s: float,
        name: str = "",
        idle_s: float = 0.0,
        keep_alive_s: float = 0.0,
        strangers: Strangers | None = None,
        *,
        place: int = 0,
        way: str = "both",
    ) -> LinkProtocol:
        """A new connection's protocol, with a Link of its own."""
        self._generation += 1
        link = Link(self._generation, name, place=place, way=way)
        return LinkProtocol(self, framing, link, frame_s, idle_s, keep_alive_s, strangers)

    def now(self) -> Now:
        """Both clocks, read once for all messages of a turn of the loop, whose own time stands still meanwhile."""
        mono = self.loop.time()
        if mono != self._now.mono:
            self._now = Now(mono, time.time(), self._late(mono))
        return self._now

    def _late(self, mono: float) -> float:
        """Seconds by which the loop or the disk is behind."""
        late = self.lag.late_s(mono) if self.lag is not None else 0.0
        if self._slow_s:
            if time.perf_counter() < self._slow_until:
                return max(late, self._slow_s)
            self._slow_s = 0.0
        return late

    # what links tell

    def connected(self, protocol: LinkProtocol) -> None:
        if self._dead:
            protocol.close()
            return
        if self.connections_max and not protocol.link.name and len(self._links) >= self.connections_max:
            # A listener asks before it accepts; many accepted at once are only counted here.
            self._turned_away += 1
            self.connections_refused += 1
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

    def frame(self, link: Link, frame: Frame, now: Now) -> None:
        """`frames` of one, at the time that was asked for already."""
        if not self._dead:
            self.machine.receive(link, frame, now, self._out)
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
        take, durable, waiting = self.disk.take, self.disk.durable, self._waiting
        for effect in out:
            kind = type(effect)
            if kind is Post:
                take(effect)  # type: ignore[arg-type]
            elif kind is Send:
                if effect.after > durable:  # type: ignore[union-attr]
                    waiting.append(effect)  # type: ignore[arg-type]
                else:
                    self._write(effect)  # type: ignore[arg-type]
            elif kind is Arm:
                self._arm(effect.at)  # type: ignore[union-attr]
            else:
                self._close(effect)  # type: ignore[arg-type]
        out.clear()
        if self._gathered:
            self._write_lines()
        if self._commit is None and self.disk.pending:
            self._commit_by = self.loop.time() + COMMIT_DELAY_S
            self._commit = self.loop.call_soon(self._commit_soon)

    def _write(self, send: Send) -> None:
        link = send.link
        protocol = self._links.get(link)
        if protocol is None or link.closed:
            return
        data = protocol.framing.wrap(send.body, send.header, send.tpdu)
        if link.name:
            # A line carries everybody's messages: they leave in one write.
            if protocol in self._gathered:
                self._gathered[protocol].append(data)
            else:
                self._gathered[protocol] = [data]
        else:
            protocol.write(data)

    def _write_lines(self) -> None:
        for protocol, messages in self._gathered.items():
            protocol.write(b"".join(messages))
        self._gathered.clear()

    def _close(self, close: Close) -> None:
        protocol = self._links.get(close.link)
        if protocol is not None:
            log.debug("closing %r: %s", close.link, close.reason)
            if close.reason == REPLACED:
                self.cut["replaced"] += 1
            protocol.close()

    def _commit_soon(self) -> None:
        """Commit once the loop has caught up, as it has at once when it is idle: as long as each turn of it brings more
        rows, they wait for each other, up to COMMIT_DELAY_S or COMMIT_ROWS."""
        pending = self.disk.pending
        if self._seen < pending < COMMIT_ROWS and self.loop.time() < self._commit_by:
            self._seen = pending
            self._commit = self.loop.call_soon(self._commit_soon)
        else:
            self._commit_now()

    def _commit_now(self) -> None:
        self._commit = None
        self._seen = 0
        if self._dead:
            return
        began = time.perf_counter()
        try:
            durable = self.disk.commit()
        except StorageFailed as error:
            self.stop(error)
            return
        except Exception as error:  # a row that no store can hold: what is durable is no better known
            self.stop(error)
            raise
        ended = time.perf_counter()
        if ended - began > SLOW_COMMIT_S:
            self._slow_s, self._slow_until = ended - began, ended + SLOW_HELD_S
        waiting = self._waiting
        while waiting and waiting[0].after <= durable:
            self._write(waiting.popleft())
        if self._gathered:
            self._write_lines()

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

    def stop(self, error: Exception) -> None:
        """Fail-stop: the process ends, and the recovered journal decides what was stored."""
        self._dead = True
        self._waiting.clear()
        self.close_all()
        self._failed(error)

    def close_all(self) -> None:
        for protocol in list(self._links.values()):
            protocol.close()
