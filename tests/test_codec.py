"""The codec: every collected message, every rule of the dialects by its error text, nothing secret in an error."""

import json
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from switch.wire import careful
from switch.wire.codec import Codec, codec_of
from switch.wire.dialects import DIALECTS, NETWORK, POS
from switch.wire.errors import DecodeError, EncodeError, FrameError, TlvError, WireError
from switch.wire.framing import FRAMINGS, NetworkHeader
from switch.wire.message import Message
from switch.wire.outline import Outline

MESSAGES = json.loads((Path(__file__).parent / "vectors" / "messages.json").read_text())
EXACT = [message for message in MESSAGES if message["exact"]]
BINARY = {"pos": {52, 55, 57, 58, 59, 62, 63, 64}, "network": {48, 52, 55, 63, 96}}
PAN = "6212140000000000030"


def body_of(message: dict[str, Any]) -> bytes:
    return FRAMINGS[message["framing"]].unwrap(bytes.fromhex(message["hex"])).body


def fields_of(message: dict[str, Any]) -> dict[int, Any]:
    binary = BINARY[message["link"]]
    return {int(de): bytes.fromhex(v) if int(de) in binary else v for de, v in message["fields"].items()}


@pytest.mark.parametrize("message", EXACT, ids=[message["id"] for message in EXACT])
def test_collected_messages_come_out_the_same(message: dict[str, Any]) -> None:
    codec = Codec(DIALECTS[message["link"]])
    body, fields = body_of(message), fields_of(message)
    pads = {int(de): pad for de, pad in message.get("pads", {}).items()}
    wanted = (2, 3, 35, 41, 60, 128)
    for _ in range(12):  # the careful way first, then the compiled one
        decoded = codec.decode(body)
        assert (decoded.mti, decoded.fields, decoded.pads or {}) == (message["mti"], fields, pads)
        assert list(decoded.fields) == sorted(fields)
        assert decoded.raw == body
        assert codec.encode(decoded.mti, decoded.fields, decoded.pads) == body
        assert codec.peek(body, wanted) == {0: decoded.mti, **{de: fields[de] for de in wanted if de in fields}}
    # No help from the careful way any more: a compiled function that only fails would go unseen.
    assert codec._decode[body[: codec.plan.start]](body) == decoded
    if not pads:
        assert codec._encode[tuple(fields)](decoded.mti, fields) == body


@pytest.mark.parametrize(
    ("name", "framing", "fault"),
    [
        ("P23", "body", "DE64 at offset 320: 8 bytes expected, 0 left"),
        ("P24", "body", "DE64 at offset 254: 8 bytes expected, 0 left"),
        ("P25", "body", "DE64 at offset 258: 8 bytes expected, 0 left"),
        ("P28", "len2+tpdu+hdr6", "length prefix at offset 0: says 170 bytes, 142 follow"),
        ("P45", "body", "DE64 at offset 97: 8 bytes expected, 0 left"),
        ("P47", "len2+tpdu+hdr6", "end at offset 10: 282 bytes after the last field"),
        ("P52", "body", "DE64 at offset 91: 8 bytes expected, 0 left"),
        ("P54", "len2+tpdu+hdr6", "DE62 at offset 72: 80 bytes expected, 40 left"),
        ("N01", "hdr46", "MTI at offset 0: 0 bytes left, expected 4"),
    ],
)
def test_cut_and_private_messages_fail_at_a_named_place(name: str, framing: str, fault: str) -> None:
    message = next(message for message in MESSAGES if message["id"] == name)
    codec = codec_of(DIALECTS[message["link"]])
    with pytest.raises(WireError) as caught:
        codec.decode(FRAMINGS[framing].unwrap(bytes.fromhex(message["hex"])).body)
    assert str(caught.value) == fault


def test_a_header_alone_says_that_its_length_is_wrong() -> None:
    header = bytes.fromhex(next(message["hex"] for message in MESSAGES if message["id"] == "N01"))
    with pytest.raises(FrameError, match="header total length at offset 2: says 407 bytes, the payload has 46"):
        NetworkHeader.parse(header, len(header))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", "MTI at offset 0: 0 bytes left, expected 2"),
        ("02A0", "MTI at offset 0: not four digits"),
        ("0200 70200480", "bitmap at offset 2: 4 bytes left, expected 8"),
        ("0200 8000000000000000 00", "bitmap at offset 2: announces a second bitmap, this link has none"),
        ("0200 0000000000000000 00", "end at offset 10: 1 bytes after the last field"),
        ("0200 0800000000000000 00", "DE5 at offset 10: not used on this link"),
        ("0200 4000000000000000", "DE2 at offset 10: length prefix of 1 bytes expected, 0 left"),
        ("0200 4000000000000000 1A", "DE2 at offset 10: length is not decimal"),
        ("0200 4000000000000000 20", "DE2 at offset 10: length 20 exceeds 19"),
        ("0200 4000000000000000 16 6212", "DE2 at offset 11: 8 bytes expected, 2 left"),
        ("0200 4000000000000000 04 62B2", "DE2 at offset 11: not all digits"),
        ("0200 4000000000000000 03 6215", "DE2 at offset 12: unknown pad nibble"),
        ("0200 2000000000000000 00000C", "DE3 at offset 10: not all digits"),
        ("0200 0000040000000000 0211", "DE22 at offset 11: unknown pad nibble"),
        ("0200 0000020000000000 1001", "DE23 at offset 10: unknown pad nibble"),
        ("0200 0000000020000000 38", "DE35 at offset 10: length 38 exceeds 37"),
        ("0200 0000000000800000 FF" + "30" * 7, "DE41 at offset 10: text is neither ASCII nor GBK"),
        ("0200 0000000000000010 0018", "DE60 at offset 10: length 18 exceeds 17"),
        ("0200 0000000000000010 00FF", "DE60 at offset 10: length is not decimal"),
    ],
)
def test_pos_rules(body: str, fault: str) -> None:
    with pytest.raises(DecodeError) as caught:
        codec_of(POS).decode(bytes.fromhex(body))
    assert str(caught.value) == fault


def network(fields: dict[int, bytes], head: bytes = b"0200") -> bytes:
    bits = sum(1 << (128 - de) for de in (1, *fields))
    return head + bits.to_bytes(16, "big") + b"".join(fields.values())


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"02 0", "MTI at offset 0: not four digits"),
        (b"02\xb20" + bytes(16), "MTI at offset 0: not four digits"),
        (b"0200" + b"\x80" + bytes(14), "bitmap at offset 4: 15 bytes left, expected 16"),
        (b"0200" + bytes(16), "bitmap at offset 4: the second bitmap is always sent"),
        (network({65: b""}), "DE65 at offset 20: not used on this link"),
        (network({2: b"+9123456789"}), "DE2 at offset 20: length is not decimal"),
        (network({2: b" 9123456789"}), "DE2 at offset 20: length is not decimal"),
        (network({2: b"\xb29123456789"}), "DE2 at offset 20: length is not decimal"),
        (network({2: b"20" + b"0" * 20}), "DE2 at offset 20: length 20 exceeds 19"),
        (network({3: b"00000\xb2"}), "DE3 at offset 20: not all digits"),
        (network({3: b"0_0_00"}), "DE3 at offset 20: not all digits"),
        (network({28: b"X00000000"}), "DE28 at offset 20: neither C nor D"),
        (network({28: b"C0000000 "}), "DE28 at offset 21: not all digits"),
        (network({35: b"056212d"}), "DE35 at offset 22: not a track"),
        (network({39: b"0"}), "DE39 at offset 20: 2 bytes expected, 1 left"),
        (network({39: b"00", 43: b"\x81\x20" + b" " * 38}), "DE43 at offset 22: text is neither ASCII nor GBK"),
        (network({39: b"000"}), "end at offset 22: 1 bytes after the last field"),
    ],
)
def test_network_rules(body: bytes, fault: str) -> None:
    with pytest.raises(DecodeError) as caught:
        codec_of(NETWORK).decode(body)
    assert str(caught.value) == fault


def test_pads_are_remembered() -> None:
    codec = Codec(POS)
    body = bytes.fromhex("0200 4000060020000010 03621F 021F F001 05621D2F 0011 22000001000F")
    for _ in range(10):
        message = codec.decode(body)
        assert message.fields == {2: "621", 22: "021", 23: "001", 35: "621D2", 60: "22000001000"}
        assert message.pads == {2: "F", 22: "F", 23: "F", 35: "F", 60: "F"}
        assert codec.encode("0200", message.fields, message.pads) == body
        assert codec.peek(body, (2, 22, 23, 35)) == {0: "0200", 2: "621", 22: "021", 23: "001", 35: "621D2"}
    assert codec.encode("0200", message.fields) == bytes.fromhex(body.hex().upper().replace("F", "0"))


def test_chinese_text_counts_bytes() -> None:
    for dialect in (POS, NETWORK):
        codec = Codec(dialect)
        fields = {39: "00", 43: "墨文有限公司" + " " * 28, 56: "成功"}
        for _ in range(10):
            body = codec.encode("0210", fields)
            assert codec.decode(body).fields == fields
        with pytest.raises(EncodeError, match="DE43: length 46, expected 40"):
            codec.encode("0210", {**fields, 43: "墨文有限公司" + " " * 34})
        with pytest.raises(EncodeError, match="DE56: text has characters outside GBK"):
            codec.encode("0210", {**fields, 56: "\U0001f4b3"})


def test_gbk_is_one_to_one() -> None:
    """Every sequence that decodes comes out as the same bytes: the codec need not compare."""
    for first in range(0x80, 0x100):
        for second in range(0x100):
            data = bytes((first, second))
            with suppress(ValueError):
                assert careful.narrow(careful.wide(data)).encode("latin-1") == data


@pytest.mark.parametrize("dialect", [POS, NETWORK], ids=["pos", "network"])
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({3: "00000"}, "DE3: length 5, expected 6"),
        ({3: "0000000"}, "DE3: length 7, expected 6"),
        ({3: "00000a"}, "DE3: not all digits"),
        ({3: "00 000"}, "DE3: not all digits"),
        ({3: "٠٠٠٠٠٠"}, "DE3: not all digits"),
        ({3: b"000000"}, "DE3: bytes given, str expected"),
        ({3: 0}, "DE3: int given, str expected"),
        ({2: "0" * 20}, "DE2: length 20 exceeds 19"),
        ({35: "6212 1400"}, "DE35: not a track"),
        ({41: b"00210001"}, "DE41: bytes given, str expected"),
        ({41: "0021000"}, "DE41: length 7, expected 8"),
        ({41: None}, "DE41: NoneType given, str expected"),
        ({52: bytes(7)}, "DE52: length 7, expected 8"),
        ({52: "00000000"}, "DE52: str given, bytes expected"),
        ({55: bytes(256)}, "DE55: length 256 exceeds 255"),
        ({17: "0101"}, "DE17: not used on this link"),
        ({1: "0"}, "DE1: not used on this link"),
        ({200: "0"}, "DE200: not used on this link"),
        ({"3": "000000"}, "fields: not used on this link"),
    ],
)
def test_values_that_do_not_fit(dialect: Any, change: dict[Any, Any], fault: str) -> None:
    codec = Codec(dialect)
    good = {2: PAN, 3: "000000", 35: PAN + "D2912", 41: "00210001", 52: bytes(8), 55: b"\x9f\x26"}
    for _ in range(10):
        codec.encode("0200", good)
    with pytest.raises(EncodeError) as caught:
        codec.encode("0200", {**good, **change})
    assert str(caught.value) == fault


@pytest.mark.parametrize("mti", ["", "020", "02000", "02A0", "02٠0", b"0200", None])
def test_an_mti_is_four_digits(mti: Any) -> None:
    codec = Codec(POS)
    for _ in range(10):
        codec.encode("0200", {3: "000000"})
    with pytest.raises(EncodeError, match="MTI: not four digits"):
        codec.encode(mti, {3: "000000"})


def test_fees_and_unknown_pads() -> None:
    codec = Codec(NETWORK)
    for _ in range(10):
        assert codec.decode(codec.encode("0200", {28: "D00000500"})).fields == {28: "D00000500"}
    for wrong in ("X00000500", "D0000050 ", "D0000050", ""):
        with pytest.raises(EncodeError):
            codec.encode("0200", {28: wrong})
    with pytest.raises(EncodeError, match="DE2: unknown pad nibble"):
        Codec(POS).encode("0200", {2: "621"}, {2: "5"})


def test_the_encoder_never_writes_to_its_input() -> None:
    fields = {41: "00210001", 3: "000000", 60: "22000001000"}
    pads = {60: "F"}
    for _ in range(10):
        assert Codec(POS).encode("0200", fields, pads).hex().upper().endswith("001122000001000F")
    assert (list(fields), pads) == ([41, 3, 60], {60: "F"})


def test_order_of_the_dict_does_not_matter() -> None:
    codec = Codec(POS)
    for order in ((3, 41, 60), (60, 3, 41), (41, 60, 3)):
        values = {3: "000000", 41: "00210001", 60: "22000001000"}
        bodies = {codec.encode("0200", {de: values[de] for de in order}) for _ in range(10)}
        assert bodies == {bytes.fromhex("0200 2000000000800010 000000 3030323130303031 0011 220000010000")}


def test_peek_looks_no_further_than_it_must() -> None:
    codec = Codec(POS)
    fields = {2: PAN, 3: "000000", 4: "000000000100", 41: "00210001", 60: "22000001000"}
    body = codec.encode("0200", fields)
    broken_behind = body[:-7] + b"\xff\xff"
    broken_inside = body.replace(bytes.fromhex("000000000100"), bytes.fromhex("0000000001AA"))
    for _ in range(12):
        for damaged in (body, broken_behind, broken_inside, body + b"more"):
            assert codec.peek(damaged, (2, 41)) == {0: "0200", 2: PAN, 41: "00210001"}
        assert codec.peek(body[:10], ()) == {0: "0200"}
    for damaged in (body[: body.index(b"0021") + 3], b"\x02\x00\x60" + bytes(7) + b"\x2a"):
        with pytest.raises(DecodeError):
            codec.peek(damaged, (2, 41))
    unknown_behind = bytes.fromhex("0200 2800000000000000 000000")
    for _ in range(12):
        assert codec.peek(unknown_behind, (3,)) == {0: "0200", 3: "000000"}
    with pytest.raises(DecodeError, match="DE5"):
        codec.peek(unknown_behind, (3, 5))


def test_errors_hold_nothing_secret() -> None:
    track = "6212140000000000030D29122010000012345"
    codec = Codec(POS)
    fields = {2: PAN, 3: "000000", 35: track, 36: track, 41: "00210001", 52: b"\x06\x12\x14\x56\xff\xff\xff\xfe"}
    body = codec.encode("0200", fields)
    for cut in range(len(body)):
        with pytest.raises(DecodeError) as caught:
            codec.decode(body[:cut])
        error: BaseException | None = caught.value
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.partial) == (str(error), caught.value.partial)
        while error is not None:
            shown = f"{error} {error.args!r} {vars(error)!r}"
            assert PAN[6:15] not in shown
            assert "061214" not in shown
            error = error.__context__
    assert caught.value.partial[0] == "0200"
    assert caught.value.partial[2].startswith("621214")
    message = codec.decode(body)
    assert PAN[6:15] not in repr(message)
    assert "00210001" in repr(message)
    with pytest.raises(EncodeError) as refused:
        codec.encode("0200", {**fields, 2: PAN + "00"})
    assert PAN not in repr(refused.value)
    for error in (EncodeError(3, "reason"), TlvError("9F26", 3), FrameError("header", None, "reason")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_flood_of_shapes_stays_bounded() -> None:
    codec = Codec(POS)
    used = [de for de in range(2, 65) if POS.row(de)["kind"] == "an" or de in (3, 11, 12, 13)]
    for number in range(1, 700):
        fields: dict[int, Any] = {3: "000000"} if number & 1 else {}
        fields |= {de: "0" * POS.row(de)["max_len"] for bit, de in enumerate(used) if number >> bit & 1}
        for mti in ("0200", "0210"):
            for _ in range(9):
                body = codec.encode(mti, fields)
                assert codec.decode(body).fields == fields
    assert 0 < len(codec._decode) <= 256
    assert 0 < len(codec._encode) <= 256
    for number in range(200):
        codec.peek(body, (number,))
    assert len(codec._peekers) <= 64


def test_messages_compare_and_answer() -> None:
    message = Message("0200", {3: "000000"})
    assert message == Message("0200", {3: "000000"}, b"raw", {})
    assert message != Message("0210", {3: "000000"})
    assert message != "0200"
    assert (message[3], message.get(4), message.get(4, "x"), 3 in message, 4 in message) == (
        "000000",
        None,
        "x",
        True,
        False,
    )


def test_an_acquirers_own_fields() -> None:
    dialect = POS.adapted({62: "b...040", 5: "n12", 28: "xn8", 23: "n3<"})
    codec = codec_of(dialect)
    assert codec is codec_of(dialect)
    fields = {5: "000000000100", 23: "001", 28: "C00000500", 62: bytes(40)}
    for _ in range(10):
        body = codec.encode("0200", fields)
        assert codec.decode(body).fields == fields
    assert b"\x00\x10" + b"C00000500" in body
    with pytest.raises(EncodeError, match="DE62: length 41 exceeds 40"):
        codec.encode("0200", {62: bytes(41)})
    assert POS.row(5)["kind"] == "unused"
    for de, written in ((1, "n4"), (65, "n4"), (3, "n"), (3, "z16"), (3, "n.6"), (3, "b0"), (3, "n..100"), (3, "q6")):
        with pytest.raises(WireError):
            POS.adapted({de: written})


def test_other_buffers_than_bytes() -> None:
    codec = Codec(POS)
    body = codec.encode("0200", {3: "000000", 52: bytearray(8)})
    buffer: Any = bytearray(body)
    for _ in range(10):
        assert codec.decode(buffer).fields == {3: "000000", 52: bytes(8)}
    assert codec.decode(buffer).raw == body
    assert careful.decode(codec.plan, body) == codec.decode(body)


def test_the_same_reader_and_writer_are_compiled_once() -> None:
    codec = Codec(POS)
    body = codec.encode("0200", {3: "000000", 11: "000001"})
    reader = codec.reader(body[:10], "(v3, v11)")
    assert reader(body) == ("000000", "000001")
    assert codec.reader(body[:10], "(v3, v11)") is reader
    assert codec.reader(body[:10], "v11")(body) == "000001"
    outline = Outline("0200", {3: "000000"}, {11: "stan"}, "stan")
    writer = codec.writer(outline)
    assert writer("000001") == body
    assert codec.writer(outline._replace(constants={3: "000000"})) is writer
    assert codec.writer(outline._replace(constants={3: "310000"}))("000001") == codec.encode(
        "0200", {3: "310000", 11: "000001"}
    )
    for number in range(1100):
        codec.writer(outline._replace(constants={3: f"{number:06d}"}))
    assert len(codec._writers) <= 1024
