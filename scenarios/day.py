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
from typing import Any, TypeVar

import msgspec

from scenarios.machines import Machines
from switch.app.serve import run_loop
from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from switch.wire.profile import PosProfile, load_profile
from terminals.device import pos
from terminals.device.atm import AtmMemory
from terminals.device.cashbook import export_cash
from terminals.device.dialogue import Line
from terminals.device.memory import Memory, Totals, export
from terminals.drive.aio import Session
from terminals.figures import Figures
from terminals.fleet import memory_of
from terminals.own import own_terminals, read_transport_keys
from terminals.slips import SlipBook
from terminals.trade import WHOLE_MIX, Habits, Trade

T = TypeVar("T")


class Plan(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a day is: who, how long, how much, and when the fleet settles (all in seconds from the start).

    `machine_rate` is customers a second at all machines together, `planted` what is made to go wrong there.
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
    rest_s: float = 90.0


class Miscounting(Memory):
    """A terminal whose adding is off by one fen: its settlement does not balance, its batch upload shows why not."""

    __slots__ = ()

    def totals(self) -> Totals:
        ours = super().totals()
        return ours._replace(debit_minor=ours.debit_minor + 1)


class People:
    """The holders of the portfolio's cards, four in ten of them the own bank's."""

    def __init__(self, portfolio: Portfolio) -> None:
        self._portfolio = portfolio
        self._others = len(portfolio.issuers) - 1

    def pick(self, draw: random.Random) -> Card:
        own = draw.random() < 0.4
        issuer = 0 if own else 1 + draw.randrange(self._others)
        return self._portfolio.card(issuer, draw.randrange(self._portfolio.cards_per_issuer))

    def find(self, pan: str) -> Card | None:
        return self._portfolio.find(pan)


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
        self.trade = Trade(
            line,
            people,
            figures,
            self._draw,
            WHOLE_MIX,
            habits=Habits(wrong_pin=plan.wrong_pin_share, power_off=plan.power_off_share),
            seen=self._slips.keep,
        )
        # the same people, with the same cards, stand at both
        self.machines = Machines(
            line, people, figures, self._draw, Habits(wrong_pin=plan.wrong_pin_share), lambda memory, outcome: None,
            self.trade.holders,
        )  # fmt: skip
        keys = read_transport_keys(directory / "transport-keys.csv")
        for terminal in own_terminals(directory / "terminals.csv", keys, profile.suites):
            self._install(memory_of(terminal))

    def _install(self, memory: Memory) -> None:
        trade = self.machines if isinstance(memory, AtmMemory) else self.trade
        if trade is self.trade and self._draw.random() < self.plan.miscount_share:
            memory = Miscounting(memory.tid, memory.mid, memory.mcc, memory.merchant_name, memory.pinpad)
        trade.install(memory, Session(trade.line, "127.0.0.1", self.plan.port, observe=trade.figures.observe))

    async def run(self) -> int:
        """Sign in, trade, settle before and after the cut-over, come to rest, write the books."""
        loop = asyncio.get_running_loop()
        plan, trade = self.plan, self.trade
        started = trade.figures.started = loop.time()
        teller = loop.create_task(self._progress())
        await self._both(lambda one: one.each(one.sites, pos.sign_in))
        self.phase = "trading"
        settler = loop.create_task(self._settle_some(started))
        end = started + plan.seconds
        await asyncio.gather(
            trade.run(end, plan.rate),
            self.machines.run(end, plan.machine_rate),
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

    @property
    def _trades(self) -> tuple[Trade, ...]:
        return (self.trade, self.machines) if self.machines.sites else (self.trade,)

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
        result = {**self.trade.result(), "planted": dict(self.machines.struck)}
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
