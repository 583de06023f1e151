"""The user's own cards at an issuer of ours: listed in cards.csv instead of derived from a seed."""

import hashlib
from collections.abc import Iterable
from typing import Final

from switch.issuer.portfolio import Card, Issuer, Portfolio
from switch.wire.roster import CardRow

INSTITUTION: Final = "91990000"
BALANCE_MINOR: Final = 1_000_000
"""What a card begins with where its row does not say, in minor units."""


class ListedIssuer(Issuer):
    """The issuer of listed cards. Its `bins` are their whole numbers, so that it takes these cards and no others."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"ListedIssuer({len(self.bins)} cards)"


class Shelf(Portfolio):
    """The portfolio of one issuer whose cards stand in a list."""

    def __init__(self, rows: Iterable[CardRow]) -> None:
        listed = list(rows)
        issuer = ListedIssuer(INSTITUTION, "自有卡", "Listed cards", tuple(row.pan for row in listed))
        self.issuers = (issuer,)
        self.cards_per_issuer = len(listed)
        self._key = hashlib.sha256(b"shoudan listed cards").digest()
        self._listed = {row.pan: _card(row, issuer) for row in listed}
        self._order = tuple(self._listed)

    def card(self, issuer_index: int, n: int) -> Card:
        """Card `n` of the list. Raises IndexError beyond."""
        return self._listed[self._order[n]]

    def find(self, pan: str) -> Card | None:
        """The card with this number, None if it is not listed."""
        return self._listed.get(pan)

    def issuer_of(self, pan: str) -> Issuer | None:
        """The list's issuer for a card of the list."""
        return self.issuers[0] if pan in self._listed else None


def _card(row: CardRow, issuer: Issuer) -> Card:
    balance = BALANCE_MINOR if row.balance_minor is None else row.balance_minor
    return Card(row.pan, row.expiry, row.track2, row.pin or _unknown_pin(row.pan), row.credit, balance, issuer)


def _unknown_pin(pan: str) -> str:
    """Where the list has no PIN, any that is entered is wrong."""
    return f"{int.from_bytes(hashlib.sha256(pan.encode()).digest()[:8], 'big') % 10**12:012d}"
