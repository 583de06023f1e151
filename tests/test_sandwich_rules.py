"""The sandwich's join and rules on hand-made pairs of messages."""

import random
from typing import Any

import msgspec
import pytest

from scenarios.sandwich.checks import CHECKS, elements_of
from scenarios.sandwich.join import BY_RRN, BY_TERMINAL, Joined, Pair, join
from scenarios.sandwich.judge import Judgement, judge
from scenarios.sandwich.keyring import Keyring
from scenarios.sandwich.recorder import Recorder
from scenarios.sandwich.rules import ALLOWED, ANSWER, COURSE_RULES, KNOWN, REQUEST, REVERSAL, RULES, table
from scenarios.sandwich.seen import Asked, Received, Seen
from scenarios.sandwich.view import MADE_UP, MISSING, OTHER, View
from switch.crypto.block import ecb_encryptor
from switch.crypto.pinblock import encode
from switch.wire.private import Usage, write_new_pin, write_sm_pin
from switch.wire.private_network import write_48_usages, write_new_key, write_original_amount
from switch.wire.profile import NetworkProfile, PosProfile, load_profile
from switch.wire.transactions import BY_NAME, ROWS

CUPS = load_profile("cups")
CORE = load_profile("core")
POS = load_profile("unionpay-pos")
assert isinstance(CUPS, NetworkProfile)
assert isinstance(CORE, NetworkProfile)
assert isinstance(POS, PosProfile)

PATIENCE_S = CUPS.timers.reply_s
TID, MID, RRN = "10000001", "999290054110001", "130112000001"
PAN = "6212142000000000012"
FRONT = {3: "000000", 4: "000000012345", 11: "700002", 22: "021", 25: "00", 35: PAN + "D30121200000", 41: TID, 42: MID,
         49: "156", 60: "2200000100020"}  # fmt: skip
BACK = {2: PAN, 3: "000000", 4: "000000012345", 7: "1028120000", 11: "000017", 12: "120000", 13: "1028", 18: "5411",
        22: "021", 25: "00", 32: "04384530", 33: "04384530", 35: PAN + "=30121200000", 37: RRN, 41: TID, 42: MID,
        43: "SHOP".ljust(40), 49: "156", 60: "00000200030000000000001"}  # fmt: skip
REPLY = {3: "000000", 4: "000000012345", 11: "700002", 12: "120001", 13: "1028", 15: "1028", 37: RRN, 38: "000123",
         39: "00", 41: TID, 42: MID}  # fmt: skip
CENTRE = {3: "000000", 4: "000000012345", 7: "1028120000", 11: "000017", 15: "1028", 37: RRN, 38: "000123", 39: "00",
          41: TID, 42: MID, 100: "91010000"}  # fmt: skip


def without(fields: dict[int, Any], *des: int) -> dict[int, Any]:
    return {de: value for de, value in fields.items() if de not in des}


def seen(mti: str, fields: dict[int, Any], at: float = 0.0, where: str = TID, **more: Any) -> Seen:
    return Seen(where, at, mti, dict(fields), more.pop("card", "card"), more.pop("mac", "valid"), more.pop("pin", None))


def view(
    front: dict[int, Any], back: dict[int, Any], kind: str = "sale", pin: Any = None, back_pin: Any = None, **more: Any
) -> View:
    """A request on both sides."""
    row = BY_NAME[kind]
    request = seen(row.mti, front, pin=pin)
    sent = seen(row.network_mti, back, 0.1, "cups", pin=back_pin)
    pair = more.pop("pair", None) or Pair(row, [Asked(request)], Received(sent))
    return View(pair, request, sent, request, sent, CUPS, **more)


# the table


def test_every_rule_names_a_check_and_speaks_both_languages() -> None:
    for rule in (*REQUEST, *REVERSAL, *ANSWER):
        assert rule.check in CHECKS or rule.name == "answer.DE64", rule.name
    for rule in RULES.values():
        assert rule.zh
        assert rule.en.isascii(), rule.name
        assert set(rule.only) | set(rule.never) <= set(KNOWN), rule.name
    assert {rule.check for rule in (*REQUEST, *REVERSAL, *ANSWER)} <= set(CHECKS)
    assert not any(rule.check for rule in COURSE_RULES)


def test_each_row_has_one_opinion_of_each_field() -> None:
    for row in ROWS:
        fields = [rule.de for rule in table(row.name) if rule.de > 0]
        assert len(fields) == len(set(fields)), row.name
    assert {2, 7, 11, 128} <= ALLOWED


# requests, field by field

SAME: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("check", "de", "front", "back", "verdict"),
    [
        ("equal", 55, {55: b"\x9f\x26"}, {55: b"\x9f\x26"}, ""),
        ("equal", 55, {55: b"\x9f\x26"}, {}, MISSING),
        ("equal", 55, {55: b"\x9f\x26"}, {55: b"\x9f\x27"}, OTHER),
        ("equal", 55, {}, {55: b"\x9f\x26"}, MADE_UP),
        ("equal", 55, {}, {}, None),
        ("equal", 4, {}, {4: "000000012300"}, OTHER),
        ("absent", 14, {}, {14: "3012"}, "is there"),
        ("absent", 14, {}, {}, ""),
        ("network_code", 3, {}, {3: "310000"}, OTHER),
        ("transmission_time", 7, {}, {}, ""),
        ("transmission_time", 7, {}, {7: "1328120000"}, "not a time"),
        ("transmission_time", 7, {}, {7: None}, MISSING),
        ("time_of_day", 12, {}, {12: "246000"}, "not a time"),
        ("date", 13, {}, {13: "0230"}, ""),
        ("date", 13, {}, {13: "1301"}, "not a date"),
        ("renewed_stan", 11, {}, {11: "000017"}, ""),
        ("renewed_stan", 11, {}, {11: "700002"}, None),
        ("merchant_type", 18, {}, {}, ""),
        ("merchant_type", 18, {}, {18: "9999"}, "not the merchant's"),
        ("only_with_pin", 26, {26: "12"}, {26: "12"}, "is there without a PIN"),
        ("acquirer", 32, {}, {32: "04384531"}, OTHER),
        ("forwarder", 33, {}, {33: "04384530"}, ""),
        ("track", 35, {}, {}, ""),
        ("track", 35, {}, {35: PAN + "D30121200000"}, "separator D"),
        ("track", 35, {}, {35: PAN + "=30121200001"}, OTHER),
        ("track", 35, {35: ""}, {}, None),
        ("own_rrn", 37, {}, {}, ""),
        ("own_rrn", 37, {37: RRN}, {}, "the original's"),
        ("own_rrn", 37, {}, {37: "13011200"}, "not twelve characters"),
        ("auth_code", 38, {38: "000123"}, {38: "000123"}, ""),
        ("auth_code", 38, {38: "000123"}, {}, MISSING),
        ("auth_code", 38, {}, {}, None),
        ("merchant_name", 43, {}, {43: " " * 40}, "blank"),
        ("security_control", 53, {53: "0600000000000000"}, {53: "2600000000000000"}, "is there without a PIN"),
        ("network_60", 60, {}, {}, ""),
        ("network_60", 60, {}, {60: "43510200030000000000001"}, "another reason"),
        ("network_60", 60, {}, {60: "00000200010000000000001"}, "another terminal type"),
        ("network_60", 60, {}, {60: "22"}, "not in the network's form"),
        ("receiver", 103, {}, {}, None),
        ("receiver", 103, {62: PAN.encode()}, {103: PAN}, ""),
        ("receiver", 103, {62: PAN.encode()}, {103: PAN[:-1] + "0"}, OTHER),
        ("receiver", 103, {62: PAN.encode()}, {}, MISSING),
        ("not_passed", 61, {61: "000001700001"}, {61: "000001700001"}, "handed through"),
        ("not_passed", 61, {61: "000001700001"}, {}, ""),
        ("not_passed", 63, {63: b"01 "}, {63: b"SM016" + bytes(16)}, ""),
        ("not_passed", 63, {63: b"01 "}, {63: b"01 "}, "handed through"),
        ("nothing_else", -1, {}, {}, ""),
        ("nothing_else", -1, {}, {39: "00", 45: "x"}, "DE39, DE45"),
    ],
)  # fmt: skip
def test_a_field_of_a_request(
    check: str, de: int, front: dict[int, Any], back: dict[int, Any], verdict: str | None
) -> None:
    changed = {de: value for de, value in (BACK | back).items() if value is not None}
    if check in ("equal", "absent") and de not in back:
        changed.pop(de, None)
    started = FRONT | front
    if check == "equal" and de == 55 and 55 not in front:
        started.pop(55, None)
    assert CHECKS[check](view(started, changed), de) == verdict


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ((b"12345678",), (b"12345678",), ""),
        ((b"12345678",), (b"old old!", b"12345678"), ""),
        ((b"12345678",), (b"87654321",), "another PIN"),
        ((b"12345678",), (), "no PIN block under the line's key"),
        ((b"12345678",), None, "no PIN block"),
        (None, (), "a PIN block where the terminal sent none"),
        (None, None, ""),
        ((), (b"12345678",), None),
    ],
)
def test_the_pin_is_the_same_on_both_sides(ours: Any, theirs: Any, verdict: str | None) -> None:
    assert CHECKS["pin"](view(FRONT, BACK, pin=ours, back_pin=theirs), 52) == verdict


def test_with_a_pin_de26_and_de53_are_wanted() -> None:
    with_pin = {"pin": (b"x",), "back_pin": (b"x",)}
    front = FRONT | {26: "12", 53: "2600000000000000"}
    assert CHECKS["only_with_pin"](view(front, BACK, **with_pin), 26) == MISSING
    assert CHECKS["only_with_pin"](view(front, BACK | {26: "12"}, **with_pin), 26) == ""
    assert CHECKS["security_control"](view(front, BACK, **with_pin), 53) == MISSING
    assert CHECKS["security_control"](view(front, BACK | {53: "2400000000000000"}, **with_pin), 53) == OTHER


def test_a_trace_number_handed_through_twice_running() -> None:
    before = Pair(BY_NAME["sale"], [Asked(seen("0200", FRONT | {11: "700001"}))])
    before.received = Received(seen("0200", BACK | {11: "700001"}, where="cups"))
    handed = view(FRONT, BACK | {11: "700002"}, before=before)
    assert CHECKS["renewed_stan"](handed, 11) == "the terminal's own, twice running"


def original_pair() -> Pair:
    return Pair(
        BY_NAME["sale"],
        [Asked(seen("0200", FRONT), seen("0210", REPLY, 0.4))],
        Received(seen("0200", BACK, 0.1, "cups"), seen("0210", CENTRE, 0.3, "cups")),
    )


def test_a_void_names_its_original_as_it_stood_on_the_line() -> None:
    original = original_pair()
    assert original.received is not None
    elements = "0200" + "000017" + "1028120000" + "00004384530" + "00004384530"
    assert elements_of(original.received) == elements
    pair = Pair(BY_NAME["sale_void"], [Asked(seen("0200", FRONT))], Received(seen("0200", BACK)), original=original)
    right = view(FRONT, BACK | {90: elements, 38: "000123"}, "sale_void", pair=pair)
    assert CHECKS["original_elements"](right, 90) == ""
    assert CHECKS["auth_code"](right, 38) == "", "the code the original was answered with"
    handed = view(FRONT, BACK | {90: elements.replace("000017", "700002")}, "sale_void", pair=pair)
    assert CHECKS["original_elements"](handed, 90) == "names something else"
    assert CHECKS["original_elements"](view(FRONT, BACK, "sale_void", pair=pair), 90) == MISSING


def test_a_refund_tells_the_original_amount() -> None:
    pair = Pair(BY_NAME["refund"], [Asked(seen("0220", FRONT))], Received(seen("0220", BACK)), original=original_pair())
    for amount, verdict in ((12_345, ""), (12_300, "another amount")):
        told = view(FRONT, BACK | {48: write_original_amount(amount)}, "refund", pair=pair)
        assert CHECKS["original_amount"](told, 48) == verdict
    assert (
        CHECKS["original_amount"](view(FRONT, BACK | {48: b"what"}, "refund", pair=pair), 48) == "not a usage ASOA012"
    )


# reversals and answers


def test_a_reversal_is_held_to_its_original() -> None:
    pair = original_pair()
    assert pair.received is not None
    reversal = without(BACK, 35) | {7: "1028120100", 11: "000018", 38: "000123", 90: elements_of(pair.received)}
    sent = pair.received.request

    def looked_at(fields: dict[int, Any]) -> dict[str, str | None]:
        there = View(
            pair, pair.asked.request, seen("0420", fields, 5.0, "cups"), pair.asked.request, sent, CUPS, "5411"
        )
        return {rule.name: CHECKS[rule.check](there, rule.de) for rule in REVERSAL}

    assert {name for name, verdict in looked_at(reversal).items() if verdict} == set()
    for changes, broken in (
        ({35: PAN + "=3012"}, "reversal.track"), ({26: "12"}, "reversal.pin"), ({4: "000000012300"}, "reversal.DE4"),
        ({37: "130112000002"}, "reversal.DE37"), ({11: "000017", 7: "1028120000"}, "reversal.DE11"),
        ({90: "0" * 42}, "reversal.DE90"), ({60: "9999"}, "reversal.DE60"), ({14: "3012"}, "reversal.DE14"),
        ({38: "000124"}, "reversal.DE38"), ({18: "9999"}, "reversal.DE18"),
    ):  # fmt: skip
        assert {name for name, verdict in looked_at(reversal | changes).items() if verdict} == {broken}
    pair.wrong.add(4)
    assert looked_at(reversal | {4: "000000012300"})["reversal.DE4"] is None, "told already, of the request"


@pytest.mark.parametrize(
    ("front", "back", "broken"),
    [
        ({}, {}, set()),
        ({39: "05", 38: None}, {}, {"answer.DE38", "answer.DE39"}),
        ({39: "96"}, {39: "A0"}, set()),
        ({3: "300000"}, {}, {"answer.DE3"}),
        ({4: "000000012300"}, {}, {"answer.DE4"}),
        ({15: None}, {}, {"answer.DE15"}),
        ({37: "130112000002"}, {}, {"answer.DE37"}),
        ({44: "91020000   04384530   "}, {}, {"answer.DE44"}),
        ({55: b"\x91\x00"}, {55: b"\x91\x00"}, set()),
        ({}, {55: b"\x91\x00"}, {"answer.DE55"}),
        ({54: "1002156C000000000100"}, {54: "1001156C000000000200" + "1002156C000000000100"}, set()),
        ({54: "1002156C000000000101"}, {54: "1002156C000000000100"}, {"answer.DE54"}),
        ({35: "x"}, {}, {"answer.secrets"}),
        ({12: None}, {}, {"answer.DE12"}),
    ],
)
def test_an_answer_is_held_to_the_centres(front: dict[int, Any], back: dict[int, Any], broken: set[str]) -> None:
    pair = original_pair()
    assert pair.received is not None
    told = {de: value for de, value in (REPLY | {44: "91010000   04384530   "} | front).items() if value is not None}
    there = View(
        pair, seen("0210", told), seen("0210", CENTRE | back, where="cups"), pair.asked.request, pair.received.request,
        CUPS,
    )  # fmt: skip
    verdicts = {rule.name: CHECKS[rule.check](there, rule.de) for rule in ANSWER if rule.check}
    assert {name for name, verdict in verdicts.items() if verdict} == broken


# the join


def recorder_of(asked: list[Asked], received: list[Received]) -> Recorder:
    lines = {"cups": CUPS, "core": CORE}
    recorder = Recorder(Keyring(POS, lines, random.Random(1).randbytes), POS, lines)
    recorder.asked = asked
    recorder.received = {("cups", r.request.mti, str(n), ""): r for n, r in enumerate(received)}
    return recorder


def asked(at: float, reply: dict[int, Any] | None = None, ended: float | None = None, **fields: Any) -> Asked:
    changes = {int(name[2:]): value for name, value in fields.items() if name[:2] == "de"}
    request = seen("0200", FRONT | changes, at, card=fields.get("card", "card"))
    return Asked(request, None if reply is None else seen("0210", REPLY | reply, at + 1.0), ended)


def received(at: float, **fields: Any) -> Received:
    changes = {int(name[2:]): value for name, value in fields.items() if name[:2] == "de"}
    return Received(seen("0200", BACK | changes, at, "cups", card=fields.get("card", "card")))


def joined(asked: list[Asked], received: list[Received]) -> Joined:
    return join(recorder_of(asked, received))


def test_an_rrn_joins_whatever_else_differs() -> None:
    result = joined([asked(1.0, {})], [received(1.1, de4="000000012300", de41="10000009")])
    assert [pair.by for pair in result.pairs] == [BY_RRN]
    assert not result.orphans


def test_without_an_answer_terminal_card_and_time_join() -> None:
    result = joined([asked(1.0, ended=9.0)], [received(1.1)])
    assert [pair.by for pair in result.pairs] == [BY_TERMINAL]
    assert [pair.by for pair in joined([asked(1.0, ended=9.0)], [received(1.1, de4="000000012300")]).pairs] == [
        BY_TERMINAL
    ], "another amount, but nothing else fits"


@pytest.mark.parametrize(
    "other",
    [
        {"card": "another card"},
        {"de41": "10000009"},
        {"at": 12.0},
        {"at": 0.2},
    ],
)
def test_what_does_not_fit_is_an_orphan(other: dict[str, Any]) -> None:
    result = joined([asked(1.0, ended=9.0)], [received(other.pop("at", 1.1), **other)])
    assert [pair.by for pair in result.pairs] == [""]
    assert len(result.orphans) == 1


def test_two_that_fit_are_said_not_guessed() -> None:
    result = joined([asked(1.0, ended=9.0)], [received(1.1, de37="130112000001"), received(1.2, de37="130112000002")])
    assert [pair.by for pair in result.pairs] == [""]
    assert len(result.ambiguous) == 2
    assert not result.orphans


def test_of_two_that_fit_the_amount_decides() -> None:
    result = joined([asked(1.0, ended=9.0)], [received(1.1), received(1.2, de4="000000000001")])
    assert [pair.by for pair in result.pairs] == [BY_TERMINAL]
    assert [orphan.request.get(4) for orphan in result.orphans] == ["000000000001"]


def test_one_rrn_for_two_requests_is_told_apart_by_the_card() -> None:
    result = joined(
        [asked(1.0, {}, card="a"), asked(3.0, {}, de11="700003", card="b")],
        [received(1.1, card="a"), received(3.1, card="b", de11="000018")],
    )
    assert [pair.by for pair in result.pairs] == [BY_RRN, BY_RRN]
    assert [p.received.request.card for p in result.pairs if p.received] == ["a", "b"]
    assert result.rrns["cups", RRN] == 2


# the course

REVERSED = {90: "0200" + "000017" + "1028120000" + "00004384530" * 2, 7: "1028120100", 11: "000018"}


def course(
    answer_at: float | None,
    reply: dict[int, Any] | None,
    *reversals: tuple[float, dict[int, Any]],
    ended: float = 500.0,
) -> set[str]:
    """One sale at 0 s; when the centre answered, what the terminal was told, the reversals. The course's rules."""
    first = asked(0.0, reply, ended=None if reply is not None else 60.0)
    sent = received(0.1)
    if answer_at is not None:
        sent.answer = seen("0210", CENTRE, answer_at, "cups")
    if first.answer is not None:
        first.answer.at = max(first.answer.at, 0.2 + min(answer_at or PATIENCE_S, PATIENCE_S))
    taken = [Received(seen("0420", without(BACK, 35) | REVERSED | more, at, "cups")) for at, more in reversals]
    judgement = judge(recorder_of([first], [sent, *taken]), {TID: "5411"}, ended)
    return names(judgement)


def names(judgement: Judgement) -> set[str]:
    return {f.rule.name for f in judgement.found if f.rule.part == "course"}


def test_an_answer_in_time_needs_nothing() -> None:
    assert course(1.0, {}) == set()


def test_silence_is_reversed_within_the_limit_and_never_approved() -> None:
    refused = {39: "98", 38: ""}
    assert course(None, refused, (PATIENCE_S + 1.0, {})) == {"course.repeated"}, "once, and the reversal unanswered"
    assert course(None, refused) == {"course.reversed"}
    assert course(None, refused, ended=20.0) == set(), "too early to say"
    assert course(None, refused, (PATIENCE_S + 6.0, {}), ended=80.0) == {"course.reversed"}, "too late"
    assert "course.silence" in course(None, {}, (PATIENCE_S + 1.0, {}))
    assert course(PATIENCE_S + 10.0, refused) == {"course.reversed"}, "a late answer is no answer"


def test_a_reversal_has_a_cause_and_one_key() -> None:
    assert "course.no_cause" in course(1.0, {}, (5.0, {}))
    refused = {39: "98"}
    two = course(None, refused, (31.0, {}), (91.0, {11: "000019"}), ended=100.0)
    assert two == {"course.repeat_key"}


def test_the_terminal_that_hears_nothing_is_noticed() -> None:
    assert course(1.0, None) == {"course.answered"}


# keys

TMK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
DE62 = bytes.fromhex(
    "41B1F3D154C3079A5673ACFAB058D6A414902E4D018BC9D09EE9B81600000000000000000547DB3E"
)  # PIK and MAK of the derived vector
FRONT_BLOCK = bytes.fromhex("6F2860B60AE1B36F")  # PIN 123456 of PAN under that PIK


def keyring() -> Keyring:
    ring = Keyring(POS, {"cups": CUPS, "core": CORE}, random.Random(7).randbytes)
    ring.add_terminal(TID, "3des", TMK)
    for line in ("cups", "core"):
        ring.add_line(line, TMK)
    return ring


def with_line_key(ring: Keyring, line: str, suite: str, key: bytes, stan: str = "000001") -> None:
    wrapped = ecb_encryptor(suite, TMK)(key)
    ring.offered(line, {11: stan, 48: write_new_key(wrapped), 53: "1600000000000000"})
    ring.taken(line, {11: stan, 39: "00"})


def test_pins_are_compared_across_keys_and_formats() -> None:
    ring = keyring()
    assert ring.sign_in(TID, DE62) == ""
    front = ring.front_pin(TID, {52: FRONT_BLOCK, 53: "2600000000000000"}, PAN)
    key = bytes(range(16, 32))
    with_line_key(ring, "cups", "3des", key)
    with_line_key(ring, "core", "sm4", key)
    assert front is not None
    assert len(front) == 1
    for pin, same in (("123456", True), ("123457", False)):
        block = ecb_encryptor("3des", key)(encode("iso0", pin, PAN))
        assert (ring.back_pin("cups", {52: block}, PAN) == front) is same
        block = ecb_encryptor("sm4", key)(encode("sm4", pin, PAN))
        assert (ring.back_pin("core", {52: bytes(8), 63: write_sm_pin(block)}, PAN) == front) is same
    assert ring.back_pin("cups", {52: FRONT_BLOCK}, PAN) == (), "the terminal's block, handed through"
    assert ring.back_pin("cups", {}, PAN) is None
    assert ring.front_pin(TID, {53: "0600000000000000"}, PAN) is None
    assert b"123456" not in repr((ring, front)).encode()


@pytest.mark.parametrize("carrier", ["de63", "de48"])
def test_new_pins_are_compared_as_well(carrier: str) -> None:
    keys = msgspec.structs.replace(CUPS.keys, new_pin_carrier=carrier)
    ring = Keyring(POS, {"cups": msgspec.structs.replace(CUPS, keys=keys)}, random.Random(7).randbytes)
    ring.add_terminal(TID, "3des", TMK)
    ring.add_line("cups", TMK)
    ring.sign_in(TID, DE62)
    key = bytes(range(16, 32))
    with_line_key(ring, "cups", "3des", key)
    front = ring.front_new_pin(TID, {63: write_new_pin(63, FRONT_BLOCK)}, PAN)
    assert front is not None
    assert len(front) == 1
    assert front == ring.front_pin(TID, {52: FRONT_BLOCK, 53: "2600000000000000"}, PAN), "one PIN, one value"
    for pin, same in (("123456", True), ("123457", False)):
        block = ecb_encryptor("3des", key)(encode("iso0", pin, PAN))
        fields = {63: write_new_pin(63, block)} if carrier == "de63" else {48: write_48_usages((Usage("NP", block),))}
        assert (ring.back_new_pin("cups", fields, PAN) == front) is same
    assert ring.back_new_pin("cups", {63: b"01 "}, PAN) is None
    assert ring.front_new_pin(TID, {}, PAN) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ((b"1",), (b"1",), ""),
        ((b"1",), (b"2",), "the new PIN: another PIN"),
        ((b"1",), None, "the new PIN: no PIN block"),
        ((b"1",), (), "the new PIN: no PIN block under the line's key"),
        ((), (b"1",), None),
    ],
)
def test_the_new_pin_is_the_same_on_both_sides(ours: Any, theirs: Any, verdict: str | None) -> None:
    change, sale = (view(FRONT, BACK, kind, pin=(b"0",), back_pin=(b"0",)) for kind in ("atm_pin_change", "sale"))
    change.request.new_pin, change.back.new_pin = ours, theirs
    assert CHECKS["pin"](change, 52) == verdict
    sale.request.new_pin, sale.back.new_pin = ours, theirs
    assert CHECKS["pin"](sale, 52) == ""


def test_a_machines_type_is_its_own() -> None:
    machine = BACK | {60: "00000200010000000000001"}
    assert CHECKS["network_60"](view(FRONT, machine, "atm_withdrawal"), 60) == ""
    assert CHECKS["network_60"](view(FRONT, BACK, "atm_withdrawal"), 60) == "another terminal type"


def test_a_key_before_the_last_still_opens() -> None:
    ring = keyring()
    ring.sign_in(TID, DE62)
    front = ring.front_pin(TID, {52: FRONT_BLOCK, 53: "2600000000000000"}, PAN)
    old, new = bytes(range(16, 32)), bytes(range(32, 48))
    with_line_key(ring, "cups", "3des", old)
    with_line_key(ring, "cups", "3des", new, "000002")
    block = ecb_encryptor("3des", old)(encode("iso0", "123456", PAN))
    found = ring.back_pin("cups", {52: block}, PAN)
    assert found is not None
    assert front is not None
    assert set(front) & set(found)


def test_a_wrong_check_value_is_told_and_changes_nothing() -> None:
    ring = keyring()
    assert ring.sign_in(TID, DE62) == ""
    before = ring.front_pin(TID, {52: FRONT_BLOCK, 53: "2600000000000000"}, PAN)
    spoilt = DE62[:-1] + b"\0"
    assert "check value" in ring.sign_in(TID, spoilt)
    assert ring.front_pin(TID, {52: FRONT_BLOCK, 53: "2600000000000000"}, PAN) == before
    assert ring.sign_in(TID, b"short") != ""
