"""The performer over real sockets, on both event loops: order, fail-stop, and that no peer costs another anything."""

import asyncio
import contextlib
import time

import pytest
from net_ground import LOOPS, Ground, broken, play, told, until

from switch.machine import Send
from switch.net import listen as listening
from switch.net import perform as performing
from switch.net.listen import Patience, dial
from switch.net.metrics import LoopLag
from switch.net.perform import COMMIT_DELAY_S, COMMIT_ROWS
from switch.wire.framing import Frame

pytestmark = pytest.mark.parametrize("loop", LOOPS)


async def answers(ground: Ground) -> bool:
    """Whether somebody else is served."""
    other = await ground.client()
    other.say(b"still there?")
    return (await other.hear()).body == b"still there?"


def test_an_answer_leaves_after_its_row(loop: str) -> None:
    order: list[str] = []

    async def scene(ground: Ground) -> None:
        client = await ground.client()
        commit, write = ground.disk.commit, ground.performer._write
        ground.disk.commit = lambda: (order.append(f"commit {ground.disk.pending}"), commit())[1]
        ground.performer._write = lambda send: (order.append(send.body.decode()), write(send))[1]
        client.say(b"post", b"hello", b"post")
        assert [(await client.hear()).body for _ in range(3)] == [b"hello", b"posted 1", b"posted 2"]

    ground = play(loop, scene, told())
    assert order == ["hello", "commit 2", "posted 1", "posted 2"], "what waits for no row passes at once"
    assert ground.disk.rows == [1, 2]


def test_one_commit_for_many(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        clients = [await ground.client() for _ in range(8)]
        for _ in range(5):
            for client in clients:
                client.say(b"post", b"post")
            for client in clients:
                for _ in range(2):
                    assert (await client.hear()).body.startswith(b"posted")

    ground = play(loop, scene, told())
    assert sum(ground.disk.batches) == 80
    assert len(ground.disk.batches) <= 40
    assert max(ground.disk.batches) >= 4


def test_a_busy_store_waits_for_company_an_idle_one_does_not(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.say(b"post")
        await client.hear()
        assert ground.disk.batches == [1]
        performer, link = ground.performer, ground.machine.links[0]
        protocol = performer._links[link]
        began, turns = ground.loop.time(), 0
        while not ground.disk.batches[1:]:  # each turn of the loop brings a row
            performer.frames(protocol, [Frame(b"", b"", b"post")])
            turns += 1
            await asyncio.sleep(0)
        waited = ground.loop.time() - began
        assert ground.disk.batches[1] >= min(turns - 1, COMMIT_ROWS)
        assert waited >= COMMIT_DELAY_S * 0.5 or ground.disk.batches[1] == COMMIT_ROWS
        for _ in range(turns):
            await client.hear()
        assert sum(ground.disk.batches) == 1 + turns, "and then it is idle again"

    play(loop, scene, told())


@pytest.mark.parametrize("error", [broken(), TypeError("a row that is none")], ids=["storage", "row"])
def test_after_a_storage_error_nothing_leaves(loop: str, error: Exception) -> None:
    async def scene(ground: Ground) -> None:
        client, other = await ground.client(), await ground.client()
        client.say(b"post")
        assert (await client.hear()).body == b"posted 1"
        ground.disk.failure = error
        client.say(b"post", b"post")
        assert await client.gone()
        assert await other.gone()
        assert ground.failures == [error]
        late = await ground.client()
        late.say(b"hello")
        assert await late.gone()
        ground.disk.failure = None
        ground.performer.flush()
        assert ground.disk.rows == [1]

    ground = play(loop, scene, told())
    assert ground.failures == [error], "told once"
    assert "hello" not in ground.machine.events
    assert ground.complaints == ([error] if isinstance(error, TypeError) else [])


def test_an_answer_to_a_connection_that_is_gone_goes_nowhere(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.say(b"hello")
        await client.hear()
        first = ground.machine.links[0]
        client.close()
        await until(lambda: first.closed)
        again = await ground.client()
        again.say(b"hello")
        await again.hear()
        second = ground.machine.links[1]
        assert second.generation > first.generation
        ground.performer.call(lambda now, out: out.append(Send(first, b"too late")))
        assert await again.silent()

    ground = play(loop, scene, told())
    assert ground.machine.events[:4] == ["up", "hello", "down", "up"]


def test_a_machine_that_fails_on_one_frame_loses_one_link(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        client, other = await ground.client(), await ground.client()
        client.say(b"raise")
        assert await client.gone()
        other.say(b"post")
        assert (await other.hear()).body == b"posted 1"

    ground = play(loop, scene, told())
    assert [type(error) for error in ground.complaints] == [ZeroDivisionError]
    assert ground.failures == []


def test_too_many_connections(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "connections_max", lambda: 2)

    async def scene(ground: Ground) -> None:
        clients = [await ground.client() for _ in range(2)]
        refused = [await ground.client() for _ in range(3)]
        for client in refused:
            assert await client.gone()
        assert ground.performer.connections_refused == 3
        for client in clients:
            client.say(b"hello")
            assert (await client.hear()).body == b"hello"
        clients[0].close()
        await until(lambda: ground.performer.connections < 2)
        assert await answers(ground), "a place is free again"

    play(loop, scene, told())


def test_a_frame_that_does_not_come_to_an_end(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        slow, other = await ground.client(), await ground.client()
        slow.write(b"\x00")
        started = ground.loop.time()
        other.say(b"hello")
        assert (await other.hear()).body == b"hello"
        assert await slow.gone()
        assert started + 0.1 <= ground.loop.time() < started + 2  # a difference of the two would round
        assert await other.silent(0.15), "an idle link may be idle"
        other.say(b"hello")
        assert (await other.hear()).body == b"hello"

    ground = play(loop, scene, told(frame_s=0.1))
    assert "bad: frame: not whole after 0.1 s" in ground.machine.events


def test_a_busy_link_always_in_the_middle_of_a_frame_is_not_slow(loop: str) -> None:
    """Segments end where they like: what counts is the age of the frame, not of the first segment that was cut."""

    async def scene(ground: Ground) -> None:
        client = await ground.client()
        frame = ground.framing.wrap(b"hello")
        client.write(frame[:3])
        for _ in range(12):
            await asyncio.sleep(0.03)
            client.write(frame[3:] + frame[:3])
            assert (await client.hear()).body == b"hello"
        client.write(frame[3:])
        assert (await client.hear()).body == b"hello"
        await asyncio.sleep(0.15)
        client.write(frame[:3])
        await asyncio.sleep(0.06)
        client.write(frame[3:])
        assert (await client.hear()).body == b"hello"

    ground = play(loop, scene, told(frame_s=0.1))
    assert not [event for event in ground.machine.events if event.startswith("bad")]


def test_a_peer_that_does_not_read_is_cut_off(loop: str) -> None:
    """It may owe us so much and no more; whoever reads is served meanwhile."""

    async def scene(ground: Ground) -> None:
        deaf, other = await ground.client(), await ground.client()
        deaf.writer.transport.pause_reading()
        deaf.say(b"flood")
        other.say(b"hello")
        assert (await other.hear()).body == b"hello"
        await until(lambda: ground.performer.connections < 2)
        assert await answers(ground)

    ground = play(loop, scene, told())
    assert "down" in ground.machine.events


def test_a_peer_that_does_not_read_is_not_read_from(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        deaf = await ground.client()
        deaf.writer.transport.pause_reading()
        body = bytes(3000)
        for _ in range(3000):
            deaf.say(b"x" + body[1:])
        await asyncio.sleep(0.3)
        heard = len(ground.machine.events)
        assert heard < 3000, "its requests stay in its own buffers"
        assert ground.performer.connections == 1
        deaf.writer.transport.resume_reading()
        for _ in range(3000):
            await deaf.hear()

    ground = play(loop, scene, told())
    assert ground.machine.events.count("down") == 1


def test_timers(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.say(b"arm")
        started = ground.loop.time()
        await until(lambda: "tick" in ground.machine.events)
        assert 0.015 <= ground.loop.time() - started < 0.05, "the earliest of them"
        ground.performer.call(lambda now, out: None)

    play(loop, scene, told())


def test_close_asked_for_by_the_machine(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.say(b"hello", b"close", b"hello")
        assert (await client.hear()).body == b"hello"
        assert await client.gone()
        assert await answers(ground)

    play(loop, scene, told())


def test_flush_commits_and_sends(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.say(*[b"post"] * 10)
        await until(lambda: ground.disk.durable + ground.disk.pending == 10)
        ground.performer.flush()
        assert ground.disk.durable == 10
        assert ground.disk.pending == 0
        for number in range(1, 11):
            assert (await client.hear()).body == b"posted %d" % number
        ground.performer.flush()

    play(loop, scene, told())


def test_a_line_is_dialled_again_and_again(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(ground: Ground) -> None:
        peers: list[asyncio.StreamWriter] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        patience = Patience(frame_s=5.0, again_s=0.01)
        line = asyncio.ensure_future(dial(ground.performer, "127.0.0.1", port, ground.framing, "cups", patience))
        try:
            for count in range(1, 4):
                await until(lambda count=count: len(peers) == len(ground.machine.links) == count)
                assert ground.machine.links[-1].name == "cups"
                assert ground.performer.connections == 1
                peers[-1].transport.abort()
            server.close()
            await server.wait_closed()
            await until(lambda: not ground.performer.connections)
            await asyncio.sleep(0.05)
            assert not line.done(), "nobody there is no reason to give up"
        finally:
            line.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await line
            server.close()

    ground = play(loop, scene, told())
    generations = [link.generation for link in ground.machine.links]
    assert generations == sorted(set(generations)), "a reconnect is a new link"
    assert ground.machine.events == ["up", "down"] * len(generations)
    assert sum("no line to cups" in message for message in caplog.messages) <= 1


def test_a_slow_commit_is_told_as_lateness(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performing, "SLOW_HELD_S", 0.15)

    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.say(b"post")
        await client.hear()
        assert ground.machine.late == 0.0
        commit = ground.disk.commit
        monkeypatch.setattr(ground.disk, "commit", lambda: time.sleep(0.12) or commit())
        client.say(b"post")
        await client.hear()
        monkeypatch.setattr(ground.disk, "commit", commit)
        client.say(b"hello")
        await client.hear()
        assert 0.12 <= ground.machine.late < 5
        await asyncio.sleep(0.2)
        client.say(b"hello")
        await client.hear()
        assert ground.machine.late == 0.0, "for so long after it, and no longer"

    play(loop, scene, told())


def test_a_busy_loop_is_told_as_lateness(loop: str) -> None:
    async def scene(ground: Ground) -> None:
        lag = ground.performer.lag = LoopLag(ground.loop)
        client = await ground.client()
        told: list[float] = []
        for _ in range(5):  # on a busy machine the next, punctual beat may come before the message
            await asyncio.sleep(0.12)
            time.sleep(0.3)  # noqa: ASYNC251 - the loop is to stand still
            client.say(b"hello")
            await client.hear()
            told.append(ground.machine.late)
        assert 0.15 < max(told) < 5
        await until(lambda: lag.late_s(ground.loop.time()) < 0.1)
        client.say(b"hello")
        await client.hear()
        assert ground.machine.late < 0.15
        lag.close()

    play(loop, scene, told())
