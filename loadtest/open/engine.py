"""The open loop: customers come when the schedule says so, and nobody waits for the one before.

An arrival that finds the in-flight cap reached, or nobody to serve it, is skipped and counted. What follows an approved
sale comes after a pause, at an instant of its own.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final, Protocol

from loadtest.open.alarm import Alarm
from loadtest.open.record import Record

RING_S: Final = 0.0001
"""Wakes are this far apart at least: what comes meanwhile is sent together."""
BURST: Final = 64
"""Arrivals that are served at a time."""
DEAD_S: Final = 3.0
"""A host that answers nothing and cannot be reached for so long is dead."""


class Work(Protocol):
    """What arrivals make happen."""

    in_flight: int
    answered: int
    unreachable: int

    def begin(self, intended: float) -> bool:
        """Serve a customer who comes at that instant; False where nobody can."""

    def follow(self, what: Any, intended: float) -> None:
        """Go on with something that was put off until that instant."""


class Engine:
    """Runs arrivals against some work on the running loop. `cap` is the most customers under way at a time."""

    def __init__(self, record: Record, cap: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.record = record
        self.cap = cap
        self.dead_after: float | None = None
        self.stopped = False
        self._clock = clock
        self._work: Work | None = None
        self._due: list[tuple[float, int, Any]] = []
        self._numbers = count()
        self._next: float | None = None
        self._ask_at: float | None = None
        self._arrivals: Iterator[float | None] = iter(())
        self._start = 0.0
        self._alarm: Alarm | None = None
        self._ended = asyncio.Event()

    def later(self, at: float, what: Any) -> None:
        """Put something off until an instant of the clock."""
        heapq.heappush(self._due, (at, next(self._numbers), what))
        if self._alarm is not None and self._due[0][0] == at:
            self._wake()

    def stop(self) -> None:
        """No more customers."""
        self.stopped = True
        self._ended.set()

    async def run(self, work: Work, arrivals: Iterator[float | None], start: float, drain_s: float) -> float:
        """Serve `arrivals` (seconds from `start`), then wait `drain_s` at most for what is under way.

        Returns how long customers came. Ends early after `stop`, and when the host is dead: `dead_after` then says
        after how many seconds.
        """
        loop = asyncio.get_running_loop()
        self._work = work
        self._arrivals, self._start = arrivals, start
        self._alarm = Alarm(loop, self._ring)
        seconds = loop.create_task(self._seconds(start))
        try:
            self._step()
            self._ring()
            await self._ended.wait()
            came = self._clock() - start
            end = self._clock() + drain_s
            while (work.in_flight or self._due) and self._clock() < end and self.dead_after is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return came
        finally:
            self._alarm.close()
            self._alarm = None
            seconds.cancel()

    def _step(self) -> None:
        """The next arrival."""
        try:
            entry = next(self._arrivals)
        except StopIteration:
            self._next, self._ask_at = None, None
            self._ended.set()
            return
        if entry is None:
            self._next, self._ask_at = None, self._clock() + 0.02
        else:
            self._next, self._ask_at = self._start + entry, None

    def _ring(self) -> None:
        """Serve everything that is due."""
        work, record = self._work, self.record
        assert work is not None
        now = self._clock()
        if self._ask_at is not None and now >= self._ask_at and not self.stopped:
            self._step()
        for _ in range(BURST):  # answers are read between two bursts, however late we are
            intended = self._next
            if intended is None or intended > now or self.stopped:
                break
            self._arrival(work, record, intended)
            self._step()
        while self._due and self._due[0][0] <= now:
            at, _, what = heapq.heappop(self._due)
            work.follow(what, at)
        record.in_flight = work.in_flight
        self._wake()

    def _arrival(self, work: Work, record: Record, intended: float) -> None:
        seen = record.now
        seen.offered += 1
        if work.in_flight >= self.cap:
            record.skipped()
            return
        late = self._clock() - intended
        if not work.begin(intended):
            record.skipped()
            return
        seen.late.add(int(late * 1e6))

    def _wake(self) -> None:
        if self._alarm is None:
            return
        wanted = [at for at in (self._next, self._ask_at) if at is not None and not self.stopped]
        if self._due:
            wanted.append(self._due[0][0])
        if wanted:
            self._alarm.set(max(min(wanted), self._clock() + RING_S))

    async def _seconds(self, start: float) -> None:
        """Turn the record every second, and see whether the host is still there."""
        work = self._work
        assert work is not None
        answered, quiet = work.answered, 0
        for number in count(1):
            await asyncio.sleep(max(0.0, start + number - self._clock()))
            row = self.record.turn()
            lost = work.unreachable and work.answered == answered and row["sent"] and row["failed"] == row["sent"]
            quiet = quiet + 1 if lost else 0
            answered = work.answered
            if quiet >= DEAD_S:
                self.dead_after = number - DEAD_S
                self.stop()
