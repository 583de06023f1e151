"""One world: a virtual clock, streams of chance from one seed, the whole house, its weather and its judge.

First a safety phase in which the planned faults happen, then a liveness phase in which nothing more goes wrong and
everything must come to rest and balance. The same seed and faults run the same twice: `digest` is a hash of all that
happened, in order.
"""

import gc
import hashlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from scenarios.world import rest
from scenarios.world.actors import Device, Halls, Purse, Shops, trades
from scenarios.world.cards import Pockets
from scenarios.world.faults import Fault, draw_faults
from scenarios.world.ground import LINES, Ground, terminal_line
from scenarios.world.host import Host
from scenarios.world.judge import Judge, Violation
from scenarios.world.nemesis import Nemesis
from scenarios.world.network import Road
from switch.engine.counterpart import wire_time
from terminals.device import pos
from terminals.fleet import memory_of

TERMINALS, MACHINES = 11, 2
HORIZON_S: Final = 360.0
AUTHORIZATIONS: Final = 305
GIVE_UP_S: Final = 4 * HORIZON_S
REST_S: Final = 3600.0
GAP_S: Final = 12.5
SETTLE_SHARE: Final = 0.03
READING: Final = (0.15, 0.5, 0.9)
"""Shares of terminals with a reader for chips: a world has one of them."""
NOON: Final = 1_793_160_000.0
CALENDARS: Final = (NOON, NOON, NOON, 1_798_732_500.0, 1_772_293_500.0, 1_793_461_500.0)
"""Wall seconds at the start: a noon in October 2026; a quarter to midnight in Beijing at the end of a year, of February
and of a month."""
STREAMS: Final = ("schedule", "network", "disk", "workload", "entropy", "fault", "cards")
DEADLINES: Final = frozenset(("commit", "customer", "holder", "wait", "connect", "rest", "fault ends"))
"""Timers that count as events when they fire, beside ticks, time-outs of terminals and delivered frames."""
LAST_EVENTS: Final = 50


class Result(NamedTuple):
    """What became of one seed."""

    seed: int
    faults: list[Fault]
    violations: list[Violation]
    fired: dict[str, int]
    reached: dict[str, int]
    authorizations: int
    approved: int
    events: int
    digest: str
    virtual_s: float
    last: list[str]


class World:
    """`faults` are those of the seed unless given. `tell` is told every event (for a trace)."""

    def __init__(
        self, seed: int, faults: Iterable[Fault] | None = None, tell: Callable[[str], None] | None = None
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.events = 0
        self.draws = {name: random.Random(f"{seed}/{name}") for name in STREAMS}
        self.fired: Counter[str] = Counter()
        self.branches: Counter[str] = Counter()
        self.spoilt: set[bytes] = set()
        self.last: deque[tuple[float, str, bytes]] = deque(maxlen=LAST_EVENTS)
        self._heap: list[tuple[float, int, str, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._tell = tell
        plan = self.draws["schedule"]
        self.began = plan.choice(CALENDARS)
        self.faults = draw_faults(plan, HORIZON_S, TERMINALS, MACHINES)
        if faults is not None:
            self.faults = list(faults)
        self.trading = True
        self.gap_s = GAP_S
        self.judge = Judge(self)
        self.ground = Ground(seed, TERMINALS, MACHINES, self.draws["entropy"], wire_time(self.began)[:4])
        self.switch = Host(self, "switch", self.ground.switch_plan())
        self.centres = {name: Host(self, name, self.ground.centre_plan(name)) for name in LINES}
        self.hosts = {"switch": self.switch, **self.centres}
        self.roads = {name: Road(name, plan.uniform(0.005, 0.03)) for name in LINES}
        self.switch.plan.dials = [(name, self.roads[name], self.centres[name]) for name in LINES]
        self.purse = Purse(self.ground.portfolio)
        self.pockets = Pockets(self.ground.minter, lambda: self.began + self.now, self.draws["cards"].randbytes)
        self.reading = self.draws["cards"].choice(READING)
        self.shops, self.halls = trades(self, terminal_line(), self.purse, self.pockets.hands)
        self.devices = [self._device(n) for n in range(TERMINALS + MACHINES)]
        self.nemesis = Nemesis(self)

    def _device(self, n: int) -> Device:
        minted = self.ground.fleet[n]
        plan = self.draws["schedule"]
        trade: Shops | Halls = self.halls if n >= TERMINALS else self.shops
        road = Road(minted.tid, plan.uniform(0.01, 0.08))
        memory = memory_of(minted)
        if self.draws["cards"].random() < self.reading:
            self.pockets.fit(minted, memory)
        device = Device(self, road, terminal_line(), trade, memory)
        device.kept = plan.random() < 0.8
        return device

    # the clock

    def at(self, when: float, what: str, act: Callable[..., None], *given: Any) -> None:
        """Do something at a virtual second."""
        self._order += 1
        heappush(self._heap, (when, self._order, what, act, given))

    def wall_of(self, host: Host) -> float:
        """A host's wall clock."""
        return self.began + self.now + host.skew

    def _run_while(self, going: Callable[[], bool], until: float) -> None:
        heap, update, note, tell = self._heap, self._hash.update, self.last.append, self._tell
        while heap and going():
            if heap[0][0] > until:
                self.now = until
                return
            when, _, what, act, given = heappop(heap)
            self.now = when
            update(f"{int(when * 1e6)} {what}".encode())
            if what in DEADLINES:
                self.events += 1
            note((when, what, b""))
            if tell is not None:
                tell(f"{when:12.6f} {what}")
            act(*given)

    def delivered(self, to: str, body: bytes) -> None:
        """A frame has reached somebody."""
        self.events += 1
        self._hash.update(body)
        self.last.append((self.now, to, body[:4]))
        if self._tell is not None:
            self._tell(f"{self.now:12.6f}   {_told(to, body[:4])} ({len(body)} bytes)")

    def reached(self, what: str) -> None:
        """A rare branch was taken."""
        self.branches[what] += 1
        if self._tell is not None:
            self._tell(f"{self.now:12.6f}   * {what}")

    # customers

    def _customers(self, device: Device) -> None:
        if not self.trading:
            return
        draw = self.draws["workload"]
        self.at(self.now + draw.expovariate(1 / self.gap_s), "customer", self._customers, device)
        if device.busy or not device.on:
            return
        if device.memory.settling is not None:
            self.reached("a settlement finished later")
        if draw.random() < SETTLE_SHARE:
            device.begin(pos.settle(device.memory, device.line))
        else:
            device.visit()

    @property
    def authorizations(self) -> int:
        """Financial requests that terminals have sent."""
        return self.shops.figures.authorizations

    # phases

    def run(self) -> Result:
        """Both phases, and the judgement."""
        for host in (*self.centres.values(), self.switch):
            host.start()
        for device in self.devices:
            start = 2.0 + 8.0 * self.draws["workload"].random()
            self.at(start, "customer", self._customers, device)
        for number, fault in enumerate(self.faults):
            self.at(fault.at, f"fault {fault.kind}", self.nemesis.strike, number, fault)
        try:
            self._run_while(lambda: True, HORIZON_S)
            self._run_while(lambda: self.authorizations < AUTHORIZATIONS, GIVE_UP_S)
            self.trading = False
            self.nemesis.heal()
            self._rest()
        except Exception as error:  # noqa: BLE001 - whatever ends a process is what the judge wants to know
            place = rest.place_of(error)
            self.judge.broken("W2", f"{type(error).__name__} in {place}")
        return self.result()

    def _rest(self) -> None:
        end = self.now + REST_S
        for device in self.devices:
            self.at(self.now + self.draws["workload"].random(), "rest", self._put_right, device)
        self._run_while(lambda: not rest.quiet(self), end)
        rest.judge(self)

    def _put_right(self, device: Device) -> None:
        """Terminals pay what they owe and settle, as often as it takes."""
        if device.busy or not device.on:
            self.at(self.now + 1.0, "rest", self._put_right, device)
        elif device.owes:
            flow = pos.settle(device.memory, device.line)
            device.begin(flow, done=lambda: self.at(self.now + 2.0, "rest", self._put_right, device))

    def result(self) -> Result:
        """As things stand."""
        return Result(
            self.seed, self.faults, self.judge.violations, dict(sorted(self.fired.items())),
            dict(sorted(self.branches.items())), self.authorizations, self.shops.figures.approved, self.events,
            self._hash.hexdigest(), round(self.now, 3),
            [f"{at:.6f} {_told(what, head)}" for at, what, head in self.last],
        )  # fmt: skip

    def scatter(self) -> None:
        """Let go of everything: most of a world goes at once then, and only the rest is left for the collector."""
        vars(self).clear()


def _told(what: str, head: bytes) -> str:
    """An event, or who hears a message that begins like this."""
    if not head:
        return what
    return f"{what} hears {head[:2].hex() if head[:1] < b'0' else head.decode('latin-1')}"


def play(
    seed: int, faults: Iterable[Fault] | None = None, tell: Callable[[str], None] | None = None
) -> tuple[Result, float]:
    """Run one seed; its result and the seconds of processor time it took."""
    began = time.process_time()
    gc.disable()  # a world is thrown away whole when it is over: looking for its garbage before took an eighth
    try:
        world = World(seed, faults, tell)
        result = world.run()
        world.scatter()
    finally:
        gc.enable()
    gc.collect(0)
    return result, time.process_time() - began
