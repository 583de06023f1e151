"""Bit tables: TVR, TSI and CVM results as EMV Book 3 and 4 define them; the words of the wire the kernel speaks."""

import asyncio
from typing import Any

import pytest
from kernel_cards import holder, kernel, request
from terminals_host import new_line

from switch.wire import apdu, bits, dol
from switch.wire.errors import ApduError, TlvError
from terminals.drive import aio, blocking, instant
from terminals.flow import Apdu, CardRemoved, Flow
from terminals.kernel import cvm, icc, risk, scripts
from terminals.kernel.parameters import Aid
from terminals.kernel.session import CONTACT, Session

OK = b"\x90\x00"


def session(minor: int = 5000, terminal: dict[str, Any] | None = None, **changes: Any) -> Session:
    made = Session(kernel(**terminal or {}), request(minor, **changes), CONTACT)
    made.aid = Aid(bytes.fromhex("A000000333010101"), floor_minor=10000)
    made.pan, made.aip = "6228000000000019", 0x7C00
    made.values |= {"9F42": bytes.fromhex("0156")}
    return made


CVM = [
    # list, PIN given, VERIFY's answer, terminal, 9F34, TVR byte 3, method
    ("4203 1E03 1F00", "123456", None, "E0F9C8", "420300", "04", "online_pin"),
    ("4203 1E03 1F00", "", None, "E0F9C8", "1E0300", "08", "signature"),
    ("4203 1E03 1F00", None, None, "E0F9C8", "1E0300", "10", "signature"),
    ("0203 1F00", "", None, "E0F9C8", "020301", "88", "none"),
    ("4203 1E03 1F00", "123456", None, "E028C8", "1E0300", "00", "signature"),
    ("0200", "123456", None, "E028C8", "3F0001", "90", "none"),
    ("1F00", "", None, "E0F9C8", "1F0002", "00", "none"),
    ("0000", "", None, "E0F9C8", "000001", "80", "none"),
    ("4100 1E00", "1234", "9000", "E0F9C8", "410002", "00", "offline_pin"),
    ("0300", "1234", "9000", "E0F9C8", "030000", "00", "offline_pin"),
    ("4100 1E00", "1234", "6983", "E0F9C8", "1E0000", "20", "signature"),
    ("4100 1E00", "1234", "63C0", "E0F9C8", "1E0000", "20", "signature"),
    ("0100", "1234", "6984", "E0F9C8", "010001", "A0", "none"),
    ("0100", "", "9000", "E0F9C8", "010001", "88", "none"),
    ("2000", "", None, "E0F9C8", "200002", "00", "none"),
    ("2A00", "", None, "E0F9C8", "3F0001", "C0", "none"),
    ("6A00 1F00", "", None, "E0F9C8", "1F0002", "40", "none"),
    ("1E01", "", None, "E0F9C8", "3F0001", "80", "none"),
    ("1E05 1F02", "", None, "E0F9C8", "1F0202", "00", "none"),
    ("1E06 1F07", "", None, "E0F9C8", "1F0702", "00", "none"),
    ("1E08 1F09", "", None, "E0F9C8", "1E0800", "00", "signature"),
    ("1E77 1F00", "", None, "E0F9C8", "1F0002", "00", "none"),
]


@pytest.mark.parametrize(("listed", "pin", "verify", "capabilities", "results", "byte3", "method"), CVM)
def test_cardholder_verification(
    listed: str, pin: str | None, verify: str | None, capabilities: str, results: str, byte3: str, method: str
) -> None:
    made = session(terminal={"capabilities": capabilities})
    made.values["8E"] = bytes.fromhex("000003E8" + "00002710" + listed)  # X 10.00, Y 100.00; the amount is 50.00

    def card(command: bytes) -> bytes:
        return bytes.fromhex(verify or "6D00") if command[1] == 0x20 else b"\x9f\x17\x01\x03" + OK

    instant.run(cvm.verify(made), lambda body: None, holder(pin=pin, offline_pin=pin), card)
    assert f"{made.cvm_results:06X} {made.tvr:010X}" == f"{results} 0000{byte3}0000"
    assert (made.cvm, made.tsi) == (method, bits.TSI_CVM)


def test_cards_without_verification() -> None:
    made = session()
    made.aip = 0x6C00
    instant.run(cvm.verify(made), lambda body: None, holder(), lambda command: OK)
    assert (made.cvm_results, made.tvr, made.tsi) == (0x3F0000, 0, 0)
    made = session()
    instant.run(cvm.verify(made), lambda body: None, holder(), lambda command: OK)
    assert (made.cvm_results, made.tvr, made.tsi) == (0x3F0000, bits.TVR_ICC_DATA_MISSING, 0)


RESTRICTIONS = [
    ({"9F08": "0030"}, {}, {}, 0),
    ({"9F08": "0001"}, {}, {}, bits.TVR_APP_VERSION),
    ({"5F24": "261121"}, {}, {}, bits.TVR_EXPIRED),
    ({"5F24": "261122", "5F25": "261122"}, {}, {}, 0),
    ({"5F25": "261123"}, {}, {}, bits.TVR_NOT_YET_EFFECTIVE),
    ({"9F07": "FF00", "5F28": "0156"}, {}, {}, 0),
    ({"9F07": "FE00", "5F28": "0156"}, {}, {}, bits.TVR_SERVICE_NOT_ALLOWED),
    ({"9F07": "FD00"}, {"terminal_type": 14}, {"type_9c": 1}, bits.TVR_SERVICE_NOT_ALLOWED),
    ({"9F07": "7F00", "5F28": "0156"}, {}, {"type_9c": 1}, bits.TVR_SERVICE_NOT_ALLOWED),
    ({"9F07": "7F00", "5F28": "0360"}, {}, {"type_9c": 1}, 0),
    ({"9F07": "D700", "5F28": "0156"}, {}, {}, bits.TVR_SERVICE_NOT_ALLOWED),
    ({"9F07": "FF00", "5F28": "0156"}, {}, {"type_9c": 9}, bits.TVR_SERVICE_NOT_ALLOWED),
    ({"9F07": "FF80", "5F28": "0156"}, {}, {"type_9c": 9}, 0),
]


@pytest.mark.parametrize(("card", "terminal", "changes", "tvr"), RESTRICTIONS)
def test_processing_restrictions(
    card: dict[str, str], terminal: dict[str, Any], changes: dict[str, Any], tvr: int
) -> None:
    made = session(terminal=terminal, **changes)
    made.values |= {tag: bytes.fromhex(value) for tag, value in card.items()}
    risk.restrict(made)
    assert made.tvr == tvr


@pytest.mark.parametrize(
    ("minor", "spent", "atc", "last", "tvr"),
    [
        (9999, 0, 6, 4, 0),
        (10000, 0, 6, 4, bits.TVR_FLOOR_LIMIT),
        (5000, 5000, 6, 4, bits.TVR_FLOOR_LIMIT),
        (1, 0, 9, 4, bits.TVR_LOWER_LIMIT),
        (1, 0, 12, 4, bits.TVR_LOWER_LIMIT | bits.TVR_UPPER_LIMIT),
        (1, 0, 1, 0, bits.TVR_NEW_CARD),
        (1, 0, 4, 4, bits.TVR_LOWER_LIMIT | bits.TVR_UPPER_LIMIT),
    ],
)
def test_terminal_risk_management(minor: int, spent: int, atc: int, last: int, tvr: int) -> None:
    made = session(minor, terminal={"spent": lambda pan: spent})
    made.values |= {"9F14": b"\x03", "9F23": b"\x07"}

    def card(command: bytes) -> bytes:
        value = atc if command[2:4] == b"\x9f\x36" else last
        return command[2:4] + b"\x02" + value.to_bytes(2, "big") + OK

    instant.run(risk.manage(made), lambda body: None, holder(), card)
    assert (made.tvr, made.tsi) == (tvr, bits.TSI_TERMINAL_RISK)


def test_random_selection_is_biased_towards_large_amounts() -> None:
    for minor, drawn, chosen in ((100, 9, True), (100, 10, False), (6000, 49, True), (6000, 60, False)):
        made = session(minor, terminal={"entropy": lambda size, drawn=drawn: drawn.to_bytes(size, "big")})
        made.aid = Aid(b"\xa0\x00\x00\x03\x33", floor_minor=10000, threshold_minor=2000, target=10, target_max=90)
        instant.run(risk.manage(made), lambda body: None, holder(), lambda command: OK)
        assert bool(made.tvr & bits.TVR_RANDOM) is chosen, (minor, drawn)


SCRIPTS = [
    ("8609841E000004AABBCCDD", ["9000"], "2000000000"),
    ("9F1804112233448609841E000004AABBCCDD86098418000004AABBCCDD", ["9000", "6985"], "1211223344"),
    ("8609841E000004AABBCCDD86098418000004AABBCCDD", ["6300", "9000"], "2000000000"),
    ("8603841E00", [], "0000000000"),
    ("860A841E000004AABBCCDD", [], "0000000000"),
    ("", [], "0000000000"),
]


@pytest.mark.parametrize(("script", "answers", "result"), SCRIPTS)
def test_script_results(script: str, answers: list[str], result: str) -> None:
    left = [bytes.fromhex(answer) for answer in answers]
    ran = instant.run(scripts.run(bytes.fromhex(script)), lambda body: None, holder(), lambda command: left.pop(0))
    assert ran.result.hex() == result
    assert not left


def test_icc_data_fit_and_keep_their_order() -> None:
    values = {"9F10": bytes(200), "9F26": bytes(8), "95": bytes(5), "9F1E": bytes(60), "9F63": b""}
    assert icc.REVERSAL.tags == ("95", "9F1E", "9F10", "9F36", "DF31")
    built = icc.build(icc.ONLINE, values)
    assert len(built) <= 255
    assert built.startswith(bytes.fromhex("9F2608"))
    assert icc.FromIssuer(b"\x91\x80").fault
    assert icc.FromIssuer(bytes.fromhex("8A023030")).arc == b"00"


def test_commands_come_out_as_they_went_in() -> None:
    for command in (
        apdu.select(apdu.PSE),
        apdu.gpo(),
        apdu.gpo(bytes(33)),
        apdu.read_record(2, 1),
        apdu.verify(bytes(8)),
    ):
        assert apdu.Command.parse(command).bytes() == command
    assert apdu.gpo(bytes(33)).hex().upper().startswith("80A80000238321")
    assert apdu.read_record(2, 1).hex().upper() == "00B2011400"
    for broken in ("00A404", "00A4040005A0", "00A4040000000000"):
        with pytest.raises(ApduError):
            apdu.Command.parse(bytes.fromhex(broken))
    with pytest.raises(ApduError):
        apdu.split(b"\x90")
    assert apdu.status_name(0x63C2)[1].endswith("2 tries left")


def test_lists_adapt_lengths_by_format() -> None:
    listed = bytes.fromhex("9F02065F2A029F3704DF0103")
    values = {"9F02": bytes.fromhex("1234"), "5F2A": bytes.fromhex("000156"), "9F37": bytes.fromhex("AABB")}
    assert dol.build(listed, values).hex().upper() == "000000001234" + "0156" + "AABB0000" + "000000"
    assert dol.build(bytes.fromhex("5A0A"), {"5A": bytes.fromhex("6228")}).hex() == "6228" + "ff" * 8
    assert dol.split(listed, bytes(15))["5F2A"] == bytes(2)
    for broken in ("9F", "9F02", "0001", "9FFFFF0101", "9F0281"):
        with pytest.raises(TlvError):
            dol.parse(bytes.fromhex(broken))
    with pytest.raises(TlvError):
        dol.split(listed, bytes(14))


def test_bits_are_named() -> None:
    assert [bit.en for bit in bits.bits("TVR", bits.TVR_EXPIRED | bits.TVR_SCRIPT_AFTER)] == [
        "expired application",
        "script processing failed after final GENERATE AC",
    ]
    cvr = [bit.en for bit in bits.bits("CVR", bytes.fromhex("03A0A802"))]
    assert cvr[:2] == ["second GENERATE AC not requested", "ARQC returned in first GENERATE AC"]
    assert cvr[-1] == "DDA performed"
    assert bits.bits("TTQ", bytes.fromhex("36800000"))[-1].zh == "要求联机密文"
    assert bits.bits("TSI", 1)[0].en == "reserved"


def test_every_driver_reads_the_card_or_has_none() -> None:
    def flow() -> Flow[str]:
        try:
            response = yield Apdu(b"\x00\x84\x00\x00\x00")
        except CardRemoved:
            return "no card"
        return bytes(response).hex()

    def reader(command: bytes) -> bytes:
        return command[:2] + OK

    line = new_line()
    for card, expected in ((reader, "00849000"), (None, "no card")):
        given = {} if card is None else {"reader": card}
        assert instant.run(flow(), lambda body: None, holder(), **given) == expected
        assert blocking.Session(line, "127.0.0.1", 1).run(flow(), holder(), **given) == expected
        assert asyncio.run(aio.Session(line, "127.0.0.1", 1).run(flow(), holder(), **given)) == expected
