"""The fleet's part of a demo day: thousands of terminals in one process, paying as people do, then settling.

Runs as a process of its own (`python -m scenarios.day PLAN`), tells its progress as one JSON object a line on standard
output, and leaves the terminals' own book and its figures in the day's directory.
"""

import asyncio
import json
import random
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from scenarios.buses import Buses, buses_of
from scenarios.ground import operators
from scenarios.machines import Machines
from scenarios.planted import Plants
from switch.app.serve import run_loop
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.chips import load_chips
from switch.wire.profile import PosProfile, load_profile
from terminals.card.mint import Minter
from terminals.device import pos
from terminals.device.atm import AtmMemory
from terminals.device.backoffice import OfficeMemory
from terminals.device.cashbook import export_cash
from terminals.device.chipbook import export_chips
from terminals.device.dialogue import Line
from terminals.device.download import everything
from terminals.device.memory import Memory, Totals, export
from terminals.device.transitbook import export_held
from terminals.drive.aio import Session
from terminals.figures import Figures, chip_counts
from terminals.fleet import Terminal, memory_of
from terminals.hands import Hands
from terminals.mixes import CHIP_MIX
from terminals.own import own_terminals, read_transport_keys
from terminals.people import People
from terminals.readers import Readers, calendar
from terminals.slips import SlipBook
from terminals.trade import Habits, Site, Trade

T = TypeVar("T")


class Plan(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a day is: who, how long, how much, and when the fleet settles (all in seconds from the start).

    `machine_rate` is customers a second at all machines together, `planted` what is made to go wrong there; `rides` are
    passengers a second at all gates of buses, `planted_chips` what is made to go wrong with chips.
    """

    directory: str
    port: int
    seed: int
    cards_per_issuer: int
    seconds: float
    rate: float
    settle_from: float
    settle_to: float
    settle_share: float = 0.85
    power_off_share: float = 0.003
    wrong_pin_share: float = 0.01
    miscount_share: float = 0.01
    machine_rate: float = 0.0
    planted: dict[str, int] = {}
    rides: float = 0.0
    validators: int = 0
    planted_chips: dict[str, int] = {}
    rest_s: float = 90.0


FRESH: Final = 20
"""One terminal in so many comes out of the box, and downloads what it is to know of chips."""
_DOWNLOAD_TRIES: Final = 3

MACHINES_WITHOUT: Final = 3
"""One machine in so many reads no chips yet."""


class Miscounting(Memory):
    """A terminal whose adding is off by one fen: its settlement does not balance, its batch upload shows why not."""

    __slots__ = ()

    def totals(self) -> Totals:
        ours = super().totals()
        return ours._replace(debit_minor=ours.debit_minor + 1)


class Day:
    """One demo day of a fleet."""

    def __init__(self, plan: Plan, tell: Callable[[dict[str, Any]], None]) -> None:
        self.plan = plan
        self.phase = "sign-in"
        self._tell = tell
        self._draw = random.Random(plan.seed)
        self._slips = SlipBook()
        directory = Path(plan.directory)
        profile = load_profile(directory / "profile-pos.toml")
        if not isinstance(profile, PosProfile):
            raise TypeError("a terminals' profile is needed")
        line, figures = Line(profile), Figures(asyncio.get_running_loop().time)
        people = People(Portfolio(plan.seed, STANDARD_ISSUERS, plan.cards_per_issuer))
        self.people = people
        chance = random.Random(plan.seed + 1).randbytes
        self.hands = Hands(Minter(people.portfolio, plan.seed), len(STANDARD_ISSUERS) * plan.cards_per_issuer, chance)
        self._readers = Readers(load_chips(directory / "chips.toml", directory / "ca-keys.toml"), calendar, chance)
        self.trade = Trade(
            line,
            people,
            figures,
            self._draw,
            CHIP_MIX,
            habits=Habits(wrong_pin=plan.wrong_pin_share, power_off=plan.power_off_share),
            seen=self._slips.keep,
            hands=self.hands,
        )
        # the same people, with the same cards, stand at both
        self.machines = Machines(
            line, people, figures, self._draw, Habits(wrong_pin=plan.wrong_pin_share), lambda memory, outcome: None,
            self.trade.holders, self.hands,
        )  # fmt: skip
        self.plants = Plants(self.trade, self.hands, people.portfolio, self._draw)
        self._offices: list[Memory] = []
        self._fresh: list[Site] = []
        self.downloads = 0
        keys = read_transport_keys(directory / "transport-keys.csv")
        for terminal in own_terminals(directory / "terminals.csv", keys, profile.suites):
            self._install(terminal)
        self.buses: Buses | None = None
        for operator in operators(plan.seed, plan.validators):
            self.buses = buses_of(
                operator, line, plan.port, people, figures, self._draw, self.hands, (self._readers.parameters, chance),
                directory, self._offices,
            )  # fmt: skip

    def _install(self, terminal: Terminal) -> None:
        memory = memory_of(terminal)
        fresh = False
        if isinstance(memory, OfficeMemory):
            self._offices.append(memory)
            return
        trade = self.machines if isinstance(memory, AtmMemory) else self.trade
        if trade is self.trade and self._draw.random() < self.plan.miscount_share:
            memory = Miscounting(memory.tid, memory.mid, memory.mcc, memory.merchant_name, memory.pinpad)
        if trade is self.trade:
            fresh = len(self.trade.sites) % FRESH == 0
            self._readers.fit(terminal, memory, fresh)
        elif len(self.machines.sites) % MACHINES_WITHOUT:
            memory.reader = self._readers.of_machine(terminal)
        trade.install(memory, Session(trade.line, "127.0.0.1", self.plan.port, observe=trade.figures.observe))
        if fresh and memory.reader is not None:
            self._fresh.append(trade.sites[-1])

    async def run(self) -> int:
        """Sign in, trade, settle before and after the cut-over, come to rest, write the books."""
        loop = asyncio.get_running_loop()
        plan, trade = self.plan, self.trade
        started = trade.figures.started = loop.time()
        teller = loop.create_task(self._progress())
        await self._both(lambda one: one.each(one.sites, pos.sign_in))
        await self._download()
        self.phase = "trading"
        settler = loop.create_task(self._settle_some(started))
        end = started + plan.seconds
        await asyncio.gather(
            trade.run(end, plan.rate),
            self.machines.run(end, plan.machine_rate),
            *([self.buses.run(end, plan.rides)] if self.buses is not None else []),
            self.plants.strike(
                plan.planted_chips, started + plan.seconds * 0.15, started + plan.seconds * 0.6, end + plan.rest_s / 3
            ),
            self.machines.strike(
                plan.planted, started + plan.seconds * 0.1, started + plan.seconds * 0.35, end + plan.rest_s / 3
            ),
        )
        await settler
        self.phase = "coming to rest"
        at_rest = all(await self._both(lambda one: one.rest(loop.time() + plan.rest_s)))
        teller.cancel()
        self.phase = "at rest" if at_rest else "not at rest"
        self._write()
        self._tell(self.status())
        for one in self._trades:
            one.close()
        return 0 if at_rest and not trade.figures.faults else 1

    async def _download(self) -> None:
        """Terminals out of the box fetch keys, applications, limits and lists: without them they read no chip."""
        wanting = list(self._fresh)
        for _ in range(_DOWNLOAD_TRIES):
            outcomes = await self.trade.each(wanting, everything)
            wanting = [site for site, done in zip(wanting, outcomes, strict=True) if done is None or not done.approved]
        self.downloads = len(self._fresh) - len(wanting)

    @property
    def _trades(self) -> tuple[Trade, ...]:
        machines = (self.machines,) if self.machines.sites else ()
        return (self.trade, *machines, *((self.buses,) if self.buses is not None else ()))

    async def _both(self, act: Callable[[Trade], Coroutine[Any, Any, T]]) -> list[T]:
        """The same for the terminals of shops and for the machines."""
        return await asyncio.gather(*(act(one) for one in self._trades))

    def _write(self) -> None:
        """Count the machines; leave the terminals' books, the figures and some slips in the day's directory."""
        directory = Path(self.plan.directory)
        self.machines.count()
        export((site.memory for one in self._trades for site in one.sites), directory / "terminals.db")
        if self.machines.sites:
            export_cash(self.machines.memories, directory / "terminals.db")
        memories = [site.memory for one in self._trades for site in one.sites]
        book, reference = directory / "terminals.db", self.people.portfolio.reference
        export_chips(memories, self.hands.holdings(), reference, book)
        if self.buses is not None:
            export_held(self.buses.gates, self.buses.offices, reference, book)
        result = {**self.trade.result(), "planted": dict(self.machines.struck)}
        result["chips"] = {
            **chip_counts(memories, self.people.find),
            "cards": self.hands.used,
            "downloads": self.downloads,
            **self.plants.told(),
            "buses": {} if self.buses is None else self.buses.told(),
        }
        for name in ("stale_replies", "connects"):
            result[name] += self.machines.result()[name]
        (directory / "fleet.json").write_text(json.dumps(result, ensure_ascii=False))
        (directory / "slips.txt").write_text(self._slips.text(), encoding="utf-8")

    async def _settle_some(self, started: float) -> None:
        """Most terminals settle before the cut-over, while others go on trading; the rest settle late."""
        loop = asyncio.get_running_loop()
        plan = self.plan
        some = [site for site in self.trade.sites if self._draw.random() < plan.settle_share]
        begin, end = started + plan.settle_from, started + plan.settle_to
        for n, site in enumerate(some):
            at = begin + (end - begin) * n / max(1, len(some))
            if at > loop.time() + 0.001:
                await asyncio.sleep(at - loop.time())
            if not site.busy:
                site.settled = True
                self.trade.start(site, pos.settle(site.memory, self.trade.line))

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._tell(self.status())

    def status(self) -> dict[str, Any]:
        """A line of progress."""
        shops, machines = self.trade.status(), self.machines.status()
        return {
            "phase": self.phase,
            **shops,
            **{name: shops[name] + machines[name] for name in ("owing", "settled")},
        }


async def play(plan: Plan, tell: Callable[[dict[str, Any]], None]) -> int:
    """Play the day of a plan; 0 when everything came to rest."""
    return await Day(plan, tell).run()


def main() -> int:
    """Run the day of the plan named on the command line."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)

    def tell(status: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(status) + "\n")
        sys.stdout.flush()

    return run_loop(play(plan, tell))


if __name__ == "__main__":
    sys.exit(main())
