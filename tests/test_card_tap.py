"""The card in the field: decisions, cryptograms to the byte, fDDA, and what a torn card owes."""

import json

import pytest
from cards import TTQ, UN, VECTORS, ask, bcd, icc, opened, perso, records, selected, static_data, tap_values, tapped

from switch.crypto import oda, rsa, script
from switch.crypto.oda import KeyRing
from switch.wire import apdu
from terminals.card.card import Icc
from terminals.card.signing import ca_keys

CASES = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))
DECISIONS = [row for row in CASES if row["kind"] == "qpboc-gpo-decision"]
TRANSACTIONS = [row for row in CASES if row["kind"] == "pboc-transaction"]
KINDS = {0x80: "AAC", 0x90: "TC", 0xA0: "ARQC"}


def kind_of(answer: dict[str, bytes]) -> str:
    return KINDS[answer["9F10"][4]]


@pytest.mark.parametrize("row", DECISIONS, ids=lambda row: row["id"])
def test_decisions(row: dict) -> None:
    inputs = row["inputs"]
    card = icc("dual", "contactless")
    objects = card.state.more().objects
    for tag in ("9F78", "9F6D", "9F6B"):
        objects[0, tag] = bcd(inputs[f"{tag}_fen"])
    objects[0, "9F68"] = bytes.fromhex(inputs["9F68"])
    card.state.balance, card.state.last_online = inputs["9F79_fen"], inputs["9F13"]
    card.state.pin_tries = 0 if inputs["pin_try_exceeded"] else 3
    answer = tapped(card, inputs["9F02_fen"], inputs["9F66"], "0156" if inputs["ccy_match"] else "0840")
    assert kind_of(answer) == row["expected"]["result"]
    assert answer["9F6C"][0] & 0xC0 == int(row["expected"]["9F6C_B1"], 16)
    assert ("94" in answer) == (row["expected"]["result"] == "TC")


@pytest.mark.parametrize("row", TRANSACTIONS, ids=lambda row: row["id"])
def test_cryptograms_of_a_tap_to_the_byte(row: dict) -> None:
    inputs, expected = row["inputs"], row["expected"]
    card = perso("contactless")
    spec = card.image.applications[0].spec
    balance, spent = int(inputs["balance5"]), int(inputs["9F02"])
    debited = inputs["cvr"] == "03900000"
    card.state.balance = balance + (spent if debited else 0)
    card.state.atc = int(inputs["atc"], 16) - 1
    ttq = TTQ if debited else "26800080"
    values = tap_values(spent, ttq, sm="01" if inputs["alg"] == "04" else "00", date=inputs["9A"])
    values = values.replace(bytes.fromhex(UN), bytes.fromhex(inputs["9F37"]))
    object.__setattr__(spec, "cvn", int(inputs["cvn"], 16))
    object.__setattr__(spec, "idd", 1)
    keys = {
        (suite, use): bytes.fromhex(inputs[f"udk_{use}"]) for suite in ("3des", "sm4") for use in ("ac", "mac", "enc")
    }
    object.__setattr__(card.image._udk.__self__, "keys", keys)
    try:
        selected(card)
        answer = opened(ask(card, apdu.gpo(values)), "77")
    finally:
        object.__setattr__(spec, "cvn", 1)
    assert answer["9F10"].hex().upper() == expected["iad"]
    assert answer["9F26"].hex().upper() == expected["ac"]
    assert card.session("ac").arpc(answer["9F26"], bytes.fromhex(inputs["arc"])).hex().upper() == expected["arpc"]
    writer = script.Script(card.session("mac"), card.state.atc, answer["9F26"])
    put = writer.put_data("9F79", bytes.fromhex(inputs["new_balance_9F79"]))
    assert put.hex().upper() == expected["script_put_9F79"]


def test_the_answer_online_has_the_shape_of_a_real_one() -> None:
    card = icc("dual", "contactless")
    assert ask(card, apdu.select(apdu.PPSE)).hex().upper() == (
        "6F30840E325041592E5359532E4444463031A51EBF0C1B61194F08A000000333010101500A50424F43204445424954870101"
    )
    assert ask(card, apdu.select(bytes.fromhex("A000000333010101"))).hex().upper() == (
        "6F598408A000000333010101A54D500A50424F432044454249548701019F38189F66049F02069F03069F1A0295055F2A029A"
        "039C019F37045F2D027A689F1101019F120A50424F43204445424954BF0C0A9F4D020B0ADF4D020C0A"
    )
    answer = tapped(card, 100, "36800000")
    assert list(answer) == ["82", "9F36", "57", "9F10", "9F26", "5F34", "9F6C", "9F5D"]
    assert answer["82"] == bytes.fromhex("7C00")
    assert answer["9F10"][:15].hex().upper() == "07010103A00000010A010000010000"
    assert answer["9F5D"] == bcd(10000)
    assert card.state.balance == 10000


def paid(card: Icc, minor: int = 100, **values: str) -> dict[str, bytes]:
    answer = tapped(card, minor, **values)
    return {**answer, **records(card, answer["94"])}


def test_the_last_record_pays_and_may_be_read_again() -> None:
    card = icc("dual", "contactless")
    answer = tapped(card, 2500)
    assert kind_of(answer) == "TC"
    assert answer["9F5D"] == bcd(7500)
    places = [(2, 2), (2, 3), (3, 1), (3, 2)]
    for place in places:
        ask(card, apdu.read_record(*place))
        assert card.state.balance == 10000
    last = ask(card, apdu.read_record(3, 3))
    assert (card.state.balance, card.state.ctta) == (7500, 2500)
    assert ask(card, apdu.read_record(3, 3)) == last
    assert (card.state.balance, card.state.ctta) == (7500, 2500)
    assert ask(card, apdu.get_trans_prove(answer["9F36"])) == answer["9F26"]
    assert ask(card, apdu.read_record(11, 1))[6:12] == bcd(2500)
    ask(card, apdu.read_record(11, 2), 0x6A83)


@pytest.mark.parametrize("steps", range(8))
def test_a_card_torn_at_any_step_pays_once_or_not_at_all(steps: int) -> None:
    """A flash card (闪卡): back in the field it proves what it did, and pays again only if it did not."""
    card = icc("dual", "contactless")
    commands = [
        apdu.select(apdu.PPSE),
        apdu.select(bytes.fromhex("A000000333010101")),
        apdu.gpo(tap_values(2500)),
        *(apdu.read_record(*place) for place in ((2, 2), (2, 3), (3, 1), (3, 2), (3, 3))),
    ]
    for command in commands[:steps]:
        card.transmit(command)
    card.tear()
    assert card.transmit(commands[0]) == b""
    assert card.state.balance == 10000
    card.reset()
    selected(card)
    ask(card, apdu.get_trans_prove(b"\x00\x01"), 0x9406)
    atc = paid(card, 2500)["9F36"]
    assert int.from_bytes(atc, "big") == (2 if steps >= 3 else 1)
    card.tear()  # after the last record, its answer lost
    card.reset()
    selected(card)
    assert ask(card, apdu.get_trans_prove(atc)) == card.state.proof
    assert card.state.balance == 7500


@pytest.mark.parametrize(
    ("profile", "sm"), [("dual", ""), ("sm", ""), ("dual_algorithm", "00"), ("dual_algorithm", "01")]
)
@pytest.mark.parametrize("version", ["00", "80"])
def test_fdda_opens_under_the_test_cas(profile: str, sm: str, version: str) -> None:
    card = icc(profile, "contactless", n=3)
    answer = paid(card, 100, ttq="260000" + version, sm=sm)
    afl, aip = answer["94"], answer["82"]
    ring = {key.index: key for key in ca_keys()}
    pan = card.image.personal.pan
    issuer = oda.recover_issuer_key(
        ring[answer["8F"][0]], answer["90"], answer.get("92", b""), answer.get("9F32", b""), pan, "261122"
    )
    data = static_data(card, afl, aip)
    key = oda.recover_icc_key(
        issuer, answer["9F46"], answer.get("9F48", b""), answer.get("9F47", b""), data, pan, "261122"
    )
    own = answer.get("9F69", b"")
    assert bool(own) == (version == "80")
    assert not own or own == b"\x01" + own[1:5] + answer["9F6C"] + b"\0"
    un, amount, currency = bytes.fromhex(UN), bcd(100), b"\x01\x56"
    signed = oda.verify_fdda(key, answer["9F4B"], un, amount, currency, own)
    assert signed.number == answer["9F36"]
    assert (key.kind == "sm2") == (profile == "sm" or sm == "01")
    with pytest.raises(oda.OdaError):
        oda.verify_fdda(key, answer["9F4B"], b"\x11\x22\x33\x45", amount, currency, own)
    flipped = bytes((answer["9F46"][0],)) + bytes((answer["9F46"][1] ^ 1,)) + answer["9F46"][2:]
    with pytest.raises(oda.OdaError):
        oda.recover_icc_key(issuer, flipped, answer.get("9F48", b""), answer.get("9F47", b""), data, pan)


def test_one_key_ring_serves_many_cards() -> None:
    assert KeyRing() is not None
    assert {key.kind for key in ca_keys()} == {"rsa", "sm2"}
    assert all(not key.fault("261122") for key in ca_keys())


def test_the_second_currency_and_a_foreign_one() -> None:
    card = icc("dual", "contactless")
    answer = paid(card, 1500, currency="0344")
    assert answer["9F10"][10:15].hex() == "0000003500"
    assert (card.state.balance, card.state.balance2, card.state.ctta2) == (10000, 3500, 1500)
    assert kind_of(tapped(card, 100, currency="0840")) == "ARQC"


def test_a_prepaid_card_pays_when_it_goes_online() -> None:
    card = icc("dual", "contactless")
    card.state.more().objects[0, "9F68"] = bytes.fromhex("8190F000")
    assert kind_of(tapped(card, 2500, "26800000")) == "ARQC"
    assert card.state.balance == 7500
    assert kind_of(tapped(card, 7501, "26800000")) == "AAC"
    assert card.state.balance == 7500


def test_contacts_preferred_no_common_cvm_and_blocked() -> None:
    card = icc("dual", "contactless")
    selected(card)
    ask(card, apdu.gpo(tap_values(100, "20400000")), 0x6985)  # a reader with neither PIN nor signature
    ask(card, apdu.gpo(tap_values(100)), 0x6985)
    card.state.blocked = 1
    ask(card, apdu.select(bytes.fromhex("A000000333010101")), 0x6283)
    assert kind_of(opened(ask(card, apdu.gpo(tap_values(100))), "77")) == "AAC"
    card.state.blocked = 0
    card.state.more().objects[0, "9F68"] = bytes.fromhex("8310F000")
    selected(card)
    ask(card, apdu.gpo(tap_values(100, "36000000")), 0x6985)
    assert card.state.balance == 10000


def test_offline_only_readers_drain_the_balance_and_no_further() -> None:
    card = icc("dual", "contactless")
    card.state.balance = 250
    for left in (150, 50):
        assert kind_of(paid(card, 100, ttq="2A000000")) == "TC"
        assert card.state.balance == left
    assert kind_of(tapped(card, 100, "2A000000")) == "AAC"
    assert kind_of(tapped(card, 0)) == "ARQC"
    assert card.state.balance == 50


def test_a_signature_in_the_last_record_where_the_key_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terminals.card.tap._SIGNATURE_IN_GPO_MAX", 100)
    card = icc("dual", "contactless")
    answer = tapped(card, 100)
    assert "9F4B" not in answer
    last = opened(ask(card, apdu.read_record(3, 3)), "70")
    assert list(last) == ["9F74", "5F20", "9F69", "9F4B"]
    key = card.image.signer.key("3des")
    assert isinstance(key, rsa.RsaKey)
    clear = rsa.recover(key.modulus, key.exponent, last["9F4B"])
    assert clear[:6] == bytes.fromhex("6A0501030200")
    assert card.state.balance == 9900


@pytest.mark.parametrize("digit", ["00000000010A", "0000000A0000"])
def test_amounts_that_are_no_digits(digit: str) -> None:
    card = icc("dual", "contactless")
    selected(card)
    values = tap_values(1)
    ask(card, apdu.gpo(values[:4] + bytes.fromhex(digit) + values[10:]), 0x6A80)
    assert card.state.atc == 0
