"""Clear PIN blocks: ISO 9564 formats 0 and 2, the CUP block without PAN, the 16-byte SM4 block.

| format | bytes | content |
|---|---|---|
| `iso0` | 8 | 0N, PIN, F..., crossed with 0000 and 12 digits of the PAN |
| `plain` | 8 | the same without the PAN (DE53 digit 1 = 1) |
| `iso2` | 8 | 2N, PIN, F...: to a chip card only |
| `sm4` | 16 | 0N, PIN, F..., crossed with 10 zero bytes and 12 digits of the PAN |

A PIN has 4 to 12 digits. Every failure is a PinFormatError that tells nothing of PIN, PAN or block.
"""

from typing import NamedTuple

from switch.crypto.errors import PinFormatError


class Format(NamedTuple):
    """Bytes in a block, the control nibble before the length, whether the PAN is crossed in."""

    size: int
    control: str
    with_pan: bool


FORMATS = {
    "iso0": Format(8, "0", True),
    "plain": Format(8, "0", False),
    "iso2": Format(8, "2", False),
    "sm4": Format(16, "0", True),
}
_FILL = "F" * 32
_LENGTHS = {f"{length:X}": length for length in range(4, 13)}


def format_of(name: str) -> Format:
    """The format of this name; PinFormatError for an unknown one."""
    try:
        return FORMATS[name]
    except KeyError:
        raise PinFormatError(f"unknown PIN block format {name!r}") from None


def wrong_size(name: str, block: bytes) -> PinFormatError:
    """The error for a block of another size than the format's."""
    return PinFormatError(f"a PIN block of format {name} has {format_of(name).size} bytes, not {len(block)}")


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _checked_pan(pan: str) -> str:
    if not (8 <= len(pan) <= 19 and pan.isascii() and pan.isdigit()):
        raise PinFormatError("a PAN has 8 to 19 digits")
    return pan


def pan12(pan: str) -> str:
    """The 12 digits of the PAN left of its check digit, filled with zeros on the left if it is shorter."""
    digits = _checked_pan(pan)[-13:-1]
    return digits if len(digits) == 12 else digits.rjust(12, "0")


def encode(fmt: str, pin: str, pan: str = "") -> bytes:
    """The clear block of a PIN; `pan` matters only to the formats that hold it."""
    size, control, with_pan = format_of(fmt)
    if not (4 <= len(pin) <= 12 and _is_digits(pin)):
        raise PinFormatError("a PIN has 4 to 12 digits")
    text = f"{control}{len(pin):X}{pin}".ljust(size * 2, "F")
    if not with_pan:
        return bytes.fromhex(text)
    return (int(text, 16) ^ int(pan12(pan), 16)).to_bytes(size, "big")


def decode(fmt: str, block: bytes, pan: str = "") -> str:
    """The PIN in a clear block; PinFormatError unless control, length, digits and fill are all as the format says."""
    size, control, with_pan = FORMATS.get(fmt) or format_of(fmt)
    if len(block) != size:
        raise wrong_size(fmt, block)
    if with_pan:
        block = (int.from_bytes(block, "big") ^ int(pan12(pan), 16)).to_bytes(size, "big")
    text = block.hex().upper()
    length = _LENGTHS.get(text[1])
    if length is None or text[0] != control:
        raise PinFormatError(f"not a PIN block of format {fmt}: wrong control or length")
    pin = text[2 : 2 + length]
    if not pin.isdigit():
        raise PinFormatError(f"not a PIN block of format {fmt}: PIN with other than digits")
    if text[2 + length :] != _FILL[2 + length : size * 2]:
        raise PinFormatError(f"not a PIN block of format {fmt}: wrong fill")
    return pin


def iso4_pan_field(pan: str) -> bytes:
    """ISO 9564 format 4's PAN field: length less 12, the PAN, zeros, 16 bytes."""
    digits = _checked_pan(pan).rjust(12, "0")
    return bytes.fromhex(f"{len(digits) - 12:X}{digits}".ljust(32, "0"))
