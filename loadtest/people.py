"""Terminals with their readers, and the cards that come to them: what both halves of the load test share."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from switch.wire.roster import CardRow
from terminals.card.mint import Minter
from terminals.card.signing import ca_keys
from terminals.device.memory import Memory
from terminals.device.reader import Reader
from terminals.fleet import Terminal, memory_of
from terminals.flow import Ask
from terminals.hands import CONTACT, CONTACTLESS, Hand, Hands
from terminals.kernel.parameters import demo_parameters
from terminals.kernel.session import Kernel

ENTRIES: Final = {"tap": CONTACTLESS, "insert": CONTACT, "stripe": ""}
"""How cards are read: the interface, "" for the stripe."""
FULL: Final = 940
"""Items after which a terminal settles between two customers; a batch takes 999."""
_TRIES: Final = 20
CARDS: Final = 2_000
"""Cards that come, of all issuers together: a minter keeps the images of four times as many."""


class Calendar:
    """The terminals' calendar: YYMMDD, HHMMSS; made once a second (1 us)."""

    __slots__ = ("_second", "_shown")

    def __init__(self) -> None:
        self._second = 0
        self._shown = ("", "")

    def __call__(self) -> tuple[str, str]:
        second = int(time.time())
        if second != self._second:
            now = time.localtime(second)
            self._second, self._shown = second, (time.strftime("%y%m%d", now), time.strftime("%H%M%S", now))
        return self._shown


def fitted(terminals: Sequence[Terminal], entry: str, entropy: Callable[[int], bytes]) -> list[Memory]:
    """Memories of terminals, with readers where cards are to be tapped or inserted."""
    parameters = demo_parameters(ca_keys())
    found, calendar = [], Calendar()
    for terminal in terminals:
        memory = memory_of(terminal)
        if entry != "stripe":
            kernel = Kernel(parameters, entropy, serial=terminal.tid, sm=True)
            memory.reader = Reader(kernel, calendar, contactless=entry == "tap")
        found.append(memory)
    return found


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
        cards: int = CARDS,
    ) -> None:
        self._draw = draw
        self._own = own
        self._interface = ENTRIES[entry]
        self._cards: list[Card] = []
        self._hands: Hands | None = None
        self._at = 0
        if not own:
            portfolio = Portfolio(seed, STANDARD_ISSUERS, cards_per_issuer)
            self._hands = Hands(Minter(portfolio, seed), cards, draw.randbytes)
            self._cards = self._chosen(portfolio, min(-(-cards // len(STANDARD_ISSUERS)), cards_per_issuer))[:cards]

    def _chosen(self, portfolio: Portfolio, regulars: int) -> list[Card]:
        """Cards that can pay, and have a chip for the reader where one is used."""
        cards = [portfolio.card(i, n) for n in range(regulars) for i in range(len(portfolio.issuers))]
        cards = [card for card in cards if card.status == "normal" and (card.chip or not self._interface)]
        random.Random(len(cards)).shuffle(cards)  # alike in every process that takes a share
        return cards

    def share(self, number: int, shares: int) -> "People":
        """Keep one of so many equal parts of the issuers' cards, those of this process."""
        self._cards = self._cards[number::shares]
        return self

    def personalised(self) -> "People":
        """Make every card's chip now: 0.4 ms each that would otherwise be the first sale's."""
        if self._hands is not None and self._interface:
            for card in self._cards:
                self.back(self._hands.take(card, self._interface))
        return self

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
