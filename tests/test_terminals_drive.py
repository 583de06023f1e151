"""The asyncio and the blocking driver against a small host on real sockets: late answers, lost lines, no power."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvloop
from terminals_host import HeldCard, ScriptedHost, holder, new_line, new_memory

from switch.wire.framing import Deframer, reply_tpdu
from switch.wire.profile import PosTimers
from terminals.beside import free_ports
from terminals.device import pos
from terminals.device.dialogue import Line
from terminals.drive import aio, blocking, instant
from terminals.flow import Ask, Cancelled, PowerOff, Wait

CARD = HeldCard()
LINE = new_line(timers=PosTimers(reply_s=20))
HASTY = new_line(timers=PosTimers(reply_s=0.2))
"""For the dialogues whose answer is meant to come late."""


class WireHost:
    """A ScriptedHost behind frames.

    `late` are the requests whose answers are held back until the next one (`held_back` is set then), after `hang_up` it
    closes instead of answering, before `spoilt` answers it writes a length that cannot be.
    """

    def __init__(self, line: Line = LINE) -> None:
        self.line = line
        self.script = ScriptedHost()
        self.late: set[int] = set()
        self.hang_up: set[int] = set()
        self.spoilt: set[int] = set()
        self.requests = 0
        self.held: list[bytes] = []
        self.connections = 0
        self.held_back = asyncio.Event()

    def frames(self, deframer: Deframer, data: bytes) -> Iterator[bytes | None]:
        """What to write for the bytes that came; None: close."""
        for frame in deframer.feed(data):
            number = self.requests
            self.requests += 1
            reply = self.script(frame.body)
            assert frame.tpdu == bytes.fromhex("6000030000")
            out = b"" if reply is None else self.line.framing.wrap(reply, frame.header, reply_tpdu(frame.tpdu))
            if number in self.hang_up:
                yield None
                return
            if number in self.spoilt:
                out = b"\xff\xff" + out
            if number in self.late:
                self.held.append(out)
                self.held_back.set()
                continue
            held, self.held = self.held, []
            yield b"".join([*held, out])


@asynccontextmanager
async def serving(host: WireHost) -> AsyncIterator[int]:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host.connections += 1
        writers.append(writer)
        deframer = Deframer(host.line.framing)
        while data := await reader.read(4096):
            for out in host.frames(deframer, data):
                if out is None:
                    writer.close()
                    return
                writer.write(out)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Runs a coroutine on either loop."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)

    return run


def test_a_kept_connection_serves_many_dialogues(play: Any) -> None:
    async def story() -> None:
        host, memory = WireHost(), new_memory()
        seen: list[tuple[bytes, bool]] = []
        async with serving(host) as port:
            session = aio.Session(
                LINE, "127.0.0.1", port, observe=lambda body, seconds, reply: seen.append((body[:2], seconds < 20))
            )
            for _ in range(5):
                assert (await session.run(pos.sale(memory, LINE, CARD, 100), holder)).approved
            assert (host.connections, session.connects, session.stale) == (1, 1, 0)
            assert seen == [(b"\x08\x00", True)] + [(b"\x02\x00", True)] * 5
            session.close()

    play(story())


def test_a_connection_for_each_dialogue(play: Any) -> None:
    async def story() -> None:
        host, memory = WireHost(), new_memory()
        async with serving(host) as port:
            session = aio.Session(LINE, "127.0.0.1", port, kept=False)
            for _ in range(3):
                assert (await session.run(pos.sale(memory, LINE, CARD, 100), holder)).approved
            assert (host.connections, host.requests) == (3, 4)

    play(story())


def test_a_late_answer_is_nobodys(play: Any) -> None:
    async def story() -> None:
        host, memory = WireHost(), new_memory()
        async with serving(host) as port:
            session = aio.Session(LINE, "127.0.0.1", port)
            await session.run(pos.sign_in(memory, LINE), holder)
            host.late = {1}
            doubtful = await session.run(pos.sale(memory, HASTY, CARD, 100), holder)
            assert (doubtful.state, doubtful.reason) == ("unknown", "timed out")
            # The late 0210 comes just before the 0410, and must not be taken for it.
            outcome = await session.run(pos.sale(memory, LINE, CARD, 200), holder)
            assert (outcome.approved, outcome.amount_minor, session.stale) == (True, 200, 1)
            assert host.script.mtis == ["0800", "0200", "0400", "0200"]
            assert memory.items[0].state == "unknown"
            # Late to a balance inquiry, which owes nothing: the next one differs in DE11 only.
            host.late = {4}
            assert (await session.run(pos.balance(memory, HASTY, CARD), holder)).state == "unknown"
            last = await session.run(pos.balance(memory, LINE, CARD), holder)
            assert (last.approved, session.stale, host.connections) == (True, 2, 1)
            session.close()

    play(story())


def test_a_lost_connection_is_made_again(play: Any) -> None:
    async def story() -> None:
        host, memory = WireHost(), new_memory()
        async with serving(host) as port:
            session = aio.Session(LINE, "127.0.0.1", port)
            host.hang_up, host.spoilt = {1}, {3}
            for amount in (1, 2):
                doubtful = await session.run(pos.sale(memory, LINE, CARD, amount), holder)
                assert (doubtful.state, doubtful.reason) == ("unknown", "unreachable")
            assert (await session.run(pos.sale(memory, LINE, CARD, 3), holder)).approved
            assert (host.connections, session.connects) == (3, 3)
            assert [item.reversal for item in memory.items] == ["done", "done", "none"]
            session.close()

    play(story())


def test_no_host_at_all(play: Any) -> None:
    async def story() -> None:
        memory = new_memory()
        outcome = await aio.Session(LINE, "127.0.0.1", *free_ports(1)).run(pos.sale(memory, LINE, CARD, 1), holder)
        assert (outcome.state, outcome.reason, memory.items) == ("unsent", "sign_in", [])

    play(story())


def test_power_off_while_waiting(play: Any) -> None:
    async def story() -> None:
        host, memory = WireHost(), new_memory()
        async with serving(host) as port:
            session = aio.Session(LINE, "127.0.0.1", port)
            host.late = {1}
            task = asyncio.ensure_future(session.run(pos.sale(memory, LINE, CARD, 100), holder))
            await host.held_back.wait()
            session.power_off()
            with pytest.raises(PowerOff):
                await task
            assert memory.items[0].reversal == "pending"
            assert (await session.run(pos.sale(memory, LINE, CARD, 200), holder)).approved
            assert (memory.items[0].reversal, session.connects) == ("done", 2)

            async def slow(ask: Ask) -> str:
                session.power_off()
                return holder(ask)

            with pytest.raises(PowerOff):
                await session.run(pos.sale(memory, LINE, CARD, 300), slow)
            assert len(memory.items) == 2
            session.close()

    play(story())


def test_a_cancelled_task_leaves_the_debt(play: Any) -> None:
    async def story() -> None:
        host, memory = WireHost(), new_memory()
        async with serving(host) as port:
            session = aio.Session(LINE, "127.0.0.1", port)
            host.late = {1}
            task = asyncio.ensure_future(session.run(pos.sale(memory, LINE, CARD, 100), holder))
            await host.held_back.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert memory.pending is not None
            assert (await session.run(pos.sale(memory, LINE, CARD, 200), holder)).approved
            session.close()

    play(story())


def test_a_holder_may_take_time_wait_and_cancel(play: Any) -> None:
    async def story() -> None:
        host, memory = WireHost(), new_memory()
        async with serving(host) as port:
            session = aio.Session(LINE, "127.0.0.1", port)

            async def slow(ask: Ask) -> str:
                await asyncio.sleep(0.01)
                return holder(ask)

            def cancel(ask: Ask) -> str:
                raise Cancelled

            def waits() -> Any:
                yield Wait(0.01)
                return "waited"

            assert (await session.run(pos.sale(memory, LINE, CARD, 1), slow)).approved
            assert (await session.run(pos.sale(memory, LINE, CARD, 1), cancel)).reason == "cancelled"
            assert await session.run(waits(), holder) == "waited"
            session.close()

    play(story())


@contextmanager
def blocking_host(host: WireHost) -> Iterator[int]:
    """The same host on a thread of its own."""
    ready = threading.Event()
    port = 0
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        nonlocal port
        async with serving(host) as port:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        loop.close()


def test_blocking_driver_dialogues_and_late_answers() -> None:
    host, memory = WireHost(), new_memory()
    seen: list[bool] = []
    with blocking_host(host) as port:
        session = blocking.Session(
            LINE, "127.0.0.1", port, observe=lambda body, seconds, reply: seen.append(reply is not None)
        )
        assert session.run(pos.sale(memory, LINE, CARD, 100), holder).approved
        host.late = {2}
        assert session.run(pos.sale(memory, HASTY, CARD, 200), holder).reason == "timed out"
        assert session.run(pos.sale(memory, LINE, CARD, 300), holder).amount_minor == 300
        assert (session.stale, session.connects, host.connections) == (1, 1, 1)
        assert seen == [True, True, False, True, True]
        session.close()
        assert session.run(pos.sale(memory, LINE, CARD, 300), holder).approved
        assert session.connects == 2
        session.close()


def test_blocking_driver_reconnects() -> None:
    host, memory = WireHost(), new_memory()
    with blocking_host(host) as port:
        session = blocking.Session(LINE, "127.0.0.1", port)
        host.hang_up, host.spoilt = {1}, {3}
        for amount in (1, 2):
            assert session.run(pos.sale(memory, LINE, CARD, amount), holder).reason == "unreachable"
        assert session.run(pos.sale(memory, LINE, CARD, 3), holder).approved
        assert session.connects == 3
        session.close()
        each = blocking.Session(LINE, "127.0.0.1", port, kept=False)
        for _ in range(2):
            assert each.run(pos.sale(memory, LINE, CARD, 3), holder).approved
        assert each.connects == 2


def test_blocking_driver_without_a_host() -> None:
    memory = new_memory()
    session = blocking.Session(LINE, "127.0.0.1", *free_ports(1))
    assert session.run(pos.sign_in(memory, LINE), holder).reason == "unreachable"


@pytest.mark.parametrize("told", [True, False])
def test_blocking_driver_notices_a_connection_closed_while_idle(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    """Whether or not the system tells a connection's state."""
    if not told:
        monkeypatch.setattr(blocking, "_STATE", 0)
    host, memory = WireHost(), new_memory()
    with blocking_host(host) as port:
        session = blocking.Session(LINE, "127.0.0.1", port)
        assert session.run(pos.sale(memory, LINE, CARD, 1), holder).approved
    with blocking_host(host) as port:
        session._address = ("127.0.0.1", port)
        assert session.run(pos.sale(memory, LINE, CARD, 1), holder).approved
        assert session.connects == 2
        session.close()


def test_instant_driver_waits_in_no_time() -> None:
    def waits() -> Any:
        yield Wait(1e9)
        return 7

    assert instant.run(waits(), lambda body: None, holder) == 7
