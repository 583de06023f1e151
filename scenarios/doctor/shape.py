"""First bytes to framing and dialect: every shape is scored against what is there, and the most plausible is kept.

A shape is a length prefix and its unit, whether it counts itself, a TPDU, a header and a dialect. Nothing is believed
for its own sake: evidence is a length that ends where the bytes end or where the next message begins, a TPDU and a
header that look like one, an MTI that exists, fields that decode.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from switch.wire.codec import codec_of
from switch.wire.codes import MTIS
from switch.wire.dialects import DIALECTS, Dialect
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import NETWORK_HEADER_SIZE, POS_HEADER_SIZE, TPDU_SIZE, Frame, Framing, NetworkHeader
from switch.wire.message import Message

PREFIXES: Final = {"none": 0, "bin2": 2, "ascii4": 4, "bcd2": 2, "bin4": 4, "low2": 2}
"""Length prefixes and their bytes. Profiles have none, bin2 and ascii4; the others are told, not spoken."""
SPOKEN: Final = ("none", "bin2", "ascii4")
FRAME_MAX: Final = 8192
LOOKED_AT: Final = 8
"""Frames of one dump that are looked at."""
_HEADERS: Final = {"pos": (6, 0), "network": (46, 0)}


class Shape(NamedTuple):
    """What surrounds a message: `length` a key of PREFIXES, `header` 0, 6 or 46 bytes, `dialect` pos or network."""

    length: str
    counts_itself: bool
    tpdu: bool
    header: int
    dialect: str

    def framing(self) -> Framing | None:
        """The framing as links here take it; None where no profile can say it."""
        if self.length not in SPOKEN:
            return None
        return Framing(self.length, self.tpdu, self.header, self.counts_itself)  # type: ignore[arg-type]

    @property
    def overhead(self) -> int:
        """Bytes of TPDU and header."""
        return (TPDU_SIZE if self.tpdu else 0) + self.header


class Assessment(NamedTuple):
    """One shape and what speaks for it. `sure`: at least one message decoded whole under it, and every frame ends
    where it says. `messages` are those that decoded, `frames` how many frames the bytes hold, `cut` that the last one
    is not whole, `header` the first one's; `evidence` says in words what was counted."""

    shape: Shape
    score: int
    sure: bool
    frames: int
    messages: tuple[Message, ...]
    cut: bool
    header: bytes
    evidence: tuple[str, ...]

    @property
    def mti(self) -> str:
        """The first message's type, "" where none was read."""
        return self.messages[0].mti if self.messages else ""


def shapes() -> Iterator[Shape]:
    """All shapes, the usual ones first: of two equally plausible ones the usual is meant."""
    for dialect, order in (("pos", ("bin2", "ascii4", "none", "bcd2", "bin4", "low2")),
                           ("network", ("ascii4", "bin2", "none", "bcd2", "bin4", "low2"))):  # fmt: skip
        for length in order:
            for counts_itself in (False, True) if length != "none" else (False,):
                for header in _HEADERS[dialect]:
                    for tpdu in (True, False) if dialect == "pos" else (False, True):
                        yield Shape(length, counts_itself, tpdu, header, dialect)


def assess(data: bytes, dialects: dict[str, Dialect] | None = None) -> list[Assessment]:
    """Every shape that is not absurd, the most plausible first; empty where none is. `dialects` replaces the shipped
    tables by a link's own."""
    tables = DIALECTS if dialects is None else dialects
    found = [one for shape in shapes() if (one := _assess(data, shape, tables[shape.dialect])) is not None]
    return sorted(found, key=lambda one: -one.score)


def diagnose(data: bytes) -> Assessment | None:
    """The most plausible shape of some bytes, None where none is."""
    return next(iter(assess(data)), None)


def read_length(shape: Shape, data: bytes, at: int) -> int | None:
    """Bytes behind the prefix at `at`; None where it is no such prefix or claims what no message has."""
    size = PREFIXES[shape.length]
    digits = data[at : at + size]
    if shape.length == "none":
        return len(data) - at
    if len(digits) < size:
        return None
    if shape.length == "ascii4":
        value = int(digits) if digits.isdigit() else -1
    elif shape.length == "bcd2":
        value = int(digits.hex()) if digits.hex().isdigit() else -1
    else:
        value = int.from_bytes(digits, "little" if shape.length == "low2" else "big")
    if value and shape.counts_itself:
        value -= size
    return value if 0 <= value <= FRAME_MAX else None


class _Frames(NamedTuple):
    frames: list[Frame]
    cut: bool
    keepalives: int


def _cut(data: bytes, shape: Shape) -> _Frames | None:
    """The frames that the bytes hold under this shape, the last one perhaps not whole; None where it cannot be."""
    frames: list[Frame] = []
    at, keepalives, prefix = 0, 0, PREFIXES[shape.length]
    while at < len(data) and len(frames) < LOOKED_AT:
        size = read_length(shape, data, at)
        if size is None:
            return None if len(data) - at >= prefix else _Frames(frames, True, keepalives)
        if size == 0:
            keepalives += 1
            at += prefix
            continue
        payload = data[at + prefix : at + prefix + size]
        if size <= shape.overhead or (len(payload) == size and size < shape.overhead + 10):
            return None
        start = TPDU_SIZE if shape.tpdu else 0
        frames.append(Frame(payload[:start], payload[start : shape.overhead], payload[shape.overhead :]))
        at += prefix + size
        if len(payload) < size:
            return _Frames(frames, True, keepalives)
    return _Frames(frames, False, keepalives)


def _assess(data: bytes, shape: Shape, table: Dialect) -> Assessment | None:
    cut = _cut(data, shape)
    if cut is None or not cut.frames:
        return None
    evidence: list[str] = []
    score, messages, broken = 0, [], 0
    for number, frame in enumerate(cut.frames):
        whole = not (cut.cut and number == len(cut.frames) - 1)
        try:
            message = codec_of(table).decode(frame.body)
        except DecodeError as error:
            read = len(error.partial)
            known = error.partial.get(0, "") in MTIS
            score += (min(read, 12) + 4 if known else -8) if not number else 0
            broken += whole
            continue
        messages.append(message)
        score += 30 if not number else 3
        score += 4 if message.mti in MTIS else -4
    if not messages and score <= 0:
        return None
    score += _of_length(shape, cut, evidence)
    score += _of_surroundings(shape, cut.frames[0], evidence)
    score -= 10 * broken
    if messages:
        evidence.append(f"{len(messages)} of {len(cut.frames)} messages decode in every field")
    else:
        evidence.append("no message decodes to its end")
    sure = bool(messages) and not broken
    return Assessment(
        shape, score, sure, len(cut.frames), tuple(messages), cut.cut, cut.frames[0].header, tuple(evidence)
    )


def _of_length(shape: Shape, cut: _Frames, evidence: list[str]) -> int:
    if shape.length == "none":
        return 0
    if cut.cut and len(cut.frames) == 1:
        evidence.append("the length promises more than has come")
        return -2
    evidence.append(f"the length is right for {len(cut.frames) - cut.cut} frames")
    usual = shape.length in SPOKEN and not shape.counts_itself
    # Two zero bytes before each frame are the upper half of a longer prefix, more likely than keep-alives.
    return (4 if usual else 3) + min(len(cut.frames) - 1, 4) - 2 * min(cut.keepalives, 2)


def _of_surroundings(shape: Shape, frame: Frame, evidence: list[str]) -> int:
    score = 0
    if shape.tpdu:
        score += 3 if frame.tpdu[:1] == b"\x60" else -6
        evidence.append("the TPDU begins with 60" if frame.tpdu[:1] == b"\x60" else "what would be a TPDU has no 60")
    if shape.header == POS_HEADER_SIZE:
        known = frame.header[:1] in (b"\x60", b"\x61", b"\x62", b"\x63")
        score += 3 if known else -4
        evidence.append("the header's application class is one that exists" if known else "an odd application class")
    if shape.header == NETWORK_HEADER_SIZE:
        try:
            NetworkHeader.parse(frame.header, len(frame.header) + len(frame.body))
        except FrameError as error:
            score += 2 if frame.header[:1] == b"\x2e" else -6
            evidence.append(f"46-byte header: {error}")
        else:
            score += 12
            evidence.append("the 46-byte header is one, its length right")
    return score
