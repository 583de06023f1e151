"""`shoudan send` against a small host in a thread: PIN and MAC as the host finds them, answers, silence, wrong MACs."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from switch.app import tools
from switch.crypto.block import ecb_decryptor
from switch.crypto.mac import message_mac
from switch.crypto.pinblock import decode as open_pin
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK, POS
from switch.wire.framing import FRAMINGS, Deframer, Frame, NetworkHeader, reply_tpdu
from switch.wire.mab import network_mab, pos_mab
from switch.wire.message import Message
from switch.wire.private import read_sm_pin
from terminals.beside import free_ports

MESSAGES = {m["id"]: m for m in json.loads((Path(__file__).parent / "vectors" / "messages.json").read_text())}
PAN = "6212140000000000030"
MAK, PIK = "0123456789ABCDEFFEDCBA9876543210", "1A2B3C4D5E6F70818293A4B5C6D7E8F9"
SALE = {
    "mti": "0200",
    "fields": {
        "2": PAN, "3": "000000", "4": "000000000100", "11": "000001", "14": "2912", "22": "011", "25": "00",
        "41": "10000001", "42": "104110000000001", "49": "156", "60": "22000001000601",
    },
}  # fmt: skip
PURCHASE = {
    "dialect": "network",
    "mti": "0200",
    "fields": {
        "2": PAN, "3": "000000", "4": "000000000100", "7": "0713035021", "11": "000001", "18": "5411", "22": "011",
        "25": "00", "32": "04384530", "33": "04384530", "37": "000000000001", "41": "10000001",
        "42": "104110000000001", "49": "156", "60": "000000000300000",
    },
}  # fmt: skip

app = typer.Typer()
app.callback()(lambda: None)
tools.register(app)

Answerer = Callable[[Frame], bytes | None]


@contextmanager
def host(framing: str, answer: Answerer) -> Iterator[tuple[str, list[Frame]]]:
    """A host that answers each frame with the bytes `answer` makes (None: it hangs up); gives address and frames."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[Frame] = []

    def serve() -> None:
        connection, _ = listener.accept()
        deframer = Deframer(FRAMINGS[framing])
        with connection:
            while data := connection.recv(4096):
                for frame in deframer.feed(data):
                    seen.append(frame)
                    reply = answer(frame)
                    if reply is None:
                        return
                    connection.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.close()
        thread.join(5)


def run(*arguments: str, text: str | None = None, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(
        app, ["send", *arguments], input=text, env={"COLUMNS": "200"} | (env or {}), catch_exceptions=False
    )
    return result.exit_code, result.stdout, result.stderr


def pos_reply(frame: Frame, mac: Callable[[bytes], bytes] | None, code: str = "00") -> bytes:
    request = codec_of(POS).decode(frame.body)
    fields: dict[int, Any] = {de: request[de] for de in (3, 4, 11, 41, 42, 49) if de in request}
    fields |= {39: code, 37: "000000000001"}
    fields = dict(sorted(fields.items()))
    mti = request.mti[:2] + "10"
    if mac is None:
        body = codec_of(POS).encode(mti, fields)
    else:
        body = pos_mab(codec_of(POS).encode(mti, fields | {64: bytes(8)}))
        body += mac(body)
    return FRAMINGS["len2+tpdu+hdr6"].wrap(body, frame.header, reply_tpdu(frame.tpdu))


@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_pin_and_mac_as_the_host_finds_them(suite: str) -> None:
    mac = message_mac("cup-ecb", suite, bytes.fromhex(MAK))
    with host("len2+tpdu+hdr6", lambda frame: pos_reply(frame, mac)) as (address, seen):
        code, out, err = run(
            json.dumps(SALE),
            "--host",
            address,
            "--suite",
            suite,
            "--mak",
            MAK,
            "--pik",
            PIK,
            "--pin",
            "123456",
            "--json",
        )
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["mti"], found["fields"]["39"], found["mac"]) == ("0210", "00", "right")
    assert found["tpdu"] == "6000000003"
    request = codec_of(POS).decode(seen[0].body)
    assert request[64] == mac(pos_mab(seen[0].body))
    assert request[26] == "12"
    assert request[53] == ("2600000000000000" if suite == "3des" else "2400000000000000")
    wrapped = request[52] if suite == "3des" else read_sm_pin(request[63])
    block = ecb_decryptor(suite, bytes.fromhex(PIK))(wrapped)
    assert open_pin("iso0" if suite == "3des" else "sm4", block, PAN) == "123456"
    for secret in (MAK, PIK, "123456", PAN, wrapped.hex().upper()):
        assert secret not in out


def test_keys_from_the_environment() -> None:
    mac = message_mac("cup-ecb", "3des", bytes.fromhex(MAK))
    keys = {"SHOUDAN_MAK": MAK, "SHOUDAN_PIK": PIK, "SHOUDAN_PIN": "1234"}
    with host("len2+tpdu+hdr6", lambda frame: pos_reply(frame, mac)) as (address, seen):
        code, out, _ = run("-", "--host", address, "--lang", "en", text=json.dumps(SALE), env=keys)
    assert code == 0
    assert "MAC of the answer: right" in out
    assert "approved" in out
    assert codec_of(POS).decode(seen[0].body)[52]


@pytest.mark.parametrize("secret", [MAK, PIK, "1234"])
def test_help_shows_no_key(secret: str) -> None:
    out = run("--help", env={"SHOUDAN_MAK": MAK, "SHOUDAN_PIK": PIK, "SHOUDAN_PIN": "1234"})[1]
    assert "SHOUDAN_MAK" in out
    assert secret not in out


def test_wrong_mac_of_the_answer() -> None:
    with host("len2+tpdu+hdr6", lambda frame: pos_reply(frame, lambda _: b"00000000")) as (address, _):
        code, out, _ = run(json.dumps(SALE), "--host", address, "--mak", MAK, "--json")
    assert code == 1
    assert json.loads(out)["mac"] == "wrong"


def test_without_keys_nothing_is_put_in() -> None:
    with host("len2+tpdu+hdr6", lambda frame: pos_reply(frame, None, "A0")) as (address, seen):
        code, out, _ = run(json.dumps(SALE), "--host", address, "--tpdu", "6001020304", "--json")
    assert code == 0
    assert json.loads(out)["mac"] == "absent"
    assert 64 not in codec_of(POS).decode(seen[0].body)
    assert seen[0].tpdu.hex() == "6001020304"
    assert seen[0].header.hex() == "603100000000"


def test_hex_goes_out_as_it_came() -> None:
    message = MESSAGES["P26"]
    with host("len2+tpdu+hdr6", lambda frame: pos_reply(frame, None)) as (address, seen):
        assert run(message["hex"], "--host", address, "--json")[0] == 0
    raw = bytes.fromhex(message["hex"])
    assert FRAMINGS["len2+tpdu+hdr6"].wrap(seen[0].body, seen[0].header, seen[0].tpdu) == raw


def test_several_messages_on_one_connection(tmp_path: Path) -> None:
    path = tmp_path / "messages.txt"
    path.write_text(f"# two\n{MESSAGES['P44']['hex']}\n\n{MESSAGES['P26']['hex']}\n")
    with host("len2+tpdu+hdr6", lambda frame: pos_reply(frame, None)) as (address, seen):
        code, out, _ = run(str(path), "--host", address, "--json")
    assert code == 0
    assert [item["request"]["mti"] for item in json.loads(out)] == ["0820", "0200"]
    assert len(seen) == 2
    assert "6214830000000041" not in out


def test_administration_carries_no_mac() -> None:
    with host("len2+tpdu+hdr6", lambda frame: pos_reply(frame, None)) as (address, seen):
        assert run(MESSAGES["P44"]["hex"], "--host", address, "--mak", MAK)[0] == 0
    assert 64 not in codec_of(POS).decode(seen[0].body)


def network_reply(frame: Frame, mac: Callable[[bytes], bytes]) -> bytes:
    header = NetworkHeader.parse(frame.header)
    request = codec_of(NETWORK).decode(frame.body)

    def wrapped(mti: str, fields: dict[int, Any]) -> bytes:
        body = codec_of(NETWORK).encode(mti, dict(sorted(fields.items())))
        back = NetworkHeader(destination=header.source, source=header.destination).build(len(body))
        return FRAMINGS["len4+hdr46"].wrap(body, back)

    fields: dict[int, Any] = {de: request[de] for de in (2, 3, 4, 7, 11, 25, 32, 33, 41, 42)} | {39: "51"}
    fields[128] = mac(network_mab("0210", fields)).decode()
    test = wrapped("0820", {7: "0713035021", 11: "000009", 33: "00010000", 70: "301"})
    return b"0000" + test + wrapped("0210", fields)


def test_network_answer_after_other_traffic() -> None:
    mac = message_mac("x9.19", "3des", bytes.fromhex(MAK))
    with host("len4+hdr46", lambda frame: network_reply(frame, mac)) as (address, seen):
        code, out, _ = run(
            json.dumps(PURCHASE), "--host", address, "--mak", MAK, "--pik", PIK, "--pin", "1234", "--json"
        )
    found = json.loads(out)
    assert code == 0
    assert (found["mac"], found["fields"]["39"], found["skipped"]) == ("right", "51", ["0820"])
    request: Message = codec_of(NETWORK).decode(seen[0].body)
    assert request[128] == mac(network_mab("0200", request.fields)).decode()
    assert NetworkHeader.parse(seen[0].header).length == 46 + len(seen[0].body)


def test_host_hangs_up() -> None:
    with host("len2+tpdu+hdr6", lambda frame: None) as (address, _):
        code, out, err = run(json.dumps(SALE), "--host", address, "--json")
    assert (code, out) == (1, "")
    assert "closed the connection without an answer" in err


def test_silence() -> None:
    with host("len2+tpdu+hdr6", lambda frame: b"") as (address, _):
        code, _, err = run(json.dumps(SALE), "--host", address, "--timeout", "0.05")
    assert code == 1
    assert "no answer in time" in err


def test_an_answer_of_garbage() -> None:
    with host("len2+tpdu+hdr6", lambda frame: b"\xff\xff" + bytes(9)) as (address, _):
        code, _, err = run(json.dumps(SALE), "--host", address)
    assert code == 1
    assert "not a frame of this link: length prefix at offset 0" in err
    with host("len2+tpdu+hdr6", lambda frame: b"\x00\x10" + bytes(11) + b"\x02\x10\xff\xff\xff") as (address, _):
        code, out, _ = run(json.dumps(SALE), "--host", address, "--lang", "en")
    assert code == 1
    assert "stopped: bitmap at offset 2" in out


def test_nobody_listens() -> None:
    (port,) = free_ports(1)
    code, _, err = run(json.dumps(SALE), "--host", f"127.0.0.1:{port}")
    assert code == 1
    assert "connection refused" in err
    assert len(err.splitlines()) == 1


NO_CARD = {"mti": "0200", "fields": {"3": "000000", "11": "000001"}}


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        (SALE, ["--host", "nowhere"], "--host is host:port"),
        (SALE, ["--host", "h:99999"], "--host is host:port"),
        (SALE, ["--mak", "0123"], "--mak has 2 bytes, 8 or 16 or 24 wanted"),
        (SALE, ["--mak", "0123456789ABCDEZ"], "--mak is not hexadecimal"),
        (SALE, ["--suite", "sm4", "--mak", "0123456789ABCDEF"], "--mak has 8 bytes, 16 wanted"),
        (SALE, ["--tpdu", "6000"], "--tpdu has 2 bytes, 5 wanted"),
        (SALE, ["--pin", "1234"], "--pin needs --pik"),
        (SALE, ["--pik", PIK, "--pin", "12"], "a PIN has 4 to 12 digits"),
        (SALE, ["--profile", "nowhere"], "profile nowhere: no such file"),
        (SALE, ["--profile", "cups"], "DE14"),
        (PURCHASE, ["--profile", "unionpay-pos"], "a network message does not fit a pos profile"),
        (NO_CARD, ["--pik", PIK, "--pin", "1234"], "DE2: a PIN is bound to a card number"),
        ({"mti": "0200"}, [], "mti is a text of four digits"),
        ({"mti": "0200", "fields": {"x": "1"}}, [], "a field is named by its number"),
        ({"mti": "0200", "fields": {"3": 0}}, [], "field 3 is not a text"),
        ({"mti": "0200", "fields": {"52": "xyz"}}, [], "DE52: binary fields are written in hexadecimal"),
        ({"mti": "0200", "fields": {"99": "1"}}, [], "DE99: not used on this link"),
        ({"mti": "0200", "fields": {}, "dialect": "x25"}, [], "dialect is one of pos, network"),
        ({"mti": "0200", "fields": {}, "tpdu": 5}, [], "tpdu is not hexadecimal"),
        ([], [], "no message in the input"),
        ([SALE, 1], [], "message 2: a message is an object"),
    ],
)
def test_bad_usage(source: Any, options: list[str], error: str) -> None:
    if "cups" in options:
        source = {"mti": "0200", "fields": {"14": "29"}}
    code, out, err = run(json.dumps(source), *([] if "--host" in options else ["--host", "127.0.0.1:9"]), *options)
    assert (code, out) == (2, "")
    assert error in err
    assert len(err.splitlines()) == 1
    for secret in (PAN, MAK, PIK):
        assert secret not in err


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{", "not JSON"),
        ("no-such-file", "neither JSON, nor hexadecimal (digit 1 is not hexadecimal), nor a file"),
        ("0200", "line 1: not a whole message"),
    ],
)
def test_bad_source(source: str, error: str) -> None:
    code, _, err = run(source, "--host", "127.0.0.1:9")
    assert code == 2
    assert error in err


def test_the_answer_of_decode_can_be_sent() -> None:
    decoded = CliRunner().invoke(app, ["decode", MESSAGES["P26"]["hex"], "--json", "--unsafe"]).stdout
    with host("len2+tpdu+hdr6", lambda frame: pos_reply(frame, None)) as (address, seen):
        assert run(decoded, "--host", address)[0] == 0
    assert FRAMINGS["len2+tpdu+hdr6"].wrap(*seen[0][::-1]) == bytes.fromhex(MESSAGES["P26"]["hex"])
