"""What an issuer decides: each transaction of the matrix, its undoing, and the code for what cannot be."""

import pytest
from issuer_member import Member, read_balances

from switch.issuer.verify import Limits
from switch.wire.private_network import write_original_amount


@pytest.fixture(params=["cups", "core"])
def member(request):
    return Member(request.param)


def test_a_sale_with_pin_is_posted(member):
    card = member.card()
    reply = member.ask(member.request("sale", card, 12_345, pin=card.pin))
    assert reply.mti == "0210"
    assert (reply[39], reply[15], reply[100]) == ("00", "1121", card.issuer.institution)
    assert len(reply[38]) == 6
    assert reply[121][:3] == "511"
    assert card.issuer.institution in reply[121]
    assert member.account(card).available_minor == card.balance_minor - 12_345
    assert member.sent[-1].after == len(member.rows)
    assert member.last("effect") == "debit"
    assert (member.last("posted_minor"), member.last("held_minor")) == (12_345, 0)
    assert (member.last("rrn"), member.last("mcc")) == (reply[37], "5411")


def test_balances_are_told_available_and_ledger(member):
    card = member.card()
    assert member.code("preauth", card, 5_000) == "00"
    reply = member.ask(member.request("balance", card, pin=card.pin))
    kind = "30" if card.credit else "10"
    assert read_balances(reply) == [(kind, "01", card.balance_minor), (kind, "02", card.balance_minor - 5_000)]
    assert 38 not in reply
    assert member.last("effect") == "none"


def test_rows_hold_no_card_number(member):
    card = member.card()
    member.code("sale", card, 100, pin=card.pin)
    member.code("sale", card, 10**11, pin=card.pin)
    text = repr(member.rows) + repr(member.centre) + repr(member.banks) + repr(member.account(card))
    assert card.pan not in text
    assert card.pin not in text
    assert member.last("pan_masked") == card.pan[:6] + "*" * (len(card.pan) - 10) + card.pan[-4:]


def test_a_pin_is_tried_three_times_a_day(member):
    card = member.card()
    wrong = "000000" if card.pin != "000000" else "111111"
    assert [member.code("sale", card, 100, pin=wrong) for _ in range(2)] == ["55", "55"]
    assert member.code("sale", card, 100, pin=card.pin) == "00"
    assert [member.code("sale", card, 100, pin=wrong) for _ in range(3)] == ["55", "55", "75"]
    assert member.code("sale", card, 100, pin=card.pin) == "75"


def test_a_block_that_is_no_pin_block_is_99(member):
    card = member.card()
    request = member.request("sale", card, 100)
    request.fields |= member.pin_fields(card, card.pin, key=bytes(range(16)))
    request.fields = dict(sorted(request.fields.items()))
    assert member.ask(request)[39] == "99"


def test_a_bad_sm_usage_is_99():
    member = Member("core")
    assert member.code("sale", member.card(), 100, de63=b"SM015" + bytes(15)) == "99"


@pytest.mark.parametrize(("status", "code"), [("lost", "41"), ("stolen", "43"), ("restricted", "62")])
def test_a_card_that_may_not_pay(status, code):
    member = Member()
    cards = [member.portfolio.card(i, n) for i in range(1, 5) for n in range(500)]
    card = next(card for card in cards if card.status == status)
    assert member.code("sale", card, 100) == code
    assert (member.last("response_code"), member.last("effect")) == (code, "none")


def test_cards_that_do_not_fit():
    member = Member()
    card = member.card()
    cards = [member.portfolio.card(i, n) for i in range(1, 5) for n in range(500)]
    expired = next(card for card in cards if card.expiry < "2611" and card.status == "normal")
    assert member.code("sale", expired, 100) == "54"
    assert member.code("sale", card, 100, de14="9912") == "54"
    assert member.code("sale", card, 100, de35=card.track2[:-3] + "999" if card.track2[-3:] != "999" else "0") == "59"
    assert member.code("sale", card, 100, de35=card.track2.replace("=", "D")) == "00"
    assert member.code("sale", card, 100, de35=None) == "00"
    assert member.code("sale", card, 100, de2="6201000000000009995", de35=None) == "14"
    assert member.code("sale", card, 100, de2="6299990000000000000", de35=None) == "15"
    assert member.code("sale", card, 100, de49="840") == "12"
    assert member.code("sale", card, 0) == "13"


def test_limits_of_a_day():
    member = Member(limits=Limits(daily_minor=1_000, daily_count=3))
    card, other = member.card(0), member.card(1)
    assert member.code("sale", card, 600) == "00"
    assert member.code("sale", card, 401) == "61"
    assert member.code("preauth", card, 400) == "00"
    assert [member.code("sale", other, 1) for _ in range(4)] == ["00", "00", "00", "65"]


def test_no_more_than_there_is(member):
    card = min((member.card(n) for n in range(200)), key=lambda card: card.balance_minor)
    assert member.code("sale", card, card.balance_minor + 1) == "51"
    assert member.code("preauth", card, card.balance_minor) == "00"
    assert member.code("sale", card, 1) == "51"


def test_a_void_undoes_a_sale_once(member):
    card, other = member.card(0), member.card(1)
    sale = member.request("sale", card, 700)
    auth = member.ask(sale)[38]
    ref = {"de90": member.original(sale)}
    assert member.code("sale_void", card, 700, de90="0200999999" + member.original(sale)[10:]) == "25"
    assert member.code("sale_void", other, 700, **ref) == "25"
    assert member.code("sale_void", card, 700, de38="ZZZZZZ", **ref) == "25"
    assert member.code("sale_void", card, 699, **ref) == "64"
    assert member.code("completion_void", card, 700, **ref) == "12"
    assert member.account(card).balance_minor == card.balance_minor - 700
    assert member.code("sale_void", card, 700, de38=auth, **ref) == "00"
    assert (member.last("effect"), member.last("posted_minor")) == ("undo", -700)
    assert (member.last("original_time"), member.last("original_stan")) == (sale[7], sale[11])
    assert member.account(card).balance_minor == card.balance_minor
    assert member.code("sale_void", card, 700, **ref) == "12"


def test_a_void_of_a_declined_sale_finds_nothing(member):
    card = member.card()
    sale = member.request("sale", card, 10**11)
    assert member.ask(sale)[39] == "51"
    assert member.code("sale_void", card, 10**11, de90=member.original(sale)) == "25"


def test_a_hold_its_completion_and_their_voids(member):
    card = member.card()
    account_of = lambda: (member.account(card).available_minor - card.balance_minor, member.account(card).held_minor)  # noqa: E731
    auth = member.ask(member.request("preauth", card, 1_000))[38]
    assert account_of() == (-1_000, 1_000)
    assert member.code("completion", card, 1_151, de38=auth) == "64"
    assert member.code("completion", card, 1_000, de38="ZZZZZZ") == "25"
    done = member.request("completion", card, 1_150, de38=auth)
    assert member.ask(done)[39] == "00"
    assert (member.last("effect"), member.last("posted_minor"), member.last("held_minor")) == ("capture", 1_150, -1_000)
    assert account_of() == (-1_150, 0)
    assert member.code("completion", card, 100, de38=auth) == "12"
    assert member.code("preauth_void", card, 1_000, de38=auth) == "12"
    assert member.code("completion_void", card, 1_150, de90=member.original(done)) == "00"
    assert account_of() == (-1_000, 1_000)
    assert member.code("preauth_void", card, 999, de38=auth) == "64"
    assert member.code("preauth_void", card, 1_000, de38=auth) == "00"
    assert account_of() == (0, 0)
    assert member.code("completion", card, 100, de38=auth) == "12"


def test_a_hold_lasts_thirty_days(member):
    card = member.card()
    auth = member.ask(member.request("preauth", card, 1_000))[38]
    member.mono += 31 * 86_400
    assert member.code("completion", card, 1_000, de38=auth) == "22"


def test_refunds_give_back_what_was_paid_and_no_more(member):
    card, other = member.card(0), member.card(1)
    sale = member.request("sale", card, 1_000)
    member.ask(sale)
    ref = {"de90": member.original(sale), "de48": write_original_amount(1_000)}
    reply = member.ask(member.request("refund", card, 600, **ref))
    assert (reply.mti, reply[39]) == ("0230", "00")
    assert (member.last("effect"), member.last("posted_minor")) == ("credit", -600)
    assert member.code("refund", card, 401, **ref) == "64"
    assert member.code("refund", other, 100, **ref) == "25"
    assert member.code("sale_void", card, 1_000, de90=member.original(sale)) == "12"
    assert member.ask(member.reversal(sale))[39] == "25"
    assert member.code("refund", card, 400, **ref) == "00"
    assert member.account(card).balance_minor == card.balance_minor
    assert member.code("refund", card, 300) == "00"
    assert member.account(card).balance_minor == card.balance_minor + 300


REVERSED = ["sale", "preauth", "sale_void", "preauth_void", "completion", "completion_void"]


@pytest.mark.parametrize("kind", REVERSED)
def test_a_reversal_undoes_whatever_its_original_did(member, kind):
    card = member.card()
    state = lambda: (member.account(card).available_minor, member.account(card).held_minor)  # noqa: E731
    extra = {}
    if kind.startswith("sale_"):
        sale = member.request("sale", card, 500)
        member.ask(sale)
        extra = {"de90": member.original(sale)}
    elif kind not in ("sale", "preauth"):
        extra = {"de38": member.ask(member.request("preauth", card, 500))[38]}
        if kind == "completion_void":
            done = member.request("completion", card, 500, **extra)
            member.ask(done)
            extra = {"de90": member.original(done)}
    member.code("balance", card)
    before = state()
    request = member.request(kind, card, 500, **extra)
    assert member.ask(request)[39] == "00"
    assert state() != before
    reversal = member.reversal(request)
    reply = member.ask(reversal)
    assert (reply.mti, reply[39]) == ("0430", "00")
    assert 38 not in reply
    assert state() == before
    assert (member.last("kind"), member.last("mti"), member.last("effect")) == (kind, "0420", "undo")
    rows = len(member.rows)
    assert member.ask(reversal).fields == reply.fields
    assert member.ask(member.reversal(request))[39] == "00"
    assert state() == before
    assert len(member.rows) == rows + 1
    assert member.last("effect") == "none"


def test_a_reversal_that_overtakes_its_original(member):
    card = member.card()
    sale = member.request("sale", card, 500)
    assert member.ask(member.reversal(sale))[39] == "00"
    assert member.last("effect") == "none"
    assert member.ask(sale)[39] == "12"
    assert member.account(card).balance_minor == card.balance_minor


def test_the_reversal_of_a_declined_request_moves_nothing(member):
    card = member.card()
    sale = member.request("sale", card, 10**11)
    member.ask(sale)
    assert member.ask(member.reversal(sale))[39] == "00"
    assert member.account(card).balance_minor == card.balance_minor


def test_reversals_that_do_not_fit_are_left_for_people(member):
    card, other = member.card(0), member.card(1)
    sale = member.request("sale", card, 500)
    member.ask(sale)
    refund = member.request("refund", card, 500)
    member.ask(refund)
    assert member.ask(member.reversal(sale, de2=other.pan))[39] == "25"
    assert member.ask(member.reversal(sale, de4=f"{499:012d}"))[39] == "25"
    assert member.ask(member.reversal(sale, de90=member.original(sale)[:20] + "0" * 22))[39] == "25"
    assert member.ask(member.reversal(refund))[39] == "12"
    assert member.ask(member.reversal(member.request("balance", card), de4="0" * 12))[39] == "12"
    assert member.account(card).balance_minor == card.balance_minor


def test_a_sale_that_was_reversed_does_not_come_back_with_its_void(member):
    card = member.card()
    sale = member.request("sale", card, 500)
    member.ask(sale)
    void = member.request("sale_void", card, 500, de90=member.original(sale))
    member.ask(void)
    assert member.ask(member.reversal(sale))[39] == "00"
    assert member.ask(member.reversal(void))[39] == "00"
    assert member.account(card).balance_minor == card.balance_minor


def test_a_repeated_request_is_94_and_a_repeated_advice_is_answered_alike(member):
    card = member.card()
    sale = member.request("sale", card, 500)
    first = member.ask(sale)
    rows = len(member.rows)
    assert member.ask(sale)[39] == "94"
    refund = member.request("refund", card, 200)
    answer = member.ask(refund)
    assert member.ask(refund).fields == answer.fields
    assert member.sent[-1].after == len(member.rows) == rows + 1
    assert member.account(card).balance_minor == card.balance_minor - 300
    assert member.ask(member.reversal(sale))[39] == first[39]
    assert member.centre.statistics()["repeats"] == 2


def test_a_repeat_with_another_amount_or_card_is_30(member):
    card, other = member.card(0), member.card(1)
    refund = member.request("refund", card, 200)
    member.ask(refund)
    refund.fields[4] = f"{201:012d}"
    assert member.ask(refund)[39] == "30"
    refund.fields |= {4: f"{200:012d}", 2: other.pan, 14: other.expiry, 35: other.track2}
    assert member.ask(refund)[39] == "30"


def test_a_hold_belongs_to_the_acquirer_that_placed_it(member):
    card = member.card()
    auth = member.ask(member.request("preauth", card, 500))[38]
    assert member.code("completion", card, 500, de38=auth, de32="04384599") == "25"
    assert member.code("completion", card, 500, de38=auth) == "00"
