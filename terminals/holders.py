"""What people know of their PINs: one memory for all terminals of a process, as a card is seen at many of them.

A PIN change succeeds while the card is used nowhere else, and a holder who does not know whether it succeeded keeps the
card in the pocket: no PIN of ours is wrong that was not meant to be.
"""

from collections import Counter
from typing import Any

from terminals.device.atm import UNDECIDED
from terminals.device.dialogue import Outcome
from terminals.flow import Cancelled


class Holders:
    """The PINs that differ from those the cards came with, and which cards are in a terminal at the moment."""

    __slots__ = ("changing", "in_doubt", "pins", "using")

    def __init__(self) -> None:
        self.pins: dict[str, str] = {}
        self.using: Counter[str] = Counter()
        self.changing: set[str] = set()
        self.in_doubt: set[str] = set()

    def visit(self) -> "Visit":
        """Somebody comes to a terminal; `end` must be called when they leave."""
        return Visit(self)

    def __repr__(self) -> str:
        return f"Holders({len(self.pins)} PINs changed, {len(self.in_doubt)} in doubt)"


class Visit:
    """One person in one dialogue, who enters PINs."""

    __slots__ = ("_holders", "_new", "_pan")

    def __init__(self, holders: Holders) -> None:
        self._holders = holders
        self._pan = ""
        self._new = ""

    def __repr__(self) -> str:
        return "Visit()"

    def pin(self, card: Any) -> str:
        """The card's PIN as it is now, "" for one that nobody knew. Cancelled while it is being changed elsewhere, and
        once nobody knows which PIN holds."""
        holders, pan = self._holders, card.pan
        if pan in holders.changing or pan in holders.in_doubt:
            raise Cancelled
        if not self._pan:
            self._pan = pan
            holders.using[pan] += 1
        return holders.pins.get(pan, str(card.pin))

    def new_pin(self, card: Any, number: int) -> str:
        """A PIN made of `number`, another than the card's. Cancelled where the card is in use elsewhere too."""
        holders, old = self._holders, self._holders.pins.get(card.pan, str(card.pin))
        if holders.using[card.pan] > 1:
            raise Cancelled
        size = len(old)
        fresh = f"{number % 10**size:0{size}d}"
        self._new = fresh if fresh != old else f"{(number + 1) % 10**size:0{size}d}"
        holders.changing.add(card.pan)
        return self._new

    def new_pin_again(self) -> str:
        """The same, as it was entered before."""
        return self._new

    def end(self, outcome: Outcome | None) -> None:
        """The dialogue has ended so; None where power was lost in it."""
        holders, pan = self._holders, self._pan
        if not pan:
            return
        holders.using[pan] -= 1
        if not holders.using[pan]:
            del holders.using[pan]
        if not self._new:
            return
        holders.changing.discard(pan)
        if outcome is None or outcome.state == "unknown" or outcome.response_code in UNDECIDED:
            holders.in_doubt.add(pan)
        elif outcome.approved:
            holders.pins[pan] = self._new
