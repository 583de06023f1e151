"""`shoudan clearing fees`: what merchants pay, and what issuers, networks and the acquirer get of it."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from switch.app.clearing import clearing, read_journal_rows, yuan
from switch.app.config import ConfigError, SwitchConfig, read_config, tariff_for
from switch.app.stats import settlement_day
from switch.clearing.books import deals
from switch.clearing.fees import Settlement, Share, settle
from switch.clearing.tariff import SHIPPED, Tariff

ROLES: Final = {"acquirer": "acquirer 收单", "issuer": "issuer 发卡", "network": "network 清算"}
BUSINESSES: Final = {"purchase": "purchase 消费", "withdrawal": "withdrawal 取款", "refund": "refund 退货"}
CARDS: Final = {"debit": "debit 借记", "credit": "credit 贷记", "": "all 不限"}
SHOWN_MAX: Final = 20


def settle_file(journal: Path, tariff: Tariff, first: str = "", last: str = "") -> Settlement:
    """Net settlement from a journal's file. Raises typer.BadParameter where it is none."""
    return settle(deals(read_journal_rows(journal)), tariff, first, last)


def _grid(title: str, *columns: str, words: int = 1) -> Grid:
    """A table whose first `words` columns are words, the others numbers."""
    grid = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for n, name in enumerate(columns):
        if n < words:
            grid.add_column(name, overflow="fold")
        else:
            grid.add_column(name, justify="right", no_wrap=True)
    return grid


def _numbers(share: Share) -> list[str]:
    return [f"{share.count:,}", yuan(share.amount_minor), yuan(share.fee_minor), yuan(share.position_minor)]


def show(result: Settlement, console: Console) -> None:
    """Merchants, institutions and tariff rows, then whether all of it comes out even."""
    grid = _grid("Merchants 商户", "merchant 商户号", "count", "net\nyuan 净额", "fees\n手续费", "paid out\n应付")
    largest = sorted(result.merchants.items(), key=lambda item: (-item[1].fee_minor, item[0]))
    for mid, share in largest[:SHOWN_MAX]:
        grid.add_row(mid, *_numbers(share))
    if len(largest) > SHOWN_MAX:
        grid.add_row(f"and {len(largest) - SHOWN_MAX} more (--json has all)", "", "", "", "")
    console.print(grid)
    grid = _grid(
        "Institutions 机构",
        *("role 角色", "code", "count", "net\nyuan 净额", "fees got\n手续费", "position\n轧差"),
        words=2,
    )
    for (role, code), share in sorted(result.institutions.items()):
        grid.add_row(ROLES[role], code, *_numbers(share))
    console.print(grid)
    grid = _grid(
        f"Tariff 资费 {result.tariff}",
        "class 类别", "card 卡种", "count", "net\nyuan 净额", "merchant\n商户", "issuer\n发卡", "network\n清算",
        "acquirer\n收单", words=2,
    )  # fmt: skip
    for _, one in sorted(result.classes.items()):
        fees = map(yuan, one.fee)
        grid.add_row(one.row.name, CARDS[one.row.card], f"{one.count:,}", yuan(one.amount_minor), *fees)
    console.print(grid)
    for (business, date, mcc, card), (count, minor) in sorted(result.unpriced.items())[:SHOWN_MAX]:
        what = f"{BUSINESSES[business]}, {date}, MCC {mcc}, card type {card or 'unknown'}"
        console.print(f"[red]no row of the tariff 无资费[/]: {count:,} of {yuan(minor)} yuan: {what}")
    fee = result.fee
    console.print(
        f"merchants pay {yuan(fee.merchant)} = issuers {yuan(fee.issuer)} + networks {yuan(fee.network)} "
        f"+ acquirer {yuan(fee.acquirer)}: {'[green]✓ 平[/]' if result.balanced else '[red]✗ 不平[/]'}",
        soft_wrap=True,
    )


def _sources(config: Path | None, journal: Path | None, tariff: str) -> tuple[Path, Tariff]:
    """The journal and the tariff, named each or by the switch's configuration. Raises ConfigError."""
    if config is not None:
        named = read_config(config, SwitchConfig)
        chosen = tariff_for(tariff, Path()) if tariff else tariff_for(named.tariff, config.resolve().parent)
        return journal or named.journal, chosen
    if journal is None:
        raise ConfigError("--journal or --config is needed")
    return journal, tariff_for(tariff or SHIPPED, Path())


def fees_command(
    journal: Annotated[Path | None, typer.Option(help="The switch's journal.")] = None,
    tariff: Annotated[
        str, typer.Option(metavar="NAME|FILE", help=f"A shipped tariff or a file; without it {SHIPPED}.")
    ] = "",
    config: Annotated[Path | None, typer.Option(help="The switch's TOML file: its journal and its tariff.")] = None,
    first: Annotated[str, typer.Option("--from", metavar="MMDD", help="First settlement day.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="MMDD", help="Last settlement day.")] = "",
    json_to: Annotated[
        str, typer.Option("--json", help="Write the result as JSON to this file, or - for stdout.")
    ] = "",
) -> None:
    """Fees (手续费) by tariff and net settlement (轧差): by merchant, institution and row of the tariff.

    What is reversed or voided costs nothing; a refund gives its share back. Fees of a withdrawal run between
    institutions.

    Exits 0 when everything has its row in the tariff and comes out even, 1 when not.
    """
    path, rows = _sources(config, journal, tariff)
    result = settle_file(path, rows, settlement_day("--from", first), settlement_day("--to", last))
    if json_to:
        _tell(json_to, result.as_dict())
    if json_to != "-":
        show(result, Console())
    raise typer.Exit(0 if result.balanced and not result.unpriced else 1)


def _tell(where: str, data: dict[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=False, indent=1)
    if where == "-":
        typer.echo(text)
        return
    try:
        Path(where).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from None


def register(app: typer.Typer) -> None:
    """Add `shoudan clearing fees`."""
    clearing.command("fees")(fees_command)
