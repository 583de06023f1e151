"""The change of day: 201, banks that turn one after another, 90, 202, and what yesterday allows no more."""

import pytest
from issuer_member import CODEC, Member

from switch.issuer.register import Entry, Key, Register

TOMORROW = "1122"


def change(member, window_s=10.0, date=TOMORROW):
    out = []
    begun = member.centre.cutover(date, window_s, member.now, out)
    return begun, member.drain(out)


def test_the_change_is_announced_and_closed():
    member = Member()
    begun, (start,) = change(member)
    assert begun
    assert (start.mti, start[70], start[15], start[100]) == ("0820", "201", TOMORROW, member.profile.forwarder)
    assert len(start[7]) == 10
    reply = {7: start[7], 11: start[11], 15: start[15], 39: "00", 70: "201", 100: start[100]}
    assert member.push(CODEC.encode("0830", reply)) == []
    assert member.centre.statistics()["acknowledged"] == 1
    assert member.wait(9.9) == []
    (end,) = member.wait(0.1)
    assert (end[70], end[15]) == ("202", TOMORROW)
    assert end[11] != start[11]
    assert member.centre.settlement_date == TOMORROW


def test_within_the_window_answers_carry_both_dates_and_90_comes_once_a_bank():
    member = Member()
    cards = [member.card(0, issuer=issuer) for issuer in (1, 2, 3, 4)]
    change(member)
    seen = []
    for _ in range(12):
        replies = [member.ask(member.request("sale", card, 1)) for card in cards]
        seen.append([(reply[15], reply[39]) for reply in replies])
        member.wait(1.0)
    assert seen[0] == [("1121", "00")] * 4
    assert seen[-1] == [(TOMORROW, "00")] * 4
    assert any({date for date, _ in answers} == {"1121", TOMORROW} for answers in seen)
    for bank in zip(*seen, strict=True):
        assert [code for _, code in bank].count("90") == 1
        first_new = next(answer for answer in bank if answer[0] == TOMORROW)
        assert first_new == (TOMORROW, "90")
    assert "90" in member.column("response_code")
    assert member.column("settlement_date").count("1121") > 4


def test_a_bank_unasked_within_the_window_never_says_90():
    member = Member("core")
    change(member)
    member.wait(10)
    assert member.code("sale", member.card(), 1) == "00"


def test_advices_and_reversals_never_get_90():
    member = Member("core")
    card = member.card()
    sale = member.request("sale", card, 100)
    assert member.ask(sale)[39] == "00"
    change(member)
    member.wait(6)
    assert member.code("refund", card, 50) == "00"
    fresh = member.request("sale", card, 30)
    assert member.ask(member.reversal(fresh))[39] == "00"
    assert member.ask(member.reversal(sale))[39] == "25"
    assert member.code("sale", card, 100) == "90"
    assert member.code("sale", card, 100) == "00"


def test_a_second_change_waits_for_the_first():
    member = Member()
    assert change(member)[0]
    assert change(member, date="1123") == (False, [])
    member.wait(10)
    assert change(member) == (False, [])
    assert change(member, date="1123")[0]
    member.wait(10)
    with pytest.raises(ValueError, match="MMDD"):
        change(member, date="24 November")


def test_only_lines_that_signed_on_are_told_and_late_ones_on_arrival():
    member = Member()
    member.manage("002")
    assert change(member) == (True, [])
    replies = member.push(
        CODEC.encode("0820", {7: member.time(), 11: "900001", 33: member.profile.forwarder, 70: "001"})
    )
    assert [(reply.mti, reply[70]) for reply in replies] == [("0830", "001"), ("0820", "201")]
    assert [reply[70] for reply in member.wait(10)] == ["202"]


def test_a_change_without_a_window_is_over_with_the_next_tick():
    member = Member()
    change(member, window_s=0.0)
    assert [reply[70] for reply in member.wait(0)] == ["202"]
    assert member.code("sale", member.card(), 1) == "00"


def test_every_step_asks_to_be_woken():
    member = Member()
    member.arms.clear()
    start = member.mono
    change(member)
    for _ in range(5):
        member.wait(member.arms[-1] - member.mono)
    assert [round(at - start, 6) for at in member.arms] == [2.0, 4.0, 6.0, 8.0, 10.0]


def test_yesterdays_transactions_are_neither_voided_nor_reversed():
    member = Member("core")
    card = member.card()
    sale, other = member.request("sale", card, 100), member.request("sale", card, 200)
    auth = member.ask(member.request("preauth", card, 1_000))[38]
    member.ask(sale)
    member.ask(other)
    reversal = member.reversal(other)
    assert member.ask(reversal)[39] == "00"
    balance = member.account(card).balance_minor
    change(member)
    member.wait(10)
    assert member.code("sale_void", card, 100, de90=member.original(sale)) == "22"
    assert member.ask(member.reversal(sale))[39] == "25"
    assert (member.last("posted_minor"), member.last("settlement_date")) == (0, TOMORROW)
    assert member.ask(reversal)[39] == "00"
    assert member.ask(member.reversal(other))[39] == "00"
    assert member.account(card).balance_minor == balance
    assert member.code("completion", card, 1_000, de38=auth) == "00"


def test_wrong_pins_and_limits_begin_anew():
    member = Member("core")
    card = member.card()
    wrong = "000000" if card.pin != "000000" else "111111"
    assert [member.code("sale", card, 1, pin=wrong) for _ in range(3)][-1] == "75"
    change(member)
    member.wait(10)
    assert member.code("sale", card, 1, pin=card.pin) == "00"


def test_the_register_forgets_declines_after_two_days_and_all_after_a_month():
    member = Member("core")
    card = member.card()
    sale, decline = member.request("sale", card, 100), member.request("sale", card, 10**11)
    unseen = member.request("sale", card, 1)
    hold = member.request("preauth", card, 500)
    for request in (sale, decline, member.reversal(unseen), hold):
        member.ask(request)
    bank = member.banks[0]
    for day in range(3):
        bank.turn_day(f"12{day + 1:02d}")
    bank.turning = False
    assert len(bank.register) == 2
    assert member.ask(sale)[39] == "94"
    assert member.ask(unseen)[39] == "00"
    for day in range(40):
        bank.turn_day(f"0{1 + day // 28}{day % 28 + 1:02d}")
    bank.turning = False
    assert len(bank.register) == 0
    assert member.account(card).held_minor == 500
    assert member.centre.check()


def test_a_forgetful_bank_keeps_the_day_before_and_no_more() -> None:
    register = Register(keep_days=1)
    sale = Entry(Key("0200", "0612120000", "000001", "A", "A"), "sale", False, "hash", 100)
    refused = Entry(Key("0200", "0612120000", "000002", "A", "A"), "sale", False, "hash", 100)
    sale.response_code, refused.response_code = "00", "51"
    unseen = Key("0200", "0612120000", "000003", "A", "A")
    register.add(sale)
    register.add(refused)
    register.expect(unseen)
    register.turn_day()
    assert register.find(sale.key) is sale
    assert register.find(refused.key) is refused
    assert register.overtaken(unseen)
    register.turn_day()
    assert len(register) == 0
    assert register.find(sale.key) is None
    assert not register.overtaken(unseen)
