"""Where a chip's money could be lost or doubled: each test is a case that once was."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from cards import icc as minted
from chip_card import LATE_TC_CVR, TestChip, ask, df31, notice, request
from chip_shop import Shop
from issuer_member import Member
from test_chip_flows import e_cash, sale, tags, tap
from test_validator import NOON, STEPS, Field, bus, ride

from switch.issuer.ledger import shadow_name
from switch.wire import tlv
from switch.wire.transactions import BATCH_ITEMS_MAX
from terminals.device import load, torn
from terminals.device.dialogue import Outcome
from terminals.device.memory import Chip, Item
from terminals.flow import PowerOff


def shadows(member, chip):
    """The shadow account: in the chips' book, and in the ledger as it stands, opened by nobody for this look."""
    bank = member.bank(chip.card)
    name = shadow_name(bank._hash_of(chip.card.pan))
    return bank.desk.chips.chip(chip.card).shadow_minor, bank.ledger.accounts[name].balance_minor


def test_the_first_that_is_heard_of_a_card_may_be_its_certificate():
    member = Member("cups")
    card = member.card(chip="dual")
    issued = card.e_cash_minor
    chip = TestChip(member.portfolio, card, balance_minor=issued)
    assert issued > 1_600
    assert ask(member, chip, "chip_offline_sale", 1_600, icc=chip.pay(1_600))[39] == "00"
    bank = member.bank(card)
    assert shadows(member, chip) == (issued - 1_600, issued - 1_600)
    assert (member.last("effect"), member.last("posted_minor")) == ("e_cash", 1_600)
    assert sum(bank.ledger.clearing.values()) == 1_600
    assert bank.ledger.balance_check()
    fresh = member.restarted()
    assert sum(fresh.bank(card).ledger.clearing.values()) == 1_600
    assert fresh.bank(card).purse(card).balance_minor == issued - 1_600


def test_a_certificate_that_no_host_was_asked_for_is_paid_by_the_account():
    """A card on its e-cash path that was to go online and could not (Y3) takes nothing off its purse."""
    member = Member("cups")
    card = member.card(chip="dual")
    chip = TestChip(member.portfolio, card, balance_minor=card.e_cash_minor)
    before = card.balance_minor
    late = chip.icc(500, LATE_TC_CVR, t9F74=b"ECC001", t8A=b"Y3")
    assert ask(member, chip, "chip_offline_sale", 500, icc=late)[39] == "00"
    assert member.account(card).available_minor == before - 500
    assert member.bank(card).desk.chips.chip(card).shadow_minor == card.e_cash_minor == chip.balance_minor
    assert member.last("effect") == "debit"


@pytest.mark.parametrize("restart", [False, True])
def test_a_reversal_of_the_first_try_says_nothing_of_the_take_up(restart):
    member = Member("cups")
    chip = TestChip(member.portfolio, member.card(chip=""))
    before = chip.card.balance_minor
    load = request(member, chip, "load_designated", 3_000)
    member.ask(load)  # never heard: a reversal is owed, and its terminal is cut off
    assert ask(member, chip)[39] == "00"  # seen elsewhere, without the money
    take_up = request(member, chip, "load_takeup", 0, de4=None)
    assert chip.takes(member.ask(take_up)[55]).keys() == {"00030001"}
    assert chip.balance_minor == 3_000
    if restart:
        member = member.restarted()
    owed = member.reversal(load, de55=tlv.write({"9F36": b"\0\1", "DF31": bytes(5)}))
    assert member.ask(owed)[39] == "25"
    assert member.account(chip.card).available_minor == before - 3_100
    assert shadows(member, chip) == (3_000, 3_000)
    (kept,) = member.bank(chip.card).desk.chips.chip(chip.card).loads
    assert kept.state == "doubt"
    assert notice(member, chip, "00030001", of=take_up) == "00"
    assert kept.state == "written"


def test_a_reversal_after_a_failed_take_up_is_certain():
    member = Member("cups")
    chip = TestChip(member.portfolio, member.card(chip=""))
    before = chip.card.balance_minor
    load = request(member, chip, "load_designated", 3_000)
    member.ask(load)
    assert ask(member, chip)[39] == "00"
    take_up = request(member, chip, "load_takeup", 0, de4=None)
    member.ask(take_up)
    assert notice(member, chip, "00030001", done=False, of=take_up) == "00"
    assert member.ask(member.reversal(load, de55=df31("00010001", done=False)))[39] == "00"
    assert member.account(chip.card).available_minor == before - 100
    assert shadows(member, chip) == (0, 0)


@pytest.mark.parametrize("back", [True, False], ids=["at once", "later"])
def test_a_torn_ride_names_its_purse(back):
    """The card has paid, and the record with 9F74 was lost: what is claimed says electronic cash all the same."""
    memory, kernel = bus()
    card = minted("dual", "contactless")
    field = Field(card, STEPS - 1, heard=True)
    field.back = back
    if not ride(memory, kernel, field).open:
        assert ride(memory, kernel, Field(card), NOON + timedelta(seconds=20)).open
    assert card.state.balance == 9_800
    [tap] = memory.taps
    values = dict(tlv.read(tap.icc_data))
    assert (values["9F36"], values["8A"], values["9F74"]) == (b"\0\1", b"Y1", b"ECC001")


def test_a_torn_tap_at_the_till_names_its_purse():
    shop = Shop("dual", 1)
    shop.sign_in()
    assert tap(shop, 300).approved
    shop.torn_at, shop.lost = shop.apdus - 1, True
    assert tap(shop, 400).approved
    assert shop.asked[-1] == "tap_again"
    assert [tags(item.chip.data)["9F74"] for item in shop.memory.offline] == [b"ECC001"] * 2
    assert shop.icc.state.balance == 10_000 - 700


@pytest.mark.parametrize("lost", [False, True], ids=["before it heard", "after it paid"])
@pytest.mark.parametrize("dark", [False, True], ids=["the card torn out", "power lost"])
def test_a_sale_on_contacts_that_is_never_heard_of_is_listed(lost, dark):
    shop = Shop("dual", 1)
    shop.sign_in()
    before = shop.icc.state.balance
    assert sale(shop, 300).approved
    assert (shop.memory.doubts, len(shop.memory.offline)) == ([], 1)
    last, shop.lost = shop.apdus - 1, lost  # its GENERATE AC
    if dark:
        shop.dark_at = last
        with pytest.raises(PowerOff):
            sale(shop, 400)
    else:
        shop.torn_at = last
        assert sale(shop, 400).state == "unsent"
    (listed,) = shop.memory.doubts
    assert (listed.kind, listed.amount_minor, listed.pan) == ("chip_offline_sale", 400, shop.card.pan)
    assert listed.chip.e_cash
    assert len(shop.memory.offline) == 1
    assert shop.icc.state.balance == before - 300 - (400 if lost else 0)
    shop.torn_at = shop.dark_at = -1
    assert sale(shop, 500).approved
    assert shop.memory.doubts == [listed], "another sale of the card says nothing about it"


def test_a_purse_that_could_not_go_online_is_not_claimed_from():
    shop = Shop("dual", 1)
    shop.sign_in()
    assert sale(shop, 60_000).approved
    before = shop.icc.state.balance
    shop.host = lambda body: None
    outcome = sale(shop, 9_500)  # leaves less than 9F6D: to go online
    assert (outcome.state, outcome.response_code) == ("approved", "Y3")
    (held,) = shop.memory.offline
    assert shop.icc.state.balance == before
    assert "9F74" not in tags(held.chip.data)
    assert not held.chip.e_cash
    shop.host = shop.house.ask
    assert sale(shop, 60_000).approved
    assert (held.state, held.response_code) == ("approved", "00")
    assert e_cash(shop).balanced


def test_another_cards_tap_does_not_settle_a_torn_one():
    memory = SimpleNamespace(torn=[], doubts=[])
    first = Item("chip_offline_sale", "000001", "", 500, "072", "6200000000000001", "3012")
    memory.torn.append(first)
    approved = SimpleNamespace(outcome="approved", pan="6200000000000002", atc=7)
    torn.settle(memory, [], approved)
    assert (memory.torn, memory.doubts) == ([first], [])
    torn.settle(memory, [], SimpleNamespace(outcome="approved", pan=first.pan, atc=3))
    assert (memory.torn, memory.doubts) == ([], [])


def test_a_torn_ride_keeps_a_sequence_number_that_came_with_a_record():
    """DE23 of the claim is part of the card's keys: 000 for a card that has another would be a forged certificate."""
    memory, kernel = bus()
    card = minted("dual", "contactless")
    field = Field(card, STEPS - 1, heard=True)
    field.back = False

    def moved(effect):
        """5F34 not with the cryptogram, but in the first record."""
        answer = field(effect)
        if not isinstance(answer, bytes) or answer[:1] not in (b"\x77", b"\x70"):
            return answer
        ((outer, inside),) = tlv.read(answer[:-2])
        inner = dict(tlv.read(inside))
        if outer == "77":
            number.append(inner.pop("5F34").hex())
        else:
            inner["5F34"] = bytes.fromhex(number[0])
        return tlv.write({outer: tlv.write(inner)}) + answer[-2:]

    number = []
    assert ride(memory, kernel, moved).reason == "torn"
    assert len(number) == 1
    assert [doubt.psn for doubt in memory.doubts] == number
    assert ride(memory, kernel, Field(card), NOON + timedelta(seconds=20)).open
    assert [tap.psn for tap in memory.taps] == number


def test_a_take_up_settles_one_load_and_no_certificate(monkeypatch):
    def item(kind, stan):
        made = Item(kind, "000001", stan, 500, "051", "6200000000000001", "3012")
        made.chip = Chip(made.pan, "000", 1, "", "", b"")
        return made

    torn_away, first, second = (
        item("chip_offline_sale", "000001"), item("load_cash", "000002"), item("load_cash", "000003"),
    )  # fmt: skip
    memory = SimpleNamespace(doubts=[torn_away, first, second])
    taken = item("load_takeup", "000004")

    def insert(*_, seen):
        return Outcome("load_takeup", "approved", "00", item=taken)
        yield

    monkeypatch.setattr(load, "insert", insert)
    with pytest.raises(StopIteration):
        next(load.take_up(memory, None, None))
    assert memory.doubts == [torn_away, second]
    assert (torn_away.state, first.state, second.state) == ("unknown", "approved", "unknown")


def test_certificates_not_uploaded_count_towards_a_full_batch():
    """Uploaded into a batch that others have filled they would be refused (95), and never be paid."""
    shop = Shop("dual", 1)
    shop.sign_in()
    assert tap(shop, 300).approved
    (held,) = shop.memory.items
    assert held.state == "offline"
    shop.memory.items += [held] * (BATCH_ITEMS_MAX - 3)
    assert not shop.memory.batch_full
    shop.memory.items.append(held)
    assert shop.memory.batch_full
