"""Several workers of one switch: whose a merchant is, whose numbers, who hears of a key; the door, and the files."""

import asyncio
import os
import re
import secrets
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop
from typer.testing import CliRunner

from scenarios.ground import lay
from switch.app.cli import app
from switch.app.compose import build_centre, build_engine
from switch.app.config import CentreConfig, ConfigError, SwitchConfig, read_config
from switch.app.journals import journal_of, journals_of, refuse_others
from switch.app.measures import WorkerState, worker_families
from switch.app.merged import merged_families, merged_status
from switch.app.relay import Far, Relay
from switch.app.workers import check_for_workers
from switch.engine.engine import Engine
from switch.engine.share import RRNS, STANS, WHOLE, Share
from switch.issuer.centre import Centre
from switch.machine import Link, Now, Out, Send
from switch.net.channel import Channel, pair
from switch.net.doorman import Doorman
from switch.timings import Timings
from switch.wire.codec import codec_of
from switch.wire.dialects import POS
from switch.wire.errors import FrameError
from switch.wire.framing import Frame, Framing
from switch.wire.roster import owner
from terminals.beside import free_ports

NOW = Now(100.0, 1_793_160_000.0)


# shares


@pytest.mark.parametrize("of", [1, 2, 3, 7, 64])
def test_numbers_of_workers_never_meet(of: int) -> None:
    shares = [Share(place, of) for place in range(of)]
    ranges = sorted(share.stans for share in shares)
    assert ranges[0][0] == 1
    assert ranges[-1][1] <= STANS
    assert all(one[1] + 1 == two[0] for one, two in pairwise(ranges))
    counts = [share.rrn_before for share in shares]
    assert counts == sorted(set(counts))
    assert counts[-1] + RRNS // of <= RRNS


def test_one_process_has_all_numbers() -> None:
    assert WHOLE.stans == (1, 999_999)
    assert WHOLE.rrn_before == 0
    assert WHOLE.owns("anything")


def test_a_merchant_has_one_owner_and_shares_are_even() -> None:
    mids = [f"8983100{n:08d}" for n in range(20_000)]
    for of in (2, 3, 8):
        owners = [owner(mid, of) for mid in mids]
        assert owners == [owner(mid, of) for mid in mids]
        counts = [owners.count(place) for place in range(of)]
        assert min(counts) > 0.95 * len(mids) / of
    assert owner("898310000000001", 2) == owner("898310000000001", 2)


# two engines before one centre


class Pair:
    """Two workers' engines, a centre, and what they tell each other carried by hand."""

    def __init__(self, directory: Path) -> None:
        lay(directory, 7, 12, "1028")
        config = read_config(directory / "switch.toml", SwitchConfig)
        self.engines: list[Engine] = []
        self.news: list[tuple[int, tuple[Any, ...]]] = []
        for place in range(2):
            engine, _ = build_engine(config, directory, secrets.token_bytes, Share(place, 2))
            engine.tell(lambda news, place=place: self.news.append((place, news)))  # type: ignore[misc]
            self.engines.append(engine)
        self.centre: Centre = build_centre(
            read_config(directory / "centre.toml", CentreConfig), directory, secrets.token_bytes
        )[0]
        self.lines = [(Link(n, "cups"), Link(n + 10)) for n in range(2)]
        self.queue: deque[tuple[str, int, Send]] = deque()

    def join(self, place: int) -> None:
        """This worker's line comes up."""
        out: Out = []
        self.centre.link_up(self.lines[place][1], NOW, out)
        self.engines[place].link_up(self.lines[place][0], NOW, out)
        self.carry(place, out)

    def carry(self, place: int, out: Out) -> None:
        """What an engine asked for, and everything that follows from it."""
        self.queue += [("engine", place, effect) for effect in out if isinstance(effect, Send)]
        while self.queue:
            side, at, send = self.queue.popleft()
            frame, answers = Frame(send.tpdu, send.header, send.body), Out()
            if side == "engine":
                self.centre.receive(self.lines[at][1], frame, NOW, answers)
            else:
                self.engines[at].receive(self.lines[at][0], frame, NOW, answers)
            for effect in answers:
                if isinstance(effect, Send):
                    by_link = {link: n for n, (_, link) in enumerate(self.lines)}
                    self.queue.append(
                        ("centre", by_link[effect.link], effect) if side == "engine" else ("engine", at, effect)
                    )

    def pass_on(self) -> None:
        """Deliver what was told, and say that all have it."""
        while self.news:
            place, news = self.news.pop(0)
            out: Out = []
            self.engines[1 - place].told(list(news), NOW, out)
            self.carry(1 - place, out)
            if news[0] == "key":
                out = []
                self.engines[place].agreed(list(news), NOW, out)
                self.carry(place, out)

    def ready(self, place: int) -> bool:
        return self.engines[place].office.counterparts["cups"].ready

    def kcvs(self, place: int) -> tuple[bytes, bytes]:
        hsm = self.engines[place].office.hsm
        return hsm.kcv("zak/cups"), hsm.kcv("zpk/cups")


def test_terminals_are_parted_by_merchant(tmp_path: Path) -> None:
    both = Pair(tmp_path / "day")
    tids = [set(engine.office.books.terminals) for engine in both.engines]
    assert len(tids[0] | tids[1]) == 12
    assert not tids[0] & tids[1]
    for place, engine in enumerate(both.engines):
        assert {owner(one.mid, 2) for one in engine.office.books.terminals.values()} <= {place}
        assert all((f"tmk/{tid}" in engine.office.hsm) == (tid in tids[place]) for tid in tids[0] | tids[1])


def test_a_key_is_acknowledged_when_all_workers_have_it(tmp_path: Path) -> None:
    both = Pair(tmp_path / "day")
    both.join(0)
    (place, news), *rest = both.news
    assert (place, news[:3], rest) == (0, ("key", "cups", True), [])
    assert both.centre.statistics().get("keys_reset", 0) == 0, "the centre waits for the acknowledgement"
    both.pass_on()
    assert both.centre.statistics()["keys_reset"] == 2
    assert both.kcvs(0) == both.kcvs(1)
    assert both.ready(0)
    assert not both.ready(1), "its line is not up"
    both.join(1)
    assert both.news[0] == (1, ("keys?", "cups"))
    both.pass_on()
    assert both.ready(1)
    assert both.kcvs(0) == both.kcvs(1)
    assert both.centre.statistics()["keys_reset"] == 2, "a second worker asks for no keys of its own"


def test_a_worker_that_signs_on_first_waits_for_keys(tmp_path: Path) -> None:
    both = Pair(tmp_path / "day")
    both.join(1)
    both.pass_on()
    assert not both.ready(1)
    both.join(0)
    both.pass_on()
    assert both.ready(0)
    assert both.ready(1)


def test_a_worker_that_missed_a_key_gets_both(tmp_path: Path) -> None:
    """It was not there yet when the first was told of, and asks while the second is not acknowledged."""
    both = Pair(tmp_path / "day")
    both.join(0)
    for expected in (True, False):
        ((place, news),) = both.news
        assert (place, news[2]) == (0, expected)
        both.news.clear()
        if not expected:
            both.join(1)
            assert both.news == [(1, ("keys?", "cups"))]
            both.pass_on()
            assert not both.ready(1)
        out: Out = []
        both.engines[0].agreed(list(news), NOW, out)
        both.carry(0, out)
    assert both.ready(0)
    both.pass_on()
    assert both.ready(1)
    assert both.kcvs(0) == both.kcvs(1)


def test_the_day_changes_for_all_at_once(tmp_path: Path) -> None:
    both = Pair(tmp_path / "day")
    both.join(0)
    both.pass_on()
    out: Out = []
    assert both.centre.cutover("1029", 0.0, NOW, out)
    for effect in out:
        if isinstance(effect, Send):
            both.queue.append(("centre", 0, effect))
    both.carry(0, [])
    assert both.news == [(0, ("day", "cups", "201", "1029"))]
    both.pass_on()
    for engine in both.engines:
        assert engine.office.counterparts["cups"].settlement_date == "1029"
        assert engine.office.counterparts["cups"].cutting_over
    rows = both.engines[1].office.books.row_last
    out = []
    both.engines[1].told(["day", "cups", "201", "1029"], NOW, out)
    assert (out, both.engines[1].office.books.row_last) == ([], rows), "told twice, posted once"


# a connection of several merchants


class Rim:
    """A performer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.loop = self

    def connected(self, far: Far) -> None:
        self.told.append(("up", far.link))

    def disconnected(self, far: Far) -> None:
        self.told.append(("down", far.link))

    def frames(self, far: Far, frames: list[Frame]) -> None:
        self.told.append(("frames", far.link, frames))
        far.write(POS_FRAMING.wrap(b"answer", bytes(6), bytes(5)))

    def call(self, act: Callable[[Now, Out], object]) -> None:
        out: Out = []
        act(NOW, out)
        self.told += [("sent", *effect[:4]) for effect in out]  # type: ignore[index]

    def call_soon(self, act: Callable[[Any], None], argument: Any) -> None:
        act(argument)


POS_FRAMING = Framing()


def asking(mid: str) -> Frame:
    body = codec_of(POS).encode("0820", {11: "000001", 41: "10000001", 42: mid, 60: "00000001301"})
    return Frame(bytes(5), bytes(6), body)


def test_frames_of_another_workers_merchant_go_to_it_and_answers_come_back(tmp_path: Path) -> None:
    both = Pair(tmp_path / "day")
    said: list[tuple[int, dict[str, Any]]] = []
    relays, rims = [], []
    for place, engine in enumerate(both.engines):
        relay = Relay(engine, POS_FRAMING, lambda message, place=place: said.append((place, message)))  # type: ignore[misc]
        rims.append(Rim())
        relay.performer = rims[place]  # type: ignore[assignment]
        relays.append(relay)

    def carry() -> None:
        while said:
            place, message = said.pop(0)
            relays[message["to"]].heard({**message, "from": place})

    theirs = next(one.mid for one in both.engines[1].office.books.terminals.values())
    ours = next(one.mid for one in both.engines[0].office.books.terminals.values())
    link, out = Link(7), Out()
    relays[0].receive(link, asking(ours), NOW, out)
    assert (said, len(out)) == ([], 1), "answered here: 97"
    relays[0].receive(link, Frame(bytes(5), bytes(6), b"\x00"), NOW, out)
    assert said == [], "what cannot be read is refused here"
    frame = asking(theirs)
    relays[0].receive(link, frame, NOW, out)
    relays[0].receive(link, frame, NOW, out)
    carry()
    far = rims[1].told[0][1]
    assert rims[1].told == [("up", far), ("frames", far, [frame]), ("frames", far, [frame])]
    assert rims[0].told == [("sent", link, b"answer", bytes(6), bytes(5))] * 2
    relays[0].link_down(link, NOW, out)
    carry()
    assert rims[1].told[-1] == ("down", far)
    assert far.closed
    relays[0].receive(Link(8), frame, NOW, out)
    carry()
    relays[1].gone(0)
    assert rims[1].told[-1][0] == "down", "the worker that held the socket has died"
    relays[1].heard({"from": 0, "left": 8})
    relays[0].heard({"from": 1, "answer": 99, "data": b""})  # of a connection that is gone: nothing happens


# files


def test_the_files_of_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "switch.db"
    assert journals_of(path) == [path]
    assert journal_of(path, WHOLE) == path
    names = [journal_of(path, Share(place, 2)) for place in range(2)]
    assert [name.name for name in names] == ["switch-1of2.db", "switch-2of2.db"]
    names[0].touch()
    with pytest.raises(ConfigError, match=r"switch-2of2\.db: no such file"):
        journals_of(path)
    names[1].touch()
    assert journals_of(path) == names
    assert journals_of(names[1]) == [names[1]]
    refuse_others(path, 2)
    with pytest.raises(ConfigError, match="is of 2 workers, not of 3: start with --workers 2"):
        refuse_others(path, 3)
    with pytest.raises(ConfigError, match="is of 2 workers, not of 1"):
        refuse_others(path, 1)


def test_a_journal_of_one_process_is_not_taken_by_several(tmp_path: Path) -> None:
    (tmp_path / "switch.db").touch()
    with pytest.raises(ConfigError, match="is of 1 worker, not of 2"):
        refuse_others(tmp_path / "switch.db", 2)


@pytest.mark.parametrize(
    ("old", "new", "of", "said"),
    [
        ("", "", 0, "--workers 0: 1 to 64"),
        ("", "", 65, "--workers 65: 1 to 64"),
        ("[routes]", '[tls]\ncert = "a"\nkey = "b"\n[routes]', 2, "tls: not with --workers"),
        ('address = "', 'lines = [{ address = "127.0.0.1:1", listen = "127.0.0.1:2" }]\n#', 2, "one-way lines"),
    ],
)
def test_what_workers_cannot_do_is_said(tmp_path: Path, old: str, new: str, of: int, said: str) -> None:
    lay(tmp_path / "day", 7, 3, "1028")
    source = tmp_path / "day" / "switch.toml"
    source.write_text(source.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        check_for_workers(read_config(source, SwitchConfig), of)
    ended = CliRunner().invoke(app, ["serve", str(source), "--workers", str(of)])
    assert isinstance(ended.exception, ConfigError)


# one answer for all


def test_a_status_is_the_sum_of_all() -> None:
    answers = [
        {"rows": 3, "tariff": "a", "counterparts": {"cups": {"ready": True, "lines": ["ready"], "day": "1028"}}},
        {"rows": 4, "tariff": "a", "counterparts": {"cups": {"ready": False, "lines": ["down"], "day": "1029"}}},
    ]
    assert merged_status(answers) == {
        "rows": 7,
        "tariff": "a",
        "counterparts": {"cups": {"ready": False, "lines": ["ready", "down"], "day": "1028/1029"}},
    }


def test_metrics_carry_the_worker() -> None:
    timings = Timings((1.0, 2.0))
    timings.add(1.5)
    told = {
        place: [
            ["a_total", "counter", "text", ["peer"], [[["cups"], 3 + place]]],
            ["b", "histogram", "text", [], [[[], [[1.0, 2.0], timings.counts, timings.total]]]],
        ]
        for place in range(2)
    }
    counter, histogram = merged_families(told)
    assert counter.labels == ("peer", "worker")
    assert list(counter.read()) == [(("cups", "1"), 3.0), (("cups", "2"), 4.0)]
    samples = list(histogram.read())
    assert [labels for labels, _ in samples] == [("1",), ("2",)]
    shown = samples[0][1]
    assert isinstance(shown, Timings)
    assert (shown.bounds, shown.counts, shown.total) == ((1.0, 2.0), [0, 1, 0], 1.5)


# the door


FRAMING = Framing(tpdu=False, header=0)


def at_the_door(scene: Callable[[int, list[tuple[int, bytes]], Doorman], Awaitable[None]], patience_s: float) -> None:
    """Run a scene with a doorman; frames "0..." and "1..." name the worker, and each given socket is read from."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        given: list[tuple[int, bytes]] = []
        kept: list[socket.socket] = []

        def hand(place: int, sock: socket.socket) -> None:
            given.append((place, sock.recv(4096)))
            kept.append(sock)

        door = Doorman(loop, FRAMING, lambda frame: int(frame.body[:1]), hand, patience_s)
        (port,) = free_ports(1)
        door.open("127.0.0.1", port)
        try:
            await scene(port, given, door)
        finally:
            door.close()
            for sock in kept:
                sock.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - a socket's far end, not an event of ours
            await asyncio.sleep(0.01)


def test_the_first_frame_says_whose_a_connection_is() -> None:
    async def scene(port: int, given: list[tuple[int, bytes]], door: Doorman) -> None:
        frames = [FRAMING.wrap(b"0 one"), FRAMING.wrap(b"1 two")]
        for number, frame in enumerate(frames, 1):
            with socket.create_connection(("127.0.0.1", port)) as terminal:
                for byte in frame:  # in as many segments as it has bytes
                    terminal.sendall(bytes((byte,)))
                    await asyncio.sleep(0.005)
                await until(lambda number=number: len(given) == number)  # type: ignore[misc]
        assert given == [(0, frames[0]), (1, frames[1])], "nothing was read before"
        assert (door.handed, door.waiting, door.cut) == (2, 0, 0)

    at_the_door(scene, 30.0)


def test_what_is_no_frame_goes_to_the_first_and_the_silent_go() -> None:
    async def scene(port: int, given: list[tuple[int, bytes]], door: Doorman) -> None:
        loop = asyncio.get_running_loop()
        there = ("127.0.0.1", port)
        with socket.create_connection(there) as garbled, socket.create_connection(there) as mute:
            garbled.sendall(b"\xff\xff nonsense")
            await until(lambda: len(given) == 1)
            assert given == [(0, b"\xff\xff nonsense")]
            with socket.create_connection(there) as half:
                half.sendall(FRAMING.wrap(b"1 cut short")[:5])
                await until(lambda: door.waiting == 2)
            await until(lambda: door.waiting == 1)
            assert door.cut == 0, "it left by itself"
            mute.setblocking(False)
            assert await loop.sock_recv(mute, 10) == b"", "it said nothing in time"
            assert (door.cut, door.waiting, len(given)) == (1, 0, 1)

    at_the_door(scene, 1.5)


def test_the_size_of_a_first_frame_is_known_from_its_prefix() -> None:
    assert FRAMING.first_size(b"") == FRAMING.first_size(b"\0") == 2
    assert FRAMING.first_size(b"\0\x05ab") == 7
    with pytest.raises(FrameError):
        FRAMING.first_size(b"\xff\xff")


def test_connections_change_hands_in_order_and_an_end_is_noticed() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard: list[tuple[dict[str, Any], bytes]] = []
        ended: list[str] = []

        def hear(message: dict[str, Any], hand: socket.socket | None) -> None:
            heard.append((message, hand.recv(10) if hand else b""))
            if hand:
                hand.close()

        ours, theirs = pair()
        one = Channel(ours, loop, lambda message, hand: None, lambda: ended.append("ours"))
        two = Channel(theirs, loop, hear, lambda: ended.append("theirs"))
        for number in range(400):  # more than the pair holds at a time
            left, right = socket.socketpair()
            right.sendall(b"%d" % number)
            one.say({"n": number, "pad": bytes(1000)}, left)
            right.close()
        await until(lambda: len(heard) == 400)
        assert [(message["n"], int(data)) for message, data in heard] == [(n, n) for n in range(400)]
        one.close()
        await until(lambda: ended == ["theirs"])
        two.say({"n": 1})  # to nobody: no error

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_the_page_lists_what_the_parent_measures() -> None:
    page = (Path(__file__).parent.parent / "docs" / "workers.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(shoudan_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", page, re.MULTILINE)
    families = worker_families([WorkerState(0, True, 3, os.getpid()), WorkerState(1, False, 0, 0)])
    assert listed == [(one.name, one.kind, f"`{one.labels[0]}`", one.help) for one in families]
    ready, restarts, cpu, resident = (list(one.read()) for one in families)
    assert (ready, restarts) == ([(("1",), True), (("2",), False)], [(("1",), 3), (("2",), 0)])
    assert cpu[0][1] > 0
    assert resident[0][1] > 1 << 20
    assert (cpu[1], resident[1]) == ((("2",), 0.0), (("2",), 0))
