"""One connection: bytes to frames on the way in, finished bytes on the way out."""

import asyncio
from typing import TYPE_CHECKING, cast

from switch.machine import Link
from switch.net.pressure import Pressure
from switch.net.stranger import Gatekeeper, Strangers
from switch.wire.errors import FrameError
from switch.wire.framing import Deframer, Frame, Framing

if TYPE_CHECKING:
    from switch.net.perform import Performer


KEEP_ALIVE = b"0000"
"""The network's empty frame: four digits of length, and nothing."""


class LinkProtocol(asyncio.Protocol):
    """The asyncio end of a Link; it knows frames and nothing of their contents.

    `frame_s` is how long a frame may take from its first byte to its last. After `idle_s` of hearing nothing the
    connection is closed, after `keep_alive_s` of saying nothing the network's empty frame is sent (0: neither).
    """

    __slots__ = (
        "_began",
        "_deadline",
        "_deframer",
        "_frame_s",
        "_gate",
        "_heard",
        "_idle",
        "_idle_s",
        "_keep_alive_s",
        "_performer",
        "_pressure",
        "_said",
        "_strangers",
        "framing",
        "link",
        "lost",
        "transport",
    )

    def __init__(
        self,
        performer: "Performer",
        framing: Framing,
        link: Link,
        frame_s: float,
        idle_s: float = 0.0,
        keep_alive_s: float = 0.0,
        strangers: Strangers | None = None,
    ) -> None:
        self._performer = performer
        self._deframer = Deframer(framing)
        self._pressure: Pressure | None = None
        self._strangers = strangers
        self._gate: Gatekeeper | None = None
        self._frame_s = frame_s
        self._idle_s = idle_s
        self._keep_alive_s = keep_alive_s if framing.length == "ascii4" else 0.0
        self._heard = self._said = performer.loop.time()
        self._idle: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self.framing = framing
        self.link = link
        self.lost: asyncio.Event | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._pressure = Pressure(self.transport)
        if self._strangers is not None:
            self._gate = Gatekeeper(self, self._strangers, self._performer.loop)
        self._performer.connected(self)
        self._watch_silence()

    def _watch_silence(self) -> None:
        """One timer a connection, re-armed from what was heard and said last: a message costs it nothing."""
        now = self._performer.loop.time()
        self._idle = None
        if self.link.closed:
            return
        if self._idle_s and now - self._heard >= self._idle_s:
            self._performer.cut["idle"] += 1
            self._performer.bad_bytes(self, FrameError("link", None, f"nothing heard for {self._idle_s:g} s"))
            return
        if self._keep_alive_s and now - self._said >= self._keep_alive_s:
            self.write(KEEP_ALIVE)
        waits = [self._heard + self._idle_s] if self._idle_s else []
        waits += [self._said + self._keep_alive_s] if self._keep_alive_s else []
        if waits:
            self._idle = self._performer.loop.call_at(min(waits) + 0.001, self._watch_silence)

    def data_received(self, data: bytes) -> None:
        performer, deframer, gate = self._performer, self._deframer, self._gate
        now = performer.now()
        self._heard = now.mono
        alone = deframer.whole(data)
        if alone is not None and (gate is None or (self.link.peer and not gate.held)):
            performer.frame(self.link, alone, now)  # nearly always: past all the rest (1 us)
            return
        had_begun = deframer.rest
        try:
            frames = deframer.feed(data)
        except FrameError as error:
            self._performer.bad_bytes(self, error)
            return
        if frames:
            going = frames if self._gate is None else self._gate.admit(frames)
            if going:
                self._performer.frames(self, going)
        if deframer.error is not None:
            self._performer.bad_bytes(self, deframer.error)
        elif deframer.rest and (frames or not had_begun):
            self._watch()

    def pass_on(self, frames: list[Frame]) -> None:
        """Hand frames to the machine."""
        if frames:
            self._performer.frames(self, frames)

    def hold(self, held: bool) -> None:
        """Read nothing more from the peer for now, or read again."""
        if self._pressure:
            self._performer.held += held
            self._pressure.hold(held)

    def sign_in_missed(self) -> None:
        """Nobody has become known on this connection in time."""
        self._performer.cut["sign_in"] += 1
        self._performer.bad_bytes(self, FrameError("link", None, "nobody has signed in on it"))

    def _watch(self) -> None:
        """Only a frame that has begun and not ended costs a timer; the timer is left to run when it ends."""
        loop = self._performer.loop
        self._began = loop.time()
        if self._deadline is None:
            self._deadline = loop.call_later(self._frame_s, self._look)

    def _look(self) -> None:
        """A timer has run out: for the frame that has begun, or for one that has ended since."""
        self._deadline = None
        if not self._deframer.pending or self.link.closed:
            return
        loop = self._performer.loop
        whole_by = self._began + self._frame_s
        if whole_by > loop.time():
            self._deadline = loop.call_at(whole_by, self._look)
        else:
            self._performer.cut["frame"] += 1
            self._performer.bad_bytes(self, FrameError("frame", None, f"not whole after {self._frame_s:g} s"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.link.closed = True
        if self._gate is not None:
            self._gate.close()
        if isinstance(exc, TimeoutError):
            self._performer.cut["gone"] += 1
        if self._idle is not None:
            self._idle.cancel()
        if self.lost is not None:
            self.lost.set()
        self._performer.disconnected(self)

    def pause_writing(self) -> None:
        if self._pressure:
            self._pressure.pause_writing()

    def resume_writing(self) -> None:
        if self._pressure:
            self._pressure.resume_writing()

    def write(self, data: bytes) -> None:
        """Send finished bytes; a peer that lets too much pile up is cut off."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if self._keep_alive_s:
            self._said = self._performer.loop.time()
        if self._pressure and self._pressure.paused and self._pressure.overrun():
            self._performer.cut["pressure"] += 1
            transport.abort()

    def close(self) -> None:
        self.link.closed = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
