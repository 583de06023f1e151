"""`shoudan ctl`: talk to a running switch or centre over its control socket."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from switch.app.control import ask_control

REFUSED, BAD_USAGE, UNREACHABLE = 1, 2, 3

ctl = typer.Typer(no_args_is_help=True, help="Control (控制): ask a running switch or centre, or change it under load.")

Target = Annotated[Path, typer.Argument(help="The process's TOML file, or its control socket.")]


def socket_of(target: Path) -> Path:
    """The control socket of a process named by its configuration or by the socket itself."""
    if target.is_socket():
        return target
    try:
        control = tomllib.loads(target.read_text(encoding="utf-8")).get("control")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _ended(f"{target}: {getattr(error, 'strerror', None) or error}", BAD_USAGE) from None
    if not isinstance(control, str):
        raise _ended(f"{target}: names no control socket (control = ...)", BAD_USAGE)
    return target.resolve().parent / control


def ask(target: Path, do: str, **arguments: Any) -> Any:
    """Ask and return the answer; ends the command where there is none, or a no."""
    path = socket_of(target)
    try:
        return ask_control(path, do, timeout_s=30.0, **arguments)
    except ValueError as error:
        raise _ended(str(error), REFUSED) from None
    except OSError as error:
        raise _ended(f"{path}: nobody answers ({error.strerror or error})", UNREACHABLE) from None


def _ended(text: str, code: int) -> typer.Exit:
    errors = Console(stderr=True, highlight=False)
    for line in text.splitlines():
        errors.print(f"shoudan: {line}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(code)


@ctl.command()
def status(target: Target) -> None:
    """Counters, depths and lines of a running process, as JSON."""
    typer.echo(json.dumps(ask(target, "status"), ensure_ascii=False, indent=1))


@ctl.command()
def reload(target: Target) -> None:
    """Read the configuration again and take it without dropping a transaction.

    A switch takes terminals, merchants, routes, BINs, profile, master keys and tariff; a centre takes its rules. A
    file at fault is named with its line, a change that needs a restart with its key, and nothing is taken. Exits 1
    when it was refused.
    """
    typer.echo(f"reloaded: {ask(target, 'reload')}")


@ctl.command()
def cutover(
    target: Target,
    date: Annotated[str, typer.Argument(help="The new settlement date, MMDD.")],
    window: Annotated[float, typer.Option(min=0.0, help="Seconds in which the issuers roll over one by one.")] = 1.0,
) -> None:
    """Let a centre change its business day (日切). Exits 1 while one is running already."""
    if len(date) != 4 or not date.isdigit():
        raise _ended(f"{date!r} is no date MMDD", BAD_USAGE)
    if not ask(target, "cutover", date=date, window_s=window):
        raise _ended("a cut-over is running already", REFUSED)
    typer.echo(f"cutting over to {date}")


def register(app: typer.Typer) -> None:
    """Add `shoudan ctl`."""
    app.add_typer(ctl, name="ctl")
