"""Bytes in, frames out: length prefix, TPDU, 6-byte POS header, 46-byte network header.

    POS        | length 2 B big-endian | TPDU 5 B | header 6 B | body |        pos-protocol section 1
    network    | length 4 ASCII digits | header 46 B | body |                  network-protocol sections 1 and 2

A `Framing` says which of these parts a link carries; nothing here looks into the body.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from switch.wire.errors import FrameError

TPDU_SIZE = 5
POS_HEADER_SIZE = 6
NETWORK_HEADER_SIZE = 46
_PREFIX_SIZE = {"bin2": 2, "ascii4": 4, "none": 0}
_LENGTH_LIMIT = {"bin2": 0xFFFF, "ascii4": 9999, "none": 1 << 62}


_new: Final = tuple.__new__
"""A Frame without the call of its own constructor (0.2 us)."""


class Frame(NamedTuple):
    """One message as it stood on the wire, without its length: parts that the link does not carry are empty."""

    tpdu: bytes
    header: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Framing:
    """Which parts surround a message body on one kind of link.

    `length`         prefix: two bytes big-endian, four ASCII digits, or none (files, test vectors).
    `header`         0, 6 (POS) or 46 (network) bytes after the TPDU.
    `counts_itself`  the prefix counts its own bytes too (some acquirers).
    `frame_max`      the longest payload taken or sent, prefix not counted, in bytes.
    """

    length: Literal["bin2", "ascii4", "none"] = "bin2"
    tpdu: bool = True
    header: Literal[0, 6, 46] = 6
    counts_itself: bool = False
    frame_max: int = 4096

    @property
    def overhead(self) -> int:
        """Bytes of TPDU and header before the body."""
        return (TPDU_SIZE if self.tpdu else 0) + self.header

    @property
    def prefix_size(self) -> int:
        """Bytes of the length prefix."""
        return _PREFIX_SIZE[self.length]

    def first_size(self, data: bytes) -> int:
        """Bytes of the frame that `data` begins with, its prefix included; those of the prefix alone while it is not
        whole. FrameError as of a stream's."""
        prefix = self.prefix_size
        return prefix + _read_length(self, data, 0) if len(data) >= prefix else prefix

    def wrap(self, body: bytes, header: bytes = b"", tpdu: bytes = b"") -> bytes:
        """The bytes to send. Header and TPDU must have exactly the size this link carries, else FrameError."""
        before, after = len(tpdu), len(header)
        if before != (TPDU_SIZE if self.tpdu else 0):
            raise FrameError("TPDU", self.prefix_size, f"{before} bytes, this link carries {5 if self.tpdu else 0}")
        if after != self.header:
            raise FrameError("header", self.prefix_size, f"{after} bytes, this link carries {self.header}")
        size = before + after + len(body)
        if size > self.frame_max:
            raise FrameError("length prefix", 0, f"{size} bytes exceed the link's maximum of {self.frame_max}")
        counted = size + self.prefix_size if self.counts_itself else size
        if counted > _LENGTH_LIMIT[self.length]:
            raise FrameError("length prefix", 0, f"{counted} does not fit into the prefix")
        if self.length == "bin2":
            return counted.to_bytes(2, "big") + tpdu + header + body
        if self.length == "ascii4":
            return b"%04d" % counted + tpdu + header + body
        return tpdu + header + body

    def split(self, payload: bytes) -> Frame:
        """Take a payload (without its length prefix) apart; FrameError when TPDU and header do not fit into it."""
        start = TPDU_SIZE if self.tpdu else 0
        stop = start + self.header
        if len(payload) < stop:
            part = "TPDU" if len(payload) < start else "header"
            raise FrameError(part, 0 if part == "TPDU" else start, f"payload of {len(payload)} bytes, expected {stop}")
        return Frame(payload[:start], payload[start:stop], payload[stop:])

    def unwrap(self, data: bytes) -> Frame:
        """One whole frame, its prefix included (a file, a datagram, a test vector); FrameError unless it is exactly
        one.
        """
        prefix = self.prefix_size
        if not prefix:
            return self.split(data)
        if len(data) < prefix:
            raise FrameError("length prefix", 0, f"{len(data)} bytes, expected {prefix}")
        size = _read_length(self, data, 0)
        if size != len(data) - prefix:
            raise FrameError("length prefix", 0, f"says {size} bytes, {len(data) - prefix} follow")
        return self.split(data[prefix:])


class Deframer:
    """Cuts one connection's byte stream into frames, however it was split into segments.

    A broken prefix means that the stream has lost its place: frames complete before it are still returned, then `feed`
    raises FrameError, now and at each later call (`error` shows it at once). `rest` holds less than one frame between
    calls.
    """

    __slots__ = ("_alone", "_body_at", "_framing", "_header_at", "_prefix", "error", "keepalives", "rest")

    def __init__(self, framing: Framing) -> None:
        if framing.length == "none":
            raise FrameError("length prefix", None, "a stream needs a length prefix")
        self._framing = framing
        self._prefix = framing.prefix_size
        self.rest = b""
        self._header_at = 2 + (TPDU_SIZE if framing.tpdu else 0)
        self._body_at = self._header_at + framing.header
        # Two bytes of length, and what they count, in one segment: what a terminal's request nearly always is.
        self._alone = framing.length == "bin2" and not framing.counts_itself
        self.keepalives = 0
        self.error: FrameError | None = None

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun and not ended."""
        return len(self.rest)

    def whole(self, data: bytes) -> Frame | None:
        """`data` where it is one whole frame and nothing else, on a stream in good order; else None, and it is to be
        fed. It goes past the loop, and no list is made (0.8 us)."""
        if self._alone and not self.rest and self.error is None:
            size, body_at = len(data), self._body_at
            if body_at < size and (data[0] << 8 | data[1]) == size - 2 <= self._framing.frame_max:
                header_at = self._header_at
                return _new(Frame, (data[2:header_at], data[header_at:body_at], data[body_at:]))
        return None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. FrameError: length 0 (unless it is the network's `0000` keep-alive, which
        is counted in `keepalives`), over `frame_max`, not digits, or too short for TPDU and header.
        """
        alone = self.whole(data)
        if alone is not None:
            return [alone]
        if self.error is not None:
            raise self.error
        buffer = self.rest + data if self.rest else data
        framing, prefix = self._framing, self._prefix
        header_at, body_at = self._header_at - 2 + prefix, self._body_at - 2 + prefix
        frames: list[Frame] = []
        at, end = 0, len(buffer)
        try:
            while end - at >= prefix:
                size = _read_length(framing, buffer, at)
                stop = at + prefix + size
                if not size:
                    self.keepalives += 1
                elif stop <= end:
                    # `split`, which cannot fail here, without the call and the payload in between (0.4 us)
                    header, body = at + header_at, at + body_at
                    frames.append(_new(Frame, (buffer[at + prefix : header], buffer[header:body], buffer[body:stop])))
                else:
                    break
                at = stop
        except FrameError as fault:
            self.error = fault
            self.rest = b""
            if not frames:
                raise
            return frames
        self.rest = bytes(buffer[at:])
        return frames


def _read_length(framing: Framing, data: bytes, at: int) -> int:
    """Size of the payload behind the prefix at `at`; 0 is a keep-alive."""
    if framing.length == "bin2":
        size = int.from_bytes(data[at : at + 2], "big")
    else:
        digits = data[at : at + 4]
        # int() would take "+046" and " 046"
        if len(digits) != 4 or not digits.isdigit():
            raise FrameError("length prefix", 0, "not four ASCII digits")
        size = int(digits)
        if size == 0:
            return 0
    if framing.counts_itself:
        size -= framing.prefix_size
    if size > framing.frame_max:
        raise FrameError("length prefix", 0, f"{size} bytes exceed the link's maximum of {framing.frame_max}")
    if size <= (TPDU_SIZE if framing.tpdu else 0) + framing.header:
        raise FrameError("length prefix", 0, f"{size} bytes are too few for TPDU, header and a body")
    return size


FRAMINGS: dict[str, Framing] = {
    "len2+tpdu+hdr6": Framing("bin2", True, 6),
    "tpdu+hdr6": Framing("none", True, 6),
    "len2+tpdu": Framing("bin2", True, 0),
    "body": Framing("none", False, 0),
    "len4+hdr46": Framing("ascii4", False, 46),
    "hdr46": Framing("none", False, 46),
}
"""The framings met in the field, by the names that message collections and profiles use."""


# POS: TPDU and 6-byte header


def reply_tpdu(tpdu: bytes) -> bytes:
    """The TPDU of an answer: destination and source swapped (`6000030000` becomes `6000000003`)."""
    return tpdu[:1] + tpdu[3:5] + tpdu[1:3]


class PosHeader(NamedTuple):
    """The 6-byte header as its 12 hexadecimal digits (pos-protocol section 1.1).

    `application` 60 magstripe, 61 IC payment, 62/63 value-added; `version` of the specification; `status` 0 normal, 1
              test; `processing` what the host asks for (0 nothing, 1 download parameters, 3 sign in again...);
              `reserved` is the software's own.
    """

    application: str = "60"
    version: str = "31"
    status: str = "0"
    processing: str = "0"
    reserved: str = "310000"

    def build(self) -> bytes:
        """The 6 bytes; FrameError when a part is not hexadecimal of its length."""
        for part, size in zip(self, (2, 2, 1, 1, 6), strict=True):
            if len(part) != size or part.strip("0123456789ABCDEF"):
                raise FrameError(
                    "header", None, f"a part of {len(part)} characters, expected {size} hexadecimal digits"
                )
        return bytes.fromhex("".join(self))

    @classmethod
    def parse(cls, header: bytes) -> "PosHeader":
        """Any 6 bytes: real terminals put letters into the last digits, so nothing is validated."""
        if len(header) != POS_HEADER_SIZE:
            raise FrameError("header", 0, f"{len(header)} bytes, expected {POS_HEADER_SIZE}")
        text = header.hex().upper()
        return cls(text[:2], text[2:4], text[4], text[5], text[6:])


def pos_header(
    application: str = "60", version: str = "31", status: str = "0", processing: str = "0", reserved: str = "310000"
) -> bytes:
    """The 6 header bytes of a terminal's request."""
    return PosHeader(application, version, status, processing, reserved).build()


@lru_cache(maxsize=1024)  # a fleet has few headers, and building one takes 2.5 us
def reply_header(header: bytes, processing: str = "0") -> bytes:
    """The header of an answer: the request's own, with the host's processing requirement in its sixth digit."""
    return PosHeader.parse(header)._replace(processing=processing).build()


# Network: 46-byte header

CENTRE_ID = "00010000"
"""The network centre's own identifier, as destination or source."""

REJECT_CODES = {
    "header length": "00015",
    "header version": "00025",
    "header total length": "00035",
    "header destination": "00045",
    "header source": "00055",
}
"""FrameError.where of a bad network header to the reject code that its sender is told."""


class NetworkHeader(NamedTuple):
    """The 46-byte header (network-protocol section 2). `length` is that of header and body together, in bytes.

    `version` 0x02 production, 0x82 test, 0x01 version 1. Identifiers come without their trailing spaces. `reserved`,
              `batch`, `info` and `user` are echoed in answers. A `reject` other than 00000 means: your message,
              unchanged, was refused.
    """

    version: int = 0x02
    length: int = NETWORK_HEADER_SIZE
    destination: str = CENTRE_ID
    source: str = ""
    reserved: bytes = b"\0\0\0"
    batch: int = 0
    info: str = "00000000"
    user: int = 0
    reject: str = "00000"

    def build(self, body_length: int) -> bytes:
        """The 46 bytes in front of a body of `body_length` bytes; `length` is computed. FrameError on parts that do not
        fit.
        """
        total = NETWORK_HEADER_SIZE + body_length
        try:
            header = b"".join(
                (
                    bytes((NETWORK_HEADER_SIZE, self.version)),
                    b"%04d" % total,
                    self.destination.encode("ascii").ljust(11),
                    self.source.encode("ascii").ljust(11),
                    self.reserved,
                    bytes((self.batch,)),
                    self.info.encode("ascii"),
                    bytes((self.user,)),
                    self.reject.encode("ascii"),
                )
            )
        except ValueError:
            raise FrameError("header", None, "a part is out of its range") from None
        if (
            len(header) != NETWORK_HEADER_SIZE
            or len(self.reject) != 5
            or len(self.reserved) != 3
            or len(self.info) != 8
        ):
            raise FrameError("header", None, "a part has not its fixed length")
        return header

    @classmethod
    def parse(cls, header: bytes, total: int | None = None) -> "NetworkHeader":
        """Read 46 bytes; `total`, when given, is the payload's real length and must agree.

        FrameError.where is a key of REJECT_CODES wherever the network has a reject code for the fault.
        """
        if len(header) != NETWORK_HEADER_SIZE or header[0] != NETWORK_HEADER_SIZE:
            raise FrameError("header length", 0, f"expected {NETWORK_HEADER_SIZE}")
        if header[1] & 0x7F not in (1, 2):
            raise FrameError("header version", 1, "neither version 1 nor 2")
        digits = header[2:6]
        if not digits.isdigit():
            raise FrameError("header total length", 2, "not four ASCII digits")
        length = int(digits)
        if total is not None and length != total:
            raise FrameError("header total length", 2, f"says {length} bytes, the payload has {total}")
        for where, at in (("header destination", 6), ("header source", 17)):
            if not header[at : at + 11].rstrip(b" ").isalnum():
                raise FrameError(where, at, "not an institution identifier")
        if not (header[32:40] + header[41:46]).isascii():
            raise FrameError("header", 32, "not ASCII")
        return cls(
            header[1],
            length,
            header[6:17].decode("ascii").rstrip(" "),
            header[17:28].decode("ascii").rstrip(" "),
            header[28:31],
            header[31],
            header[32:40].decode("ascii"),
            header[40],
            header[41:46].decode("ascii"),
        )
