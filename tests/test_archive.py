"""What is kept of closed batches: where their rows stand; what may still be spoken of is found, and nothing else."""

from typing import Any

import pytest
from engine_requests import ask, item, reversal_of, signed_in
from house import House

from switch.engine.archive import Archive
from switch.engine.books import Books, Exchange
from switch.wire.transactions import BY_NAME
from terminals.device import pos
from terminals.device.dialogue import Outcome
from terminals.device.memory import Item, Memory

DAY_S = 86_400.0
DAY_MS = 86_400_000


def sell(house: House, memory: Memory, amount: int = 1000, issuer: int = 1) -> Outcome:
    return house.run(pos.sale(memory, house.line, house.card(issuer), amount))  # type: ignore[no-any-return]


def close(house: House, memory: Memory) -> None:
    """Settle and sign in to the next batch."""
    batch = memory.batch
    assert house.run(pos.settle(memory, house.line)).approved
    assert house.run(pos.sign_in(memory, house.line)).approved
    assert memory.batch != batch


def an_item(outcome: Outcome) -> Item:
    assert outcome.item is not None
    return outcome.item


def refund(house: House, memory: Memory, of: Item, amount: int, issuer: int = 1) -> str:
    outcome = house.run(pos.refund(memory, house.line, of, house.card(issuer), amount))
    house.pass_time(1)
    return str(outcome.response_code)


def later(house: House, days: float) -> None:
    house.wall += days * DAY_S
    house.mono += 1


def at_rest(house: House) -> None:
    house.pass_time(200)
    assert house.engine.status()["stored"] == 0
    assert house.books().breaks == []


def kept(house: House) -> dict[str, Any]:
    """What is in memory, and where the rest stands."""
    books = house.engine.office.books
    assert books.archive is not None
    return {
        "exchanges": sorted(books.exchanges), "by_rrn": sorted(books.by_rrn), "holds": sorted(books.by_auth),
        "chips": sorted(books.by_chip), "batches": sorted(where for where, items in books.batches.items() if items),
        "archive": {where: sorted(numbers) for where, numbers in books.archive._batches.items()},
        "closed": books.archive._closed_at,
    }  # fmt: skip


def test_memory_does_not_grow_with_batches() -> None:
    house = House(terminals=2)
    signed_in(house)
    memory, other = house.memories
    sell(house, other)
    books = house.engine.office.books
    for n in range(12):
        sell(house, memory, 1000 + n)
        sell(house, memory, 2000, issuer=0)
        house.run(pos.sale(memory, house.line, house.card(1), 3000), pin="000000")  # declined
        close(house, memory)
        assert sorted({key[:2] for key in books.exchanges}) == [(other.tid, other.batch)]
        assert (len(books.exchanges), len(books.by_rrn)) == (1, 1)
        assert list(books.batches) == [(other.tid, other.batch)]
        assert books.archive is not None
        assert len(books.archive) == 3 * (n + 1)
    at_rest(house)
    before = kept(house)
    house.restart_switch()
    assert kept(house) == before


def test_a_refund_of_an_old_batch() -> None:
    house = House(terminals=2)
    signed_in(house)
    memory, other = house.memories
    sale = an_item(sell(house, memory, 1000))
    close(house, memory)
    close_again = an_item(sell(house, memory, 500))
    close(house, memory)
    books = house.engine.office.books
    assert sale.rrn not in books.by_rrn
    assert refund(house, memory, sale, 400) == "00"
    assert books.by_rrn[sale.rrn].refunded == 400, "it is in memory again"
    assert house.of("journal")[-1]["original_rrn"] == sale.rrn
    before = kept(house)
    house.restart_switch()
    assert kept(house) == before
    books = house.engine.office.books
    assert books.by_rrn[sale.rrn].refunded == 400
    assert refund(house, memory, sale, 700) == "64", "what was given back before a restart counts"
    assert refund(house, memory, sale, 600) == "00"
    assert refund(house, memory, close_again, 100, issuer=2) == "14", "another card"
    close(house, memory)
    assert books.by_rrn[sale.rrn].refunded == 1000, "what others have touched stays in memory"
    assert refund(house, memory, sale, 1) == "64"
    del other
    at_rest(house)


def test_a_hold_of_an_old_batch_is_completed() -> None:
    house = House(terminals=1)
    signed_in(house)
    [memory] = house.memories
    hold = house.run(pos.preauth(memory, house.line, house.card(2), 5000))
    close(house, memory)
    house.restart_switch()
    later(house, 29)
    done = house.run(pos.completion(memory, house.line, an_item(hold), house.card(2), 5200))
    assert done.approved
    at_rest(house)


@pytest.mark.parametrize(("days", "code"), [(29, "00"), (31, "25")])
def test_after_so_many_days_nobody_may_speak_of_it(days: int, code: str) -> None:
    house = House(terminals=2)
    signed_in(house)
    memory, other = house.memories
    sale = an_item(sell(house, memory, 1000))
    hold = an_item(house.run(pos.preauth(memory, house.line, house.card(2), 5000)))
    void = sell(house, memory, 700)
    assert house.run(pos.sale_void(memory, house.line, void.item)).approved
    close(house, memory)
    later(house, days)
    sell(house, other, 100)
    close(house, other)  # whoever closes a batch cleans up
    for again in (False, True):
        if again:
            house.restart_switch()
        books = house.engine.office.books
        found = [books.find_rrn(one.rrn) is not None for one in (sale, hold)]
        assert found == [code == "00"] * 2
        assert (books.by_auth == {}) is (code == "25")
    assert refund(house, memory, sale, 400) == code
    if code == "25":
        books = house.engine.office.books
        assert books.archive is not None
        assert set(books.archive._batches) == {(other.tid, f"{int(other.batch) - 1:06d}")}
        assert {key[0] for key in books.exchanges} == {memory.tid}, "the refund that was refused"
        assert len(books.exchanges) == 1
    house.pass_time(200)
    assert house.engine.status()["stored"] == 0


def test_a_reversal_of_an_old_batch() -> None:
    """0400 says which batch it means; its answer is the same whatever is in memory."""
    house = House(terminals=1)
    signed_in(house)
    [memory] = house.memories
    sale = an_item(sell(house, memory, 1000))
    declined = house.run(pos.sale(memory, house.line, house.card(1), 3000), pin="000000").item
    close(house, memory)
    rows = len(house.of("journal"))
    assert ask(house, memory, "0400", reversal_of(house, memory, declined)).fields[39] == "00"
    assert len(house.of("journal")) == rows, "nothing to take back"
    assert not house.of("overtaken"), "it is known"
    reply = ask(house, memory, "0400", reversal_of(house, memory, sale))
    assert (reply.fields[39], reply.fields[37]) == ("00", sale.rrn)
    house.pass_time(5)
    assert [row["state"] for row in house.of("journal")][rows:] == ["reversal_queued", "reversal_acked"]
    house.restart_switch()
    assert house.engine.office.books.by_rrn[sale.rrn].reversal == "acked"
    rows = len(house.of("journal"))
    assert ask(house, memory, "0400", reversal_of(house, memory, sale)).fields[39] == "00"
    house.pass_time(5)
    assert len(house.of("journal")) == rows
    wrong = item(house, memory, "sale", 999, issuer=1, stan=sale.stan)
    wrong.batch = sale.batch
    assert ask(house, memory, "0400", reversal_of(house, memory, wrong)).fields[39] == "64"


def test_what_is_owed_at_the_close_is_kept_until_it_is_not() -> None:
    """A refund stored while the line is down outlives its batch."""
    house = House(terminals=1)
    signed_in(house)
    [memory] = house.memories
    sale = an_item(sell(house, memory, 1000))
    house.disconnect("cups")
    assert refund(house, memory, sale, 300) == "00"
    close(house, memory)
    books = house.engine.office.books
    assert {one.kind for one in books.exchanges.values()} == {"sale", "refund"}
    house.restart_switch(connect=False)
    assert house.engine.status()["stored"] == 1
    assert {one.kind for one in house.engine.office.books.exchanges.values()} == {"sale", "refund"}
    house.connect()
    house.pass_time(5)
    assert house.of("journal")[-1]["state"] == "delivered"
    later(house, 31)
    close_one = sell(house, memory, 100)
    assert close_one.approved
    close(house, memory)
    assert house.engine.office.books.exchanges == {}
    at_rest(house)


def test_without_a_book_to_read_back_all_stays_for_so_many_days() -> None:
    house = House(terminals=1, recalls=False)
    signed_in(house)
    [memory] = house.memories
    sale = an_item(sell(house, memory, 1000))
    close(house, memory)
    books = house.engine.office.books
    assert list(books.by_rrn) == [sale.rrn]
    later(house, 31)
    sell(house, memory, 1001)
    close(house, memory)
    assert sale.rrn not in books.by_rrn
    house.restart_switch()
    assert set(house.engine.office.books.by_rrn) == set(books.by_rrn)


def test_an_uploaded_certificate_is_known_after_its_batch() -> None:
    rows: dict[int, tuple[Any, ...]] = {}
    books = Books([])
    books.archive = Archive(rows.get)

    def upload(batch: str, stan: str, code: str) -> bool:
        one = Exchange("chip_offline_sale", BY_NAME["chip_offline_sale"], "M", "T", batch, stan)
        one.rrn, one.pan_hash, one.psn, one.atc = books.next_rrn(1), "ab" * 16, "01", "0007"
        one.written = books.next_row()
        books.add(one)
        taken = books.spend(one)
        one.state, one.response_code = "answered", code if taken else "94"
        return taken

    assert upload("000001", "000001", "Z1"), "refused: it has used nothing up"
    books.close_batch("T", 0, 30 * DAY_MS)
    assert upload("000002", "000001", "00")
    books.close_batch("T", DAY_MS, 30 * DAY_MS)
    assert books.exchanges == {}
    assert not upload("000003", "000001", "00"), "94, under another STAN and in another batch"
    books.close_batch("T", 31 * DAY_MS, 30 * DAY_MS)
    assert not upload("000004", "000001", "00")
    books.close_batch("T", 62 * DAY_MS, 30 * DAY_MS)
    assert books.by_chip == {}
    assert len(books.archive) == 1


@pytest.mark.parametrize("rrn", ["", "30100000000", "30100000000x", "301999999999", "３01000000001"])
def test_no_rrn_of_ours(rrn: str) -> None:
    books = Books([])
    books.archive = Archive({}.get)
    assert books.find_rrn(rrn) is None
    assert books.find(("T", "000001", rrn[:6])) is None
