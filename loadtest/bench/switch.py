"""The switch beside a bare uvloop echo and a relay: throughput, CPU a message, latency, and what each feature costs.

All servers run at once, pinned to one core, and are loaded in turn, round after round, so that a busy moment of the
machine meets all alike; load, issuer host and echoing host are this process, pinned to the other core. CPU is that of
the server's process alone. Figures are medians over the rounds.
"""

import gc
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtest.bench.drive import Fleeting, Kept, Poll, Source
from loadtest.bench.ground import Ground, lay
from loadtest.bench.host import Host
from loadtest.bench.process import BenchFailed, Server, server, two_cores
from loadtest.bench.till import signed_in, tills
from loadtest.bench.tls import issue_certificate, trusting
from switch.wire.codec import codec_of
from switch.wire.profile import dialect_of
from switch.wire.roster import owner
from terminals.beside import free_ports
from terminals.device.dialogue import Line

WARM_S: Final = 0.3
BUSY: Final = 0.95
"""Share of its core that a saturated server uses; below it, what is measured is not the server."""
SHARES: Final = (25, 50, 75)
PARTS: Final = ("kept", "latency", "fleeting", "tls", "features", "workers")
FEATURES: Final = ("pos_mac", "network_mac", "pin", "card", "duplicates", "sync", "rows", "metrics")
SALES_A_SECOND_MAX: Final = 60_000
"""More than any switch here does: how many terminals' batches a run may fill."""
TURNS_OF_RATIO: Final = 3
"""Turns of echo, relay and switch for each turn of the other parts: where a machine's clock wanders by a third, the
quotient of two medians of five differs by a quarter from run to run, that of fifteen by a thirtieth."""


@dataclass(slots=True)
class Figures:
    """What the rounds of one server measured."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    def rate(self) -> float:
        return median(self.rates)

    def cpu(self) -> float:
        return median(self.cpu_us)

    def shown(self) -> dict[str, Any]:
        """Medians, and each round."""
        return {
            "per_s": round(self.rate()),
            "cpu_us": round(self.cpu(), 2),
            "server_busy": round(median(self.busy), 3),
            "other_core_busy": round(median(self.other), 3),
            "saturated": median(self.busy) >= BUSY,
            "rounds_cpu_us": [round(value, 2) for value in self.cpu_us],
        }


@dataclass(slots=True)
class Contender:
    """A server, its load, and what was measured."""

    server: Server
    load: Kept | Fleeting
    figures: Figures = field(default_factory=Figures)


def bench_switch(
    directory: Path,
    rounds: int = 5,
    seconds: float = 2.0,
    connections: int = 500,
    suite: str = "3des",
    parts: Iterable[str] = PARTS,
    told: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """All figures. `directory` is made for keys and journals, on the disk that is to be measured too; `parts` beyond
    "kept" may be left out; `told` hears what is going on. Raises BenchFailed."""
    server_core, other_core = two_cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {other_core})
    # The load makes no cycles worth collecting, and a collection would look like latency of the server's.
    gc.disable()
    try:
        bench = _Bench(directory, rounds, seconds, connections, suite, server_core, told)
        result = bench.kept("latency" in parts)
        if "fleeting" in parts:
            result["per_connection"] = bench.fleeting()
        if "tls" in parts:
            result["tls"] = bench.tls()
        if "features" in parts:
            result["features"] = bench.features()
        if "workers" in parts:
            result["workers"] = bench.workers()
        return result
    finally:
        gc.enable()
        os.sched_setaffinity(0, before)


class _Bench:
    """The settings of a run, and its parts."""

    def __init__(
        self, directory: Path, rounds: int, seconds: float, connections: int, suite: str, core: int,
        told: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.directory = directory
        self.rounds = rounds
        self.seconds = seconds
        self.connections = connections
        self.suite = suite
        self.core = core
        self.told = told
        self.poll = Poll()

    # the servers

    @contextmanager
    def bare(self, kind: str, *rest: str) -> Iterator[Server]:
        """An echo or a relay; the relay's host echoes in this process."""
        (port,) = free_ports(1)
        log = self.directory / f"{kind}.log"
        with ExitStack() as stack:
            arguments = [kind, str(port), *rest]
            listener = None
            if kind == "relay":
                listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                arguments.append(str(listener.getsockname()[1]))
            running = stack.enter_context(server(kind, port, "loadtest.bench.bare", arguments, self.core, log))
            if listener is not None:
                listener.settimeout(10.0)
                line = stack.enter_context(listener.accept()[0])
                line.setblocking(True)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.poll.add(line.fileno(), lambda number: line.sendall(line.recv(1 << 18)))
                stack.callback(self.poll.drop, line.fileno())
            running.wait_until_it_listens()
            yield running

    @contextmanager
    def switch(
        self, name: str, terminals: int, without: str = "", tls: tuple[Path, Path] | None = None, workers: int = 1
    ) -> Iterator[tuple[Ground, Server]]:
        """A switch with its issuer host in this process, signed on."""
        ground = lay(self.directory / name, terminals, self.suite, tls)
        log = self.directory / f"{name}.log"
        module, arguments = "switch.app.cli", ["serve", str(ground.config), "--workers", str(workers)]
        if without:
            module, arguments = "loadtest.bench.without", [without, str(ground.config)]
        with ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", ground.host_port)))
            listener.settimeout(20.0)
            running = stack.enter_context(server(name, ground.switch_port, module, arguments, self.core, log))
            host = Host(ground)
            for _ in range(workers):
                line = stack.enter_context(listener.accept()[0])
                line.setblocking(True)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.poll.add(line.fileno(), host.serve(line))
                stack.callback(self.poll.drop, line.fileno())
            running.wait_until_it_listens()
            yield ground, running

    # one measurement

    def measure(self, contender: Contender, seconds: float = 0.0) -> None:
        """Load one server for a while and add what it did to its figures."""
        load, turn = contender.load, self.poll.turn
        load.go()
        self._turn_for(WARM_S)
        cpu, own, answered, began = contender.server.cpu_s(), time.process_time(), load.answered, time.perf_counter()
        end = began + (seconds or self.seconds)
        while time.perf_counter() < end:
            turn()
        wall = time.perf_counter() - began
        used = contender.server.cpu_s() - cpu
        count, own = load.answered - answered, time.process_time() - own
        load.stop()
        if load.refused:
            raise BenchFailed(f"{contender.server.name}: {load.refused} answers are not what they should be")
        if not count:
            raise BenchFailed(f"{contender.server.name} answers nothing")
        figures = contender.figures
        figures.rates.append(count / wall)
        figures.cpu_us.append(used / count * 1e6)
        figures.busy.append(used / wall)
        figures.other.append(own / wall)

    def _turn_for(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.poll.turn()

    def alternate(self, contenders: list[Contender], rounds: int = 0) -> None:
        """Every server in turn, round after round; the first turn of each only warms it up."""
        for contender in contenders:
            self.measure(contender, 0.7)
            contender.figures = Figures()
        for number in range(rounds or self.rounds):
            self.told(f"round {number + 1}: {', '.join(c.server.name for c in contenders)}")
            for contender in contenders:
                self.measure(contender)

    def terminals(self, seconds: float) -> int:
        """How many terminals' batches the sales of so many seconds fill at the most."""
        return max(self.connections, int(seconds * SALES_A_SECOND_MAX / 900) // self.connections * self.connections)

    def approving(self, ground: Ground, load: Kept | Fleeting, source: Source) -> None:
        """Make one sale, and have the load know an approval by it. BenchFailed where none comes."""
        codec, framing = codec_of(dialect_of(ground.pos)), Line(ground.pos).framing
        end = time.monotonic() + 10.0
        while True:
            with socket.create_connection(("127.0.0.1", ground.switch_port)) as line:
                line.settimeout(0.05)
                line.sendall(source())
                data = b""
                while not data:
                    self.poll.turn(0.01)
                    try:
                        data = line.recv(4096)
                    except TimeoutError:
                        if time.monotonic() > end:
                            raise BenchFailed("a sale is not answered") from None
            body = framing.unwrap(data).body
            message = codec.decode(body)
            if message.fields[39] == "00":
                break
            if time.monotonic() > end:
                raise BenchFailed(f"a sale is answered with {message.fields[39]}")
        other = codec.encode(message.mti, {**message.fields, 39: "9Z"})
        at = next(n for n, (one, two) in enumerate(zip(body, other, strict=True)) if one != two) + len(data) - len(body)
        load.mark, load.good = slice(at, at + 2), b"00"

    # the parts

    def kept(self, latency: bool) -> dict[str, Any]:
        """Connections that stay, one request under way on each."""
        n = self.connections
        rounds = TURNS_OF_RATIO * self.rounds
        seconds = (rounds + 1) * (self.seconds + 1.0) + (len(SHARES) * 2 * self.seconds if latency else 0.0)
        terminals = self.terminals(seconds)
        self.told(f"kept connections: {terminals} terminals sign in")
        with ExitStack() as stack:
            echo = stack.enter_context(self.bare("echo"))
            relay = stack.enter_context(self.bare("relay"))
            ground, switch = stack.enter_context(self.switch("switch", terminals))
            sources = tills(signed_in(ground, ground.fleet[:terminals]), Line(ground.pos), n)
            frame = sources[0]()
            loads = [Kept(self.poll, s.port, [lambda: frame] * n) for s in (echo, relay)]
            loads.append(Kept(self.poll, switch.port, sources))
            for load in loads:
                stack.callback(load.close)
            self.approving(ground, loads[2], sources[0])
            contenders = [Contender(s, load) for s, load in zip((echo, relay, switch), loads, strict=True)]
            self.alternate(contenders, rounds)
            first, second, third = (contender.figures for contender in contenders)
            result: dict[str, Any] = {
                "echo_per_s": round(first.rate()),
                "relay_per_s": round(second.rate()),
                "authorizations_per_s": round(third.rate()),
                "cpu_us_per_echo": round(first.cpu(), 2),
                "cpu_us_per_relay": round(second.cpu(), 2),
                "cpu_us_per_authorization": round(third.cpu(), 2),
                "ratio": round(third.cpu() / first.cpu(), 2),
                "connections": n,
                "rounds": rounds,
                "seconds": self.seconds,
                "suite": self.suite,
                "request_bytes": len(frame),
                "switch_rss_mib": round(switch.rss_mib(), 1),
                "echo": first.shown(),
                "relay": second.shown(),
                "switch": third.shown(),
            }
            if latency:
                result["latency"] = self.latency(contenders[1:], third.rate())
            return result

    def latency(self, contenders: list[Contender], top: float) -> list[dict[str, Any]]:
        """Percentiles in milliseconds at shares of the top rate; what the switch adds to the relay's."""
        rows = []
        for share in SHARES:
            self.told(f"latency at {share} % of {top:.0f} a second")
            row: dict[str, Any] = {"share": share, "per_s": round(top * share / 100)}
            for contender in contenders:
                load = contender.load
                if not isinstance(load, Kept):
                    raise TypeError("open loop runs on kept connections")
                row[contender.server.name] = _percentiles(load.paced(top * share / 100, self.seconds))
            row["added"] = {p: round(row["switch"][p] - row["relay"][p], 3) for p in row["switch"]}
            rows.append(row)
        return rows

    def fleeting(self) -> dict[str, Any]:
        """A connection for each transaction."""
        n = self.connections
        with ExitStack() as stack:
            echo = stack.enter_context(self.bare("echo"))
            ground, switch = stack.enter_context(self.switch("fleeting", n * 2))
            sources = tills(signed_in(ground, ground.fleet[: n * 2]), Line(ground.pos), n)
            frame = sources[0]()
            loads = [Fleeting(self.poll, echo.port, [lambda: frame] * n), Fleeting(self.poll, switch.port, sources)]
            self.approving(ground, loads[1], sources[0])
            return self._pair([Contender(s, load) for s, load in zip((echo, switch), loads, strict=True)])

    def tls(self) -> dict[str, Any]:
        """Kept connections under TLS 1.3."""
        n = self.connections
        terminals = self.terminals((self.rounds + 1) * (self.seconds + 1.0) / 2)
        cert, key = issue_certificate(self.directory)
        with ExitStack() as stack:
            echo = stack.enter_context(self.bare("echo", str(cert), str(key)))
            ground, switch = stack.enter_context(self.switch("tls", terminals, tls=(cert, key)))
            context = trusting(cert)
            sources = tills(signed_in(ground, ground.fleet[:terminals], context), Line(ground.pos), n)
            frame = sources[0]()
            loads = [
                Kept(self.poll, echo.port, [lambda: frame] * n, context),
                Kept(self.poll, switch.port, sources, context),
            ]
            for load in loads:
                stack.callback(load.close)
            return self._pair([Contender(s, load) for s, load in zip((echo, switch), loads, strict=True)])

    def _pair(self, contenders: list[Contender]) -> dict[str, Any]:
        self.alternate(contenders)
        echo, switch = (contender.figures for contender in contenders)
        return {
            "echo_per_s": round(echo.rate()),
            "authorizations_per_s": round(switch.rate()),
            "cpu_us_per_echo": round(echo.cpu(), 2),
            "cpu_us_per_authorization": round(switch.cpu(), 2),
            "ratio": round(switch.cpu() / echo.cpu(), 2),
            "echo": echo.shown(),
            "switch": switch.shown(),
        }

    def workers(self) -> dict[str, Any]:
        """A switch in one process and one in two, all on one core, so that both commit as many rows at a time; kept
        connections, each with terminals of one worker."""
        n = self.connections
        terminals = self.terminals((self.rounds + 1) * (self.seconds + 1.0))
        with ExitStack() as stack:
            contenders, parts = [], []
            for of in (1, 2):
                self.told(f"{of} workers: {terminals} terminals sign in")
                ground, switch = stack.enter_context(self.switch(f"workers_{of}", terminals, workers=of))
                parts = [
                    [one for one in ground.fleet[:terminals] if owner(one.mid, of) == place] for place in range(of)
                ]
                sources = []
                for part in parts:
                    mine = tills(signed_in(ground, part), Line(ground.pos), max(1, round(n * len(part) / terminals)))
                    sources += mine
                    if part is parts[0]:
                        first = mine[0]
                load = Kept(self.poll, switch.port, sources)
                stack.callback(load.close)
                self.approving(ground, load, first)
                if of > 1:
                    switch.take_in(*(one["pid"] for one in switch.ask(ground.control)["workers"]))
                contenders.append(Contender(switch, load))
            self.alternate(contenders)
            one, two = (contender.figures for contender in contenders)
            answered = [worker["authorizations"] for worker in switch.ask(ground.control)["workers"]]
            return {
                "cpu_us_one": round(one.cpu(), 2),
                "cpu_us_two": round(two.cpu(), 2),
                "ratio": round(two.cpu() / one.cpu(), 3),
                "shares": [round(count / sum(answered), 4) for count in answered],
                "merchants": [len({terminal.mid for terminal in part}) for part in parts],
                "one": one.shown(),
                "two": two.shown(),
            }

    def features(self) -> dict[str, Any]:
        """CPU a message with one feature taken out, and so what it costs: the whole switch is measured before each, as
        a busy moment of the machine is longer than a measurement."""
        n = self.connections
        seconds = self.seconds / 2
        turns = (self.rounds + 1) * (seconds + 1.0)
        most, each = self.terminals(turns * len(FEATURES)), self.terminals(turns)
        with ExitStack() as stack:
            contenders = []
            for feature in ("nothing", *FEATURES):
                self.told(f"a switch without {feature}")
                count = most if feature == "nothing" else each
                ground, switch = stack.enter_context(self.switch(f"without_{feature}", count, feature))
                sources = tills(signed_in(ground, ground.fleet[:count]), Line(ground.pos), n)
                load = Kept(self.poll, switch.port, sources)
                stack.callback(load.close)
                if feature != "network_mac":
                    self.approving(ground, load, sources[0])
                contenders.append(Contender(switch, load))
            whole, *others = contenders
            for contender in contenders:
                self.measure(contender, 0.7)
                contender.figures = Figures()
            for number in range(self.rounds):
                self.told(f"round {number + 1}: the whole switch before each of {len(others)}")
                for contender in others:
                    self.measure(whole, seconds)
                    self.measure(contender, seconds)
        return _costs(whole.figures.cpu_us, [contender.figures.cpu_us for contender in others])


def _costs(whole: list[float], others: list[list[float]]) -> dict[str, Any]:
    """What each feature costs: the median of its differences. `whole` has been measured before each of the others in
    turn, `others` by feature and round."""
    rows = {"nothing": {"cpu_us": round(median(whole), 2), "costs_us": 0.0}}
    for place, (feature, rounds) in enumerate(zip(FEATURES, others, strict=True)):
        saved = [before - after for before, after in zip(whole[place :: len(FEATURES)], rounds, strict=True)]
        rows[feature] = {"cpu_us": round(median(rounds), 2), "costs_us": round(median(saved), 2)}
    return rows


def _percentiles(latencies: list[float]) -> dict[str, float]:
    """p50, p99 and p99.9 in milliseconds."""
    ordered = sorted(latencies)
    last = len(ordered) - 1
    shares = (("p50_ms", 0.5), ("p99_ms", 0.99), ("p99.9_ms", 0.999))
    return {name: round(ordered[int(last * share)] * 1e3, 3) for name, share in shares}
