"""Accepting connections, and dialling counterparts again and again until they answer."""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from typing import Any, NamedTuple

from switch.net.link import LinkProtocol
from switch.net.perform import Performer
from switch.net.stranger import Strangers
from switch.wire.framing import Framing

log = logging.getLogger("shoudan")

RESERVED_DESCRIPTORS = 64
BACKLOG = 4096
HANDSHAKE_S = 10.0


PROBE_IDLE_S, PROBE_EVERY_S, PROBES = 30, 10, 3
"""A silent peer is probed by the system after so long, so often, before it is taken for gone (half-open)."""

UNACKNOWLEDGED_MS = 30_000
"""What was sent and is not acknowledged by then ends the connection."""


TERMINAL_RECEIVE_BYTES = 16_384
"""The system holds about twice as much for a terminal: what it can make us read in one go, and what 10,000 cost."""


def watch_peer(sock: Any, receive_bytes: int = 0) -> None:
    """Have the system find out that a peer is gone without a word, and hold little for it (0: as much as usual).

    What is set on a listening socket its connections inherit. Nothing where this is no TCP socket.
    """
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError, AttributeError):
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


class CannotListen(Exception):
    """The address is taken, or not ours; the text says which."""


def connections_max() -> int:
    """How many connections the descriptor limit allows, with a reserve for files and lines."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        with contextlib.suppress(ValueError, OSError):
            wanted = 1 << 20 if hard == resource.RLIM_INFINITY else hard
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft - RESERVED_DESCRIPTORS


async def listen(
    performer: Performer,
    host: str,
    port: int,
    framing: Framing,
    frame_s: float,
    *,
    name: str = "",
    idle_s: float = 0.0,
    tls: ssl.SSLContext | None = None,
    strangers: Strangers | None = None,
    place: int = 0,
    way: str = "both",
) -> asyncio.Server:
    """Serve links of one framing. Past the descriptor limit connections are refused and counted; `strangers` is what
    those get whom the machine does not know yet (None: they are treated like others). `place` and `way` are those of a
    counterpart's one-way socket (`switch.machine.Link`)."""
    most = performer.connections_max = connections_max()

    def make() -> asyncio.Protocol:
        if performer.connections >= most:
            performer.connections_refused += 1
            return _Refuse()
        return performer.protocol(framing, frame_s, name, idle_s=idle_s, strangers=strangers, place=place, way=way)

    try:
        server = await asyncio.get_running_loop().create_server(
            make, host, port, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=HANDSHAKE_S if tls else None
        )
    except OSError as error:
        raise CannotListen(f"{host}:{port}: {error.strerror or error}") from None
    for sock in server.sockets:
        watch_peer(sock, TERMINAL_RECEIVE_BYTES if strangers else 0)
    return server


class _Refuse(asyncio.Protocol):
    """Closes at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Secured(NamedTuple):
    """TLS of a line that is dialled: its context, and the name the peer's certificate must have ("": its address)."""

    context: ssl.SSLContext
    name: str = ""


class Patience(NamedTuple):
    """Seconds: for a frame to be whole, between two tries to connect, between two keep-alives of a quiet line."""

    frame_s: float
    again_s: float
    keep_alive_s: float = 0.0


async def dial(
    performer: Performer,
    host: str,
    port: int,
    framing: Framing,
    name: str,
    patience: Patience,
    tls: Secured | None = None,
    *,
    place: int = 0,
    way: str = "both",
) -> None:
    """Keep one line to a counterpart: connect, wait until it breaks, connect again."""
    again_s = patience.again_s

    def make() -> LinkProtocol:
        keep_alive_s = patience.keep_alive_s
        return performer.protocol(framing, patience.frame_s, name, keep_alive_s=keep_alive_s, place=place, way=way)

    loop = asyncio.get_running_loop()
    secured: dict[str, Any] = {}
    if tls is not None:
        secured = {"ssl": tls.context, "server_hostname": tls.name or host, "ssl_handshake_timeout": HANDSHAKE_S}
    said = False
    while True:
        try:
            _, protocol = await loop.create_connection(make, host, port, **secured)
        except OSError as error:
            if not said:
                log.warning("no line to %s at %s:%d yet (%s), trying again every %g s", name, host, port,
                            error.strerror or error, again_s)  # fmt: skip
            said = True
        else:
            said = False
            log.info("line to %s at %s:%d is up", name, host, port)
            if protocol.transport is not None:
                watch_peer(protocol.transport.get_extra_info("socket"))
            protocol.lost = asyncio.Event()
            if not protocol.link.closed:
                await protocol.lost.wait()
            log.warning("line to %s is down", name)
        await asyncio.sleep(again_s)
