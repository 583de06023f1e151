"""`drill lines`: the lines between the switch and its counterparts cut, delayed, doubled, swapped, flipped, swallowed.

Before each counterpart stands a `shoudan proxy`, told over its control port what to do.
"""

import contextlib
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from scenarios.drill.held import Drill, Result, Tell
from scenarios.drill.yard import Yard, gated


class Trouble(NamedTuple):
    """One way for a line to fail: commands to the proxy, and whether it is cut when the trouble ends."""

    name: str
    commands: tuple[str, ...]
    cut_after: bool = False


TROUBLES: Final = (
    Trouble("cut", ("cut",)),
    Trouble("down", ("set it refuse", "cut")),
    Trouble("answers swallowed", ("set it blackhole:down",)),
    Trouble("requests swallowed", ("set it blackhole:up",)),
    Trouble("half-open, then cut", ("set it blackhole:both",), True),
    Trouble("slow", ("set it latency:both,ms=200,jitter=300",)),
    Trouble("narrow", ("set it bandwidth:both,bps=6000",)),
    Trouble("sliced", ("set it slice:both,bytes=11,ms=1",)),
    Trouble("answers lost", ("set it drop:down,every=4",)),
    Trouble("requests lost", ("set it drop:up,every=4",)),
    Trouble("answers doubled", ("set it duplicate:down,every=2,times=3",)),
    Trouble("requests doubled", ("set it duplicate:up,every=2,times=2",)),
    Trouble("answers swapped", ("set it swap:down,every=3",)),
    Trouble("bits of answers flipped", ("set it flip:down,every=5",)),
    Trouble("bits of requests flipped", ("set it flip:up,every=5",)),
    Trouble("reset in the middle", ("set it reset:both,every=25",)),
)
"""Each is in force for a while on one line, then ends."""


class Gate:
    """A proxy before one counterpart, and the way to tell it what to do."""

    def __init__(self, drill: Drill, name: str, port: int, control: int, to: int, seed: int) -> None:
        directory = drill.yard.directory
        self.name = name
        self.control = control
        self.figures = directory / f"gate-{name}.json"
        drill.crew.start(
            f"gate-{name}",
            [
                sys.executable, "-m", "switch.app.cli", "proxy", "--listen", f"127.0.0.1:{port}",
                "--to", f"127.0.0.1:{to}", "--profile", str(drill.counter(name).profile),
                "--control", f"127.0.0.1:{control}", "--seed", str(seed), "--json", str(self.figures),
            ],
        )  # fmt: skip
        drill.crew.await_port(f"gate-{name}", "127.0.0.1", control)

    def tell(self, *commands: str) -> None:
        """Give commands; what it says is of no interest but for an error, which is an OSError."""
        with socket.create_connection(("127.0.0.1", self.control), 5.0) as line, line.makefile("rwb") as talk:
            for command in commands:
                talk.write(command.encode() + b"\n")
                talk.flush()
                answer = talk.readline()
                if not answer.startswith(b"ok"):
                    raise OSError(f"proxy before {self.name}: {answer.decode(errors='replace').strip()}")


def hold(yard: Yard, rounds: int, rate: float, pause_s: float, seed: int, tell: Tell) -> Result:
    """Trouble one line after another `rounds` times, for `pause_s` on average; then judge."""
    yard, ports = gated(yard)
    drill = Drill(yard, rate, seed, tell)
    with contextlib.ExitStack() as open_:
        open_.callback(drill.crew.stop)
        gates = [
            Gate(drill, one.name, *ports[one.name], one.port, seed + number) for number, one in enumerate(yard.counters)
        ]
        open_.enter_context(drill.everything())
        order: list[Trouble] = []
        for number in range(1, rounds + 1):
            time.sleep(pause_s)
            if not order:
                order = list(TROUBLES)
                drill.draw.shuffle(order)
            trouble, gate = order.pop(), drill.draw.choice(gates)
            begin = time.monotonic()
            gate.tell(*trouble.commands)
            time.sleep(pause_s * (0.5 + drill.draw.random()))
            gate.tell(*(command for command in ("clear it",) if "set it" in trouble.commands[0]))
            if trouble.cut_after:
                gate.tell("cut")
            restart = time.monotonic()
            own = drill.counter(gate.name).own
            window = drill.window(trouble.name, begin, restart, [own] if len(gates) > 1 else [])
            took = "no answer" if window.recovery_s is None else f"answers after {window.recovery_s:.2f} s"
            tell(f"round {number} of {rounds}: {gate.name}: {trouble.name}, {took}")
        time.sleep(pause_s)
        result = drill.finish("lines", rounds)
    result.more = {"proxies": {gate.name: _figures(gate.figures) for gate in gates}}
    result.availability_min = 0.999
    return result


def _figures(path: Path) -> dict[str, Any]:
    """What a proxy wrote at its end."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text())
    return found
