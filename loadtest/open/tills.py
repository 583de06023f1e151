"""Terminals of a run, signed in, each with its way to the host; and the cards that come to them."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from switch.wire.roster import CardRow
from terminals.card.mint import Minter
from terminals.card.signing import ca_keys
from terminals.device import pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Memory
from terminals.device.reader import Reader
from terminals.drive.aio import Session
from terminals.fleet import Terminal, memory_of
from terminals.flow import Ask
from terminals.hands import CONTACT, CONTACTLESS, Hand, Hands
from terminals.kernel.parameters import demo_parameters
from terminals.kernel.session import Kernel

ENTRIES: Final = {"tap": CONTACTLESS, "insert": CONTACT, "stripe": ""}
"""How cards are read: the interface, "" for the stripe."""
AT_ONCE: Final = 64
FULL: Final = 940
"""Items after which a terminal settles between two customers; a batch takes 999."""
_TRIES: Final = 20
FIRST_STAN_MAX: Final = 900_000


class NobodySignedIn(Exception):
    """The host let no terminal in; the text says how it answered."""


@dataclass(slots=True)
class Till:
    """One terminal and its connection."""

    memory: Memory
    session: Session
    sent: float = 0.0
    heard: float = 0.0


def calendar() -> tuple[str, str]:
    """The terminals' calendar: YYMMDD, HHMMSS."""
    now = time.localtime()
    return time.strftime("%y%m%d", now), time.strftime("%H%M%S", now)


def fitted(terminals: Sequence[Terminal], entry: str, entropy: Callable[[int], bytes]) -> list[Memory]:
    """Memories of terminals, with readers where cards are to be tapped or inserted."""
    parameters = demo_parameters(ca_keys())
    found = []
    for terminal in terminals:
        memory = memory_of(terminal)
        if entry != "stripe":
            kernel = Kernel(parameters, entropy, serial=terminal.tid, sm=True)
            memory.reader = Reader(kernel, calendar, contactless=entry == "tap")
        found.append(memory)
    return found


def install(memories: Iterable[Memory], line: Line, host: str, port: int, draw: random.Random) -> list[Till]:
    """Tills with a session each; their trace numbers begin anywhere, for a batch may still be open."""
    tills = []
    for memory in memories:
        memory.stan = draw.randrange(FIRST_STAN_MAX)
        till = Till(memory, Session(line, host, port, observe=None))
        till.session = Session(line, host, port, observe=_observer(till))
        tills.append(till)
    return tills


def _observer(till: Till) -> Callable[[bytes, float, bytes | None], None]:
    def observe(body: bytes, took_s: float, reply: bytes | None) -> None:
        till.heard = time.perf_counter()
        till.sent = till.heard - took_s

    return observe


async def sign_in(tills: Sequence[Till], line: Line) -> list[Till]:
    """Sign all in, some first: those that are. Raises NobodySignedIn."""
    gate = asyncio.Semaphore(AT_ONCE)
    answers: Counter[str] = Counter()

    async def one(till: Till) -> bool:
        async with gate:
            outcome: Outcome = await till.session.run(pos.sign_in(till.memory, line), _nobody)
        if not outcome.approved:
            answers[f"{outcome.reason or 'refused'} {outcome.response_code}".rstrip()] += 1
        return outcome.approved

    first = await asyncio.gather(*(one(till) for till in tills[:AT_ONCE]))
    if not any(first):
        raise NobodySignedIn(answers.most_common(1)[0][0] if answers else "there are no terminals")
    rest = await asyncio.gather(*(one(till) for till in tills[AT_ONCE:]))
    return [till for till, good in zip(tills, (*first, *rest), strict=True) if good]


def _nobody(asked: Ask) -> Any:
    return ""


class People:
    """Who comes with which card: the invented issuers' (by `seed`), or the user's own, which are read by their stripe.

    Chip cards remember; a card is in one place at a time.
    """

    def __init__(
        self,
        entry: str,
        draw: random.Random,
        own: Sequence[CardRow] = (),
        seed: int = 0,
        cards_per_issuer: int = 20_000,
        regulars: int = 2_000,
    ) -> None:
        self._draw = draw
        self._own = own
        self._interface = ENTRIES[entry]
        self._cards: list[Card] = []
        self._hands: Hands | None = None
        self._at = 0
        if not own:
            portfolio = Portfolio(seed, STANDARD_ISSUERS, cards_per_issuer)
            self._hands = Hands(Minter(portfolio, seed), regulars * len(STANDARD_ISSUERS), draw.randbytes)
            self._cards = self._chosen(portfolio, min(regulars, cards_per_issuer))

    def _chosen(self, portfolio: Portfolio, regulars: int) -> list[Card]:
        """Cards that can pay, and have a chip for the reader where one is used."""
        cards = [portfolio.card(i, n) for n in range(regulars) for i in range(len(portfolio.issuers))]
        cards = [card for card in cards if card.status == "normal" and (card.chip or not self._interface)]
        self._draw.shuffle(cards)
        return cards

    def card(self) -> tuple[Any, Hand | None]:
        """A card, and the hand that holds it to the reader where it has a chip that is read."""
        if self._own:
            return self._draw.choice(self._own), None
        cards, hands = self._cards, self._hands
        assert hands is not None
        for _ in range(_TRIES):
            self._at = (self._at + 1) % len(cards)
            card = cards[self._at]
            if not self._interface:
                return card, None
            hand = hands.take(card, self._interface)
            if hand is not None:
                return card, hand
        return cards[self._at], None

    def back(self, hand: Hand | None) -> None:
        """The card goes back into the pocket."""
        if hand is not None and self._hands is not None:
            self._hands.put(hand)


def holder_of(card: Any, hand: Hand | None) -> Callable[[Ask], Any]:
    """Somebody who knows the PIN of this card and takes the first application."""

    def holder(asked: Ask) -> Any:
        if asked.what == "application":
            return 0
        if asked.what == "holder_id":
            return True
        if asked.what == "tap_again":
            return hand is not None and hand.again()
        if asked.what == "offline_pin":
            return hand.icc.image.pin if hand is not None else ""
        return card.pin

    return holder
