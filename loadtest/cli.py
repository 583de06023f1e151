"""`shoudan bench`: the benchmarks on the command line."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from loadtest.bench import bench_codec

bench = typer.Typer(help="Measure the hot rooms beside what they are compared with.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this room's subcommands to the `shoudan` command."""
    app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Measure the hot rooms beside what they are compared with."""


@bench.command("codec")
def codec(
    json_to: Annotated[str, typer.Option("--json", metavar="FILE|-", help="Write the figures as JSON.")] = "",
    rounds: Annotated[int, typer.Option(min=3, help="Times taken per figure.")] = 101,
) -> None:
    """Decode, encode and route two messages: this codec beside pyiso8583."""
    figures = bench_codec(rounds)
    if json_to:
        text = json.dumps(figures, indent=2)
        if json_to == "-":
            typer.echo(text)
            return
        Path(json_to).write_text(text + "\n", encoding="utf-8")
    Console().print(_table(figures))


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
