"""The switch is killed after each of its rows in turn; restarted on what was durable, the day still comes out right."""

from collections.abc import Callable
from typing import Any

import pytest
from house import House

from switch.clearing.reconcile import reconcile
from terminals.device import pos
from terminals.device.memory import Memory

RULES = [
    {"action": "silence", "kind": "sale", "amount_minor": 66601},
    {"action": "silence_after_posting", "kind": "sale", "amount_minor": 66602},
    {"action": "delay", "kind": "sale", "amount_minor": 66603, "delay_s": 12},
    {"action": "delay", "kind": "sale", "amount_minor": 66604, "delay_s": 35},
    {"action": "silence_after_posting", "kind": "completion_void"},
    {"action": "silence_after_posting", "kind": "refund", "every": 2},
]
Act = Callable[[House, Memory], Any]


def sale(amount: int, issuer: int, patience_s: float = 40.0) -> Act:
    return lambda house, memory: house.run(
        pos.sale(memory, house.line, house.card(issuer), amount), patience_s=patience_s
    )


def on_last(kind: str, of: str, amount: int) -> Act:
    """A transaction on the last one of a kind that its terminal has, if a crash left it any."""

    def act(house: House, memory: Memory) -> None:
        items = memory.undoable(of)
        if items:
            amount_minor = amount or items[-1].amount_minor
            house.run(pos.transact(memory, house.line, kind, None, amount_minor, items[-1]))

    return act


def preauth(house: House, memory: Memory) -> None:
    house.run(pos.preauth(memory, house.line, house.card(2), 5000))


def settle(house: House, memory: Memory) -> None:
    house.run(pos.settle(memory, house.line))


def settle_unbalanced(house: House, memory: Memory) -> None:
    """The host is asked while its own book lacks an item that the terminal holds."""
    books = house.engine.office.books
    standing = [exchange for exchange in books.batches.get((memory.tid, memory.batch), ()) if exchange.counts]
    for exchange in standing[:1]:
        exchange.amount += 1
    settle(house, memory)
    for exchange in standing[:1]:
        exchange.amount -= 1


DAY: list[tuple[int, Act]] = [
    (0, sale(1000, 0)), (1, sale(2000, 1)), (0, on_last("sale_void", "sale", 0)), (0, preauth),
    (1, on_last("refund", "sale", 300)), (0, on_last("completion", "preauth", 5500)), (0, sale(66601, 1)),
    (1, sale(66602, 3)), (0, sale(66603, 4, patience_s=5)), (1, on_last("refund", "sale", 200)), (0, preauth),
    (0, on_last("completion_void", "completion", 0)), (1, settle_unbalanced),
    (0, on_last("preauth_void", "preauth", 0)),
    (0, sale(66603, 4, patience_s=5)), (0, sale(800, 2)), (1, sale(66604, 2)), (1, sale(700, 0)), (0, settle),
]  # fmt: skip


def play(house: House) -> None:
    for place, act in DAY:
        act(house, house.memories[place])
        if house.dead:
            house.restart_switch()
    house.pass_time(30)
    if house.dead:
        house.restart_switch()


def end(house: House) -> None:
    """Everybody puts right what is owed, settles, and time passes."""
    house.centres["cups"].rules.rules = ()
    for memory in house.memories[:2]:
        for _ in range(3):
            house.run(pos.clear(memory, house.line))
        assert memory.pending is None
        outcome = house.run(pos.settle(memory, house.line))
        if outcome.reason == "closed by host":
            outcome = house.run(pos.settle(memory, house.line))
        assert outcome.reason == "balanced", outcome
    house.pass_time(300)


def agree(house: House) -> None:
    books = house.books()
    assert books.breaks == []
    assert books.agreed
    assert books.suspicious == []
    assert all(centre.check() for centre in house.centres.values())
    status = house.engine.status()
    assert (status["stored"], status["inflight"]) == (0, 0)


def day_without_a_crash() -> House:
    house = House(terminals=2, rules=RULES)
    play(house)
    return house


@pytest.fixture(scope="module")
def quiet() -> House:
    return day_without_a_crash()


def test_the_day_is_busy(quiet: House) -> None:
    """It has every kind of row, so that no way of dying is left out."""
    journal = {(row["kind"], row["state"]) for row in quiet.of("journal")}
    assert {state for _, state in journal} == {
        "sent", "answered", "reversal_queued", "reversal_acked", "stored", "late", "delivered",
    }  # fmt: skip
    assert {kind for kind, _ in journal} >= {
        "sale", "sale_void", "refund", "preauth", "completion", "completion_void", "preauth_void",
    }  # fmt: skip
    assert {row["event"] for row in quiet.of("terminal")} == {"sign_in", "sign_off", "batch"}
    assert {row["result"] for row in quiet.of("upload")} >= {"matched", "amount_differs"}
    assert 50 <= len(quiet.rows) <= 120


def test_the_day_agrees(quiet: House) -> None:
    house = day_without_a_crash()
    assert house.rows == quiet.rows, "the same day each time"
    end(house)
    agree(house)


@pytest.mark.parametrize("last_words", [False, True], ids=["silent", "last-words"])
@pytest.mark.parametrize("part", range(4))
def test_killed_after_every_row(quiet: House, last_words: bool, part: int) -> None:
    for crash_at in range(1 + part, len(quiet.rows) + 1, 4):
        house = House(terminals=2, rules=RULES)
        house.crash_at, house.last_words = crash_at, last_words
        try:
            play(house)
            assert house.crash_at is None, "it was killed and restarted"
            end(house)
            agree(house)
        except AssertionError as error:
            raise AssertionError(f"killed after row {crash_at}, {quiet.rows[crash_at - 1]}") from error


@pytest.mark.parametrize("last_words", [False, True], ids=["silent", "last-words"])
def test_the_switch_and_the_issuers_agree_without_the_terminals(quiet: House, last_words: bool) -> None:
    """Whatever was on its way is put right by the switch itself, should no terminal ever come back."""
    for crash_at in range(1, len(quiet.rows) + 1):
        house = House(terminals=2, rules=RULES)
        house.crash_at, house.last_words = crash_at, last_words
        for place, act in DAY:
            act(house, house.memories[place])
            if house.dead:
                break
        house.centres["cups"].rules.rules = ()
        house.restart_switch()
        house.pass_time(300, step=2)
        books = reconcile(house.of("journal"), house.ledger_rows(), None, [row[0] for _, row in house.rows])
        assert books.breaks == [], crash_at
        assert house.engine.status()["stored"] == 0


@pytest.mark.parametrize("every", [7, 13])
def test_killed_again_and_again(quiet: House, every: int) -> None:
    house = House(terminals=2, rules=RULES)
    house.crash_at = every
    for place, act in DAY:
        act(house, house.memories[place])
        if house.dead:
            house.restart_switch()
            house.crash_at = len(house.rows) + every
    house.crash_at = None
    if house.dead:
        house.restart_switch()
    end(house)
    agree(house)


def snapshot(house: House) -> dict[str, Any]:
    """All that a switch remembers of money, terminals and numbers."""
    office = house.engine.office
    return {
        "exchanges": {
            key: (e.rrn, e.reversal, e.undone, e.refunded, e.response_code, e.auth_code, e.settlement_date, e.counts,
                  e.net_key, e.pan_hash, office.open_card(e), e.original and e.original.rrn)
            for key, e in office.books.exchanges.items()
        },
        "totals": {where: office.books.totals(*where) for where in office.books.batches},
        "holds": {key: e.rrn for key, e in office.books.by_auth.items()},
        "terminals": {t.tid: (t.batch, t.signed_in, t.uploaded) for t in office.books.terminals.values()},
        "lines": {c.name: (c.stan_last, c.settlement_date, c.cutting_over) for c in office.counterparts.values()},
        "stored": {where: (i.kind, i.by_terminal) for where, i in house.engine._reverse.saf._items.items()},
    }  # fmt: skip


def test_recovery_twice_gives_the_same() -> None:
    for crash_at in range(1, 70):
        house = House(terminals=2, rules=RULES)
        house.crash_at = crash_at
        for place, act in DAY:
            act(house, house.memories[place])
            if house.dead:
                break
        house.restart_switch(connect=False)
        first, rows = snapshot(house), len(house.rows)
        house.restart_switch(connect=False)
        assert snapshot(house) == first, crash_at
        assert len(house.rows) == rows, "and it has nothing more to write"


def test_recovery_gives_what_was_known() -> None:
    """A switch that dies at rest comes back as it was."""
    house = day_without_a_crash()
    house.pass_time(300)
    before = snapshot(house)
    house.restart_switch(connect=False)
    after = snapshot(house)
    del before["lines"], after["lines"]  # numbers of sign-ons and line tests are not kept
    assert after == before
    assert house.engine.office.books.row_last == len(house.rows)
    assert house.engine.office.books.rrn_last >= max(int(row["rrn"][3:]) for row in house.of("journal"))


def test_numbers_go_on_where_they_stopped() -> None:
    """Even within one second no number of a line is given out twice, be the last row a stored refund's."""
    house = House(terminals=2, rules=[{"action": "silence", "kind": "refund"}])
    memory, other = house.memories
    item = house.run(pos.sale(memory, house.line, house.card(1), 1000)).item
    house.deliver(house.link(), _refund(house, memory, item))
    for _ in range(3):
        house.run(pos.sale(other, house.line, house.card(1), 100))
    house.pass_time(30)
    assert house.of("journal")[-1]["state"] == "stored"
    house.restart_switch()
    for _ in range(3):
        house.run(pos.sale(other, house.line, house.card(1), 100))
    sent = [(row["net_time"], row["net_stan"]) for row in house.of("journal") if row["state"] == "sent"]
    assert len(set(sent)) == len(sent) == 8
    assert len({stan for _, stan in sent}) == 8
    rrns = [row["rrn"] for row in house.of("journal") if row["state"] == "sent"]
    assert len(set(rrns)) == 8


def _refund(house: House, memory: Memory, item: Any) -> bytes:
    flow = pos.refund(memory, house.line, item, None, 100)
    body: bytes = next(flow).body
    flow.close()
    return body


def test_a_key_reset_on_an_old_line_is_not_needed_after_a_restart() -> None:
    """Terminals keep working with the keys they have: their working keys stand sealed in the journal."""
    house = House(terminals=2)
    assert house.run(pos.sign_in(house.memories[0], house.line)).approved
    house.restart_switch()
    said = len(house.said(""))
    assert house.run(pos.sale(house.memories[0], house.line, house.card(1), 100)).approved
    assert [message.mti for message in house.said("")[said:]] == ["0210"], "no sign-in was needed"
