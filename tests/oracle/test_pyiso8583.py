"""Ours beside pyiso8583 4 with the same spec: every valid message that it accepts comes out the same, both ways."""

import json
from pathlib import Path
from typing import Any

import iso8583
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.wire.codec import Codec
from switch.wire.dialects import NETWORK, POS, Dialect
from switch.wire.errors import DecodeError, EncodeError
from switch.wire.framing import FRAMINGS

VECTORS = Path(__file__).parent.parent / "vectors" / "messages.json"
MESSAGES = [message for message in json.loads(VECTORS.read_text()) if message["exact"]]
CODECS = {dialect.name: Codec(dialect) for dialect in (POS, NETWORK)}
CHINESE = "银联商户有限公司墨文成功"

Fields = dict[int, Any]


def value_of(dialect: Dialect, de: int) -> st.SearchStrategy[Any]:
    """Values that the field may carry, at its limits too."""
    row = dialect.row(de)
    kind, size = row["kind"], row["max_len"]
    least = 0 if row["len_type"] else size
    if kind == "b":
        return st.binary(min_size=least, max_size=size)
    if kind == "xn":
        return st.from_regex(r"[CD][0-9]{8}", fullmatch=True)
    if kind in ("n", "z"):
        letters = "0123456789" if kind == "n" else "0123456789ABCDEF" if dialect.packed else "0123456789=D"
        return st.text(letters, min_size=least, max_size=size)
    plain = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=least, max_size=size)
    chinese = st.text(CHINESE, min_size=size // 4, max_size=size // 2)
    return plain | chinese.map(lambda text: text if row["len_type"] else text + " " * (size - 2 * len(text)))


@st.composite
def messages(draw: st.DrawFn) -> tuple[Codec, str, Fields]:
    dialect = draw(st.sampled_from((POS, NETWORK)))
    used = [de for de in range(2, dialect.bits + 1) if dialect.row(de)["kind"] != "unused"]
    chosen = draw(st.lists(st.sampled_from(used), unique=True, max_size=14))
    mti = draw(st.text("0123456789", min_size=4, max_size=4))
    # Few shapes come twice here; a codec is asked often enough to compile this one.
    return CODECS[dialect.name], mti, {de: draw(value_of(dialect, de)) for de in chosen}


def as_document(mti: str, fields: Fields) -> dict[str, str]:
    values = {str(de): v.hex().upper() if isinstance(v, bytes) else v for de, v in fields.items()}
    return {"t": mti, **values}


def their_fields(document: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in document.items() if key not in ("p", "1")}


@settings(max_examples=150, deadline=None)
@given(messages())
def test_the_same_bytes_and_the_same_values(message: tuple[Codec, str, Fields]) -> None:
    codec, mti, fields = message
    spec = codec.dialect.spec
    if codec.dialect is NETWORK and not any(de > 64 for de in fields):
        fields = {**fields, 128: "8A9E91B8"}  # it sends a second bitmap only for fields above 64, the link always
    theirs, _ = iso8583.encode(as_document(mti, fields), spec)
    document, _ = iso8583.decode(theirs, spec)
    for _ in range(10):
        body = codec.encode(mti, fields)
        decoded = codec.decode(body)
        assert body == theirs
        assert (decoded.mti, decoded.fields, decoded.pads) == (mti, fields, None)
        assert as_document(decoded.mti, decoded.fields) == their_fields(document)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MESSAGES), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
def test_what_both_accept_has_the_same_values(message: dict[str, Any], changes: list[tuple[int, int]]) -> None:
    """Damaged messages: ours is stricter, but where it accepts and pyiso8583 does too, they read the same."""
    codec = CODECS[message["link"]]
    data = bytearray(FRAMINGS[message["framing"]].unwrap(bytes.fromhex(message["hex"])).body)
    for at, byte in changes:
        data[at % len(data)] = byte
    body = bytes(data)
    try:
        ours = codec.decode(body)
    except DecodeError:
        return
    try:
        document, _ = iso8583.decode(body, codec.dialect.spec)
    except iso8583.DecodeError:
        assert ours.pads  # the one thing it refuses and we take: a pad nibble F
        return
    assert as_document(ours.mti, ours.fields) == their_fields(document)


@pytest.mark.parametrize("message", MESSAGES, ids=[message["id"] for message in MESSAGES])
def test_collected_messages(message: dict[str, Any]) -> None:
    codec = CODECS[message["link"]]
    body = FRAMINGS[message["framing"]].unwrap(bytes.fromhex(message["hex"])).body
    if "pads" in message:
        with pytest.raises(iso8583.DecodeError):
            iso8583.decode(body, codec.dialect.spec)
        return
    document, _ = iso8583.decode(body, codec.dialect.spec)
    ours = codec.decode(body)
    assert as_document(ours.mti, ours.fields) == their_fields(document) == {"t": message["mti"], **message["fields"]}


@pytest.mark.parametrize("length", [b"+5", b" 5", b"5 ", b"-0"])
def test_lengths_it_takes_and_we_do_not(length: bytes) -> None:
    body = b"0200" + bytes.fromhex("C0000000000000000000000000000000") + length + b"62121"[: abs(int(length))]
    iso8583.decode(body, NETWORK.spec)
    with pytest.raises(DecodeError, match="DE2 at offset 20: length is not decimal"):
        CODECS["network"].decode(body)


@given(messages(), st.data())
def test_a_value_too_long_is_refused_by_both(message: tuple[Codec, str, Fields], data: st.DataObject) -> None:
    codec, mti, fields = message
    if not fields:
        return
    de = data.draw(st.sampled_from(sorted(fields)))
    longer = codec.dialect.row(de)["max_len"] + 1
    fields = {**fields, de: bytes(longer) if isinstance(fields[de], bytes) else "0" * longer}
    with pytest.raises(EncodeError, match=rf"DE{de}: "):
        codec.encode(mti, fields)
    with pytest.raises(iso8583.EncodeError):
        iso8583.encode(as_document(mti, fields), codec.dialect.spec)
