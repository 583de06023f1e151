"""What a machine may ask of the world, and the shape every machine has.

A *machine* handles many exchanges at once: the switch engine, the network centre. It never touches a socket, a clock,
a file or a random source. It is told what happened and appends what it wants done to `out`, a list that the performer
owns and drains once per wake-up (`switch.net.perform` over sockets, later `scenarios.world` in virtual time).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias


class Send(NamedTuple):
    """Bytes to write to a link, framed by the performer.

    `after` is the number of the `Post` that must be durable before these bytes may leave; 0 lets them pass at once.
    """

    link: "Link"
    body: bytes
    header: bytes = b""
    tpdu: bytes = b""
    after: int = 0


class Post(NamedTuple):
    """One row for the durable store. `number` is the machine's own running count of its posts (1, 2, 3...)."""

    number: int
    table: str
    row: tuple[Any, ...]


class Arm(NamedTuple):
    """Wake me with `tick` no later than `at` (monotonic seconds)."""

    at: float


class Close(NamedTuple):
    """Close a link; `reason` is for the counters and the log."""

    link: "Link"
    reason: str


Effect: TypeAlias = Send | Post | Arm | Close
Out: TypeAlias = list[Effect]


class Link:
    """One connection, and one only: a reconnect is a new Link, so an answer can never reach a later connection.

    `name` is the counterpart's name for configured lines ("cups", "core") and "" for terminals. `peer` is the machine's
    to write: the terminal it knows at the other end, SHARED where there are several, "" for a stranger. Where a
    counterpart has several lines, `place` tells them apart (0 is the primary); `way` is "both", or "out" or "in" of a
    one-way socket.
    """

    __slots__ = ("closed", "generation", "name", "peer", "place", "profile", "way")

    def __init__(
        self, generation: int, name: str = "", profile: Any = None, peer: str = "", place: int = 0, way: str = "both"
    ) -> None:
        self.generation = generation
        self.name = name
        self.profile = profile
        self.peer = peer
        self.place = place
        self.way = way
        self.closed = False

    def __repr__(self) -> str:
        return f"Link({self.name or 'terminal'} #{self.generation}{' closed' if self.closed else ''})"


SHARED = "*"
"""`Link.peer` of a connection that several terminals speak over: a concentrator's (集中器)."""

REPLACED = "replaced by a newer connection of its terminal"
"""Why a link is closed whose terminal speaks over another one by now."""


class Now(NamedTuple):
    """The clock, read once per wake-up: monotonic seconds for deadlines, wall seconds since the epoch for dates.

    `late` is by how many seconds whoever runs the machine is behind: with its own timers, or with the disk.
    """

    mono: float
    wall: float
    late: float = 0.0


class Machine(Protocol):
    """The three doors `receive`, `tick` and `link_*`; `frame` is a `switch.wire.framing.Frame`."""

    def receive(self, link: Link, frame: Any, now: Now, out: Out) -> None: ...

    def receive_bad(self, link: Link, error: Exception, now: Now, out: Out) -> None: ...

    def tick(self, now: Now, out: Out) -> None: ...

    def link_up(self, link: Link, now: Now, out: Out) -> None: ...

    def link_down(self, link: Link, now: Now, out: Out) -> None: ...


Entropy: TypeAlias = Callable[[int], bytes]
"""n random bytes; `secrets.token_bytes` in the real world, a seeded stream in a simulated one."""
