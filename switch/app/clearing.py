"""`shoudan clearing reconcile`: the books joined, from their files: three of them, and the cash of machines."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from switch.app.config import ConfigError
from switch.app.journals import holds, journals_of, numbers_in, open_book, rows_in
from switch.app.verify import verify_command
from switch.clearing.cash import CashBook, join_cash
from switch.clearing.reconcile import Break, Reconciliation, gaps, reconcile
from switch.clearing.schema import CASH, ERRORS, JOURNAL, LEDGER, RETAINED, TERMINALS, Table
from switch.wire.transactions import BY_NAME

clearing = typer.Typer(no_args_is_help=True, help="Clearing (清算): views read from the journal.")
SHOWN_MAX = 40
CASH_WORDS = {
    "loaded": "loaded 加钞",
    "deposited": "+ deposited 存入",
    "dispensed": "- dispensed 出钞",
    "retracted": "- retracted 回收",
    "rejected": "- rejected 废钞",
    "counted": "= counted 清点",
}
"""The events of the cash book, as its equation has them."""


def read_rows(path: Path, table: Table) -> list[dict[str, Any]]:
    """All rows of a table, in the order of their numbers. Raises typer.BadParameter where the file is no such book."""
    try:
        return [dict(zip(table.names, row, strict=True)) for row in rows_in(path, table)]
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def read_journal_rows(journal: Path) -> list[dict[str, Any]]:
    """All rows of a journal, of one file or of each worker's. Raises typer.BadParameter, ConfigError."""
    return [row for path in journals_of(journal) for row in read_rows(path, JOURNAL)]


def reconcile_files(journal: Path, ledgers: list[Path], terminals: Path | None) -> Reconciliation:
    """Join the books that stand in these files."""
    ledger = [row for path in ledgers for row in read_rows(path, LEDGER)]
    own = read_rows(terminals, TERMINALS) if terminals else None
    result = reconcile(read_journal_rows(journal), ledger, own)
    result.breaks[:0] = [gap for path in journals_of(journal) for gap in gaps(numbers_in(path))]
    if terminals is not None and own is not None and holds(open_book(terminals), CASH.name):
        retained = len(read_rows(terminals, RETAINED))
        result.cash = join_cash(read_rows(terminals, CASH), read_rows(terminals, ERRORS), own, retained)
        result.breaks += result.cash.breaks
    return result


def yuan(minor: int) -> str:
    return f"{minor / 100:,.2f}"


def show(result: Reconciliation, console: Console) -> None:
    """The books side by side, then each break."""
    grid = Grid(
        title="Three books 三方对账" if result.cash is None else "Four books 四账核对: accounts 账务",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    grid.add_column("day", no_wrap=True)
    grid.add_column("transaction 交易", no_wrap=True, overflow="ellipsis", max_width=30)
    for title in ("POS", "switch", "issuers", "yuan"):
        grid.add_column(title, justify="right", no_wrap=title != "yuan", min_width=13 if title == "yuan" else None)
    grid.add_column("")
    for (date, kind), line in sorted(result.totals.items()):
        books = (line.terminals, line.switch, line.issuers)
        amounts = [yuan(book[1]) for book in books if book is not None]
        row = BY_NAME.get(kind)
        grid.add_row(
            date,
            f"{row.zh} {kind}" if row else kind,
            *(f"{book[0]:,}" if book is not None else "-" for book in books),
            amounts[0] if len(set(amounts)) == 1 else " / ".join(amounts),
            "[green]✓" if line.agrees else "[red]✗",
        )
    console.print(grid)
    if result.cash is not None:
        _show_cash(result.cash, console)
    _list("to be settled by hand 差错", result.suspicious, console)
    _list("breaks 不平", result.breaks, console)
    verdict = "[green]the books agree 平[/]" if result.agreed else f"[red]{len(result.breaks)} breaks 不平[/]"
    console.print(f"{result.deals:,} transactions, {result.reversed:,} reversed: {verdict}")


def _show_cash(cash: CashBook, console: Console) -> None:
    grid = Grid(title="Cash 现金账", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column(f"{cash.machines:,} machines")
    grid.add_column("yuan", justify="right", no_wrap=True)
    grid.add_column("")
    for name, text in CASH_WORDS.items():
        grid.add_row(text, yuan(cash.amounts[name]))
    grid.add_row("difference 差额", yuan(cash.difference_minor), "[red]✗" if cash.breaks else "[green]✓")
    console.print(grid)
    causes = ", ".join(f"{count} {cause}" for cause, count in sorted(cash.error_records.items())) or "none"
    console.print(
        f"{cash.error_records.total()} error records 差错 of {yuan(cash.error_minor)} ({causes}); "
        f"{cash.reversals} reversed with nothing dispensed, {cash.confirmations} deposits confirmed, "
        f"{cash.retained} cards retained 吞卡"
    )


def _list(title: str, items: list[Break], console: Console) -> None:
    if not items:
        return
    grid = Grid(title=f"{len(items)} {title}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("book", "key", "RRN", "kind", "cause", "amount", "short 短款方"):
        grid.add_column(column, overflow="fold")
    for item in items[:SHOWN_MAX]:
        grid.add_row(item.book, item.key, item.rrn, item.kind, item.cause, yuan(item.amount_minor), item.short)
    if len(items) > SHOWN_MAX:
        grid.add_row("", f"and {len(items) - SHOWN_MAX} more (--json has all)")
    console.print(grid)


def as_dict(result: Reconciliation) -> dict[str, Any]:
    """For machines."""
    return {
        "agreed": result.agreed,
        "transactions": result.deals,
        "reversed": result.reversed,
        "breaks": [item.as_dict() for item in result.breaks],
        "suspicious": [item.as_dict() for item in result.suspicious],
        **({"cash": result.cash.as_dict()} if result.cash is not None else {}),
        "totals": [
            {
                "settlement_date": date,
                "kind": kind,
                "terminals": line.terminals,
                "switch": line.switch,
                "issuers": line.issuers,
            }
            for (date, kind), line in sorted(result.totals.items())
        ],
    }


@clearing.command("reconcile")
def reconcile_command(
    journal: Annotated[Path, typer.Option(help="The switch's journal.")],
    ledger: Annotated[list[Path], typer.Option(help="An issuers' ledger; once for each counterpart.")],
    terminals: Annotated[Path | None, typer.Option(help="The terminals' own journals, where they can be had.")] = None,
    json_to: Annotated[
        str, typer.Option("--json", help="Write the result as JSON to this file, or - for stdout.")
    ] = "",
) -> None:
    """Join terminals, switch and issuers key by key; list each break with its cause and who is short.

    Where the terminals' file holds the cash book of machines as well, that is the fourth book.

    Exits 0 when the books agree, 1 when they do not.
    """
    result = reconcile_files(journal, ledger, terminals)
    if json_to:
        text = json.dumps(as_dict(result), ensure_ascii=False, indent=1)
        if json_to == "-":
            typer.echo(text)
        else:
            Path(json_to).write_text(text + "\n", encoding="utf-8")
    if json_to != "-":
        show(result, Console())
    raise typer.Exit(0 if result.agreed else 1)


clearing.command("verify")(verify_command)


def register(app: typer.Typer) -> None:
    """Add `shoudan clearing`."""
    app.add_typer(clearing, name="clearing")
