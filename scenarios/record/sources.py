"""Where a recording comes from: a capture, a hex log, or a proxy while it runs. All give exchanges, one by one."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from scenarios.doctor.shape import PREFIXES, Assessment, diagnose, read_length
from scenarios.record.assemble import Assembler
from scenarios.record.capture import read_capture
from scenarios.record.hexlog import Line, read_hex_log
from scenarios.record.pcapfile import PcapWriter
from scenarios.record.story import Exchange, StoryWriter
from switch.wire.framing import TPDU_SIZE, Frame

DAY_S: Final = 86_400


def from_capture(path: Path, assembler: Assembler, port: int = 0) -> Iterator[Exchange]:
    """A pcap or pcapng. Raises CaptureError for a file that is neither."""
    for piece in read_capture(path, port):
        if piece.event:
            yield from assembler.event(piece.at, piece.connection, piece.event)
        else:
            yield from assembler.feed(piece.at, piece.connection, piece.way, piece.data)
    yield from assembler.end()


def from_hex_log(path: Path, assembler: Assembler) -> Iterator[Exchange]:
    """A log with hex in it. Its times are kept where it has any; else a message a second. Framing is found line by
    line, so a log may hold bodies, payloads or whole frames."""
    first: float | None = None
    before, days, at = 0.0, 0, -1.0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in read_hex_log(file):
            if not line.data:
                assembler.foreign()
                continue
            if line.at is not None:
                days += line.at < before - DAY_S / 2  # past midnight
                before = line.at
                moment = line.at + days * DAY_S
                first = moment if first is None else first
                at = max(at, moment - first)
            else:
                at += 1.0
            yield from _of_line(line, max(at, 0.0), assembler)
    yield from assembler.end()


def _of_line(line: Line, at: float, assembler: Assembler) -> Iterator[Exchange]:
    one = diagnose(line.data)
    if one is None:
        assembler.foreign()
        return
    for frame in _frames(one, line.data):
        yield from assembler.frame(at, 1, line.way or _way(one), frame)


def _way(one: Assessment) -> str:
    return "down" if one.mti and int(one.mti[2]) % 2 else "up"


def _frames(one: Assessment, data: bytes) -> Iterator[Frame]:
    """The whole frames of a line under the shape that was found."""
    shape, at = one.shape, 0
    prefix = PREFIXES[shape.length]
    while at < len(data):
        size = read_length(shape, data, at)
        if size is None:
            return
        payload = data[at + prefix : at + prefix + size]
        if payload:
            start = TPDU_SIZE if shape.tpdu else 0
            yield Frame(payload[:start], payload[start : shape.overhead], payload[shape.overhead :])
        at += prefix + size


class Listener:
    """What a tap hears, into a story and, where wanted, a pcap. `epoch` is the wall time at loop time `begun`."""

    def __init__(
        self, assembler: Assembler, story: StoryWriter, begun: float, epoch: float, pcap: PcapWriter | None = None
    ) -> None:
        self._assembler = assembler
        self._story = story
        self._begun = begun
        self._epoch = epoch
        self._pcap = pcap

    def __call__(self, at: float, connection: int, way: str, data: bytes, event: str) -> None:
        since = at - self._begun
        if self._pcap is not None:
            wall = self._epoch + since
            if event == "begin":
                self._pcap.opened(wall, connection)
            elif event == "end":
                self._pcap.closed(wall, connection)
            else:
                self._pcap.carried(wall, connection, way, data)
        if event == "begin":
            return
        took: Callable[[], Iterator[Exchange]] = (
            (lambda: self._assembler.event(since, connection, "end"))
            if event
            else (lambda: self._assembler.feed(since, connection, way, data))
        )
        for exchange in took():
            self._story.write(exchange)

    def end(self) -> None:
        """The proxy ends: what is open is written too."""
        with contextlib.suppress(ValueError):
            for exchange in self._assembler.end():
                self._story.write(exchange)
