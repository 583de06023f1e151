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

import msgspec

from scenarios.drill.answers import Answer
from scenarios.drill.keep import Keeper, kept
from switch.app.serve import run_loop
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.net.listen import connections_max
from switch.wire.profile import PosProfile, load_profile
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import export
from terminals.drive.aio import Session
from terminals.figures import Figures
from terminals.fleet import memory_of
from terminals.flow import Flow
from terminals.hands import Hand
from terminals.mixes import WHOLE_MIX
from terminals.own import own_terminals, read_transport_keys
from terminals.people import People
from terminals.trade import Site, Trade


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


class KeptTrade(Trade):
    """A trade whose terminals keep their memories in files, and whose answers are written down."""

    keeper: Keeper
    log: "AnswerLog"

    async def dialogue(self, site: Site, flow: Flow[Outcome], hand: Hand | None = None) -> Outcome | None:
        begun = time.monotonic()
        outcome = await super().dialogue(site, kept(flow, lambda: self.keeper.save(site.memory)), hand)
        if outcome is not None:
            self.log.add(begun, outcome)
        return outcome


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


def install(plan: LoadPlan, directory: Path) -> KeptTrade:
    """The fleet of a plan with what its terminals kept."""
    profile = load_profile(plan.profile)
    if not isinstance(profile, PosProfile):
        raise TypeError("a terminals' profile is needed")
    portfolio = Portfolio(plan.seed, STANDARD_ISSUERS, plan.cards_per_issuer)
    line, draw = Line(profile), random.Random(f"{plan.seed}/{time.time_ns()}")
    trade = KeptTrade(line, People(portfolio), Figures(asyncio.get_running_loop().time), draw, WHOLE_MIX)
    trade.keeper, trade.log = Keeper(directory), AnswerLog(directory / "answers.log", portfolio)
    keys = read_transport_keys(plan.transport_keys)
    for terminal in own_terminals(plan.terminals, keys, profile.suites):
        memory = memory_of(terminal)
        trade.keeper.load(memory)
        trade.install(memory, Session(line, plan.host, plan.port, observe=trade.figures.observe))
    return trade


async def play(plan: LoadPlan) -> int:
    """Trade until SIGTERM, come to rest, write the book; 0 when nothing is left open."""
    connections_max()
    loop = asyncio.get_running_loop()
    directory = Path(plan.directory)
    trade = install(plan, directory)
    loop.add_signal_handler(signal.SIGTERM, trade.stop)
    trade.figures.started = loop.time()
    await trade.run(float("inf"), plan.rate)
    at_rest = await trade.rest(loop.time() + plan.rest_s)
    export((site.memory for site in trade.sites), directory / "terminals.db")
    trade.close()
    return 0 if at_rest and not trade.figures.faults else 1


def main() -> int:
    """Run the plan named on the command line."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LoadPlan)
    return run_loop(play(plan))


if __name__ == "__main__":
    sys.exit(main())
