"""One line to a counterpart: the socket or pair of sockets it consists of, its sign-on, its test, its circuit breaker.

A counterpart has a primary line (place 0) and as many backups as are configured. A line is *up* while all its sockets
stand, *signed on* after 001, and *broken* while so many requests over it have gone unanswered that nothing more is
given to it until it answers a line test.
"""

from typing import Final

from switch.machine import Link

BOTH, OUT, IN = "both", "out", "in"
"""Which way a socket is used: both, or only from us to the other side, or only from it to us."""

ASKED_MAX: Final = 64
"""Questions of ours that a line may leave unanswered before they are forgotten."""


class Line:
    """`says` is the link we write to, `hears` the one we read from: the same, unless the line is two one-way sockets.

    `asked` are our questions (0820) without an answer, by DE7 and DE11; `test_at` is when the line is to be tested,
    `silent` how many requests in a row had no answer, of those sent at `since` or later.
    """

    __slots__ = ("asked", "broken", "hears", "place", "says", "signed_on", "silent", "since", "test_at")

    def __init__(self, place: int) -> None:
        self.place = place
        self.says: Link | None = None
        self.hears: Link | None = None
        self.signed_on = False
        self.broken = False
        self.silent = 0
        self.since = 0.0
        self.test_at = 0.0
        self.asked: dict[tuple[str, str], str] = {}

    @property
    def up(self) -> bool:
        return self.says is not None and self.hears is not None

    @property
    def healthy(self) -> bool:
        """Whether requests may be given to it."""
        return self.signed_on and not self.broken and self.up

    @property
    def state(self) -> str:
        """For whoever looks."""
        if not self.up:
            return "down"
        if not self.signed_on:
            return "signing on"
        return "broken" if self.broken else "ready"

    def take(self, link: Link) -> Link | None:
        """A socket of this line stands. Returns one that it replaces, which is to be closed."""
        before = self.hears if link.way == IN else self.says
        if link.way != IN:
            self.says = link
        if link.way != OUT:
            self.hears = link
        self.signed_on = self.broken = False
        self.silent = 0
        self.asked.clear()
        return before if before is not None and before is not link else None

    def lose(self, link: Link) -> bool:
        """A socket is gone; whether it was one of this line's."""
        if link is not self.says and link is not self.hears:
            return False
        self.says = None if link is self.says else self.says
        self.hears = None if link is self.hears else self.hears
        self.signed_on = self.broken = False
        self.asked.clear()
        return True

    def unanswered(self, sent_at: float, most: int) -> bool:
        """A request sent over it had no answer; whether that is one too many, which breaks it (`most` 0: never)."""
        if sent_at < self.since - 1e-6 or self.broken:  # a sum of floats
            return False
        self.silent += 1
        self.broken = 0 < most <= self.silent
        return self.broken

    def mend(self, mono: float) -> bool:
        """It has answered a test; whether that makes it whole again. What was sent before counts no more."""
        was = self.broken
        self.broken = False
        if was:
            self.silent, self.since = 0, mono
        return was
