"""An issuer's chips online: cryptograms of both suites and versions, counters, CVR, the ARPC, what a chip is told."""

import random

import pytest
from chip_card import ARQC_CVR, TC_CVR, TestChip, ask, notice
from issuer_member import Member

from switch.issuer.chipdata import read_chip, read_iad, read_results
from switch.wire import tlv
from switch.wire.errors import TlvError


@pytest.fixture
def member():
    return Member("cups")


def chip_of(member, suite="3des", cvn="01", n=0, **more):
    return TestChip(member.portfolio, member.card(n, chip=""), suite, cvn, **more)


@pytest.mark.parametrize("cvn", ["01", "17"])
@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_a_right_cryptogram_is_answered_with_an_arpc(member, suite, cvn):
    chip = chip_of(member, suite, cvn, balance_minor=15_000)
    reply = ask(member, chip, amount=1_234)
    assert reply[39] == "00"
    assert reply[55][:5] == bytes.fromhex("9F36020001")
    assert chip.takes(reply[55]) == {}
    assert member.events("event", "atc", "balance_minor", "amount") == [("online", 1, 15_000, 0)]
    assert member.sent[-1].after == len(member.rows) + len(member.chips) == 2


def test_published_issuer_application_data():
    iad = read_iad(bytes.fromhex("07010103900000010A010000015000DE383BDF"))
    assert (iad.cvn, iad.cvr, iad.suite, iad.balance_minor) == (1, 0x900000, "3des", 15_000)
    assert (iad.told.hex(), iad.mac.hex()) == ("0000015000", "de383bdf")
    assert iad.offline_tc
    short = read_iad(bytes.fromhex("07010103900000010A01"))
    assert (short.balance_minor, short.mac) == (None, b"")
    assert read_iad(bytes.fromhex("0702170360A802040A0100000000000000B1C2")).suite == "sm4"
    with pytest.raises(TlvError, match="9F10"):
        read_iad(bytes.fromhex("0701180390000001"))
    with pytest.raises(TlvError, match="no CVR"):
        read_iad(bytes.fromhex("070101"))


def test_script_results():
    assert read_results(bytes.fromhex("DF310A20AABBCCDD1100000000")) == ((True, b"\xaa\xbb\xcc\xdd"), (False, bytes(4)))
    assert read_results(bytes.fromhex("9F36020001")) is None
    with pytest.raises(TlvError, match="DF31"):
        read_results(bytes.fromhex("DF310420AABBCC"))


@pytest.mark.parametrize(
    "tag", ["9F26", "9F10", "9F36", "9F37", "9F02", "95", "9A", "9C", "5F2A", "82", "9F1A", "9F03"]
)
def test_what_the_cryptogram_covers_may_not_be_missing(member, tag):
    chip = chip_of(member)
    whole = dict(tlv.read(chip.icc(100)))
    assert read_chip(tlv.write(whole)).atc == 1
    with pytest.raises(TlvError, match=tag):
        read_chip(tlv.write({name: value for name, value in whole.items() if name != tag}))


@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_any_change_is_refused_with_05_and_no_arpc(member, suite):
    chip = chip_of(member, suite)
    flips = {"t9F26": b"\x01" * 8, "t9F37": b"\0\0\0\1", "t95": b"\x80\0\0\0\0", "t82": b"\x7d\0", "t9F36": b"\0\x09"}
    for tag, value in flips.items():
        reply = ask(member, chip, icc=chip.icc(100, **{tag: value}))
        assert (reply[39], 55 in reply) == ("05", False), tag
    assert set(member.events("event", "detail", "amount")) == {("refused", "cryptogram", 0)}
    assert member.last("posted_minor") == 0
    other = chip_of(member, "sm4" if suite == "3des" else "3des", n=1)
    assert ask(member, TestChip(member.portfolio, other.card, other.suite, psn="01"))[39] == "00"
    assert ask(member, other, de23="001")[39] == "05"  # another sequence number is another card


def test_a_cryptogram_of_another_kind_is_no_arqc(member):
    chip = chip_of(member)
    assert ask(member, chip, icc=chip.icc(100, TC_CVR))[39] == "05"
    assert ask(member, chip, icc=chip.icc(100, t9F27=b"\x40"))[39] == "05"
    assert [detail for (detail,) in member.events("detail")] == ["no ARQC", "no ARQC"]


def test_an_amount_other_than_that_of_de4(member):
    chip = chip_of(member)
    assert ask(member, chip, amount=101, icc=chip.icc(100))[39] == "64"
    assert ask(member, chip, icc=chip.icc(100, t9F10=None))[39] == "30"
    assert ask(member, chip, icc=b"\x9f\x26\x08")[39] == "30"
    assert ask(member, chip, icc=chip.icc(100, t5F2A=b"\x08\x40"))[39] == "05"


def test_the_counter_goes_forward(member):
    chip = chip_of(member)
    assert ask(member, chip, icc=chip.icc(100, atc=40))[39] == "00"
    assert ask(member, chip, icc=chip.icc(100, atc=40))[39] == "63"
    assert ask(member, chip, icc=chip.icc(100, atc=39))[39] == "63"
    assert ask(member, chip, icc=chip.icc(100, atc=1_041))[39] == "63"
    assert ask(member, chip, icc=chip.icc(100, atc=1_040))[39] == "00"
    assert [detail for (detail,) in member.events("detail")] == [
        "", "counter repeated", "counter back", "counter jump", "",
    ]  # fmt: skip


def test_a_declined_transaction_uses_its_counter_and_gets_an_arpc(member):
    chip = chip_of(member)
    amount = chip.card.balance_minor + 1
    reply = ask(member, chip, amount=amount)
    assert reply[39] == "51"
    chip.takes(reply[55], "51")
    assert ask(member, chip, icc=chip.icc(100, atc=1))[39] == "63"


def test_without_master_keys_there_is_no_answer(member):
    chip = chip_of(member)
    for use in ("ac", "mac", "enc"):
        member.hsm.forget(f"imk/{chip.card.issuer.institution}/3des/{use}")
    assert ask(member, chip)[39] == "A7"
    assert ask(member, chip_of(member, "sm4"))[39] == "00"


def test_a_balance_with_a_wrong_mac(member):
    chip = chip_of(member, balance_minor=100)
    icc = bytearray(chip.icc(100))
    at = bytes(icc).index(b"\x0a\x01" + bytes.fromhex("0000000100"))
    icc[at + 2 + 4] ^= 1
    assert ask(member, chip, icc=bytes(icc))[39] == "05"
    assert member.events("detail") == [("balance",)]


def test_a_pin_tried_too_often_is_unblocked_by_the_right_one_online(member):
    chip = chip_of(member)
    cvr = ARQC_CVR | 0x004000
    assert ask(member, chip, icc=chip.icc(100, cvr))[39] == "75"
    reply = ask(member, chip, icc=chip.icc(100, cvr), **{f"de{de}": v for de, v in pin(member, chip).items()})
    assert reply[39] == "00"
    ((script_id, command),) = chip.takes(reply[55]).items()
    assert (script_id, command[:5].hex()) == ("ffff0001", "8424000004")
    # sent again until a notice says what became of it
    reply = ask(member, chip)
    assert list(chip.takes(reply[55])) == ["ffff0001"]
    notice(member, chip, "ffff0001")
    assert chip.takes(ask(member, chip)[55]) == {}
    words = [detail for event, detail in member.events("event", "detail") if event == "script"]
    assert words == ["ordered pin_unblock 1", "sent pin_unblock 1", "sent pin_unblock 1", "done pin_unblock 1"]


def pin(member, chip):
    return member.pin_fields(chip.card, chip.card.pin)


def test_a_stolen_card_is_told_to_block_itself(member):
    cards = [member.portfolio.card(i, n) for i in range(1, 5) for n in range(500)]
    card = next(card for card in cards if card.status == "stolen" and card.expiry > "2612")
    chip = TestChip(member.portfolio, card, "sm4")
    # the tap tells nothing: no commands over the air
    reply = ask(member, chip, entry="071")
    assert (reply[39], chip.takes(reply[55], "43")) == ("43", {})
    reply = ask(member, chip)
    ((script_id, command),) = chip.takes(reply[55], "43").items()
    assert (script_id, command[:5].hex()) == ("ffff0001", "841e000004")
    assert reply[55][3 + 2 + 12 :][:1] == b"\x71"


def test_an_order_waits_through_a_restart(member):
    cards = [member.portfolio.card(i, n) for i in range(1, 5) for n in range(500)]
    card = next(card for card in cards if card.status == "stolen" and card.expiry > "2612")
    chip = TestChip(member.portfolio, card)
    ask(member, chip, entry="071")
    fresh = member.restarted()
    assert len(fresh.bank(card).desk.chips.chip(card).orders) == 1
    assert list(chip.takes(ask(fresh, chip)[55], "43")) == ["ffff0001"]


def test_rows_name_no_card(member):
    chip = chip_of(member, balance_minor=5_000)
    ask(member, chip)
    ask(member, chip, icc=chip.icc(100, t9F26=bytes(8)))
    text = repr(member.chips) + repr(member.rows) + repr(member.bank(chip.card).desk.chips.__dict__)
    assert chip.card.pan not in text
    assert chip.arqc.hex() not in text
    assert chip.card.track2 not in text
    ((ref, masked),) = set(member.events("card_ref", "pan_masked"))
    assert (len(ref), ref) == (16, member.portfolio.reference(chip.card.pan))
    assert masked == chip.card.pan[:6] + "*" * (len(chip.card.pan) - 10) + chip.card.pan[-4:]


def test_counters_are_known_after_a_restart(member):
    chip = chip_of(member)
    ask(member, chip, icc=chip.icc(100, atc=7))
    fresh = member.restarted()
    assert ask(fresh, chip, icc=chip.icc(100, atc=7))[39] == "63"
    assert ask(fresh, chip, icc=chip.icc(100, atc=8))[39] == "00"


def test_no_mutation_of_de55_gets_through_or_out(member):
    chip, draw = chip_of(member, balance_minor=5_000), random.Random(4)
    for n in range(400):
        whole = bytearray(chip.icc(100, atc=n + 1))
        at = draw.randrange(8 + 3, len(whole))
        match n % 4:
            case 0:
                whole[at] ^= 1 << draw.randrange(8)
            case 1:
                del whole[at:]
            case 2:
                whole[at:at] = draw.randbytes(draw.randrange(1, 4))
            case _:
                del whole[at : at + draw.randrange(1, 4)]
        reply = ask(member, chip, icc=bytes(whole))
        # what no cryptogram covers may change: 9F33; of 9F10 the key index and the type of what the issuer is told
        assert reply[39] in ("00", "05", "30", "63", "64", "12")
        if reply[39] == "00":
            heard = dict(tlv.read(bytes(whole)))
            right = dict(tlv.read(chip.icc(100, atc=n + 1)))
            assert all(heard[tag] == right[tag] for tag in ("9F26", "9F36", "9F02", "9F37", "95"))
            assert heard["9F10"][2:8] == right["9F10"][2:8]
    assert member.bank(chip.card).ledger.balance_check()
