"""What a replay knows of its test cards: PIN, stripe and the chip's master key, from invented issuers or from files."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from switch.crypto.cryptogram import CardKey, IssuerKey
from switch.issuer.portfolio import Portfolio
from switch.wire.roster import CardRow


class Known(NamedTuple):
    """A test card; "" for what nobody has said. `track2` has = as separator."""

    pin: str
    expiry: str
    track2: str
    psn: str


class Cards(Protocol):
    """Where a replay looks its cards up."""

    def find(self, pan: str) -> Known | None: ...

    def chip_key(self, pan: str, psn: str, suite: str) -> CardKey | None: ...


class Invented:
    """The cards of a seed's portfolio, as a demo day has them."""

    def __init__(self, portfolio: Portfolio) -> None:
        self._portfolio = portfolio

    def find(self, pan: str) -> Known | None:
        """A card of the portfolio."""
        card = self._portfolio.find(pan)
        return None if card is None else Known(card.pin, card.expiry, card.track2, card.psn)

    def chip_key(self, pan: str, psn: str, suite: str) -> CardKey | None:
        """The key of a card's cryptograms."""
        issuer = self._portfolio.issuer_of(pan)
        if issuer is None:
            return None
        return IssuerKey(suite, self._portfolio.master_key(issuer.institution, suite, "ac")).card(pan, psn)


class Listed:
    """The cards of cards.csv. `master` maps a suite to the issuer's test master key of cryptograms."""

    def __init__(self, rows: Iterable[CardRow], master: dict[str, bytes] | None = None) -> None:
        self._rows = {row.pan: row for row in rows}
        self._master = {suite: IssuerKey(suite, key) for suite, key in (master or {}).items()}

    def find(self, pan: str) -> Known | None:
        """A card of the list."""
        row = self._rows.get(pan)
        return None if row is None else Known(row.pin, row.expiry, row.track2, row.psn)

    def chip_key(self, pan: str, psn: str, suite: str) -> CardKey | None:
        """The key of a card's cryptograms, None without a master key of that suite."""
        key = self._master.get(suite)
        return None if key is None else key.card(pan, psn)


class NoCards:
    """Nothing is known of any card."""

    def find(self, pan: str) -> Known | None:
        """None."""
        return None

    def chip_key(self, pan: str, psn: str, suite: str) -> CardKey | None:
        """None."""
        return None
