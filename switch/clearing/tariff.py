"""Tariffs (资费): what a transaction costs and who gets it, as a table of rows with dates.

A row is chosen by day, business, merchant category and type of card. Of what the merchant pays, the issuer and the
network get what the row names, the acquirer keeps the rest; besides, the issuer may pay network and acquirer. All
arithmetic is in integers: rates in millionths, amounts in minor units, and one rounding a party and transaction.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from switch.clearing.dates import is_date
from switch.wire.roster import one_of
from switch.wire.table import Column, Fault, TableError, read_table, shown

PURCHASE, WITHDRAWAL = "purchase", "withdrawal"
DEBIT, CREDIT = "debit", "credit"
CARD_TYPES: Final = {"debit": DEBIT, "credit": CREDIT, "借记": DEBIT, "贷记": CREDIT}
SHIPPED: Final = "domestic"
"""The tariff that comes with the package."""
OPEN_END: Final = "9999-12-31"

_MILLION: Final = 1_000_000
_HUNDRED: Final = 100
_MINOR_MAX: Final = 10**12


def _half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _half_even(numerator: int, denominator: int) -> int:
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


def _down(numerator: int, denominator: int) -> int:
    return numerator // denominator


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


Rounding = Callable[[int, int], int]

ROUNDINGS: Final[dict[str, Rounding]] = {"half-up": _half_up, "half-even": _half_even, "down": _down, "up": _up}
"""How a quotient of two integers that are not negative becomes an integer."""


class Price(NamedTuple):
    """A share of the amount in millionths, at most `cap_minor` (None: no cap), and `fixed_minor` a transaction."""

    millionths: int = 0
    cap_minor: int | None = None
    fixed_minor: int = 0

    def of(self, amount_minor: int, percent: int, rounded: Rounding) -> int:
        """The fee on an amount, of which only `percent` is charged: rounded once, at the end."""
        due = amount_minor * self.millionths
        if self.cap_minor is not None:
            due = min(due, self.cap_minor * _MILLION)
        return rounded((due + self.fixed_minor * _MILLION) * percent, _MILLION * _HUNDRED)


class Fee(NamedTuple):
    """Who pays and who gets, in minor units: what `merchant` pays is what `issuer`, `network` and `acquirer` get.

    A negative number goes the other way: an issuer that pays for its holder's cash, a merchant who gets a fee back.
    """

    merchant: int = 0
    issuer: int = 0
    network: int = 0
    acquirer: int = 0

    def plus(self, other: "Fee") -> "Fee":
        return Fee(*[a + b for a, b in zip(self, other, strict=True)])

    def minus(self, other: "Fee") -> "Fee":
        return Fee(*[a - b for a, b in zip(self, other, strict=True)])

    @property
    def balanced(self) -> bool:
        """Whether all that is paid is got by somebody."""
        return self.merchant == self.issuer + self.network + self.acquirer


NOTHING: Final = Fee()


@dataclass(frozen=True, slots=True)
class TariffRow:
    """One row. Dates are YYYY-MM-DD, both inclusive; `mcc` are ranges of merchant categories, none for all others;
    `card` is "" for every card. `percent` of the parts of issuer and network are charged."""

    since: str
    until: str
    business: str
    name: str
    mcc: tuple[tuple[int, int], ...]
    card: str
    merchant: Price
    issuer: Price
    network: Price
    issuer_to_network: Price
    issuer_to_acquirer: Price
    percent: int
    refund_gives_back: bool
    rounding: str
    line: int

    def fee(self, amount_minor: int, on_us: bool) -> Fee:
        """The fee on an amount. On-us (本代本) nothing passes the network, and nothing is paid between banks for cash:
        the bank is issuer and acquirer."""
        rounded = ROUNDINGS[self.rounding]
        merchant = self.merchant.of(amount_minor, _HUNDRED, rounded)
        issuer = self.issuer.of(amount_minor, self.percent, rounded)
        network = to_network = to_acquirer = 0
        if not on_us:
            network = self.network.of(amount_minor, self.percent, rounded)
            to_network = self.issuer_to_network.of(amount_minor, self.percent, rounded)
            to_acquirer = self.issuer_to_acquirer.of(amount_minor, _HUNDRED, rounded)
        return Fee(
            merchant,
            issuer - to_network - to_acquirer,
            network + to_network,
            merchant - issuer - network + to_acquirer,
        )

    def meets(self, other: "TariffRow") -> bool:
        """Whether both could be chosen for one transaction."""
        return (
            self.business == other.business
            and self.since <= other.until
            and other.since <= self.until
            and (not self.card or not other.card or self.card == other.card)
            and (
                any(a <= d and c <= b for a, b in self.mcc for c, d in other.mcc)
                if self.mcc and other.mcc
                else self.mcc == other.mcc
            )
        )


class Tariff:
    """A tariff's rows, in order; no two of them can be chosen for one transaction."""

    def __init__(self, name: str, rows: list[TariffRow]) -> None:
        self.name = name
        self.rows = rows
        self._found: dict[tuple[str, str, str, str], TariffRow | None] = {}

    def row(self, date: str, business: str, mcc: str, card: str) -> TariffRow | None:
        """The row for a day (YYYY-MM-DD); one that names the category goes before one that takes all others."""
        key = (date, business, mcc, card)
        if key not in self._found:
            self._found[key] = self._find(*key)
        return self._found[key]

    def _find(self, date: str, business: str, mcc: str, card: str) -> TariffRow | None:
        category = int(mcc) if mcc.isascii() and mcc.isdigit() else -1
        others = None
        for row in self.rows:
            if row.business != business or not row.since <= date <= row.until or row.card not in ("", card):
                continue
            if not row.mcc:
                others = row
            elif any(first <= category <= last for first, last in row.mcc):
                return row
        return others


# reading


def _day(cell: str) -> str:
    if not is_date(cell):
        raise ValueError(f"{shown(cell)} is not a date YYYY-MM-DD")
    return cell


def _decimal(text: str, places: int) -> int:
    """A decimal number with up to `places` places, times ten to that power. Raises ValueError."""
    whole, point, part = text.partition(".")
    digits = whole + part.ljust(places, "0")
    if (
        not whole
        or (point and not part)
        or len(part) > places
        or not (digits.isascii() and digits.isdigit())
        or int(digits) > _MINOR_MAX
    ):
        raise ValueError
    return int(digits)


def price(cell: str) -> Price:
    """A price as people write it, in yuan and per cent.

    >>> price("0.35% max 13.00")
    Price(millionths=3500, cap_minor=1300, fixed_minor=0)
    >>> price("3.60")
    Price(millionths=0, cap_minor=None, fixed_minor=360)
    """
    try:
        rate, limit, most = (part.strip() for part in cell.partition(" max "))
        if rate.endswith("%"):
            millionths = _decimal(rate[:-1].rstrip(), 4)
            if millionths > _MILLION:
                raise ValueError
            return Price(millionths, _decimal(most, 2) if limit else None)
        if limit:
            raise ValueError
        return Price(fixed_minor=_decimal(rate, 2))
    except ValueError:
        reason = "is no price like '0.45%', '0.35% max 13.00' or '3.00' (up to 4 places of a per cent, 2 of a yuan)"
        raise ValueError(f"{shown(cell)} {reason}") from None


def _percent(cell: str) -> int:
    number = cell.removesuffix("%")
    if not (number.isascii() and number.isdigit() and int(number) <= _HUNDRED) or number == cell:
        raise ValueError(f"{shown(cell)} is not a whole per cent from 0% to 100%")
    return int(number)


def _categories(cell: str) -> tuple[tuple[int, int], ...]:
    found = []
    for word in cell.split():
        first, dash, last = word.partition("-")
        last = last if dash else first
        if not all(len(code) == 4 and code.isascii() and code.isdigit() for code in (first, last)) or first > last:
            raise ValueError(f"{shown(word)} is neither a merchant category of 4 digits nor a range like 3000-3299")
        found.append((int(first), int(last)))
    found.sort()
    for one, other in pairwise(found):
        if other[0] <= one[1]:
            raise ValueError(f"category {other[0]:04d} stands here twice")
    return tuple(found)


COLUMNS: Final = (
    Column("from", _day, required=True),
    Column("until", _day, OPEN_END),
    Column("business", one_of({PURCHASE: PURCHASE, WITHDRAWAL: WITHDRAWAL, "消费": PURCHASE, "取款": WITHDRAWAL}), required=True),  # noqa: E501
    Column("class", required=True),
    Column("mcc", _categories, ()),
    Column("card", one_of(CARD_TYPES), ""),
    Column("merchant", price, Price()),
    Column("issuer", price, Price()),
    Column("network", price, Price()),
    Column("issuer_to_network", price, Price()),
    Column("issuer_to_acquirer", price, Price()),
    Column("charged", _percent, _HUNDRED),
    Column("refund", one_of({"back": True, "keep": False}), True),
    Column("rounding", one_of({name: name for name in ROUNDINGS}), "half-up"),
)  # fmt: skip
"""The columns of a tariff."""


def _row(*, charged: int, refund: bool, **values: Any) -> TariffRow:
    since, name = values.pop("from"), values.pop("class")
    row = TariffRow(since=since, name=name, percent=charged, refund_gives_back=refund, **values)
    if row.until < row.since:
        raise ValueError(f"until: {row.until} is before {row.since}")
    if row.business == WITHDRAWAL and row.merchant != Price():
        raise ValueError("merchant: fees of a withdrawal run between institutions, nobody pays at the machine")
    return row


def _overlaps(rows: list[TariffRow]) -> Iterator[Fault]:
    for n, row in enumerate(rows):
        for earlier in rows[:n]:
            if row.meets(earlier):
                yield Fault(row.line, f"could be meant where line {earlier.line} is: dates, mcc and card overlap")
                break


def read_tariff(path: str | Path) -> Tariff:
    """A tariff from its file. Raises TableError with every fault and its line; nothing is taken by halves."""
    rows = read_table(path, COLUMNS, _row)
    if not rows:
        raise TableError(str(path), [Fault(0, "has no rows")])
    faults = list(_overlaps(rows))
    if faults:
        raise TableError(str(path), faults)
    return Tariff(Path(path).stem, rows)


def load_tariff(name: str, beside: Path) -> Tariff:
    """A tariff by the name of a shipped one, or by a path relative to `beside`. Raises TableError."""
    path = beside / name
    shipped = Path(__file__).with_name("tariffs") / f"{name}.csv"
    return read_tariff(shipped if not path.is_file() and shipped.is_file() and "/" not in name else path)
