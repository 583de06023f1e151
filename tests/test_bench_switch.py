"""`shoudan bench switch`: its load and its host say what a terminal and a network would, and its figures add up."""

import os
from itertools import islice
from pathlib import Path

import pytest

from loadtest.bench.ground import lay
from loadtest.bench.host import Host
from loadtest.bench.process import BenchFailed
from loadtest.bench.show import switch_tables
from loadtest.bench.switch import FEATURES, SHARES, bench_switch
from loadtest.bench.till import SALES_MAX, sales, tills
from loadtest.bench.without import FEATURES as TAKEN_OUT
from switch.crypto.block import ecb_encryptor, kcv
from switch.crypto.mac import message_mac
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.framing import FRAMINGS, NetworkHeader
from switch.wire.mab import network_mab
from switch.wire.private_62 import WrappedKey, write_keys
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.fleet import memory_of

SUITES = pytest.mark.parametrize("suite", ["3des", "sm4"])
MAK = bytes.fromhex("0123456789ABCDEF")


def keyed(directory: Path, suite: str) -> tuple[Memory, Line]:
    """A terminal with working keys that the test knows."""
    ground = lay(directory / "ground", 1, suite)
    memory, line = memory_of(ground.fleet[0]), Line(ground.pos)
    section = line.protection(suite).section
    encrypt = ecb_encryptor(suite, ground.fleet[0].tmk)
    clear = {block.name: MAK[: block.bytes] * (block.bytes // 8) for block in section.keys}
    keys = [WrappedKey(b.name, encrypt(clear[b.name]), kcv(suite, clear[b.name], b.kcv)) for b in section.keys]
    layout = [(block.name, block.bytes, block.pad, block.kcv) for block in section.keys]
    memory.pinpad.load_keys(write_keys(keys, layout), section.keys, section.mac)
    memory.open_batch("000001")
    return memory, line


@SUITES
def test_prepared_sales_are_whole_sales(tmp_path: Path, suite: str) -> None:
    memory, line = keyed(tmp_path, suite)
    mac = message_mac("cup-ecb", suite, MAK if suite == "3des" else MAK * 2)
    for n, frame in enumerate(islice(sales(memory, line, 7), 1000), 1):
        body = line.framing.unwrap(frame).body
        fields = line.codec.decode(body).fields
        assert (fields[11], fields[4]) == (f"{n:06d}", f"{n:012d}")
        assert fields[35] == "6212140000000007D2912201000000123"
        assert body[-8:] == mac(body[:-8])
    assert n == SALES_MAX == 990


def test_a_till_says_when_its_terminals_are_done(tmp_path: Path) -> None:
    memory, line = keyed(tmp_path, "3des")
    (till,) = tills([memory], line, 1, pin=False)
    assert 52 not in line.codec.decode(line.framing.unwrap(till()).body).fields
    for _ in range(SALES_MAX - 1):
        till()
    with pytest.raises(BenchFailed, match="more terminals"):
        till()


class Wire:
    """A connection of which each `recv` gives one chunk."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.sent = b""

    def recv(self, size: int) -> bytes:
        return self.chunks.pop(0)

    def sendall(self, data: bytes) -> None:
        self.sent += data


def request(n: int) -> bytes:
    fields = {
        2: f"621214000000{n:04d}", 3: "000000", 4: f"{n:012d}", 7: f"07130350{n % 60:02d}", 11: f"{n:06d}",
        12: "035021", 13: "0713", 18: "4900", 22: "021", 25: "00", 32: "04384530", 33: "04384530",
        37: f"160{n:09d}", 41: f"{10000000 + n}", 42: f"{810000949000000 + n}", 43: "X" * 40, 49: "156", 128: "0" * 8,
    }  # fmt: skip
    body = codec_of(NETWORK).encode("0200", fields)
    return FRAMINGS["len4+hdr46"].wrap(body, NetworkHeader(source="04384530").build(len(body)))


@SUITES
def test_the_host_answers_each_request_with_its_own_mac(tmp_path: Path, suite: str) -> None:
    ground = lay(tmp_path / "ground", 1, suite)
    host = Host(ground)
    stream = b"".join(request(n) for n in range(1, 40))
    wire = Wire(stream[:700], stream[700:])
    readable = host.serve(wire)  # type: ignore[arg-type]
    readable(0)
    readable(0)
    assert host.answered == 39
    mac = message_mac("network", suite, ground.zak)
    sent = wire.sent
    for n in range(1, 40):
        size = 4 + int(sent[:4])
        frame, sent = FRAMINGS["len4+hdr46"].unwrap(sent[:size]), sent[size:]
        assert NetworkHeader.parse(frame.header, size - 4).destination == "04384530"
        reply = codec_of(NETWORK).decode(frame.body)
        asked = codec_of(NETWORK).decode(request(n)[50:]).fields
        assert reply.mti == "0210"
        assert {de: reply[de] for de in (2, 4, 7, 11, 37, 41, 42)} == {
            de: asked[de] for de in (2, 4, 7, 11, 37, 41, 42)
        }
        assert (reply[39], reply[38], reply[15]) == ("00", "123456", "0713")
        assert reply[128].encode() == mac(network_mab("0210", reply.fields))
    assert not sent


def test_every_feature_can_be_taken_out() -> None:
    assert set(FEATURES) | {"nothing"} == set(TAKEN_OUT)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two cores are needed")
def test_a_short_run(tmp_path: Path) -> None:
    """The whole way, with processes; speed is no test here."""
    figures = bench_switch(tmp_path, rounds=1, seconds=0.2, connections=8, parts=("latency", "fleeting", "tls"))
    for part in (figures, figures["per_connection"], figures["tls"]):
        assert part["ratio"] == pytest.approx(part["cpu_us_per_authorization"] / part["cpu_us_per_echo"], rel=0.01)
        assert part["ratio"] > 1
        assert part["authorizations_per_s"] > 50
        assert part["switch"]["saturated"] == (part["switch"]["server_busy"] >= 0.95)
    assert figures["cpu_us_per_relay"] > 0
    assert [row["share"] for row in figures["latency"]] == list(SHARES)
    for row in figures["latency"]:
        assert 0 < row["switch"]["p50_ms"] <= row["switch"]["p99_ms"] <= row["switch"]["p99.9_ms"]
    assert [table.row_count for table in switch_tables(figures)] == [7, 3]


def test_one_core_is_too_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(BenchFailed, match="two cores"):
        bench_switch(tmp_path)
