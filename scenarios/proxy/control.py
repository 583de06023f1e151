"""How a proxy is told what to do, over time: the same lines in a schedule file and on its control port.

    set NAME FAULT      a fault in force under a name (an earlier one of this name ends)
    clear NAME          it ends; `clear all` ends all
    cut                 every open connection is reset now
    list, stats, quit   on the control port: what is in force, the figures as JSON, the end

In a schedule each line begins with its second: `12.5 set slow latency:down,ms=800`. Empty lines and `#` are skipped.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from scenarios.proxy.faults import FaultError, read_fault
from scenarios.proxy.relay import Proxy


class Step(NamedTuple):
    """One line of a schedule: seconds from its start, and the command."""

    at: float
    command: str


def command(proxy: Proxy, line: str) -> str:
    """Do what a line says; the answer. Raises FaultError."""
    word, _, rest = line.strip().partition(" ")
    match word:
        case "set":
            name, _, text = rest.strip().partition(" ")
            if not name or not text:
                raise FaultError("set NAME FAULT")
            proxy.active.set(name, read_fault(text))
            return f"{name} is in force"
        case "clear":
            names = list(proxy.active.faults) if rest.strip() == "all" else [rest.strip()]
            for name in names:
                if not proxy.active.clear(name):
                    raise FaultError(f"no fault is called {name!r}")
            return f"{len(names)} ended"
        case "cut":
            return f"{proxy.cut()} connections reset"
        case "list":
            return " ".join(f"{name}={fault.kind}" for name, fault in proxy.active.faults.items()) or "nothing"
        case "stats":
            return json.dumps(proxy.as_dict())
    raise FaultError(f"no command {word!r}; there are set, clear, cut, list, stats, quit")


def check(line: str) -> None:
    """Whether a schedule may hold this command; FaultError with the reason."""
    word, _, rest = line.strip().partition(" ")
    if word == "set":
        name, _, text = rest.strip().partition(" ")
        if not name or not text:
            raise FaultError("set NAME FAULT")
        read_fault(text)
    elif word not in ("clear", "cut") or (word == "clear" and not rest.strip()):
        raise FaultError(f"a schedule holds set, clear and cut, not {line.strip()!r}")


def read_schedule(path: Path) -> list[Step]:
    """A schedule file, in the order of its seconds. Raises FaultError with file, line and reason."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FaultError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    steps = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        second, _, rest = text.partition(" ")
        try:
            at = float(second)
            if not 0 <= at < 1e7:
                raise ValueError
            check(rest)
        except FaultError as error:
            raise FaultError(f"{path}:{number}: {error}") from None
        except ValueError:
            raise FaultError(f"{path}:{number}: {second!r} is not a number of seconds") from None
        steps.append(Step(at, rest))
    return sorted(steps, key=lambda step: step.at)


async def follow(proxy: Proxy, steps: list[Step], again_s: float = 0.0) -> None:
    """Do the steps at their times; with `again_s` the schedule begins anew every so many seconds."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while True:
        for step in steps:
            await asyncio.sleep(max(0.0, begin + step.at - loop.time()))
            with contextlib.suppress(FaultError):  # clear of what is not in force
                command(proxy, step.command)
        if not again_s:
            return
        begin += again_s
        await asyncio.sleep(max(0.0, begin - loop.time()))


async def serve(proxy: Proxy, host: str, port: int, quit_: Callable[[], None]) -> asyncio.Server:
    """The control port: one command a line, answered by `ok ...` or `error ...`. Raises OSError."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := (await reader.readline()).decode("utf-8", "replace").strip():
                if line == "quit":
                    writer.write(b"ok bye\n")
                    quit_()
                    break
                try:
                    answer = f"ok {command(proxy, line)}"
                except FaultError as error:
                    answer = f"error {error}"
                writer.write(answer.encode() + b"\n")
                await writer.drain()
        writer.close()

    return await asyncio.start_server(talk, host, port)
