"""What an issuer knows of its cards' chips from their issue: sequence number, electronic cash, limits."""

from typing import Final

from switch.issuer.portfolio import E_CASH_MAX_MINOR, Card

BALANCE_MAX_MINOR: Final = E_CASH_MAX_MINOR
"""Electronic cash on one card: 1,000 yuan by regulation (docs/e-cash.md, Loads)."""


def psn_of(card: Card) -> str:
    """The card sequence number, two digits."""
    return card.psn


def issued_minor(card: Card) -> int:
    """Electronic cash that was on the chip when the card was issued."""
    return card.e_cash_minor


def balance_max_minor(card: Card) -> int:
    """The most electronic cash the chip may hold (9F77); of a listed card nobody has said what chip it has."""
    return card.e_cash_max_minor if card.chip else BALANCE_MAX_MINOR
