"""Recording: captures, logs and a proxy to safe exchanges; replay against a fresh house; why nothing matched."""

import asyncio
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from house import SEED, House
from recorded import a_day, assembler, at, overhear, played, terminals
from typer.testing import CliRunner

from scenarios.record.capture import CaptureError, Piece, read_capture
from scenarios.record.cards import Invented, NoCards
from scenarios.record.cli import register
from scenarios.record.hexlog import read_hex_log
from scenarios.record.match import Reply, why_no_match
from scenarios.record.pans import PanMap
from scenarios.record.pcapfile import PcapWriter
from scenarios.record.play import Clock, Player
from scenarios.record.run import Replay
from scenarios.record.safe import Safe, transfer_card
from scenarios.record.sources import Listener, from_capture, from_hex_log
from scenarios.record.story import Exchange, Head, StoryError, StoryWriter, read_head, read_story
from scenarios.record.tap import Tap
from switch.crypto.cryptogram import CardKey
from switch.wire import tlv
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.roster import luhn_ok
from terminals.device import pos


def recorded(pans: PanMap | None = None, keys: bool = True) -> tuple[House, list[Exchange], Any]:
    """A house that had a day, and its recording."""
    house = House()
    into = assembler(house, PanMap(keep=True) if pans is None else pans, keys)
    found = overhear(house, into)
    a_day(house)
    found.extend(into.end())
    return house, found, into.tally


# replay


def test_a_day_replayed_against_a_fresh_house_differs_in_nothing() -> None:
    _, exchanges, tally = recorded()
    assert (tally.exchanges, tally.unanswered, tally.unreadable) == (29, 0, 0)
    assert {one.request.mac for one in exchanges if 64 in one.request.fields} == {"valid"}
    assert [one.request.pin for one in exchanges if one.reply and one.reply.fields.get(39) == "55"] == ["wrong"] * 3
    result = played(House(seed=SEED), exchanges)
    assert result.agreed, result.as_dict()
    assert (result.sent, result.same, dict(result.notes)) == (29, 29, {})


def test_cards_replaced_by_test_cards_are_approved_as_the_recorded_ones_were() -> None:
    house = House()
    card, chip = house.card(1, 1, chip=""), next(
        c for c in (house.portfolio.card(0, i) for i in range(1000))
        if c.chip == "debit" and c.status == "normal" and c.expiry > "2612"
    )  # fmt: skip
    others = {card.pan: house.card(1, 3, chip="").pan, chip.pan: house.card(0, 2, chip=chip.chip).pan}
    assert all(old != new for old, new in others.items())
    _, exchanges, _ = recorded(PanMap(others.items()))
    kept = json.dumps([one.request.fields | (one.reply.fields if one.reply else {}) for one in exchanges], default=repr)
    assert not any(old in kept for old in others)
    assert set(others.values()) <= {
        one.request.fields.get(2) or one.request.fields.get(35, "")[:19] for one in exchanges
    }
    result = played(House(), exchanges)
    assert not {"DE39", "DE64", "DE2", "MTI"} & set(result.by_field), result.as_dict()
    # Another account, another balance; and another chip's issuer data.
    assert set(result.by_field) <= {"DE54", "DE55"}
    assert result.unanswered == 0


def test_every_planted_difference_is_found() -> None:
    _, exchanges, _ = recorded()
    seen = iter(range(1, 1000))

    def meddle(message: Message) -> Message:
        if message.mti == "0210" and next(seen) == 1:
            return Message(message.mti, {**message.fields, 4: "000000000001", 39: "05"})
        return message

    result = played(House(), exchanges, meddle)
    assert result.by_field == {"DE4": 1, "DE39": 1, "DE64": 1}
    [one] = result.differences
    assert one["what"][1:] == ["DE39: recorded 00, now 05", "DE64: recorded a MAC that verifies, now one that does not"]


def test_a_recording_that_begins_in_the_middle_signs_in_first() -> None:
    _, exchanges, _ = recorded()
    later = [one for one in exchanges if one.request.mti != "0800"]
    result = played(House(), later)
    assert result.sign_ins == 4
    assert not {"DE39", "MTI", "DE64"} & set(result.by_field), result.as_dict()


def test_without_keys_each_message_says_so_and_the_rest_goes_on() -> None:
    house, exchanges, tally = recorded(keys=False)
    assert {one.request.mac for one in exchanges if 64 in one.request.fields} == {"no key"}
    assert tally.notes[f"0200: MAC not checked, no key of {house.fleet[0].tid}"] == 4
    player = Player(house.line, {}, NoCards())
    sale = next(one for one in exchanges if one.request.pin)
    made = player.request(sale, Clock("261122", "101112"))
    assert made.notes[-1] == "MAC of zeros: no key of this terminal"
    assert "PIN block of zeros" in made.notes[0]
    assert house.line.codec.decode(made.body).fields[64] == bytes(8)


def test_numbers_and_references_are_derived_anew() -> None:
    house, exchanges, _ = recorded()
    void = next(one for one in exchanges if one.request.mti == "0200" and one.request.fields[3] == "200000")
    sale = next(one for one in exchanges if one.request.mti == "0200")
    player = Player(house.line, terminals(house), Invented(house.portfolio), atc_add=7)
    clock = Clock("270101", "235959")
    for one in exchanges[:1]:
        player.request(one, clock)
    first = player.request(sale, clock)
    assert first.fields[11] == "000002"  # 000001 was the sign-in's
    assert sale.reply is not None
    answer = {**sale.reply.fields, 11: first.fields[11], 37: "999999999999"}
    del answer[64]
    player.reply(first, house.line.codec.encode("0210", dict(sorted(answer.items()))))
    again = player.request(void, clock)
    assert again.fields[37] == "999999999999"
    assert again.fields[61][6:12] == first.fields[11]
    chip = next(one for one in exchanges if 55 in one.request.fields)
    then, now = dict(tlv.read(chip.request.fields[55])), dict(tlv.read(player.request(chip, clock).fields[55]))
    assert int.from_bytes(now["9F36"], "big") == int.from_bytes(then["9F36"], "big") + 7
    assert now["9A"].hex() == "270101"
    assert now["9F26"] != then["9F26"]
    assert now["9F37"] == then["9F37"]


def test_a_silent_host_is_explained() -> None:
    _, exchanges, _ = recorded()

    def meddle(message: Message) -> Message | None:
        if message.mti == "0210" and message.fields[39] == "55":
            return Message(message.mti, {**message.fields, 11: "777777"})
        return message

    one = exchanges[:3]
    result = played(House(), one, meddle)
    assert (result.answered, result.unanswered, result.agreed) == (2, 1, False)
    [told] = result.no_match
    assert told["n"] == 3
    assert told["why"][0].startswith("no answer: it would have been MTI 0210, DE11 000003, DE41 10000001, DE42 ")
    assert "DE11 is 777777, not 000003; it agrees in MTI, DE41, DE42" in told["why"][1]


def test_an_answer_nobody_could_see_is_declared_and_no_difference() -> None:
    house, exchanges, _ = recorded()
    into = assembler(House(), PanMap(keep=True), keys=False)
    sale = exchanges[1]
    body = house.line.codec.encode(sale.request.mti, sale.request.fields)
    assert not list(into.frame(1.0, 1, "up", Frame(b"", b"", body)))
    [found] = list(into.event(1.5, 1, "end"))
    assert found.hung_up
    assert found.why[0] == "the connection ended before an answer"
    sale.reply, sale.hung_up = None, True
    result = played(House(), exchanges[:2])
    assert (result.agreed, result.answered_now, result.same) == (True, 1, 2)
    sale.hung_up = False
    result = played(House(), exchanges[:2])
    assert (result.agreed, result.by_field) == (False, {"MTI": 1})


# why no match


def test_the_nearest_reply_and_the_key_that_would_have_matched() -> None:
    request = {7: "1122101112", 11: "000123", 32: "04384530", 33: "04384530"}
    replies = [
        Reply("0210", {**request, 11: "000124"}, 5.0),
        Reply("0210", {**request, 32: "04384531", 33: ""}, 1.0),
        Reply("0410", dict(request), 2.0),
        Reply("0210", {}, 3.0),
    ]
    found = why_no_match("0200", request, replies, (7, 11, 32, 33), 1.5)
    assert found.key == {0: "0210", 7: "1122101112", 11: "000123", 32: "04384530", 33: "04384530"}
    assert [near.mti for near in found.nearest] == ["0410", "0210", "0210"]
    assert [[one.de for one in near.differs] for near in found.nearest] == [[0], [11], [32, 33]]
    assert found.nearest[1].late_s == 3.5
    assert found.as_dict()["nearest"][1]["differs"] == [{"field": "DE11", "wanted": "000123", "had": "000124"}]
    assert why_no_match("0200", {11: "000001"}, []).sentences()[1] == "nothing came that could be compared"
    whole = why_no_match("0200", request, [Reply("0210", request, 9.0)], (7, 11, 32, 33), 1.0)
    assert "has the whole key" in whole.sentences()[1]


def test_an_answer_that_names_another_number_is_a_stray() -> None:
    house, exchanges, _ = recorded()
    into = assembler(House(), PanMap(keep=True), keys=False)
    sale = exchanges[1]
    assert sale.reply is not None
    codec = house.line.codec
    body = codec.encode(sale.request.mti, sale.request.fields)
    reply = codec.encode("0210", {**sale.reply.fields, 11: "000099"})
    assert not list(into.frame(1.0, 1, "up", Frame(b"", b"", body)))
    assert not list(into.frame(1.2, 1, "down", Frame(b"", b"", reply)))
    [found] = list(into.end())
    assert (found.reply, into.tally.strays, into.tally.unanswered) == (None, 1, 1)
    assert "DE11 is 000099, not 000002" in found.why[1]
    assert "0.200 s later" in found.why[1]


# what is kept


def test_nothing_secret_is_kept(tmp_path: Path) -> None:
    _, exchanges, _ = recorded(PanMap())
    house = House()
    path = tmp_path / "day.jsonl"
    with path.open("w", encoding="utf-8") as file:
        story = StoryWriter(file, Head("pos", "unionpay-pos", "test"))
        for exchange in exchanges:
            story.write(exchange)
    text = path.read_text(encoding="utf-8")
    for pan in {house.card(1, 1, chip="").pan, house.card(0, 0, chip="debit").pan}:
        assert pan not in text
        assert pan.encode().hex() not in text
    pans = {one.request.fields[2] for one in exchanges if 2 in one.request.fields}
    assert pans
    assert all("00000" in pan and luhn_ok(pan) for pan in pans)
    assert read_head(path) == Head("pos", "unionpay-pos", "test")
    again = list(read_story(path))
    assert [one.request.fields for one in again] == [one.request.fields for one in exchanges]
    signed = next(one for one in again if one.request.mti == "0800")
    assert signed.reply is not None
    assert signed.reply.keys
    assert not any(signed.reply.fields[62])
    assert all(not any(one.request.fields.get(52, b"")) and not any(one.request.fields.get(64, b"")) for one in again)


def test_the_card_that_is_loaded_is_replaced_too() -> None:
    safe = Safe("pos", PanMap())
    message = Message("0200", {2: "6212140000000000030", 62: b"\0\x10" + bytes(range(16)) + b"6228480000000000000"})
    message.fields[53] = "2400000000000000"
    told = safe.request(message, b"", [])
    before, other = transfer_card(told.fields[62])
    assert before == b"\0\x10" + bytes(16)
    assert other.startswith("622848000009000000")
    assert luhn_ok(other)
    assert told.pin == "right"
    assert transfer_card(b"01" * 9)[1] == ""


def test_whose_chip_it_is_of_a_load_and_of_a_transfer() -> None:
    """Replayed with a cryptogram of the wrong card both would be refused."""
    house, exchanges, _ = recorded()
    sale = next(one for one in exchanges if 55 in one.request.fields)
    asked: list[str] = []

    class Asked(Invented):
        def chip_key(self, pan: str, psn: str, suite: str) -> CardKey | None:
            asked.append(pan)
            return super().chip_key(pan, psn, suite)

    player = Player(house.line, terminals(house), Asked(house.portfolio))
    other = "6228480000000000000"
    for code in ("400000", "620000"):
        sale.request.fields |= {3: code, 62: other.encode()}
        player.request(sale, Clock("261122", "101112"))
    assert asked == [sale.request.fields.get(2) or sale.request.fields[35].partition("D")[0], other]


def test_numbers_are_replaced_consistently() -> None:
    pans = PanMap([("6212140000000000030", "6212140000000000048"), ("", "6251880000000000017")])
    assert pans.test("6212140000000000030") == "6212140000000000048"
    assert pans.test("6212140000000000048") == "6212140000000000048"
    assert pans.test("6226010000000001459") == "6251880000000000017"
    invented = [pans.test(f"62260112345678{n:02d}") for n in range(30)]
    assert len(set(invented)) == 30
    assert all(len(pan) == 16 and pan.startswith("622601000009") and luhn_ok(pan) for pan in invented)
    assert pans.test("6226011234567805") == invented[5]
    assert pans.in_text("a 6226011234567805 b") == f"a {invented[5]} b"
    assert PanMap(keep=True).test("6226011234567805") == "6226011234567805"
    assert "6226" not in repr(pans)


def test_a_recording_that_was_cut_says_where(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_text('{"shoudan_recording":1,"dialect":"pos","profile":"p","source":"s"}\n{"n":1,"at"')
    with pytest.raises(StoryError, match=r"cut\.jsonl:2: the last line is cut"):
        list(read_story(path))
    path.write_text("something else\n")
    with pytest.raises(StoryError, match="not a recording"):
        read_head(path)


# captures


def pcap(path: Path, pieces: list[tuple[int, str, bytes]]) -> Path:
    with path.open("wb") as file, PcapWriter(file, 7001) as writer:
        for number in sorted({piece[0] for piece in pieces}):
            writer.opened(1_793_160_000.0, number)
        for at_, (number, way, data) in enumerate(pieces):
            writer.carried(1_793_160_000.5 + at_, number, way, data)
        for number in sorted({piece[0] for piece in pieces}):
            writer.closed(1_793_160_100.0, number)
    return path


def said(pieces: Iterator[Piece]) -> list[tuple[int, str, bytes, str]]:
    return [(piece.connection, piece.way, piece.data, piece.event) for piece in pieces]


def test_our_own_pcap_is_read_back(tmp_path: Path) -> None:
    path = pcap(tmp_path / "a.pcap", [(1, "up", b"one"), (2, "up", b"x" * 150_000), (1, "down", b"two")])
    found = said(read_capture(path))
    assert found[0] == (1, "up", b"one", "")
    assert b"".join(data for number, way, data, _ in found if (number, way) == (2, "up")) == b"x" * 150_000
    assert found[-3:] == [(1, "down", b"two", ""), (1, "", b"", "end"), (2, "", b"", "end")]
    assert next(iter(read_capture(path))).at == pytest.approx(0.5, abs=1e-5)
    assert said(read_capture(path, 7002)) == []


def segment(number: int, data: bytes, flags: int = 24, ports: tuple[int, int] = (40_000, 7001)) -> bytes:
    """An Ethernet frame with a VLAN tag, IPv4 and TCP."""
    tcp = struct.pack(">HHIIBBHHH", *ports, number, 0, 5 << 4, flags, 0, 0, 0) + data
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return bytes(12) + b"\x81\x00\0\5\x08\x00" + ip + tcp


def pcapng(frames: list[bytes]) -> bytes:
    """Nanoseconds, big-endian."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack(">II", kind, len(body) + 12) + body + struct.pack(">I", len(body) + 12)

    out = block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(1, struct.pack(">HHI", 1, 0, 0) + struct.pack(">HHB3x", 9, 1, 9) + bytes(4))
    for at_, frame in enumerate(frames):
        ticks = at_ * 1_000_000_000
        out += block(6, struct.pack(">IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)) + frame)
    return out


def test_segments_out_of_order_twice_and_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    frames = [
        segment(99, b"", 2), segment(103, b"def"), segment(100, b"abc"), segment(100, b"abcd"),
        segment(1000, b"xyz"), segment(106, b"", 17),
    ]  # fmt: skip
    path.write_bytes(pcapng(frames))
    found = list(read_capture(path))
    assert [(piece.data, piece.event) for piece in found] == [
        (b"abc", ""), (b"def", ""), (b"", "gap"), (b"xyz", ""), (b"", "end"),
    ]  # fmt: skip
    assert [piece.at for piece in found] == pytest.approx([2.0, 2.0, 5.0, 5.0, 5.0])
    assert {piece.way for piece in found if piece.data} == {"up"}


def test_a_capture_cut_anywhere_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = pcap(tmp_path / "a.pcap", [(1, "up", b"0123456789"), (1, "down", b"abc")]).read_bytes()
    cut = tmp_path / "cut.pcap"
    for size in range(24, len(whole)):
        cut.write_bytes(whole[:size])
        found = said(read_capture(cut))
        data = b"".join(one[2] for one in found)
        assert b"0123456789abc".startswith(data)
        assert (0, "", b"", "cut") in found or not (size - 24) or _ends_at_a_packet(whole, size)
    ng = pcapng([segment(1, b"abc")])
    for size in range(29, len(ng)):
        cut.write_bytes(ng[:size])
        list(read_capture(cut))
    cut.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(CaptureError):
        list(read_capture(cut))


def _ends_at_a_packet(whole: bytes, size: int) -> bool:
    place = 24
    while place < size:
        place += 16 + struct.unpack("<I", whole[place + 8 : place + 12])[0]
    return place == size


# logs


def test_a_log_with_foreign_lines_and_dumps(tmp_path: Path) -> None:
    house, exchanges, _ = recorded()
    codec, line = house.line.codec, house.line
    sale = exchanges[1]
    assert sale.reply is not None
    request = line.wrap(codec.encode("0200", sale.request.fields))
    reply = codec.encode("0210", sale.reply.fields)
    dump = "\n".join(
        f"{at_:04X}: {request[at_ : at_ + 16].hex(' ')}  ................" for at_ in range(0, len(request), 16)
    )
    text = (
        f"# a comment\nstarting version 1.2.3\n2026-11-22 10:11:12.250 SEND to host\n{dump}\n"
        f"order 12345678 booked\n10:11:12.750 RECV {reply.hex().upper()}\n"
    )
    found = [one for one in read_hex_log(text.splitlines()) if one.data]
    assert [one.data for one in found] == [request, reply]
    assert [one.way for one in found] == ["up", "down"]
    path = tmp_path / "host.log"
    path.write_text(text)
    into = assembler(House(), PanMap(), keys=False)
    [exchange] = list(from_hex_log(path, into))
    assert exchange.reply is not None
    assert (exchange.request.mti, exchange.reply.mti) == ("0200", "0210")
    assert exchange.took_s == pytest.approx(0.5)
    assert into.tally.foreign == 3


# the proxy, and the commands


def test_what_the_proxy_recorded_and_what_its_pcap_holds_are_the_same_and_replay(tmp_path: Path) -> None:
    house = House()
    direct, piped = tmp_path / "proxy.jsonl", tmp_path / "a.pcap"

    async def through(port: int) -> None:
        loop = asyncio.get_running_loop()
        with direct.open("w", encoding="utf-8") as file, piped.open("wb") as binary:
            story = StoryWriter(file, Head("pos", "unionpay-pos", "proxy"))
            into = assembler(house, PanMap(keep=True))
            hears = Listener(into, story, loop.time(), 1_793_160_000.0, PcapWriter(binary, port))
            tap = Tap("127.0.0.1", port, hears)
            here = await tap.listen("127.0.0.1", 0)
            player = Player(house.line, terminals(house), Invented(house.portfolio))
            await Replay(player, house.line, ("127.0.0.1", here), 0, 2.0).run(exchanges)
            await asyncio.sleep(0.05)
            await tap.close()
            hears.end()

    _, exchanges, _ = recorded()
    at(house, through)
    first = list(read_story(direct))
    assert len(first) == len(exchanges) == 29
    into = assembler(House(), PanMap(keep=True))
    second = list(from_capture(piped, into))
    assert [(one.request.fields, one.reply and one.reply.fields) for one in first] == [
        (one.request.fields, one.reply and one.reply.fields) for one in second
    ]
    for story in (first, second):
        assert played(House(), story).agreed


def test_the_commands(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    _, exchanges, _ = recorded()
    house = House()
    frames = []
    for one in exchanges[:4]:
        frames.append((1, "up", house.line.wrap(house.line.codec.encode(one.request.mti, one.request.fields))))
    source = pcap(tmp_path / "a.pcap", frames)
    source.write_bytes(source.read_bytes()[:-30])
    out = tmp_path / "a.jsonl"
    done = CliRunner().invoke(app, ["record", str(source), "--out", str(out), "--json", "-"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["exchanges"], told["unanswered"], told["cut"]) == (4, 4, True)
    assert told["cards"] == 1
    lost = CliRunner().invoke(app, ["replay", str(out), "--host", "127.0.0.1:1"])
    assert lost.exit_code == 3
    signed = house.run(pos.sign_in(house.memories[0], house.line))
    assert signed.approved
