"""`shoudan demo`: a whole payment day in a minute."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from scenarios.demo import DayResult, DemoFailed, play
from scenarios.report import READ, planted_rows, write_report
from switch.app import ecash
from switch.app.clearing import show
from terminals.cli import write_json
from terminals.screen import Screen, answers, headline

COULD_NOT_RUN = 3


class DayScreen(Screen):
    """The fleet's screen, with what the switch tells of the day."""

    def tail(self, s: Mapping[str, Any]) -> str:
        return f"{s['reversals']:,} reversals"

    def rows(self, s: Mapping[str, Any]) -> list[tuple[str, ...]]:
        restarts = [("switch killed and restarted", f"[red]{s['restarts']}")] if s["restarts"] else []
        return [
            ("reversals 冲正", f"[red]{s['reversals']:,}"),
            ("settled terminals 已结算", f"{s['settled']:,}", "business day 清算日", " ".join(s["dates"])),
            *restarts,
        ]


def summary(result: DayResult, console: Console) -> None:
    """What happened, for people."""
    data = result.as_dict()
    grid = headline(data)
    grid.add_row("reversed 冲正", f"{data['reversed']:,}")
    kept = data["settlements"]
    grid.add_row("settlements 结算", f"{kept['balanced']:,} balanced 平, {kept['unbalanced']:,} unbalanced 不平")
    for seconds in result.recovery_s:
        grid.add_row("switch killed and restarted", f"answering again after {seconds:.2f} s")
    _tell_chips(grid, data["chips"])
    console.print(grid)
    console.print(planted(data["chips"]))
    console.print(answers(data["by_transaction"], data["by_response"]))
    show(result.books, console)
    ecash.show(result.e_cash, console)


def _tell_chips(grid: Table, chips: Mapping[str, Any]) -> None:
    """How cards were read, and what chips did."""
    entries = chips["entries"]
    grid.add_row("cards read 读卡", ", ".join(f"{entries.get(key, 0):,} {words}" for key, words in READ.items()))
    loads = sum(count for name, count in chips["loads"].items() if name.endswith(" approved"))
    grid.add_row(
        "electronic cash 电子现金",
        f"{chips['offline'].get('delivered', 0):,} paid offline 脱机消费, {loads:,} loads 圈存, "
        f"{chips['no_pin']:,} without PIN 双免",
    )
    buses = chips["buses"]
    if buses:
        grid.add_row(
            "buses 公交", f"{buses['validators']} validators, {buses['rides']:,} rides, {buses['delivered']:,} uploaded"
        )


def planted(chips: Mapping[str, Any]) -> Table:
    """What was planted with chips, and what came of it."""
    grid = Table(title="Planted 埋入", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("chips 芯片卡", "planted", "came to"):
        grid.add_column(title, justify="right" if title == "planted" else "left")
    for words, count, outcome in planted_rows(chips):
        grid.add_row(words, f"{count:,}", outcome)
    grid.caption = None if chips["planted_in_order"] else "[red]not as it must be 与预期不符"
    return grid


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
    settle, by chip and by stripe; cards pay offline and are loaded; machines pay out, take in and jam; buses hand in
    their taps; the other side misbehaves now and then; the network changes its business day in the middle. At the end
    the terminals' own journals, the switch's journal and the issuers' ledgers are joined key by key, the cash of the
    machines with them, and the electronic cash on the cards with its shadow accounts.

    A day of fewer than 100 customers (0.17 a second and terminal) has nothing planted with chips.

    Exits 0 only if they agree and what was planted came to what it must, 1 if not, 3 if the day could not be played.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside, the day ends its processes too
    console = Console(stderr=json_to == "-", highlight=False)
    screen = DayScreen(console, seconds)
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
    write_json(result.as_dict(), json_to)
    raise typer.Exit(0 if result.agreed else 1)


def register(app: typer.Typer) -> None:
    """Add `shoudan demo`."""
    app.command()(demo)
