"""The card on its contacts: directory, whole transcripts, card risk management, issuer authentication, e-cash."""

import json

import pytest
from cards import (
    VECTORS,
    arpc,
    ask,
    bcd,
    cdol1,
    cdol2,
    first,
    icc,
    online,
    opened,
    perso,
    records,
    second,
    selected,
    started,
)

from switch.wire import apdu, tlv
from terminals.card import state as st
from terminals.card.pin import block_of

TC, ARQC, AAC = apdu.AC_TC, apdu.AC_ARQC, apdu.AC_AAC
CASES = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))


def case(name: str) -> dict:
    return next(row for row in CASES if row["id"] == name)


def ec_values(minor: int, currency: str = "0156", ec: str = "01") -> bytes:
    return bytes.fromhex(ec) + bcd(minor) + bytes.fromhex(currency)


def test_a_debit_transaction_apdu_by_apdu() -> None:
    card = icc("debit")
    pan = card.image.personal.pan
    transcript = [
        ("00A404000E315041592E5359532E444446303100", "6F15840E315041592E5359532E4444463031A5038801019000"),
        ("00B2010C00", "701B61194F08A000000333010101500A50424F432044454249548701019000"),
        ("00B2020C00", "6A83"),
        (
            "00A4040008A00000033301010100",
            "6F398408A000000333010101A52D500A50424F432044454249548701015F2D027A689F1101019F120A50424F43204445424954"
            "BF0C059F4D020B0A9000",
        ),
        ("80A8000002830000", "800A7D0008010100100106019000"),
        ("80CA9F3600", "9F360200019000"),
        ("80CA9F1300", "9F130200009000"),
        ("80CA9F1700", "9F1701039000"),
        ("80CA9F4F00", "9F4F199A039F21039F02069F03069F1A025F2A029F4E149C019F36029000"),
    ]
    for command, response in transcript:
        assert card.transmit(bytes.fromhex(command)).hex().upper() == response, command
    read = records(card, bytes.fromhex("0801010010010601"))
    assert read["5A"] == bytes.fromhex(pan + "F" * (len(pan) % 2))
    assert read["57"].hex().upper().startswith(pan + "D" + card.image.personal.expiry + "220")
    assert read["9F0F"] == bytes.fromhex("D8689CF800")
    answer = card.transmit(apdu.generate_ac(ARQC, cdol1(10000)))
    assert answer[:5] == bytes.fromhex("8013800001")
    # New card; the total 9F54 (70.00) is passed by 100.00: velocity.
    assert answer[13:21].hex().upper() == "07010103A0300001"
    arqc = answer[5:13]
    assert card.transmit(apdu.external_auth(arpc(card, arqc))) == b"\x90\x00"
    answer = card.transmit(apdu.generate_ac(TC, cdol2(b"00", 10000)))
    assert answer[:3] == b"\x80\x13\x40"
    assert answer[13:21].hex().upper() == "0701010360300001"
    assert card.transmit(apdu.generate_ac(TC, cdol2(b"00", 10000))) == b"\x69\x85"
    assert (card.state.last_online, card.state.ctta, card.state.flags) == (1, 0, 0)


def test_a_published_arqc_with_every_bit_of_its_cvr() -> None:
    """A real exchange: offline PIN, last online incomplete, velocity, new card, authentication failed before."""
    inputs, expected = case("pboc-arqc-pub")["inputs"], case("pboc-arqc-pub")["expected"]
    card = perso()
    keys = {**card.image._udk.__self__.keys, ("3des", "ac"): bytes.fromhex(inputs["udk_ac"])}
    object.__setattr__(card.image._udk.__self__, "keys", keys)
    object.__setattr__(card.image.applications[0].spec, "dki", 2)
    try:
        card.state.atc, card.state.balance = 0x0D, 0
        card.state.flags = st.ONLINE_INCOMPLETE | st.AUTH_FAILED | st.SDA_FAILED | st.DDA_FAILED
        started(card)
        ask(card, apdu.verify(block_of("1234")))
        answer = card.transmit(bytes.fromhex(inputs["gac_cmd"]))
        wanted = bytes.fromhex(inputs["gac_resp"])
        assert answer[:-6] == wanted[:-4]  # but the MAC of the issuer data, whose key is not published
        assert answer[5:13].hex().upper() == expected["arqc"]
        assert ask(card, apdu.external_auth(bytes.fromhex(expected["arpc"] + inputs["arc"]))) == b""
    finally:
        object.__setattr__(card.image.applications[0].spec, "dki", 1)


def test_several_applications_and_partial_names() -> None:
    card = icc("social")
    ask(card, apdu.select(apdu.PSE))
    assert b"SOCIAL SECURITY" in ask(card, apdu.read_record(1, 2))
    ask(card, apdu.read_record(1, 3), 0x6A83)
    ask(card, apdu.read_record(2, 1), 0x6A82)
    social = bytes.fromhex("F0000000005348454241")
    fci = opened(ask(card, apdu.select(social)), "6F")
    assert fci["84"] == social
    assert opened(ask(card, apdu.read_record(1, 1)), "70") == {"9F7F": b"SOCIAL-000001"}
    ask(card, apdu.gpo(), 0x6D00)
    rid = bytes.fromhex("A000000333")
    assert opened(ask(card, apdu.select(rid)), "6F")["84"] == bytes.fromhex("A000000333010101")
    ask(card, apdu.select(rid, following=True), 0x6A82)
    ask(card, apdu.select(apdu.PPSE), 0x6A82)
    field = icc("social", "contactless")
    assert b"SOCIAL" not in ask(field, apdu.select(apdu.PPSE))
    ask(field, apdu.select(social), 0x6A82)
    ask(field, apdu.select(apdu.PSE), 0x6A82)


@pytest.mark.parametrize(
    ("flags", "setting", "asked", "kind", "cvr"),
    [
        (0, {}, TC, TC, "03900000"),
        (0, {}, ARQC, ARQC, "03A00000"),
        (0, {}, AAC, AAC, "03800000"),
        (st.ONLINE_INCOMPLETE, {}, TC, ARQC, "03A08000"),
        (st.AUTH_FAILED, {}, TC, ARQC, "03A00800"),
        (st.AUTH_MISSING, {}, TC, ARQC, "03A00400"),
        (st.SDA_FAILED, {}, TC, TC, "03900100"),
        (st.DDA_FAILED, {}, TC, TC, "03900004"),
        (st.SCRIPT_FAILED, {"scripts": 2}, TC, TC, "03900028"),
        (0, {"last_online": 0, "atc": 0}, TC, ARQC, "03A01000"),
        (0, {"last_online": 0}, TC, ARQC, "03A03000"),
        (0, {"atc": 9}, TC, ARQC, "03A02000"),
        (0, {"ctta": 6901}, TC, ARQC, "03A02000"),
        (0, {"ctta": 6900}, TC, TC, "03900000"),
        (0, {"pin_tries": 0}, TC, AAC, "03804000"),
        (0, {"blocked": 1}, TC, AAC, "03800000"),
    ],
)
def test_card_risk_management(flags: int, setting: dict, asked: int, kind: int, cvr: str) -> None:
    card = icc("debit")
    card.state.flags, card.state.atc, card.state.last_online = flags, 5, 5
    for name, value in setting.items():
        setattr(card.state, name, value)
    card.transmit(apdu.select(bytes.fromhex("A000000333010101")))
    ask(card, apdu.gpo())
    cid, _, _, iad = first(card, asked, 100)
    assert (cid, iad[3:7].hex().upper()) == (kind, cvr)
    assert bool(card.state.flags & st.ONLINE_INCOMPLETE) == (kind == ARQC or bool(flags & st.ONLINE_INCOMPLETE))
    assert card.state.ctta == setting.get("ctta", 0) + (100 if kind == TC else 0)


def test_foreign_currency_and_country_count() -> None:
    card = icc("debit")
    card.state.last_online = card.state.atc = 5
    for n in range(3):
        card.state.last_online = card.state.atc
        started(card)
        assert first(card, TC, 100, currency="0840", country="0840")[0] == TC
        assert (card.state.currency_count, card.state.country_count, card.state.ctta) == (n + 1, n + 1, 0)
    started(card)
    assert first(card, TC, 100, currency="0840", country="0840")[0] == ARQC
    started(card)
    assert first(card, TC, 100, country="0840")[0] == ARQC


@pytest.mark.parametrize(
    ("arc", "setting", "kind", "cvr1"),
    [
        (b"Y3", {}, TC, 0x61),
        (b"Z3", {}, TC, 0x61),
        (b"Y3", {"last_online": 0, "atc": 7}, AAC, 0x21),  # 9F59 is 07
        (b"Y3", {"ctta": 19901}, AAC, 0x21),
        (b"05", {}, AAC, 0x20),
        (b"00", {}, TC, 0x60),
        (b"10", {}, TC, 0x60),
    ],
)
def test_the_second_cryptogram(arc: bytes, setting: dict, kind: int, cvr1: int) -> None:
    card = icc("debit")
    card.state.atc = card.state.last_online = 5
    for name, value in setting.items():
        setattr(card.state, name, value)
    started(card)
    ac = first(card, ARQC, 100)[2]
    if arc not in (b"Y3", b"Z3"):
        ask(card, apdu.external_auth(arpc(card, ac, arc)))
    before = card.state.ctta
    cid, _, _, iad = second(card, TC, arc, 100)
    assert (cid, iad[4]) == (kind, cvr1)
    assert not card.state.flags & st.ONLINE_INCOMPLETE
    if arc in (b"Y3", b"Z3"):
        assert card.state.ctta == before + (100 if kind == TC else 0)


def test_a_false_arpc_and_a_missing_one_are_remembered() -> None:
    card = icc("debit")
    started(card)
    first(card, ARQC)
    ask(card, apdu.external_auth(bytes(8) + b"00"), 0x6300)
    ask(card, apdu.external_auth(bytes(8) + b"00"), 0x6985)
    cid, _, _, iad = second(card, TC)
    assert (cid, iad[4]) == (TC, 0x68)  # 9F52 of this card does not decline, it goes online next time
    assert card.state.flags == st.AUTH_FAILED
    assert card.state.last_online == 0
    started(card)
    cid, _, _, iad = first(card, ARQC)
    assert iad[5] & 0x08
    assert second(card, TC)[3][5] & 0x04
    assert card.state.flags & st.AUTH_MISSING
    online(card)
    assert card.state.flags == 0
    assert card.state.last_online == card.state.atc == 3


def test_an_issuer_may_decline_without_its_arpc() -> None:
    for ada, data in (("6000", b""), ("6000", bytes(8) + b"00")):
        card = icc("debit")
        card.state.more().objects[0, "9F52"] = bytes.fromhex(ada)
        started(card)
        first(card, ARQC)
        if data:
            ask(card, apdu.external_auth(data), 0x6300)
        assert second(card, TC)[0] == AAC


def test_e_cash_on_contacts_pays_from_the_balance() -> None:
    card = icc("dual")
    started(card, ec_values(2500))
    assert card.path is not None
    assert card.path.name == "ecash"
    read = records(card, card.path.afl)
    assert read["9F74"] == b"ECC001"
    assert read["8E"] == bytes.fromhex("00000000000000001F00")
    cid, atc, ac, iad = first(card, TC, 2500)
    assert cid == TC
    assert iad[:15].hex().upper() == "07010103900000010A010000007500"
    assert iad[15:] == card.session("mac").iad_mac(1, bytes.fromhex("0000007500"))
    assert card.state.balance == 7500
    log = ask(card, apdu.read_record(11, 1))
    assert (
        log.hex().upper()
        == "261122101112" + "000000002500" + "0" * 12 + "01560156" + b"SHOP".ljust(20).hex().upper() + "00" + atc.hex()
    )
    assert ask(card, apdu.get_trans_prove(atc)) == ac
    ask(card, apdu.get_trans_prove(b"\x00\x09"), 0x9406)
    ask(card, apdu.generate_ac(TC, cdol2(b"00", 2500)), 0x6985)


def test_e_cash_refuses_what_gpo_was_not_told() -> None:
    card = icc("dual")
    started(card, ec_values(2500))
    assert first(card, TC, 2600)[0] == AAC
    assert card.state.balance == 10000
    started(card, ec_values(2500))
    assert first(card, ARQC, 2500)[0] == ARQC
    assert card.state.balance == 10000


@pytest.mark.parametrize(
    ("values", "setting", "path"),
    [
        (ec_values(100), {}, "ecash"),
        (ec_values(100, ec="00"), {}, "contact"),
        (ec_values(10000), {}, "ecash"),
        (ec_values(10001), {}, "contact"),
        (ec_values(100), {"balance": 99}, "contact"),
        (ec_values(100, "0344"), {"balance": 0}, "ecash"),
        (ec_values(5001, "0344"), {}, "contact"),
        (ec_values(100, "0840"), {}, "contact"),
        (ec_values(100), {"flags": st.AUTH_FAILED}, "contact"),
        (ec_values(100), {"flags": st.SCRIPT_FAILED}, "contact"),
        (ec_values(100), {"pin_tries": 0}, "contact"),
    ],
)
def test_when_the_card_chooses_e_cash(values: bytes, setting: dict, path: str) -> None:
    card = icc("dual")
    for name, value in setting.items():
        setattr(card.state, name, value)
    started(card, values)
    assert card.path is not None
    assert card.path.name == path


def test_the_second_currency_has_its_own_purse() -> None:
    card = icc("dual")
    started(card, ec_values(1500, "0344"))
    cid, _, _, iad = first(card, TC, 1500, currency="0344")
    assert (cid, iad[10:15].hex()) == (TC, "0000003500")
    assert (card.state.balance, card.state.balance2) == (10000, 3500)
    assert ask(card, apdu.get_data("DF79")) == bytes.fromhex("DF7906000000003500")


def test_sm_where_the_terminal_says_so() -> None:
    for sm, suite, algorithm in (("01", "sm4", 4), ("00", "3des", 1)):
        card = icc("dual_algorithm")
        started(card, ec_values(100, ec="00") + bytes.fromhex(sm))
        assert card.path is not None
        assert card.path.suite == suite
        _, _, ac, iad = first(card, ARQC)
        assert iad[7] == algorithm
        ask(card, apdu.external_auth(arpc(card, ac)))
        assert second(card, TC)[0] == TC


def test_pins_and_their_tries() -> None:
    card = started(icc("quasi_credit"))
    pin = card.image.pin
    ask(card, apdu.verify(block_of("0000000")), 0x63C2)
    ask(card, apdu.verify(block_of(pin)))
    assert card.state.pin_tries == 3
    for sw in (0x63C2, 0x63C1, 0x6983, 0x6984):
        ask(card, apdu.verify(bytes(8)), sw)
    cid, _, _, iad = first(card, ARQC)
    assert (cid, iad[2], iad[3:7].hex()) == (AAC, 0x17, "03867000")


def test_a_pin_enciphered_under_the_cards_key() -> None:
    card = started(icc("quasi_credit"))
    key = card.image.signer.key("3des")
    block = block_of(card.image.pin)

    def enciphered(clear: bytes) -> bytes:
        number = int.from_bytes(clear.ljust(key.size, b"\x11"), "big")
        data = pow(number, key.e, key.n).to_bytes(key.size, "big")
        return bytes((0, 0x20, 0, 0x88, len(data))) + data

    ask(card, enciphered(b"\x7f" + block + bytes(8)), 0x6985)
    challenge = ask(card, apdu.get_challenge())
    ask(card, enciphered(b"\x7f" + block + challenge))
    ask(card, enciphered(b"\x7f" + block + challenge), 0x6985)
    challenge = ask(card, apdu.get_challenge())
    ask(card, enciphered(b"\x7f" + block_of("9999") + challenge), 0x63C2)
    ask(card, apdu.get_challenge())
    ask(card, enciphered(b"\x7e" + block + challenge), 0x6A80)
    ask(card, apdu.get_challenge())
    ask(card, bytes((0, 0x20, 0, 0x88, 128)) + b"\xff" * 128, 0x6A80)


def test_over_t0_answers_wait() -> None:
    card = icc("debit", t0=True)
    assert card.reset("contact")[0] == 0x3B
    select = apdu.select(bytes.fromhex("A000000333010101"))[:-1]
    assert card.transmit(select) == bytes.fromhex("613B")
    assert card.transmit(bytes.fromhex("00C0000010")) == bytes.fromhex("6C3B")
    fci = card.transmit(bytes.fromhex("00C000003B"))
    assert fci[:2] == b"\x6f\x39"
    assert fci[-2:] == b"\x90\x00"
    assert card.transmit(bytes.fromhex("00C000003B")) == bytes.fromhex("6985")
    assert card.transmit(bytes.fromhex("80A80000028300")) == bytes.fromhex("610C")
    assert len(card.transmit(bytes.fromhex("00C000000C"))) == 14
    assert card.transmit(bytes.fromhex("80CA9F3609")) == bytes.fromhex("6C05")
    assert card.transmit(bytes.fromhex("80CA9F3605")) == bytes.fromhex("9F360200019000")


def test_an_atc_that_runs_out_kills_the_application() -> None:
    card = icc("debit")
    card.state.atc = 0xFFFE
    started(card)
    assert card.state.atc == 0xFFFF
    selected(card)
    ask(card, apdu.gpo(), 0x6985)


def test_the_published_personalisation() -> None:
    card = perso()
    started(card)
    assert card.path is not None
    assert card.path.afl == bytes.fromhex("08010100100105001801010020010100")
    read = records(card, card.path.afl)
    assert read["57"] == bytes.fromhex("6228000000183117D30122010123456789")
    assert read["9F0D"] + read["9F0E"] + read["9F0F"] == bytes.fromhex("F0200400000050880000F020049800")
    assert read["5F24"] == bytes.fromhex("301231")
    for tag, value in (("9F77", "15000"), ("9F78", "1000"), ("9F79", "10000"), ("9F6D", "1500"), ("9F6B", "1100")):
        assert ask(card, apdu.get_data(tag)) == bytes.fromhex(tag + "06") + bcd(int(value))
    started(card, ec_values(500) + b"\0")
    assert card.path.afl == bytes.fromhex("08010100100205001802020118040400")
    assert first(card, TC, 500)[0] == TC
    assert ask(card, apdu.get_data("9F79")) == bytes.fromhex("9F7906000000009500")
    assert tlv.read(ask(card, apdu.select(bytes.fromhex("A000000333010101"))))[0][0] == "6F"
