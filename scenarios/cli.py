"""`shoudan demo`: a whole payment day in a minute."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scenarios.demo import DayResult, DemoFailed, play
from scenarios.report import write_report
from switch.app.clearing import show
from terminals.screen import answers, spark

COULD_NOT_RUN = 3


class Screen:
    """The day as it goes: phase and time, what was answered, how fast."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._bar = Progress(
            TextColumn("[bold]{task.description:<20}"), BarColumn(40), TimeElapsedColumn(), console=console
        )
        self._task = self._bar.add_task("starting 启动", total=seconds)
        self._last: dict[str, Any] = {}
        self._rates: list[float] = []
        self._quiet_until = 0.0
        self._console = console

    def tell(self, status: dict[str, Any]) -> None:
        """Take a line of progress."""
        before, self._last = self._last, status
        if before and status["elapsed"] > before["elapsed"]:
            done = status["authorizations"] - before["authorizations"]
            self._rates.append(done / (status["elapsed"] - before["elapsed"]))
        self._bar.update(self._task, completed=status["elapsed"], description=status["phase"])
        if not self._console.is_terminal and time.monotonic() > self._quiet_until:
            self._quiet_until = time.monotonic() + 5
            self._console.print(self._line(), highlight=False, soft_wrap=True)

    def _line(self) -> str:
        s = self._last
        rate = self._rates[-1] if self._rates else 0.0
        return (
            f"{s['elapsed']:6.1f} s  {s['phase']:<14} {s['authorizations']:>8,} authorizations  {rate:7.0f}/s  "
            f"p50 {s['p50']:.1f} ms  p99 {s['p99']:.1f} ms  {s['reversals']:,} reversals"
        )

    def __rich__(self) -> Group:
        if not self._last:
            return Group(self._bar)
        s = self._last
        grid = Table.grid(padding=(0, 3))
        rate = self._rates[-1] if self._rates else 0.0
        grid.add_row(
            "authorizations 交易",
            f"[bold]{s['authorizations']:,}",
            "rate 速率",
            f"[bold]{rate:,.0f}/s",
            spark(self._rates),
        )
        grid.add_row("approved 批准", f"[green]{s['approved']:,}", "declined 拒绝", f"[yellow]{s['declined']:,}")
        grid.add_row(
            "latency p50 / p99", f"{s['p50']:.1f} / {s['p99']:.1f} ms", "reversals 冲正", f"[red]{s['reversals']:,}"
        )
        grid.add_row("settled terminals 已结算", f"{s['settled']:,}", "business day 清算日", " ".join(s["dates"]))
        if s["restarts"]:
            grid.add_row("switch killed and restarted", f"[red]{s['restarts']}")
        return Group(self._bar, grid)


def summary(result: DayResult, console: Console) -> None:
    """What happened, for people."""
    data = result.as_dict()
    grid = Table.grid(padding=(0, 2))
    latency = data["latency_ms"]
    grid.add_row(
        "authorizations 交易",
        f"{data['authorizations']:,}  ({data['authorizations_per_second']:,.0f}/s over {data['seconds']:.0f} s)",
    )
    grid.add_row(
        "approved 批准", f"{data['approved']:,}  business success rate 交易成功率 {data['business_success_rate']:.2%}"
    )
    grid.add_row(
        "declined 拒绝", f"{data['declined']:,}  system success rate 系统成功率 {data['system_success_rate']:.2%}"
    )
    grid.add_row(
        "latency 时延", f"p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms, p99.9 {latency['p99_9']:.1f} ms"
    )
    grid.add_row("reversed 冲正", f"{data['reversed']:,}")
    kept = data["settlements"]
    grid.add_row("settlements 结算", f"{kept['balanced']:,} balanced 平, {kept['unbalanced']:,} unbalanced 不平")
    for seconds in result.recovery_s:
        grid.add_row("switch killed and restarted", f"answering again after {seconds:.2f} s")
    console.print(grid)
    console.print(answers(data["by_transaction"], data["by_response"]))
    show(result.books, console)


def demo(
    terminals: Annotated[int, typer.Option(min=1, help="How many POS terminals.")] = 2000,
    seconds: Annotated[float, typer.Option(min=5, help="How long they trade.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of terminals, cards and customers.")] = 20130501,
    json_to: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file, or - for stdout.")
    ] = "",
    directory: Annotated[Path, typer.Option("--dir", help="Where the day's files go.")] = Path("var/demo"),
    atms: Annotated[int, typer.Option(min=0, help="How many ATMs and recyclers.")] = 200,
    kill_at: Annotated[list[float], typer.Option(help="Kill -9 the switch at this second and start it again.")] = [],  # noqa: B006
) -> None:
    """Play a payment day over real sockets and reconcile its four books.

    Starts a switch, a network centre with four issuers, the bank's own core and a fleet of POS terminals and ATMs (a
    third of them on SM4) as separate processes. Terminals sign in, pay, void, refund, pre-authorize, reverse and
    settle; machines pay out, take in and jam; the other side misbehaves now and then; the network changes its business
    day in the middle. At the end the terminals' own journals, the switch's journal and the issuers' ledgers are joined
    key by key, and the cash of the machines with them.

    Exits 0 only if they agree, 1 if not, 3 if the day could not be played.
    """
    console = Console(stderr=json_to == "-", highlight=False)
    screen = Screen(console, seconds)
    console.print(
        f"{terminals:,} terminals, {atms:,} machines, {seconds:g} s, seed {seed}; files in {directory}", highlight=False
    )
    try:
        if console.is_terminal:
            with Live(screen, console=console, refresh_per_second=4):
                result = play(directory, terminals, seconds, seed, tuple(kill_at), screen.tell, atms)
        else:
            result = play(directory, terminals, seconds, seed, tuple(kill_at), screen.tell, atms)
    except DemoFailed as error:
        Console(stderr=True, highlight=False).print(f"shoudan: {error}", style="red", markup=False)
        raise typer.Exit(COULD_NOT_RUN) from None
    report = write_report(result, directory / "report.html")
    summary(result, console)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    if json_to:
        text = json.dumps(result.as_dict(), ensure_ascii=False, indent=1)
        if json_to == "-":
            typer.echo(text)
        else:
            Path(json_to).write_text(text + "\n", encoding="utf-8")
    raise typer.Exit(0 if result.agreed else 1)


def register(app: typer.Typer) -> None:
    """Add `shoudan demo`."""
    app.command()(demo)
