"""No answer, a wrong one, a late one: what may have happened is taken back, and the books agree once all is at rest."""

from collections.abc import Callable
from typing import Any

import pytest
from engine_requests import CODEC, ask, fields_of, item, reversal_of, seal, signed_in
from house import House

from switch.machine import Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.message import Message
from switch.wire.private_network import read_90
from terminals.device import pos
from terminals.device.dialogue import Outcome

NET = codec_of(NETWORK)
PATIENCE_S = 30.0


def house_with(*rules: dict[str, Any]) -> House:
    house = House(rules=list(rules))
    signed_in(house)
    return house


def sell(house: House, amount: int = 1000, issuer: int = 1) -> Outcome:
    outcome: Outcome = house.run(pos.sale(house.memories[0], house.line, house.card(issuer), amount))
    return outcome


def states(house: House, rrn: str = "") -> list[str]:
    rows = [row for row in house.of("journal") if not rrn or row["rrn"] == rrn]
    return [row["state"] for row in rows]


def at_rest(house: House, *, reversed_: int | None = None, suspicious: int = 0) -> None:
    """Terminals put right what they owe; then the three books agree and the issuers' ledgers balance."""
    for memory in house.memories:
        house.run(pos.clear(memory, house.line))
        assert memory.pending is None
    house.pass_time(200)
    books = house.books()
    assert books.breaks == []
    assert books.agreed
    assert len(books.suspicious) == suspicious
    if reversed_ is not None:
        assert books.reversed == reversed_
    assert all(centre.check() for centre in house.centres.values())
    status = house.engine.status()
    assert status["stored"] == status["inflight"] == 0


def balance(house: House, issuer: int = 1) -> int:
    outcome = house.run(pos.balance(house.memories[1], house.line, house.card(issuer)))
    assert outcome.approved
    return int(outcome.balance_minor)


def from_centre(change: Callable[[Message], tuple[str, dict[int, Any]] | None], house: House, mti: str) -> None:
    """Put something else in place of the centre's answers of one class, under a right MAC."""

    def meddle(name: str, send: Send) -> Send | None:
        if name == "switch" or NET.peek(send.body, ())[0] != mti:
            return send
        said = change(NET.decode(send.body))
        if said is None:
            return None
        new_mti, fields = said
        fields = {de: value for de, value in fields.items() if de != 128}
        fields[128] = house.centres[name]._keys.mac(new_mti, fields)
        body = NET.encode(new_mti, dict(sorted(fields.items())))
        header = send.header[:2] + b"%04d" % (len(send.header) + len(body)) + send.header[6:]
        return send._replace(body=body, header=header)

    house.meddle = meddle


@pytest.mark.parametrize(("action", "ledger"), [("silence", ["0420"]), ("silence_after_posting", ["0200", "0420"])])
def test_silence(action: str, ledger: list[str]) -> None:
    house = house_with({"action": action, "kind": "sale", "amount_minor": 1000})
    memory = house.memories[0]
    before = balance(house)
    started = house.mono
    outcome = sell(house)
    assert (outcome.response_code, house.mono - started) == ("98", PATIENCE_S)
    assert states(house)[-3:] == ["sent", "reversal_queued", "reversal_acked"]
    rows = [row for row in house.of("journal") if row["amount"]]
    assert [row["reason"] for row in rows] == ["", "timeout", "00"]
    assert [row[5] for row in house.ledgers["cups"] if row[5] != "0200" or row[16]] == ledger
    reversal = house.said("cups")[-1]
    assert reversal.mti == "0420"
    fields, (sent, queued, _) = reversal.fields, rows
    original = read_90(fields[90])
    assert (original.mti, original.time, original.stan) == ("0200", sent["net_time"], sent["net_stan"])
    assert (fields[7], fields[11]) == (queued["saf_time"], queued["saf_stan"]) != (sent["net_time"], sent["net_stan"])
    assert (fields[37], fields[4], fields[60][:4]) == (sent["rrn"], "000000001000", "0000")
    assert not fields.keys() & {35, 38, 52, 53, 55, 61}
    told = [e for n, e in house.effects if n == "switch" and isinstance(e, Send)][-2:]
    assert {send.after for send in told} == {queued["number"]}, "neither the reversal nor the 98 leaves before the row"
    assert memory.pending is None, "98 is a definite refusal"
    assert balance(house) == before
    at_rest(house, reversed_=1)


@pytest.mark.parametrize(("delay_s", "late"), [(29.5, False), (30.0, True), (30.5, True), (95.0, True)])
def test_a_late_answer_never_reaches_the_terminal(delay_s: float, late: bool) -> None:
    house = house_with({"action": "delay", "kind": "sale", "delay_s": delay_s})
    outcome = sell(house)
    house.pass_time(100)
    if late:
        assert outcome.response_code == "98"
        assert sorted(states(house)) == ["late", "reversal_acked", "reversal_queued", "sent"]
        row = next(row for row in house.of("journal") if row["state"] == "late")
        assert (row["reason"], row["response_code"]) == ("00", "98")
        assert house.engine.status()["late_approvals"] == 1
    else:
        assert outcome.approved
        assert states(house) == ["sent", "answered"]
    assert len([m for m in house.said("") if m.mti == "0210"]) == 1
    at_rest(house, reversed_=int(late))


def test_an_answer_after_the_process_stood_still() -> None:
    """The answer is read before the timer that was due long ago: too late all the same."""
    house = house_with({"action": "delay", "kind": "sale", "delay_s": 10})
    memory = house.memories[0]
    link = house.link()
    house.deliver(link, seal(house, memory, "0200", fields_of(house, memory, item(house, memory, "sale", issuer=1))))
    house.mono += 45
    house.wall += 45
    house._do("cups", lambda machine, now, out: machine.tick(now, out))
    reply = house.reply_on(link)
    assert reply is not None
    assert CODEC.decode(reply).fields[39] == "98"
    assert sorted(states(house)) == ["late", "reversal_acked", "reversal_queued", "sent"]
    house.pass_time(1)
    assert house.books().reversed == 1


def test_an_answer_twice() -> None:
    house = house_with()
    copies: list[Send] = []
    house.meddle = lambda name, send: (copies.append(send) if name == "cups" else None) or send
    assert sell(house).approved
    for copy in copies[-1:] * 3:
        house._carry("cups", copy)
    assert states(house) == ["sent", "answered"]
    assert house.engine.status()["unmatched"] == 3
    assert len([m for m in house.said("") if m.mti == "0210"]) == 1
    at_rest(house, reversed_=0)


@pytest.mark.parametrize("mac", ["00000000", "ABCDEF12", None])
def test_an_answer_with_a_wrong_mac_is_no_answer(mac: str | None) -> None:
    house = house_with()

    def meddle(name: str, send: Send) -> Send:
        if name == "switch" or NET.peek(send.body, ())[0] != "0210":
            return send
        fields = NET.decode(send.body).fields
        del fields[128]
        body = NET.encode("0210", {**fields, 128: mac} if mac else fields)
        header = send.header[:2] + b"%04d" % (len(send.header) + len(body)) + send.header[6:]
        return send._replace(body=body, header=header)

    house.meddle = meddle
    assert sell(house).response_code == "98"
    assert states(house) == ["sent", "reversal_queued", "reversal_acked"]
    assert house.engine.status()["mac_failures"] == 1
    at_rest(house, reversed_=1)


WRONG = {
    "terminal": {41: "99999999"}, "merchant": {42: "999999999999999"}, "amount": {4: "000000000999"},
    "part of the amount": {4: "000000000500", 39: "10"}, "reference": {37: "000000000001"}, "code": {39: None},
    "no amount": {4: None},
}  # fmt: skip


@pytest.mark.parametrize("what", [*WRONG, "class"])
def test_an_answer_to_something_else(what: str) -> None:
    house = house_with()

    def change(message: Message) -> tuple[str, dict[int, Any]]:
        fields = message.fields | WRONG.get(what, {})
        return "0230" if what == "class" else "0210", {de: v for de, v in fields.items() if v is not None}

    from_centre(change, house, "0210")
    started = house.mono
    outcome = sell(house)
    assert (outcome.response_code, house.mono) == ("98", started), "no use to wait any longer"
    assert states(house)[-3:] == ["sent", "reversal_queued", "reversal_acked"]
    assert next(r for r in house.of("journal") if r["state"] == "reversal_queued")["reason"] == "mismatch"
    house.meddle = lambda name, send: send
    at_rest(house, reversed_=1)


def test_an_a0_of_the_line_is_not_the_terminal_s() -> None:
    house = house_with({"action": "code", "kind": "sale", "code": "A0"})
    assert sell(house).response_code == "96"
    assert house.memories[0].signed_in


def test_no_line() -> None:
    house = house_with()
    house.disconnect("cups")
    outcome = sell(house)
    assert (outcome.response_code, states(house)) == ("91", ["refused"])
    assert sell(house, issuer=0).approved, "the other line goes on"
    house.connect("cups")
    assert sell(house).approved
    at_rest(house, reversed_=0)


def test_the_line_breaks_with_requests_on_it() -> None:
    house = house_with({"action": "disconnect", "kind": "sale", "amount_minor": 1000})
    memory = house.memories[0]
    link = house.link()
    house.deliver(link, seal(house, memory, "0200", fields_of(house, memory, item(house, memory, "sale", issuer=1))))
    assert "cups" not in house.lines
    house.pass_time(PATIENCE_S)
    reply = house.reply_on(link)
    assert reply is not None
    assert CODEC.decode(reply).fields[39] == "98"
    assert states(house) == ["sent", "reversal_queued"]
    house.pass_time(500)
    assert states(house) == ["sent", "reversal_queued"], "kept as long as it takes"
    since = len(house.effects)
    house.connect("cups")
    assert states(house) == ["sent", "reversal_queued", "reversal_acked"]
    assert [m.mti for m in house.said("cups", since) if m.mti == "0420"] == ["0420"], "once a line"
    assert house.engine.status()["stored"] == 0


def test_a_line_that_is_dead_without_saying_so() -> None:
    """Nothing comes back any more, nothing breaks either: the second unanswered test gives the line up."""
    house = house_with()
    house.pass_time(61)
    assert house.said("cups")[-1].fields[70] == "301"
    assert house.closed == []
    dead = house.lines["cups"][0]
    house.meddle = lambda name, send: None if name == "cups" else send
    house.pass_time(60)
    assert house.closed == []
    house.pass_time(60)
    assert [(link, reason) for link, reason in house.closed] == [(dead, "no answer to the line test")]
    assert not house.engine.office.counterparts["cups"].ready
    assert sell(house).response_code == "91"
    house.meddle = lambda name, send: send
    house.connect("cups")
    assert sell(house).approved
    house.pass_time(200)
    assert len(house.closed) == 1
    house.disconnect("cups")
    house.pass_time(59.5)
    house.connect("cups")
    house.pass_time(1)
    assert len(house.closed) == 1, "a new line is given its time"


def test_the_terminal_is_gone_when_the_approval_comes() -> None:
    house = house_with({"action": "delay", "kind": "sale", "delay_s": 10})
    memory = house.memories[0]
    one = item(house, memory, "sale", issuer=1)
    assert house.ask(seal(house, memory, "0200", fields_of(house, memory, one)), patience_s=5) is None
    house.pass_time(10)
    assert states(house) == ["sent", "answered", "reversal_queued", "reversal_acked"]
    assert house.of("journal")[2]["reason"] == "undeliverable"
    assert house.engine.status()["undelivered"] == 1
    assert house.said("")[-1].mti != "0210"
    # the terminal, not knowing, reverses too
    assert ask(house, memory, "0400", reversal_of(house, memory, one)).fields[39] == "00"
    assert len(states(house)) == 4
    assert house.said("cups")[-1].fields[38], "the approval's code was known"


def test_a_void_that_could_not_be_told_leaves_its_sale_standing() -> None:
    house = house_with({"action": "delay", "kind": "sale_void", "delay_s": 10})
    memory = house.memories[0]
    sale = sell(house)
    flow = pos.sale_void(memory, house.line, sale.item)
    assert house.ask(next(flow).body, patience_s=5) is None
    flow.close()
    house.pass_time(10)
    books = house.engine.office.books
    assert books.totals(memory.tid, memory.batch) == (1000, 1, 0, 0)
    assert not books.by_rrn[sale.rrn].undone
    at_rest(house, reversed_=1)


def test_repeats_of_a_reversal_that_is_not_answered() -> None:
    house = house_with(
        {"action": "silence", "kind": "sale"}, {"action": "silence", "kind": "reversal"},
    )  # fmt: skip
    outcome = sell(house)
    assert outcome.response_code == "98"
    started = house.mono
    house.pass_time(60 + 120 + 240 + 480 + 900 + 900 + 1)
    reversals = [message for message in house.said("cups") if message.mti == "0420"]
    assert len(reversals) == 7
    assert len({(m.fields[7], m.fields[11], m.fields[37], m.fields[90]) for m in reversals}) == 1
    assert house.mono - started > 2700
    assert states(house) == ["sent", "reversal_queued"]
    assert house.engine.status()["stored"] == 1
    assert "reversal never acknowledged" in [item.cause for item in house.books().breaks]
    house.centres["cups"].rules.rules = ()
    house.pass_time(900)
    at_rest(house, reversed_=1)


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({39: "91"}, False), ({39: "96"}, False), ({39: "A0"}, False), ({39: "30"}, False), ({39: None}, False),
        ({41: "99999999"}, False), ({42: "999999999999999"}, False), ({39: "12"}, True), ({39: "94"}, True),
    ],
    ids=str,
)  # fmt: skip
def test_which_answer_ends_a_reversal(change: dict[int, str | None], taken: bool) -> None:
    house = house_with({"action": "silence_after_posting", "kind": "sale"})
    from_centre(lambda m: ("0430", {k: v for k, v in (m.fields | change).items() if v is not None}), house, "0430")
    sell(house)
    assert states(house)[2:] == (["reversal_acked"] if taken else [])
    house.meddle = lambda name, send: send
    house.pass_time(60)
    assert states(house) == ["sent", "reversal_queued", "reversal_acked"]
    at_rest(house, reversed_=1)


def test_a_reversal_of_another_class_is_no_answer() -> None:
    house = house_with({"action": "silence", "kind": "sale"})
    from_centre(lambda message: ("0230", message.fields), house, "0430")
    sell(house)
    assert states(house) == ["sent", "reversal_queued"]


def test_answers_under_the_key_before() -> None:
    """A MAC key that was replaced is good for what was on its way, for as long as the profile says, no longer."""
    for after_s, approved in ((5, True), (29, True), (31, False)):
        house = house_with()
        held: list[Send] = []
        house.meddle = lambda name, send, held=held: held.append(send) if name == "cups" else send
        memory = house.memories[0]
        counterpart = house.engine.office.counterparts["cups"]
        counterpart.inflight.patience_s = 300
        link = house.link()
        one = fields_of(house, memory, item(house, memory, "sale", issuer=1))
        house.deliver(link, seal(house, memory, "0200", one))
        house.meddle = lambda name, send: send
        house._do("cups", lambda machine, now, out: machine.reset_keys(now, out))
        assert house.engine.status()["key_resets"] >= 4
        house.pass_time(after_s)
        house._carry("cups", held[0])
        reply = house.reply_on(link)
        assert (reply is not None) == approved, after_s
        assert house.engine.status()["mac_failures"] == (not approved)
