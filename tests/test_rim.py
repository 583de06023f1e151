"""What the rim grants strangers, whom it lets go, and how a terminal's newer connection replaces the older."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from engine_requests import CODEC, fields_of, item, seal, signed_in
from house import House
from net_ground import FRAMING, LOOPS, Client, Ground, Memory, Told, play, until

from switch.machine import REPLACED, SHARED, Close, Link, Now, Out
from switch.net.listen import RESERVED_DESCRIPTORS, listen
from switch.net.stranger import Strangers
from switch.wire.framing import Frame
from terminals.device import manage
from terminals.device.dialogue import administration, plain

pytestmark = pytest.mark.parametrize("loop", LOOPS)


class Knowing(Told):
    """Knows whoever says `known`."""

    def receive(self, link: Link, frame: Frame, now: Now, out: Out) -> None:
        if frame.body == b"known":
            link.peer = "10000001"
        super().receive(link, frame, now, out)


class Gated(Ground):
    """A performer whose listener grants strangers little."""

    strangers = Strangers(sign_in_s=0.4, burst=3, per_s=20.0, turn=4)

    async def client(self) -> Client:
        if self.server is None:
            self.server = await listen(
                self.performer, "127.0.0.1", 0, self.framing, self.frame_s, strangers=self.strangers
            )
        return await super().client()


def gated(loop: str, scene: Callable[[Gated], Awaitable[None]], strangers: Strangers = Gated.strangers) -> Gated:
    def make() -> Ground:
        ground = Gated(Knowing(), Memory(), FRAMING)
        ground.strangers = strangers
        return ground

    found = play(loop, scene, make)  # type: ignore[arg-type]
    assert isinstance(found, Gated)
    return found


def words(ground: Ground) -> list[str]:
    machine = ground.machine
    assert isinstance(machine, Told)
    return [word for word in machine.events if word.startswith(("w", "known"))]


def test_a_strangers_frames_come_in_order_and_at_a_rate(loop: str) -> None:
    async def scene(ground: Gated) -> None:
        client = await ground.client()
        began = ground.loop.time()
        client.say(*(f"w{n}".encode() for n in range(8)))
        await until(lambda: len(words(ground)) == 3)
        await until(lambda: len(words(ground)) == 8)
        assert ground.loop.time() - began > 0.2  # five more at twenty a second
        assert words(ground) == [f"w{n}" for n in range(8)]

    ground = gated(loop, scene, Strangers(sign_in_s=5.0, burst=3, per_s=20.0, turn=4))
    assert ground.performer.held >= 1


def test_who_is_known_waits_for_nothing_but_others_turns(loop: str) -> None:
    async def scene(ground: Gated) -> None:
        client = await ground.client()
        client.say(b"known")
        await until(lambda: words(ground))
        began = ground.loop.time()
        client.say(*(f"w{n}".encode() for n in range(500)))
        await until(lambda: len(words(ground)) == 501)
        assert ground.loop.time() - began < 10.0  # a stranger would take 25 s
        assert words(ground)[1:] == [f"w{n}" for n in range(500)]

    gated(loop, scene)


def test_a_flood_does_not_keep_others_waiting(loop: str) -> None:
    async def scene(ground: Gated) -> None:
        hostile, healthy = await ground.client(), await ground.client()
        for _ in range(400):
            hostile.say(*[b"w"] * 50)
        healthy.say(b"known")
        assert (await healthy.hear()).body == b"known"
        assert len(words(ground)) < 200  # of 20,000

    gated(loop, scene, Strangers(sign_in_s=5.0, burst=3, per_s=5.0, turn=4))


def test_a_connection_on_which_nobody_signs_in_is_closed(loop: str) -> None:
    async def scene(ground: Gated) -> None:
        silent, talking, known = await ground.client(), await ground.client(), await ground.client()
        talking.say(b"w")
        known.say(b"known")
        assert (await talking.hear()).body == b"w"
        assert await silent.gone(5.0)
        assert await talking.gone(5.0)
        assert (await known.hear()).body == b"known"
        assert await known.silent(0.2)

    ground = gated(loop, scene)
    assert ground.performer.cut["sign_in"] == 2


def test_what_was_held_is_forgotten_with_its_connection(loop: str) -> None:
    async def scene(ground: Gated) -> None:
        client = await ground.client()
        client.say(*[b"w"] * 30)
        await until(lambda: len(words(ground)) == 3)
        client.writer.transport.abort()
        await until(lambda: "down" in ground.machine.events)  # type: ignore[attr-defined]
        seen = len(words(ground))
        await asyncio.sleep(0.2)
        assert len(words(ground)) == seen

    gated(loop, scene, Strangers(sign_in_s=5.0, burst=3, per_s=20.0, turn=4))


def test_the_system_watches_over_a_peer(loop: str) -> None:
    async def scene(ground: Gated) -> None:
        client = await ground.client()
        client.say(b"known")
        await client.hear()
        [protocol] = ground.performer._links.values()
        assert protocol.transport is not None
        sock = protocol.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 65_536

    gated(loop, scene)


# a terminal's newer connection


def links_of(house: House) -> tuple[Link, Link, Link]:
    return Link(901), Link(902), Link(903)


def sent(house: House, link: Link, memory_number: int, mti: str = "0200") -> list[Close]:
    """A balance inquiry of a terminal over a link; the closings it leads to."""
    memory = house.memories[memory_number]
    body = seal(house, memory, mti, fields_of(house, memory, item(house, memory, "balance")))
    out: Out = []
    frame = house.line.framing.unwrap(house.line.wrap(body))
    house.engine.receive(link, frame, house.now, out)
    return [effect for effect in out if isinstance(effect, Close)]


def test_the_newer_connection_replaces_the_older(loop: str) -> None:
    house = House(terminals=2)
    signed_in(house)
    first, second, _ = links_of(house)
    assert sent(house, first, 0) == []
    assert first.peer == house.memories[0].tid
    assert sent(house, first, 0) == []
    assert sent(house, second, 0) == [Close(first, REPLACED)]
    first.closed = True
    assert sent(house, second, 0) == []


def test_a_shared_connection_is_nobodys_to_replace(loop: str) -> None:
    house = House(terminals=2)
    signed_in(house)
    shared, own, other = links_of(house)
    assert sent(house, shared, 0) == sent(house, shared, 1) == []
    assert shared.peer == SHARED
    assert sent(house, own, 0) == []
    assert sent(house, other, 0) == [Close(own, REPLACED)]


def test_a_sign_in_makes_known_and_replaces_nobody(loop: str) -> None:
    house = House(terminals=2)
    signed_in(house)
    first, second, _ = links_of(house)
    sent(house, first, 0)
    flow = manage.sign_in(house.memories[0], house.line)
    frame = house.line.framing.unwrap(house.line.wrap(next(flow).body))
    flow.close()
    out: Out = []
    house.engine.receive(second, frame, house.now, out)
    assert second.peer == house.memories[0].tid
    assert not [effect for effect in out if isinstance(effect, Close)]


def test_a_wrong_mac_and_an_echo_make_nobody_known(loop: str) -> None:
    house = House(terminals=2)
    signed_in(house)
    link, other, _ = links_of(house)
    memory = house.memories[0]
    body = seal(house, memory, "0200", fields_of(house, memory, item(house, memory, "balance")))
    for wrong in (body[:-1] + bytes((body[-1] ^ 1,)), plain(house.line, "0820", administration(memory, "301"))):
        house.engine.receive(link, house.line.framing.unwrap(house.line.wrap(wrong)), house.now, [])
    assert link.peer == ""
    assert sent(house, other, 0) == []
    assert CODEC.decode(body).mti == "0200"


# descriptors

_SERVER = """
import asyncio, resource, sys
sys.path.insert(0, sys.argv[1])
import uvloop
from net_ground import FRAMING, Memory, Told
from switch.net.listen import listen
from switch.net.perform import Performer
async def main():
    performer = Performer(Told(), Memory(), asyncio.get_running_loop(), print)
    server = await listen(performer, "127.0.0.1", 0, FRAMING, 5.0)
    print(server.sockets[0].getsockname()[1], performer.connections_max, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(performer.connections_opened, performer.connections_refused, performer.connections, flush=True)
    open(__import__("os").devnull).close()
asyncio.Runner(loop_factory=getattr(uvloop, "new_event_loop") if sys.argv[2] == "uvloop" else None).run(main())
"""


def test_more_connections_than_descriptors(loop: str) -> None:
    """The limit is raised as far as it goes; beyond the reserve connections are refused and counted by ourselves."""
    tests = str(Path(__file__).parent)
    child = subprocess.Popen(
        [sys.executable, "-c", _SERVER, tests, loop], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200)), env={**os.environ},
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    clients: list[socket.socket] = []
    try:
        port, most = map(int, child.stdout.readline().split())
        assert most == 200 - RESERVED_DESCRIPTORS
        for _ in range(most + 40):
            clients.append(socket.create_connection(("127.0.0.1", port), 5))
        refused = 0
        for client in clients:
            client.settimeout(0.02 if refused < 40 else 0.0)
            try:
                refused += client.recv(1) == b""
            except ConnectionResetError:
                refused += 1
            except (TimeoutError, BlockingIOError):
                pass
        assert refused == 40
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline().split() == [str(most), "40", str(most)]
        assert child.wait(10) == 0
    finally:
        for client in clients:
            client.close()
        child.kill()
        child.communicate()
