"""A run of the user's own terminals against a host: sign in, trade, put right, settle, tell what is open."""

import asyncio
import contextlib
import random
import signal
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from switch.wire.profile import PosProfile
from switch.wire.roster import CardRow
from terminals.device import pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Memory, export
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
        self.figures = Figures(asyncio.get_running_loop().time)
        self.trades = self._trades(random.Random(order.seed))

    def _trades(self, draw: random.Random) -> list[tuple[Trade, float]]:
        """Who trades where, and how many customers a second come there."""
        order, figures = self.order, self.figures
        line = Line(order.profile)
        trade = Trade(line, Cards(order.cards), figures, draw, order.mix, order.habits, self.slips.keep)
        for terminal in order.terminals:
            memory = memory_of(terminal)
            # The batch may still be open from an earlier run: its numbers must not come again.
            memory.stan = draw.randrange(FIRST_STAN_MAX)
            session = Session(line, order.host, order.port, kept=order.kept, observe=figures.observe, tls=order.tls)
            trade.install(memory, session)
        return [(trade, order.rate)]

    async def play(self) -> dict[str, Any]:
        """Play the run and give its result. Raises NobodySignedIn."""
        loop = asyncio.get_running_loop()
        order = self.order
        started = self.figures.started = loop.time()
        teller = loop.create_task(self._progress())
        try:
            await self._sign_in()
            self.phase = "trading"
            with self._interruptible():
                until = loop.time() + order.seconds
                await asyncio.gather(*(one.run(until, rate) for one, rate in self.trades))
            traded_s = loop.time() - started
            self.phase = "settling" if order.settle else "putting right"
            give_up = loop.time() + order.rest_s
            await asyncio.gather(*((one.rest if order.settle else one.put_right)(give_up) for one, _ in self.trades))
        finally:
            teller.cancel()
            for one, _ in self.trades:
                one.close()
        self.phase = "done"
        self._tell(self.status())
        return self._result(traded_s)

    async def _sign_in(self) -> None:
        """A few terminals first: a host that lets none of them in is not asked thousands of times."""
        ((trade, _),) = self.trades
        await self._let_in(trade, trade.sites[:AT_ONCE])
        await trade.each(trade.sites[AT_ONCE:], pos.sign_in)

    async def _let_in(self, trade: Trade, some: Sequence[Site]) -> None:
        first = await trade.each(some, pos.sign_in)
        if not any(outcome is not None and outcome.approved for outcome in first):
            raise NobodySignedIn(self._why(outcome for outcome in first if outcome is not None))

    def _why(self, outcomes: Iterable[Outcome]) -> str:
        """How the host answered most sign-ins."""
        told = Counter(f"{o.reason or 'refused'} {o.response_code}".rstrip() for o in outcomes)
        return (told or self.figures.faults).most_common(1)[0][0]

    @contextlib.contextmanager
    def _interruptible(self) -> Any:
        """SIGINT and SIGTERM send the customers home; the run goes on to its settlement."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._send_home)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _send_home(self) -> None:
        for one, _ in self.trades:
            one.stop()

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._tell(self.status())

    def status(self) -> dict[str, Any]:
        """A line of progress."""
        told = [one.status() for one, _ in self.trades]
        both = {name: sum(one[name] for one in told) for name in ("owing", "settled")}
        open_ = sum(site.owes for one, _ in self.trades for site in one.sites)
        return {"phase": self.phase, **told[0], **both, "unsettled": open_}

    def _result(self, traded_s: float) -> dict[str, Any]:
        order, figures = self.order, self.figures
        told = [one.result() for one, _ in self.trades]
        reversals = Counter(item.reversal for memory in self.memories() for item in (*memory.closed, *memory.items))
        return {
            "host": f"{order.host}:{order.port}",
            "profile": order.profile.name,
            **self._size(),
            "seconds": round(traded_s, 1),
            "rate": sum(rate for _, rate in self.trades),
            "authorizations_per_second": round(figures.authorizations / max(traded_s, 1e-9), 1),
            **told[0],
            **{name: sum(one[name] for one in told) for name in ("stale_replies", "connects")},
            "reversals": {state: reversals[state] for state in ("done", "refused", "pending")},
            "faults": dict(figures.faults),
            "open": [entry for memory in self.memories() for entry in _open(memory, order.settle)],
        }

    def _size(self) -> dict[str, Any]:
        """How many of what there are."""
        return {"terminals": len(self.order.terminals), "cards": len(self.order.cards)}

    def memories(self) -> Iterator[Memory]:
        """What all terminals remember, one after another."""
        return (memory for one, _ in self.trades for memory in one.remembered())

    def write(self, directory: Path) -> None:
        """The terminals' own book and the first slips. Raises apsw.Error, OSError."""
        export(self.memories(), directory / BOOK)
        (directory / SLIPS).write_text(self.slips.text(), encoding="utf-8")


def _open(memory: Memory, settle: bool) -> list[dict[str, Any]]:
    """What a terminal still has open: the debt it owes, and its batch where it was to be settled."""
    found: list[dict[str, Any]] = []
    if memory.pending is not None:
        item = memory.pending.item
        found.append({
            "tid": memory.tid, "what": "advice" if memory.pending.repeats else "reversal", "kind": item.kind,
            "batch": item.batch, "stan": item.stan, "amount_minor": item.amount_minor,
        })  # fmt: skip
    if settle and (memory.items or memory.settling is not None):
        found.append({"tid": memory.tid, "what": "batch", "batch": memory.batch, "items": len(memory.items)})
    return found
