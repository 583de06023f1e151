"""The control socket: one JSON object a line in, one out, over a Unix socket that only its owner may open."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from inspect import isawaitable
from pathlib import Path
from typing import Any, Final

from switch.app.config import ConfigError

Command = Callable[[dict[str, Any]], Any]
"""What is asked to its result, or to an awaitable of it. Raises ValueError, KeyError, ConfigError to say no."""

PATH_BYTES_MAX: Final = 107
"""What the address of a Unix socket has room for."""


async def serve_control(path: Path, commands: Mapping[str, Command]) -> asyncio.Server:
    """Answer `{"do": NAME, ...}` with `{"ok": result}` or `{"error": reason}`. Raises ConfigError for a path no socket
    can have."""
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise ConfigError(
            f"control: {path} has more than the {PATH_BYTES_MAX} bytes of a socket's path; take a shorter directory"
        )

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, commands), ensure_ascii=False).encode() + b"\n")
                await writer.drain()
        writer.close()

    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # noqa: ASYNC240 - once, at the start
    before = os.umask(0o077)
    try:
        return await asyncio.start_unix_server(talk, str(path), limit=65536)
    finally:
        os.umask(before)


async def _answer(line: bytes, commands: Mapping[str, Command]) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        command = commands[asked["do"]]
    except (ValueError, KeyError, TypeError):
        return {"error": f"do one of: {', '.join(sorted(commands))}"}
    try:
        result = command(asked)
        return {"ok": await result if isawaitable(result) else result}
    except (ValueError, KeyError, ConfigError) as error:
        return {"error": str(error)}


def ask_control(path: Path, do: str, timeout_s: float = 5.0, **arguments: Any) -> Any:
    """Ask a running process. Raises OSError when nobody listens, ValueError when it says no."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(timeout_s)
        line.connect(str(path))
        line.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
        with line.makefile("rb") as answers:
            answer = json.loads(answers.readline() or b'{"error": "closed without an answer"}')
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["ok"]
