"""Issuers and their cards, all derived from one seed: nothing is stored, and a card number leads back to its card.

Both sides of a simulation mint the same cards: the issuer to verify, the fleet to pay with. Every number is plainly
invented: the BIN, a run of at least five zeros, a serial and the Luhn digit.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from switch.wire.redact import mask_pan

ZERO_RUN: Final = 5
"""The least zeros in a row a minted card number holds, those at the end of its BIN included."""

CACHE_MAX: Final = 65_536
"""Cards a portfolio keeps at hand; beyond that it forgets them all and derives again."""

_STATUS_SHARES: Final = ((3, "lost"), (5, "stolen"), (9, "restricted"))
_EXPIRED_SHARE: Final = 13
"""Cumulative shares in 1/1024: what makes a small part of the cards unfit to pay."""

_DEBIT_CHIPS: Final = (
    (96, ""), (448, "dual"), (608, "debit"), (704, "composite"), (800, "dual_algorithm"), (896, "sm"), (960, "social"),
    (1024, "ecash"),
)  # fmt: skip
_CREDIT_CHIPS: Final = ((96, ""), (832, "credit"), (1024, "quasi_credit"))
"""Cumulative shares in 1/1024: which chip a card has."""

_E_CASH_MINOR: Final = {"dual": 10_000, "dual_algorithm": 10_000, "sm": 10_000, "social": 10_000, "ecash": 20_000}
"""What electronic cash chips are issued with, as their profiles have it (9F79); the others have none."""
E_CASH_MAX_MINOR: Final = 100_000
"""The most electronic cash on one chip (9F77): 1,000 yuan by regulation."""

CHIP_SERVICE: Final = "220"
STRIPE_SERVICE: Final = "120"
"""Service codes on the stripe: 2xx tells a terminal that there is a chip to be read."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A bank that issues cards: institution code (8 digits), BINs (6 to 10 digits), length of its card numbers.

    `own` marks the acquirer's own bank, whose cards never go to the network.
    """

    institution: str
    name_zh: str
    name_en: str
    bins: tuple[str, ...]
    own: bool = False
    pan_digits: int = 19
    credit: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Card:
    """A card and its holder's secret. `expiry` is YYMM, `track2` has '=' as separator, `balance_minor` is what the
    account starts with (for a credit card, its limit). `status` is normal, lost, stolen or restricted. `chip` names the
    profile of its chip (docs/cards.md), "" for a card with a stripe alone; `psn` is the card sequence number, 2 digits.
    `e_cash_minor` is the electronic cash the chip is issued with, `e_cash_max_minor` the most it may hold, 0 for none.

    `repr` shows the masked number only.
    """

    pan: str
    expiry: str
    track2: str
    pin: str
    credit: bool
    balance_minor: int
    issuer: Issuer
    status: str = "normal"
    chip: str = ""
    psn: str = "00"
    e_cash_minor: int = 0
    e_cash_max_minor: int = 0

    def __repr__(self) -> str:
        return f"Card({mask_pan(self.pan)} of {self.issuer.institution})"


class Portfolio:
    """`cards_per_issuer` cards for each issuer. Raises ValueError for issuers whose numbers cannot be told apart."""

    def __init__(self, seed: int, issuers: tuple[Issuer, ...], cards_per_issuer: int) -> None:
        self.issuers = issuers
        self.cards_per_issuer = cards_per_issuer
        self._key = hashlib.sha256(b"shoudan portfolio %d" % seed).digest()
        self._cards: dict[tuple[int, int], Card] = {}
        self._by_bin: dict[str, tuple[int, int]] = {}
        for index, issuer in enumerate(issuers):
            for place, prefix in enumerate(issuer.bins):
                self._admit(issuer, prefix)
                self._by_bin[prefix] = (index, place)
        self._lengths = sorted({len(prefix) for prefix in self._by_bin}, reverse=True)

    def _admit(self, issuer: Issuer, prefix: str) -> None:
        if not (prefix.isdecimal() and 6 <= len(prefix) <= 10):
            raise ValueError(f"issuer {issuer.institution}: a BIN has six to ten digits")
        if prefix in self._by_bin:
            raise ValueError(f"issuer {issuer.institution}: BIN {prefix} is taken")
        if not 16 <= issuer.pan_digits <= 19:
            raise ValueError(f"issuer {issuer.institution}: a card number has sixteen to nineteen digits")
        digits = _serial_digits(issuer, prefix)
        capacity = 10**digits * len(issuer.bins) if digits > 0 else 0
        if self.cards_per_issuer > capacity:
            raise ValueError(f"issuer {issuer.institution}: room for {capacity} cards only")

    def card(self, issuer_index: int, n: int) -> Card:
        """Card `n` (0 <= n < cards_per_issuer) of an issuer. Raises IndexError beyond."""
        card = self._cards.get((issuer_index, n))
        if card is None:
            if not 0 <= n < self.cards_per_issuer:
                raise IndexError(f"card {n} of {self.cards_per_issuer}")
            card = _mint(self._key, self.issuers[issuer_index], n)
            if len(self._cards) >= CACHE_MAX:
                self._cards.clear()
            self._cards[issuer_index, n] = card
        return card

    def find(self, pan: str) -> Card | None:
        """The card with this number, found by taking the number apart; None if this portfolio never minted it."""
        place = self._place(pan)
        if place is None:
            return None
        index, which = place
        issuer = self.issuers[index]
        prefix = issuer.bins[which]
        if len(pan) != issuer.pan_digits or not pan.isdecimal():
            return None
        n = int(pan[-1 - _serial_digits(issuer, prefix) : -1]) * len(issuer.bins) + which
        if n >= self.cards_per_issuer:
            return None
        card = self.card(index, n)
        return card if card.pan == pan else None

    def master_key(self, institution: str, suite: str, use: str) -> bytes:
        """The chip master key (IMK) of an invented issuer: 16 bytes for `suite` 3des or sm4 and `use` ac, mac or enc.

        For the issuer's key ceremony and for personalisation, nobody else.
        """
        return hmac.digest(self._key, f"imk/{institution}/{suite}/{use}".encode(), "sha256")[:16]

    def issuer_of(self, pan: str) -> Issuer | None:
        """Who issued numbers like this one: the longest BIN that fits."""
        place = self._place(pan)
        return None if place is None else self.issuers[place[0]]

    def bins(self) -> list[tuple[str, str]]:
        """The routing table: (BIN, institution), the longest BINs first."""
        rows = [(prefix, issuer.institution) for issuer in self.issuers for prefix in issuer.bins]
        return sorted(rows, key=lambda row: (-len(row[0]), row[0]))

    def reference(self, pan: str) -> str:
        """What names a card in the books of both sides without its number: 16 hexadecimal digits, keyed by the seed."""
        return hmac.digest(self._key, f"card/{pan}".encode(), "sha256")[:8].hex()

    def _place(self, pan: str) -> tuple[int, int] | None:
        for length in self._lengths:
            place = self._by_bin.get(pan[:length])
            if place is not None:
                return place
        return None

    def __repr__(self) -> str:
        return f"Portfolio({len(self.issuers)} issuers, {self.cards_per_issuer} cards each)"


def luhn_digit(digits: str) -> str:
    """The check digit that follows `digits`.

    >>> luhn_digit("621214000000000003")
    '0'
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def _zeros(prefix: str) -> int:
    return max(0, ZERO_RUN - (len(prefix) - len(prefix.rstrip("0"))))


def _serial_digits(issuer: Issuer, prefix: str) -> int:
    return issuer.pan_digits - 1 - len(prefix) - _zeros(prefix)


def _mint(key: bytes, issuer: Issuer, n: int) -> Card:
    serial, which = divmod(n, len(issuer.bins))
    prefix = issuer.bins[which]
    body = prefix + "0" * _zeros(prefix) + str(serial).zfill(_serial_digits(issuer, prefix))
    pan = body + luhn_digit(body)
    stuff = hmac.digest(key, f"{issuer.institution}/{n}".encode(), "sha256")
    share = int.from_bytes(stuff[0:2], "big") % 1024
    status = next((name for limit, name in _STATUS_SHARES if share < limit), "normal")
    expired = _STATUS_SHARES[-1][0] <= share < _EXPIRED_SHARE
    expiry = f"{19 if expired else 36 + stuff[2] % 10:02d}{stuff[3] % 12 + 1:02d}"
    if issuer.credit:
        balance_minor = (5_000 + int.from_bytes(stuff[8:12], "big") % 46_000) * 100
    else:
        balance_minor = 100_000 + int.from_bytes(stuff[8:12], "big") % 20_000_000
    kind = int.from_bytes(stuff[16:18], "big") % 1024
    chip = next(name for limit, name in (_CREDIT_CHIPS if issuer.credit else _DEBIT_CHIPS) if kind < limit)
    service = CHIP_SERVICE if chip else STRIPE_SERVICE
    return Card(
        pan=pan,
        expiry=expiry,
        track2=f"{pan}={expiry}{service}000{int.from_bytes(stuff[12:16], 'big') % 1000:03d}",
        pin=f"{int.from_bytes(stuff[4:8], 'big') % 1_000_000:06d}",
        credit=issuer.credit,
        balance_minor=balance_minor,
        issuer=issuer,
        status=status,
        chip=chip,
        psn="01" if chip else "00",
        e_cash_minor=_E_CASH_MINOR.get(chip, 0),
        e_cash_max_minor=E_CASH_MAX_MINOR if chip in _E_CASH_MINOR else 0,
    )


STANDARD_ISSUERS: Final = (
    Issuer("04384531", "示例银行", "Example Bank", ("621214", "62800001"), own=True),
    Issuer("91010000", "远山银行", "Far Hills Bank", ("620100",)),
    Issuer("91020000", "白鹭银行", "Egret Bank", ("628800",), pan_digits=16, credit=True),
    Issuer("91030000", "青石银行", "Grey Stone Bank", ("62030000",), pan_digits=18),
    Issuer("91040000", "云桥银行", "Cloud Bridge Bank", ("6212149000",)),
)
"""The demonstration's banks. The last one's BIN lies inside the first one's: only the longest prefix routes right."""
