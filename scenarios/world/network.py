"""TCP as it behaves: bytes in order, late, in pieces, or not at all because the connection broke; never less.

A `Road` is the way between two hosts with its weather; a `Wire` is one connection on it. Only a hostile peer says
things twice, swapped or spoilt: that is what `Road.hostile` does to whole writes.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

PIECES_MAX: Final = 400


class Clock(Protocol):
    """What a network needs of its world."""

    now: float

    def at(self, when: float, what: str, act: Callable[..., None], *given: Any) -> None: ...


class Road:
    """The way between two hosts. Seconds: `latency`, `jitter` (a heavy tail), `held` until when a direction carries
    nothing (0 towards the server, 1 back). `slice` is the size of pieces (0: whole), `pace` bytes a second (0: any).
    `cut` refuses new connections. `hostile` turns one write towards the dialling side into those really sent.
    """

    __slots__ = ("cut", "held", "hostile", "jitter", "latency", "name", "pace", "slice", "wires")

    def __init__(self, name: str, latency: float, jitter: float = 0.0) -> None:
        self.name = name
        self.latency = latency
        self.jitter = jitter
        self.held = [0.0, 0.0]
        self.slice = 0
        self.pace = 0.0
        self.cut = False
        self.hostile: Callable[[bytes, int], list[bytes]] | None = None
        self.wires: list[Wire] = []

    def break_all(self) -> None:
        """Every connection on this road is reset."""
        for wire in list(self.wires):
            wire.reset()


class End:
    """One side of a connection: `heard` gets its bytes, `lost` is told of its end. `gone`: nobody is there any more."""

    __slots__ = ("closed", "direction", "free_at", "gone", "heard", "lost", "queue", "wire")

    def __init__(self, wire: "Wire", direction: int) -> None:
        self.wire = wire
        self.direction = direction
        self.heard: Callable[[bytes], None] = _nobody
        self.lost: Callable[[], None] = _nothing
        self.queue: deque[bytes | None] = deque()
        self.free_at = 0.0
        self.closed = False
        self.gone = False

    @property
    def other(self) -> "End":
        return self.wire.ends[1 - self.direction]

    def send(self, data: bytes) -> None:
        """Write one frame's bytes; they arrive in order, whole or in pieces, unless the connection breaks."""
        if self.closed or self.gone:
            return
        road = self.wire.road
        if road.hostile is not None:
            for one in road.hostile(data, self.direction):
                self._push(one)
        else:
            self._push(data)

    def _push(self, data: bytes) -> None:
        road = self.wire.road
        size = road.slice
        if not size:
            self._queue(data)
            return
        size = max(size, len(data) // PIECES_MAX + 1)
        for at in range(0, len(data), size):
            self._queue(data[at : at + size])

    def _queue(self, data: bytes | None) -> None:
        wire = self.wire
        road, clock, draw = wire.road, wire.clock, wire.draw
        delay = road.latency * (0.5 + draw.random())
        if road.jitter:
            delay += road.jitter * draw.random() ** 4
        if road.pace and data:
            delay += len(data) / road.pace
        when = max(self.free_at, clock.now + delay)
        self.free_at = when
        target = wire.ends[1 - self.direction]
        target.queue.append(data)
        clock.at(when, wire.label, wire.arrive, target)

    def late(self, data: bytes) -> None:
        """What was sent long ago arrives now, although its sender has gone since."""
        if self.other.closed:
            return
        self.other.queue.append(data)
        self.wire.arrive(self.other)

    def close(self) -> None:
        """Close in order: what was sent still arrives, then the other side is told."""
        if self.closed:
            return
        self.closed = True
        self._queue(None)
        self.wire.over()

    def vanish(self) -> None:
        """Be gone without a word (power, cable): the other side is told nothing."""
        self.closed = self.gone = True
        self.wire.over()


class Wire:
    """One connection. Ends: 0 who dialled, 1 who listened."""

    __slots__ = ("clock", "draw", "ends", "label", "road")

    def __init__(self, clock: Clock, road: Road, draw: random.Random) -> None:
        self.clock = clock
        self.road = road
        self.draw = draw
        self.label = road.name
        self.ends = (End(self, 0), End(self, 1))
        road.wires.append(self)

    def arrive(self, end: End) -> None:
        """The next piece for an end, later if the road carries nothing that way now."""
        until = self.road.held[1 - end.direction]
        if until > self.clock.now and end.queue:
            self.clock.at(until, self.label, self.arrive, end)
            return
        if not end.queue:
            return
        data = end.queue.popleft()
        if end.gone or end.closed:
            return
        if data is None:
            end.closed = True
            self.over()
            end.lost()
        else:
            end.heard(data)

    def reset(self) -> None:
        """Break at once: what is on its way is lost, and both sides are told."""
        for end in self.ends:
            end.queue.clear()
        for end in self.ends:
            if not end.closed:
                end.closed = True
                if not end.gone:
                    end.lost()
        self.over()

    def over(self) -> None:
        """Forget a connection that neither side holds any more."""
        if self.ends[0].closed and self.ends[1].closed and self in self.road.wires:
            self.road.wires.remove(self)


def _nobody(data: bytes) -> None:
    del data


def _nothing() -> None:
    pass
