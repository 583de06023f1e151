"""Customers at machines that hold cash: who comes to an ATM or a recycler, what they want, who fills it."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from terminals.device import atm, atm_chip
from terminals.device.atm import AtmMemory, balance_machine
from terminals.device.cash import Fault, Notes, size, value
from terminals.device.dialogue import Card, Line, Outcome
from terminals.device.memory import Memory
from terminals.figures import Figures
from terminals.flow import Ask, Flow
from terminals.hands import CONTACT, CONTACTLESS, Hand, Hands
from terminals.holders import Holders, Visit
from terminals.trade import LOAD_MAX_MINOR, Errand, Habits, Purse, Site, Trade

MACHINE_MIX: Final[Mapping[str, int]] = {
    atm.WITHDRAWAL: 47, atm.INQUIRY: 14, atm.DEPOSIT: 17, atm.TRANSFER: 11, atm.PIN_CHANGE: 4, "load_designated": 4,
    "load_other": 3,
}  # fmt: skip
"""What people come to a machine for, in 100."""

LOAD: Final[Notes] = {10_000: 900, 5_000: 200, 2_000: 200}
"""Notes a custodian puts in, of the denominations a machine has cassettes for."""
LOW_MINOR: Final = 800_000
"""A machine with less than this is counted and filled."""

FIELD_SHARE: Final = 0.3
"""How many hold a card that can into the machine's field (挥卡取款)."""
LOADS: Final = ("load_designated", "load_other")
DOUBLE_SHARE: Final = 0.03


class CashTrade(Trade):
    """Machines that hold cash, and their customers and custodians. `sites` hold AtmMemory only."""

    def __init__(
        self,
        line: Line,
        purse: Purse,
        figures: Figures,
        draw: random.Random,
        habits: Habits,
        seen: Callable[[Memory, Outcome], None],
        holders: Holders | None = None,
        hands: Hands | None = None,
        mix: Mapping[str, int] = MACHINE_MIX,
    ) -> None:
        super().__init__(line, purse, figures, draw, mix, habits, seen, holders, hands)

    def _holder(self, asked: Ask, visit: Visit, hand: Hand | None = None) -> Any:
        """The person at the machine: takes the notes and the card, and less where there is less."""
        if asked.what in ("pin", "application", "holder_id", "tap_again", "offline_pin"):
            return super()._holder(asked, visit, hand)
        if asked.what == "new_pin":
            return visit.new_pin(asked.about, self._draw.randrange(10**12))
        if asked.what == "new_pin_again":
            return visit.new_pin_again()
        return size(asked.about) if asked.what == "cash" else True

    def _customer(self, site: Site) -> Errand:
        machine = machine_of(site)
        self.attend(machine)
        kind = self._draw.choice(self._kinds)
        if kind == atm.WITHDRAWAL:
            if not machine.vault.faults and self._draw.random() < DOUBLE_SHARE:
                machine.vault.faults.append(Fault("reject", 1))
            return self.withdrawal(machine)
        if kind in (LOADS if machine.reader is not None else ()):
            return self._load(machine, kind)
        if kind == atm.DEPOSIT:
            return Errand(self.deposit(machine))
        if kind == atm.TRANSFER:
            amount = self._draw.randrange(1_000, 300_000)
            return Errand(atm.transfer(machine, self.line, self._swiped(machine), amount, self._any().pan))
        if kind == atm.PIN_CHANGE:
            return Errand(atm.change_pin(machine, self.line, self._swiped(machine)))
        hand = self._inserted(machine)
        if hand is not None:
            return Errand(atm_chip.inquire(machine, self.line, hand.card, interface=hand.icc.interface), hand)
        return Errand(atm.inquire(machine, self.line, self._swiped(machine)))

    def _any(self) -> Card:
        return self._purse.pick(self._draw)

    def _swiped(self, machine: AtmMemory) -> Card:
        """A card whose stripe this machine takes: it refuses that of a chip it can read."""
        return self._any() if machine.reader is None else self._striped()

    def _inserted(self, machine: AtmMemory) -> Hand | None:
        """Somebody with a chip card in the slot or in the field; None where the machine reads none, or one without."""
        if machine.reader is None:
            return None
        card = self._any()
        interface = CONTACTLESS if self._draw.random() < FIELD_SHARE else CONTACT
        return self._hand(card, interface) or self._hand(card, CONTACT)

    def withdrawal(self, machine: AtmMemory) -> Errand:
        """Somebody who wants cash."""
        amount = self._draw.randrange(4, 40) * 5_000  # two notes at least: part of them can come out
        hand = self._inserted(machine)
        if hand is not None:
            return Errand(atm_chip.withdraw(machine, self.line, hand.card, amount, interface=hand.icc.interface), hand)
        return Errand(atm.withdraw(machine, self.line, self._swiped(machine), amount))

    def _load(self, machine: AtmMemory, kind: str) -> Errand:
        """Electronic cash, from the account of the same card or of another one of any bank behind the same centre."""
        hand = self._loadable()
        if hand is None:
            return Errand(atm.inquire(machine, self.line, self._swiped(machine)))
        card = hand.card
        room = min(card.e_cash_max_minor - hand.balance_minor, LOAD_MAX_MINOR)
        amount = self._draw.randint(1, max(1, room // 1_000)) * 1_000
        if kind == "load_other":
            return Errand(atm_chip.load_other(machine, self.line, self._payer(card), card, amount), hand)
        return Errand(atm_chip.load_designated(machine, self.line, card, amount), hand)

    def deposit(self, machine: AtmMemory) -> Flow[Outcome]:
        """Somebody who brings cash."""
        notes = {10_000: self._draw.randrange(1, 15), 5_000: self._draw.randrange(3)}
        return atm.deposit(machine, self.line, self._swiped(machine), notes)

    def attend(self, machine: AtmMemory) -> None:
        """A custodian comes where the machine pays nothing any more."""
        if not machine.vault.in_service or value(machine.vault.stock()) < LOW_MINOR:
            balance_machine(machine, fresh_notes(machine))


def machine_of(site: Site) -> AtmMemory:
    """The memory of a machine. Raises TypeError where there is no cash."""
    memory = site.memory
    if not isinstance(memory, AtmMemory):
        raise TypeError(f"{memory.tid} holds no cash")
    return memory


def fresh_notes(machine: AtmMemory) -> Notes:
    """Notes for the cassettes this machine has."""
    return {minor: LOAD[minor] for minor in machine.vault.denominations if minor in LOAD}
