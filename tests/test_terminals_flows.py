"""Each dialogue against a scripted host: every field that leaves, and what the terminal makes of the answer."""

from typing import Any

import pytest
from msgspec.structs import replace
from terminals_host import MID, TID, HeldCard, ScriptedHost, holder, new_line, new_memory, silence

from switch.crypto.errors import PinFormatError
from switch.wire.errors import EncodeError
from switch.wire.private import Balance, write_54
from switch.wire.profile import SuiteSection
from switch.wire.transactions import BY_NAME, CHAINS, ROWS
from terminals.device import pos
from terminals.device.dialogue import Outcome
from terminals.device.memory import Item, Memory, Original
from terminals.drive.instant import run
from terminals.flow import Ask, Cancelled, Flow
from terminals.goods import extras

CARD = HeldCard()
SUITES = pytest.mark.parametrize("suite", ["3des", "sm4"])


class Bench:
    """A terminal, its line and its host."""

    def __init__(self, suite: str = "3des", **changes: Any) -> None:
        self.suite = suite
        self.memory: Memory = new_memory(suite)
        self.line = new_line(**changes)
        self.host = ScriptedHost(suite)

    def run(self, flow: Flow[Outcome]) -> Outcome:
        return run(flow, self.host, holder)

    def sold(self, kind: str = "sale", amount_minor: int = 5000) -> Item:
        outcome = self.run(pos.transact(self.memory, self.line, kind, CARD, amount_minor))
        assert outcome.approved
        assert outcome.item is not None
        return outcome.item

    @property
    def last(self) -> dict[int, Any]:
        return self.host.asked[-1].fields


@SUITES
def test_sign_in(suite: str) -> None:
    bench = Bench(suite)
    outcome = bench.run(pos.sign_in(bench.memory, bench.line))
    code = "006" if suite == "sm4" else "003"
    assert bench.last == {11: "000001", 41: TID, 42: MID, 60: "00000000" + code, 63: b"01 "}
    assert bench.host.mtis == ["0800"]
    assert (outcome.state, outcome.batch, bench.memory.batch) == ("approved", "000001", "000001")
    assert bench.memory.signed_in
    assert bench.memory.clock == ("0612", "101530")


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        (lambda fields: fields | {39: "97"}, "declined", ""),
        (lambda fields: fields | {62: fields[62][:-1] + b"\0"}, "declined", "keys"),
        (lambda fields: fields | {62: fields[62][:20]}, "declined", "keys"),
        (lambda fields: {de: fields[de] for de in fields if de != 62}, "declined", "bad reply"),
        (lambda fields: {de: fields[de] for de in fields if de != 60}, "declined", "bad reply"),
        (lambda fields: fields | {11: "000099"}, "unknown", "bad reply"),
        (lambda fields: fields | {41: "99999999"}, "unknown", "bad reply"),
        (lambda fields: {de: fields[de] for de in fields if de != 39}, "unknown", "bad reply"),
        (lambda fields: b"\x08\x10junk", "unknown", "bad reply"),
        (lambda fields: None, "unknown", "timed out"),
    ],
)
def test_sign_in_that_fails(change: Any, state: str, reason: str) -> None:
    bench = Bench()
    bench.host.script.append(lambda request, fields: change(fields))
    outcome = bench.run(pos.sign_in(bench.memory, bench.line))
    assert (outcome.state, outcome.reason) == (state, reason)
    assert bench.memory.signed_in == (state == "approved")


def test_sign_off_and_echo() -> None:
    bench = Bench()
    bench.run(pos.sign_in(bench.memory, bench.line))
    assert bench.run(pos.echo(bench.memory, bench.line)).approved
    assert bench.last == {41: TID, 42: MID, 60: "00000001301"}
    assert bench.run(pos.sign_off(bench.memory, bench.line)).approved
    assert bench.last == {11: "000002", 41: TID, 42: MID, 60: "00000001002"}
    assert not bench.memory.signed_in
    bench.host.script.append(silence)
    assert bench.run(pos.echo(bench.memory, bench.line)).state == "unknown"


@SUITES
def test_sale_swiped_with_pin(suite: str) -> None:
    bench = Bench(suite)
    outcome = bench.run(pos.sale(bench.memory, bench.line, CARD, 12345))
    sent = dict(bench.last)
    assert bench.host.pin_of(bench.host.asked[-1], CARD.pan) == CARD.pin
    assert len(sent.pop(52)) == 8
    assert len(sent.pop(64)) == 8
    if suite == "sm4":
        assert len(sent.pop(63)) == 21
    assert sent == {
        3: "000000", 4: "000000012345", 11: "000002", 22: "021", 25: "00", 26: "12",
        35: CARD.track2.replace("=", "D"), 41: TID, 42: MID, 49: "156",
        53: "2400000000000000" if suite == "sm4" else "2600000000000000", 60: "2200000100020",
    }  # fmt: skip
    assert outcome[:8] == ("sale", "approved", "00", "000002", "000001", "000000000001", "A00001", 12345)
    item = outcome.item
    assert item is bench.memory.items[0] is bench.memory.last
    assert (item.state, item.reversal, item.settlement_date, item.date, item.time) == (
        "approved", "none", "0612", "0612", "101530",
    )  # fmt: skip
    assert bench.memory.pending is None


@pytest.mark.parametrize(
    ("entry", "pin", "de22", "de53"),
    [
        (pos.SWIPED, False, "022", "0600000000000000"),
        (pos.KEYED, True, "011", "2600000000000000"),
        (pos.KEYED, False, "012", None),
    ],
)
def test_entry_and_pin(entry: str, pin: bool, de22: str, de53: str | None) -> None:
    bench = Bench()
    assert bench.run(pos.sale(bench.memory, bench.line, CARD, 1, entry=entry, pin=pin)).approved
    sent = bench.last
    assert (sent[22], sent.get(53)) == (de22, de53)
    assert (52 in sent, 26 in sent) == (pin, pin)
    assert (35 in sent) == (entry == pos.SWIPED)
    assert (sent.get(2), sent.get(14)) == ((CARD.pan, CARD.expiry) if entry == pos.KEYED else (None, None))


def suite_section(line: Any, suite: str, **changes: Any) -> dict[str, SuiteSection]:
    return {**line.profile.suites, suite: replace(line.profile.suites[suite], **changes)}


def test_what_acquirers_differ_in_comes_from_the_profile() -> None:
    line = new_line()
    bench = Bench("sm4", suites=suite_section(line, "sm4", pin_carrier="de62-22", algorithm_digit="3"))
    bench.run(pos.sale(bench.memory, bench.line, CARD, 1))
    sent = bench.last
    assert (sent[53], sent[52], sent[62][:2], len(sent[62])) == ("2300000000000000", bytes(8), b"\0\x10", 18)
    bench = Bench("3des", suites=suite_section(line, "3des", pin_format="plain"))
    bench.run(pos.sale(bench.memory, bench.line, CARD, 1))
    assert bench.last[53] == "1600000000000000"


def test_balance() -> None:
    bench = Bench()
    text = write_54([Balance("10", "02", "156", -12345)])
    bench.host.script.extend(["00", lambda request, fields: fields | {54: text}])
    outcome = bench.run(pos.balance(bench.memory, bench.line, CARD))
    assert (outcome.approved, outcome.balance_minor, outcome.amount_minor) == (True, -12345, 0)
    sent = bench.last
    assert (4 in sent, sent[3], sent[60][:2]) == (False, "310000", "01")
    bench.host.script.append(silence)
    doubtful = bench.run(pos.balance(bench.memory, bench.line, CARD))
    assert (doubtful.state, bench.memory.pending) == ("unknown", None)


def test_voids_and_completion_name_their_original() -> None:
    bench = Bench()
    sale = bench.sold()
    outcome = bench.run(pos.sale_void(bench.memory, bench.line, sale))
    sent = bench.last
    assert (sent[2], sent[14], sent[22], sent[4]) == (CARD.pan, CARD.expiry, "012", "000000005000")
    assert (sent[37], sent[38], sent[61]) == (sale.rrn, sale.auth_code, sale.batch + sale.stan)
    assert (sent[3], sent[25], sent[60][:2]) == ("200000", "00", "23")
    assert outcome.approved
    assert sale.undone
    preauth = bench.sold("preauth", 10_000)
    completed = bench.run(pos.completion(bench.memory, bench.line, preauth, CARD, 11_000)).item
    sent = bench.last
    assert (sent[38], sent[61], sent[4]) == (preauth.auth_code, preauth.batch + preauth.stan + "0612", "000000011000")
    assert (37 in sent, preauth.undone) == (False, True)
    assert completed is not None
    assert bench.run(pos.completion_void(bench.memory, bench.line, completed, CARD)).approved
    sent = bench.last
    assert (sent[37], sent[61]) == (completed.rrn, completed.batch + completed.stan)
    assert (completed.undone, preauth.undone) == (True, False)
    assert bench.run(pos.preauth_void(bench.memory, bench.line, preauth, CARD)).approved
    sent = bench.last
    assert (bench.host.asked[-1].mti, sent[38], sent[61][12:]) == ("0100", preauth.auth_code, "0612")


def test_refund_of_a_part() -> None:
    bench = Bench()
    sale = bench.sold()
    outcome = bench.run(pos.refund(bench.memory, bench.line, sale, CARD, 1200))
    sent = bench.last
    assert bench.host.asked[-1].mti == "0220"
    assert (sent[4], sent[37], sent[61], sent[63]) == (
        "000000001200", sale.rrn, sale.batch + sale.stan + "0612", b"01 ",
    )  # fmt: skip
    assert (52 in sent, sent[22], sent[53]) == (False, "022", "0600000000000000")
    assert outcome.approved
    assert not sale.undone


@SUITES
@pytest.mark.parametrize("row", [row for row in ROWS if not row.chip], ids=lambda row: row.name)
def test_every_kind_carries_its_mandatory_fields(row: Any, suite: str) -> None:
    bench = Bench(suite)
    original: Item | None = None
    for kind in (*CHAINS[row.name], row.name):
        amount = 5000 if BY_NAME[kind].amount else 0
        more = extras(BY_NAME[kind], CARD.pan)
        outcome = bench.run(pos.transact(bench.memory, bench.line, kind, CARD, amount, original, **more))
        original = outcome.item
    request = bench.host.asked[-1]
    assert outcome.approved
    assert set(row.mandatory) <= request.fields.keys()
    assert (request.mti, request[3], request[25], request[60][:2]) == row.key


def test_a_decline_is_definite() -> None:
    bench = Bench()
    bench.host.script.extend(["00", "51"])
    outcome = bench.run(pos.sale(bench.memory, bench.line, CARD, 1))
    assert (outcome.state, outcome.response_code, bench.memory.pending) == ("declined", "51", None)
    assert bench.memory.items[0].reversal == "none"
    assert bench.memory.last is None


@pytest.mark.parametrize("code", ["77", "99", "A0"])
def test_codes_after_which_the_terminal_signs_in_again(code: str) -> None:
    bench = Bench()
    bench.host.script.extend(["00", code])
    assert bench.run(pos.sale(bench.memory, bench.line, CARD, 1)).response_code == code
    assert not bench.memory.signed_in
    assert bench.run(pos.sale(bench.memory, bench.line, CARD, 1)).approved
    assert bench.host.mtis == ["0800", "0200", "0800", "0200"]


def test_partial_approval_counts_for_what_was_approved() -> None:
    bench = Bench()
    bench.host.script.extend(["00", lambda request, fields: fields | {39: "10", 4: "000000000600"}])
    outcome = bench.run(pos.sale(bench.memory, bench.line, CARD, 1000))
    assert (outcome.approved, outcome.amount_minor, bench.memory.totals().debit_minor) == (True, 600, 600)


def test_nothing_is_sent_when_the_holder_cancels_or_the_host_refuses_the_sign_in() -> None:
    bench = Bench()

    def cancel(ask: Ask) -> str:
        raise Cancelled

    outcome = run(pos.sale(bench.memory, bench.line, CARD, 1), bench.host, cancel)
    assert (outcome.state, outcome.reason, bench.host.mtis, bench.memory.items) == ("unsent", "cancelled", ["0800"], [])
    bench = Bench()
    bench.host.script.append("97")
    outcome = bench.run(pos.sale(bench.memory, bench.line, CARD, 1))
    assert (outcome.state, outcome.reason, outcome.response_code) == ("unsent", "sign_in", "97")
    assert bench.memory.items == []


def test_a_holder_who_refuses_the_pin_pays_without_it() -> None:
    bench = Bench()
    outcome = run(pos.sale(bench.memory, bench.line, CARD, 1), bench.host, lambda ask: "")
    assert outcome.approved
    assert (bench.last[22], 52 in bench.last) == ("022", False)


def test_what_no_message_can_carry_is_refused_before_anything_is_written() -> None:
    bench = Bench()
    for flow, error in (
        (pos.sale(bench.memory, bench.line, CARD, 10**12), EncodeError),
        (pos.sale(bench.memory, bench.line, CARD, -1), EncodeError),
        (pos.sale(bench.memory, bench.line, HeldCard(pin="12"), 1), PinFormatError),
        (pos.transact(bench.memory, bench.line, "sale", CARD, 1, Original("000001", "000001")), ValueError),
        (pos.transact(bench.memory, bench.line, "sale_void", CARD, 1), ValueError),
        (pos.refund(bench.memory, bench.line, Original("000001", "000001"), None, 1), ValueError),
    ):
        with pytest.raises(error) as caught:
            bench.run(flow)
        assert CARD.pan not in str(caught.value)
    assert (bench.memory.items, bench.memory.pending) == ([], None)


def test_a_refund_may_name_what_the_terminal_never_saw() -> None:
    bench = Bench()
    outcome = bench.run(
        pos.refund(bench.memory, bench.line, Original("000007", "000009", "0101", "123456789012"), CARD, 1)
    )
    assert outcome.approved
    assert (bench.last[37], bench.last[61], 38 in bench.last) == ("123456789012", "0000070000090101", False)
    assert BY_NAME["refund"].original == "rrn"
