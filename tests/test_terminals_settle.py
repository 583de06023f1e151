"""Settlement: totals, the upload where they differ, the end, and being killed in the middle of it."""

from typing import Any

import pytest
from terminals_host import HeldCard, ScriptedHost, holder, new_line, new_memory, silence

from switch.wire.message import Message
from switch.wire.private_pos import EndCount, Side, read_48, read_details, read_totals
from switch.wire.transactions import ADMIN_MANDATORY, BATCH_ITEMS_MAX
from terminals.device import pos
from terminals.device.dialogue import Outcome
from terminals.device.memory import Item, Memory
from terminals.drive.instant import cut_at, run
from terminals.flow import Flow, PowerOff

CARD = HeldCard()
LINE = new_line()


class Bench:
    """A terminal with a batch, and its host."""

    def __init__(self, sales: int = 0, refunds: int = 0) -> None:
        self.memory: Memory = new_memory()
        self.host = ScriptedHost()
        self.run(pos.sign_in(self.memory, LINE))
        sold = [self.run(pos.sale(self.memory, LINE, CARD, 1000 + n)).item for n in range(sales)]
        for n in range(refunds):
            original = sold[n]
            assert original is not None
            self.run(pos.refund(self.memory, LINE, original, CARD, 10 + n))
        self.host.asked.clear()

    def run(self, flow: Flow[Outcome], *script: Any) -> Outcome:
        self.host.script.extend(script)
        return run(flow, self.host, holder)

    def settle(self, *script: Any) -> Outcome:
        return self.run(pos.settle(self.memory, LINE), *script)


def steps(host: ScriptedHost) -> list[tuple[str, str]]:
    return [(request.mti, request[60][8:11]) for request in host.asked]


def whole(request: Message) -> bool:
    return set(ADMIN_MANDATORY[request.mti, request[60][8:11]]) <= request.fields.keys()


def test_balanced() -> None:
    bench = Bench(3, 1)
    outcome = bench.settle()
    assert steps(bench.host) == [("0500", "201"), ("0320", "207"), ("0820", "002")]
    totals, end, _ = bench.host.asked
    assert len(totals[48]) == 62
    assert read_totals(totals[48]) == (Side(3003, 3, 10, 1), Side())
    assert (totals[49], totals[63], totals[60][:8]) == ("156", b"01 ", "00000001")
    assert read_48(end[48]) == EndCount(0)
    assert all(whole(request) for request in bench.host.asked)
    assert (outcome.state, outcome.reason, outcome.totals) == ("approved", "balanced", (3003, 3, 10, 1))
    memory = bench.memory
    assert (memory.batch, memory.items, len(memory.closed), memory.signed_in) == ("", [], 4, False)
    bench.host.batch = "000002"
    assert bench.run(pos.sale(memory, LINE, CARD, 1)).batch == "000002"


def test_an_empty_batch_can_be_settled() -> None:
    bench = Bench()
    assert bench.settle().reason == "balanced"
    assert read_totals(bench.host.asked[0][48]) == (Side(), Side())


@pytest.mark.parametrize("verdict", ["2", "3"])
def test_unbalanced_uploads_everything(verdict: str) -> None:
    bench = Bench(19, 2)
    void = bench.run(pos.sale_void(bench.memory, LINE, bench.memory.items[5])).item
    bench.run(pos.sale(bench.memory, LINE, CARD, 1), "51")
    assert void is not None
    bench.host.asked.clear()
    bench.host.balanced = verdict
    items = {item.stan: item for item in bench.memory.items}
    outcome = bench.settle()
    assert steps(bench.host) == [
        ("0500", "201"), *[("0320", "201")] * 3, *[("0320", "000")] * 2, ("0320", "202"), ("0820", "002"),
    ]  # fmt: skip
    assert all(whole(request) for request in bench.host.asked)
    details = [row for request in bench.host.asked[1:4] for row in read_details(request[48])]
    assert [len(read_details(request[48])) for request in bench.host.asked[1:4]] == [8, 8, 4]
    assert len({request[11] for request in bench.host.asked}) == 8
    assert all(row.pan == CARD.pan and row.amount_minor == items[row.stan].amount_minor for row in details)
    assert void.stan in {row.stan for row in details}
    for notice in bench.host.asked[4:6]:
        item = items[notice[11]]
        assert item.kind == "refund"
        assert (notice[2], int(notice[4]), notice[3], notice[60][:2]) == (CARD.pan, item.amount_minor, "200000", "25")
        assert not notice.fields.keys() & {35, 52, 64}
    assert read_48(bench.host.asked[6][48]) == EndCount(22)
    assert (outcome.state, outcome.reason) == ("approved", "unbalanced")
    assert not bench.memory.items


def test_a_pending_reversal_goes_first() -> None:
    bench = Bench(1)
    bench.run(pos.sale(bench.memory, LINE, CARD, 5), silence)
    bench.host.asked.clear()
    assert bench.settle().totals == (1000, 1, 0, 0)
    assert bench.host.mtis == ["0400", "0500", "0320", "0820"]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (silence, "unknown"),
        ("96", "declined"),
        (lambda request, fields: {de: fields[de] for de in fields if de != 48}, "unknown"),
        (lambda request, fields: fields | {48: "0" * 60}, "unknown"),
    ],
)
def test_totals_without_a_verdict_leave_the_batch_open(answer: Any, state: str) -> None:
    bench = Bench(1)
    outcome = bench.settle(answer)
    assert outcome.state == state
    assert bench.memory.settling is None
    assert bench.run(pos.sale(bench.memory, LINE, CARD, 1)).batch == "000001"


def test_a_frozen_batch_is_finished_before_anything_new() -> None:
    bench = Bench(9)
    bench.host.balanced = "2"
    outcome = bench.settle("00", "00", silence, "96", silence)
    assert (outcome.state, bench.memory.settling is not None) == ("unknown", True)
    uploads = bench.host.asked[2:]
    assert len({request[11] for request in uploads}) == 1
    blocked = bench.run(pos.sale(bench.memory, LINE, CARD, 1), silence, silence, silence)
    assert (blocked.state, blocked.reason) == ("unsent", "settlement")
    bench.host.asked.clear()
    bench.host.batch = "000002"
    assert bench.run(pos.sale(bench.memory, LINE, CARD, 1)).batch == "000002"
    assert steps(bench.host)[:3] == [("0320", "201"), ("0320", "202"), ("0820", "002")]
    assert bench.host.asked[0][11] == uploads[0][11]


def test_power_off_at_every_call_of_a_settlement() -> None:
    """Whatever call it is cut at, all details arrive, each message under one number, and the batch ends once."""
    calls = 0
    while True:
        for after in (False, True):
            bench = Bench(9, 1)
            bench.host.balanced = "2"
            cut = True
            try:
                run(pos.settle(bench.memory, LINE), cut_at(calls, bench.host, after), holder)
                cut = False
            except PowerOff:
                if bench.memory.batch:  # the totals are asked again, or the upload goes on
                    assert bench.settle().approved
            uploads = [request for request in bench.host.asked if request.mti == "0320"]
            stans = {row.stan for request in uploads if request[60][8:11] == "201" for row in read_details(request[48])}
            assert len(stans) == 9
            assert len({request[11] for request in uploads}) == 4
            assert (bench.memory.batch, len(bench.memory.closed), bench.memory.settling) == ("", 10, None)
        if not cut:
            break
        calls += 1
    assert calls == 6


def test_an_end_whose_answer_was_lost() -> None:
    """The host has closed the batch and says 77: the sign-in brings the new batch, and the old one is closed."""
    bench = Bench(2)
    bench.settle("00", silence, silence, silence)
    bench.host.batch = "000002"
    outcome = bench.settle("77")
    assert (outcome.state, outcome.reason) == ("approved", "closed by host")
    assert (bench.memory.batch, len(bench.memory.closed), bench.memory.signed_in) == ("000002", 2, True)
    bench.settle("00", silence, silence, silence)
    bench.memory.signed_in = False
    bench.host.batch = "000003"
    assert bench.settle().reason == "closed by host"


def test_a_host_that_forgot_the_sign_in_gets_the_rest_of_the_upload() -> None:
    bench = Bench(9)
    bench.host.balanced = "2"
    assert bench.settle("00", "00", "77").reason == "unbalanced"
    assert bench.host.mtis == ["0500", "0320", "0320", "0800", "0320", "0320", "0320", "0820"]
    assert len(read_details(bench.host.asked[4][48])) == 8


def test_a_host_that_always_forgets_is_given_up() -> None:
    bench = Bench(1)
    outcome = bench.settle("00", *["77", "00"] * 5)
    assert (outcome.state, outcome.response_code) == ("unknown", "77")
    assert bench.host.mtis == ["0500", *["0320", "0800"] * 3]
    assert bench.memory.settling is not None


def test_a_full_batch_is_settled_before_the_next_item() -> None:
    bench = Bench()
    memory = bench.memory
    for n in range(BATCH_ITEMS_MAX - 1):
        memory.items.append(Item("sale", "000001", f"{n + 1:06d}", 1, "021", CARD.pan, CARD.expiry, state="approved"))
    memory.stan = BATCH_ITEMS_MAX
    bench.host.batch = "000002"
    outcome = bench.run(pos.sale(memory, LINE, CARD, 1))
    assert (outcome.approved, outcome.batch) == (True, "000002")
    assert bench.host.mtis == ["0500", "0320", "0820", "0800", "0200"]
    assert read_totals(bench.host.asked[0][48])[0].debit_count == BATCH_ITEMS_MAX - 1
    assert len(memory.closed) == BATCH_ITEMS_MAX - 1


def test_declined_items_fill_no_batch() -> None:
    bench = Bench()
    for n in range(BATCH_ITEMS_MAX):
        bench.memory.items.append(Item("sale", "000001", f"{n:06d}", 1, "021", CARD.pan, "3612", state="declined"))
    assert not bench.memory.batch_full
    assert bench.run(pos.sale(bench.memory, LINE, CARD, 1)).batch == "000001"


def test_a_full_batch_that_cannot_be_settled_takes_no_more() -> None:
    bench = Bench()
    for n in range(BATCH_ITEMS_MAX - 1):
        bench.memory.items.append(Item("sale", "000001", f"{n:06d}", 1, "021", CARD.pan, "3612", state="approved"))
    outcome = bench.run(pos.sale(bench.memory, LINE, CARD, 1), "96")
    assert (outcome.state, outcome.reason, outcome.response_code) == ("unsent", "settlement", "96")
