"""`shoudan drill`: real processes killed, cut off, filled and flooded under load; afterwards the books are joined."""

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from scenarios.drill import canary, disk, kill, lines, overload, storm
from scenarios.drill.yard import DrillFailed, Wanted, Yard, make
from switch.app.config import ConfigError
from switch.app.serve import run_loop

PASSED, NOT_PASSED, COULD_NOT_RUN = 0, 1, 3
DIRECTORY: Final = Path("var/drill")

app = typer.Typer(no_args_is_help=True, help="Break things on purpose and join the books afterwards (演练).")

Rounds = Annotated[int, typer.Option(min=1, help="How often something is broken.")]
Terminals = Annotated[int, typer.Option(min=1, max=20_000, help="How many terminals.")]
Rate = Annotated[float, typer.Option(min=1, help="Customers a second at all terminals together.")]
Pause = Annotated[float, typer.Option(min=0.1, help="Seconds of trade between two rounds, on average.")]
Seed = Annotated[int, typer.Option(help="What is broken when; terminals and cards.")]
Dir = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the drill's files go.")]
Command = Annotated[str, typer.Option(metavar="CMD", help="Starts another switch than ours; killed and started again.")]
Host = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where that switch listens for terminals.")]
GroundDir = Annotated[
    Path | None,
    typer.Option("--ground", metavar="DIR", help="Its keys and terminals: shoudan sandwich --prepare DIR."),
]
JsonTo = Annotated[str, typer.Option("--json", metavar="FILE|-", help="Write everything as JSON.")]


@dataclass(frozen=True, slots=True)
class Told:
    """What all drills are told alike."""

    wanted: Wanted
    json_to: str
    console: Console

    def tell(self, text: str) -> None:
        self.console.print(text, style="dim", markup=False, soft_wrap=True)


def _told(
    terminals: int,
    seed: int,
    directory: Path,
    command: str,
    host: str,
    ground: Path | None,
    json_to: str,
    machines: int = 0,
) -> Told:
    wanted = Wanted(
        directory=directory.resolve(), terminals=terminals, machines=machines, seed=seed, command=command, host=host,
        ground=ground.resolve() if ground else None,
    )  # fmt: skip
    return Told(wanted, json_to, Console(stderr=json_to == "-", highlight=False))


def _hold(told: Told, act: Callable[[Yard], Mapping[str, Any]]) -> None:
    """Hold a drill, show what came of it, and end with the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside, a drill ends its processes too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        data = act(make(told.wanted))
    except DrillFailed as error:
        _could_not_run(str(error))
    except KeyboardInterrupt:
        _could_not_run("interrupted")
    _show(data, told.console)
    if told.json_to:
        text = json.dumps(data, ensure_ascii=False, indent=1)
        if told.json_to == "-":
            typer.echo(text)
        else:
            Path(told.json_to).write_text(text + "\n", encoding="utf-8")
    raise typer.Exit(PASSED if data["passed"] else NOT_PASSED)


def _could_not_run(reason: str) -> None:
    Console(stderr=True, highlight=False).print(f"shoudan: {reason}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(COULD_NOT_RUN)


@app.command("kill")
def kill_(
    rounds: Rounds = 20,
    terminals: Terminals = 200,
    rate: Rate = 60.0,
    pause: Pause = 1.5,
    seed: Seed = 1,
    stop: Annotated[
        float, typer.Option(min=0, help="Do not kill: stop (SIGSTOP) for so many seconds, then continue.")
    ] = 0.0,
    directory: Dir = DIRECTORY / "kill",
    command: Command = "",
    host: Host = "",
    ground: GroundDir = None,
    json_to: JsonTo = "",
) -> None:
    """Kill -9 switch, network centre, core or all terminals at random, under load, and start them again; or freeze one.

    Exits 0 if nothing was lost or doubled, no card number stands in a file, answers came within 3 s of a restart (p99)
    and 99.9 % of requests outside restarts were answered in time; 1 if not, 2 for bad usage, 3 if it could not be held.
    """
    told = _told(terminals, seed, directory, command, host, ground, json_to, max(2, terminals // 20))
    _hold(told, lambda yard: kill.hold(yard, rounds, rate, pause, seed, told.tell, stop).as_dict())


@app.command("lines")
def lines_(
    rounds: Rounds = 16,
    terminals: Terminals = 200,
    rate: Rate = 60.0,
    pause: Pause = 1.5,
    seed: Seed = 1,
    directory: Dir = DIRECTORY / "lines",
    command: Command = "",
    host: Host = "",
    ground: GroundDir = None,
    json_to: JsonTo = "",
) -> None:
    """Cut, delay, double, swap, flip and swallow on the lines between the switch and its counterparts, under load.

    Exits 0 if nothing was lost or doubled, no card number stands in a file, and 99.9 % of requests outside troubles
    were answered in time; 1 if not, 2 for bad usage, 3 if it could not be held.
    """
    told = _told(terminals, seed, directory, command, host, ground, json_to, max(2, terminals // 20))
    _hold(told, lambda yard: lines.hold(yard, rounds, rate, pause, seed, told.tell).as_dict())


@app.command("disk")
def disk_(
    rounds: Rounds = 6,
    terminals: Terminals = 200,
    rate: Rate = 60.0,
    pause: Pause = 1.5,
    seed: Seed = 1,
    mode: Annotated[
        list[str], typer.Option(help="full, fail or forget (a sync); may be given many times. Without: all of them.")
    ] = [],  # noqa: B006
    directory: Dir = DIRECTORY / "disk",
    command: Command = "",
    host: Host = "",
    ground: GroundDir = None,
    json_to: JsonTo = "",
) -> None:
    """Fill the switch's disk, let a sync fail, or let one be forgotten before the power is cut, under load.

    Exits 0 if the switch stopped at once (our own with code 4), recovered, and nothing was lost or doubled, and if it
    refused to start where a lying disk had lost rows; 1 if not, 2 for bad usage, 3 if it could not be held.
    """
    for one in mode:
        if one not in disk.MODES:
            raise ConfigError(f"--mode {one}: there are {', '.join(disk.MODES)}")
    told = _told(terminals, seed, directory, command, host, ground, json_to, max(2, terminals // 20))
    modes = tuple(mode) or disk.MODES
    _hold(told, lambda yard: disk.hold(yard, rounds, rate, pause, seed, told.tell, modes).as_dict())


@app.command("storm")
def storm_(
    rounds: Rounds = 1,
    terminals: Terminals = 10_000,
    seed: Seed = 1,
    directory: Dir = DIRECTORY / "storm",
    command: Command = "",
    host: Host = "",
    ground: GroundDir = None,
    json_to: JsonTo = "",
) -> None:
    """All terminals lose their host, reconnect and sign in at once.

    Exits 0 if all of them are signed in within 5 s; 1 if not, 2 for bad usage, 3 if it could not be held.
    """
    told = _told(terminals, seed, directory, command, host, ground, json_to)
    _hold(told, lambda yard: _on_loop(lambda: storm.hold(yard, rounds, told.tell)))


@app.command("overload")
def overload_(
    terminals: Terminals = 3_000,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each step.")] = 5.0,
    hostile: Annotated[int, typer.Option(min=0, help="Rounds with and without hostile peers; 0: none.")] = 20,
    patience: Annotated[float, typer.Option(min=0.1, help="Seconds after which an answer is of no use.")] = 5.0,
    seed: Seed = 1,
    directory: Dir = DIRECTORY / "overload",
    command: Command = "",
    host: Host = "",
    ground: GroundDir = None,
    json_to: JsonTo = "",
) -> None:
    """Raise the load to twice what the switch can do, and put hostile peers among the healthy ones.

    Exits 0 if goodput at twice the capacity is at least 90 % of its peak, and the healthy terminals' p99 stays within
    10 % while one connection in a hundred is hostile; 1 if not, 2 for bad usage, 3 if it could not be held.
    """
    told = _told(terminals, seed, directory, command, host, ground, json_to)
    order = overload.Order(seconds, hostile, patience, seed)
    _hold(told, lambda yard: _on_loop(lambda: overload.hold(yard, order, told.tell)))


@app.command("canary")
def canary_(
    directory: Annotated[Path, typer.Argument(help="Everything under it is searched.")],
    json_to: JsonTo = "",
) -> None:
    """Look for card numbers of the test BINs in files: text, packed, hexadecimal, base64, UTF-16.

    Exits 0 if there are none, 1 if there are.
    """
    if not directory.exists():
        raise ConfigError(f"{directory}: no such directory")
    found = canary.report(directory)
    data = {"drill": "canary", "passed": not found["sightings"], "canary": found}
    console = Console(stderr=json_to == "-", highlight=False)
    _show(data, console)
    if json_to == "-":
        typer.echo(json.dumps(data, indent=1))
    elif json_to:
        Path(json_to).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(PASSED if data["passed"] else NOT_PASSED)


def _on_loop(act: Callable[[], Any]) -> dict[str, Any]:
    """Run a drill that is its own fleet, on a loop."""
    found: list[dict[str, Any]] = []

    async def run() -> int:
        found.append(await act())
        return 0

    run_loop(run())
    return found[0]


# what is printed

_NAMES: Final = {
    "rounds": "rounds 轮次", "lost": "lost 丢失", "doubled": "doubled 重复", "availability": "availability 可用率",
    "availability_outside_windows": "availability outside windows 窗口外可用率", "downtime_s": "downtime 中断 (s)",
    "recovery_s": "recovery 恢复 (s)", "unrecovered": "not recovered 未恢复", "terminals": "terminals 终端",
    "signed_in_late": "signed in late 签到过迟", "descriptor_limit": "descriptor limit 描述符上限",
    "connections_max": "connections allowed 最多连接", "connections_refused": "connections refused 拒绝连接",
    "exit_codes": "exit codes 退出码", "refused_to_start": "refused to start 拒绝启动",
    "rows_forgotten": "rows forgotten 丢失的记录",
    "capacity": "capacity 容量 (/s)", "goodput_ratio": "goodput at twice capacity 两倍负载有效吞吐",
    "hostile_ratio": "p99 with hostile peers 恶意连接下 p99",
}  # fmt: skip


def _show(data: Mapping[str, Any], console: Console) -> None:
    """What came of it, for people."""
    grid = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    grid.add_column()
    grid.add_column(justify="right")
    for name, title in _NAMES.items():
        value = data.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        grid.add_row(title, f"{value:,}" if isinstance(value, int) else str(value))
    files = data.get("canary")
    if files:
        grid.add_row("card numbers in files 文件中的卡号", f"{files['sightings']} in {files['files']} files")
    console.print(grid)
    for what, one in data.get("by_fault", {}).items():
        console.print(
            f"  {what}: {one['rounds']} times, down {one['downtime_s']} s, "
            f"recovered p50 {one['recovery_s']['p50']} s, p99 {one['recovery_s']['p99']} s"
        )
    for entry in (data.get("books") or {}).get("shown", ()):
        console.print(f"  {entry}", style="red", markup=False, soft_wrap=True)
    for step in data.get("steps", ()):
        console.print(
            f"  offered {step['offered_per_s']:,}/s: good {step['good_per_s']:,}/s, p50 {step['p50_ms']} ms, "
            f"p99 {step['p99_ms']} ms, refused {step['refused']:,}, silent {step['silent']:,}, no terminal free "
            f"{step['turned_away']:,}"
        )
    console.print("passed 通过" if data["passed"] else "NOT PASSED 未通过", style="green" if data["passed"] else "red")


def register(root: typer.Typer) -> None:
    """Add `shoudan drill`."""
    root.add_typer(app, name="drill")
