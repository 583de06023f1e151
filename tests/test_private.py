"""Private fields: every published value opens and closes again, the pages' layouts, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire import private, private_62, private_network, private_pos
from switch.wire.errors import DecodeError, EncodeError, WireError

MESSAGES = {
    m["id"]: m for m in json.loads((Path(__file__).parent / "vectors" / "messages.json").read_text()) if m["exact"]
}
PAN = "6212140000000000030"
KEYS = "A0F4BAB158444777DCCEFA04F3B4652318ECC792EF3AEC72A5011D350000000000000000F1737A9E"


def field(ident: str, de: int) -> str:
    return str(MESSAGES[ident]["fields"][str(de)])


def collect(link: str, de: int) -> list[str]:
    return [m["fields"][str(de)] for m in MESSAGES.values() if m["link"] == link and str(de) in m["fields"]]


@pytest.mark.parametrize("value", collect("pos", 60))
def test_pos_60_of_every_message(value: str) -> None:
    x = private_pos.read_60(value)
    assert x.size == len(value)
    assert private_pos.write_60(x) == value


def test_pos_60_sub_fields() -> None:
    assert private_pos.read_60("22000512000600") == ("22", "000512", "000", "6", "0", "0", "")
    assert private_pos.read_60("220005120006") == ("22", "000512", "000", "6", "", "", "")
    assert private_pos.read_60("22000006000601048") == ("22", "000006", "000", "6", "0", "1", "048")
    assert private_pos.read_60("0700072700") == ("07", "000727", "00", "", "", "", "")


@pytest.mark.parametrize("size", [8, 11, 12, 13, 14, 17])
def test_pos_60_built_to_a_size(size: int) -> None:
    whole = "22000512000" + "60" + "1048"
    x = private_pos.De60("22", "000512", "000", "6", "", "1", "048")
    assert private_pos.write_60(x, size) == whole[:size]
    assert private_pos.read_60(whole[:size]).size == size


@pytest.mark.parametrize("value", ["", "2200051", "220005120006010480", "22000A12"])
def test_pos_60_refused(value: str) -> None:
    with pytest.raises(DecodeError) as caught:
        private_pos.read_60(value)
    assert caught.value.de == 60


def test_pos_60_refuses_a_hole() -> None:
    with pytest.raises(EncodeError, match="DE60: sub-field 4 follows one that was cut short"):
        private_pos.write_60(private_pos.De60("22", "000512", "00", "6"))


@pytest.mark.parametrize("value", ["000512000023", "0005120000230322", "00000000000003220004384530", "0" * 29])
def test_pos_61(value: str) -> None:
    assert private_pos.write_61(private_pos.read_61(value)) == value


def test_pos_61_sub_fields() -> None:
    assert private_pos.read_61("0005120000230322") == ("000512", "000023", "0322", "", "")
    with pytest.raises(DecodeError, match="DE61"):
        private_pos.read_61("00051200002")


@pytest.mark.parametrize("value", collect("pos", 44))
def test_pos_44(value: str) -> None:
    x = private_pos.read_44(value)
    assert x.issuer.isdigit()
    assert private_pos.write_44(x) == value


def test_totals() -> None:
    value = field("P43", 48)
    x = private_pos.read_totals(value)
    assert x.domestic == (7, 7, 0, 0, 0)
    assert x.foreign == private_pos.Side()
    assert private_pos.write_totals(x) == value == private_pos.write_48(private_pos.read_48(value))


def test_totals_hold_999_at_most() -> None:
    with pytest.raises(EncodeError, match="debit count needs more than 3 digits"):
        private_pos.write_totals(private_pos.Totals(private_pos.Side(1, 1000)))


def test_details() -> None:
    rows = tuple(private_pos.Detail("00", f"{n:06d}", PAN, 100 * n) for n in range(1, 9))
    value = private_pos.write_details(rows)
    assert len(value) == 322
    assert private_pos.read_details(value) == rows == private_pos.read_48(value)
    assert PAN not in repr(rows)
    for count in (0, 9):
        with pytest.raises(EncodeError):
            private_pos.write_details((rows * 2)[:count])


@pytest.mark.parametrize("value", ["00", "09" + "0" * 360, "01" + "0" * 39, "02" + "0" * 40, "01" + "0" * 8 + "6" * 32])
def test_details_refused(value: str) -> None:
    with pytest.raises(DecodeError, match="DE48"):
        private_pos.read_details(value)


def test_pos_48_by_length() -> None:
    assert private_pos.read_48("0123") == private_pos.EndCount(123)
    assert private_pos.read_48("0520", "620000") == private_pos.TransferEntry("052", "0")
    assert private_pos.read_48("000000000150") == private_pos.Tip(150)
    for value, code in [("0123", ""), ("0520", "620000"), ("000000000150", "")]:
        assert private_pos.write_48(private_pos.read_48(value, code)) == value


@pytest.mark.parametrize("link", ["pos", "network"])
def test_54(link: str) -> None:
    for value in collect(link, 54):
        assert private.write_54(private.read_54(value)) == value


def test_54_signs() -> None:
    first, second = private.read_54("3001156C0000017971003002156D000004810938")
    assert first == ("30", "01", "156", 1797100, False)
    assert second.amount_minor == -4810938
    zero = "1002156D000000000000"
    assert private.write_54(private.read_54(zero)) == zero
    for bad in ("", "1002156D00000000000", "1002156X000000000000", "1002156D00000000000A"):
        with pytest.raises(DecodeError, match="DE54"):
            private.read_54(bad)


@pytest.mark.parametrize("ident", ["P01", "P02", "P03", "P06", "P55"])
def test_sign_in_keys_of_messages(ident: str) -> None:
    value = bytes.fromhex(field(ident, 62))
    layout = private_62.KEY_LAYOUTS["3des"]
    pik, mak = private_62.read_keys(value, layout)
    assert (pik.name, len(pik.wrapped), len(pik.kcv)) == ("pik", 16, 4)
    assert (mak.name, len(mak.wrapped), len(mak.kcv)) == ("mak", 8, 4)
    assert private_62.write_keys((pik, mak), layout) == value
    assert pik.wrapped.hex().upper() not in repr(pik)


def test_sign_in_key_layouts() -> None:
    sizes = {name: private_62.layout_size(layout) for name, layout in private_62.KEY_LAYOUTS.items()}
    assert sizes == {"des": 24, "3des": 40, "3des-mak16": 40, "3des-tdk": 60, "sm4": 60}
    p38 = bytes.fromhex(field("P38", 62))
    keys = private_62.read_keys(p38, private_62.KEY_LAYOUTS["3des-mak16"])
    assert [len(key.wrapped) for key in keys] == [16, 16]
    with pytest.raises(DecodeError, match="fill after key mak is not zeros"):
        private_62.read_keys(p38, private_62.KEY_LAYOUTS["3des"])
    p13 = bytes.fromhex(field("P13", 62))
    own = tuple((name, 16, 0, 3) for name in ("pik", "mak", "tdk"))
    assert private_62.write_keys(private_62.read_keys(p13, own), own) == p13


def test_sign_in_keys_refused() -> None:
    layout = private_62.KEY_LAYOUTS["3des"]
    with pytest.raises(DecodeError, match="39 bytes of keys, the layout has 40"):
        private_62.read_keys(bytes.fromhex(KEYS)[:-1], layout)
    keys = private_62.read_keys(bytes.fromhex(KEYS), layout)
    with pytest.raises(EncodeError, match="keys are not those of the layout"):
        private_62.write_keys(keys[::-1], layout)
    with pytest.raises(EncodeError, match="wrong size"):
        private_62.write_keys((keys[0]._replace(kcv=b""), keys[1]), layout)


@pytest.mark.parametrize(("ident", "serial"), [("P29", "3150SXX-4C304119"), ("P31", "3137B5NL00002268")])
def test_sequence_no(ident: str, serial: str) -> None:
    value = bytes.fromhex(field(ident, 62))
    assert private_62.read_sequence_no(value) == serial
    assert private_62.write_sequence_no(serial) == value


def test_key_download_request() -> None:
    value = bytes.fromhex(field("P50", 62))
    x = private_62.read_listing(value)
    assert private_62.write_listing(x) == value
    assert x == ("", (("9F06", bytes.fromhex("A000000790")), ("9F22", b"\x20")))
    assert private_62.read_listing(b"1" + value).status == "1"
    assert private_62.read_listing(b"0") == ("0", ())
    with pytest.raises(DecodeError, match="DE62 at offset 3: no length"):
        private_62.read_listing(b"1\x9f\x06")


def test_63() -> None:
    for ident in ("P08", "P29", "P32", "P34", "P40", "P41", "P43"):
        value = bytes.fromhex(field(ident, 63))
        assert private_pos.write_63(private_pos.read_63(value)) == value
    x = private_pos.De63("CUP", "余额不足".ljust(16), "", "请联系收单行")
    value = private_pos.write_63(x)
    assert len(value) == 3 + 20 + 20 + 12
    back = private_pos.read_63(value)
    assert back.issuer.rstrip() == "余额不足"
    assert private_pos.write_63(back) == value
    with pytest.raises(DecodeError, match="DE63 at offset 3: text is not GBK"):
        private_pos.read_63(b"CUP\xff\xff")
    with pytest.raises(DecodeError, match="DE63"):
        private_pos.read_63(b"C" * 164)


@pytest.mark.parametrize("ident", ["P14", "N04", "N07", "N13"])
def test_sm_pin(ident: str) -> None:
    value = bytes.fromhex(field(ident, 63))
    block = private.read_sm_pin(value)
    assert len(block) == 16
    assert private.write_sm_pin(block) == value
    assert private_network.write_63(private_network.read_63(value)) == value
    assert block.hex() not in repr(private_network.read_63(value)).lower()


@pytest.mark.parametrize("ident", ["P10", "P13", "P14"])
def test_device_info(ident: str) -> None:
    value = field(ident, 46)
    info = private.read_device_info(46, value)
    assert info.get("04") == "02"
    assert info.get("08") == "V0.0.3.0"
    assert private.write_device_info(46, info) == value
    assert private_network.write_104(private_network.read_104(value)) == value


def test_device_info_of_57() -> None:
    info = private.DeviceInfo((("04", "02"), ("05", "000024021"), ("06", "000030"), ("07", "D3903F39"), ("08", "V1")))
    value = private_pos.write_security(59, info)
    assert value.startswith(b"A2052" + b"0400202" + b"05009")
    assert private_pos.read_security(59, value) == info
    assert "000030" not in repr(info)


@pytest.mark.parametrize(
    "value", ["PI003040", "PI00604ZZ02", "XX00204", "PI0060405020", "A2007040030", "PI", "PI0060a0202"]
)
def test_device_info_refused(value: str) -> None:
    with pytest.raises(DecodeError, match="DE46"):
        private.read_device_info(46, value)


@pytest.mark.parametrize("value", collect("network", 60))
def test_network_60_of_every_message(value: str) -> None:
    assert private_network.write_60(private_network.read_60(value)) == value


def test_network_60_sub_fields() -> None:
    x = private_network.read_60(field("N10", 60))
    assert (x.reason, x.read_capability, x.terminal_type, x.no_pin) == ("0000", "6", "03", "0")
    assert private_network.read_60("000006000300000000400").reserved_3 == "400"
    x = private_network.De60("4351", read_capability="6", terminal_type="03", initiation="1")
    assert private_network.write_60(x, 23) == "43510600030000000000001"[:23]
    assert private_network.write_60(x, 15) == "435106000300000"


@pytest.mark.parametrize(
    ("de", "read", "write"),
    [
        (61, private_network.read_61, private_network.write_61),
        (121, private_network.read_121, private_network.write_121),
        (122, private_network.read_122, private_network.write_122),
        (123, private_network.read_123, private_network.write_123),
    ],
)
def test_network_texts_of_every_message(de: int, read: Callable[[str], Any], write: Callable[[Any], str]) -> None:
    found = collect("network", de)
    assert found
    for value in found:
        assert write(read(value)) == value


def test_network_61_and_121_sub_fields() -> None:
    x = private_network.read_61(field("N08", 61))
    assert x.centre_flag == "CUP"
    assert x.security.lstrip("CUP").startswith("AM")
    assert "测试" not in repr(x)
    y = private_network.read_121(field("N10", 121))
    assert (y.reason, y.conversion, y.nature, len(y.reserved)) == ("5", "1", "4", 40)
    z = private_network.De121("5", "1", "1", "0" * 40, "ID" + "04384530" + "03050001")
    assert private_network.read_121(private_network.write_121(z)).institutions == ("04384530", "03050001")
    assert private_network.De121("5", "1", "1", "0" * 40, "FD" + "1" * 36).fee == "1" * 36


def test_90() -> None:
    x = private_network.OriginalData("0200", "001085", "0713035021", "04384530", "04384530")
    value = private_network.write_90(x)
    assert value == "020000108507130350210000438453000004384530"
    assert private_network.read_90(value).acquirer == "00004384530"
    assert private_network.write_90(private_network.read_90(value)) == value
    for bad in (value[:-1], value + "0", "X" + value[1:]):
        with pytest.raises(DecodeError, match="DE90"):
            private_network.read_90(bad)


def test_network_48() -> None:
    assert private_network.write_original_amount(10000) == b"ASOA012000000010000"
    assert private_network.read_original_amount(b"ASOA012000000010000") == 10000
    usages = private_network.read_48_usages(b"ASON003abcOA012000000010000")
    assert usages[0] == ("ON", b"abc")
    assert private_network.write_48_usages(usages) == b"ASON003abcOA012000000010000"
    for bad in (b"AS", b"ASON", b"ASON00Xabc", b"ASON004abc", b"OA012000000010000", b"AS\xff\xff003abc"):
        with pytest.raises(DecodeError, match="DE48"):
            private_network.read_48_usages(bad)
    key = bytes(range(16))
    assert private_network.read_new_key(private_network.write_new_key(key)) == key
    with pytest.raises(DecodeError, match="DE48"):
        private_network.read_new_key(b"NK" + key[:8])


def test_network_57_28_53() -> None:
    assert private_network.read_57_usages("ASAR003123") == (("AR", b"123"),)
    assert private_network.write_57_usages([private.Usage("AR", b"123")]) == "ASAR003123"
    text = private_network.write_57_texts(private_network.Texts("余额不足", "OK"))
    assert private_network.read_57_texts(text) == ("余额不足", "OK")
    assert len(text.encode("gbk")) == 42
    assert private_network.write_28(private_network.read_28("C00000100")) == "C00000100"
    control = private_network.read_53_reset("2600000000000000")
    assert control == ("2", "6")
    assert private_network.write_53_reset(control) == "2600000000000000"
    for bad in ("3600000000000000", "26", "2600000000000001"):
        with pytest.raises(DecodeError, match="DE53"):
            private_network.read_53_reset(bad)


def test_62_usages() -> None:
    detail = private_62.ChipDetail("00", "00", 12345, "156")
    assert private_62.write_chip_detail(detail) == b"610000000000012345156"
    assert private_62.read_chip_detail(b"610000000000012345156") == detail
    notice = private_62.ChipNotice("01", "05", 1, "156", "2", "2")
    assert len(private_62.write_chip_notice(notice)) == 23
    assert private_62.read_chip_notice(private_62.write_chip_notice(notice)) == notice
    assert private_62.read_list_query(b"112") == 12
    assert private_62.write_list_query(0) == b"100"
    assert private_62.read_transfer_pan(private_62.write_transfer_pan(PAN)) == PAN
    identity = private_62.Identity("01", "110101190000000012")
    assert private_62.read_identity(private_62.write_identity(identity)) == identity
    assert identity.number not in repr(identity)
    plan = private_62.Instalment(12, "GOODS1", "0", "X")
    assert private_62.read_instalment(private_62.write_instalment(plan)) == plan
    points = private_62.Points("GOODS1", "Y")
    assert private_62.read_points(private_62.write_points(points)) == points
    assert private_62.read_original_terminal(private_62.write_original_terminal("T1")) == "T1"
    block = bytes(range(16))
    assert private_62.read_sm_pin_62(private_62.write_sm_pin_62(block)) == block
    purse = private_pos.Purse("RQ", b"\x01")
    assert private_pos.read_58(private_pos.write_58(purse)) == purse


def test_62_parameters() -> None:
    items = (("01", "1"), ("12", "60"), ("14", "01088880000   "), ("22", "测试商户" + " " * 32), ("26", "FFEE0000"))
    value = private_62.write_parameters(items)
    assert private_62.read_parameters(value) == items
    for bad in (b"99", b"12", b"121", b"0"):
        with pytest.raises(DecodeError, match="DE62"):
            private_62.read_parameters(bad)


@pytest.mark.parametrize(
    "call",
    [
        lambda: private_62.read_transfer_pan(PAN.encode() + b"X"),
        lambda: private_62.write_transfer_pan(PAN + PAN),
        lambda: private_62.read_identity(PAN.encode()),
        lambda: private_pos.read_details("01" + "0" * 8 + PAN + "X" * 13),
        lambda: private_pos.write_details([private_pos.Detail("00", "1", PAN + "00", 1)]),
        lambda: private_62.read_instalment(PAN.encode()),
        lambda: private_network.read_121(PAN * 10),
    ],
)
def test_errors_hold_no_card(call: Callable[[], Any]) -> None:
    with pytest.raises(WireError) as caught:
        call()
    assert PAN not in str(caught.value) + repr(caught.value) + repr(vars(caught.value))


DIGITS = st.text("0123456789", max_size=70)
READERS_TEXT: list[tuple[Callable[[str], Any], Callable[[Any], str]]] = [
    (private_pos.read_44, private_pos.write_44),
    (private_pos.read_48, private_pos.write_48),
    (private_pos.read_60, private_pos.write_60),
    (private_pos.read_61, private_pos.write_61),
    (private.read_54, private.write_54),
    (private_network.read_28, private_network.write_28),
    (private_network.read_60, private_network.write_60),
    (private_network.read_61, private_network.write_61),
    (private_network.read_90, private_network.write_90),
    (private_network.read_121, private_network.write_121),
    (private_network.read_122, private_network.write_122),
    (private_network.read_123, private_network.write_123),
    (private_network.read_57_texts, private_network.write_57_texts),
    (private_network.read_57_usages, private_network.write_57_usages),
    (private_network.read_104, private_network.write_104),
    (private_network.read_53_reset, private_network.write_53_reset),
]
READERS_BYTES: list[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = [
    (private_pos.read_58, private_pos.write_58),
    (private_pos.read_63, private_pos.write_63),
    (lambda v: private_pos.read_security(57, v), lambda x: private_pos.write_security(57, x)),
    (lambda v: private_62.read_keys(v, private_62.KEY_LAYOUTS["3des"]),
     lambda x: private_62.write_keys(x, private_62.KEY_LAYOUTS["3des"])),
    (private_62.read_sequence_no, private_62.write_sequence_no),
    (private_62.read_parameters, private_62.write_parameters),
    (private_62.read_list_query, private_62.write_list_query),
    (private_62.read_chip_detail, private_62.write_chip_detail),
    (private_62.read_chip_notice, private_62.write_chip_notice),
    (private_62.read_transfer_pan, private_62.write_transfer_pan),
    (private_62.read_identity, private_62.write_identity),
    (private_62.read_instalment, private_62.write_instalment),
    (private_62.read_points, private_62.write_points),
    (private_62.read_original_terminal, private_62.write_original_terminal),
    (private_network.read_48_usages, private_network.write_48_usages),
    (private_network.read_new_key, private_network.write_new_key),
    (private_network.read_63, private_network.write_63),
]  # fmt: skip
PREFIXES = ("", "PI", "A2", "AB", "ASAR003", "CUP", "Sequence No10", "61", "71", "NK", "RQ", "1", "C", "22000512", "01")


@pytest.mark.parametrize("pair", READERS_TEXT)
@given(st.sampled_from(PREFIXES), st.one_of(DIGITS, st.text(max_size=60)))
def test_text_readers_round_trip_or_refuse(
    pair: tuple[Callable[[str], Any], Callable[[Any], str]], prefix: str, tail: str
) -> None:
    read, write = pair
    try:
        x = read(prefix + tail)
    except DecodeError:
        return
    assert write(x) == prefix + tail


@pytest.mark.parametrize("pair", READERS_BYTES)
@given(st.sampled_from(PREFIXES), st.one_of(DIGITS.map(str.encode), st.binary(max_size=60)))
def test_byte_readers_round_trip_or_refuse(
    pair: tuple[Callable[[bytes], Any], Callable[[Any], bytes]], prefix: str, tail: bytes
) -> None:
    read, write = pair
    try:
        x = read(prefix.encode() + tail)
    except DecodeError:
        return
    assert write(x) == prefix.encode() + tail
