"""Overload and age: new requests are refused before anyone else sees them, what is stored is never dropped unsaid."""

from typing import Any

import pytest
from engine_requests import CODEC, ask, fields_of, item, reversal_of, seal, signed_in
from house import House

from switch.app.compose import _stand_in
from switch.app.config import ConfigError, CounterpartConfig, StandInConfig
from switch.engine.limits import Limits
from switch.engine.standin import StandIn
from switch.machine import Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from terminals.device import pos

NET = codec_of(NETWORK)
HOUR_S = 3600.0


def slow_house(**limits: Any) -> House:
    """An other side that takes five seconds for each sale."""
    house = House(rules=[{"action": "delay", "kind": "sale", "delay_s": 5}])
    house.engine.office.limits = Limits(**limits)
    signed_in(house)
    return house


def put(house: House, kind: str, amount: int = 1000, issuer: int = 1, n: int = 0) -> Any:
    memory, link = house.memories[n], house.link()
    one = item(house, memory, kind, amount, issuer)
    house.deliver(link, seal(house, memory, one.row.mti, fields_of(house, memory, one)))
    return link


def told(house: House, link: Any) -> str:
    body = house.reply_on(link)
    return CODEC.decode(body).fields[39] if body else ""


def at_rest(house: House) -> None:
    house.pass_time(200)
    status = house.engine.status()
    assert status["stored"] == status["inflight"] == 0
    assert [c.stored for c in house.engine.office.counterparts.values()] == [0, 0]


def test_too_many_requests_are_refused_before_anyone_sees_them() -> None:
    house = slow_house(admitted_max=3)
    links = [put(house, "sale", 1000 + n) for n in range(3)]
    rows, said = len(house.rows), len(house.said("cups"))
    refused = put(house, "sale", 5000)
    assert told(house, refused) == "96", "at once"
    assert (len(house.rows), len(house.said("cups"))) == (rows, said), "no row, no message"
    assert house.engine.office.statistics.overloaded == 1
    house.pass_time(6)
    assert [told(house, link) for link in links] == ["00", "00", "00"]
    again = put(house, "sale", 6000)
    house.pass_time(6)
    assert told(house, again) == "00", "what was admitted is finished, and then there is room"
    at_rest(house)


@pytest.mark.parametrize("kind", ["offline_sale", "script_notice"])
def test_what_has_happened_is_never_refused(kind: str) -> None:
    house = slow_house(admitted_max=1, inflight_max=1)
    put(house, "sale")
    offline = put(house, "offline_sale", 700)
    assert told(house, offline) == "00"
    assert house.engine.office.statistics.overloaded == 0
    assert told(house, put(house, "sale", 800)) == "96"
    at_rest(house)


def test_reversals_and_sign_ins_pass_an_overload() -> None:
    house = slow_house(admitted_max=1)
    memory = house.memories[0]
    one = item(house, memory, "sale", 1000, issuer=1)
    house.deliver(house.link(), seal(house, memory, "0200", fields_of(house, memory, one)))
    assert told(house, put(house, "sale", 800, n=1)) == "96"
    assert house.run(pos.sign_in(house.memories[2], house.line)).approved
    reply = ask(house, memory, "0400", reversal_of(house, memory, one))
    assert reply.fields[39] == "00"
    assert [row["state"] for row in house.of("journal")][:2] == ["sent", "reversal_queued"]
    at_rest(house)


def test_one_counterpart_in_trouble_leaves_the_others_alone() -> None:
    house = slow_house(inflight_max=2, code="91")
    for n in range(2):
        put(house, "sale", 1000 + n)
    refused = put(house, "sale", 3000)
    assert told(house, refused) == "91", "the configured code"
    row = house.of("journal")[-1]
    assert (row["state"], row["link"], row["response_code"]) == ("refused", "", "91")
    own = put(house, "sale", 4000, issuer=0)
    house.pass_time(6)
    assert told(house, own) == "00", "the core has room"
    at_rest(house)


def test_a_store_that_is_full_stops_new_requests_only() -> None:
    house = House()
    house.engine.office.limits = Limits(stored_max=2)
    signed_in(house)
    house.meddle = lambda name, send: None if name == "cups" and NET.peek(send.body, ())[0] != "0830" else send
    links = [put(house, "sale", 1000 + n) for n in range(3)]
    house.pass_time(31)
    assert [told(house, link) for link in links] == ["98"] * 3
    assert house.engine.office.counterparts["cups"].stored == 3
    assert told(house, put(house, "sale", 5000)) == "96"
    advice = put(house, "offline_sale", 700)
    house.pass_time(31)
    assert told(house, advice) == "00", "stored all the same"
    assert house.engine.office.counterparts["cups"].stored == 4
    house.meddle = lambda name, send: send
    house.pass_time(1000)
    at_rest(house)


def test_a_reversal_nobody_takes_expires_with_an_alarm() -> None:
    house = House()
    signed_in(house)
    house.meddle = lambda name, send: (
        None if name == "cups" and NET.peek(send.body, ())[0] in ("0210", "0430") else send
    )
    link = put(house, "sale", 1000)
    house.pass_time(31)
    assert told(house, link) == "98"
    numbers = house.engine.office.statistics
    house.pass_time(2 * HOUR_S, step=20)
    assert numbers.repeated_often == 1, "the sixth try calls somebody"
    house.pass_time(20 * HOUR_S, step=60)
    assert (numbers.expired, house.engine.status()["stored"]) == (0, 1)
    house.pass_time(3 * HOUR_S, step=60)
    assert (numbers.expired, numbers.suspicious, house.engine.status()["stored"]) == (1, 1, 0)
    last = house.of("journal")[-1]
    assert (last["state"], last["reason"]) == ("suspicious", "expired")
    reversals = [m for m in house.said("cups") if m.mti == "0420"]
    assert 90 < len(reversals) < 110, "backing off to one in a quarter of an hour"
    assert len({(m.fields[7], m.fields[11]) for m in reversals}) == 1, "one key in all of them"
    books = house.books()
    assert (books.breaks, [b.cause for b in books.suspicious]) == ([], ["reversal refused: expired"])
    house.restart_switch()
    assert house.engine.status()["stored"] == 0, "what has expired stays so"


def test_age_is_not_lost_in_a_restart() -> None:
    house = House()
    signed_in(house)
    house.meddle = lambda name, send: (
        None if name == "cups" and NET.peek(send.body, ())[0] in ("0210", "0430") else send
    )
    put(house, "sale", 1000)
    house.pass_time(31)
    for _ in range(5):
        house.pass_time(5 * HOUR_S, step=60)
        if house.engine.status()["stored"]:
            house.restart_switch()
    assert house.engine.status()["stored"] == 0
    assert house.of("journal")[-1]["reason"] == "expired"


def test_a_reversal_that_came_first_is_remembered_over_a_restart() -> None:
    house = House()
    signed_in(house)
    memory = house.memories[0]
    one = item(house, memory, "sale", 1000, issuer=1)
    first = ask(house, memory, "0400", reversal_of(house, memory, one))
    assert first.fields[39] == "00"
    assert [(row["tid"], row["batch"], row["stan"]) for row in house.of("overtaken")] == [
        (memory.tid, one.batch, one.stan)
    ]
    send = [e for _, e in house.effects if isinstance(e, Send) and not e.link.name][-1]
    assert send.after == house.of("overtaken")[0]["number"], "00 waits for its row"
    ask(house, memory, "0400", reversal_of(house, memory, one))
    assert len(house.of("overtaken")) == 1, "once is enough"
    house.restart_switch()
    late = ask(house, memory, "0200", fields_of(house, memory, one))
    assert late.fields[39] == "12"
    assert not [m for m in house.said("cups") if m.mti == "0200"]


# stand-in


def bank(floor: int = 50_000, count: int = 3) -> House:
    house = House()
    signed_in(house)
    for name, counterpart in house.engine.office.counterparts.items():
        counterpart.stand_in = StandIn(floor, count)
        assert counterpart.own == (name == "core")
    house.disconnect("core")
    house.disconnect("cups")
    return house


def swipe(house: House, amount: int, issuer: int = 0, kind: str = "sale", n: int = 0) -> str:
    """A purchase without a PIN."""
    link = put(house, kind, amount, issuer, n)
    house.pass_time(1)
    return told(house, link)


def test_the_switch_stands_in_for_its_own_core_and_nobody_else() -> None:
    house = bank()
    assert swipe(house, 30_000) == "00"
    assert swipe(house, 50_001) == "91", "above the floor"
    assert swipe(house, 1000, issuer=1) == "91", "another bank's card is that bank's to approve"
    assert swipe(house, 1000, kind="preauth") == "91"
    (stored,) = [row for row in house.of("journal") if row["state"] == "stored"]
    assert (stored["kind"], stored["net_mti"], stored["reason"], stored["response_code"]) == (
        "sale", "0220", "stand-in", "00",
    )  # fmt: skip
    assert stored["auth_code"] == f"S{stored['rrn'][-5:]}"
    assert house.engine.office.statistics.stood_in == 1
    assert not house.ledgers["core"]
    house.connect("core")
    house.pass_time(1)
    advice = next(m for m in house.said("core") if m.mti == "0220")
    assert (advice.mti, advice.fields[3], advice.fields[4], advice.fields[38]) == (
        "0220", "000000", "000000030000", stored["auth_code"],
    )  # fmt: skip
    assert (advice.fields[7], advice.fields[11]) == (stored["net_time"], stored["net_stan"])
    assert not advice.fields.keys() & {35, 52, 55}
    entry = house.ledger_rows()[-1]
    assert (entry["mti"], entry["posted_minor"], entry["rrn"]) == ("0220", 30_000, stored["rrn"])
    assert [row["state"] for row in house.of("journal") if row["rrn"] == stored["rrn"]] == ["stored", "delivered"]
    books = [b for b in house.books().breaks if b.book != "terminals"]
    assert books == [], "the sale of the journal is the advice of the ledger"
    at_rest(house)


def test_so_many_for_a_card_until_the_core_is_back() -> None:
    house = bank(count=2)
    assert [swipe(house, 1000 + n) for n in range(3)] == ["00", "00", "91"]
    house.connect("core")
    house.pass_time(1)
    house.disconnect("core")
    assert swipe(house, 2000) == "00", "it has been asked since"


def test_a_pin_cannot_be_verified_here() -> None:
    house = bank()
    outcome = house.run(pos.sale(house.memories[0], house.line, house.card(0), 1000))
    assert outcome.response_code == "91"
    assert house.engine.office.statistics.stood_in == 0


def test_off_unless_configured() -> None:
    house = House()
    signed_in(house)
    house.disconnect("core")
    assert swipe(house, 100) == "91"
    given = StandInConfig(floor_minor=50_000)
    own = CounterpartConfig(name="core", profile="core", address="a:1", own=True, stand_in=given)
    assert _stand_in(own) == StandIn(50_000, 3)
    others = CounterpartConfig(name="cups", profile="cups", address="a:1", stand_in=given)
    with pytest.raises(ConfigError, match="cups: stand_in is for the bank's own core"):
        _stand_in(others)


@pytest.mark.parametrize("crash", [False, True])
def test_taken_back_before_the_core_has_heard_of_it(crash: bool) -> None:
    """Nothing reaches the core, and the books say why; also where the switch dies between the two rows."""
    house = bank()
    memory = house.memories[0]
    one = item(house, memory, "sale", 9000)
    assert ask(house, memory, "0200", fields_of(house, memory, one)).fields[39] == "00"
    if crash:
        house.crash_at = len(house.rows) + 1
        assert house.ask(seal(house, memory, "0400", reversal_of(house, memory, one)), 1) is None
        house.restart_switch(connect=False)
    else:
        assert ask(house, memory, "0400", reversal_of(house, memory, one)).fields[39] == "00"
    assert house.engine.status()["stored"] == 0
    before = len(house.effects)
    house.connect("core")
    house.pass_time(70)
    assert [m.mti for m in house.said("core", before) if m.mti in ("0220", "0420")] == []
    rows = house.of("journal")
    assert [row["state"] for row in rows] == ["stored", "reversal_queued", "reversal_acked"]
    assert (rows[1]["reason"], rows[2]["reason"]) == ("terminal 98", "untold")
    assert [b for b in house.books().breaks if b.book != "terminals"] == []
    assert ask(house, memory, "0400", reversal_of(house, memory, one)).fields[39] == "00", "and the same again"


def test_taken_back_after_the_core_was_told() -> None:
    """An advice cannot be reversed: 25, and people settle it."""
    house = bank()
    memory = house.memories[0]
    one = item(house, memory, "sale", 9000)
    ask(house, memory, "0200", fields_of(house, memory, one))
    house.connect("core")
    house.pass_time(1)
    assert ask(house, memory, "0400", reversal_of(house, memory, one)).fields[39] == "25"
    assert [row["state"] for row in house.of("journal")] == ["stored", "delivered", "suspicious"]
    books = house.books()
    assert [b.amount_minor for b in books.suspicious] == [9000]
    assert [b for b in books.breaks if b.book != "terminals"] == []


def test_after_a_restart_nobody_knows_whether_the_core_was_told() -> None:
    house = bank()
    memory = house.memories[0]
    one = item(house, memory, "sale", 9000)
    ask(house, memory, "0200", fields_of(house, memory, one))
    house.restart_switch(connect=False)
    assert ask(house, memory, "0400", reversal_of(house, memory, one)).fields[39] == "25"
    assert [row["state"] for row in house.of("journal")] == ["stored", "suspicious"]


def test_an_advice_the_core_refuses_is_settled_by_hand() -> None:
    house = bank(floor=100_000_000_000)
    assert swipe(house, 99_000_000_000) == "00"
    house.connect("core")
    house.pass_time(2)
    rows = house.of("journal")
    if rows[-1]["state"] == "suspicious":
        assert [b.cause[:15] for b in house.books().suspicious] == ["advice refused:"]
    else:
        assert rows[-1]["state"] == "delivered", "a core that takes every advice has overdrawn the card"


def test_a_stand_in_survives_a_restart() -> None:
    house = bank()
    assert swipe(house, 30_000) == "00"
    house.restart_switch(connect=False)
    assert house.engine.status()["stored"] == 1
    house.connect("core")
    house.pass_time(2)
    assert house.said("core")[-1].mti == "0220"
    assert house.of("journal")[-1]["state"] == "delivered"
    assert house.ledger_rows()[-1]["posted_minor"] == 30_000


# late


def test_a_late_process_admits_nothing_new() -> None:
    house = slow_house(late_max_s=2.0)
    admitted = put(house, "sale", 1000)
    house.late = 2.0
    assert told(house, put(house, "sale", 1500, issuer=0)) == "", "on the limit is not beyond it"
    house.late = 2.1
    rows, said = len(house.rows), len(house.said("cups"))
    assert told(house, put(house, "sale", 2000)) == "96"
    assert (len(house.rows), len(house.said("cups"))) == (rows, said), "no row, no message"
    numbers = house.engine.office.statistics
    assert (numbers.overloaded, numbers.overloaded_late) == (1, 1)
    assert told(house, put(house, "offline_sale", 700)) == "00"
    house.late = 0.0
    assert told(house, put(house, "sale", 2500, issuer=0)) == ""
    house.pass_time(6)
    assert told(house, admitted) == "00"
    at_rest(house)


def test_reversals_and_sign_ins_pass_a_late_process() -> None:
    house = slow_house()
    memory = house.memories[0]
    one = item(house, memory, "sale", 1000, issuer=1)
    house.deliver(house.link(), seal(house, memory, "0200", fields_of(house, memory, one)))
    house.late = 30.0
    assert house.run(pos.sign_in(house.memories[2], house.line)).approved
    assert ask(house, memory, "0400", reversal_of(house, memory, one)).fields[39] == "00"
    assert house.engine.office.statistics.overloaded == 0
    at_rest(house)


def test_a_switch_that_drains_ends_what_it_has_begun() -> None:
    house = slow_house()
    begun = put(house, "sale", 1000)
    house.engine.drain()
    assert told(house, put(house, "sale", 2000, n=1)) == "96"
    assert told(house, put(house, "offline_sale", 700)) == "00"
    house.pass_time(6)
    assert told(house, begun) == "00"
    at_rest(house)
