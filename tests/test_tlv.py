"""BER-TLV: every published DE55, the strict rules one by one, and the round trip."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire import tlv
from switch.wire.errors import TlvError
from switch.wire.tags import SENSITIVE, TAGS, show, tag_info

VECTORS = Path(__file__).parent / "vectors"
TAGGED = [m for m in json.loads((VECTORS / "messages.json").read_text()) if "tags" in m]
KNOWN = [v for v in json.loads((VECTORS / "vectors.json").read_text()) if v["kind"] == "tlv"]


@pytest.mark.parametrize("message", TAGGED, ids=[m["id"] for m in TAGGED])
def test_icc_data_of_every_message(message: dict[str, Any]) -> None:
    data = bytes.fromhex(message["fields"]["55"])
    items = tlv.read(data)
    assert [[tag, value.hex().upper()] for tag, value in items] == message["tags"]
    assert tlv.write(items) == data


@pytest.mark.parametrize("vector", KNOWN, ids=[v["id"] for v in KNOWN])
def test_known_answers(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["inputs"]["hex"])
    assert [[tag, value.hex().upper()] for tag, value in tlv.read(data)] == vector["expected"]["tlv"]
    assert tlv.write(tlv.read(data)) == data


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("9F", "TLV at offset 0: tag breaks off"),
        ("9F36", "tag 9F36 at offset 2: no length"),
        ("9F360200", "tag 9F36 at offset 3: length 2 exceeds the 1 bytes that are left"),
        ("9F36020000" + "00", "TLV at offset 5: 00 is fill, not a tag"),
        ("9A8001000000", "tag 9A at offset 1: indefinite length"),
        ("9A8300000100", "tag 9A at offset 1: length longer than 3 bytes"),
        ("9A82", "tag 9A at offset 1: length breaks off"),
        ("DF81828001FF", "TLV at offset 0: tag longer than 3 bytes"),
    ],
)
def test_strict(data: str, error: str) -> None:
    with pytest.raises(TlvError) as caught:
        tlv.read(bytes.fromhex(data))
    assert str(caught.value) == error


def test_three_byte_tags_and_lengths() -> None:
    items = [("DF8105", b"x"), ("9F46", b"y" * 200), ("90", b"z" * 300)]
    data = tlv.write(items)
    assert data.startswith(bytes.fromhex("DF810501") + b"x" + bytes.fromhex("9F4681C8"))
    assert tlv.read(data) == items


def test_longer_length_than_needed_is_read() -> None:
    assert tlv.read(bytes.fromhex("9F36820002005F")) == [("9F36", bytes.fromhex("005F"))]


def test_whole_field_is_bounded() -> None:
    assert tlv.read(tlv.write([("90", bytes(995))])) == [("90", bytes(995))]
    with pytest.raises(TlvError, match="1000 bytes exceed 999"):
        tlv.read(tlv.write([("90", bytes(996))]))


def test_templates_open_on_request() -> None:
    data = bytes.fromhex("72189F180400000001860F04DA9F790A0000000002007C0DE18C")
    assert tlv.read(data)[0][0] == "72"
    tree = tlv.read_tree(data)
    assert tree == [("72", [("9F18", bytes.fromhex("00000001")), ("86", data[-15:])])]
    assert tlv.write_tree(tree) == data


def test_depth_is_bounded() -> None:
    data = b"\x9a\x00"
    for _ in range(3):
        data = tlv.write([("70", data)])
    assert tlv.read_tree(data)
    with pytest.raises(TlvError, match="templates too deep"):
        tlv.read_tree(tlv.write([("70", data)]))


def test_an_element_may_not_reach_past_its_template() -> None:
    with pytest.raises(TlvError) as caught:
        tlv.read_tree(bytes.fromhex("70039F36029A00"))
    assert caught.value.tag == "9F36"
    assert caught.value.offset == 5


@pytest.mark.parametrize("tag", ["", "9F", "9F3612", "00", "ZZ", "DF818282"])
def test_no_bad_tag_is_written(tag: str) -> None:
    with pytest.raises(TlvError):
        tlv.write([(tag, b"")])


def test_find_and_mapping() -> None:
    data = tlv.write({"9A": b"\x26\x01\x02", "9C": b"\0"})
    assert tlv.find(tlv.read(data), "9C") == b"\0"
    assert tlv.find(tlv.read(data), "95") is None


TAG = st.sampled_from([tag for tag, row in TAGS.items() if row.format != "t"])


@given(st.lists(st.tuples(TAG, st.binary(max_size=60)), max_size=12))
def test_round_trip(items: list[tuple[str, bytes]]) -> None:
    assert tlv.read(tlv.write(items)) == items


@given(st.binary(max_size=200))
def test_nothing_but_tlv_error(data: bytes) -> None:
    try:
        items = tlv.read(data)
        tlv.read_tree(data)
    except TlvError:
        return
    assert sum(len(value) for _, value in items) <= len(data)


def test_tag_table() -> None:
    for tag, row in TAGS.items():
        assert tlv.write([(tag, b"")])[:-1].hex().upper() == tag
        assert row.zh
        assert row.en
        assert not tlv.is_template(tag) or row.format == "t" or tag[:2] == "FF"
    assert all(TAGS[tag].sensitive for tag in SENSITIVE)
    assert tag_info("9F7F").en == "unknown tag"
    assert tag_info("E1").format == "t"


def test_values_are_shown_by_format() -> None:
    assert show("9F74", b"ECC001") == "ECC001"
    assert show("9F02", bytes.fromhex("000000011111")) == "000000011111"
    assert show("5A", bytes.fromhex("6212140000000000030F")) == "6212140000000000030"
    assert show("95", bytes(5)) is None
    assert show("FF00", bytes.fromhex("BAD3C4CF")) == "河南"
    assert show("9F1E", b"\xff" * 8) is None
