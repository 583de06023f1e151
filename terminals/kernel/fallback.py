"""When a stripe may be read although the card has a chip (docs/kernel.md): composite cards, and chips that fail."""

from typing import Final, Literal

from terminals.kernel.session import Presented

ATTEMPTS: Final = 3
"""How often a chip must have failed to be read before its stripe is taken."""

_CHIP: Final = ("2", "6")


def has_chip(track2: str) -> bool:
    """Whether a stripe's service code (2xx, 6xx) says that the card has a chip. False where it has no such code."""
    rest = track2.upper().replace("=", "D").partition("D")[2]
    return rest[4:5] in _CHIP


def swiped(
    track2: str, reads_chips: bool, failures: int = 0, allowed: bool = True, attempts: int = ATTEMPTS
) -> Literal["accept", "insert", "fallback", "refuse"]:
    """What to do with a stripe: take it, ask for the chip, take it as a marked fallback, or refuse it.

    `failures` counts how often this card's chip was tried in vain (`counts`); `allowed` whether the acquirer's profile
    takes fallbacks. Refused is a stripe whose chip has failed where fallbacks are not taken.
    """
    if not reads_chips or not has_chip(track2):
        return "accept"
    if failures < attempts:
        return "insert"
    return "fallback" if allowed else "refuse"


def counts(presented: Presented) -> bool:
    """Whether a chip's failure counts towards a fallback: it could not be read before an application was chosen.

    A blocked card or application, no application in common, a card removed or any decision of the chip do not.
    """
    return presented.outcome == "fallback"
