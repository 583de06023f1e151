"""What a generator gives on one core: full mode, lean mode, Locust; each beside a bare echo client of its kind.

All run against a host that says yes, pinned to the other core. What counts is CPU time of the generator alone: a rate
"a second and core" is how many it would do if it had a core to itself. Rounds alternate; figures are medians.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import uvloop

from loadtest.bench.process import BenchFailed, server, two_cores
from loadtest.open.arrivals import Curve
from loadtest.open.mix import read_mix
from loadtest.open.run import Order, Ready, at_rate, play
from switch.wire.profile import PosProfile, load_profile
from terminals.beside import free_ports
from terminals.own import own_terminals, read_transport_keys

GOALS: Final = {"full": 3_000, "lean": 25_000, "locust": 3_000}
"""Online taps a second and core."""
RATES: Final = {"full": 4_000.0, "lean": 25_000.0}
"""What is offered while it is measured: more than it can, the rest is skipped."""
TERMINALS: Final = 200
CARDS: Final = 256
"""Few enough that their keys stay at hand, as those of a terminal's neighbourhood do."""
CONNECTIONS: Final = 50
USERS: Final = 100
SEED: Final = 7
WARM_S: Final = 1.0
_FRAME: Final = b"\x01\x2c" + bytes(300)


class _Echo(asyncio.Protocol):
    """A bare client: what it sent has come back, it sends again."""

    def __init__(self, counted: list[int]) -> None:
        self._counted = counted
        self._left = len(_FRAME)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_FRAME)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if not self._left:
            self._left = len(_FRAME)
            self._counted[0] += 1
            self._transport.write(_FRAME)

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()


async def _bare(port: int, seconds: float) -> float:
    """CPU seconds of one exchange of a bare client on uvloop."""
    loop, counted = asyncio.get_running_loop(), [0]
    clients = [(await loop.create_connection(lambda: _Echo(counted), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    await asyncio.sleep(0.2)
    done, cpu = counted[0], time.process_time()
    await asyncio.sleep(seconds)
    taken = (time.process_time() - cpu) / max(1, counted[0] - done)
    for client in clients:
        client.close()
    return taken


def _ground(directory: Path, terminals: int) -> None:
    """Keys and terminals as a house has them, half of them with a field."""
    date = time.strftime("%m%d")
    command = [sys.executable, "-m", "loadtest.stage", str(directory), str(terminals * 2), str(SEED), date, "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"the ground could not be laid: {done.stderr.strip().splitlines()[-1:]}")
    (directory / "load.json").write_text(json.dumps(json.loads(done.stdout) | {"seed": SEED}))


def _order(ground: Path, mode: str, seconds: float) -> Order:
    profile = load_profile(ground / "profile-pos.toml")
    assert isinstance(profile, PosProfile)
    keys = read_transport_keys(ground / "transport-keys.csv")
    terminals = own_terminals(ground / "terminals.csv", keys, profile.suites)
    terminals = [one for one in terminals if "contactless" in one.capabilities]
    rate, told = RATES[mode], json.loads((ground / "load.json").read_text())
    return Order(
        host="127.0.0.1", port=told["port"], profile=profile, terminals=terminals, mode=mode, mix=read_mix("sale=1"),
        curve=Curve(((0.0, rate), (seconds, rate))), seed=SEED, cards_per_issuer=told["cards_per_issuer"], jtl_every=0,
        cards=CARDS,
    )  # fmt: skip


async def _warm_and_measured(order: Order) -> dict[str, Any]:
    """The figures of a run after a short one that warms code and cards."""
    ready = Ready(order)
    await ready.enter(at_rate(order, 100.0, WARM_S))  # saturation is what `enter` would refuse
    await play(at_rate(order, 1000.0, WARM_S), None, ready=ready)
    return await play(order, None, ready=ready)


def _locust(what: str, where: str, count: int, seconds: float, core: int) -> float:
    """CPU seconds of one exchange, measured in a process of its own on `core`."""
    command = [sys.executable, "-m", "loadtest.locusts.measured", what, where, str(count), str(seconds)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    if done.returncode:
        raise BenchFailed(f"Locust's side failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    told = json.loads(done.stdout.splitlines()[-1])
    if not told["done"] or told["failed"]:
        raise BenchFailed(f"Locust's side: {told['done']} done, {told['failed']} failed")
    return float(told["cpu_s"] / told["done"])


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bench_loadgen(
    directory: Path, rounds: int = 3, seconds: float = 3.0, terminals: int = TERMINALS,
    told: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:  # fmt: skip
    """All figures; `directory` is made for keys. Raises BenchFailed."""
    host_core, own_core = two_cores()
    ground = directory / "ground"
    _ground(ground, terminals)
    (port,) = free_ports(1)
    answering = json.loads((ground / "load.json").read_text())["port"]
    taken: dict[str, list[float]] = {name: [] for name in ("full", "lean", "echo", "locust", "locust_echo")}
    late: dict[str, list[float]] = {"full": [], "lean": []}
    with ExitStack() as stack:
        log = directory / "hosts.log"
        for name, at, module, arguments in (
            ("host", answering, "loadtest.bench.answering", [str(ground)]),
            ("echo", port, "loadtest.bench.bare", ["echo", str(port)]),
        ):
            stack.enter_context(server(name, at, module, arguments, host_core, log)).wait_until_it_listens()
        stack.enter_context(_pinned(own_core))
        for number in range(rounds):
            told(f"round {number + 1} of {rounds}")
            for mode in ("full", "lean"):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    figures = runner.run(_warm_and_measured(_order(ground, mode, seconds)))
                if not figures["sent"] or figures["failed_share"] > 0.001:
                    raise BenchFailed(f"{mode}: {figures['sent']} sent, failures {figures['failures']}")
                taken[mode].append(figures["generator_cpu_s"] / figures["sent"])
                late[mode].append(figures["late_ms"]["p99"])
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                taken["echo"].append(runner.run(_bare(port, seconds / 2)))
            taken["locust"].append(_locust("taps", str(ground), USERS, seconds, own_core))
            taken["locust_echo"].append(_locust("echo", str(port), USERS, seconds / 2, own_core))
    us = {name: round(median(values) * 1e6, 2) for name, values in taken.items()}
    return {
        "cpu_us": us,
        "per_s_and_core": {name: round(1e6 / value) for name, value in us.items()},
        "late_p99_ms": {mode: round(median(values), 3) for mode, values in late.items()},
        "goals": dict(GOALS), "rounds": rounds, "seconds": seconds, "offered": dict(RATES),
    }  # fmt: skip
