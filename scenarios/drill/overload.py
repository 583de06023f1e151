"""`drill overload`: more than a switch can do, and peers that mean harm; what healthy terminals still get.

Customers come on their own schedule, whether or not the switch keeps up. Requests are made beforehand, so that the side
that measures costs little beside the side that is measured.
"""

import asyncio
import gc
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, cast

from scenarios.drill import canary
from scenarios.drill.answers import quantile
from scenarios.drill.hostile import Hostile
from scenarios.drill.storm import Field
from scenarios.drill.yard import START_S, SWITCH, Crew, Yard
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.codes import RESPONSE_CODES
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import Deframer
from terminals.device import pos
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.flow import Call
from terminals.people import People

CLOSED: Final = 512
"""Terminals that ask again as soon as they are answered, to find the capacity."""
STEPS: Final = (0.5, 1.0, 1.5, 2.0)
PASSES: Final = 2
"""Of each step the better pass counts: what disturbs a machine only takes away."""

TOO_LITTLE: Final = 1.2
"""By how much a step may surpass the capacity that was found before."""

PHASE_S: Final = 2.0
"""Healthy terminals with and without hostile peers, in turn: short, so that whatever else goes on meets both."""

HEALTHY_RATE: Final = 250.0
HEALTHY: Final = 297
GOODPUT_MIN, HOSTILE_MAX = 0.9, 1.1
TICK_S: Final = 0.002


class Order(NamedTuple):
    """Seconds a step, rounds with and without hostile peers, how long an answer is of use, and the seed."""

    seconds: float
    hostile: int
    patience_s: float
    seed: int


@dataclass(slots=True)
class Tally:
    """What became of the requests of a step."""

    sent: int = 0
    good: int = 0
    refused: int = 0
    silent: int = 0
    turned_away: int = 0
    times: list[float] = field(default_factory=list)

    def answered(self, code: str, took_s: float, patience_s: float) -> None:
        """One answer: a failure of the system is a refusal, one that took too long is none."""
        if took_s > patience_s:
            self.silent += 1
        elif code in RESPONSE_CODES and RESPONSE_CODES[code].fault == "system":
            self.refused += 1
        else:
            self.good += 1
            self.times.append(took_s)

    def as_dict(self, offered: float, seconds: float) -> dict[str, Any]:
        return {
            "offered_per_s": round(offered), "good_per_s": round(self.good / seconds),
            "p50_ms": round(quantile(self.times, 0.5) * 1000, 2), "p99_ms": round(quantile(self.times, 0.99) * 1000, 2),
            "refused": self.refused, "silent": self.silent, "turned_away": self.turned_away,
        }  # fmt: skip


class Asker(asyncio.Protocol):
    """One terminal's connection: one request under way at most, made beforehand."""

    def __init__(self, line: Line, memory: Memory) -> None:
        self._line = line
        self.memory = memory
        self.requests: list[tuple[bytes, str]] = []
        self._deframer = Deframer(line.framing)
        self._transport: asyncio.Transport | None = None
        self._stan = ""
        self._sent = 0.0
        self._tally: Tally | None = None
        self._patience_s = 0.0
        self.free: Callable[[Asker], None] = lambda asker: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._deframer = Deframer(self._line.framing)

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        with suppress(FrameError, DecodeError):
            for frame in self._deframer.feed(data):
                fields = self._line.codec.decode(frame.body).fields
                if self._tally is not None and fields.get(11) == self._stan:
                    tally, self._tally = self._tally, None
                    tally.answered(fields.get(39, ""), time.perf_counter() - self._sent, self._patience_s)
                    self.free(self)

    def make(self, people: People, draw: random.Random, count: int) -> None:
        """Make requests up to `count`: sales, each with its MAC under the terminal's present keys."""
        memory = self.memory
        while len(self.requests) < count:
            flow = pos.transact(memory, self._line, "sale", people.pick(draw), draw.randrange(100, 5000), pin=False)
            effect = next(flow)
            if not isinstance(effect, Call):
                raise TypeError("the sale of a terminal that is ready begins with its request")
            self.requests.append((self._line.wrap(effect.body), memory.items[-1].stan))
            flow.close()
            memory.items.clear()
            memory.pending = None

    def ask(self, tally: Tally, patience_s: float) -> None:
        """Send the next request."""
        data, self._stan = self.requests.pop(0)
        self._tally, self._patience_s, self._sent = tally, patience_s, time.perf_counter()
        tally.sent += 1
        if self._transport is not None and self.open:
            self._transport.write(data)

    def give_up(self) -> None:
        """Whatever is under way has no answer."""
        if self._tally is not None:
            self._tally.silent += 1
            self._tally = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _itself(asker: Asker) -> Asker:
    """A protocol that is there before its connection."""
    return asker


class Ramp:
    """A field of terminals that offer as much as they are told."""

    def __init__(self, yard: Yard, order: Order) -> None:
        self.yard = yard
        self.order = order
        self.field = Field(yard)
        self.askers: list[Asker] = []
        self._people = People(Portfolio(yard.seed, STANDARD_ISSUERS, yard.cards_per_issuer))
        self._draw = random.Random(order.seed)

    async def open(self) -> None:
        """Everybody signs in and keeps one connection."""
        await self.field.sign_in(at_once=64)
        self.field.leave()
        self.askers = [Asker(self.field.line, memory) for memory, _ in self.field.sites]

    async def _connected(self, askers: list[Asker]) -> None:
        """A host lets go of connections on which nothing is said for long."""
        loop = asyncio.get_running_loop()
        for asker in askers:
            if not asker.open:
                await loop.create_connection(partial(_itself, asker), self.yard.host, self.yard.port)

    async def _prepare(self, askers: list[Asker], count: int) -> None:
        for asker in askers:
            asker.make(self._people, self._draw, count)
            await asyncio.sleep(0)
        await self._connected(askers)

    async def closed(self, askers: list[Asker], seconds: float) -> Tally:
        """Each asks again as soon as it is answered."""
        tally = Tally()
        await self._prepare(askers, 200)
        end = time.perf_counter() + seconds

        def again(asker: Asker) -> None:
            if time.perf_counter() < end and asker.requests:
                asker.ask(tally, self.order.patience_s)

        for asker in askers:
            asker.free = again
            again(asker)
        await asyncio.sleep(seconds)
        for asker in askers:
            asker.free = lambda asker: None
        return tally

    async def offered(self, askers: list[Asker], rate: float, seconds: float) -> Tally:
        """`rate` requests a second, at whichever terminals are free; then the answers still to come in time.

        Nothing is collected here meanwhile: what that takes would count as the switch's.
        """
        tally, patience_s = Tally(), self.order.patience_s
        await self._prepare(askers, math.ceil(rate * seconds / len(askers)) + 8)
        idle = list(askers)
        self._draw.shuffle(idle)
        for asker in askers:
            asker.free = lambda asker: idle.insert(0, asker)
        gc.collect()
        gc.disable()
        try:
            await self._offer(idle, tally, rate, seconds)
        finally:
            gc.enable()
        await asyncio.sleep(patience_s if len(idle) < len(askers) else 0)
        for asker in askers:
            asker.give_up()
            asker.free = lambda asker: None
        return tally

    async def _offer(self, idle: list[Asker], tally: Tally, rate: float, seconds: float) -> None:
        begun = time.perf_counter()
        done = 0
        while (now := time.perf_counter() - begun) < seconds:
            while done < now * rate:
                done += 1
                if idle and idle[-1].requests:
                    idle.pop().ask(tally, self.order.patience_s)
                else:
                    tally.turned_away += 1
            await asyncio.sleep(TICK_S)

    def close(self) -> None:
        for asker in self.askers:
            asker.close()


async def ramp(one: Ramp, tell: Any) -> dict[str, Any]:
    """The capacity, then steps up to twice of it; goodput of each. Where a step gives more than the capacity that was
    found, that was too little, and all is done again from what the step gave."""
    seconds = one.order.seconds
    capacity = max([(await one.closed(one.askers[:CLOSED], seconds)).good for _ in range(PASSES)]) / seconds
    while True:
        found = await _steps(one, capacity, tell)
        if found["peak_per_s"] <= capacity * TOO_LITTLE:
            return found
        capacity = found["peak_per_s"]


async def _steps(one: Ramp, capacity: float, tell: Any) -> dict[str, Any]:
    seconds = one.order.seconds
    tell(f"capacity: {capacity:,.0f}/s")
    best: dict[float, Tally] = {}
    for factor in STEPS * PASSES:
        tally = await one.offered(one.askers, capacity * factor, seconds)
        if factor not in best or tally.good > best[factor].good:
            best[factor] = tally
        tell(f"{factor:g} times: good {tally.good / seconds:,.0f}/s")
    steps = [best[factor].as_dict(capacity * factor, seconds) for factor in STEPS]
    peak = max(step["good_per_s"] for step in steps)
    ratio = steps[-1]["good_per_s"] / max(1, peak)
    return {"capacity": round(capacity), "steps": steps, "peak_per_s": peak, "goodput_ratio": round(ratio, 3)}


async def beside_hostile(one: Ramp, tell: Any) -> dict[str, Any]:
    """Healthy terminals' p99, in turn with and without one hostile connection in a hundred."""
    healthy = one.askers[:HEALTHY]
    count = max(1, math.ceil(len(healthy) / 99))
    calm: list[float] = []
    beset: list[float] = []
    did: dict[str, int] = {}
    for number in range(one.order.hostile):
        for times, peers in ((calm, 0), (beset, count)) if number % 2 == 0 else ((beset, count), (calm, 0)):
            hostile = Hostile(one.yard.host, one.yard.port, peers, one.order.seed + number)
            await hostile.start()
            tally = await one.offered(healthy, HEALTHY_RATE, PHASE_S)
            times.append(quantile(tally.times, 0.99) * 1000 if tally.good == tally.sent else math.inf)
            for what, done in (await hostile.stop()).items():
                did[what] = did.get(what, 0) + done
        tell(f"hostile round {number + 1}: p99 {calm[-1]:.2f} ms without, {beset[-1]:.2f} ms with")
    ratio = quantile(beset, 0.5) / max(quantile(calm, 0.5), 1e-9)
    return {
        "healthy": len(healthy), "hostile": count, "hostile_did": did,
        "p99_ms_without": [round(value, 2) for value in calm], "p99_ms_with": [round(value, 2) for value in beset],
        "hostile_ratio": round(ratio, 3),
    }  # fmt: skip


async def hold(yard: Yard, order: Order, tell: Any) -> dict[str, Any]:
    """Start everything, measure both, stop everything, look for card numbers."""
    crew = Crew(yard)
    try:
        for counter in yard.counters:
            crew.start_counter(counter)
        for counter in yard.counters:
            await asyncio.to_thread(crew.await_port, counter.name, "127.0.0.1", counter.port)
        crew.start_switch()
        await asyncio.to_thread(crew.await_port, SWITCH, yard.host, yard.port, START_S)
        one = Ramp(yard, order)
        await one.open()
        tell(f"{len(one.askers):,} terminals signed in")
        found: dict[str, Any] = {"drill": "overload", "terminals": len(one.askers)}
        if order.hostile:
            found |= await beside_hostile(one, tell)
        found |= await ramp(one, tell)
        one.close()
    finally:
        await asyncio.to_thread(crew.stop)
    files = canary.report(yard.directory)
    passed = found["goodput_ratio"] >= GOODPUT_MIN and found.get("hostile_ratio", 0.0) <= HOSTILE_MAX
    return {**found, "passed": passed and not files["sightings"], "canary": files}
