"""BIN to link: own cards to the own core, all others to a network. The longest prefix wins, up to ten digits."""

from collections.abc import Mapping
from typing import NamedTuple


class Route(NamedTuple):
    """Where the cards of a BIN go: a counterpart's name, "" for none; `card` is their type, debit, credit, or "" where
    the table does not say."""

    link: str
    card: str = ""


class Routes:
    """The routing table: `bins` maps a BIN (4 to 10 digits) to a counterpart's name or a Route, `default` takes all
    others.

    An empty `default` refuses cards whose BIN is not in the table.
    """

    __slots__ = ("_by_length", "default")

    def __init__(self, bins: Mapping[str, str | Route], default: str = "") -> None:
        whole = {bin_: route if isinstance(route, Route) else Route(route) for bin_, route in bins.items()}
        lengths = sorted({len(bin_) for bin_ in whole}, reverse=True)
        self._by_length = [(n, {bin_: route for bin_, route in whole.items() if len(bin_) == n}) for n in lengths]
        self.default = Route(default)

    def of(self, pan: str) -> Route:
        """Where a PAN goes; link "" when no route takes it."""
        for length, table in self._by_length:
            route = table.get(pan[:length])
            if route is not None:
                return route
        return self.default
