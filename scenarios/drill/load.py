"""The terminals of a drill: a process of its own that may be killed and started again at any time.

Runs as `python -m scenarios.drill.load PLAN`. Everything a real terminal keeps through a loss of power stands in files;
what every dialogue came to is appended to `answers.log`. SIGTERM sends the customers home: debts are put right, batches
settled, the terminals' own book written; exit code 0 when nothing is left open.
"""

import asyncio
import random
import signal
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from scenarios.drill.answers import Answer
from scenarios.drill.keep import Keeper, kept
from scenarios.machines import DISPENSE_S, FAULTS, Machines
from switch.app.serve import run_loop
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.net.listen import connections_max
from switch.wire.profile import PosProfile, load_profile
from terminals.device.atm import AtmMemory
from terminals.device.cashbook import export_cash
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Memory, export
from terminals.drive.aio import Session
from terminals.figures import Figures
from terminals.fleet import memory_of
from terminals.flow import Flow
from terminals.hands import Hand
from terminals.mixes import WHOLE_MIX
from terminals.own import own_terminals, read_transport_keys
from terminals.people import People
from terminals.trade import SHOP, Errand, Site, Trade

MACHINE_SHARE: Final = 0.15
"""How many of the customers come to a machine."""
JAM_SHARE: Final = 0.05
"""How often something is made to go wrong with the notes."""


class LoadPlan(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who trades where and how much: `rate` customers a second at all terminals together."""

    directory: str
    host: str
    port: int
    seed: int
    cards_per_issuer: int
    profile: str
    terminals: str
    transport_keys: str
    rate: float
    rest_s: float = 90.0


class Kept(Trade):
    """A trade whose terminals keep their memories in files, and whose answers are written down."""

    keeper: Keeper
    log: "AnswerLog"

    async def dialogue(self, site: Site, flow: Flow[Outcome], hand: Hand | None = None) -> Outcome | None:
        begun = time.monotonic()
        cash = isinstance(site.memory, AtmMemory)
        flow = kept(flow, lambda: self.keeper.save(site.memory), always=cash)
        outcome = await super().dialogue(site, flow, hand)
        if outcome is not None:
            self.log.add(begun, outcome)
        return outcome


class KeptMachines(Kept, Machines):
    """Machines that find their notes again after their process has ended; some withdrawals jam."""

    def install(self, memory: Memory, session: Session) -> None:
        """Put a machine into the field: filled, or with what it kept."""
        if not (isinstance(memory, AtmMemory) and self.keeper.load(memory)):
            super().install(memory, session)
            self.keeper.save(memory)
            return
        Trade.install(self, memory, session)
        memory.dispense_s = DISPENSE_S
        memory.wake()

    def _customer(self, site: Site) -> Errand:
        if isinstance(site.memory, AtmMemory) and self._draw.random() < JAM_SHARE:
            site.memory.vault.faults.append(self._draw.choice(list(FAULTS.values())))
        return super()._customer(site)


class AnswerLog:
    """`answers.log`, one write a line."""

    def __init__(self, path: Path, portfolio: Portfolio) -> None:
        self._file = path.open("a", buffering=1)
        self._portfolio = portfolio

    def add(self, begun: float, outcome: Outcome) -> None:
        issuer = self._portfolio.issuer_of(outcome.item.pan) if outcome.item is not None else None
        own = None if issuer is None else issuer.own
        code = outcome.response_code
        self._file.write(Answer(begun, time.monotonic(), outcome.kind, outcome.state, code, own).line())


def install(plan: LoadPlan, directory: Path) -> tuple[Kept, KeptMachines]:
    """The fleet of a plan with what its terminals kept: those of shops, and the machines."""
    profile = load_profile(plan.profile)
    if not isinstance(profile, PosProfile):
        raise TypeError("a terminals' profile is needed")
    portfolio = Portfolio(plan.seed, STANDARD_ISSUERS, plan.cards_per_issuer)
    line, draw = Line(profile), random.Random(f"{plan.seed}/{time.time_ns()}")
    people, figures = People(portfolio), Figures(asyncio.get_running_loop().time)
    trade = Kept(line, people, figures, draw, WHOLE_MIX)
    machines = KeptMachines(line, people, figures, draw, SHOP, lambda memory, outcome: None, trade.holders)
    trade.keeper, trade.log = Keeper(directory), AnswerLog(directory / "answers.log", portfolio)
    machines.keeper, machines.log = trade.keeper, trade.log
    keys = read_transport_keys(plan.transport_keys)
    for terminal in own_terminals(plan.terminals, keys, profile.suites):
        memory, session = memory_of(terminal), Session(line, plan.host, plan.port, observe=figures.observe)
        if isinstance(memory, AtmMemory):
            machines.install(memory, session)
        else:
            trade.keeper.load(memory)
            trade.install(memory, session)
    return trade, machines


async def play(plan: LoadPlan) -> int:
    """Trade until SIGTERM, come to rest, write the book; 0 when nothing is left open."""
    connections_max()
    loop = asyncio.get_running_loop()
    directory = Path(plan.directory)
    trade, machines = install(plan, directory)
    trades = (trade, machines) if machines.sites else (trade,)

    def go_home() -> None:
        for one in trades:
            one.stop()

    loop.add_signal_handler(signal.SIGTERM, go_home)
    trade.figures.started = loop.time()
    share = MACHINE_SHARE if machines.sites else 0.0
    rates = (plan.rate * (1 - share), plan.rate * share)
    await asyncio.gather(*(one.run(float("inf"), rate) for one, rate in zip(trades, rates, strict=False)))
    at_rest = all(await asyncio.gather(*(one.rest(loop.time() + plan.rest_s) for one in trades)))
    machines.count()
    export((site.memory for one in trades for site in one.sites), directory / "terminals.db")
    if machines.sites:
        export_cash(machines.memories, directory / "terminals.db")
    for one in trades:
        for site in one.sites:
            one.keeper.save(site.memory)
        one.close()
    return 0 if at_rest and not trade.figures.faults else 1


def main() -> int:
    """Run the plan named on the command line."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LoadPlan)
    return run_loop(play(plan))


if __name__ == "__main__":
    sys.exit(main())
