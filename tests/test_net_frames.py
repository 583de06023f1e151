"""Bytes that are no frames, and frames in any number of pieces, at the real switch behind real sockets."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from engine_requests import CODEC, fields_of, item, seal
from house import House
from net_ground import LOOPS, Client, Ground, play

from switch.clearing.schema import SWITCH_TABLES
from switch.net.disk import Disk
from switch.wire.framing import reply_tpdu
from terminals.device import manage
from terminals.device.dialogue import administration, plain

pytestmark = pytest.mark.parametrize("loop", LOOPS)


class Site:
    """A switch without counterparts, two terminals' memories, and the frames they send."""

    def __init__(self, loop: str, path: Path, frame_s: float = 5.0) -> None:
        self.house = House(terminals=2)
        self.memory, self.other = self.house.memories
        self.loop, self.path, self.frame_s = loop, path / "journal.db", frame_s

    def frame(self, body: bytes) -> bytes:
        return self.house.line.wrap(body)

    @property
    def echo(self) -> bytes:
        """An echo test: it needs no keys and no counterpart."""
        return self.frame(plain(self.house.line, "0820", administration(self.memory, "301")))

    @property
    def sign_in(self) -> bytes:
        flow = manage.sign_in(self.other, self.house.line)
        body: bytes = next(flow).body
        flow.close()
        return self.frame(body)

    def play(self, scene: Callable[[Ground], Awaitable[None]]) -> Ground:
        disk = Disk(self.path, SWITCH_TABLES)
        try:
            return play(
                self.loop, scene, lambda: Ground(self.house._engine(), disk, self.house.line.framing, self.frame_s)
            )
        finally:
            disk.close()


@pytest.fixture
def site(loop: str, tmp_path: Path) -> Site:
    return Site(loop, tmp_path)


async def answer(client: Client) -> tuple[str, str]:
    frame = await client.hear()
    message = CODEC.decode(frame.body)
    return message.mti, message.fields[39]


ECHOED = ("0830", "00")


async def others_are_served(site: Site, ground: Ground) -> None:
    """Another terminal signs in: a row is written, keys come back."""
    client = await ground.client()
    client.write(site.sign_in)
    assert await answer(client) == ("0810", "00")


def test_half_a_frame_and_then_the_other(site: Site) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        frame = site.echo
        for cut in (1, 2, 7, 13, len(frame) - 1):
            client.write(frame[:cut])
            assert await client.silent(0.02)
            await others_are_served(site, ground)
            client.write(frame[cut:])
            assert await answer(client) == ECHOED

    site.play(scene)


def test_byte_by_byte(site: Site) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        for byte in site.echo * 2:
            client.write(bytes((byte,)))
            await client.writer.drain()
        assert [await answer(client) for _ in range(2)] == [ECHOED] * 2

    site.play(scene)


def test_several_frames_in_one_segment(site: Site) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.write(site.echo * 5 + site.echo[:9])
        assert [await answer(client) for _ in range(5)] == [ECHOED] * 5
        client.write(site.echo[9:] + site.sign_in + site.echo)
        heard = [await answer(client) for _ in range(3)]
        assert sorted(heard) == [("0810", "00"), ECHOED, ECHOED]

    site.play(scene)


@pytest.mark.parametrize(
    ("length", "why"),
    [(b"\x00\x00", "0"), (b"\xff\xff", "65535"), (b"\x10\x01", "4097"), (b"\x00\x01", ""), (b"\x00\x0a", "")],
    ids=["0", "65535", "over-maximum", "shorter-than-tpdu", "shorter-than-header"],
)
def test_a_length_that_cannot_be(site: Site, length: bytes, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """The stream has lost its place: the connection is closed at once, with the place in the log."""

    async def scene(ground: Ground) -> None:
        client, healthy = await ground.client(), await ground.client()
        healthy.write(site.echo)
        assert await answer(healthy) == ECHOED
        with caplog.at_level("DEBUG", "shoudan"):
            client.write(site.echo + length + bytes(12))
            assert await answer(client) == ECHOED, "what was whole before it is answered"
            assert await client.gone()
        healthy.write(site.echo)
        assert await answer(healthy) == ECHOED
        await others_are_served(site, ground)
        assert ground.machine.status()["bad_frames"] == 1

    site.play(scene)
    [line] = [record.getMessage() for record in caplog.records if "closing" in record.getMessage()]
    assert "offset" in line
    assert why in line
    assert "\n" not in line


def test_rubbish(site: Site) -> None:
    async def scene(ground: Ground) -> None:
        for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\xff" * 5000):
            client = await ground.client()
            client.write(rubbish)
            assert await client.gone()
        await others_are_served(site, ground)

    site.play(scene)


def test_a_connection_that_says_half_and_goes(site: Site) -> None:
    async def scene(ground: Ground) -> None:
        for cut in range(0, len(site.echo), 5):
            client = await ground.client()
            client.write(site.echo[:cut])
            client.close()
        await others_are_served(site, ground)

    ground = site.play(scene)
    assert ground.complaints == []


def test_half_a_frame_for_ever(loop: str, tmp_path: Path) -> None:
    site = Site(loop, tmp_path, frame_s=0.1)

    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.write(site.echo[:-1])
        await others_are_served(site, ground)
        assert await client.gone()
        await others_are_served(site, ground)

    site.play(scene)


@pytest.mark.parametrize("body", [b"", b"\x08", b"\x08\x20", bytes(100), b"\xff" * 100], ids=len)
def test_a_frame_that_holds_no_message(site: Site, body: bytes) -> None:
    async def scene(ground: Ground) -> None:
        client = await ground.client()
        client.write(site.frame(body))
        if body[:2] in (b"\x08\x20", b"\x00\x00"):
            assert (await answer(client))[1] == "30"
        else:
            assert await client.gone()
        await others_are_served(site, ground)

    site.play(scene)


def test_the_answer_goes_back_where_it_came_from(site: Site) -> None:
    async def scene(ground: Ground) -> None:
        line = site.house.line
        client = await ground.client()
        tpdu = bytes.fromhex("6001234567")
        client.write(line.framing.wrap(CODEC.encode("0820", administration(site.memory, "301")), line.header, tpdu))
        frame = await client.hear()
        assert frame.tpdu == reply_tpdu(tpdu) == bytes.fromhex("6045670123")
        assert frame.header == line.header

    site.play(scene)


def test_without_a_line_to_anybody(site: Site) -> None:
    """Signed in over the socket, a sale is refused for want of a line: 91, and the journal has it."""

    async def scene(ground: Ground) -> None:
        client = await ground.client()
        flow = manage.sign_in(site.memory, site.house.line)
        client.write(site.frame(next(flow).body))
        with pytest.raises(StopIteration):
            flow.send((await client.hear()).body)
        assert site.memory.signed_in
        sale = fields_of(site.house, site.memory, item(site.house, site.memory, "sale"))
        client.write(site.frame(seal(site.house, site.memory, "0200", sale)))
        assert await answer(client) == ("0210", "91")

    site.play(scene)
    disk = Disk(site.path, SWITCH_TABLES)
    assert [(table, row[2]) for table, row in disk.history()] == [("terminal", "sign_in"), ("journal", "refused")]
    disk.close()
