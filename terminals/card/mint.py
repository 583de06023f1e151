"""Cards made from the issuers' portfolio and one seed, or from the user's file; images are kept for the last used.

The user's file is TOML: master keys by label under `[imk.LABEL]` (`ac`, `mac`, `enc`: 32 hexadecimal digits each, or
those of `[imk.LABEL.3des]` and `[imk.LABEL.sm4]`), then one `[[card]]` each with `pan`, `expiry` (YYMM), `imk`,
`profile`, and perhaps `psn`, `pin`, `service_code`, `track2`, `institution`, `pin_key`. `udk` in place of `imk` names
keys of the one card under `[udk.LABEL]`, which are used as they stand.
"""

import hashlib
import tomllib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from switch.crypto.cryptogram import card_key
from switch.issuer.portfolio import Card, Portfolio
from terminals.card.card import Icc
from terminals.card.image import Image, Personal
from terminals.card.profile import CONTACT, Profile, ProfileFault, load
from terminals.card.signing import Authority, Signer
from terminals.card.state import CardState

IMAGES_MAX: Final = 8192
"""Images a minter keeps; the one used longest ago goes first."""

PIN_KEYS: Final = ("ac", "enc")
_CARD_KEYS: Final = frozenset(
    {"pan", "expiry", "imk", "udk", "profile", "psn", "pin", "service_code", "track2", "institution", "pin_key"}
)
_SUITES: Final = ("3des", "sm4")
_USES: Final = ("ac", "mac", "enc")


class CardFault(ValueError):
    """A user's card file that does not read; the text names file and card by its place, never a number or a key."""


@dataclass(frozen=True, slots=True, repr=False)
class OwnCard:
    """A card of the user's own: `keys` maps (suite, use) to master keys of 16 bytes; `derived`: to the card's own."""

    personal: Personal
    profile: str
    keys: Mapping[tuple[str, str], bytes]
    pin_key: str = "ac"
    derived: bool = False

    def __repr__(self) -> str:
        return f"OwnCard({self.profile} of {self.personal.institution})"

    def udk(self, suite: str, use: str) -> bytes:
        """The card's key for a suite and use."""
        key = self.keys[suite, use]
        return key if self.derived else card_key(suite, key, self.personal.pan, self.personal.psn)


class Minter:
    """Makes images and cards: one seed, the same cards. Issuers' keys come from the portfolio or the user's file."""

    def __init__(self, portfolio: Portfolio | None, seed: int, images_max: int = IMAGES_MAX) -> None:
        self.portfolio = portfolio
        self._authority = Authority(hashlib.sha256(b"shoudan chips %d" % seed).digest())
        self._images: OrderedDict[str, Image] = OrderedDict()
        self._images_max = images_max

    def image(self, card: Card | OwnCard, profile: str | None = None) -> Image:
        """The image of a card; `profile` makes another chip of it than its own. ValueError for a card without chip."""
        own = isinstance(card, OwnCard)
        name = profile or (card.profile if isinstance(card, OwnCard) else card.chip)
        if not name:
            raise ValueError("a card with a stripe alone has no chip")
        key = (card.personal.pan if isinstance(card, OwnCard) else card.pan) + "/" + name
        image = self._images.get(key)
        if image is None:
            image = self._own(card, name) if isinstance(card, OwnCard) else self.issued(card, load(name))
            self._images[key] = image
            if len(self._images) > self._images_max:
                self._images.popitem(last=False)
        elif not own:
            self._images.move_to_end(key)
        return image

    def icc(
        self,
        card: Card | OwnCard,
        entropy: Callable[[int], bytes],
        state: CardState | None = None,
        interface: str = CONTACT,
        t0: bool = False,
    ) -> Icc:
        """A card ready in a reader; without a state a fresh one."""
        image = self.image(card)
        return Icc(image, state or image.fresh_state(), entropy, interface, t0)

    def issued(self, card: Card, profile: Profile) -> Image:
        """A fresh image of a card of the portfolio, with the chip that `profile` tells."""
        if self.portfolio is None:
            raise ValueError("no portfolio to take master keys from")
        institution = card.issuer.institution
        person = Personal(card.pan, card.psn, card.expiry, card.track2, card.pin, institution)
        signer = Signer(self._authority, institution, card.pan)
        return Image(profile, person, partial(_derived, self.portfolio, person), signer)

    def _own(self, card: OwnCard, profile: str) -> Image:
        signer = Signer(self._authority, card.personal.institution, card.personal.pan)
        return Image(load(profile), card.personal, card.udk, signer, card.pin_key)


def _derived(portfolio: Portfolio, person: Personal, suite: str, use: str) -> bytes:
    """A card's key from its issuer's master key."""
    return card_key(suite, portfolio.master_key(person.institution, suite, use), person.pan, person.psn)


def read_cards(path: str | Path) -> list[OwnCard]:
    """The cards of the user's file. Raises CardFault; nothing is loaded by halves."""
    try:
        tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CardFault(f"{Path(path).name}: {(error.strerror or type(error).__name__).lower()}") from None
    except ValueError as error:
        raise CardFault(f"{Path(path).name}: {type(error).__name__}") from None
    cards = []
    for place, table in enumerate(tree.get("card", ()), 1):
        try:
            cards.append(_own_card(table, tree, Path(path).parent))
        except KeyError as error:
            raise CardFault(f"{Path(path).name}: card {place}: {error.args[0]} is missing") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise CardFault(f"{Path(path).name}: card {place}: {error}") from None
    if not cards:
        raise CardFault(f"{Path(path).name}: no [[card]]")
    return cards


def _own_card(table: Mapping[str, Any], tree: Mapping[str, Any], folder: Path) -> OwnCard:
    unknown = set(table) - _CARD_KEYS
    if unknown:
        raise ValueError(f"unknown key {sorted(unknown)[0]}")
    pan, expiry = _digits(table, "pan", 12, 19), _digits(table, "expiry", 4, 4)
    if not "01" <= expiry[2:] <= "12":
        raise ValueError("expiry: YYMM")
    psn = _digits(table, "psn", 2, 2, "00")
    service = _digits(table, "service_code", 3, 3, "220")
    track2 = str(table.get("track2", f"{pan}={expiry}{service}00000")).upper().replace("D", "=")
    if not track2.startswith(f"{pan}={expiry}") or len(track2) > 37 or not track2.replace("=", "", 1).isdecimal():
        raise ValueError("track2: pan, '=' or 'D', expiry, digits, up to 37 characters")
    profile = str(table["profile"])
    if profile.endswith(".toml"):
        profile = str(folder / profile)
    load(profile)
    pin_key = str(table.get("pin_key", "ac"))
    if pin_key not in PIN_KEYS:
        raise ValueError("pin_key: ac or enc")
    kind = "udk" if "udk" in table else "imk"
    label, labels = str(table[kind]), tree.get(kind, {})
    if label not in labels:
        raise ValueError(f"{kind}: there is no such label")
    institution = str(table.get("institution", pan[:8]))
    personal = Personal(pan, psn, expiry, track2, _digits(table, "pin", 4, 12, "123456"), institution)
    return OwnCard(personal, profile, _keys(labels[label]), pin_key, kind == "udk")


def _digits(table: Mapping[str, Any], name: str, least: int, most: int, default: str | None = None) -> str:
    text = table.get(name, default)
    if text is None:
        raise KeyError(name)
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and least <= len(text) <= most):
        raise ValueError(f"{name}: {least} to {most} digits" if least != most else f"{name}: {least} digits")
    return text


def _keys(table: Mapping[str, Any]) -> dict[tuple[str, str], bytes]:
    keys = {}
    for suite in _SUITES:
        given = table.get(suite, table)
        for use in _USES:
            try:
                key = bytes.fromhex(given[use])
            except (ValueError, TypeError):
                key = b""
            if len(key) != 16:
                raise ValueError(f"{use} has 32 hexadecimal digits")
            keys[suite, use] = key
    return keys


__all__ = ["CardFault", "Minter", "OwnCard", "ProfileFault", "read_cards"]
