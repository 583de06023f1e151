"""Private fields of the terminal's link: DE44, 48, 60, 61, 63 and the security blocks; DE62 is in `private_62`.

See docs/protocol-pos.md sections 4 and 5. Amounts are ints in minor units.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from switch.wire.errors import DecodeError, EncodeError
from switch.wire.private import (
    DeviceInfo,
    ascii_text,
    is_digits,
    join_cut,
    need_digits,
    put_digits,
    put_text,
    read_device_info,
    split_cut,
    write_device_info,
)
from switch.wire.redact import mask_pan


class De44(NamedTuple):
    """Additional response data: issuer and acquirer institution, at most 11 characters each; `rest` up to 3 more."""

    issuer: str
    acquirer: str
    rest: str = ""


def read_44(value: str) -> De44:
    """DE44: two institutions of 11 characters, filled with spaces on the right."""
    issuer, acquirer, rest = split_cut(44, value, (11, 11, 3), 22)
    return De44(issuer.rstrip(" "), acquirer.rstrip(" "), rest)


def write_44(x: De44) -> str:
    """DE44 of two institutions."""
    return (
        put_text(44, x.issuer.rstrip(" "), 11, "issuer")
        + put_text(44, x.acquirer.rstrip(" "), 11, "acquirer")
        + put_text(44, x.rest, len(x.rest[:3]), "rest")
    )


class Side(NamedTuple):
    """One half of the totals: debit and credit amount and count, and result (0 asked, 1 balanced, 2 not, 3 error)."""

    debit_minor: int = 0
    debit_count: int = 0
    credit_minor: int = 0
    credit_count: int = 0
    result: int = 0


class Totals(NamedTuple):
    """DE48 of a settlement: domestic cards (内卡) and foreign cards (外卡)."""

    domestic: Side
    foreign: Side = Side()


class Detail(NamedTuple):
    """One stripe transaction of the batch upload; `card_class` 00 domestic, 01 foreign."""

    card_class: str
    stan: str
    pan: str
    amount_minor: int

    def __repr__(self) -> str:
        return f"Detail({self.card_class}, {self.stan}, {mask_pan(self.pan)}, {self.amount_minor})"


class EndCount(NamedTuple):
    """DE48 of the batch end: how many details were uploaded."""

    details: int


class Tip(NamedTuple):
    """DE48 of an offline sale or adjustment: the tip."""

    amount_minor: int


class TransferEntry(NamedTuple):
    """DE48 of a load from another account: entry mode of the card that is loaded, and a filler digit."""

    entry_mode: str
    filler: str = "0"


De48: TypeAlias = Totals | tuple[Detail, ...] | EndCount | Tip | TransferEntry

_SIDE: Final = (12, 3, 12, 3, 1)
_DETAIL_SIZE: Final = 40
DETAILS_MAX: Final = 8


def read_totals(value: str) -> Totals:
    """DE48 of 0500/0510: 62 digits, two sides of 31."""
    if len(value) != 62:
        raise DecodeError(48, len(value), f"totals of {len(value)} digits, 62 wanted")
    need_digits(48, value, "totals")
    sides = [Side(*map(int, split_cut(48, value[at : at + 31], _SIDE, 31))) for at in (0, 31)]
    return Totals(*sides)


def write_totals(x: Totals) -> str:
    """DE48 of totals. Raises EncodeError for more than 999 transactions a side."""
    names = ("debit amount", "debit count", "credit amount", "credit count", "result")
    return "".join(
        put_digits(48, value, size, name) for side in x for value, size, name in zip(side, _SIDE, names, strict=True)
    )


def read_details(value: str) -> tuple[Detail, ...]:
    """DE48 of 0320/201: count n2 (1 to 8), then per detail card class 2, STAN 6, card number 20, amount 12."""
    count = int(need_digits(48, value[:2], "detail count"))
    if not 1 <= count <= DETAILS_MAX:
        raise DecodeError(48, 0, f"{count} details, 1 to {DETAILS_MAX} wanted")
    if len(value) != 2 + count * _DETAIL_SIZE:
        raise DecodeError(48, 2, f"{len(value)} digits do not hold {count} details")
    need_digits(48, value, "details")
    out = []
    for at in range(2, len(value), _DETAIL_SIZE):
        card_class, stan, pan, amount = split_cut(48, value[at : at + _DETAIL_SIZE], (2, 6, 20, 12))
        if pan[0] != "0":
            raise DecodeError(48, at + 8, "card number longer than 19 digits")
        # Zeros in front are fill, but an invented card number may begin with zeros: never shorter than 13 digits.
        out.append(Detail(card_class, stan, pan.lstrip("0").zfill(13), int(amount)))
    return tuple(out)


def write_details(details: Iterable[Detail]) -> str:
    """DE48 of one to eight details."""
    rows = tuple(details)
    if not 1 <= len(rows) <= DETAILS_MAX:
        raise EncodeError(48, f"{len(rows)} details, 1 to {DETAILS_MAX} wanted")
    out = [f"{len(rows):02d}"]
    for row in rows:
        if len(row.pan) > 19:
            raise EncodeError(48, "card number longer than 19 digits")
        out.append(put_digits(48, row.card_class, 2, "card class") + put_digits(48, row.stan, 6, "STAN"))
        out.append(put_digits(48, row.pan, 20, "card number") + put_digits(48, row.amount_minor, 12, "amount"))
    return "".join(out)


def read_48(value: str, processing_code: str = "") -> De48:
    """Any DE48 of this link, told apart by its length and, where it has four digits, by the processing code."""
    if len(value) == 62:
        return read_totals(value)
    if len(value) == 12:
        return Tip(int(need_digits(48, value, "tip")))
    if len(value) == 4:
        need_digits(48, value, "count or entry mode")
        if processing_code.startswith("62"):
            return TransferEntry(value[:3], value[3])
        return EndCount(int(value))
    return read_details(value)


def write_48(x: De48) -> str:
    """Inverse of read_48."""
    if isinstance(x, Totals):
        return write_totals(x)
    if isinstance(x, EndCount):
        return put_digits(48, x.details, 4, "count")
    if isinstance(x, Tip):
        return put_digits(48, x.amount_minor, 12, "tip")
    if isinstance(x, TransferEntry):
        return put_digits(48, x.entry_mode + x.filler, 4, "entry mode")
    return write_details(x)


class De60(NamedTuple):
    """DE60 of the terminal's link, sub-fields 60.1 to 60.7; those that were cut from the right are short or empty."""

    type_code: str
    batch: str
    network_code: str = ""
    read_capability: str = ""
    icc_condition: str = ""
    partial: str = ""
    account_type: str = ""

    @property
    def size(self) -> int:
        """How many digits the field has on the wire."""
        return sum(map(len, self))


_WIDTHS_60: Final = (2, 6, 3, 1, 1, 1, 3)
_LEAST_60: Final = 8


def read_60(value: str) -> De60:
    """DE60: 8 to 17 digits, cut anywhere (11 administration, 13, 14 and 17 are usual)."""
    need_digits(60, value, "DE60") if value else None
    return De60(*split_cut(60, value, _WIDTHS_60, _LEAST_60))


def write_60(x: De60, size: int | None = None) -> str:
    """DE60 of sub-fields; with `size`, missing ones become zeros and the field is cut to that many digits."""
    parts = x
    if size is not None:
        if not _LEAST_60 <= size <= sum(_WIDTHS_60):
            raise EncodeError(60, f"size {size} is not within {_LEAST_60} and {sum(_WIDTHS_60)}")
        parts = De60(*(part or "0" * width for part, width in zip(x, _WIDTHS_60, strict=True)))
    text = join_cut(60, parts, _WIDTHS_60)
    if len(text) < _LEAST_60 or not is_digits(text):
        raise EncodeError(60, f"not {_LEAST_60} digits or more")
    return text[:size]


class De61(NamedTuple):
    """DE61 of the terminal's link: the original's batch, STAN, date MMDD, authorization mode and institution."""

    batch: str
    stan: str
    date: str = ""
    auth_mode: str = ""
    institution: str = ""


_WIDTHS_61: Final = (6, 6, 4, 2, 11)
_LEAST_61: Final = 12


def read_61(value: str) -> De61:
    """DE61: 12 (void), 16 (refund, completion) up to 29 (offline sale) digits, cut from the right."""
    need_digits(61, value, "DE61") if value else None
    return De61(*split_cut(61, value, _WIDTHS_61, _LEAST_61))


def write_61(x: De61) -> str:
    """DE61 of the original's data."""
    text = join_cut(61, x, _WIDTHS_61)
    if len(text) < _LEAST_61 or not is_digits(text):
        raise EncodeError(61, f"not {_LEAST_61} digits or more")
    return text


class De63(NamedTuple):
    """DE63 of the terminal's link: operator or card scheme an3, then texts of issuer, centre, acquirer (20 bytes each)
    and terminal (60). Texts keep their spaces; those that were cut are short or empty."""

    scheme: str
    issuer: str = ""
    centre: str = ""
    acquirer: str = ""
    terminal: str = ""
    rest: str = ""


_WIDTHS_63: Final = (3, 20, 20, 20, 60, 40)


def read_63(value: bytes) -> De63:
    """DE63: 1 to 163 bytes, GBK, cut from the right."""
    # latin-1 keeps one character a byte while cutting, as a width counts bytes of GBK.
    raw = split_cut(63, value.decode("latin-1"), _WIDTHS_63)
    parts, at = [], 0
    for part in raw:
        try:
            parts.append(part.encode("latin-1").decode("gbk"))
        except UnicodeDecodeError:
            raise DecodeError(63, at, "text is not GBK") from None
        at += len(part)
    return De63(*parts)


def write_63(x: De63) -> bytes:
    """DE63 of texts; a text followed by another one is filled with spaces."""
    last = max((number for number, part in enumerate(x) if part), default=-1)
    parts = []
    for number, (part, width) in enumerate(zip(x, _WIDTHS_63, strict=True)):
        try:
            data = part.encode("gbk")
        except UnicodeEncodeError:
            raise EncodeError(63, f"sub-field {number + 1} is not GBK text") from None
        parts.append((data.ljust(width) if number < last else data).decode("latin-1"))
    text = join_cut(63, parts, _WIDTHS_63)
    if not text:
        raise EncodeError(63, "empty")
    return text.encode("latin-1")


def read_security(de: int, value: bytes) -> DeviceInfo:
    """DE57 or DE59 of the terminal's link: `A2` device block (type, serial number, factor, cipher, version)."""
    if value[:2] != b"A2":
        raise DecodeError(de, 0, "usage A2 wanted")
    return read_device_info(de, ascii_text(de, value))


def write_security(de: int, info: DeviceInfo) -> bytes:
    """Inverse of read_security."""
    text = write_device_info(de, info, "A2")
    if not text.isascii():
        raise EncodeError(de, "not ASCII text")
    return text.encode("ascii")


class Purse(NamedTuple):
    """DE58: legacy purse data, a two-letter usage (RQ request, RP reply, TA) and what follows it."""

    usage: str
    data: bytes


def read_58(value: bytes) -> Purse:
    """DE58: usage RQ, RP or TA, at most 100 bytes."""
    usage = value[:2].decode("latin-1")
    if usage not in ("RQ", "RP", "TA") or len(value) > 100:
        raise DecodeError(58, 0, "usage is not RQ, RP or TA, or longer than 100 bytes")
    return Purse(usage, value[2:])


def write_58(x: Purse) -> bytes:
    """Inverse of read_58."""
    if x.usage not in ("RQ", "RP", "TA") or len(x.data) > 98:
        raise EncodeError(58, "usage is not RQ, RP or TA, or data longer than 98 bytes")
    return x.usage.encode("ascii") + x.data
