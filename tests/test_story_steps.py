"""Every kind of step and every kind of fault, seen by what it does to messages, books, terminal and card."""

from pathlib import Path
from typing import Any

import pytest

from scenarios.story.flows import Unfit
from scenarios.story.house import House
from scenarios.story.result import Verdict
from scenarios.story.run import play_path, yes
from scenarios.story.shape import compose_text
from scenarios.story.vocabulary import FAULTS, KINDS, OTHERS, STEPS

SHOP: dict[str, Any] = {"t1": {"terminal": "shop", "signed-in": True}, "c1": {"card": "debit-stripe", "balance": 500}}
TAP: dict[str, Any] = {"t1": {"terminal": "tap-shop", "signed-in": True}, "c1": {"card": "dual"}}
ATM: dict[str, Any] = {"t1": {"terminal": "crs", "signed-in": True}, "c1": {"card": "own-dual"}}


@pytest.fixture
def shop() -> House:
    return House(SHOP)


@pytest.fixture
def tap() -> House:
    return House(TAP)


@pytest.fixture
def atm() -> House:
    return House(ATM)


# what terminals do


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("balance", {}), ("sale", {}), ("preauth", {}), ("offline-sale", {"voice": "ABC123"}), ("moto-sale", {}),
        ("moto-preauth", {}), ("instalment-sale", {"periods": 6}), ("points-sale", {}), ("points-balance", {}),
        ("reservation-sale", {}), ("account-load", {"to": "c2"}), ("cash-load-verify", {}), ("cash-load", {}),
        ("transfer", {"to": "c2"}), ("assisted-withdrawal", {}), ("stripe-load", {}),
    ],
)  # fmt: skip
def test_kinds_that_stand_alone(kind: str, more: dict[str, Any]) -> None:
    house = House({**SHOP, "c2": {"card": "debit-stripe", "nth": 2}})
    amount = {} if kind in ("balance", "points-balance", "cash-load-verify") else {"amount": 12}
    house.step(do=kind, card="c1", **amount, **more, expect={"answer": "00"})


def test_kinds_that_speak_of_another(shop: House) -> None:
    shop.step(do="sale", amount=20, **{"as": "s1"})
    shop.step(do="tip", of="s1", amount=2, expect={"answer": "00"})
    shop.step(do="sale", amount=10, **{"as": "s2"})
    shop.step(do="sale-void", of="s2", expect={"answer": "00", "terminal": {"items": 4}})
    shop.step(do="refund", card="c1", of="s1", amount=5, expect={"answer": "00"})
    shop.step(do="preauth", card="c1", amount=100, **{"as": "p"})
    shop.step(do="additional-preauth", card="c1", of="p", amount=20, expect={"answer": "00"})
    shop.step(do="completion", card="c1", of="p", amount=110, expect={"answer": "00"}, **{"as": "c"})
    shop.step(do="completion-void", of="c", expect={"answer": "00"})
    shop.step(do="preauth-void", of="p", expect={"answer": "00"})
    shop.step(do="offline-sale", card="c1", amount=8, **{"as": "o"})
    shop.step(do="adjust", of="o", amount=1, expect={"answer": "00", "books": {"balanced": True}, "within": "10 s"})


def test_dialogues_without_money(shop: House) -> None:
    for kind in ("echo", "parameters", "status", "put-right", "sign-off", "sign-in", "settle"):
        shop.step(do=kind, expect={"terminal": {"state": "unsent" if kind == "put-right" else "approved"}})


def test_a_refund_at_another_terminal_names_its_original() -> None:
    house = House({**SHOP, "t2": {"terminal": "shop", "merchant": "t1", "signed-in": True}})
    house.step(do="sale", at="t1", amount=12, **{"as": "s"})
    refund = house.step(do="refund", at="t2", card="c1", of="s", amount=12)
    assert refund.answer == "00"
    assert refund.seen("request")[0].fields[61][:12] == "000001000002"


def test_pins(shop: House) -> None:
    for pin, answer in (("wrong", "55"), ("000000", "55"), ("right", "00")):
        assert shop.step(do="sale", amount=1, pin=pin).answer == answer
    shop.step(do="sale", amount=1, pin="cancel", expect={"request": "none", "terminal": {"reason": "cancelled"}})
    shop.step(do="sale", amount=1, pin="none", expect={"request": {"de": {"52": "absent", "22": "022"}}})


def test_entries(tap: House) -> None:
    for entry, digits in (("chip", "05"), ("tap", "07"), ("fallback", "02"), ("manual", "01")):
        sale = tap.step(do="sale", amount=1500, entry=entry, e_cash=False)
        assert sale.seen("request", "0200")[-1].fields[22][:2] == digits, entry
    tap.step(do="sale", amount=5, entry="stripe", expect={"request": "none", "terminal": {"reason": "insert_card"}})


def test_loads_purse_and_upload(tap: House) -> None:
    tap.step(do="load-designated", amount=50, expect={"answer": "00", "card": {"balance": 150}})
    tap.step(do="load-cash", amount=20, expect={"card": {"balance": 170}}, **{"as": "l"})
    tap.step(do="load-cash-void", of="l", expect={"answer": "00", "card": {"balance": 150}})
    tap.step(do="purse", entry="tap", expect={"terminal": {"balance": 150}})
    tap.step(do="purse", expect={"terminal": {"balance": 150}})
    tap.step(do="sale", amount=10, entry="tap", expect={"terminal": {"offline": 1}})
    tap.step(do="upload", expect={"terminal": {"offline": 0}, "books": {"e-cash": {"uploaded": 1, "breaks": 0}}})
    with pytest.raises(Unfit, match="which card"):
        House({**TAP, "c2": {"card": "debit-stripe"}}).step(do="load-designated", amount=1)


def test_a_fresh_terminal_downloads_all_it_needs() -> None:
    house = House({"t1": {"terminal": "tap-shop", "fresh": True}, "c1": {"card": "dual"}})
    house.check(terminal={"at": "t1", "applications": 0, "ca-keys": 0})
    house.step(do="download", what="applications", expect={"terminal": {"state": "approved", "applications": 4}})
    house.step(do="download", expect={"terminal": {"state": "approved"}})
    assert house.terminals["t1"].memory.reader is not None
    assert len(house.terminals["t1"].memory.reader.kernel.parameters.ca_keys) >= 2


def test_machines(atm: House) -> None:
    atm.step(do="atm-inquiry", entry="stripe", expect={"terminal": {"reason": "insert_card"}})
    atm.step(do="atm-inquiry", expect={"answer": "00", "request": {"de": {"22": "051"}}})
    atm.step(do="atm-withdrawal", amount=300, entry="tap", expect={"answer": "00", "cash": {"taken": 300}})
    atm.step(do="atm-withdrawal", amount=200, takes=1, expect={"cash": {"taken": 100, "errors": 1}})
    atm.step(do="atm-withdrawal", amount=100, takes_card=False, expect={"cash": {"retained": 1}})
    atm.step(do="atm-withdrawal", amount=90_000, takes_less=False, expect={"request": "none"})
    atm.step(do="load-designated", amount=50, expect={"answer": "00", "card": {"balance": 150}})
    atm.step(do="count-machine", expect={"terminal": {"state": "approved"}, "cash": {"inside": 0}})
    atm.step(fill="t1", notes={100: 10}, expect={"cash": {"inside": 1000}})
    with pytest.raises(Unfit, match="find no room"):
        atm.step(fill="t1", notes={100: 99_999})


def test_machines_by_stripe() -> None:
    house = House({**ATM, "c1": {"card": "own-stripe"}, "c2": {"card": "debit-stripe"}})
    house.step(do="atm-deposit", card="c1", notes={100: 3}, expect={"answer": "00", "cash": {"inside": 54_300}})
    house.step(do="atm-transfer", card="c1", to="c2", amount=5, expect={"answer": "00"})
    house.step(do="atm-pin-change", card="c1", new_pin="112233", expect={"answer": "00"})
    house.step(do="atm-inquiry", card="c1", expect={"answer": "00"})
    house.step(do="atm-pin-change", card="c1", new_pin="445566", new_pin_again="445567", expect={"request": "none"})
    house.step(do="atm-inquiry", card="c1", pin="112233", expect={"answer": "00"})


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"do": "sale"}, "sale: which amount"),
        ({"do": "sale-void"}, "speaks of an earlier transaction"),
        ({"do": "sale", "amount": 1, "entry": "chip"}, "reads no chips"),
        ({"do": "sale", "amount": 1, "entry": "fallback"}, "a fallback needs a terminal that reads chips"),
        ({"do": "atm-withdrawal", "amount": 100}, "is done at a machine"),
        ({"do": "transfer", "amount": 1}, "to which card"),
        ({"do": "sale", "amount": 1, "original": {"rrn": "1"}}, "speaks of no earlier transaction"),
        ({"do": "download"}, "reads no chips"),
        ({"fill": "t1", "notes": {100: 1}}, "holds no cash"),
        ({"power-off": "c1"}, '"c1" is no terminal'),
        ({"fault": {"on": "c1", "what": "drop"}}, "messages pass at a terminal"),
        ({"fault": {"on": "t1", "what": "crash"}}, "a process is switch, cups or core"),
        ({"fault": {"on": "t1", "what": "pull"}}, "is no card"),
        ({"fault": {"on": "cups", "what": "jam"}}, "is no terminal"),
        ({"fault": {"on": "t1", "what": "jam"}}, "holds no cash"),
        ({"fault": {"on": "c1", "what": "cut"}}, "is no line"),
        ({"rules": {"cups": [{"action": "silence", "card": "c9"}]}}, "nobody in the cast"),
    ],
)
def test_what_cannot_be_done_is_a_bad_story(shop: House, step: dict[str, Any], why: str) -> None:
    with pytest.raises(Unfit, match=why):
        shop.step(**step)


# raw messages


def test_raw_messages(shop: House) -> None:
    sent = shop.step(send={"like": "sale", "fields": {"4": "000000000100"}}, amount=1, pin="right")
    assert sent.seen("reply")[0].fields[39] == "00"
    shop.step(send={"like": "sale", "without": [25]}, amount=1, expect={"answer": "30"})
    shop.step(send={"like": "sale", "mac": "wrong"}, amount=1, expect={"answer": "A0", "request": {"mac": "wrong"}})
    shop.step(send={"like": "sale", "mac": "none"}, amount=1, expect={"request": {"mac": "none"}})
    shop.step(send={"mti": "0820", "fields": {"60": "00000000301"}}, expect={"answer": "00"})
    shop.step(send={"mti": "0820", "like": "echo", "fields": {"60[8:11]": "999"}}, wait="5 s")
    shop.step(send={"mti": "0900"}, wait="5 s", expect={"answer": "12"})
    shop.step(send={"raw": "0005 0102030405"}, wait="5 s", expect={"answer": "none"})
    shop.step(send={"like": "sign-in"}, expect={"reply": {"de": {"62": "present"}}})


def test_a_raw_reversal_of_a_sale(shop: House) -> None:
    shop.step(do="sale", amount=12, **{"as": "s"})
    shop.step(
        send={"like": "reversal", "of": "s"},
        expect={"answer": "00", "books": {"account": {"posted": 0}}, "within": "9 s"},
    )


def test_messages_from_the_other_side(shop: House) -> None:
    shop.step(send={"mti": "0820", "fields": {"70": "301"}}, **{"from": "cups"}, expect={
        "from-host": {"mti": "0820", "de": {"70": "301"}}, "to-host": {"mti": "0830", "de": {"39": "00"}},
    })  # fmt: skip
    shop.step(host="cups", ask="line-test", expect={"to-host": {"mti": "0830", "de": {"39": "00"}}})
    shop.step(host="cups", ask="key-reset", expect={"count": {"from-host 0800": 2, "to-host 0810": 2}})
    shop.step(host="cups", ask="cut-over", expect={"books": {"day": {"cups": "1029"}}, "within": "30 s"})
    with pytest.raises(Unfit, match="does not come after"):
        shop.step(host="cups", ask="cut-over", date="1028")


def test_the_switchs_operator(shop: House) -> None:
    for order, code in (("line-test", "301"), ("sign-off", "002"), ("sign-on", "001"), ("key-reset", "101")):
        shop.step(switch=order, expect={
            "to-host": {"mti": "0820", "nth": 1, "de": {"70": code}},
            "from-host": {"mti": "0830", "nth": 1, "de": {"39": "00"}},
        })  # fmt: skip
    shop.step(switch="drain")
    shop.step(**{"pass": "5 s"}, expect={"books": {"lines": {"cups": True, "core": True}}})


# faults


def test_every_fault_there_is_is_tried_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in FAULTS if f'"{name}"' not in text] == []


REPLY, REQUEST = {"mti": "0210"}, {"mti": "0200"}
OWES: dict[str, Any] = {"terminal": {"pending-reversal": True}}


def at(place: str, what: str, which: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A fault at a place, of a message or not."""
    return {"on": place, "what": what, **({"which": which} if which else {}), **more}


ALTERED = {"de": {"39": "51"}}
CASES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    (at("cups", "drop", REPLY), "98", {"count": {"host-reversal": 1}}),
    (at("cups", "drop", {**REQUEST, "from": "switch"}), "98", {"count": {"from-host 0210": 0}}),
    (at("cups", "delay", REPLY, **{"for": "40 s"}), "98", {"books": {"suspicious": 0}}),
    (at("cups", "delay", REPLY, **{"for": "4 s"}), "00", {"count": {"host-reversal": 0}}),
    (at("cups", "duplicate", REPLY, copies=3), "00", {"count": {"reply 0210": 1}}),
    (at("cups", "replay", REPLY, **{"for": "2 s"}), "00", {"books": {"account": {"posted": 12}}}),
    (at("cups", "reject", REQUEST), "96", {}),
    (at("cups", "echo", REQUEST), "98", {}),
    (at("cups", "alter", REPLY, **ALTERED), "51", {"from-host": {**REPLY, "mac": "right"}}),
    (at("cups", "alter", REPLY, **ALTERED, mac="keep"), "98", {"from-host": {**REPLY, "mac": "wrong"}}),
    (at("cups", "alter", REPLY, remove=[39]), "98", {}),
    (at("cups", "truncate", REPLY, bytes=20), "98", {}),
    (at("cups", "cut", when=REQUEST), "98", {}),
    (at("cups", "down", **{"for": "90 s"}), "91", {"count": {"to-host 0200": 0}}),
    (at("cups", "hold", **{"for": "10 s"}), "00", {}),
    (at("cups", "freeze", **{"for": "10 s"}), "00", {}),
    (at("cups", "crash", when=REQUEST), "98", {}),
    (at("cups", "crash-before-sync"), "98", {"books": {"account": {"posted": 0}}}),
    (at("cups", "crash-after-sync"), "98", {"books": {"account": {"rows": 2, "posted": 0}}}),
    (at("cups", "disk-full"), "98", {}),
    (at("cups", "disk-error"), "98", {}),
    (at("cups", "clock", by="3600"), "00", {}),
    (at("switch", "crash", when={"rows": 1}), "none", OWES),
    (at("t1", "drop", REPLY), "none", OWES),
    (at("t1", "alter", REPLY, **ALTERED, mac="wrong"), "51", {}),
    (at("t1", "hang-up", when={**REQUEST, "wait": "10 ms"}), "none", {"terminal": {"reason": "unreachable"}}),
    (at("t1", "power-off", when=REQUEST, **{"for": "20 s"}), "none", OWES),
]


@pytest.mark.parametrize(
    ("fault", "answer", "more"), CASES, ids=[f"{case[0]['what']} {n}" for n, case in enumerate(CASES)]
)
def test_faults(shop: House, fault: dict[str, Any], answer: str, more: dict[str, Any]) -> None:
    shop.step(do="sale", amount=12, faults=fault)
    done = shop.step(check={"answer": answer, **more, "within": "120 s"}) if answer != "none" else None
    if done is None:
        shop.step(check={**more, "within": "120 s"})
    # whatever it was, the books come to rest and agree
    shop.pass_time(30)
    shop.step(do="put-right")
    told_otherwise = fault["what"] == "alter" and fault.get("mac") != "keep" and "de" in fault
    shop.check(books={"balanced": not told_otherwise, "stored": 0, "inflight": 0}, within="300 s")


def test_answers_that_change_places() -> None:
    house = House({
        **SHOP, "t2": {"terminal": "shop", "signed-in": True}, "c2": {"card": "debit-stripe", "nth": 2},
    })  # fmt: skip
    house.step(fault={"on": "cups", "what": "swap", "which": {"mti": "0210"}})
    house.step(do="sale", at="t1", card="c1", amount=1, go_on=True)
    house.step(do="sale", at="t2", card="c2", amount=2, expect={"answer": "00"})
    answers = [one.fields[4] for one in house.stage.witness.messages if one.mti == "0210" and one.leg == "cups"]
    assert answers == ["000000000100", "000000000200"]  # as the centre wrote them
    house.check(books={"balanced": True}, count={"host-reversal": 0})


def test_what_happens_to_cards(tap: House) -> None:
    tap.step(do="sale", amount=12, entry="chip", e_cash=False, faults={"on": "c1", "what": "pull", "nth": 5}, expect={
        "request": "none", "terminal": {"reason": "card_removed"},
    })  # fmt: skip
    torn = {"on": "c1", "what": "tear", "how": "paid"}
    tap.step(do="sale", amount=10, entry="tap", taps_again=False, faults=torn, expect={
        "terminal": {"torn": 1}, "card": {"balance": 90},
    })  # fmt: skip
    tap.step(do="load-designated", amount=50, faults={"on": "t1", "what": "dark"})
    tap.step(do="put-right", expect={"terminal": {"pending-reversal": False}})
    tap.step(do="sale", amount=9, entry="chip", e_cash=False, faults={
        "on": "t1", "what": "power-off", "when": {"command": "AE"}, "for": "5 s",
    })  # fmt: skip
    assert tap.player.act is not None
    assert tap.player.act.outcome is None


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("none", {"taken": 0, "errors": 0}), ("part", {"taken": 100, "errors": 1}),
        ("unknown", {"taken": 0, "open-errors": 1, "in-service": False}), ("reject", {"taken": 300, "errors": 0}),
    ],
)  # fmt: skip
def test_jams(atm: House, how: str, expected: dict[str, Any]) -> None:
    jam = {"on": "t1", "what": "jam", "how": how, "notes": 1}
    atm.step(do="atm-withdrawal", amount=300, faults=jam, expect={"cash": expected})


def test_rules_end_after_their_times(shop: House) -> None:
    shop.step(
        rules={"cups": [{"action": "code", "code": "51", "times": 2}, {"action": "code", "code": "61", "amount": 7}]}
    )
    answers = [shop.step(do="sale", amount=amount).answer for amount in (7, 8, 7, 8)]
    assert answers == ["51", "51", "61", "00"]
    shop.step(rules={"cups": {"action": "silence-after-posting", "card": "c1"}})
    shop.step(do="sale", amount=1, expect={"answer": "98"})
    shop.step(rules={"cups": []})
    assert shop.step(do="sale", amount=7).answer == "00"


def test_hosts_by_name_behave_so_from_the_start() -> None:
    house = House(SHOP, hosts="poor")
    assert house.step(do="sale", amount=1).answer == "51"


def test_time_power_and_restarts(shop: House) -> None:
    before = shop.stage.wall_of(shop.stage.switch)
    shop.step(**{"pass": "31 d"})
    assert 31 * 86_400 <= shop.stage.wall_of(shop.stage.switch) - before < 31 * 86_400 + 3_700
    shop.step(**{"power-off": "t1", "for": "20 s"})
    shop.step(do="echo", expect={"terminal": {"state": "approved"}})
    for name in ("switch", "cups", "core"):
        shop.step(restart=name, **{"for": "3 s"}, expect={"books": {"lines": {"cups": True, "core": True}}})
    shop.step(do="sale", amount=1, expect={"answer": "00"})


def test_profile_and_chip_are_set_otherwise_for_one_story() -> None:
    house = House(SHOP, profile={"cups": {"timers.reply_s": 5}}, hosts="deaf")
    house.step(do="sale", amount=1, expect={"answer": "98", "reply": {"before": "9 s"}})
    place = "application/main/objects/9F79"
    rich = House({**TAP, "c1": {"card": "dual", "chip": {place: "000000050000"}}})
    rich.step(do="purse", expect={"terminal": {"balance": 500}, "books": {"e-cash": {"breaks": 0}}})
    strict = House({**TAP, "t1": {"terminal": "tap-shop", "signed-in": True, "kernel": {"tac_denial": "FFFFFFFFFF"}}})
    strict.step(do="sale", amount=1, e_cash=False, entry="chip", expect={"terminal": {"state": "declined"}})


# stories as files


def story(tmp_path: Path, steps: str, more: str = "") -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(
        f"id: XY-001\ntitle: a\n{more}cast: {{t1: {{terminal: shop, signed-in: true}}, c1: {{card: debit-stripe}}}}\n"
        f"steps:\n{steps}"
    )
    return path


def test_a_story_that_would_wait_for_ever_is_stuck_at_its_limit(tmp_path: Path) -> None:
    result = play_path(story(tmp_path, "- until: {terminal: {at: t1, items: 5}}\n", "limit: 30 s\n"))
    assert (result.verdict, result.reason) == (Verdict.STUCK, "still waiting after 30 s of virtual time")
    assert result.virtual_s == 30.0
    assert [(one.path, one.expected, one.actual) for one in result.findings] == [("until.terminal.items", "5", "0")]


def test_until_goes_on_when_it_is_so(tmp_path: Path) -> None:
    steps = "- {do: sale, amount: 1.00, go-on: true}\n- until: {terminal: {at: t1, items: 1}}\n"
    steps += "- until: {count: {reply: 1}}\n"
    assert play_path(story(tmp_path, steps)).verdict is Verdict.PASSED


def test_the_same_story_runs_the_same_twice(tmp_path: Path) -> None:
    path = story(tmp_path, "- {do: sale, amount: 1.00, expect: {answer: '51'}}\n- {do: settle}\n")
    one, other = play_path(path), play_path(path)
    assert one.passings == other.passings
    assert one.findings == other.findings
    assert one.verdict is Verdict.FAILED
    assert one.findings[0].line == 5


def test_the_ladder_joins_a_transaction_by_one_trace(tmp_path: Path) -> None:
    result = play_path(story(tmp_path, "- {do: sale, amount: 1.00}\n"))
    legs = [(one.src, one.dst, one.kind) for one in result.passings if one.trace == "10000001/000001/000002"]
    assert legs == [
        ("terminal", "switch", "message"), ("switch", "clearing", "row"), ("switch", "cups", "message"),
        ("cups", "cups", "row"), ("cups", "switch", "message"), ("switch", "clearing", "row"),
        ("switch", "terminal", "message"),
    ]  # fmt: skip
    assert [tuple(cell) for cell in result.cells] == [("0200", "000000", "02", "00", "")]
    assert "12.00" not in result.receipts[0]
    assert "CNY 1.00" in result.receipts[0]


def test_a_host_that_says_yes_to_everything_is_found_out(tmp_path: Path) -> None:
    path = story(tmp_path, "- {do: sale, amount: 1.00, expect: {answer: '00', books: {state: answered}}}\n")
    assert play_path(path).verdict is Verdict.PASSED
    result = play_path(path, yes, "host answers 00")
    assert (result.verdict, result.stage) == (Verdict.FAILED, "host answers 00")
    assert [one.path for one in result.findings] == ["expect.books.state"]


def test_what_an_earlier_answer_lacked_is_a_finding(tmp_path: Path) -> None:
    steps = "- {do: sale, amount: 1.00, pin: cancel, as: s}\n- {do: sale-void, of: s}\n"
    result = play_path(story(tmp_path, steps))
    assert result.verdict is Verdict.FAILED
    assert result.findings[0].actual == '"s" has sent nothing that could be spoken of'


@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
def test_every_kind_there_is_can_be_written(kind: str) -> None:
    block = STEPS.read(compose_text(f"{{do: {kind}, at: t1}}", "a"), "a")
    assert (block["verb"], block["do"]) == ("do", kind)
