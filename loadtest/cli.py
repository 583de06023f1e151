"""`shoudan bench`: the benchmarks on the command line."""

import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from loadtest.bench.codec import bench_codec
from loadtest.bench.fleet import HSM_OPS, bench_fleet, missed
from loadtest.bench.loadgen import GOALS, bench_loadgen
from loadtest.bench.process import BenchFailed
from loadtest.bench.show import fleet_table, switch_tables
from loadtest.bench.switch import PARTS, bench_switch
from loadtest.cards import MILLION, bench_cards
from switch.wire.errors import WireError
from terminals.beside import HostFailed
from terminals.cli import JsonTo, write_json
from terminals.limits import Impossible

bench = typer.Typer(help="Measure the hot rooms beside what they are compared with.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this room's subcommands to the `shoudan` command."""
    app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Measure the hot rooms beside what they are compared with."""


@bench.command("codec")
def codec(
    json_to: JsonTo = "",
    rounds: Annotated[int, typer.Option(min=3, help="Times taken per figure.")] = 101,
) -> None:
    """Decode, encode and route two messages: this codec beside pyiso8583."""
    figures = bench_codec(rounds)
    write_json(figures, json_to)
    if json_to != "-":
        Console().print(_table(figures))


@bench.command("loadgen")
def loadgen(
    json_to: JsonTo = "",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that alternate between the generators.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each runs in a round.")] = 3.0,
) -> None:
    """Load generators on one core: full mode, lean mode, Locust, each beside a bare echo client of its kind.

    Exit codes: 0 every goal is reached, 1 one is missed, or nothing could be measured.
    """
    told = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="shoudan-bench-") as place:
            figures = bench_loadgen(Path(place), rounds, seconds, told=lambda text: told.print(text, style="dim"))
    except (BenchFailed, OSError) as error:
        told.print(f"bench loadgen: {error}")
        raise typer.Exit(1) from None
    write_json(figures, json_to)
    if json_to != "-":
        table = Table(title="Load generators, one core")
        for column in ("generator", "CPU us", "a second and core", "goal"):
            table.add_column(column, justify="left" if column == "generator" else "right")
        for name, rate in figures["per_s_and_core"].items():
            goal = f"{GOALS[name]:,}" if name in GOALS else ""
            table.add_row(_GENERATORS[name], f"{figures['cpu_us'][name]:g}", f"{rate:,}", goal)
        Console().print(table)
    if any(figures["per_s_and_core"][name] < goal for name, goal in GOALS.items()):
        raise typer.Exit(1)


@bench.command("fleet")
def fleet(
    json_to: JsonTo = "",
    profile: Annotated[str, typer.Option(metavar="NAME|FILE", help="The fleet.")] = "anhui-2015",
    terminals: Annotated[int, typer.Option(min=0, help="Scaled down to so many; 0: all of them.")] = 0,
    hsm_ops: Annotated[int, typer.Option(min=1, help="Operations a second of the HSM in the last storm.")] = HSM_OPS,
    directory: Annotated[
        Path, typer.Option(help="Where keys and journals of the run are written, and removed.")
    ] = Path("."),
) -> None:
    """A province as rows: its memory and its switch's, the sign-in storm, a switch started again, a slow HSM.

    Exit codes: 0 every goal is reached, 1 one is missed, 2 this machine cannot give it.
    """
    told = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="shoudan-bench-", dir=directory) as place:
            figures = bench_fleet(
                Path(place), profile, terminals, hsm_ops, lambda text: told.print(text, style="dim", highlight=False)
            )
    except (Impossible, HostFailed, WireError, OSError) as error:
        told.print(f"bench fleet: {error}", markup=False)
        raise typer.Exit(2) from None
    write_json(figures, json_to)
    if json_to != "-":
        Console().print(fleet_table(figures))
    for goal in missed(figures):
        told.print(f"missed: {goal}")
    raise typer.Exit(1 if missed(figures) else 0)


_GENERATORS: Final = {
    "full": "full mode: card and kernel in every tap",
    "lean": "lean mode: taps prepared before the run",
    "echo": "bare echo client on uvloop",
    "locust": "Locust: TapUser",
    "locust_echo": "bare echo client on greenlets",
}


@bench.command("switch")
def switch(
    json_to: JsonTo = "",
    rounds: Annotated[int, typer.Option(min=1, help="Turns each server has; three times as many for the ratio.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.2, help="How long a turn lasts.")] = 2.0,
    connections: Annotated[int, typer.Option(min=1, max=10_000, help="Connections to the server.")] = 500,
    suite: Annotated[str, typer.Option(help="3des or sm4: keys of terminals and line.")] = "3des",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help=f"Of {', '.join(PARTS[1:])}, this one only; again for more."),
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Where the journals of the run are written, and removed: on the disk to be measured.")
    ] = Path("."),
) -> None:
    """The switch at saturation beside a bare echo and a relay: CPU a message, rates, latency, cost of features.

    Needs two cores: the server has one to itself, load and hosts have the other. About six minutes.
    """
    if suite not in ("3des", "sm4") or not set(only or ()) <= set(PARTS):
        raise typer.BadParameter(f"--suite is 3des or sm4, --only one of {', '.join(PARTS)}")
    told = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="shoudan-bench-", dir=directory) as place:
            figures = bench_switch(
                Path(place), rounds, seconds, connections, suite, PARTS if only is None else only,
                lambda text: told.print(text, style="dim"),
            )  # fmt: skip
    except (BenchFailed, OSError) as error:
        told.print(f"bench switch: {error}")
        raise typer.Exit(1) from None
    write_json(figures, json_to)
    if json_to != "-":
        for table in switch_tables(figures):
            Console().print(table)


@bench.command("cards")
def cards(
    json_to: JsonTo = "",
    rounds: Annotated[int, typer.Option(min=1, help="Times taken per figure.")] = 15,
    loops: Annotated[int, typer.Option(min=5, help="Transactions per time.")] = 200,
    states: Annotated[int, typer.Option(min=1, help="Cards whose memory is weighed.")] = MILLION,
    gmssl: Annotated[bool, typer.Option(help="Measure SM2 with gmssl alone too.")] = True,
) -> None:
    """Card and kernel on one core, no network: transactions a second, and what a million cards' states take.

    Exit codes: 0 every goal is reached, 1 one is missed.
    """
    figures = bench_cards(rounds, loops, states, with_gmssl=gmssl)
    write_json(figures, json_to)
    if json_to != "-":
        Console().print(_cards_table(figures))
    if any(figures["per_second"][scene] < goal for scene, goal in figures["goals"].items()):
        raise typer.Exit(1)


_SCENES: Final = {
    "contact_online": "contact, online, no offline data authentication",
    "tap_online": "tap, online",
    "tap_fdda_rsa": "tap, fDDA with RSA ({rsa}), card seen before",
    "tap_fdda_rsa_new": "tap, fDDA with RSA ({rsa}), new card",
    "tap_fdda_sm2": "tap, fDDA with SM2 ({sm2}), card seen before",
    "tap_fdda_sm2_new": "tap, fDDA with SM2 ({sm2}), new card",
}


def _cards_table(figures: dict[str, Any]) -> Table:
    table = Table(title=f"Card and kernel, one core (Python {figures['python']})")
    for column in ("transaction", "a second", "goal"):
        table.add_column(column, justify="left" if column == "transaction" else "right")
    for scene, text in _SCENES.items():
        goal = figures["goals"].get(scene)
        table.add_row(text.format(**figures), f"{figures['per_second'][scene]:,}", f"{goal:,}" if goal else "")
    for scene, rate in figures["gmssl_per_second"].items():
        table.add_row(_SCENES[scene].format(sm2="gmssl alone"), f"{rate:,}", "")
    table.add_section()
    table.add_row(f"{figures['states']:,} card states", f"{figures['states_mib']:g} MiB", "")
    return table


def _table(figures: dict[str, Any]) -> Table:
    title = f"Codec, microseconds a message (Python {figures['python']}, pyiso8583 {figures['pyiso8583']})"
    table = Table(title=title)
    for column in ("message", "task", "shoudan", "pyiso8583", "ratio", "required"):
        table.add_column(column, justify="left" if column in ("message", "task") else "right")
    for name, dialect in figures["dialects"].items():
        for task, required in figures["required"].items():
            times = dialect["us"][task]
            table.add_row(
                f"{name} 0200, {dialect['fields']} fields, {dialect['bytes']} bytes",
                task,
                f"{times['shoudan']:.2f}",
                f"{times['pyiso8583']:.2f}",
                f"{dialect[task]:.1f}",
                f"{required:g}",
            )
        table.add_section()
    return table
