"""Chip cards as the people of a process hold them: a card is in one place at a time, and remembers.

All terminals of a process share the `Hands`: who comes to a terminal takes a card out, and puts it back as the terminal
left it. Images are made when a card is first used. A card's state is a row of one wallet, so that a town full of cards
fits into memory.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from switch.issuer.portfolio import Card
from switch.wire.redact import mask_pan
from terminals.card.card import Icc
from terminals.card.mint import Minter
from terminals.card.state import Wallet
from terminals.device.chipbook import Holding
from terminals.flow import CardRemoved
from terminals.kernel.session import CONTACT, CONTACTLESS

__all__ = ["CONTACT", "CONTACTLESS", "Hand", "Hands", "Tear"]

Tear = Literal["", "paying", "paid", "before_script", "after_script"]
"""When a card leaves too early, once: before its last record is read, when it has been (nobody hears the answer), or
before or after a script has been carried out."""

_PUT_DATA: Final = 0xDA


class Hand:
    """Somebody with a chip card at a terminal. The hand itself is the reader a driver takes: a command, its response.

    `tear` is when the card will leave too early; `torn` counts how often it has.
    """

    __slots__ = ("card", "icc", "slot", "tear", "torn")

    def __init__(self, card: Card, icc: Icc, slot: int, tear: Tear = "") -> None:
        self.card = card
        self.icc = icc
        self.slot = slot
        self.tear: Tear = tear
        self.torn = 0

    def __call__(self, command: bytes) -> bytes:
        """The card's response. Raises CardRemoved when it is not there, or leaves now."""
        icc = self.icc
        if not icc.on:
            raise CardRemoved
        if not self.tear:
            return icc.transmit(command)
        return self._until_torn(command)

    def _until_torn(self, command: bytes) -> bytes:
        icc, tear = self.icc, self.tear
        script = command[1] == _PUT_DATA
        if (tear == "before_script" and script) or (tear == "paying" and icc.pending is not None):
            raise self._leave()
        paying = icc.pending is not None
        answer = icc.transmit(command)
        if (tear == "after_script" and script) or (tear == "paid" and paying and icc.pending is None):
            raise self._leave()
        return answer

    def _leave(self) -> CardRemoved:
        self.icc.tear()
        self.tear = ""
        self.torn += 1
        return CardRemoved()

    def again(self) -> bool:
        """The card comes back; nobody takes it for another."""
        self.icc.reset()
        return True

    @property
    def balance_minor(self) -> int:
        """Electronic cash on the card now."""
        return self.icc.state.balance

    def __repr__(self) -> str:
        return f"Hand({mask_pan(self.card.pan)})"


def has_chip(card: Any) -> bool:
    """Whether a card is known to have a chip."""
    return bool(getattr(card, "chip", ""))


class Hands:
    """The chip cards of a process. `most` is how many different ones may come to be used, `entropy(n)` n bytes of
    chance for them. Cards in `put_away` are not taken out again."""

    __slots__ = ("_entropy", "_minter", "_out", "_slots", "_wallet", "put_away")

    def __init__(self, minter: Minter, most: int, entropy: Callable[[int], bytes]) -> None:
        self._minter = minter
        self._wallet = Wallet(most)
        self._slots: dict[str, tuple[int, Card]] = {}
        self._out: set[str] = set()
        self._entropy = entropy
        self.put_away: set[str] = set()

    def take(self, card: Any, interface: str, tear: Tear = "") -> Hand | None:
        """A card in the hand, put to a reader; None for one that has no chip for it, or is elsewhere."""
        pan = card.pan
        if not isinstance(card, Card) or not card.chip or pan in self._out or pan in self.put_away:
            return None
        image = self._minter.image(card)
        if interface not in image.profile.interfaces:
            return None
        known = self._slots.get(pan)
        if known is None:
            known = self._slots[pan] = len(self._slots), card
        slot = known[0]
        state = self._wallet.take(slot) or image.fresh_state()
        self._out.add(pan)
        return Hand(card, Icc(image, state, self._entropy, interface), slot, tear)

    def put(self, hand: Hand) -> None:
        """The card goes back into the pocket."""
        self._wallet.put(hand.slot, hand.icc.state)
        self._out.discard(hand.card.pan)

    def holdings(self) -> Iterator[Holding]:
        """What each card that was used holds of electronic cash, of those that can."""
        for pan, (slot, card) in self._slots.items():
            balance = self._wallet.balance_minor(slot)
            if card.e_cash_max_minor and balance is not None:
                yield Holding(pan, balance, card.e_cash_minor)

    @property
    def used(self) -> int:
        """How many different cards have been used."""
        return len(self._slots)

    def __repr__(self) -> str:
        return f"Hands({len(self._slots)} cards, {len(self._out)} at terminals)"
