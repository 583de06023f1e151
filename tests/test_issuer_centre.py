"""The centre's front desk: headers, MACs, missing fields, signing on, and the operator's rules."""

from itertools import pairwise
from random import Random

import msgspec
import pytest
from issuer_member import CODEC, Member

from switch.issuer.rules import RuleError, read_rules
from switch.machine import Link, Send
from switch.wire.errors import FrameError
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.profile import load_profile


@pytest.fixture
def member():
    return Member()


# headers


def test_an_answer_goes_back_under_the_header_of_its_request(member):
    request = member.request("sale", member.card(), 100)
    body = CODEC.encode(request.mti, request.fields | {128: member.mac(request.mti, request.fields)})
    header = member.header(reserved=b"CUP", batch=7, info="12345678", user=9)
    (reply,) = member.push(body, header.build(len(body)))
    assert reply[39] == "00"
    back = member.headers[-1]
    assert (back.destination, back.source) == (header.source, header.destination)
    assert (back.reserved, back.batch, back.info, back.user, back.reject) == (b"CUP", 7, "12345678", 9, "00000")


@pytest.mark.parametrize(
    ("at", "change", "code"),
    [
        (0, b"\x2d", "00015"),
        (1, b"\x03", "00025"),
        (2, b"0047", "00035"),
        (2, b"+100", "00035"),
        (6, b"00010001   ", "00045"),
        (17, b"04384599   ", "00055"),
        (17, b" " * 11, "00055"),
    ],
)
def test_a_bad_header_comes_back_with_its_code(member, at, change, code):
    request = member.request("sale", member.card(), 100)
    body = CODEC.encode(request.mti, request.fields)
    header = member.header(batch=5, user=6).build(len(body))
    (reply,) = member.push(body, header[:at] + change + header[at + len(change) :])
    assert reply.raw == body
    assert (member.headers[-1].reject, member.headers[-1].batch, member.headers[-1].user) == (code, 5, 6)
    assert member.headers[-1].destination == member.profile.header.source
    assert member.rows == []


def test_a_body_that_cannot_be_read_comes_back_and_costs_nothing(member):
    out = []
    for body in (b"0200" + bytes(5), b"", b"0200" + b"\xff" * 40):
        member.centre.receive(member.link, Frame(b"", member.header().build(len(body)), body), member.now, out)
    assert [send.header[41:46] for send in out] == [b"00035"] * 3
    assert [send.body for send in out] == [b"0200" + bytes(5), b"", b"0200" + b"\xff" * 40]
    assert member.centre.statistics()["rejected"] == 3
    assert member.code("sale", member.card(), 100) == "00"


def test_a_frame_without_any_header_comes_back(member):
    out = []
    member.centre.receive(member.link, Frame(b"", b"", b"0200"), member.now, out)
    assert out[0].header[41:46] == b"00015"


def test_a_message_come_back_is_not_sent_again(member):
    header = member.header(reject="00045")
    assert member.push(b"0210", header.build(4)) == []
    assert member.centre.statistics()["returned"] == 1


def test_a_stream_that_lost_its_place_is_closed(member):
    out = []
    member.centre.receive_bad(member.link, FrameError("length prefix", 0, "not four ASCII digits"), member.now, out)
    member.drain(out)
    assert member.closed == ["framing"]


def test_a_frame_of_an_unknown_line_is_dropped(member):
    out = []
    member.centre.receive(Link(99), Frame(b"", b"", b""), member.now, out)
    assert out == []


def test_a_line_without_headers():
    profile = load_profile("cups")
    framing = msgspec.structs.replace(profile.framing, header=0)
    member = Member(profile=msgspec.structs.replace(profile, framing=framing))
    assert member.code("sale", member.card(), 100) == "00"
    assert member.push(b"0200") == []
    assert {send.header for send in member.sent} == {b""}


def test_no_change_to_the_bytes_makes_it_raise(member):
    card = member.card()
    random = Random(11)
    sale = member.request("sale", card, 100, pin=card.pin)
    member.ask(sale)
    requests = [sale, member.reversal(sale), member.request("balance", card)]
    bodies = [CODEC.encode(request.mti, request.fields | {128: "00000000"}) for request in requests]
    bodies += [send.body for send in member.sent]
    before = len(member.rows)
    for n in range(4_000):
        body = bytearray(bodies[n % len(bodies)])
        header = bytearray(member.header().build(len(body)))
        for _ in range(random.choice((1, 1, 2, 5))):
            target = header if random.random() < 0.2 else body
            target[random.randrange(len(target))] = random.choice((random.randrange(256), 0x30, 0x39))
        if random.random() < 0.2:
            del body[random.randrange(len(body)) :]
        out = []
        member.centre.receive(member.link, Frame(b"", bytes(header), bytes(body)), member.now, out)
        assert len([effect for effect in out if isinstance(effect, Send)]) <= 2
        assert card.pan not in repr(member.centre.statistics())
    assert len(member.rows) == before
    member.manage("001")
    assert member.code("sale", card, 100) == "00"


def test_no_value_under_a_right_mac_makes_it_raise(member):
    card = member.card()
    random = Random(12)
    sale = member.request("sale", card, 100, pin=card.pin)
    member.ask(sale)
    hold = member.request("preauth", card, 100)
    auth = member.ask(hold)[38]
    changes = {
        2: ["", "6", "62010000000000000000"[:19], member.card(1).pan],
        3: ["000000", "200000", "310000"],
        4: ["0" * 12, "9" * 12],
        25: ["00", "06"],
        35: ["", "6=", card.track2[:20], "=" * 37],
        38: [auth, "      "],
        49: ["840", "   "],
        52: [bytes(8), b"\xff" * 8],
        63: [b"", b"SM016" + bytes(16)],
        90: ["0" * 42, member.original(sale), member.original(hold), "9" * 42],
    }
    for n in range(2_000):
        kind = ("sale", "sale_void", "refund", "preauth_void", "completion", "completion_void", "balance")[n % 7]
        request = member.request(kind, card, 100)
        for de in random.sample(sorted(changes), random.randrange(1, 5)):
            request.fields[de] = random.choice(changes[de])
        if n % 3 == 0:
            request.mti = "0420"
        request.fields = dict(sorted(request.fields.items()))
        (reply,) = member.send(request)
        assert len(reply[39]) == 2
    assert member.centre.check()


# who may ask what


def test_a_pin_before_there_is_a_pin_key_is_99():
    member = Member(signed_on=False)
    member.manage("001")
    member.manage("101", de53="26" + "0" * 14)
    card = member.card()
    member.keys["1"] = bytes(16)
    assert member.code("sale", card, 100, pin=card.pin) == "99"
    assert member.code("sale", card, 100) == "00"


def test_nothing_before_sign_on_and_after_sign_off(member):
    card = member.card()
    assert member.manage("002")[39] == "00"
    request = member.request("sale", card, 100)
    assert member.ask(request)[39] == "91"
    assert member.ask(member.reversal(request))[39] == "91"
    assert member.manage("301")[39] == "00"
    assert member.manage("001")[39] == "00"
    assert member.code("sale", card, 100) == "00"
    member.centre.link_down(member.link, member.now, [])
    member.connect()
    assert member.code("sale", card, 100) == "91"


def test_a_new_line_without_keys_gets_an_answer_without_a_mac():
    member = Member(signed_on=False)
    request = member.request("sale", member.card(), 100)
    (reply,) = member.push(CODEC.encode("0200", request.fields | {128: "00000000"}))
    assert reply[39] == "91"
    assert 128 not in reply
    member.manage("001")
    (reply,) = member.push(CODEC.encode("0200", request.fields | {128: "00000000"}))
    assert reply[39] == "A0"


def test_management_that_cannot_be(member):
    assert member.manage("555")[39] == "40"
    assert member.manage("004")[39] == "00"
    assert member.manage("101")[39] == "30"
    assert member.manage("101", de53="3600000000000000")[39] == "30"
    assert member.manage("001", de33="99999999")[39] == "31"
    (reply,) = member.push(CODEC.encode("0820", {7: member.time(), 11: member.next_stan(), 70: "001"}))
    assert reply[39] == "30"
    assert member.push(CODEC.encode("0800", {7: member.time(), 11: "000001", 70: "101"})) == []


def test_a_wrong_mac_is_a0_and_leaves_nothing(member):
    card = member.card()
    request = member.request("sale", card, 100)
    (reply,) = member.send(request, "00000000")
    assert reply[39] == "A0"
    (reply,) = member.push(CODEC.encode("0200", request.fields))
    assert reply[39] == "A0"
    assert member.rows == []
    assert member.centre.statistics()["bad_mac"] == 2
    assert member.ask(request)[39] == "00"


def test_every_covered_field_is_covered(member):
    request = member.request("sale", member.card(), 100)
    mac = member.mac("0200", request.fields)
    for de, value in ((4, "000000000101"), (11, "999999"), (41, "10000148"), (25, "06"), (18, "5999")):
        (reply,) = member.push(CODEC.encode("0200", request.fields | {de: value, 128: mac}))
        assert reply[39] == "A0"


@pytest.mark.parametrize("de", [2, 3, 4, 7, 11, 12, 13, 18, 22, 25, 32, 33, 37, 41, 42, 49, 60])
def test_a_missing_field_is_30(member, de):
    request = member.request("sale", member.card(), 100)
    del request.fields[de]
    assert member.ask(request)[39] == "30"
    assert member.rows == []


def test_missing_fields_of_what_refers_to_another(member):
    card = member.card()
    assert member.code("sale_void", card, 100) == "30"
    assert member.code("completion", card, 100) == "30"
    assert member.ask(member.reversal(member.request("sale", card, 100), de90=None, de37="260100000001"))[39] == "30"


def test_a_transaction_nobody_knows_is_12(member):
    assert member.code("sale", member.card(), 100, de3="990000") == "12"
    assert member.code("sale", member.card(), 100, de25="77") == "12"


def test_the_reversal_for_an_unknown_bank_is_12(member):
    request = member.request("sale", member.card(), 100, de2="6299990000000000000", de35=None)
    assert member.ask(member.reversal(request))[39] == "12"


def test_other_message_classes(member):
    request = member.request("sale", member.card(), 100)
    assert member.send(Message("0600", request.fields))[0][39] == "40"
    assert member.send(Message("0210", request.fields)) == []
    assert member.send(Message("9999", request.fields)) == []
    assert member.centre.statistics()["unexpected"] == 3


# rules


def test_a_delay_is_decided_at_once_and_answered_later():
    member = Member(rules=[{"action": "delay", "delay_s": 2.5, "amount_minor": 700}])
    card = member.card()
    assert member.send(member.request("sale", card, 700)) == []
    assert len(member.rows) == 1
    assert member.arms[-1] == member.mono + 2.5
    assert member.wait(2.4) == []
    (reply,) = member.wait(0.1)
    assert reply[39] == "00"
    assert member.code("sale", card, 701) == "00"


def test_a_delayed_answer_finds_its_line_only():
    member = Member(rules=[{"action": "delay", "delay_s": 2.0}])
    member.send(member.request("sale", member.card(), 700))
    member.centre.link_down(member.link, member.now, [])
    member.connect()
    assert member.wait(3) == []
    assert member.centre.statistics()["delayed"] == 0


def test_delayed_answers_keep_the_order_of_their_times():
    rules = [{"action": "delay", "delay_s": s, "amount_minor": a} for s, a in ((3.0, 1), (1.0, 2), (1.0, 3))]
    member = Member(rules=rules)
    for amount in (1, 2, 3):
        member.send(member.request("sale", member.card(), amount))
    assert [int(reply[4]) for reply in member.wait(1.5)] == [2, 3]
    assert member.arms[-1] == pytest.approx(member.mono + 1.5)
    assert [int(reply[4]) for reply in member.wait(1.5)] == [1]


def test_silence_before_and_after_posting():
    rules = [{"action": "silence", "amount_minor": 1}, {"action": "silence_after_posting", "amount_minor": 2}]
    member = Member(rules=rules)
    card = member.card()
    unheard, unanswered = member.request("sale", card, 1), member.request("sale", card, 2)
    assert member.send(unheard) == []
    assert member.rows == []
    assert member.send(unanswered) == []
    assert member.column("posted_minor") == [2]
    assert member.ask(member.reversal(unheard))[39] == "00"
    assert member.ask(member.reversal(unanswered))[39] == "00"
    assert member.column("posted_minor") == [2, 0, -2]
    assert member.account(card).balance_minor == card.balance_minor


def test_a_code_is_the_answer_and_is_remembered():
    member = Member(rules=[{"action": "code", "code": "05", "every": 2}])
    card = member.card()
    first, second = member.request("sale", card, 1), member.request("sale", card, 1)
    assert member.ask(first)[39] == "00"
    assert member.ask(second)[39] == "05"
    assert member.ask(second)[39] == "94"
    assert member.column("response_code") == ["00", "05"]


def test_a_code_for_reversals_leaves_them_to_be_repeated():
    member = Member(rules=[{"action": "code", "code": "96", "kind": "reversal", "every": 2}])
    card = member.card()
    sale, other = member.request("sale", card, 1), member.request("sale", card, 2)
    member.ask(sale)
    member.ask(other)
    assert member.ask(member.reversal(sale))[39] == "00"
    reversal = member.reversal(other)
    assert [member.ask(reversal)[39] for _ in range(2)] == ["96", "00"]
    assert member.account(card).balance_minor == card.balance_minor


def test_a_disconnect():
    member = Member(rules=[{"action": "disconnect", "kind": "preauth"}])
    card = member.card()
    assert member.code("sale", card, 1) == "00"
    assert member.send(member.request("preauth", card, 1)) == []
    assert member.closed == ["rule"]
    assert len(member.rows) == 1


def test_a_rule_fires_at_each_nth_match_of_all_its_conditions():
    rule = {
        "action": "code",
        "code": "05",
        "bin": "620100",
        "mcc": "5411",
        "tid": "10000147",
        "kind": "sale",
        "amount_min_minor": 100,
        "amount_max_minor": 199,
        "every": 3,
    }
    member = Member(rules=[rule])
    card, other = member.card(0), member.card(0, issuer=2)
    assert [member.code("sale", card, 100 + n) for n in range(6)] == ["00", "00", "05"] * 2
    misses = [
        member.code("sale", other, 150),
        member.code("sale", card, 99),
        member.code("sale", card, 200),
        member.code("sale", card, 150, de18="5999"),
        member.code("sale", card, 150, de41="10000148"),
        member.code("preauth", card, 150),
    ]
    assert misses == ["00"] * 6
    assert member.centre.rules.seen == [6]
    assert member.centre.statistics()["rule_code"] == 2


def test_a_rule_without_kind_leaves_advices_and_reversals_alone():
    member = Member(rules=[{"action": "silence", "every": 2}])
    card = member.card()
    sale = member.request("sale", card, 10)
    assert member.ask(sale)[39] == "00"
    assert member.code("refund", card, 10) == "00"
    assert member.ask(member.reversal(member.request("sale", card, 10)))[39] == "00"
    assert member.send(member.request("sale", card, 10)) == []


def test_the_first_rule_that_is_due_wins():
    rules = [{"action": "code", "code": "05", "every": 2}, {"action": "code", "code": "57"}]
    member = Member(rules=rules)
    assert [member.code("sale", member.card(), 1) for _ in range(4)] == ["57", "05"] * 2
    assert member.centre.rules.seen == [4, 2]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"action": "explode"}, r"rule 1: Invalid enum value .*action"),
        ({"action": "silence", "pan": "62"}, "rule 1: .*unknown field `pan`"),
        ({"action": "silence", "every": 0}, "every is at least 1"),
        ({"action": "delay"}, "delay_s above 0"),
        ({"action": "code", "code": "00"}, "not an approval"),
        ({"action": "code"}, "two characters"),
        ({"bin": "62"}, "rule 1: .*action"),
    ],
)
def test_rules_that_cannot_be_are_named(row, text):
    with pytest.raises(RuleError, match=text):
        read_rules([row])


def test_rows_are_numbered_without_a_gap(member):
    for n in range(20):
        member.code("sale", member.card(n % 3), 10**11 if n % 4 == 0 else 100)
    assert all(later - earlier == 1 for earlier, later in pairwise(member.column("number")))
