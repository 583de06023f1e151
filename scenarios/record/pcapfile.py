"""A pcap written from what a proxy carries: each connection as TCP over IPv4 on raw IP, so that every tool reads it."""

import struct
from types import TracebackType
from typing import BinaryIO, Final

_RAW: Final = 101
_SEGMENT: Final = 60_000
_ACK, _PUSH = 16, 8
_NEAR, _FAR = b"\x7f\0\0\1", b"\x7f\0\0\2"
_NEAR_PORT_FIRST: Final = 20_000
_NEAR_PORTS: Final = 40_000


class PcapWriter:
    """Writes to a binary file that it is given and that its owner closes. `port` is shown as the host's port.

    Terminals stand at 127.0.0.1, a port a connection; the host at 127.0.0.2.
    """

    def __init__(self, file: BinaryIO, port: int) -> None:
        self._file = file
        self._port = port
        self._sent: dict[tuple[int, str], int] = {}
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, _RAW))

    def __enter__(self) -> "PcapWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.flush()

    def opened(self, at: float, connection: int) -> None:
        """A connection begins; `at` in seconds since the epoch."""
        self._sent[connection, "up"] = self._sent[connection, "down"] = 1
        self._packet(at, connection, "up", 0, 0, 2, b"")
        self._packet(at, connection, "down", 0, 1, 2 | _ACK, b"")
        self._packet(at, connection, "up", 1, 1, _ACK, b"")

    def carried(self, at: float, connection: int, way: str, data: bytes) -> None:
        """Bytes went "up" (to the host) or "down"."""
        for start in range(0, len(data), _SEGMENT):
            piece = data[start : start + _SEGMENT]
            number, other = self._numbers(connection, way)
            self._packet(at, connection, way, number, other, _PUSH | _ACK, piece)
            self._sent[connection, way] = (number + len(piece)) & 0xFFFFFFFF

    def closed(self, at: float, connection: int) -> None:
        """A connection ended."""
        for way in ("up", "down"):
            number, other = self._numbers(connection, way)
            self._packet(at, connection, way, number, other, 1 | _ACK, b"")
        self._sent.pop((connection, "up"), None)
        self._sent.pop((connection, "down"), None)

    def _numbers(self, connection: int, way: str) -> tuple[int, int]:
        other = "down" if way == "up" else "up"
        return self._sent.get((connection, way), 1), self._sent.get((connection, other), 1)

    def _packet(self, at: float, connection: int, way: str, number: int, ack: int, flags: int, data: bytes) -> None:
        near = _NEAR, _NEAR_PORT_FIRST + connection % _NEAR_PORTS
        far = _FAR, self._port
        (source, from_port), (target, to_port) = (near, far) if way == "up" else (far, near)
        tcp = struct.pack(">HHIIBBHHH", from_port, to_port, number, ack, 5 << 4, flags, 65_535, 0, 0) + data
        checked = source + target + struct.pack(">BBH", 0, 6, len(tcp)) + tcp
        tcp = tcp[:16] + struct.pack(">H", _checksum(checked)) + tcp[18:]
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0, source, target)
        ip = ip[:10] + struct.pack(">H", _checksum(ip)) + ip[12:]
        whole = int(at)
        head = struct.pack("<IIII", whole, int((at - whole) * 1_000_000), len(ip) + len(tcp), len(ip) + len(tcp))
        self._file.write(head + ip + tcp)


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
