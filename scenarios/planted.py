"""What is made to go wrong with chips on a demo day: forged and repeated certificates, flash cards, stripes of chip
cards, loads of which nobody knows.

Each is tried until it has happened, and what came of it is written down: the day is in order only if forged ones were
refused, repeated ones answered 94, flash cards debited once, stripes refused, and doubtful loads listed.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from switch.issuer.portfolio import Card, Portfolio
from switch.wire import tlv
from switch.wire.transactions import BY_NAME
from terminals.device import chip, pos
from terminals.device.dialogue import (
    NOT_DECIDED,
    SILENCE,
    BadReply,
    Line,
    Outcome,
    ask,
    reason_of,
    request_fields,
    sealed,
)
from terminals.device.memory import Item, Memory
from terminals.device.upload import deliver
from terminals.flow import Flow
from terminals.hands import CONTACT, CONTACTLESS, Hand, Hands, Tear
from terminals.trade import Site, Trade

FORGED, REPLAYED, FLASH, SWIPED, DOUBTS = "forged", "replayed", "flash", "swiped", "load_doubts"
WHOLE: Final = {FORGED: 10, REPLAYED: 50, FLASH: 20, SWIPED: 100, DOUBTS: 5}
WHOLE_FLEET: Final = 500
"""A fleet of so many terminals has all of it, a smaller one its share, one of each at least."""
CUSTOMERS_MIN: Final = 100
"""A day of fewer customers has none of it: there may be no certificate yet to forge or to repeat."""

AS_READ: Final = "90"
"""DE22 of a stripe that a careless terminal has read and sends as it is."""
STRIPE_REFUSED: Final = "58"
DUPLICATE: Final = "94"
CUTTING_OVER: Final = "90"
_AT_ONCE: Final = 6
_WAIT_S, _PAUSE_S = 0.05, 0.4
_TRIES: Final = 60
_FLASH_MINOR: Final = (100, 3_000)
_DOUBT_MINOR: Final = (5_000, 20_000)
_COUNT: Final = "9F36"


def planted_for(terminals: int, customers: float) -> dict[str, int]:
    """How much is planted in a fleet of so many terminals, on a day of so many customers."""
    if customers < CUSTOMERS_MIN:
        return dict.fromkeys(WHOLE, 0)
    share = min(1.0, terminals / WHOLE_FLEET)
    return {what: max(1, round(count * share)) for what, count in WHOLE.items()}


class Plants:
    """What is planted, and what came of it: `done` counts what was planted, `came` by what it came to.

    `doubtful` are the references of the cards whose loads are in doubt.
    """

    def __init__(self, trade: Trade, hands: Hands, portfolio: Portfolio, draw: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self.came: dict[str, Counter[str]] = {what: Counter() for what in WHOLE}
        self.doubtful: list[str] = []
        self._trade = trade
        self._hands = hands
        self._portfolio = portfolio
        self._draw = draw
        self._acts: Mapping[str, Callable[[Site, int], Awaitable[bool]]] = {
            FORGED: self._forge, REPLAYED: self._replay, FLASH: self._flash, SWIPED: self._swipe, DOUBTS: self._doubt,
        }  # fmt: skip

    async def strike(self, planted: Mapping[str, int], begin: float, end: float, give_up: float) -> None:
        """Let it happen, spread from `begin` to `end` (the loop's clock), each until it has, or until `give_up`."""
        acts = [(what, number) for what, count in planted.items() for number in range(count)]
        self._draw.shuffle(acts)
        loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)

        async def one(place: int, what: str, number: int) -> None:
            await asyncio.sleep(max(0.0, begin + (end - begin) * place / len(acts) - loop.time()))
            async with gate:
                while loop.time() < give_up:
                    site = self._site(what == FLASH)
                    if site is not None and await self._acts[what](site, number):
                        self.done[what] += 1
                        return
                    await asyncio.sleep(_WAIT_S if site is None else _PAUSE_S)

        await asyncio.gather(*(one(place, *act) for place, act in enumerate(acts)))

    def _site(self, field: bool) -> Site | None:
        """A terminal that reads chips, in the field if need be, and that nobody uses."""
        for _ in range(_TRIES):
            site = self._draw.choice(self._trade.sites)
            reader = site.memory.reader
            if reader is not None and not site.busy and (reader.contactless or not field):
                return site
        return None

    def _with_purse(self, interface: str, least: int, room: int, tear: Tear) -> Hand | None:
        """A card with electronic cash that will leave too early: so much on it, and room for so much more."""
        index = self._draw.randrange(len(self._portfolio.issuers))
        for _ in range(_TRIES):
            card = self._portfolio.card(index, self._draw.randrange(self._portfolio.cards_per_issuer))
            if not card.e_cash_max_minor or card.status != "normal" or card.expiry < "30":
                index = self._draw.randrange(len(self._portfolio.issuers))
                continue
            hand = self._hands.take(card, interface, tear)
            if hand is None:
                continue
            if hand.balance_minor >= least and card.e_cash_max_minor - hand.balance_minor >= room:
                return hand
            self._hands.put(hand)
        return None

    # certificates

    def _certificate(self) -> tuple[Memory, Item] | None:
        """A certificate that the host has taken."""
        for _ in range(_TRIES):
            memory = self._draw.choice(self._trade.sites).memory
            taken = [item for item in memory.items if _taken(item)]
            if taken:
                return memory, self._draw.choice(taken)
        return None

    async def _forge(self, site: Site, number: int) -> bool:
        """A merchant puts a certificate of his own making among the terminal's: another count, the same cryptogram."""
        found = self._certificate()
        memory = site.memory
        if found is None or memory.settling is not None or not memory.batch:
            return False
        item = forged(found[1], memory, 0x4000 + number)
        memory.items.append(item)
        memory.offline.append(item)
        for _ in range(_TRIES):
            if item not in memory.offline:
                break
            if not site.busy:
                await self._trade.dialogue(site, _deliver_all(memory, self._trade.line))
            await asyncio.sleep(_WAIT_S)
        self.came[FORGED][item.response_code] += 1
        return item.state == "declined"

    async def _replay(self, site: Site, number: int) -> bool:
        """A certificate that was taken is sent once more, under another number, at times by another terminal."""
        found = self._certificate()
        if found is None:
            return False
        outcome = await self._trade.dialogue(site, replay(site.memory, self._trade.line, found[1]))
        if outcome is None or not _decided(outcome):
            return False
        self.came[REPLAYED][outcome.response_code] += 1
        return True

    # cards

    async def _flash(self, site: Site, number: int) -> bool:
        """A card that leaves the field too early, and comes back: debited once."""
        amount = self._draw.randint(*_FLASH_MINOR)
        hand = self._with_purse(CONTACTLESS, amount + 2_000, 0, ("paid", "paying")[number % 2])
        if hand is None:
            return False
        memory, before = site.memory, hand.balance_minor
        known = {id(item) for item in memory.items}
        outcome = await self._trade.dialogue(site, chip.tap(memory, self._trade.line, "sale", hand.card, amount), hand)
        if not hand.torn or outcome is None:
            return False
        fresh = [item for item in memory.items if id(item) not in known and item.pan == hand.card.pan]
        once = outcome.approved and before - hand.balance_minor == amount and len(fresh) == 1
        self.came[FLASH]["once" if once else "otherwise"] += 1
        return True

    async def _swipe(self, site: Site, number: int) -> bool:
        """The stripe of a chip card at a terminal that reads chips: refused by the terminal itself, or by the switch
        where a careless one sends it."""
        card = self._a_chip_card()
        flow = pos.transact(
            site.memory, self._trade.line, "sale", card, self._draw.randint(1_000, 50_000),
            entry=(pos.SWIPED, AS_READ)[number % 2],
        )  # fmt: skip
        outcome = await self._trade.dialogue(site, flow)
        if outcome is None:
            return False
        if outcome.reason == "insert_card":
            self.came[SWIPED]["by the terminal"] += 1
            return True
        if not _decided(outcome):
            return False
        self.came[SWIPED][outcome.response_code] += 1
        return True

    def _a_chip_card(self) -> Card:
        while True:
            index = self._draw.randrange(len(self._portfolio.issuers))
            card = self._portfolio.card(index, self._draw.randrange(self._portfolio.cards_per_issuer))
            if card.chip and card.status == "normal":
                return card

    async def _doubt(self, site: Site, number: int) -> bool:
        """A load whose card is torn out at the script: nobody knows what it carried out. Its holder stays at home."""
        amount = self._draw.randint(*_DOUBT_MINOR)
        hand = self._with_purse(CONTACT, 0, amount, ("after_script", "before_script")[number % 2])
        if hand is None:
            return False
        flow = chip.insert(site.memory, self._trade.line, "load_designated", hand.card, amount)
        outcome = await self._trade.dialogue(site, flow, hand)
        if outcome is None or outcome.reason != "load_doubt":
            return False
        self._hands.put_away.add(hand.card.pan)
        self.doubtful.append(self._portfolio.reference(hand.card.pan))
        return True

    def told(self) -> dict[str, Any]:
        """What was planted and what came of it, for JSON."""
        return {
            "planted": {what: self.done[what] for what in WHOLE},
            "came": {what: dict(counts) for what, counts in self.came.items() if counts},
            "doubtful": self.doubtful,
        }


def _decided(outcome: Outcome) -> bool:
    """Whether the host has looked at a request: no cut-over stood in the way, no overload, no old keys."""
    code = outcome.response_code
    return outcome.state != "unsent" and bool(code) and code not in NOT_DECIDED and code != CUTTING_OVER


def _taken(item: Item) -> bool:
    """Whether an item is a certificate that the host has, and its terminal still."""
    return (
        item.kind == chip.OFFLINE_SALE and item.state == "approved" and item.chip is not None and bool(item.chip.data)
    )


def forged(item: Item, memory: Memory, count: int) -> Item:
    """A certificate that no card has made: another's, with another count."""
    assert item.chip is not None
    data = [(tag, count.to_bytes(2, "big") if tag == _COUNT else value) for tag, value in tlv.read(item.chip.data)]
    fake = Item(item.kind, memory.batch, memory.next_stan(), item.amount_minor, item.entry_mode, item.pan, item.expiry)
    fake.chip = replace(item.chip, data=tlv.write(data), atc=count)
    fake.state = "offline"
    return fake


def _deliver_all(memory: Memory, line: Line) -> Flow[Outcome]:
    stopped = yield from deliver(memory, line)
    return stopped or Outcome("upload", "approved")


def replay(memory: Memory, line: Line, item: Item) -> Flow[Outcome]:
    """Send a certificate again, in no book of the terminal's."""
    assert item.chip is not None
    known = replace(item.chip)  # its terminal forgets DE55 when it settles
    obstacle = yield from pos.ready(memory, line)
    if obstacle is not None:
        return Outcome("upload", "unsent", obstacle.response_code, reason=obstacle.kind)
    if not memory.batch:
        return Outcome("upload", "unsent", reason="sign_in")
    again = Item(item.kind, memory.batch, memory.next_stan(), item.amount_minor, item.entry_mode, item.pan, item.expiry)
    again.chip = known
    row = BY_NAME[item.kind]
    fields = request_fields(memory, line, again)
    try:
        body = sealed(memory, line, row.mti, fields)
        reply = yield from ask(memory, line, row.mti, body, again.stan, mac=True, amount=fields[4])
    except (*SILENCE, BadReply) as error:
        return Outcome("upload", "unknown", stan=again.stan, batch=again.batch, reason=reason_of(error))
    state = "approved" if reply[39] == "00" else "declined"
    return Outcome("upload", state, reply[39], again.stan, again.batch, fields=reply)


def in_order(planted: Mapping[str, int], told: Mapping[str, Any], listed: int) -> bool:
    """Whether everything planted has happened and come to what it must; `listed` of the planted loads stand on the
    suspicious list."""
    came = told["came"]
    swiped = came.get(SWIPED, {})
    return (
        all(told["planted"][what] == count for what, count in planted.items())
        and set(came.get(REPLAYED, {DUPLICATE: 0})) == {DUPLICATE}
        and "otherwise" not in came.get(FLASH, {})
        and set(swiped) <= {"by the terminal", STRIPE_REFUSED}
        and listed == planted.get(DOUBTS, 0)
    )
