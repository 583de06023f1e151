"""The MUX: which request on which line waits for an answer, and until when.

A line's requests all have the same patience, so they expire in the order they were sent: a queue serves as the timer.
"""

from collections import deque
from collections.abc import Iterator

from switch.engine.books import Exchange
from switch.machine import Arm, Out

GIVEN_UP_MAX = 100_000


class Inflight:
    """Outstanding requests of one counterpart, by DE7 and DE11 (DE32 and DE33 are the link's own): `requests`.

    Requests given up are remembered, so that their late answer is known for what it is.
    """

    __slots__ = ("_given_up", "_queue", "patience_s", "requests")

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.requests: dict[tuple[str, str], Exchange] = {}
        self._queue: deque[Exchange] = deque()
        self._given_up: dict[tuple[str, str], Exchange] = {}

    def __len__(self) -> int:
        return len(self.requests)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self.requests

    def __iter__(self) -> Iterator[Exchange]:
        """The requests that wait."""
        return iter(self.requests.values())

    def add(self, exchange: Exchange, now: float, out: Out) -> bool:
        """Remember a request about to leave and ask to be woken when its patience ends. False, and it takes the place,
        where another waits under its key."""
        exchange.deadline = now + self.patience_s
        key, queue = (exchange.net_time, exchange.net_stan), self._queue
        new = key not in self.requests
        self.requests[key] = exchange
        if not queue:
            out.append(Arm(exchange.deadline))
        queue.append(exchange)
        return new

    def waiting(self, key: tuple[str, str]) -> Exchange | None:
        """The request waiting under this key, which goes on waiting."""
        return self.requests.get(key)

    def take(self, key: tuple[str, str]) -> Exchange | None:
        """The request this answer belongs to, which then waits no more."""
        return self.requests.pop(key, None)

    def late(self, key: tuple[str, str]) -> Exchange | None:
        """The request given up to which this late answer belongs."""
        return self._given_up.pop(key, None)

    def give_up(self, exchange: Exchange) -> None:
        self.requests.pop(exchange.net_key, None)
        if len(self._given_up) >= GIVEN_UP_MAX:
            self._given_up.pop(next(iter(self._given_up)))
        self._given_up[exchange.net_key] = exchange

    def expired(self, now: float, out: Out) -> list[Exchange]:
        """Requests whose patience has ended, oldest first; asks to be woken for the next."""
        queue, waiting = self._queue, self.requests
        gone = []
        while queue:
            first = queue[0]
            if waiting.get(first.net_key) is not first:
                queue.popleft()  # answered meanwhile
            elif first.deadline <= now:
                queue.popleft()
                gone.append(first)
            else:
                out.append(Arm(first.deadline))
                break
        return gone
