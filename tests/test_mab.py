"""What a MAC covers: the published text and message, and the rules one by one."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.errors import DecodeError, EncodeError
from switch.wire.mab import _careful_mab, network_mab, pos_mab

VECTORS = json.loads((Path(__file__).parent / "vectors" / "vectors.json").read_text())
MESSAGES = json.loads((Path(__file__).parent / "vectors" / "messages.json").read_text())

TEXT = (
    "0200 196212142000000000012 000000 000000008000 0713035021 001085 4900 00 0804384530 0804384530 "
    "10000147 810000949000001"
)
FIELDS = {
    2: "6212142000000000012",
    3: "000000",
    4: "000000008000",
    7: "0713035021",
    11: "001085",
    12: "035021",
    18: "4900",
    22: "021",
    25: "00",
    32: "04384530",
    33: "04384530",
    41: "10000147",
    42: "810000949000001",
    49: "156",
}


def test_network_text() -> None:
    assert network_mab("0200", FIELDS) == TEXT.encode()
    assert TEXT in {v["inputs"].get("text") for v in VECTORS if v["kind"] == "mac-network"}


def test_network_original_is_cut_and_text_is_cleaned() -> None:
    fields = FIELDS | {90: "02000010850713035021" + "0" * 22, 39: "a0", 41: "ab#  12 ", 42: "ABC.,    "}
    text = network_mab("0430", fields).decode()
    assert text.startswith("0430 19")
    assert text.endswith(" A0 AB 12 ABC., 02000010850713035021")


def test_network_end_is_trimmed() -> None:
    assert network_mab("0830", {7: "0713035021", 42: "M" + " " * 14}) == b"0830 0713035021 M"


def test_network_accounts() -> None:
    assert network_mab("0200", {102: "6212140000000000030", 103: "12"}) == b"0200 196212140000000000030 0212"


def test_key_reset_covers_other_fields() -> None:
    fields = {7: "0713035021", 11: "000001", 53: "1600000000000000", 70: "101", 100: "04384530", 102: "1"}
    assert network_mab("0800", fields, key_reset=True) == b"0800 0713035021 000001 1600000000000000 101 0804384530"
    assert network_mab("0800", fields) == b"0800 0713035021 000001 011"


def test_network_covers_text_only() -> None:
    with pytest.raises(EncodeError, match="DE90"):
        network_mab("0200", {90: b"0200"})


def test_terminal_message() -> None:
    body = bytes.fromhex(next(m["hex"] for m in MESSAGES if m["id"] == "P52"))
    vector = next(v for v in VECTORS if v["kind"] == "mac-cup-ecb" and v["id"] == "cupmac-1")
    assert pos_mab(body + b"8A9E91B8") == body == bytes.fromhex(vector["inputs"]["message"])


def test_terminal_message_without_mac() -> None:
    with pytest.raises(DecodeError, match="DE64 at offset 9: absent"):
        pos_mab(bytes.fromhex("0800" + "0038000000C00010") + b"0" * 20)
    with pytest.raises(DecodeError, match="too short"):
        pos_mab(b"\x02\x00")


@given(
    st.sets(st.sampled_from([2, 3, 4, 11, 18, 32, 33, 38, 39, 41, 43, 90, 100, 102])),
    st.text("019aZ.,- \u00e9\u00df", max_size=120),
    st.booleans(),
)
def test_the_joined_expression_says_what_the_rules_say(des: set[int], text: str, key_reset: bool) -> None:
    fields = {de: text[de % 7 :] for de in des}
    assert network_mab("0200", fields, key_reset) == _careful_mab("0200", fields, key_reset)
