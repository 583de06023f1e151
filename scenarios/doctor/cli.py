"""`shoudan doctor`: what a host, a capture or a dump speaks, in words, and which profile fits."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from scenarios.doctor.live import Heard, examine
from scenarios.doctor.shape import Assessment, assess
from scenarios.doctor.words import fitting, sentences, shipped_profiles
from scenarios.record.capture import CaptureError, is_capture, read_capture
from scenarios.record.hexlog import read_hex_log
from switch.app.config import ConfigError, host_and_port, profile_for
from switch.wire.profile import Profile

UNKNOWN: Final = 1
ALTERNATIVES: Final = 3
READ_MAX: Final = 1 << 20
NAME_MAX: Final = 256
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_SILENT: Final = {
    "unreachable": "nobody listens there 无法连接",
    "closed": "it takes connections and hangs up, whatever is said 连接即断",
    "silent": "it takes connections and says nothing, whatever it is asked 无应答",
}


def doctor(
    source: Annotated[str, typer.Argument(metavar="HOST:PORT|FILE|HEX|-", help="A host, pcap, hex log, dump or hex.")],
    profile: Annotated[list[str], typer.Option(metavar="PROFILE", help="Also try this profile, by name or file.")] = [],  # noqa: B006
    listen_only: Annotated[bool, typer.Option("--listen-only", help="Ask a silent host nothing.")] = False,
    wait: Annotated[float, typer.Option(min=0.05, help="Seconds to wait for a host's words, each time.")] = 1.0,
    tid: Annotated[str, typer.Option(help="Terminal that asks a silent host.")] = "00000000",
    mid: Annotated[str, typer.Option(help="Merchant that asks a silent host.")] = "0" * 15,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Say what a peer speaks from its first bytes (诊断): length, TPDU, header, dialect, and the profile that fits.

    A host that is silent is asked for an echo test in every usual framing. Exits 0 when it knows, 1 when it does not,
    2 for bad usage.
    """
    profiles = shipped_profiles() | {name: profile_for(name, Path.cwd()) for name in profile}
    if len(tid) != 8 or len(mid) != 15:
        raise ConfigError("--tid has 8 characters and --mid 15")
    if _ADDRESS.fullmatch(source) and not _is_file(source):
        heard = asyncio.run(examine(*host_and_port(source), wait, wait, not listen_only, tid, mid))
        results = [_of_host(heard, profiles)]
    else:
        results = [_of_bytes(name, data, profiles) for name, data in _dumps(source)]
    if as_json:
        typer.echo(json.dumps(results[0] if len(results) == 1 else results, indent=1, ensure_ascii=False))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for result in results:
            _print(result, console)
    raise typer.Exit(0 if all(result["known"] for result in results) else UNKNOWN)


def _dumps(source: str) -> Iterator[tuple[str, bytes]]:
    """What there is to look at, each with a name: both ways of a capture's first connections, or one dump."""
    if source != "-" and not _is_file(source):
        digits = "".join(source.split())
        try:
            yield "hex", bytes.fromhex(digits)
        except ValueError:
            raise ConfigError(f"{source[:40]!r} is no file, no HOST:PORT and no hex") from None
        return
    data = sys.stdin.buffer.read(READ_MAX) if source == "-" else _first(Path(source))
    if is_capture(data) and source != "-":
        try:
            yield from _streams(Path(source))
        except CaptureError as error:
            raise ConfigError(f"{source}: {error}") from None
        return
    lines = read_hex_log(data.decode("utf-8", "replace").splitlines())
    joined = b"".join(line.data for line in lines if line.data)
    yield "dump", joined if joined else data


def _is_file(source: str) -> bool:
    """Whether this names a file; hex may be longer than any name."""
    return len(source) < NAME_MAX and Path(source).is_file()


def _first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(READ_MAX)


def _streams(path: Path) -> Iterator[tuple[str, bytes]]:
    seen: dict[tuple[int, str], bytes] = {}
    for piece in read_capture(path):
        key = (piece.connection, piece.way)
        if piece.data and len(seen.get(key, b"")) < 8192 and (key in seen or len(seen) < 4):
            seen[key] = seen.get(key, b"") + piece.data
    for (number, way), data in seen.items():
        yield f"connection {number} {way}", data
    if not seen:
        raise CaptureError("holds no TCP payload")


def _of_host(heard: Heard, profiles: dict[str, Profile]) -> dict[str, Any]:
    if not heard.data:
        return {"source": "host", "how": heard.how, "known": False, "words": [_SILENT[heard.how]], "tried": heard.tried}
    how = "it spoke first 主机先发言" if heard.how == "spoke first" else f"it answered echo test {heard.tried}"
    result = _of_bytes("host", heard.data, profiles)
    return result | {"how": heard.how, "tried": heard.tried, "words": [how, *result["words"]]}


def _of_bytes(name: str, data: bytes, profiles: dict[str, Profile]) -> dict[str, Any]:
    found = assess(data)
    best = found[0] if found else None
    result: dict[str, Any] = {
        "source": name, "bytes": len(data), "known": best is not None and best.sure, "words": sentences(best),
    }  # fmt: skip
    if best is None:
        return result
    fit = fitting(best, profiles)
    return result | {
        **best.shape._asdict(), "score": best.score, "frames": best.frames, "evidence": list(best.evidence),
        "mtis": [one.mti for one in best.messages], "profiles": list(fit.names), "profile_to_write": fit.written,
        "others": [_other(one) for one in found[1 : 1 + ALTERNATIVES]],
    }  # fmt: skip


def _other(one: Assessment) -> dict[str, Any]:
    return {**one.shape._asdict(), "score": one.score}


def _print(result: dict[str, Any], console: Console) -> None:
    def say(text: str, style: str = "") -> None:
        console.print(text, markup=False, style=style)

    size = f": {result['bytes']:,} bytes" if "bytes" in result else ""
    say(f"{result['source']}{size}", "bold")
    for sentence in result["words"]:
        say(f"  {sentence}", "" if result["known"] else "yellow")
    if "score" not in result:
        return
    say(f"  score {result['score']}: " + "; ".join(result["evidence"]))
    for other in result["others"]:
        said = ", ".join(f"{key} {value}" for key, value in other.items() if key != "score")
        say(f"  next: {other['score']} ({said})", "dim")
    if result["profiles"]:
        say("  fits profile 适用配置: " + ", ".join(result["profiles"]), "green")
    elif result["profile_to_write"]:
        say("  no profile fits; this one would 可另建配置:")
        for line in result["profile_to_write"].splitlines():
            say(f"    {line}")
    else:
        say("  no profile can say this framing 无法配置", "yellow")


def register(app: typer.Typer) -> None:
    """Add `shoudan doctor`."""
    app.command()(doctor)
