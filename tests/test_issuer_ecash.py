"""Electronic cash at its issuer: certificates uploaded, loads and what is not known of them, the shadow account."""

import pytest
from chip_card import AAC_CVR, LATE_TC_CVR, TestChip, ask, df31, notice, request
from issuer_member import Member

from switch.issuer.host import PAN_HASH_KEY
from switch.wire.message import Message


@pytest.fixture
def member():
    return Member("cups")


def chip_of(member, suite="3des", n=0, loaded=0, cvn="01"):
    """A chip with `loaded` on it: loaded with cash, and told so by a notice."""
    chip = TestChip(member.portfolio, member.card(n, chip=""), suite, cvn)
    if loaded:
        load = request(member, chip, "load_cash", loaded)
        assert list(chip.takes(member.ask(load)[55])) == ["00010001"]
        assert notice(member, chip, "00010001", of=load) == "00"
    return chip


def upload(member, chip, amount, icc=None, **extra):
    return ask(member, chip, "chip_offline_sale", amount, icc=icc or chip.pay(amount), **extra)[39]


def shadow(member, chip):
    """The shadow account: as the chips' book has it, and as an account of the ledger."""
    bank = member.bank(chip.card)
    known = bank.desk.chips.chip(chip.card).shadow_minor
    assert bank.purse(chip.card).balance_minor == known
    assert bank.ledger.balance_check()
    return known


def states(member, chip):
    return [load.state for load in member.bank(chip.card).desk.chips.chip(chip.card).loads]


def balance(member, chip):
    return member.account(chip.card).available_minor


# offline


@pytest.mark.parametrize("suite", ["3des", "sm4"])
@pytest.mark.parametrize("cvn", ["01", "17"])
def test_a_certificate_is_paid_by_the_shadow_account(member, suite, cvn):
    chip = chip_of(member, suite, loaded=10_000, cvn=cvn)
    before = balance(member, chip)
    assert upload(member, chip, 1_600) == "00"
    assert (chip.balance_minor, shadow(member, chip)) == (8_400, 8_400)
    assert balance(member, chip) == before
    assert (member.last("effect"), member.last("posted_minor")) == ("e_cash", 1_600)
    assert member.events("event", "atc", "amount", "balance_minor", "shadow_minor")[-1] == (
        "offline", 2, 1_600, 8_400, 8_400,
    )  # fmt: skip


def test_without_9f74_the_account_pays(member):
    chip = chip_of(member, loaded=10_000)
    before = balance(member, chip)
    assert upload(member, chip, 700, icc=chip.icc(700, 0x900000, t8A=b"Y1")) == "00"
    assert (balance(member, chip), shadow(member, chip)) == (before - 700, 10_000)
    assert member.last("effect") == "debit"


def test_a_counter_pays_once(member):
    chip = chip_of(member, loaded=10_000)
    icc = chip.pay(500)
    first = request(member, chip, "chip_offline_sale", 500, icc=icc)
    assert member.ask(first)[39] == "00"
    assert member.ask(first)[39] == "00"  # the same message again
    assert upload(member, chip, 500, icc=icc) == "94"
    assert shadow(member, chip) == 9_500
    assert member.events("event")[-2:] == [("offline",), ("replay",)]
    fresh = member.restarted()
    assert fresh.ask(first)[39] == "00"
    assert upload(fresh, chip, 500, icc=icc) == "94"
    assert shadow(fresh, chip) == 9_500


def test_certificates_come_in_any_order(member):
    chip = chip_of(member, loaded=10_000)
    held = [chip.pay(100 + n) for n in range(5)]
    assert ask(member, chip)[39] == "00"
    for n in (3, 0, 4, 1, 2):
        assert upload(member, chip, 100 + n, icc=held[n]) == "00"
    assert shadow(member, chip) == chip.balance_minor == 10_000 - 510


def test_forged_certificates_are_refused_and_listed(member):
    chip = chip_of(member, loaded=10_000)
    arqc, decline = chip.icc(500, t9F27=b"\x40", t9F74=b"ECC001"), chip.icc(500, AAC_CVR, t9F27=b"\x40")
    online = chip.icc(500, 0x600000, t9F74=b"ECC001")  # the TC that ends an online transaction
    broken = chip.pay(500, t9F26=bytes(8))
    assert [upload(member, chip, 500, icc=icc) for icc in (arqc, decline, online, broken)] == ["05"] * 4
    assert upload(member, chip, 600, icc=chip.icc(500, 0x900000)) == "64"
    assert shadow(member, chip) == 10_000
    assert member.events("event", "detail")[-5:] == [
        ("forged", "no TC"), ("forged", "no TC"), ("forged", "no TC"), ("forged", "cryptogram"), ("forged", "amount"),
    ]  # fmt: skip


def test_an_offline_decline_moves_nothing(member):
    chip = chip_of(member, loaded=10_000)
    assert upload(member, chip, 500, icc=chip.icc(500, AAC_CVR, t8A=b"Z1")) == "12"
    assert (shadow(member, chip), member.events()[-1]) == (10_000, "declined")


def test_a_certificate_after_the_network_had_failed_has_the_counter_of_the_request(member):
    chip = chip_of(member, loaded=10_000)
    sale = request(member, chip, "sale", 500)
    assert member.ask(sale)[39] == "00"
    assert member.ask(member.reversal(sale))[39] == "00"
    assert upload(member, chip, 500, icc=chip.icc(500, LATE_TC_CVR, atc=2, t8A=b"Y3")) == "00"
    assert upload(member, chip, 500, icc=chip.icc(500, LATE_TC_CVR, atc=2, t8A=b"Y3")) == "94"


def test_more_than_the_shadow_account_has_is_paid_and_listed(member):
    chip = chip_of(member, loaded=1_000)
    chip.balance_minor = 5_000
    assert upload(member, chip, 2_000) == "00"
    assert shadow(member, chip) == -1_000
    assert member.events("event", "detail")[-1] == ("offline", "beyond the shadow account")


def test_a_refund_goes_to_the_account(member):
    chip = chip_of(member, loaded=10_000)
    sale = request(member, chip, "chip_offline_sale", 900, icc=chip.pay(900))
    member.ask(sale)
    before = balance(member, chip)
    refund = {"de90": member.original(sale), "de35": None, "de25": "69"}
    assert member.code("chip_offline_refund", chip.card, 1_000, **refund) == "64"
    assert member.code("chip_offline_refund", chip.card, 900, **refund) == "00"
    assert member.code("chip_offline_refund", chip.card, 1, **refund) == "64"
    assert (balance(member, chip), shadow(member, chip)) == (before + 900, 9_100)
    fresh = member.restarted()
    fresh.ask(fresh.request("balance", chip.card))
    assert (balance(fresh, chip), shadow(fresh, chip)) == (before + 900, 9_100)


# loads


@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_a_designated_load(member, suite):
    chip = chip_of(member, suite, loaded=1_500)
    chip.pay(300)  # not uploaded: the balance is the chip's, not the shadow account's
    before = balance(member, chip)
    load = request(member, chip, "load_designated", 5_000, **pin(member, chip))
    reply = member.ask(load)
    assert reply[39] == "00"
    ((script_id, command),) = chip.takes(reply[55]).items()
    assert (script_id, command[:11].hex()) == ("00030001", "04da9f790a000000006200")
    assert chip.balance_minor == 6_200
    assert (balance(member, chip), shadow(member, chip)) == (before - 5_000, 6_500)
    assert states(member, chip) == ["written", "sent"]
    assert (member.last("effect"), member.last("posted_minor")) == ("leg", -5_000)
    assert notice(member, chip, script_id, of=load) == "00"
    assert states(member, chip) == ["written", "written"]
    assert member.events("event", "amount", "shadow_minor")[-4:] == [
        ("online", 0, 1_500), ("load", -5_000, 6_500), ("notice", 0, 6_500), ("load_written", 0, 6_500),
    ]  # fmt: skip


def pin(member, chip):
    return {f"de{de}": value for de, value in member.pin_fields(chip.card, chip.card.pin).items()}


def test_what_refuses_a_load(member):
    chip = chip_of(member, loaded=90_000)
    assert ask(member, chip, "load_cash", 10_001)[39] == "61"
    assert ask(member, chip, "load_cash", 10_000, entry="071")[39] == "58"
    assert ask(member, chip, "load_designated", chip.card.balance_minor + 1)[39] == "51"
    assert ask(member, chip, "load_takeup", 0, de4=None)[39] == "25"
    assert ask(member, chip, "load_cash", 10_000, icc=b"")[39] == "30"
    assert member.code("load_cash", chip.card, 10_000) == "30"
    chip.balance_minor, told = None, chip.balance_minor
    assert ask(member, chip, "load_cash", 100)[39] == "40"
    chip.balance_minor = told
    assert shadow(member, chip) == 90_000
    reply = ask(member, chip, "load_cash", 10_000)
    chip.takes(reply[55])
    assert chip.balance_minor == 100_000


def test_a_load_from_another_account(member):
    chip = chip_of(member, "sm4", loaded=2_000)
    payer = member.card(3, issuer=2)
    other = {"de2": payer.pan, "de35": payer.track2, "de22": "021", "de102": payer.pan, "de103": chip.card.pan}
    load = request(member, chip, "load_other", 4_000, **other)
    load.fields[14] = payer.expiry
    reply = member.ask(load)
    assert reply[39] == "00"
    chip.takes(reply[55])
    assert (chip.balance_minor, shadow(member, chip)) == (6_000, 6_000)
    assert member.account(payer).available_minor == payer.balance_minor - 4_000
    assert notice(member, chip, "00020001", of=load) == "00"
    assert states(member, chip) == ["written", "written"]
    # the reversal comes for the card that paid: the chip has it
    assert member.ask(member.reversal(load))[39] == "25"
    fresh = member.restarted()
    assert fresh.ask(fresh.request("balance", payer))[39] == "00"
    assert fresh.account(payer).available_minor == payer.balance_minor - 4_000
    assert shadow(fresh, chip) == 6_000


def test_a_reversal_with_a_failed_script_undoes_a_load(member):
    chip = chip_of(member, loaded=2_000)
    before = balance(member, chip)
    load = request(member, chip, "load_designated", 3_000)
    member.ask(load)
    assert member.ask(member.reversal(load, de55=df31("00020001", done=False)))[39] == "00"
    assert (balance(member, chip), shadow(member, chip), states(member, chip)[1]) == (before, 2_000, "reversed")
    assert member.ask(member.reversal(load, de55=df31("00020001", done=False)))[39] == "00"
    assert (balance(member, chip), shadow(member, chip)) == (before, 2_000)


def test_a_reversal_after_the_script_was_written_undoes_nothing(member):
    chip = chip_of(member, loaded=2_000)
    load = request(member, chip, "load_designated", 3_000)
    chip.takes(member.ask(load)[55])
    assert member.ask(member.reversal(load, de55=df31("00020001")))[39] == "25"
    assert (shadow(member, chip), states(member, chip)[1]) == (5_000, "written")


def test_a_load_in_doubt_is_listed_and_never_refunded(member):
    chip = chip_of(member, loaded=2_000)
    before = balance(member, chip)
    load = request(member, chip, "load_designated", 3_000)
    member.ask(load)
    assert member.ask(member.reversal(load))[39] == "25"
    assert states(member, chip) == ["written", "doubt"]
    assert (balance(member, chip), shadow(member, chip)) == (before - 3_000, 5_000)
    fresh = member.restarted()
    (doubt,) = fresh.bank(chip.card).desk.chips.open_loads()
    assert (doubt.state, doubt.amount_minor, doubt.rrn) == ("doubt", 3_000, load[37])
    member = fresh
    assert shadow(member, chip) == 5_000
    # the chip is seen again, and never had it: listed still, to be taken up
    assert ask(member, chip, amount=100)[39] == "00"
    assert (states(member, chip), member.events()[-1]) == (["written", "unwritten"], "load_unwritten")
    assert member.bank(chip.card).desk.chips.open_loads() == [doubt] or len(states(member, chip)) == 2
    take_up = request(member, chip, "load_takeup", 0, de4=None)
    reply = member.ask(take_up)
    assert reply[39] == "00"
    assert chip.takes(reply[55]).keys() == {"00040001"}
    assert (chip.balance_minor, shadow(member, chip)) == (5_000, 5_000)
    assert notice(member, chip, "00040001", of=take_up) == "00"
    assert states(member, chip) == ["written", "written"]
    assert ask(member, chip, "load_takeup", 0, de4=None)[39] == "25"


def test_a_load_in_doubt_that_was_written_is_seen(member):
    chip = chip_of(member, loaded=2_000)
    load = request(member, chip, "load_designated", 3_000)
    chip.takes(member.ask(load)[55])
    member.ask(member.reversal(load))
    held = chip.pay(4_000)
    assert states(member, chip)[1] == "doubt"
    # 1,000 told, a counter missing: it may have had 2,000 or 5,000
    assert ask(member, chip, entry="071")[39] == "00"
    assert states(member, chip)[1] == "doubt"
    fresh = member.restarted()
    assert upload(fresh, chip, 4_000, icc=held) == "00"
    assert (states(fresh, chip)[1], shadow(fresh, chip), chip.balance_minor) == ("written", 1_000, 1_000)


def test_the_chips_own_word_on_scripts_decides_where_balances_do_not(member):
    for scripts, outcome in ((0x10, "written"), (0x18, "unwritten"), (0x00, "unwritten")):
        chip = chip_of(member, n=scripts, loaded=2_000)
        load = request(member, chip, "load_designated", 3_000)
        member.ask(load)
        member.ask(member.reversal(load))
        chip.pay(1_500)
        assert ask(member, chip, icc=chip.icc(100, 0xA00000 | scripts))[39] == "00"
        assert states(member, chip)[1] == outcome


def test_a_notice_of_failure_leaves_the_money_to_be_taken_up(member):
    chip = chip_of(member, loaded=2_000)
    before = balance(member, chip)
    load = request(member, chip, "load_designated", 3_000)
    member.ask(load)
    assert notice(member, chip, "00020001", done=False, of=load) == "00"
    assert (states(member, chip)[1], balance(member, chip), shadow(member, chip)) == (
        "unwritten",
        before - 3_000,
        5_000,
    )
    # the reversal that follows is certain now
    assert member.ask(member.reversal(load))[39] == "00"
    assert (states(member, chip)[1], balance(member, chip), shadow(member, chip)) == ("reversed", before, 2_000)


def test_a_notice_without_results_is_30(member):
    chip = chip_of(member, loaded=2_000)
    message = request(member, chip, "sale", 100, de90="0" * 42, de3=None, de25=None)
    assert member.ask(Message("0620", message.fields))[39] == "30"


def test_the_void_of_a_cash_load_takes_it_off_the_chip(member):
    chip = chip_of(member)
    load = request(member, chip, "load_cash", 3_000)
    first = member.ask(load)
    void = {"de38": first[38], "de90": member.original(load)}
    # nobody knows yet whether it is on the chip
    chip.takes(first[55])
    assert member.ask(request(member, chip, "load_cash_void", 3_000, icc=b"", **void))[39] == "30"
    reply = ask(member, chip, "load_cash_void", 3_000, **void)
    assert reply[39] == "00"
    assert chip.takes(reply[55]).keys() == {"00020001"}
    assert (chip.balance_minor, shadow(member, chip)) == (0, 0)
    assert states(member, chip) == ["written", "sent"]
    fresh = member.restarted()
    assert shadow(fresh, chip) == 0
    assert [load.amount_minor for load in fresh.bank(chip.card).desk.chips.open_loads()] == [-3_000]
    assert ask(fresh, chip)[39] == "00"
    assert states(fresh, chip) == ["written", "written"]


def test_a_spent_cash_load_cannot_be_voided(member):
    chip = chip_of(member)
    load = request(member, chip, "load_cash", 3_000)
    first = member.ask(load)
    chip.takes(first[55])
    chip.pay(1)
    assert ask(member, chip, "load_cash_void", 3_000, de38=first[38], de90=member.original(load))[39] in ("51", "12")
    assert shadow(member, chip) == 3_000


def test_loads_that_were_settled_are_forgotten_after_a_month(member):
    chip, doubtful = chip_of(member, loaded=2_000), chip_of(member, n=1)
    load = request(member, doubtful, "load_cash", 1_000)
    member.ask(load)
    member.ask(member.reversal(load))
    bank = member.bank(chip.card)
    for day in range(40):
        bank.turn_day(f"12{day % 28 + 1:02d}")
    assert (states(member, chip), states(member, doubtful)) == ([], ["doubt"])
    assert bank.purse(chip.card).pan_hash.startswith(member.hsm.keyed_hash(PAN_HASH_KEY, chip.card.pan.encode()).hex())
