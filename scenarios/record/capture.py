"""pcap and pcapng to the bytes of each TCP connection, in order, read as a stream: a capture of any size fits.

What is understood: both byte orders, micro- and nanoseconds, Ethernet (with VLAN tags), Linux cooked, raw IP and
loopback, IPv4 and IPv6, TCP. Segments may come twice or out of order; a gap that never fills is told and the rest of
that connection goes on behind it. A file that ends in the middle is read as far as it goes and then says so.
Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, RFC 9293.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

PACKET_MAX: Final = 1 << 18
HELD_MAX: Final = 64
"""Segments of one direction held for an earlier one, before the gap is given up."""
CONNECTIONS_MAX: Final = 50_000
_MAGICS: Final = {b"\xa1\xb2\xc3\xd4": (">", 1e-6), b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
                  b"\xa1\xb2\x3c\x4d": (">", 1e-9), b"\x4d\x3c\xb2\xa1": ("<", 1e-9)}  # fmt: skip
_SECTION: Final = b"\x0a\x0d\x0d\x0a"
_ETHERNET, _LOOP, _COOKED, _COOKED2 = 1, {0, 108}, 113, 276
_RAW: Final = {12, 14, 101, 228, 229}
_FIN, _SYN, _RST = 1, 2, 4


class CaptureError(Exception):
    """A file that is no capture at all."""


class Piece(NamedTuple):
    """What a capture holds next: bytes of one connection and way ("up" is towards whom it was opened to), or with
    `event` what happened: "end" of a connection, "gap" in it, "cut" (the file ends in the middle), "skipped"."""

    at: float
    connection: int
    way: str
    data: bytes = b""
    event: str = ""


class _Packet(NamedTuple):
    at: float
    source: tuple[bytes, int]
    target: tuple[bytes, int]
    number: int
    flags: int
    data: bytes


@dataclass(slots=True)
class _Way:
    """One direction: the next byte's number, and segments that came before their turn."""

    next: int | None = None
    held: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _Connection:
    number: int
    opener: tuple[bytes, int]
    ways: dict[str, _Way] = field(default_factory=lambda: {"up": _Way(), "down": _Way()})
    ended: set[str] = field(default_factory=set)


def is_capture(first: bytes) -> bool:
    """Whether a file that begins so is a pcap or a pcapng."""
    return first[:4] in _MAGICS or first[:4] == _SECTION


def read_capture(path: Path, port: int = 0) -> Iterator[Piece]:
    """The pieces of a capture, in its order. `port` is the host's: only its connections, towards it is "up". Raises
    CaptureError for a file that is no capture, OSError for one that cannot be read."""
    with path.open("rb") as file:
        yield from _assembled(_packets(file), port)


def _packets(file: BinaryIO) -> Iterator[_Packet | str]:
    magic = file.read(4)
    if magic in _MAGICS:
        frames = _pcap(file, *_MAGICS[magic])
    elif magic == _SECTION:
        frames = _pcapng(file)
    else:
        raise CaptureError("neither pcap nor pcapng")
    for frame in frames:
        if isinstance(frame, str):
            yield frame
        elif (packet := _packet(*frame)) is not None:
            yield packet


Frames = Iterator[tuple[float, int, bytes] | str]


def _pcap(file: BinaryIO, order: str, unit: float) -> Frames:
    head = file.read(20)
    if len(head) < 20:
        yield "cut"
        return
    link = struct.unpack(order + "I", head[16:])[0] & 0xFFFF
    while record := file.read(16):
        if len(record) < 16:
            yield "cut"
            return
        seconds, part, kept, _ = struct.unpack(order + "IIII", record)
        if kept > PACKET_MAX:
            yield "cut"  # no packet is so long: the file has lost its place
            return
        data = file.read(kept)
        if len(data) < kept:
            yield "cut"
            return
        yield seconds + part * unit, link, data


def _pcapng(file: BinaryIO) -> Frames:
    order, kind = "<", _SECTION
    links: list[tuple[int, float]] = []
    while kind:
        rest = file.read(4)
        if kind == _SECTION:
            peek = file.read(4)
            order = ">" if peek == b"\x1a\x2b\x3c\x4d" else "<"
            links = []
        else:
            peek = b""
        if len(kind) < 4 or len(rest) < 4:
            yield "cut"
            return
        size = struct.unpack(order + "I", rest)[0]
        if not 12 <= size <= PACKET_MAX or size % 4:
            yield "cut"
            return
        body = peek + file.read(size - 8 - len(peek))
        if len(body) < size - 8:
            yield "cut"
            return
        number = struct.unpack(order + "I", kind)[0]
        if number == 1:
            links.append((struct.unpack(order + "H", body[:2])[0], _unit(body[8:-4], order)))
        elif number == 6 and len(body) >= 24:
            which, high, low, kept, _ = struct.unpack(order + "IIIII", body[:20])
            if which < len(links):
                yield ((high << 32) | low) * links[which][1], links[which][0], body[20 : 20 + kept]
        kind = file.read(4)


def _unit(options: bytes, order: str) -> float:
    """Seconds of one tick of an interface's clock (option if_tsresol)."""
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack(order + "HH", options[at : at + 4])
        if code == 0:
            break
        if code == 9 and size == 1:
            value = options[at + 4]
            return float(2.0 ** -(value & 0x7F) if value & 0x80 else 10.0**-value)
        at += 4 + (size + 3) // 4 * 4
    return 1e-6


def _packet(at: float, link: int, data: bytes) -> _Packet | None:
    """The TCP segment of a link-layer frame; None for anything else."""
    if link == _ETHERNET:
        start, kind = 14, data[12:14]
        while kind in (b"\x81\x00", b"\x88\xa8"):
            kind, start = data[start + 2 : start + 4], start + 4
        if kind not in (b"\x08\x00", b"\x86\xdd"):
            return None
    elif link in _LOOP:
        start = 4
    elif link == _COOKED:
        start = 16
    elif link == _COOKED2:
        start = 20
    elif link in _RAW:
        start = 0
    else:
        return None
    return _segment(at, data[start:])


def _segment(at: float, ip: bytes) -> _Packet | None:
    if len(ip) < 20:
        return None
    if ip[0] >> 4 == 4:
        size, total = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big")
        if ip[9] != 6 or int.from_bytes(ip[6:8], "big") & 0x3FFF:
            return None  # not TCP, or a fragment
        source, target, tcp = ip[12:16], ip[16:20], ip[size : total or len(ip)]
    elif ip[0] >> 4 == 6 and len(ip) >= 40 and ip[6] == 6:
        source, target, tcp = ip[8:24], ip[24:40], ip[40 : 40 + (int.from_bytes(ip[4:6], "big") or len(ip))]
    else:
        return None
    if len(tcp) < 20:
        return None
    from_port, to_port, number = struct.unpack(">HHI", tcp[:8])
    return _Packet(at, (source, from_port), (target, to_port), number, tcp[13], tcp[(tcp[12] >> 4) * 4 :])


def _assembled(packets: Iterator[_Packet | str], port: int) -> Iterator[Piece]:
    open_: dict[frozenset[tuple[bytes, int]], _Connection] = {}
    count, at, first = 0, 0.0, 0.0
    for packet in packets:
        if isinstance(packet, str):
            yield Piece(at, 0, "", b"", packet)
            continue
        if port and port not in (packet.source[1], packet.target[1]):
            continue
        first = first or packet.at
        at = packet.at - first
        ends = frozenset((packet.source, packet.target))
        one = open_.get(ends)
        opening = bool(packet.flags & _SYN)
        fresh = opening and one is not None and bool(one.ended)
        if one is None or fresh:
            if one is None and not opening and not packet.data:
                continue
            count += 1
            if len(open_) >= CONNECTIONS_MAX:
                gone = open_.pop(next(iter(open_)))
                yield Piece(at, gone.number, "", b"", "end")
            one = open_[ends] = _Connection(count, _opener(packet, port))
        yield from _take(one, packet, at)
        if packet.flags & _RST or len(one.ended) == 2:
            del open_[ends]
            yield Piece(at, one.number, "", b"", "end")
    for one in open_.values():
        for way, state in one.ways.items():
            yield from _past_gap(one, way, state, at)
        yield Piece(at, one.number, "", b"", "end")


def _opener(packet: _Packet, port: int) -> tuple[bytes, int]:
    """Who opened the connection: told by SYN, by the host's port, else whoever has the higher port."""
    if port:
        return packet.source if packet.target[1] == port else packet.target
    if packet.flags & _SYN:
        return packet.target if packet.flags & 16 else packet.source
    return packet.source if packet.source[1] > packet.target[1] else packet.target


def _take(one: _Connection, packet: _Packet, at: float) -> Iterator[Piece]:
    way = "up" if packet.source == one.opener else "down"
    state = one.ways[way]
    number, data = packet.number, packet.data
    if packet.flags & _SYN:
        state.next = (number + 1) & 0xFFFFFFFF
        return
    if state.next is None:
        state.next = number
    if data:
        behind = (state.next - number) & 0xFFFFFFFF
        if behind < 1 << 31:
            data = data[behind:]  # what came before
            if data:
                state.next = (state.next + len(data)) & 0xFFFFFFFF
                yield Piece(at, one.number, way, data)
                yield from _follow(one, way, state, at)
        else:
            state.held[number] = max(state.held.get(number, b""), data, key=len)
            if len(state.held) > HELD_MAX:
                yield from _past_gap(one, way, state, at)
    if packet.flags & _FIN:
        one.ended.add(way)


def _follow(one: _Connection, way: str, state: _Way, at: float) -> Iterator[Piece]:
    """Segments whose turn has come."""
    while state.held:
        assert state.next is not None
        ready = [number for number in state.held if (state.next - number) & 0xFFFFFFFF < 1 << 31]
        if not ready:
            return
        for number in ready:
            data = state.held.pop(number)[(state.next - number) & 0xFFFFFFFF :]
            if data:
                state.next = (state.next + len(data)) & 0xFFFFFFFF
                yield Piece(at, one.number, way, data)


def _past_gap(one: _Connection, way: str, state: _Way, at: float) -> Iterator[Piece]:
    """Give up what is missing and go on behind it."""
    while state.held:
        assert state.next is not None
        start = state.next
        state.next = min(state.held, key=lambda number: (number - start) & 0xFFFFFFFF)
        yield Piece(at, one.number, way, b"", "gap")
        yield from _follow(one, way, state, at)
