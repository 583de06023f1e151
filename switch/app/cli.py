"""The command `shoudan`. Rooms above this one add their subcommands through entry points: no import goes upward."""

import logging
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from switch.app import clearing, ctl, dashboard, ecash, fees, kat, keys, stats, tools
from switch.app.config import ConfigError
from switch.net.listen import CannotListen

BAD_USAGE = 2

app = typer.Typer(
    name="shoudan",
    help="Shoudan (收单): an acquiring switch and terminal-acceptance simulator. 收单交换与终端受理仿真。",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigPath = Annotated[Path, typer.Argument(help="TOML file; docs/configuration.md tells its keys.")]


@app.callback(invoke_without_command=True)
def main_options(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the process does.")] = False,
) -> None:
    """Options before every command."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    if show_version:
        typer.echo(f"shoudan {version('shoudan')}")
        raise typer.Exit


@app.command()
def serve(
    config: ConfigPath,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes that share the merchants (docs/workers.md tells how).")
    ] = 1,
) -> None:
    """Run the acquiring switch (收单交换) until SIGTERM."""
    from switch.app.serve import run_loop, serve_switch
    from switch.app.workers import serve_workers

    logging.getLogger("shoudan").setLevel(logging.INFO)
    source = config.resolve()
    raise typer.Exit(run_loop(serve_switch(source) if workers == 1 else serve_workers(source, workers)))


@app.command()
def centre(config: ConfigPath) -> None:
    """Run the other side: a network centre with issuers behind it, or the bank's own core (银联中心 / 核心)."""
    from switch.app.serve import run_loop, serve_centre

    logging.getLogger("shoudan").setLevel(logging.INFO)
    raise typer.Exit(run_loop(serve_centre(config.resolve())))


tools.register(app)
kat.register(app)
clearing.register(app)
ecash.register(clearing.clearing)
fees.register(app)
ctl.register(app)
keys.register(app)
stats.register(app)
dashboard.register(app)


def main() -> None:
    """Entry point: rooms register their commands, then the command line is read. Errors are one line.

    Other rooms are not looked at for a command of our own: a switch that starts again has no second for them.
    """
    own = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    if not own & set(sys.argv[1:2]):
        for point in sorted(entry_points(group="shoudan.commands"), key=lambda p: p.name):
            point.load()(app)
    try:
        app()
    except (ConfigError, CannotListen) as error:
        Console(stderr=True, highlight=False).print(f"shoudan: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(BAD_USAGE)


if __name__ == "__main__":
    main()
