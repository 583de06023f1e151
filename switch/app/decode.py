"""`shoudan decode`: any message of either dialect, explained. What it prints is masked unless `--unsafe` is given."""

import json
import os
import string
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text as Styled

from switch.app.detect import Reading, detect, rebuild
from switch.app.explain import Lang, Row, in_lang, rows, shown, tags
from switch.wire import codes
from switch.wire.codes import Text
from switch.wire.errors import FrameError, WireError
from switch.wire.framing import FRAMINGS, NetworkHeader, PosHeader

FAILED = 1
BAD_USAGE = 2

_SEPARATORS = str.maketrans("", "", string.whitespace + ":-")


class SourceError(ValueError):
    """An argument that is no message and no file; never holds the argument itself."""


class Source(NamedTuple):
    """One message to decode: its bytes, the line it stood on (0 if it stood on the command line), or what is wrong."""

    data: bytes
    line: int
    fault: str = ""


class Decoded(NamedTuple):
    """One answer of the tool."""

    source: Source
    reading: Reading | None
    roundtrip: str | None

    @property
    def error(self) -> str | None:
        """Why the message is not whole."""
        if self.reading is None:
            return self.source.fault
        return None if self.reading.error is None else str(self.reading.error)

    @property
    def good(self) -> bool:
        """Whether it decoded, and came out the same if that was asked."""
        return self.error is None and not self.roundtrip


def parse_hex(text: str) -> bytes:
    """Hex digits with blanks, colons or dashes between them. Raises SourceError, which says where but not what."""
    digits = text.translate(_SEPARATORS)
    digits = digits[2:] if digits[:2] in ("0x", "0X") else digits
    for at, digit in enumerate(digits):
        if digit not in string.hexdigits:
            raise SourceError(f"digit {at + 1} is not hexadecimal")
    if not digits:
        raise SourceError("no hexadecimal digits")
    if len(digits) % 2:
        raise SourceError(f"{len(digits)} hexadecimal digits are not whole bytes")
    return bytes.fromhex(digits)


def read_source(argument: str) -> list[Source]:
    """Messages of the argument: hex, a file of one hex message a line, or `-` for standard input.

    Raises SourceError when the argument is neither; a bad line of a file is a Source with its fault.
    """
    if argument == "-":
        return list(_lines(typer.get_text_stream("stdin", errors="replace")))
    try:
        return [Source(parse_hex(argument), 0)]
    except SourceError as fault:
        path = Path(argument)
        if not _is_file(path):
            raise SourceError(f"neither a file nor a message: {fault}; give hexadecimal, a file, or -") from None
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return list(_lines(file))
    except OSError as error:
        raise SourceError(f"the file cannot be read: {error.strerror}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long or not a name at all
        return False


def _lines(file: Iterable[str]) -> Iterator[Source]:
    for number, line in enumerate(file, 1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        try:
            yield Source(parse_hex(text), number)
        except SourceError as fault:
            yield Source(b"", number, f"line {number}: {fault}")


def decode_one(source: Source, dialect: str | None, framing: str | None, roundtrip: bool) -> Decoded:
    """Read one message, and build it again if asked."""
    if source.fault:
        return Decoded(source, None, None)
    reading = detect(source.data, dialect, framing)
    return Decoded(source, reading, _compare(source.data, reading) if roundtrip else None)


def _compare(data: bytes, reading: Reading) -> str:
    """How the rebuilt message differs, "" if it does not."""
    try:
        again = rebuild(reading)
    except WireError as error:
        return f"not encoded again: {error}"
    if again == data:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(again, data, strict=False)) if a != b), min(len(again), len(data)))
    return f"differs from byte {at} on ({len(again)} bytes for {len(data)})"


# What is known of the frame


def header_parts(reading: Reading) -> dict[str, str] | None:
    """The header's parts by name, with the whole of it as `hex`; None if the framing has none."""
    raw = reading.frame.header
    if not raw:
        return None
    parts = {"hex": raw.hex().upper()}
    try:
        if len(raw) == 6:
            parts |= PosHeader.parse(raw)._asdict()
        else:
            header = NetworkHeader.parse(raw)
            values = header._asdict()
            parts |= {key: v.hex().upper() if isinstance(v, bytes) else str(v) for key, v in values.items()}
    except FrameError as error:
        parts["error"] = str(error)
    return parts


def _header_note(parts: dict[str, str], lang: Lang) -> str:
    notes: list[Text | None] = []
    if "application" in parts:
        notes = [codes.APPLICATION_CLASSES.get(parts["application"])]
        if parts["processing"] != "0":
            notes.append(codes.HEADER_REQUIREMENTS.get(parts["processing"]))
    elif parts.get("reject", "00000") != "00000":
        notes = [codes.REJECT_CODES.get(parts["reject"], Text("报文被拒绝", "message rejected"))]
    return "; ".join(in_lang(note, lang) for note in notes if note is not None)


# JSON


def as_object(decoded: Decoded, lang: Lang, unsafe: bool) -> dict[str, Any]:
    """The JSON object of one message: values as in the message collections, binary as hex."""
    reading, source = decoded.reading, decoded.source
    out: dict[str, Any] = {"line": source.line} if source.line else {}
    if reading is None:
        return out | {
            "dialect": None, "framing": None, "header": None, "mti": None, "fields": {}, "error": source.fault
        }  # fmt: skip
    out |= {"dialect": reading.dialect.name, "framing": reading.framing}
    if reading.frame.tpdu:
        out["tpdu"] = reading.frame.tpdu.hex().upper()
    out |= {"header": header_parts(reading), "mti": reading.mti, "fields": _fields(reading, unsafe)}
    message = reading.message
    if message is not None:
        if message.pads:
            out["pads"] = {str(de): pad for de, pad in message.pads.items()}
        opened = tags(message.fields[55], unsafe) if isinstance(message.fields.get(55), bytes) else None
        if opened is not None:
            out["tags"] = opened
        out["rows"] = [_row_object(row, lang) for row in rows(message, reading.dialect, unsafe)]
    if decoded.roundtrip is not None:
        out["roundtrip"] = not decoded.roundtrip
    return out | {"error": decoded.error or (decoded.roundtrip or None)}


def _fields(reading: Reading, unsafe: bool) -> dict[str, str]:
    fields = reading.read_so_far()
    return {str(de): shown(de, value, unsafe) for de, value in sorted(fields.items())}


def _row_object(row: Row, lang: Lang) -> dict[str, Any]:
    out: dict[str, Any] = {"key": row.key, "name": in_lang(row.name, lang), "value": row.value}
    if row.meaning is not None:
        out["meaning"] = in_lang(row.meaning, lang)
    return out | ({"depth": row.depth} if row.depth else {})


# For people

_TITLES = {
    "zh": ("域", "名称", "值", "含义"),
    "en": ("DE", "name", "value", "meaning"),
    "both": ("域 DE", "名称 name", "值 value", "含义 meaning"),
}


def printable(text: str) -> str:
    """Text without anything a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_reading(console: Console, decoded: Decoded, lang: Lang, unsafe: bool) -> None:
    """One message as a table, its frame above, what is wrong with it below."""
    reading = decoded.reading
    assert reading is not None  # faults of the source are printed by the caller
    where = f"line {decoded.source.line} · " if decoded.source.line else ""
    console.print(f"{where}{reading.dialect.name} · {reading.framing}", style="bold", highlight=False)
    if reading.frame.tpdu:
        console.print(f"  TPDU   {reading.frame.tpdu.hex().upper()}", highlight=False)
    parts = header_parts(reading)
    if parts is not None:
        rest = " ".join(f"{key}={value!r}" if " " in value else f"{key}={value}" for key, value in parts.items())
        note = _header_note(parts, lang)
        console.print(Styled(f"  header {printable(rest)}" + (f"  ({note})" if note else "")))
    console.print(_grid(_lines_of(reading, unsafe), lang))
    if decoded.error is not None:
        console.print(Styled(f"  stopped: {decoded.error}", style="bold red"))
    if decoded.roundtrip is not None:
        same = f"  round trip: the same {len(decoded.source.data)} bytes"
        good = not decoded.roundtrip
        console.print(Styled(same if good else f"  round trip: {decoded.roundtrip}", style="green" if good else "red"))


def _lines_of(reading: Reading, unsafe: bool) -> list[Row]:
    if reading.message is not None:
        return rows(reading.message, reading.dialect, unsafe)
    mti = reading.mti
    out = [] if mti is None else [Row("MTI", Text("消息类型", "message type"), mti, codes.MTIS.get(mti))]
    for de, value in sorted(reading.read_so_far().items()):
        row = reading.dialect.row(de)
        out.append(Row(str(de), Text(row["zh"], row["en"]), shown(de, value, unsafe)))
    return out


def _grid(lines: list[Row], lang: Lang) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=True, show_edge=False)
    titles = _TITLES[lang]
    grid.add_column(titles[0], style="cyan", no_wrap=True)
    grid.add_column(titles[1])
    grid.add_column(titles[2], overflow="fold", style="bold")
    grid.add_column(titles[3], overflow="fold", style="green")
    for row in lines:
        indent = "  " * row.depth
        grid.add_row(
            Styled(indent + row.key),
            Styled(indent + in_lang(row.name, lang), style="dim" if row.depth else ""),
            Styled(printable(row.value)),
            Styled(printable(in_lang(row.meaning, lang))),
        )
    return grid


def console_for(stderr: bool = False) -> Console:
    """A console that does not cut lines short when nobody is looking at a screen."""
    wide = None if (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ else 140
    return Console(stderr=stderr, width=wide, highlight=False)


def decode(
    source: Annotated[str, typer.Argument(metavar="HEX|FILE|-", help="Hex, a file of one hex message a line, or -.")],
    lang: Annotated[Literal["zh", "en", "both"], typer.Option(help="Language of names and meanings.")] = "both",
    as_json: Annotated[bool, typer.Option("--json", help="JSON: an object, or an array for several messages.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Print card numbers, tracks and keys in clear.")] = False,
    roundtrip: Annotated[
        bool, typer.Option("--roundtrip", help="Encode again; exit 1 unless the bytes agree.")
    ] = False,
    dialect: Annotated[Literal["pos", "network"] | None, typer.Option(help="Do not detect the dialect.")] = None,
    framing: Annotated[str | None, typer.Option(help=f"Do not detect the framing: {', '.join(FRAMINGS)}.")] = None,
) -> None:
    """Decode messages of either dialect (报文解析): fields, codes, DE55 and private fields in Chinese and English.

    Card numbers, tracks, PIN blocks and keys are masked. Exit codes: 0 decoded, 1 a message did not decode or did not
    come out the same, 2 bad usage.
    """
    if framing is not None and framing not in FRAMINGS:
        typer.echo(f"shoudan decode: --framing: no such framing; one of {', '.join(FRAMINGS)}", err=True)
        raise typer.Exit(BAD_USAGE)
    try:
        sources = read_source(source)
    except SourceError as fault:
        typer.echo(f"shoudan decode: {fault}", err=True)
        raise typer.Exit(BAD_USAGE) from None
    if not sources:
        typer.echo("shoudan decode: no message in the input; one hexadecimal message a line", err=True)
        raise typer.Exit(BAD_USAGE)
    if len(sources) > 1 and all(one.fault for one in sources):
        typer.echo(f"shoudan decode: {sources[0].fault}, nor is any other line; one message a line", err=True)
        raise typer.Exit(BAD_USAGE)
    answers = [decode_one(one, dialect, framing, roundtrip) for one in sources]
    if as_json:
        objects = [as_object(answer, lang, unsafe) for answer in answers]
        typer.echo(json.dumps(objects[0] if len(objects) == 1 else objects, ensure_ascii=False, indent=1))
    else:
        _print_all(answers, lang, unsafe)
    if not all(answer.good for answer in answers):
        raise typer.Exit(FAILED)


def _print_all(answers: list[Decoded], lang: Lang, unsafe: bool) -> None:
    console = console_for()
    for number, answer in enumerate(answers):
        if answer.reading is None:
            typer.echo(f"shoudan decode: {answer.error}", err=True)
        else:
            if number:
                console.print()
            print_reading(console, answer, lang, unsafe)
