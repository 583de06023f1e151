"""What terminals take back, refunds that must arrive, and the change of day."""

from typing import Any

import pytest
from engine_requests import CODEC, ask, authentic, fields_of, item, reversal_of, seal, signed_in
from house import House
from test_engine_doubt import at_rest, house_with, states

from switch.engine.reverse import UNKNOWN_REVERSALS_MAX
from switch.issuer.rules import RuleBook, read_rules
from switch.machine import Send
from switch.wire.private_network import read_90, read_original_amount
from terminals.device import pos


@pytest.fixture
def house() -> House:
    made = House()
    signed_in(made)
    return made


def reverse(house: House, one: Any, amount: int | None = None) -> str:
    memory = house.memories[0]
    fields = reversal_of(house, memory, one)
    if amount is not None:
        fields[4] = f"{amount:012d}"
    reply = ask(house, memory, "0400", fields)
    assert reply.mti == "0410"
    assert (64 in reply.fields) == (reply.fields[39] == "00")
    if 64 in reply.fields:
        assert authentic(memory, reply)
    return str(reply.fields[39])


def test_of_an_approval(house: House) -> None:
    memory = house.memories[0]
    one = item(house, memory, "sale", issuer=1)
    assert ask(house, memory, "0200", fields_of(house, memory, one)).fields[39] == "00"
    assert house.engine.office.books.totals(memory.tid, memory.batch) == (1000, 1, 0, 0)
    since = len(house.effects)
    assert reverse(house, one) == "00"
    assert states(house) == ["sent", "answered", "reversal_queued", "reversal_acked"]
    queued = house.of("journal")[2]
    assert queued["reason"] == "terminal 98"
    assert house.engine.office.books.totals(memory.tid, memory.batch) == (0, 0, 0, 0)
    sends = [e for n, e in house.effects[since:] if n == "switch" and isinstance(e, Send)]
    assert [send.after for send in sends] == [queued["number"]] * 2, "neither leaves before it is remembered"
    reversal = house.said("cups")[-1]
    assert reversal.fields[60][:4] == "4351", "the terminal wanted it"
    assert reversal.fields[38] == house.of("journal")[1]["auth_code"]
    assert house.ledgers["cups"][-1][17:20] == ("156", -1000, 0)
    at_rest(house, reversed_=1)


@pytest.mark.parametrize("posted", [False, True])
def test_while_the_request_is_on_its_way(posted: bool) -> None:
    action = "silence_after_posting" if posted else "silence"
    house = house_with({"action": action, "kind": "sale"})
    memory = house.memories[0]
    one = item(house, memory, "sale", issuer=1)
    first = house.link()
    house.deliver(first, seal(house, memory, "0200", fields_of(house, memory, one)))
    assert house.engine.status()["inflight"] == 1
    assert reverse(house, one) == "00"
    assert house.engine.status()["inflight"] == 0
    house.pass_time(60)
    assert house.reply_on(first) is None, "the first connection is told nothing more"
    assert states(house) == ["sent", "reversal_queued", "reversal_acked"]
    at_rest(house, reversed_=1)


def test_that_overtakes_the_answer() -> None:
    house = house_with({"action": "delay", "kind": "sale", "delay_s": 5})
    memory = house.memories[0]
    one = item(house, memory, "sale", issuer=1)
    house.deliver(house.link(), seal(house, memory, "0200", fields_of(house, memory, one)))
    assert reverse(house, one) == "00"
    house.pass_time(6)
    assert states(house) == ["sent", "reversal_queued", "reversal_acked", "late"]
    assert "0210" not in [message.mti for message in house.said("")]
    at_rest(house, reversed_=1)


def test_of_a_refusal(house: House) -> None:
    memory = house.memories[0]
    one = item(house, memory, "sale", amount=99_999_999_999, issuer=1)
    assert ask(house, memory, "0200", fields_of(house, memory, one)).fields[39] == "51"
    assert reverse(house, one) == "00"
    assert states(house) == ["sent", "answered"], "nothing to take back"
    at_rest(house, reversed_=0)


def test_of_something_never_heard_of(house: House) -> None:
    """It is answered 00, and the original, should it come after all, is refused."""
    memory = house.memories[0]
    one = item(house, memory, "sale", issuer=1)
    assert [reverse(house, one), reverse(house, one)] == ["00", "00"]
    assert house.engine.status()["unknown_reversals"] == 2
    assert ask(house, memory, "0200", fields_of(house, memory, one)).fields[39] == "12"
    assert states(house) == ["refused"]
    assert reverse(house, one) == "00"
    assert house.ledgers["cups"] == []
    at_rest(house, reversed_=0)


def test_unknown_reversals_do_not_pile_up(house: House) -> None:
    unknown = house.engine.office.books.unknown_reversals
    unknown.update({("T", "B", str(n)): None for n in range(UNKNOWN_REVERSALS_MAX)})
    one = item(house, house.memories[0], "sale")
    assert reverse(house, one) == "00"
    assert len(unknown) == UNKNOWN_REVERSALS_MAX
    assert ("T", "B", "0") not in unknown
    assert next(reversed(unknown))[2] == one.stan


def test_of_another_amount(house: House) -> None:
    memory = house.memories[0]
    one = item(house, memory, "sale", issuer=1)
    ask(house, memory, "0200", fields_of(house, memory, one))
    assert reverse(house, one, amount=999) == "64"
    assert states(house) == ["sent", "answered"]
    assert reverse(house, one) == "00"


@pytest.mark.parametrize("kind", ["preauth", "completion", "sale_void", "preauth_void", "completion_void"])
def test_of_each_kind(house: House, kind: str) -> None:
    """What it undid stands again; what it had used up is free again."""
    memory = house.memories[0]
    card = house.card(1)
    first = "sale" if kind == "sale_void" else "preauth"
    chain = [first] if kind != "preauth" else []
    if kind == "completion_void":
        chain.append("completion")
    original = None
    for name in chain:
        original = house.run(pos.transact(memory, house.line, name, card, 1000, original)).item
    one = house.run(pos.transact(memory, house.line, kind, card, 1000, original)).item
    assert one.state == "approved"
    books = house.engine.office.books
    exchange = books.by_rrn[one.rrn]
    if exchange.original is not None:
        assert exchange.original.undone
    assert reverse(house, one) == "00"
    if exchange.original is not None:
        assert not exchange.original.undone
    if kind == "completion_void":
        assert exchange.original.original.undone, "the completion stands, so its hold is used up"
    one.reversal, one.state = "done", "unknown"
    if one.source is not None:
        again = house.run(pos.transact(memory, house.line, kind, card, 1000, original))
        assert again.approved, "as if the first had never been"
    at_rest(house, reversed_=1)


def test_of_what_was_undone_or_is_never_reversed(house: House) -> None:
    memory = house.memories[0]
    sale = house.run(pos.sale(memory, house.line, house.card(1), 1000)).item
    other = house.run(pos.sale(memory, house.line, house.card(1), 1000)).item
    refund = house.run(pos.refund(memory, house.line, other, None, 300)).item
    assert house.run(pos.sale_void(memory, house.line, sale)).approved
    before = len(house.of("journal"))
    assert reverse(house, sale) == "12"
    assert reverse(house, refund) == "12"
    assert len(house.of("journal")) == before
    at_rest(house, reversed_=0)


# refunds


def refund_in_doubt(house: House) -> tuple[Any, Any]:
    memory = house.memories[0]
    sale = house.run(pos.sale(memory, house.line, house.card(1), 1000)).item
    return sale, house.run(pos.refund(memory, house.line, sale, None, 400))


@pytest.mark.parametrize("action", ["silence", "silence_after_posting"])
def test_a_refund_that_is_not_answered_is_stored_and_delivered(action: str) -> None:
    house = house_with({"action": action, "kind": "refund", "every": 1})
    memory = house.memories[0]
    sale, outcome = refund_in_doubt(house)
    assert outcome.response_code == "00", "accepted on the other side's behalf"
    assert states(house, outcome.rrn) == ["sent", "stored"]
    assert house.engine.office.books.totals(memory.tid, memory.batch) == (1000, 1, 400, 1)
    assert house.engine.office.books.by_rrn[sale.rrn].refunded == 400
    house.centres["cups"].rules.rules = ()
    house.pass_time(60)
    assert states(house, outcome.rrn) == ["sent", "stored", "delivered"]
    row = house.of("journal")[-1]
    assert (row["response_code"], row["settlement_date"], row["reason"]) == ("00", "1028", "00")
    tries = [message.fields for message in house.said("cups") if message.mti == "0220"]
    assert len(tries) == 3
    for fields in tries:
        assert (fields[7], fields[11], fields[37]) == (row["net_time"], row["net_stan"], row["rrn"])
        assert read_original_amount(fields[48]) == 1000
        assert read_90(fields[90]).stan == house.of("journal")[0]["net_stan"]
        assert fields[38] == sale.auth_code
    at_rest(house, reversed_=0)


def test_a_refund_without_a_line_is_stored() -> None:
    house = house_with()
    memory = house.memories[0]
    sale = house.run(pos.sale(memory, house.line, house.card(1), 1000)).item
    house.disconnect("cups")
    outcome = house.run(pos.refund(memory, house.line, sale, None, 400))
    assert outcome.response_code == "00"
    assert states(house, outcome.rrn) == ["stored"]
    house.pass_time(300)
    house.connect("cups")
    assert states(house, outcome.rrn) == ["stored", "delivered"]
    at_rest(house)


def test_a_stored_refund_that_is_refused_is_settled_by_hand() -> None:
    house = house_with({"action": "silence", "kind": "refund"})
    _, outcome = refund_in_doubt(house)
    for code, state in (("91", "stored"), ("61", "suspicious")):
        house.centres["cups"].rules = RuleBook(read_rules([{"action": "code", "kind": "refund", "code": code}]))
        house.pass_time(150)
        assert states(house, outcome.rrn)[-1] == state
    at_rest(house, suspicious=1)
    assert house.books().suspicious[0].cause == "advice refused: 61"


# the change of day


def test_a_reversal_of_yesterday(house: House) -> None:
    memory = house.memories[0]
    one = item(house, memory, "sale", issuer=1)
    ask(house, memory, "0200", fields_of(house, memory, one))
    since = len(house.effects)
    house._do("cups", lambda machine, now, out: machine.cutover("1029", 4.0, now, out))
    house.pass_time(6)
    assert [(row["link"], row["event"], row["settlement_date"]) for row in house.of("day")] == [
        ("cups", "201", "1029"), ("cups", "202", "1029"),
    ]  # fmt: skip
    assert [m.fields[70] for m in house.said("cups", since)] == ["201", "202"]
    assert reverse(house, one) == "25"
    assert states(house) == ["sent", "answered", "suspicious"]
    assert reverse(house, one) == "25", "the first answer again"
    assert len(states(house)) == 3
    assert house.ledgers["cups"][-1][5] == "0200", "the other side is not bothered"
    assert house.engine.office.books.totals(memory.tid, memory.batch) == (0, 0, 0, 0)
    at_rest(house, reversed_=0, suspicious=1)


def test_while_the_day_changes_the_issuer_decides(house: House) -> None:
    """Its issuer may not have turned yet: then there is nothing to be settled by hand."""
    memory = house.memories[0]
    ones = [item(house, memory, "sale", issuer=issuer) for issuer in (1, 4)]
    for one in ones:
        ask(house, memory, "0200", fields_of(house, memory, one))
    house._do("cups", lambda machine, now, out: machine.cutover("1029", 100.0, now, out))
    house.pass_time(50)
    answers = [reverse(house, one) for one in ones]
    assert answers == ["00", "00"]
    rrns = [row["rrn"] for row in house.of("journal") if row["state"] == "sent"]
    ends = [states(house, rrn)[-1] for rrn in rrns]
    assert sorted(ends) == ["reversal_acked", "suspicious"]
    assert [reverse(house, one) for one in ones] == ["00", "00"], "the first answer again"
    house.restart_switch()
    assert [reverse(house, one) for one in ones] == ["00", "00"], "after a restart as well"
    house.pass_time(60)
    at_rest(house, suspicious=1)


def test_settlement_dates_come_from_the_answers(house: House) -> None:
    memory = house.memories[0]
    house._do("cups", lambda machine, now, out: machine.cutover("1029", 100.0, now, out))
    house.pass_time(50)
    dates = set()
    for issuer in (1, 2, 3, 4):
        for _ in range(2):
            outcome = house.run(pos.sale(memory, house.line, house.card(issuer), 100))
            assert outcome.response_code in ("00", "90")
            dates.add(outcome.item.settlement_date)
    assert dates == {"1028", "1029"}
    assert {row["settlement_date"] for row in house.of("journal") if row["state"] == "answered"} == dates
    house.pass_time(60)
    at_rest(house)
    assert {date for date, _ in house.books().totals} == dates


def test_a_body_of_an_unknown_reversal_is_read(house: House) -> None:
    memory = house.memories[0]
    body = seal(house, memory, "0400", reversal_of(house, memory, item(house, memory, "preauth")))
    reply = house.ask(body)
    assert reply is not None
    fields = CODEC.decode(reply).fields
    assert fields[39] == "00"
    assert 37 not in fields, "there is no reference to give"
