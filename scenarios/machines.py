"""ATMs and recyclers at work: who comes to them, what goes wrong on purpose, and the custodians who count them."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from terminals.device import atm, atm_chip
from terminals.device.atm import AtmMemory, balance_machine
from terminals.device.cash import Fault, Notes, size, value
from terminals.device.dialogue import Card, Line, Outcome
from terminals.device.memory import Memory
from terminals.drive.aio import Session
from terminals.figures import Figures
from terminals.flow import Ask, Call, Flow, FlowError, TimedOut
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

FAULTS: Final = {
    "nothing": Fault("none"), "partly": Fault("part", 1), "unknown": Fault("unknown", 1),
}  # fmt: skip
UNHEARD: Final = "unheard"
PLANTED: Final[Mapping[str, int]] = {"nothing": 20, "partly": 10, "unknown": 10, UNHEARD: 10}
"""What is made to go wrong at 200 machines: what withdrawals dispense, and deposits without an answer."""

FIELD_SHARE: Final = 0.3
"""How many hold a card that can into the machine's field (挥卡取款)."""
LOADS: Final = ("load_designated", "load_other")

DISPENSE_S: Final = 0.05
DOUBLE_SHARE: Final = 0.03
_STRIKES_AT_ONCE: Final = 8
_WAIT_S, _PAUSE_S = 0.02, 0.25


class Planted(NamedTuple):
    """One thing to go wrong at one machine; `odd` alternates what is lost of an unheard deposit."""

    site: Site
    what: str
    odd: bool


def planted_for(machines: int) -> dict[str, int]:
    """What is planted for a number of machines, at least one of each; nothing without machines."""
    return {what: max(1, round(count * machines / 200)) for what, count in PLANTED.items()} if machines else {}


def unheard(flow: Flow[Outcome], arrives: bool, lost: list[bool]) -> Flow[Outcome]:
    """A dialogue whose first 0200 has no answer: the request is lost, or (`arrives`) only its answer.

    `lost` gets an entry when it happens.
    """
    try:
        effect = next(flow)
        while True:
            try:
                if not lost and isinstance(effect, Call) and effect.body[:2] == b"\x02\x00":
                    lost.append(True)
                    if arrives:
                        yield effect
                    raise TimedOut
                answer = yield effect
            except FlowError as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    finally:
        flow.close()


class Machines(Trade):
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
    ) -> None:
        super().__init__(line, purse, figures, draw, MACHINE_MIX, habits, seen, holders, hands)
        self.struck: Counter[str] = Counter()

    def install(self, memory: Memory, session: Session) -> None:
        """Put a machine into the field, filled."""
        super().install(memory, session)
        machine = _machine(self.sites[-1])
        machine.dispense_s = DISPENSE_S
        machine.vault.load(_fresh(machine), machine.at)

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
        machine = _machine(site)
        self._attend(machine)
        kind = self._draw.choice(self._kinds)
        if kind == atm.WITHDRAWAL:
            if not machine.vault.faults and self._draw.random() < DOUBLE_SHARE:
                machine.vault.faults.append(Fault("reject", 1))
            return self._withdrawal(machine)
        if kind in (LOADS if machine.reader is not None else ()):
            return self._load(machine, kind)
        if kind == atm.DEPOSIT:
            return Errand(self._deposit(machine))
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

    def _withdrawal(self, machine: AtmMemory) -> Errand:
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

    def _deposit(self, machine: AtmMemory) -> Flow[Outcome]:
        notes = {10_000: self._draw.randrange(1, 15), 5_000: self._draw.randrange(3)}
        return atm.deposit(machine, self.line, self._swiped(machine), notes)

    def _attend(self, machine: AtmMemory) -> None:
        """A custodian comes where the machine pays nothing any more."""
        if not machine.vault.in_service or value(machine.vault.stock()) < LOW_MINOR:
            balance_machine(machine, _fresh(machine))

    # what goes wrong on purpose

    async def strike(self, planted: Mapping[str, int], begin: float, end: float, give_up: float) -> None:
        """Let the planted things happen, spread from `begin` to `end` (the loop's clock), each until it has, or until
        `give_up`."""
        faults = [what for what, count in planted.items() for _ in range(count)]
        if not faults or not self.sites:
            return
        gate = asyncio.Semaphore(_STRIKES_AT_ONCE)
        loop = asyncio.get_running_loop()

        async def one(number: int, what: str) -> None:
            await asyncio.sleep(max(0.0, begin + (end - begin) * number / len(faults) - loop.time()))
            async with gate:
                await self._strike(Planted(self.sites[number % len(self.sites)], what, number % 2 == 1), give_up)

        self._draw.shuffle(faults)
        await asyncio.gather(*(one(number, what) for number, what in enumerate(faults)))

    async def _strike(self, planted: Planted, give_up: float) -> None:
        site, machine = planted.site, _machine(planted.site)
        if planted.what == UNHEARD:
            lost: list[bool] = []

            def deaf() -> Errand:
                return Errand(unheard(self._deposit(machine), planted.odd, lost))

            await self._until(site, deaf, lambda: bool(lost), give_up)
            self.struck[UNHEARD] += bool(lost)
            return
        fault = FAULTS[planted.what]
        machine.vault.faults.append(fault)
        waiting = machine.vault.faults
        await self._until(site, lambda: self._withdrawal(machine), lambda: fault not in waiting, give_up)
        self.struck[planted.what] += fault not in waiting

    async def _until(self, site: Site, errand: Callable[[], Errand], done: Callable[[], bool], give_up: float) -> None:
        """Customers one after another at this machine until it has happened."""
        loop = asyncio.get_running_loop()
        while not done() and loop.time() < give_up:
            if site.busy:
                await asyncio.sleep(_WAIT_S)
                continue
            self._attend(_machine(site))
            outcome = await self.dialogue(site, *errand())
            # A host that is not there is not asked fifty times a second.
            await asyncio.sleep(_WAIT_S if outcome is not None and outcome.state != "unsent" else _PAUSE_S)

    # the end of the day

    def count(self) -> None:
        """Clear every machine (清机轧账)."""
        for site in self.sites:
            balance_machine(_machine(site), {})

    @property
    def memories(self) -> list[AtmMemory]:
        """The machines' memories."""
        return [_machine(site) for site in self.sites]


def _machine(site: Site) -> AtmMemory:
    memory = site.memory
    if not isinstance(memory, AtmMemory):
        raise TypeError(f"{memory.tid} holds no cash")
    return memory


def _fresh(machine: AtmMemory) -> Notes:
    """Notes for the cassettes this machine has."""
    return {minor: LOAD[minor] for minor in machine.vault.denominations if minor in LOAD}
