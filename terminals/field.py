"""A fleet by its profile at work against a host: its terminals as rows, its shares, mixes, amounts and lines.

Terminals sign in when somebody comes. Validators take electronic cash offline and call nobody.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.chips import SHIPPED_CHIPS, load_chips
from terminals.card.mint import Minter
from terminals.card.signing import ca_keys
from terminals.census import Census, LineProfile, Stations
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.drive.aio import Session
from terminals.drive.lined import LinedSession
from terminals.hands import Hands
from terminals.kernel.parameters import demo_parameters
from terminals.machines import MACHINE_MIX
from terminals.mixes import MIX
from terminals.people import People
from terminals.province import Province
from terminals.readers import Readers, calendar
from terminals.rides import Rides
from terminals.rows import Rows
from terminals.run import FIRST_STAN_MAX, Cards, Order, Run
from terminals.trade import AT_ONCE, Habits, Purse, Trade
from terminals.yard import Cash, InRows, Shops

CARDS_PER_ISSUER: Final = 20_000
_LINE_OF: Final = 7_919
"""Prime: terminals in a row have different lines."""
_AMOUNT_MOST: Final = 20
"""The largest purchase, in average ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOrder(Order):
    """A run of a profile. `terminals` is empty: they are the census'; `cards` may be: then the invented issuers' cards
    come, of `cards_seed`, which the host's centre must have too. `rate` is customers a second at all of them, 0 as many
    as the profile says."""

    census: Census
    cards_seed: int


class FieldRun(Run):
    """One run of a fleet by its profile, on the running loop."""

    order: FieldOrder

    def _trades(self, draw: random.Random) -> list[tuple[Trade, float]]:
        order = self.order
        census, line = order.census, Line(order.profile)
        self.province = Province(census, order.cards_seed, line)
        purse, hands = self._people(draw)
        readers = Readers(load_chips(SHIPPED_CHIPS), calendar, draw.randbytes)
        readers.parameters = demo_parameters(ca_keys())
        rates = dict(zip(("pos", "atm", "validators"), census.rates, strict=True))
        found: list[tuple[Trade, float]] = []
        shops = Shops(line, purse, self.figures, draw, census.pos.mix or MIX, _habits(census.pos), self.slips.keep,
                      hands=hands)  # fmt: skip
        cash = Cash(line, purse, self.figures, draw, _habits(census.atm), self.slips.keep, shops.holders, hands,
                    census.atm.mix or MACHINE_MIX)  # fmt: skip
        for name, trade, rows, part in (
            ("pos", shops, self.province.shops, census.pos), ("atm", cash, self.province.machines, census.atm),
        ):  # fmt: skip
            if len(rows):
                fit = partial(_fit, rows, readers, draw)
                found.append((trade.settle_in(rows, self._sessions(line, part), fit), rates[name]))
        gates = self.province.gates
        if gates is not None and hands is not None:
            rides = Rides(line, purse, self.figures, draw, {"echo": 1}, hands=hands)
            found.append((rides.board(gates, readers.parameters, draw.randbytes), rates["validators"]))
        whole = sum(rate for _, rate in found)
        if order.rate and whole:
            return [(trade, rate * order.rate / whole) for trade, rate in found]
        return [(trade, order.rate / len(found)) for trade, _ in found] if order.rate else found

    def _people(self, draw: random.Random) -> tuple[Purse, Hands | None]:
        if self.order.cards:
            return Cards(self.order.cards), None
        portfolio = Portfolio(self.order.cards_seed, STANDARD_ISSUERS, CARDS_PER_ISSUER)
        minter = Minter(portfolio, self.order.cards_seed)
        return People(portfolio), Hands(minter, len(STANDARD_ISSUERS) * CARDS_PER_ISSUER, draw.randbytes)

    def _sessions(self, line: Line, part: Stations) -> Callable[[int], Session]:
        """The way to the host of each terminal: over its line, or over none that is worth a name."""
        order, lines = self.order, lines_by_share(order_lines(self.order.census, part))

        def session(number: int) -> Session:
            named: dict[str, Any] = {"observe": self.figures.observe, "tls": order.tls}
            over = lines(number)
            if over is None:
                return Session(line, order.host, order.port, kept=order.kept, **named)
            return LinedSession(line, order.host, order.port, over, **named)

        return session

    async def _sign_in(self) -> None:
        """Some terminals of each kind: a host that lets none of them in is not asked by the others."""
        for trade, _ in self.trades:
            if isinstance(trade, InRows):
                await self._let_in(trade, trade.some(AT_ONCE))

    def _size(self) -> dict[str, Any]:
        census = self.order.census
        return {
            "fleet": census.name,
            **{name: getattr(census, name).terminals for name in ("pos", "atm", "validators")},
            "terminals": self.province.terminals,
            "cards": len(self.order.cards),
            "signed_in": sum(rows.signed_in for rows in (self.province.shops, self.province.machines)),
            "opened": sum(len(rows.paged()) for rows in (self.province.shops, self.province.machines)),
            "rows_mib": round(self.province.bytes / 2**20, 1),
            "taps": next((self._taps(trade) for trade, _ in self.trades if isinstance(trade, Rides)), {}),
        }

    def _taps(self, rides: Rides) -> dict[str, Any]:
        mean = round(rides.paid_minor / rides.rides, 1) if rides.rides else 0.0
        return {"rides": rides.rides, "mean_minor": mean, "refused": dict(rides.refused)}


def _habits(part: Stations) -> Habits:
    """How people pay at terminals of a part: where it says what a purchase comes to, no small ones beside."""
    if not part.amount_minor:
        return Habits()
    mean = part.amount_minor
    return Habits(amounts=(100, _AMOUNT_MOST * mean), mean_minor=mean, small=0.0)


def _fit(rows: Rows, readers: Readers, draw: random.Random, number: int, memory: Memory) -> None:
    """What a terminal has that its row does not say: a reader, and a first number that no earlier run had."""
    readers.fit(rows.terminal(number), memory)
    if not memory.stan:
        memory.stan = draw.randrange(FIRST_STAN_MAX)


def order_lines(census: Census, part: Stations) -> Sequence[tuple[LineProfile, float]]:
    """The lines of a part, each with its share of 1; none where it names none."""
    whole = sum(part.lines.values())
    return [(census.line(name), share / whole) for name, share in part.lines.items() if share]


def lines_by_share(lines: Sequence[tuple[LineProfile, float]]) -> Callable[[int], LineProfile | None]:
    """The line of a terminal by its number: each by its share, terminals in a row on different ones."""

    def over(number: int) -> LineProfile | None:
        at = number * _LINE_OF % 1000 / 1000
        for line, share in lines:
            if at < share:
                return line
            at -= share
        return lines[-1][0] if lines else None

    return over
