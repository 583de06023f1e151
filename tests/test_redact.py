"""Nothing printed may hold a card number, track, PIN block or key: the one door for it, and every vector through it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.redact import mask_pan, mask_tlv, mask_track, masked, scrub

MESSAGES = json.loads((Path(__file__).parent / "vectors" / "messages.json").read_text())
EXACT = [m for m in MESSAGES if m["exact"]]
PAN = "6212140000000000030"
BINARY = {"pos": (52, 55, 57, 58, 59, 62, 63, 64), "network": (48, 52, 55, 63, 96)}


def values(message: dict[str, Any]) -> dict[int, str | bytes]:
    binary = BINARY[message["link"]]
    return {int(k): bytes.fromhex(v) if int(k) in binary else v for k, v in message["fields"].items()}


@pytest.mark.parametrize(
    ("pan", "shown"),
    [
        (PAN, "621214*********0030"),
        ("6214830000000066", "621483******0066"),
        ("6214830000066", "621483***0066"),
        ("621483000066", "********0066"),
        ("12345", "*****"),
        ("", ""),
    ],
)
def test_mask_pan(pan: str, shown: str) -> None:
    assert mask_pan(pan) == shown


@pytest.mark.parametrize(
    ("track", "shown"),
    [
        ("6214830000000041D24032200000000000000", "621483******0041D" + "*" * 20),
        ("9558990000000000208=05122010000000000", "955899*********0208=" + "*" * 17),
        ("B6214830000000041^TEST/CARD^2403220", "B621483******0041^" + "*" * 17),
        ("62148300000000412403220", "621483" + "*" * 17),
        ("123", "***"),
        ("=5122010000000000", "*****************"),
    ],
)
def test_mask_track(track: str, shown: str) -> None:
    assert mask_track(track) == shown
    assert len(shown) == len(track)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("card 6214830000000041 declined", "card 621483******0041 declined"),
        ("6214 8300 0000 0041", "6214 83** **** 0041"),
        ("t2 6214830000000041=24032200000", "t2 621483******0041=***********"),
        ("rrn 222255296583, amount 000000000001", "rrn 222255296583, amount 000000000001"),
        ("0000000000000000000000", "0000000000000000000000"),
        ("key 0123456789ABCDEFFEDCBA9876543210.", "key ********************************."),
    ],
)
def test_scrub(text: str, shown: str) -> None:
    assert scrub(text) == shown


def test_fields_with_secrets() -> None:
    assert masked(2, PAN) == mask_pan(PAN)
    assert masked(14, "2912") == "****"
    assert masked(14, "0000") == "0000"
    assert masked(52, bytes(8)) == "0" * 16
    assert masked(52, b"12345678") == "*" * 16
    assert masked(96, b"12345678") == "*" * 16
    assert masked(102, PAN + " ") == mask_pan(PAN) + " "
    assert masked(45, "B" + PAN + "^A^2403") == "B" + mask_pan(PAN) + "^******"
    assert masked(63, b"SM016" + bytes(range(16))) == b"SM016".hex().upper() + "*" * 32
    assert masked(48, b"NK" + b"A" * 16) == "4E4B" + "*" * 32
    assert masked(48, b"ASOA012000000010000") == b"ASOA012000000010000".hex().upper()
    assert masked(64, b"3F2504E0") == "3346323530344530"


def test_fields_without_secrets_pass() -> None:
    for de, value in [(42, "898440153113507"), (37, "222255296583"), (90, "0200" + "1" * 38), (60, "22000512000600")]:
        assert masked(de, value) == value
    totals = "0" * 10 + "70070" + "0" * 47
    assert masked(48, totals) == totals
    assert masked(54, "3001156C0000017971003002156C000004810938") == "3001156C0000017971003002156C000004810938"


def test_details_hide_each_card() -> None:
    row = "00" + "000123" + PAN.zfill(20) + "000000010000"
    other = "01" + "000124" + "0000010000525435".zfill(20) + "000000000001"
    shown = masked(48, "02" + row + other)
    assert PAN not in shown
    assert (
        shown
        == "02" + "000001230" + mask_pan(PAN) + "000000010000" + "010001240000" + "000001******5435" + "000000000001"
    )


def test_icc_data_hide_card_tags_also_inside_templates() -> None:
    inner = bytes.fromhex("5A0A6212140000000000030F" + "57136214830000000041D24032200000000000000F" + "5F200441424344")
    data = bytes([0x70, len(inner)]) + inner + bytes.fromhex("9F360200AD")
    shown = mask_tlv(data)
    assert "5A0A621214*********0030F" in shown
    assert "5713621483******0041D" in shown
    assert "5F2004********" in shown
    assert shown.endswith("9F360200AD")
    assert masked(55, data) == shown
    assert masked(55, data.hex()) == shown


def test_icc_data_that_break_off_are_starred_from_there() -> None:
    assert mask_tlv(bytes.fromhex("9F360200AD5A0A62")) == "9F360200AD" + "*" * 6
    assert masked(55, "zz") == "**"


def test_device_block_keeps_only_four_digits_of_the_factor() -> None:
    text = "PI06404020205140000240210687000000106060000690708D3903F390808V0.0.3.0"
    assert masked(46, text) == text.replace("0606000069", "0606**0069")


def test_identity_of_the_network_is_hidden() -> None:
    n08 = next(m for m in EXACT if m["id"] == "N08")["fields"]["61"]
    shown = masked(61, n08)
    assert "测试" not in shown
    assert len(shown) == len(n08)
    assert masked(61, "01110101190000000012" + "  " + n08[22:])[2:22] == "*" * 20


@pytest.mark.parametrize("message", EXACT, ids=[m["id"] for m in EXACT])
def test_no_vector_leaks(message: dict[str, Any]) -> None:
    fields = values(message)
    pans = {str(fields[2])} if 2 in fields else set()
    for de in (35, 36):
        pans |= set(re.findall(r"\d{16,}", str(fields.get(de, ""))))
    shown = {de: masked(de, value) for de, value in fields.items()}
    text = " ".join(shown.values()) + " ".join(bytes.fromhex(v).decode("latin-1") for v in shown.values() if _hex(v))
    for pan in pans:
        assert pan not in text
    for de, value in fields.items():
        raw = value.hex().upper() if isinstance(value, bytes) else value
        assert len(shown[de]) == len(raw)
    if message["mti"] == "0810" and len(fields.get(62, b"")) >= 20:
        assert set(shown[62]) == {"*"}


def _hex(text: str) -> bool:
    return bool(re.fullmatch(r"(?:[0-9A-F]{2})+", text))


@given(st.integers(0, 128), st.one_of(st.text(max_size=120), st.binary(max_size=120)))
def test_never_raises_and_keeps_length(de: int, value: str | bytes) -> None:
    shown = masked(de, value)
    assert len(shown) == (2 * len(value) if isinstance(value, bytes) else len(value))


@given(st.integers(0, 128), st.text("abc ,.=D", max_size=5), st.integers(13, 19), st.text("xyz ,.", max_size=5))
def test_no_field_of_free_text_leaks_a_card(de: int, before: str, size: int, after: str) -> None:
    pan = PAN[:6] + "0" * (size - 10) + PAN[-4:]
    if de in (43, 44, 46, 47, 48, 56, 57, 58, 59, 61, 62, 63, 104, 122, 123, 2, 35, 36, 102, 103):
        assert pan not in masked(de, before + pan + after)
        shown = masked(de, (before + pan + after).encode())
        assert pan.encode().hex() not in shown.lower()


def test_a_key_block_that_begins_like_a_usage_is_starred() -> None:
    assert set(masked(62, b"NK" + bytes(57) + b"\x80")) == {"*"}
    assert masked(48, b"NK" + bytes(16)) == "4E4B" + "*" * 32


@given(st.sampled_from((24, 40, 57, 60, 84, 104)), st.data())
def test_key_blocks_are_starred(size: int, data: st.DataObject) -> None:
    keys = data.draw(st.binary(min_size=size, max_size=size))
    if not keys.isascii():
        assert set(masked(62, keys)) == {"*"}
