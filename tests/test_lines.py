"""Several lines to one counterpart: primary and backup, one-way pairs, tests, the circuit breaker, fail-over."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_requests import CODEC, fields_of, item, seal, signed_in
from house import House
from net_ground import until

from switch.app.compose import host_and_port
from switch.app.config import ConfigError, CounterpartConfig, LineConfig, SwitchConfig, read_config
from switch.app.serve import connect_lines
from switch.clearing.schema import SWITCH_TABLES
from switch.engine.line import IN, OUT
from switch.machine import Link, Send
from switch.net.disk import Disk
from switch.net.listen import listen
from switch.net.perform import Performer
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.framing import Frame
from switch.wire.profile import framing_of
from terminals.device import pos

NET = codec_of(NETWORK)


class ManyLines(House):
    """A house whose lines are called "cups", "cups/1", "cups/2": place and counterpart in one name.

    A line of two one-way sockets is two of the switch's links and one of the centre's: `hears` has the other one.
    `carried` counts what the switch sends, by line and MTI.
    """

    def __init__(self, *more: str, pair: str = "", **asked: Any) -> None:
        self.pair = pair
        self.hears: dict[str, Link] = {}
        self.carried: Counter[tuple[str, str]] = Counter()
        super().__init__(**asked)
        self.connect(*more)

    def connect(self, *names: str) -> None:
        for name in names or self.behind:
            counterpart, _, place = name.partition("/")
            ours, theirs = self.link(counterpart), self.link(counterpart)
            ours.place = int(place or 0)
            self.lines[name] = (ours, theirs)
            self._do(counterpart, lambda machine, now, out, link=theirs: machine.link_up(link, now, out))
            if name == self.pair:
                ours.way = OUT
                other = self.hears[name] = self.link(counterpart)
                other.place, other.way = ours.place, IN
                self._do("switch", lambda machine, now, out, link=other: machine.link_up(link, now, out))
            self._do("switch", lambda machine, now, out, link=ours: machine.link_up(link, now, out))

    def disconnect(self, name: str) -> None:
        ours, theirs = self.lines.pop(name)
        other = self.hears.pop(name, None)
        for link in (ours, theirs, other):
            if link is not None:
                link.closed = True
        for link in (ours, other):
            if link is not None:
                self._do("switch", lambda machine, now, out, link=link: machine.link_down(link, now, out))
        self._do(ours.name, lambda machine, now, out: machine.link_down(theirs, now, out))

    def _carry(self, name: str, send: Send) -> None:
        frame = Frame(send.tpdu, send.header, send.body)
        for line, (ours, theirs) in self.lines.items():
            if send.link is theirs:
                heard = self.hears.get(line, ours)
                self._do("switch", lambda machine, now, out, link=heard: machine.receive(link, frame, now, out))
                return
            if send.link is ours:
                self.carried[line, str(NET.peek(send.body, ())[0])] += 1
                self._do(ours.name, lambda machine, now, out, link=theirs: machine.receive(link, frame, now, out))
                return
        if not send.link.name:
            super()._carry(name, send)

    def sell(self, amount: int = 1000, n: int = 0) -> Any:
        return self.run(pos.sale(self.memories[n], self.line, self.card(1), amount))

    def states(self) -> list[str]:
        return [line.state for line in self.engine.office.counterparts["cups"].lines]


def deaf(house: ManyLines, line: str, *mtis: str) -> None:
    """From now on nothing of these classes arrives over this line."""
    ours = house.lines[line][0]
    before = house.meddle

    def meddle(name: str, send: Send) -> Send | None:
        if name == "switch" and send.link is ours and (not mtis or NET.peek(send.body, ())[0] in mtis):
            return None
        return before(name, send)

    house.meddle = meddle


def silent_sales(house: ManyLines, count: int, amount: int) -> list[str]:
    """So many sales at once; the codes they are answered when their time is up."""
    memory, links = house.memories[0], [house.link() for _ in range(count)]
    for n, link in enumerate(links):
        one = item(house, memory, "sale", amount + n, issuer=1)
        house.deliver(link, seal(house, memory, "0200", fields_of(house, memory, one)))
    house.pass_time(30.5)
    replies = [house.reply_on(link) for link in links]
    return [CODEC.decode(reply).fields[39] for reply in replies if reply is not None]


def put(house: ManyLines, amount: int) -> Link:
    memory, link = house.memories[0], house.link()
    one = item(house, memory, "sale", amount, issuer=1)
    house.deliver(link, seal(house, memory, "0200", fields_of(house, memory, one)))
    return link


def at_rest(house: ManyLines, reversed_: int = 0) -> None:
    house.pass_time(200)
    books = house.books()
    assert books.breaks == []
    assert books.reversed == reversed_
    assert house.engine.status()["violations"] == dict.fromkeys(house.engine.status()["violations"], 0)


def test_requests_take_the_primary_and_the_backup_when_it_breaks() -> None:
    house = ManyLines("cups/1")
    signed_in(house)
    assert house.states() == ["ready", "ready"]
    resets = house.engine.status()["key_resets"]
    assert house.sell().approved
    assert (house.carried["cups", "0200"], house.carried["cups/1", "0200"]) == (1, 0)
    house.disconnect("cups")
    assert house.states() == ["down", "ready"]
    assert house.sell(2000).approved, "no transaction is lost to a line that is down"
    assert house.carried["cups/1", "0200"] == 1
    house.connect("cups")
    assert house.states() == ["ready", "ready"]
    assert house.sell(3000).approved
    assert (house.carried["cups", "0200"], house.carried["cups/1", "0200"]) == (2, 1), "back to the primary"
    counterpart = house.engine.office.counterparts["cups"]
    assert counterpart.failovers == 2
    assert house.engine.status()["key_resets"] == resets, "keys are the counterpart's, not the line's"
    at_rest(house)


def test_both_lines_down_refuse_with_91() -> None:
    house = ManyLines("cups/1")
    signed_in(house)
    house.disconnect("cups")
    house.disconnect("cups/1")
    assert house.sell().response_code == "91"
    house.connect("cups/1")
    assert house.sell().approved
    assert house.states() == ["down", "ready"]
    at_rest(house)


def test_an_answer_may_come_over_the_other_line() -> None:
    """The match key is the counterpart's: a request sent over the primary is answered over the backup."""
    house = ManyLines("cups/1", rules=[{"action": "delay", "kind": "sale", "delay_s": 5}])
    signed_in(house)
    moved: list[int] = []

    def meddle(name: str, send: Send) -> Send:
        if name == "cups" and NET.peek(send.body, ())[0] == "0210":
            moved.append(1)
            return send._replace(link=house.lines["cups/1"][1])
        return send

    house.meddle = meddle
    assert house.sell().approved
    assert moved == [1]
    assert house.carried["cups", "0200"] == 1
    at_rest(house)


def test_what_was_on_a_line_that_breaks_is_reversed_over_the_other() -> None:
    house = ManyLines("cups/1", rules=[{"action": "delay", "kind": "sale", "delay_s": 5}])
    signed_in(house)
    link = house.link()
    memory = house.memories[0]
    house.deliver(link, seal(house, memory, "0200", fields_of(house, memory, item(house, memory, "sale", issuer=1))))
    house.disconnect("cups")
    house.pass_time(31)
    reply = house.reply_on(link)
    assert reply is not None
    states = [row["state"] for row in house.of("journal")]
    assert states == ["sent", "reversal_queued", "reversal_acked"]
    assert house.carried["cups/1", "0420"] == 1
    house.pass_time(100)
    assert house.books().reversed == 1
    assert house.ledger_rows()[-1]["mti"] == "0420"


def test_the_breaker_opens_after_so_many_silences_and_a_test_closes_it() -> None:
    house = ManyLines("cups/1")
    signed_in(house)
    deaf(house, "cups", "0200")
    counterpart = house.engine.office.counterparts["cups"]
    assert silent_sales(house, 9, 1000) == ["98"] * 9
    assert counterpart.breaks == 0
    assert silent_sales(house, 1, 2000) == ["98"]
    assert counterpart.breaks == 1, "the tenth in a row broke it, and the test that it answered mended it"
    assert house.carried["cups", "0820"] >= 2
    assert house.states() == ["ready", "ready"]
    deaf(house, "cups", "0200", "0820")
    assert silent_sales(house, 12, 3000) == ["98"] * 12
    assert house.states() == ["broken", "ready"]
    assert house.sell(3000).approved, "over the backup"
    assert house.carried["cups/1", "0200"] == 1
    closed = len(house.closed)
    house.pass_time(6)
    assert house.closed[closed][1] == "no answer to the line test"
    assert house.states() == ["down", "ready"], "a line that does not answer its test is given up, to be dialled anew"
    house.meddle = lambda name, send: send
    house.connect("cups")
    assert house.states() == ["ready", "ready"]
    assert house.engine.office.statistics.reversals_queued == 22
    assert house.engine.status()["stored"] == 0


def test_one_answer_keeps_the_breaker_shut() -> None:
    house = ManyLines()
    signed_in(house)
    for _ in range(2):
        deaf(house, "cups", "0200")
        for n in range(9):
            assert house.sell(1000 + n).response_code == "98"
        house.meddle = lambda name, send: send
        assert house.sell(5000).approved
    counterpart = house.engine.office.counterparts["cups"]
    assert (counterpart.breaks, counterpart.lines[0].silent) == (0, 0)
    at_rest(house, reversed_=18)


def test_a_line_alone_that_breaks_refuses_at_once() -> None:
    house = ManyLines()
    signed_in(house)
    deaf(house, "cups")
    assert silent_sales(house, 10, 1000) == ["98"] * 10
    started = house.mono
    assert house.sell(9000).response_code == "91"
    assert house.mono == started, "nobody waits for a line that is known to be silent"
    house.meddle = lambda name, send: send
    house.pass_time(6)
    house.connect("cups")
    assert house.sell(9000).approved
    house.pass_time(120)
    assert house.engine.status()["stored"] == 0
    assert house.engine.office.statistics.reversals_acked == 10


def test_each_line_is_tested_and_signed_off_by_itself() -> None:
    house = ManyLines("cups/1")
    signed_in(house)
    before = dict(house.carried)
    house.pass_time(61)
    for line in ("cups", "cups/1"):
        assert house.carried[line, "0820"] == before[line, "0820"] + 1
    sign_off = {7: "1028120000", 11: "000009", 70: "002", 100: "04384530"}
    centre = house.centres["cups"]
    theirs = house.lines["cups"][1]
    house._carry("cups", centre._envelope.originate(theirs, "0820", sign_off))
    assert house.states() == ["signing on", "ready"]
    assert house.carried["cups", "0830"] == 1, "answered on the line it came over"
    assert house.sell().approved
    assert house.carried["cups/1", "0200"] == 1
    house.pass_time(61)
    assert house.states() == ["ready", "ready"], "signs on again at its next test"


def test_a_cut_over_told_over_both_lines_is_one() -> None:
    house = ManyLines("cups/1")
    signed_in(house)
    house._do("cups", lambda machine, now, out: machine.cutover("1029", 2.0, now, out))
    house.pass_time(5)
    assert [(row["event"], row["settlement_date"]) for row in house.of("day")] == [("201", "1029"), ("202", "1029")]
    assert house.engine.status()["cut_overs"] == 1


def test_keys_are_reset_over_either_line() -> None:
    house = ManyLines("cups/1")
    signed_in(house)
    house.disconnect("cups")
    before = house.engine.status()["key_resets"]
    assert house._do("cups", lambda machine, now, out: machine.reset_keys(now, out))
    assert house.engine.status()["key_resets"] == before + 2
    assert house.carried["cups/1", "0810"] == 2
    house.connect("cups")
    assert house.sell().approved
    at_rest(house)


def test_a_line_lost_in_the_middle_of_its_key_reset() -> None:
    """The backup asks for the keys that the primary did not get."""
    house = ManyLines()
    signed_in(house)
    house.disconnect("cups")
    house.meddle = lambda name, send: None if name == "cups" and NET.peek(send.body, ())[0] == "0800" else send
    house.connect("cups", "cups/1")
    assert house.engine.office.counterparts["cups"].zpk_due
    house.meddle = lambda name, send: send
    before = house.engine.status()["key_resets"]
    house.disconnect("cups")
    assert house.engine.status()["key_resets"] == before + 2
    assert not house.engine.office.counterparts["cups"].zpk_due
    assert house.sell().approved


def test_keys_reset_under_load_both_ways() -> None:
    """Requests under the old key and the new, answers under either, while the acknowledgement is still on its way: all
    are approved, and none is reversed."""
    house = ManyLines("cups/1", rules=[{"action": "delay", "kind": "sale", "delay_s": 5}])
    signed_in(house)
    before = put(house, 1000)
    held: list[Send] = []

    def meddle(name: str, send: Send) -> Send | None:
        if name == "switch" and send.link.name == "cups" and NET.peek(send.body, ())[0] == "0810":
            held.append(send)
            return None
        return send

    house.meddle = meddle
    house._do("cups", lambda machine, now, out: machine.reset_keys(now, out))
    assert len(held) == 1, "the MAC key is offered, and taken here"
    overtaking = put(house, 2000)
    house.pass_time(6)
    house.meddle = lambda name, send: send
    house._carry("switch", held[0])
    after = put(house, 3000)
    house.pass_time(6)
    replies = [house.reply_on(link) for link in (before, overtaking, after)]
    assert [CODEC.decode(reply).fields[39] for reply in replies if reply is not None] == ["00", "00", "00"]
    status = house.engine.status()
    assert (status["mac_failures"], status["reversals_queued"]) == (0, 0)
    assert house.centres["cups"].statistics().get("bad_mac", 0) == 0
    house.pass_time(60)
    assert house.sell(4000).approved, "after the overlap, too"


def test_a_key_reset_that_is_lost_is_asked_for_again() -> None:
    house = ManyLines()
    house.disconnect("cups")
    for label in ("zpk/cups", "zak/cups"):
        house.engine.office.hsm.forget(label)
    house.meddle = lambda name, send: None if name == "cups" and NET.peek(send.body, ())[0] == "0800" else send
    house.connect("cups")
    signed_in(house)
    assert not house.engine.office.counterparts["cups"].ready
    assert house.sell().response_code == "91"
    house.meddle = lambda name, send: send
    house.pass_time(61)
    assert house.engine.office.counterparts["cups"].ready, "it signs on again where it would have tested the line"
    assert house.sell().approved


def test_two_one_way_sockets_are_one_line() -> None:
    house = ManyLines("cups/1", pair="cups/1")
    signed_in(house)
    assert house.states() == ["ready", "ready"]
    house.disconnect("cups")
    assert house.sell().approved
    assert house.carried["cups/1", "0200"] == 1
    hears = house.hears["cups/1"]
    hears.closed = True
    house._do("switch", lambda machine, now, out: machine.link_down(hears, now, out))
    assert house.states() == ["down", "down"]
    assert house.sell(2000).response_code == "91", "half a line is none"
    newer = house.hears["cups/1"] = house.link("cups")
    newer.place, newer.way = 1, IN
    house._do("switch", lambda machine, now, out: machine.link_up(newer, now, out))
    assert house.states() == ["down", "ready"]
    newest = house.link("cups")
    newest.place, newest.way = 1, IN
    closed: list[Any] = []
    house._do("switch", lambda machine, now, out: (machine.link_up(newest, now, out), closed.extend(out)))
    assert any(getattr(effect, "link", None) is newer and hasattr(effect, "reason") for effect in closed)
    at_rest(house)


def test_configuration() -> None:
    one = CounterpartConfig(name="cups", profile="cups", address="10.0.0.1:7002")
    assert one.all_lines == [LineConfig(address="10.0.0.1:7002")]
    two = CounterpartConfig(
        name="cups", profile="cups", lines=[LineConfig(address="a:1"), LineConfig(address="b:2", listen="c:3")]
    )
    assert [line.listen for line in two.all_lines] == ["", "c:3"]
    for bad in (
        CounterpartConfig(name="cups", profile="cups"),
        CounterpartConfig(name="cups", profile="cups", address="a:1", lines=[LineConfig(address="b:2")]),
    ):
        with pytest.raises(ConfigError, match="cups: either address or lines is needed"):
            assert bad.all_lines


def test_lines_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "switch.toml").write_text(
        """listen = "127.0.0.1:7001"
journal = "j.db"
lmk = "lmk"
keys = "keys"
terminals = "terminals.csv"

[[counterparts]]
name = "cups"
profile = "cups"

[[counterparts.lines]]
address = "127.0.0.1:7002"

[[counterparts.lines]]
address = "127.0.0.1:7003"
listen = "127.0.0.1:7004"
"""
    )
    config = read_config(tmp_path / "switch.toml", SwitchConfig)
    assert [(line.address, line.listen) for line in config.counterparts[0].all_lines] == [
        ("127.0.0.1:7002", ""), ("127.0.0.1:7003", "127.0.0.1:7004"),
    ]  # fmt: skip
    assert host_and_port(config.counterparts[0].all_lines[1].listen) == ("127.0.0.1", 7004)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
    writer.close()


def test_over_real_sockets(tmp_path: Path) -> None:
    """The primary is one socket, the backup a pair: the engine signs on over both, and fails over when one is cut."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        house = House()
        centre = house.centres["cups"]
        framing = framing_of(house.behind["cups"][0])
        disks = [Disk(tmp_path / f"{name}.db", SWITCH_TABLES) for name in ("far", "ours")]
        far = Performer(centre, disks[0], loop, lambda error: None)
        doors = [await listen(far, "127.0.0.1", 0, framing, 5.0, name="cups") for _ in range(2)]
        ports = [door.sockets[0].getsockname()[1] for door in doors]
        back = asyncio.Event()
        streams: list[asyncio.StreamWriter] = []
        tasks: list[asyncio.Task[None]] = []

        async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """What the switch says here reaches the centre; what the centre says goes out over a socket of its own."""
            from_centre, to_centre = await asyncio.open_connection("127.0.0.1", ports[1])
            _, to_switch = await asyncio.open_connection("127.0.0.1", hears)
            streams.extend((writer, to_centre, to_switch))
            tasks.append(asyncio.ensure_future(_pipe(from_centre, to_switch)))
            back.set()
            await _pipe(reader, to_centre)

        one_way = await asyncio.start_server(bridge, "127.0.0.1", 0)
        says = one_way.sockets[0].getsockname()[1]
        probe = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        hears = probe.sockets[0].getsockname()[1]
        probe.close()
        await probe.wait_closed()
        house.engine = house._engine()
        ours = Performer(house.engine, disks[1], loop, lambda error: None)
        section = CounterpartConfig(
            name="cups",
            profile="cups",
            lines=[
                LineConfig(address=f"127.0.0.1:{ports[0]}"),
                LineConfig(address=f"127.0.0.1:{says}", listen=f"127.0.0.1:{hears}"),
            ],
        )
        nowhere = tmp_path / "absent"
        config = SwitchConfig(
            listen="127.0.0.1:0", journal=nowhere, lmk=nowhere, keys=nowhere, terminals=nowhere, counterparts=[section]
        )
        dialled, opened = await connect_lines(ours, config, house.engine)
        counterpart = house.engine.office.counterparts["cups"]
        await until(lambda: [line.state for line in counterpart.lines] == ["ready", "ready"])
        await until(lambda: counterpart.ready)
        assert back.is_set()
        assert counterpart.line is counterpart.lines[0]
        assert counterpart.lines[1].says is not counterpart.lines[1].hears
        doors[0].close()
        first = counterpart.lines[0].says
        assert first is not None
        ours._links[first].close()
        await until(lambda: counterpart.line is counterpart.lines[1])
        assert counterpart.ready
        assert counterpart.failovers == 1
        for task in (*dialled, *tasks):
            task.cancel()
        for door in (*opened, *doors, one_way):
            door.close()
        ours.close_all()
        far.close_all()
        for writer in streams:
            writer.transport.abort()
        await asyncio.sleep(0.05)
        for disk in disks:
            disk.close()

    asyncio.run(scene())
