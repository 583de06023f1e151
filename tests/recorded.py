"""A house behind a socket, and what terminals do there: the ground of the tests of recording and replay."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from chip_shop import Shop
from house import House

from scenarios.record.assemble import Assembler
from scenarios.record.cards import Invented
from scenarios.record.pans import PanMap
from scenarios.record.play import Player
from scenarios.record.run import Replay, Result
from scenarios.record.safe import Safe
from scenarios.record.story import Exchange
from scenarios.sandwich.keyring import Keyring
from switch.wire.codec import codec_of
from switch.wire.dialects import POS
from switch.wire.framing import Deframer, Frame
from switch.wire.message import Message
from terminals.device import chip, pos

Answers = Callable[[Message], Message | None]


def terminals(house: House) -> dict[str, Any]:
    return {terminal.tid: terminal for terminal in house.fleet}


def assembler(house: House, pans: PanMap, keys: bool = True) -> Assembler:
    """One that knows the terminals' keys, or none."""
    keyring = Keyring(house.pos, {}, house.entropy)  # type: ignore[arg-type]
    for terminal in house.fleet:
        keyring.add_terminal(terminal.tid, terminal.suite, terminal.tmk)
    known = frozenset(terminals(house)) if keys else frozenset()
    return Assembler(Safe("pos", pans, keyring, known), codec_of(POS), house.line.framing)


def a_day(house: House) -> None:
    """Sales with right and wrong PIN on both suites, a void, a refund, a pre-authorization, a chip, a settlement."""
    for memory in house.memories[:3]:
        house.run(pos.sign_in(memory, house.line))
        card = house.card(1, 1, chip="")
        sold = house.run(pos.sale(memory, house.line, card, 12_300))
        assert sold.approved
        assert house.run(pos.sale(memory, house.line, card, 500), pin="000000").response_code == "55"
        assert house.run(pos.sale_void(memory, house.line, sold.item, card)).approved
        held = house.run(pos.preauth(memory, house.line, card, 40_000))
        assert held.approved
        assert house.run(pos.balance(memory, house.line, card)).approved
    shop = Shop(house=house, n=3)
    shop.sign_in()
    assert shop.run(chip.insert(shop.memory, shop.line, "sale", shop.card, 7_700)).approved
    for memory in house.memories[:3]:
        house.run(pos.settle(memory, house.line))


def overhear(house: House, into: Assembler) -> list[Exchange]:
    """From now on, all that the house is asked goes to the recorder too; what it has made of it."""
    found: list[Exchange] = []
    asked = house.ask
    clock = iter(range(1, 1_000_000))

    def ask(body: bytes, patience_s: float = 40.0) -> bytes | None:
        found.extend(into.frame(next(clock) / 10, 1, "up", Frame(house.line.tpdu, house.line.header, body)))
        reply = asked(body, patience_s)
        if reply is not None:
            found.extend(into.frame(next(clock) / 10, 1, "down", Frame(b"", house.line.header, reply)))
        return reply

    house.ask = ask  # type: ignore[method-assign]
    return found


def played(house: House, exchanges: list[Exchange], answers: Answers = lambda message: message) -> Result:
    """A replay against a house over a socket, in which `answers` may meddle."""

    async def run(port: int) -> Result:
        player = Player(house.line, terminals(house), Invented(house.portfolio))
        return await Replay(player, house.line, ("127.0.0.1", port), 0, 2.0, 0.1).run(exchanges)

    return at(house, run, answers)


def at(house: House, act: Callable[[int], Awaitable[Any]], answers: Answers = lambda message: message) -> Any:
    """Do something while the house listens on a port."""
    codec = codec_of(POS)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        deframer = Deframer(house.line.framing)
        while data := await reader.read(65_536):
            for frame in deframer.feed(data):
                reply = house.ask(frame.body)
                message = None if reply is None else answers(codec.decode(reply))
                if message is not None:
                    body = message.raw or codec.encode(message.mti, message.fields)
                    writer.write(house.line.framing.wrap(body, house.line.header, house.line.tpdu))
        writer.close()

    async def run() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            return await act(server.sockets[0].getsockname()[1])
        finally:
            server.close()

    return asyncio.run(run())


def lines(path: Path) -> Iterator[str]:
    yield from path.read_text(encoding="utf-8").splitlines()
