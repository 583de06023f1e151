"""Real sockets for tests of the rim: both event loops, a disk to be watched, a machine that does as it is told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from switch.machine import Arm, Close, Link, Machine, Now, Out, Post, Send
from switch.net.disk import StorageFailed
from switch.net.listen import listen
from switch.net.perform import Performer
from switch.wire.framing import Frame, Framing

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}
FRAMING = Framing(tpdu=False, header=0)


class Memory:
    """A disk that keeps its rows in a list, takes its time when told to, and fails when told to."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.batches: list[int] = []
        self.durable = 0
        self.failure: Exception | None = None
        self._pending: list[int] = []

    @property
    def pending(self) -> int:
        return len(self._pending)

    def take(self, post: tuple[int, str, tuple[Any, ...]]) -> None:
        self._pending.append(post[0])

    def commit(self) -> int:
        if self.failure is not None:
            raise self.failure
        self.batches.append(len(self._pending))
        self.rows += self._pending
        self.durable = self.rows[-1]
        self._pending = []
        return self.durable


class Told:
    """Does what a frame says: `post` a row and answer after it, `say` at once, `flood`, `close`, `raise`, `arm`."""

    def __init__(self) -> None:
        self.posts = 0
        self.events: list[str] = []
        self.links: list[Link] = []
        self.late = 0.0

    def receive(self, link: Link, frame: Frame, now: Now, out: Out) -> None:
        word, self.late = frame.body.decode(), now.late
        self.events.append(word)
        if word == "post":
            self.posts += 1
            out.append(Post(self.posts, "day", (self.posts,)))
            out.append(Send(link, b"posted %d" % self.posts, after=self.posts))
        elif word == "flood":
            out += [Send(link, bytes(4000)) for _ in range(5000)]
        elif word == "close":
            out.append(Close(link, "asked to"))
        elif word == "raise":
            raise ZeroDivisionError
        elif word == "arm":
            out += [Arm(now.mono + 0.05), Arm(now.mono + 0.02), Arm(now.mono + 9)]
        else:
            out.append(Send(link, frame.body))

    def receive_bad(self, link: Link, error: Exception, now: Now, out: Out) -> None:
        self.events.append(f"bad: {error}")
        out.append(Close(link, str(error)))

    def tick(self, now: Now, out: Out) -> None:
        self.events.append("tick")

    def link_up(self, link: Link, now: Now, out: Out) -> None:
        self.links.append(link)
        self.events.append("up")

    def link_down(self, link: Link, now: Now, out: Out) -> None:
        assert link.closed
        self.events.append("down")


class Client:
    """A terminal's end of a connection, byte by byte if need be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framing: Framing) -> None:
        self.reader = reader
        self.writer = writer
        self.framing = framing

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def say(self, *bodies: bytes, header: bytes = b"", tpdu: bytes = b"") -> None:
        self.writer.write(b"".join(self.framing.wrap(body, header, tpdu) for body in bodies))

    async def hear(self, timeout_s: float = 5.0) -> Frame:
        async with asyncio.timeout(timeout_s):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return self.framing.split(await self.reader.readexactly(size))

    async def gone(self, timeout_s: float = 5.0) -> bool:
        """Whether the other side closes the connection, with nothing more to say."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def silent(self, for_s: float = 0.05) -> bool:
        try:
            async with asyncio.timeout(for_s):
                await self.reader.readexactly(1)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self.writer.close()


class Ground:
    """A performer that listens, and clients of it."""

    def __init__(self, machine: Machine, disk: Any, framing: Framing = FRAMING, frame_s: float = 5.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.machine = machine
        self.disk = disk
        self.framing = framing
        self.frame_s = frame_s
        self.failures: list[Exception] = []
        self.complaints: list[BaseException | None] = []
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context.get("exception")))
        self.performer = Performer(machine, disk, self.loop, self.failures.append)
        self.server: asyncio.Server | None = None
        self.clients: list[Client] = []

    async def client(self) -> Client:
        if self.server is None:
            self.server = await listen(self.performer, "127.0.0.1", 0, self.framing, self.frame_s)
        port = self.server.sockets[0].getsockname()[1]
        client = Client(*await asyncio.open_connection("127.0.0.1", port), self.framing)
        self.clients.append(client)
        return client

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
        self.performer.close_all()
        for client in self.clients:
            client.writer.transport.abort()
        await asyncio.sleep(0.02)


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait for something that no event tells."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def play(loop: str, scene: Callable[[Ground], Awaitable[None]], make: Callable[[], Ground]) -> Ground:
    """Run a scene on one of the loops, then take everything down; at the end no connection may be left."""

    async def main() -> Ground:
        ground = make()
        try:
            await scene(ground)
        finally:
            await ground.close()
        assert ground.performer.connections == 0
        return ground

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(main())


def broken() -> StorageFailed:
    return StorageFailed("journal.db: IOError")


def told(frame_s: float = 5.0) -> Callable[[], Ground]:
    return lambda: Ground(Told(), Memory(), FRAMING, frame_s)
