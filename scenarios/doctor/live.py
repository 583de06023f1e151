"""A living peer: it is listened to first, and asked only when it says nothing. Every wait has an end."""

import asyncio
import contextlib
from typing import Final, NamedTuple

from scenarios.doctor.shape import Assessment, Shape, diagnose
from switch.wire.codec import codec_of
from switch.wire.dialects import DIALECTS
from switch.wire.framing import Framing, NetworkHeader, pos_header

TAKEN_MAX: Final = 8192
QUIET_S: Final = 0.2
TPDU: Final = bytes.fromhex("6000030000")

PROBES: Final = (
    Shape("bin2", False, True, 6, "pos"),
    Shape("ascii4", False, False, 46, "network"),
    Shape("bin2", False, True, 0, "pos"),
    Shape("ascii4", False, True, 6, "pos"),
    Shape("bin2", True, True, 6, "pos"),
    Shape("bin2", False, False, 6, "pos"),
    Shape("bin2", False, False, 0, "pos"),
    Shape("bin2", False, False, 46, "network"),
    Shape("ascii4", True, False, 46, "network"),
    Shape("ascii4", False, False, 0, "network"),
)
"""What a silent peer is asked in, the usual first."""


class Heard(NamedTuple):
    """What came of listening and asking. `how`: "spoke first", "answered", "closed" (it only ever hung up), "silent",
    "unreachable". `asked` is the shape that was answered, `tried` how many were tried."""

    how: str
    data: bytes = b""
    assessment: Assessment | None = None
    asked: Shape | None = None
    tried: int = 0
    closed: int = 0


def probe(shape: Shape, tid: str, mid: str) -> bytes:
    """An echo test (0820, network management 301) as a peer of this shape would send it. It moves nothing."""
    codec = codec_of(DIALECTS[shape.dialect])
    if shape.dialect == "pos":
        body = codec.encode("0820", {41: tid, 42: mid, 60: "00000000301"})
        header = pos_header() if shape.header else b""
    else:
        body = codec.encode("0820", {7: "0101000000", 11: "000001", 33: "00000000", 70: "301"})
        header = NetworkHeader(source="00000000").build(len(body)) if shape.header else b""
    framing = shape.framing()
    assert isinstance(framing, Framing)
    return framing.wrap(body, header, TPDU if shape.tpdu else b"")


async def examine(
    host: str, port: int, listen_s: float = 1.0, reply_s: float = 1.0, ask: bool = True,
    tid: str = "00000000", mid: str = "0" * 15,
) -> Heard:  # fmt: skip
    """Listen for `listen_s`; a peer that stays silent is asked in every shape of PROBES, a connection each."""
    try:
        data, gone = await _talk(host, port, b"", listen_s)
    except OSError:
        return Heard("unreachable")
    if data:
        return Heard("spoke first", data, diagnose(data))
    closed = int(gone)
    for number, shape in enumerate(PROBES if ask else (), 1):
        try:
            data, gone = await _talk(host, port, probe(shape, tid, mid), reply_s)
        except OSError:
            gone = True
        closed += gone
        if data:
            return Heard("answered", data, diagnose(data), shape, number, closed)
    tried = len(PROBES) if ask else 0
    return Heard("closed" if closed > tried // 2 and closed else "silent", tried=tried, closed=closed)


async def _talk(host: str, port: int, said: bytes, patience_s: float) -> tuple[bytes, bool]:
    """What the peer says on a new connection, and whether it hung up. Raises OSError where there is none."""
    async with asyncio.timeout(max(patience_s, 1.0) + 2.0):
        reader, writer = await asyncio.open_connection(host, port)
    taken, wait = b"", patience_s
    try:
        if said:
            writer.write(said)
        while len(taken) < TAKEN_MAX:
            async with asyncio.timeout(wait):
                piece = await reader.read(TAKEN_MAX - len(taken))
            if not piece:
                return taken, True
            taken += piece
            wait = min(QUIET_S, patience_s)
    except TimeoutError:
        pass
    except OSError:
        return taken, True
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return taken, False
