"""What a MAC covers, on either link. The MAC itself is `switch.crypto.mac`'s business."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from switch.wire.errors import DecodeError, EncodeError

_NETWORK_DES: Final = (2, 3, 4, 7, 11, 18, 25, 28, 32, 33, 38, 39, 41, 42, 90, 102, 103)
_KEY_RESET_DES: Final = (2, 3, 4, 7, 11, 18, 25, 28, 32, 33, 38, 39, 41, 42, 53, 70, 90, 100)
_LENGTH_DIGITS: Final = {2: 2, 32: 2, 33: 2, 100: 2, 102: 2, 103: 2}
_ORIGINAL_DIGITS: Final = 20

_FOREIGN = re.compile(r"[^0-9A-Z ,.]+")
_SPACES = re.compile(r" {2,}")
_UPPER: Final = bytes(range(256)).upper()
_DROPPED: Final = bytes(byte for byte in range(256) if _FOREIGN.match(chr(byte).upper()) and byte < 128)
LENGTHS: Final = tuple(f"{size:02d}" for size in range(100))
"""Length digits of a field with two of them."""

_BITMAP_END: Final = 10
_MAC_SIZE: Final = 8


def pos_mab(body: bytes) -> bytes:
    """Bytes under DE64 of a terminal message: from the MTI to the byte before DE64, bit 64 set.

    `body` is the packed message from its MTI, DE64 (or a placeholder of eight bytes) included. Raises DecodeError when
    there is no DE64. See docs/security.md section 4.
    """
    if len(body) < _BITMAP_END + _MAC_SIZE:
        raise DecodeError("bitmap", len(body), "message too short to hold a MAC")
    if not body[_BITMAP_END - 1] & 1:
        raise DecodeError(64, _BITMAP_END - 1, "absent, so nothing is covered by a MAC")
    return body[:-_MAC_SIZE]


def network_mab(mti: str, fields: Mapping[int, Any], key_reset: bool = False) -> bytes:
    """Characters under DE128 of a network message, as ASCII bytes.

    The listed fields that are present, variable ones after their length digits, DE90 cut to its first 20 digits, joined
    by one space, upper case, other characters than letters, digits, space, comma and period dropped, runs of spaces
    made one, the end trimmed. A key-reset message (0800 with DE70 101) adds DE53, 70 and 100 and leaves out 102 and
    103. Raises EncodeError for a field that is not text. See docs/security.md section 6.
    """
    try:
        return covered(_joined(tuple(fields), key_reset)(mti, fields))
    except (TypeError, IndexError, UnicodeEncodeError):
        return _careful_mab(mti, fields, key_reset)


def covered(text: str) -> bytes:
    """The joined fields as the MAC covers them. UnicodeEncodeError for what is not ASCII."""
    data = text.encode("ascii").translate(_UPPER, _DROPPED)
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.rstrip(b" ")


def mab_expression(mti: str, variables: Mapping[int, str], constants: Mapping[int, str]) -> str:
    """The source of an f-string that joins the fields under DE128 of one shape: `constants` stand in it, `variables`
    are the names that stand for the others. It refers to LENGTHS."""
    parts = [mti]
    for de in _NETWORK_DES:
        if de in constants:
            value = constants[de][:_ORIGINAL_DIGITS] if de == 90 else constants[de]
            parts.append(LENGTHS[len(value)] + value if de in _LENGTH_DIGITS else value)
        elif de in variables:
            name = f"{variables[de]}[:{_ORIGINAL_DIGITS}]" if de == 90 else variables[de]
            parts.append(f"{{LENGTHS[len({name})]}}{{{name}}}" if de in _LENGTH_DIGITS else f"{{{name}}}")
    return f'f"{" ".join(parts)}"'


@lru_cache(maxsize=256)
def _joined(shape: tuple[int, ...], key_reset: bool) -> Callable[[str, Mapping[int, Any]], str]:
    """A function from MTI and fields to the joined text, for fields of this shape: one expression instead of a loop
    over what might be there (10 us a MAC, two MACs an authorization). Whatever is not text is a TypeError to it."""
    parts = ["mti"]
    for de in _KEY_RESET_DES if key_reset else _NETWORK_DES:
        if de in shape:
            cut = f"f[{de}][:{_ORIGINAL_DIGITS}]" if de == 90 else f"f[{de}]"
            parts.append(f"L[len({cut})] + {cut}" if de in _LENGTH_DIGITS else cut)
    names: dict[str, Any] = {"L": LENGTHS}
    exec(f"def join(mti, f): return ' '.join(({', '.join(parts)},))", names)
    join: Callable[[str, Mapping[int, Any]], str] = names["join"]
    return join


def _careful_mab(mti: str, fields: Mapping[int, Any], key_reset: bool) -> bytes:
    """The same for anything: names the field that is not text."""
    parts = [mti]
    for de in _KEY_RESET_DES if key_reset else _NETWORK_DES:
        value = fields.get(de)
        if value is None:
            continue
        if not isinstance(value, str):
            raise EncodeError(de, "the MAC covers text, not bytes")
        if de == 90:
            value = value[:_ORIGINAL_DIGITS]
        elif de in _LENGTH_DIGITS:
            value = f"{len(value):0{_LENGTH_DIGITS[de]}d}{value}"
        parts.append(value)
    text = _FOREIGN.sub("", " ".join(parts).upper())
    return _SPACES.sub(" ", text).rstrip(" ").encode("ascii")
