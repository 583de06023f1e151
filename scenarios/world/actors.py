"""Terminals, machines and the people at them: flows driven on the world's clock over the world's network."""

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

from scenarios.machines import Machines
from scenarios.world.host import Host
from scenarios.world.network import Clock, End, Road, Wire
from switch.crypto.errors import CryptoError
from switch.issuer.portfolio import Card, Portfolio
from switch.wire.errors import FrameError, WireError
from switch.wire.framing import Deframer
from terminals.device.atm import AtmMemory
from terminals.device.cash import size
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Memory
from terminals.drive.aio import Session
from terminals.drive.replies import Waited, fits, waited_for
from terminals.figures import Figures
from terminals.flow import Apdu, Ask, Call, Cancelled, CardRemoved, Flow, FlowError, HostUnreachable, TimedOut
from terminals.hands import Hand, Hands, Tear
from terminals.holders import Holders, Visit
from terminals.mixes import CHIP_MIX
from terminals.people import People
from terminals.trade import Errand, Habits, Site, Trade

STRAY: Final = "9990000000000000"
"""How the number of a card begins that no bank here has issued."""

THINK_S: Final = 2.0
APDU_S: Final = 0.02
PUT_DATA: Final = 0xDA
"""INS of the command that writes a new balance."""


class Street(Clock, Protocol):
    """What people and terminals need of their world."""

    draws: dict[str, random.Random]
    events: int
    switch: Host

    def delivered(self, to: str, body: bytes) -> None: ...

    def reached(self, what: str) -> None: ...


class Purse(People):
    """The world's cards; `stray` is the share of people who bring a card that nobody here has issued."""

    def __init__(self, portfolio: Portfolio) -> None:
        super().__init__(portfolio)
        self.stray = 0.0
        self._bank = portfolio.issuers[0]

    def pick(self, draw: random.Random) -> Card:
        if self.stray and draw.random() < self.stray:
            pan = f"{STRAY}{draw.randrange(1000):03d}"
            return Card(pan, "3912", f"{pan}=3912120000123", "123456", False, 0, self._bank)
        return super().pick(draw)


class Shops(Trade):
    """Customers of POS terminals, one dialogue at a time for whoever drives them."""

    def customer(self, site: Site) -> Errand:
        """What the next customer at this terminal wants."""
        return self._customer(site)

    def answer(self, asked: Ask, visit: Visit, hand: Hand | None) -> Any:
        """The person at the terminal. Raises Cancelled."""
        return self._holder(asked, visit, hand)


class Halls(Machines):
    """Customers of ATMs and recyclers. `leaves` is the share of those who leave notes or their card behind."""

    leaves = 0.0

    def customer(self, site: Site) -> Errand:
        """What the next customer at this machine wants; a custodian comes first where one is needed."""
        return self._customer(site)

    def answer(self, asked: Ask, visit: Visit, hand: Hand | None) -> Any:
        """The person at the machine. Raises Cancelled."""
        if asked.what in ("cash", "card") and self.leaves and self._draw.random() < self.leaves:
            return size(asked.about) // 2 if asked.what == "cash" else False
        return self._holder(asked, visit, hand)


def trades(world: Street, line: Line, purse: Purse, hands: Hands) -> tuple[Shops, Halls]:
    """The two trades of a world, their figures on its clock; the same people with the same cards come to both."""
    draw = world.draws["workload"]
    figures = Figures(lambda: world.now)
    habits = Habits(amounts=(100, 60_000), wrong_pin=0.01)
    holders = Holders()
    shops = Shops(line, purse, figures, draw, CHIP_MIX, habits, holders=holders, hands=hands)
    halls = Halls(line, purse, figures, draw, habits, lambda memory, outcome: None, holders, hands)
    return shops, halls


def pocketed(notes: Mapping[int, int], count: int) -> int:
    """What a customer has who takes so many of the notes, the largest first: in minor units."""
    return sum(sorted(Counter(notes).elements(), reverse=True)[:count])


class Device:
    """One terminal in the field: drives its flows, dials, loses power, comes back.

    `kept`: its connection stays between dialogues. `taken_minor` is what people took out of it in notes, `given_minor`
    what they left inside: the judge's own count. `sent` are the last requests as bytes, for whoever replays them.

    What will happen to the next chip card: it leaves too early (`tear`), or before its n-th command (`pull`), or the
    power is cut at the command that loads it (`dark`).
    """

    def __init__(self, world: Street, road: Road, line: Line, trade: "Shops | Halls", memory: Memory) -> None:
        self.world = world
        self.road = road
        self.line = line
        self.trade = trade
        self.memory = memory
        self.kept = True
        self.on = True
        self.stale = 0
        self.connects = 0
        self.taken_minor = self.given_minor = 0
        self.sent: list[bytes] = []
        self.last: Outcome | None = None
        self.cancels = False
        self.tear: Tear = ""
        self.pull = 0
        self.dark = False
        trade.install(memory, cast(Session, self))
        self.site = trade.sites[-1]
        self._flow: Flow[Outcome] | None = None
        self._visit: Visit = trade.holders.visit()
        self._hand: Hand | None = None
        self._turn = 0
        self._end: End | None = None
        self._deframer = Deframer(line.framing)
        self._waited: Waited = ("", None)
        self._waiting = False
        self._done: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        return self._flow is not None

    @property
    def end(self) -> End | None:
        """Its side of its connection, None without one."""
        return self._end

    def visit(self) -> bool:
        """Somebody comes and wants something; not while a dialogue is under way or the power is off."""
        return not self.busy and self.on and self.begin(*self.trade.customer(self.site))

    def begin(self, flow: Flow[Outcome], hand: Hand | None = None, done: Callable[[], None] | None = None) -> bool:
        """Start a dialogue, with a chip card in the `hand`, unless one is under way or the power is off."""
        if self._flow is not None or not self.on:
            return False
        self._flow, self._hand, self._done, self.site.busy = flow, hand, done, True
        self._visit = self.trade.holders.visit()
        if hand is not None:
            hand.tear, self.tear = self.tear, ""
        self._step(self._turn, None, None)
        return True

    def power_off(self, for_s: float) -> None:
        """Cut the power for a while: only the memory survives."""
        if not self.on:
            return
        self.on = False
        self.close(quietly=self.world.draws["network"].random() < 0.5)
        if self._flow is not None:
            self.world.reached("power lost in a dialogue")
            self._flow.close()
            self._ended(None)
        self.world.at(self.world.now + for_s, "power", self._power_on)

    def _power_on(self) -> None:
        self.on = True

    def close(self, quietly: bool = False) -> None:
        """Drop the connection, with or without a word."""
        end, self._end = self._end, None
        if end is not None:
            if quietly:
                end.vanish()
            else:
                end.close()

    # flows

    def _ended(self, outcome: Outcome | None) -> None:
        self._turn += 1
        self._flow, self.site.busy, self._waiting = None, False, False
        self._visit.end(outcome)
        hand, self._hand = self._hand, None
        if hand is not None and self.trade.hands is not None:
            if hand.torn:
                self.world.reached("a card left too early")
            self.trade.hands.put(hand)
        self.last = outcome
        if outcome is not None:
            self.trade.figures.count(outcome)
        if not self.kept:
            self.close()
        done, self._done = self._done, None
        if done is not None:
            done()

    def _step(self, turn: int, answer: Any, error: FlowError | None) -> None:
        flow = self._flow
        if flow is None or turn != self._turn or not self.on:
            return
        self._turn += 1
        try:
            effect = flow.throw(error) if error is not None else flow.send(answer)
        except StopIteration as end:
            self._ended(end.value)
            return
        except (WireError, CryptoError) as fault:
            self.trade.figures.faults[type(fault).__name__] += 1
            self._ended(None)
            return
        world = self.world
        if isinstance(effect, Call):
            self._call(effect)
        elif isinstance(effect, Ask):
            self._asked(effect)
        elif isinstance(effect, Apdu):
            self._card(effect.command)
        else:
            world.at(world.now + effect.seconds, "wait", self._step, self._turn, None, None)

    def _asked(self, asked: Ask) -> None:
        world, answer = self.world, None
        error: FlowError | None = None
        if asked.what == "pin" and self.cancels:
            self.cancels, error = False, Cancelled()
            world.reached("a holder cancelled")
        else:
            try:
                answer = self.trade.answer(asked, self._visit, self._hand)
            except Cancelled as cancelled:
                error = cancelled
            if asked.what == "cash":
                self.taken_minor += pocketed(asked.about, answer or 0)
        delay = THINK_S * world.draws["workload"].random()
        world.at(world.now + delay, "holder", self._step, self._turn, answer, error)

    def _card(self, command: bytes) -> None:
        """A command to the card in the reader, which answers at once or is not there."""
        world, turn = self.world, self._turn
        if self._hand is None:
            world.at(world.now, "card", self._step, turn, None, CardRemoved())
            return
        if self.dark and command[1] == PUT_DATA:
            self._cut_in_load(command)
            return
        try:
            if self.pull == 1:
                self._hand.icc.tear()
                self._hand.torn += 1
            self.pull = max(0, self.pull - 1)
            answer = self._hand(command)
        except CardRemoved as gone:
            world.at(world.now, "card", self._step, turn, None, gone)
        else:
            world.at(world.now + APDU_S, "card", self._step, turn, answer, None)

    def _cut_in_load(self, command: bytes) -> None:
        """The power is cut at the command that writes the new balance: before it, or before its answer is heard."""
        draw = self.world.draws["cards"]
        if draw.random() < 0.5 and self._hand is not None:
            with contextlib.suppress(CardRemoved):  # it may be about to leave by itself
                self._hand(command)
        self.dark = False
        self.world.reached("power cut in a load")
        self.power_off(1.0 + 20.0 * draw.random())

    # the host

    def _call(self, call: Call) -> None:
        world = self.world
        self._waiting, self._waited = True, waited_for(self.line, call.body)
        world.at(world.now + call.timeout_s, "terminal", self._timed_out, self._turn)
        end = self._end
        if end is None or end.closed:
            self._connect(call)
        else:
            self._say(end, call.body)

    def _say(self, end: End, body: bytes) -> None:
        if self.road.hostile is None:  # what is spoilt on the way nobody hears as it was said
            self.sent.append(body)
            del self.sent[:-4]
        end.send(self.line.wrap(body))

    def _timed_out(self, turn: int) -> None:
        if turn == self._turn and self._waiting:
            self.world.events += 1
            self._waiting = False
            # a connection that never came about is one that could not be had
            self._step(turn, None, TimedOut() if self._end is not None else HostUnreachable())

    def _connect(self, call: Call) -> None:
        world, road = self.world, self.road
        self._end = None
        if road.cut:
            return  # the deadline finds no connection
        delay = 2 * road.latency * (0.5 + world.draws["network"].random())
        world.at(world.now + delay, "connect", self._connected, self._turn, call)

    def _connected(self, turn: int, call: Call) -> None:
        if turn != self._turn or not self.on:
            return
        host = self.world.switch
        if not (host.up and host.listening):
            self._waiting = False
            self._step(turn, None, HostUnreachable())
            return
        wire = Wire(self.world, self.road, self.world.draws["network"])
        end = self._end = wire.ends[0]
        self._deframer = Deframer(self.line.framing)
        end.heard, end.lost = lambda data: self._bytes(end, data), lambda: self._lost(end)
        self.connects += 1
        host.accept(wire)
        self._say(end, call.body)

    def _bytes(self, end: End, data: bytes) -> None:
        if end is not self._end or not self.on:
            return
        try:
            frames = self._deframer.feed(data)
        except FrameError:
            self.close()
            self._lost(end)
            return
        for frame in frames:
            self.world.delivered(self.memory.tid, frame.body)
            if self._waiting and fits(self.line, frame.body, self._waited):
                self._waiting = False
                self._step(self._turn, frame.body, None)
            else:
                self.stale += 1
                self.world.reached("a reply too late for its terminal")

    def _lost(self, end: End) -> None:
        if end is self._end:
            self._end = None
        if self._waiting:
            self._waiting = False
            self._step(self._turn, None, HostUnreachable())

    # at rest

    @property
    def owes(self) -> bool:
        """Whether something is still open: a debt, a settlement begun, items in an open batch."""
        return self.site.owes

    @property
    def inside_minor(self) -> int:
        """What a custodian would find in the machine's cassettes, box and bins."""
        return self.memory.vault.inside_minor if isinstance(self.memory, AtmMemory) else 0
