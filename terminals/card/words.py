"""Status words as the bytes a card answers, the phases of a transaction, and amounts as packed digits."""

from typing import Final

OK: Final = b"\x90\x00"
BLOCKED_FILE: Final = b"\x62\x83"
AUTH_FAILED: Final = b"\x63\x00"
WRONG_LENGTH: Final = b"\x67\x00"
PIN_BLOCKED: Final = b"\x69\x83"
PIN_WAS_BLOCKED: Final = b"\x69\x84"
WRONG_ORDER: Final = b"\x69\x85"
WRONG_MAC: Final = b"\x69\x88"
WRONG_DATA: Final = b"\x6a\x80"
CARD_LOCKED: Final = b"\x6a\x81"
NO_FILE: Final = b"\x6a\x82"
NO_RECORD: Final = b"\x6a\x83"
NO_DATA: Final = b"\x6a\x88"
WRONG_PLACE: Final = b"\x6b\x00"
WRONG_INSTRUCTION: Final = b"\x6d\x00"
WRONG_CLASS: Final = b"\x6e\x00"
NO_PROOF: Final = b"\x94\x06"

IDLE: Final = 0
SELECTED: Final = 1
INITIATED: Final = 2
TAP_PENDING: Final = 3
"""A TC was given at GPO; nothing is debited until the last record is read."""
ONLINE: Final = 4
"""An ARQC was given; the second GENERATE AC is awaited."""
DONE: Final = 5


def amount(value: bytes) -> int | None:
    """Packed digits as a number; 0 for none, None where a nibble is no digit."""
    digits = value.hex()
    if not digits:
        return 0
    return int(digits) if digits.isdecimal() else None


def bcd(number: int) -> bytes:
    """A number as six packed bytes (n12)."""
    return bytes.fromhex(f"{number:012d}")
