"""The slow reading and writing of a message: one field after the other, each mistake named.

It defines what is accepted; the compiled functions of `codec` must accept the same bytes and give the same values, and
call this when something is wrong, to say what and where.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from switch.wire.dialects import Dialect
from switch.wire.errors import DecodeError, EncodeError
from switch.wire.message import Message, masked_fields

KNOWN_PADS = "0F"
"""Pad nibbles seen in the field; any other is data in the wrong place."""

TEXT_KINDS = ("an", "ans")
"""Kinds whose values may hold GBK."""

_HEX = "0123456789ABCDEFabcdef"
_TRACK = "0123456789=D"


class Field(NamedTuple):
    """A spec row as the codec needs it.

    `digits` counts its length prefix in decimal digits (0, 2, 3) and `prefix` in bytes; `size` is the fixed or largest
              length, in digits for n and z, in bytes otherwise; `left` puts the pad of an odd packed number before it.
    """

    de: int
    kind: str
    digits: int
    prefix: int
    size: int
    left: bool


class Plan(NamedTuple):
    """A dialect made ready: where MTI and bitmap lie, and its used fields."""

    packed: bool
    bits: int
    mti_size: int
    start: int
    fields: dict[int, Field]


def plan_of(dialect: Dialect) -> Plan:
    """Read the spec rows once."""
    fields = {}
    packed = dialect.packed
    for de in range(2, dialect.bits + 1):
        row = dialect.row(de)
        if row["kind"] != "unused":
            prefix = row["len_type"]
            # BCD rounds LLL up to two bytes
            digits = {0: 0, 1: 2, 2: 3}[prefix] if packed else prefix
            fields[de] = Field(de, row["kind"], digits, prefix, row["max_len"], "left_pad" in row)
    mti_size = 2 if packed else 4
    return Plan(packed, dialect.bits, mti_size, mti_size + dialect.bits // 8, fields)


@lru_cache(maxsize=4096)  # merchants' names, again and again: 3.5 us each, some of it for every message of a network
def wide(data: bytes) -> str:
    """Text that may hold GBK; ValueError for anything else. Each character has one form in GBK, so it comes out the
    same.
    """
    return data.decode("gbk")


def narrow(text: str) -> str:
    """Text as one character per GBK byte (Latin-1), so that its length counts bytes; ValueError for what GBK lacks."""
    return text.encode("gbk").decode("latin-1")


def _or_none(convert: Callable[[Any], str], value: Any) -> str | None:
    """None for a ValueError: a Unicode error holds the text, and must not hang on an error that is raised while it is
    handled.
    """
    try:
        return convert(value)
    except ValueError:
        return None


class _Fault(Exception):
    """Something wrong at an offset; turned into DecodeError once the DE and what came before are known."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


# Reading


def decode(plan: Plan, body: bytes) -> Message:
    """The whole message; DecodeError names the first DE that breaks the rules."""
    mti, fields, pads, at = _walk(plan, body, None)
    if at != len(body):
        raise DecodeError("end", at, f"{len(body) - at} bytes after the last field", masked_fields({0: mti, **fields}))
    return Message(mti, fields, body, pads or None)


def peek(plan: Plan, body: bytes, wanted: Collection[int]) -> dict[int, Any]:
    """MTI (key 0) and the wanted fields that are present; others are stepped over, those behind not looked at."""
    mti, fields, _, _ = _walk(plan, body, wanted)
    return {0: mti, **fields}


@lru_cache(maxsize=512)
def bitmap_fields(bitmap: bytes) -> tuple[int, ...]:
    """The DEs whose bits are set, without the first one of a 128-bit map (it only announces the second half)."""
    number = int.from_bytes(bitmap, "big")
    bits = len(bitmap) * 8
    return tuple(de for de in range(1 if bits == 64 else 2, bits + 1) if number >> (bits - de) & 1)


def _walk(plan: Plan, body: bytes, wanted: Collection[int] | None) -> tuple[str, dict[int, Any], dict[int, str], int]:
    head = body[: plan.mti_size]
    mti = head.hex() if plan.packed else head.decode("latin-1")
    if len(mti) != 4 or not mti.encode().isdigit():
        raise DecodeError(
            "MTI", 0, f"{len(head)} bytes left, expected {plan.mti_size}" if len(mti) < 4 else "not four digits"
        )
    bitmap = body[plan.mti_size : plan.start]
    partial: dict[int, Any] = {0: mti}
    if len(bitmap) != plan.bits // 8:
        reason = f"{len(bitmap)} bytes left, expected {plan.bits // 8}"
        raise DecodeError("bitmap", plan.mti_size, reason, masked_fields(partial))
    if bool(bitmap[0] & 0x80) == (plan.bits == 64):
        reason = (
            "announces a second bitmap, this link has none" if plan.bits == 64 else "the second bitmap is always sent"
        )
        raise DecodeError("bitmap", plan.mti_size, reason, masked_fields(partial))
    present: Sequence[int] = bitmap_fields(bitmap)
    if wanted is not None:
        last = max((de for de in present if de in wanted), default=0)
        present = [de for de in present if de <= last]
    fields: dict[int, Any] = {}
    pads: dict[int, str] = {}
    at = plan.start
    for de in present:
        try:
            field = plan.fields.get(de)
            if field is None:
                raise _Fault(at, "not used on this link")
            skip = wanted is not None and de not in wanted
            value, at = _read(plan, field, body, at, pads, skip)
        except _Fault as fault:
            raise DecodeError(de, fault.offset, fault.reason, masked_fields(partial)) from None
        if not skip:
            fields[de] = partial[de] = value
    return mti, fields, pads, at


def _read(plan: Plan, field: Field, body: bytes, at: int, pads: dict[int, str], skip: bool) -> tuple[Any, int]:
    """One field: its value and the offset behind it."""
    size = field.size
    if field.prefix:
        size = _read_length(plan, field, body, at)
        at += field.prefix
    packed = plan.packed and field.kind in ("n", "z")
    length = (size + 1) // 2 if packed else size
    stop = at + length
    if skip:
        return None, stop
    data = body[at:stop]
    if len(data) != length:
        raise _Fault(at, f"{length} bytes expected, {len(data)} left")
    if packed:
        return _read_packed(field, size, data, at, pads), stop
    if field.kind == "b":
        return data, stop
    if field.kind in ("n", "z", "xn"):
        return _read_ascii(field, data, at), stop
    if data.isascii():
        return data.decode("ascii"), stop
    text = _or_none(wide, data)
    if text is None:
        raise _Fault(at, "text is neither ASCII nor GBK")
    return text, stop


def _read_length(plan: Plan, field: Field, body: bytes, at: int) -> int:
    data = body[at : at + field.prefix]
    if len(data) != field.prefix:
        raise _Fault(at, f"length prefix of {field.prefix} bytes expected, {len(data)} left")
    digits = data.hex().encode() if plan.packed else data
    # int() would take "+5" and " 5"
    if not digits.isdigit():
        raise _Fault(at, "length is not decimal")
    size = int(digits)
    if size > field.size:
        raise _Fault(at, f"length {size} exceeds {field.size}")
    return size


def _read_packed(field: Field, size: int, data: bytes, at: int, pads: dict[int, str]) -> str:
    text = data.hex().upper()
    if size & 1:
        pad = text[0] if field.left else text[-1]
        if pad not in KNOWN_PADS:
            raise _Fault(at if field.left else at + len(data) - 1, "unknown pad nibble")
        if pad != "0":
            pads[field.de] = pad
        text = text[1:] if field.left else text[:-1]
    if field.kind == "n" and text.strip("0123456789"):
        raise _Fault(at, "not all digits")
    return text


def _read_ascii(field: Field, data: bytes, at: int) -> str:
    text = data.decode("latin-1")
    if field.kind == "xn":
        if text[0] not in "CD":
            raise _Fault(at, "neither C nor D")
        if text[1:].strip("0123456789"):
            raise _Fault(at + 1, "not all digits")
    elif text.strip(_TRACK if field.kind == "z" else "0123456789"):
        raise _Fault(at, "not a track" if field.kind == "z" else "not all digits")
    return text


# Writing


def encode(plan: Plan, mti: str, fields: Mapping[int, Any], pads: Mapping[int, str] | None = None) -> bytes:
    """The body of a message, from the MTI on; EncodeError names the DE that cannot be written."""
    if not isinstance(mti, str) or len(mti) != 4 or not mti.encode().isdigit():
        raise EncodeError("MTI", "not four digits")
    number = 0 if plan.bits == 64 else 1 << 127
    parts = []
    for de in fields:
        if not isinstance(de, int) or de not in plan.fields:
            raise EncodeError(de if isinstance(de, int) else "fields", "not used on this link")
    for de in sorted(fields):
        number |= 1 << (plan.bits - de)
        pad = (pads or {}).get(de, "0")
        if pad not in ("0", "F"):
            raise EncodeError(de, "unknown pad nibble")
        parts.append(_write(plan, plan.fields[de], fields[de], pad))
    head = bytes.fromhex(mti) if plan.packed else mti.encode()
    return b"".join((head, number.to_bytes(plan.bits // 8, "big"), *parts))


def _write(plan: Plan, field: Field, value: Any, pad: str) -> bytes:
    if field.kind == "b":
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise EncodeError(field.de, f"{type(value).__name__} given, bytes expected")
        data = bytes(value)
        size = len(data)
    else:
        if not isinstance(value, str):
            raise EncodeError(field.de, f"{type(value).__name__} given, str expected")
        data, size = _write_text(plan, field, value, pad)
    if field.prefix:
        if size > field.size:
            raise EncodeError(field.de, f"length {size} exceeds {field.size}")
        prefix = f"{size:0{field.prefix * 2 if plan.packed else field.prefix}d}"
        return (bytes.fromhex(prefix) if plan.packed else prefix.encode()) + data
    if size != field.size:
        raise EncodeError(field.de, f"length {size}, expected {field.size}")
    return data


def _write_text(plan: Plan, field: Field, value: str, pad: str) -> tuple[bytes, int]:
    """The bytes of a str value, pad included, and the length its prefix counts."""
    kind = field.kind
    if kind in TEXT_KINDS:
        text = _or_none(narrow, value)
        if text is None:
            raise EncodeError(field.de, "text has characters outside GBK")
        return text.encode("latin-1"), len(text)
    if kind == "xn":
        if value[:1] not in ("C", "D") or value[1:].strip("0123456789"):
            raise EncodeError(field.de, "not C or D and digits")
        return value.encode(), len(value)
    allowed = "0123456789" if kind == "n" else _HEX if plan.packed else _TRACK
    if value.strip(allowed):
        raise EncodeError(field.de, "not all digits" if kind == "n" else "not a track")
    if not plan.packed:
        return value.encode(), len(value)
    padded = value if len(value) % 2 == 0 else pad + value if field.left else value + pad
    return bytes.fromhex(padded), len(value)
