"""Which card is looked at: one of the portfolio, by profile or number, or one of the user's file; and who issued it."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from switch.crypto.oda import KeyRing
from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from terminals.card.image import Image
from terminals.card.mint import CardFault, Minter, OwnCard, read_cards
from terminals.card.profile import shipped

SEARCHED_MAX: Final = 5000
"""Cards of each issuer among which one with the wanted chip is looked for."""


class Issued(NamedTuple):
    """What an issuer holds of a card: number, sequence number, keys of 16 bytes by suite and use.

    `derived`: the keys are the card's own, not the issuer's master keys. `invented`: they come from the portfolio, as
    everybody's do who takes the same seed; such keys may be shown.
    """

    pan: str
    psn: str
    institution: str
    key: Callable[[str, str], bytes]
    derived: bool
    invented: bool

    def __repr__(self) -> str:
        return f"Issued({self.institution})"


class Chosen(NamedTuple):
    """A card with its image, its issuer's part and where it came from."""

    card: Card | OwnCard
    image: Image
    issued: Issued
    source: str

    def __repr__(self) -> str:
        return f"Chosen({self.source})"

    @property
    def pin(self) -> str:
        """The PIN its holder knows."""
        return self.image.pin


def from_portfolio(seed: int, which: str = "dual") -> Chosen:
    """A card of the portfolio of `seed`: by profile (the first fit to pay), by number, or `ISSUER:NUMBER`.

    Raises CardFault for one that is not there, or has no chip.
    """
    issuers = Portfolio(seed, STANDARD_ISSUERS, SEARCHED_MAX)
    card = _by_profile(issuers, which) if which in shipped() else _by_number(issuers, which)
    if not card.chip:
        raise CardFault(f"card {which} has a stripe alone, no chip")
    institution = card.issuer.institution

    def key(suite: str, use: str) -> bytes:
        return issuers.master_key(institution, suite, use)

    image = Minter(issuers, seed).image(card)
    return Chosen(card, image, Issued(card.pan, card.psn, institution, key, False, True), f"seed {seed}")


def fit_cards(seed: int, profile: str, count: int) -> list[Image]:
    """Images of the first `count` cards with this chip that are fit to pay, for those who need many."""
    issuers = Portfolio(seed, STANDARD_ISSUERS, SEARCHED_MAX)
    minter = Minter(issuers, seed)
    found = [minter.image(card) for card in _fit(issuers, profile, count)]
    if len(found) < count:
        raise CardFault(f"{len(found)} cards with the chip {profile}, not {count}")
    return found


def forgetful() -> KeyRing:
    """A reader's key ring to which every card is new; it keeps the issuers' keys."""
    return KeyRing(cards_max=0)


def _fit(issuers: Portfolio, profile: str, count: int) -> list[Card]:
    found: list[Card] = []
    for number in range(SEARCHED_MAX):
        for place in range(len(issuers.issuers)):
            card = issuers.card(place, number)
            if card.chip == profile and card.status == "normal" and card.expiry > "30":
                found.append(card)
        if len(found) >= count:
            break
    return found[:count]


def _by_profile(issuers: Portfolio, profile: str) -> Card:
    found = _fit(issuers, profile, 1)
    if not found:
        raise CardFault(f"no card with the chip {profile}")
    return found[0]


def _by_number(issuers: Portfolio, which: str) -> Card:
    issuer, _, number = which.rpartition(":")
    try:
        return issuers.card(int(issuer or "0"), int(number))
    except (ValueError, IndexError):
        names = ", ".join(shipped())
        raise CardFault(f"card {which!r}: a profile ({names}), NUMBER or ISSUER:NUMBER") from None


def from_file(path: str | Path, place: str = "1") -> Chosen:
    """Card `place` (from 1) of the user's file. Raises CardFault."""
    cards = read_cards(path)
    if not (place.isascii() and place.isdigit() and 1 <= int(place) <= len(cards)):
        raise CardFault(f"{Path(path).name}: card 1 to {len(cards)}")
    card = cards[int(place) - 1]
    return Chosen(card, Minter(None, 0).image(card), issued_of(card), f"{Path(path).name}, card {place}")


def issued_of(card: OwnCard) -> Issued:
    """The issuer's part of a card of the user's."""

    def key(suite: str, use: str) -> bytes:
        return card.keys[suite, use]

    person = card.personal
    return Issued(person.pan, person.psn, person.institution, key, card.derived, False)
