"""What nobody should send: each gets the answer the field expects, moves nothing, and costs no other terminal."""

from collections.abc import Iterator
from typing import Any

import pytest
from engine_requests import (
    CODEC,
    ask,
    authentic,
    fields_of,
    item,
    of_suite,
    pays,
    reversal_of,
    seal,
    signed_in,
    without,
)
from house import House

from switch.engine.route import Routes
from switch.machine import Close
from switch.wire.private_pos import Side, Totals, read_totals, write_totals
from switch.wire.profile import ProfileError, load_profile
from switch.wire.transactions import ADMIN_MANDATORY, REVERSAL_MANDATORY, ROWS
from terminals.device import pos
from terminals.device.memory import Memory


@pytest.fixture
def house() -> Iterator[House]:
    """A house whose terminals have signed in; whatever a test did, another terminal sells and the books agree."""
    made = House()
    signed_in(made)
    yield made
    assert pays(made, made.memories[-1])
    made.pass_time(5)
    assert made.books().breaks == []
    assert all(centre.check() for centre in made.centres.values())


@pytest.fixture
def memory(house: House) -> Memory:
    return house.memories[0]


def moved(house: House) -> int:
    """Rows of the two books so far: nothing that is refused at the door adds one."""
    return len(house.of("journal")) + sum(map(len, house.ledgers.values()))


FINANCIAL = [(row.name, de) for row in ROWS if not row.chip for de in row.mandatory]


@pytest.mark.parametrize(("kind", "de"), FINANCIAL, ids=[f"{kind}-DE{de}" for kind, de in FINANCIAL])
def test_a_mandatory_field_is_absent(house: House, memory: Memory, kind: str, de: int) -> None:
    one = item(house, memory, kind)
    fields = fields_of(house, memory, one)
    assert de in fields, "the terminal itself sends it"
    before = moved(house)
    reply = ask(house, memory, one.row.mti, without(fields, de))
    assert reply.mti == one.row.mti[:2] + str(int(one.row.mti[2]) + 1) + "0"
    assert reply.fields[39] == "30"
    assert reply.fields.get(11) == (one.stan if de != 11 else None)
    assert moved(house) == before


@pytest.mark.parametrize("de", REVERSAL_MANDATORY)
def test_a_reversal_lacks_a_mandatory_field(house: House, memory: Memory, de: int) -> None:
    fields = reversal_of(house, memory, item(house, memory, "sale"))
    reply = ask(house, memory, "0400", without(fields, de))
    assert (reply.mti, reply.fields[39]) == ("0410", "30")
    assert house.engine.status()["unknown_reversals"] == 0


ADMIN = [(mti, code, de) for (mti, code), mandatory in ADMIN_MANDATORY.items() for de in mandatory]


@pytest.mark.parametrize(("mti", "code", "de"), ADMIN, ids=[f"{mti}-{code}-DE{de}" for mti, code, de in ADMIN])
def test_a_message_without_money_lacks_a_mandatory_field(
    house: House, memory: Memory, mti: str, code: str, de: int
) -> None:
    fields: dict[int, Any] = {
        3: "200000", 4: "000000000100", 11: memory.next_stan(), 22: "012", 25: "00", 41: memory.tid, 42: memory.mid,
        48: write_totals(Totals(Side())) if mti == "0500" else "0000", 49: "156", 60: "00" + memory.batch + code,
        62: b"01" + b"1", 63: b"01 ",
    }  # fmt: skip
    rows = len(house.rows)
    reply = ask(house, memory, mti, without(fields, de))
    assert reply.fields[39] == "30"
    assert len(house.rows) == rows


@pytest.mark.parametrize("kind", [row.name for row in ROWS if not row.chip])
def test_no_card_at_all(house: House, memory: Memory, kind: str) -> None:
    one = item(house, memory, kind)
    assert ask(house, memory, one.row.mti, without(fields_of(house, memory, one), 2)).fields[39] == "30"


@pytest.mark.parametrize("mti", ["0200", "0220", "0100", "0400"])
def test_a_wrong_mac(house: House, memory: Memory, mti: str) -> None:
    one = item(house, memory, {"0100": "preauth", "0220": "refund"}.get(mti, "sale"))
    fields = reversal_of(house, memory, one) if mti == "0400" else fields_of(house, memory, one)
    body = seal(house, memory, mti, fields)
    before = moved(house)
    for at in (30, len(body) - 1):  # something covered by the MAC, and the MAC itself
        spoilt = body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :]
        reply = house.ask(spoilt)
        assert reply is not None
        answer = CODEC.decode(reply)
        assert answer.fields[39] == "A0"
        assert 64 not in answer.fields
    assert moved(house) == before
    assert house.engine.status()["mac_failures"] == 2


def test_a_terminal_that_has_not_signed_in(house: House, memory: Memory) -> None:
    fields = fields_of(house, memory, item(house, memory, "sale"))
    assert house.run(pos.sign_off(memory, house.line)).approved
    assert ask(house, memory, "0200", fields).fields[39] == "77"


@pytest.mark.parametrize("mti", ["0200", "0400", "0500", "0320", "0800", "0820"])
@pytest.mark.parametrize(("de", "value", "code"), [(41, "99999999", "97"), (42, "999999999999999", "03")])
def test_nobody_knows_this_terminal_or_merchant(
    house: House, memory: Memory, mti: str, de: int, value: str, code: str
) -> None:
    before = moved(house)
    fields = {**fields_of(house, memory, item(house, memory, "sale")), 39: "98", de: value}
    assert ask(house, memory, mti, fields).fields[39] == code
    assert moved(house) == before


def test_another_merchants_terminal(house: House, memory: Memory) -> None:
    other = next(m for m in house.memories if m.mid != memory.mid)
    fields = {**fields_of(house, memory, item(house, memory, "sale")), 42: other.mid}
    assert ask(house, memory, "0200", fields).fields[39] == "03"


def test_a_closed_terminal(house: House, memory: Memory) -> None:
    house.engine.office.books.terminals[memory.tid].status = "closed"
    assert ask(house, memory, "0200", fields_of(house, memory, item(house, memory, "sale"))).fields[39] == "97"


def test_a_bin_that_nobody_issues(house: House, memory: Memory) -> None:
    fields = {**fields_of(house, memory, item(house, memory, "sale")), 2: "9999990000000000009"}
    assert ask(house, memory, "0200", fields).fields[39] == "15"
    assert [row["state"] for row in house.of("journal")] == ["sent", "answered"], "the network knows no such issuer"
    office = house.engine.office
    before, office.routes = office.routes, Routes({"621214": "core"})
    assert ask(house, memory, "0200", fields | {11: memory.next_stan()}).fields[39] == "15"
    assert house.of("journal")[-1]["state"] == "refused", "no route at all: it does not leave"
    office.routes = before


@pytest.mark.parametrize("pan", ["621214000003", "6" * 12])
def test_a_card_number_that_is_none(house: House, memory: Memory, pan: str) -> None:
    fields = {**fields_of(house, memory, item(house, memory, "sale")), 2: pan}
    assert ask(house, memory, "0200", fields).fields[39] == "14"
    assert [row["state"] for row in house.of("journal")] == ["refused"]


@pytest.mark.parametrize(("batch", "code"), [("000099", "77"), ("000000", "77"), ("0000", "30"), ("", "30")])
def test_another_batch(house: House, memory: Memory, batch: str, code: str) -> None:
    tail = "00020" if len(batch) == 6 else ""
    before = moved(house)
    fields = {**fields_of(house, memory, item(house, memory, "sale")), 60: "22" + batch + tail}
    assert ask(house, memory, "0200", fields).fields[39] == code
    assert moved(house) == before


def test_a_reversal_that_names_no_batch(house: House, memory: Memory) -> None:
    fields = {**reversal_of(house, memory, item(house, memory, "sale")), 60: "2200"}
    assert ask(house, memory, "0400", fields).fields[39] == "30"


def test_a_stan_used_again(house: House, memory: Memory) -> None:
    one = item(house, memory, "sale")
    fields = fields_of(house, memory, one)
    first = ask(house, memory, "0200", fields)
    assert first.fields[39] == "00"
    ledger = len(house.ledgers["core"])
    for again in (fields, {**fields, 4: "000000000999"}):
        assert ask(house, memory, "0200", again).fields[39] == "94"
    assert [row["state"] for row in house.of("journal")] == ["sent", "answered"]
    assert len(house.ledgers["core"]) == ledger
    memory.stan -= 1  # a clumsy terminal: it made the sale above under its own hand
    house.run(pos.sale(memory, house.line, house.card(), 1000))
    memory.items[-1].state, memory.items[-1].rrn = "approved", first.fields[37]
    memory.items[-1].auth_code, memory.items[-1].entry_mode = first.fields[38], "012"


def test_a_stan_used_again_while_the_first_is_on_its_way(house: House, memory: Memory) -> None:
    held: list[Any] = []
    house.meddle = lambda name, send: held.append(send) if name == "core" else send
    fields = fields_of(house, memory, item(house, memory, "sale"))
    body = seal(house, memory, "0200", fields)
    link = house.link()
    house.deliver(link, body)
    assert ask(house, memory, "0200", fields).fields[39] == "94"
    assert house.reply_on(link) is None
    house.meddle = lambda name, send: send
    house._carry("core", held[0])
    reply = house.reply_on(link)
    assert reply is not None
    assert CODEC.decode(reply).fields[39] == "00"
    reversal = reversal_of(house, memory, item(house, memory, "sale", stan=fields[11]))
    assert ask(house, memory, "0400", reversal).fields[39] == "00"


def test_a_refund_repeated_gets_its_first_answer_again(house: House, memory: Memory) -> None:
    sale = house.run(pos.sale(memory, house.line, house.card(), 1000))
    refund = house.run(pos.refund(memory, house.line, sale.item, None, 400))
    assert refund.approved
    made = memory.items[-1]
    fields = {**fields_of(house, memory, made)}
    ledger = len(house.ledgers["core"])
    reply = ask(house, memory, "0220", fields)
    assert (reply.mti, reply.fields[39]) == ("0230", "00")
    assert (reply.fields[37], reply.fields[38]) == (refund.rrn, refund.auth_code)
    assert authentic(memory, reply)
    assert ask(house, memory, "0220", {**fields, 4: "000000000401"}).fields[39] == "94"
    assert ask(house, memory, "0220", {**fields, 2: house.card(0, 1).pan}).fields[39] == "94"
    assert len(house.ledgers["core"]) == ledger


def test_a_reversal_repeated_gets_its_first_answer_again(house: House, memory: Memory) -> None:
    one = item(house, memory, "sale")
    assert ask(house, memory, "0200", fields_of(house, memory, one)).fields[39] == "00"
    fields = reversal_of(house, memory, one)
    replies = [ask(house, memory, "0400", fields) for _ in range(3)]
    assert {(r.mti, r.fields[39], r.fields[37], r.fields[11]) for r in replies} == {
        ("0410", "00", house.of("journal")[0]["rrn"], one.stan)
    }
    assert all(authentic(memory, reply) for reply in replies)
    assert [row["state"] for row in house.of("journal")] == ["sent", "answered", "reversal_queued", "reversal_acked"]


def test_settlement_of_an_empty_batch(house: House, memory: Memory) -> None:
    batch = memory.batch
    outcome = house.run(pos.settle(memory, house.line))
    assert (outcome.state, outcome.reason) == ("approved", "balanced")
    rows = house.of("settlement")
    assert [(row["event"], row["result"]) for row in rows] == [("totals", "1"), ("end", "207")]
    assert all(not row[name] for row in rows for name in ("debit_count", "host_debit_count", "host_credit_minor"))
    assert house.run(pos.sign_in(memory, house.line)).batch == f"{int(batch) + 1:06d}"
    assert pays(house, memory)


@pytest.mark.parametrize(("mti", "de48"), [("0500", "123"), ("0320", "0912345678"), ("0320", "")])
def test_totals_or_details_that_cannot_be_read(house: House, memory: Memory, mti: str, de48: str) -> None:
    fields = {11: memory.next_stan(), 41: memory.tid, 42: memory.mid, 48: de48, 49: "156", 63: b"01 "}
    reply = ask(house, memory, mti, {**fields, 60: "00" + memory.batch + "201"})
    assert reply.fields[39] == "30"
    assert house.of("settlement") == house.of("upload") == []


def test_totals_that_are_wrong_get_ours(house: House, memory: Memory) -> None:
    assert pays(house, memory)
    fields = {
        11: memory.next_stan(), 41: memory.tid, 42: memory.mid, 48: write_totals(Totals(Side(499, 1))), 49: "156",
        60: "00" + memory.batch + "201", 63: b"01 ",
    }  # fmt: skip
    reply = ask(house, memory, "0500", fields)
    domestic, foreign = read_totals(reply.fields[48])
    assert reply.fields[39] == "00"
    assert (domestic.debit_minor, domestic.debit_count, domestic.result, foreign.result) == (500, 1, 2, 1)


def test_nothing_for_nought(house: House, memory: Memory) -> None:
    assert ask(house, memory, "0200", fields_of(house, memory, item(house, memory, "sale", 0))).fields[39] == "13"


@pytest.mark.parametrize("mti", ["0900", "0600", "0420", "0700", "1200"])
def test_a_class_of_message_that_is_not_served(house: House, memory: Memory, mti: str) -> None:
    reply = ask(house, memory, mti, fields_of(house, memory, item(house, memory, "sale")))
    assert (reply.mti[2], reply.fields[39]) == (str(int(mti[2]) + 1), "12")


@pytest.mark.parametrize("mti", ["0210", "0810", "0230"])
def test_an_answer_is_not_answered(house: House, memory: Memory, mti: str) -> None:
    fields = fields_of(house, memory, item(house, memory, "sale"))
    assert house.ask(seal(house, memory, mti, fields), patience_s=1) is None
    assert house.closed == []


@pytest.mark.parametrize("changes", [{3: "999999"}, {25: "99"}, {60: "99000001"}, {3: "010000"}])
def test_a_transaction_that_is_not_in_the_matrix(house: House, memory: Memory, changes: dict[int, str]) -> None:
    fields = fields_of(house, memory, item(house, memory, "sale")) | changes
    assert ask(house, memory, "0200", fields).fields[39] == "12"


@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_a_pin_that_is_none(house: House, suite: str) -> None:
    memory = of_suite(house, suite)
    card = house.card()
    with_pin = house.run(pos.sale(memory, house.line, card, 700))
    assert with_pin.approved
    rows = len(house.of("journal"))
    fields = {**fields_of(house, memory, item(house, memory, "sale")), 22: "011", 26: "12"}
    protection = house.line.protection(suite)
    # a block with nothing to say how it is made; one of another size or under another key
    assert ask(house, memory, "0200", {**fields, 52: bytes(8)}).fields[39] == "30"
    assert len(house.of("journal")) == rows
    spoilt = {**fields, 11: memory.next_stan(), 52: b"\x01" * 8, 53: protection.with_pin}
    if suite == "sm4":
        spoilt[63] = b"SM016" + b"\x01" * 16
    assert ask(house, memory, "0200", spoilt).fields[39] == "99"
    assert house.of("journal")[-1]["state"] == "refused"


def test_a_body_that_breaks_off(house: House, memory: Memory) -> None:
    fields = fields_of(house, memory, item(house, memory, "sale"))
    body = seal(house, memory, "0200", fields)
    answers = []
    for size in range(len(body)):
        closed = len(house.closed)
        reply = house.ask(body[:size], patience_s=0)
        if reply is None:
            assert size < 2, "the MTI can be read"
            assert len(house.closed) == closed + 1
        else:
            message = CODEC.decode(reply)
            assert (message.mti, message.fields[39]) == ("0210", "30")
            answers.append(message.fields.get(11))
    assert answers[0] is None
    assert answers[-1] == fields[11]
    assert house.of("journal") == []


def test_a_body_with_bytes_left_over(house: House, memory: Memory) -> None:
    body = seal(house, memory, "0200", fields_of(house, memory, item(house, memory, "sale")))
    reply = house.ask(body + b"\x00")
    assert reply is not None
    assert CODEC.decode(reply).fields[39] == "30"


def test_no_body(house: House) -> None:
    assert house.ask(b"", patience_s=0) is None
    assert isinstance(house.effects[-1][1], Close)


def test_a_profile_with_an_unknown_key(tmp_path: Any, house: House) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "unionpay-pos"\n[framing]\nlenght = "bin2"\n')
    with pytest.raises(ProfileError) as error:
        load_profile(str(file))
    text = str(error.value)
    assert "\n" not in text
    assert "lenght" in text
    assert "framing" in text
    assert "mine.toml" in text
