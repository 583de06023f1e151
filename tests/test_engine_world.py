"""Any sequence of what terminals, lines and crashes may do: at rest the three books agree and no issuer's is off."""

import os
from typing import Any

from house import House
from hypothesis import given, note, settings
from hypothesis import strategies as st

from switch.machine import Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.transactions import ATM, BY_NAME, ROWS
from terminals.device import pos
from terminals.device.memory import Memory
from terminals.drive.instant import run
from terminals.flow import PowerOff
from terminals.goods import extras

NET = codec_of(NETWORK)
TERMINALS = 3
EXAMPLES = int(os.environ.get("SHOUDAN_WORLDS", "60"))
MONEY = frozenset(("0100", "0110", "0200", "0210", "0220", "0230", "0420", "0430"))

FATES = ("fair", "request lost", "answer lost", "answer spoilt", "answer twice", "answer held")


class Weather:
    """What happens to the messages of money between switch and counterparts: the next one, or all until told."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.fate = "fair"
        self.held: list[tuple[str, Send]] = []
        house.meddle = self

    def __call__(self, name: str, send: Send) -> Send | None:
        if not send.link.name or NET.peek(send.body, ())[0] not in MONEY:
            return send
        fate = self.fate
        if name == "switch":
            return None if fate == "request lost" else send
        if fate == "answer lost":
            return None
        if fate == "answer spoilt":
            return send._replace(body=send.body[:-1] + (b"0" if send.body[-1:] != b"0" else b"1"))
        if fate == "answer twice":
            self.house._carry(name, send)
        if fate == "answer held":
            self.held.append((name, send))
            return None
        return send

    def release(self) -> None:
        held, self.held = self.held, []
        for name, send in reversed(held):
            ours, theirs = self.house.lines.get(name, (None, None))
            del ours
            if theirs is not None:
                self.house._carry(name, send._replace(link=theirs))


def dialogue(house: House, memory: Memory, kind: str, issuer: int, amount: int, power: str, patience_s: float) -> None:
    """One dialogue, which power may leave before or after it is heard."""
    original: Any = None
    row = BY_NAME[kind]
    if row.original:
        candidates = memory.open_to(row)
        if not candidates:
            return
        original = candidates[-1]
        if row.effect in ("undo", "none"):
            amount = original.total_minor
        elif row.effect == "credit":
            amount = max(1, original.amount_minor // 2)
    card = house.card(issuer) if original is None else None

    def host(body: bytes) -> bytes | None:
        if power == "off before":
            raise PowerOff
        reply = house.ask(body, patience_s)
        if power == "off after":
            raise PowerOff
        return reply

    more = extras(row, house.card(3, 5).pan)
    flow = pos.transact(memory, house.line, kind, card, amount if row.amount else 0, original, **more)
    try:
        run(flow, host, lambda asked: asked.about.pin)
    except PowerOff:
        note("power off")


KINDS = ("sale", "sale", "preauth", *(row.name for row in ROWS if not row.chip and row.condition != ATM))
step = st.one_of(
    st.tuples(
        st.just("transaction"), st.integers(0, TERMINALS - 1), st.sampled_from(KINDS), st.integers(0, 4),
        st.sampled_from((100, 5000, 123456)), st.sampled_from(FATES),
        st.sampled_from(("on", "on", "on", "off before", "off after")), st.sampled_from((40.0, 40.0, 3.0)),
    ),
    st.tuples(st.just("settle"), st.integers(0, TERMINALS - 1)),
    st.tuples(st.just("crash"), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("restart")),
    st.tuples(st.just("line"), st.sampled_from(("cups", "core"))),
    st.tuples(st.just("release")),
    st.tuples(st.just("wait"), st.sampled_from((1, 31, 130))),
    st.tuples(st.just("day"), st.sampled_from((2.0, 60.0))),
    st.tuples(st.just("keys"), st.sampled_from(("cups", "core"))),
)  # fmt: skip


class World:
    """A house, its weather, and the steps that may be taken."""

    def __init__(self) -> None:
        self.house = House(terminals=TERMINALS)
        self.weather = Weather(self.house)
        self.date = 1028

    def take(self, name: str, *given: Any) -> None:
        getattr(self, name)(*given)
        if self.house.dead:
            self.house.restart_switch()

    def transaction(
        self, place: int, kind: str, issuer: int, amount: int, fate: str, power: str, patience_s: float
    ) -> None:
        self.weather.fate = fate
        memory = self.house.memories[place]
        dialogue(self.house, memory, kind, issuer, amount, power, patience_s)
        self.weather.fate = "fair"

    def settle(self, place: int) -> None:
        self.house.run(pos.settle(self.house.memories[place], self.house.line))

    def crash(self, rows: int, last_words: bool) -> None:
        self.house.crash_at, self.house.last_words = len(self.house.rows) + rows, last_words

    def restart(self) -> None:
        self.house.restart_switch()

    def line(self, name: str) -> None:
        if name in self.house.lines:
            self.house.disconnect(name)
        else:
            self.house.connect(name)

    def release(self) -> None:
        self.weather.release()

    def wait(self, seconds: int) -> None:
        self.house.pass_time(seconds, step=1)

    def day(self, window_s: float) -> None:
        """The network changes its day, unless it is doing so already."""

        def turn(machine: Any, now: Any, out: Any) -> object:
            return machine.cutover(f"{self.date + 1}", window_s, now, out)

        if self.date < 1031 and self.house._do("cups", turn):
            self.date += 1

    def keys(self, name: str) -> None:
        if name in self.house.lines:
            self.house._do(name, lambda machine, now, out: machine.reset_keys(now, out))

    def rest(self) -> None:
        """Everything heals; terminals put right what they owe and settle; time passes."""
        house = self.house
        house.crash_at = None
        self.weather.fate = "fair"
        for name in ("cups", "core"):
            if name not in house.lines:
                house.connect(name)
        self.weather.release()
        house.pass_time(100, step=1)
        for memory in house.memories:
            for _ in range(4):
                house.run(pos.settle(memory, house.line))
                if memory.pending is None and memory.settling is None and not memory.items:
                    break
            assert memory.pending is None
            assert memory.settling is None
        house.pass_time(2000, step=10)


@settings(max_examples=EXAMPLES, deadline=None, derandomize="SHOUDAN_WORLDS" not in os.environ, print_blob=True)
@given(st.lists(step, min_size=3, max_size=25))
def test_at_rest_the_books_agree(steps: list[tuple[Any, ...]]) -> None:
    world = World()
    for name, *arguments in steps:
        world.take(name, *arguments)
    world.rest()
    house = world.house
    books = house.books()
    assert books.breaks == []
    assert books.agreed
    assert all(centre.check() for centre in house.centres.values())
    status = house.engine.status()
    assert (status["stored"], status["inflight"]) == (0, 0)
    unsettled = [item for item in books.suspicious if "refused: " not in item.cause]
    assert unsettled == []
