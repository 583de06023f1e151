"""A fleet at work: who comes to which terminal with which card, what they want, and how the day is brought to an end.

Customers arrive on their own schedule (a Poisson process), whether or not earlier ones have been served: a slow host is
not spared. What they want follows a mix; a void, refund or completion takes an earlier item of the terminal's own book.
Where there is none, that earlier transaction comes first, and the customer comes back for the rest.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from switch.crypto.errors import CryptoError
from switch.wire.errors import WireError
from switch.wire.transactions import BY_NAME, Transaction
from terminals.device import chip, pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Item, Memory
from terminals.drive.aio import Session
from terminals.figures import Figures
from terminals.flow import Ask, Flow, PowerOff
from terminals.goods import extras
from terminals.hands import CONTACT, CONTACTLESS, Hand, Hands, has_chip
from terminals.holders import Holders, Visit
from terminals.mixes import MIX

WITHOUT_MONEY: Final[Mapping[str, Callable[[Memory, Line], Flow[Outcome]]]] = {
    "echo": pos.echo, "parameters": pos.parameters, "status": pos.status,
}  # fmt: skip
"""What a mix may hold besides the rows of the matrix."""

STRIPE_ONLY: Final = frozenset(("cash_load_verify", "cash_load", "account_load"))
"""Loads of an account whose name says stripe card (磁条卡充值): a chip would take the code for one of its own loads."""

SMALL_MINOR: Final = (100, 4_500)
"""What small sales with a chip come to: electronic cash pays them."""

LOAD_MAX_MINOR: Final = 30_000
"""The most that people load at a time."""

ASSISTED_MAX_MINOR: Final = 30_000
"""What people let a merchant pay out to them at a time."""

_VISITS_MAX: Final = 5

AT_ONCE: Final = 64
"""Dialogues side by side where a whole fleet does the same: signing in, settling."""

_PAUSE_S, _PAUSE_MAX_S = 0.5, 5.0
_TRIES: Final = 8
_CHOICES: Final = 20
_STRIPED_TRIES: Final = 60


class Purse(Protocol):
    """The cards in people's pockets."""

    def pick(self, draw: random.Random) -> pos.Card:
        """Any card."""

    def find(self, pan: str) -> pos.Card | None:
        """The card of this number."""


class Habits(NamedTuple):
    """How people pay: `amounts` are the least and the most of a purchase, minor units, `typical` tells whether small
    ones prevail as in a shop (they come to `mean_minor` on average) or all are as likely; the rest are shares of 1:
    `taps` of chip cards that are held to the field where there is one, `small` of their sales that electronic cash may
    pay."""

    amounts: tuple[int, int] = (100, 500_000)
    typical: bool = True
    keyed: float = 0.06
    with_pin: float = 0.85
    wrong_pin: float = 0.0
    power_off: float = 0.0
    taps: float = 0.6
    small: float = 0.5
    mean_minor: int = 14_837


class Errand(NamedTuple):
    """What somebody comes for: the dialogue, and the chip card in their hand, if it is done with one."""

    flow: Flow[Outcome]
    hand: Hand | None = None


SHOP: Final = Habits()


class Site:
    """One terminal in the field: its memory, its way to the host, and whether somebody is using it.

    `wish` is the kind that somebody will come back for, after so many `visits`.
    """

    __slots__ = ("busy", "memory", "session", "settled", "visits", "wish")

    def __init__(self, memory: Memory, session: Session) -> None:
        self.memory = memory
        self.session = session
        self.busy = False
        self.settled = False
        self.wish = ""
        self.visits = 0

    @property
    def owes(self) -> bool:
        """Whether something is still open: a debt, a settlement begun, items in an open batch."""
        memory = self.memory
        return memory.owes or memory.settling is not None or bool(memory.items)


class Trade:
    """A fleet and its customers on one event loop. `seen` is told of every dialogue that ended; `holders` is shared by
    fleets whose customers have the same cards."""

    def __init__(
        self,
        line: Line,
        purse: Purse,
        figures: Figures,
        draw: random.Random,
        mix: Mapping[str, int] = MIX,
        habits: Habits = SHOP,
        seen: Callable[[Memory, Outcome], None] = lambda memory, outcome: None,
        holders: Holders | None = None,
        hands: Hands | None = None,
    ) -> None:
        self.line = line
        self.hands = hands
        self.holders = holders if holders is not None else Holders()
        self.sites: list[Site] = []
        self.figures = figures
        self._purse = purse
        self._draw = draw
        self._kinds = [kind for kind, share in mix.items() for _ in range(share)]
        self._habits = habits
        self._seen = seen
        self._tasks: set[asyncio.Task[Outcome | None]] = set()
        self._stopped = False
        self._returning: deque[Site] = deque()

    def install(self, memory: Memory, session: Session) -> None:
        """Put a terminal into the field."""
        self.sites.append(Site(memory, session))

    def stop(self) -> None:
        """No more customers."""
        self._stopped = True

    def close(self) -> None:
        """Close all connections."""
        for site in self.sites:
            site.session.close()

    # dialogues

    async def each(self, sites: Iterable[Site], flow: Callable[[Memory, Line], Flow[Outcome]]) -> list[Outcome | None]:
        """Run a dialogue on many terminals, AT_ONCE at a time; None where power was lost."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(site: Site) -> Outcome | None:
            async with gate:
                return await self.dialogue(site, flow(site.memory, self.line))

        return await asyncio.gather(*(one(site) for site in sites))

    async def dialogue(self, site: Site, flow: Flow[Outcome], hand: Hand | None = None) -> Outcome | None:
        """One dialogue of one terminal; None where power was lost in it, or where no message could be made of it.

        The card in the `hand` goes back where it came from.
        """
        site.busy = True
        visit = self.holders.visit()
        outcome = None
        try:
            outcome = await site.session.run(flow, lambda asked: self._holder(asked, visit, hand), hand)
        except PowerOff:
            self.figures.power_offs += 1
            return None
        except (WireError, CryptoError) as error:  # a value that no field of this profile can carry
            self.figures.faults[str(error)] += 1
            return None
        else:
            self.figures.count(outcome)
            self._seen(site.memory, outcome)
            return outcome
        finally:
            site.busy = False
            self._left(site)
            visit.end(outcome)
            if hand is not None and self.hands is not None:
                self.hands.put(hand)

    def _site(self) -> Site:
        return self._draw.choice(self.sites)

    def _left(self, site: Site) -> None:
        """Nobody is at this terminal any more."""

    def start(self, site: Site, flow: Flow[Outcome], hand: Hand | None = None) -> None:
        """Let a dialogue run on its own; `run` waits for all of them."""
        site.busy = True  # the task itself begins later: nobody else may come meanwhile
        task = asyncio.create_task(self.dialogue(site, flow, hand))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._draw.random() < self._habits.power_off:
            task.get_loop().call_later(self._draw.random() * 0.01, site.session.power_off)

    def _holder(self, asked: Ask, visit: Visit, hand: Hand | None = None) -> Any:
        """The cardholder: takes the first application, comes back with a card that left too early, and enters the PIN;
        who does not know it enters none."""
        match asked.what:
            case "application":
                return 0
            case "holder_id":
                return True
            case "tap_again":
                return hand is not None and hand.again()
            case "offline_pin":  # the chip's own: a change at a machine does not reach it
                return hand.icc.image.pin if hand is not None else ""
        pin = visit.pin(asked.about)
        if pin and self._draw.random() < self._habits.wrong_pin:
            return f"{(int(pin) + 1) % 10 ** len(pin):0{len(pin)}d}"
        return pin

    # the day

    async def run(self, until: float, rate: float) -> None:
        """`rate` customers a second until the loop's clock shows `until`; returns when the last has been served."""
        async for open_still in self._arrivals(until, rate):
            site = self._free_site()
            if site is not None and open_still:
                self.start(site, *self._customer(site))
        while self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1.0)

    async def _arrivals(self, until: float, rate: float) -> AsyncIterator[bool]:
        """One item for each who comes, when they come; False for the last, who would come after `until`."""
        clock = asyncio.get_running_loop().time
        at = clock()
        while rate > 0 and max(at, clock()) < until and not self._stopped:
            at += self._draw.expovariate(rate)
            if (early := min(at, until) - clock()) > 0.001:
                await asyncio.sleep(early)
            elif early < 0:
                await asyncio.sleep(0)  # behind: the others, and Ctrl-C, have their turn
            yield at < until

    def _free_site(self) -> Site | None:
        if self._returning and self._draw.random() < 0.5:
            site = self._returning.popleft()
            if not site.busy:
                return site
            self._returning.append(site)
        drawn = (self._site() for _ in range(_TRIES))
        return next((site for site in drawn if not site.busy), None)

    def _customer(self, site: Site) -> Errand:
        draw, memory = self._draw, site.memory
        wanted = site.wish or draw.choice(self._kinds)
        if wanted in WITHOUT_MONEY:
            return Errand(WITHOUT_MONEY[wanted](memory, self.line))
        row, original = BY_NAME[wanted], None
        if row.chip and (memory.reader is None or self.hands is None):
            wanted, row = "sale", BY_NAME["sale"]
        while row.original:
            candidates = memory.open_to(row)[-_CHOICES:]
            if candidates:
                original = draw.choice(candidates)
                break
            # nobody comes for an upload: electronic cash is spent by a sale
            row = BY_NAME["sale" if row.of[0] == chip.OFFLINE_SALE else row.of[0]]
        self._remember(site, wanted if row.name != wanted else "")
        if row.chip:
            return self._e_cash(memory, row, original)
        if original is not None:
            card = self._purse.find(original.pan)
        else:
            card = self._striped() if row.name in STRIPE_ONLY and memory.reader is not None else self._purse.pick(draw)
        return self._paying(memory, row, card, original)

    def _paying(self, memory: Memory, row: Transaction, card: pos.Card | None, original: Item | None) -> Errand:
        """With the chip where card and terminal have one, else by the stripe; some numbers are keyed in."""
        draw, habits = self._draw, self._habits
        amount = self._amount(row, original) if row.amount else 0
        entry = pos.KEYED if draw.random() < habits.keyed else pos.SWIPED
        pin = row.assisted or draw.random() < habits.with_pin
        more = extras(row, self._purse.pick(draw).pan)
        if row.carries_icc and entry == pos.SWIPED and memory.reader is not None and has_chip(card):
            interface = self._interface(memory)
            hand = self._hand(card, interface) or self._hand(card, interface := CONTACT)
            if hand is not None:
                if row.name == "sale" and draw.random() < habits.small:
                    amount = draw.randint(*SMALL_MINOR)
                flow = (chip.tap if interface == CONTACTLESS else chip.insert)(
                    memory, self.line, row.name, hand.card, amount, original, detail=more.get("detail", b"")
                )
                return Errand(flow, hand)
            entry = pos.KEYED  # the card is at another terminal: its number is given by telephone
        return Errand(pos.transact(memory, self.line, row.name, card, amount, original, entry=entry, pin=pin, **more))

    def _striped(self) -> pos.Card:
        """A card whose stripe a terminal takes although it reads chips: one without a chip."""
        card = self._purse.pick(self._draw)
        for _ in range(_STRIPED_TRIES):
            if not has_chip(card):
                break
            card = self._purse.pick(self._draw)
        return card

    def _interface(self, memory: Memory) -> str:
        """Where somebody holds a chip card."""
        field = memory.reader is not None and memory.reader.contactless
        return CONTACTLESS if field and self._draw.random() < self._habits.taps else CONTACT

    def _hand(self, card: pos.Card | None, interface: str) -> Hand | None:
        return self.hands.take(card, interface) if self.hands is not None else None

    def _e_cash(self, memory: Memory, row: Transaction, original: Item | None) -> Errand:
        """What is done with electronic cash alone: loads of all kinds, and the refund of what it paid."""
        hand = self._loadable() if original is None else self._hand(self._purse.find(_chip_pan(original)), CONTACT)
        if hand is None:
            return Errand(pos.echo(memory, self.line))
        amount, payer = 0, None
        if original is not None:
            amount = original.amount_minor
        elif row.amount:
            room = hand.card.e_cash_max_minor - hand.balance_minor
            amount = self._draw.randint(1, max(1, min(room, LOAD_MAX_MINOR) // 1_000)) * 1_000
        if row.detail:
            payer = self._payer(hand.card)
        flow = chip.insert(memory, self.line, row.name, payer or hand.card, amount, original, payer=payer)
        return Errand(flow, hand)

    def _loadable(self, interface: str = CONTACT, room: int = 1_000) -> Hand | None:
        """Somebody with electronic cash on the card, and `room` for more."""
        for _ in range(_CHOICES):
            card = self._purse.pick(self._draw)
            if getattr(card, "e_cash_max_minor", 0):
                hand = self._hand(card, interface)
                if hand is not None and self.hands is not None:
                    if hand.card.e_cash_max_minor - hand.balance_minor >= room:
                        return hand
                    self.hands.put(hand)
        return None

    def _payer(self, card: Any) -> pos.Card:
        """Another card behind the same centre, that pays a load."""
        for _ in range(_CHOICES):
            other = self._purse.pick(self._draw)
            if other.pan != card.pan and getattr(other, "issuer", card.issuer).own == card.issuer.own:
                break
        return other

    def _remember(self, site: Site, wish: str) -> None:
        """Whether somebody comes back to this terminal; in the end they give up."""
        site.visits = site.visits + 1 if wish else 0
        site.wish = wish if site.visits < _VISITS_MAX else ""
        if site.wish:
            self._returning.append(site)

    def _amount(self, row: Transaction, original: Item | None) -> int:
        draw = self._draw
        if original is None:
            least, most = self._habits.amounts
            if row.assisted:
                most = max(least, min(most, ASSISTED_MAX_MINOR))
            if not self._habits.typical:
                return draw.randint(least, most)
            middle = math.log(self._habits.mean_minor) - 0.9**2 / 2
            return max(least, min(most, int(draw.lognormvariate(middle, 0.9))))
        match row.effect:
            case "credit":
                return max(1, original.amount_minor // draw.choice((1, 2, 4)))
            case "capture":
                return max(1, original.total_minor * draw.choice((80, 100, 100, 115)) // 100)
            case "hold_more" | "debit":
                return max(1, original.amount_minor // draw.choice((5, 10)))
            case _:
                return original.total_minor

    async def rest(self, until: float) -> bool:
        """Put right what is owed and settle every open batch; True when nothing is left open."""
        return await self._until_none(until, lambda site: site.owes, pos.settle)

    async def put_right(self, until: float) -> bool:
        """Put right what is owed and leave batches open; True when nothing is owed."""
        return await self._until_none(until, lambda site: site.memory.owes, pos.put_right)

    async def _until_none(
        self, until: float, wanting: Callable[[Site], bool], flow: Callable[[Memory, Line], Flow[Outcome]]
    ) -> bool:
        loop = asyncio.get_running_loop()
        pause, before = _PAUSE_S, len(self.sites) + 1
        while True:
            sites = [site for site in self._open() if wanting(site)]
            if not sites:
                return True
            # A host that is no help is asked less and less often.
            pause = _PAUSE_S if len(sites) < before else min(_PAUSE_MAX_S, pause * 2)
            before = len(sites)
            if loop.time() >= until:
                return False
            await self.each(sites, flow)
            if any(wanting(site) for site in sites):
                await asyncio.sleep(pause)

    def _open(self) -> Iterable[Site]:
        """The terminals that may have something open."""
        return self.sites

    # telling

    def remembered(self) -> Iterator[Memory]:
        """What every terminal remembers."""
        return (site.memory for site in self.sites)

    def status(self) -> dict[str, Any]:
        """A line of progress."""
        figures = self.figures
        p50, p99 = figures.recent_ms()
        return {
            "elapsed": round(figures.elapsed_s, 1),
            "authorizations": figures.authorizations,
            "approved": figures.approved,
            "declined": figures.declined,
            "unknown": figures.unknown,
            "p50": round(p50, 2),
            "p99": round(p99, 2),
            "owing": sum(site.memory.owes for site in self.sites),
            "settled": sum(site.settled for site in self.sites),
        }

    def result(self) -> dict[str, Any]:
        """The fleet's figures of the whole run."""
        return {
            **self.figures.as_dict(),
            "stale_replies": sum(site.session.stale for site in self.sites),
            "connects": sum(site.session.connects for site in self.sites),
        }


def _chip_pan(item: Item) -> str:
    """The number of the chip that an item was about."""
    return item.pan if item.chip is None else item.chip.pan
