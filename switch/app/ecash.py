"""`shoudan clearing ecash`: the books of electronic cash joined, and what an operator has to look at."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from switch.app.clearing import SHOWN_MAX, read_rows, yuan
from switch.app.journals import holds, open_book
from switch.clearing.ecash import ECashBook, join_e_cash
from switch.clearing.schema import CARDS, CHIPS, OFFLINE, TERMINALS

_STATES = {"sent": "no word yet 未通知", "doubt": "in doubt 可疑", "unwritten": "not on the chip 未写卡"}
_ON_CARD = {"yes": "[green]written 已写", "no": "[yellow]not written 未写", "": "-"}
_LISTED = {
    "forged": "forged 伪造", "replay": "replayed 重复", "declined": "offline declines 脱机拒绝",
    "refused": "online refused 联机拒绝",
}  # fmt: skip


def join_files(ledgers: list[Path], terminals: Path) -> ECashBook:
    """Join the books that stand in these files; a terminals' book without cards is joined with none."""
    chips = [row for path in ledgers for row in read_rows(path, CHIPS)]
    book = open_book(terminals)
    cards, offline, own = (
        read_rows(terminals, table) if holds(book, table.name) else [] for table in (CARDS, OFFLINE, TERMINALS)
    )
    return join_e_cash(chips, cards, offline, own)


def show(book: ECashBook, console: Console) -> None:
    """The equation, the loads in doubt, what was refused, each break."""
    grid = Grid(title="Electronic cash 电子现金", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column(f"{book.cards:,} cards")
    grid.add_column("yuan", justify="right", no_wrap=True)
    grid.add_column("")
    grid.add_row("on the cards 卡内余额", yuan(book.card_minor))
    grid.add_row("+ not uploaded 未上送", yuan(book.held_minor), f"{book.held:,} TC")
    grid.add_row("+ loads in doubt 可疑圈存", yuan(book.doubt_minor), f"{len(book.loads):,} listed")
    grid.add_row("= shadow accounts 影子账户", yuan(book.shadow_minor), "[green]✓" if book.balanced else "[red]✗")
    console.print(grid)
    if book.loads:
        grid = Grid(
            title=f"{len(book.loads)} loads 可疑圈存", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
        )
        for column in ("day", "issuer", "card", "RRN", "yuan", "issuer's word", "the card's word"):
            grid.add_column(column, overflow="fold")
        for load in book.loads[:SHOWN_MAX]:
            grid.add_row(
                load.settlement_date, load.issuer, load.pan_masked, load.rrn, yuan(load.amount_minor),
                _STATES[load.state], _ON_CARD[load.on_card],
            )  # fmt: skip
        console.print(grid)
    refused = ", ".join(f"{book.listed[event]} {words}" for event, words in _LISTED.items())
    console.print(f"{book.uploaded:,} certificates of {yuan(book.uploaded_minor)} uploaded; {refused}")
    for item in book.breaks[:SHOWN_MAX]:
        console.print(f"[red]✗[/] card {item.key}: {item.cause}")


def ecash_command(
    ledger: Annotated[list[Path], typer.Option(help="An issuers' ledger; once for each counterpart.")],
    terminals: Annotated[Path, typer.Option(help="The terminals' own journals, with what the cards hold.")],
    json_to: Annotated[
        str, typer.Option("--json", help="Write the result as JSON to this file, or - for stdout.")
    ] = "",
) -> None:
    """Join cards, certificates not uploaded and loads in doubt with the issuers' shadow accounts of electronic cash.

    Exits 0 when the equation holds, 1 when it does not.
    """
    if not terminals.is_file():
        raise typer.BadParameter(f"{terminals}: no such file")
    book = join_files(ledger, terminals)
    if json_to:
        text = json.dumps(book.as_dict(), ensure_ascii=False, indent=1)
        if json_to == "-":
            typer.echo(text)
        else:
            Path(json_to).write_text(text + "\n", encoding="utf-8")
    if json_to != "-":
        show(book, Console())
    raise typer.Exit(0 if book.balanced else 1)


def register(group: typer.Typer) -> None:
    """Add `shoudan clearing ecash` to the group of clearing."""
    group.command("ecash")(ecash_command)
