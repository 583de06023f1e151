"""The file of a recording: one JSON object a line, the first says what it is, each other one is an exchange.

Lines are written and read one by one, so a recording may be larger than memory. Nothing in it is secret: card numbers
are test cards', and PIN blocks, MACs, keys and what else the magnetic stripe hides are left out and told by a word.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

FORMAT: Final = 1


class StoryError(Exception):
    """A recording that cannot be read: the text names file, line and what is wrong."""


@dataclass(slots=True, repr=False)
class Told:
    """One message as it is kept. `mac`: "" (it has none), "valid", "wrong" or "no key"; `pin`: "" (none), "right" or
    "wrong"; `keys`: it brought working keys; `sealed`: its track was encrypted and could be opened. `header` in hex."""

    mti: str
    fields: dict[int, Any]
    header: str = ""
    pads: dict[int, str] = field(default_factory=dict)
    mac: str = ""
    pin: str = ""
    keys: bool = False
    sealed: bool = False

    def __repr__(self) -> str:
        return f"Told({self.mti})"


@dataclass(slots=True, repr=False)
class Exchange:
    """A request and its answer, None where there was none: then `why` says what came instead. `at` and `took_s` in
    seconds since the recording's begin; `way` is "up" for a request towards the host."""

    n: int
    at: float
    connection: int
    way: str
    request: Told
    reply: Told | None = None
    took_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Exchange({self.n} {self.request.mti})"


@dataclass(slots=True)
class Head:
    """What a recording says of itself."""

    dialect: str
    profile: str
    source: str


class StoryWriter:
    """Writes a recording to a text file that its owner closes."""

    def __init__(self, file: TextIO, head: Head) -> None:
        self._file = file
        self.exchanges = 0
        self._line({"shoudan_recording": FORMAT, **_plain(head)})

    def write(self, exchange: Exchange) -> None:
        """Add an exchange."""
        self.exchanges += 1
        self._line(_exchange_out(exchange))

    def _line(self, data: dict[str, Any]) -> None:
        self._file.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")


def read_head(path: Path) -> Head:
    """The first line. Raises StoryError."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return _head(path, file.readline())


def read_story(path: Path) -> Iterator[Exchange]:
    """The exchanges of a recording, one by one. Raises StoryError at the line that is none."""
    with path.open(encoding="utf-8", errors="replace") as file:
        _head(path, file.readline())
        for number, line in enumerate(file, 2):
            if not line.strip():
                continue
            try:
                yield _exchange_in(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if not line.endswith("\n"):
                    raise StoryError(f"{path}:{number}: the last line is cut; delete it to replay the rest") from None
                raise StoryError(f"{path}:{number}: not an exchange ({type(error).__name__})") from None


def _head(path: Path, line: str) -> Head:
    try:
        data = json.loads(line)
        if data["shoudan_recording"] != FORMAT:
            raise StoryError(f"{path}:1: recording format {data['shoudan_recording']!r}, this one reads {FORMAT}")
        return Head(data["dialect"], data["profile"], data["source"])
    except (ValueError, KeyError, TypeError):
        raise StoryError(f"{path}:1: not a recording of shoudan scenario record") from None


def _plain(head: Head) -> dict[str, str]:
    return {"dialect": head.dialect, "profile": head.profile, "source": head.source}


def _told_out(told: Told) -> dict[str, Any]:
    fields = {str(de): {"hex": value.hex()} if isinstance(value, bytes) else value for de, value in told.fields.items()}
    data: dict[str, Any] = {"mti": told.mti, "fields": fields}
    for name in ("header", "mac", "pin", "keys", "sealed"):
        if value := getattr(told, name):
            data[name] = value
    if told.pads:
        data["pads"] = {str(de): pad for de, pad in told.pads.items()}
    return data


def _told_in(data: dict[str, Any]) -> Told:
    fields = {
        int(de): bytes.fromhex(value["hex"]) if isinstance(value, dict) else str(value)
        for de, value in data["fields"].items()
    }
    pads = {int(de): str(pad) for de, pad in data.get("pads", {}).items()}
    return Told(
        data["mti"], fields, data.get("header", ""), pads, data.get("mac", ""), data.get("pin", ""),
        bool(data.get("keys")), bool(data.get("sealed")),
    )  # fmt: skip


def _exchange_out(one: Exchange) -> dict[str, Any]:
    data: dict[str, Any] = {
        "n": one.n, "at": round(one.at, 6), "connection": one.connection, "way": one.way,
        "request": _told_out(one.request), "reply": None if one.reply is None else _told_out(one.reply),
    }  # fmt: skip
    if one.reply is not None:
        data["took_s"] = round(one.took_s, 6)
    if one.notes:
        data["notes"] = one.notes
    if one.why:
        data["why_no_match"] = one.why
    return data


def _exchange_in(data: dict[str, Any]) -> Exchange:
    reply = data["reply"]
    return Exchange(
        int(data["n"]), float(data["at"]), int(data["connection"]), str(data["way"]), _told_in(data["request"]),
        None if reply is None else _told_in(reply), float(data.get("took_s", 0)), list(data.get("notes", [])),
        list(data.get("why_no_match", [])),
    )  # fmt: skip
