"""The model of an HSM that has a rate: a machine around a machine, through whose queue every command goes.

The keys are worked with at once, as ever, and counted; what the machine says because of them leaves when an HSM of that
rate, one command after another, would have done them. What needed no key passes. Rows are not held: they are written
before anything leaves, as they are without a model.
"""

import math
from collections import deque
from typing import Any, Final, Protocol

from switch.machine import Arm, Link, Machine, Now, Out, Send
from switch.timings import Timings

_WAITS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)


class Counted(Protocol):
    """An HSM that counts its commands."""

    operations: int


class HsmQueue:
    """`machine` with its keys in `hsm`, which does `rate` commands a second. A machine itself.

    `operations` counts commands, `waits` the seconds that a message's commands waited before the first of them was
    begun, `longest` is the most commands that have waited at a time.
    """

    def __init__(self, machine: Machine, hsm: Counted, rate: int) -> None:
        self.machine = machine
        self.rate = rate
        self.operations = 0
        self.longest = 0
        self.waits = Timings(_WAITS_S)
        self._hsm = hsm
        self._free_at = -math.inf
        self._held: deque[tuple[float, list[Send]]] = deque()

    def receive(self, link: Link, frame: Any, now: Now, out: Out) -> None:
        """One frame."""
        mark, before = len(out), self._hsm.operations
        self.machine.receive(link, frame, now, out)
        self._queue(mark, before, now, out)

    def receive_bad(self, link: Link, error: Exception, now: Now, out: Out) -> None:
        """Bytes that are no frame need no key."""
        self.machine.receive_bad(link, error, now, out)

    def tick(self, now: Now, out: Out) -> None:
        """Let go what the HSM has done by now; then the machine's own deadlines."""
        held = self._held
        while held and held[0][0] <= now.mono:
            out += held.popleft()[1]
        mark, before = len(out), self._hsm.operations
        self.machine.tick(now, out)
        self._queue(mark, before, now, out)
        if held:
            out.append(Arm(held[0][0]))

    def link_up(self, link: Link, now: Now, out: Out) -> None:
        """A link stands."""
        mark, before = len(out), self._hsm.operations
        self.machine.link_up(link, now, out)
        self._queue(mark, before, now, out)

    def link_down(self, link: Link, now: Now, out: Out) -> None:
        """A link broke."""
        self.machine.link_down(link, now, out)

    def _queue(self, mark: int, before: int, now: Now, out: Out) -> None:
        """Hold what was said since `mark` until the commands asked since `before` are done."""
        asked = self._hsm.operations - before
        if not asked:
            return
        begin = max(self._free_at, now.mono)
        self._free_at = begin + asked / self.rate
        self.operations += asked
        self.waits.add(begin - now.mono)
        self.longest = max(self.longest, self.waiting(now))
        said = out[mark:]
        sends = [effect for effect in said if isinstance(effect, Send)]
        if sends:
            out[mark:] = [effect for effect in said if not isinstance(effect, Send)]
            self._held.append((self._free_at, sends))
            out.append(Arm(self._held[0][0]))

    def waiting(self, now: Now) -> int:
        """Commands that are not done yet."""
        return math.ceil(max(0.0, self._free_at - now.mono) * self.rate)

    def status(self) -> dict[str, float]:
        """For a status request: rate, commands, seconds of work they were, mean and most waiting."""
        count = self.waits.count
        return {
            "rate": self.rate,
            "operations": self.operations,
            "busy_s": round(self.operations / self.rate, 3),
            "wait_mean_s": round(self.waits.total / count, 4) if count else 0.0,
            "queue_max": self.longest,
        }
