"""`drill storm`: all terminals of a district lose their host and come back at once: connect, sign in, everybody now."""

import asyncio
import contextlib
import resource
import time
from typing import Any, Final

from scenarios.drill import canary
from scenarios.drill.answers import quantile
from scenarios.drill.yard import START_S, SWITCH, Crew, DrillFailed, Yard
from switch.app.control import ask_control
from switch.net.listen import RESERVED_DESCRIPTORS, connections_max
from switch.wire.profile import PosProfile, load_profile
from terminals.device import pos
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.drive.aio import Session
from terminals.fleet import memory_of
from terminals.own import own_terminals, read_transport_keys

WITHIN_S: Final = 5.0
GIVE_UP_S: Final = 30.0
AGAIN_S: Final = 0.25


class Field:
    """Terminals of a yard, each with its memory and its way to the host, no connection yet."""

    def __init__(self, yard: Yard) -> None:
        profile = load_profile(yard.profile)
        if not isinstance(profile, PosProfile):
            raise DrillFailed(f"{yard.profile}: a terminals' profile is needed")
        self.line = Line(profile)
        keys = read_transport_keys(yard.transport_keys)
        fleet = own_terminals(yard.terminals, keys, profile.suites)
        most = connections_max()
        if len(fleet) > most:
            raise DrillFailed(
                f"{len(fleet)} terminals want as many connections, the descriptor limit allows {most}: ulimit -Hn"
            )
        self.sites = [(memory_of(one), Session(self.line, yard.host, yard.port)) for one in fleet]

    async def sign_in(self, at_once: int = 0) -> list[float]:
        """Everybody signs in, `at_once` side by side (0: all). Seconds from the beginning for each, infinite for those
        that gave up."""
        gate = asyncio.Semaphore(at_once or len(self.sites))
        begun = time.perf_counter()
        return await asyncio.gather(*(self._one(memory, session, gate, begun) for memory, session in self.sites))

    async def _one(self, memory: Memory, session: Session, gate: asyncio.Semaphore, begun: float) -> float:
        async with gate:
            while True:
                outcome = await session.run(pos.sign_in(memory, self.line), lambda asked: "")
                took = time.perf_counter() - begun
                if outcome.approved:
                    return took
                if took > GIVE_UP_S:
                    return float("inf")
                await asyncio.sleep(AGAIN_S)

    def leave(self) -> None:
        """Every connection is gone."""
        for _, session in self.sites:
            session.close()


async def storm(yard: Yard, crew: Crew, rounds: int, tell: Any) -> dict[str, Any]:
    """Sign everybody in gently, then `rounds` times: the switch is killed where we may, and all come back at once."""
    field = Field(yard)
    tell(f"{len(field.sites):,} terminals sign in, one after another")
    first = await field.sign_in(at_once=64)
    if all(one == float("inf") for one in first):
        raise DrillFailed("the host lets no terminal in")
    times: list[float] = []
    rows: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        begin = time.monotonic()
        if yard.command:
            crew.kill(SWITCH)
            field.leave()
            crew.start_switch()
            await asyncio.to_thread(crew.await_port, SWITCH, yard.host, yard.port, START_S)
        else:
            field.leave()
            await asyncio.sleep(1.0)
        up = time.monotonic()
        took = await field.sign_in()
        last = max(took)
        rows.append({
            "restart_s": round(up - begin, 3), "p50_s": round(quantile(took, 0.5), 3),
            "p99_s": round(quantile(took, 0.99), 3), "last_s": round(last, 3) if last < GIVE_UP_S else None,
            "late": sum(one > WITHIN_S for one in took),
        })  # fmt: skip
        times += took
        tell(f"storm {number} of {rounds}: half signed in after {rows[-1]['p50_s']} s, the last after {last:.2f} s")
    connects = sum(session.connects for _, session in field.sites)
    status = _status(yard)
    limits = _limits(yard, crew)
    field.leave()
    late = sum(row["late"] for row in rows)
    return {
        "drill": "storm", "passed": not late, "rounds": rounds, "terminals": len(field.sites), "lost": 0, "doubled": 0,
        "availability": round(1 - late / max(1, len(times)), 6), "signed_in_late": late, "within_s": WITHIN_S,
        "downtime_s": round(sum(row["restart_s"] for row in rows), 3),
        "recovery_s": {"p50": round(quantile(times, 0.5), 3), "p99": round(quantile(times, 0.99), 3)},
        "connects": connects, "storms": rows, **limits,
        "connections_refused": status.get("connections_refused"),
    }  # fmt: skip


def _status(yard: Yard) -> dict[str, Any]:
    """What our own switch says of itself."""
    status: dict[str, Any] = {}
    if yard.ours:
        with contextlib.suppress(OSError, ValueError):
            status = ask_control(yard.control(SWITCH), "status")
    return status


def _limits(yard: Yard, crew: Crew) -> dict[str, Any]:
    """The descriptor limit of the switch's process, and how many connections our own allows under it."""
    if not yard.command:
        return {"descriptor_limit": None, "connections_max": None}
    soft = resource.prlimit(crew.pid(SWITCH), resource.RLIMIT_NOFILE)[0]
    return {"descriptor_limit": soft, "connections_max": soft - RESERVED_DESCRIPTORS if yard.ours else None}


async def hold(yard: Yard, rounds: int, tell: Any) -> dict[str, Any]:
    """Start everything, let the storm come, stop everything, look for card numbers."""
    crew = Crew(yard)
    try:
        for one in yard.counters:
            crew.start_counter(one)
        for one in yard.counters:
            await asyncio.to_thread(crew.await_port, one.name, "127.0.0.1", one.port)
        crew.start_switch()
        await asyncio.to_thread(crew.await_port, SWITCH, yard.host, yard.port, START_S)
        result = await storm(yard, crew, rounds, tell)
    finally:
        await asyncio.to_thread(crew.stop)
    files = canary.report(yard.directory)
    return {**result, "passed": result["passed"] and not files["sightings"], "canary": files}
