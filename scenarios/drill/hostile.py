"""Peers that mean harm: each connection does one bad thing again and again until it is told to stop.

They are a process of their own: what they cost whoever measures would be taken for what they cost the switch.

    python -m scenarios.drill.hostile HOST PORT COUNT SEED
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from scenarios.drill.yard import DrillFailed
from switch.wire.framing import pos_header

TPDU: Final = bytes.fromhex("6000030000")
PAUSE_S: Final = 0.05
WAIT_S: Final = 1.0
_BEGUN: Final = b"begun\n"


def stranger() -> bytes:
    """An echo test of a terminal that nobody knows: a whole message that has to be answered."""
    bitmap = (1 << (64 - 11) | 1 << (64 - 41) | 1 << (64 - 42) | 1 << (64 - 60)).to_bytes(8, "big")
    fields = bytes.fromhex("000001") + b"99999999" + b"999000000000000" + bytes.fromhex("0011000000000030")
    return _framed(b"\x08\x20" + bitmap + fields)


def _framed(body: bytes) -> bytes:
    payload = TPDU + pos_header() + body
    return len(payload).to_bytes(2, "big") + payload


class Hostile:
    """The process of `count` hostile connections to a host. Raises DrillFailed where it does not do what it is for: a
    measurement beside it would be one beside nobody."""

    def __init__(self, host: str, port: int, count: int, seed: int) -> None:
        self._arguments = [host, str(port), str(count), str(seed)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begin; returns when it has begun."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "scenarios.drill.hostile", *self._arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        if await self._process.stdout.readline() != _BEGUN:
            await self._process.communicate(b"")
            raise DrillFailed("the hostile peers' process did not begin")

    async def stop(self) -> dict[str, int]:
        """End; how often what was done."""
        if self._process is None:
            return {}
        told, _ = await self._process.communicate(b"")
        if self._process.returncode:
            raise DrillFailed(f"the hostile peers' process ended with code {self._process.returncode}")
        did: dict[str, int] = json.loads(told)
        return did


class Peers:
    """`count` hostile connections to a host, of all kinds in turn."""

    def __init__(self, host: str, port: int, count: int, seed: int) -> None:
        self._host = host
        self._port = port
        self._count = count
        self._draw = random.Random(seed)
        self._did: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        kinds = (self.garbage, self.half_a_frame, self.too_long, self.never_reads, self.comes_and_goes)
        for number in range(self._count):
            # A single one does everything, one after another; more of them share it out.
            mine = kinds[number % len(kinds) :] + kinds[: number % len(kinds)]
            self._tasks.append(asyncio.get_running_loop().create_task(self._again(mine)))

    async def stop(self) -> dict[str, int]:
        """End; how often what was done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return dict(self._did)

    async def _again(self, kinds: tuple[Callable[[], Awaitable[None]], ...]) -> None:
        while True:
            for kind in kinds:
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(WAIT_S):
                        await kind()
                self._did[kind.__name__] += 1
                await asyncio.sleep(PAUSE_S)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port)

    async def garbage(self) -> None:
        """Bytes that are no frames, until it is thrown out."""
        reader, writer = await self._connect()
        try:
            writer.write(self._draw.randbytes(4096))
            await reader.read()
        finally:
            writer.transport.abort()

    async def half_a_frame(self) -> None:
        """The beginning of a frame, and a byte now and then."""
        _, writer = await self._connect()
        try:
            for byte in stranger()[:-1]:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.01)
            await asyncio.sleep(WAIT_S)
        finally:
            writer.transport.abort()

    async def too_long(self) -> None:
        """A prefix that promises more than any frame has."""
        reader, writer = await self._connect()
        try:
            writer.write(b"\xff\xff" + bytes(60_000))
            await reader.read()
        finally:
            writer.transport.abort()

    async def never_reads(self) -> None:
        """Whole requests, as many as it is let, and not one answer read."""
        _, writer = await self._connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        data = stranger() * 50
        try:
            while True:
                writer.write(data)
                await writer.drain()
        finally:
            writer.transport.abort()

    async def comes_and_goes(self) -> None:
        """Connections made and reset."""
        for _ in range(20):
            _, writer = await self._connect()
            writer.transport.abort()


async def _until_told(host: str, port: int, count: int, seed: int) -> dict[str, int]:
    """Do harm until the standard input ends."""
    peers = Peers(host, port, count, seed)
    peers.start()
    sys.stdout.buffer.write(_BEGUN)
    sys.stdout.buffer.flush()
    await asyncio.to_thread(sys.stdin.read)
    return await peers.stop()


def _step_back() -> None:
    """Use the processors only while nobody else wants them: in the field a hostile peer has its own."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


if __name__ == "__main__":
    _step_back()
    did = asyncio.run(_until_told(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    sys.stdout.write(json.dumps(did) + "\n")
