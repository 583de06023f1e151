"""Hostile peers as the overload drill has them: a process that does harm, and says how often, or that it could not."""

import asyncio
import sys

import pytest

from scenarios.drill.hostile import Hostile, stranger
from scenarios.drill.yard import DrillFailed


def test_they_do_harm_and_say_how_often() -> None:
    async def scene() -> tuple[dict[str, int], list[bytes]]:
        heard: list[bytes] = []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read(1 << 16))
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        async with server:
            hostile = Hostile("127.0.0.1", server.sockets[0].getsockname()[1], 5, 7)
            await hostile.start()
            await asyncio.sleep(1.5)
            return await hostile.stop(), heard

    did, heard = asyncio.run(scene())
    assert did["garbage"] >= 1
    assert did["comes_and_goes"] >= 1
    assert any(data.startswith(b"\xff\xff") for data in heard)
    assert any(data.startswith(stranger()) for data in heard)


def test_peers_that_do_nothing_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DrillFailed, match="did not begin"):
        asyncio.run(Hostile("127.0.0.1", 9, 1, 1).start())
