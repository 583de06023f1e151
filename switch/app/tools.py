"""The tools for single messages: `shoudan decode` and `shoudan send`."""

import typer

from switch.app.decode import decode
from switch.app.send import send


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("decode")(decode)
    app.command("send")(send)
