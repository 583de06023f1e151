"""`shoudan decode`: every collected message, files, languages, masks, round trips and bad input."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from switch.app import tools
from switch.app.decode import SourceError, parse_hex
from switch.app.detect import detect, rebuild
from switch.app.explain import rows
from switch.wire.errors import WireError

MESSAGES = json.loads((Path(__file__).parent / "vectors" / "messages.json").read_text())
EXACT = [m for m in MESSAGES if m["exact"]]
CUT = [m for m in MESSAGES if not m["exact"]]
BY_ID = {m["id"]: m for m in MESSAGES}

app = typer.Typer()
app.callback()(lambda: None)
tools.register(app)
RUNNER = CliRunner()


def run(*arguments: str, text: str | None = None) -> tuple[int, str, str]:
    result = RUNNER.invoke(app, ["decode", *arguments], input=text, env={"COLUMNS": "200"}, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def as_json(*arguments: str, text: str | None = None) -> Any:
    return json.loads(run(*arguments, "--json", text=text)[1])


@pytest.mark.parametrize("message", EXACT, ids=[m["id"] for m in EXACT])
def test_whole_messages(message: dict[str, Any]) -> None:
    code, out, err = run(message["hex"], "--json", "--unsafe", "--roundtrip")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["dialect"] == message["link"]
    assert found["framing"] == message["framing"]
    assert found["mti"] == message["mti"]
    assert found["fields"] == message["fields"]
    assert found.get("pads", {}) == message.get("pads", {})
    assert found["error"] is None
    assert found["roundtrip"] is True
    assert (found["header"] is None) == ("hdr" not in message["framing"])
    if "tags" in message:
        assert found["tags"] == message["tags"]


@pytest.mark.parametrize("message", EXACT, ids=[m["id"] for m in EXACT])
@pytest.mark.parametrize("lang", ["zh", "en", "both"])
def test_tables(message: dict[str, Any], lang: str) -> None:
    code, out, _ = run(message["hex"], "--lang", lang, "--roundtrip")
    assert code == 0
    assert "round trip: the same" in out
    assert "未能展开" not in out or message["id"] in ("P21",)
    if 2 in map(int, message["fields"]):
        assert message["fields"]["2"] not in out
    if lang == "en":
        assert "消息类型" not in out
    if lang == "zh":
        assert "message type" not in out


@pytest.mark.parametrize(
    ("ident", "dialect", "framing", "mti", "error"),
    [
        ("P23", "pos", "body", "0200", "DE64 at offset 320: 8 bytes expected, 0 left"),
        ("P24", "pos", "body", "0200", "DE64 at offset 254: 8 bytes expected, 0 left"),
        ("P25", "pos", "body", "0200", "DE64 at offset 258: 8 bytes expected, 0 left"),
        ("P28", "pos", "len2+tpdu+hdr6", "0210", "length prefix at offset 0: says 170 bytes, 142 follow"),
        ("P45", "pos", "body", "0400", "DE64 at offset 97: 8 bytes expected, 0 left"),
        ("P47", "pos", "len2+tpdu+hdr6", "0000", "end at offset 10: 282 bytes after the last field"),
        ("P52", "pos", "body", "0200", "DE64 at offset 91: 8 bytes expected, 0 left"),
        ("P54", "pos", "len2+tpdu+hdr6", "0810", "DE62 at offset 72: 80 bytes expected, 40 left"),
        ("N01", "network", "hdr46", None, "MTI at offset 0: 0 bytes left, expected 4"),
    ],
)
def test_messages_cut_short(ident: str, dialect: str, framing: str, mti: str | None, error: str) -> None:
    code, out, _ = run(BY_ID[ident]["hex"], "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["dialect"], found["framing"], found["mti"], found["error"]) == (dialect, framing, mti, error)
    code, out, _ = run(BY_ID[ident]["hex"], "--lang", "en")
    assert code == 1
    assert f"stopped: {error}" in out


def test_every_short_message_is_in_the_table() -> None:
    assert {m["id"] for m in CUT} == {"P23", "P24", "P25", "P28", "P45", "P47", "P52", "P54", "N01"}


def test_what_was_read_before_the_error() -> None:
    masked, clear = as_json(BY_ID["P23"]["hex"])["fields"], as_json(BY_ID["P23"]["hex"], "--unsafe")["fields"]
    assert masked["2"] == "621483******0058"
    assert clear["2"] == "6214830000000058"
    assert clear["3"] == "000000"
    assert "64" not in clear


def test_nothing_secret_is_printed_unless_asked() -> None:
    for message in EXACT:
        out = run(message["hex"])[1] + run(message["hex"], "--json")[1]
        fields = message["fields"]
        for de in ("2", "35", "36"):
            assert de not in fields or fields[de] not in out
        if fields.get("52", "0").strip("0"):
            assert fields["52"] not in out
        if message["mti"] == "0810" and len(fields.get("62", "")) >= 40:
            assert fields["62"][:16] not in out
        if fields.get("63", "").startswith("534D"):
            assert fields["63"][10:] not in out


def test_codes_and_private_fields_are_explained() -> None:
    out = run(BY_ID["P14"]["hex"], "--lang", "both")[1]
    for text in (
        "消费 sale",
        "contactless chip (quick pass), with PIN",
        "11.11 CNY",
        "ARQC",
        "SM4 PIN block",
        "**0069",
    ):
        assert text in out
    out = run(BY_ID["P43"]["hex"], "--lang", "en")[1]
    assert "settlement" in out
    assert "domestic debit count" in out
    out = run(BY_ID["N13"]["hex"], "--lang", "en")[1]
    assert "48,109.38" in out
    out = run(BY_ID["P01"]["hex"], "--lang", "en")[1]
    assert "MAC key check value" in out
    assert "F1737A9E" in out


def test_rows_in_json_are_in_one_language() -> None:
    rows_zh = as_json(BY_ID["P08"]["hex"], "--lang", "zh")["rows"]
    assert {"key": "39", "name": "应答码", "value": "00", "meaning": "承兑或交易成功"} in rows_zh
    rows_en = as_json(BY_ID["P08"]["hex"], "--lang", "en")["rows"]
    assert any(row["key"] == "60.1" and row["meaning"] == "sale" and row["depth"] == 1 for row in rows_en)


def test_a_reversal_reason_is_not_a_response() -> None:
    body = bytes.fromhex(
        "0400" + "0020000002C00000" + "000123" + "3938" + "3030303030303031" + "303030303030303030303030303031"
    )
    assert "no reply in time" in run(body.hex(), "--lang", "en")[1]


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "messages.txt"
    lines = ["# three messages", "", BY_ID["P08"]["hex"] + "  # a reply", "XYZ", "ABC", BY_ID["N10"]["hex"]]
    path.write_text("\n".join(lines) + "\n")
    code, out, _ = run(str(path), "--json")
    found = json.loads(out)
    assert code == 1
    assert [item["line"] for item in found] == [3, 4, 5, 6]
    assert [item["error"] for item in found] == [
        None,
        "line 4: digit 1 is not hexadecimal",
        "line 5: 3 hexadecimal digits are not whole bytes",
        None,
    ]
    assert found[3]["mti"] == "0210"
    code, out, err = run(str(path))
    assert code == 1
    assert "line 3 · pos" in out
    assert "line 6 · network" in out
    assert err.count("shoudan decode: line") == 2


def test_a_file_of_something_else_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("what is this\n" * 700)
    line = "shoudan decode: line 1: digit 1 is not hexadecimal, nor is any other line; one message a line\n"
    assert run(str(path)) == (2, "", line)


def test_file_of_one_message_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text(BY_ID["P08"]["hex"])
    assert as_json(str(path))["mti"] == "0210"


def test_standard_input() -> None:
    assert as_json("-", text=BY_ID["P08"]["hex"])["mti"] == "0210"
    assert run("-", text="# nothing\n")[0] == 2


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("no-such-file", "neither a file nor a message: digit 1 is not hexadecimal"),
        ("6212140000000000030", "neither a file nor a message: 19 hexadecimal digits are not whole bytes"),
        ("", "neither a file nor a message: no hexadecimal digits"),
        ("12" * 3000 + "Z", "neither a file nor a message: digit 6001 is not hexadecimal"),
    ],
)
def test_bad_argument(argument: str, error: str) -> None:
    code, out, err = run(argument)
    assert code == 2
    assert out == ""
    assert error in err
    assert len(err.splitlines()) == 1
    assert "6212140000000000030" not in err


def test_bad_options() -> None:
    assert run(BY_ID["P08"]["hex"], "--framing", "nonsense")[0] == 2
    assert run(BY_ID["P08"]["hex"], "--dialect", "nonsense")[0] == 2
    assert run(BY_ID["P08"]["hex"], "--lang", "fr")[0] == 2


def test_forced_dialect_and_framing() -> None:
    found = as_json(BY_ID["P08"]["hex"], "--framing", "body")
    assert found["framing"] == "body"
    assert found["error"] == "DE24 at offset 14: not used on this link"
    found = as_json(BY_ID["P08"]["hex"], "--dialect", "network")
    assert found["dialect"] == "network"
    assert found["error"]
    assert as_json(BY_ID["P34"]["hex"], "--dialect", "pos", "--framing", "len2+tpdu")["error"] is None


def test_a_round_trip_that_fails(tmp_path: Path) -> None:
    # DE44 announces more than follows: nothing decodes, so nothing comes out the same.
    code, out, _ = run(BY_ID["P54"]["hex"], "--roundtrip", "--lang", "en")
    assert code == 1
    assert "round trip: not encoded again" in out
    assert as_json(BY_ID["P54"]["hex"], "--roundtrip")["roundtrip"] is False
    code, out, _ = run(BY_ID["P28"]["hex"], "--roundtrip", "--lang", "en")
    assert code == 1
    assert "round trip: differs from byte 1 on" in out


def test_text_that_a_terminal_would_obey_is_escaped() -> None:
    message = BY_ID["P11"]
    wicked = message["hex"].replace("B3C9B9A6", "1B5B324A")
    assert "\x1b[2J" not in run(wicked)[1]


def test_header_says_what_the_host_asks_for() -> None:
    changed = BY_ID["P08"]["hex"][:10] + "603103000000" + BY_ID["P08"]["hex"][22:]
    assert "sign in again" in run(changed, "--lang", "en")[1]


def test_hex_may_be_spaced() -> None:
    assert parse_hex(" 0x02 00:a-b ") == b"\x02\x00\xab"
    with pytest.raises(SourceError, match="digit 3"):
        parse_hex("02 g0")


@given(st.binary(max_size=120))
def test_no_bytes_break_the_tool(data: bytes) -> None:
    reading = detect(data)
    reading.read_so_far()
    if reading.message is not None:
        rows(reading.message, reading.dialect)


@given(st.sampled_from(EXACT), st.data())
def test_mutated_messages_are_read_or_refused(message: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray.fromhex(message["hex"])
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    reading = detect(bytes(raw))
    reading.read_so_far()
    if reading.message is not None:
        assert rows(reading.message, reading.dialect)
        assert rows(reading.message, reading.dialect, unsafe=True)
    with contextlib.suppress(WireError):
        rebuild(reading)
