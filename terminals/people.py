"""The holders of the invented issuers' cards."""

import random
from typing import Final

from switch.issuer.portfolio import Card, Portfolio

REGULARS: Final = 4_000
"""Of each bank's cards, those whose holders come to these shops."""


class People:
    """The holders of the portfolio's cards, four in ten of them the own bank's. `REGULARS` of each bank's come."""

    def __init__(self, portfolio: Portfolio) -> None:
        self.portfolio = portfolio
        self._regulars = min(REGULARS, portfolio.cards_per_issuer)
        self._others = len(portfolio.issuers) - 1

    def pick(self, draw: random.Random) -> Card:
        own = draw.random() < 0.4
        issuer = 0 if own else 1 + draw.randrange(self._others)
        return self.portfolio.card(issuer, draw.randrange(self._regulars))

    def find(self, pan: str) -> Card | None:
        return self.portfolio.find(pan)
