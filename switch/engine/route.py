"""BIN to link: own cards to the own core, all others to a network. The longest prefix wins, up to ten digits."""

from collections.abc import Mapping


class Routes:
    """The routing table: `bins` maps a BIN (4 to 10 digits) to a counterpart's name, `default` takes all others.

    An empty `default` refuses cards whose BIN is not in the table.
    """

    __slots__ = ("_by_length", "default")

    def __init__(self, bins: Mapping[str, str], default: str = "") -> None:
        lengths = sorted({len(bin_) for bin_ in bins}, reverse=True)
        self._by_length = [(n, {bin_: link for bin_, link in bins.items() if len(bin_) == n}) for n in lengths]
        self.default = default

    def of(self, pan: str) -> str:
        """The counterpart's name for a PAN, or "" when no route takes it."""
        for length, table in self._by_length:
            link = table.get(pan[:length])
            if link is not None:
                return link
        return self.default
