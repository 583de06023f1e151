"""A connection nobody has signed in on yet: how much it may say, and how long it may stay.

A terminal that is known asks one thing at a time; a stranger may cost the others nothing. So a stranger's frames are
let through one by one and then at a small rate, the rest waits, and nothing more is read from it meanwhile. What the
machine knows of the other end stands in `Link.peer`.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from switch.wire.framing import Frame

if TYPE_CHECKING:
    from switch.net.link import LinkProtocol


class Strangers(NamedTuple):
    """What a listener grants a connection before it is known: `burst` frames at once and `per_s` a second after that;
    after `sign_in_s` it is closed (0: never). A known one has at most `turn` frames handled before others' turn."""

    sign_in_s: float = 30.0
    burst: int = 8
    per_s: float = 5.0
    turn: int = 16


class Gatekeeper:
    """Stands before one connection. Frames that are not let through yet are `held`, and its reading is paused."""

    __slots__ = ("_deadline", "_loop", "_protocol", "_rules", "_seen_at", "_timer", "_tokens", "held")

    def __init__(self, protocol: "LinkProtocol", rules: Strangers, loop: asyncio.AbstractEventLoop) -> None:
        self._protocol = protocol
        self._rules = rules
        self._loop = loop
        self.held: deque[Frame] = deque()
        self._tokens = float(rules.burst)
        self._seen_at = loop.time()
        self._timer: asyncio.Handle | None = None
        self._deadline = loop.call_later(rules.sign_in_s, self._too_late) if rules.sign_in_s else None

    def admit(self, frames: list[Frame]) -> list[Frame]:
        """Those that may go now, in their order; the others come by themselves."""
        if not self.held and self._protocol.link.peer and len(frames) <= self._rules.turn:
            return frames
        self.held.extend(frames)
        return self._next()

    def _next(self) -> list[Frame]:
        if self._protocol.link.peer:
            allowed = self._rules.turn
        else:
            now = self._loop.time()
            self._tokens = min(float(self._rules.burst), self._tokens + (now - self._seen_at) * self._rules.per_s)
            self._seen_at = now
            allowed = 1 if self._tokens >= 1 else 0
            self._tokens -= allowed
        held = self.held
        going = [held.popleft() for _ in range(min(allowed, len(held)))]
        if not held:
            self._protocol.hold(False)
        elif self._timer is None:
            self._protocol.hold(True)
            # A stranger's next frame comes when it may, anybody's not before the others have had their turn.
            wait = 0.0 if self._protocol.link.peer or self._tokens >= 1 else (1 - self._tokens) / self._rules.per_s
            self._timer = self._loop.call_later(wait, self._again) if wait else self._loop.call_soon(self._again)
        return going

    def _again(self) -> None:
        self._timer = None
        if not self._protocol.link.closed:
            self._protocol.pass_on(self._next())

    def _too_late(self) -> None:
        self._deadline = None
        if not self._protocol.link.peer and not self._protocol.link.closed:
            self._protocol.sign_in_missed()

    def close(self) -> None:
        """Forget what is held."""
        self.held.clear()
        for timer in (self._timer, self._deadline):
            if timer is not None:
                timer.cancel()
        self._timer = self._deadline = None
