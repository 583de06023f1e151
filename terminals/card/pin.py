"""VERIFY: the PIN, plain (P2 80) or enciphered under the card's RSA key (P2 88)."""

import hmac
from typing import TYPE_CHECKING, Final

from terminals.card.words import (
    INITIATED,
    OK,
    PIN_BLOCKED,
    PIN_WAS_BLOCKED,
    WRONG_DATA,
    WRONG_LENGTH,
    WRONG_ORDER,
    WRONG_PLACE,
)

if TYPE_CHECKING:
    from terminals.card.card import Icc

PLAIN: Final = 0x80
ENCIPHERED: Final = 0x88
_PIN_DONE: Final = 0x04
_PIN_FAILED: Final = 0x02
_ADA_BLOCK_NOW: Final = 0x80


def block_of(pin: str) -> bytes:
    """The format 2 block of a PIN: length and digits filled with F."""
    return bytes.fromhex(f"2{len(pin):X}{pin}".ljust(16, "F"))


def verify(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """00 20: 63Cx with the tries left, 6983 when this try was the last, 6984 when there was none left."""
    app, path = icc.app, icc.path
    challenge, icc.challenge = icc.challenge, b""
    if p1 or p2 not in (PLAIN, ENCIPHERED):
        return WRONG_PLACE
    if app is None or path is None or icc.phase != INITIATED or icc.interface != "contact" or not path.aip[0] & 0x10:
        return WRONG_ORDER
    if p2 == PLAIN and len(data) != 8:
        return WRONG_LENGTH
    state = icc.state
    if state.pin_tries == 0:
        return PIN_WAS_BLOCKED
    block: bytes | None = data
    if p2 == ENCIPHERED:
        if not challenge:
            return WRONG_ORDER
        size = icc.image.modulus_bytes
        if not size:
            return WRONG_DATA
        if len(data) != size:
            return WRONG_LENGTH
        clear = icc.image.decipher(data)
        block = clear[1:9] if clear[:1] == b"\x7f" and clear[9:17] == challenge else None
        if block is None:
            return WRONG_DATA
    icc.cvr1 |= _PIN_DONE
    secret = state.extras.pin if state.extras is not None and state.extras.pin else icc.image.pin
    if hmac.compare_digest(block or b"", block_of(secret)):
        state.pin_tries = icc.image.pin_tries
        icc.cvr1 &= ~_PIN_FAILED
        return OK
    icc.cvr1 |= _PIN_FAILED
    state.pin_tries -= 1
    if state.pin_tries:
        return bytes((0x63, 0xC0 | state.pin_tries))
    if (icc.byte("9F52") or 0) & _ADA_BLOCK_NOW:
        state.blocked |= 1 << app.spec.index
    return PIN_BLOCKED
