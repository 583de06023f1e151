"""`shoudan scenario inspect`: the self-inspection report (自查报告) of a fleet."""

from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from scenarios.inspection.example import write_example
from scenarios.inspection.fleet import read_fleet
from scenarios.inspection.judge import BENCHMARK, Inspection, Row, inspect
from switch.app.config import ConfigError
from switch.wire.table import TableError
from terminals.cli import write_json

DEFECTS: Final = 1
COULD_NOT_RUN: Final = 3
SHOWN: Final = 60
SEED: Final = 2015
_GROUPS: Final = (("类别", "kind"), ("型号", "model"), ("直联/间联", "topology"), ("地区", "district"))
_COLUMNS: Final = ("台数", "接触 contact", "非接 field", "电子现金 e-cash", "缺陷 defects")

Lang = Literal["zh", "en"]


def inspect_fleet(
    fleet: Annotated[Path | None, typer.Option(metavar="FILE", help="terminals.csv, with `kind` and `found`.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")] = None,
    lang: Annotated[Lang, typer.Option(help="The page's language.")] = "zh",
    json_to: Annotated[str, typer.Option("--json", metavar="FILE|-", help="Write everything found as JSON.")] = "",
    date: Annotated[str, typer.Option(metavar="YYMMDD", help="The day of the inspection; today if not given.")] = "",
    example: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an invented fleet with planted defects, and end.")
    ] = None,
    terminals: Annotated[int, typer.Option(min=20, max=200_000, help="Of the example.")] = 2000,
    defects: Annotated[int, typer.Option(min=0, help="Of the example, each at another terminal.")] = 55,
) -> None:
    """Inspect a fleet (自查): every terminal is shown test cards, and what it does is judged.

    Per model, topology and district: what is accepted, shares beside the country's of 2015, defects with evidence.
    Exits 0 without defects, 1 with some, 2 for bad usage, 3 when it could not run.
    """
    if example is not None:
        try:
            planted = write_example(example, terminals, defects, SEED)
        except ValueError as fault:
            raise typer.BadParameter(str(fault), param_hint="--defects") from None
        typer.echo(f"{example}: {terminals:,} terminals, {len(planted)} of them with a planted defect")
        return
    if fleet is None:
        raise typer.BadParameter("a fleet's file is needed (--example FILE writes one)", param_hint="--fleet")
    day = date or f"{datetime.now():%y%m%d}"
    if len(day) != 6 or not (day.isascii() and day.isdigit()):
        raise typer.BadParameter(f"{day!r}: YYMMDD", param_hint="--date")
    try:
        rows = read_fleet(fleet)
    except TableError as fault:
        raise ConfigError(str(fault)) from None
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("终端 terminals", total=len(rows))
        inspection = inspect(rows, day, lambda count: progress.update(task, completed=count))
    try:
        if html is not None:
            html.write_text(page(inspection, fleet.name, lang), encoding="utf-8")
        write_json(inspection.as_dict(), json_to)
    except OSError as fault:
        typer.echo(f"shoudan scenario inspect: {fault.filename}: {fault.strerror}", err=True)
        raise typer.Exit(COULD_NOT_RUN) from None
    if json_to != "-":
        _show(inspection, Console())
    raise typer.Exit(DEFECTS if inspection.defects else 0)


def page(inspection: Inspection, source: str, lang: Lang) -> str:
    """The report as one self-contained page."""
    pages = Environment(loader=PackageLoader("scenarios", "."), autoescape=True, undefined=StrictUndefined)
    return pages.get_template("inspection.html").render(
        it=inspection,
        groups=_groups(inspection, lang),
        benchmark=BENCHMARK,
        source=source,
        lang=lang,
        version=version("shoudan"),
        say=lambda zh, en: zh if lang == "zh" else en,
    )


def _groups(inspection: Inspection, lang: Lang | None = None) -> list[tuple[str, list[Row]]]:
    rows = (
        inspection.kinds,
        inspection.by(lambda one: one.model),
        inspection.by(lambda one: one.topology),
        inspection.by(lambda one: one.district),
    )
    names = (" ".join(pair) if lang is None else pair[lang == "en"] for pair in _GROUPS)
    return list(zip(names, rows, strict=True))


def _show(inspection: Inspection, console: Console) -> None:
    for name, rows in _groups(inspection):
        table = Table(
            name, "台数", "接触 contact", "非接 field", "电子现金 e-cash", "缺陷 defects", title_justify="left"
        )
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            shares = [_share(row, what) for what in ("contact", "contactless", "e-cash")]
            table.add_row(row.name, f"{row.terminals:,}", *shares, f"[red]{row.defects}" if row.defects else "0")
        console.print(table)
    console.print("( ) 全国 the country, 2015", style="dim")
    for one in inspection.defects[:SHOWN]:
        where = f"{one.terminal.tid} (line {one.terminal.line}), {one.terminal.district}, {one.terminal.topology}"
        console.print(f"[red]{one.check.rule}[/] {one.check.zh} {one.check.en}: {where}", highlight=False)
        console.print(f"   {one.seen.en}", style="dim", highlight=False, markup=False)
    if len(inspection.defects) > SHOWN:
        console.print(f"… {len(inspection.defects) - SHOWN:,} more: --json or --html has them all")
    count = len(inspection.defects)
    console.print(
        f"[{'red' if count else 'green'}]{len(inspection.terminals):,} terminals 终端, {count:,} defects 缺陷[/]",
        highlight=False,
    )


def _share(row: Row, what: str) -> str:
    country: Any = BENCHMARK.get(row.name, {}).get(what)
    return f"{row.share(what):.1%}" + (f" ({country:.1%})" if country is not None else "")


def register(group: typer.Typer) -> None:
    """Add `inspect` to the group `shoudan scenario`."""
    group.command("inspect")(inspect_fleet)
