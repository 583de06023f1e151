"""Terminals, merchants and cards as their owner lists them: the columns of terminals.csv and cards.csv.

One terminal a row in terminals.csv, with its merchant and its master key (TMK) wrapped under a transport key; one card
a row in cards.csv. Switch, network centre and terminals read the same files. No key is opened here.
"""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeVar

from switch.wire.redact import mask_pan
from switch.wire.table import Column, read_table, shown

TRANSPORT_KEY: Final = "terminals_key"
"""The label of the transport key where a row names none."""

STRIPE, CONTACT, CONTACTLESS = "stripe", "contact", "contactless"
CAPABILITIES: Final = (STRIPE, CONTACT, CONTACTLESS)
TOPOLOGIES: Final = {"direct": "direct", "indirect": "indirect", "直联": "direct", "间联": "indirect"}
_CARD_TYPES: Final = {"debit": False, "credit": True, "借记": False, "贷记": True}
_NAME_BYTES_MAX: Final = 40
_TRACK2_MAX: Final = 37
_KEY_BYTES: Final = 16
_LABEL_MAX: Final = 64

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TerminalRow:
    """A row of terminals.csv. `tmk` is the wrapped master key (16 bytes, b"" where the row has none), `kcv` 3 to 8
    bytes of its check value, `kek` the label of the key it is wrapped under; `topology` is "direct" (直联) or
    "indirect" (间联).
    """

    tid: str
    mid: str
    mcc: str
    merchant_name: str
    suite: str
    model: str = ""
    capabilities: tuple[str, ...] = (STRIPE,)
    district: str = ""
    topology: str = "indirect"
    tmk: bytes = field(default=b"", repr=False)
    kcv: bytes = b""
    kek: str = TRANSPORT_KEY
    line: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class CardRow:
    """A row of cards.csv. `expiry` is YYMM, `track2` has '=' as separator; "" stands for a `pin` that is not known and
    where there is no `psn` (three digits) or `issuer_key` (label of the issuer's master key); `balance_minor` may be
    None.
    """

    pan: str
    expiry: str
    track2: str
    psn: str = ""
    pin: str = ""
    issuer_key: str = ""
    credit: bool = False
    balance_minor: int | None = None
    line: int = 0

    def __repr__(self) -> str:
        return f"CardRow({mask_pan(self.pan)})"


def luhn_ok(digits: str) -> bool:
    """Whether the last digit is the check digit of the others.

    >>> luhn_ok("6212140000000000030")
    True
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _printable(length: int) -> Any:
    def read(cell: str) -> str:
        if len(cell) != length or not (cell.isascii() and cell.isprintable()):
            raise ValueError(f"{length} characters are needed, not {shown(cell)}")
        return cell

    return read


def digits(least: int, most: int) -> Any:
    """A reader of `least` to `most` digits; its reason never shows the cell."""

    def read(cell: str) -> str:
        if not (cell.isascii() and cell.isdigit() and least <= len(cell) <= most):
            raise ValueError(f"{least} to {most} digits are needed" if least != most else f"{least} digits are needed")
        return cell

    return read


def one_of(words: dict[str, Any]) -> Any:
    """A reader of one of some words, to what it stands for."""

    def read(cell: str) -> Any:
        try:
            return words[cell.lower()]
        except KeyError:
            raise ValueError(f"{shown(cell)} is none of {', '.join(words)}") from None

    return read


def hexadecimal(least: int, most: int) -> Any:
    """A reader of `least` to `most` bytes; its reason never shows the cell."""

    def read(cell: str) -> bytes:
        try:
            value = bytes.fromhex(cell)
        except ValueError:
            value = b""
        if not least <= len(value) <= most:
            size = f"{2 * least}" if least == most else f"{2 * least} to {2 * most}"
            raise ValueError(f"{size} hexadecimal digits are needed")
        return value

    return read


def key_label(cell: str) -> str:
    """A reader of key labels."""
    if not cell.isprintable() or len(cell) > _LABEL_MAX:
        raise ValueError(f"a key label has 1 to {_LABEL_MAX} printable characters")
    return cell


def _merchant_name(cell: str) -> str:
    try:
        size = len(cell.encode("gbk"))
    except UnicodeEncodeError:
        raise ValueError("has a character that GBK lacks") from None
    if size > _NAME_BYTES_MAX:
        raise ValueError(f"has {size} bytes in GBK, DE43 {_NAME_BYTES_MAX}")
    return cell


def _capabilities(cell: str) -> tuple[str, ...]:
    words = [word.strip() for word in cell.lower().split("+")]
    if len(set(words)) != len(words) or not set(words) <= set(CAPABILITIES):
        raise ValueError(f"{shown(cell)} is not a sum like {'+'.join(CAPABILITIES)}")
    return tuple(word for word in CAPABILITIES if word in words)


def card_number(cell: str) -> str:
    """A reader of card numbers: 13 to 19 digits, the last of which checks the others."""
    digits(13, 19)(cell)
    if not luhn_ok(cell):
        raise ValueError("the check digit (Luhn) is wrong")
    return cell


def _expiry(cell: str) -> str:
    digits(4, 4)(cell)
    if not 1 <= int(cell[2:]) <= 12:
        raise ValueError("an expiry date is YYMM")
    return cell


def _minor(cell: str) -> int:
    return int(digits(1, 12)(cell))


SUITES: Final = {"3des": "3des", "sm4": "sm4"}

TERMINAL_COLUMNS: Final = (
    Column("tid", _printable(8), required=True, unique=True),
    Column("mid", _printable(15), required=True),
    Column("merchant_name", _merchant_name, required=True),
    Column("mcc", digits(4, 4), required=True),
    Column("model"),
    Column("capabilities", _capabilities, (STRIPE,)),
    Column("district"),
    Column("topology", one_of(TOPOLOGIES), "indirect"),
    Column("suite", one_of(SUITES), required=True),
    Column("tmk", hexadecimal(_KEY_BYTES, _KEY_BYTES), b""),
    Column("kcv", hexadecimal(3, 8), b""),
    Column("kek", key_label, TRANSPORT_KEY),
)

CARD_COLUMNS: Final = (
    Column("pan", card_number, required=True, unique=True),
    Column("expiry", _expiry, required=True),
    Column("track2"),
    Column("service_code", digits(3, 3), "120"),
    Column("psn", digits(1, 3)),
    Column("pin", digits(4, 12)),
    Column("issuer_key", key_label),
    Column("type", one_of(_CARD_TYPES), False),
    Column("balance_minor", _minor, None),
)


def read_terminals(path: str | Path) -> list[TerminalRow]:
    """The rows of terminals.csv. Raises TableError."""
    return accept_terminals(path, lambda row: row)


def accept_terminals(path: str | Path, accept: Callable[[TerminalRow], T]) -> list[T]:
    """What `accept` makes of each row of terminals.csv; its ValueErrors are faults of the line. Raises TableError."""
    merchants: dict[str, tuple[str, int]] = {}

    def make(**values: Any) -> T:
        row = TerminalRow(**values)
        if bool(row.tmk) != bool(row.kcv):
            raise ValueError("tmk: a master key and its check value come together")
        mcc, line = merchants.setdefault(row.mid, (row.mcc, row.line))
        if row.mcc != mcc:
            raise ValueError(f"mcc: merchant {row.mid} has {mcc} in line {line}")
        return accept(row)

    return read_table(path, TERMINAL_COLUMNS, make)


def read_cards(path: str | Path) -> list[CardRow]:
    """The rows of cards.csv. Raises TableError; no reason holds a card number, a track or a PIN."""
    return read_table(path, CARD_COLUMNS, _card)


def _card(*, service_code: str, type: bool, track2: str, psn: str, **values: Any) -> CardRow:
    head = f"{values['pan']}={values['expiry']}"
    track2 = track2.upper().replace("D", "=") or f"{head}{service_code}00000000"
    rest = track2.removeprefix(head)
    if rest == track2 or not (rest.isascii() and rest.isdigit()) or len(rest) < 3 or len(track2) > _TRACK2_MAX:
        raise ValueError("track2: pan, '=' or 'D', expiry, service code, up to 37 characters")
    return CardRow(track2=track2, psn=psn and psn.zfill(3), credit=type, **values)


def write_terminals(path: str | Path, rows: Iterable[TerminalRow]) -> None:
    """Write terminals.csv with all its columns."""
    names = [column.name for column in TERMINAL_COLUMNS]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(value)
    return value.hex().upper() if isinstance(value, bytes) else str(value)


def owner(mid: str, of: int) -> int:
    """Which of `of` workers of a switch a merchant belongs to: always the same, whatever other merchants there are."""
    return int.from_bytes(blake2b(mid.encode(), digest_size=8).digest(), "big") % of
