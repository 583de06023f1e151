"""A run of the user's own terminals against a host: sign in, trade, put right, settle, tell what is open."""

import asyncio
import contextlib
import random
import signal
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from switch.wire.profile import PosProfile
from switch.wire.roster import CardRow
from terminals.device import pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import export
from terminals.drive.aio import Session
from terminals.figures import Figures
from terminals.fleet import Terminal, memory_of
from terminals.slips import SlipBook
from terminals.trade import AT_ONCE, Habits, Site, Trade

OWN_HABITS: Final = Habits(keyed=0.0, with_pin=1.0)
"""The user's cards are read from the stripe, and their PINs entered as they are."""

FIRST_STAN_MAX: Final = 900_000
BOOK: Final = "terminals.db"
SLIPS: Final = "slips.txt"


class NobodySignedIn(Exception):
    """The host let no terminal in; the text says how it answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a run is. `rate` in customers a second; `kept` keeps connections between dialogues; `rest_s` is how long
    debts are put right and batches settled at the end."""

    host: str
    port: int
    profile: PosProfile
    terminals: Sequence[Terminal]
    cards: Sequence[CardRow]
    mix: Mapping[str, int]
    rate: float
    seconds: float
    kept: bool = True
    settle: bool = True
    rest_s: float = 90.0
    habits: Habits = OWN_HABITS
    seed: int | None = None
    tls: ssl.SSLContext | None = None


class Cards:
    """The user's cards, any of them as likely as any other."""

    def __init__(self, cards: Sequence[CardRow]) -> None:
        self._cards = cards
        self._by_pan = {card.pan: card for card in cards}

    def pick(self, draw: random.Random) -> CardRow:
        return draw.choice(self._cards)

    def find(self, pan: str) -> CardRow | None:
        return self._by_pan.get(pan)


class Run:
    """One run, on the running loop. `tell` gets a line of progress twice a second."""

    def __init__(self, order: Order, tell: Callable[[dict[str, Any]], None]) -> None:
        self.order = order
        self.phase = "signing in"
        self.slips = SlipBook()
        self._tell = tell
        draw = random.Random(order.seed)
        figures = Figures(asyncio.get_running_loop().time)
        line = Line(order.profile)
        self.trade = Trade(line, Cards(order.cards), figures, draw, order.mix, order.habits, self.slips.keep)
        for terminal in order.terminals:
            memory = memory_of(terminal)
            # The batch may still be open from an earlier run: its numbers must not come again.
            memory.stan = draw.randrange(FIRST_STAN_MAX)
            session = Session(line, order.host, order.port, kept=order.kept, observe=figures.observe, tls=order.tls)
            self.trade.install(memory, session)

    async def play(self) -> dict[str, Any]:
        """Play the run and give its result. Raises NobodySignedIn."""
        loop = asyncio.get_running_loop()
        order, trade = self.order, self.trade
        started = trade.figures.started = loop.time()
        teller = loop.create_task(self._progress())
        try:
            await self._sign_in()
            self.phase = "trading"
            with self._interruptible():
                await trade.run(loop.time() + order.seconds, order.rate)
            traded_s = loop.time() - started
            self.phase = "settling" if order.settle else "putting right"
            await (trade.rest if order.settle else trade.put_right)(loop.time() + order.rest_s)
        finally:
            teller.cancel()
            trade.close()
        self.phase = "done"
        self._tell(self.status())
        return self._result(traded_s)

    async def _sign_in(self) -> None:
        """A few terminals first: a host that lets none of them in is not asked thousands of times."""
        sites = self.trade.sites
        first = await self.trade.each(sites[:AT_ONCE], pos.sign_in)
        if not any(outcome is not None and outcome.approved for outcome in first):
            raise NobodySignedIn(self._why(outcome for outcome in first if outcome is not None))
        await self.trade.each(sites[AT_ONCE:], pos.sign_in)

    def _why(self, outcomes: Iterable[Outcome]) -> str:
        """How the host answered most sign-ins."""
        told = Counter(f"{o.reason or 'refused'} {o.response_code}".rstrip() for o in outcomes)
        return (told or self.trade.figures.faults).most_common(1)[0][0]

    @contextlib.contextmanager
    def _interruptible(self) -> Any:
        """SIGINT and SIGTERM send the customers home; the run goes on to its settlement."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.trade.stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._tell(self.status())

    def status(self) -> dict[str, Any]:
        """A line of progress."""
        return {"phase": self.phase, **self.trade.status(), "unsettled": sum(site.owes for site in self.trade.sites)}

    def _result(self, traded_s: float) -> dict[str, Any]:
        order, trade = self.order, self.trade
        items = [item for site in trade.sites for item in (*site.memory.closed, *site.memory.items)]
        return {
            "host": f"{order.host}:{order.port}",
            "profile": order.profile.name,
            "terminals": len(order.terminals),
            "cards": len(order.cards),
            "seconds": round(traded_s, 1),
            "rate": order.rate,
            "authorizations_per_second": round(trade.figures.authorizations / max(traded_s, 1e-9), 1),
            **trade.result(),
            "reversals": {
                state: sum(item.reversal == state for item in items) for state in ("done", "refused", "pending")
            },
            "faults": dict(trade.figures.faults),
            "open": [entry for site in trade.sites for entry in _open(site, order.settle)],
        }

    def write(self, directory: Path) -> None:
        """The terminals' own book and the first slips. Raises apsw.Error, OSError."""
        export((site.memory for site in self.trade.sites), directory / BOOK)
        (directory / SLIPS).write_text(self.slips.text(), encoding="utf-8")


def _open(site: Site, settle: bool) -> list[dict[str, Any]]:
    """What a terminal still has open: the debt it owes, and its batch where it was to be settled."""
    memory, found = site.memory, []
    if memory.pending is not None:
        item = memory.pending.item
        found.append({
            "tid": memory.tid, "what": "advice" if memory.pending.repeats else "reversal", "kind": item.kind,
            "batch": item.batch, "stan": item.stan, "amount_minor": item.amount_minor,
        })  # fmt: skip
    if settle and (memory.items or memory.settling is not None):
        found.append({"tid": memory.tid, "what": "batch", "batch": memory.batch, "items": len(memory.items)})
    return found
