"""What the private fields of both links share: sub-fields cut from the right, balances, usages, device information.

A reader takes the field's value as the codec gives it (text, or bytes for binary fields) and returns a NamedTuple; the
writer is its inverse, so `write_x(read_x(value)) == value` whenever the reader accepts. Readers raise DecodeError and
writers EncodeError, both with the DE and never with the value. The terminal's fields are in `private_pos`, the
network's in `private_network`.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from switch.wire.errors import DecodeError, EncodeError

Widths: TypeAlias = Sequence[int]
"""Widths of a field's sub-fields, in characters or bytes, from the left."""


def is_digits(text: str) -> bool:
    """Whether text is ASCII digits only, at least one."""
    return text.isascii() and text.isdigit()


def need_digits(de: int, text: str, what: str, offset: int = 0) -> str:
    """The text itself if it is digits; else DecodeError."""
    if not is_digits(text):
        raise DecodeError(de, offset, f"{what} is not digits")
    return text


def put_digits(de: int, value: int | str, size: int, what: str) -> str:
    """A number as `size` digits, zeros in front. Raises EncodeError if it is no number or does not fit."""
    text = str(value)
    if not is_digits(text):
        raise EncodeError(de, f"{what} is not a number")
    if len(text) > size:
        raise EncodeError(de, f"{what} needs more than {size} digits")
    return text.zfill(size)


def put_text(de: int, value: str, size: int, what: str) -> str:
    """Text filled with spaces on the right. Raises EncodeError if it does not fit."""
    if len(value) > size:
        raise EncodeError(de, f"{what} is longer than {size} characters")
    return value.ljust(size)


def ascii_text(de: int, data: bytes) -> str:
    """Bytes that must be printable ASCII."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise DecodeError(de, error.start, "not ASCII text") from None
    if not text.isprintable():
        raise DecodeError(de, 0, "control characters in text")
    return text


def split_cut(de: int, text: str, widths: Widths, least: int = 1) -> list[str]:
    """Sub-fields from the left; the field may end anywhere after `least` characters.

    The sub-field in which it ends is short, those after it are empty: joining them gives the field back.
    """
    if len(text) < least:
        raise DecodeError(de, len(text), f"{len(text)} characters, at least {least} wanted")
    parts, at = [], 0
    for width in widths:
        parts.append(text[at : at + width])
        at += width
    if len(text) > at:
        raise DecodeError(de, at, f"{len(text)} characters exceed {at}")
    return parts


def join_cut(de: int, parts: Sequence[str], widths: Widths) -> str:
    """Inverse of split_cut. Raises EncodeError if a sub-field is too long, or one before the end is too short."""
    cut = False
    for number, (part, width) in enumerate(zip(parts, widths, strict=True), 1):
        if len(part) > width:
            raise EncodeError(de, f"sub-field {number} is longer than {width}")
        if part and cut:
            raise EncodeError(de, f"sub-field {number} follows one that was cut short")
        cut = cut or len(part) < width
    return "".join(parts)


class Balance(NamedTuple):
    """One entry of DE54: account type n2, amount type n2 (02 available, 01 ledger), currency n3, signed minor units."""

    account_type: str
    amount_type: str
    currency: str
    amount_minor: int
    negative_zero: bool = False


_BALANCE: Final = 20


def read_54(value: str) -> tuple[Balance, ...]:
    """Balances of DE54: one to six entries of 20 characters, sign C (positive) or D."""
    if not value or len(value) % _BALANCE or len(value) > 6 * _BALANCE:
        raise DecodeError(54, len(value), f"{len(value)} characters are not entries of {_BALANCE}")
    entries = []
    for at in range(0, len(value), _BALANCE):
        entry = value[at : at + _BALANCE]
        need_digits(54, entry[:7], "account, amount type or currency", at)
        amount = int(need_digits(54, entry[8:], "amount", at + 8))
        sign = entry[7]
        if sign not in "CD":
            raise DecodeError(54, at + 7, "sign is neither C nor D")
        entries.append(
            Balance(entry[:2], entry[2:4], entry[4:7], amount if sign == "C" else -amount, sign == "D" and not amount)
        )
    return tuple(entries)


def write_54(balances: Iterable[Balance]) -> str:
    """DE54 of balances."""
    out = []
    for balance in balances:
        head = put_digits(54, balance.account_type, 2, "account type") + put_digits(
            54, balance.amount_type, 2, "amount type"
        )
        sign = "D" if balance.amount_minor < 0 or balance.negative_zero else "C"
        amount = put_digits(54, abs(balance.amount_minor), 12, "amount")
        out.append(f"{head}{put_digits(54, balance.currency, 3, 'currency')}{sign}{amount}")
    if not 1 <= len(out) <= 6:
        raise EncodeError(54, f"{len(out)} balances, one to six wanted")
    return "".join(out)


class Usage(NamedTuple):
    """One usage of a private field: a two-character tag and its data."""

    tag: str
    data: bytes

    def __repr__(self) -> str:
        return f"Usage({self.tag}, {len(self.data)} bytes)"


NEW_PIN: Final = "NP"
"""The usage that carries the block of a new PIN (unverified: the sources have none)."""

SECRET_USAGES: Final = frozenset(("SM", "NK", "TK", NEW_PIN))
"""Usages whose data are a PIN block, a key or a token."""


def read_usages(de: int, value: bytes) -> tuple[Usage, ...]:
    """Usages: tag 2, length 3 digits, data; one after another to the end."""
    at, out = 0, []
    while at < len(value):
        tag, length = value[at : at + 2], value[at + 2 : at + 5]
        if len(tag) < 2 or not tag.isalnum() or not tag.isascii():
            raise DecodeError(de, at, "usage without a two-character tag")
        if len(length) < 3 or not length.isdigit():
            raise DecodeError(de, at + 2, "usage length is not three digits")
        start = at + 5
        at = start + int(length)
        if at > len(value):
            raise DecodeError(de, start, f"usage of {int(length)} bytes exceeds the {len(value) - start} that are left")
        out.append(Usage(tag.decode("ascii"), value[start:at]))
    if not out:
        raise DecodeError(de, 0, "no usage")
    return tuple(out)


def write_usages(de: int, usages: Iterable[Usage]) -> bytes:
    """Inverse of read_usages."""
    out = []
    for tag, data in usages:
        if len(tag) != 2 or not tag.isascii() or not tag.isalnum():
            raise EncodeError(de, "a usage tag is two letters or digits")
        if len(data) > 999:
            raise EncodeError(de, f"usage {tag} holds more than 999 bytes")
        out.append(f"{tag}{len(data):03d}".encode("ascii") + data)
    if not out:
        raise EncodeError(de, "no usage")
    return b"".join(out)


SM_PIN_SIZE: Final = 16
_SM_PIN_HEAD: Final = b"SM016"
_SM_PIN_HEAD_SIZE: Final = len(_SM_PIN_HEAD)


def read_sm_pin(value: bytes) -> bytes:
    """The 16-byte SM4 PIN block of DE63: usage `SM`, length `016`. See docs/security.md section 3."""
    if len(value) == _SM_PIN_HEAD_SIZE + SM_PIN_SIZE and value.startswith(_SM_PIN_HEAD):
        return value[_SM_PIN_HEAD_SIZE:]  # the usage alone, as it nearly always comes (0.8 us)
    for tag, data in read_usages(63, value):
        if tag == "SM":
            if len(data) != SM_PIN_SIZE:
                raise DecodeError(63, 5, f"SM4 PIN block of {len(data)} bytes, not {SM_PIN_SIZE}")
            return data
    raise DecodeError(63, 0, "no usage SM")


def write_sm_pin(block: bytes) -> bytes:
    """DE63 of an SM4 PIN block."""
    if len(block) != SM_PIN_SIZE:
        raise EncodeError(63, f"SM4 PIN block of {len(block)} bytes, not {SM_PIN_SIZE}")
    return _SM_PIN_HEAD + block


def read_new_pin(de: int, value: bytes) -> bytes:
    """The block of a new PIN: usage `NP` of a private field (8 or 16 bytes, as the link's PIN format has them)."""
    for tag, data in read_usages(de, value):
        if tag == NEW_PIN:
            return data
    raise DecodeError(de, 0, f"no usage {NEW_PIN}")


def write_new_pin(de: int, block: bytes, before: bytes = b"") -> bytes:
    """A private field with the block of a new PIN, behind the usages it holds already (`before`)."""
    return before + write_usages(de, (Usage(NEW_PIN, block),))


class DeviceInfo(NamedTuple):
    """Terminal information: tags 03 entry certificate, 04 device type, 05 serial number, 06 factor (last six digits of
    the card), 07 encrypted serial number, 08 application version."""

    items: tuple[tuple[str, str], ...]

    def get(self, tag: str) -> str:
        """The value under a tag, "" if absent."""
        return dict(self.items).get(tag, "")

    def __repr__(self) -> str:
        return f"DeviceInfo({', '.join(tag for tag, _ in self.items)})"


class _DeviceForm(NamedTuple):
    prefix: str
    length_digits: int
    base: int


_FORMS: Final = {"PI": _DeviceForm("PI", 2, 16), "A2": _DeviceForm("A2", 3, 10)}


def read_device_info(de: int, value: str) -> DeviceInfo:
    """Device information: `PI`, length n3, then tag 2, length 2 hex digits, value (DE46, 104); or `A2`, length n3,
    then tag 2, length n3, value (DE57, 59)."""
    form = _FORMS.get(value[:2])
    if form is None:
        raise DecodeError(de, 0, "device information begins with PI or A2")
    if int(need_digits(de, value[2:5], "length", 2)) != len(value) - 5:
        raise DecodeError(de, 2, f"length differs from the {max(0, len(value) - 5)} characters that follow")
    at, items = 5, []
    while at < len(value):
        tag = need_digits(de, value[at : at + 2], "tag", at)
        length = value[at + 2 : at + 2 + form.length_digits]
        try:
            size = int(length, form.base) if length.isascii() and length.isalnum() and length == length.upper() else -1
        except ValueError:
            size = -1
        at += 2 + form.length_digits
        if size < 0 or len(length) < form.length_digits or at + size > len(value):
            raise DecodeError(de, at, f"tag {tag} breaks off")
        items.append((tag, value[at : at + size]))
        at += size
    return DeviceInfo(tuple(items))


def write_device_info(de: int, info: DeviceInfo, prefix: str = "PI") -> str:
    """Inverse of read_device_info; lengths in hex are written in upper case."""
    form = _FORMS.get(prefix)
    if form is None:
        raise EncodeError(de, "device information begins with PI or A2")
    out = []
    for tag, text in info.items:
        if len(tag) != 2 or not is_digits(tag):
            raise EncodeError(de, "a tag is two digits")
        length = f"{len(text):02X}" if form.base == 16 else f"{len(text):03d}"
        if len(length) > form.length_digits:
            raise EncodeError(de, f"tag {tag} is too long")
        out.append(tag + length + text)
    body = "".join(out)
    if len(body) > 999:
        raise EncodeError(de, "device information is longer than 999 characters")
    return f"{prefix}{len(body):03d}{body}"
