"""Issuer scripts under secure messaging, and the logs they leave."""

import json

import pytest
from cards import VECTORS, arpc, ask, bcd, first, icc, online, perso, second, selected, started

from switch.crypto import script
from switch.wire import apdu
from terminals.card import state as st
from terminals.card.card import Icc
from terminals.card.pin import block_of

ARQC, TC, AAC = apdu.AC_ARQC, apdu.AC_TC, apdu.AC_AAC
TRANSACTIONS = [
    row
    for row in json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))
    if row["kind"] == "pboc-transaction"
]


def writer(card: Icc, values: bytes = b"") -> script.Script:
    """A card after an online approval, and who writes its scripts."""
    started(card, values)
    ac = first(card, ARQC)[2]
    ask(card, apdu.external_auth(arpc(card, ac)))
    assert second(card, TC)[0] == TC
    return script.Script(card.session("mac"), card.state.atc, ac, card.session("enc"))


def test_a_load_and_its_log() -> None:
    card = icc("dual")
    scripts = writer(card)
    ask(card, scripts.put_data("9F79", bcd(30000)))
    assert card.state.balance == 30000
    entry = ask(card, apdu.read_record(12, 1))
    assert entry.hex().upper() == "9F79" + "000000010000" + "000000030000" + "261122101112" + "0001"
    whole = ask(card, apdu.read_record(12, 0))
    assert whole == b"\x00\x01\x01" + entry + card.session("mac").mac4(b"\x00\x01\x01" + entry)
    ask(card, apdu.read_record(12, 2), 0x6A83)
    ask(card, scripts.put_data("DF79", bcd(777)))
    assert card.state.balance2 == 777
    assert ask(card, apdu.read_record(12, 1))[:2] == bytes.fromhex("DF79")
    assert ask(card, apdu.get_data("DF4F")) == bytes.fromhex("DF4F089A039F21039F3602")


def test_a_load_above_the_limit_writes_nothing() -> None:
    card = icc("dual")
    scripts = writer(card)
    ask(card, scripts.put_data("9F79", bcd(100001)), 0x6A80)
    assert card.state.balance == 10000
    assert card.state.flags & st.SCRIPT_FAILED
    ask(card, scripts.put_data("9F79", bcd(100000)))
    assert card.state.balance == 100000
    ask(card, scripts.put_data("9F79", b"\x00\x00\x00\x00\x0a\x00"), 0x6A80)
    started(card)
    assert first(card, ARQC)[3][6] == 0x38  # three commands, one of them failed


@pytest.mark.parametrize("row", TRANSACTIONS, ids=lambda row: row["id"])
def test_published_scripts_run(row: dict) -> None:
    """The vectors' commands, on a card brought to their ATC, cryptogram and keys."""
    inputs, expected = row["inputs"], row["expected"]
    card = perso("contact")
    keys = {
        (suite, use): bytes.fromhex(inputs[f"udk_{use}"]) for suite in ("3des", "sm4") for use in ("ac", "mac", "enc")
    }
    object.__setattr__(card.image._udk.__self__, "keys", keys)
    card.state.more().objects[0, "9F77"] = bcd(100000)
    started(card)
    suite = "sm4" if inputs["alg"] == "04" else "3des"
    card.path = next(path for path in card.image.applications[0].spec.paths.values() if path.suite == suite)
    first(card, ARQC)
    card.state.atc, card.first_ac = int(inputs["atc"], 16), bytes.fromhex(expected["ac"])
    ask(card, bytes.fromhex(expected["script_put_9F79"]))
    assert card.state.balance == int(inputs["new_balance_9F79"])
    card.state.pin_tries = 0
    ask(card, bytes.fromhex(expected["script_app_block"]))
    assert card.state.blocked == 1
    ask(card, bytes.fromhex(expected["script_app_unblock"]))
    assert card.state.blocked == 0
    ask(card, bytes.fromhex(expected["script_pin_unblock"]))
    assert card.state.pin_tries == 3
    ask(card, bytes.fromhex(expected["script_pin_change_P2_02"]))
    assert card.state.extras is not None
    assert card.state.extras.pin == inputs["new_pin"]
    assert card.state.scripts == 5


def test_a_wrong_mac_ends_the_script() -> None:
    card = icc("dual")
    scripts = writer(card)
    good = scripts.put_data("9F79", bcd(20000))
    ask(card, good[:-1] + bytes((good[-1] ^ 1,)), 0x6988)
    ask(card, good, 0x6985)
    assert card.state.balance == 10000
    assert card.state.flags & st.SCRIPT_FAILED
    online(card)  # told and forgotten
    assert not card.state.flags & st.SCRIPT_FAILED
    assert card.state.scripts == 0


def test_scripts_come_after_the_first_cryptogram_and_under_it() -> None:
    card = icc("dual")
    scripts = writer(card)
    started(card)
    ask(card, scripts.put_data("9F79", bcd(20000)), 0x6985)
    first(card, ARQC)
    ask(card, scripts.put_data("9F79", bcd(20000)), 0x6988)


def test_scripts_before_the_second_cryptogram_are_counted_for_the_next() -> None:
    card = icc("dual")
    started(card)
    ac = first(card, ARQC)[2]
    scripts = script.Script(card.session("mac"), card.state.atc, ac)
    ask(card, apdu.external_auth(arpc(card, ac)))
    ask(card, scripts.put_data("9F58", b"\x09"))
    assert second(card, TC)[3][6] == 0x10
    assert ask(card, apdu.get_data("9F58")) == bytes.fromhex("9F580109")
    started(card)
    assert first(card, ARQC)[3][6] == 0x10


@pytest.mark.parametrize(
    ("tag", "value", "sw"),
    [
        ("9F54", bcd(12345), 0x9000),
        ("9F77", bcd(1), 0x9000),
        ("9F78", bcd(1)[1:], 0x6700),
        ("9F51", b"\x08\x40", 0x6A80),
        ("9F36", b"\x00\x01", 0x6A80),
        ("DF63", bcd(1), 0x6A80),
        ("57", bcd(1), 0x6A80),
        ("9F6D", b"\xff" * 6, 0x6A80),
    ],
)
def test_what_may_be_put(tag: str, value: bytes, sw: int) -> None:
    card = icc("dual")
    ask(card, writer(card).put_data(tag, value), sw)
    if sw == 0x9000:
        assert ask(card, apdu.get_data(tag)) == bytes.fromhex(tag) + bytes((len(value),)) + value


def test_a_changed_limit_counts() -> None:
    card = icc("dual")
    ask(card, writer(card).put_data("9F78", bcd(50)))
    started(card, bytes.fromhex("01") + bcd(51) + b"\x01\x56")
    assert card.path is not None
    assert card.path.name == "contact"
    started(card, bytes.fromhex("01") + bcd(50) + b"\x01\x56")
    assert card.path.name == "ecash"


def test_a_record_rewritten() -> None:
    card = icc("debit")
    scripts = writer(card)
    new = bytes.fromhex("70095F20064E45572F4E4D")
    ask(card, scripts.update_record(1, 1, new))
    assert ask(card, apdu.read_record(1, 1)) == new
    ask(card, scripts.update_record(1, 2, new), 0x6A83)
    ask(card, scripts.update_record(9, 1, new), 0x6A82)
    assert icc("debit").image.applications[0].record(0x101, st.CardState()) != new + b"\x90\x00"


def test_blocked_unblocked_and_blocked_for_ever() -> None:
    card = icc("social")
    scripts = writer(card)
    ask(card, scripts.app_block())
    aid = bytes.fromhex("A000000333010101")
    assert ask(card, apdu.select(aid), 0x6283)[:1] == b"\x6f"
    ask(card, apdu.select(bytes.fromhex("F0000000005348454241")))
    ask(card, apdu.select(aid), 0x6283)
    ask(card, apdu.gpo(bytes(9)))
    assert first(card, ARQC)[0] == AAC
    scripts = script.Script(card.session("mac"), card.state.atc, card.first_ac)
    ask(card, scripts.app_unblock())
    ask(card, apdu.select(aid))
    scripts = writer(card)
    ask(card, scripts.card_block())
    for name in (aid, apdu.PSE, bytes.fromhex("F0000000005348454241")):
        ask(card, apdu.select(name), 0x6A81)
    card.reset("contactless")
    ask(card, apdu.select(apdu.PPSE), 0x6A81)


def test_pins_changed_with_and_without_the_old_one() -> None:
    card = icc("quasi_credit")
    part = card.image.card_key("3des", "ac").pin_part
    ask(card, writer(card).pin_change(part, "4711"))
    ask(started(card), apdu.verify(block_of("4711")))
    ask(card, writer(card).pin_change(part, "123456", current="4711"))
    ask(started(card), apdu.verify(block_of("4711")), 0x63C2)
    ask(card, apdu.verify(block_of("123456")))
    ask(card, writer(card).pin_change(part, "9876", current="0000"), 0x6A80)
    card.state.more().objects[0, "9F52"] = bytes.fromhex("8280")
    for sw in (0x63C2, 0x63C1, 0x6983):
        ask(started(card) if sw == 0x63C2 else card, apdu.verify(block_of("1111")), sw)
    assert card.state.blocked == 1  # 9F52: PIN tries exceeded in this transaction blocks the application
    card.state.blocked = 0
    ask(card, apdu.select(bytes.fromhex("A000000333010103")))
    card.state.more().objects[0, "9F52"] = bytes.fromhex("8200")
    ask(card, writer(card).pin_unblock())
    assert card.state.pin_tries == 3


def test_the_trade_log_keeps_ten_newest_first() -> None:
    card = icc("dual")
    for n in range(12):
        card.state.balance = 10000
        started(card, bytes.fromhex("01") + bcd(100 + n) + b"\x01\x56")
        first(card, TC, 100 + n)
    assert [int(ask(card, apdu.read_record(11, k))[6:12].hex()) for k in range(1, 11)] == list(range(111, 101, -1))
    ask(card, apdu.read_record(11, 11), 0x6A83)
    selected(card)
    assert len(ask(card, apdu.read_record(11, 1))) == 45  # without GPO
