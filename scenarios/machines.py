"""ATMs and recyclers on a demo day: what goes wrong on purpose, and the custodians who count them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from terminals.device.atm import AtmMemory, balance_machine
from terminals.device.cash import Fault
from terminals.device.dialogue import Outcome
from terminals.device.memory import Memory
from terminals.drive.aio import Session
from terminals.flow import Call, Flow, FlowEffect, TimedOut, through
from terminals.machines import CashTrade, fresh_notes, machine_of
from terminals.trade import Errand, Site

FAULTS: Final = {
    "nothing": Fault("none"), "partly": Fault("part", 1), "unknown": Fault("unknown", 1),
}  # fmt: skip
UNHEARD: Final = "unheard"
PLANTED: Final[Mapping[str, int]] = {"nothing": 20, "partly": 10, "unknown": 10, UNHEARD: 10}
"""What is made to go wrong at 200 machines: what withdrawals dispense, and deposits without an answer."""

DISPENSE_S: Final = 0.05
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

    def each(effect: FlowEffect) -> Flow[Any]:
        if not lost and isinstance(effect, Call) and effect.body[:2] == b"\x02\x00":
            lost.append(True)
            if arrives:
                yield effect
            raise TimedOut
        return (yield effect)

    return through(flow, each)


class Machines(CashTrade):
    """Machines and their customers, and what is made to go wrong there. `sites` hold AtmMemory only."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.struck: Counter[str] = Counter()

    def install(self, memory: Memory, session: Session) -> None:
        """Put a machine into the field, filled."""
        super().install(memory, session)
        machine = machine_of(self.sites[-1])
        machine.dispense_s = DISPENSE_S
        machine.vault.load(fresh_notes(machine), machine.at)

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
        site, machine = planted.site, machine_of(planted.site)
        if planted.what == UNHEARD:
            lost: list[bool] = []

            def deaf() -> Errand:
                return Errand(unheard(self.deposit(machine), planted.odd, lost))

            await self._until(site, deaf, lambda: bool(lost), give_up)
            self.struck[UNHEARD] += bool(lost)
            return
        fault = FAULTS[planted.what]
        machine.vault.faults.append(fault)
        waiting = machine.vault.faults
        await self._until(site, lambda: self.withdrawal(machine), lambda: fault not in waiting, give_up)
        self.struck[planted.what] += fault not in waiting

    async def _until(self, site: Site, errand: Callable[[], Errand], done: Callable[[], bool], give_up: float) -> None:
        """Customers one after another at this machine until it has happened."""
        loop = asyncio.get_running_loop()
        while not done() and loop.time() < give_up:
            if site.busy:
                await asyncio.sleep(_WAIT_S)
                continue
            self.attend(machine_of(site))
            outcome = await self.dialogue(site, *errand())
            # A host that is not there is not asked fifty times a second.
            await asyncio.sleep(_WAIT_S if outcome is not None and outcome.state != "unsent" else _PAUSE_S)

    # the end of the day

    def count(self) -> None:
        """Clear every machine (清机轧账)."""
        for site in self.sites:
            balance_machine(machine_of(site), {})

    @property
    def memories(self) -> list[AtmMemory]:
        """The machines' memories."""
        return [machine_of(site) for site in self.sites]
