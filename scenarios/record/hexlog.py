"""Hex in somebody's log to messages: a line may carry a time and a direction; a dump may go over many lines.

A line with no hex, or hex too short to be a message, is foreign: counted, never an end.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

LEAST: Final = 10
"""Bytes below which hex in a line is somebody's number, not a message."""
MESSAGE_MAX: Final = 16_384

_DUMP: Final = re.compile(
    r"^\s*(?:0x)?[0-9a-fA-F]{4,8}[:\s]\s*((?:[0-9a-fA-F]{2}[ -]{1,2}){1,16}|(?:[0-9a-fA-F]{4} ){1,8})"
)
_RUN: Final = re.compile(r"(?:[0-9a-fA-F]{2}[ :]?){10,}")
_TIME: Final = re.compile(r"(?<!\d)(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d{1,6}))?")
_UP: Final = re.compile(r"(?i)\b(send|sent|snd|tx|out|request|req|up)\b|>>|->|发送|请求|上送")
_DOWN: Final = re.compile(r"(?i)\b(recv|received|rcv|rx|in|response|resp|reply|down)\b|<<|<-|接收|应答|返回")


class Line(NamedTuple):
    """One message of a log: seconds of the day (None where the log has none), "up", "down" or "" where it does not
    say, its bytes. Without bytes: a foreign line, `number` being its line."""

    number: int
    at: float | None
    way: str
    data: bytes


def read_hex_log(lines: Iterable[str]) -> Iterator[Line]:
    """Messages and foreign lines of a log, as a stream. Empty lines and comments (#) are neither."""
    dump, begun, at, way = b"", 0, None, ""
    for number, text in enumerate(lines, 1):
        text = text.rstrip("\r\n")
        row = _DUMP.match(text)
        if row is not None and not _RUN.search(text.replace(row.group(0), "")):
            piece = bytes.fromhex(re.sub(r"[\s-]", "", row.group(1)))
            offset = re.match(r"\s*(?:0x)?([0-9a-fA-F]+)", text)
            starts = offset is not None and int(offset.group(1), 16) == 0
            if dump and (starts or len(dump) > MESSAGE_MAX):
                yield Line(begun, at, way, dump)
                dump = b""
            begun = begun if dump else number
            dump += piece
            continue
        if dump:
            yield Line(begun, at, way, dump)
            dump, at, way = b"", None, ""
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        found = max(_RUN.findall(text), key=len, default="") if _RUN.search(text) else ""
        data = _bytes_of(found)
        said = text.replace(found, " ") if found else text
        here, there = _seconds(said), _direction(said)
        if len(data) >= LEAST:
            yield Line(number, here if here is not None else at, there or way, data)
            at, way = None, ""
        else:
            # A header line over a dump: its time and direction are the dump's.
            at, way = (here if here is not None else at), there or way
            yield Line(number, here, there, b"")
    if dump:
        yield Line(begun, at, way, dump)


def _bytes_of(found: str) -> bytes:
    digits = re.sub(r"[^0-9a-fA-F]", "", found)
    return bytes.fromhex(digits[: len(digits) // 2 * 2])


def _seconds(text: str) -> float | None:
    time = _TIME.search(text)
    if time is None:
        return None
    hours, minutes, seconds, part = time.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + (float(f"0.{part}") if part else 0.0)


def _direction(text: str) -> str:
    up, down = bool(_UP.search(text)), bool(_DOWN.search(text))
    return "up" if up and not down else "down" if down and not up else ""
