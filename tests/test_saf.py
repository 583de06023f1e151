"""Store and forward: advices in order, one at a time, whatever becomes of lines and answers; reversals at once."""

from collections.abc import Callable

import msgspec
import pytest
from engine_requests import CODEC, fields_of, item, seal, signed_in
from house import House, network
from test_lines import ManyLines

from switch.issuer.portfolio import STANDARD_ISSUERS
from switch.machine import Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.message import Message
from terminals.device import pos

NET = codec_of(NETWORK)
STORED = ("0420", "0220")


class Counter:
    """The network's answers on their way to the switch: held back in `held`, or lost where `loses` says so."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.held: list[Send] = []
        self.holds = False
        self.loses: Callable[[Message], bool] = lambda message: False
        house.meddle = self._meddle

    def _meddle(self, name: str, send: Send) -> Send | None:
        if name != "cups":
            return send
        message = NET.decode(send.body)
        if self.loses(message):
            return None
        if self.holds and message.mti in ("0430", "0230"):
            self.held.append(send)
            return None
        return send

    def let_go(self) -> None:
        """The oldest answer held back arrives."""
        self.house._carry("cups", self.held.pop(0))


def lost(*mtis: str) -> Callable[[Message], bool]:
    return lambda message: message.mti in mtis


def told(house: House, since: int = 0) -> list[tuple[str, int]]:
    """Stored messages that were said to the network: class and amount."""
    return [(m.mti, int(m.fields[4])) for m in house.said("cups", since) if m.mti in STORED]


def put(house: House, kind: str, amount: int, issuer: int = 1) -> None:
    memory, link = house.memories[0], house.link()
    one = item(house, memory, kind, amount, issuer)
    house.deliver(link, seal(house, memory, one.row.mti, fields_of(house, memory, one)))


def open_house(house: House | None = None) -> tuple[House, Counter]:
    house = house or House()
    signed_in(house)
    return house, Counter(house)


def unanswered(house: House, counter: Counter, *wanted: tuple[str, int]) -> int:
    """Requests whose answers are lost, so that all are stored half a minute later; where what was said begins then."""
    counter.loses = lost("0210", "0230")
    for kind, amount in wanted:
        put(house, kind, amount)
    counter.loses = lost()
    since = len(house.effects)
    house.pass_time(30.5)
    return since


SALES = ("sale", 1000), ("sale", 1001)
ADVICES = ("offline_sale", 2000), ("offline_sale", 2001), ("offline_sale", 2002)


def stored(house: House) -> int:
    return int(house.engine.status()["stored"])


def at_rest(house: House) -> None:
    house.pass_time(200)
    assert (stored(house), house.engine.status()["inflight"]) == (0, 0)
    assert [one for one in house.books().breaks if one.book != "terminals"] == []  # which heard of nothing


def test_one_by_one_in_their_order() -> None:
    house, counter = open_house()
    counter.holds = True
    since = unanswered(house, counter, *ADVICES)
    assert told(house, since) == [("0220", 2000)]
    house.pass_time(59)
    assert told(house, since) == [("0220", 2000)], "nothing else before the first is answered"
    assert stored(house) == 3
    counter.let_go()
    assert told(house, since)[1:] == [("0220", 2001)], "its answer lets the next one go"
    counter.let_go()
    assert told(house, since)[2:] == [("0220", 2002)]
    counter.let_go()
    assert (len(told(house, since)), stored(house)) == (3, 0)
    counter.holds = False
    at_rest(house)


def test_reversals_wait_for_nobody() -> None:
    house, counter = open_house()
    counter.holds = True
    since = unanswered(house, counter, *ADVICES[:2], *SALES)
    assert told(house, since) == [("0220", 2000), ("0420", 1000), ("0420", 1001)]
    counter.held.reverse()
    counter.let_go()
    counter.let_go()
    assert stored(house) == 2
    assert told(house, since)[3:] == [], "and let nobody go before"
    counter.let_go()
    assert told(house, since)[3:] == [("0220", 2001)]
    counter.let_go()
    counter.holds = False
    at_rest(house)


def test_what_is_not_answered_is_repeated_before_the_rest() -> None:
    house, counter = open_house()
    counter.loses = lost("0230")
    put(house, "offline_sale", 2000)
    put(house, "offline_sale", 2001)
    since = len(house.effects)
    house.pass_time(31)
    assert told(house, since) == [("0220", 2000)]
    house.pass_time(59)
    assert told(house, since) == [("0220", 2000)] * 2, "after first_repeat_s the same again"
    counter.loses = lost()
    house.pass_time(100)
    assert told(house, since) == [("0220", 2000)] * 2
    house.pass_time(20)
    assert told(house, since) == [("0220", 2000)] * 3 + [("0220", 2001)]
    at_rest(house)


@pytest.mark.parametrize("answered", [False, True], ids=["silence", "malfunction"])
def test_what_nobody_takes_holds_the_others_up_for_so_long(answered: bool) -> None:
    """`ordered_tries`: one advice that the other side will not have is no reason to keep all others."""
    action = {"action": "code", "code": "96"} if answered else {"action": "silence"}
    house = House(rules=[{**action, "kind": "offline_sale", "amount_minor": 2000}])
    signed_in(house)
    house.disconnect("cups")
    for kind, amount in ADVICES:
        put(house, kind, amount)
    since = len(house.effects)
    house.connect("cups")
    house.pass_time(60 + 119)
    assert told(house, since) == [("0220", 2000)] * 2
    house.pass_time(2 if answered else 32)
    assert told(house, since) == [("0220", 2000)] * 3 + [("0220", 2001), ("0220", 2002)]
    assert stored(house) == 1
    house.pass_time(240)
    assert told(house, since)[-1] == ("0220", 2000), "which goes on by itself"
    house.disconnect("cups")
    put(house, "offline_sale", 2003)
    since = len(house.effects)
    house.connect("cups")
    assert told(house, since) == [("0220", 2000), *[("0220", 2003)] * answered]
    house.pass_time(31)
    assert told(house, since)[-1] == ("0220", 2003), "a new line is a new chance, and no longer in anybody's way"
    assert stored(house) == 1


def test_a_new_line_says_all_in_order() -> None:
    house, counter = open_house()
    counter.loses = lost("0210", "0430")
    for amount in (1000, 1001, 1002):
        put(house, "sale", amount)
    house.pass_time(31)
    house.disconnect("cups")
    put(house, "offline_sale", 2000)
    assert stored(house) == 4
    house.pass_time(5)
    counter.loses = lost()
    since = len(house.effects)
    house.connect("cups")
    assert told(house, since) == [("0420", 1000), ("0420", 1001), ("0420", 1002), ("0220", 2000)]
    assert stored(house) == 0
    at_rest(house)


def test_a_line_that_is_lost_gives_its_messages_to_the_other() -> None:
    house = ManyLines("cups/1")
    _, counter = open_house(house)
    counter.holds = True
    since = unanswered(house, counter, *ADVICES[:2], *SALES)
    counter.held.clear()
    said = told(house, since)
    assert said == [("0220", 2000), ("0420", 1000), ("0420", 1001)]
    house.disconnect("cups")
    assert sorted(told(house, since)[3:]) == sorted(said), "at once, and nothing that was not said before"
    assert house.carried["cups/1", "0420"] == 2
    for _ in range(4):
        counter.let_go()
    assert told(house, since)[6:] == [("0220", 2001)]
    assert stored(house) == 0
    counter.holds = False
    at_rest(house)


def test_a_backup_lost_or_won_disturbs_nothing() -> None:
    house = ManyLines("cups/1")
    _, counter = open_house(house)
    counter.holds = True
    since = unanswered(house, counter, *ADVICES[:2])
    house.disconnect("cups/1")
    house.connect("cups/1")
    assert told(house, since) == [("0220", 2000)], "it waits for its answer on the primary"
    counter.let_go()
    counter.let_go()
    assert told(house, since) == [("0220", 2000), ("0220", 2001)]
    counter.holds = False
    at_rest(house)


def test_each_counterpart_has_its_own_queue() -> None:
    house, counter = open_house()
    counter.loses = lost("0210", "0430")
    put(house, "sale", 1000)
    house.pass_time(31)
    assert stored(house) == 1
    house.disconnect("core")
    for amount in (3000, 3001):
        put(house, "offline_sale", amount, issuer=0)
    assert stored(house) == 3
    since = len(house.effects)
    house.connect("core")
    assert [int(m.fields[4]) for m in house.said("core", since) if m.mti == "0220"] == [3000, 3001]
    assert stored(house) == 1
    counter.loses = lost()
    at_rest(house)


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_restart_keeps_the_order(restarts: int) -> None:
    """By when they were stored, not by when their transactions began."""
    house, counter = open_house()
    memory = house.memories[0]
    counter.loses = lost("0210", "0430")
    put(house, "sale", 1000)
    house.pass_time(10)
    sold = item(house, memory, "sale", 1001, issuer=1)
    house.deliver(house.link(), seal(house, memory, "0200", fields_of(house, memory, sold)))
    house.pass_time(5)
    house.disconnect("cups")
    put(house, "offline_sale", 2000)
    put(house, "offline_sale", 2001)
    house.pass_time(26)
    before = [(i.kind, i.exchange.amount) for i in house.engine._reverse.saf._items.values()]
    assert before == [("advice", 2000), ("advice", 2001), ("reversal", 1000), ("reversal", 1001)]
    for _ in range(restarts):
        house.restart_switch(connect=False)
        after = [(i.kind, i.exchange.amount) for i in house.engine._reverse.saf._items.values()]
        assert after == before
    counter.loses = lost()
    since = len(house.effects)
    house.connect()
    assert told(house, since) == [("0420", 1000), ("0420", 1001), ("0220", 2000), ("0220", 2001)]
    at_rest(house)


def test_what_was_in_doubt_at_the_restart_comes_after_what_was_stored() -> None:
    house, counter = open_house()
    counter.loses = lost("0210", "0430")
    put(house, "sale", 1000)
    house.pass_time(31)
    put(house, "sale", 1001)
    counter.loses = lost()
    since = len(house.effects)
    house.restart_switch()
    assert told(house, since) == [("0420", 1000), ("0420", 1001)]
    at_rest(house)


def test_what_has_expired_lets_the_next_one_go() -> None:
    cups = network("cups")
    reversal = msgspec.structs.replace(cups.reversal, expire_s=3600.0)
    foreign = tuple(n for n, issuer in enumerate(STANDARD_ISSUERS) if not issuer.own)
    behind = {"cups": (msgspec.structs.replace(cups, reversal=reversal), foreign)}
    house, counter = open_house(House(behind=behind))
    counter.loses = lost("0210", "0430")
    put(house, "sale", 1000)
    house.pass_time(31)
    house.disconnect("cups")
    house.pass_time(1800, step=5)
    put(house, "offline_sale", 2000)
    house.pass_time(1765, step=5)
    assert stored(house) == 2
    house.pass_time(40, step=5)
    assert stored(house) == 1, "without a line too"
    assert house.of("journal")[-1]["reason"] == "expired"
    counter.loses = lost()
    house.connect("cups")
    assert told(house)[-1] == ("0220", 2000)
    assert stored(house) == 0


def test_a_terminal_asks_for_what_is_queued_already() -> None:
    """Its own reversal of a sale that the switch has given up is the one that is queued."""
    house, counter = open_house()
    counter.holds = True
    memory = house.memories[0]
    counter.loses = lost("0210")
    flow = pos.sale(memory, house.line, house.card(1), 1000, pin=False)
    reply = house.ask(next(flow).body)
    assert reply is not None
    assert CODEC.decode(reply).fields[39] == "98"
    flow.close()
    assert told(house) == [("0420", 1000)]
    counter.let_go()
    assert stored(house) == 0
