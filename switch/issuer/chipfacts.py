"""What an issuer knows of its cards' chips from their issue: sequence number, electronic cash, limits."""

from typing import Final

from switch.issuer.portfolio import Card

BALANCE_MAX_MINOR: Final = 100_000
"""Electronic cash on one card: 1,000 yuan by regulation (card.md section 7.4)."""


def psn_of(card: Card) -> str:
    """The card sequence number, two digits."""
    return str(getattr(card, "psn", "00"))


def issued_minor(card: Card) -> int:
    """Electronic cash that was on the chip when the card was issued."""
    return int(getattr(card, "e_cash_minor", 0))


def balance_max_minor(card: Card) -> int:
    """The most electronic cash the chip may hold (9F77)."""
    return int(getattr(card, "e_cash_max_minor", BALANCE_MAX_MINOR))
