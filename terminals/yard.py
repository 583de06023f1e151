"""Customers at terminals that are rows: a terminal is made of its row when somebody comes, and put back when they go.

What stays open between two customers is a kept connection, and a terminal that somebody will come back to.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from terminals.device.memory import Memory
from terminals.drive.aio import Session
from terminals.machines import CashTrade
from terminals.rows import Rows
from terminals.trade import Site, Trade

KEPT_MAX: Final = 2_000
"""Connections that stay open between two customers."""


class RowSite(Site):
    """A terminal somebody is at, or will come back to; `number` is that of its row."""

    __slots__ = ("number",)

    def __init__(self, memory: Memory, session: Session, number: int) -> None:
        super().__init__(memory, session)
        self.number = number


class InRows(Trade):
    """A Trade whose terminals are `rows`. `sites` are those that are open now.

    `settle_in(rows, session, fit)` comes before anything else: `session` makes the way to the host of the terminal of a
    number, `fit` gives its memory the reader it has.
    """

    def settle_in(self, rows: Rows, session: Callable[[int], Session], fit: Callable[[int, Memory], None]) -> "InRows":
        """Where the terminals are."""
        self.rows = rows
        self._session = session
        self._fit = fit
        self._at: dict[int, RowSite] = {}
        self._gone = {"stale_replies": 0, "connects": 0}
        return self

    def site(self, number: int) -> RowSite:
        """The terminal of a number, opened if it is not."""
        site = self._at.get(number)
        if site is None:
            memory = self.rows.take(number)
            self._fit(number, memory)
            site = self._at[number] = RowSite(memory, self._session(number), number)
            self.sites.append(site)
        return site

    def some(self, count: int) -> list[Site]:
        """A few terminals, from everywhere."""
        whole = len(self.rows)
        return [self.site(number) for number in sorted({n * whole // count for n in range(min(count, whole))})]

    def _site(self) -> Site:
        return self.site(self._draw.randrange(len(self.rows)))

    def _left(self, site: Site) -> None:
        if not site.wish and not (site.session.kept and len(self._at) <= KEPT_MAX):
            self._shut(site)

    def _shut(self, site: Site) -> None:
        assert isinstance(site, RowSite)
        del self._at[site.number]
        self.sites.remove(site)
        site.session.close()
        self._gone["stale_replies"] += site.session.stale
        self._gone["connects"] += site.session.connects
        self.rows.put(site.number)

    def _open(self) -> Iterable[Site]:
        for number in list(self.rows.open()):
            self.site(number)
        return list(self.sites)

    def remembered(self) -> Iterator[Memory]:
        """The memories of all terminals that have more than a record, open or not; to be looked at, one at a time."""
        yield from (site.memory for site in self.sites)
        for number in self.rows.paged():
            yield self.rows.take(number)
            self.rows.put(number)

    def close(self) -> None:
        """Close all connections; everybody goes, every terminal is a row again."""
        for site in list(self.sites):
            self._shut(site)

    def result(self) -> dict[str, Any]:
        """The fleet's figures of the whole run."""
        told = super().result()
        return {**told, **{name: told[name] + count for name, count in self._gone.items()}}


class Shops(InRows):
    """Shop terminals as rows."""


class Cash(InRows, CashTrade):
    """Machines as rows."""
