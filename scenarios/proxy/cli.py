"""`shoudan proxy`: faults on purpose, between a terminal, a switch or a network and whoever it talks to."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scenarios.proxy.control import Step, follow, read_schedule, serve
from scenarios.proxy.faults import FaultError, read_fault
from scenarios.proxy.relay import Proxy
from switch.app.config import ConfigError, host_and_port, profile_for
from switch.app.serve import run_loop
from switch.net.listen import connections_max
from switch.wire.framing import Framing
from switch.wire.profile import framing_of
from terminals.cli import write_json

RAW = "raw"


def proxy(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where it listens.")],
    to: Annotated[str, typer.Option(metavar="HOST:PORT", help="Whom it stands before.")],
    profile: Annotated[
        str, typer.Option(help="Profile whose framing the link has, by name or file; raw: bytes, not frames.")
    ] = "unionpay-pos",
    fault: Annotated[
        list[str], typer.Option(metavar="FAULT", help="A fault in force from the start; may be given many times.")
    ] = [],  # noqa: B006
    schedule: Annotated[Path | None, typer.Option(metavar="FILE", help="What happens at which second.")] = None,
    again: Annotated[float, typer.Option(min=0, help="Begin the schedule anew every so many seconds; 0: never.")] = 0.0,
    control: Annotated[str, typer.Option(metavar="HOST:PORT", help="Take commands here, one a line.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed and frames, the same faults.")] = 1,
    seconds: Annotated[float, typer.Option(min=0, help="End after so long; 0: at SIGINT or SIGTERM.")] = 0.0,
    json_to: Annotated[
        str, typer.Option("--json", metavar="FILE|-", help="Write at the end what it did, as JSON.")
    ] = "",
) -> None:
    """Stand before a host and break things on purpose, frame by frame (故障代理).

    A fault is KIND[:up|down|both][,KEY=VALUE...]; kinds: latency, bandwidth, slice, blackhole, refuse, drop, duplicate,
    swap, flip, reset. `up` is towards the host.

    Exits 0 at its end, 2 for bad usage.
    """
    try:
        here, there = host_and_port(listen), host_and_port(to)
        ordered = host_and_port(control) if control else None
        framing = None if profile == RAW else framing_of(profile_for(profile, Path.cwd()))
        faults = [(f"fault-{number}", read_fault(text)) for number, text in enumerate(fault, 1)]
        steps = read_schedule(schedule) if schedule else []
    except FaultError as error:
        raise ConfigError(str(error)) from None
    one = _Order(here, there, framing, faults, steps, again, ordered, seed, seconds)
    made: list[dict[str, Any]] = []
    run_loop(_run(one, made.append))
    console = Console(stderr=json_to == "-", highlight=False)
    _show(made[0], console)
    write_json(made[0], json_to)


class _Order:
    """What was asked for."""

    def __init__(
        self, here: tuple[str, int], there: tuple[str, int], framing: Framing | None, faults: list[Any],
        steps: list[Step], again_s: float, control: tuple[str, int] | None, seed: int, seconds: float,
    ) -> None:  # fmt: skip
        self.here, self.there, self.framing, self.faults = here, there, framing, faults
        self.steps, self.again_s, self.control, self.seed, self.seconds = steps, again_s, control, seed, seconds


async def _run(order: _Order, tell: Any) -> int:
    connections_max()
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    relay = Proxy(*order.there, order.framing, order.seed)
    for name, fault in order.faults:
        relay.active.set(name, fault)
    server = None
    try:
        await relay.listen(*order.here)
        if order.control:
            server = await serve(relay, *order.control, over.set)
    except OSError as error:
        await relay.close()
        raise ConfigError(f"cannot listen: {error.strerror or error}") from None
    follower = loop.create_task(follow(relay, order.steps, order.again_s))
    if order.seconds:
        loop.call_later(order.seconds, over.set)
    await over.wait()
    follower.cancel()
    if server is not None:
        server.close()
    tell(relay.as_dict())
    await relay.close()
    return 0


def _show(data: dict[str, Any], console: Console) -> None:
    """What it did, for people."""
    connections = data["connections"]
    console.print(
        f"connections: {connections['accepted']:,} accepted, {connections['refused']:,} refused, "
        f"{connections['unreachable']:,} host not reached, {connections['reset']:,} reset"
    )
    for way in ("up", "down"):
        counts = data[way]
        console.print(
            f"{way}: {counts['frames_in']:,} frames came, {counts['frames_out']:,} went on, "
            f"{counts['swallowed']:,} swallowed; {counts['bytes_in']:,} bytes, {counts['unframed']:,} of them no frames"
        )
    for kind, fired in data["faults"].items():
        console.print(f"{kind}: {fired['up']:,} up, {fired['down']:,} down")


def register(app: typer.Typer) -> None:
    """Add `shoudan proxy`."""
    app.command()(proxy)
