"""Whether this card may be used, by this holder, for this much today."""

from typing import NamedTuple

from switch.crypto.errors import PinFormatError
from switch.crypto.hsm import Hsm
from switch.issuer.ledger import Account
from switch.issuer.portfolio import Card

_STATUS_CODES = {"normal": "", "lost": "41", "stolen": "43", "restricted": "62"}


class Limits(NamedTuple):
    """Per card and settlement day: purchases and holds in minor units and in number; wrong PINs in a row;
    `assisted_minor` is what merchants may pay out to a card a day (助农取款)."""

    daily_minor: int = 20_000_000
    daily_count: int = 200
    assisted_minor: int = 100_000
    tries_max: int = 3


class PinBlock(NamedTuple):
    """A PIN block as it came, its format, and the labels of the keys it may be under (the latest first;
    none without a PIN key, and then it cannot be read)."""

    block: bytes
    format: str
    labels: tuple[str, ...]

    def __repr__(self) -> str:
        return f"PinBlock({self.format})"


def refuse_card(card: Card, track2: str, expiry: str, this_month: str) -> str:
    """The code that refuses the card, "" if it may be used. `this_month` is YYMM, as is `expiry` (DE14, may be "").

    41 lost, 43 stolen, 62 restricted, 54 expired or another expiry date, 59 a track that is not this card's.
    """
    code = _STATUS_CODES[card.status]
    if code:
        return code
    if card.expiry < this_month or (expiry and expiry not in (card.expiry, "0000")):
        return "54"
    if track2 and track2.replace("D", "=") != card.track2:
        return "59"
    return ""


def refuse_pin(hsm: Hsm, pvk: str, card: Card, account: Account, pin: PinBlock, tries_max: int) -> str:
    """The code that refuses the PIN, "" if it is right; a right one clears the count of wrong ones.

    55 wrong, 75 for the last try and all after it (the next settlement day begins anew), 99 not a PIN block.
    """
    if account.tries >= tries_max:
        return "75"
    if not account.pin_reference:
        account.pin_reference = hsm.pin_reference(pvk, card.pan, card.pin)
    malformed = 0
    for label in pin.labels:
        try:
            if hsm.pin_matches(label, pin.format, card.pan, pin.block, account.pin_reference, pvk):
                account.tries = 0
                return ""
        except PinFormatError:
            malformed += 1
    if malformed == len(pin.labels):
        return "99"
    account.tries += 1
    return "75" if account.tries >= tries_max else "55"


def take_pin(hsm: Hsm, pvk: str, card: Card, account: Account, pin: PinBlock) -> str:
    """Let the card have the PIN of this block from now on; 99, and nothing changed, if it is not a PIN block."""
    for label in pin.labels:
        try:
            account.pin_reference = hsm.refer_to_pin(label, pin.format, card.pan, pin.block, pvk)
        except PinFormatError:
            continue
        return ""
    return "99"


def refuse_assisted(card: Card, account: Account, with_pin: bool, amount_minor: int, limits: Limits) -> str:
    """Assisted withdrawal: 57 for a credit card, 55 without a PIN, 61 beyond the day's limit, "" otherwise."""
    if card.credit:
        return "57"
    if not with_pin:
        return "55"
    return "61" if account.assisted_minor + amount_minor > limits.assisted_minor else ""


def refuse_limits(account: Account, amount_minor: int, limits: Limits) -> str:
    """61 beyond the day's amount, 65 beyond the day's number, "" otherwise."""
    if account.count >= limits.daily_count:
        return "65"
    return "61" if account.spent_minor + amount_minor > limits.daily_minor else ""
