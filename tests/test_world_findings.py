"""What seeds of the simulated world have found, each as the shortest dialogue that shows it."""

from typing import Any

from house import House

from switch.machine import Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK, POS
from terminals.device import pos
from terminals.device.dialogue import reversal_fields, sealed
from terminals.device.memory import Item, Totals

NET, TERMINAL = codec_of(NETWORK), codec_of(POS)


def sold(house: House, issuer: int = 1) -> Item:
    outcome = house.run(pos.sale(house.memories[0], house.line, house.card(issuer), 12_345))
    assert outcome.approved
    item: Item = outcome.item
    return item


def test_what_was_reversed_is_not_in_the_totals() -> None:
    house = House(terminals=1)
    memory = house.memories[0]
    item = sold(house)
    assert memory.totals() == Totals(12_345, 1, 0, 0)
    item.reversal = "done"  # a machine's withdrawal of which nothing came out: approved, and taken back
    assert memory.totals() == Totals(0, 0, 0, 0)
    assert not item.counts


def test_a_reversal_said_again_waits_for_the_row_of_the_first() -> None:
    house = House(terminals=1)
    item = sold(house)
    memory = house.memories[0]
    body = sealed(memory, house.line, "0400", reversal_fields(memory, house.line, item, "98"))
    out: list[Any] = []
    for _ in range(2):  # both before anything of it is durable
        house.engine.receive(house.link(), _frame(house, body), house.now, out)
    answers = [one for one in out if isinstance(one, Send) and not one.link.name]
    assert [TERMINAL.decode(one.body).fields[39] for one in answers] == ["00", "00"]
    assert answers[0].after == answers[1].after == len(house.rows) + 1


def _frame(house: House, body: bytes) -> Any:
    from switch.wire.framing import Frame

    return Frame(house.line.tpdu, house.line.header, body)


def test_an_advice_said_again_waits_for_the_row_of_its_answer() -> None:
    house = House(terminals=1)
    memory = house.memories[0]
    house.run(pos.sign_in(memory, house.line))
    bodies: list[bytes] = []
    ask = house.ask

    def listening(body: bytes, patience_s: float = 40.0) -> bytes | None:
        bodies.append(body)
        return ask(body, patience_s)

    house.ask = listening  # type: ignore[method-assign]
    outcome = house.run(pos.offline_sale(memory, house.line, house.card(1), 500, "810042"))
    assert outcome.approved
    out: list[Any] = []
    house.engine.receive(house.link(), _frame(house, bodies[-1]), house.now, out)
    (answer,) = [one for one in out if isinstance(one, Send)]
    assert TERMINAL.decode(answer.body).fields[39] == "00"
    assert answer.after == len(house.rows) > 0


def test_keys_that_differ_after_a_lost_acknowledgement_are_made_anew() -> None:
    house = House(terminals=1)
    sold(house)
    lost: list[str] = []

    def lose(name: str, send: Send) -> Send | None:
        if name == "switch" and send.link.name == "cups" and NET.peek(send.body, ())[0] == "0810":
            lost.append("0810")
            return None
        return send

    house.meddle = lose
    house._do("cups", lambda machine, now, out: machine.reset_keys(now, out))
    house.pass_time(61)  # the centre gives its offer up: both sides now have another MAC key
    house.meddle = lambda name, send: send
    assert lost
    refused = house.run(pos.sale(house.memories[0], house.line, house.card(1), 500))
    assert refused.response_code == "98", "their A0 comes under their key, which is not ours: no answer"
    assert house.engine.office.counterparts["cups"].keys_doubted_at > 1000.0
    assert house.run(pos.sale(house.memories[0], house.line, house.card(1), 500)).approved


def test_a_line_is_ready_only_with_keys_of_its_own() -> None:
    house = House(terminals=1)
    sold(house)
    house.disconnect("cups")
    house.meddle = lambda name, send: None if name == "cups" and NET.peek(send.body, ())[0] == "0800" else send
    house.connect("cups")
    counterpart = house.engine.office.counterparts["cups"]
    assert counterpart.signed_on
    assert not counterpart.ready, "the keys of the line before may mean nothing to the other side"
    house.meddle = lambda name, send: send
    house.pass_time(61)  # the line's test signs on again, and asks again
    assert counterpart.ready
    sold(house)


def test_a_change_of_day_missed_by_a_line_that_was_down_is_told_at_the_next_sign_on() -> None:
    house = House(terminals=1)
    sold(house)
    house.disconnect("cups")
    house._do("cups", lambda machine, now, out: machine.cutover("1029", 5.0, now, out))
    house.pass_time(10)
    counterpart = house.engine.office.counterparts["cups"]
    assert counterpart.settlement_date == ""
    house.connect("cups")
    assert (counterpart.settlement_date, counterpart.cutting_over) == ("1029", False)
    rows = len(house.of("day"))
    house.disconnect("cups")
    house.connect("cups")
    assert len(house.of("day")) == rows == 1, "told again, written once"
    item = sold(house)
    assert item.settlement_date == "1029"


def test_what_goes_out_with_a_new_line_is_not_said_again_at_once() -> None:
    house = House(terminals=1, rules=[{"action": "silence", "kind": "reversal"}])
    item = sold(house)
    memory = house.memories[0]
    body = sealed(memory, house.line, "0400", reversal_fields(memory, house.line, item, "98"))
    house.deliver(house.link(), body)  # its first repeat is due in 60 s
    house.pass_time(55)
    house.disconnect("cups")
    house.connect("cups")
    mark = len(house.effects)

    def reversals() -> int:
        return [message.mti for message in house.said("cups", mark)].count("0420")

    before = reversals()
    house.pass_time(50)
    assert reversals() == before
    house.pass_time(80)
    assert reversals() == before + 1
