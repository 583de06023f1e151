"""The doctor names framing and dialect of real messages and their variants, of dumps and of living hosts."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scenarios.doctor.cli import register
from scenarios.doctor.live import PROBES, Heard, examine, probe
from scenarios.doctor.shape import Assessment, assess, diagnose
from scenarios.doctor.words import fitting, sentences, shipped_profiles
from switch.wire.codec import codec_of
from switch.wire.dialects import POS
from switch.wire.framing import FRAMINGS, Deframer, Frame, Framing, NetworkHeader

MESSAGES = json.loads((Path(__file__).parent / "vectors" / "messages.json").read_text())
EXACT = [one for one in (MESSAGES["messages"] if isinstance(MESSAGES, dict) else MESSAGES) if one["exact"]]
TPDU, HEADER = bytes.fromhex("6000030000"), bytes.fromhex("603100310000")
VARIANTS = ("as it is", "ASCII length", "length included", "no TPDU", "no header")


def variant(message: dict[str, Any], name: str) -> tuple[bytes, Framing]:
    """A message as it stands, or as another acquirer would frame it."""
    data, own = bytes.fromhex(message["hex"]), FRAMINGS[message["framing"]]
    if name == "as it is":
        return data, own
    frame = own.unwrap(data)
    pos = message["link"] == "pos"
    usual = Framing("bin2", True, 6) if pos else Framing("ascii4", False, 46)
    changed = {
        "ASCII length": replace(usual, length="ascii4"),
        "length included": replace(usual, counts_itself=True),
        "no TPDU": replace(usual, tpdu=False),
        "no header": replace(usual, header=0),
    }[name]
    other = HEADER if pos else NetworkHeader(source="04384530").build(len(frame.body))
    header = (frame.header or other) if changed.header else b""
    return changed.wrap(frame.body, header, (frame.tpdu or TPDU) if changed.tpdu else b""), changed


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("message", EXACT, ids=lambda one: one["id"])
def test_every_message_and_variant_is_named(message: dict[str, Any], name: str) -> None:
    data, framing = variant(message, name)
    found = diagnose(data)
    assert found is not None
    assert found.sure
    named = found.shape.framing()
    assert named is not None
    assert (replace(named, frame_max=framing.frame_max), found.shape.dialect) == (framing, message["link"])
    assert found.mti == message["mti"]


def of(ident: str, name: str = "as it is") -> Assessment:
    message = next(one for one in EXACT if one["id"] == ident)
    found = diagnose(variant(message, name)[0])
    assert found is not None
    return found


def test_it_says_in_words_what_is_spoken_and_which_profile_fits() -> None:
    profiles = shipped_profiles()
    assert fitting(of("P26"), profiles).names == ("unionpay-pos", "unionpay-atm")
    assert fitting(of("N10", "ASCII length"), profiles).names == ("cups",)
    odd = of("P26", "no header")
    assert sentences(odd)[:3] == [
        "length in two bytes, high byte first 两字节长度, not counting itself 不含自身",
        "TPDU of five bytes",
        "no header 无报文头",
    ]
    assert fitting(odd, profiles).names == ()
    assert "header = 0" in fitting(odd, profiles).written
    assert 'extends = "unionpay-pos"' in fitting(odd, profiles).written


def test_lengths_no_profile_can_say_are_named_all_the_same() -> None:
    frame = FRAMINGS["len2+tpdu+hdr6"].unwrap(bytes.fromhex(next(one for one in EXACT if one["id"] == "P26")["hex"]))
    payload = frame.tpdu + frame.header + frame.body
    for prefix, length in (
        (bytes.fromhex(f"{len(payload):04d}"), "bcd2"),
        (len(payload).to_bytes(4, "big"), "bin4"),
        (len(payload).to_bytes(2, "little"), "low2"),
    ):
        found = diagnose(prefix + payload)
        assert found is not None
        assert (found.shape.length, found.sure, found.shape.framing()) == (length, True, None)
        assert fitting(found, shipped_profiles()) == ((), "")


def test_a_stream_of_frames_and_a_cut_one() -> None:
    data, _ = variant(next(one for one in EXACT if one["id"] == "P26"), "length included")
    found = diagnose(data * 3 + data[:40])
    assert found is not None
    assert (found.frames, found.cut, found.shape.counts_itself) == (4, True, True)
    assert len(found.messages) == 3
    cut = diagnose(data[:60])
    assert cut is not None
    assert (cut.sure, cut.cut) == (False, True)
    assert cut.shape[:1] + cut.shape[2:] == ("bin2", True, 6, "pos")  # whether it counts itself cannot be told


@pytest.mark.parametrize("data", [b"", b"\0", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(200), b"\xff" * 300])
def test_what_is_no_message_is_not_named(data: bytes) -> None:
    found = diagnose(data)
    assert found is None or not found.sure


def test_all_shapes_are_ranked_once() -> None:
    found = assess(variant(EXACT[0], "as it is")[0])
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len({one.shape for one in found}) == len(found)


# living hosts

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def heard(serve: Serve, ask: bool = True) -> Heard:
    async def run() -> Heard:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await examine("127.0.0.1", port, 0.1, 0.1, ask)
        finally:
            server.close()

    return asyncio.run(run())


def test_a_host_that_speaks_first() -> None:
    data, _ = variant(next(one for one in EXACT if one["id"] == "N10"), "ASCII length")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read()
        writer.close()

    found = heard(serve)
    assert (found.how, found.tried) == ("spoke first", 0)
    assert found.assessment is not None
    assert (found.assessment.shape.header, found.assessment.shape.dialect) == (46, "network")


def test_a_host_that_never_speaks() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    found = heard(serve)
    assert (found.how, found.data, found.tried) == ("silent", b"", len(PROBES))
    assert heard(serve, ask=False).tried == 0


def test_a_host_that_hangs_up_and_one_that_is_not_there() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    assert heard(serve).how == "closed"
    assert asyncio.run(examine("127.0.0.1", 1, 0.1, 0.1)).how == "unreachable"


def test_a_host_without_header_answers_the_echo_test_it_understands() -> None:
    framing = Framing("bin2", True, 0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        deframer = Deframer(framing)
        while data := await reader.read(4096):
            for frame in deframer.feed(data):
                if frame.body[:2] == b"\x08\x20":
                    fields = codec_of(POS).decode(frame.body).fields | {39: "00"}
                    writer.write(framing.wrap(codec_of(POS).encode("0830", dict(sorted(fields.items()))), b"", TPDU))
        writer.close()

    found = heard(serve)
    assert found.how == "answered"
    assert found.asked == PROBES[2]
    assert found.assessment is not None
    assert (found.assessment.shape, found.assessment.mti) == (PROBES[2], "0830")


def test_probes_are_echo_tests_of_their_shape() -> None:
    for shape in PROBES:
        found = diagnose(probe(shape, "00000000", "0" * 15))
        assert found is not None
        assert (found.shape, found.mti) == (shape, "0820")
    frame: Frame = Framing().unwrap(probe(PROBES[0], "12345678", "1" * 15))
    assert codec_of(POS).decode(frame.body).fields == {41: "12345678", 42: "1" * 15, 60: "00000000301"}


# the command


def command(*arguments: str, text: bytes | None = None) -> tuple[int, Any]:
    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(app, [*arguments, "--json"], input=text)
    return done.exit_code, json.loads(done.stdout) if done.stdout else None


def test_the_command_reads_hex_files_and_dumps(tmp_path: Path) -> None:
    text = next(one for one in EXACT if one["id"] == "P26")["hex"]
    code, said = command(text)
    assert (code, said["known"], said["profiles"]) == (0, True, ["unionpay-pos", "unionpay-atm"])
    assert (said["length"], said["tpdu"], said["header"], said["dialect"]) == ("bin2", True, 6, "pos")
    binary = tmp_path / "dump.bin"
    binary.write_bytes(bytes.fromhex(text))
    assert command(str(binary))[1]["profiles"] == said["profiles"]
    log = tmp_path / "host.log"
    log.write_text(f"10:11:12.345 RECV {text}\nnothing to see\n")
    assert command(str(log))[1]["mtis"] == ["0200"]
    assert command("-", text=text.encode())[1]["header"] == 6
    assert command("00" * 20)[0] == 1
    assert command("no such thing")[0] == 1  # ConfigError: a line and exit code 2 under `shoudan`


def test_nothing_secret_is_said() -> None:
    for message in EXACT:
        said = json.dumps(command(message["hex"])[1])
        pan = json.loads(json.dumps(message["fields"])).get("2", "") if isinstance(message["fields"], dict) else ""
        assert not pan or pan not in said
