"""Every expectation both ways: what is so passes, what is not so is told with what was expected and what was found."""

from typing import Any

import pytest

from scenarios.story.expect import Judge
from scenarios.story.flows import Unfit
from scenarios.story.house import House
from scenarios.story.shape import BadStory

SHOP = {"t1": {"terminal": "shop", "signed-in": True}, "c1": {"card": "debit-stripe", "balance": 500}}
TAP = {"t1": {"terminal": "tap-shop", "signed-in": True}, "c1": {"card": "dual"}}
ATM = {"t1": {"terminal": "crs", "signed-in": True}, "c1": {"card": "own-dual"}}


def holds(house: House, path: str, wanted: Any, wrong: Any, told: str) -> None:
    """`wanted` is met; `wrong` is not, and the difference says `told`."""
    tree: Any = wanted
    other: Any = wrong
    for key in reversed(path.split("/")):
        tree, other = {key: tree}, {key: other}
    done = _last(house)
    done.expect(**tree)
    with pytest.raises(AssertionError) as caught:
        done.expect(**other)
    assert told in str(caught.value), str(caught.value)


def _last(house: House) -> Any:
    from scenarios.story.house import Done

    return Done(house)


@pytest.fixture(scope="module")
def sold() -> House:
    """A house in which a sale of 12.00 has just been approved."""
    house = House(SHOP)
    house.step(do="sale", amount=12)
    return house


MESSAGES = [
    ("answer", "00", "51", "expect.answer: expected 51, actual 00"),
    ("request", "any", "none", "expect.request: expected none, actual 0200 sale"),
    ("reversal", "none", "any", "expect.reversal: expected any, actual none"),
    ("request/mac", "right", "wrong", "expect.request.mac: expected wrong, actual right"),
    ("reply/mac", "right", "none", "expected none, actual right"),
    ("to-host/mac", "right", "wrong", "expected wrong, actual right"),
    ("request/mti", "0200", "0100", "expected a message 0100, actual 0200 sale"),
    ("request/nth", 1, 2, "expected a message 0200 (number 2), actual 0200 sale"),
    ("to-host/line", "cups", "core", "expected a message 0200"),
    ("request/de/39", "absent", "present", "expect.request.de.39: expected present, actual absent"),
    ("reply/de/39", "present", "absent", "expected absent, actual 00"),
    ("request/de/4", "000000001200", "000000001201", "expected 000000001201, actual 000000001200"),
    ("request/de/4", {"amount": 12}, {"amount": 13}, "expected 000000001300, actual 000000001200"),
    ("request/de/3", {"value": "000000"}, {"not": "000000"}, "expected not 000000, actual 000000"),
    ("request/de/22", {"in": ["021", "022"]}, {"in": ["051", "052"]}, "expected one of 051, 052, actual 021"),
    ("reply/de/37", {"pattern": "^[0-9]{12}$"}, {"pattern": "^X"}, "expected like ^X"),
    ("reply/de/38", {"length": 6}, {"length": 5}, "expected 5 characters"),
    ("reply/de/11", {"echo": "request"}, {"echo": "to-host"}, "as in to-host, actual"),
    ("reply/de/37", {"echo": "to-host"}, {"echo": "request"}, "expected absent as in request"),
    ("to-host/de/37", {"echo": "reply.37"}, {"echo": "reply.38"}, "as in reply.38"),
    ("request/de/60[8:11]", "000", "201", "expected 201, actual 000"),
    ("reply/de/63", {"pattern": "^CUP"}, "ABC", "expected ABC"),
    ("request/only", [3, 4, 11, 22, 25, 26, 35, 41, 42, 49, 52, 53, 60], [3, 4], "expected [3, 4], actual [3, 4, 11"),
    ("request/after", "0 s", "9 s", "expect.request.after: expected after 9 s"),
    ("request/before", "9 s", "1 ms", "expect.request.before: expected before 0.001 s"),
    ("count/request", 1, 2, "expect.count.request: expected 2, actual 1 (0200 sale)"),
    ("count/to-host 0200 cups", 1, 0, "expected 0, actual 1"),
    ("count/to-host 0420", 0, 1, "expected 1, actual 0"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "wanted", "wrong", "told"), MESSAGES)
def test_messages(sold: House, path: str, wanted: Any, wrong: Any, told: str) -> None:
    holds(sold, path, wanted, wrong, told)


STATES = [
    ("terminal/state", "approved", "declined", "expect.terminal.state: expected declined, actual approved"),
    ("terminal/reason", "", "timed out", "expected timed out, actual "),
    ("terminal/signed-in", True, False, "expected false, actual true"),
    ("terminal/pending-reversal", False, True, "expected true, actual false"),
    ("terminal/reversal", "none", "done", "expected done, actual none"),
    ("terminal/undone", False, True, "expected true, actual false"),
    ("terminal/batch", "000001", "000002", "expected 000002, actual 000001"),
    ("terminal/items", 1, 0, "expected 0, actual 1"),
    ("terminal/totals/debit", 12, 13, "expect.terminal.totals.debit: expected 13.00, actual 12.00"),
    ("terminal/totals/debits", 1, 2, "expected 2, actual 1"),
    ("terminal/totals/credits", 0, 2, "expected 2, actual 0"),
    ("terminal/receipt", "printed", "none", "expect.terminal.receipt: expected none, actual printed"),
    ("terminal/receipt/contains", ["消费", "SALE", "12.00"], "13.00", "expected with 13.00"),
    ("terminal/receipt/lacks", "13.00", "12.00", "expected without 12.00"),
    ("books/state", "answered", "sent", "expect.books.state: expected sent, actual answered"),
    ("books/states", ["sent", "answered"], ["sent"], "expected sent, actual sent, answered"),
    ("books/record/amount", "1200", "1", "expect.books.record.amount: expected 1, actual 1200"),
    ("books/record/response_code", {"not": "51"}, {"in": ["51", "61"]}, "expected one of 51, 61, actual 00"),
    ("books/account/posted", 12, 0, "expect.books.account.posted: expected 0.00, actual 12.00"),
    ("books/account/held", 0, 5, "expected 5.00, actual 0.00"),
    ("books/account/rows", 1, 2, "expected 2, actual 1"),
    ("books/account/points", 0, 1, "expected 1.00, actual 0.00"),
    ("books/balanced", True, False, "expect.books.balanced: expected false, actual true"),
    ("books/breaks", 0, 1, "expected 1, actual 0"),
    ("books/suspicious", 0, 1, "expected 1, actual 0"),
    ("books/stored", 0, 1, "expected 1, actual 0"),
    ("books/inflight", 0, 1, "expected 1, actual 0"),
    ("books/lines/cups", True, False, "expect.books.lines.cups: expected false, actual true"),
    ("books/day/core", "", "1029", "expect.books.day.core: expected 1029, actual "),
    ("books/e-cash/breaks", 0, 1, "expect.books.e-cash.breaks: expected 1, actual 0"),
    ("books/events/offline", 0, 1, "expected 1, actual 0"),
    ("metrics/refused", 0, 1, "expect.metrics.refused: expected 1, actual 0"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "wanted", "wrong", "told"), STATES, ids=[s[0] for s in STATES])
def test_terminal_and_books(sold: House, path: str, wanted: Any, wrong: Any, told: str) -> None:
    holds(sold, path, wanted, wrong, told)


def test_the_chip_as_the_kernel_and_the_card_see_it() -> None:
    house = House(TAP)
    house.step(do="sale", amount=1200, entry="chip", force_online=True)
    for path, wanted, wrong, told in (
        ("request/de/55.9F36", {"length": 4}, "absent", "expected absent, actual 0001"),
        ("card/outcome", "online", "approved", "expected approved, actual online"),
        ("card/first", "ARQC", "TC", "expected TC, actual ARQC"),
        ("card/certificate", "TC", "AAC", "expected AAC, actual TC"),
        ("card/tvr/online-pin", True, False, "expect.card.tvr.online-pin: expected false, actual true"),
        ("card/tvr/new-card", True, False, "expected false, actual true"),
        ("card/tsi/cvm", True, False, "expected false, actual true"),
        ("card/cvm", "online-pin", "signature", "expected signature, actual online-pin"),
        ("card/issuer-authenticated", True, False, "expected false, actual true"),
        ("card/balance", 100, 99, "expect.card.balance: expected 99.00, actual 100.00"),
        ("card/atc", 1, 2, "expected 2, actual 1"),
        ("card/atc-grown", 1, 0, "expected 0, actual 1"),
        ("card/pin-tries", 3, 2, "expected 2, actual 3"),
        ("card/blocked", False, True, "expected true, actual false"),
        ("card/aid", "A000000333010101", "A000000333010102", "actual A000000333010101"),
        ("card/no-pin", False, True, "expected true, actual false"),
        ("card/e-cash", False, True, "expected true, actual false"),
        ("card/commands/AE", 2, 1, "expect.card.commands.AE: expected 1, actual 2"),
    ):
        holds(house, path, wanted, wrong, told)
    house.step(do="sale", amount=10, entry="tap")
    for path, wanted, wrong, told in (
        ("answer", "Y1", "00", "expected 00, actual Y1"),
        ("card/e-cash", True, False, "expected false, actual true"),
        ("card/balance", 90, 100, "expected 100.00, actual 90.00"),
        ("terminal/offline", 1, 0, "expect.terminal.offline: expected 0, actual 1"),
        ("books/e-cash/held", 1, 0, "expected 0, actual 1"),
        ("books/account/shadow", 100, 90, "expect.books.account.shadow: expected 90.00, actual 100.00"),
    ):
        holds(house, path, wanted, wrong, told)


def test_cash() -> None:
    house = House(ATM)
    house.step(do="atm-withdrawal", amount=300)
    for path, wanted, wrong, told in (
        ("cash/taken", 300, 200, "expect.cash.taken: expected 200.00, actual 300.00"),
        ("cash/inside", 53_700, 54_000, "expected 54000.00, actual 53700.00"),
        ("cash/in-service", True, False, "expected false, actual true"),
        ("cash/errors", 0, 1, "expected 1, actual 0"),
        ("cash/open-errors", 0, 1, "expected 1, actual 0"),
        ("cash/difference", 0, 1, "expected 1.00, actual 0.00"),
        ("cash/retained", 0, 1, "expected 1, actual 0"),
        ("cash/agrees", True, False, "expected false, actual true"),
        ("cash/events/dispensed", 1, 0, "expect.cash.events.dispensed: expected 0, actual 1"),
    ):
        holds(house, path, wanted, wrong, told)


def test_settlement_and_uploads() -> None:
    house = House(SHOP)
    house.step(do="sale", amount=12)
    house.step(do="settle")
    for path, wanted, wrong, told in (
        ("terminal/reason", "balanced", "unbalanced", "expected unbalanced, actual balanced"),
        ("terminal/receipt/contains", "12.00", "13.00", "expected with 13.00"),
        ("books/settlement/debit_minor", "1200", "0", "expect.books.settlement.debit_minor: expected 0, actual 1200"),
        ("books/uploads", [], ["matched"], "expected matched, actual none"),
    ):
        holds(house, path, wanted, wrong, told)


def test_balance_of_an_account() -> None:
    house = House(SHOP)
    house.step(do="balance")
    holds(house, "terminal/balance", 500, 499, "expect.terminal.balance: expected 499.00, actual 500.00")


def test_a_missing_answer_says_why_no_reply_matched() -> None:
    house = House(SHOP)
    alter = {"on": "cups", "what": "alter", "which": {"mti": "0210"}, "de": {"11": "000042"}, "times": "all"}
    house.step(do="sale", amount=12, faults=alter)
    with pytest.raises(AssertionError) as caught:
        _last(house).expect(answer="00")
    assert "expected 00, actual 98" in str(caught.value)
    hint = house.judge.no_match()
    assert hint.startswith("to the host: no answer: it would have been MTI 0210")
    assert "DE11 is 000042, not" in hint


def test_captured_values_are_kept_for_later_steps() -> None:
    house = House(SHOP)
    house.step(do="sale", amount=12, expect={"reply": {"de": {"37": {"capture": "rrn"}}}})
    house.step(do="settle", expect={"books": {"state": "none"}})
    house.step(do="sign-in")
    house.step(
        do="refund", card="c1", amount=12,
        original={"batch": "000001", "stan": "000002", "date": "1028", "rrn": "$rrn"},
        expect={"answer": "00", "request": {"de": {"37": "$rrn"}}},
    )  # fmt: skip
    with pytest.raises(Unfit, match=r"nothing was captured as \$other"):
        house.step(do="refund", card="c1", amount=1, original={"rrn": "$other"})


def test_what_is_kept_is_masked_where_it_is_shown() -> None:
    house = House(SHOP)
    house.step(do="sale", amount=12)
    with pytest.raises(AssertionError) as caught:
        _last(house).expect(to_host={"de": {"2": "absent", "35": "absent", "52": "absent"}})
    pan = house.cards["c1"].pan
    assert pan not in str(caught.value)
    assert f"{pan[:6]}*********{pan[-4:]}" in str(caught.value)
    assert all(pan not in line for one in house.stage.witness.passings for line in (one.title, *one.lines))


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"terminal": {"at": "t9", "items": 0}}, '"t9" is no terminal'),
        ({"card": {"of": "c9", "atc": 0}}, '"c9" is no card'),
        ({"cash": {"errors": 0}}, "t1 holds no cash"),
        ({"metrics": {"nonsense": 0}}, 'no counter is called "nonsense"'),
        ({"count": {"elsewhere": 0}}, '"elsewhere" is no place'),
        ({"reply": {"de": {"11": {"echo": "elsewhere"}}}}, '"elsewhere" is no place'),
        ({"reply": {"de": {"11": {"pattern": "("}}}}, "is no regular expression"),
    ],
)
def test_what_cannot_be_looked_at_is_a_bad_story(sold: House, wanted: dict[str, Any], why: str) -> None:
    with pytest.raises(Unfit, match=why.replace("(", "[(]")):
        _last(sold).expect(**wanted)


def test_unknown_keys_are_refused_in_python_too(sold: House) -> None:
    with pytest.raises(BadStory, match='unknown key "anser", did you mean "answer"'):
        _last(sold).expect(anser="00")
    assert isinstance(sold.judge, Judge)
