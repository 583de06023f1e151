"""Three books: each row removed, doubled or changed by hand is found, with its key, its cause and who is short."""

from typing import Any

import pytest
from engine_requests import signed_in
from house import House

from switch.clearing.books import deals, postings
from switch.clearing.reconcile import Break, Reconciliation, reconcile
from switch.clearing.schema import JOURNAL, LEDGER, TERMINALS
from terminals.device import pos
from terminals.device.memory import terminals_rows

Book = list[dict[str, Any]]
RULES = [
    {"action": "silence_after_posting", "kind": "sale", "amount_minor": 66602},
    {"action": "silence_after_posting", "kind": "preauth", "amount_minor": 66602},
    {"action": "delay", "kind": "sale", "amount_minor": 66604, "delay_s": 35},
    {"action": "silence", "kind": "refund"},
]


class Books:
    """A day's books as plain rows, to be spoilt."""

    def __init__(self) -> None:
        house = House(rules=RULES)
        signed_in(house)
        memory, other = house.memories[0], house.memories[1]
        line, card, own = house.line, house.card(1), house.card(0)
        house.run(pos.sale(memory, line, card, 1000))
        sale = house.run(pos.sale(memory, line, own, 2000)).item
        house.run(pos.sale_void(memory, line, sale))
        hold = house.run(pos.preauth(memory, line, card, 5000)).item
        house.run(pos.completion(memory, line, hold, None, 5500))
        house.run(pos.preauth(other, line, card, 700))
        sale = house.run(pos.sale(other, line, card, 3000)).item
        house.run(pos.refund(other, line, sale, None, 400))
        house.run(pos.balance(other, line, own))
        house.run(pos.sale(other, line, card, 9_999_999_99))
        for amount in (66602, 66604):
            house.run(pos.sale(other, line, card, amount))
        house.run(pos.preauth(other, line, card, 66602))
        house.centres["cups"].rules.rules = ()
        house.pass_time(100)
        self.numbers = [row[0] for _, row in house.rows]
        self.journal = [dict(zip(JOURNAL.names, row, strict=True)) for table, row in house.rows if table == "journal"]
        rows = [row for name in ("cups", "core") for row in house.ledgers[name]]
        self.ledger = [dict(zip(LEDGER.names, row, strict=True)) for row in rows]
        self.terminals = [dict(zip(TERMINALS.names, row, strict=True)) for row in terminals_rows(house.memories)]

    def join(self, **books: Any) -> Reconciliation:
        given = {"journal": self.journal, "ledger": self.ledger, "terminals": self.terminals, "numbers": self.numbers}
        return reconcile(**(given | books))

    def of(self, kind: str, state: str, amount: int = 0) -> int:
        """The place of a journal row."""
        return next(
            place for place, row in enumerate(self.journal)
            if (row["kind"], row["state"]) == (kind, state) and amount in (0, row["amount"])
        )  # fmt: skip

    def without(self, place: int) -> Reconciliation:
        """The journal, and the numbers, without one row."""
        gone = self.journal[place]["number"]
        journal = self.journal[:place] + self.journal[place + 1 :]
        return self.join(journal=journal, numbers=[number for number in self.numbers if number != gone])

    def changed(self, book: str, place: int, **values: Any) -> Reconciliation:
        rows: Book = list(getattr(self, book))
        rows[place] = rows[place] | values
        return self.join(**{book: rows})


@pytest.fixture(scope="module")
def books() -> Books:
    return Books()


def causes(result: Reconciliation) -> list[str]:
    return [item.cause for item in result.breaks]


def test_a_day_that_agrees(books: Books) -> None:
    result = books.join()
    assert result.breaks == result.suspicious == []
    assert result.agreed
    assert result.reversed == 3
    lines = {kind: (line.terminals, line.switch, line.issuers) for (_, kind), line in result.totals.items()}
    assert {kind: line[1] for kind, line in lines.items()} == {
        "sale": [3, 6000], "sale_void": [1, 2000], "preauth": [2, 5700], "completion": [1, 5500], "refund": [1, 400],
    }  # fmt: skip
    assert all(line[0] == line[1] == line[2] for line in lines.values())
    assert {date for date, _ in result.totals} == {"1028"}


def test_two_books_without_the_terminals(books: Books) -> None:
    result = books.join(terminals=None)
    assert result.breaks == []
    assert result.agreed
    assert all(line.terminals is None for line in result.totals.values()), "a book that was not seen is not shown"


def test_every_journal_row_removed_is_named(books: Books) -> None:
    for place, row in enumerate(books.journal):
        result = books.without(place)
        assert not result.agreed
        assert f"journal row {row['number']} is missing" in causes(result) or row is books.journal[-1], row
        assert len(result.breaks) > 0


def test_rows_removed_without_their_numbers_show_in_the_join(books: Books) -> None:
    """Somebody who hides the gap as well: the other books still know."""
    for place, row in enumerate(books.journal):
        if row["state"] in ("late", "refused") or row["kind"] == "balance" or row["response_code"] == "51":
            continue
        if (row["kind"], row["state"]) == ("refund", "sent"):
            continue  # without a line an advice is stored and never sent: the same story
        journal = books.journal[:place] + books.journal[place + 1 :]
        result = books.join(journal=journal, numbers=())
        named = [item for item in result.breaks if row["rrn"] == item.rrn or row["stan"] in item.key]
        assert named, row["state"]


def test_the_sent_row_is_gone(books: Books) -> None:
    result = books.without(books.of("sale", "sent", 1000))
    assert "answered without sent" in causes(result)


def test_the_answered_row_is_gone(books: Books) -> None:
    place = books.of("sale", "answered", 1000)
    rrn = books.journal[place]["rrn"]
    found = [item for item in books.without(place).breaks if item.rrn == rrn]
    assert [item.cause for item in found] == [
        "sent and never ended", "ledger moved 1000, journal says 0", "approved at the terminal, the switch says sent",
    ]  # fmt: skip
    assert [(item.short, item.amount_minor) for item in found] == [("", 1000), ("holder", 1000), ("merchant", 1000)]


def test_the_end_of_a_reversal_is_gone(books: Books) -> None:
    result = books.without(books.of("sale", "reversal_acked"))
    assert "reversal never acknowledged" in causes(result)
    assert "reversal_acked without reversal_queued" in causes(books.without(books.of("sale", "reversal_queued")))
    assert "stored advice never delivered" in causes(books.without(books.of("refund", "delivered")))
    assert "delivered without stored" in causes(books.without(books.of("refund", "stored")))


def test_every_journal_row_doubled_is_named(books: Books) -> None:
    for row in books.journal:
        number = max(books.numbers) + 1
        result = books.join(journal=[*books.journal, row | {"number": number}], numbers=[*books.numbers, number])
        assert f"{row['state']} twice, rows {row['number']}, {number}" in causes(result)


def test_a_number_changed(books: Books) -> None:
    number = books.journal[books.of("sale", "answered", 1000)]["number"]
    numbers = [n if n != number else 999 for n in books.numbers]
    assert f"journal row {number} is missing" in causes(books.join(numbers=numbers))


CHANGES: dict[str, Any] = {
    "kind": "preauth", "mid": "999290054110099", "tid": "99999999", "batch": "000042", "stan": "000042",
    "link": "core", "net_mti": "0100", "net_time": "1028000000", "net_stan": "999999", "acquirer": "00000001",
    "forwarder": "00000001", "rrn": "301999999999", "amount": 1001, "currency": "840", "entry_mode": "051",
    "mcc": "0001", "on_us": 1, "pan_masked": "620000*********0000", "pan_hash": "00", "pan_sealed": b"",
    "original_rrn": "301000000099",
}  # fmt: skip


@pytest.mark.parametrize("state", ["sent", "answered"])
@pytest.mark.parametrize("column", CHANGES)
def test_a_column_that_lasts_is_changed(books: Books, column: str, state: str) -> None:
    place = books.of("sale", state, 1000)
    row = books.journal[place]
    assert row[column] != CHANGES[column]
    result = books.changed("journal", place, **{column: CHANGES[column]})
    assert not result.agreed
    named = [item for item in result.breaks if item.rrn == row["rrn"] or item.rrn == CHANGES["rrn"]]
    assert named
    if column != "rrn":
        assert any(item.cause.startswith(column) for item in named)


@pytest.mark.parametrize(
    ("column", "value", "cause"),
    [
        ("state", "sent", "sent twice"), ("state", "anything", "unknown state 'anything'"),
        ("response_code", "51", "ledger moved 1000, journal says 0"), ("auth_code", "999999", "auth_code: journal"),
        ("settlement_date", "1029", "settlement_date: journal '1029', issuers '1028'"),
        ("receiver", "99999999", "receiver: journal '99999999'"),
    ],
)  # fmt: skip
def test_what_an_answer_says_is_changed(books: Books, column: str, value: str, cause: str) -> None:
    place = books.of("sale", "answered", 1000)
    result = books.changed("journal", place, **{column: value})
    assert any(item.cause.startswith(cause) for item in result.breaks), causes(result)
    assert not result.agreed


def test_a_ledger_row_is_gone(books: Books) -> None:
    expected = {"sale": "acquirer", "sale_void": "holder", "refund": "holder", "completion": "acquirer"}
    for place, row in enumerate(books.ledger):
        if not (row["posted_minor"] or row["held_minor"]):
            continue
        result = books.join(ledger=books.ledger[:place] + books.ledger[place + 1 :])
        found = next(item for item in result.breaks if item.book == "issuers")
        assert found.rrn == row["rrn"]
        assert found.amount_minor == abs(row["posted_minor"] or row["held_minor"])
        if row["mti"] != "0420" and row["kind"] in expected and row["amount"] < 66602:
            assert found.cause == "not in the issuers' ledger"
            assert found.short == expected[row["kind"]]


def test_a_hold_left_standing_is_found(books: Books) -> None:
    """A reversed pre-authorization whose hold the issuer did not release."""
    place = next(p for p, r in enumerate(books.ledger) if r["mti"] == "0420" and r["kind"] == "preauth")
    result = books.join(ledger=books.ledger[:place] + books.ledger[place + 1 :])
    assert causes(result) == ["ledger moved 66602, journal says 0"]
    assert result.breaks[0].short == "holder"


def test_a_ledger_row_twice(books: Books) -> None:
    place = next(p for p, r in enumerate(books.ledger) if r["kind"] == "sale" and r["amount"] == 1000)
    result = books.join(ledger=[*books.ledger, books.ledger[place]])
    assert causes(result) == ["ledger moved 2000, journal says 1000"]
    assert (result.breaks[0].short, result.breaks[0].amount_minor) == ("holder", 1000)


def test_a_ledger_row_nobody_else_knows(books: Books) -> None:
    place = next(p for p, r in enumerate(books.ledger) if r["kind"] == "sale" and r["amount"] == 1000)
    row = books.ledger[place]
    result = books.join(ledger=[*books.ledger, row | {"net_stan": "777777", "rrn": "301000099999"}])
    [found] = result.breaks
    assert (found.cause, found.rrn, found.short) == ("in the issuers' ledger only", "301000099999", "holder")
    assert "777777" in found.key


@pytest.mark.parametrize("column", ["amount", "rrn", "mid", "tid", "mcc", "auth_code", "pan_masked", "kind", "issuer"])
def test_a_ledger_column_is_changed(books: Books, column: str) -> None:
    place = next(p for p, r in enumerate(books.ledger) if r["kind"] == "sale" and r["amount"] == 1000)
    value = 1 if column == "amount" else "0"
    result = books.changed("ledger", place, **{column: value})
    [found] = result.breaks
    name = {"issuer": "receiver"}.get(column, column)
    assert found.cause.startswith(f"{name}: journal")
    assert found.rrn == books.ledger[place]["rrn"]


def test_a_terminal_row_is_gone(books: Books) -> None:
    short = {"sale": "holder", "completion": "holder", "sale_void": "merchant", "refund": "merchant", "preauth": ""}
    for place, row in enumerate(books.terminals):
        result = books.join(terminals=books.terminals[:place] + books.terminals[place + 1 :])
        if row["state"] != "approved" or row["kind"] == "balance":
            assert result.agreed
            continue
        [found] = result.breaks
        assert found.cause == "approved by the switch, unknown to its terminal"
        assert found.key == f"{row['mid']}/{row['tid']}/{row['batch']}/{row['stan']}"
        assert (found.short, found.amount_minor) == (short[row["kind"]], row["amount"])


@pytest.mark.parametrize(
    ("values", "cause", "short"),
    [
        ({"state": "declined"}, "approved by the switch, declined at the terminal", "holder"),
        ({"state": "unknown"}, "approved by the switch, its end unknown to the terminal", "holder"),
        ({"reversal": "done"}, "approved by the switch, reversed at the terminal", "holder"),
        ({"reversal": "pending"}, "its reversal never reached the switch", "holder"),
        ({"amount": 999}, "amount: journal 1000, terminals 999", ""),
        ({"rrn": "0"}, "rrn: journal", ""), ({"auth_code": "0"}, "auth_code: journal", ""),
        ({"pan_masked": "0"}, "pan_masked: journal", ""), ({"kind": "refund"}, "kind: journal 'sale'", ""),
        ({"entry_mode": "051"}, "entry_mode: journal", ""), ({"currency": "840"}, "currency: journal", ""),
    ],
    ids=str,
)  # fmt: skip
def test_a_terminal_column_is_changed(books: Books, values: dict[str, Any], cause: str, short: str) -> None:
    place = next(p for p, r in enumerate(books.terminals) if r["kind"] == "sale" and r["amount"] == 1000)
    found = books.changed("terminals", place, **values).breaks[0]
    assert found.cause.startswith(cause)
    assert found.short == short
    assert found.rrn == books.terminals[place]["rrn"]


def test_a_terminal_s_sale_that_nobody_knows(books: Books) -> None:
    place = next(p for p, r in enumerate(books.terminals) if r["kind"] == "sale" and r["amount"] == 1000)
    result = books.changed("terminals", place, stan="000777")
    assert [(item.cause, item.short) for item in result.breaks] == [
        ("approved at the terminal, unknown to the switch", "merchant"),
        ("approved by the switch, unknown to its terminal", "holder"),
    ]
    twice = books.join(terminals=[*books.terminals, books.terminals[place]])
    assert [item.cause for item in twice.breaks] == ["twice in its terminal's book"]


def test_the_same_stan_on_two_lines_is_two_keys() -> None:
    """Two counterparts may be sent the same DE7 and DE11: their rows are told apart by the line."""
    house = House()
    memory = house.memories[0]
    assert house.run(pos.sign_in(memory, house.line)).approved
    for counterpart in house.engine.office.counterparts.values():
        counterpart.stan_last = 500
    assert house.run(pos.sale(memory, house.line, house.card(0), 100)).approved
    assert house.run(pos.sale(memory, house.line, house.card(1), 200)).approved
    journal = [row for row in house.of("journal") if row["state"] == "sent"]
    assert len({(row["net_time"], row["net_stan"]) for row in journal}) == 1
    assert len(deals(house.of("journal"))) == 2
    rows = [dict(zip(LEDGER.names, row, strict=True)) for book in house.ledgers.values() for row in book]
    assert len(postings(rows)) == 2
    assert house.books().agreed


def test_a_break_as_json() -> None:
    one = Break("issuers", "cups/1028/000001", "301000000001", "sale", "why", 100, "acquirer")
    assert one.as_dict() == {
        "book": "issuers", "key": "cups/1028/000001", "rrn": "301000000001", "kind": "sale", "cause": "why",
        "amount_minor": 100, "short": "acquirer",
    }  # fmt: skip
