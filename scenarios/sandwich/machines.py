"""What the cash machines of a sandwich do: withdrawals paid out and not, deposits confirmed, inquiries, transfers,
PIN changes."""

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any, Final, NamedTuple

from scenarios.sandwich.mix import CHIP, SWIPED, Chips, drawn_card, inserted, stans_of, unheard, wrong_pin
from switch.issuer.portfolio import Card, Portfolio
from switch.wire.transactions import ATM, ROWS
from terminals.device import atm
from terminals.device.atm import AtmMemory, balance_machine
from terminals.device.cash import Fault, Notes, size, value
from terminals.device.dialogue import Line, Outcome
from terminals.flow import Ask, Flow

MACHINE_ROWS: Final = frozenset(row.name for row in ROWS if row.condition == ATM)
"""Rows of the matrix that only a machine has."""

DISPENSE_S: Final = 0.05
LOAD: Final[Notes] = {10_000: 900, 5_000: 200, 2_000: 200}
LOW_MINOR: Final = 800_000
"""A machine with less than this is counted and filled."""


class Visit(NamedTuple):
    """One customer: what for, how the card is read, whether the PIN is right.

    Where the answer is not `heard` the machine takes no notice of it: it reverses a withdrawal and confirms a deposit.
    Of a withdrawal that is not `paid` nothing comes out, and it is reversed although it was approved.
    """

    kind: str
    entry: str = SWIPED
    right: bool = True
    heard: bool = True
    paid: bool = True


VISITS: Final = (
    Visit(atm.WITHDRAWAL),
    Visit(atm.INQUIRY),
    Visit(atm.DEPOSIT),
    Visit(atm.TRANSFER),
    Visit(atm.WITHDRAWAL, CHIP),
    Visit(atm.DEPOSIT, heard=False),
    Visit(atm.WITHDRAWAL, paid=False),
    Visit(atm.INQUIRY, CHIP),
    Visit(atm.WITHDRAWAL, right=False),
    Visit(atm.TRANSFER, heard=False),
    Visit(atm.WITHDRAWAL, heard=False),
    Visit(atm.PIN_CHANGE),
)
"""Every row of a machine; each machine begins with another customer."""


class MachineScript:
    """The dialogues of one machine, one after another, as `mix.Script` has them for a terminal."""

    def __init__(
        self,
        memory: AtmMemory,
        line: Line,
        portfolio: Portfolio,
        issuers: Sequence[int],
        seed: int,
        place: int,
        chips: Chips,
    ) -> None:
        self._chips = chips
        self.memory = memory
        self.line = line
        self._portfolio = portfolio
        self._issuers = list(issuers)
        self._draw = random.Random(seed * 1_000_033 + place)
        self._visits: Iterator[Visit] = islice(cycle(VISITS), place % len(VISITS), None)
        self.visit = VISITS[0]
        memory.dispense_s = DISPENSE_S
        memory.stan = stans_of(place)

    def next(self) -> Flow[Outcome]:
        """The next customer."""
        memory = self.memory
        if not memory.vault.in_service or value(memory.vault.stock()) < LOW_MINOR:
            balance_machine(memory, {minor: LOAD[minor] for minor in memory.vault.denominations if minor in LOAD})
        visit = self.visit = next(self._visits)
        memory.vault.faults.clear()
        if not visit.paid:
            memory.vault.faults.append(Fault("none"))
        card = drawn_card(self._portfolio, self._issuers, self._draw)
        flow = self._dialogue(visit.kind, card)
        if visit.entry == CHIP:
            nonce = self._draw.randbytes(4)
            flow = inserted(flow, memory, self.line, lambda amount: self._chips.data(card, amount, nonce))
        return flow if visit.heard else unheard(flow, self.line)

    def _dialogue(self, kind: str, card: Card) -> Flow[Outcome]:
        draw, memory, line = self._draw, self.memory, self.line
        if kind == atm.WITHDRAWAL:
            return atm.withdraw(memory, line, card, draw.randrange(2, 20) * 5_000)
        if kind == atm.DEPOSIT:
            return atm.deposit(memory, line, card, {10_000: draw.randrange(1, 15)})
        if kind == atm.TRANSFER:
            receiver = drawn_card(self._portfolio, self._issuers, draw)
            return atm.transfer(memory, line, card, draw.randrange(1_011, 30_000), receiver.pan)
        return atm.change_pin(memory, line, card) if kind == atm.PIN_CHANGE else atm.inquire(memory, line, card)

    def after(self, outcome: Outcome) -> None:
        """How it ended: the next customer does not mind."""

    def answer(self, asked: Ask) -> Any:
        """What the person at the machine does: enters the PIN, and a new one twice, takes the notes and the card."""
        if asked.what == "pin":
            return asked.about.pin if self.visit.right else wrong_pin(asked.about)
        if asked.what in ("new_pin", "new_pin_again"):
            return wrong_pin(asked.about)
        return size(asked.about) if asked.what == "cash" else True
