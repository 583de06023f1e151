"""A host that says yes: signs terminals in, approves every request under a right MAC, keeps nothing.

    python -m loadtest.bench.answering GROUND

It stands in for a switch while a generator is measured: what it takes is not counted, and it verifies nothing.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from switch.crypto.block import adjust_parity, cipher, kcv
from switch.crypto.mac import message_mac
from switch.wire.errors import FrameError
from switch.wire.framing import Deframer
from switch.wire.mab import pos_mab
from switch.wire.profile import PosProfile, SuiteSection, load_profile
from switch.wire.transactions import reply_mti
from terminals.device.dialogue import Line
from terminals.fleet import Terminal
from terminals.own import own_terminals, read_transport_keys

_ECHOED: Final = (2, 3, 4, 11, 14, 25, 41, 42, 49, 53, 60)
BATCH: Final = "000001"


class Book:
    """Terminals by number, with the MAC each got at its sign-in; who sums up is told that it balances."""

    def __init__(self, line: Line, terminals: list[Terminal]) -> None:
        self.line = line
        self._terminals = {one.tid: one for one in terminals}
        self._macs: dict[str, Callable[[bytes], bytes]] = {}
        self.sections = {suite: line.protection(suite).section for suite in ("3des", "sm4")}

    def answer(self, body: bytes) -> bytes:
        """The answer to a request's body."""
        message = self.line.codec.decode(body)
        asked, mti = message.fields, message.mti
        fields: dict[int, Any] = {de: asked[de] for de in _ECHOED if de in asked}
        fields |= {12: "101530", 13: "0612", 32: "04384530", 39: "00"}
        tid = asked[41]
        if mti == "0800":
            fields[60] = "00" + BATCH + asked[60][8:11]
            fields[62] = self._keys(tid)
        elif mti == "0500":
            fields[48] = asked[48][:30] + "1" + asked[48][31:]
        elif mti in ("0100", "0200", "0400"):
            fields |= {15: "0612", 37: "000000" + asked[11], 64: bytes(8)}
        reply = self.line.codec.encode(reply_mti(mti), dict(sorted(fields.items())), self.line.pads)
        return reply[:-8] + self._macs[tid](pos_mab(reply)) if 64 in fields else reply

    def _keys(self, tid: str) -> bytes:
        """DE62 of a sign-in: keys derived from the terminal's number, under its master key."""
        terminal = self._terminals[tid]
        section: SuiteSection = self.sections[terminal.suite]
        under = cipher(terminal.suite, terminal.tmk)
        parts = []
        for block in section.keys:
            key = hashlib.sha256(f"{tid}/{block.name}".encode()).digest()[: block.bytes]
            key = adjust_parity(key) if terminal.suite == "3des" else key
            parts.append(under.encrypt(key) + bytes(block.pad) + kcv(terminal.suite, key, block.kcv))
            if block.name == "mak":
                self._macs[tid] = message_mac(section.mac, terminal.suite, key)
        return b"".join(parts)


class Answering(asyncio.Protocol):
    """One terminal's connection."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._deframer = Deframer(book.line.framing)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        book = self._book
        try:
            answers = [book.line.wrap(book.answer(frame.body)) for frame in self._deframer.feed(data)]
        except FrameError:
            self._transport.abort()
            return
        self._transport.write(b"".join(answers))


async def serve(ground: Path) -> None:
    """Answer on the ground's port until the process is ended."""
    profile = load_profile(ground / "profile-pos.toml")
    if not isinstance(profile, PosProfile):
        raise TypeError("a terminals' profile is needed")
    port = json.loads((ground / "load.json").read_text(encoding="utf-8"))["port"]
    keys = read_transport_keys(ground / "transport-keys.csv")
    book = Book(Line(profile), own_terminals(ground / "terminals.csv", keys, profile.suites))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(book), "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))
