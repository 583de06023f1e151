"""Bytes of an unknown message to dialect, framing and fields: every pair is tried, the most plausible one is kept.

A whole decoding beats everything; among failures, evidence counts: a length prefix that agrees, a TPDU, a header, an
MTI that exists, and how many fields could be read. So a message that was cut short is still shown as what it is.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from switch.wire.codec import codec_of
from switch.wire.codes import MTIS
from switch.wire.dialects import DIALECTS, Dialect
from switch.wire.errors import DecodeError, FrameError, WireError
from switch.wire.framing import FRAMINGS, Frame, Framing, NetworkHeader
from switch.wire.message import Message

PAIRS: Final = (
    ("pos", "len2+tpdu+hdr6"),
    ("pos", "tpdu+hdr6"),
    ("pos", "len2+tpdu"),
    ("pos", "body"),
    ("network", "len4+hdr46"),
    ("network", "hdr46"),
    ("network", "body"),
)
"""Dialects and the framings they are met in, the usual ones first."""


class Reading(NamedTuple):
    """What a message turned out to be.

    `message` is None when `error` says why; `partial` then holds the fields that were read, masked (key 0 the MTI).
    A message may also be whole and `error` tell that only its frame is not.
    """

    dialect: Dialect
    framing: str
    frame: Frame
    message: Message | None
    partial: dict[int, str]
    error: WireError | None
    score: int

    @property
    def mti(self) -> str | None:
        """The MTI as far as it was read."""
        return self.message.mti if self.message is not None else self.partial.get(0)

    def read_so_far(self) -> dict[int, Any]:
        """The fields before the error, in clear."""
        if self.message is not None:
            return self.message.fields
        wanted = tuple(de for de in self.partial if de)
        if not wanted:
            return {}
        found = codec_of(self.dialect).peek(self.frame.body, wanted)
        return {de: value for de, value in found.items() if de}


def detect(data: bytes, dialect: str | None = None, framing: str | None = None) -> Reading:
    """The best reading, tried among all pairs or those that are left when dialect or framing is given."""
    best: Reading | None = None
    for pair in _pairs(dialect, framing):
        reading = _read(data, *pair)
        if best is None or reading.score > best.score:
            best = reading
    assert best is not None  # _pairs is never empty
    return best


def _pairs(dialect: str | None, framing: str | None) -> Iterator[tuple[str, str]]:
    found = [
        pair for pair in PAIRS if (dialect is None or pair[0] == dialect) and (framing is None or pair[1] == framing)
    ]
    # An unusual pair that was asked for is taken at its word.
    return iter(found or [(dialect or "pos", framing or "body")])


def _read(data: bytes, dialect_name: str, framing_name: str) -> Reading:
    dialect, framing = DIALECTS[dialect_name], FRAMINGS[framing_name]
    frame, fault = _frame(framing, data)
    score = _frame_score(framing, frame) - (6 if fault is not None else 0)
    score += 4 if fault is None and framing.length != "none" else 0
    message: Message | None = None
    partial: dict[int, str] = {}
    error: WireError | None = fault
    try:
        message = codec_of(dialect).decode(frame.body)
        score += 30 if fault is None else 10
    except DecodeError as broken:
        partial = broken.partial
        error = fault or broken
        score += min(len(partial), 12)
    mti = message.mti if message is not None else partial.get(0, "")
    score += 4 if mti in MTIS else -4
    return Reading(dialect, framing_name, frame, message, partial, error, score)


def _frame(framing: Framing, data: bytes) -> tuple[Frame, FrameError | None]:
    """The frame, as far as there is one, and what is wrong with it."""
    try:
        return framing.unwrap(data), None
    except FrameError as fault:
        payload = data[framing.prefix_size :]
        start = min(len(payload), 5 if framing.tpdu else 0)
        stop = min(len(payload), start + framing.header)
        return Frame(payload[:start], payload[start:stop], payload[stop:]), fault


def _frame_score(framing: Framing, frame: Frame) -> int:
    score = 0
    if framing.tpdu:
        score += 3 if frame.tpdu[:1] == b"\x60" else -6
    if framing.header == 6:
        score += 3 if frame.header[:1] in (b"\x60", b"\x61", b"\x62", b"\x63") else -2
    if framing.header == 46:
        try:
            NetworkHeader.parse(frame.header)
            score += 12
        except FrameError:
            score += 2 if frame.header[:1] == b"\x2e" else -6
    return score


def framing_name(framing: Framing) -> str:
    """The known name of a framing, or one made of its parts."""
    for name, known in FRAMINGS.items():
        if replace(known, frame_max=framing.frame_max) == framing:
            return name
    prefix = {"bin2": ["len2"], "ascii4": ["len4"], "none": []}[framing.length]
    parts = [*prefix, *(["tpdu"] if framing.tpdu else []), *([f"hdr{framing.header}"] if framing.header else [])]
    return "+".join(parts or ["body"]) + (", length counts itself" if framing.counts_itself else "")


def read_frame(frame: Frame, dialect: Dialect, framing: str) -> Reading:
    """A frame whose dialect is known, as a reading."""
    try:
        return Reading(dialect, framing, frame, codec_of(dialect).decode(frame.body), {}, None, 0)
    except DecodeError as broken:
        return Reading(dialect, framing, frame, None, broken.partial, broken, 0)


def rebuild(reading: Reading) -> bytes:
    """The bytes of a reading encoded again, to compare with what came. Raises WireError."""
    message = reading.message
    if message is None:
        raise reading.error or DecodeError("MTI", 0, "nothing was decoded")
    body = codec_of(reading.dialect).encode(message.mti, message.fields, message.pads)
    return FRAMINGS[reading.framing].wrap(body, reading.frame.header, reading.frame.tpdu)
